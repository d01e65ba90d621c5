"""Whether probabilities mean what they say: calibration per class, with intervals, and scaling that is fitted on validation.

- `ece`, the expected calibration error over `BINS` bins of equal mass: the mean over images of the distance between the mean
  probability and the share of positives of their bin (Nixon et al. 2019, "Measuring Calibration in Deep Learning", arXiv 1904.01685).
  Equal probabilities are in one bin, and the bins of the bootstrap samples are those of all images.
- `brier`, the mean squared difference of probability and label (Brier 1950).
- `intercept` and `slope` of a logistic regression of the labels on the log odds of the probabilities; 0 and 1 where calibrated. The
  intercept, calibration in the large, has the slope fixed at 1 (Van Calster et al. 2019, BMC Medicine 17:230). A slope below 1 says
  that probabilities are too extreme.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from thorax.errors import ThoraxError
from thorax.evaluation.bootstrap import intervals, resample
from thorax.evaluation.confusion import share
from thorax.evaluation.metrics import GLOBAL, read_models, row_name, sigmoid
from thorax.storage import store
from thorax.storage.progress import progress
from thorax.storage.schemas import IGNORED, SCALINGS, class_columns

BINS = 10
METRICS = ("ece", "brier", "intercept", "slope")
KINDS = ("temperature", "platt")
# Of a scaling, a temperature of 100: a smaller one would make all images alike, a negative one reverse them
SMALLEST_SLOPE = 0.01
BOUNDED = f"slope held at {SMALLEST_SLOPE}, as the scores rank validation images no better than chance"
SEPARATED = "the scores separate positives from negatives among the validation images, or hardly vary"
_CLIP = 1e-7  # probabilities of 0 and 1 have no log odds
_STEPS = 50
_LARGEST = 1e4  # a coefficient beyond it diverges, as the classes are separated


class Scaling(NamedTuple):
    """New log odds are slope times log odds plus intercept. Temperature scaling has no intercept, and 1 / slope as temperature."""

    slope: float
    intercept: float = 0.0

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """Return (n,) scaled probabilities; unchanged where nothing could be fitted."""
        return sigmoid(self.slope * log_odds(probabilities) + self.intercept) if np.isfinite(self.slope) else probabilities


def log_odds(probabilities: np.ndarray) -> np.ndarray:
    """Return the log odds of probabilities, which are first moved by 1e-7 at most away from 0 and 1."""
    clipped = np.clip(np.asarray(probabilities, np.float64), _CLIP, 1 - _CLIP)
    return np.log(clipped) - np.log1p(-clipped)


def fit_scaling(labels: np.ndarray, probabilities: np.ndarray, kind: str) -> Scaling:
    """Fit "temperature" (Guo et al. 2017, ICML) or "platt" scaling (Platt 1999) of one class by maximum likelihood.

    Labels are (n,) of 1, 0 and -1 (ignored), probabilities (n,), both of validation images. The slope is at least
    `SMALLEST_SLOPE`, so that no scaling reverses the order of the images; there the intercept is that of this slope. The result is
    nan without positives or negatives, and where the probabilities separate them.
    """
    known = labels >= 0
    odds, truth = log_odds(probabilities[known]), labels[known]
    if len(np.unique(truth)) < 2:
        return Scaling(np.nan, np.nan)
    least, design = SMALLEST_SLOPE * odds, np.column_stack([odds, np.ones(len(odds))])
    intercept = float(_logistic(design[:, 1:], truth, least)[0]) if kind == "platt" else 0.0
    # The likelihood is concave: if it does not grow with the slope here, its maximum is not above
    if odds @ (truth - sigmoid(least + intercept)) <= 1e-9 * len(odds):
        return Scaling(SMALLEST_SLOPE, intercept)
    slope, *rest = _logistic(design if kind == "platt" else design[:, :1], truth).tolist()
    return Scaling(slope, *rest) if np.isfinite(slope) else Scaling(np.nan, np.nan)


def are_votes(scores: pd.DataFrame) -> bool:
    """Whether all scores are 0 or 1, so that there is nothing to calibrate."""
    return bool(scores.isin((0, 1)).all(axis=None))


def bins(probabilities: np.ndarray) -> np.ndarray:
    """Return (n,) numbers of bins of equal mass, from 0: by the share of images with a smaller probability."""
    below = np.searchsorted(np.sort(probabilities), probabilities, side="left")
    return below * BINS // max(len(probabilities), 1)


def measure(
    labels: pd.DataFrame, scores: pd.DataFrame, patients: np.typing.ArrayLike, replicates: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Return the calibration of each class and its mean over the classes that have one, with 95% intervals.

    Labels are (n, k) of 1, 0 and -1 (ignored), scores (n, k) probabilities, patients (n,) identifiers. The bootstrap samples are those
    of `bootstrap.measure`. For intercept and slope each sample takes one step of Newton's method from the fit to all
    images (Schucany and Wang 1991, J R Stat Soc B 53:587-596). Columns: class, metric, value, low, high, n_positive. Classes without
    positives or negatives, or separated ones, have no intercept and slope (nan).
    """
    identifiers, patient_of_row = np.unique(np.asarray(patients), return_inverse=True)
    truth, values = labels.to_numpy(), scores.to_numpy(np.float64)
    sums = [_Sums(truth[:, k], values[:, k], patient_of_row, len(identifiers)) for k in range(truth.shape[1])]
    everyone = np.ones((len(identifiers), 1))
    blocks = [everyone, *resample(len(identifiers), replicates, seed, len(truth))]
    measured = [np.stack([of_class.measure(weights) for of_class in sums], axis=-1) for weights in blocks]
    found = np.concatenate(measured, axis=1)  # (metrics, 1 + samples, k)
    positives = (truth == 1).sum(axis=0)
    rows = []
    for metric, values_of_metric in zip(METRICS, found, strict=True):
        defined = np.isfinite(values_of_metric)
        mean = share(np.where(defined, values_of_metric, 0).sum(axis=1), defined.sum(axis=1))
        columns = np.column_stack([values_of_metric, mean])
        names, counts = [*map(row_name, labels.columns), GLOBAL], [*positives, positives.sum()]
        rows += [
            (name, metric, value, low, high, count)
            for name, value, low, high, count in zip(names, columns[0], *intervals(columns[1:]), counts, strict=True)
        ]
    return pd.DataFrame(rows, columns=["class", "metric", "value", "low", "high", "n_positive"])


def reliability(
    labels: np.ndarray, probabilities: np.ndarray, patients: np.typing.ArrayLike, replicates: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Return a row for each of the bins of `ece` that has images: images, positives, probability (mean), share (of positives), low, high.

    Labels are (n,) of 1, 0 and -1 (ignored). The 95% interval is that of the share, on the bootstrap samples of `measure`.
    """
    identifiers, of_row = np.unique(np.asarray(patients), return_inverse=True)
    known = labels != IGNORED
    y, p, of_patient, of_bin = labels[known], probabilities[known], of_row[known], bins(probabilities[known])
    chosen = [of_bin == number for number in np.unique(of_bin)]
    counts = [
        np.bincount(of_patient[rows], (y[rows], np.ones(rows.sum()))[side], len(identifiers))
        for side in (0, 1)
        for rows in chosen
    ]
    sums = csr_array(np.stack(counts)) if counts else csr_array((0, len(identifiers)))
    samples = [
        sums @ weights.astype(np.float64) for weights in resample(len(identifiers), replicates, seed, max(len(labels), 1))
    ]
    drawn = np.concatenate([np.zeros((2 * len(chosen), 0)), *samples], axis=1)
    low, high = intervals(share(drawn[: len(chosen)], drawn[len(chosen) :]).T)
    rows = [(len(y[rows]), int(y[rows].sum()), p[rows].mean(), y[rows].mean()) for rows in chosen]
    return pd.DataFrame(rows, columns=["images", "positives", "probability", "share"]).assign(low=low, high=high)


class _Sums:
    """What the calibration of one class is made from, summed over each patient's images."""

    def __init__(self, labels: np.ndarray, scores: np.ndarray, patient_of_row: np.ndarray, patients: int) -> None:
        known = labels >= 0
        y, p, patient = labels[known].astype(np.float64), scores[known], patient_of_row[known]
        of_bin, odds = bins(p), log_odds(p)
        in_bin = [of_bin == number for number in range(BINS)]
        joint = np.column_stack([odds, np.ones(len(odds))])
        self.slope = _logistic(joint, y)
        self.intercept = _logistic(joint[:, 1:], y, odds)
        q = [sigmoid(joint @ self.slope), sigmoid(odds + self.intercept[0])]  # of both regressions
        images = [np.ones(len(y)), y, (p - y) ** 2, *(chosen * y for chosen in in_bin), *(chosen * p for chosen in in_bin)]
        of_fits = [(y - q[0]) * odds, y - q[0], *(q[0] * (1 - q[0]) * odds**power for power in (2, 1, 0))]
        of_fits += [y - q[1], q[1] * (1 - q[1])]
        columns = np.stack([np.bincount(patient, np.nan_to_num(entry), patients) for entry in (*images, *of_fits)])
        self.sums = csr_array(columns)  # its products add in a fixed order

    def measure(self, weights: np.ndarray) -> np.ndarray:
        """Return (metrics, samples) from (patients, samples) weights."""
        known, positive, squares, *rest = self.sums @ weights.astype(np.float64)
        of_bins, fits = np.array(rest[: 2 * BINS]), rest[2 * BINS :]
        error = np.abs(of_bins[:BINS] - of_bins[BINS:]).sum(axis=0)
        both = (positive > 0) & (positive < known)
        gradient, information = np.array(fits[:2]), np.array([[fits[2], fits[3]], [fits[3], fits[4]]])
        determinant = information[0, 0] * information[1, 1] - information[0, 1] ** 2
        step = share(information[1, 1] * gradient[0] - information[0, 1] * gradient[1], determinant)
        slope = np.where(both, self.slope[0] + step, np.nan)
        intercept = np.where(both, self.intercept[0] + share(fits[5], fits[6]), np.nan)
        return np.stack([share(error, known), share(squares, known), intercept, slope])


def _logistic(design: np.ndarray, labels: np.ndarray, offset: np.ndarray | float = 0.0) -> np.ndarray:
    """Fit a logistic regression by Newton's method with halved steps; nan where it has no finite maximum.

    `design` is (n, coefficients), labels (n,) of 0 and 1, `offset` what is added to the linear predictor.
    """
    coefficients = np.zeros(design.shape[1])
    nothing = np.full(design.shape[1], np.nan)
    if len(np.unique(labels)) < 2:
        return nothing

    def loss(values: np.ndarray) -> float:
        linear = offset + design @ values
        return float((np.logaddexp(0, linear) - labels * linear).sum())

    now = loss(coefficients)
    for _ in range(_STEPS):
        q = sigmoid(offset + design @ coefficients)
        gradient = design.T @ (labels - q)
        information = (design * (q * (1 - q))[:, None]).T @ design
        if not np.isfinite(information).all() or np.linalg.cond(information) > 1e14:
            return nothing
        step = np.linalg.solve(information, gradient)
        while (then := loss(coefficients + step)) > now + 1e-9 * abs(now) and np.abs(step).max() > 1e-12:
            step = step / 2
        coefficients, now = coefficients + step, then
        if np.abs(coefficients).max() > _LARGEST:
            return nothing
        if np.abs(step).max() < 1e-10 * max(1, np.abs(coefficients).max()):
            return coefficients
    return nothing


def fit(labels: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Fit both kinds of scaling to each class of a model's validation images, and say what could not be fitted and why.

    Returns rows with the columns of `schemas.SCALINGS` but the model.
    """
    rows = []
    for name in labels:
        truth = labels[name].to_numpy()
        positives, negatives = (int((truth == answer).sum()) for answer in (1, 0))
        lacks = "no validation image has the class" if not positives else "no validation image is without the class"
        for kind in KINDS:
            scaling = fit_scaling(truth, scores[name].to_numpy(), kind)
            note = BOUNDED if scaling.slope == SMALLEST_SLOPE else ""
            if not np.isfinite(scaling.slope):
                note = SEPARATED if positives and negatives else lacks
            rows.append((name, kind, *scaling, positives + negatives, positives, note))
    return pd.DataFrame(rows, columns=SCALINGS.names[1:])


def scale(scores: pd.DataFrame, fitted: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Return (n, k) scaled probabilities by the rows of `fit` of a model; those of classes that could not be fitted stay as they are."""
    of_kind = fitted[fitted["kind"] == kind].set_index("class")[["slope", "intercept"]]
    return scores.apply(lambda column: Scaling(*of_kind.loc[column.name].tolist()).apply(column.to_numpy()))


def versions(scores: pd.DataFrame, fitted: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return (n, k) probabilities as they are ("none") and scaled in both ways; see `scale`."""
    return {"none": scores, **{kind: scale(scores, fitted, kind) for kind in KINDS}}


def platt(probabilities: np.ndarray, classes: Sequence[str], fitted: pd.DataFrame) -> np.ndarray:
    """Return (..., k) probabilities after Platt scaling by the rows of `fit` of a model; nan for classes that could not be fitted."""
    of_class = fitted[fitted["kind"] == "platt"].set_index("class").loc[list(classes)]
    return sigmoid(of_class["slope"].to_numpy() * log_odds(probabilities) + of_class["intercept"].to_numpy())


def read_scaling(path: Path | str, model: str) -> pd.DataFrame:
    """Read the scaling of one model: the rows of `schemas.SCALINGS` that `fit` returned, for `scale`."""
    table = store.read_table(path, needs=tuple(SCALINGS.names))
    rows = table[table["model"] == model]
    if rows.empty:
        raise ThoraxError(f"{path} has no scaling of {model!r}: it gives votes, or the file is of another experiment.")
    return rows.drop(columns="model").reset_index(drop=True)


def make_calibration(
    labels: Path, split: Path, out: Path, predictions: Mapping[str, Path], ensembles: Mapping[str, Path] | None = None
) -> None:
    """Fit the scaling of each model that gives probabilities on the validation images, and write the rows of `schemas.SCALINGS`."""
    truth, models = read_models(labels, split, predictions, ensembles or {})
    validation, classes = (truth["split"] == "val").to_numpy(), class_columns(truth)
    fitted = [
        fit(truth.loc[validation, classes], scores[validation]).assign(model=name)
        for name, scores in progress(list(models.items()), "calibration", unit="model")
        if not are_votes(scores)
    ]
    empty = pd.DataFrame(columns=SCALINGS.names)
    store.write_table(pd.concat(fitted, ignore_index=True) if fitted else empty, out, SCALINGS)
