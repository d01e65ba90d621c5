"""The same DAG on 794 real radiographs, from raw PNG to report."""

import pandas as pd
import pytest

from thorax import store

from .conftest import CASES, SHARED_DATA, snakemake

pytestmark = [pytest.mark.slow, pytest.mark.real]
CONFIG = CASES / "nih_sample" / "config.yaml"


@pytest.fixture(scope="module")
def sample_run(tmp_path_factory):
    if not (SHARED_DATA / "nih_sample").is_dir():
        pytest.skip("the real radiographs are not beside the checkout")
    folder = tmp_path_factory.mktemp("nih_sample")
    (folder / "data").mkdir()
    for name in ("nih_sample", "lung_masks"):
        (folder / "data" / name).symlink_to(SHARED_DATA / name)
    done = snakemake(folder, "--cores", "2", "--set-threads", "train=1", "predict=1", config=CONFIG)
    assert done.returncode == 0, done.stdout[-6000:]
    print((folder / "results/tables/nih-sample/global.md").read_text())
    return folder


def test_every_image_is_read_and_four_have_four_channels(sample_run):
    ingested = store.read_table(sample_run / "results/ingested/nih-sample.parquet")
    assert len(ingested) == 794
    assert ingested["ok"].all()
    assert (ingested["channels"] == 4).sum() == 4


def test_lungs_are_found_in_nearly_all_images(sample_run):
    tables = [store.read_table(sample_run / f"results/lungs/real-lungs/nih-sample.{shard}.parquet") for shard in (0, 1)]
    credible = pd.concat(tables)["credible"]
    print(f"credible masks: {credible.sum()} of {len(credible)}")
    assert credible.mean() > 0.9


def test_the_networks_learn_something_and_the_table_has_the_baseline(sample_run):
    metrics = store.read_table(sample_run / "results/metrics/nih-sample.parquet")
    rows = metrics[(metrics["class"] == "Global") & (metrics["metric"] == "auc") & (metrics["split"] == "test")]
    auc = rows.set_index("model")["value"]
    print(auc.round(3).to_dict())
    assert auc["CTP"] > 0.6
    assert auc["baseline"] > 0.6


def test_the_report_is_made(sample_run):
    done = snakemake(sample_run, "--cores", "1", "--report", "results/report.html", config=CONFIG)
    assert done.returncode == 0, done.stdout[-3000:]
    page = (sample_run / "results/report.html").read_text(encoding="utf-8")
    assert "per_class" in page
    assert "nih-sample" in page
