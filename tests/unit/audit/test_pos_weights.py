"""Weights of the positives that published scores allow: hand-computed cases, and the paper's own numbers."""

import numpy as np
import pandas as pd
import pytest

from thorax.audit import pos_weights
from thorax.config import Training
from thorax.evaluation import confusion

AREA = 0.7602499389065233  # of d = 1: Phi(1 / sqrt 2)


def test_operating_points_by_hand():
    """d = 1; prevalence 1/2 needs a ratio of 1, so the limit is d / 2; Phi(0.5) = 0.6915."""
    half = pos_weights.operating_points(np.array([0.5]), np.array([AREA]), 0.0)
    np.testing.assert_allclose(half, [[0.69146, 0.30854]], atol=1e-5)
    # prevalence 0.1, exponent 1: the weight cancels the prevalence, so the limit is d / 2 again
    np.testing.assert_allclose(pos_weights.operating_points(np.array([0.1]), np.array([AREA]), 1.0), half, atol=1e-9)
    # no weights: the limit is 1/2 + log 9 = 2.69722; 1 - Phi(1.69722) = 0.04483, 1 - Phi(2.69722) = 0.00350
    found = pos_weights.operating_points(np.array([0.1]), np.array([AREA]), 0.0)
    np.testing.assert_allclose(found, [[0.04483, 0.00350]], atol=1e-5)
    # the square root of 9 is 3: the limit is 1/2 + log 3 = 1.59861
    found = pos_weights.operating_points(np.array([0.1]), np.array([AREA]), 0.5)
    np.testing.assert_allclose(found, [[0.27472, 0.05496]], atol=1e-5)


def test_a_network_that_knows_nothing_says_no_to_a_rare_class_and_yes_to_a_frequent_one():
    found = pos_weights.operating_points(np.array([0.1, 0.9]), np.array([0.5, 0.4]), 0.0)
    np.testing.assert_array_equal(found, [[0, 0], [1, 1]])


def test_scores_by_hand():
    """Of ten images two have the class; one of them is found, and two others are a yes: F1 2/5 and 12/15, three of ten wrong."""
    f1, hamming = pos_weights.scores(np.array([0.2]), np.array([[0.5, 0.25]]))
    assert f1 == pytest.approx([(2 / 5 + 12 / 15) / 2])
    assert hamming == pytest.approx(0.3)


def test_votes_give_back_the_weights_that_made_them():
    prevalence, area, exponent = np.array([0.3, 0.1, 0.02, 0.05]), np.array([0.9, 0.8, 0.75, 0.5]), 0.6
    rates = pos_weights.operating_points(prevalence, area, exponent)
    f1, _ = pos_weights.scores(prevalence, rates)
    counts = pos_weights._counts(prevalence, *rates.T)
    weights = pos_weights.implied_weights(prevalence, confusion.decision_auc(counts), f1)
    ratios = (1 - prevalence) / prevalence
    np.testing.assert_allclose(weights[:3], ratios[:3] ** exponent, rtol=0.02)
    assert np.isnan(weights[3])
    assert pos_weights.slope(prevalence, weights) == pytest.approx(exponent, abs=0.01)


def test_the_published_scores_need_weights_between_the_root_and_the_ratio(tmp_path):
    """No cap and the whole ratio give DenseNet201 an F1 of 0.52 and a Hamming loss of 0.25; the paper has 0.642 and 0.082."""
    values, weights, slope = pos_weights.compare()
    shown = values.set_index(["model", "source", "exponent"]).loc["DenseNet201"].round(3)
    assert shown.loc[pos_weights.PUBLISHED].values.tolist() == [[0.642, 0.082]]
    assert shown.loc[(pos_weights.MODEL, 1.0)].tolist() == [0.523, 0.251]
    assert shown.loc[(pos_weights.MODEL, 0.5)].tolist() == [0.625, 0.050]
    found = values[values["source"] == pos_weights.NEAREST].set_index("model")["exponent"]
    assert found.between(0.63, 0.67).all()
    default = Training(backbone="cnn").pos_weight_exponent
    assert found.min() <= default <= found.max()
    assert (len(weights), round(weights.min(), 1), round(weights.max())) == (30, 0.8, 29)
    assert slope == pytest.approx(0.70, abs=0.005)
    pos_weights.make_weight_audit(tmp_path)
    assert pd.read_csv(tmp_path / "liz2022-specific.csv").columns.tolist() == list(pos_weights.VALUE_COLUMNS)
    assert "| DenseNet201 | 0.642 | 0.082 |" in (tmp_path / "liz2022-specific.md").read_text()


def test_prevalences_are_those_of_all_images_or_of_the_test_part():
    shares = pos_weights.prevalences()
    assert len(shares) == 35
    assert shares["normal"] == pytest.approx(34_327 / 85_367)
    assert shares["supra aortic elongation"] == pytest.approx(200 / 17_082)
