"""The header of a radiograph that is DICOM: what names its patient and study, and what refers to it, for DICOM files about it."""

import datetime
import re
import uuid
from collections.abc import Iterable, MutableSequence
from dataclasses import dataclass
from pathlib import Path

from highdicom import SOPClass
from pydicom import DataElement, Dataset
from pydicom.charset import convert_encodings, default_encoding
from pydicom.multival import MultiValue
from pydicom.uid import UID
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR

from thorax import __version__
from thorax.images import dicom, ingest

REQUIRED = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
NOT_KNOWN = datetime.date(1900, 1, 1)  # the date of a study whose header has none
_ASKED = "PatientID PatientName PatientBirthDate PatientSex StudyDate StudyTime AccessionNumber StudyID ReferringPhysicianName"
_DATES = ("Study", "Series", "Acquisition", "Content")
_OF_PIXELS = "BodyPartExamined Laterality LossyImageCompression LossyImageCompressionRatio LossyImageCompressionMethod"
_CLOCK = ("InstanceCreationDate", "InstanceCreationTime", "DateOfSecondaryCapture", "TimeOfSecondaryCapture")
TO_BE_COMPUTED = UID("2.25.0")  # SOP Instance UID of an instance that is not complete
_UTF_8 = "ISO_IR 192"
_NOT_DECODED = re.compile("[\ufffd\x1b\x80-\x9f]")  # what is left of bytes that no character set explains


class UnusableHeader(Exception):
    """A header that no DICOM file can refer to; its text is the end of a sentence, without any value of the header."""


@dataclass(frozen=True)
class Source:
    """The header of a radiograph, decoded."""

    header: Dataset
    second: "Source | None" = None  # of the second image of a pair

    @property
    def stub(self) -> Dataset:
        """What highdicom asks of an instance that is referred to, with nothing about the patient and the study but the study's UID."""
        stub = Dataset()
        for name in _ASKED.split():
            setattr(stub, name, "")
        for name in REQUIRED:
            setattr(stub, name, self.header[name].value)
        return stub

    @property
    def number(self) -> int:
        """The number of the image in its series; 1 if there is none."""
        try:
            return max(int(self.header.InstanceNumber), 1)
        except (AttributeError, TypeError, ValueError):
            return 1

    @property
    def moment(self) -> tuple[datetime.date, datetime.time]:
        """Date and time of the study, or else of the series, the acquisition or the image; midnight where no time is known.

        Files have this moment instead of that of the prediction, so that the same inputs give the same files.
        """
        for what in _DATES:
            try:
                day = datetime.datetime.strptime(str(self.header.get(f"{what}Date")), "%Y%m%d").date()
            except ValueError:
                continue
            found = re.match(r"([01]\d|2[0-3])([0-5]\d)([0-5]\d)", str(self.header.get(f"{what}Time")))
            return day, datetime.time(int(found[1]), int(found[2]), int(found[3])) if found else datetime.time()
        return NOT_KNOWN, datetime.time()

    def series(self, *words: str) -> UID:
        """The UID of a new series about the series of this image."""
        return uid(*words, self.header.StudyInstanceUID, self.header.SeriesInstanceUID)

    def complete(self, made: SOPClass) -> None:
        """Give a new instance the patient and study of the source, without private elements; take away what depends on the clock.

        Raises UnusableHeader if text of the patient or study is damaged; see `check_text`.
        """
        for name in _ASKED.split():
            made[name].value = None
        made.copy_patient_and_study_information(self.header)
        made.remove_private_tags()
        check_text((one for one in made if self.header.get_item(one.tag) is one), self.header.get("SpecificCharacterSet"))
        for name in _CLOCK:
            if name in made:
                del made[name]
        for item in made.get("ContributingEquipmentSequence", ()):
            del item.ContributionDateTime
        made.SpecificCharacterSet = _UTF_8

    def describe(self, made: Dataset) -> None:
        """What is true of the source's pixels is true of a picture of them: the part of the body, its orientation, losses."""
        made.PatientOrientation = self.header.get("PatientOrientation")
        if "BodyPartExamined" not in self.header:
            made.Laterality = None  # not known; it may be absent only for unpaired body parts
        for name in _OF_PIXELS.split():
            if name in self.header:
                made.add(self.header[name])
        if self.header.get("BurnedInAnnotation") == "NO":  # otherwise nobody knows
            made.BurnedInAnnotation = "NO"


def read(path: Path, max_pixels: int) -> Source | None:
    """Read the header of a radiograph; None if the file is not DICOM.

    Raises UnusableHeader if it lacks a UID that a reference needs.
    """
    data = ingest.read_once(path, max_pixels)
    if not dicom.is_dicom(data):
        return None
    header = dicom.elements(data, max_pixels)
    del header.PixelData
    header.decode()
    for name in REQUIRED:
        value = header.get(name)
        if not isinstance(value, UID) or not value.is_valid:
            raise UnusableHeader(f"its header has no valid {name}")
    return Source(header)


def check_text(elements: Iterable[DataElement], declared: str | MutableSequence[str] | None) -> None:
    """Check decoded elements and those of their sequences: an archive would file damaged names, and nobody would notice.

    `declared` is the value of Specific Character Set. Raises UnusableHeader for text that was not written in this set: pydicom
    decodes it to something else, and says so in warnings only.
    """
    encodings = ["ascii" if name == default_encoding else name for name in convert_encodings(declared)]
    for element in elements:
        values = element.value if isinstance(element.value, MultiValue) else [element.value]
        if element.VR == "SQ":
            for item in element.value:
                check_text(item, item.get("SpecificCharacterSet", declared))
        elif not all(_is_in(str(value), encodings if element.VR in CUSTOMIZABLE_CHARSET_VR else ["ascii"]) for value in values):
            raise UnusableHeader("its text is not in the character set that it declares")


def _is_in(text: str, encodings: list[str]) -> bool:
    """Whether each character is in one of the encodings, and none is a remnant of failed decoding."""

    def known(letter: str) -> bool:
        return any(letter.encode(name, "ignore") for name in encodings)

    return not _NOT_DECODED.search(text) and (text.isascii() or all(map(known, text)))


def uid(*words: str) -> UID:
    """The same UID for the same words: under 2.25, from a UUID of version 5 (PS3.5, B.2)."""
    return UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_URL, chr(10).join(['thorax', __version__, *words])).int}")
