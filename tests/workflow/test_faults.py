"""What a run on one machine survives. docs/how-to/faults.md has a row for every test here."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from thorax.archives import padchest
from thorax.workflow.jobs import load

from .conftest import CASES, REPOSITORY, command, environment, snakemake
from .mortal import TWICE

pytestmark = pytest.mark.slow
CONFIG = CASES / "tiny" / "config.yaml"
FIRST = "results/models/tiny/first.keras"
TRAIN_FIRST = ("--until", "train", "--forcerun", FIRST)
UNSTABLE = {".keras"}  # they hold dates
TIMED = ("overview.html", "tables-overview.html")  # hours of trainings, from their records; CSV, Markdown, LaTeX do not


def bytes_of(folder: Path) -> dict[str, str]:
    """The digest of every result whose bytes are promised, without the line with hours of trainings, and of the synthetic archive."""
    files = [path for part in ("results", "data") for path in (folder / part).rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder)): blake2b(re.sub(rb"<dt>Trained</dt>.*", b"", path.read_bytes())).hexdigest()
        for path in files
        if path.suffix not in UNSTABLE and path.name not in (*TIMED, "filler") and not path.match("results/history/*/*.json")
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
def mortal(tmp_path, quick) -> Path:
    """A folder with a `thorax` that meets with faults."""
    return stand_in(tmp_path / "bin", "thorax", f'exec {quick}/mortal "$@"')


@pytest.fixture
def waiting(tmp_path, quick) -> Path:
    """A folder with a `thorax` that notes its call and waits until there is a file `go`."""
    there = tmp_path / "bin"
    script = f'touch {there}/called; while [ ! -e {there}/go ]; do sleep 0.05; done; exec {quick}/thorax "$@"'
    return stand_in(there, "thorax", script)


@pytest.fixture
def mounted() -> Iterator[Callable[..., Path]]:
    """Mount a file system of its own over a folder: mounted(folder, *options of mount)."""
    folders = []

    def mount(folder: Path, *options: Path | str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mount", *options, folder], capture_output=True, text=True, check=False)
        if done.returncode:
            reason = f"this user may not mount file systems: {done.stderr.strip()}"
            assert os.environ.get("CI") != "true", reason
            pytest.skip(reason)
        if folder not in folders:
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


@pytest.fixture
def finish(quick) -> Callable[..., None]:
    """Type the command again when the fault is over: finish(folder, *arguments)."""

    def finished(folder: Path, *arguments: str) -> None:
        done = run(folder, *arguments, first=quick)
        assert done.returncode == 0, done.stdout[-6000:]

    return finished


def stages() -> set[str]:
    """The verbs of all jobs of the tiny run."""
    arguments = ["--snakefile", str(REPOSITORY / "Snakefile"), "--configfile", str(CONFIG), "--cores", "2"]
    commands = [job.shell.removeprefix("exec ").removeprefix("thorax ") for job in load(arguments).jobs if job.shell]
    return {command.split()[0] for command in commands}


def test_kill_9_in_every_stage(tiny_run, mortal, tmp_path, monkeypatch):
    """Each verb is killed with half a file written, three verbs twice; the same command is typed until it has ended."""
    folder, met, typed = tmp_path / "run", tmp_path / "met", 0
    folder.mkdir()
    met.mkdir()
    monkeypatch.chdir(folder)
    verbs = stages()
    status = 1
    while status and typed < 20:
        done = run(folder, "--retries", "1", first=mortal, FAULT="kill", MET=str(met))
        assert "Traceback" not in done.stdout, done.stdout[-6000:]
        status, typed = done.returncode, typed + 1
    assert status == 0, done.stdout[-6000:]
    assert typed == 1 + len(TWICE)
    killed = [path.name.split(".")[0] for path in met.glob("*.met")]
    assert {verb: killed.count(verb) for verb in killed} == {verb: 1 + (verb in TWICE) for verb in verbs}
    assert_same(folder, tiny_run)


def test_kill_9_of_snakemake_itself(tiny_run, tiny_copy, waiting, finish):
    """The job that it had started goes on."""
    begun = Started(tiny_copy, "--cores", "2", "--forcerun", "metrics", first=waiting)
    begun.wait_for((waiting / "called").exists)
    begun.process.kill()
    begun.process.wait(60)
    refused = run(tiny_copy)
    assert refused.returncode != 0
    assert_sentence(
        refused.stdout, "thorax metrics (process ", "its Snakemake has ended: wait until it has ended, or end it (kill "
    )
    begun.send(signal.SIGKILL)
    finish(tiny_copy)
    assert_same(tiny_copy, tiny_run)


def test_two_snakemakes_at_once(tiny_run, tiny_copy, waiting):
    begun = Started(tiny_copy, "--cores", "2", "--forcerun", "metrics", first=waiting)
    begun.wait_for((waiting / "called").exists)
    refused = run(tiny_copy, "--forcerun", "metrics")
    assert refused.returncode != 0
    assert_sentence(refused.stdout, f"{tiny_copy} is in use by process ", "wait until that run has ended")
    (waiting / "go").touch()
    assert begun.process.wait(120) == 0, begun.said()
    assert_same(tiny_copy, tiny_run)


@pytest.mark.parametrize(("disk", "kilobytes", "step"), [("results/images", 32, "images"), ("results/tables", 12, "tables")])
def test_a_full_disk_while_arrays_or_tables_are_written(tiny_run, tiny_copy, mounted, disk, kilobytes, step, finish):
    shutil.rmtree(tiny_copy / disk)
    folder = mounted(tiny_copy / disk, "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs")
    failed = run(tiny_copy, "--until", step, "--forcerun", step)
    assert failed.returncode != 0
    assert_sentence(failed.stdout, f"thorax: {disk}", "cannot be written (No space left on device): free some disk space")
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    mounted(folder, "-o", "remount,size=64m")
    finish(tiny_copy, "--until", step, "--forcerun", step)
    finish(tiny_copy)
    assert_same(tiny_copy, tiny_run)


def test_a_disk_that_fills_up_during_a_training(tiny_run, tiny_copy, mounted, mortal, tmp_path, finish):
    folder = mounted(tiny_copy / "work", "-t", "tmpfs", "-o", "size=16m", "tmpfs")
    met = tmp_path / "met"
    met.mkdir()
    failed = run(tiny_copy, *TRAIN_FIRST, first=mortal, FAULT="fill", MET=str(met))
    assert failed.returncode != 0
    assert_sentence(
        failed.stdout, "thorax: work/tiny/first-", "cannot be written (No space left on device): free some disk space"
    )
    assert not (tiny_copy / FIRST).exists()
    assert not (tiny_copy / "results/history/tiny/first.csv").exists()
    (filler,) = folder.rglob("filler")
    filler.unlink()
    finish(tiny_copy, *TRAIN_FIRST)
    assert_same_network(tiny_copy, tiny_run)
    assert left_over(tiny_copy) == []


def test_read_only_results(tiny_run, tiny_copy, mounted, finish):
    results = tiny_copy / "results"
    mounted(results, "--bind", results)
    mounted(results, "-o", "remount,ro,bind")
    refused = run(tiny_copy, "--forcerun", "tables")
    assert refused.returncode != 0
    assert_sentence(refused.stdout, f"{results} cannot be written: make it writable, or run in another folder (--directory).")
    mounted(results, "-o", "remount,rw,bind")
    finish(tiny_copy, "--forcerun", "tables", "--until", "tables")
    assert_same(tiny_copy, tiny_run)


def test_a_read_only_folder_to_run_in(mounted, tmp_path):
    folder = mounted(tmp_path / "run", "-t", "tmpfs", "-o", "ro", "tmpfs")
    refused = run(folder)
    assert refused.returncode != 0
    assert_sentence(refused.stdout, f"{folder} cannot be written: make it writable, or run in another folder (--directory).")
    mounted(folder, "-o", "remount,rw")
    assert run(folder, "--dry-run").returncode == 0


def test_damaged_intermediate_files(tiny_run, tiny_copy, quick, finish):
    """The sentence names the file; it is remade where it was deleted, and a copy that was put back will do as well."""
    metrics, history, masks = (
        tiny_copy / "results" / name
        for name in ("metrics/tiny.parquet", "history/tiny/first.csv", "lungs/tiny-lungs/tiny.0.npy")
    )
    whole = metrics.read_bytes()
    metrics.write_bytes(whole[:200] + bytes([whole[200] ^ 255]) + whole[201:])
    for path in (history, masks):
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    failed = run(tiny_copy, "--keep-going", first=quick)
    assert failed.returncode != 0
    for path in (metrics, history, masks):
        assert_sentence(failed.stdout, f"thorax: {path.relative_to(tiny_copy)} is not a ", "delete and remake it")
        path.unlink()
    shutil.copy2(tiny_run / masks.relative_to(tiny_copy), masks)
    finish(tiny_copy)
    assert_same(tiny_copy, tiny_run)


def test_files_dated_in_the_future(tiny_run, tiny_copy, finish):
    later = time.time() + 4 * 365 * 86400
    for name in (f"data/tiny/{padchest.METADATA[0]}", "results/metrics/tiny.parquet"):
        os.utime(tiny_copy / name, (later, later))
    assert "Nothing to be done" in run(tiny_copy).stdout
    refused = run(tiny_copy, "--forcerun", "tables")
    assert refused.returncode != 0
    assert_sentence(
        refused.stdout, f"data/tiny/{padchest.METADATA[0]} is dated in the future (2 in all): ", "correct the clock"
    )
    subprocess.run(re.search(r"type `(find .*)`, then", refused.stdout)[1], shell=True, cwd=tiny_copy, check=True)
    finish(tiny_copy, "--forcerun", "tables")
    assert_same(tiny_copy, tiny_run)
    assert "Nothing to be done" in run(tiny_copy).stdout


def test_a_missing_gpu(tiny_run, tiny_copy, finish):
    failed = run(tiny_copy, *TRAIN_FIRST, CUDA_VISIBLE_DEVICES="99")
    assert failed.returncode != 0
    assert_sentence(failed.stdout, "thorax: GPU 99 is assigned to this job", "THORAX_ALLOW_CPU=1")
    assert not (tiny_copy / FIRST).exists()
    finish(tiny_copy, "--until", "train")
    assert_same_network(tiny_copy, tiny_run)


def test_ctrl_c_during_a_training(tiny_run, tiny_copy, finish):
    begun = Started(tiny_copy, "--cores", "2", *TRAIN_FIRST)
    begun.wait_for(lambda: list((tiny_copy / "results/models/tiny").glob(".first.keras.part-*")))
    assert begun.send(signal.SIGINT) > 0
    assert_sentence(begun.said(), "Terminating processes on user request")
    assert_sentence((tiny_copy / "logs/train/tiny/first.log").read_text(), "thorax: interrupted; ")
    assert not (tiny_copy / FIRST).exists()
    finish(tiny_copy, *TRAIN_FIRST)
    assert_same_network(tiny_copy, tiny_run)
    assert left_over(tiny_copy) == []


def test_a_killed_job_is_not_forgotten_where_older_results_are_there(tiny_run, tiny_copy, tmp_path, quick):
    """Snakemake deletes what a job made before and forgets it; the tables of the old settings must not count as made."""
    settings = yaml.safe_load(CONFIG.read_text())
    settings["experiments"]["tiny"]["ensembles"]["CTP"]["members"] = ["first", "second"]
    changed = tmp_path / "changed.yaml"
    changed.write_text(yaml.safe_dump(settings, sort_keys=False))
    deadly = stand_in(tmp_path / "bin", "thorax", f'[ $1 = metrics ] && kill -9 $$; exec {quick}/thorax "$@"')
    killed = snakemake(tiny_copy, "--cores", "2", config=changed, first=deadly)
    assert killed.returncode != 0
    assert_sentence(killed.stdout, "returned non-zero exit status 137")
    assert_sentence(killed.stdout, "What is finished stays.", "then type the same command again.")
    table = "results/tables/tiny/global.csv"
    assert (tiny_copy / table).read_bytes() == (tiny_run / table).read_bytes()  # the old one is still there
    assert snakemake(tiny_copy, "--cores", "2", config=changed, first=quick).returncode == 0
    assert (tiny_copy / table).read_bytes() != (tiny_run / table).read_bytes()


def test_no_output_can_be_forgotten(tiny_copy, monkeypatch):
    """What no job reads is missed too: tables in other formats, sums, histories, figures in other formats."""
    monkeypatch.chdir(tiny_copy)
    arguments = ["--snakefile", str(REPOSITORY / "Snakefile"), "--configfile", str(CONFIG), "--cores", "2"]
    jobs = load(arguments).jobs
    read = {path for job in jobs for path in job.inputs}
    beside = {path for job in jobs for path in job.outputs} - read
    assert {"results/tables/tiny/per_class.tex", "results/figures/tiny/roc.svg", "results/metrics/tiny"} <= beside
    assert {"results/epochs/tiny/first.csv", "results/segmenters/tiny-lungs.csv"} <= beside
    for path in map(Path, beside):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    dry = run(tiny_copy, "--dry-run").stdout
    missed = {path for line in re.findall(r"Missing output files: (.*)", dry) for path in re.split(r",\s*|;.*", line)}
    assert beside - missed == set()

    asked = set(re.search(r"^rule all:\n    input: (.*)$", dry, re.MULTILINE)[1].split(", "))
    unasked = {path for job in jobs for path in job.outputs} - asked
    assert {str(Path(path).parent) for path in unasked} == {"results/ingested", "results/lungs/tiny-lungs"}
    assert {Path(path).suffix for path in unasked} == {".npy"}


def test_every_row_of_the_table_is_a_test_and_every_test_a_row():
    rows = set(re.findall(r"`(test_\w+)`", (REPOSITORY / "docs" / "how-to" / "faults.md").read_text()))
    here = set(re.findall(r"^def (test_\w+)", Path(__file__).read_text(), re.MULTILINE))
    others = "".join(
        (REPOSITORY / "tests" / "unit" / "models" / name).read_text() for name in ("test_fit.py", "test_resume.py")
    )
    assert here - rows == {"test_every_row_of_the_table_is_a_test_and_every_test_a_row"}
    assert rows - here <= set(re.findall(r"^def (test_\w+)", others, re.MULTILINE))
