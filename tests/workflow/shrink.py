"""The shipped configuration, shrunk: the same experiments on synthetic archives in the form of their own, with the tiny network.

Nothing else of an experiment changes: heads, losses, sampling, rules of ensembles and decisions, tables and figures stay. One case
is drawn unless the experiment chooses classes. Of the members that differ only in architecture, the first two are kept if an ensemble
joins them, otherwise the first. Of the ensembles that differ only in their members, the first is kept. The shipped cascade has no
single network and the shipped cross-dataset evaluation has no ensemble, so both are added.
"""

import json
from typing import Any

SIDE = 32
PATIENTS = {"padchest": 120, "nih": 90, "chexpert": 60}
SHARDS = {"padchest": 1, "nih": 1, "chexpert": 2}
TRAINING = {"weights": "none", "freeze": 0.0, "batch_norm_momentum": 0.9, "learning_rate": 1e-3, "batch_size": 16, "epochs": 2}
JOINED = 2  # members of equal settings that an ensemble joins
# Of each archive one, one of two views, and one with unknown labels
REVIEWED = ("liz2022-specific", "saturi2025", "kejriwal-nih", "padchest-two-views", "liz2022-inside")


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
    for name, experiment in small["experiments"].items():
        _shrink_experiment(experiment)
        experiment["review"] = name in REVIEWED
    _widen(small)
    return small


def on_sample(config: dict[str, Any], sample: dict[str, Any], experiments: list[str]) -> dict[str, Any]:
    """Return the configuration of `make sample`, shrunk, together with experiments on NIH's archive on the same radiographs.

    The sample has no official lists, so patients are divided by shares, and classes of few patients are left out.
    """
    small = shrink(config)
    for block in (*small["label_sets"].values(), *small["image_sets"].values()):
        if block["dataset"] == "nih":
            block["dataset"] = "nih-real"
    for name in experiments:
        experiment = small["experiments"][name]
        experiment["provenance"] = "sample"
        small["label_sets"][experiment["label_set"]] |= {"min_images": 1, "min_patients": 15}
        small["splits"][experiment["split"]] |= {"official": False, "train": 0.6, "val": 0.15, "test": 0.25}
    for name, blocks in sample.items():
        small[name] = experiments if name == "run" else {**small[name], **json.loads(json.dumps(blocks))}
    small["label_sets"]["nih-real"] |= {"min_images": 15, "min_patients": 15}
    small["image_sets"]["128-lungs"]["size"] = 80
    small["segmenters"]["real-lungs"] |= {"size": 64, "epochs": 20}
    experiment = small["experiments"]["nih-real"]
    experiment["training"]["epochs"] = 1
    experiment["heatmap_checks"] = 8
    experiment["members"] = {name: experiment["members"][name] for name in ("Xception-ImageNet", "EfficientNetB0")}
    experiment["ensembles"] = {"CTP": {"rule": "ctp", "members": list(experiment["members"])}}
    return small | {"run": ["nih-real", *experiments]}


def _shrink_experiment(experiment: dict[str, Any]) -> None:
    training = experiment.setdefault("training", {})
    experiment |= {"provenance": "phantom", "cases": 3 if "case_classes" in experiment else 1}
    experiment |= {"heatmap_checks": 0, "browser_cases": 0, "groups": []}  # the demo, the tiny run and the sample have them
    if "cooccurrence" in experiment:
        experiment["cooccurrence"] = ["Effusion", "Infiltration"]  # what phantoms and the sample have enough of
    training |= {key: value for key, value in TRAINING.items() if key != "epochs"}
    training["epochs"] = TRAINING["epochs"] if not training.get("frozen_epochs") else 3
    if "frozen_epochs" in training:
        training["frozen_epochs"] = 1
    if "accumulate" in training:
        training["accumulate"] = 2
    joined = {name for ensemble in experiment.get("ensembles", {}).values() for name in ensemble["members"][:JOINED]}
    kept: dict[str, dict[str, Any]] = {}
    for name, member in experiment["members"].items():
        member = {**member, "backbone": "cnn"}
        if list(kept.values()).count(member) < (JOINED if name in joined else 1):
            kept[name] = member
    experiment["members"] = {name: {**member, "seed": number} for number, (name, member) in enumerate(kept.items())}
    ensembles: dict[str, dict[str, Any]] = {}
    for name, ensemble in experiment.get("ensembles", {}).items():
        members = [member for member in kept if member in ensemble["members"]]
        members = members if len(members) >= JOINED else list(kept)[:JOINED]
        if {**ensemble, "members": members} not in ensembles.values():
            ensembles[name] = {**ensemble, "members": members}
    if ensembles:
        experiment["ensembles"] = ensembles
    if experiment.get("beside", {}).get("models"):
        models = experiment["beside"]["models"]
        experiment["beside"]["models"] = {name: models[name] for name in models if name in {**kept, **ensembles}}


def _widen(small: dict[str, Any]) -> None:
    for cascade in small["cascades"].values():
        cascade["models"] = ["CTP", next(iter(small["experiments"][cascade["flat"]]["members"]))]
    experiment = small["experiments"]["cross-padchest"]
    (first,) = experiment["members"]
    experiment["members"]["second"] = {**experiment["members"][first], "seed": 1}
    experiment["ensembles"] = {"CTP": {"rule": "ctp", "members": [first, "second"]}}
    for cross in small["cross"].values():
        cross["experiments"]["cross-padchest"] = "CTP"
