"""Counts of right and wrong answers, and the scores that follow from them: F1, precision, sensitivity and so on.

All functions work on any number of leading axes: classes, bootstrap samples, candidate thresholds.
"""

import numpy as np


def counted(labels: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Return (n, k, 4) of 0/1 from (n, k) labels of 1, 0 and -1 (ignored) and (n, k) bool predictions.

    The last axis is true positive, false positive, false negative, true negative; all 0 where ignored.
    """
    yes, no = labels == 1, labels == 0
    return np.stack([yes & positive, no & positive, yes & ~positive, no & ~positive], axis=-1).astype(np.float64)


def macro_f1(counts: np.ndarray) -> np.ndarray:
    """Return the mean F1 of the positive and the negative class from (..., 4) counts, nan where nothing is counted."""
    true_positive, false_positive, false_negative, true_negative = np.moveaxis(counts, -1, 0)
    wrong = false_positive + false_negative
    sides = np.stack([share(2 * right, 2 * right + wrong) for right in (true_positive, true_negative)])
    return share(np.nan_to_num(sides).sum(axis=0), np.isfinite(sides).sum(axis=0))


def positive_f1(counts: np.ndarray) -> np.ndarray:
    """Return 2PR / (P + R) of the positive class, of precision P and recall R, from (..., 4) counts.

    This is the F1 of Dunn Beltran and Alsaghier 2022 (section 4.2). Without positives among the labels it is nan whatever the
    predictions are, so that all models are averaged over the same classes.
    """
    true_positive, false_positive, false_negative, _ = np.moveaxis(counts, -1, 0)
    score = share(2 * true_positive, 2 * true_positive + false_positive + false_negative)
    return np.where(true_positive + false_negative > 0, score, np.nan)


def precision(counts: np.ndarray) -> np.ndarray:
    """Return the share of right answers among the predicted positives from (..., 4) counts.

    It is 0 where nothing is predicted positive, as in scikit-learn, and nan without positives among the labels, as `positive_f1`.
    """
    true_positive, false_positive, false_negative, _ = np.moveaxis(counts, -1, 0)
    score = np.nan_to_num(share(true_positive, true_positive + false_positive))
    return np.where(true_positive + false_negative > 0, score, np.nan)


def negative_predictive_value(counts: np.ndarray) -> np.ndarray:
    """Return the share of right answers among the predicted negatives from (..., 4) counts.

    It is `precision` (the positive predictive value) of the negative side: 0 where nothing is predicted negative, and nan without
    negatives among the labels.
    """
    return precision(counts[..., ::-1])


def sensitivity(counts: np.ndarray) -> np.ndarray:
    """Return the share of positives that are found (recall) from (..., 4) counts, nan without positives."""
    return share(counts[..., 0], counts[..., 0] + counts[..., 2])


def specificity(counts: np.ndarray) -> np.ndarray:
    """Return the share of negatives that are recognised as such from (..., 4) counts, nan without negatives."""
    return share(counts[..., 3], counts[..., 3] + counts[..., 1])


def hamming(counts: np.ndarray) -> np.ndarray:
    """Return the share of wrong entries of a label matrix from (..., k, 4) counts, nan where nothing is counted."""
    return share(counts[..., 1:3].sum(axis=(-2, -1)), counts.sum(axis=(-2, -1)))


def accuracy(counts: np.ndarray) -> np.ndarray:
    """Return the share of right entries (binary accuracy) from (..., 4) counts, nan where nothing is counted."""
    return share(counts[..., 0] + counts[..., 3], counts.sum(axis=-1))


def youden(counts: np.ndarray) -> np.ndarray:
    """Return sensitivity + specificity - 1 of (..., 4) counts (Youden 1950, Cancer 3(1)); nan where one side lacks."""
    return sensitivity(counts) + specificity(counts) - 1


def decision_auc(counts: np.ndarray) -> np.ndarray:
    """Return the AUC of yes/no decisions, the mean of sensitivity and specificity, from (..., 4) counts, or nan."""
    return (youden(counts) + 1) / 2


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide, and return nan where the whole is nothing."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
