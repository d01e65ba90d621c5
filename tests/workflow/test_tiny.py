"""The finished tiny run: its numbers against what can be computed another way, and what a change changes."""

import ast
import json
import re
import shutil
import subprocess
import sys
import zipfile
from html import unescape
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import f1_score, roc_auc_score

from tests.phantom_truth import true_lung_mask
from thorax.archives import padchest
from thorax.evaluation.metrics import sigmoid
from thorax.images.mask_pairs import FRONTAL_VIEWS
from thorax.storage import store
from thorax.storage.schemas import class_columns
from thorax.workflow import cost
from thorax.workflow.jobs import load

from . import browser
from .conftest import CASES, REPOSITORY, another_kernel, environment, snakemake

pytestmark = pytest.mark.slow
CONFIG = CASES / "tiny" / "config.yaml"


def test_nothing_is_left_to_do_after_a_finished_run(tiny_copy):
    """Not even where files lie in the archive and beside the lung masks that no step reads."""
    image = next((tiny_copy / "data/tiny").glob("[0-9]*/*.png"))
    for name in ("readme.txt", ".DS_Store", "labels.xlsx", "0/Thumbs.db", "lung_masks/readme.txt"):
        (tiny_copy / "data/tiny" / name).write_text("mine")
    for name in ("copy.png", "lung_masks/images/copy.png"):
        shutil.copy(image, tiny_copy / "data/tiny" / name)
    dry = snakemake(tiny_copy, "--cores", "2", "--dry-run", config=CONFIG)
    assert "Nothing to be done" in dry.stdout, dry.stdout[-3000:]


def test_every_page_of_the_report_opens_in_a_browser(tiny_run, tmp_path):
    browser.require()
    made = snakemake(tiny_run, "--cores", "1", "--report", str(tmp_path / "report.zip"), config=CONFIG)
    assert made.returncode == 0, made.stdout[-3000:]
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        archive.extractall(tmp_path)
    seen = browser.look_through(tmp_path / "report" / "report.html")
    pages = {
        str(path.relative_to(tiny_run))
        for folder in ("figures", "tables", "papers", "cases")
        for path in (tiny_run / "results" / folder).rglob("*.html")
    }
    assert set(seen) == pages
    for path, found in seen.items():
        title = re.search("<h1>(.*)</h1>", (tiny_run / path).read_text(encoding="utf-8"))[1]
        assert found["heading"] == unescape(title), path
        assert found["shown"] == found["pictures"], path
        assert found["pictures"] or "/figures/" not in path, path
        assert (tiny_run / path).stat().st_size < 1.5e6, path
    assert seen["results/figures/tiny/heatmaps.html"]["pictures"] == 3
    assert seen["results/papers/beyond.html"]["pictures"] == sum(
        seen[path]["pictures"] for path in pages if "/figures/" in path
    )


def test_table_numbers_are_those_of_scikit_learn(tiny_run):
    labels = store.read_table(tiny_run / "results/labels/tiny-specific.parquet").set_index("image_id")
    table = store.read_table(tiny_run / "results/metrics/tiny.parquet")
    predictions = store.read_table(tiny_run / "results/predictions/tiny/first.parquet")
    test = predictions[predictions["split"] == "test"].set_index("image_id")
    checked = 0
    for name in [column for column in labels.columns if column != "patient_id"]:
        truth = labels.loc[test.index, name]
        if truth.nunique() < 2:
            continue
        rows = table[(table["model"] == "first") & (table["class"] == name) & (table["split"] == "test")]
        values = rows[rows["threshold_rule"].isin(["none", "fixed-0.5"])].set_index("metric")["value"]
        probability = sigmoid(test[name].to_numpy())
        assert values["auc"] == pytest.approx(roc_auc_score(truth, probability))
        assert values["f1"] == pytest.approx(f1_score(truth, probability >= 0.5, average="macro"))
        checked += 1
    assert checked >= 3


def test_patients_are_in_one_part_only_and_the_segmenter_saw_training_patients_only(tiny_run):
    split = store.read_table(tiny_run / "results/splits/tiny-pa.parquet")
    assert (split.groupby("patient_id")["split"].nunique() == 1).all()
    assert set(split["split"]) == {"train", "val", "test"}
    pairs = pd.read_csv(tiny_run / "data/tiny/lung_masks/pairs.csv", dtype=str)
    part = split.drop_duplicates("patient_id").set_index("patient_id")["split"]
    assert part.reindex(pairs["patient_id"]).isin(["val", "test"]).any(), "the filter has something to leave out"
    log = (tiny_run / "logs/segmenter/tiny-lungs.log").read_text()
    trained = pairs[part.reindex(pairs["patient_id"]).eq("train").to_numpy() & pairs["view"].isin(FRONTAL_VIEWS)]
    sentence = f"{len(trained)} of {len(pairs)} pairs, of {trained['patient_id'].nunique()} training patients"
    assert re.search(rf"^{sentence}$", log, re.MULTILINE), log


def test_masks_agree_with_the_phantom_truth(tiny_run):
    from thorax.config import load

    settings = load(CONFIG).datasets["tiny"].phantom
    split = store.read_table(tiny_run / "results/splits/tiny-pa.parquet")
    ingested = store.read_table(tiny_run / "results/ingested/tiny.parquet")
    test = ingested.merge(split[split["split"] == "test"], on="image_id")
    assert len(test) >= 8
    ious = []
    for row in test.itertuples():
        lungs = store.read_table(tiny_run / f"results/lungs/tiny-lungs/tiny.{row.shard}.parquet").set_index("image_id")
        if not lungs.loc[row.image_id, "credible"]:
            continue
        mask = store.open_array(tiny_run / f"results/lungs/tiny-lungs/tiny.{row.shard}.npy")[row.row] > 0
        truth = true_lung_mask(settings, row.image_id).astype(np.uint8)
        truth = cv2.resize(truth, (256, 256), interpolation=cv2.INTER_AREA) > 0
        ious.append((mask & truth).sum() / (mask | truth).sum())
    assert len(ious) >= 0.7 * len(test)
    assert np.mean(ious) > 0.75


def test_a_figure_is_rendered_again_from_its_executed_notebook(tiny_copy):
    """By papermill with a kernel of its own, not by the workflow."""
    executed = (tiny_copy / "results/notebooks/tiny/heatmaps.ipynb").read_text()
    mine = tiny_copy / "mine.ipynb"
    mine.write_text(executed.replace("results/figures/tiny/heatmaps", "mine/heatmaps"))
    command = [Path(sys.executable).parent / "papermill", "mine.ipynb", "mine.ipynb"]
    variables = environment(JUPYTER_PATH=str(REPOSITORY / "notebooks"), **another_kernel(tiny_copy / "jupyter"))
    subprocess.run(command, cwd=tiny_copy, check=True, capture_output=True, timeout=300, env=variables)
    drawn = sorted((tiny_copy / "mine").iterdir())
    assert [path.name for path in drawn] == ["classes.html", "classes.png", "classes.svg", "heatmaps.html", "heatmaps.png"]
    for path in drawn:
        assert path.read_bytes() == (tiny_copy / "results/figures/tiny" / path.name).read_bytes()


def _labels_of_test_images(folder) -> pd.DataFrame:
    """The labels of the test images."""
    split = store.read_table(folder / "results/splits/tiny-pa.parquet")
    labels = store.read_table(folder / "results/labels/tiny-specific.parquet")
    return labels[labels["image_id"].isin(split.loc[split["split"] == "test", "image_id"])].set_index("image_id")


def test_a_label_added_to_the_metadata_changes_the_table(tiny_copy, quick):
    table = tiny_copy / "results/tables/tiny/per_class.csv"
    labels = tiny_copy / "results/labels/tiny-specific.parquet"
    before, labels_before = table.read_text(), store.read_table(labels).set_index("image_id")
    added = next(name for name in class_columns(labels_before) if name != "normal")
    test = _labels_of_test_images(tiny_copy)
    image_id = test.index[test[added] == 0][0]

    metadata = tiny_copy / "data/tiny" / padchest.METADATA[0]
    rows = pd.read_csv(metadata, dtype=str, keep_default_na=False)
    row = rows.index[rows["ImageID"] == image_id][0]
    rows.loc[row, "Labels"] = str([*ast.literal_eval(rows.loc[row, "Labels"]), added])
    rows.to_csv(metadata, index=False)

    again = snakemake(tiny_copy, "--cores", "2", "--until", "tables", config=CONFIG, first=quick)
    assert again.returncode == 0, again.stdout[-3000:]
    labels_after = store.read_table(labels).set_index("image_id")[labels_before.columns]
    assert list(labels_after.index) == list(labels_before.index)
    changed = [
        (labels_after.index[row], labels_after.columns[column]) for row, column in np.argwhere(labels_after != labels_before)
    ]
    assert changed == [(image_id, added)]
    assert table.read_text() != before


def test_a_replaced_image_is_noticed_and_changes_its_predictions_and_no_other(tiny_copy, quick):
    image_id = _labels_of_test_images(tiny_copy).index[0]
    paths = [tiny_copy / f"results/predictions/tiny/{model}.parquet" for model in ("first", "baseline")]
    before = [store.read_table(path).set_index("image_id") for path in paths]
    (original,) = (tiny_copy / "data/tiny").glob(f"[0-9]*/{image_id}")
    pixels = cv2.imread(str(original), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(original), pixels.max() - pixels)

    again = snakemake(tiny_copy, "--cores", "2", "--until", "tables", config=CONFIG, first=quick)
    assert again.returncode == 0, again.stdout[-3000:]
    assert "data/tiny has changed since it was last used: 1 files replaced, 0 added, 0 removed." in again.stdout
    for path, old in zip(paths, before, strict=True):
        new = store.read_table(path).set_index("image_id")
        assert list(new.index) == list(old.index)
        assert list(new.index[(new != old).any(axis=1)]) == [image_id]


def test_another_class_in_a_setting_trains_nothing(tiny_run, tmp_path, monkeypatch):
    """Though the job that counts the labels is told which classes settings name."""
    settings = yaml.safe_load(CONFIG.read_text())
    settings["experiments"]["tiny"] |= {"exclusive": "normal", "cooccurrence": ["normal", "cardiomegaly"]}
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    monkeypatch.chdir(tiny_run)
    arguments = ["--snakefile", str(REPOSITORY / "Snakefile"), "--configfile", str(tmp_path / "changed.yaml"), "--cores", "2"]
    planned = {job.rule for job in load(arguments).jobs if job.reason}
    assert {"metrics", "figure_cooccurrence_of_paper"} <= planned
    assert not planned & {"labels", "split", "train", "predict"}


def test_the_estimated_cost_is_what_the_run_took(tiny_run, tmp_path, monkeypatch):
    """From an empty folder, at the committed rates, which were measured elsewhere."""
    arguments = ["--snakefile", str(REPOSITORY / "Snakefile"), "--configfile", str(CONFIG), "--cores", "2"]
    monkeypatch.chdir(tmp_path)
    estimate = json.loads(cost.show(arguments, cores_per_gpu=2, json_=True))["all"]
    assert estimate["phases"]["all"]["jobs"] == len(load(arguments).jobs)

    for kind, size in estimate["result_bytes"].items():
        files = [path for path in (tiny_run / "results" / kind).rglob("*") if path.suffix in (".npy", ".keras")]
        assert size == pytest.approx(sum(path.stat().st_size for path in files), rel=0.2), kind
    taken = [
        pd.read_csv(path, sep="\t") for rule in ("train", "predict") for path in (tiny_run / "benchmarks" / rule).rglob("*.tsv")
    ]
    assert len(taken) == estimate["phases"]["training"]["jobs"] + estimate["phases"]["prediction"]["jobs"]
    seconds = estimate["phases"]["all"]["gpu_hours"] * 3600
    assert 0.2 < seconds / sum(table["s"].sum() for table in taken) < 5  # the rates are of another machine, or one less busy

    monkeypatch.chdir(tiny_run)
    assert json.loads(cost.show(arguments, json_=True))["left"]["phases"]["all"]["jobs"] == 0
