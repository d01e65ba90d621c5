"""Losses on logits that skip ignored labels (-1)."""

import numpy as np

from thorax.catalog import IGNORED
from thorax.errors import ThoraxError


def check_classes(labels: np.ndarray, classes: list[str]) -> None:
    """Check that every class can be learnt.

    Args:
        labels: (n, k) of 1, 0 and -1 (ignored), of the training images.
        classes: k names.

    Raises:
        ThoraxError: a class has no positive or no negative image.
    """
    for value, kind in ((1, "positive"), (0, "negative")):
        lacking = ~(labels == value).any(axis=0)
        if lacking.any():
            raise ThoraxError(
                f"class {classes[int(lacking.argmax())]!r} has no {kind} training image, so there is nothing to learn: "
                "raise the label set's min_images or min_patients, or exclude the class."
            )


def pos_weights(labels: np.ndarray, cap: float | None = None) -> np.ndarray:
    """Weight of the positives of each class: negatives / positives among the training images.

    Args:
        labels: (n, k) of 1, 0 and -1 (ignored); every class has positives (see `check_classes`).
        cap: largest weight, or None.

    Returns:
        (k,) float32.
    """
    weights = (labels == 0).sum(axis=0) / (labels == 1).sum(axis=0)
    return np.minimum(weights, np.inf if cap is None else cap).astype(np.float32)


def weighted_bce(pos_weight: np.ndarray):
    """Weighted cross-entropy with logits, averaged over the labels that are not ignored.

    For a label y in {0, 1}, a logit x and the class's weight w:
    -(w y log sigmoid(x) + (1 - y) log(1 - sigmoid(x))). With all weights 1 it is plain binary cross-entropy.

    Args:
        pos_weight: (k,) weights of the positives.

    Returns:
        a function (y_true (n, k), logits (n, k)) -> (n,) whose mean is the mean over the batch's labels that are known.
    """
    from keras import ops

    weight = np.asarray(pos_weight, np.float32)

    def loss(y_true, logits):
        known = ops.cast(ops.not_equal(y_true, IGNORED), logits.dtype)
        positive = ops.cast(ops.equal(y_true, 1), logits.dtype)
        terms = weight * positive * ops.softplus(-logits) + (1 - positive) * ops.softplus(logits)
        share_known = ops.maximum(ops.mean(known), 1e-7)
        return ops.mean(terms * known, axis=-1) / share_known

    return loss


def weighted_bce_numpy(labels: np.ndarray, logits: np.ndarray, pos_weight: np.ndarray) -> float:
    """The same loss over a whole label matrix, in float64."""
    logits = logits.astype(np.float64)
    known = labels != IGNORED
    terms = np.where(labels == 1, pos_weight * np.logaddexp(0, -logits), np.logaddexp(0, logits))
    return float(terms[known].mean())
