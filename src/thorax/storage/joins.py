"""Tables joined by image: labels with the parts of a split, and scores with the images that they are about.

`source` and `wanted_by` are the files, or words for them, that errors name. What does not fit is an error for the user.
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from thorax.errors import ThoraxError
from thorax.storage import store
from thorax.storage.schemas import class_columns

Source = Path | str


def places_of(table: pd.DataFrame, image_ids: pd.Series, source: Source, wanted_by: Source) -> np.ndarray:
    """The place of each image's row, in the order of `image_ids`; each must be in the table, and none twice."""
    places = pd.Index(table["image_id"])
    if not places.is_unique:
        raise ThoraxError(f"{source} names image {places[places.duplicated()][0]!r} twice: delete and remake it.")
    found = places.get_indexer(image_ids)
    if (found < 0).any():
        image = image_ids.iloc[int((found < 0).argmax())]
        raise ThoraxError(f"{source} has no row for image {image!r} of {wanted_by}: delete and remake it.")
    return found


def rows_of(table: pd.DataFrame, image_ids: pd.Series, source: Source, wanted_by: Source) -> pd.DataFrame:
    """The row of each image, in the order of `image_ids` and with their index; see `places_of`."""
    return table.iloc[places_of(table, image_ids, source, wanted_by)].set_axis(image_ids.index)


def read_labels(labels: Source, split: Source, parts: Collection[str] | None = None) -> pd.DataFrame:
    """Read a label set together with the part of each image, or only the images of some `parts`, of which there must be some.

    Returns image_id, patient_id, split and one column per class (1, 0, -1 = ignored), sorted by image_id. The split may have images of
    other label sets as well.
    """
    table = store.read_table(labels, needs=("image_id", "patient_id")).sort_values("image_id", ignore_index=True)
    table = rows_of(table, table["image_id"], labels, labels)  # each image once
    assigned = store.read_table(split, ["image_id", "split"])
    table.insert(2, "split", rows_of(assigned, table["image_id"], split, labels)["split"])
    if parts is None:
        return table
    chosen = table[table["split"].isin(parts)]
    if chosen.empty:
        raise ThoraxError(f"{split} gives no image of {labels} to {' or '.join(parts)}: make its share larger.")
    return chosen.reset_index(drop=True)


def read_places(images: pd.DataFrame, ingested: pd.DataFrame, source: Source, wanted_by: Source) -> pd.DataFrame:
    """Where each image is in the packed arrays: shard and row (int64), with the index of `images`, all of which must be ok.

    `images` has the column image_id; `ingested` has image_id, ok, shard and row of `schemas.INGESTED`.
    """
    rows = rows_of(ingested, images["image_id"], source, wanted_by)
    unusable = ~rows["ok"].to_numpy(bool)
    if unusable.any():
        image = rows["image_id"][unusable].iloc[0]
        raise ThoraxError(f"{source}: image {image!r} of {wanted_by} could not be ingested: delete and remake {wanted_by}.")
    return rows[["shard", "row"]].astype("int64")


def read_scores(
    path: Source, images: pd.DataFrame, wanted_by: Source, classes: Collection[str] | None = None, further: bool = False
) -> pd.DataFrame:
    """Read predictions or an ensemble's scores (`schemas.scores_schema`) for given images, which have image_id and split.

    The table must have these `classes` and no others (if None, it may have any), and only with `further` other images of the parts
    that the given images are in. Returns (n, k) scores as stored, in the order of `images` and `classes`, with the index of `images`.
    """
    table = store.read_table(path, needs=("image_id", "split"))
    found = class_columns(table)
    classes = found if classes is None else list(classes)
    if different := set(found) ^ set(classes):
        problem = f"do not have the same classes ({min(different)!r} is in one only)"
        raise ThoraxError(f"{path} and {wanted_by} {problem}: predict again.")
    table = table[table["split"].isin(images["split"].unique())]
    unknown = ~table["image_id"].isin(images["image_id"])
    if unknown.any() and not further:
        image = table["image_id"][unknown].iloc[0]
        raise ThoraxError(f"{path} has image {image!r}, which {wanted_by} does not have in these parts: predict again.")
    rows = rows_of(table, images["image_id"], path, wanted_by)
    moved = rows["split"].to_numpy() != images["split"].to_numpy()
    if moved.any():
        place = int(np.argmax(moved))
        image, theirs, ours = rows["image_id"].iloc[place], rows["split"].iloc[place], images["split"].iloc[place]
        raise ThoraxError(f"{path} has image {image!r} in {theirs}, but {wanted_by} has it in {ours}: predict again.")
    return rows[classes]
