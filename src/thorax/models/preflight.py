"""Checks before a training begins: device, threads, memory, disk."""

import math
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from thorax import backend
from thorax.errors import ThoraxError
from thorax.models.architectures import BACKBONES

ON_CPU = "THORAX_ALLOW_CPU"  # set to 1 to let a job that was given a GPU train without it
_SLOTS = 3  # a variable and its two moments in Adam
_STATES = 3  # the newest two, and the one being written


def device(precision: str) -> None:
    """Check that an assigned GPU is usable, and that half precision is asked for on a GPU only."""
    assigned = os.environ.get("CUDA_VISIBLE_DEVICES", "").strip()
    if assigned not in ("", "-1", "NoDevFiles") and not backend.gpus() and os.environ.get(ON_CPU) != "1":
        problem = f"GPU {assigned} is assigned to this job (CUDA_VISIBLE_DEVICES), but none can be used"
        advice = f"install envs/gpu.txt and check the driver with nvidia-smi, or set {ON_CPU}=1 to train on the CPU"
        raise ThoraxError(f"{problem}: {advice}.")
    if precision == "mixed" and not backend.gpus():
        raise ThoraxError("precision: mixed needs a GPU, and none can be used here: write precision: auto.")


def workers(threads: int) -> None:
    """Print a note if more threads are requested than this process may use."""
    usable = backend.cores()
    if threads > usable:
        print(f"{threads} threads on {usable} usable cores: they take turns", file=sys.stderr, flush=True)


def memory(backbone: str, views: int = 1) -> None:
    """Check that a training fits into the memory of the machine or job; each view has a backbone."""
    needed, limit = BACKBONES[backbone].memory * views, memory_limit()
    if limit and needed > limit:
        problem = f"training {backbone} takes about {needed:,} MB of memory, and this job may use {limit:,} MB"
        raise ThoraxError(f"{problem}: ask for more, or train a smaller network.")


def disk(model: backend.Model, work: Path, out: Path) -> None:
    """Check that there is space for the resume states, the best epochs and the network itself."""
    size = 4 * sum(math.prod(variable.shape) for variable in model.variables)
    for folder, needed in ((work, size * (_SLOTS * _STATES + _STATES)), (out.parent, size)):
        there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(there).free
        if free < needed:
            problem = f"{folder} needs {_size(needed)} for this training, and its disk has {_size(free)} free"
            raise ThoraxError(f"{problem}: delete some files, or run where there is more.")


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def memory_limit() -> int:
    """Memory limit of this process in MB: that of its control group or of the machine; 0 if unknown."""
    limits = []
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(name).read_text()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    with suppress(ValueError, OSError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(limits, default=0) // 2**20
