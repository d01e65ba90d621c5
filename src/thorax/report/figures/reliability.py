"""Reliability diagrams: the share of positives by predicted probability, before and after scaling (Niculescu-Mizil and Caruana 2005)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thorax.evaluation import calibration
from thorax.evaluation.metrics import read_models, row_name
from thorax.report.figures import style
from thorax.report.figures.style import BLUE, GREEN, GREY, ORANGE
from thorax.report.tables import results
from thorax.report.tables.calibration import NOTHING, SCALED
from thorax.storage import store
from thorax.storage.joins import Source
from thorax.storage.schemas import class_columns

PANELS_PER_ROW, MOST_CLASSES = 4, 15  # with all classes together, four rows: what a printed page can hold
LINES = {"none": (BLUE, "o"), "temperature": (ORANGE, "^"), "platt": (GREEN, "s")}  # colour and marker; all differ in both
NAME_LINE = 30  # characters over a panel


@dataclass(frozen=True)
class Panel:
    """The bins (`calibration.reliability`) of one class, or of all, by scaling."""

    name: str
    bins: Mapping[str, pd.DataFrame]

    @property
    def counts(self) -> str:
        """Its images and positives, and how many images a bin has."""
        of_bins = self.bins["none"]["images"]
        each = f"{of_bins.min():,}" if of_bins.min() == of_bins.max() else f"{of_bins.min():,} to {of_bins.max():,}"
        return f"{of_bins.sum():,} labels, {self.bins['none']['positives'].sum():,} positive\n{each} in each of {len(of_bins)} bins"


def chosen_model(chosen: Source) -> tuple[str | None, list[str]]:
    """The model of a table that has one row or more for each class, and the classes in its order; None if there is no model."""
    table = store.read_csv(chosen, converters={"class": str, "model": str})
    names = list(dict.fromkeys(table["class"]))
    return (str(table["model"].iloc[0]), names) if names else (None, [])


def heading_lines(title: str, provenance: str, model: str, patients: pd.Series, classes: int) -> list[str]:
    """The heading of a figure of the first `MOST_CLASSES` of the classes of one model; `patients` has that of each test image."""
    lines = [title, results.PROVENANCE[provenance]]
    lines.append(f"{model} on {len(patients):,} test images of {patients.nunique():,} patients")
    if classes > MOST_CLASSES:
        rest = classes - MOST_CLASSES
        lines.append(f"The {MOST_CLASSES} classes with the most positives; the table has the other {rest}")
    return lines


def reliability_figure(
    labels: Source, split: Source, predictions: Mapping[str, Source], ensembles: Mapping[str, Source], scaling: Source, chosen: Source,
    title: str, provenance: str, seed: int = 0, replicates: int = 1000,
) -> Figure:  # fmt: skip
    """Draw the reliability of the model of `chosen` (the table of calibration per class) on the test images."""
    model, order = chosen_model(chosen)
    if model is None:
        return style.described(draw_reliability([], f"{title}\n{NOTHING}"), NOTHING)
    truth, models = read_models(labels, split, predictions, ensembles, model)
    fitted = calibration.read_scaling(scaling, model)
    test = (truth["split"] == "test").to_numpy()
    versions = calibration.versions(models[model], fitted)
    patients = truth["patient_id"][test].to_numpy(object)

    def panel(name: str, classes: Sequence[str]) -> Panel:
        right, whose = truth.loc[test, classes].to_numpy().ravel(), np.repeat(patients, len(classes))
        said = {kind: version.loc[test, classes].to_numpy().ravel() for kind, version in versions.items()}
        return Panel(
            name, {kind: calibration.reliability(right, values, whose, replicates, seed) for kind, values in said.items()}
        )

    classes = sorted(class_columns(truth), key=lambda name: order.index(row_name(name)))
    known = [name for name in classes if (truth.loc[test, name] >= 0).any()]
    panels = [panel("All classes", known), *(panel(name, [name]) for name in known[:MOST_CLASSES])] if known else []
    heading = heading_lines(title, provenance, model, truth["patient_id"][test], len(known))
    if unknown := [name for name in classes if name not in known]:
        heading.append(f"No diagram, as no test image has a known label: {', '.join(unknown)}")
    seen = f"Reliability diagrams of {model}, all classes together and {results.count_of_classes(max(len(panels) - 1, 0))}"
    if panels:
        gaps = {
            SCALED[kind]: abs(bins["probability"] - bins["share"]) @ bins["images"] / bins["images"].sum()
            for kind, bins in panels[0].bins.items()
        }
        seen += "; expected calibration error of all together " + ", ".join(f"{gap:.3f} {kind}" for kind, gap in gaps.items())
    return style.described(draw_reliability(panels, "\n".join(heading)), seen)


def draw_reliability(panels: Sequence[Panel], heading: str) -> Figure:
    """Draw one panel of each; axes go to the largest value, as rare classes have small probabilities."""
    across, down = PANELS_PER_ROW, math.ceil(len(panels) / PANELS_PER_ROW)
    width, height = 1.9 * across + 0.4, 2.45 * down + 0.5
    with style.drawing_below(width, height, heading) as figure:
        if panels:
            grid = figure.subplots(down, across, squeeze=False)
            for axes in grid.flat[len(panels) :]:
                axes.set_axis_off()
            for axes, panel in zip(grid.flat, panels, strict=False):
                _draw(axes, panel)
            for number, axes in enumerate(grid.flat[: len(panels)]):
                if number + across >= len(panels):
                    axes.set_xlabel("mean predicted probability", fontsize=7.5)
                if number % across == 0:
                    axes.set_ylabel("share of positives", fontsize=7.5)
            names = {"before": "before scaling"} | {name: f"after {name} scaling" for name in ("temperature", "Platt")}
            handles, said = figure.axes[0].get_legend_handles_labels()
            figure.legend(handles, [names[name] for name in said], loc="outside lower left", ncols=len(said), fontsize=8)
    return figure


def _draw(axes: Axes, panel: Panel) -> None:
    """One class: a line for each version; the intervals of unscaled and Platt-scaled shares are bars."""
    values = np.concatenate([bins[["probability", "share", "high"]].to_numpy().ravel() for bins in panel.bins.values()])
    end = min(1.0, 1.05 * float(np.nanmax(values)) or 1.0)
    axes.plot([0, end], [0, end], color=GREY, linewidth=0.8, linestyle=":")
    for kind, bins in panel.bins.items():
        colour, marker = LINES[kind]
        x, y = bins["probability"], bins["share"]
        if kind != "temperature":
            axes.vlines(x, bins["low"], bins["high"], color=colour, linewidth=0.7, alpha=0.6)
        axes.plot(x, y, color=colour, marker=marker, markersize=3, linewidth=0.9, label=SCALED[kind])
    axes.set(xlim=(-0.02 * end, end), ylim=(-0.02 * end, end), aspect="equal", anchor="W")
    axes.locator_params(nbins=3)
    first, *others = style.wrapped(panel.name, NAME_LINE)
    name = first if not others else f"{first}\n{style.shortened(' '.join(others), NAME_LINE)}"
    axes.set_title(f"{name}\n{panel.counts}", fontsize=7.5)
    axes.tick_params(labelsize=7.5)
