"""Models of several experiments side by side: one label set and one split, so the same test images.

The other models are compared with those of the first experiment. A difference has no interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from thorax.errors import ThoraxError
from thorax.evaluation.metrics import FIXED
from thorax.report.cells import DECIMALS, METRICS, Mark, cell, difference, printed, record, short_heading
from thorax.report.tables.results import INTERVALS, Results, by_class, count_images, describe_threshold, over_classes
from thorax.report.typeset import Cell, Group, Table, write
from thorax.storage import joins, store

_OF = "of models of several experiments on the same test images."
_NOTES = (
    "Bold: the best of the row, or all that share it, of the numbers as printed; none where all are the random classifier's, which has "
    "an AUC of 0.5 and, for F1 and Hamming loss, always predicts negative.",
    f"{INTERVALS} Differences have none.",
)


@dataclass(frozen=True)
class Column:
    """One model of one experiment: a member, an ensemble or the baseline."""

    experiment: str
    model: str
    results: Results

    @property
    def heading(self) -> str:
        """How tables name it."""
        return f"{self.experiment}: {self.model}"


@dataclass(frozen=True)
class SideBySide:
    """At least two columns, in their order; all experiments have the same counts, threshold rule and kind of data."""

    columns: Sequence[Column]
    title: str

    @property
    def first(self) -> Results:
        """The results of the first experiment."""
        return self.columns[0].results

    @cached_property
    def references(self) -> dict[str, Column]:
        """By heading, the first experiment's model of the same name or, without one, its first, which a column is compared with."""
        first = {column.model: column for column in self.columns if column.experiment == self.columns[0].experiment}
        others = [column for column in self.columns if column.experiment != self.columns[0].experiment]
        return {column.heading: first.get(column.model, self.columns[0]) for column in others}

    def groups(self, metrics: Sequence[str]) -> list[Group]:
        """Return one group of columns per model: its numbers, each with its difference where there is one."""
        headings = tuple(map(short_heading, metrics)) or ("value",)
        compared = tuple(text for name in headings for text in (name, f"{name} difference".removeprefix("value ")))
        return [
            Group(column.heading, compared if column.heading in self.references else headings, column.experiment)
            for column in self.columns
        ]

    def row(self, name: str, metrics: Sequence[str], named: bool = True) -> tuple[list[Cell], dict[str, float]]:
        """Return one class's cells, and the same numbers unrounded; `named`: whether their names in the CSV say the metric."""
        cells: list[Cell] = []
        values: dict[str, float] = {}
        best = {metric: self._best(name, metric) for metric in metrics}
        for column in self.columns:
            reference = self.references.get(column.heading)
            for metric in metrics:
                number = column.results.number(column.model, name, metric)
                key = f"{column.experiment} {column.model}" + f" {metric}" * named
                cells.append(cell(number, Mark(bold=round(number[0], DECIMALS) == best[metric])))
                values |= record(key, number)
                if reference is not None:
                    other = reference.results.number(reference.model, name, metric)[0]
                    cells.append(Cell(printed(difference(number[0], other), sign=True)))
                    values[f"{key} difference"] = number[0] - other
        return cells, values

    def _best(self, name: str, metric: str) -> float:
        """The best value as printed; nan where none is defined, or all are the random classifier's."""
        values = [round(column.results.number(column.model, name, metric)[0], DECIMALS) for column in self.columns]
        defined = [value for value in values if np.isfinite(value)]
        chance = round(float(self.first.counts.set_index("class").loc[name, metric]), DECIMALS)
        if all(value == chance for value in defined):
            return np.nan
        return min(defined) if METRICS[metric].lower_is_better else max(defined)

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes under the tables."""
        against: dict[str, list[str]] = {}
        for other, reference in self.references.items():
            against.setdefault(reference.heading, []).append(other)
        pairs = "; ".join(f"{' and '.join(others)} less {heading}" for heading, others in against.items())
        return (f"Difference: {pairs}, of the numbers as printed.", *_NOTES)


def per_class_table(compared: SideBySide) -> tuple[Table, pd.DataFrame]:
    """Arrange AUC and F1 of every column by class; see `results.by_class`."""
    return by_class(compared.first, compared, f"{compared.title}: results per class", _OF, compared.notes)


def global_table(compared: SideBySide) -> tuple[Table, pd.DataFrame]:
    """Arrange Hamming loss, and the means of AUC and F1 over the classes, of every column; see `results.over_classes`."""
    of = f"{describe_threshold(compared.first.threshold_rule)}, {_OF}"
    return over_classes(compared.first, compared, f"{compared.title}: global results", of, compared.notes)


def make_side_by_side(
    title: str, provenance: str, labels: Path, split: Path, metrics: dict[str, Path], columns: Sequence[str], out: Path,
    rule: str = FIXED, f1_metric: str = "f1",
) -> None:  # fmt: skip
    """Write per_class and global as .html, .md, .tex and .csv into a folder."""
    counts = count_images(joins.read_labels(labels, split))
    more = {"provenance": provenance, "threshold_rule": rule, "f1_metric": f1_metric}
    found = {name: Results(store.read_table(path), (), (), counts, **more) for name, path in metrics.items()}
    chosen = []
    for text in columns:
        experiment, _, model = text.partition("/")
        if not model or experiment not in found:
            problem = f"{text!r} is not an EXPERIMENT/MODEL of {', '.join(found)}"
            raise ThoraxError(f"{problem}: name an experiment that has its table under --metrics.")
        chosen.append(Column(experiment, model, found[experiment]))
    if len({column.experiment for column in chosen}) < 2:
        raise ThoraxError(f"{', '.join(columns)} are of one experiment: name models of at least two.")
    compared = SideBySide(chosen, title)
    write(*per_class_table(compared), out, "per_class")
    write(*global_table(compared), out, "global")
