"""Three synthetic archives in their own forms, every model tested on every archive: the tables against the predictions."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from thorax import cross, store
from thorax.catalog import class_columns
from thorax.metrics import sigmoid

from .conftest import CASES, snakemake

pytestmark = pytest.mark.slow
CONFIG = CASES / "cross" / "config.yaml"
TABLE, FIGURE = "results/tables/cross/archives/matrix.html", "results/figures/cross/archives.html"


@pytest.fixture(scope="module")
def cross_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cross")
    done = snakemake(folder, "--cores", "2", TABLE, FIGURE, config=CONFIG)
    assert done.returncode == 0, done.stdout[-6000:]
    print((folder / "results/tables/cross/archives/matrix.md").read_text())
    print((folder / "results/tables/cross/archives/classes.md").read_text())
    return folder


def test_every_model_has_seen_the_test_images_of_every_archive_and_no_other(cross_run):
    for tested in ("padchest", "nih", "chexpert"):
        labels = store.read_table(cross_run / f"results/labels/{tested}.parquet")
        split = store.read_table(cross_run / f"results/splits/{tested}.parquet").set_index("image_id")["split"]
        expected = sorted(image for image in labels["image_id"] if split[image] == "test")
        for trained, model in (("padchest", "first"), ("padchest", "second"), ("nih", "first"), ("chexpert", "first")):
            if trained != tested:
                path = cross_run / f"results/predictions/on-{trained}/{model}@on-{tested}.parquet"
                table = store.read_table(path)
                assert list(table["image_id"]) == expected
                own = store.read_table(cross_run / f"results/predictions/on-{trained}/{model}.parquet")
                assert class_columns(table) == class_columns(own)


def test_cells_are_what_scikit_learn_makes_of_the_predictions(cross_run):
    """Trained on PadChest (the mean of two networks), tested on CheXpert; and trained on CheXpert, tested on itself."""
    values = pd.read_csv(cross_run / "results/tables/cross/archives/classes.csv")
    labels = store.read_table(cross_run / "results/labels/chexpert.parquet").set_index("image_id")
    folder = cross_run / "results/predictions"
    paths = {
        "on-padchest": [folder / f"on-padchest/{name}@on-chexpert.parquet" for name in ("first", "second")],
        "on-chexpert": [folder / "on-chexpert/first.parquet"],
    }
    checked = 0
    for trained, members in paths.items():
        tables = [store.read_table(path).query("split == 'test'").set_index("image_id") for path in members]
        mean = np.mean([sigmoid(table[class_columns(tables[0])].to_numpy()) for table in tables], axis=0)
        scores = pd.DataFrame(mean, index=tables[0].index, columns=class_columns(tables[0]))
        model_of = cross.mapped(trained.removeprefix("on-"), list(scores.columns))
        rows = values[(values["trained_on"] == trained) & (values["tested_on"] == "on-chexpert")]
        for row in rows.dropna(subset=["auc"]).to_dict("records"):
            (label,) = row["labels"].split("|")  # CheXpert has one label for each class
            truth = labels.loc[scores.index, label]
            known = truth >= 0
            score = scores[list(model_of[row["class"]])].max(axis=1)
            assert row["auc"] == pytest.approx(roc_auc_score(truth[known], score[known]), abs=1e-6)
            assert row["images"] == known.sum()
            checked += 1
    assert checked >= 6


def test_the_matrix_has_nine_cells_of_the_same_classes(cross_run):
    matrix = pd.read_csv(cross_run / "results/tables/cross/archives/matrix.csv")
    assert len(matrix) == 9
    assert matrix["auc"].between(0, 1).all()
    assert matrix["classes"].nunique() == 1
    assert set(matrix["data"]) == {"phantom"}


def test_nothing_is_left_to_do(cross_run):
    dry = snakemake(cross_run, "--cores", "2", "--dry-run", TABLE, FIGURE, config=CONFIG)
    assert "Nothing to be done" in dry.stdout, dry.stdout[-3000:]
