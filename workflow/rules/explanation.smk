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
        parameters=plan.heatmap_parameters,
    message:
        "Drawing the heatmaps of {wildcards.experiment}"
    shell:
        "papermill {input.notebook} {output.notebook} -y {params.parameters:q} --no-progress-bar > {log} 2>&1"


rule figure_classes:
    input:
        unpack(plan.heatmaps),
        cases=rules.cases.output.cases,
    output:
        **figure("several_classes"),
    params:
        heatmaps=lambda wildcards, input: named(input.heatmaps),
        predictions=lambda wildcards, input: named(input.predictions),
        ensemble=options("ensemble"),
        lungs=options("lungs"),
        title=plan.field("experiment", "title"),
    message:
        "Drawing radiographs with several classes of {wildcards.experiment}"
    shell:
        "thorax figure-classes --cases {input.cases} --heatmaps {params.heatmaps} --predictions {params.predictions}"
        " {params.ensemble} --labels {input.labels} --boxes {input.boxes} --ingested {input.ingested} --arrays {input.arrays}"
        " {params.lungs} --title {params.title:q} --out {params.stem} > {log} 2>&1"


rule figure_attention:
    input:
        unpack(plan.attention),
        cases=rules.cases.output.cases,
    output:
        **figure("attention"),
    params:
        attention=lambda wildcards, input: named(input.attention),
        lungs=options("lungs"),
        title=plan.field("experiment", "title"),
    message:
        "Drawing the attention of networks of {wildcards.experiment}"
    shell:
        "thorax figure-attention --attention {params.attention} --cases {input.cases} --ingested {input.ingested}"
        " --arrays {input.arrays} {params.lungs} --title {params.title:q} --out {params.stem} > {log} 2>&1"
