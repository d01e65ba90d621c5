"""Tables of models tested on the images of archives that they were not trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from thorax.config import CrossEvaluation
from thorax.errors import ThoraxError
from thorax.evaluation.cross_archives import (
    CLASSES,
    Problem,
    common_classes,
    cross_metrics,
    read_problem,
    read_scores,
    shared_table,
)
from thorax.evaluation.metrics import GLOBAL
from thorax.report import typeset
from thorax.report.tables.results import DATA_SENTENCES, DECIMALS

UNDEFINED = "–"


@dataclass(frozen=True)
class Evaluated:
    """What the tables are made from.

    Args:
        settings: title, experiments and the model of each.
        problems: by experiment, in the order of rows and columns.
        metrics: what `cross_metrics` returns.
        data: a key of `tables.DATA_SENTENCES`.
    """

    settings: CrossEvaluation
    problems: Mapping[str, Problem]
    metrics: pd.DataFrame
    data: str

    @cached_property
    def numbers(self) -> dict[tuple[str, str, str], dict]:
        """The rows by trained on, tested on and class."""
        return {(row["trained_on"], row["tested_on"], row["class"]): row for row in self.metrics.to_dict("records")}

    @cached_property
    def averaged(self) -> list[str]:
        """The classes of the means."""
        return [name for name, defined in common_classes(self.problems).items() if defined]

    def cell(self, trained: str, tested: str, name: str, detail: bool = False) -> typeset.Cell:
        """An AUC; nothing where the two do not share the class."""
        row = self.numbers.get((trained, tested, name))
        if row is None:
            return typeset.Cell("")
        if not np.isfinite(row["auc"]):
            return typeset.Cell(UNDEFINED)
        interval = f"{row['low']:.{DECIMALS}f}–{row['high']:.{DECIMALS}f}" if np.isfinite(row["low"]) else ""
        about = f"; truth: {row['labels'].replace('|', ', ')}" if row["labels"] else ""
        return typeset.Cell(
            f"{row['auc']:.{DECIMALS}f}",
            bold=trained == tested,
            detail=interval if detail else "",
            hover=f"95% interval {interval}{about}" if interval and not detail else "",
        )

    def values(self, of_classes: bool) -> pd.DataFrame:
        """The rows of single classes or of the means, with the model and what they were run on."""
        frame = self.metrics[(self.metrics["class"] != GLOBAL) == of_classes]
        frame = frame.assign(model=frame["trained_on"].map(self.settings.experiments), data=self.data)
        if of_classes:
            return frame.reset_index(drop=True)
        classes = "|".join(self.averaged)
        return frame.drop(columns=["class", "averaged", "labels"]).assign(classes=classes).reset_index(drop=True)

    def notes(self) -> tuple[str, ...]:
        """What both tables need to be read."""
        models = "; ".join(
            f"{problem.title}: {self.settings.experiments[name]} of {name}" for name, problem in self.problems.items()
        )
        lacking = [name for name, defined in common_classes(self.problems).items() if not defined]
        undefined = f"Left out of all means, since a test part lacks positives or negatives: {', '.join(lacking)}."
        return (
            f"Models: {models}.",
            "In bold: tested on the archive that the model was trained on.",
            "A model's probability of a class is the largest of those of its own labels that the class unites; "
            f"{CLASSES.name} says which, and why.",
            *([undefined] if lacking else []),
        )

    def sentence(self) -> str:
        """What the numbers were measured on."""
        if self.data not in DATA_SENTENCES:
            raise ThoraxError(f"data is {self.data!r}: choose one of {', '.join(DATA_SENTENCES)}.")
        return DATA_SENTENCES[self.data]


def matrix_table(evaluated: Evaluated) -> tuple[typeset.Table, pd.DataFrame]:
    """Set the mean AUC of every model (rows) on every test part (columns).

    Returns:
        The table, and the same numbers unrounded and with their 95% intervals, one row per cell.
    """
    problems = evaluated.problems
    rows = [
        (model.title, tuple(evaluated.cell(trained, tested, GLOBAL, detail=True) for tested in problems))
        for trained, model in problems.items()
    ]
    rows.append(("Test images", tuple(typeset.Cell(str(len(test.labels))) for test in problems.values())))
    averaged = evaluated.averaged
    table = typeset.Table(
        title=f"{evaluated.settings.title}: mean AUC",
        caption=f"Mean AUC over the classes that all label sets share ({', '.join(averaged) or 'none with a defined AUC'}). "
        "Rows: trained on; columns: tested on.",
        data=evaluated.sentence(),
        groups=tuple(typeset.Group(problem.title) for problem in problems.values()),
        name_heading="Trained on",
        rows=tuple(rows),
        total=True,
        notes=(*evaluated.notes(), "95% intervals (bootstrap over patients) are in the HTML and in the CSV file."),
    )
    return table, evaluated.values(of_classes=False)


def class_table(evaluated: Evaluated) -> tuple[typeset.Table, pd.DataFrame]:
    """Set the AUC of every class that two of the label sets share, one group of columns per test part.

    Returns:
        The table, and the same numbers unrounded and with their 95% intervals, one row per model, test part and class.
    """
    problems = evaluated.problems
    rows = []
    for name in shared_table()["class"]:
        if sum(name in problem.united for problem in problems.values()) < 2:
            continue
        cells = []
        for tested, test in problems.items():
            positives = str(int((test.truth[name] == 1).sum())) if name in test.united else ""
            cells += [typeset.Cell(positives), *(evaluated.cell(trained, tested, name) for trained in problems)]
        rows.append((f"{name} *" if name in evaluated.averaged else name, tuple(cells)))
    means = [[typeset.Cell(""), *(evaluated.cell(trained, tested, GLOBAL) for trained in problems)] for tested in problems]
    rows.append(("Mean of *", tuple(cell for cells in means for cell in cells)))
    columns = ("positives", *(f"trained on {problem.title}" for problem in problems.values()))
    table = typeset.Table(
        title=f"{evaluated.settings.title}: AUC of each class",
        caption="AUC of every class that two of the label sets share, in one group of columns for each archive that was tested on, "
        "with a column for each that a model was trained on. Means are over the classes with a star, which all share.",
        data=evaluated.sentence(),
        groups=tuple(typeset.Group(f"tested on {problem.title}", columns, name) for name, problem in problems.items()),
        name_heading="Class",
        rows=tuple(rows),
        total=True,
        notes=(
            *evaluated.notes(),
            f"{UNDEFINED}: the test part lacks positives or negatives; blank: one of the two label sets lacks the class.",
            "95% intervals (bootstrap over patients) are in the CSV file; in the HTML, hover over a number to see its interval.",
        ),
    )
    return table, evaluated.values(of_classes=True)


def make_cross(
    settings: CrossEvaluation,
    data: str,
    archives: Mapping[str, str],
    labels: Mapping[str, Path],
    splits: Mapping[str, Path],
    predictions: Mapping[str, Path],
    ensembles: Mapping[str, Path],
    out: Path,
    replicates: int = 1000,
) -> None:
    """Write matrix and classes as .html, .md, .tex and .csv into a folder.

    Args:
        settings: title, experiments with the model of each, seed of the intervals.
        data: "phantom", "sample" or "archive".
        archives: by experiment a key of `datasets.ARCHIVES`, in the order of rows and columns.
        labels, splits: by experiment its tables.
        predictions: by TRAINED@TESTED, two experiments: logits of the first's model for the second's test images.
        ensembles: the same where the model is an ensemble: probabilities.
        out: the folder.
        replicates: samples of the bootstrap.

    Raises:
        ThoraxError: a table or an archive is missing, or as in `cross_metrics`.
    """
    for option, given in (("archives", archives), ("labels", labels), ("splits", splits)):
        if lacking := [name for name in settings.experiments if name not in given]:
            raise ThoraxError(f"Experiment {lacking[0]!r} is not under --{option}: name one for each experiment.")
    if strangers := [name for name in archives if name not in settings.experiments]:
        raise ThoraxError(f"{strangers[0]!r} is under --archives, but is no experiment of the settings: leave it out.")
    problems = {name: read_problem(archive, labels[name], splits[name]) for name, archive in archives.items()}
    scores = {}
    for trained in problems:
        for tested in problems:
            pair = f"{trained}@{tested}"
            path = predictions.get(pair, ensembles.get(pair))
            if path is None:
                raise ThoraxError(f"{pair} is neither under --predictions nor under --ensembles: name its table.")
            scores[trained, tested] = read_scores(path, pair in predictions, problems[trained], problems[tested])
    found = cross_metrics(problems, scores, replicates, settings.seed)
    evaluated = Evaluated(settings, problems, found, data)
    for name, make in (("matrix", matrix_table), ("classes", class_table)):
        table, values = make(evaluated)
        typeset.write(table, values, Path(out), name)
