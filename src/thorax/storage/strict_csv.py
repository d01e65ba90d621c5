"""Strict reading of an archive's metadata CSV: every cell is text, and every problem names file, row and column.

`frame` is a table's columns, `path` its file, for errors.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from thorax.storage.csv_file import FIRST_ROW, cell_error, read_columns

# How programs write a cell without a value, in lower case; #NV, #N/D and so on are #N/A of spreadsheets in other languages
_NO_VALUE = r"nan -nan na n/a n.a. n.a #n/a #na #nv #n/d #n/b #i/t #yok <na> nat null (null) <null> \n none"
NO_VALUE = {"", "#n/a n/a", *_NO_VALUE.split()}
# How people write that a value is not known, dashes of several scripts included
_UNKNOWN = "- -- --- \u2013 \u2014 \u2010 \u2015 \u2212 _ * . ... … ? ?? ??? unk unk. nd n.d. n/d nk n/k nr n/r missing"
_WORDS = "unknown undefined unspecified unlabeled unlabelled"
_NOT = "known available applicable specified reported recorded labeled labelled"
UNKNOWN = {*NO_VALUE, *_UNKNOWN.split(), *_WORDS.split(), *(f"not {word}" for word in _NOT.split())}

_BREAK, _LOST = "a line break", "a letter that another program could not read (U+FFFD)"
_HIDDEN = {"\n": _BREAK, "\r": _BREAK, "\t": "a tab", "\ufffd": _LOST}
_FORMULA_ERROR = re.compile(r"#(\S*[!?]|#+)|err:\d{3}", re.IGNORECASE)  # in any language: #REF!, #WERT!, #¿NOMBRE?
_JOINERS = "\u200c\u200d"  # invisible, but part of words in several scripts
_ROUNDED = re.compile(r"[+-]?\d+([.,]\d+[Ee][+-]?|[Ee]\+)\d+")  # 5e3 is not: it can be an identifier of hexadecimal digits
_NEGATIVE = re.compile(r"[-−]\d+(\.0*)?")
_WHOLE = re.compile(r"(\d+)(?:\.0*)?")
_KEPT_OF = {15: 16, 6: 12}  # digits that programs keep, and the length from which they drop the others


def first_existing(root: Path, names: Sequence[str]) -> Path:
    """The first of the named files that exists in `root`, or else the first name."""
    return next((root / name for name in names if (root / name).is_file()), root / names[0])


def read_table(path: Path, columns: Sequence[str], verbatim: Collection[str] = ()) -> pd.DataFrame:
    """Read columns as `read_columns` does, with every spelling of an unknown value (`UNKNOWN`) as a blank, and no damaged cell.

    Those in `verbatim` stay as they are: the caller decides what is unknown there, and which characters are allowed.
    """
    frame = read_columns(path, columns)
    for column in columns:
        if column in verbatim:
            continue
        for text in frame[column].unique():
            if found := damage(text):
                problem = f"{text[:80]!r} has {found}; type the cell again without it"
                raise cell_error(path, _first(frame[column] == text), column, problem)
        frame[column] = frame[column].where(~frame[column].str.casefold().isin(UNKNOWN), "")
    return frame


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
    """Raise the error for the first cell of a column that is `wrong`, (rows,) bool; {cell} in `problem` becomes the cell's text."""
    if np.any(wrong):
        index = _first(wrong)
        raise cell_error(path, index, column, problem.replace("{cell}", repr(frame[column].iloc[index])))


def require(frame: pd.DataFrame, path: Path, columns: Sequence[str]) -> None:
    """Raise an error for the first cell of these columns that is blank or says that its value is not known."""
    for column in columns:
        problem = "it is blank, or says that the value is not known; fill it in or remove the row"
        refuse_cells(frame[column].str.casefold().isin(UNKNOWN), frame, path, column, problem)


def require_unique(frame: pd.DataFrame, path: Path, column: str) -> None:
    """Raise an error for the first value of a column that an earlier row already has."""
    repeated = frame[column].duplicated()
    if repeated.any():
        earlier = _first(frame[column] == frame[column][repeated].iloc[0]) + FIRST_ROW
        refuse_cells(repeated, frame, path, column, f"{{cell}} is in row {earlier} already; remove one of the two rows")


def check_identifiers(frame: pd.DataFrame, path: Path, patient: str, others: Sequence[str] = ()) -> None:
    """Check the columns of patients and, if the table has them, of studies: neither rounded nor negative.

    A patient must not be written in two ways either, such as 7, 007 and 7.0, which would count as several. Identifiers are equal too if
    they differ only in blanks or in the kind of their characters (`plain_text`).
    """
    columns = [patient, *(name for name in others if name in frame)]
    refuse_rounded(frame, path, columns)
    for column in columns:
        problem = "{cell} is a negative number, as programs write a value that is not known"
        advice = "write the identifier, leave the cell blank where it may be, or remove the row"
        refuse_cells(frame[column].str.fullmatch(_NEGATIVE), frame, path, column, f"{problem}; {advice}")
    first: dict[int | str, str] = {}
    for text in frame[patient].unique():
        plain = plain_text(text)
        match = _WHOLE.fullmatch(plain)
        other = first.setdefault(int(match[1]) if match else plain, text)
        if other != text:
            index, row = (_first(frame[patient] == value) for value in (text, other))
            shown, earlier = told_apart(text, other)
            what = "number" if match else "name in other characters"
            problem = f"{shown} and {earlier} in row {row + FIRST_ROW} are the same {what}; write it in one way only"
            raise cell_error(path, index, patient, problem)


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
        advice = "use the original file, or format this column as text before you enter or import the identifiers"
        refuse_cells(rounded, frame, path, column, f"{{cell}} was rounded by a spreadsheet program; {advice}")


def plain_text(text: str) -> str:
    """What texts that look alike have in common: characters of one kind (Unicode's NFKC) and single blanks between words."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def told_apart(text: str, other: str) -> tuple[str, str]:
    """Two different texts as an error shows them: by the numbers of their characters where they would look alike."""
    alike = unicodedata.normalize("NFC", text) == unicodedata.normalize("NFC", other)
    return (ascii(text), ascii(other)) if alike else (repr(text), repr(other))


def numbers(frame: pd.DataFrame, path: Path, column: str) -> pd.Series:
    """A column as float64, NaN where it is not known; an error for the first cell that is neither a finite number nor unknown."""
    found = {}
    for text in frame[column].unique():
        try:
            found[text] = math.nan if is_unknown(text) else float(text)
        except ValueError:
            found[text] = math.inf
    wrong = [text for text, value in found.items() if not math.isfinite(value) and not is_unknown(text)]
    refuse_cells(frame[column].isin(wrong), frame, path, column, "{cell} is not a number; correct it or leave it blank")
    return frame[column].map(found).astype("float64")


def translate(frame: pd.DataFrame, path: Path, column: str, meanings: Mapping[str, str | None]) -> pd.Series:
    """A column with every cell replaced by its meaning; an error for the first cell without one."""
    allowed = ", ".join(text or "a blank" for text in meanings)
    refuse_cells(~frame[column].isin(list(meanings)), frame, path, column, f"{{cell}} is none of {allowed}; correct it")
    return pd.Series([meanings[text] for text in frame[column]], dtype=object)


def read_fraction_boxes(path: Path) -> pd.DataFrame | None:
    """The columns of `schemas.BOXES` from a CSV file with the same columns; None without this file."""
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


def label_lists(frame: pd.DataFrame, path: Path, column: str, parse: Callable[[str], list[str]]) -> list[list[str]]:
    """The labels of every row, a list each, as `parse` reads them; its ValueError says what is wrong with a text and what to do."""
    found = {}
    for text in frame[column].unique():
        try:
            found[text] = parse(text)
        except ValueError as problem:
            raise cell_error(path, _first(frame[column] == text), column, str(problem)) from None
    return [list(found[text]) for text in frame[column]]


def known(column: pd.Series) -> pd.Series:
    """A column with null for blank cells."""
    return column.astype(object).where(column != "", None)


def _first(rows: npt.ArrayLike) -> int:
    """The position of the first row that is true."""
    return int(np.asarray(rows, bool).argmax())
