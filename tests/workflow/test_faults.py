"""What a run on one machine survives. docs/faults.md has a row for every test here."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from .conftest import CASES, REPOSITORY, command, environment, snakemake

pytestmark = pytest.mark.slow
CONFIG = CASES / "tiny" / "config.yaml"
FIRST = "results/models/tiny/first.keras"
UNSTABLE = {".keras", ".ipynb"}  # they hold dates


def bytes_of(folder: Path) -> dict[str, str]:
    """The digest of every result whose bytes are promised, and of the synthetic archive."""
    files = [path for part in ("results", "data") for path in (folder / part).rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder)): blake2b(path.read_bytes()).hexdigest()
        for path in files
        if path.suffix not in UNSTABLE and path.name != "filler"
    }


def assert_same(folder: Path, whole: Path) -> None:
    """The same files with the same bytes, and nothing left over."""
    ours, theirs = bytes_of(folder), bytes_of(whole)
    assert len(theirs) > 60
    assert sorted(ours) == sorted(theirs)
    assert [name for name in theirs if ours[name] != theirs[name]] == []
    assert left_over(folder) == []


def assert_same_network(folder: Path, whole: Path) -> None:
    """The first member's weights and history."""
    assert (folder / "results/history/tiny/first.csv").read_bytes() == (whole / "results/history/tiny/first.csv").read_bytes()
    ours, theirs = weights(folder / FIRST), weights(whole / FIRST)
    assert ours.keys() == theirs.keys()
    assert len(ours) > 5
    for name in theirs:
        np.testing.assert_array_equal(ours[name], theirs[name])


def weights(network: Path) -> dict[str, np.ndarray]:
    import io
    import zipfile

    found = {}
    with zipfile.ZipFile(network) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def left_over(folder: Path) -> list[str]:
    """Temporary files, locks and resume states."""
    found = [path for part in ("results", "data", "work") for path in (folder / part).rglob("*")]
    return [str(path) for path in found if ".part-" in path.name or path.suffix in (".lock", ".npz")]


def assert_sentence(said: str, *words: str) -> None:
    """No traceback, and one line that holds all the words."""
    assert "Traceback" not in said, said[-6000:]
    assert any(all(word in line for word in words) for line in said.splitlines()), said[-6000:]


def stand_in(folder: Path, name: str, script: str) -> Path:
    """A folder with a program of this name, to be the first in PATH."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def mortal(tmp_path) -> Path:
    return stand_in(tmp_path / "bin", "thorax", f'exec {sys.executable} {CASES / "mortal.py"} "$@"')


@pytest.fixture
def waiting(tmp_path) -> Path:
    """A folder with a `thorax` that notes its call and waits until there is a file `go`."""
    real = shutil.which("thorax", path=environment()["PATH"])
    folder = tmp_path / "bin"
    return stand_in(
        folder, "thorax", f'touch {folder}/called; while [ ! -e {folder}/go ]; do sleep 0.05; done; exec {real} "$@"'
    )


@pytest.fixture
def mounted() -> Iterator[Callable[..., Path]]:
    """Mount a file system of its own over a folder: mounted(folder, *options of mount)."""
    folders = []

    def mount(folder: Path, *options: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
        if done.returncode:
            reason = f"this user may not mount file systems: {done.stderr.strip()}"
            assert os.environ.get("CI") != "true", reason
            pytest.skip(reason)
        folders.append(folder)
        return folder

    yield mount
    for folder in reversed(folders):
        subprocess.run(["umount", "--lazy", folder], check=True)


class Started:
    """A run in the background, in a process group of its own."""

    def __init__(self, folder: Path, *arguments: str, first: Path | None = None) -> None:
        self.log = folder / "started.txt"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command(folder, *arguments, config=CONFIG),
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment(first),
                cwd=folder,
                start_new_session=True,
            )

    def wait_for(self, happened: Callable[[], object]) -> None:
        until = time.monotonic() + 120
        while not happened():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < until, self.said()
            time.sleep(0.01)

    def send(self, number: int) -> int:
        """Send a signal to the whole group, as a terminal does, and wait for the end."""
        os.killpg(self.process.pid, number)
        return self.process.wait(120)

    def said(self) -> str:
        return self.log.read_text()


def run(folder: Path, *arguments: str, **more) -> subprocess.CompletedProcess:
    return snakemake(folder, "--cores", "2", *arguments, config=CONFIG, **more)


def finish(folder: Path, *arguments: str) -> None:
    done = run(folder, *arguments)
    assert done.returncode == 0, done.stdout[-6000:]


def verbs(whole: Path) -> set[str]:
    """The verbs of all jobs of the tiny run."""
    rules = "".join(path.read_text() for path in (REPOSITORY / "workflow" / "rules").glob("*.smk"))
    verb = dict(re.findall(r'^rule (\w+):(?:(?!^rule ).)*?"thorax ([\w-]+)', rules, re.MULTILINE | re.DOTALL))
    jobs = {path.relative_to(whole / "benchmarks").parts[0] for path in (whole / "benchmarks").rglob("*.tsv")}
    return {verb[job.removesuffix(".tsv")] for job in jobs} - {"heatmaps"}


def test_kill_9_in_every_stage(tiny_run, mortal, tmp_path):
    """Each verb is killed once with half a file written; the same command is typed until it has ended."""
    folder, met = tmp_path / "run", tmp_path / "met"
    folder.mkdir()
    met.mkdir()
    for typed in range(40):
        done = run(folder, "--keep-going", first=mortal, FAULT="kill", MET=str(met))
        assert "Traceback" not in done.stdout, done.stdout[-6000:]
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stdout[-6000:]
    assert typed > 10
    assert {path.stem for path in met.glob("*.met")} == verbs(tiny_run)
    assert_same(folder, tiny_run)
