"""The profile of a cluster, looked at without one."""

import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import CASES, REPOSITORY, snakemake

PROFILE = REPOSITORY / "slurm" / "config.yaml"
RULES = {path.name: path.read_text(encoding="utf-8") for path in (REPOSITORY / "workflow/rules").glob("*.smk")}


def rule_names(text: str) -> set[str]:
    return {name or new for name, new in re.findall(r"^(?:rule (\w+)|use rule \w+ as (\w+) with):", text, re.MULTILINE)}


def test_every_rule_that_the_profile_names_is_there():
    profile = yaml.safe_load(PROFILE.read_text(encoding="utf-8"))
    there = set().union(*map(rule_names, RULES.values()))
    assert set(profile["groups"]) | set(profile["set-resources"]) <= there
    assert set(profile["group-components"]) <= set(profile["groups"].values())


def test_what_fetches_runs_where_the_network_is():
    blocks = [block for text in RULES.values() for block in re.split(r"^(?=rule |use rule )", text, flags=re.MULTILINE)]
    fetching = [block for block in blocks if "thorax download" in block]
    assert {name for block in fetching for name in rule_names(block)} == {
        "download_archive",
        "weights",
    }  # download_pairs is the first of them
    assert all("    localrule: True\n" in block for block in fetching)


def test_the_paper_is_few_jobs_of_slurm_and_its_trainings_are_in_no_group(tmp_path):
    arguments = ("--profile", PROFILE.parent, "--cores", "8", "--dry-run", "--config", "run=[liz2022-specific,liz2022-general]")
    done = snakemake(tmp_path, *arguments, config=REPOSITORY / "config.yaml")
    assert done.returncode == 0, done.stdout[-3000:]
    groups = re.findall(r"^\[.+\] Group job (\w+)", done.stdout, re.MULTILINE)
    assert {name: groups.count(name) for name in groups} == {
        "archive": 1,
        "audit": 1,
        "labels": 1,
        "shards": 8,
        "results": 8,  # of each experiment: tables, scores and records of heatmaps, pages of cases
        "pages": 1,
        "papers": 1,
    }
    alone = re.findall(r"^Job \d+: (\w+)", done.stdout, re.MULTILINE)
    assert alone.count("Training") == 11  # ten networks and the segmenter
    assert len(groups) + len(alone) - alone.count("Downloading") - alone.count("Fetching") == 55


def test_without_slurm_nothing_is_begun_and_nothing_is_left(tmp_path, monkeypatch):
    _hide_slurm(tmp_path, monkeypatch)
    folder = tmp_path / "run"
    folder.mkdir()
    done = snakemake(folder, "--cores", "8", "--profile", PROFILE.parent, config=CASES / "tiny" / "config.yaml")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    assert "The jobs should go to Slurm, but `sbatch` is not installed here: type the command on a login node" in done.stdout
    assert [path.name for path in folder.iterdir()] == [".snakemake"]
    assert not list(folder.glob(".snakemake/slurm*")) + list(folder.glob(".snakemake/thorax*"))


def _hide_slurm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a PATH without Slurm's commands; programs can be put into folder/bin."""
    (folder / "bin").mkdir()
    for program in ("sh", "bash", "which"):
        (folder / "bin" / program).symlink_to(shutil.which(program))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{folder / 'bin'}")
