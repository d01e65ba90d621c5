"""Pure functions on images: from the bytes of a file to one grey channel, and from there to a network's input."""

import logging
import threading
from dataclasses import replace

import cv2
import numpy as np

from thorax.images import formats
from thorax.images.formats import Header, UnusableImage

MAX_SIDE = 1_000_000  # libpng refuses longer sides
MAX_DECODED = 2**30  # pixels; a limit of OpenCV
_COLOURS = {1: "GRAY", 3: "RGB", 4: "CMYK"}  # of a JPEG, by its number of components

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 as fractions of the width and height
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


def decode(data: bytes, max_pixels: int) -> tuple[np.ndarray, Header]:
    """Decode a PNG or JPEG, unless its header announces more than `max_pixels`, and turn it upright.

    Any complaint of the decoder about the pixels counts as damage, even if it would return a picture: simplejpeg raises what libjpeg
    only warns of, and imagecodecs logs what libpng warns of. Damage without a warning or a wrong checksum cannot be found.

    Returns the image, (rows, columns) or (rows, columns, channels): grey and alpha, or red, green, blue and perhaps alpha;
    uint8 or uint16; and its header, with the rows and columns of the upright picture. Raises UnusableImage with the reason.
    """
    header = formats.read_header(data)
    pixels = header.rows * header.columns
    if pixels > min(max_pixels, MAX_DECODED) or max(header.rows, header.columns) > MAX_SIDE:
        raise UnusableImage("too_large", header)
    try:
        orientation = formats.read_orientation(data)
        image = decode_jpeg(data, header) if data.startswith(formats.JPEG_SIGNATURE) else _decode_png(data)
    except UnusableImage as unusable:
        raise UnusableImage(unusable.reason, header) from unusable
    if image.shape[:2] != (header.rows, header.columns):
        raise UnusableImage("truncated", header)
    image = np.ascontiguousarray(formats.TURNS[orientation](image))
    return image, replace(header, rows=image.shape[0], columns=image.shape[1])


def decode_jpeg(data: bytes, header: Header) -> np.ndarray:
    """Decode a JPEG of 8 bits with this header; raises UnusableImage where libjpeg warns."""
    import simplejpeg

    if header.channels not in _COLOURS:
        raise UnusableImage("not_image")
    try:
        image = simplejpeg.decode_jpeg(data, _COLOURS[header.channels], strict=True)
    except ValueError as error:
        raise UnusableImage("truncated") from error
    if header.channels == 4:  # libjpeg leaves inks as they are; OpenCV turns them into colours
        inks = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
        if inks is None:
            raise UnusableImage("truncated")
        return inks[..., ::-1]
    return image.squeeze(2) if header.channels == 1 else image


def _decode_png(data: bytes) -> np.ndarray:
    import imagecodecs

    _complaints.texts = []
    try:
        image = imagecodecs.png_decode(data)
    except (RuntimeError, ValueError) as error:  # ValueError: a message of libpng that is not text
        raise UnusableImage("truncated") from error
    if any("IDAT" in text for text in _complaints.texts):
        raise UnusableImage("truncated")
    return image


def _note(record: logging.LogRecord) -> bool:
    _complaints.texts.append(record.getMessage())
    return False  # let no record through


_complaints = threading.local()  # has the texts that the PNG decoder logs in the thread that decodes
logging.getLogger("imagecodecs").addFilter(_note)


def to_grey(image: np.ndarray) -> np.ndarray:
    """One channel (rows, columns) of the same type from an image of `decode`: colours by luminance, alpha is ignored.

    Luminance is 0.299 red, 0.587 green, 0.114 blue (ITU-R BT.601); equal channels keep their exact value.
    """
    if image.ndim == 2:
        return image
    if image.shape[2] == 2:
        return np.ascontiguousarray(image[..., 0])
    return cv2.cvtColor(image, cv2.COLOR_RGBA2GRAY if image.shape[2] == 4 else cv2.COLOR_RGB2GRAY)


def resize(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Resize without keeping the aspect: area averages along an axis that shrinks, linear along one that grows."""
    smaller = (min(rows, image.shape[0]), min(columns, image.shape[1]))
    if image.shape[:2] != smaller:
        image = cv2.resize(image, smaller[::-1], interpolation=cv2.INTER_AREA)
    if image.shape[:2] != (rows, columns):
        image = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return image


def normalize(image: np.ndarray, low: int, high: int) -> np.ndarray:
    """Map an image's unsigned integers, from its smallest, low, to its largest, high (above low), to uint8 0..255, rounded.

    This is the "between 0 and 1" of Liz et al. 2022, section 3.2.
    """
    steps = np.arange(high - low + 1, dtype=np.int64)
    table = ((2 * 255 * steps + (high - low)) // (2 * (high - low))).astype(np.uint8)
    return table[image - image.dtype.type(low)]


def box_pixels(box: Box, rows: int, columns: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom pixel edges of a box of fractions, at least one pixel wide and high."""
    left, right = _edges(box[0], box[2], columns)
    top, bottom = _edges(box[1], box[3], rows)
    return left, top, right, bottom


def _edges(low: float, high: float, pixels: int) -> tuple[int, int]:
    first = min(round(float(low) * pixels), pixels - 1)
    return first, max(round(float(high) * pixels), first + 1)


def crop(image: np.ndarray, box: Box) -> np.ndarray:
    """The part of an image inside a box, as a view."""
    left, top, right, bottom = box_pixels(box, *image.shape[:2])
    return image[top:bottom, left:right]


def restore_aspect(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Undo the squashing of an ingested square image, whose original had these rows and columns: its longer side stays."""
    longest, side = max(rows, columns), image.shape[0]
    return resize(image, max(1, round(side * rows / longest)), max(1, round(side * columns / longest)))
