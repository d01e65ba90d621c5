"""Average precision, predictive values and summaries against hand-computed cases, scikit-learn, and copied rows."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, balanced_accuracy_score, precision_score, roc_auc_score

from thorax.evaluation import bootstrap, confusion, metrics
from thorax.evaluation.ranking import Ranking

from .test_metrics import random_problem, score, value


def ranked(labels, scores, copies=None) -> tuple[float, float]:
    """AUC and average precision of images, each with a number of copies."""
    rows = np.arange(len(labels))
    copies = np.ones(len(rows)) if copies is None else copies
    ranking = Ranking(np.asarray(labels), np.asarray(scores, float), rows, len(rows))
    area, precision = ranking.measure(np.asarray(copies, np.int32)[:, None])
    return float(area[0]), float(precision[0])


def test_average_precision_by_hand():
    # From the top: 0.9 positive, precision 1/1; 0.8 negative; 0.7 positive, 2/3; 0.6 negative; 0.5 positive, 3/5.
    assert ranked([1, 0, 1, 0, 1], [0.9, 0.8, 0.7, 0.6, 0.5])[1] == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    # Tied images are taken together: at 0.7 three images, two of them positive.
    assert ranked([1, 1, 0, 0], [0.7, 0.7, 0.7, 0.1])[1] == pytest.approx(2 / 3)
    # An ignored image changes nothing, wherever it is.
    assert ranked([1, -1, 0, 1], [0.5, 0.9, 0.7, 0.8])[1] == pytest.approx((1 + 2 / 3) / 2)
    # The positive of 0.9 twice and the other one not at all.
    assert ranked([1, 0, 1], [0.9, 0.8, 0.7], copies=[2, 1, 0])[1] == 1
    assert ranked([1, 0, 1], [0.9, 0.8, 0.7], copies=[0, 2, 1])[1] == pytest.approx(1 / 3)


def test_average_precision_needs_positives_and_nothing_else():
    assert np.isnan(ranked([0, 0, -1], [0.1, 0.2, 0.3])).all()
    area, precision = ranked([1, 1], [0.1, 0.2])
    assert np.isnan(area)
    assert precision == average_precision_score([1, 1], [0.1, 0.2]) == 1
    assert np.isnan(ranked([1, 0], [0.1, 0.2], copies=[0, 3])).all()


@given(st.integers(0, 10_000), st.sampled_from([3, 20, 1000]))
@settings(max_examples=60, deadline=None)
def test_both_areas_are_those_of_scikit_learn_on_copied_rows(seed, levels):
    """With few levels nearly all images are tied, with many hardly any."""
    random = np.random.default_rng(seed)
    labels, scores = random.integers(0, 2, 60), random.integers(0, levels, 60) / levels
    labels[:2] = 0, 1
    copies = random.poisson(1, 60)
    copies[:2] += 1
    area, precision = ranked(labels, scores, copies)
    y, s = np.repeat(labels, copies), np.repeat(scores, copies)
    assert area == pytest.approx(roc_auc_score(y, s), abs=1e-12)
    assert precision == pytest.approx(average_precision_score(y, s), abs=1e-12)


def test_predictive_values_by_hand():
    # tp 1, fp 2, fn 1, tn 3: of the three alarms one is right, of the four others three.
    rows = score({"a": [1, 0, 0, 1, 0, 0, 0]}, {"a": [0.9, 0.8, 0.7, 0.1, 0.2, 0.3, 0.4]})
    assert value(rows, "a", "precision") == pytest.approx(1 / 3)
    assert value(rows, "a", "npv") == pytest.approx(3 / 4)


def test_negative_predictive_value_has_the_undefined_cases_of_precision():
    assert confusion.negative_predictive_value(np.array([2.0, 3, 0, 0])) == 0  # nothing is predicted negative
    assert np.isnan(confusion.negative_predictive_value(np.array([2.0, 0, 1, 0])))  # nothing is negative


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_the_metrics_of_decisions_are_those_of_scikit_learn(seed):
    labels, scores, patients = random_problem(seed)
    rows = score(dict(zip("abcd", labels.T, strict=True)), dict(zip("abcd", scores.T, strict=True)), patients)
    for column, name in enumerate("abcd"):
        truth, positive = labels[:, column], scores[:, column] > 0.5
        if 0 < truth.sum() < len(truth):
            expected = precision_score(truth, positive, pos_label=0, zero_division=0)
            assert value(rows, name, "npv") == pytest.approx(expected, abs=1e-12)
            expected = balanced_accuracy_score(truth, positive)
            assert value(rows, name, "auc_thresholded") == pytest.approx(expected, abs=1e-12)
            expected = average_precision_score(truth, scores[:, column])
            assert value(rows, name, "average_precision") == pytest.approx(expected, abs=1e-12)


def test_intervals_are_those_of_a_bootstrap_that_copies_rows():
    labels, scores, patients = random_problem(8, images=120, patients=40)
    options = {"replicates": 200, "seed": 2}
    rows = score(dict(zip("abcd", labels.T, strict=True)), dict(zip("abcd", scores.T, strict=True)), patients, **options)
    identifiers = np.unique(patients)
    weights = np.concatenate(list(bootstrap.resample(len(identifiers), 200, 2, images=120)), axis=1)
    areas, values = [], []
    for sample in weights.T:
        copied = np.concatenate([np.repeat(np.flatnonzero(patients == p), n) for p, n in zip(identifiers, sample, strict=True)])
        y, s = labels[copied], scores[copied]
        areas.append([average_precision_score(y[:, c], s[:, c]) if y[:, c].any() else np.nan for c in range(4)])
        values.append([precision_score(y[:, c], s[:, c] > 0.5, pos_label=0, zero_division=0) for c in range(4)])
    for metric, samples in (("average_precision", np.array(areas)), ("npv", np.array(values))):
        samples = np.column_stack([samples, np.nanmean(samples, axis=1)])
        for column, name in enumerate((*"abcd", "Global")):
            expected = np.nanpercentile(samples[:, column], [2.5, 97.5])
            assert [value(rows, name, metric, end) for end in ("low", "high")] == pytest.approx(list(expected), abs=1e-12)


def test_the_samples_do_not_depend_on_the_number_of_images():
    """More images only make the blocks smaller."""
    few = np.concatenate(list(bootstrap.resample(7, 30, 4, images=10)), axis=1)
    blocks = list(bootstrap.resample(7, 30, 4, images=1_000_000))
    assert [block.shape for block in blocks] == [(7, 4)] * 7 + [(7, 2)]
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), few)
    assert (few.sum(axis=0) == 7).all()


def test_summaries_are_means_over_their_classes_or_counts_of_all_their_entries():
    labels = {"a": [1, 1, 0, 0], "b": [1, 0, 0, 0], "c": [0, 0, 0, 0]}
    scores = {"a": [0.9, 0.2, 0.3, 0.1], "b": [0.6, 0.7, 0.1, 0.2], "c": [0.1, 0.9, 0.1, 0.1]}
    rows = score(labels, scores, summaries={"Head": ["a", "b"], "Tail": ["c"]}, replicates=10)
    assert value(rows, "Head", "auc") == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert value(rows, "Head", "hamming") == 2 / 8
    assert value(rows, "Head", "accuracy") == 6 / 8
    assert value(rows, "Head", "f1_positive") == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert value(rows, "Head", "auc", "n_positive") == 3
    assert np.isnan(value(rows, "Tail", "auc"))
    assert (value(rows, "Tail", "hamming"), value(rows, "Tail", "specificity")) == (1 / 4, 3 / 4)
    plain = score(labels, scores, replicates=10)
    kept = rows[~rows["class"].isin(("Head", "Tail"))].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, plain, check_exact=True)


def test_the_same_labels_and_samples_have_the_same_design():
    labels, scores, patients = random_problem(1, images=50, classes=2)
    frames = [pd.DataFrame(values, columns=["a", "b"]) for values in (labels, scores, 1 - scores, labels[::-1])]
    how = {"model": "m", "split": "test", "replicates": 3}
    first = metrics.measure(frames[0], frames[1], patients, **how).design
    assert metrics.measure(frames[0], frames[2], patients, **how).design == first
    assert metrics.measure(frames[3], frames[1], patients, **how).design != first
    assert metrics.measure(frames[0], frames[1], patients, **how, seed=1).design != first
    assert metrics.measure(frames[0], frames[1], np.arange(50), **how).design != first
