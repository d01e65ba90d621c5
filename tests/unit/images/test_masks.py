"""Lung masks: post-processing, crop box and the judgement of whether a mask is credible."""

import csv
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from thorax.images import masks

REAL = Path(__file__).parents[3].parent / "shared" / "data" / "lung_masks"
SIZE = 64
EVERY_NEIGHBOUR = np.ones((3, 3))


def ellipse(centre: tuple[float, float], radii: tuple[float, float], size: int = SIZE) -> np.ndarray:
    """A filled ellipse; centre and radii (x, y) as fractions of the image."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    return ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 <= 1


def two_lungs(distance: float = 0.22, size: int = SIZE) -> np.ndarray:
    return ellipse((0.5 - distance, 0.45), (0.17, 0.33), size) | ellipse((0.5 + distance, 0.45), (0.17, 0.33), size)


def components(mask: np.ndarray) -> int:
    return ndimage.label(mask, EVERY_NEIGHBOUR)[1]


def holes(mask: np.ndarray) -> int:
    """Background components that do not reach the image's border, by an independent route."""
    return ndimage.label(np.pad(~mask, 1, constant_values=True))[1] - 1


noise = arrays(bool, st.tuples(st.integers(8, 24), st.integers(8, 24)))


@st.composite
def blobs(draw: st.DrawFn) -> np.ndarray:
    """Ellipses, some cut out of others: masks as a poor network makes them."""
    mask = np.zeros((SIZE, SIZE), bool)
    place, radius = st.floats(0, 1), st.floats(0.02, 0.3)
    for _ in range(draw(st.integers(1, 5))):
        shape = ellipse((draw(place), draw(place)), (draw(radius), draw(radius)))
        mask = mask & ~shape if draw(st.integers(0, 3)) == 0 else mask | shape
    return mask


any_mask = st.one_of(noise, blobs())


@given(any_mask)
@settings(max_examples=80, deadline=None)
def test_postprocessed_mask_has_at_most_two_components_no_hole_and_nothing_new(mask):
    result = masks.postprocess(mask)
    assert result.dtype == bool
    assert components(result) <= 2
    assert holes(result) == 0
    assert not (result & ~ndimage.binary_fill_holes(mask)).any()


@given(any_mask)
@settings(max_examples=80, deadline=None)
def test_second_postprocessing_changes_nothing(mask):
    once = masks.postprocess(mask)
    np.testing.assert_array_equal(masks.postprocess(once), once)


@given(any_mask, st.integers(0, 6), st.integers(0, 6))
@settings(max_examples=60, deadline=None)
def test_moving_a_mask_moves_its_result(mask, down, right):
    def place(inner: np.ndarray, at: tuple[int, int]) -> np.ndarray:
        frame = np.zeros((inner.shape[0] + 8, inner.shape[1] + 8), bool)
        frame[at[0] + 1 : at[0] + 1 + inner.shape[0], at[1] + 1 : at[1] + 1 + inner.shape[1]] = inner
        return frame

    still = masks.postprocess(place(mask, (0, 0)))
    moved = masks.postprocess(place(mask, (down, right)))
    np.testing.assert_array_equal(moved, np.roll(still, (down, right), axis=(0, 1)))


@given(any_mask)
@settings(max_examples=60, deadline=None)
def test_holes_are_filled_alike_in_the_mirror(mask):
    np.testing.assert_array_equal(masks.fill_holes(mask[:, ::-1]), masks.fill_holes(mask)[:, ::-1])


@pytest.mark.parametrize("bridge", [1, 4, 10])
def test_whole_postprocessing_and_verdict_are_alike_in_the_mirror(bridge):
    mask = ellipse((0.27, 0.45), (0.17, 0.33)) | ellipse((0.72, 0.48), (0.16, 0.30))
    mask[30, 56] = True  # so that the width is odd; an even one has two middle columns
    mask[25 : 25 + bridge, 17:46] = True
    mask[2:6, 3:5] = True
    mirrored = masks.postprocess(mask[:, ::-1])
    np.testing.assert_array_equal(mirrored, masks.postprocess(mask)[:, ::-1])
    assert components(mirrored) == 2
    assert masks.judge(mirrored) == masks.judge(mirrored[:, ::-1])


@given(any_mask.filter(np.any), st.floats(0, 0.2))
@settings(max_examples=60, deadline=None)
def test_crop_box_holds_the_mask_and_reaches_the_lower_border(mask, margin):
    x0, y0, x1, y1 = masks.crop_box(mask, margin)
    assert 0 <= x0 < x1 <= 1
    assert 0 <= y0 < y1 == 1
    rows, columns = np.nonzero(mask)
    assert x0 * mask.shape[1] <= columns.min()
    assert columns.max() + 1 <= x1 * mask.shape[1] + 1e-9
    assert y0 * mask.shape[0] <= rows.min()


def test_crop_box_in_numbers():
    mask = np.zeros((100, 200), bool)
    mask[30:60, 50:150] = True
    assert masks.crop_box(mask, margin=0) == pytest.approx((0.25, 0.30, 0.75, 1))
    assert masks.crop_box(mask, margin=0.02) == pytest.approx((0.23, 0.28, 0.77, 1))
    assert masks.crop_box(mask, margin=0.5) == pytest.approx((0, 0, 1, 1))


def test_hole_is_filled_and_bay_at_the_border_is_not():
    mask = np.zeros((8, 8), bool)
    mask[1:6, 1:6] = True
    mask[3, 3] = False
    mask[7, :] = mask[6, 7] = True
    filled = masks.fill_holes(mask)
    assert filled[3, 3]
    assert filled.sum() == mask.sum() + 1


def test_pixels_that_touch_at_a_corner_shut_in_a_hole():
    mask = np.zeros((5, 5), bool)
    mask[1, 2] = mask[2, 1] = mask[2, 3] = mask[3, 2] = True
    assert masks.fill_holes(mask).sum() == 5


def test_two_largest_of_several_components_stay():
    mask = np.zeros((20, 20), bool)
    mask[1:6, 1:6] = mask[1:7, 10:16] = mask[12:15, 2:5] = True
    kept = masks.keep_lungs(mask, min_area=0.01)
    assert kept.sum() == 25 + 36
    assert not kept[12:15].any()


def test_crumb_goes_even_beside_a_single_lung():
    mask = np.zeros((20, 20), bool)
    mask[2:12, 2:8] = True
    mask[18, 18] = True
    assert masks.keep_lungs(mask, min_area=0.01).sum() == 60
    assert masks.keep_lungs(mask, min_area=0.0025).sum() == 61
    assert masks.keep_lungs(mask, min_area=0.5).sum() == 0


@pytest.mark.parametrize("thickness", [1, 6, 12])
def test_lungs_joined_by_a_bridge_are_cut_in_the_bridge(thickness):
    apart = two_lungs()
    joined = apart.copy()
    joined[28 : 28 + thickness, 18:46] = True
    assert components(joined) == 1
    result = masks.separate_touching(joined)
    assert components(result) == 2
    lost = joined & ~result
    assert lost.sum() <= thickness  # one pixel per row of the bridge
    assert not (lost & apart).any()


def test_overlapping_lungs_are_cut_at_the_waist():
    mask = ellipse((0.31, 0.5), (0.2, 0.4)) | ellipse((0.69, 0.5), (0.2, 0.4))
    result = masks.postprocess(mask)
    assert components(result) == 2
    left, right = result[:, :32].sum(), result[:, 32:].sum()
    assert left == pytest.approx(right, rel=0.05)


def test_bridge_that_the_cut_crosses_at_a_slant_still_separates():
    """Corner contact would join the halves again, so the cut is closed where it changes column."""
    mask = np.zeros((40, 40), bool)
    mask[5:35, 2:14] = mask[5:35, 26:38] = True
    for row in range(14, 26):  # a slanted band
        mask[row, row - 4 : row + 8] = True
    mask[14:26, 10:30] |= np.eye(12, 20, dtype=bool)
    assert components(mask) == 1
    assert components(masks.separate_touching(mask)) == 2


@pytest.mark.parametrize("radii", [(0.17, 0.33), (0.25, 0.3), (0.4, 0.4), (0.45, 0.2)])
def test_single_lung_is_not_cut(radii):
    lung = ellipse((0.5, 0.5), radii)
    np.testing.assert_array_equal(masks.postprocess(lung), lung)


def test_lung_with_a_thin_tail_is_not_cut():
    lung = ellipse((0.3, 0.5), (0.17, 0.33))
    lung[40:42, 20:55] = True
    np.testing.assert_array_equal(masks.separate_touching(lung), lung)


def test_joined_lungs_are_cut_although_a_third_component_is_there():
    mask = two_lungs()
    mask[28:32, 18:46] = True
    mask[58:62, 28:36] = True  # larger than the area threshold
    result = masks.postprocess(mask)
    assert components(result) == 2
    assert not result[58:62].any()
    assert masks.judge(result) is None


def test_lungs_that_are_apart_stay_as_they_are():
    mask = two_lungs()
    np.testing.assert_array_equal(masks.postprocess(mask), mask)
    assert masks.judge(mask) is None


@pytest.mark.parametrize(
    ("mask", "verdict"),
    [
        (np.zeros((SIZE, SIZE), bool), "empty"),
        (ellipse((0.3, 0.5), (0.17, 0.33)), "one lung"),
        (ellipse((0.4, 0.5), (0.06, 0.12)) | ellipse((0.6, 0.5), (0.06, 0.12)), "too small"),
        (~(np.abs(np.arange(SIZE) - 31.5) < 2)[np.newaxis].repeat(SIZE, 0), "too large"),
        (ellipse((0.5, 0.25), (0.3, 0.2)) | ellipse((0.5, 0.75), (0.3, 0.2)), "lungs not side by side"),
        (ellipse((0.25, 0.2), (0.2, 0.2)) | ellipse((0.75, 0.7), (0.2, 0.2)), "lungs not side by side"),
        (ellipse((0.25, 0.5), (0.2, 0.4)) | ellipse((0.75, 0.5), (0.08, 0.2)), "unequal lungs"),
        (ellipse((0.15, 0.5), (0.13, 0.35)) | ellipse((0.42, 0.5), (0.12, 0.35)), "off centre"),
    ],
)
def test_verdict_on_masks_that_are_no_pair_of_lungs(mask, verdict):
    assert masks.judge(mask) == verdict


def test_ragged_lung_is_not_credible():
    mask = two_lungs()
    mask[18:, :20] = False  # a deep bite out of the left one
    assert components(mask) == 2
    assert masks.judge(mask) == "ragged lungs"


def test_dice_by_hand():
    first, second = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    first[:2], second[1:4] = True, True  # 8 and 12 pixels, 4 in common
    assert masks.dice(first, second) == pytest.approx(2 * 4 / 20)
    assert masks.dice(first, first) == 1
    assert masks.dice(first, ~first) == 0
    assert masks.dice(first & ~first, first & ~first) == 1


def picture(outside: int, left: int, right: int, **inside: int) -> np.ndarray:
    """A picture of a mask whose parts have these values; `inside` is the value of a part that is not lung."""
    mask, size = two_lungs(size=256), 256
    values = np.where(mask, np.where(np.arange(size) < size // 2, left, right), outside).astype(np.uint8)
    at = {"pixel": np.s_[:1, :1], "corner": np.s_[:20, :20], "band": np.s_[:10], "heart": np.s_[180:230, 100:156]}
    for part, value in inside.items():
        if part == "frame":
            values[[0, 1, -2, -1]] = values[:, [0, 1, -2, -1]] = value
        else:
            values[at[part]] = value
    return values


def outlines() -> np.ndarray:
    mask = two_lungs(size=256).astype(np.uint8)
    return (mask - cv2.erode(mask, np.ones((5, 5), np.uint8))) * 255


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (picture(0, 1, 1, pixel=255), "it has more than two values (0, 1, 255)"),
        (picture(0, 10, 10, heart=117), "it has more than two values (0, 10, 117)"),
        (picture(0, 1, 200), "it has more than two values (0, 1, 200)"),
        (picture(0, 255, 20), "it has more than two values (0, 20, 255)"),
        (picture(0, 1, 2), "it has more than two values (0, 1, 2)"),
        (picture(255, 0, 0), "its four corners are lung"),
        (picture(255, 0, 0, corner=0), "its bright parts have large holes"),
        (picture(255, 0, 0, band=0), "its bright parts have large holes"),
        (picture(255, 0, 0, frame=0), "its bright parts have large holes"),
        (outlines(), "its bright parts have large holes"),
        (picture(1, 2, 2), "it has two values that are both above 0 (1, 2)"),
        (np.eye(256, dtype=np.uint8) * 255, "only 256 of its pixels are lung in one piece"),
        (picture(0, 0, 0, pixel=255), "only 1 of its pixels are lung"),
        (picture(0, 0, 0), "it has no lung"),
    ],
)
def test_a_picture_that_is_no_mask_is_refused(values, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        masks.from_picture(values)


@pytest.mark.parametrize(("outside", "lung"), [(0, 1), (0, 255), (5, 250), (20, 255)])
def test_two_values_are_a_mask(outside, lung):
    np.testing.assert_array_equal(masks.from_picture(picture(outside, lung, lung)), two_lungs(size=256))


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the hand-drawn masks are not here")
@pytest.mark.parametrize("quality", [None, 100, 75, 20])
def test_hand_drawn_masks_are_masks_also_after_compression(quality):
    for path in sorted((REAL / "masks").iterdir()):
        drawn = cv2.resize(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), (512, 512), interpolation=cv2.INTER_AREA)
        values = drawn
        if quality is not None:
            values = cv2.imdecode(cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)
        assert masks.dice(masks.from_picture(values), drawn > 127) > 0.99, path.name


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the hand-drawn masks are not here")
def test_hand_drawn_masks_are_credible_stay_and_can_be_told_apart_when_joined():
    with (REAL / "pairs.csv").open(encoding="utf-8") as file:
        names = [row["image"] for row in csv.DictReader(file)]
    for name in names:
        drawn = cv2.imread(str(REAL / "masks" / name), cv2.IMREAD_GRAYSCALE) > 127
        mask = cv2.resize(drawn.astype(np.float32), (256, 256), interpolation=cv2.INTER_AREA) > 0.5
        np.testing.assert_array_equal(masks.postprocess(mask), mask, err_msg=name)
        assert masks.judge(mask) is None, name
        for lung in (ndimage.label(mask, EVERY_NEIGHBOUR)[0] == label for label in (1, 2)):
            np.testing.assert_array_equal(masks.separate_touching(lung), lung, err_msg=name)
        rows = np.flatnonzero(mask.any(axis=1))
        joined = mask.copy()
        for row in range(int(rows[0] + 0.4 * len(rows)), int(rows[0] + 0.6 * len(rows))):
            columns = np.flatnonzero(mask[row])
            joined[row, columns[0] : columns[-1] + 1] = True
        assert components(joined) == 1, name
        apart = masks.postprocess(joined)
        assert components(apart) == 2, name
        assert masks.dice(apart, mask) > 0.9, name
