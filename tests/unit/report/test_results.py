"""Tables: which numbers are bold and italic, case by case, and that every format shows the metrics' numbers."""

import dataclasses
import re
from html import unescape

import numpy as np
import pandas as pd
import pytest

from thorax.errors import ThoraxError
from thorax.evaluation.metrics import evaluate, make_metrics
from thorax.report import typeset
from thorax.report.cells import Mark
from thorax.report.tables import results as tables
from thorax.report.tables import summary
from thorax.report.tables.results import Results, mark
from thorax.storage import schemas, store

MEMBERS, ENSEMBLES = ["net_a", "net_b"], ["CTP"]
PLAIN, BOLD, ITALIC, BOTH = Mark(), Mark(bold=True), Mark(italic=True), Mark(bold=True, italic=True)


def marks(individual: list[float], ensembles: list[float], chance: float = 0.5, lower_is_better: bool = False) -> list[Mark]:
    one = {f"m{number}": value for number, value in enumerate(individual)}
    many = {f"e{number}": value for number, value in enumerate(ensembles)}
    return list(mark(one, many, chance, lower_is_better).values())


@pytest.mark.parametrize(
    ("individual", "ensembles", "expected"),
    [
        # Rows of Liz et al. 2022: Normal and COPD signs (Table 4), pleural effusion (Table 8), pacemaker (Table 6).
        ([0.589, 0.5, 0.5], [0.5, 0.5, 0.589], [BOLD, PLAIN, PLAIN, PLAIN, PLAIN, ITALIC]),
        # Where all networks tie the random classifier, none of them is in bold; an ensemble that beats them is.
        ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5], [PLAIN, PLAIN, PLAIN, PLAIN, PLAIN, PLAIN]),
        ([0.5, 0.49996], [0.6], [PLAIN, PLAIN, BOTH]),
        ([0.5, 0.4], [], [BOLD, PLAIN]),
        ([0.959, 0.951, 0.956], [0.862, 0.886, 0.967], [BOLD, PLAIN, PLAIN, PLAIN, PLAIN, BOTH]),
        ([0.996, 0.996, 0.5], [0.741, 0.992, 0.996], [BOLD, BOLD, PLAIN, PLAIN, PLAIN, ITALIC]),
        # Two ensembles beat all networks: both bold, the best in italics; two best ensembles: both in italics.
        ([0.7, 0.6], [0.8, 0.9], [BOLD, PLAIN, BOLD, BOTH]),
        ([0.7, 0.6], [0.8, 0.8], [BOLD, PLAIN, BOTH, BOTH]),
        ([0.9, 0.6], [0.8, 0.8], [BOLD, PLAIN, ITALIC, ITALIC]),
        # What differs by less than the printed decimals is a tie, also with the random classifier.
        ([0.70012, 0.69988], [0.70031], [BOLD, BOLD, ITALIC]),
        ([0.4, 0.3], [0.50049], [BOLD, PLAIN, BOLD]),
        ([0.4, 0.3], [0.50051], [BOLD, PLAIN, BOTH]),
        # Worse than random is not a tie.
        ([0.4], [0.45, 0.44], [BOLD, BOTH, BOLD]),
        # Undefined numbers take no part.
        ([np.nan, 0.6], [np.nan, 0.7], [PLAIN, BOLD, PLAIN, BOTH]),
        ([np.nan], [np.nan], [PLAIN, PLAIN]),
        ([0.6, 0.7], [], [PLAIN, BOLD]),
    ],
)
def test_marks_of_the_papers_captions(individual, ensembles, expected):
    assert marks(individual, ensembles) == expected


def test_marks_where_lower_is_better():
    """Hamming losses of Table 9: Xception is the best network, all ensembles beat it, PTC-mode is the best of them."""
    expected = [PLAIN, PLAIN, PLAIN, PLAIN, BOLD, BOTH, BOLD, BOLD]
    assert marks([0.082, 0.078, 0.081, 0.077, 0.074], [0.063, 0.065, 0.065], 0.046, lower_is_better=True) == expected
    assert marks([0.05], [0.046], 0.046, lower_is_better=True) == [BOLD, BOLD]
    assert marks([0.046, 0.046], [0.05], 0.046, lower_is_better=True) == [PLAIN, PLAIN, ITALIC]


def by_intervals(individual: list, ensembles: list, ends: dict[str, tuple[float, float]], lower: bool = False) -> str:
    """The marks by intervals of each model's difference from the best one, a letter each: b bold, i italics, x both, - neither."""
    one = {f"m{number}": value for number, value in enumerate(individual)}
    many = {f"e{number}": value for number, value in enumerate(ensembles)}
    found = tables.mark_by_intervals(one, many, 0.5, lower, interval=lambda model, best: ends[f"{model}-{best}"])
    return "".join({(True, False): "b", (False, True): "i", (True, True): "x"}.get(tuple(mark), "-") for mark in found.values())


OVER, UNDER, BOTH_SIDES, UNDEFINED = (0.01, 0.05), (-0.05, -0.01), (-0.02, 0.03), (np.nan, np.nan)


@pytest.mark.parametrize(
    ("individual", "ensembles", "ends", "expected"),
    [
        # The best network and the one that cannot be told apart from it; the third can be
        ([0.9, 0.89, 0.8], [], {"m1-m0": BOTH_SIDES, "m2-m0": UNDER}, "bb-"),
        # None can be told apart from the best: no network is bold
        ([0.9, 0.89, 0.8], [], {"m1-m0": BOTH_SIDES, "m2-m0": BOTH_SIDES}, "---"),
        ([0.9], [], {}, "-"),
        # Ensembles: better with an interval that excludes 0; better, but not told apart; worse. The best is in italics
        ([0.8, 0.7], [0.9, 0.85, 0.75], {"m1-m0": UNDER, "e0-m0": OVER, "e1-m0": BOTH_SIDES, "e2-m0": UNDER}, "b-x--"),
        ([0.8, 0.7], [0.9, 0.85], {"m1-m0": BOTH_SIDES, "e0-m0": OVER, "e1-m0": OVER}, "--xb"),
        # An interval that ends at 0 contains it
        ([0.8, 0.7], [0.9], {"m1-m0": (-0.1, 0.0), "e0-m0": (0.0, 0.1)}, "--i"),
        # Undefined numbers and intervals are not bold; of equal networks the first is the best
        ([np.nan, 0.8, 0.8, 0.7], [np.nan], {"m2-m1": UNDEFINED, "m3-m1": UNDER, "e0-m1": UNDEFINED}, "-b---"),
        ([np.nan], [0.9], {}, "-i"),
    ],
)
def test_marks_by_intervals(individual, ensembles, ends, expected):
    assert by_intervals(individual, ensembles, ends) == expected


def test_marks_by_intervals_where_lower_is_better():
    ends = {"m0-m1": OVER, "m2-m1": BOTH_SIDES, "e0-m1": UNDER, "e1-m1": OVER}
    assert by_intervals([0.3, 0.1, 0.12], [0.05, 0.2], ends, lower=True) == "-bbx-"


def test_a_difference_is_found_in_both_directions_and_the_best_network_on_validation_images(study):
    labels, split, metrics, _ = study
    rows = [("net_a", "net_b", "normal", "auc", "test", "none", 0.7, 0.6, 0.1, 0.05, 0.2, 1.0, 0.01, 0.02, 50, 9)]
    apart = pd.DataFrame(rows, columns=schemas.DIFFERENCES.names)
    results = Results(metrics, MEMBERS, ENSEMBLES, tables.count_images(labels.merge(split)), differences=apart)
    assert results.difference("net_a", "net_b", "normal", "auc") == (0.1, 0.05, 0.2)
    assert results.difference("net_b", "net_a", "normal", "auc") == (-0.1, -0.2, -0.05)
    with pytest.raises(ThoraxError, match="no auc of 'net_a' and 'net_b' for 'rare': compute the metrics again"):
        results.difference("net_a", "net_b", "rare", "auc")
    of_val = metrics.assign(split="val", value=metrics["model"].map({"net_a": 0.1, "net_b": 0.3, "CTP": np.nan, "baseline": 1}))
    on_val = dataclasses.replace(results, metrics=pd.concat([metrics, of_val]))
    assert on_val.best_on_validation(["net_a", "CTP", "net_b"]) == "net_b"
    assert on_val.best_on_validation(["CTP"]) == "CTP"


@pytest.fixture
def study():
    """Labels, split and metrics of two networks, their mean and a baseline; `rare` has no positive test image."""
    random = np.random.default_rng(0)
    labels = pd.DataFrame({"image_id": [f"i{n:03d}" for n in range(200)], "patient_id": [f"p{n // 2:02d}" for n in range(200)]})
    labels["rare"] = [1] * 5 + [0] * 195
    labels["small nodule"] = random.integers(0, 5, 200) == 0
    labels["normal"] = random.integers(0, 2, 200)
    labels = labels.astype({"small nodule": int})
    split = labels[["image_id", "patient_id"]].assign(split=["train"] * 140 + ["val"] * 20 + ["test"] * 40)
    classes = schemas.class_columns(labels)
    test = labels[160:]
    scores = {
        model: np.clip(test[classes] * skill + (1 - skill) * random.random((40, 3)), 0, 1)
        for model, skill in [("net_a", 0.3), ("net_b", 0.2), ("baseline", 0.1)]
    }
    scores["CTP"] = (scores["net_a"] + scores["net_b"]) / 2
    options = {"split": "test", "replicates": 50}
    rows = [evaluate(test[classes], frame, test["patient_id"], model=model, **options) for model, frame in scores.items()]
    return labels, split, pd.concat(rows, ignore_index=True), scores


def number(metrics: pd.DataFrame, model: str, name: str, metric: str, column: str = "value") -> float:
    rows = metrics[(metrics["model"] == model) & (metrics["class"] == name) & (metrics["metric"] == metric)]
    return rows[column].iloc[0]


def test_counts_by_hand():
    labels = pd.DataFrame(
        {
            "image_id": list("abcde"),
            "patient_id": list("abcde"),
            "few": [1, 0, 0, -1, 0],
            "many": [1, 1, 0, 1, 0],
            "also few": [0, 0, 0, 0, 1],
        }
    )
    split = pd.DataFrame({"image_id": list("edcbaz"), "split": ["test", "test", "test", "train", "val", "test"]})
    counts = tables.count_images(labels.merge(split))
    assert counts[["class", "images", "images_in_part"]].to_numpy().tolist() == [
        ["many", 3, 1],
        ["also few", 1, 1],
        ["few", 1, 0],
        ["Global", 5, 3],
    ]
    # Never saying yes: one of three `many` and `also few` are missed; F1 of the negatives is 4/5. No `few`: nothing is wrong.
    assert counts["f1"].tolist() == pytest.approx([0.4, 0.4, 1.0, 1.8 / 3])
    assert counts["f1_positive"].tolist() == pytest.approx([0, 0, np.nan, 0], nan_ok=True)
    assert counts["hamming"].iloc[-1] == pytest.approx(2 / 8)


def test_per_class_rows_columns_and_numbers(study):
    labels, split, metrics, _ = study
    counts = tables.count_images(labels.merge(split))
    other_part = metrics.assign(split="val", value=0.123)
    table, values = tables.per_class_table(Results(pd.concat([metrics, other_part]), MEMBERS, ENSEMBLES, counts))
    assert [group.heading for group in table.groups] == ["# Samples", "net_a", "net_b", "CTP", "baseline"]
    assert [group.apart for group in table.groups] == [False, False, False, False, True]
    assert [name for name, _ in table.rows] == ["Normal", "Small nodule", "Rare", "Global"]
    assert [cell.text for cell in table.rows[-1][1][:2]] == ["200", "40"]
    for (_, cells), record in zip(table.rows, values.to_dict("records"), strict=True):
        for column, model in enumerate(["net_a", "net_b", "CTP", "baseline"]):
            for offset, metric in enumerate(("auc", "f1")):
                expected = number(metrics, model, record["class"], metric)
                assert cells[2 + 2 * column + offset].text == ("–" if np.isnan(expected) else f"{expected:.3f}")
                for suffix, source in (("", "value"), (" low", "low"), (" high", "high")):
                    wanted = number(metrics, model, record["class"], metric, source)
                    assert record[f"{model} {metric}{suffix}"] == pytest.approx(wanted, nan_ok=True, abs=0)
        assert not any(cell.bold or cell.italic for cell in cells[-2:])


def test_marks_reach_the_cells_and_the_baseline_does_not_compete(study):
    labels, split, metrics, _ = study
    metrics = metrics.copy()
    chosen = (metrics["class"] == "normal") & (metrics["metric"] == "auc")
    metrics.loc[chosen, "value"] = metrics["model"].map({"net_a": 0.7, "net_b": 0.6, "CTP": 0.8, "baseline": 0.9})
    table, _ = tables.per_class_table(Results(metrics, MEMBERS, ENSEMBLES, tables.count_images(labels.merge(split))))
    cells = table.rows[0][1]
    assert [(cells[place].bold, cells[place].italic) for place in (2, 4, 6, 8)] == [
        (True, False),
        (False, False),
        (True, True),
        (False, False),
    ]
    assert table.notes[0] == "For 1 of 2 classes the best network's AUC is not higher than the baseline's: normal."
    metrics.loc[chosen & (metrics["model"] == "baseline"), "value"] = 0.7
    tied, _ = tables.per_class_table(Results(metrics, MEMBERS, ENSEMBLES, tables.count_images(labels.merge(split))))
    assert tied.notes[0] == table.notes[0]


def test_notes_name_what_is_undefined_and_who_beats_the_baseline(study):
    labels, split, metrics, _ = study
    counts = tables.count_images(labels.merge(split))
    table, _ = tables.per_class_table(Results(metrics, MEMBERS, ENSEMBLES, counts))
    assert table.notes[0] == "For 2 of 2 classes the best network's AUC is higher than the baseline's."
    assert any("The AUC of 1 class is undefined" in note and note.endswith(": rare.") for note in table.notes)
    without, _ = tables.per_class_table(Results(metrics[metrics["model"] != "baseline"], MEMBERS, ENSEMBLES, counts))
    assert "baseline" not in without.caption + "".join(without.notes)
    assert [group.heading for group in without.groups] == ["# Samples", "net_a", "net_b", "CTP"]


def test_global_table(study):
    labels, split, metrics, _ = study
    table, values = tables.global_table(
        Results(metrics, MEMBERS, ENSEMBLES, tables.count_images(labels.merge(split)), provenance="sample")
    )
    assert [name for name, _ in table.rows] == ["Hamming loss", "AUC", "F1-score"]
    assert values["metric"].tolist() == ["hamming", "auc", "f1"]
    auc = table.rows[1][1][0]
    assert auc.text == f"{number(metrics, 'net_a', 'Global', 'auc'):.3f}"
    low, high = (number(metrics, "net_a", "Global", "auc", column) for column in ("low", "high"))
    assert auc.detail == f"{low:.3f}–{high:.3f}"
    losses = {model: round(number(metrics, model, "Global", "hamming"), 3) for model in MEMBERS}
    assert [cell.bold for cell in table.rows[0][1][:2]] == [losses[model] == min(losses.values()) for model in MEMBERS]
    assert table.data.startswith("A small sample")


def test_a_changed_label_changes_the_number(study):
    labels, split, metrics, scores = study
    test = labels[160:].copy()
    test.loc[170, "normal"] = 1 - test.loc[170, "normal"]
    classes = schemas.class_columns(labels)
    changed = evaluate(test[classes], scores["net_a"], test["patient_id"], model="net_a", split="test", replicates=50)
    metrics_after = pd.concat([metrics[metrics["model"] != "net_a"], changed])
    counts = tables.count_images(labels.merge(split))
    before, _ = tables.per_class_table(Results(metrics, MEMBERS, ENSEMBLES, counts))
    after, _ = tables.per_class_table(Results(metrics_after, MEMBERS, ENSEMBLES, counts))
    assert before.rows[0][1][2].text != after.rows[0][1][2].text
    assert [cell.text for cell in before.rows[1][1]] == [cell.text for cell in after.rows[1][1]]


def test_the_numbers_are_those_of_the_named_rule(study):
    labels, split, metrics, scores = study
    test, classes = labels[160:], schemas.class_columns(labels)
    rules = {"fixed-0.5": 0.5, "fixed-0.4": 0.4}
    rows = [
        evaluate(test[classes], scores[model], test["patient_id"], model=model, split="test", thresholds=rules, replicates=5)
        for model in MEMBERS
    ]
    counts = tables.count_images(labels.merge(split))
    both = Results(pd.concat(rows), MEMBERS, [], counts)
    other = dataclasses.replace(both, threshold_rule="fixed-0.4")
    assert both.number("net_a", "normal", "f1")[0] == number(metrics, "net_a", "normal", "f1")
    assert other.number("net_a", "normal", "f1")[0] != both.number("net_a", "normal", "f1")[0]
    assert other.number("net_a", "normal", "auc")[0] == both.number("net_a", "normal", "auc")[0]
    assert "class; threshold 0.5) on" in tables.per_class_table(both)[0].caption
    assert "class; threshold 0.4) on" in tables.per_class_table(other)[0].caption
    assert "on the test images; threshold 0.5." in tables.global_table(both)[0].caption
    assert "on the test images; threshold 0.4." in tables.global_table(other)[0].caption
    with pytest.raises(ThoraxError, match="no f1 of model 'net_a' for 'normal' by rule 'youden'"):
        tables.per_class_table(dataclasses.replace(both, threshold_rule="youden"))


def test_tables_print_the_f1_that_they_name(study):
    labels, split, metrics, _ = study
    both = Results(metrics, MEMBERS, ENSEMBLES, tables.count_images(labels.merge(split)))
    positive = dataclasses.replace(both, f1_metric="f1_positive")
    for results, metric, words in (
        (both, "f1", "mean over the positive and the negative class"),
        (positive, "f1_positive", "of the positive class alone, 2PR / (P + R)"),
    ):
        (per_class, values), (overall, means) = tables.per_class_table(results), tables.global_table(results)
        assert f"F1-score ({words}" in per_class.caption
        assert f"F1-score ({words}" in overall.caption
        assert per_class.rows[0][1][3].text == f"{number(metrics, 'net_a', 'normal', metric):.3f}"
        assert overall.rows[2][1][0].text == f"{number(metrics, 'net_a', 'Global', metric):.3f}"
        assert means["metric"].tolist() == ["hamming", "auc", metric]
        assert f"net_a {metric}" in values.columns
    assert per_class.rows[2][1][3].text == "–"
    assert any(note.startswith("The F1-score of 1 class is undefined") and note.endswith(": rare.") for note in overall.notes)


def with_values(metrics: pd.DataFrame, metric: str, values: dict[str, float]) -> pd.DataFrame:
    """The metrics with other values of one metric over all classes."""
    chosen = (metrics["class"] == "Global") & (metrics["metric"] == metric)
    return metrics.assign(value=metrics["value"].mask(chosen, metrics["model"].map(values)))


def test_the_global_table_says_by_which_metrics_the_baseline_is_unbeaten(study):
    """As in the demo, its Hamming loss is the best of all; its F1 ties the best network's as printed; its AUC is beaten."""
    labels, split, metrics, _ = study
    metrics = with_values(metrics, "hamming", {"net_a": 0.073, "net_b": 0.08, "CTP": 0.071, "baseline": 0.067})
    metrics = with_values(metrics, "f1", {"net_a": 0.6, "net_b": 0.6732, "CTP": 0.7, "baseline": 0.673})
    metrics = with_values(metrics, "auc", {"net_a": 0.8, "net_b": 0.7, "CTP": 0.85, "baseline": 0.799})
    counts = tables.count_images(labels.merge(split))
    table, _ = tables.global_table(Results(metrics, MEMBERS, ENSEMBLES, counts))
    assert table.notes[:2] == (
        "By Hamming loss no network or ensemble is better than the baseline: it has 0.067, the best network 0.073.",
        "By F1-score no network is better than the baseline: it has 0.673, the best network 0.673.",
    )
    assert not any(note.startswith("By AUC") for note in table.notes)
    metrics = with_values(metrics, "hamming", {"net_a": 0.07, "net_b": 0.08, "CTP": 0.07, "baseline": 0.08})
    metrics = with_values(metrics, "f1", {"net_a": 0.6, "net_b": 0.7, "CTP": 0.7, "baseline": 0.5})
    beaten, _ = tables.global_table(Results(metrics, MEMBERS, ENSEMBLES, counts))
    assert beaten.notes[0] == "By every metric the best network is better than the baseline."
    alone, _ = tables.global_table(Results(metrics[metrics["model"] != "baseline"], MEMBERS, ENSEMBLES, counts))
    assert "baseline" not in "".join(alone.notes)


def test_networks_that_never_say_yes_are_not_in_bold(study):
    labels, split, _, scores = study
    test, classes = labels[160:], schemas.class_columns(labels)
    silent = {model: scores[model] * 0.4 for model in ("net_a", "net_b", "CTP")}
    rows = [evaluate(test[classes], s, test["patient_id"], model=m, split="test", replicates=0) for m, s in silent.items()]
    counts = tables.count_images(labels.merge(split))
    for metric in ("f1", "f1_positive"):
        results = Results(pd.concat(rows), MEMBERS, ENSEMBLES, counts, f1_metric=metric)
        (per_class, _), (overall, _) = tables.per_class_table(results), tables.global_table(results)
        assert not any(cell.bold for _, cells in per_class.rows for cell in cells[3::2])
        assert not any(cell.bold for place in (0, 2) for cell in overall.rows[place][1])
        assert any(cell.bold for cell in overall.rows[1][1]), "their probabilities still rank"


def test_votes_are_said_to_be_votes(study):
    labels, split, metrics, scores = study
    test, classes = labels[160:], schemas.class_columns(labels)
    votes = (scores["CTP"] > 0.5).astype(float)
    voting = evaluate(test[classes], votes, test["patient_id"], model="CTP", split="test", replicates=0)
    counts = tables.count_images(labels.merge(split))
    table, _ = tables.global_table(Results(pd.concat([metrics[metrics["model"] != "CTP"], voting]), MEMBERS, ENSEMBLES, counts))
    said = "The AUC of CTP is computed from votes of 0 and 1, as in Liz et al. 2022, not from probabilities."
    assert said in table.notes
    assert said not in tables.global_table(Results(metrics, MEMBERS, ENSEMBLES, counts))[0].notes


@pytest.mark.parametrize("name", ["ok", "row", "shard", "model", "class", "metric", "images", "provenance", "Global", "global"])
def test_a_class_of_any_name_has_its_own_row(study, name):
    labels, split, _, scores = study
    labels, scores = (frame.rename(columns={"normal": name}) for frame in (labels, scores["net_a"]))
    test = labels[160:]
    rows = evaluate(test[scores.columns], scores, test["patient_id"], model="net_a", split="test", replicates=5)
    results = Results(rows, ["net_a"], [], tables.count_images(labels.merge(split)))
    table, values = tables.per_class_table(results)
    shown = {"Global": "Global (class)", "global": "global"}.get(name, name.capitalize())
    assert [heading for heading, _ in table.rows] == [shown, "Small nodule", "Rare", "Global"]
    overall = tables.global_table(results)[0].rows[1][1][0].text
    assert (table.rows[-1][1][2].text, table.rows[0][1][2].text) == (overall, f"{values['net_a auc'].iloc[0]:.3f}")
    assert values["images"].tolist()[0] == (labels[name] == 1).sum()


def test_classes_that_differ_by_their_capital_keep_their_names():
    assert tables.row_headings(["mass", "Mass", "nodule"]) == {
        "mass": "mass",
        "Mass": "Mass",
        "nodule": "Nodule",
        "Global": "Global",
    }


def test_missing_models_are_refused(study):
    labels, split, metrics, _ = study
    counts = tables.count_images(labels.merge(split))
    with pytest.raises(ThoraxError, match="no auc of model 'other' for 'normal'"):
        tables.per_class_table(Results(metrics, ["net_a", "other"], [], counts))


@pytest.fixture
def folder(study, tmp_path):
    labels, split, _, scores = study
    classes = schemas.class_columns(labels)
    store.write_table(labels, tmp_path / "labels.parquet", schemas.labels_schema(classes))
    store.write_table(split, tmp_path / "split.parquet", schemas.SPLITS)
    random = np.random.default_rng(1)
    for model, frame in scores.items():
        val = pd.DataFrame(random.random((20, 3)), columns=classes, index=range(140, 160))
        probabilities = pd.concat([val, frame]).clip(0.001, 0.999)
        logits = probabilities if model == "CTP" else np.log(probabilities / (1 - probabilities))
        store.write_table(
            pd.concat([split.loc[140:, ["image_id", "split"]], logits], axis=1),
            tmp_path / f"{model}.parquet",
            schemas.scores_schema(classes),
        )
    return tmp_path


def make(folder, out: str = "tables"):
    networks = {name: folder / f"{name}.parquet" for name in (*MEMBERS, "baseline")}
    inputs = folder / "labels.parquet", folder / "split.parquet"
    out_files = (folder / name for name in ("metrics.parquet", "metrics.json", "thresholds.parquet"))
    apart = folder / "differences.parquet"
    make_metrics(*inputs, networks, {"CTP": folder / "CTP.parquet"}, *out_files, 0, 30, differences=apart)
    models = MEMBERS, ENSEMBLES, folder / out
    tables.make_tables("A study", "phantom", folder / "metrics.parquet", *inputs, *models, differences=apart)
    return folder / out


def test_csv_numbers_are_the_metrics_numbers(folder):
    out = make(folder)
    metrics = store.read_table(folder / "metrics.parquet").query("split == 'test'")
    per_class = pd.read_csv(out / "per_class.csv").set_index("class")
    overall = pd.read_csv(out / "global.csv").set_index("metric")
    for row in metrics[metrics["metric"].isin(("auc", "f1", "hamming"))].itertuples(index=False):
        model, name, metric = row[:3]
        record = overall.loc[metric] if name == "Global" else per_class.loc[name]
        key = model if name == "Global" else f"{model} {metric}"
        expected = [row.value, row.low, row.high]
        assert list(record[[key, f"{key} low", f"{key} high"]]) == pytest.approx(expected, nan_ok=True, abs=1e-15)
    assert set(per_class["provenance"]) == set(overall["provenance"]) == {"phantom"}


def numbers(text: str) -> list[str]:
    return re.findall(r"(?<![\d.])(?:\d\.\d{3}|–(?=[ <*]))(?![\d])", text)


def test_all_formats_show_the_same_numbers_and_say_what_they_are_from(folder):
    out = make(folder)
    for name in ("per_class", "global"):
        html, markdown, latex = ((out / f"{name}.{suffix}").read_text() for suffix in ("html", "md", "tex"))
        body = re.sub(r"<small>.*?</small>| title=\"[^\"]*\"", "", html[html.index("<tbody>") : html.index("</tbody>")])
        rows = latex[latex.index(r"\midrule") : latex.index(r"\bottomrule")].replace("--", "–")
        in_markdown = "\n".join(line for line in markdown.splitlines() if line.startswith("| "))
        assert numbers(body) == numbers(in_markdown) == numbers(rows)
        assert len(numbers(body)) == (4 * 8 if name == "per_class" else 3 * 4)
        assert body.count("<b>") == len(re.findall(r"(?<!\*)\*{2,3}[\d.]+\*{2,3}", in_markdown)) == rows.count(r"\textbf")
        for text in (html, markdown, latex):
            assert "these numbers show that the pipeline works, not how well it reads radiographs." in text
            assert "random classifier" in text


def test_a_changed_probability_changes_the_files(folder):
    before = {path.name: path.read_bytes() for path in make(folder).iterdir()}
    again = {path.name: path.read_bytes() for path in make(folder, "tables").iterdir()}
    assert before == again
    assert sorted(before) == sorted(
        f"{name}.{suffix}" for name in ("per_class", "global") for suffix in ("html", "md", "tex", "csv")
    )
    net = store.read_table(folder / "net_a.parquet")
    net.loc[25, "normal"] = -net.loc[25, "normal"]
    store.write_table(net, folder / "net_a.parquet", schemas.scores_schema(["rare", "small nodule", "normal"]))
    after = {path.name: path.read_bytes() for path in make(folder).iterdir()}
    assert [name for name in before if before[name] == after[name]] == []


def test_summary_counts_by_hand(tmp_path):
    labels = pd.DataFrame({"image_id": list("abcd"), "patient_id": list("aacd"), "x": [1, 0, 0, 1], "y": [0, 1, 1, 1]})
    split = pd.DataFrame(
        {"image_id": list("abcde"), "patient_id": list("aacde"), "split": ["train", "train", "test", "val", "val"]}
    )
    store.write_table(labels, tmp_path / "all.parquet", schemas.labels_schema(["x", "y"]))
    store.write_table(labels.drop(columns="y").iloc[:3], tmp_path / "few_x.parquet", schemas.labels_schema(["x"]))
    store.write_table(split, tmp_path / "split.parquet", schemas.SPLITS)
    paths = {"all": tmp_path / "all.parquet", "few_x": tmp_path / "few_x.parquet"}
    summary.make_summary(paths, dict.fromkeys(paths, tmp_path / "split.parquet"), tmp_path / "out", "phantom")
    assert (tmp_path / "out" / "summary.csv").read_text().splitlines() == [
        "label_set,classes,samples,train,val,test,provenance",
        "all,2,4,2,1,1,phantom",
        "few_x,1,3,2,0,1,phantom",
    ]
    assert "| few\\_x | 1 | 3 | 2 | 0 | 1 |" in (tmp_path / "out" / "summary.md").read_text()
    assert r"few\_x & 1 & 3 & 2 & 0 & 1 \\" in (tmp_path / "out" / "summary.tex").read_text()
    assert "Synthetic radiographs." in (tmp_path / "out" / "summary.html").read_text()
    with pytest.raises(ThoraxError, match="'few_x' has no split"):
        summary.make_summary(paths, {"all": tmp_path / "split.parquet"}, tmp_path / "out", "phantom")


def test_special_characters_survive_every_format():
    table = typeset.Table(
        title="a_b & <c>",
        caption="50% of #1",
        data="",
        groups=(typeset.Group("x|y", ("A_1", "B^2"), "s"), typeset.Group("z*", section="t", apart=True)),
        name_heading="",
        rows=(("p < q", (typeset.Cell("1", bold=True), typeset.Cell("2", italic=True), typeset.Cell("3", hover='say "no"'))),),
        notes=("{braces}", "at $10 and $20"),
    )
    html, markdown, latex = typeset.html(table), typeset.markdown(table), typeset.latex(table, "t")
    assert "<h1>a_b &amp; &lt;c&gt;</h1>" in html
    assert 'title="say &#34;no&#34;"' in html
    assert "<b>1</b>" in html
    assert r"|  | x\|y A\_1 | x\|y B^2 | z\* |" in markdown
    assert r"| p \< q | **1** | *2* | 3 |" in markdown
    assert r"p \textless{} q & \textbf{1} & \textit{2} & 3 \\" in latex
    assert r"\multicolumn{2}{c}{x\textbar{}y} & \multicolumn{1}{c}{z*} \\" in latex
    assert r" & A\_1 & B\textasciicircum{}2 &  \\" in latex
    assert r"\caption{50\% of \#1}" in latex
    assert r"\{braces\}" in latex
    assert r"- at \$10 and \$20" in markdown, "GitHub sets what is between two dollars as mathematics"
    assert r"{lrr@{\hskip 1.6em}r}" in latex


@pytest.mark.parametrize(
    ("name", "markdown", "latex"),
    [
        ("$10% and $20%", r"\$10% and \$20%", r"\$10\% and \$20\%"),
        ("a~~b~~ & #c", r"a\~\~b\~\~ \& \#c", r"a\textasciitilde{}\textasciitilde{}b\textasciitilde{}\textasciitilde{} \& \#c"),
        ("_x{y}^z\\", r"\_x{y}^z\\", r"\_x\{y\}\textasciicircum{}z\textbackslash{}"),
        ("[a] b--c|`d`", r"\[a\] b--c\|\`d\`", r"{}[a] b-{}-c\textbar{}\textasciigrave{}d\textasciigrave{}"),
        ("*a* &amp; <i>", r"\*a\* \&amp; \<i\>", r"{}*a* \&amp; \textless{}i\textgreater{}"),
        ("肺炎", "肺炎", "肺炎"),
    ],
)
def test_names_are_shown_literally(name, markdown, latex):
    """Dollars would be formulas, tildes would strike out, and a [ at the start of a row would be an option of the last one's end."""
    table = typeset.Table(name, name, "", (typeset.Group(name),), name, ((name, (typeset.Cell(name),)),))
    assert f"| {markdown} | {markdown} |" in typeset.markdown(table)
    assert f"\n{latex} & {latex} \\\\\n" in typeset.latex(table, "t")
    assert unescape(typeset.html(table)).count(f">{name}<") == 7


def test_images_that_a_split_leaves_out_count_nowhere(tmp_path):
    labels = pd.DataFrame({"image_id": list("abcd"), "patient_id": list("abcd"), "x": [1, 0, 0, 1]})
    split = labels[["image_id", "patient_id"]].assign(split=["train", "left_out", "test", "val"])
    counts = tables.count_images(labels.merge(split)).set_index("class")
    assert counts.loc["Global", ["images", "images_in_part"]].tolist() == [3, 1]
    assert counts.loc["x", ["images", "images_in_part"]].tolist() == [2, 0]
    store.write_table(labels, tmp_path / "labels.parquet", schemas.labels_schema(["x"]))
    store.write_table(split, tmp_path / "split.parquet", schemas.SPLITS)
    summary.make_summary({"l": tmp_path / "labels.parquet"}, {"l": tmp_path / "split.parquet"}, tmp_path, "phantom")
    assert pd.read_csv(tmp_path / "summary.csv")[["samples", "train", "val", "test"]].to_numpy().tolist() == [[3, 1, 1, 1]]
