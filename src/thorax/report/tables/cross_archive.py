"""Tables of models tested on the images of archives that they were not trained on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from thorax.config import CrossEvaluation
from thorax.errors import ThoraxError
from thorax.evaluation.cross_archives import CLASSES, Problem, common_classes, cross_metrics, shared_table
from thorax.evaluation.metrics import GLOBAL, read_probabilities
from thorax.report.cells import UNDEFINED, Mark, cell
from thorax.report.tables.results import INTERVALS, PROVENANCE
from thorax.report.typeset import Cell, Group, Table, write
from thorax.storage import joins
from thorax.storage.schemas import class_columns

_CLASSES_CAPTION = (
    "AUC of every class that two of the label sets share, in one group of columns for each archive that was tested on, with a column for "
    "each that a model was trained on. Means are over the classes with a star, which all share."
)


@dataclass(frozen=True)
class Evaluated:
    """The input of the tables: experiments in the order of rows and columns, and their numbers from `cross_metrics`."""

    settings: CrossEvaluation
    problems: Mapping[str, Problem]
    metrics: pd.DataFrame
    provenance: str

    @cached_property
    def numbers(self) -> dict[tuple[str, str, str], dict]:
        """The rows of `metrics` by trained on, tested on and class."""
        return {(row["trained_on"], row["tested_on"], row["class"]): row for row in self.metrics.to_dict("records")}

    @cached_property
    def averaged(self) -> list[str]:
        """The classes that the means are over."""
        return [name for name, defined in common_classes(self.problems).items() if defined]

    def cell(self, trained: str, tested: str, name: str) -> Cell:
        """An AUC; blank where the two do not share the class."""
        row = self.numbers.get((trained, tested, name))
        if row is None:
            return Cell("")
        about = f"truth: {row['labels'].replace('|', ', ')}" if row["labels"] else ""
        return replace(cell((row["auc"], row["low"], row["high"]), Mark(bold=trained == tested)), hover=about)

    def values(self, of_classes: bool) -> pd.DataFrame:
        """The rows of single classes or of the means, with the model and the data it was run on."""
        models = self.metrics["trained_on"].map(self.settings.experiments)
        frame = self.metrics.assign(model=models, provenance=self.provenance)
        return frame[(frame["class"] != GLOBAL) == of_classes].reset_index(drop=True)

    def notes(self) -> tuple[str, ...]:
        """How to read both tables."""
        chosen = self.settings.experiments
        models = "; ".join(f"{problem.title}: {chosen[name]} of {name}" for name, problem in self.problems.items())
        lacking = [name for name, defined in common_classes(self.problems).items() if not defined]
        undefined = f"Left out of all means, since a test part lacks positives or negatives: {', '.join(lacking)}."
        return (
            f"Models: {models}.",
            "In bold: tested on the archive that the model was trained on.",
            "A model's probability of a class is the largest of those of its own labels that the class unites; "
            f"{CLASSES.name} says which, and why.",
            *([undefined] if lacking else []),
        )


def matrix_table(evaluated: Evaluated) -> tuple[Table, pd.DataFrame]:
    """Arrange the mean AUC of every model (rows) on every test part (columns); the frame has a row per cell, with intervals."""
    problems = evaluated.problems
    rows = [
        (model.title, tuple(evaluated.cell(trained, tested, GLOBAL) for tested in problems))
        for trained, model in problems.items()
    ]
    rows.append(("Test images", tuple(Cell(str(len(test.labels))) for test in problems.values())))
    title, data = f"{evaluated.settings.title}: mean AUC", PROVENANCE[evaluated.provenance]
    over = ", ".join(evaluated.averaged) or "none with a defined AUC"
    caption = f"Mean AUC over the classes that all label sets share ({over}). Rows: trained on; columns: tested on."
    groups = tuple(Group(problem.title) for problem in problems.values())
    notes = (*evaluated.notes(), INTERVALS)
    values = evaluated.values(of_classes=False).drop(columns=["class", "averaged", "labels"])
    table = Table(title, caption, data, groups, "Trained on", tuple(rows), total=True, notes=notes)
    return table, values.assign(classes="|".join(evaluated.averaged))


def class_table(evaluated: Evaluated) -> tuple[Table, pd.DataFrame]:
    """Arrange the AUC of every class that two of the label sets share, one group of columns per test part."""
    problems = evaluated.problems
    rows = []
    for name in shared_table()["class"]:
        if sum(name in problem.united for problem in problems.values()) < 2:
            continue
        cells = []
        for tested, test in problems.items():
            positives = str(int((test.truth[name] == 1).sum())) if name in test.united else ""
            cells += [Cell(positives), *(evaluated.cell(trained, tested, name) for trained in problems)]
        rows.append((f"{name} *" if name in evaluated.averaged else name, tuple(cells)))
    means = [[Cell(""), *(evaluated.cell(trained, tested, GLOBAL) for trained in problems)] for tested in problems]
    rows.append(("Mean of *", tuple(cell for cells in means for cell in cells)))
    columns = ("positives", *(f"trained on {problem.title}" for problem in problems.values()))
    title, data = f"{evaluated.settings.title}: AUC of each class", PROVENANCE[evaluated.provenance]
    groups = tuple(Group(f"tested on {problem.title}", columns, name) for name, problem in problems.items())
    marks = f"{UNDEFINED}: the test part lacks positives or negatives; blank: one of the two label sets lacks the class."
    notes = (*evaluated.notes(), marks, INTERVALS)
    table = Table(title, _CLASSES_CAPTION, data, groups, "Class", tuple(rows), total=True, notes=notes)
    return table, evaluated.values(of_classes=True)


def make_cross(
    settings: CrossEvaluation, provenance: str, archives: Mapping[str, str], labels: Mapping[str, Path],
    splits: Mapping[str, Path], predictions: Mapping[str, Path], ensembles: Mapping[str, Path], out: Path,
    replicates: int = 1000,
) -> None:  # fmt: skip
    """Write matrix and classes as .html, .md, .tex and .csv into a folder; `archives` has the order of rows and columns.

    Predictions and ensembles are by TRAINED@TESTED: logits or probabilities of the first's model for the second's test images.
    """
    for option, given in (("archives", archives), ("labels", labels), ("splits", splits)):
        if lacking := [name for name in settings.experiments if name not in given]:
            raise ThoraxError(f"Experiment {lacking[0]!r} is not under --{option}: name one for each experiment.")
    if unknown := [name for name in archives if name not in settings.experiments]:
        raise ThoraxError(f"{unknown[0]!r} is under --archives, but is not an experiment of the settings: leave it out.")
    problems = {
        name: Problem(archive, joins.read_labels(labels[name], splits[name], ["test"])) for name, archive in archives.items()
    }
    scores = {}
    for trained in problems:
        for tested in problems:
            pair = f"{trained}@{tested}"
            path = predictions.get(pair, ensembles.get(pair))
            if path is None:
                raise ThoraxError(f"{pair} is neither under --predictions nor under --ensembles: name its table.")
            classes, test = class_columns(problems[trained].labels), problems[tested].labels
            scores[trained, tested] = read_probabilities(path, test, "its label set", pair in predictions, classes)
    found = cross_metrics(problems, scores, replicates, settings.seed)
    evaluated = Evaluated(settings, problems, found, provenance)
    write(*matrix_table(evaluated), out, "matrix")
    write(*class_table(evaluated), out, "classes")
