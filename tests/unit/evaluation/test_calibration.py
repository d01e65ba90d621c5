"""Calibration against hand-computed cases, scikit-learn, and copied rows."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from thorax.evaluation import bootstrap, calibration
from thorax.evaluation.metrics import sigmoid


def problem(seed: int, images: int = 400, slope: float = 0.5, intercept: float = -0.3):
    """Labels whose true log odds are slope times those of the probabilities plus the intercept."""
    random = np.random.default_rng(seed)
    odds = random.normal(0, 2, images)
    labels = (random.random(images) < sigmoid(slope * odds + intercept)).astype(int)
    return labels, sigmoid(odds), random.integers(0, images // 2, images)


def values(labels, scores, patients=None, **options) -> pd.DataFrame:
    patients = np.arange(len(labels)) if patients is None else patients
    frames = pd.DataFrame({"a": labels}), pd.DataFrame({"a": scores})
    table = calibration.measure(*frames, patients, **{"replicates": 0} | options)
    return table[table["class"] == "a"].set_index("metric")


def test_bins_have_equal_mass_and_equal_scores_are_together():
    assert calibration.bins(np.arange(20) / 20).tolist() == [number // 2 for number in range(20)]
    assert calibration.bins(np.array([0.9] * 4 + [0.1] * 16)).tolist() == [8] * 4 + [0] * 16
    shuffled = np.array([3, 0, 2, 1, 4]) / 5
    assert calibration.bins(shuffled).tolist() == [6, 0, 4, 2, 8]


def test_the_expected_calibration_error_by_hand():
    # Two bins that have images: 0.2 four times with one positive, 0.9 six times with three.
    labels = np.array([1, 0, 0, 0, 1, 1, 1, 0, 0, 0, -1])
    scores = np.array([0.2] * 4 + [0.9] * 6 + [0.5])
    found = values(labels, scores)
    assert found.loc["ece", "value"] == pytest.approx(0.4 * 0.05 + 0.6 * 0.4)
    assert found.loc["brier", "value"] == pytest.approx((0.64 + 3 * 0.04 + 3 * 0.01 + 3 * 0.81) / 10)


@pytest.mark.parametrize("seed", range(3))
def test_brier_slope_and_intercept_are_those_of_scikit_learn(seed):
    labels, scores, _ = problem(seed)
    found = values(labels, scores)["value"]
    assert found["brier"] == pytest.approx(brier_score_loss(labels, scores), abs=1e-9)
    model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(calibration.log_odds(scores)[:, None], labels)
    assert found["slope"] == pytest.approx(model.coef_[0, 0], abs=1e-5)
    # Its score equation: with the intercept, the probabilities add up to the number of positives.
    assert sigmoid(calibration.log_odds(scores) + found["intercept"]).sum() == pytest.approx(labels.sum(), abs=1e-6)
    platt = calibration.fit_scaling(labels, scores, "platt")
    assert platt == pytest.approx((model.coef_[0, 0], model.intercept_[0]), abs=1e-5)


def test_calibrated_probabilities_have_slope_1_and_intercept_0_and_what_was_distorted_is_scaled_back():
    labels, scores, _ = problem(1, images=40_000, slope=0.5, intercept=-0.3)
    assert calibration.fit_scaling(labels, scores, "platt") == pytest.approx((0.5, -0.3), abs=0.04)
    right = calibration.fit_scaling(labels, scores, "platt").apply(scores)
    found = values(labels, right)["value"]
    assert (found["slope"], found["intercept"]) == pytest.approx((1, 0), abs=1e-6)
    assert found["ece"] < 0.01 < values(labels, scores)["value"]["ece"]
    labels, scores, _ = problem(1, images=40_000, slope=0.5, intercept=0)
    assert calibration.fit_scaling(labels, scores, "temperature") == pytest.approx((0.5, 0), abs=0.03)


def test_intervals_are_those_of_copied_rows():
    labels, scores, patients = problem(3, images=200)
    found = values(labels, scores, patients, replicates=100, seed=4)
    identifiers = np.unique(patients)
    fixed = calibration.bins(scores)
    samples = []
    for sample in np.concatenate(list(bootstrap.resample(len(identifiers), 100, 4, images=200)), axis=1).T:
        rows = np.concatenate([np.repeat(np.flatnonzero(patients == p), n) for p, n in zip(identifiers, sample, strict=True)])
        y, p, of_bin = labels[rows], scores[rows], fixed[rows]
        error = sum(abs((p - y)[of_bin == number].sum()) for number in range(10)) / len(rows)
        samples.append((error, brier_score_loss(y, p)))
    for metric, sampled in zip(("ece", "brier"), np.transpose(samples), strict=True):
        assert found.loc[metric, ["low", "high"]].tolist() == pytest.approx(
            list(np.percentile(sampled, [2.5, 97.5])), abs=1e-12
        )


def test_one_step_of_each_sample_is_near_the_refitted_regression():
    labels, scores, patients = problem(5, images=2000)
    found = values(labels, scores, patients, replicates=100, seed=1)
    identifiers, of_row = np.unique(patients, return_inverse=True)
    slopes = []
    for sample in np.concatenate(list(bootstrap.resample(len(identifiers), 100, 1, images=2000)), axis=1).T:
        rows = np.repeat(np.arange(2000), sample[of_row])
        slopes.append(calibration.fit_scaling(labels[rows], scores[rows], "platt").slope)
    low, high = np.percentile(slopes, [2.5, 97.5])
    assert found.loc["slope", ["low", "high"]].tolist() == pytest.approx([low, high], abs=0.1 * (high - low))


def test_what_cannot_be_fitted_is_blank_and_stays_as_it_is():
    separated, scores = np.array([0, 0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.8, 0.9])
    for labels in (separated, np.zeros(5, int), np.array([0, -1, -1, -1, -1])):
        found = values(labels, scores, replicates=5)
        assert np.isnan(found.loc["slope", "value"])
        assert np.isfinite(found.loc["ece", "value"])
        scaling = calibration.fit_scaling(labels, scores, "platt")
        assert np.isnan(scaling).all()
        assert scaling.apply(scores).tolist() == scores.tolist()
    table = calibration.fit(pd.DataFrame({"a": separated}), pd.DataFrame({"a": scores}))
    assert table[["class", "kind", "images", "n_positive"]].to_numpy().tolist() == [
        ["a", kind, 5, 2] for kind in calibration.KINDS
    ]
    assert set(table["note"]) == {calibration.SEPARATED}
    assert calibration.scale(pd.DataFrame({"a": scores}), table, "platt")["a"].tolist() == scores.tolist()


def test_scaling_learns_from_validation_images_alone():
    labels, scores, _ = problem(7)
    validation = np.arange(400) < 200
    truth, values = pd.DataFrame({"a": labels}), pd.DataFrame({"a": scores})
    expected = calibration.fit_scaling(labels[:200], scores[:200], "platt")
    table = calibration.fit(truth[validation], values[validation])
    assert table.loc[table["kind"] == "platt", ["slope", "intercept"]].to_numpy()[0].tolist() == list(expected)
    np.testing.assert_allclose(calibration.scale(values, table, "platt")["a"], expected.apply(scores))


@pytest.mark.parametrize("kind", calibration.KINDS)
def test_scaling_never_reverses_the_order_of_the_images(kind):
    """Scores that rank worse than chance: the most likely slope is negative, so the smallest allowed one is taken."""
    labels, scores, _ = problem(2, images=500, slope=-0.8, intercept=-1)
    scaling = calibration.fit_scaling(labels, scores, kind)
    assert scaling.slope == calibration.SMALLEST_SLOPE
    scaled = scaling.apply(scores)
    assert (np.argsort(scaled, kind="stable") == np.argsort(scores, kind="stable")).all()
    if kind == "platt":
        assert scaled.mean() == pytest.approx(labels.mean(), abs=1e-6)  # the intercept is that of this slope
    perfect = calibration.fit_scaling(np.array([1, 1, 0, 0]), np.array([0.1, 0.2, 0.8, 0.9]), kind)
    assert perfect.slope == calibration.SMALLEST_SLOPE
    alike = calibration.fit_scaling(np.array([1, 0, 0, 0]), np.full(4, 0.7), "platt")
    assert alike.apply(np.array([0.7]))[0] == pytest.approx(0.25, abs=1e-6)
    table = calibration.fit(pd.DataFrame({"a": labels}), pd.DataFrame({"a": scores}))
    assert set(table["note"]) == {calibration.BOUNDED}


def test_bins_of_reliability_by_hand_and_their_intervals():
    labels = np.array([1, 0, 0, 0, 1, 1, 1, 0, 0, 0, -1])
    scores = np.array([0.2] * 4 + [0.9] * 6 + [0.5])
    found = calibration.reliability(labels, scores, np.arange(11), replicates=0)
    assert found[["images", "positives", "probability", "share"]].to_numpy().tolist() == pytest.approx(
        np.array([[4, 1, 0.2, 0.25], [6, 3, 0.9, 0.5]])
    )
    found = calibration.reliability(labels, scores, np.zeros(11), replicates=20)
    assert found["low"].tolist() == found["high"].tolist() == [0.25, 0.5]  # of one patient, every sample is the same
    assert calibration.reliability(np.full(3, -1), scores[:3], np.arange(3), replicates=2).empty
