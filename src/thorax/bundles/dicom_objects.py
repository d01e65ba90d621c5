"""DICOM files about predicted radiographs, for the archive of a hospital: Secondary Captures and Structured Reports.

They have the patient and study of their source, because an archive files them by these. Nothing else that thorax writes has them.
"""

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pydicom
from pydicom.uid import UID

from thorax.bundles import dicom_source
from thorax.bundles.bundle import Bundle
from thorax.bundles.dicom_equipment import Equipment
from thorax.bundles.dicom_source import Source, UnusableHeader
from thorax.bundles.inputs import CAPTURE, REPORT, Listed, Names
from thorax.bundles.model import Answer
from thorax.bundles.radiographs import why_unusable
from thorax.bundles.secondary_captures import capture
from thorax.bundles.structured_reports import report
from thorax.errors import ThoraxError
from thorax.images.formats import UnusableImage
from thorax.storage import store

Make = Callable[[Source, Equipment, Answer], pydicom.Dataset]


class DicomObjects:
    """Writes DICOM files as answers come, to the folders `captures` and `reports`, or to one of them.

    The same bundle, file and numbers give the same bytes, and other bytes have another SOP Instance UID. A file is only ever replaced
    by the same instance.
    """

    def __init__(self, bundle: Bundle, listed: Sequence[Listed], captures: Path | None, reports: Path | None) -> None:
        self.equipment = Equipment(bundle)
        self.equipment.digest  # noqa: B018  # kept, so that no radiograph is blamed where the bundle cannot be read
        self.listed = {one.name: one for one in listed}
        self.captures, self.reports = captures, reports
        self.names = Names()
        self.written = dict.fromkeys((CAPTURE, REPORT), 0)
        self.not_dicom = 0
        self.not_drawn: list[str] = []
        self.problems: list[str] = []

    def add(self, answer: Answer) -> None:
        """Write the files of one answer, if its radiograph is DICOM."""
        name = answer.radiograph.name
        try:
            source = self._source(self.listed[name])
            made = self._made(source, answer) if source else []
        except UnusableHeader as unusable:
            self.problems.append(f"{name}: no DICOM file was written: {unusable}.")
            return
        if source is None:
            self.not_dicom += 1
            return
        free: Callable[[str], bool] = lambda stem: all(
            _is_free(folder / f"{stem}{ending}", instance) for folder, ending, instance, _ in made
        )
        stem = self.names.free([Path(name).stem], "", free)
        for folder, ending, _, data in made:
            with store.atomic(folder / f"{stem}{ending}") as temporary:
                temporary.write_bytes(data)
            self.written[ending] += 1

    @property
    def said(self) -> list[str]:
        """A sentence on the files of each kind, on the images that have none together, and on each that should have one."""
        kinds = ((self.captures, CAPTURE, "Secondary Captures"), (self.reports, REPORT, "Structured Reports"))
        counted = [f"{what}: {self.written[ending]:,} in {folder}." for folder, ending, what in kinds if folder is not None]
        what = "image that is" if self.not_dicom == 1 else "images that are"
        others = [f"Without DICOM files: {self.not_dicom:,} {what} not DICOM."] * bool(self.not_dicom)
        return [*counted, *others, *self.not_drawn, *self.problems]

    def _source(self, listed: Listed) -> Source | None:
        """The header of a radiograph, with that of the second one of a pair; None if the first is not DICOM."""
        source = _read(listed.path, self.equipment.contents.dataset.max_pixels)
        if source is None or listed.second is None:
            return source
        try:
            return replace(source, second=_read(listed.second.path, self.equipment.contents.dataset.max_pixels))
        except UnusableHeader as unusable:
            raise UnusableHeader(f"it cannot refer to {listed.second.name}: {unusable}") from unusable

    def _made(self, source: Source, answer: Answer) -> list[tuple[Path, str, UID, bytes]]:
        """The folder, the ending, the SOP Instance UID and the bytes of each file that is asked for."""
        made = []
        if self.captures is not None:
            if answer.radiograph.header.burned_in:
                why = "its header says that text is burned into the picture"
                self.not_drawn.append(f"{answer.radiograph.name}: no Secondary Capture was written: {why}.")
            else:
                made.append((self.captures, CAPTURE, *self._instance(capture, source, answer)))
        if self.reports is not None:
            made.append((self.reports, REPORT, *self._instance(report, source, answer)))
        return made

    def _instance(self, make: Make, source: Source, answer: Answer) -> tuple[UID, bytes]:
        """A new instance as bytes, and its SOP Instance UID, which is computed from all else that it has."""
        with _invalid_header():
            made = make(source, self.equipment, answer)
            instance = dicom_source.uid("instance", hashlib.sha256(_bytes(made)).hexdigest())
            made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = instance
            return instance, _bytes(made)


def _read(path: Path, max_pixels: int) -> Source | None:
    """As `dicom_source.read`; raises UnusableHeader whatever the problem."""
    try:
        with _invalid_header():
            return dicom_source.read(path, max_pixels)
    except UnusableImage as unusable:
        raise UnusableHeader(why_unusable(unusable)) from unusable
    except ThoraxError as error:
        raise UnusableHeader(str(error).rstrip(".")) from error


@contextmanager
def _invalid_header() -> Iterator[None]:
    """Say of an error of pydicom or highdicom that the header is not valid; hide its text and warnings, which may quote it."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except (MemoryError, UnusableHeader, UnusableImage, ThoraxError):
        raise
    except Exception as error:
        raise UnusableHeader(f"its header is not valid DICOM ({type(error).__name__})") from error


def _bytes(made: pydicom.Dataset) -> bytes:
    file = io.BytesIO()
    pydicom.dcmwrite(file, made, enforce_file_format=True)
    return file.getvalue()


def _is_free(path: Path, instance: UID) -> bool:
    """Whether an instance can have this path: there is no file, or the same instance."""
    if not os.path.lexists(path):
        return True
    try:
        return path.is_file() and pydicom.dcmread(path, specific_tags=["SOPInstanceUID"]).get("SOPInstanceUID") == instance
    except Exception:  # another file
        return False
