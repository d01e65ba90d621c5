"""A user's own table: its defaults, its lists of labels, its images, and a sentence for every mistake."""

import csv
import gc
import gzip
import io
import re
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thorax.archives import absence, make_catalog, own
from thorax.config import Dataset
from thorax.errors import ThoraxError
from thorax.images import ingest
from thorax.storage import store, strict_csv

GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "data.md"
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
UNKNOWN = ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "-", "?", "unknown", "Unk", "#N/A", "<NA>", "\u00a0 "]
UNKNOWN += [
    "unk.",
    "N.D.",
    "n.a",
    "n/k",
    "NR",
    "nd",
    "Not specified",
    "not reported",
    "not applicable",
    "undefined",
    "not labeled",
]
UNKNOWN += ["Unlabelled", "...", "…", "−", "‐", "―", "_", "*", "#NV", "#N/D"]
NO_NAMES = {*(spelling.lower() for spelling in strict_csv.UNKNOWN), "none", "nil", "nothing", "no"}
RESERVED = {"image_id", "patient_id", "split", "all images"}  # of tables; Hypothesis takes words from the code
SEPARATORS = "".join(own._SEPARATORS)
LABEL = (
    st.text(
        st.characters(exclude_categories=("C", "Z"), exclude_characters=f"|[({{\ufffd{SEPARATORS}", include_characters=" "),
        min_size=1,
    )
    .map(str.strip)
    .filter(lambda text: any(map(str.isalpha, text)) and text.casefold() not in NO_NAMES and text not in RESERVED)
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
    with pytest.raises(ValueError, match="has an entry without a name"):
        own.parse_labels("|".join(labels))


@settings(deadline=None)
@given(st.text() | st.text(alphabet="|[];,/' aN\n"))
def test_the_label_parser_never_crashes(cell):
    with suppress(ValueError):
        assert all(
            label and label == label.strip() and not set(f"|\n{SEPARATORS}") & set(label) for label in own.parse_labels(cell)
        )


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
        ({"labels": "None"}, "labels"),
        ({"labels": "Effusion|NA"}, "labels"),
        ({"labels": "patient_id"}, "labels"),
        ({"labels": "effusion"}, "labels"),  # in other letters than elsewhere
        ({"labels": "“Effusion”"}, "labels"),
        ({"labels": "Effusion and Mass"}, "labels"),  # which are there alone too
        *(
            ({"labels": f"Effusion{join}Mass"}, "labels")
            for join in (" AND ", " or ", " with ", " und ", "-", " – ", ": ", "·", ">")
        ),
        ({"labels": "effusion +  MASS"}, "labels"),
        ({"labels": "0"}, "labels"),
        ({"negative": "-9"}, "negative"),
        ({"labels": "Effusion|1"}, "labels"),
        ({"negative": "Mass & Effusion", "labels": ""}, "negative"),
        ({"view": "unknown"}, "view"),
        ({"path": "NA"}, "path"),
        ({"patient_id": "unknown"}, "patient_id"),
        ({"patient_id": "p\u200b1"}, "patient_id"),
        ({"study_id": "s\n1"}, "study_id"),
        ({"study_id": "#REF!"}, "study_id"),
        ({"patient_id": "#WERT!"}, "patient_id"),
        ({"labels": "#¿NOMBRE?"}, "labels"),
        ({"patient_id": "-9"}, "patient_id"),
        ({"patient_id": "-999.0"}, "patient_id"),
        ({"study_id": "−1"}, "study_id"),
        ({"labels": "#NAME?"}, "labels"),
        ({"sex": "#REF!"}, "sex"),
        ({"negative": "|"}, "negative"),
        ({"uncertain": "Mass"}, "uncertain"),  # positive too
        ({"negative": "Pneumonia", "uncertain": "Edema|Pneumonia"}, "uncertain"),
    ],
)
def test_a_bad_cell_is_named(tmp_path, change, column):
    rows = [{"image_id": name, "path": f"images/{name}.png"} for name in "abcd"]
    rows[2] |= change
    assert f"row 4, column '{column}'" in refusal(tmp_path, text(*rows, row=FULL_ROW))


@pytest.mark.parametrize("spelling", UNKNOWN)
def test_unknown_is_a_blank_in_every_spelling_and_column(tmp_path, spelling):
    optional = ("labels", "negative", "uncertain", "study_id", "sex", "age", "split", "photometric")
    row = read(tmp_path, dict.fromkeys(optional, spelling), row=FULL_ROW).iloc[0]
    assert [row[name] for name in ("positive", "negative", "uncertain")] == [[], [], []]
    assert [row[name] for name in ("study_id", "sex", "official_split")] == [None, None, None]
    assert np.isnan(row["age"])
    for column in ("path", "patient_id", "image_id", "view"):
        message = refusal(tmp_path, text({}, {"path": "b.png", "image_id": "second", column: spelling}, row=FULL_ROW))
        assert f"row 3, column '{column}': it is blank, or says that the value is not known" in message


@pytest.mark.parametrize("word", ["None", "none", "nil", "NONE"])
def test_none_is_a_finding_or_nothing_and_never_a_class(tmp_path, word):
    message = refusal(tmp_path, text({}, {"path": "b.png", "labels": word}))
    assert "row 3, column 'labels'" in message
    assert "write No Finding, or leave the cell blank" in message


@pytest.mark.parametrize(
    ("cell", "found", "advice"),
    [
        ("Effusion, Mass", "a comma", "Effusion|Mass"),
        ("Effusion/Mass", "a slash", "Effusion|Mass"),
        ("Effusion; Mass ;Nodule", "a semicolon", "Effusion|Mass|Nodule"),
        ("Effusion\\Mass", "a backslash", "Effusion|Mass"),
        ("Effusion，Mass", "a comma", "Effusion|Mass"),
        ("Effusion、Mass", "a comma", "Effusion|Mass"),
        ("Effusion；Mass", "a semicolon", "Effusion|Mass"),
        ("Effusion／Mass", "a slash", "Effusion|Mass"),
        ("Effusion｜Mass", "another bar than |", "Effusion|Mass"),
        ("Effusion¦Mass", "another bar than |", "Effusion|Mass"),
        ("'Effusion', 'Mass'", "a comma", "write Effusion|Mass "),
        ("('Effusion', 'Mass')", "another program's list", "Effusion|Mass"),
        ("Effusion&amp;Mass", "has &amp;, HTML's name of a character", "write Hernia|Effusion&Mass"),
        ("Effusion\tMass", "a tab", "Effusion|Mass"),
        ("Effusion\nMass", "a line break", "Effusion|Mass"),
        ("Effusion\r\nMass", "a line break", "Effusion|Mass"),
        ("Effusion\u2028Mass", "a character that cannot be seen (U+2028)", "Effusion|Mass"),
        ("Mass\u200b", "a character that cannot be seen (U+200B)", "without it"),
        ("Mass\x07", "a character that cannot be seen (U+0007)", "without it"),
        ("Ergu\ufffd", "U+FFFD", "without it"),
    ],
)
def test_a_separator_inside_a_label_is_refused_with_what_to_write(tmp_path, cell, found, advice):
    cell = cell if cell.startswith("(") else f"Hernia|{cell}"
    message = refusal(tmp_path, text({}, {"path": "b.png", "labels": cell}))
    assert "row 3, column 'labels'" in message
    assert found in message
    assert advice in message


def test_labels_that_look_alike_are_told_apart(tmp_path):
    message = refusal(tmp_path, text({"labels": "Œdème"}, {"path": "b.png", "labels": "Œde\u0300me"}))
    assert (
        r"row 3, column 'labels': '\u0152de\u0300me' is written '\u0152d\xe8me' in row 2; write it in one way only" in message
    )


def test_names_that_are_whole_stay(tmp_path):
    names = [
        "Lines & tubes",
        "Signs of COPD",
        "Mass and nodule",
        "4th rib",
        "Pneumothorax (left)",
        "Erguß",
        "肺炎",
        "Mass-like",
        "(left) mass",
        "T&A",
        "“Comet tail”",
    ]
    assert read(tmp_path, {"labels": "|".join(names)})["positive"].iloc[0] == names


def test_a_box_for_two_labels_is_refused(tmp_path):
    (tmp_path / "images.csv").write_text(text({}))
    boxes = "image_id,label,x,y,width,height\nimages/a.png,Effusion/Mass,0.5,0.5,0.1,0.1\n"
    assert "row 2, column 'label': 'Effusion/Mass' has a slash" in refusal(tmp_path, boxes, "boxes.csv")


@pytest.mark.parametrize("column", ["patient_id", "study_id"])
@pytest.mark.parametrize(
    "cells",
    [
        ("1.23457E+14", "p2"),
        ("p1", "1.23457e+14"),
        ("2,05E+37", "1"),
        ("1E+15", "1"),
        ("123457000000000", "1"),
        ("12345678901234500000", "98765432109876500000"),
    ],
)
def test_a_rounded_identifier_is_refused(tmp_path, column, cells):
    rows = [{"path": f"{cell}.png", column: cell} for cell in cells]
    row = 3 if cells[0] == "p1" else 2
    message = refusal(tmp_path, text(*rows, row=ROW | {"study_id": ""}))
    assert f"row {row}, column '{column}'" in message
    assert "was rounded by a spreadsheet program" in message


@pytest.mark.parametrize("cells", [("12345", "12345.0"), ("7", "007")])
def test_a_patient_number_in_two_spellings_is_refused(tmp_path, cells):
    message = refusal(tmp_path, text(*({"path": f"{cell}.png", "patient_id": cell} for cell in cells)))
    assert f"row 3, column 'patient_id': {cells[1]!r} and {cells[0]!r} in row 2 are the same number" in message


@pytest.mark.parametrize("cells", [("É1", "E\u03011"), ("p 1", "p  1"), ("p1", "ｐ1")])
def test_a_patient_in_other_characters_is_refused(tmp_path, cells):
    message = refusal(tmp_path, text(*({"path": f"{number}.png", "patient_id": cell} for number, cell in enumerate(cells))))
    assert "row 3, column 'patient_id'" in message
    shown = re.search("'patient_id': (.*) and (.*) in row 2 are the same name in other characters", message)
    assert shown[1] != shown[2]


def test_long_and_odd_identifiers_stay(tmp_path):
    names = ["1234567890123450", "1234567890123456789", "5e3", "12345.0", "12e45ab", "1.2.840.113619.2", "0012"]
    rows = [{"path": f"{name}.png", "patient_id": name, "study_id": name} for name in names]
    assert read(tmp_path, *rows, row=ROW | {"study_id": ""})["patient_id"].tolist() == names


OTHER_KINDS = {
    "semicolons": (
        lambda text: text.replace(",", ";").encode(),
        "row 1: the columns are separated by semicolons; save it with commas",
    ),
    "quoted semicolons": (lambda text: b'"path";"patient_id";"labels"\r\n"a.png";"p1";"Mass"\r\n', "semicolons"),
    "tabs": (lambda text: text.replace(",", "\t").encode(), "row 1: the columns are separated by tabs; save it with commas"),
    "bars": (lambda text: text.replace("|", " ").replace(",", "|").encode(), "vertical bars"),
    "sep=;": (
        lambda text: ("sep=;\r\n" + text.replace(",", ";")).encode(),
        "'sep=;' is a line for Excel only; delete this line",
    ),
    "sep=,": (lambda text: ("\ufeffsep=,\n" + text).encode(), "'sep=,' is a line for Excel only; delete this line"),
    "sep=tab": (lambda text: ("sep=\t\n" + text.replace(",", "\t")).encode(), "is a line for Excel only"),
    "utf-16": (lambda text: text.encode("utf-16"), "is UTF-16 text: save it as UTF-8"),
    "utf-16-le": (lambda text: text.encode("utf-16-le"), "is UTF-16 text: save it as UTF-8"),
    "utf-32": (lambda text: text.encode("utf-32"), "is UTF-32 text"),
    "latin-1": (
        lambda text: text.replace("Mass", "Erguß").encode("latin-1"),
        "probably Latin-1 (or Windows-1252), where it reads",
    ),
    "windows-1252": (lambda text: text.replace("Mass", "Œdème").encode("cp1252"), "probably Windows-1252, where it reads"),
    "workbook": (lambda text: b"PK\x03\x04" + bytes(40), "an Excel workbook, not a CSV file"),
    "gzip": (lambda text: gzip.compress(text.encode()), "gzip-compressed"),
    "web page": (lambda text: b"\n<!DOCTYPE html><html>", "a web page"),
}
TABLES = {
    "images.csv": "path,patient_id,labels\na.png,p1,Effusion|Mass\n",
    "boxes.csv": "image_id,label,x,y,width,height\na.png,Mass,0,0,1,1\n",
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_table_by_another_program_is_refused_by_its_cause(tmp_path, kind, name):
    (tmp_path / "images.csv").write_text(TABLES["images.csv"])
    write, cause = OTHER_KINDS[kind]
    if kind == "quoted semicolons" and name != "images.csv":
        return
    message = refusal(tmp_path, write(TABLES[name]), name)
    assert cause in message


@pytest.mark.parametrize(
    ("row", "word"),
    [("b.png;p1;Effusion|Mass;50", "semicolons"), ("b.png;p1;Mass;50,5", "semicolons"), ("b.png\tp1\tMass\t50", "tabs")],
)
def test_a_row_with_another_delimiter_than_the_header_is_refused_by_its_cause(tmp_path, row, word):
    message = refusal(tmp_path, f"path,patient_id,labels,age\na.png,p1,Mass,50\n{row}\n".encode(), "images.csv")
    assert f"images.csv, row 3: its cells are separated by {word}, and the header's by commas; save it with commas" in message
    cut = refusal(tmp_path, b"path,patient_id,labels,age\na.png,p1,Effusion|Mass|Edema|Hernia\n", "images.csv")
    assert "row 2" in cut
    assert "the row has 3 fields instead of 4" in cut


@pytest.mark.parametrize("path", ["../a.png", "/data/a.png", "C:/a.png"])
def test_a_path_that_leaves_the_folder_is_refused(tmp_path, path):
    message = refusal(tmp_path, text({}, {"path": path}))
    assert "row 3" in message
    assert path in message


def test_a_duplicate_names_both_rows(tmp_path):
    message = refusal(tmp_path, text({}, {"path": "b.png"}, {"path": "b.png", "patient_id": "p2"}))
    assert "row 4, column 'path': 'b.png' is in row 3 already" in message


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
    assert "row 2, column 'width': '12' is not a fraction" in message


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
        assert "docs/how-to/data.md" in sentence
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
    ingest.ingest_shard(dataset, outs[0], 0, *outs[2:], threads=1)

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
