"""Which weights should a training start from? Test AUC of members that differ in that alone, with paired differences, by folder."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from bench.maps import read_plan
from thorax.config import Experiment
from thorax.evaluation.bootstrap import NO_THRESHOLD, Measured, intervals
from thorax.evaluation.differences import compare
from thorax.evaluation.metrics import GLOBAL, measure, read_models
from thorax.report.cells import excludes_zero, interval, markdown, printed
from thorax.report.tables.repeats import member_of
from thorax.storage import store
from thorax.storage.schemas import class_columns

REPLICATES = 1000
AUC = (NO_THRESHOLD, "auc")
ALL = "all"

Trainings = dict[str, list[pd.DataFrame]]  # by member: the probabilities of each of its trainings


def mean_of(trainings: Sequence[Measured]) -> Measured:
    """The mean of every value, and of every bootstrap sample's, over trainings of one network; all measured on the same images.

    Its intervals say how much the mean over these trainings changes if other patients are tested.
    """
    first = trainings[0]
    if any(one.design != first.design for one in trainings):
        raise ValueError("the trainings are not measured on the same labels and bootstrap samples")
    point = {key: np.mean([one.point[key] for one in trainings], axis=0) for key in first.point}
    samples = {key: np.mean([one.samples[key] for one in trainings], axis=0) for key in first.samples}
    return replace(first, point=point, samples=samples)


def report(truth: pd.DataFrame, folders: pd.Series, experiments: Mapping[str, Trainings]) -> str:
    """Two Markdown tables: the AUC of every member, and the differences between members.

    `truth` is what `read_models` returns, and `folders` the folder of each of its images. All experiments have the same members. The
    experiment of each member is the one in which its trainings have the highest mean AUC on the validation images.
    """
    validation = {name: _aucs(truth, trainings, truth["split"] == "val", 0) for name, trainings in experiments.items()}
    members = list(next(iter(experiments.values())))
    mean = {
        member: {name: float(np.mean([_overall(one) for one in of_all[member]])) for name, of_all in validation.items()}
        for member in members
    }
    best = {member: max(of_member, key=of_member.__getitem__) for member, of_member in mean.items()}
    chosen = {member: experiments[best[member]][member] for member in members}
    rows = [[member, *_marked(mean[member], best[member])] for member in members]
    pairs = [(later, earlier) for earlier, later in combinations(members, 2)]
    gaps = [[f"{one} − {other}"] for one, other in pairs]
    heads = []
    for name, images in _parts(truth, folders):
        measured = _aucs(truth, chosen, images, REPLICATES)
        means = {member: mean_of(trainings) for member, trainings in measured.items()}
        for row, member in zip(rows, members, strict=True):
            row.append(_auc_cell(means[member], [_overall(one) for one in measured[member]]))
        table = compare(means, pairs, "test")
        overall = table[(table["class"] == GLOBAL) & (table["metric"] == AUC[1])]
        for row, gap in zip(gaps, overall.itertuples(), strict=True):
            bold = "**" if excludes_zero(gap.low, gap.high) else ""
            row.append(f"{bold}{printed(gap.difference, sign=True)}{bold} ({interval(gap.low, gap.high)})")
        of_classes = means[members[0]].point[AUC][: -means[members[0]].summaries]
        heads.append(f"{name}: {images.sum():,} images, {np.isfinite(of_classes).sum()} classes")
    tables = pd.DataFrame(rows, columns=["start", *(f"validation, {name}" for name in experiments), *heads])
    return f"{markdown(tables)}\n\n{markdown(pd.DataFrame(gaps, columns=['difference', *heads]))}"


def _parts(truth: pd.DataFrame, folders: pd.Series) -> Iterator[tuple[str, pd.Series]]:
    """The test images of each folder, and all of them."""
    test = truth["split"] == "test"
    for name in sorted(folders[test].unique()) if folders[test].nunique() > 1 else ():
        yield name, test & (folders == name)
    yield ALL, test


def _aucs(truth: pd.DataFrame, members: Trainings, images: pd.Series, replicates: int) -> dict[str, list[Measured]]:
    """Every training measured on some images."""
    labels, patients = truth.loc[images, class_columns(truth)], truth.loc[images, "patient_id"].to_numpy(object)
    how = {"split": "chosen", "replicates": replicates}
    return {
        member: [measure(labels, scores[images], patients, model=member, **how) for scores in trainings]
        for member, trainings in members.items()
    }


def _overall(measured: Measured) -> float:
    """The mean AUC over the classes."""
    return float(measured.point[AUC][measured.named(AUC).index(GLOBAL)])


def _marked(values: Mapping[str, float], best: str) -> list[str]:
    return [f"**{printed(value)}**" if name == best else printed(value) for name, value in values.items()]


def _auc_cell(mean: Measured, values: Sequence[float]) -> str:
    """The mean with its interval by patient, and the standard deviation over the trainings."""
    low, high = intervals(mean.samples[AUC])[:, mean.named(AUC).index(GLOBAL)]
    deviation = f", SD {printed(np.std(values, ddof=1))}" if len(values) > 1 else ""
    return f"{printed(_overall(mean))} ({interval(low, high)}){deviation}"


def main(arguments: list[str]) -> None:
    description = (
        f"{__doc__} Type it in the folder with the results of the run. Of the experiments, which have the same members and differ in "
        "a setting such as the learning rate, each member's is the one with the highest AUC on the validation images."
    )
    parser = argparse.ArgumentParser(prog="python -m bench start", description=description)
    parser.add_argument("--configfile", type=Path, nargs="*", default=[], help="files of the run, read after config.yaml")
    parser.add_argument("--experiments", nargs="+", required=True, help="experiments of one split, whose members are trained")
    given = parser.parse_args(arguments)
    plan = read_plan(given.configfile).config
    if unknown := [name for name in given.experiments if name not in plan.experiments]:
        parser.error(f"{unknown[0]} is not an experiment of the configuration: name one that is")
    blocks = [plan.experiments[name] for name in given.experiments]
    if len({(block.label_set, block.split, *block.members) for block in blocks}) > 1:
        parser.error("the experiments have other labels, splits or members: name some that have the same")
    truth, experiments = _read(dict(zip(given.experiments, blocks, strict=True)))
    dataset = plan.label_sets[blocks[0].label_set].dataset
    catalog = store.read_table(Path(f"results/catalog/{dataset}.parquet"), ["image_id", "path"]).set_index("image_id")
    print(report(truth, truth["image_id"].map(catalog["path"]).str.partition("/")[0], experiments))


def _read(blocks: Mapping[str, Experiment]) -> tuple[pd.DataFrame, dict[str, Trainings]]:
    """Labels and parts of the validation and test images, and the probabilities of all trainings of each experiment."""
    experiments: dict[str, Trainings] = {}
    for name, block in blocks.items():
        files = {training: Path(f"results/predictions/{name}/{training}.parquet") for training in block.trainings}
        labels, split = Path(f"results/labels/{block.label_set}.parquet"), Path(f"results/splits/{block.split}.parquet")
        truth, scores = read_models(labels, split, files, {})
        experiments[name] = {member: [] for member in block.members}
        for training, table in scores.items():
            experiments[name][member_of(training, list(block.members))].append(table)
    return truth, experiments
