"""Over- and under-sampling against numbers by hand, and what must hold for any labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from thorax.models.sampling import choose, keep_shares, repeat_factors

LABELS = st.tuples(st.integers(1, 40), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.sampled_from([-1.0, 0.0, 0.0, 1.0]))
)
SEEDS = st.integers(0, 2**32 - 1)

# 16 images: 8 of a, 4 of b, 1 of c (which has b as well); 4 have none; the median class b has 4
COMMON = np.array([[1, 0, 0]] * 8 + [[0, 1, 0]] * 3 + [[0, 1, 1]] + [[0, -1, 0]] * 4, np.float32)


def test_none_is_every_image_once():
    np.testing.assert_array_equal(choose(COMMON, "none", np.random.default_rng(0)), np.arange(16))


def test_repeat_factors_by_hand():
    np.testing.assert_allclose(repeat_factors(COMMON), [1] * 11 + [2] + [1] * 4)  # sqrt(4 / 1) for c
    np.testing.assert_array_equal(choose(COMMON, "over", np.random.default_rng(0)), [*range(12), 11, *range(12, 16)])


def test_fractions_are_rounded_at_random():
    labels = np.eye(3, dtype=np.float32)[[0] * 4 + [1] * 2 + [2]]  # 4, 2 and 1 images: c's factor is sqrt(2)
    rng = np.random.default_rng(0)
    repeats = [np.count_nonzero(choose(labels, "over", rng) == 6) for _ in range(2000)]
    assert set(repeats) == {1, 2}
    assert np.mean(repeats) == pytest.approx(np.sqrt(2), abs=0.04)


def test_keep_shares_by_hand():
    np.testing.assert_allclose(keep_shares(COMMON), [0.5] * 8 + [1] * 8)  # 4 / 8 for a; the images without a class are 4
    both = np.array([[1, 1]] + [[1, 0]] * 3 + [[0, 0]] * 10, np.float32)  # 4 and 1 images, median 2.5
    np.testing.assert_allclose(keep_shares(both), [1] + [2.5 / 4] * 3 + [0.25] * 10)
    rng = np.random.default_rng(0)
    kept = np.mean([np.isin(np.arange(14), choose(both, "under", rng)) for _ in range(2000)], axis=0)
    np.testing.assert_allclose(kept, keep_shares(both), atol=0.05)


def test_classes_that_do_not_occur_and_labels_without_any_change_nothing():
    with_empty = np.hstack([COMMON, np.zeros((16, 4), np.float32)])
    np.testing.assert_array_equal(repeat_factors(with_empty), repeat_factors(COMMON))
    np.testing.assert_array_equal(keep_shares(with_empty), keep_shares(COMMON))
    for kind in ("over", "under"):
        for labels in (np.zeros((5, 2), np.float32), -np.ones((5, 2), np.float32)):
            np.testing.assert_array_equal(choose(labels, kind, np.random.default_rng(0)), np.arange(5))


@given(LABELS, SEEDS)
def test_over_has_every_image_and_rare_classes_gain(labels, seed):
    chosen = choose(labels, "over", np.random.default_rng(seed))
    assert (np.diff(chosen) >= 0).all()
    assert set(chosen.tolist()) == set(range(len(labels)))
    factors = repeat_factors(labels)
    repeats = np.bincount(chosen)
    assert ((repeats == np.floor(factors)) | (repeats == np.floor(factors) + 1)).all()
    images = (labels == 1).sum(axis=0)
    if images.any():
        rarest = labels[:, np.where(images > 0, images, np.inf).argmin()] == 1
        assert factors[rarest].sum() / factors.sum() >= rarest.mean() - 1e-9


@given(LABELS, SEEDS)
def test_under_has_no_image_twice_and_keeps_all_of_rare_classes(labels, seed):
    chosen = choose(labels, "under", np.random.default_rng(seed))
    assert (np.diff(chosen) > 0).all()
    assert len(chosen)
    images = (labels == 1).sum(axis=0)
    if images.any():
        rare = images <= np.median(images[images > 0])
        assert set(np.flatnonzero((labels[:, rare] == 1).any(axis=1)).tolist()) <= set(chosen.tolist())


@given(LABELS, SEEDS, st.sampled_from(["over", "under"]))
def test_the_same_random_state_makes_the_same_choice_and_rows_have_their_own_chances(labels, seed, kind):
    first, second = (choose(labels, kind, np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    order = np.random.default_rng(seed).permutation(len(labels))
    chances = {"over": repeat_factors, "under": keep_shares}[kind]
    np.testing.assert_array_equal(chances(labels[order]), chances(labels)[order])
