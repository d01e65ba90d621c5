"""Loss functions on logits. They skip ignored labels (-1)."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from thorax.config import Training
from thorax.errors import ThoraxError

# Computes every label's term from labels y and logits x, both (n, k); the last argument has exp, softplus, sigmoid and absolute
Terms = Callable[[Any, Any, Any], Any]


def cross_entropy(positive: Any = 1.0, negative: float = 1.0, gamma: float = 0.0) -> Terms:
    """-(u y (1 - p)^g log p + v (1 - y) p^g log(1 - p)) for the label y and p = sigmoid(logit).

    u (`positive`, a number or (k,) float32) and v (`negative`) are weights. With g = 0 (`gamma`) this is the (weighted)
    cross-entropy, otherwise the focal loss (Lin et al. 2017, arXiv:1708.02002, equation 5).
    """

    def terms(y: Any, x: Any, ops: Any) -> Any:
        miss, hit = ops.softplus(-x), ops.softplus(x)  # -log p and -log(1 - p)
        # powers of p as exponentials of its logarithm: the gradient of p ** gamma is not a number where p is 0
        return positive * y * ops.exp(-gamma * hit) * miss + negative * (1 - y) * ops.exp(-gamma * miss) * hit

    return terms


def _focal(settings: Training, _: np.ndarray) -> Terms:
    positive, negative = (1.0, 1.0) if settings.focal_alpha is None else (settings.focal_alpha, 1 - settings.focal_alpha)
    return cross_entropy(positive, negative, settings.focal_gamma)


# Each takes the settings and the weights of the positives, (k,) float32
LOSSES: dict[str, Callable[[Training, np.ndarray], Terms]] = {
    "bce": lambda settings, pos_weight: cross_entropy(),
    "weighted_bce": lambda settings, pos_weight: cross_entropy(positive=np.asarray(pos_weight, np.float32)),
    "focal": _focal,
    "mae": lambda settings, pos_weight: lambda y, x, ops: ops.absolute(y - ops.sigmoid(x)),
}

_NUMPY = SimpleNamespace(
    exp=np.exp,
    absolute=np.abs,
    softplus=lambda x: np.logaddexp(0, x),
    sigmoid=lambda x: np.exp(-np.logaddexp(0, -x)),
)


def make_loss(settings: Training, pos_weight: np.ndarray) -> Callable[[Any, Any], Any]:
    """The training loss, averaged over the labels that are not ignored; only "weighted_bce" reads the (k,) `pos_weights`.

    It is a function of labels (n, k), which are 1, 0, -1 (ignored) or, for mixed images, fractions, and logits (n, k). It returns
    (n,), whose mean is that over the batch's known labels, and is finite in float32 for logits up to 100 and more.
    """
    from keras import ops

    terms = LOSSES[settings.loss](settings, pos_weight)

    def loss(y_true: Any, logits: Any) -> Any:
        known = ops.cast(ops.greater_equal(y_true, 0), logits.dtype)
        y = ops.maximum(ops.cast(y_true, logits.dtype), 0)
        share_known = ops.maximum(ops.mean(known), 1e-7)
        return ops.mean(terms(y, logits, ops) * known, axis=-1) / share_known

    return loss


def loss_numpy(settings: Training, labels: np.ndarray, logits: np.ndarray, pos_weight: np.ndarray) -> float:
    """The same loss over a whole label matrix, in float64: the mean over the known labels, of which there is at least one."""
    terms = LOSSES[settings.loss](settings, pos_weight)(labels.astype(np.float64), logits.astype(np.float64), _NUMPY)
    return float(terms[labels >= 0].mean())


def check_classes(labels: np.ndarray, classes: list[str]) -> None:
    """Refuse a class without a positive or without a negative among the training images' labels, (n, k) before any mixing."""
    for value, kind in ((1, "positive"), (0, "negative")):
        lacking = ~(labels == value).any(axis=0)
        if lacking.any():
            problem = f"class {classes[int(lacking.argmax())]!r} has no {kind} training image, so there is nothing to learn"
            raise ThoraxError(f"{problem}: raise the label set's min_images or min_patients, or exclude the class.")


def pos_weights(labels: np.ndarray, exponent: float = 1.0, cap: float | None = None) -> np.ndarray:
    """Weight of the positives of each class: (negatives / positives) ** exponent, at most `cap`, (k,) float32.

    They are counted in the training images' labels, (n, k) of 1, 0 and -1 (ignored), where every class has positives (see
    `check_classes`). The exponent is from 0 (no weights) to 1 (the ratio itself).
    """
    weights = ((labels == 0).sum(axis=0) / (labels == 1).sum(axis=0)) ** exponent
    return np.minimum(weights, np.inf if cap is None else cap).astype(np.float32)
