"""Ensembles of networks.

Combine then predict, and predict then combine (Liz et al. 2022, section 3.4); max vote, average and weighted average
(Kejriwal et al., section V); a stacked ensemble (Wolpert 1992), which no paper has. Weights and stack are learnt from the labels
of validation images. Thresholds are tuned on these too, so their own scores are cross-fitted.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from thorax import config
from thorax.errors import ThoraxError
from thorax.evaluation.metrics import auc, sigmoid
from thorax.labels.stratify import group_folds
from thorax.storage import joins, store
from thorax.storage.schemas import class_columns, scores_schema

_THRESHOLD = 0.5  # a probability above it is a vote for yes
_SAME = 12  # decimals to which mean agreements are compared, so that the order of summation does not matter
_ONE_SIDED = "no positive or no negative validation image"
FOLDS = 5  # of validation patients: rules that learn score each fold after learning from the others


def combine(rule: str, probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """Combine the members' probabilities, an (n, k) array each, into an ensemble's scores by a rule that learns nothing.

    - `ctp`, combine then predict: the mean probability of each label. It is the simple average of Kejriwal et al. as well.
    - `ptc_lw`, predict then combine label by label: 1 where more than half of the members vote yes. A tie, which an even
      number of members can give, is a no, as is a probability of exactly 0.5.
    - `ptc_mode`, predict then combine sets: the set of labels (the whole row of votes) that most members predict. A tie
      goes to the set with the highest mean probability over members and labels (p for a label in the set, 1 - p for any
      other). If that ties too, the earlier member decides.
    - `max_vote`: the share of members that vote yes. At the threshold 0.5 it decides as `ptc_lw` does, ties included, but it
      ranks images as well. Kejriwal et al. do not define their max vote; this is the usual meaning.
    - `max_probability`: the largest probability of any member, the other reading of max vote.

    Returns (n, k) float32: votes of 0 and 1 for `ptc_lw` and `ptc_mode`, shares for `max_vote`, otherwise probabilities.
    """
    return _RULES[rule](np.stack(probabilities).astype(np.float64)).astype(np.float32)


def _most_frequent_set(stacked: np.ndarray) -> np.ndarray:
    """Return the winning votes, (n, k), from (members, n, k) probabilities."""
    votes = stacked > _THRESHOLD
    frequency = np.stack([(votes == own).all(axis=2).sum(axis=0) for own in votes])  # (members, n)
    mean = stacked.mean(axis=0)
    agreement = np.stack([np.where(own, mean, 1 - mean).mean(axis=1) for own in votes]).round(_SAME)
    agreement[frequency < frequency.max(axis=0)] = -1
    winner = agreement.argmax(axis=0)  # the first of equals
    return votes[winner, np.arange(votes.shape[1])]


_RULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # from (members, n, k) probabilities
    "ctp": lambda stacked: stacked.mean(axis=0),
    "ptc_lw": lambda stacked: 2 * (stacked > _THRESHOLD).sum(axis=0) > len(stacked),
    "ptc_mode": _most_frequent_set,
    "max_vote": lambda stacked: (stacked > _THRESHOLD).mean(axis=0),
    "max_probability": lambda stacked: stacked.max(axis=0),
}


def auc_weights(areas: np.ndarray) -> np.ndarray:
    """Return the weight of each member for each class: how far its AUC is above chance, as a share of the sum over members.

    Kejriwal et al. weigh the members but do not say how. In proportion to the AUC itself (theirs are 0.53 to 0.78) all would weigh
    nearly the same. A member at or below chance, or without an AUC (nan), weighs nothing. Where that is so for all, all weigh the
    same: the simple average. Takes and returns (members, k); the weights of a class add up to 1.
    """
    above = np.maximum(np.nan_to_num(areas, nan=0.5) - 0.5, 0)
    total = above.sum(axis=0)
    return np.divide(above, total, out=np.full(above.shape, 1 / len(areas)), where=total > 0)


def fit_stack(labels: np.ndarray, logits: np.ndarray, c: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Fit a logistic regression per class on the members' logits of that class (stacked generalisation, Wolpert 1992).

    For coefficients w, which may be negative, and intercept b it minimises |w|^2 / 2 + C sum_i log loss(y_i, w . x_i + b).
    Labels are (n, k) of 1, 0 and -1 (ignored: such a row is left out for that class), logits (members, n, k) of the same
    images. Returns coefficients (members, k) and intercepts (k,), float64; nan for a class that lacks positives or negatives.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    coefficients = np.full((len(logits), labels.shape[1]), np.nan)
    intercepts = np.full(labels.shape[1], np.nan)
    with threadpool_limits(limits=1):
        for k in range(labels.shape[1]):
            known = labels[:, k] >= 0
            if _has_both(labels[:, k]):
                model = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-8, max_iter=1000)
                model.fit(logits[:, known, k].T, labels[known, k])
                coefficients[:, k], intercepts[k] = model.coef_[0], model.intercept_[0]
    return coefficients, intercepts


def _weighted(logits: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the (n, k) mean probabilities of (members, n, k) logits with (members, k) weights."""
    return (weights[:, None] * sigmoid(logits)).sum(axis=0)


def _stacked(logits: np.ndarray, coefficients: np.ndarray, intercepts: np.ndarray) -> np.ndarray:
    """Return (n, k) probabilities from (members, n, k) logits, (members, k) coefficients and (1, k) intercepts.

    Where nothing was learnt (nan) it is the mean probability.
    """
    learnt = sigmoid((coefficients[:, None] * logits).sum(axis=0) + intercepts)
    return np.where(np.isfinite(intercepts), learnt, sigmoid(logits).mean(axis=0))


class _WeightedAverage:
    """A mean of probabilities with weights per class, learnt from (members, m, k) logits and (m, k) labels."""

    apply = staticmethod(_weighted)

    def __init__(self, settings: config.Ensemble, logits: np.ndarray, answers: np.ndarray) -> None:
        self.members = settings.members
        self.areas = np.array([[auc(answers[:, k], member[:, k]) for k in range(answers.shape[1])] for member in logits])
        self.learnt = {"weights": auc_weights(self.areas)}  # what `apply` needs besides logits

    def describe(self, k: int, learnt: bool) -> str:
        """Say what was learnt of a class, if anything was."""
        area = f"AUC {_by_member(self.members, self.areas[:, k])}" if learnt else f"{_ONE_SIDED}, so no AUC"
        return f"weights {_by_member(self.members, self.learnt['weights'][:, k])}; {area}"


class _Stack:
    """A logistic regression per class on the members' logits, learnt from (members, m, k) logits and (m, k) labels."""

    apply = staticmethod(_stacked)

    def __init__(self, settings: config.Ensemble, logits: np.ndarray, answers: np.ndarray) -> None:
        self.members = settings.members
        coefficients, intercepts = fit_stack(answers, logits, settings.C)
        self.learnt = {"coefficients": coefficients, "intercepts": intercepts[None]}

    def describe(self, k: int, learnt: bool) -> str:
        if not learnt:
            return f"{_ONE_SIDED}, so the mean probability"
        coefficients, intercept = self.learnt["coefficients"][:, k], self.learnt["intercepts"][0, k]
        return f"coefficients {_by_member(self.members, coefficients)}, intercept {intercept:.3f}"


# Rules that need labels
LEARNING: dict[str, type[_WeightedAverage] | type[_Stack]] = {"weighted_average": _WeightedAverage, "stacked": _Stack}


def learn(settings: config.Ensemble, logits: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
    """Return what a rule learns from (members, m, k) logits and (m, k) labels, for `scores_of`; nothing for most rules."""
    return LEARNING[settings.rule](settings, logits, answers).learnt if settings.rule in LEARNING else {}


def scores_of(settings: config.Ensemble, learnt: Mapping[str, np.ndarray], logits: np.ndarray) -> np.ndarray:
    """Return an ensemble's (n, k) float32 scores of (members, n, k) logits, by what it learnt from others."""
    logits = np.asarray(logits, np.float64)
    if settings.rule in LEARNING:
        return LEARNING[settings.rule].apply(logits, **learnt).astype(np.float32)
    return combine(settings.rule, list(sigmoid(logits)))


def make_ensemble(
    settings: config.Ensemble, predictions: list[Path], out: Path, labels: Path | None = None, split: Path | None = None
) -> None:
    """Combine the logits of the members and write the ensemble's scores.

    Rules that learn do so from all validation images, and score all other images with the result; validation images get the scores
    of `cross_fitted`. What was learnt from all is printed, class by class. Where a class has no positive or no negative image to
    learn from, the rules give the mean probability, as `ctp` does, and say so.

    The predictions are in the order of `settings.members`. Only the rules in `LEARNING` need labels and split.
    """
    if len(predictions) != len(settings.members):
        problem = f"The ensemble has {len(settings.members)} members but was given {len(predictions)} tables"
        raise ThoraxError(f"{problem}: give one for each.")
    first = store.read_table(predictions[0], needs=("image_id", "split")).sort_values("image_id", ignore_index=True)
    classes = class_columns(first)
    logits = np.stack([_logits(path, first, classes, predictions[0]) for path in predictions])
    if settings.rule in LEARNING:
        if labels is None or split is None:
            problem = f"Rule {settings.rule} learns from validation images"
            raise ThoraxError(f"{problem}: give their label set and split (--labels, --split).")
        truth = joins.read_labels(labels, split, ["val"])
        joins.read_scores(predictions[0], truth, labels, class_columns(truth))  # only to compare images and classes
        rows, answers = (first["split"] == "val").to_numpy(), truth[classes].to_numpy()
        rule = LEARNING[settings.rule](settings, logits[:, rows], answers)
        for k, name in enumerate(classes):
            print(f"{name}: {rule.describe(k, learnt=_has_both(answers[:, k]))}", file=sys.stderr)
        scores = rule.apply(logits, **rule.learnt)
        scores[rows] = cross_fitted(settings, classes, logits[:, rows], answers, truth["patient_id"].to_numpy(object))
    else:
        scores = combine(settings.rule, list(sigmoid(logits)))
    combined = pd.DataFrame(scores.astype(np.float32), columns=classes)
    store.write_table(pd.concat([first[["image_id", "split"]], combined], axis=1), out, scores_schema(classes))


def cross_fitted(
    settings: config.Ensemble, classes: Sequence[str], known: np.ndarray, answers: np.ndarray, patients: np.ndarray
) -> np.ndarray:
    """Score images by a rule that learnt from other patients' images only, in folds; say where a fold leaves nothing to learn from.

    Takes (members, n, k) logits of validation images, their (n, k) labels of 1, 0 and -1 (ignored) and (n,) patients; returns
    (n, k) float64. With a single patient nothing is left to learn from, and all are mean probabilities.
    """
    folds = min(FOLDS, len(np.unique(patients)))
    fold_of_row = group_folds(answers, patients, folds)
    scores = np.empty(answers.shape)
    unlearnt = np.zeros(len(classes), int)
    for fold in range(folds):
        held = fold_of_row == fold
        learnt = learn(settings, known[:, ~held], answers[~held])
        scores[held] = LEARNING[settings.rule].apply(known[:, held], **learnt)
        unlearnt += [_has_both(answers[:, k]) and not _has_both(answers[~held, k]) for k in range(len(classes))]
    print(f"scores of validation images: from what was learnt in the other of {folds} folds by patient", file=sys.stderr)
    for name, count in zip(classes, unlearnt, strict=True):
        if count:
            said = f"no positive or no negative image outside {count} of these folds, so there the mean probability"
            print(f"{name}: {said}", file=sys.stderr)
    return scores


def _has_both(answers: np.ndarray) -> bool:
    return bool((answers == 1).any() and (answers == 0).any())


def _by_member(members: Sequence[str], values: np.ndarray) -> str:
    return ", ".join(f"{member} {value:.3f}" for member, value in zip(members, values, strict=True))


def _logits(path: Path, first: pd.DataFrame, classes: list[str], first_path: Path) -> np.ndarray:
    """Read one member's (n, k) float64 logits in the order of the first member's table."""
    logits = joins.read_scores(path, first, first_path, classes).to_numpy(np.float64)
    if not np.isfinite(logits).all():
        image = first["image_id"][~np.isfinite(logits).all(axis=1)].iloc[0]
        problem = f"{path}: the logits of image {image!r} are not all numbers, so its training diverged"
        raise ThoraxError(f"{problem}; train it again.")
    return logits
