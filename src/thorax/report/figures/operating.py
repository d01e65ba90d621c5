"""ROC and precision-recall curves of the best model, with its operating points and their intervals, by class."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve

from thorax.evaluation.metrics import GLOBAL, read_models, row_name
from thorax.report.figures import style
from thorax.report.figures.reliability import MOST_CLASSES, chosen_model, heading_lines
from thorax.report.figures.roc import ALARMS, FOUND, roc_points
from thorax.report.figures.style import BLUE, GREY, ORANGE, PURPLE, VERMILION
from thorax.report.tables import results
from thorax.report.tables.operating import named_point
from thorax.storage import store
from thorax.storage.joins import Source
from thorax.storage.schemas import class_columns

CLASSES_PER_ROW = 3  # each with two panels
MARKS = ((ORANGE, "o"), (VERMILION, "s"), (PURPLE, "^"))  # of the operating points
NAME_LINE = 27


@dataclass(frozen=True)
class Curves:
    """The curves of one class, and its rows of the table of operating points."""

    name: str
    roc: np.ndarray  # (p, 2) false and true positive rate
    precision: np.ndarray  # (p, 2) recall and precision
    points: pd.DataFrame


def operating_figure(
    labels: Source, split: Source, predictions: Mapping[str, Source], ensembles: Mapping[str, Source], chosen: Source, title: str,
    provenance: str,
) -> Figure:  # fmt: skip
    """Draw the curves of the model of `chosen`, the CSV file of operating points, on the test images."""
    model, order = chosen_model(chosen)
    truth, models = read_models(labels, split, predictions, ensembles, model)
    points = store.read_csv(chosen, converters={"class": str})
    test = (truth["split"] == "test").to_numpy()
    drawn, without = [], []
    for name in sorted(class_columns(truth), key=lambda name: order.index(row_name(name))):
        right, said = truth.loc[test, name].to_numpy(), models[str(model)].loc[test, name].to_numpy()
        roc = roc_points(right, said)
        if roc is None:
            without.append(name)
            continue
        precision, recall, _ = precision_recall_curve(right[right >= 0], said[right >= 0])
        drawn.append(Curves(name, roc, np.stack([recall, precision], axis=1), points[points["class"] == row_name(name)]))
    heading = heading_lines(title, provenance, str(model), truth["patient_id"][test], len(drawn))
    if without:
        heading.append(f"No curve, as the test images lack positives or negatives: {', '.join(without)}")
    of_all = points[points["class"] == GLOBAL].iloc[0]
    means = f"mean AUC {of_all['auc']:.3f}, mean average precision {of_all['average_precision']:.3f}" if drawn else "no curve"
    seen = f"ROC and precision-recall curves of {results.count_of_classes(len(drawn[:MOST_CLASSES]))} with operating points; {means}"
    return style.described(draw_operating(drawn[:MOST_CLASSES], "\n".join(heading)), seen)


def draw_operating(drawn: Sequence[Curves], heading: str) -> Figure:
    """Draw two panels for each class, three classes in a row."""
    across, down = 2 * CLASSES_PER_ROW, math.ceil(len(drawn) / CLASSES_PER_ROW)
    width, height = 1.45 * across + 0.3, 2.05 * down + 0.4
    with style.drawing_below(width, height, heading) as figure:
        if drawn:
            grid = figure.subplots(down, across, squeeze=False)
            for axes in grid.flat[2 * len(drawn) :]:
                axes.set_axis_off()
            for number, (curves, (left, right)) in enumerate(zip(drawn, grid.reshape(-1, 2), strict=False)):
                _draw(left, right, curves)
                first, last = number % CLASSES_PER_ROW == 0, number + CLASSES_PER_ROW >= len(drawn)
                # Names and numbers are on the outer panels only
                for axes, across_name, up in ((left, ALARMS, FOUND), (right, "recall", "precision")):
                    axes.set_xlabel(across_name if last else "", fontsize=7.5, labelpad=1)
                    axes.set_ylabel(up if first else "", fontsize=7.5, labelpad=1)
                    axes.tick_params(labelsize=7.5, labelbottom=last, labelleft=first)
            handles, said = figure.axes[0].get_legend_handles_labels()
            figure.legend(handles, said, loc="outside lower left", ncols=len(said), fontsize=8)
    return figure


def _draw(left: Axes, right: Axes, curves: Curves) -> None:
    first = curves.points.iloc[0]
    prevalence = first["positives"] / first["images"]
    left.plot(*curves.roc.T, color=BLUE, linewidth=1.1)
    left.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    right.plot(*curves.precision.T, color=BLUE, linewidth=1.1, drawstyle="steps-post")  # as average precision sums it
    right.axhline(prevalence, color=GREY, linewidth=0.8, linestyle=":")
    for (_, point), (colour, marker) in zip(curves.points.iterrows(), MARKS, strict=False):
        alarms = tuple(1 - point[["specificity", "specificity high", "specificity low"]])
        found, right_share = (tuple(point[[name, f"{name} low", f"{name} high"]]) for name in ("sensitivity", "precision"))
        for axes, x, y in ((left, alarms, found), (right, found, right_share)):
            axes.hlines(y[0], x[1], x[2], color=colour, linewidth=0.9)
            axes.vlines(x[0], y[1], y[2], color=colour, linewidth=0.9)
            axes.plot(x[0], y[0], marker, color=colour, markersize=3.5, label=named_point(point["threshold_rule"]))
    for axes in (left, right):
        axes.set(aspect="equal", anchor="W", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    name = style.shortened(curves.name, NAME_LINE)
    left.set_title(f"{name}\nAUC {first['auc']:.3f}", fontsize=7.5)
    right.set_title(f"{int(first['positives']):,} positives\nAP {first['average_precision']:.3f}", fontsize=7.5)
