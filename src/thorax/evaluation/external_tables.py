"""Predictions, labels and what else is known of images, from CSV or Parquet tables of any origin.

A table has one row for each image (or study) and a column of identifiers, the first unless it is named. Nothing that does not fit is
left out silently: it is an error for the user, or counted in a note where the user asks for what all tables have in common.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from thorax.errors import ThoraxError, did_you_mean, refuse_unknown
from thorax.evaluation.metrics import EVALUATED_SPLITS, sigmoid
from thorax.storage.schemas import IGNORED, LEFT_OUT, SPLIT_NAMES

PATIENT = "patient_id"  # taken for patients where no other column is named
SPLIT = "split"
_TRUTH = {"1": 1, "yes": 1, "true": 1, "0": 0, "no": 0, "false": 0, "-1": IGNORED, "": IGNORED}


@dataclass(frozen=True)
class Columns:
    """How the tables' columns are named."""

    id_: str | None = None  # of identifiers; None: the first of each table
    prefix: str = ""  # of the classes' columns in predictions
    rename: Mapping[str, str] = field(default_factory=dict)  # classes by columns of predictions, both in full
    patients: str | None = None
    groups: Sequence[str] = ()
    ignore_extension: bool = False  # of readers' identifiers, which then are compared without the ending of a file name


@dataclass(frozen=True)
class Images:
    """The images that all tables have, in the order of the first; rows of all frames and arrays are the same."""

    truth: pd.DataFrame  # (n, k) int8 of 1, 0 and -1 (ignored)
    scores: dict[str, pd.DataFrame]  # (n, k) float64 from 0 to 1, by model
    patients: np.ndarray  # (n,) identifiers
    groups: pd.DataFrame  # (n, groups) as read; null where blank
    part: np.ndarray  # (n,) "val" or "test"; all "test" where the predictions have no column `SPLIT`
    notes: list[str]  # sentences for the user


def read_images(
    predictions: Mapping[str, Path], labels: Path, about: Path | None, columns: Columns, common: bool, logits: Collection[str]
) -> Images:
    """Read the predictions of one or more models, the labels, and patients and groups from the labels or another table `about` them.

    `logits` names the models whose predictions are logits; the others' are probabilities.
    With `common` only the images and classes count that all tables have, and a note says how many there are; without it, one that a
    table lacks is an error. Where predictions say in a column `SPLIT` which part of the data an image is in, only val and test count.
    """
    truth = read_table(labels, columns.id_)
    known, source = (truth, labels) if about is None else (read_table(about, columns.id_), about)
    patients = columns.patients or (PATIENT if PATIENT in known else None)
    named = [name for name in (patients, *columns.groups) if name is not None]
    for name in named:
        refuse_unknown("--patients or --groups", name, list(known.columns), f"a column of {source}")
    read = {name: _named_classes(read_table(path, columns.id_), path, columns) for name, path in predictions.items()}
    tables = {name: _evaluated(table, predictions[name]) for name, table in read.items()}
    apart = {SPLIT, PATIENT, *(named if about is None else ())}
    others = [(predictions[name], table) for name, table in tables.items()]
    notes: list[str] = []
    index, classes = _in_all([*others, (labels, truth)], apart, common, notes)
    if about is not None:
        _shared("image", index, others[0][0], known.index[known.index.isin(index)], about, False, notes)
    scores = {name: _numbers(table.loc[index, classes], predictions[name], name in logits) for name, table in tables.items()}
    scores = {name: table.apply(sigmoid) if name in logits else table for name, table in scores.items()}
    part = _part(others, index)
    groups = known.loc[index, list(columns.groups)].astype("string").replace("", pd.NA)
    of_row = _patients(known.loc[index], patients, source, notes)
    return Images(read_truth(truth.loc[index, classes], labels), scores, of_row, groups, part, notes)


def _part(tables: Sequence[tuple[Path, pd.DataFrame]], index: pd.Index) -> np.ndarray:
    """The part of each image by the predictions, which must agree."""
    parts = [table.loc[index, SPLIT].to_numpy(object) if SPLIT in table else np.full(len(index), "test") for _, table in tables]
    differing = np.flatnonzero(np.any([part != parts[0] for part in parts], axis=0))
    if len(differing):
        problem = f"{' and '.join(str(path) for path, _ in tables)} have image {index[differing[0]]!r} in different parts"
        raise ThoraxError(f"{problem}: give both the same column {SPLIT!r}.")
    return parts[0]


def _in_all(
    tables: Sequence[tuple[Path, pd.DataFrame]], apart: Collection[str], common: bool, notes: list[str]
) -> tuple[pd.Index, pd.Index]:
    """The images and the classes that all tables have, in the first one's order; `apart` are columns that are not classes."""
    path, first = tables[0]
    kept: list[pd.Index] = []
    for what, of in (("image", lambda table: table.index), ("class", lambda table: table.columns[~table.columns.isin(apart)])):
        both = [_shared(what, of(first), path, of(table), other, common, notes) for other, table in tables[1:]]
        kept.append(of(first)[np.all([of(first).isin(names) for names in both], axis=0)])
    return kept[0], kept[1]


def _patients(known: pd.DataFrame, column: str | None, source: Path, notes: list[str]) -> np.ndarray:
    """The patient of each image."""
    if column is None:
        advice = "name their column with --patients, or the intervals are too narrow where a patient has several images"
        notes.append(f"No column of patients, so each image counts as a patient of its own: {advice}.")
        return np.asarray(known.index, object)
    of_row = known[column].astype("string").replace("", pd.NA)
    if of_row.isna().any():
        raise ThoraxError(
            f"{source} has no patient for image {of_row.index[of_row.isna()][0]!r}: fill in the column {column!r}."
        )
    return of_row.to_numpy(object)


def read_answers(
    paths: Sequence[Path], reader: str | None, columns: Columns, truth: pd.DataFrame, common: bool = False
) -> dict[str, pd.DataFrame]:
    """Read what readers say of the images and classes of `truth`: int8 of 1, 0 and -1 (not read), by reader.

    Each table is of one reader, who is called by its file, or has a row for each image and reader, who is named in column `reader`.
    A table that has none of the images is an error; images of others are ignored. One that lacks a class is an error as well, or with
    `common` only the classes count that all tables have, of which there must be one.
    """
    read = {path: read_table(path, columns.id_, repeated=reader is not None) for path in paths}
    tables = {path: _named_classes(table, path, columns) for path, table in read.items()}
    classes = list(truth)
    for path, table in tables.items():
        kept = [name for name in classes if name in table]
        for name in classes if not common or not kept else ():
            refuse_unknown("readers", name, list(table.columns), f"a column of {path}")
        classes = kept if common else classes
    places = _bare(truth.index) if columns.ignore_extension else truth.index
    if places.has_duplicates:
        twice = places[places.duplicated()][0]
        raise ThoraxError(f"Two images are called {twice!r} without the ending of the file name: compare whole identifiers.")
    found: dict[str, pd.DataFrame] = {}
    for path, whole in tables.items():
        table = whole.set_axis(_bare(whole.index)) if columns.ignore_extension else whole
        if not table.index.isin(places).any():
            problem = f"{path} has none of the images that are measured"
            raise ThoraxError(f"{problem}: give readers of the same images, or name the column of identifiers.")
        if reader is not None:
            refuse_unknown("reader", reader, list(table.columns), f"a column of {path}")
        for name, of_reader in [(path.name.partition(".")[0], table)] if reader is None else table.groupby(reader):
            answers = of_reader.loc[of_reader.index.isin(places), classes]
            if name in found or answers.index.has_duplicates:
                raise ThoraxError(f"{path} has reader {name!r} twice for an image: keep one of the rows.")
            found[str(name)] = read_truth(answers, path).reindex(places, fill_value=IGNORED).set_axis(truth.index)
    if len(found) < 2:
        raise ThoraxError("There is only one reader: name the tables of two or more, or the column that names the reader.")
    return found


def _bare(images: pd.Index) -> pd.Index:
    """Identifiers without the ending of a file name, such as .png or .nii.gz."""
    return images.str.replace(r"(\.[A-Za-z]\w{1,4})+$", "", regex=True)


def read_table(path: Path, id_: str | None = None, repeated: bool = False) -> pd.DataFrame:
    """Read a CSV or Parquet table, indexed by identifier (strings); only with `repeated` may one occur twice."""
    if not path.is_file():
        raise ThoraxError(f"{path} is not there: check the path.")
    try:
        if ".parquet" in path.suffixes:
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
            names = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", header=None, nrows=1).iloc[0]
            if names.duplicated().any():
                raise ThoraxError(f"{path} has two columns {names[names.duplicated()].iloc[0]!r}: rename or remove one.")
    except (ValueError, OSError) as error:  # pandas and pyarrow raise kinds of them
        problem = str(error).strip().partition("\n")[0].rstrip(".")
        raise ThoraxError(f"{path} is not a readable CSV or Parquet table ({problem}): save it again.") from error
    table.columns = table.columns.astype(str)
    if table.empty or not len(table.columns):
        raise ThoraxError(f"{path} has no rows: give a table with one row for each image.")
    name = table.columns[0] if id_ is None else id_
    if name not in table:
        suggestion = did_you_mean(name, table.columns)
        raise ThoraxError(f"{path} has no column {name!r}{suggestion}: name that of the identifiers with --id.")
    table = table.set_index(table[name].astype(str)).drop(columns=name).rename_axis("image")
    twice = table.index.duplicated()
    if twice.any() and not repeated:
        raise ThoraxError(f"{path} has image {table.index[twice][0]!r} more than once: keep one of its rows.")
    return table


def read_truth(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return a table's labels as int8 of 1, 0 and -1 (ignored): from 1 or yes, 0 or no, -1 or blank."""
    words = table.astype("string").fillna("").apply(lambda column: column.str.strip().str.lower().str.removesuffix(".0"))
    values = words.apply(lambda column: column.map(_TRUTH)).astype(np.float64)
    _refuse(
        table, path, values.isna().to_numpy(), "is not a label: write 1, 0, yes or no, and -1 or nothing where it is not known"
    )
    return values.astype(np.int8)


def _named_classes(table: pd.DataFrame, path: Path, columns: Columns) -> pd.DataFrame:
    """Give the columns of predictions the names of classes."""
    names = {name: columns.rename.get(name, name.removeprefix(columns.prefix)) for name in table.columns}
    same = pd.Series(names.values())
    if same.duplicated().any():
        raise ThoraxError(
            f"{path} has two columns for class {same[same.duplicated()].iloc[0]!r}: correct --rename or --prefix."
        )
    return table.rename(columns=names)


def _evaluated(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The images of val and test, or all where the table does not say which part of the data an image is in."""
    if SPLIT not in table:
        return table
    unknown = ~table[SPLIT].isin((*SPLIT_NAMES, LEFT_OUT))
    if unknown.any():
        value = table.loc[unknown, SPLIT].iloc[0]
        raise ThoraxError(f"{path} has {value!r} in the column {SPLIT!r}: write train, val or test, or remove the column.")
    if not (table[SPLIT] == "test").any():
        raise ThoraxError(f"{path} has no image of the part test in the column {SPLIT!r}: predict test images.")
    return table[table[SPLIT].isin(EVALUATED_SPLITS)]


def _shared(
    what: str, ours: pd.Index, our_path: Path, theirs: pd.Index, their_path: Path, common: bool, notes: list[str]
) -> pd.Index:
    """The classes or images of both tables in our order; those of one alone are an error, or with `common` a note."""
    extra, lacking = ours[~ours.isin(theirs)], theirs[~theirs.isin(ours)]
    many = "classes" if what == "class" else f"{what}s"
    if len(extra) == len(ours):
        examples = f" ({ours[0]!r} and {theirs[0]!r}, for example)" if len(ours) and len(theirs) else ""
        advice = (
            "give --rename or --prefix"
            if what == "class"
            else "give labels of the same images, or name the identifiers with --id"
        )
        raise ThoraxError(f"{our_path} and {their_path} have no {what} in common{examples}: {advice}.")
    if (len(extra) or len(lacking)) and not common:
        lacks, has, missing = (their_path, our_path, extra) if len(extra) else (our_path, their_path, lacking)
        those = f"{what} {missing[0]!r}" if len(missing) == 1 else f"{len(missing):,} {many} ({missing[0]!r}, for example)"
        similar = did_you_mean(missing[0], list(theirs if len(extra) else ours)) if what == "class" else ""
        advice = "give --rename or --prefix, or --common" if what == "class" else "add them, or give --common"
        raise ThoraxError(f"{lacks} lacks {those} of {has}{similar}: {advice} to measure the {many} that both have.")
    both = ours[ours.isin(theirs)]
    if len(extra) or len(lacking):
        counts = f"{len(ours):,} {many} of {our_path.name} and {len(theirs):,} of {their_path.name}"
        notes.append(f"Of {counts}, the {len(both):,} that both have are used.")
    return both


def _numbers(table: pd.DataFrame, path: Path, logits: bool) -> pd.DataFrame:
    """Predictions as float64: all must be numbers, and probabilities be from 0 to 1."""
    values = table.apply(pd.to_numeric, errors="coerce").astype(np.float64)
    _refuse(
        table, path, ~np.isfinite(values.to_numpy()), "is not a number: predict it again, or leave the image out of all tables"
    )
    if not logits:
        outside = ((values < 0) | (values > 1)).to_numpy()
        _refuse(
            table, path, outside, "is not from 0 to 1: give probabilities, or --logits (--second-logits) if these are logits"
        )
    return values


def _refuse(table: pd.DataFrame, path: Path, wrong: np.ndarray, problem: str) -> None:
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        value, image, name = table.iloc[row, column], table.index[row], table.columns[column]
        raise ThoraxError(f"{path}, image {image!r}, class {name!r}: {value!r} {problem}.")
