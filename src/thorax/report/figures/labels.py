"""Figures of a label set: how often each class occurs, and which classes occur together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from thorax.errors import refuse_unknown
from thorax.report import published_numbers
from thorax.report.figures import style
from thorax.report.figures.style import BLUE, GREY, SHADES, SPLIT_COLOURS, VERMILION
from thorax.storage import joins, store
from thorax.storage.joins import Source
from thorax.storage.schemas import IGNORED, LEFT_OUT, SPLIT_NAMES, class_columns

NUMBERED_CLASSES = 20  # with more classes, cells are too small for a number in each
FREQUENT = 0.1  # share from which a cell has a number all the same
FEWEST_TOGETHER = 20  # images below which a pair's observed / expected says little
RANKED_PAIRS = 12
NO_CLASS = "none of these"  # counts as the one label of an image without any class


def label_distribution(labels: Source, split: Source, title: str) -> Figure:
    """Figures 5 and 6 of Liz et al. 2022: images by number of labels, and the share of each class."""
    positive, parts = _read_positive(labels, split)
    positive, parts = positive[parts != LEFT_OUT], parts[parts != LEFT_OUT]
    shares = style.extremes(100 * positive.mean(), 1, "%")
    seen = f"Bars: {len(positive):,} images by number of labels, and the share of {positive.shape[1]} classes, {shares}"
    return style.described(draw_label_distribution(positive, parts, title), seen)


def _read_positive(labels: Source, split: Source) -> tuple[pd.DataFrame, np.ndarray]:
    """Which images have which class (n, classes), and the part of each (n,)."""
    table = joins.read_labels(labels, split)
    return table[class_columns(table)] == 1, table["split"].to_numpy()


def draw_label_distribution(positive: pd.DataFrame, parts: np.ndarray, title: str) -> Figure:
    """Draw `label_distribution` of positive (images, classes) bool and parts (images,) of train, val and test."""
    counts = positive.sum()
    order = sorted(positive.columns, key=lambda name: (-counts[name], name))
    above, below = 2.3, max(0.9 + 0.19 * len(order), 1.7)  # at least the height of the legend
    heading = f"{title}\n{len(positive):,} images, {len(order)} classes, {int(counts.sum()):,} labels"
    with style.drawing(8, above + below + 0.6, heading) as figure:
        top, bottom = figure.subplots(2, 1, height_ratios=[above, below])
        _draw_label_counts(top, positive.sum(axis=1).to_numpy())
        _draw_class_shares(bottom, positive[order], parts)
    return figure


def _draw_label_counts(axes: Axes, labels_per_image: np.ndarray) -> None:
    counts = np.bincount(labels_per_image)
    first = 0 if counts[0] else 1
    bars = axes.bar(np.arange(first, len(counts)), counts[first:], color=BLUE)
    axes.bar_label(bars, [f"{count:,}" for count in counts[first:]], padding=2, fontsize=8)
    shown = counts[first:][counts[first:] > 0]
    if shown.size and shown.max() > style.LOG_FROM * shown.min():
        style.log_scale(axes)
        axes.set_ylim(0.5, 4 * shown.max())
    else:
        axes.margins(y=0.15)
    axes.set(title="(a) Images by number of labels", xlabel="labels of an image", ylabel="images")
    axes.set_xticks(range(first, len(counts)))


def _draw_class_shares(axes: Axes, positive: pd.DataFrame, parts: np.ndarray) -> None:
    """One bar per class, divided into the parts of the split; `positive` has its columns in the order to draw."""
    names, left = list(positive.columns), np.zeros(positive.shape[1])
    for part in SPLIT_NAMES:
        share = 100 * positive[parts == part].sum().to_numpy() / len(positive)
        axes.barh(range(len(names)), share, left=left, height=0.75, color=SPLIT_COLOURS[part], label=part)
        left += share
    texts = [f"{count:,} ({end:.{1 if end >= 1 else 2}f}%)" for count, end in zip(positive.sum(), left, strict=True)]
    style.name_bars(axes, left, names, texts)
    axes.set(title="(b) Share of each class", xlabel="% of the images", xlim=(0, 1.2 * max(left.max(), 1e-9)))
    axes.legend(loc="lower right", title="part of the split")
    ratio = len(positive) / max(int(positive.to_numpy().sum()), 1)
    there, back = (lambda x: np.asarray(x, float) * ratio), (lambda x: np.asarray(x, float) / ratio)
    axes.secondary_xaxis("top", functions=(there, back)).set_xlabel("% of all labels")


def label_shares(labels: Source, split: Source, paper: str | None, title: str) -> Figure:
    """Figure 1 of Dunn Beltran and Alsaghier 2022: the share of each class among all labels, as bars instead of a pie.

    As there, an image without any class counts as one more label. If the split leaves images out, a second panel is without them.
    """
    positive, parts = _read_positive(labels, split)
    published = published_numbers.label_shares(paper) if paper else {}
    counts = count_labels(positive)
    seen = f"Bars: each class's share of {counts.sum():,} labels, {style.extremes(100 * counts / max(counts.sum(), 1), 1, '%')}"
    return style.described(draw_label_shares(positive, parts, published, title), seen)


def count_labels(positive: pd.DataFrame) -> pd.Series:
    """Labels of each class, the most frequent first, then `NO_CLASS`, in brackets if a class has that name, of images without any."""
    counts = positive.sum()
    counts = counts[sorted(counts.index, key=lambda name: (-counts[name], name))]
    without = int((~positive.any(axis=1)).sum())
    name = NO_CLASS
    while name in positive.columns:
        name = f"({name})"
    return pd.concat([counts, pd.Series({name: without})]) if without else counts


def draw_label_shares(positive: pd.DataFrame, parts: np.ndarray, published: dict[str, float], title: str) -> Figure:
    """Draw `label_shares` of positive (images, classes) bool, parts (images,) and a paper's shares, 0 to 1, by class."""
    panels = {"all images": positive}
    if (left_out := parts == LEFT_OUT).any():
        drawn_down = not positive[left_out].to_numpy().any()  # otherwise labels are not why images were left out
        panels["drawn down" if drawn_down else "without those left out"] = positive[~left_out]
    names = list(count_labels(positive).index)
    with style.drawing(1.6 + 4 * len(panels), 1.5 + 0.22 * len(names), title) as figure:
        grid = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
        for axes, letter, (name, rows) in zip(grid, "ab", panels.items(), strict=False):
            counts = count_labels(rows).reindex(names, fill_value=0)
            shares = 100 * counts / max(counts.sum(), 1)
            texts = [f"{share:.1f}% ({count:,})" for count, share in zip(counts, shares, strict=True)]
            style.bars(axes, shares, names, texts, 4, color=[BLUE if name in positive.columns else GREY for name in names])
            axes.set_title(f"({letter}) {name}: {len(rows):,} images, {counts.sum():,} labels", fontsize=9)
            axes.set_xlabel("% of all labels")
        marks = {names.index(label): 100 * share for label, share in published.items() if label in names}
        if marks:
            grid[0].plot([*marks.values()], [*marks], "D", color=VERMILION, markersize=4, label="in the paper")
            figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower left")
        grid[0].set_xlim(0, 1.45 * max(bar.get_width() for axes in grid for bar in axes.patches))
    return figure


@dataclass(frozen=True)
class Cooccurrence:
    """Which classes occur together, counted for each pair over the images for which both classes are known; NaN without any."""

    classes: tuple[str, ...]  # by number of images, the largest first; ties by name
    images: np.ndarray  # (classes,) images of each class
    together: np.ndarray  # (classes, classes) images that have both classes
    share: np.ndarray  # (classes, classes) fraction of the row class's images that also have the column class
    expected: np.ndarray  # (classes, classes) images that would have both if the two were independent
    multiple: np.ndarray  # (classes,) fraction of the class's images that also have another one, where this is known
    size: tuple[int, int]  # images and classes of the whole label set


def cooccurrence(labels: Source, title: str, classes: Sequence[str] = ()) -> Figure:
    """Draw the co-occurrence of labels as a matrix, and the pairs that occur together more often than by chance.

    It includes what Figure 2 of Kejriwal et al. shows: the images of each class that have another class as well.
    """
    table = store.read_table(labels)
    matrix = table[class_columns(table)]
    for name in classes:
        refuse_unknown("cooccurrence", name, matrix.columns, f"a class of {labels}")
    pairs = count_pairs(matrix, classes)
    top = overrepresented(pairs).head(1)
    most = "; most above chance: {first} with {second}, {ratio:.1f} times".format(**top.iloc[0]) if len(top) else ""
    seen = f"Matrix of the co-occurrence of {len(pairs.classes)} classes{most}"
    return style.described(draw_cooccurrence(pairs, title), seen)


def count_pairs(matrix: pd.DataFrame, only: Sequence[str] = ()) -> Cooccurrence:
    """Count every pair of classes (of those in `only`, if any) in a label matrix (images, classes) of 1, 0, -1."""
    counts = (matrix == 1).sum()
    classes = sorted(set(only or matrix.columns), key=lambda name: (-counts[name], name))
    values = matrix[classes].to_numpy()
    positive, known = (values == 1).astype(np.float64), (values != IGNORED).astype(np.float64)  # floats multiply fast
    others = positive.sum(axis=1, keepdims=True) - positive
    complete = known.sum(axis=1, keepdims=True) == len(classes)  # a positive entry is known itself
    together, here = positive.T @ positive, positive.T @ known  # here: the row class's images with a known column class
    with np.errstate(invalid="ignore"):  # a class without images
        share, expected = together / here, here * here.T / (known.T @ known)
        multiple = (positive * (others > 0)).sum(axis=0) / (positive * (complete | (others > 0))).sum(axis=0)
    images = counts[classes].to_numpy()
    return Cooccurrence(tuple(classes), images, together.astype(np.int64), share, expected, multiple, matrix.shape)


def overrepresented(pairs: Cooccurrence) -> pd.DataFrame:
    """The `RANKED_PAIRS` that occur together most above chance: columns first, second, together, ratio (observed / expected)."""
    first, second = np.triu_indices(len(pairs.classes), 1)
    names = np.array(pairs.classes, dtype=object)
    frame = pd.DataFrame({"first": names[first], "second": names[second], "together": pairs.together[first, second]})
    frame["ratio"] = frame["together"] / pairs.expected[first, second]
    frame = frame[(frame["together"] >= FEWEST_TOGETHER) & (frame["ratio"] > 1)]
    return frame.sort_values(["ratio", "first", "second"], ascending=[False, True, True], ignore_index=True).head(RANKED_PAIRS)


def draw_cooccurrence(pairs: Cooccurrence, title: str) -> Figure:
    """Draw the matrix of `cooccurrence` and, below it, the bars of `overrepresented`, if there are any."""
    number, (images, in_all) = len(pairs.classes), pairs.size
    ranked = overrepresented(pairs)
    side = number * (0.4 if number <= NUMBERED_CLASSES else 0.2)  # inches
    heights = [side + 2.1, *([0.7 + 0.2 * len(ranked)] if len(ranked) else [])]
    shown = f"{number} classes" if number == in_all else f"{number} of {in_all} classes"
    cells = "Each cell: per cent of the row's images that also have the column's class"
    heading = f"{title}\n{images:,} images, {shown}\n{cells}"
    with style.drawing(max(8, side + 3.4), sum(heights) + 0.8, heading) as figure:
        panels = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        _draw_matrix(panels[0], pairs)
        if len(ranked):
            panels[0].set_title("(a) Co-occurrence")
            pairs_of, ratios = list(ranked["first"] + " + " + ranked["second"]), ranked["ratio"]
            texts = [f"{row.ratio:.1f} times, {row.together:,} images" for row in ranked.itertuples()]
            style.bars(panels[1], ratios, pairs_of, texts, color=BLUE)
            panels[1].set(title="(b) Pairs most above chance", xlim=(0, 1.35 * ratios.max()))
            panels[1].set_xlabel("images with both / images expected if the two were independent")
    return figure


def _draw_matrix(axes: Axes, pairs: Cooccurrence) -> None:
    number = len(pairs.classes)
    percent = np.where(np.eye(number, dtype=bool), np.nan, 100 * pairs.share)
    percent = np.column_stack([percent, np.full(number, np.nan)])  # the last column is for `multiple`, without a colour
    darkest = max(float(np.nan_to_num(percent).max()), 10.0)
    shades = matplotlib.colormaps[SHADES].with_extremes(bad="0.9")
    picture = axes.imshow(percent, cmap=shades, norm=PowerNorm(0.5, 0, darkest))  # the root keeps small shares apart
    _write_cells(axes, pairs, percent, 0.36 * darkest)
    axes.set_xticks(range(number + 1), [*pairs.classes, "any other"], rotation=90)
    axes.tick_params(length=0, labelsize=8, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.set_xticks(np.arange(number + 2) - 0.5, minor=True)
    axes.set_yticks(np.arange(number + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    ticks = [tick for tick in (0, 1, 5, 10, 20, 30, 40, 60, 80, 100) if tick <= darkest]
    bar = axes.figure.colorbar(picture, ax=axes, ticks=ticks, format="{x:.0f}%", shrink=0.6, aspect=30, pad=0.02)
    bar.outline.set_visible(False)


def _write_cells(axes: Axes, pairs: Cooccurrence, percent: np.ndarray, dark: float) -> None:
    """Numbers in the cells, white above `dark` per cent; images on the diagonal or, if it is too narrow, on the left."""
    number = len(pairs.classes)
    roomy = number <= NUMBERED_CLASSES
    centred: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7.5 if roomy else 6}
    for row, column in np.argwhere(percent >= (0 if roomy else 100 * FREQUENT)):
        value = percent[row, column]
        axes.text(column, row, _whole(value), color="white" if value > dark else "black", **centred)
    names = list(pairs.classes)
    for row, (count, multiple) in enumerate(zip(pairs.images, pairs.multiple, strict=True)):
        if np.isfinite(multiple):
            axes.text(number, row, _whole(100 * multiple), **centred)
        if roomy:
            axes.text(row, row, f"{count:,}", ha="center", va="center", fontsize=7.5, fontweight="bold")
        else:
            names[row] += f" ({count:,})"
    axes.set_yticks(range(number), names)


def _whole(percent: float) -> str:
    """A percentage without decimals, so that it fits into a cell."""
    return "<1" if 0 < percent < 0.95 else f"{percent:.0f}"
