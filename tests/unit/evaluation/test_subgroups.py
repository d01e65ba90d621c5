"""Groups of images against scikit-learn, copied rows, and a model that recognises the group."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from thorax.errors import ThoraxError
from thorax.evaluation import bootstrap, subgroups

from .test_metrics import random_problem

HOW = {"model": "m", "split": "test"}


def measured(labels, scores, patients, groups, **options):
    frames = (pd.DataFrame(values).add_prefix("c") for values in (labels, scores))
    table, warnings = subgroups.measure(*frames, np.asarray(patients), pd.Series(groups, name="sex"), **HOW, **options)
    return table.set_index(["group", "class", "metric"]), warnings


def test_values_and_gaps_of_groups_and_their_intervals():
    labels, scores, patients = random_problem(3, images=120, classes=2, patients=50)
    men = np.arange(120) % 3 == 0
    table, _ = measured(labels, scores, patients, np.where(men, "M", "F"), replicates=60, seed=2)
    men_area, women_area = (roc_auc_score(labels[side, 0], scores[side, 0]) for side in (men, ~men))
    row = table.loc[("M", "c0", "auc")]
    assert (row["value"], row["gap"]) == pytest.approx((men_area, men_area - women_area), abs=1e-12)
    assert row[["images", "patients", "n_positive"]].tolist() == [40, len(set(patients[men])), labels[men, 0].sum()]
    assert table.loc[("F", "c0", "auc"), "gap"] == pytest.approx(-row["gap"])
    identifiers, gaps = np.unique(patients), []
    for sample in np.concatenate(list(bootstrap.resample(len(identifiers), 60, 2, images=120)), axis=1).T:
        rows = np.concatenate([np.repeat(np.flatnonzero(patients == p), n) for p, n in zip(identifiers, sample, strict=True)])
        of_side = [rows[men[rows] == side] for side in (True, False)]
        areas = [roc_auc_score(labels[of, 0], scores[of, 0]) for of in of_side]
        gaps.append(areas[0] - areas[1])
    assert [row["gap_low"], row["gap_high"]] == pytest.approx(list(np.percentile(gaps, [2.5, 97.5])), abs=1e-12)


def test_the_mean_gap_is_over_the_classes_that_both_sides_have():
    labels = np.array([[1, 1], [0, 0], [1, 0], [0, 0]])
    scores = np.array([[0.9, 0.9], [0.1, 0.1], [0.2, 0.3], [0.8, 0.4]])
    table, _ = measured(labels, scores, range(4), ["a", "a", "b", "b"], replicates=5)
    assert table.loc[("a", "c0", "auc"), "gap"] == 1
    assert np.isnan(table.loc[("a", "c1", "auc"), "gap"])
    assert table.loc[("a", "Global", "auc"), "gap"] == 1
    assert table.loc[("b", "c1", "auc"), "why_blank"] == "no positives or no negatives"


def test_a_group_of_one_patient_is_named():
    labels, scores, _ = random_problem(1, images=20, classes=1)
    table, _ = measured(labels, scores, [*range(18), 99, 99], ["a"] * 18 + ["b"] * 2, replicates=5)
    row = table.loc["b"].iloc[0]
    assert row[["images", "patients", "why_blank"]].tolist() == [2, 1, "a single patient"]
    assert np.isnan(row["value"])


def test_a_model_that_recognises_the_group_is_warned_of():
    """In hospital b nearly all images are positive, and the model only tells the hospitals apart."""
    random = np.random.default_rng(0)
    hospital = np.repeat(["a", "b"], 200)
    labels = (random.random(400) < np.where(hospital == "b", 0.9, 0.1)).astype(int)[:, None]
    scores = (random.random((400, 1)) + (hospital == "b")[:, None]) / 2
    _, warnings = measured(labels, scores, range(400), hospital, replicates=50)
    assert any(warning.startswith("c0: the pooled AUC of 0.8") for warning in warnings)
    _, warnings = measured(labels, random.random((400, 1)), range(400), hospital, replicates=50)
    assert warnings == []


def test_ages_are_banded_and_many_other_values_refused():
    ages = pd.Series([*range(0, 100, 5), None], name="Patient Age")
    assert subgroups.grouped(ages).unique().tolist() == ["0–17", "18–39", "40–64", "65 and older", "(blank)"]
    assert subgroups.grouped(pd.Series([17, 18, 40, *range(70, 90)], name="age")).tolist()[:3] == ["0–17", "18–39", "40–64"]
    assert subgroups.grouped(pd.Series(["M", "F", None], name="sex")).tolist() == ["M", "F", "(blank)"]
    with pytest.raises(
        ThoraxError, match="The column 'ward' has 13 different values, and 12 at most can be groups: put them into"
    ):
        subgroups.grouped(pd.Series([str(number) for number in range(13)], name="ward"))
    for name in ("image_width", "IMAGE", "Agency"):
        with pytest.raises(ThoraxError, match=f"The column '{name}' has 20 different values"):
            subgroups.grouped(pd.Series(range(20), name=name))
    for name in ("age", "patient_age", "PatientAge", "AGE_YEARS"):
        assert subgroups.grouped(pd.Series(range(20), name=name)).iloc[0] == "0–17"


def test_votes_have_no_loss_and_the_table_says_so():
    labels, scores, patients = random_problem(1, images=20, classes=1)
    table, _ = measured(labels, scores.round(), patients, np.arange(20) % 2, replicates=2)
    assert set(table.xs("loss", level="metric")["why_blank"]) == {"votes have no loss"}
