rule download_archive:
    output:
        files="results/raw/{dataset}.files.csv",
    localrule: True
    params:
        root=plan.field("dataset", "root"),
    message:
        "Downloading what is missing of {wildcards.dataset}"
    shell:
        "thorax download {params.archive} --root {params.root:q} --out {output.files} > {log} 2>&1"


use rule download_archive as download_pairs with:
    output:
        files="results/raw/{segmenter}.pairs.csv",
    params:
        archive=plan.field("segmenter", "download"),
        root=plan.field("segmenter", "pairs"),
    message:
        "Downloading radiographs with lung masks for {wildcards.segmenter}"


rule phantom:
    output:
        boxes="{phantom_root}/boxes.csv",
        pairs="{phantom_root}/lung_masks/pairs.csv",
    threads: 8
    params:
        archive=plan.field("phantom_root", "archive"),
    message:
        "Making an archive of synthetic radiographs in {wildcards.phantom_root}"
    shell:
        "thorax phantom --archive {params.archive} --settings {params.phantom_settings:q} --root {wildcards.phantom_root:q}"
        " --threads {threads} > {log:q} 2>&1"


rule image_list:
    input:
        plan.made_before,
    output:
        images="results/raw/{dataset}.images.parquet",
    params:
        root=plan.field("dataset", "root"),
        settings=plan.settings("dataset", "archive", "root", "views"),
        stamp=plan.image_stamp,  # so that changed images, but not changed labels, make the list again
        memory="work/manifests/{dataset}.files.parquet",
    message:
        "Listing the images of {wildcards.dataset}"
    shell:
        "thorax image-list --settings {params.settings:q} --memory {params.memory} --out {output.images} > {log} 2>&1"


rule manifest:
    input:
        plan.made_before,
        rules.image_list.output.images,
    output:
        manifest="results/raw/{dataset}.manifest.parquet",
    params:
        root=plan.field("dataset", "root"),
        settings=plan.manifest_options,
        memory="work/manifests/{dataset}.files.parquet",
    message:
        "Listing the files of {wildcards.dataset}"
    shell:
        "thorax manifest --root {params.root:q} {params.settings} --memory {params.memory} --out {output.manifest} > {log} 2>&1"


use rule manifest as pairs_manifest with:
    input:
        plan.made_before,
    output:
        manifest="results/raw/pairs/{segmenter}.manifest.parquet",
    params:
        root=plan.field("segmenter", "pairs"),
        memory="work/manifests/pairs/{segmenter}.files.parquet",
    message:
        "Listing the radiographs with lung masks of {wildcards.segmenter}"


rule catalog:
    input:
        manifest="results/raw/{dataset}.manifest.parquet",
    output:
        catalog="results/catalog/{dataset}.parquet",
        boxes="results/boxes/{dataset}.parquet",
    params:
        settings=plan.settings("dataset", "archive", "root"),
    message:
        "Reading the metadata of {wildcards.dataset}"
    shell:
        "thorax catalog --settings {params.settings:q} --out {output.catalog} --boxes {output.boxes} > {log} 2>&1"
