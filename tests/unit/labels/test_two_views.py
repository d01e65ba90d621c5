"""Studies of two views: which images are paired, and which studies a label set keeps."""

import pandas as pd
import pytest

from thorax import config
from thorax.cli import main
from thorax.errors import ThoraxError
from thorax.labels.label_sets import build
from thorax.labels.two_views import Partners, make_two_views
from thorax.storage import schemas, store

# image, patient, study, view, labels. Study s4 has images of two patients, as one of PadChest has.
IMAGES = [
    ("b1", "p1", "s1", "PA", ["normal"]), ("a1", "p1", "s1", "PA", ["nodule"]), ("d1", "p1", "s1", "L", ["normal"]),
    ("c1", "p1", "s1", "L", ["normal"]), ("a2", "p2", "s2", "PA", ["normal"]), ("b2", "p2", "s2", "AP", ["normal"]),
    ("a3", "p3", "s3", "PA", ["nodule"]), ("b3", "p3", "s3", "L", ["nodule"]), ("c3", "p3", "s3", "L", ["nodule"]),
    ("a4", "p4", "s4", "L", ["normal"]), ("b4", "p5", "s4", "PA", ["normal"]), ("c4", "p5", "s4", "L", ["normal"]),
    ("a5", "p6", None, "PA", ["normal"]), ("b5", "p6", None, "L", ["normal"]),
]  # fmt: skip
UNREADABLE = {"b3"}


@pytest.fixture
def table():
    """A catalog of these images."""
    frame = pd.DataFrame(IMAGES, columns=["image_id", "patient_id", "study_id", "view", "positive"])
    empty = {name: [None] * len(frame) for name in schemas.CATALOG.names if name not in frame}
    return frame.assign(**{**empty, "negative": [[]] * len(frame), "uncertain": [[]] * len(frame), "path": frame["image_id"]})


def ingested(images):
    ids = images["image_id"].tolist()
    frame = pd.DataFrame({name: [0] * len(ids) for name in schemas.INGESTED.names})
    return frame.assign(image_id=ids, ok=[name not in UNREADABLE for name in ids], reason=None, channels=1)


def settings(**values):
    return config.LabelSet(dataset="d", second="d-lateral", **values)


def test_studies_keep_their_first_image_if_a_second_view_of_the_same_patient_is_readable(table):
    partners = Partners(["L"], ingested(table[table["view"] == "L"]))
    made = build(settings(), "own", table, ingested(table[table["view"] == "PA"]), second=partners)
    assert made.frame["image_id"].tolist() == ["a1", "a3", "b4"]
    assert made.frame[["nodule", "normal"]].to_numpy().tolist() == [[1, 0], [1, 0], [0, 1]]
    alone = build(config.LabelSet(dataset="d"), "own", table, ingested(table[table["view"] == "PA"]))
    assert alone.frame["image_id"].tolist() == ["a1", "a2", "a3", "a5", "b1", "b4"]


def test_from_metadata_alone_every_image_counts(table):
    made = build(settings(views=["AP", "PA"]), "own", table, second=Partners(["L"]))
    assert made.frame["image_id"].tolist() == ["a1", "a3", "b4"]
    assert Partners(["L"]).beside(table[:7], table).tolist()[:4] == ["c1"] * 4


def test_no_study_of_two_views_is_one_sentence(table):
    with pytest.raises(
        ThoraxError, match=r"^label_sets\.x\.second: no study has both .* and one of COSTAL: choose other views"
    ):
        build(settings(), "own", table, name="x", second=Partners(["COSTAL"]))


def test_a_label_set_of_studies_is_never_made_of_single_images(table):
    with pytest.raises(ThoraxError, match=r"^label_sets\.x\.second is d-lateral: give --second-views exactly where it names"):
        build(settings(), "own", table, name="x")
    with pytest.raises(ThoraxError, match=r"^label_sets\.x\.second is null"):
        build(config.LabelSet(dataset="d"), "own", table, name="x", second=Partners(["L"]))


@pytest.fixture
def files(table, tmp_path):
    store.write_table(table, tmp_path / "catalog.parquet", schemas.CATALOG)
    for view in ("PA", "L"):
        store.write_table(ingested(table[table["view"] == view]), tmp_path / f"{view}.parquet", schemas.INGESTED)
    return tmp_path


def test_the_verbs_make_labels_and_pairs_that_fit(files):
    second = ["--second-views", "L", "--second-ingested", str(files / "L.parquet")]
    shared = ["--catalog", str(files / "catalog.parquet"), *second]
    chosen = ["--settings", settings().model_dump_json(), "--archive", "own", "--ingested", str(files / "PA.parquet")]
    out = ["--out", str(files / "labels.parquet"), "--report", str(files / "classes.csv")]
    assert main(["labels", *shared, *chosen, *out]) == 0
    assert main(["pairs", *shared, "--labels", str(files / "labels.parquet"), "--out", str(files / "pairs.parquet")]) == 0
    pairs = store.read_table(files / "pairs.parquet")
    assert dict(zip(pairs["image_id"], pairs["second_id"], strict=True)) == {"a1": "c1", "a3": "c3", "b4": "c4"}


def test_a_labelled_image_without_a_second_one_is_refused(files, table):
    labels = table[table["view"] == "PA"][["image_id", "patient_id"]]
    store.write_table(labels, files / "labels.parquet", schemas.labels_schema([]))
    with pytest.raises(
        ThoraxError, match=r"^The study of image 'a2' in .*labels\.parquet has no readable image of L in .*L\.parq"
    ):
        make_two_views(files / "labels.parquet", files / "catalog.parquet", ["L"], files / "L.parquet", files / "pairs.parquet")
    assert not (files / "pairs.parquet").exists()
