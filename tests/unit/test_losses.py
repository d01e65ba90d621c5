"""The loss against hand-computed values and against its independent form in numpy."""

import numpy as np
import pytest

from thorax.errors import ThoraxError
from thorax.losses import check_classes, pos_weights, weighted_bce, weighted_bce_numpy

LABELS = np.array([[1, 0, -1], [0, 0, 1], [1, 1, 0], [0, 0, 0]], np.float32)


def test_weights_are_negatives_over_positives_and_skip_ignored():
    np.testing.assert_allclose(pos_weights(LABELS), [1, 3, 2])
    np.testing.assert_allclose(pos_weights(LABELS, cap=2.5), [1, 2.5, 2])


def test_a_class_without_positives_or_without_negatives_is_named():
    check_classes(LABELS, ["a", "b", "c"])
    with pytest.raises(ThoraxError, match="'b' has no positive"):
        check_classes(LABELS * [1, 0, 1], ["a", "b", "c"])
    with pytest.raises(ThoraxError, match="'c' has no negative"):
        check_classes(np.where([False, False, True], np.abs(LABELS) + (LABELS == 0), LABELS), ["a", "b", "c"])


def test_by_hand():
    # at logit 0: label 1 with weight 3 costs 3 log 2, the three labels 0 cost log 2 each, and two are ignored
    loss = weighted_bce_numpy(np.array([[1.0, 0, -1], [0, 0, -1]]), np.zeros((2, 3)), np.array([3.0, 5, 7]))
    assert loss == pytest.approx(6 * np.log(2) / 4)


def test_keras_and_numpy_agree():
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 2, (40, 5)).astype(np.float32)
    logits = rng.normal(0, 4, (40, 5)).astype(np.float32)
    weight = rng.uniform(1, 20, 5).astype(np.float32)
    values = np.asarray(weighted_bce(weight)(labels, logits))
    assert values.shape == (40,)
    assert values.mean() == pytest.approx(weighted_bce_numpy(labels, logits, weight), rel=1e-5)


def test_an_ignored_label_changes_nothing():
    logits = np.array([[2.0, -1.0, 50.0]], np.float32)
    first = np.asarray(weighted_bce(np.ones(3))(np.array([[1, 0, -1]], np.float32), logits))
    second = np.asarray(weighted_bce(np.ones(3))(np.array([[1, 0, -1]], np.float32), logits * np.float32([1, 1, -1])))
    np.testing.assert_array_equal(first, second)
