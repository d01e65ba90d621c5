"""Tables of calibration: whether probabilities mean what they say, before and after scaling fitted on validation images."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from thorax.evaluation import calibration
from thorax.evaluation.calibration import BINS, KINDS
from thorax.evaluation.metrics import GLOBAL, counted, read_models, row_name
from thorax.report.cells import Estimate, cell, record
from thorax.report.tables.results import INTERVALS, PROVENANCE, best_model, by_name, row_headings
from thorax.report.typeset import Cell, Group, Table, write
from thorax.storage import store
from thorax.storage.progress import progress
from thorax.storage.schemas import class_columns

SCALED = {"none": "before", "temperature": "temperature", "platt": "Platt"}  # headings of columns
HEADINGS = {"ece": "ECE", "brier": "Brier score", "intercept": "Intercept", "slope": "Slope"}
NOTHING = "No model gives probabilities, so there is nothing to calibrate."
_SEPARATED = "the probabilities separate positives from negatives among the test images, or hardly vary"
_SCALES = "before scaling, and after temperature (one parameter) and Platt scaling (two), which are fitted for each class on the validation images"
_NOTES = (
    f"ECE, the expected calibration error, has {BINS} bins of equal mass, that is, of equal numbers of images; equal probabilities share "
    "a bin. It is never below 0, so its interval lies high where a model is well calibrated.",
    "Brier score: mean squared difference of probability and label. It also depends on the prevalence, so compare it within a row only.",
    "Intercept and slope are 0 and 1 where probabilities are calibrated. An intercept above 0 says that they are too low on the whole; a "
    "slope below 1 says that they are too extreme.",
    INTERVALS,
)


@dataclass(frozen=True)
class Calibrated:
    """The calibration of one model on the test images, and the scaling fitted to it."""

    measured: pd.DataFrame  # the columns of `calibration.measure`, and scaling: a key of `SCALED`
    fitted: pd.DataFrame  # the rows of `schemas.SCALINGS`

    @cached_property
    def numbers(self) -> dict[tuple[str, ...], Estimate]:
        """Value, low and high by class (or "Global"), metric and scaling."""
        return by_name(self.measured, ("class", "metric", "scaling"), "value")

    def cells(self, name: str, lacks: str) -> tuple[list[Cell], dict[str, object]]:
        """The cells of a class (or of the mean over classes), and the same unrounded; an undefined number has its reason."""
        cells, values = [], dict[str, object]()
        why = "no class has one" if name == GLOBAL else f"the test images have {lacks}" if lacks else _SEPARATED
        for metric in HEADINGS:
            for scaling in SCALED:
                number = self.numbers[name, metric, scaling]
                cells.append(replace(cell(number), hover="" if np.isfinite(number[0]) else why))
                values |= record(f"{metric} {scaling}", number)
        return cells, values | {"why_blank": why if any(shown.hover for shown in cells) else ""}


def calibrate(truth: pd.DataFrame, scores: pd.DataFrame, fitted: pd.DataFrame, replicates: int, seed: int) -> Calibrated:
    """Measure one model on the test images of `read_models`, before and after the scaling in `fitted`."""
    test, classes = (truth["split"] == "test").to_numpy(), class_columns(truth)
    patients = truth["patient_id"][test].to_numpy(object)
    tables = [
        calibration.measure(truth.loc[test, classes], version[test], patients, replicates, seed).assign(scaling=scaling)
        for scaling, version in calibration.versions(scores, fitted).items()
    ]
    return Calibrated(pd.concat(tables, ignore_index=True), fitted)


def models_table(
    found: Mapping[str, Calibrated], votes: Collection[str], counts: pd.DataFrame, title: str, provenance: str
) -> tuple[Table, pd.DataFrame]:
    """Arrange the means over the classes of all models; `counts` are what `metrics.counted` returns, `votes` models without probabilities."""
    images, patients, positives, lacks = counts.loc[GLOBAL]
    rows, records = [], []
    for name, model in found.items():
        cells, values = model.cells(GLOBAL, lacks)
        of_kind = {kind: model.fitted[model.fitted["kind"] == kind]["slope"].notna() for kind in KINDS}
        scaled = {f"classes scaled {kind}": int(known.sum()) for kind, known in of_kind.items()}
        shown = (Cell(f"{scaled[f'classes scaled {kind}']} of {len(known)}") for kind, known in of_kind.items())
        rows.append((name, (*cells, *shown)))
        sizes = {"images": images, "patients": patients, "positives": positives, "classes": len(counts) - 1}
        records.append({"model": name, **sizes, **values, **scaled, "provenance": provenance})
    said = f"{images:,} test images of {patients:,} patients, with {positives:,} positive labels of {len(counts) - 1} classes"
    caption = f"Calibration of every model that gives probabilities on {said}: means over the classes, {_SCALES}."
    notes = (
        *([] if found else [NOTHING]),
        *([f"Votes of 0 and 1 are not probabilities, so these models are left out: {', '.join(votes)}."] if votes else []),
        *_NOTES,
        "Classes scaled: those that a scaling could be fitted to; the probabilities of the others stay as they are.",
        *(
            f"{lacks.capitalize()} among the test images, so no intercept and slope: {', '.join(rows.index)}."
            for lacks, rows in counts.drop(GLOBAL).groupby("lacks")
            if lacks
        ),
    )
    heading = f"{title}: calibration".removeprefix(": ")
    groups = (*_groups(), Group("Classes scaled", tuple(SCALED[kind] for kind in KINDS), "scaled"))
    table = Table(heading, caption, PROVENANCE[provenance], groups, "Model", tuple(rows), notes=notes)
    return table, pd.DataFrame(records or {"model": []})


def per_class_table(
    model: str, found: Calibrated, counts: pd.DataFrame, title: str, provenance: str
) -> tuple[Table, pd.DataFrame]:
    """Arrange the calibration of one model by class, the one with the most positives first; see `models_table`."""
    rows, records = [], []
    headings = row_headings(counts.index.drop(GLOBAL))
    scalings = found.fitted.assign(name=found.fitted["class"].map(row_name)).set_index(["name", "kind"])
    for name, images, patients, positives, lacks in by_positives(counts).itertuples(name=None):
        cells, values = found.cells(name, lacks)
        rows.append((headings[name], (*map(Cell, map("{:,}".format, (images, patients, positives))), *cells)))
        fitted: dict[str, object] = {}
        for kind in KINDS if name != GLOBAL else ():
            of_class = scalings.loc[(name, kind)]
            fitted |= {f"{kind} {field}": of_class[field] for field in ("slope", "intercept", "note")}
        sizes = {"images": images, "patients": patients, "positives": positives}
        records.append({"class": name, "model": model, **sizes, **values, **fitted, "provenance": provenance})
    caption = (
        f"Calibration of {model}, of the models that give probabilities the one with the highest mean AUC on the validation images, by class "
        f"on the test images: {_SCALES}. The last row has the means over the classes that have a value."
    )
    frame = pd.DataFrame(records)
    blank = frame[(frame["why_blank"] != "") & (frame["class"] != GLOBAL)].groupby("why_blank")
    lacking = (f"No intercept and slope, as {why}: {', '.join(names['class'])}." for why, names in blank)
    notes = (*_NOTES, *_unscaled(found.fitted), *lacking)
    table = Table(
        f"{title}: calibration per class".removeprefix(": "), caption, PROVENANCE[provenance],
        (Group("Test images", ("images", "patients", "positives"), "samples"), *_groups()), "Class", tuple(rows), total=True, notes=notes,
    )  # fmt: skip
    return table, frame


def by_positives(counts: pd.DataFrame) -> pd.DataFrame:
    """What `metrics.counted` returns, with the classes by their number of positives and all classes together at the end."""
    classes = counts.drop(GLOBAL).sort_values("positives", ascending=False, kind="stable")
    return pd.concat([classes, counts.loc[[GLOBAL]]])


def _groups() -> Iterator[Group]:
    return (Group(heading, tuple(SCALED.values()), metric) for metric, heading in HEADINGS.items())


def _unscaled(fitted: pd.DataFrame) -> list[str]:
    """Name the classes that could not be scaled, or not as the likelihood would have it, and why."""
    said = []
    for (kind, note), rows in fitted[fitted["note"] != ""].groupby(["kind", "note"], sort=False):
        begins = f"{SCALED[kind].capitalize()} scaling" if note == calibration.BOUNDED else f"No {SCALED[kind]} scaling"
        said.append(f"{begins}, {'' if note == calibration.BOUNDED else 'as '}{note}: {', '.join(rows['class'])}.")
    return said


def make_calibration_tables(
    title: str, provenance: str, metrics: Path, scaling: Path, labels: Path, split: Path, out: Path, predictions: Mapping[str, Path],
    ensembles: Mapping[str, Path] | None = None, learned: Collection[str] = (), replicates: int = 1000, seed: int = 0,
) -> None:  # fmt: skip
    """Write calibration (all models) and calibration_per_class (the best one) as .html, .md, .tex and .csv into a folder.

    The best model is that of `best_model` among those that give probabilities. `scaling` is what `make_calibration` wrote.
    """
    ensembles = ensembles or {}
    truth, models = read_models(labels, split, predictions, ensembles)
    test = (truth["split"] == "test").to_numpy()
    counts = counted(truth.loc[test, class_columns(truth)], truth["patient_id"][test].to_numpy(object))
    votes = [name for name, scores in models.items() if calibration.are_votes(scores)]
    found = {
        name: calibrate(truth, models[name], calibration.read_scaling(scaling, name), replicates, seed)
        for name in progress([name for name in models if name not in votes], "calibration", unit="model")
    }
    write(*models_table(found, votes, counts, title, provenance), out, "calibration")
    if not found:
        nothing = Table(f"{title}: calibration per class", NOTHING, PROVENANCE[provenance], tuple(_groups()), "Class", ())
        write(nothing, pd.DataFrame(columns=["class", "model"]), out, "calibration_per_class")
        return
    networks, combined = ([name for name in names if name in found] for names in (predictions, ensembles))
    best = best_model(store.read_table(metrics), networks, combined, learned)
    write(*per_class_table(best, found[best], counts, title, provenance), out, "calibration_per_class")
