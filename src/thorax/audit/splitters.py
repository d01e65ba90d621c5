"""Our splitter next to those of other libraries, on one label set."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from thorax import config
from thorax.labels.stratify import StratifiedGroupSplit
from thorax.report.cells import printed
from thorax.report.typeset import Cell, Group, Table, write
from thorax.storage import store
from thorax.storage.schemas import class_columns

COLUMNS = {  # heading and decimals of each column
    "splitter": ("Splitter", 0),
    "worst %": ("worst, % of quota", 2),
    "worst % in test": ("worst in test, %", 2),
    "mean %": ("mean, % of quota", 2),
    "worst images": ("worst, images", 1),
    "patients in two parts": ("patients in two parts", 0),
    "seconds": ("seconds", 1),
}


def compare_splitters(labels: pd.DataFrame, settings: config.Split) -> pd.DataFrame:
    """Compare our split of one label set (`schemas.labels_schema`) with those of common libraries.

    All of them keep patients together. Those of scikit-learn and iterative-stratification make two parts, so they are
    applied twice: test first, then val from the rest. Returns `COLUMNS`: the largest and the mean deviation over all classes,
    totals and parts, in percent of the quota, the largest in images, the number of patients in two parts, and the seconds.
    """
    matrix = (labels[class_columns(labels)] == 1).to_numpy(np.int8)
    patients = np.unique(labels["patient_id"].to_numpy(object).astype(str), return_inverse=True)[1]
    shares = {"train": settings.train, "val": settings.val, "test": settings.test}
    ours = StratifiedGroupSplit(**shares, random_state=settings.seed)
    splitters: dict[str, Callable[[], np.ndarray]] = {"thorax StratifiedGroupSplit": lambda: ours.assign(matrix, patients)}
    of_others = {
        "scikit-learn GroupShuffleSplit": _group_shuffle,
        "scikit-learn StratifiedGroupKFold, rarest label": _stratified_group_folds,
        "iterative-stratification, patients": _iterative,
    }
    splitters |= {name: partial(_twice, cut, matrix, patients, shares, settings.seed) for name, cut in of_others.items()}
    rows = []
    for name, assign in splitters.items():
        start = time.perf_counter()
        parts = assign()
        seconds = time.perf_counter() - start
        columns = np.column_stack([np.ones(len(matrix), np.int64), matrix])
        quotas = np.array(list(shares.values()))[:, None] * columns.sum(axis=0)
        deviation = np.abs(np.stack([columns[parts == part].sum(axis=0) for part in shares]) - quotas)
        straddling = int((pd.Series(parts).groupby(patients).nunique() > 1).sum())
        percent = 100 * deviation / quotas
        in_test = percent[list(shares).index("test")]
        rows.append((name, percent.max(), in_test.max(), percent.mean(), deviation.max(), straddling, seconds))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _twice(
    one_part: Callable[..., np.ndarray], matrix: np.ndarray, patients: np.ndarray, shares: dict[str, float], seed: int
) -> np.ndarray:
    """Cut test, then val from the rest; `one_part` returns the rows of a part of the given share."""
    parts = np.full(len(matrix), "train", dtype=object)
    rest = np.arange(len(matrix))
    left = 1.0
    for part in ("test", "val"):
        chosen = one_part(matrix[rest], patients[rest], shares[part] / left, seed)
        parts[rest[chosen]] = part
        rest, left = np.delete(rest, chosen), left - shares[part]
    return parts.astype(str)


def _group_shuffle(matrix: np.ndarray, patients: np.ndarray, share: float, seed: int) -> np.ndarray:
    from sklearn.model_selection import GroupShuffleSplit

    return next(GroupShuffleSplit(1, test_size=share, random_state=seed).split(matrix, groups=patients))[1]


def _stratified_group_folds(matrix: np.ndarray, patients: np.ndarray, share: float, seed: int) -> np.ndarray:
    from sklearn.model_selection import StratifiedGroupKFold

    by_frequency = np.argsort(matrix.sum(axis=0), kind="stable")  # one label per image is all that it takes: the rarest
    rarest = np.where(matrix.any(axis=1), by_frequency[matrix[:, by_frequency].argmax(axis=1)], -1)
    folds = StratifiedGroupKFold(round(1 / share), shuffle=True, random_state=seed)
    return next(folds.split(matrix, rarest, patients))[1]


def _iterative(matrix: np.ndarray, patients: np.ndarray, share: float, seed: int) -> np.ndarray:
    from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit

    ids, index = np.unique(patients, return_inverse=True)
    of_patient = np.zeros((len(ids), matrix.shape[1]), np.int8)
    np.maximum.at(of_patient, index, matrix)
    splitter = MultilabelStratifiedShuffleSplit(1, test_size=share, random_state=seed)
    _, chosen = next(splitter.split(np.zeros(len(ids)), of_patient))
    return np.flatnonzero(np.isin(index, chosen))


def make_comparison(labels: Path, settings: config.Split, out: Path) -> None:
    """Write {label_set}.html, .md, .tex and .csv into a folder; see `compare_splitters`."""
    frame = store.read_table(labels)
    values = compare_splitters(frame, settings)
    (name_heading, _), *columns = COLUMNS.values()
    rows = tuple(
        (name, tuple(Cell(printed(value, decimals)) for (_, decimals), value in zip(columns, numbers, strict=True)))
        for name, *numbers in values.itertuples(index=False, name=None)
    )
    table = Table(
        title=f"Our split next to others: {labels.stem}",
        caption=f"{len(frame):,} images of {frame['patient_id'].nunique():,} patients, {len(class_columns(frame))} classes, divided "
        f"{settings.train:g} / {settings.val:g} / {settings.test:g}. For every class, for all images, and in each part: how far the "
        "count is from its exact share.",
        data="From metadata alone; seconds on the machine that made this page.",
        groups=tuple(Group(heading) for heading, _ in columns),
        name_heading=name_heading,
        rows=rows,
    )
    write(table, values, out, labels.stem)
