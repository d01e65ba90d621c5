rule heatmaps:
    input:
        unpack(plan.heatmaps),
        cases=rules.cases.output.cases,
        notebook=notebook("explanation"),
    output:
        html=[page("heatmaps"), page("several_classes")],
        pictures=["results/figures/{experiment}/heatmaps.png", *figure("several_classes")["pictures"]],
        notebook=figure("heatmaps")["notebook"],
    params:
        settings=plan.notebook(
            "heatmaps classes",
            "title",
            "heatmap_style",
            "boxes_by",
            wanted=plan.field("experiment", "case_classes"),
            ensemble_name=plan.field("experiment", "mean"),
        ),
    message:
        "Drawing the heatmaps of {wildcards.experiment}"
    shell:
        RENDER


rule figure_attention:
    input:
        unpack(plan.attention),
        cases=rules.cases.output.cases,
        notebook=notebook("explanation"),
    output:
        **figure("attention"),
    params:
        settings=plan.notebook("attention", "title"),
    message:
        "Drawing the attention of networks of {wildcards.experiment}"
    shell:
        RENDER


rule measure_heatmaps:
    input:
        unpack(plan.boxed),
    output:
        scores="results/heatmaps/{experiment}.scores.parquet",
        findings="results/heatmaps/{experiment}.findings.parquet",
    message:
        "Comparing the heatmaps of {wildcards.experiment} with boxes"
    shell:
        "thorax measure-heatmaps --labels {input.labels} --split {input.split} --boxes {input.boxes} --ingested {input.ingested}"
        " --predictions {params.named_predictions} --heatmaps {params.named_heatmaps} {params.option_lungs} {params.option_masks}"
        " {params.option_untrained} --seed {params.seed} --out {output.scores} --findings {output.findings} > {log} 2>&1"


rule check_heatmaps:
    input:
        unpack(plan.data("experiment")),
        model=plan.checked_model,
    output:
        checks="results/heatmaps/{experiment}.checks.csv",
        untrained="results/heatmaps/{experiment}.untrained.npy",
    threads: 8
    resources:
        gpu=1,
        mem_mb=memory(2200),
    message:
        "Checking the heatmaps of a network of {wildcards.experiment}"
    shell:
        "thorax check-heatmaps --model {input.model} --labels {input.labels} --split {input.split} --ingested {input.ingested}"
        " --images {input.images} --count {params.heatmap_checks} --seed {params.seed} --out {output.checks}"
        " --untrained {output.untrained} --method {params.heatmap_method} --threads {threads} > {log} 2>&1"


rule heatmap_tables:
    input:
        scores=rules.measure_heatmaps.output.scores,
    output:
        **tables("heatmap_scores", "heatmap_classes"),
    message:
        "Writing how far the heatmaps of {wildcards.experiment} agree with boxes"
    shell:
        "thorax heatmap-tables --title {params.title:q} --provenance {params.provenance} --scores {input.scores}"
        " --boxes-by {params.boxes_by} --out {params.folder} > {log} 2>&1"


rule checks_table:
    input:
        unpack(plan.truth),
        checks=rules.check_heatmaps.output.checks,
        predictions=expand(
            "results/predictions/{{experiment}}/{training}.parquet", training=plan.field("experiment", "trainings")
        ),
        heatmaps=expand("results/heatmaps/{{experiment}}/{training}.npy", training=plan.field("experiment", "trainings")),
    output:
        **tables("heatmap_checks"),
    message:
        "Writing the checks of the heatmaps of {wildcards.experiment}"
    shell:
        "thorax heatmap-checks --title {params.title:q} --provenance {params.provenance} --checks {input.checks}"
        " --member {params.checked_member} --count {params.heatmap_checks} --labels {input.labels} --split {input.split}"
        " --members {params.members} --predictions {params.named_predictions} --heatmaps {params.named_heatmaps} --out {params.folder} > {log} 2>&1"


rule case_browser:
    input:
        unpack(plan.browsed),
        cases=rules.browser_cases.output.cases,
    output:
        html=page("case_browser"),
    message:
        "Writing page {wildcards.part} of the case browser of {wildcards.experiment}"
    shell:
        "thorax case-browser --title {params.title:q} --provenance {params.provenance} --cases {input.cases}"
        " --predictions {params.named_predictions} --heatmaps {params.named_heatmaps} {params.option_ensemble} {params.key_mean}"
        " --labels {input.labels} --split {input.split} --boxes {input.boxes} --ingested {input.ingested} --arrays {input.arrays}"
        " {params.option_lungs} --scaling {input.scaling} {params.expert_options} --boxes-by {params.boxes_by} --part {wildcards.part}"
        " --out {output.html} > {log} 2>&1"


rule records:
    input:
        unpack(plan.recorded),
    output:
        table="results/records/{experiment}.parquet",
        coco="results/records/{experiment}.coco.json",
    message:
        "Writing what the networks of {wildcards.experiment} say of every test image, and where"
    shell:
        "thorax records --title {params.title:q} --labels {input.labels} --split {input.split} --ingested {input.ingested}"
        " --predictions {params.named_predictions} --heatmaps {params.named_heatmaps} {params.option_lungs} {params.option_masks}"
        " --out {output.table} --coco {output.coco} > {log} 2>&1"
