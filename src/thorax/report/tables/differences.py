"""Paired differences between an experiment's models on the test images: over all classes, and per class for the best ones."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thorax.evaluation.differences import LEVEL, fewest_replicates
from thorax.evaluation.metrics import BASELINE, FIXED, GLOBAL, TIERS
from thorax.report import cells
from thorax.report.cells import F1_MEANINGS, UNDEFINED, p_value, printed, short_heading
from thorax.report.tables.results import (
    PROVENANCE,
    Results,
    count_images,
    count_of_classes,
    describe_threshold,
    row_headings,
    votes_note,
)
from thorax.report.typeset import Cell, Group, Table, write
from thorax.storage import joins, store
from thorax.storage.schemas import DIFFERENCES

_SIGN = "Same sign: the share of the bootstrap samples in which the difference has the same sign."
_P = (
    "p: two-sided, twice the share of the bootstrap samples in which the difference is 0 or has the other sign (with one added to both "
    "counts), not corrected for the number of rows."
)
_BOLD = "In bold: differences whose 95% interval excludes 0."
_HOLM = (
    "p: two-sided, from the bootstrap samples, corrected over the classes of its column by the method of Holm (1979). In bold: differences "
    f"of classes with a corrected p below {LEVEL}, and means whose interval excludes 0. Means have no corrected p."
)
_PAIRED = "The 95% interval is that of a paired bootstrap over patients: both models are measured on the same samples of the test patients."
_COUNTED = "Test images: those with the class; Global: all."
_CHOSEN = (
    "The best network and the best ensemble are those with the highest mean AUC on the validation images; ensembles that learn from the "
    "validation images cannot be the best."
)
_TIERS = (
    "Head classes have more than 1,000 training images, medium ones from 100 to 1,000, tail ones fewer than 100: means over their classes, "
    "and Hamming loss over their entries of the label matrix."
)


class Pairs:
    """The pairs of an experiment's models that the tables show, the first minus the second.

    `learned` are ensembles that learn from the validation images and cannot be chosen on them; `patients` are those of the test images.
    """

    def __init__(self, results: Results, learned: Sequence[str], patients: int) -> None:
        self.results, self.patients = results, patients
        self.best = results.best_on_validation(results.members)
        eligible = [name for name in results.ensembles if name not in learned]
        ensembles = [(name, self.best) for name in results.ensembles]
        against = [(name, BASELINE) for name in (*results.members, *results.ensembles)] if BASELINE in results.models else []
        self.overall = ensembles + against
        self.chosen = [(results.best_on_validation(eligible), self.best)] if eligible else []
        self.chosen += [(self.best, BASELINE)] if against else []

    @property
    def metrics(self) -> list[str]:
        """The metrics that are compared, with one F1."""
        return ["auc", "average_precision", self.results.f1_metric, "hamming"]

    @cached_property
    def rows(self) -> dict[tuple[str, str, str, str], dict[str, Any]]:
        """The rows of `schemas.DIFFERENCES` that are compared, by model, other model, class and metric."""
        assert self.results.differences is not None
        rows = self.results.chosen(self.results.differences)
        rows = rows[rows["metric"].isin(self.metrics)]
        return {(row["model"], row["other"], row["class"], row["metric"]): row for row in rows.to_dict("records")}

    @property
    def tiers(self) -> list[str]:
        """The tiers of classes that were measured."""
        return [name for name in TIERS if any(name == of for _, _, of, _ in self.rows)]

    def sentences(self) -> str:
        """Say how the AUCs of the chosen pairs differ."""
        return " ".join(self._sentence(model, other) for model, other in self.chosen)

    def _sentence(self, model: str, other: str) -> str:
        value, low, high = self.results.difference(model, other, GLOBAL, "auc")
        named = f"{self._named(model)} and {self._named(other)}"
        if not np.isfinite(low):
            return f"The mean AUCs of {named} have no difference with an interval."
        if not cells.excludes_zero(low, high):
            ends = f"difference {printed(value, sign=True)}, 95% interval {_ends(low, high)}"
            return f"By mean AUC, {named} cannot be told apart ({ends})."
        if value < 0:
            value, low, high = -value, -high, -low
            model, other = other, model
        return (
            f"{self._named(model, True)} has a mean AUC {printed(value)} higher than {self._named(other)}, 95% interval "
            f"{_ends(low, high)}."
        )

    def _named(self, model: str, first: bool = False) -> str:
        return f"{'The' if first else 'the'} baseline" if model == BASELINE else model

    def about(self) -> str:
        """What the differences were measured on."""
        whole = self.results.counts.set_index("class").loc[GLOBAL, "images_in_part"]
        positives = self.results.counts.loc[self.results.counts["class"] != GLOBAL, "images_in_part"].sum()
        size = f"{whole:,} {self.results.split} images of {self.patients:,} patients, {positives:,} positive entries"
        rule, f1 = describe_threshold(self.results.threshold_rule), F1_MEANINGS[self.results.f1_metric]
        return f"{size}, {count_of_classes(len(self.results.classes))}. F1-score: {f1}; {rule}."


def _ends(low: float, high: float) -> str:
    return f"{printed(low)} to {printed(high)}"


def overall_table(pairs: Pairs) -> tuple[Table, pd.DataFrame]:
    """Arrange the differences over all classes of every pair, and over the tiers of the chosen pairs; one row per metric and pair."""
    wanted = [(metric, GLOBAL, pair) for metric in pairs.metrics for pair in pairs.overall]
    wanted += [(metric, tier, pair) for tier in pairs.tiers for metric in pairs.metrics for pair in pairs.chosen]
    rows, records = [], []
    for metric, name, (model, other) in wanted:
        row = pairs.rows[model, other, name, metric]
        of = "" if name == GLOBAL else f", {name.lower()}"
        number = row["difference"], row["low"], row["high"]
        numbers = (
            *(cells.cell(pairs.results.number(one, name, metric)) for one in (model, other)),
            Cell(printed(row["difference"], sign=True), bold=cells.excludes_zero(*number[1:])),
            Cell(_ends(*number[1:]) if np.isfinite(row["low"]) else UNDEFINED),
            Cell(_share(row["same_sign"])),
            Cell(p_value(row["p"])),
        )
        rows.append((f"{short_heading(metric)}{of}: {model} minus {other}", numbers))
        records.append(row)
    headings = ("Value", "Value of the other", "Difference", "95% interval", "Same sign", "p")
    caption = f"{pairs.sentences()} Differences over all classes on {pairs.about()} A lower Hamming loss is better."
    notes = (_PAIRED, _SIGN, _P, _BOLD, _CHOSEN, *([_TIERS] if pairs.tiers else []), *votes_note(pairs.results))
    return _table(pairs, "differences", caption, [Group(heading) for heading in headings], "", rows, notes), _frame(
        pairs, records
    )


def per_class_table(pairs: Pairs) -> tuple[Table, pd.DataFrame]:
    """Arrange the differences per class of the chosen pairs in AUC, average precision and F1, with corrected p values."""
    places = [(pair, metric) for pair in pairs.chosen for metric in pairs.metrics if metric != "hamming"]
    headings, counts = row_headings(pairs.results.classes), pairs.results.counts.set_index("class")["images_in_part"]
    rows, records = [], []
    for name in [*pairs.results.classes, GLOBAL]:
        numbers = [Cell(f"{counts[name]:,}")]
        for (model, other), metric in places:
            row = pairs.rows[model, other, name, metric]
            apart = row["p_holm"] < LEVEL if name != GLOBAL else cells.excludes_zero(row["low"], row["high"])
            between = f" ({_ends(row['low'], row['high'])})" if np.isfinite(row["low"]) else ""
            numbers.append(Cell(printed(row["difference"], sign=True) + between, bold=bool(apart)))
            numbers.append(Cell(p_value(row["p_holm"])))
            records.append(row)
        rows.append((headings[name], tuple(numbers)))
    groups = [Group("# Test images")]
    groups += [
        Group(f"{short_heading(metric)}: {model} minus {other}", ("difference (95% interval)", "p"), f"{model} minus {other}")
        for (model, other), metric in places
    ]
    caption = f"{pairs.sentences()} Differences per class on {pairs.about()}"
    notes = (_COUNTED, _PAIRED, _HOLM, *_too_few(pairs, places), _CHOSEN, *votes_note(pairs.results))
    return _table(pairs, "differences per class", caption, groups, "Class", rows, notes, total=True), _frame(pairs, records)


def _too_few(pairs: Pairs, places: Sequence[tuple[tuple[str, str], str]]) -> list[str]:
    """Say if no corrected p value can be below the level with this number of bootstrap samples."""
    columns = [[pairs.rows[*pair, name, metric] for name in pairs.results.classes] for pair, metric in places]
    tests = max((sum(np.isfinite(row["p_holm"]) for row in rows) for rows in columns), default=0)
    drawn = max((row["replicates"] for rows in columns for row in rows), default=0)
    needed = fewest_replicates(tests)
    said = f"With {drawn:,} bootstrap samples no p corrected for {count_of_classes(tests)} can be below {LEVEL}: {needed:,} are needed"
    return [f"{said} (`thorax metrics --replicates`)."] if drawn < needed else []


def _share(value: float) -> str:
    return f"{value:.1%}" if np.isfinite(value) else UNDEFINED


def _frame(pairs: Pairs, records: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(records, columns=DIFFERENCES.names).assign(provenance=pairs.results.provenance)


def _table(
    pairs: Pairs,
    what: str,
    caption: str,
    groups: Sequence[Group],
    name: str,
    rows: list,
    notes: Sequence[str],
    total: bool = False,
) -> Table:
    title = f"{pairs.results.title}: {what}".removeprefix(": ")
    return Table(
        title, caption.strip(), PROVENANCE[pairs.results.provenance], tuple(groups), name, tuple(rows), total, tuple(notes)
    )


def make_difference_tables(
    title: str, provenance: str, metrics: Path, differences: Path, labels: Path, split: Path, members: list[str],
    ensembles: list[str], out: Path, rule: str = FIXED, f1_metric: str = "f1", learned: Sequence[str] = (),
) -> None:  # fmt: skip
    """Write differences and differences_per_class as .html, .md, .tex and .csv into a folder."""
    read = joins.read_labels(labels, split)
    apart = store.read_table(differences, needs=tuple(DIFFERENCES.names))
    more = {"title": title, "provenance": provenance, "threshold_rule": rule, "f1_metric": f1_metric}
    results = Results(store.read_table(metrics), members, ensembles, count_images(read), differences=apart, **more)
    pairs = Pairs(results, learned, read.loc[read["split"] == results.split, "patient_id"].nunique())
    write(*overall_table(pairs), out, "differences")
    write(*per_class_table(pairs), out, "differences_per_class")
