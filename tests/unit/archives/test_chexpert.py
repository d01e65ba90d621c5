"""CheXpert's tables: 14 labels in four states, the folders of every release, and a sentence for every damage."""

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pytest

from thorax.archives import absence, chexpert, make_catalog, metadata_file
from thorax.config import Dataset
from thorax.errors import ThoraxError
from thorax.storage import store

REAL = Path(__file__).parents[3].parent / "shared" / "data" / "metadata"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the real metadata is not beside the checkout")

IMAGE = "train/patient00001/study1/view1_frontal.jpg"
ROW = {
    "Path": f"CheXpert-v1.0-small/{IMAGE}",
    "Sex": "Female",
    "Age": "68",
    "Frontal/Lateral": "Frontal",
    "AP/PA": "AP",
    **dict.fromkeys(chexpert.LABELS, ""),
    "Cardiomegaly": "1.0",
}
VALID_ROW = {"Path": "CheXpert-v1.0/valid/patient64541/study1/view1_frontal.jpg"}


def image(patient: int, side: str = "frontal") -> dict[str, str]:
    """Changes to ROW that make an image of another patient."""
    path = f"CheXpert-v1.0-small/train/patient{patient:05}/study1/view1_{side}.jpg"
    return {"Path": path, "Frontal/Lateral": side.capitalize(), "AP/PA": "AP" if side == "frontal" else ""}


def text(*changes: dict[str, str]) -> str:
    """A table with one row per set of changes to ROW."""
    out = io.StringIO()
    writer = csv.DictWriter(out, ROW.keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(ROW | change for change in changes)
    return out.getvalue()


def read(root: Path, *changes: dict[str, str]):
    (root / "train.csv").write_text(text(*changes))
    return chexpert.read_catalog(root)


def refusal(root: Path, content: str | bytes, name: str = "train.csv") -> str:
    """What make_catalog says about a table; nothing may be written."""
    (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    outs = root / "catalog.parquet", root / "boxes.parquet"
    with pytest.raises(ThoraxError) as caught:
        make_catalog(Dataset(archive="chexpert", root=str(root)), *outs)
    assert not any(out.exists() for out in outs)
    message = str(caught.value)
    assert str(root / name) in message
    assert "\n" not in message
    return message


def test_a_row_becomes_a_catalog_row(tmp_path):
    states = {"Edema": "-1.0", "Pneumothorax": "0.0", "Support Devices": "1.0"}
    assert read(tmp_path, states).iloc[0].to_dict() == {
        "image_id": IMAGE,
        "path": IMAGE,
        "patient_id": "patient00001",
        "study_id": "patient00001/study1",
        "view": "AP",
        "sex": "F",
        "age": 68,
        "positive": ["Cardiomegaly", "Support Devices"],
        "negative": ["Pneumothorax"],
        "uncertain": ["Edema"],
        "label_source": "CheXpert labeler",
        "official_split": "train",
        "photometric": "MONOCHROME2",
    }


def test_views_sexes_and_ages(tmp_path):
    frame = read(
        tmp_path,
        {"AP/PA": "PA", "Sex": "Male", "Age": "0"},
        image(2) | {"AP/PA": "LL", "Sex": "Unknown", "Age": "90"},
        image(3, "lateral") | {"Sex": "", "Age": ""},
    )
    assert frame["view"].tolist() == ["PA", "LL", "Lateral"]
    assert frame["sex"].tolist() == ["M", None, None]
    np.testing.assert_array_equal(frame["age"], [0, 90, np.nan])


@pytest.mark.parametrize("spelling", ["NA", "N/A", "nan", "NULL", "None", "<NA>", "#N/A"])
def test_a_blank_that_a_program_wrote_is_a_blank(tmp_path, spelling):
    row = read(tmp_path, {"Sex": spelling, "Age": spelling, "Edema": spelling}).iloc[0]
    assert row["sex"] is None
    assert np.isnan(row["age"])
    assert "Edema" not in [*row["positive"], *row["negative"], *row["uncertain"]]


def test_lists_are_not_shared_between_rows(tmp_path):
    frame = read(tmp_path, {}, image(2))
    frame["positive"].iloc[0].append("changed")
    assert frame["positive"].iloc[1] == ["Cardiomegaly"]


def test_the_radiologists_part_is_added(tmp_path):
    (tmp_path / "valid.csv").write_text(text(VALID_ROW | {"Edema": "0.0"}))
    frame = read(tmp_path, {})
    assert frame["official_split"].tolist() == ["train", "val"]
    assert frame["label_source"].tolist() == ["CheXpert labeler", "radiologists"]
    assert frame["path"].tolist() == [IMAGE, "valid/patient64541/study1/view1_frontal.jpg"]


@pytest.mark.parametrize("folder", ["CheXpert-v1.0", "CheXpert-v1.0-small"])
def test_the_published_folder_may_lie_in_the_root(tmp_path, folder):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "train.csv").write_text(text({}))
    (tmp_path / folder / "valid.csv").write_text(text(VALID_ROW))
    frame = chexpert.read_catalog(tmp_path)
    assert frame["image_id"].tolist() == [IMAGE, "valid/patient64541/study1/view1_frontal.jpg"]
    assert frame["path"].tolist() == [f"{folder}/{name}" for name in frame["image_id"]]
    assert metadata_file(Dataset(archive="chexpert", root=str(tmp_path))) == tmp_path / folder / "train.csv"
    assert not chexpert.has_images(tmp_path)
    (tmp_path / folder / IMAGE).parent.mkdir(parents=True)
    assert chexpert.has_images(tmp_path)


def test_the_release_in_four_batches(tmp_path):
    tables, first, second, third = chexpert.BATCHES
    for folder in (f"{tables}/valid/patient64541", f"{first}/patient00001", f"{second}/patient21514"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / tables / "train.csv").write_text(text({}, image(21514), image(64540)))
    (tmp_path / tables / "valid.csv").write_text(text(VALID_ROW))
    assert chexpert.has_images(tmp_path)
    assert chexpert.read_catalog(tmp_path)["path"].tolist() == [
        f"{first}/patient00001/study1/view1_frontal.jpg",
        f"{second}/patient21514/study1/view1_frontal.jpg",
        f"{tables}/train/patient64540/study1/view1_frontal.jpg",  # in none of the folders: ingest calls it missing
        f"{tables}/valid/patient64541/study1/view1_frontal.jpg",
    ]
    assert not (tmp_path / third).exists()


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"Path": IMAGE}, "Path"),  # without the folder
        ({"Path": f"/data/{ROW['Path']}"}, "Path"),
        ({"Path": "CheXpert-v1.0/train/../view1_frontal.jpg"}, "Path"),
        ({"Path": ROW["Path"].replace("train", "valid")}, "Path"),
        ({"Path": ROW["Path"].replace("frontal", "oblique")}, "Path"),
        ({"Path": ROW["Path"].replace("patient00001", "patient1")}, "Path"),
        ({"Path": ""}, "Path"),
        ({"Path": image(2)["Path"]}, "Path"),  # twice
        ({"Path": image(2)["Path"].replace("-small", "")}, "Path"),  # twice, in folders of two names
        ({"Frontal/Lateral": "Lateral"}, "Frontal/Lateral"),
        ({"Frontal/Lateral": ""}, "Frontal/Lateral"),
        ({"AP/PA": ""}, "AP/PA"),
        ({"AP/PA": "AX"}, "AP/PA"),
        ({"Sex": "F"}, "Sex"),
        ({"Age": "068Y"}, "Age"),
        ({"Edema": "2.0"}, "Edema"),
        ({"Edema": "?"}, "Edema"),  # not mentioned, or uncertain
        ({"Edema": "unknown"}, "Edema"),
        ({"Path": "NA"}, "Path"),
        ({"Edema": "yes"}, "Edema"),
        ({"Support Devices": "['a']"}, "Support Devices"),
    ],
)
def test_a_bad_cell_is_named(tmp_path, change, column):
    message = refusal(tmp_path, text({}, image(2), image(3) | change, image(4)))
    assert f"row 4, column '{column}'" in message


def test_a_row_of_the_radiologists_part_is_named_with_its_own_file(tmp_path):
    (tmp_path / "train.csv").write_text(text({}))
    message = refusal(tmp_path, text(VALID_ROW, VALID_ROW | {"Path": ROW["Path"]}), "valid.csv")
    assert "row 3, column 'Path'" in message


@pytest.mark.parametrize("column", ["Path", "AP/PA", "No Finding", "Support Devices"])
def test_a_missing_column_is_named(tmp_path, column):
    message = refusal(tmp_path, text({}).replace(column, "Something", 1))
    assert "row 1" in message
    assert f"'{column}'" in message


def test_a_file_cut_in_the_middle_of_a_row(tmp_path):
    content = text({}, image(2))
    assert "row 3, column 'Age'" in refusal(tmp_path, content[: content.rindex(",68")])


@pytest.mark.parametrize(("delimiter", "word"), [(";", "semicolons"), ("\t", "tabs")])
def test_another_delimiter_is_named(tmp_path, delimiter, word):
    assert f"row 1: the columns are separated by {word}" in refusal(tmp_path, text({}).replace(",", delimiter))


def test_a_wrong_encoding_is_named(tmp_path):
    content = text({}, image(2) | {"Sex": "Féminin"}).encode("latin-1")
    assert "row 3, column 'Sex'" in refusal(tmp_path, content)


def test_compressed_tables(tmp_path):
    with gzip.open(tmp_path / "chexpert_train.csv.gz", "wt") as file:
        file.write(text({}))
    with gzip.open(tmp_path / "valid.csv.gz", "wt") as file:
        file.write(text(VALID_ROW))
    assert len(chexpert.read_catalog(tmp_path)) == 2


def test_the_catalog_does_not_depend_on_the_row_order(tmp_path):
    written = []
    for order in ([1, 2, 3], [3, 1, 2]):
        root = tmp_path / "".join(map(str, order))
        root.mkdir()
        (root / "train.csv").write_text(text(*(image(patient) for patient in order)))
        outs = root / "catalog.parquet", root / "boxes.parquet"
        make_catalog(Dataset(archive="chexpert", root=str(root)), *outs)
        written.append([out.read_bytes() for out in outs])
    assert written[0] == written[1]


def test_absence_says_what_is_missing_and_how_to_get_it(tmp_path):
    root = tmp_path / "archive"
    dataset = Dataset(archive="chexpert", root=str(root))
    sentences = [absence(dataset)]
    root.mkdir()
    sentences.append(absence(dataset))
    (root / "train.csv").write_text(text({}))
    sentences.append(absence(dataset))
    for sentence, missing in zip(sentences, ["folder does not exist", "train.csv is missing", "no images"], strict=True):
        assert missing in sentence
        assert "research use agreement" in sentence
    (root / "train" / "patient00001").mkdir(parents=True)
    assert absence(dataset) is None


@pytest.fixture(scope="module")
def real_catalog(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chexpert")
    make_catalog(Dataset(archive="chexpert", root=str(REAL)), folder / "catalog.parquet", folder / "boxes.parquet")
    assert len(store.read_table(folder / "boxes.parquet")) == 0
    return store.read_table(folder / "catalog.parquet")


@pytest.mark.real
@needs_real
def test_real_images(real_catalog):
    frame = real_catalog
    assert (len(frame), frame["patient_id"].nunique(), frame["study_id"].nunique()) == (223_414, 64_540, 187_641)
    assert frame["view"].value_counts().to_dict() == {"AP": 161_590, "Lateral": 32_387, "PA": 29_420, "LL": 16, "RL": 1}
    assert frame["sex"].value_counts().to_dict() == {"M": 132_636, "F": 90_777}
    assert set(frame["official_split"]) == {"train"}
    positive = frame["positive"].explode().value_counts()
    for label, images in {
        "Cardiomegaly": 27_000,
        "Pleural Effusion": 86_187,
        "Support Devices": 116_001,
        "No Finding": 22_381,
    }.items():
        assert positive[label] == images
    uncertain = frame["uncertain"].explode().value_counts()
    assert (uncertain["Atelectasis"], uncertain["Pneumonia"]) == (33_739, 18_770)
    assert frame["negative"].explode().value_counts()["Pneumothorax"] == 56_341
    stated = sum(frame[state].map(len) for state in ("positive", "negative", "uncertain"))
    assert (stated == 0).sum() == 12


@pytest.mark.real
@needs_real
def test_real_studies_are_those_of_table_1_of_the_paper(real_catalog):
    """Irvin et al. 2019, Table 1: positive and uncertain studies of the training set."""
    counts = {}
    for state in ("positive", "uncertain"):
        mentions = real_catalog[["study_id", state]].explode(state).dropna().drop_duplicates()
        counts[state] = mentions[state].value_counts()
    published = {
        "No Finding": (16_627, 0),
        "Enlarged Cardiomediastinum": (9_020, 10_148),
        "Cardiomegaly": (23_002, 6_597),
        "Lung Lesion": (6_856, 1_071),
        "Lung Opacity": (92_669, 4_341),
        "Edema": (48_905, 11_571),
        "Consolidation": (12_730, 23_976),
        "Pneumonia": (4_576, 15_658),
        "Atelectasis": (29_333, 29_377),
        "Pneumothorax": (17_313, 2_663),
        "Pleural Effusion": (75_696, 9_419),
        "Pleural Other": (2_441, 1_771),
        "Fracture": (7_270, 484),
        "Support Devices": (105_831, 898),
    }
    for label, (positive, uncertain) in published.items():
        assert (counts["positive"].get(label, 0), counts["uncertain"].get(label, 0)) == (positive, uncertain)
