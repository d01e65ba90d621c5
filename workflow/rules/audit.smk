use rule catalog as audit_catalog with:
    input:
        manifest=plan.audit.metadata,
    output:
        catalog="results/audit/catalog/{dataset}.parquet",
        boxes="results/audit/boxes/{dataset}.parquet",
    params:
        settings=plan.audit.catalog_settings,


use rule labels as audit_labels with:
    input:
        catalog=plan.audit.catalog,
    output:
        labels="results/audit/labels/{label_set}.parquet",
        report="results/audit/labels/{label_set}.classes.csv",
    params:
        named="",
    message:
        "Counting the classes of {wildcards.label_set} from metadata alone"


use rule split as audit_split with:
    input:
        labels=expand("results/audit/labels/{label_set}.parquet", label_set=plan.field("split", "label_sets")),
        catalog=plan.audit.catalog,
        kept=plan.kept,
    output:
        split="results/audit/splits/{split}.parquet",
        quality="results/audit/splits/{split}.quality.csv",


rule audit_counts:
    input:
        catalog=plan.audit.catalog,
        labels=rules.audit_labels.output.labels,
        split=plan.audit.split,
    output:
        **tables("audit_counts"),
    message:
        "Comparing the counts of {wildcards.label_set} with the published ones"
    shell:
        "thorax audit --settings {params.settings_label_set:q} --archive {params.archive} --catalog {input.catalog}"
        " --labels {input.labels} --split {input.split} --out {params.folder} > {log} 2>&1"


rule audit_overview:
    input:
        catalogs=expand("results/audit/catalog/{dataset}.parquet", dataset=plan.audit.datasets),
        audited=expand("results/audit/counts/{label_set}.csv", label_set=plan.audit.label_sets),
        qualities=expand("results/audit/splits/{split}.quality.csv", split=plan.audit.splits),
    output:
        **tables("audit_datasets", "audit_label_sets"),
    params:
        qualities=[f"{name}=results/audit/splits/{name}.quality.csv" for name in plan.audit.splits],
        absent=plan.audit.absent_and_divided(),
    message:
        "Comparing archives, label sets and splits with the published numbers"
    shell:
        "thorax audit-overview --catalogs {params.named_catalogs} --audited {input.audited} --qualities {params.qualities}"
        " --absent {params.absent} --out {params.folder} > {log} 2>&1"


rule audit_weights:
    output:
        **tables("audit_weights"),
    message:
        "Computing the F1 and Hamming loss that weights of the positives can give"
    shell:
        "thorax audit-weights --out {params.folder} > {log} 2>&1"


use rule systems as audit_systems with:
    output:
        **tables("audit_systems", path="results/audit/systems/{archive}/{table}.html"),


rule compare_splitters:
    input:
        labels=rules.audit_labels.output.labels,
    output:
        **tables("audit_splitters"),
    params:
        settings=plan.audit.compared_shares,
    message:
        "Comparing our split of {wildcards.label_set} with those of other libraries"
    shell:
        "thorax compare-splitters --settings {params.settings:q} --labels {input.labels} --out {params.folder} > {log} 2>&1"


rule audit:
    input:
        pages.audit(plan.config, plan.audit.splits),
