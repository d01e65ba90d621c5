"""Lung masks after the network: repaired, judged, and turned into a crop box (Liz et al. 2022, section 3.2).

A mask is a (height, width) bool array, True where there is lung. Pixels that touch at a corner belong together;
a hole is background that is enclosed under that rule.
"""

import cv2
import numpy as np
from scipy import ndimage

from thorax.images.decoding import Box

MIN_LUNG = 0.01  # of the image; the smallest of the 84 hand-drawn lungs has 0.11
MAX_CUT = 0.5  # of a component's height; two lungs that touch share less than half of it
MIN_BALANCE = 0.5  # smaller over larger lung after a cut; at least 0.69 in the 42 pairs. From 0.5 on, neither is cut again

# What a credible mask looks like. The comments give the range of the 42 hand-drawn masks of PA radiographs; the
# limits are wider, because diseased lungs, children and wide fields of view go beyond it.
AREA = (0.08, 0.70)  # both lungs, of the image: 0.23 to 0.55
MIN_RATIO = 0.33  # smaller over larger lung: 0.69 to 1.00
MIN_SHARED_ROWS = 0.5  # rows that both lungs have, of the shorter lung's: 0.96 to 1.00
MAX_SHARED_COLUMNS = 0.33  # columns that both lungs have, of the narrower lung's: 0 to 0.06
MIN_SOLIDITY = 0.8  # area over that of the convex hull, each lung: 0.83 to 0.98
MIDDLE = (0.35, 0.65)  # halfway between the lungs' centres, of the width: 0.43 to 0.55

_EDGE = 0.1  # of a mask's largest value: what is as near to 0 or to the largest value counts as it
_MOST_BETWEEN = 0.05  # of the pixels of a mask may lie between
_MOST_FAINT = 0.02  # of the pixels may have the second of the values near 0, where these are _FEW: compression leaves more
_FEW = 5
_MOST_FILLED = 1 / (1 - AREA[0])  # of its area, with holes filled: lungs are holes in an inverted mask; 1.00 in the 42 masks
_BAND = (0.25, 0.75)  # of a component's width: where the cut between two lungs may run
_CORNERS_TOUCH = 8


def from_picture(values: np.ndarray) -> np.ndarray:
    """Where a picture of a mask, (h, w) unsigned integers, has lung: above half of its largest value; (h, w) bool.

    It may be saved with any two values, and a few between them, from compression or resizing. Many of them mean something else, such
    as a number per lung. Raises ValueError with what is wrong: no or hardly any lung (less than `MIN_LUNG` of the image in one
    piece), nothing but lung, lung dark on white or as an outline, or more than two values.
    """
    highest = int(values.max())
    if highest == 0:
        raise ValueError("it has no lung: every value is 0")
    share = values / highest
    between = float(((share > _EDGE) & (share < 1 - _EDGE)).mean())
    dark = np.sort(np.bincount(values[share <= _EDGE], minlength=2)) / values.size
    faint = dark[-2] if np.count_nonzero(dark) <= _FEW else 0.0  # such as lungs of 1 and a stray 255
    if between > _MOST_BETWEEN or faint > _MOST_FAINT:
        found = np.unique(values)
        listed = ", ".join(map(str, found[:5])) + (", ..." if len(found) > 5 else "")
        problem = "more than two values" if len(found) > 2 else "two values that are both above 0"
        raise ValueError(f"it has {problem} ({listed}): save it with 0 outside and one value, such as 255, in both lungs")
    lung = share > 0.5
    if lung.all():
        raise ValueError(f"all of it is lung: no value is below half of the largest, {highest}")
    if lung[[0, 0, -1, -1], [0, -1, 0, -1]].all():
        raise ValueError("its four corners are lung: save it with the lungs bright and the rest 0")
    if not keep_lungs(lung).any():
        raise ValueError(f"only {components(lung)[1].max()} of its pixels are lung in one piece: draw it again")
    if fill_holes(lung).sum() > _MOST_FILLED * lung.sum():
        raise ValueError("its bright parts have large holes: save it with the lungs filled and bright and the rest 0")
    return lung


fill_holes = ndimage.binary_fill_holes  # background that a flood from outside the image does not reach


def postprocess(mask: np.ndarray) -> np.ndarray:
    """Repair a (h, w) bool mask in the paper's order: fill holes, drop small components, separate lungs that touch.

    The result has at most two components and no hole. A second application changes nothing.
    """
    return keep_lungs(separate_touching(keep_lungs(fill_holes(mask))))


def keep_lungs(mask: np.ndarray, min_area: float = MIN_LUNG) -> np.ndarray:
    """Drop components below `min_area` (a fraction of the image), then all but the two largest.

    The paper drops small components only if there are more than two, but one next to a single lung would widen the crop box too.
    """
    labels, areas = components(mask)
    largest = np.argsort(-areas, kind="stable")[:2]
    kept = [label + 1 for label in largest if areas[label] >= min_area * mask.size]
    return np.isin(labels, kept)


def separate_touching(mask: np.ndarray) -> np.ndarray:
    """Cut the largest component of a (h, w) bool mask into two where it is two lungs that touch.

    The cut is the path from the component's top to its bottom, in the middle half of its width, that crosses the fewest lung pixels;
    among equals the one nearest to the middle. It is made only if the result looks like two lungs, so a single lung stays whole.
    """
    labels, areas = components(mask)
    if not areas.size:
        return mask
    largest = labels == areas.argmax() + 1
    others = np.delete(areas, areas.argmax()).max(initial=0)
    left, right, crossed = _cut(largest)
    smaller, larger = sorted((left.sum(), right.sum()))
    height = np.ptp(np.flatnonzero(largest.any(axis=1))) + 1
    two_lungs = smaller >= MIN_BALANCE * larger and smaller >= MIN_LUNG * mask.size and smaller > others
    if crossed > MAX_CUT * height or not two_lungs:
        return mask
    return (mask & ~largest) | left | right


def crop_box(mask: np.ndarray, margin: float = 0.02) -> Box:
    """The part of the image that a network sees: the box of a (h, w) bool mask that is not empty, and all below it, which may hold
    signs of disease; `margin`, a fraction of the image, is added to the left, right and top.
    """
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, right = columns[0] / width - margin, (columns[-1] + 1) / width + margin
    return max(0.0, float(left)), max(0.0, float(rows[0] / height - margin)), min(1.0, float(right)), 1.0


def judge(mask: np.ndarray) -> str | None:
    """Say why a post-processed (h, w) bool mask is not a credible pair of lungs, by this module's limits; None if it is one."""
    labels, areas = components(mask)
    if len(areas) < 2:
        return "one lung" if len(areas) else "empty"
    lungs = [labels == 1, labels == 2]
    area = areas.sum() / mask.size
    if area < AREA[0]:
        return "too small"
    if area > AREA[1]:
        return "too large"
    if _shared(lungs, axis=1) < MIN_SHARED_ROWS or _shared(lungs, axis=0) > MAX_SHARED_COLUMNS:
        return "lungs not side by side"
    if areas.min() / areas.max() < MIN_RATIO:
        return "unequal lungs"
    if min(_solidity(lung) for lung in lungs) < MIN_SOLIDITY:
        return "ragged lungs"
    middle = np.mean([(np.nonzero(lung)[1].mean() + 0.5) / mask.shape[1] for lung in lungs])
    if not MIDDLE[0] <= middle <= MIDDLE[1]:
        return "off centre"
    return None


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Overlap of two bool masks, 2 |A and B| / (|A| + |B|); 1 where both are empty."""
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else 1.0


def components(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label image (0 = background) of a bool mask and the components' areas in pixels, in label order."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=_CORNERS_TOUCH)
    return labels, statistics[1:count, cv2.CC_STAT_AREA]


def _shared(lungs: list[np.ndarray], axis: int) -> float:
    """Length that two lungs' extents along rows (axis 1) or columns (axis 0) share, over the shorter extent."""
    extents = [np.flatnonzero(lung.any(axis=axis))[[0, -1]] for lung in lungs]
    shared = min(last for _, last in extents) - max(first for first, _ in extents) + 1
    return max(0, shared) / min(last - first + 1 for first, last in extents)


def _solidity(lung: np.ndarray) -> float:
    """Area over that of the convex hull, both counted in whole pixels."""
    contours, _ = cv2.findContours(lung.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    hull = cv2.convexHull(np.concatenate(contours))
    filled = cv2.fillConvexPoly(np.zeros(lung.shape, np.uint8), hull, 1)
    return float(lung.sum() / filled.sum())


def _largest(mask: np.ndarray) -> np.ndarray:
    labels, areas = components(mask)
    return labels == areas.argmax() + 1 if areas.size else mask


def _cut(component: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Divide one component: its largest piece on either side of the cheapest cut, and the lung pixels crossed."""
    rows, columns = np.flatnonzero(component.any(axis=1)), np.flatnonzero(component.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inside = component[box]
    first, last = _cheapest_path(inside)
    column = np.arange(inside.shape[1])
    left, right = np.zeros_like(component), np.zeros_like(component)
    left[box] = _largest(inside & (column < first[:, None]))
    right[box] = _largest(inside & (column > last[:, None]))
    crossed = int((inside & (column >= first[:, None]) & (column <= last[:, None])).sum())
    return left, right, crossed


def _cheapest_path(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first and last column, per row, of the top-to-bottom path through the fewest True pixels.

    It moves at most one column per row; a row takes the columns of both its ends, so that its two sides do not touch at a corner.
    """
    height, width = inside.shape
    start = int(_BAND[0] * (width - 1))
    stop = width - start
    off_middle = np.abs(np.arange(start, stop) - (width - 1) / 2) / width
    cost = inside[:, start:stop] + off_middle / (2 * height)
    best = cost.copy()
    padded = np.full(cost.shape[1] + 2, np.inf)
    for row in range(1, height):
        padded[1:-1] = best[row - 1]
        best[row] += np.minimum(np.minimum(padded[:-2], padded[2:]), padded[1:-1])
    path = np.empty(height, int)
    path[-1] = best[-1].argmin()
    for row in range(height - 2, -1, -1):
        low = max(0, path[row + 1] - 1)
        path[row] = low + best[row, low : path[row + 1] + 2].argmin()
    path += start
    following = np.append(path[1:], path[-1])
    return np.minimum(path, following), np.maximum(path, following)
