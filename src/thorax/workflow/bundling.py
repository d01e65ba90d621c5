"""`thorax bundle`: the bundle of an experiment, made by Snakemake, which runs any missing steps first."""

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from thorax.errors import Terminated, ThoraxError, refuse_unknown
from thorax.workflow import jobs
from thorax.workflow.jobs import settings

FOLDER = Path("results/bundles")
_CORES = ("--cores", "-c", "--jobs", "-j", "--profile")  # options that say how much runs at once


class Failed(ThoraxError):
    """Snakemake has failed, and has said why."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def make(experiment: str, snakemake: Sequence[str]) -> str | None:
    """Run `snakemake ARGUMENTS -- results/bundles/EXPERIMENT.zip`; return a sentence with the file's size and SHA-256.

    It says so if the file was there before and is the same. None after a dry run, and where there is no file. Raises ThoraxError for an
    experiment that the configuration does not have, and for a run that fails, with its exit status.
    """
    arguments = with_cores(snakemake)
    if shutil.which("snakemake") is None:
        raise ThoraxError("snakemake is not on the search path: activate the environment (`. .venv/bin/activate`) first.")
    refuse_unknown("EXPERIMENT", experiment, settings(arguments).get("experiments", {}), "an experiment of this configuration")
    options, out = jobs.options(arguments), FOLDER / f"{experiment}.zip"
    file = Path(options.directory or ".") / out
    before = _state(file)
    if status := _status("snakemake", *arguments, "--", str(out)):
        raise Failed(status, f"{file} was not made, because snakemake failed (status {status}): see what it says above.")
    if options.dryrun or not file.is_file():
        return None
    with file.open("rb") as content:
        said = f"{file.stat().st_size / 1e6:.1f} MB, SHA-256 {hashlib.file_digest(content, 'sha256').hexdigest()}"
    return f"{file} is unchanged: {said}" if options.touch or _state(file) == before else f"{file}: {said}"


def _state(file: Path) -> tuple[int, int] | None:
    """What is another after a file was written; None if there is none."""
    if not file.is_file():
        return None
    status = file.stat()
    return status.st_ino, status.st_mtime_ns


def with_cores(arguments: Sequence[str]) -> list[str]:
    """The arguments of snakemake; on all cores if they do not say on how many, and name no profile that could."""
    flags = {word.partition("=")[0] for word in arguments}
    known = any(flag in _CORES or flag[:2] in ("-c", "-j") for flag in flags)
    return list(arguments) if known else [*arguments, "--cores", "all"]


def _status(*command: str) -> int:
    """The exit status of a command that prints to the terminal. It is never killed: its jobs would run on."""
    running = subprocess.Popen(command)
    try:
        return running.wait()
    except Terminated:
        running.terminate()
        raise
    finally:  # after Ctrl-C as well, of which the terminal tells all processes
        running.wait()
