"""What a PNG or JPEG file says about its pixels: their size, whether the file is complete, and the picture's orientation.

It looks for damage that the decoders overlook (see `decoding.decode`): a file that ends early, a damaged chunk or segment between
the pixels, and missing scans of a progressive JPEG, which would leave a blurred picture.
"""

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"

_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by colour type; a palette holds colours
_PNG_HEADER = 33  # bytes of the signature and the first chunk
_PNG_PIXELS, _PNG_END = b"IDAT", b"IEND"
_PNG_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
_PNG_ORIENTED = (b"Raw profile type exif", b"Raw profile type APP1", b"XML:com.adobe.xmp")  # texts that can hold one
_HEX_EXIF = b"Exif\0\0".hex()

_START_OF_SCAN, _END_OF_IMAGE, _EXIF_OR_XMP = 0xDA, 0xD9, 0xE1
_JPEG_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # markers that start a frame; 0xF7 is JPEG-LS
_JPEG_SEQUENTIAL = {0xC0, 0xC1, 0xC3, 0xC9}  # 0xC3 is lossless, 0xC9 arithmetic
_JPEG_PROGRESSIVE = {0xC2, 0xCA}
_JPEG_BARE = {0x01, 0xD8, *range(0xD0, 0xD8)}  # markers without a segment, which have no place between segments
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # a marker that is neither a stuffed byte nor a restart
_COEFFICIENTS = 64  # of a block
_XMP_ORIENTATION = re.compile(rb"\bOrientation\s*(?:=\s*[\"']|>\s*)([1-8])\b")  # more forms than Pillow reads
_ONE_PIXEL = b"\0\1\0\1"  # height and width for Pillow, which refuses large pictures and is to see no pixel

UPRIGHT = 1
# How a stored picture is turned to be seen upright, by EXIF's orientation (EXIF 2.32, 4.6.4, tag 0x0112)
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    UPRIGHT: lambda image: image,
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: np.swapaxes(image, 0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(np.swapaxes(image, 0, 1), 2),
    8: np.rot90,
}


@dataclass(frozen=True)
class Header:
    """What a file says about its image before a pixel is decoded; zeros where it does not get that far."""

    rows: int = 0
    columns: int = 0
    channels: int = 0  # as stored, alpha included
    bits: int = 0  # of the type that holds a sample: 8 or 16
    burned_in: bool = False  # the header of a DICOM file says that annotation is part of the picture
    collimated: bool = False  # and that a collimator's edges are inside it
    lateral: bool = False  # and that it is a lateral view


class UnusableImage(Exception):
    """An image that cannot be used.

    `reason` is one of those in `schemas.INGESTED`, `header` is what is known about it, and `detail` is the end of a sentence on
    why, where there is more to say than the reason does.
    """

    def __init__(self, reason: str, header: Header | None = None, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.header, self.detail = reason, header or Header(), detail


def read_header(data: bytes) -> Header:
    """Read the size of a PNG or JPEG from its first bytes, without decoding it.

    Raises UnusableImage: empty (no bytes), not_image (another format, or an image without pixels), truncated (the file ends
    inside its header or the header is damaged).
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


def read_orientation(data: bytes) -> int:
    """Walk through a whole PNG or JPEG that `read_header` could read; return EXIF's orientation, or 1 where the file has none.

    A PNG's chunks must reach its IEND with valid checksums; those of the pixels are left to the decoder. A JPEG's segments must
    reach its end-of-image marker, and its scans must hold every bit of every component. Raises UnusableImage: truncated (the file
    ends early or is damaged), not_image (a JPEG of a kind that is not read).
    """
    return _walk_png(data) if data.startswith(PNG_SIGNATURE) else _walk_jpeg(data)


def _png_header(data: bytes) -> Header:
    if len(data) < _PNG_HEADER or zlib.crc32(data[12:29]) != struct.unpack(">I", data[29:33])[0]:
        raise UnusableImage("truncated")
    kind, columns, rows, depth, colour = struct.unpack(">4sIIBB", data[12:26])
    if kind != b"IHDR" or colour not in _PNG_CHANNELS:
        raise UnusableImage("not_image")
    return Header(rows, columns, _PNG_CHANNELS[colour], 16 if depth == 16 else 8)


def _walk_png(data: bytes) -> int:
    position, oriented = len(PNG_SIGNATURE), []
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            break
        if kind != _PNG_PIXELS:
            chunk = data[position + 4 : end - 4]
            if zlib.crc32(chunk) != struct.unpack_from(">I", data, end - 4)[0]:
                break
            if kind == b"eXIf" or (kind in _PNG_TEXTS and chunk[4:].startswith(_PNG_ORIENTED)):
                oriented.append(data[position:end])
        if kind == _PNG_END:
            if not oriented:
                return UPRIGHT
            one_pixel = cv2.imencode(".png", np.zeros((1, 1), np.uint8))[1].tobytes()  # for texts, Pillow decodes all pixels
            return _orientation(one_pixel[:_PNG_HEADER] + b"".join(oriented) + one_pixel[_PNG_HEADER:])
        position = end
    raise UnusableImage("truncated")


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment, until what follows is not one; the last end may be beyond the file's."""
    position = 2
    while position + 2 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4])
        yield marker, position, end
        position = end
        if marker == _START_OF_SCAN:
            found = _AFTER_SCAN.search(data, end)
            if not found:
                return
            position = found.start()


def _jpeg_header(data: bytes) -> Header:
    for marker, start, _ in _jpeg_segments(data):
        if marker in _JPEG_FRAMES and start + 10 <= len(data):
            precision, rows, columns, channels = struct.unpack_from(">BHHB", data, start + 4)
            return Header(rows, columns, channels, 16 if precision > 8 else 8)
    raise UnusableImage("truncated")


def _walk_jpeg(data: bytes) -> int:
    head, oriented, progressive, final = [b"\xff\xd8"], False, False, dict[int, set[int]]()
    for marker, start, end in _jpeg_segments(data):
        segment = data[start + 4 : end]
        if marker == _END_OF_IMAGE:
            if not final or any(len(done) < _COEFFICIENTS for done in final.values()):
                break
            return _orientation(b"".join(head)) if oriented else UPRIGHT
        if marker in _JPEG_BARE or not start + 4 <= end <= len(data):
            break
        if marker in _JPEG_FRAMES:
            if len(segment) < 6 or len(segment) != 6 + 3 * segment[5]:
                break
            if marker not in _JPEG_SEQUENTIAL | _JPEG_PROGRESSIVE or segment[0] != 8:
                raise UnusableImage("not_image")
            progressive = marker in _JPEG_PROGRESSIVE
            final = {component: set() for component in segment[6 : 6 + 3 * segment[5] : 3]}
            head.append(data[start : start + 5] + _ONE_PIXEL + data[start + 9 : end])
        elif marker == _EXIF_OR_XMP and segment.startswith((b"Exif\0", b"http://ns.adobe.com/xap/1.0/\0")):
            oriented = True
            head.append(data[start:end])
        elif marker == _START_OF_SCAN:
            if not _note_scan(segment, progressive, final):
                break
            head += [data[start:end]] if len(head) < 2 or head[-1][1] != _START_OF_SCAN else []
    raise UnusableImage("truncated")


def _note_scan(segment: bytes, progressive: bool, final: dict[int, set[int]]) -> bool:
    """Add the coefficients that are complete with this scan to `final`; whether its header makes sense."""
    if not segment or len(segment) != 4 + 2 * segment[0]:
        return False
    first, last, bits = segment[-3:]
    components = segment[1 : 1 + 2 * segment[0] : 2]
    if not set(components) <= set(final) or (progressive and not first <= last < _COEFFICIENTS):
        return False
    for component in components:
        if not progressive:
            final[component] = set(range(_COEFFICIENTS))
        elif bits & 0x0F == 0:  # the scan brings the lowest bit
            final[component].update(range(first, last + 1))
    return True


def _orientation(file: bytes) -> int:
    """EXIF's orientation (or, where there is no EXIF, that of XMP), read by Pillow from a file without its pixels."""
    from PIL import ExifTags, Image

    try:
        with Image.open(io.BytesIO(file)) as picture:
            Image.Exif().load(picture.info.get("exif", b""))  # raises at damage, which `getexif` may have passed over by now
            profile = picture.info.get("Raw profile type APP1", "")  # which Pillow does not look for; XMP may be in it too
            if "".join(profile.lower().split("\n")[3:]).startswith(_HEX_EXIF):
                picture.info.setdefault("Raw profile type exif", profile)
            orientation = picture.getexif().get(ExifTags.Base.Orientation)
            if orientation is None and (stated := _XMP_ORIENTATION.search(picture.info.get("xmp", b""))):
                orientation = int(stated[1])
    except (OSError, SyntaxError, ValueError, struct.error, EOFError) as error:  # what Pillow raises at damaged EXIF
        raise UnusableImage("truncated") from error
    return orientation if orientation in TURNS else UPRIGHT
