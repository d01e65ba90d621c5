"""The resume state of a training: everything that decides how it continues, in files that are whole or known to be damaged.

A state is a zip file with one `.npy` array per variable of network and optimiser, and `progress.json`; zip keeps a checksum of
every member. The newest two states are kept, and the weights of the best epochs that they name. The folder's name holds a digest
of everything that decides the result, so a training with another setting never finds it.
"""

import hashlib
import json
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

from thorax.backend import Model
from thorax.storage import store

KEPT = 2  # the newest state, and the one before it in case the newest is damaged
_PROGRESS = "progress.json"
_DAMAGED = (zipfile.BadZipFile, zlib.error, OSError, ValueError, KeyError, TypeError, EOFError)


@dataclass
class Progress:
    """Progress of a training."""

    epoch: int = 0  # finished epochs
    step: int = 0  # trained batches of the current epoch
    losses: list[float] = field(default_factory=list)  # of each of these batches
    rows: list[dict[str, float]] = field(default_factory=list)  # the history, one row per finished epoch
    tested: list[dict[str, float]] = field(default_factory=list)  # metrics of the test images, where they are wanted
    best_epoch: int = 0  # number, from 1, of the epoch with the smallest validation loss; 0 before the first epoch ends
    seconds: float = 0.0  # wall time of all attempts, up to the newest state of each
    images: int = 0  # trained on
    training_seconds: float = 0.0  # wall time of that alone


def digest(settings: dict[str, Any], files: Sequence[Path]) -> str:
    """A short digest of JSON settings and of whole files; the order of the files matters."""

    def of_file(path: Path) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()

    with ThreadPoolExecutor() as pool:  # hashlib lets other threads run
        contents = list(pool.map(of_file, files))
    return hashlib.blake2b(json.dumps([settings, contents], sort_keys=True).encode(), digest_size=8).hexdigest()


def variables(model: Model) -> Iterator[np.ndarray]:
    """Everything that decides how a compiled model trains on: weights, moving statistics, random states, optimiser slots."""
    for variable in _all_variables(model):
        yield variable.numpy()


def restore(model: Model, arrays: Iterator[np.ndarray]) -> None:
    """Give a compiled model the variables that `variables` returned for an equal one, which the folder's digest ensures."""
    for variable, array in zip(_all_variables(model), arrays, strict=True):
        variable.assign(array)


def _all_variables(model: Model) -> list:
    """Each variable of model and optimiser once, in an order that follows from the architecture."""
    unique = {id(variable): variable for variable in (*model.variables, *model.optimizer.variables)}
    return list(unique.values())


class States:
    """The states of one training, in a folder that is created when the first one is saved."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save_best(self, epoch: int, weights: Iterable[np.ndarray]) -> None:
        """Write the weights of the best epoch so far."""
        _write(self._best(epoch), weights)

    def best(self, epoch: int) -> Iterator[np.ndarray]:
        """The weights of the best epoch, in the order in which they were saved."""
        return _read(self._best(epoch))

    def save(self, progress: Progress, arrays: Iterable[np.ndarray]) -> None:
        """Write a state, then delete what the newest two do not need. Earlier states stay if the disk is full."""
        _write(self.folder / f"state-{progress.epoch:05d}-{progress.step:08d}.npz", arrays, json.dumps(asdict(progress)))
        self._prune()

    def newest(self) -> tuple[Progress, Iterator[np.ndarray]] | None:
        """The newest whole state: its progress, and its arrays in the order in which they were saved. None if there is none.

        A damaged state, or one whose best weights are missing or damaged, is reported and deleted, and the one before it used.
        """
        for path in sorted(self.folder.glob("state-*.npz"), reverse=True):
            try:
                _check(path)
                progress = _progress(path)
                if progress.best_epoch:
                    _check(self._best(progress.best_epoch))
                return progress, _read(path)
            except _DAMAGED as error:
                print(f"{path} is damaged ({error}): resuming from the one before it", file=sys.stderr, flush=True)
                path.unlink(missing_ok=True)
        return None

    def clear(self) -> None:
        """Delete everything: the training has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _best(self, epoch: int) -> Path:
        return self.folder / f"best-{epoch:05d}.npz"

    def _prune(self) -> None:
        states = sorted(self.folder.glob("state-*.npz"))
        for path in states[:-KEPT]:
            path.unlink(missing_ok=True)
        try:
            needed = {self._best(_progress(path).best_epoch) for path in states[-KEPT:]}
        except _DAMAGED:  # reported when it is read; until then, delete nothing that it may need
            return
        for path in self.folder.glob("best-*.npz"):
            if path not in needed:
                path.unlink(missing_ok=True)


def _progress(state: Path) -> Progress:
    with zipfile.ZipFile(state) as archive:
        return Progress(**json.loads(archive.read(_PROGRESS)))


def _read(path: Path) -> Iterator[np.ndarray]:
    with np.load(path) as archive:
        for name in sorted(set(archive.files) - {_PROGRESS}):
            yield archive[name]


def _write(path: Path, arrays: Iterable[np.ndarray], progress: str | None = None) -> None:
    with store.atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        if progress is not None:
            archive.writestr(_PROGRESS, progress)
        for index, array in enumerate(arrays):  # one at a time: a second copy of a large network may not fit into memory
            with archive.open(f"{index:05d}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


def _check(path: Path) -> None:
    """Raise one of `_DAMAGED` unless the file exists and every member matches its checksum."""
    with zipfile.ZipFile(path) as archive:
        if (member := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"{member} is damaged")
