"""The shipped configuration, shrunk: the same experiments on synthetic archives in the form of their own, with the tiny network.

Nothing else of an experiment changes: heads, losses, sampling, rules of ensembles and decisions, tables and figures stay. Of
several members that differ in nothing but their architecture the first two are kept. What the shipped cascade and the shipped
cross-dataset evaluation have no example of is added: a single network, and an ensemble.
"""

import json
from typing import Any

SIDE = 32
PATIENTS = {"padchest": 120, "nih": 90, "chexpert": 60}
SHARDS = {"padchest": 1, "nih": 1, "chexpert": 2}
TRAINING = {"weights": "none", "freeze": 0.0, "batch_norm_momentum": 0.9, "learning_rate": 1e-3, "batch_size": 16, "epochs": 2}
SAME = 2  # members of equal settings


def shrink(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration as a small one that runs in minutes."""
    small = json.loads(json.dumps(config))
    for dataset in small["datasets"].values():
        dataset.pop("download", None)
        dataset["shards"] = SHARDS[dataset["archive"]]
        dataset["phantom"] = {"patients": PATIENTS[dataset["archive"]], "height": 192, "seed": 3}
    for label_set in small["label_sets"].values():
        label_set |= {"min_images": min(label_set.get("min_images", 1), 8), "min_patients": 4}
        label_set["exclude"] = [name for name in label_set.get("exclude", []) if name != "exclude"]  # no phantom has it
    for split in small["splits"].values():
        if "draw_down" in split:
            split["draw_down"] = {"train": 20, "test": 8}
    for segmenter in small["segmenters"].values():
        segmenter.pop("download", None)
        segmenter |= {"pairs": "data/padchest/lung_masks", "size": 64, "filters": [8, 16, 32], "epochs": 12}
    for image_set in small["image_sets"].values():
        image_set["size"] = SIDE
    for experiment in small["experiments"].values():
        _shrink_experiment(experiment)
    _widen(small)
    return small


def on_sample(config: dict[str, Any], experiments: list[str]) -> dict[str, Any]:
    """Return the same for experiments on NIH's archive with the real sample of it in data/nih_sample.

    The sample has no official lists, so patients are divided by shares, and classes of few patients are left out.
    """
    small = shrink(config)
    small["datasets"]["nih"] |= {"root": "data/nih_sample", "phantom": None}
    for name in experiments:
        experiment = small["experiments"][name]
        experiment["data"] = "sample"
        small["label_sets"][experiment["label_set"]] |= {"min_images": 1, "min_patients": 20}
        small["splits"][experiment["split"]] |= {"official": False, "train": 0.6, "val": 0.15, "test": 0.25}
    return small | {"run": experiments}


def _shrink_experiment(experiment: dict[str, Any]) -> None:
    training = experiment.setdefault("training", {})
    experiment |= {"data": "phantom", "cases": 3}
    if "cooccurrence" in experiment:
        experiment["cooccurrence"] = ["Effusion", "Infiltration"]  # what phantoms and the sample have enough of
    training |= {key: value for key, value in TRAINING.items() if key != "epochs"}
    training["epochs"] = TRAINING["epochs"] if not training.get("frozen_epochs") else 3
    if "frozen_epochs" in training:
        training["frozen_epochs"] = 1
    if "accumulate" in training:
        training["accumulate"] = 2
    kept: dict[str, dict[str, Any]] = {}
    for name, member in experiment["members"].items():
        member = {**member, "backbone": "cnn"}
        if list(kept.values()).count(member) < SAME:
            kept[name] = member
    experiment["members"] = {name: {**member, "seed": number} for number, (name, member) in enumerate(kept.items())}
    for ensemble in experiment.get("ensembles", {}).values():
        members = [name for name in ensemble["members"] if name in kept]
        ensemble["members"] = members if len(members) > 1 else list(kept)[:SAME]
    if experiment.get("beside", {}).get("models"):
        models = experiment["beside"]["models"]
        experiment["beside"]["models"] = {name: models[name] for name in models if name in {**kept, **experiment["ensembles"]}}


def _widen(small: dict[str, Any]) -> None:
    for cascade in small["cascades"].values():
        cascade["models"] = ["CTP", next(iter(small["experiments"][cascade["flat"]]["members"]))]
    experiment = small["experiments"]["cross-padchest"]
    (first,) = experiment["members"]
    experiment["members"]["second"] = {**experiment["members"][first], "seed": 1}
    experiment["ensembles"] = {"CTP": {"rule": "ctp", "members": [first, "second"]}}
    for cross in small["cross"].values():
        cross["experiments"]["cross-padchest"] = "CTP"
