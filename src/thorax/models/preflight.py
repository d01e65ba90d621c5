"""What a training needs, checked before it begins: device, threads, memory, disk."""

import math
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from thorax import backend
from thorax.errors import ThoraxError
from thorax.models.backbones import BACKBONES

if TYPE_CHECKING:
    import keras

ON_CPU = "THORAX_ALLOW_CPU"  # set to 1 where a job with a GPU may compute without it
_SLOTS = 3  # a variable and Adam's two moments of it
_STATES = 3  # the newest two, and the one that is being written


def device(precision: str) -> None:
    """Refuse to train for days on a CPU where a GPU was assigned, and half precision where it only costs time.

    Raises:
        ThoraxError: a GPU is assigned but the backend sees none; or precision is mixed without a GPU.
    """
    assigned = os.environ.get("CUDA_VISIBLE_DEVICES", "").strip()
    if assigned not in ("", "-1", "NoDevFiles") and not backend.gpus() and os.environ.get(ON_CPU) != "1":
        raise ThoraxError(
            f"GPU {assigned} is assigned to this job (CUDA_VISIBLE_DEVICES), but none can be used: install envs/gpu.txt and look at "
            f"the driver with nvidia-smi, or set {ON_CPU}=1 to train on the CPU."
        )
    if precision == "mixed" and not backend.gpus():
        raise ThoraxError("precision: mixed needs a GPU, and none can be used here: write precision: auto.")


def workers(threads: int) -> None:
    """Say where more threads are asked for than this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads > usable:
        print(f"{threads} threads on {usable} usable cores: they take turns", file=sys.stderr, flush=True)


def memory(backbone: str, views: int = 1) -> None:
    """Refuse a training that cannot fit into the machine's or the job's memory; each view has a backbone.

    Raises:
        ThoraxError: with what it needs and what there is.
    """
    needed, limit = BACKBONES[backbone].memory * views, _memory_limit()
    if limit and needed > limit:
        raise ThoraxError(
            f"training {backbone} takes about {needed:,} MB of memory, and this job may use {limit:,} MB: ask for more, or train a "
            "smaller network."
        )


def disk(model: "keras.Model", work: Path, out: Path) -> None:
    """Refuse to begin what could not be saved: resume states, the best epochs, and the network itself.

    Raises:
        ThoraxError: a folder with what is needed and what is free.
    """
    size = 4 * sum(math.prod(variable.shape) for variable in model.variables)
    for folder, needed in ((work, size * (_SLOTS * _STATES + _STATES)), (out.parent, size)):
        there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(there).free
        if free < needed:
            raise ThoraxError(
                f"{folder} needs {_size(needed)} for this training, and its disk has {_size(free)} free: make room, or run where there "
                "is more."
            )


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _memory_limit() -> int:
    """MB that this process may use: the control group's limit where there is one, else the machine's memory; 0 if unknown."""
    limits = []
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(name).read_text()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    with suppress(ValueError, OSError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(limits, default=0) // 2**20
