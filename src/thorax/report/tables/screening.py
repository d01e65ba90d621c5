"""What was left out of each data set and why, which images show the same, and where no lungs were found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from thorax.images import duplicates
from thorax.report import typeset
from thorax.report.tables.results import counted_on
from thorax.storage import store
from thorax.storage.schemas import SPLIT_NAMES

REASONS = ("missing", "empty", "truncated", "not_image", "constant", "too_large")
NAMED_AT_MOST = 10


@dataclass(frozen=True)
class Screened:
    """What is known of one data set.

    Attributes:
        ingested: the columns of `catalog.INGESTED`.
        duplicates: the columns of `catalog.DUPLICATES`.
        patients: patient_id by image_id.
        splits: by split of the data set, the part of each image by image_id.
        lungs: by segmenter, the columns of `catalog.LUNGS`.
    """

    ingested: pd.DataFrame
    duplicates: pd.DataFrame
    patients: pd.Series
    splits: Mapping[str, pd.Series] = field(default_factory=dict)
    lungs: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    def straddling(self, split: str) -> tuple[int, int]:
        """Pairs that show the same in different parts of a split, and how many of these are in train and test."""
        dealt = self.splits[split][self.splits[split].isin(SPLIT_NAMES)]
        pairs = duplicates.among(self.duplicates, dealt.index)
        parts = pd.concat([pairs[column].map(dealt) for column in ("image_id", "other_id")], axis=1)
        apart = parts[parts.iloc[:, 0] != parts.iloc[:, 1]]
        return len(apart), int((apart != "val").all(axis=1).sum())


def screening_table(screened: Mapping[str, Screened], data: str) -> tuple[typeset.Table, typeset.Table, pd.DataFrame]:
    """Count listed, readable and left-out originals of each data set, copies, and the masks that were found credible.

    Args:
        screened: by data set.
        data: "phantom", "sample" or "archive".

    Returns:
        The table for people, without a name of an image, because git keeps it; the same with the first names for the page,
        which git ignores; and the same numbers as a frame.
    """
    records = []
    for name, found in screened.items():
        counts = found.ingested["reason"].value_counts()
        record: dict[str, Any] = {"dataset": name, "listed": len(found.ingested), "readable": int(found.ingested["ok"].sum())}
        record |= {reason: int(counts.get(reason, 0)) for reason in REASONS}
        record["in_colour"] = int((found.ingested.loc[found.ingested["ok"], "channels"] > 1).sum())
        record["identical_pairs"] = int(found.duplicates["identical"].sum())
        record["similar_pairs"] = len(found.duplicates) - record["identical_pairs"]
        one, other = (found.duplicates[column].map(found.patients) for column in ("image_id", "other_id"))
        record["pairs_of_two_patients"] = int((one != other).sum())
        straddling = [found.straddling(split) for split in found.splits]
        record["pairs_in_two_parts"] = max((apart for apart, _ in straddling), default=0)
        record["in_train_and_test"] = max((both for _, both in straddling), default=0)
        for segmenter, lungs in found.lungs.items():
            record[f"lungs found by {segmenter}"] = int(lungs["credible"].sum())
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
        "in colour become grey. Pairs of images show the same: identical pixels once ingested, or nearly the same picture by a "
        "perceptual hash; how many are in two parts is that of the split where most are. Where no credible pair of lungs was found, the whole image is used instead of the crop.",
        data=counted_on(data),
        groups=tuple(typeset.Group(key.replace("_", " ")) for key in columns),
        name_heading="Data set",
        rows=rows,
        notes=tuple(
            note
            for name, found in screened.items()
            for note in (_left_out(name, found), *_copies(name, found), *_without_lungs(name, found))
        ),
    )
    named = tuple(note for name, found in screened.items() for note in _named(name, found))
    return table, replace(table, notes=(*table.notes, *named)), frame


def _left_out(name: str, found: Screened) -> str:
    bad = int((~found.ingested["ok"]).sum())
    if not bad:
        return f"{name}: every listed file could be read."
    left = "1 file was" if bad == 1 else f"{bad:,} files were"
    return f"{name}: {left} left out; results/ingested/{name}.parquet says which, and why."


def _copies(name: str, found: Screened) -> list[str]:
    """One note per split, where images show the same."""
    if found.duplicates.empty:
        return []
    same = "1 pair of images shows" if len(found.duplicates) == 1 else f"{len(found.duplicates):,} pairs of images show"
    notes = [f"{name}: {same} the same; results/ingested/{name}.duplicates.parquet names them."]
    for split in found.splits:
        apart, train_and_test = found.straddling(split)
        notes.append(f"{name}, split {split}: pairs in two parts: {apart:,}; of these in train and test: {train_and_test:,}.")
    return notes


def _without_lungs(name: str, found: Screened) -> list[str]:
    """One note per segmenter that found nothing: then no image was cropped, although the images were to be."""
    return [
        f"{name}: {segmenter} found credible lungs in no image, so every image was used whole; look at its masks and its pairs."
        for segmenter, lungs in found.lungs.items()
        if not lungs["credible"].any()
    ]


def _named(name: str, found: Screened) -> list[str]:
    """The first files that were left out and the first pairs that show the same."""
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
    ingested: Mapping[str, Path],
    duplicates: Mapping[str, Path],
    catalogs: Mapping[str, Path],
    splits: Mapping[str, Sequence[Path]],
    lungs: Mapping[str, Sequence[Path]],
    out: Path,
    data: str,
) -> None:
    """Write screening.html, .md, .tex and .csv into a folder.

    Args:
        ingested: the merged table of each data set.
        duplicates: each data set's table of images that show the same.
        catalogs: each data set's catalog.
        splits: the table of each split, by "dataset/split".
        lungs: tables of crop boxes, all shards, by "dataset/segmenter".
        out: the folder.
        data: "phantom", "sample" or "archive".
    """
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
    table, on_page, values = screening_table(screened, data)
    typeset.write(table, values, Path(out), "screening", on_page)


def _of(dataset: str, tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Those of one data set, without its name."""
    return {key.partition("/")[2]: table for key, table in tables.items() if key.partition("/")[0] == dataset}
