"""Labelled, packed images as Keras reads them: batches that are ready before the device asks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from thorax import augment, store
from thorax.catalog import class_columns
from thorax.config import Augmentation
from thorax.errors import ThoraxError


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


def load_part(labels: Path, split: Path, ingested: Path, images: Sequence[Path], part: str) -> LabelledImages:
    """Join labels, split and packed images for one part: train, val or test.

    Raises:
        ThoraxError: the part is empty, or a labelled image was not ingested.
    """
    table = store.read_table(labels)
    assignment = store.read_table(split, ["image_id", "split"])
    places = store.read_table(ingested, ["image_id", "ok", "shard", "row"])
    joined = table.merge(assignment, on="image_id", validate="1:1").merge(places, on="image_id", how="left", validate="1:1")
    joined = joined[joined["split"] == part].sort_values("image_id", ignore_index=True)
    if joined.empty:
        raise ThoraxError(f"{split} gives no image of {labels} to {part}: make its share larger.")
    lost = joined["ok"].ne(True)
    if lost.any():
        raise ThoraxError(
            f"{labels} has image {joined['image_id'][lost].iloc[0]!r}, which {ingested} does not hold: remake both."
        )
    classes = class_columns(table)
    return LabelledImages(
        images=store.PackedImages(images),
        shards=joined["shard"].to_numpy(),
        rows=joined["row"].to_numpy(),
        image_ids=joined["image_id"].to_numpy(),
        labels=joined[classes].to_numpy(np.float32),
        classes=classes,
    )


class Batches(keras.utils.PyDataset):
    """Batches of (images (b, size, size, 1) uint8, labels (b, k) float32), made in threads ahead of the device.

    With a seed the images are shuffled, and changed where `augmentation` is given. What an epoch holds follows from
    the seed and the epoch's number alone, not from threads or from earlier epochs.
    """

    def __init__(
        self,
        part: LabelledImages,
        batch_size: int,
        workers: int = 1,
        seed: int | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        super().__init__(workers=max(workers, 2), use_multiprocessing=False, max_queue_size=8)
        self.part = part
        self.batch_size = batch_size
        self.seed = seed
        self.augmentation = augmentation
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Draw the order and the changes of an epoch."""
        self.order = np.arange(len(self.part))
        self.changes: list[augment.Draw] | None = None
        if self.seed is None:
            return
        self.order = np.random.default_rng([self.seed, epoch, 0]).permutation(len(self.part))
        if self.augmentation is not None:
            rng = np.random.default_rng([self.seed, epoch, 1])
            self.changes = augment.draw(self.augmentation, self.part.size, len(self.part), rng)

    def __len__(self) -> int:
        return -(-len(self.part) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        pixels = self.part.images.take(self.part.shards[chosen], self.part.rows[chosen])
        if self.changes is not None:
            first = index * self.batch_size
            for position in range(len(chosen)):
                pixels[position] = augment.augment(pixels[position], self.changes[first + position])
        return pixels[..., None], self.part.labels[chosen]


def part_frame(part: LabelledImages, name: str, values: np.ndarray) -> pd.DataFrame:
    """Values (n, k) per image and class as a predictions table (columns of `catalog.scores_schema`)."""
    frame = pd.DataFrame(values.astype(np.float32), columns=part.classes)
    frame.insert(0, "image_id", part.image_ids)
    frame.insert(1, "split", name)
    return frame
