"""Paired differences against hand-computed cases and a bootstrap that copies rows."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, hamming_loss, roc_auc_score

from thorax.errors import ThoraxError
from thorax.evaluation import bootstrap, differences, metrics
from thorax.storage import schemas

from .test_metrics import random_problem


def measured(labels, patients, models: dict[str, np.ndarray], **options) -> dict[str, bootstrap.Measured]:
    frame = pd.DataFrame(labels).add_prefix("c")
    options = {"split": "test", "replicates": 100} | options
    return {
        name: metrics.measure(frame, pd.DataFrame(scores).add_prefix("c"), patients, model=name, **options)
        for name, scores in models.items()
    }


def row(table: pd.DataFrame, name: str, metric: str) -> pd.Series:
    chosen = table[(table["class"] == name) & (table["metric"] == metric)]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_differences_are_those_of_copied_rows():
    labels, scores, patients = random_problem(5, images=120, classes=3, patients=40)
    other = np.clip(scores + 0.2 * np.random.default_rng(1).normal(size=scores.shape), 0, 1)
    table = differences.compare(measured(labels, patients, {"a": scores, "b": other}, seed=3), [("a", "b")], "test")
    assert list(table.columns) == schemas.DIFFERENCES.names
    identifiers = np.unique(patients)
    weights = np.concatenate(list(bootstrap.resample(len(identifiers), 100, 3, images=120)), axis=1)
    copies = [
        np.concatenate([np.repeat(np.flatnonzero(patients == p), n) for p, n in zip(identifiers, sample, strict=True)])
        for sample in weights.T
    ]
    measures = {
        ("c0", "auc"): lambda rows, s: roc_auc_score(labels[rows, 0], s[rows, 0]),
        ("c1", "f1"): lambda rows, s: f1_score(labels[rows, 1], s[rows, 1] > 0.5, average="macro"),
        ("Global", "hamming"): lambda rows, s: hamming_loss(labels[rows], s[rows] > 0.5),
    }
    for (name, metric), measure in measures.items():
        found = row(table, name, metric)
        here = measure(np.arange(120), scores) - measure(np.arange(120), other)
        there = np.array([measure(rows, scores) - measure(rows, other) for rows in copies])
        assert found["difference"] == pytest.approx(here, abs=1e-12)
        assert [found["low"], found["high"]] == pytest.approx(list(np.percentile(there, [2.5, 97.5])), abs=1e-12)
        there = there.round(12)  # copied rows are added in another order
        assert found["same_sign"] == (np.sign(there) == np.sign(here)).mean()
        assert found["p"] == min(1, 2 * (1 + min((there <= 0).sum(), (there >= 0).sum())) / 101)
        assert found["difference"] == found["value"] - found["other_value"]


def test_p_values_and_signs_by_hand():
    # Nine replicates: two at or below 0, all at 0, all above; and one column that is never defined.
    samples = np.array([[-1, 0, 1, np.nan], [0, 0, 1, np.nan], *[[1, 0, 1, np.nan]] * 7], float)
    assert differences.p_values(samples)[:3] == pytest.approx([2 * 3 / 10, 1, 2 * 1 / 10])
    assert np.isnan(differences.p_values(samples)[3])
    shares = differences.same_sign(np.array([0.4, 0.0, -0.1, np.nan]), samples)
    assert shares[[0, 2]] == pytest.approx([7 / 9, 0])
    assert np.isnan(shares[[1, 3]]).all()
    # A replicate without a value does not count: one of three is at or below 0.
    assert differences.p_values(np.array([[-1.0], [1], [1], [np.nan]])) == pytest.approx([2 * 2 / 4])


def test_holm_by_hand():
    """0.01 x 4, 0.02 x 3, 0.03 x 2 raised to the one before, 0.5 x 1; an undefined one does not count."""
    found = differences.holm(np.array([0.03, 0.01, np.nan, 0.5, 0.02]))
    assert found[[0, 1, 3, 4]] == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert np.isnan(found[2])
    assert differences.holm(np.array([0.6, 0.9])).tolist() == [1, 1]
    assert len(differences.holm(np.array([]))) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_what_its_steps_reject(p):
    """Another form of it: go through the values from the smallest, stop at the first above 0.05 / (number that is left)."""
    rejected = set()
    for step, index in enumerate(np.argsort(p, kind="stable")):
        if p[index] * (len(p) - step) > 0.05:
            break
        rejected.add(int(index))
    assert set(np.flatnonzero(differences.holm(np.array(p)) <= 0.05).tolist()) == rejected


def test_a_model_against_itself_differs_in_nothing():
    labels, scores, patients = random_problem(2, images=60)
    table = differences.compare(measured(labels, patients, {"a": scores, "b": scores.copy()}), [("a", "b")], "test")
    assert (table[["difference", "low", "high"]].dropna() == 0).all(axis=None)
    assert table["same_sign"].isna().all()
    assert (table["p"].dropna() == 1).all()


def test_only_classes_are_corrected_and_only_for_classes():
    labels, scores, patients = random_problem(2, images=100)
    models = {"a": scores, "b": np.random.default_rng(0).random(scores.shape)}
    summaries = {"Head classes": ["c0", "c3"]}
    table = differences.compare(measured(labels, patients, models, summaries=summaries), [("a", "b")], "test")
    of_auc = table[table["metric"] == "auc"].set_index("class")
    assert of_auc["p_holm"].isna().to_dict() == {
        "c0": False,
        "c1": False,
        "c2": False,
        "c3": False,
        "Global": True,
        "Head classes": True,
    }
    assert of_auc.loc["c0":"c3", "p_holm"].tolist() == differences.holm(of_auc.loc["c0":"c3", "p"].to_numpy()).tolist()
    assert row(table, "Head classes", "auc")["difference"] == pytest.approx(of_auc.loc[["c0", "c3"], "difference"].mean())
    assert table[table["metric"] == "hamming"]["class"].tolist() == ["Global", "Head classes"]


def test_models_that_are_measured_on_other_samples_are_refused():
    labels, scores, patients = random_problem(2, images=60)
    one, two = (measured(labels, patients, {"a": scores}, seed=seed)["a"] for seed in (0, 1))
    with pytest.raises(ThoraxError, match="'a' and 'b' are not measured on the same labels and bootstrap samples: give both"):
        differences.compare({"a": one, "b": two}, [("a", "b")], "test")


def test_so_many_replicates_let_the_smallest_corrected_p_value_be_below_the_level():
    for tests in (1, 14, 35):
        replicates = differences.fewest_replicates(tests)
        assert 2 * tests / (replicates + 1) < 0.05 <= 2 * tests / replicates
    assert differences.fewest_replicates(35) == 1400


def test_classes_are_grouped_by_their_training_images_as_by_cxr_lt():
    counts = {"a": 1001, "b": 1000, "c": 100, "d": 99, "e": 50_000, "f": 0}
    assert metrics.tiers(counts) == {"Head classes": ["a", "e"], "Medium classes": ["b", "c"], "Tail classes": ["d", "f"]}
    assert metrics.tiers({"a": 2000, "b": 1500}) == {}
