"""Tables of several readers of the test images: their agreement with each other and with the labels, and models next to them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from thorax.config import Experts
from thorax.evaluation import metrics, readers
from thorax.evaluation.external_tables import Columns, read_answers
from thorax.evaluation.readers import Compared
from thorax.report.cells import Estimate, cell, printed
from thorax.report.tables.results import INTERVALS, PROVENANCE, row_headings
from thorax.report.typeset import Cell, Group, Table, write
from thorax.storage.schemas import class_columns

MEAN = "Mean"
KAPPAS = {"fleiss": "Fleiss, readers", "pairwise": "Cohen, pairs of readers", "cohen": "Cohen, labels and majority"}


def agreement_table(compared: Compared, title: str, data: str, left_out: Sequence[str] = ()) -> tuple[Table, pd.DataFrame]:
    """Arrange the kappas of readers and labels by class; the frame is `Compared.agreement`. `left_out` are classes not read."""
    frame = compared.agreement
    headings = row_headings(frame["class"])
    rows = [
        (headings[row["class"]], (*(Cell(f"{row[count]:,}") for count in frame.columns[1:4]), *(Cell(printed(row[kappa])) for kappa in KAPPAS)))
        for row in frame.to_dict("records")
    ]  # fmt: skip
    rows.append((MEAN, (*[Cell("")] * 3, *(Cell(printed(frame[kappa].mean())) for kappa in KAPPAS))))
    groups = (
        Group("Images with both"),
        Group("Positives", ("labels", "majority"), "positives"),
        Group("Kappa", tuple(KAPPAS.values()), "kappa"),
    )
    caption = (
        f"How far {_who(compared)} agree with each other, and their majority with the labels: 1 is full agreement, 0 that of chance. "
        f"Fleiss' kappa is of all readers (Fleiss 1971), Cohen's of two (Cohen 1960)."
    )
    notes = (
        *_notes(compared, left_out),
        "Kappa depends on how common a class is: where almost all answers are no, a few disagreements make it small.",
    )
    return Table(f"{title}: agreement of readers", caption, data, groups, "Class", tuple(rows), True, notes), frame


def readers_table(compared: Compared, title: str, data: str, left_out: Sequence[str] = ()) -> tuple[Table, pd.DataFrame]:
    """Arrange each model's AUC against labels and majority, and the readers below its curve, by class.

    The frame has a row for each model, class and reader, with the AUCs and intervals of model and class repeated.
    """
    areas = compared.areas.set_index(["model", "class", "against"])[["value", "low", "high"]]
    models = list(compared.areas["model"].unique())

    def cells(name: str | None) -> list[Cell]:
        found = []
        for model in models:
            row = metrics.GLOBAL if name is None else metrics.row_name(name)
            found += [cell(_estimate(areas.loc[(model, row, against)])) for against in ("labels", "majority")]
            found.append(Cell("{} of {}".format(*compared.below(model, name))))
        return found

    headings = row_headings(compared.agreement["class"])
    rows = [(heading, tuple(cells(name))) for name, heading in headings.items() if name != metrics.GLOBAL]
    rows.append((MEAN, tuple(cells(None))))
    columns = ("AUC, labels", "AUC, majority", "readers below")
    caption = (
        f"Every model against the labels and against the majority of {_who(compared)}, on the same images; and how many of the readers "
        "are below the model's ROC curve: at a reader's specificity, the curve has a higher sensitivity. The curve is against the labels."
    )
    mean = "The mean is over the classes with positives and negatives by the labels and by the majority; readers are counted for all."
    notes = (*_notes(compared, left_out), mean, "Readers who made the labels are not independent of them.", INTERVALS)
    wide = areas.unstack("against")
    wide.columns = [f"auc_{against}{'' if end == 'value' else f'_{end}'}" for end, against in wide.columns]
    values = compared.points.assign(row=compared.points["class"].map(metrics.row_name))
    values = values.merge(wide.reset_index().rename(columns={"class": "row"}), on=["model", "row"]).drop(columns="row")
    groups = tuple(Group(model, columns, model) for model in models)
    return Table(f"{title}: models and readers", caption, data, groups, "Class", tuple(rows), True, notes), values


def make_readers(
    settings: Experts, title: str, provenance: str, labels: Path, split: Path, predictions: dict[str, Path],
    ensembles: dict[str, Path], out: Path, replicates: int = 1000, seed: int = 0,
) -> None:  # fmt: skip
    """Write agreement and readers as .html, .md, .tex and .csv into a folder, of the test images that a reader has read."""
    truth, models = metrics.read_models(labels, split, predictions, ensembles)
    test, classes = (truth["split"] == "test").to_numpy(), class_columns(truth)
    of_test = truth[test]
    answers = answers_of(settings, of_test)
    scores = {name: table[test] for name, table in models.items()}
    compared = readers.compare(of_test[classes], scores, answers, of_test["patient_id"].to_numpy(object), replicates, seed)
    left_out = [name for name in classes if name not in next(iter(answers.values()))]
    write(*agreement_table(compared, title, PROVENANCE[provenance], left_out), out, "agreement")
    write(*readers_table(compared, title, PROVENANCE[provenance], left_out), out, "readers")


def answers_of(settings: Experts, images: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Read the readers' answers on images of `joins.read_labels`, of the classes that all readers have; in the same rows."""
    columns = Columns(settings.id, settings.prefix, settings.rename, ignore_extension=settings.ignore_extension)
    truth = images.set_index("image_id")[class_columns(images)]
    answers = read_answers(list(map(Path, settings.files)), settings.reader, columns, truth, common=True)
    return {who: table.set_axis(images.index) for who, table in answers.items()}


def _who(compared: Compared) -> str:
    return f"{len(compared.readers)} readers"


def _notes(compared: Compared, left_out: Sequence[str]) -> list[str]:
    counts = f"{_who(compared)} have read {compared.read:,} of the {compared.images:,} images that are measured; only these count here."
    lacking = [f"Left out, as not every reader was asked for it: {', '.join(left_out)}."] if left_out else []
    return [f"{counts} A tie of the readers leaves an image without a majority.", *lacking]


def _estimate(row: pd.Series) -> Estimate:
    value, low, high = row.astype(np.float64)
    return value, low, high
