"""Small real runs of the real workflow, shared by the tests that look at their results."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
CASES = Path(__file__).parent


def snakemake(folder: Path, *arguments: str, config: Path | None = None, timeout: int = 1500) -> subprocess.CompletedProcess:
    """Run the repository's workflow in `folder`; the output holds stdout and stderr."""
    command = [Path(sys.executable).parent / "snakemake", "--snakefile", REPOSITORY / "Snakefile", "--directory", folder]
    if config is not None:
        command += ["--configfile", config]
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SOURCE_DATE_EPOCH": "1640995200",
    }
    return subprocess.run(
        [str(part) for part in (*command, *arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        env=environment,
        cwd=folder,
        check=False,
    )


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> Path:
    """The folder of one finished run of tests/workflow/tiny. Copy it before changing anything in it."""
    folder = tmp_path_factory.mktemp("tiny")
    done = snakemake(folder, "--cores", "2", config=CASES / "tiny" / "config.yaml")
    assert done.returncode == 0, done.stdout[-6000:]
    return folder


@pytest.fixture
def tiny_copy(tiny_run, tmp_path) -> Path:
    """A copy of the finished tiny run that a test may change; times are kept, so that nothing looks out of date."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run", copy_function=shutil.copy2))
