"""Models on the test images of archives that they were not trained on, for the classes that archives share.

Which labels of an archive a shared class unites stands in `resources/shared_classes.csv`, each with the reason: the labels' names
are those of the archives' catalogs, parted by |, and a blank says that the archive has no label for just this.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from thorax import figures, store, typeset
from thorax.catalog import IGNORED, class_columns
from thorax.config import CrossEvaluation
from thorax.datasets import ARCHIVES
from thorax.errors import ThoraxError
from thorax.metrics import GLOBAL, evaluate, sigmoid
from thorax.resources import resource
from thorax.tables import DATA_SENTENCES, DECIMALS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLASSES = resource("shared_classes.csv")
COLUMNS = ("trained_on", "tested_on", "class", "averaged", "images", "n_positive", "auc", "low", "high", "labels")
SHADES = "Blues"
_UNDEFINED = "–"
_CHANCE = 0.5  # the palest shade
_DARK = 0.8  # an AUC above it is written in white


@cache
def _table() -> pd.DataFrame:
    return store.read_csv(CLASSES, dtype=str, keep_default_na=False)


def shared_classes(archive: str) -> dict[str, tuple[str, ...]]:
    """The labels of one archive that each shared class unites, in the file's order; classes that it has no label for left out.

    Raises:
        ThoraxError: the file has no column for this archive.
    """
    table = _table()
    if archive not in table.columns[1:-1]:
        raise ThoraxError(f"{CLASSES} has no column for archive {archive!r}: add one, or test on other archives.")
    rows = zip(table["class"], table[archive], strict=True)
    return {name: tuple(labels.split("|")) for name, labels in rows if labels}


def mapped(archive: str, classes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Of each shared class the labels that a label set of this archive has; classes without any left out. Errors as above."""
    found = {name: tuple(label for label in labels if label in classes) for name, labels in shared_classes(archive).items()}
    return {name: labels for name, labels in found.items() if labels}


def unite_labels(labels: pd.DataFrame, united: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """The truth of shared classes: positive where any of their labels is, else ignored where any is, else negative.

    Args:
        labels: (n, k) of 1, 0 and -1 (ignored).
        united: the labels of each class.

    Returns:
        (n, classes) int8 of 1, 0 and -1.
    """
    truth = {}
    for name, columns in united.items():
        values = labels[list(columns)].to_numpy()
        doubtful = np.where((values == IGNORED).any(axis=1), IGNORED, 0)
        truth[name] = np.where((values == 1).any(axis=1), 1, doubtful).astype(np.int8)
    return pd.DataFrame(truth, index=labels.index)


def unite_scores(probabilities: pd.DataFrame, united: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """A model's probability of shared classes: the largest of those of their labels, (n, classes)."""
    return pd.DataFrame({name: probabilities[list(columns)].max(axis=1) for name, columns in united.items()})


@dataclass(frozen=True)
class Problem:
    """One experiment: what a model of it knows, and the images that others are tested on.

    Args:
        archive: a key of `datasets.ARCHIVES`.
        labels: its test images: image_id, patient_id, one column per class (1, 0, -1 = ignored), sorted by image_id.
    """

    archive: str
    labels: pd.DataFrame

    @cached_property
    def united(self) -> dict[str, tuple[str, ...]]:
        """Its labels of each shared class that it has."""
        return mapped(self.archive, class_columns(self.labels))

    @cached_property
    def truth(self) -> pd.DataFrame:
        """(n, shared classes) of 1, 0 and -1."""
        return unite_labels(self.labels, self.united)

    @property
    def title(self) -> str:
        """The archive's name for people."""
        return ARCHIVES[self.archive].title


def common_classes(problems: Mapping[str, Problem]) -> dict[str, bool]:
    """The classes that all label sets share, and whether every test part has positives and negatives of each.

    Only those that all have are averaged, so that every cell is a mean over the same classes.

    Raises:
        ThoraxError: the label sets share no class.
    """
    common = [name for name in _table()["class"] if all(name in problem.united for problem in problems.values())]
    if not common:
        raise ThoraxError(
            f"The label sets of {', '.join(problems)} share no class of {CLASSES.name}: choose larger label sets."
        )
    return {name: all({0, 1} <= set(problem.truth[name]) for problem in problems.values()) for name in common}


def cross_metrics(
    problems: Mapping[str, Problem],
    scores: Mapping[tuple[str, str], pd.DataFrame],
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure every model on every test part.

    Args:
        problems: by experiment.
        scores: by (trained on, tested on): (n, k) probabilities of the first's classes for the second's test images, in their
            order.
        replicates: samples of the bootstrap over patients (`metrics.evaluate`).
        seed: of the samples.

    Returns:
        The columns `COLUMNS`: a row for each class that model and test part both have, then one, "Global", with the mean AUC
        over the `common_classes` that have one everywhere (nan without any). Undefined AUCs are nan. images are those that are not ignored; labels are
        those that the truth unites.

    Raises:
        ThoraxError: as in `common_classes`, or a score that is not a number.
    """
    averaged = [name for name, defined in common_classes(problems).items() if defined]
    rows = []
    for (trained, tested), probabilities in scores.items():
        model, test = problems[trained], problems[tested]
        both = [name for name in model.united if name in test.united]
        united = unite_scores(probabilities, model.united)
        patients = test.labels["patient_id"].to_numpy(object)
        found: dict[str, tuple[float, float, float]] = {}
        for names in (averaged, [name for name in both if name not in averaged]):  # the first first: its mean stays
            if not names:
                continue
            values = evaluate(
                test.truth[names],
                united[names],
                patients,
                model=f"{trained} on {tested}",
                split="test",
                replicates=replicates,
                seed=seed,
            )
            areas = values[values["metric"] == "auc"].set_index("class")[["value", "low", "high"]]
            found = {**{name: tuple(areas.loc[name]) for name in areas.index}, **found}
        for name in both:
            truth = test.truth[name]
            row = (trained, tested, name, name in averaged, int((truth != IGNORED).sum()), int((truth == 1).sum()))
            rows.append((*row, *found[name], "|".join(test.united[name])))
        mean = found[GLOBAL] if averaged else (np.nan,) * 3
        rows.append((trained, tested, GLOBAL, False, len(test.labels), int((test.truth[averaged] == 1).sum().sum()), *mean, ""))
    return pd.DataFrame(rows, columns=list(COLUMNS))


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
            return typeset.Cell(_UNDEFINED)
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
    for name in _table()["class"]:
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
            f"{_UNDEFINED}: the test part lacks positives or negatives; blank: one of the two label sets lacks the class.",
            "95% intervals (bootstrap over patients) are in the CSV file; in the HTML, hover over a number to see its interval.",
        ),
    )
    return table, evaluated.values(of_classes=True)


def read_problem(archive: str, labels: Path, split: Path) -> Problem:
    """The test images of one experiment.

    Raises:
        ThoraxError: a table is missing or damaged, the split lacks an image, or there is no test image.
    """
    table = store.read_table(labels, needs=("image_id", "patient_id"))
    parts = store.read_table(split, ["image_id", "split"]).set_index("image_id")["split"].reindex(table["image_id"])
    if parts.isna().any():
        raise ThoraxError(f"{split} does not assign image {parts.index[parts.isna()][0]!r} of {labels}: remake the split.")
    test = table[(parts == "test").to_numpy()]
    if test.empty:
        raise ThoraxError(f"{split} gives no image of {labels} to test: make its share larger.")
    return Problem(archive, test.sort_values("image_id", ignore_index=True))


def read_scores(path: Path, logits: bool, trained: Problem, tested: Problem) -> pd.DataFrame:
    """Probabilities of one experiment's classes for another's test images, in the order of its labels.

    Args:
        path: predictions or an ensemble; rows of other parts than test are left out.
        logits: whether the scores are logits, as those of a network.

    Raises:
        ThoraxError: the table has other classes or test images than these.
    """
    table = store.read_table(path, needs=("image_id", "split"))
    classes = class_columns(trained.labels)
    if sorted(class_columns(table)) != sorted(classes):
        other = sorted(set(class_columns(table)) ^ set(classes))[0]
        raise ThoraxError(f"{path} does not have the classes of its label set ({other!r} is in one only): predict again.")
    table = table[table["split"] == "test"].sort_values("image_id", ignore_index=True)
    if not table["image_id"].equals(tested.labels["image_id"]):
        raise ThoraxError(f"{path} does not have exactly the test images that are labelled: predict again.")
    return table[classes].apply(sigmoid) if logits else table[classes]


def make_cross(
    settings: CrossEvaluation,
    data: str,
    archives: Mapping[str, str],
    labels: Mapping[str, Path],
    splits: Mapping[str, Path],
    predictions: Mapping[str, Path],
    ensembles: Mapping[str, Path],
    out_dir: Path,
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
        out_dir: the folder.
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
        typeset.write(table, values, Path(out_dir), name)


def make_cross_figure(matrix: Path, archives: Mapping[str, str], title: str, out: Path) -> None:
    """Draw the matrix that `make_cross` wrote.

    Args:
        matrix: its matrix.csv.
        archives: as in `make_cross`.
        title: heading.
        out: figure to write, without suffix.
    """
    figures.save(draw_matrix(store.read_csv(matrix), archives, title), out, title)


def draw_matrix(values: pd.DataFrame, archives: Mapping[str, str], title: str) -> "Figure":
    """Draw mean AUCs as cells, with their intervals; the diagonal is framed.

    Args:
        values: the columns of matrix.csv.
        archives: a key of `datasets.ARCHIVES` by experiment.
        title: heading.
    """
    import matplotlib
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(values["trained_on"]))
    area, low, high = (
        values.pivot(index="trained_on", columns="tested_on", values=key).loc[names, names].to_numpy(float)
        for key in ("auc", "low", "high")
    )
    titles = [ARCHIVES[archives[name]].title for name in names]
    classes = str(values["classes"].iloc[0]).replace("|", ", ") if values["classes"].notna().all() else "no class"
    side = 1.5 * len(names)
    with figures.style():
        figure = Figure(figsize=(max(7.0, side + 3.2), side + 1.9), layout="constrained")
        axes = figure.subplots()
        head = [
            title,
            f"Mean AUC over {classes}; framed: on the model's own archive",
            DATA_SENTENCES[values["data"].iloc[0]],
        ]
        figure.suptitle(figures.fit("\n".join(head), figure.get_figwidth()), x=0.01, ha="left")
        shades = matplotlib.colormaps[SHADES].with_extremes(bad="0.9")
        picture = axes.imshow(area, cmap=shades, vmin=_CHANCE, vmax=1)
        for row, column in np.ndindex(area.shape):
            value = area[row, column]
            text = f"{value:.{DECIMALS}f}" if np.isfinite(value) else _UNDEFINED
            colour = "white" if value > _DARK else "black"
            axes.text(column, row, text, ha="center", va="bottom", color=colour, fontsize=12)
            if np.isfinite(low[row, column]):
                interval = f"{low[row, column]:.2f}–{high[row, column]:.2f}"
                axes.text(column, row + 0.1, interval, ha="center", va="top", color=colour, fontsize=8)
        for place in range(len(names)):
            axes.add_patch(figures.rectangle(place, place, place + 1, place + 1, figures.VERMILION))
        axes.set(xlabel="tested on", ylabel="trained on")
        axes.set_xticks(range(len(names)), titles)
        axes.set_yticks(range(len(names)), titles, rotation=90, va="center")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        bar = figure.colorbar(picture, ax=axes, shrink=0.7, extend="min")
        bar.set_label("mean AUC")
        bar.outline.set_visible(False)
    return figure
