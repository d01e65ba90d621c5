"""Predictions of one network, and what explains them: logits, heatmaps of the chosen cases, and attention weights."""

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
from thorax.models.batches import LabelledImages, load_part, predict_logits, scores_frame, second_view
from thorax.storage import store
from thorax.storage.schemas import class_columns, scores_schema

BATCH = 32  # images predicted at once
CASES = 8  # images explained at once


def predict(
    model: Path,
    labels: Path,
    split: Path,
    ingested: Path,
    images: Sequence[Path],
    out: Path,
    classes: Path | None = None,
    cases: Path | None = None,
    heatmaps: Path | None = None,
    attention: Path | None = None,
    threads: int = 1,
    pairs: Path | None = None,
    second_ingested: Path | None = None,
    second_images: Sequence[Path] | None = None,
) -> None:
    """Write one float32 logit per image and class; with cases, their Grad-CAM maps and attention weights as well.

    If the network was trained on another label set, `classes`, only the test images are predicted, and of `labels` only the
    images are used. Heatmaps and attention weights, in the order of `cases`, are as in `explain`; the weights sum to 1.
    """
    if cases is None and (heatmaps or attention):
        raise ThoraxError("heatmaps and attention are those of chosen cases, and none are named: give --cases.")
    second = second_view(pairs, second_ingested, second_images)
    backend.prepare(0, threads)
    network = backend.load_network(model)
    wanted = ("test",) if classes else ("val", "test")
    parts = {name: load_part(labels, split, ingested, images, name, second) for name in wanted}
    test = parts["test"]
    names = class_columns(store.read_table(classes, needs=("image_id", "patient_id"))) if classes else test.classes
    _check_fit(network, test, names, model, classes or labels, images)
    chosen = store.read_table(cases, ["image_id"])["image_id"] if cases else []
    if unknown := set(chosen) - set(test.image_ids):
        problem = f"{cases} names {min(unknown)!r}, which is not a test image of {labels} and {split}"
        raise ThoraxError(f"{problem}: choose the cases again.")
    counts = ", ".join(f"{len(part):,} {name}" for name, part in parts.items())
    print(f"{network.name}: {counts} images, on {backend.device()}", file=sys.stderr, flush=True)
    with ExitStack() as stack:  # all files or none
        new_predictions = stack.enter_context(store.atomic(out))
        new_maps, new_attention = (path and stack.enter_context(store.atomic(path)) for path in (heatmaps, attention))
        frames = []
        for name, part in parts.items():
            logits = predict_logits(network, part, BATCH, threads, f"{network.name}: {name}")
            frames.append(scores_frame(part.image_ids, name, logits, names))
        predictions = pd.concat(frames, ignore_index=True).sort_values("image_id", ignore_index=True)
        store.write_table(predictions, new_predictions, scores_schema(names))
        if new_maps or new_attention:
            pixels = test.take(pd.Index(test.image_ids).get_indexer(chosen))
            for array, path in zip(explain(network, pixels), (new_maps, new_attention), strict=True):
                if path:
                    store.write_array(array, path)


def explain(network: backend.Model, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grad-CAM maps of every class and the weights of the attention head, both for the (first) view of n images.

    Returns (n, classes, h, w) and (n, h, w) float32; the latter is (n, 0, 0) without an attention head.
    """
    import keras

    layers = {layer.name for layer in network.layers}
    view = heads.FIRST if f"features{heads.FIRST}" in layers else ""
    names = [name for name in (f"features{view}", "pooled", f"attention{view}") if name in layers]
    inner = keras.Model(network.input, [network.get_layer(name).output for name in names])
    logit_kernel, *_ = network.get_layer("logits").get_weights()
    hidden = network.get_layer("hidden").get_weights() if "hidden" in layers else None
    height, width = inner.outputs[0].shape[1:3]
    maps = [np.zeros((0, logit_kernel.shape[-1], height, width), np.float32)]  # so that zero cases need no special treatment
    attention = [np.zeros((0, height, width) if len(names) > 2 else (len(pixels), 0, 0), np.float32)]
    for start in range(0, len(pixels), CASES):
        outputs = inner(pixels[start : start + CASES], training=False)
        features, pooled, *weights = (keras.ops.convert_to_numpy(output).astype(np.float32) for output in outputs)
        gradients = gradcam.grad_cam_weights(pooled, logit_kernel, hidden) / pixels.shape[-1]  # the layers see the views' mean
        maps.append(gradcam.grad_cam(features, gradients))
        attention += [values[..., 0] for values in weights]
    return np.concatenate(maps), np.concatenate(attention)


def _check_fit(
    network: backend.Model, part: LabelledImages, classes: Sequence[str], path: Path, labels: Path, images: Sequence[Path]
) -> None:
    again = "name a network that was trained on these images, or train it again."
    if network.output_shape != (None, len(classes)):
        problem = f"{path} has outputs of shape {network.output_shape[1:]}, but {labels} has {len(classes)} classes"
        raise ThoraxError(f"{problem}: name a network that was trained on this label set, or train it again.")
    takes = f"{path} takes images of shape {network.input_shape[1:]}"
    if network.input_shape[-1] != len(part.views):
        problem = f"{takes}, where the last number counts the views, but is given {len(part.views)}"
        raise ThoraxError(f"{problem}: predict {'with' if part.second is None else 'without'} second images.")
    if network.input_shape[:-1] != (None, part.size, part.size):
        raise ThoraxError(f"{takes}, but {images[0]} has {part.size} x {part.size} pixels: {again}")
    if network.inputs[0].dtype != part.dtype:
        raise ThoraxError(f"{path} takes images of {network.inputs[0].dtype}, but {images[0]} holds {part.dtype}: {again}")
