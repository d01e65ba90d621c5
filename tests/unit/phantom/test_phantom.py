"""The phantom archive: the forms of three archives, seeded bytes, honest labels, boxes and lungs."""

import ast
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from tests.phantom_truth import true_lung_mask
from thorax import archives, config, phantom
from thorax.archives import padchest
from thorax.errors import ThoraxError
from thorax.images import decoding
from thorax.phantom import chexpert, nih, render
from thorax.phantom import padchest as padchest_form
from thorax.phantom.findings import DRAW, OTHER_NAMES, Finding, labels_of
from thorax.phantom.patients import Picture, plan
from thorax.storage import schemas as catalogs
from thorax.storage import store

SETTINGS = config.Phantom(patients=7, height=192, seed=5)
LARGE = config.Phantom(patients=450, height=192, seed=0)
IN_PADCHEST = [label for label in DRAW if label != "pneumothorax"]  # phantoms of the other forms may have all of them
REAL = Path(__file__).parents[3].parent / "shared" / "data" / "metadata"
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
    phantom.make_archive(SETTINGS, root, threads=1)
    return root


@pytest.fixture(scope="module")
def table(archive: Path) -> pd.DataFrame:
    return pd.read_csv(archive / padchest.METADATA[0], dtype=str, keep_default_na=False)


def pa_images(settings: config.Phantom) -> list[Picture]:
    return [picture for picture in plan(settings) if picture.view == "PA"]


def test_bytes_do_not_depend_on_workers(archive: Path, tmp_path: Path) -> None:
    phantom.make_archive(SETTINGS, tmp_path, threads=2)
    assert digests(tmp_path) == digests(archive)


TINY = config.Phantom(patients=4, height=128, seed=1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, str]]:
    """The digests of a TINY archive by the name of its form."""

    @cache
    def made_once(name: str) -> dict[str, str]:
        root = tmp_path_factory.mktemp(name)
        phantom.make_archive(TINY, root, archive=name)
        return digests(root)

    return made_once


def test_remaking_replaces_an_earlier_phantom_only(tmp_path: Path, tiny) -> None:
    phantom.make_archive(TINY.model_copy(update={"seed": 2}), tmp_path / "again")
    mine = [tmp_path / "again" / "0" / "mine.png", tmp_path / "again" / "lung_masks" / "masks" / "mine.png"]
    for path in mine:
        path.write_bytes(b"a radiograph")
    phantom.make_archive(TINY, tmp_path / "again")
    assert [path.read_bytes() for path in mine] == [b"a radiograph"] * 2
    for path in mine:
        path.unlink()
    assert digests(tmp_path / "again") == tiny("padchest")
    assert json.loads((tmp_path / "again" / "phantom.json").read_text())["seed"] == 1


@pytest.mark.parametrize("archive", ["padchest", "nih", "chexpert"])
def test_damaged_images_are_cut_and_everything_else_is_the_same(tmp_path: Path, archive: str, tiny) -> None:
    phantom.make_archive(TINY.model_copy(update={"damaged": 2}), tmp_path / "cut", archive=archive)
    whole, cut = tiny(archive), digests(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    changed = sorted(name for name in whole if whole[name] != cut[name] and Path(name).name != "phantom.json")
    assert len(changed) == 2
    for name in changed:
        with pytest.raises(decoding.UnusableImage, match="truncated"):
            decoding.decode((tmp_path / "cut" / name).read_bytes(), 10**7)


@pytest.mark.parametrize("name", [*padchest.METADATA, "0/1.png", "lung_masks/masks/1.png", "54/deep/notes.txt"])
def test_files_of_others_are_neither_overwritten_nor_claimed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"real")
    before = digests(tmp_path)
    for _ in range(2):
        with pytest.raises(ThoraxError, match="has files that were not made by the phantom: choose another folder"):
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny
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
    assert digests(tmp_path / "root") == tiny("padchest")


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
    frame = padchest_form.table(LARGE)
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
            patients[label].add(picture.patient)
    assert 880 <= len(images) <= 1020
    assert counts.most_common(1)[0][0] == "normal"
    assert 0.25 < counts["normal"] / len(images) < 0.35
    for label in IN_PADCHEST:
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
    several = Counter(picture.patient for picture in plan(LARGE) if picture.image == 0)
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
    picture = next(picture for picture in (*pa_images(LARGE), *nih.pictures(LARGE)) if label in picture.labels())
    image, boxes = render.draw(LARGE, picture)
    others = tuple(finding for finding in picture.findings if finding.label != label)
    without, other_boxes = render.draw(LARGE, replace(picture, findings=others))
    rows, columns = image.shape
    inside = np.zeros(image.shape, bool)
    for box in boxes:
        if box["label"] == label:
            left, top = int(box["x"] * columns), int(box["y"] * rows)
            right, bottom = np.ceil([(box["x"] + box["width"]) * columns, (box["y"] + box["height"]) * rows]).astype(int)
            inside[top:bottom, left:right] = True
    change = np.abs(image.astype(float) - without) / 2 ** render.bits_of(LARGE, picture)
    assert label not in {box["label"] for box in other_boxes}
    # COPD widens the whole chest, a scoliosis moves the ribs along: their boxes hold most of the change, not nearly all.
    spread = label in ("COPD signs", "scoliosis")
    assert change[inside].mean() > (1.3 if spread else 8) * change[~inside].mean()
    assert change[inside].sum() > (0.35 if spread else 0.5) * change.sum()
    assert change[inside].max() > 0.04


def test_masks_pair_with_images_and_lie_where_it_is_dark(archive: Path) -> None:
    pairs = pd.read_csv(archive / "lung_masks" / "pairs.csv", dtype=str)
    patients = {picture.image_id: picture.patient_id for picture in pa_images(SETTINGS)}
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
        mask = true_lung_mask(SETTINGS, row.ImageID)
        assert mask.shape == (int(row.Rows_DICOM), int(row.Columns_DICOM))
        count, _, sizes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
        assert (sizes[1:, cv2.CC_STAT_AREA] > 0.03 * mask.size).sum() == 2
        assert count <= 5


def test_the_anatomy_does_not_depend_on_the_resolution() -> None:
    picture = pa_images(LARGE)[3]
    small = render.lung_mask(LARGE, picture)
    large = render.lung_mask(LARGE.model_copy(update={"height": 384}), picture)
    shrunk = cv2.resize(large.astype(np.float32), small.shape[::-1], interpolation=cv2.INTER_AREA) > 0.5
    assert 2 * (small & shrunk).sum() / (small.sum() + shrunk.sum()) > 0.97


# SHA-256 of files of SETTINGS's archive as they were when phantoms had PadChest's form only
BEFORE = {
    padchest.METADATA[0]: "13923d2b2d7b3ce667241fb526fb8930bb902fadcfe7469977af78f9c86de50c",
    "boxes.csv": "6f57d7ec74d21fc9ea91ede16f44a82c390f07e99f3db368a5b9a2e365a694fe",
    "lung_masks/pairs.csv": "e208f10c2fa8ec965520a9ec3fe09262dfd91c20a3a7478e089710cd45afdd03",
    "phantom.json": "7cc44dda360031d2d81a2abee1fe7e7fad99832d3828f1b4a1dac973cb0c533b",
    "lung_masks/masks/915985839314664715170800204960810501769_g0o1ra.png": "fca62d6fb750d1f13bb9b1aa75b217249ae0438b4899398a0968e75119b5858e",
}


@pytest.mark.parametrize("name", BEFORE)
def test_files_in_padchests_form_are_what_they_always_were(archive: Path, name: str) -> None:
    assert hashlib.sha256((archive / name).read_bytes()).hexdigest() == BEFORE[name]


@pytest.mark.parametrize(
    ("name", "shape", "values"),
    [
        (
            "1/935915298154871029996724219613800166834_m8tnay.png",
            (176, 215),
            [[1329, 2435, 2339, 1256], [1959, 2548, 2461, 1922], [1675, 2535, 2698, 1639], [1555, 3234, 3159, 1430]],
        ),
        (
            "0/915985839314664715170800204960810501769_tijrip.png",  # lateral
            (187, 153),
            [[308, 1306, 2183, 639], [612, 2168, 2496, 1598], [1294, 2526, 2202, 1631], [1233, 2905, 2370, 1074]],
        ),
    ],
)
def test_pictures_in_padchests_form_are_what_they_always_were(
    archive: Path, name: str, shape: tuple[int, int], values: list[list[int]]
) -> None:
    """Means of the sixteenths of a picture: its bytes may differ with the processor, in the last digit of a few pixels."""
    image = cv2.imread(str(archive / name), cv2.IMREAD_UNCHANGED)
    assert image.shape == shape
    np.testing.assert_allclose(cv2.resize(image.astype(np.float32), (4, 4), interpolation=cv2.INTER_AREA), values, atol=1)


def test_studies_with_two_views_have_one_number(archive: Path) -> None:
    """What pairs the views of a study: PA and L under one study_id, of one patient and with the same labels."""
    catalog = padchest.read_catalog(archive)
    views = catalog.groupby("study_id")["view"].agg(set)
    paired = catalog[catalog["study_id"].isin(views.index[views.map(lambda found: {"PA", "L"} <= found)])]
    assert paired["study_id"].nunique() >= 2
    assert paired.groupby("study_id")["patient_id"].nunique().eq(1).all()
    planned = plan(LARGE)
    with_pa = {picture.study_id for picture in planned if picture.view == "PA"}
    with_both = with_pa & {picture.study_id for picture in planned if picture.view == "L"}
    assert 0.35 < len(with_both) / len(with_pa) < 0.55
    said = {(picture.study_id, tuple(picture.labels())) for picture in planned}
    assert len(said) == len({study for study, _ in said})


SMALL = config.Phantom(patients=18, height=128, seed=5)
OTHERS = ("nih", "chexpert")
PICTURES = {"padchest": plan, "nih": nih.pictures, "chexpert": chexpert.pictures}


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An archive in each of the other forms."""
    folder = tmp_path_factory.mktemp("others")
    for name in OTHERS:
        phantom.make_archive(SMALL, folder / name, archive=name)
    return {name: folder / name for name in OTHERS}


def catalog_of(root: Path, name: str, out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Catalog and boxes, as the pipeline reads them."""
    archives.make_catalog(config.Dataset(archive=name, root=str(root)), out / "catalog.parquet", out / "boxes.parquet")
    return store.read_table(out / "catalog.parquet"), store.read_table(out / "boxes.parquet")


@pytest.mark.parametrize("name", OTHERS)
def test_bytes_of_other_forms_do_not_depend_on_workers(tmp_path: Path, name: str, tiny) -> None:
    phantom.make_archive(TINY, tmp_path, threads=2, archive=name)
    assert digests(tmp_path) == tiny(name)


def test_a_phantom_of_one_form_replaces_one_of_another(tmp_path: Path, tiny) -> None:
    for name in ("nih", "chexpert", "padchest"):
        phantom.make_archive(TINY, tmp_path / "again", archive=name)
        assert digests(tmp_path / "again") == tiny(name)
    with pytest.raises(ThoraxError, match="the form of padchest, nih, chexpert, not of 'own'"):
        phantom.make_archive(TINY, tmp_path / "again", archive="own")
    assert digests(tmp_path / "again") == tiny("padchest")


@pytest.mark.parametrize("name", OTHERS)
def test_the_real_reader_reads_every_image_of_the_plan(roots: dict[str, Path], tmp_path: Path, name: str) -> None:
    catalog, _ = catalog_of(roots[name], name, tmp_path)
    planned = {picture.image_id: picture for picture in PICTURES[name](SMALL)}
    assert set(catalog["image_id"]) == set(planned)
    assert catalog.columns.tolist() == catalogs.CATALOG.names
    shapes = phantom.shapes(SMALL, name)
    assert len(shapes) == len(planned)
    sizes = dict(zip(planned, shapes[["rows", "columns"]].itertuples(index=False, name=None), strict=True))
    for row in catalog.itertuples():
        picture = planned[row.image_id]
        assert row.patient_id == picture.patient_id
        assert row.study_id == picture.study_id
        assert row.view == {"L": "Lateral"}.get(picture.view, picture.view)
        assert row.sex == ("F" if picture.female else "M")
        assert 0 <= row.age - int(picture.age) <= 8 or row.age == 90
        image = cv2.imread(str(roots[name] / row.path), cv2.IMREAD_UNCHANGED)
        assert image.dtype == np.uint8
        assert image.shape[:2] == sizes[row.image_id]
        assert image.std() > 20
    assert archives.ARCHIVES[name].has_images(roots[name])
    suffix = {"nih": "images/*.png", "chexpert": "[tv]*/**/*.jpg"}[name]
    assert len(list(roots[name].glob(suffix))) == len(planned)
    assert (catalog["view"] == "AP").mean() > 0.2


@pytest.mark.parametrize("name", OTHERS)
def test_tables_alone_give_the_same_catalog(roots: dict[str, Path], tmp_path: Path, name: str) -> None:
    phantom.write_tables(SMALL, tmp_path / "tables", name)
    for table in (tmp_path / "tables").iterdir():
        assert table.read_bytes() == (roots[name] / table.name).read_bytes()
    expected, _ = catalog_of(roots[name], name, tmp_path)
    found, boxes = catalog_of(tmp_path / "tables", name, tmp_path)
    pd.testing.assert_frame_equal(found, expected)
    assert boxes.empty


@pytest.mark.parametrize("name", OTHERS)
def test_no_image_or_patient_has_a_real_ones_name(roots: dict[str, Path], tmp_path: Path, name: str) -> None:
    catalog, _ = catalog_of(roots[name], name, tmp_path)
    numbers = catalog["patient_id"].str.removeprefix("patient").astype(int)
    assert numbers.min() > {"nih": 30_805, "chexpert": 65_240}[name]
    assert catalog["patient_id"].nunique() == SMALL.patients
    table = {"nih": "Data_Entry_2017_v2020.csv.gz", "chexpert": "chexpert_train.csv.gz"}[name]
    if (REAL / table).exists():
        real = pd.read_csv(REAL / table, dtype=str, keep_default_na=False)
        names = real.iloc[:, 0].str.removeprefix("CheXpert-v1.0-small/")
        assert not set(names) & set(catalog["image_id"])
        mine = next(roots[name] / file for file in phantom.find_form(name).table_names)
        assert mine.open().readline().rstrip("\n") == ",".join(real.columns)


def finding(label: str, severity: float) -> Finding:
    return Finding(label, 1, severity, 1, 0.5)


@pytest.mark.parametrize(
    ("label", "severity", "in_nih", "in_chexpert"),
    [
        ("nodule", 0.5, ("Nodule",), ("Lung Lesion",)),
        ("nodule", 0.6, ("Mass",), ("Lung Lesion",)),
        ("alveolar pattern", 0.1, ("Infiltration",), ("Lung Opacity",)),
        ("alveolar pattern", 1.0, ("Consolidation", "Pneumonia"), ("Consolidation", "Lung Opacity", "Pneumonia")),
        ("hiatal hernia", 0.3, ("Hernia",), ()),
        ("sternotomy", 0.3, (), ("Support Devices",)),
        ("scoliosis", 0.9, (), ()),
    ],
)
def test_findings_have_the_names_of_each_archive(
    label: str, severity: float, in_nih: tuple[str, ...], in_chexpert: tuple[str, ...]
) -> None:
    assert labels_of(finding(label, severity), "nih") == in_nih
    assert labels_of(finding(label, severity), "chexpert") == in_chexpert


def test_severities_are_named_without_gap_or_overlap_and_only_as_the_archives_do() -> None:
    for label in {row["padchest"] for row in OTHER_NAMES}:
        ranges = sorted((row["from"], row["below"]) for row in OTHER_NAMES if row["padchest"] == label)
        assert ranges[0][0] == 0
        assert ranges[-1][1] == 1
        assert all(before[1] == after[0] for before, after in pairwise(ranges))
    assert {row["padchest"] for row in OTHER_NAMES} == set(DRAW) - {"scoliosis", "hemidiaphragm elevation"}
    published = (
        "Atelectasis Cardiomegaly Effusion Infiltration Mass Nodule Pneumonia Pneumothorax Consolidation Edema Emphysema Fibrosis "
        "Pleural_Thickening Hernia"
    )
    in_nih, in_chexpert = (
        {label for row in OTHER_NAMES for label in row[archive].split("|") if label} for archive in ("nih", "chexpert")
    )
    assert in_nih == set(published.split())
    assert in_chexpert == set(chexpert.LABELS) - {"No Finding", "Fracture"}


def test_nih_labels_are_those_of_the_plan(roots: dict[str, Path], tmp_path: Path) -> None:
    catalog, _ = catalog_of(roots["nih"], "nih", tmp_path)
    planned = {picture.image_id: picture for picture in nih.pictures(SMALL)}
    for row in catalog.itertuples():
        names = {name for finding in planned[row.image_id].findings for name in labels_of(finding, "nih")}
        assert set(row.positive) == (names or {"No Finding"})
    assert catalog["positive"].map(len).max() > 1
    counts = Counter(name for picture in nih.pictures(LARGE) for name in nih.labels(picture))
    assert counts.most_common(1)[0][0] == "No Finding"
    assert len(counts) == 15
    assert 15 <= min(counts.values()) < max(counts.values()) / 5


def test_nih_lists_part_the_patients(roots: dict[str, Path], tmp_path: Path) -> None:
    catalog, _ = catalog_of(roots["nih"], "nih", tmp_path)
    assert set(catalog["official_split"]) == {"train", "test"}
    assert catalog.groupby("patient_id")["official_split"].nunique().eq(1).all()
    tested = catalog.loc[catalog["official_split"] == "test", "patient_id"].nunique()
    assert tested == round(0.23 * SMALL.patients)


def test_some_nih_files_have_four_channels(roots: dict[str, Path]) -> None:
    four = []
    for path in (roots["nih"] / "images").iterdir():
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert image.shape[:2] == (SMALL.height, SMALL.height)
        if image.ndim == 3:
            four.append(path.name)
            assert image.shape[2] == 4
            assert (image[..., :3] == image[..., :1]).all()
            assert (image[..., 3] == 255).all()
    assert set(four) == nih.four_channel_images(SMALL)
    assert len(four) == 2
    assert len(nih.four_channel_images(LARGE)) == round(0.005 * len(nih.pictures(LARGE)))


def test_nih_boxes_are_of_some_findings_of_test_images_and_lie_inside(roots: dict[str, Path], tmp_path: Path) -> None:
    lines = (roots["nih"] / "BBox_List_2017.csv").read_text().splitlines()
    assert lines[0] == "Image Index,Finding Label,Bbox [x,y,w,h],,,"
    assert {line.count(",") for line in lines[1:]} == {5}
    catalog, boxes = catalog_of(roots["nih"], "nih", tmp_path)
    assert len(boxes) == len(lines) - 1 > 5
    assert set(boxes["label"]) <= {"Infiltration", *nih.BOXED}
    of = catalog.set_index("image_id").loc[boxes["image_id"]]
    assert (of["official_split"] == "test").all()
    assert all(label in labels for label, labels in zip(boxes["label"], of["positive"], strict=True))
    assert (boxes[["x", "y", "width", "height"]] >= 0).all(axis=None)
    assert (boxes["x"] + boxes["width"]).max() <= 1.0001
    assert (boxes["y"] + boxes["height"]).max() <= 1.0001
    assert (boxes["width"] * boxes["height"] > 1e-4).all()
    known = boxes[boxes["image_id"] == boxes["image_id"].iloc[0]]
    drawn = next(picture for picture in nih.pictures(SMALL) if picture.image_id == boxes["image_id"].iloc[0])
    named = {finding.label: labels_of(finding, "nih") for finding in drawn.findings}
    expected = [(box["x"], name) for box in render.draw(SMALL, drawn)[1] for name in named[box["label"]] if name in nih.BOXED]
    assert sorted(known["x"]) == pytest.approx(sorted(x for x, _ in expected), abs=1e-5)


def test_chexpert_labels_are_those_of_the_plan(roots: dict[str, Path], tmp_path: Path) -> None:
    """What is there is called present or uncertain, and what is called present is there; radiologists know."""
    catalog, _ = catalog_of(roots["chexpert"], "chexpert", tmp_path)
    planned = {picture.image_id: picture for picture in chexpert.pictures(SMALL)}
    for row in catalog.itertuples():
        there = {name for finding in planned[row.image_id].findings for name in labels_of(finding, "chexpert")}
        ill = there - {"Support Devices"}
        present, absent, uncertain = set(row.positive), set(row.negative), set(row.uncertain)
        assert ("No Finding" in present) == (not ill)
        assert present - {"No Finding"} <= there <= present | uncertain
        assert not absent & there
        if row.official_split == "val":
            assert not uncertain
            assert present | absent == set(chexpert.LABELS)
    assert catalog.groupby("study_id")["positive"].agg(lambda lists: len(set(map(tuple, lists)))).eq(1).all()
    assert catalog.groupby("patient_id")["official_split"].nunique().eq(1).all()
    assert set(catalog["official_split"]) == {"train", "val"}
    assert set(catalog["view"]) == {"AP", "PA", "Lateral"}


def test_chexperts_reports_doubt_as_often_as_the_real_ones() -> None:
    said: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for picture in chexpert.pictures(LARGE):
        if picture.image_id.startswith("train/"):
            for label, state in chexpert.states(LARGE, picture).items():
                said[label][state] += 1
    for label, (doubt, denial) in chexpert.REPORTED.items():
        states = said[label]
        assert states["0.0"] / (states["0.0"] + states[""]) == pytest.approx(denial, abs=0.05), label
        if label not in ("Fracture", "Pneumonia"):  # nobody has a fracture; Pneumonia is never subtle
            assert states["1.0"] >= 25, label
            assert states["-1.0"] / (states["-1.0"] + states["1.0"]) == pytest.approx(doubt, abs=0.2), label
    assert said["No Finding"].keys() == {"", "1.0"}


@pytest.mark.parametrize("name", OTHERS)
def test_masks_of_other_forms_pair_with_images_of_their_patients(roots: dict[str, Path], tmp_path: Path, name: str) -> None:
    catalog, _ = catalog_of(roots[name], name, tmp_path)
    pairs = pd.read_csv(roots[name] / "lung_masks" / "pairs.csv", dtype=str)
    assert pairs["patient_id"].is_unique
    assert set(pairs["patient_id"]) == set(catalog["patient_id"])
    assert set(pairs["view"]) <= {"PA", "AP"}
    for pair in pairs.head(6).itertuples():
        image = cv2.imread(str(roots[name] / "lung_masks" / "images" / pair.image), cv2.IMREAD_UNCHANGED)
        lungs = cv2.imread(str(roots[name] / "lung_masks" / "masks" / pair.image), cv2.IMREAD_UNCHANGED) == 255
        assert image.shape == lungs.shape
        assert 0.1 < lungs.mean() < 0.5
    row = catalog[catalog["view"] == "AP"].iloc[0]
    mask = true_lung_mask(SMALL, row["image_id"], name)
    image = cv2.imread(str(roots[name] / row["path"]), cv2.IMREAD_GRAYSCALE)
    assert mask.shape == image.shape
    assert image[mask].mean() < image[~mask].mean()
