"""Random changes of training images: one affine warp and one lookup table per image.

Rotation, shifts, shear, zoom and flip are one matrix; channel shift and brightness are one table of 256 entries.
For equal parameters the result is that of Keras's ImageDataGenerator with fill_mode="nearest", up to rounding.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from thorax.config import Augmentation


@dataclass(frozen=True)
class Draw:
    """The parameters of one image's change.

    Attributes:
        rotation, shear: degrees.
        shift_x, shift_y: pixels.
        zoom_x, zoom_y: factors applied to coordinates: above 1 shows more than the image.
        flip: mirror left and right, after the warp.
        channel_shift: grey levels of 255.
        brightness: factor.
    """

    rotation: float
    shift_x: float
    shift_y: float
    shear: float
    zoom_x: float
    zoom_y: float
    flip: bool
    channel_shift: float
    brightness: float


def draw(settings: Augmentation, size: int, count: int, rng: np.random.Generator) -> list[Draw]:
    """Draw the parameters of `count` images of `size` x `size` pixels."""

    def symmetric(limit: float) -> np.ndarray:
        return rng.uniform(-limit, limit, count)

    columns = (
        symmetric(settings.rotation),
        symmetric(settings.width_shift) * size,
        symmetric(settings.height_shift) * size,
        symmetric(settings.shear),
        1 + symmetric(settings.zoom),
        1 + symmetric(settings.zoom),
        (rng.random(count) < 0.5) & settings.horizontal_flip,
        symmetric(settings.channel_shift) * 255,
        rng.uniform(*settings.brightness, count),
    )
    return [Draw(*(value.item() for value in row)) for row in zip(*columns, strict=True)]


def affine_matrix(change: Draw, size: int) -> np.ndarray:
    """The (2, 3) matrix that maps output (x, y) to input (x, y) for a `size` x `size` image.

    As in Keras: rotation, shift, shear and zoom are multiplied in this order, about the centre of the image.
    """
    theta, shear = np.deg2rad(change.rotation), np.deg2rad(change.shear)
    cos, sin = np.cos(theta), np.sin(theta)
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    shift = np.array([[1, 0, change.shift_x], [0, 1, change.shift_y], [0, 0, 1]])
    shearing = np.array([[1, -np.sin(shear), 0], [0, np.cos(shear), 0], [0, 0, 1]])
    zoom = np.diag([change.zoom_x, change.zoom_y, 1.0])
    centre = (size - 1) / 2
    to_centre = np.array([[1, 0, centre], [0, 1, centre], [0, 0, 1]])
    from_centre = np.array([[1, 0, -centre], [0, 1, -centre], [0, 0, 1]])
    matrix = to_centre @ rotation @ shift @ shearing @ zoom @ from_centre
    if change.flip:
        matrix = matrix @ np.array([[-1, 0, size - 1], [0, 1, 0], [0, 0, 1]])
    return matrix[:2]


def grey_table(change: Draw, low: int, high: int) -> np.ndarray:
    """The lookup table (256,) uint8 of channel shift, clipped to the image's own range, then brightness."""
    shifted = np.clip(np.arange(256) + change.channel_shift, low, high)
    return np.clip(np.floor(shifted) * change.brightness, 0, 255).astype(np.uint8)


def augment(image: np.ndarray, change: Draw, out: np.ndarray | None = None) -> np.ndarray:
    """Change one (size, size) uint8 image; the result goes to `out` where given."""
    size = image.shape[0]
    warped = cv2.warpAffine(
        np.ascontiguousarray(image),
        affine_matrix(change, size),
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    low, high, _, _ = cv2.minMaxLoc(warped)
    return cv2.LUT(warped, grey_table(change, int(low), int(high)), dst=out)
