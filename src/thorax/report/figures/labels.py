"""Figures of a label set: how often each class occurs, and which classes come together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from thorax.errors import ThoraxError, refuse_unknown
from thorax.report import published_numbers
from thorax.report.figures.style import BLUE, GREY, LOG_FROM, SPLIT_COLOURS, VERMILION, fit, log_scale, save, style
from thorax.storage import store
from thorax.storage.schemas import IGNORED, LEFT_OUT, SPLIT_NAMES, class_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHADES = "Blues"  # one hue from light to dark: the order survives colour blindness and a black-and-white printer
NUMBERED_CLASSES = 20  # with more classes, cells are too small for a number in each
FREQUENT = 0.1  # share from which a cell has a number all the same
FEWEST_TOGETHER = 20  # images below which a pair's observed / expected says little
RANKED_PAIRS = 12
NO_CLASS = "none of these"  # counts as the one label of an image without any class


def label_distribution(labels: Path, split: Path, title: str, out: Path) -> None:
    """Figures 5 and 6 of Liz et al. 2022: images by number of labels, and the share of each class.

    Args:
        labels: a label set's table.
        split: table that assigns every image of it to train, val or test, or leaves it out.
        title: heading.
        out: figure to write, without suffix.

    Raises:
        ThoraxError: an image of the label set is not in the split.
    """
    positive, parts = _read_positive(labels, split)
    save(draw_label_distribution(positive[parts != LEFT_OUT], parts[parts != LEFT_OUT], title), out, title)


def _read_positive(labels: Path, split: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Which images (n, classes) have which class, and the part of each (n,)."""
    table = store.read_table(labels)
    parts = store.read_table(split, ["image_id", "split"]).set_index("image_id")["split"].reindex(table["image_id"])
    if parts.isna().any():
        raise ThoraxError(f"{split} has no part for image {parts.index[parts.isna()][0]!r} of {labels}: remake the split.")
    return table[class_columns(table)] == 1, parts.to_numpy()


def draw_label_distribution(positive: pd.DataFrame, parts: np.ndarray, title: str) -> "Figure":
    """Draw the two panels of `label_distribution`.

    Args:
        positive: (images, classes) bool.
        parts: (images,) train, val or test.
        title: heading.
    """
    from matplotlib.figure import Figure

    counts = positive.sum()
    order = sorted(positive.columns, key=lambda name: (-counts[name], name))
    above, below = 2.3, max(0.9 + 0.19 * len(order), 1.7)  # room for the legend
    with style():
        figure = Figure(figsize=(8, above + below + 0.6), layout="constrained")
        top, bottom = figure.subplots(2, 1, height_ratios=[above, below])
        heading = f"{title}\n{len(positive):,} images, {len(order)} classes, {int(counts.sum()):,} labels"
        figure.suptitle(fit(heading, figure.get_figwidth()), x=0.01, ha="left")
        _draw_label_counts(top, positive.sum(axis=1).to_numpy())
        _draw_class_shares(bottom, positive[order], parts)
    return figure


def _draw_label_counts(axes: "Axes", labels_per_image: np.ndarray) -> None:
    counts = np.bincount(labels_per_image)
    first = 0 if counts[0] else 1
    bars = axes.bar(np.arange(first, len(counts)), counts[first:], color=BLUE)
    axes.bar_label(bars, [f"{count:,}" for count in counts[first:]], padding=2, fontsize=8)
    shown = counts[first:][counts[first:] > 0]
    if shown.size and shown.max() > LOG_FROM * shown.min():
        log_scale(axes)
        axes.set_ylim(0.5, 4 * shown.max())
    else:
        axes.margins(y=0.15)
    axes.set(
        title="(a) Images by number of labels", xlabel="labels of an image", ylabel="images", xticks=range(first, len(counts))
    )


def _draw_class_shares(axes: "Axes", positive: pd.DataFrame, parts: np.ndarray) -> None:
    """One bar per class, divided into the parts of the split; `positive` has its columns in the order to draw."""
    images_in_all, mentions = len(positive), max(int(positive.to_numpy().sum()), 1)
    place = np.arange(len(positive.columns))
    left = np.zeros(len(place))
    for part in SPLIT_NAMES:
        share = 100 * positive[parts == part].sum().to_numpy() / images_in_all
        axes.barh(place, share, left=left, height=0.75, color=SPLIT_COLOURS[part], label=part)
        left += share
    for row, (count, share) in enumerate(zip(positive.sum(), left, strict=True)):
        text = f"{count:,} ({share:.{1 if share >= 1 else 2}f}%)"
        axes.annotate(text, (share, row), (3, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set(title="(b) Share of each class", xlabel="% of the images", yticks=place, yticklabels=positive.columns)
    axes.set(ylim=(len(place) - 0.4, -0.6), xlim=(0, 1.2 * max(left.max(), 1e-9)))
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.legend(loc="lower right", title="part of the split")
    ratio = images_in_all / mentions
    there, back = (lambda x: np.asarray(x, float) * ratio), (lambda x: np.asarray(x, float) / ratio)
    axes.secondary_xaxis("top", functions=(there, back)).set_xlabel("% of all labels")


def label_shares(labels: Path, split: Path, paper: str | None, title: str, out: Path) -> None:
    """Figure 1 of Dunn Beltran and Alsaghier 2022: the share of each class among all labels, as bars instead of a pie.

    As there, an image without any class counts as one label more. Where the split draws images down, the shares without what it
    leaves out stand beside those of all images.

    Args:
        labels: a label set's table.
        split: table that assigns every image of it to train, val or test, or leaves it out.
        paper: whose published shares are marked beside those of all images; None for none.
        title: heading.
        out: figure to write, without suffix.

    Raises:
        ThoraxError: an image of the label set is not in the split.
    """
    positive, parts = _read_positive(labels, split)
    published = published_numbers.label_shares(paper) if paper else {}
    save(draw_label_shares(positive, parts, published, title), out, title)


def count_labels(positive: pd.DataFrame) -> pd.Series:
    """Labels of each class, the most frequent first, then `NO_CLASS`, where an image has none of them.

    Where a class has this name already, it is put in brackets.
    """
    counts = positive.sum()
    counts = counts[sorted(counts.index, key=lambda name: (-counts[name], name))]
    without = int((~positive.any(axis=1)).sum())
    name = NO_CLASS
    while name in positive.columns:
        name = f"({name})"
    return pd.concat([counts, pd.Series({name: without})]) if without else counts


def draw_label_shares(positive: pd.DataFrame, parts: np.ndarray, published: dict[str, float], title: str) -> "Figure":
    """Draw the panels of `label_shares`.

    Args:
        positive: (images, classes) bool.
        parts: (images,) train, val, test or left_out.
        published: shares of labels that a paper reports, from 0 to 1, by class.
        title: heading.
    """
    from matplotlib.figure import Figure

    panels = {"all images": positive}
    if (left_out := parts == LEFT_OUT).any():
        drawn_down = not positive[left_out].to_numpy().any()  # else images were left out for another reason than their labels
        panels["drawn down" if drawn_down else "without those left out"] = positive[~left_out]
    names = list(count_labels(positive).index)
    with style():
        figure = Figure(figsize=(1.6 + 4 * len(panels), 1.5 + 0.22 * len(names)), layout="constrained")
        figure.suptitle(fit(title, figure.get_figwidth()), x=0.01, ha="left")
        grid = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
        for axes, letter, (name, rows) in zip(grid, "ab", panels.items(), strict=False):
            counts = count_labels(rows).reindex(names, fill_value=0)
            shares = 100 * counts / max(counts.sum(), 1)
            colours = [BLUE if label in positive.columns else GREY for label in names]
            axes.barh(np.arange(len(names)), shares, height=0.75, color=colours)
            for row, (count, share) in enumerate(zip(counts, shares, strict=True)):
                text = f"{share:.1f}% ({count:,})"
                axes.annotate(text, (share, row), (4, 0), textcoords="offset points", va="center", fontsize=8)
            axes.set_title(f"({letter}) {name}: {len(rows):,} images, {counts.sum():,} labels", fontsize=9)
            axes.set(xlabel="% of all labels", yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.4, -0.6))
            axes.tick_params(axis="y", length=0, labelsize=8)
        places = [names.index(label) for label in published if label in names]
        if places:
            marks = [100 * published[names[place]] for place in places]
            grid[0].plot(marks, places, "D", color=VERMILION, markersize=4, label="in the paper")
            figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower left")
        grid[0].set_xlim(0, 1.45 * max(bar.get_width() for axes in grid for bar in axes.patches))
    return figure


@dataclass(frozen=True)
class Pairs:
    """Which classes come together; a pair is counted over the images in which both classes are known.

    Args:
        classes: by number of images, the largest first; ties by name.
        images: (classes,) images of each class.
        together: (classes, classes) images that have both classes.
        share: (classes, classes) fraction of the row class's images that have the column class as well; NaN where there
            are none.
        expected: (classes, classes) images that would have both, were the two classes independent; NaN where unknown.
        multiple: (classes,) fraction of each class's images that have another of these classes as well, counted over those
            of which it is known; NaN where there are none.
        size: images and classes of the whole label set.
    """

    classes: tuple[str, ...]
    images: np.ndarray
    together: np.ndarray
    share: np.ndarray
    expected: np.ndarray
    multiple: np.ndarray
    size: tuple[int, int]


def cooccurrence(labels: Path, title: str, out: Path, classes: Sequence[str] = ()) -> None:
    """Which classes come together, as a matrix, and the pairs that do so more often than by chance.

    With the images of each class that have another class as well, the figure holds what Kejriwal et al., Figure 2, shows.

    Args:
        labels: a label set's table.
        title: heading.
        out: figure to write, without suffix.
        classes: show these only; none for all.

    Raises:
        ThoraxError: the label set does not have one of these classes.
    """
    table = store.read_table(labels)
    matrix = table[class_columns(table)]
    for name in classes:
        refuse_unknown("cooccurrence", name, matrix.columns, f"a class of {labels}")
    save(draw_cooccurrence(count_pairs(matrix, classes), title), out, title)


def count_pairs(matrix: pd.DataFrame, only: Sequence[str] = ()) -> Pairs:
    """Count every pair of classes (of `only` these, where some are named) of a label matrix (images, classes) of 1, 0, -1."""
    counts = (matrix == 1).sum()
    classes = sorted(set(only or matrix.columns), key=lambda name: (-counts[name], name))
    values = matrix[classes].to_numpy()
    positive, known = (values == 1).astype(np.float64), (values != IGNORED).astype(np.float64)  # floats multiply fast
    others = positive.sum(axis=1, keepdims=True) - positive
    complete = known.sum(axis=1, keepdims=True) == len(classes)  # a positive entry is known itself
    together, here = positive.T @ positive, positive.T @ known  # here: images of the row class that know the column class
    with np.errstate(invalid="ignore"):  # a class without images
        share, expected = together / here, here * here.T / (known.T @ known)
        multiple = (positive * (others > 0)).sum(axis=0) / (positive * (complete | (others > 0))).sum(axis=0)
    return Pairs(tuple(classes), counts[classes].to_numpy(), together.astype(np.int64), share, expected, multiple, matrix.shape)


def overrepresented(pairs: Pairs) -> pd.DataFrame:
    """Pairs that come together more often than by chance: columns first, second, together, ratio (observed / expected).

    The largest ratios first, `RANKED_PAIRS` of them at most; pairs with fewer than `FEWEST_TOGETHER` images are left out.
    """
    first, second = np.triu_indices(len(pairs.classes), 1)
    names = np.array(pairs.classes, dtype=object)
    frame = pd.DataFrame({"first": names[first], "second": names[second], "together": pairs.together[first, second]})
    frame["ratio"] = frame["together"] / pairs.expected[first, second]
    frame = frame[(frame["together"] >= FEWEST_TOGETHER) & (frame["ratio"] > 1)]
    frame = frame.sort_values(["ratio", "first", "second"], ascending=[False, True, True], ignore_index=True)
    return frame.head(RANKED_PAIRS)


def draw_cooccurrence(pairs: Pairs, title: str) -> "Figure":
    """Draw the matrix of `cooccurrence`, and below it the bars of `overrepresented`, where there are any.

    Args:
        pairs: what is drawn.
        title: heading.
    """
    from matplotlib.figure import Figure

    number, (images, in_all) = len(pairs.classes), pairs.size
    ranked = overrepresented(pairs)
    side = number * (0.5 if number <= NUMBERED_CLASSES else 0.2)
    above, below = side + 2.1, 0.7 + 0.2 * len(ranked) if len(ranked) else 0
    with style():
        figure = Figure(figsize=(max(8, side + 3.4), above + below + 0.8), layout="constrained")
        panels = figure.subplots(2 if len(ranked) else 1, 1, squeeze=False, height_ratios=[above, below][: 2 if below else 1])
        shown = f"{number} classes" if number == in_all else f"{number} of {in_all} classes"
        cells = "Each cell: per cent of the row's images that also have the column's class"
        heading = f"{title}\n{images:,} images, {shown}\n{cells}"
        figure.suptitle(fit(heading, figure.get_figwidth()), x=0.01, ha="left")
        _draw_matrix(panels[0, 0], pairs)
        if len(ranked):
            panels[0, 0].set_title("(a) Co-occurrence")
            _draw_ranked_pairs(panels[1, 0], ranked)
    return figure


def _draw_matrix(axes: "Axes", pairs: Pairs) -> None:
    import matplotlib
    from matplotlib.colors import PowerNorm

    number = len(pairs.classes)
    percent = np.where(np.eye(number, dtype=bool), np.nan, 100 * pairs.share)
    percent = np.column_stack([percent, np.full(number, np.nan)])  # room for `multiple`, which no colour shows
    darkest = max(float(np.nan_to_num(percent).max()), 10.0)
    shades = matplotlib.colormaps[SHADES].with_extremes(bad="0.9")
    # the square root keeps the many small shares apart
    picture = axes.imshow(percent, cmap=shades, norm=PowerNorm(0.5, 0, darkest))
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


def _write_cells(axes: "Axes", pairs: Pairs, percent: np.ndarray, dark: float) -> None:
    """Numbers in the cells, white above `dark` per cent; images on the diagonal or, where it is too narrow, at the left."""
    number = len(pairs.classes)
    roomy = number <= NUMBERED_CLASSES
    for row, column in np.argwhere(percent >= (0 if roomy else 100 * FREQUENT)):
        value = percent[row, column]
        colour = "white" if value > dark else "black"
        axes.text(column, row, _whole(value), ha="center", va="center", color=colour, fontsize=7.5 if roomy else 6)
    names = list(pairs.classes)
    for row, (count, multiple) in enumerate(zip(pairs.images, pairs.multiple, strict=True)):
        if np.isfinite(multiple):
            axes.text(number, row, _whole(100 * multiple), ha="center", va="center", fontsize=7.5 if roomy else 6)
        if roomy:
            axes.text(row, row, f"{count:,}", ha="center", va="center", fontsize=7, fontweight="bold")
        else:
            names[row] += f" ({count:,})"
    axes.set_yticks(range(number), names)


def _whole(percent: float) -> str:
    """A percentage without decimals, so that it fits into a cell."""
    return "<1" if 0 < percent < 0.95 else f"{percent:.0f}"


def _draw_ranked_pairs(axes: "Axes", ranked: pd.DataFrame) -> None:
    place = np.arange(len(ranked))
    axes.barh(place, ranked["ratio"], height=0.75, color=BLUE)
    for row, (ratio, together) in enumerate(zip(ranked["ratio"], ranked["together"], strict=True)):
        text = f"{ratio:.1f} times, {together:,} images"
        axes.annotate(text, (ratio, row), (3, 0), textcoords="offset points", va="center", fontsize=8)
    names = ranked["first"] + " + " + ranked["second"]
    axes.set(title="(b) Pairs most above chance", xlabel="images with both / images expected if the two were independent")
    axes.set(yticks=place, yticklabels=names, ylim=(len(place) - 0.4, -0.6), xlim=(0, 1.35 * ranked["ratio"].max()))
    axes.tick_params(axis="y", length=0, labelsize=8)
