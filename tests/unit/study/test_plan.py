"""The rules of thumb of planning, by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from thorax.study import plan
from thorax.study.plan import Machine
from thorax.study.records import UNKNOWN_VIEW, Records

LAPTOP, SERVER = Machine(2, 16 * 2**30), Machine(16, 128 * 2**30, gpu=24 * 2**30)


def records(patients: int, views: tuple[str, ...] = ("PA",), **findings: int) -> Records:
    """Two images of each patient; a finding is in both images of the first patients."""
    rows = [
        {"path": f"{n}-{k}", "patient": str(n), "study": "", "view": views[(2 * n + k) % len(views)], "sex": None, "age": None, "labelled": True}
        | {"positive": [name for name, count in findings.items() if n < count], "uncertain": [], "unasked": []}
        for n in range(patients)
        for k in range(2)
    ]  # fmt: skip
    return Records(pd.DataFrame(rows), list(findings), "No Finding", {}, 0)


def test_findings_of_too_few_patients_are_left_out_and_named():
    made = plan.make(records(100, some=15, rare=14, common=86), LAPTOP)
    assert [finding.name for finding in made.learnt] == ["some"]
    rare, common = made.left_out
    assert (rare.images, rare.patients, rare.without) == (28, 14, 86)
    assert rare.problem == "14 patients with it; 15 are needed, as about 3 of them would be in the test part"
    assert common.problem.startswith("14 patients known not to have it; 15 are needed")


def test_images_that_nobody_asked_about_count_neither_way():
    made = records(100, some=50)
    made.images.loc[made.images["patient"].astype(int) >= 60, "unasked"] = [["some"]] * 80
    (some,) = plan.make(made, LAPTOP).findings
    assert (some.patients, some.without, some.unasked, some.problem[:13]) == (50, 10, 80, "10 patients k")


def test_few_images_on_a_cpu_get_small_images_and_fast_networks():
    made = plan.make(records(100, some=30), LAPTOP)
    assert (made.images, made.patients, made.shares, made.size) == (200, 100, (0.6, 0.2, 0.2), 96)
    assert (made.batch, made.epochs) == (8, 40)  # 120 trained on: 120 / 12 steps, 40 at most
    assert made.networks == ("DenseNet121", "MobileNet")
    assert set(made.reasons) == {"views", "shares", "size", "networks", "batch", "epochs", "weights", "shards"}


def test_many_images_on_a_gpu_get_large_ones():
    made = plan.make(records(10_000, some=3000), SERVER)
    assert (made.shares, made.size, made.batch, made.epochs, made.shards) == (
        (0.7, 0.1, 0.2),
        224,
        64,
        71,
        5,
    )  # 1,000,000 / 14,000
    small = plan.make(records(10_000, some=3000), Machine(16, 128 * 2**30, gpu=4 * 2**30))
    assert (small.batch, small.reasons["batch"]) == (16, "fits into 4 GB of memory")  # 0.6 x 4,096 / 125 = 19.7


def test_weights_are_used_only_where_all_are_here():
    here = dict.fromkeys(plan.ON_CPU, True)
    many = records(600, some=30)
    assert plan.make(many, LAPTOP, here).weights == "imagenet"
    assert plan.make(many, LAPTOP, here | {"DenseNet121": False}).weights == "none"


@pytest.mark.parametrize(
    ("views", "chosen", "why"),
    [
        (("PA",), ["PA"], "frontal images"),
        (("PA", "AP", "Lateral"), ["PA", "AP"], "frontal images; left out: 66 Lateral"),
        ((UNKNOWN_VIEW,), [UNKNOWN_VIEW], "no image says its view, so lateral ones may be among them"),
        ((UNKNOWN_VIEW, UNKNOWN_VIEW, "PA"), ["PA", UNKNOWN_VIEW], "all, since most are not known to be frontal"),
    ],
)
def test_frontal_views_are_learnt_where_they_are_known(views, chosen, why):
    made = plan.make(records(100, views, some=30), LAPTOP)
    assert (made.views, made.reasons["views"]) == (chosen, why)


def test_the_margin_is_that_of_simulated_scores():
    """Exponential scores, which Hanley and McNeil assume: means 4 and 1 give an AUC of 4 / 5."""
    rng = np.random.default_rng(0)
    truth = np.repeat([1, 0], [20, 80])
    found = [roc_auc_score(truth, rng.exponential(1 + 3 * truth)) for _ in range(1500)]
    assert plan.auc_margin(20, 80) == pytest.approx(1.96 * np.std(found), rel=0.06)
    assert plan.auc_margin(20, 80) == pytest.approx(0.1228, abs=1e-4)
    assert math.isnan(plan.auc_margin(0.5, 80))


def test_this_machine_has_cores_and_memory(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    here = Machine.here()
    assert here.cores >= 1
    assert here.memory > 2**28
    assert (here.gpu, here.kind) == (0, "CPU")
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 24564\necho 24564\n")
    program.chmod(0o755)
    assert Machine.here().gpu == 24564 * 2**20
    program.write_text("#!/bin/sh\necho no devices were found\nexit 6\n")
    assert Machine.here().gpu == 0
