rule baseline:
    input:
        unpack(training_data),
    output:
        predictions="results/predictions/{experiment}/baseline.parquet",
    log:
        "logs/baseline/{experiment}.log",
    benchmark:
        "benchmarks/baseline/{experiment}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("baseline"),
    message:
        "Fitting the baseline of {wildcards.experiment}: logistic regression on 32 x 32 pixels"
    shell:
        "thorax baseline --images {input.images} --ingested {input.ingested} --labels {input.labels}"
        " --split {input.split} --out {output.predictions} > {log} 2>&1"


rule ensemble:
    input:
        unpack(labels_that_ensemble_learns_from),
        predictions=lambda wildcards: expand(
            "results/predictions/{experiment}/{member}.parquet",
            experiment=wildcards.experiment,
            member=study.experiments[wildcards.experiment].ensembles[wildcards.ensemble].members,
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
        settings=lambda wildcards: settings(study.experiments[wildcards.experiment].ensembles[wildcards.ensemble]),
        labelled=lambda wildcards, input: f"--labels {input.labels} --split {input.split}" if "labels" in input.keys() else "",
    message:
        "Combining members of {wildcards.experiment}: {wildcards.ensemble}"
    shell:
        "thorax ensemble --settings {params.settings:q} --predictions {input.predictions} {params.labelled}"
        " --out {output.ensemble} > {log} 2>&1"


rule thresholds:
    input:
        labels=lambda wildcards: training_data(wildcards)["labels"],
        split=lambda wildcards: training_data(wildcards)["split"],
        scores=lambda wildcards: scores_file(wildcards.experiment, wildcards.model),
    output:
        thresholds="results/thresholds/{experiment}/{model}.parquet",
    log:
        "logs/thresholds/{experiment}/{model}.log",
    benchmark:
        "benchmarks/thresholds/{experiment}/{model}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("thresholds"),
        rules=lambda wildcards: study.experiments[wildcards.experiment].tuned,
        logits=lambda wildcards: logits_option(wildcards.experiment, wildcards.model),
    message:
        "Tuning the thresholds of {wildcards.model} of {wildcards.experiment} on validation images"
    shell:
        "thorax thresholds --labels {input.labels} --split {input.split} --scores {input.scores} {params.logits}"
        " --rules {params.rules} --out {output.thresholds} > {log} 2>&1"


rule metrics:
    input:
        labels=lambda wildcards: training_data(wildcards)["labels"],
        split=lambda wildcards: training_data(wildcards)["split"],
        predictions=lambda wildcards: expand(
            "results/predictions/{experiment}/{model}.parquet",
            experiment=wildcards.experiment,
            model=[*study.experiments[wildcards.experiment].members, "baseline"],
        ),
        ensembles=lambda wildcards: expand(
            "results/ensembles/{experiment}/{ensemble}.parquet",
            experiment=wildcards.experiment,
            ensemble=study.experiments[wildcards.experiment].ensembles,
        ),
        thresholds=lambda wildcards: expand(
            "results/thresholds/{experiment}/{model}.parquet",
            experiment=wildcards.experiment,
            model=tuned_models(wildcards.experiment),
        ),
    output:
        metrics="results/metrics/{experiment}.parquet",
        summary="results/metrics/{experiment}.json",
    log:
        "logs/metrics/{experiment}.log",
    benchmark:
        "benchmarks/metrics/{experiment}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("metrics"),
        predictions=lambda wildcards: named(
            "predictions",
            [*study.experiments[wildcards.experiment].members, "baseline"],
            wildcards.experiment,
        ),
        ensembles=lambda wildcards: named(
            "ensembles",
            study.experiments[wildcards.experiment].ensembles,
            wildcards.experiment,
        ),
        thresholds=lambda wildcards: named("thresholds", tuned_models(wildcards.experiment), wildcards.experiment),
        rules=lambda wildcards: study.experiments[wildcards.experiment].thresholds,
        exclusive=exclusive_option,
        seed=lambda wildcards: study.experiments[wildcards.experiment].seed,
    message:
        "Measuring AUC, F1 and Hamming loss of {wildcards.experiment}"
    shell:
        "thorax metrics --labels {input.labels} --split {input.split} --predictions {params.predictions}"
        " --ensembles {params.ensembles} --rules {params.rules} --thresholds {params.thresholds} {params.exclusive}"
        " --seed {params.seed} --out {output.metrics} --summary {output.summary} > {log} 2>&1"
