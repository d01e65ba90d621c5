use rule catalog as audit_catalog with:
    input:
        manifest=lambda wildcards: audited_metadata(wildcards.dataset),
    output:
        catalog="results/audit/catalog/{dataset}.parquet",
        boxes="results/audit/boxes/{dataset}.parquet",
    log:
        "logs/audit/catalog/{dataset}.log",
    benchmark:
        "benchmarks/audit/catalog/{dataset}.tsv"
    params:
        settings=lambda wildcards: settings(audited_dataset(wildcards.dataset), "archive", "root"),


rule audit_labels:
    input:
        catalog=lambda wildcards: f"results/audit/catalog/{study.label_sets[wildcards.label_set].dataset}.parquet",
    output:
        labels="results/audit/labels/{label_set}.parquet",
        report="results/audit/labels/{label_set}.classes.csv",
    log:
        "logs/audit/labels/{label_set}.log",
    benchmark:
        "benchmarks/audit/labels/{label_set}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("labels"),
        settings=lambda wildcards: settings(study.label_sets[wildcards.label_set]),
        archive=lambda wildcards: study.datasets[study.label_sets[wildcards.label_set].dataset].archive,
        second_views=lambda wildcards: second_views(wildcards.label_set),
    message:
        "Counting the classes of {wildcards.label_set} from metadata alone"
    shell:
        "thorax labels --settings {params.settings:q} --archive {params.archive} --catalog {input.catalog}"
        " --second-views {params.second_views:q} --out {output.labels} --report {output.report} > {log} 2>&1"


use rule split as audit_split with:
    input:
        labels=lambda wildcards: expand(
            "results/audit/labels/{label_set}.parquet",
            label_set=study.splits[wildcards.split].label_sets,
        ),
        catalog=lambda wildcards: f"results/audit/catalog/{split_dataset(wildcards.split)}.parquet",
    output:
        split="results/audit/splits/{split}.parquet",
        quality="results/audit/splits/{split}.quality.csv",
    log:
        "logs/audit/split/{split}.log",
    benchmark:
        "benchmarks/audit/split/{split}.tsv"


rule audit_counts:
    input:
        catalog=lambda wildcards: f"results/audit/catalog/{study.label_sets[wildcards.label_set].dataset}.parquet",
        labels="results/audit/labels/{label_set}.parquet",
        split=lambda wildcards: f"results/audit/splits/{split_serving(wildcards.label_set)}.parquet",
    output:
        page=report(
            "results/audit/counts/{label_set}.html",
            caption="../report/audit_counts.rst",
            category="3. Audit",
            labels={"content": "published counts beside ours: {label_set}"},
        ),
        others=expand("results/audit/counts/{{label_set}}.{suffix}", suffix=["md", "tex", "csv"]),
    log:
        "logs/audit/counts/{label_set}.log",
    benchmark:
        "benchmarks/audit/counts/{label_set}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("audit"),
        settings=lambda wildcards: settings(study.label_sets[wildcards.label_set]),
        archive=lambda wildcards: study.datasets[study.label_sets[wildcards.label_set].dataset].archive,
        folder=lambda wildcards, output: Path(output.page).parent,
    message:
        "Comparing the counts of {wildcards.label_set} with the published ones"
    shell:
        "thorax audit --settings {params.settings:q} --archive {params.archive} --catalog {input.catalog}"
        " --labels {input.labels} --split {input.split} --out {params.folder} > {log} 2>&1"


rule audit_overview:
    input:
        catalogs=expand("results/audit/catalog/{dataset}.parquet", dataset=audited_datasets()),
        audited=expand("results/audit/counts/{label_set}.csv", label_set=audited_label_sets()),
        qualities=expand("results/audit/splits/{split}.quality.csv", split=audited_splits()),
    output:
        datasets=report(
            "results/audit/datasets.html",
            caption="../report/audit_datasets.rst",
            category="3. Audit",
            labels={"content": "archives beside the published numbers"},
        ),
        label_sets=report(
            "results/audit/label_sets.html",
            caption="../report/audit_label_sets.rst",
            category="3. Audit",
            labels={"content": "label sets and splits beside the published numbers"},
        ),
        others=expand(
            "results/audit/{table}.{suffix}",
            table=["datasets", "label_sets"],
            suffix=["md", "tex", "csv"],
        ),
    log:
        "logs/audit/overview.log",
    benchmark:
        "benchmarks/audit/overview.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("audit-overview"),
        catalogs=[f"{name}=results/audit/catalog/{name}.parquet" for name in audited_datasets()],
        qualities=[f"{name}=results/audit/splits/{name}.quality.csv" for name in audited_splits()],
        absent=[name for name in absent_datasets() if name in map(split_dataset, study.splits)],
        folder=lambda wildcards, output: Path(output.datasets).parent,
    message:
        "Comparing archives, label sets and splits with the published numbers"
    shell:
        "thorax audit-overview --catalogs {params.catalogs} --audited {input.audited} --qualities {params.qualities}"
        " --absent {params.absent} --out {params.folder} > {log} 2>&1"


rule audit_weights:
    output:
        page=report(
            "results/audit/pos_weights/liz2022-specific.html",
            caption="../report/audit_weights.rst",
            category="3. Audit",
            labels={"content": "weights of the positives that the published scores allow"},
        ),
        others=expand("results/audit/pos_weights/liz2022-specific.{suffix}", suffix=["md", "tex", "csv"]),
    log:
        "logs/audit/pos_weights.log",
    benchmark:
        "benchmarks/audit/pos_weights.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("audit-weights"),
        folder=lambda wildcards, output: Path(output.page).parent,
    message:
        "Comparing published F1 and Hamming loss with what weights of the positives can give"
    shell:
        "thorax audit-weights --out {params.folder} > {log} 2>&1"


use rule systems as audit_systems with:
    output:
        page=report(
            "results/audit/systems/{archive}/{table}.html",
            caption="../report/systems.rst",
            category="3. Audit",
            labels={"content": "other published systems: {archive}, {table}"},
        ),
        others=expand("results/audit/systems/{{archive}}/{{table}}.{suffix}", suffix=["md", "tex", "csv"]),
    log:
        "logs/audit/systems/{archive}/{table}.log",
    benchmark:
        "benchmarks/audit/systems/{archive}/{table}.tsv"


rule compare_splitters:
    input:
        labels="results/audit/labels/{label_set}.parquet",
    output:
        page=report(
            "results/audit/splitters/{label_set}.html",
            caption="../report/audit_splitters.rst",
            category="3. Audit",
            labels={"content": "our split beside others: {label_set}"},
        ),
        others=expand("results/audit/splitters/{{label_set}}.{suffix}", suffix=["md", "tex", "csv"]),
    log:
        "logs/audit/splitters/{label_set}.log",
    benchmark:
        "benchmarks/audit/splitters/{label_set}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("compare-splitters"),
        settings=lambda wildcards: settings(study.splits[study.audit.compare[wildcards.label_set]]),
        folder=lambda wildcards, output: Path(output.page).parent,
    message:
        "Comparing our split of {wildcards.label_set} with those of other libraries"
    shell:
        "thorax compare-splitters --settings {params.settings:q} --labels {input.labels} --out {params.folder} > {log} 2>&1"


rule audit:
    input:
        audit_pages(),
