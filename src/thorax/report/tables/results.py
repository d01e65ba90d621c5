"""The papers' result tables from the metrics (Liz et al. 2022, Tables 4 to 11)."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from thorax.config import fixed_threshold
from thorax.errors import ThoraxError
from thorax.evaluation import confusion
from thorax.evaluation.metrics import BASELINE, FIXED, GLOBAL, NO_THRESHOLD, row_name
from thorax.report.cells import (
    DECIMALS,
    F1_MEANINGS,
    METRICS,
    PLAIN,
    Estimate,
    Mark,
    cell,
    excludes_zero,
    printed,
    record,
    short_heading,
)
from thorax.report.typeset import Cell, Group, Table, write
from thorax.storage import joins, store
from thorax.storage.schemas import DIFFERENCES, LEFT_OUT, SPLIT_NAMES, class_columns

CHANCE_AUC = 0.5

PROVENANCE = {  # what results were measured on
    "phantom": "Phantom radiographs: these numbers show that the pipeline works, not how well it reads radiographs.",
    "sample": "A small sample of real radiographs: these numbers show what the pipeline does with real images, "
    "but are too uncertain to compare with a paper.",
    "full": "All usable radiographs of the archive.",
}
COUNTED = {  # what images were counted
    "phantom": "Synthetic radiographs.",
    "sample": "A small sample of real radiographs.",
    "full": "Radiographs of the archive.",
}
INTERVALS = "95% intervals (bootstrap over patients) are below the numbers in the HTML, and in the CSV file."
_PAPERS_MARKS = (
    "The individual models with the best performance and the ensembles that outperform all individual models are in bold; "
    "individual models that all tie the random classifier are not marked. "
    "The best ensemble result is in italics unless it ties the random classifier."
)
_MARKS = (
    "In bold are the individual models whose difference from the best individual model of the row has a 95% interval that contains 0, "
    "unless that holds for all of them, and the ensembles that are better than it with an interval that excludes 0 (paired bootstrap over "
    "patients, not corrected for the number of comparisons). "
    "The best ensemble result is in italics unless it ties the random classifier."
)
_TIES = (
    "{} compare the numbers as printed, with three decimals. The random classifier has an AUC of 0.5; "
    "for F1 and Hamming loss it is the classifier that always predicts negative."
)
_BASELINE = " The baseline, a logistic regression on 32 x 32 pixels, takes no part in this comparison."


def mark(
    individual: dict[str, float], ensembles: dict[str, float], chance: float, lower_is_better: bool = False
) -> dict[str, Mark]:
    """Decide which models' numbers in one row and metric are in bold and in italics (captions of Tables 4, 6 and 8).

    Numbers are compared as printed, so that a reader can check the marks. Undefined ones (nan) are never marked.

    - Bold: all individual models that share the best value, unless all of them have the value of the random classifier
      (`chance`); and all ensembles strictly better than the best individual value.
    - Italics: all ensembles that share the best value of the ensembles, unless that is the random classifier's value.
    """
    sign = -1 if lower_is_better else 1
    at_chance = sign * round(chance, DECIMALS)
    one, many = (
        {name: sign * round(value, DECIMALS) for name, value in values.items() if np.isfinite(value)}
        for values in (individual, ensembles)
    )
    best_one, best_many = max(one.values(), default=-np.inf), max(many.values(), default=-np.inf)
    informative = set(one.values()) != {at_chance}
    marks = {name: Mark(bold=informative and one.get(name) == best_one) for name in individual}
    marks |= dict.fromkeys(ensembles, PLAIN)
    marks |= {name: Mark(bool(one) and value > best_one, value == best_many != at_chance) for name, value in many.items()}
    return marks


def mark_by_intervals(
    individual: dict[str, float], ensembles: dict[str, float], chance: float, lower_is_better: bool = False,
    *, interval: Callable[[str, str], tuple[float, float]],
) -> dict[str, Mark]:  # fmt: skip
    """Decide on bold print by paired differences; italics, and what is undefined, as in `mark`.

    `interval` returns the 95% interval of one model's value minus another's.

    - Bold, of the individual models: the best one and those whose difference from it has an interval that contains 0, unless none
      has one that excludes 0.
    - Bold, of the ensembles: those whose difference from the best individual model has an interval that excludes 0 on the better side.
    """
    sign = -1 if lower_is_better else 1
    one = {name: sign * value for name, value in individual.items() if np.isfinite(value)}
    best = max(one, key=one.__getitem__, default="")
    ends = {name: interval(name, best) for name in (*one, *ensembles) if one and name != best}
    told_apart = {name for name, found in ends.items() if excludes_zero(*found)}
    tied = {name for name in one if name == best or ends[name][0] <= 0 <= ends[name][1]}
    bold = tied if told_apart & set(one) else set()
    bold |= {name for name in told_apart & set(ensembles) if sign * ends[name][0] > 0}
    marks = mark(individual, ensembles, chance, lower_is_better)
    return {name: its._replace(bold=name in bold) for name, its in marks.items()}


def count_images(labels: pd.DataFrame) -> pd.DataFrame:
    """Count the images of each class of `joins.read_labels`, and score the classifier that always predicts negative on test images.

    Returns one row per class, by number of images, then one for "Global": class (as `metrics.row_name` calls it), images (with
    the class in all parts), images_in_part (test), and auc, f1, f1_positive and hamming (for Global only) of this classifier.
    Images that the split leaves out are not counted.
    """
    labels = labels[labels["split"] != LEFT_OUT]
    classes = class_columns(labels)
    matrix = labels.loc[labels["split"] == "test", classes].to_numpy()
    never = confusion.counted(matrix, np.zeros(matrix.shape, bool)).sum(axis=0)
    f1s = zip(confusion.macro_f1(never), confusion.positive_f1(never), strict=True)
    counts = zip(classes, (labels[classes] == 1).sum(), (matrix == 1).sum(axis=0), f1s, strict=True)
    rows = [(row_name(name), int(images), int(in_part), CHANCE_AUC, *f1, np.nan) for name, images, in_part, f1 in counts]
    rows.sort(key=lambda row: (-row[1], row[0]))
    means = pd.DataFrame(rows).iloc[:, 4:6].mean()  # of the classes that have one
    rows.append((GLOBAL, len(labels), len(matrix), CHANCE_AUC, *means, float(confusion.hamming(never))))
    return pd.DataFrame(rows, columns=["class", "images", "images_in_part", "auc", "f1", "f1_positive", "hamming"])


class Columns(Protocol):
    """The columns of a table: one group per model."""

    def row(self, name: str, metrics: Sequence[str], named: bool = True) -> tuple[list[Cell], dict[str, float]]: ...
    def groups(self, metrics: Sequence[str]) -> list[Group]: ...


@dataclass(frozen=True)
class Results:
    """The input of an experiment's tables; members and ensembles are in the order of the columns."""

    metrics: pd.DataFrame  # the rows of `schemas.METRICS`
    members: Sequence[str]
    ensembles: Sequence[str]
    counts: pd.DataFrame  # what `count_images` returns for the same part
    split: str = "test"  # the part whose results are shown
    title: str = ""
    provenance: str = "full"  # a key of `PROVENANCE`
    threshold_rule: str = FIXED  # the threshold rule of F1 and Hamming loss
    f1_metric: str = "f1"  # which F1 the tables print, a key of `F1_MEANINGS`
    differences: pd.DataFrame | None = None  # rows of `schemas.DIFFERENCES`; None: bold print follows the paper's rule

    @cached_property
    def numbers(self) -> dict[tuple[str, ...], Estimate]:
        """Value, low and high by model, class and metric; nan where undefined."""
        return by_name(self.chosen(self.metrics), ("model", "class", "metric"), "value")

    @cached_property
    def differing(self) -> dict[tuple[str, ...], Estimate]:
        """Difference, low and high by model, other model, class and metric; nan where undefined."""
        rows = pd.DataFrame(columns=DIFFERENCES.names) if self.differences is None else self.differences
        return by_name(self.chosen(rows), ("model", "other", "class", "metric"), "difference")

    def chosen(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows of metrics or differences that are of the part and by the threshold rule."""
        return rows[(rows["split"] == self.split) & rows["threshold_rule"].isin((NO_THRESHOLD, self.threshold_rule))]

    @cached_property
    def models(self) -> list[str]:
        """The models in the order of the columns: members, ensembles, and the baseline where there is one."""
        has_baseline = any(model == BASELINE for model, _, _ in self.numbers)
        return [*self.members, *self.ensembles, *([BASELINE] if has_baseline else [])]

    @property
    def classes(self) -> list[str]:
        """The classes in the order of the rows."""
        return [name for name in self.counts["class"] if name != GLOBAL]

    @property
    def metrics_shown(self) -> list[str]:
        """The metrics over all classes, with one F1."""
        return ["hamming", "auc", self.f1_metric]

    def number(self, model: str, name: str, metric: str) -> Estimate:
        """Return value, low and high, nan where undefined; a ThoraxError if the metrics lack the model, class or rule."""
        if number := self.numbers.get((model, name, metric)):
            return number
        by = "" if self.threshold_rule == FIXED else f" by rule {self.threshold_rule!r}"
        raise ThoraxError(f"The metrics have no {metric} of model {model!r} for {name!r}{by}: compute the metrics again.")

    def difference(self, model: str, other: str, name: str, metric: str) -> Estimate:
        """Return a model's value minus another's with its interval; a ThoraxError if the differences lack the pair."""
        if found := self.differing.get((model, other, name, metric)):
            return found
        if found := self.differing.get((other, model, name, metric)):
            value, low, high = found
            return -value, -high, -low
        problem = f"The differences have no {metric} of {model!r} and {other!r} for {name!r}"
        raise ThoraxError(f"{problem}: compute the metrics again.")

    def best_on_validation(self, models: Sequence[str]) -> str:
        """Return the model with the highest mean AUC on the validation images; of equal ones, or without any, the first."""
        on_val = replace(self, split="val")
        values = [on_val.number(model, GLOBAL, "auc")[0] for model in models]
        return models[int(np.argmax(np.nan_to_num(values, nan=-np.inf)))]

    def has(self, name: str, metric: str) -> bool:
        """Whether a metric of a class is defined for every single model."""
        return all(np.isfinite(self.number(model, name, metric)[0]) for model in self.members)

    def section(self, model: str) -> str:
        """Which columns a model's belong to: those of the members, the ensembles or the baseline."""
        return "members" if model in self.members else "ensembles" if model in self.ensembles else BASELINE

    def row(self, name: str, metrics: Sequence[str], named: bool = True) -> tuple[list[Cell], dict[str, float]]:
        """Return a class's cells, model by model, and the same numbers unrounded for the CSV.

        With `named` the CSV's columns name the metric.
        """
        marks = {}
        for metric in metrics:
            one, many = ({m: self.number(m, name, metric)[0] for m in of} for of in (self.members, self.ensembles))
            chance = float(self.counts.set_index("class").loc[name, metric])
            marking: Callable[..., dict[str, Mark]] = mark
            if self.differences is not None:
                ends = lambda model, other, metric=metric: self.difference(model, other, name, metric)[1:]
                marking = partial(mark_by_intervals, interval=ends)
            marks[metric] = marking(one, many, chance, METRICS[metric].lower_is_better)
        cells: list[Cell] = []
        values: dict[str, float] = {}
        for model in self.models:
            for metric in metrics:
                number = self.number(model, name, metric)
                cells.append(cell(number, marks[metric].get(model, PLAIN)))
                values |= record(f"{model} {metric}" if named else model, number)
        return cells, values

    def groups(self, metrics: Sequence[str]) -> list[Group]:
        """Return one group of columns per model, a single column without metrics."""
        headings = tuple("AUC" if metric == "auc" else "F1" for metric in metrics) or ("",)
        return [Group(model, headings, self.section(model), apart=model == BASELINE) for model in self.models]


def by_name(rows: pd.DataFrame, keys: Sequence[str], value: str) -> dict[tuple[str, ...], Estimate]:
    """Return the numbers of a column, each with its low and high, by what the columns `keys` hold."""
    numbers = rows[[value, "low", "high"]].astype(float).itertuples(index=False, name=None)
    return dict(zip(zip(*(rows[key] for key in keys), strict=True), numbers, strict=True))


def read_results(
    metrics: Path,
    labels: Path,
    split: Path,
    members: list[str],
    ensembles: list[str],
    differences: Path | None,
    **more: str,
) -> Results:
    """Read the tables behind `Results`; `more` has its other arguments."""
    counts = count_images(joins.read_labels(labels, split))
    apart = None if differences is None else store.read_table(differences, needs=tuple(DIFFERENCES.names))
    return Results(store.read_table(metrics), members, ensembles, counts, differences=apart, **more)


def best_model(
    metrics: pd.DataFrame, predictions: Iterable[str], ensembles: Iterable[str], learned: Collection[str] = ()
) -> str:
    """Choose the model with the highest mean AUC on the validation images; of equal ones, or without any, the first.

    Ensembles come before networks. The baseline, and the ensembles `learned` from validation images, take no part.
    """
    names = [name for name in (*ensembles, *predictions) if name not in (BASELINE, *learned)]
    if not names:
        raise ThoraxError(
            "There is no model to choose from: name a network or an ensemble that does not learn from validation."
        )
    return Results(metrics, names, [], pd.DataFrame()).best_on_validation(names)


def by_class(results: Results, columns: Columns, title: str, of: str, notes: Sequence[str]) -> tuple[Table, pd.DataFrame]:
    """Arrange AUC and F1 by class, with the means over classes as the last row; `of` ends the caption's first sentence.

    The numbers are those of `columns`, all else is that of `results`. The frame has them unrounded and with their 95% intervals.
    """
    rows, records = [], []
    headings, metrics = row_headings(results.classes), ("auc", results.f1_metric)
    whole = results.counts.loc[results.counts["class"] == GLOBAL, ["images", "images_in_part"]].iloc[0]
    for name, images, in_part in results.counts[["class", "images", "images_in_part"]].itertuples(index=False, name=None):
        cells, values = columns.row(name, metrics)
        pairs = zip((images, in_part), whole, strict=True)
        samples = (Cell(f"{count:,}", detail=f"{count / total:.1%}" if count < total else "") for count, total in pairs)
        rows.append((headings[name], (*samples, *cells)))
        records.append({"class": name, "images": images, f"{results.split}_images": in_part} | values)
    groups = (Group("# Samples", ("all", results.split), "samples"), *columns.groups(metrics))
    caption = f"AUC and F1-score ({F1_MEANINGS[results.f1_metric]}; {describe_threshold(results.threshold_rule)}) {of}"
    table = Table(title, caption, PROVENANCE[results.provenance], groups, "Class", tuple(rows), True, tuple(notes))
    return table, pd.DataFrame(records).assign(provenance=results.provenance)


def over_classes(results: Results, columns: Columns, title: str, of: str, notes: Sequence[str]) -> tuple[Table, pd.DataFrame]:
    """Arrange Hamming loss, and the means of AUC and F1 over the classes; as `by_class`, but with one row per metric."""
    rows, records = [], []
    for metric in results.metrics_shown:
        cells, values = columns.row(GLOBAL, (metric,), named=False)
        rows.append((short_heading(metric), tuple(cells)))
        records.append({"metric": metric, **values})
    means = f"means of AUC and F1-score ({F1_MEANINGS[results.f1_metric]}) over the classes"
    caption = f"Hamming loss (lower is better), and {means}, {of}"
    groups, data = tuple(columns.groups(())), PROVENANCE[results.provenance]
    table = Table(title, caption, data, groups, "", tuple(rows), notes=tuple(notes))
    return table, pd.DataFrame(records).assign(provenance=results.provenance)


def per_class_table(results: Results) -> tuple[Table, pd.DataFrame]:
    """Arrange AUC and F1 of every model and class as in Tables 4, 6, 8 and 10; see `by_class`."""
    has_baseline = BASELINE in results.models
    of = f"on the {results.split} images. {_marks(results)}{_BASELINE * has_baseline}"
    notes = [
        *(_baseline_by_class(results) if has_baseline else []),
        f"Samples: images with the class and, in the HTML, their share, in the whole label set and among the {results.split} images; Global: all images.",
        *_undefined(results),
        *votes_note(results),
        INTERVALS,
        _ties(results),
    ]
    return by_class(results, results, f"{results.title}: results per class".removeprefix(": "), of, notes)


def global_table(results: Results) -> tuple[Table, pd.DataFrame]:
    """Arrange Hamming loss, AUC and F1 of every model as in Tables 5, 7, 9 and 11; see `over_classes`."""
    has_baseline = BASELINE in results.models
    of = f"on the {results.split} images; {describe_threshold(results.threshold_rule)}. {_marks(results)}{_BASELINE * has_baseline}"
    notes = [
        *(_baseline_over_all(results) if has_baseline else []),
        *_undefined(results),
        *votes_note(results),
        INTERVALS,
        _ties(results),
    ]
    return over_classes(results, results, f"{results.title}: global results".removeprefix(": "), of, notes)


def _marks(results: Results) -> str:
    return _PAPERS_MARKS if results.differences is None else _MARKS


def _ties(results: Results) -> str:
    return _TIES.format("Bold and italics" if results.differences is None else "Italics")


def images_by_part(labels: pd.DataFrame) -> dict[str, int]:
    """Count the images in train, val and test; `labels` is what `joins.read_labels` returns."""
    return {part: int((labels["split"] == part).sum()) for part in SPLIT_NAMES}


def row_headings(classes: Iterable[str]) -> dict[str, str]:
    """Return the classes' names with a capital, as the papers print them; unchanged where two would then look the same."""
    capitalised = {name: name[:1].upper() + name[1:] for name in (*classes, GLOBAL)}
    headings = list(capitalised.values())
    return {name: heading if headings.count(heading) == 1 else name for name, heading in capitalised.items()}


def describe_threshold(rule: str) -> str:
    """Say in a few words which thresholds a rule sets."""
    fixed = fixed_threshold(rule)
    return "thresholds tuned on validation" if fixed is None else f"threshold {fixed:g}"


def count_of_classes(number: int) -> str:
    """Return "1 class", "2 classes" and so on."""
    return "1 class" if number == 1 else f"{number} classes"


def votes_note(results: Results, models: Sequence[str] | None = None) -> list[str]:
    """Name the models (default: all) that give votes of 0 and 1, so that their AUC is not one of probabilities. They have no loss."""
    loss = {model: results.numbers.get((model, GLOBAL, "loss"), (0.0,))[0] for model in models or results.models}
    voting = ", ".join(model for model, value in loss.items() if not np.isfinite(value))
    said = f"The AUC of {voting} is computed from votes of 0 and 1, as in Liz et al. 2022, not from probabilities."
    return [said] if voting else []


def _undefined(results: Results) -> list[str]:
    """Name the classes whose AUC or F1 is undefined."""
    notes = []
    for metric, lacking in (("auc", "positives or negatives"), ("f1_positive", "positives")):
        shown = metric in results.metrics_shown
        undefined = [name for name in results.classes if shown and not results.has(name, metric)]
        if undefined:
            which = f"The {short_heading(metric)} of {count_of_classes(len(undefined))}"
            why = f"is undefined because the {results.split} images lack {lacking}"
            notes.append(f"{which} {why}; it is left out of the mean: {', '.join(undefined)}.")
    return notes


def _baseline_by_class(results: Results) -> list[str]:
    """Say for each metric for how many classes no network is better than the baseline."""
    notes = []
    for metric in ("auc", results.f1_metric):
        defined = [name for name in results.classes if results.has(name, metric)]
        unbeaten = [name for name in defined if _best(results, results.members, name, metric)[1]]
        best = f"of {count_of_classes(len(defined))} the best network's {short_heading(metric)} is"
        compared = f"not higher than the baseline's: {', '.join(unbeaten)}" if unbeaten else "higher than the baseline's"
        notes.append(f"For {len(unbeaten or defined)} {best} {compared}.")
    return notes


def _baseline_over_all(results: Results) -> list[str]:
    """Say by which metrics no network, or no model at all, is better than the baseline."""
    notes = []
    for metric in results.metrics_shown:
        best, unbeaten = _best(results, results.members, GLOBAL, metric)
        if unbeaten:
            all_models = _best(results, [*results.members, *results.ensembles], GLOBAL, metric)[1]
            kind = "network or ensemble" if all_models and results.ensembles else "network"
            baseline = printed(results.number(BASELINE, GLOBAL, metric)[0])
            said = f"By {short_heading(metric)} no {kind} is better than the baseline"
            notes.append(f"{said}: it has {baseline}, the best network {printed(best)}.")
    return notes or ["By every metric the best network is better than the baseline."]


def _best(results: Results, models: Sequence[str], name: str, metric: str) -> tuple[float, bool]:
    """Return the best value of some models, and whether the baseline's is as good or better, as printed; (nan, False) without any."""
    sign = -1 if METRICS[metric].lower_is_better else 1
    values = [value for model in models if np.isfinite(value := results.number(model, name, metric)[0])]
    if not values:
        return np.nan, False
    best = sign * max(sign * value for value in values)
    return best, sign * round(results.number(BASELINE, name, metric)[0], DECIMALS) >= sign * round(best, DECIMALS)


def make_tables(
    title: str, provenance: str, metrics: Path, labels: Path, split: Path, members: list[str], ensembles: list[str], out: Path,
    rule: str = FIXED, f1_metric: str = "f1", differences: Path | None = None,
) -> None:  # fmt: skip
    """Write per_class and global as .html, .md, .tex and .csv into a folder; the baseline is shown if the metrics have it.

    Bold print follows the `differences` between the models or, without them, the paper's rule.
    """
    more = {"title": title, "provenance": provenance, "threshold_rule": rule, "f1_metric": f1_metric}
    results = read_results(metrics, labels, split, members, ensembles, differences, **more)
    write(*per_class_table(results), out, "per_class")
    write(*global_table(results), out, "global")
