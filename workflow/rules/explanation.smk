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
