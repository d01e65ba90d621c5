"""Records of every test image: numbers by hand, the same in blocks, and COCO's JSON."""

import json

import numpy as np
import pytest

from tests import small_experiment
from thorax.errors import ThoraxError
from thorax.explanation import records
from thorax.storage import schemas, store

NAMES = ("labels", "split", "predictions", "heatmaps", "ingested", "lungs", "masks")


def make(folder, **changes):
    files = small_experiment.write(folder)
    arguments = {name: files[name] for name in NAMES} | changes
    records.make_records(**arguments, out=folder / "records.parquet", coco=folder / "coco.json", title="Study")
    return store.read_table(folder / "records.parquet"), json.loads((folder / "coco.json").read_text())


def test_a_row_for_each_image_and_class(tmp_path):
    table, _ = make(tmp_path)
    assert list(table.columns) == schemas.RECORDS.names
    assert list(zip(table["image_id"], table["class"], strict=True)) == [
        (image, name) for image in small_experiment.IDS for name in small_experiment.CLASSES
    ]
    rows = table.set_index(["image_id", "class"])
    yes, no = 1 / (1 + np.exp(-2.0)), 1 / (1 + np.exp(3.0))
    split = rows.loc["z", "mass"]
    np.testing.assert_allclose((split["probability"], split["lowest"], split["highest"]), ((yes + no) / 2, no, yes), rtol=1e-6)
    assert (split["yes"], split["networks"], split["label"]) == (1, 2, 0)
    assert rows.loc["z", "nodule"]["label"] == -1
    mass, hernia = rows.loc["w", "mass"], rows.loc["w", "hernia"]
    # the upper left cell of the crop, which is the right half of the image and starts at a quarter of its height
    assert 0.5 < mass["peak_x"] < 0.58
    assert 0.25 < mass["peak_y"] < 0.34
    assert (mass["x"], mass["y"]) == pytest.approx((0.5, 0.25))
    assert mass["in_lungs"] == pytest.approx(1, abs=0.01)  # the lungs are the upper half
    assert hernia[["peak_x", "x", "width", "in_lungs"]].isna().all()


def test_findings_are_boxes_in_pixels_of_the_original(tmp_path):
    table, coco = make(tmp_path)
    assert [(image["id"], image["file_name"], image["width"], image["height"]) for image in coco["images"]] == [
        (number, name, 200, 400) for number, name in enumerate(small_experiment.IDS, 1)
    ]
    assert [kind["name"] for kind in coco["categories"]] == small_experiment.CLASSES
    found = [(mark["image_id"], mark["category_id"]) for mark in coco["annotations"]]
    assert found == [(1, 1), (2, 2), (3, 2)]  # what the mean of the networks predicts
    first, row = coco["annotations"][0], table.iloc[0]
    np.testing.assert_allclose(
        first["bbox"], [200 * row["x"], 400 * row["y"], 200 * row["width"], 400 * row["height"]], atol=0.1
    )
    assert first["score"] == pytest.approx(row["probability"], abs=1e-4)


def test_blocks_change_nothing_and_masks_are_optional(tmp_path, monkeypatch):
    whole, coco = make(tmp_path / "a")
    monkeypatch.setattr(records, "_AT_ONCE", 3)  # an image at a time
    parts, other = make(tmp_path / "b", masks=None)
    assert parts["in_lungs"].isna().all()
    assert parts.drop(columns="in_lungs").equals(whole.drop(columns="in_lungs"))
    assert other == coco


def test_maps_of_single_cells_show_no_place():
    mean = records.mean_maps([np.ones((2, 3, 1, 1), np.float32)], np.tile([0.0, 0, 1, 1], (2, 1)))
    assert mean.shape == (6, records.GRID, records.GRID)
    assert not mean.any()


def test_other_networks_are_refused(tmp_path):
    with pytest.raises(ThoraxError, match="Heatmaps are of one, predictions of one, two"):
        files = small_experiment.write(tmp_path)
        make(tmp_path, heatmaps={"one": files["heatmaps"]["one"]})
