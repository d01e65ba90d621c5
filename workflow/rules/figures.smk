rule figure_labels:
    input:
        labels="results/labels/{label_set}.parquet",
        split="results/splits/{split}.parquet",
    output:
        page=report(
            "results/figures/labels/{split}/{label_set}.html",
            caption="../report/labels.rst",
            category="1. Data",
            labels={"content": "label distribution (Figures 5, 6): {label_set}"},
        ),
        png="results/figures/labels/{split}/{label_set}.png",
        svg="results/figures/labels/{split}/{label_set}.svg",
    log:
        "logs/figure_labels/{split}/{label_set}.log",
    benchmark:
        "benchmarks/figure_labels/{split}/{label_set}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("figure-labels"),
        stem=lambda wildcards, output: Path(output.png).with_suffix(""),
    message:
        "Drawing the label distribution of {wildcards.label_set}"
    shell:
        "thorax figure-labels --labels {input.labels} --split {input.split} --title {wildcards.label_set}"
        " --out {params.stem} > {log} 2>&1"


rule figure_cooccurrence:
    input:
        labels="results/labels/{label_set}.parquet",
    output:
        page=report(
            "results/figures/cooccurrence/{label_set}.html",
            caption="../report/cooccurrence.rst",
            category="1. Data",
            labels={"content": "classes that come together: {label_set}"},
        ),
        png="results/figures/cooccurrence/{label_set}.png",
        svg="results/figures/cooccurrence/{label_set}.svg",
    log:
        "logs/figure_cooccurrence/{label_set}.log",
    benchmark:
        "benchmarks/figure_cooccurrence/{label_set}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("figure-cooccurrence"),
        stem=lambda wildcards, output: Path(output.png).with_suffix(""),
    message:
        "Drawing which classes of {wildcards.label_set} come together"
    shell:
        "thorax figure-cooccurrence --labels {input.labels} --title {wildcards.label_set} --out {params.stem} > {log} 2>&1"


rule figure_cooccurrence_of_paper:
    input:
        labels=lambda wildcards: training_data(wildcards)["labels"],
    output:
        page=report(
            "results/figures/{experiment}/cooccurrence.html",
            caption="../report/cooccurrence.rst",
            category="2. Results",
            subcategory="{experiment}",
            labels={"content": "the paper's classes that come together"},
        ),
        png="results/figures/{experiment}/cooccurrence.png",
        svg="results/figures/{experiment}/cooccurrence.svg",
    log:
        "logs/figure_cooccurrence_of_paper/{experiment}.log",
    benchmark:
        "benchmarks/figure_cooccurrence_of_paper/{experiment}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("figure-cooccurrence"),
        classes=lambda wildcards: study.experiments[wildcards.experiment].cooccurrence,
        title=lambda wildcards: study.experiments[wildcards.experiment].title,
        stem=lambda wildcards, output: Path(output.png).with_suffix(""),
    message:
        "Drawing which of the paper's classes come together in {wildcards.experiment}"
    shell:
        "thorax figure-cooccurrence --labels {input.labels} --classes {params.classes:q} --title {params.title:q}"
        " --out {params.stem} > {log} 2>&1"


rule figure_terms:
    input:
        catalog=lambda wildcards: f"results/catalog/{study.label_sets[wildcards.label_set].dataset}.parquet",
    output:
        page=report(
            "results/figures/terms/{label_set}.html",
            caption="../report/terms.rst",
            category="1. Data",
            labels={"content": "section of the term tree (Figure 4): {label_set}"},
        ),
        png="results/figures/terms/{label_set}.png",
        svg="results/figures/terms/{label_set}.svg",
    log:
        "logs/figure_terms/{label_set}.log",
    benchmark:
        "benchmarks/figure_terms/{label_set}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("figure-terms"),
        settings=lambda wildcards: settings(
            study.label_sets[wildcards.label_set], "dataset", "views", "two_parents", "padded_labels", "padded_kept"
        ),
        archive=lambda wildcards: study.datasets[study.label_sets[wildcards.label_set].dataset].archive,
        stem=lambda wildcards, output: Path(output.png).with_suffix(""),
    message:
        "Drawing a section of the term tree with the images of {wildcards.label_set}"
    shell:
        "thorax figure-terms --catalog {input.catalog} --settings {params.settings:q} --archive {params.archive}"
        " --title {wildcards.label_set} --out {params.stem} > {log} 2>&1"


rule figure_lungs:
    input:
        unpack(lungs_inputs),
    output:
        page=report(
            "results/figures/lungs/{image_set}.html",
            caption="../report/lungs.rst",
            category="1. Data",
            labels={"content": "preprocessing (Figure 3): {image_set}"},
        ),
        png="results/figures/lungs/{image_set}.png",
        svg="results/figures/lungs/{image_set}.svg",
    log:
        "logs/figure_lungs/{image_set}.log",
    benchmark:
        "benchmarks/figure_lungs/{image_set}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("figure-lungs"),
        stem=lambda wildcards, output: Path(output.png).with_suffix(""),
    message:
        "Drawing original, lung mask, crop and network input of {wildcards.image_set}"
    shell:
        "thorax figure-lungs --catalog {input.catalog} --ingested {input.ingested} --arrays {input.arrays}"
        " --lungs {input.lungs} --masks {input.masks} --images {input.images} --out {params.stem} > {log} 2>&1"


rule figure_training:
    input:
        histories=lambda wildcards: expand(
            "results/history/{experiment}/{member}.csv",
            experiment=wildcards.experiment,
            member=study.experiments[wildcards.experiment].members,
        ),
    output:
        page=report(
            "results/figures/{experiment}/training.html",
            caption="../report/training.rst",
            category="2. Results",
            subcategory="{experiment}",
            labels={"content": "losses by epoch"},
        ),
        png="results/figures/{experiment}/training.png",
        svg="results/figures/{experiment}/training.svg",
    log:
        "logs/figure_training/{experiment}.log",
    benchmark:
        "benchmarks/figure_training/{experiment}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("figure-training"),
        histories=lambda wildcards: [
            f"{member}=results/history/{wildcards.experiment}/{member}.csv"
            for member in study.experiments[wildcards.experiment].members
        ],
        title=lambda wildcards: study.experiments[wildcards.experiment].title,
        stem=lambda wildcards, output: Path(output.png).with_suffix(""),
    message:
        "Drawing the losses of {wildcards.experiment}"
    shell:
        "thorax figure-training --histories {params.histories} --title {params.title:q} --out {params.stem} > {log} 2>&1"


rule figure_roc:
    input:
        labels=lambda wildcards: training_data(wildcards)["labels"],
        split=lambda wildcards: training_data(wildcards)["split"],
        scores=lambda wildcards: scores_file(wildcards.experiment, curves_model(wildcards.experiment)),
    output:
        page=report(
            "results/figures/{experiment}/roc.html",
            caption="../report/roc.rst",
            category="2. Results",
            subcategory="{experiment}",
            labels={"content": "ROC curves"},
        ),
        png="results/figures/{experiment}/roc.png",
        svg="results/figures/{experiment}/roc.svg",
    log:
        "logs/figure_roc/{experiment}.log",
    benchmark:
        "benchmarks/figure_roc/{experiment}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("figure-roc"),
        model=lambda wildcards: curves_model(wildcards.experiment),
        logits=lambda wildcards: logits_option(wildcards.experiment, curves_model(wildcards.experiment)),
        title=lambda wildcards: study.experiments[wildcards.experiment].title,
        data=lambda wildcards: study.experiments[wildcards.experiment].data,
        stem=lambda wildcards, output: Path(output.png).with_suffix(""),
    message:
        "Drawing the ROC curves of {params.model} of {wildcards.experiment}"
    shell:
        "thorax figure-roc --labels {input.labels} --split {input.split} --scores {input.scores} {params.logits}"
        " --model {params.model} --title {params.title:q} --data {params.data} --out {params.stem} > {log} 2>&1"


rule figure_classes:
    input:
        unpack(heatmap_inputs),
        cases=rules.cases.output.cases,
    output:
        page=report(
            "results/figures/{experiment}/classes.html",
            caption="../report/several_classes.rst",
            category="2. Results",
            subcategory="{experiment}",
            labels={"content": "heatmaps of several classes"},
        ),
        png="results/figures/{experiment}/classes.png",
        svg="results/figures/{experiment}/classes.svg",
    log:
        "logs/figure_classes/{experiment}.log",
    benchmark:
        "benchmarks/figure_classes/{experiment}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("figure-classes"),
        heatmaps=lambda wildcards, input: by_member(wildcards.experiment, input.heatmaps),
        predictions=lambda wildcards, input: by_member(wildcards.experiment, input.predictions),
        ensemble=lambda wildcards, input: (f"--ensemble {input.ensemble}" if input.ensemble else ""),
        lungs=lambda wildcards, input: (f"--lungs {' '.join(input.lungs)}" if "lungs" in input.keys() else ""),
        title=lambda wildcards: study.experiments[wildcards.experiment].title,
        stem=lambda wildcards, output: Path(output.png).with_suffix(""),
    message:
        "Drawing radiographs with several classes of {wildcards.experiment}"
    shell:
        "thorax figure-classes --cases {input.cases} --heatmaps {params.heatmaps} --predictions {params.predictions}"
        " {params.ensemble} --labels {input.labels} --boxes {input.boxes} --ingested {input.ingested} --arrays {input.arrays}"
        " {params.lungs} --title {params.title:q} --out {params.stem} > {log} 2>&1"


rule figure_epochs:
    input:
        epochs=lambda wildcards: expand(
            "results/epochs/{experiment}/{member}.csv",
            experiment=wildcards.experiment,
            member=tested_members(wildcards.experiment),
        ),
    output:
        page=report(
            "results/figures/{experiment}/epochs.html",
            caption="../report/epochs.rst",
            category="2. Results",
            subcategory="{experiment}",
            labels={"content": "test AUC and F1 by epoch"},
        ),
        png="results/figures/{experiment}/epochs.png",
        svg="results/figures/{experiment}/epochs.svg",
    log:
        "logs/figure_epochs/{experiment}.log",
    benchmark:
        "benchmarks/figure_epochs/{experiment}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("figure-epochs"),
        epochs=lambda wildcards: [
            f"{member}=results/epochs/{wildcards.experiment}/{member}.csv" for member in tested_members(wildcards.experiment)
        ],
        title=lambda wildcards: study.experiments[wildcards.experiment].title,
        f1_metric=lambda wildcards: study.experiments[wildcards.experiment].f1_metric,
        stem=lambda wildcards, output: Path(output.png).with_suffix(""),
    message:
        "Drawing the test results of {wildcards.experiment} by epoch"
    shell:
        "thorax figure-epochs --epochs {params.epochs} --title {params.title:q} --f1-metric {params.f1_metric} --out {params.stem} > {log} 2>&1"


rule figure_shares:
    input:
        labels=lambda wildcards: training_data(wildcards)["labels"],
        split=lambda wildcards: training_data(wildcards)["split"],
    output:
        page=report(
            "results/figures/{experiment}/shares.html",
            caption="../report/shares.rst",
            category="2. Results",
            subcategory="{experiment}",
            labels={"content": "share of each class"},
        ),
        png="results/figures/{experiment}/shares.png",
        svg="results/figures/{experiment}/shares.svg",
    log:
        "logs/figure_shares/{experiment}.log",
    benchmark:
        "benchmarks/figure_shares/{experiment}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("figure-shares"),
        title=lambda wildcards: study.experiments[wildcards.experiment].title,
        paper=paper_option,
        stem=lambda wildcards, output: Path(output.png).with_suffix(""),
    message:
        "Drawing the share of each class of {wildcards.experiment}"
    shell:
        "thorax figure-shares --labels {input.labels} --split {input.split} {params.paper} --title {params.title:q}"
        " --out {params.stem} > {log} 2>&1"


rule figure_attention:
    input:
        models=lambda wildcards: expand(
            "results/models/{experiment}/{member}.keras",
            member=attending(wildcards.experiment),
            **wildcards,
        ),
        images=lambda wildcards: training_data(wildcards)["images"],
        ingested=lambda wildcards: training_data(wildcards)["ingested"],
        arrays=lambda wildcards: heatmap_inputs(wildcards)["arrays"],
        lungs=lambda wildcards: heatmap_inputs(wildcards).get("lungs", []),
        cases=rules.cases.output.cases,
    output:
        page=report(
            "results/figures/{experiment}/attention.html",
            caption="../report/attention.rst",
            category="2. Results",
            subcategory="{experiment}",
            labels={"content": "attention of the networks"},
        ),
        png="results/figures/{experiment}/attention.png",
        svg="results/figures/{experiment}/attention.svg",
    log:
        "logs/figure_attention/{experiment}.log",
    benchmark:
        "benchmarks/figure_attention/{experiment}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=memory(1800),
    params:
        code=code("figure-attention"),
        models=lambda wildcards, input: [f"{name}={path}" for name, path in zip(attending(wildcards.experiment), input.models)],
        lungs=lambda wildcards, input: (f"--lungs {' '.join(input.lungs)}" if input.lungs else ""),
        title=lambda wildcards: study.experiments[wildcards.experiment].title,
        stem=lambda wildcards, output: Path(output.png).with_suffix(""),
    message:
        "Drawing the attention of networks of {wildcards.experiment}"
    shell:
        "thorax figure-attention --models {params.models} --images {input.images} --cases {input.cases}"
        " --ingested {input.ingested} --arrays {input.arrays} {params.lungs} --title {params.title:q}"
        " --out {params.stem} --threads {threads} > {log} 2>&1"


rule heatmaps:
    input:
        unpack(heatmap_inputs),
        cases=rules.cases.output.cases,
        notebook=os.path.normpath(f"{HERE}/notebooks/heatmaps.ipynb"),
    output:
        page=report(
            "results/figures/{experiment}/heatmaps.html",
            caption="../report/heatmaps.rst",
            category="2. Results",
            subcategory="{experiment}",
            labels={"content": "heatmaps (Figures 7 to 9)"},
        ),
        png="results/figures/{experiment}/heatmaps.png",
        notebook="results/notebooks/{experiment}/heatmaps.ipynb",
    log:
        "logs/heatmaps/{experiment}.log",
    benchmark:
        "benchmarks/heatmaps/{experiment}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=lambda wildcards, input: notebook_digest(input.notebook),
        parameters=heatmap_parameters,
    message:
        "Drawing the heatmaps of {wildcards.experiment}"
    shell:
        "papermill {input.notebook} {output.notebook} -y {params.parameters:q} --no-progress-bar > {log} 2>&1"
