"""Tables of threshold rules: a small study worked out by hand, and every number of the files against the metrics."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from thorax import cli
from thorax.config import fixed_threshold
from thorax.errors import ThoraxError
from thorax.evaluation.decisions import thresholds
from thorax.evaluation.metrics import evaluate
from thorax.report.tables import thresholds as threshold_tables
from thorax.report.tables.results import Results, count_images
from thorax.storage import schemas, store

RULES = ["fixed-0.5", "f1", "youden"]
NONE = pd.DataFrame(columns=schemas.THRESHOLDS.names)  # of fixed thresholds


def study(rules=RULES, exclusive=None, name="a"):
    """Four validation and four test images; `b` has no positive validation image; PTC votes; `a` can have another name."""
    labels = pd.DataFrame({"image_id": list("abcdefgh"), "patient_id": list("abcdefgh")})
    labels[name] = [1, 1, 0, 0] * 2
    labels["b"] = [0, 0, 0, 0, 1, 1, 0, 0]
    split = labels[["image_id", "patient_id"]].assign(split=["val"] * 4 + ["test"] * 4)
    net = pd.DataFrame({name: [0.4, 0.3, 0.2, 0.1, 0.3, 0.2, 0.26, 0.1], "b": [0.1, 0.2, 0.3, 0.4, 0.6, 0.4, 0.4, 0.4]})
    scores = {"net": net, "PTC": (net > 0.5).astype(float)}
    classes, val, test = [name, "b"], slice(0, 4), slice(4, 8)
    tuned = [rule for rule in rules if fixed_threshold(rule) is None]
    limits = pd.concat(
        [thresholds(labels[val][classes], frame[val], tuned).assign(model=name) for name, frame in scores.items()],
        ignore_index=True,
    )[schemas.THRESHOLDS.names]
    rows = [
        evaluate(
            labels[test][classes],
            frame[test],
            labels[test]["patient_id"],
            model=name,
            split="test",
            thresholds={
                rule: limits["value"][(limits["model"] == name) & (limits["rule"] == rule)].to_numpy()
                if rule in tuned
                else fixed_threshold(rule)
                for rule in rules
            },
            exclusive=exclusive,
            replicates=20,
        )
        for name, frame in scores.items()
    ]
    counts = count_images(labels.merge(split))
    return Results(pd.concat(rows, ignore_index=True), ["net"], ["PTC"], counts, title="A study"), limits, labels, split, scores


def texts(table) -> dict[str, list[str]]:
    return {name: [cell.text for cell in cells] for name, cells in table.rows}


def test_thresholds_table_by_hand():
    # a on validation: 0.4, 0.3 | 0.2, 0.1: cut at 0.25. On test: 0.3 and 0.26 are a yes: F1 of yes and of no 1/2.
    # At 0.5 nothing is: 0 and 4/6, mean 1/3. Better by 1/6.
    # b cannot be tuned: 0.5, one of two is found: yes 2/3, no 4/5.
    results, limits, *_ = study()
    table, values = threshold_tables.thresholds_table(results, RULES, limits)
    assert [(group.heading, group.columns) for group in table.groups] == [
        ("net", ("F1 at 0.5", "best F1: t", "best F1: F1", "best F1: ±", "Youden: t", "Youden: F1", "Youden: ±"))
    ]
    assert texts(table) == {
        "A": ["0.333", "0.250", "0.500", "+0.167", "0.250", "0.500", "+0.167"],
        "B": ["0.733", "0.500", "0.733", "+0.000", "0.500", "0.733", "+0.000"],
        "Global": ["0.533", "–", "0.617", "+0.083", "–", "0.617", "+0.083"],
    }
    assert table.notes[0] == "For 1 class the validation images lack positives or negatives, so 0.5 is used: b."
    assert table.notes[1].endswith("as it is for votes of 0 and 1: PTC.")
    row = values.set_index("class").loc["a"]
    assert row["net f1 threshold"] == pytest.approx(0.25)
    assert row["net f1 difference"] == pytest.approx(1 / 6)
    assert row["net youden f1"] == 0.5
    assert row["net fixed-0.5 f1 low"] <= row["net fixed-0.5 f1"] <= row["net fixed-0.5 f1 high"]
    assert row["PTC f1 difference"] == 0
    assert "best F1: one threshold" not in table.caption
    meaning = "(mean over the positive and the negative class)"
    assert (
        f"Best F1: one threshold t per class, with the best F1-score {meaning} on the validation images; Youden"
        in table.caption
    )
    assert table.caption.startswith(f"F1-score {meaning} on the test images")


def test_fixed_rules_need_no_thresholds_and_leave_out_no_model():
    results, *_ = study(["fixed-0.5", "fixed-0.2"])
    table, _ = threshold_tables.thresholds_table(results, ["fixed-0.5", "fixed-0.2"], NONE)
    assert [group.heading for group in table.groups] == ["net", "PTC"]
    # a at 0.2: 0.3 and 0.26 are a yes, 0.2 is not.
    assert texts(table)["A"] == ["0.333", "0.500", "+0.167", "0.333", "0.333", "+0.000"]
    # b at 0.2: all are: yes 4/6, no 0. Worse.
    assert texts(table)["B"][:3] == ["0.733", "0.333", "-0.400"]
    assert "validation" not in table.caption


def test_rules_table_by_hand_with_the_exclusive_class():
    # At 0.2, a is a yes for images e and g, b for all four. b is the more likely each time, so a becomes no.
    rules = ["fixed-0.5", "fixed-0.2"]
    results, *_ = study(rules, exclusive="a")
    table, values = threshold_tables.rules_table(results, rules, "a")
    headings = [
        "AUC",
        "Average precision",
        "Loss",
        "F1-score",
        "Precision",
        "NPV",
        "Sensitivity",
        "Specificity",
        "Hamming loss",
        "Accuracy",
        "AUC of decisions",
    ]
    assert [group.heading for group in table.groups] == headings
    assert table.groups[3].columns == ("0.5", "0.2", "0.5+", "0.2+")
    net = texts(table)["net"]
    # AUC of a: of four pairs 0.3 wins both, 0.2 one. Of b: 0.6 wins both, 0.4 ties both.
    assert net[0] == f"{(3 / 4 + 3 / 4) / 2:.3f}"
    # Precision at the two positives of a: 1 and 2 of 3; of b: 1, and 2 of 4 where its second positive ties both negatives.
    assert net[1] == f"{((1 + 2 / 3) / 2 + (1 + 1 / 2) / 2) / 2:.3f}"
    right = [0.3, 0.2, 1 - 0.26, 1 - 0.1, 0.6, 0.4, 1 - 0.4, 1 - 0.4]  # the probability of what is true
    assert net[2] == f"{-np.log(right).mean():.3f}"
    assert texts(table)["PTC"][2] == "–"
    assert net[3:7] == ["0.533", "0.417", "0.533", "0.333"]
    # a at 0.5: never; b: one of two, rightly. At 0.2 a has one right and one wrong, b two of four; with the exclusion a has none.
    assert net[7:11] == ["0.500", "0.500", "0.500", "0.250"]
    # Right among the no: at 0.5 two of four of a and two of three of b; at 0.2 one of two of a, with the exclusion two of four; b has no no.
    assert net[11:15] == ["0.583", "0.250", "0.583", "0.250"]
    assert net[15:19] == ["0.250", "0.750", "0.250", "0.500"]
    assert net[19:23] == ["1.000", "0.250", "1.000", "0.500"]
    # Wrong entries of eight: at 0.5 two of a and one of b; at 0.2 two of a and two of b; with the exclusion two and two.
    assert net[23:27] == ["0.375", "0.500", "0.375", "0.500"]
    assert net[27:31] == ["0.625", "0.500", "0.625", "0.500"]
    # AUC of decisions at 0.5: a 0.5, b (1/2 + 1) / 2; at 0.2: a (1/2 + 1/2) / 2, b (1 + 0) / 2.
    assert net[31:] == ["0.625", "0.500", "0.625", "0.500"]
    assert values.set_index("model").loc["net", "fixed-0.2 accuracy"] == 0.5
    assert "+: a excludes the rest." in table.caption
    without, _ = threshold_tables.rules_table(study(rules)[0], rules)
    assert "excludes" not in without.caption
    assert without.groups[3].columns == ("0.5", "0.2")
    with pytest.raises(ThoraxError, match=r"no f1 of model 'net' for 'Global' by rule 'fixed-0.5\+exclusive'"):
        threshold_tables.rules_table(study(rules)[0], rules, "a")


def test_both_tables_print_the_f1_of_the_positive_side_where_that_is_the_papers():
    rules = ["fixed-0.5", "f1_positive"]
    results, limits, *_ = study(rules)
    results = replace(results, f1_metric="f1_positive")
    table, values = threshold_tables.thresholds_table(results, rules, limits, learned=["PTC"])
    assert table.groups[0].columns == ("F1 at 0.5", "best positive F1: t", "best positive F1: F1", "best positive F1: ±")
    # As above: a at 0.25 has one right and one wrong of two, b at 0.5 finds one of two, rightly.
    assert texts(table)["A"] == ["0.000", "0.250", "0.500", "+0.500"]
    assert texts(table)["B"] == ["0.667", "0.500", "0.667", "+0.000"]
    assert values["net f1_positive f1_positive"].tolist() == pytest.approx([1 / 2, 2 / 3, 7 / 12])
    overall, _ = threshold_tables.rules_table(results, rules, learned=["PTC"])
    assert overall.groups[3].heading == "F1-score"
    assert texts(overall)["net"][3:5] == ["0.333", "0.583"]
    for shown in (table, overall):
        assert "of the positive class alone" in shown.caption
        assert (
            sum(
                "ensembles that learn from the validation images (PTC) were tuned on scores of images that" in note
                for note in shown.notes
            )
            == 1
        )


@pytest.mark.parametrize("name", ["Global", "class", "rule", "value", "row"])
def test_a_class_of_any_name_has_its_own_row(name):
    results, limits, *_ = study(name=name)
    table, _ = threshold_tables.thresholds_table(results, RULES, limits)
    shown = {"Global": "Global (class)"}.get(name, name.capitalize())
    assert texts(table)[shown][:3] == ["0.333", "0.250", "0.500"]
    assert texts(table)["Global"][:3] == ["0.533", "–", "0.617"]


def test_what_is_missing_is_said():
    results, limits, *_ = study()
    with pytest.raises(ThoraxError, match="name at least two in the experiment's thresholds"):
        threshold_tables.thresholds_table(results, ["fixed-0.5"], limits)
    with pytest.raises(ThoraxError, match="model 'PTC' by rule 'f1' lack 'a'"):
        threshold_tables.thresholds_table(results, RULES, limits.query("model == 'net'"))
    with pytest.raises(ThoraxError, match="model 'net' by rule 'f1' lack 'a'"):
        threshold_tables.thresholds_table(results, RULES, limits.query("`class` != 'a'"))
    with pytest.raises(ThoraxError, match=r"no f1 of model 'net' for 'a' by rule 'fixed-0\.4'"):
        threshold_tables.thresholds_table(results, ["fixed-0.5", "fixed-0.4"], NONE)


def test_from_scores_to_files_on_the_command_line(tmp_path):
    """metrics and threshold-tables one after the other, as the workflow calls them."""
    results, limits, labels, split, scores = study(exclusive="a")
    paths = {name: str(tmp_path / f"{name}.parquet") for name in ("labels", "split", "net", "PTC", "metrics")}
    store.write_table(labels, paths["labels"], schemas.labels_schema(["a", "b"]))
    store.write_table(split, paths["split"], schemas.SPLITS)
    identifiers = split[["image_id", "split"]]
    logits = np.log(scores["net"] / (1 - scores["net"]))
    for name, frame in (("net", logits), ("PTC", scores["PTC"])):
        store.write_table(pd.concat([identifiers, frame], axis=1), paths[name], schemas.scores_schema(["a", "b"]))
    data = ["--labels", paths["labels"], "--split", paths["split"]]
    common = ["--rules", *RULES, "--thresholds", str(tmp_path / "chosen.parquet")]
    summary = str(tmp_path / "summary.json")
    models = ["--predictions", f"net={paths['net']}", "--ensembles", f"PTC={paths['PTC']}", "--exclusive", "a"]
    sizes = ["--replicates", "20", "--out", paths["metrics"], "--summary", summary]
    assert cli.main(["metrics", *data, *models, *common, *sizes]) == 0
    pd.testing.assert_frame_equal(store.read_table(tmp_path / "chosen.parquet"), limits, atol=1e-7)
    shown = [
        "--title",
        "A study",
        "--provenance",
        "phantom",
        "--metrics",
        paths["metrics"],
        "--members",
        "net",
        "--ensembles",
        "PTC",
    ]
    assert cli.main(["threshold-tables", *data, *shown, *common, "--exclusive", "a", "--out", str(tmp_path / "out")]) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"{name}.{suffix}" for name in ("thresholds", "rules") for suffix in ("html", "md", "tex", "csv")}
    table, values = threshold_tables.thresholds_table(results, RULES, limits)
    saved = pd.read_csv(tmp_path / "out" / "thresholds.csv")
    pd.testing.assert_frame_equal(saved, values.assign(provenance="phantom"), atol=1e-7)
    for suffix in ("html", "md", "tex"):
        text = (tmp_path / "out" / f"thresholds.{suffix}").read_text()
        assert all(cell in text for cell in texts(table)["A"])
        assert "these numbers show that the pipeline works" in text
    assert "best F1+" in (tmp_path / "out" / "rules.md").read_text()


def test_a_rule_that_is_none_is_refused_by_the_command_line(capsys):
    with pytest.raises(SystemExit):
        cli.main(["tables", "--rule", "fixed-2"])
    assert "'fixed-2' is not a threshold rule" in capsys.readouterr().err
