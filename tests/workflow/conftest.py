"""Small real runs of the real workflow, shared by the tests that look at their results."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
CASES = Path(__file__).parent


def command(folder: Path, *arguments: str, config: Path | None = None) -> list[str]:
    """The command line that runs the repository's workflow in `folder`."""
    parts = [Path(sys.executable).parent / "snakemake", "--snakefile", REPOSITORY / "Snakefile", "--directory", folder]
    if config is not None:
        parts += ["--configfile", config]
    return [str(part) for part in (*parts, *arguments)]


def environment(first: Path | None = None, **variables: str) -> dict[str, str]:
    """The environment of a run; programs in the folder `first` stand for those of the same name."""
    path = [str(first)] if first else []
    return {
        **os.environ,
        "PATH": ":".join([*path, str(Path(sys.executable).parent), os.environ["PATH"]]),
        "SOURCE_DATE_EPOCH": "1640995200",
        **variables,
    }


def snakemake(
    folder: Path,
    *arguments: str,
    config: Path | None = None,
    timeout: int = 1500,
    first: Path | None = None,
    **variables: str,
) -> subprocess.CompletedProcess:
    """Run the repository's workflow in `folder`; the output holds stdout and stderr. `first`, `variables`: `environment`."""
    return subprocess.run(
        command(folder, *arguments, config=config),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        env=environment(first, **variables),
        cwd=folder,
        check=False,
    )


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> Path:
    """The folder of one finished run of tests/workflow/tiny. Copy it before changing anything in it.

    Workers of pytest-xdist have sessions of their own; the first one makes the run, and the others wait for it.
    """
    mine = tmp_path_factory.getbasetemp()
    shared = mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine
    folder = shared.joinpath(
        "tiny", *["shared"] * (mine != shared), "run"
    )  # as deep as `tiny_copy`: some inputs have relative paths
    said = shared / "tiny-run.log"
    with (shared / "tiny-run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            folder.mkdir(parents=True)
            done = snakemake(folder, "--cores", "2", config=CASES / "tiny" / "config.yaml")
            said.write_text(f"{done.returncode}\n{done.stdout}", encoding="utf-8")
    status, _, text = said.read_text(encoding="utf-8").partition("\n")
    assert status == "0", text[-6000:]
    return folder


@pytest.fixture
def tiny_copy(tiny_run, tmp_path) -> Path:
    """A copy of the finished tiny run that a test may change; times are kept, so that nothing looks out of date."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run", copy_function=shutil.copy2))
