"""DICOM files about predicted radiographs, read by pydicom alone: whose they are, what they refer to, their numbers and pixels."""

import datetime
import hashlib
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from pydicom import uid

from tests.unit.bundles import predictable
from tests.unit.bundles.named import LITTLE, NOT_COPIED, PATIENT, header_of, items, meaning, predict, write
from tests.unit.bundles.predictable import CLASSES, LIMITS, radiograph
from thorax.bundles import dicom_source, structured_reports
from thorax.bundles.dicom_source import Source
from thorax.storage import store

DEFLATED, BIG = uid.DeflatedExplicitVRLittleEndian, uid.ExplicitVRBigEndian
RESEARCH = "RESEARCH USE ONLY - NOT A MEDICAL DEVICE"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "model.zip"
    predictable.write(path)
    return path


@pytest.fixture(scope="module")
def made(bundle, tmp_path_factory):
    """Three DICOM files, two of one name, and a PNG file, predicted with all outputs."""
    folder = tmp_path_factory.mktemp("files")
    images = folder / "images"
    images.mkdir()
    sources = [write(images / "a.dcm", 0), write(images / "b", 1), write(images / "more" / "a.dcm", 2)]
    cv2.imwrite(str(images / "c.png"), radiograph(0))
    out = folder / "out"
    options = ("--overlays", out / "pictures", "--secondary-captures", out / "dicom", "--structured-reports", out / "dicom")
    assert predict(bundle, images, "--out", out / "t.parquet", *options) == 0
    names = ("a", "b", "a-2")
    captures, reports = (
        [pydicom.dcmread(out / "dicom" / f"{name}.{kind}.dcm") for name in names] for kind in ("capture", "report")
    )
    return sources, captures, reports, out


def test_one_file_of_each_kind_for_each_dicom_file_and_the_log_says_so(made):
    *_, out = made
    kinds = ("capture", "report")
    expected = {f"{name}.{kind}.dcm" for name in ("a", "a-2", "b") for kind in kinds}
    assert {path.name for path in (out / "dicom").iterdir()} == expected
    log = (out / "t.log").read_text()
    assert f"Secondary Captures: 3 in {out / 'dicom'}.\n" in log
    assert f"Structured Reports: 3 in {out / 'dicom'}.\n" in log
    assert "Without DICOM files: 1 image that is not DICOM.\n" in log


def test_patient_and_study_are_those_of_the_source_and_nothing_else_of_it_is(made):
    sources, captures, reports, _ = made
    for source, *files in zip(sources, captures, reports, strict=True):
        read = pydicom.dcmread(source)
        for file in files:
            for name in (*PATIENT, "StudyInstanceUID"):
                assert file[name].value == read[name].value, name
            assert file.SpecificCharacterSet == "ISO_IR 192"
            assert [item.PatientID for item in file.OtherPatientIDsSequence] == ["other-4711"]
            assert not [element for element in file.iterall() if element.tag.is_private]
            assert not [name for name in NOT_COPIED if name in file]
            assert file.InstanceNumber == 7
            assert RESEARCH in file.SeriesDescription


def test_other_outputs_have_nothing_of_the_header(made):
    *_, out = made
    others = [path for path in out.rglob("*") if path.is_file() and path.suffix != ".dcm"]
    assert len(others) == 2 + 4
    for text in ("secret", "Sécret", "Müllér", "A99", "19500102"):
        assert not [path for path in others if text.encode() in path.read_bytes()]


def test_uids_are_new_valid_and_shared_by_what_belongs_together(made):
    sources, captures, reports, _ = made
    new = [file.SOPInstanceUID for file in (*captures, *reports)]
    old = {pydicom.dcmread(source).SOPInstanceUID for source in sources}
    assert len({*new, *old}) == 9
    for files in (captures, reports):
        assert len({file.SeriesInstanceUID for file in files}) == 1  # that of the sources is one, too
    assert len({file.SeriesInstanceUID for file in (*captures, *reports)} | {"2.25.2"}) == 3
    for value in (*new, captures[0].SeriesInstanceUID, reports[0].SeriesInstanceUID):
        assert value.is_valid
        assert value.startswith("2.25.")
        assert int(value.removeprefix("2.25.")) < 2**128


def test_a_capture_has_the_pixels_of_the_overlay_and_refers_to_its_source(made):
    sources, captures, _, out = made
    table = store.read_table(out / "t.parquet")
    for source, capture in zip(sources, captures, strict=True):
        rows = table[table["path"] == str(source)]
        decided = rows[rows["decision"]].sort_values("probability")["class"].tolist()
        best = decided[-1] if decided else "No heatmap"
        assert best in capture.ImageComments
        assert best in capture.DerivationDescription
        instance = pydicom.dcmread(source).SOPInstanceUID
        assert [item.ReferencedSOPInstanceUID for item in capture.SourceImageSequence] == [instance]
        assert capture.SourceImageSequence[0].ReferencedSOPClassUID == uid.DigitalXRayImageStorageForPresentation
        series = capture.ReferencedSeriesSequence[0]
        assert series.SeriesInstanceUID == "2.25.2"
        assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == instance
        assert capture.SOPClassUID == uid.SecondaryCaptureImageStorage
        assert "BurnedInAnnotation" not in capture  # the source does not say
    drawn = cv2.imread(str(next((out / "pictures").glob("b.*"))))
    np.testing.assert_array_equal(captures[1].pixel_array, drawn[..., ::-1])


def test_a_report_has_the_numbers_of_the_table(made):
    sources, _, reports, out = made
    table = store.read_table(out / "t.parquet")
    for source, report in zip(sources, reports, strict=True):
        assert (report.SOPClassUID, report.CompletionFlag, report.VerificationFlag) == (
            uid.ComprehensiveSRStorage,
            "COMPLETE",
            "UNVERIFIED",
        )
        assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
        rows = table[table["path"] == str(source)]
        groups = [item for item in items(report, "CONTAINER") if meaning(item) == "Measurement Group"]
        assert len(groups) == len(CLASSES)
        for (_, row), group, limit in zip(rows.iterrows(), groups, LIMITS, strict=True):
            codes = {meaning(item): item.ConceptCodeSequence[0].CodeMeaning for item in items(group, "CODE")}
            assert codes["Finding"] == row["class"]
            assert codes["Decision by threshold"] == ("Present" if row["decision"] else "Absent")
            numbers = {meaning(item): float(item.MeasuredValueSequence[0].NumericValue) for item in items(group, "NUM")}
            expected = {"Probability": row["probability"], "Agreement of the networks": row["agreement"]}
            if row["class"] != CLASSES[2]:  # which has no scaling
                expected["Calibrated probability"] = row["calibrated"]
            assert numbers == pytest.approx(expected, abs=1e-6)
            assert any(f"threshold: {limit}, by the rule f1" == item.TextValue for item in items(group, "TEXT"))
            (image,) = items(group, "IMAGE")
            assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == pydicom.dcmread(source).SOPInstanceUID
        flags = [item.ConceptCodeSequence[0].CodeMeaning for item in items(report, "CODE") if meaning(item) == "Flag"]
        assert "; ".join(flags) == rows["flags"].iloc[0]
        assert RESEARCH in [item.TextValue for item in items(report, "TEXT")]
        evidence = report.CurrentRequestedProcedureEvidenceSequence[0]
        assert evidence.StudyInstanceUID == "2.25.1"
        assert evidence.ReferencedSeriesSequence[0].SeriesInstanceUID == "2.25.2"


def test_files_name_the_bundle_by_its_digest(made, bundle):
    _, captures, reports, _ = made
    digest = hashlib.sha256(bundle.read_bytes()).hexdigest()
    assert {file.DeviceSerialNumber for file in (*captures, *reports)} == {digest}
    assert digest in captures[0].DerivationDescription
    assert any(digest in item.TextValue for item in items(reports[0], "TEXT") if meaning(item) == "Algorithm Parameters")


def test_the_same_inputs_give_the_same_bytes_and_no_clock(made, bundle, tmp_path):
    sources, *_, out = made
    options = ("--secondary-captures", tmp_path / "c", "--structured-reports", tmp_path / "r")
    assert predict(bundle, sources[0].parent, *options) == 0
    again = {path.name: path.read_bytes() for folder in ("c", "r") for path in (tmp_path / folder).iterdir()}
    assert again == {path.name: path.read_bytes() for path in (out / "dicom").iterdir()}
    for data in again.values():
        file = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data))
        moments = [element for element in file.iterall() if element.VR in ("DA", "TM", "DT") and element.value]
        assert {element.value for element in moments} <= {"19500102", "20200304", "101112.5", "101112"}


def test_text_in_the_picture_is_reported_but_not_drawn(bundle, tmp_path, capsys):
    source = write(tmp_path / "in" / "a.dcm", BurnedInAnnotation="YES")
    clean = write(tmp_path / "in" / "b.dcm", 1, BurnedInAnnotation="NO", BodyPartExamined="CHEST")
    out = tmp_path / "out"
    assert predict(bundle, source, clean, "--secondary-captures", out, "--structured-reports", out) == 0
    assert {path.name for path in out.iterdir()} == {"a.report.dcm", "b.capture.dcm", "b.report.dcm"}
    assert f"{source}: no Secondary Capture was written: its header says that text is" in capsys.readouterr().err
    capture = pydicom.dcmread(out / "b.capture.dcm")
    assert (capture.BurnedInAnnotation, capture.BodyPartExamined) == ("NO", "CHEST")
    assert "Laterality" not in capture


def test_a_header_that_nothing_can_refer_to_is_named_and_nothing_of_it_is_quoted(bundle, tmp_path, capfd):
    images = [
        write(tmp_path / "in" / "none.dcm", 0, StudyInstanceUID=None),
        write(tmp_path / "in" / "class.dcm", 1, SOPClassUID="1.2.3.4.5678"),
        write(tmp_path / "in" / "good.dcm", 2, PatientSex="secret", StudyDate="", StudyTime="secret"),
    ]
    status = predict(bundle, *images, "--structured-reports", tmp_path / "out", "--out", tmp_path / "t.csv")
    said = capfd.readouterr()
    assert status == 3
    assert f"{images[0]}: no DICOM file was written: its header has no valid StudyInstanceUID.\n" in said.err
    assert f"{images[1]}: no DICOM file was written: its header is not valid DICOM (KeyError).\n" in said.err
    assert "2 of 3 images have no DICOM files: see above why, repair" in said.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.report.dcm"]
    assert pydicom.dcmread(tmp_path / "out" / "good.report.dcm").ContentDate == "19000101"
    assert "secret" not in (said.out + said.err + (tmp_path / "t.log").read_text()).lower()
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 1 + 3 * 3


def test_earlier_files_are_not_replaced_by_what_is_made_of_them(bundle, tmp_path, capsys):
    source = write(tmp_path / "a.dcm")
    assert predict(bundle, source, "--secondary-captures", tmp_path) == 0
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) == 2
    assert predict(bundle, tmp_path, "--secondary-captures", tmp_path) == 1
    assert "--secondary-captures" in capsys.readouterr().err
    assert predict(bundle, tmp_path, "--structured-reports", tmp_path / "reports") == 3  # captures are in colour
    assert {path: path.read_bytes() for path in before} == before
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["a.report.dcm"]


@pytest.mark.parametrize("syntax", [LITTLE, DEFLATED, BIG, uid.ImplicitVRLittleEndian])
def test_headers_of_all_forms_are_read(tmp_path, syntax):
    source = dicom_source.read(write(tmp_path / "a.dcm", syntax=syntax), 10**6)
    assert {name: str(source.header[name].value) for name in PATIENT} == PATIENT
    assert "PixelData" not in source.header


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({}, (2020, 3, 4, 10, 11, 12)),
        ({"StudyTime": None}, (2020, 3, 4)),
        ({"StudyTime": "1011"}, (2020, 3, 4)),
        ({"StudyTime": "256000"}, (2020, 3, 4)),
        ({"StudyDate": None, "AcquisitionDate": "20210102", "AcquisitionTime": "030405"}, (2021, 1, 2, 3, 4, 5)),
        ({"StudyDate": None, "SeriesDate": "20211341", "ContentDate": "20210103"}, (2021, 1, 3)),
        ({"StudyDate": None}, (1900, 1, 1)),
    ],
)
def test_the_moment_is_that_of_the_study(elements, expected):
    moment = datetime.datetime(*expected)
    assert Source(header_of(**elements)).moment == (moment.date(), moment.time())


@pytest.mark.parametrize(
    ("name", "scheme", "value", "shown"),
    [
        ("Pleural effusion", "SCT", "60046008", "Pleural effusion"),
        ("effusion", "99THORAX", "effusion", "effusion"),
        ("a\\b\nc", "99THORAX", "a/bc", "a/bc"),
        ("x" * 70, "99THORAX", "x" * 70, "x" * 64),
    ],
)
def test_codes_of_classes(name, scheme, value, shown):
    code = structured_reports.finding(name)
    assert (code.scheme_designator, code.value, code.meaning) == (scheme, value, shown)


def test_a_real_film(bundle, tmp_path):
    data_store = pytest.importorskip("data_store", reason="pydicom-data is not installed")
    film = Path(data_store.__file__).parent / "data" / "RG1_UNCR.dcm"
    assert predict(bundle, film, "--secondary-captures", tmp_path, "--structured-reports", tmp_path) == 0
    source = pydicom.dcmread(film)
    for kind in ("capture", "report"):
        written = pydicom.dcmread(tmp_path / f"RG1_UNCR.{kind}.dcm")
        for name in ("PatientName", "PatientID", "StudyDate", "StudyTime", "AccessionNumber", "StudyInstanceUID"):
            assert written[name].value == source[name].value
