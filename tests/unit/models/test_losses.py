"""The losses against hand-computed values, and in Keras as in numpy."""

from typing import get_args

import numpy as np
import pytest

from thorax.config import Training
from thorax.errors import ThoraxError
from thorax.models.losses import LOSSES, check_classes, loss_numpy, make_loss, pos_weights

LABELS = np.array([[1, 0, -1], [0, 0, 1], [1, 1, 0], [0, 0, 0]], np.float32)
LOG3 = np.log(3)  # the logit of 3/4
KINDS = [
    {"loss": "weighted_bce"},
    {"loss": "bce"},
    {"loss": "focal"},
    {"loss": "focal", "focal_gamma": 0.5, "focal_alpha": 0.25},
    {"loss": "focal", "focal_gamma": 0.0},
    {"loss": "mae"},
]


def settings_of(**fields) -> Training:
    return Training(backbone="cnn", **fields)


def keras_loss(settings: Training, labels, logits, weight) -> np.ndarray:
    return np.asarray(make_loss(settings, weight)(np.asarray(labels, np.float32), np.asarray(logits, np.float32)))


def test_the_configuration_has_the_losses_of_the_registry():
    assert set(get_args(Training.model_fields["loss"].annotation)) == set(LOSSES)


def test_weights_are_negatives_over_positives_and_skip_ignored():
    np.testing.assert_allclose(pos_weights(LABELS), [1, 3, 2])
    np.testing.assert_allclose(pos_weights(LABELS, cap=2.5), [1, 2.5, 2])


def test_weights_are_a_power_of_the_ratio_and_the_cap_is_of_the_weight():
    ratios = np.array([[1, 1]] + [[0, 0]] * 4 + [[0, -1]] * 12)  # 16 and 4 negatives for each positive
    np.testing.assert_allclose(pos_weights(ratios, 0.5), [4, 2])
    np.testing.assert_allclose(pos_weights(ratios, 0.5, cap=3), [3, 2])
    np.testing.assert_allclose(pos_weights(ratios, 0), [1, 1])
    np.testing.assert_allclose(pos_weights(ratios, 0.65), [16**0.65, 4**0.65], rtol=1e-6)
    assert Training(backbone="cnn").pos_weight_exponent == 0.65


def test_a_class_without_positives_or_without_negatives_is_named():
    check_classes(LABELS, ["a", "b", "c"])
    with pytest.raises(ThoraxError, match="'b' has no positive"):
        check_classes(LABELS * [1, 0, 1], ["a", "b", "c"])
    with pytest.raises(ThoraxError, match="'c' has no negative"):
        check_classes(np.where([False, False, True], np.abs(LABELS) + (LABELS == 0), LABELS), ["a", "b", "c"])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # label 1 at p = 1/2, label 0 of the second class at p = 3/4, a mixed label 1/2 at p = 1/4; the last one is ignored
        ({"loss": "weighted_bce"}, (3 * np.log(2) + np.log(4) + 3 / 2 * np.log(4) + 1 / 2 * np.log(4 / 3)) / 3),
        ({"loss": "bce"}, (np.log(2) + np.log(4) + 1 / 2 * np.log(4) + 1 / 2 * np.log(4 / 3)) / 3),
        (
            {"loss": "focal", "focal_gamma": 2.0},
            (np.log(2) / 4 + 9 / 16 * np.log(4) + 1 / 2 * 9 / 16 * np.log(4) + 1 / 2 * 1 / 16 * np.log(4 / 3)) / 3,
        ),
        (
            {"loss": "focal", "focal_gamma": 1.0, "focal_alpha": 0.25},
            (
                1 / 4 * 1 / 2 * np.log(2)
                + 3 / 4 * 3 / 4 * np.log(4)
                + 1 / 2 * (1 / 4 * 3 / 4 * np.log(4) + 3 / 4 * 1 / 4 * np.log(4 / 3))
            )
            / 3,
        ),
        ({"loss": "mae"}, (1 / 2 + 3 / 4 + 1 / 4) / 3),
    ],
)
def test_by_hand(fields, expected):
    labels, logits = np.array([[1, 0], [0.5, -1]]), np.array([[0, LOG3], [-LOG3, 9]])
    assert loss_numpy(settings_of(**fields), labels, logits, np.array([3.0, 5.0])) == pytest.approx(expected)


@pytest.mark.parametrize("fields", KINDS)
def test_keras_and_numpy_agree(fields):
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 2, (40, 5)).astype(np.float32)
    labels[:7, :2] = rng.uniform(0, 1, (7, 2))  # mixed
    logits = rng.normal(0, 4, (40, 5)).astype(np.float32)
    weight = rng.uniform(1, 20, 5).astype(np.float32)
    settings = settings_of(**fields)
    values = keras_loss(settings, labels, logits, weight)
    assert values.shape == (40,)
    assert values.mean() == pytest.approx(loss_numpy(settings, labels, logits, weight), rel=1e-5)


def test_only_weighted_cross_entropy_reads_the_weights():
    logits = np.linspace(-2, 2, LABELS.size).reshape(LABELS.shape)
    for fields in KINDS:
        settings = settings_of(**fields)
        same = loss_numpy(settings, LABELS, logits, np.full(3, 9.0)) == loss_numpy(settings, LABELS, logits, np.ones(3))
        assert same == (settings.loss != "weighted_bce"), fields


def test_focal_loss_without_focus_and_balance_is_cross_entropy():
    logits = np.linspace(-5, 5, LABELS.size).reshape(LABELS.shape)
    focal, plain = settings_of(loss="focal", focal_gamma=0.0), settings_of(loss="bce")
    assert loss_numpy(focal, LABELS, logits, np.ones(3)) == pytest.approx(loss_numpy(plain, LABELS, logits, np.ones(3)))


@pytest.mark.parametrize("fields", KINDS)
def test_extreme_logits_give_numbers_and_ignored_labels_no_gradient(fields):
    import tensorflow as tf

    extremes = np.float32([-100, -88, -17, -0.0, 0.0, 17, 88, 100])
    labels = np.repeat(np.float32([1, 0, 0.3, -1])[:, None], len(extremes), axis=1)
    logits = tf.Variable(np.tile(extremes, (len(labels), 1)))
    settings = settings_of(**fields)
    with tf.GradientTape() as tape:
        values = make_loss(settings, np.full(len(extremes), 5, np.float32))(tf.constant(labels), logits)
        mean = tf.reduce_mean(values)
    gradient = tape.gradient(mean, logits).numpy()
    assert np.isfinite(values.numpy()).all()
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[3], 0)
    assert (gradient[0, 3:5] < 0).all(), "a positive's logit is pushed up"
    assert (gradient[1, 3:5] > 0).all(), "a negative's logit is pushed down"
    assert float(mean) == pytest.approx(loss_numpy(settings, labels, logits.numpy(), np.full(len(extremes), 5)), rel=1e-5)


@pytest.mark.parametrize("fields", KINDS)
def test_an_ignored_label_changes_nothing(fields):
    labels, logits = [[1, 0, -1]], np.float32([[2.0, -1.0, 50.0]])
    first = keras_loss(settings_of(**fields), labels, logits, np.ones(3))
    second = keras_loss(settings_of(**fields), labels, logits * np.float32([1, 1, -1]), np.ones(3))
    np.testing.assert_array_equal(first, second)


def test_a_batch_of_ignored_labels_costs_nothing():
    for fields in KINDS:
        np.testing.assert_array_equal(keras_loss(settings_of(**fields), [[-1, -1]], [[3, -3]], np.ones(2)), [0])
