"""How many labels the networks doubt, by class, and the list of all of them (`evaluation.suspects`)."""

from pathlib import Path

import numpy as np
import pandas as pd

from thorax.config import fixed_threshold
from thorax.evaluation import metrics, suspects
from thorax.report.tables.results import PROVENANCE, row_headings
from thorax.report.typeset import Cell, Group, Table, write
from thorax.storage import store
from thorax.storage.schemas import IGNORED, class_columns

TOTAL = "All classes"


def suspects_table(truth: pd.DataFrame, doubted: pd.DataFrame, title: str, data: str, model: str) -> tuple[Table, pd.DataFrame]:
    """Count known and doubted labels by class; the last row is of all classes. `doubted` is from `suspects.find`."""
    classes = class_columns(truth)
    records: list[dict[str, object]] = []
    for name in classes:
        labels, found = truth[name], doubted.loc[doubted["class"] == name, "label"]
        counts = {
            "yes": (labels == 1).sum(),
            "no": (labels == 0).sum(),
            "yes_doubted": (found == 1).sum(),
            "no_doubted": (found == 0).sum(),
        }
        records.append({"class": name, **{key: int(count) for key, count in counts.items()}})
    frame = pd.DataFrame(records).set_index("class")
    frame.loc[TOTAL] = frame.sum()
    frame["share"] = (frame["yes_doubted"] + frame["no_doubted"]) / (frame["yes"] + frame["no"]).where(lambda known: known > 0)
    headings = row_headings(classes) | {TOTAL: TOTAL}
    rows = [
        (headings[name], tuple(map(Cell, (*(f"{int(count):,}" for count in counts), f"{share:.1%}" if np.isfinite(share) else "–"))))
        for name, *counts, share in frame.itertuples(name=None)
    ]  # fmt: skip
    groups = (Group("Labels", ("yes", "no"), "labels"), Group("Doubted", ("yes", "no", "share"), "doubted"))
    caption = (
        f"Labels that are probably wrong by {model}: a label is doubted if the calibrated probability of the other answer is as high as "
        "it is on average where that is the label (confident learning, Northcutt et al. 2021)."
    )
    parts = truth["split"].value_counts()
    notes = (
        f"Only the {parts.get('val', 0):,} validation and {parts.get('test', 0):,} test images are searched. The networks have learnt from "
        "the training images and their wrong labels; validation images have chosen the epoch that is kept.",
        "A doubted label is a question, not an answer: networks doubt correct labels of rare or faint findings as well.",
        f"Left out of the search: {int((truth[classes] == IGNORED).to_numpy().sum()):,} labels that are not known.",
    )
    return Table(f"{title}: doubted labels", caption, data, groups, "Class", tuple(rows), True, notes), frame.reset_index()


def make_suspects(
    title: str, provenance: str, labels: Path, split: Path, predictions: dict[str, Path], ensembles: dict[str, Path], list_: Path,
    out: Path, rule: str = metrics.FIXED,
) -> None:  # fmt: skip
    """Write suspects as .html, .md, .tex and .csv into a folder, and `list_`, all doubted labels by class and rank.

    `predictions` are those of the networks; `rule` must be fixed, and turns their probabilities into yes and no.
    """
    truth, models = metrics.read_models(labels, split, predictions, ensembles)
    members = {name: models[name] for name in predictions}
    chosen = suspects.best_probabilities(truth, members, {name: models[name] for name in ensembles})
    limit = fixed_threshold(rule)
    votes = {name: table > limit for name, table in members.items()}
    doubted = suspects.find(truth, models[chosen] if chosen else suspects.mean(members), votes)
    model = chosen or (f"the mean probability of {len(members)} networks" if len(members) > 1 else next(iter(members)))
    store.write_text(doubted.to_csv(index=False), list_)
    write(*suspects_table(truth, doubted, title, PROVENANCE[provenance], model), out, "suspects")
