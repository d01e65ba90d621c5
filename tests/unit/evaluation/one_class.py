"""F1 scores of one class, for tests."""

import numpy as np

from thorax.evaluation import confusion


def f1(labels: np.ndarray, positive: np.ndarray) -> float:
    """Mean of the F1 scores of the positive and of the negative class, of (n,) labels and predictions."""
    return float(confusion.macro_f1(confusion.counted(labels[:, None], positive[:, None]).sum(axis=0))[0])


def f1_positive(labels: np.ndarray, positive: np.ndarray) -> float:
    """F1 score of the positive class."""
    return float(confusion.positive_f1(confusion.counted(labels[:, None], positive[:, None]).sum(axis=0))[0])
