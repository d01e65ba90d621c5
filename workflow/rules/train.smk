localrules:
    weights,


rule weights:
    output:
        "resources/weights/{backbone}.h5",
    log:
        "logs/weights/{backbone}.log",
    conda:
        ENVIRONMENT
    message:
        "Downloading the ImageNet weights of {wildcards.backbone}"
    shell:
        "thorax download weights/{wildcards.backbone} --root resources/weights > {log} 2>&1"


rule train:
    input:
        unpack(training_data),
        unpack(second_images),
        weights=weights_of,
    output:
        model="results/models/{experiment}/{member}.keras",
        history="results/history/{experiment}/{member}.csv",
        epochs="results/epochs/{experiment}/{member}.csv",
    log:
        "logs/train/{experiment}/{member}.log",
    benchmark:
        "benchmarks/train/{experiment}/{member}.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        gpu=1,
        mem_mb=memory(training_memory),
    params:
        code=code("train"),
        settings=lambda wildcards: settings(study.experiments[wildcards.experiment].member(wildcards.member)),
        work=lambda wildcards: f"work/{wildcards.experiment}",
        second=second_options,
        weights=lambda wildcards, input: (f"--weights {input.weights}" if input.weights else ""),
    message:
        "Training {wildcards.member} for {wildcards.experiment}"
    shell:
        "exec thorax train --settings {params.settings:q} --labels {input.labels} --split {input.split}"
        " --ingested {input.ingested} --images {input.images} {params.second} {params.weights}"
        " --out {output.model} --history {output.history} --epochs {output.epochs} --work {params.work} --threads {threads}"
        " > {log} 2>&1"


rule cases:
    input:
        labels=lambda wildcards: training_data(wildcards)["labels"],
        split=lambda wildcards: training_data(wildcards)["split"],
    output:
        cases="results/cases/{experiment}.parquet",
    log:
        "logs/cases/{experiment}.log",
    benchmark:
        "benchmarks/cases/{experiment}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("cases"),
        number=lambda wildcards: study.experiments[wildcards.experiment].cases,
        seed=lambda wildcards: study.experiments[wildcards.experiment].seed,
        classes=lambda wildcards: study.experiments[wildcards.experiment].case_classes,
    message:
        "Choosing the test images that {wildcards.experiment} explains"
    shell:
        "thorax cases --labels {input.labels} --split {input.split} --count {params.number} --seed {params.seed}"
        " --classes {params.classes:q} --out {output.cases} > {log} 2>&1"


rule predict:
    input:
        unpack(training_data),
        unpack(second_images),
        model=rules.train.output.model,
        cases=rules.cases.output.cases,
    output:
        predictions="results/predictions/{experiment}/{member}.parquet",
        heatmaps="results/heatmaps/{experiment}/{member}.npy",
    log:
        "logs/predict/{experiment}/{member}.log",
    benchmark:
        "benchmarks/predict/{experiment}/{member}.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        gpu=1,
        mem_mb=memory(1800),
    params:
        code=code("predict"),
        second=second_options,
    message:
        "Predicting validation and test images with {wildcards.member} of {wildcards.experiment}"
    shell:
        "thorax predict --model {input.model} --labels {input.labels} --split {input.split}"
        " --ingested {input.ingested} --images {input.images} {params.second} --cases {input.cases}"
        " --out {output.predictions} --heatmaps {output.heatmaps} --threads {threads} > {log} 2>&1"
