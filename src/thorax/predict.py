"""Logits of validation and test images, and the heatmaps of the chosen cases, from one loaded network."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from thorax import explain, runtime, store
from thorax.batches import LabelledImages, load_part, part_frame, predict_logits
from thorax.catalog import scores_schema
from thorax.errors import ThoraxError


def predict(
    model_path: Path,
    labels: Path,
    split: Path,
    ingested: Path,
    images: Sequence[Path],
    cases: Path,
    out: Path,
    heatmaps_out: Path,
    batch_size: int = 32,
    threads: int = 1,
) -> None:
    """Write one float32 logit per image and class, and Grad-CAM maps of the cases.

    Args:
        model_path: the member's .keras file.
        labels, split, ingested, images: as for training.
        cases: table of the images that are explained.
        out: predictions table: image_id, split (val, test), one column per class.
        heatmaps_out: (cases, classes, h, w) float32, rows in the order of `cases`.
        batch_size, threads: of the device.

    Raises:
        ThoraxError: as in `batches.load_part`; the network is missing, damaged, or one for other images or classes; a case
            is no labelled test image.
    """
    runtime.prepare(0, threads)
    model = runtime.load_network(model_path)
    chosen = store.read_table(cases, ["image_id"])["image_id"].tolist()
    parts = {name: load_part(labels, split, ingested, images, name) for name in ("val", "test")}
    test = parts["test"]
    _check_fit(model, test, model_path, labels, images)
    strangers = sorted(set(chosen) - set(test.image_ids))
    if strangers:
        raise ThoraxError(
            f"{cases} names {strangers[0]!r}, which is no test image of {labels} and {split}: choose the cases again."
        )
    with store.atomic(heatmaps_out) as new_maps, store.atomic(out) as new_predictions:  # both or neither
        frames = [part_frame(part, name, predict_logits(model, part, batch_size, threads)) for name, part in parts.items()]
        predictions = pd.concat(frames, ignore_index=True).sort_values("image_id", ignore_index=True)
        store.write_array(_heatmaps(model, test, chosen), new_maps)
        store.write_table(predictions, new_predictions, scores_schema(test.classes))


def _check_fit(model, part: LabelledImages, path: Path, labels: Path, images: Sequence[Path]) -> None:
    if model.output_shape != (None, len(part.classes)):
        raise ThoraxError(
            f"{path} has outputs of shape {model.output_shape[1:]}, but {labels} has {len(part.classes)} classes: "
            "name a network that was trained on this label set, or train it again."
        )
    if model.input_shape != (None, part.size, part.size, 1):
        raise ThoraxError(
            f"{path} takes images of shape {model.input_shape[1:]}, but {images[0]} has {part.size} x {part.size} pixels: "
            "name a network that was trained on these images, or train it again."
        )
    if model.inputs[0].dtype != part.dtype:
        raise ThoraxError(
            f"{path} takes images of {model.inputs[0].dtype}, but {images[0]} holds {part.dtype}: "
            "name a network that was trained on these images, or train it again."
        )


def _heatmaps(model, part, image_ids: list[str]) -> np.ndarray:
    import keras

    place = {image_id: index for index, image_id in enumerate(part.image_ids)}
    chosen = np.array([place[image_id] for image_id in image_ids], dtype=int)
    pixels = part.images.take(part.shards[chosen], part.rows[chosen])[..., None]
    inner = keras.Model(model.input, [model.get_layer("features").output, model.get_layer("pooled").output])
    maps = []
    hidden, logits = model.get_layer("hidden"), model.get_layer("logits")
    for start in range(0, len(pixels), 8):
        features, pooled = (
            keras.ops.convert_to_numpy(x).astype(np.float32) for x in inner(pixels[start : start + 8], training=False)
        )
        weights = explain.grad_cam_weights(
            pooled, *(keras.ops.convert_to_numpy(w) for w in (hidden.kernel, hidden.bias, logits.kernel))
        )
        maps.append(explain.grad_cam(features, weights))
    return np.concatenate(maps)
