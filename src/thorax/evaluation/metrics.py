"""Metrics per class and overall by any threshold rule, with 95% intervals from a bootstrap over patients.

AUC, `f1` and Hamming loss are those of Liz et al. 2022 (section 5 and Tables 4 to 11), binary accuracy that of Kejriwal et al.
(section on metrics), `f1_positive` and the AUC of the thresholded predictions those of Dunn Beltran and Alsaghier 2022 (section
4.2 and Figure 2). A score strictly above the threshold counts as positive.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thorax.errors import ThoraxError, refuse_unknown
from thorax.evaluation import bootstrap, decisions
from thorax.evaluation.bootstrap import NO_THRESHOLD, Measured
from thorax.evaluation.differences import compare, references
from thorax.evaluation.ranking import Ranking
from thorax.storage import joins, store
from thorax.storage.joins import Source
from thorax.storage.progress import progress
from thorax.storage.schemas import DIFFERENCES, IGNORED, METRICS, THRESHOLDS, class_columns

GLOBAL = "Global"  # the rows over all classes; a class of this name is called differently, see `row_name`
BASELINE = "baseline"  # the model that is neither a network of the experiment nor an ensemble
EVALUATED_SPLITS = ("val", "test")
FIXED = "fixed-0.5"  # the rule where none is named
# The columns of `dvc metrics show`
SUMMARIZED = ("auc", "f1", "f1_positive", "hamming", "precision", "sensitivity", "specificity")
TIERS = ("Head classes", "Medium classes", "Tail classes")
SUMMARIES = (GLOBAL, *TIERS)  # the rows over several classes
HEAD_ABOVE, TAIL_BELOW = 1000, 100  # training images, see `tiers`


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return probabilities in float64, without overflow for large negative logits."""
    logits = np.asarray(logits, np.float64)
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1, small) / (1 + small)


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve of one class; ties count half; nan where a positive or a negative is lacking.

    `labels` are (n,) of 1, 0 and -1 (ignored), `scores` (n,) larger where more likely positive.
    """
    rows = np.arange(len(labels))
    return float(Ranking(labels, scores, rows, len(rows)).measure(np.ones((len(rows), 1), np.int32))[0][0])


def mean_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean AUC over the classes for which it is defined; (n, k) labels of 1, 0, -1 and (n, k) scores. NaN if there are none."""
    values = np.array([auc(labels[:, k], scores[:, k]) for k in range(labels.shape[1])])
    return float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else float("nan")


def row_name(name: str) -> str:
    """Return what the tables of metrics call a class: its name, unless that is the name of rows over several classes."""
    return f"{name} (class)" if name in SUMMARIES else name


def tiers(training: Mapping[str, int]) -> dict[str, list[str]]:
    """Group classes by their number of positive training images: head, medium and tail.

    Head classes have more than 1,000, medium ones from 100 to 1,000, tail ones fewer than 100. The limits are ours; the grouping is
    that of studies of long-tailed labels (Holste et al. 2022, arXiv 2208.13365). Groups without a class are left out, and there is
    none where all classes are in one.
    """
    of_class = {name: TIERS[(count <= HEAD_ABOVE) + (count < TAIL_BELOW)] for name, count in training.items()}
    groups = {tier: [name for name, found in of_class.items() if found == tier] for tier in TIERS}
    filled = {tier: classes for tier, classes in groups.items() if classes}
    return filled if len(filled) > 1 else {}


def counted(truth: pd.DataFrame, patients: np.ndarray, summaries: Mapping[str, Sequence[str]] | None = None) -> pd.DataFrame:
    """Count the images with a label, their patients and the positives of each class and summary, and say what a class lacks.

    Labels are (n, k) of 1, 0 and -1 (ignored), patients (n,) identifiers. The index has the classes as `row_name` calls them, then
    "Global" and the names of `summaries`. Columns: images, patients, positives, lacks (blank, "no positives" or "no negatives").
    """
    groups = {row_name(name): [name] for name in truth} | {GLOBAL: list(truth), **(summaries or {})}
    rows = {}
    for name, classes in groups.items():
        known = (truth[classes] != IGNORED).any(axis=1).to_numpy()
        positives, negatives = (int((truth[classes] == answer).sum().sum()) for answer in (1, 0))
        lacks = "" if positives and negatives else "no negatives" if positives else "no positives"
        rows[name] = (int(known.sum()), len(set(patients[known])), positives, lacks)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["images", "patients", "positives", "lacks"])


def read_per_hit(value: float, low: float, high: float) -> tuple[float, float, float]:
    """Return how many of the images that a model calls positive are read for each that is, with its 95% interval: 1 / PPV.

    It holds for the prevalence of these images. A bound is infinite where the PPV's is 0; the number is nan where the PPV is 0 or nan.
    """
    if not value > 0:
        return np.nan, np.nan, np.nan
    fewest, most = (1 / share if share > 0 else np.inf if share == 0 else np.nan for share in (high, low))
    return 1 / value, fewest, most


def evaluate(
    labels: pd.DataFrame, scores: pd.DataFrame, patients: np.typing.ArrayLike, *, model: str, split: str, **how: Any
) -> pd.DataFrame:
    """Score one model on the images of one part; the options are those of `measure`.

    Without a threshold: `auc`, `average_precision`, and `loss`, the binary cross-entropy of the probabilities in nats (not
    weighted; null for votes). By each threshold rule those of `confusion`: `f1`, the mean of both sides; `f1_positive`; `precision`,
    which is the positive predictive value; `npv`, the negative one; `sensitivity`; `specificity`; `auc_thresholded`, the AUC of the
    yes/no decisions, which is the balanced accuracy; `accuracy`; and `hamming`, for several classes only. For class "Global",
    hamming, accuracy and loss are computed over the whole matrix. The other metrics are means over the classes for which they are
    defined. A value that needs positives or negatives which a class lacks is null.

    The 95% intervals are percentiles of a bootstrap over patients, whose samples all models, classes and rules share. A sample
    without positives or negatives of a class does not count for that class.

    Labels are (n, k) of 1, 0 and -1 (ignored), one column per class; scores are (n, k) probabilities or votes with the same
    columns and rows, patients (n,) identifiers. Each rule has one threshold, or one per class; without rules it is `FIXED`.
    With an `exclusive` class, which excludes the rest (`decisions.decide`), every rule is evaluated without and with it.
    Without replicates there are no intervals. `summaries` names further groups of classes, such as those of `tiers`, which get rows
    like "Global". Returns rows with the columns of `schemas.METRICS`; n_positive of several classes is the number of
    positive entries of their matrix.
    """
    return tabulate(measure(labels, scores, patients, model=model, split=split, **how), model, split)


def tabulate(measured: Measured, model: str, split: str) -> pd.DataFrame:
    """Return a model's values with their 95% intervals as rows of `schemas.METRICS`."""
    rows = []
    for (rule, metric), values in measured.point.items():
        low, high = bootstrap.intervals(measured.samples[rule, metric])
        names = measured.named((rule, metric))
        counts = measured.n_positive[-len(names) :]
        for column, (name, count) in enumerate(zip(names, counts, strict=True)):
            rows.append((model, name, metric, split, rule, values[column], low[column], high[column], count))
    return pd.DataFrame(rows, columns=METRICS.names)


def measure(
    labels: pd.DataFrame, scores: pd.DataFrame, patients: np.typing.ArrayLike, *, model: str, split: str,
    thresholds: Mapping[str, np.typing.ArrayLike] | None = None, exclusive: str | None = None, replicates: int = 1000,
    seed: int = 0, summaries: Mapping[str, Sequence[str]] | None = None,
) -> Measured:  # fmt: skip
    """Measure one model on the images of one part and on the bootstrap samples, from the arguments of `evaluate`."""
    if list(labels.columns) != list(scores.columns) or len(labels) != len(scores):
        raise ThoraxError(f"The scores of {model!r} have other classes or images than the labels: predict again.")
    _refuse_undefined(scores, model)
    if labels.empty:
        raise ThoraxError(f"There is no {split} image to measure {model!r} on: give this part of the split a share.")
    values = scores.to_numpy(np.float64)
    excluding: dict[str, int | None] = {"": None}  # the column of the exclusive class, by what a rule's name ends with
    if exclusive is not None:
        refuse_unknown("exclusive", exclusive, labels.columns, "a class of the label set")
        excluding[decisions.EXCLUSIVE] = list(labels.columns).index(exclusive)
    decided = {
        rule + suffix: decisions.decide(values, limits, column)
        for suffix, column in excluding.items()
        for rule, limits in (thresholds or {FIXED: 0.5}).items()
    }
    names = list(map(row_name, labels.columns))
    groups = {GLOBAL: names} | {name: list(map(row_name, classes)) for name, classes in (summaries or {}).items()}
    return bootstrap.measure(labels.to_numpy(), values, decided, np.asarray(patients), names, groups, replicates, seed)


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
    differences: Path | None = None,
) -> None:  # fmt: skip
    """Score all models of an experiment on val and test and write the rows of `schemas.METRICS`.

    The thresholds of tuned rules are chosen on the validation images, and written too. In the folder `summary`, MODEL.json has the
    metrics `SUMMARIZED` over all classes of the test images by the first rule, null where undefined. `differences` gets the rows of
    `schemas.DIFFERENCES` on the test images: each network less each later one, each ensemble less each network, and each network and
    ensemble less the baseline. Each table must have exactly the label set's images of val and test, and its classes.
    """
    truth, models = read_models(labels, split, predictions, ensembles)
    how: dict[str, Any] = {"exclusive": exclusive, "replicates": replicates, "seed": seed}
    how["summaries"] = tiers_of(joins.read_labels(labels, split))
    results, tuned, on_test = [], [], {}
    for name, scores, limits, chosen in _with_thresholds(truth, models, rules):
        tuned.append(chosen.assign(model=name))
        for part in EVALUATED_SPLITS:
            measured = measure_part(truth, scores, part, model=name, thresholds=limits, **how)
            results.append(tabulate(measured, name, part))
        on_test[name] = measured
    table = pd.concat(results, ignore_index=True)
    store.write_table(table, out, METRICS)
    store.write_table(pd.concat(tuned, ignore_index=True), thresholds, THRESHOLDS)
    if differences is not None:
        store.write_table(compare(on_test, _pairs(predictions, ensembles), "test"), differences, DIFFERENCES)
    shown = table["threshold_rule"].isin((NO_THRESHOLD, rules[0]))
    overall = table[(table["class"] == GLOBAL) & (table["split"] == "test") & shown]
    values = overall.pivot(index="model", columns="metric", values="value")[list(SUMMARIZED)].astype(object)
    for name, of_model in values.where(values.notna(), None).iterrows():
        store.write_text(json.dumps(of_model.to_dict(), indent=2), summary / f"{name}.json")


def make_differences(
    labels: Path, split: Path, predictions: dict[str, Path], ensembles: dict[str, Path], columns: Sequence[str], out: Path,
    seed: int, replicates: int, rules: Sequence[str] = (FIXED,),
) -> None:  # fmt: skip
    """Write the rows of `schemas.DIFFERENCES` of models of several experiments with the same labels and test images.

    Models are called EXPERIMENT/MODEL. `columns` are their names in order; `differences.references` says which are compared.
    """
    truth, models = read_models(labels, split, predictions, ensembles)
    for name in columns:
        refuse_unknown("--columns", name, models, "a model under --predictions or --ensembles")
    how: dict[str, Any] = {"replicates": replicates, "seed": seed, "summaries": tiers_of(joins.read_labels(labels, split))}
    measured = {
        name: measure_part(truth, scores, "test", model=name, thresholds=limits, **how)
        for name, scores, limits, _ in _with_thresholds(truth, models, rules)
    }
    store.write_table(compare(measured, references(columns).items(), "test"), out, DIFFERENCES)


def tiers_of(labels: pd.DataFrame) -> dict[str, list[str]]:
    """Return the `tiers` of what `joins.read_labels` returns."""
    training = labels.loc[labels["split"] == "train", class_columns(labels)]
    return tiers((training == 1).sum().to_dict())


def _pairs(predictions: Collection[str], ensembles: Collection[str]) -> list[tuple[str, str]]:
    """The models of an experiment that are compared, the first less the second."""
    networks = [name for name in predictions if name != BASELINE]
    found = [*combinations(networks, 2), *product(ensembles, networks)]
    return found + [(name, BASELINE) for name in (*networks, *ensembles) if BASELINE in predictions]


def _with_thresholds(
    truth: pd.DataFrame, models: Mapping[str, pd.DataFrame], rules: Sequence[str]
) -> Iterator[tuple[str, pd.DataFrame, dict[str, np.typing.ArrayLike], pd.DataFrame]]:
    """Yield each model's name and scores, its threshold by each rule, and the table of those chosen on the validation images."""
    validation = (truth["split"] == "val").to_numpy()
    for name, scores in progress(list(models.items()), "metrics", unit="model"):
        yield name, scores, *decisions.by_rule(truth.loc[validation, class_columns(truth)], scores[validation], rules)


def measure_part(truth: pd.DataFrame, scores: pd.DataFrame, part: str, **how: Any) -> Measured:
    """Measure a model on the images of one part; options as in `measure`."""
    chosen = (truth["split"] == part).to_numpy()
    patients = truth["patient_id"][chosen].to_numpy(object)
    return measure(truth.loc[chosen, class_columns(truth)], scores[chosen], patients, split=part, **how)


def read_models(
    labels: Source, split: Source, predictions: Mapping[str, Source], ensembles: Mapping[str, Source], only: str | None = None
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Read the labels of the validation and test images, and in the same rows the probabilities or votes of each model, or of one.

    `predictions` are tables of logits, `ensembles` of probabilities or votes. Each must have exactly these images and classes.
    """
    truth = joins.read_labels(labels, split, EVALUATED_SPLITS)
    paths = {name: path for name, path in {**predictions, **ensembles}.items() if only in (None, name)}
    if not paths:
        raise ThoraxError(f"There is nothing to compare with {labels}: give --predictions or --ensembles.")
    classes = class_columns(truth)
    models = {name: read_probabilities(path, truth, labels, name in predictions, classes) for name, path in paths.items()}
    for name, scores in models.items():
        _refuse_undefined(scores, name)
    return truth, models


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
