rule pairs:
    input:
        labels="results/labels/{label_set}.parquet",
        catalog=lambda wildcards: f"results/catalog/{study.label_sets[wildcards.label_set].dataset}.parquet",
        ingested=lambda wildcards: f"results/ingested/{study.label_sets[wildcards.label_set].second}.parquet",
    output:
        pairs="results/pairs/{label_set}.parquet",
    log:
        "logs/pairs/{label_set}.log",
    benchmark:
        "benchmarks/pairs/{label_set}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("pairs"),
        second_views=lambda wildcards: second_views(wildcards.label_set),
    message:
        "Pairing the two views of the studies of {wildcards.label_set}"
    shell:
        "thorax pairs --labels {input.labels} --catalog {input.catalog} --second-views {params.second_views:q}"
        " --second-ingested {input.ingested} --out {output.pairs} > {log} 2>&1"


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
        f1_metric=lambda wildcards: first_compared(wildcards.comparison).f1_metric,
        folder=lambda wildcards, output: Path(output.per_class).parent,
    message:
        "Setting experiments side by side: {wildcards.comparison}"
    shell:
        "thorax side-by-side --title {params.title:q} --data {params.data} --labels {input.labels} --split {input.split}"
        " --metrics {params.metrics} --columns {params.columns} --rule {params.rule} --f1-metric {params.f1_metric}"
        " --out {params.folder} > {log} 2>&1"
