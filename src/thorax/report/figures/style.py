"""Figures of the paper, as PNG and SVG: the common look, preprocessing steps and training curves.

The same inputs give the same bytes: no dates, a fixed hash salt, and matplotlib's own defaults whatever the user's
matplotlibrc says. Figures are built without pyplot, so nothing global is left behind.
"""

import io
import re
import textwrap
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from thorax.report import typeset
from thorax.report.figures import fonts
from thorax.storage import store
from thorax.storage.schemas import SPLIT_NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle


# Okabe and Ito's palette, which people with any kind of colour blindness can tell apart
BLUE, SKY, GREEN, YELLOW = "#0072B2", "#56B4E9", "#009E73", "#F0E442"


ORANGE, VERMILION, PURPLE, GREY = "#E69F00", "#D55E00", "#CC79A7", "#666666"


SPLIT_COLOURS = dict(zip(SPLIT_NAMES, (BLUE, SKY, ORANGE), strict=True))


DPI = 150


LOG_FROM = 30  # an axis is logarithmic where the largest value exceeds the smallest so many times


F1_SIDES = {"f1": "mean of both sides", "f1_positive": "positive side"}  # which F1 an axis shows


STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "legend.frameon": False,
    "svg.hashsalt": "thorax",
    "text.parse_math": False,  # titles and names are the user's, and a $ in them is a dollar
}


HEADING_SIZE = 10.8  # points


LETTER = 0.58  # mean width of a letter, as a share of the font size


PHOTO_QUALITY = 90  # of 100, of radiographs in pages


LARGEST_SIDE = 16383  # pixels of a WebP picture


@contextmanager
def style() -> Iterator[None]:
    """The project's look, on top of matplotlib's defaults."""
    import matplotlib.style

    with matplotlib.style.context(["default", STYLE]):
        yield


def save(figure: "Figure", out: Path, title: str, photos: bool = False) -> None:
    """Write `out` + .png, .svg and .html, a page of the same picture for the report.

    Args:
        figure: what is drawn.
        out: path without suffix.
        title: heading of the page.
        photos: whether the figure shows radiographs; see `webp_pictures`.
    """
    store_as = {".png": {"Software": None}, ".svg": {"Date": None}}
    with style():
        fonts.cover(figure)
        for suffix, metadata in store_as.items():
            with store.atomic(out.with_name(out.name + suffix)) as temporary:
                figure.savefig(temporary, format=suffix[1:], dpi=DPI, metadata=metadata)
    store.write_text(typeset.picture_page(title, webp_pictures(figure, photos)), out.with_name(out.name + ".html"))


def png_bytes(figure: "Figure", dpi: int = DPI) -> bytes:
    """The figure as the bytes of a PNG, for a notebook to show."""
    buffer = io.BytesIO()
    with style():
        fonts.cover(figure)
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def webp_pictures(figure: "Figure", photos: bool = False) -> list[bytes]:
    """The figure as WebP, a fraction of a PNG's size: one picture, or several strips where it is too tall for the format.

    Args:
        figure: what is drawn.
        photos: whether it shows radiographs, which are stored with a small loss; drawings are stored exactly.
    """
    whole = pixels(figure, min(DPI, int(LARGEST_SIDE / figure.get_figwidth())))
    quality = PHOTO_QUALITY if photos else 101  # OpenCV's word for no loss
    return [
        cv2.imencode(
            ".webp", cv2.cvtColor(whole[top : top + LARGEST_SIDE], cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, quality]
        )[1].tobytes()
        for top in range(0, len(whole), LARGEST_SIDE)
    ]


def pixels(figure: "Figure", dpi: int = DPI) -> np.ndarray:
    """The figure as (h, w, 3) uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with style():
        fonts.cover(figure)
        figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def fit(text: str, inches: float, size: float = HEADING_SIZE) -> str:
    """Break the lines of a text that are wider than a figure.

    Args:
        text: lines.
        inches: width of the figure.
        size: of the letters in points.
    """
    most = max(int(72 * inches / (LETTER * size)), 1)
    return "\n".join("\n".join(wrapped(line, most)) or line for line in text.split("\n"))


def wrapped(text: str, width: int) -> list[str]:
    """Lines of a text that are no wider than `width` letters; those of Chinese, Japanese and Korean count twice."""
    pad = "\ue000"  # after each wide letter; of private use, so that no text has it
    return [line.replace(pad, "") for line in textwrap.wrap(re.sub(r"\S", lambda found: _padded(found[0], pad), text), width)]


def _padded(letter: str, pad: str) -> str:
    return letter + pad if unicodedata.east_asian_width(letter) in "WF" else letter


def shortened(text: str, width: int) -> str:
    """The text, or as much of it as `width` letters hold with three dots."""
    return text if len(wrapped(text, width)) < 2 else f"{wrapped(text, width - 3)[0]}..."


def log_scale(axes: "Axes") -> None:
    """Make the vertical axis logarithmic, with its numbers in plain text."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def rectangle(left: float, top: float, right: float, bottom: float, colour: str, **line: Any) -> "Rectangle":
    """The outline of a box whose edges are in pixels, for an image drawn by imshow."""
    from matplotlib.patches import Rectangle

    # pixel centres have whole coordinates, so a pixel's edge lies half a pixel before it
    return Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=1, **line)
