"""A whole network: backbone and head, built together so that it can be trained in two stages."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from thorax.config import Training
from thorax.errors import ThoraxError
from thorax.models import backbones, heads

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Network:
    """A network that can be trained in two stages.

    Attributes:
        model: From packed images to logits.
        backbones: For each view, the layers before the head, in order.
        fixed: Number of convolutional layers that never change.
    """

    model: "keras.Model"
    backbones: list[list]
    fixed: int


def build_model(settings: Training, size: int, classes: int, weights: str | None = None, views: int = 1) -> Network:
    """Build a network from packed images to logits.

    With two views, each has a backbone with its own weights, and the same share of each is frozen.

    Args:
        settings: The member's settings.
        size: Pixels on a side.
        classes: Number of logits.
        weights: File with the backbone's ImageNet weights. Required if settings.weights is "imagenet", otherwise None.
        views: 1 or 2. The network takes images of (batch, size, size, views).

    Raises:
        ThoraxError: As in `backbones.build_features`, or `weights` contradicts the settings.
    """
    import keras

    if (settings.weights == "imagenet") != (weights is not None):
        raise ThoraxError(
            f"weights: {settings.weights} does not fit the weights file {weights!r}: give one, or set weights: none."
        )
    if views == 1:
        inputs, features, layers = backbones.build_features(settings, size, weights)
        branches = [layers]
    else:
        inputs, features, branches = backbones.build_branches(settings, size, weights)
    fixed = sum(backbones.freeze(layers, settings.freeze) for layers in branches)
    model = keras.Model(inputs, heads.build_head(features, classes, settings), name=settings.backbone)
    return Network(model, branches, fixed)
