"""Outlines of several areas of one picture, with their names: equal areas stay apart, and so do the names."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import AbstractPathEffect, withStroke

from thorax.images import decoding
from thorax.report.figures import fonts

LINE, STEP = 1.1, 1.8  # width of an outline, and from one to the next where areas are equal; points
GRID = 3  # cells per point, for measuring distances
SHARED = 0.25  # share of an outline that may be covered by earlier ones
HALO: list[AbstractPathEffect] = [withStroke(linewidth=LINE + 0.6, foreground="black")]
LETTERS, PADDING = 6, 1.0  # font size of names, and the black around them; points
HINTING = 1.05  # how much wider a name can be at other dots per inch
APART = 1.0  # between names, and from a name to the edge of the picture; points
Named = tuple[str, str, np.ndarray]  # name, colour, and points (n, 2) of a line in the picture's pixels (x, y)


def draw_outlines(axes: Axes, heats: Sequence[np.ndarray], names: Sequence[str], colours: Sequence[str]) -> None:
    """Surround, in each heatmap (h, w) of the picture in `axes`, the values of at least half its maximum; zeros have no outline.

    An outline is just inside its area. Where it would cover earlier ones, it is drawn further inside, or else outside. Each has its
    name at the end of a short line.
    """
    rows, columns = heats[0].shape
    scale = GRID * _points(axes)[0] / columns
    size = max(round(rows * scale), 1), max(round(columns * scale), 1)
    taken, named = np.zeros((size[0] + 2, size[1] + 2), bool), []
    y, x = (
        (np.arange(-1, cells + 1) + 0.5) * pixels / cells - 0.5 for cells, pixels in zip(size, (rows, columns), strict=True)
    )
    for heat, name, colour in zip(heats, names, colours, strict=False):
        if heat.max() > 0:
            depth = _depth(decoding.resize(heat.astype(np.float32), *size) >= heat.max() / 2)
            level = _free_level(depth, taken, len(heats))
            taken |= _on_line(depth, level)
            drawn = axes.contour(x, y, depth, levels=[level], colors=[colour], linewidths=LINE)
            drawn.set_path_effects(HALO)
            named.append((name, colour, np.asarray(drawn.get_paths()[0].vertices)))
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    write_names(axes, named)


def _depth(area: np.ndarray) -> np.ndarray:
    """Distance of every cell (h, w) of the grid to the edge of an area: above 0 inside, below 0 outside; with a margin of a cell."""
    padded = np.pad(area, 1).astype(np.uint8)
    inside, outside = (cv2.distanceTransform(side, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for side in (padded, 1 - padded))
    return inside - outside + np.where(padded, -0.5, 0.5)


def _on_line(depth: np.ndarray, level: float) -> np.ndarray:
    return np.abs(depth - level) < GRID * LINE / 2


def _free_level(depth: np.ndarray, taken: np.ndarray, lines: int) -> float:
    """The depth of an outline that covers the cells `taken` by earlier lines least, the first that hardly does."""
    steps = [*range(lines), *range(-1, -lines - 1, -1)]  # further and further inside, then outside
    levels = [GRID * (LINE / 2 + STEP * step) for step in steps]
    candidates = [level for level in levels if depth.min() < level < 0.9 * depth.max()]
    shares = [taken[_on_line(depth, level)].mean() for level in candidates]
    free = (level for level, share in zip(candidates, shares, strict=True) if share < SHARED)
    return next(free, candidates[int(np.argmin(shares))])


def write_names(axes: Axes, named: Sequence[Named]) -> None:
    """Write the name of each line next to it, joined by a short line: names neither overlap nor leave the picture in `axes`."""
    width, height = _points(axes)
    scale = width / np.ptp(axes.get_xlim())  # points per pixel of the picture
    behind = {"facecolor": "black", "linewidth": 0, "pad": PADDING}
    look: dict[str, Any] = {"fontsize": LETTERS, "ha": "center", "va": "top", "bbox": behind, "zorder": 5}
    texts = [axes.text(0, 0, name, color=colour, **look) for name, colour, _ in named]
    fonts.cover_texts(texts)
    extents, unit = [text.get_window_extent() for text in texts], 72 / axes.figure.dpi
    sizes = [(HINTING * extent.width * unit + 2 * PADDING, extent.height * unit + 2 * PADDING) for extent in extents]
    lines = [(line + 0.5) * scale for _, _, line in named]
    wanted = _places(lines, sizes, width)
    tops = _stacked([top for _, top, _ in wanted], [tall + APART for _, tall in sizes], height)
    for text, (left, _, line), top, (wide, tall) in zip(texts, wanted, tops, sizes, strict=True):
        text.set_position(((left + wide / 2) / scale - 0.5, (top + PADDING) / scale - 0.5))
        nearest = np.clip(line, (left + APART, top), (left + wide - APART, top + tall))  # of the name, by point of the line
        index = int(np.argmin(np.linalg.norm(line - nearest, axis=1)))
        ends = np.array([nearest[index], line[index]]) / scale - 0.5
        axes.add_line(
            Line2D(*ends.T, color=text.get_color(), linewidth=0.7, zorder=4, path_effects=HALO, solid_capstyle="butt")
        )


def _points(axes: Axes) -> tuple[float, float]:
    """Width and height of axes in points."""
    extent = axes.get_window_extent()
    return extent.width * 72 / axes.figure.dpi, extent.height * 72 / axes.figure.dpi


def _places(
    lines: Sequence[np.ndarray], sizes: Sequence[tuple[float, float]], width: float
) -> list[tuple[float, float, np.ndarray]]:
    """Left and top of each name, on the right of its line, or else on the left, or else over its top; and where it may be joined.

    All are in points. Names over tops of about the same height are above each other, and joined at different places.
    """
    gap, places = 6 * APART, []
    over: list[np.ndarray] = []  # tops that have a name over them
    for line, (wide, tall) in zip(lines, sizes, strict=True):
        right, left, top = (line[index] for index in (line[:, 0].argmax(), line[:, 0].argmin(), line[:, 1].argmin()))
        if right[0] + gap + wide + APART <= width:
            places.append((right[0] + gap, right[1] - tall / 2, line))
        elif left[0] - gap - wide >= APART:
            places.append((left[0] - gap - wide, left[1] - tall / 2, line))
        else:
            below = sum(bool(np.linalg.norm(top - other) < tall) for other in over)
            over.append(top)
            start = float(np.clip(top[0] - wide / 2, APART, max(width - wide - APART, APART)))
            upper = line[line[:, 1] < (line[:, 1].min() + line[:, 1].max()) / 2]
            aside = (below + 1) // 2 * gap * (-1) ** below  # 0, then to the left, the right, further left ...
            joint = upper[np.argsort(np.abs(upper[:, 0] - top[0] - aside))[:1]]
            places.append((start, top[1] - gap - (below + 1) * (tall + APART), joint))
    return places


def _stacked(wanted: Sequence[float], heights: Sequence[float], room: float) -> list[float]:
    """Tops near those wanted (distances from the upper edge) of rows that neither overlap nor leave this height, if all fit."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    tops, lowest = list(wanted), APART
    for index in order:
        tops[index] = max(tops[index], lowest)
        lowest = tops[index] + heights[index]
    highest = room
    for index in reversed(order):
        tops[index] = max(min(tops[index], highest - heights[index]), 0)
        highest = tops[index]
    return tops
