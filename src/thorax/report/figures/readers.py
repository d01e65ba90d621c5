"""ROC curves of one model with the points of several readers, by class (as in Rajpurkar et al. 2018 and Irvin et al. 2019)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from thorax.config import Experts
from thorax.evaluation import metrics
from thorax.evaluation.readers import below_curve, majorities
from thorax.report.figures import style
from thorax.report.figures.roc import Curve, draw_curves, roc_points
from thorax.report.tables import results
from thorax.report.tables.readers import answers_of
from thorax.storage.joins import Source
from thorax.storage.schemas import IGNORED


def readers_curves(
    labels: Source, split: Source, scores: Source, logits: bool, model: str, experts: dict[str, Any], title: str, provenance: str
) -> Figure:  # fmt: skip
    """Draw the readers of the block `experts` on the ROC curves of one model, on the test images that a reader has read."""
    truth, table = metrics.read_scores(labels, split, scores, logits)
    test = truth["split"] == "test"
    answers = answers_of(Experts.model_validate(experts), truth[test])
    return draw_readers(truth[test], table[test], answers, f"{title}\n{results.PROVENANCE[provenance]}", model)


def draw_readers(
    truth: pd.DataFrame, scores: pd.DataFrame, answers: Mapping[str, pd.DataFrame], title: str, model: str
) -> Figure:
    """Draw curves against the labels (n, k) of the images that a reader has read, with a point for each reader and their majority.

    A reader's point is of the images that this reader has read.
    """
    read = np.any([(table != IGNORED).any(axis=1) for table in answers.values()], axis=0)
    marked = {**answers, "majority": majorities(answers)}
    curves, without = [], []
    for name in next(iter(answers.values())):
        right, said = truth.loc[read, name].to_numpy(), scores.loc[read, name].to_numpy()
        points = roc_points(right, said)
        if points is None:
            without.append(name)
            continue
        places = [below_curve(right, said, table.loc[read, name].to_numpy()) for table in marked.values()]
        shown = tuple((1 - specificity, sensitivity) for sensitivity, specificity, _ in places)
        curves.append(Curve(name, int((right == 1).sum()), points, metrics.auc(right, said), shown))
    size = f"{model} on the {read.sum():,} of {len(read):,} test images that {len(answers)} readers have read"
    seen = (
        f"ROC curves of {results.count_of_classes(len(curves))} with the points of {len(answers)} readers and of their majority"
    )
    figure = draw_curves(curves, without, f"{title}\nCircles: readers; diamond: their majority\n{size}")
    return style.described(figure, seen)
