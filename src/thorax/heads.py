"""Heads: what stands in the place of a backbone's own classifier. They differ in how they pool the feature map.

They are made of layers that every Keras knows, so a saved network opens without this package.
"""

from collections.abc import Callable
from typing import Any

from thorax.config import Training


def build_head(features: Any, classes: int, settings: Training) -> Any:
    """Pool the feature map, then two dense layers (Liz et al. 2022, Table 2): ReLU with dropout, and one logit per class.

    Args:
        features: (batch, h, w, k).
        classes: number of logits.
        settings: head, dense_units and dropout; with dense_units 0 the logits follow the pooling, without dropout.

    Returns:
        logits (batch, classes), float32 also where the rest computes in half precision.
    """
    import keras

    x = keras.layers.Activation("linear", name="features")(features)
    x = HEADS[settings.head](x)
    if settings.dense_units:
        x = keras.layers.Dense(settings.dense_units, activation="relu", name="hidden")(x)
        x = keras.layers.Dropout(settings.dropout, name="dropout")(x)
    return keras.layers.Dense(classes, dtype="float32", name="logits")(x)


def average(features: Any) -> Any:
    """The mean over all positions: (batch, h, w, k) -> (batch, k)."""
    import keras

    return keras.layers.GlobalAveragePooling2D(name="pooled")(features)


def attend(features: Any) -> Any:
    """Location-based attention: (batch, h, w, k) -> (batch, k).

    Kejriwal et al., section III B, in words: a 1 x 1 convolution gives one scalar per position, and these are the weights of
    a sum over positions. It says nothing of normalisation; location-based attention as first described has it: weights
    a_p = softmax over p of (w . F_p) (Luong et al. 2015, arXiv:1508.04025, equation 8), and the result is sum_p a_p F_p.

    The convolution starts at zero, so all positions weigh the same at first and the network starts as the one with the dense
    head and the same seed does. It has no bias: softmax would cancel it. Weights are computed in float32.
    """
    import keras

    height, width, depth = features.shape[1:]
    scores = keras.layers.Conv2D(1, 1, use_bias=False, kernel_initializer="zeros", dtype="float32", name="attention_scores")(
        features
    )
    weights = keras.layers.Softmax(axis=(1, 2), dtype="float32", name="attention")(scores)
    flat_features = keras.layers.Reshape((height * width, depth), name="features_by_position")(features)
    flat_weights = keras.layers.Reshape((height * width,), name="attention_by_position")(weights)
    return keras.layers.Dot(axes=1, name="pooled")([flat_features, flat_weights])


HEADS: dict[str, Callable[[Any], Any]] = {"dense": average, "attention": attend}
