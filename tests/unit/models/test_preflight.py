"""What a training needs is known before it begins."""

from types import SimpleNamespace

import pytest

from thorax import backend
from thorax.errors import ThoraxError
from thorax.models import preflight


@pytest.mark.parametrize("assigned", ["0", "0,1", "MIG-1234"])
def test_an_assigned_gpu_that_cannot_be_used_is_an_error(monkeypatch, assigned):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", assigned)
    monkeypatch.delenv(preflight.ON_CPU, raising=False)
    monkeypatch.setattr(backend, "gpus", lambda: 0)
    with pytest.raises(ThoraxError, match=f"GPU {assigned} is assigned .*, but none can be used: install envs/gpu.txt"):
        preflight.device("auto")
    monkeypatch.setenv(preflight.ON_CPU, "1")
    preflight.device("auto")
    monkeypatch.delenv(preflight.ON_CPU)
    monkeypatch.setattr(backend, "gpus", lambda: 1)
    preflight.device("mixed")


@pytest.mark.parametrize("assigned", [None, "", "-1"])
def test_without_an_assigned_gpu_the_cpu_is_fine(monkeypatch, assigned):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if assigned is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", assigned)
    monkeypatch.setattr(backend, "gpus", lambda: 0)
    preflight.device("auto")
    with pytest.raises(ThoraxError, match="precision: mixed needs a GPU"):
        preflight.device("mixed")


def test_more_threads_than_cores_are_said(monkeypatch, capsys):
    monkeypatch.setattr(preflight.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    preflight.workers(2)
    assert not capsys.readouterr().err
    preflight.workers(8)
    assert "8 threads on 2 usable cores" in capsys.readouterr().err


def test_too_little_memory_is_an_error(monkeypatch):
    monkeypatch.setattr(preflight, "memory_limit", lambda: 2_000)
    preflight.memory("cnn")
    with pytest.raises(
        ThoraxError, match=r"training InceptionResNetV2 takes about \d,\d+ MB of memory, and this job may use 2,000 MB"
    ):
        preflight.memory("InceptionResNetV2")
    monkeypatch.setattr(preflight, "memory_limit", lambda: 0)  # unknown
    preflight.memory("InceptionResNetV2")


def test_the_limit_of_the_machine_is_found():
    assert preflight.memory_limit() > 500


def test_too_little_disk_is_an_error(monkeypatch, tmp_path):
    model = SimpleNamespace(variables=[SimpleNamespace(shape=(1000, 1000)), SimpleNamespace(shape=())])
    needed = 4 * 1_000_001 * 12  # three states of weights and two moments, three best networks
    free = {"bytes": needed}
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: SimpleNamespace(free=free["bytes"]))
    preflight.disk(model, tmp_path / "work" / "deep", tmp_path / "m.keras")
    free["bytes"] -= 1
    with pytest.raises(ThoraxError, match=r"work needs 48\.0 MB for this training, and its disk has 48\.0 MB free"):
        preflight.disk(model, tmp_path / "work", tmp_path / "m.keras")
