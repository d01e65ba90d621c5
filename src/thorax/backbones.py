"""One registry of architectures: where each comes from, its smallest input and the scaling it was published with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thorax.config import Training
from thorax.errors import ThoraxError

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Backbone:
    """A convolutional network without its classifier.

    Attributes:
        constructor: name in keras.applications, or None for the tiny network of this module.
        smallest: pixels on a side that the architecture needs at least.
        published_scaling: what its ImageNet weights were trained on: "symmetric" = [-1, 1], "standardised" = ImageNet's
            mean and deviation per channel, "unit" = [0, 1].
        scales_itself: its first layers divide by 255, so it is fed [0, 255].
        memory: MB of host memory that its training takes at small image sizes, libraries that processes share counted once:
            mostly the graph of its many layers.
        reference: the paper.
    """

    constructor: str | None
    smallest: int
    published_scaling: str
    scales_itself: bool
    memory: int
    reference: str


BACKBONES: dict[str, Backbone] = {
    "EfficientNetB0": Backbone("EfficientNetB0", 32, "unit", True, 1500, "Tan and Le 2019, arXiv:1905.11946"),
    "DenseNet201": Backbone("DenseNet201", 32, "standardised", False, 2700, "Huang et al. 2017, arXiv:1608.06993"),
    "InceptionV3": Backbone("InceptionV3", 75, "symmetric", False, 1700, "Szegedy et al. 2016, arXiv:1512.00567"),
    "InceptionResNetV2": Backbone("InceptionResNetV2", 75, "symmetric", False, 3000, "Szegedy et al. 2017, arXiv:1602.07261"),
    "Xception": Backbone("Xception", 71, "symmetric", False, 1700, "Chollet 2017, arXiv:1610.02357"),
    "cnn": Backbone(None, 16, "unit", False, 1200, "three small convolutions, for tests"),
}

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


def find(name: str, size: int) -> Backbone:
    """The registry's entry.

    Raises:
        ThoraxError: the name is unknown, or `size` is below the architecture's smallest input.
    """
    if name not in BACKBONES:
        raise ThoraxError(f"backbone {name!r} is not known: choose one of {', '.join(BACKBONES)}.")
    backbone = BACKBONES[name]
    if size < backbone.smallest:
        raise ThoraxError(
            f"backbone {name} needs images of at least {backbone.smallest} pixels, not {size}: raise the image set's size."
        )
    return backbone


def build_features(settings: Training, size: int, weights: str | None) -> tuple["keras.KerasTensor", "keras.KerasTensor", list]:
    """Input, feature map and backbone layers of a network that takes packed images as they are.

    Args:
        settings: the training's settings.
        size: pixels on a side.
        weights: file with the backbone's ImageNet weights, or None to start from random ones.

    Returns:
        the input (batch, size, size, 1) uint8, the features (batch, h, w, k), and the backbone's layers in order.
    """
    import keras

    backbone = find(settings.backbone, size)
    inputs = keras.Input((size, size, 1), dtype="uint8", name="image")
    unit = keras.layers.Rescaling(1 / 255, name="unit_range")(inputs)
    grey = keras.layers.Concatenate(name="three_channels")([unit, unit, unit])
    scaled = _scale(grey, backbone, settings.input_scaling)
    if backbone.constructor is None:
        features, layers = _tiny(scaled)
    else:
        constructor: Callable[..., Any] = getattr(keras.applications, backbone.constructor)
        model = _load(constructor, scaled, weights)
        features, layers = model.output, model.layers[model.layers.index(scaled._keras_history.operation) + 1 :]
    for layer in layers:
        if settings.batch_norm_momentum is not None and isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = settings.batch_norm_momentum
    return inputs, features, layers


def _load(constructor: Callable[..., Any], inputs: Any, weights: str | None) -> Any:
    """An architecture of keras.applications on `inputs`, with ImageNet weights from a file or random ones.

    Raises:
        ThoraxError: the file is missing or does not hold this architecture's weights.
    """
    import keras

    if weights is not None and not Path(weights).is_file():
        raise ThoraxError(
            f"{weights} is not there: run 'thorax download weights/{constructor.__name__} --root {Path(weights).parent}' on a "
            "machine with a network, or copy the file to this place."
        )
    try:
        model = constructor(include_top=False, weights=weights, input_tensor=inputs)
    except (ValueError, OSError, KeyError) as error:
        if weights is None:
            raise
        raise ThoraxError(
            f"{weights} does not hold the weights of {constructor.__name__}: delete it and fetch it again."
        ) from error
    for layer in model.layers if weights is not None else ():
        if isinstance(layer, keras.layers.Normalization) and layer.mean is not None and layer.name.startswith("normalization"):
            # EfficientNet's published file holds deviations where Keras expects variances. Keras itself makes up for
            # that with one more layer, but only where it downloads the weights itself.
            mean, variance, *count = layer.get_weights()
            layer.set_weights([mean, variance**2, *count])
            layer.finalize_state()
    return model


def freeze(layers: list, share: float) -> int:
    """Fix the first `share` of the convolutional layers, by count, and every layer between them.

    Liz et al. 2022, section 3.3. The last fixed layer is a convolution; normalisation between fixed ones is fixed too.

    Returns:
        the number of convolutional layers that are fixed.
    """
    positions = [index for index, layer in enumerate(layers) if is_convolution(layer)]
    count = round(share * len(positions))
    if count:
        for layer in layers[: positions[count - 1] + 1]:
            layer.trainable = False
    return count


def is_convolution(layer: Any) -> bool:
    """Whether a layer counts as convolutional: plain, depthwise or separable."""
    import keras

    return isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.SeparableConv2D)


def _scale(unit: Any, backbone: Backbone, wanted: str) -> Any:
    import keras

    scaling = backbone.published_scaling if wanted == "backbone" else "unit"
    if backbone.scales_itself:
        return keras.layers.Rescaling(255.0, name="backbone_range")(unit)
    if scaling == "symmetric":
        return keras.layers.Rescaling(2.0, offset=-1.0, name="backbone_range")(unit)
    if scaling == "standardised":
        variance = [deviation**2 for deviation in IMAGENET_DEVIATION]
        return keras.layers.Normalization(mean=IMAGENET_MEAN, variance=variance, name="backbone_range")(unit)
    return keras.layers.Identity(name="backbone_range")(unit)


def _tiny(x: Any) -> tuple[Any, list]:
    import keras

    layers: list = []
    for filters in (16, 32, 64):
        for layer in (
            keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False, name=f"conv_{filters}"),
            keras.layers.BatchNormalization(name=f"norm_{filters}"),
            keras.layers.ReLU(name=f"relu_{filters}"),
        ):
            x = layer(x)
            layers.append(layer)
    return x, layers
