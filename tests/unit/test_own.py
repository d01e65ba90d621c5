"""A user's own table: its defaults, its lists of labels, its images, and a sentence for every mistake."""

import csv
import gc
import io
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thorax import ingest, store
from thorax.config import Dataset
from thorax.datasets import absence, make_catalog, own
from thorax.errors import ThoraxError

GUIDE = Path(__file__).parents[2] / "docs" / "data.md"
ROW = {"path": "images/a.png", "patient_id": "p1", "labels": "Effusion|Mass"}
FULL_ROW = ROW | {
    "image_id": "first",
    "study_id": "s1",
    "view": "PA",
    "sex": "M",
    "age": "58",
    "uncertain": "Pneumonia",
    "negative": "Hernia | Fracture",
    "split": "test",
    "photometric": "MONOCHROME1",
    "x_scanner": "the second one",
}
LABEL = (
    st.text(min_size=1).map(str.strip).filter(lambda text: text and not set("|[;") & set(text) and text not in ("nan", "None"))
)


def text(*changes: dict[str, str], row: dict[str, str] = ROW) -> str:
    """A table with one row per set of changes to `row`."""
    out = io.StringIO()
    writer = csv.DictWriter(out, (row | (changes[0] if changes else {})).keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | change for change in changes)
    return out.getvalue()


def read(root: Path, *changes: dict[str, str], row: dict[str, str] = ROW):
    (root / "images.csv").write_text(text(*changes, row=row))
    return own.read_catalog(root)


def refusal(root: Path, content: str | bytes, name: str = "images.csv") -> str:
    """What make_catalog says about a table; nothing may be written."""
    (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    outs = root / "catalog.parquet", root / "boxes.parquet"
    with pytest.raises(ThoraxError) as caught:
        make_catalog(Dataset(archive="own", root=str(root)), *outs)
    assert not any(out.exists() for out in outs)
    assert gc.isenabled()  # also after an error
    message = str(caught.value)
    assert str(root / name) in message
    assert "\n" not in message
    return message


def test_three_columns_are_enough(tmp_path):
    frame = read(tmp_path, {}, {"path": "./b.jpg", "labels": ""}, {"path": "c.png", "labels": "No Finding"})
    assert frame["age"].isna().all()
    assert frame.drop(columns="age").iloc[0].to_dict() == {
        "image_id": "images/a.png",
        "path": "images/a.png",
        "patient_id": "p1",
        "study_id": None,
        "view": "frontal",
        "sex": None,
        "positive": ["Effusion", "Mass"],
        "negative": [],
        "uncertain": [],
        "label_source": "own",
        "official_split": None,
        "photometric": "MONOCHROME2",
    }
    assert frame["image_id"].tolist() == ["images/a.png", "b.jpg", "c.png"]
    assert frame["positive"].tolist() == [["Effusion", "Mass"], [], ["No Finding"]]


def test_every_column_arrives(tmp_path):
    assert read(tmp_path, {}, row=FULL_ROW).iloc[0].to_dict() == {
        "image_id": "first",
        "path": "images/a.png",
        "patient_id": "p1",
        "study_id": "s1",
        "view": "PA",
        "sex": "M",
        "age": 58,
        "positive": ["Effusion", "Mass"],
        "negative": ["Hernia", "Fracture"],
        "uncertain": ["Pneumonia"],
        "label_source": "own",
        "official_split": "test",
        "photometric": "MONOCHROME1",
    }


def test_the_guide_shows_a_table_that_can_be_read_and_names_every_column(tmp_path):
    section = GUIDE.read_text().partition("## Your own radiographs")[2].partition("\n## ")[0]
    (tmp_path / "images.csv").write_text(section.partition("```csv\n")[2].partition("```")[0])
    frame = own.read_catalog(tmp_path)
    assert frame["positive"].tolist() == [["Effusion", "Cardiomegaly"], ["Effusion"], ["No Finding"], []]
    assert frame["patient_id"].tolist() == ["p01", "p01", "p02", "p03"]
    explained = re.findall(r"^\| `(\w+)` \| (yes|no) \|", section, re.MULTILINE)
    assert explained == [(name, "yes") for name in own.REQUIRED] + [(name, "no") for name in own.OPTIONAL]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["", " ", "\t"]), LABEL, st.sampled_from(["", " ", "\n"])), min_size=1))
def test_labels_survive_the_round_trip_without_their_blanks(dirty):
    joined = "|".join(before + label + after for before, label, after in dirty)
    assert own.parse_labels(joined) == list(dict.fromkeys(label for _, label, _ in dirty))


@settings(deadline=None)
@given(st.lists(LABEL, min_size=1), st.data())
def test_an_empty_entry_is_refused(labels, data):
    labels.insert(data.draw(st.integers(0, len(labels))), data.draw(st.sampled_from(["", " ", "\t"])))
    assert own.parse_labels("|".join(labels)) is None


@settings(deadline=None)
@given(st.text() | st.text(alphabet="|[];' aN"))
def test_the_label_parser_never_crashes(cell):
    parsed = own.parse_labels(cell)
    assert parsed is None or all(label and label == label.strip() and "|" not in label for label in parsed)


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"path": ""}, "path"),
        ({"path": "images/b.png", "image_id": "other"}, "path"),  # one file under two names
        ({"path": "images/./b.png", "image_id": "other"}, "path"),
        ({"path": r"images\c.png"}, "path"),
        ({"image_id": "b"}, "image_id"),
        ({"image_id": ""}, "image_id"),
        ({"patient_id": " "}, "patient_id"),
        ({"view": ""}, "view"),
        ({"sex": "male"}, "sex"),
        ({"age": "58 years"}, "age"),
        ({"split": "valid"}, "split"),
        ({"photometric": "RGB"}, "photometric"),
        ({"labels": "Effusion||Mass"}, "labels"),
        ({"labels": "['Effusion', 'Mass']"}, "labels"),
        ({"labels": "Effusion; Mass"}, "labels"),
        ({"labels": "nan"}, "labels"),
        ({"labels": "patient_id"}, "labels"),
        ({"negative": "|"}, "negative"),
        ({"uncertain": "Mass"}, "uncertain"),  # positive too
        ({"negative": "Pneumonia", "uncertain": "Edema|Pneumonia"}, "uncertain"),
    ],
)
def test_a_bad_cell_is_named(tmp_path, change, column):
    rows = [{"image_id": name, "path": f"images/{name}.png"} for name in "abcd"]
    rows[2] |= change
    assert f"row 4, column '{column}'" in refusal(tmp_path, text(*rows, row=FULL_ROW))


@pytest.mark.parametrize("path", ["../a.png", "/data/a.png", "C:/a.png"])
def test_a_path_that_leaves_the_folder_is_refused(tmp_path, path):
    message = refusal(tmp_path, text({}, {"path": path}))
    assert "row 3" in message
    assert path in message


def test_a_duplicate_names_both_rows(tmp_path):
    message = refusal(tmp_path, text({}, {"path": "b.png"}, {"path": "b.png", "patient_id": "p2"}))
    assert "row 4, column 'path': 'b.png' stands in row 3 already" in message


@pytest.mark.parametrize("column", own.REQUIRED)
def test_a_missing_column_is_named(tmp_path, column):
    row = {name: value for name, value in ROW.items() if name != column}
    assert f"row 1, column '{column}': this column is missing" in refusal(tmp_path, text({}, row=row))


@pytest.mark.parametrize("name", ["patient id", "uncertian", "Labels", "", "scanner"])
def test_an_unknown_column_is_not_dropped_in_silence(tmp_path, name):
    message = refusal(tmp_path, text({name: "anything"}))
    assert f"row 1, column {name!r}: this column is not known" in message
    for known in (*own.REQUIRED, *own.OPTIONAL, "x_"):
        assert known in message


def test_a_column_that_is_named_twice(tmp_path):
    message = refusal(tmp_path, "path,patient_id,labels,labels\na.png,p1,Mass,Effusion\n")
    assert "row 1, column 'labels': the header names it twice" in message


@pytest.mark.parametrize("content", ["", '"path', "path,patient_id,labels\n"])
def test_a_file_without_rows(tmp_path, content):
    assert refusal(tmp_path, content)


def test_a_file_cut_in_the_middle_of_a_row(tmp_path):
    content = text({}, {"path": "b.png"})
    assert "row 3, column 'labels'" in refusal(tmp_path, content[: content.rindex(",")])


def test_a_comma_without_quotes(tmp_path):
    assert "row 2, column 'labels'" in refusal(tmp_path, "path,patient_id,labels\na.png,p1,Mass, left\n")


@pytest.mark.parametrize(("column", "row"), [("labels", 3), ("patient_id", 3)])
def test_a_wrong_encoding_is_named(tmp_path, column, row):
    content = text({}, {"path": "b.png", column: "Erguß"}).encode("latin-1")
    assert f"row {row}, column '{column}'" in refusal(tmp_path, content)


def test_a_wrong_encoding_in_the_header_is_named(tmp_path):
    assert "row 1, column '4'" in refusal(tmp_path, text({"x_größe": "1"}).encode("latin-1"))


def test_the_catalog_does_not_depend_on_the_row_order(tmp_path):
    written = []
    for order in ("abc", "cab"):
        root = tmp_path / order
        root.mkdir()
        (root / "images.csv").write_text(text(*({"path": f"{name}.png"} for name in order)))
        (root / "boxes.csv").write_text(
            "image_id,label,x,y,width,height\n" + "".join(f"{name}.png,Mass,0,0,0.5,1\n" for name in order)
        )
        outs = root / "catalog.parquet", root / "boxes.parquet"
        make_catalog(Dataset(archive="own", root=str(root)), *outs)
        written.append([out.read_bytes() for out in outs])
        assert store.read_table(outs[1])["image_id"].tolist() == ["a.png", "b.png", "c.png"]
    assert written[0] == written[1]


def test_a_bad_box_is_named(tmp_path):
    (tmp_path / "images.csv").write_text(text({}))
    message = refusal(tmp_path, "image_id,label,x,y,width,height\nimages/a.png,Mass,0.5,0.5,12,0.1\n", "boxes.csv")
    assert "row 2, column 'width': 12 is no fraction" in message


def test_absence_says_what_is_missing(tmp_path):
    root = tmp_path / "archive"
    dataset = Dataset(archive="own", root=str(root))
    sentences = [absence(dataset)]
    root.mkdir()
    sentences.append(absence(dataset))
    (root / "images.csv").write_text(text({}, {"path": "b.png"}))
    sentences.append(absence(dataset))
    for sentence, missing in zip(sentences, ["folder does not exist", "images.csv is missing", "no images"], strict=True):
        assert missing in sentence
        assert "docs/data.md" in sentence
    (root / "b.png").touch()
    assert absence(dataset) is None


def test_a_table_that_cannot_be_read_is_left_to_the_catalog(tmp_path):
    (tmp_path / "images.csv").write_text("something\nelse\n")
    assert absence(Dataset(archive="own", root=str(tmp_path))) is None


def encoded(kind: str) -> bytes:
    """A small image with a rising ramp, as the bytes of a file."""
    name, depth, channels = kind.split()
    step, type_ = (257, np.uint16) if depth == "16" else (1, np.uint8)
    ramp = np.tile(np.arange(64, dtype=type_) * 4 * step, (48, 1))
    image = ramp if channels == "1" else np.repeat(ramp[..., None], int(channels), axis=2)
    if channels == "4":
        image[..., 3] = np.iinfo(type_).max
    return cv2.imencode(f".{name}", image)[1].tobytes()


def test_images_of_every_documented_kind_arrive(tmp_path):
    kinds = [f"png {depth} {channels}" for depth in (8, 16) for channels in (1, 3, 4)] + ["jpg 8 1", "jpg 8 3"]
    paths = {kind: f"{kind.replace(' ', '_')}.{kind[:3]}" for kind in kinds}
    for kind, path in paths.items():
        (tmp_path / path).write_bytes(encoded(kind))
    (tmp_path / "images.csv").write_text(text(*({"path": path} for path in [*paths.values(), "lost.png"])))
    dataset = Dataset(archive="own", root=str(tmp_path), views=["frontal"], shards=1)
    outs = [tmp_path / name for name in ("catalog.parquet", "boxes.parquet", "images.npy", "ingested.parquet")]
    make_catalog(dataset, *outs[:2])
    ingest.ingest_shard(dataset, outs[0], 0, *outs[2:], workers=1)

    table = store.read_table(outs[3]).set_index("image_id")
    assert table.loc["lost.png", "reason"] == "missing"
    images = np.load(outs[2])
    ramp = images[table.loc[paths["png 8 1"], "row"]].astype(int)
    for kind, path in paths.items():
        entry = table.loc[path]
        assert entry["ok"], (kind, entry["reason"])
        assert (entry["rows"], entry["columns"]) == (48, 64)
        assert (str(entry["bits"]), str(entry["channels"])) == tuple(kind.split()[1:])
        assert np.abs(images[entry["row"]] - ramp).max() <= (8 if kind.startswith("jpg") else 1), kind
