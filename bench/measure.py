"""What every benchmark needs: clocks, memory, the machine, and processes that have run nothing before."""

import os
import platform
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np

from thorax import backend


def timed(action: Callable[[], Any]) -> float:
    """Seconds from start to end."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def cpu_seconds(action: Callable[[], Any]) -> float:
    """Seconds that all threads of this process compute: other work on the machine does not count."""
    start = time.process_time()
    action()
    return time.process_time() - start


def peak() -> float:
    """The largest memory that this process has held, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def processes(tasks: int | None = 1) -> ProcessPoolExecutor:
    """One process at a time that begins empty and ends after some tasks; None: after all."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=tasks)


def random_batch(count: int, side: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (count, side, side, 1) uint8 and labels (count, classes) float32."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (count, side, side, 1)).astype(np.uint8)
    return pixels, rng.integers(0, 2, (count, classes)).astype(np.float32)


def machine() -> dict[str, str]:
    """What the figures are measured on."""
    return {
        "cpu": backend.processor(),
        "cores": str(backend.cores()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GB",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }
