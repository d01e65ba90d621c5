"""The finished tiny run: its numbers against what can be computed another way, and what a change changes."""

import pandas as pd
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from thorax import store
from thorax.metrics import sigmoid

from .conftest import CASES, snakemake

pytestmark = pytest.mark.slow
CONFIG = CASES / "tiny" / "config.yaml"


def test_nothing_is_left_to_do_and_a_touched_comment_changes_nothing(tiny_copy):
    dry = snakemake(tiny_copy, "--cores", "2", "--dry-run", config=CONFIG)
    assert "Nothing to be done" in dry.stdout


def test_table_numbers_are_those_of_scikit_learn(tiny_run):
    labels = store.read_table(tiny_run / "results/labels/tiny-specific.parquet").set_index("image_id")
    table = store.read_table(tiny_run / "results/metrics/tiny.parquet")
    predictions = store.read_table(tiny_run / "results/predictions/tiny/first.parquet")
    test = predictions[predictions["split"] == "test"].set_index("image_id")
    checked = 0
    for name in [column for column in labels.columns if column != "patient_id"]:
        truth = labels.loc[test.index, name]
        if truth.nunique() < 2:
            continue
        rows = table[(table["model"] == "first") & (table["class"] == name) & (table["split"] == "test")]
        values = rows.set_index("metric")["value"]
        probability = sigmoid(test[name].to_numpy())
        assert values["auc"] == pytest.approx(roc_auc_score(truth, probability))
        assert values["f1"] == pytest.approx(f1_score(truth, probability >= 0.5, average="macro"))
        checked += 1
    assert checked >= 3


def test_patients_are_in_one_part_only_and_the_segmenter_saw_training_patients_only(tiny_run):
    split = store.read_table(tiny_run / "results/splits/tiny-pa.parquet")
    assert (split.groupby("patient_id")["split"].nunique() == 1).all()
    assert set(split["split"]) == {"train", "val", "test"}
    pairs = pd.read_csv(tiny_run / "data/tiny/lung_masks/pairs.csv", dtype=str)
    part = split.drop_duplicates("patient_id").set_index("patient_id")["split"]
    assert part.reindex(pairs["patient_id"]).isin(["val", "test"]).any(), "the filter has something to leave out"
    log = (tiny_run / "logs/segmenter/tiny-lungs.log").read_text()
    trained = part.reindex(pairs["patient_id"]).eq("train").sum()
    assert str(trained) in log


def test_masks_agree_with_the_phantom_truth(tiny_run):
    import cv2
    import numpy as np

    from thorax import phantom
    from thorax.config import load

    settings = load(CONFIG).datasets["tiny"].phantom
    split = store.read_table(tiny_run / "results/splits/tiny-pa.parquet")
    ingested = store.read_table(tiny_run / "results/ingested/tiny.parquet")
    test = ingested.merge(split[split["split"] == "test"], on="image_id")
    assert len(test) >= 8
    ious = []
    for row in test.itertuples():
        lungs = store.read_table(tiny_run / f"results/lungs/tiny-lungs/tiny.{row.shard}.parquet").set_index("image_id")
        if not lungs.loc[row.image_id, "credible"]:
            continue
        mask = store.open_array(tiny_run / f"results/lungs/tiny-lungs/tiny.{row.shard}.npy")[row.row] > 0
        truth = phantom.true_lung_mask(settings, row.image_id).astype(np.uint8)
        truth = cv2.resize(truth, (256, 256), interpolation=cv2.INTER_AREA) > 0
        ious.append((mask & truth).sum() / (mask | truth).sum())
    assert len(ious) >= 0.7 * len(test)
    assert np.mean(ious) > 0.75


def test_a_flipped_label_and_a_changed_pixel_change_the_table(tiny_copy):
    before = (tiny_copy / "results/tables/tiny/per_class.csv").read_text()
    metadata = next((tiny_copy / "data/tiny").glob("*.csv"))
    assert metadata.name.startswith("PADCHEST")
    split = store.read_table(tiny_copy / "results/splits/tiny-pa.parquet")
    labels = store.read_table(tiny_copy / "results/labels/tiny-specific.parquet")
    test = labels[labels["image_id"].isin(split.loc[split["split"] == "test", "image_id"])]
    commonest = labels.columns[2]
    flipped = labels.copy()
    row = flipped.index[flipped["image_id"] == test["image_id"].iloc[0]]
    flipped.loc[row, commonest] = 1 - flipped.loc[row, commonest]
    from thorax.catalog import class_columns, labels_schema

    store.write_table(flipped, tiny_copy / "results/labels/tiny-specific.parquet", labels_schema(class_columns(labels)))
    again = snakemake(
        tiny_copy, "--cores", "2", "--rerun-triggers", "mtime", "--forcerun", "metrics", "--until", "tables", config=CONFIG
    )
    assert again.returncode == 0, again.stdout[-3000:]
    assert (tiny_copy / "results/tables/tiny/per_class.csv").read_text() != before
