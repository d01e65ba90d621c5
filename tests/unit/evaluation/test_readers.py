"""Agreement of readers against hand-computed cases, scikit-learn, and published labels of radiologists."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, roc_curve

from thorax.evaluation import readers

SHARED = Path(__file__).parents[4] / "shared" / "data"
REAL = SHARED / "expert_labels" / "nih_all_findings_test_individual_readers.csv"


def test_cohens_kappa_by_hand():
    # Of 10 images, 7 agree; the readers say yes to 5 and 4: by chance 0.2 + 0.3.
    one, other = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0]), np.array([1, 1, 1, 0, 0, 1, 0, 0, 0, 0])
    assert readers.cohen_kappa(one, other) == pytest.approx((0.7 - 0.5) / 0.5)
    assert readers.cohen_kappa(np.append(one, [-1, 1]), np.append(other, [1, -1])) == pytest.approx(0.4)
    assert np.isnan(readers.cohen_kappa(np.zeros(3), np.zeros(3)))
    assert np.isnan(readers.cohen_kappa(np.full(3, -1), np.zeros(3)))


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=3, max_size=30))
def test_cohens_kappa_is_that_of_scikit_learn(pairs):
    one, other = np.transpose(pairs)
    found = readers.cohen_kappa(one, other)
    if np.isfinite(found):
        assert found == pytest.approx(cohen_kappa_score(one, other), abs=1e-9)


def test_fleiss_kappa_by_hand():
    """Three readers of four images, with 3, 2, 1 and 0 times yes: pairs agree by 1, 1/3, 1/3, 1, and half of all says yes."""
    answers = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0]])
    assert readers.fleiss_kappa(answers) == pytest.approx((2 / 3 - 1 / 2) / (1 / 2))
    # An image with a single reader does not count.
    assert readers.fleiss_kappa(np.column_stack([answers, [1, -1, -1]])) == pytest.approx(1 / 3)
    assert np.isnan(readers.fleiss_kappa(np.ones((3, 4))))


def test_the_majority_and_a_tie():
    answers = np.array([[1, 1, 0, -1], [1, 0, 0, -1], [0, -1, -1, 1]])
    assert readers.majority(answers).tolist() == [1, -1, 0, 1]


def test_agreement_of_labels_and_readers():
    labels = pd.DataFrame({"a": [1, 1, 0, 0]})
    table = readers.agreement(
        labels,
        {name: pd.DataFrame({"a": column}) for name, column in (("x", [1, 0, 0, 0]), ("y", [1, 0, 0, 1]), ("z", [1, 1, 0, 0]))},
    )
    row = table.iloc[0]
    assert row[["images", "positives_of_labels", "positives_of_majority"]].tolist() == [4, 2, 1]
    assert row["cohen"] == pytest.approx((3 / 4 - 1 / 2) / (1 / 2))
    assert row["pairwise"] == pytest.approx(
        np.mean([cohen_kappa_score([1, 0, 0, 0], [1, 0, 0, 1]), cohen_kappa_score([1, 0, 0, 0], [1, 1, 0, 0]), 0])
    )


def test_a_reader_next_to_the_curve_by_hand():
    # The curve goes through (0, 0), (0, 1/2), (1/2, 1/2), (1/2, 1) and (1, 1) as (1 - specificity, sensitivity).
    labels, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1])
    assert readers.below_curve(labels, scores, np.array([1, 0, 0, 0])) == (0.5, 1.0, 0.5)
    assert readers.below_curve(labels, scores, np.array([1, 1, 0, 0])) == (0.5, 0.5, 1.0)
    assert readers.below_curve(labels, scores, np.array([0, 1, 0, 1])) == (0, 0, 1.0)
    assert readers.below_curve(labels, scores, np.array([0, -1, 1, 0])) == (0.5, 1.0, 1.0)  # of the three images that were read
    assert np.isnan(readers.below_curve(labels * 0, scores, labels)).all()


@given(st.integers(0, 1000))
def test_the_curve_is_that_of_scikit_learn(seed):
    random = np.random.default_rng(seed)
    labels, scores, answers = random.integers(0, 2, 30), random.integers(0, 8, 30) / 8, random.integers(0, 2, 30)
    labels[:2] = 0, 1
    alarms, hits, _ = roc_curve(labels, scores, drop_intermediate=False)
    _, specificity, found = readers.below_curve(labels, scores, answers)
    at = 1 - specificity
    exact = np.isclose(alarms, at)
    expected = hits[exact].max() if exact.any() else np.interp(at, alarms, hits)
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.real
def test_five_radiologists_and_nihs_labels():
    """Nabulsi et al. 2021, 810 images of NIH's test list. Their majority file is not the majority of the five readers' own file."""
    if not REAL.exists():
        pytest.skip(f"needs {REAL}")
    table = pd.read_csv(REAL)
    classes = ["Atelectasis", "Infiltration", "Pneumothorax"]
    order = table.groupby("Image ID").cumcount()
    of_reader = {
        str(k): table[order == k].set_index("Image ID")[classes].eq("YES").astype(np.int8).sort_index() for k in range(5)
    }
    images = of_reader["0"].index
    source = pd.read_csv(SHARED / "metadata" / "Data_Entry_2017_v2020.csv.gz", index_col="Image Index").loc[
        images, "Finding Labels"
    ]
    labels = source.str.get_dummies("|")[classes].astype(np.int8)
    published = pd.read_csv(REAL.with_name("nih_all_findings_test_labels.csv"), index_col="Image ID").loc[images, classes]
    kappas = {
        name: readers.cohen_kappa(labels[name].to_numpy(), published[name].eq("YES").to_numpy(np.int8)) for name in classes
    }
    assert {name: round(kappa, 2) for name, kappa in kappas.items()} == {
        "Atelectasis": 0.18,
        "Infiltration": 0.07,
        "Pneumothorax": 0.54,
    }
    found = readers.agreement(labels, of_reader).set_index("class")
    assert found["images"].tolist() == [810] * 3
    assert found["cohen"].round(2).to_dict() == {"Atelectasis": 0.22, "Infiltration": 0.06, "Pneumothorax": 0.53}


def test_models_are_compared_with_readers_on_the_images_that_were_read():
    """Six images, of which five were read; with a tie on the fifth, four have a majority."""
    truth = pd.DataFrame({"a": [1, 1, 0, 0, 1, 1], "b": [0] * 6}, dtype=np.int8)
    answers = {
        "x": pd.DataFrame({"a": [1, 0, 0, 0, 1, -1]}, dtype=np.int8),
        "y": pd.DataFrame({"a": [1, 0, 1, 0, 0, -1]}, dtype=np.int8),
        "z": pd.DataFrame({"a": [1, 0, 0, 0, -1, -1]}, dtype=np.int8),
    }
    scores = {"net": pd.DataFrame({"a": [0.9, 0.4, 0.6, 0.1, 0.8, 0.0], "b": 0.5})}
    found = readers.compare(truth, scores, answers, np.arange(6), replicates=5)
    assert (found.readers, found.read, found.images) == (["x", "y", "z"], 5, 6)
    assert found.agreement["class"].tolist() == ["a"], "no reader was asked for b"
    areas = found.areas[found.areas["class"] == "a"].set_index("against")["value"]
    assert areas["labels"] == 3 / 4  # 0.9 and 0.4 against 0.6 and 0.1
    assert areas["majority"] == 1
    points = found.points.set_index("reader")
    assert points.loc["x", ["sensitivity", "specificity"]].tolist() == pytest.approx([2 / 3, 1])
    assert points.loc["x", "roc_sensitivity"] == pytest.approx(2 / 3), "0.9 and 0.8 are above every negative"
    assert points.loc["z", ["sensitivity", "roc_sensitivity"]].tolist() == [0.5, 0.5]
    assert points.loc["y", ["sensitivity", "roc_sensitivity"]].tolist() == pytest.approx([1 / 3, 1])
    assert found.below("net", "a") == (1, 3)
    assert found.below("net") == (1, 3)


def test_the_means_against_labels_and_majority_are_over_the_same_classes():
    """Nobody but the labels says yes to b, so the mean of both is that of a alone; without any such class it is undefined."""
    truth = pd.DataFrame({"a": [1, 0, 1, 0], "b": [1, 0, 0, 0]}, dtype=np.int8)
    answers = {who: truth.assign(b=np.int8(0)) for who in "xy"}
    scores = {"net": pd.DataFrame({"a": [0.9, 0.6, 0.4, 0.1], "b": [0.9, 0.1, 0.1, 0.1]})}
    means = readers.compare(truth, scores, answers, np.arange(4), replicates=2).areas.query("`class` == 'Global'")
    assert means["value"].tolist() == [0.75, 0.75]
    none = {who: table[["b"]] for who, table in answers.items()}
    assert (
        readers.compare(truth, scores, none, np.arange(4), replicates=2)
        .areas.query("`class` == 'Global'")["value"]
        .isna()
        .all()
    )
