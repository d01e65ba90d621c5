rule labels:
    input:
        catalog=plan.catalog,
        ingested=plan.ingested,
        second_ingested=plan.file("label_set", "second", "results/ingested/*.parquet"),
        general=plan.file("label_set", "inside", "results/labels/*.parquet"),
    output:
        labels="results/labels/{label_set}.parquet",
        report="results/labels/{label_set}.classes.csv",
    params:
        # It takes `input` so that Snakemake does not compare it with an earlier run: naming another class changes no label
        named=lambda wildcards, input: plan.named_classes(wildcards.label_set),
    message:
        "Grouping and counting the classes of {wildcards.label_set}"
    shell:
        "thorax labels --settings {params.settings_label_set:q} --archive {params.archive} --catalog {input.catalog}"
        " --second-views {params.second_views:q} {params.option_ingested} {params.option_second_ingested}"
        " {params.option_general} --named {params.named} --out {output.labels} --report {output.report} > {log} 2>&1"


rule pairs:
    input:
        labels="results/labels/{label_set}.parquet",
        catalog=plan.catalog,
        ingested=plan.file("label_set", "second", "results/ingested/*.parquet"),
    output:
        pairs="results/pairs/{label_set}.parquet",
    message:
        "Pairing the two views of the studies of {wildcards.label_set}"
    shell:
        "thorax pairs --labels {input.labels} --catalog {input.catalog} --second-views {params.second_views:q}"
        " --second-ingested {input.ingested} --out {output.pairs} > {log} 2>&1"


rule split:
    input:
        labels=expand("results/labels/{label_set}.parquet", label_set=plan.field("split", "label_sets")),
        catalog=plan.catalog,
        duplicates=plan.duplicates,
        kept=plan.kept,
    output:
        split="results/splits/{split}.parquet",
        quality="results/splits/{split}.quality.csv",
    message:
        "Assigning patients to training, validation and test: {wildcards.split}"
    shell:
        "thorax split --settings {params.settings_split:q} --labels {input.labels} --catalog {input.catalog} {params.option_duplicates}"
        " --out {output.split} --quality {output.quality} > {log} 2>&1"


rule cases:
    input:
        unpack(plan.truth),
    output:
        cases="results/cases/{experiment}.parquet",
    message:
        "Choosing the test images for the heatmaps of {wildcards.experiment}"
    shell:
        "thorax cases --labels {input.labels} --split {input.split} --count {params.cases} --seed {params.seed}"
        " --classes {params.case_classes:q} --out {output.cases} > {log} 2>&1"


use rule cases as browser_cases with:
    output:
        cases="results/cases/{experiment}/browser.parquet",
    params:
        cases=plan.field("experiment", "browser_cases"),
    message:
        "Choosing the test images for the case browser of {wildcards.experiment}"
