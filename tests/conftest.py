"""What all tests share: the order of the files, and a working Ctrl-C."""

import signal
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("untimed", settings(), deadline=None)  # a busy machine is not a fault
settings.load_profile("untimed")

# The files that take longest, longest first: pytest-xdist hands files to its workers in this order (--dist loadfile
# --no-loadscope-reorder), so that no worker ends alone with a long one.
LONGEST = (
    "workflow/test_papers.py",
    "workflow/test_nih_sample.py",
    "slurm/test_slurm.py",
    "workflow/test_faults.py",
    "workflow/test_dvc.py",
    "workflow/test_tiny.py",
    "workflow/test_audit.py",
    "unit/images/test_segmenter.py",
    "unit/models/test_resume.py",
    "unit/workflow/test_bench.py",
    "workflow/test_demo.py",
)
ORDER = {Path(__file__).parent / name: number for number, name in enumerate(LONGEST)}


def pytest_configure() -> None:
    """Let the programs that tests start react to Ctrl-C.

    A shell starts programs in the background (`make test &`) with SIGINT ignored, and their children inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first; the order is stable otherwise."""
    items.sort(key=lambda item: ORDER.get(item.path, len(ORDER)))
