"""Attention: the weights are the softmax that the head computes, and land where the network saw them."""

import numpy as np
import pandas as pd
import pytest

from thorax.cli import main
from thorax.config import Training
from thorax.errors import ThoraxError
from thorax.labels.cases import CASES
from thorax.report.figures import attention
from thorax.report.figures import heatmaps as overlays
from thorax.report.figures import style as figures
from thorax.storage import schemas, store

SIZE = 24


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Files of a network with the attention head, whose kernel is not zero as at the start, and of one without."""
    from thorax.models.fit import build_model

    folder = tmp_path_factory.mktemp("networks")
    settings = {"backbone": "cnn", "weights": "none", "freeze": 0.0, "dense_units": 4}
    model = build_model(Training(**settings, head="attention"), SIZE, 2).model
    model.get_layer("attention_scores").kernel.assign(np.random.default_rng(0).normal(0, 0.3, (1, 1, 64, 1)))
    model.save(folder / "attending.keras")
    build_model(Training(**settings), SIZE, 2).model.save(folder / "dense.keras")
    return folder


def images_of(n: int, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (n, size, size)).astype(np.uint8)


def test_weights_are_the_softmax_of_one_convolution_over_the_features(networks):
    import keras

    pixels = images_of(attention.BATCH + 1)  # more than one batch
    weights = attention.attention_weights(networks / "attending.keras", pixels)
    model = keras.saving.load_model(networks / "attending.keras", compile=False)
    features = np.asarray(keras.Model(model.input, model.get_layer("features").output)(pixels[..., None]))
    scores = features @ keras.ops.convert_to_numpy(model.get_layer("attention_scores").kernel).ravel()
    expected = np.exp(scores) / np.exp(scores).sum(axis=(1, 2), keepdims=True)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected, rtol=1e-4)
    assert np.ptp(weights) > 0.01


def test_other_networks_are_refused(networks):
    with pytest.raises(ThoraxError, match=r"dense\.keras has no attention head: train it with head: attention"):
        attention.attention_weights(networks / "dense.keras", images_of(1))
    with pytest.raises(ThoraxError, match=r"attending\.keras takes images of shape \(24, 24, 1\), but is given 32 x 32 pixels"):
        attention.attention_weights(networks / "attending.keras", images_of(1, 32))


def test_emphasis_by_hand():
    np.testing.assert_allclose(attention.emphasis(np.array([[0.5, 0.25], [0.2, 0.05]])), [[0.5, 0], [0, 0]])
    np.testing.assert_allclose(attention.emphasis(np.array([[1.0, 0.0], [0.0, 0.0]])), [[0.75, 0], [0, 0]])
    assert attention.emphasis(np.full((3, 3), 1 / 9)).max() < 1e-12


def test_weights_are_drawn_where_the_network_saw_them():
    weights = np.full((2, 4, 4), 0.02, np.float32)
    weights[0, 3, 0] = weights[1, 0, 3] = 0.7  # lower left, then upper right
    original, box = np.full((80, 100), 100, np.uint8), (0.2, 0.0, 1.0, 1.0)
    figure = attention.draw_attention(
        ["x", "y"], [(original, box)] * 2, {"one": weights, "two": weights.mean(0)[None].repeat(2, 0)}, "t"
    )
    panels = np.reshape(figure.axes, (2, 3))
    assert [axes.get_title("left") for axes in panels[0]] == [
        "original",
        "one\nat most 0.700, even 0.062",
        "two\nat most 0.360, even 0.062",
    ]
    assert [text.get_text() for text in figure.texts if text is not figure._suptitle] == ["Case 1: x", "Case 2: y"]
    np.testing.assert_array_equal(panels[0, 0].images[0].get_array(), original)
    (seen,) = panels[0, 0].patches
    assert (seen.get_x(), seen.get_width()) == (19.5, 80)
    for row, (inside, elsewhere) in enumerate((((75, 25), (5, 95)), ((5, 95), (75, 25)))):
        shown = np.asarray(panels[row, 1].images[0].get_array())
        strong, weak = (np.abs(shown[place] - 100 / 255).max() for place in (inside, elsewhere))
        assert strong > 0.3
        assert weak < 1e-6  # less than even
        np.testing.assert_allclose(shown[:, :20], 100 / 255)  # what the network did not see


def test_titles_do_not_run_into_each_other():
    shapes = ((60, 120), (120, 60))
    weights = {"InceptionResNetV2-attention": np.full((2, 2, 2), 0.25, np.float32)}
    figure = attention.draw_attention(
        ["x" * 60] * 2, [(np.zeros(shape, np.uint8), (0.0, 0.0, 1.0, 1.0)) for shape in shapes], weights, "t"
    )
    figures.pixels(figure)
    drawn = [text.get_window_extent() for text in figure.texts] + [axes._left_title.get_window_extent() for axes in figure.axes]
    drawn += [axes.get_window_extent() for axes in figure.axes]
    assert len(drawn) == 1 + 2 + 4 + 4
    for number, box in enumerate(drawn):
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1
        assert not any(other.overlaps(box) for other in drawn[:number])


def test_the_verb_draws_the_cases_from_their_own_images_and_is_stable_to_the_byte(networks, tmp_path, monkeypatch):
    ids = ["a", "b", "c"]
    facts = {name: 0 for name in schemas.INGESTED.names} | {"ok": True, "reason": None, "rows": 64, "columns": 48}
    ingested = pd.DataFrame({**facts, "image_id": ids, "shard": [0, 1, 1], "row": [0, 0, 1]})
    store.write_table(ingested[list(schemas.INGESTED.names)], tmp_path / "ingested.parquet", schemas.INGESTED)
    store.write_table(pd.DataFrame({"image_id": ["c", "a"], "chosen_for": "x"}), tmp_path / "cases.parquet", CASES)
    small, large = images_of(3), images_of(3, 64)
    for kind, array in (("small", small), ("large", large)):
        store.write_array(array[:1], tmp_path / f"{kind}.0.npy")
        store.write_array(array[1:], tmp_path / f"{kind}.1.npy")
    drawn = []
    real = attention.draw_attention
    monkeypatch.setattr(attention, "draw_attention", lambda *arguments: drawn.append(arguments) or real(*arguments))
    words = ["figure-attention", "--models", f"one={networks / 'attending.keras'}", "--title", "t"]
    words += ["--cases", str(tmp_path / "cases.parquet"), "--ingested", str(tmp_path / "ingested.parquet")]
    for option, kind in (("--images", "small"), ("--arrays", "large")):
        words += [option, *(str(tmp_path / f"{kind}.{shard}.npy") for shard in (0, 1))]
    for name in ("first", "second"):
        assert main([*words, "--out", str(tmp_path / name)]) == 0
    shown, originals, weights, _ = drawn[0]
    assert shown == ["c", "a"]
    assert [original.shape for original, _ in originals] == [(64, 48)] * 2
    np.testing.assert_array_equal(originals[0][0], overlays.images.restore_aspect(large[2], 64, 48))
    np.testing.assert_allclose(
        weights["one"], attention.attention_weights(networks / "attending.keras", small[[2, 0]]), rtol=1e-5
    )
    for suffix in ("png", "svg", "html"):
        assert (tmp_path / f"first.{suffix}").read_bytes() == (tmp_path / f"second.{suffix}").read_bytes()
