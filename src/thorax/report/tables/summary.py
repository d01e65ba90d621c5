"""The table of label sets (Liz et al. 2022, Table 3)."""

from pathlib import Path

import pandas as pd

from thorax.errors import ThoraxError
from thorax.report.tables.results import COUNTED, images_by_part
from thorax.report.typeset import Cell, Group, Table, write
from thorax.storage import joins
from thorax.storage.schemas import class_columns


def make_summary(labels: dict[str, Path], splits: dict[str, Path], out: Path, provenance: str) -> None:
    """Write summary.html, .md, .tex and .csv into a folder: the classes and images of each label set, in all and by part."""
    if lacking := [name for name in labels if name not in splits]:
        raise ThoraxError(f"Label set {lacking[0]!r} has no split: name the split for each label set.")
    records, rows = [], []
    for name, path in labels.items():
        read = joins.read_labels(path, splits[name])
        sizes = images_by_part(read)
        counts = {"classes": len(class_columns(read)), "samples": sum(sizes.values())} | sizes
        records.append({"label_set": name} | counts | {"provenance": provenance})
        shares = {part: f"{size / max(counts['samples'], 1):.1%}" for part, size in sizes.items()}
        rows.append((name, tuple(Cell(f"{count:,}", detail=shares.get(key, "")) for key, count in counts.items())))
    caption = "Number of classes and of images of each label set, and the images in each part of its split."
    groups = tuple(map(Group, ("# classes", "# samples", "train size", "val. size", "test size")))
    table = Table("Label sets", caption, COUNTED[provenance], groups, "Label set", tuple(rows))
    write(table, pd.DataFrame(records), out, "summary")
