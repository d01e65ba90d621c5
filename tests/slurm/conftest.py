"""One real Slurm cluster for all tests, and the repository's workflow run on it with the repository's profile."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from tests.slurm import cluster
from tests.workflow import warm
from tests.workflow.conftest import CASES, REPOSITORY

COMMAND = "snakemake --cores 8 --profile slurm"  # as in README.md
LONG = Path(__file__).parent / "long.yaml"
# What most of the tiny run's jobs are for: each stage, training and group of the profile but for the last pages. Each job of a
# group starts a Snakemake of its own, which takes longer than the small job itself.
WANTED = [
    f"results/{path}"
    for path in (
        "tables/tiny/global.html",
        "figures/tiny/heatmaps.html",
        "tables/screening.html",
        "figures/lungs/32-lungs.html",
    )
]
RUN_ID = re.compile(r"SLURM run ID: (\S+)")


@dataclass(frozen=True)
class Job:
    """What Slurm knows of a job."""

    number: str
    name: str
    rule: str
    state: str
    node: str
    start: float
    end: float
    restarts: int
    tres: str  # what it asked for

    def overlaps(self, other: "Job") -> bool:
        """Whether both ran at the same time."""
        return self.start < other.end and other.start < self.end


class Slurm:
    """The cluster: its commands, and Snakemake on it."""

    def __init__(self, folder: str) -> None:
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SLURM_")},
            "PATH": f"{folder}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}:{cluster.SYSTEM}",
            "SLURM_CONF": f"{folder}/slurm.conf",
            "SOURCE_DATE_EPOCH": "1640995200",
            "THORAX_ALLOW_CPU": "1",  # the GPUs are there for Slurm only
        }

    def ask(self, *command: str) -> str:
        """The output of a command of Slurm."""
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment, timeout=60, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def as_root(self, *command: str) -> str:
        """The same, with an administrator's rights."""
        prefix = cluster.as_root() or []
        return self.ask(*prefix, *(["env", f"SLURM_CONF={self.environment['SLURM_CONF']}"] if prefix else []), *command)

    def jobs(self, rule: str = "") -> list[Job]:
        """All jobs that were ever submitted, by number; those of one rule or group where it is named."""
        found = []
        for line in self.ask("scontrol", "--oneliner", "show", "jobs").splitlines():
            if not (number := re.match(r"JobId=(\d+) ", line)):
                continue
            value = dict(re.findall(r"(\w+)=(\S*)", line))
            comment = value.get("Comment", "").removeprefix("rule_")
            if comment.startswith(rule):
                found.append(
                    Job(
                        number=number[1],
                        name=value["JobName"],
                        rule=comment,
                        state=value["JobState"],
                        node=value.get("NodeList", "").replace("(null)", ""),
                        start=_seconds(value["StartTime"]),
                        end=_seconds(value["EndTime"]),
                        restarts=int(value["Restarts"]),
                        tres=" ".join(value.get(name, "") for name in ("TRES", "TresPerJob", "TresPerNode")),
                    )
                )
        return sorted(found, key=lambda job: int(job.number))

    def jobs_of(self, folder: Path) -> list[Job]:
        """The jobs of the runs in a folder."""
        names = [name for log in folder.glob("run-*.log") for name in RUN_ID.findall(log.read_text())]
        return [job for job in self.jobs() if job.name in names]

    @contextmanager
    def snakemake(
        self, folder: Path, *arguments: str | Path, patient: bool = False, quick: Path | None = None
    ) -> Iterator["Run"]:
        """The command of the README at work in `folder`; killed at the end if it has not ended.

        In the jobs, programs in the folder `quick` stand for those of the same name.
        """
        command = COMMAND.split() if patient else [sys.executable, Path(__file__).parent / "impatient.py", *COMMAND.split()[1:]]
        command += ["--directory", folder, "--configfile", CASES / "tiny" / "config.yaml", *arguments]
        log = folder / f"run-{time.time_ns()}.log"
        environment = dict(self.environment)
        if quick:
            environment |= {"PATH": f"{quick}:{environment['PATH']}", "THORAX_PYTHON": str(quick / warm.PYTHON)}
        with log.open("w") as out:
            process = subprocess.Popen([str(part) for part in command], cwd=REPOSITORY, env=environment, stdout=out, stderr=out)
        try:
            yield Run(process, log)
        finally:
            process.kill()
            process.wait()

    def run(self, folder: Path, *arguments: str | Path, timeout: float = 600, **how: bool | Path) -> str:
        """The same to its good end; return what was printed."""
        with self.snakemake(folder, *arguments, **how) as run:
            run.process.wait(timeout)
            assert run.process.returncode == 0, run.text()[-6000:]
            return run.text()


@dataclass
class Run:
    """A run of Snakemake that goes on."""

    process: subprocess.Popen
    log: Path

    def text(self) -> str:
        """What it has printed so far."""
        return self.log.read_text()

    def id(self) -> str:
        """The name of its jobs; empty until it has one."""
        return next(iter(RUN_ID.findall(self.text())), "")

    def until(self, what: Callable[[], object], seconds: float = 300) -> object:
        """Wait until something is there, and return it; fail when the run ends before."""
        give_up = time.monotonic() + seconds
        while not (found := what()):
            assert self.process.poll() is None, f"the run has ended\n{self.text()[-6000:]}"
            assert time.monotonic() < give_up, f"{seconds:.0f} s have passed\n{self.text()[-6000:]}"
            time.sleep(0.2)
        return found


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() if text[0].isdigit() else float("inf")


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """The cluster. Where none can be started the tests are skipped, and say what to install; in CI that is a failure."""
    if why := cluster.missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    command = [*(cluster.as_root() or []), sys.executable, cluster.__file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        started = process.stdout.readline()
        assert started, "the cluster did not start; its logs are above"
        yield Slurm(json.loads(started)["folder"])
        process.stdin.close()
        process.wait(60)


@pytest.fixture(scope="session")
def finished(slurm, tmp_path_factory) -> Path:
    """The folder of one finished run on the cluster, from raw files to `WANTED`. Copy it before changing anything in it."""
    folder = tmp_path_factory.mktemp("slurm")
    slurm.run(folder, "--", *WANTED, timeout=900, quick=warm.programs())
    return folder
