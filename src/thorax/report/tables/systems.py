"""Other published systems, as our papers and sources cite them: what each was measured on, and its AUC (Table 12 of Liz et al. 2022).

The numbers are those of `reference`; resources/published/systems.csv says of each system which data, how many classes and which split they
come from. Ours are not in these tables: the classes, images and splits differ.
"""

from pathlib import Path

import pandas as pd

from thorax.errors import ThoraxError
from thorax.evaluation.metrics import GLOBAL
from thorax.report import published_numbers, typeset
from thorax.storage import store

SYSTEMS = published_numbers.FOLDER / published_numbers.SYSTEMS
TABLES = ("systems", "classes")
_KEYS = ["paper", "variant", "model"]
_APART = (
    "Each system was measured on its own classes, images and split: these numbers cannot be compared with ours, and mostly not with "
    "each other."
)
_SOURCE = {"irvin2019": "Irvin et al. 2019, Table {table}", "liz2022": "Liz et al. 2022, Table {table}", "published": "{table}"}
_DOUBT = "? Not checked against the system's own paper; in the HTML, hover over the number to see why."
_MISSING = "–: not given."


def load(archive: str) -> pd.DataFrame:
    """The systems that were measured on an archive, one row each.

    Args:
        archive: a key of `datasets.ARCHIVES`.

    Returns:
        system, data, classes, split, source, auc and accuracy (NaN where not given), mean_of (classes that the AUC is our mean
        of; 0 where it is the published one), doubt; and numbers, a frame of class, auc, for those with numbers by class.

    Raises:
        ThoraxError: no system of this archive is on record, or one has no numbers.
    """
    known = store.read_csv(SYSTEMS, keep_default_na=False, dtype=str)
    chosen = known[known["archive"] == archive]
    if chosen.empty:
        raise ThoraxError(
            f"{SYSTEMS} has no system of {archive!r}: choose one of {', '.join(dict.fromkeys(known['archive']))}."
        )
    rows = published_numbers.load()
    return pd.DataFrame([_system(entry, rows) for entry in chosen.to_dict("records")])


def _system(entry: dict[str, str], rows: pd.DataFrame) -> dict[str, object]:
    own = rows[(rows[_KEYS] == [entry[key] for key in _KEYS]).all(axis=1)]
    areas = own[own["metric"] == "auc"]
    if areas.empty:
        raise ThoraxError(
            f"{SYSTEMS}: {entry['system']!r} has no AUC in {published_numbers.FOLDER}: correct its paper, variant and model."
        )
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


def systems_table(archive: str) -> tuple[typeset.Table, pd.DataFrame]:
    """The systems of an archive: what they were measured on, and their mean AUC. Errors as in `load`."""
    systems = load(archive)
    rows = tuple(
        (
            row.system,
            (
                typeset.Cell(row.data),
                typeset.Cell(row.classes),
                typeset.Cell(row.split),
                typeset.Cell(
                    f"{row.auc:.3f}{'?' if row.doubt else ''}",
                    detail=f"our mean of {row.mean_of} classes" if row.mean_of else "",
                    hover=row.doubt,
                ),
                typeset.Cell("–" if pd.isna(row.accuracy) else f"{row.accuracy:.2f}"),
                typeset.Cell(row.source),
            ),
        )
        for row in systems.itertuples()
    )
    words = ("data", "split", "source")
    table = typeset.Table(
        title="Other published systems",
        caption="What each was measured on, and its mean AUC over the classes, as our sources give them.",
        data=_APART,
        groups=tuple(
            typeset.Group(heading, words=heading in words)
            for heading in ("data", "classes", "split", "AUC", "accuracy", "source")
        ),
        name_heading="System",
        rows=rows,
        notes=(_MISSING, *([_DOUBT] if systems["doubt"].any() else [])),
    )
    return table, systems.drop(columns="numbers")


def classes_table(archive: str) -> tuple[typeset.Table, pd.DataFrame]:
    """The AUCs by class of the systems of an archive that have them, the systems as columns. Errors as in `load`.

    Raises:
        ThoraxError: no system of the archive has numbers by class.
    """
    systems = load(archive)
    systems = systems[systems["numbers"].map(len) > 0]
    if systems.empty:
        raise ThoraxError(f"No system of {archive!r} has numbers by class: only the table `systems` can be made.")
    numbers = {row.system: row.numbers.set_index("class") for row in systems.itertuples()}
    names = list(dict.fromkeys(name for frame in numbers.values() for name in frame.index))

    def cell(frame: pd.DataFrame, name: str) -> typeset.Cell:
        if name not in frame.index:
            return typeset.Cell("–")
        doubt = frame.loc[name, "doubt"]
        return typeset.Cell(f"{frame.loc[name, 'value']:.3f}{'?' if doubt else ''}", hover=doubt)

    rows = [(name[:1].upper() + name[1:], tuple(cell(frame, name) for frame in numbers.values())) for name in names]
    rows.append(("Mean, as published or ours", tuple(typeset.Cell(f"{value:.3f}") for value in systems["auc"])))
    table = typeset.Table(
        title="Other published systems, per class",
        caption="AUC by class, under the names that the systems' authors use.",
        data=_APART,
        groups=tuple(typeset.Group(name) for name in numbers),
        name_heading="Class",
        rows=tuple(rows),
        total=True,
        notes=(_MISSING, *([_DOUBT] if systems["doubt"].any() else [])),
    )
    frames = [frame.reset_index().assign(system=name) for name, frame in numbers.items()]
    return table, pd.concat(frames, ignore_index=True)[["system", "class", "value", "doubt"]]


def make_systems(archive: str, table: str, out: Path) -> None:
    """Write {table}.html, .md, .tex and .csv into a folder.

    Args:
        archive: a key of `datasets.ARCHIVES`.
        table: one of `TABLES`.
        out: the folder.

    Raises:
        ThoraxError: as in `systems_table` and `classes_table`.
    """
    typeset.write(*{"systems": systems_table, "classes": classes_table}[table](archive), Path(out), table)
