"""The best model of an experiment on groups of the test images, such as men and women, with their gaps to all other images."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from thorax.evaluation import decisions, subgroups
from thorax.evaluation.metrics import GLOBAL
from thorax.report.cells import cell, printed
from thorax.report.tables.operating import named_point, read_best
from thorax.report.tables.results import INTERVALS, PROVENANCE
from thorax.report.typeset import Cell, Group, Table, write
from thorax.storage import joins, store
from thorax.storage.schemas import class_columns

SHOWN = {"auc": "AUC", "sensitivity": "Sensitivity", "specificity": "Specificity"}
HEADINGS = {"label_source": "label source", "findings": "number of findings", "official_split": "official part"}
_NOTES = (
    "Gap: the group minus all images outside it, over the classes that both have, on the same bootstrap samples of all patients. A gap says that "
    "the numbers differ, not why: groups differ in prevalence and in how hard their images are as well.",
    "Classes: those with positives and negatives in the group. Groups have means over different classes, so compare them by their gaps.",
    "The number of findings counts the classes that an image has, without those that say that there is none, such as normal. Images without "
    "findings are negative for each of them, so there is no AUC of a finding in this group.",
    "The CSV file has every class and group.",
    INTERVALS,
)


def groups_table(
    model: str,
    tables: Mapping[str, pd.DataFrame],
    warnings: Sequence[str],
    remarks: Sequence[str],
    rule: str,
    title: str,
    provenance: str,
) -> Table:
    """Arrange the means over the classes by group; `tables` have by column what `subgroups.measure` returns."""
    rows, single = [], []
    for column, table in tables.items():
        heading = HEADINGS.get(column, column)
        for (group, images, patients), found in table.groupby(["group", "images", "patients"], sort=False):
            of_all = found[found["class"] == GLOBAL].set_index("metric")
            areas = found[(found["metric"] == "auc") & (found["class"] != GLOBAL)]["value"]
            row = of_all.iloc[0]
            sizes = (images, patients, row["n_positive"], int(areas.notna().sum()))
            cells = [Cell(f"{count:,}") for count in sizes]
            if (row["why_blank"] == subgroups.SINGLE) and len(of_all) == 1:
                single.append(f"{heading} {group}")
                of_all = of_all.reindex(list(SHOWN)).assign(why_blank=subgroups.SINGLE)
            for metric in SHOWN:
                number = of_all.loc[metric]
                for ends in (("value", "low", "high"), ("gap", "gap_low", "gap_high")):
                    shown = cell(tuple(number[list(ends)].astype(float)))
                    text = printed(number[ends[0]], sign=ends[0] == "gap")
                    cells.append(replace(shown, text=text, hover="" if np.isfinite(number[ends[0]]) else number["why_blank"]))
            rows.append((f"{heading}: {group}", tuple(cells)))
    caption = (
        f"{model}, the model with the highest mean AUC on the validation images, on groups of the test images: means over the classes, "
        f"decisions at {named_point(rule)}."
    )
    notes = (
        *(f"Warning. {warning}" for warning in warnings),
        *remarks,
        *([f"Not measured, as they are {subgroups.SINGLE}: {'; '.join(single)}."] if single else []),
        *([] if rows else ["There is no group to measure."]),
        *_NOTES,
    )
    groups = (Group("Test images", ("images", "patients", "positives", "classes"), "samples"),
              *(Group(heading, ("value", "gap"), metric) for metric, heading in SHOWN.items()))  # fmt: skip
    return Table(
        f"{title}: groups".removeprefix(": "), caption, PROVENANCE[provenance], groups, "Group", tuple(rows), notes=notes
    )


def make_groups(
    title: str, provenance: str, metrics: Path, labels: Path, split: Path, catalog: Path, groups: Sequence[str], rule: str, out: Path,
    predictions: Mapping[str, Path], ensembles: Mapping[str, Path] | None = None, learned: Collection[str] = (), replicates: int = 1000,
    seed: int = 0,
) -> None:  # fmt: skip
    """Write groups.html, .md, .tex and .csv into a folder; `groups` are those of `subgroups.read_groups`."""
    model, truth, scores = read_best(metrics, labels, split, predictions, ensembles or {}, learned)
    test, classes = (truth["split"] == "test").to_numpy(), class_columns(truth)
    limits, _ = decisions.by_rule(truth.loc[~test, classes], scores[~test], [rule])
    truth, scores = truth[test], scores[test]
    about = joins.rows_of(store.read_table(catalog), truth["image_id"], catalog, labels)
    by_column, remarks = subgroups.read_groups(about, truth[classes], groups)
    how = {"model": model, "split": "test", "thresholds": limits, "replicates": replicates, "seed": seed}
    tables, warnings = {}, []
    for column in by_column:
        patients = truth["patient_id"].to_numpy(object)
        tables[column], said = subgroups.measure(truth[classes], scores, patients, by_column[column], **how)
        warnings += said
    write(
        groups_table(model, tables, warnings, remarks, rule, title, provenance),
        pd.concat([pd.DataFrame(columns=subgroups.COLUMNS), *tables.values()]).assign(model=model, provenance=provenance),
        out, "groups",
    )  # fmt: skip
