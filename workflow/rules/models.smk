rule weights:
    output:
        "resources/weights/{backbone}.h5",
    localrule: True
    message:
        "Downloading the ImageNet weights of {wildcards.backbone}"
    shell:
        "thorax download weights/{wildcards.backbone} --root resources/weights > {log} 2>&1"


rule bundled_network:
    input:
        bundle=plan.bundle,
        split=plan.file("experiment", "split", "results/splits/*.parquet"),
    output:
        network="results/starts/{experiment}/{member}.keras",
        labels="results/starts/{experiment}/{member}.parquet",
    message:
        "Taking the network out of a bundle that {wildcards.member} of {wildcards.experiment} starts from"
    shell:
        "thorax bundled-network --bundle {input.bundle:q} {params.bundled_member} {params.published_archive}"
        " --split {input.split} --out {output.network} --labels {output.labels} > {log} 2>&1"


# The parameters of a command that its rule does not define are filled in by name: see Blocks.parameter in src/thorax/workflow/blocks.py
rule train:
    input:
        unpack(plan.data("experiment")),
        unpack(plan.second_images),
        unpack(plan.weights),
    output:
        model="results/models/{experiment}/{member}.keras",
        history="results/history/{experiment}/{member}.csv",
        epochs="results/epochs/{experiment}/{member}.csv",
        record="results/history/{experiment}/{member}.json",
    priority: 1  # start the longest jobs first, so that no core is idle at the end
    threads: 8
    resources:
        gpu=1,
        mem_mb=memory(plan.training_memory),
    message:
        "Training {wildcards.member} for {wildcards.experiment}"
    shell:
        "exec thorax train --settings {params.settings_member:q} --labels {input.labels} --split {input.split}"
        " --ingested {input.ingested} --images {input.images} {params.option_pairs}"
        " {params.option_second_ingested} {params.option_second_images} {params.option_weights} {params.option_weights_labels}"
        " --out {output.model} --history {output.history} --epochs {output.epochs} --record {output.record}"
        " --work work/{wildcards.experiment} --threads {threads} > {log} 2>&1"


rule predict:
    input:
        unpack(plan.data("experiment")),
        unpack(plan.second_images),
        model=rules.train.output.model,
    output:
        predictions="results/predictions/{experiment}/{member}.parquet",
        heatmaps="results/heatmaps/{experiment}/{member}.npy",
        attention="results/attention/{experiment}/{member}.npy",
    threads: 8
    resources:
        gpu=1,
        mem_mb=memory(1800),
    message:
        "Predicting validation and test images with {wildcards.member} of {wildcards.experiment}"
    shell:
        "thorax predict-parts --model {input.model} --labels {input.labels} --split {input.split}"
        " --ingested {input.ingested} --images {input.images} {params.option_pairs}"
        " {params.option_second_ingested} {params.option_second_images} {params.option_classes}"
        " --out {output.predictions} {params.option_heatmaps} {params.option_attention} --method {params.heatmap_method} --threads {threads} > {log} 2>&1"


use rule predict as predict_elsewhere with:
    input:
        unpack(plan.data("other")),
        model=rules.train.output.model,
        classes=plan.labels,
    output:
        predictions="results/predictions/{experiment}/{member}@{other}.parquet",
    message:
        "Predicting the test images of {wildcards.other} with {wildcards.member} of {wildcards.experiment}"


rule baseline:
    input:
        unpack(plan.data("experiment")),
    output:
        predictions="results/predictions/{experiment}/baseline.parquet",
    message:
        "Fitting the baseline of {wildcards.experiment}: logistic regression on 32 x 32 pixels"
    shell:
        "thorax baseline --images {input.images} --ingested {input.ingested} --labels {input.labels}"
        " --split {input.split} --out {output.predictions} > {log} 2>&1"
