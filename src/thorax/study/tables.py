"""Read a table as people keep it: text in any encoding, with any delimiter, or an Excel workbook. Cells become text."""

import csv
import datetime
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from thorax.errors import ThoraxError, did_you_mean
from thorax.storage import strict_csv

TEXT, WORKBOOKS = (".csv", ".tsv", ".tab", ".txt"), (".xlsx", ".xlsm")
_SAVE = "save it as an Excel workbook (.xlsx) or as CSV"
_OTHERS = {".xls": "an old Excel workbook", ".xlsb": "a binary Excel workbook", ".ods": "an OpenDocument sheet"}
_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_WESTERN = set("áàâäãåæçéèêëíìîïñóòôöõøœßúùûüýÿ¿¡ºª°€–—‘’“”„«»…´·§±µ²³£©®\xa0")
_ENOUGH = 0.5  # share of a table's columns that the header has a name for
_BLANK = strict_csv.NO_VALUE - {"none"}  # which may be a label; it is refused where it is one
_LINES = 50  # that the delimiter and the header are looked for in


@dataclass(frozen=True)
class Table:
    """A table: its cells as stripped text, one row of the frame for each of the file that is not blank."""

    path: Path
    frame: pd.DataFrame
    form: str  # how the file is written, in words
    rows: tuple[int, ...]  # the number of each row in the file, as people count


def is_table(path: Path) -> bool:
    """Whether a file's name says that it is a table; Excel's lock files are not."""
    plain = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return plain.suffix.lower() in (*TEXT, *WORKBOOKS, *_OTHERS) and not path.name.startswith(("~$", "."))


def read(path: Path, sheet: str | None = None) -> Table:
    """Read a table; ThoraxError with one sentence if it cannot be read as one.

    Rows above the header, such as a title, are skipped. A workbook's `sheet` is its only one with cells, unless it is named.
    """
    if not path.is_file():
        raise ThoraxError(f"{path} is not a file: name the table with --table.")
    suffix = path.suffix.lower()
    if suffix in _OTHERS:
        raise ThoraxError(f"{path} is {_OTHERS[suffix]}: {_SAVE}.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ThoraxError(f"{path} cannot be read ({error.strerror}): make it readable.") from error
    if data.startswith(b"\x1f\x8b"):
        try:
            data, suffix = gzip.decompress(data), path.with_suffix("").suffix.lower()
        except (OSError, EOFError, zlib.error) as error:
            raise ThoraxError(f"{path} is cut or damaged: compress it again.") from error
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise ThoraxError(f"{path} is an old or a protected Excel workbook: {_SAVE}, without a password.")
    if suffix in WORKBOOKS or data.startswith(b"PK\x03\x04"):
        cells, form = _from_workbook(path, data, sheet)
    else:
        cells, form = _from_text(path, data)
    return _with_header(path, cells, form)


def sheets(path: Path) -> list[str]:
    """The sheets of a workbook that have cells; none for another file."""
    if path.suffix.lower() not in WORKBOOKS or not path.is_file():
        return []
    return [name for name, rows in _sheets(path, path.read_bytes()).items() if rows]


def _sheets(path: Path, data: bytes) -> dict[str, list[tuple]]:
    """The rows of each sheet; an empty list for one without a cell."""
    import openpyxl

    try:
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        found = {one.title: list(one.iter_rows(values_only=True)) for one in book.worksheets}
    except Exception as error:  # openpyxl raises errors of many kinds at damaged files
        raise ThoraxError(f"{path} is not an Excel workbook, or is damaged: {_SAVE} again.") from error
    return {name: rows if any(cell is not None for row in rows for cell in row) else [] for name, rows in found.items()}


def _from_workbook(path: Path, data: bytes, sheet: str | None) -> tuple[list[tuple[int, list[str]]], str]:
    sheets = _sheets(path, data)
    if sheet is not None and sheet not in sheets:
        raise ThoraxError(f"{path} has no sheet {sheet!r}{did_you_mean(sheet, sheets)}: choose one of {', '.join(sheets)}.")
    filled = {name: rows for name, rows in sheets.items() if rows}
    if sheet is None and len(filled) > 1:
        raise ThoraxError(f"{path} has several sheets: choose one with --sheet ({', '.join(filled)}).")
    name = sheet if sheet is not None else next(iter(filled), "")
    found = [(number, [_cell(value) for value in row]) for number, row in enumerate(sheets.get(name, []), 1)]
    return found, f"Excel workbook, sheet {name!r}"


def _cell(value: Any) -> str:
    """A cell of a workbook as text: whole numbers without a decimal point, days as 2026-12-31."""
    if value is None:
        return ""
    if isinstance(value, datetime.datetime | datetime.date):
        return value.strftime("%Y-%m-%d")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return _tidy(str(value))


def _tidy(text: str) -> str:
    """A cell with single blanks; its line breaks stay, since they separate the entries of lists."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def _from_text(path: Path, data: bytes) -> tuple[list[tuple[int, list[str]]], str]:
    if data.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ThoraxError(f"{path} is a web page or XML, not a table: {_SAVE}.")
    encoding = _encoding(path, data)
    text = data.decode(encoding).lstrip("\ufeff")
    skipped = 0
    if marked := re.match(r"\"?sep=(.)\"?[^\n]*(\r\n|\r|\n)", text, re.IGNORECASE):  # a line for Excel
        text, skipped = text[marked.end() :], 1
    delimiter = marked[1] if marked else _delimiter(path, text)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    found: list[tuple[int, list[str]]] = []
    try:
        for fields in lines:
            found.append((len(found) + skipped + 1, [_tidy(field) for field in fields]))
    except csv.Error as error:
        problem = "its quotes do not match, or it is cut here; correct or save the file again"
        raise ThoraxError(f"{path}, row {len(found) + skipped + 1}: {problem}.") from error
    return found, f"text in {encoding.removesuffix('-sig')} with {_DELIMITERS.get(delimiter, repr(delimiter))}"


def _encoding(path: Path, data: bytes) -> str:
    """The encoding of a text: by its mark, UTF-8 if it is, Windows-1252 if that gives Western letters, else the likeliest."""
    for mark, name in _MARKS.items():
        if data.startswith(mark):
            return _decodes(path, data, name)
    if b"\0" in data:
        zeros = data[0::2].count(0), data[1::2].count(0)
        if max(zeros) > len(data) // 8 and min(zeros) < max(zeros) // 4:
            return _decodes(path, data, "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le")
        raise ThoraxError(f"{path} is not a text file: {_SAVE}.")
    for name in ("utf-8", "cp1252"):
        try:
            letters = {letter for letter in data.decode(name) if ord(letter) > 127}
        except UnicodeDecodeError:
            continue
        if name == "utf-8" or {letter.lower() for letter in letters} <= _WESTERN:
            return name
    from charset_normalizer import from_bytes

    best = from_bytes(data).best()
    if best is None:
        raise ThoraxError(f"{path} is text in an encoding that is not known: save it as UTF-8.")
    return best.encoding


def _decodes(path: Path, data: bytes, name: str) -> str:
    try:
        data.decode(name)
    except UnicodeDecodeError as error:
        raise ThoraxError(
            f"{path} is cut or damaged: it begins as {name.upper()} and does not end so; save it again."
        ) from error
    return name


def _delimiter(path: Path, text: str) -> str:
    """The delimiter at which quotes match, and that cuts most of the first lines into the same number of fields, the most."""
    best = (False, 0.0, 0, "")
    for delimiter in _DELIMITERS:
        lengths: list[int] = []
        whole = True
        try:
            for fields in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
                lengths += [len(fields)] if any(fields) else []
                if len(lengths) == _LINES:
                    break
        except csv.Error:
            whole = False
        (width, count), *_ = Counter(lengths).most_common(1) or [(0, 0)]
        if width > 1:
            best = max(best, (whole, round(count / len(lengths), 2), width, delimiter))
    if not best[3]:
        raise ThoraxError(f"{path} has no columns: separate them with {', '.join(_DELIMITERS.values())}.")
    return best[3]


def _with_header(path: Path, cells: Iterable[tuple[int, Sequence[str]]], form: str) -> Table:
    """The table below its header: the first row with names for at least half of the columns."""
    rows = [(number, [cell.strip() for cell in row]) for number, row in cells if any(cell.strip() for cell in row)]
    if len(rows) < 2:
        raise ThoraxError(f"{path} has no rows below its header: put one row for each image into it.")
    filled = [sum(map(bool, row)) for _, row in rows[:_LINES]]
    start = next((place for place, count in enumerate(filled) if count >= max(2, _ENOUGH * max(filled))), None)
    if start is None:
        raise ThoraxError(f"{path} has a single column: it needs at least one for the image and one for what was found.")
    (number, header), body = rows[start], rows[start + 1 :]
    header = [" ".join(name.split()) for name in header]
    if any(re.fullmatch(r"[-+]?\d+([.,]\d+)?", name) for name in header):
        raise ThoraxError(f"{path}, row {number}: a number is not the name of a column; give the table a header.")
    last = max(place for place, name in enumerate(header) if name) + 1
    for at, row in body:
        if any(row[last:]):
            raise ThoraxError(f"{path}, row {at}: it has more cells than the header has names; correct the row or the header.")
    names = header[:last]
    if twice := [name for name, count in Counter(filter(None, names)).items() if count > 1]:
        raise ThoraxError(f"{path}, row {number}, column {twice[0]!r}: the header names it twice; rename one of the two.")
    if not body:
        raise ThoraxError(f"{path} has no rows below its header: put one row for each image into it.")
    padded = [row[:last] + [""] * (last - len(row)) for _, row in body]
    frame = pd.DataFrame(padded, columns=range(last), dtype=object)
    frame = frame.loc[:, [bool(name) for name in names]].set_axis([name for name in names if name], axis=1)
    for column in frame:
        frame[column] = frame[column].where(~frame[column].str.casefold().isin(_BLANK), "")
    return Table(path, frame, form, tuple(at for at, _ in body))
