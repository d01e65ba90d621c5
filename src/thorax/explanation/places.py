"""Where heatmaps are hottest, and whether those of several networks show the same place.

All maps are enlarged to the whole original first, as `localisation.place` does: (n, GRID, GRID), 0 outside the part that networks saw.
"""

from collections.abc import Sequence

import numpy as np

from thorax.explanation.localisation import GRID, place
from thorax.explanation.overlays import scale_maps
from thorax.images.decoding import Box

HOT = 0.5  # the hottest area has at least this share of a map's maximum
LOW_CORRELATION = 0.3  # maps below this mean correlation show different places; a choice of ours, like the next one
FAR_APART = 0.3  # as a share of the image's width or height
_CENTRES = (np.arange(GRID) + 0.5) / GRID
_IN_ONE_MAP = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))])  # neighbours of a cell, also over the corner


def hottest(placed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The hottest point of n maps, (n, 2) x and y, and the box around the hottest area, (n, 4) x, y, width and height.

    All are fractions of the original. The area is connected and contains the point. Of several cells that are equally hot, the point
    is the middle of those in one area. A map that is 0 everywhere has neither: nan.
    """
    from scipy import ndimage

    highest = placed.max(axis=(1, 2), keepdims=True)
    found, _ = ndimage.label((placed >= HOT * highest) & (highest > 0), _IN_ONE_MAP)
    number = np.take_along_axis(found.reshape(len(placed), -1), placed.reshape(len(placed), -1).argmax(axis=1)[:, None], axis=1)
    area = (found == number[:, None]) & (highest > 0)
    top = area & (placed == highest)
    count = np.where(top.any(axis=(1, 2)), top.sum(axis=(1, 2)), np.nan)
    point = np.stack([(top.sum(axis=axis) * _CENTRES).sum(axis=1) / count for axis in (1, 2)], axis=1)
    columns, rows = area.any(axis=1), area.any(axis=2)
    low, high = (
        np.stack([edges(columns), edges(rows)], axis=1) / GRID
        for edges in (lambda cells: cells.argmax(axis=1), lambda cells: GRID - cells[:, ::-1].argmax(axis=1))
    )
    boxes = np.where(np.isnan(point[:, :1]), np.nan, np.concatenate([low, high - low], axis=1))
    return point, boxes


def similarity(placed: np.ndarray, seen: Box) -> tuple[float, float]:
    """How alike m maps of one image and class are: the mean correlation of two maps, and the largest distance of two hottest points.

    The correlation (Pearson's) is over the cells that the networks saw. The distance is the larger of its shares of the width and of the
    height. Maps without variation take no part; with fewer than two others both are nan.
    """
    left, top, right, bottom = seen
    across, down = ((low <= _CENTRES) & (high > _CENTRES) for low, high in ((left, right), (top, bottom)))
    cells = placed[:, down[:, None] & across]
    varies = cells.max(axis=1, initial=0) > cells.min(axis=1, initial=np.inf)
    if varies.sum() < 2:
        return float("nan"), float("nan")
    correlations = np.corrcoef(cells[varies])[np.triu_indices(int(varies.sum()), 1)]
    points, _ = hottest(placed[varies])
    return float(correlations.mean()), float(np.ptp(points, axis=0).max())


def different_places(maps: Sequence[np.ndarray], seen: Box) -> dict[int, str]:
    """A sentence for each class for which networks look at different places of an image.

    `maps` are each network's of all classes, (k, h, w); maps of a single cell take no part. Places differ where the mean correlation is
    below `LOW_CORRELATION` or two hottest points are farther apart than `FAR_APART`.
    """
    fine = [of_network for of_network in maps if of_network[0].size > 1]
    placed = [place(scale_maps(of_network), np.tile(np.array(seen, float), (len(of_network), 1))) for of_network in fine]
    said = {}
    for index in range(len(maps[0]) if len(fine) > 1 else 0):
        correlation, distance = similarity(np.stack([of_network[index] for of_network in placed]), seen)
        if correlation < LOW_CORRELATION or distance > FAR_APART:
            said[index] = (
                f"The networks look at different places: the mean correlation of two of their maps is {correlation:.2f}, and their "
                f"hottest points are up to {distance:.0%} of the image apart."
            )
    return said
