"""Doubted labels: a hand-computed case, flipped labels, and the labels that radiologists contradict."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from thorax.evaluation import suspects

SHARED = Path(__file__).parents[4] / "shared" / "data"


def with_images(labels: pd.DataFrame, part: str = "test") -> pd.DataFrame:
    """As from `joins.read_labels`: a patient for each image."""
    images = [f"{number:05}.png" for number in range(len(labels))]
    about = pd.DataFrame({"image_id": images, "patient_id": images, "split": part})
    return pd.concat([about, labels.reset_index(drop=True)], axis=1)


def test_thresholds_are_the_mean_probabilities_of_each_answer():
    """Yes: 0.9, 0.7, 0.1, so from (0.9 + 0.7 + 0.1) / 3 = 0.567; no: 0.8, 0.2, 0.1, 0.1, so 1 - p from 0.7."""
    labels = np.array([1, 1, 1, 0, 0, 0, 0, -1])
    probabilities = np.array([0.9, 0.7, 0.1, 0.8, 0.2, 0.1, 0.1, 0.9])
    assert suspects.doubted(labels, probabilities).tolist() == [False, False, True, True, False, False, False, False]


def test_the_other_answer_must_be_more_probable_as_well():
    """Thresholds 0.3 of yes, of a rare class, and 0.6 of no: 0.4 reaches that of yes, but no is more probable."""
    labels, probabilities = np.array([1, 1, 0, 0, 0]), np.array([0.35, 0.25, 0.4, 0.2, 0.6])
    assert suspects.doubted(labels, probabilities).tolist() == [True, True, False, False, True]


def test_the_doubted_labels_are_those_of_cleanlab():
    found = pytest.importorskip("cleanlab.filter", reason="compared where cleanlab is installed")
    random = np.random.default_rng(0)
    for _ in range(200):
        probabilities = 1 / (1 + np.exp(-random.normal(-2, 2, random.integers(20, 400))))
        labels = (random.random(len(probabilities)) < probabilities) ^ (random.random(len(probabilities)) < 0.1)
        if labels.any() and not labels.all():
            both = np.stack([1 - probabilities, probabilities], axis=1)
            theirs = found.find_label_issues(labels.astype(int), both, filter_by="confident_learning", n_jobs=1)
            assert suspects.doubted(labels.astype(int), probabilities).tolist() == theirs.tolist()


def test_a_class_without_positives_or_without_known_labels_is_not_searched():
    for answer in (0, 1, -1):
        assert not suspects.doubted(np.full(4, answer), np.linspace(0, 1, 4)).any()
    truth = with_images(pd.DataFrame({"a": [0] * 5, "b": [-1] * 5}))
    scores = pd.DataFrame({"a": np.linspace(0, 1, 5), "b": 0.5})
    found = suspects.find(truth, scores, {})
    assert found.empty
    assert list(found) == suspects.SUSPECTS


def flipped(count: int = 4000, rate: float = 0.05) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Labels with some that were flipped, probabilities by which the true ones were drawn or nearly, and which are flipped."""
    random = np.random.default_rng(0)
    logits = random.normal(-1, 3, count)
    true = random.random(count) < 1 / (1 + np.exp(-logits))
    wrong = random.random(count) < rate
    scores = 1 / (1 + np.exp(-logits))
    return with_images(pd.DataFrame({"a": (true ^ wrong).astype(np.int8)})), pd.DataFrame({"a": scores}), wrong


def test_flipped_labels_come_first_and_a_weighted_loss_changes_nothing():
    truth, scores, wrong = flipped()
    found = suspects.find(truth, scores, {"net": scores > 0.5})
    top = found["image_id"].head(wrong.sum()).str[:5].astype(int)
    assert wrong[top].mean() > 5 * wrong.mean()
    assert found["rank"].tolist() == list(range(1, len(found) + 1))
    confidence = np.where(found["label"] == 1, found["probability"], 1 - found["probability"])
    assert (np.diff(confidence) >= 0).all()
    says = scores["a"].to_numpy()[found["image_id"].str[:5].astype(int)] > 0.5
    assert found["agree"].tolist() == (says == (found["label"] == 1)).astype(int).tolist()
    odds = scores / (1 - scores) * 9  # as with positives that weigh nine times as much
    weighted = suspects.find(truth, odds / (1 + odds), {"net": scores > 0.5})
    assert weighted["image_id"].tolist() == found["image_id"].tolist()


def test_the_best_probabilities_are_chosen_on_validation_images():
    truth = with_images(pd.DataFrame({"a": [0, 0, 1, 1] * 2}), "val")
    truth.loc[4:, "split"] = "test"
    good, bad = np.array([0.1, 0.2, 0.8, 0.9]), np.array([0.9, 0.8, 0.2, 0.1])
    table = lambda val, test: pd.DataFrame({"a": np.concatenate([val, test])})
    members = {"one": table(bad, good), "two": table(good, good)}
    assert suspects.best_probabilities(truth, members, {"CTP": table(good, bad), "other": table(bad, good)}) == "CTP"
    assert suspects.best_probabilities(truth, members, {"votes": table(good, bad) > 0.5}) == ""
    assert suspects.best_probabilities(truth.assign(split="test"), members, {"CTP": table(good, bad)}) == ""


@pytest.mark.real
def test_radiologists_contradict_most_of_nihs_doubted_labels():
    """Labels that a DenseNet121 doubts, next to the majority of radiologists on the images that both have (Nabulsi et al. 2021)."""
    predictions = SHARED / "predictions" / "nih_densenet121.csv.gz"
    if not predictions.exists():
        pytest.skip(f"needs {predictions}")
    scores = pd.read_csv(predictions, index_col=0).rename(columns=lambda name: name.removeprefix("prob_").replace("_", " "))
    source = pd.read_csv(SHARED / "metadata" / "Data_Entry_2017_v2020.csv.gz", index_col="Image Index")["Finding Labels"]
    labels = source.str.replace("_", " ").str.get_dummies("|").loc[scores.index, scores.columns].astype(np.int8)
    read = pd.read_csv(SHARED / "expert_labels" / "nih_all_findings_test_labels.csv", index_col=0)
    images = read.index.intersection(scores.index)
    wrong = read.loc[images, scores.columns].eq("YES").astype(int) != labels.loc[images]
    truth = with_images(labels).assign(image_id=scores.index)
    found = suspects.find(truth, scores.reset_index(drop=True), {})
    doubted = found[found["image_id"].isin(images)]
    contradicted = [wrong.loc[image, name] for image, name in zip(doubted["image_id"], doubted["class"], strict=True)]
    assert (len(images), wrong.size, len(doubted), sum(contradicted)) == (188, 2632, 63, 53)
    assert wrong.to_numpy().mean() == pytest.approx(0.116, abs=0.001)
