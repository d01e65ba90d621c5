"""Grad-CAM in closed form against automatic differentiation; the choice of cases."""

import numpy as np
import pandas as pd
import pytest

from thorax.config import Training
from thorax.errors import ThoraxError
from thorax.explanation.gradcam import grad_cam, grad_cam_weights
from thorax.labels.cases import choose_cases
from thorax.models.heads import HEADS
from thorax.storage import store
from thorax.storage.schemas import SPLITS, labels_schema


@pytest.mark.parametrize("dense_units", [24, 0])
@pytest.mark.parametrize("head", HEADS)
def test_closed_form_is_the_gradient(head, dense_units):
    import keras
    import tensorflow as tf

    from thorax.models.network import build_model

    model = build_model(Training(backbone="cnn", weights="none", head=head, dense_units=dense_units), 40, 3).model
    rng = np.random.default_rng(1)
    shaken = [model.get_layer("logits").kernel]
    if dense_units:
        shaken += model.get_layer("hidden").weights
    if head == "attention":
        shaken += model.get_layer("attention_scores").weights
    for weight in shaken:
        weight.assign(rng.normal(0, 0.3, weight.shape))
    images = rng.integers(0, 256, (4, 40, 40, 1)).astype(np.uint8)
    inner = keras.Model(model.input, [model.get_layer("features").output, model.get_layer("pooled").output])
    features, pooled = inner(images, training=False)
    hidden = tuple(np.asarray(weight) for weight in model.get_layer("hidden").weights) if dense_units else None
    closed = grad_cam_weights(np.asarray(pooled), np.asarray(model.get_layer("logits").kernel), hidden)
    assert closed.shape == (4, 64, 3)
    maps = grad_cam(np.asarray(features), closed)
    behind = keras.Model(model.get_layer("features").output, model.output)
    for c in range(3):
        with tf.GradientTape() as tape:
            tape.watch(features)
            score = behind(features, training=False)[:, c]
        gradient = tape.gradient(score, features)
        spread = np.ptp(np.asarray(gradient), axis=(1, 2)).max()
        assert (spread > 1e-3) == (head == "attention"), "the mean's gradient is the same everywhere"
        alpha = tf.reduce_mean(gradient, axis=(1, 2))  # the paper's equation 1
        np.testing.assert_allclose(closed[:, :, c] / 25, alpha, atol=1e-6)
        assert np.ptp(np.asarray(alpha)) > 1e-2
        weighted = tf.einsum("nhwk,nk->nhw", features, alpha)
        np.testing.assert_allclose(maps[:, c], tf.nn.relu(weighted), atol=1e-6)
        products = np.asarray(tf.reduce_sum(gradient * features, axis=-1))  # HiResCAM: Draelos and Carin 2020, arXiv 2011.08891
        if head == "attention":
            assert np.abs(products - weighted).max() > 0.01 * np.abs(products).max()
        else:  # a head that begins with the mean over positions
            np.testing.assert_allclose(maps[:, c], np.maximum(products, 0), atol=1e-6)


@pytest.fixture
def tables(tmp_path):
    n = 30
    labels = pd.DataFrame({"image_id": [f"i{i:02}" for i in range(n)], "patient_id": [f"p{i}" for i in range(n)]})
    labels["common"] = (np.arange(n) % 2).astype("int8")
    labels["rare"] = (np.arange(n) % 10 == 3).astype("int8")
    split = labels[["image_id", "patient_id"]].assign(split=["train"] * 15 + ["test"] * 15)
    store.write_table(labels, tmp_path / "labels.parquet", labels_schema(["common", "rare"]))
    store.write_table(split, tmp_path / "split.parquet", SPLITS)
    return tmp_path


def test_cases_are_test_images_of_their_class_and_rare_ones_come_first(tables):
    choose_cases(tables / "labels.parquet", tables / "split.parquet", 3, 0, tables / "cases.parquet")
    cases = store.read_table(tables / "cases.parquet")
    assert list(cases["chosen_for"]) == ["rare", "common", "common"] or list(cases["chosen_for"]) == ["rare", "common", "rare"]
    labels = store.read_table(tables / "labels.parquet").set_index("image_id")
    for row in cases.itertuples():
        assert labels.loc[row.image_id, row.chosen_for] == 1
        assert int(row.image_id[1:]) >= 15
    assert cases["image_id"].is_unique


def test_wanted_classes_come_first_and_the_others_follow_the_rule(tables):
    def chosen(count: int, *wanted: str) -> list[str]:
        choose_cases(tables / "labels.parquet", tables / "split.parquet", count, 0, tables / "cases.parquet", wanted)
        return list(store.read_table(tables / "cases.parquet")["chosen_for"])

    assert chosen(1, "common") == ["common"]
    assert chosen(2, "common") == ["common", "rare"]
    assert chosen(2, "common", "rare") == ["common", "rare"]
    assert chosen(4, "rare") == chosen(4)
    assert len(chosen(100, "common")) == 8  # every test image with a class, once
    with pytest.raises(ThoraxError, match=r"'commonly' is not a class of .* \(did you mean 'common'\?\): choose one of"):
        chosen(2, "commonly")


def test_a_wanted_class_without_a_test_image_is_left_out_and_no_case_at_all_is_no_error(tables):
    labels = store.read_table(tables / "labels.parquet")
    test = labels.index >= 15
    labels.loc[test, "rare"] = 0
    store.write_table(labels, tables / "labels.parquet", labels_schema(["common", "rare"]))
    choose_cases(tables / "labels.parquet", tables / "split.parquet", 2, 0, tables / "cases.parquet", ["rare"])
    assert list(store.read_table(tables / "cases.parquet")["chosen_for"]) == ["common", "common"]
    labels.loc[test, "common"] = 0
    store.write_table(labels, tables / "labels.parquet", labels_schema(["common", "rare"]))
    choose_cases(tables / "labels.parquet", tables / "split.parquet", 2, 0, tables / "cases.parquet", ["rare"])
    assert store.read_table(tables / "cases.parquet").empty
