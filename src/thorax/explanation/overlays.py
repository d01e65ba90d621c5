"""Scale heatmaps and lay them over the original radiograph (Liz et al. 2022, section 3.5)."""

import numpy as np
from matplotlib.colors import to_rgb

from thorax.images import decoding

OPACITY = 0.9  # of the hottest pixel: the paper's "10% transparency"; proportional to the heat


def scale_maps(maps: np.ndarray) -> np.ndarray:
    """Divide each map of (..., h, w) by its own maximum; a map without variation does not localise and becomes zeros."""
    lowest, highest = maps.min(axis=(-2, -1), keepdims=True), maps.max(axis=(-2, -1), keepdims=True)
    return np.where(highest > lowest, maps, 0) / np.where(highest > 0, highest, 1)


def to_original(heat: np.ndarray, box: decoding.Box, rows: int, columns: int) -> np.ndarray:
    """Enlarge a map to its box in a (rows, columns) float32 image that is 0 elsewhere."""
    left, top, right, bottom = decoding.box_pixels(box, rows, columns)
    placed = np.zeros((rows, columns), np.float32)
    placed[top:bottom, left:right] = decoding.resize(heat.astype(np.float32), bottom - top, right - left)
    return placed


def tint(grey: np.ndarray, heat: np.ndarray, colour: str) -> np.ndarray:
    """Blend a colour into a grey image (h, w) uint8, as opaque as it is hot (0 to 1): (h, w, 3) floats from 0 to 1."""
    opacity = OPACITY * np.clip(heat, 0, 1)[..., None]
    blended = (1 - opacity) * (grey[..., None] / 255) + opacity * np.array(to_rgb(colour))
    return blended.clip(0, 1)
