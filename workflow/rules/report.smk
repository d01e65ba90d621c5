rule screening:
    input:
        ingested=plan.of_datasets("results/ingested/*.parquet").values(),
        duplicates=plan.of_datasets("results/ingested/*.duplicates.parquet").values(),
        catalogs=plan.of_datasets("results/catalog/*.parquet").values(),
        splits=plan.screened_splits().values(),
        lungs=[path for _, path in plan.screened_lungs()],
    output:
        html=page("screening"),
        others=table("screening"),
    log:
        "logs/screening.log",
    benchmark:
        "benchmarks/screening.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("screening"),
        ingested=named(plan.of_datasets("results/ingested/*.parquet")),
        duplicates=named(plan.of_datasets("results/ingested/*.duplicates.parquet")),
        catalogs=named(plan.of_datasets("results/catalog/*.parquet")),
        splits=named(plan.screened_splits()),
        lungs=[f"{name}={path}" for name, path in plan.screened_lungs()],
        provenance=plan.measured_on(),
        folder=folder,
    message:
        "Counting rejected images and duplicates"
    shell:
        "thorax screening --provenance {params.provenance} --ingested {params.ingested} --duplicates {params.duplicates}"
        " --catalogs {params.catalogs} --splits {params.splits} --lungs {params.lungs} --out {params.folder} > {log} 2>&1"


rule summary:
    input:
        labels=plan.summary_rows("labels").values(),
        splits=plan.summary_rows("splits").values(),
    output:
        html=page("summary"),
        others=table("summary"),
    log:
        "logs/summary.log",
    benchmark:
        "benchmarks/summary.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("summary"),
        labels=named(plan.summary_rows("labels")),
        splits=named(plan.summary_rows("splits")),
        provenance=plan.measured_on(),
        folder=folder,
    message:
        "Counting classes, images and parts of the label sets"
    shell:
        "thorax summary --provenance {params.provenance} --labels {params.labels} --splits {params.splits} --out {params.folder} > {log} 2>&1"


rule classes_page:
    input:
        csv="results/labels/{label_set}.classes.csv",
    output:
        html=page("classes"),
    log:
        "logs/classes_page/{label_set}.log",
    benchmark:
        "benchmarks/classes_page/{label_set}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("csv-page"),
        title="Classes kept and dropped: {label_set}",
        caption="Every label of the data set, with its images and patients.",
    message:
        "Writing the classes of {wildcards.label_set}"
    shell:
        "thorax csv-page --csv {input.csv} --title {params.title:q} --caption {params.caption:q} --out {output.html} > {log} 2>&1"


use rule classes_page as quality_page with:
    input:
        csv="results/splits/{split}.quality.csv",
    output:
        html=page("quality"),
    log:
        "logs/quality_page/{split}.log",
    benchmark:
        "benchmarks/quality_page/{split}.tsv"
    params:
        title="Split balance: {split}",
        caption="Images of every class in every part, and their difference from the exact share.",
    message:
        "Writing the balance of {wildcards.split}"


rule tables:
    input:
        unpack(plan.truth),
        metrics=rules.metrics.output.metrics,
    output:
        html=[page("per_class"), page("global")],
        others=table("per_class", "global"),
    log:
        "logs/tables/{experiment}.log",
    benchmark:
        "benchmarks/tables/{experiment}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("tables"),
        title=plan.field("experiment", "title"),
        provenance=plan.field("experiment", "provenance"),
        members=plan.field("experiment", "members"),
        ensembles=plan.field("experiment", "ensembles"),
        rule=plan.first_threshold_rule,
        f1_metric=plan.field("experiment", "f1_metric"),
        folder=folder,
    message:
        "Writing the tables of {wildcards.experiment}"
    shell:
        "thorax tables --title {params.title:q} --provenance {params.provenance} --metrics {input.metrics} --labels {input.labels}"
        " --split {input.split} --members {params.members} --ensembles {params.ensembles} --rule {params.rule}"
        " --f1-metric {params.f1_metric} --out {params.folder} > {log} 2>&1"


rule threshold_tables:
    input:
        unpack(plan.truth),
        metrics=rules.metrics.output.metrics,
        thresholds=rules.metrics.output.thresholds,
    output:
        html=[page("thresholds"), page("rules")],
        others=table("thresholds", "rules"),
    log:
        "logs/threshold_tables/{experiment}.log",
    benchmark:
        "benchmarks/threshold_tables/{experiment}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("threshold-tables"),
        title=plan.field("experiment", "title"),
        provenance=plan.field("experiment", "provenance"),
        members=plan.field("experiment", "members"),
        ensembles=plan.field("experiment", "ensembles"),
        rules=plan.field("experiment", "thresholds"),
        learned=plan.learning_ensembles,
        f1_metric=plan.field("experiment", "f1_metric"),
        exclusive=plan.exclusive,
        folder=folder,
    message:
        "Writing the results of {wildcards.experiment} at other thresholds"
    shell:
        "thorax threshold-tables --title {params.title:q} --provenance {params.provenance} --metrics {input.metrics} --labels {input.labels}"
        " --split {input.split} --members {params.members} --ensembles {params.ensembles} --rules {params.rules}"
        " --thresholds {input.thresholds} --learned {params.learned} --f1-metric {params.f1_metric} {params.exclusive}"
        " --out {params.folder} > {log} 2>&1"


rule beside:
    input:
        metrics=rules.metrics.output.metrics,
        split=plan.split,
    output:
        html=[page("beside_per_class"), page("beside_global")],
        others=table("beside_per_class", "beside_global"),
    log:
        "logs/beside/{experiment}.log",
    benchmark:
        "benchmarks/beside/{experiment}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("beside"),
        settings=plan.published,
        title=plan.field("experiment", "title"),
        provenance=plan.field("experiment", "provenance"),
        members=plan.field("experiment", "members"),
        ensembles=plan.field("experiment", "ensembles"),
        tested=plan.tested_on,
        folder=folder,
    message:
        "Writing the results of {wildcards.experiment} next to the paper's"
    shell:
        "thorax beside --settings {params.settings:q} --title {params.title:q} --provenance {params.provenance} --metrics {input.metrics}"
        " --members {params.members} --ensembles {params.ensembles} --split {input.split} {params.tested}"
        " --out {params.folder} > {log} 2>&1"


rule statements:
    input:
        metrics=rules.metrics.output.metrics,
    output:
        html=page("statements"),
        others=table("statements"),
    log:
        "logs/statements/{experiment}.log",
    benchmark:
        "benchmarks/statements/{experiment}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("statements"),
        settings=plan.published,
        title=plan.field("experiment", "title"),
        provenance=plan.field("experiment", "provenance"),
        members=plan.field("experiment", "members"),
        folder=folder,
    message:
        "Checking what the paper's text says against {wildcards.experiment}"
    shell:
        "thorax statements --settings {params.settings:q} --title {params.title:q} --provenance {params.provenance} --metrics {input.metrics}"
        " --members {params.members} --out {params.folder} > {log} 2>&1"


rule ablation:
    input:
        split=plan.split,
        metrics=plan.metrics,
    output:
        html=page("ablation"),
        others=table("ablation"),
    log:
        "logs/ablation/{ablation}.log",
    benchmark:
        "benchmarks/ablation/{ablation}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("ablation"),
        settings=plan.published,
        title=plan.field("ablation", "title"),
        provenance=plan.leading("provenance"),
        metrics=named(plan.metrics),
        members=plan.leading("members"),
        ensembles=plan.leading("ensembles"),
        tested=plan.tested_on,
        folder=folder,
    message:
        "Writing the variants of {wildcards.ablation} side by side"
    shell:
        "thorax ablation --settings {params.settings:q} --title {params.title:q} --provenance {params.provenance} --metrics {params.metrics}"
        " --members {params.members} --ensembles {params.ensembles} --split {input.split} {params.tested}"
        " --out {params.folder} > {log} 2>&1"


rule side_by_side:
    input:
        unpack(plan.truth),
        metrics=plan.metrics,
    output:
        html=[page("comparison_per_class"), page("comparison")],
        others=table("comparison_per_class", "comparison"),
    log:
        "logs/side_by_side/{comparison}.log",
    benchmark:
        "benchmarks/side_by_side/{comparison}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("side-by-side"),
        title=plan.field("comparison", "title"),
        provenance=plan.leading("provenance"),
        metrics=named(plan.metrics),
        columns=plan.columns,
        rule=plan.first_threshold_rule,
        f1_metric=plan.leading("f1_metric"),
        folder=folder,
    message:
        "Comparing experiments: {wildcards.comparison}"
    shell:
        "thorax side-by-side --title {params.title:q} --provenance {params.provenance} --labels {input.labels} --split {input.split}"
        " --metrics {params.metrics} --columns {params.columns} --rule {params.rule} --f1-metric {params.f1_metric}"
        " --out {params.folder} > {log} 2>&1"


use rule side_by_side as cascade_tables with:
    output:
        html=[page("cascade_per_class"), page("cascade")],
        others=table("cascade_per_class", "cascade"),
    log:
        "logs/cascade_tables/{cascade}/{threshold_rule}.log",
    benchmark:
        "benchmarks/cascade_tables/{cascade}/{threshold_rule}.tsv"
    params:
        title=plan.field("cascade", "title"),
        metrics=named(plan.cascade_metrics),
        columns=plan.cascade_columns,
        rule="{threshold_rule}",
    message:
        "Writing the tables of {wildcards.cascade} at {wildcards.threshold_rule}"


rule cross_table:
    input:
        unpack(plan.cross_files),
    output:
        html=[page("cross_matrix"), page("cross_classes")],
        others=table("cross_matrix", "cross_classes"),
    log:
        "logs/cross_table/{cross}.log",
    benchmark:
        "benchmarks/cross_table/{cross}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("cross-table"),
        settings=plan.settings("cross"),
        provenance=plan.leading("provenance"),
        archives=named(plan.cross_archives),
        labels=named(plan.cross_truth("labels")),
        splits=named(plan.cross_truth("split")),
        predictions=named(plan.cross_scores("predictions")),
        ensembles=named(plan.cross_scores("ensembles")),
        folder=folder,
    message:
        "Testing the models of {wildcards.cross} on each other's archives"
    shell:
        "thorax cross-table --settings {params.settings:q} --provenance {params.provenance} --archives {params.archives}"
        " --labels {params.labels} --splits {params.splits} --predictions {params.predictions}"
        " --ensembles {params.ensembles} --out {params.folder} > {log} 2>&1"


rule systems:
    output:
        html=page("systems", "results/tables/systems/{archive}/{table}.html"),
        others=expand("results/tables/systems/{{archive}}/{{table}}.{suffix}", suffix=["csv", "md", "tex"]),
    log:
        "logs/systems/{archive}/{table}.log",
    benchmark:
        "benchmarks/systems/{archive}/{table}.tsv"
    wildcard_constraints:
        archive=any_of(pages.SYSTEMS),
        table=any_of(["systems", "classes"]),
    conda:
        ENVIRONMENT
    params:
        code=code("systems"),
        folder=folder,
    message:
        "Writing the results of other published systems on {wildcards.archive} ({wildcards.table})"
    shell:
        "thorax systems --archive {wildcards.archive} --table {wildcards.table} --out {params.folder} > {log} 2>&1"


rule overview:
    input:
        metrics=expand("results/metrics/{experiment}.parquet", experiment=plan.run),
        labels=plan.of_experiments("labels").values(),
        splits=plan.of_experiments("split").values(),
        records=plan.records(),
    output:
        html=page("overview"),
        others=table("overview"),
    log:
        "logs/overview.log",
    benchmark:
        "benchmarks/overview.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("overview"),
        settings=lambda wildcards: json.dumps(pages.studies(plan.config, plan.run)),
        metrics=named(expand("results/metrics/{experiment}.parquet", experiment=plan.run)),
        labels=named(plan.of_experiments("labels")),
        splits=named(plan.of_experiments("split")),
        records=options("records"),
        folder=folder,
    message:
        "Summarizing all experiments"
    shell:
        "thorax overview --settings {params.settings:q} --metrics {params.metrics} --labels {params.labels}"
        " --splits {params.splits} {params.records} --out {params.folder} > {log} 2>&1"


rule paper_page:
    input:
        pages=lambda wildcards: [shown.path for shown in pages.sections(plan.config, wildcards.paper)],
    output:
        html=page("paper"),
    log:
        "logs/paper_page/{paper}.log",
    benchmark:
        "benchmarks/paper_page/{paper}.tsv"
    wildcard_constraints:
        paper=any_of(pages.papers(plan.config)),
    conda:
        ENVIRONMENT
    params:
        code=code("paper-page"),
        settings=lambda wildcards: pages.settings(plan.config, wildcards.paper),
    message:
        "Writing the page of {wildcards.paper}"
    shell:
        "thorax paper-page --settings {params.settings:q} --out {output.html} > {log} 2>&1"
