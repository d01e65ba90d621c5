rule ingest:
    input:
        images=rules.image_list.output.images,
    output:
        array="results/ingested/{dataset}.{shard}.npy",
        table="results/ingested/{dataset}.{shard}.parquet",
    threads: 4
    params:
        settings=plan.settings("dataset", "archive", "root", "views", "shards", "max_pixels", "dicom_window"),
    message:
        "Reading the radiographs of {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "thorax ingest --settings {params.settings:q} --catalog {input.images} --shard {wildcards.shard}"
        " --array {output.array} --table {output.table} --threads {threads} > {log} 2>&1"


rule merge_ingested:
    input:
        tables=expand("results/ingested/{{dataset}}.{shard}.parquet", shard=plan.shards),
    output:
        table="results/ingested/{dataset}.parquet",
        duplicates="results/ingested/{dataset}.duplicates.parquet",
    params:
        settings=plan.settings("dataset", "archive", "root", "views", "shards", "max_bad_share"),
    message:
        "Counting the readable radiographs of {wildcards.dataset} and finding duplicates"
    shell:
        "thorax merge-ingested --settings {params.settings:q} --tables {input.tables} --out {output.table}"
        " --duplicates {output.duplicates} > {log} 2>&1"


rule segmenter:
    input:
        manifest="results/raw/pairs/{segmenter}.manifest.parquet",
        split=plan.file("segmenter", "train_patients_of", "results/splits/*.parquet"),
    output:
        model="results/segmenters/{segmenter}.keras",
        history="results/segmenters/{segmenter}.csv",
    threads: 8
    message:
        "Training the lung segmenter {wildcards.segmenter}"
    shell:
        "thorax segmenter --settings {params.settings_segmenter:q} {params.option_split} --out {output.model}"
        " --history {output.history} --threads {threads} > {log} 2>&1"


rule lungs:
    input:
        model=rules.segmenter.output.model,
        images=rules.image_list.output.images,
        ingested="results/ingested/{dataset}.parquet",
        array="results/ingested/{dataset}.{shard}.npy",
    output:
        table="results/lungs/{segmenter}/{dataset}.{shard}.parquet",
        masks="results/lungs/{segmenter}/{dataset}.{shard}.npy",
    threads: 4
    message:
        "Segmenting the lungs of {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "thorax lungs --settings {params.settings_segmenter:q} --model {input.model} --catalog {input.images}"
        " --ingested {input.ingested} --array {input.array} --shard {wildcards.shard}"
        " --table {output.table} --masks {output.masks} --threads {threads} > {log} 2>&1"


rule images:
    input:
        array="results/ingested/{dataset}.{shard}.npy",
        ingested="results/ingested/{dataset}.parquet",
        lungs=plan.file("image_set", "segmenter", "results/lungs/*/{dataset}.{shard}.parquet"),
    output:
        images="results/images/{image_set}/{dataset}.{shard}.npy",
    message:
        "Cropping and resizing {wildcards.dataset} to {wildcards.image_set}, shard {wildcards.shard}"
    shell:
        "thorax images --settings {params.settings_image_set:q} --array {input.array} --ingested {input.ingested}"
        " --shard {wildcards.shard} {params.option_lungs} --out {output.images} > {log} 2>&1"
