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
        f1_metric=lambda wildcards: study.experiments[wildcards.experiment].f1_metric,
        folder=lambda wildcards, output: Path(output.per_class).parent,
    message:
        "Writing the tables of {wildcards.experiment}"
    shell:
        "thorax tables --title {params.title:q} --data {params.data} --metrics {input.metrics} --labels {input.labels}"
        " --split {input.split} --members {params.members} --ensembles {params.ensembles} --rule {params.rule}"
        " --f1-metric {params.f1_metric} --out {params.folder} > {log} 2>&1"


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
        learned=lambda wildcards: ensembles_that_learn(wildcards.experiment),
        f1_metric=lambda wildcards: study.experiments[wildcards.experiment].f1_metric,
        exclusive=exclusive_option,
        folder=lambda wildcards, output: Path(output.rules).parent,
    message:
        "Writing what other thresholds make of {wildcards.experiment}"
    shell:
        "thorax threshold-tables --title {params.title:q} --data {params.data} --metrics {input.metrics} --labels {input.labels}"
        " --split {input.split} --members {params.members} --ensembles {params.ensembles} --rules {params.rules}"
        " --thresholds {params.thresholds} --learned {params.learned} --f1-metric {params.f1_metric} {params.exclusive}"
        " --out {params.folder} > {log} 2>&1"


rule beside:
    input:
        metrics=rules.metrics.output.metrics,
        split=lambda wildcards: f"results/splits/{study.experiments[wildcards.experiment].split}.parquet",
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
        tested=lambda wildcards: tested_options(wildcards.experiment),
        folder=lambda wildcards, output: Path(output.overall).parent,
    message:
        "Writing the paper's numbers beside those of {wildcards.experiment}"
    shell:
        "thorax beside --settings {params.settings:q} --title {params.title:q} --data {params.data} --metrics {input.metrics}"
        " --members {params.members} --ensembles {params.ensembles} --split {input.split} {params.tested}"
        " --out {params.folder} > {log} 2>&1"


rule statements:
    input:
        metrics=rules.metrics.output.metrics,
    output:
        page=report(
            "results/tables/{experiment}/statements.html",
            caption="../report/statements.rst",
            category="2. Results",
            subcategory="{experiment}",
            labels={"content": "what the paper's text says"},
        ),
        others=expand("results/tables/{{experiment}}/statements.{suffix}", suffix=["md", "tex", "csv"]),
    log:
        "logs/statements/{experiment}.log",
    benchmark:
        "benchmarks/statements/{experiment}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("statements"),
        settings=lambda wildcards: settings(study.experiments[wildcards.experiment].beside),
        title=lambda wildcards: study.experiments[wildcards.experiment].title,
        data=lambda wildcards: study.experiments[wildcards.experiment].data,
        members=lambda wildcards: list(study.experiments[wildcards.experiment].members),
        folder=lambda wildcards, output: Path(output.page).parent,
    message:
        "Computing what the paper's text says of {wildcards.experiment}"
    shell:
        "thorax statements --settings {params.settings:q} --title {params.title:q} --data {params.data} --metrics {input.metrics}"
        " --members {params.members} --out {params.folder} > {log} 2>&1"


rule systems:
    output:
        page=report(
            "results/tables/systems/{archive}/{table}.html",
            caption="../report/systems.rst",
            category="2. Results",
            subcategory="other published systems",
            labels={"content": "{archive}: {table}"},
        ),
        others=expand("results/tables/systems/{{archive}}/{{table}}.{suffix}", suffix=["md", "tex", "csv"]),
    log:
        "logs/systems/{archive}/{table}.log",
    benchmark:
        "benchmarks/systems/{archive}/{table}.tsv"
    wildcard_constraints:
        archive=any_of(SYSTEMS),
        table=any_of(["systems", "classes"]),
    conda:
        ENVIRONMENT
    params:
        code=code("systems"),
        folder=lambda wildcards, output: Path(output.page).parent,
    message:
        "Writing other published systems of {wildcards.archive} ({wildcards.table})"
    shell:
        "thorax systems --archive {wildcards.archive} --table {wildcards.table} --out {params.folder} > {log} 2>&1"


rule ablation:
    input:
        split=lambda wildcards: f"results/splits/{first_of(wildcards.ablation).split}.parquet",
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
        tested=lambda wildcards: tested_options(study.ablations[wildcards.ablation].experiments[0]),
        folder=lambda wildcards, output: Path(output.html).parent,
    message:
        "Writing the variants of {wildcards.ablation} side by side"
    shell:
        "thorax ablation --settings {params.settings:q} --title {params.title:q} --data {params.data} --metrics {params.metrics}"
        " --members {params.members} --ensembles {params.ensembles} --split {input.split} {params.tested}"
        " --out {params.folder} > {log} 2>&1"


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
        duplicates=expand("results/ingested/{dataset}.duplicates.parquet", dataset=run_datasets()),
        catalogs=expand("results/catalog/{dataset}.parquet", dataset=run_datasets()),
        splits=expand("results/splits/{split}.parquet", split=run_splits()),
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
        duplicates=[f"{name}=results/ingested/{name}.duplicates.parquet" for name in run_datasets()],
        catalogs=[f"{name}=results/catalog/{name}.parquet" for name in run_datasets()],
        splits=[f"{split_dataset(split)}/{split}=results/splits/{split}.parquet" for split in run_splits()],
        lungs=[f"{name}={path}" for name, paths in screened_lungs().items() for path in paths],
        data=measured_on(),
        folder=lambda wildcards, output: Path(output.html).parent,
    message:
        "Counting what was left out and why, and which images show the same"
    shell:
        "thorax screening --data {params.data} --ingested {params.ingested} --duplicates {params.duplicates}"
        " --catalogs {params.catalogs} --splits {params.splits} --lungs {params.lungs} --out {params.folder} > {log} 2>&1"


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
