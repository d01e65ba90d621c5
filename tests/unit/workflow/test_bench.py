"""The benchmarks run, and their page is made from their figures."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from bench import rates, report
from bench.__main__ import machine
from bench.cases import CASES, synthetic
from thorax.workflow import jobs, sizes

ROOT = Path(__file__).parents[3]


def test_the_page_is_made_from_the_committed_figures():
    results = json.loads((ROOT / "bench" / "results.json").read_text())
    assert set(results) == {"machine", *CASES}
    assert (ROOT / "docs" / "benchmarks.md").read_text() == report.page(results), "run: make bench"


def test_a_row_says_what_was_measured_and_what_was_wanted():
    results = {"decode_ratio": {"ratio": 1.254, "ours": 12.34, "bare": 15.5, "images": 32}}
    assert report.table(results).splitlines()[-1].endswith("| 1.25 | at most 1.3 | 12.3 and 15.5 images/s |")


def test_synthetic_rows_belong_to_whole_patients():
    labels, patients = synthetic(1000)
    assert labels.shape == (1000, 14)
    assert len(patients) == 1000
    assert (np.diff(patients) >= 0).all()
    assert labels[:, 0].sum() > 10 * labels[:, -1].sum() > 0


def test_start_and_slope_go_through_both_points():
    assert rates.line((100, 3.0), (600, 8.0)) == pytest.approx([2.0, 0.01])
    assert rates.line((100, 3.0), (600, 2.0)) == [2.5, 0]  # faster with more to do: chance
    assert rates.line((100, 1.0), (600, 12.0)) == [0, 0.02]  # no job starts before it begins
    assert rates.line((0, 1.0), (0, 3.0)) == [2.0, 0]
    assert rates.line((100, 3.0), (600, 4.0), noise=0.5) == [3.5, 0]


def test_a_rule_is_fitted_in_one_thread():
    def job(work, threads, seconds, length):
        return {
            "rule": "ingest",
            "threads": threads,
            "seconds": seconds,
            "work": work,
            "rows": work,
            "bytes": length,
            "megabytes": work,
        }

    fitted = rates.fit([job(100, 2, 2, 50)], [job(500, 2, 6, 250)], {})
    assert fitted == {"ingest": {"seconds": pytest.approx([1, 0.02]), "bytes": [0, 0.5], "megabytes": 500}}
    by_itself = rates.fit([job(100, 2, 2, 50)], [job(500, 2, 6, 250)], {"ingest": 0.125})
    assert by_itself["ingest"]["seconds"] == [2, 0.125]


def test_the_study_of_the_rates_has_every_rule_and_finds_their_benchmark_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(yaml.safe_dump(rates.configuration(**rates.RUNS["small"])))
    noted = {}

    def keep(dag, job, kept=jobs._job):
        made = kept(dag, job)
        noted[made.name] = job.benchmark and Path(job.benchmark)
        return made

    monkeypatch.setattr(jobs, "_job", keep)
    found = jobs.load(["--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml", "--cores", "2"]).jobs
    assert {job.rule for job in found} == set(sizes.UNITS)
    for path in noted.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for job in found:
        assert rates.benchmark_file(job) == noted[job.name]


@pytest.mark.slow
def test_networks_are_timed_and_what_the_file_has_is_kept(tmp_path):
    out = tmp_path / "rates.json"
    command = [sys.executable, "-m", "bench", "rates", "--quick", "--no-rules", "--networks", "cnn", "--out", str(out)]
    out.write_text(json.dumps({"machine": machine(), "rules": {"kept": 1}, "networks": {"kept": 2}}))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(out.read_text())
    assert found["rules"] == {"kept": 1}
    assert found["networks"]["kept"] == 2
    network = found["networks"]["cnn"]
    assert network["bytes"] > 4 * network["parameters"]
    assert min(network["train"], network["predict"], network["train_start"] - network["predict_start"]) > 0


@pytest.mark.slow
def test_every_case_runs(tmp_path):
    command = [sys.executable, "-m", "bench", "--quick", "--out", tmp_path / "r.json", "--page", tmp_path / "page.md"]
    done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((tmp_path / "r.json").read_text())
    assert set(results) == {"machine", *CASES}
    assert all(row["seconds"] > 0 for stage in results["size"].values() for row in stage["rows"])
    assert "n^" in (tmp_path / "page.md").read_text()
