"""Other published systems, as our papers and sources cite them: what each was measured on, and its AUC (Table 12 of Liz et al. 2022).

The numbers are those of `published_numbers`; resources/published/systems.csv says which data, classes and split they come from.
"""

from pathlib import Path

import pandas as pd

from thorax.errors import ThoraxError
from thorax.evaluation.metrics import GLOBAL
from thorax.report import published_numbers
from thorax.report.cells import UNDEFINED, printed
from thorax.report.typeset import Cell, Group, Table, write
from thorax.storage import store

_KEYS = ["paper", "variant", "model"]
_APART = (
    "Each system was measured on its own classes, images and split: these numbers cannot be compared with ours, and mostly not with "
    "each other."
)
_SOURCE = {"irvin2019": "Irvin et al. 2019, Table {table}", "liz2022": "Liz et al. 2022, Table {table}", "published": "{table}"}
_DOUBT = "? Not checked against the system's own paper; in the HTML, hover over the number to see why."
_MISSING = f"{UNDEFINED}: not given."


def load(archive: str) -> pd.DataFrame:
    """Return the systems that were measured on an archive (a key of `archives.ARCHIVES`), one row each.

    The columns are system, data, classes, split, source, auc and accuracy (NaN where not given), mean_of (classes that the AUC
    is our mean of; 0 where it is the published one), doubt, and numbers: a frame of class, value and doubt, which may be empty.
    """
    known = store.read_csv(published_numbers.SYSTEMS, keep_default_na=False, dtype=str)
    chosen = known[known["archive"] == archive]
    if chosen.empty:
        problem = f"{published_numbers.SYSTEMS} has no system of {archive!r}"
        raise ThoraxError(f"{problem}: choose one of {', '.join(dict.fromkeys(known['archive']))}.")
    rows = published_numbers.load()
    return pd.DataFrame([_system(entry, rows) for entry in chosen.to_dict("records")])


def _system(entry: dict[str, str], rows: pd.DataFrame) -> dict[str, object]:
    own = rows[(rows[_KEYS] == [entry[key] for key in _KEYS]).all(axis=1)]
    areas = own[own["metric"] == "auc"]
    whole, classes = areas[areas["class"] == GLOBAL], areas[areas["class"] != GLOBAL]
    accuracy = own.loc[own["metric"] == "accuracy", "value"]
    return {
        **{key: entry[key] for key in ("system", "data", "classes", "split")},
        "source": _SOURCE[entry["paper"]].format(table=own["table"].iloc[0]),
        "auc": float(whole["value"].iloc[0]) if len(whole) else float(classes["value"].mean()),
        "accuracy": float(accuracy.iloc[0]) if len(accuracy) else float("nan"),
        "mean_of": 0 if len(whole) else len(classes),
        "doubt": "; ".join(dict.fromkeys(filter(None, areas["doubt"]))),
        "numbers": classes[["class", "value", "doubt"]],
    }


def systems_table(archive: str) -> tuple[Table, pd.DataFrame]:
    """Return the systems of an archive: what they were measured on, and their mean AUC. Errors as in `load`."""
    systems = load(archive)
    rows = []
    for row in systems.itertuples():
        area = _area(row.auc, row.doubt, f"our mean of {row.mean_of} classes" if row.mean_of else "")
        about = (Cell(row.data), Cell(row.classes), Cell(row.split))
        rows.append((row.system, (*about, area, Cell(printed(row.accuracy, 2)), Cell(row.source))))
    headings = {"data": True, "classes": False, "split": True, "AUC": False, "accuracy": False, "source": True}
    groups = tuple(Group(heading, words=words) for heading, words in headings.items())
    caption = "What each was measured on, and its mean AUC over the classes, as our sources give them."
    table = Table("Other published systems", caption, _APART, groups, "System", tuple(rows), notes=_notes(systems))
    return table, systems.drop(columns="numbers")


def classes_table(archive: str) -> tuple[Table, pd.DataFrame]:
    """Return the AUCs by class of the systems of an archive that have them, with the systems as columns."""
    systems = load(archive)
    systems = systems[systems["numbers"].map(len) > 0]
    if systems.empty:
        raise ThoraxError(f"No system of {archive!r} has numbers by class: only the table `systems` can be made.")
    numbers = pd.concat([row.numbers.assign(system=row.system) for row in systems.itertuples()], ignore_index=True)
    areas = {(row["system"], row["class"]): _area(row["value"], row["doubt"]) for row in numbers.to_dict("records")}
    rows = [
        (name[:1].upper() + name[1:], tuple(areas.get((system, name), Cell(UNDEFINED)) for system in systems["system"]))
        for name in numbers["class"].unique()
    ]
    rows.append(("Mean, as published or ours", tuple(Cell(printed(value)) for value in systems["auc"])))
    title, caption = "Other published systems, per class", "AUC by class, under the names that the systems' authors use."
    groups = tuple(map(Group, systems["system"]))
    table = Table(title, caption, _APART, groups, "Class", tuple(rows), total=True, notes=_notes(systems))
    return table, numbers[["system", "class", "value", "doubt"]]


def _area(value: float, doubt: str, detail: str = "") -> Cell:
    return Cell(printed(value) + "?" * bool(doubt), detail=detail, hover=doubt)


def _notes(systems: pd.DataFrame) -> tuple[str, ...]:
    return (_MISSING, *([_DOUBT] if systems["doubt"].any() else []))


def make_systems(archive: str, table: str, out: Path) -> None:
    """Write {table}.html, .md, .tex and .csv into a folder; `table` is systems or classes."""
    make = {"systems": systems_table, "classes": classes_table}[table]
    write(*make(archive), out, table)
