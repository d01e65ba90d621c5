"""Runs on Slurm: refuse to start without it, and take over from a run that was killed.

A run whose Snakemake was killed leaves jobs in the queue and results that Snakemake has no record of. Two notes under .snakemake are
enough to find both: the name of the run's jobs, and a digest of what each result was to be made from.
"""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from thorax.errors import ThoraxError

# The name that all jobs of the run in progress, or of a killed one, have in the queue
RUN_NAMES = Path(".snakemake/slurm_runs")
DIGESTS = Path(".snakemake/slurm_plans.json")  # by file, a digest of what its job makes it from
ANSWERS_WITHIN = 60  # seconds
ENDED_WITHIN = 600  # seconds that cancelled jobs may take; Slurm kills them after its KillWait, usually 30


def run_name(workflow: Any) -> str | None:
    """The name of this run's jobs in Slurm's queue; None for a run on this machine."""
    return getattr(getattr(workflow.scheduler, "_executor", None), "run_uuid", None)


def refuse_without_slurm() -> None:
    """Check that Slurm's commands work, before anything is downloaded and before a note is left for the next run."""
    for command in (("sbatch", "--version"), ("squeue", "--me", "--noheader")):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWERS_WITHIN, check=False)
            said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            problem = f"`{' '.join(command)}` failed ({said[-1]})" if done.returncode else ""
        except FileNotFoundError:
            problem = f"`{command[0]}` is not installed here"
        except subprocess.TimeoutExpired:
            problem = f"`{' '.join(command)}` did not answer within {ANSWERS_WITHIN} s"
        if problem:
            raise ThoraxError(
                f"The jobs should go to Slurm, but {problem}: type the command on a login node of the cluster, or leave out "
                "--profile slurm to run here."
            )


def take_over(workflow: Any) -> None:
    """Cancel the jobs of a killed run, put on record what they made, and leave the notes of this run."""
    if RUN_NAMES.is_file():
        cancel(RUN_NAMES.read_text().split())
        _record_unwatched(workflow, json.loads(DIGESTS.read_text()))
        forget()
    if name := run_name(workflow):
        digests = {str(file): digest(job) for job in workflow.dag.needrun_jobs() for file in job.output}
        DIGESTS.write_text(json.dumps(digests))
        RUN_NAMES.write_text(f"{name}\n")


def forget() -> None:
    """Forget a run whose jobs have all ended and are on record."""
    RUN_NAMES.unlink(missing_ok=True)


def cancel(names: Sequence[str]) -> None:
    """Cancel the jobs of these names and wait until they have ended, so that no two jobs write one file."""
    if left := _in_queue(names):
        jobs = f"{len(left)} jobs that an earlier run of this folder left in the queue: {' '.join(left)}"
        print(f"Cancelling {jobs}", file=sys.stderr)
        _ask("scancel", *left)
    give_up = time.monotonic() + ENDED_WITHIN
    while left := _in_queue(names):
        if time.monotonic() > give_up:
            raise ThoraxError(f"Jobs {' '.join(left)} do not end: see why with `squeue --me`, then type the same command.")
        time.sleep(1)


def digest(job: Any) -> str:
    """A digest of what decides a job's results: its command, its parameters, the names of its inputs."""
    decides = [job.rule.name, job.shellcmd, list(map(str, job.params)), sorted(map(str, job.input))]
    return hashlib.blake2b(json.dumps(decides).encode(), digest_size=16).hexdigest()


def _in_queue(names: Sequence[str]) -> list[str]:
    """Slurm's numbers of the jobs of these names that have not ended."""
    return _ask("squeue", "--me", "--noheader", "--format=%i", "--name", ",".join(names)).split() if names else []


def _record_unwatched(workflow: Any, digests: Mapping[str, str]) -> None:
    """Record the jobs that ended while no Snakemake was watching; without, it would never rerun them when a setting changes.

    `digests` says of each file what the killed run was to make it from.
    """
    changed: list[str] = []
    for job in workflow.dag.jobs:
        if workflow.dag.reason(job).no_metadata and not workflow.dag.needrun(job):
            noted = {digests.get(str(file)) for file in job.output}
            if noted == {digest(job)}:
                workflow.async_run(workflow.persistence.finished(job))
            elif noted != {None}:
                changed += map(str, job.output)
    if changed:
        raise ThoraxError(
            f"{' '.join(changed)} were made with other settings, by jobs that ended after their run was killed: delete them, "
            "or restore the settings, and type the same command."
        )


def _ask(*command: str) -> str:
    """What a command of Slurm prints."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ThoraxError(
            f"A run of this folder used Slurm, and without `{command[0]}` its jobs cannot be found: type the command where Slurm "
            f"is, or, if you know that none of them is running, delete {RUN_NAMES.absolute()}."
        ) from error
    if done.returncode != 0:
        raise ThoraxError(f"`{' '.join(command)}` failed ({done.stderr.strip()}): ask Slurm's administrator.")
    return done.stdout
