"""A small bundle: two tiny networks with random weights, their mean, and three classes."""

from functools import cache
from pathlib import Path

import numpy as np

from thorax import backend, config
from thorax.bundles import networks, pack
from thorax.bundles.contents import CARD, DATA_SHEET, Contents

CLASSES = ("edema", "normal", "mass")
SIZE = 32


def network(seed: int = 1, views: int = 1, **settings):
    """A tiny network with random weights and moving variances, and images for it."""
    from thorax.models.network import build_model

    backend.prepare(seed, 1)
    training = config.Training(**({"backbone": "cnn", "weights": "none", "seed": seed} | settings))
    model = build_model(training, SIZE, len(CLASSES), views=views).model
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "moving_variance" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return model, rng.integers(0, 256, (8, SIZE, SIZE, views), np.uint8)


def weights_of(model) -> list[np.ndarray]:
    return [weight.numpy() for weight in model.weights]


@cache
def stored(seed: int) -> tuple[bytes, bytes]:
    """The graph and the weights of a tiny network."""
    model, _ = network(seed)
    return networks.describe(model).encode(), networks.pack(weights_of(model), "float16")


def values(**changes) -> dict:
    """The contents of the bundle as plain values."""
    kept = {"precision": "float16", "fraction_bits": 10, "images": 8, "difference": 1e-4, "backbone": "cnn"}
    return {
        "experiment": "small",
        "title": "A small experiment",
        "model": "mean",
        "networks": {"a": kept | {"seed": 1}, "b": kept | {"seed": 2}},
        "classes": list(CLASSES),
        "terms": {name: [name] for name in CLASSES},
        "dataset": {"archive": "nih", "views": ["PA"], "dicom_window": "lut", "max_pixels": 10_000_000},
        "image_set": {"dataset": "small", "size": SIZE},
        "ensemble": {"rule": "ctp", "members": ["a", "b"]},
        "rule": "fixed-0.5",
        "thresholds": {"fixed-0.5": dict.fromkeys(CLASSES, 0.5)},
        "scaling": {"edema": [0.9, -0.1]},
        "provenance": "phantom",
        "versions": {"thorax": "0"},
        "seeds": {"split": 0},
    } | changes


def files() -> dict[str, bytes]:
    """All files of the bundle but the manifest."""
    found = {CARD: b"# Model card\n", DATA_SHEET: b"# Data sheet\n"}
    for member, seed in (("a", 1), ("b", 2)):
        found[f"networks/{member}.json"], found[f"networks/{member}.weights"] = stored(seed)
    return found


def write(path: Path, **changes) -> Path:
    """Write the bundle; `changes` are those of its contents."""
    pack.write(Contents.model_validate(values(**changes)), files(), path)
    return path
