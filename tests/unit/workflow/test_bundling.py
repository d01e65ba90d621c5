"""`thorax bundle EXPERIMENT`: what Snakemake is asked for, and what is said of it."""

import hashlib
import os
import stat
from pathlib import Path

import pytest

from thorax.cli import main
from thorax.errors import Terminated
from thorax.workflow import bundling, jobs
from thorax.workflow.bundling import with_cores

ROOT = Path(__file__).parents[3]
STAND_IN = """#!/bin/sh
echo "$@" > asked
for last; do :; done
mkdir -p "${last%/*}"
[ -e dry ] || printf model > "$last"
exit $(cat status)
"""


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ([], True),
        (["--configfile", "study/study.yaml"], True),
        (["--cores", "2"], False),
        (["--cores=2"], False),
        (["-c2"], False),
        (["-j", "4"], False),
        (["--profile", "demo"], False),
    ],
)
def test_all_cores_are_used_unless_the_user_says_how_many(given, added):
    assert with_cores(given) == [*given, *["--cores", "all"] * added]


def test_an_unknown_experiment_is_refused_with_a_suggestion(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert main(["bundle", "liz2022-specifc", "--", "--cores", "1"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("thorax: EXPERIMENT: 'liz2022-specifc' is not an experiment of this configuration")
    assert "(did you mean 'liz2022-specific'?)" in said


@pytest.fixture
def snakemake(tmp_path, monkeypatch):
    """A folder, and a `snakemake` that writes down its arguments, makes its last one and ends with the status in `status`."""
    program = tmp_path / "bin" / "snakemake"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(bundling, "settings", lambda arguments: {"experiments": {"one": {}}})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "status").write_text("0")
    return tmp_path


def test_the_file_is_asked_for_and_its_size_and_digest_are_printed(snakemake, capfd):
    assert main(["bundle", "one", "--", "--config", "a=b", "-c", "2"]) == 0
    assert (snakemake / "asked").read_text() == "--config a=b -c 2 -- results/bundles/one.zip\n"
    assert capfd.readouterr().out == f"results/bundles/one.zip: 0.0 MB, SHA-256 {hashlib.sha256(b'model').hexdigest()}\n"


def test_the_status_of_a_failed_run_is_returned(snakemake, capfd):
    (snakemake / "status").write_text("7")
    assert main(["bundle", "one"]) == 7
    assert (snakemake / "asked").read_text() == "--cores all -- results/bundles/one.zip\n"
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.startswith("thorax: results/bundles/one.zip was not made, because snakemake failed (status 7)")


@pytest.fixture
def older(snakemake):
    """A bundle of an earlier run, which the next one does not write again; its SHA-256."""
    (snakemake / "results/bundles").mkdir(parents=True)
    (snakemake / "results/bundles/one.zip").write_bytes(b"older")
    (snakemake / "dry").touch()
    return hashlib.sha256(b"older").hexdigest()


@pytest.mark.parametrize("flag", ["--dry-run", "-n"])
def test_a_dry_run_says_nothing_of_a_file_even_if_there_is_an_older_one(older, capfd, flag):
    assert main(["bundle", "one", "--", flag]) == 0
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("arguments", [[], ["--", "--touch"]])
def test_a_file_that_was_there_before_is_said_to_be_unchanged(older, capfd, arguments):
    assert main(["bundle", "one", *arguments]) == 0
    assert capfd.readouterr().out == f"results/bundles/one.zip is unchanged: 0.0 MB, SHA-256 {older}\n"


def test_a_file_in_the_folder_of_directory_is_found(snakemake, older, capfd):
    (snakemake / "results").rename(snakemake / "elsewhere")
    (snakemake / "there").mkdir()
    (snakemake / "elsewhere").rename(snakemake / "there/results")
    assert main(["bundle", "one", "--", "--directory", "there"]) == 0
    assert capfd.readouterr().out == f"there/results/bundles/one.zip is unchanged: 0.0 MB, SHA-256 {older}\n"


def test_a_signal_while_the_configuration_is_read_is_not_an_error_of_snakemake(monkeypatch):
    from snakemake import cli

    def stopped(*_):
        raise Terminated(143)

    monkeypatch.setattr(cli, "args_to_api", stopped)
    monkeypatch.chdir(ROOT)
    with pytest.raises(Terminated):
        jobs.settings(["--cores", "1"])
