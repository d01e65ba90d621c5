"""The resume state of a training: what it has done so far, in files that are whole or known to be damaged.

A state is a zip file of `.npy` arrays, one per variable of network and optimiser, beside `progress.json`; zip keeps a checksum
of every member, so a file that a power cut left half on the disk is found out. The newest two states are kept, and the weights
of the best epochs that they name. The folder belongs to one training: its name holds a digest of everything that decides the
result, so that a changed setting never finds it.
"""

import hashlib
import json
import re
import shutil
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from thorax.storage import store

KEPT = 2  # the newest state, and the one before it in case the newest is damaged
_STATE = re.compile(r"state-(\d{5})-(\d{8})\.npz")
_BEST = re.compile(r"best-(\d{5})\.npz")
_PROGRESS = "progress.json"
_DAMAGED = (zipfile.BadZipFile, zlib.error, OSError, ValueError, KeyError, TypeError, EOFError)


@dataclass
class Progress:
    """How far a training is.

    Attributes:
        epoch: finished epochs.
        step: batches of the next epoch that are trained.
        losses: of these batches.
        rows: the history, one row per finished epoch.
        tested: metrics of the test images after each epoch, where they are wanted.
        best: the smallest validation loss, and `best_epoch` the number of its epoch, from 1.
        reference: the validation loss that early stopping compares with, and `waited` for how many epochs.
    """

    epoch: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    rows: list[dict[str, float]] = field(default_factory=list)
    tested: list[dict[str, float]] = field(default_factory=list)
    best: float = np.inf
    best_epoch: int = 0
    reference: float = np.inf
    waited: int = 0


def digest(settings: dict[str, Any], files: Sequence[Path]) -> str:
    """A short digest of settings and of whole files, read side by side.

    Args:
        settings: whatever JSON can write.
        files: in an order that matters.
    """

    def of_file(path: Path) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()

    with ThreadPoolExecutor() as pool:  # hashlib lets other threads run
        contents = list(pool.map(of_file, files))
    return hashlib.blake2b(json.dumps([settings, contents], sort_keys=True).encode(), digest_size=8).hexdigest()


class States:
    """The states of one training, in a folder of their own.

    Args:
        folder: made when the first state is saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save_best(self, epoch: int, weights: Iterable[np.ndarray]) -> None:
        """Write the weights of an epoch that is the best so far. Errors as in `save`."""
        _write(self._best(epoch), weights)

    def best(self, epoch: int) -> Iterator[np.ndarray]:
        """The weights of the best epoch, in the order in which they were saved."""
        return _read(self._best(epoch))

    def save(self, progress: Progress, arrays: Iterable[np.ndarray]) -> None:
        """Write a state, then remove what the newest two do not need.

        Raises:
            ThoraxError: the folder cannot be written or is full; earlier states stay.
        """
        _write(self.folder / f"state-{progress.epoch:05d}-{progress.step:08d}.npz", arrays, json.dumps(asdict(progress)))
        self._prune()

    def newest(self) -> tuple[Progress, Iterator[np.ndarray]] | None:
        """The newest whole state: its progress and its arrays in the order in which they were saved; None without any.

        A damaged state, or one whose best weights are missing or damaged, is said, removed, and the one before it taken.
        """
        for path in self._states()[::-1]:
            try:
                _check(path)
                with zipfile.ZipFile(path) as archive:
                    progress = Progress(**json.loads(archive.read(_PROGRESS)))
                if progress.best_epoch:
                    _check(self._best(progress.best_epoch))
                return progress, _read(path)
            except _DAMAGED as error:
                print(f"{path} is damaged ({error}): going on from the one before it", file=sys.stderr, flush=True)
                path.unlink(missing_ok=True)
        return None

    def clear(self) -> None:
        """Forget the training: it has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _best(self, epoch: int) -> Path:
        return self.folder / f"best-{epoch:05d}.npz"

    def _states(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("state-*.npz") if _STATE.fullmatch(path.name))

    def _prune(self) -> None:
        states = self._states()
        for path in states[:-KEPT]:
            path.unlink(missing_ok=True)
        needed = set()
        for path in states[-KEPT:]:
            try:
                with zipfile.ZipFile(path) as archive:
                    needed.add(json.loads(archive.read(_PROGRESS))["best_epoch"])
            except _DAMAGED:  # said when it is read; until then nothing that it may need is removed
                return
        for path in self.folder.glob("best-*.npz"):
            match = _BEST.fullmatch(path.name)
            if match and int(match[1]) not in needed:
                path.unlink(missing_ok=True)


def _read(path: Path) -> Iterator[np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        for name in sorted(set(archive.namelist()) - {_PROGRESS}):
            with archive.open(name) as member:
                yield np.lib.format.read_array(member, allow_pickle=False)


def _write(path: Path, arrays: Iterable[np.ndarray], progress: str | None = None) -> None:
    with store.atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        if progress is not None:
            archive.writestr(_PROGRESS, progress)
        for index, array in enumerate(arrays):  # one at a time: a second copy of a large network may not fit
            with archive.open(f"{index:05d}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


def _check(path: Path) -> None:
    """Raise one of `_DAMAGED` unless the file is there and every member has its checksum."""
    with zipfile.ZipFile(path) as archive:
        if (member := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"{member} is damaged")
