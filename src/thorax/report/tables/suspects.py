"""How many labels the networks doubt, by class, and the list of all of them (`evaluation.suspects`)."""

from pathlib import Path
from typing import Any

import pandas as pd

from thorax.config import fixed_threshold
from thorax.evaluation import metrics, suspects
from thorax.report.cells import UNDEFINED, printed
from thorax.report.tables.results import PROVENANCE, row_headings
from thorax.report.typeset import Cell, Group, Table, write
from thorax.storage import store
from thorax.storage.schemas import IGNORED, class_columns

TOTAL = "All classes"


def suspects_table(
    truth: pd.DataFrame, scores: pd.DataFrame, doubted: pd.DataFrame, title: str, data: str, model: str
) -> tuple[Table, pd.DataFrame]:
    """Count known and doubted labels by class; the last row is of all classes. `doubted` is what `suspects.find` says of `scores`."""
    classes = class_columns(truth)
    records: list[dict[str, Any]] = []
    for name in classes:
        labels, found = truth[name].to_numpy(), doubted.loc[doubted["class"] == name, "label"]
        counts = {"yes": labels == 1, "no": labels == 0, "yes_doubted": found == 1, "no_doubted": found == 0}
        area = metrics.auc(labels, scores[name].to_numpy())
        records.append({"class": name, "auc": area} | {key: int(of.sum()) for key, of in counts.items()})
    frame = pd.DataFrame(records)
    sums = {key: int(frame[key].sum()) for key in ("yes", "no", "yes_doubted", "no_doubted")}
    frame = pd.DataFrame([*records, {"class": TOTAL, "auc": frame["auc"].mean()} | sums])
    frame["share"] = (frame["yes_doubted"] + frame["no_doubted"]) / (frame["yes"] + frame["no"]).where(lambda known: known > 0)
    headings = row_headings(classes) | {TOTAL: TOTAL}
    rows = [
        (headings[name], tuple(map(Cell, (printed(area), *(f"{n:,}" for n in counts), f"{share:.1%}" if share >= 0 else UNDEFINED))))
        for name, area, *counts, share in frame.itertuples(index=False, name=None)
    ]  # fmt: skip
    groups = (Group("AUC"), Group("Labels", ("yes", "no"), "labels"), Group("Doubted", ("yes", "no", "share"), "doubted"))
    caption = (
        f"Labels that are probably wrong by {model}: a label is doubted if the other answer is more probable, and as probable as on "
        "average where that is the label (confident learning, Northcutt et al. 2021)."
    )
    parts = truth["split"].value_counts()
    notes = (
        f"Only the {parts.get('val', 0):,} validation and {parts.get('test', 0):,} test images are searched. The networks have learnt from "
        "the training images and their wrong labels; validation images have chosen the epoch that is kept.",
        "A doubted label is a question, not an answer: networks doubt correct labels of rare or faint findings as well. Where the AUC is "
        "low, doubts mean little; a class that is not ranked better than chance is not searched.",
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
    scores = models[chosen] if chosen else suspects.mean(members)
    doubted = suspects.find(truth, scores, votes)
    model = chosen or (f"the mean probability of {len(members)} networks" if len(members) > 1 else next(iter(members)))
    store.write_text(doubted.to_csv(index=False), list_)
    write(*suspects_table(truth, scores, doubted, title, PROVENANCE[provenance], model), out, "suspects")
