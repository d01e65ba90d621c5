"""The table of checks: maps of repeated trainings, or else of different networks, are compared."""

import numpy as np
import pandas as pd
import pytest

from thorax.explanation import places
from thorax.report.tables.heatmap_scores import make_checks_table
from thorax.storage import store
from thorax.storage.schemas import labels_schema, scores_schema

IMAGES = ["i0", "i1", "i2", "i3"]
PREDICTED = ["i3", "i1", "i2", "i0"]  # not the order of the labels
CLASSES = ["a", "b"]


def hot(*columns: int, size: int = 4) -> np.ndarray:
    """Maps of class a of the images as predicted, hot in one column of the first row; those of class b are hot in the last cell."""
    maps = np.zeros((4, 2, size, size), np.float32)
    for image, column in enumerate(columns):
        maps[image, 0, 0, column] = 1
    maps[:, 1, -1, -1] = 1
    return maps


@pytest.fixture
def made(tmp_path):
    """A function that writes the table from each training's maps, and returns the CSV by check, and the page's text."""
    truth = pd.DataFrame({"image_id": IMAGES, "patient_id": IMAGES, "a": [1, 1, 0, 1], "b": [0, 1, 0, 0]})
    store.write_table(truth, tmp_path / "labels.parquet", labels_schema(CLASSES))
    truth.assign(split=["test", "test", "test", "val"])[["image_id", "patient_id", "split"]].to_parquet(
        tmp_path / "split.parquet"
    )
    pd.DataFrame({"check": ["depth", "shift"], "step": [1, np.nan], "value": [0.25, 0.5]}).to_csv(
        tmp_path / "c.csv", index=False
    )

    def make(members: list[str], trainings: dict[str, np.ndarray]) -> tuple[pd.Series, str]:
        for name, maps in trainings.items():
            frame = pd.DataFrame({"image_id": PREDICTED, "split": "test", "a": 0.0, "b": 0.0})
            store.write_table(frame, tmp_path / f"{name}.parquet", scores_schema(CLASSES))
            store.write_array(maps, tmp_path / f"{name}.npy")
        predictions, heatmaps = ({name: tmp_path / f"{name}.{kind}" for name in trainings} for kind in ("parquet", "npy"))
        make_checks_table(
            tmp_path / "c.csv", "A study", "phantom", members[0], 2, tmp_path / "labels.parquet", tmp_path / "split.parquet",
            members, predictions, heatmaps, tmp_path / "out",
        )  # fmt: skip
        return pd.read_csv(tmp_path / "out" / "heatmap_checks.csv").set_index("check"), (
            tmp_path / "out" / "heatmap_checks.md"
        ).read_text()

    return make


def test_repeated_trainings_of_each_member_are_compared_with_each_other(made):
    same, moved = hot(0, 1, 2, 1), hot(3, 1, 2, 3)  # of the labelled test images i0 and i1, the last and the second, i0 differs
    rows, page = made(["net", "other"], {"net": same, "other": same, "net.2": moved, "other.2": same})
    assert rows.loc["shift", "value"] == 0.5
    assert rows.loc["correlation: other", "value"] == pytest.approx(1)
    assert rows.loc["correlation: net", "step"] == 2
    of_a = (1 - 1 / 15) / 2  # i1 the same, i0 in another of sixteen cells
    assert rows.loc["correlation: net", "value"] == pytest.approx((of_a + 1) / 2)  # the mean over both classes
    assert rows.loc["distance: net", "value"] == pytest.approx(
        0.5625 / 4
    )  # from 0.375 to 0.9375, in one of two images of one of two classes
    assert "Same map by 2 trainings of net (rank correlation)" in page
    assert "different seeds" in page
    assert "repeats: 2" not in page


def test_networks_that_were_trained_once_are_compared_with_each_other_and_the_page_says_so(made):
    rows, page = made(
        ["net", "other", "cell"], {"net": hot(0, 1, 2, 1), "other": hot(0, 2, 2, 2), "cell": np.ones((4, 2, 1, 1), np.float32)}
    )
    assert rows.loc["correlation: networks", "step"] == 2  # a single cell shows no place
    assert rows.loc["correlation: networks", "value"] == pytest.approx((-1 / 15 + 1) / 2)
    assert "Same map by 2 networks (rank correlation)" in page
    assert "Each network was trained once" in page


def test_one_training_is_not_compared_and_the_page_says_what_to_do(made):
    rows, page = made(["net"], {"net": hot(0, 1, 2, 1)})
    assert len(rows) == 2
    assert "repeats: 2" in page


def test_of_a_frequent_class_evenly_spaced_images_are_compared(made, monkeypatch):
    monkeypatch.setattr(places, "AT_MOST", 1)
    rows, _ = made(["net"], {"net": hot(0, 1, 2, 1), "net.2": hot(0, 3, 2, 1)})  # i0 is the same, i1 is left out
    assert rows.loc["correlation: net", "value"] == pytest.approx(1)
    assert np.isnan(rows.loc["other_correlation: net", "value"])
