"""Reading archives: every quirk of their metadata files, and a sentence with file, row and column for every damage."""

import csv
import gzip
import io
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thorax.archives import ARCHIVES, absence, make_catalog, metadata_file, metadata_files, nih, padchest
from thorax.config import Dataset, Phantom
from thorax.errors import ThoraxError
from thorax.storage import csv_file, schemas, store, strict_csv

REAL = Path(__file__).parents[3].parent / "shared" / "data"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the real metadata is not beside the checkout")

PADCHEST_CSV = padchest.METADATA[0]
NIH_CSV = nih.METADATA[0]
PADCHEST_ROW = {
    "": "0",
    "ImageID": "a.png",
    "ImageDir": "7",
    "StudyDate_DICOM": "20140915",
    "StudyID": "20536686640136348236148679891455886468",
    "PatientID": "839860488694292331637988235681460987",
    "PatientBirth": "1930.0",
    "PatientSex_DICOM": "F",
    "Projection": "PA",
    "PhotometricInterpretation_DICOM": "MONOCHROME2",
    "Report": "",
    "MethodLabel": "Physician",
    "Labels": "['normal']",
    "Localizations": "[]",
}
NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"
)
BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"


def padchest_text(*changes: dict[str, str]) -> str:
    """A metadata file with one row per set of changes to PADCHEST_ROW."""
    text = io.StringIO()
    writer = csv.DictWriter(text, PADCHEST_ROW.keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(PADCHEST_ROW | change for change in changes)
    return text.getvalue()


def padchest_catalog(root: Path, *changes: dict[str, str]):
    (root / PADCHEST_CSV).write_text(padchest_text(*changes), encoding="utf-8")
    return padchest.read_catalog(root)


def padchest_error(root: Path, content: str | bytes, name: str = PADCHEST_CSV) -> str:
    (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ThoraxError) as caught:
        padchest.read_catalog(root)
    message = str(caught.value)
    assert str(root / name) in message
    assert "\n" not in message
    return message


def nih_archive(root: Path, rows: str) -> Path:
    (root / NIH_CSV).write_text(NIH_HEADER + rows, encoding="utf-8")
    return root


def test_padchest_row_becomes_a_catalog_row(tmp_path):
    row = padchest_catalog(tmp_path, {"Labels": "[' kyphosis', '', 'normal', 'kyphosis ']"}).iloc[0].to_dict()
    assert row == {
        "image_id": "a.png",
        "path": "7/a.png",
        "patient_id": "839860488694292331637988235681460987",
        "study_id": "20536686640136348236148679891455886468",
        "view": "PA",
        "sex": "F",
        "age": 84,
        "positive": ["kyphosis", "normal"],
        "negative": [],
        "uncertain": [],
        "padded": ["kyphosis"],
        "label_source": "Physician",
        "official_split": None,
        "photometric": "MONOCHROME2",
    }


def test_padchest_unknown_values_are_null(tmp_path):
    frame = padchest_catalog(
        tmp_path,
        {"PatientBirth": "", "PatientSex_DICOM": "nan", "Labels": "nan", "StudyDate_DICOM": "None"},
        {"ImageID": "b.png", "PatientSex_DICOM": "O", "Labels": "", "Projection": ""},
    )
    assert frame["age"].isna().tolist() == [True, False]
    assert frame["sex"].tolist() == [None, None]
    assert frame["positive"].tolist() == [[], []]
    assert frame["view"].tolist() == ["PA", None]


UNKNOWN = ["NA", "n/a", "NaN", "NULL", "none", "-", "?", "unknown", "UNK", "#N/A", "<NA>"]


@pytest.mark.parametrize("spelling", UNKNOWN)
def test_padchest_unknown_in_every_spelling(tmp_path, spelling):
    columns = [
        "PatientBirth",
        "PatientSex_DICOM",
        "Projection",
        "Labels",
        "StudyID",
        "MethodLabel",
        "PhotometricInterpretation_DICOM",
    ]
    row = padchest_catalog(tmp_path, dict.fromkeys(columns, spelling)).iloc[0]
    assert row[["sex", "view", "study_id", "label_source", "photometric"]].isna().all()
    assert np.isnan(row["age"])
    assert row["positive"] == []
    for column in ("ImageID", "PatientID"):
        assert f"row 2, column '{column}'" in padchest_error(tmp_path, padchest_text({column: spelling}))


@pytest.mark.parametrize("spelling", UNKNOWN)
def test_nih_unknown_in_every_spelling(tmp_path, spelling):
    row = nih.read_catalog(nih_archive(tmp_path, f"a.png,Mass,0,1,{spelling},{spelling},{spelling},1,1,1,1\n")).iloc[0]
    assert (row["sex"], row["view"]) == (None, None)
    assert np.isnan(row["age"])
    for column, cells in {
        "Image Index": [spelling, "Mass", "0", "1"],
        "Finding Labels": ["a.png", f"Mass|{spelling}", "0", "1"],
        "Follow-up #": ["a.png", "Mass", spelling, "1"],
        "Patient ID": ["a.png", "Mass", "0", spelling],
    }.items():
        nih_archive(tmp_path, ",".join([*cells, "58", "M", "PA", "1", "1", "1", "1"]) + "\n")
        with pytest.raises(ThoraxError, match=f"row 2, column '{column}'"):
            nih.read_catalog(tmp_path)


@pytest.mark.parametrize(
    ("write", "cause"),
    [
        (lambda text: text.replace(",", ";"), "row 1: the columns are separated by semicolons"),
        (lambda text: text.replace(",", "\t"), "row 1: the columns are separated by tabs"),
        (lambda text: "sep=,\n" + text, "row 1: 'sep=,' is a line for Excel only"),
    ],
)
def test_every_archives_table_with_another_delimiter_is_refused_by_its_cause(tmp_path, write, cause):
    row = "00000001_001.png,Mass,1,1,58,M,PA,2894,2729,0.143,0.143\n"
    for name, text, read in (
        (PADCHEST_CSV, padchest_text({}), padchest.read_catalog),
        (NIH_CSV, NIH_HEADER + row, nih.read_catalog),
        (nih.BOXES[0], BOX_HEADER + "a.png,Mass,512,256,128,64\n", nih.read_boxes),
    ):
        (tmp_path / name).write_text(write(text))
        with pytest.raises(ThoraxError, match=f"{name}, {cause}"):
            read(tmp_path)


def test_padchest_lists_are_not_shared_between_rows(tmp_path):
    frame = padchest_catalog(tmp_path, {}, {"ImageID": "b.png"})
    frame["positive"].iloc[0].append("changed")
    assert frame["positive"].iloc[1] == ["normal"]


def test_padchest_compressed_and_with_byte_order_mark(tmp_path):
    with gzip.open(tmp_path / f"{PADCHEST_CSV}.gz", "wb") as file:
        file.write(b"\xef\xbb\xbf" + padchest_text({}, {"ImageID": "b.png", "Report": "two\nlines"}).encode())
    assert padchest.read_catalog(tmp_path)["image_id"].tolist() == ["a.png", "b.png"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["", " ", "\t", "\n "]), st.text(), st.sampled_from(["", " ", "\n"]))))
def test_labels_survive_the_round_trip_without_their_dirt(dirty):
    entries = [before + text + after for before, text, after in dirty]
    stripped = ["" if strict_csv.is_unknown(text) else text.strip() for _, text, _ in dirty]
    assert padchest.parse_labels(str(entries)) == list(dict.fromkeys(text for text in stripped if text))


@settings(deadline=None)
@given(st.text() | st.text(alphabet="[]'\", \\ax0{(nN"))
def test_label_parser_never_crashes(text):
    with suppress(ValueError):
        assert all(label and label == label.strip() for label in padchest.parse_labels(text))


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("[]", []),
        ("nan", []),
        ("N/A", []),
        ("['nan', 'a', '?']", ["a"]),
        (" ['a'] ", ["a"]),
        ("[\"it's\", 'b',]", ["it's", "b"]),
        (r"['Alicante\x41', 'caf\xe9']", ["AlicanteA", "café"]),
        ("['consolidation, left']", ["consolidation, left"]),
        ("['a' 'b']", None),  # Python would read one label, ab
        ("['a', 1]", None),
        ("[['a']]", None),
        ("('a',)", None),
        ("'a'", None),
        ("['a'", None),
        ("normal", None),
        ("[nan]", None),
        (r"['\d']", None),
        (r"['\x4']", None),
        ("[" * 10_000, None),
    ],
)
def test_label_parser(text, labels):
    if labels is not None:
        assert padchest.parse_labels(text) == labels
        return
    with pytest.raises(ValueError, match="is not a list of strings; write it like"):
        padchest.parse_labels(text)


@pytest.mark.parametrize(
    ("text", "padded"),
    [
        ("['normal', ' kyphosis', '']", ["kyphosis"]),
        ("[' mass', 'mass', 'nodule ']", ["nodule"]),
        ("[' mass', '  mass ']", ["mass"]),
        ("['normal']", []),
        ("nan", []),
    ],
)
def test_labels_that_a_cell_only_has_with_a_blank(text, padded):
    assert padchest.padded_labels(text) == padded


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"Labels": "normal"}, "Labels"),
        ({"Labels": "['a' 'b']"}, "Labels"),
        ({"ImageID": " "}, "ImageID"),
        ({"ImageID": "a.png"}, "ImageID"),
        ({"ImageDir": ""}, "ImageDir"),
        ({"PatientID": "nan"}, "PatientID"),
        ({"PatientID": "8.3986E+35"}, "PatientID"),
        ({"StudyID": "2,05E+37"}, "StudyID"),
        ({"PatientBirth": "May"}, "PatientBirth"),
        ({"PatientBirth": "inf"}, "PatientBirth"),
        ({"StudyDate_DICOM": "15/09/2014"}, "StudyDate_DICOM"),
    ],
)
def test_padchest_bad_cell_is_named(tmp_path, change, column):
    text = padchest_text({}, {"ImageID": "b.png"}, {"ImageID": "c.png"} | change, {"ImageID": "d.png"})
    message = padchest_error(tmp_path, text)
    assert f"row 4, column '{column}'" in message


def test_padchest_duplicate_names_both_rows(tmp_path):
    message = padchest_error(tmp_path, padchest_text({}, {"ImageID": "b.png"}, {"ImageID": "b.png"}))
    assert "row 4" in message
    assert "'b.png' is in row 3 already" in message


@pytest.mark.parametrize("column", ["ImageID", "PatientID", "Labels", "Projection"])
def test_padchest_missing_column_is_named(tmp_path, column):
    message = padchest_error(tmp_path, padchest_text({}).replace(column, "Something", 1))
    assert "row 1" in message
    assert f"'{column}'" in message


def test_padchest_empty_file_lacks_its_columns(tmp_path):
    assert "row 1" in padchest_error(tmp_path, "")


@pytest.mark.parametrize(
    ("rest", "column"),
    [("1,b.png,7,2014", "StudyID"), ("1,b.png", "ImageDir"), ("\n" + "0,c.png", ""), ("x," * 20, "Localizations")],
)
def test_padchest_row_with_another_number_of_fields_is_named(tmp_path, rest, column):
    message = padchest_error(tmp_path, padchest_text({}) + rest)
    assert f"row 3, column '{column}'" in message


def test_padchest_cut_inside_quotes_is_named(tmp_path):
    text = padchest_text({}, {"ImageID": "b.png", "Labels": "['normal', 'kyphosis']"})
    assert "row 3" in padchest_error(tmp_path, text[: text.index("kyph")])


@settings(deadline=None)
@given(st.integers(0, 2000))
def test_padchest_cut_anywhere_loses_whole_rows_or_is_an_error(tmp_path_factory, length):
    text = padchest_text(*({"ImageID": f"{i}.png", "Labels": "['a', 'b']", "Localizations": "['x', 'y']"} for i in range(6)))
    root = tmp_path_factory.mktemp("cut")
    (root / PADCHEST_CSV).write_text(text[:length])
    try:
        frame = padchest.read_catalog(root)
    except ThoraxError:
        return
    assert frame["positive"].tolist() == [["a", "b"]] * len(frame)
    assert set(frame["patient_id"]) <= {PADCHEST_ROW["PatientID"]}


@pytest.mark.parametrize(("column", "row"), [("Labels", 3), ("Report", 3), ("PatientID", 3)])
def test_padchest_wrong_encoding_is_named(tmp_path, column, row):
    text = padchest_text({}, {"ImageID": "b.png", column: "tórax"}, {"ImageID": "c.png", column: "más"})
    assert f"row {row}, column '{column}'" in padchest_error(tmp_path, text.encode("latin-1"))


def test_padchest_utf16_is_named(tmp_path):
    assert "UTF-8" in padchest_error(tmp_path, padchest_text({}).encode("utf-16"))


def test_padchest_damaged_compression_is_named(tmp_path):
    name = f"{PADCHEST_CSV}.gz"
    whole = gzip.compress(padchest_text(*({"ImageID": f"{i}.png"} for i in range(500))).encode())
    assert "cut" in padchest_error(tmp_path, whole[:-200], name)
    assert "damaged" in padchest_error(tmp_path, b"no gzip", name)
    assert padchest_error(tmp_path, whole[:500] + b"\0" * 100 + whole[600:], name)


def test_padchest_boxes_of_a_phantom(tmp_path):
    assert padchest.read_boxes(tmp_path) is None
    (tmp_path / "boxes.csv").write_text("image_id,label,x,y,width,height\na.png,nodule,0.25,0.5,0.125,1\n")
    boxes = padchest.read_boxes(tmp_path)
    assert boxes.values.tolist() == [["a.png", "nodule", 0.25, 0.5, 0.125, 1.0]]
    (tmp_path / "boxes.csv").write_text("image_id,label,x,y,width,height\na.png,nodule,25,0.5,0.125,1\n")
    with pytest.raises(ThoraxError, match=r"boxes.csv, row 2, column 'x': '25' is not a fraction"):
        padchest.read_boxes(tmp_path)


def test_nih_row_becomes_a_catalog_row(tmp_path):
    nih_archive(tmp_path, "00000001_001.png,Cardiomegaly|Emphysema,1,1,58,M,PA,2894,2729,0.143,0.143\n")
    assert nih.read_catalog(tmp_path).iloc[0].to_dict() == {
        "image_id": "00000001_001.png",
        "path": "images/00000001_001.png",
        "patient_id": "1",
        "study_id": "1_1",
        "view": "PA",
        "sex": "M",
        "age": 58,
        "positive": ["Cardiomegaly", "Emphysema"],
        "negative": [],
        "uncertain": [],
        "label_source": "text-mined",
        "official_split": None,
        "photometric": "MONOCHROME2",
    }


def test_nih_images_are_found_in_every_layout(tmp_path):
    places = {
        "a.png": "images/a.png",
        "b.png": "images_001/images/b.png",
        "c.png": "images_012/images/c.png",
        "d.png": "images_002/d.png",
        "e.png": "e.png",
    }
    for place in [*places.values(), "images_003/images/a.png"]:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    names = [*places, "absent.png"]
    nih_archive(tmp_path, "".join(f"{name},Mass,0,{i},58,M,PA,1,1,1,1\n" for i, name in enumerate(names)))
    assert nih.read_catalog(tmp_path)["path"].tolist() == [*places.values(), "images/absent.png"]
    assert nih.has_images(tmp_path)


def test_nih_present_file_calls_the_sex_sex(tmp_path):
    row = "00000001_001.png,Mass,1,1,58,{},PA,1,1,1,1\n"
    (tmp_path / NIH_CSV).write_text(NIH_HEADER.replace("Patient Gender", "Patient Sex") + row.format("F"))
    assert nih.read_catalog(tmp_path)["sex"].tolist() == ["F"]
    (tmp_path / NIH_CSV).write_text(NIH_HEADER.replace("Patient Gender", "Gender") + row.format("F"))
    with pytest.raises(ThoraxError, match="row 1: there is no column 'Patient Sex'"):
        nih.read_catalog(tmp_path)


def test_nih_counts_the_images_that_its_table_lists_and_that_are_absent(tmp_path):
    assert nih.absent_images(tmp_path) is None
    nih_archive(tmp_path, "".join(f"{name}.png,Mass,0,1,58,M,PA,1,1,1,1\n" for name in "ab"))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    assert nih.absent_images(tmp_path) == 1
    (tmp_path / "images_001" / "images").mkdir(parents=True)
    (tmp_path / "images_001" / "images" / "b.PNG").touch()
    assert nih.absent_images(tmp_path) == 0


OLDER_HEADER = NIH_HEADER.replace("\n", ",\n")  # the release of 2017 ends its rows with a comma


@pytest.mark.parametrize(
    ("table", "header", "age", "end"),
    [
        ("Data_Entry_2017.csv", OLDER_HEADER, "058Y", ","),
        ("Data_Entry_2017.csv", OLDER_HEADER, "58", ""),
        ("Data_Entry_2017_v2020.csv", NIH_HEADER.replace("Gender", "Sex"), "58", ""),
        ("sample/sample_labels.csv", NIH_HEADER.replace("[Width,", "Width,").replace("Height]", "Height"), "058Y", ""),
    ],
)
@pytest.mark.parametrize(
    "folder",
    [
        "images",
        "images_001/images",
        "sample/images",
        "sample/sample/images",
        "images-224/images-224",
        "images/images_001",
        "images/images_001/images",
        "data/images_001/images",
        "CXR8/images/images",
        "Images",
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".PNG"])
def test_nih_known_layouts_are_read(tmp_path, table, header, age, end, folder, suffix):
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / table).parent.mkdir(exist_ok=True)
    (tmp_path / table).write_text(f"{header}00000001_000.png,Cardiomegaly,0,1,{age},M,PA,2682,2749,0.143,0.143{end}\n")
    (tmp_path / "test_list.txt").write_text("00000001_000.png\n")
    settings = Dataset(archive="nih", root=str(tmp_path))
    assert "there are no images" in absence(settings)
    (tmp_path / folder / f"00000001_000{suffix}").touch()
    assert absence(settings) is None
    row = nih.read_catalog(tmp_path).iloc[0]
    assert row["path"] == f"{folder}/00000001_000{suffix}"
    assert (row["age"], row["sex"], row["official_split"]) == (58, "M", "test")
    assert metadata_files(settings) == [tmp_path / table, tmp_path / "test_list.txt"]
    assert nih.absent_images(tmp_path) == 0


@pytest.mark.parametrize("suffix", ["", "_NIH"])
def test_nih_tables_of_other_copies_are_read(tmp_path, suffix):
    """Kaggle's archive in a folder of its own, and the copy of small images, whose lists have other names."""
    (tmp_path / "archive" / "images_001" / "images").mkdir(parents=True)
    (tmp_path / "archive" / "images_001" / "images" / "b.png").touch()
    row = "{}.png,Mass,0,{},58,M,PA,1,1,1,1,\n"
    (tmp_path / "archive" / "Data_Entry_2017.csv").write_text(OLDER_HEADER + row.format("a", 1) + row.format("b", 2))
    (tmp_path / "archive" / f"train_val_list{suffix}.txt").write_text("a.png\n")
    (tmp_path / "archive" / f"test_list{suffix}.txt").write_text("b.png\n")
    boxes = "BBox_List_2017_Official_NIH.csv" if suffix else nih.BOXES[0]
    (tmp_path / "archive" / boxes).write_text(BOX_HEADER + "b.png,Mass,512,256,128,64\n")
    settings = Dataset(archive="nih", root=str(tmp_path))
    assert absence(settings) is None
    catalog = nih.read_catalog(tmp_path)
    assert catalog["path"].tolist() == ["images/a.png", "archive/images_001/images/b.png"]
    assert catalog["official_split"].tolist() == ["train", "test"]
    assert nih.read_boxes(tmp_path)["image_id"].tolist() == ["b.png"]
    assert len(metadata_files(settings)) == 4


def test_nih_pictures_of_the_same_name_in_other_folders_are_not_the_images(tmp_path):
    nih_archive(tmp_path, "a.png,Mass,0,1,58,M,PA,1,1,1,1\n")
    for folder in ("masks", "deep/images", "data/nih/images/images"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.png").touch()
    assert not nih.has_images(tmp_path)
    assert nih.read_catalog(tmp_path)["path"].tolist() == ["images/a.png"]
    for folder, first in (
        ("data_2", "data_2/a.png"),
        (".", "a.png"),
        ("images_001", "images_001/a.png"),
        ("images", "images/a.png"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "a.png").touch()
        assert nih.read_catalog(tmp_path)["path"].tolist() == [first]


def test_nih_ages_in_other_units_are_years(tmp_path):
    nih_archive(tmp_path, "".join(f"{age}.png,Mass,0,1,{age},M,PA,1,1,1,1\n" for age in ("018M", "073D", "026W")))
    assert nih.read_catalog(tmp_path)["age"].tolist() == pytest.approx([1.5, 0.2, 0.5], abs=0.01)


def test_nih_official_lists(tmp_path):
    nih_archive(tmp_path, "".join(f"{name}.png,Mass,0,1,58,M,PA,1,1,1,1\n" for name in "abc"))
    (tmp_path / "train_val_list.txt").write_text("a.png\r\nelsewhere.png\r\n")
    (tmp_path / "test_list.txt").write_text("images/b.png\n\n")
    assert nih.read_catalog(tmp_path)["official_split"].tolist() == ["train", "test", None]
    (tmp_path / "test_list.txt").write_text("b.png\na.png\n")
    with pytest.raises(ThoraxError, match=r"test_list.txt, row 2: a.png"):
        nih.read_catalog(tmp_path)


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("b.png,,0,1,58,M,PA,1,1,1,1", "Finding Labels"),
        ("b.png,Mass||Nodule,0,1,58,M,PA,1,1,1,1", "Finding Labels"),
        ("b.png,Mass;Nodule,0,1,58,M,PA,1,1,1,1", "Finding Labels"),
        ("b.png,mass,0,1,58,M,PA,1,1,1,1", "Finding Labels"),
        ("b.png,Mass|1,0,1,58,M,PA,1,1,1,1", "Finding Labels"),
        ("b.png,Mass,0,,58,M,PA,1,1,1,1", "Patient ID"),
        ("b.png,Mass,,1,58,M,PA,1,1,1,1", "Follow-up #"),
        ("b.png,Mass,0,1.23457E+14,58,M,PA,1,1,1,1", "Patient ID"),
        ("b.png,Mass,0,-9,58,M,PA,1,1,1,1", "Patient ID"),
        ("b.png,Mass,0,01,58,M,PA,1,1,1,1", "Patient ID"),  # patient 1 of another row
        ("a.png,Mass,0,1,58,M,PA,1,1,1,1", "Image Index"),
        ("b.png,Mass,0,1,058X,M,PA,1,1,1,1", "Patient Age"),
        ("b.png,Mass,0,1,58,M", "View Position"),
    ],
)
def test_nih_bad_cell_is_named(tmp_path, row, column):
    nih_archive(tmp_path, f"a.png,Mass,0,1,58,M,PA,1,1,1,1\n{row}\n")
    with pytest.raises(ThoraxError) as caught:
        nih.read_catalog(tmp_path)
    assert f"{tmp_path / NIH_CSV}, row 3, column '{column}'" in str(caught.value)


def test_a_misspelt_nih_finding_is_named(tmp_path):
    nih_archive(tmp_path, "a.png,Effusion|Noduel,0,1,58,M,PA,1,1,1,1\n")
    with pytest.raises(ThoraxError, match=r"'Noduel' is not a finding of this archive \(did you mean 'Nodule'\?\); write"):
        nih.read_catalog(tmp_path)


@pytest.mark.parametrize("tail", ["", ",,,"])
def test_nih_boxes_are_fractions(tmp_path, tail):
    (tmp_path / nih.BOXES[0]).write_text(
        f"{BOX_HEADER}a.png,Infiltrate,512,256,128,64{tail}\na.png,Mass,1000,0,32,1024{tail}\n"
    )
    boxes = nih.read_boxes(tmp_path)
    assert boxes["label"].tolist() == ["Infiltration", "Mass"]
    expected = [[0.5, 0.25, 0.125, 0.0625], [1000 / 1024, 0, 24 / 1024, 1]]
    np.testing.assert_array_equal(boxes[["x", "y", "width", "height"]], expected)


def test_nih_bad_box_is_named(tmp_path):
    (tmp_path / nih.BOXES[0]).write_text(f"{BOX_HEADER}a.png,Mass,512,256,128,64\na.png,Mass,512,2560,128,64\n")
    with pytest.raises(ThoraxError, match=r"row 3, column 'y': '2560' is outside an image of 1024 x 1024"):
        nih.read_boxes(tmp_path)
    assert nih.read_boxes(tmp_path / "elsewhere") is None


def test_metadata_file_prefers_what_is_there(tmp_path):
    for name, archive in ARCHIVES.items():
        dataset = Dataset(archive=name, root=str(tmp_path))
        assert metadata_file(dataset) == tmp_path / archive.metadata[0]
        (tmp_path / archive.metadata[1]).touch()
        assert metadata_file(dataset) == tmp_path / archive.metadata[1]
        (tmp_path / archive.metadata[0]).touch()
        assert metadata_file(dataset) == tmp_path / archive.metadata[0]


@pytest.mark.parametrize(
    ("name", "folder", "request_"),
    [("padchest", "0", "data use agreement"), ("nih", "images_001/images", "nihcc.app.box.com")],
)
def test_absence_says_what_is_missing_and_how_to_get_it(tmp_path, name, folder, request_):
    root = tmp_path / "archive"
    dataset = Dataset(archive=name, root=str(root))
    sentences = [absence(dataset)]
    root.mkdir()
    sentences.append(absence(dataset))
    (root / ARCHIVES[name].metadata[0]).touch()
    sentences.append(absence(dataset))
    for sentence, missing in zip(sentences, ["folder", "is missing", "no images"], strict=True):
        assert missing in sentence
        for part in (str(root), ARCHIVES[name].metadata[0], request_, "make demo"):
            assert part in sentence
    (root / folder).mkdir(parents=True)
    (root / folder / "a.png").touch()
    assert absence(dataset) is None


def test_a_phantom_is_never_absent(tmp_path):
    dataset = Dataset(archive="padchest", root=str(tmp_path / "made later"), phantom=Phantom(patients=4))
    assert absence(dataset) is None
    with pytest.raises(ThoraxError, match="is missing"):
        make_catalog(dataset, tmp_path / "catalog.parquet", tmp_path / "boxes.parquet")


def test_make_catalog_does_not_depend_on_the_row_order(tmp_path):
    written = []
    for order in ([0, 1, 2], [2, 0, 1]):
        root = tmp_path / str(order)
        root.mkdir()
        (root / PADCHEST_CSV).write_text(padchest_text(*({"ImageID": f"{i}.png"} for i in order)))
        boxes = [f"{i}.png,nodule,0.{i},0,0.5,0.5\n" for i in [*order, 9]]
        (root / "boxes.csv").write_text("image_id,label,x,y,width,height\n" + "".join(boxes))
        outs = root / "out.parquet", root / "boxes.parquet"
        make_catalog(Dataset(archive="padchest", root=str(root)), *outs)
        written.append([out.read_bytes() for out in outs])
        assert store.read_table(outs[0])["image_id"].tolist() == ["0.png", "1.png", "2.png"]
        assert store.read_table(outs[1])["image_id"].tolist() == ["0.png", "1.png", "2.png"]  # 9.png is not in the archive
    assert written[0] == written[1]


def test_make_catalog_refuses_a_path_that_leaves_the_archive(tmp_path):
    (tmp_path / PADCHEST_CSV).write_text(padchest_text({}, {"ImageID": "b.png", "ImageDir": "../.."}))
    with pytest.raises(ThoraxError, match=r"row 3"):
        make_catalog(Dataset(archive="padchest", root=str(tmp_path)), tmp_path / "out.parquet", tmp_path / "boxes.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(ThoraxError, match=r"table.csv does not exist"):
        csv_file.read_columns(tmp_path / "table.csv", ["a"])


@pytest.mark.real
@needs_real
def test_real_padchest(tmp_path):
    out, boxes = tmp_path / "catalog.parquet", tmp_path / "boxes.parquet"
    make_catalog(Dataset(archive="padchest", root=str(REAL / "metadata")), out, boxes)
    frame = store.read_table(out)
    assert frame.columns.tolist() == schemas.CATALOG.names
    pa_rows = frame[frame["view"] == "PA"]
    assert (len(frame), frame["patient_id"].nunique()) == (160_861, 67_625)
    assert (len(pa_rows), pa_rows["patient_id"].nunique()) == (91_728, 62_146)
    assert pa_rows["positive"].explode().nunique() == 191
    assert (frame["age"].min(), frame["age"].max(), frame["age"].isna().sum()) == (0, 105, 6)
    assert frame["sex"].value_counts().to_dict() == {"M": 80_920, "F": 79_919}
    assert len(store.read_table(boxes)) == 0


@pytest.mark.real
@needs_real
def test_real_padchest_label_text():
    path = REAL / "metadata" / padchest.METADATA[1]
    table = csv_file.read_columns(path, ("Projection", "Labels"))
    texts = table.loc[table["Projection"] == "PA", "Labels"]
    assert (texts == "nan").sum() == 65
    raw = texts[texts != "nan"].map(lambda text: [entry[1:-1] for entry in text[1:-1].split(", ")]).explode()
    assert raw.nunique() == 343
    assert raw.map(str.strip).replace("", None).nunique() == 191
    assert (raw.str.startswith(" ").sum(), (raw.str.strip() == "").sum()) == (18_885, 1_399)


@pytest.mark.real
@needs_real
def test_real_nih(tmp_path):
    out, boxes = tmp_path / "catalog.parquet", tmp_path / "boxes.parquet"
    make_catalog(Dataset(archive="nih", root=str(REAL / "metadata")), out, boxes)
    frame, boxes = store.read_table(out), store.read_table(boxes)
    assert (len(frame), frame["patient_id"].nunique()) == (112_120, 30_805)
    counts = frame["positive"].explode().value_counts()
    assert len(counts) == 15
    assert counts["No Finding"] == 60_361
    assert frame["official_split"].value_counts().to_dict() == {"train": 86_524, "test": 25_596}
    assert len(boxes) == 984
    assert set(boxes["label"]) <= set(counts.index)
    assert (boxes["x"] + boxes["width"]).max() <= 1


@pytest.mark.real
@needs_real
def test_real_nih_sample():
    frame = nih.read_catalog(REAL / "nih_sample")
    assert (len(frame), frame["patient_id"].nunique()) == (794, 546)
    assert all((REAL / "nih_sample" / path).is_file() for path in frame["path"])
    assert frame["official_split"].isna().all()
    assert absence(Dataset(archive="nih", root=str(REAL / "nih_sample"))) is None
