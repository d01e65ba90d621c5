rule segmenter:
    input:
        manifest="results/raw/pairs/{segmenter}.manifest.parquet",
        split=segmenter_split,
    output:
        model="results/segmenters/{segmenter}.keras",
        history="results/segmenters/{segmenter}.csv",
    log:
        "logs/segmenter/{segmenter}.log",
    benchmark:
        "benchmarks/segmenter/{segmenter}.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    params:
        code=code("segmenter"),
        settings=lambda wildcards: settings(study.segmenters[wildcards.segmenter]),
        split=lambda wildcards, input: f"--split {input.split}" if input.split else "",
    message:
        "Training the lung segmenter {wildcards.segmenter}"
    shell:
        "thorax segmenter --settings {params.settings:q} {params.split} --out {output.model}"
        " --history {output.history} --threads {threads} > {log} 2>&1"


rule lungs:
    input:
        model=rules.segmenter.output.model,
        catalog="results/catalog/{dataset}.parquet",
        ingested="results/ingested/{dataset}.parquet",
        array="results/ingested/{dataset}.{shard}.npy",
    output:
        table="results/lungs/{segmenter}/{dataset}.{shard}.parquet",
        masks="results/lungs/{segmenter}/{dataset}.{shard}.npy",
    log:
        "logs/lungs/{segmenter}/{dataset}.{shard}.log",
    benchmark:
        "benchmarks/lungs/{segmenter}/{dataset}.{shard}.tsv"
    conda:
        ENVIRONMENT
    threads: 4
    params:
        code=code("lungs"),
        settings=lambda wildcards: settings(study.segmenters[wildcards.segmenter]),
    message:
        "Segmenting the lungs of {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "thorax lungs --settings {params.settings:q} --model {input.model} --catalog {input.catalog}"
        " --ingested {input.ingested} --array {input.array} --shard {wildcards.shard}"
        " --table {output.table} --masks {output.masks} --threads {threads} > {log} 2>&1"


rule images:
    input:
        array="results/ingested/{dataset}.{shard}.npy",
        ingested="results/ingested/{dataset}.parquet",
        lungs=lungs_of,
    output:
        images="results/images/{image_set}/{dataset}.{shard}.npy",
    log:
        "logs/images/{image_set}/{dataset}.{shard}.log",
    benchmark:
        "benchmarks/images/{image_set}/{dataset}.{shard}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("images"),
        settings=lambda wildcards: settings(study.image_sets[wildcards.image_set]),
        lungs=lambda wildcards, input: f"--lungs {input.lungs}" if input.lungs else "",
    message:
        "Cropping and resizing {wildcards.dataset} to {wildcards.image_set}, shard {wildcards.shard}"
    shell:
        "thorax images --settings {params.settings:q} --array {input.array} --ingested {input.ingested}"
        " --shard {wildcards.shard} {params.lungs} --out {output.images} > {log} 2>&1"
