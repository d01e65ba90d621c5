"""Models of several experiments side by side: one label set, one split, and so the same test images.

The first model is what the others are measured against. A difference says nothing of chance: the tables give each number's own
95% interval, not that of the difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from thorax.errors import ThoraxError
from thorax.evaluation.metrics import FIXED, GLOBAL
from thorax.report import typeset
from thorax.report.tables.results import (
    DECIMALS,
    F1_MEANINGS,
    LOWER_IS_BETTER,
    METRICS,
    Results,
    count_images,
    describe_threshold,
    measured_on,
    metrics_of,
    row_headings,
)
from thorax.storage import store

_UNDEFINED = "–"
_NOTES = (
    "Bold: the best of the row, or all that share it, of the numbers as printed; none where all are the random classifier's, which has "
    "an AUC of 0.5 and, for F1 and Hamming loss, never says yes.",
    "95% intervals (bootstrap over patients) of each number, not of a difference, are in the CSV file; in the HTML, hover over a "
    "number to see its interval.",
)


@dataclass(frozen=True)
class Column:
    """One model of one experiment.

    Args:
        experiment: its name.
        model: a member, an ensemble or the baseline.
        results: of the experiment.
    """

    experiment: str
    model: str
    results: Results

    @property
    def heading(self) -> str:
        """How tables name it."""
        return f"{self.experiment}: {self.model}"

    def number(self, name: str, metric: str) -> tuple[float, float, float]:
        """Value, low and high; errors as in `Results.number`."""
        return self.results.number(self.model, name, metric)


@dataclass(frozen=True)
class SideBySide:
    """What the tables are made from.

    Args:
        columns: in their order, at least two.
        counts: what `tables.count_images` returns of the label set and split that all experiments share.
        title: of the tables.
        data: a key of `tables.DATA_SENTENCES`.
        rule: the threshold rule of F1 and Hamming loss.
        f1_metric: which F1 the tables print, a key of `tables.F1_MEANINGS`.
    """

    columns: Sequence[Column]
    counts: pd.DataFrame
    title: str
    data: str = "archive"
    rule: str = FIXED
    f1_metric: str = "f1"

    @cached_property
    def references(self) -> dict[str, Column]:
        """By heading, what a column is compared with.

        That is the model of the same name in the first experiment, or its first model where there is none of that name.
        """
        first = {column.model: column for column in self.columns if column.experiment == self.columns[0].experiment}
        others = [column for column in self.columns if column.experiment != self.columns[0].experiment]
        return {column.heading: first.get(column.model, self.columns[0]) for column in others}

    def headings(self, column: Column, names: Sequence[str]) -> tuple[str, ...]:
        """The headings of a column's numbers, each with its difference where there is one."""
        if column.heading not in self.references:
            return tuple(names)
        return tuple(heading for name in names for heading in (name, f"{name} difference".removeprefix("value ")))

    def row(self, name: str, metrics: Sequence[str]) -> tuple[tuple[typeset.Cell, ...], dict[str, float]]:
        """One class's cells, and the same numbers unrounded."""
        best = {metric: self._best(name, metric) for metric in metrics}
        cells: list[typeset.Cell] = []
        record: dict[str, float] = {}
        for column in self.columns:
            reference = self.references.get(column.heading)
            for metric in metrics:
                value, low, high = column.number(name, metric)
                interval = f"95% interval {low:.{DECIMALS}f}–{high:.{DECIMALS}f}" if np.isfinite(low) else ""
                bold = bool(np.isfinite(value)) and round(value, DECIMALS) == best[metric]
                cells.append(typeset.Cell(_printed(value), bold, hover=interval))
                key = f"{column.experiment} {column.model} {metric}"
                record |= {key: value, f"{key} low": low, f"{key} high": high}
                if reference is not None:
                    other = reference.number(name, metric)[0]
                    cells.append(typeset.Cell(_printed(round(value, DECIMALS) - round(other, DECIMALS) + 0.0, sign="+")))
                    record[f"{key} difference"] = value - other
        return tuple(cells), record

    def _best(self, name: str, metric: str) -> float:
        """The best value as printed; nan where none is defined, or all are the random classifier's."""
        values = [round(column.number(name, metric)[0], DECIMALS) for column in self.columns]
        defined = [value for value in values if np.isfinite(value)]
        chance = round(float(self.counts.set_index("class").loc[name, metric]), DECIMALS)
        if all(value == chance for value in defined):
            return np.nan
        return min(defined) if metric in LOWER_IS_BETTER else max(defined)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is said under the tables."""
        against = dict.fromkeys(reference.heading for reference in self.references.values())
        pairs = [
            f"{' and '.join(other for other, reference in self.references.items() if reference.heading == heading)} less {heading}"
            for heading in against
        ]
        return (f"Difference: {'; '.join(pairs)}, of the numbers as printed.", *_NOTES)


def per_class_table(compared: SideBySide) -> tuple[typeset.Table, pd.DataFrame]:
    """Set AUC and F1 of every column by class, with the means over classes as the last row.

    Returns:
        The table, and the same numbers unrounded, with 95% intervals and differences, one row per class.

    Raises:
        ThoraxError: a model or class that an experiment's metrics lack.
    """
    rows, records = [], []
    metrics = ("auc", compared.f1_metric)
    row_heading = row_headings(name for name in compared.counts["class"] if name != GLOBAL)
    for count in compared.counts.to_dict("records"):
        name = count["class"]
        cells, record = compared.row(name, metrics)
        counted = (typeset.Cell(str(count["images"])), typeset.Cell(str(count["images_in_part"])))
        rows.append((row_heading[name], counted + cells))
        known = {"class": name, "images": count["images"], "test_images": count["images_in_part"]}
        records.append({**known, **record, "data": compared.data})
    names = tuple(METRICS[metric] for metric in metrics)
    table = typeset.Table(
        title=f"{compared.title}: results per class",
        caption=f"AUC and F1-score ({F1_MEANINGS[compared.f1_metric]}; {describe_threshold(compared.rule)}) of models of "
        f"several experiments on the same test images.",
        data=measured_on(compared.data),
        groups=(
            typeset.Group("# Samples", ("all", "test"), "samples"),
            *(
                typeset.Group(column.heading, compared.headings(column, names), column.experiment)
                for column in compared.columns
            ),
        ),
        name_heading="Class",
        rows=tuple(rows),
        total=True,
        notes=compared.notes,
    )
    return table, pd.DataFrame(records)


def global_table(compared: SideBySide) -> tuple[typeset.Table, pd.DataFrame]:
    """Set Hamming loss, and the means of AUC and F1 over the classes, of every column.

    Returns:
        The table, and the same numbers unrounded, with 95% intervals and differences, one row per metric.

    Raises:
        ThoraxError: a model that an experiment's metrics lack.
    """
    rows, records = [], []
    for metric in metrics_of(compared.f1_metric):
        cells, record = compared.row(GLOBAL, (metric,))
        rows.append((METRICS[metric], cells))
        numbers = {
            "".join(key.rsplit(f" {metric}", 1)): value for key, value in record.items()
        }  # a model may be called as a metric
        records.append({"metric": metric, **numbers, "data": compared.data})
    table = typeset.Table(
        title=f"{compared.title}: global results",
        caption=f"Hamming loss (lower is better), and means of AUC and F1-score ({F1_MEANINGS[compared.f1_metric]}) over the classes, "
        f"{describe_threshold(compared.rule)}, of models of several experiments on the same test images.",
        data=measured_on(compared.data),
        groups=tuple(
            typeset.Group(column.heading, compared.headings(column, ("value",)), column.experiment)
            for column in compared.columns
        ),
        name_heading="",
        rows=tuple(rows),
        notes=compared.notes,
    )
    return table, pd.DataFrame(records)


def make_side_by_side(
    title: str,
    data: str,
    labels: Path,
    split: Path,
    metrics: dict[str, Path],
    columns: Sequence[str],
    out: Path,
    rule: str = FIXED,
    f1_metric: str = "f1",
) -> None:
    """Write per_class and global as .html, .md, .tex and .csv into a folder.

    Args:
        title: of the tables.
        data: "phantom", "sample" or "archive".
        labels, split: those that all experiments share.
        metrics: `metrics/{experiment}.parquet` by experiment.
        columns: EXPERIMENT/MODEL, in the order of the columns, the first experiment being what others are compared with.
        out: the folder.
        rule: the threshold rule of F1 and Hamming loss.
        f1_metric: which F1 is printed, a key of `tables.F1_MEANINGS`.

    Raises:
        ThoraxError: as in the tables, a column that is not of this form or has no metrics, or a missing table.
    """
    counts = count_images(store.read_table(labels), store.read_table(split))
    found = {name: Results(store.read_table(path), (), (), counts, data=data, rule=rule) for name, path in metrics.items()}
    chosen = []
    for text in columns:
        experiment, _, model = text.partition("/")
        if not model or experiment not in found:
            raise ThoraxError(
                f"{text!r} is no EXPERIMENT/MODEL of {', '.join(found)}: name an experiment that has its table under --metrics."
            )
        chosen.append(Column(experiment, model, found[experiment]))
    if len({column.experiment for column in chosen}) < 2:
        raise ThoraxError(f"{', '.join(columns)} are of one experiment: name models of at least two.")
    compared = SideBySide(chosen, counts, title, data, rule, f1_metric)
    for name, make in (("per_class", per_class_table), ("global", global_table)):
        table, values = make(compared)
        typeset.write(table, values, Path(out), name)


def _printed(value: float, sign: str = "") -> str:
    return f"{value:{sign}.{DECIMALS}f}" if np.isfinite(value) else _UNDEFINED
