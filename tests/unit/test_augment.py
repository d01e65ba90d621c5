"""One warp and one table must do what Keras's ImageDataGenerator does in many steps."""

import numpy as np
import pytest

from thorax.augment import Draw, affine_matrix, augment, draw, grey_table
from thorax.config import Augmentation

NOTHING = Draw(0, 0, 0, 0, 1, 1, False, 0, 1)


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
    change = draw(Augmentation(), 224, 1, np.random.default_rng(seed))[0]
    generator = ImageDataGenerator(fill_mode="nearest", data_format="channels_last")
    expected = generator.apply_transform(
        image[..., None].astype("float32"),
        {
            "theta": change.rotation,
            "tx": change.shift_x,
            "ty": change.shift_y,
            "shear": change.shear,
            "zx": change.zoom_x,
            "zy": change.zoom_y,
            "flip_horizontal": change.flip,
            "channel_shift_intensity": change.channel_shift,
            "brightness": change.brightness,
        },
    )[..., 0]
    difference = np.abs(augment(image, change).astype(float) - expected)
    assert difference.mean() <= 1
    assert (difference <= 4).mean() >= 0.999


def test_no_change_is_the_image_itself():
    image = radiograph(64, 0)
    np.testing.assert_array_equal(augment(image, NOTHING), image)


def test_flip_mirrors():
    image = radiograph(65, 1)
    np.testing.assert_array_equal(augment(image, Draw(0, 0, 0, 0, 1, 1, True, 0, 1)), image[:, ::-1])


def test_shift_by_whole_pixels_moves_and_repeats_the_edge():
    image = radiograph(32, 2)
    shifted = augment(image, Draw(0, 3, 0, 0, 1, 1, False, 0, 1))
    np.testing.assert_array_equal(shifted[:, :-3], image[:, 3:])
    np.testing.assert_array_equal(shifted[:, -3:], np.repeat(image[:, -1:], 3, axis=1))


def test_rotation_by_a_quarter_turn():
    image = radiograph(33, 3)
    turned = augment(image, Draw(90, 0, 0, 0, 1, 1, False, 0, 1))
    assert np.abs(turned.astype(int) - np.rot90(image, 1).astype(int)).max() <= 1


def test_matrix_keeps_the_centre():
    matrix = affine_matrix(Draw(30, 0, 0, 5, 1.1, 0.9, False, 0, 1), 101)
    np.testing.assert_allclose(matrix @ [50, 50, 1], [50, 50])


def test_grey_table_by_hand():
    table = grey_table(Draw(0, 0, 0, 0, 1, 1, False, 10, 0.5), low=20, high=200)
    assert table[0] == 10  # 0 + 10 is below the image's lowest grey value 20, times 0.5
    assert table[100] == 55
    assert table[195] == 100  # 205 is clipped to 200


def test_draws_stay_in_range_and_follow_the_seed():
    settings = Augmentation()
    changes = draw(settings, 100, 500, np.random.default_rng(5))
    assert changes == draw(settings, 100, 500, np.random.default_rng(5))
    assert max(abs(change.rotation) for change in changes) <= 45
    assert max(abs(change.shift_x) for change in changes) <= 10
    assert min(change.brightness for change in changes) >= 0.7
    assert max(change.brightness for change in changes) <= 1.1
    assert 0.4 < np.mean([change.flip for change in changes]) < 0.6
