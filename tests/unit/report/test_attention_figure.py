"""Attention figures: the weights are drawn where the network saw them."""

import numpy as np
import pandas as pd
import pytest

from thorax.errors import ThoraxError
from thorax.explanation.overlays import DIMMED
from thorax.images import decoding
from thorax.labels.cases import CASES
from thorax.report.figures import heatmaps
from thorax.report.figures import style as figures
from thorax.storage import schemas, store


def test_emphasis_by_hand():
    np.testing.assert_allclose(heatmaps.emphasis(np.array([[0.5, 0.25], [0.2, 0.05]])), [[0.5, 0], [0, 0]])
    np.testing.assert_allclose(heatmaps.emphasis(np.array([[1.0, 0.0], [0.0, 0.0]])), [[0.75, 0], [0, 0]])
    assert heatmaps.emphasis(np.full((3, 3), 1 / 9)).max() < 1e-12


def test_weights_are_drawn_where_the_network_saw_them():
    weights = np.full((2, 4, 4), 0.02, np.float32)
    weights[0, 3, 0] = weights[1, 0, 3] = 0.7  # lower left, then upper right
    original, box = np.full((80, 100), 100, np.uint8), (0.2, 0.0, 1.0, 1.0)
    figure = heatmaps.draw_attention(
        ["x", "y"], [(original, box)] * 2, {"one": weights, "two": weights.mean(0)[None].repeat(2, 0)}, "t"
    )
    panels = np.reshape(figure.axes, (2, 4))
    assert [axes.get_title("left") for axes in panels[0, :3]] == [
        "original",
        "one\nat most 0.700, even 0.062",
        "two\nat most 0.360, even 0.062",
    ]
    assert [text.get_text() for text in figure.texts if text is not figure._suptitle] == ["Case 1: x", "Case 2: y"]
    np.testing.assert_array_equal(panels[0, 0].images[0].get_array(), original)
    (seen,) = panels[0, 0].patches
    assert (seen.get_x(), seen.get_width()) == (19.5, 80)
    assert [label.get_text() for label in panels[0, 3].get_yticklabels()] == ["even", "2 x", "10 x"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["part that the networks saw"]
    for row, (inside, elsewhere) in enumerate((((75, 25), (5, 95)), ((5, 95), (75, 25)))):
        shown = np.asarray(panels[row, 1].images[0].get_array())
        strong, weak = (np.abs(shown[place] - DIMMED * 100 / 255).max() for place in (inside, elsewhere))
        assert strong > 0.3
        assert weak < 1e-6  # less than even
        np.testing.assert_allclose(shown[:, :20], DIMMED * 100 / 255)  # what the network did not see


def test_titles_do_not_run_into_each_other():
    shapes = ((60, 120), (120, 60))
    weights = {"InceptionResNetV2-attention": np.full((2, 2, 2), 0.25, np.float32)}
    figure = heatmaps.draw_attention(
        ["x" * 60] * 2, [(np.zeros(shape, np.uint8), (0.0, 0.0, 1.0, 1.0)) for shape in shapes], weights, "t"
    )
    figures.pixels(figure)
    drawn = [text.get_window_extent() for text in figure.texts] + [axes._left_title.get_window_extent() for axes in figure.axes]
    drawn = [box for box in drawn if box.width]  # colour bars have no title
    drawn += [axes.get_tightbbox() if axes.axison else axes.get_window_extent() for axes in figure.axes]
    assert len(drawn) == 1 + 2 + 4 + 6
    for number, box in enumerate(drawn):
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1
        assert not any(other.overlaps(box) for other in drawn[:number])


def test_the_cases_are_drawn_with_the_weights_of_the_networks(tmp_path, monkeypatch):
    ids = ["a", "b", "c"]
    facts = {name: 0 for name in schemas.INGESTED.names} | {"ok": True, "reason": None, "rows": 64, "columns": 48}
    ingested = pd.DataFrame({**facts, "image_id": ids, "shard": [0, 1, 1], "row": [0, 0, 1]})
    store.write_table(ingested[list(schemas.INGESTED.names)], tmp_path / "ingested.parquet", schemas.INGESTED)
    store.write_table(pd.DataFrame({"image_id": ["c", "a"], "chosen_for": "x"}), tmp_path / "cases.parquet", CASES)
    rng = np.random.default_rng(1)
    images = rng.integers(0, 255, (3, 64, 64)).astype(np.uint8)
    store.write_array(images[:1], tmp_path / "0.npy")
    store.write_array(images[1:], tmp_path / "1.npy")
    written = rng.dirichlet(np.ones(9), 3).reshape(3, 3, 3).astype(np.float32)
    pd.DataFrame({"image_id": ["a", "b", "c"]}).to_parquet(tmp_path / "p.parquet")
    store.write_array(written, tmp_path / "weights.npy")
    drawn = []
    real = heatmaps.draw_attention
    monkeypatch.setattr(heatmaps, "draw_attention", lambda *arguments: drawn.append(arguments) or real(*arguments))
    arrays = [tmp_path / "0.npy", tmp_path / "1.npy"]
    heatmaps.attention_figure(
        {"one": tmp_path / "weights.npy"}, {"one": tmp_path / "p.parquet"}, tmp_path / "cases.parquet",
        tmp_path / "ingested.parquet", arrays, None, "t",
    )  # fmt: skip
    shown, originals, weights, _ = drawn[0]
    assert shown == ["c", "a"]
    assert [original.shape for original, _ in originals] == [(64, 48)] * 2
    np.testing.assert_array_equal(originals[0][0], decoding.restore_aspect(images[2], 64, 48))
    np.testing.assert_array_equal(weights["one"], written[[2, 0]])


def test_weights_of_other_networks_are_refused(tmp_path):
    store.write_table(pd.DataFrame({"image_id": ["c", "a"], "chosen_for": "x"}), tmp_path / "cases.parquet", CASES)
    pd.DataFrame({"image_id": ["a", "b", "c"]}).to_parquet(tmp_path / "p.parquet")
    files = (
        {"one": tmp_path / "w.npy"},
        {"one": tmp_path / "p.parquet"},
        tmp_path / "cases.parquet",
        tmp_path / "i",
        [],
        None,
        "t",
    )
    for shape, said in (((3, 0, 0), "has no weights: predict again"), ((2, 4, 4), "has 2 entries, but .* has 3 rows")):
        store.write_array(np.zeros(shape, np.float32), tmp_path / "w.npy")
        with pytest.raises(ThoraxError, match=rf"w\.npy {said}"):
            heatmaps.attention_figure(*files)
