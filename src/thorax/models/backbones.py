"""One registry of architectures: where each comes from, its smallest input and the scaling it was published with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from thorax.config import Config, Training
from thorax.errors import ThoraxError, did_you_mean
from thorax.models import pretrained

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Backbone:
    """A convolutional network without its classifier.

    Attributes:
        constructor: name in keras.applications, or None for the tiny network of this module.
        smallest: pixels on a side that the architecture needs at least.
        published_scaling: what its ImageNet weights were trained on: "symmetric" = [-1, 1], "standardised" = ImageNet's
            mean and deviation per channel, "caffe" = [0, 255] less ImageNet's mean per channel in the order blue, green,
            red, "unit" = [0, 1].
        own_scaling: whether its first layers scale: "none"; "fixed" = they always do, so it is fed [0, 255]; "optional" =
            likewise, but they can be left out.
        last_layer: the layer (or the beginning of its name) whose output is the feature map. Grad-CAM weighs it under the
            name that all networks share, "features".
        memory: MB of host memory that its training takes at small image sizes, libraries that processes share counted once:
            mostly the graph of its many layers.
        reference: the paper.
    """

    constructor: str | None
    smallest: int
    published_scaling: Literal["unit", "symmetric", "standardised", "caffe"]
    own_scaling: Literal["none", "fixed", "optional"]
    last_layer: str
    memory: int
    reference: str


BACKBONES: dict[str, Backbone] = {
    "EfficientNetB0": Backbone(
        "EfficientNetB0", 32, "standardised", "fixed", "top_activation", 1500, "Tan and Le 2019, arXiv:1905.11946"
    ),
    "DenseNet121": Backbone("DenseNet121", 32, "standardised", "none", "relu", 2000, "Huang et al. 2017, arXiv:1608.06993"),
    "DenseNet201": Backbone("DenseNet201", 32, "standardised", "none", "relu", 2700, "Huang et al. 2017, arXiv:1608.06993"),
    "InceptionV3": Backbone("InceptionV3", 75, "symmetric", "none", "mixed10", 1700, "Szegedy et al. 2016, arXiv:1512.00567"),
    "InceptionResNetV2": Backbone(
        "InceptionResNetV2", 75, "symmetric", "none", "conv_7b_ac", 3000, "Szegedy et al. 2017, arXiv:1602.07261"
    ),
    "Xception": Backbone("Xception", 71, "symmetric", "none", "block14_sepconv2_act", 1700, "Chollet 2017, arXiv:1610.02357"),
    "ResNet50": Backbone("ResNet50", 32, "caffe", "none", "conv5_block3_out", 1900, "He et al. 2016, arXiv:1512.03385"),
    "VGG19": Backbone("VGG19", 32, "caffe", "none", "block5_pool", 1500, "Simonyan and Zisserman 2015, arXiv:1409.1556"),
    "MobileNet": Backbone(
        "MobileNet", 32, "symmetric", "none", "conv_pw_13_relu", 1300, "Howard et al. 2017, arXiv:1704.04861"
    ),
    "ConvNeXtTiny": Backbone(
        "ConvNeXtTiny", 32, "standardised", "optional", "layer_normalization", 2400, "Liu et al. 2022, arXiv:2201.03545"
    ),
    "EfficientNetV2B0": Backbone(
        "EfficientNetV2B0", 32, "standardised", "optional", "top_activation", 1700, "Tan and Le 2021, arXiv:2104.00298"
    ),
    "cnn": Backbone(None, 16, "unit", "none", "relu_64", 1200, "three small convolutions, for tests"),
}

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
CAFFE_MEAN = (103.939, 116.779, 123.68)  # blue, green, red, of 255

# per channel, what a [0, 1] image is multiplied by and what is added then
SCALINGS: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "unit": (np.ones(3), np.zeros(3)),
    "symmetric": (np.full(3, 2.0), np.full(3, -1.0)),
    "standardised": (1 / np.array(IMAGENET_DEVIATION), -np.array(IMAGENET_MEAN) / IMAGENET_DEVIATION),
    "caffe": (np.full(3, 255.0), -np.array(CAFFE_MEAN)),
}


def find(name: str, size: int) -> Backbone:
    """The registry's entry.

    Raises:
        ThoraxError: the name is unknown, or `size` is below the architecture's smallest input.
    """
    if name not in BACKBONES:
        raise ThoraxError(
            f"backbone {name!r} is not known{did_you_mean(name, BACKBONES)}: choose one of {', '.join(BACKBONES)}."
        )
    backbone = BACKBONES[name]
    if size < backbone.smallest:
        raise ThoraxError(
            f"backbone {name} needs images of at least {backbone.smallest} pixels, not {size}: raise the image set's size."
        )
    return backbone


def check(study: Config, source: str) -> None:
    """Check that every member has a backbone of the registry that can take its images.

    Args:
        study: the whole configuration.
        source: its name in error messages.

    Raises:
        ThoraxError: with the member's key and what `find` says.
    """
    for name, experiment in study.experiments.items():
        for member in experiment.members:
            try:
                find(experiment.member(member).backbone, study.image_sets[experiment.image_set].size)
            except ThoraxError as error:
                raise ThoraxError(f"{source}: experiments.{name}.members.{member}: {error}") from error


def build_features(settings: Training, size: int, weights: str | None) -> tuple["keras.KerasTensor", "keras.KerasTensor", list]:
    """Input, feature map and backbone layers of a network that takes packed images as they are.

    With one channel and ImageNet weights, the features are those of the three-channel network for the same grey image (see
    `pretrained.sum_channels` for what zero padding makes inexact).

    Args:
        settings: the training's settings.
        size: pixels on a side.
        weights: file with the backbone's ImageNet weights, or None to start from random ones.

    Returns:
        the input (batch, size, size, 1) of `input_dtype`, the features (batch, h, w, k), and the backbone's layers in the order of
        computation, those of nested blocks one by one.

    Raises:
        ThoraxError: as in `find` and `pretrained.load`; or there are no ImageNet weights for this backbone.
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


def build_branches(
    settings: Training, size: int, weights: str | None
) -> tuple["keras.KerasTensor", list["keras.KerasTensor"], list[list]]:
    """The same for two views of a study: two backbones with weights of their own, one beside the other.

    Returns:
        the input (batch, size, size, 2), the first and the second view in its channels; the features of each view; and the layers of
        each backbone.

    Raises:
        ThoraxError: as in `build_features`.
    """
    import keras

    inputs = keras.Input((size, size, 2), dtype=input_dtype(settings.input_scaling), name="images")
    features, branches = [], []
    for view, image in zip(("first", "second"), keras.ops.split(inputs, 2, axis=-1), strict=True):
        seen, maps, layers = build_features(settings, size, weights)
        features.append(keras.Model(seen, maps, name=f"{view}_view")(image))
        branches.append(layers)
    return inputs, features, branches


def _assemble(backbone: Backbone, size: int, channels: int, input_scaling: str) -> tuple["keras.Model", list]:
    """A network with random weights from packed images to features, and its layers behind the scaling of the input."""
    import keras

    inputs = keras.Input((size, size, 1), dtype=input_dtype(input_scaling), name="image")
    stored = input_scaling == "none"
    grey = keras.layers.Rescaling(1.0 if stored else 1 / 255, name="stored_range" if stored else "unit_range")(inputs)
    if channels == 3:
        grey = keras.layers.Concatenate(name="three_channels")([grey, grey, grey])
    scaled = _scale(grey, backbone, input_scaling)
    if backbone.constructor is None:
        model = keras.Model(inputs, _tiny(scaled))
    else:
        # with one channel, layers that scale three would not fit: `_scale` takes their place
        options = {"include_preprocessing": False} if channels == 1 and backbone.own_scaling == "optional" else {}
        constructor: Callable[..., Any] = getattr(keras.applications, backbone.constructor)
        model = constructor(include_top=False, weights=None, input_tensor=scaled, **options)
    return model, pretrained.leaves(model.layers[model.layers.index(model.get_layer("backbone_range")) + 1 :])


def input_dtype(input_scaling: str) -> str:
    """The type of the packed images that a network takes: stored values have 16 bits, all others 8."""
    return "uint16" if input_scaling == "none" else "uint8"


def freeze(layers: list, share: float) -> int:
    """Fix the first `share` of the convolutional layers, by count, and every layer between them.

    Liz et al. 2022, section 3.3. The last fixed layer is a convolution; normalisation between fixed ones is fixed too.
    Where that is every convolution, the layers behind the last one are fixed as well: the whole backbone.

    Args:
        layers: as `build_features` returns them.
        share: 0 to 1.

    Returns:
        the number of convolutional layers that are fixed.
    """
    positions = [index for index, layer in enumerate(layers) if is_convolution(layer)]
    count = round(share * len(positions))
    end = 0 if count == 0 else len(layers) if count == len(positions) else positions[count - 1] + 1
    for layer in layers[:end]:
        layer.trainable = False
    return count


def is_convolution(layer: Any) -> bool:
    """Whether a layer counts as convolutional: plain, depthwise or separable.

    ConvNeXt's pointwise convolutions are dense layers in Keras and do not count.
    """
    import keras

    return isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.SeparableConv2D)


def _scale(unit: Any, backbone: Backbone, wanted: str) -> Any:
    """Scale a [0, 1] image (n, h, w, 1 or 3) for a backbone; with "none" the published network gets the image as it is.

    One channel gets about the mean of what three would get; the first kernel makes up for the rest.
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
        padding = np.mean(-offset / slope)  # the grey value that zeros stand for
        slope = np.mean(slope, keepdims=True)
        offset = -slope * padding
    if backbone.own_scaling == "fixed":  # it divides by 255 first
        slope, offset = 255 * slope, 255 * offset
    return keras.layers.Rescaling(slope.tolist(), offset.tolist(), name="backbone_range")(unit)


def _tiny(x: Any) -> Any:
    import keras

    for filters in (16, 32, 64):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False, name=f"conv_{filters}")(x)
        x = keras.layers.BatchNormalization(name=f"norm_{filters}")(x)
        x = keras.layers.ReLU(name=f"relu_{filters}")(x)
    return x
