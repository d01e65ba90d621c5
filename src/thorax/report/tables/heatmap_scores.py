"""Are the heatmaps right? Tables of what `explanation.localisation` and `models.heatmap_checks` measured."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from thorax.evaluation.metrics import GLOBAL
from thorax.explanation.localisation import CENTRE, LUNGS, MEAN, MEAN_BOX, RANDOM, UNTRAINED
from thorax.explanation.places import AT_MOST, compare_networks
from thorax.report.cells import cell, difference_cell, interval, printed
from thorax.report.tables.repeats import member_of
from thorax.report.tables.results import PROVENANCE, row_headings
from thorax.report.typeset import Cell, Group, Table, write
from thorax.storage import store

HEADINGS = {
    "pointing": "Hottest point in a box",
    "area": "Box in the hottest tenth",
    "iou": "IoU with the box",
    "energy": "Heat in the box",
    "lungs": "Heat in the lungs",
}
NEEDS_NONE = (MEAN_BOX, CENTRE, LUNGS, RANDOM, UNTRAINED)  # maps to compare with
_SAID = ("pointing", "energy")  # scores that the first sentence compares
_CAPTION = (
    "Each row is a map of the same findings, those with boxes on test images. Hottest point in a box: how often the map's maximum lies "
    "in a box of the finding. Box in the hottest tenth: the share of the box that the hottest tenth of the image covers. IoU: "
    "intersection over union with the box, at a threshold chosen on validation boxes. Heat: the share of the map's sum. All are means "
    "over the classes. The last maps need no network, or one that has learnt nothing: a heatmap is worth something where it is better than "
    "these. The mean box is where boxes of the class are in training images. A network whose map is a single cell scores as "
    "chance and is not in the mean."
)
_CHECKS = {
    "depth": "Same map after {share:.0%} of the layers were drawn again (rank correlation)",
    "shift": "Same map after the image was moved by 5% (rank correlation)",
}
_COMPARED = {
    "correlation": "Same map by {who} (rank correlation)",
    "other_correlation": "The same with the map of another image of the class, to compare",
    "distance": "Distance of the hottest points by {who}",
    "other_distance": "The same with the map of another image of the class, to compare",
}
NETWORKS = ""  # the group of different networks that are compared where each was trained once


def verdict(table: pd.DataFrame) -> list[str]:
    """Say in words how the mean of the networks' maps compares with the mean box."""
    found = []
    overall = table[(table["class"] == GLOBAL) & (table["map"] == MEAN)].set_index("score")
    boxes = table[(table["class"] == GLOBAL) & (table["map"] == MEAN_BOX)].set_index("score")
    for score in _SAID if len(overall) else ():
        row = overall.loc[score]
        low, high = row["difference_low"], row["difference_high"]
        how = "more than" if low > 0 else "less than" if high < 0 else "not clearly different from"
        apart = f"difference {printed(row['difference'], sign=True)}, 95% interval {interval(low, high)}"
        ours, theirs = printed(row["value"]), printed(boxes.loc[score, "value"])
        found.append(f"{HEADINGS[score]}: {ours} for the mean of the networks, {how} the mean box ({theirs}; {apart}).")
    return found


def overall_table(table: pd.DataFrame, title: str, provenance: str, drawn_by: str) -> Table:
    """Arrange the scores of every map, as means over the classes with boxes."""
    overall = table[table["class"] == GLOBAL]
    rows = []
    for name, of_map in overall.groupby("map", sort=False):
        by_score = of_map.set_index("score")
        cells = []
        for score in HEADINGS:
            row = by_score.loc[score]
            cells.append(cell((row["value"], row["low"], row["high"])))
            if score in _SAID:
                cells.append(_difference(row))
        rows.append((f"to compare: {name}" if name in NEEDS_NONE else str(name), tuple(cells)))
    groups = tuple(Group(heading, ("", "minus mean box") if score in _SAID else ("",)) for score, heading in HEADINGS.items())
    count = overall.iloc[0] if len(overall) else None
    counted = (
        f"{count['findings']:,} findings of {count['patients']:,} patients. "
        if count is not None
        else "No finding has a box: put a table boxes.csv into the archive's folder, as docs/explanation/heatmaps.md says. "
    )
    notes = (*verdict(table), counted + drawn_by)
    return Table(f"{title}: are the heatmaps right?", _CAPTION, PROVENANCE[provenance], groups, "Map", tuple(rows), notes=notes)


def class_table(table: pd.DataFrame, title: str, provenance: str) -> Table:
    """Arrange the mean of the networks next to the mean box, class by class."""
    chosen = table[table["map"].isin((MEAN, MEAN_BOX)) & (table["class"] != GLOBAL)]
    headings = row_headings(chosen["class"].unique())
    rows = []
    for name, of_class in chosen.groupby("class", sort=False):
        by = of_class.set_index(["map", "score"])
        counts = of_class.iloc[0]
        cells = [Cell(f"{counts['findings']:,}"), Cell(f"{counts['patients']:,}")]
        for score in _SAID:
            of_maps = [by.loc[(kind, score)] for kind in (MEAN, MEAN_BOX) if (kind, score) in by.index]
            cells += [cell((row["value"], row["low"], row["high"])) for row in of_maps] + [_difference(of_maps[0])]
        rows.append((headings[name], tuple(cells)))
    columns = (MEAN, MEAN_BOX, "difference")
    groups = (Group("With boxes", ("findings", "patients")), *(Group(HEADINGS[score], columns) for score in _SAID))
    caption = (
        "How often the hottest point is in a box of the class, and how much of the heat, for the mean of the networks' maps."
    )
    notes = ("A difference is in bold where its 95% interval does not contain 0.",)
    return Table(f"{title}: heatmaps by class", caption, PROVENANCE[provenance], groups, "Class", tuple(rows), notes=notes)


def _difference(row: pd.Series) -> Cell:
    return difference_cell((row["difference"], row["difference_low"], row["difference_high"]))


Compared = Mapping[str, tuple[int, pd.Series]]  # what `places.compare_networks` found, by member or for `NETWORKS`


def _compared_rows(compared: Compared) -> list[tuple[str, tuple[Cell, ...]]]:
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for name, (number, means) in compared.items():
        who = f"{number} trainings of {name}" if name != NETWORKS else f"{number} networks"
        for measure, text in _COMPARED.items():
            share = means[measure]
            value = printed(share) if measure.endswith("correlation") or np.isnan(share) else f"{share:.0%}"
            rows.append((text.format(who=who), (Cell(value),)))
    return rows


def _repeats_said(compared: Compared) -> str:
    """Say in words what was compared with what."""
    if not compared:
        return (
            "No maps of two trainings are compared: that takes two networks whose maps have more than one cell, or the setting "
            "repeats: 2."
        )
    first = "Trainings of the same network with different seeds are compared two by two"
    if NETWORKS in compared:
        first = (
            "Each network was trained once. Different networks are therefore compared two by two, and they may differ in more than the "
            "seed; the setting repeats: 2 trains each one again"
        )
    return (
        f"{first}. Values are means over the classes, of up to {AT_MOST:,} test images with the label. A distance is the larger of its shares of the "
        "width and of the height that the networks saw. Maps of another image show what all maps of a class have in common."
    )


def checks_table(checks: pd.DataFrame, title: str, provenance: str, member: str, count: int, compared: Compared) -> Table:
    """Arrange the checks of one network's maps, and how alike the maps of several trainings or networks are."""
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for share, value in checks.loc[checks["check"] == "depth", ["step", "value"]].itertuples(index=False):
        rows.append((_CHECKS["depth"].format(share=share), (Cell(printed(value)),)))
    rows.append((_CHECKS["shift"], (Cell(printed(checks.loc[checks["check"] == "shift", "value"].mean())),)))
    for name, text in (("deletion", "blurred"), ("insertion", "made sharp")):
        for suffix, order in (("", "the hottest first"), (", random order", "in a random order")):
            mean = checks.loc[checks["check"] == name + suffix, "value"].mean()
            rows.append((f"Mean probability while pixels are {text}, {order}", (Cell(printed(mean)),)))
    rows += _compared_rows(compared)
    caption = (
        f"Checks of the maps of {member} on {count} test images, each for its most probable class. Maps that stay the same when the "
        "weights are random do not show what was learnt. Where a map shows what the network uses, the probability falls faster than in "
        "a random order when its hottest pixels are blurred (a lower mean), and rises faster when they are made sharp (a higher mean)."
    )
    notes, groups = (_repeats_said(compared),), (Group("Value"),)
    return Table(f"{title}: checks of the heatmaps", caption, PROVENANCE[provenance], groups, "Check", tuple(rows), notes=notes)


def make_heatmap_tables(scores: Path, title: str, provenance: str, boxes_by: str, out: Path) -> None:
    """Write heatmap_scores and heatmap_classes as .html, .md, .tex and .csv into a folder."""
    table = store.read_table(scores)
    write(overall_table(table, title, provenance, DRAWN[boxes_by]), table, out, "heatmap_scores")
    write(class_table(table, title, provenance), table[table["class"] != GLOBAL], out, "heatmap_classes")


def make_checks_table(
    checks: Path, title: str, provenance: str, member: str, count: int, labels: Path, split: Path, members: list[str],
    predictions: dict[str, Path], heatmaps: dict[str, Path], out: Path,
) -> None:  # fmt: skip
    """Write heatmap_checks as .html, .md, .tex and .csv into a folder.

    `predictions` and `heatmaps` are those of all trainings, as in `make_repeats`. Trainings of a member are compared with each other,
    or the members if each was trained once.
    """
    measured = pd.read_csv(checks)
    trainings = {name: [each for each in heatmaps if member_of(each, members) == name] for name in members}
    repeated = len(heatmaps) > len(members)
    compared = compare_networks(labels, split, predictions, heatmaps, trainings if repeated else {NETWORKS: members})
    table = checks_table(measured, title, provenance, member, count, compared)
    rows = [
        (f"{measure}: {name or 'networks'}", number, means[measure])
        for name, (number, means) in compared.items()
        for measure in _COMPARED
    ]
    write(table, pd.DataFrame([*measured.to_numpy(), *rows], columns=measured.columns), out, "heatmap_checks")


DRAWN = {
    "experts": "The boxes were drawn by experts.",
    "phantom": "The boxes are those of the program that drew the phantom.",
    "archive": "The boxes are those of the archive.",
}
