"""Labelled, packed images as networks read them: batches that are ready before the device asks."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from thorax import augment, store
from thorax.catalog import class_columns
from thorax.config import Augmentation
from thorax.errors import ThoraxError

Item = TypeVar("Item")


@dataclass(frozen=True)
class LabelledImages:
    """The images of one part of a split, with their labels.

    Attributes:
        images: packed (n, size, size) uint8 shards.
        shards, rows: (n,) where each image lies.
        image_ids: (n,) identifiers.
        labels: (n, k) float32 of 1, 0 and -1 (ignored).
        classes: k names.
    """

    images: store.PackedImages
    shards: np.ndarray
    rows: np.ndarray
    image_ids: np.ndarray
    labels: np.ndarray
    classes: list[str]

    @property
    def size(self) -> int:
        """Pixels on a side."""
        return self.images.arrays[0].shape[-1]

    def __len__(self) -> int:
        return len(self.rows)


def read_labelled(
    labels: Path, split: Path, ingested: Path, images: Sequence[Path]
) -> tuple[pd.DataFrame, list[str], store.PackedImages]:
    """Join labels, split and packed images.

    Returns:
        a table sorted by image_id (image_id, patient_id, a column per class, split, ok, shard, row), the classes, and the
        images, checked against the ingested table.

    Raises:
        ThoraxError: a labelled image has no part or was not ingested, or the arrays are not those of the ingested table.
    """
    table = store.read_table(labels, needs=("image_id", "patient_id"))
    assignment = store.read_table(split, ["image_id", "split"])
    places = store.read_table(ingested, ["image_id", "ok", "shard", "row"])
    for frame, path in ((table, labels), (assignment, split), (places, ingested)):
        repeated = frame["image_id"].duplicated()
        if repeated.any():
            raise ThoraxError(f"{path} names image {frame['image_id'][repeated].iloc[0]!r} twice: delete and remake it.")
    joined = table.merge(assignment, on="image_id", how="left").merge(places, on="image_id", how="left")
    for path, lost in ((split, joined["split"].isna()), (ingested, joined["ok"].ne(True))):
        if lost.any():
            raise ThoraxError(
                f"{path} has no usable row for image {joined['image_id'][lost].iloc[0]!r} of {labels}: remake both."
            )
    joined = joined.sort_values("image_id", ignore_index=True).astype({"shard": "int64", "row": "int64"})
    return joined, class_columns(table), store.open_packed(places, images)


def load_part(labels: Path, split: Path, ingested: Path, images: Sequence[Path], part: str) -> LabelledImages:
    """Join labels, split and packed images for one part: train, val or test.

    Raises:
        ThoraxError: the part is empty, or as in `read_labelled`.
    """
    joined, classes, packed = read_labelled(labels, split, ingested, images)
    joined = joined[joined["split"] == part]
    if joined.empty:
        raise ThoraxError(f"{split} gives no image of {labels} to {part}: make its share larger.")
    return LabelledImages(
        images=packed,
        shards=joined["shard"].to_numpy(),
        rows=joined["row"].to_numpy(),
        image_ids=joined["image_id"].to_numpy(),
        labels=joined[classes].to_numpy(np.float32),
        classes=classes,
    )


def training_batches(
    part: LabelledImages, batch_size: int, seed: int, epoch: int, augmentation: Augmentation | None, workers: int = 1
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield an epoch's batches, shuffled and changed, as (b, size, size, 1) uint8 and (b, k) float32.

    What an epoch holds follows from the seed and the epoch's number alone, not from workers or earlier epochs. All batches
    are full, so that networks are compiled for one shape: the few images that do not fill the last one are left out, other
    ones in every epoch.
    """
    batch_size = min(batch_size, len(part))
    order = np.random.default_rng([seed, epoch, 0]).permutation(len(part))
    changes = None
    if augmentation is not None:
        changes = augment.draw(augmentation, part.size, len(part), np.random.default_rng([seed, epoch, 1]))

    def batch(index: int) -> tuple[np.ndarray, np.ndarray]:
        positions = range(index * batch_size, (index + 1) * batch_size)
        chosen = order[positions.start : positions.stop]
        pixels = part.images.take(part.shards[chosen], part.rows[chosen])
        if changes is not None:
            for image, position in zip(pixels, positions, strict=True):
                image[:] = augment.augment(image, changes[position])
        return pixels[..., None], part.labels[chosen]

    yield from _ahead(batch, len(part) // batch_size, workers)


def predict_logits(model: Any, part: LabelledImages, batch_size: int, workers: int = 1) -> np.ndarray:
    """The network's (n, k) float32 logits of all images, in the part's order.

    The last batch is filled up with copies of its last image, so that the network is compiled for one shape.
    """

    def batch(index: int) -> np.ndarray:
        chosen = np.minimum(np.arange(index * batch_size, (index + 1) * batch_size), len(part) - 1)
        return part.images.take(part.shards[chosen], part.rows[chosen])[..., None]

    logits = [np.asarray(model.predict_on_batch(pixels)) for pixels in _ahead(batch, -(-len(part) // batch_size), workers)]
    return np.concatenate(logits)[: len(part)]


def _ahead(make: Callable[[int], Item], count: int, workers: int) -> Iterator[Item]:
    """Yield make(0), make(1), ... in order, made in threads before they are asked for."""
    with ThreadPoolExecutor(max(workers, 1), thread_name_prefix="batches") as pool:
        pending: deque[Future[Item]] = deque()
        for index in range(count):
            pending.append(pool.submit(make, index))
            if len(pending) > workers + 1:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def part_frame(part: LabelledImages, name: str, values: np.ndarray) -> pd.DataFrame:
    """Values (n, k) per image and class as a predictions table (columns of `catalog.scores_schema`)."""
    frame = pd.DataFrame(values.astype(np.float32), columns=part.classes)
    frame.insert(0, "image_id", part.image_ids)
    frame.insert(1, "split", name)
    return frame
