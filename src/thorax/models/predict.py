"""Logits of validation and test images, and the heatmaps of the chosen cases, from one loaded network."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from thorax import backend
from thorax.errors import ThoraxError
from thorax.explanation import gradcam
from thorax.models import heads
from thorax.models.batches import LabelledImages, load_part, part_frame, predict_logits, second_view
from thorax.storage import store
from thorax.storage.schemas import class_columns, scores_schema

BATCH = 32  # images at once


def predict(
    model: Path,
    labels: Path,
    split: Path,
    ingested: Path,
    images: Sequence[Path],
    cases: Path,
    out: Path,
    heatmaps: Path,
    attention: Path | None = None,
    threads: int = 1,
    pairs: Path | None = None,
    second_ingested: Path | None = None,
    second_images: Sequence[Path] | None = None,
) -> None:
    """Write one float32 logit per image and class, and Grad-CAM maps of the cases.

    Of a network of two views, maps and attention are those of the first view.

    Args:
        model: the member's .keras file.
        labels, split, ingested, images: as for training.
        cases: table of the images that are explained.
        out: predictions table: image_id, split (val, test), one column per class.
        heatmaps: (cases, classes, h, w) float32, rows in the order of `cases`.
        attention: (cases, h, w) float32 in the same order: the weight of each position, 1 in all; None to write none.
        threads: CPU threads.
        pairs, second_ingested, second_images: as in `batches.second_view`.

    Raises:
        ThoraxError: as in `batches.load_part`; the network is missing, damaged, or one for other images or classes; a case
            is no labelled test image; attention is wanted of a network that has none.
    """
    second = second_view(pairs, second_ingested, second_images)
    backend.prepare(0, threads)
    network = backend.load_network(model)
    view = heads.FIRST if _has(network, f"features{heads.FIRST}") else ""
    if attention is not None and not _has(network, f"attention{view}"):
        raise ThoraxError(f"{model} has no attention head: train it with head: attention, or leave its attention out.")
    chosen = store.read_table(cases, ["image_id"])["image_id"].tolist()
    parts = {name: load_part(labels, split, ingested, images, name, second) for name in ("val", "test")}
    test = parts["test"]
    _check_fit(network, test, test.classes, model, labels, images)
    images_in = ", ".join(f"{len(part):,} {name}" for name, part in parts.items())
    print(f"{network.name}: {images_in} images, on {backend.device()}", file=sys.stderr, flush=True)
    strangers = sorted(set(chosen) - set(test.image_ids))
    if strangers:
        raise ThoraxError(
            f"{cases} names {strangers[0]!r}, which is no test image of {labels} and {split}: choose the cases again."
        )
    with ExitStack() as stack:  # all files or none
        new_attention = stack.enter_context(store.atomic(attention)) if attention else None
        new_maps, new_predictions = (stack.enter_context(store.atomic(path)) for path in (heatmaps, out))
        frames = [part_frame(part, name, predict_logits(network, part, BATCH, threads)) for name, part in parts.items()]
        predictions = pd.concat(frames, ignore_index=True).sort_values("image_id", ignore_index=True)
        maps, weights = _explained(network, test, chosen, view)
        store.write_array(maps, new_maps)
        if new_attention and weights is not None:
            store.write_array(weights, new_attention)
        store.write_table(predictions, new_predictions, scores_schema(test.classes))


def predict_elsewhere(
    model: Path,
    classes: Path,
    labels: Path,
    split: Path,
    ingested: Path,
    images: Sequence[Path],
    out: Path,
    threads: int = 1,
) -> None:
    """Write one float32 logit per class of a network for every test image of another problem.

    Args:
        model: the member's .keras file.
        classes: the label set that it was trained on, of which only the names of the classes are read.
        labels, split, ingested, images: of the other problem; of its labels only the images are used.
        out: predictions table: image_id, split (test), one column per class of the network.
        threads: CPU threads.

    Raises:
        ThoraxError: as in `batches.load_part`; the network is missing, damaged, or one for other images or classes.
    """
    backend.prepare(0, threads)
    network = backend.load_network(model)
    names = class_columns(store.read_table(classes, needs=("image_id", "patient_id")))
    test = load_part(labels, split, ingested, images, "test")
    _check_fit(network, test, names, model, classes, images)
    frame = pd.DataFrame(predict_logits(network, test, BATCH, threads), columns=names)
    store.write_table(frame.assign(image_id=test.image_ids, split="test"), out, scores_schema(names))


def _check_fit(model, part: LabelledImages, classes: Sequence[str], path: Path, labels: Path, images: Sequence[Path]) -> None:
    if model.output_shape != (None, len(classes)):
        raise ThoraxError(
            f"{path} has outputs of shape {model.output_shape[1:]}, but {labels} has {len(classes)} classes: "
            "name a network that was trained on this label set, or train it again."
        )
    if model.input_shape[-1] != len(part.views):
        beside = "with" if part.second is None else "without"
        raise ThoraxError(
            f"{path} takes images of shape {model.input_shape[1:]}, the last number being that of views, but is given {len(part.views)}: "
            f"predict {beside} second images."
        )
    if model.input_shape[:-1] != (None, part.size, part.size):
        raise ThoraxError(
            f"{path} takes images of shape {model.input_shape[1:]}, but {images[0]} has {part.size} x {part.size} pixels: "
            "name a network that was trained on these images, or train it again."
        )
    if model.inputs[0].dtype != part.dtype:
        raise ThoraxError(
            f"{path} takes images of {model.inputs[0].dtype}, but {images[0]} holds {part.dtype}: "
            "name a network that was trained on these images, or train it again."
        )


def _explained(model, part: LabelledImages, image_ids: list[str], view: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Grad-CAM maps (n, classes, h, w), and the attention's weights (n, h, w) where the head has it, of the (first) view.

    What the dense layers see of two views is the mean of both, so a feature of one counts half.
    """
    import keras

    place = {image_id: index for index, image_id in enumerate(part.image_ids)}
    chosen = np.array([place[image_id] for image_id in image_ids], dtype=int)
    pixels = part.take(chosen)
    names = [f"features{view}", "pooled", *([f"attention{view}"] if _has(model, f"attention{view}") else [])]
    inner = keras.Model(model.input, [model.get_layer(name).output for name in names])
    logit_kernel = keras.ops.convert_to_numpy(model.get_layer("logits").kernel)
    hidden = None
    if _has(model, "hidden"):
        layer = model.get_layer("hidden")
        hidden = (keras.ops.convert_to_numpy(layer.kernel), keras.ops.convert_to_numpy(layer.bias))
    maps, attention = [], []
    for start in range(0, len(pixels), 8):
        features, pooled, *weights = (
            keras.ops.convert_to_numpy(x).astype(np.float32) for x in inner(pixels[start : start + 8], training=False)
        )
        gradients = gradcam.grad_cam_weights(pooled, logit_kernel, hidden) / len(part.views)
        maps.append(gradcam.grad_cam(features, gradients))
        attention += [values[..., 0] for values in weights]
    if not maps:  # no test image has a class
        height, width = inner.outputs[0].shape[1:3]
        maps = [np.zeros((0, len(part.classes), height, width), np.float32)]
        attention = [np.zeros((0, height, width), np.float32)] * (len(names) > 2)
    return np.concatenate(maps), np.concatenate(attention) if attention else None


def _has(model, name: str) -> bool:
    return any(layer.name == name for layer in model.layers)
