"""Our splitter beside those of other libraries, on one label set."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from thorax import config
from thorax.labels.stratify import StratifiedGroupSplit
from thorax.report import typeset
from thorax.storage import store
from thorax.storage.schemas import class_columns

SPLITTER_COLUMNS = ("splitter", "worst %", "worst % in test", "mean %", "worst images", "patients in two parts", "seconds")


def compare_splitters(labels: pd.DataFrame, settings: config.Split) -> pd.DataFrame:
    """Our split of one label set beside those that people use.

    All of them keep patients together. Those of scikit-learn and iterative-stratification make two parts, so they are
    applied twice: test first, then val from the rest.

    Args:
        labels: the columns of `catalog.labels_schema`.
        settings: shares and seed.

    Returns:
        `SPLITTER_COLUMNS`: the largest and the mean deviation over all classes, totals and parts, in percent of the quota,
        the largest in images, patients that straddle, and the seconds it took.
    """
    matrix = (labels[class_columns(labels)] == 1).to_numpy(np.int8)
    patients = np.unique(labels["patient_id"].to_numpy(object).astype(str), return_inverse=True)[1]
    shares = {"train": settings.train, "val": settings.val, "test": settings.test}
    splitters: dict[str, Callable[[], np.ndarray]] = {
        "thorax StratifiedGroupSplit": lambda: StratifiedGroupSplit(**shares, random_state=settings.seed).assign(
            matrix, patients
        ),
        "scikit-learn GroupShuffleSplit": lambda: _twice(_group_shuffle, matrix, patients, shares, settings.seed),
        "scikit-learn StratifiedGroupKFold, rarest label": lambda: _twice(
            _stratified_group_folds, matrix, patients, shares, settings.seed
        ),
        "iterative-stratification, patients": lambda: _twice(_iterative, matrix, patients, shares, settings.seed),
    }
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
    return pd.DataFrame(rows, columns=list(SPLITTER_COLUMNS))


def _twice(
    one_part: Callable[[np.ndarray, np.ndarray, float, int], np.ndarray],
    matrix: np.ndarray,
    patients: np.ndarray,
    shares: dict[str, float],
    seed: int,
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
    """Write {label_set}.* (HTML, Markdown, LaTeX, CSV) into a folder; see `compare_splitters`."""
    frame = store.read_table(labels)
    values = compare_splitters(frame, settings)
    formats = ("{:.2f}", "{:.2f}", "{:.2f}", "{:,.1f}", "{:,}", "{:.1f}")
    rows = tuple(
        (name, tuple(typeset.Cell(text.format(value)) for text, value in zip(formats, numbers, strict=True)))
        for name, *numbers in values.itertuples(index=False, name=None)
    )
    table = typeset.Table(
        title=f"Our split beside others: {labels.stem}",
        caption=f"{len(frame):,} images of {frame['patient_id'].nunique():,} patients, {len(class_columns(frame))} classes, divided "
        f"{settings.train:g} / {settings.val:g} / {settings.test:g}. For every class, for all images, and in each part: how far the "
        "count is from its exact share.",
        data="From metadata alone; seconds on the machine that made this page.",
        groups=tuple(
            typeset.Group(heading)
            for heading in (
                "worst, % of quota",
                "worst in test, %",
                "mean, % of quota",
                "worst, images",
                "patients in two parts",
                "seconds",
            )
        ),
        name_heading="Splitter",
        rows=rows,
    )
    typeset.write(table, values, out, labels.stem)
