"""Tables and figures of calibration, operating points and groups: a small study by hand, and studies in which something is lacking."""

import numpy as np
import pandas as pd
import pytest

from thorax.errors import ThoraxError
from thorax.evaluation import calibration, metrics
from thorax.evaluation.metrics import GLOBAL, read_per_hit, sigmoid
from thorax.report.figures.operating import operating_figure
from thorax.report.figures.reliability import reliability_figure
from thorax.report.tables import calibration as tables
from thorax.report.tables import groups, operating
from thorax.report.tables.results import best_model
from thorax.storage import schemas, store

HEAD = ("A study", "sample")


def study(folder, truth: dict[str, list[int]], logits: dict[str, dict[str, list[float]]], votes=(), patients=None, **catalog):
    """The files of a study whose first half of the images is validation. Those of `votes` are ensembles that give 0 and 1."""
    number = len(next(iter(truth.values())))
    ids = [f"i{place:03}" for place in range(number)]
    known = pd.DataFrame({"image_id": ids, "patient_id": patients or [f"p{place:03}" for place in range(number)]})
    split = known.assign(split=["val"] * (number // 2) + ["test"] * (number - number // 2))
    files = {name: folder / f"{name}.parquet" for name in ("labels", "split", "metrics", "scaling", "catalog")}
    classes = list(truth)
    labels = known.assign(**{name: np.array(values, "int8") for name, values in truth.items()})
    store.write_table(labels, files["labels"], schemas.labels_schema(classes))
    store.write_table(split, files["split"], schemas.SPLITS)
    models: dict[str, dict] = {"predictions": {}, "ensembles": {}}
    for name, scores in logits.items():
        values = pd.DataFrame(scores)
        values = (values > 0).astype(float) if name in votes else values
        path = models["ensembles" if name in votes else "predictions"][name] = folder / f"{name}.parquet"
        store.write_table(pd.concat([split[["image_id", "split"]], values], axis=1), path, schemas.scores_schema(classes))
    about = {"path": "", "view": "PA", "label_source": "text-mined", "sex": None} | catalog
    rows = known.assign(**about).reindex(columns=schemas.CATALOG.names).astype(object).where(lambda frame: frame.notna(), None)
    store.write_table(rows, files["catalog"], schemas.CATALOG)
    parts = files["labels"], files["split"]
    metrics.make_metrics(
        *parts, **models, out=files["metrics"], summary=folder / "m", thresholds=folder / "t.parquet", seed=0, replicates=20
    )
    calibration.make_calibration(*parts, files["scaling"], **models)
    return files, parts, models


def every_page(folder, files, parts, models, columns=("sex", "label_source", "findings", "folder")):
    """Write all tables, draw both figures, and return the CSV files."""
    out = folder / "out"
    tables.make_calibration_tables(*HEAD, files["metrics"], files["scaling"], *parts, out, **models, replicates=20)
    operating.make_operating(*HEAD, files["metrics"], *parts, "fixed-0.5", out, **models, replicates=20)
    groups.make_groups(*HEAD, files["metrics"], *parts, files["catalog"], columns, "fixed-0.5", out, **models, replicates=20)
    scaled = {"scaling": files["scaling"], "chosen": out / "calibration_per_class.csv", "replicates": 5}
    figures = reliability_figure(*parts, **models, **scaled, title="T", provenance="sample")
    curves = operating_figure(*parts, **models, chosen=out / "operating.csv", title="T", provenance="sample")
    names = ("calibration", "calibration_per_class", "operating", "groups")
    for name in names:
        assert {path.suffix for path in out.glob(f"{name}.*")} == {".html", ".md", ".tex", ".csv"}
        assert "nan" not in (out / f"{name}.md").read_text().replace("finanz", "")
    return {name: pd.read_csv(out / f"{name}.csv") for name in names}, figures, curves, out


def random_study(seed=0, images=120, slope=0.5):
    random = np.random.default_rng(seed)
    odds = {name: random.normal(-1, 2, images) for name in ("Mass", "Hernia")}
    truth = {name: (random.random(images) < sigmoid(slope * values)).astype(int).tolist() for name, values in odds.items()}
    worse = {name: random.normal(size=images) for name in odds}
    return truth, {"net": odds, "other": worse, "baseline": worse, "PTC": odds}


def test_numbers_of_all_pages_are_those_of_the_functions_and_the_best_model_is_chosen_on_validation(tmp_path):
    truth, logits = random_study()
    files, parts, models = study(
        tmp_path, truth, logits, ["PTC"], patients=[f"p{n // 2}" for n in range(120)], sex=["M", "F", "F"] * 40,
        path=[f"{'a' if n % 4 else 'b'}/{n}.png" for n in range(120)], label_source=["Physician", "RNN_model"] * 60,
    )  # fmt: skip
    found, reliability, curves, out = every_page(tmp_path, files, parts, models, ["sex", "findings", "folder", "view"])
    labels, scores = pd.DataFrame(truth)[60:], pd.DataFrame(logits["net"]).apply(sigmoid)[60:]
    patients = [f"p{n // 2}" for n in range(60, 120)]
    rows = calibration.measure(labels, scores, patients, replicates=20).set_index(["class", "metric"])
    per_class = found["calibration_per_class"].set_index("class")
    assert set(per_class["model"]) == {"net"}
    assert per_class.loc["Mass", ["images", "patients", "positives"]].tolist() == [60, 30, labels["Mass"].sum()]
    for name in ("Mass", GLOBAL):
        ends = ["ece none", "ece none low", "ece none high"]
        assert per_class.loc[name, ends].tolist() == pytest.approx(rows.loc[(name, "ece"), ["value", "low", "high"]].tolist())
    platt = calibration.fit_scaling(np.array(truth["Mass"][:60]), sigmoid(logits["net"]["Mass"][:60]), "platt")
    assert per_class.loc["Mass", ["platt slope", "platt intercept"]].tolist() == pytest.approx(list(platt), abs=1e-4)
    assert found["calibration"]["model"].tolist() == ["net", "other", "baseline"]
    assert "so these models are left out: PTC" in (out / "calibration.md").read_text()

    points = found["operating"].set_index(["class", "threshold_rule"])
    at = points.loc[("Mass", "specificity-0.9")]
    negative = labels["Mass"] == 0
    said = scores["Mass"] > at["threshold"]
    assert at["specificity"] == pytest.approx((~said & negative).sum() / negative.sum())
    assert at["images read per true positive"] == pytest.approx(said.sum() / (said & ~negative).sum())
    assert at["images read per true positive low"] == pytest.approx(1 / at["precision high"])
    on_val = sigmoid(logits["net"]["Mass"][:60])[np.array(truth["Mass"][:60]) == 0]
    assert (on_val <= at["threshold"]).mean() >= 0.9
    assert points.loc[(GLOBAL, "sensitivity-0.9"), "why_blank"] == "not of a mean over classes"

    of_groups = found["groups"]
    assert of_groups["column"].unique().tolist() == ["sex", "findings", "folder", "label_source"]  # the last one always
    women = of_groups.query("column == 'sex' and group == 'F' and `class` == 'Mass' and metric == 'auc'").iloc[0]
    assert women["images"] == 40
    assert women["n_positive"] == labels["Mass"][np.array(["M", "F", "F"] * 40)[60:] == "F"].sum()
    assert "Not by view: all images have the same one (PA)." in (out / "groups.md").read_text()
    assert sorted(of_groups.query("column == 'findings'")["group"].unique()) == ["0", "1", "2"]
    assert len(reliability.axes) == 4  # all classes together, two classes, and an empty place
    assert len(curves.axes) == 6
    assert "expected calibration error of all together" in str(reliability.get_label())
    assert "mean average precision" in str(curves.get_label())


def test_classes_without_positives_and_few_patients_have_reasons(tmp_path):
    truth = {
        "none": [0] * 8,
        "late": [0] * 4 + [1, 0, 1, 0],
        "early": [1, 0, 1, 0] + [0] * 4,
        "apart": [1, 1, 0, 0] * 2,
        "unknown": [-1] * 8,
    }
    random = np.random.default_rng(0)
    odds = {name: random.normal(size=8).tolist() for name in truth} | {"apart": [2.0, 1.0, -1.0, -2.0] * 2}
    sex = ["M"] * 7 + ["F"]
    files, parts, models = study(tmp_path, truth, {"net": odds}, sex=sex, age=[40.0, 30, None, 70] * 2)
    found, *_, out = every_page(tmp_path, files, parts, models, ["sex", "age"])
    ages = found["groups"].query("column == 'age'")["group"].unique().tolist()
    assert ages == ["(blank)", "18–39", "40–64", "65 and older"]
    per_class = found["calibration_per_class"].set_index("class")
    assert per_class.loc["none", "why_blank"] == "the test images have no positives"
    assert per_class.loc["apart", "why_blank"] == tables._SEPARATED
    assert per_class.loc["late", "platt note"] == "no validation image has the class"
    assert per_class.loc["apart", "temperature note"] == calibration.SEPARATED
    assert np.isnan(per_class.loc["late", "platt slope"])
    assert per_class.loc["late", "ece none"] == per_class.loc["late", "ece platt"]  # what cannot be fitted stays
    assert (
        "No Platt scaling, as no validation image has the class: none, late, unknown."
        in (out / "calibration_per_class.md").read_text()
    )
    points = found["operating"].set_index(["class", "threshold_rule"])
    assert not points.loc[("late", "specificity-0.9"), "threshold_defined"]
    assert points.loc[("late", "specificity-0.9"), "threshold"] == 0.5
    assert points.loc[("none", "fixed-0.5"), "why_blank"] == "no positives"
    assert "0.500\\*" in (out / "operating.md").read_text()
    alone = found["groups"].query("column == 'sex' and group == 'F'")
    assert alone["why_blank"].tolist() == ["a single patient"]
    assert "Not measured, as they are a single patient: sex F" in (out / "groups.md").read_text()


def test_a_study_of_votes_alone_and_without_groups(tmp_path):
    truth, logits = random_study(images=20)
    files, parts, models = study(tmp_path, truth, {"PTC": logits["PTC"]}, ["PTC"])
    found, reliability, _, out = every_page(tmp_path, files, parts, models, ["sex"])
    assert found["calibration"].empty
    assert found["calibration_per_class"].empty
    assert tables.NOTHING in (out / "calibration.md").read_text()
    assert reliability.get_label() == tables.NOTHING
    assert set(found["operating"]["model"]) == {"PTC"}
    assert found["groups"].empty
    assert "There is no group to measure." in (out / "groups.md").read_text()
    assert store.read_table(files["scaling"]).empty
    with pytest.raises(ThoraxError, match="has no scaling of 'PTC'"):
        calibration.read_scaling(files["scaling"], "PTC")


def test_a_model_that_tells_folders_apart_is_warned_of(tmp_path):
    random = np.random.default_rng(0)
    folders = np.array(["a", "b"] * 150)
    truth = {"Mass": (random.random(300) < np.where(folders == "b", 0.9, 0.1)).astype(int).tolist()}
    odds = {"Mass": random.normal(size=300) + 4 * (folders == "b")}
    files, parts, models = study(tmp_path, truth, {"net": odds}, path=[f"{folder}/x.png" for folder in folders])
    *_, out = every_page(tmp_path, files, parts, models, ["folder"])
    text = (out / "groups.md").read_text()
    assert "- Warning. Mass: the pooled AUC of 0.8" in text
    assert "of every group of 'folder'" in text


def test_the_best_model_is_the_first_of_equals_and_never_the_baseline_or_one_that_learnt_from_validation():
    values = {"net": 0.7, "CTP": 0.7, "stacked": 0.9, "baseline": 0.95}
    rows = [(name, GLOBAL, "auc", "val", "none", value, np.nan, np.nan, 1) for name, value in values.items()]
    table = pd.DataFrame(rows, columns=schemas.METRICS.names)
    assert best_model(table, ["net", "baseline"], ["CTP", "stacked"], ["stacked"]) == "CTP"
    with pytest.raises(ThoraxError, match="no model to choose from"):
        best_model(table, ["baseline"], ["stacked"], ["stacked"])


def test_images_read_per_true_positive():
    assert read_per_hit(0.25, 0.2, 0.5) == (4, 2, 5)
    assert read_per_hit(0.25, 0.0, 0.5) == (4, 2, np.inf)
    assert np.isnan(read_per_hit(0.0, 0.0, 0.0)).all()
    assert np.isnan(read_per_hit(0.5, np.nan, np.nan)[1:]).all()
