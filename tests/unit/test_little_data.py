"""From scores to every table where a class, a part or an image is all there is: nothing fails, and what is undefined is a dash."""

import numpy as np
import pandas as pd
import pytest

from thorax.config import Ensemble, Setups
from thorax.evaluation import calibration, decisions, ensembles, metrics
from thorax.report.figures.operating import operating_figure
from thorax.report.figures.reliability import reliability_figure
from thorax.report.tables import calibration as calibration_tables
from thorax.report.tables import differences as difference_tables
from thorax.report.tables import groups, operating, overview, side_by_side
from thorax.report.tables import results as tables
from thorax.report.tables import thresholds as threshold_tables
from thorax.storage import schemas, store

RULES = ["fixed-0.5", "f1", "f1_positive", "youden", "specificity-0.9"]
LABELS = {  # of the test images by class; validation has the second
    "no positive": ({"rare": [0, 0, 0, 0]}, {"rare": [1, 0, 0, 1]}),
    "no positive anywhere": ({"rare": [0, 0, 0, 0]}, {"rare": [0, 0, 0, 0]}),
    "no negative": ({"row": [1, 1, 1, 1]}, {"row": [1, 1, 1, 1]}),
    "all unknown": ({"ok": [-1, -1, -1, -1], "shard": [1, 0, 0, 1]}, {"ok": [1, 0, 0, 1], "shard": [-1, -1, -1, -1]}),
    "one image": ({"model": [1], "class": [0]}, {"model": [0, 1], "class": [1, 0]}),
}


@pytest.fixture(scope="module", params=LABELS.values(), ids=list(LABELS))
def study(request, tmp_path_factory):
    """Labels, split and scores of a network, the baseline, votes and an ensemble that learns, as files."""
    test, val = request.param
    folder = tmp_path_factory.mktemp("study")
    classes = list(test)
    truth = pd.concat([pd.DataFrame(val), pd.DataFrame(test)], ignore_index=True).astype("int8")
    images, held = len(truth), len(next(iter(test.values())))
    ids = pd.DataFrame({"image_id": [f"i{n}" for n in range(images)]})
    parts = ids.assign(split=["val"] * (images - held) + ["test"] * held)
    patients = ids.assign(patient_id=[f"p{n}" for n in range(images)])
    paths = {
        name: folder / f"{name}.parquet"
        for name in ("labels", "split", "net", "baseline", "votes", "learnt", "metrics", "apart")
    }
    store.write_table(pd.concat([patients, truth], axis=1), paths["labels"], schemas.labels_schema(classes))
    store.write_table(patients.merge(parts), paths["split"], schemas.SPLITS)
    random = np.random.default_rng(0)
    for name in ("net", "baseline"):
        logits = pd.DataFrame(random.normal(size=(images, len(classes))), columns=classes)
        store.write_table(pd.concat([parts, logits], axis=1), paths[name], schemas.scores_schema(classes))
    votes = pd.DataFrame(1.0, index=range(images), columns=classes)
    store.write_table(pd.concat([parts, votes], axis=1), paths["votes"], schemas.scores_schema(classes))
    stack = Ensemble(rule="stacked", members=["net", "baseline"])
    ensembles.make_ensemble(stack, [paths["net"], paths["baseline"]], paths["learnt"], paths["labels"], paths["split"])
    data = paths["labels"], paths["split"]
    limits = folder / "thresholds.parquet"
    networks, combined = ({name: paths[name] for name in names} for names in (("net", "baseline"), ("votes", "learnt")))
    metrics.make_metrics(
        *data, networks, combined, paths["metrics"], folder / "m.json", limits, 0, 20, RULES, classes[0], paths["apart"]
    )
    return paths, limits, truth, classes


@pytest.mark.parametrize("f1_metric", ["f1", "f1_positive"])
def test_every_table_of_what_little_there_is(study, f1_metric, tmp_path):
    paths, limits, truth, classes = study
    data, models = (paths["labels"], paths["split"]), (["net"], ["votes", "learnt"])
    tables.make_tables(
        "T", "phantom", paths["metrics"], *data, *models, tmp_path / "t", f1_metric=f1_metric, differences=paths["apart"]
    )
    difference_tables.make_difference_tables(
        "T",
        "phantom",
        paths["metrics"],
        paths["apart"],
        *data,
        *models,
        tmp_path / "t",
        f1_metric=f1_metric,
        learned=["learnt"],
    )
    threshold_tables.make_threshold_tables(
        "T", "phantom", paths["metrics"], *data, *models, limits, RULES, tmp_path / "t", classes[0], f1_metric, ["learnt"]
    )
    both = {"one": paths["metrics"], "two": paths["metrics"]}
    columns, apart = ["one/net", "two/net"], tmp_path / "apart.parquet"
    metrics.make_differences(*data, dict.fromkeys(columns, paths["net"]), {}, columns, apart, 0, 20, RULES)
    side_by_side.make_side_by_side("T", "phantom", *data, both, apart, columns, tmp_path / "s", f1_metric=f1_metric)
    given = {"title": "T", "provenance": "phantom", "label_set": "s", "split": "p", "image_set": "i", "f1_metric": f1_metric,
             "members": {"net": {"backbone": "Xception"}}}  # fmt: skip
    blocks = {"label_set": {"dataset": "d"}, "split": {"label_sets": ["s"]}, "image_set": {"dataset": "d"},
              "dataset": {"archive": "own", "root": "data"}}  # fmt: skip
    studies = Setups.model_validate({"e": {"experiment": given, **blocks}})
    of_e = ({"e": paths[name]} for name in ("metrics", "labels", "split"))
    overview.make_overview(studies, *of_e, tmp_path / "t")

    per_class = pd.read_csv(tmp_path / "t" / "per_class.csv").set_index("class")
    test = truth[store.read_table(paths["split"])["split"].eq("test").to_numpy()]
    for name in classes:
        has_both = {0, 1} <= set(test[name])
        assert np.isfinite(per_class.loc[name, "net auc"]) == has_both
        assert np.isfinite(per_class.loc[name, f"net {f1_metric}"]) == (
            1 in set(test[name]) or (f1_metric == "f1" and 0 in set(test[name]))
        )
    undefined = [name for name in classes if not {0, 1} <= set(test[name])]
    assert "nan" not in "".join((tmp_path / "t" / f"differences{what}.md").read_text() for what in ("", "_per_class"))
    for table in ("per_class", "global"):
        text = (tmp_path / "t" / f"{table}.md").read_text()
        assert f"AUC of {len(undefined)} class" in text
        assert "nan" not in text
    tuned = store.read_table(limits).query("model == 'net'")
    val = truth[~truth.index.isin(test.index)]
    for row in tuned.query("rule != 'fixed-0.5'").to_dict("records"):
        assert row["defined"] == ({0, 1} <= set(val[row["class"]]))
        assert row["defined"] or row["value"] == decisions.UNTUNED
    if not tuned["defined"].all():
        assert (
            "the validation images lack positives or negatives, so 0.5 is used"
            in (tmp_path / "t" / "thresholds.md").read_text()
        )


def test_every_page_of_the_best_model_of_what_little_there_is(study, tmp_path):
    paths, _, truth, _ = study
    data, heading = (paths["labels"], paths["split"]), ("T", "phantom", paths["metrics"])
    networks, combined = ({name: paths[name] for name in names} for names in (("net", "baseline"), ("votes", "learnt")))
    scaling, catalog = tmp_path / "scaling.parquet", tmp_path / "catalog.parquet"
    known = store.read_table(paths["split"])[["image_id", "patient_id"]]
    rows = known.assign(path="a/" + known["image_id"] + ".png", sex=["M", "F"] * (len(known) // 2) + ["M"] * (len(known) % 2))
    rows = rows.reindex(columns=schemas.CATALOG.names).astype(object)
    store.write_table(rows.where(rows.notna(), None), catalog, schemas.CATALOG)
    calibration.make_calibration(*data, scaling, networks, combined)
    how = {"learned": ["learnt"], "replicates": 5}
    calibration_tables.make_calibration_tables(*heading, scaling, *data, tmp_path, networks, combined, **how)
    operating.make_operating(*heading, *data, "fixed-0.5", tmp_path, networks, combined, **how)
    wanted = ["sex", "age", "findings", "folder"]
    groups.make_groups(*heading, *data, catalog, wanted, "fixed-0.5", tmp_path, networks, combined, **how)
    chosen = tmp_path / "calibration_per_class.csv"
    reliability_figure(*data, networks, combined, scaling, chosen, "T", "phantom", replicates=2)
    operating_figure(*data, networks, combined, tmp_path / "operating.csv", "T", "phantom")
    for name in ("calibration", "calibration_per_class", "operating", "groups"):
        assert "nan" not in (tmp_path / f"{name}.md").read_text()
        blank = pd.read_csv(tmp_path / f"{name}.csv", keep_default_na=False)
        values = [column for column in blank if column.split(" ")[0] in (*calibration.METRICS, "auc", "precision", "value")]
        lacking = (blank[[column for column in values if not column.endswith((" low", " high"))]] == "").any(axis=1)
        assert (blank.loc[lacking, "why_blank"] != "").all(), name
    test = truth[store.read_table(paths["split"])["split"].eq("test").to_numpy()]
    assert f"on {len(test)} test image" in (tmp_path / "calibration.md").read_text()
