"""A training that is killed, stopped or starved goes on, and ends as if nothing had happened."""

import multiprocessing
import os
import random
import signal
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.unit.models.test_fit import SETTINGS, write_problem
from thorax.config import Training
from thorax.errors import ThoraxError
from thorax.models import resume
from thorax.models.resume import Progress, States

LONG = {**SETTINGS, "epochs": 80, "patience": 80, "schedule": "plateau", "accumulate": 5, "sampling": "over", "dropout": 0.3,
        "test_every_epoch": [0.4, 0.6]}  # fmt: skip


def arrays(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(50, 3)).astype("float32"), np.array([1, 2], "uint32"), np.float32(seed).reshape(())]


def test_the_newest_two_states_are_kept_with_their_best_networks(tmp_path):
    states = States(tmp_path / "s")
    for epoch, best in ((1, 1), (2, 1), (3, 3), (4, 3)):
        if best == epoch:
            states.save_best(epoch, arrays(10 + epoch))
        states.save(Progress(epoch=epoch, best_epoch=best, rows=[{"epoch": epoch}]), arrays(epoch))
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [
        "best-00003.npz",
        "state-00003-00000000.npz",
        "state-00004-00000000.npz",
    ]
    progress, saved = states.newest()
    assert progress == Progress(epoch=4, best_epoch=3, rows=[{"epoch": 4}])
    for one, other in zip(saved, arrays(4), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    np.testing.assert_array_equal(next(states.best(3)), arrays(13)[0])
    states.clear()
    assert states.newest() is None


@pytest.mark.parametrize("damage", ["cut", "altered", "empty", "best is gone", "best is cut"])
def test_a_damaged_state_is_said_and_the_one_before_it_used(tmp_path, damage, capsys):
    states = States(tmp_path / "s")
    states.save_best(1, arrays(11))
    states.save(Progress(epoch=1, best_epoch=1), arrays(1))
    states.save_best(2, arrays(12))
    states.save(Progress(epoch=2, best_epoch=2), arrays(2))
    newest = tmp_path / "s" / "state-00002-00000000.npz"
    whole = newest.read_bytes()
    best = tmp_path / "s" / "best-00002.npz"
    if damage == "best is gone":
        best.unlink()
    elif damage == "best is cut":
        best.write_bytes(best.read_bytes()[:100])
    else:
        middle = len(whole) // 2
        newest.write_bytes(
            {"cut": whole[:middle], "altered": whole[:middle] + b"?" * 9 + whole[middle + 9 :], "empty": b""}[damage]
        )
    progress, saved = states.newest()
    assert progress.epoch == 1
    np.testing.assert_array_equal(next(saved), arrays(1)[0])
    assert "state-00002-00000000.npz is damaged" in capsys.readouterr().err
    assert not newest.exists()


def test_a_full_disk_leaves_the_state_before(tmp_path, monkeypatch):
    states = States(tmp_path / "s")
    states.save(Progress(epoch=1), arrays(1))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(ThoraxError, match=r"state-00002-.*cannot be written \(No space left on device\): free some disk space"):
        states.save(Progress(epoch=2), arrays(2))
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["state-00001-00000000.npz"]
    assert states.newest()[0].epoch == 1


def test_the_digest_is_of_settings_and_whole_files(tmp_path):
    one, other = tmp_path / "a", tmp_path / "b"
    one.write_bytes(b"x" * 10_000)
    other.write_bytes(b"x" * 9_999 + b"y")
    before = resume.digest({"epochs": 3}, [one, other])
    assert resume.digest({"epochs": 3}, [one, other]) == before
    assert resume.digest({"epochs": 4}, [one, other]) != before
    assert resume.digest({"epochs": 3}, [other, one]) != before
    one.write_bytes(b"x" * 9_998 + b"zx")
    assert resume.digest({"epochs": 3}, [one, other]) != before


def child(folder: Path, problem: dict, settings: dict, name: str, death: tuple | None) -> None:
    """Train in a process of its own, which kills itself at a moment that `death` names."""
    from thorax import cli
    from thorax.models import fit

    log = os.open(folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 2)

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    if death is not None:
        kind, when = death
        if kind == "time":  # counted from the first trained batch: before it nothing happens that could be lost
            add = Progress.__setattr__

            def first_step(self, name, value):
                add(self, name, value)
                if name == "step" and value:
                    Progress.__setattr__ = add
                    threading.Timer(when, die).start()

            Progress.__setattr__ = first_step
        elif kind == "term":
            run = fit.Fit._train

            def terminated(self):
                if self.progress.epoch == when:
                    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
                return run(self)

            fit.Fit._train = terminated
        else:
            save = {"array": "write_array", "rename": "replace", "prune": "_prune"}[kind]
            place = {"array": np.lib.format, "rename": Path, "prune": States}[kind]
            original, calls = getattr(place, save), []

            def counting(*arguments, **keywords):
                calls.append(1)
                if len(calls) == when:
                    die()
                return original(*arguments, **keywords)

            setattr(place, save, counting)
    outputs = {"out": folder / f"{name}.keras", "history": folder / f"{name}.csv", "work": folder / "work"}
    outputs["epochs"] = folder / f"{name}.epochs.csv"
    words = [f"--settings={Training(**settings).model_dump_json()}", "--images", *map(str, problem["images"])]
    files = {name: path for name, path in {**problem, **outputs}.items() if name != "images"}
    os._exit(cli.main(["train", *words, *(f"--{name}={path}" for name, path in files.items())]))


class Runner:
    """Starts `child` from a process that has imported TensorFlow already."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problem = write_problem(folder)
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["keras", "thorax.models.fit", "tests.unit.models.test_resume"])

    def __call__(self, settings: dict, name: str, death: tuple | None = None) -> int:
        process = self.context.Process(target=child, args=(self.folder, self.problem, settings, name, death))
        process.start()
        process.join(300)
        assert process.exitcode is not None
        return process.exitcode

    def said(self, name: str) -> str:
        """What the last process of this name wrote to its standard error."""
        return (self.folder / f"{name}.log").read_text()

    def state(self, name: str) -> Path:
        (folder,) = (path for path in (self.folder / "work").glob(f"{name}-*") if path.is_dir())
        return max(folder.glob("state-*.npz"))

    def same(self, one: str, other: str) -> None:
        from thorax.backend import load_network

        for table in ("csv", "epochs.csv"):
            written = [(self.folder / f"{name}.{table}").read_bytes() for name in (one, other)]
            assert written[0] == written[1]
        networks = [load_network(self.folder / f"{name}.keras") for name in (one, other)]
        for a, b in zip(*(network.get_weights() for network in networks), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    return Runner(tmp_path_factory.mktemp("resume"))


@pytest.fixture(scope="module")
def whole(runner) -> str:
    assert runner(LONG, "whole") == 0
    assert not list((runner.folder / "work").glob("whole-*/*"))  # what has ended needs no state
    assert len(pd.read_csv(runner.folder / "whole.epochs.csv")) == 80 * 3
    return "whole"


@pytest.mark.slow
def test_twelve_kills_change_nothing(runner, whole):
    """kill -9 at random moments and, eight times, while a state or a best network is written."""
    while_saving = [
        ("array", 2),
        ("array", 20),
        ("rename", 1),
        ("rename", 2),
        ("rename", 3),
        ("prune", 1),
        ("prune", 2),
        ("array", 45),
    ]
    rng = random.Random(0)
    deaths = while_saving + [("time", rng.uniform(0, 0.6)) for _ in range(4)]
    rng.shuffle(deaths)
    deaths[0] = ("array", 2)  # the first epoch is the best so far, so its weights are written first
    killed = 0
    for death in deaths:
        status = runner(LONG, "killed", death)
        if status == 0:  # it ended before its death
            break
        assert status == -signal.SIGKILL
        killed += 1
    assert sum(kind != "time" for kind, _ in deaths) >= 5
    assert killed == 12, f"the training ended after {killed} kills: make it longer"
    assert runner(LONG, "killed") == 0
    runner.same("killed", whole)


@pytest.mark.slow
def test_sigterm_saves_in_the_middle_of_an_epoch(runner, whole):
    status = runner(LONG, "stopped", ("term", 3))
    assert status == 143
    said = runner.said("stopped")
    assert "thorax: terminated; the state after epoch" in said
    assert "is saved; run the same command to resume." in said
    assert not (runner.folder / "stopped.keras").exists()
    assert not (runner.folder / "stopped.csv").exists()
    with zipfile.ZipFile(runner.state("stopped")) as archive:
        assert archive.testzip() is None
    assert runner(LONG, "stopped") == 0
    runner.same("stopped", whole)


@pytest.mark.slow
def test_another_setting_never_goes_on_from_a_foreign_state(runner):
    short = {**LONG, "epochs": 4}
    assert runner(short, "other", ("rename", 3)) == -signal.SIGKILL
    before = runner.state("other")
    assert runner({**short, "learning_rate": 4e-3}, "other") == 0
    assert "resuming after" not in runner.said("other")
    assert before.exists()
    history = pd.read_csv(runner.folder / "other.csv")
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert history["learning_rate"][0] == 4e-3
    assert runner(short, "other") == 0
    assert "resuming after epoch" in runner.said("other")


@pytest.mark.slow
def test_two_stages_go_on_in_the_right_one(runner):
    staged = {**LONG, "epochs": 6, "frozen_epochs": 3, "fine_tune_rate": 1e-3}
    assert runner(staged, "staged") == 0
    for save in (4, 4, 2):  # in the first stage, between the two, in the second
        assert runner(staged, "staged-killed", ("rename", save)) == -signal.SIGKILL
    assert runner(staged, "staged-killed") == 0
    runner.same("staged", "staged-killed")
    rates = pd.read_csv(runner.folder / "staged.csv")["learning_rate"]
    assert rates[:3].max() == 5e-3
    assert rates[3:].max() <= 1e-3


@pytest.mark.slow
def test_two_at_once_are_refused(runner):
    process = runner.context.Process(target=child, args=(runner.folder, runner.problem, LONG, "twice", None))
    process.start()
    for _ in range(600):
        if list((runner.folder / "work").glob("twice-*.lock")):
            break
        time.sleep(0.1)
    assert runner(LONG, "twice") == 1
    assert "is being made by another process" in runner.said("twice")
    process.kill()
    process.join()
