rule heatmaps:
    input:
        unpack(plan.heatmaps),
        cases=rules.cases.output.cases,
        notebook=os.path.normpath(f"{HERE}/notebooks/heatmaps.ipynb"),
    output:
        html=page("heatmaps"),
        png="results/figures/{experiment}/heatmaps.png",
        notebook="results/notebooks/{experiment}/heatmaps.ipynb",
    params:
        code=lambda wildcards, input: notebook_digest(input.notebook),
    message:
        "Drawing the heatmaps of {wildcards.experiment}"
    shell:
        "papermill {input.notebook} {output.notebook} -y {params.heatmap_parameters:q} --no-progress-bar > {log} 2>&1"


rule figure_classes:
    input:
        unpack(plan.heatmaps),
        cases=rules.cases.output.cases,
    output:
        **figure("several_classes"),
    message:
        "Drawing radiographs with several classes of {wildcards.experiment}"
    shell:
        "thorax figure-classes --cases {input.cases} --heatmaps {params.named_heatmaps} --predictions {params.named_predictions}"
        " {params.option_ensemble} --labels {input.labels} --boxes {input.boxes} --ingested {input.ingested} --arrays {input.arrays}"
        " {params.option_lungs} --title {params.title:q} --out {params.stem} > {log} 2>&1"


rule figure_attention:
    input:
        unpack(plan.attention),
        cases=rules.cases.output.cases,
    output:
        **figure("attention"),
    message:
        "Drawing the attention of networks of {wildcards.experiment}"
    shell:
        "thorax figure-attention --attention {params.named_attention} --cases {input.cases} --ingested {input.ingested}"
        " --arrays {input.arrays} {params.option_lungs} --title {params.title:q} --out {params.stem} > {log} 2>&1"
