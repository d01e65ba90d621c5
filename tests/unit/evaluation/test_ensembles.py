"""The ensemble rules by hand, their ties, against slow independent versions of themselves, and what they learn from."""

from collections import Counter
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from thorax import config
from thorax.cli import main
from thorax.errors import ThoraxError
from thorax.evaluation import decisions, ensembles
from thorax.evaluation.ensembles import LEARNING, auc_weights, combine, fit_stack, make_ensemble
from thorax.labels.stratify import group_folds
from thorax.storage import schemas, store

from .one_class import f1


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


@pytest.fixture
def members(tmp_path):
    random = np.random.default_rng(0)
    paths = []
    for name in ("x", "y", "z"):
        frame = pd.DataFrame({"image_id": [f"i{n}" for n in range(6)], "split": ["val"] * 2 + ["test"] * 4})
        frame[["a", "b"]] = random.normal(size=(6, 2)).astype(np.float32)
        paths.append(tmp_path / f"{name}.parquet")
        store.write_table(frame, paths[-1], schemas.scores_schema(["a", "b"]))
    return paths


def settings_for(rule: str) -> config.Ensemble:
    return config.Ensemble(rule=rule, members=["x", "y", "z"])


@pytest.mark.parametrize("rule", ["ctp", "ptc_lw", "ptc_mode"])
def test_make_ensemble_aligns_rows_and_classes(members, tmp_path, rule):
    make_ensemble(settings_for(rule), members, tmp_path / "expected.parquet")
    turned = store.read_table(members[1]).iloc[::-1]
    store.write_table(turned, members[1], schemas.scores_schema(["b", "a"]))
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
        (lambda frame: frame.iloc[1:], "y.parquet has no row for image 'i0' of .*x.parquet"),
        (lambda frame: frame.assign(split="test"), "y.parquet has image 'i0' in test, but .*x.parquet has it in val"),
        (lambda frame: frame.rename(columns={"b": "c"}), r"do not have the same classes \('b' is in one only\)"),
        (
            lambda frame: frame.assign(a=frame["a"].mask(frame.index == 2)),
            "y.parquet: the logits of image 'i2' are not all numbers",
        ),
    ],
)
def test_members_that_do_not_fit_are_refused(members, tmp_path, change, sentence):
    frame = change(store.read_table(members[1]))
    store.write_table(frame, members[1], schemas.scores_schema(schemas.class_columns(frame)))
    with pytest.raises(ThoraxError, match=sentence):
        make_ensemble(settings_for("ctp"), members, tmp_path / "out.parquet")


def test_table_that_is_no_prediction_is_named(members, tmp_path):
    store.read_table(members[1]).drop(columns="split").to_parquet(members[1], index=False)
    with pytest.raises(ThoraxError, match=r"y\.parquet lacks the column split:"):
        make_ensemble(settings_for("ctp"), members, tmp_path / "out.parquet")


def test_each_member_needs_its_table(members, tmp_path):
    with pytest.raises(ThoraxError, match="has 3 members but was given 2 tables"):
        make_ensemble(settings_for("ctp"), members[:2], tmp_path / "out.parquet")


def test_max_vote_is_the_share_of_members_that_say_yes():
    combined = combine("max_vote", one_image([0.9, 0.6, 0.5], [0.6, 0.4, 0.51], [0.2, 0.3, 0.5]))
    np.testing.assert_allclose(combined, [[2 / 3, 1 / 3, 1 / 3]], rtol=1e-6)
    assert combined.dtype == np.float32
    # one of two is a tie, and not above 0.5
    np.testing.assert_array_equal(combine("max_vote", one_image([0.99, 0.2], [0.01, 0.3])), [[0.5, 0.0]])


def test_max_probability_is_that_of_the_surest_member():
    np.testing.assert_allclose(combine("max_probability", one_image([0.9, 0.2], [0.6, 0.3])), [[0.9, 0.3]], rtol=1e-6)


@given(st.integers(0, 10_000), st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_max_vote_decides_as_the_majority_does(seed, members):
    probabilities = list(np.random.default_rng(seed).random((members, 20, 3)).round(1))
    np.testing.assert_array_equal(combine("max_vote", probabilities) > 0.5, combine("ptc_lw", probabilities))


def test_weights_are_shares_of_what_the_auc_has_above_chance():
    # 0.3 and 0.1 above chance of 0.4; below chance counts nothing; an undefined AUC, and none above chance, count all the same
    areas = np.array([[0.8, 0.7, np.nan, 0.5, 0.3], [0.6, 0.4, np.nan, 0.5, 0.49]])
    expected = [[0.75, 1, 0.5, 0.5, 0.5], [0.25, 0, 0.5, 0.5, 0.5]]
    np.testing.assert_allclose(auc_weights(areas), expected, rtol=1e-12)
    np.testing.assert_allclose(auc_weights(np.array([[0.7], [np.nan], [0.6]])), [[2 / 3], [0], [1 / 3]], rtol=1e-12)


def test_stack_by_hand():
    """100 images with logits of -1 or 1 in halves, of which 90% have the label's sign: the intercept is 0 by symmetry.

    The derivative of |w|^2 / 2 + C sum log loss is then w - 100 C (0.9 - p), p = sigmoid(w), and w = ln 3 (p = 3/4) needs
    C = ln 3 / 15. Two equal members share it: each has half, which costs half as much, so C is half as large.
    """
    x = np.repeat([1.0, -1.0], 50)
    labels = np.concatenate([np.repeat([1, 0], [45, 5]), np.repeat([0, 1], [45, 5])])[:, None]
    coefficients, intercepts = fit_stack(labels, x[None, :, None], np.log(3) / 15)
    np.testing.assert_allclose(coefficients, [[np.log(3)]], rtol=1e-6)
    np.testing.assert_allclose(intercepts, [0], atol=1e-9)
    coefficients, _ = fit_stack(labels, np.stack([x, x])[..., None], np.log(3) / 30)
    np.testing.assert_allclose(coefficients, np.full((2, 1), np.log(3) / 2), rtol=1e-6)


def test_stack_skips_ignored_labels_and_classes_of_one_kind():
    random = np.random.default_rng(0)
    logits = random.normal(size=(3, 60, 3))
    labels = np.stack([logits[0, :, 0] + random.normal(size=60) > 0, np.ones(60), np.zeros(60)], axis=1).astype(int)
    labels[::4, 0] = labels[::3, 1] = -1
    coefficients, intercepts = fit_stack(labels, logits, 0.7)
    assert np.isnan(coefficients[:, 1:]).all()
    assert np.isnan(intercepts[1:]).all()
    # the conditions of the minimum: no derivative is left, of known images only
    known = labels[:, 0] >= 0
    x, y = logits[:, known, 0], labels[known, 0]
    missing = y - 1 / (1 + np.exp(-(coefficients[:, 0] @ x + intercepts[0])))
    np.testing.assert_allclose(missing.sum(), 0, atol=1e-6)
    np.testing.assert_allclose(0.7 * x @ missing, coefficients[:, 0], atol=1e-6)


@pytest.fixture
def study(tmp_path):
    """Three members that know class a well, a little and wrongly; class b is random, class c has no positive in val."""
    random = np.random.default_rng(0)
    ids = [f"i{n:03}" for n in range(120)]
    parts = np.repeat(["train", "val", "test"], 40)
    truth = pd.DataFrame({"image_id": ids, "patient_id": ids})
    truth[["a", "b"]] = random.integers(0, 2, (120, 2)).astype("int8")
    truth["c"] = ((parts == "test") & (np.arange(120) % 3 == 0)).astype("int8")
    truth.loc[50, "a"] = truth.loc[100, "b"] = -1
    labels, split = tmp_path / "labels.parquet", tmp_path / "split.parquet"
    store.write_table(truth, labels, schemas.labels_schema(["a", "b", "c"]))
    store.write_table(truth[["image_id", "patient_id"]].assign(split=parts), split, schemas.SPLITS)
    paths = []
    for name, knowledge in (("x", 3), ("y", 1), ("z", -2)):
        frame = pd.DataFrame({"image_id": ids, "split": parts})[40:].copy()
        frame[["a", "b", "c"]] = random.normal(size=(80, 3)).astype(np.float32)
        frame["a"] += np.float32(knowledge) * (truth["a"][40:] == 1)
        paths.append(tmp_path / f"{name}.parquet")
        store.write_table(frame.sample(frac=1, random_state=1), paths[-1], schemas.scores_schema(["a", "b", "c"]))
    return {"predictions": paths, "labels": labels, "split": split}


def scores_of(study, rule: str, out, **changed) -> pd.DataFrame:
    make_ensemble(settings_for(rule), out=out, **{**study, **changed})
    return store.read_table(out)


def test_weighted_average_against_scikit_learn(study, tmp_path, capsys):
    found = scores_of(study, "weighted_average", tmp_path / "out.parquet")
    tables = [store.read_table(path).set_index("image_id").loc[found["image_id"]] for path in study["predictions"]]
    truth = store.read_table(study["labels"]).set_index("image_id").loc[found["image_id"]]
    val = (found["split"] == "val").to_numpy()
    test = ~val  # by what was learnt from all validation images
    for name in ("a", "b"):
        use = val & (truth[name] >= 0).to_numpy()
        above = [max(roc_auc_score(truth[name][use], table[name][use]) - 0.5, 0) for table in tables]
        probabilities = [1 / (1 + np.exp(-table[name].to_numpy(float))) for table in tables]
        np.testing.assert_allclose(found[name][test], np.average(probabilities, axis=0, weights=above)[test], rtol=1e-6)
        assert name == "b" or (above[0] > above[1] > above[2] == 0)
    probabilities = [1 / (1 + np.exp(-table["c"].to_numpy(float))) for table in tables]
    np.testing.assert_allclose(found["c"], np.mean(probabilities, axis=0), rtol=1e-6)
    said = capsys.readouterr().err
    assert "c: weights x 0.333, y 0.333, z 0.333; no positive or no negative validation image" in said
    assert said.endswith("scores of validation images: from what was learnt in the other of 5 folds by patient\n")
    assert said.count("\n") == 4


def test_stacked_uses_what_others_throw_away(study, tmp_path, capsys):
    """Member z is reliably wrong about class a, so the stack turns it round; class c falls back to the mean, and says so."""
    found = scores_of(study, "stacked", tmp_path / "out.parquet")
    truth = store.read_table(study["labels"]).set_index("image_id").loc[found["image_id"], "a"].to_numpy()
    mean = scores_of(study, "ctp", tmp_path / "mean.parquet")
    test = (found["split"] == "test").to_numpy()
    assert roc_auc_score(truth[test], found["a"][test]) > roc_auc_score(truth[test], mean["a"][test]) + 0.1
    assert np.abs((found["a"][test] > 0.5) - truth[test]).mean() < 0.15
    np.testing.assert_array_equal(found["c"], mean["c"])
    said = capsys.readouterr().err
    assert "c: no positive or no negative validation image, so the mean probability" in said
    assert said.startswith("a: coefficients x ")
    assert ", z -" in said.splitlines()[0]


def test_a_smaller_c_holds_the_stack_back(study, tmp_path):
    def spread(c: float) -> float:
        settings = config.Ensemble(rule="stacked", members=["x", "y", "z"], C=c)
        make_ensemble(settings, out=tmp_path / "out.parquet", **study)
        return store.read_table(tmp_path / "out.parquet").query("split == 'test'")["a"].std()

    assert spread(1e-6) < 0.001 < 0.1 < spread(1.0)


NOISE = {
    "members": 12,
    "images": 90,
    "patients": 30,
}  # three images a patient, alike: what is learnt from one helps with another


@pytest.fixture
def noise():
    """Logits, labels and patients of members that know nothing."""
    random = np.random.default_rng(3)
    patients = np.repeat(np.arange(NOISE["patients"]), NOISE["images"] // NOISE["patients"])
    logits = random.normal(size=(NOISE["members"], NOISE["patients"], 1))[:, patients]
    answers = random.integers(0, 2, (NOISE["patients"], 1))[patients]
    return logits, answers, patients


@pytest.mark.parametrize("rule", LEARNING)
def test_thresholds_are_tuned_on_scores_of_patients_that_the_rule_did_not_learn_from(noise, rule):
    """In-sample scores of noise rank well and tune to a good F1; on cross-fitted ones noise is noise."""
    logits, answers, patients = noise
    chosen = config.Ensemble(rule=rule, members=[f"m{n}" for n in range(len(logits))], C=100.0)
    in_sample = LEARNING[rule].apply(logits, **ensembles.learn(chosen, logits, answers))[:, 0]
    held_out = ensembles.cross_fitted(chosen, ["a"], logits, answers, patients)[:, 0]
    truth = answers[:, 0]
    assert roc_auc_score(truth, in_sample) > 0.75
    assert roc_auc_score(truth, held_out) < 0.65

    def tuned_f1(scores: np.ndarray) -> float:
        return f1(truth, scores > decisions.tune(truth, scores, "f1").value)

    assert tuned_f1(in_sample) > tuned_f1(held_out) + 0.08


@pytest.mark.parametrize("rule", LEARNING)
def test_cross_fitted_scores_are_those_of_a_rule_without_the_patients_fold(noise, rule):
    logits, answers, patients = noise
    chosen = config.Ensemble(rule=rule, members=[f"m{n}" for n in range(len(logits))])
    found = ensembles.cross_fitted(chosen, ["a"], logits, answers, patients)
    fold_of_row = group_folds(answers, patients, ensembles.FOLDS)
    assert (pd.Series(fold_of_row).groupby(patients).nunique() == 1).all()
    assert np.bincount(fold_of_row).tolist() == [18] * 5
    for fold in range(ensembles.FOLDS):
        held = fold_of_row == fold
        learnt = ensembles.learn(chosen, logits[:, ~held], answers[~held])
        expected = LEARNING[rule].apply(logits[:, held], **learnt)
        np.testing.assert_array_equal(found[held], expected)
    order = np.random.default_rng(0).permutation(len(patients))
    again = ensembles.cross_fitted(chosen, ["a"], logits[:, order], answers[order], patients[order])
    np.testing.assert_allclose(again, found[order], rtol=1e-6)


@pytest.mark.parametrize("rule", LEARNING)
def test_folds_that_leave_nothing_to_learn_from_give_the_mean_probability_and_say_so(noise, rule, capsys):
    logits, answers, patients = noise
    chosen = config.Ensemble(rule=rule, members=[f"m{n}" for n in range(len(logits))])
    mean = 1 / (1 + np.exp(-logits))
    rare = (patients == 7).astype(int)[:, None]  # all positives are one patient's
    found = ensembles.cross_fitted(chosen, ["rare"], logits, rare, patients)
    own = group_folds(rare, patients, ensembles.FOLDS)
    own = own == own[patients == 7][0]
    np.testing.assert_allclose(found[own], mean.mean(axis=0)[own])
    assert (
        "rare: no positive or no negative image outside 1 of these folds, so there the mean probability"
        in capsys.readouterr().err
    )
    one = ensembles.cross_fitted(chosen, ["a"], logits[:, :3], answers[:3], patients[:3])
    np.testing.assert_allclose(one, mean[:, :3].mean(axis=0))


@pytest.mark.parametrize("rule", LEARNING)
def test_rules_learn_from_validation_labels_only(study, tmp_path, rule):
    scores_of(study, rule, tmp_path / "out.parquet")
    expected = (tmp_path / "out.parquet").read_bytes()
    truth = store.read_table(study["labels"])
    for part, same in (("train", True), ("test", True), ("val", False)):
        rows = (store.read_table(study["split"])["split"] == part).to_numpy()
        turned = truth.copy()
        turned.loc[rows, ["a", "b", "c"]] = 1 - truth.loc[rows, ["a", "b", "c"]].abs()
        store.write_table(turned, tmp_path / "turned.parquet", schemas.labels_schema(["a", "b", "c"]))
        scores_of(study, rule, tmp_path / "again.parquet", labels=tmp_path / "turned.parquet")
        assert ((tmp_path / "again.parquet").read_bytes() == expected) == same, part


@pytest.mark.parametrize("rule", LEARNING)
def test_the_order_of_rows_and_classes_changes_nothing(study, tmp_path, rule):
    scores_of(study, rule, tmp_path / "out.parquet")
    turned = store.read_table(study["labels"]).iloc[::-1]
    store.write_table(turned, study["labels"], schemas.labels_schema(["c", "a", "b"]))
    scores_of(study, rule, tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "out.parquet").read_bytes()


@pytest.mark.parametrize("rule", LEARNING)
@pytest.mark.parametrize("missing", ["labels", "split"])
def test_rules_that_learn_need_labels_and_split(study, tmp_path, rule, missing):
    with pytest.raises(ThoraxError, match=f"Rule {rule} learns from validation images: give their label set and split"):
        scores_of(study, rule, tmp_path / "out.parquet", **{missing: None})
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("rule", LEARNING)
def test_the_verb_takes_labels_and_split(study, tmp_path, capsys, rule):
    def run(*more) -> int:
        settings = ("--settings", f"{{rule: {rule}, members: [x, y, z]}}")
        arguments = ("ensemble", *settings, "--predictions", *study["predictions"], "--out", tmp_path / "verb.parquet", *more)
        return main([str(argument) for argument in arguments])

    assert run("--labels", study["labels"]) == 1
    assert capsys.readouterr().err == (
        f"thorax: Rule {rule} learns from validation images: give their label set and split (--labels, --split).\n"
    )
    assert run("--labels", study["labels"], "--split", study["split"]) == 0
    scores_of(study, rule, tmp_path / "out.parquet")
    assert (tmp_path / "verb.parquet").read_bytes() == (tmp_path / "out.parquet").read_bytes()


@pytest.mark.parametrize(
    ("kind", "change", "sentence"),
    [
        ("labels", lambda f: f.rename(columns={"b": "d"}), r"do not have the same classes \('b' is in one only\)"),
        ("labels", lambda f: f.drop(index=45), "has image 'i045', which .* does not have in these parts"),
        ("split", lambda f: f.assign(split=f["split"].replace("val", "test")), "gives no image of .* to val"),
        ("split", lambda f: f.drop(index=119), "has no row for image 'i119'"),
        ("split", lambda f: f.assign(split=f["split"].where(f.index != 3, "val")), "has no row for image 'i003'"),
    ],
)
def test_labels_that_do_not_fit_are_refused(study, tmp_path, kind, change, sentence):
    frame = change(store.read_table(study[kind]))
    schema = schemas.SPLITS if kind == "split" else schemas.labels_schema(schemas.class_columns(frame))
    store.write_table(frame, tmp_path / "changed.parquet", schema)
    with pytest.raises(ThoraxError, match=sentence):
        scores_of(study, "stacked", tmp_path / "out.parquet", **{kind: tmp_path / "changed.parquet"})


def test_predictions_without_validation_images_teach_nothing(study, tmp_path):
    for path in study["predictions"]:
        table = store.read_table(path)
        store.write_table(table[table["split"] == "test"], path, schemas.scores_schema(["a", "b", "c"]))
    with pytest.raises(ThoraxError, match=r"x\.parquet has no row for image 'i0"):
        scores_of(study, "stacked", tmp_path / "out.parquet")


def test_every_rule_of_the_configuration_makes_scores_from_0_to_1(study, tmp_path):
    for rule in get_args(config.Ensemble.model_fields["rule"].annotation):
        scores = scores_of(study, rule, tmp_path / f"{rule}.parquet")[["a", "b", "c"]].to_numpy()
        assert scores.dtype == np.float32
        assert scores.min() >= 0, rule
        assert scores.max() <= 1, rule


@pytest.mark.parametrize("rule", get_args(config.Ensemble.model_fields["rule"].annotation))
def test_what_a_rule_learnt_gives_its_scores_again(study, tmp_path, rule):
    """Those of test images, which `make_ensemble` scores by what all validation images taught."""
    made = scores_of(study, rule, tmp_path / "out.parquet")
    settings = config.Ensemble(rule=rule, members=["x", "y", "z"])
    tables = [store.read_table(path).sort_values("image_id") for path in study["predictions"]]
    truth = store.read_table(study["labels"]).set_index("image_id").loc[tables[0]["image_id"]]
    logits = np.stack([table[["a", "b", "c"]].to_numpy(np.float64) for table in tables])
    val, test = ((tables[0]["split"] == part).to_numpy() for part in ("val", "test"))
    learnt = ensembles.learn(settings, logits[:, val], truth[["a", "b", "c"]].to_numpy()[val])
    again = ensembles.scores_of(settings, learnt, logits[:, test])
    np.testing.assert_array_equal(again, made.loc[made["split"] == "test", ["a", "b", "c"]].to_numpy())
