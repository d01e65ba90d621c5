"""Metrics against hand-computed cases, scikit-learn, and a plain bootstrap that copies rows."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, hamming_loss, log_loss, precision_score, recall_score, roc_auc_score

from thorax.errors import ThoraxError
from thorax.evaluation import bootstrap, confusion, decisions, metrics
from thorax.storage import schemas, store

from .one_class import f1

BY_CLASS = (
    "auc", "average_precision", "loss", "accuracy", "f1", "f1_positive", "precision", "npv", "sensitivity", "specificity",
    "auc_thresholded",
)  # fmt: skip


def score(labels: dict, scores: dict, patients=None, **options) -> pd.DataFrame:
    rows = len(next(iter(labels.values())))
    patients = range(rows) if patients is None else patients
    options = {"model": "m", "split": "test", "replicates": 0} | options
    return metrics.evaluate(pd.DataFrame(labels), pd.DataFrame(scores), patients, **options)


def value(rows: pd.DataFrame, name: str, metric: str, column: str = "value", rule: str = "fixed-0.5") -> float:
    by = rows["threshold_rule"].isin((rule, "none"))
    chosen = rows[(rows["class"] == name) & (rows["metric"] == metric) & by]
    assert len(chosen) == 1
    return chosen[column].iloc[0]


def random_problem(seed: int, images: int = 200, classes: int = 4, patients: int = 80):
    random = np.random.default_rng(seed)
    labels = (random.random((images, classes)) < [0.4, 0.1, 0.05, 0.5][:classes]).astype(int)
    scores = np.clip(np.round(0.3 * labels + 0.8 * random.random((images, classes)), 2), 0, 1)  # rounded: with ties
    return labels, scores, random.integers(0, patients, images)


def test_auc_by_hand():
    # Pairs (positive, negative): 0.8 beats 0.1 and 0.5; 0.5 beats 0.1 and ties 0.5: 3.5 of 4.
    assert metrics.auc(np.array([0, 0, 1, 1]), np.array([0.1, 0.5, 0.5, 0.8])) == 0.875
    # The ignored image would have changed that.
    assert metrics.auc(np.array([0, 0, 1, 1, -1]), np.array([0.1, 0.5, 0.5, 0.8, 0.9])) == 0.875
    assert np.isnan(metrics.auc(np.array([0, 0, -1]), np.array([0.1, 0.2, 0.3])))


def test_auc_of_votes_is_the_mean_of_sensitivity_and_specificity():
    labels, votes = np.array([1, 1, 1, 0, 0, 0, 0, 0]), np.array([1, 1, 0, 1, 0, 0, 0, 0])
    assert metrics.auc(labels, votes) == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_f1_by_hand():
    # Positive class: tp 1, fp 1, fn 1: 0.5. Negative class: tp 2, fp 1, fn 1: 2/3.
    labels, positive = np.array([1, 1, 0, 0, 0]), np.array([1, 0, 1, 0, 0], bool)
    assert f1(labels, positive) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_f1_is_over_the_classes_that_occur():
    nothing, one = np.zeros(3, int), np.array([1, 1, 1])
    assert f1(nothing, nothing.astype(bool)) == f1_score(nothing, nothing, average="macro") == 1
    assert f1(one, one.astype(bool)) == 1
    assert f1(nothing, one.astype(bool)) == 0
    assert np.isnan(f1(-one, one.astype(bool)))


@pytest.mark.parametrize(("positives", "printed"), [(34_327, 0.374), (13_419, 0.457)])
def test_f1_of_the_silent_classifier_is_the_papers(positives, printed):
    """Tables 4 and 6 of Liz et al. 2022: Normal and COPD signs of 85,367 images, nothing predicted."""
    labels = np.zeros(85_367, int)
    labels[:positives] = 1
    assert round(f1(labels, np.zeros(len(labels), bool)), 3) == printed


NIH_TEST_IMAGES = 25_596  # of NIH's official test list, with its counts of images by finding
NIH_TEST_POSITIVES = (3279, 1069, 1815, 925, 4658, 1093, 435, 86, 6112, 1748, 1623, 1143, 555, 2665)


def test_both_kinds_of_f1_of_always_saying_yes_on_nihs_test_list():
    """By Dunn Beltran and Alsaghier's F1 always saying yes is worth 0.1349, by that of Liz et al. half of it."""
    labels = np.zeros((NIH_TEST_IMAGES, len(NIH_TEST_POSITIVES)), int)
    for column, positives in enumerate(NIH_TEST_POSITIVES):
        labels[:positives, column] = 1
    frame = pd.DataFrame(labels).add_prefix("c")
    rows = metrics.evaluate(frame, frame * 0 + 0.9, range(len(frame)), model="m", split="test", replicates=0)
    assert value(rows, "Global", "f1_positive") == pytest.approx(0.1349, abs=5e-5)
    assert value(rows, "Global", "f1") == pytest.approx(0.0675, abs=1e-4)
    assert value(rows, "Global", "f1") == pytest.approx(value(rows, "Global", "f1_positive") / 2)
    assert (value(rows, "Global", "sensitivity"), value(rows, "Global", "specificity")) == (1, 0)


def test_precision_sensitivity_specificity_and_f1_of_the_positive_side_by_hand():
    # tp 2, fp 1, fn 1, tn 3: precision 2/3, sensitivity 2/3, specificity 3/4.
    rows = score({"a": [1, 1, 1, 0, 0, 0, 0, -1]}, {"a": [0.9, 0.8, 0.1, 0.7, 0.2, 0.1, 0.3, 0.9]})
    found = [value(rows, "a", metric) for metric in ("precision", "sensitivity", "specificity", "f1_positive")]
    assert found == pytest.approx([2 / 3, 2 / 3, 3 / 4, 2 / 3])


def test_a_class_without_positives_has_no_f1_of_the_positive_side_whatever_is_predicted():
    """So all models are averaged over the same classes; one without negatives has no specificity."""
    labels = {"a": [1, 0, 0, 0], "none": [0, 0, 0, 0], "all": [1, 1, 1, 1]}
    silent = score(labels, {name: [0.1] * 4 for name in labels}, replicates=20)
    loud = score(labels, {name: [0.9] * 4 for name in labels}, replicates=20)
    for rows, found in ((silent, [0, 0, 0]), (loud, [1, (1 / 4 + 1) / 2, (2 / 5 + 1) / 2])):
        assert [value(rows, "Global", metric) for metric in ("sensitivity", "precision", "f1_positive")] == pytest.approx(found)
        for metric in ("sensitivity", "precision", "f1_positive"):
            assert np.isnan([value(rows, "none", metric, column) for column in ("value", "low", "high")]).all()
        assert np.isnan(value(rows, "all", "specificity"))
    assert (value(silent, "Global", "specificity"), value(loud, "Global", "specificity")) == (1, 0)


def test_samples_that_lack_a_class_do_not_count_for_its_interval():
    """One patient has the only positive: the intervals are those of the samples with this patient."""
    rows = score({"a": [1, 0, 0]}, {"a": [0.9, 0.8, 0.1]}, replicates=200, seed=3)
    weights = np.concatenate(list(bootstrap.resample(3, 200, 3, images=3)), axis=1).T
    drawn = weights[(weights[:, 0] > 0)].astype(float)
    assert 0 < len(drawn) < 200
    expected = np.percentile(2 * drawn[:, 0] / (2 * drawn[:, 0] + drawn[:, 1]), [2.5, 97.5])
    for name in ("a", "Global"):
        assert [value(rows, name, "f1_positive", column) for column in ("low", "high")] == pytest.approx(list(expected))


def test_one_image_and_one_class_are_measured_and_no_image_is_refused():
    rows = score({"a": [1]}, {"a": [0.9]}, replicates=20)
    assert np.isnan([value(rows, name, "auc") for name in ("a", "Global")]).all()
    assert [value(rows, "a", "f1_positive", column) for column in ("value", "low", "high")] == [1, 1, 1]
    assert value(rows, "Global", "hamming") == 0
    with pytest.raises(ThoraxError, match="There is no test image to measure 'm' on: give this part of the split a share"):
        score({"a": []}, {"a": []})


@pytest.mark.parametrize("name", ["ok", "row", "shard", "model", "class", "metric", "value", "Global", "global"])
def test_any_name_of_a_class_has_rows_of_its_own(name):
    rows = score({name: [1, 0, 0, 1], "b": [0, 1, 0, 0]}, {name: [0.9, 0.1, 0.2, 0.4], "b": [0.9, 0.1, 0.8, 0.7]})
    assert not rows.duplicated(["class", "metric", "threshold_rule"]).any()
    assert value(rows, metrics.row_name(name), "auc") == 1
    assert value(rows, "Global", "auc") == 0.5


def test_threshold_is_exceeded_not_met():
    rows = score({"a": [1, 0]}, {"a": [0.5, 0.5]})
    assert value(rows, "Global", "hamming") == 0.5
    assert set(rows["threshold_rule"]) == {"none", "fixed-0.5"}
    lower = score({"a": [1, 0]}, {"a": [0.5, 0.2]}, thresholds={"fixed-0.4": 0.4})
    assert value(lower, "Global", "hamming", rule="fixed-0.4") == 0


def test_global_rows_are_means_and_an_undefined_auc_is_left_out():
    rows = score({"a": [1, 1, 0, 0], "b": [0, 0, 0, 0]}, {"a": [0.9, 0.2, 0.3, 0.1], "b": [0.1, 0.9, 0.1, 0.1]})
    assert value(rows, "a", "auc") == 0.75
    assert np.isnan(value(rows, "b", "auc"))
    assert value(rows, "Global", "auc") == 0.75
    assert value(rows, "b", "f1") == pytest.approx((6 / 7 + 0) / 2)
    assert value(rows, "Global", "f1") == pytest.approx((value(rows, "a", "f1") + value(rows, "b", "f1")) / 2)
    assert value(rows, "Global", "hamming") == 2 / 8
    assert value(rows, "Global", "accuracy") == 6 / 8
    counts = rows.groupby("metric", sort=False)["n_positive"].agg(list).to_dict()
    assert counts.pop("hamming") == [2]
    assert counts == {metric: [2, 0, 2] for metric in BY_CLASS}


def test_ignored_entries_leave_every_metric():
    rows = score({"a": [1, 0, -1], "b": [-1, 1, 0]}, {"a": [0.9, 0.1, 0.9], "b": [0.9, 0.9, 0.1]})
    assert value(rows, "Global", "hamming") == 0
    assert value(rows, "Global", "f1") == 1
    assert value(rows, "Global", "auc") == 1
    assert value(rows, "Global", "accuracy") == 1
    assert value(rows, "Global", "auc_thresholded") == 1
    assert value(rows, "Global", "loss") == pytest.approx(-np.log(0.9), abs=1e-6)


def test_accuracy_loss_and_auc_of_decisions_by_hand():
    # a: tp 1, fn 1, fp 1, tn 2. b: tp 1, fn 0, fp 1, tn 2 of four labelled.
    rows = score(
        {"a": [1, 1, 0, 0, 0], "b": [1, 0, 0, 0, -1]},
        {"a": [0.8, 0.5, 0.75, 0.25, 0.5], "b": [0.75, 0.75, 0.5, 0.5, 0.9]},
    )
    assert value(rows, "a", "accuracy") == 3 / 5
    assert value(rows, "b", "accuracy") == 3 / 4
    assert value(rows, "Global", "accuracy") == 6 / 9  # of the nine labelled entries, not the mean of the two classes
    assert value(rows, "Global", "hamming") == pytest.approx(3 / 9)
    assert value(rows, "a", "auc_thresholded") == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert value(rows, "b", "auc_thresholded") == pytest.approx((1 + 2 / 3) / 2)
    assert value(rows, "Global", "auc_thresholded") == pytest.approx((7 / 12 + 5 / 6) / 2)
    of_b = -np.log(0.75) - np.log(0.25) - 2 * np.log(0.5)
    assert value(rows, "b", "loss") == pytest.approx(of_b / 4, abs=1e-6)
    of_a = -np.log(0.8) - np.log(0.5) - np.log(0.25) - np.log(0.75) - np.log(0.5)
    assert value(rows, "Global", "loss") == pytest.approx((of_a + of_b) / 9, abs=1e-6)


def test_votes_have_no_loss_and_a_certain_mistake_has_a_finite_one():
    votes = score({"a": [1, 0], "b": [0, 1]}, {"a": [1.0, 0.0], "b": [1.0, 1.0]})
    assert votes.loc[votes["metric"] == "loss", "value"].isna().all()
    assert value(votes, "Global", "accuracy") == 3 / 4
    certain = score({"a": [1, 0]}, {"a": [0.0, 0.5]})
    assert value(certain, "a", "loss") == pytest.approx((-np.log(1e-7) - np.log(0.5)) / 2, abs=1e-6)


def test_undefined_auc_of_decisions_is_left_out():
    rows = score({"a": [1, 0], "b": [0, 0]}, {"a": [0.9, 0.8], "b": [0.1, 0.9]})
    assert np.isnan(value(rows, "b", "auc_thresholded"))
    assert value(rows, "Global", "auc_thresholded") == 0.5
    assert value(rows, "b", "accuracy") == 0.5


def test_every_rule_is_evaluated_as_it_would_be_alone():
    labels, scores, patients = random_problem(4)
    truth, values = (dict(zip("abcd", matrix.T, strict=True)) for matrix in (labels, scores))
    tuned = np.array([0.3, 0.6, 0.7, 0.5])
    options = {"replicates": 50, "exclusive": "d"}
    rules = {"fixed-0.5": 0.5, "fixed-0.4": 0.4, "f1": tuned}
    rows = score(truth, values, patients, thresholds=rules, **options)
    assert set(rows["threshold_rule"]) == {"none", *rules, *(f"{rule}+exclusive" for rule in rules)}
    for rule, limits in rules.items():
        alone = score(truth, values, patients, thresholds={rule: limits}, **options)
        chosen = rows[rows["threshold_rule"].isin(("none", rule, f"{rule}+exclusive"))].reset_index(drop=True)
        pd.testing.assert_frame_equal(chosen, alone, check_exact=True)
        positive = decisions.decide(scores, limits, exclusive=3)
        excluding = f"{rule}+exclusive"
        assert value(rows, "Global", "hamming", rule=excluding) == pytest.approx(hamming_loss(labels, positive), abs=1e-12)
        expected = f1_score(labels[:, 3], positive[:, 3], average="macro")
        assert value(rows, "d", "f1", rule=excluding) == pytest.approx(expected, abs=1e-12)
    assert (value(rows, "d", "f1", rule="f1"), value(rows, "a", "f1", rule="f1")) == pytest.approx(
        (
            f1_score(labels[:, 3], scores[:, 3] > 0.5, average="macro"),
            f1_score(labels[:, 0], scores[:, 0] > 0.3, average="macro"),
        )
    )
    assert not np.isclose(value(rows, "Global", "hamming"), value(rows, "Global", "hamming", rule="fixed-0.5+exclusive"))


def test_scores_from_counts_have_the_undefined_cases():
    nothing, no_positive = np.zeros(4), np.array([0, 1, 0, 3])
    for measure in (confusion.macro_f1, confusion.accuracy, confusion.youden, confusion.decision_auc):
        assert np.isnan(measure(nothing))
    assert confusion.accuracy(no_positive) == 3 / 4
    assert np.isnan(confusion.youden(no_positive))
    assert confusion.youden(np.array([3, 1, 1, 4])) == pytest.approx(3 / 4 + 4 / 5 - 1)


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_equals_scikit_learn(seed):
    labels, scores, patients = random_problem(seed)
    rows = score(dict(zip("abcd", labels.T, strict=True)), dict(zip("abcd", scores.T, strict=True)), patients)
    for column, name in enumerate("abcd"):
        if 0 < labels[:, column].sum() < len(labels):
            assert value(rows, name, "auc") == pytest.approx(roc_auc_score(labels[:, column], scores[:, column]), abs=1e-12)
        expected = f1_score(labels[:, column], scores[:, column] > 0.5, average="macro")
        assert value(rows, name, "f1") == pytest.approx(expected, abs=1e-12)
        if labels[:, column].any():
            truth, positive = labels[:, column], scores[:, column] > 0.5
            for metric, measure in (("f1_positive", f1_score), ("precision", precision_score), ("sensitivity", recall_score)):
                assert value(rows, name, metric) == pytest.approx(measure(truth, positive, zero_division=0), abs=1e-12)
            assert value(rows, name, "specificity") == pytest.approx(recall_score(1 - truth, ~positive), abs=1e-12)
        right = accuracy_score(labels[:, column], scores[:, column] > 0.5)
        assert value(rows, name, "accuracy") == pytest.approx(right, abs=1e-12)
        if 0 < labels[:, column].sum() < len(labels):
            area = roc_auc_score(labels[:, column], scores[:, column] > 0.5)
            assert value(rows, name, "auc_thresholded") == pytest.approx(area, abs=1e-12)
        clipped = np.clip(scores[:, column], 1e-7, 1 - 1e-7)
        assert value(rows, name, "loss") == pytest.approx(log_loss(labels[:, column], clipped, labels=[0, 1]), abs=1e-6)
    assert value(rows, "Global", "hamming") == pytest.approx(hamming_loss(labels, scores > 0.5), abs=1e-12)


def test_intervals_equal_those_of_a_bootstrap_that_copies_rows(monkeypatch):
    monkeypatch.setattr(bootstrap, "_REPLICATES_AT_ONCE", 16)
    labels, scores, patients = random_problem(1, patients=60)
    options = {"replicates": 40, "seed": 5}
    rows = score(dict(zip("abcd", labels.T, strict=True)), dict(zip("abcd", scores.T, strict=True)), patients, **options)
    identifiers = np.unique(patients)
    weights = np.concatenate(list(bootstrap.resample(len(identifiers), 40, 5, images=200)), axis=1).T
    areas, f1s, of_positives, losses, entropies, of_decisions = [], [], [], [], [], []
    for sample in weights:
        assert sample.sum() == len(identifiers)
        copied = np.concatenate([np.repeat(np.flatnonzero(patients == p), n) for p, n in zip(identifiers, sample, strict=True)])
        y, s = labels[copied], scores[copied]
        areas.append(
            [roc_auc_score(y[:, c], s[:, c]) if 0 < y[:, c].sum() < len(y) else np.nan for c in range(labels.shape[1])]
        )
        f1s.append([f1_score(y[:, c], s[:, c] > 0.5, average="macro") for c in range(labels.shape[1])])
        of_positives.append([f1_score(y[:, c], s[:, c] > 0.5) if y[:, c].any() else np.nan for c in range(labels.shape[1])])
        losses.append(hamming_loss(y, s > 0.5))
        entropies.append(log_loss(y.ravel(), np.clip(s.ravel(), 1e-7, 1 - 1e-7), labels=[0, 1]))
        of_decisions.append(roc_auc_score(y[:, 0], s[:, 0] > 0.5))
    for column, name in enumerate("abcd"):
        for metric, samples in (("auc", areas), ("f1", f1s), ("f1_positive", of_positives)):
            expected = np.nanpercentile(np.array(samples)[:, column], [2.5, 97.5])
            assert [value(rows, name, metric, "low"), value(rows, name, metric, "high")] == pytest.approx(list(expected))
    expected = np.percentile(of_decisions, [2.5, 97.5])
    assert [value(rows, "a", "auc_thresholded", "low"), value(rows, "a", "auc_thresholded", "high")] == pytest.approx(expected)
    expected = np.percentile(entropies, [2.5, 97.5])
    assert [value(rows, "Global", "loss", "low"), value(rows, "Global", "loss", "high")] == pytest.approx(expected, abs=1e-6)
    for metric, samples in (("auc", np.nanmean(areas, axis=1)), ("f1", np.mean(f1s, axis=1)), ("hamming", losses)):
        expected = np.percentile(samples, [2.5, 97.5])
        assert [value(rows, "Global", metric, "low"), value(rows, "Global", metric, "high")] == pytest.approx(list(expected))


def test_patients_not_images_are_resampled():
    """Copies of an image that belong to one patient carry no information: they must not narrow the interval."""
    labels, scores, _ = random_problem(2, images=60, classes=1)
    once = score({"a": labels[:, 0]}, {"a": scores[:, 0]}, np.arange(60), replicates=500)
    tenfold = score(
        {"a": np.repeat(labels[:, 0], 10)}, {"a": np.repeat(scores[:, 0], 10)}, np.repeat(np.arange(60), 10), replicates=500
    )
    for column in ("value", "low", "high"):
        assert value(tenfold, "a", "auc", column) == pytest.approx(value(once, "a", "auc", column))


def test_many_replicates_in_blocks_and_any_row_order_give_the_same_rows():
    labels, scores, patients = random_problem(3)
    frame, values = pd.DataFrame(labels).add_prefix("c"), pd.DataFrame(scores).add_prefix("c")
    options = {"model": "m", "split": "val", "replicates": 600, "seed": 1}
    expected = metrics.evaluate(frame, values, patients, **options)
    order = np.random.default_rng(0).permutation(len(frame))
    pd.testing.assert_frame_equal(metrics.evaluate(frame.iloc[order], values.iloc[order], patients[order], **options), expected)
    assert not metrics.evaluate(frame, values, patients, **(options | {"seed": 2})).equals(expected)


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(ThoraxError, match="'m' for 'b' are not all numbers"):
        score({"a": [1, 0], "b": [0, 1]}, {"a": [0.1, 0.2], "b": [np.nan, 0.2]})
    with pytest.raises(ThoraxError, match="other classes or images"):
        score({"a": [1, 0]}, {"b": [0.1, 0.2]})


def test_sigmoid_is_exact_at_the_ends():
    np.testing.assert_allclose(metrics.sigmoid(np.array([-800.0, 0.0, np.log(3), 800.0])), [0, 0.5, 0.75, 1], atol=1e-300)
    assert metrics.sigmoid(np.float32([2.0])).dtype == np.float64


@pytest.fixture
def experiment(tmp_path):
    """Tables of a small experiment on disk; the tables of scores are in other row orders than the labels."""
    random = np.random.default_rng(0)
    identifiers = [f"i{number:03d}" for number in range(120)]
    labels = pd.DataFrame({"image_id": identifiers, "patient_id": [f"p{n // 2:02d}" for n in range(120)]})
    labels[["a", "b"]] = random.integers(0, 2, (120, 2))
    labels.loc[7, "a"] = -1
    split = labels[["image_id", "patient_id"]].assign(split=np.repeat(["train", "val", "test"], [60, 20, 40]))
    logits = split.loc[60:, ["image_id", "split"]].copy()
    logits[["a", "b"]] = random.normal(size=(60, 2))
    votes = logits.copy()
    votes[["a", "b"]] = (logits[["a", "b"]] > 0).astype(int)
    store.write_table(labels, tmp_path / "labels.parquet", schemas.labels_schema(["a", "b"]))
    store.write_table(split, tmp_path / "split.parquet", schemas.SPLITS)
    store.write_table(logits.sample(frac=1, random_state=1), tmp_path / "net.parquet", schemas.scores_schema(["b", "a"]))
    store.write_table(votes, tmp_path / "vote.parquet", schemas.scores_schema(["a", "b"]))
    return tmp_path, labels.merge(logits, on="image_id", suffixes=("", "_logit")).merge(split, on=["image_id", "split"])


def run(folder, **tables):
    tables.setdefault("rules", ["fixed-0.5"])
    options = {"predictions": {"net": folder / "net.parquet"}, "ensembles": {"vote": folder / "vote.parquet"}} | tables
    metrics.make_metrics(
        folder / "labels.parquet",
        folder / "split.parquet",
        **options,
        out=folder / "metrics.parquet",
        summary=folder / "summary",
        thresholds=folder / "thresholds.parquet",
        seed=0,
        replicates=20,
    )
    return store.read_table(folder / "metrics.parquet")


def test_make_metrics_scores_val_and_test_of_members_and_ensembles(experiment):
    folder, joined = experiment
    rows = run(folder)
    assert list(rows.columns) == schemas.METRICS.names
    assert len(rows) == 2 * 2 * (len(BY_CLASS) * 3 + 1)
    for part, images in joined.groupby("split"):
        of_part = rows[rows["split"] == part]
        net, vote = (of_part[of_part["model"] == model] for model in ("net", "vote"))
        expected = roc_auc_score(images["a"], images["a_logit"])
        assert value(net, "a", "auc") == pytest.approx(expected, abs=1e-12)
        assert value(vote, "a", "auc") == pytest.approx(roc_auc_score(images["a"], images["a_logit"] > 0), abs=1e-12)
        assert value(net, "b", "f1") == value(vote, "b", "f1")
        assert value(net, "b", "auc", "low") < value(net, "b", "auc") < value(net, "b", "auc", "high")


def test_make_metrics_is_byte_stable_and_sees_a_changed_logit(experiment):
    folder, _ = experiment
    before = run(folder)
    written = (folder / "metrics.parquet").read_bytes()
    run(folder)
    assert (folder / "metrics.parquet").read_bytes() == written
    net = store.read_table(folder / "net.parquet")
    wrong = net.assign(b=net["b"].where(net.index != 0, -net["b"]))
    store.write_table(wrong, folder / "net.parquet", schemas.scores_schema(["a", "b"]))
    after = run(folder)
    changed = before["value"].fillna(-1).ne(after["value"].fillna(-1))
    assert set(before[changed]["class"]) == {"b", "Global"}
    assert set(before[changed]["model"]) == {"net"}


def test_tables_that_do_not_fit_are_refused(experiment):
    folder, _ = experiment
    net = store.read_table(folder / "net.parquet")
    store.write_table(net.iloc[1:], folder / "few.parquet", schemas.scores_schema(["a", "b"]))
    store.write_table(net.rename(columns={"b": "c"}), folder / "other.parquet", schemas.scores_schema(["a", "c"]))
    with pytest.raises(ThoraxError, match=r"few.parquet has no row for image"):
        run(folder, predictions={"net": folder / "few.parquet"})
    with pytest.raises(ThoraxError, match=r"other.parquet and .*labels.parquet do not have the same classes \('b'"):
        run(folder, ensembles={"vote": folder / "other.parquet"})
    net.drop(columns="image_id").to_parquet(folder / "nameless.parquet", index=False)
    with pytest.raises(ThoraxError, match=r"nameless.parquet lacks the column image_id:"):
        run(folder, predictions={"net": folder / "nameless.parquet"})
    split = store.read_table(folder / "split.parquet")
    store.write_table(split.iloc[:-1], folder / "split.parquet", schemas.SPLITS)
    with pytest.raises(ThoraxError, match=r"split.parquet has no row for image 'i119'"):
        run(folder)


def test_thresholds_come_from_validation_only_and_reach_the_metrics(experiment):
    folder, joined = experiment
    rules = ["fixed-0.4", "f1", "f1_positive", "youden"]
    rows = run(folder, rules=rules, exclusive="b")
    table = store.read_table(folder / "thresholds.parquet")
    assert list(table.columns) == schemas.THRESHOLDS.names
    assert table["model"].tolist() == [model for model in ("net", "vote") for _ in rules[1:] for _ in "ab"]
    assert table.loc[table["model"] == "net", "rule"].tolist() == [rule for rule in rules[1:] for _ in "ab"]
    val = joined[joined["split"] == "val"]
    probability = metrics.sigmoid(val["a_logit"].astype(np.float32).to_numpy())
    of_a = table[(table["model"] == "net") & (table["class"] == "a")].set_index("rule")
    for rule in rules[1:]:
        row = of_a.loc[rule, ["value", "n_positive", "defined"]]
        assert tuple(row) == decisions.tune(val["a"].to_numpy(), probability, rule)
    assert (table.loc[table["model"] == "vote", "value"] == 0.5).all()

    images = joined[joined["split"] == "test"]
    images = images[images["a"] >= 0]
    of_test = rows[(rows["split"] == "test") & (rows["model"] == "net")]
    expected = f1_score(images["a"], metrics.sigmoid(images["a_logit"]) > of_a.loc["f1", "value"], average="macro")
    assert value(of_test, "a", "f1", rule="f1") == pytest.approx(expected, abs=1e-12)
    on_val = rows[(rows["split"] == "val") & (rows["model"] == "net")]
    assert value(on_val, "a", "f1", rule="f1") >= value(on_val, "a", "f1", rule="fixed-0.4")
    assert sorted(path.name for path in (folder / "summary").iterdir()) == ["net.json", "vote.json"]
    summary = json.loads((folder / "summary/net.json").read_text())
    assert summary["f1"] == value(of_test, "Global", "f1", rule="fixed-0.4")
    assert tuple(summary) == metrics.SUMMARIZED

    written = (folder / "thresholds.parquet").read_bytes()
    net = store.read_table(folder / "net.parquet")
    test = net["split"] == "test"
    store.write_table(net.assign(a=net["a"].where(~test, -net["a"])), folder / "net.parquet", schemas.scores_schema(["a", "b"]))
    run(folder, rules=rules, exclusive="b")
    assert (folder / "thresholds.parquet").read_bytes() == written


def test_fixed_thresholds_are_not_tuned(experiment):
    folder, _ = experiment
    run(folder, rules=["fixed-0.4", "fixed-0.5"])
    assert store.read_table(folder / "thresholds.parquet").empty


def test_metrics_of_nothing_are_refused(experiment):
    folder, _ = experiment
    with pytest.raises(ThoraxError, match=r"nothing to compare with .*labels\.parquet: give --predictions or --ensembles"):
        run(folder, predictions={}, ensembles={})
    assert set(run(folder, predictions={})["model"]) == {"vote"}, "a cascade has no network of its own"


def test_what_does_not_fit_is_refused(experiment):
    folder, _ = experiment
    with pytest.raises(ThoraxError, match="exclusive: 'c' is not a class of the label set"):
        run(folder, exclusive="c")
    with pytest.raises(ThoraxError, match="has scores outside 0 to 1: give --logits"):
        metrics.read_scores(*(folder / f"{name}.parquet" for name in ("labels", "split", "net")), logits=False)
