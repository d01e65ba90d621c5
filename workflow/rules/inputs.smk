def label_set_around(label_set):
    """The labels of the general classes that a label set lies inside; nothing for one that stands by itself."""
    general = study.label_sets[label_set].inside
    return f"results/labels/{general}.parquet" if general else []


def named_of(label_set):
    """KEY=CLASS of the run's settings that name a class of a label set."""
    return [f"{key}={wanted}" for key, wanted in preflight.named_classes(study, label_set, study.run)]


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


def labels_that_ensemble_learns_from(wildcards):
    """Labels and split, for rules that learn from validation images."""
    ensemble = study.experiments[wildcards.experiment].ensembles[wildcards.ensemble]
    return {key: training_data(wildcards)[key] for key in ("labels", "split")} if ensemble.rule in LEARNING else {}


def ensembles_that_learn(experiment):
    """The ensembles whose rules learn from validation images."""
    return [name for name, ensemble in study.experiments[experiment].ensembles.items() if ensemble.rule in LEARNING]


def models_of(experiment):
    """Members, ensembles and the baseline."""
    return [*study.experiments[experiment].members, *study.experiments[experiment].ensembles, "baseline"]


def tuned_models(experiment):
    """The models whose thresholds are tuned: all, where the experiment has a rule that does."""
    return models_of(experiment) if study.experiments[experiment].tuned else []


def exclusive_option(wildcards):
    exclusive = study.experiments[wildcards.experiment].exclusive
    return f"--exclusive {shlex.quote(exclusive)}" if exclusive else ""


def paper_option(wildcards):
    paper = study.experiments[wildcards.experiment].paper
    return f"--paper {shlex.quote(paper)}" if paper else ""


def ablations():
    """The ablations whose experiments are all run."""
    return {name: block for name, block in study.ablations.items() if set(block.experiments) <= set(study.run)}


def ablation_columns(ablation):
    """The published numbers of each experiment of an ablation, as text for --settings."""
    return json.dumps(
        {name: study.experiments[name].beside.model_dump(mode="json") for name in study.ablations[ablation].experiments}
    )


def tested_options(experiment):
    """Whose radiographs an experiment is tested on, and whether by the archive's own lists."""
    block = study.experiments[experiment]
    archive = study.datasets[study.label_sets[block.label_set].dataset].archive
    return f"--archive {archive}" + (" --official-lists" if study.splits[block.split].official else "")


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
        tables += ["statements"] if has_statements(experiment) else []
        pages += expand("results/tables/{experiment}/{table}.html", experiment=name, table=tables)
    return pages + [f"results/tables/ablations/{name}/ablation.html" for name in ablations()]


def has_statements(experiment):
    """Whether the text of Liz et al. 2022 speaks of its results: of its networks and its ensemble CTP."""
    beside = experiment.beside
    return bool(beside and beside.paper == "liz2022" and "CTP" in {*beside.models.values(), *experiment.ensembles})


# Archives with other published systems on record, and their tables
SYSTEMS = {"padchest": ["systems", "classes"], "nih": ["systems"], "chexpert": ["systems", "classes"]}


def system_pages(archives, folder="results/tables/systems"):
    """The pages of other published systems of some archives, in the order of `SYSTEMS`."""
    return [f"{folder}/{archive}/{table}.html" for archive in SYSTEMS if archive in archives for table in SYSTEMS[archive]]


def measured_on():
    """What the run's numbers come from; where its experiments differ, the least trustworthy."""
    trust = ["phantom", "sample", "archive"]
    return min((study.experiments[name].data for name in study.run), key=trust.index, default="archive")


def summary_rows():
    """The label set and split of every row of the summary; a label set with several splits has a row for each."""
    splits = dict.fromkeys(study.experiments[name].split for name in study.run)
    pairs = [(label_set, split) for split in splits for label_set in label_sets_of(split)]
    label_sets = [label_set for label_set, _ in pairs]
    return {
        f"{label_set}/{split}" if label_sets.count(label_set) > 1 else label_set: (label_set, split)
        for label_set, split in pairs
    }


def first_compared(comparison):
    """The first experiment of a comparison; the others have its label set, split, data, threshold rule and F1."""
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


def run_splits():
    return sorted({study.experiments[name].split for name in study.run})


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
            member=experiment.explained,
            **wildcards,
        ),
        "predictions": expand(
            "results/predictions/{experiment}/{member}.parquet",
            member=experiment.explained,
            **wildcards,
        ),
        "ensemble": f"results/ensembles/{wildcards.experiment}/{experiment.mean}.parquet" if experiment.mean else [],
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


def by_member(experiment, paths):
    """NAME=PATH for paths of the explained members, as the command line takes them."""
    return [f"{member}={path}" for member, path in zip(study.experiments[experiment].explained, paths, strict=True)]


def curves_model(experiment):
    """The model whose ROC curves are drawn, chosen before anything is measured.

    The first weighted average where the experiment has one (Figure 4 of Kejriwal et al.), else the first mean (CTP), else the
    first member.
    """
    ensembles = study.experiments[experiment].ensembles
    of_kind = {kind: [name for name, e in ensembles.items() if e.rule == kind] for kind in ("weighted_average", "ctp")}
    return [*of_kind["weighted_average"], *of_kind["ctp"], *study.experiments[experiment].members][0]


def scores_file(experiment, model):
    """Where a model's scores are: logits of a network or the baseline, what an ensemble has made of them."""
    kind = "ensembles" if model in study.experiments[experiment].ensembles else "predictions"
    return f"results/{kind}/{experiment}/{model}.parquet"


def logits_option(experiment, model):
    """Said of scores that are logits."""
    return "" if model in study.experiments[experiment].ensembles else "--logits"


def heatmap_parameters(wildcards, input, output):
    """The notebook's parameters as text for papermill."""
    experiment = study.experiments[wildcards.experiment]
    return json.dumps(
        {
            "title": experiment.title,
            "cases": input.cases,
            "wanted": experiment.case_classes,
            "heatmaps": dict(zip(experiment.explained, input.heatmaps, strict=True)),
            "predictions": dict(zip(experiment.explained, input.predictions, strict=True)),
            "ensemble": input.ensemble or None,
            "ensemble_name": experiment.mean,
            "labels": input.labels,
            "boxes": input.boxes,
            "ingested": input.ingested,
            "arrays": list(input.arrays),
            "lungs": list(input.lungs) if "lungs" in input.keys() else None,
            "out": output.png,
        },
        ensure_ascii=False,  # YAML does not read a letter in two halves
    )


def flat_experiment(wildcards):
    return study.experiments[study.cascades[wildcards.cascade].flat]


def inside_label_set(wildcards):
    return study.experiments[study.cascades[wildcards.cascade].inside].label_set


def flat_data(wildcards):
    """The label set that a cascade is measured by, and the split of all its experiments."""
    flat = flat_experiment(wildcards)
    return {"labels": f"results/labels/{flat.label_set}.parquet", "split": f"results/splits/{flat.split}.parquet"}


def cascade_steps(wildcards):
    """What the two networks, or ensembles of networks, of a cascade say."""
    block = study.cascades[wildcards.cascade]
    kind = "predictions" if is_member(wildcards) else "ensembles"
    return {step: f"results/{kind}/{getattr(block, step)}/{wildcards.model}.parquet" for step in ("general", "inside")}


def is_member(wildcards):
    return wildcards.model in flat_experiment(wildcards).members


def of_cascade(kind, wildcards):
    """A file of each of a cascade's models."""
    models = study.cascades[wildcards.cascade].models
    return expand("results/{kind}/{cascade}/{model}.parquet", kind=kind, cascade=wildcards.cascade, model=models)


def named_of_cascade(kind, wildcards):
    """NAME=PATH for each of a cascade's models."""
    models = study.cascades[wildcards.cascade].models
    return [f"{model}={path}" for model, path in zip(models, of_cascade(kind, wildcards))]


def audited_dataset(name):
    """The data set as the audit reads it: from one folder of metadata files, where the configuration names one."""
    dataset = study.datasets[name]
    return dataset.model_copy(update={"root": study.audit.metadata}) if study.audit.metadata else dataset


def audited_metadata(name):
    """What stands for an archive's metadata: the files themselves, or the manifest of a whole archive."""
    if study.audit.metadata:
        return list(map(str, archives.metadata_files(audited_dataset(name))))
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
    return [name for name in real if not archives.metadata_file(audited_dataset(name)).is_file()]


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
        "results/audit/pos_weights/liz2022-specific.html",
        *expand("results/audit/splitters/{label_set}.html", label_set=compared_label_sets()),
        *system_pages([study.datasets[name].archive for name in audited_datasets()], "results/audit/systems"),
    ]


def elsewhere_data(wildcards):
    """What a network of one experiment reads to predict the test images of another."""
    return data_of(wildcards.other)


def cross_archives(cross):
    """NAME=ARCHIVE of every experiment."""
    return [f"{name}={study.datasets[dataset_of(name)].archive}" for name in study.cross[cross].experiments]


def cross_tables(cross, kind):
    """NAME=PATH of every experiment's labels or split."""
    return [f"{name}={data_of(name)[kind]}" for name in study.cross[cross].experiments]


def cross_scores(cross, kind):
    """TRAINED@TESTED=PATH of the models that are members (predictions) or ensembles; on its own archive each has been tested."""
    found = []
    for name, model in study.cross[cross].experiments.items():
        if (model in study.experiments[name].ensembles) == (kind == "ensembles"):
            for other in study.cross[cross].experiments:
                scores = f"{model}@{other}" if other != name else model
                found.append(f"{name}@{other}=results/{kind}/{name}/{scores}.parquet")
    return found


def paths_of(pairs):
    """The paths of NAME=PATH."""
    return [pair.partition("=")[2] for pair in pairs]


def cross_inputs(wildcards):
    return {
        "labels": paths_of(cross_tables(wildcards.cross, "labels")),
        "splits": paths_of(cross_tables(wildcards.cross, "split")),
        "predictions": paths_of(cross_scores(wildcards.cross, "predictions")),
        "ensembles": paths_of(cross_scores(wildcards.cross, "ensembles")),
    }


def cross_pages():
    """The pages of every cross-dataset evaluation whose experiments are all run."""
    made = [cross for cross, block in study.cross.items() if set(block.experiments) <= set(study.run)]
    return [
        *expand("results/tables/cross/{cross}/{table}.html", cross=made, table=["matrix", "classes"]),
        *expand("results/figures/cross/{cross}.html", cross=made),
    ]
