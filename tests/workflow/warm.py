"""`thorax` without the seconds of its start: a process that has imported everything forks one for each job.

Half of a small job's time is the start of Python, pandas and TensorFlow. A run of hundreds of small jobs takes its `thorax` from
here; the runs whose times, memory or signals are looked at start theirs as users do.

Run as a program with a folder, this is the process that forks. It ends when its standard input is closed.
"""

import array
import contextlib
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# What functions of the package import when they are called
LATER = (
    "IPython.display",
    "contourpy",
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
)

# What `thorax` is in such a run: it hands its words, folder, environment, and standard streams to the process that forks
CLIENT = """#!{python} -IS
import array, json, os, socket, sys
forks = socket.socket(socket.AF_UNIX)
forks.connect({address!r})
streams = array.array("i", [0, 1, 2])
job = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
forks.sendmsg([len(job).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
forks.sendall(job)
status = forks.recv(1)
sys.exit(status[0] if status else "thorax: the process of this job died")
"""


@contextlib.contextmanager
def thorax(folder: Path) -> Iterator[Path]:
    """A folder for PATH in which `thorax` is the quick one, while the block runs."""
    folder.mkdir(parents=True)
    address = str(folder / "socket")
    client = folder / "thorax"
    client.write_text(CLIENT.format(python=os.path.realpath(sys.executable), address=address), encoding="utf-8")
    client.chmod(0o755)
    environment = {**os.environ, "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": (folder / "log").open("w")}
    with subprocess.Popen([sys.executable, __file__, address], env=environment, **streams) as process:
        assert process.stdout.readline() == b"ready\n", (folder / "log").read_text()
        try:
            yield folder
        finally:
            process.stdin.close()


def serve(address: str) -> None:
    """Fork a process for each job that comes to the address, until standard input is closed."""
    _import_everything()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen(64)
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


def _run(client: socket.socket) -> None:
    """Be `thorax` with what the client sent, and tell it the exit status."""
    from thorax.cli import main

    status = 1
    try:
        size, ancillary, *_ = client.recvmsg(8, socket.CMSG_SPACE(3 * array.array("i").itemsize))
        for stream, descriptor in enumerate(array.array("i", ancillary[0][2])):
            os.dup2(descriptor, stream)
        with client.makefile("rb") as sent:
            words, folder, environment = json.loads(sent.read(int.from_bytes(size, "big")))
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["thorax", *words]
        status = main(words)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        client.sendall(bytes([status & 255]))
        os._exit(status & 255)


if __name__ == "__main__":
    serve(sys.argv[1])
