def segmenter_split(wildcards):
    split = study.segmenters[wildcards.segmenter].train_patients_of
    return f"results/splits/{split}.parquet" if split else []


def lungs_of(wildcards):
    segmenter = study.image_sets[wildcards.image_set].segmenter
    return f"results/lungs/{segmenter}/{wildcards.dataset}.{wildcards.shard}.parquet" if segmenter else []


def second_views(label_set):
    """The views among which the second image of a label set's studies is sought; none for a label set of single images."""
    second = study.label_sets[label_set].second
    return study.datasets[second].views if second else []


def second_ingested(label_set):
    second = study.label_sets[label_set].second
    return f"results/ingested/{second}.parquet" if second else []


def second_option(label_set, ingested=""):
    """What the command line of `labels` says of second views."""
    views = shlex.join(second_views(label_set))
    return f"--second-views {views}" * bool(views) + f" --second-ingested {ingested}" * bool(ingested)


def second_images(wildcards):
    """What networks of two views read beside the files of `training_data`; nothing for networks of one view."""
    experiment = study.experiments[wildcards.experiment]
    if experiment.second_image_set is None:
        return {}
    dataset = study.image_sets[experiment.second_image_set].dataset
    return {
        "pairs": f"results/pairs/{experiment.label_set}.parquet",
        "second_ingested": f"results/ingested/{dataset}.parquet",
        "second_images": shards(
            "results/images/{image_set}/{dataset}.{shard}.npy",
            dataset,
            image_set=experiment.second_image_set,
        ),
    }


def second_options(wildcards, input):
    """What the command lines of `train` and `predict` say of a second view."""
    if "pairs" not in input.keys():
        return ""
    return f"--pairs {input.pairs} --second-ingested {input.second_ingested} --second-images {' '.join(input.second_images)}"


def weights_of(wildcards):
    training = study.experiments[wildcards.experiment].member(wildcards.member)
    return f"resources/weights/{training.backbone}.h5" if training.weights == "imagenet" else []


def training_memory(wildcards):
    experiment = study.experiments[wildcards.experiment]
    views = 2 if experiment.second_image_set else 1
    return BACKBONES[experiment.member(wildcards.member).backbone].memory * views


def named(kind, names, experiment):
    """NAME=PATH for every member or ensemble, as the command line takes them."""
    return [f"{name}=results/{kind}/{experiment}/{name}.parquet" for name in names]


def scores_of(wildcards):
    """Where a model's scores are: logits of a network or the baseline, what an ensemble has made of them."""
    ensembles = study.experiments[wildcards.experiment].ensembles
    return f"results/{'ensembles' if wildcards.model in ensembles else 'predictions'}/{wildcards.experiment}/{wildcards.model}.parquet"


def labels_that_ensemble_learns_from(wildcards):
    """Labels and split, for rules that learn from validation images."""
    ensemble = study.experiments[wildcards.experiment].ensembles[wildcards.ensemble]
    return {key: training_data(wildcards)[key] for key in ("labels", "split")} if ensemble.rule in LEARNING else {}


def models_of(experiment):
    """Members, ensembles and the baseline."""
    return [*study.experiments[experiment].members, *study.experiments[experiment].ensembles, "baseline"]


def tuned_models(experiment):
    """The models whose thresholds are tuned: all, where the experiment has a rule that does."""
    return models_of(experiment) if study.experiments[experiment].tuned else []


def exclusive_option(wildcards):
    exclusive = study.experiments[wildcards.experiment].exclusive
    return f"--exclusive {shlex.quote(exclusive)}" if exclusive else ""


def ablations():
    """The ablations whose experiments are all run."""
    return {name: block for name, block in study.ablations.items() if set(block.experiments) <= set(study.run)}


def ablation_columns(ablation):
    """The published numbers of each experiment of an ablation, as text for --settings."""
    return json.dumps({name: study.experiments[name].beside.model_dump(mode="json") for name in study.ablations[ablation].experiments})


def first_of(ablation):
    """The experiment whose members and ensembles an ablation has."""
    return study.experiments[study.ablations[ablation].experiments[0]]


def result_tables():
    """The tables of the run's results: each experiment's own, the paper's numbers beside them, other thresholds, ablations."""
    pages = []
    for name in study.run:
        experiment = study.experiments[name]
        tables = ["per_class", "global"]
        tables += ["thresholds", "rules"] if len(experiment.thresholds) > 1 else []
        tables += ["beside_per_class", "beside_global"] if experiment.beside else []
        pages += expand("results/tables/{experiment}/{table}.html", experiment=name, table=tables)
    return pages + [f"results/tables/ablations/{name}/ablation.html" for name in ablations()]


def measured_on():
    """What the run's numbers come from; where its experiments differ, the least trustworthy."""
    trust = ["phantom", "sample", "archive"]
    return min((study.experiments[name].data for name in study.run), key=trust.index, default="archive")


def summary_rows():
    """The label set and split of every row of the summary; a label set with several splits has a row for each."""
    splits = dict.fromkeys(study.experiments[name].split for name in study.run)
    pairs = [(label_set, split) for split in splits for label_set in study.splits[split].label_sets]
    label_sets = [label_set for label_set, _ in pairs]
    return {
        f"{label_set}/{split}" if label_sets.count(label_set) > 1 else label_set: (label_set, split)
        for label_set, split in pairs
    }


def first_compared(comparison):
    """The first experiment of a comparison; the others have its label set, split, data and threshold rule."""
    return study.experiments[next(iter(study.comparisons[comparison].experiments))]


def compared_tables(wildcards):
    experiment = first_compared(wildcards.comparison)
    return {
        "labels": f"results/labels/{experiment.label_set}.parquet",
        "split": f"results/splits/{experiment.split}.parquet",
        "metrics": expand(
            "results/metrics/{experiment}.parquet",
            experiment=study.comparisons[wildcards.comparison].experiments,
        ),
    }


def side_by_side_pages():
    """The tables of every comparison whose experiments are all run."""
    made = [name for name, comparison in study.comparisons.items() if set(comparison.experiments) <= set(study.run)]
    return expand(
        "results/tables/comparisons/{comparison}/{table}.html",
        comparison=made,
        table=["per_class", "global"],
    )


def lungs_inputs(wildcards):
    image_set = study.image_sets[wildcards.image_set]
    dataset = image_set.dataset
    return {
        "catalog": f"results/catalog/{dataset}.parquet",
        "ingested": f"results/ingested/{dataset}.parquet",
        "arrays": shards("results/ingested/{dataset}.{shard}.npy", dataset),
        "lungs": shards(
            "results/lungs/{segmenter}/{dataset}.{shard}.parquet",
            dataset,
            segmenter=image_set.segmenter,
        ),
        "masks": shards(
            "results/lungs/{segmenter}/{dataset}.{shard}.npy",
            dataset,
            segmenter=image_set.segmenter,
        ),
        "images": shards(
            "results/images/{image_set}/{dataset}.{shard}.npy",
            dataset,
            image_set=wildcards.image_set,
        ),
    }


def run_datasets():
    return sorted({dataset for name in study.run for dataset in datasets_of(name)})


def screened_lungs():
    """DATASET/SEGMENTER and the shards' tables of crop boxes, for every cropped image set of the run."""
    image_sets = {study.experiments[name].image_set for name in study.run}
    cropped = sorted({(s.dataset, s.segmenter) for s in map(study.image_sets.get, image_sets) if s.segmenter})
    return {
        f"{dataset}/{segmenter}": shards(
            "results/lungs/{segmenter}/{dataset}.{shard}.parquet",
            dataset,
            segmenter=segmenter,
        )
        for dataset, segmenter in cropped
    }


def heatmap_inputs(wildcards):
    experiment = study.experiments[wildcards.experiment]
    dataset = dataset_of(wildcards.experiment)
    segmenter = study.image_sets[experiment.image_set].segmenter
    inputs = {
        "heatmaps": expand(
            "results/heatmaps/{experiment}/{member}.npy",
            member=experiment.members,
            **wildcards,
        ),
        "predictions": expand(
            "results/predictions/{experiment}/{member}.parquet",
            member=experiment.members,
            **wildcards,
        ),
        "ensemble": expand(
            "results/ensembles/{experiment}/{name}.parquet",
            name=mean_ensemble(experiment),
            **wildcards,
        ),
        "labels": f"results/labels/{experiment.label_set}.parquet",
        "boxes": f"results/boxes/{dataset}.parquet",
        "ingested": f"results/ingested/{dataset}.parquet",
        "arrays": shards("results/ingested/{dataset}.{shard}.npy", dataset),
    }
    if segmenter:
        inputs["lungs"] = shards(
            "results/lungs/{segmenter}/{dataset}.{shard}.parquet",
            dataset,
            segmenter=segmenter,
        )
    return inputs


def mean_ensemble(experiment):
    """The ensemble whose probabilities stand in the titles of heatmaps: the first that is a mean (CTP), if there is one."""
    means = [name for name, ensemble in experiment.ensembles.items() if ensemble.rule == "ctp"]
    return means[:1]


def heatmap_parameters(wildcards, input, output):
    """The notebook's parameters as text for papermill."""
    experiment = study.experiments[wildcards.experiment]
    return json.dumps(
        {
            "title": experiment.title,
            "cases": input.cases,
            "heatmaps": dict(zip(experiment.members, input.heatmaps)),
            "predictions": dict(zip(experiment.members, input.predictions)),
            "ensemble": input.ensemble[0] if input.ensemble else None,
            "labels": input.labels,
            "boxes": input.boxes,
            "ingested": input.ingested,
            "arrays": list(input.arrays),
            "lungs": list(input.lungs) if "lungs" in input.keys() else None,
            "out": output.png,
        }
    )


def audited_dataset(name):
    """The data set as the audit reads it: from one folder of metadata files, where the configuration names one."""
    dataset = study.datasets[name]
    return dataset.model_copy(update={"root": study.audit.metadata}) if study.audit.metadata else dataset


def audited_metadata(name):
    """What stands for an archive's metadata: the files themselves, or the manifest of a whole archive."""
    if study.audit.metadata:
        return list(map(str, datasets.metadata_files(audited_dataset(name))))
    return f"results/raw/{name}.manifest.parquet"


def audited_splits():
    """With experiments to run, the splits of those on whole archives; without, all splits whose metadata is here."""
    if study.run:
        return sorted({e.split for e in map(study.experiments.get, study.run) if e.data == "archive"})
    here = [split for split in study.splits if split_dataset(split) not in absent_datasets()]
    if not here:
        where = study.audit.metadata or ", ".join(dataset.root for dataset in study.datasets.values())
        raise WorkflowError(
            f"There is nothing to run and nothing to audit: {where} has no archive's metadata file. Name the folder that has "
            "them (make audit METADATA=folder), or experiments under run."
        )
    return here


def absent_datasets():
    """Archives of the configuration without a metadata file here."""
    real = [name for name, dataset in study.datasets.items() if not dataset.phantom]
    return [name for name in real if not datasets.metadata_file(audited_dataset(name)).is_file()]


def audited_label_sets():
    return list(dict.fromkeys(name for split in audited_splits() for name in study.splits[split].label_sets))


def audited_datasets():
    return list(dict.fromkeys(map(split_dataset, audited_splits())))


def split_serving(label_set):
    """The first audited split that serves a label set: published parts are compared with its parts."""
    return next(split for split in audited_splits() if label_set in study.splits[split].label_sets)


def compared_label_sets():
    return [name for name in study.audit.compare if name in audited_label_sets()]


def audit_pages():
    """The report's pages on counts in papers; none where no experiment runs on a whole archive."""
    if not audited_splits():
        return []
    return [
        *expand("results/audit/{table}.html", table=["datasets", "label_sets"]),
        *expand("results/audit/counts/{label_set}.html", label_set=audited_label_sets()),
        *expand("results/audit/splitters/{label_set}.html", label_set=compared_label_sets()),
        *expand("results/audit/catalog/{dataset}.parquet", dataset=audited_datasets()),  # as in `steps`
        *expand("results/audit/labels/{label_set}.parquet", label_set=audited_label_sets()),
        *expand("results/audit/splits/{split}.parquet", split=audited_splits()),
    ]
