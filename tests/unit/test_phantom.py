"""The phantom archive: PadChest's form, seeded bytes, honest labels, boxes and lungs."""

import ast
import hashlib
import json
from collections import Counter, defaultdict
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from thorax import config, phantom
from thorax.datasets import padchest
from thorax.errors import ThoraxError
from thorax.phantom import metadata, render
from thorax.phantom.findings import DRAW
from thorax.phantom.patients import Picture, plan

SETTINGS = config.Phantom(patients=7, height=192, seed=5)
LARGE = config.Phantom(patients=450, height=192, seed=0)
REAL = Path(__file__).parents[2].parent / "shared" / "data" / "metadata"
HEADER = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,Projection,"
    "MethodProjection,Pediatric,Modality_DICOM,Manufacturer_DICOM,PhotometricInterpretation_DICOM,"
    "PixelRepresentation_DICOM,PixelAspectRatio_DICOM,SpatialResolution_DICOM,BitsStored_DICOM,WindowCenter_DICOM,"
    "WindowWidth_DICOM,Rows_DICOM,Columns_DICOM,XRayTubeCurrent_DICOM,Exposure_DICOM,ExposureInuAs_DICOM,ExposureTime,"
    "RelativeXRayExposure_DICOM,ReportID,Report,MethodLabel,Labels,Localizations,LabelsLocalizationsBySentence,labelCUIS,"
    "LocalizationsCUIS"
)


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("archive")
    phantom.make_archive(SETTINGS, root, workers=1)
    return root


@pytest.fixture(scope="module")
def table(archive: Path) -> pd.DataFrame:
    return pd.read_csv(archive / padchest.METADATA[0], dtype=str, keep_default_na=False)


def pa_images(settings: config.Phantom) -> list[Picture]:
    return [picture for picture in plan(settings) if picture.view == "PA"]


def test_bytes_do_not_depend_on_workers(archive: Path, tmp_path: Path) -> None:
    phantom.make_archive(SETTINGS, tmp_path, workers=2)
    assert digests(tmp_path) == digests(archive)


TINY = config.Phantom(patients=4, height=128, seed=1)


def test_remaking_replaces_an_earlier_phantom_only(tmp_path: Path) -> None:
    phantom.make_archive(TINY.model_copy(update={"seed": 2}), tmp_path / "again")
    mine = [tmp_path / "again" / "0" / "mine.png", tmp_path / "again" / "lung_masks" / "masks" / "mine.png"]
    for path in mine:
        path.write_bytes(b"a radiograph")
    phantom.make_archive(TINY, tmp_path / "again")
    assert [path.read_bytes() for path in mine] == [b"a radiograph"] * 2
    for path in mine:
        path.unlink()
    phantom.make_archive(TINY, tmp_path / "once")
    assert digests(tmp_path / "again") == digests(tmp_path / "once")
    assert json.loads((tmp_path / "again" / "phantom.json").read_text())["seed"] == 1


@pytest.mark.parametrize("name", [*padchest.METADATA, "0/1.png", "lung_masks/masks/1.png", "54/deep/notes.txt"])
def test_files_of_others_are_neither_overwritten_nor_claimed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"real")
    before = digests(tmp_path)
    for _ in range(2):
        with pytest.raises(ThoraxError, match="holds files that were not made by the phantom: choose another folder"):
            phantom.make_archive(TINY, tmp_path)
    assert digests(tmp_path) == before


def test_one_that_was_killed_before_its_note_was_whole_is_taken_up(tmp_path: Path) -> None:
    (tmp_path / ".phantom.json.part-abcdefgh.json").write_text("{")
    phantom.refuse_foreign_files(tmp_path)
    (tmp_path / ".phantom.json").write_text("{")
    with pytest.raises(ThoraxError, match="not made by the phantom"):
        phantom.refuse_foreign_files(tmp_path)


def test_a_linked_image_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "0").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ThoraxError, match="not made by the phantom"):
        phantom.make_archive(TINY, tmp_path / "root")


def test_empty_folders_do_not_count_and_an_interrupted_making_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root" / "lung_masks").mkdir(parents=True)
    drawn = []
    draw = render.draw

    def interrupted(*arguments):
        if len(drawn) == 3:
            raise KeyboardInterrupt
        drawn.append(arguments)
        return draw(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(render, "draw", interrupted)
        with pytest.raises(KeyboardInterrupt):
            phantom.make_archive(TINY, tmp_path / "root")
    phantom.make_archive(TINY, tmp_path / "root")
    phantom.make_archive(TINY, tmp_path / "once")
    assert digests(tmp_path / "root") == digests(tmp_path / "once")


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"patients": 4, "other": 1}', b"\xff\xfe"])
def test_a_damaged_note_is_named_and_nothing_is_removed(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "phantom.json").write_bytes(damage)
    (tmp_path / padchest.METADATA[0]).write_bytes(b"something")
    before = digests(tmp_path)
    with pytest.raises(ThoraxError, match=r"phantom\.json does not hold a phantom's settings"):
        phantom.make_archive(TINY, tmp_path)
    assert digests(tmp_path) == before


def test_header_is_padchests(archive: Path) -> None:
    with (archive / padchest.METADATA[0]).open() as file:
        assert file.readline().rstrip("\n") == HEADER
    assert len(HEADER.split(",")) == 36


@pytest.mark.real
def test_header_and_codes_are_the_real_ones() -> None:
    source = REAL / (padchest.METADATA[0] + ".gz")
    if not source.exists():
        pytest.skip("the real metadata is not beside the checkout")
    real = pd.read_csv(source, dtype=str, keep_default_na=False, nrows=1)
    assert ["", *real.columns[1:]] == HEADER.split(",")
    tree = (REAL / "padchest_term_tree.txt").read_text()
    for label in (*DRAW, "normal", "unchanged", "chronic changes"):
        assert f" {label} [" in "\n " + tree.replace("\n", "\n "), label


def test_every_listed_image_is_a_16_bit_grey_png(archive: Path, table: pd.DataFrame) -> None:
    assert list(table.columns[1:]) == HEADER.split(",")[1:]
    assert table["ImageID"].is_unique
    for row in table.itertuples():
        image = cv2.imread(str(archive / row.ImageDir / row.ImageID), cv2.IMREAD_UNCHANGED)
        assert image.dtype == np.uint16
        assert image.shape == (int(row.Rows_DICOM), int(row.Columns_DICOM))
        assert image.max() < 2 ** int(row.BitsStored_DICOM)
        assert image.std() > 0.1 * 2 ** int(row.BitsStored_DICOM)
    assert len(list(archive.glob("[0-9]*/*.png"))) == len(table)
    assert set(table["ImageDir"]) == {"0", "1"}


def test_label_text_parses_to_the_planned_labels(table: pd.DataFrame) -> None:
    planned = {picture.image_id: sorted(picture.labels()) for picture in plan(SETTINGS)}
    for row in table.itertuples():
        labels = [label.strip() for label in ast.literal_eval(row.Labels)]
        assert sorted(label for label in labels if label) == planned[row.ImageID]
        ast.literal_eval(row.Localizations)
        ast.literal_eval(row.LabelsLocalizationsBySentence)


def test_large_table_has_padchests_dirt() -> None:
    frame = metadata.table(LARGE)
    assert 1 <= (frame["Labels"] == "nan").sum() <= 10
    assert frame["Labels"].str.contains("' ").mean() > 0.05
    assert frame["Labels"].str.contains("''").any()
    assert (frame["PatientBirth"] == "").any()
    assert frame.groupby("StudyID")["ReportID"].nunique().eq(1).all()
    assert frame.groupby("PatientID")["PatientSex_DICOM"].nunique().eq(1).all()
    assert set(frame["BitsStored_DICOM"]) == {"10", "12"}
    assert set(frame["Projection"]) == {"PA", "L", "AP", "AP_horizontal"}


@pytest.mark.parametrize("seed", range(5))
def test_every_class_has_enough_images_and_patients(seed: int) -> None:
    images = pa_images(LARGE.model_copy(update={"seed": seed}))
    counts: Counter[str] = Counter(label for picture in images for label in picture.labels())
    patients: defaultdict[str, set[int]] = defaultdict(set)
    for picture in images:
        for label in picture.labels():
            patients[label].add(picture.patient.number)
    assert 880 <= len(images) <= 1020
    assert counts.most_common(1)[0][0] == "normal"
    assert 0.25 < counts["normal"] / len(images) < 0.35
    for label in DRAW:
        assert counts[label] >= 40, label
        assert len(patients[label]) >= 15, label
    assert counts["unchanged"] < 40
    assert counts["chronic changes"] < 40


def test_labels_of_one_image_make_sense() -> None:
    for picture in plan(LARGE):
        labels = picture.labels()
        assert len(set(labels)) == len(labels) <= 6
        assert ("normal" in labels) == (not picture.findings and not picture.remarks)
        assert not {"pleural effusion", "costophrenic angle blunting"} <= set(labels)
    several = Counter(picture.patient.number for picture in plan(LARGE) if picture.image == 0)
    assert 0.4 < sum(count > 1 for count in several.values()) / 450 < 0.6


def test_boxes_lie_in_their_images_and_name_labels(archive: Path) -> None:
    boxes = pd.read_csv(archive / "boxes.csv")
    labels = {picture.image_id: {finding.label for finding in picture.findings} for picture in pa_images(SETTINGS)}
    assert list(boxes.columns) == ["image_id", "label", "x", "y", "width", "height"]
    assert (boxes[["x", "y", "width", "height"]] >= 0).all(axis=None)
    assert (boxes["x"] + boxes["width"]).max() <= 1.0001
    assert (boxes["y"] + boxes["height"]).max() <= 1.0001
    assert (boxes["width"] * boxes["height"] > 1e-4).all()
    assert boxes.groupby("image_id")["label"].agg(set).to_dict() == {name: found for name, found in labels.items() if found}


@pytest.mark.parametrize("label", DRAW)
def test_a_finding_changes_the_picture_in_its_box(label: str) -> None:
    picture = next(picture for picture in pa_images(LARGE) if label in picture.labels())
    image, boxes = render.draw(LARGE, picture)
    without, others = render.draw(LARGE, picture, without=label)
    rows, columns = image.shape
    inside = np.zeros(image.shape, bool)
    for box in boxes:
        if box["label"] == label:
            left, top = int(box["x"] * columns), int(box["y"] * rows)
            right, bottom = np.ceil([(box["x"] + box["width"]) * columns, (box["y"] + box["height"]) * rows]).astype(int)
            inside[top:bottom, left:right] = True
    change = np.abs(image.astype(float) - without) / 2 ** render.bits_of(LARGE, picture)
    assert label not in {box["label"] for box in others}
    # COPD widens the whole chest, a scoliosis moves the ribs along: their boxes hold most of the change, not nearly all.
    spread = label in ("COPD signs", "scoliosis")
    assert change[inside].mean() > (1.3 if spread else 8) * change[~inside].mean()
    assert change[inside].sum() > (0.35 if spread else 0.5) * change.sum()
    assert change[inside].max() > 0.04


def test_masks_pair_with_images_and_lie_where_it_is_dark(archive: Path) -> None:
    pairs = pd.read_csv(archive / "lung_masks" / "pairs.csv", dtype=str)
    patients = {picture.image_id: picture.patient.patient_id for picture in pa_images(SETTINGS)}
    assert list(pairs.columns) == ["image", "patient_id", "view"]
    assert pairs["patient_id"].is_unique
    assert len(pairs) == len(set(patients.values()))
    for pair in pairs.itertuples():
        assert pair.patient_id == patients[pair.image]
        image = cv2.imread(str(archive / "lung_masks" / "images" / pair.image), cv2.IMREAD_UNCHANGED)
        mask = cv2.imread(str(archive / "lung_masks" / "masks" / pair.image), cv2.IMREAD_UNCHANGED)
        assert image.shape == mask.shape
        assert max(mask.shape) == 512
        assert set(np.unique(mask)) == {0, 255}
        lungs = mask == 255
        assert 0.12 < lungs.mean() < 0.5
        rows, columns = np.nonzero(lungs)
        box = np.zeros_like(lungs)
        box[rows.min() : rows.max(), columns.min() : columns.max()] = True
        assert image[lungs].mean() < image[box & ~lungs].mean() - 15


def test_true_mask_of_any_frontal_image_has_two_lungs(table: pd.DataFrame) -> None:
    for row in table[table["Projection"] != "L"].head(6).itertuples():
        mask = phantom.true_lung_mask(SETTINGS, row.ImageID)
        assert mask.shape == (int(row.Rows_DICOM), int(row.Columns_DICOM))
        count, _, sizes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
        assert (sizes[1:, cv2.CC_STAT_AREA] > 0.03 * mask.size).sum() == 2
        assert count <= 5
    with pytest.raises(ThoraxError, match="no frontal image"):
        phantom.true_lung_mask(SETTINGS, "nobody.png")


def test_the_anatomy_does_not_depend_on_the_resolution() -> None:
    picture = pa_images(LARGE)[3]
    small = render.lung_mask(LARGE, picture)
    large = render.lung_mask(LARGE.model_copy(update={"height": 384}), picture)
    shrunk = cv2.resize(large.astype(np.float32), small.shape[::-1], interpolation=cv2.INTER_AREA) > 0.5
    assert 2 * (small & shrunk).sum() / (small.sum() + shrunk.sum()) > 0.97
