"""TIFF files of one grey or coloured picture: their pixels are read by libtiff (imagecodecs).

TIFF 6.0 (Aldus 1992). Several pages, palettes, single bits and floating point are refused with the reason. TIFF has no checksums:
most damage is found by the compression, and damage to uncompressed pixels by nothing.
"""

import struct
from dataclasses import replace

import numpy as np

from thorax.images import decoding, formats
from thorax.images.formats import Header, UnusableImage

SIGNATURES = (b"II*\0", b"MM\0*")
_TAGS = _COLUMNS, _ROWS, _BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _FORMAT = 256, 257, 258, 262, 274, 277, 339
_TYPES = {1: "B", 3: "H", 4: "I"}  # of a tag's values: byte, short, long
_MOST_VALUES = 16  # of a tag: a picture with more channels is not read
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
    if tags[_PHOTOMETRIC][0] == _WHITE_IS_ZERO:
        image = np.iinfo(image.dtype).max - image
    orientation = tags.get(_ORIENTATION, (formats.UPRIGHT,))[0]
    image = np.ascontiguousarray(formats.TURNS.get(orientation, formats.TURNS[formats.UPRIGHT])(image))
    return image, replace(header, rows=image.shape[0], columns=image.shape[1])


def _read_tags(data: bytes) -> tuple[dict[int, tuple[int, ...]], bool]:
    """The values of the tags of the first page that matter, and whether there is another page."""
    order = "<" if data.startswith(b"II") else ">"
    try:
        (place,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, place)
        tags = {}
        for start in range(place + 2, place + 2 + 12 * count, 12):
            tag, kind, length = struct.unpack_from(f"{order}HHI", data, start)
            if tag in _TAGS and length:
                form = f"{order}{min(length, _MOST_VALUES)}{_TYPES[kind]}"
                inline = length * struct.calcsize(f"{order}{_TYPES[kind]}") <= 4
                where = start + 8 if inline else struct.unpack_from(f"{order}I", data, start + 8)[0]
                tags[tag] = struct.unpack_from(form, data, where)
        (following,) = struct.unpack_from(f"{order}I", data, place + 2 + 12 * count)
    except (struct.error, LookupError) as error:
        raise UnusableImage("truncated") from error
    return tags, following > 0


def _check(tags: dict[int, tuple[int, ...]], more: bool) -> Header:
    rows, columns, channels = (tags.get(tag, (default,))[0] for tag, default in ((_ROWS, 0), (_COLUMNS, 0), (_SAMPLES, 1)))
    bits, kinds = (tags.get(tag, (1,)) for tag in (_BITS, _FORMAT))
    if not (rows and columns):
        raise UnusableImage("truncated")
    header = Header(rows, columns, channels, 16 if bits[0] == 16 else 8)
    if more:
        raise UnusableImage("multi_frame", header, "it has several pages, and only single images are read")
    known = set(bits) in ({8}, {16}) and set(kinds) == {1} and tags.get(_PHOTOMETRIC, (None,))[0] in _KINDS
    if not known or not 1 <= channels <= 4:
        raise UnusableImage("unsupported", header, "its pixels are not grey or RGB values of 8 or 16 bits")
    return header
