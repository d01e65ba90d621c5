"""Paired differences between models that are measured on the same images.

Both models of a pair are measured on the same bootstrap samples of the patients, so what makes a sample easy or hard for both
cancels in their difference.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from thorax.errors import ThoraxError
from thorax.evaluation.bootstrap import Measured, intervals
from thorax.storage.schemas import DIFFERENCES

LEVEL = 0.05


def compare(measured: Mapping[str, Measured], pairs: Iterable[tuple[str, str]], split: str) -> pd.DataFrame:
    """Return the differences of pairs of models, the first minus the second, in every metric, class and summary.

    `measured` has the models by name, all measured on the same labels with the same seed and number of replicates. The 95% interval
    is that of the percentiles of the replicates' differences. Replicates in which either value is undefined do not count. Returns
    rows with the columns of `schemas.DIFFERENCES`.
    """
    rows: list[tuple] = []
    for model, other in pairs:
        one, two = measured[model], measured[other]
        if one.design != two.design:
            problem = f"{model!r} and {other!r} are not measured on the same labels and bootstrap samples"
            raise ThoraxError(f"{problem}: give both the same images, labels, seed and replicates.")
        for key in [key for key in one.point if key in two.point]:
            names = one.named(key)
            points, samples = (one.point[key], two.point[key]), one.samples[key] - two.samples[key]
            value, p = points[0] - points[1], p_values(samples)
            corrected = np.full(len(p), np.nan)
            of_classes = len(names) - one.summaries
            corrected[:of_classes] = holm(p[:of_classes])
            counted = np.isfinite(samples).sum(axis=0)
            numbers = (*points, value, *intervals(samples), same_sign(value, samples), p, corrected, counted)
            for name, count, *found in zip(names, one.n_positive[-len(names) :], *numbers, strict=True):
                rule, metric = key
                rows.append((model, other, name, metric, split, rule, *found, count))
    return pd.DataFrame(rows, columns=DIFFERENCES.names)


def references(columns: Sequence[str]) -> dict[str, str]:
    """By EXPERIMENT/MODEL of every other experiment than the first, the model of the first that it is compared with.

    It is the first experiment's model of the same name or, if there is none, its first.
    """
    pairs = [(column, *column.split("/", 1)) for column in columns]
    first = {model: column for column, experiment, model in pairs if experiment == pairs[0][1]}
    return {column: first.get(model, columns[0]) for column, experiment, model in pairs if experiment != pairs[0][1]}


def same_sign(value: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Return the share of replicates whose difference has the sign of the difference itself; nan where that is 0 or undefined.

    Takes (k,) differences and (replicates, k) of the bootstrap samples.
    """
    counted = np.isfinite(samples).sum(axis=0)
    agreeing = (np.sign(samples) == np.sign(value)).sum(axis=0)
    defined = (counted > 0) & np.isfinite(value) & (value != 0)
    return np.divide(agreeing, counted, out=np.full(len(value), np.nan), where=defined)


def p_values(samples: np.ndarray) -> np.ndarray:
    """Return the two-sided p value of each column of (replicates, k) differences, nan where no replicate has one.

    It is twice the share of replicates at or beyond 0 on the side with fewer of them. It inverts the percentile interval: p is below
    0.05 where the 95% interval excludes 0, up to one replicate. One is added to the number of replicates beyond 0 and to that of all
    replicates, so that p is never 0 (Davison and Hinkley 1997, Bootstrap Methods and their Application, chapter 4).
    """
    counted = np.isfinite(samples).sum(axis=0)
    beyond = np.minimum((samples <= 0).sum(axis=0), (samples >= 0).sum(axis=0))
    return np.where(counted > 0, np.minimum(2 * (beyond + 1) / (counted + 1), 1), np.nan)


def holm(p: np.ndarray) -> np.ndarray:
    """Return (k,) p values corrected by the step-down method of Holm 1979 (Scand J Stat 6:65-70); nan stays nan and does not count.

    The smallest of m values is multiplied by m, the next by m - 1 and so on, none becomes smaller than one before it or larger
    than 1. Among all tests, the chance of one or more false rejections at 0.05 is then 0.05 at most, however they depend on each
    other.
    """
    corrected = np.full(len(p), np.nan)
    order = np.argsort(p, kind="stable")[: np.isfinite(p).sum()]  # nan comes last
    steps = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected


def fewest_replicates(tests: int) -> int:
    """Return how many replicates are needed so that the smallest possible p value, corrected for this number of tests, is below 0.05.

    That p value is 2 / (replicates + 1).
    """
    return round(2 * tests / LEVEL)
