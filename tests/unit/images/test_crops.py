"""Training images against direct computations on known boxes."""

import cv2
import numpy as np
import pandas as pd
import pytest

from thorax import config
from thorax.errors import ThoraxError
from thorax.images import crops, decoding
from thorax.storage import schemas, store

BOXES = {"a": (0.25, 0.125, 0.75, 1.0), "b": (0.0, 0.0, 1.0, 1.0), "c": (0.1, 0.2, 0.93, 1.0)}


@pytest.fixture
def shard(tmp_path):
    """Shard 1 of a data set: three images whose rows are not in the order of their identifiers, one unusable."""
    array = np.random.default_rng(0).integers(0, 256, (3, 512, 512)).astype(np.uint8)
    array = np.stack([cv2.GaussianBlur(image, (0, 0), 4) for image in array])
    store.write_array(array, tmp_path / "data.1.npy")
    rows = pd.DataFrame({"image_id": ["a", "b", "bad", "c", "other"], "ok": [True, True, False, True, True]})
    rows = rows.assign(shard=[1, 1, -1, 1, 0], row=[2, 0, -1, 1, 0], reason=None)
    rows = rows.assign(**dict.fromkeys(["rows", "columns", "channels", "bits", "burned_in", "collimated", "low", "high"], 1))
    store.write_table(rows, tmp_path / "data.parquet", schemas.INGESTED)
    write_lungs(tmp_path, BOXES)
    return array


def write_lungs(folder, boxes):
    edges = np.array(list(boxes.values()))
    lungs = pd.DataFrame({"image_id": list(boxes), "components": 2, "area": 0.3, "credible": True, "flag": None})
    lungs = lungs.assign(x0=edges[:, 0], y0=edges[:, 1], x1=edges[:, 2], y1=edges[:, 3])
    store.write_table(lungs.iloc[::-1], folder / "lungs.parquet", schemas.LUNGS)


def make(folder, lungs=True, **settings):
    chosen = config.ImageSet(**{"dataset": "data", "size": 64, **settings})
    table = folder / "lungs.parquet" if lungs else None
    crops.make_images(chosen, folder / "data.1.npy", folder / "data.parquet", 1, table, folder / "out.npy")
    return store.open_array(folder / "out.npy")


def test_crop_and_area_average_by_hand(shard, tmp_path):
    result = make(tmp_path, crop="lungs", segmenter="unet")
    assert (result.shape, result.dtype) == ((3, 64, 64), np.uint8)
    cropped = shard[2][64:512, 128:384].astype(float)  # image a: 448 rows and 256 columns, 7 x 4 pixels to one
    np.testing.assert_allclose(result[2], cropped.reshape(64, 7, 64, 4).mean(axis=(1, 3)), atol=0.51)


def test_rows_keep_their_place(shard, tmp_path):
    result = make(tmp_path, crop="lungs", segmenter="unet")
    for row, image_id in enumerate("bca"):
        x0, y0, x1, y1 = (round(edge * 512) for edge in BOXES[image_id])
        expected = cv2.resize(shard[row][y0:y1, x0:x1], (64, 64), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(result[row], expected)


def test_no_crop_is_the_whole_image(shard, tmp_path):
    expected = shard.astype(float).reshape(3, 64, 8, 64, 8).mean(axis=(2, 4))
    np.testing.assert_allclose(make(tmp_path, lungs=False), expected, atol=0.51)


def test_a_larger_input_is_interpolated(shard, tmp_path):
    result = make(tmp_path, size=640, crop="lungs", segmenter="unet")
    expected = cv2.resize(shard[2][64:512, 128:384], (640, 640), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(result[2], expected)


def test_equalized_images_use_the_whole_range(shard, tmp_path):
    plain, equal = np.array(make(tmp_path)), np.array(make(tmp_path, contrast="equalize"))
    for before, after in zip(plain, equal, strict=True):
        reached = np.cumsum(np.bincount(before.ravel(), minlength=256)).astype(float)
        lowest = reached[reached > 0][0]
        np.testing.assert_allclose(after, ((reached - lowest) / (before.size - lowest) * 255)[before], atol=0.51)
        assert (after.min(), after.max()) == (0, 255)


def test_contrast_is_equalized_by_tiles_with_a_limit(shard, tmp_path):
    faint = (100 + shard // 16).astype(np.uint8)
    store.write_array(faint, tmp_path / "data.1.npy")
    plain, tiles, again = np.array(make(tmp_path)), *(np.array(make(tmp_path, contrast="clahe")) for _ in range(2))
    whole = np.array(make(tmp_path, contrast="equalize"))
    assert (tiles.shape, tiles.dtype) == ((3, 64, 64), np.uint8)
    np.testing.assert_array_equal(tiles, again)
    for before, limited, full in zip(plain, tiles, whole, strict=True):
        assert np.ptp(before) < np.ptp(limited) < np.ptp(full)
        assert before.std() < limited.std() < full.std()


def test_tiles_that_are_alike_keep_the_order_of_grey_values():
    tile = np.random.default_rng(0).integers(80, 140, (8, 8)).astype(np.uint8)
    image = np.tile(tile, (8, 8))
    result = crops.CONTRASTS["clahe"](image)
    np.testing.assert_array_equal(result, np.tile(result[:8, :8], (8, 8)))
    assert (np.diff(result[:8, :8].ravel()[tile.argsort(axis=None)].astype(int)) >= 0).all()


def test_tiles_need_not_fit_the_image():
    assert crops.CONTRASTS["clahe"](np.zeros((61, 19), np.uint8)).shape == (61, 19)


def test_an_empty_shard_gives_an_empty_array(shard, tmp_path):
    store.write_array(np.zeros((0, 512, 512), np.uint8), tmp_path / "none.npy")
    settings = config.ImageSet(dataset="data", size=64, crop="lungs", segmenter="unet")
    paths = tmp_path / "data.parquet", 5, tmp_path / "lungs.parquet", tmp_path / "out.npy"
    crops.make_images(settings, tmp_path / "none.npy", *paths)
    assert store.open_array(tmp_path / "out.npy").shape == (0, 64, 64)


@pytest.mark.parametrize(
    "boxes",
    [
        {"a": BOXES["a"], "b": BOXES["b"]},  # c is absent
        {**BOXES, "c": (0.5, 0.0, 0.5, 1.0)},  # empty
        {**BOXES, "c": (0.0, 0.0, 1.2, 1.0)},  # outside
    ],
)
def test_an_impossible_box_is_named(shard, tmp_path, boxes):
    write_lungs(tmp_path, boxes)
    with pytest.raises(ThoraxError, match=r"lungs\.parquet has no crop box inside the image for 'c'"):
        make(tmp_path, crop="lungs", segmenter="unet")


def test_tables_of_another_shard_are_refused(shard, tmp_path):
    store.write_array(shard[:2], tmp_path / "data.1.npy")
    with pytest.raises(ThoraxError, match=r"data\.1\.npy has the shape 2 x 512 x 512, but 3 images of shard 1"):
        make(tmp_path)


def test_the_lungs_table_must_be_named(shard, tmp_path):
    with pytest.raises(ThoraxError, match="needs the table of lungs"):
        make(tmp_path, lungs=False, crop="lungs", segmenter="unet")


@pytest.mark.parametrize(("low", "high"), [(0, 255), (7, 240), (0, 4095), (31, 1023), (0, 65535), (60000, 65535), (5, 6)])
def test_restored_values_are_those_of_the_file_up_to_half_a_level(low, high):
    stored = np.arange(low, high + 1, dtype=np.uint16)[None]
    restored = crops.restore(decoding.normalize(stored, low, high), low, high)
    assert restored.dtype == np.uint16
    off = np.abs(restored.astype(int) - stored.astype(int)).max()
    assert off <= (high - low) / 510 + 0.5
    if high - low <= 255:
        assert off == 0  # 8-bit files come back exactly
    assert (restored.min(), restored.max()) == (low, high)


def test_stored_intensities_are_restored_before_resizing(shard, tmp_path):
    """Each image by its own range: low + 255ths of (high - low), computed here in floating point."""
    table = store.read_table(tmp_path / "data.parquet").set_index("image_id")
    for image_id, low, high in (("a", 100, 4095), ("b", 0, 1023), ("c", 12, 65535)):
        table.loc[image_id, ["low", "high"]] = low, high
    store.write_table(table.reset_index(), tmp_path / "data.parquet", schemas.INGESTED)
    made = make(tmp_path, lungs=False, intensity="stored")
    assert made.dtype == np.uint16
    for image_id, row in (("b", 0), ("c", 1), ("a", 2)):
        low, high = table.loc[image_id, ["low", "high"]]
        expected = cv2.resize(low + shard[row] * ((high - low) / 255), (64, 64), interpolation=cv2.INTER_AREA)
        assert np.abs(made[row] - expected).max() <= 1.01, image_id  # rounded twice, before and after resizing
    cropped = make(tmp_path, crop="lungs", segmenter="x", intensity="stored")
    left, top, right, bottom = decoding.box_pixels(BOXES["a"], 512, 512)
    expected = cv2.resize(100 + shard[2][top:bottom, left:right] * (3995 / 255), (64, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(cropped[2] - expected).max() <= 1.01
