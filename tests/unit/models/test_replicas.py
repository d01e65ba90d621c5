"""Several devices train as one does; tried on two virtual CPUs in a process of their own."""

import subprocess
import sys

import pandas as pd
import pytest

from tests.unit.models.test_fit import SETTINGS, write_problem
from tests.unit.models.test_two_view_networks import write_studies
from thorax import backend
from thorax.config import Training
from thorax.errors import ThoraxError

PROGRAM = """
import sys
from pathlib import Path
import tensorflow as tf
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from thorax import backend
from thorax.models import fit
from thorax.models.batches import SecondView
from thorax.config import Training
from tests.unit.models.test_replicas import plain
backend.replicas = lambda batch_size, accumulate: backend.Replicas(["CPU:0", "CPU:1"])
folder = Path(sys.argv[1])
images = [folder / "images.0.npy", folder / "images.1.npy"]
inputs = {name: folder / f"{name}.parquet" for name in ("labels", "split", "ingested")}
outputs = {"out": folder / "two.keras", "history": folder / "two.csv", "work": folder / "work"}
second = None
if (folder / "pairs.parquet").exists():
    second = SecondView(folder / "pairs.parquet", folder / "second.parquet", [folder / f"second.{shard}.npy" for shard in range(3)])
fit.train(plain(), **inputs, images=images, weights=None, **outputs, second=second)
"""


def plain() -> Training:
    """Without dropout and batch statistics, which each device draws and computes for itself."""
    return Training(
        **{**SETTINGS, "dropout": 0.0, "batch_norm_momentum": None, "epochs": 3, "augmentation": None, "frozen_epochs": 3}
    )


@pytest.mark.slow
@pytest.mark.parametrize("views", [1, 2])
def test_two_devices_train_as_one(tmp_path, views):
    from thorax.models.fit import train

    problem, second = (write_problem(tmp_path), None) if views == 1 else write_studies(tmp_path)
    outputs = {"out": tmp_path / "one.keras", "history": tmp_path / "one.csv", "work": tmp_path / "work"}
    train(plain(), **problem, weights=None, **outputs, second=second)
    done = subprocess.run([sys.executable, "-c", PROGRAM, tmp_path], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("one", "two"))
    pd.testing.assert_frame_equal(one, two, rtol=1e-4)
    assert (tmp_path / "two.keras").stat().st_size == pytest.approx((tmp_path / "one.keras").stat().st_size, rel=0.05)


def test_a_batch_that_cannot_be_divided_is_refused(monkeypatch):
    monkeypatch.setattr(backend, "gpus", lambda: 4)
    with pytest.raises(ThoraxError, match="batch_size 30 cannot be divided among 4 GPUs: choose a multiple of 4"):
        backend.replicas(30)


def test_accumulated_gradients_on_several_devices_are_refused(monkeypatch):
    monkeypatch.setattr(backend, "gpus", lambda: 2)
    with pytest.raises(ThoraxError, match=r"accumulate: 16 needs a single GPU, and there are 2: set CUDA_VISIBLE_DEVICES"):
        backend.replicas(16, accumulate=16)
