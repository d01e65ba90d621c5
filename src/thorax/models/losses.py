"""Losses on logits that skip ignored labels (-1)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from thorax.config import Training
from thorax.errors import ThoraxError


def check_classes(labels: np.ndarray, classes: list[str]) -> None:
    """Check that every class can be learnt.

    Args:
        labels: (n, k) of 1, 0 and -1 (ignored), of the training images as they are, before any are mixed.
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


def pos_weights(labels: np.ndarray, exponent: float = 1.0, cap: float | None = None) -> np.ndarray:
    """Weight of the positives of each class: (negatives / positives) ** exponent among the training images.

    Args:
        labels: (n, k) of 1, 0 and -1 (ignored); every class has positives (see `check_classes`).
        exponent: from 0 (no weights) to 1 (the ratio itself).
        cap: largest weight, or None.

    Returns:
        (k,) float32.
    """
    weights = ((labels == 0).sum(axis=0) / (labels == 1).sum(axis=0)) ** exponent
    return np.minimum(weights, np.inf if cap is None else cap).astype(np.float32)


def make_loss(settings: Training, pos_weight: np.ndarray) -> Callable[[Any, Any], Any]:
    """The training's loss on logits, averaged over the labels that are not ignored.

    For a label y, a logit x, p = sigmoid(x), weights u of positives and v of negatives, and g:
    -(u y (1 - p)^g log p + v (1 - y) p^g log(1 - p)).
    Weighted cross-entropy has u = pos_weight, v = 1, g = 0; plain cross-entropy u = v = 1, g = 0; focal loss g = focal_gamma
    and u = focal_alpha, v = 1 - focal_alpha, or 1 and 1 (Lin et al. 2017, arXiv:1708.02002, equation 5). "mae" is |y - p|.
    Labels are 1, 0, -1 (ignored) or, where images were mixed, fractions, which count as so much positive.

    Args:
        settings: loss, focal_gamma and focal_alpha.
        pos_weight: (k,) weights of the positives (see `pos_weights`); only "weighted_bce" reads them.

    Returns:
        a function (labels (n, k), logits (n, k)) -> (n,) whose mean is the mean over the batch's labels that are known. It
        and its gradient are numbers for logits up to 100 and more in float32.
    """
    from keras import ops

    up, down, gamma = _factors(settings, pos_weight)

    def loss(y_true, logits):
        known = ops.cast(ops.greater_equal(y_true, 0), logits.dtype)
        y = ops.maximum(ops.cast(y_true, logits.dtype), 0)
        if settings.loss == "mae":
            terms = ops.abs(y - ops.sigmoid(logits))
        else:
            miss, hit = ops.softplus(-logits), ops.softplus(logits)  # -log p and -log(1 - p)
            # powers of p as exponentials of its logarithm: the gradient of p ** gamma is no number where p is 0
            terms = up * y * ops.exp(-gamma * hit) * miss + down * (1 - y) * ops.exp(-gamma * miss) * hit
        share_known = ops.maximum(ops.mean(known), 1e-7)
        return ops.mean(terms * known, axis=-1) / share_known

    return loss


def loss_numpy(settings: Training, labels: np.ndarray, logits: np.ndarray, pos_weight: np.ndarray) -> float:
    """The same loss over a whole label matrix, in float64.

    Args:
        settings, pos_weight: as in `make_loss`.
        labels: (n, k) of 1, 0, -1 (ignored) and fractions; at least one is known.
        logits: (n, k).

    Returns:
        the mean over the known labels.
    """
    known = labels >= 0
    y, x = labels.astype(np.float64), logits.astype(np.float64)
    log_p, log_q = -np.logaddexp(0, -x), -np.logaddexp(0, x)
    if settings.loss == "mae":
        terms = np.abs(y - np.exp(log_p))
    else:
        up, down, gamma = _factors(settings, pos_weight)
        terms = -(up * y * np.exp(gamma * log_q) * log_p + down * (1 - y) * np.exp(gamma * log_p) * log_q)
    return float(terms[known].mean())


def _factors(settings: Training, pos_weight: np.ndarray) -> tuple[np.ndarray | float, float, float]:
    """Weights of positives, per class or one for all, and of negatives, and the exponent."""
    if settings.loss == "weighted_bce":
        return np.asarray(pos_weight, np.float32), 1.0, 0.0
    if settings.loss == "focal":
        alpha = settings.focal_alpha
        return (1.0, 1.0, settings.focal_gamma) if alpha is None else (alpha, 1 - alpha, settings.focal_gamma)
    return 1.0, 1.0, 0.0
