"""Checks of heatmaps against a network that learnt where squares are, and against the same network with random weights."""

import numpy as np
import pandas as pd
import pytest

from tests.unit.models.test_fit import SIZE, trained  # noqa: F401 (a fixture)
from thorax.evaluation.metrics import GLOBAL
from thorax.explanation import localisation
from thorax.explanation.gradcam import moved
from thorax.explanation.places import correlations
from thorax.models import heatmap_checks
from thorax.storage import schemas, store

SQUARES = {"top": (8 / SIZE, 4 / SIZE), "bottom": (8 / SIZE, 15 / SIZE)}  # x, y


@pytest.fixture(scope="module")
def checked(trained, tmp_path_factory):  # noqa: F811
    from thorax.models.predict import predict

    folder, problem = trained
    out = tmp_path_factory.mktemp("checked")
    predict(folder / "m.keras", **problem, out=out / "p.parquet", heatmaps=out / "h.npy")
    heatmap_checks.check_heatmaps(
        folder / "m.keras", **problem, out=out / "checks.csv", untrained=out / "untrained.npy", count=24, seed=0
    )
    labels = store.read_table(problem["labels"])
    drawn = [
        (image, name, *SQUARES[name], 8 / SIZE, 5 / SIZE)
        for name in SQUARES
        for image in labels.loc[labels[name] == 1, "image_id"]
    ]
    store.write_table(pd.DataFrame(drawn, columns=schemas.BOXES.names), out / "boxes.parquet", schemas.BOXES)
    return out, problem


def test_maps_depend_on_the_weights_and_show_what_the_network_uses(checked):
    folder, _ = checked
    rows = pd.read_csv(folder / "checks.csv")
    depth = rows[rows["check"] == "depth"].set_index("step")["value"]
    assert depth.index[-1] == 1
    assert depth.index.is_monotonic_increasing
    assert depth.iloc[-1] < 0.5
    assert rows.loc[rows["check"] == "shift", "value"].mean() > depth.iloc[-1]
    curves = rows.pivot_table(index="step", columns="check", values="value")
    assert curves.loc[0, "deletion"] == curves.loc[0, "deletion, random order"] == curves.loc[1, "insertion"]
    assert curves.loc[1, "deletion"] == curves.loc[0, "insertion"]
    assert curves["deletion"].mean() < curves["deletion, random order"].mean()
    assert curves["insertion"].mean() > curves["insertion, random order"].mean()


def test_trained_maps_are_in_the_boxes_and_random_weights_lose_it(checked):
    folder, problem = checked
    labels = store.read_table(problem["labels"])
    localisation.measure_heatmaps(
        problem["labels"], problem["split"], folder / "boxes.parquet",
        {"network": folder / "p.parquet"}, {"network": folder / "h.npy"}, problem["ingested"],
        folder / "l.parquet", folder / "findings.parquet", seed=0, replicates=100, untrained=folder / "untrained.npy",
    )  # fmt: skip
    table = store.read_table(folder / "l.parquet")
    overall = table[table["class"] == GLOBAL].pivot(index="map", columns="score", values="value")
    for score in ("energy", "iou"):  # the hottest cell of 3 x 3 reaches beyond the square, to the border
        assert overall.loc["network", score] > overall.loc[localisation.UNTRAINED, score] + 0.05
        assert overall.loc["network", score] > overall.loc[localisation.RANDOM, score] + 0.05
    np.testing.assert_array_equal(overall.loc["network"], overall.loc[localisation.MEAN])  # of one network
    assert overall.loc[localisation.MEAN_BOX, "iou"] == 1  # all squares are at the same place
    assert overall["lungs"].isna().all()
    findings = store.read_table(folder / "findings.parquet")
    assert set(findings["image_id"]) <= set(labels["image_id"])
    assert len(findings) == table["findings"].max() * table["map"].nunique()


def test_the_benchmark_compares_methods_on_the_same_findings(checked, trained, monkeypatch):  # noqa: F811
    from bench import maps

    monkeypatch.setattr(maps.backend, "prepare", lambda *settings: None)  # TensorFlow may have other threads already
    folder, problem = checked
    text = maps.compare(trained[0] / "m.keras", **problem, boxes=folder / "boxes.parquet", methods=["gradcam", "noise"])
    said, _, _, _, *rows = text.splitlines()
    found = store.read_table(folder / "l.parquet")
    assert f"{found['findings'].max()} findings" in said
    assert "means over 2 classes" in said
    by_map = {name: cells for name, *cells in ([cell.strip() for cell in row.strip("|").split("|")] for row in rows)}
    assert list(by_map) == ["mean box", "centre", "random", "gradcam", "noise"]
    overall = found[(found["class"] == GLOBAL) & (found["map"] == "network")].set_index("score")["value"]
    assert [cell.split(" ")[0] for cell in by_map["gradcam"][:4]] == [f"{overall[score]:.3f}" for score in maps.SCORES]
    assert by_map["mean box"][2].startswith("**1.000** (1.000–1.000)")
    assert not by_map["mean box"][-1]
    assert by_map["noise"][-1].isdigit()


def test_images_are_moved_and_maps_compared_by_rank():
    image = np.arange(9).reshape(1, 3, 3)
    np.testing.assert_array_equal(moved(image, 1, 0)[0], [[0, 1, 2], [0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(moved(image, 0, -1)[0], [[1, 2, 2], [4, 5, 5], [7, 8, 8]])
    one = np.array([[[1.0, 2], [3, 4]], [[1, 1], [1, 1]], [[1, 2], [3, 4]]])
    other = np.array([[[1.0, 4], [9, 16]], [[1, 2], [3, 4]], [[4, 3], [2, 1]]])
    np.testing.assert_allclose(correlations(one, other), [1, 0, -1])


@pytest.mark.parametrize("method", ["layercam", "shifts", "double", "noise"])
def test_other_methods_give_the_same_answers_and_finer_maps(trained, method):  # noqa: F811
    from thorax.backend import load_network
    from thorax.models.batches import load_part
    from thorax.models.predict import explainer

    folder, problem = trained
    network = load_network(folder / "m.keras")
    pixels = load_part(**problem, part="test").take(np.arange(8))
    logits, coarse, _ = explainer(network)(pixels)
    again, maps, _ = explainer(network, method)(pixels)
    np.testing.assert_allclose(again, logits, atol=1e-5)
    assert maps.shape == (8, 2, *((6, 6) if method in ("shifts", "double") else (3, 3)))
    assert maps.min() >= 0
    if method == "layercam":
        assert (maps >= coarse - 1e-6).all()  # negative gradients only lower Grad-CAM
    if method == "shifts":
        step = round(SIZE / 3 / 4)
        np.testing.assert_allclose(maps[:, :, ::2, 1::2], explainer(network)(moved(pixels, step, -step))[1], atol=1e-6)
    blurred = maps.reshape(8, 2, 3, -1, 3, maps.shape[-1] // 3).mean(axis=(3, 5))
    assert correlations(blurred.reshape(16, 3, 3), coarse.reshape(16, 3, 3)).mean() > 0.2


def test_the_mean_over_noisy_copies_is_grad_cam_without_noise_and_the_same_in_every_batch(trained, monkeypatch):  # noqa: F811
    from thorax.backend import load_network
    from thorax.models import predict
    from thorax.models.batches import load_part

    folder, problem = trained
    network = load_network(folder / "m.keras")
    pixels = load_part(**problem, part="test").take(np.arange(6))
    run = predict.explainer(network, "noise")
    _, maps, _ = run(pixels)
    np.testing.assert_array_equal(run(pixels)[1], maps)
    np.testing.assert_allclose(run(pixels[3:])[1], maps[3:], atol=1e-5)
    seen = []

    def simple(images):
        seen.append(images)
        return np.zeros((len(images), 2)), images[..., 0].astype(np.float32)[:, None], np.zeros((len(images), 0, 0))

    _, mean, _ = predict._by_noise(simple, pixels)
    original, *copies = seen
    assert original is pixels
    assert len(copies) == predict.COPIES
    np.testing.assert_allclose(mean[:, 0], np.mean([copy[..., 0] for copy in copies], axis=0), rtol=1e-6)
    differences = np.stack(copies).astype(float) - pixels
    unclipped = (np.stack(copies) > 0) & (np.stack(copies) < 255)
    assert differences[unclipped].std() == pytest.approx(255 * predict.NOISE, rel=0.1)
    monkeypatch.setattr(predict, "NOISE", 0.0)
    np.testing.assert_array_equal(run(pixels)[1], predict.explainer(network)(pixels)[1])
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(run(pixels)[1], maps, atol=1e-3)
