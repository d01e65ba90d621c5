"""Files of DICOM output: their names, texts and UIDs, what replaces them, why there are none, and pairs of radiographs."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import pydicom
import pytest
from pydicom.data import get_charset_files

from tests.unit.bundles import predictable
from tests.unit.bundles.named import items, meaning, predict, write
from tests.unit.bundles.predictable import SIZE, radiograph
from thorax.bundles import dicom_source, structured_reports
from thorax.bundles.bundle import open_bundle
from thorax.bundles.dicom_objects import DicomObjects
from thorax.bundles.inputs import Listed
from thorax.errors import ThoraxError


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "model.zip"
    predictable.write(path)
    return path


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
def test_a_name_that_is_not_in_its_character_set_is_not_copied(bundle, tmp_path, capfd, recwarn, raw, charset):
    source = replaced_name(tmp_path / "a.dcm", raw, charset)
    assert predict(bundle, source, "--structured-reports", tmp_path / "out") == 3
    said = capfd.readouterr().err
    assert f"{source}: no DICOM file was written: its text is not in the character set that it declares.\n" in said
    assert "ller" not in said
    assert not [one for one in recwarn if "string" in str(one.message)]  # of pydicom, that decoding failed
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


@pytest.mark.parametrize("path", get_charset_files("*.dcm"), ids=lambda path: Path(path).stem)
def test_no_text_of_real_files_in_other_languages_is_refused(path):
    file = pydicom.dcmread(path, force=True)
    file.decode()
    dicom_source.check_text((one for one in file if not one.tag.is_private), file.get("SpecificCharacterSet"))


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
