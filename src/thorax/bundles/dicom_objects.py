"""DICOM files about predicted radiographs, for the archive of a hospital: Secondary Captures and Structured Reports.

They have the patient and study of their source, because an archive files them by these. Nothing else that thorax writes has them.
"""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pydicom

from thorax.bundles import dicom_source
from thorax.bundles.bundle import Bundle
from thorax.bundles.dicom_equipment import Equipment
from thorax.bundles.dicom_source import Source, UnusableHeader
from thorax.bundles.inputs import CAPTURE, REPORT, Listed, Names
from thorax.bundles.model import Answer
from thorax.bundles.secondary_captures import capture
from thorax.bundles.structured_reports import report
from thorax.storage import store

Make = Callable[[Source, Equipment, Answer], pydicom.Dataset]


class DicomObjects:
    """Writes DICOM files as answers come, to the folders `captures` and `reports`, or to one of them.

    The same bundle, file and numbers give the same bytes, and other numbers another SOP Instance UID.
    """

    def __init__(self, bundle: Bundle, listed: Sequence[Listed], captures: Path | None, reports: Path | None) -> None:
        self.equipment = Equipment(bundle)
        self.paths = {one.name: one.path for one in listed}
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
            source = dicom_source.read(self.paths[name], self.equipment.contents.dataset.max_pixels)
            if source is None:
                self.not_dicom += 1
                return
            files = self._files(source, answer)
        except MemoryError:
            raise
        except UnusableHeader as unusable:
            self.problems.append(f"{name}: no DICOM file is written, because {unusable}.")
            return
        except Exception:  # texts of errors quote the header
            self.problems.append(f"{name}: no DICOM file is written, because its header breaks rules of DICOM.")
            return
        stem = self.names.free([Path(name).stem], "")
        for folder, ending, data in files:
            with store.atomic(folder / f"{stem}{ending}") as temporary:
                temporary.write_bytes(data)
            self.written[ending] += 1

    @property
    def said(self) -> list[str]:
        """A sentence on the files of each kind, on the images that have none together, and on each that should have one."""
        kinds = ((self.captures, CAPTURE, "Secondary Captures"), (self.reports, REPORT, "Structured Reports"))
        counted = [f"{what}: {self.written[ending]:,} in {folder}." for folder, ending, what in kinds if folder is not None]
        others = [f"Without DICOM files: {self.not_dicom:,} images that are not DICOM."] * bool(self.not_dicom)
        return [*counted, *others, *self.not_drawn, *self.problems]

    def _files(self, source: Source, answer: Answer) -> list[tuple[Path, str, bytes]]:
        """The folder, the ending and the bytes of each file that is asked for."""
        files = []
        if self.captures is not None:
            if answer.radiograph.header.burned_in:
                why = "its header says that text is burned into the picture"
                self.not_drawn.append(f"{answer.radiograph.name}: no Secondary Capture is written, because {why}.")
            else:
                files.append((self.captures, CAPTURE, self._bytes(capture, source, answer)))
        if self.reports is not None:
            files.append((self.reports, REPORT, self._bytes(report, source, answer)))
        return files

    def _bytes(self, make: Make, source: Source, answer: Answer) -> bytes:
        file = io.BytesIO()
        pydicom.dcmwrite(file, make(source, self.equipment, answer), enforce_file_format=True)
        return file.getvalue()
