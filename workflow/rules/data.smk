localrules:
    download_archive,
    download_pairs,


rule download_archive:
    output:
        files="results/raw/{dataset}.files.csv",
    log:
        "logs/download_archive/{dataset}.log",
    benchmark:
        "benchmarks/download_archive/{dataset}.tsv"
    conda:
        ENVIRONMENT
    params:
        archive=lambda wildcards: study.datasets[wildcards.dataset].archive,
        root=lambda wildcards: study.datasets[wildcards.dataset].root,
    message:
        "Fetching what is missing of {wildcards.dataset}"
    shell:
        "thorax download {params.archive} --root {params.root:q} --out {output.files} > {log} 2>&1"


rule download_pairs:
    output:
        files="results/raw/{segmenter}.pairs.csv",
    log:
        "logs/download_pairs/{segmenter}.log",
    benchmark:
        "benchmarks/download_pairs/{segmenter}.tsv"
    conda:
        ENVIRONMENT
    params:
        groups=lambda wildcards: study.segmenters[wildcards.segmenter].download,
        root=lambda wildcards: study.segmenters[wildcards.segmenter].pairs,
    message:
        "Fetching radiographs with lung masks for {wildcards.segmenter}"
    shell:
        "thorax download {params.groups} --root {params.root:q} --out {output.files} > {log} 2>&1"


rule phantom:
    output:
        boxes="{phantom_root}/boxes.csv",
        pairs="{phantom_root}/lung_masks/pairs.csv",
    log:
        "logs/phantom/{phantom_root}.log",
    benchmark:
        "benchmarks/phantom/{phantom_root}.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    params:
        code=code("phantom"),
        archive=lambda wildcards: phantom_in(wildcards.phantom_root).archive,
        settings=lambda wildcards: settings(phantom_in(wildcards.phantom_root).phantom),
    message:
        "Making an archive of synthetic radiographs in {wildcards.phantom_root}"
    shell:
        "thorax phantom --archive {params.archive} --settings {params.settings:q} --root {wildcards.phantom_root:q}"
        " --threads {threads} > {log:q} 2>&1"


rule manifest:
    input:
        lambda wildcards: made_before(wildcards.dataset),
    output:
        manifest="results/raw/{dataset}.manifest.parquet",
    log:
        "logs/manifest/{dataset}.log",
    benchmark:
        "benchmarks/manifest/{dataset}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("manifest"),
        root=lambda wildcards: study.datasets[wildcards.dataset].root,
        settings=lambda wildcards: "--settings "
        + shlex.quote(settings(study.datasets[wildcards.dataset], "archive", "root", "views")),
        memory=lambda wildcards: memory_of(wildcards.dataset),
    message:
        "Listing the files of {wildcards.dataset}"
    shell:
        "thorax manifest --root {params.root:q} {params.settings} --memory {params.memory} --out {output.manifest} > {log} 2>&1"


use rule manifest as pairs_manifest with:
    input:
        lambda wildcards: made_before_pairs(wildcards.segmenter),
    output:
        manifest="results/raw/pairs/{segmenter}.manifest.parquet",
    log:
        "logs/manifest/pairs/{segmenter}.log",
    benchmark:
        "benchmarks/manifest/pairs/{segmenter}.tsv"
    params:
        root=lambda wildcards: study.segmenters[wildcards.segmenter].pairs,
        settings="",  # pairs are read in one way
        memory=lambda wildcards: memory_of(f"pairs/{wildcards.segmenter}"),
    message:
        "Listing the radiographs with lung masks of {wildcards.segmenter}"


rule catalog:
    input:
        manifest="results/raw/{dataset}.manifest.parquet",
    output:
        catalog="results/catalog/{dataset}.parquet",
        boxes="results/boxes/{dataset}.parquet",
    log:
        "logs/catalog/{dataset}.log",
    benchmark:
        "benchmarks/catalog/{dataset}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("catalog"),
        settings=lambda wildcards: settings(study.datasets[wildcards.dataset], "archive", "root"),
    message:
        "Reading the metadata of {wildcards.dataset}"
    shell:
        "thorax catalog --settings {params.settings:q} --out {output.catalog} --boxes {output.boxes} > {log} 2>&1"


rule ingest:
    input:
        manifest="results/raw/{dataset}.manifest.parquet",
        catalog=rules.catalog.output.catalog,
    output:
        array="results/ingested/{dataset}.{shard}.npy",
        table="results/ingested/{dataset}.{shard}.parquet",
    log:
        "logs/ingest/{dataset}.{shard}.log",
    benchmark:
        "benchmarks/ingest/{dataset}.{shard}.tsv"
    conda:
        ENVIRONMENT
    threads: 4
    params:
        code=code("ingest"),
        settings=lambda wildcards: settings(
            study.datasets[wildcards.dataset],
            "archive",
            "root",
            "views",
            "shards",
            "max_pixels",
        ),
    message:
        "Opening the radiographs of {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "thorax ingest --settings {params.settings:q} --catalog {input.catalog} --shard {wildcards.shard}"
        " --array {output.array} --table {output.table} --threads {threads} > {log} 2>&1"


rule merge_ingested:
    input:
        tables=lambda wildcards: shards("results/ingested/{dataset}.{shard}.parquet", wildcards.dataset),
    output:
        table="results/ingested/{dataset}.parquet",
        duplicates="results/ingested/{dataset}.duplicates.parquet",
    log:
        "logs/merge_ingested/{dataset}.log",
    benchmark:
        "benchmarks/merge_ingested/{dataset}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("merge-ingested"),
        settings=lambda wildcards: settings(
            study.datasets[wildcards.dataset],
            "archive",
            "root",
            "views",
            "shards",
            "max_bad_share",
        ),
    message:
        "Counting the readable radiographs of {wildcards.dataset} and looking for copies"
    shell:
        "thorax merge-ingested --settings {params.settings:q} --tables {input.tables} --out {output.table}"
        " --duplicates {output.duplicates} > {log} 2>&1"
