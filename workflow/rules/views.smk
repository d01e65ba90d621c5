rule side_by_side:
    input:
        unpack(compared_tables),
    output:
        per_class=report(
            "results/tables/comparisons/{comparison}/per_class.html",
            caption="../report/side_by_side.rst",
            category="2. Results",
            subcategory="side by side",
            labels={"content": "{comparison}: per class"},
        ),
        overall=report(
            "results/tables/comparisons/{comparison}/global.html",
            caption="../report/side_by_side.rst",
            category="2. Results",
            subcategory="side by side",
            labels={"content": "{comparison}: global"},
        ),
        others=expand(
            "results/tables/comparisons/{{comparison}}/{table}.{suffix}",
            table=["per_class", "global"],
            suffix=["md", "tex", "csv"],
        ),
    log:
        "logs/side_by_side/{comparison}.log",
    benchmark:
        "benchmarks/side_by_side/{comparison}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("side-by-side"),
        title=lambda wildcards: study.comparisons[wildcards.comparison].title,
        data=lambda wildcards: first_compared(wildcards.comparison).data,
        metrics=lambda wildcards: [
            f"{name}=results/metrics/{name}.parquet" for name in study.comparisons[wildcards.comparison].experiments
        ],
        columns=lambda wildcards: [
            f"{name}/{model}"
            for name, models in study.comparisons[wildcards.comparison].experiments.items()
            for model in models
        ],
        rule=lambda wildcards: first_compared(wildcards.comparison).thresholds[0],
        folder=lambda wildcards, output: Path(output.per_class).parent,
    message:
        "Setting experiments side by side: {wildcards.comparison}"
    shell:
        "thorax side-by-side --title {params.title:q} --data {params.data} --labels {input.labels} --split {input.split}"
        " --metrics {params.metrics} --columns {params.columns} --rule {params.rule} --out {params.folder} > {log} 2>&1"
