"""`thorax`, `snakemake` and `dvc` without the seconds of their start: a process that has imported everything forks one for each call.

Half of a small job's time is the start of Python, pandas and TensorFlow, and half of a short run's that of Snakemake. The runs whose
times, memory or signals are looked at start theirs as users do.

Run as a program with a folder, this is the process that forks. It ends when its standard input is closed.
"""

import array
import atexit
import functools
import importlib
import json
import os
import pkgutil
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

# What functions of the package, Snakemake and DVC import when they are called
LATER = (
    "IPython.display",
    "contourpy",
    "dvc.cli",
    "dvc.commands.repro",
    "dvc.repo",
    "dvc.stage",
    "dvc_data.hashfile.hash",
    "imagecodecs",
    "imagehash",
    "matplotlib.figure",
    "papermill.execute",
    "pyarrow.dataset",
    "pydicom",
    "scipy.sparse.csgraph",
    "simplejpeg",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "snakemake.cli",
)
# The module of each program; mortal.py is in this folder
MAIN = {"thorax": "thorax.cli", "snakemake": "snakemake.cli", "dvc": "dvc.cli", "mortal": "mortal"}
PYTHON = "python"  # takes `-m` and one of these: what Snakemake starts for each job on a cluster

# What each program is here: it hands its words, folder, environment, and standard streams to the process that forks
CLIENT = """#!{python} -IS
import array, json, os, socket, sys
forks = socket.socket(socket.AF_UNIX)
forks.connect({address!r})
streams = array.array("i", [0, 1, 2])
job = json.dumps([*os.path.split(sys.argv[0]), sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
forks.sendmsg([len(job).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
forks.sendall(job)
status = forks.recv(1)
sys.exit(status[0] if status else "the process of this program died")
"""


@functools.cache
def programs() -> Path:
    """A folder for PATH with the quick programs, for as long as this process lives."""
    folder = Path(tempfile.mkdtemp(prefix="thorax-quick-"))
    atexit.register(shutil.rmtree, folder)
    address = str(folder / "socket")
    for name in (*MAIN, PYTHON):
        (folder / name).write_text(CLIENT.format(python=os.path.realpath(sys.executable), address=address), encoding="utf-8")
        (folder / name).chmod(0o755)
    environment = {**os.environ, "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": (folder / "log").open("w")}
    process = subprocess.Popen([sys.executable, __file__, address], env=environment, **streams)
    atexit.register(process.stdin.close)  # that of a killed process is closed as well
    assert process.stdout.readline() == b"ready\n", (folder / "log").read_text()
    return folder


def serve(address: str) -> None:
    """Fork a process for each job that comes to the address, until standard input is closed."""
    _import_everything()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen(64)
    tempfile.tempdir = tempfile.mkdtemp(dir=Path(address).parent)  # a forked job ends without deleting what it put there
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the jobs' processes
    print("ready", flush=True)
    while listening in select.select([listening, sys.stdin], [], [])[0]:
        client, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _run(client)
        client.close()


def _import_everything() -> None:
    import keras  # noqa: F401  # first: it takes what it finds of the others
    import tensorflow  # noqa: F401

    import thorax

    for module in pkgutil.walk_packages(thorax.__path__, "thorax."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in LATER:
        importlib.import_module(name)
    from thorax.verbs import VERBS
    from thorax.workflow import code

    for verb in VERBS:
        code.digest(verb)  # kept: Snakemake asks for nearly all of them


def _run(client: socket.socket) -> None:
    """Be the program that the client names, with what else it sent, and tell it the exit status."""
    status = 1
    try:
        size, ancillary, *_ = client.recvmsg(8, socket.CMSG_SPACE(3 * array.array("i").itemsize))
        for stream, descriptor in enumerate(array.array("i", ancillary[0][2])):
            os.dup2(descriptor, stream)
        with client.makefile("rb") as sent:
            programs, name, words, folder, environment = json.loads(sent.read(int.from_bytes(size, "big")))
        if name == PYTHON:
            sys.executable = str(Path(programs) / PYTHON)  # what it starts starts at once as well
            _, name, *words = words
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = [str(Path(sys.executable).with_name(name)), *words]
        status = importlib.import_module(MAIN[name]).main(words)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        client.sendall(bytes([status & 255]))
        os._exit(status & 255)


if __name__ == "__main__":
    serve(sys.argv[1])
