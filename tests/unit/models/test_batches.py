"""Batches are the same however they are made, are ready before they are asked for, and leave no thread behind."""

import threading
import time

import numpy as np
import pytest

from thorax.config import Augmentation
from thorax.models import augment
from thorax.models.batches import LabelledImages, training_batches
from thorax.storage import store

SIZE, COUNT = 20, 50
EVERYTHING = Augmentation(elastic=0.1, mixup=0.4)


@pytest.fixture
def part(tmp_path):
    """Every other row of two shards, in mixed order, with all three kinds of labels."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2 * COUNT, SIZE, SIZE)).astype(np.uint8)
    for shard in (0, 1):
        store.write_array(pixels[shard * COUNT : (shard + 1) * COUNT], tmp_path / f"{shard}.npy")
    place = rng.permutation(2 * COUNT)[:COUNT]
    return LabelledImages(
        images=store.PackedImages([tmp_path / "0.npy", tmp_path / "1.npy"]),
        shards=place // COUNT,
        rows=place % COUNT,
        image_ids=np.array([f"i{index}" for index in place]),
        labels=rng.integers(-1, 2, (COUNT, 3)).astype(np.float32),
        classes=["a", "b", "c"],
    )


def found(part, pixels):
    """The part's positions of unchanged images."""
    place = {image.tobytes(): index for index, image in enumerate(part.images.take(part.shards, part.rows))}
    return np.array([place[image.tobytes()] for image in pixels])


def assert_same(batches, others):
    assert len(batches) == len(others) > 0
    for (pixels, labels), (other_pixels, other_labels) in zip(batches, others, strict=True):
        np.testing.assert_array_equal(pixels, other_pixels)
        np.testing.assert_array_equal(labels, other_labels)


def threads_left():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("in_order")]


@pytest.mark.parametrize("augmentation", [None, Augmentation(), EVERYTHING])
def test_an_epoch_is_the_same_with_any_number_of_workers_and_from_any_start(part, augmentation):
    whole = list(training_batches(part, 8, 3, 5, augmentation))
    assert [(pixels.shape, labels.shape) for pixels, labels in whole] == [((8, SIZE, SIZE, 1), (8, 3))] * 6
    assert (whole[0][0].dtype, whole[0][1].dtype) == (np.uint8, np.float32)
    assert_same(whole, list(training_batches(part, 8, 3, 5, augmentation, workers=3)))
    for start in (1, 5):
        assert_same(whole[start:], list(training_batches(part, 8, 3, 5, augmentation, workers=2, start=start)))
    assert not list(training_batches(part, 8, 3, 5, augmentation, start=6))
    assert not np.array_equal(whole[0][0], next(training_batches(part, 8, 3, 6, augmentation))[0])


def test_an_order_holds_its_positions_shuffled_with_their_labels(part):
    order = np.array([4, 4, 4, 9, 30, 30])
    ((pixels, labels),) = training_batches(part, 6, 0, 0, None, order=order)
    positions = found(part, pixels)
    np.testing.assert_array_equal(np.sort(positions), order)
    np.testing.assert_array_equal(labels, part.labels[positions])
    orders = {tuple(found(part, next(training_batches(part, 6, 0, epoch, None, order=order))[0])) for epoch in range(4)}
    assert len(orders) > 1
    assert_same(
        list(training_batches(part, 8, 1, 2, EVERYTHING)),
        list(training_batches(part, 8, 1, 2, EVERYTHING, order=np.arange(COUNT))),
    )


def test_few_images_are_one_batch_and_none_are_none(part):
    ((pixels, _),) = training_batches(part, 64, 0, 0, Augmentation())
    assert len(pixels) == COUNT
    assert not list(training_batches(part, 64, 0, 0, Augmentation(), order=np.arange(0)))


def test_mixup_mixes_changed_images_and_their_labels(part):
    plain = EVERYTHING.model_copy(update={"mixup": 0.0})
    ((pixels, labels),) = training_batches(part, COUNT, 7, 1, plain)
    ((mixed, mixed_labels),) = training_batches(part, COUNT, 7, 1, EVERYTHING)
    partners, weights = augment.draw_mix(EVERYTHING.mixup, COUNT, np.random.default_rng([7, 1, 3]))
    share = weights[:, None, None, None]
    expected = share * pixels + (1 - share) * pixels[partners]
    np.testing.assert_allclose(mixed, expected, atol=0.51)
    np.testing.assert_array_equal(mixed_labels, augment.mix_labels(labels, labels[partners], weights))
    ignored = (labels == -1) | (labels[partners] == -1)
    np.testing.assert_array_equal(mixed_labels == -1, ignored)
    assert ((mixed_labels[~ignored] >= 0) & (mixed_labels[~ignored] <= 1)).all()


def test_epochs_can_be_left_in_the_middle(part):
    for workers in (1, 4):
        batches = training_batches(part, 4, 0, 0, EVERYTHING, workers)
        next(batches)
        started = time.monotonic()
        batches.close()
        assert time.monotonic() - started < 5
        assert not threads_left()
