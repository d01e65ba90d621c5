"""Between the two tools: what Snakemake made becomes DVC's, and what DVC brought is taken as made by Snakemake."""

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from thorax.errors import ThoraxError
from thorax.workflow import stages
from thorax.workflow.jobs import Job, load


def record() -> str:
    """Version everything that the last run of snakemake made; return a sentence about it.

    `dvc commit` takes the files as they are, so it would bless results that are out of date: they are refused first.

    Raises:
        ThoraxError: results are missing or out of date, dvc.yaml is not the DAG, or DVC fails.
    """
    _refuse_without_repository()
    jobs = stages.checked()
    arguments = stages.snakemake_arguments()
    if stale := _stale(jobs):
        raise ThoraxError(f"nothing was recorded: {stale}; type `snakemake {shlex.join(arguments)}` first.")
    stages.write_plan(Path(stages.PLAN))
    _dvc("commit", "--force", "--no-relink", "--quiet")
    return f"{len(jobs)} jobs recorded in dvc.lock: commit it with git, and `dvc push` sends the files to the remote."


def sync() -> str:
    """Make Snakemake take DVC's results for its own; return a sentence about it.

    Raises:
        ThoraxError: the results are not those of dvc.lock, dvc.yaml is not the DAG, or a tool fails.
    """
    _refuse_without_repository()
    jobs = stages.checked()
    changed = json.loads(_dvc("status", "--json"))
    if changed:
        name = next(iter(changed))
        raise ThoraxError(
            f"nothing was touched: {len(changed)} stages differ from dvc.lock, {name} among them; type `dvc pull` or `dvc repro` first."
        )
    arguments = stages.snakemake_arguments()
    command = ["snakemake", *arguments, "--touch", "--forceall", "--quiet", "all"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise ThoraxError(f"snakemake --touch failed: {_last_line(done.stdout)}.")
    if stale := _stale(load(arguments).jobs):
        raise ThoraxError(f"after snakemake --touch {stale}; type `snakemake {shlex.join(arguments)}`.")
    return f"{len(jobs)} jobs are up to date for Snakemake and for DVC."


def _stale(jobs: Sequence[Job]) -> str:
    """What Snakemake would run, in a few words; empty if nothing."""
    waiting = [job for job in jobs if job.reason]
    if not waiting:
        return ""
    return f"{len(waiting)} of {len(jobs)} jobs are out of date, the first is {waiting[0].name} ({waiting[0].reason})"


def _refuse_without_repository() -> None:
    if not Path(".dvc").is_dir():
        raise ThoraxError("this folder is no DVC repository: go to the checkout, or type `git init` and `dvc init` here.")


def _dvc(*arguments: str) -> str:
    done = subprocess.run(["dvc", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr, file=sys.stderr, end="")
        raise ThoraxError(f"dvc {' '.join(arguments)} failed: {_last_line(done.stderr or done.stdout)}.")
    return done.stdout


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "it gave no reason"
