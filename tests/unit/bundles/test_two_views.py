"""`thorax predict` with networks of two views: which images are pairs, their numbers, and what is said of images without a partner."""

from contextlib import suppress

import cv2
import numpy as np
import pandas as pd
import pytest

from tests.unit.bundles import predictable
from tests.unit.bundles.predictable import CLASSES, SIZE, radiograph, write_dicom
from thorax.bundles import inputs, pairs
from thorax.bundles.bundle import open_bundle
from thorax.bundles.inputs import Listed
from thorax.bundles.model import BundledModel
from thorax.bundles.radiographs import read
from thorax.cli import main
from thorax.errors import ThoraxError
from thorax.images import dicom, ingest
from thorax.images.formats import UnusableImage

LATERAL = {"archive": "padchest", "views": ["L"], "dicom_window": "lut", "max_pixels": 10**6}
SECOND = {"dataset": "lateral", "size": SIZE, "contrast": "equalize"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bundle of two networks of two views, its networks, and the images of three studies, as DICOM and as PNG."""
    folder = tmp_path_factory.mktemp("two")
    nets = predictable.write(folder / "model.zip", views=2, second_dataset=LATERAL, second_image_set=SECOND)
    (folder / "images").mkdir()
    images = (("1.1", "LL"), ("1.1", "PA"), ("1.2", "AP"), ("1.2", "RL"), ("1.2", "PA"), ("1.3", "PA"))
    for number, (study, view) in enumerate(images):
        name = f"{number}-{study}-{view}"
        write_dicom(folder / "images" / f"{name}.dcm", radiograph(number), StudyInstanceUID=study, ViewPosition=view)
        cv2.imwrite(str(folder / f"{name}.png"), radiograph(number))
    return folder, nets


def run(capsys, *arguments):
    status = main(["predict", *map(str, arguments), "--threads", "1"])
    return status, *capsys.readouterr()


def expected(nets, frontal, lateral) -> np.ndarray:
    """The mean probability of the networks for a pair of files, by hand; the lateral images are equalised."""
    pixels = [ingest.decode(path.read_bytes(), 10**6, "lut")[0] for path in (frontal, lateral)]
    both = np.stack([predictable.seen(pixels[0]), cv2.equalizeHist(predictable.seen(pixels[1]))], axis=-1)[np.newaxis]
    each = [1 / (1 + np.exp(-np.asarray(nets[name](both)).astype(np.float64))) for name in ("one", "two")]
    return np.mean(each, axis=0)[0]


def test_dicom_files_are_paired_by_study_and_view_and_the_others_are_skipped(made, tmp_path, capsys):
    folder, nets = made
    images = folder / "images"
    status, _, errors = run(capsys, folder / "model.zip", images, folder / "0-1.1-LL.png", "--out", tmp_path / "t.parquet")
    assert status == 3
    table = pd.read_parquet(tmp_path / "t.parquet")
    wanted = [("1-1.1-PA.dcm", "0-1.1-LL.dcm"), ("2-1.2-AP.dcm", "3-1.2-RL.dcm")]
    assert table["path"].tolist() == [str(images / frontal) for frontal, _ in wanted for _ in CLASSES]
    by_hand = [expected(nets, images / frontal, images / lateral) for frontal, lateral in wanted]
    np.testing.assert_allclose(table["probability"], np.concatenate(by_hand), atol=1e-6)
    skipped = {line.partition(" is skipped: ")[::2] for line in errors.splitlines() if " is skipped: " in line}
    assert skipped == {
        (f"{images / '4-1.2-PA.dcm'}", f"{images / '2-1.2-AP.dcm'} is the frontal image of its study that is predicted."),
        (f"{images / '5-1.3-PA.dcm'}", "no file is the lateral image of its study, which the networks need too."),
        (
            f"{folder / '0-1.1-LL.png'}",
            "it has no DICOM header that names its study: name it and its partner in a CSV file with the columns frontal and lateral.",
        ),
    }
    log = (tmp_path / "t.log").read_text()
    assert "predicted: 2 pairs of images\n" in log
    assert log.count(" is skipped: ") == 3


def test_a_csv_file_names_pairs(made, tmp_path, capsys):
    """Of any format; whatever cannot be used is skipped with its partner."""
    folder, nets = made
    (folder / "cut.png").write_bytes((folder / "0-1.1-LL.png").read_bytes()[:900])
    good = [("1-1.1-PA.png", "0-1.1-LL.png"), ("images/5-1.3-PA.dcm", "3-1.2-RL.png")]
    rows = [good[0], ("2-1.2-AP.png", "cut.png"), ("cut.png", "3-1.2-RL.png"), good[1]]
    pd.DataFrame(rows, columns=["frontal", "lateral"]).to_csv(folder / "pairs.csv", index=False)
    arguments = ("--out", tmp_path / "t.csv", "--page", tmp_path / "p.html", "--overlays", tmp_path / "overlays")
    status, _, errors = run(capsys, folder / "model.zip", folder / "pairs.csv", *arguments)
    assert status == 3, errors
    table = pd.read_csv(tmp_path / "t.csv")
    assert table["path"].unique().tolist() == ["1-1.1-PA.png", "images/5-1.3-PA.dcm"]
    by_hand = [expected(nets, folder / frontal, folder / lateral) for frontal, lateral in good]
    np.testing.assert_allclose(table["probability"], np.concatenate(by_hand), atol=1e-6)
    assert "2-1.2-AP.png is skipped: its partner cut.png cannot be used, because the file is cut or damaged.\n" in errors
    assert "cut.png is skipped: the file is cut or damaged.\n" in errors
    assert "2 of 4 files could not be used" in errors
    assert len(list((tmp_path / "overlays").iterdir())) == 2


def test_single_images_write_nothing(made, tmp_path, capsys):
    folder, *_ = made
    status, _, errors = run(capsys, folder / "model.zip", folder / "images" / "5-1.3-PA.dcm", "--out", tmp_path / "t.csv")
    assert status == 1
    assert "None of the 1 files can be used, e.g. " in errors
    assert not list(tmp_path.iterdir())


def test_networks_of_two_views_refuse_a_single_image(made):
    folder, _ = made
    listed = Listed("a.dcm", folder / "images" / "5-1.3-PA.dcm")
    with open_bundle(folder / "model.zip") as bundle:
        model = BundledModel(bundle)
        with pytest.raises(
            ThoraxError, match=r"^a\.dcm: the networks of .*model\.zip see two images of each study: find the pairs"
        ):
            model.answer([read(listed, bundle.contents.dataset)], 1)


def test_text_in_the_lateral_image_is_flagged(made, tmp_path, capsys):
    folder, *_ = made
    for name, view, burned in (("a", "PA", "NO"), ("b", "LL", "YES")):
        header = {"StudyInstanceUID": "1.9", "ViewPosition": view, "BurnedInAnnotation": burned}
        write_dicom(tmp_path / f"{name}.dcm", radiograph(1), **header)
    assert run(capsys, folder / "model.zip", tmp_path, "--out", tmp_path / "t.csv")[0] == 0
    flags = pd.read_csv(tmp_path / "t.csv", keep_default_na=False)["flags"]
    assert set(flags) == {"text in the picture"}


def test_a_pair_is_predicted_once_and_a_frontal_image_has_one_partner(tmp_path):
    table = tmp_path / "pairs.csv"
    table.write_text("frontal,lateral,remark\na.png,b.png,x\na.png,b.png,y\n")
    b = Listed("b.png", tmp_path / "b.png")
    assert pairs.find([table], None, 10**6) == ([Listed("a.png", tmp_path / "a.png", b)], [])
    table.write_text("frontal,lateral\na.png,b.png\na.png,c.png\n")
    with pytest.raises(ThoraxError, match=r"a\.png is paired with .*b\.png and with .*c\.png: keep one of these pairs"):
        pairs.find([table], None, 10**6)


def test_a_pair_that_is_found_in_two_ways_is_predicted_once(made):
    """In a table and by headers, spelt differently; the column names may have capital letters."""
    folder, _ = made
    images = folder / "images"
    table = folder / "twice.csv"
    table.write_text("Frontal,Lateral\nimages/1-1.1-PA.dcm,./images/../images/0-1.1-LL.dcm\n")
    found, alone = pairs.find([table, images / "0-1.1-LL.dcm", images / "1-1.1-PA.dcm"], None, 10**6)
    assert [pair.name for pair in found] == ["images/1-1.1-PA.dcm"]
    assert alone == []


def test_an_image_is_not_its_own_partner(tmp_path):
    table = tmp_path / "pairs.csv"
    table.write_text("frontal,lateral\na.png,b.png\na.png,./a.png\n")
    with pytest.raises(
        ThoraxError, match=r"pairs\.csv, row 3, column 'lateral': it is the frontal image too; name the lateral one"
    ):
        pairs.find([table], None, 10**6)


def test_a_file_that_the_system_does_not_open_is_skipped_and_the_others_are_paired(made, tmp_path):
    folder, _ = made
    loop = tmp_path / "loop.dcm"
    loop.symlink_to(loop)
    found, [alone] = pairs._by_header([*inputs.find([folder / "images"])[:2], Listed("loop.dcm", loop)], 10**6)
    assert len(found) == 1
    assert alone.sentence.startswith(f"loop.dcm is skipped: {loop} cannot be read (")


@pytest.mark.parametrize(
    ("view", "lateral"), [("PA", False), ("AP", False), ("LL", True), ("rl ", True), ("LLO", None), ("", None)]
)
def test_study_and_view_are_read_from_the_header(tmp_path, view, lateral):
    write_dicom(tmp_path / "a.dcm", radiograph(0), StudyInstanceUID="1.2.3", ViewPosition=view, PatientID="4711")
    assert dicom.study_and_view((tmp_path / "a.dcm").read_bytes(), 10**6) == ("1.2.3", lateral, False)


def test_a_raw_image_is_taken_only_where_there_is_no_other(tmp_path):
    images = {
        "a-raw": ("1.1", "PA", "FOR PROCESSING"),
        "b": ("1.1", "PA", "FOR PRESENTATION"),
        "c": ("1.1", "PA", "FOR PRESENTATION"),
        "d-raw": ("1.1", "LL", "FOR PROCESSING"),
    }
    for name, (study, view, intent) in images.items():
        header = {"StudyInstanceUID": study, "ViewPosition": view, "PresentationIntentType": intent}
        write_dicom(tmp_path / f"{name}.dcm", radiograph(0), **header)
    [pair], alone = pairs.find([tmp_path], None, 10**6)
    assert [path.stem for path in pair.paths] == ["b", "d-raw"]
    why = f"{tmp_path / 'b.dcm'} is the frontal image of its study that is predicted"
    assert [(one.name, one.why) for one in alone] == [(str(tmp_path / f"{name}.dcm"), why) for name in ("a-raw", "c")]


def test_an_image_whose_view_is_not_stated_is_not_paired(tmp_path):
    write_dicom(tmp_path / "a.dcm", radiograph(0), StudyInstanceUID="1.2.3")
    found, [alone] = pairs.find([tmp_path], None, 10**6)
    assert found == []
    assert alone.why.startswith("its header does not say whether it is a frontal or a lateral view: name it and its partner")


def test_a_damaged_header_is_one_error(tmp_path):
    write_dicom(tmp_path / "a.dcm", radiograph(0), StudyInstanceUID="1.2.3")
    data = (tmp_path / "a.dcm").read_bytes()
    for length in range(132, 700, 7):
        with suppress(UnusableImage):  # nothing else may be raised
            study = dicom.study_and_view(data[:length], 10**6).study
            assert "1.2.3".startswith(study)  # the file is refused when its pixels are read
