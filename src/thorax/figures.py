"""Figures of the paper, as PNG and SVG: the common look, preprocessing steps and training curves.

The same inputs give the same bytes: no dates, a fixed hash salt, and matplotlib's own defaults whatever the user's
matplotlibrc says. Figures are built without pyplot, so nothing global is left behind.
"""

import io
import math
import re
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd

from thorax import fonts, images, store, typeset
from thorax.catalog import EPOCHS_COLUMNS, HISTORY_COLUMNS, SPLIT_NAMES
from thorax.errors import ThoraxError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

# Okabe and Ito's palette, which people with any kind of colour blindness can tell apart
BLUE, SKY, GREEN, YELLOW = "#0072B2", "#56B4E9", "#009E73", "#F0E442"
ORANGE, VERMILION, PURPLE, GREY = "#E69F00", "#D55E00", "#CC79A7", "#666666"
SPLIT_COLOURS = dict(zip(SPLIT_NAMES, (BLUE, SKY, ORANGE), strict=True))

DPI = 150
LOG_FROM = 30  # an axis is logarithmic where the largest value exceeds the smallest so many times
CURVES_PER_ROW = 5
F1_SIDES = {"f1": "mean of both sides", "f1_positive": "positive side"}  # which F1 an axis shows
THRESHOLD_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION)
STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "legend.frameon": False,
    "svg.hashsalt": "thorax",
    "text.parse_math": False,  # titles and names are the user's, and a $ in them is a dollar
}
HEADING_SIZE = 10.8  # points
LETTER = 0.58  # mean width of a letter, as a share of the font size
PHOTO_QUALITY = 90  # of 100, of radiographs in pages
LARGEST_SIDE = 16383  # pixels of a WebP picture


@contextmanager
def style() -> Iterator[None]:
    """The project's look, on top of matplotlib's defaults."""
    import matplotlib.style

    with matplotlib.style.context(["default", STYLE]):
        yield


def save(figure: "Figure", out: Path, title: str, photos: bool = False) -> None:
    """Write `out` + .png, .svg and .html, a page of the same picture for the report.

    Args:
        figure: what is drawn.
        out: path without suffix.
        title: heading of the page.
        photos: whether the figure shows radiographs; see `webp_pictures`.
    """
    store_as = {".png": {"Software": None}, ".svg": {"Date": None}}
    with style():
        fonts.cover(figure)
        for suffix, metadata in store_as.items():
            with store.atomic(out.with_name(out.name + suffix)) as temporary:
                figure.savefig(temporary, format=suffix[1:], dpi=DPI, metadata=metadata)
    store.write_text(typeset.picture_page(title, webp_pictures(figure, photos)), out.with_name(out.name + ".html"))


def png_bytes(figure: "Figure", dpi: int = DPI) -> bytes:
    """The figure as the bytes of a PNG, for a notebook to show."""
    buffer = io.BytesIO()
    with style():
        fonts.cover(figure)
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def webp_pictures(figure: "Figure", photos: bool = False) -> list[bytes]:
    """The figure as WebP, a fraction of a PNG's size: one picture, or several strips where it is too tall for the format.

    Args:
        figure: what is drawn.
        photos: whether it shows radiographs, which are stored with a small loss; drawings are stored exactly.
    """
    whole = pixels(figure, min(DPI, int(LARGEST_SIDE / figure.get_figwidth())))
    quality = PHOTO_QUALITY if photos else 101  # OpenCV's word for no loss
    return [
        cv2.imencode(
            ".webp", cv2.cvtColor(whole[top : top + LARGEST_SIDE], cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, quality]
        )[1].tobytes()
        for top in range(0, len(whole), LARGEST_SIDE)
    ]


def pixels(figure: "Figure", dpi: int = DPI) -> np.ndarray:
    """The figure as (h, w, 3) uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with style():
        fonts.cover(figure)
        figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def fit(text: str, inches: float, size: float = HEADING_SIZE) -> str:
    """Break the lines of a text that are wider than a figure.

    Args:
        text: lines.
        inches: width of the figure.
        size: of the letters in points.
    """
    most = max(int(72 * inches / (LETTER * size)), 1)
    return "\n".join("\n".join(wrapped(line, most)) or line for line in text.split("\n"))


def wrapped(text: str, width: int) -> list[str]:
    """Lines of a text that are no wider than `width` letters; those of Chinese, Japanese and Korean count twice."""
    pad = "\ue000"  # after each wide letter; of private use, so that no text has it
    return [line.replace(pad, "") for line in textwrap.wrap(re.sub(r"\S", lambda found: _padded(found[0], pad), text), width)]


def _padded(letter: str, pad: str) -> str:
    return letter + pad if unicodedata.east_asian_width(letter) in "WF" else letter


def shortened(text: str, width: int) -> str:
    """The text, or as much of it as `width` letters hold with three dots."""
    return text if len(wrapped(text, width)) < 2 else f"{wrapped(text, width - 3)[0]}..."


def training_curves(histories: dict[str, Path], title: str, out: Path) -> None:
    """Losses and validation AUC by epoch, one column per member.

    Args:
        histories: CSV files with the columns of `catalog.HISTORY_COLUMNS`, by member.
        title: heading.
        out: figure to write, without suffix.

    Raises:
        ThoraxError: a history is missing, lacks a column or has no epoch.
    """
    read = {name: _read_history(path, HISTORY_COLUMNS) for name, path in histories.items()}
    save(draw_training_curves(read, title), out, title)


def _read_history(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    history = store.read_csv(path)
    absent = [name for name in columns if name not in history.columns]
    if absent or history.empty:
        lack = f"no column {absent[0]!r}" if absent else "no epoch"
        raise ThoraxError(f"{path} has {lack}: delete it and train the member again.")
    return history


def draw_training_curves(histories: dict[str, pd.DataFrame], title: str) -> "Figure":
    """Draw `training_curves`: losses above, validation AUC below; the epoch with the smallest val_loss is marked."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    across = min(len(histories), CURVES_PER_ROW)
    blocks = math.ceil(len(histories) / across)
    with style():
        figure = Figure(figsize=(max(1.9 * across + 0.5, 4.2), 3.4 * blocks + 0.5), layout="constrained")
        figure.suptitle(fit(title, figure.get_figwidth()), x=0.01, ha="left")
        grid = figure.add_gridspec(2 * blocks, across)
        first: list[Axes | None] = [None, None]  # whose scale the others share
        for index, (name, history) in enumerate(histories.items()):
            block, column = divmod(index, across)
            above = figure.add_subplot(grid[2 * block, column], sharey=first[0])
            below = figure.add_subplot(grid[2 * block + 1, column], sharey=first[1], sharex=above)
            first = [first[0] or above, first[1] or below]
            _draw_losses(above, history, name)
            _draw_auc(below, history)
            below.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
            for axes, label in ((above, "loss"), (below, "validation AUC")):
                axes.set_ylabel(label if column == 0 else "")
                axes.tick_params(labelleft=column == 0, labelbottom=axes is below)
        if _is_wide(list(histories.values())):
            log_scale(above)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=3)
    return figure


def log_scale(axes: "Axes") -> None:
    """Make the vertical axis logarithmic, with its numbers in plain text."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _is_wide(histories: list[pd.DataFrame]) -> bool:
    losses = np.concatenate([history[["loss", "val_loss"]].to_numpy(float).ravel() for history in histories])
    losses = losses[np.isfinite(losses)]
    return bool(losses.size and losses.min() > 0 and losses.max() > LOG_FROM * losses.min())


def _draw_losses(axes: "Axes", history: pd.DataFrame, name: str) -> None:
    axes.plot(history["epoch"], history["loss"], color=BLUE, marker=".", markersize=4, linewidth=1.3, label="training")
    axes.plot(
        history["epoch"], history["val_loss"], color=VERMILION, marker=".", markersize=4, linewidth=1.3, label="validation"
    )
    if history["val_loss"].notna().any():
        best = history.loc[history["val_loss"].idxmin()]
        circle: dict[str, Any] = {"marker": "o", "markersize": 8, "markerfacecolor": "none", "linestyle": "none"}
        axes.plot(best["epoch"], best["val_loss"], color="black", label="epoch that is kept", **circle)
    axes.set_title(name, fontsize=9)


def _draw_auc(axes: "Axes", history: pd.DataFrame) -> None:
    axes.plot(history["epoch"], history["val_auc"], color=VERMILION, marker=".", markersize=4, linewidth=1.3)
    axes.axhline(0.5, color=GREY, linewidth=0.8, linestyle=":")  # chance
    axes.set_xlabel("epoch")


def epoch_curves(epochs: dict[str, Path], title: str, out: Path, f1_metric: str = "f1") -> None:
    """Figure 2 of Dunn Beltran and Alsaghier 2022: AUC and F1 of the test images by epoch, one line per threshold.

    Args:
        epochs: CSV files with the columns of `catalog.EPOCHS_COLUMNS`, by member.
        title: heading.
        out: figure to write, without suffix.
        f1_metric: which F1 is drawn, f1 (mean of both sides) or f1_positive.

    Raises:
        ThoraxError: a file is missing, lacks a column or has no epoch.
    """
    read = {name: _read_history(path, EPOCHS_COLUMNS) for name, path in epochs.items()}
    save(draw_epoch_curves(read, title, f1_metric), out, title)


def draw_epoch_curves(epochs: dict[str, pd.DataFrame], title: str, f1_metric: str = "f1") -> "Figure":
    """Draw `epoch_curves`, one column per member: AUC of the decisions and of the probabilities above, F1 below."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    thresholds = sorted({limit for frame in epochs.values() for limit in frame["threshold"].dropna()})
    colours = {limit: THRESHOLD_COLOURS[place % len(THRESHOLD_COLOURS)] for place, limit in enumerate(thresholds)}
    with style():
        figure = Figure(figsize=(max(3.2 * len(epochs) + 0.5, 5), 5.4), layout="constrained")
        figure.suptitle(fit(title, figure.get_figwidth()), x=0.01, ha="left")
        grid = figure.subplots(2, len(epochs), sharex=True, sharey="row", squeeze=False)
        for (above, below), (name, frame) in zip(grid.T, epochs.items(), strict=True):
            whole = frame[frame["threshold"].isna()]
            above.plot(whole["epoch"], whole["auc"], color=GREY, linestyle="--", linewidth=1.3, label="of the probabilities")
            for limit, rows in frame.groupby("threshold"):
                for axes, metric in ((above, "auc"), (below, f1_metric)):
                    line = {"color": colours[limit], "marker": ".", "markersize": 4, "linewidth": 1.3}
                    axes.plot(rows["epoch"], rows[metric], label=f"threshold {limit:g}", **line)
            above.axhline(0.5, color=GREY, linewidth=0.8, linestyle=":")  # chance
            above.set_title(name, fontsize=9)
            below.set_xlabel("epoch")
            below.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        grid[0, 0].set_ylabel("test AUC")
        grid[1, 0].set_ylabel(f"test F1, {F1_SIDES[f1_metric]}")
        lines = {line.get_label(): line for axes in grid[0] for line in axes.lines if not line.get_label().startswith("_")}
        names = ["of the probabilities", *(f"threshold {limit:g}" for limit in thresholds)]
        figure.legend([lines[name] for name in names], names, loc="outside lower left", ncols=2)
    return figure


def make_lungs_figure(
    catalog: Path,
    ingested: Path,
    arrays: Sequence[Path],
    lungs: Sequence[Path],
    masks: Sequence[Path],
    network_inputs: Sequence[Path],
    seed: int,
    out: Path,
    count: int = 6,
) -> None:
    """Figure 3 of Liz et al. 2022 for several random images: original, lung mask, crop with mask, network input.

    Where an image was flagged, at least one such image is among the cases, so that the figure shows what goes wrong too.

    Args:
        catalog, ingested: tables of the data set.
        arrays, lungs, masks, network_inputs: ingested arrays, tables of crop boxes, masks and training images, one file
            per shard, in the order of the shards.
        seed: of the choice.
        out: figure to write, without suffix.
        count: number of cases.

    Raises:
        ThoraxError: the lungs are not those of the ingested images.
    """
    boxes = pd.concat([store.read_table(path) for path in lungs], ignore_index=True)
    sizes = store.read_table(ingested, ["image_id", "rows", "columns", "shard", "row"])
    cases = boxes.merge(sizes[sizes["row"] >= 0], on="image_id").merge(
        store.read_table(catalog, ["image_id", "view"]), on="image_id"
    )
    if not len(cases) == len(boxes) > 0:
        raise ThoraxError(f"{lungs[0]} and the tables beside it do not belong to {ingested}: delete and remake them.")
    cases = cases.set_index("image_id").loc[choose_lung_cases(boxes, count, seed)].reset_index()
    packed = [store.PackedImages(paths) for paths in (arrays, masks, network_inputs)]
    places = list(zip(cases["shard"], cases["row"], strict=True))
    shown = list(zip(*([array[place] for place in places] for array in packed), strict=True))
    save(draw_lungs(cases, shown), out, "From original to network input", photos=True)


def choose_lung_cases(lungs: pd.DataFrame, count: int, seed: int) -> list[str]:
    """Identifiers of random images, credible ones first, with one flagged image in six (at least one) where there are any."""
    generator = np.random.default_rng(seed)
    credible, flagged = (sorted(lungs.loc[lungs["credible"] == wanted, "image_id"]) for wanted in (True, False))
    number = min(len(flagged), max(1, count // 6, count - len(credible)))
    chosen = [credible[index] for index in generator.permutation(len(credible))[: count - number]]
    return chosen + [flagged[index] for index in generator.permutation(len(flagged))[:number]]


def draw_lungs(cases: pd.DataFrame, arrays: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> "Figure":
    """Draw one row of four panels per case.

    Args:
        cases: columns image_id, view, rows, columns (the original's size), x0, y0, x1, y1, credible, flag.
        arrays: for each case the ingested image (512 x 512 uint8), the lung mask (any size, above 0 = lung) and the
            network's input (uint8, or uint16 where it holds stored values).
    """
    from matplotlib.figure import Figure

    height = 0.4 + 2.25 * len(cases)  # inches: the names of the columns, then a line of text and a square panel per case
    with style():
        figure = Figure(figsize=(8, height))
        grid = figure.subplots(len(cases), 4, squeeze=False)
        figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=1 - 0.6 / height, wspace=0.05, hspace=0.15)
        side = arrays[0][2].shape[0]
        for axes, name in zip(
            grid[0], ("Original", "Lung mask and crop box", "Crop with mask", f"Network input, {side} x {side}"), strict=True
        ):
            figure.text(axes.get_position().x0, 1 - 0.1 / height, name, va="top", fontsize=10)
        for axes, case, panels in zip(grid, cases.itertuples(), arrays, strict=True):
            _draw_lungs_case(axes, case, *panels)
    return figure


def _draw_lungs_case(axes: np.ndarray, case: Any, squashed: np.ndarray, mask: np.ndarray, network_input: np.ndarray) -> None:
    box = (case.x0, case.y0, case.x1, case.y1)
    original = images.restore_aspect(squashed, case.rows, case.columns)
    outline = images.resize((mask > 0).astype(np.float32), *original.shape)
    for panel, shown in zip(axes, (original, original, images.crop(original, box), network_input), strict=True):
        panel.imshow(shown, cmap="gray", vmin=0, vmax=255 if shown.dtype == np.uint8 else shown.max())
        panel.set_anchor("NW")
        panel.set_axis_off()
    axes[0].set_title(f"{case.image_id}, view {case.view}", fontsize=7)
    axes[2].set_title("" if case.credible else f"not credible, whole image used: {case.flag}", fontsize=7, color=VERMILION)
    _draw_mask(axes[1], outline, SKY)
    axes[1].add_patch(rectangle(*images.box_pixels(box, *original.shape), ORANGE, linestyle="--"))
    _draw_mask(axes[2], images.crop(outline, box), SKY)


def _draw_mask(axes: "Axes", mask: np.ndarray, colour: str) -> None:
    """Outline and light fill of a mask of floats; nothing where it is empty."""
    if mask.max() > 0.5 > mask.min():
        axes.contourf(mask, levels=[0.5, 2], colors=[colour], alpha=0.25)
        axes.contour(mask, levels=[0.5], colors=[colour], linewidths=1)


def rectangle(left: float, top: float, right: float, bottom: float, colour: str, **line: Any) -> "Rectangle":
    """The outline of a box whose edges are in pixels, for an image drawn by imshow."""
    from matplotlib.patches import Rectangle

    # pixel centres have whole coordinates, so a pixel's edge lies half a pixel before it
    return Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=1, **line)
