"""Files that are whole or absent: Parquet tables with fixed schemas and memory-mapped arrays.

Everything is written under a temporary name in the target's folder and renamed when it is complete, so a killed job leaves no
half-written file under a final name. Temporary files that it leaves are removed by the next process that writes to the folder.
"""

import errno
import fcntl
import io
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from thorax.errors import ThoraxError

_TEMPORARY = re.compile(r"\..+\.part-[a-z0-9_]{8}(\.[^.]*)*")
_FULL = {errno.ENOSPC, errno.EDQUOT}
_UMASK = os.umask(0o077)  # it cannot be read without being set
os.umask(_UMASK)

_targets: dict[Path, Path] = {}  # the final path of each temporary file of this process
_swept: set[Path] = set()  # folders from which this process has removed abandoned files


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path next to `path` (same suffix) and rename it to `path` when the block succeeds.

    If `path` is such a temporary path itself, it is yielded unchanged: the outer block renames it. A folder that cannot be written
    and a full disk are errors for the user.
    """
    path = Path(path)
    if path in _targets:
        with _writing(_targets[path]):
            yield path
        return
    with _writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        descriptor, temporary = _temporary(path)
    _targets[temporary] = path
    try:
        with _writing(path):
            yield temporary
            temporary.chmod(0o666 & ~_UMASK)
            temporary.replace(path)
    finally:
        del _targets[temporary]
        temporary.unlink(missing_ok=True)
        os.close(descriptor)


def is_temporary(path: Path) -> bool:
    """Whether a path is one that `atomic` yields: a file that is being written, or was when its process died."""
    return _TEMPORARY.fullmatch(path.name) is not None


def _temporary(path: Path) -> tuple[int, Path]:
    """A new file next to `path` and its descriptor, which is locked as long as its process lives."""
    while True:
        descriptor, name = tempfile.mkstemp("".join(path.suffixes[-2:]), f".{path.name[:100]}.part-", path.parent)
        with suppress(OSError):  # without locks on this file system; then no file counts as abandoned either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if Path(name).exists():
            return descriptor, Path(name)
        os.close(descriptor)  # swept between the two calls


def _sweep(folder: Path) -> None:
    """Remove temporary files of processes that died, once per folder and process."""
    if folder in _swept:
        return
    _swept.add(folder)
    for path in folder.glob(".*.part-*"):
        if is_temporary(path):
            with suppress(OSError):  # in use, already gone, or another user's
                descriptor = os.open(path, os.O_RDWR)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                finally:
                    os.close(descriptor)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what the system says of a file or folder that cannot be written into one sentence."""
    try:
        yield
    except OSError as error:
        number = error.errno or next((full for full in _FULL if os.strerror(full) in str(error)), None)  # HDF5 has it in words
        reason = os.strerror(number) if number else str(error)
        what_to_do = "free some disk space" if number in _FULL else "make it writable or choose another folder"
        raise ThoraxError(f"{path} cannot be written ({reason}): {what_to_do}, then run the same command again.") from error


@contextmanager
def only_one(target: Path) -> Iterator[None]:
    """Hold NAME.lock while the block runs, or refuse to. The system releases it when the process dies, by whatever signal."""
    lock = target.with_name(f"{target.name}.lock")
    while True:
        with _writing(lock.parent):
            target.parent.mkdir(parents=True, exist_ok=True)
            file = lock.open("a")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held = lock.exists() and os.path.samestat(lock.stat(), os.fstat(file.fileno()))
            except BlockingIOError as error:
                raise ThoraxError(f"{target} is being made by another process: wait until it has finished.") from error
            except OSError as error:
                problem = f"{lock} cannot be locked ({error.strerror}), so two processes could write one file"
                raise ThoraxError(f"{problem}: use another file system.") from error
            if held:  # else its holder removed it between the two calls
                try:
                    yield
                finally:
                    lock.unlink(missing_ok=True)
                return


def write_table(frame: pd.DataFrame, path: Path | str, schema: pa.Schema) -> None:
    """Write `frame` as Parquet with exactly the columns, order, types and metadata of `schema`."""
    table = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
    table = table.replace_schema_metadata(schema.metadata)
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def write_blocks(blocks: Iterable[pd.DataFrame], path: Path | str, schema: pa.Schema) -> None:
    """As `write_table`, for a table that comes in blocks of rows and need not fit into memory."""
    with atomic(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as writer:
        for block in blocks:
            table = pa.Table.from_pandas(block[schema.names], schema=schema, preserve_index=False)
            writer.write_table(table.replace_schema_metadata(schema.metadata))


def read_table(path: Path | str, columns: Sequence[str] | None = None, needs: Sequence[str] = ()) -> pd.DataFrame:
    """Read the named columns of a Parquet table (all, if None); those that it `needs` must exist as well.

    A file that is missing or damaged, or lacks a column, is an error for the user.
    """
    with _reading(path, "a readable Parquet table"):
        present = pq.read_schema(path).names
        for name in (*(columns or ()), *needs):
            if name not in present:
                raise ThoraxError(f"{path} lacks the column {name}: name the right table, or delete and remake it.")
        columns = None if columns is None else list(columns)
        return pq.read_table(path, columns=columns, partitioning=None, page_checksum_verification=True).to_pandas()


@contextmanager
def _reading(path: Path | str, what: str) -> Iterator[None]:
    """Turn what libraries raise for a missing or damaged file into one sentence."""
    try:
        yield
    except FileNotFoundError as error:
        raise ThoraxError(f"{path} is not there: run the step that makes it first.") from error
    except (pa.ArrowException, OSError, EOFError, ValueError) as error:  # pandas and numpy raise kinds of ValueError
        raise ThoraxError(f"{path} is not {what}: delete and remake it.") from error


def read_metadata(path: Path | str) -> dict[str, str]:
    """The metadata of a Parquet table's schema. Errors as in `read_table`."""
    with _reading(path, "a readable Parquet table"):
        return {key.decode(): value.decode() for key, value in (pq.read_schema(path).metadata or {}).items()}


def read_csv(path: Path | str, **options: Any) -> pd.DataFrame:
    """Read a whole CSV file that `write_text` wrote; `options` are those of pandas."""
    with _reading(path, "a whole CSV table"):
        text = Path(path).read_text(encoding="utf-8")
        if not text.endswith("\n"):
            raise EOFError
        return pd.read_csv(io.StringIO(text), **options)


def write_text(text: str, path: Path | str) -> None:
    """Write UTF-8 text with a final newline."""
    with atomic(path) as temporary:
        temporary.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


@contextmanager
def new_array(path: Path | str, shape: tuple[int, ...], dtype: np.typing.DTypeLike) -> Iterator[np.ndarray]:
    """Yield a writable memory-mapped `.npy` array, stored as `path` when the block succeeds."""
    with atomic(path) as temporary:
        if 0 in shape:
            array = np.zeros(shape, dtype)
            yield array
            with temporary.open("wb") as file:
                np.save(file, array)
        else:
            mapped = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
            if hasattr(os, "posix_fallocate"):  # else a full disk would kill the process without a message
                with temporary.open("rb+") as file:
                    os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
            yield mapped
            mapped.flush()
            del mapped


def write_array(array: np.ndarray, path: Path | str) -> None:
    """Write one `.npy` array."""
    with new_array(path, array.shape, array.dtype) as mapped:
        mapped[...] = array


def open_array(path: Path | str) -> np.ndarray:
    """Open a `.npy` array read-only and memory-mapped; a missing or damaged file is an error for the user."""
    with _reading(path, "a readable .npy array"):
        try:
            return np.load(path, mmap_mode="r")
        except ValueError:  # an array without elements cannot be mapped
            array = np.load(path)
            if array.size:
                raise
            return array


def ingested_rows(table: pd.DataFrame, shard: int, array: np.ndarray, path: Path | str) -> pd.DataFrame:
    """The rows of an ingested table that are in one shard's packed array, in the array's order.

    `table` has at least ok, shard and row of `schemas.INGESTED`, and more shards or not. An `array` that is not (n, height, width)
    with one image for each of these rows is an error that names its `path`.
    """
    rows = table[table["ok"] & (table["shard"] == shard)].sort_values("row", ignore_index=True)
    if array.ndim != 3 or not np.array_equal(rows["row"], np.arange(len(array))):
        shape = " x ".join(map(str, array.shape))
        problem = f"has the shape {shape}, but {len(rows)} images of shard {shard} were ingested"
        raise ThoraxError(f"{path} {problem}: name the shards' arrays of this data set in order, or remake them.")
    return rows


class PackedImages:
    """Rows of a data set's packed arrays (the shards' `.npy` files in order, each (n, height, width)), addressed by shard and row."""

    def __init__(self, paths: Sequence[Path | str]) -> None:
        self.arrays = [open_array(path) for path in paths]

    def __getitem__(self, address: tuple[int, int]) -> np.ndarray:
        shard, row = address
        return self.arrays[shard][row]

    def take(self, shards: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Copy rows into one (n, height, width) array, in the given order."""
        out = np.empty((len(rows), *self.arrays[0].shape[1:]), self.arrays[0].dtype)
        for index, (shard, row) in enumerate(zip(shards, rows, strict=True)):
            out[index] = self.arrays[shard][row]
        return out


def open_packed(table: pd.DataFrame, paths: Sequence[Path | str]) -> PackedImages:
    """Open a data set's packed arrays; refuse those that are not all shards of one ingested table, in order (see `ingested_rows`)."""
    shards = int(table.loc[table["ok"], "shard"].max()) + 1 if table["ok"].any() else 0
    if len(paths) < shards:
        problem = f"{len(paths)} of the {shards} shards that were ingested; name the arrays of all shards in order"
        raise ThoraxError(f"{', '.join(map(str, paths)) or 'no array'}: {problem}.")
    packed = PackedImages(paths)
    for shard, (array, path) in enumerate(zip(packed.arrays, paths, strict=True)):
        ingested_rows(table, shard, array, path)
        if array.shape[1:] != packed.arrays[0].shape[1:] or array.dtype != packed.arrays[0].dtype:
            raise ThoraxError(f"{path} has images of another size or type than {paths[0]}: remake both.")
    return packed
