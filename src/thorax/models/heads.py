"""Classification heads that replace a backbone's classifier. They differ in how they pool the feature map.

They consist of standard Keras layers, so a saved network opens without this package.
"""

from collections.abc import Callable
from typing import Any

from thorax.config import Training

FIRST, SECOND = "_first", "_second"  # suffixes of the layers of each view, if there are two


def build_head(features: Any, classes: int, settings: Training) -> Any:
    """Pool the feature map, then two dense layers (Liz et al. 2022, Table 2): ReLU with dropout, and one logit per class.

    `features` is (batch, h, w, k), or a list of two such maps, one per view, whose pooled features are averaged. With dense_units 0
    the logits follow the pooling, without dropout. They are (batch, classes), float32 even if the rest computes in half precision.
    """
    import keras

    views = {FIRST: features[0], SECOND: features[1]} if isinstance(features, list) else {"": features}
    pooled = []
    for view, maps in views.items():
        named = keras.layers.Activation("linear", name=f"features{view}")(maps)
        pooled.append(HEADS[settings.head](named, view))
    x = pooled[0] if len(pooled) == 1 else keras.layers.Average(name="pooled")(pooled)
    if settings.dense_units:
        x = keras.layers.Dense(settings.dense_units, activation="relu", name="hidden")(x)
        x = keras.layers.Dropout(settings.dropout, name="dropout")(x)
    return keras.layers.Dense(classes, dtype="float32", name="logits")(x)


def average(features: Any, view: str = "") -> Any:
    """The mean over all positions: (batch, h, w, k) -> (batch, k). `view` is the suffix of its layers' names."""
    import keras

    return keras.layers.GlobalAveragePooling2D(name=f"pooled{view}")(features)


def attend(features: Any, view: str = "") -> Any:
    """Location-based attention: (batch, h, w, k) -> (batch, k).

    Kejriwal et al., section III B: a 1 x 1 convolution gives one scalar per position, and these are the weights of a sum over
    positions. They do not mention normalisation. The original location-based attention has it: weights a_p = softmax over p of
    (w . F_p) (Luong et al. 2015, arXiv:1508.04025, equation 8), and the result is sum_p a_p F_p.

    The convolution starts at zero, so the network starts like one with the dense head and the same seed. It has no bias, since
    softmax would cancel it. Weights are computed in float32.
    """
    import keras

    height, width, depth = features.shape[1:]
    score = keras.layers.Conv2D(
        1, 1, use_bias=False, kernel_initializer="zeros", dtype="float32", name=f"attention_scores{view}"
    )
    weights = keras.layers.Softmax(axis=(1, 2), dtype="float32", name=f"attention{view}")(score(features))
    flat_features = keras.layers.Reshape((height * width, depth), name=f"features_by_position{view}")(features)
    flat_weights = keras.layers.Reshape((height * width,), name=f"attention_by_position{view}")(weights)
    return keras.layers.Dot(axes=1, name=f"pooled{view}")([flat_features, flat_weights])


HEADS: dict[str, Callable[[Any, str], Any]] = {"dense": average, "attention": attend}
