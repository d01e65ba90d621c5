"""One warp and one table must do what Keras's ImageDataGenerator does in many steps."""

from dataclasses import fields

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thorax.config import Augmentation
from thorax.models.augment import (
    CHUNK,
    Draw,
    affine_matrices,
    augment,
    draw,
    draw_mix,
    elastic_map,
    grey_tables,
    mix_images,
    mix_labels,
)

NOTHING = dict(
    rotation=0,
    shift_x=0,
    shift_y=0,
    shear=0,
    zoom_x=1,
    zoom_y=1,
    flip=False,
    channel_shift=0,
    brightness=1,
    fields=0,
    contrast=1,
)


def one(elastic: float = 0, deviation: float = 1, **changed) -> Draw:
    """The draw of one image that is changed by what is named only."""
    return Draw(
        **{name: np.array([value]) for name, value in {**NOTHING, **changed}.items()}, elastic=elastic, deviation=deviation
    )


def changed(image: np.ndarray, change: Draw) -> np.ndarray:
    out = np.empty((1, *image.shape), np.uint8)
    augment([image], change, out)
    return out[0]


def radiograph(size: int, seed: int) -> np.ndarray:
    """A smooth picture with edges, as radiographs have them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    picture = 120 + 80 * np.sin(3 * x + seed) * np.cos(4 * y) + 40 * (np.hypot(x - 0.4, y - 0.5) < 0.2)
    return np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("seed", range(12))
def test_agrees_with_image_data_generator(seed):
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    image = radiograph(224, seed)
    change = draw(Augmentation(), 224, 1, np.random.default_rng(seed))
    generator = ImageDataGenerator(fill_mode="nearest", data_format="channels_last")
    expected = generator.apply_transform(
        image[..., None].astype("float32"),
        {
            "theta": change.rotation[0],
            "tx": change.shift_x[0],
            "ty": change.shift_y[0],
            "shear": change.shear[0],
            "zx": change.zoom_x[0],
            "zy": change.zoom_y[0],
            "flip_horizontal": change.flip[0],
            "channel_shift_intensity": change.channel_shift[0],
            "brightness": change.brightness[0],
        },
    )[..., 0]
    difference = np.abs(changed(image, change).astype(float) - expected)
    assert difference.mean() <= 1
    assert (difference <= 4).mean() >= 0.999


def plain_matrix(change: Draw, index: int, size: int) -> np.ndarray:
    """One image's matrix, written out step by step."""
    theta, shear = np.deg2rad(change.rotation[index]), np.deg2rad(change.shear[index])
    cos, sin = np.cos(theta), np.sin(theta)
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    shift = np.array([[1, 0, change.shift_x[index]], [0, 1, change.shift_y[index]], [0, 0, 1]])
    shearing = np.array([[1, -np.sin(shear), 0], [0, np.cos(shear), 0], [0, 0, 1]])
    zoom = np.diag([change.zoom_x[index], change.zoom_y[index], 1.0])
    centre = (size - 1) / 2
    to_centre = np.array([[1, 0, centre], [0, 1, centre], [0, 0, 1]])
    from_centre = np.array([[1, 0, -centre], [0, 1, -centre], [0, 0, 1]])
    matrix = to_centre @ rotation @ shift @ shearing @ zoom @ from_centre
    if change.flip[index]:
        matrix = matrix @ np.array([[-1, 0, size - 1], [0, 1, 0], [0, 0, 1]])
    return matrix[:2]


def plainly_changed(image: np.ndarray, change: Draw, index: int) -> np.ndarray:
    """One image's change, image by image: the reference of the computation in chunks."""
    size = image.shape[0]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    matrix = plain_matrix(change, index, size)
    warped = cv2.warpAffine(image, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    shifted = np.clip(np.arange(256) + change.channel_shift[index], int(warped.min()), int(warped.max()))
    table = np.clip(np.floor(shifted) * change.brightness[index], 0, 255).astype(np.uint8)
    return table[warped]


@pytest.mark.parametrize("factor", [0.0, 0.6, 0.9, 1.3, 2.5])
def test_contrast_agrees_with_tensorflow(factor):
    import tensorflow as tf

    image = radiograph(96, 3)
    expected = tf.image.adjust_contrast(tf.constant(image[..., None], tf.float32), factor).numpy()[..., 0]
    found = changed(image, one(contrast=factor)).astype(float)
    assert np.abs(found - np.clip(expected, 0, 255)).max() <= 0.5 + 1e-3
    if factor == 0.9:
        assert found.std() == pytest.approx(0.9 * image.std(), rel=0.01)


def test_contrast_by_hand_comes_before_shift_and_brightness():
    """Mean 100: 140 becomes 120 and 20 becomes 60; 30 more, clipped to the image's 60 to 120; the half of it."""
    image = np.array([[20, 100], [140, 140]], np.uint8)  # mean 100
    np.testing.assert_array_equal(changed(image, one(contrast=0.5)), [[60, 100], [120, 120]])
    np.testing.assert_array_equal(changed(image, one(contrast=0.5, channel_shift=30, brightness=0.5)), [[45, 60], [60, 60]])


def test_contrast_changes_nothing_else():
    plain, stretched = (draw(Augmentation(contrast=c), 64, 50, np.random.default_rng(2)) for c in ((1, 1), (0.8, 1.2)))
    for field in fields(Draw):
        if field.name != "contrast":
            np.testing.assert_array_equal(getattr(plain, field.name), getattr(stretched, field.name))
    assert (plain.contrast == 1).all()
    assert 0.8 <= stretched.contrast.min() < 0.85
    assert 1.15 < stretched.contrast.max() <= 1.2


def test_chunks_give_the_bits_of_single_images(tmp_path):
    count = 2 * CHUNK + 3
    np.save(tmp_path / "images.npy", np.stack([radiograph(96, seed) for seed in range(count)]))
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    change = draw(Augmentation(), 96, count, np.random.default_rng(1))
    out = np.empty(images.shape, np.uint8)
    augment(images, change, out)
    for index in range(count):
        np.testing.assert_array_equal(out[index], plainly_changed(np.array(images[index]), change, index))


def test_no_change_is_the_image_itself():
    image = radiograph(64, 0)
    np.testing.assert_array_equal(changed(image, one()), image)


def test_flip_mirrors():
    image = radiograph(65, 1)
    np.testing.assert_array_equal(changed(image, one(flip=True)), image[:, ::-1])


def test_shift_by_whole_pixels_moves_and_repeats_the_edge():
    image = radiograph(32, 2)
    shifted = changed(image, one(shift_x=3))
    np.testing.assert_array_equal(shifted[:, :-3], image[:, 3:])
    np.testing.assert_array_equal(shifted[:, -3:], np.repeat(image[:, -1:], 3, axis=1))


def test_rotation_by_a_quarter_turn():
    image = radiograph(33, 3)
    turned = changed(image, one(rotation=90))
    assert np.abs(turned.astype(int) - np.rot90(image, 1).astype(int)).max() <= 1


def test_matrix_keeps_the_centre():
    matrix = affine_matrices(one(rotation=30, shear=5, zoom_x=1.1, zoom_y=0.9), 101)[0]
    np.testing.assert_allclose(matrix @ [50, 50, 1], [50, 50])


def test_grey_table_by_hand():
    table = grey_tables(one(channel_shift=10, brightness=0.5), np.array([20]), np.array([200]), np.array([90]))[0]
    assert table[0] == 10  # 0 + 10 is below the image's lowest grey value 20, times 0.5
    assert table[100] == 55
    assert table[195] == 100  # 205 is clipped to 200


def test_draws_stay_in_range_and_follow_the_seed():
    settings = Augmentation()
    change, again = (draw(settings, 100, 500, np.random.default_rng(5)) for _ in range(2))
    for field in fields(Draw):
        np.testing.assert_array_equal(getattr(change, field.name), getattr(again, field.name))
    assert np.abs(change.rotation).max() <= 45
    assert np.abs(change.shift_x).max() <= 10
    assert change.brightness.min() >= 0.7
    assert change.brightness.max() <= 1.1
    assert 0.4 < change.flip.mean() < 0.6
    assert len(set(change.fields.tolist())) == 500


def test_elastic_settings_leave_the_other_parameters_as_they_are():
    plain = draw(Augmentation(), 100, 5, np.random.default_rng(5))
    bent = draw(Augmentation(elastic=0.05, elastic_smoothness=0.1), 100, 5, np.random.default_rng(5))
    assert (bent.elastic, bent.deviation) == (5, 10)
    np.testing.assert_array_equal(bent.brightness, plain.brightness)
    np.testing.assert_array_equal(bent[1:3].rotation, plain.rotation[1:3])


def affine_map(matrix: np.ndarray, size: int) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return np.stack([x, y, np.ones_like(x)], axis=-1) @ matrix.T


@pytest.mark.parametrize("deviation", [0.02, 0.7, 4, 11, 65, 300])
def test_a_map_without_displacements_is_affine(deviation):
    matrix = affine_matrices(one(rotation=20, shift_x=3, zoom_y=1.1, flip=True), 65)[0]
    result = elastic_map(matrix, 65, 0, deviation, 1)
    assert (result.shape, result.dtype) == ((65, 65, 2), np.float32)
    np.testing.assert_allclose(result, affine_map(matrix, 65), atol=1e-3)


@given(
    st.integers(0, 2**63 - 1), st.integers(16, 80), st.floats(0.01, 20), st.floats(0.01, 1), st.floats(-180, 180), st.booleans()
)
def test_no_displacement_is_longer_than_the_longest(seed, size, longest, smoothness, rotation, flip):
    matrix = affine_matrices(one(rotation=rotation, flip=flip), size)[0]
    displacements = elastic_map(matrix, size, longest, smoothness * size, seed) - affine_map(matrix, size)
    lengths = np.linalg.norm(displacements, axis=-1)
    assert lengths.max() <= longest + 2e-4
    assert lengths.max() > longest / 4  # the longest may lie between pixels or just outside, but it is there


def test_displacements_are_as_smooth_as_asked_and_without_direction():
    still = affine_matrices(one(), 200)[0]
    maps = [elastic_map(still, 200, 10, 16, seed) - affine_map(still, 200) for seed in range(60)]
    field = np.stack(maps)
    assert np.abs(field.mean(axis=(0, 1, 2))).max() < 0.5
    # two points of noise smoothed by a Gaussian of deviation s correlate by exp(-d^2 / (4 s^2)) at distance d
    for distance in (8, 16, 32):
        one_side, other = field[:, :, :-distance], field[:, :, distance:]
        assert (one_side * other).mean() / (field**2).mean() == pytest.approx(np.exp(-(distance**2) / 4 / 16**2), abs=0.08)
    border, inside = field[:, :10], field[:, 95:105]
    assert (border**2).mean() == pytest.approx((inside**2).mean(), rel=0.35)


def test_elastic_images_follow_the_warp_and_their_own_seed_alone():
    images = [radiograph(64, seed) for seed in range(CHUNK + 2)]
    change = draw(Augmentation(elastic=0.05), 64, len(images), np.random.default_rng(3))
    out = np.empty((len(images), 64, 64), np.uint8)
    augment(images, change, out)
    last = np.empty((1, 64, 64), np.uint8)
    augment(images[-1:], change[-1:], last)
    np.testing.assert_array_equal(out[-1:], last)
    bend = dict(rotation=10, fields=4, deviation=5)
    np.testing.assert_array_equal(changed(images[0], one(**bend, elastic=3)), changed(images[0], one(**bend, elastic=3)))
    assert not np.array_equal(
        changed(images[0], one(**bend, elastic=3)), changed(images[0], one(**{**bend, "fields": 5}, elastic=3))
    )
    hardly = np.abs(changed(images[0], one(**bend, elastic=1e-6)).astype(int) - changed(images[0], one(**bend)))
    assert hardly.max() <= 2  # remap rounds its weights, warpAffine need not
    assert hardly.mean() < 0.3


def test_mixed_images_by_hand():
    images = np.array([[[0, 100, 250]], [[7, 8, 9]]], np.uint8)
    mix_images(images, np.array([[[252, 110, 250]], [[200, 200, 200]]], np.uint8), np.array([0.7, 1.0]))
    np.testing.assert_array_equal(images, [[[76, 103, 250]], [[7, 8, 9]]])  # 0.3 * 252 = 75.6


def test_mixed_labels_by_hand():
    labels, others = np.array([[1, 0, -1, 1, 0], [1, 1, 0, -1, 0]], np.float32), np.array([[0, 1, 1, -1, 0], [1, 0, 0, 0, 1]])
    mixed = mix_labels(labels, others.astype(np.float32), np.array([0.75, 1.0]))
    assert mixed.dtype == np.float32
    np.testing.assert_array_equal(mixed, np.array([[0.75, 0.25, -1, -1, 0], [1, 1, 0, -1, 0]], np.float32))


def test_every_image_is_one_partner_and_weights_follow_the_beta_distribution():
    partners, weights = draw_mix(0.4, 4000, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(partners), np.arange(4000))
    assert weights.mean() == pytest.approx(0.5, abs=0.02)
    assert weights.var() == pytest.approx(1 / (4 * (2 * 0.4 + 1)), rel=0.05)
    assert np.isfinite(draw_mix(1e-300, 10, np.random.default_rng(0))[1]).all()
