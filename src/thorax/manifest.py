"""What an archive's folder holds, so that a replaced, added or removed file is noticed before every run.

An archive of a terabyte cannot be read through before every run. So a file whose length and time are those that were seen
earlier counts as unchanged; of any other file a digest is computed, and a file that was only touched has the old one.
"""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pyarrow as pa
from tqdm import tqdm

from thorax import store
from thorax.catalog import MANIFEST
from thorax.errors import ThoraxError

MEMORY = pa.schema([*MANIFEST, pa.field("modified", pa.int64())])  # nanoseconds since 1970
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm")
END = 64 * 2**10  # bytes; PNG, DICOM and JPEG files differ at their ends when their pixels do: checksums and streams end there
_THREADS = 8  # they wait for the disk


def make_manifest(root: Path, out: Path, memory: Path) -> None:
    """Write the manifest of the folder `root`: the columns of `catalog.MANIFEST`, in the order of paths.

    Args:
        root: the archive; hidden files and unfinished downloads (.part) are left out.
        memory: the table of files seen earlier, brought up to date; it may be missing, and costs only time then.

    Raises:
        ThoraxError: the folder is missing, or a file cannot be read.
    """
    store.write_table(_look(Path(root), Path(memory)), out, MANIFEST)


def refresh(root: Path, manifest: Path, memory: Path) -> str | None:
    """Bring a manifest up to date if the archive is there and has changed; the manifest is not touched otherwise.

    Returns:
        One sentence on what has changed; None if nothing has, or where there is no archive or no manifest.

    Raises:
        ThoraxError: the manifest is damaged, or a file cannot be read.
    """
    if not (manifest.is_file() and root.is_dir()):
        return None
    before = store.read_table(manifest, MANIFEST.names)
    now = _look(root, memory)
    if before.equals(now[MANIFEST.names]):
        return None
    store.write_table(now, manifest, MANIFEST)
    both = before.merge(now, on="path", how="outer", suffixes=("_before", "_now"), indicator="where")
    count = both["where"].value_counts()
    replaced = int(((both["where"] == "both") & (both["digest_before"] != both["digest_now"])).sum())
    return f"{root} has changed since it was last used: {replaced} files replaced, {count['right_only']} added, {count['left_only']} removed."


def _look(root: Path, memory: Path) -> pd.DataFrame:
    """The columns of MEMORY, by path; the memory is brought up to date."""
    if not root.is_dir():
        raise ThoraxError(f"{root} is not there: put the archive there, or name its folder in the configuration.")
    now = pd.DataFrame(sorted(_files(root)), columns=["path", "bytes", "modified"])
    if memory.is_file():
        known = store.read_table(memory, MEMORY.names)
        now = now.merge(known, on=["path", "bytes", "modified"], how="left")
    else:
        now["digest"] = None
    new = now.index[now["digest"].isna()]
    if len(new):
        with ThreadPoolExecutor(_THREADS) as threads:
            digests = threads.map(lambda row: _digest(root / now.at[row, "path"], int(now.at[row, "bytes"])), new)
            listed = tqdm(digests, total=len(new), desc=f"reading {root}", unit="file", disable=None, leave=False)
            now.loc[new, "digest"] = list(listed)
        store.write_table(now, memory, MEMORY)
    return now[MEMORY.names]


def _files(folder: Path | str, below: str = "") -> Iterator[tuple[str, int, int]]:
    """(path, bytes, modified) of every file in a folder and its subfolders, links followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name.endswith(".part"):
                continue
            try:
                if entry.is_dir():
                    yield from _files(entry.path, f"{below}{entry.name}/")
                else:
                    status = entry.stat()
                    yield below + entry.name, status.st_size, status.st_mtime_ns
            except OSError as error:
                raise ThoraxError(f"{entry.path} cannot be read ({error.strerror}): mend or remove it.") from error


def _digest(path: Path, length: int) -> str:
    text = hashlib.blake2b(digest_size=16)
    try:
        with path.open("rb") as file:
            if path.suffix.lower() in IMAGE_SUFFIXES and length > 2 * END:
                text.update(file.read(END))
                file.seek(-END, os.SEEK_END)
                text.update(file.read(END))
            else:
                while block := file.read(2**20):
                    text.update(block)
    except OSError as error:
        raise ThoraxError(f"{path} cannot be read ({error.strerror}): mend or remove it.") from error
    return text.hexdigest()
