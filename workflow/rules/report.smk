rule tables:
    input:
        labels=lambda wildcards: training_data(wildcards)["labels"],
        split=lambda wildcards: training_data(wildcards)["split"],
        metrics=rules.metrics.output.metrics,
    output:
        per_class=report(
            "results/tables/{experiment}/per_class.html",
            caption="../report/per_class.rst",
            category="2. Results",
            subcategory="{experiment}",
            labels={"content": "per class"},
        ),
        overall=report(
            "results/tables/{experiment}/global.html",
            caption="../report/global.rst",
            category="2. Results",
            subcategory="{experiment}",
            labels={"content": "global"},
        ),
        others=expand(
            "results/tables/{{experiment}}/{table}.{suffix}",
            table=["per_class", "global"],
            suffix=["md", "tex", "csv"],
        ),
    log:
        "logs/tables/{experiment}.log",
    benchmark:
        "benchmarks/tables/{experiment}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("tables"),
        title=lambda wildcards: study.experiments[wildcards.experiment].title,
        data=lambda wildcards: study.experiments[wildcards.experiment].data,
        members=lambda wildcards: list(study.experiments[wildcards.experiment].members),
        ensembles=lambda wildcards: list(study.experiments[wildcards.experiment].ensembles),
        rule=lambda wildcards: study.experiments[wildcards.experiment].thresholds[0],
        folder=lambda wildcards, output: Path(output.per_class).parent,
    message:
        "Writing the tables of {wildcards.experiment}"
    shell:
        "thorax tables --title {params.title:q} --data {params.data} --metrics {input.metrics} --labels {input.labels}"
        " --split {input.split} --members {params.members} --ensembles {params.ensembles} --rule {params.rule}"
        " --out {params.folder} > {log} 2>&1"


rule threshold_tables:
    input:
        labels=lambda wildcards: training_data(wildcards)["labels"],
        split=lambda wildcards: training_data(wildcards)["split"],
        metrics=rules.metrics.output.metrics,
        thresholds=lambda wildcards: expand(
            "results/thresholds/{experiment}/{model}.parquet",
            experiment=wildcards.experiment,
            model=tuned_models(wildcards.experiment),
        ),
    output:
        thresholds=report(
            "results/tables/{experiment}/thresholds.html",
            caption="../report/thresholds.rst",
            category="2. Results",
            subcategory="{experiment}",
            labels={"content": "thresholds per class"},
        ),
        rules=report(
            "results/tables/{experiment}/rules.html",
            caption="../report/rules.rst",
            category="2. Results",
            subcategory="{experiment}",
            labels={"content": "decision rules"},
        ),
        others=expand(
            "results/tables/{{experiment}}/{table}.{suffix}",
            table=["thresholds", "rules"],
            suffix=["md", "tex", "csv"],
        ),
    log:
        "logs/threshold_tables/{experiment}.log",
    benchmark:
        "benchmarks/threshold_tables/{experiment}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("threshold-tables"),
        title=lambda wildcards: study.experiments[wildcards.experiment].title,
        data=lambda wildcards: study.experiments[wildcards.experiment].data,
        members=lambda wildcards: list(study.experiments[wildcards.experiment].members),
        ensembles=lambda wildcards: list(study.experiments[wildcards.experiment].ensembles),
        rules=lambda wildcards: study.experiments[wildcards.experiment].thresholds,
        thresholds=lambda wildcards: named("thresholds", tuned_models(wildcards.experiment), wildcards.experiment),
        exclusive=exclusive_option,
        folder=lambda wildcards, output: Path(output.rules).parent,
    message:
        "Writing what other thresholds make of {wildcards.experiment}"
    shell:
        "thorax threshold-tables --title {params.title:q} --data {params.data} --metrics {input.metrics} --labels {input.labels}"
        " --split {input.split} --members {params.members} --ensembles {params.ensembles} --rules {params.rules}"
        " --thresholds {params.thresholds} {params.exclusive} --out {params.folder} > {log} 2>&1"


rule beside:
    input:
        metrics=rules.metrics.output.metrics,
    output:
        per_class=report(
            "results/tables/{experiment}/beside_per_class.html",
            caption="../report/beside.rst",
            category="2. Results",
            subcategory="{experiment}",
            labels={"content": "the paper's numbers beside ours, per class"},
        ),
        overall=report(
            "results/tables/{experiment}/beside_global.html",
            caption="../report/beside.rst",
            category="2. Results",
            subcategory="{experiment}",
            labels={"content": "the paper's numbers beside ours, global"},
        ),
        others=expand(
            "results/tables/{{experiment}}/{table}.{suffix}",
            table=["beside_per_class", "beside_global"],
            suffix=["md", "tex", "csv"],
        ),
    log:
        "logs/beside/{experiment}.log",
    benchmark:
        "benchmarks/beside/{experiment}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("beside"),
        settings=lambda wildcards: settings(study.experiments[wildcards.experiment].beside),
        title=lambda wildcards: study.experiments[wildcards.experiment].title,
        data=lambda wildcards: study.experiments[wildcards.experiment].data,
        members=lambda wildcards: list(study.experiments[wildcards.experiment].members),
        ensembles=lambda wildcards: list(study.experiments[wildcards.experiment].ensembles),
        folder=lambda wildcards, output: Path(output.overall).parent,
    message:
        "Writing the paper's numbers beside those of {wildcards.experiment}"
    shell:
        "thorax beside --settings {params.settings:q} --title {params.title:q} --data {params.data} --metrics {input.metrics}"
        " --members {params.members} --ensembles {params.ensembles} --out {params.folder} > {log} 2>&1"


rule ablation:
    input:
        metrics=lambda wildcards: expand(
            "results/metrics/{experiment}.parquet", experiment=study.ablations[wildcards.ablation].experiments
        ),
    output:
        html=report(
            "results/tables/ablations/{ablation}/ablation.html",
            caption="../report/ablation.rst",
            category="2. Results",
            labels={"content": "ablation: {ablation}"},
        ),
        others=expand("results/tables/ablations/{{ablation}}/ablation.{suffix}", suffix=["md", "tex", "csv"]),
    log:
        "logs/ablation/{ablation}.log",
    benchmark:
        "benchmarks/ablation/{ablation}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("ablation"),
        settings=lambda wildcards: ablation_columns(wildcards.ablation),
        title=lambda wildcards: study.ablations[wildcards.ablation].title,
        data=lambda wildcards: first_of(wildcards.ablation).data,
        metrics=lambda wildcards: [
            f"{name}=results/metrics/{name}.parquet" for name in study.ablations[wildcards.ablation].experiments
        ],
        members=lambda wildcards: list(first_of(wildcards.ablation).members),
        ensembles=lambda wildcards: list(first_of(wildcards.ablation).ensembles),
        folder=lambda wildcards, output: Path(output.html).parent,
    message:
        "Writing the variants of {wildcards.ablation} side by side"
    shell:
        "thorax ablation --settings {params.settings:q} --title {params.title:q} --data {params.data} --metrics {params.metrics}"
        " --members {params.members} --ensembles {params.ensembles} --out {params.folder} > {log} 2>&1"


rule summary:
    input:
        labels=[f"results/labels/{label_set}.parquet" for label_set, _ in summary_rows().values()],
        splits=[f"results/splits/{split}.parquet" for _, split in summary_rows().values()],
    output:
        html=report(
            "results/tables/summary.html",
            caption="../report/summary.rst",
            category="1. Data",
            labels={"content": "label sets and splits (Table 3)"},
        ),
        others=expand("results/tables/summary.{suffix}", suffix=["md", "tex", "csv"]),
    log:
        "logs/summary.log",
    benchmark:
        "benchmarks/summary.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("summary"),
        labels=[f"{row}=results/labels/{label_set}.parquet" for row, (label_set, _) in summary_rows().items()],
        splits=[f"{row}=results/splits/{split}.parquet" for row, (_, split) in summary_rows().items()],
        data=measured_on(),
        folder=lambda wildcards, output: Path(output.html).parent,
    message:
        "Counting classes, images and parts of the label sets"
    shell:
        "thorax summary --data {params.data} --labels {params.labels} --splits {params.splits} --out {params.folder} > {log} 2>&1"


rule screening:
    input:
        ingested=expand("results/ingested/{dataset}.parquet", dataset=run_datasets()),
        lungs=[path for paths in screened_lungs().values() for path in paths],
    output:
        html=report(
            "results/tables/screening.html",
            caption="../report/screening.rst",
            category="1. Data",
            labels={"content": "originals that were read"},
        ),
        others=expand("results/tables/screening.{suffix}", suffix=["md", "tex", "csv"]),
    log:
        "logs/screening.log",
    benchmark:
        "benchmarks/screening.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("screening"),
        ingested=[f"{name}=results/ingested/{name}.parquet" for name in run_datasets()],
        lungs=[f"{name}={path}" for name, paths in screened_lungs().items() for path in paths],
        data=measured_on(),
        folder=lambda wildcards, output: Path(output.html).parent,
    message:
        "Counting what was left out and why"
    shell:
        "thorax screening --data {params.data} --ingested {params.ingested} --lungs {params.lungs} --out {params.folder} > {log} 2>&1"


rule classes_page:
    input:
        csv="results/labels/{label_set}.classes.csv",
    output:
        page=report(
            "results/tables/classes/{label_set}.html",
            caption="../report/classes.rst",
            category="1. Data",
            labels={"content": "classes kept and dropped: {label_set}"},
        ),
    log:
        "logs/classes_page/{label_set}.log",
    benchmark:
        "benchmarks/classes_page/{label_set}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("csv-page"),
    message:
        "Writing the page of the classes of {wildcards.label_set}"
    shell:
        "thorax csv-page --csv {input.csv} --title 'Classes kept and dropped: {wildcards.label_set}'"
        " --caption 'Every label of the data set, with its images and patients.' --out {output.page} > {log} 2>&1"


rule quality_page:
    input:
        csv="results/splits/{split}.quality.csv",
    output:
        page=report(
            "results/tables/quality/{split}.html",
            caption="../report/quality.rst",
            category="1. Data",
            labels={"content": "counts against quotas: {split}"},
        ),
    log:
        "logs/quality_page/{split}.log",
    benchmark:
        "benchmarks/quality_page/{split}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("csv-page"),
    message:
        "Writing the page of the counts of {wildcards.split}"
    shell:
        "thorax csv-page --csv {input.csv} --title 'Counts against quotas: {wildcards.split}'"
        " --caption 'Images of every class in every part, and how far they are from the exact share.'"
        " --out {output.page} > {log} 2>&1"


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
        settings=lambda wildcards: settings(study.label_sets[wildcards.label_set], "dataset", "views", "two_parents"),
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
        stem=lambda wildcards, output: Path(output.png).with_suffix(""),
    message:
        "Drawing the test results of {wildcards.experiment} by epoch"
    shell:
        "thorax figure-epochs --epochs {params.epochs} --title {params.title:q} --out {params.stem} > {log} 2>&1"


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


rule overview:
    input:
        metrics=expand("results/metrics/{experiment}.parquet", experiment=study.run),
        labels=[f"results/labels/{study.experiments[name].label_set}.parquet" for name in study.run],
        splits=[f"results/splits/{study.experiments[name].split}.parquet" for name in study.run],
    output:
        html=report(
            "results/tables/overview.html",
            caption="../report/overview.rst",
            category="0. Overview",
            labels={"content": "all experiments"},
        ),
        others=expand("results/tables/overview.{suffix}", suffix=["md", "tex", "csv"]),
    log:
        "logs/overview.log",
    benchmark:
        "benchmarks/overview.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("overview"),
        settings=json.dumps(told(study.run)),
        metrics=[f"{name}=results/metrics/{name}.parquet" for name in study.run],
        labels=[f"{name}=results/labels/{study.experiments[name].label_set}.parquet" for name in study.run],
        splits=[f"{name}=results/splits/{study.experiments[name].split}.parquet" for name in study.run],
        folder=lambda wildcards, output: Path(output.html).parent,
    message:
        "Setting all experiments side by side"
    shell:
        "thorax overview --settings {params.settings:q} --metrics {params.metrics} --labels {params.labels}"
        " --splits {params.splits} --benchmarks benchmarks --logs logs --out {params.folder} > {log} 2>&1"


rule paper_page:
    input:
        pages=lambda wildcards: [entry["page"] for entry in sections(wildcards.paper)],
        captions=captions,
    output:
        page=report(
            "results/papers/{paper}.html",
            caption="../report/paper.rst",
            category="0. Papers",
            labels={"content": "{paper}"},
        ),
    log:
        "logs/paper_page/{paper}.log",
    benchmark:
        "benchmarks/paper_page/{paper}.tsv"
    wildcard_constraints:
        paper=any_of(papers()),
    conda:
        ENVIRONMENT
    params:
        code=code("paper-page"),
        settings=paper_settings,
    message:
        "Gathering the page of {wildcards.paper}"
    shell:
        "thorax paper-page --settings {params.settings:q} --captions {input.captions} --out {output.page} > {log} 2>&1"
