"""The numbers of a model card and a data sheet, as tables of text. No table has an identifier of an image or a patient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thorax import config
from thorax.evaluation import calibration, subgroups
from thorax.evaluation.bootstrap import NO_THRESHOLD
from thorax.evaluation.metrics import GLOBAL, row_name
from thorax.explanation.localisation import MEAN
from thorax.report.cells import interval, printed
from thorax.report.tables.groups import HEADINGS as GROUP_HEADINGS
from thorax.report.tables.heatmap_scores import HEADINGS as HEATMAP_SCORES
from thorax.report.tables.heatmap_scores import NEEDS_NONE
from thorax.storage import joins, store
from thorax.storage.joins import Source
from thorax.storage.schemas import IGNORED, LEFT_OUT, SPLIT_NAMES, class_columns

RANKED = {"auc": "AUC", "average_precision": "Average precision"}
DECIDED = {"sensitivity": "Sensitivity", "specificity": "Specificity", "precision": "PPV", "npv": "NPV", "f1_positive": "F1"}
CALIBRATED = {"ece": "ECE", "brier": "Brier score", "intercept": "Intercept", "slope": "Slope"}
FEW = 50  # positives among the test images below which a class's results are called uncertain
_OPEN = ("folder",)  # groups of the experiment that could name a patient
Rows = list[list[str]]  # of a table; the first has the headings


@dataclass(frozen=True)
class Facts:
    """A model, the labels of its images (`joins.read_labels`) and their rows of the catalog, and its scores of val and test."""

    model: str
    rule: str
    truth: pd.DataFrame
    about: pd.DataFrame
    scores: pd.DataFrame  # with the index of the rows of `truth` that it has
    replicates: int  # of the bootstrap over patients
    seed: int

    @property
    def classes(self) -> list[str]:
        return class_columns(self.truth)

    def parts(self) -> Rows:
        """Images and patients of each part."""
        rows = [["Part", "Images", "Patients"]]
        for part in (*SPLIT_NAMES, LEFT_OUT):
            found = self.truth[self.truth["split"] == part]
            if part in SPLIT_NAMES or len(found):
                rows.append([part.replace("_", " "), f"{len(found):,}", f"{found['patient_id'].nunique():,}"])
        return rows

    def positives(self, terms: Mapping[str, Sequence[str]]) -> Rows:
        """Images with each class in every part, where the label is not known, and the labels that the class stands for."""
        rows = [["Class", *(f"In {part}" for part in SPLIT_NAMES), "Not known", "Labels"]]
        for name in self.classes:
            counts = [(self.truth.loc[self.truth["split"] == part, name] == 1).sum() for part in SPLIT_NAMES]
            unknown = (self.truth[name] == IGNORED).sum()
            rows.append([name, *(f"{count:,}" for count in (*counts, unknown)), ", ".join(terms[name])])
        return rows

    def people(self) -> Rows:
        """Sex, age and view of the images of each part."""
        rows = [["Part", "Female", "Male", "Sex not known", "Age: median (quartiles)", "Age not known", "Views"]]
        for part in SPLIT_NAMES:
            found = self.about[(self.truth["split"] == part).to_numpy()]
            sexes = [(found["sex"] == "F").mean(), (found["sex"] == "M").mean(), found["sex"].isna().mean()]
            ages = found["age"].astype(float).quantile([0.5, 0.25, 0.75])
            age = f"{ages[0.5]:.0f} ({ages[0.25]:.0f} to {ages[0.75]:.0f})" if np.isfinite(ages[0.5]) else "not known"
            views = ", ".join(f"{view} {share:.0%}" for view, share in found["view"].value_counts(normalize=True).items())
            rows.append(
                [part, *(f"{share:.0%}" for share in sexes), age, f"{found['age'].isna().mean():.0%}", views or "not known"]
            )
        return rows

    def results(self, metrics: pd.DataFrame) -> Rows:
        """The results on the test images with 95% intervals, from rows of `schemas.METRICS`; the last row has the means."""
        chosen = metrics[(metrics["model"] == self.model) & (metrics["split"] == "test")]
        chosen = chosen[chosen["threshold_rule"].isin((NO_THRESHOLD, self.rule))].set_index(["class", "metric"])
        rows = [["Class", "Positives", *RANKED.values(), *DECIDED.values()]]
        for name, printed_name in [*((row_name(name), name) for name in self.classes), (GLOBAL, "Mean over classes")]:
            cells = [_estimate(chosen.loc[(name, metric)]) for metric in (*RANKED, *DECIDED)]
            rows.append([printed_name, f"{chosen.loc[(name, 'auc'), 'n_positive']:,}", *cells])
        return rows

    def groups(self, wanted: Sequence[str], limits: np.ndarray) -> tuple[Rows, list[str]]:
        """The mean AUC of groups of test images and its gap to the others, and warnings."""
        truth, scores = self._on("test")
        about = self.about.loc[truth.index]
        columns = [column for column in wanted if column not in _OPEN]
        by_column, remarks = subgroups.read_groups(about, truth[self.classes], columns)
        how = {"model": self.model, "split": "test", "thresholds": {self.rule: limits}, **self._bootstrap}
        rows, warnings = [["Group", "Images", "Patients", "AUC", "Gap to the others"]], list(remarks)
        for column in by_column:
            patients = truth["patient_id"].to_numpy(object)
            table, said = subgroups.measure(truth[self.classes], scores, patients, by_column[column], **how)
            warnings += said
            overall = table[(table["class"] == GLOBAL) & (table["metric"] == "auc")]
            for row in overall.to_dict("records"):
                heading = f"{GROUP_HEADINGS.get(column, column)}: {row['group']}"
                area = _estimate(row) if np.isfinite(row["value"]) else f"not measured ({row['why_blank']})"
                gap = _estimate(row, ("gap", "gap_low", "gap_high"), sign=True)
                rows.append([heading, f"{row['images']:,}", f"{row['patients']:,}", area, gap])
        return rows, warnings

    def calibrated(self, fitted: pd.DataFrame | None) -> Rows:
        """The calibration on the test images, as means over the classes, before and after Platt scaling; None: the model gives votes."""
        truth, scores = self._on("test")
        rows = [["Probabilities", *CALIBRATED.values()]]
        if fitted is None:
            return rows
        for heading, values in (("as predicted", scores), ("after Platt scaling", calibration.scale(scores, fitted, "platt"))):
            found = calibration.measure(truth[self.classes], values, truth["patient_id"].to_numpy(object), **self._bootstrap)
            overall = found[found["class"] == GLOBAL].set_index("metric")
            rows.append([heading, *(_estimate(overall.loc[metric]) for metric in CALIBRATED)])
        return rows

    def limits(self, untuned: Sequence[str]) -> list[str]:
        """What the numbers themselves say against trusting them."""
        test = self.truth[self.truth["split"] == "test"]
        positives = (test[self.classes] == 1).sum()
        few = [f"{name} ({positives[name]})" for name in self.classes if positives[name] < FEW]
        found = [f"Fewer than {FEW} positive test images, so their results are uncertain: {', '.join(few)}."] if few else []
        if untuned:
            found.append(f"Validation images lack positives or negatives, so the threshold is not tuned: {', '.join(untuned)}.")
        return found

    @property
    def _bootstrap(self) -> dict[str, int]:
        return {"replicates": self.replicates, "seed": self.seed}

    def _on(self, part: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Labels and scores of the images of a part, in the same rows."""
        truth = self.truth[self.truth["split"] == part]
        return truth, self.scores.loc[truth.index]


def read_facts(
    model: str, rule: str, labels: Source, split: Source, catalog: Source, scores: pd.DataFrame, replicates: int, seed: int
) -> Facts:
    """The facts of a model; `scores` have the rows and index of `joins.read_labels` of the validation and test images."""
    truth = joins.read_labels(labels, split)
    measured = truth.index[truth["split"].isin(("val", "test"))]
    about = joins.rows_of(store.read_table(catalog), truth["image_id"], catalog, labels)
    return Facts(model, rule, truth, about, scores.set_axis(measured), replicates, seed)


def heatmaps(path: Path | None) -> Rows:
    """How far heatmaps agree with boxes of the findings, means over the classes, next to maps that need no network."""
    rows = [["Map", *HEATMAP_SCORES.values()]]
    table = store.read_table(path) if path else None
    if table is None or table.empty:
        return rows
    overall = table[table["class"] == GLOBAL]
    for name in (MEAN, *NEEDS_NONE):
        of_map = overall[overall["map"] == name].set_index("score")
        if len(of_map):
            heading = "mean of the networks" if name == MEAN else f"to compare: {name}"
            rows.append(
                [heading, *(_estimate(of_map.loc[score]) if score in of_map.index else "–" for score in HEATMAP_SCORES)]
            )
    return rows


def rejected(ingested: pd.DataFrame) -> Rows:
    """Why images of the data set were left out at ingest."""
    counts = ingested.loc[~ingested["ok"], "reason"].value_counts()
    return [
        ["Reason", "Images"],
        *([str(reason).replace("_", " "), f"{count:,}"] for reason, count in counts.sort_index().items()),
    ]


def training(settings: config.Training) -> dict[str, str]:
    """How a network was trained, in words, for a table."""
    augmented = settings.augmentation
    changes = "none"
    if augmented:
        changes = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in augmented.model_dump(mode="json").items())
    return {
        "Initial weights": str(settings.weights),
        "Loss": settings.loss,
        "Optimiser": f"Adam, learning rate {settings.learning_rate:g}, {settings.schedule}",
        "Batch": f"{settings.batch_size}, {settings.accumulate} per update",
        "Epochs": f"at most {settings.epochs}, patience {settings.patience}",
        "Head": f"{settings.head}, {settings.dense_units} hidden units, dropout {settings.dropout:g}",
        "Augmentation": changes,
    }


def _estimate(row: Any, keys: tuple[str, str, str] = ("value", "low", "high"), sign: bool = False) -> str:
    """A value with its 95% interval, or a dash."""
    value, low, high = (float(row[key]) for key in keys)
    between = interval(low, high)
    return printed(value, sign=sign) + (f" ({between})" if between and np.isfinite(value) else "")
