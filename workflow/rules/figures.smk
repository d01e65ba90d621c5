rule figure_labels:
    input:
        labels="results/labels/{label_set}.parquet",
        split="results/splits/{split}.parquet",
    output:
        **figure("labels"),
    message:
        "Drawing the label distribution of {wildcards.label_set}"
    shell:
        "thorax figure-labels --labels {input.labels} --split {input.split} --title {wildcards.label_set}"
        " --out {params.stem} > {log} 2>&1"


rule figure_cooccurrence:
    input:
        labels="results/labels/{label_set}.parquet",
    output:
        **figure("cooccurrence"),
    params:
        classes="",
        title="{label_set}",
    message:
        "Drawing the co-occurrence of the classes of {wildcards.label_set}"
    shell:
        "thorax figure-cooccurrence --labels {input.labels} {params.classes} --title {params.title:q}"
        " --out {params.stem} > {log} 2>&1"


use rule figure_cooccurrence as figure_cooccurrence_of_paper with:
    input:
        labels=plan.labels,
    output:
        **figure("cooccurrence_named"),
    params:
        classes=plan.cooccurring_classes,
        title=plan.field("experiment", "title"),
    message:
        "Drawing the co-occurrence of the paper's classes in {wildcards.experiment}"


rule figure_terms:
    input:
        catalog=plan.catalog,
    output:
        **figure("terms"),
    params:
        settings=plan.settings("label_set", "dataset", "views", "two_parents", "padded_labels", "padded_kept"),
    message:
        "Drawing a section of the term tree with the images of {wildcards.label_set}"
    shell:
        "thorax figure-terms --catalog {input.catalog} --settings {params.settings:q} --archive {params.archive}"
        " --title {wildcards.label_set} --out {params.stem} > {log} 2>&1"


rule figure_lungs:
    input:
        unpack(plan.lungs_figure),
    output:
        **figure("lungs"),
    message:
        "Drawing original, lung mask, crop and network input of {wildcards.image_set}"
    shell:
        "thorax figure-lungs --catalog {input.catalog} --ingested {input.ingested} --arrays {input.arrays}"
        " --lungs {input.lungs} --masks {input.masks} --images {input.images} --out {params.stem} > {log} 2>&1"


rule figure_shares:
    input:
        unpack(plan.truth),
    output:
        **figure("shares"),
    message:
        "Drawing the share of each class of {wildcards.experiment}"
    shell:
        "thorax figure-shares --labels {input.labels} --split {input.split} {params.key_paper} --title {params.title:q}"
        " --out {params.stem} > {log} 2>&1"


rule figure_training:
    input:
        histories=plan.of_models("history"),
    output:
        **figure("training"),
    message:
        "Drawing the losses of {wildcards.experiment}"
    shell:
        "thorax figure-training --histories {params.named_histories} --title {params.title:q} --out {params.stem} > {log} 2>&1"


rule figure_epochs:
    input:
        epochs=plan.of_models("epochs"),
    output:
        **figure("epochs"),
    message:
        "Drawing the test results of {wildcards.experiment} by epoch"
    shell:
        "thorax figure-epochs --epochs {params.named_epochs} --title {params.title:q} --f1-metric {params.f1_metric}"
        " --out {params.stem} > {log} 2>&1"


rule figure_roc:
    input:
        unpack(plan.truth),
        scores=plan.scores,
    output:
        **figure("roc"),
    message:
        "Drawing the ROC curves of {params.curves_model} of {wildcards.experiment}"
    shell:
        "thorax figure-roc --labels {input.labels} --split {input.split} --scores {input.scores} {params.logits}"
        " --model {params.curves_model} --title {params.title:q} --provenance {params.provenance} --out {params.stem} > {log} 2>&1"


rule figure_cross:
    input:
        matrix="results/tables/cross/{cross}/matrix.csv",
    output:
        **figure("cross_figure"),
    params:
        archives=named(plan.cross_archives),
    message:
        "Drawing the matrix of {wildcards.cross}"
    shell:
        "thorax figure-cross --matrix {input.matrix} --archives {params.archives} --title {params.title:q}"
        " --out {params.stem} > {log} 2>&1"
