"""Three synthetic archives, every model tested on every archive (in the shrunk run): the tables against the predictions."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from thorax.evaluation import cross_archives
from thorax.evaluation.metrics import sigmoid
from thorax.storage import store
from thorax.storage.schemas import class_columns

pytestmark = pytest.mark.slow
TABLES = "results/tables/cross/chest-archives"
LABEL_SETS = {"cross-padchest": "padchest-shared", "cross-nih": "nih-15", "cross-chexpert": "chexpert-frontal"}
SPLITS = {"cross-padchest": "padchest-shared", "cross-nih": "nih-official", "cross-chexpert": "chexpert-frontal"}
MODELS = (
    ("cross-padchest", "DenseNet121"),
    ("cross-padchest", "second"),
    ("cross-nih", "DenseNet121"),
    ("cross-chexpert", "DenseNet121"),
)


@pytest.fixture(scope="module")
def cross_run(papers_run):
    print((papers_run / TABLES / "matrix.md").read_text())
    print((papers_run / TABLES / "classes.md").read_text())
    return papers_run


def test_every_model_has_seen_the_test_images_of_every_archive_and_no_other(cross_run):
    for tested in LABEL_SETS:
        labels = store.read_table(cross_run / f"results/labels/{LABEL_SETS[tested]}.parquet")
        split = store.read_table(cross_run / f"results/splits/{SPLITS[tested]}.parquet").set_index("image_id")["split"]
        expected = sorted(image for image in labels["image_id"] if split[image] == "test")
        for trained, model in MODELS:
            if trained != tested:
                path = cross_run / f"results/predictions/{trained}/{model}@{tested}.parquet"
                table = store.read_table(path)
                assert list(table["image_id"]) == expected
                own = store.read_table(cross_run / f"results/predictions/{trained}/{model}.parquet")
                assert class_columns(table) == class_columns(own)


def test_cells_are_what_scikit_learn_makes_of_the_predictions(cross_run):
    """Trained on PadChest (the mean of two networks), tested on CheXpert; and trained on CheXpert, tested on itself."""
    values = pd.read_csv(cross_run / f"{TABLES}/classes.csv")
    labels = store.read_table(cross_run / "results/labels/chexpert-frontal.parquet").set_index("image_id")
    folder = cross_run / "results/predictions"
    paths = {
        "cross-padchest": [folder / f"cross-padchest/{name}@cross-chexpert.parquet" for name in ("DenseNet121", "second")],
        "cross-chexpert": [folder / "cross-chexpert/DenseNet121.parquet"],
    }
    checked = 0
    for trained, members in paths.items():
        tables = [store.read_table(path).query("split == 'test'").set_index("image_id") for path in members]
        mean = np.mean([sigmoid(table[class_columns(tables[0])].to_numpy()) for table in tables], axis=0)
        scores = pd.DataFrame(mean, index=tables[0].index, columns=class_columns(tables[0]))
        model_of = cross_archives.mapped(trained.removeprefix("cross-"), list(scores.columns))
        rows = values[(values["trained_on"] == trained) & (values["tested_on"] == "cross-chexpert")]
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
    matrix = pd.read_csv(cross_run / f"{TABLES}/matrix.csv")
    assert len(matrix) == 9
    assert matrix["auc"].between(0, 1).all()
    assert matrix["classes"].nunique() == 1
    assert set(matrix["provenance"]) == {"phantom"}
