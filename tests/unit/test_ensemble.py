"""The three ensemble rules by hand, their ties, and against slow independent versions of themselves."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thorax import catalog, config, store
from thorax.ensemble import combine, make_ensemble
from thorax.errors import ThoraxError


def one_image(*members: list[float]) -> list[np.ndarray]:
    return [np.array([probabilities]) for probabilities in members]


def test_ctp_is_the_mean_probability():
    combined = combine("ctp", one_image([0.9, 0.2], [0.6, 0.1], [0.0, 0.6]))
    np.testing.assert_allclose(combined, [[0.5, 0.3]], rtol=1e-6)
    assert combined.dtype == np.float32


def test_ptc_lw_is_the_majority_of_each_label():
    combined = combine("ptc_lw", one_image([0.9, 0.6, 0.1], [0.6, 0.4, 0.9], [0.2, 0.3, 0.2]))
    np.testing.assert_array_equal(combined, [[1, 0, 0]])


def test_ptc_lw_says_no_on_a_tie_and_at_one_half():
    np.testing.assert_array_equal(combine("ptc_lw", one_image([0.99, 0.5], [0.01, 0.51])), [[0, 0]])
    np.testing.assert_array_equal(combine("ptc_lw", one_image([0.5], [0.5], [0.6])), [[0]])


def test_ptc_mode_is_the_most_frequent_set_not_the_majority_of_labels():
    # Sets {a}, {a}, {b, c}, {b, d}, {c, d}: only {a} occurs twice, though b, c and d are each named as often as a.
    sets = [[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 1], [0, 0, 1, 1]]
    members = one_image(*[[0.9 if label else 0.1 for label in labels] for labels in sets])
    np.testing.assert_array_equal(combine("ptc_mode", members), [[1, 0, 0, 0]])
    # Five members, of whom three agree on a and three on b, but two on both: the set decides.
    sets = [[1, 1], [1, 1], [1, 0], [0, 1], [0, 0]]
    members = one_image(*[[0.9 if label else 0.1 for label in labels] for labels in sets])
    np.testing.assert_array_equal(combine("ptc_mode", members), [[1, 1]])


def test_ptc_mode_breaks_a_tie_by_what_all_members_find_most_probable():
    # {a} and {b} occur once each; the mean probabilities are 0.55 for a and 0.75 for b, so {b} agrees better.
    members = one_image([0.6, 0.5], [0.5, 1.0])
    np.testing.assert_array_equal(combine("ptc_mode", members), [[0, 1]])
    np.testing.assert_array_equal(combine("ptc_mode", members[::-1]), [[0, 1]])


def test_ptc_mode_breaks_a_perfect_tie_by_the_order_of_members():
    members = one_image([0.9, 0.1], [0.1, 0.9])
    np.testing.assert_array_equal(combine("ptc_mode", members), [[1, 0]])
    np.testing.assert_array_equal(combine("ptc_mode", members[::-1]), [[0, 1]])


def test_a_rare_set_never_wins_by_probability():
    # {b} has the highest agreement of all, but {a} has two votes.
    members = one_image([0.51, 0.49], [0.51, 0.49], [0.0, 1.0])
    np.testing.assert_array_equal(combine("ptc_mode", members), [[1, 0]])


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_rules_equal_slow_versions_of_themselves(seed, members, classes):
    probabilities = list(np.random.default_rng(seed).random((members, 12, classes)).round(1))
    lw, mode = combine("ptc_lw", probabilities), combine("ptc_mode", probabilities)
    for image in range(12):
        sets = [tuple(bool(p > 0.5) for p in member[image]) for member in probabilities]
        for column in range(classes):
            assert lw[image, column] == (sum(labels[column] for labels in sets) > members / 2)
        frequency = Counter(sets)

        def agreement(labels: tuple[bool, ...], image: int = image) -> float:
            return round(
                sum(p if has else 1 - p for member in probabilities for has, p in zip(labels, member[image], strict=True))
                / (members * classes),
                9,
            )

        best = max(sets, key=lambda labels: (frequency[labels], agreement(labels)))  # max keeps the first of equals
        assert tuple(mode[image].astype(bool)) == best


def test_unknown_rules_and_unequal_members_are_refused():
    with pytest.raises(ThoraxError, match="'max' is not known: choose one of ctp, ptc_lw, ptc_mode"):
        combine("max", one_image([0.1], [0.2]))
    with pytest.raises(ThoraxError, match="same images and classes"):
        combine("ctp", one_image([0.1], [0.2, 0.3]))


@pytest.fixture
def members(tmp_path):
    random = np.random.default_rng(0)
    paths = []
    for name in ("x", "y", "z"):
        frame = pd.DataFrame({"image_id": [f"i{n}" for n in range(6)], "split": ["val"] * 2 + ["test"] * 4})
        frame[["a", "b"]] = random.normal(size=(6, 2)).astype(np.float32)
        paths.append(tmp_path / f"{name}.parquet")
        store.write_table(frame, paths[-1], catalog.scores_schema(["a", "b"]))
    return paths


def settings_for(rule: str) -> config.Ensemble:
    return config.Ensemble(rule=rule, members=["x", "y", "z"])


@pytest.mark.parametrize("rule", ["ctp", "ptc_lw", "ptc_mode"])
def test_make_ensemble_aligns_rows_and_classes(members, tmp_path, rule):
    make_ensemble(settings_for(rule), members, tmp_path / "expected.parquet")
    turned = store.read_table(members[1]).iloc[::-1]
    store.write_table(turned, members[1], catalog.scores_schema(["b", "a"]))
    make_ensemble(settings_for(rule), members, tmp_path / "got.parquet")
    assert (tmp_path / "got.parquet").read_bytes() == (tmp_path / "expected.parquet").read_bytes()
    got = store.read_table(tmp_path / "got.parquet")
    assert list(got["split"]) == ["val"] * 2 + ["test"] * 4
    tables = [store.read_table(path).set_index("image_id").loc[got["image_id"], ["a", "b"]] for path in members]
    probabilities = [1 / (1 + np.exp(-table.to_numpy(float))) for table in tables]
    np.testing.assert_allclose(got[["a", "b"]], combine(rule, probabilities), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda frame: frame.iloc[1:], "y.parquet and .*x.parquet do not have the same images"),
        (lambda frame: frame.assign(split="test"), "do not have the same images in the same parts"),
        (lambda frame: frame.rename(columns={"b": "c"}), r"do not have the same classes \('b' is in one only\)"),
        (
            lambda frame: frame.assign(a=frame["a"].mask(frame.index == 2)),
            "y.parquet: the logits of image 'i2' are not all numbers",
        ),
    ],
)
def test_members_that_do_not_fit_are_refused(members, tmp_path, change, sentence):
    frame = change(store.read_table(members[1]))
    store.write_table(frame, members[1], catalog.scores_schema(catalog.class_columns(frame)))
    with pytest.raises(ThoraxError, match=sentence):
        make_ensemble(settings_for("ctp"), members, tmp_path / "out.parquet")


def test_table_that_is_no_prediction_is_named(members, tmp_path):
    store.read_table(members[1]).drop(columns="split").to_parquet(members[1], index=False)
    with pytest.raises(ThoraxError, match=r"y\.parquet lacks the column split:"):
        make_ensemble(settings_for("ctp"), members, tmp_path / "out.parquet")


def test_each_member_needs_its_table(members, tmp_path):
    with pytest.raises(ThoraxError, match="has 3 members but was given 2 tables"):
        make_ensemble(settings_for("ctp"), members[:2], tmp_path / "out.parquet")
