"""AUC, F1 and Hamming loss per class and overall, with 95% intervals from a bootstrap over patients.

The metrics are those of Liz et al. 2022 (section 5 and Tables 4 to 11). A score strictly above the threshold counts as
positive, for networks, mean probabilities and votes alike, so a tie is a no everywhere.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from thorax import store
from thorax.catalog import METRICS, class_columns
from thorax.errors import ThoraxError

GLOBAL = "Global"
EVALUATED_SPLITS = ("val", "test")
NO_THRESHOLD = "none"
_REPLICATES_AT_ONCE = 250  # bounds the memory to about 250 x images x 4 bytes
_INTERVAL = (2.5, 97.5)  # percentiles


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return probabilities in float64, without overflow for large negative logits."""
    logits = np.asarray(logits, np.float64)
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1, small) / (1 + small)


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve of one class; ties count half.

    Args:
        labels: (n,) of 1, 0 and -1 (ignored).
        scores: (n,), larger where more likely positive.

    Returns:
        The area, or nan where a positive or a negative is lacking.
    """
    return float(_auc(labels, scores, np.ones((len(labels), 1), np.uint8))[0])


def f1(labels: np.ndarray, positive: np.ndarray) -> float:
    """Return the mean of the F1 scores of the positive and of the negative class.

    This is scikit-learn's `f1_score(labels, positive, average="macro")` on one column, which the tables of Liz et al.
    2022 hold: predicting no positive at all where 40% are gives 0.374. As there, the mean is over those of the two classes
    that occur in the labels or the predictions.

    Args:
        labels: (n,) of 1, 0 and -1 (ignored).
        positive: (n,) bool, the prediction.

    Returns:
        The score, or nan where all entries are ignored.
    """
    return float(_f1(_confusion(labels[:, None], positive[:, None]).sum(axis=0))[0])


def hamming_loss(labels: np.ndarray, positive: np.ndarray) -> float:
    """Return the share of wrong entries of a label matrix, ignored ones left out.

    Args:
        labels: (n, k) of 1, 0 and -1 (ignored).
        positive: (n, k) bool, the prediction.
    """
    return float(_hamming(_confusion(labels, positive).sum(axis=0)))


def all_negative_f1(labels: np.ndarray) -> float:
    """Return `f1` of the classifier that never says yes: what F1 is worth without any knowledge of the images."""
    return f1(labels, np.zeros(len(labels), bool))


def evaluate(
    labels: pd.DataFrame,
    scores: pd.DataFrame,
    patients: np.typing.ArrayLike,
    *,
    model: str,
    split: str,
    threshold: float = 0.5,
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Score one model on the images of one part.

    Per class AUC and F1; as class "Global" their means over classes (AUC over those that have one) and the Hamming loss of
    the whole matrix. An AUC without positives or without negatives is null, and left out of the mean. The 95% intervals
    are percentiles over samples of as many patients, drawn with replacement; all images of a drawn patient come along, and
    all models and classes see the same samples. A sample in which a class has no AUC does not count for that class.

    Args:
        labels: (n, k) of 1, 0 and -1 (ignored), one column per class.
        scores: (n, k) probabilities or votes with the same columns and rows.
        patients: (n,) identifiers.
        model: name for the rows.
        split: name for the rows.
        threshold: scores above it are positive predictions.
        replicates: samples of the bootstrap; 0 for no intervals.
        seed: of the samples.

    Returns:
        Rows with the columns of `catalog.METRICS`; n_positive of "Global" is the number of positive entries of the matrix.

    Raises:
        ThoraxError: other columns or rows in the scores, or a score that is not a number.
    """
    _check_scores(labels, scores, model)
    truth, values = labels.to_numpy(), scores.to_numpy(np.float64)
    patient_ids, patient_of_row = np.unique(np.asarray(patients), return_inverse=True)
    confusion = np.zeros((len(patient_ids), 4 * truth.shape[1]))
    np.add.at(confusion, patient_of_row, _confusion(truth, values > threshold).reshape(len(truth), -1))

    once = np.ones((1, len(patient_ids)), np.uint8)
    point = _statistics(truth, values, patient_of_row, confusion, once)
    blocks = [
        _statistics(truth, values, patient_of_row, confusion, weights)
        for weights in _resample(len(patient_ids), replicates, seed)
    ]
    sampled = {name: np.concatenate([point[name][:0], *(block[name] for block in blocks)]) for name in point}

    rule = f"fixed-{threshold:g}"
    positives = (truth == 1).sum(axis=0)
    rows = []
    for metric, threshold_rule in (("auc", NO_THRESHOLD), ("f1", rule)):
        for column, name in enumerate(labels.columns):
            interval = _interval(sampled[metric], column)
            rows.append((model, name, metric, split, threshold_rule, point[metric][0, column], *interval, positives[column]))
        total = _mean_of_defined(point[metric])[0]
        interval = _interval(_mean_of_defined(sampled[metric])[:, None], 0)
        rows.append((model, GLOBAL, metric, split, threshold_rule, total, *interval, positives.sum()))
    interval = _interval(sampled["hamming"], 0)
    rows.append((model, GLOBAL, "hamming", split, rule, point["hamming"][0, 0], *interval, positives.sum()))
    return pd.DataFrame(rows, columns=METRICS.names)


def _check_scores(labels: pd.DataFrame, scores: pd.DataFrame, model: str) -> None:
    if list(labels.columns) != list(scores.columns) or len(labels) != len(scores):
        raise ThoraxError(f"The scores of {model!r} have other classes or images than the labels: predict again.")
    if not np.isfinite(scores.to_numpy()).all():
        name = scores.columns[~np.isfinite(scores.to_numpy()).all(axis=0)][0]
        raise ThoraxError(f"The scores of {model!r} for {name!r} are not all numbers: its training diverged; train it again.")


def _statistics(
    truth: np.ndarray, values: np.ndarray, patient_of_row: np.ndarray, confusion: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Return each metric for each sample: auc and f1 (samples, k), hamming (samples, 1).

    Args:
        truth: (n, k) labels.
        values: (n, k) scores.
        patient_of_row: (n,) index of each row's patient.
        confusion: (patients, 4 k) counts, see `_confusion`.
        weights: (samples, patients), how often each patient is in each sample.
    """
    # Sums of whole numbers: exact in float64, so no order of summation and no number of threads changes them.
    counts = (weights.astype(np.float64) @ confusion).reshape(len(weights), truth.shape[1], 4)
    weight_of_row = np.ascontiguousarray(weights.T)[patient_of_row]
    areas = [_auc(truth[:, column], values[:, column], weight_of_row) for column in range(truth.shape[1])]
    return {"auc": np.stack(areas, axis=1), "f1": _f1(counts), "hamming": _hamming(counts)[:, None]}


def _resample(patients: int, replicates: int, seed: int) -> Iterator[np.ndarray]:
    """Yield blocks of (samples, patients) uint8: how often each patient is drawn into each bootstrap sample."""
    random = np.random.default_rng(seed)
    for start in range(0, replicates, _REPLICATES_AT_ONCE):
        size = min(_REPLICATES_AT_ONCE, replicates - start)
        drawn = random.integers(patients, size=(size, patients)) + patients * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * patients).reshape(size, patients).astype(np.uint8)


def _auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the AUC of one class in each sample, nan where undefined.

    Args:
        labels: (n,) of 1, 0 and -1.
        scores: (n,).
        weights: (n, samples) whole numbers, how often each image is in each sample.
    """
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
    return np.divide(half_pairs, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def _confusion(labels: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Return (n, k, 4) of 0/1: true positive, false positive, false negative, true negative; all 0 where ignored."""
    yes, no = labels == 1, labels == 0
    return np.stack([yes & positive, no & positive, yes & ~positive, no & ~positive], axis=-1).astype(np.float64)


def _f1(counts: np.ndarray) -> np.ndarray:
    """Return the macro F1 from (..., 4) counts in the order of `_confusion`, nan where nothing is counted."""
    true_positive, false_positive, false_negative, true_negative = np.moveaxis(counts, -1, 0)
    wrong = false_positive + false_negative
    score = np.zeros(wrong.shape)
    occurring = np.zeros(wrong.shape)
    for right in (true_positive, true_negative):
        present = 2 * right + wrong > 0
        score += np.divide(2 * right, 2 * right + wrong, out=np.zeros(wrong.shape), where=present)
        occurring += present
    return np.divide(score, occurring, out=np.full(wrong.shape, np.nan), where=occurring > 0)


def _hamming(counts: np.ndarray) -> np.ndarray:
    """Return the share of wrong entries from (..., k, 4) counts."""
    wrong = counts[..., 1:3].sum(axis=(-2, -1))
    entries = counts.sum(axis=(-2, -1))
    return np.divide(wrong, entries, out=np.full(wrong.shape, np.nan), where=entries > 0)


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Return the mean over classes (axis 1) of what is not nan, nan where nothing is defined."""
    defined = np.isfinite(values)
    count = defined.sum(axis=1)
    return np.divide(np.where(defined, values, 0).sum(axis=1), count, out=np.full(len(values), np.nan), where=count > 0)


def _interval(sampled: np.ndarray, column: int) -> tuple[float, float]:
    values = sampled[:, column][np.isfinite(sampled[:, column])]
    if not len(values):
        return np.nan, np.nan
    low, high = np.percentile(values, _INTERVAL)
    return float(low), float(high)


def make_metrics(
    labels: Path,
    split: Path,
    predictions: dict[str, Path],
    ensembles: dict[str, Path],
    out: Path,
    summary: Path,
    seed: int,
    replicates: int,
) -> None:
    """Score all models of an experiment on val and test and write the rows of `catalog.METRICS`.

    Args:
        labels: `labels/{label_set}.parquet`.
        split: `splits/{split}.parquet`.
        predictions: logits of each member and of the baseline, by model name.
        ensembles: probabilities or votes of each ensemble, by name.
        out: the table to write.
        summary: JSON to write: of every model its metrics over all classes of the test images, null where undefined.
        seed: of the bootstrap.
        replicates: bootstrap samples.

    Raises:
        ThoraxError: a table that does not have exactly the label set's images of val and test, or its classes.
    """
    truth = store.read_table(labels, needs=("image_id", "patient_id"))
    truth = truth.merge(store.read_table(split, ["image_id", "split"]), on="image_id", how="left")
    if truth["split"].isna().any():
        image = truth["image_id"][truth["split"].isna()].iloc[0]
        raise ThoraxError(f"{split} does not assign image {image!r} of {labels}: remake the split.")
    truth = truth[truth["split"].isin(EVALUATED_SPLITS)].sort_values("image_id", ignore_index=True)
    classes = class_columns(truth)
    results = []
    models = [*predictions.items(), *ensembles.items()]
    for name, path in tqdm(models, desc="metrics", unit="model", disable=None):
        scores = _aligned(store.read_table(path, needs=("image_id", "split")), truth, classes, path)
        if name in predictions:
            scores = scores.apply(sigmoid)
        for part in EVALUATED_SPLITS:
            chosen = (truth["split"] == part).to_numpy()
            patients = truth["patient_id"][chosen].to_numpy(object)
            results.append(
                evaluate(
                    truth.loc[chosen, classes],
                    scores[chosen],
                    patients,
                    model=name,
                    split=part,
                    replicates=replicates,
                    seed=seed,
                )
            )
    table = pd.concat(results, ignore_index=True)
    store.write_table(table, out, METRICS)
    overall = table[(table["class"] == GLOBAL) & (table["split"] == "test")]
    values = overall.pivot(index="model", columns="metric", values="value").astype(object)
    chosen = values.where(values.notna(), None).loc[[name for name, _ in models]]
    store.write_text(json.dumps(chosen.to_dict("index"), indent=2), summary)


def _aligned(scores: pd.DataFrame, truth: pd.DataFrame, classes: list[str], path: Path) -> pd.DataFrame:
    """Return the scores in the order of the labels' images and classes."""
    if sorted(class_columns(scores)) != sorted(classes):
        other = sorted(set(class_columns(scores)) ^ set(classes))[0]
        raise ThoraxError(f"{path} and the labels do not have the same classes ({other!r} is in one only): predict again.")
    if sorted(scores["image_id"]) != list(truth["image_id"]):
        raise ThoraxError(f"{path} does not have exactly the images of val and test that are labelled: predict again.")
    return scores.set_index("image_id").loc[truth["image_id"], classes].reset_index(drop=True)
