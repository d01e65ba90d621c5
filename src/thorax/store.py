"""Files that are whole or absent: Parquet tables with fixed schemas and memory-mapped arrays.

Everything is written under a temporary name in the target's own folder and renamed when it is complete, so a
killed job leaves no half-written file under a final name.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from thorax.errors import ThoraxError


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path` (same suffix) and rename it to `path` when the block succeeds.

    Raises:
        ThoraxError: the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", suffix="".join(path.suffixes[-2:]), dir=path.parent)
    except OSError as error:
        raise ThoraxError(
            f"{path.parent} cannot be written ({error.strerror}): make it writable or choose another folder."
        ) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise ThoraxError(f"{path} could not be written: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def only_one(target: Path) -> Iterator[None]:
    """Hold NAME.lock while the block runs; the system lets go of it when the process dies, however it dies.

    Raises:
        ThoraxError: another process holds it, or the folder cannot be written.
    """
    lock = target.with_name(f"{target.name}.lock")
    while True:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise ThoraxError(f"{lock.parent} cannot be written ({error.strerror}): make it writable.") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = lock.exists() and os.path.samestat(lock.stat(), os.fstat(descriptor))
        except BlockingIOError as error:
            os.close(descriptor)
            raise ThoraxError(f"{target} is being made by another process: wait until that one has ended.") from error
        if held:  # else its holder removed it between the two calls
            break
        os.close(descriptor)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_table(frame: pd.DataFrame, path: Path | str, schema: pa.Schema) -> None:
    """Write `frame` as Parquet with exactly the columns, order and types of `schema`."""
    table = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False).replace_schema_metadata(None)
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_table(path: Path | str, columns: Sequence[str] | None = None, needs: Sequence[str] = ()) -> pd.DataFrame:
    """Read a Parquet table, or the named columns of it.

    Args:
        path: the file.
        columns: read these only; None for all.
        needs: columns that must be there as well; they restrict nothing.

    Raises:
        ThoraxError: the file is missing, damaged, or lacks a column.
    """
    try:
        present = pq.read_schema(path).names
        for name in (*(columns or ()), *needs):
            if name not in present:
                raise ThoraxError(f"{path} lacks the column {name}: name the right table, or delete and remake it.")
        return pq.read_table(path, columns=list(columns) if columns is not None else None, partitioning=None).to_pandas()
    except FileNotFoundError as error:
        raise ThoraxError(f"{path} is not there: run the step that makes it first.") from error
    except (pa.ArrowException, OSError) as error:
        raise ThoraxError(f"{path} is not a readable Parquet table: delete and remake it.") from error


def write_text(text: str, path: Path | str) -> None:
    """Write UTF-8 text with a final newline."""
    with atomic(path) as temporary:
        temporary.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


@contextmanager
def new_array(path: Path | str, shape: tuple[int, ...], dtype: np.typing.DTypeLike) -> Iterator[np.ndarray]:
    """Yield a writable memory-mapped `.npy` array that appears under `path` when the block succeeds."""
    with atomic(path) as temporary:
        if 0 in shape:
            array = np.zeros(shape, dtype)
            yield array
            with temporary.open("wb") as file:
                np.save(file, array)
        else:
            mapped = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
            yield mapped
            mapped.flush()
            del mapped


def write_array(array: np.ndarray, path: Path | str) -> None:
    """Write one `.npy` array."""
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)


def open_array(path: Path | str) -> np.ndarray:
    """Open a `.npy` array read-only and memory-mapped.

    Raises:
        ThoraxError: the file is missing or damaged.
    """
    try:
        return np.load(path, mmap_mode="r")
    except FileNotFoundError as error:
        raise ThoraxError(f"{path} is not there: run the step that makes it first.") from error
    except (ValueError, OSError, EOFError):
        try:  # an array without elements cannot be mapped
            array = np.load(path)
        except (ValueError, OSError, EOFError) as error:
            raise ThoraxError(f"{path} is not a readable .npy array: delete and remake it.") from error
        if array.size:
            raise ThoraxError(f"{path} cannot be memory-mapped: delete and remake it.") from None
        return array


def ingested_rows(table: pd.DataFrame, shard: int, array: np.ndarray, path: Path | str) -> pd.DataFrame:
    """The rows of an ingested table that one shard's packed array holds, in the array's order.

    Args:
        table: at least ok, shard and row of `catalog.INGESTED`; of the shard, or of the whole data set.
        shard: the shard's number.
        array: (n, height, width), the shard's packed images.
        path: the array's file, for the error.

    Raises:
        ThoraxError: the array is no stack of images, or has other rows than the table.
    """
    rows = table[table["ok"] & (table["shard"] == shard)].sort_values("row", ignore_index=True)
    if array.ndim != 3 or not np.array_equal(rows["row"], np.arange(len(array))):
        shape = " x ".join(map(str, array.shape))
        raise ThoraxError(
            f"{path} has the shape {shape}, but {len(rows)} images of shard {shard} were ingested: "
            "name the shards' arrays of this data set in order, or remake them."
        )
    return rows


def open_packed(table: pd.DataFrame, paths: Sequence[Path | str]) -> "PackedImages":
    """Open a data set's packed arrays after checking that they are all shards of one ingested table.

    Args:
        table: at least ok, shard and row of `catalog.INGESTED`, of the whole data set.
        paths: the shards' arrays in shard order.

    Raises:
        ThoraxError: an array is missing or damaged, or does not fit the table or the other arrays.
    """
    shards = int(table.loc[table["ok"], "shard"].max()) + 1 if table["ok"].any() else 0
    if len(paths) < shards:
        raise ThoraxError(
            f"{', '.join(map(str, paths)) or 'no array'}: {len(paths)} of the {shards} shards that were ingested; "
            "name the arrays of all shards in order."
        )
    packed = PackedImages(paths)
    for shard, (array, path) in enumerate(zip(packed.arrays, paths, strict=True)):
        ingested_rows(table, shard, array, path)
        if array.shape[1:] != packed.arrays[0].shape[1:] or array.dtype != packed.arrays[0].dtype:
            raise ThoraxError(f"{path} has images of another size or type than {paths[0]}: remake both.")
    return packed


class PackedImages:
    """Rows of several packed arrays (one per shard), addressed by shard and row.

    Args:
        paths: the shards' `.npy` files in shard order, each (n, height, width) uint8.
    """

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
