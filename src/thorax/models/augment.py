"""Augmentation of training images: one warp and one lookup table per image, and mixup.

Rotation, shifts, shear, zoom and flip are one matrix; contrast, channel shift and brightness are one table of 256 entries.
For the same parameters the result is that of Keras' ImageDataGenerator with fill_mode="nearest", up to rounding. Contrast, which
it lacks, is that of TensorFlow's adjust_contrast. Elastic displacements are added to the matrix's coordinates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from thorax.config import Augmentation
from thorax.storage.schemas import IGNORED

CHUNK = 16  # images warped before their tables are applied: enough to build tables together, few enough for a core's cache
CELLS_PER_DEVIATION = 3  # cells of the displacement grid per deviation; linear interpolation is then smooth enough


@dataclass(frozen=True, eq=False)
class Draw:
    """The parameters of n images' augmentation, as (n,) arrays; equal parameters give equal images."""

    rotation: np.ndarray  # degrees
    shift_x: np.ndarray  # pixels
    shift_y: np.ndarray
    shear: np.ndarray  # degrees
    zoom_x: np.ndarray  # factors applied to coordinates; above 1 shows more than the image
    zoom_y: np.ndarray
    flip: np.ndarray  # mirror left and right, after the warp; bool
    channel_shift: np.ndarray  # grey levels out of 255
    brightness: np.ndarray  # factors
    fields: np.ndarray  # random seeds for the elastic displacements, int64
    contrast: np.ndarray  # factors of each grey value's distance to the image's mean
    elastic: float = 0.0  # longest displacement of any image in pixels; 0 for none
    deviation: float = 1.0  # standard deviation in pixels of the Gaussian that smooths displacements

    def __getitem__(self, chosen: np.ndarray | slice) -> "Draw":
        """The parameters of some of the images."""
        arrays: dict[str, Any] = {name: value[chosen] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return replace(self, **arrays)


def draw(settings: Augmentation, size: int, count: int, rng: np.random.Generator) -> Draw:
    """Draw the parameters of `count` images of `size` x `size` pixels."""

    def symmetric(limit: float) -> np.ndarray:
        return rng.uniform(-limit, limit, count)

    return Draw(
        rotation=symmetric(settings.rotation),
        shift_x=symmetric(settings.width_shift) * size,
        shift_y=symmetric(settings.height_shift) * size,
        shear=symmetric(settings.shear),
        zoom_x=1 + symmetric(settings.zoom),
        zoom_y=1 + symmetric(settings.zoom),
        flip=(rng.random(count) < 0.5) & settings.horizontal_flip,
        channel_shift=symmetric(settings.channel_shift) * 255,
        brightness=rng.uniform(*settings.brightness, count),
        fields=rng.integers(2**63, size=count),
        contrast=rng.uniform(*settings.contrast, count),  # drawn last, so that the others do not depend on it
        elastic=settings.elastic * size,
        deviation=settings.elastic_smoothness * size,
    )


def affine_matrices(change: Draw, size: int) -> np.ndarray:
    """The (n, 2, 3) float64 matrices that map output (x, y) to input (x, y) for `size` x `size` images.

    As in Keras: rotation, shift, shear and zoom are multiplied in this order, about the centre of the image.
    """
    theta, shear = np.deg2rad(change.rotation), np.deg2rad(change.shear)
    cos, sin = np.cos(theta), np.sin(theta)
    rotation = _matrices(cos, -sin, 0, sin, cos, 0)
    shift = _matrices(1, 0, change.shift_x, 0, 1, change.shift_y)
    shearing = _matrices(1, -np.sin(shear), 0, 0, np.cos(shear), 0)
    zoom = _matrices(change.zoom_x, 0, 0, 0, change.zoom_y, 0)
    centre = (size - 1) / 2
    to_centre, from_centre = _matrices(1, 0, centre, 0, 1, centre), _matrices(1, 0, -centre, 0, 1, -centre)
    matrices = to_centre @ rotation @ shift @ shearing @ zoom @ from_centre
    matrices[change.flip] = matrices[change.flip] @ _matrices(-1, 0, size - 1, 0, 1, 0)
    return matrices[:, :2]


def _matrices(*entries: np.ndarray | float) -> np.ndarray:
    """Affine matrices (n, 3, 3), or one (1, 3, 3), from the entries of their first two rows, each a number or (n,)."""
    matrices = np.zeros((max(np.size(entry) for entry in entries), 3, 3))
    for place, entry in enumerate(entries):
        matrices[:, place // 3, place % 3] = entry
    matrices[:, 2, 2] = 1
    return matrices


def grey_tables(change: Draw, low: np.ndarray, high: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Lookup tables (n, 256) uint8 for contrast, then channel shift, clipped to each image's own range, then brightness.

    `low`, `high` and `mean` are the (n,) smallest, largest and mean grey values of the warped images.
    """

    def contrasted(grey: np.ndarray) -> np.ndarray:
        stretched = grey + (change.contrast[:, None] - 1) * (grey - mean[:, None])
        return np.rint(np.clip(stretched, 0, 255))

    shifted = contrasted(np.arange(256)) + change.channel_shift[:, None]
    shifted = np.clip(shifted, contrasted(low[:, None]), contrasted(high[:, None]))
    return np.clip(np.floor(shifted) * change.brightness[:, None], 0, 255).astype(np.uint8)


def elastic_map(matrix: np.ndarray, size: int, longest: float, deviation: float, seed: int) -> np.ndarray:
    """Where each output pixel comes from: the matrix's coordinates plus smooth random displacements.

    Displacements as in Simard, Steinkraus and Platt 2003 (ICDAR, section 2): uniform noise for each axis, smoothed by a
    Gaussian and normalised, so that the longest at a node of a coarse grid has `longest` pixels. All coordinates are interpolated
    linearly from the grid, which is exact for the affine part. The matrix, (2, 3), is from output (x, y) to input (x, y). Returns
    (size, size, 2) float32 of x and y, for `cv2.remap`.
    """
    cell = max(1, round(deviation / CELLS_PER_DEVIATION))
    nodes = math.ceil(size / cell) + 1  # so that the outermost are on or outside the image's border
    margin = math.ceil(3 * deviation / cell)  # so that the field is as smooth at the border as inside
    noise = np.random.default_rng(seed).random((nodes + 2 * margin, nodes + 2 * margin, 2), np.float32) * 2 - 1
    field: np.ndarray = cv2.GaussianBlur(noise, (0, 0), deviation / cell)[margin:-margin, margin:-margin]
    field *= longest / math.sqrt(max(float((field[..., 0] ** 2 + field[..., 1] ** 2).max()), 1e-30))
    inset = cell // 2
    at = (np.arange(nodes) + 0.5) * cell - 0.5 - inset  # the nodes in the image: centres of cells
    field += (matrix[:, 0] * at[:, None]).astype(np.float32)[None]
    field += (matrix[:, 1] * at[:, None] + matrix[:, 2]).astype(np.float32)[:, None]
    fine = cv2.resize(field, None, fx=cell, fy=cell, interpolation=cv2.INTER_LINEAR)
    return fine[inset : inset + size, inset : inset + size]


def augment(images: Sequence[np.ndarray], change: Draw, out: np.ndarray) -> None:
    """Augment n images of (size, size) uint8, for example rows of a memory-mapped array, into `out`, (n, size, size) uint8."""
    size, edge, flags = out.shape[-1], cv2.BORDER_REPLICATE, cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    matrices = affine_matrices(change, size)
    source = np.empty(out.shape[1:], np.uint8)
    for first in range(0, len(out), CHUNK):
        chunk = slice(first, first + CHUNK)
        warped, changes = out[chunk], change[chunk]
        for image, matrix, seed, target in zip(images[chunk], matrices[chunk], changes.fields.tolist(), warped, strict=True):
            np.copyto(source, image)  # copy and warp are faster than a warp that reads uncached memory at a slant
            if change.elastic:
                places = elastic_map(matrix, size, change.elastic, change.deviation, seed)
                cv2.remap(source, places, None, cv2.INTER_LINEAR, dst=target, borderMode=edge)  # type: ignore[call-overload]
            else:
                cv2.warpAffine(source, matrix, (size, size), dst=target, flags=flags, borderMode=edge)
        low, high = np.array([cv2.minMaxLoc(image)[:2] for image in warped]).T
        stretches = bool((changes.contrast != 1).any())
        mean = np.array([cv2.mean(image)[0] for image in warped]) if stretches else low  # not used where nothing is stretched
        for image, table in zip(warped, grey_tables(changes, low, high, mean), strict=True):
            cv2.LUT(image, table, dst=image)


def draw_mix(alpha: float, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw the partner mixed into each image of an epoch, (n,) int64 positions, and the image's own weight, (n,) float64.

    Mixup: Zhang, Cisse, Dauphin and Lopez-Paz 2018, section 2; `alpha` is both parameters of the Beta distribution.
    """
    return rng.permutation(count), rng.beta(alpha, alpha, count)


def mix_images(images: np.ndarray, others: np.ndarray, weights: np.ndarray) -> None:
    """Mix `others` into `images`, both augmented (n, size, size) uint8, in place, rounded to a grey level."""
    for image, other, weight in zip(images, others, weights.tolist(), strict=True):
        cv2.addWeighted(image, weight, other, 1 - weight, 0, dst=image)


def mix_labels(labels: np.ndarray, others: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The (n, k) float32 labels of mixed images: fractions in [0, 1], or -1 where either image's label is ignored."""
    share = weights[:, None]
    known = (labels != IGNORED) & (others != IGNORED)
    return np.where(known, share * labels + (1 - share) * others, IGNORED).astype(np.float32)
