"""Thresholds against hand-computed cases and a search that tries every cut in exact fractions; the exclusive class by hand."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thorax import config
from thorax.errors import ThoraxError
from thorax.evaluation import decisions
from thorax.evaluation.metrics import evaluate
from thorax.storage.schemas import THRESHOLDS

from .one_class import f1, f1_positive

RULES = ("f1", "youden")


def test_the_best_cut_by_hand():
    # Above 0.35: both positives and the negative 0.5. F1 of yes 4/5, of no 2/3; Youden 1 + 1/2 - 1.
    # Above 0.55: 0.6 only. F1 of yes 2/3, of no 4/5: as good, and Youden too. 0.55 is nearer to 0.5 than 0.35.
    labels, scores = np.array([1, 1, 0, 0]), np.array([0.6, 0.4, 0.5, 0.3])
    for rule in RULES:
        assert decisions.tune(labels, scores, rule) == (pytest.approx(0.55), 2, True)
    # Without 0.5, the cut between 0.3 and 0.4 makes no mistake.
    assert decisions.tune(labels[[0, 1, 3]], scores[[0, 1, 3]], "f1").value == pytest.approx(0.35)
    # The ignored image would have changed nothing, and as a negative everything.
    assert decisions.tune(np.array([1, 1, -1, 0]), scores, "f1").value == pytest.approx(0.35)


def test_the_two_rules_differ_on_a_rare_class():
    # One positive at 0.3 of 10; negatives: seven at 0.1, two at 0.4.
    # Youden: above 0.2 gives 1 + 7/9 - 1. F1: above 0.2 has yes 2/4, no 14/16 (mean 0.6875); never (above 0.7) 0 and 18/19.
    labels = np.array([1] + [0] * 9)
    scores = np.array([0.3] + [0.1] * 7 + [0.4] * 2)
    assert decisions.tune(labels, scores, "youden").value == pytest.approx(0.2)
    assert decisions.tune(labels, scores, "f1").value == pytest.approx(0.2)
    # Nine negatives above it: Youden still finds 1/10 of specificity, F1 is best when nothing is a yes (0.476 against 0.182).
    labels, scores = np.array([1] + [0] * 10), np.array([0.3, 0.1] + [0.4] * 9)
    assert decisions.tune(labels, scores, "youden").value == pytest.approx(0.2)
    assert decisions.tune(labels, scores, "f1").value == pytest.approx(0.7)


def test_of_two_equally_near_thresholds_the_lower_is_taken():
    # Above 0.25, 0.5 and 0.75 mistakes are 1, 2 and 1, mirrored, so the outer two are as good and as near.
    labels, scores = np.array([0, 1, 0, 1]), np.array([0.125, 0.375, 0.625, 0.875])
    assert decisions.tune(labels, scores, "youden").value == 0.25
    assert decisions.tune(labels, scores, "f1").value == 0.25


def test_votes_stay_votes():
    for rule in RULES:
        assert decisions.tune(np.array([1, 0, 0, 1]), np.array([1.0, 0, 1, 0]), rule).value == 0.5
        assert decisions.tune(np.array([1, 0]), np.array([0.0, 0.0]), rule).value == 0.5


def test_the_whole_range_can_be_a_yes_or_a_no():
    # The positives score lower: the mean F1 is 0.4 with always yes (4/5 and 0), 0.25 with never, 0 with the cut between.
    assert decisions.tune(np.array([1, 1, 0]), np.array([0.2, 0.2, 0.8]), "f1").value == pytest.approx(0.1)
    assert decisions.tune(np.array([1, 0, 0]), np.array([0.2, 0.8, 0.8]), "f1").value == pytest.approx(0.9)


@pytest.mark.parametrize("labels", [[0, 0, -1], [1, 1, -1], [-1, -1, -1]])
@pytest.mark.parametrize("rule", RULES)
def test_without_positives_or_negatives_it_is_a_half_and_said(labels, rule):
    tuned = decisions.tune(np.array(labels), np.array([0.1, 0.2, 0.9]), rule)
    assert tuned == (0.5, labels.count(1), False)


def test_neighbouring_floats_are_told_apart():
    low = 0.3
    high = np.nextafter(low, 1)
    value = decisions.tune(np.array([0, 1]), np.array([low, high]), "f1").value
    assert low <= value < high
    # The other way round that cut has nothing right; always and never are as good, and never (0.725) is nearer to 0.5.
    low = 0.45
    upside_down = np.array([low, np.nextafter(low, 1)])
    assert decisions.tune(np.array([1, 0]), upside_down, "f1").value == pytest.approx(0.725)


def in_fractions(labels, scores, limit, rule) -> Fraction:
    """The rule's objective, exactly and in another way: by counting pairs of label and decision."""
    pairs = [(label, score > limit) for label, score in zip(labels, scores, strict=True) if label >= 0]
    hit, false, miss, calm = (pairs.count(pair) for pair in ((1, True), (0, True), (1, False), (0, False)))
    if rule == "youden":
        return Fraction(hit, hit + miss) + Fraction(calm, calm + false) - 1
    return (Fraction(2 * hit, 2 * hit + false + miss) + Fraction(2 * calm, 2 * calm + false + miss)) / 2


@given(
    st.lists(st.tuples(st.sampled_from([1, 0, 0, -1]), st.integers(0, 20)), min_size=2, max_size=30),
    st.sampled_from(RULES),
)
@settings(max_examples=150, deadline=None)
def test_no_threshold_is_better(images, rule):
    labels, scores = np.array([label for label, _ in images]), np.array([score / 20 for _, score in images])
    tuned = decisions.tune(labels, scores, rule)
    assert tuned.defined == (1 in labels and 0 in labels)
    assert tuned.n_positive == (labels == 1).sum()
    if not tuned.defined:
        assert tuned.value == 0.5
        return
    found = in_fractions(labels, scores, tuned.value, rule)
    tried = np.unique(np.concatenate([np.linspace(0, 1, 161)[:-1], scores[scores < 1]]))  # every cut, most of them often
    values = {limit: in_fractions(labels, scores, limit, rule) for limit in tried}
    assert found == max(values.values())
    assert found >= in_fractions(labels, scores, 0.5, rule)
    # None that is as good has its middle nearer to 0.5.
    edges = sorted({0, 1, *scores[labels >= 0]})
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    nearest = min(abs(m - 0.5) for m in middles if in_fractions(labels, scores, m, rule) == found)
    assert abs(tuned.value - 0.5) == pytest.approx(nearest, abs=1e-12)


def test_f1_of_the_positive_side_is_tuned_by_itself():
    # Above 0.35 four are a yes, two of them rightly: positive side 4/6, negative 2/4. Above 0.65 one, rightly: 2/3 too, and 6/7.
    labels, scores = np.array([1, 1, 0, 0, 0]), np.array([0.7, 0.4, 0.6, 0.5, 0.3])
    assert decisions.tune(labels, scores, "f1").value == pytest.approx(0.65)
    # Two cuts are equally good for the positive side; 0.35 and 0.65 are as far from 0.5, so the lower one.
    assert decisions.tune(labels, scores, "f1_positive").value == pytest.approx(0.35)
    for rule, measure in (("f1_positive", f1_positive), ("f1", f1)):
        limit = decisions.tune(labels, scores, rule).value
        assert measure(labels, scores > limit) >= max(measure(labels, scores > other) for other in np.linspace(0, 0.99, 100))


def test_what_is_tuned_is_the_f1_of_the_tables():
    random = np.random.default_rng(0)
    labels, scores = random.integers(0, 2, 200), random.random(200)
    limit = decisions.tune(labels, scores, "f1").value
    tried = [f1(labels, scores > other) for other in np.linspace(0, 0.999, 500)]
    assert f1(labels, scores > limit) >= max(tried)


def test_the_table_has_every_rule_and_class():
    labels = pd.DataFrame({"a": [1, 0, 0], "b": [1, 1, -1]})
    scores = pd.DataFrame({"a": [0.9, 0.1, 0.1], "b": [0.9, 0.1, 0.2]})
    table = decisions.thresholds(labels, scores, ["youden", "f1"])
    assert ["model", *table.columns] == THRESHOLDS.names
    assert table.to_numpy().tolist() == [
        ["a", "youden", 0.5, 1, True],
        ["b", "youden", 0.5, 2, False],
        ["a", "f1", 0.5, 1, True],
        ["b", "f1", 0.5, 2, False],
    ]


YES, NO = True, False


@pytest.mark.parametrize(
    ("scores", "limits", "without", "excluding"),
    [
        # Columns: No Finding, Mass, Hernia. No contradiction: nothing changes.
        ([0.9, 0.2, 0.1], 0.5, [YES, NO, NO], [YES, NO, NO]),
        ([0.4, 0.9, 0.8], 0.5, [NO, YES, YES], [NO, YES, YES]),
        ([0.4, 0.3, 0.2], 0.5, [NO, NO, NO], [NO, NO, NO]),
        # No Finding is the most likely: no other class is returned.
        ([0.9, 0.8, 0.7], 0.5, [YES, YES, YES], [YES, NO, NO]),
        # Another is more likely: No Finding is no, and the others stay, also those that are less likely than it.
        ([0.8, 0.9, 0.7], 0.5, [YES, YES, YES], [NO, YES, YES]),
        # Equal scores, as votes have them: No Finding stands.
        ([1.0, 1.0, 0.0], 0.5, [YES, YES, NO], [YES, NO, NO]),
        # One threshold per class. No Finding is the most likely but no yes: it excludes nothing.
        ([0.6, 0.1, 0.3], [0.7, 0.5, 0.2], [NO, NO, YES], [NO, NO, YES]),
        ([0.8, 0.1, 0.3], [0.7, 0.5, 0.2], [YES, NO, YES], [YES, NO, NO]),
        # The most likely class is below its own threshold: still another is more likely than No Finding.
        ([0.5, 0.6, 0.3], [0.4, 0.7, 0.2], [YES, NO, YES], [NO, NO, YES]),
    ],
)
def test_no_finding_excludes_the_rest_by_hand(scores, limits, without, excluding):
    row = np.array([scores])
    assert decisions.decide(row, limits).tolist() == [without]
    assert decisions.decide(row, limits, exclusive=0).tolist() == [excluding]
    turned = [1, 2, 0]  # the place of the class does not matter
    turned_limits = limits if isinstance(limits, float) else np.array(limits)[turned]
    assert decisions.decide(row[:, turned], turned_limits, exclusive=2).tolist() == [[excluding[column] for column in turned]]


@given(st.integers(0, 10_000), st.sampled_from([0.4, 0.5, 0.6]))
@settings(max_examples=30, deadline=None)
def test_with_one_threshold_it_is_the_papers_constraint(seed, limit):
    """Dunn Beltran and Alsaghier 2022: if the most likely label is No Finding, no other label is returned."""
    scores = np.random.default_rng(seed).integers(0, 11, (50, 4)) / 10
    decided = decisions.decide(scores, limit, exclusive=1)
    for row, positive in zip(scores, decided, strict=True):
        most_likely = row[1] == row.max()
        others = [column for column in (0, 2, 3) if row[column] > limit]
        assert [column for column in (0, 2, 3) if positive[column]] == ([] if most_likely else others)
        assert not (positive[1] and positive[[0, 2, 3]].any())


def test_the_exclusive_class_must_be_in_the_label_set():
    labels = pd.DataFrame({"a": [0, 1], "b": [1, 0]})
    with pytest.raises(ThoraxError, match=r"^exclusive: 'No Finding' is not a class of the label set: choose one of a, b"):
        evaluate(labels, labels * 1.0, [1, 2], model="m", split="test", exclusive="No Finding")


@pytest.mark.parametrize(
    "rule",
    ["fixed-0", "fixed-0.5", "fixed-0.05", "fixed-1", "f1", "youden", "specificity-0.9", "sensitivity-0.95", "specificity-1"],
)
def test_rules_that_are_known(rule):
    assert config.threshold_rule(rule) == rule
    assert config.fixed_threshold(rule) == (float(rule[6:]) if rule.startswith("fixed") else None)
    assert rule.startswith("fixed") or rule in decisions._OBJECTIVES or rule.split("-")[0] in decisions._SIDES
    assert rule.startswith("fixed") or 0 <= decisions.tune(np.array([0, 1, 1]), np.array([0.1, 0.4, 0.6]), rule).value < 1


@pytest.mark.parametrize(
    "rule",
    [
        "fixed-0.50",
        "fixed-1.5",
        "fixed--0.5",
        "fixed-",
        "fixed-nan",
        "0.5",
        "F1",
        "f1+exclusive",
        "",
        "specificity-90",
        "sensitivity",
        "sensitivity-1.1",
        "youden-0.9",
    ],
)
def test_rules_that_are_not(rule):
    with pytest.raises(ValueError, match=r"is not a threshold rule: write f1, f1_positive, youden or, for example, fixed-0\.5"):
        config.threshold_rule(rule)


def test_operating_points_by_hand():
    # Above 0.65: specificity 4/5, sensitivity 2/3. Above 0.75: 5/5 and 1/3. Above 0.35: 3/5 and 3/3.
    labels, scores = np.array([1, 1, 1, 0, 0, 0, 0, 0]), np.array([0.8, 0.7, 0.4, 0.75, 0.6, 0.3, 0.2, 0.1])
    assert decisions.tune(labels, scores, "specificity-0.8").value == pytest.approx(0.65)
    assert decisions.tune(labels, scores, "specificity-0.9").value == pytest.approx(0.775)
    assert decisions.tune(labels, scores, "sensitivity-0.9").value == pytest.approx(0.35)
    assert not decisions.tune(np.zeros(3, int), scores[:3], "specificity-0.9").defined
    # Votes: half of the negatives are called positive by every threshold, so no specificity of 0.9 can be reached.
    votes = decisions.tune(np.array([1, 1, 0, 0]), np.array([1.0, 0, 1, 0]), "specificity-0.9")
    assert votes.value == 0.5


@given(
    st.lists(st.tuples(st.sampled_from([1, 0, 0, -1]), st.integers(0, 20)), min_size=2, max_size=30),
    st.sampled_from([0.5, 0.8, 0.9]), st.booleans(),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_no_threshold_holds_the_operating_point_and_is_better(images, least, holds_specificity):
    labels, scores = np.array([label for label, _ in images]), np.array([score / 20 for _, score in images])
    if not ((labels == 1).any() and (labels == 0).any()):
        return
    found = decisions.tune(labels, scores, f"{'specificity' if holds_specificity else 'sensitivity'}-{least}").value

    def sides(limit):
        hit, calm = (scores[labels == 1] > limit).mean(), (scores[labels == 0] <= limit).mean()
        return (calm, hit) if holds_specificity else (hit, calm)

    tried = [sides(limit) for limit in [*np.linspace(0, 1, 161)[:-1], *scores[scores < 1]]]
    reached = [(free, held) for held, free in tried if held >= least - 1e-12]
    held, free = sides(found)
    assert (free, held) == pytest.approx(max(reached)) if reached else held == pytest.approx(max(held for held, _ in tried))
