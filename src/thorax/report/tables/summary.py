"""The table of label sets (Liz et al. 2022, Table 3)."""

from pathlib import Path

import pandas as pd

from thorax.errors import ThoraxError
from thorax.report.tables.results import COUNTED, images_by_part
from thorax.report.typeset import Cell, Group, Table, write
from thorax.storage import joins
from thorax.storage.schemas import class_columns


def summary_table(label_sets: dict[str, pd.DataFrame], provenance: str) -> tuple[Table, pd.DataFrame]:
    """Count the classes and images of each label set (`joins.read_labels`), in all and by part, as in Table 3."""
    records = []
    for name, labels in label_sets.items():
        sizes = images_by_part(labels)
        known = {"label_set": name, "classes": len(class_columns(labels)), "samples": sum(sizes.values())}
        records.append(known | sizes | {"provenance": provenance})
    frame = pd.DataFrame(records)
    table = Table(
        title="Label sets",
        caption="Number of classes and of images of each label set, and the images in each part of its split.",
        data=COUNTED[provenance],
        groups=tuple(map(Group, ("# classes", "# samples", "train size", "val. size", "test size"))),
        name_heading="Label set",
        rows=tuple(
            (row[0], tuple(Cell(str(count)) for count in row[1:-1])) for row in frame.itertuples(index=False, name=None)
        ),
    )
    return table, frame


def make_summary(labels: dict[str, Path], splits: dict[str, Path], out: Path, provenance: str) -> None:
    """Write summary.html, .md, .tex and .csv into a folder; the names of the label sets are those of the rows."""
    if lacking := [name for name in labels if name not in splits]:
        raise ThoraxError(f"Label set {lacking[0]!r} has no split: name the split for each label set.")
    read = {name: joins.read_labels(path, splits[name]) for name, path in labels.items()}
    write(*summary_table(read, provenance), out, "summary")
