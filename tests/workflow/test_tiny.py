"""The finished tiny run: its numbers against what can be computed another way, and what a change changes."""

import ast
import hashlib
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

from tests.phantom_readers import write_readers
from tests.phantom_truth import true_lung_mask
from thorax import cli
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


def _read_exactly(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


@pytest.fixture(scope="module")
def evaluated(tiny_run, tmp_path_factory):
    """What `thorax evaluate` computes from the files that results/ ships: metrics, thresholds and differences of all pairs of models."""
    results, out = tiny_run / "results", tmp_path_factory.mktemp("evaluated")
    paths = {
        path.stem: path for kind in ("predictions", "ensembles") for path in sorted((results / kind / "tiny").glob("*.parquet"))
    }
    shipped = store.read_table(results / "differences/tiny.parquet")
    pairs = list(dict.fromkeys(zip(shipped["model"], shipped["other"], strict=True)))
    for model, other in pairs:
        kinds = [
            flag for flag, name in (("--logits", model), ("--second-logits", other)) if paths[name].parts[-3] == "predictions"
        ]
        arguments = ["evaluate", paths[model], "--second", paths[other], "--labels", results / "labels/tiny-specific.parquet",
                     "--common", *kinds, "--rules", "fixed-0.5", "f1", "--out", out / f"{model}-{other}"]  # fmt: skip
        assert cli.main(list(map(str, arguments))) == 0
    assert {name for pair in pairs for name in pair} == set(paths)
    tables = {
        name: pd.concat([_read_exactly(out / f"{model}-{other}" / f"{name}.csv") for model, other in pairs], ignore_index=True)
        for name in ("metrics", "thresholds", "differences")
    }
    return {name: table.drop_duplicates(ignore_index=True) for name, table in tables.items()}


def test_metrics_thresholds_and_differences_are_those_of_evaluate_digit_for_digit(tiny_run, evaluated):
    """Of every model and pair, class, metric and threshold rule."""
    for name, keys in (
        ("metrics", ["model", "class", "metric", "threshold_rule"]),
        ("thresholds", ["model", "class", "rule"]),
        ("differences", ["model", "other", "class", "metric", "threshold_rule"]),
    ):
        shipped = store.read_table(tiny_run / f"results/{name}/tiny.parquet")
        shipped = shipped[shipped["split"] == "test"] if "split" in shipped else shipped
        again = evaluated[name].merge(shipped[keys])[shipped.columns]  # it has operating points as well
        assert len(again) == len(shipped) > 40
        expected, found = (table.sort_values(keys, ignore_index=True) for table in (shipped, again))
        pd.testing.assert_frame_equal(found, expected, check_exact=True, check_dtype=False)


def test_every_number_of_the_result_tables_is_that_of_evaluate_digit_for_digit(tiny_run, evaluated):
    """Values and intervals of all models, and all differences."""
    folder = tiny_run / "results/tables/tiny"
    numbers = evaluated["metrics"].set_index(["model", "class", "metric", "threshold_rule"])[["value", "low", "high"]]
    limits = evaluated["thresholds"].set_index(["model", "class", "rule"])["value"]
    models = list(dict.fromkeys(evaluated["metrics"]["model"]))
    checked = set()

    def check(record: dict, key: str, model: str, name: str, metric: str, rule: str) -> None:
        expected = numbers.loc[model, name, metric, "none" if metric in ("auc", "average_precision", "loss") else rule]
        found = [record[key + end] for end in ("", " low", " high")]
        np.testing.assert_array_equal(np.array(found, float), expected.to_numpy(float), f"{key}, {name}")
        checked.update((key, f"{key} low", f"{key} high"))

    names = ("per_class", "global", "thresholds", "rules", "differences", "differences_per_class")
    tables = {name: _read_exactly(folder / f"{name}.csv") for name in names}
    for row in tables["per_class"].to_dict("records"):
        for model in models:
            check(row, f"{model} auc", model, row["class"], "auc", "fixed-0.5")
            check(row, f"{model} f1", model, row["class"], "f1", "fixed-0.5")
    for row in tables["global"].to_dict("records"):
        for model in models:
            check(row, model, model, "Global", row["metric"], "fixed-0.5")
    for row in tables["thresholds"].to_dict("records"):
        for model in models:
            for rule in ("fixed-0.5", "f1"):
                check(row, f"{model} {rule} f1", model, row["class"], "f1", rule)
            limit = np.nan if row["class"] == "Global" else limits[model, row["class"], "f1"]
            np.testing.assert_equal(row[f"{model} f1 threshold"], limit)
            np.testing.assert_equal(row[f"{model} f1 difference"], row[f"{model} f1 f1"] - row[f"{model} fixed-0.5 f1"])
            checked.update((f"{model} f1 threshold", f"{model} f1 difference"))
    for row in tables["rules"].to_dict("records"):
        for key in [key for key in row if key not in ("model", "provenance") and not key.endswith((" low", " high"))]:
            rule, _, metric = key.rpartition(" ")
            check(row, key, row["model"], "Global", metric, rule)
    for name in ("differences", "differences_per_class"):
        shown = tables[name].drop(columns="provenance")
        keys = ["model", "other", "class", "metric", "threshold_rule"]
        again = shown[keys].merge(evaluated["differences"], how="left")
        pd.testing.assert_frame_equal(again[shown.columns], shown, check_exact=True, check_dtype=False)
        checked.update(shown.columns)
    told = {"class", "images", "test_images", "metric", "model", "provenance"}
    assert {column for table in tables.values() for column in table.columns} - told == checked - told


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
    packed = {path: path.stat().st_mtime_ns for path in (tiny_copy / "results/ingested").iterdir()}

    again = snakemake(tiny_copy, "--cores", "2", "--until", "tables", config=CONFIG, first=quick)
    assert again.returncode == 0, again.stdout[-3000:]
    labels_after = store.read_table(labels).set_index("image_id")[labels_before.columns]
    assert list(labels_after.index) == list(labels_before.index)
    changed = [
        (labels_after.index[row], labels_after.columns[column]) for row, column in np.argwhere(labels_after != labels_before)
    ]
    assert changed == [(image_id, added)]
    assert table.read_text() != before
    assert {path: path.stat().st_mtime_ns for path in packed} == packed  # the same images are not ingested again


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


def test_the_estimate_counts_the_jobs_and_bytes_of_the_run(tiny_run, tmp_path, monkeypatch):
    """From an empty folder. What a job takes is computed from rates in tests/unit/workflow/test_cost.py: here nothing is timed."""
    arguments = ["--snakefile", str(REPOSITORY / "Snakefile"), "--configfile", str(CONFIG), "--cores", "2"]
    monkeypatch.chdir(tmp_path)
    estimate = json.loads(cost.show(arguments, cores_per_gpu=2, json_=True))["all"]
    assert estimate["phases"]["all"]["jobs"] == len(load(arguments).jobs)

    for kind, size in estimate["result_bytes"].items():
        files = [path for path in (tiny_run / "results" / kind).rglob("*") if path.suffix in (".npy", ".keras")]
        assert size == pytest.approx(sum(path.stat().st_size for path in files), rel=0.2), kind
    timed = [path for rule in ("train", "predict") for path in (tiny_run / "benchmarks" / rule).rglob("*.tsv")]
    assert len(timed) == estimate["phases"]["training"]["jobs"] + estimate["phases"]["prediction"]["jobs"]

    monkeypatch.chdir(tiny_run)
    assert json.loads(cost.show(arguments, json_=True))["left"]["phases"]["all"]["jobs"] == 0


@pytest.fixture(scope="module")
def bundled_run(tiny_run, tmp_path_factory, quick) -> Path:
    """A copy of the tiny run with a bundle of its model."""
    folder = Path(shutil.copytree(tiny_run, tmp_path_factory.mktemp("bundled") / "run", copy_function=shutil.copy2))
    how = ["--snakefile", REPOSITORY / "Snakefile", "--configfile", CONFIG]
    made = subprocess.run(
        ["thorax", "bundle", "tiny", "--", *how],
        cwd=folder,
        env=environment(quick),
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr[-3000:]
    assert "1 of 1 steps (100%) done" in made.stderr, "nothing of a finished run is made again"
    digest = hashlib.sha256((folder / "results/bundles/tiny.zip").read_bytes()).hexdigest()
    assert re.fullmatch(rf"results/bundles/tiny\.zip: \d+\.\d MB, SHA-256 {digest}", made.stdout.splitlines()[-1])
    return folder


def test_a_bundle_of_the_finished_run_predicts_as_the_run_did(bundled_run):
    from thorax import backend
    from thorax.bundles.bundle import open_bundle

    results, bundle = bundled_run / "results", open_bundle(bundled_run / "results/bundles/tiny.zip")
    contents = bundle.contents
    assert (contents.model, contents.members) == ("CTP", ("first", "second", "third"))
    backend.prepare(0, 1)
    assert bundle.segmenter().input_shape == (None, 64, 64, 1)
    ingested = store.read_table(results / "ingested/tiny.parquet").set_index("image_id")
    packed = [store.open_array(results / f"images/32-lungs/tiny.{shard}.npy") for shard in range(2)]
    expected = store.read_table(results / "ensembles/tiny/CTP.parquet").set_index("image_id")
    places = ingested.loc[expected.index, ["shard", "row"]].itertuples(index=False)
    pixels = np.stack([packed[shard][row] for shard, row in places])[..., None]
    logits = np.stack([bundle.network(name).predict_on_batch(pixels) for name in contents.members])
    np.testing.assert_allclose(contents.scores(logits), expected[list(contents.classes)], atol=1e-3)
    assert "Phantom radiographs" in bundle.card
    assert "| to compare: mean box |" in bundle.card
    identifiers = {
        *ingested.index,
        *store.read_table(results / "catalog/tiny.parquet")["patient_id"],
        str(bundled_run),
        "data/tiny",
    }
    for name in bundle.manifest.files:
        text = bundle.read(name).decode("latin-1")
        assert not {one for one in identifiers if len(one) > 5 and one in text}, name


def test_files_are_predicted_as_the_run_predicted_them(bundled_run, tmp_path, capsys, monkeypatch):
    """The same bytes give the same pixels, so the networks' numbers are those of the run; the phantom's damaged file is skipped."""
    from thorax.bundles import model, reference
    from thorax.bundles.bundle import open_bundle

    results, bundle = bundled_run / "results", open_bundle(bundled_run / "results/bundles/tiny.zip")
    assert reference.is_valid(bundle.contents.reference)
    listed = store.read_table(results / "catalog/tiny.parquet").set_index("image_id")
    ingested = store.read_table(results / "ingested/tiny.parquet").set_index("image_id")
    expected = store.read_table(results / "ensembles/tiny/CTP.parquet").set_index("image_id")
    damaged = ingested.index[~ingested["ok"]].tolist()
    wanted = listed.loc[[*expected.index, *damaged], ["path"]]
    wanted.to_csv(bundled_run / "data/tiny/wanted.csv", index=False)
    seen, see = [], model.Preprocessing.see
    monkeypatch.setattr(model.Preprocessing, "see", lambda self, radiographs: seen.append(see(self, radiographs)) or seen[-1])
    arguments = ("results/bundles/tiny.zip", "data/tiny/wanted.csv", "--out", str(tmp_path / "p.parquet"), "--threads", "1")
    monkeypatch.chdir(bundled_run)
    assert cli.main(["predict", *arguments]) == 3
    said = capsys.readouterr()
    assert f"{listed.loc[damaged[0], 'path']} is skipped: the file is cut or damaged.\n" in said.err
    packed = [store.open_array(results / f"images/32-lungs/tiny.{shard}.npy") for shard in range(2)]
    places = ingested.loc[expected.index, ["shard", "row"]].itertuples(index=False)
    np.testing.assert_array_equal(np.concatenate([pixels for pixels, _ in seen]), [packed[shard][row] for shard, row in places])
    table = store.read_table(tmp_path / "p.parquet")
    classes = list(bundle.contents.classes)
    assert table["path"].tolist() == list(np.repeat(wanted["path"].iloc[: len(expected)], len(classes)))
    scores = table["probability"].to_numpy().reshape(-1, len(classes))
    np.testing.assert_allclose(scores, expected[classes], atol=1e-3)
    limits = np.array([bundle.contents.thresholds[bundle.contents.rule][name] for name in classes])
    np.testing.assert_array_equal(table["decision"].to_numpy().reshape(scores.shape), scores > limits)
    lungs = pd.concat([store.read_table(results / f"lungs/tiny-lungs/tiny.{shard}.parquet") for shard in range(2)])
    found = lungs.set_index("image_id").loc[expected.index, "credible"].to_numpy()
    flags = table["flags"].to_numpy().reshape(scores.shape)[:, 0]
    np.testing.assert_array_equal([("no credible lungs" not in text) for text in flags], found)
    assert np.mean([bool(text) for text in flags]) < 0.3  # so few training images


def test_readers_doubted_labels_and_repeated_trainings_can_be_asked_for_later(tiny_copy, tmp_path, quick):
    """The other tables stay as they are."""
    results = tiny_copy / "results"
    write_readers(results / "labels/tiny-specific.parquet", tiny_copy / "readers.csv")
    settings = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    experts = {"files": ["readers.csv"], "reader": "reader", "ignore_extension": True}
    settings["experiments"]["tiny"] |= {"experts": experts, "suspects": 12, "repeats": 2}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    before = {name: (results / name).read_bytes() for name in ("tables/tiny/per_class.html", "metrics/tiny.parquet")}
    done = snakemake(tiny_copy, "--cores", "2", config=tmp_path / "config.yaml", first=quick)
    assert done.returncode == 0, done.stdout[-3000:]
    assert {name: (results / name).read_bytes() for name in before} == before
    assert (results / "predictions/tiny/first.2.parquet").is_file()
    page = (results / "papers/beyond.html").read_text(encoding="utf-8")
    for heading in ("Agreement of readers", "Models and readers", "Labels that are probably wrong", "Repeated trainings"):
        assert f"<h2>{heading}" in page, heading
    assert '"read": true' in (results / "cases/tiny/cases-1.html").read_text(encoding="utf-8")
    assert (results / "figures/tiny/suspects.html").stat().st_size < 1.5e6
    listed = pd.read_csv(results / "suspects/tiny.csv", dtype={"image_id": str})
    truth = store.read_table(results / "labels/tiny-specific.parquet").set_index("image_id")
    assert [truth.loc[image, name] for image, name in zip(listed["image_id"], listed["class"], strict=True)] == listed[
        "label"
    ].tolist()
    repeats = pd.read_csv(results / "tables/tiny/repeats.csv")
    assert (repeats["trainings"] == 2).all()
    models = store.read_table(results / "metrics/tiny.parquet", ["model"])["model"]
    assert not models.str.endswith(".2").any()
