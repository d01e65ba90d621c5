rule ensemble:
    input:
        unpack(plan.truth_to_learn),
        predictions=expand(
            "results/predictions/{{experiment}}/{member}.parquet",
            member=plan.field("ensemble", "members"),
        ),
    output:
        ensemble="results/ensembles/{experiment}/{ensemble}.parquet",
    log:
        "logs/ensemble/{experiment}/{ensemble}.log",
    benchmark:
        "benchmarks/ensemble/{experiment}/{ensemble}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("ensemble"),
        settings=plan.settings("ensemble"),
        labelled=options("labels", "split"),
    message:
        "Combining members of {wildcards.experiment}: {wildcards.ensemble}"
    shell:
        "thorax ensemble --settings {params.settings:q} --predictions {input.predictions} {params.labelled}"
        " --out {output.ensemble} > {log} 2>&1"


use rule ensemble as ensemble_elsewhere with:
    input:
        predictions=expand(
            "results/predictions/{{experiment}}/{member}@{{other}}.parquet",
            member=plan.field("ensemble", "members"),
        ),
    output:
        ensemble="results/ensembles/{experiment}/{ensemble}@{other}.parquet",
    log:
        "logs/ensemble_elsewhere/{experiment}/{ensemble}/{other}.log",
    benchmark:
        "benchmarks/ensemble_elsewhere/{experiment}/{ensemble}/{other}.tsv"
    message:
        "Combining members of {wildcards.experiment} on the test images of {wildcards.other}: {wildcards.ensemble}"


rule cascade:
    input:
        unpack(plan.cascade_steps),
        unpack(plan.truth),
        classes=expand("results/labels/{label_set}.classes.csv", label_set=plan.inside_label_set),
    output:
        scores="results/cascades/{cascade}/{model}.parquet",
    log:
        "logs/cascade/{cascade}/{model}.log",
    benchmark:
        "benchmarks/cascade/{cascade}/{model}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("cascade"),
        settings=plan.inside_settings,
        archive=plan.archive,
        logits=plan.logits,
    message:
        "Combining general and specific classes: {wildcards.model} of {wildcards.cascade}"
    shell:
        "thorax cascade --settings {params.settings:q} --archive {params.archive} --general {input.general}"
        " --inside {input.inside} {params.logits} --classes {input.classes} --labels {input.labels} --split {input.split}"
        " --out {output.scores} > {log} 2>&1"


rule metrics:
    input:
        unpack(plan.truth),
        predictions=plan.predictions,
        ensembles=plan.ensembles,
    output:
        metrics="results/metrics/{experiment}.parquet",
        summary="results/metrics/{experiment}.json",
        thresholds="results/thresholds/{experiment}.parquet",
    log:
        "logs/metrics/{experiment}.log",
    benchmark:
        "benchmarks/metrics/{experiment}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("metrics"),
        predictions=named(plan.predictions),
        ensembles=named(plan.ensembles),
        rules=plan.field("experiment", "thresholds"),
        exclusive=plan.exclusive,
        seed=plan.field("experiment", "seed"),
    message:
        "Measuring AUC, F1 and Hamming loss of {wildcards.experiment}"
    shell:
        "thorax metrics --labels {input.labels} --split {input.split} --predictions {params.predictions}"
        " --ensembles {params.ensembles} --rules {params.rules} {params.exclusive} --seed {params.seed} --out {output.metrics}"
        " --summary {output.summary} --thresholds {output.thresholds} > {log} 2>&1"


use rule metrics as cascade_metrics with:
    input:
        unpack(plan.truth),
        scores=plan.cascade_files("cascades"),
    output:
        metrics="results/metrics/{cascade}.parquet",
        summary="results/metrics/{cascade}.json",
        thresholds="results/thresholds/{cascade}.parquet",
    log:
        "logs/cascade_metrics/{cascade}.log",
    benchmark:
        "benchmarks/cascade_metrics/{cascade}.tsv"
    params:
        predictions=[],
        ensembles=named(plan.cascade_files("cascades")),
        rules=plan.leading("thresholds"),
        exclusive="",
        seed=plan.leading("seed"),
    message:
        "Measuring AUC, F1 and Hamming loss of {wildcards.cascade}"
