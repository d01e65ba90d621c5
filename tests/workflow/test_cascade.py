"""The cascade of the shrunk run of all experiments, checked against the tables that it is made from."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from thorax.evaluation.metrics import sigmoid
from thorax.labels.label_sets import WHOLE
from thorax.storage import store
from thorax.storage.schemas import class_columns

pytestmark = pytest.mark.slow
CASCADE = "liz2022-cascade"
MEMBER = "DenseNet201"


@pytest.fixture(scope="module")
def finished(papers_run):
    return papers_run / "results"


def test_the_second_network_learns_inside_only_and_the_split_is_shared(finished):
    labels, split = (
        store.read_table(finished / "labels/padchest-inside.parquet"),
        store.read_table(finished / "splits/padchest-pa.parquet"),
    )
    assert class_columns(labels) == ["interstitial pattern", "alveolar pattern"]
    general = store.read_table(finished / "labels/padchest-general-clean.parquet").set_index("image_id")["infiltrates"]
    known = (labels[class_columns(labels)] != -1).any(axis=1)
    np.testing.assert_array_equal(known, labels["image_id"].map(general) == 1)
    trained = known & labels["image_id"].isin(split.loc[split["split"] == "train", "image_id"])
    log = (finished.parent / f"logs/train/liz2022-inside/{MEMBER}.log").read_text()
    assert f" {trained.sum()} training and" in log


@pytest.mark.parametrize("model", ["CTP", MEMBER])
def test_each_probability_is_the_product_of_both_steps(finished, model):
    kind, squash = ("predictions", sigmoid) if model == MEMBER else ("ensembles", np.asarray)
    first, second = (
        store.read_table(finished / kind / name / f"{model}.parquet").set_index("image_id")
        for name in ("liz2022-general-clean", "liz2022-inside")
    )
    found = store.read_table(finished / "cascades" / CASCADE / f"{model}.parquet").set_index("image_id")
    flat = store.read_table(finished / f"predictions/liz2022-specific/{MEMBER}.parquet").set_index("image_id")
    assert found.index.tolist() == sorted(flat.index)
    assert (found["split"] == flat.loc[found.index, "split"]).all()
    first, second = first.loc[found.index], second.loc[found.index]
    for name in ("interstitial pattern", "alveolar pattern"):
        np.testing.assert_allclose(found[name], squash(first["infiltrates"]) * squash(second[name]), rtol=1e-5)
    either = np.maximum(squash(first["calcified densities"]), squash(first["granuloma"]))
    np.testing.assert_allclose(found["calcified granuloma"], either, rtol=1e-5)
    np.testing.assert_allclose(found["normal"], squash(first["normal"]), rtol=1e-5)
    report = pd.read_csv(finished / "labels/padchest-inside.classes.csv").set_index("class")["status"]
    assert report["normal"] == report["calcified granuloma"] == WHOLE


def test_the_table_has_the_differences_of_scikit_learns_numbers(finished):
    table = pd.read_csv(finished / f"tables/{CASCADE}/fixed-0.5/per_class.csv").set_index("class")
    labels = store.read_table(finished / "labels/padchest-specific.parquet").set_index("image_id")
    checked = 0
    for model in ("CTP", MEMBER):
        found = store.read_table(finished / "cascades" / CASCADE / f"{model}.parquet").set_index("image_id")
        found = found[found["split"] == "test"]
        for name in class_columns(labels):
            truth = labels.loc[found.index, name]
            if truth.nunique() == 2:
                assert table.loc[name, f"cascade {model} auc"] == pytest.approx(roc_auc_score(truth, found[name]))
                difference = table.loc[name, f"cascade {model} auc"] - table.loc[name, f"flat {model} auc"]
                assert table.loc[name, f"cascade {model} auc difference"] == pytest.approx(difference)
                assert table.loc[name, f"cascade {model} auc low"] <= table.loc[name, f"cascade {model} auc"]
                checked += 1
    assert checked >= 6
    whole = pd.read_csv(finished / f"tables/{CASCADE}/fixed-0.5/global.csv").set_index("metric")
    assert {"hamming", "auc", "f1"} == set(whole.index.str.lower())
    assert (finished / f"tables/{CASCADE}/fixed-0.5/global.md").read_text().count("cascade: CTP") >= 1
