"""Your own radiographs: PNG or JPEG files and one CSV file, images.csv, that lists them (docs/data.md, "Your own radiographs").

Citation and licence are those of your data.
"""

from contextlib import suppress
from itertools import chain
from pathlib import Path, PurePosixPath

import pandas as pd

from thorax import catalog as catalogs
from thorax.datasets import metadata
from thorax.datasets.metadata import cell_error, each_unique
from thorax.errors import ThoraxError

METADATA = ("images.csv", "images.csv.gz")
BOXES = "boxes.csv"
BESIDE = (BOXES,)
HOW_TO_GET = f"put {METADATA[0]} (or .csv.gz) and the images that it lists there; docs/data.md shows its columns"

REQUIRED = ("path", "patient_id", "labels")
OPTIONAL = ("image_id", "study_id", "view", "sex", "age", "uncertain", "negative", "split", "photometric")
PRIVATE = "x_"  # columns whose names begin so are yours: they are not read
DEFAULT_VIEW = "frontal"

_LISTS = {"labels": "positive", "negative": "negative", "uncertain": "uncertain"}  # column: column of the catalog
_NO_LABELS = ("nan", "None")  # written by programs for a blank; nobody's findings
# Columns of label sets and predictions, and the row of all images in their tables: any other name works.
_RESERVED = {*catalogs.SPLITS.names, "all images"}


def parse_labels(text: str) -> list[str] | None:
    """The labels in one cell, such as `Effusion|Mass`; a blank cell means that no labels are known.

    Entries are stripped and repetitions dropped; the order stays.

    Returns:
        the labels, or None where the text is no such list: it has an empty entry, or looks like another program's list.
    """
    text = text.strip()
    if not text:
        return []
    if text.startswith("[") or ";" in text:  # another program's list, which would be read as one label
        return None
    labels = [label.strip() for label in text.split("|")]
    if not all(labels) or set(labels) & set(_NO_LABELS):
        return None
    return list(dict.fromkeys(labels))


def read_catalog(root: Path) -> pd.DataFrame:
    """The catalog of the listed images, in the order of images.csv.

    Returns:
        the columns of `catalog.CATALOG`. Without a column image_id the path names the image; without a column view every image
        is `frontal`.

    Raises:
        ThoraxError: an unknown column; or file, row and column of the first problem.
    """
    path = metadata.first_existing(root, METADATA)
    table = _read_table(path)
    lists = {column: _labels(table, path, column) for column in _LISTS}
    _refuse_contradictions(lists, path)
    return pd.DataFrame(
        {
            "image_id": table["image_id"],
            "path": table["path"],
            "patient_id": table["patient_id"],
            "study_id": pd.Series([text or None for text in table["study_id"]], dtype=object),
            "view": table["view"],
            "sex": metadata.translate(table, path, "sex", {"M": "M", "F": "F", "": None}),
            "age": metadata.numbers(table, path, "age").astype("float32"),
            **{_LISTS[column]: values for column, values in lists.items()},
            "label_source": "own",
            "official_split": metadata.translate(
                table, path, "split", {name: name for name in catalogs.SPLIT_NAMES} | {"": None}
            ),
            "photometric": metadata.translate(
                table, path, "photometric", {name: name for name in ("MONOCHROME1", "MONOCHROME2")} | {"": "MONOCHROME2"}
            ),
        }
    )


def read_boxes(root: Path) -> pd.DataFrame | None:
    """The boxes of boxes.csv (fractions of the image); None without this file.

    Raises:
        ThoraxError: with file, row and column of the first problem.
    """
    return metadata.read_fraction_boxes(root / BOXES)


def has_images(root: Path) -> bool:
    """Whether one of the listed files exists. A table that cannot be read counts as yes: making the catalog says why."""
    with suppress(ThoraxError):
        paths = metadata.read_columns(metadata.first_existing(root, METADATA), ["path"])["path"]
        return any((root / path).is_file() for path in paths)
    return True


def shown_text(root: Path) -> dict[str, str]:
    """The letters of what tables and figures show, by column: labels, views, and what names the images.

    Raises:
        ThoraxError: the table cannot be read.
    """
    path = metadata.first_existing(root, METADATA)
    header = metadata.read_header(path)
    names = ["image_id" if "image_id" in header else "path", *(name for name in (*_LISTS, "view") if name in header)]
    table = metadata.read_columns(path, names)
    return {f"{path}, column {name}": "".join(sorted(set("".join(table[name].unique())))) for name in names}


def _read_table(path: Path) -> pd.DataFrame:
    """All columns as text, those that are left out with their defaults."""
    header = metadata.read_header(path)
    _check_header(header, path)
    table = metadata.read_columns(path, [*REQUIRED, *(name for name in OPTIONAL if name in header)])
    metadata.require(table, path, [name for name in ("path", "patient_id", "image_id", "view") if name in table])
    backslash = table["path"].str.contains("\\", regex=False).to_numpy(bool)
    if backslash.any():
        index = int(backslash.argmax())
        raise cell_error(path, index, "path", f"{table['path'].iloc[index]!r} has a backslash; write / between folders")
    table["path"] = each_unique(table["path"], lambda text: str(PurePosixPath(text)))  # ./a.png is a.png
    defaults = {"image_id": table["path"], "view": DEFAULT_VIEW}
    for name in OPTIONAL:
        if name not in table:
            table[name] = defaults.get(name, "")
    for name in ("path", "image_id"):  # an image that is listed twice could be trained on and tested on
        metadata.require_unique(table, path, name)
    return table


def _check_header(header: list[str], path: Path) -> None:
    for name in header:
        if name not in (*REQUIRED, *OPTIONAL) and not name.startswith(PRIVATE):
            raise ThoraxError(
                f"{path}, row 1, column {name!r}: this column is not known; the columns are {', '.join((*REQUIRED, *OPTIONAL))}, "
                f"and the names of your own begin with {PRIVATE}."
            )
        if header.count(name) > 1:
            raise ThoraxError(f"{path}, row 1, column {name!r}: the header names it twice; remove or rename one of the two.")
    for name in REQUIRED:
        if name not in header:
            raise ThoraxError(
                f"{path}, row 1, column {name!r}: this column is missing; add it ({', '.join(REQUIRED)} are required)."
            )


def _labels(table: pd.DataFrame, path: Path, column: str) -> list[list[str]]:
    lists = each_unique(table[column], parse_labels)
    for index, labels in enumerate(lists):
        if labels is None:
            shown = table[column].iloc[index][:80]
            problem = f"{shown!r} is no list of labels; write them like Effusion|Mass, or leave the cell blank"
            raise cell_error(path, index, column, problem)
        if not _RESERVED.isdisjoint(labels):
            shown = min(_RESERVED.intersection(labels))
            raise cell_error(
                path, index, column, f"{shown!r} is a column or row of the result tables; give this label another name"
            )
    return [list(labels) for labels in lists]  # a list of its own for each row


def _refuse_contradictions(lists: dict[str, list[list[str]]], path: Path) -> None:
    for index, row in enumerate(zip(*lists.values(), strict=True)):
        if sum(map(len, row)) == len(set(chain.from_iterable(row))):
            continue
        seen: dict[str, str] = {}
        for column, labels in zip(lists, row, strict=True):
            for label in labels:
                other = seen.setdefault(label, column)
                if other != column:
                    problem = f"{label!r} stands in column {other!r} of this row too; remove it from one of the two"
                    raise cell_error(path, index, column, problem)
