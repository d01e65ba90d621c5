"""Where maps are hottest and whether they show the same place: by hand on a grid of blocks."""

import numpy as np
import pandas as pd
import pytest

from thorax.explanation import places
from thorax.explanation.localisation import GRID

WHOLE = (0.0, 0.0, 1.0, 1.0)


def blocks(values: list[list[float]]) -> np.ndarray:
    """A map of 4 x 4 cells on the grid, each a block of it."""
    return np.kron(np.array(values, np.float32), np.ones((GRID // 4, GRID // 4), np.float32))


def block(row: int, column: int, heat: float = 1) -> np.ndarray:
    values = np.zeros((4, 4))
    values[row, column] = heat
    return blocks(values.tolist())


def test_the_hottest_area_is_connected_and_at_least_half_as_hot():
    heat = blocks([[0, 0, 0, 0], [0, 4, 2, 1], [0, 0, 0, 0], [3, 0, 0, 0]])
    point, box = places.hottest(np.stack([heat, np.zeros_like(heat), 9 * block(3, 3)]))
    np.testing.assert_allclose(point, [(0.375, 0.375), (np.nan, np.nan), (0.875, 0.875)])
    np.testing.assert_allclose(box, [(0.25, 0.25, 0.5, 0.25), (np.nan,) * 4, (0.75, 0.75, 0.25, 0.25)])


def test_maps_do_not_touch_each_other():
    """The lower edge of one map is not next to the upper edge of the following one, nor are equal places of two maps."""
    _, box = places.hottest(np.stack([block(3, 1), block(0, 1), block(0, 1)]))
    np.testing.assert_allclose(box[:, 1], [0.75, 0, 0])
    np.testing.assert_allclose(box[:, 3], 0.25)


def test_of_two_equally_hot_areas_the_point_is_in_the_first():
    point, _ = places.hottest((block(0, 0) + block(3, 3))[None])
    np.testing.assert_allclose(point, [(0.125, 0.125)])


def test_similarity_is_correlation_and_distance():
    first, second = block(1, 0), block(1, 3)
    assert places.similarity(np.stack([first, 5 * first]), WHOLE) == pytest.approx((1, 0))
    correlation, distance = places.similarity(np.stack([first, second, np.zeros_like(first)]), WHOLE)
    assert correlation == pytest.approx(-1 / 15)  # two blocks of sixteen
    assert distance == pytest.approx(0.75)


def test_similarity_needs_two_maps_that_vary_and_regards_only_what_networks_saw():
    assert np.isnan(places.similarity(np.stack([block(1, 1), np.zeros((GRID, GRID))]), WHOLE)).all()
    assert np.isnan(places.similarity(np.zeros((0, GRID, GRID)), WHOLE)).all()
    left = np.stack([block(1, 0), block(1, 1)])
    assert places.similarity(left, (0, 0.25, 0.5, 0.5))[0] == pytest.approx(-1)  # the two blocks that both networks saw


def test_sentences_name_classes_with_different_places():
    corner = np.zeros((2, 7, 7), np.float32)
    corner[:, 0, 0] = 1
    other = np.zeros((2, 5, 5), np.float32)
    other[0, 0, 0] = other[1, 4, 4] = 1
    said = places.different_places([corner, other, np.ones((2, 1, 1), np.float32)], (0.2, 0.2, 0.8, 0.8))
    assert list(said) == [1]
    assert "the mean correlation of two of their maps is -0.0" in said[1]
    assert places.different_places([corner], WHOLE) == {}


def cells(*hot: tuple[int, int]) -> np.ndarray:
    """Maps of 4 x 4 cells, each hot in one of them."""
    maps = np.zeros((len(hot), 4, 4), np.float32)
    for number, place in enumerate(hot):
        maps[(number, *place)] = 1
    return maps


def test_maps_of_two_networks_are_compared_image_by_image_and_with_another_image():
    one, other = cells((0, 0), (1, 1)), cells((0, 0), (1, 3))
    found = places.compare([one, other])
    np.testing.assert_allclose(found["correlation"], [1, -1 / 15])  # two cells of sixteen, in ranks as in values
    np.testing.assert_allclose(found["distance"], [0, 0.5625])  # the outer cell's heat reaches the border: from 0.375 to 0.9375
    np.testing.assert_allclose(found["other_correlation"], [-1 / 15, -1 / 15])
    np.testing.assert_allclose(found["other_distance"], [0.875, 0.3125])
    assert len(places.compare([one, other, one])) == 6  # three pairs of networks


def test_comparing_maps_does_not_depend_on_their_scale_and_sizes_may_differ():
    rng = np.random.default_rng(0)
    one, other = rng.random((3, 5, 4, 4)).astype(np.float32)[:2], rng.random((5, 7, 7)).astype(np.float32)
    first, second = one
    pd.testing.assert_frame_equal(places.compare([3 * first, second / 7]), places.compare([first, second]), atol=1e-6)
    mixed = places.compare([first, other])
    assert mixed["correlation"].abs().max() < 0.9
    fine = places.place(first, np.tile(np.array(WHOLE), (5, 1)))
    assert places.compare([first, fine])["correlation"].min() == pytest.approx(1)
    assert places.compare([first, fine])["distance"].max() == pytest.approx(0)


def test_a_single_image_has_no_other_and_an_empty_map_no_hottest_point():
    alone = places.compare([cells((2, 2)), cells((2, 2))])
    assert alone["correlation"].tolist() == pytest.approx([1])
    assert alone[["other_correlation", "other_distance"]].isna().all(axis=None)
    empty = places.compare([np.zeros((2, 4, 4), np.float32), cells((0, 0), (1, 1))])
    assert empty["correlation"].tolist() == [0, 0]
    assert empty["distance"].isna().all()
