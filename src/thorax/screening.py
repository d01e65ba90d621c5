"""What was left out of each data set and why: unreadable originals, and lungs that were not found."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from thorax import store, typeset
from thorax.tables import counted_on

REASONS = ("missing", "empty", "truncated", "not_image", "constant", "too_large")
NAMED_AT_MOST = 10


def screening_table(
    ingested: dict[str, pd.DataFrame], lungs: dict[str, dict[str, pd.DataFrame]], data: str
) -> tuple[typeset.Table, pd.DataFrame]:
    """Count listed, readable and left-out originals of each data set, and the masks that were found credible.

    Args:
        ingested: the columns of `catalog.INGESTED` by data set.
        lungs: the columns of `catalog.LUNGS` by data set and segmenter; may lack data sets.
        data: "phantom", "sample" or "archive".

    Returns:
        The table for people, and the same numbers as a frame.
    """
    records = []
    for name, table in ingested.items():
        counts = table["reason"].value_counts()
        record = {"dataset": name, "listed": len(table), "readable": int(table["ok"].sum())}
        record |= {reason: int(counts.get(reason, 0)) for reason in REASONS}
        record["in_colour"] = int((table.loc[table["ok"], "channels"] > 1).sum())
        for segmenter, found in lungs.get(name, {}).items():
            record[f"lungs found by {segmenter}"] = int(found["credible"].sum())
        records.append(record)
    frame = pd.DataFrame(records).assign(data=data)
    columns = list(frame.columns[1:-1])
    rows = tuple(
        (str(record["dataset"]), tuple(typeset.Cell("" if pd.isna(record.get(key)) else f"{record[key]:,}") for key in columns))
        for record in records
    )
    table = typeset.Table(
        title="Originals that were read",
        caption="Every original file is opened once. Files that cannot be used are left out of everything that follows. Images stored "
        "in colour become grey. Where no credible pair of lungs was found, the whole image is used instead of the crop.",
        data=counted_on(data),
        groups=tuple(typeset.Group(key.replace("_", " ")) for key in columns),
        name_heading="Data set",
        rows=rows,
        notes=_left_out(ingested),
    )
    return table, frame


def _left_out(ingested: dict[str, pd.DataFrame]) -> tuple[str, ...]:
    """One note per data set with the first files that were left out, or that none was."""
    notes = []
    for name, table in ingested.items():
        bad = table[~table["ok"]].sort_values("image_id")
        if bad.empty:
            notes.append(f"{name}: every listed file could be read.")
            continue
        named = ", ".join(f"{row.image_id} ({row.reason})" for row in bad.head(NAMED_AT_MOST).itertuples())
        rest = len(bad) - NAMED_AT_MOST
        notes.append(f"{name}, left out: {named}" + (f" and {rest:,} more." if rest > 0 else "."))
    return tuple(notes)


def make_screening(ingested: dict[str, Path], lungs: Mapping[str, Sequence[Path]], out_dir: Path, data: str) -> None:
    """Write screening.html, .md, .tex and .csv into a folder.

    Args:
        ingested: the merged table of each data set.
        lungs: tables of crop boxes, all shards, by "dataset/segmenter".
        out_dir: the folder.
        data: "phantom", "sample" or "archive".
    """
    found: dict[str, dict[str, pd.DataFrame]] = {}
    for key, paths in lungs.items():
        dataset, segmenter = key.split("/")
        found.setdefault(dataset, {})[segmenter] = pd.concat([store.read_table(path) for path in paths])
    table, values = screening_table({name: store.read_table(path) for name, path in ingested.items()}, found, data)
    typeset.write(table, values, Path(out_dir), "screening")
