"""What every benchmark needs: clocks, memory, the machine, and processes that have run nothing before."""

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any


def median(values: list[float]) -> float:
    return float(statistics.median(values))


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


def machine() -> dict[str, str]:
    """What the figures are measured on."""
    cpu = _line("/proc/cpuinfo", "model name").partition(":")[2].strip() or platform.processor()
    memory = int((_line("/proc/meminfo", "MemTotal").split() or ["", "0"])[1]) / 2**20
    return {
        "cpu": cpu,
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory:.0f} GB",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }


def _line(path: str, begins: str) -> str:
    """The first line of a file that begins in this way; empty if there is none."""
    lines = Path(path).read_text().splitlines() if Path(path).exists() else []
    return next((line for line in lines if line.startswith(begins)), "")
