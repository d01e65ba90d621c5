"""Heads: the attention's equation by hand, what both heads share, and that a saved network needs nothing of ours."""

import sys
from typing import get_args

import numpy as np
import pytest

from thorax.config import Training
from thorax.models import heads

SETTINGS = {"backbone": "cnn", "weights": "none", "dense_units": 8}


def build(size: int = 40, classes: int = 3, **settings):
    import keras

    from thorax.models.network import build_model

    keras.utils.set_random_seed(0)
    return build_model(Training(**{**SETTINGS, **settings}), size, classes).model


def shake(model) -> None:
    """Random values where a new network has zeros."""
    rng = np.random.default_rng(1)
    for name in ("attention_scores", "hidden", "logits"):
        for weight in model.get_layer(name).weights:
            weight.assign(rng.normal(0, 0.3, weight.shape))


def pixels(images: int = 4, size: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (images, size, size, 1)).astype(np.uint8)


def test_the_registry_is_what_the_configuration_offers():
    assert set(heads.HEADS) == set(get_args(Training.model_fields["head"].annotation))


def test_attention_by_hand():
    """Two features at 2 x 2 positions, w = (ln 2, ln 3): exp(w . F) is 2, 3, 6, 1, so the weights are 2/12, 3/12, 6/12, 1/12."""
    import keras

    features = np.array([[[[1, 0], [0, 1]], [[1, 1], [0, 0]]]], np.float32)
    inputs = keras.Input((2, 2, 2))
    model = keras.Model(inputs, heads.attend(inputs))
    model.get_layer("attention_scores").kernel.assign(np.log([2, 3]).reshape(1, 1, 2, 1))
    weights = keras.Model(inputs, model.get_layer("attention").output)(features)
    np.testing.assert_allclose(np.asarray(weights)[0, ..., 0], [[2 / 12, 3 / 12], [6 / 12, 1 / 12]], rtol=1e-6)
    np.testing.assert_allclose(model(features), [[(2 + 6) / 12, (3 + 6) / 12]], rtol=1e-6)


def test_the_whole_head_is_its_equation_in_numpy():
    import keras

    model = build(head="attention")
    shake(model)
    features = np.asarray(keras.Model(model.input, model.get_layer("features").output)(pixels()), np.float64)
    w = np.asarray(model.get_layer("attention_scores").kernel, np.float64)[0, 0, :, 0]
    (w1, b1), (w2, b2) = ([np.asarray(x, np.float64) for x in model.get_layer(n).weights] for n in ("hidden", "logits"))
    for row, found in zip(features, np.asarray(model(pixels())), strict=True):
        vectors = row.reshape(-1, row.shape[-1])
        scores = np.exp(vectors @ w)
        pooled = sum(score * vector for score, vector in zip(scores, vectors, strict=True)) / scores.sum()
        np.testing.assert_allclose(found, np.maximum(pooled @ w1 + b1, 0) @ w2 + b2, rtol=1e-4)


def test_both_heads_start_as_the_same_network_and_attention_then_learns():
    import keras

    dense, attention = build(head="dense"), build(head="attention")
    np.testing.assert_allclose(attention(pixels()), dense(pixels()), rtol=1e-4)
    attention.compile(keras.optimizers.Adam(0.01), "mse")
    attention.train_on_batch(pixels(), np.ones((4, 3), np.float32))
    assert np.asarray(attention.get_layer("attention_scores").kernel).any()


@pytest.mark.parametrize("head", heads.HEADS)
def test_logits_and_weights_are_float32_in_half_precision(head):
    import keras

    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        model = build(head=head)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert model.get_layer("pooled").compute_dtype == "float16"
    assert model.output.dtype == "float32"
    if head == "attention":
        assert model.get_layer("attention").output.dtype == "float32"
    assert np.isfinite(np.asarray(model(pixels()))).all()


@pytest.mark.parametrize("head", heads.HEADS)
def test_without_a_hidden_layer_the_logits_follow_the_pooling(head):
    model = build(head=head, dense_units=0)
    names = [layer.name for layer in model.layers]
    assert names[-2:] == ["pooled", "logits"]
    assert model.get_layer("logits").kernel.shape == (64, 3)


@pytest.mark.parametrize("head", heads.HEADS)
def test_a_feature_map_of_one_position(head):
    import keras

    inputs = keras.Input((1, 1, 5))
    features = np.random.default_rng(0).normal(size=(2, 1, 1, 5)).astype(np.float32)
    np.testing.assert_allclose(keras.Model(inputs, heads.HEADS[head](inputs))(features), features[:, 0, 0], rtol=1e-6)


def test_a_saved_network_opens_in_keras_alone(tmp_path, monkeypatch):
    import keras

    model = build(head="attention")
    shake(model)
    model.save(tmp_path / "m.keras")
    for name in [name for name in sys.modules if name.split(".")[0] == "thorax"]:
        monkeypatch.setitem(sys.modules, name, None)  # makes its import fail
    assert keras.saving.get_custom_objects() == {}
    alone = keras.saving.load_model(tmp_path / "m.keras", compile=False, safe_mode=True)
    np.testing.assert_allclose(np.asarray(alone(pixels())), np.asarray(model(pixels())), rtol=1e-5)


def test_attention_survives_saving(tmp_path):
    from thorax import backend

    model = build(head="attention")
    shake(model)
    model.save(tmp_path / "m.keras")
    again = backend.load_network(tmp_path / "m.keras")
    np.testing.assert_array_equal(np.asarray(again(pixels())), np.asarray(model(pixels())))
    assert again.get_layer("attention").output.shape == (None, 5, 5, 1)
