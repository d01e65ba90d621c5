"""The operating points of an experiment's best model: sensitivity, specificity, predictive values at thresholds chosen on validation."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from thorax.config import fixed_threshold
from thorax.evaluation import decisions
from thorax.evaluation.bootstrap import NO_THRESHOLD
from thorax.evaluation.decisions import OPERATING_POINTS
from thorax.evaluation.metrics import GLOBAL, counted, measure_part, read_models, read_per_hit, row_name, tabulate
from thorax.report.cells import cell, interval, printed, record
from thorax.report.tables.calibration import by_positives
from thorax.report.tables.results import INTERVALS, PROVENANCE, best_model, by_name, row_headings
from thorax.report.typeset import Cell, Group, Table, write
from thorax.storage import store
from thorax.storage.schemas import class_columns

RANKED = {"average_precision": "average precision", "auc": "AUC"}
DECIDED = {
    "sensitivity": "sensitivity", "specificity": "specificity", "precision": "PPV", "npv": "NPV", "auc_thresholded": "balanced accuracy",
    "f1": "F1, both sides", "f1_positive": "F1, positive side",
}  # fmt: skip
READ = "images read per true positive"
NOT_TUNED = f"validation lacks positives or negatives, so the threshold is {decisions.UNTUNED}"
_NEVER = "no positive is found"
_NOTES = (
    "A specificity (or sensitivity) of 0.9 is reached on the validation images; among the thresholds that reach it, the one with the largest "
    "sensitivity (or specificity) is taken. Both sides are then measured on the test images, where the 0.9 is not met exactly.",
    "PPV, NPV, average precision and the images read per true positive (1 / PPV, of the images that the model calls positive) hold for the "
    "prevalence of these images and not for another. PPV and NPV are 0 where no image is called so.",
    "Balanced accuracy: mean of sensitivity and specificity. F1: the mean of the positive and the negative side, and that of the positive "
    "side alone.",
    INTERVALS,
)


def named_point(rule: str) -> str:
    """Return what the tables call a threshold rule: "threshold 0.5" or "specificity 0.9"."""
    fixed = fixed_threshold(rule)
    return rule.replace("-", " ") if fixed is None else f"threshold {fixed:g}"


def operating_table(
    model: str,
    rows: pd.DataFrame,
    chosen: pd.DataFrame,
    counts: pd.DataFrame,
    rules: Sequence[str],
    title: str,
    provenance: str,
) -> tuple[Table, pd.DataFrame]:
    """Arrange one model's results by class and rule, the class with the most positives first.

    `rows` are those of `schemas.METRICS` on the test images by these rules, `chosen` those of `decisions.thresholds`, `counts` what
    `metrics.counted` returns.
    """
    numbers = by_name(rows, ("threshold_rule", "class", "metric"), "value")
    tuned = chosen.assign(name=chosen["class"].map(row_name)).set_index(["rule", "name"])
    headings, body, records = row_headings(counts.index.drop(GLOBAL)), [], []
    for name, images, patients, positives, lacks in by_positives(counts).itertuples(name=None):
        for rule in rules:
            limit, defined = (fixed_threshold(rule) if name != GLOBAL else np.nan), True
            if limit is None:
                limit, defined = tuned.loc[(rule, name), ["value", "defined"]]
            found = {metric: numbers[NO_THRESHOLD, name, metric] for metric in RANKED}
            found |= {metric: numbers[rule, name, metric] for metric in DECIDED}
            per_hit = read_per_hit(*found["precision"]) if name != GLOBAL else (np.nan,) * 3  # not of a mean PPV
            reasons = {"": lacks, READ: "not of a mean over classes" if name == GLOBAL else lacks or _NEVER}
            cells = [replace(cell(number), hover="" if np.isfinite(number[0]) else lacks) for number in found.values()]
            hits = Cell(
                printed(per_hit[0], 1), detail=interval(*per_hit[1:], 1), hover="" if np.isfinite(per_hit[0]) else reasons[READ]
            )
            threshold = Cell(printed(limit) + "*" * (not defined), hover="" if defined else NOT_TUNED)
            sizes = {"images": images, "patients": patients, "positives": positives}
            shown = (
                Cell(named_point(rule)),
                *(Cell(f"{count:,}") for count in sizes.values()),
                *cells[: len(RANKED)],
                threshold,
            )
            body.append((headings[name], (*shown, *cells[len(RANKED) :], hits)))
            values: dict[str, object] = {}
            for key, number in {**found, READ: per_hit}.items():
                values |= record(key, number)
            blank = lacks or ("" if np.isfinite(per_hit[0]) else reasons[READ])
            records.append(
                {"class": name, "threshold_rule": rule, "threshold": limit, "threshold_defined": bool(defined), "model": model, **sizes, **values,
                 "why_blank": blank, "provenance": provenance}
            )  # fmt: skip
    undefined = [name for (_, name), row in tuned.iterrows() if not row["defined"]]
    missing = [f"* For {', '.join(dict.fromkeys(undefined))} {NOT_TUNED}."] if undefined else []
    for lack, lacking in counts[counts["lacks"] != ""].drop(GLOBAL, errors="ignore").groupby("lacks"):
        missing.append(
            f"The test images have {lack} of {', '.join(lacking.index)}: what needs them is blank, and left out of the means."
        )
    caption = (
        f"{model}, the model with the highest mean AUC on the validation images, on the test images: average precision and AUC, which need no "
        f"threshold, and decisions at {', '.join(map(named_point, rules[:-1]))} and {named_point(rules[-1])}. The last rows have means over the "
        "classes."
    )
    groups = (
        Group("At", words=True, section="rule"), Group("Test images", ("images", "patients", "positives"), "samples"),
        Group("Without a threshold", tuple(RANKED.values()), "ranking"), Group("At the threshold", ("threshold", *DECIDED.values(), READ), "decisions"),
    )  # fmt: skip
    heading = f"{title}: operating points".removeprefix(": ")
    return Table(
        heading, caption, PROVENANCE[provenance], groups, "Class", tuple(body), notes=(*_NOTES, *missing)
    ), pd.DataFrame(records)


def make_operating(
    title: str, provenance: str, metrics: Path, labels: Path, split: Path, rule: str, out: Path, predictions: Mapping[str, Path],
    ensembles: Mapping[str, Path] | None = None, learned: Collection[str] = (), replicates: int = 1000, seed: int = 0,
) -> None:  # fmt: skip
    """Write operating.html, .md, .tex and .csv into a folder: the best model at `rule` and at `OPERATING_POINTS`."""
    model, truth, scores = read_best(metrics, labels, split, predictions, ensembles or {}, learned)
    classes, test = class_columns(truth), (truth["split"] == "test").to_numpy()
    rules = list(dict.fromkeys([rule, *OPERATING_POINTS]))
    limits, chosen = decisions.by_rule(truth.loc[~test, classes], scores[~test], rules)
    patients = truth["patient_id"][test].to_numpy(object)
    measured = measure_part(truth, scores, "test", model=model, thresholds=limits, replicates=replicates, seed=seed)
    rows = tabulate(measured, model, "test")
    counts = counted(truth.loc[test, classes], patients)
    write(*operating_table(model, rows, chosen, counts, rules, title, provenance), out, "operating")


def read_best(
    metrics: Path,
    labels: Path,
    split: Path,
    predictions: Mapping[str, Path],
    ensembles: Mapping[str, Path],
    learned: Collection[str],
) -> tuple[str, pd.DataFrame, pd.DataFrame]:
    """Return the name of `best_model`, the labels of validation and test images, and its scores in the same rows."""
    model = best_model(store.read_table(metrics), predictions, ensembles, learned)
    truth, models = read_models(labels, split, predictions, ensembles, model)
    return model, truth, models[model]
