"""Figure of models tested on the images of archives that they were not trained on."""

from collections.abc import Mapping

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from thorax.archives import ARCHIVES
from thorax.report import cells
from thorax.report.figures import style
from thorax.report.tables.results import PROVENANCE
from thorax.storage import store
from thorax.storage.joins import Source

_CHANCE = 0.5  # the palest shade
_DARK = 0.8  # an AUC above it is written in white


def cross_figure(matrix: Source, archives: Mapping[str, str], title: str) -> Figure:
    """Draw the matrix.csv that `make_cross` wrote; `archives` has a key of `ARCHIVES` by experiment."""
    values = store.read_csv(matrix)
    areas = pd.Series(values["auc"].to_numpy(float), values["trained_on"] + " on " + values["tested_on"])
    return style.described(draw_matrix(values, archives, title), f"Matrix of mean AUCs, {style.extremes(areas)}")


def draw_matrix(values: pd.DataFrame, archives: Mapping[str, str], title: str) -> Figure:
    """Draw mean AUCs as cells, with their intervals; the diagonal is framed. `values` has the columns of matrix.csv."""
    names = list(dict.fromkeys(values["trained_on"]))
    area, low, high = (
        values.pivot(index="trained_on", columns="tested_on", values=key).loc[names, names].to_numpy(float)
        for key in ("auc", "low", "high")
    )
    titles = [ARCHIVES[archives[name]].title for name in names]
    classes = str(values["classes"].iloc[0]).replace("|", ", ") if values["classes"].notna().all() else "no class"
    side = 1.5 * len(names)
    explained = f"Mean AUC over {classes}; framed: on the model's own archive"
    heading = "\n".join([title, explained, PROVENANCE[values["provenance"].iloc[0]]])
    with style.drawing(max(7.0, side + 3.2), side + 1.9, heading) as figure:
        axes = figure.subplots()
        shades = matplotlib.colormaps[style.SHADES].with_extremes(bad="0.9")
        picture = axes.imshow(area, cmap=shades, vmin=_CHANCE, vmax=1)
        for row, column in np.ndindex(area.shape):
            value = area[row, column]
            colour = "white" if value > _DARK else "black"
            axes.text(column, row, cells.printed(value), ha="center", va="bottom", color=colour, fontsize=12)
            if interval := cells.interval(low[row, column], high[row, column], 2):
                axes.text(column, row + 0.1, interval, ha="center", va="top", color=colour, fontsize=8)
        for place in range(len(names)):
            axes.add_patch(style.rectangle(place, place, place + 1, place + 1, style.VERMILION))
        axes.set(xlabel="tested on", ylabel="trained on")
        axes.set_xticks(range(len(names)), titles)
        axes.set_yticks(range(len(names)), titles, rotation=90, va="center")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        bar = figure.colorbar(picture, ax=axes, shrink=0.7, extend="min")
        bar.set_label("mean AUC")
        bar.outline.set_visible(False)
    return figure
