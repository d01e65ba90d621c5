rule overview:
    input:
        metrics=expand("results/metrics/{experiment}.parquet", experiment=study.run),
        labels=[f"results/labels/{study.experiments[name].label_set}.parquet" for name in study.run],
        splits=[f"results/splits/{study.experiments[name].split}.parquet" for name in study.run],
    output:
        html=report(
            "results/tables/overview.html",
            caption="../report/overview.rst",
            category="0. Overview",
            labels={"content": "all experiments"},
        ),
        others=expand("results/tables/overview.{suffix}", suffix=["md", "tex", "csv"]),
    log:
        "logs/overview.log",
    benchmark:
        "benchmarks/overview.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("overview"),
        settings=lambda wildcards: json.dumps(told(study.run)),
        metrics=[f"{name}=results/metrics/{name}.parquet" for name in study.run],
        labels=[f"{name}=results/labels/{study.experiments[name].label_set}.parquet" for name in study.run],
        splits=[f"{name}=results/splits/{study.experiments[name].split}.parquet" for name in study.run],
        folder=lambda wildcards, output: Path(output.html).parent,
    message:
        "Setting all experiments side by side"
    shell:
        "thorax overview --settings {params.settings:q} --metrics {params.metrics} --labels {params.labels}"
        " --splits {params.splits} --benchmarks benchmarks --logs logs --out {params.folder} > {log} 2>&1"


rule paper_page:
    input:
        pages=lambda wildcards: [entry["page"] for entry in sections(wildcards.paper)],
    output:
        page=report(
            "results/papers/{paper}.html",
            caption="../report/paper.rst",
            category="0. Papers",
            labels={"content": "{paper}"},
        ),
    log:
        "logs/paper_page/{paper}.log",
    benchmark:
        "benchmarks/paper_page/{paper}.tsv"
    wildcard_constraints:
        paper=any_of(papers()),
    conda:
        ENVIRONMENT
    params:
        code=code("paper-page"),
        settings=paper_settings,
    message:
        "Gathering the page of {wildcards.paper}"
    shell:
        "thorax paper-page --settings {params.settings:q} --out {output.page} > {log} 2>&1"
