"""Ensembles of networks: combine then predict, and predict then combine (Liz et al. 2022, section 3.4)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from thorax import config, store
from thorax.catalog import class_columns, scores_schema
from thorax.errors import ThoraxError
from thorax.metrics import sigmoid

_THRESHOLD = 0.5  # a probability above it is a vote for yes
_SAME = 12  # decimals at which two mean agreements count as equal, so that the order of summation decides nothing


def combine(rule: str, probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """Combine the members' probabilities into an ensemble's scores.

    - `ctp`, combine then predict: the mean probability of each label.
    - `ptc_lw`, predict then combine label by label: 1 where more than half of the members vote yes. A tie, which an even
      number of members can give, is a no, as is a probability of exactly 0.5.
    - `ptc_mode`, predict then combine sets: the set of labels (the whole row of votes) that most members predict. Among
      equally frequent sets the one is taken that all members together find most probable: the mean over members and labels
      of p where the set has the label and 1 - p where it has not. Should that be equal too, the earlier member decides.

    Args:
        rule: "ctp", "ptc_lw" or "ptc_mode".
        probabilities: one (n, k) array per member, in [0, 1].

    Returns:
        (n, k) float32: probabilities for `ctp`, votes of 0 and 1 for the other rules.

    Raises:
        ThoraxError: no members, an unknown rule, or arrays of different shape.
    """
    if not probabilities or len({array.shape for array in probabilities}) != 1:
        raise ThoraxError("An ensemble needs members with the same images and classes: predict all members again.")
    stacked = np.stack([np.asarray(array, np.float64) for array in probabilities])
    if rule not in _RULES:
        raise ThoraxError(f"Ensemble rule {rule!r} is not known: choose one of {', '.join(_RULES)}.")
    return _RULES[rule](stacked).astype(np.float32)


def _mean(stacked: np.ndarray) -> np.ndarray:
    return stacked.mean(axis=0)


def _label_majority(stacked: np.ndarray) -> np.ndarray:
    return 2 * (stacked > _THRESHOLD).sum(axis=0) > len(stacked)


def _most_frequent_set(stacked: np.ndarray) -> np.ndarray:
    """Return the winning votes, (n, k), from (members, n, k) probabilities."""
    votes = stacked > _THRESHOLD
    frequency = np.stack([(votes == own).all(axis=2).sum(axis=0) for own in votes])  # (members, n)
    mean = stacked.mean(axis=0)
    agreement = np.stack([np.where(own, mean, 1 - mean).mean(axis=1) for own in votes]).round(_SAME)
    agreement[frequency < frequency.max(axis=0)] = -1
    winner = agreement.argmax(axis=0)  # the first of equals
    return votes[winner, np.arange(votes.shape[1])]


_RULES = {"ctp": _mean, "ptc_lw": _label_majority, "ptc_mode": _most_frequent_set}


def make_ensemble(settings: config.Ensemble, predictions: list[Path], out: Path) -> None:
    """Combine the logits of the members and write the ensemble's scores.

    Args:
        settings: the rule and the members' names.
        predictions: the members' tables of logits, in the order of `settings.members`.
        out: the `catalog.scores_schema` table to write: probabilities (`ctp`) or votes.

    Raises:
        ThoraxError: a member's table lacks, or has other images, splits or classes than the first, or has a logit that is
            not a number.
    """
    if len(predictions) != len(settings.members):
        raise ThoraxError(
            f"The ensemble has {len(settings.members)} members but was given {len(predictions)} tables: give one for each."
        )
    first = store.read_table(predictions[0], needs=("image_id", "split")).sort_values("image_id", ignore_index=True)
    classes = class_columns(first)
    members = [_probabilities(path, first, classes, predictions[0]) for path in predictions]
    combined = pd.DataFrame(combine(settings.rule, members), columns=classes)
    store.write_table(pd.concat([first[["image_id", "split"]], combined], axis=1), out, scores_schema(classes))


def _probabilities(path: Path, first: pd.DataFrame, classes: list[str], first_path: Path) -> np.ndarray:
    """Read one member's logits and return its (n, k) probabilities in the order of the first member's table."""
    table = store.read_table(path, needs=("image_id", "split")).sort_values("image_id", ignore_index=True)
    if sorted(class_columns(table)) != sorted(classes):
        other = sorted(set(class_columns(table)) ^ set(classes))[0]
        raise ThoraxError(f"{path} and {first_path} do not have the same classes ({other!r} is in one only): predict again.")
    if not table[["image_id", "split"]].equals(first[["image_id", "split"]]):
        raise ThoraxError(f"{path} and {first_path} do not have the same images in the same parts: predict again.")
    logits = table[classes].to_numpy()
    if not np.isfinite(logits).all():
        image = table["image_id"][~np.isfinite(logits).all(axis=1)].iloc[0]
        raise ThoraxError(
            f"{path}: the logits of image {image!r} are not all numbers, so its training diverged; train it again."
        )
    return sigmoid(logits)
