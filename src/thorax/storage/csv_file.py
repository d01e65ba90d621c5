"""CSV and text files as people and programs save them: a file that is not plain CSV in UTF-8 is an error that says how to save it."""

import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TextIO

import pandas as pd

from thorax.errors import ThoraxError

FIRST_ROW = 2  # of the data, as people count: the header is row 1
_IN_EXCEL = "in Excel as 'CSV UTF-8 (Comma delimited)'"
_WORKBOOK = "an Excel workbook, not a CSV file: save it as 'CSV UTF-8 (Comma delimited)'"
_SIGNATURES = {  # first bytes of files that are not CSV, and what to do
    b"PK\x03\x04": _WORKBOOK,
    b"\xd0\xcf\x11\xe0": _WORKBOOK,
    b"\x1f\x8b": "a gzip-compressed file: let its name end in .gz, or unpack it",
    b"\xff\xfe\x00\x00": f"UTF-32 text: save it as UTF-8, {_IN_EXCEL}",
    b"\xff\xfe": f"UTF-16 text: save it as UTF-8, {_IN_EXCEL}",
    b"\xfe\xff": f"UTF-16 text: save it as UTF-8, {_IN_EXCEL}",
}
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_SAVE_WITH_COMMAS = f"save it with commas, {_IN_EXCEL}"


def cell_error(path: Path, index: int, column: str, problem: str) -> ThoraxError:
    """The error for one cell: what is wrong and what to do, without the final full stop; index 0 is the row below the header."""
    return ThoraxError(f"{path}, row {index + FIRST_ROW}, column {column!r}: {problem}.")


def read_columns(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read the named columns of a CSV file (plain or .gz) as stripped text; row i of the frame is row i + 2 of the file.

    The file must be UTF-8, with or without a byte order mark, and have commas, these columns, and in every row as many fields as the
    header. Cells below blank names at the end of the header, as in NIH's tables, may be absent.
    """
    header = read_header(path, columns)
    if lacking := [name for name in columns if name not in header]:
        problem = f"there is no column {lacking[0]!r}; use the archive's own file, with its header unchanged"
        raise ThoraxError(f"{path}, row 1: {problem}.")
    places = [header.index(name) for name in columns]
    fewest = 1 + max(place for place, name in enumerate(header) if name)
    rows: list[list[str]] = []
    blank_lines = 0  # allowed at the end only: in between they would shift the row numbers
    with _open(path) as file:
        reader = csv.reader(file, strict=True)
        next(reader)
        try:
            for fields in reader:
                if not fields:
                    blank_lines += 1
                    continue
                if blank_lines or not fewest <= len(fields) <= len(header):
                    for delimiter, word in _DELIMITERS.items():  # before its first comma the row has (nearly) all its cells
                        if fields[0].count(delimiter) + 1 >= max(len(header) - 1, 2):
                            problem = f"its cells are separated by {word}, and the header's by commas; {_SAVE_WITH_COMMAS}"
                            raise ThoraxError(f"{path}, row {len(rows) + blank_lines + FIRST_ROW}: {problem}.")
                    found = 0 if blank_lines else len(fields)
                    cause = "it is cut or damaged here, or a cell with a comma lacks its quotes"
                    problem = f"the row has {found} fields instead of {len(header)}; {cause}: download or save the file again"
                    raise cell_error(path, len(rows), header[min(found, len(header) - 1)], problem)
                rows.append([fields[place].strip() for place in places])
        except csv.Error as error:
            problem = "the row is cut or its quotes do not match; download the file again"
            raise ThoraxError(f"{path}, row {len(rows) + FIRST_ROW}: {problem}.") from error
    return pd.DataFrame(rows, columns=list(columns), dtype=object)


def read_header(path: Path, columns: Sequence[str] = ()) -> list[str]:
    """The names in the first row of a CSV file (plain or .gz), stripped. Errors as in `read_columns`.

    Where the file has the `columns` only with another delimiter, that is the error.
    """
    with _open(path) as file:
        try:
            header = [name.strip() for name in next(csv.reader(file, strict=True), [])]
        except csv.Error as error:
            _refuse_other_delimiter(path, columns)
            raise ThoraxError(f"{path}, row 1: the row is cut or its quotes do not match; correct it.") from error
    if not set(columns) <= set(header):
        _refuse_other_delimiter(path, columns)
    return header


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, stripped and without empty ones. Errors as in `read_columns`."""
    with _open(path) as file:
        return [line.strip() for line in file if line.strip()]


@contextmanager
def _open(path: Path, errors: str = "strict") -> Iterator[TextIO]:
    """Open a (compressed) text file, unless its first bytes say that it is something else."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as raw:
            start = raw.read(1024)
        if problem := next((problem for signature, problem in _SIGNATURES.items() if start.startswith(signature)), None):
            raise ThoraxError(f"{path} is {problem}.")
        if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
            problem = "a web page, not a CSV file: download the file again, logged in if its site asks for that"
            raise ThoraxError(f"{path} is {problem}.")
        if b"\0" in start:
            found = "UTF-16 text" if start.count(b"\0") > len(start) // 3 else "not a text file"
            raise ThoraxError(f"{path} is {found}: save it as UTF-8, {_IN_EXCEL}.")
        with opened(path, "rt", encoding="utf-8-sig", errors=errors, newline="") as file:
            yield file
    except UnicodeDecodeError:
        raise _encoding_error(path) from None
    except FileNotFoundError as error:
        raise ThoraxError(f"{path} does not exist: put it there or correct the data set's root.") from error
    except (EOFError, zlib.error, OSError) as error:
        reason = getattr(error, "strerror", None) or "the compressed file is damaged or cut"
        raise ThoraxError(f"{path} cannot be read ({reason}): make it readable or download it again.") from error


def _refuse_other_delimiter(path: Path, columns: Sequence[str]) -> None:
    """Refuse a table whose columns are separated by something else than commas; called when the header is not as expected."""
    with _open(path, errors="replace") as file:
        line = file.readline().strip()
    if re.fullmatch(r"\"?sep=.?\"?[,;]*", line, re.IGNORECASE):
        raise ThoraxError(f"{path}, row 1: {line!r} is a line for Excel only; delete this line, and {_SAVE_WITH_COMMAS}.")
    found = lambda delimiter: len({name.strip().strip('"').strip() for name in line.split(delimiter)}.intersection(columns))
    for delimiter, word in _DELIMITERS.items():
        if found(delimiter) > found(",") or (delimiter in line and "," not in line):
            raise ThoraxError(f"{path}, row 1: the columns are separated by {word}; {_SAVE_WITH_COMMAS}.")


def _encoding_error(path: Path) -> ThoraxError:
    """Find the first cell that is not UTF-8: read again, with undecodable bytes kept as lone surrogates."""
    with _open(path, errors="surrogateescape") as file, suppress(csv.Error):  # a second problem does not matter any more
        reader = csv.reader(file)
        header = next(reader, [])
        for index, fields in enumerate(chain([header], reader)):
            for position, cell in enumerate(fields):
                wrong = [character for character in cell if "\udc80" <= character <= "\udcff"]
                if not wrong:
                    continue
                column = header[position] if index and position < len(header) else str(position + 1)
                problem = "it is not UTF-8 text; save the file as UTF-8 or download it again"
                with suppress(UnicodeDecodeError):  # in the encoding that spreadsheet programs use
                    text = cell.encode("utf-8", "surrogateescape").decode("cp1252").strip()
                    found = "Windows-1252" if min(wrong) <= "\udc9f" else "Latin-1 (or Windows-1252)"
                    problem = f"it is not UTF-8 but probably {found}, where it reads {text[:80]!r}; save the file as UTF-8, {_IN_EXCEL}"
                return cell_error(path, index - 1, column, problem)
    return ThoraxError(f"{path} is not UTF-8 text: save it as UTF-8 or download it again.")
