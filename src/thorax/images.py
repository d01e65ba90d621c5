"""Pure functions on images: from the bytes of a file to one grey channel, and from there to a network's input."""

import struct
import zlib
from dataclasses import dataclass

import cv2
import numpy as np

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by colour type; a palette holds colours
JPEG_NO_FRAME = {0xC4, 0xC8, 0xCC}  # the three markers between SOF0 and SOF15 that start no frame
MAX_SIDE = 1_000_000  # libpng refuses longer sides
MAX_DECODED = 2**30  # OpenCV raises at more pixels than this

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 as fractions of the width and height
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)

# Contrast-limited adaptive histogram equalisation (Zuiderveld 1994, Graphics Gems IV, VIII.5) as in OpenCV's tutorial.
CLAHE_LIMIT = 2.0  # of a tile's histogram, in multiples of its mean bin
CLAHE_TILES = (8, 8)


@dataclass(frozen=True)
class Header:
    """What a file says about its image before a pixel is decoded; zeros where it does not get that far."""

    rows: int = 0
    columns: int = 0
    channels: int = 0  # as stored, alpha included
    bits: int = 0  # of the type that holds a sample: 8 or 16


class UnusableImage(Exception):
    """An image that cannot be used: `reason` is one of those of `catalog.INGESTED`, `header` what is known of it."""

    def __init__(self, reason: str, header: Header | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.header = header or Header()


def read_header(data: bytes) -> Header:
    """Read the size of a PNG or JPEG from its first bytes, without decoding it.

    Raises:
        UnusableImage: empty (no bytes), not_image (another format, or an image without pixels), truncated (the file
            ends inside its header or the header is damaged).
    """
    if not data:
        raise UnusableImage("empty")
    if data.startswith(PNG_SIGNATURE):
        header = _png_header(data)
    elif data.startswith(JPEG_SIGNATURE):
        header = _jpeg_header(data)
    else:
        cut = PNG_SIGNATURE.startswith(data) or JPEG_SIGNATURE.startswith(data)
        raise UnusableImage("truncated" if cut else "not_image")
    if header.rows == 0 or header.columns == 0:
        raise UnusableImage("not_image")
    return header


def _png_header(data: bytes) -> Header:
    if len(data) < 33 or zlib.crc32(data[12:29]) != struct.unpack(">I", data[29:33])[0]:
        raise UnusableImage("truncated")
    kind, columns, rows, depth, colour = struct.unpack(">4sIIBB", data[12:26])
    if kind != b"IHDR" or colour not in PNG_CHANNELS:
        raise UnusableImage("not_image")
    return Header(rows, columns, PNG_CHANNELS[colour], 16 if depth == 16 else 8)


def _jpeg_header(data: bytes) -> Header:
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            break
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in JPEG_NO_FRAME:
            if position + 10 > len(data):
                break
            precision, rows, columns, channels = struct.unpack(">BHHB", data[position + 4 : position + 10])
            return Header(rows, columns, channels, 16 if precision > 8 else 8)
        position += 2 + struct.unpack(">H", data[position + 2 : position + 4])[0]
    raise UnusableImage("truncated")


def is_complete(data: bytes) -> bool:
    """Whether a PNG's chunks reach its IEND, or a JPEG's last scan is closed by an end-of-image marker."""
    if data.startswith(JPEG_SIGNATURE):
        return data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda")
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        position += 12 + length
        if kind == b"IEND":
            return position <= len(data)
    return False


def decode(data: bytes, max_pixels: int) -> tuple[np.ndarray, Header]:
    """Decode a PNG or JPEG, unless its header announces more than `max_pixels`.

    Checksums are left to the decoder (libpng verifies the CRC of every image chunk and zlib's own), which would read
    the bytes a second time otherwise.

    Args:
        data: the bytes of a file.

    Returns:
        The image, (rows, columns) or (rows, columns, 3 or 4) in blue, green, red order, uint8 or uint16; and its header.

    Raises:
        UnusableImage: as `read_header`; too_large; truncated (the file ends early or is damaged).
    """
    header = read_header(data)
    pixels = header.rows * header.columns
    if pixels > min(max_pixels, MAX_DECODED) or max(header.rows, header.columns) > MAX_SIDE:
        raise UnusableImage("too_large", header)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if is_complete(data) else None
    if image is None or image.shape[:2] != (header.rows, header.columns):
        raise UnusableImage("truncated", header)
    return image, header


def to_grey(image: np.ndarray) -> np.ndarray:
    """One channel: colours by luminance (0.299 red, 0.587 green, 0.114 blue; ITU-R BT.601), alpha is ignored.

    Args:
        image: (rows, columns) or (rows, columns, 3 or 4) in blue, green, red order, uint8 or uint16.

    Returns:
        (rows, columns) of the same type; equal channels keep their exact value.
    """
    if image.ndim == 2:
        return image
    return cv2.cvtColor(image, cv2.COLOR_BGRA2GRAY if image.shape[2] == 4 else cv2.COLOR_BGR2GRAY)


def resize(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Resize without keeping the aspect: area averages along an axis that shrinks, linear along one that grows."""
    smaller = (min(rows, image.shape[0]), min(columns, image.shape[1]))
    if image.shape[:2] != smaller:
        image = cv2.resize(image, smaller[::-1], interpolation=cv2.INTER_AREA)
    if image.shape[:2] != (rows, columns):
        image = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return image


def normalize(image: np.ndarray, low: int, high: int) -> np.ndarray:
    """Map grey values low..high to 0..255, rounded, as uint8: the "between 0 and 1" of Liz et al. 2022, section 3.2.

    Args:
        image: unsigned integers within low..high.
        low, high: the image's smallest and largest grey value, high above low.
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


def equalize(image: np.ndarray) -> np.ndarray:
    """Histogram equalisation of a uint8 image."""
    return cv2.equalizeHist(image)


def equalize_tiles(image: np.ndarray) -> np.ndarray:
    """Histogram equalisation of a uint8 image by tiles, with limited contrast (CLAHE)."""
    return cv2.createCLAHE(CLAHE_LIMIT, CLAHE_TILES).apply(image)


def restore_aspect(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Undo the squashing of an ingested image: its longer side stays, the other shrinks to rows : columns.

    Args:
        image: a square image.
        rows, columns: the original's size, pixels.
    """
    longest = max(rows, columns)
    side = image.shape[0]
    return resize(image, max(1, round(side * rows / longest)), max(1, round(side * columns / longest)))
