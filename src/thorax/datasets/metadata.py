"""Strict reading of an archive's metadata CSV: every cell is text, and every problem names file, row and column."""

import csv
import gzip
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import TextIO

import pandas as pd

from thorax.errors import ThoraxError

FIRST_ROW = 2  # of the data, as a person counts: the header is row 1
UNKNOWN = ("", "nan", "None")  # how archives write a value that is not known


def first_existing(root: Path, names: Sequence[str]) -> Path:
    """The first of the named files that `root` holds; the first name where it holds none of them."""
    return next((root / name for name in names if (root / name).is_file()), root / names[0])


def cell_error(path: Path, index: int, column: str, problem: str) -> ThoraxError:
    """The error for one cell.

    Args:
        path: the table.
        index: 0 for the first row below the header.
        column: the column's name in the file.
        problem: what is wrong and what to do, without the final full stop.
    """
    return ThoraxError(f"{path}, row {index + FIRST_ROW}, column {column!r}: {problem}.")


def read_columns(path: Path, columns: Sequence[str], fewest_fields: int | None = None) -> pd.DataFrame:
    """Read the named columns of a CSV file (plain or .gz) as stripped text; row i of the frame is row i + 2 of the file.

    Args:
        path: the file; UTF-8, with or without a byte order mark.
        columns: the names wanted, which the header must hold.
        fewest_fields: rows may be as short as this; by default every row has as many fields as the header.

    Raises:
        ThoraxError: the file is missing, not UTF-8, damaged or cut, lacks a column, or a row has too few or too many fields.
    """
    with _open(path) as file:
        try:
            rows = _rows(file, path, columns, fewest_fields)
        except UnicodeDecodeError:
            raise _encoding_error(path) from None
    series = zip(*rows, strict=True) if rows else ([] for _ in columns)
    return pd.DataFrame({name: list(map(str.strip, cells)) for name, cells in zip(columns, series, strict=True)}, dtype=object)


def read_header(path: Path) -> list[str]:
    """The names in the first row of a CSV file (plain or .gz), stripped. Errors as in `read_columns`."""
    with _open(path) as file:
        try:
            return [name.strip() for name in next(csv.reader(file, strict=True), [])]
        except UnicodeDecodeError:
            raise _encoding_error(path) from None
        except csv.Error as error:
            raise ThoraxError(f"{path}, row 1: the row is cut or its quotes do not match; correct it.") from error


def read_lines(path: Path) -> list[str]:
    """The lines of a text file without surrounding blanks; empty lines are left out. Errors as in `read_columns`."""
    with _open(path) as file:
        try:
            return [line.strip() for line in file if line.strip()]
        except UnicodeDecodeError as error:
            raise ThoraxError(f"{path} is not UTF-8 text: download it again.") from error


def require(frame: pd.DataFrame, path: Path, columns: Sequence[str]) -> None:
    """Check that no cell of these columns is blank.

    Raises:
        ThoraxError: the first blank cell.
    """
    for column in columns:
        blank = frame[column].isin(UNKNOWN).to_numpy()
        if blank.any():
            raise cell_error(path, int(blank.argmax()), column, "it is blank; fill it in or remove the row")


def require_unique(frame: pd.DataFrame, path: Path, column: str) -> None:
    """Check that no value of a column occurs twice.

    Raises:
        ThoraxError: the first repetition, with the row that it repeats.
    """
    repeated = frame[column].duplicated().to_numpy()
    if repeated.any():
        index = int(repeated.argmax())
        value = frame[column].iloc[index]
        first = int((frame[column] == value).to_numpy().argmax()) + FIRST_ROW
        raise cell_error(path, index, column, f"{value!r} stands in row {first} already; remove one of the two rows")


def numbers(frame: pd.DataFrame, path: Path, column: str) -> pd.Series:
    """A column as float64, NaN where it is not known.

    Raises:
        ThoraxError: the first cell that is neither a finite number nor an unknown value.
    """
    converted = {text: _number(text) for text in frame[column].unique()}
    wrong = frame[column].isin([text for text, value in converted.items() if value is None]).to_numpy()
    if wrong.any():
        index = int(wrong.argmax())
        raise cell_error(path, index, column, f"{frame[column].iloc[index]!r} is no number; correct it or leave it blank")
    return frame[column].map(converted).astype("float64")


def translate(frame: pd.DataFrame, path: Path, column: str, meanings: Mapping[str, str | None]) -> pd.Series:
    """A column with every cell replaced by its meaning.

    Raises:
        ThoraxError: the first cell that has none.
    """
    wrong = ~frame[column].isin(list(meanings)).to_numpy()
    if wrong.any():
        index = int(wrong.argmax())
        allowed = ", ".join(text or "a blank" for text in meanings)
        raise cell_error(path, index, column, f"{frame[column].iloc[index]!r} is none of {allowed}; correct it")
    return pd.Series([meanings[text] for text in frame[column]], dtype=object)


def read_fraction_boxes(path: Path) -> pd.DataFrame | None:
    """The columns of `catalog.BOXES` from a CSV file with the same columns; None without this file.

    Raises:
        ThoraxError: with file, row and column of the first problem.
    """
    if not path.is_file():
        return None
    table = read_columns(path, ("image_id", "label", "x", "y", "width", "height"))
    require(table, path, list(table.columns))
    for column in ("x", "y", "width", "height"):
        values = numbers(table, path, column)
        outside = ~values.between(0, 1).to_numpy()
        if outside.any():
            index = int(outside.argmax())
            problem = f"{values.iloc[index]:g} is no fraction of the image; use a number from 0 to 1"
            raise cell_error(path, index, column, problem)
        table[column] = values
    return table


def each_unique(values: pd.Series, convert: Callable[[str], object]) -> list:
    """`convert` applied to every value, but called once per distinct value (an archive repeats most of its cells)."""
    return values.map({value: convert(value) for value in values.unique()}).tolist()


def _number(text: str) -> float | None:
    if text in UNKNOWN:
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
        with opened(path, "rt", encoding="utf-8-sig", errors=errors, newline="") as file:
            yield file
    except FileNotFoundError as error:
        raise ThoraxError(f"{path} is not there: put it there or correct the data set's root.") from error
    except (EOFError, zlib.error, OSError) as error:
        reason = getattr(error, "strerror", None) or "the compressed file is damaged or cut"
        raise ThoraxError(f"{path} cannot be read ({reason}): make it readable or download it again.") from error


def _rows(file: TextIO, path: Path, columns: Sequence[str], fewest_fields: int | None) -> list[tuple[str, ...]]:
    reader = csv.reader(file, strict=True)
    rows: list[tuple[str, ...]] = []
    blank_lines = 0  # allowed at the end only: in between they would shift the row numbers
    try:
        header = [name.strip() for name in next(reader, [])]
        pick = itemgetter(*_positions(header, path, columns))
        fewest = len(header) if fewest_fields is None else fewest_fields
        for fields in reader:
            if not fields:
                blank_lines += 1
                continue
            if blank_lines or not fewest <= len(fields) <= len(header):
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
                if any("\udc80" <= character <= "\udcff" for character in cell):
                    column = header[position] if index and position < len(header) else str(position + 1)
                    return cell_error(
                        path, index - 1, column, "it is not UTF-8 text; save the file as UTF-8 or download it again"
                    )
    return ThoraxError(f"{path} is not UTF-8 text: save it as UTF-8 or download it again.")
