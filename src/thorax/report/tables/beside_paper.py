"""Tables that show published numbers next to ours: by class, over all classes, and for variants of one experiment.

A difference is ours minus the paper's. It is only taken where both measure the same: on the paper's archive, and on test images that
are chosen as the paper's are (`published_numbers.why_not`). On phantoms and samples it would measure the images, not the
reproduction; there a sentence says why there is no difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thorax.config import AblationColumns, Beside
from thorax.errors import ThoraxError
from thorax.evaluation.metrics import GLOBAL, NO_THRESHOLD
from thorax.report import published_numbers
from thorax.report.cells import METRICS, UNDEFINED, Estimate, cell, difference, difference_cell, printed
from thorax.report.tables.results import PROVENANCE, Results, by_name, votes_note
from thorax.report.typeset import Cell, Group, Row, Table, write
from thorax.storage import store
from thorax.storage.schemas import DIFFERENCES

FULL = "full"
SHARED = "Mean over shared classes"
NOT_COMPARED = "The paper's numbers were measured on other images than ours: no difference is taken."
_DIFFERENCE = (
    "Difference: ours minus the paper's, of the numbers as printed; in bold where the paper's number is outside our 95% interval "
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
_CHANGE = (
    "Change: ours minus ours of the same model in {}, on the same test images, of the unrounded numbers; in bold where its 95% interval "
    "(paired bootstrap over patients) excludes 0."
)
_UNKNOWN = (np.nan, np.nan, np.nan)
_MISSING = f"{UNDEFINED}: the paper or our label set does not have it, or it is undefined."
_NOTHING = {"ours": np.nan, "published": np.nan, "low": np.nan, "high": np.nan, "difference": np.nan, "doubt": ""}


@dataclass(frozen=True)
class Compared:
    """One experiment (`metrics`: rows of `schemas.METRICS`) and a paper's; archive and test part are None if not known."""

    metrics: pd.DataFrame
    beside: Beside
    members: Sequence[str]
    ensembles: Sequence[str]
    title: str
    provenance: str = FULL
    archive: str | None = None
    test_part: str | None = None

    @cached_property
    def why_not(self) -> str:
        """Why no difference is taken, in a sentence; blank where it is."""
        return published_numbers.why_not(self.beside, self.archive, self.test_part) if self.provenance == FULL else NOT_COMPARED

    @property
    def columns(self) -> tuple[str, ...]:
        """The headings of each metric's numbers."""
        if not self.why_not:
            return "ours", "paper", "difference"
        return ("ours" if self.provenance == FULL else f"ours ({self.provenance})"), published_numbers.NOT_COMPARABLE

    @cached_property
    def frame(self) -> pd.DataFrame:
        """What `published_numbers.compare` returns of the experiment's models, with the data that ours were run on."""
        frame = published_numbers.compare(self.metrics, self.beside, difference=not self.why_not)
        chosen = frame["model"].isin([*self.members, *self.ensembles])
        return frame[chosen].assign(provenance=self.provenance).reset_index(drop=True)

    @cached_property
    def whole(self) -> pd.DataFrame:
        """The rows over all classes."""
        return self.frame[self.frame["class"] == GLOBAL].reset_index(drop=True)

    @cached_property
    def numbers(self) -> dict[tuple[str, str, str], dict]:
        """The frame's rows by model, class and metric."""
        return {(row["model"], row["class"], row["metric"]): row for row in self.frame.to_dict("records")}

    @cached_property
    def other_classes(self) -> bool:
        """Whether a mean over all classes has no difference because the paper's is over other classes."""
        both = self.whole.dropna(subset=["ours", "published"])
        return not self.why_not and bool(both["difference"].isna().any())

    @cached_property
    def in_both(self) -> list[str]:
        """The models that have published numbers, in our order; a ThoraxError where there is none."""
        ours, theirs = [*self.members, *self.ensembles], set(self.frame.loc[self.frame["published"].notna(), "model"])
        if not theirs:
            problem = f"{self.beside.paper}, {self.beside.variant} has no numbers of {', '.join(ours)}"
            raise ThoraxError(f"{problem}: name under beside.models which of its models is which of ours.")
        return [model for model in ours if model in theirs]

    @cached_property
    def shown(self) -> list[str]:
        """The paper's ensemble of the highest mean AUC, and our best network on validation images, for the table by class."""
        of_classes = self.frame[(self.frame["metric"] == "auc") & (self.frame["class"] != GLOBAL)]
        published = of_classes.groupby("model")["published"].mean()
        rows = self.metrics
        rows = rows[(rows["split"] == "val") & (rows["class"] == GLOBAL) & (rows["metric"] == "auc")]
        on_val = dict(zip(rows["model"], rows["value"].astype(float).fillna(-np.inf), strict=True))
        ensembles = sorted((m for m in self.in_both if m in self.ensembles), key=lambda model: -published.get(model, np.nan))
        members = sorted((m for m in self.in_both if m in self.members), key=lambda model: -on_val.get(model, -np.inf))
        return ensembles[:1] + members[:1]

    def metrics_of(self, models: Sequence[str], of_classes: bool) -> list[str]:
        """The metrics that the paper has of these models, of single classes or over all of them."""
        rows = self.frame[self.frame["model"].isin(models) & self.frame["published"].notna()]
        rows = rows[(rows["class"] != GLOBAL) == of_classes]
        return [metric for metric in METRICS if metric in set(rows["metric"])]

    @property
    def notes(self) -> tuple[list[str], ...]:
        """What must be known of the paper's numbers, of F1 and of our models."""
        known = set(self.frame.loc[self.frame["published"].notna(), "metric"])
        f1 = [text for metric, text in _F1.items() if metric in known]
        votes = votes_note(Results(self.metrics, self.members, self.ensembles, pd.DataFrame()))
        return [published_numbers.variant(self.beside)["note"]], f1, votes

    def cells(self, model: str, name: str, metric: str) -> list[Cell]:
        """Ours, the paper's and, where one may be taken, the difference."""
        return self._cells(self.numbers.get((model, name, metric), _NOTHING))

    def shared_cells(self, model: str, metric: str) -> list[Cell]:
        """The same of the means over the classes for which both numbers are known."""
        rows = self.frame[(self.frame["model"] == model) & (self.frame["metric"] == metric) & (self.frame["class"] != GLOBAL)]
        both = rows.dropna(subset=["ours", "published"])
        if both.empty:
            return self._cells(_NOTHING)
        doubt = "; ".join(sorted(set(both["doubt"]))) if both["doubt"].ne("").all() else ""  # a few do not change a mean much
        ours, published = both["ours"].mean(), both["published"].mean()
        return self._cells(_NOTHING | {"ours": ours, "published": published, "difference": ours - published, "doubt": doubt})

    def _cells(self, row: Mapping[str, Any]) -> list[Cell]:
        ours, published, low, high = (float(row[key]) for key in ("ours", "published", "low", "high"))
        doubt = "?" if row["doubt"] and np.isfinite(published) else ""
        cells = [cell((ours, low, high)), Cell(printed(published) + doubt, hover=row["doubt"])]
        if self.why_not:
            return cells
        outside = bool(not row["doubt"] and np.isfinite(low) and not low <= published <= high)
        taken = np.isfinite(row["difference"])
        return [*cells, Cell(printed(difference(ours, published) if taken else np.nan, sign=True), bold=taken and outside)]


def per_class_table(compared: Compared) -> tuple[Table, pd.DataFrame]:
    """Arrange ours and the paper's numbers by class for one ensemble and one network.

    The frame is `Compared.frame`. Errors as in `published_numbers.compare` and `Compared.in_both`.
    """
    shown = compared.shown
    over_all = compared.metrics_of(shown, of_classes=False)
    places = [(model, metric) for model in shown for metric in compared.metrics_of(shown, of_classes=True) or over_all]
    theirs = published_numbers.published(compared.beside)["class"]
    names = dict.fromkeys([*theirs, *compared.frame["class"]])
    headings = {name: name[:1].upper() + name[1:] for name in names if name != GLOBAL} | ({GLOBAL: GLOBAL} if over_all else {})
    rows = [
        (heading, tuple(cell for model, metric in places for cell in compared.cells(model, name, metric)))
        for name, heading in headings.items()
    ]
    if not compared.why_not:
        rows.append((SHARED, tuple(cell for model, metric in places for cell in compared.shared_cells(model, metric))))
    groups = [Group(f"{model}: {METRICS[metric].heading}", compared.columns, model) for model, metric in places]
    title = f"{compared.title}: each class next to the paper"
    return _table(title, [compared], groups, "Class", rows, total=not compared.why_not), compared.frame


def global_table(compared: Compared) -> tuple[Table, pd.DataFrame]:
    """Arrange ours and the paper's numbers over all classes, one row per model; errors as in `per_class_table`.

    The means over shared classes are shown where a difference is taken, or where the paper has nothing over all classes.
    """
    metrics, means = (compared.metrics_of(compared.in_both, of_classes) for of_classes in (False, True))
    if compared.why_not and metrics:
        means = []
    rows = []
    for model in compared.in_both:
        cells = [cell for metric in metrics for cell in compared.cells(model, GLOBAL, metric)]
        rows.append((model, tuple(cells + [cell for metric in means for cell in compared.shared_cells(model, metric)])))
    groups = [Group(METRICS[metric].heading, compared.columns, metric) for metric in metrics]
    groups += [Group(f"{METRICS[metric].heading}, shared classes", compared.columns, SHARED) for metric in means]
    title = f"{compared.title}: all classes next to the paper"
    return _table(title, [compared], groups, "Model", rows), compared.whole


def ablation_table(title: str, experiments: dict[str, Compared], differences: pd.DataFrame) -> tuple[Table, pd.DataFrame]:
    """Arrange variants of one experiment side by side, as Tables 5, 7 and 9 of Liz et al. 2022: one row per metric and model.

    The experiments, in the order of the columns, have the same members and ensembles. In the frame `experiment` names the variant, and
    `change` is ours minus ours of the first variant: `differences` are the rows of `schemas.DIFFERENCES`, of EXPERIMENT/MODEL.
    """
    first = next(iter(experiments.values()))
    for name, compared in experiments.items():
        if compared.provenance != first.provenance:
            problem = f"{name!r} was run on {compared.provenance} and others on {first.provenance}"
            raise ThoraxError(f"{problem}: compare runs on the same data.")
    models = [model for model in (*first.members, *first.ensembles) if any(model in c.in_both for c in experiments.values())]
    metrics = [m for m in METRICS if any(m in c.metrics_of(models, of_classes=False) for c in experiments.values())]
    changes = _changes(differences, experiments)
    rows = []
    for metric, model in product(metrics, models):
        cells: list[Cell] = []
        for name, compared in experiments.items():
            cells += compared.cells(model, GLOBAL, metric)
            cells += [difference_cell(changes.get((f"{name}/{model}", metric), _UNKNOWN))] * (compared is not first)
        rows.append((f"{METRICS[metric].heading}, {model}", tuple(cells)))
    groups = [
        Group(
            published_numbers.variant(compared.beside)["heading"],
            compared.columns if compared is first else (*compared.columns, "change"),
            name,
        )
        for name, compared in experiments.items()
    ]
    frames = []
    for name, compared in experiments.items():
        keys = zip(name + "/" + compared.whole["model"], compared.whole["metric"], strict=True)
        change = pd.DataFrame([changes.get(key, _UNKNOWN) for key in keys], columns=["change", "change low", "change high"])
        frames.append(pd.concat([compared.whole.assign(experiment=name), change], axis=1))
    table = _table(title, list(experiments.values()), groups, "", rows)
    heading = published_numbers.variant(first.beside)["heading"]
    return replace(table, notes=(_CHANGE.format(heading), *table.notes)), pd.concat(frames, ignore_index=True)


def _changes(differences: pd.DataFrame, experiments: Mapping[str, Compared]) -> dict[tuple[str, ...], Estimate]:
    """The differences over all classes from the first variant, by EXPERIMENT/MODEL and metric; of variants with its threshold rule."""
    name, first = next(iter(experiments.items()))
    rule = first.beside.threshold_rule
    alike = [other for other, compared in experiments.items() if compared.beside.threshold_rule == rule]
    rows = differences[(differences["class"] == GLOBAL) & differences["threshold_rule"].isin((NO_THRESHOLD, rule))]
    found = by_name(rows, ("model", "other", "metric"), "difference")
    return {
        (model, metric): number
        for (model, other, metric), number in found.items()
        if model.partition("/")[0] in alike and other == f"{name}/{model.partition('/')[2]}"
    }


def _table(
    title: str, experiments: list[Compared], groups: list[Group], name_heading: str, rows: list[Row], total: bool = False
) -> Table:
    doubtful = any(cell.text.endswith("?") for _, cells in rows for cell in cells)
    shared = any(name == SHARED for name, _ in rows) or any(group.section == SHARED for group in groups)
    apart = f"{_OTHER_CLASSES}{'; the means over shared classes have one' * shared}."
    by_kind = zip(*(compared.notes for compared in experiments), strict=True)
    about = [text for kind in by_kind for texts in kind for text in texts if text]
    reasons = dict.fromkeys(compared.why_not for compared in experiments if compared.why_not)
    sources = dict.fromkeys(published_numbers.variant(compared.beside)["description"] for compared in experiments)
    notes = {
        _DIFFERENCE: not all(compared.why_not for compared in experiments),
        apart: any(compared.other_classes for compared in experiments),
        _MISSING: True,
        **dict.fromkeys(about, True),
        "Shared classes: those for which both numbers are there; both means are over them.": shared,
        _DOUBT: doubtful,
    }
    said = tuple(note for note, applies in notes.items() if applies)
    caption = f"Our test results next to published ones. Paper: {'; '.join(sources)}."
    data = " ".join([PROVENANCE[experiments[0].provenance], *reasons])
    return Table(title, caption, data, tuple(groups), name_heading, tuple(rows), total, said)


def _test_part(archive: str | None, split: Path | None, official_lists: bool) -> str | None:
    if archive is None or split is None:
        return None
    return published_numbers.tested_on(archive, official_lists, store.read_table(split, ["image_id", "split"]))


def make_beside(
    title: str, provenance: str, settings: Beside, metrics: Path, members: list[str], ensembles: list[str], out: Path,
    archive: str | None = None, split: Path | None = None, official_lists: bool = False,
) -> None:  # fmt: skip
    """Write beside_per_class and beside_global as .html, .md, .tex and .csv into a folder; errors as in `per_class_table`."""
    test_part = _test_part(archive, split, official_lists)
    compared = Compared(store.read_table(metrics), settings, members, ensembles, title, provenance, archive, test_part)
    write(*per_class_table(compared), out, "beside_per_class")
    write(*global_table(compared), out, "beside_global")


def make_ablation(
    title: str, provenance: str, settings: AblationColumns, metrics: dict[str, Path], differences: Path, members: list[str],
    ensembles: list[str], out: Path, archive: str | None = None, split: Path | None = None, official_lists: bool = False,
) -> None:  # fmt: skip
    """Write ablation.html, .md, .tex and .csv into a folder; all experiments have the same members, ensembles and split."""
    if lacking := [name for name in settings.root if name not in metrics]:
        raise ThoraxError(f"Experiment {lacking[0]!r} has no metrics: name its table under --metrics.")
    test_part = _test_part(archive, split, official_lists)
    experiments = {
        name: Compared(store.read_table(metrics[name]), beside, members, ensembles, title, provenance, archive, test_part)
        for name, beside in settings.root.items()
    }
    apart = store.read_table(differences, needs=tuple(DIFFERENCES.names))
    write(*ablation_table(title, experiments, apart), out, "ablation")
