"""Scores of heatmaps against boxes: cases computed by hand, invariances, and the figures' mapping."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thorax.explanation import localisation
from thorax.explanation.localisation import GRID, SCORES, cover, place, score
from thorax.explanation.overlays import to_original
from thorax.report.tables.heatmap_scores import make_heatmap_tables
from thorax.storage import schemas, store

WHOLE = np.array([[0.0, 0.0, 1.0, 1.0]])
QUARTER = np.array([[0.0, 0.0, 0.5, 0.5]])  # the upper left one: x, y, width, height


def blocks(values: list[list[float]]) -> np.ndarray:
    """A map of 4 x 4 cells on the grid, each a block of it."""
    return np.kron(np.array(values, np.float32), np.ones((GRID // 4, GRID // 4), np.float32))[None]


def scores_of(maps: np.ndarray, boxes: np.ndarray, level: float = 0.5, lungs: np.ndarray | None = None) -> dict[str, float]:
    return dict(zip(SCORES, score(maps, cover(boxes)[None], level, lungs)[0], strict=True))


def test_scores_by_hand_on_four_by_four_cells():
    """The box is the upper left quarter: four cells. The hottest cell is in it, its neighbour is half as hot, one outside as well."""
    heat = blocks([[4, 2, 0, 0], [0, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 0]])
    lungs = blocks([[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0.5, 0], [0, 0, 0, 0]])
    found = scores_of(heat, QUARTER, 0.5, lungs)
    assert found["pointing"] == 1
    assert found["iou"] == 2 / 5  # cells of at least half: three, two of them in the box of four
    assert found["energy"] == 6 / 8
    assert found["lungs"] == 3 / 8
    # a tenth of 48 x 48 cells are 230: all 144 of the hottest block, and 86 of 288 equally hot ones, half of which are in the box
    assert found["area"] == pytest.approx((144 + 86 / 2) / (4 * 144))
    assert scores_of(heat, QUARTER, 0.6)["iou"] == 1 / 4
    assert np.isnan(scores_of(heat, QUARTER)["lungs"])


def test_a_map_that_does_not_vary_scores_as_chance():
    for heat in (np.zeros((1, GRID, GRID)), np.full((1, GRID, GRID), 3.0)):
        found = scores_of(heat, QUARTER)
        assert (found["pointing"], found["energy"], found["iou"]) == (0.25, 0.25, 0.25)
        assert found["area"] == pytest.approx(0.1, abs=1e-3)


def test_equally_hot_cells_share_the_point():
    heat = blocks([[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]])
    assert scores_of(heat, QUARTER)["pointing"] == pytest.approx(1 / 3)


@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_a_factor_changes_no_score(seed, factor):
    rng = np.random.default_rng(seed)
    heat = rng.random((3, GRID, GRID)).astype(np.float32)
    boxes = np.stack([cover(np.array([[*rng.uniform(0, 0.5, 2), *rng.uniform(0.05, 0.5, 2)]])) for _ in range(3)])
    np.testing.assert_allclose(score(heat, boxes, 0.55), score(heat * np.float32(factor), boxes, 0.55), atol=0.02)


@given(st.integers(0, 1000))
def test_maps_land_where_the_figures_draw_them(seed):
    """Within a quarter of a cell: the hottest place of a random map, in a random part of the original."""
    rng = np.random.default_rng(seed)
    low, size = rng.uniform(0, 0.4, 2), rng.uniform(0.4, 0.6, 2)
    seen = np.array([*low, *(low + size)])
    heat = np.zeros((7, 7), np.float32)
    heat[tuple(rng.integers(0, 7, 2))] = 1
    drawn = to_original(heat, tuple(seen), 960, 960)
    ours = place(heat[None], seen[None])[0]
    centres = [np.mean(np.argwhere(values > 0.99 * values.max()), axis=0) + 0.5 for values in (drawn, ours)]
    distance = np.abs(centres[0] / 960 - centres[1] / GRID)
    assert (distance < size.max() / 7 / 4).all()


def test_a_box_smaller_than_a_cell_covers_one_and_several_are_joined():
    assert cover(np.array([[0.5, 0.5, 0.001, 0.001]])).sum() == 1
    assert cover(np.array([[0.999, 0.999, 0.001, 0.001]]))[-1, -1]
    assert cover(np.array([[0, 0, 0.5, 0.5], [0.25, 0.25, 0.5, 0.5]])).sum() == GRID**2 * (2 * 0.25 - 0.0625)


def scored(values: dict[str, list[float]], patients: list[str], labels: list[str]) -> pd.DataFrame:
    frames = [
        pd.DataFrame(
            {"image_id": patients, "patient_id": patients, "label": labels, "map": name} | dict.fromkeys(SCORES, of_map)
        )
        for name, of_map in values.items()
    ]
    return pd.concat(frames, ignore_index=True)


def test_means_are_of_classes_and_differences_are_paired():
    values = {"one": [1.0, 1.0, 0.0], localisation.MEAN_BOX: [0.5, 0.5, 0.5]}
    table = localisation.summarise(scored(values, ["p", "q", "r"], ["a", "a", "b"]), 200, 0)
    one = table[(table["map"] == "one") & (table["score"] == "pointing")].set_index("class")
    assert one["value"].to_dict() == {"a": 1.0, "b": 0.0, "Global": 0.5}
    assert one["difference"].to_dict() == {"a": 0.5, "b": -0.5, "Global": 0.0}
    assert one.loc["a", ["low", "high", "difference_low", "difference_high"]].tolist() == [1, 1, 0.5, 0.5]
    assert one[["findings", "patients"]].to_numpy().tolist() == [[2, 2], [1, 1], [3, 3]]
    of_box = table[(table["map"] == localisation.MEAN_BOX)]
    assert (of_box["difference"] == 0).all()


def test_without_boxes_there_are_no_rows():
    assert localisation.summarise(pd.DataFrame(columns=["label", "map"]), 10, 0).empty


def test_an_archive_without_boxes_has_a_table_that_says_what_to_do(tmp_path):
    labels = pd.DataFrame({"image_id": ["a", "b"], "patient_id": ["p", "q"], "mass": np.array([1, 0], "int8")})
    store.write_table(labels, tmp_path / "labels.parquet", schemas.labels_schema(["mass"]))
    parts = labels[["image_id", "patient_id"]].assign(split=["val", "test"])
    store.write_table(parts, tmp_path / "split.parquet", schemas.SPLITS)
    store.write_table(pd.DataFrame(columns=schemas.BOXES.names), tmp_path / "boxes.parquet", schemas.BOXES)
    predicted = parts[["image_id", "split"]].assign(mass=0.5)
    store.write_table(predicted, tmp_path / "p.parquet", schemas.scores_schema(["mass"]))
    store.write_array(np.ones((2, 1, 3, 3), np.float32), tmp_path / "h.npy")
    ingested = pd.DataFrame({name: [0] * 2 for name in schemas.INGESTED.names}).assign(
        image_id=["a", "b"], ok=True, reason=None
    )
    store.write_table(ingested, tmp_path / "i.parquet", schemas.INGESTED)
    localisation.measure_heatmaps(
        tmp_path / "labels.parquet", tmp_path / "split.parquet", tmp_path / "boxes.parquet", {"m": tmp_path / "p.parquet"},
        {"m": tmp_path / "h.npy"}, tmp_path / "i.parquet", tmp_path / "s.parquet", tmp_path / "f.parquet", 0, 20,
    )  # fmt: skip
    make_heatmap_tables(tmp_path / "s.parquet", "t", "full", "archive", tmp_path / "tables")
    assert "No finding has a box: put a table boxes.csv" in (tmp_path / "tables/heatmap_scores.md").read_text()
    assert (tmp_path / "tables/heatmap_classes.html").is_file()
