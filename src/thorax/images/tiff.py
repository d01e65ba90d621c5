"""TIFF files of one grey or coloured picture: their header is read by Pillow, their pixels by libtiff (imagecodecs).

TIFF 6.0 (Aldus 1992). Several pages, palettes, single bits and floating point are refused with the reason. TIFF has no checksums: most damage
is found by the compression, and damage to uncompressed pixels by nothing.
"""

import io
import struct
import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from thorax.images import decoding, formats
from thorax.images.formats import Header, UnusableImage

SIGNATURES = (b"II*\0", b"MM\0*")
_COLUMNS, _ROWS, _BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _FORMAT = 256, 257, 258, 262, 274, 277, 339  # tags
_WHITE_IS_ZERO, _KINDS = 0, (0, 1, 2, 6)  # photometric interpretations: grey, RGB, and YCbCr, which becomes RGB


def is_tiff(data: bytes) -> bool:
    """Whether a file is TIFF."""
    return data.startswith(SIGNATURES)


def decode(data: bytes, max_pixels: int) -> tuple[np.ndarray, Header]:
    """Decode a TIFF, unless its header announces more than `max_pixels`, and turn it upright, as `decoding.decode` does.

    Where white is stored as 0, values are inverted, so that bones are bright as they are where the picture is shown.
    Raises UnusableImage: truncated; too_large; multi_frame; unsupported.
    """
    import imagecodecs

    tags, more = _read_tags(data)
    header = _check(tags, more)
    if header.rows * header.columns > min(max_pixels, decoding.MAX_DECODED):
        raise UnusableImage("too_large", header)
    try:
        image = imagecodecs.tiff_decode(data)
    except (RuntimeError, ValueError, IndexError) as error:
        raise UnusableImage("truncated", header) from error
    expected = (header.rows, header.columns, header.channels)[: 2 + (header.channels > 1)]
    if image.shape != expected or image.dtype != f"u{header.bits // 8}":
        raise UnusableImage("unsupported", header, "its header and its pixels differ, or its channels are stored apart")
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        image = np.iinfo(image.dtype).max - image
    turn = formats.TURNS.get(tags.get(_ORIENTATION, formats.UPRIGHT), formats.TURNS[formats.UPRIGHT])
    image = np.ascontiguousarray(turn(image))
    return image, replace(header, rows=image.shape[0], columns=image.shape[1])


def _read_tags(data: bytes) -> tuple[dict[int, Any], bool]:
    """The tags of the first page, and whether there is another page."""
    from PIL import TiffImagePlugin

    file = io.BytesIO(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what Pillow warns of is damage
            found = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
            file.seek(found.next)
            found.load(file)
            return {tag: found[tag] for tag in list(found)}, bool(found.next)
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error, UserWarning, OverflowError) as error:
        raise UnusableImage("truncated") from error


def _check(tags: dict[int, Any], more: bool) -> Header:
    rows, columns, channels = (tags.get(tag, default) for tag, default in ((_ROWS, 0), (_COLUMNS, 0), (_SAMPLES, 1)))
    bits, kinds = (tags.get(tag, (1,)) for tag in (_BITS, _FORMAT))
    if not all(isinstance(number, int) for number in (rows, columns, channels)) or not (rows and columns):
        raise UnusableImage("truncated")
    header = Header(rows, columns, channels, 16 if bits[0] == 16 else 8)
    if more:
        raise UnusableImage("multi_frame", header, "it has several pages, and only single images are read")
    if set(bits) not in ({8}, {16}) or set(kinds) != {1} or tags.get(_PHOTOMETRIC) not in _KINDS or not 1 <= channels <= 4:
        raise UnusableImage("unsupported", header, "its pixels are not grey or RGB values of 8 or 16 bits")
    return header
