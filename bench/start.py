"""Which weights should a training start from? Test AUC of members that differ in that alone, with paired differences, by folder."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from bench.maps import read_plan
from thorax.evaluation.bootstrap import NO_THRESHOLD, Measured, intervals
from thorax.evaluation.differences import compare
from thorax.evaluation.metrics import GLOBAL, measure, read_models
from thorax.report.cells import excludes_zero, interval, markdown, printed
from thorax.report.tables.repeats import member_of
from thorax.storage import store
from thorax.storage.schemas import class_columns

REPLICATES = 1000
AUC = (NO_THRESHOLD, "auc")

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


def report(truth: pd.DataFrame, folders: pd.Series, members: Trainings) -> str:
    """Two Markdown tables: the mean AUC of every member's trainings, and the differences between members.

    `truth` is what `read_models` returns, and `folders` the folder of each of its images. Both are measured on the test images of
    each folder, and on all of them; the AUC on the validation images, too.
    """
    pairs = [(later, earlier) for earlier, later in combinations(members, 2)]
    values = [[name] for name in members]
    gaps = [[f"{one} − {other}"] for one, other in pairs]
    heads = []
    for name, images in _parts(truth, folders):
        measured = _measured(truth, members, images)
        means = {member: mean_of(trainings) for member, trainings in measured.items()}
        for row, trainings in zip(values, measured.values(), strict=True):
            row.append(_auc_cell(trainings))
        table = compare(means, pairs, "test")
        overall = table[(table["class"] == GLOBAL) & (table["metric"] == AUC[1])]
        for row, gap in zip(gaps, overall.itertuples(), strict=True):
            bold = "**" if excludes_zero(gap.low, gap.high) else ""
            row.append(f"{bold}{printed(gap.difference, sign=True)}{bold} ({interval(gap.low, gap.high)})")
        first = next(iter(means.values()))
        heads.append(f"{name}: {images.sum():,} images, {np.isfinite(first.point[AUC][: -first.summaries]).sum()} classes")
    tables = [pd.DataFrame(rows, columns=[head, *heads]) for head, rows in (("AUC", values), ("difference", gaps))]
    return "\n\n".join(map(markdown, tables))


def _parts(truth: pd.DataFrame, folders: pd.Series) -> Iterator[tuple[str, pd.Series]]:
    """The test images of each folder, all of them, and the validation images."""
    test = truth["split"] == "test"
    for name in sorted(folders[test].unique()) if folders[test].nunique() > 1 else ():
        yield name, test & (folders == name)
    yield "all", test
    yield "validation", truth["split"] == "val"


def _measured(truth: pd.DataFrame, members: Trainings, images: pd.Series) -> dict[str, list[Measured]]:
    """Every training measured on some images, and on the same bootstrap samples of their patients."""
    labels, patients = truth.loc[images, class_columns(truth)], truth.loc[images, "patient_id"].to_numpy(object)
    how = {"split": "chosen", "replicates": REPLICATES}
    return {
        member: [measure(labels, scores[images], patients, model=member, **how) for scores in trainings]
        for member, trainings in members.items()
    }


def _auc_cell(trainings: Sequence[Measured]) -> str:
    """The mean over the classes and trainings with its interval by patient, and the standard deviation over the trainings."""
    mean = mean_of(trainings)
    place = mean.named(AUC).index(GLOBAL)
    values = [one.point[AUC][place] for one in trainings]
    deviation = f", SD {printed(np.std(values, ddof=1))}" if len(values) > 1 else ""
    return f"{printed(mean.point[AUC][place])} ({interval(*intervals(mean.samples[AUC])[:, place])}){deviation}"


def main(arguments: list[str]) -> None:
    description = f"{__doc__} Type it in the folder with the results of the run."
    parser = argparse.ArgumentParser(prog="python -m bench start", description=description)
    parser.add_argument("--configfile", type=Path, nargs="*", default=[], help="files of the run, read after config.yaml")
    parser.add_argument("--experiment", required=True, help="experiment whose members, and their repeats, are trained")
    given = parser.parse_args(arguments)
    plan = read_plan(given.configfile).config
    experiment = plan.experiments.get(given.experiment)
    if experiment is None:
        parser.error(f"{given.experiment} is not an experiment of the configuration: name one that is")
    files = {name: Path(f"results/predictions/{given.experiment}/{name}.parquet") for name in experiment.trainings}
    labels, split = Path(f"results/labels/{experiment.label_set}.parquet"), Path(f"results/splits/{experiment.split}.parquet")
    truth, scores = read_models(labels, split, files, {})
    members: Trainings = {name: [] for name in experiment.members}
    for training, table in scores.items():
        members[member_of(training, list(members))].append(table)
    dataset = plan.label_sets[experiment.label_set].dataset
    catalog = store.read_table(Path(f"results/catalog/{dataset}.parquet"), ["image_id", "path"]).set_index("image_id")
    print(report(truth, truth["image_id"].map(catalog["path"]).str.partition("/")[0], members))
