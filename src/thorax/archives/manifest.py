"""What the pipeline reads from an archive's folder, so that replaced, added or removed files are noticed when a run is planned.

Only the archive's tables and the images that they list count, not other files next to them. An archive of a terabyte cannot be read
before every run, so a file with the same length and modification time as before counts as unchanged. The digest of any other file is
computed, and a file that was only touched has the old one.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd
import pyarrow as pa

from thorax.errors import ThoraxError
from thorax.images.suffixes import SUFFIXES
from thorax.storage import store
from thorax.storage.progress import progress
from thorax.storage.schemas import MANIFEST

# One row per file in the folder, with its time in nanoseconds since 1970, whether it is read, and by which selection
MEMORY = pa.schema([*MANIFEST, ("modified", pa.int64()), ("read", pa.bool_()), ("selection", pa.string())])
END = 64 * 2**10  # bytes; when pixels differ, so do the ends of PNG, DICOM and JPEG files: checksums and streams end there
_THREADS = 8  # they wait for the disk
_UNKNOWN = ""  # no selection
_NOT_READABLE = -1  # the length of a broken link and the like
OUR_FOLDERS = ("results", "work", "logs", "benchmarks", "resources", ".snakemake", ".git", ".dvc", ".venv")


@dataclass(frozen=True)
class Selection:
    """Which files of a folder are read; paths are relative to it."""

    name: str  # differs where the same folder is read in another way
    tables: list[str]  # those that are there
    named: Callable[[], Iterable[str]]  # the files of the tables, there or not; may depend on tables and paths, nothing else


@dataclass(frozen=True)
class Changes:
    """What has changed in a folder since its manifest was made."""

    stamp: str = ""  # differs after every change
    images: str = ""  # differs after every change of the images, or of what tables say of them that ingest needs
    sentence: str = ""  # for the user; empty if nothing has changed


def make_manifest(
    root: Path, out: Path, memory: Path, select: Callable[[], Selection], stamp: str = "", image_stamp: str = ""
) -> None:
    """Write the manifest of the folder `root`: the columns of `MANIFEST`, in the order of paths.

    `memory`, the table of files seen earlier, is brought up to date; if it is missing, that costs only time. `select` says which
    files are read. Where the tables are wrong, all files count: the step that reads them says what is. The manifest's metadata keeps
    the stamps, for `changes`.
    """
    store.write_table(look(Path(root), Path(memory), select), out, _stamped(MANIFEST, stamp, image_stamp))


def _stamped(schema: pa.Schema, stamp: str, images: str) -> pa.Schema:
    return schema.with_metadata({"stamp": stamp, "images": images}) if stamp else schema


def changes(
    root: Path,
    manifest: Path,
    memory: Path,
    select: Callable[[], Selection],
    same_list: Callable[[], bool],
    listed: Path | None = None,
) -> Changes:
    """Compare a folder with its manifest, which is left as it is.

    Where nothing has changed, the stamps are those that the manifest was made with; so a job with a stamp as a parameter runs again
    after every change that it is of, and after no other event. `same_list` says whether changed tables list the images as before; it
    is asked only if no image has changed. Where there is no manifest, the images are compared with those of `listed`, the list of
    images (`schemas.IMAGE_LIST`). Where there is no such list either, or no archive, nothing has changed.
    """
    stamped = manifest if manifest.is_file() else memory  # a job's process may ask after the manifest was deleted
    known = store.read_metadata(stamped) if stamped.is_file() else {}
    stamp, images = known.get("stamp", ""), known.get("images", "")
    if not root.is_dir():
        return Changes(stamp, images)
    if not manifest.is_file():
        return _changes_of_images(root, memory, select, same_list, listed) or Changes(stamp, images)
    before = store.read_table(manifest, MANIFEST.names)
    now = look(root, memory, select)
    if before.equals(now[MANIFEST.names]):
        return Changes(stamp, images)
    digest = lambda old: _new_stamp(old, now)
    of_images = [table[~table["path"].isin(select().tables)].reset_index(drop=True) for table in (before, now)]
    if not (of_images[0].equals(of_images[1][MANIFEST.names]) and same_list()):
        images = digest(f"images {images}")
    stamp = digest(stamp)
    return _noted(root, memory, stamp, images, before, now)


def _changes_of_images(
    root: Path, memory: Path, select: Callable[[], Selection], same_list: Callable[[], bool], listed: Path | None
) -> Changes | None:
    """Compare a folder with the list of its images; None if they are the same, or there is no list.

    The stamps follow from the list and the folder alone, so that every process finds the same before the list is made again.
    """
    if listed is None or not listed.is_file():
        return None
    before = store.read_table(listed, MANIFEST.names).dropna().sort_values("path", ignore_index=True)
    now = look(root, memory, select)
    now = now[~now["path"].isin(select().tables)].reset_index(drop=True)
    if before.astype({"bytes": "int64"}).equals(now) and same_list():
        return None
    stamp, images = (_new_stamp(name + before.to_csv(index=False), now) for name in ("all", "images"))
    return _noted(root, memory, stamp, images, before, now)


def _new_stamp(old: str, now: pd.DataFrame) -> str:
    return hashlib.blake2b((old + now.to_csv(index=False)).encode(), digest_size=8).hexdigest()


def _noted(root: Path, memory: Path, stamp: str, images: str, before: pd.DataFrame, now: pd.DataFrame) -> Changes:
    """New stamps, which the memory keeps, and the sentence on what has changed."""
    store.write_table(store.read_table(memory), memory, _stamped(MEMORY, stamp, images))
    both = before.merge(now, on="path", how="outer", suffixes=("_before", "_now"), indicator="where")
    count = both["where"].value_counts()
    replaced = int(((both["where"] == "both") & (both["digest_before"] != both["digest_now"])).sum())
    found = f"{replaced} files replaced, {count['right_only']} added, {count['left_only']} removed"
    return Changes(stamp, images, f"{root} has changed since it was last used: {found}.")


def look(root: Path, memory: Path, select: Callable[[], Selection]) -> pd.DataFrame:
    """The columns of MANIFEST of the files that are read, by path; the memory is brought up to date."""
    if not root.is_dir():
        raise ThoraxError(f"{root} is not there: put the archive there, or name its folder in the configuration.")
    now = pd.DataFrame(sorted(_files(root)), columns=["path", "bytes", "modified"])
    known = store.read_table(memory, MEMORY.names) if memory.is_file() else MEMORY.empty_table().to_pandas()
    now = now.merge(known[["path", "bytes", "modified", "digest"]], on=["path", "bytes", "modified"], how="left")
    selection = select()
    is_table = now["path"].isin(selection.tables)
    seen = [selection.name] == list(known["selection"].unique()) and list(known["path"]) == list(now["path"])
    if seen and now.loc[is_table, "digest"].notna().all():  # the tables, and where files lie, are what they were
        now["read"], now["selection"] = known["read"].to_numpy(bool), selection.name
    elif (named := _named(root, now["path"], selection)) is None:
        now["read"], now["selection"] = now["bytes"] != _NOT_READABLE, _UNKNOWN
    else:
        now["read"], now["selection"] = is_table | now["path"].isin(named), selection.name
    new = now.index[now["read"] & now["digest"].isna()]
    if len(new):
        with ThreadPoolExecutor(_THREADS) as threads:
            found = threads.map(lambda row: _digest(root / now.at[row, "path"], int(now.at[row, "bytes"])), new)
            now.loc[new, "digest"] = list(progress(found, f"reading {root}", len(new), "file"))
    if not seen or len(new):
        kept = store.read_metadata(memory) if memory.is_file() else {}
        store.write_table(now, memory, _stamped(MEMORY, kept.get("stamp", ""), kept.get("images", "")))
    return now.loc[now["read"], MANIFEST.names].reset_index(drop=True)


def _named(root: Path, paths: pd.Series, selection: Selection) -> set[str] | None:
    """The files that the tables name, none of them in a folder of the run; None where the tables cannot be read."""
    try:
        named = set(selection.named())
    except ThoraxError:  # the step that reads the table comes next and reports it
        return None
    folders = {PurePosixPath(path).parent for path in named}
    for folder in sorted({above for inner in folders for above in (inner, *inner.parents) if above.name in OUR_FOLDERS}):
        if (root / folder).resolve() == Path(folder.name).resolve():
            raise ThoraxError(f"{root / folder} is where the run keeps its own files: move the images in it to another folder.")
    for folder in paths[paths.str.endswith("/")]:
        if any(path.startswith(folder) for path in named):
            raise ThoraxError(f"{root / folder} cannot be read: make it readable.")
    return named


def _files(folder: Path | str, below: str = "", above: tuple[Path | str, ...] = ()) -> Iterator[tuple[str, int, int]]:
    """(path, bytes, modified) of every file in a folder and its subfolders, links followed.

    The path of a folder that cannot be read ends in a slash. Folders of the run itself are left out, and so are links to the folder
    or one `above` it, which would never end.
    """
    above = (*above, folder)
    with os.scandir(folder) as entries:
        for entry in entries:
            path = below + entry.name
            try:
                if not entry.is_dir():
                    status = entry.stat()
                    yield path, status.st_size, status.st_mtime_ns
                    continue
            except OSError:  # it may not be needed
                yield path, _NOT_READABLE, _NOT_READABLE
                continue
            if entry.name in OUR_FOLDERS and Path(entry.path).resolve() == Path(entry.name).resolve():
                continue
            if entry.is_symlink() and any(Path(outer).samefile(entry.path) for outer in above):
                continue
            if os.access(entry.path, os.R_OK | os.X_OK):
                yield from _files(entry.path, f"{path}/", above)
            else:
                yield f"{path}/", _NOT_READABLE, _NOT_READABLE


def _digest(path: Path, length: int) -> str:
    try:
        with path.open("rb") as file:
            if path.suffix.lower() not in SUFFIXES or length <= 2 * END:
                return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
            start = file.read(END)
            file.seek(-END, os.SEEK_END)
            return hashlib.blake2b(start + file.read(END), digest_size=16).hexdigest()
    except OSError as error:
        raise ThoraxError(f"{path} cannot be read ({error.strerror}): repair or remove it.") from error
