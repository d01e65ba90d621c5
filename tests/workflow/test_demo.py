"""What `make demo` left in results/: measured on patients that neither the U-Net nor the networks saw."""

import os

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from tests.phantom_truth import true_lung_mask
from thorax.config import Phantom, parse
from thorax.models.backbones import BACKBONES
from thorax.storage import store

from . import browser
from .conftest import REPOSITORY

pytestmark = pytest.mark.slow
RESULTS = REPOSITORY / "results"
DEMO = REPOSITORY / "demo" / "experiment.yaml"
EXPERIMENT = "demo-liz2022-specific"


@pytest.fixture(autouse=True, scope="module")
def finished_demo():
    if not (RESULTS / "report" / "report.html").exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("run `make demo` first")


def test_the_mean_of_the_networks_has_learnt():
    metrics = store.read_table(RESULTS / "metrics" / f"{EXPERIMENT}.parquet")
    rows = metrics[(metrics["class"] == "Global") & (metrics["metric"] == "auc") & (metrics["split"] == "test")]
    auc = rows.set_index("model")["value"]
    print(auc.round(3).to_dict())
    assert auc["CTP"] > 0.78
    assert len(auc) == 9  # five networks, three ensembles, the baseline


def test_lung_masks_of_test_patients_agree_with_the_truth():
    settings = parse(Phantom, yaml.safe_load(DEMO.read_text())["datasets"]["phantom"]["phantom"], str(DEMO))
    split = store.read_table(RESULTS / "splits/phantom-pa.parquet")
    ingested = store.read_table(RESULTS / "ingested/phantom.parquet")
    test = ingested.merge(split[split["split"] == "test"], on="image_id").sort_values("image_id").iloc[::4]
    masks = [store.open_array(RESULTS / f"lungs/phantom-lungs/phantom.{shard}.npy") for shard in (0, 1)]
    overlaps = []
    for row in test.itertuples():
        truth = true_lung_mask(settings, row.image_id).astype(np.uint8)
        truth = cv2.resize(truth, (256, 256), interpolation=cv2.INTER_AREA) > 0
        mask = masks[row.shard][row.row] > 0
        overlaps.append((mask & truth).sum() / (mask | truth).sum())
    print(f"IoU of {len(overlaps)} test images: mean {np.mean(overlaps):.3f}, smallest {min(overlaps):.3f}")
    assert np.mean(overlaps) > 0.9


def test_every_page_of_the_report_opens_in_a_browser():
    browser.require()
    seen = browser.look_through(RESULTS / "report" / "report.html")
    for page in (f"figures/{EXPERIMENT}/heatmaps", "figures/lungs/80-lungs", "papers/liz2022"):
        assert seen[f"results/{page}.html"]["pictures"] > 0
    assert all(found["heading"] and found["shown"] == found["pictures"] for found in seen.values()), seen


def test_the_entry_page_of_the_site_is_for_all():
    browser.require()
    assert not browser.too_long(RESULTS)
    with browser.chromium() as page:
        for width in (1440, 390):
            found = browser.look_at(page, RESULTS / "index.html", width)
            assert found["shown"] == found["pictures"] == 2, (width, found)
            assert found["too_wide"] <= 0, (width, found)
            assert not browser.faults(page, "light", "dark")
        assert not page.complaints()


def test_memory_stayed_under_6_gb():
    benchmarks = (REPOSITORY / "benchmarks" / "train" / EXPERIMENT).glob("*.tsv")
    peaks = {path.stem: pd.read_csv(path, sep="\t")["max_pss"].max() for path in benchmarks}
    print({name: round(peak) for name, peak in peaks.items()})
    assert len(peaks) == 5
    for name, peak in peaks.items():
        assert peak < BACKBONES[name].memory, f"{name} takes {peak:.0f} MB: raise its memory in the registry"
    two_trainings_and_snakemake = sum(sorted(peaks.values())[-2:]) + 300
    assert two_trainings_and_snakemake < 6000
