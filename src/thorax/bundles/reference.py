"""Whether an image looks like those that a network was trained on: a distance of a few numbers that describe it.

Each image is described by `NAMES`: grey values, symmetry, likeness to the mean training image, and edges. The distance is that
of Mahalanobis (1936) from the training images' median, in units of their median absolute deviations, with a covariance that is
shrunk (Ledoit and Wolf 2004, J. Multivariate Analysis 88:365), because there may be few images. The limit is what `SHARE` of the
training images keep within, each measured by what the others say. docs/how-to/models.md says how often that is right.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np

from thorax.images import decoding
from thorax.storage.progress import progress

SIDE = 32  # pixels of the thumbnails
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)  # of a thumbnail's grey values
NAMES = (
    *(f"quantile {share}" for share in QUANTILES),
    "symmetry",  # correlation of the thumbnail and its mirror image
    "likeness",  # correlation of the thumbnail and the mean one of the training images
    "likeness of columns",  # the same of their means by column and by row
    "likeness of rows",
    "middle",  # how much brighter the spine and heart are than the brighter side, in the upper half of the thumbnail
    "coarse edges",  # log of the mean gradient of the thumbnail, and of the image
    "fine edges",
)
SHARE = 0.995
FAR = 4.0  # distance in units of the limit from which on hardly any image is a radiograph
DETAILED = 3.0  # deviations of fine edges above which images may be photographs, text or noise
DISORDERED = -6.0  # deviations of the likeness of rows below which they may be these as well; a lateral view keeps its rows
MOST = 5000  # training images that are described
FEWEST = 10  # training images that a summary needs
_UPPER = slice(8, 20)  # rows of a thumbnail with lungs
_LEFT, _MIDDLE, _RIGHT = (
    slice(6, 12),
    slice(14, 18),
    slice(20, 26),
)  # columns with one lung, what is between them, and the other
_FOLDS = 5
_MAD = 1.4826  # standard deviations in a median absolute deviation, if values are normal
_NORMAL = 2.576  # standard deviations below which 0.5% of normal values are
_CLIP = 5.0  # deviations at which training images count, so that a few strange ones do not widen what is usual
_LITTLE = 0.01  # added before a logarithm
_SMALLEST = 1e-3  # deviation of a number that hardly varies


class Looks(NamedTuple):
    """What is seen of n images."""

    distances: np.ndarray  # (n,) from the training images, in units of the limit: above 1, an image is unlike them
    lateral: (
        np.ndarray
    )  # (n,) bool: the middle is not brighter than both sides, or less so than in `SHARE` of the training images
    foreign: np.ndarray  # (n,) bool: more fine edges than in training images, or another order from top to bottom


def rows_to_describe(count: int) -> np.ndarray:
    """Which of some training images are described: all, or `MOST` evenly spaced ones."""
    return np.linspace(0, count - 1, min(count, MOST)).round().astype(int)


def summarise(images: np.ndarray) -> dict[str, Any] | None:
    """Summarise packed training images, (n, size, size) uint8 or uint16, as numbers for JSON, for `look`.

    None of fewer than `FEWEST` images: it would say too little, and too much of each.
    """
    if len(images) < FEWEST:
        return None
    mean = np.mean([thumbnail(image) for image in images], axis=0).round(4)
    described = np.stack([describe(image, mean) for image in progress(images, "reference", unit="image")])
    folds = np.arange(len(described)) % _FOLDS
    held_out = [_distances(_fit(described[folds != fold]), described[folds == fold]) for fold in range(_FOLDS)]
    limit = float(np.quantile(np.concatenate(held_out), SHARE))
    fitted, place = _fit(described), NAMES.index("middle")
    usual = fitted["centre"][place] - _NORMAL * fitted["scale"][place]  # few images do not have such a quantile
    middle = min(usual, float(np.quantile(described[:, place], 1 - SHARE)))
    return {"images": len(images), "mean": mean.tolist(), "limit": limit, "middle": middle, **fitted}


def is_valid(reference: Mapping[str, Any]) -> bool:
    """Whether a summary has the numbers that `look` needs; a bundle may have anything."""
    count = len(NAMES)
    shapes = {"mean": (SIDE, SIDE), "centre": (count,), "scale": (count,), "inverse": (count, count), "limit": (), "middle": ()}
    try:
        arrays = {name: np.array(reference[name], np.float64) for name in shapes}
    except (LookupError, TypeError, ValueError):
        return False
    fits = all(arrays[name].shape == shape and np.isfinite(arrays[name]).all() for name, shape in shapes.items())
    return fits and bool((arrays["scale"] > 0).all()) and float(arrays["limit"]) > 0


def look(reference: Mapping[str, Any], images: np.ndarray) -> Looks:
    """Look at images (n, size, size) as networks see them; `reference` is what `summarise` returned."""
    mean = np.array(reference["mean"], np.float32)
    described = np.array([describe(image, mean) for image in images]).reshape(-1, len(NAMES))
    apart = _deviations(reference, described)
    columns = {name: apart[:, place] for place, name in enumerate(NAMES)}
    lateral = described[:, NAMES.index("middle")] < reference["middle"]
    foreign = (columns["fine edges"] > DETAILED) | (columns["likeness of rows"] < DISORDERED)
    return Looks(_distances(reference, described) / reference["limit"], lateral, foreign)


def describe(pixels: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Describe one image (size, size), uint8 or uint16, by the numbers of `NAMES`; `mean` is the reference's thumbnail."""
    small = thumbnail(pixels)
    alike = [_correlation(small, other) for other in (small[:, ::-1], mean)]
    alike += [_correlation(small.mean(axis), mean.mean(axis)) for axis in (0, 1)]
    edges = [np.log(_gradient(image) + _LITTLE) for image in (small, _unit(pixels))]
    left, between, right = (float(small[_UPPER, columns].mean()) for columns in (_LEFT, _MIDDLE, _RIGHT))
    return np.array([*np.quantile(small, QUANTILES), *alike, between - max(left, right), *edges], np.float64)


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """An image (size, size) from 0 to 1, (32, 32) float32."""
    return decoding.resize(_unit(pixels), SIDE, SIDE)


def _fit(described: np.ndarray) -> dict[str, Any]:
    """Centre and scale of each number, and the inverse covariance of the deviations."""
    from sklearn.covariance import ledoit_wolf

    centre = np.median(described, axis=0)
    scale = np.maximum(_MAD * np.median(np.abs(described - centre), axis=0), _SMALLEST)
    covariance, _ = ledoit_wolf(np.clip((described - centre) / scale, -_CLIP, _CLIP))
    inverse = np.linalg.inv(covariance)
    return {"centre": centre.tolist(), "scale": scale.tolist(), "inverse": inverse.tolist()}


def _deviations(fitted: Mapping[str, Any], described: np.ndarray) -> np.ndarray:
    return (described - np.array(fitted["centre"])) / np.array(fitted["scale"])


def _distances(fitted: Mapping[str, Any], described: np.ndarray) -> np.ndarray:
    apart = _deviations(fitted, described)
    return np.sqrt(np.einsum("ni,ij,nj->n", apart, np.array(fitted["inverse"]), apart))


def _unit(pixels: np.ndarray) -> np.ndarray:
    """From the smallest to the largest value, 0 to 1, float32."""
    low, high = int(pixels.min()), int(pixels.max())
    return (pixels.astype(np.float32) - low) / max(high - low, 1)


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation, 0 where one does not vary."""
    a, b = first.ravel() - first.mean(), second.ravel() - second.mean()
    product = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / product if product > 0 else 0.0


def _gradient(image: np.ndarray) -> float:
    return float(np.hypot(cv2.Sobel(image, cv2.CV_32F, 1, 0), cv2.Sobel(image, cv2.CV_32F, 0, 1)).mean())
