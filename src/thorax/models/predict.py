"""Predictions of one network, and what explains them: logits, heatmaps and attention weights of the same images."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import numpy as np

from thorax import backend
from thorax.errors import ThoraxError
from thorax.explanation import gradcam
from thorax.models import heads
from thorax.models.batches import LabelledImages, load_part, run_over, scores_frame, second_view
from thorax.storage import store
from thorax.storage.schemas import class_columns, scores_schema

BATCH = 32  # images predicted at once
NOISE = 0.1  # standard deviation of the noise, as a share of the range of the pixels
COPIES = 8  # noisy copies of an image
Explained = tuple[np.ndarray, np.ndarray, np.ndarray]  # logits, heatmaps, attention weights


def predict(
    model: Path,
    labels: Path,
    split: Path,
    ingested: Path,
    images: Sequence[Path],
    out: Path,
    classes: Path | None = None,
    heatmaps: Path | None = None,
    attention: Path | None = None,
    threads: int = 1,
    pairs: Path | None = None,
    second_ingested: Path | None = None,
    second_images: Sequence[Path] | None = None,
    method: str = "gradcam",
) -> None:
    """Write one float32 logit per image and class, and maps and attention weights of all images where they are asked for.

    If the network was trained on another label set, `classes`, only the test images are predicted, and of `labels` only the
    images are used. Heatmaps and attention weights are those of `explainer`, of all images in the order of the predictions.
    """
    second = second_view(pairs, second_ingested, second_images)
    backend.prepare(0, threads)
    network = backend.load_network(model)
    wanted = ("test",) if classes else ("val", "test")
    parts = {name: load_part(labels, split, ingested, images, name, second) for name in wanted}
    test = parts["test"]
    names = class_columns(store.read_table(classes, needs=("image_id", "patient_id"))) if classes else test.classes
    _check_fit(network, test, names, model, classes or labels, images)
    counts = ", ".join(f"{len(part):,} {name}" for name, part in parts.items())
    print(f"{network.name}: {counts} images, on {backend.device()}", file=sys.stderr, flush=True)
    ids = np.concatenate([part.image_ids for part in parts.values()])
    order = np.argsort(ids, kind="stable")
    run = explainer(network, method) if heatmaps or attention else lambda pixels: (network.predict_on_batch(pixels),)
    logits, *explained = _outputs(run, parts, np.argsort(order), threads, network.name)
    of_parts = np.concatenate([np.full(len(part), name, object) for name, part in parts.items()])
    with ExitStack() as stack:  # all files or none
        new_predictions = stack.enter_context(store.atomic(out))
        new_maps, new_attention = (path and stack.enter_context(store.atomic(path)) for path in (heatmaps, attention))
        store.write_table(scores_frame(ids[order], of_parts[order], logits, names), new_predictions, scores_schema(names))
        for array, path in zip(explained, (new_maps, new_attention), strict=False):
            if path:
                store.write_array(array, path)


def _outputs(
    run: Callable[[np.ndarray], Sequence[np.ndarray]],
    parts: Mapping[str, LabelledImages],
    places: np.ndarray,
    threads: int,
    name: str,
) -> list[np.ndarray]:
    """Run a network over all parts, one after the other; image i of them comes to the place `places[i]`."""
    arrays: list[np.ndarray] = []
    first = 0
    for part_name, part in parts.items():
        for chosen, outputs in run_over(run, part, BATCH, threads, f"{name}: {part_name}"):
            arrays = arrays or [np.empty((len(places), *values.shape[1:]), np.float32) for values in outputs]
            for array, values in zip(arrays, outputs, strict=True):
                array[places[first + chosen.start : first + chosen.stop]] = values
        first += len(part)
    return arrays


def explainer(network: backend.Model, method: str = "gradcam") -> Callable[[np.ndarray], Explained]:
    """Return a function from n images to logits, maps of every class, and weights of the attention head.

    It takes (n, size, size, views) and returns (n, classes), (n, classes, h, w) and (n, h, w) float32, maps and weights of the
    (first) view; the last is (n, 0, 0) without an attention head. The weights are those of the moment.

    - gradcam: Grad-CAM. One forward pass gives all three.
    - layercam: the same with positive gradients only, which is LayerCAM of the last feature map (Jiang et al. 2021, IEEE TIP 30:5875).
    - shifts: Grad-CAM of images that are moved by a quarter of a cell to each side, put together to twice as many cells.
    - double: Grad-CAM of the images at twice their size, which has twice as many cells. Not for the attention head or two views.
    - noise: the mean of Grad-CAM over noisy copies of the image (SmoothGrad: Smilkov et al. 2017, arXiv 1706.03825, equation 1).
    """
    simple = _explain(network, positive=method == "layercam")
    if method == "noise":
        return lambda pixels: _by_noise(simple, pixels)
    if method == "shifts":
        return lambda pixels: _by_shifts(simple, pixels)
    return _by_double(network, simple) if method == "double" else simple


def _by_shifts(simple: Callable[[np.ndarray], Explained], pixels: np.ndarray) -> Explained:
    logits, maps, attention = simple(pixels)
    down, across = (max(1, round(size / cells / 4)) for size, cells in zip(pixels.shape[1:3], maps.shape[2:], strict=True))
    fine = np.empty((*maps.shape[:2], 2 * maps.shape[2], 2 * maps.shape[3]), np.float32)
    for row, column in product((0, 1), (0, 1)):  # what is above a cell's centre comes to it when the image is moved down
        shifted = gradcam.moved(pixels, down * (1 - 2 * row), across * (1 - 2 * column))
        fine[:, :, row::2, column::2] = simple(shifted)[1]
    return logits, fine, attention


def _by_noise(simple: Callable[[np.ndarray], Explained], pixels: np.ndarray) -> Explained:
    """Every image gets the same noise, so that its map does not depend on the images that are predicted with it."""
    rng, highest = np.random.default_rng(0), np.iinfo(pixels.dtype).max
    logits, maps, attention = simple(pixels)
    total = np.zeros(maps.shape)  # float64: without noise, the mean is exactly the map
    for _ in range(COPIES):
        noise = rng.normal(0, NOISE * highest, pixels.shape[1:])
        total += simple((pixels + noise).round().clip(0, highest).astype(pixels.dtype))[1]
    return logits, (total / COPIES).astype(np.float32), attention


def _by_double(network: backend.Model, simple: Callable[[np.ndarray], Explained]) -> Callable[[np.ndarray], Explained]:
    import cv2
    import keras

    (_, height, width, views), dtype = network.input_shape, network.inputs[0].dtype
    large = keras.models.clone_model(network, input_tensors=keras.Input((2 * height, 2 * width, views), dtype=dtype))
    run = _explain(large)

    def explain(pixels: np.ndarray) -> Explained:
        large.set_weights(network.get_weights())
        enlarged = np.stack([cv2.resize(image, (2 * width, 2 * height)) for image in pixels[..., 0]])[..., None]
        logits, _, attention = simple(pixels)
        return logits, run(enlarged)[1], attention

    return explain


def _explain(network: backend.Model, positive: bool = False) -> Callable[[np.ndarray], Explained]:
    import keras

    layers = {layer.name for layer in network.layers}
    view = heads.FIRST if f"features{heads.FIRST}" in layers else ""
    names = [name for name in (f"features{view}", "pooled", f"attention{view}") if name in layers]
    inner = keras.Model(network.input, [network.output, *(network.get_layer(name).output for name in names)])

    def explain(pixels: np.ndarray) -> Explained:
        logit_kernel, *_ = network.get_layer("logits").get_weights()
        hidden = network.get_layer("hidden").get_weights() if "hidden" in layers else None
        logits, features, pooled, *weights = (np.asarray(values, np.float32) for values in inner.predict_on_batch(pixels))
        gradients = gradcam.grad_cam_weights(pooled, logit_kernel, hidden) / pixels.shape[-1]  # the layers see the views' mean
        if positive:
            gradients = np.maximum(gradients, 0)
        attention = weights[0][..., 0] if weights else np.zeros((len(pixels), 0, 0), np.float32)
        return logits, gradcam.grad_cam(features, gradients), attention

    return explain


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
