rule figure_labels:
    input:
        labels="results/labels/{label_set}.parquet",
        split="results/splits/{split}.parquet",
        notebook=notebook("labels"),
    output:
        **figure("labels"),
    params:
        settings=plan.notebook("distribution", title=lambda wildcards: wildcards.label_set),
    message:
        "Drawing the label distribution of {wildcards.label_set}"
    shell:
        RENDER


rule figure_cooccurrence:
    input:
        labels="results/labels/{label_set}.parquet",
        notebook=notebook("labels"),
    output:
        **figure("cooccurrence"),
    params:
        settings=plan.notebook("cooccurrence", title=lambda wildcards: wildcards.label_set),
    message:
        "Drawing the co-occurrence of the classes of {wildcards.label_set}"
    shell:
        RENDER


rule figure_cooccurrence_of_paper:
    input:
        labels=plan.labels,
        notebook=notebook("labels"),
    output:
        **figure("cooccurrence_named"),
    params:
        settings=plan.notebook("cooccurrence", "title", classes=plan.field("experiment", "cooccurrence")),
    message:
        "Drawing the co-occurrence of the paper's classes in {wildcards.experiment}"
    shell:
        RENDER


rule figure_terms:
    input:
        catalog=plan.catalog,
        notebook=notebook("labels"),
    output:
        **figure("terms"),
    params:
        settings=plan.notebook("terms", "archive", label_set=plan.term_settings, title=lambda wildcards: wildcards.label_set),
    message:
        "Drawing a section of the term tree with the images of {wildcards.label_set}"
    shell:
        RENDER


rule figure_lungs:
    input:
        unpack(plan.lungs_figure),
        notebook=notebook("images"),
    output:
        **figure("lungs"),
    params:
        settings=plan.notebook("lungs", title="From original to network input"),
    message:
        "Drawing original, lung mask, crop and network input of {wildcards.image_set}"
    shell:
        RENDER


rule figure_shares:
    input:
        unpack(plan.truth),
        notebook=notebook("labels"),
    output:
        **figure("shares"),
    params:
        settings=plan.notebook("shares", "title", "paper"),
    message:
        "Drawing the share of each class of {wildcards.experiment}"
    shell:
        RENDER


rule figure_training:
    input:
        histories=plan.of_models("history"),
        notebook=notebook("models"),
    output:
        **figure("training"),
    params:
        settings=plan.notebook("training", "title"),
    message:
        "Drawing the losses of {wildcards.experiment}"
    shell:
        RENDER


rule figure_epochs:
    input:
        epochs=plan.of_models("epochs"),
        notebook=notebook("models"),
    output:
        **figure("epochs"),
    params:
        settings=plan.notebook("epochs", "title", "f1_metric"),
    message:
        "Drawing the test results of {wildcards.experiment} by epoch"
    shell:
        RENDER


rule figure_roc:
    input:
        unpack(plan.truth),
        scores=plan.scores,
        notebook=notebook("evaluation"),
    output:
        **figure("roc"),
    params:
        model=plan.curves_model,
        settings=plan.notebook(
            "roc", "title", "provenance", model=plan.curves_model, logits=lambda wildcards: bool(plan.logits(wildcards))
        ),
    message:
        "Drawing the ROC curves of {params.model} of {wildcards.experiment}"
    shell:
        RENDER


rule figure_reliability:
    input:
        unpack(plan.models),
        scaling=rules.calibration.output.scaling,
        chosen="results/tables/{experiment}/calibration_per_class.csv",
        notebook=notebook("evaluation"),
    output:
        **figure("reliability"),
    params:
        settings=plan.notebook("reliability", "title", "provenance", "seed"),
    message:
        "Drawing the reliability of the probabilities of {wildcards.experiment}"
    shell:
        RENDER


rule figure_operating:
    input:
        unpack(plan.models),
        chosen="results/tables/{experiment}/operating.csv",
        notebook=notebook("evaluation"),
    output:
        **figure("operating_figure"),
    params:
        settings=plan.notebook("operating", "title", "provenance"),
    message:
        "Drawing precision-recall and ROC curves of {wildcards.experiment} with its operating points"
    shell:
        RENDER


rule figure_readers:
    input:
        unpack(plan.truth),
        readers=plan.read_again,
        scores=plan.scores,
        notebook=notebook("evaluation"),
    output:
        **figure("readers_figure"),
    params:
        model=plan.curves_model,
        settings=plan.notebook(
            "readers",
            "title",
            "provenance",
            model=plan.curves_model,
            logits=lambda wildcards: bool(plan.logits(wildcards)),
            experts=lambda wildcards: json.loads(plan.experts(wildcards)),
        ),
    message:
        "Drawing readers on the ROC curves of {params.model} of {wildcards.experiment}"
    shell:
        RENDER


rule figure_suspects:
    input:
        suspects="results/suspects/{experiment}.csv",
        ingested=lambda wildcards: plan.data("experiment")(wildcards)["ingested"],
        images=lambda wildcards: plan.data("experiment")(wildcards)["images"],
        notebook=notebook("evaluation"),
    output:
        **figure("suspects_figure"),
    params:
        settings=plan.notebook("suspects", "title", "provenance", count=plan.field("experiment", "suspects")),
    message:
        "Drawing images of {wildcards.experiment} whose labels are probably wrong"
    shell:
        RENDER


rule figure_cross:
    input:
        matrix="results/tables/cross/{cross}/matrix.csv",
        notebook=notebook("evaluation"),
    output:
        **figure("cross_figure"),
    params:
        settings=plan.notebook("cross", "title", archives=plan.cross_archives),
    message:
        "Drawing the matrix of {wildcards.cross}"
    shell:
        RENDER
