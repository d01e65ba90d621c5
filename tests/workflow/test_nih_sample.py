"""`make sample` on a third of its real radiographs, and another paper's experiment on the same images: from raw PNG to report."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import roc_auc_score

from bench import start
from thorax.evaluation.metrics import sigmoid
from thorax.storage import store
from thorax.storage.schemas import class_columns

from .conftest import ONE_THREAD, REPOSITORY, SHARED_DATA, environment, snakemake
from .shrink import on_sample

pytestmark = [pytest.mark.slow, pytest.mark.real]
SCRIPT = REPOSITORY / "demo" / "sample.py"
OTHER = "beltran2022"
FOLDERS = ("nih_sample", "nih_starter")
BUNDLE = "results/bundles/nih-real.zip"
RGBA = 6  # the colour type in the header of a PNG file with four channels


def python(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def sample_run(tmp_path_factory, quick) -> Path:
    if not (SHARED_DATA / "nih_sample").is_dir():
        pytest.skip("the real radiographs are not beside the checkout")
    folder = tmp_path_factory.mktemp("sample")
    joined = python(folder, SCRIPT, SHARED_DATA)
    assert joined.returncode == 0, joined.stderr
    metadata = folder / "data/nih_real/Data_Entry_2017_v2020.csv"
    listed = pd.read_csv(metadata, dtype=str)
    assert len(listed) == 1249
    listed[listed["Patient ID"].astype(int) % 3 == 2].to_csv(metadata, index=False)
    shipped, sample = (yaml.safe_load((REPOSITORY / name).read_text("utf-8")) for name in ("config.yaml", "demo/sample.yaml"))
    (folder / "sample.yaml").write_text(yaml.safe_dump(on_sample(shipped, sample, [OTHER]), sort_keys=False))
    done = snakemake(folder, "--cores", "2", *ONE_THREAD, "--", "all", BUNDLE, config=folder / "sample.yaml", first=quick)
    assert done.returncode == 0, done.stdout[-6000:]
    print((folder / "results/tables/nih-real/global.md").read_text())
    return folder


@pytest.fixture(scope="module")
def paths(sample_run) -> pd.Series:
    """Where each image is, below the archive's root."""
    return store.read_table(sample_run / "results/catalog/nih-real.parquet").set_index("image_id")["path"]


def test_every_image_is_read_with_the_channels_that_its_header_names(sample_run, paths):
    ingested = store.read_table(sample_run / "results/ingested/nih-real.parquet").set_index("image_id")
    assert 300 < len(ingested) == len(paths)
    assert set(paths.str.partition("/")[0]) == set(FOLDERS)
    assert ingested["ok"].all()
    headers = {image: (sample_run / "data/nih_real" / path).open("rb").read(26) for image, path in paths.items()}
    four = {image for image, header in headers.items() if header[25] == RGBA}
    assert set(ingested.index[ingested["channels"] == 4]) == four != set()


def test_lungs_are_found_in_nearly_all_images(sample_run):
    tables = [store.read_table(sample_run / f"results/lungs/real-lungs/nih-real.{shard}.parquet") for shard in (0, 1)]
    credible = pd.concat(tables)["credible"]
    print(f"credible masks: {credible.sum()} of {len(credible)}")
    assert credible.mean() > 0.9


def test_every_model_has_a_row_in_the_tables(sample_run):
    metrics = store.read_table(sample_run / "results/metrics/nih-real.parquet")
    rows = metrics[(metrics["class"] == "Global") & (metrics["metric"] == "auc") & (metrics["split"] == "test")]
    auc = rows.set_index("model")["value"]
    print(auc.round(3).to_dict())
    assert set(auc.index) == {"Xception-ImageNet", "EfficientNetB0", "CTP", "baseline"}
    assert auc["baseline"] > 0.55


def test_a_bundle_predicts_real_radiographs_as_the_workflow_does(sample_run, paths, quick):
    expected = (
        store.read_table(sample_run / "results/ensembles/nih-real/CTP.parquet").query("split == 'test'").set_index("image_id")
    )
    listed = pd.DataFrame({"path": "data/nih_real/" + paths[expected.index]})
    listed.to_csv(sample_run / "test.csv", index=False)
    command = ["thorax", "predict", BUNDLE, "test.csv", "--out", "predicted.parquet", "--wide"]
    done = subprocess.run(
        command, cwd=sample_run, env=environment(quick), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    predicted = store.read_table(sample_run / "predicted.parquet")
    assert predicted["path"].tolist() == listed["path"].tolist()
    classes = [name for name in predicted if name != "path"]
    difference = np.abs(predicted[classes].to_numpy() - expected[classes].to_numpy()).max()
    print(f"largest difference of {len(predicted)} images, {len(classes)} classes: {difference:.2g}")
    assert len(predicted) > 80
    assert difference < 1e-3  # weights have half precision in a bundle


@pytest.fixture(scope="module")
def by_folder(sample_run) -> pd.DataFrame:
    said = python(sample_run, SCRIPT)
    assert said.returncode == 0, said.stderr
    print(said.stdout)
    return pd.read_csv(sample_run / "results/tables/nih-real/by_folder.csv").set_index(["model", "folder"])


def test_the_table_by_folder_has_the_numbers_of_scikit_learn(sample_run, paths, by_folder):
    models = ("Xception-ImageNet", "EfficientNetB0", "CTP", "baseline")
    assert set(by_folder.index) == {(model, folder) for model in models for folder in (*FOLDERS, "both")}
    labels = store.read_table(sample_run / "results/labels/nih-real.parquet").set_index("image_id")
    for model in models:
        kind = "ensembles" if model == "CTP" else "predictions"
        scores = store.read_table(sample_run / f"results/{kind}/nih-real/{model}.parquet").query("split == 'test'")
        scores = scores.set_index("image_id")[class_columns(labels)]
        for folder in (*FOLDERS, "both"):
            chosen = scores[paths[scores.index].str.startswith(folder) | (folder == "both")]
            truth = labels.loc[chosen.index, class_columns(labels)]
            both = [name for name in truth if truth[name].nunique() == 2]
            row = by_folder.loc[(model, folder)]
            assert (row["images"], row["classes"]) == (len(chosen), len(both))
            assert row["AUC"] == pytest.approx(np.mean([roc_auc_score(truth[name], chosen[name]) for name in both]))
            values = chosen if kind == "ensembles" else sigmoid(chosen)
            assert row["Hamming loss"] == pytest.approx(((values > 0.5) != (truth == 1)).to_numpy().mean())


def test_networks_are_compared_by_folder(sample_run, by_folder, monkeypatch, capsys):
    monkeypatch.chdir(sample_run)
    Path("config.yaml").symlink_to("sample.yaml")  # read instead of the shipped one
    start.main(["--experiment", "nih-real"])
    said = capsys.readouterr().out
    print(said)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in said.splitlines() if line]
    table = by_folder["AUC"]
    for row in rows[2:4]:
        assert [cell.split()[0] for cell in row[1:4]] == [f"{table[row[0], folder]:.3f}" for folder in (*FOLDERS, "both")]
    gap = rows[6]
    assert gap[0] == "EfficientNetB0 − Xception-ImageNet"
    expected = [table["EfficientNetB0", folder] - table["Xception-ImageNet", folder] for folder in (*FOLDERS, "both")]
    assert [float(cell.split()[0].strip("*")) for cell in gap[1:4]] == pytest.approx(expected, abs=6e-4)


def test_another_paper_runs_on_real_radiographs(sample_run):
    metrics = store.read_table(sample_run / f"results/metrics/{OTHER}.parquet")
    rows = metrics[(metrics["class"] == "Global") & (metrics["metric"] == "auc") & (metrics["split"] == "test")]
    print(rows.set_index("model")["value"].round(3).to_dict())
    assert rows["value"].notna().all()
    for table in ("per_class", "global", "beside_per_class", "beside_global", "rules", "thresholds"):
        assert "sample" in (sample_run / f"results/tables/{OTHER}/{table}.md").read_text(encoding="utf-8"), table
    for figure in ("roc", "training", "shares"):
        assert (sample_run / f"results/figures/{OTHER}/{figure}.png").stat().st_size > 10_000


def test_images_with_four_channels_are_left_out_where_the_paper_does(sample_run):
    ingested = store.read_table(sample_run / "results/ingested/nih-real.parquet")
    four = set(ingested.loc[ingested["channels"] == 4, "image_id"])
    kept = set(store.read_table(sample_run / "results/labels/nih-14-grey.parquet")["image_id"])
    assert four
    assert kept == set(ingested["image_id"]) - four


def test_heatmaps_are_compared_with_the_boxes_of_radiologists(sample_run):
    if not (SHARED_DATA / "expert_labels").is_dir():
        pytest.skip("the boxes are not beside the checkout")
    table = store.read_table(sample_run / "results/heatmaps/nih-real.scores.parquet")
    overall = table[(table["class"] == "Global") & (table["score"] == "pointing")].set_index("map")
    assert overall["findings"].min() >= 5
    assert overall["value"].between(0, 1).all()
    assert {"mean of networks", "mean box", "untrained network", "lung mask"} < set(overall.index)
    page = (sample_run / "results/tables/nih-real/heatmap_scores.md").read_text()
    assert "The boxes were drawn by experts." in page


def test_the_folders_are_groups(sample_run):
    groups = pd.read_csv(sample_run / "results/tables/nih-real/groups.csv")
    assert set(groups.loc[groups["column"] == "folder", "group"]) == set(FOLDERS)
