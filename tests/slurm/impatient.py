"""Snakemake, but it looks for ended jobs every second.

The executor's pauses grow by ten seconds as long as nothing ends, which is right for jobs of hours; those of the tests take
seconds, and half of a test would be waiting. The variable THORAX_PYTHON names what starts Snakemake in the jobs. Nothing else is changed.
"""

import os
import sys

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

if __name__ == "__main__":
    if not isinstance(RemoteExecutor.next_seconds_between_status_checks, property):
        sys.exit("Snakemake's executors pause in another way now: look at tests/slurm/impatient.py.")
    RemoteExecutor.next_seconds_between_status_checks = property(lambda _: 1, lambda *_: None)
    sys.executable = os.environ.get("THORAX_PYTHON", sys.executable)
    sys.exit(main())
