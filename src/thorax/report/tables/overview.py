"""The overview of a run: each experiment in one row, with what it was run on, its best model and the published numbers.

The hours of training and prediction are on the page only. No two runs take the same time, and what git keeps of the table (CSV,
Markdown, LaTeX) is the same for the same inputs.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from thorax import archives, backend
from thorax.config import Studies, Study
from thorax.errors import ThoraxError
from thorax.evaluation.ensembles import LEARNING
from thorax.evaluation.metrics import FIXED, GLOBAL, NO_THRESHOLD
from thorax.report import published_numbers, typeset
from thorax.report.tables.results import DATA_SENTENCES, DECIMALS, F1_MEANINGS, Results, votes_note
from thorax.storage import store
from thorax.storage.schemas import SPLIT_NAMES, class_columns

METRICS = {"auc": "AUC", "f1": "F1-score", "f1_positive": "F1-score, positive side", "hamming": "Hamming loss"}
ARCHIVE = "archive"
NOT_RECORDED = "not recorded"
RESUMED = "going on after"  # how a training's log begins to say that an earlier attempt began it
_NONE = "–"
_APART = "†"  # mark of published numbers that measure something else than ours, where others do not
_NOT_COMPARABLE = f"{_APART} Not comparable: it does not measure the same as ours."
_NOTES = (
    "Model: of all networks and ensembles, the one with the highest mean AUC on the validation images. Ensembles that learn from the "
    "validation images (weighted average, stacked) take no part in this choice; their results are in each experiment's own tables.",
    "AUC and F1-score: means over the classes, on the test images. 95% intervals (bootstrap over patients) are below the numbers in the "
    "HTML, and in the CSV file.",
    "Paper: the published numbers of the same model or, where the paper has none of it, of its model with the highest AUC. * The paper has "
    "none over all classes: the mean over the classes for which both numbers are there, and in brackets ours over the same.",
)
_TWO_F1 = "Each experiment has the F1-score of its paper. "
_DIFFERENCE = "Difference: ours less the paper's, of the numbers as printed; only where ours were measured on the archive, of the same model."
_OTHER_CLASSES = (
    "{title}: the paper's mean is over other classes than ours ({metrics}), so there is no difference; the experiment's own tables have "
    "the means over shared classes."
)
_HOURS = (
    "Hours: wall-clock time of all trainings and predictions of the experiment. GPU-hours count each GPU; time without a GPU is in "
    "hours of the whole job, whatever its number of CPU cores. What is not on record (benchmarks/ and logs/ hold it) is not guessed; a "
    "training that went on after an interruption counts from there."
)


@dataclass(frozen=True)
class Published:
    """A paper's number for one metric, and ours over the same classes."""

    value: float
    ours: float
    classes: int  # over which the mean was taken here; 0: the paper's own number over all classes
    doubt: str


@dataclass(frozen=True)
class Row:
    """One experiment.

    Args:
        study: its settings.
        metrics: the rows of `catalog.METRICS`.
        labels: the columns of `catalog.labels_schema`.
        split: the columns of `catalog.SPLITS`.
    """

    study: Study
    metrics: pd.DataFrame
    labels: pd.DataFrame
    split: pd.DataFrame

    @cached_property
    def images(self) -> dict[str, int]:
        """Images of the label set in each part of the split."""
        parts = self.labels["image_id"].map(self.split.set_index("image_id")["split"])
        return {part: int((parts == part).sum()) for part in SPLIT_NAMES}

    @cached_property
    def model(self) -> str:
        """The network or ensemble with the highest mean AUC on the validation images; of equal ones the first ensemble.

        Without any AUC (every class lacks positives or negatives) the first ensemble, or else network.

        Raises:
            ThoraxError: the metrics lack a model.
        """
        experiment = self.study.experiment
        taught = [name for name, ensemble in experiment.ensembles.items() if ensemble.rule in LEARNING]
        names = [name for name in (*experiment.ensembles, *experiment.members) if name not in taught]
        on_val = self._results("val")
        values = [on_val.number(name, GLOBAL, "auc")[0] for name in names]
        return names[int(np.argmax(np.nan_to_num(values, nan=-np.inf)))]

    def number(self, metric: str) -> tuple[float, float, float]:
        """The model's value, low and high over all classes of the test images; nan where undefined."""
        return self._results("test").number(self.model, GLOBAL, metric)

    @property
    def metrics_shown(self) -> list[str]:
        """The keys of `METRICS` that this experiment has a number of: of F1 its own."""
        return [metric for metric in METRICS if metric not in F1_MEANINGS or metric == self.study.experiment.f1_metric]

    @property
    def votes(self) -> list[str]:
        """A sentence where the model's AUC is that of votes."""
        return votes_note(self._results("test"), [self.model])

    @cached_property
    def published_model(self) -> str | None:
        """The paper's model beside ours: the same one, or else that with the paper's highest mean AUC; None where there is none."""
        if self._published.empty:
            return None
        if self.model in set(self._published["model"]):
            return self.model
        rows = self._published[self._published["metric"] == "auc"]
        rows = rows[rows["class"] == GLOBAL] if (rows["class"] == GLOBAL).any() else rows
        return str(rows.groupby("model")["value"].mean().idxmax()) if len(rows) else str(self._published["model"].iloc[0])

    def published(self, metric: str) -> Published | None:
        """The paper's number beside ours; None where there is none."""
        rows = self._published
        rows = rows[(rows["model"] == self.published_model) & (rows["metric"] == metric)]
        whole = rows[rows["class"] == GLOBAL]
        if len(whole):
            return Published(float(whole["value"].iloc[0]), self.number(metric)[0], 0, whole["doubt"].iloc[0])
        ours = [self._results("test").numbers.get((self.model, name, metric), (np.nan,))[0] for name in rows["class"]]
        both = rows.assign(ours=ours).dropna(subset=["ours", "value"])
        if both.empty:
            return None
        doubt = next((text for text in both["doubt"] if text), "")
        return Published(float(both["value"].mean()), float(both["ours"].mean()), len(both), doubt)

    @cached_property
    def why_not(self) -> str:
        """Why no difference to the paper is taken though ours are of an archive, in a sentence; blank elsewhere."""
        study, beside = self.study, self.study.experiment.beside
        if beside is None or study.experiment.data != ARCHIVE:
            return ""
        archive = study.dataset.archive
        return published_numbers.why_not(
            beside, archive, published_numbers.tested_on(archive, study.split.official, self.split)
        )

    @property
    def comparable(self) -> bool:
        """Whether ours and the paper's numbers measure the same."""
        return self.study.experiment.data == ARCHIVE and not self.why_not

    @property
    def published_by(self) -> str | None:
        """The paper whose numbers are next to ours, where it is not the experiment's own."""
        experiment = self.study.experiment
        if experiment.beside is None or experiment.beside.paper == experiment.paper:
            return None
        return published_numbers.describe(experiment.beside)[1].split(",")[0]

    def other_classes(self, metric: str) -> bool:
        """Whether the paper's mean over all classes is over other classes than ours."""
        published = self.published(metric)
        if published is None or published.classes or self.published_model != self.model:
            return False
        ours = self.metrics[
            (self.metrics["split"] == "test") & self.metrics["threshold_rule"].isin((NO_THRESHOLD, self.study.rule))
        ]
        return not published_numbers.same_classes(ours, self._published, self.model, metric)

    def difference(self, metric: str) -> float:
        """Ours less the paper's, of the numbers as printed; nan where they may not be compared."""
        published = self.published(metric)
        if published is None or self.published_model != self.model or not self.comparable or self.other_classes(metric):
            return float("nan")
        return round(round(published.ours, DECIMALS) - round(published.value, DECIMALS), DECIMALS) + 0.0  # never -0

    @cached_property
    def _published(self) -> pd.DataFrame:
        """The paper's numbers of the metrics that are shown."""
        beside = self.study.experiment.beside
        rows = (
            published_numbers.published(beside)
            if beside
            else pd.DataFrame(columns=["model", "class", "metric", "value", "doubt"])
        )
        return rows[rows["metric"].isin(self.metrics_shown)]

    def _results(self, split: str) -> Results:
        experiment = self.study.experiment
        return Results(
            self.metrics, list(experiment.members), list(experiment.ensembles), pd.DataFrame(), split, rule=self.study.rule
        )


def overview_table(rows: dict[str, Row], hours: dict[str, typeset.Cell] | None = None) -> tuple[typeset.Table, pd.DataFrame]:
    """Set each experiment's data, best model and results beside the published ones.

    Args:
        rows: by experiment, in the order of the rows.
        hours: what `spent` returns for each; None leaves the column out.

    Returns:
        The table, and the same numbers unrounded and with their 95% intervals, without hours.

    Raises:
        ThoraxError: the metrics lack a model or rule, or a paper's experiment is unknown.
    """
    compared = any(row.study.experiment.data == ARCHIVE for row in rows.values())
    metrics = [metric for metric in METRICS if any(metric in row.metrics_shown for row in rows.values())]
    published = [row for row in rows.values() if row.published_model is not None]
    none_comparable = bool(published) and not any(row.comparable for row in published)
    paper = published_numbers.NOT_COMPARABLE if none_comparable else "paper"
    columns = ("ours", paper, "difference") if compared else ("ours", paper)
    f1s = [metric for metric in metrics if metric in F1_MEANINGS]
    groups = [
        typeset.Group("Run on", words=True),
        typeset.Group("Paper", words=True),
        typeset.Group("Data set", words=True),
        typeset.Group("Images", ("train", "val.", "test")),
        typeset.Group("Classes"),
        typeset.Group("Model", ("ours", "paper"), "results", words=True),
        *(typeset.Group(METRICS[metric], columns, "results") for metric in metrics),
        *([typeset.Group("Hours", section="hours")] if hours is not None else []),
    ]
    body, records = [], []
    for name, row in rows.items():
        experiment, archive = row.study.experiment, archives.ARCHIVES[row.study.dataset.archive].title
        record: dict[str, object] = {
            "experiment": name, "data": experiment.data, "paper": experiment.paper, "dataset": row.study.label_set.dataset,
            "archive": row.study.dataset.archive, **row.images, "classes": len(class_columns(row.labels)), "model": row.model,
            "published_model": row.published_model, "threshold_rule": row.study.rule,
        }  # fmt: skip
        cells = [
            typeset.Cell(experiment.data, bold=experiment.data != ARCHIVE),
            typeset.Cell(published_numbers.citation(experiment.paper)[0] if experiment.paper else _NONE),
            typeset.Cell(
                row.study.label_set.dataset, detail=archive if experiment.data == ARCHIVE else f"in the form of {archive}"
            ),
            *(typeset.Cell(f"{row.images[part]:,}") for part in SPLIT_NAMES),
            typeset.Cell(str(record["classes"])),
            typeset.Cell(row.model, detail="" if row.study.rule == FIXED else row.study.rule),
            typeset.Cell(row.published_model or _NONE, detail=f"of {row.published_by}" if row.published_by else ""),
        ]
        for metric in metrics:
            if metric not in row.metrics_shown:
                cells += [typeset.Cell(_NONE)] * len(columns)
                continue
            shown, numbers = _metric(row, metric, "" if row.comparable or none_comparable else _APART)
            cells += shown[: len(columns)]
            record |= numbers
        body.append((experiment.title, (*cells, *([hours[name]] if hours is not None else []))))
        records.append(record)
    doubtful = any("?" in cell.text for _, cells in body for cell in cells[9:])  # the numbers
    meanings = "; ".join(f"{METRICS[metric]}: {F1_MEANINGS[metric]}" for metric in f1s)
    notes = [*_NOTES, f"{_TWO_F1 if len(f1s) > 1 else ''}{meanings}."]
    notes += list(dict.fromkeys(note for row in rows.values() for note in row.votes))
    notes += [*([_DIFFERENCE] if compared else []), *([_HOURS] if hours is not None else [])]
    notes += [f"{row.study.experiment.title}: {row.why_not}" for row in rows.values() if row.why_not]
    for row in rows.values():
        apart = [METRICS[metric] for metric in row.metrics_shown if row.other_classes(metric)]
        if apart and row.comparable:
            notes.append(_OTHER_CLASSES.format(title=row.study.experiment.title, metrics=", ".join(apart)))
    notes += [_NOT_COMPARABLE] if any(_APART in cell.text for _, cells in body for cell in cells[9:]) else []
    notes += ["? The published number is in doubt; in the HTML, hover over the number to see why."] if doubtful else []
    table = typeset.Table(
        title="Overview of the experiments",
        caption="Every experiment of the run: what it was run on, its best model's results on the test images, and the published ones.",
        data=run_on({row.study.experiment.title: row.study.experiment.data for row in rows.values()}),
        groups=tuple(groups),
        name_heading="Experiment",
        rows=tuple(body),
        notes=tuple(notes),
    )
    return table, pd.DataFrame(records)


def run_on(data: Mapping[str, str]) -> str:
    """Say plainly what experiments were run on: all on the same, or which on what.

    Args:
        data: a key of `DATA_SENTENCES` by the experiment's title.
    """
    used = [name for name in DATA_SENTENCES if name in data.values()]
    if len(used) == 1:
        return f"Run on: {used[0]}. {DATA_SENTENCES[used[0]]}"
    titles = {name: "; ".join(title for title, its in data.items() if its == name) for name in used}
    return " ".join(f"Run on: {name} ({titles[name]}). {DATA_SENTENCES[name]}" for name in used)


def _metric(row: Row, metric: str, mark: str) -> tuple[list[typeset.Cell], dict[str, object]]:
    """Ours, the paper's with a mark, and the difference, as cells and as numbers."""
    (value, low, high), published, difference = row.number(metric), row.published(metric), row.difference(metric)
    interval = f"{low:.{DECIMALS}f}–{high:.{DECIMALS}f}" if np.isfinite(low) else ""
    numbers: dict[str, object] = {metric: value, f"{metric} low": low, f"{metric} high": high}
    if published is None:
        numbers |= {f"{metric} published": np.nan, f"{metric} published classes": np.nan, f"{metric} difference": np.nan}
        return [typeset.Cell(_printed(value), detail=interval), typeset.Cell(_NONE), typeset.Cell(_NONE)], numbers
    numbers |= {
        f"{metric} published": published.value, f"{metric} published classes": published.classes or np.nan,
        f"{metric} difference": difference,
    }  # fmt: skip
    marks = ("?" if published.doubt else "") + ("*" if published.classes else "") + mark
    over = f"over {published.classes} classes" if published.classes else ""
    same = f" ({_printed(published.ours)})" if published.classes else ""
    return [
        typeset.Cell(_printed(value), detail=interval),
        typeset.Cell(_printed(published.value) + marks + same, detail=over, hover=published.doubt),
        typeset.Cell(f"{difference:+.{DECIMALS}f}" if np.isfinite(difference) else _NONE),
    ], numbers


def _printed(value: float) -> str:
    return f"{value:.{DECIMALS}f}" if np.isfinite(value) else _NONE


def spent(experiment: str, members: Iterable[str], benchmarks: Path, logs: Path) -> typeset.Cell:
    """Hours of an experiment's trainings and predictions, from what Snakemake and the jobs' logs recorded.

    Args:
        experiment: its name.
        members: its networks.
        benchmarks: the folder of Snakemake's benchmark files, {step}/{experiment}/{member}.tsv; the column s is seconds.
        logs: the folder of logs, {step}/{experiment}/{member}.log, which name the device.

    Raises:
        ThoraxError: a benchmark file without seconds.
    """
    jobs = [Path(step, experiment, member) for member in members for step in ("train", "predict")]
    hours: dict[str, float] = defaultdict(float)
    missing = resumed = 0
    for job in jobs:
        benchmark, log = (benchmarks / job).with_name(f"{job.name}.tsv"), (logs / job).with_name(f"{job.name}.log")
        if not benchmark.is_file():
            missing += 1
            continue
        said = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        gpus = backend.said_gpus(said)
        resumed += any(line.startswith(RESUMED) for line in said.splitlines())
        unit = "hours on an unrecorded device" if gpus is None else "GPU-hours" if gpus else "hours, no GPU"
        hours[unit] += _seconds(benchmark) / 3600 * (gpus or 1)
    if missing == len(jobs):
        return typeset.Cell(NOT_RECORDED)
    order = ("GPU-hours", "hours, no GPU", "hours on an unrecorded device")
    first, *others = [f"{_hours(hours[unit])} {unit}" for unit in order if unit in hours]
    unknown = [f"{missing} of {len(jobs)} jobs {NOT_RECORDED}"] if missing else []
    unknown += [f"{resumed} went on after an interruption"] if resumed else []
    return typeset.Cell(
        ("at least " if unknown else "") + first, detail="; ".join([*(f"and {part}" for part in others), *unknown])
    )


def _seconds(benchmark: Path) -> float:
    try:
        seconds = store.read_csv(benchmark, sep="\t")["s"].astype(float).sum()
    except (KeyError, ValueError) as error:
        raise ThoraxError(f"{benchmark} is no benchmark file of Snakemake: delete it.") from error
    return float(seconds)


def _hours(hours: float) -> str:
    if hours < 0.001:
        return "under 0.001"
    return f"{hours:,.1f}" if hours >= 10 else f"{hours:.2g}"


def make_overview(
    settings: Studies,
    metrics: dict[str, Path],
    labels: dict[str, Path],
    splits: dict[str, Path],
    benchmarks: Path,
    logs: Path,
    out: Path,
) -> None:
    """Write overview.html, .md, .tex and .csv into a folder; only the HTML has the hours.

    Args:
        settings: the experiments in the order of the rows.
        metrics, labels, splits: `metrics/{experiment}.parquet`, `labels/{label_set}.parquet`, `splits/{split}.parquet`, each by
            experiment.
        benchmarks, logs: as in `spent`.
        out: the folder.

    Raises:
        ThoraxError: as in `overview_table` and `spent`; a missing table, or an experiment without one.
    """
    rows = {}
    for name, study in settings.root.items():
        for flag, paths in (("metrics", metrics), ("labels", labels), ("splits", splits)):
            if name not in paths:
                raise ThoraxError(f"Experiment {name!r} has no table under --{flag}: name it.")
        rows[name] = Row(study, store.read_table(metrics[name]), store.read_table(labels[name]), store.read_table(splits[name]))
    hours = {name: spent(name, study.experiment.members, benchmarks, logs) for name, study in settings.root.items()}
    table, values = overview_table(rows)
    on_page, _ = overview_table(rows, hours)
    typeset.write(table, values, Path(out), "overview", on_page)
