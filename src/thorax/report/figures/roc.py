"""ROC curves of one model on the test images, one per class (Kejriwal et al., section IV D and Figure 4)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thorax.evaluation import metrics
from thorax.report.figures import style
from thorax.report.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION
from thorax.report.tables import results
from thorax.storage.joins import Source
from thorax.storage.schemas import IGNORED

LINES = [(colour, "-") for colour in (BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, "black")] + [(GREY, "--")]
PANELS_PER_ROW = 5  # where there are more classes than lines can be told apart
NAME_LINE, LEGEND_LINE = 26, 40  # characters over a panel and in the legend
# The edge of a reader's point
EDGE: dict[str, Any] = {"markeredgecolor": "black", "markeredgewidth": 0.4, "clip_on": False, "zorder": 3}
ALARMS, FOUND = "false positive rate", "true positive rate"


@dataclass(frozen=True)
class Curve:
    """The curve of one class: a point (p, 2) of false and true positive rate for each distinct score, from (0, 0) to (1, 1)."""

    name: str
    positives: int  # images that have the class
    points: np.ndarray
    area: float
    readers: tuple[tuple[float, float], ...] = ()  # false and true positive rate of each reader; the last is their majority


def roc_points(labels: np.ndarray, scores: np.ndarray) -> np.ndarray | None:
    """The points of `Curve` for labels (n,) of 1, 0 and -1 (ignored); None without positives or without negatives."""
    from sklearn.metrics import roc_curve

    known = labels != IGNORED
    if len(set(labels[known])) < 2:
        return None
    alarms, found, _ = roc_curve(labels[known], scores[known], drop_intermediate=False)
    return np.stack([alarms, found], axis=1)


def roc_curves(labels: Source, split: Source, scores: Source, logits: bool, model: str, title: str, provenance: str) -> Figure:
    """Draw the ROC curves of one model on the test images."""
    truth, table = metrics.read_scores(labels, split, scores, logits)
    test = (truth["split"] == "test").to_numpy()
    curves, without = [], []
    for name in table.columns:
        right, said = truth[name].to_numpy()[test], table[name].to_numpy()[test]
        points = roc_points(right, said)
        if points is None:
            without.append(name)
        else:
            curves.append(Curve(name, int((right == 1).sum()), points, metrics.auc(right, said)))
    heading = f"{title}\n{results.PROVENANCE[provenance]}\n{model} on {test.sum():,} test images"
    areas = style.extremes(pd.Series({curve.name: curve.area for curve in curves}, dtype=float))
    return style.described(
        draw_curves(curves, without, heading), f"ROC curves of {results.count_of_classes(len(curves))}, AUC {areas}"
    )


def draw_curves(curves: Sequence[Curve], without: Sequence[str], title: str) -> Figure:
    """Draw curves, the largest area first: in one panel, or each in its own if there are more than eight, or readers.

    `without` are the classes that have none.
    """
    ranked = sorted(curves, key=lambda curve: (-curve.area, curve.name))
    together = len(ranked) <= len(LINES) and not any(curve.readers for curve in ranked)
    across, down = (1, 1) if together else (PANELS_PER_ROW, math.ceil(len(ranked) / PANELS_PER_ROW))
    width, height = (7.5, 4.2 if ranked else 0.3) if together else (1.6 * across + 0.5, 1.95 * down + 0.3)
    heading = f"{title}: no class has an AUC"
    if ranked:
        mean = np.mean([curve.area for curve in ranked])
        heading = f"{title}: mean AUC {mean:.3f} of {len(ranked)} {'class' if len(ranked) == 1 else 'classes'}"
    if without:
        heading += f"\nNo curve, as the test images lack positives or negatives: {', '.join(without)}"
    with style.drawing_below(width, height, heading) as figure:
        if together and ranked:
            _draw_together(figure.subplots(), ranked)
        elif ranked:
            _draw_each(figure.subplots(down, across, squeeze=False), ranked)
            figure.supxlabel(ALARMS, fontsize=9)
            figure.supylabel(FOUND, fontsize=9)
    return figure


def _draw_together(axes: Axes, curves: Sequence[Curve]) -> None:
    lines = [
        axes.plot(*curve.points.T, color=colour, linestyle=dashes, linewidth=1.4)[0]
        for curve, (colour, dashes) in zip(curves, LINES, strict=False)
    ]
    _draw_frame(axes)
    axes.set(xlabel=ALARMS, ylabel=FOUND)
    names = [_label(curve, LEGEND_LINE) for curve in curves]
    # not as the lines' own labels, since those that begin with _ would get no entry
    axes.legend(lines, names, loc="upper left", bbox_to_anchor=(1.02, 1), fontsize=8, borderaxespad=0)


def _draw_each(grid: np.ndarray, curves: Sequence[Curve]) -> None:
    for number, axes in enumerate(grid.flat):
        if number >= len(curves):
            axes.set_axis_off()
            continue
        curve = curves[number]
        axes.plot(*curve.points.T, color=BLUE, linewidth=1.2)
        for point in curve.readers[:-1]:
            axes.plot(*point, "o", color=ORANGE, markersize=4, **EDGE)
        if curve.readers:
            axes.plot(*curve.readers[-1], "D", color=VERMILION, markersize=5, **EDGE)
        _draw_frame(axes)
        axes.set_title(_label(curve, NAME_LINE), fontsize=7.5)
        lowest = number + grid.shape[1] >= len(curves)
        axes.tick_params(labelsize=7.5, labelbottom=lowest, labelleft=number % grid.shape[1] == 0)


def _draw_frame(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")  # chance
    axes.set(aspect="equal", anchor="W", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])


def _label(curve: Curve, width: int) -> str:
    """The class in at most two lines, its AUC and its images."""
    first, *others = style.wrapped(curve.name, width)
    second = [style.shortened(" ".join(others), width)] if others else []
    number = f"{curve.positives:,} positive{'' if curve.positives == 1 else 's'}"
    return "\n".join([first, *second, f"AUC {curve.area:.3f}, {number}"])
