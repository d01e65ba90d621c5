"""Small real runs of the real workflow, shared by the tests that look at their results."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from . import warm
from .shrink import shrink

REPOSITORY = Path(__file__).parents[2]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
CASES = Path(__file__).parent
ONE_THREAD = ("--set-threads", "train=1", "predict=1")  # small networks train faster side by side


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
    timeout: int = 2400,
    first: Path | None = None,
    **variables: str,
) -> subprocess.CompletedProcess:
    """Run the repository's workflow in `folder`; the output holds stdout and stderr. `first`, `variables`: `environment`.

    Snakemake is the quick one; `thorax` only if `first` has it.
    """
    _, *words = command(folder, *arguments, config=config)
    return subprocess.run(
        [warm.programs() / "snakemake", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        env=environment(first, **variables),
        cwd=folder,
        check=False,
    )


def another_kernel(folder: Path) -> dict[str, str]:
    """Variables of a user whose kernel named python3 is of another Python, one that does not work; it is written to `folder`."""
    kernel = folder / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True, exist_ok=True)
    kernel.write_text('{"argv": ["false"], "display_name": "Python 3", "language": "python"}', encoding="utf-8")
    return {"JUPYTER_DATA_DIR": str(folder), "JUPYTER_PREFER_ENV_PATH": "0"}


def _shared_run(tmp_path_factory, name: str, config: Path | dict, *arguments: str, first: Path | None = None) -> Path:
    """The folder of one finished run of a configuration; one that is not a file yet is written next to the folder.

    Workers of pytest-xdist have sessions of their own; the first one makes the run, and the others wait for it.
    """
    mine = tmp_path_factory.getbasetemp()
    shared = mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine
    folder = shared.joinpath(
        name, *["shared"] * (mine != shared), "run"
    )  # as deep as `tiny_copy`: some inputs have relative paths
    said = shared / f"{name}-run.log"
    with (shared / f"{name}-run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            folder.mkdir(parents=True)
            if isinstance(config, dict):
                (folder.parent / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
                config = folder.parent / "config.yaml"
            kernel = another_kernel(folder.parent / "jupyter")
            done = snakemake(folder, "--cores", "2", *arguments, config=config, first=first, **kernel)
            logs = "".join(path.read_text(errors="replace") for path in (folder / "logs").rglob("*.log"))
            sentences = [line for line in logs.splitlines() if line.startswith("thorax: ")]
            said.write_text("\n".join([str(done.returncode), *sentences, done.stdout[-6000:]]), encoding="utf-8")
    status, _, text = said.read_text(encoding="utf-8").partition("\n")
    assert status == "0", text
    return folder


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, quick) -> Path:
    """The folder of one finished run of tests/workflow/tiny. Copy it before changing anything in it."""
    return _shared_run(tmp_path_factory, "tiny", CASES / "tiny" / "config.yaml", first=quick)


@pytest.fixture(scope="session")
def quick() -> Path:
    """A folder with a `thorax` that starts at once (warm.py), for runs of many jobs."""
    return warm.programs()


@pytest.fixture(scope="session")
def papers_run(tmp_path_factory, quick) -> Path:
    """The folder of one finished run of all experiments, shrunk (shrink.py); its configuration is next to it."""
    shipped = yaml.safe_load((REPOSITORY / "config.yaml").read_text(encoding="utf-8"))
    return _shared_run(tmp_path_factory, "papers", shrink(shipped), *ONE_THREAD, first=quick)


@pytest.fixture
def tiny_copy(tiny_run, tmp_path) -> Path:
    """A copy of the finished tiny run that a test may change; times are kept, so that nothing looks out of date."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run", copy_function=shutil.copy2))
