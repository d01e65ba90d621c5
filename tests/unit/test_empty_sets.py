"""Whole runs, in this process, on label sets that leave a part without positives, and with names that tables use themselves."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from tests.phantom_readers import write_readers
from thorax.cli import main
from thorax.evaluation.metrics import GLOBAL
from thorax.report.figures import heatmaps as overlays
from thorax.storage import store

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
RULES = {
    "PTC-mode": "ptc_mode", "PTC-lw": "ptc_lw", "CTP": "ctp", "votes": "max_vote", "largest": "max_probability",
    "weighted": "weighted_average", "stacked": "stacked",
}  # fmt: skip
THRESHOLDS = ["fixed-0.5", "f1", "youden", "sensitivity-0.9"]
MEMBERS = {"dense": "dense", "attention": "attention"}


def run(*words: object) -> None:
    """One verb, which must succeed; lists are several words."""
    flat = [str(one) for word in words for one in (word if isinstance(word, list | tuple) else [word])]
    assert main([*flat, "--debug"]) == 0


def render(notebook: str, figure: str, folder: Path, **parameters: object) -> None:
    """One figure of one of the notebooks."""
    told = {"draw": [figure], "title": "A study", "out": folder / figure, **parameters}
    run("render", "--notebook", NOTEBOOKS / f"{notebook}.ipynb", "--parameters", json.dumps(told, default=str),
        "--out", folder / f"{figure}.ipynb")  # fmt: skip


def write_archive(root: Path, rows: list[dict[str, str]]) -> None:
    random = np.random.default_rng(0)
    root.mkdir()
    for row in rows:
        cv2.imwrite(str(root / row["path"]), random.integers(0, 256, (40, 32), np.uint8))
    with (root / "images.csv").open("w", newline="") as table:
        writer = csv.DictWriter(table, ["path", "patient_id", "labels", "uncertain", "split"], restval="")
        writer.writeheader()
        writer.writerows(rows)


def study(folder: Path, rows: list[dict[str, str]], label_set: dict, cases: int = 4) -> dict[str, Path]:
    """Every step of an experiment on an archive of noise, from the catalog to tables, figures and heatmaps."""
    write_archive(folder / "own", rows)
    files = {name: folder / f"{name}.parquet" for name in ("catalog", "ingested", "labels", "split", "cases", "metrics")}
    data = json.dumps({"archive": "own", "root": str(folder / "own"), "views": ["frontal"], "shards": 1})
    run("catalog", "--settings", data, "--out", files["catalog"], "--boxes", folder / "boxes.parquet")
    run(
        "ingest",
        "--settings",
        data,
        "--catalog",
        files["catalog"],
        "--shard",
        0,
        "--array",
        folder / "a.npy",
        "--table",
        folder / "t.parquet",
    )
    run("merge-ingested", "--settings", data, "--tables", folder / "t.parquet", "--out", files["ingested"],
        "--duplicates", folder / "d.parquet")  # fmt: skip
    settings = json.dumps({"dataset": "own", "views": ["frontal"], **label_set})
    run("labels", "--settings", settings, "--archive", "own", "--catalog", files["catalog"], "--ingested", files["ingested"],
        "--out", files["labels"], "--report", folder / "classes.csv")  # fmt: skip
    settings = json.dumps({"label_sets": ["labels"], "official": True})
    run(
        "split",
        "--settings",
        settings,
        "--labels",
        files["labels"],
        "--catalog",
        files["catalog"],
        "--out",
        files["split"],
        "--quality",
        folder / "quality.csv",
    )
    run(
        "images",
        "--settings",
        json.dumps({"dataset": "own", "size": 32}),
        "--array",
        folder / "a.npy",
        "--ingested",
        files["ingested"],
        "--shard",
        0,
        "--out",
        folder / "i.npy",
    )
    parts = ["--labels", files["labels"], "--split", files["split"]]
    places = ["--ingested", files["ingested"], "--images", folder / "i.npy"]
    run("cases", *parts, "--count", cases, "--out", files["cases"])
    common = {
        "backbone": "cnn",
        "weights": "none",
        "freeze": 0,
        "dense_units": 4,
        "batch_size": 8,
        "epochs": 1,
        "test_every_epoch": [0.4, 0.5],
    }
    for member, head in MEMBERS.items():
        run("train", "--settings", json.dumps({**common, "head": head}), *parts, *places, "--out", folder / f"{member}.keras",
            "--history", folder / f"{member}.csv", "--epochs", folder / f"{member}.epochs.csv", "--work", folder / "work")  # fmt: skip
        run("predict-parts", "--model", folder / f"{member}.keras", *parts, *places, "--out", folder / f"{member}.parquet",
            "--heatmaps", folder / f"{member}.npy", "--attention", folder / f"{member}.attention.npy")  # fmt: skip
    run("baseline", *parts, *places, "--out", folder / "baseline.parquet")
    members = [folder / f"{member}.parquet" for member in MEMBERS]
    models = {name: folder / f"{name}.parquet" for name in (*MEMBERS, "baseline", *RULES)}
    for name, rule in RULES.items():
        settings = json.dumps({"rule": rule, "members": list(MEMBERS)})
        run("ensemble", "--settings", settings, "--predictions", members, *parts, "--out", models[name])
    named = {name: f"{name}={path}" for name, path in models.items()}
    limits = ["--thresholds", folder / "thresholds.parquet"]
    run("metrics", *parts, "--predictions", [named[name] for name in (*MEMBERS, "baseline")], "--ensembles", [named[name] for name in RULES],
        "--rules", THRESHOLDS, *limits, "--replicates", 50, "--out", files["metrics"], "--summary", folder / "summary",
        "--differences", folder / "differences.parquet")  # fmt: skip
    heading = ["--title", "A study", "--provenance", "sample"]
    shown = ["--members", list(MEMBERS), "--ensembles", list(RULES)]
    measured = ["--metrics", files["metrics"], "--differences", folder / "differences.parquet"]
    for verb in ("tables", "difference-tables"):
        run(verb, *heading, *measured, *parts, *shown, "--out", folder / "tables")
    run(
        "threshold-tables",
        *heading,
        "--metrics",
        files["metrics"],
        *parts,
        *shown,
        *limits,
        "--rules",
        THRESHOLDS,
        "--out",
        folder / "tables",
    )
    networks, combined = ([named[name] for name in names] for names in ((*MEMBERS, "baseline"), RULES))
    every = [*parts, "--predictions", networks, "--ensembles", combined]
    best = [*heading, "--metrics", files["metrics"], *every, "--learned", "weighted", "stacked", "--replicates", 50]
    scaling = folder / "scaling.parquet"
    run("calibration", *every, "--out", scaling)
    run("calibration-tables", *best, "--scaling", scaling, "--out", folder / "tables")
    run("operating", *best, "--out", folder / "tables")
    run("groups", *best, "--catalog", files["catalog"], "--groups", "sex", "findings", "folder", "--out", folder / "tables")
    run(
        "summary",
        "--labels",
        f"labels={files['labels']}",
        "--splits",
        f"labels={files['split']}",
        "--provenance",
        "sample",
        "--out",
        folder / "tables",
    )
    for name in ("classes", "quality"):
        run("csv-page", "--csv", folder / f"{name}.csv", "--title", name, "--caption", name, "--out", folder / f"{name}.html")
    columns = ["--columns", "a/CTP", "b/dense", "b/CTP"]
    run("differences", *parts, *columns, "--predictions", f"b/dense={models['dense']}", "--ensembles", f"a/CTP={models['CTP']}",
        f"b/CTP={models['CTP']}", "--replicates", 50, "--out", folder / "apart.parquet")  # fmt: skip
    run("side-by-side", *heading, *parts, "--metrics", [f"{name}={files['metrics']}" for name in "ab"], "--differences",
        folder / "apart.parquet", *columns, "--out", folder / "tables")  # fmt: skip
    write_readers(files["labels"], folder / "readers.csv")
    experts = {"files": [str(folder / "readers.csv")], "reader": "reader", "ignore_extension": True}
    networks = [named[name] for name in MEMBERS]
    scored = ["--predictions", *networks, "--ensembles", [named[name] for name in RULES]]
    run("readers", "--settings", json.dumps(experts), *heading, *parts, *scored, "--replicates", 20, "--out", folder / "tables")
    run("suspects", *heading, *parts, *scored, "--list", folder / "suspects.csv", "--out", folder / "tables")
    run("repeats", *heading, *parts, "--metrics", files["metrics"], "--members", list(MEMBERS), "--predictions", networks,
        f"dense.2={models['dense']}", "--out", folder / "tables")  # fmt: skip
    experiment = {"title": "A study", "provenance": "sample", "label_set": "labels", "split": "split", "image_set": "small",
                  "members": {name: {"backbone": "cnn"} for name in MEMBERS},
                  "ensembles": {name: {"rule": rule, "members": list(MEMBERS)} for name, rule in RULES.items()}}  # fmt: skip
    blocks = {
        "label_set": {"dataset": "own"},
        "split": {"label_sets": ["labels"]},
        "image_set": {"dataset": "own"},
        "dataset": json.loads(data),
    }
    run("overview", "--settings", json.dumps({"a": {"experiment": experiment, **blocks}}), "--metrics", f"a={files['metrics']}",
        "--labels", f"a={files['labels']}", "--splits", f"a={files['split']}", "--out", folder / "tables")  # fmt: skip
    shown_pages = [
        {"heading": name, "page": str(folder / f"tables/{name}.html"), "category": "Tables"}
        for name in ("overview", "global", "per_class")
    ]
    config = {
        "datasets": {"own": json.loads(data)},
        "label_sets": {"labels": {"dataset": "own", "views": ["frontal"]}},
        "splits": {"split": blocks["split"]},
        "image_sets": {"small": blocks["image_set"]},
        "experiments": {"a": experiment},
        "run": ["a"],
    }
    site = {"title": "A site", "config": config, "pages": shown_pages, "captions": {}}
    run("site", "--settings", json.dumps(site), "--metrics", f"a={files['metrics']}", "--labels", f"a={files['labels']}",
        "--splits", f"a={files['split']}", "--out", folder / "index.html")  # fmt: skip
    for name in ("site.zip", "site.html"):
        run("share", "--index", folder / "index.html", "--out", folder / name)
    of_labels = {"labels": files["labels"], "split": files["split"]}
    heatmaps = {name: folder / f"{name}.npy" for name in MEMBERS}
    seen = {"cases": files["cases"], "ingested": files["ingested"], "arrays": [folder / "a.npy"], "boxes": folder / "boxes.parquet",
            "labels": files["labels"], "heatmaps": heatmaps, "predictions": dict(zip(MEMBERS, members, strict=True)),
            "ensemble": models["CTP"], "attention": {"attention": folder / "attention.attention.npy"}}  # fmt: skip
    explained = ["--title", "A study", "--labels", files["labels"], "--ingested", files["ingested"], "--predictions"]
    explained += [f"{name}={path}" for name, path in seen["predictions"].items()]
    explained += ["--heatmaps", *(f"{name}={path}" for name, path in heatmaps.items())]
    run("case-browser", *explained, "--provenance", "sample", "--cases", files["cases"], "--ensemble", models["CTP"], "--mean", "CTP",
        "--boxes", seen["boxes"], "--arrays", seen["arrays"], "--boxes-by", "archive", "--split", files["split"], "--scaling", scaling,
        "--settings", json.dumps(experts), "--out", folder / "browser.html")  # fmt: skip
    run(
        "records", *explained, "--split", files["split"], "--out", folder / "records.parquet", "--coco", folder / "records.json"
    )
    for figure in ("distribution", "shares", "cooccurrence"):
        render("labels", figure, folder, **of_labels)
    render("models", "training", folder, histories={name: folder / f"{name}.csv" for name in MEMBERS})
    render("models", "epochs", folder, epochs={name: folder / f"{name}.epochs.csv" for name in MEMBERS})
    for name in ("dense", "CTP", "PTC-lw", "stacked"):
        scores = {"scores": models[name], "logits": name not in RULES, "model": name, "provenance": "sample"}
        render("evaluation", "roc", folder / name, **of_labels, **scores)
    render("evaluation", "readers", folder, **of_labels, **scores, experts=experts, readers=experts["files"])
    render("evaluation", "suspects", folder, suspects=folder / "suspects.csv", count=5, ingested=files["ingested"],
           images=[folder / "i.npy"], provenance="sample")  # fmt: skip
    tables = {"operating": "operating", "reliability": "calibration_per_class"}
    scores = {
        "predictions": {name: models[name] for name in (*MEMBERS, "baseline")},
        "ensembles": {name: models[name] for name in RULES},
    }
    for figure, table in tables.items():
        chosen = {"chosen": folder / f"tables/{table}.csv", "scaling": scaling, "provenance": "sample"}
        render("evaluation", figure, folder, **of_labels, **scores, **chosen)
    seen |= {"scaling": scaling, "ensemble_name": "CTP"}
    for figure in ("heatmaps", "classes", "attention"):
        render("explanation", figure, folder, **seen)
    return files


def rows_of(findings: dict[str, str], parts: str) -> list[dict[str, str]]:
    """One image of each patient; `parts` has a letter for each (a: train, v: val, t: test)."""
    named = {"a": "train", "v": "val", "t": "test"}
    return [
        {"path": f"{index:02}.png", "patient_id": f"p{index:02}", "split": named[letter], **findings.get(f"{index:02}", {})}
        for index, letter in enumerate(parts)
    ]


@pytest.mark.slow
def test_a_class_without_a_positive_test_image_has_no_auc_and_no_case(tmp_path):
    """One class, which 2 of 30 patients have, none of them in test."""
    found = {"03": {"labels": "Mass"}, "21": {"labels": "Mass"}}
    files = study(tmp_path, rows_of(found, "a" * 20 + "v" * 4 + "t" * 6), {"without_class": "keep"})
    assert store.read_table(files["cases"]).empty
    assert store.open_array(tmp_path / "dense.npy").shape[:2] == (10, 1)
    assert store.open_array(tmp_path / "attention.attention.npy").shape[0] == 10
    metrics = store.read_table(files["metrics"])
    areas = metrics[(metrics["metric"] == "auc") & (metrics["split"] == "test")]
    assert sorted(set(areas["class"])) == sorted(["Mass", GLOBAL])
    assert areas["value"].isna().all()
    assert metrics.loc[(metrics["metric"] == "auc") & (metrics["split"] == "val"), "value"].notna().all()
    assert json.loads((tmp_path / "summary/CTP.json").read_text())["auc"] is None
    row = next(line for line in (tmp_path / "tables/per_class.md").read_text().splitlines() if line.startswith("| Mass"))
    assert row.split("|")[2:5] == [" 2 ", " 0 ", " – "]
    assert len(store.read_table(tmp_path / "records.parquet")) == 6
    assert json.loads((tmp_path / "records.json").read_text())["categories"] == [{"id": 1, "name": "Mass"}]
    assert overlays.NO_CASE in (tmp_path / "heatmaps.html").read_text()
    assert (tmp_path / "heatmaps.png").stat().st_size > 1000
    for name in ("attention", "classes", "CTP/roc"):
        assert (tmp_path / f"{name}.html").stat().st_size > 5000


NAMES = ["ok", "row", "shard", "index", "low", "high", "value", "class", "level_0", "0 a", "image", "free"]


@pytest.mark.slow
def test_any_class_name_works_and_parts_may_lack_a_class(tmp_path):
    """Names of the tables' own columns; the first has no positive in val, the second only unknown labels in val and test; one test image."""
    random = np.random.default_rng(1)
    parts = "a" * 24 + "v" * 5 + "t"
    found = {}
    for index, letter in enumerate(parts):
        names = [name for name in NAMES if random.random() < 0.4]
        if letter != "a":
            names = [name for name in names if name not in NAMES[:2]]
        found[f"{index:02}"] = {"labels": "|".join(names), "uncertain": NAMES[1] if letter != "a" else ""}
    found["29"]["labels"] = "|".join(NAMES[2:5])
    files = study(tmp_path, rows_of(found, parts), {"without_class": "keep"})
    labels = store.read_table(files["labels"]).set_index("image_id")
    assert sorted(labels.columns) == sorted(["patient_id", *NAMES])
    assert [labels.loc["29.png", name] for name in NAMES] == [0, -1, 1, 1, 1, *[0] * 7]
    predictions = store.read_table(tmp_path / "dense.parquet")
    assert sorted(predictions.columns) == sorted(["image_id", "split", *NAMES])
    for name in ("dense", "baseline", "stacked", "weighted"):
        assert np.isfinite(store.read_table(tmp_path / f"{name}.parquet")[NAMES].to_numpy()).all()
    metrics = store.read_table(files["metrics"])
    assert set(metrics["class"]) == {GLOBAL, *NAMES}
    assert metrics.loc[(metrics["metric"] == "auc") & (metrics["split"] == "test"), "value"].isna().all()
    chosen = pd.read_parquet(tmp_path / "thresholds.parquet").query("model == 'stacked'").set_index(["class", "rule"])
    assert chosen.loc[[(NAMES[0], "f1"), (NAMES[1], "f1")], "defined"].tolist() == [False, False]
    assert chosen.loc[(NAMES[0], "f1"), "value"] == 0.5
    assert len(store.read_table(files["cases"])) == 1
    assert overlays.NO_CASE not in (tmp_path / "heatmaps.html").read_text()


def test_names_that_result_tables_need_themselves_are_refused_with_the_row(tmp_path, capsys):
    for name in ("image_id", "patient_id", "split", "all images"):
        folder = tmp_path / name
        folder.mkdir()
        write_archive(folder / "own", rows_of({"01": {"labels": f"Mass|{name}"}}, "aat"))
        data = json.dumps({"archive": "own", "root": str(folder / "own"), "views": ["frontal"]})
        assert main(["catalog", "--settings", data, "--out", str(folder / "c"), "--boxes", str(folder / "b")]) == 1
        assert (
            f"images.csv, row 3, column 'labels': {name!r} is a column or row of the result tables" in capsys.readouterr().err
        )


def test_test_images_without_a_known_label_have_no_score_after_an_epoch(tmp_path):
    from thorax.evaluation.metrics import overall_by_threshold
    from thorax.report.figures.training import epoch_curves
    from thorax.storage.schemas import EPOCHS_COLUMNS

    rows = overall_by_threshold(np.full((3, 2), -1), np.full((3, 2), 0.7), [0.4])
    assert np.isnan([value for row in rows for value in row[1:]]).all()
    tested = pd.DataFrame([(1, *row) for row in rows], columns=list(EPOCHS_COLUMNS))
    tested.to_csv(tmp_path / "m.csv", index=False)
    assert len(epoch_curves({"m": tmp_path / "m.csv"}, "x").axes) == 2
