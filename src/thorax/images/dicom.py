"""DICOM files of radiographs: from the bytes of a file to one grey channel with bright bones.

`decode` parses only the elements in `_ELEMENTS`, so no name, date or identifier of a patient is in memory as text; `study_and_view`, for pairs of
images, also reads the identifier of the study. pydicom parses them;
imagecodecs, which reads PNG as well, decodes compressed pixels. Its codecs are under permissive licences (libjpeg-turbo, CharLS and
OpenJPEG: BSD-like).

The standard's chain from stored to displayed values (PS3.4, N.2) is computed once for every value that a pixel can have, in float64:
modality LUT or rescale, VOI LUT or window, inversion. What it gives is rounded once, to 16 bits, and looked up for each pixel.
"""

import io
import logging
import math
import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from thorax.images import decoding, formats
from thorax.images.formats import Header, UnusableImage

if TYPE_CHECKING:
    from pydicom import Dataset

RADIOGRAPHS = ("CR", "DX", "RF", "RG")  # modalities
_UNSTATED = ("", "OT")  # then the kind of object decides
_NAMED = "CT MR US NM PT MG XA XC ES OP GM SM SC SEG SR PR KO DOC IO PX ECG RTIMAGE RTDOSE RTPLAN RTSTRUCT"  # in messages
_STORAGE = "1.2.840.10008.5.1.4.1.1."
# CR, DX for presentation and for processing, RF, grey captures
_RADIOGRAPH_CLASSES = {_STORAGE + end for end in ("1", "1.1", "1.1.1", "12.2", "7")}
_ELEMENTS = (
    "SOPClassUID Modality ViewPosition BurnedInAnnotation SamplesPerPixel PhotometricInterpretation NumberOfFrames Rows Columns BitsAllocated "
    "BitsStored HighBit PixelRepresentation PixelPaddingValue PixelPaddingRangeLimit PixelAspectRatio PixelSpacing "
    "ImagerPixelSpacing ModalityLUTSequence RescaleIntercept RescaleSlope VOILUTSequence WindowCenter WindowWidth VOILUTFunction "
    "PresentationLUTShape CollimatorShape CollimatorLeftVerticalEdge CollimatorRightVerticalEdge CollimatorUpperHorizontalEdge "
    "CollimatorLowerHorizontalEdge PixelData"
)
_LATERAL = ("LL", "RL", "LAT", "LATERAL")  # of ViewPosition (PS3.3, C.8.1.1): the first two, and what is found
_FRONTAL = ("AP", "PA")
_STARTS = (b"\x02\0", b"\x08\0", b"\0\x08")  # the first group of a file without preamble, and of one in big-endian order
_PIXELS = b"\xe0\x7f\x10\0"  # the tag of the pixels; pydicom reads nothing of a file that ends within compressed ones
_TOP = 2**16 - 1
_UID = "1.2.840.10008.1.2."
_RLE = f"{_UID}5"
_JPEG_LOSSY = {f"{_UID}4.{number}" for number in (50, 51)}  # baseline, extended
_JPEG = _JPEG_LOSSY | {f"{_UID}4.{number}" for number in (57, 70)}  # lossless of any and of first order
_JPEG_LS = {f"{_UID}4.{number}" for number in (80, 81)}
_JPEG_2000 = {f"{_UID}4.{number}" for number in (90, 91)}
_END_OF_STREAM = b"\xff\xd9"  # of JPEG, JPEG-LS and JPEG 2000, which have it nowhere else
_PADDED = 64  # bytes within which it ends a frame
_J2K = b"\xff\x4f\xff\x51"  # the first two markers
_SQUARE = 1e-3  # by which the sides of a square pixel may differ
_OBLONG = 10.0  # ratio of a pixel's sides that is an error
_LEVELS = 4  # of 255 between which a border is uniform
_BORDER = 0.02  # of the picture's height or width

logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)  # its messages quote values of the header
warnings.filterwarnings("ignore", module="pydicom")


def is_dicom(data: bytes) -> bool:
    """Whether a file is DICOM, or may be DICOM without preamble: `decode` says so."""
    return data[128:132] == b"DICM" or data.startswith(_STARTS)


def decode(data: bytes, max_pixels: int, window: str) -> tuple[np.ndarray, Header]:
    """Decode a DICOM radiograph, unless its header announces more than `max_pixels`.

    `window` is a data set's `dicom_window`: `lut` applies the first VOI LUT of the file or else its first window, `window` prefers
    the window, and `none` uses neither. Values become uint16: 0 to 65,535 of a window, whole numbers as they are (raised to begin at 0 if some are
    negative), and others spread over 0 to 65,535. Padding becomes the darkest value of the picture.

    Returns the image (rows, columns), uint16, bones bright; and its header, with the rows and columns that it would have with square
    pixels. Raises UnusableImage: not_image; truncated; too_large; constant (nothing but padding); not_radiograph, multi_frame, colour
    or no_pixels; unsupported. Its `detail` is the reason in words, without any text of the header but a modality.
    """
    header = Header()
    try:
        found = elements(data, max_pixels, _ELEMENTS.split())
        header = _check(found, data, max_pixels)
        stored, shift = _stored(found, header)
        image = cv2.LUT(stored, _table(found, shift, stored, window))
        return image, _in_square_pixels(found, header)
    except UnusableImage as unusable:
        raise UnusableImage(unusable.reason, header if header.rows else unusable.header, unusable.detail) from unusable
    except MemoryError:
        raise
    except Exception as error:  # at damaged files pydicom raises errors of any kind, and their texts quote the header
        raise UnusableImage("truncated", header, "its header is damaged") from error


class Place(NamedTuple):
    """Where an image belongs, by the header of its DICOM file."""

    study: str  # UID; blank if there is none
    lateral: bool | None  # None where the header does not say it
    for_processing: bool  # raw data of the detector, of which there is usually another image to look at


def study_and_view(data: bytes, max_pixels: int) -> Place:
    """The study and the view of a DICOM file; nothing else of the header is read. Raises UnusableImage: truncated, too_large."""
    names = ("StudyInstanceUID", "ViewPosition", "PresentationIntentType")
    try:
        found = elements(data, max_pixels, names)
        study, view, intent = (str(found.get(name) or "").strip() for name in names)
    except (UnusableImage, MemoryError):
        raise
    except Exception as error:  # as in `decode`
        raise UnusableImage("truncated", detail="its header is damaged") from error
    known = {**dict.fromkeys(_LATERAL, True), **dict.fromkeys(_FRONTAL, False)}
    return Place(study, known.get(view.upper()), intent.upper() == "FOR PROCESSING")


def has_border(image: np.ndarray) -> bool:
    """Whether a packed image (uint8, bones bright) has a uniform border along one side, as a collimator or black air leaves."""
    for axis in (0, 1):
        flat = np.ptp(image, axis=axis) <= _LEVELS
        most = max(1, round(_BORDER * len(flat)))
        if flat[:most].all() or flat[-most:].all():
            return True
    return False


def elements(data: bytes, max_pixels: int, names: Sequence[str] | None = None) -> "Dataset":
    """The named elements of a file, or all, with its meta information; not checked, so that reading their values may raise any error.

    Raises UnusableImage: truncated or too_large, of deflated files.
    """
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.filereader import read_dataset, read_preamble
    from pydicom.tag import BaseTag, Tag
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE  # what it complains of would be quoted
    file = io.BytesIO(data)
    read_preamble(file, force=True)
    meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group > 2)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return pydicom.dcmread(io.BytesIO(data), force=True, specific_tags=None if names is None else list(names))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        body = inflater.decompress(data[file.tell() :], 2 * max_pixels + 2**24)
    except zlib.error as error:
        raise UnusableImage("truncated", detail="its deflated data are damaged") from error
    if inflater.unconsumed_tail:
        raise UnusableImage("too_large", detail="it inflates to more than any image of max_pixels")
    if not inflater.eof:
        raise UnusableImage("truncated", detail="its deflated data end early")
    tags: list[BaseTag | int] | None = None if names is None else [Tag(name) for name in names]
    found = read_dataset(io.BytesIO(body), False, True, specific_tags=tags)
    found.file_meta = FileMetaDataset(meta)
    return found


def _check(found: "Dataset", data: bytes, max_pixels: int) -> Header:
    """Refuse what is not one grey radiograph; return its header."""
    modality, kind = str(found.get("Modality") or "").upper(), found.get("SOPClassUID")
    if modality not in RADIOGRAPHS and (modality not in _UNSTATED or kind not in (None, "", *_RADIOGRAPH_CLASSES)):
        shown = f"its modality is {modality}" if modality in _NAMED.split() else "its modality or kind of object is another"
        raise UnusableImage("not_radiograph", detail=f"{shown}, and only radiographs ({', '.join(RADIOGRAPHS)}) are read")
    rows, columns, allocated = (int(found.get(name) or 0) for name in ("Rows", "Columns", "BitsAllocated"))
    if not (rows and columns and allocated) and not (modality or kind):
        if data[128:132] == b"DICM" or _PIXELS in data:
            raise UnusableImage("truncated", detail="it ends early, or its header describes no image")
        raise UnusableImage("not_image")
    header = Header(rows, columns, int(found.get("SamplesPerPixel") or 1), 8 if allocated == 8 else 16)
    if (frames := int(found.get("NumberOfFrames") or 1)) > 1:
        raise UnusableImage("multi_frame", header, f"it has {frames} frames, and only single images are read")
    if not found.get("PixelData"):
        raise UnusableImage("no_pixels", header, "it has no pixel data")
    if header.channels != 1 or found.get("PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnusableImage("colour", header, "it is in colour or does not say that it is grey, and only grey images are read")
    used, top = _bits(found)
    if allocated not in (8, 16) or not 8 <= used <= top + 1 <= allocated:
        raise UnusableImage("unsupported", header, "its pixels do not have 8 to 16 bits")
    if not (rows and columns):
        raise UnusableImage("unsupported", header, "its header has no size")
    if rows * columns > min(max_pixels, decoding.MAX_DECODED):
        raise UnusableImage("too_large", header, "it has more pixels than max_pixels")
    burned_in = found.get("BurnedInAnnotation") == "YES"
    lateral = str(found.get("ViewPosition") or "").strip().upper() in _LATERAL
    return replace(header, burned_in=burned_in, collimated=_names_collimator(found, rows, columns), lateral=lateral)


def _bits(found: "Dataset") -> tuple[int, int]:
    """Bits that hold a pixel's value, and the number of the highest."""
    used = int(found.get("BitsStored") or found.BitsAllocated)
    return used, int(found.get("HighBit") or used - 1)


def _stored(found: "Dataset", header: Header) -> tuple[np.ndarray, int]:
    """The pixels as they are stored, (rows, columns) uint8 or uint16 whatever their sign, and the bits below their values."""
    syntax = found.file_meta.get("TransferSyntaxUID") if hasattr(found, "file_meta") else None
    used, top = _bits(found)
    shape, kind = (header.rows, header.columns), "u1" if header.bits == 8 else "<u2"
    if not found["PixelData"].is_undefined_length:
        order = ">" if found.original_encoding[1] is False else "<"
        data = found.PixelData
        if order == ">" and header.bits == 8 and found["PixelData"].VR == "OW":  # words, whose two bytes are swapped
            data = np.frombuffer(data[: len(data) // 2 * 2], "<u2").byteswap().tobytes()
        return _from_bytes(data, kind.replace("<", order), shape), top + 1 - used
    if syntax is None:
        raise UnusableImage("unsupported", detail="it does not say how its pixels are compressed")
    return _decompress(found.PixelData, str(syntax), kind, shape), top + 1 - used if str(syntax) == _RLE else 0


def _from_bytes(data: bytes | bytearray, kind: str, shape: tuple[int, int]) -> np.ndarray:
    needed = shape[0] * shape[1] * np.dtype(kind).itemsize
    if len(data) < needed:
        raise UnusableImage("truncated", detail="it ends within its pixels")
    image = np.frombuffer(data[:needed], kind).reshape(shape)
    return image.astype(image.dtype.newbyteorder("="), copy=False)


def _decompress(data: bytes, syntax: str, kind: str, shape: tuple[int, int]) -> np.ndarray:
    import imagecodecs
    from pydicom.encaps import get_frame

    frame = get_frame(data, 0, number_of_frames=1)
    try:
        if syntax == _RLE:
            return _from_bytes(imagecodecs.dicomrle_decode(frame, kind), kind, shape)
        if syntax not in _JPEG | _JPEG_LS | _JPEG_2000:
            raise UnusableImage("unsupported", detail="its pixels are compressed in a way that is not read")
        if _stream_shape(frame, syntax) != shape:
            raise UnusableImage("unsupported", detail="its pixels and its header differ in size")
        if _END_OF_STREAM not in frame[-_PADDED:]:
            raise UnusableImage("truncated", detail="its compressed pixels end early")
        if syntax in _JPEG_LS:
            image = imagecodecs.jpegls_decode(frame)
        elif syntax in _JPEG_2000:
            image = imagecodecs.jpeg2k_decode(frame)
        elif syntax in _JPEG_LOSSY and (header := formats.read_header(frame)).bits == 8:
            formats.read_orientation(frame)  # raises at damage
            image = decoding.decode_jpeg(frame, header)
        else:
            image = imagecodecs.jpeg8_decode(frame)
    except (RuntimeError, ValueError) as error:
        raise UnusableImage("truncated", detail="its compressed pixels are damaged") from error
    if image.shape != shape or image.itemsize > np.dtype(kind).itemsize:
        raise UnusableImage("unsupported", detail="its pixels and its header differ in size or depth")
    return image.view(f"u{image.itemsize}")


def _stream_shape(frame: bytes, syntax: str) -> tuple[int, int]:
    """Rows and columns that compressed pixels announce, before anything is decoded."""
    if syntax not in _JPEG_2000:
        header = formats.read_header(frame)
        return header.rows, header.columns
    if not frame.startswith(_J2K) or len(frame) < 24:
        raise UnusableImage("truncated", detail="its compressed pixels are damaged")
    right, lower, left, upper = struct.unpack_from(">4I", frame, 8)
    return lower - upper, right - left


def _table(found: "Dataset", shift: int, stored: np.ndarray, window: str) -> np.ndarray:
    """What each stored pattern of bits is shown as, (256,) or (65536,) uint16: PS3.4, N.2."""
    used, _ = _bits(found)
    values = ((np.arange(2 ** (8 * stored.itemsize)) >> shift) & (2**used - 1)).astype(float)
    if found.get("PixelRepresentation"):
        values[values >= 2 ** (used - 1)] -= 2**used
    padding = _padding(found, values)
    if found.get("ModalityLUTSequence"):
        values = _through(found.ModalityLUTSequence[0], values)
    else:
        values = values * float(found.get("RescaleSlope", 1)) + float(found.get("RescaleIntercept", 0))
    values, windowed = _voi(found, values, window)
    if not np.isfinite(values).all():
        raise UnusableImage("unsupported", detail="its rescale slope, intercept or window is not a number")
    low, high = float(values.min()), float(values.max())
    if windowed:
        values = values * _TOP
    elif high - low <= _TOP and (values == np.rint(values)).all():
        values = values - min(low, 0) if high - min(low, 0) <= _TOP else values - low
    else:
        values = (values - low) / ((high - low) or 1) * _TOP
    table = np.rint(values).astype(np.uint16)
    if found.PhotometricInterpretation == "MONOCHROME1" or found.get("PresentationLUTShape") == "INVERSE":
        table = (_TOP if windowed else table.max()) - table
    if padding.any():
        seen = np.zeros(len(table), bool)
        seen[stored.ravel()] = True
        if not (seen & ~padding).any():
            raise UnusableImage("constant", detail="all its pixels are padding")
        table[padding] = table[seen & ~padding].min()
    return table


def _padding(found: "Dataset", values: np.ndarray) -> np.ndarray:
    """Which values are padding: PixelPaddingValue, or all between it and PixelPaddingRangeLimit (PS3.3, C.7.5.1.1.2)."""
    ends = [found.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if ends[0] is None:
        return np.zeros(len(values), bool)
    signed = bool(found.get("PixelRepresentation"))
    known = [(int(end) & _TOP) - (2**16 if signed and int(end) & 2**15 else 0) for end in ends if end is not None]
    return (values >= min(known)) & (values <= max(known))


def _through(item: "Dataset", values: np.ndarray) -> np.ndarray:
    """Values looked up in a LUT of the header; those beyond its ends become its first or last (PS3.3, C.11.1.1)."""
    count, first, bits = (int(number) for number in item.LUTDescriptor)
    count, first = count or 2**16, first - 2**16 if first >= 2**15 and values.min() < 0 else first
    data: Any = item.LUTData
    if isinstance(data, bytes):
        order = ">" if item.original_encoding[1] is False else "<"
        data = np.frombuffer(data, "u1" if bits <= 8 and len(data) < 2 * count else f"{order}u2")
    entries = np.atleast_1d(np.asarray(data, float))
    if len(entries) < count:
        raise UnusableImage("unsupported", detail="a lookup table in its header is shorter than announced")
    return entries[np.clip(np.rint(values) - first, 0, count - 1).astype(int)]


def _voi(found: "Dataset", values: np.ndarray, window: str) -> tuple[np.ndarray, bool]:
    """Values after the VOI LUT or the window, and whether it was a window, which gives 0 to 1 (PS3.3, C.11.2)."""
    has_lut = bool(found.get("VOILUTSequence"))
    centre, width = (_first(found.get(name)) for name in ("WindowCenter", "WindowWidth"))
    has_window = centre is not None and width is not None
    if has_lut and (window == "lut" or (window == "window" and not has_window)):
        return _through(found.VOILUTSequence[0], values), False
    if window == "none" or centre is None or width is None:
        return values, False
    function = found.get("VOILUTFunction") or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID") or not width >= (1 if function == "LINEAR" else math.ulp(0)):
        raise UnusableImage("unsupported", detail="its window is not valid; dicom_window: none reads it without")
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700))), True
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    if width == 0:  # a step
        return (values > centre).astype(float), True
    return np.clip((values - centre) / width + 0.5, 0, 1), True


def _first(value: Any) -> float | None:
    """The first of one or more numbers; None where there is none."""
    numbers = [] if value is None else np.atleast_1d(np.asarray(value, float)).tolist()
    return numbers[0] if numbers else None


def _in_square_pixels(found: "Dataset", header: Header) -> Header:
    """The header with the rows and columns of the same picture in square pixels; the axis with the longer pixels grows."""
    sides: list[float] = next(
        (
            [float(side) for side in found.get(name)]
            for name in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing")  # height and width of a pixel
            if found.get(name) and all(side > 0 for side in found.get(name))
        ),
        [1.0, 1.0],
    )
    ratio = sides[0] / sides[1]
    if not 1 / _OBLONG <= ratio <= _OBLONG:
        raise UnusableImage("unsupported", detail="its pixels are implausibly oblong")
    if abs(ratio - 1) <= _SQUARE:
        return header
    return replace(header, rows=round(header.rows * max(ratio, 1)), columns=round(header.columns * max(1 / ratio, 1)))


def _names_collimator(found: "Dataset", rows: int, columns: int) -> bool:
    """Whether the header has a collimator with edges inside the picture; edges that no picture can have are ignored."""
    shapes = found.get("CollimatorShape") or ""
    if "RECTANGULAR" not in shapes:
        return bool(shapes)
    names = ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")
    left, right, upper, lower = (_first(found.get(f"Collimator{name}Edge")) for name in names)
    if left is None or right is None or upper is None or lower is None:
        return False
    whole = left <= 1 and upper <= 1 and right >= columns and lower >= rows
    return 0 <= left < right <= columns + 1 and 0 <= upper < lower <= rows + 1 and not whole
