"""Several readers of the same images: how far they agree, what most of them say, and where they are next to a model's ROC curve."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from thorax.evaluation import metrics
from thorax.evaluation.confusion import share
from thorax.storage.schemas import IGNORED

_MEAN = "Classes with both AUCs"


def cohen_kappa(one: np.ndarray, other: np.ndarray) -> float:
    """Return the kappa of Cohen 1960 (Educ Psychol Meas 20:37) of two readers; nan where chance alone makes them agree always.

    Takes (n,) answers of 1, 0 and -1 (ignored, as is then the other's).
    """
    both = (one != IGNORED) & (other != IGNORED)
    first, second = one[both] == 1, other[both] == 1
    if not both.any():
        return np.nan
    by_chance = first.mean() * second.mean() + (1 - first.mean()) * (1 - second.mean())
    return float(share(np.array((first == second).mean() - by_chance), np.array(1 - by_chance)))


def fleiss_kappa(answers: np.ndarray) -> float:
    """Return the kappa of Fleiss 1971 (Psychol Bull 76:378), for any readers of each image; nan where all say the same of all.

    Takes (readers, n) answers of 1, 0 and -1 (not read). Images need two readers at least; where they have different numbers of
    them, agreement is the mean over images, and chance is that of all answers together.
    """
    yes, no = (answers == 1).sum(axis=0), (answers == 0).sum(axis=0)
    count = yes + no
    yes, no, count = (numbers[count >= 2] for numbers in (yes, no, count))
    if not len(count):
        return np.nan
    agreement = ((yes * (yes - 1) + no * (no - 1)) / (count * (count - 1))).mean()
    positive = yes.sum() / count.sum()
    by_chance = positive**2 + (1 - positive) ** 2
    return float(share(np.array(agreement - by_chance), np.array(1 - by_chance)))


def majority(answers: np.ndarray) -> np.ndarray:
    """Return what more than half of the readers say, (n,) int8, from (readers, n) answers; -1 (ignored) where it is a tie."""
    yes, no = (answers == 1).sum(axis=0), (answers == 0).sum(axis=0)
    return np.where(yes > no, 1, np.where(no > yes, 0, IGNORED)).astype(np.int8)


def agreement(labels: pd.DataFrame, readers: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return for each class how far readers agree with each other and their majority with the labels.

    All frames are (n, k) of 1, 0 and -1 (ignored) with the same images and classes. Columns: class, images (with a label and a
    majority), positives of the labels and of the majority among them, fleiss (of the readers), cohen (of labels and majority), and
    pairwise (the mean Cohen's kappa over pairs of readers).
    """
    rows = []
    for name in labels:
        answers = np.stack([table[name].to_numpy() for table in readers.values()])
        truth, most = labels[name].to_numpy(), majority(answers)
        both = (truth != IGNORED) & (most != IGNORED)
        pairs = [cohen_kappa(answers[i], answers[j]) for i in range(len(answers)) for j in range(i)]
        defined = [kappa for kappa in pairs if np.isfinite(kappa)]
        counts = (int(both.sum()), int((truth[both] == 1).sum()), int((most[both] == 1).sum()))
        kappas = (fleiss_kappa(answers), cohen_kappa(truth, most), float(np.mean(defined)) if defined else np.nan)
        rows.append((name, *counts, *kappas))
    columns = ["class", "images", "positives_of_labels", "positives_of_majority", "fleiss", "cohen", "pairwise"]
    return pd.DataFrame(rows, columns=columns)


def below_curve(labels: np.ndarray, scores: np.ndarray, answers: np.ndarray) -> tuple[float, float, float]:
    """Return a reader's sensitivity and specificity, and the sensitivity of a model's ROC curve at this specificity.

    The reader is below the curve where the last is larger than the first. Takes (n,) labels of 1, 0 and -1 (ignored), scores and
    answers of the reader, of 1, 0 and -1 (not read); all three numbers are of the images that the reader has read. Between two
    points of the curve, which is that of all thresholds, its straight line counts. All are nan where positives or negatives lack.
    """
    read = (labels != IGNORED) & (answers != IGNORED)
    y, s, answer = labels[read] == 1, scores[read], answers[read] == 1
    if not y.any() or y.all():
        return (np.nan,) * 3
    limits, false_alarms = np.unique(s), (answer & ~y).sum()  # counts, so that equal rates are found
    hits, alarms = (
        np.append(side.sum() - np.searchsorted(np.sort(s[side]), limits, side="right"), side.sum()) for side in (y, ~y)
    )
    same = hits[alarms == false_alarms]
    at = same.max() if len(same) else np.interp(false_alarms, np.sort(alarms), np.sort(hits))
    return float(answer[y].mean()), float(1 - answer[~y].mean()), float(at / y.sum())


@dataclass(frozen=True)
class Compared:
    """Labels and models next to readers, on the images that a reader has read."""

    readers: list[str]
    read: int  # images
    images: int  # all that were measured
    agreement: pd.DataFrame  # of the function `agreement`
    areas: pd.DataFrame  # model, class, against ("labels" or "majority"), value, low, high: AUCs of the images with both
    points: pd.DataFrame  # model, reader, class, sensitivity, specificity, roc_sensitivity: `below_curve`

    def below(self, model: str, name: str | None = None) -> tuple[int, int]:
        """How many readers are below a model's ROC curve of one class or of all together, and of how many."""
        rows = self.points[(self.points["model"] == model) & ((self.points["class"] == name) | (name is None))].dropna()
        return int((rows["roc_sensitivity"] > rows["sensitivity"]).sum()), len(rows)


def compare(
    truth: pd.DataFrame, scores: Mapping[str, pd.DataFrame], answers: Mapping[str, pd.DataFrame], patients: np.ndarray,
    replicates: int = 1000, seed: int = 0,
) -> Compared:  # fmt: skip
    """Compare readers with labels (n, k) and with models' scores (n, k); all answers have the same images and some of the classes.

    AUCs against labels and against the readers' majority are of the same images, those that have both. Those of class "Global" are
    means over the classes that have both AUCs.
    """
    classes = list(next(iter(answers.values())))
    read = np.any([(table != IGNORED).any(axis=1) for table in answers.values()], axis=0)
    answers = {who: table[read] for who, table in answers.items()}
    labels, most = truth.loc[read, classes], majorities(answers)
    both = {"labels": labels.where((most != IGNORED).to_numpy(), IGNORED).astype(np.int8), "majority": most}
    with_both = [name for name in classes if all({0, 1} <= set(table[name]) for table in both.values())]
    areas, points = [], []
    for model, of_model in scores.items():
        shown = of_model.loc[read, classes]
        for against, answer in both.items():
            how: dict[str, Any] = {"model": model, "split": "test", "replicates": replicates, "seed": seed}
            measured = metrics.evaluate(answer, shown, patients[read], summaries={_MEAN: with_both}, **how)
            measured = measured[(measured["metric"] == "auc") & (measured["class"] != metrics.GLOBAL)]
            areas.append(measured.replace({"class": {_MEAN: metrics.GLOBAL}}).assign(against=against))
        for name in classes:
            for who, table in answers.items():
                point = below_curve(labels[name].to_numpy(), shown[name].to_numpy(), table[name].to_numpy())
                points.append((model, who, name, *point))
    columns = ["model", "reader", "class", "sensitivity", "specificity", "roc_sensitivity"]
    return Compared(
        list(answers), int(read.sum()), len(read), agreement(labels, answers),
        pd.concat(areas, ignore_index=True)[["model", "class", "against", "value", "low", "high"]],
        pd.DataFrame(points, columns=columns),
    )  # fmt: skip


def majorities(answers: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the `majority` of readers for each class, with the rows and columns of their tables."""
    first = next(iter(answers.values()))
    each = {name: majority(np.stack([table[name] for table in answers.values()])) for name in first}
    return pd.DataFrame(each, first.index)
