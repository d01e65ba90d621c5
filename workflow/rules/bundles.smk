from thorax.workflow.bundled import BundlePlan

packed = BundlePlan(plan)


# Not part of a run: `thorax bundle EXPERIMENT` names the file
rule bundle:
    input:
        unpack(packed.files),
        thresholds=rules.metrics.output.thresholds,
        scaling=rules.calibration.output.scaling,
        metrics=rules.metrics.output.metrics,
    output:
        bundle="results/bundles/{experiment}.zip",
    threads: 8
    resources:
        gpu=1,
        mem_mb=memory(3000),
    params:
        settings=packed.settings,
    message:
        "Packing the model of {wildcards.experiment} into one file"
    shell:
        "thorax pack-bundle --settings {params.settings:q} --labels {input.labels} --split {input.split} --ingested {input.ingested}"
        " --images {input.images} {params.option_pairs} {params.option_second_ingested} {params.option_second_images}"
        " --networks {params.named_networks} --predictions {params.named_predictions} --ensembles {params.named_ensembles}"
        " --records {params.named_records} {params.option_segmenter} {params.option_boxes} --catalog {input.catalog}"
        " --thresholds {input.thresholds} --scaling {input.scaling} --metrics {input.metrics} --out {output.bundle}"
        " --threads {threads} > {log} 2>&1"
