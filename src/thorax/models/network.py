"""A whole network: backbone and head, built together so that it can be trained in two stages."""

from dataclasses import dataclass

from thorax.backend import Model
from thorax.config import Training
from thorax.errors import ThoraxError
from thorax.models import backbones, heads


@dataclass(frozen=True)
class Network:
    """A network that can be trained in two stages."""

    model: Model  # from packed images to logits
    backbones: list[list]  # for each view, the layers before the head, in order
    fixed: int  # number of convolutional layers that never change


def build_model(settings: Training, size: int, classes: int, weights: str | None = None, views: int = 1) -> Network:
    """Build a network from packed images, (batch, size, size, views), to logits, (batch, classes).

    With two views, each has a backbone with its own weights, and the same share of each is frozen. `weights` is the file with
    the backbone's ImageNet weights, if settings.weights asks for them; otherwise all weights are random (see `pretrained.adopt`).
    """
    import keras

    if (settings.weights == "imagenet") != (weights is not None):
        problem = f"weights: {settings.weights} does not fit the weights file {weights!r}"
        raise ThoraxError(f"{problem}: give one, or set weights: none.")
    if views == 1:
        inputs, features, layers = backbones.build_features(settings, size, weights)
        branches = [layers]
    else:
        inputs = keras.Input((size, size, 2), dtype=backbones.input_dtype(settings.input_scaling), name="images")
        features, branches = [], []
        for view, image in zip(("first", "second"), keras.ops.split(inputs, 2, axis=-1), strict=True):
            seen, maps, layers = backbones.build_features(settings, size, weights)
            features.append(keras.Model(seen, maps, name=f"{view}_view")(image))
            branches.append(layers)
    fixed = sum(backbones.freeze(layers, settings.freeze) for layers in branches)
    model = keras.Model(inputs, heads.build_head(features, classes, settings), name=settings.backbone)
    return Network(model, branches, fixed)
