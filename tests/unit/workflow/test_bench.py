"""The benchmarks run, and their page is made from their figures."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import rates, report, start
from bench.cases import CASES, synthetic
from bench.maps import read_plan
from bench.measure import machine
from thorax import backend
from thorax.evaluation.bootstrap import Measured
from thorax.workflow.cost import RATES

ROOT = Path(__file__).parents[3]


def test_the_page_is_made_from_the_committed_figures():
    results = json.loads((ROOT / "bench" / "results.json").read_text())
    assert set(results) == {"machines", *CASES}
    assert set(results["machines"]) == set(CASES)
    assert (ROOT / "docs" / "reference" / "benchmarks.md").read_text() == report.page(results), "run: make bench"


def test_a_row_says_what_was_measured_and_what_was_wanted():
    results = {"decode_ratio": {"ratio": 1.254, "ours": 12.34, "bare": 15.5, "images": 32}}
    assert report.table(results).splitlines()[-1].endswith("| 1.25 | at most 1.3 | 12.3 and 15.5 images/s |")


def test_synthetic_rows_belong_to_whole_patients():
    labels, patients = synthetic(1000)
    assert labels.shape == (1000, 14)
    assert len(patients) == 1000
    assert (np.diff(patients) >= 0).all()
    assert labels[:, 0].sum() > 10 * labels[:, -1].sum() > 0


def test_the_committed_rates_are_written_as_the_command_writes_them():
    assert rates.text(json.loads(RATES.read_text())) == RATES.read_text()


def measured(point: list[float], samples: list[list[float]], design: str = "d") -> Measured:
    of_auc = {start.AUC: np.array(point)}, {start.AUC: np.array(samples)}
    return Measured(["A", "B", "Global"], np.array([2, 3, 5]), *of_auc, summaries=1, design=design)


def test_the_mean_of_trainings_has_the_mean_of_every_bootstrap_sample():
    one = measured([0.5, 0.7, 0.6], [[0.4, np.nan, 0.4], [0.6, 0.8, 0.7]])
    two = measured([0.7, 0.9, 0.8], [[0.8, np.nan, 0.8], [0.6, 0.6, 0.6]])
    mean = start.mean_of([one, two])
    np.testing.assert_allclose(mean.point[start.AUC], [0.6, 0.8, 0.7])
    np.testing.assert_allclose(mean.samples[start.AUC], [[0.6, np.nan, 0.6], [0.6, 0.7, 0.65]])
    assert (mean.names, mean.design) == (one.names, "d")
    with pytest.raises(ValueError, match="same labels"):
        start.mean_of([one, measured([0.5] * 3, [[0.5] * 3], "another")])


def test_networks_are_compared_by_folder():
    """Two validation and four test images in each of two folders; every other image has the class."""
    truth = pd.DataFrame({"image_id": list("abcdefghijkl"), "patient_id": list("abcdefghijkl"), "A": [0, 1] * 6})
    truth.insert(2, "split", (["val"] * 2 + ["test"] * 4) * 2)
    folders = pd.Series(["one"] * 6 + ["two"] * 6)
    right, wrong = (pd.DataFrame({"A": values * 6}) for values in ([0.1, 0.9], [0.9, 0.1]))
    half = pd.DataFrame({"A": [0.1, 0.9] * 4 + [0.9, 0.1] * 2})  # wrong on the test images of folder two alone
    text = start.report(truth, folders, {"random": [right, right], "other": [half], "both": [right, wrong]})
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line]
    counts = [
        "one: 4 images, 1 classes",
        "two: 4 images, 1 classes",
        "all: 8 images, 1 classes",
        "validation: 4 images, 1 classes",
    ]
    assert rows[0] == ["AUC", *counts]
    assert rows[2] == ["random", *["1.000 (1.000–1.000), SD 0.000"] * 4]
    assert rows[3][:3] == ["other", "1.000 (1.000–1.000)", "0.000 (0.000–0.000)"]
    assert rows[3][3].startswith("0.500 (")  # of 16 pairs, 4 in folder one are right, and 8 between the folders are ties
    assert rows[4] == ["both", *["0.500 (0.500–0.500), SD 0.707"] * 4]  # 1 and 0, whatever is drawn
    assert rows[5] == ["difference", *counts]
    assert rows[7][:3] == ["other − random", "+0.000 (0.000–0.000)", "**-1.000** (-1.000 to -1.000)"]
    assert rows[7][3].startswith("**-0.500** (")
    assert rows[8] == ["both − random", *["**-0.500** (-0.500 to -0.500)"] * 4]
    assert rows[9][2] == "**+0.500** (0.500–0.500)"


def test_networks_of_make_weights_differ_in_their_starting_weights_and_rates_alone():
    plan = read_plan([ROOT / "demo" / "sample.yaml", ROOT / "demo" / "weights.yaml"]).config
    sample, experiment = plan.experiments["nih-real"], plan.experiments["nih-weights"]
    assert (experiment.label_set, experiment.split) == (sample.label_set, sample.split)
    for member, of_sample in {"random": "Xception", "phantoms": "Xception-ImageNet", "ImageNet": "Xception-ImageNet"}.items():
        settings = experiment.member(member)
        same = {"input_scaling": "backbone", "weights": settings.weights}
        assert settings == sample.member(of_sample).model_copy(update=same)
    assert experiment.member("random").weights == "none"
    assert experiment.member("ImageNet").weights == "imagenet"
    assert experiment.member("phantoms").weights.experiment == "phantoms"


@pytest.mark.slow
def test_rates_are_measured_and_other_networks_of_the_same_machine_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(rates, "processes", lambda: ThreadPoolExecutor(1))  # TensorFlow may be loaded here already
    monkeypatch.setattr(backend, "prepare", lambda *settings: None)
    out = tmp_path / "rates.json"
    out.write_text(json.dumps({"machine": machine(), "networks": {"kept": {"train": 2}}}))
    rates.main(["--quick", "--networks", "cnn", "--out", str(out)])
    found = json.loads(out.read_text())
    assert 0 < found["ingest"] < 10
    assert found["networks"]["kept"] == {"train": 2}
    network = found["networks"]["cnn"]
    assert set(network) == set(json.loads(RATES.read_text())["networks"]["cnn"])
    assert min(network["train"], network["predict"], network["bytes"], network["train_start"] - network["predict_start"]) > 0


@pytest.mark.slow
def test_every_case_runs(tmp_path):
    command = [sys.executable, "-m", "bench", "--quick", "--out", tmp_path / "r.json", "--page", tmp_path / "page.md"]
    done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((tmp_path / "r.json").read_text())
    assert set(results) == {"machines", *CASES}
    assert all(row["seconds"] > 0 for stage in results["size"].values() for row in stage["rows"])
    assert "n^" in (tmp_path / "page.md").read_text()
