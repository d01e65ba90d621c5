"""What the training images look like, and what is unlike them."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.bundles.predictable import radiograph, seen
from thorax import archives, config, phantom
from thorax.bundles import flags, reference
from thorax.bundles.radiographs import Radiograph
from thorax.images.formats import Header
from thorax.storage import store

TRAIN = np.stack([seen(radiograph(seed)) for seed in range(80)])
NEW = np.stack([seen(radiograph(seed)) for seed in range(1000, 1080)])
KNOWN = reference.summarise(TRAIN)


def of_images(pixels, credible=True, coloured=False, known=KNOWN, views=("PA",), **header):
    radiographs = [Radiograph("a.png", image, 0, 255, Header(**header), coloured) for image in pixels]
    return flags.of_images(radiographs, [SimpleNamespace(credible=credible)] * len(pixels), pixels, known, views)


def test_a_thumbnail_is_described_by_hand():
    """A ramp from left to right of 0 to 31, whose mirror image is its opposite, next to itself as the mean."""
    ramp = np.tile(np.arange(32, dtype=np.uint8), (32, 1))
    numbers = dict(zip(reference.NAMES, reference.describe(ramp, ramp / 31), strict=True))
    assert [numbers[f"quantile {share}"] for share in (0.25, 0.5, 0.75)] == pytest.approx([0.25, 0.5, 0.75])
    assert numbers["symmetry"] == pytest.approx(-1)
    assert [numbers["likeness"], numbers["likeness of columns"]] == pytest.approx([1, 1])
    assert numbers["likeness of rows"] == 0  # rows do not vary
    assert numbers["coarse edges"] == pytest.approx(numbers["fine edges"])  # the image is its own thumbnail
    assert numbers["fine edges"] == pytest.approx(
        np.log(8 / 31 * 30 / 32 + 0.01), abs=1e-6
    )  # Sobel weighs 8; borders are reflected


def test_new_images_of_the_same_kind_are_hardly_ever_flagged():
    assert sum(map(bool, of_images(NEW))) <= 4  # of 80; the limit is about the largest distance of 80 training images


def test_what_is_not_a_radiograph_is_flagged():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (20, 32, 32)).astype(np.uint8)
    blobs = np.stack([cv2.resize(rng.integers(0, 256, (4, 4)).astype(np.uint8), (32, 32)) for _ in range(20)])
    for name, images in {"noise": noise, "blobs": blobs, "inverted": 255 - NEW, "upside down": NEW[:, ::-1]}.items():
        found = of_images(images)
        assert all(flags.UNLIKE in one for one in found), name
        assert np.mean([flags.NOT_A_RADIOGRAPH in one for one in found]) >= 0.9, name


def test_lateral_phantoms_are_told_from_frontal_ones(tmp_path):
    phantom.make_archive(config.Phantom(patients=40, height=128, seed=1), tmp_path)
    dataset = config.Dataset(archive="padchest", root=str(tmp_path))
    archives.make_catalog(dataset, tmp_path / "catalog.parquet", tmp_path / "boxes.parquet")
    listed = store.read_table(tmp_path / "catalog.parquet")
    images = {
        view: np.stack([seen(cv2.imread(str(tmp_path / path), cv2.IMREAD_UNCHANGED)) for path in rows["path"]])
        for view, rows in listed[listed["view"].isin(["PA", "L"])].groupby("view")
    }
    known = reference.summarise(images["PA"])
    found = {view: of_images(pixels, known=known) for view, pixels in images.items()}
    assert np.mean([flags.LATERAL in one for one in found["L"]]) >= 0.8
    assert np.mean([bool(one) for one in found["PA"]]) <= 0.05


def test_other_flags_need_no_reference():
    assert of_images(NEW[:1], credible=False, coloured=True, burned_in=True, known=None) == [
        [flags.NO_LUNGS, flags.COLOURED, flags.BURNED_IN]
    ]
    assert of_images(NEW[:1], known=None) == [[]]
    assert of_images(NEW[:1], known=None, lateral=True) == [[flags.LATERAL]]


def test_networks_that_learnt_from_lateral_views_expect_them():
    for views, expected in (
        (["PA"], [[flags.LATERAL]]),
        (["frontal"], [[flags.LATERAL]]),
        (["L"], [[]]),
        (["PA", "Lateral"], [[]]),
    ):
        assert of_images(NEW[:1], lateral=True, known=None, views=views) == expected


@given(st.permutations(range(20)))
def test_distances_depend_on_nothing_but_the_image(order):
    apart = reference.look(KNOWN, NEW[:20]).distances
    np.testing.assert_array_equal(reference.look(KNOWN, NEW[list(order)]).distances, apart[list(order)])


def test_a_summary_survives_json_and_says_nothing_of_few_images():
    again = json.loads(json.dumps(KNOWN, allow_nan=False))
    np.testing.assert_array_equal(reference.look(again, NEW).distances, reference.look(KNOWN, NEW).distances)
    assert reference.is_valid(again)
    assert reference.summarise(TRAIN[: reference.FEWEST - 1]) is None
    assert reference.rows_to_describe(7).tolist() == list(range(7))
    assert len(set(reference.rows_to_describe(12_345))) == reference.MOST


@pytest.mark.parametrize("key", ["mean", "centre", "scale", "inverse", "limit", "middle"])
def test_a_summary_that_is_not_valid_is_recognised(key):
    for wrong in (None, "a", [], [[1, 2], [3]], float("nan"), {}):
        assert not reference.is_valid({**KNOWN, key: wrong})
    assert reference.is_valid({**KNOWN, "limit": 1})
    assert not reference.is_valid({**KNOWN, "limit": 0})
    assert not reference.is_valid({name: value for name, value in KNOWN.items() if name != key})
