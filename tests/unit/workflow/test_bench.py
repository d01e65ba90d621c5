"""The benchmarks run, and their page is made from their figures."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from bench import rates, report
from bench.cases import CASES, synthetic
from bench.measure import machine
from thorax import backend
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
