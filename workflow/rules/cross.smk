rule predict_elsewhere:
    input:
        unpack(elsewhere_data),
        model=rules.train.output.model,
        classes=lambda wildcards: training_data(wildcards)["labels"],
    output:
        predictions="results/predictions/{experiment}/{member}@{other}.parquet",
    log:
        "logs/predict_elsewhere/{experiment}/{member}/{other}.log",
    benchmark:
        "benchmarks/predict_elsewhere/{experiment}/{member}/{other}.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        gpu=1,
        mem_mb=memory(1800),
    params:
        code=code("predict-elsewhere"),
    message:
        "Predicting the test images of {wildcards.other} with {wildcards.member} of {wildcards.experiment}"
    shell:
        "thorax predict-elsewhere --model {input.model} --classes {input.classes} --labels {input.labels}"
        " --split {input.split} --ingested {input.ingested} --images {input.images}"
        " --out {output.predictions} --threads {threads} > {log} 2>&1"


rule ensemble_elsewhere:
    input:
        predictions=lambda wildcards: expand(
            "results/predictions/{experiment}/{member}@{other}.parquet",
            experiment=wildcards.experiment,
            member=study.experiments[wildcards.experiment].ensembles[wildcards.ensemble].members,
            other=wildcards.other,
        ),
    output:
        ensemble="results/ensembles/{experiment}/{ensemble}@{other}.parquet",
    log:
        "logs/ensemble_elsewhere/{experiment}/{ensemble}/{other}.log",
    benchmark:
        "benchmarks/ensemble_elsewhere/{experiment}/{ensemble}/{other}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("ensemble"),
        settings=lambda wildcards: settings(study.experiments[wildcards.experiment].ensembles[wildcards.ensemble]),
    message:
        "Combining members of {wildcards.experiment} on the test images of {wildcards.other}: {wildcards.ensemble}"
    shell:
        "thorax ensemble --settings {params.settings:q} --predictions {input.predictions} --out {output.ensemble} > {log} 2>&1"


rule cross_table:
    input:
        unpack(cross_inputs),
    output:
        matrix=report(
            "results/tables/cross/{cross}/matrix.html",
            caption="../report/cross_matrix.rst",
            category="2. Results",
            subcategory="{cross}",
            labels={"content": "trained on one archive, tested on another"},
        ),
        classes=report(
            "results/tables/cross/{cross}/classes.html",
            caption="../report/cross_classes.rst",
            category="2. Results",
            subcategory="{cross}",
            labels={"content": "the same, per class"},
        ),
        csv="results/tables/cross/{cross}/matrix.csv",
        others=expand(
            "results/tables/cross/{{cross}}/{file}",
            file=["matrix.md", "matrix.tex", "classes.csv", "classes.md", "classes.tex"],
        ),
    log:
        "logs/cross_table/{cross}.log",
    benchmark:
        "benchmarks/cross_table/{cross}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("cross-table"),
        settings=lambda wildcards: settings(study.cross[wildcards.cross]),
        data=lambda wildcards: study.experiments[next(iter(study.cross[wildcards.cross].experiments))].data,
        archives=lambda wildcards: cross_archives(wildcards.cross),
        labels=lambda wildcards: cross_tables(wildcards.cross, "labels"),
        splits=lambda wildcards: cross_tables(wildcards.cross, "split"),
        predictions=lambda wildcards: cross_scores(wildcards.cross, "predictions"),
        ensembles=lambda wildcards: cross_scores(wildcards.cross, "ensembles"),
        folder=lambda wildcards, output: Path(output.matrix).parent,
    message:
        "Testing the models of {wildcards.cross} on each other's archives"
    shell:
        "thorax cross-table --settings {params.settings:q} --data {params.data} --archives {params.archives}"
        " --labels {params.labels} --splits {params.splits} --predictions {params.predictions}"
        " --ensembles {params.ensembles} --out {params.folder} > {log} 2>&1"


rule figure_cross:
    input:
        matrix=rules.cross_table.output.csv,
    output:
        page=report(
            "results/figures/cross/{cross}.html",
            caption="../report/cross_matrix.rst",
            category="2. Results",
            subcategory="{cross}",
            labels={"content": "the matrix as a figure"},
        ),
        png="results/figures/cross/{cross}.png",
        svg="results/figures/cross/{cross}.svg",
    log:
        "logs/figure_cross/{cross}.log",
    benchmark:
        "benchmarks/figure_cross/{cross}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("figure-cross"),
        archives=lambda wildcards: cross_archives(wildcards.cross),
        title=lambda wildcards: study.cross[wildcards.cross].title,
        stem=lambda wildcards, output: Path(output.png).with_suffix(""),
    message:
        "Drawing the matrix of {wildcards.cross}"
    shell:
        "thorax figure-cross --matrix {input.matrix} --archives {params.archives} --title {params.title:q}"
        " --out {params.stem} > {log} 2>&1"
