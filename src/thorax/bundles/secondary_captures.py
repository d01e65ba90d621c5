"""A DICOM Secondary Capture: a radiograph with the heatmap of its most probable finding, for the archive of a hospital."""

import cv2
import numpy as np
from highdicom import UID
from highdicom.sc import SCImage
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.sr.codedict import codes

from thorax.bundles import dicom_source
from thorax.bundles.dicom_equipment import RESEARCH, Equipment
from thorax.bundles.dicom_source import Source
from thorax.bundles.model import Answer
from thorax.bundles.pictures import of_answer, overlay

SERIES = 9001  # number of its series


def capture(source: Source, equipment: Equipment, answer: Answer) -> Dataset:
    """The overlay of an answer, with its maps, as an instance of a new series in the study of its source.

    Nothing is written into its pixels. What they show is in the header: the class, its probability and how the heatmap was made. Its
    SOP Instance UID is to be computed.
    """
    case, decided = of_answer(answer, equipment.contents.classes)
    pixels = overlay(case, decided)
    pixels = np.ascontiguousarray(pixels[..., ::-1]) if pixels.ndim == 3 else cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    shown = _shown(equipment, answer, decided)
    day, time = source.moment
    made = SCImage.from_ref_dataset(
        source.stub, pixels, "RGB", 8, "PATIENT",
        series_instance_uid=UID(source.series("captures", equipment.digest)),
        series_number=SERIES,
        sop_instance_uid=UID(dicom_source.TO_BE_COMPUTED),
        instance_number=source.number,
        patient_orientation=("L", "F"),  # highdicom wants one; `describe` replaces it
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        content_date=day, content_time=time,
        series_description=f"{RESEARCH}: thorax heatmap",
        **equipment.attributes,
    )  # fmt: skip
    source.complete(made)
    source.describe(made)
    made.ConversionType = "WSD"
    made.ImageComments = f"{shown} {RESEARCH}"
    made.DerivationDescription = f"Scaled to {pixels.shape[1]} x {pixels.shape[0]} pixels. {shown} {equipment.sentence}"[:1024]
    _refer(made, source)
    return made


def _shown(equipment: Equipment, answer: Answer, decided: list[int]) -> str:
    if not decided:
        return "No heatmap, as no finding is above its threshold."
    name, probability = equipment.contents.classes[decided[0]], answer.probabilities[decided[0]]
    return f"Grad-CAM heatmap of {name}, probability {probability:.3f}, above its threshold."


def _refer(made: Dataset, source: Source) -> None:
    """Name the source twice: as what the pixels come from, and among the instances of the study that are referred to."""
    instance = Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = source.stub.SOPClassUID, source.stub.SOPInstanceUID
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedInstanceSequence = source.stub.SeriesInstanceUID, [instance]
    made.ReferencedSeriesSequence = [series]
    image = Dataset()
    image.update(instance)
    image.PurposeOfReferenceCodeSequence = [CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)]
    made.SourceImageSequence = [image]
