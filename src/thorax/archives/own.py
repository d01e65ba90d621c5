"""Your own radiographs: DICOM, PNG, JPEG or TIFF files and one CSV file, images.csv, that lists them (docs/how-to/data.md, "Your own radiographs").

Citation and licence are those of your data.
"""

import html
import re
from contextlib import suppress
from pathlib import Path, PurePosixPath

import pandas as pd

from thorax.errors import ThoraxError
from thorax.storage import csv_file, schemas, strict_csv
from thorax.storage.csv_file import FIRST_ROW, cell_error

METADATA = ("images.csv", "images.csv.gz")
BOXES = "boxes.csv"
BESIDE = (BOXES,)
HOW_TO_GET = f"put {METADATA[0]} (or .csv.gz) and the images that it lists there; docs/how-to/data.md shows its columns"

REQUIRED = ("path", "patient_id", "labels")
OPTIONAL = ("image_id", "study_id", "view", "sex", "age", "uncertain", "negative", "split", "photometric")
PRIVATE = "x_"  # columns whose names begin with it are yours and are not read
DEFAULT_VIEW = "frontal"

_LISTS = {"labels": "positive", "negative": "negative", "uncertain": "uncertain"}  # column: column of the catalog
_SPLITS = {name: name for name in schemas.SPLIT_NAMES} | {"": None}
_PHOTOMETRIC = {"MONOCHROME1": "MONOCHROME1", "MONOCHROME2": "MONOCHROME2", "": "MONOCHROME2"}
_AMBIGUOUS = ("none", "nil", "nothing", "no")  # nothing was found, or nobody looked
_SEPARATORS = {  # of other programs' lists of labels
    **dict.fromkeys(",，、،", "a comma"),
    **dict.fromkeys(";；", "a semicolon"),
    **dict.fromkeys("/／∕", "a slash"),
    **dict.fromkeys("¦｜", "another bar than |"),
    "\\": "a backslash",
}
_SPLIT = re.compile(f"[{re.escape(''.join(_SEPARATORS))}]")
_LISTED = re.compile(r"\[|[({]\s*['\"‘“]")  # how lists begin in other programs; a name may be (left) Mass
_ENTITY = re.compile(r"&#?\w+;")  # of HTML, such as &amp;
_WRITE = "write labels like Effusion|Mass"
_QUOTES = "\"'“”‘’"
# May join two labels, or be part of a name
_AND = re.compile(r"\s*(?:(?:[^\w\s'’()]|_)+|\b(?:and|or|with|und|oder|mit|et|ou|y|e)\b)\s*|\s{2,}", re.IGNORECASE)
# Columns of label sets and predictions, and the row of all images in their tables: any other name works.
_RESERVED = {*schemas.SPLITS.names, "all images"}


def parse_labels(text: str) -> list[str]:
    """The labels in one cell, such as `Effusion|Mass`; a blank or unknown cell means that no labels are known.

    Entries are stripped and repetitions dropped; the order stays. A ValueError says what is wrong with a text and what to do.
    """
    text = text.strip()
    shown = repr(text[:80])
    if text.lower() in _AMBIGUOUS:
        advice = "write No Finding, or leave the cell blank"
        raise ValueError(f"{shown} may mean that nothing was found or that nobody looked; {advice}")
    if strict_csv.is_unknown(text):
        return []
    if _LISTED.match(text):
        raise ValueError(f"{shown} is another program's list; {_WRITE}, or leave the cell blank")
    if entity := next((name for name in _ENTITY.findall(text) if html.unescape(name) != name), None):
        raise ValueError(f"{shown} has {entity}, HTML's name of a character; write {html.unescape(text)[:80]}")
    labels = [label.strip() for label in text.split("|")]
    for label in labels:
        if strict_csv.is_unknown(label) or label.lower() in _AMBIGUOUS:
            raise ValueError(f"{shown} has an entry without a name; {_WRITE}, or leave the cell blank")
        found = next((word for character, word in _SEPARATORS.items() if character in label), strict_csv.damage(label))
        if found is not None:
            parts = [part for word in _SPLIT.split(label) if (part := " ".join(word.split()).strip(_QUOTES))]
            parts = label.split() if len(parts) < 2 and not label.isprintable() else parts
            several = f"write {'|'.join(parts)[:80]} for several labels" if len(parts) > 1 else _WRITE
            raise ValueError(f"{label[:80]!r} has {found}; {several}, or a name without it for one label")
        if not any(map(str.isalpha, label)):
            raise ValueError(f"{label[:80]!r} has no letter; write the label's name, or leave the cell blank")
        if label in _RESERVED:
            raise ValueError(f"{label!r} is a column or row of the result tables; give this label another name")
    return list(dict.fromkeys(labels))


def read_catalog(root: Path) -> pd.DataFrame:
    """The catalog (`schemas.CATALOG`) of the listed images, in the order of images.csv.

    Without a column image_id the path names the image; without a column view every image is `frontal`.
    """
    path = strict_csv.first_existing(root, METADATA)
    table = _read_table(path)
    lists = {column: strict_csv.label_lists(table, path, column, parse_labels) for column in _LISTS}
    _refuse_inconsistent(lists, path)
    return pd.DataFrame(
        {
            "image_id": table["image_id"],
            "path": table["path"],
            "patient_id": table["patient_id"],
            "study_id": strict_csv.known(table["study_id"]),
            "view": table["view"],
            "sex": strict_csv.translate(table, path, "sex", {"M": "M", "F": "F", "": None}),
            "age": strict_csv.numbers(table, path, "age").astype("float32"),
            **{_LISTS[column]: values for column, values in lists.items()},
            "label_source": "own",
            "official_split": strict_csv.translate(table, path, "split", _SPLITS),
            "photometric": strict_csv.translate(table, path, "photometric", _PHOTOMETRIC),
        }
    )


def read_boxes(root: Path) -> pd.DataFrame | None:
    """The boxes of boxes.csv (fractions of the image); None without this file."""
    boxes = strict_csv.read_fraction_boxes(root / BOXES)
    if boxes is not None:
        strict_csv.label_lists(boxes, root / BOXES, "label", parse_labels)
    return boxes


def has_images(root: Path) -> bool:
    """Whether one of the listed files exists. A table that cannot be read counts as yes: making the catalog says why."""
    with suppress(ThoraxError):
        paths = csv_file.read_columns(strict_csv.first_existing(root, METADATA), ["path"])["path"]
        return any((root / path).is_file() for path in paths)
    return True


def shown_text(root: Path) -> dict[str, str]:
    """The characters that tables and figures show, by column: of labels, views and the images' names."""
    path = strict_csv.first_existing(root, METADATA)
    header = csv_file.read_header(path)
    names = ["image_id" if "image_id" in header else "path", *(name for name in (*_LISTS, "view") if name in header)]
    table = csv_file.read_columns(path, names)
    return {f"{path}, column {name}": "".join(sorted(set("".join(table[name].unique())))) for name in names}


def _read_table(path: Path) -> pd.DataFrame:
    """All columns as text; absent ones have their defaults."""
    header = csv_file.read_header(path, REQUIRED)
    for name in header:
        if name not in (*REQUIRED, *OPTIONAL) and not name.startswith(PRIVATE):
            problem = f"this column is not known; the columns are {', '.join((*REQUIRED, *OPTIONAL))}, "
            raise cell_error(path, -1, name, f"{problem}and the names of your own begin with {PRIVATE}")
        if header.count(name) > 1:
            raise cell_error(path, -1, name, "the header names it twice; remove or rename one of the two")
    if lacking := [name for name in REQUIRED if name not in header]:
        problem = f"this column is missing; add it ({', '.join(REQUIRED)} are required)"
        raise cell_error(path, -1, lacking[0], problem)
    table = strict_csv.read_table(path, [*REQUIRED, *(name for name in OPTIONAL if name in header)], verbatim=_LISTS)
    strict_csv.require(table, path, [name for name in ("path", "patient_id", "image_id", "view") if name in table])
    strict_csv.refuse_rounded(table, path, ["image_id"] if "image_id" in table else [])
    strict_csv.check_identifiers(table, path, "patient_id", ["study_id"])
    backslash = table["path"].str.contains("\\", regex=False)
    strict_csv.refuse_cells(backslash, table, path, "path", "{cell} has a backslash; write / between folders")
    table["path"] = strict_csv.each_unique(table["path"], lambda text: str(PurePosixPath(text)))  # ./a.png is a.png
    defaults = {"image_id": table["path"], "view": DEFAULT_VIEW}
    for name in OPTIONAL:
        if name not in table:
            table[name] = defaults.get(name, "")
    for name in ("path", "image_id"):  # an image that is listed twice could be trained on and tested on
        strict_csv.require_unique(table, path, name)
    return table


def _plain(label: str) -> str:
    """A label without what may differ between its spellings: capitals, blanks, quotes, and how letters with accents are stored."""
    return strict_csv.plain_text(label).casefold().strip(_QUOTES)


def _refuse_inconsistent(lists: dict[str, list[list[str]]], path: Path) -> None:
    """Refuse what would silently become another class, two labels joined by a word or another spelling, and contradictions of a row."""
    first: dict[str, tuple[int, str]] = {}
    for column, rows in lists.items():
        for index, row in enumerate(rows):
            for label in row:
                first.setdefault(label, (index, column))
    alone = {_plain(label): label for label in reversed(first)}
    spelling: dict[str, str] = {}
    for label, (index, column) in first.items():
        other = spelling.setdefault(_plain(label), label)
        if other != label:
            shown, earlier = strict_csv.told_apart(label, other)
            problem = f"{shown} is written {earlier} in row {first[other][0] + FIRST_ROW}; write it in one way only"
            raise cell_error(path, index, column, problem)
        parts = _AND.split(label)
        if len(parts) > 1 and all(_plain(part) in alone for part in parts):
            several = "|".join(alone[_plain(part)] for part in parts)
            problem = f"{label!r} joins labels that this table also has alone; write {several}, or give it another name"
            raise cell_error(path, index, column, problem)
    for index, all_labels in enumerate(zip(*lists.values(), strict=True)):
        seen: dict[str, str] = {}
        for column, labels in zip(lists, all_labels, strict=True):
            for label in labels:
                other = seen.setdefault(label, column)
                if other != column:
                    problem = f"{label!r} is in column {other!r} of this row too; remove it from one of the two"
                    raise cell_error(path, index, column, problem)
