"""`thorax evaluate` on small tables, on published predictions, and on tables that do not fit."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from thorax.cli import main
from thorax.errors import ThoraxError
from thorax.evaluation import calibration, metrics
from thorax.report import external

SHARED = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture
def tables(tmp_path):
    """Labels with patients, and predictions in another order under names with a prefix."""
    random = np.random.default_rng(0)
    images = [f"{number:03d}.png" for number in range(60)]
    labels = pd.DataFrame({"image": images, "Patient ID": [number // 2 for number in range(60)]})
    labels[["Mass", "Pleural Thickening"]] = random.integers(0, 2, (60, 2))
    predictions = pd.DataFrame({"Image Index": images})
    predictions[["prob_Mass", "prob_Pleural_Thickening"]] = random.random((60, 2)).round(2)
    labels.to_csv(tmp_path / "labels.csv", index=False)
    predictions.sample(frac=1, random_state=1).to_csv(tmp_path / "net.csv", index=False)
    return tmp_path, labels, predictions


NAMES = {"prefix": "prob_", "rename": {"prob_Pleural_Thickening": "Pleural Thickening"}, "replicates": 20}


def run(folder: Path, predictions: str = "net.csv", labels: str = "labels.csv", **options) -> str:
    return external.evaluate_tables(folder / predictions, folder / labels, **NAMES | {"patients": "Patient ID"} | options)


def test_anybodys_tables_are_measured_as_by_scikit_learn(tables):
    folder, labels, predictions = tables
    text = run(folder, out=folder / "out")
    found = pd.read_csv(folder / "out" / "metrics.csv").set_index(["class", "metric", "threshold_rule"])
    for name in ("Mass", "Pleural Thickening"):
        pair = labels[name], predictions["prob_" + name.replace(" ", "_")]
        assert found.loc[(name, "auc", "none"), "value"] == pytest.approx(roc_auc_score(*pair), abs=1e-9)
        assert found.loc[(name, "average_precision", "none"), "value"] == pytest.approx(
            average_precision_score(*pair), abs=1e-9
        )
        assert found.loc[(name, "auc", "none"), ["images", "patients", "n_positive"]].tolist() == [60, 30, labels[name].sum()]
    assert "net.csv against labels.csv: 60 images of 30 patients and 2 classes." in text
    value, low, high = found.loc[("Mass", "auc", "none"), ["value", "low", "high"]]
    assert f"| {value:.3f} ({low:.3f}–{high:.3f}) |" in text
    assert text.startswith((folder / "out" / "evaluation.md").read_text().rstrip("\n"))


def test_the_command_line_prints_the_tables(tables, capsys):
    folder, _, _ = tables
    words = ["evaluate", folder / "net.csv", "--labels", folder / "labels.csv", "--prefix", "prob_", "--patients", "Patient ID"]
    assert main([*map(str, words), "--rename", "prob_Pleural_Thickening=Pleural Thickening", "--replicates", "5"]) == 0
    assert "| Pleural Thickening | 60     | 30       |" in capsys.readouterr().out


def test_parquet_logits_and_a_split_give_tuned_thresholds_and_measure_test_images(tables):
    """As the tables under results/: identifiers, the part, and logits."""
    folder, labels, predictions = tables
    named = predictions.rename(columns={"Image Index": "image_id", "prob_Mass": "Mass", "prob_Pleural_Thickening": "Effusion"})
    scores = named[["Mass", "Effusion"]].clip(0.01, 0.99)
    logits = np.log(scores / (1 - scores)).astype(np.float32)
    split = np.repeat(["train", "val", "test"], 20)
    table = pd.concat([named[["image_id"]].assign(split=split), logits], axis=1)
    table[table["split"] != "train"].to_parquet(folder / "net.parquet", index=False)
    truth = labels.rename(columns={"image": "image_id", "Patient ID": "patient_id", "Pleural Thickening": "Effusion"})
    truth.astype({"patient_id": str}).to_parquet(folder / "labels.parquet", index=False)
    text = external.evaluate_tables(
        folder / "net.parquet",
        folder / "labels.parquet",
        logits=True,
        common=True,
        rules=["youden"],
        replicates=5,
        out=folder / "o",
    )
    assert "20 images of 10 patients and 2 classes" in text
    assert "Of 40 images of net.parquet and 60 of labels.parquet, the 40 that both have are used." in text
    assert "20 validation images choose thresholds and scaling." in text
    rows = pd.read_csv(folder / "o" / "metrics.csv")
    found = rows[rows["threshold_rule"].isin(("none", "youden"))].set_index(["class", "metric"])
    assert found.loc[("Mass", "auc"), "value"] == pytest.approx(
        roc_auc_score(labels["Mass"][40:], scores["Mass"][40:]), abs=1e-9
    )
    limit = pd.read_csv(folder / "o" / "thresholds.csv").set_index(["class", "rule"]).loc[("Mass", "youden"), "value"]
    hits = (scores["Mass"][40:] > limit)[labels["Mass"][40:] == 1]
    assert found.loc[("Mass", "sensitivity"), "value"] == pytest.approx(hits.mean())


def test_two_models_are_compared_on_the_same_samples(tables):
    folder, labels, predictions = tables
    better = predictions.assign(prob_Mass=0.9 * labels["Mass"] + 0.1 * predictions["prob_Mass"])
    better.to_csv(folder / "better.csv", index=False)
    text = run(folder, "better.csv", second=folder / "net.csv", replicates=50, out=folder / "out")
    table = pd.read_csv(folder / "out" / "differences.csv").set_index(["class", "metric"])
    area = roc_auc_score(labels["Mass"], predictions["prob_Mass"])
    assert table.loc[("Mass", "auc"), "difference"] == pytest.approx(1 - area, abs=1e-9)
    assert table.loc[("Mass", "auc"), ["same_sign", "p", "p_holm"]].tolist() == pytest.approx([1, 2 / 51, 4 / 51])
    assert (table.loc["Pleural Thickening", "difference"] == 0).all()
    assert "With 50 samples no corrected p value can be below 0.05: give --replicates 80 or more." in text


def test_head_medium_and_tail_classes_are_summarised_by_the_training_labels(tables):
    folder, _, _ = tables
    training = pd.DataFrame({"image": np.arange(2000), "Mass": 1, "Pleural Thickening": [1] * 50 + [0] * 1950})
    training.to_csv(folder / "training.csv", index=False)
    run(folder, training=folder / "training.csv", out=folder / "out")
    found = pd.read_csv(folder / "out" / "metrics.csv").set_index(["class", "metric"])["value"]
    assert found["Head classes", "auc"] == found["Mass", "auc"]
    assert found["Tail classes", "f1"] == found["Pleural Thickening", "f1"]


def test_words_blanks_and_uncertain_labels(tables):
    folder, labels, _ = tables
    words = labels.astype({"Mass": str})
    words["Mass"] = ["YES" if answer else "no" for answer in labels["Mass"]]
    words.loc[0, "Mass"], words.loc[1, "Mass"] = "", "-1"
    words.to_csv(folder / "words.csv", index=False)
    run(folder, labels="words.csv", out=folder / "out")
    row = pd.read_csv(folder / "out" / "metrics.csv").query("`class` == 'Mass' and metric == 'auc'").iloc[0]
    assert (row["images"], row["n_positive"]) == (58, labels["Mass"][2:].sum())


def test_a_class_without_positives_is_blank_and_says_why(tables):
    folder, labels, _ = tables
    labels.assign(Mass=0).to_csv(folder / "none.csv", index=False)
    text = run(folder, labels="none.csv", out=folder / "out")
    rows = pd.read_csv(folder / "out" / "metrics.csv").query("`class` == 'Mass'").set_index("metric")
    assert rows.loc["auc", "why_blank"] == "no positives"
    assert np.isnan(rows.loc["auc", "value"])
    assert "No positives: Mass." in text
    assert rows.loc["specificity", "value"] > 0


BAD = {
    "misses images": (lambda p, y: p.iloc[2:], {}, "net.csv lacks 2 images .*for example. of .*labels.csv: add them, or give --common"),
    "misses a class": (lambda p, y: p.drop(columns="prob_Mass"), {}, "net.csv lacks class 'Mass' of .*labels.csv: give --rename"),
    "an unknown class": (lambda p, y: p.assign(Nodul=0.1), {}, "labels.csv lacks class 'Nodul' of .*net.csv: give --rename or --prefix"),
    "other names": (lambda p, y: p, {"prefix": "", "rename": {}}, r"no class in common \('prob_Mass' and 'Mass'.*: give --rename or --prefix"),
    "another archive": (lambda p, y: p.assign(**{"Image Index": p.index + 900}), {}, "have no image in common .*: give labels of the same"),
    "outside": (lambda p, y: p.assign(prob_Mass=1.5), {}, "net.csv, image '000.png', class 'Mass': '1.5' is not from 0 to 1: .*--logits"),
    "no number": (lambda p, y: p.assign(prob_Mass="high"), {}, "net.csv, image '000.png', class 'Mass': 'high' is not a number: predict"),
    "blank": (lambda p, y: p.assign(prob_Mass=np.nan), {}, "net.csv, image '000.png', class 'Mass': '' is not a number"),
    "twice": (lambda p, y: pd.concat([p, p.iloc[:1]]), {}, "net.csv has image '000.png' more than once: keep one of its rows"),
    "two columns": (lambda p, y: p.rename(columns={"prob_Mass": "Image Index"}), {}, "net.csv has two columns 'Image Index': rename or"),
    "one class twice": (lambda p, y: p.assign(Mass=0.1), {}, "net.csv has two columns for class 'Mass': correct --rename or --prefix"),
    "no rows": (lambda p, y: p.iloc[:0], {}, "net.csv has no rows: give a table with one row for each image"),
    "no patients": (lambda p, y: p, {"patients": "patient"}, "--patients or --groups: 'patient' is not a column of .*labels.csv"),
    "no identifier": (lambda p, y: p, {"id_": "image"}, "net.csv has no column 'image'.*: name that of the identifiers with --id"),
    "no validation": (lambda p, y: p, {"rules": ["f1"]}, "The rule f1 chooses thresholds on validation images: give the predictions a"),
    "unknown part": (lambda p, y: p.assign(split="testing"), {}, "net.csv has 'testing' in the column 'split': write train, val or test"),
    "no test part": (lambda p, y: p.assign(split="val"), {}, "net.csv has no image of the part test in the column 'split': predict test"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "options", "message"), BAD.values(), ids=BAD)
def test_tables_that_do_not_fit_are_refused_in_one_sentence(tables, change, options, message):
    folder, labels, predictions = tables
    change(predictions, labels).to_csv(folder / "net.csv", index=False)
    with pytest.raises(ThoraxError, match=message) as error:
        run(folder, **options)
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda y: y.assign(Mass="maybe"),
            "labels.csv, image '000.png', class 'Mass': 'maybe' is not a label: write 1, 0, yes or no",
        ),
        (lambda y: y.assign(age=57), "net.csv lacks class 'age' of .*labels.csv: give --rename"),
        (
            lambda y: y.assign(**{"Patient ID": ""}),
            "labels.csv has no patient for image '000.png': fill in the column 'Patient ID'",
        ),
    ],
)
def test_labels_that_do_not_fit_are_refused(tables, change, message):
    folder, labels, predictions = tables
    predictions.to_csv(folder / "net.csv", index=False)
    change(labels).to_csv(folder / "labels.csv", index=False)
    with pytest.raises(ThoraxError, match=message):
        run(folder)


def test_files_that_are_not_tables_are_refused(tables):
    folder, _, _ = tables
    (folder / "bad.parquet").write_text("not a table")
    with pytest.raises(ThoraxError, match=r"bad.parquet is not a readable CSV or Parquet table \(.+\): save it again\.$"):
        run(folder, "bad.parquet")
    with pytest.raises(ThoraxError, match=r"nothing.csv is not there: check the path"):
        run(folder, "nothing.csv")
    with pytest.raises(ThoraxError, match=r"net.csv is given twice: compare it with another model's predictions"):
        run(folder, second=folder / "net.csv")


def test_without_patients_each_image_counts_as_one_and_it_is_said(tables):
    folder, labels, _ = tables
    labels.drop(columns="Patient ID").to_csv(folder / "labels.csv", index=False)
    text = run(folder, patients=None)
    assert "60 images of 60 patients" in text
    assert "No column of patients, so each image counts as a patient of its own: name their column with --patients" in text


@pytest.mark.real
def test_published_aucs_of_nih_are_reproduced(tmp_path):
    """Zech's DenseNet121 on 22,433 images, with the labels of NIH's own table."""
    predictions = SHARED / "predictions" / "nih_densenet121.csv.gz"
    if not predictions.exists():
        pytest.skip(f"needs {predictions}")
    published = pd.read_csv(SHARED / "predictions" / "nih_densenet121_aucs.csv").set_index("label")["auc"]
    source = pd.read_csv(SHARED / "metadata" / "Data_Entry_2017_v2020.csv.gz")
    labels = source["Finding Labels"].str.get_dummies("|")[list(published.index)]
    pd.concat([source[["Image Index", "Patient ID"]], labels], axis=1).to_csv(tmp_path / "labels.csv", index=False)
    options = {"prefix": "prob_", "patients": "Patient ID", "common": True, "replicates": 2}
    text = external.evaluate_tables(predictions, tmp_path / "labels.csv", **options, out=tmp_path / "out")
    assert "22,433 images of 6,187 patients and 14 classes" in text
    found = pd.read_csv(tmp_path / "out" / "metrics.csv").query("metric == 'auc'").set_index("class")["value"]
    assert np.abs(found[published.index] - published).max() < 1e-9
    assert found[metrics.GLOBAL] == pytest.approx(published.mean(), abs=1e-9)


@pytest.mark.real
def test_chexperts_readers_are_drawn_on_the_models_curves(tmp_path):
    """Three radiologists and two models of the leaderboard on the 500 test studies (Rajpurkar et al. 2021)."""
    folder = SHARED / "predictions" / "chexpert_test"
    if not folder.exists():
        pytest.skip(f"needs {folder}")
    models = folder / "models"
    options = {"second": models / "yww211.csv", "common": True, "replicates": 2, "out": tmp_path}
    answers = sorted((folder / "readers").glob("*.csv"))
    text = external.evaluate_tables(models / "hieupham.csv", folder / "groundtruth.csv", readers=answers, **options)
    assert "3 readers have read 500 of the 500 images that are measured" in text
    points = pd.read_csv(tmp_path / "readers.csv").set_index(["model", "class", "reader"])
    truth, reader = (pd.read_csv(path, index_col=0)["Edema"] for path in (folder / "groundtruth.csv", answers[0]))
    point = points.loc[("hieupham", "Edema", "bc4"), ["sensitivity", "specificity"]]
    assert point.tolist() == pytest.approx([reader[truth == 1].mean(), 1 - reader[truth == 0].mean()])
    below = points["roc_sensitivity"] > points["sensitivity"]
    assert below.groupby("model").sum().to_dict() == {"hieupham": 12, "yww211": 12}
    for name in ("agreement", "readers", "readers_hieupham", "readers_yww211"):
        assert (tmp_path / f"{name}.html").exists()
    page = (tmp_path / "evaluation.html").read_text()
    assert page.count("<img ") == 2
    assert [page.count(f"<h2>{heading}</h2>") for heading in ("hieupham: calibration", "Difference in AUC")] == [1, 1]


def test_operating_points_and_calibration_come_with_validation_images(tables):
    folder, labels, predictions = tables
    predictions.assign(split=["val", "test"] * 30).to_csv(folder / "net.csv", index=False)
    text = run(folder, out=folder / "out")
    limit = (
        pd.read_csv(folder / "out" / "thresholds.csv").set_index(["class", "rule"]).loc[("Mass", "specificity-0.9"), "value"]
    )
    validation, test = (predictions["prob_Mass"][part::2] for part in (0, 1))
    assert (validation[labels["Mass"][0::2] == 0] <= limit).mean() >= 0.9
    found = pd.read_csv(folder / "out" / "metrics.csv").set_index(["class", "metric", "threshold_rule"])["value"]
    sensitivity = (test[labels["Mass"][1::2] == 1] > limit).mean()
    assert found["Mass", "sensitivity", "specificity-0.9"] == pytest.approx(sensitivity)
    assert "## net: at a specificity of 0.9" in text
    header, _, *rows = text.partition("## net: at a specificity of 0.9")[2].partition("\n|")[2].splitlines()[:5]
    assert header.rstrip(" |").endswith("| Images read per true positive")
    assert [row.rstrip(" |")[-3:] for row in rows if row.startswith("| Global ")] == ["| –"]
    table = pd.read_csv(folder / "out" / "calibration.csv").set_index(["class", "metric", "scaling"])["value"]
    brier = ((test - labels["Mass"][1::2]) ** 2).mean()
    assert table["Mass", "brier", "none"] == pytest.approx(brier, abs=1e-9)
    fitted = pd.read_csv(folder / "out" / "scaling.csv").set_index(["class", "kind"]).loc[("Mass", "platt")]
    expected = calibration.fit_scaling(labels["Mass"][0::2].to_numpy(), validation.to_numpy(), "platt")
    assert fitted[["slope", "intercept"]].tolist() == pytest.approx(list(expected))


def test_votes_are_measured_without_calibration(tables):
    folder, _, predictions = tables
    predictions.round().to_csv(folder / "net.csv", index=False)
    text = run(folder, out=folder / "out")
    assert "net gives votes, so there is nothing to calibrate." in text
    assert not (folder / "out" / "calibration.csv").exists()


@pytest.mark.parametrize(
    ("ppv", "printed"),
    [
        ((0.25, 0.2, 0.5), "4.0 (2.0–5.0)"),
        ((0.5, 0, 1), "2.0 (1.0–∞)"),
        ((0.5, 0, 0), "2.0 (∞–∞)"),
        ((0.5, np.nan, np.nan), "2.0"),
        ((0.0005, 0.0004, 0.001), "2,000.0 (1,000.0–2,500.0)"),
        ((0, 0, 0), "–"),
        ((np.nan,) * 3, "–"),
    ],
)
def test_images_read_per_true_positive(ppv, printed):
    assert external._read_per_hit(*ppv) == printed


def test_a_bar_in_a_name_does_not_break_the_table_and_a_small_p_is_not_0():
    assert external.markdown(pd.DataFrame({"Class": ["a|b"]})) == "| Class |\n|-------|\n| a\\|b  |"
    assert [external.p_value(p) for p in (0.0004, 0.0006, np.nan)] == ["<0.001", "0.001", "–"]


def test_models_must_agree_on_the_part_of_each_image(tables):
    folder, _, predictions = tables
    predictions.assign(split=["val", "test"] * 30).to_csv(folder / "net.csv", index=False)
    predictions.assign(split=["test", "val"] * 30).to_csv(folder / "other.csv", index=False)
    with pytest.raises(ThoraxError, match=r"net.csv and .*other.csv have image '000.png' in different parts"):
        run(folder, second=folder / "other.csv")


def test_a_rule_that_is_named_twice_is_measured_once(tables):
    folder, _, predictions = tables
    predictions.assign(split=["val", "test"] * 30).to_csv(folder / "net.csv", index=False)
    assert run(folder, rules=["f1", "f1"]) == run(folder, rules=["f1"])


def test_groups_are_printed_with_their_gaps(tables):
    folder, labels, predictions = tables
    sex = pd.DataFrame({"image": labels["image"], "patient": labels["Patient ID"], "sex": ["M", "M", "F", "F"] * 15})
    sex.to_csv(folder / "about.csv", index=False)
    labels.drop(columns="Patient ID").to_csv(folder / "labels.csv", index=False)
    text = run(folder, about=folder / "about.csv", patients="patient", groups=["sex"], out=folder / "out")
    found = pd.read_csv(folder / "out" / "groups.csv").set_index(["group", "class", "metric"])
    men = (sex["sex"] == "M").to_numpy()
    area, rest = (roc_auc_score(labels["Mass"][side], predictions["prob_Mass"][side]) for side in (men, ~men))
    assert found.loc[("M", "Mass", "auc"), "gap"] == pytest.approx(area - rest, abs=1e-9)
    assert "## net: by sex" in text
    assert "| F     | 30     | 15       |" in text


@pytest.fixture
def read(tables):
    """Three readers, of whom the last has not read the first half, as one table and as one for each."""
    folder, labels, predictions = tables
    answers = [labels.drop(columns="Patient ID").assign(reader=name) for name in "xyz"]
    answers[1]["Mass"] = 1 - answers[1]["Mass"]
    for table in answers:
        table.drop(columns="reader").to_csv(folder / f"{table['reader'][0]}.csv", index=False)
    pd.concat([*answers[:2], answers[2].iloc[30:]]).to_csv(folder / "readers.csv", index=False)
    return folder, labels, predictions


def test_readers_are_compared_with_labels_and_models(read):
    folder, _, _ = read
    text = run(folder, readers=[folder / "readers.csv"], reader="reader", out=folder / "out")
    assert "3 readers have read 60 of the 60 images that are measured; only these count here." in text
    found = pd.read_csv(folder / "out" / "agreement.csv").set_index("class")
    assert found.loc["Mass", "images"] == 30  # where two disagree and no third has read, there is no majority
    assert found.loc["Mass", "cohen"] == 1
    assert found.loc["Pleural Thickening", ["images", "fleiss", "cohen"]].tolist() == [60, 1, 1]
    points = pd.read_csv(folder / "out" / "readers.csv").set_index(["reader", "class"])
    assert points.loc[("y", "Mass"), ["sensitivity", "specificity", "roc_sensitivity"]].tolist() == [0, 0, 1]
    assert points.loc[("x", "Mass"), ["sensitivity", "specificity"]].tolist() == [1, 1]
    one_each = run(folder, readers=[folder / f"{name}.csv" for name in "xyz"])
    assert "3 readers have read 60 of the 60 images" in one_each


def test_readers_that_do_not_fit_are_refused(read):
    folder, labels, _ = read
    with pytest.raises(
        ThoraxError, match="There is only one reader: name the tables of two or more, or the column that names the reader"
    ):
        run(folder, readers=[folder / "x.csv"])
    with pytest.raises(ThoraxError, match=r"readers.csv has image '000.png' more than once"):
        run(folder, readers=[folder / "readers.csv"])
    with pytest.raises(ThoraxError, match=r"reader: 'who' is not a column of .*readers.csv"):
        run(folder, readers=[folder / "readers.csv"], reader="who")
    labels.assign(image=labels.index + 500).to_csv(folder / "others.csv", index=False)
    with pytest.raises(ThoraxError, match=r"others.csv has none of the images that are measured"):
        run(folder, readers=[folder / "others.csv"])
    with pytest.raises(ThoraxError, match=r"readers: 'Mass' is not a column of .*y.csv"):
        labels.drop(columns="Mass").to_csv(folder / "y.csv", index=False)
        run(folder, readers=[folder / "y.csv"])
