rule cascade:
    input:
        unpack(cascade_steps),
        unpack(flat_data),
        classes=lambda wildcards: f"results/labels/{inside_label_set(wildcards)}.classes.csv",
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
        settings=lambda wildcards: settings(study.label_sets[inside_label_set(wildcards)]),
        archive=lambda wildcards: study.datasets[study.label_sets[inside_label_set(wildcards)].dataset].archive,
        logits=lambda wildcards: "--logits" if is_member(wildcards) else "",
    message:
        "Putting specific classes inside general ones: {wildcards.model} of {wildcards.cascade}"
    shell:
        "thorax cascade --settings {params.settings:q} --archive {params.archive} --general {input.general}"
        " --inside {input.inside} {params.logits} --classes {input.classes} --labels {input.labels} --split {input.split}"
        " --out {output.scores} > {log} 2>&1"


rule cascade_thresholds:
    input:
        unpack(flat_data),
        scores="results/cascades/{cascade}/{model}.parquet",
    output:
        thresholds="results/thresholds/{cascade}/{model}.parquet",
    log:
        "logs/cascade_thresholds/{cascade}/{model}.log",
    benchmark:
        "benchmarks/cascade_thresholds/{cascade}/{model}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("thresholds"),
        rules=lambda wildcards: flat_experiment(wildcards).thresholds,
    message:
        "Choosing thresholds for {wildcards.model} of {wildcards.cascade}"
    shell:
        "thorax thresholds --labels {input.labels} --split {input.split} --scores {input.scores} --rules {params.rules}"
        " --out {output.thresholds} > {log} 2>&1"


rule cascade_metrics:
    input:
        unpack(flat_data),
        scores=lambda wildcards: of_cascade("cascades", wildcards),
        thresholds=lambda wildcards: of_cascade("thresholds", wildcards),
    output:
        metrics="results/metrics/{cascade}.parquet",
        summary="results/metrics/{cascade}.json",
    log:
        "logs/cascade_metrics/{cascade}.log",
    benchmark:
        "benchmarks/cascade_metrics/{cascade}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("metrics"),
        ensembles=lambda wildcards: named_of_cascade("cascades", wildcards),
        thresholds=lambda wildcards: named_of_cascade("thresholds", wildcards),
        rules=lambda wildcards: flat_experiment(wildcards).thresholds,
        seed=lambda wildcards: flat_experiment(wildcards).seed,
    message:
        "Measuring AUC, F1 and Hamming loss of {wildcards.cascade}"
    shell:
        "thorax metrics --labels {input.labels} --split {input.split} --ensembles {params.ensembles} --rules {params.rules}"
        " --thresholds {params.thresholds} --seed {params.seed} --out {output.metrics} --summary {output.summary} > {log} 2>&1"


rule cascade_tables:
    input:
        unpack(flat_data),
        cascade=rules.cascade_metrics.output.metrics,
        flat=lambda wildcards: f"results/metrics/{study.cascades[wildcards.cascade].flat}.parquet",
    output:
        per_class=report(
            "results/tables/{cascade}/{threshold_rule}/per_class.html",
            caption="../report/cascade.rst",
            category="2. Results",
            subcategory="{cascade}",
            labels={"content": "cascade against flat, per class: {threshold_rule}"},
        ),
        overall=report(
            "results/tables/{cascade}/{threshold_rule}/global.html",
            caption="../report/cascade.rst",
            category="2. Results",
            subcategory="{cascade}",
            labels={"content": "cascade against flat, global: {threshold_rule}"},
        ),
        others=expand(
            "results/tables/{{cascade}}/{{threshold_rule}}/{table}.{suffix}",
            table=["per_class", "global"],
            suffix=["md", "tex", "csv"],
        ),
    log:
        "logs/cascade_tables/{cascade}/{threshold_rule}.log",
    benchmark:
        "benchmarks/cascade_tables/{cascade}/{threshold_rule}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("side-by-side"),
        title=lambda wildcards: study.cascades[wildcards.cascade].title,
        data=lambda wildcards: flat_experiment(wildcards).data,
        columns=lambda wildcards: [
            f"{side}/{model}" for side in ("flat", "cascade") for model in study.cascades[wildcards.cascade].models
        ],
        f1_metric=lambda wildcards: flat_experiment(wildcards).f1_metric,
        folder=lambda wildcards, output: Path(output.per_class).parent,
    message:
        "Writing the tables of {wildcards.cascade} by {wildcards.threshold_rule}"
    shell:
        "thorax side-by-side --title {params.title:q} --data {params.data} --labels {input.labels} --split {input.split}"
        " --metrics flat={input.flat} cascade={input.cascade} --columns {params.columns} --rule {wildcards.threshold_rule}"
        " --f1-metric {params.f1_metric} --out {params.folder} > {log} 2>&1"
