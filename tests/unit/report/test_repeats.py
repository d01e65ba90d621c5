"""Repeated trainings by hand."""

import numpy as np
import pandas as pd
import pytest

from thorax.evaluation import metrics
from thorax.report.tables import repeats
from thorax.storage import store
from thorax.storage.schemas import METRICS, labels_schema, scores_schema

IMAGES = [f"{number:02}" for number in range(8)]


@pytest.fixture
def run(tmp_path):
    """Four test images of one class; the first training has an AUC of 1, the second of 3/4."""
    truth = pd.DataFrame({"image_id": IMAGES, "patient_id": IMAGES, "a": [0, 0, 1, 1] * 2})
    store.write_table(truth, tmp_path / "labels.parquet", labels_schema(["a"]))
    parts = ["val"] * 4 + ["test"] * 4
    truth.assign(split=parts)[["image_id", "patient_id", "split"]].to_parquet(tmp_path / "split.parquet")
    logits = {"net": [-2.0, -1, 1, 2], "net.2": [-2.0, 1.5, 1, 2], "other.net": [-2.0, -1, 1, 2]}
    for name, scores in logits.items():
        table = pd.DataFrame({"image_id": IMAGES, "split": parts, "a": scores * 2})
        store.write_table(table, tmp_path / f"{name}.parquet", scores_schema(["a"]))
    measured = [
        metrics.evaluate(
            truth.loc[4:, ["a"]], pd.DataFrame({"a": metrics.sigmoid(np.array(logits[name]))}), IMAGES[4:], model=name, split="test"
        )
        for name in ("net", "other.net")
    ]  # fmt: skip
    store.write_table(pd.concat(measured), tmp_path / "metrics.parquet", METRICS)
    return tmp_path


def test_mean_and_deviation_over_trainings_next_to_the_interval_of_the_first(run):
    predictions = {name: run / f"{name}.parquet" for name in ("net", "net.2", "other.net")}
    repeats.make_repeats(
        "A study", "sample", run / "metrics.parquet", run / "labels.parquet", run / "split.parquet", ["net", "other.net"], predictions, run / "out"
    )  # fmt: skip
    found = pd.read_csv(run / "out" / "repeats.csv").set_index(["member", "metric"])
    area = found.loc[("net", "auc")]
    assert (area["trainings"], area["value"], area["low"], area["high"]) == (2, 1, 1, 1)
    assert area["mean"] == pytest.approx((1 + 0.75) / 2)
    assert area["sd"] == pytest.approx(0.25 / np.sqrt(2))  # of a sample of two
    assert found.loc[("net", "hamming"), "mean"] == pytest.approx((0 + 1 / 4) / 2)
    assert np.isnan(found.loc[("other.net", "auc"), "sd"])
    page = (run / "out" / "repeats.html").read_text()
    assert "Two different uncertainties" in page
    assert "0.1768" in page
