"""Which files are images: by their first bytes, or because their names say so."""

import re
from pathlib import Path

from thorax.images import dicom, formats, tiff
from thorax.images.suffixes import SUFFIXES

_NOT_IMAGES = ("DICOMDIR",)  # a DICOM file that lists others
_SIGNATURES = (formats.PNG_SIGNATURE, formats.JPEG_SIGNATURE, *tiff.SIGNATURES)
_START = 132  # bytes that say what a file is


def start(path: Path) -> bytes:
    """The first bytes of a file. Raises OSError."""
    with path.open("rb") as file:
        return file.read(_START)


def is_image(path: Path) -> bool:
    """Whether a file is PNG, JPEG, TIFF or DICOM by its first bytes, or by its name, as a damaged one or a broken link is.

    DICOM without preamble has few bytes in common, so its name may only have no ending, or that of a UID. Raises OSError.
    """
    named = path.name.lower().endswith(SUFFIXES)
    if path.name.upper() in _NOT_IMAGES:
        return False
    if not path.is_file():
        return named and path.is_symlink()
    if named:
        return True
    found = start(path)
    if found.startswith(_SIGNATURES) or found[128:] == b"DICM":
        return True
    return dicom.is_dicom(found) and re.fullmatch(r"(\.\d+)?", path.suffix) is not None
