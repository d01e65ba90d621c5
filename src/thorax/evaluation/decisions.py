"""From scores to yes and no: thresholds, fixed or tuned on validation, and one class that excludes the rest.

A score strictly above its class's threshold is a yes. Thresholds lie in [0, 1], so a score of 0 is always a no and one of 1
always a yes: votes stay as they are, whatever the rule.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from thorax.config import fixed_threshold
from thorax.evaluation import confusion
from thorax.storage.schemas import THRESHOLDS

OPERATING_POINTS = {  # rules of the tables of operating points
    "specificity-0.9": "a specificity of 0.9",
    "sensitivity-0.9": "a sensitivity of 0.9",
}
UNTUNED = 0.5  # the threshold of a class that validation images cannot tune
EXCLUSIVE = "+exclusive"  # appended to a threshold rule's name where one class excludes the rest
_OBJECTIVES = {  # the tuned rules of config.TUNED_RULES
    "f1": confusion.macro_f1,
    "f1_positive": confusion.positive_f1,
    "youden": confusion.youden,
}
_SIDES = {
    "specificity": (confusion.specificity, confusion.sensitivity),
    "sensitivity": (confusion.sensitivity, confusion.specificity),
}
_SAME = 12  # decimals at which two thresholds count as equally good or equally far from 0.5


class Threshold(NamedTuple):
    """One class's threshold."""

    value: float  # scores above it are a yes; in [0, 1]
    n_positive: int  # positives that it was tuned on
    defined: bool  # whether there were positives and negatives to tune it on; where not, value is `UNTUNED`


def tune(labels: np.ndarray, scores: np.ndarray, rule: str) -> Threshold:
    """Find the best threshold of one class: an exact search over every cut between two distinct scores.

    The candidates are halfway between neighbours among the scores, 0 and 1; no threshold in [0, 1) divides the images in
    another way. Among equally good ones (to 12 decimals) the one nearest to 0.5 is taken, and of two equally near ones the lower.

    Labels are (n,) of 1, 0 and -1 (ignored), scores (n,) in [0, 1]. The rule is "f1", the mean F1 of the positive and the
    negative class; "f1_positive", the F1 of the positive class; "youden", sensitivity + specificity; or an operating point:
    "specificity-0.9" has the largest sensitivity among thresholds with a specificity of at least 0.9 (of equally good ones, the
    largest specificity), and "sensitivity-0.9" the reverse. Where no threshold reaches the 0.9, it comes as near as it can.
    """
    positive, negative = (np.sort(np.asarray(scores, np.float64)[labels == label]) for label in (1, 0))
    if not (len(positive) and len(negative)):
        return Threshold(UNTUNED, len(positive), defined=False)
    edges = np.unique(np.concatenate([[0.0, 1.0], positive, negative]))
    low, high = edges[:-1], edges[1:]
    halfway = low + (high - low) / 2
    candidates = np.where(halfway < high, halfway, low)  # neighbouring floats have nothing between them
    missed = np.searchsorted(positive, candidates, side="right")
    rejected = np.searchsorted(negative, candidates, side="right")
    counts = np.stack([len(positive) - missed, len(negative) - rejected, missed, rejected], axis=-1)
    value = _objective(rule, counts.astype(np.float64)).round(_SAME)
    best = candidates[value == value.max()]
    return Threshold(float(best[np.abs(best - 0.5).round(_SAME).argmin()]), len(positive), defined=True)


def _objective(rule: str, counts: np.ndarray) -> np.ndarray:
    """What a rule maximises, from (candidates, 4) counts."""
    if rule in _OBJECTIVES:
        return _OBJECTIVES[rule](counts)
    side, _, least = rule.partition("-")
    held, free = (measure(counts).round(_SAME) for measure in _SIDES[side])
    reached = held >= float(least)
    if not reached.any():
        return held
    best = free == free[reached].max()
    return np.where(reached & best, held, -1)


def thresholds(labels: pd.DataFrame, scores: pd.DataFrame, rules: Sequence[str]) -> pd.DataFrame:
    """Choose every class's threshold by every tuned rule on validation images; labels and scores are (n, k) as in `tune`.

    Returns rows with the columns of `schemas.THRESHOLDS` but the model, rule by rule, each in the order of the classes.
    """
    rows = [(name, rule, *tune(labels[name].to_numpy(), scores[name].to_numpy(), rule)) for rule in rules for name in labels]
    return pd.DataFrame(rows, columns=THRESHOLDS.names[1:])


def by_rule(
    labels: pd.DataFrame, scores: pd.DataFrame, rules: Sequence[str]
) -> tuple[dict[str, np.typing.ArrayLike], pd.DataFrame]:
    """Return the threshold of each rule, or (k,) one for each class if the rule is tuned, and the table of `thresholds`."""
    fixed = {rule: fixed_threshold(rule) for rule in rules}
    chosen = thresholds(labels, scores, [rule for rule, limit in fixed.items() if limit is None])
    tuned = {str(rule): of_rule["value"].to_numpy() for rule, of_rule in chosen.groupby("rule")}
    return {rule: tuned[rule] if limit is None else limit for rule, limit in fixed.items()}, chosen


def decide(scores: np.ndarray, limits: np.typing.ArrayLike, exclusive: int | None = None) -> np.ndarray:
    """Return (n, k) bool decisions for (n, k) scores and one threshold or (k,); `exclusive` is a column or None.

    Where the exclusive class and another are both a yes, the more likely side is kept: if no class has a higher score than the
    exclusive one, all others become no (Dunn Beltran and Alsaghier 2022, section 6); otherwise the exclusive class becomes no,
    which is ours.
    """
    positive = scores > np.asarray(limits)
    if exclusive is None:
        return positive
    others = np.arange(scores.shape[1]) != exclusive
    contradicts = positive[:, exclusive] & positive[:, others].any(axis=1)
    stands = scores[:, exclusive] >= scores.max(axis=1)
    positive[np.ix_(contradicts & stands, others)] = False
    positive[contradicts & ~stands, exclusive] = False
    return positive
