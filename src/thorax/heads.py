"""Classifiers that replace a backbone's own."""

from typing import Any

from thorax.config import Training


def dense_head(features: Any, classes: int, settings: Training) -> Any:
    """Two dense layers (Liz et al. 2022, Table 2): 512 ReLU with dropout, then one logit per class.

    Args:
        features: (batch, h, w, k).
        classes: number of logits.
        settings: units and dropout.

    Returns:
        logits (batch, classes), float32 also where the rest computes in half precision.
    """
    import keras

    x = keras.layers.Activation("linear", name="features")(features)
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(x)
    x = keras.layers.Dense(settings.dense_units, activation="relu", name="hidden")(x)
    x = keras.layers.Dropout(settings.dropout, name="dropout")(x)
    return keras.layers.Dense(classes, dtype="float32", name="logits")(x)
