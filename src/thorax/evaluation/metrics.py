"""Metrics per class and overall by any threshold rule, with 95% intervals from a bootstrap over patients.

AUC, `f1` and Hamming loss are those of Liz et al. 2022 (section 5 and Tables 4 to 11), binary accuracy that of Kejriwal et al.
(section on metrics), `f1_positive` and the AUC of the thresholded predictions those of Dunn Beltran and Alsaghier 2022 (section
4.2 and Figure 2). A score strictly above the threshold counts as positive.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thorax.config import fixed_threshold
from thorax.errors import ThoraxError, refuse_unknown
from thorax.evaluation import confusion, decisions
from thorax.storage import joins, store
from thorax.storage.joins import Source
from thorax.storage.progress import progress
from thorax.storage.schemas import METRICS, THRESHOLDS, class_columns

GLOBAL = "Global"  # the rows over all classes; a class of this name is called differently, see `row_name`
EVALUATED_SPLITS = ("val", "test")
NO_THRESHOLD = "none"
FIXED = "fixed-0.5"  # the rule where none is named
# The columns of `dvc metrics show`
SUMMARIZED = ("auc", "f1", "f1_positive", "hamming", "precision", "sensitivity", "specificity")
_REPLICATES_AT_ONCE = 250  # bounds the memory to about 250 x images x 4 bytes
_INTERVAL = (2.5, 97.5)  # percentiles
_CLIP = 1e-7  # as Keras does: a certain mistake costs 16.1, not infinitely much
_LOSS_UNIT = 2.0**-20  # losses are whole multiples of it
_OF_DECISIONS = {  # metrics of one class by any threshold rule; over all classes the mean of those that have one
    "f1": confusion.macro_f1,
    "f1_positive": confusion.positive_f1,
    "precision": confusion.precision,
    "sensitivity": confusion.sensitivity,
    "specificity": confusion.specificity,
    "auc_thresholded": confusion.decision_auc,
}


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return probabilities in float64, without overflow for large negative logits."""
    logits = np.asarray(logits, np.float64)
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1, small) / (1 + small)


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve of one class; ties count half; nan where a positive or a negative is lacking.

    `labels` are (n,) of 1, 0 and -1 (ignored), `scores` (n,) larger where more likely positive.
    """
    return float(_auc(labels, scores, np.ones((len(labels), 1), np.uint8))[0])


def row_name(name: str) -> str:
    """Return what the tables of metrics call a class: its name, unless that is the name of the rows over all classes."""
    return f"{name} (class)" if name == GLOBAL else name


def evaluate(
    labels: pd.DataFrame, scores: pd.DataFrame, patients: np.typing.ArrayLike, *, model: str, split: str,
    thresholds: Mapping[str, np.typing.ArrayLike] | None = None, exclusive: str | None = None, replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Score one model on the images of one part.

    Without a threshold: `auc` and `loss`, the binary cross-entropy of the probabilities in nats (not weighted; null for
    votes). By each threshold rule those of `confusion`: `f1`, the mean of both sides; `f1_positive`, `precision`, `sensitivity`,
    `specificity`; `hamming`, for all classes only; `accuracy`; and `auc_thresholded`, the AUC of the yes/no decisions. For class
    "Global", hamming, accuracy and loss are computed over the whole matrix. The other metrics are means over the classes for
    which they are defined. A value that needs positives or negatives which a class lacks is null.

    The 95% intervals are percentiles of a bootstrap over patients, whose samples all models, classes and rules share. A sample
    without positives or negatives of a class does not count for that class.

    Labels are (n, k) of 1, 0 and -1 (ignored), one column per class; scores are (n, k) probabilities or votes with the same
    columns and rows, patients (n,) identifiers. Each rule has one threshold, or one per class; without rules it is `FIXED`.
    With an `exclusive` class, which excludes the rest (`decisions.decide`), every rule is evaluated without and with it.
    Without replicates there are no intervals. Returns rows with the columns of `schemas.METRICS`; n_positive of "Global" is the
    number of positive entries of the matrix.
    """
    if list(labels.columns) != list(scores.columns) or len(labels) != len(scores):
        raise ThoraxError(f"The scores of {model!r} have other classes or images than the labels: predict again.")
    _refuse_undefined(scores, model)
    if labels.empty:
        raise ThoraxError(f"There is no {split} image to measure {model!r} on: give this part of the split a share.")
    truth, values = labels.to_numpy(), scores.to_numpy(np.float64)
    excluding: dict[str, int | None] = {"": None}  # the column of the exclusive class, by what a rule's name ends with
    if exclusive is not None:
        refuse_unknown("exclusive", exclusive, labels.columns, "a class of the label set")
        excluding[decisions.EXCLUSIVE] = list(labels.columns).index(exclusive)
    decided = {
        rule + suffix: decisions.decide(values, limits, column)
        for suffix, column in excluding.items()
        for rule, limits in (thresholds or {FIXED: 0.5}).items()
    }
    patient_ids, patient_of_row = np.unique(np.asarray(patients), return_inverse=True)
    sums = _patient_sums(truth, values, decided, patient_of_row, len(patient_ids))
    statistics = partial(_statistics, truth, values, patient_of_row, sums)
    point = statistics(np.ones((1, len(patient_ids)), np.uint8))
    blocks = [statistics(weights) for weights in _resample(len(patient_ids), replicates, seed)]
    positives = (truth == 1).sum(axis=0)
    every_name, every_count = [*map(row_name, labels.columns), GLOBAL], [*positives, positives.sum()]
    rows = []
    for (threshold_rule, metric), values_of_key in point.items():
        sampled = np.concatenate([values_of_key[:0], *(block[threshold_rule, metric] for block in blocks)])
        columns = values_of_key.shape[1]  # a metric of the whole matrix has one
        for column, (name, count) in enumerate(zip(every_name[-columns:], every_count[-columns:], strict=True)):
            defined = sampled[np.isfinite(sampled[:, column]), column]
            interval = np.percentile(defined, _INTERVAL) if len(defined) else (np.nan, np.nan)
            rows.append((model, name, metric, split, threshold_rule, values_of_key[0, column], *interval, count))
    return pd.DataFrame(rows, columns=METRICS.names)


def overall_by_threshold(
    labels: np.ndarray, probabilities: np.ndarray, thresholds: Sequence[float]
) -> list[tuple[float, float, float, float]]:
    """Return threshold, AUC and both F1 over all classes: means over the classes that have one, as "Global" of `evaluate`.

    Labels are (n, k) of 1, 0 and -1 (ignored), probabilities (n, k). The first row has no threshold and F1 (nan), but the AUC
    of the probabilities; then comes for each threshold the AUC of the decisions, their `f1` and `f1_positive`.
    """
    rules = {f"fixed-{threshold:g}": threshold for threshold in thresholds}
    truth, scores = (pd.DataFrame(values).add_prefix("class ") for values in (labels, probabilities))
    each = np.arange(len(labels))  # no patients, as there are no replicates
    rows = evaluate(truth, scores, each, model="the network", split="test", thresholds=rules, replicates=0)
    overall = rows[rows["class"] == GLOBAL].set_index(["threshold_rule", "metric"])["value"]
    found = [(np.nan, float(overall[NO_THRESHOLD, "auc"]), np.nan, np.nan)]
    for rule, limit in rules.items():
        found.append((limit, *overall.loc[rule, ["auc_thresholded", "f1", "f1_positive"]].tolist()))
    return found


def _refuse_undefined(scores: pd.DataFrame, model: str) -> None:
    if not np.isfinite(scores.to_numpy()).all():
        name = scores.columns[~np.isfinite(scores.to_numpy()).all(axis=0)][0]
        raise ThoraxError(f"The scores of {model!r} for {name!r} are not all numbers: its training diverged; train it again.")


def _patient_sums(
    truth: np.ndarray, values: np.ndarray, decided: dict[str, np.ndarray], patient_of_row: np.ndarray, patients: int
) -> dict[str, np.ndarray]:
    """Sum over each patient's images the numbers that metrics are made from: (patients, k) whole numbers in float64."""
    yes, no = truth == 1, truth == 0
    entries = {"positive": yes, "negative": no}  # and the loss, and the true and false positives of each rule
    if not ((values == 0) | (values == 1)).all():
        clipped = np.clip(values, _CLIP, 1 - _CLIP)
        entries["loss"] = (-np.log(np.where(yes, clipped, 1 - clipped)) / _LOSS_UNIT).round() * (yes | no)
    for rule, positive in decided.items():
        entries |= {f"yes {rule}": yes & positive, f"alarm {rule}": no & positive}
    order = np.argsort(patient_of_row, kind="stable")
    first = np.searchsorted(patient_of_row[order], np.arange(patients))
    return {key: np.add.reduceat(entry[order].astype(np.float64), first, axis=0) for key, entry in entries.items()}


def _statistics(
    truth: np.ndarray, values: np.ndarray, patient_of_row: np.ndarray, sums: dict[str, np.ndarray], weights: np.ndarray
) -> dict[tuple[str, str], np.ndarray]:
    """Return each metric by rule and name: (samples, k + 1), the last for all classes, from (samples, patients) weights."""
    # Sums of whole numbers: exact in float64, so no order of summation and no number of threads changes them.
    drawn = weights.astype(np.float64)
    totals = {key: drawn @ of_patients for key, of_patients in sums.items()}
    weight_of_row = np.ascontiguousarray(weights.T)[patient_of_row]
    areas = [_auc(truth[:, column], values[:, column], weight_of_row) for column in range(truth.shape[1])]
    positive, negative = totals["positive"], totals["negative"]
    loss = totals.get("loss", np.full_like(positive, np.nan)) * _LOSS_UNIT
    loss, known = (np.column_stack([part, part.sum(axis=1)]) for part in (loss, positive + negative))
    found = {(NO_THRESHOLD, "auc"): _with_mean(np.stack(areas, axis=1)), (NO_THRESHOLD, "loss"): confusion.share(loss, known)}
    for rule in [key.removeprefix("yes ") for key in sums if key.startswith("yes ")]:
        right, alarm = totals[f"yes {rule}"], totals[f"alarm {rule}"]
        counts = np.stack([right, alarm, positive - right, negative - alarm], axis=-1)
        found |= {(rule, metric): _with_mean(measure(counts)) for metric, measure in _OF_DECISIONS.items()}
        found[rule, "hamming"] = confusion.hamming(counts)[:, None]
        pooled = confusion.accuracy(counts.sum(axis=1))
        found[rule, "accuracy"] = np.column_stack([confusion.accuracy(counts), pooled])
    return found


def _resample(patients: int, replicates: int, seed: int) -> Iterator[np.ndarray]:
    """Yield blocks of (samples, patients) uint8: how often each patient is drawn into each bootstrap sample."""
    random = np.random.default_rng(seed)
    for start in range(0, replicates, _REPLICATES_AT_ONCE):
        size = min(_REPLICATES_AT_ONCE, replicates - start)
        drawn = random.integers(patients, size=(size, patients)) + patients * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * patients).reshape(size, patients).astype(np.uint8)


def _auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the AUC of one class in each sample, nan where undefined; `weights` (n, samples): how often it has each image."""
    positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    negative = negative[np.argsort(scores[negative], kind="stable")]
    ranked = scores[negative]
    below = np.searchsorted(ranked, scores[positive], side="left")
    not_above = np.searchsorted(ranked, scores[positive], side="right")
    cumulative = np.zeros((len(negative) + 1, weights.shape[1]), np.int32)
    np.cumsum(weights[negative], axis=0, dtype=np.int32, out=cumulative[1:])
    half_pairs = np.zeros(weights.shape[1], np.int64)
    for index in (below, not_above):  # half of the pairs with a smaller and half of those with an equal or smaller score
        half_pairs += np.einsum("ij,ij->j", weights[positive], cumulative[index], dtype=np.int64)
    pairs = 2 * weights[positive].sum(axis=0, dtype=np.int64) * cumulative[-1]
    return confusion.share(half_pairs, pairs)


def _with_mean(values: np.ndarray) -> np.ndarray:
    """Append to (samples, k) values the mean over the classes that have one."""
    defined = np.isfinite(values)
    return np.column_stack([values, confusion.share(np.where(defined, values, 0).sum(axis=1), defined.sum(axis=1))])


def read_scores(labels: Source, split: Source, scores: Source, logits: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the labels of the validation and test images, and in the same rows one model's probabilities or votes."""
    truth = joins.read_labels(labels, split, EVALUATED_SPLITS)
    classes = class_columns(truth)
    table = read_probabilities(scores, truth, labels, logits, classes)
    _refuse_undefined(table, str(scores))
    if ((table < 0) | (table > 1)).to_numpy().any():
        raise ThoraxError(f"{scores} has scores outside 0 to 1: give --logits for a network's predictions.")
    return truth, table


def make_metrics(
    labels: Path, split: Path, predictions: dict[str, Path], ensembles: dict[str, Path], out: Path, summary: Path,
    thresholds: Path, seed: int, replicates: int, rules: Sequence[str] = (FIXED,), exclusive: str | None = None,
) -> None:  # fmt: skip
    """Score all models of an experiment on val and test and write the rows of `schemas.METRICS`.

    The thresholds of tuned rules are chosen on the validation images, and written too. In the folder `summary`, MODEL.json has the
    metrics `SUMMARIZED` over all classes of the test images by the first rule, null where undefined. Each table must have exactly
    the label set's images of val and test, and its classes.
    """
    truth = joins.read_labels(labels, split, EVALUATED_SPLITS)
    classes = class_columns(truth)
    results, chosen_limits = [], []
    tuned = [rule for rule in rules if fixed_threshold(rule) is None]
    validation = (truth["split"] == "val").to_numpy()
    models = [*predictions.items(), *ensembles.items()]
    if not models:
        raise ThoraxError(f"There is nothing to compare with {labels}: give --predictions or --ensembles.")
    for name, path in progress(models, "metrics", unit="model"):
        scores = read_probabilities(path, truth, labels, name in predictions, classes)
        _refuse_undefined(scores, name)
        chosen_limits.append(decisions.thresholds(truth.loc[validation, classes], scores[validation], tuned).assign(model=name))
        by_rule = {rule: of_rule["value"].to_numpy() for rule, of_rule in chosen_limits[-1].groupby("rule")}
        limits = {rule: np.asarray(by_rule.get(rule, fixed_threshold(rule))) for rule in rules}
        how: dict[str, Any] = {"thresholds": limits, "exclusive": exclusive, "replicates": replicates, "seed": seed}
        for part in EVALUATED_SPLITS:
            chosen = (truth["split"] == part).to_numpy()
            patients = truth["patient_id"][chosen].to_numpy(object)
            results.append(evaluate(truth.loc[chosen, classes], scores[chosen], patients, model=name, split=part, **how))
    table = pd.concat(results, ignore_index=True)
    store.write_table(table, out, METRICS)
    store.write_table(pd.concat(chosen_limits, ignore_index=True), thresholds, THRESHOLDS)
    shown = table["threshold_rule"].isin((NO_THRESHOLD, rules[0]))
    overall = table[(table["class"] == GLOBAL) & (table["split"] == "test") & shown]
    values = overall.pivot(index="model", columns="metric", values="value")[list(SUMMARIZED)].astype(object)
    for name, of_model in values.where(values.notna(), None).iterrows():
        store.write_text(json.dumps(of_model.to_dict(), indent=2), summary / f"{name}.json")


def read_probabilities(
    path: Source,
    images: pd.DataFrame,
    wanted_by: Source,
    logits: bool,
    classes: Sequence[str] | None = None,
    further: bool = False,
) -> pd.DataFrame:
    """Read a model's probabilities or votes for given images, from a table of these or of logits; as `joins.read_scores`."""
    scores = joins.read_scores(path, images, wanted_by, classes, further)
    return scores.apply(sigmoid) if logits else scores
