"""The learning-rate schedule and early stopping: both are decided by the epoch and the validation losses so far."""

import math
from collections.abc import Sequence

import numpy as np

from thorax.config import Training


def stalls(losses: Sequence[float], patience: int, min_delta: float) -> int:
    """How often the loss has failed to fall by more than `min_delta` for `patience` epochs in a row.

    Counting starts again after each such time, as in Keras' ReduceLROnPlateau; its EarlyStopping ends at the first one.
    """
    best, waited, found = np.inf, 0, 0
    for loss in losses:
        waited = 0 if loss < best - min_delta else waited + 1
        best = loss if waited == 0 else best
        if waited >= patience:
            found, waited = found + 1, 0
    return found


def learning_rate(settings: Training, epoch: int, val_losses: Sequence[float] = ()) -> float:
    """The learning rate of an epoch, counted from 0, after the epochs with these validation losses.

    Constant; cosine; or plateau: multiplied by `plateau_factor` each time that the loss `stalls` for `plateau_patience` epochs.
    """
    rate = settings.learning_rate
    if settings.fine_tune_rate is not None and epoch >= settings.frozen_epochs:
        rate = settings.fine_tune_rate
    if settings.schedule == "cosine":
        return rate * (1 + math.cos(math.pi * epoch / settings.epochs)) / 2
    if settings.schedule == "plateau":
        for _ in range(stalls(val_losses[:epoch], settings.plateau_patience, settings.min_delta)):
            rate *= settings.plateau_factor
    return rate
