"""The metrics of groups of images, such as men and women, and how far each group is from all other images."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from thorax.errors import ThoraxError
from thorax.evaluation import metrics
from thorax.evaluation.bootstrap import NO_THRESHOLD, Measured, intervals
from thorax.storage.schemas import IGNORED

BLANK = "(blank)"
SOURCE = "label_source"  # who labelled an image: always a group of its own
FINDINGS = ("0", "1", "2", "3 or more")  # groups by the number of findings
_NO_FINDING = ("no finding", "normal")  # classes that are not one
SINGLE = "a single patient"
NO_GAP = "no gap, as the other images have no positives or no negatives"
VOTES = "votes have no loss"
FEWEST_PATIENTS = 2  # of a group that is measured
_MOST_GROUPS = 12
_OF_AGE = re.compile(r"(?<![A-Za-z])age(?![a-z])|Age(?![a-z])|(?<![A-Z])AGE(?![A-Z])")  # in a column's name, and not in "image"
_AGES = (0, 18, 40, 65)  # where bands of age begin, years
COLUMNS = [
    "column", "group", "images", "patients", "class", "metric", "threshold_rule", "value", "low", "high", "gap", "gap_low", "gap_high",
    "n_positive", "why_blank",
]  # fmt: skip


def grouped(values: pd.Series) -> pd.Series:
    """Return the group of each image as text: the values themselves, or bands of age where a column of many numbers is called so."""
    numbers = pd.to_numeric(values, errors="coerce")
    if values.nunique() > _MOST_GROUPS:
        if not _OF_AGE.search(str(values.name)) or numbers.notna().sum() < values.notna().sum():
            problem = f"The column {values.name!r} has {values.nunique():,} different values, and {_MOST_GROUPS} at most can be groups"
            raise ThoraxError(f"{problem}: put them into groups first.")
        values = _banded(numbers)
    return values.astype("string").fillna(BLANK)


def _banded(ages: pd.Series) -> pd.Series:
    """The band of each age in years; nan where it is not known."""
    names = [f"{low}–{high - 1}" for low, high in pairwise(_AGES)] + [f"{_AGES[-1]} and older"]
    return pd.Series(pd.cut(ages, [*_AGES, np.inf], right=False, labels=names), index=ages.index, name=ages.name)


def read_groups(catalog: pd.DataFrame, truth: pd.DataFrame, wanted: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Return the (n, columns) groups of images by each of the `wanted` columns that has at least two, and sentences on the others.

    `catalog` has the images' rows of `schemas.CATALOG`, `truth` their labels, (n, k) of 1, 0 and -1, both in the same order. Two
    columns are not in the catalog: `folder`, the first part of the path, and `findings`, the number of classes that an image has
    without those that say that there is none. `label_source` always takes part, as labels from physicians and from a program are
    not of the same quality.
    """
    found, notes = {}, []
    for column in dict.fromkeys([*wanted, SOURCE]):
        values = pd.Series(_values(catalog, truth, column).to_numpy(), truth.index, name=column)
        try:
            groups = grouped(values)
        except ThoraxError:  # of a column that the archive decides; a user's own is refused by `evaluate`
            notes.append(
                f"Not by {column}: it has {values.nunique():,} different values, and {_MOST_GROUPS} at most can be groups."
            )
            continue
        if (number := groups.nunique()) > 1:
            found[column] = groups
        elif column in wanted:
            why = f"all images have the same one ({groups.iloc[0]})" if number else "no image"
            notes.append(f"Not by {column}: {why}.")
    return pd.DataFrame(found, index=truth.index), notes


def _values(catalog: pd.DataFrame, truth: pd.DataFrame, column: str) -> pd.Series:
    if column == "folder":
        return catalog["path"].str.extract("^([^/]+)/", expand=False)
    if column == "findings":
        number = (truth.loc[:, [name.lower() not in _NO_FINDING for name in truth]] == 1).sum(axis=1)
        return number.clip(upper=len(FINDINGS) - 1).map(dict(enumerate(FINDINGS)))
    return _banded(catalog[column]) if column == "age" else catalog[column]


def measure(
    labels: pd.DataFrame, scores: pd.DataFrame, patients: np.ndarray, groups: pd.Series, **how: Any
) -> tuple[pd.DataFrame, list[str]]:
    """Measure each group, and its gap: its value minus that of all images outside the group.

    Labels, scores, patients and the options are those of `metrics.measure`; `groups` are (n,) names. Both sides of a gap are measured
    on the same bootstrap samples of all patients, who may have images on both. The gap of "Global" is the mean over the classes that
    have one, so that both sides are means over the same classes. Groups of one patient have rows that say so instead of values.

    Returns rows with the columns `COLUMNS`, and a warning for each class whose pooled AUC is above those of all its groups.
    """
    pooled = metrics.measure(labels, scores, patients, **how)
    rows: list[tuple] = []
    of_groups: dict[str, Measured] = {}
    measured: dict[bytes, Measured] = {}  # by the images; of two groups, each is the other's rest
    for name in sorted(groups.unique()):
        inside = (groups == name).to_numpy()
        head = (groups.name, name, int(inside.sum()), len(set(patients[inside])))
        if head[-1] < FEWEST_PATIENTS:
            positives = int((labels[inside] == 1).sum().sum())
            rows.append((*head, metrics.GLOBAL, "auc", NO_THRESHOLD, *[np.nan] * 6, positives, SINGLE))
            continue
        for side in (inside, ~inside):
            if side.tobytes() not in measured:
                known = labels.mask(pd.Series(~side, labels.index), IGNORED, axis=0).astype(np.int8)
                measured[side.tobytes()] = metrics.measure(known, scores, patients, **how)
        one, rest = measured[inside.tobytes()], measured[(~inside).tobytes()]
        of_groups[name] = one
        for key, point in one.point.items():
            classes = len(point) - one.summaries
            gap, gaps = point - rest.point[key], one.samples[key] - rest.samples[key]
            if classes > 0:
                shared = np.flatnonzero(np.isfinite(gap[:classes]))
                gap[classes], gaps[:, classes] = (
                    values[..., shared].mean(axis=-1) if len(shared) else np.nan for values in (gap, gaps)
                )
            numbers = (point, *intervals(one.samples[key]), gap, *intervals(gaps), one.n_positive[-len(point) :])
            for name_of_class, *found in zip(one.named(key), *numbers, strict=True):
                why = VOTES if key[1] == "loss" else "no positives or no negatives"
                if np.isfinite(found[0]):
                    why = "" if np.isfinite(found[3]) else NO_GAP
                rows.append((*head, name_of_class, key[1], key[0], *found, why))
    return pd.DataFrame(rows, columns=COLUMNS), _confounded(pooled, of_groups, str(groups.name))


def _confounded(pooled: Measured, of_groups: dict[str, Measured], column: str) -> list[str]:
    """Warn where the pooled AUC is above that of every group: the model may recognise the group itself."""
    key = (NO_THRESHOLD, "auc")
    if len(of_groups) < 2:
        return []
    points = np.stack([one.point[key] for one in of_groups.values()])
    samples = np.stack([one.samples[key] for one in of_groups.values()])
    low, _ = intervals(pooled.samples[key] - samples.max(axis=0))
    warnings = []
    for place in np.flatnonzero(np.isfinite(points).all(axis=0) & (low > 0)):
        area, largest = pooled.point[key][place], points[:, place].max()
        if area > largest:
            warnings.append(
                f"{pooled.names[place]}: the pooled AUC of {area:.3f} is above that of every group of {column!r} ({largest:.3f} at"
                " most), so the model may recognise the group instead of the finding; report each group."
            )
    return warnings
