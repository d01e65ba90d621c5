"""Strict reading of an archive's metadata CSV: every cell is text, and every problem names file, row and column."""

import csv
import gzip
import math
import re
import unicodedata
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt
import pandas as pd

from thorax.errors import ThoraxError

FIRST_ROW = 2  # of the data, as people count: the header is row 1
# How programs write a cell without a value, in lower case; #NV, #N/D and so on are #N/A of spreadsheets in other languages
_NO_VALUE = r"nan -nan na n/a n.a. n.a #n/a #na #nv #n/d #n/b #i/t #yok <na> nat null (null) <null> \n none"
NO_VALUE = {"", "#n/a n/a", *_NO_VALUE.split()}
# How people write that a value is not known, dashes of several scripts included
_UNKNOWN = "- -- --- \u2013 \u2014 \u2010 \u2015 \u2212 _ * . ... … ? ?? ??? unk unk. nd n.d. n/d nk n/k nr n/r missing"
_WORDS = "unknown undefined unspecified unlabeled unlabelled"
_NOT = "known available applicable specified reported recorded labeled labelled"
UNKNOWN = {*NO_VALUE, *_UNKNOWN.split(), *_WORDS.split(), *(f"not {word}" for word in _NOT.split())}

_SIGNATURES = {  # first bytes of files that are not CSV, and what to do
    b"PK\x03\x04": "an Excel workbook, not a CSV file: save it as 'CSV UTF-8 (Comma delimited)'",
    b"\xd0\xcf\x11\xe0": "an Excel workbook, not a CSV file: save it as 'CSV UTF-8 (Comma delimited)'",
    b"\x1f\x8b": "a gzip-compressed file: let its name end in .gz, or unpack it",
    b"\xff\xfe\x00\x00": "UTF-32 text: save it as UTF-8, in Excel as 'CSV UTF-8 (Comma delimited)'",
    b"\xff\xfe": "UTF-16 text: save it as UTF-8, in Excel as 'CSV UTF-8 (Comma delimited)'",
    b"\xfe\xff": "UTF-16 text: save it as UTF-8, in Excel as 'CSV UTF-8 (Comma delimited)'",
}
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_SAVE_WITH_COMMAS = "save it with commas, in Excel as 'CSV UTF-8 (Comma delimited)'"
_HIDDEN = {
    "\n": "a line break",
    "\r": "a line break",
    "\t": "a tab",
    "\ufffd": "a letter that another program could not read (U+FFFD)",
}
_FORMULA_ERROR = re.compile(r"#(\S*[!?]|#+)|err:\d{3}", re.IGNORECASE)  # in any language: #REF!, #WERT!, #¿NOMBRE?
_JOINERS = "\u200c\u200d"  # invisible, but part of words in several scripts
_ROUNDED = re.compile(r"[+-]?\d+([.,]\d+[Ee][+-]?|[Ee]\+)\d+")  # 5e3 is not: it can be an identifier of hexadecimal digits
_NEGATIVE = re.compile(r"[-−]\d+(\.0*)?")
_WHOLE = re.compile(r"(\d+)(?:\.0*)?")
_KEPT_OF = {15: 16, 6: 12}  # digits that programs keep, and the length from which they drop the others


def first_existing(root: Path, names: Sequence[str]) -> Path:
    """The first of the named files that exists in `root`, or else the first name."""
    return next((root / name for name in names if (root / name).is_file()), root / names[0])


def cell_error(path: Path, index: int, column: str, problem: str) -> ThoraxError:
    """The error for one cell.

    Args:
        path: The table.
        index: 0 for the first row below the header.
        column: The column's name in the file.
        problem: What is wrong and what to do, without the final full stop.
    """
    return ThoraxError(f"{path}, row {index + FIRST_ROW}, column {column!r}: {problem}.")


def read_columns(path: Path, columns: Sequence[str], fewest_fields: int | None = None) -> pd.DataFrame:
    """Read the named columns of a CSV file (plain or .gz) as stripped text; row i of the frame is row i + 2 of the file.

    Args:
        path: The file; UTF-8, with or without a byte order mark.
        columns: Names that the header must have.
        fewest_fields: The fewest fields of a row; by default as many as the header has.

    Raises:
        ThoraxError: The file is missing, not a UTF-8 CSV file with commas, damaged or cut, lacks a column, or has a row with too few
            or too many fields.
    """
    with _open(path) as file:
        try:
            rows = _rows(file, path, columns, fewest_fields)
        except UnicodeDecodeError:
            raise _encoding_error(path) from None
    series = zip(*rows, strict=True) if rows else ([] for _ in columns)
    return pd.DataFrame({name: list(map(str.strip, cells)) for name, cells in zip(columns, series, strict=True)}, dtype=object)


def read_table(
    path: Path, columns: Sequence[str], verbatim: Collection[str] = (), fewest_fields: int | None = None
) -> pd.DataFrame:
    """Read columns as `read_columns` does, with every spelling of an unknown value (`UNKNOWN`) as a blank.

    Args:
        path, columns, fewest_fields: As for `read_columns`.
        verbatim: Columns whose cells stay as they are: the caller decides what is unknown there, and which characters are allowed.

    Raises:
        ThoraxError: As in `read_columns`, or a cell is damaged (`damage`).
    """
    frame = read_columns(path, columns, fewest_fields)
    for column in columns:
        if column not in verbatim:
            _refuse_damage(frame, path, column)
            frame[column] = frame[column].where(~_unknown(frame[column]), "")
    return frame


def read_header(path: Path, columns: Sequence[str] = ()) -> list[str]:
    """The names in the first row of a CSV file (plain or .gz), stripped. Errors as in `read_columns`.

    Args:
        path: The file.
        columns: Names that it should have. Where it has them only with another delimiter, that is the error.
    """
    with _open(path) as file:
        try:
            header = [name.strip() for name in next(csv.reader(file, strict=True), [])]
        except UnicodeDecodeError:
            raise _encoding_error(path) from None
        except csv.Error as error:
            _refuse_other_delimiter(path, columns)
            raise ThoraxError(f"{path}, row 1: the row is cut or its quotes do not match; correct it.") from error
    if not set(columns) <= set(header):
        _refuse_other_delimiter(path, columns)
    return header


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, stripped and without empty ones. Errors as in `read_columns`."""
    with _open(path) as file:
        try:
            return [line.strip() for line in file if line.strip()]
        except UnicodeDecodeError as error:
            raise ThoraxError(f"{path} is not UTF-8 text: download it again.") from error


def is_unknown(text: str) -> bool:
    """Whether a cell says, in any spelling, that its value is not known."""
    return text.strip().casefold() in UNKNOWN


def damage(text: str) -> str | None:
    """Name the first thing in a cell that no name or number contains, such as a line break; None if there is nothing."""
    if _FORMULA_ERROR.fullmatch(text):
        return "the error value of a formula"
    if text.isprintable() and "\ufffd" not in text:
        return None
    hidden = (character for character in text if not character.isprintable() or character in _HIDDEN)
    found = next((character for character in hidden if character not in _JOINERS), None)
    return None if found is None else _HIDDEN.get(found, f"a character that cannot be seen (U+{ord(found):04X})")


def refuse_cells(wrong: npt.ArrayLike, frame: pd.DataFrame, path: Path, column: str, problem: str) -> None:
    """Raise the error for the first cell of a column that is wrong.

    Args:
        wrong: (rows,) bool.
        frame, path: The table and its file.
        column: Its name in the file and in `frame`.
        problem: What is wrong and what to do; {cell} is replaced by the cell's text.

    Raises:
        ThoraxError: A cell is wrong.
    """
    rows = np.asarray(wrong, bool)
    if rows.any():
        index = int(rows.argmax())
        raise cell_error(path, index, column, problem.replace("{cell}", repr(frame[column].iloc[index])))


def require(frame: pd.DataFrame, path: Path, columns: Sequence[str]) -> None:
    """Raise an error for the first cell of these columns that is blank or says that its value is not known."""
    for column in columns:
        problem = "it is blank, or says that the value is not known; fill it in or remove the row"
        refuse_cells(_unknown(frame[column]), frame, path, column, problem)


def require_unique(frame: pd.DataFrame, path: Path, column: str) -> None:
    """Raise an error for the first value of a column that an earlier row already has."""
    repeated = frame[column].duplicated().to_numpy()
    if repeated.any():
        value = frame[column].iloc[int(repeated.argmax())]
        first = int((frame[column] == value).to_numpy().argmax()) + FIRST_ROW
        refuse_cells(repeated, frame, path, column, f"{{cell}} is in row {first} already; remove one of the two rows")


def check_identifiers(frame: pd.DataFrame, path: Path, patient: str, others: Sequence[str] = ()) -> None:
    """Check the columns of patients and, if the table has them, of studies: neither rounded, nor negative, nor spelled in two ways."""
    columns = [patient, *(name for name in others if name in frame)]
    refuse_rounded(frame, path, columns)
    for column in columns:
        problem = (
            "{cell} is a negative number, as programs write a value that is not known; write the identifier, leave the cell blank "
            "where it may be, or remove the row"
        )
        refuse_cells(frame[column].str.fullmatch(_NEGATIVE), frame, path, column, problem)
    _refuse_two_spellings(frame, path, patient)


def refuse_rounded(frame: pd.DataFrame, path: Path, columns: Sequence[str]) -> None:
    """Raise an error for the first identifier that another program rounded, which would merge patients or studies.

    Spreadsheet and statistics programs write a long number as 1.23457E+14, or with zeros after its first fifteen digits (after the
    first six, where the former was read again). Zeros can be chance, so they are refused only where every long number of the
    column has them, and chance would give them to less than one column in 1,000.
    """
    for column in columns:
        rounded = frame[column].str.fullmatch(_ROUNDED).to_numpy(bool)
        if not rounded.any():
            matches = {text: _WHOLE.fullmatch(text) for text in frame[column].unique()}
            for kept, least in _KEPT_OF.items():
                beyond = {text: match[1][kept:] for text, match in matches.items() if match and len(match[1]) >= least}
                if sum(map(len, beyond.values())) >= 3 and not any(digits.strip("0") for digits in beyond.values()):
                    rounded = rounded | frame[column].isin(list(beyond)).to_numpy(bool)
        problem = (
            "{cell} was rounded by a spreadsheet program; use the original file, or format this column as text before you enter or "
            "import the identifiers"
        )
        refuse_cells(rounded, frame, path, column, problem)


def _refuse_two_spellings(frame: pd.DataFrame, path: Path, column: str) -> None:
    """Raise an error for an identifier that is written in two ways, such as 7, 007 and 7.0: one patient would count as several.

    Identifiers also count as equal if they differ only in blanks or in the kind of their characters (`plain_text`).
    """
    first: dict[int | str, str] = {}
    for text in frame[column].unique():
        plain = plain_text(text)
        match = _WHOLE.fullmatch(plain)
        other = first.setdefault(int(match[1]) if match else plain, text)
        if other != text:
            index, row = (int((frame[column] == value).to_numpy(bool).argmax()) for value in (text, other))
            shown, earlier = told_apart(text, other)
            what = "number" if match else "name in other characters"
            problem = f"{shown} and {earlier} in row {row + FIRST_ROW} are the same {what}; write it in one way only"
            raise cell_error(path, index, column, problem)


def plain_text(text: str) -> str:
    """What texts that look alike have in common: characters of one kind (Unicode's NFKC) and single blanks between words."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def told_apart(text: str, other: str) -> tuple[str, str]:
    """Two different texts as an error shows them: by the numbers of their characters where they would look alike."""
    alike = unicodedata.normalize("NFC", text) == unicodedata.normalize("NFC", other)
    return (ascii(text), ascii(other)) if alike else (repr(text), repr(other))


def numbers(frame: pd.DataFrame, path: Path, column: str) -> pd.Series:
    """A column as float64, NaN where it is not known; an error for the first cell that is neither a finite number nor unknown."""
    converted = {text: _number(text) for text in frame[column].unique()}
    wrong = frame[column].isin([text for text, value in converted.items() if value is None])
    refuse_cells(wrong, frame, path, column, "{cell} is not a number; correct it or leave it blank")
    return frame[column].map(converted).astype("float64")


def translate(frame: pd.DataFrame, path: Path, column: str, meanings: Mapping[str, str | None]) -> pd.Series:
    """A column with every cell replaced by its meaning; an error for the first cell without one."""
    allowed = ", ".join(text or "a blank" for text in meanings)
    refuse_cells(~frame[column].isin(list(meanings)), frame, path, column, f"{{cell}} is none of {allowed}; correct it")
    return pd.Series([meanings[text] for text in frame[column]], dtype=object)


def read_fraction_boxes(path: Path) -> pd.DataFrame | None:
    """The columns of `schemas.BOXES` from a CSV file with the same columns; None without this file.

    Raises:
        ThoraxError: The first problem, with file, row and column.
    """
    if not path.is_file():
        return None
    table = read_table(path, ("image_id", "label", "x", "y", "width", "height"))
    require(table, path, list(table.columns))
    refuse_rounded(table, path, ["image_id"])
    for column in ("x", "y", "width", "height"):
        values = numbers(table, path, column)
        problem = "{cell} is not a fraction of the image; use a number from 0 to 1"
        refuse_cells(~values.between(0, 1), table, path, column, problem)
        table[column] = values
    return table


def each_unique(values: pd.Series, convert: Callable[[str], object]) -> list:
    """`convert` applied to every value, but called once per distinct value (an archive repeats most of its cells)."""
    return values.map({value: convert(value) for value in values.unique()}).tolist()


def label_lists(
    frame: pd.DataFrame,
    path: Path,
    column: str,
    parse: Callable[[str], Sequence[str] | None],
    complaint: Callable[[str], str | None],
) -> list[list[str]]:
    """The labels of every row.

    Args:
        frame, path, column: The column with one text per row, and its file.
        parse: Returns the labels in a text.
        complaint: Returns what is wrong with a text and what to do; None if nothing is.

    Returns:
        A list for each row that no other row shares.

    Raises:
        ThoraxError: The first cell with a complaint.
    """
    wrong = {text: problem for text in frame[column].unique() if (problem := complaint(text)) is not None}
    for text, problem in list(wrong.items())[:1]:
        refuse_cells(frame[column] == text, frame, path, column, problem)
    return [list(labels) for labels in each_unique(frame[column], parse)]


def known(column: pd.Series) -> pd.Series:
    """A column with null for blank cells."""
    return column.astype(object).where(column != "", None)


def _unknown(column: pd.Series) -> pd.Series:
    return column.str.casefold().isin(UNKNOWN)


def _refuse_damage(frame: pd.DataFrame, path: Path, column: str) -> None:
    text = next((text for text in frame[column].unique() if damage(text) is not None), None)
    if text is not None:
        index = int((frame[column] == text).to_numpy().argmax())
        raise cell_error(path, index, column, f"{text[:80]!r} has {damage(text)}; type the cell again without it")


def _number(text: str) -> float | None:
    if is_unknown(text):
        return math.nan
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


@contextmanager
def _open(path: Path, errors: str = "strict") -> Iterator[TextIO]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as raw:
            _refuse_other_kind(path, raw.read(1024))
        with opened(path, "rt", encoding="utf-8-sig", errors=errors, newline="") as file:
            yield file
    except FileNotFoundError as error:
        raise ThoraxError(f"{path} does not exist: put it there or correct the data set's root.") from error
    except (EOFError, zlib.error, OSError) as error:
        reason = getattr(error, "strerror", None) or "the compressed file is damaged or cut"
        raise ThoraxError(f"{path} cannot be read ({reason}): make it readable or download it again.") from error


def _refuse_other_kind(path: Path, start: bytes) -> None:
    """Refuse what is not text in an encoding of single bytes, by the first bytes of the (unpacked) file."""
    for signature, problem in _SIGNATURES.items():
        if start.startswith(signature):
            raise ThoraxError(f"{path} is {problem}.")
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise ThoraxError(
            f"{path} is a web page, not a CSV file: download the file again, logged in if its site asks for that."
        )
    if b"\0" in start:
        found = "UTF-16 text" if start.count(b"\0") > len(start) // 3 else "not a text file"
        raise ThoraxError(f"{path} is {found}: save it as UTF-8, in Excel as 'CSV UTF-8 (Comma delimited)'.")


def _refuse_other_delimiter(path: Path, columns: Sequence[str]) -> None:
    """Refuse a table whose columns are separated by something else than commas; called when the header is not as expected."""
    with _open(path, errors="replace") as file:
        line = file.readline().strip()
    if re.fullmatch(r"\"?sep=.?\"?[,;]*", line, re.IGNORECASE):
        raise ThoraxError(f"{path}, row 1: {line!r} is a line for Excel only; delete this line, and {_SAVE_WITH_COMMAS}.")
    wanted = set(columns)

    def names(delimiter: str) -> set[str]:
        return {name.strip().strip('"').strip() for name in line.split(delimiter)}

    for delimiter, word in _DELIMITERS.items():
        if len(names(delimiter) & wanted) > len(names(",") & wanted) or (delimiter in line and "," not in line):
            raise ThoraxError(f"{path}, row 1: the columns are separated by {word}; {_SAVE_WITH_COMMAS}.")


def _refuse_other_delimiter_below(path: Path, index: int, start: str, names: int) -> None:
    """Refuse a row with another delimiter than the header's: the text before its first comma, `start`, has (nearly) as many cells as that."""
    for delimiter, word in _DELIMITERS.items():
        if start.count(delimiter) + 1 >= max(names - 1, 2):
            found = f"its cells are separated by {word}, and the header's by commas"
            raise ThoraxError(f"{path}, row {index + FIRST_ROW}: {found}; {_SAVE_WITH_COMMAS}.")


def _rows(file: TextIO, path: Path, columns: Sequence[str], fewest_fields: int | None) -> list[tuple[str, ...]]:
    reader = csv.reader(file, strict=True)
    rows: list[tuple[str, ...]] = []
    blank_lines = 0  # allowed at the end only: in between they would shift the row numbers
    try:
        header = [name.strip() for name in next(reader, [])]
        if not set(columns) <= set(header):
            _refuse_other_delimiter(path, columns)
        pick = itemgetter(*_positions(header, path, columns))
        fewest = len(header) if fewest_fields is None else fewest_fields
        for fields in reader:
            if not fields:
                blank_lines += 1
                continue
            if blank_lines or not fewest <= len(fields) <= len(header):
                _refuse_other_delimiter_below(path, len(rows) + blank_lines, fields[0], len(header))
                found = 0 if blank_lines else len(fields)
                place = min(found, len(header) - 1)
                raise cell_error(
                    path,
                    len(rows),
                    header[place],
                    f"the row has {found} fields instead of {len(header)}; it is cut or damaged here, or a cell with a comma lacks "
                    "its quotes: download or save the file again",
                )
            rows.append(pick(fields) if len(columns) > 1 else (pick(fields),))
    except csv.Error as error:
        if not rows:
            _refuse_other_delimiter(path, columns)
        raise ThoraxError(
            f"{path}, row {len(rows) + FIRST_ROW}: the row is cut or its quotes do not match; download the file again."
        ) from error
    return rows


def _positions(header: list[str], path: Path, columns: Sequence[str]) -> list[int]:
    for column in columns:
        if column not in header:
            raise ThoraxError(
                f"{path}, row 1: there is no column {column!r}; use the archive's own file, with its header unchanged."
            )
    return [header.index(column) for column in columns]


def _encoding_error(path: Path) -> ThoraxError:
    """Find the first cell that is not UTF-8: read again, with undecodable bytes kept as lone surrogates."""
    with _open(path, errors="surrogateescape") as file, suppress(csv.Error):  # a second problem does not matter any more
        reader = csv.reader(file)
        header = next(reader, [])
        for index, fields in enumerate(chain([header], reader)):
            for position, cell in enumerate(fields):
                wrong = [character for character in cell if "\udc80" <= character <= "\udcff"]
                if wrong:
                    column = header[position] if index and position < len(header) else str(position + 1)
                    return cell_error(path, index - 1, column, _what_encoding(cell, wrong))
    return ThoraxError(f"{path} is not UTF-8 text: save it as UTF-8 or download it again.")


def _what_encoding(cell: str, wrong: Sequence[str]) -> str:
    """What a cell with undecodable bytes (lone surrogates) says in the encoding that spreadsheet programs use."""
    found = "Windows-1252" if any(character <= "\udc9f" for character in wrong) else "Latin-1 (or Windows-1252)"
    try:
        text = cell.encode("utf-8", "surrogateescape").decode("cp1252").strip()
    except UnicodeDecodeError:
        return "it is not UTF-8 text; save the file as UTF-8 or download it again"
    return f"it is not UTF-8 but probably {found}, where it reads {text[:80]!r}; save the file as UTF-8, in Excel as 'CSV UTF-8 (Comma delimited)'"
