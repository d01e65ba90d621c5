"""The common look of all figures, and how they are written.

The same inputs give the same bytes: no dates, a fixed hash salt, matplotlib's own defaults, and no global state of pyplot.
"""

import io
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import cv2
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, NullFormatter
from PIL import Image, WebPImagePlugin  # noqa: F401  # otherwise Pillow imports all its forms to find WebP

from thorax.report import typeset
from thorax.report.figures import fonts
from thorax.storage import store
from thorax.storage.schemas import SPLIT_NAMES

# The palette of Okabe and Ito, which people with any kind of colour blindness can tell apart
BLUE, SKY, GREEN, YELLOW = "#0072B2", "#56B4E9", "#009E73", "#F0E442"
ORANGE, VERMILION, PURPLE, GREY = "#E69F00", "#D55E00", "#CC79A7", "#666666"
SHADES = "Blues"  # one hue from light to dark: its order survives colour blindness and a black-and-white printer
SPLIT_COLOURS = dict(zip(SPLIT_NAMES, (BLUE, SKY, ORANGE), strict=True))

DPI = 200  # of PNG files and of pictures in pages
SHOWN_INCH = 150  # pixels of a page for one inch of a figure
HEADING_SIZE = 10.8  # points
SMALL_HEADING = 9.0  # points, over radiographs and curves
LETTER = 0.58  # mean width of a letter, as a share of the font size
LOG_FROM = 30  # an axis is logarithmic if its largest value exceeds this multiple of the smallest
PHOTO_QUALITY = 85  # of 100, for radiographs in pages
LARGEST_SIDE = 16383  # pixels of a WebP picture
# Bytes, of which a page's data address has 1.5 million letters; Chromium shows none above 2 million
LARGEST_PICTURE = 1_100_000

STYLE: dict[str, Any] = {
    "font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left", "legend.frameon": False,
    "axes.edgecolor": GREY, "axes.spines.top": False, "axes.spines.right": False,
    "xtick.color": GREY, "ytick.color": GREY, "xtick.labelcolor": "black", "ytick.labelcolor": "black",
    "svg.hashsalt": "thorax", "svg.fonttype": "none",  # text that can be edited
    "text.parse_math": False,  # a $ in a title or name is a dollar
}  # fmt: skip


@contextmanager
def style() -> Iterator[None]:
    """The project's look, on top of matplotlib's defaults."""
    with matplotlib.style.context(["default", STYLE]):
        yield


@contextmanager
def drawing(width: float, height: float, heading: str, size: float = HEADING_SIZE) -> Iterator[Figure]:
    """Yield a figure of this width and height in inches, with the project's look and a layout that makes room for the heading.

    The heading's letters have `size` points. Its lines, of about 0.16 inches each, are broken where they do not fit.
    """
    with style():
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.suptitle(fit(heading, width, size), x=0.01, ha="left", fontsize=size)
        yield figure


def drawing_below(width: float, height: float, heading: str) -> AbstractContextManager[Figure]:
    """As `drawing`, with `height` inches below a heading in small letters, however many lines it has."""
    lines = 1 + fit(heading, width, SMALL_HEADING).count("\n")
    return drawing(width, height + 0.16 * lines, heading, SMALL_HEADING)


def described(figure: Figure, seen: str) -> Figure:
    """The figure with a sentence that says what it shows, for those who do not see it."""
    figure.set_label(seen)
    return figure


def save(figure: Figure, out: Path, title: str, photos: bool = False) -> np.ndarray:
    """Write `out` + .png, .svg and, as a page under this title, .html; return the pixels (h, w, 3) of the .png.

    `photos` says whether the figure shows radiographs. The page says what it shows (`described`).
    """
    printed = pixels(figure)
    write_png(printed, out.with_name(out.name + ".png"))
    layout = figure.get_layout_engine()
    with style(), store.atomic(out.with_name(out.name + ".svg")) as temporary:
        figure.set_layout_engine("none")  # the layout is that of the .png
        FigureCanvasSVG(figure).print_svg(temporary, metadata={"Date": None})  # savefig would draw twice
        figure.set_layout_engine(layout)
    page = typeset.picture_page(title, shown(figure, printed, photos), seen=str(figure.get_label()))
    store.write_text(page, out.with_name(out.name + ".html"))
    return printed


def write_png(picture: np.ndarray, out: Path) -> None:
    """Write pixels (h, w, 3) uint8, drawn at `DPI`; compressed little, which halves the time for a seventh more bytes."""
    with store.atomic(out) as temporary:
        Image.fromarray(picture).save(temporary, "PNG", compress_level=3, dpi=(DPI, DPI))


def shown(figure: Figure, printed: np.ndarray, photos: bool = False) -> list[tuple[bytes, int]]:
    """A figure's pixels as WebP (`webp_pictures`), each with the width in pixels at which a page shows it.

    With `photos` it has no more pixels than that, as a radiograph's take many bytes.
    """
    width = round(figure.get_figwidth() * SHOWN_INCH)
    if photos:
        height = round(len(printed) * width / printed.shape[1])
        printed = cv2.resize(printed, (width, height), interpolation=cv2.INTER_AREA)
    return [(picture, width) for picture in webp_pictures(printed, photos)]


def webp_pictures(whole: np.ndarray, photos: bool = False) -> list[bytes]:
    """A figure's pixels (h, w, 3) as WebP, with a small loss if it has `photos`: one picture, or several strips if it is too tall."""
    if whole.shape[1] > LARGEST_SIDE:
        whole = cv2.resize(whole, (LARGEST_SIDE, len(whole) * LARGEST_SIDE // whole.shape[1]), interpolation=cv2.INTER_AREA)
    strips = [whole[top : top + LARGEST_SIDE] for top in range(0, len(whole), LARGEST_SIDE)]
    return [picture for strip in strips for picture in _webp_strips(strip, photos)]


def _webp_strips(strip: np.ndarray, photos: bool) -> list[bytes]:
    """A picture (h, w, 3) as WebP, in strips where it would be too large to be embedded in a page."""
    picture = webp(strip, photos)
    if len(picture) <= LARGEST_PICTURE or len(strip) < 2:
        return [picture]
    middle = len(strip) // 2
    return [*_webp_strips(strip[:middle], photos), *_webp_strips(strip[middle:], photos)]


def webp(picture: np.ndarray, photos: bool) -> bytes:
    """A picture (h, w, 3) uint8 as WebP, with a small loss if it has `photos`."""
    return encoded(picture, "WEBP", **({"quality": PHOTO_QUALITY, "method": 4} if photos else {"lossless": True}))


def encoded(picture: np.ndarray, form: str, **options: Any) -> bytes:
    """A picture (h, w, 3) uint8 as the bytes of a file in one of Pillow's forms, such as PNG."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, form, **options)
    return file.getvalue()


def pixels(figure: Figure, dpi: int = DPI) -> np.ndarray:
    """The figure as (h, w, 3) uint8, laid out for its own resolution, as letters are wider where there are fewer dots."""
    with style():
        fonts.cover(figure)
        figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def fit(text: str, inches: float, size: float = HEADING_SIZE) -> str:
    """Break the lines of a text that are wider than a figure, given in inches, in letters of `size` points."""
    most = max(int(72 * inches / (LETTER * size)), 1)
    return "\n".join("\n".join(wrapped(line, most)) or line for line in text.split("\n"))


def wrapped(text: str, width: int) -> list[str]:
    """Lines of a text that are at most `width` letters wide; Chinese, Japanese and Korean letters count twice."""
    pad = "\ue000"  # after each wide letter; for private use, so that no text has it
    wide = (letter for letter in set(text) if unicodedata.east_asian_width(letter) in "WF" and not letter.isspace())
    padded = text.translate({ord(letter): letter + pad for letter in wide})
    return [line.replace(pad, "") for line in textwrap.wrap(padded, width)]


def shortened(text: str, width: int) -> str:
    """The text, cut to `width` letters with three dots if it is longer."""
    return text if len(wrapped(text, width)) < 2 else f"{wrapped(text, width - 3)[0]}..."


def extremes(values: pd.Series, decimals: int = 3, unit: str = "") -> str:
    """Say from where to where values go, and whose they are by the index: "from 0.610 (mass) to 0.950 (hernia)", or "0.610 (mass)"."""
    known = values.dropna()
    if known.empty:
        return "none defined"
    low, high = (f"{known[name]:,.{decimals}f}{unit} ({name})" for name in (known.idxmin(), known.idxmax()))
    return f"from {low} to {high}" if len(known) > 1 else low


def log_scale(axes: Axes) -> None:
    """Make the vertical axis logarithmic, with plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def rectangle(left: float, top: float, right: float, bottom: float, colour: str, **line: Any) -> Rectangle:
    """The outline of a box whose edges are in pixels, for an image drawn by imshow."""
    # pixel centres have whole coordinates, so a pixel's edge lies half a pixel before it
    return Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=1, **line)


def bars(axes: Axes, widths: Any, names: Sequence[str], texts: Sequence[str], gap: int = 3, **look: Any) -> None:
    """Draw horizontal bars of these `widths` (n,) from top to bottom, each with its name on the left and a text at its end."""
    place = np.arange(len(widths))
    axes.barh(place, widths, height=0.75, **look)
    name_bars(axes, widths, names, texts, gap)


def name_bars(axes: Axes, ends: Any, names: Sequence[str], texts: Sequence[str], gap: int = 3) -> None:
    """Name horizontal bars on the left, and write a text `gap` points behind the end (n,) of each."""
    for row, (end, text) in enumerate(zip(ends, texts, strict=True)):
        axes.annotate(text, (end, row), (gap, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0, labelsize=8)
