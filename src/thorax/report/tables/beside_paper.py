"""Tables that show the papers' numbers beside ours: by class, over all classes, and for variants of one experiment.

A difference is ours less the paper's. It is only taken where both measure the same: on the paper's archive, and on test images that
are chosen as the paper's are (`published_numbers.why_not`). On phantoms and samples it would measure the images, not the
reproduction, and a small one would look like success. The paper's numbers are in the table all the same, under a heading that says
what ours are, and a sentence says why there is no difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from thorax.config import AblationColumns, Beside
from thorax.errors import ThoraxError
from thorax.evaluation.metrics import GLOBAL
from thorax.report import published_numbers, typeset
from thorax.report.tables.results import DATA_SENTENCES, DECIMALS, Results, votes_note
from thorax.storage import store

METRICS = {
    "auc": "AUC",
    "f1": "F1-score",
    "f1_positive": "F1-score, positive side",
    "precision": "Precision",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "hamming": "Hamming loss",
    "accuracy": "Binary accuracy",
    "auc_thresholded": "AUC of decisions",
}
ARCHIVE = "archive"
SHARED = "Mean over shared classes"
NOT_COMPARED = "The paper's numbers were measured on other images than ours: no difference is taken."
_UNDEFINED = "–"
_DIFFERENCE = (
    "Difference: ours less the paper's, of the numbers as printed; in bold where the paper's number is outside our 95% interval "
    "(bootstrap over patients) and not in doubt."
)
_DOUBT = (
    "? The published number is in doubt: not legible in the scanned table, or not checked against its source; in the HTML, hover "
    "over the number to see which."
)
_F1 = {
    "f1": "F1-score: mean over the positive and the negative class, as the paper's.",
    "f1_positive": "F1-score: of the positive class alone, 2PR / (P + R), as the paper's.",
}
_OTHER_CLASSES = "Global has no difference where the paper's mean is over other classes than ours"
_MISSING = f"{_UNDEFINED}: the paper or our label set does not have it, or it is undefined."


@dataclass(frozen=True)
class Compared:
    """One experiment beside a paper's.

    Args:
        metrics: the rows of `catalog.METRICS`.
        beside: which published numbers.
        members: the single models.
        ensembles: the ensembles.
        title: of the experiment.
        data: a key of `tables.DATA_SENTENCES`.
        archive: a key of `datasets.ARCHIVES`; None where it is not known.
        test_part: what `published_numbers.tested_on` says of the split; None where it is not known.
    """

    metrics: pd.DataFrame
    beside: Beside
    members: Sequence[str]
    ensembles: Sequence[str]
    title: str
    data: str = ARCHIVE
    archive: str | None = None
    test_part: str | None = None

    @cached_property
    def why_not(self) -> str:
        """Why no difference is taken, in a sentence; blank where it is."""
        return published_numbers.why_not(self.beside, self.archive, self.test_part) if self.data == ARCHIVE else NOT_COMPARED

    @property
    def columns(self) -> tuple[str, ...]:
        """The headings of each metric's numbers."""
        if not self.why_not:
            return "ours", "paper", "difference"
        return ("ours" if self.data == ARCHIVE else f"ours ({self.data})"), published_numbers.NOT_COMPARABLE

    @cached_property
    def frame(self) -> pd.DataFrame:
        """What `published_numbers.compare` returns, without models that the experiment does not have, and what ours were run on."""
        frame = published_numbers.compare(self.metrics, self.beside, difference=not self.why_not)
        chosen = frame["model"].isin([*self.members, *self.ensembles])
        return frame[chosen].assign(data=self.data).reset_index(drop=True)

    @cached_property
    def numbers(self) -> dict[tuple[str, str, str], dict]:
        """The frame's rows by model, class and metric."""
        return {(row["model"], row["class"], row["metric"]): row for row in self.frame.to_dict("records")}

    @cached_property
    def other_classes(self) -> bool:
        """Whether a mean over all classes has no difference because the paper's is over other classes."""
        whole = self.frame[self.frame["class"] == GLOBAL].dropna(subset=["ours", "published"])
        return not self.why_not and bool(whole["difference"].isna().any())

    @cached_property
    def classes(self) -> list[str]:
        """The classes in the paper's order, then those that only ours have, in our order."""
        theirs = [name for name in published_numbers.published(self.beside)["class"] if name != GLOBAL]
        ours = [name for name in self.frame["class"] if name != GLOBAL]
        return list(dict.fromkeys([*theirs, *ours]))

    @cached_property
    def in_both(self) -> list[str]:
        """The models that have published numbers, in our order.

        Raises:
            ThoraxError: there is none.
        """
        theirs = set(self.frame.loc[self.frame["published"].notna(), "model"])
        models = [model for model in (*self.members, *self.ensembles) if model in theirs]
        if not models:
            raise ThoraxError(
                f"{self.beside.paper}, {self.beside.variant} has no numbers of {', '.join((*self.members, *self.ensembles))}: name "
                "under beside.models which of its models is which of ours."
            )
        return models

    @cached_property
    def shown(self) -> list[str]:
        """The models of the table by class.

        The ensemble with the paper's highest mean AUC, and the network with our highest one on the validation images: chosen
        without a look at our test images.
        """
        ensembles = [model for model in self.in_both if model in self.ensembles]
        means = {model: self._mean_published(model) for model in ensembles}
        best_ensemble = sorted(ensembles, key=lambda model: -means[model])[:1]
        rows = self.metrics[
            (self.metrics["split"] == "val") & (self.metrics["class"] == GLOBAL) & (self.metrics["metric"] == "auc")
        ]
        on_val = dict(zip(rows["model"], rows["value"].astype(float).fillna(-np.inf), strict=True))
        members = [model for model in self.in_both if model in self.members]
        best_member = sorted(members, key=lambda model: -on_val.get(model, -np.inf))[:1]
        return best_ensemble + best_member

    def _mean_published(self, model: str) -> float:
        rows = self.frame[(self.frame["model"] == model) & (self.frame["metric"] == "auc") & (self.frame["class"] != GLOBAL)]
        return float(rows["published"].mean())

    def metrics_of(self, models: Sequence[str], of_classes: bool) -> list[str]:
        """The metrics that the paper has of these models, of single classes or over all of them."""
        rows = self.frame[self.frame["model"].isin(models) & self.frame["published"].notna()]
        rows = rows[(rows["class"] != GLOBAL) == of_classes]
        return [metric for metric in METRICS if metric in set(rows["metric"])]

    @property
    def published_metrics(self) -> set[str]:
        """The metrics that the paper has of any of our models."""
        return set(self.frame.loc[self.frame["published"].notna(), "metric"])

    @property
    def votes(self) -> list[str]:
        """A sentence on the models whose AUC is that of votes."""
        return votes_note(Results(self.metrics, self.members, self.ensembles, pd.DataFrame()))

    def cells(self, model: str, name: str, metric: str) -> list[typeset.Cell]:
        """Ours, the paper's and, where one may be taken, the difference."""
        return _cells(self.numbers.get((model, name, metric)), not self.why_not)

    def shared_cells(self, model: str, metric: str) -> list[typeset.Cell]:
        """The same of the means over the classes for which both numbers are there."""
        rows = self.frame[(self.frame["model"] == model) & (self.frame["metric"] == metric) & (self.frame["class"] != GLOBAL)]
        both = rows.dropna(subset=["ours", "published"])
        if both.empty:
            return _cells(None, not self.why_not)
        doubt = "; ".join(sorted(set(both["doubt"]))) if both["doubt"].ne("").all() else ""  # a few do not change a mean much
        ours, published = both["ours"].mean(), both["published"].mean()
        means = {"ours": ours, "published": published, "low": np.nan, "high": np.nan, "difference": ours - published}
        return _cells({**means, "doubt": doubt}, not self.why_not)


def per_class_table(compared: Compared) -> tuple[typeset.Table, pd.DataFrame]:
    """Set ours and the paper's numbers by class for one ensemble and one network.

    Returns:
        The table, and all models' numbers, unrounded and with our intervals, one row per model, class and metric.

    Raises:
        ThoraxError: as in `published_numbers.compare` and `Compared.in_both`.
    """
    shown = compared.shown
    metrics = compared.metrics_of(shown, of_classes=True) or compared.metrics_of(shown, of_classes=False)
    places = [(model, metric) for model in shown for metric in metrics]

    def row(name: str) -> tuple[typeset.Cell, ...]:
        return tuple(cell for model, metric in places for cell in compared.cells(model, name, metric))

    rows = [(name[:1].upper() + name[1:], row(name)) for name in compared.classes]
    if compared.metrics_of(shown, of_classes=False):
        rows.append((GLOBAL, row(GLOBAL)))
    if not compared.why_not:
        rows.append((SHARED, tuple(cell for model, metric in places for cell in compared.shared_cells(model, metric))))
    groups = [typeset.Group(f"{model}: {METRICS[metric]}", compared.columns, model) for model, metric in places]
    table = _table(compared.title, "each class beside the paper", [compared], groups, "Class", rows, total=not compared.why_not)
    return table, compared.frame


def global_table(compared: Compared) -> tuple[typeset.Table, pd.DataFrame]:
    """Set ours and the paper's numbers over all classes, one row per model.

    Returns:
        The table, and the same numbers unrounded and with our intervals.

    Raises:
        ThoraxError: as in `per_class_table`.
    """
    metrics = compared.metrics_of(compared.in_both, of_classes=False)
    rows = []
    for model in compared.in_both:
        cells = [cell for metric in metrics for cell in compared.cells(model, GLOBAL, metric)]
        cells += [cell for metric in _means(compared) for cell in compared.shared_cells(model, metric)]
        rows.append((model, tuple(cells)))
    groups = [typeset.Group(METRICS[metric], compared.columns, metric) for metric in metrics]
    groups += [typeset.Group(f"{METRICS[metric]}, shared classes", compared.columns, SHARED) for metric in _means(compared)]
    table = _table(compared.title, "all classes beside the paper", [compared], groups, "Model", rows)
    return table, compared.frame[compared.frame["class"] == GLOBAL].reset_index(drop=True)


def ablation_table(title: str, experiments: dict[str, Compared]) -> tuple[typeset.Table, pd.DataFrame]:
    """Set variants of one experiment side by side, as Tables 5, 7 and 9 of Liz et al. 2022: one row per metric and model.

    Args:
        title: of the table.
        experiments: by name, in the order of the columns, with the same members and ensembles and run on the same data.

    Returns:
        The table, and the same numbers unrounded and with our intervals; `experiment` names the variant.

    Raises:
        ThoraxError: as in `published_numbers.compare`; or they were run on different data.
    """
    first = next(iter(experiments.values()))
    for name, compared in experiments.items():
        if compared.data != first.data:
            raise ThoraxError(f"{name!r} was run on {compared.data} and others on {first.data}: compare runs on the same data.")
    models = [model for model in (*first.members, *first.ensembles) if any(model in c.in_both for c in experiments.values())]
    metrics = [m for m in METRICS if any(m in c.metrics_of(models, of_classes=False) for c in experiments.values())]
    rows = [
        (
            f"{METRICS[metric]}, {model}",
            tuple(cell for compared in experiments.values() for cell in compared.cells(model, GLOBAL, metric)),
        )
        for metric in metrics
        for model in models
    ]
    headings = {name: published_numbers.describe(compared.beside)[0] for name, compared in experiments.items()}
    groups = [typeset.Group(headings[name], experiments[name].columns, name) for name in experiments]
    frames = [c.frame[c.frame["class"] == GLOBAL].assign(experiment=name) for name, c in experiments.items()]
    return _table(title, "", list(experiments.values()), groups, "", rows), pd.concat(frames, ignore_index=True)


def _means(compared: Compared) -> list[str]:
    """The metrics whose means over shared classes are shown: where a difference is taken, and where the paper has nothing over all classes."""
    needed = not compared.why_not or not compared.metrics_of(compared.in_both, of_classes=False)
    return compared.metrics_of(compared.in_both, of_classes=True) if needed else []


def _cells(number: dict | None, with_difference: bool) -> list[typeset.Cell]:
    number = number or {"ours": np.nan, "published": np.nan, "low": np.nan, "high": np.nan, "difference": np.nan, "doubt": ""}
    ours, published, low, high = (float(number[key]) for key in ("ours", "published", "low", "high"))
    interval = f"95% interval {low:.{DECIMALS}f}–{high:.{DECIMALS}f}" if np.isfinite(low) else ""
    cells = [
        typeset.Cell(f"{ours:.{DECIMALS}f}" if np.isfinite(ours) else _UNDEFINED, hover=interval),
        typeset.Cell(
            f"{published:.{DECIMALS}f}{'?' if number['doubt'] else ''}" if np.isfinite(published) else _UNDEFINED,
            hover=number["doubt"],
        ),
    ]
    if not with_difference:
        return cells
    if not np.isfinite(number["difference"]):
        return [*cells, typeset.Cell(_UNDEFINED)]
    difference = round(round(ours, DECIMALS) - round(published, DECIMALS), DECIMALS) + 0.0  # never -0
    outside = bool(not number["doubt"] and np.isfinite(low) and not low <= published <= high)
    return [*cells, typeset.Cell(f"{difference:+.{DECIMALS}f}", bold=outside)]


def _table(
    title: str,
    what: str,
    experiments: list[Compared],
    groups: list[typeset.Group],
    name_heading: str,
    rows: list[tuple[str, tuple[typeset.Cell, ...]]],
    total: bool = False,
) -> typeset.Table:
    data = experiments[0].data
    if data not in DATA_SENTENCES:
        raise ThoraxError(f"data is {data!r}: choose one of {', '.join(DATA_SENTENCES)}.")
    sources = "; ".join(dict.fromkeys(published_numbers.describe(compared.beside)[1] for compared in experiments))
    why_not = dict.fromkeys(compared.why_not for compared in experiments if compared.why_not)
    caveats = dict.fromkeys(note for compared in experiments if (note := published_numbers.note(compared.beside)))
    doubtful = any(cell.text.endswith("?") for _, cells in rows for cell in cells)
    shown = any(name == SHARED for name, _ in rows) or any(group.section == SHARED for group in groups)
    apart = f"{_OTHER_CLASSES}{'; the means over shared classes have one' * shown}."
    return typeset.Table(
        title=": ".join(filter(None, (title, what))),
        caption=f"Our test results beside published ones. Paper: {sources}.",
        data=" ".join([DATA_SENTENCES[data], *why_not]),
        groups=tuple(groups),
        name_heading=name_heading,
        rows=tuple(rows),
        total=total,
        notes=(
            *([] if all(compared.why_not for compared in experiments) else [_DIFFERENCE]),
            *([apart] if any(compared.other_classes for compared in experiments) else []),
            _MISSING,
            *caveats,
            *(text for metric, text in _F1.items() if any(metric in compared.published_metrics for compared in experiments)),
            *dict.fromkeys(note for compared in experiments for note in compared.votes),
            *(["Shared classes: those for which both numbers are there; both means are over them."] if shown else []),
            *([_DOUBT] if doubtful else []),
        ),
    )


def _test_part(archive: str | None, split: Path | None, official: bool) -> str | None:
    if archive is None or split is None:
        return None
    return published_numbers.tested_on(archive, official, store.read_table(split, ["image_id", "split"]))


def make_beside(
    title: str,
    data: str,
    settings: Beside,
    metrics: Path,
    members: list[str],
    ensembles: list[str],
    out: Path,
    archive: str | None = None,
    split: Path | None = None,
    official_lists: bool = False,
) -> None:
    """Write beside_per_class and beside_global as .html, .md, .tex and .csv into a folder.

    Args:
        title: of the experiment.
        data: "phantom", "sample" or "archive".
        settings: which published numbers.
        metrics: `metrics/{experiment}.parquet`.
        members: the single models.
        ensembles: the ensembles.
        out: the folder.
        archive: a key of `datasets.ARCHIVES`.
        split: `splits/{split}.parquet`.
        official_lists: whether it follows the archive's own lists.

    Raises:
        ThoraxError: as in `per_class_table`, or a missing table.
    """
    test_part = _test_part(archive, split, official_lists)
    compared = Compared(store.read_table(metrics), settings, members, ensembles, title, data, archive, test_part)
    for name, make in (("beside_per_class", per_class_table), ("beside_global", global_table)):
        table, values = make(compared)
        typeset.write(table, values, Path(out), name)


def make_ablation(
    title: str,
    data: str,
    settings: AblationColumns,
    metrics: dict[str, Path],
    members: list[str],
    ensembles: list[str],
    out: Path,
    archive: str | None = None,
    split: Path | None = None,
    official_lists: bool = False,
) -> None:
    """Write ablation.html, .md, .tex and .csv into a folder.

    Args:
        title: of the table.
        data: "phantom", "sample" or "archive".
        settings: the published numbers of each experiment, in the order of the columns.
        metrics: `metrics/{experiment}.parquet` by experiment.
        members: the single models, in the order of the rows.
        ensembles: the ensembles, in the order of the rows.
        out: the folder.
        archive, split, official_lists: as in `make_beside`; all experiments have the same.

    Raises:
        ThoraxError: as in `ablation_table`, or an experiment without metrics.
    """
    lacking = [name for name in settings.root if name not in metrics]
    if lacking:
        raise ThoraxError(f"Experiment {lacking[0]!r} has no metrics: name its table under --metrics.")
    test_part = _test_part(archive, split, official_lists)
    experiments = {
        name: Compared(store.read_table(metrics[name]), beside, members, ensembles, title, data, archive, test_part)
        for name, beside in settings.root.items()
    }
    table, values = ablation_table(title, experiments)
    typeset.write(table, values, Path(out), "ablation")
