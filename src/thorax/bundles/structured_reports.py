"""A DICOM Structured Report on one radiograph: TID 1500, Measurement Report, as Comprehensive SR.

Codes are those of the DICOM standard where it has one with this meaning; all others are in the private scheme `SCHEME`.
"""

import numpy as np
from highdicom import UID
from highdicom import sr as hd
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from thorax import __version__
from thorax.bundles import dicom_source
from thorax.bundles.dicom_equipment import LONGEST, MAKER, RESEARCH, Equipment, text
from thorax.bundles.dicom_source import Source
from thorax.bundles.model import Answer

SCHEME = "99THORAX"
SERIES = 9002  # number of its series
FINDINGS = {  # classes with a code of SNOMED CT that the DICOM standard has with exactly this meaning
    "pleural effusion": codes.SCT.PleuralEffusion,
    "pneumothorax": codes.SCT.Pneumothorax,
    "pulmonary edema": codes.SCT.PulmonaryEdema,
}
_PROCEDURES = [codes.SCT.PlainRadiography, Code("413815006", "SCT", "Chest imaging")]
_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")  # TID 1500, row 12
_DIGITS = 6
NOT_REFERRED = "The networks also saw a second image, to which this report cannot refer, because it is not DICOM."


def report(source: Source, equipment: Equipment, answer: Answer) -> Dataset:
    """The answer to one radiograph as an instance of a new series in its study, which nobody has verified; its SOP Instance UID is to be computed."""
    content = _content(source, equipment, answer)
    day, time = source.moment
    made = hd.ComprehensiveSR(
        evidence=[one.stub for one in _images(source)], content=content,
        series_instance_uid=UID(source.series("reports", equipment.digest)),
        series_number=SERIES,
        sop_instance_uid=UID(dicom_source.TO_BE_COMPUTED),
        instance_number=source.number,
        is_complete=True,
        coding_schemes=[
            CodingSchemeIdentificationItem(SCHEME, name="Classes, measurements and flags of thorax", responsible_organization=MAKER)
        ],
        content_date=day, content_time=time,
        series_description=f"{RESEARCH}: thorax report",
        **equipment.attributes,
    )  # fmt: skip
    source.complete(made)
    return made


def concept(meaning: str) -> hd.CodedConcept:
    """A code of the private scheme, whose value is its meaning."""
    return hd.CodedConcept(text(meaning), SCHEME, text(meaning)[:LONGEST])


def finding(name: str) -> hd.CodedConcept:
    """The code of a class."""
    code = FINDINGS.get(name.lower())
    return hd.CodedConcept.from_code(code) if code else concept(name)


def _content(source: Source, equipment: Equipment, answer: Answer) -> Dataset:
    observer = hd.DeviceObserverIdentifyingAttributes(
        uid=UID(dicom_source.uid("device", equipment.digest)), name=MAKER, manufacturer_name=MAKER,
        model_name=equipment.model, serial_number=equipment.digest,
    )  # fmt: skip
    context = hd.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=observer)
    groups = [_group(source, equipment, answer, place) for place in range(len(equipment.contents.classes))]
    content = hd.MeasurementReport(
        observation_context=hd.ObservationContext(observer_device_context=context),
        procedure_reported=_PROCEDURES,
        imaging_measurements=groups,
    )[0]
    content.ContentSequence.append(_evaluations(source, answer))
    return content


def _group(source: Source, equipment: Equipment, answer: Answer, place: int) -> hd.MeasurementsAndQualitativeEvaluations:
    """What is said of one class."""
    name, contents = equipment.contents.classes[place], equipment.contents
    limit = contents.thresholds[contents.rule][name]
    numbers = {
        "Probability": answer.probabilities[place],
        "Calibrated probability": answer.calibrated[place],
        "Agreement of the networks": answer.agreement[place],
    }
    instance = source.header.SOPInstanceUID
    return hd.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.TrackingIdentifier(
            UID(dicom_source.uid("finding", equipment.digest, instance, name)), identifier=text(name)
        ),
        finding_type=finding(name),
        algorithm_id=hd.AlgorithmIdentification(
            name=equipment.model, version=__version__, manufacturer=MAKER,
            parameters=[f"bundle: SHA-256 {equipment.digest}", f"threshold: {limit:.{_DIGITS}g}, by the rule {contents.rule}"],
        ),
        measurements=[
            hd.Measurement(name=concept(what), value=round(float(value), _DIGITS), unit=codes.UCUM.NoUnits)
            for what, value in numbers.items()
            if np.isfinite(value)
        ],
        qualitative_evaluations=[
            hd.QualitativeEvaluation(
                concept("Decision by threshold"), codes.DCM.Present if answer.decided[place] else codes.DCM.Absent
            )
        ],
        source_images=[
            hd.SourceImageForMeasurementGroup(one.header.SOPClassUID, one.header.SOPInstanceUID) for one in _images(source)
        ],
    )  # fmt: skip


def _images(source: Source) -> list[Source]:
    """The radiographs that a report refers to: what the networks saw, as far as it is DICOM."""
    return [source, source.second] if source.second else [source]


def _evaluations(source: Source, answer: Answer) -> Dataset:
    """The flags of the image, what the report may not be used for, and that a second image is not referred to."""
    comments = [RESEARCH, NOT_REFERRED] if answer.radiograph.second and not source.second else [RESEARCH]
    contains = hd.RelationshipTypeValues.CONTAINS
    made = hd.ContainerContentItem(name=_EVALUATIONS, relationship_type=contains)
    made.ContentSequence = hd.ContentSequence(
        [
            *(hd.TextContentItem(name=codes.DCM.Comment, value=comment, relationship_type=contains) for comment in comments),
            *(
                hd.CodeContentItem(name=concept("Flag"), value=concept(flag), relationship_type=contains)
                for flag in answer.flags
            ),
        ]
    )
    return made
