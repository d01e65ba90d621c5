"""Replaces `thorax` in a run: the first calls of each verb meet with a fault, all later ones are the real ones.

FAULT says which: `kill` is kill -9 when half of a file is written; `fill` is a disk that becomes full when the first resume
state of a training is to be written. MET is a folder that notes who has met with it.
Snakemake repeats a job that was killed once (--retries 1); the verbs in TWICE are killed again then, so that the run fails and the
command has to be typed again.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Verbs that write several files die at this one, when others are in place already; a training in its second epoch.
NUMBER = {"phantom": 2, "catalog": 2, "ingest": 2, "train": 4, "tables": 2, "summary": 3, "screening": 4, "render": 2}


TWICE = ("catalog", "segmenter", "tables")  # each is the verb of a single job


def die_halfway(number: int, met: Path) -> None:
    """Leave half of the `number`th file that is written, under its temporary name, and be killed."""
    from thorax.storage import store

    atomic, begun = store.atomic, []

    @contextmanager
    def halfway(path: Path | str) -> Iterator[Path]:
        with atomic(path) as temporary:
            yield temporary
            if temporary != Path(path):  # else an outer block writes this file
                begun.append(path)
                if len(begun) == number:
                    os.truncate(temporary, temporary.stat().st_size // 2)
                    met.touch()
                    os.kill(os.getpid(), signal.SIGKILL)

    store.atomic = halfway


def fill_disk(met: Path) -> None:
    """Fill the disk of the first resume state before it is written."""
    from thorax.models import resume

    save = resume.States.save

    def fill(self: resume.States, *arguments: object) -> None:
        if not met.exists():
            met.touch()
            with (self.folder.parent / "filler").open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(b"x" * 1024)
        save(self, *arguments)

    resume.States.save = fill


def main(words: list[str]) -> int:
    """Be `thorax`, with a fault unless this verb has met with its faults."""
    verb, folder = words[0], Path(os.environ["MET"])
    called = len(list(folder.glob(f"{verb}.*.called")))
    if called < 1 + (os.environ["FAULT"] == "kill" and verb in TWICE):
        (folder / f"{verb}.{called}.called").touch()
        met = folder / f"{verb}.{called}.met"
        if os.environ["FAULT"] == "kill":
            die_halfway(NUMBER.get(verb, 1), met)
        else:
            fill_disk(met)
    from thorax import cli

    return cli.main(words)
