"""A real Slurm cluster of two nodes on this machine, for as long as its standard input is open.

`python cluster.py`, as root, starts munge, a controller and two nodes from nothing in a folder of their own under /tmp, prints
one line of JSON when jobs can run, and waits. When its input ends, because the test session ended or was killed, it ends every
process of the cluster, jobs included, and removes the folder.
"""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

NODES = ("n1", "n2")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
PACKAGES = "apt-get install slurm-wlm munge"
SYSTEM = "/usr/sbin:/usr/bin:/sbin:/bin"


def missing() -> str:
    """Why no cluster can be started here, and what to do; empty if one can."""
    path = f"{os.environ.get('PATH', '')}:{SYSTEM}"
    absent = [program for program in PROGRAMS if not shutil.which(program, path=path)]
    if absent:
        return f"{', '.join(absent)} not installed: {PACKAGES} (Debian, Ubuntu)"
    if as_root() is None:
        return "Slurm's nodes need root: run as root, or allow sudo without a password"
    return ""


def as_root() -> list[str] | None:
    """What to put before a command so that root runs it; None where nothing does."""
    if os.geteuid() == 0:
        return []
    asked = ["sudo", "-n"]
    if shutil.which("sudo") and subprocess.run([*asked, "true"], capture_output=True, check=False).returncode == 0:
        return asked
    return None


def serve() -> None:
    """Start, say so, wait for the end of the input, clean up."""
    folder = Path(tempfile.mkdtemp(prefix="thorax-slurm-", dir="/tmp"))  # short: the socket's path has at most 107 characters
    folder.chmod(0o755)
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{SYSTEM}", "SLURM_CONF": str(folder / "slurm.conf")}
    daemons = []
    try:
        _write_configuration(folder)
        for name, command in (
            ("munged", ["munged", "--foreground", *_munge_files(folder)]),
            ("slurmctld", ["slurmctld", "-D"]),
            *((node, ["slurmd", "-D", "-N", node]) for node in NODES),
        ):
            with (folder / f"{name}.out").open("w") as out:
                daemons.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment))
            if name == "munged":
                _wait(lambda: (folder / "munge.socket").exists(), daemons, folder)
        _wait(lambda: _idle(environment), daemons, folder)
        print(json.dumps({"folder": str(folder)}), flush=True)
        sys.stdin.read()
    finally:
        end(folder)


def _write_configuration(folder: Path) -> None:
    values = {"folder": folder, "host": socket.gethostname().partition(".")[0]}
    values |= dict(zip(("controller_port", "n1_port", "n2_port"), _free_ports(3), strict=True))
    for name in ("slurm.conf", "gres.conf"):
        (folder / name).write_text((Path(__file__).parent / name).read_text().format(**values))
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
    srun = folder / "bin" / "srun"  # Snakemake's executor takes SLURM_CONF out of the environment before it calls srun
    srun.parent.mkdir()
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun", path=SYSTEM)} "$@"\n')
    srun.chmod(0o755)
    (folder / "state").mkdir()
    for node in NODES:
        (folder / node).mkdir()
        os.mknod(folder / f"{node}-gpu0", stat.S_IFCHR | 0o666, os.makedev(1, 3))  # a device that Slurm can hand out
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)


def _munge_files(folder: Path) -> list[str]:
    names = {"socket": "munge.socket", "key-file": "munge.key", "log-file": "munged.log", "pid-file": "munged.pid"}
    return [f"--{option}={folder / name}" for option, name in {**names, "seed-file": "munged.seed"}.items()]


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; held together, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    for held in sockets:
        held.bind(("127.0.0.1", 0))
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


def _idle(environment: dict[str, str]) -> bool:
    asked = subprocess.run(
        ["sinfo", "-h", "-N", "-p", "main", "-o", "%T"], capture_output=True, text=True, env=environment, check=False
    )
    return asked.stdout.split() == ["idle"] * len(NODES)


def _wait(ready: Callable[[], bool], daemons: list[subprocess.Popen], folder: Path, seconds: float = 60) -> None:
    give_up = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > give_up or any(daemon.poll() is not None for daemon in daemons):
            for log in sorted(folder.glob("*.out")):
                print(f"== {log.name}\n{log.read_text(errors='replace')[-3000:]}", file=sys.stderr)
            raise SystemExit("The cluster did not start.")
        time.sleep(0.1)


def members(folder: Path) -> list[int]:
    """The processes of a cluster: daemons, job steps, jobs, and whatever was started to talk to it."""
    mark = f"SLURM_CONF={folder}/slurm.conf".encode()
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            with suppress(OSError):
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
    return found


def end(folder: Path) -> None:
    """End a cluster's processes, munge as well, and remove its folder."""
    for number in (signal.SIGTERM, *[signal.SIGKILL] * 50):
        for process in members(folder):
            with suppress(OSError):
                os.kill(process, number)
        time.sleep(0.2)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not members(folder):
            break
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    serve()
