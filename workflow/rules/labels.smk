rule labels:
    input:
        catalog=lambda wildcards: f"results/catalog/{study.label_sets[wildcards.label_set].dataset}.parquet",
        ingested=lambda wildcards: f"results/ingested/{study.label_sets[wildcards.label_set].dataset}.parquet",
        second=lambda wildcards: second_ingested(wildcards.label_set),
        general=lambda wildcards: label_set_around(wildcards.label_set),
    output:
        labels="results/labels/{label_set}.parquet",
        report="results/labels/{label_set}.classes.csv",
    log:
        "logs/labels/{label_set}.log",
    benchmark:
        "benchmarks/labels/{label_set}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("labels"),
        settings=lambda wildcards: settings(study.label_sets[wildcards.label_set]),
        archive=lambda wildcards: study.datasets[study.label_sets[wildcards.label_set].dataset].archive,
        second_views=lambda wildcards: second_views(wildcards.label_set),
        general=lambda wildcards, input: (f"--general {input.general}" if input.general else ""),
    message:
        "Grouping and counting the classes of {wildcards.label_set}"
    shell:
        "thorax labels --settings {params.settings:q} --archive {params.archive} --catalog {input.catalog}"
        " --ingested {input.ingested} --second-views {params.second_views:q} --second-ingested {input.second} {params.general}"
        " --out {output.labels} --report {output.report} > {log} 2>&1"


rule split:
    input:
        labels=lambda wildcards: expand(
            "results/labels/{label_set}.parquet",
            label_set=study.splits[wildcards.split].label_sets,
        ),
        catalog=lambda wildcards: f"results/catalog/{split_dataset(wildcards.split)}.parquet",
        duplicates=lambda wildcards: duplicates_of_split(wildcards.split),
    output:
        split="results/splits/{split}.parquet",
        quality="results/splits/{split}.quality.csv",
    log:
        "logs/split/{split}.log",
    benchmark:
        "benchmarks/split/{split}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("split"),
        settings=lambda wildcards: settings(study.splits[wildcards.split]),
        duplicates=lambda wildcards, input: f"--duplicates {input.duplicates}" if input.get("duplicates") else "",
    message:
        "Assigning patients to training, validation and test: {wildcards.split}"
    shell:
        "thorax split --settings {params.settings:q} --labels {input.labels} --catalog {input.catalog} {params.duplicates}"
        " --out {output.split} --quality {output.quality} > {log} 2>&1"
