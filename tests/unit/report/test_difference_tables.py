"""Tables of paired differences: which pairs, what the sentence says, Holm's correction, tiers, and that files say the same."""

import numpy as np
import pandas as pd
import pytest

from thorax.cli import main
from thorax.evaluation import differences, metrics
from thorax.report.tables import results as tables
from thorax.report.tables.differences import Pairs, overall_table, per_class_table
from thorax.storage import joins, schemas, store

CLASSES = ["common", "medium", "rare"]
SKILL = {"strong": 0.8, "weak": 0.3, "baseline": 0.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """2,400 training images, so that the classes are of three tiers, and 200 images each of val and test; two networks, a mean."""
    folder = tmp_path_factory.mktemp("differences")
    random = np.random.default_rng(4)
    labels = pd.DataFrame(
        {"image_id": [f"i{n:04d}" for n in range(2800)], "patient_id": [f"p{n // 2:04d}" for n in range(2800)]}
    )
    for name, share in zip(CLASSES, (0.5, 0.2, 0.03), strict=True):
        labels[name] = (random.random(2800) < share).astype(np.int8)
    split = labels[["image_id", "patient_id"]].assign(split=["train"] * 2400 + ["val"] * 200 + ["test"] * 200)
    store.write_table(labels, folder / "labels.parquet", schemas.labels_schema(CLASSES))
    store.write_table(split, folder / "split.parquet", schemas.SPLITS)
    scores = {name: labels[CLASSES][2400:] * skill + random.normal(0.0, 0.3, (400, 3)) for name, skill in SKILL.items()}
    scores["CTP"] = metrics.sigmoid(scores["strong"] + 0.5 * scores["weak"])
    for name, values in scores.items():
        table = pd.concat(
            [split.loc[2400:, ["image_id", "split"]], pd.DataFrame(np.asarray(values), split.index[2400:], CLASSES)], axis=1
        )
        store.write_table(table, folder / f"{name}.parquet", schemas.scores_schema(CLASSES))
    networks = {name: folder / f"{name}.parquet" for name in SKILL}
    metrics.make_metrics(
        *(folder / name for name in ("labels.parquet", "split.parquet")), networks, {"CTP": folder / "CTP.parquet"},
        folder / "metrics.parquet", folder / "summary", folder / "thresholds.parquet", 0, 100, differences=folder / "apart.parquet",
    )  # fmt: skip
    return folder


@pytest.fixture
def pairs(folder):
    read = joins.read_labels(folder / "labels.parquet", folder / "split.parquet")
    counts, apart = tables.count_images(read), store.read_table(folder / "apart.parquet")
    results = tables.Results(
        store.read_table(folder / "metrics.parquet"), ["strong", "weak"], ["CTP"], counts, differences=apart
    )
    return Pairs(results, [], 100)


def test_all_pairs_that_tables_need_are_measured(folder):
    apart = store.read_table(folder / "apart.parquet")
    found = list(dict.fromkeys(zip(apart["model"], apart["other"], strict=True)))
    assert found == [
        ("strong", "weak"), ("CTP", "strong"), ("CTP", "weak"), ("strong", "baseline"), ("weak", "baseline"), ("CTP", "baseline"),
    ]  # fmt: skip
    assert set(apart["split"]) == {"test"}
    assert set(apart["class"]) == {*CLASSES, *metrics.SUMMARIES}
    assert apart.loc[apart["class"].isin(metrics.SUMMARIES), "p_holm"].isna().all()
    values = (
        store.read_table(folder / "metrics.parquet").query("split == 'test'").set_index(["model", "class", "metric"])["value"]
    )
    for row in apart.dropna(subset=["difference"]).sample(50, random_state=0).itertuples():
        one, two = (values[model, row[3], row.metric] for model in (row.model, row.other))
        assert (row.value, row.other_value, row.difference) == (one, two, one - two)


def test_tiers_are_means_over_their_classes_by_training_images(folder):
    table = store.read_table(folder / "metrics.parquet").query("split == 'test' and model == 'strong' and metric == 'auc'")
    values = table.set_index("class")[["value", "low", "high"]].T
    assert list(table["class"]) == [*CLASSES, "Global", "Head classes", "Medium classes", "Tail classes"]
    for tier, name in zip(metrics.TIERS, CLASSES, strict=True):  # one class each
        assert values[tier].tolist() == values[name].tolist()


def test_the_pairs_of_the_table_over_all_classes(pairs):
    table, values = overall_table(pairs)
    names = [name for name, _ in table.rows]
    overall = ["CTP minus strong", "strong minus baseline", "weak minus baseline", "CTP minus baseline"]
    assert names[:16] == [f"{m}: {pair}" for m in ("AUC", "Average precision", "F1-score", "Hamming loss") for pair in overall]
    assert names[16:18] == ["AUC, head classes: CTP minus strong", "AUC, head classes: strong minus baseline"]
    assert len(names) == len(values) == 16 + 3 * 4 * 2
    row = values.iloc[1]
    cells = dict(table.rows)["AUC: strong minus baseline"]
    assert [cell.text for cell in cells[2:4]] == [f"+{row['difference']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}"]
    assert (cells[2].bold, cells[4].text) == (True, "100.0%")
    assert "200 test images of 100 patients" in table.caption


def test_sentences_say_who_is_ahead_or_that_nobody_is(pairs):
    words = pairs.sentences()
    value, low, high = pairs.results.difference("strong", "baseline", "Global", "auc")
    said = f"strong has a mean AUC {value:.3f} higher than the baseline, 95% interval {low:.3f} to {high:.3f}."
    assert words.endswith(said)
    assert pairs.chosen == [("CTP", "strong"), ("strong", "baseline")]
    number = pairs.results.differing
    number["CTP", "strong", "Global", "auc"] = (-0.02, -0.03, -0.01)
    assert pairs.sentences().startswith("strong has a mean AUC 0.020 higher than CTP, 95% interval 0.010 to 0.030.")
    number["CTP", "strong", "Global", "auc"] = (0.002, -0.03, 0.04)
    assert pairs.sentences().startswith(
        "By mean AUC, CTP and strong cannot be told apart (difference +0.002, 95% interval -0.030 to 0.040)."
    )


def test_ensembles_that_learn_on_validation_images_are_not_chosen(pairs):
    assert Pairs(pairs.results, ["CTP"], 100).chosen == [("strong", "baseline")]


def test_the_table_per_class_has_corrected_p_values_and_says_when_they_cannot_be_small(pairs):
    table, values = per_class_table(pairs)
    assert [name for name, _ in table.rows] == ["Common", "Medium", "Rare", "Global"]
    assert [group.heading for group in table.groups][1::3] == ["AUC: CTP minus strong", "AUC: strong minus baseline"]
    of_auc = values[(values["model"] == "strong") & (values["metric"] == "auc") & (values["class"] != "Global")]
    assert of_auc["p_holm"].tolist() == differences.holm(of_auc["p"].to_numpy()).tolist()
    assert dict(table.rows)["Global"][-1].text == "–"  # means have no corrected p
    # The smallest p of 100 replicates is 2/101; times 3 classes it is above 0.05
    assert any(
        "With 100 bootstrap samples no p corrected for 3 classes can be below 0.05: 120 are needed" in n for n in table.notes
    )
    first = values[values["class"] == "common"].iloc[0]
    text = dict(table.rows)["Common"][1].text
    assert text == f"{first['difference']:+.3f} ({first['low']:.3f} to {first['high']:.3f})"


def test_models_of_several_experiments_differ_as_those_of_one(folder):
    apart = store.read_table(folder / "apart.parquet")
    names = {f"{experiment}/{model}": folder / f"{model}.parquet" for experiment, model in (("a", "strong"), ("b", "weak"))}
    arguments = ["differences", "--labels", folder / "labels.parquet", "--split", folder / "split.parquet", "--predictions",
                 *(f"{name}={path}" for name, path in names.items()), "--columns", "b/weak", "a/strong", "--replicates", "100",
                 "--out", folder / "two.parquet"]  # fmt: skip
    assert main([*map(str, arguments)]) == 0
    found = store.read_table(folder / "two.parquet")
    expected = apart[(apart["model"] == "strong") & (apart["other"] == "weak")].assign(model="a/strong", other="b/weak")
    pd.testing.assert_frame_equal(found, expected.reset_index(drop=True))


def test_the_verb_writes_both_tables_in_all_forms(folder):
    arguments = ["difference-tables", "--title", "T", "--provenance", "phantom", "--metrics", folder / "metrics.parquet",
                 "--differences", folder / "apart.parquet", "--labels", folder / "labels.parquet", "--split", folder / "split.parquet",
                 "--members", "strong", "weak", "--ensembles", "CTP", "--out", folder / "out"]  # fmt: skip
    assert main([*map(str, arguments)]) == 0
    names = {f"{name}.{suffix}" for name in ("differences", "differences_per_class") for suffix in ("html", "md", "tex", "csv")}
    assert {path.name for path in (folder / "out").iterdir()} == names
    page = (folder / "out" / "differences.html").read_text()
    assert "paired bootstrap over patients" in page
