"""Models of several experiments side by side: one label set and one split, so the same test images.

The other models are compared with those of the first experiment, by paired differences.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from thorax.errors import ThoraxError
from thorax.evaluation.differences import references
from thorax.evaluation.metrics import FIXED
from thorax.report.cells import cell, difference_cell, record, short_heading
from thorax.report.tables.results import INTERVALS, Results, by_class, count_images, describe_threshold, over_classes
from thorax.report.typeset import Cell, Group, Table, write
from thorax.storage import joins, store
from thorax.storage.schemas import DIFFERENCES

_OF = "of models of several experiments on the same test images."
_NOTES = (
    "Bold: differences whose 95% interval excludes 0. It is that of a paired bootstrap over patients, not corrected for the number of "
    "differences.",
    INTERVALS,
)


@dataclass(frozen=True)
class Column:
    """One model of one experiment: a member, an ensemble or the baseline."""

    experiment: str
    model: str
    results: Results

    @property
    def name(self) -> str:
        """What it is called in commands and differences."""
        return f"{self.experiment}/{self.model}"

    @property
    def heading(self) -> str:
        """How tables name it."""
        return f"{self.experiment}: {self.model}"


@dataclass(frozen=True)
class SideBySide:
    """At least two columns, in their order; all experiments have the same counts, threshold rule and kind of data."""

    columns: Sequence[Column]
    title: str
    differences: pd.DataFrame  # the rows of `schemas.DIFFERENCES` of the columns; models are called EXPERIMENT/MODEL

    @property
    def first(self) -> Results:
        """The results of the first experiment."""
        return self.columns[0].results

    @cached_property
    def references(self) -> dict[str, str]:
        """By name, the column of the first experiment that a column is compared with."""
        return references([column.name for column in self.columns])

    @cached_property
    def differing(self) -> Results:
        """The differences, chosen as the first experiment's results."""
        return replace(self.first, differences=self.differences)

    def groups(self, metrics: Sequence[str]) -> list[Group]:
        """Return one group of columns per model: its numbers, each with its difference where there is one."""
        headings = tuple(map(short_heading, metrics)) or ("value",)
        compared = tuple(text for name in headings for text in (name, f"{name} difference".removeprefix("value ")))
        return [
            Group(column.heading, compared if column.name in self.references else headings, column.experiment)
            for column in self.columns
        ]

    def row(self, name: str, metrics: Sequence[str], named: bool = True) -> tuple[list[Cell], dict[str, float]]:
        """Return one class's cells, and the same numbers unrounded; `named`: whether their names in the CSV say the metric."""
        cells: list[Cell] = []
        values: dict[str, float] = {}
        for column in self.columns:
            reference = self.references.get(column.name)
            for metric in metrics:
                number = column.results.number(column.model, name, metric)
                key = f"{column.experiment} {column.model}" + f" {metric}" * named
                cells.append(cell(number))
                values |= record(key, number)
                if reference is not None:
                    apart = self.differing.difference(column.name, reference, name, metric)
                    cells.append(difference_cell(apart))
                    values |= record(f"{key} difference", apart)
        return cells, values

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes under the tables."""
        headings = {column.name: column.heading for column in self.columns}
        against: dict[str, list[str]] = {}
        for other, reference in self.references.items():
            against.setdefault(headings[reference], []).append(headings[other])
        pairs = "; ".join(f"{' and '.join(others)} minus {heading}" for heading, others in against.items())
        return (f"Difference: {pairs}, of the unrounded numbers.", *_NOTES)


def per_class_table(compared: SideBySide) -> tuple[Table, pd.DataFrame]:
    """Arrange AUC and F1 of every column by class; see `results.by_class`."""
    return by_class(compared.first, compared, f"{compared.title}: results per class", _OF, compared.notes)


def global_table(compared: SideBySide) -> tuple[Table, pd.DataFrame]:
    """Arrange Hamming loss, and the means of AUC and F1 over the classes, of every column; see `results.over_classes`."""
    of = f"{describe_threshold(compared.first.threshold_rule)}, {_OF}"
    return over_classes(compared.first, compared, f"{compared.title}: global results", of, compared.notes)


def make_side_by_side(
    title: str, provenance: str, labels: Path, split: Path, metrics: dict[str, Path], differences: Path, columns: Sequence[str],
    out: Path, rule: str = FIXED, f1_metric: str = "f1",
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
    compared = SideBySide(chosen, title, store.read_table(differences, needs=tuple(DIFFERENCES.names)))
    write(*per_class_table(compared), out, "per_class")
    write(*global_table(compared), out, "global")
