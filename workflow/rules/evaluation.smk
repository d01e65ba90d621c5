rule ensemble:
    input:
        unpack(plan.truth_to_learn),
        predictions=expand("results/predictions/{{experiment}}/{member}.parquet", member=plan.field("ensemble", "members")),
    output:
        ensemble="results/ensembles/{experiment}/{ensemble}.parquet",
    message:
        "Combining members of {wildcards.experiment}: {wildcards.ensemble}"
    shell:
        "thorax ensemble --settings {params.settings_ensemble:q} --predictions {input.predictions} {params.option_labels}"
        " {params.option_split} --out {output.ensemble} > {log} 2>&1"


use rule ensemble as ensemble_elsewhere with:
    input:
        predictions=expand(
            "results/predictions/{{experiment}}/{member}@{{other}}.parquet", member=plan.field("ensemble", "members")
        ),
    output:
        ensemble="results/ensembles/{experiment}/{ensemble}@{other}.parquet",
    message:
        "Combining members of {wildcards.experiment} on the test images of {wildcards.other}: {wildcards.ensemble}"


rule cascade:
    input:
        unpack(plan.cascade_steps),
        unpack(plan.truth),
        classes=expand("results/labels/{label_set}.classes.csv", label_set=plan.inside_label_set),
    output:
        scores="results/cascades/{cascade}/{model}.parquet",
    message:
        "Combining general and specific classes: {wildcards.model} of {wildcards.cascade}"
    shell:
        "thorax cascade --settings {params.inside_settings:q} --archive {params.archive} --general {input.general}"
        " --inside {input.inside} {params.logits} --classes {input.classes} --labels {input.labels} --split {input.split}"
        " --out {output.scores} > {log} 2>&1"


rule metrics:
    input:
        unpack(plan.models),
    output:
        metrics="results/metrics/{experiment}.parquet",
        summary=directory("results/metrics/{experiment}"),
        thresholds="results/thresholds/{experiment}.parquet",
        differences="results/differences/{experiment}.parquet",
    message:
        "Measuring AUC, F1 and Hamming loss of {wildcards.experiment}"
    shell:
        "thorax metrics --labels {input.labels} --split {input.split} --predictions {params.named_predictions}"
        " --ensembles {params.named_ensembles} --rules {params.thresholds} {params.key_exclusive} --seed {params.seed} --out {output.metrics}"
        " --summary {output.summary} --thresholds {output.thresholds} {params.option_differences} > {log} 2>&1"


use rule metrics as cascade_metrics with:
    input:
        unpack(plan.truth),
        ensembles=plan.cascade_scores,
    output:
        metrics="results/metrics/{cascade}.parquet",
        summary=directory("results/metrics/{cascade}"),
        thresholds="results/thresholds/{cascade}.parquet",
    params:
        key_exclusive="",
    message:
        "Measuring AUC, F1 and Hamming loss of {wildcards.cascade}"


rule differences:
    input:
        unpack(plan.truth),
        predictions=plan.column_files("predictions"),
        ensembles=plan.column_files("ensembles"),
    output:
        differences="results/differences/comparisons/{comparison}.parquet",
    params:
        predictions=named(plan.column_scores("predictions")),
        ensembles=named(plan.column_scores("ensembles")),
    message:
        "Measuring how far the models of {wildcards.comparison} differ"
    shell:
        "thorax differences --labels {input.labels} --split {input.split} --predictions {params.predictions} --ensembles {params.ensembles}"
        " --columns {params.columns} --rules {params.thresholds} --seed {params.seed} --out {output.differences} > {log} 2>&1"


use rule differences as cascade_differences with:
    output:
        differences="results/differences/{cascade}.parquet",
    message:
        "Measuring how far {wildcards.cascade} and the flat network differ"


use rule differences as ablation_differences with:
    output:
        differences="results/differences/ablations/{ablation}.parquet",
    message:
        "Measuring how far the variants of {wildcards.ablation} differ"


rule calibration:
    input:
        unpack(plan.models),
    output:
        scaling="results/calibration/{experiment}.parquet",
    message:
        "Fitting the scaling of the probabilities of {wildcards.experiment}"
    shell:
        "thorax calibration --labels {input.labels} --split {input.split} --predictions {params.named_predictions}"
        " --ensembles {params.named_ensembles} --out {output.scaling} > {log} 2>&1"
