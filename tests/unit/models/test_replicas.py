"""Several devices train as one does; tried on two virtual CPUs in a process of their own."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.unit.models.test_fit import SETTINGS, write_problem
from tests.unit.models.test_two_view_networks import given, write_studies
from thorax import backend
from thorax.config import Training
from thorax.errors import ThoraxError

PROGRAM = """
import sys
from pathlib import Path
import tensorflow as tf
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from thorax import backend
from tests.unit.models.test_replicas import train_in
backend.replicas = lambda batch_size, accumulate: backend.Replicas(["CPU:0", "CPU:1"])
for views, folder in enumerate(sys.argv[1:], start=1):
    train_in(Path(folder), views, "two")
"""


def train_in(folder: Path, views: int, name: str) -> None:
    """Train on the problem in a folder, which is written there if it is not yet."""
    from thorax.models.fit import train

    problem, second = (write_problem(folder), None) if views == 1 else write_studies(folder)
    outputs = {"out": folder / f"{name}.keras", "history": folder / f"{name}.csv", "work": folder / name}
    train(plain(), **problem, weights=None, **outputs, **given(second))


def plain() -> Training:
    """Without dropout and batch statistics, which each device draws and computes for itself."""
    return Training(
        **{**SETTINGS, "dropout": 0.0, "batch_norm_momentum": None, "epochs": 3, "augmentation": None, "frozen_epochs": 3}
    )


@pytest.mark.slow
def test_two_devices_train_as_one(tmp_path):
    """With one view and with two; both on two devices in one other process."""
    folders = {1: tmp_path / "one", 2: tmp_path / "two"}
    for views, folder in folders.items():
        folder.mkdir()
        train_in(folder, views, "one")
    command = [sys.executable, "-c", PROGRAM, *folders.values()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for folder in folders.values():
        one, two = (pd.read_csv(folder / f"{name}.csv") for name in ("one", "two"))
        pd.testing.assert_frame_equal(one, two, rtol=1e-4)
        assert (folder / "two.keras").stat().st_size == pytest.approx((folder / "one.keras").stat().st_size, rel=0.05)


def test_a_batch_that_cannot_be_divided_is_refused(monkeypatch):
    monkeypatch.setattr(backend, "gpus", lambda: 4)
    with pytest.raises(ThoraxError, match="batch_size 30 cannot be divided among 4 GPUs: choose a multiple of 4"):
        backend.replicas(30)


def test_accumulated_gradients_on_several_devices_are_refused(monkeypatch):
    monkeypatch.setattr(backend, "gpus", lambda: 2)
    with pytest.raises(ThoraxError, match=r"accumulate: 16 needs a single GPU, and there are 2: set CUDA_VISIBLE_DEVICES"):
        backend.replicas(16, accumulate=16)
