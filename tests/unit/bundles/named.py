"""Made-up radiographs with a patient in their headers, and what is read from DICOM files about them."""

from pathlib import Path

import pydicom
from pydicom import uid

from tests.unit.bundles.predictable import radiograph
from thorax.cli import main

LITTLE = uid.ExplicitVRLittleEndian
PATIENT = {
    "PatientName": "Müllér^Jörg",
    "PatientID": "4711-secret",
    "PatientBirthDate": "19500102",
    "PatientSex": "M",
    "PatientAge": "070Y",
    "StudyDate": "20200304",
    "StudyTime": "101112.5",
    "StudyID": "S1",
    "AccessionNumber": "A99",
    "StudyDescription": "Thorax p.a.",
    "ReferringPhysicianName": "Sécret^Referring",
}
NOT_COPIED = {"InstitutionName": "Secret Hospital", "OperatorsName": "Secret^Operator", "ProtocolName": "Secret protocol"}


def header_of(number: int = 0, **elements) -> pydicom.Dataset:
    """The header of a made-up radiograph, with private elements in it and in a sequence."""
    made = pydicom.Dataset()
    made.SpecificCharacterSet = "ISO_IR 100"
    made.SOPClassUID, made.Modality, made.InstanceNumber = uid.DigitalXRayImageStorageForPresentation, "DX", 7
    made.StudyInstanceUID, made.SeriesInstanceUID = "2.25.1", "2.25.2"
    made.SOPInstanceUID = f"2.25.3{number}"
    other = pydicom.Dataset()
    other.PatientID, other.TypeOfPatientID = "other-4711", "TEXT"
    other.private_block(0x11, "MAKER", create=True).add_new(1, "LO", "private secret")
    made.OtherPatientIDsSequence = [other]
    made.private_block(0x11, "MAKER", create=True).add_new(1, "LO", "private secret")
    for name, value in (PATIENT | NOT_COPIED | elements).items():
        if value is None:
            made.pop(name, None)
        else:
            setattr(made, name, value)
    return made


def write(path: Path, number: int = 0, syntax: str = LITTLE, **elements) -> Path:
    """A made-up radiograph as a DICOM file."""
    made = header_of(number, **elements)
    made.file_meta = pydicom.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID, made.file_meta.MediaStorageSOPInstanceUID = made.SOPClassUID, "2.25.3"
    made.Rows, made.Columns = 120, 100
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelData = 8, 8, 7, radiograph(number).tobytes()
    made["PixelData"].VR = "OB"
    path.parent.mkdir(exist_ok=True)
    pydicom.dcmwrite(path, made, enforce_file_format=True)
    return path


def predict(*arguments) -> int:
    return main(["predict", *map(str, arguments), "--threads", "1"])


def items(dataset: pydicom.Dataset, kind: str) -> list[pydicom.Dataset]:
    """All content items of one kind below an item of a report, in order."""
    found = [dataset] if dataset.get("ValueType") == kind else []
    return found + [item for child in dataset.get("ContentSequence", ()) for item in items(child, kind)]


def meaning(item: pydicom.Dataset) -> str:
    return item.ConceptNameCodeSequence[0].CodeMeaning
