"""Do heatmaps depend on what a network has learnt, and on what it sees? Checks of one network's maps on a few test images.

- depth: the weights are drawn again, layer by layer from the logits down (cascading randomisation, Adebayo et al. 2018,
  arXiv 1810.03292). Maps that hardly change show the radiograph, not what was learnt.
- deletion and insertion: the hottest pixels are blurred first, or made sharp first (Petsiuk et al. 2018, arXiv 1806.07421). Where the
  map shows what the network uses, the probability falls, or rises, faster than with pixels in a random order.
- shift: the image is moved by a few pixels, and the map back. A stable map stays the same.

Maps are those of the class that the network finds most likely in an image.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from thorax import backend
from thorax.evaluation.metrics import sigmoid
from thorax.explanation.gradcam import moved
from thorax.explanation.overlays import scale_maps
from thorax.explanation.places import correlations
from thorax.models.batches import load_part, run_over
from thorax.models.predict import BATCH, explainer
from thorax.storage import store
from thorax.storage.progress import progress

QUARTERS = 4  # in which the convolutional layers are randomised
STEPS = 5  # of deletion and insertion, besides the unchanged image
BLUR = 0.1  # standard deviation, as a share of the image's side
SHIFT = 0.05  # as a share of the image's side
COLUMNS = ("check", "step", "value")

Explain = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # images to probabilities and maps


def check_heatmaps(
    model: Path, labels: Path, split: Path, ingested: Path, images: Sequence[Path], out: Path, untrained: Path, count: int, seed: int,
    threads: int = 1, method: str = "gradcam",
) -> None:  # fmt: skip
    """Check the maps of a network of one view on `count` random test images, and write the rows of `COLUMNS` as CSV.

    `untrained` gets the maps of the network with random weights, of all validation and test images, as `predict-parts` writes them.
    """
    backend.prepare(seed, threads)
    network = backend.load_network(model)
    parts = {name: load_part(labels, split, ingested, images, name) for name in ("val", "test")}
    test = parts["test"]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(test))[:count])
    pixels = test.take(chosen)
    run, at_once = explainer(network, method), min(BATCH, len(pixels))

    def explain(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = [run(images[rows])[:2] for rows in np.array_split(np.arange(len(images)), -(-len(images) // at_once))]
        logits, maps = (np.concatenate(values) for values in zip(*found, strict=True))
        return sigmoid(logits), maps

    probabilities, maps = explain(pixels)
    likely = probabilities.argmax(axis=1)
    trained = _of(maps, likely)
    rows = [("shift", np.nan, _mean_correlation(trained, moved)) for moved in _shifted(explain, pixels, likely)]
    rows += _curves(explain, pixels, trained, likely, seed)
    for share in _randomise(network, seed):
        rows.append(("depth", share, _mean_correlation(trained, _of(explain(pixels)[1], likely))))
    ids = np.concatenate([part.image_ids for part in parts.values()])
    found = [run_over(run, part, BATCH, threads, f"untrained: {name}") for name, part in parts.items()]
    everything = np.concatenate([maps for of_part in found for _, (_, maps, _) in of_part])
    with store.atomic(untrained) as new_maps:
        store.write_array(everything[np.argsort(ids, kind="stable")], new_maps)
        store.write_text(pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(index=False), out)


def _of(maps: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The map of one class of each image, (n, h, w), divided by its maximum."""
    return scale_maps(maps[np.arange(len(maps)), classes])


def _mean_correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(correlations(one, other).mean())


def _shifted(explain: Explain, pixels: np.ndarray, classes: np.ndarray) -> Iterator[np.ndarray]:
    """The maps of images that are moved to each side, moved back."""
    step = max(1, round(SHIFT * pixels.shape[1]))
    for rows, columns in ((step, 0), (-step, 0), (0, step), (0, -step)):
        _, maps = explain(moved(pixels, rows, columns))
        cells = maps.shape[-2:]
        large = np.stack([cv2.resize(one, pixels.shape[2:0:-1]) for one in _of(maps, classes)])
        yield np.stack([cv2.resize(one, cells[::-1], interpolation=cv2.INTER_AREA) for one in moved(large, -rows, -columns)])


def _curves(explain: Explain, pixels: np.ndarray, maps: np.ndarray, classes: np.ndarray, seed: int) -> list[tuple]:
    """The mean probability after each step of deletion and insertion, in the order of the maps and in a random order.

    The random order is that of a random map of as many cells.
    """
    size = pixels.shape[1:3]
    random = np.random.default_rng(seed).random(maps.shape).astype(np.float32)
    blurred = np.stack([cv2.GaussianBlur(image, (0, 0), BLUR * size[0]) for image in pixels[..., 0]])[..., None]
    rows = []
    for name, of in (("", maps), (", random order", random)):
        large = np.stack([cv2.resize(one.astype(np.float32), size[::-1]) for one in of])
        order = np.argsort(np.argsort(-large.reshape(len(large), -1), axis=1, kind="stable"), axis=1)
        ranks = (order / order.shape[1]).reshape(large.shape)[..., None]
        for step in progress(list(range(STEPS + 1)), f"deletion and insertion{name}", unit="step"):
            share = step / STEPS
            for check, (kept, first) in {"deletion": (pixels, blurred), "insertion": (blurred, pixels)}.items():
                probabilities, _ = explain(np.where(ranks < share, first, kept))
                value = float(probabilities[np.arange(len(classes)), classes].mean())
                rows.append((check + name, share, value))
    return rows


def _randomise(network: backend.Model, seed: int) -> Iterator[float]:
    """Draw more and more layers of a network again, from the logits down; yields the share of its layers after each step.

    The dense layers of the head come first, then the convolutional layers in quarters, as their initialisers draw them.
    """
    import keras

    layers = [layer for layer in network.layers if hasattr(layer, "kernel") or hasattr(layer, "depthwise_kernel")]
    head = [layer for layer in layers if layer.name.startswith(("logits", "hidden"))]
    rest = [layer for layer in layers if layer not in head][::-1]
    ends = [round(len(rest) * quarter / QUARTERS) for quarter in range(QUARTERS + 1)]
    stages = [head, *(rest[first:last] for first, last in pairwise(ends))]
    seeds = iter(np.random.default_rng(seed).integers(2**31, size=4 * len(layers)))
    done = 0
    for stage in stages:
        for layer in stage:
            for name in ("kernel", "depthwise_kernel", "pointwise_kernel"):
                kernel = getattr(layer, name, None)
                if kernel is not None:
                    kernel.assign(keras.initializers.GlorotUniform(seed=int(next(seeds)))(kernel.shape))
        done += len(stage)
        yield done / len(layers)
