"""Backbones: from packed images to feature maps, with the input scaling that each architecture needs."""

from collections.abc import Callable
from typing import Any

import numpy as np

from thorax.backend import Model
from thorax.config import Config, Training
from thorax.errors import ThoraxError, did_you_mean
from thorax.models import pretrained
from thorax.models.architectures import BACKBONES, Architecture

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
CAFFE_MEAN = (103.939, 116.779, 123.68)  # blue, green, red, of 255

# Factor and offset per channel, applied to images in [0, 1]
SCALINGS: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "unit": (np.ones(3), np.zeros(3)),
    "symmetric": (np.full(3, 2.0), np.full(3, -1.0)),
    "standardised": (1 / np.array(IMAGENET_DEVIATION), -np.array(IMAGENET_MEAN) / IMAGENET_DEVIATION),
    "caffe": (np.full(3, 255.0), -np.array(CAFFE_MEAN)),
}


def find(name: str, size: int) -> Architecture:
    """Look an architecture up; refuse an unknown name, or a size below its smallest input."""
    if name not in BACKBONES:
        problem = f"backbone {name!r} is not known{did_you_mean(name, BACKBONES)}"
        raise ThoraxError(f"{problem}: choose one of {', '.join(BACKBONES)}.")
    backbone = BACKBONES[name]
    if size < backbone.smallest:
        problem = f"backbone {name} needs images of at least {backbone.smallest} pixels, not {size}"
        raise ThoraxError(f"{problem}: raise the image set's size.")
    return backbone


def check(study: Config, source: str) -> None:
    """Check that every member's backbone exists and accepts images of its image set's size; errors begin with `source`."""
    for name, experiment in study.experiments.items():
        for member in experiment.members:
            try:
                find(experiment.member(member).backbone, study.image_sets[experiment.image_set].size)
            except ThoraxError as error:
                raise ThoraxError(f"{source}: experiments.{name}.members.{member}: {error}") from error


def build_features(settings: Training, size: int, weights: str | None) -> tuple[Any, Any, list]:
    """Build a network that takes packed images as they are, with ImageNet weights from a file or random ones.

    With one channel and ImageNet weights, the features are those of the three-channel network for the same grey image (see
    `pretrained.sum_channels` for the exception at zero-padded borders). Returns the input (batch, size, size, 1) of type
    `input_dtype`, the features (batch, h, w, k), and the backbone's layers in the order of computation, nested blocks expanded.
    """
    import keras

    backbone = find(settings.backbone, size)
    if weights is not None and backbone.constructor is None:
        raise ThoraxError(f"backbone {settings.backbone} has no ImageNet weights: set weights: none.")
    model, layers = _assemble(backbone, size, settings.channels, settings.input_scaling)
    if weights is not None and settings.channels == 3:
        pretrained.load(model, weights, settings.backbone)
    elif weights is not None:
        published, _ = _assemble(backbone, backbone.smallest, 3, settings.input_scaling)
        pretrained.load(published, weights, settings.backbone)
        pretrained.sum_channels(published, model)
    for layer in layers:
        if settings.batch_norm_momentum is not None and isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = settings.batch_norm_momentum
    return model.inputs[0], model.output, layers


def _assemble(backbone: Architecture, size: int, channels: int, input_scaling: str) -> tuple[Model, list]:
    """Build a network with random weights from packed images to features; also return its layers after the input scaling."""
    import keras

    inputs = keras.Input((size, size, 1), dtype=input_dtype(input_scaling), name="image")
    stored = input_scaling == "none"
    grey = keras.layers.Rescaling(1.0 if stored else 1 / 255, name="stored_range" if stored else "unit_range")(inputs)
    if channels == 3:
        grey = keras.layers.Concatenate(name="three_channels")([grey, grey, grey])
    scaled = _scale(grey, backbone, input_scaling)
    if backbone.constructor is None:
        for filters in (16, 32, 64):
            scaled = keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False, name=f"conv_{filters}")(scaled)
            scaled = keras.layers.BatchNormalization(name=f"norm_{filters}")(scaled)
            scaled = keras.layers.ReLU(name=f"relu_{filters}")(scaled)
        model = keras.Model(inputs, scaled)
    else:
        # built-in scaling layers expect three channels; for one channel `_scale` replaces them
        options = {"include_preprocessing": False} if channels == 1 and backbone.own_scaling == "optional" else {}
        constructor: Callable[..., Any] = getattr(keras.applications, backbone.constructor)
        model = constructor(include_top=False, weights=None, input_tensor=scaled, **options)
    return model, pretrained.leaves(model.layers[model.layers.index(model.get_layer("backbone_range")) + 1 :])


def input_dtype(input_scaling: str) -> str:
    """Type of the packed images that a network takes: 16 bits for stored values, otherwise 8."""
    return "uint16" if input_scaling == "none" else "uint8"


def freeze(layers: list, share: float) -> int:
    """Freeze the first `share` (0 to 1) of the convolutional layers (Liz et al. 2022, section 3.3), and every layer between them.

    If all convolutions are frozen, so is the rest. Returns the number of frozen convolutional layers.
    """
    positions = [index for index, layer in enumerate(layers) if is_convolution(layer)]
    count = round(share * len(positions))
    end = 0 if count == 0 else len(layers) if count == len(positions) else positions[count - 1] + 1
    for layer in layers[:end]:
        layer.trainable = False
    return count


def is_convolution(layer: Any) -> bool:
    """Whether a layer counts as convolutional: plain, depthwise or separable; ConvNeXt's dense pointwise ones do not."""
    import keras

    return isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.SeparableConv2D)


def _scale(unit: Any, backbone: Architecture, wanted: str) -> Any:
    """Scale a [0, 1] image (n, h, w, 1 or 3) for a backbone; with "none" the image is passed on unchanged.

    One channel gets roughly the mean of what three would get; `pretrained.sum_channels` adapts the first kernel to it.
    """
    import keras

    if wanted == "none":
        return keras.layers.Rescaling(1.0, name="backbone_range")(unit)
    single = unit.shape[-1] == 1
    scales_itself = backbone.own_scaling != "none"
    if scales_itself and not single:
        return keras.layers.Rescaling(255.0, name="backbone_range")(unit)
    slope, offset = SCALINGS[backbone.published_scaling if wanted == "backbone" or scales_itself else "unit"]
    if single:
        padding = np.mean(-offset / slope)  # the grey value that a padded zero represents
        slope = np.mean(slope, keepdims=True)
        offset = -slope * padding
    if backbone.own_scaling == "fixed":  # it divides by 255 first
        slope, offset = 255 * slope, 255 * offset
    return keras.layers.Rescaling(slope.tolist(), offset.tolist(), name="backbone_range")(unit)
