"""Figures of a training: losses by epoch, and test results after every epoch."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from thorax.errors import ThoraxError
from thorax.report.figures import style
from thorax.report.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION
from thorax.storage import store
from thorax.storage.joins import Source
from thorax.storage.schemas import EPOCHS_COLUMNS, HISTORY_COLUMNS

CURVES_PER_ROW = 5
THRESHOLD_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION)
F1_SIDES = {"f1": "mean of both sides", "f1_positive": "positive side"}  # which F1 an axis shows
LINE: dict[str, Any] = {"marker": ".", "markersize": 4, "linewidth": 1.3}
CIRCLE: dict[str, Any] = {"marker": "o", "markersize": 8, "markerfacecolor": "none", "linestyle": "none"}


def training_curves(histories: Mapping[str, Source], title: str) -> Figure:
    """Draw losses and validation AUC by epoch, one column per member, from CSV files with `schemas.HISTORY_COLUMNS`."""
    read = {name: _read_history(path, HISTORY_COLUMNS) for name, path in histories.items()}
    losses = style.extremes(pd.Series({name: history["val_loss"].min() for name, history in read.items()}))
    networks = f"{len(read)} network{'s' * (len(read) != 1)}"
    seen = f"Loss and validation AUC by epoch of {networks}; smallest validation loss {losses}"
    return style.described(draw_training_curves(read, title), seen)


def _read_history(path: Source, columns: Sequence[str]) -> pd.DataFrame:
    history = store.read_csv(path)
    absent = [name for name in columns if name not in history.columns]
    if absent or history.empty:
        lack = f"no column {absent[0]!r}" if absent else "no epoch"
        raise ThoraxError(f"{path} has {lack}: delete it and train the member again.")
    return history


def draw_training_curves(histories: dict[str, pd.DataFrame], title: str) -> Figure:
    """Draw `training_curves`: losses above, validation AUC below; the epoch with the smallest val_loss is marked."""
    across = min(len(histories), CURVES_PER_ROW)
    blocks = math.ceil(len(histories) / across)
    with style.drawing(max(1.9 * across + 0.5, 4.2), 3.4 * blocks + 0.5, title) as figure:
        grid = figure.add_gridspec(2 * blocks, across)
        first: list[Axes | None] = [None, None]  # whose scale the others share
        for index, (name, history) in enumerate(histories.items()):
            block, column = divmod(index, across)
            above = figure.add_subplot(grid[2 * block, column], sharey=first[0])
            below = figure.add_subplot(grid[2 * block + 1, column], sharey=first[1], sharex=above)
            first = [first[0] or above, first[1] or below]
            above.set_title(name, fontsize=9)
            above.plot(history["epoch"], history["loss"], color=BLUE, label="training", **LINE)
            above.plot(history["epoch"], history["val_loss"], color=VERMILION, label="validation", **LINE)
            if history["val_loss"].notna().any():
                best = history.loc[history["val_loss"].idxmin()]
                above.plot(best["epoch"], best["val_loss"], color="black", label="epoch that is kept", **CIRCLE)
            below.plot(history["epoch"], history["val_auc"], color=VERMILION, **LINE)
            _finish(below, 4, chance=below)
            for axes, label in ((above, "loss"), (below, "validation AUC")):
                axes.set_ylabel(label if column == 0 else "")
                axes.tick_params(labelleft=column == 0, labelbottom=axes is below)
        losses = np.concatenate([history[["loss", "val_loss"]].to_numpy(float).ravel() for history in histories.values()])
        losses = losses[np.isfinite(losses)]
        if losses.size and losses.min() > 0 and losses.max() > style.LOG_FROM * losses.min():
            style.log_scale(above)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=3)
    return figure


def _finish(axes: Axes, ticks: int, chance: Axes) -> None:
    """Name the axis of epochs, with up to `ticks` whole numbers, and draw a line at an AUC of 0.5."""
    chance.axhline(0.5, color=GREY, linewidth=0.8, linestyle=":")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=ticks))


def epoch_curves(epochs: Mapping[str, Source], title: str, f1_metric: str = "f1") -> Figure:
    """Draw AUC and F1 of the test images by epoch (`schemas.EPOCHS_COLUMNS`): Figure 2 of Dunn Beltran and Alsaghier 2022."""
    read = {name: _read_history(path, EPOCHS_COLUMNS) for name, path in epochs.items()}
    last = {name: rows.loc[rows["threshold"].isna(), "auc"].iloc[-1] for name, rows in read.items()}
    seen = f"Test AUC and F1 by epoch; AUC after the last one {style.extremes(pd.Series(last))}"
    return style.described(draw_epoch_curves(read, title, f1_metric), seen)


def draw_epoch_curves(epochs: dict[str, pd.DataFrame], title: str, f1_metric: str = "f1") -> Figure:
    """Draw `epoch_curves`, one column per member: AUC of decisions and of probabilities above, F1 below."""
    thresholds = sorted({limit for frame in epochs.values() for limit in frame["threshold"].dropna()})
    colours = {limit: THRESHOLD_COLOURS[place % len(THRESHOLD_COLOURS)] for place, limit in enumerate(thresholds)}
    with style.drawing(max(3.2 * len(epochs) + 0.5, 5), 5.4, title) as figure:
        grid = figure.subplots(2, len(epochs), sharex=True, sharey="row", squeeze=False)
        for (above, below), (name, frame) in zip(grid.T, epochs.items(), strict=True):
            whole = frame[frame["threshold"].isna()]
            above.plot(whole["epoch"], whole["auc"], color=GREY, linestyle="--", linewidth=1.3, label="of the probabilities")
            for limit, rows in frame.groupby("threshold"):
                for axes, metric in ((above, "auc"), (below, f1_metric)):
                    axes.plot(rows["epoch"], rows[metric], label=f"threshold {limit:g}", color=colours[limit], **LINE)
            above.set_title(name, fontsize=9)
            _finish(below, 6, chance=above)
        grid[0, 0].set_ylabel("test AUC")
        grid[1, 0].set_ylabel(f"test F1, {F1_SIDES[f1_metric]}")
        lines = {line.get_label(): line for axes in grid[0] for line in axes.lines if not line.get_label().startswith("_")}
        names = ["of the probabilities", *(f"threshold {limit:g}" for limit in thresholds)]
        figure.legend([lines[name] for name in names], names, loc="outside lower left", ncols=2)
    return figure
