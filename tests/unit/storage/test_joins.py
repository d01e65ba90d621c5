"""Labels joined with parts, and scores aligned with images, by hand-written tables."""

import pandas as pd
import pytest

from thorax.errors import ThoraxError
from thorax.storage import joins, schemas, store


@pytest.fixture
def tables(tmp_path):
    """Paths of labels, split and scores of the images a to d: train, val, test and left out."""
    ids, parts = ["c", "a", "d", "b"], ["test", "train", "left_out", "val"]
    labels = pd.DataFrame({"image_id": ids, "patient_id": ["p", "q", "p", "r"], "x": [1, 0, -1, 1], "row": [0, 0, 1, 1]})
    split = pd.DataFrame({"image_id": [*ids, "other"], "patient_id": "p", "split": [*parts, "val"]})
    scores = pd.DataFrame({"image_id": ["c", "b"], "split": ["test", "val"], "row": [0.25, 0.5], "x": [0.75, 1.0]})
    paths = {name: tmp_path / f"{name}.parquet" for name in ("labels", "split", "scores")}
    store.write_table(labels, paths["labels"], schemas.labels_schema(["x", "row"]))
    store.write_table(split, paths["split"], schemas.SPLITS)
    store.write_table(scores, paths["scores"], schemas.scores_schema(["row", "x"]))
    return paths


def test_labels_get_their_part(tables):
    found = joins.read_labels(tables["labels"], tables["split"])
    assert list(found.columns) == ["image_id", "patient_id", "split", "x", "row"]
    assert found["image_id"].tolist() == ["a", "b", "c", "d"]
    assert found["split"].tolist() == ["train", "val", "test", "left_out"]
    assert found["x"].tolist() == [0, 1, 1, -1]
    assert joins.read_labels(tables["labels"], tables["split"], ["val", "test"])["image_id"].tolist() == ["b", "c"]


def test_scores_follow_the_images_and_classes(tables):
    images = joins.read_labels(tables["labels"], tables["split"], ["val", "test"])
    found = joins.read_scores(tables["scores"], images, "labels", ["x", "row"])
    assert list(found.columns) == ["x", "row"]
    assert found.to_numpy().tolist() == [[1.0, 0.5], [0.75, 0.25]]
    only_test = joins.read_scores(tables["scores"], images[images["split"] == "test"], "labels")
    assert only_test.to_numpy().tolist() == [[0.25, 0.75]]
    assert only_test.index.tolist() == [1]


def test_places_are_found_in_any_order():
    ingested = pd.DataFrame({"image_id": ["b", "a", "c"], "ok": [True, True, False], "shard": [0, 1, -1], "row": [4, 0, -1]})
    images = pd.DataFrame({"image_id": ["a", "b"]}, index=[7, 3])
    found = joins.read_places(images, ingested, "ingested", "labels")
    assert found.to_dict("index") == {7: {"shard": 1, "row": 0}, 3: {"shard": 0, "row": 4}}
    with pytest.raises(ThoraxError, match="ingested: image 'c' of labels could not be ingested"):
        joins.read_places(pd.DataFrame({"image_id": ["b", "c"]}), ingested, "ingested", "labels")


def changed(path, change):
    table = change(store.read_table(path))
    table.to_parquet(path, index=False)


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("split", lambda t: t[t["image_id"] != "d"], r"split\.parquet has no row for image 'd' of .*labels\.parquet"),
        ("split", lambda t: pd.concat([t, t[:1]]), r"split\.parquet names image 'c' twice"),
        ("labels", lambda t: pd.concat([t, t[:1]]), r"labels\.parquet names image 'c' twice"),
        ("split", lambda t: t.assign(split="train"), r"split\.parquet gives no image of .*labels\.parquet to val or test"),
        ("scores", lambda t: t[:1], r"scores\.parquet has no row for image 'b' of the labels"),
        ("scores", lambda t: pd.concat([t, t[1:]]), r"scores\.parquet names image 'b' twice"),
        ("scores", lambda t: t.assign(split="val"), r"scores\.parquet has image 'c' in val, but the labels has it in test"),
        ("scores", lambda t: pd.concat([t, t[1:].assign(image_id="e")]), r"has image 'e', which the labels does not have"),
        ("scores", lambda t: t.rename(columns={"x": "y"}), r"and the labels do not have the same classes \('x' is in one only"),
    ],
)
def test_tables_that_do_not_fit_are_named(tables, name, change, sentence):
    changed(tables[name], change)
    with pytest.raises(ThoraxError, match=sentence):
        images = joins.read_labels(tables["labels"], tables["split"], ["val", "test"])
        joins.read_scores(tables["scores"], images, "the labels", ["x", "row"])


def test_further_images_are_allowed_where_asked(tables):
    images = joins.read_labels(tables["labels"], tables["split"], ["val", "test"])
    changed(tables["scores"], lambda t: pd.concat([t, t[1:].assign(image_id="e")]))
    assert len(joins.read_scores(tables["scores"], images, "the labels", further=True)) == 2
