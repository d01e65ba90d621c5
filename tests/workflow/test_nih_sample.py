"""The same DAG on 794 real radiographs, from raw PNG to report."""

import pandas as pd
import pytest
import yaml

from thorax.storage import store

from .conftest import CASES, ONE_THREAD, REPOSITORY, SHARED_DATA, snakemake
from .shrink import on_sample

pytestmark = [pytest.mark.slow, pytest.mark.real]
CONFIG = CASES / "nih_sample" / "config.yaml"


OTHERS = ["kejriwal-nih", "beltran2022"]


def folder_with_sample(tmp_path_factory, name):
    if not (SHARED_DATA / "nih_sample").is_dir():
        pytest.skip("the real radiographs are not beside the checkout")
    folder = tmp_path_factory.mktemp(name)
    (folder / "data").mkdir()
    for data in ("nih_sample", "lung_masks"):
        (folder / "data" / data).symlink_to(SHARED_DATA / data)
    return folder


@pytest.fixture(scope="module")
def others_run(tmp_path_factory):
    """The other papers on NIH's archive as they are shipped, but with the tiny network and few epochs."""
    folder = folder_with_sample(tmp_path_factory, "others")
    shipped = yaml.safe_load((REPOSITORY / "config.yaml").read_text(encoding="utf-8"))
    (folder / "others.yaml").write_text(yaml.safe_dump(on_sample(shipped, OTHERS), sort_keys=False))
    done = snakemake(folder, "--cores", "2", *ONE_THREAD, config=folder / "others.yaml")
    assert done.returncode == 0, done.stdout[-6000:]
    return folder


@pytest.fixture(scope="module")
def sample_run(tmp_path_factory):
    folder = folder_with_sample(tmp_path_factory, "nih_sample")
    done = snakemake(folder, "--cores", "2", *ONE_THREAD, config=CONFIG)
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


@pytest.mark.parametrize("name", OTHERS)
def test_the_other_papers_run_on_real_radiographs(others_run, name):
    metrics = store.read_table(others_run / f"results/metrics/{name}.parquet")
    rows = metrics[(metrics["class"] == "Global") & (metrics["metric"] == "auc") & (metrics["split"] == "test")]
    print(rows.set_index("model")["value"].round(3).to_dict())
    assert rows["value"].notna().all()
    for table in ("per_class", "global", "beside_per_class", "beside_global", "rules", "thresholds"):
        assert "sample" in (others_run / f"results/tables/{name}/{table}.md").read_text(encoding="utf-8"), table
    for figure in ("roc", "training", "shares"):
        assert (others_run / f"results/figures/{name}/{figure}.png").stat().st_size > 10_000


def test_images_with_four_channels_are_left_out_where_the_paper_does(others_run):
    ingested = store.read_table(others_run / "results/ingested/nih.parquet")
    four = set(ingested.loc[ingested["channels"] == 4, "image_id"])
    assert len(four) == 4
    kept = {
        name: set(store.read_table(others_run / f"results/labels/{name}.parquet")["image_id"])
        for name in ("nih-14", "nih-14-grey")
    }
    assert kept["nih-14"] - kept["nih-14-grey"] == four & kept["nih-14"] != set()
