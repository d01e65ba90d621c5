rule screening:
    input:
        ingested=plan.of_datasets("results/ingested/*.parquet").values(),
        duplicates=plan.of_datasets("results/ingested/*.duplicates.parquet").values(),
        catalogs=plan.of_datasets("results/catalog/*.parquet").values(),
        splits=plan.screened_splits().values(),
        lungs=[path for _, path in plan.screened_lungs()],
    output:
        **tables("screening"),
    params:
        duplicates=named(plan.of_datasets("results/ingested/*.duplicates.parquet")),
        splits=named(plan.screened_splits()),
        lungs=[f"{name}={path}" for name, path in plan.screened_lungs()],
        provenance=plan.measured_on(),
    message:
        "Counting rejected images and duplicates"
    shell:
        "thorax screening --provenance {params.provenance} --ingested {params.named_ingested} --duplicates {params.duplicates}"
        " --catalogs {params.named_catalogs} --splits {params.splits} --lungs {params.lungs} --out {params.folder} > {log} 2>&1"


rule summary:
    input:
        labels=plan.summary_rows("labels").values(),
        splits=plan.summary_rows("splits").values(),
    output:
        **tables("summary"),
    params:
        labels=named(plan.summary_rows("labels")),
        splits=named(plan.summary_rows("splits")),
        provenance=plan.measured_on(),
    message:
        "Counting classes, images and parts of the label sets"
    shell:
        "thorax summary --provenance {params.provenance} --labels {params.labels} --splits {params.splits} --out {params.folder} > {log} 2>&1"


rule classes_page:
    input:
        csv="results/labels/{label_set}.classes.csv",
    output:
        html=page("classes"),
    params:
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
    params:
        title="Split balance: {split}",
        caption="Images of every class in every part, and their difference from the exact share.",
    message:
        "Writing the balance of {wildcards.split}"


rule tables:
    input:
        unpack(plan.truth),
        metrics=rules.metrics.output.metrics,
        differences=plan.marking,
    output:
        **tables("per_class", "global"),
    message:
        "Writing the tables of {wildcards.experiment}"
    shell:
        "thorax tables --title {params.title:q} --provenance {params.provenance} --metrics {input.metrics} --labels {input.labels}"
        " --split {input.split} --members {params.members} --ensembles {params.ensembles} --rule {params.threshold_rule}"
        " --f1-metric {params.f1_metric} {params.option_differences} --out {params.folder} > {log} 2>&1"


rule difference_tables:
    input:
        unpack(plan.truth),
        metrics=rules.metrics.output.metrics,
        differences=rules.metrics.output.differences,
    output:
        **tables("differences", "differences_per_class"),
    message:
        "Writing how far the models of {wildcards.experiment} differ"
    shell:
        "thorax difference-tables --title {params.title:q} --provenance {params.provenance} --metrics {input.metrics}"
        " --differences {input.differences} --labels {input.labels} --split {input.split} --members {params.members}"
        " --ensembles {params.ensembles} --rule {params.threshold_rule} --f1-metric {params.f1_metric}"
        " --learned {params.learning_ensembles} --out {params.folder} > {log} 2>&1"


rule threshold_tables:
    input:
        unpack(plan.truth),
        metrics=rules.metrics.output.metrics,
        thresholds=rules.metrics.output.thresholds,
    output:
        **tables("thresholds", "rules"),
    message:
        "Writing the results of {wildcards.experiment} at other thresholds"
    shell:
        "thorax threshold-tables --title {params.title:q} --provenance {params.provenance} --metrics {input.metrics} --labels {input.labels}"
        " --split {input.split} --members {params.members} --ensembles {params.ensembles} --rules {params.thresholds}"
        " --thresholds {input.thresholds} --learned {params.learning_ensembles} --f1-metric {params.f1_metric} {params.key_exclusive}"
        " --out {params.folder} > {log} 2>&1"


rule calibration_tables:
    input:
        unpack(plan.models),
        metrics=rules.metrics.output.metrics,
        scaling=rules.calibration.output.scaling,
    output:
        **tables("calibration", "calibration_per_class"),
    message:
        "Writing the calibration of {wildcards.experiment}"
    shell:
        "thorax calibration-tables --title {params.title:q} --provenance {params.provenance} --metrics {input.metrics} --labels {input.labels}"
        " --split {input.split} --scaling {input.scaling} --predictions {params.named_predictions} --ensembles {params.named_ensembles}"
        " --learned {params.learning_ensembles} --seed {params.seed} --out {params.folder} > {log} 2>&1"


rule operating:
    input:
        unpack(plan.models),
        metrics=rules.metrics.output.metrics,
    output:
        **tables("operating"),
    message:
        "Writing the operating points of {wildcards.experiment}"
    shell:
        "thorax operating --title {params.title:q} --provenance {params.provenance} --metrics {input.metrics} --labels {input.labels}"
        " --split {input.split} --rule {params.threshold_rule} --predictions {params.named_predictions}"
        " --ensembles {params.named_ensembles} --learned {params.learning_ensembles} --seed {params.seed} --out {params.folder} > {log} 2>&1"


rule groups:
    input:
        unpack(plan.models),
        metrics=rules.metrics.output.metrics,
        catalog=plan.catalog,
    output:
        **tables("groups"),
    message:
        "Measuring groups of the test images of {wildcards.experiment}"
    shell:
        "thorax groups --title {params.title:q} --provenance {params.provenance} --metrics {input.metrics} --labels {input.labels}"
        " --split {input.split} --catalog {input.catalog} --groups {params.groups} --rule {params.threshold_rule}"
        " --predictions {params.named_predictions} --ensembles {params.named_ensembles} --learned {params.learning_ensembles}"
        " --seed {params.seed} --out {params.folder} > {log} 2>&1"


rule beside:
    input:
        metrics=rules.metrics.output.metrics,
        split=plan.split,
    output:
        **tables("beside_per_class", "beside_global"),
    message:
        "Writing the results of {wildcards.experiment} next to the paper's"
    shell:
        "thorax beside --settings {params.published:q} --title {params.title:q} --provenance {params.provenance} --metrics {input.metrics}"
        " --members {params.members} --ensembles {params.ensembles} --split {input.split} {params.tested_on}"
        " --out {params.folder} > {log} 2>&1"


rule statements:
    input:
        metrics=rules.metrics.output.metrics,
    output:
        **tables("statements"),
    message:
        "Checking what the paper's text says against {wildcards.experiment}"
    shell:
        "thorax statements --settings {params.published:q} --title {params.title:q} --provenance {params.provenance} --metrics {input.metrics}"
        " --members {params.members} --out {params.folder} > {log} 2>&1"


rule ablation:
    input:
        split=plan.split,
        metrics=plan.metrics,
        differences=rules.ablation_differences.output.differences,
    output:
        **tables("ablation"),
    message:
        "Writing the variants of {wildcards.ablation} side by side"
    shell:
        "thorax ablation --settings {params.published:q} --title {params.title:q} --provenance {params.provenance} --metrics {params.named_metrics}"
        " --differences {input.differences} --members {params.members} --ensembles {params.ensembles} --split {input.split} {params.tested_on}"
        " --out {params.folder} > {log} 2>&1"


rule side_by_side:
    input:
        unpack(plan.truth),
        metrics=plan.metrics,
        differences=rules.differences.output.differences,
    output:
        **tables("comparison_per_class", "comparison"),
    message:
        "Comparing experiments: {wildcards.comparison}"
    shell:
        "thorax side-by-side --title {params.title:q} --provenance {params.provenance} --labels {input.labels} --split {input.split}"
        " --metrics {params.named_metrics} --differences {input.differences} --columns {params.columns} --rule {params.threshold_rule} --f1-metric {params.f1_metric}"
        " --out {params.folder} > {log} 2>&1"


use rule side_by_side as cascade_tables with:
    input:
        unpack(plan.truth),
        metrics=plan.metrics,
        differences=rules.cascade_differences.output.differences,
    output:
        **tables("cascade_per_class", "cascade"),
    params:
        named_metrics=named(plan.cascade_metrics),
    message:
        "Writing the tables of {wildcards.cascade} at {wildcards.threshold_rule}"


rule cross_table:
    input:
        unpack(plan.cross_files),
    output:
        **tables("cross_matrix", "cross_classes"),
    params:
        archives=named(plan.cross_archives),
        labels=named(plan.cross_truth("labels")),
        splits=named(plan.cross_truth("split")),
        predictions=named(plan.cross_scores("predictions")),
        ensembles=named(plan.cross_scores("ensembles")),
    message:
        "Testing the models of {wildcards.cross} on each other's archives"
    shell:
        "thorax cross-table --settings {params.settings_cross:q} --provenance {params.provenance} --archives {params.archives}"
        " --labels {params.labels} --splits {params.splits} --predictions {params.predictions}"
        " --ensembles {params.ensembles} --out {params.folder} > {log} 2>&1"


rule systems:
    output:
        **tables("systems", path="results/tables/systems/{archive}/{table}.html"),
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
        **tables("overview"),
    params:
        settings=lambda wildcards: json.dumps(pages.setups(plan.config, plan.run)),
        labels=named(plan.of_experiments("labels")),
        splits=named(plan.of_experiments("split")),
    message:
        "Summarizing all experiments"
    shell:
        "thorax overview --settings {params.settings:q} --metrics {params.named_metrics} --labels {params.labels}"
        " --splits {params.splits} {params.option_records} --out {params.folder} > {log} 2>&1"


rule readers:
    input:
        unpack(plan.truth),
        readers=plan.read_again,
        predictions=plan.of_models("predictions"),
        ensembles=plan.of_models("ensembles"),
    output:
        **tables("agreement", "readers"),
    message:
        "Comparing readers with labels and models of {wildcards.experiment}"
    shell:
        "thorax readers --settings {params.experts:q} --title {params.title:q} --provenance {params.provenance} --labels {input.labels}"
        " --split {input.split} --predictions {params.named_predictions} --ensembles {params.named_ensembles} --seed {params.seed}"
        " --out {params.folder} > {log} 2>&1"


rule suspects:
    input:
        unpack(plan.truth),
        predictions=expand("results/predictions/{{experiment}}/{member}.parquet", member=plan.field("experiment", "members")),
        ensembles=plan.of_models("ensembles"),
    output:
        **tables("suspects"),
        list="results/suspects/{experiment}.csv",
    message:
        "Searching for labels of {wildcards.experiment} that are probably wrong"
    shell:
        "thorax suspects --title {params.title:q} --provenance {params.provenance} --labels {input.labels} --split {input.split}"
        " --predictions {params.named_predictions} --ensembles {params.named_ensembles} --rule {params.threshold_rule}"
        " --list {output.list} --out {params.folder} > {log} 2>&1"


rule repeats:
    input:
        unpack(plan.truth),
        metrics=rules.metrics.output.metrics,
        predictions=expand(
            "results/predictions/{{experiment}}/{training}.parquet", training=plan.field("experiment", "trainings")
        ),
    output:
        **tables("repeats"),
    message:
        "Comparing repeated trainings of {wildcards.experiment}"
    shell:
        "thorax repeats --title {params.title:q} --provenance {params.provenance} --metrics {input.metrics} --labels {input.labels}"
        " --split {input.split} --members {params.members} --predictions {params.named_predictions} --rule {params.threshold_rule}"
        " --f1-metric {params.f1_metric} --out {params.folder} > {log} 2>&1"


rule paper_page:
    input:
        pages=lambda wildcards: [shown.path for shown in pages.sections(plan.config, wildcards.paper)],
    output:
        html=page("paper"),
    params:
        settings=lambda wildcards: pages.settings(plan.config, wildcards.paper),
    message:
        "Writing the page of {wildcards.paper}"
    shell:
        "thorax paper-page --settings {params.settings:q} --out {output.html} > {log} 2>&1"


rule site:
    input:
        metrics=rules.overview.input.metrics,
        labels=rules.overview.input.labels,
        splits=rules.overview.input.splits,
        pages=pages.wanted(plan.config, plan.audit.splits),
        notebooks=pages.notebooks(plan.config),
        tables=pages.records(plan.config),
        records=plan.records(),
    output:
        index="results/index.html",
        pages=directory("results/site"),
    params:
        settings=lambda wildcards: pages.site(plan.config, plan.audit.splits),
        labels=named(plan.of_experiments("labels")),
        splits=named(plan.of_experiments("split")),
    message:
        "Writing the results site"
    shell:
        "thorax site --settings {params.settings:q} --metrics {params.named_metrics} --labels {params.labels} --splits {params.splits}"
        " {params.option_records} --out {output.index} > {log} 2>&1"
