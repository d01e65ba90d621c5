"""DICOM files about predicted radiographs, read by pydicom alone: whose they are, what they refer to, their numbers and pixels."""

import datetime
import hashlib
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pydicom
import pytest
from pydicom import uid

from tests.unit.bundles import predictable
from tests.unit.bundles.predictable import CLASSES, LIMITS, SIZE, radiograph
from thorax.bundles import dicom_source, structured_reports
from thorax.bundles.bundle import open_bundle
from thorax.bundles.dicom_objects import DicomObjects
from thorax.bundles.dicom_source import Source
from thorax.bundles.inputs import Listed
from thorax.cli import main
from thorax.errors import ThoraxError
from thorax.storage import store

LITTLE, DEFLATED, BIG = uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian, uid.ExplicitVRBigEndian
RESEARCH = "RESEARCH USE ONLY - NOT A MEDICAL DEVICE"
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


def replaced_name(path: Path, raw: bytes, charset: str | None) -> Path:
    """A DICOM file with these bytes as the patient's name, whatever character set it declares."""
    write(path, SpecificCharacterSet="ISO_IR 100", PatientName="N" * len(raw), ReferringPhysicianName="R")
    file = pydicom.dcmread(path)
    file.pop("OtherPatientIDsSequence")
    if charset is None:
        del file.SpecificCharacterSet
    else:
        file.SpecificCharacterSet = charset.split("\\")
    file.save_as(path)
    data = path.read_bytes()
    assert data.count(b"N" * len(raw)) == 1
    path.write_bytes(data.replace(b"N" * len(raw), raw))
    return path


@pytest.mark.parametrize(
    ("raw", "charset"),
    [
        ("Müller^Jö".encode("latin-1"), "ISO_IR 192"),
        ("Müller^Jö".encode(), None),
        ("Müller^Jö".encode("latin-1"), "ISO_IR 6"),
        ("Müller^Jö".encode("latin-1"), "ISO_IR 987"),
        ("Müller^Jö".encode("latin-1"), "\\ISO 2022 IR 87"),
        ("Émile^X".encode(), "ISO_IR 100"),  # there, its second byte is a control character
        (b"Yamada^Tarou=\x1b$B;3ED", "ISO_IR 100"),
    ],
)
def test_a_name_that_is_not_in_its_character_set_is_not_copied(bundle, tmp_path, capfd, raw, charset):
    source = replaced_name(tmp_path / "a.dcm", raw, charset)
    assert predict(bundle, source, "--structured-reports", tmp_path / "out") == 3
    said = capfd.readouterr().err
    assert f"{source}: no DICOM file was written: its text is not in the character set that it declares.\n" in said
    assert "ller" not in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("raw", "charset", "name"),
    [
        ("Müller^Jö".encode(), "ISO_IR 192", "Müller^Jö"),
        ("Müller^Jö".encode("latin-1"), "ISO_IR 100", "Müller^Jö"),
        (b"Muller^Jo", None, "Muller^Jo"),
        (b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎"),
        (b"M\x1b-A\xfcller", "\\ISO 2022 IR 100", "Müller"),
    ],
)
def test_a_name_in_its_character_set_is_copied(bundle, tmp_path, raw, charset, name):
    source = replaced_name(tmp_path / "a.dcm", raw, charset)
    assert predict(bundle, source, "--structured-reports", tmp_path / "out") == 0
    assert pydicom.dcmread(tmp_path / "out" / "a.report.dcm").PatientName == name


def test_text_in_sequences_and_codes_is_checked_too():
    inner = pydicom.Dataset()
    inner.add_new("PatientID", "LO", "ä")
    outer = pydicom.Dataset()
    outer.add_new("OtherPatientIDsSequence", "SQ", [inner])
    dicom_source.check_text(outer, "ISO_IR 100")
    with pytest.raises(dicom_source.UnusableHeader):
        dicom_source.check_text(outer, None)
    inner.SpecificCharacterSet = "ISO_IR 100"
    dicom_source.check_text(outer, None)
    code = pydicom.Dataset()
    code.add_new("PatientSex", "CS", "ä")
    with pytest.raises(dicom_source.UnusableHeader):
        dicom_source.check_text(code, "ISO_IR 192")


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


def reports_in(folder: Path) -> dict[str, pydicom.Dataset]:
    return {path.name: pydicom.dcmread(path) for path in sorted(folder.iterdir())}


def test_a_later_run_replaces_only_the_same_instance(bundle, tmp_path):
    out = tmp_path / "out"
    one, other = write(tmp_path / "1" / "a.dcm", 0), write(tmp_path / "2" / "A.dcm", 1, PatientName="Other", PatientID="5")
    options = ("--structured-reports", out)
    assert predict(bundle, one, *options) == 0
    first = (out / "a.report.dcm").read_bytes()
    (out / "A.report.dcm").write_text("not DICOM")
    for _ in range(2):  # the second time it replaces itself
        assert predict(bundle, other, *options) == 0
        assert predict(bundle, one, *options) == 0
    assert {path.name for path in out.iterdir()} == {"a.report.dcm", "A.report.dcm", "A-2.report.dcm"}
    assert pydicom.dcmread(out / "A-2.report.dcm").PatientName == "Other"
    assert (out / "a.report.dcm").read_bytes() == first
    assert (out / "A.report.dcm").read_text() == "not DICOM"


def test_both_files_of_an_image_have_the_number_that_is_free_for_both(bundle, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.report.dcm").symlink_to("nowhere")
    source = write(tmp_path / "a.dcm")
    assert predict(bundle, source, "--secondary-captures", out, "--structured-reports", out) == 0
    assert {path.name for path in out.iterdir()} == {"a.report.dcm", "a-2.report.dcm", "a-2.capture.dcm"}
    assert not (out / "nowhere").exists()


@pytest.mark.parametrize("option", ["--secondary-captures", "--structured-reports"])
def test_other_bytes_have_another_instance_uid(bundle, tmp_path, option):
    """Corrections of the header too: of the patient, of a date, of the study."""
    changes = [{}, {"PatientName": "Corrected"}, {"StudyDate": "20200305"}, {"StudyInstanceUID": "2.25.9"}]
    for number, change in enumerate(changes):
        write(tmp_path / "in" / f"{number}.dcm", **change)
    assert predict(bundle, tmp_path / "in", option, tmp_path / "out") == 0
    files = list(reports_in(tmp_path / "out").values())
    assert len({file.SOPInstanceUID for file in files}) == len(changes)
    assert [file.file_meta.MediaStorageSOPInstanceUID for file in files] == [file.SOPInstanceUID for file in files]
    series = [file.SeriesInstanceUID for file in files]
    assert series[0] == series[1] == series[2] != series[3]  # no series is in two studies


class Gone:
    """An answer to a radiograph, as far as nothing is made of it."""

    def __init__(self, name: str) -> None:
        self.radiograph = SimpleNamespace(name=name)


def test_problems_are_not_blamed_on_the_header(bundle, tmp_path):
    loop = tmp_path / "loop.dcm"
    loop.symlink_to(loop)
    listed = [Listed(name, tmp_path / name) for name in ("gone.dcm", "loop.dcm")]
    filing = DicomObjects(open_bundle(bundle), listed, None, tmp_path / "out")
    for one in listed:
        filing.add(Gone(one.name))
    assert filing.problems[0] == "gone.dcm: no DICOM file was written: the file is not there."
    assert filing.problems[1].startswith(f"loop.dcm: no DICOM file was written: {loop} cannot be read (Too many levels")
    assert not (tmp_path / "out").exists()


def test_a_bundle_that_is_gone_is_one_error(bundle, tmp_path):
    copy = tmp_path / "model.zip"
    copy.write_bytes(bundle.read_bytes())
    opened = open_bundle(copy)
    copy.unlink()
    with pytest.raises(ThoraxError, match=r"model\.zip cannot be read \(No such file or directory\)"):
        DicomObjects(opened, [], None, tmp_path)


def test_long_names_are_cut(bundle, tmp_path):
    folder = tmp_path / "in"
    sources = [write(folder / f"{'ä' * 120}{end}.dcm", number) for number, end in enumerate(("", "b"))]
    sources.append(write(folder / f"{'x' * 246}.dcm", 2))
    out = tmp_path / "out"
    assert predict(bundle, *sources, "--structured-reports", out, "--overlays", out) == 0
    assert {path.name for path in out.glob("*.dcm")} == {
        f"{'ä' * 50}.report.dcm",
        f"{'ä' * 50}-2.report.dcm",
        f"{'x' * 100}.report.dcm",
    }
    assert len(list(out.glob("*.overlay.png"))) == 3


@pytest.fixture(scope="module")
def two_views(tmp_path_factory):
    """A bundle of networks of two views."""
    path = tmp_path_factory.mktemp("two") / "model.zip"
    lateral = {"archive": "padchest", "views": ["L"], "dicom_window": "lut", "max_pixels": 10**6}
    seen = {"dataset": "lateral", "size": SIZE, "contrast": "equalize"}
    predictable.write(path, views=2, second_dataset=lateral, second_image_set=seen)
    return path


def test_a_report_on_a_pair_refers_to_both_images(two_views, tmp_path):
    write(tmp_path / "in" / "f.dcm", 0, ViewPosition="PA")
    write(tmp_path / "in" / "l.dcm", 1, ViewPosition="LL", SeriesInstanceUID="2.25.4")
    assert predict(two_views, tmp_path / "in", "--structured-reports", tmp_path / "out") == 0
    report = pydicom.dcmread(tmp_path / "out" / "f.report.dcm")
    for group in (item for item in items(report, "CONTAINER") if meaning(item) == "Measurement Group"):
        assert [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in items(group, "IMAGE")] == [
            "2.25.30",
            "2.25.31",
        ]
    (evidence,) = report.CurrentRequestedProcedureEvidenceSequence
    series = {item.SeriesInstanceUID: item.ReferencedSOPSequence for item in evidence.ReferencedSeriesSequence}
    assert {uid: [image.ReferencedSOPInstanceUID for image in images] for uid, images in series.items()} == {
        "2.25.2": ["2.25.30"],
        "2.25.4": ["2.25.31"],
    }
    assert structured_reports.NOT_REFERRED not in [item.TextValue for item in items(report, "TEXT")]


def test_a_report_says_so_if_the_second_image_is_not_dicom(two_views, tmp_path, capfd):
    write(tmp_path / "f.dcm", 0)
    write(tmp_path / "g.dcm", 1)
    write(tmp_path / "l.dcm", 2, SOPInstanceUID="secret")
    cv2.imwrite(str(tmp_path / "l.png"), radiograph(1))
    (tmp_path / "pairs.csv").write_text("frontal,lateral\nf.dcm,l.png\ng.dcm,l.dcm\n")
    assert predict(two_views, tmp_path / "pairs.csv", "--structured-reports", tmp_path / "out") == 3
    why = "it cannot refer to l.dcm: its header has no valid SOPInstanceUID"
    assert f"g.dcm: no DICOM file was written: {why}.\n" in capfd.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["f.report.dcm"]
    report = pydicom.dcmread(tmp_path / "out" / "f.report.dcm")
    assert structured_reports.NOT_REFERRED in [item.TextValue for item in items(report, "TEXT")]
    assert {item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in items(report, "IMAGE")} == {"2.25.30"}
