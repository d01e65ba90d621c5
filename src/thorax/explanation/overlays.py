"""Scale heatmaps and lay them over the original radiograph (Liz et al. 2022, section 3.5)."""

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb

from thorax.images import decoding

OPACITY = 0.9  # of the hottest pixel: the paper's "10% transparency"; in its look, proportional to the heat
DIMMED = 0.5  # brightness of a radiograph under hot colours, so that even over bone more heat is brighter
HOTTEST = (0.62, 0.97)  # part of the colour map inferno: orange to bright yellow. What is below is darker than dimmed bone
GLOW_EXPONENT = 0.7  # the opacity of hot colours is proportional to this power of the heat


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
    """Blend a colour into a grey image (h, w) from 0 to 255, as opaque as it is hot (0 to 1): (h, w, 3) floats from 0 to 1."""
    return _blend(grey / 255, OPACITY * np.clip(heat, 0, 1), np.array(to_rgb(colour)))


def glow(grey: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Blend heat (0 to 1) into a dimmed grey image (h, w) from 0 to 255: more heat is brighter, yellower and more opaque."""
    heat, (low, high) = np.clip(heat, 0, 1), HOTTEST
    return _blend(DIMMED * grey / 255, OPACITY * heat**GLOW_EXPONENT, colormaps["inferno"](low + (high - low) * heat)[..., :3])


def scale_colours(count: int) -> np.ndarray:
    """The colours of `glow` for `count` values from 0 to 1, (count, 3) floats from 0 to 1, before they are blended."""
    return colormaps["inferno"](np.linspace(*HOTTEST, count))[:, :3]


def _blend(grey: np.ndarray, opacity: np.ndarray, colour: np.ndarray) -> np.ndarray:
    return ((1 - opacity[..., None]) * grey[..., None] + opacity[..., None] * colour).clip(0, 1)
