"""Labelled, packed images as networks read them: batches that are ready before the device asks."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thorax.config import Augmentation
from thorax.errors import ThoraxError
from thorax.models import augment
from thorax.storage import joins, store
from thorax.storage.parallel import in_order
from thorax.storage.progress import progress
from thorax.storage.schemas import IGNORED, class_columns


@dataclass(frozen=True)
class SecondView:
    """The files of the second view, for networks that see two views of a study."""

    pairs: Path  # table of `schemas.TWO_VIEWS`: the second image of each image
    ingested: Path  # table of the second images
    images: Sequence[Path]  # their packed training images, all shards in order


def second_view(pairs: Path | None, ingested: Path | None, images: Sequence[Path] | None) -> SecondView | None:
    """The files of the second view; None for networks of one view, of which none are given."""
    if pairs and ingested and images:
        return SecondView(pairs, ingested, images)
    if pairs or ingested or images:
        raise ThoraxError("--pairs, --second-ingested and --second-images go together: give all three, or none for one view.")
    return None


@dataclass(frozen=True)
class PlacedImages:
    """Packed images, and where n of them are."""

    images: store.PackedImages  # shards of (m, size, size) uint8, or uint16 if they hold stored values
    shards: np.ndarray  # (n,), as rows: the place of each image
    rows: np.ndarray


@dataclass(frozen=True)
class LabelledImages(PlacedImages):
    """n images with their labels."""

    image_ids: np.ndarray  # (n,)
    labels: np.ndarray  # (n, k) float32 of 1, 0 and -1 (ignored)
    classes: list[str]  # k names
    second: PlacedImages | None = None  # with two views, the second image of each study, of the same size and type as the first

    @property
    def views(self) -> list[PlacedImages]:
        """What a network sees of each row."""
        return [self] if self.second is None else [self, self.second]

    @property
    def size(self) -> int:
        """Pixels on a side."""
        return self.images.arrays[0].shape[-1]

    @property
    def dtype(self) -> str:
        """Type of the images: uint8, or uint16 for stored values."""
        return str(self.images.arrays[0].dtype)

    def take(self, chosen: np.ndarray) -> np.ndarray:
        """The unchanged images of some rows, as networks take them: (n, size, size, views)."""
        return np.stack([view.images.take(view.shards[chosen], view.rows[chosen]) for view in self.views], axis=-1)

    def select(self, chosen: np.ndarray) -> "LabelledImages":
        """Some of the rows; without the second view."""
        arrays = (self.shards[chosen], self.rows[chosen], self.image_ids[chosen], self.labels[chosen])
        return LabelledImages(self.images, *arrays, self.classes)

    def __len__(self) -> int:
        return len(self.rows)


def read_labelled(labels: Path, split: Path, ingested: Path, images: Sequence[Path]) -> tuple[LabelledImages, np.ndarray]:
    """Join labels, split and packed images: all labelled images, sorted by identifier, and the part (n,) of each."""
    labelled = joins.read_labels(labels, split)
    ingests = store.read_table(ingested, ["image_id", "ok", "shard", "row"])
    places = joins.read_places(labelled, ingests, ingested, labels)
    classes = class_columns(labelled)
    packed = store.open_packed(ingests, images)
    known = (labelled["image_id"].to_numpy(), labelled[classes].to_numpy(np.float32), classes)
    return LabelledImages(packed, places["shard"].to_numpy(), places["row"].to_numpy(), *known), labelled["split"].to_numpy()


def load_part(
    labels: Path,
    split: Path,
    ingested: Path,
    images: Sequence[Path],
    part: str,
    second: SecondView | None = None,
    with_known_label: bool = False,
) -> LabelledImages:
    """The labelled images of one part (train, val or test), with the second view of each, if there is one.

    `with_known_label` leaves out images whose labels are all ignored, since no loss learns from them.
    """
    everything, parts = read_labelled(labels, split, ingested, images)
    found = everything.select(parts == part)
    if not len(found):
        raise ThoraxError(f"{split} gives no image of {labels} to {part}: make its share larger.")
    if with_known_label:
        found = found.select((found.labels != IGNORED).any(axis=1))
        if not len(found):
            problem = f"{labels}: no image in {part} has a known label, as all are uncertain or ignored"
            raise ThoraxError(f"{problem}: choose another policy for uncertain labels, or make the share of {part} larger.")
    return replace(found, second=_second_images(found, second, images)) if second else found


def _second_images(first: LabelledImages, second: SecondView, first_paths: Sequence[Path]) -> PlacedImages:
    pairs = store.read_table(second.pairs, ["image_id", "second_id"])
    ingests = store.read_table(second.ingested, ["image_id", "ok", "shard", "row"])
    found = joins.rows_of(pairs, pd.Series(first.image_ids), second.pairs, "the label set")[["second_id"]]
    places = joins.read_places(found.rename(columns={"second_id": "image_id"}), ingests, second.ingested, second.pairs)
    packed = store.open_packed(ingests, second.images)
    shapes = [(array.shape[1:], array.dtype) for array in (first.images.arrays[0], packed.arrays[0])]
    if shapes[0] != shapes[1]:
        raise ThoraxError(f"{second.images[0]} has images of another size or type than {first_paths[0]}: remake both.")
    return PlacedImages(packed, places["shard"].to_numpy(), places["row"].to_numpy())


def training_batches(
    part: LabelledImages,
    batch_size: int,
    seed: int,
    epoch: int,
    augmentation: Augmentation | None,
    workers: int = 1,
    order: np.ndarray | None = None,
    start: int = 0,
) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
    """Yield an epoch's batches, shuffled and augmented: (b, size, size, views) of the images' type and (b, k) float32.

    What an epoch holds follows from the seed, the epoch's number and `order` alone, not from workers, earlier epochs or
    where it starts. All batches are full: the few images that do not fill the last one are left out, different ones in every
    epoch. A part with fewer images than `batch_size` is one batch.

    Each view has its own augmentation, of uint8 images only. With mixup, labels are fractions, and the views of a study are mixed
    with those of the same other study in the same shares.

    `order` has (m,) positions in the part, some repeated or left out, as `sampling.choose` returns them; None: each once. `start`
    is the number of the first batch, to resume within an epoch. Each worker is a thread that prepares a whole batch.
    """
    everything = np.arange(len(part)) if order is None else order
    shuffled = np.random.default_rng([seed, epoch, 0]).permutation(everything)
    batch_size = min(batch_size, len(shuffled))
    if not batch_size:
        return
    changes, mixed = [], None
    if augmentation is not None:  # stream 2 is that of `sampling.choose` in the training
        streams = [np.random.default_rng([seed, epoch, number]) for number in (1, 4)[: len(part.views)]]
        changes = [augment.draw(augmentation, part.size, len(shuffled), stream) for stream in streams]
        if augmentation.mixup:
            mixed = augment.draw_mix(augmentation.mixup, len(shuffled), np.random.default_rng([seed, epoch, 3]))
    # indexing a memmap takes ten times as long as indexing its array
    arrays = [[np.asarray(array) for array in view.images.arrays] for view in part.views]

    def changed(number: int, places: np.ndarray) -> np.ndarray:
        """One view's augmented images at some places of the shuffled epoch."""
        view, chosen = part.views[number], shuffled[places]
        addresses = zip(view.shards[chosen].tolist(), view.rows[chosen].tolist(), strict=True)
        pixels = np.empty((len(chosen), part.size, part.size), np.uint8)
        augment.augment([arrays[number][shard][row] for shard, row in addresses], changes[number][places], pixels)
        return pixels

    def batch(index: int) -> tuple[np.ndarray, np.ndarray]:
        places = np.arange(index * batch_size, (index + 1) * batch_size)
        labels = part.labels[shuffled[places]]
        if not changes:
            return part.take(shuffled[places]), labels
        pixels = [changed(number, places) for number in range(len(part.views))]
        if mixed is not None:
            partners, weights = (values[places] for values in mixed)
            for number, images in enumerate(pixels):
                augment.mix_images(images, changed(number, partners), weights)
            labels = augment.mix_labels(labels, part.labels[shuffled[partners]], weights)
        return np.stack(pixels, axis=-1), labels

    yield from in_order(batch, range(start, len(shuffled) // batch_size), workers, workers + 1)


def run_over(
    run: Callable[[np.ndarray], Sequence[np.ndarray]], part: LabelledImages, batch_size: int, workers: int, name: str
) -> Iterator[tuple[slice, list[np.ndarray]]]:
    """Run a function of images (b, size, size, views) over a part; yields places in the part and what it returns for them.

    The last batch is filled up with copies of its last image, so that a network is compiled for one shape. `name` is for the
    progress shown.
    """

    def batch(index: int) -> np.ndarray:
        chosen = np.minimum(np.arange(index * batch_size, (index + 1) * batch_size), len(part) - 1)
        return part.take(chosen)

    count = -(-len(part) // batch_size)
    for index, pixels in enumerate(progress(in_order(batch, range(count), workers, workers + 1), name, count, "batch")):
        places = slice(index * batch_size, min((index + 1) * batch_size, len(part)))
        yield places, [np.asarray(values)[: places.stop - places.start] for values in run(pixels)]


def predict_logits(model: Any, part: LabelledImages, batch_size: int, workers: int = 1, name: str = "predict") -> np.ndarray:
    """The network's (n, k) float32 logits of all images, in the part's order; see `run_over`."""
    batches = run_over(lambda pixels: [model.predict_on_batch(pixels)], part, batch_size, workers, name)
    return np.concatenate([logits for _, (logits,) in batches])


def scores_frame(image_ids: np.ndarray, parts: np.ndarray | str, scores: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """Scores (n, k) per image and class as a table with the columns of `schemas.scores_schema`."""
    return pd.DataFrame(scores, columns=list(classes)).assign(image_id=image_ids, split=parts)
