"""The table of input images: read and left out, images that show the same, and images without lungs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thorax.images import duplicates
from thorax.report.cells import printed
from thorax.report.tables.results import COUNTED
from thorax.report.typeset import Cell, Group, Table, write
from thorax.storage import store
from thorax.storage.schemas import SPLIT_NAMES

REASONS = {  # why an image cannot be used, in words
    "missing": "not there",
    "empty": "no bytes",
    "truncated": "cut or damaged",
    "not_image": "not PNG, JPEG, TIFF or DICOM",
    "constant": "all pixels equal",
    "too_large": "too large",
    "not_radiograph": "DICOM, but not a radiograph",
    "multi_frame": "DICOM with several frames",
    "colour": "DICOM in colour",
    "no_pixels": "DICOM without pixels",
    "unsupported": "DICOM of a kind that is not read",
}
OF_DICOM = ("not_radiograph", "multi_frame", "colour", "no_pixels", "unsupported")  # columns only where there are such files
NAMED_AT_MOST = 10
_IN_DICOM = {
    "burned_in": "DICOM images with annotation in the picture, by their header",
    "collimated": "DICOM images with a collimator, by their header, or a uniform border",
}
_CAPTION = (
    "Every original file is opened once. Files that cannot be used are left out of everything that follows. Images stored in colour "
    "become grey. Pairs of images show the same: identical pixels once ingested, or nearly the same picture by a perceptual hash; how "
    "many are in two parts is that of the split where most are. Where no credible pair of lungs was found, the whole image is used "
    "instead of the crop."
)


@dataclass(frozen=True)
class Screened:
    """What ingest and segmentation found in one data set."""

    ingested: pd.DataFrame  # the columns of `schemas.INGESTED`
    duplicates: pd.DataFrame  # the columns of `schemas.DUPLICATES`
    patients: pd.Series  # patient_id by image_id
    splits: Mapping[str, pd.Series] = field(default_factory=dict)  # by split, the part of each image by image_id
    lungs: Mapping[str, pd.DataFrame] = field(default_factory=dict)  # by segmenter, the columns of `schemas.LUNGS`

    def straddling(self, split: str) -> tuple[int, int]:
        """Count the pairs that show the same and are in different parts of a split, and those of them in train and test."""
        dealt = self.splits[split][self.splits[split].isin(SPLIT_NAMES)]
        pairs = duplicates.among(self.duplicates, dealt.index)
        parts = pd.concat([pairs[column].map(dealt) for column in ("image_id", "other_id")], axis=1)
        apart = parts[parts.iloc[:, 0] != parts.iloc[:, 1]]
        return len(apart), int((apart != "val").all(axis=1).sum())


def screening_table(screened: Mapping[str, Screened], provenance: str) -> tuple[Table, Table, pd.DataFrame]:
    """Count listed, readable and left-out originals of each data set, copies, and the masks that were found credible.

    The first table is without names of images, because git keeps it; the second, for the page, has the first names.
    """
    records = []
    given = {reason for found in screened.values() for reason in found.ingested["reason"]}
    reasons = [reason for reason in REASONS if reason in given or reason not in OF_DICOM]
    for name, found in screened.items():
        counts = found.ingested["reason"].value_counts()
        record: dict[str, Any] = {"dataset": name, "listed": len(found.ingested), "readable": int(found.ingested["ok"].sum())}
        record |= {reason: int(counts.get(reason, 0)) for reason in reasons}
        record["in_colour"] = int((found.ingested.loc[found.ingested["ok"], "channels"] > 1).sum())
        record["identical_pairs"] = int(found.duplicates["identical"].sum())
        record["similar_pairs"] = len(found.duplicates) - record["identical_pairs"]
        one, other = (found.duplicates[column].map(found.patients) for column in ("image_id", "other_id"))
        record["pairs_of_two_patients"] = int((one != other).sum())
        straddling = np.array([(0, 0), *(found.straddling(split) for split in found.splits)])
        record["pairs_in_two_parts"], record["in_train_and_test"] = straddling.max(axis=0).tolist()
        for segmenter, lungs in found.lungs.items():
            record[f"lungs found by {segmenter}"] = int(lungs["credible"].sum())
        records.append(record)
    frame = pd.DataFrame(records).assign(provenance=provenance)
    columns = list(frame.columns[1:-1])
    cells = frame[columns].map(lambda count: Cell(printed(count, 0, undefined="")))
    rows = tuple(zip(frame["dataset"], cells.itertuples(index=False, name=None), strict=True))
    groups = tuple(Group(key.replace("_", " ")) for key in columns)
    notes, named = (tuple(note for name, found in screened.items() for note in of(name, found)) for of in (_notes, _named))
    table = Table("Originals that were read", _CAPTION, COUNTED[provenance], groups, "Data set", rows, notes=notes)
    return table, replace(table, notes=notes + named), frame


def _notes(name: str, found: Screened) -> list[str]:
    """What was left out, how many images show the same, and whether no lungs were found, so that no image was cropped."""
    bad, same = int((~found.ingested["ok"]).sum()), len(found.duplicates)
    left = "1 file was" if bad == 1 else f"{bad:,} files were"
    pairs = "1 pair of images shows" if same == 1 else f"{same:,} pairs of images show"
    left_out = f"{left} left out; results/ingested/{name}.parquet says which, and why."
    notes = [f"{name}: {left_out if bad else 'every listed file could be read.'}"]
    for column, said in _IN_DICOM.items():
        if count := int(found.ingested.loc[found.ingested["ok"], column].sum()):
            notes.append(f"{name}: {said}: {count:,}; the column {column} of results/ingested/{name}.parquet says which.")
    if same:
        notes.append(f"{name}: {pairs} the same; results/ingested/{name}.duplicates.parquet names them.")
        for split in found.splits:
            apart, both = found.straddling(split)
            notes.append(f"{name}, split {split}: pairs in two parts: {apart:,}; of these in train and test: {both:,}.")
    return notes + [
        f"{name}: {segmenter} found credible lungs in no image, so every image was used whole; look at its masks and its pairs."
        for segmenter, lungs in found.lungs.items()
        if not lungs["credible"].any()
    ]


def _named(name: str, found: Screened) -> list[str]:
    """Name the first files that were left out and the first pairs that show the same."""
    bad = found.ingested[~found.ingested["ok"]].sort_values("image_id")
    out = [f"{row.image_id} ({row.reason})" for row in bad.head(NAMED_AT_MOST).itertuples()]
    pairs = found.duplicates.head(NAMED_AT_MOST).itertuples()
    same = [f"{pair.image_id} and {pair.other_id} ({'identical' if pair.identical else 'similar'})" for pair in pairs]
    notes = []
    for heading, names, total in (("left out", out, len(bad)), ("show the same", same, len(found.duplicates))):
        rest = total - len(names)
        if names:
            notes.append(f"{name}, {heading}: {', '.join(names)}" + (f" and {rest:,} more." if rest > 0 else "."))
    return notes


def make_screening(
    ingested: Mapping[str, Path], duplicates: Mapping[str, Path], catalogs: Mapping[str, Path],
    splits: Mapping[str, Sequence[Path]], lungs: Mapping[str, Sequence[Path]], out: Path, provenance: str,
) -> None:  # fmt: skip
    """Write screening.html, .md, .tex and .csv into a folder; splits and tables of crop boxes are by DATASET/NAME."""
    parts = {key: store.read_table(path, ["image_id", "split"]) for key, (path,) in splits.items()}
    boxes = {key: pd.concat([store.read_table(path) for path in paths]) for key, paths in lungs.items()}
    screened = {
        name: Screened(
            store.read_table(ingested[name]),
            store.read_table(duplicates[name]),
            store.read_table(catalogs[name], ["image_id", "patient_id"]).set_index("image_id")["patient_id"],
            {split: table.set_index("image_id")["split"] for split, table in _of(name, parts).items()},
            _of(name, boxes),
        )
        for name in ingested
    }
    table, on_page, values = screening_table(screened, provenance)
    write(table, values, out, "screening", on_page)


def _of(dataset: str, tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables of one data set, without its name in their keys."""
    return {key.partition("/")[2]: table for key, table in tables.items() if key.partition("/")[0] == dataset}
