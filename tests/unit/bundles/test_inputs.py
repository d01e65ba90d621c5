"""Which files are predicted: folders, lists, names that occur twice, and sentences on what is not there."""

import os
import shutil

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thorax.bundles import inputs
from thorax.errors import ThoraxError

PICTURE = cv2.imencode(".png", np.arange(64, dtype=np.uint8).reshape(8, 8))[1].tobytes()


@pytest.fixture
def folder(tmp_path):
    """Images with and without endings, at two depths, among files that are none."""
    root = tmp_path / "images"
    (root / "deep").mkdir(parents=True)
    for name in ("b.png", "deep/a.PNG", "no_ending", "deep/other.ending"):
        (root / name).write_bytes(PICTURE)
    (root / "dicom").write_bytes(bytes(128) + b"DICM")
    (root / "damaged.jpg").write_bytes(b"")
    (root / "notes.txt").write_text("mine")
    (root / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (root / ".hidden").mkdir()
    (root / ".hidden" / "c.png").write_bytes(PICTURE)
    (root / "._b.png").write_bytes(PICTURE)
    return root


def names(*given, column=None):
    return [one.name for one in inputs.find(given, column)]


def test_a_folder_gives_its_images_by_content_or_ending(folder):
    found = [os.path.relpath(name, folder) for name in names(folder)]
    assert found == ["b.png", "damaged.jpg", "dicom", "no_ending", "deep/a.PNG", "deep/other.ending"]


def test_no_file_comes_twice_and_the_first_name_counts(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    first = type(folder)("images/b.png")
    assert names(first, folder / "b.png", first) == ["images/b.png"]
    assert len(names(first, folder)) == 6


def test_links_to_one_file_are_several_images(folder):
    (folder / "deep" / "link.png").symlink_to(folder / "b.png")
    assert len(names(folder)) == 7


def test_a_list_gives_paths_from_its_own_folder_as_they_are_written(folder):
    table = folder.parent / "list.csv"
    table.write_text("patient,File\n1,images/b.png\n2,images/gone.png\n3,images/b.png\n")
    found = inputs.find([table])
    assert [one.name for one in found] == ["images/b.png", "images/gone.png"]
    assert found[0].path.read_bytes() == PICTURE
    assert names(table, column="File") == ["images/b.png", "images/gone.png"]


def test_a_list_may_have_a_single_column_of_any_name_and_absolute_paths(folder):
    table = folder.parent / "list.csv"
    table.write_text(f"Bilder\n{folder / 'b.png'}\n")
    assert names(table) == [str(folder / "b.png")]


def test_two_files_of_one_name_are_refused(folder):
    other = folder.parent / "other"
    shutil.copytree(folder, other / "images")
    for root in (folder.parent, other):
        (root / "list.csv").write_text("path\nimages/b.png\n")
    with pytest.raises(ThoraxError, match=r"other/images/b\.png are both called 'images/b\.png': give their full paths"):
        inputs.find([folder.parent / "list.csv", other / "list.csv"])


@pytest.mark.parametrize(
    ("text", "column", "sentence"),
    [
        ("a,b\nx,y\n", None, r"list\.csv has no column 'path' but 'a', 'b': name that of the paths with --column"),
        ("a,paths\nx,y\n", "path", r"list\.csv has no column 'path' \(did you mean 'paths'\?\)"),
        ("path,b\nx,1\n,2\n", None, r"list\.csv, row 3, column 'path': the path is blank"),
        ("frontal;lateral\na;b\n", None, r"list\.csv, row 1: the columns are separated by semicolons"),
        ("path\n", None, r"list\.csv has no rows"),
    ],
)
def test_a_list_that_is_not_understood_is_refused(tmp_path, text, column, sentence):
    table = tmp_path / "list.csv"
    table.write_text(text)
    with pytest.raises(ThoraxError, match=sentence):
        inputs.find([table], column)


def test_what_is_not_there_and_an_empty_folder_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ThoraxError, match="has no PNG, JPEG, TIFF or DICOM file: name a folder with radiographs"):
        inputs.find([tmp_path])
    for name in ("gone.png", "gone.csv", "gone"):
        with pytest.raises(ThoraxError, match=f"{name} is not there: check the path"):
            inputs.find([tmp_path / name])


@given(st.lists(st.lists(st.text(max_size=300), min_size=1, max_size=2), max_size=8))
def test_names_of_new_files_are_valid_and_differ_in_more_than_capital_letters(files):
    names = inputs.Names()
    free = [names.free(words, inputs.OVERLAY) for words in files]
    assert len({name.casefold() for name in free}) == len(files)
    assert all(len(name.encode()) <= 255 and "/" not in name and name.endswith(inputs.OVERLAY) for name in free)


def test_a_name_has_the_next_number_that_is_free():
    names = inputs.Names()
    assert [names.free([word], ".dcm") for word in ("a", "A", "a b")] == ["a.dcm", "A-2.dcm", "a_b.dcm"]
    assert names.free(["a"], ".dcm", lambda name: name == "a-4.dcm") == "a-4.dcm"
    assert names.free(["x" * 101], "") == "x" * 100
