"""The overview of a run: one row per experiment, with its data, its best model and the published numbers.

The hours of training are on the page only: what git keeps of the table (CSV, Markdown, LaTeX) is the same for the same inputs.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from thorax import archives
from thorax.config import Setup, Setups
from thorax.errors import ThoraxError
from thorax.evaluation.ensembles import LEARNING
from thorax.evaluation.metrics import FIXED, GLOBAL, NO_THRESHOLD
from thorax.report import cells, published_numbers
from thorax.report.cells import F1_MEANINGS, METRICS, UNDEFINED, Estimate, printed
from thorax.report.tables.results import INTERVALS, PROVENANCE, Results, best_model, images_by_part, votes_note
from thorax.report.typeset import Cell, Group, Table, write
from thorax.storage import joins, store
from thorax.storage.schemas import class_columns

SHOWN = ("auc", "f1", "f1_positive", "hamming")  # of F1 each experiment's own
FULL = "full"
NOT_RECORDED = "not recorded"
_CAPTION = (
    "Every experiment of the run: what it was run on, its best model's results on the test images, and the published ones."
)
_APART = "†"  # mark of published numbers that measure something else than ours, where others do not
_NOT_COMPARABLE = f"{_APART} Not comparable: it does not measure the same as ours."
_DOUBT = "? The published number is in doubt; in the HTML, hover over the number to see why."
_NOTES = (
    "Model: of all networks and ensembles, the one with the highest mean AUC on the validation images. Ensembles that learn from the "
    "validation images (weighted average, stacked) take no part in this choice; their results are in each experiment's own tables.",
    f"AUC and F1-score: means over the classes, on the test images. {INTERVALS}",
    "Paper: the published numbers of the same model or, where the paper has none of it, of its model with the highest AUC. * The paper has "
    "none over all classes: the mean over the classes for which both numbers are there, and in brackets ours over the same.",
)
_TWO_F1 = "Each experiment has the F1-score of its paper. "
_DIFFERENCE = "Difference: ours minus the paper's, of the numbers as printed; only where ours were measured on the archive, of the same model."
_OTHER_CLASSES = (
    "{title}: the paper's mean is over other classes than ours ({metrics}), so there is no difference; the experiment's own tables have "
    "the means over shared classes."
)
_HOURS = (
    "Hours: wall-clock time of the experiment's trainings, as each training recorded it next to its history. GPU-hours count each GPU; "
    "time without a GPU is in hours of the whole training, whatever its number of CPU cores."
)


class Published(NamedTuple):
    """A paper's number for one metric, and ours over the same classes; nan where there is none."""

    value: float = np.nan
    ours: float = np.nan
    classes: int = 0  # over which the mean was taken here; 0: the paper's own number over all classes
    doubt: str = ""
    other_classes: bool = False  # whether the paper's mean over all classes is over other classes than ours
    difference: float = np.nan  # ours minus the paper's, of the numbers as printed; nan where they may not be compared


@dataclass(frozen=True)
class Row:
    """One experiment: its settings, metrics, labels (`joins.read_labels`) and test part (`published_numbers.tested_on`)."""

    setup: Setup
    metrics: pd.DataFrame
    labels: pd.DataFrame
    test_part: str

    @cached_property
    def model(self) -> str:
        """The network or ensemble with the highest mean AUC on the validation images, as in `best_model`."""
        experiment = self.setup.experiment
        learned = [name for name, ensemble in experiment.ensembles.items() if ensemble.rule in LEARNING]
        return best_model(self.metrics, experiment.members, experiment.ensembles, learned)

    def number(self, metric: str) -> Estimate:
        """The model's value, low and high over all classes of the test images; nan where undefined."""
        return self.on_test.number(self.model, GLOBAL, metric)

    @property
    def metrics_shown(self) -> list[str]:
        """The keys of `METRICS` that this experiment has a number of: of F1 its own."""
        return [metric for metric in SHOWN if metric not in F1_MEANINGS or metric == self.setup.experiment.f1_metric]

    @cached_property
    def published_model(self) -> str | None:
        """The paper's model next to ours: the same one, or else that with the paper's highest mean AUC; None where there is none."""
        models = self._published["model"].tolist()
        if self.model in models or not models:
            return self.model if models else None
        rows = self._published[self._published["metric"] == "auc"]
        rows = rows[rows["class"] == GLOBAL] if (rows["class"] == GLOBAL).any() else rows
        return str(rows.groupby("model")["value"].mean().idxmax()) if len(rows) else models[0]

    def published(self, metric: str) -> Published:
        """The paper's number next to ours."""
        rows = self._published.query("model == @self.published_model and metric == @metric")
        whole = rows[rows["class"] == GLOBAL]
        same = self.published_model == self.model
        if len(whole):
            value, ours, classes, doubt = float(whole["value"].iloc[0]), self.number(metric)[0], 0, whole["doubt"].iloc[0]
            by_rule = self.metrics["threshold_rule"].isin((NO_THRESHOLD, self.setup.threshold_rule))
            on_test = self.metrics[(self.metrics["split"] == "test") & by_rule]
            apart = same and not published_numbers.same_classes(on_test, self._published, self.model, metric)
        else:
            numbers = [self.on_test.numbers.get((self.model, name, metric), (np.nan,))[0] for name in rows["class"]]
            both = rows.assign(ours=numbers).dropna(subset=["ours", "value"])
            if both.empty:
                return Published()
            doubt, apart = next((text for text in both["doubt"] if text), ""), False
            value, ours, classes = float(both["value"].mean()), float(both["ours"].mean()), len(both)
        taken = same and self.comparable and not apart
        return Published(value, ours, classes, doubt, apart, cells.difference(ours, value) if taken else np.nan)

    @cached_property
    def why_not(self) -> str:
        """Why no difference to the paper is taken though ours are of an archive, in a sentence; blank elsewhere."""
        beside, full = self.setup.experiment.beside, self.setup.experiment.provenance == FULL
        return published_numbers.why_not(beside, self.setup.dataset.archive, self.test_part) if beside and full else ""

    @property
    def comparable(self) -> bool:
        """Whether ours and the paper's numbers measure the same."""
        return self.setup.experiment.provenance == FULL and not self.why_not

    @cached_property
    def _published(self) -> pd.DataFrame:
        """The paper's numbers of the metrics that are shown."""
        beside = self.setup.experiment.beside
        rows = published_numbers.published(beside) if beside else pd.DataFrame(columns=list(published_numbers.PUBLISHED))
        return rows[rows["metric"].isin(self.metrics_shown)]

    @cached_property
    def on_test(self) -> Results:
        """The results on the test images."""
        names = list(self.setup.experiment.members), list(self.setup.experiment.ensembles)
        return Results(self.metrics, *names, pd.DataFrame(), threshold_rule=self.setup.threshold_rule)


def overview_table(rows: dict[str, Row], hours: dict[str, Cell] | None = None) -> tuple[Table, pd.DataFrame]:
    """Arrange each experiment's data, best model and results next to the published ones.

    `hours` is what `spent` returns for each; None leaves the column out. The frame has the numbers unrounded, with intervals.
    """
    compared = any(row.setup.experiment.provenance == FULL for row in rows.values())
    metrics = [metric for metric in SHOWN if any(metric in row.metrics_shown for row in rows.values())]
    published = [row for row in rows.values() if row.published_model is not None]
    none_comparable = bool(published) and not any(row.comparable for row in published)
    paper = published_numbers.NOT_COMPARABLE if none_comparable else "paper"
    columns = ("ours", paper, "difference") if compared else ("ours", paper)
    body, records, numbers = [], [], []
    for name, row in rows.items():
        record, about = _about(name, row)
        shown: list[Cell] = []
        for metric in metrics:
            if metric in row.metrics_shown:
                of_metric, values = _metric(row, metric, "" if row.comparable or none_comparable else _APART)
                shown += of_metric[: len(columns)]
                record |= values
            else:
                shown += [Cell(UNDEFINED)] * len(columns)
        numbers += shown
        body.append((row.setup.experiment.title, (*about, *shown, *([hours[name]] if hours is not None else []))))
        records.append(record)
    f1 = [f"{METRICS[metric].heading}: {F1_MEANINGS[metric]}" for metric in metrics if metric in F1_MEANINGS]
    apart = []
    for row in rows.values():
        named = ", ".join(METRICS[metric].heading for metric in row.metrics_shown if row.published(metric).other_classes)
        if named and row.comparable:
            apart.append(_OTHER_CLASSES.format(title=row.setup.experiment.title, metrics=named))
    groups = (
        *(Group(heading, words=True) for heading in ("Run on", "Paper", "Data set")),
        Group("Images", ("train", "val.", "test")),
        Group("Classes"),
        Group("Model", ("ours", "paper"), "results", words=True),
        *(Group(METRICS[metric].heading, columns, "results") for metric in metrics),
        *([Group("Hours", section="hours")] if hours is not None else []),
    )
    notes = (
        *_NOTES,
        f"{_TWO_F1 if len(f1) > 1 else ''}{'; '.join(f1)}.",
        *dict.fromkeys(note for row in rows.values() for note in votes_note(row.on_test, [row.model])),
        *([_DIFFERENCE] if compared else []),
        *([_HOURS] if hours is not None else []),
        *(f"{row.setup.experiment.title}: {row.why_not}" for row in rows.values() if row.why_not),
        *apart,
        *([_NOT_COMPARABLE] if any(_APART in cell.text for cell in numbers) else []),
        *([_DOUBT] if any("?" in cell.text for cell in numbers) else []),
    )
    data = run_on({row.setup.experiment.title: row.setup.experiment.provenance for row in rows.values()})
    table = Table("Overview of the experiments", _CAPTION, data, groups, "Experiment", tuple(body), notes=notes)
    return table, pd.DataFrame(records)


def run_on(provenance: Mapping[str, str]) -> str:
    """Say plainly what experiments were run on: all on the same, or which on what; `provenance` is by the title of each."""
    used = [name for name in PROVENANCE if name in provenance.values()]
    if len(used) == 1:
        return f"Run on: {used[0]}. {PROVENANCE[used[0]]}"
    titles = {name: "; ".join(title for title, its in provenance.items() if its == name) for name in used}
    return " ".join(f"Run on: {name} ({titles[name]}). {PROVENANCE[name]}" for name in used)


def _about(name: str, row: Row) -> tuple[dict[str, object], list[Cell]]:
    """What an experiment was run on, and its models, as values and as cells."""
    experiment, archive = row.setup.experiment, archives.ARCHIVES[row.setup.dataset.archive].title
    dataset, images, classes = row.setup.label_set.dataset, images_by_part(row.labels), len(class_columns(row.labels))
    other = experiment.beside if experiment.beside and experiment.beside.paper != experiment.paper else None
    source = f"of {published_numbers.variant(other)['description'].split(',')[0]}" if other else ""
    record: dict[str, object] = {
        "experiment": name, "provenance": experiment.provenance, "paper": experiment.paper, "dataset": dataset,
        "archive": row.setup.dataset.archive, **images, "classes": classes, "model": row.model,
        "published_model": row.published_model, "threshold_rule": row.setup.threshold_rule,
    }  # fmt: skip
    return record, [
        Cell(experiment.provenance, bold=experiment.provenance != FULL),
        Cell(published_numbers.citation(experiment.paper)[0] if experiment.paper else UNDEFINED),
        Cell(dataset, detail=archive if experiment.provenance == FULL else f"in the form of {archive}"),
        *(Cell(printed(count, 0)) for count in images.values()),
        Cell(str(classes)),
        Cell(row.model, detail="" if row.setup.threshold_rule == FIXED else row.setup.threshold_rule),
        Cell(row.published_model or UNDEFINED, detail=source),
    ]


def _metric(row: Row, metric: str, mark: str) -> tuple[list[Cell], dict[str, object]]:
    """Ours, the paper's with a mark, and the difference, as cells and as values."""
    published, text, over = row.published(metric), UNDEFINED, ""
    if np.isfinite(published.value):
        text = printed(published.value) + "?" * bool(published.doubt) + "*" * bool(published.classes) + mark
    if published.classes:
        text, over = f"{text} ({printed(published.ours)})", f"over {published.classes} classes"
    ours, theirs = cells.cell(row.number(metric)), Cell(text, detail=over, hover=published.doubt)
    return [ours, theirs, Cell(printed(published.difference, sign=True))], {
        **cells.record(metric, row.number(metric)),
        f"{metric} published": published.value,
        f"{metric} published classes": published.classes or np.nan,
        f"{metric} difference": published.difference,
    }


def spent(records: Iterable[Path]) -> Cell:
    """Return the hours of an experiment's trainings, from the device ("2 GPU" or "CPU") and seconds in the record of each."""
    hours: dict[str, float] = defaultdict(float)
    for path in records:
        with _reading(path) as record:
            count, _, gpus = record["device"].partition(" ")
            hours["GPU-hours" if gpus else "hours, no GPU"] += record["seconds"] / 3600 * (int(count) if gpus else 1)
    said = [f"{_hours(hours[unit])} {unit}" for unit in sorted(hours)]  # those of GPUs first
    return Cell(said[0] if said else NOT_RECORDED, detail="; ".join(f"and {part}" for part in said[1:]))


def machines(records: Iterable[Path]) -> list[str]:
    """The machines that trainings recorded, each once."""
    found = []
    for path in records:
        with _reading(path) as record:
            found.append(record.get("machine", NOT_RECORDED))  # records of earlier versions have none
    return sorted(set(found))


def remarks(records: Iterable[Path]) -> list[str]:
    """What trainings noted of the weights that they started from, such as test patients who may be known to them, each once."""
    members: dict[str, list[str]] = {}
    for path in records:
        with _reading(path) as record:
            if remark := record.get("weights", {}).get("remark"):
                members.setdefault(remark, []).append(path.stem)
    return [f"About the weights that {' and '.join(names)} started from: {remark}" for remark, names in members.items()]


@contextmanager
def _reading(path: Path) -> Iterator[dict[str, Any]]:
    """A training's record; what is wrong with it is one sentence."""
    try:
        yield json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ThoraxError(f"{path} is not the record of a training: delete it and train again.") from error


def _hours(hours: float) -> str:
    if hours < 0.001:
        return "under 0.001"
    return f"{hours:,.1f}" if hours >= 10 else f"{hours:.2g}"


def read_rows(
    setups: Mapping[str, Setup], metrics: Mapping[str, Path], labels: Mapping[str, Path], splits: Mapping[str, Path]
) -> dict[str, Row]:
    """Read the experiments of a run, each with a table under every one of the three mappings."""
    rows = {}
    for name, setup in setups.items():
        for flag, paths in (("metrics", metrics), ("labels", labels), ("splits", splits)):
            if name not in paths:
                raise ThoraxError(f"Experiment {name!r} has no table under --{flag}: name it.")
        split = store.read_table(splits[name], ["image_id", "split"])
        test_part = published_numbers.tested_on(setup.dataset.archive, setup.split.official, split)
        rows[name] = Row(setup, store.read_table(metrics[name]), joins.read_labels(labels[name], splits[name]), test_part)
    return rows


def make_overview(
    settings: Setups, metrics: dict[str, Path], labels: dict[str, Path], splits: dict[str, Path], out: Path,
    records: Iterable[Path] = (),
) -> None:  # fmt: skip
    """Write overview.html, .md, .tex and .csv into a folder; only the HTML has the hours. Records: a folder per experiment."""
    rows = read_rows(settings.root, metrics, labels, splits)
    hours = {name: spent(path for path in records if path.parent.name == name) for name in rows}
    table, values = overview_table(rows)
    on_page, _ = overview_table(rows, hours)
    write(table, values, out, "overview", on_page)
