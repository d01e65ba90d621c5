"""Tables in any encoding, delimiter and form; what is not a table is refused with a sentence."""

import codecs
import csv
import datetime
import gzip
import io

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thorax.errors import ThoraxError
from thorax.study import tables

WORDS = st.text("abcdefgäöüßéèêáíóúñçãõ XYZ,;\t|\"'", min_size=1, max_size=12).map(lambda text: " ".join(text.split()))
WORDS = WORDS.filter(lambda text: text.casefold() not in ("", "na", "nan", "null"))
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1")


@st.composite
def grids(draw) -> list[list[str]]:
    """A header and rows of at least two columns; the header has names."""
    width = draw(st.integers(2, 5))
    header = draw(st.lists(WORDS, min_size=width, max_size=width, unique=True))
    rows = draw(st.lists(st.lists(WORDS, min_size=width, max_size=width), min_size=2, max_size=8))
    return [header, *rows]


@settings(deadline=None, max_examples=100)
@given(grids(), st.sampled_from(",;\t|"), st.sampled_from(ENCODINGS), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_a_text_is_read_whatever_its_encoding_and_delimiter(tmp_path_factory, grid, delimiter, encoding, end, said):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(grid)
    path = tmp_path_factory.mktemp("table") / "a.csv"
    path.write_bytes(((f"sep={delimiter}{end}" if said else "") + text.getvalue()).encode(encoding))
    read = tables.read(path)
    assert [list(read.frame), *read.frame.to_numpy().tolist()] == grid
    assert read.rows == tuple(range(2 + said, len(grid) + 1 + said))


@settings(deadline=None, max_examples=25)
@given(grids(), st.integers(0, 2))
def test_a_workbook_is_read_below_its_title(tmp_path_factory, grid, above):
    path = tmp_path_factory.mktemp("table") / "a.xlsx"
    book = openpyxl.Workbook()
    book.create_sheet("empty")
    for _ in range(above):
        book.active.append(["A title"])
    for row in grid:
        book.active.append(["'" + text if text.startswith("=") else text for text in row])
    book.save(path)
    read = tables.read(path)
    assert [list(read.frame), *read.frame.to_numpy().tolist()] == grid
    assert read.rows[0] == above + 2


def test_cells_of_a_workbook_become_plain_text(tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["a", "b", "c", "d", "e"])
    book.active.append([7.0, 0.5, datetime.date(2024, 12, 31), None, " x  y "])
    book.save(tmp_path / "a.xlsx")
    assert tables.read(tmp_path / "a.xlsx").frame.to_numpy().tolist() == [["7", "0.5", "2024-12-31", "", "x y"]]


def test_line_breaks_stay_in_cells_and_not_in_names(tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["image", "what was\nfound"])
    book.active.append(["a.png", " Mass \r\n\n  Pleural \t effusion\n"])
    book.save(tmp_path / "a.xlsx")
    (tmp_path / "a.csv").write_bytes(b'image,"what was\r\nfound"\r\na.png," Mass \r\n\r\n  Pleural \t effusion\r\n"\r\n')
    for name in ("a.xlsx", "a.csv"):
        read = tables.read(tmp_path / name)
        assert list(read.frame) == ["image", "what was found"]
        assert read.frame.to_numpy().tolist() == [["a.png", "Mass\nPleural effusion"]]


def test_a_sheet_is_named_where_there_are_several(tmp_path):
    book = openpyxl.Workbook()
    for name in ("one", "two"):
        sheet = book.create_sheet(name)
        sheet.append(["image", "finding"])
        sheet.append([f"{name}.png", "x"])
    book.save(tmp_path / "a.xlsx")
    assert tables.sheets(tmp_path / "a.xlsx") == ["one", "two"]
    assert tables.read(tmp_path / "a.xlsx", "two").frame.to_numpy().tolist() == [["two.png", "x"]]
    with pytest.raises(ThoraxError, match=r"several sheets: choose one with --sheet \(one, two\)\.$"):
        tables.read(tmp_path / "a.xlsx")
    with pytest.raises(ThoraxError, match=r"no sheet 'tow' \(did you mean 'two'\?\): choose one of "):
        tables.read(tmp_path / "a.xlsx", "tow")


def test_letters_of_another_script_are_read(tmp_path):
    grid = "файл;плевральный выпот;пациент\n" + "".join(f"снимок{n}.png;да;больной {n}\n" for n in range(30))
    (tmp_path / "a.csv").write_bytes(grid.encode("cp1251"))
    assert list(tables.read(tmp_path / "a.csv").frame) == ["файл", "плевральный выпот", "пациент"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "has no columns"),
        (b"image\na.png\nb.png\n", "has no columns: separate them with commas, semicolons, tabs, vertical bars"),
        (b"image,finding\n", "has no rows below its header: put one row for each image into it"),
        (b"image,finding\na.png,x\nb.png,x,y\n", "row 3: it has more cells than the header has names"),
        (b"image,finding,finding\na.png,x,y\n", "row 1, column 'finding': the header names it twice"),
        (b"1,2\n3,4\n", "row 1: a number is not the name of a column; give the table a header"),
        (b'image,finding\n"a.png,x\nb.png,x\n', "its quotes do not match"),
        (b"<!DOCTYPE html><html></html>", "is a web page or XML, not a table"),
        (b"image,finding\0\1\2\3\0\0\0\0\x99", "is not a text file"),
        (codecs.BOM_UTF16_LE + b"a\0,\0b", "is cut or damaged"),
        (b"\xd0\xcf\x11\xe0 old", "is an old or a protected Excel workbook"),
        (b"\x1f\x8b cut", "is cut or damaged: compress it again"),
        (b"PK\x03\x04 cut", "is not an Excel workbook, or is damaged"),
    ],
)
def test_what_is_not_a_table_is_refused_with_a_sentence(tmp_path, content, problem):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ThoraxError, match=r"[^\n]*\.$") as refused:
        tables.read(tmp_path / "a.csv")
    assert problem in str(refused.value)
    assert str(refused.value).startswith(str(tmp_path / "a.csv"))


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_table_or_refused_with_a_sentence(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content)
    refused = None
    try:
        assert len(tables.read(path).frame) > 0
    except ThoraxError as error:
        refused = str(error)
    assert refused is None or (refused.startswith(str(path)) and refused.endswith("."))


def test_a_compressed_text_is_read(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"image;finding\na.png;x\n"))
    assert tables.is_table(tmp_path / "a.csv.gz")
    assert tables.read(tmp_path / "a.csv.gz").frame.to_numpy().tolist() == [["a.png", "x"]]
    assert not tables.is_table(tmp_path / "a.png.gz")


def test_other_kinds_of_workbooks_are_named(tmp_path):
    for suffix, name in ((".xls", "an old Excel workbook"), (".ods", "an OpenDocument sheet")):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(b"x")
        with pytest.raises(ThoraxError, match=f"is {name}: save it as"):
            tables.read(path)
