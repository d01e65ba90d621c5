"""The cascade by hand, what holds for any probabilities, and the refusals."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from thorax.cli import main
from thorax.evaluation import cascades, metrics
from thorax.labels.label_sets import KEPT, WHOLE
from thorax.storage import schemas, store

PARENTS = {
    "normal": ["normal"],
    "alveolar pattern": ["infiltrates"],
    "calcified granuloma": ["calcified densities", "granuloma"],
    "granuloma": ["granuloma"],
}


def frame(**columns) -> pd.DataFrame:
    return pd.DataFrame({name.replace("_", " "): values for name, values in columns.items()})


def test_products_two_parents_and_a_class_that_is_its_own_general_class():
    general = frame(normal=[0.9, 0.2], infiltrates=[0.5, 0.8], calcified_densities=[0.1, 0.6], granuloma=[0.4, 0.2])
    inside = frame(alveolar_pattern=[0.5, 0.25], calcified_granuloma=[0.5, 1.0], granuloma=[1.0, 0.0])
    found = cascades.combine(general, inside, PARENTS)
    assert list(found) == list(PARENTS)
    np.testing.assert_allclose(found["normal"], [0.9, 0.2])
    np.testing.assert_allclose(found["alveolar pattern"], [0.25, 0.2])
    np.testing.assert_allclose(found["calcified granuloma"], [0.2, 0.6], err_msg="the larger of both parents")
    np.testing.assert_allclose(found["granuloma"], [0.4, 0.0])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_no_class_is_more_probable_than_the_likeliest_of_its_general_classes(seed):
    random = np.random.default_rng(seed)
    names = sorted({name for above in PARENTS.values() for name in above})
    general = pd.DataFrame(random.random((20, len(names))), columns=names)
    inside = pd.DataFrame(random.random((20, 2)), columns=["alveolar pattern", "calcified granuloma"])
    found = cascades.combine(general, inside, PARENTS)
    for name, above in PARENTS.items():
        assert (found[name] >= 0).all()
        assert (found[name].astype(np.float32) <= general[above].max(axis=1).astype(np.float32)).all(), "as written, too"


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_with_a_perfect_general_network_the_cascade_ranks_inside_as_the_second_one(seed):
    random = np.random.default_rng(seed)
    either = random.random((40, 2)) < 0.5
    either[:2] = [[True, False], [False, False]]
    general = pd.DataFrame(either.astype(float), columns=["calcified densities", "granuloma"])
    inside = pd.DataFrame({"calcified granuloma": random.random(40)})
    parents = {"calcified granuloma": PARENTS["calcified granuloma"]}
    found = cascades.combine(general, inside, parents)["calcified granuloma"].to_numpy()
    rows = either.any(axis=1)
    np.testing.assert_array_equal(np.argsort(found[rows]), np.argsort(inside["calcified granuloma"][rows]))
    assert (found[~rows] == 0).all()
    truth = rows & (random.random(40) < 0.5)
    if len(set(truth[rows])) == 2:
        assert roc_auc_score(truth[rows], found[rows]) == roc_auc_score(truth[rows], inside["calcified granuloma"][rows])
        assert roc_auc_score(truth, found) >= roc_auc_score(truth, inside["calcified granuloma"]), "what is outside is below"


GENERAL = ["infiltrates", "normal"]
INSIDE = ["alveolar pattern", "interstitial pattern"]
FLAT = ["normal", "alveolar pattern", "interstitial pattern"]
IMAGES = ["a", "b", "c", "d", "e"]
SPLIT = ["train", "val", "test", "test", "test"]


@pytest.fixture
def tables(tmp_path):
    """What the verb reads, of five images; the flat label set lacks the last one."""
    labels = pd.DataFrame({"image_id": IMAGES[:4], "patient_id": IMAGES[:4], **dict.fromkeys(FLAT, 1)})
    store.write_table(labels, tmp_path / "flat.parquet", schemas.labels_schema(FLAT))
    parts = pd.DataFrame({"image_id": IMAGES, "patient_id": IMAGES, "split": SPLIT})
    store.write_table(parts, tmp_path / "split.parquet", schemas.SPLITS)
    random = np.random.default_rng(1)
    for name, classes in (("general", GENERAL), ("inside", INSIDE)):
        scores = pd.DataFrame(random.random((4, len(classes))), columns=classes)
        scores = pd.concat([parts[["image_id", "split"]][1:].reset_index(drop=True), scores], axis=1)
        store.write_table(scores[::-1], tmp_path / f"{name}.parquet", schemas.scores_schema(classes))
    report = pd.DataFrame({"class": [*FLAT, "(label set)"], "status": [WHOLE, KEPT, KEPT, KEPT]})
    store.write_text(report.to_csv(index=False), tmp_path / "classes.csv")
    return tmp_path


def run(folder, *more: str) -> int:
    paths = {name: f"{name}.parquet" for name in ("general", "inside", "split")}
    options = [word for flag, path in {**paths, "classes": "classes.csv", "labels": "flat.parquet", "out": "out.parquet"}.items()
               for word in (f"--{flag}", str(folder / path))]  # fmt: skip
    settings = json.dumps({"dataset": "d", "inside": "tiny-general"})
    return main(["cascade", "--settings", settings, "--archive", "padchest", *options, *more])


@pytest.mark.parametrize("logits", [False, True])
def test_the_verb_gives_the_flat_label_sets_images_and_classes(tables, logits):
    assert run(tables, *(["--logits"] if logits else [])) == 0
    found = store.read_table(tables / "out.parquet")
    assert list(found) == ["image_id", "split", *FLAT]
    assert found[["image_id", "split"]].to_numpy().tolist() == [["b", "val"], ["c", "test"], ["d", "test"]]
    general, inside = (store.read_table(tables / f"{name}.parquet").set_index("image_id") for name in ("general", "inside"))
    squash = metrics.sigmoid if logits else np.asarray
    for row in found.to_dict("records"):
        first, second = general.loc[row["image_id"]], inside.loc[row["image_id"]]
        assert row["normal"] == pytest.approx(float(squash(first["normal"])))
        for name in INSIDE:
            assert row[name] == pytest.approx(float(squash(first["infiltrates"])) * float(squash(second[name])))


def changed(path, change) -> None:
    table = change(store.read_table(path))
    classes = schemas.class_columns(table)
    schema = schemas.labels_schema(classes) if "patient_id" in table.columns else schemas.scores_schema(classes)
    store.write_table(table, path, schema)


@pytest.mark.parametrize(
    ("file", "change", "sentence"),
    [
        ("general", lambda t: t.drop(columns="infiltrates"), "has no general class of 'alveolar pattern': lower the minimum counts of tiny-general."),
        ("inside", lambda t: t[t["image_id"] != "c"], "has no row for image 'c' of "),
        ("inside", lambda t: pd.concat([t, t[-1:]]), "names image 'b' twice"),
        ("general", lambda t: t.assign(split="test"), "has image 'b' in test, but "),
        ("general", lambda t: t.assign(normal=1.5), "has scores that are not numbers from 0 to 1: give --logits"),
        ("general", lambda t: t.assign(normal=np.nan), "has scores that are not numbers from 0 to 1"),
        ("inside", lambda t: t.drop(columns=INSIDE[0]), "cannot tell 'alveolar pattern' apart (kept in "),
        ("inside", lambda t: t.assign(normal=0.5), "cannot tell 'normal' apart (nothing else inside in "),
        ("flat", lambda t: t.assign(infiltrates=1), "cannot tell 'infiltrates' apart (not among its classes in "),
    ],
)  # fmt: skip
def test_what_cannot_be_multiplied_is_refused_in_one_sentence(tables, capsys, file, change, sentence):
    path = tables / f"{file}.parquet"
    changed(path, change)
    assert run(tables) == 1
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not (tables / "out.parquet").exists()


def test_a_class_excluded_inside_is_no_class_of_its_general_class_alone(tables, capsys):
    text = (tables / "classes.csv").read_text().replace(f"interstitial pattern,{KEPT}", "interstitial pattern,excluded")
    (tables / "classes.csv").write_text(text)
    changed(tables / "inside.parquet", lambda t: t.drop(columns="interstitial pattern"))
    assert run(tables) == 1
    assert "cannot tell 'interstitial pattern' apart (excluded in " in capsys.readouterr().err
