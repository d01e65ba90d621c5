"""The tests' own set-up, and what the Makefile runs around the workflow."""

import os
import signal
import subprocess
import sys

import yaml

from tests import conftest
from tests.workflow.conftest import REPOSITORY
from tests.workflow.shrink import shrink


def test_programs_react_to_ctrl_c_although_pytest_itself_was_started_with_it_ignored(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import subprocess, sys\n"
        "def test_it():\n"
        "    program = 'import signal; signal.raise_signal(signal.SIGINT)'\n"
        "    done = subprocess.run([sys.executable, '-c', program], capture_output=True)\n"
        "    assert b'KeyboardInterrupt' in done.stderr\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path]
    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        runs = [
            subprocess.run(
                [*command, *more], cwd=REPOSITORY, env=alone, capture_output=True, text=True, timeout=120, check=False
            )
            for more in ([], ["-p", "tests.conftest"])
        ]
    finally:
        signal.signal(signal.SIGINT, before)
    assert ["1 failed" in runs[0].stdout, "1 passed" in runs[1].stdout] == [True, True], runs


def test_the_longest_files_are_there_and_come_first():
    assert [path.is_file() for path in conftest.ORDER] == [True] * len(conftest.LONGEST)


def kinds(experiment: dict) -> dict:
    """What an experiment has of everything but architectures: settings of members, rules of ensembles, tables and figures."""
    members = [
        {key: value for key, value in member.items() if key not in ("backbone", "seed")}
        for member in experiment["members"].values()
    ]
    return {
        "members": sorted({str(sorted(member.items())) for member in members}),
        "ensembles": {ensemble["rule"] for ensemble in experiment.get("ensembles", {}).values()},
        "rest": [
            experiment.get(key) for key in ("label_set", "split", "image_set", "thresholds", "exclusive", "f1_metric", "paper")
        ],
        "beside": {key: value for key, value in experiment.get("beside", {}).items() if key != "models"},
    }


def test_the_shrunk_experiments_keep_every_kind_of_member_ensemble_and_rule():
    shipped = yaml.safe_load((REPOSITORY / "config.yaml").read_text(encoding="utf-8"))
    small = shrink(shipped)
    assert small["run"] == shipped["run"]
    for name in shipped["experiments"]:
        ours, theirs = kinds(small["experiments"][name]), kinds(shipped["experiments"][name])
        if name == "cross-padchest":  # an ensemble is added
            assert ours.pop("ensembles") > theirs.pop("ensembles")
        assert ours == theirs, name
    before, after = (
        sum(len(experiment["members"]) for experiment in config["experiments"].values()) for config in (shipped, small)
    )
    assert after < 0.6 * before


PROGRAM = """
import pathlib, sys, time
log = pathlib.Path("logs/train/demo/A.log")
log.parent.mkdir(parents=True)
log.write_text("900 images\\nepoch 1/2: loss 0.5\\nepoch 2/")
time.sleep(1.5)
log.write_text("epoch 1/1: loss 0.4\\n")
sys.exit(7)
"""


def test_lines_of_a_training_are_shown_while_the_command_runs(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "old.log").write_text("epoch 9/9: of an earlier run\n")
    command = [sys.executable, REPOSITORY / "demo" / "follow.py", "logs", "--", sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 7
    assert done.stdout.splitlines() == ["A: epoch 1/2: loss 0.5", "A: epoch 1/1: loss 0.4"]


def test_without_the_real_radiographs_one_sentence_says_what_to_type(tmp_path):
    done = subprocess.run(
        [sys.executable, REPOSITORY / "demo" / "sample.py", "nowhere"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("nowhere/nih_sample, nowhere/nih_starter, ")
    assert "missing: type `make sample SAMPLE=FOLDER` with the folder" in done.stderr
    assert not list(tmp_path.iterdir())
