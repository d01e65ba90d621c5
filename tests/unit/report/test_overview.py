"""The overview: which model stands for an experiment, what is next to it, and whose hours are counted, by hand-made cases."""

import json

import numpy as np
import pandas as pd
import pytest

from thorax import backend, cli
from thorax.config import Setup, Setups
from thorax.errors import ThoraxError
from thorax.report import published_numbers as reference
from thorax.report.tables import overview
from thorax.report.tables.results import PROVENANCE
from thorax.storage import schemas, store

# By model: AUC on validation, then AUC, F1 and Hamming loss on test
NUMBERS = {
    "DenseNet201": (0.80, 0.95, 0.70, 0.10),
    "Xception": (0.85, 0.78, 0.61, 0.12),
    "PTC-lw": (0.79, 0.70, 0.66, 0.09),
    "CTP": (0.85, 0.8404, 0.6467, 0.0655),
    "stack": (0.99, 0.60, 0.50, 0.30),
    "baseline": (0.97, 0.97, 0.90, 0.01),
}


def setup(data: str = "full", **experiment) -> Setup:
    given = {
        "title": "Specific labels", "paper": "liz2022", "provenance": data, "label_set": "s", "split": "p", "image_set": "i",
        "members": {name: {"backbone": name} for name in ("DenseNet201", "Xception")},
        "ensembles": {
            "PTC-lw": {"rule": "ptc_lw", "members": ["DenseNet201", "Xception"]},
            "CTP": {"rule": "ctp", "members": ["DenseNet201", "Xception"]},
            "stack": {"rule": "stacked", "members": ["DenseNet201", "Xception"]},
        },
        "beside": {"paper": "liz2022", "variant": "specific"},
        **experiment,
    }  # fmt: skip
    blocks = {
        "label_set": {"dataset": "chest"},
        "split": {"label_sets": ["s"]},
        "image_set": {"dataset": "chest"},
        "dataset": {"archive": "padchest", "root": "data"},
    }
    return Setup(experiment=given, **blocks)


def metrics(numbers=NUMBERS, rule: str = "fixed-0.5", classes: dict[str, float] | None = None) -> pd.DataFrame:
    rows = []
    for model, (on_val, auc, f1, hamming) in numbers.items():
        rows.append((model, "Global", "auc", "val", "none", on_val, on_val, on_val, 9))
        for metric, value in (("auc", auc), ("f1", f1), ("f1_positive", f1 / 2), ("hamming", hamming)):
            threshold = "none" if metric == "auc" else rule
            rows.append((model, "Global", metric, "test", threshold, value, value - 0.01, value + 0.02, 9))
        rows += [(model, name, "auc", "test", "none", value, value, value, 3) for name, value in (classes or {}).items()]
    return pd.DataFrame(rows, columns=schemas.METRICS.names)


LABELS = pd.DataFrame({"image_id": list("abcdef"), "patient_id": list("123456"), "x": 1, "y": 0})
SPLIT = pd.DataFrame({"image_id": list("abcdefgh"), "split": ["train"] * 3 + ["val", "test", "test", "test", "left_out"]})


# The 35 classes of Table 8, which the paper's means are over
CLASSES = dict.fromkeys(set(reference.load("liz2022", "8", "specific")["label"]) - {"Global"}, 0.8)


def row(data: str = "full", numbers=NUMBERS, rule: str = "fixed-0.5", classes=CLASSES, **experiment) -> overview.Row:
    return overview.Row(setup(data, **experiment), metrics(numbers, rule, classes), LABELS.merge(SPLIT), "shares")


def cells(table) -> list[str]:
    (found,) = [[cell.text for cell in cells] for _, cells in table.rows]
    return found


def test_a_row_says_what_was_run_on_what_and_stands_beside_the_paper():
    """Images by part, and the paper's numbers of the model that is best on validation: not DenseNet201, which is on test."""
    table, values = overview.overview_table({"liz": row()})
    assert [group.heading for group in table.groups] == [
        "Run on", "Paper", "Data set", "Images", "Classes", "Model", "AUC", "F1-score", "Hamming loss"
    ]  # fmt: skip
    assert cells(table) == [
        "full", "Liz et al. 2022", "chest", "3", "1", "2", "2", "CTP", "CTP",
        "0.840", "0.840", "+0.000", "0.647", "0.647", "+0.000", "0.066", "0.065", "+0.001",
    ]  # fmt: skip
    assert table.rows[0][1][9].detail == "0.830–0.860"
    (record,) = values.to_dict("records")
    assert (record["auc"], record["auc low"], record["auc high"]) == pytest.approx((0.8404, 0.8304, 0.8604))
    assert (record["experiment"], record["train"], record["val"], record["test"]) == ("liz", 3, 1, 2)


def test_of_equal_models_the_ensemble_is_chosen_and_those_that_learn_from_validation_are_not():
    assert row().model == "CTP"  # Xception has the same AUC, stack and the baseline a higher one
    assert row(numbers=NUMBERS | {"Xception": (0.86, 0.1, 0.1, 0.1)}).model == "Xception"
    undefined = {name: (np.nan, *rest) for name, (_, *rest) in NUMBERS.items()}
    assert row(numbers=undefined).model == "PTC-lw"
    assert row(ensembles={}).model == "Xception"


@pytest.mark.parametrize("data", ["phantom", "sample"])
def test_what_is_not_the_archive_is_said_plainly_and_has_no_difference(data, tmp_path):
    table, values = overview.overview_table({"liz": row(data)})
    assert table.rows[0][1][0].text == data
    assert table.data == f"Run on: {data}. {PROVENANCE[data]}"
    assert all(group.columns == ("ours", "paper (not comparable)") for group in table.groups[6:])
    assert values.filter(like="difference").isna().all(axis=None)
    assert values["auc published"].tolist() == [0.84]


def test_with_several_kinds_of_data_each_experiment_is_named():
    rows = {"a": row("full", title="Real"), "b": row("phantom", title="Drawn")}
    table, values = overview.overview_table(rows)
    assert table.data == (f"Run on: phantom (Drawn). {PROVENANCE['phantom']} Run on: full (Real). {PROVENANCE['full']}")
    assert [row[1][-1].text for row in table.rows] == ["+0.001", "–"]
    assert [row[1][-2].text for row in table.rows] == ["0.065", "0.065†"]
    assert "† Not comparable: it does not measure the same as ours." in table.notes
    assert values["hamming difference"].tolist() == pytest.approx([0.001, np.nan], nan_ok=True)


def test_where_the_paper_lacks_our_model_its_best_one_is_beside_it_without_a_difference():
    """Table 9: of all models CTP has the highest AUC, 0.840."""
    found = row(ensembles={}, members={"Mine": {"backbone": "Xception"}}, numbers={"Mine": (0.5, 0.7, 0.6, 0.2)})
    assert (found.model, found.published_model) == ("Mine", "CTP")
    assert found.published("auc").value == 0.84
    assert np.isnan(found.published("auc").difference)


def test_a_paper_without_a_mean_is_compared_over_the_classes_of_both():
    """Kejriwal's Figure 3 prints AUCs of 13 findings; two of them are ours."""
    beside = {"paper": "kejriwal", "variant": "attention", "models": {"CTP": "average"}}
    printed = reference.published(setup(beside=beside).experiment.beside).query("model == 'CTP'").set_index("class")["value"]
    found = row(beside=beside, classes={"Effusion": 0.9, "Hernia": np.nan, "Mass": 0.7, "Other": 0.1})
    published = found.published("auc")
    assert published.value == pytest.approx((printed["Effusion"] + printed["Mass"]) / 2)
    assert (published.ours, published.classes) == (pytest.approx(0.8), 2)
    assert np.isnan(published.difference)  # the paper does not say what it was measured on
    assert np.isnan(found.published("f1").value)
    table, _ = overview.overview_table({"k": found})
    cell = table.rows[0][1][10]
    assert cell.text.endswith("* (0.800)"), "ours over the same classes is next to it in every format"
    assert cell.detail == "over 2 classes"


def test_another_papers_numbers_are_named():
    """Saturi et al. have no numbers by class: those next to ours are Irvin et al.'s."""
    beside = {"paper": "irvin2019", "variant": "u-ignore", "models": {"CTP": "DenseNet121"}}
    table, _ = overview.overview_table({"saturi": row(paper="saturi2025", beside=beside)})
    assert (table.rows[0][1][1].text, table.rows[0][1][8].detail) == ("Saturi et al. 2025", "of Irvin et al. 2019")
    own, _ = overview.overview_table({"liz": row()})
    assert own.rows[0][1][8].detail == ""


def test_means_over_other_classes_have_no_difference():
    """Where ours lack a class of the paper's mean, or its AUC is undefined, the numbers are shown and not subtracted."""
    found = row(classes=CLASSES | {"nodule": np.nan})
    table, values = overview.overview_table({"liz": found})
    assert cells(table)[9:] == ["0.840", "0.840", "–", "0.647", "0.647", "+0.000", "0.066", "0.065", "+0.001"]
    assert np.isnan(values["auc difference"][0])
    note = "Specific labels: the paper's mean is over other classes than ours (AUC), so there is no difference;"
    assert any(text.startswith(note) for text in table.notes)
    lacking = row(classes={name: value for name, value in CLASSES.items() if name != "nodule"})
    assert cells(overview.overview_table({"liz": lacking})[0])[11::3] == ["–", "–", "–"]
    assert not any("other classes" in text for text in overview.overview_table({"liz": row()})[0].notes)


def test_each_experiment_has_the_f1_of_its_paper():
    """Liz et al. and Dunn Beltran and Alsaghier mean different things by F1, so their experiments have columns of their own."""
    theirs = row(beside={"paper": "beltran2022", "variant": "threshold-0.5"}, f1_metric="f1_positive")
    table, values = overview.overview_table({"liz": row(), "beltran": theirs})
    assert [g.heading for g in table.groups][6:] == ["AUC", "F1-score", "F1-score, positive side", "Hamming loss"]
    shown = [[cell.text for cell in cells[12:18]] for _, cells in table.rows]
    assert shown == [["0.647", "0.647", "+0.000", "–", "–", "–"], ["–", "–", "–", "0.323", "–", "–"]]
    assert values["f1"].tolist() == pytest.approx([0.6467, np.nan], nan_ok=True)
    assert values["f1_positive"].tolist() == pytest.approx([np.nan, 0.6467 / 2], nan_ok=True)
    assert any(note.startswith("Each experiment has the F1-score of its paper. F1-score: mean over") for note in table.notes)
    alone, _ = overview.overview_table({"beltran": theirs})
    assert [g.heading for g in alone.groups][6:] == ["AUC", "F1-score, positive side", "Hamming loss"]


def test_an_auc_of_votes_is_said_to_be_one():
    numbers = {**NUMBERS, "PTC-lw": (0.99, 0.70, 0.66, 0.09)}
    found = row(numbers=numbers)
    losses = pd.DataFrame(
        [("PTC-lw", "Global", "loss", "test", "none", np.nan, np.nan, np.nan, 9)], columns=schemas.METRICS.names
    )
    votes = overview.Row(found.setup, pd.concat([found.metrics, losses]), found.labels, "shares")
    said = "The AUC of PTC-lw is computed from votes of 0 and 1, as in Liz et al. 2022, not from probabilities."
    assert said in overview.overview_table({"liz": votes})[0].notes
    assert said not in overview.overview_table({"liz": found})[0].notes


def test_the_threshold_rule_is_that_of_the_papers_tables():
    found = row(thresholds=["fixed-0.4", "f1"], beside=None, rule="fixed-0.4")
    assert found.number("f1")[0] == 0.6467
    assert found.published_model is None
    beside = {"paper": "liz2022", "variant": "specific", "threshold_rule": "fixed-0.6"}
    assert row(thresholds=["fixed-0.4", "fixed-0.6"], beside=beside, rule="fixed-0.6").number("f1")[0] == 0.6467
    with pytest.raises(ThoraxError, match=r"no f1 of model 'CTP' for 'Global' by rule 'fixed-0\.4'"):
        row(thresholds=["fixed-0.4"], beside=None).number("f1")


def records(folder, **trainings: tuple[str, float]) -> list:
    """The records of an experiment's trainings, by member their device and seconds."""
    paths = []
    for member, (device, seconds) in trainings.items():
        paths.append(folder / "history" / "e" / f"{member}.json")
        store.write_text(json.dumps({"device": device, "seconds": seconds, "epochs": 3}), paths[-1])
    return paths


def test_hours_count_gpus_and_never_call_a_cpu_one(tmp_path):
    """2 h on two GPUs and 1 h on one are 5 GPU-hours."""
    found = overview.spent(records(tmp_path, one=("2 GPU", 7200), two=("1 GPU", 3600)))
    assert (found.text, found.detail) == ("5 GPU-hours", "")
    found = overview.spent(records(tmp_path, one=("2 GPU", 7200), two=("CPU", 1800)))
    assert (found.text, found.detail) == ("4 GPU-hours", "and 0.5 hours, no GPU")
    assert overview.spent(records(tmp_path, one=("CPU", 90 * 3600))).text == "90.0 hours, no GPU"
    assert overview.spent(records(tmp_path, one=("CPU", 1))).text == "under 0.001 hours, no GPU"


def test_each_machine_is_named_once(tmp_path, monkeypatch):
    """Records of earlier versions name none."""
    monkeypatch.setattr(backend, "gpu_names", lambda: ["Tesla T4", "Tesla T4"])
    monkeypatch.setattr(backend, "processor", lambda: "Xeon")
    monkeypatch.setattr(backend.os, "sched_getaffinity", lambda _: {0, 1, 5})
    paths = records(tmp_path, one=("2 GPU", 7200), two=("2 GPU", 60), three=("CPU", 60))
    for path in paths[:2]:
        store.write_text(json.dumps(json.loads(path.read_text()) | {"machine": backend.machine()}), path)
    assert overview.machines(paths) == ["2 x Tesla T4, Xeon, 3 cores", "not recorded"]
    monkeypatch.delattr(backend.os, "sched_getaffinity")  # as on macOS
    monkeypatch.setattr(backend.os, "cpu_count", lambda: 8)
    assert backend.machine() == "2 x Tesla T4, Xeon, 8 cores"


def test_a_record_that_says_nothing_is_refused(tmp_path):
    assert overview.spent([]).text == "not recorded"
    for text in ("", "[]", '{"seconds": 1}', '{"device": "CPU", "seconds": "long"}'):
        store.write_text(text, tmp_path / "one.json")
        with pytest.raises(ThoraxError, match=r"one\.json is not the record of a training: delete it and train again\."):
            overview.spent([tmp_path / "one.json"])


def test_hours_are_on_the_page_and_not_in_what_git_keeps(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    store.write_table(metrics(), "m.parquet", schemas.METRICS)
    store.write_table(LABELS, "l.parquet", schemas.labels_schema(["x", "y"]))
    store.write_table(SPLIT.assign(patient_id="1"), "s.parquet", schemas.SPLITS)
    settings = json.dumps({"e": setup("phantom").model_dump(mode="json", exclude_defaults=True)})
    verb = ["overview", "--settings", settings, "--labels", "e=l.parquet", "--splits", "e=s.parquet", "--out", "out"]
    assert cli.main([*verb, "--metrics", "e=m.parquet"]) == 0
    kept = {suffix: (tmp_path / f"out/overview.{suffix}").read_text() for suffix in ("md", "tex", "csv")}
    assert "not recorded" in (tmp_path / "out/overview.html").read_text()
    written = records(tmp_path, DenseNet201=("4 GPU", 1800), Xception=("4 GPU", 1800))
    assert cli.main([*verb, "--metrics", "e=m.parquet", "--records", *map(str, written)]) == 0
    assert "4 GPU-hours" in (tmp_path / "out/overview.html").read_text()
    for suffix, text in kept.items():
        assert (tmp_path / f"out/overview.{suffix}").read_text() == text
        assert "hours" not in text.lower()
    capsys.readouterr()
    assert cli.main([*verb, "--metrics", "f=m.parquet"]) == 1
    assert capsys.readouterr().err == "thorax: Experiment 'e' has no table under --metrics: name it.\n"


def test_the_block_of_the_overview_is_the_configurations():
    given = setup("sample")
    assert Setups.model_validate({"e": given.model_dump(mode="json", exclude_defaults=True)}).root["e"] == given
