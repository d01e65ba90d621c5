"""Unpack archives defensively: no member may leave the folder, be a link, or fill the disk.

A member is written under a temporary name and renamed, so one that exists with the right size is whole and is skipped next time.
"""

import gzip
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from thorax.errors import ThoraxError
from thorax.storage.progress import Progress

SUFFIXES = (".tar.gz", ".tgz", ".zip")
MOST_OF_ONE = 2**29  # bytes of a member
MOST_MEMBERS = 500_000  # files and folders
_BLOCK = 2**20
_AHEAD = 2**16  # bytes that are read ahead
_BETWEEN = 2**18  # bytes that a tar file may have between two members, headers and what is read ahead included
_BEHIND = 2**24  # bytes of padding behind the last member
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class _Entry:
    """A member as the archive announces it, and a way to open it."""

    name: str
    size: int
    is_folder: bool
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, folder: Path, most: int, leading: str = "") -> list[tuple[str, int]]:
    """Unpack a .zip or .tar.gz file into a folder, and return the path and length of all its files, also of those that existed.

    A folder `leading`, which some archives put around everything, is removed from the paths that have it. The archive is refused if
    it is damaged, its members have more than `most` bytes together, or a member has an absolute path, a path that leaves the folder,
    or the name of another one, is a link or a device, or is too large. Whole members before it stay.
    """
    entries = _zip_entries if archive.suffix == ".zip" else _tar_entries
    members: list[tuple[str, int]] = []
    seen: set[str] = set()
    count = total = 0
    try:
        with Progress(f"unpacking {archive.name}", archive.stat().st_size, "B") as progress:
            for entry in entries(archive, progress):
                count, total = count + 1, total + entry.size
                if count > MOST_MEMBERS:
                    raise _refused(archive, entry.name, f"is member {count:,}; at most {MOST_MEMBERS:,} are expected")
                if entry.size > MOST_OF_ONE or total > most:
                    raise _refused(archive, entry.name, f"would unpack to {entry.size:,} bytes, {total:,} in all")
                path = _below(archive, entry.name, leading)
                if entry.is_folder:
                    continue
                key = unicodedata.normalize("NFC", str(path)).casefold()
                if key in seen:
                    raise _refused(archive, entry.name, "has the name of another member")
                seen.add(key)
                _write(entry, archive, folder / path)
                members.append((path.as_posix(), entry.size))
    except _DAMAGED as error:
        raise ThoraxError(f"{archive} is damaged ({error}): delete it and fetch it again.") from error
    except OSError as error:
        advice = f"free some disk space, or make {folder} writable, and run the same command again, which continues from there"
        raise ThoraxError(f"{archive} cannot be unpacked ({error.strerror or error}): {advice}.") from error
    return members


def _refused(archive: Path, name: str, why: str) -> ThoraxError:
    advice = "this is not the published archive, so delete it and fetch it again"
    return ThoraxError(f"{archive}: member {name[:200]!r} {why}; {advice}.")


def _below(archive: Path, name: str, leading: str) -> PurePosixPath:
    """The member's path below the folder."""
    path = PurePosixPath(name)
    windows = PureWindowsPath(name)
    if path.is_absolute() or windows.drive or windows.root or "\\" in name or ".." in path.parts:
        raise _refused(archive, name, "has a path that leaves the folder")
    if not name.isprintable() or any(len(part.encode()) > 240 for part in path.parts):
        raise _refused(archive, name, "has a name that no radiograph has")
    if leading and path.parts[:1] == (leading,):
        path = PurePosixPath(*path.parts[1:])
    return path


def _write(entry: _Entry, archive: Path, target: Path) -> None:
    if target.is_file() and target.stat().st_size == entry.size:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.part")
    temporary.unlink(missing_ok=True)
    try:
        source = entry.open()
        if source is None:
            raise _refused(archive, entry.name, "is not a file")
        written = 0
        with source, temporary.open("xb") as file:
            while block := source.read(_BLOCK):
                written += len(block)
                if written > entry.size:
                    break
                file.write(block)
        if written != entry.size:
            raise _refused(archive, entry.name, f"has another length than the {entry.size:,} bytes that it announces")
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _zip_entries(archive: Path, progress: Progress) -> Iterator[_Entry]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(archive, info.filename, "is a link or a device")
            if info.flag_bits & 1:
                raise _refused(archive, info.filename, "is encrypted")
            yield _Entry(info.filename, info.file_size, info.is_dir(), partial(opened.open, info))
            progress.add(info.compress_size)


def _tar_entries(archive: Path, progress: Progress) -> Iterator[_Entry]:
    """The members as they come: a second pass over an archive of gigabytes would take as long as the first."""
    with archive.open("rb") as packed, gzip.GzipFile(fileobj=packed) as plain:
        stream = _Metered(plain, archive)
        with tarfile.open(fileobj=stream, mode="r|", bufsize=_AHEAD, tarinfo=_StrictHeader) as opened:  # type: ignore[call-overload]
            read = 0
            while (info := opened.next()) is not None:
                if not (info.isreg() or info.isdir()) or info.issparse():
                    raise _refused(archive, info.name, "is a link or a device")
                stream.allowance = min(info.size, MOST_OF_ONE) + _BETWEEN
                yield _Entry(info.name, info.size, info.isdir(), partial(opened.extractfile, info))
                opened.members = []  # else it remembers every header
                progress.add(packed.tell() - read)
                read = packed.tell()
        stream.allowance = _BEHIND
        while stream.read(_BLOCK):  # to its end, where the checksum is
            pass


class _StrictHeader(tarfile.TarInfo):
    """A member's header; a damaged one is an error, where tarfile itself would take it for the end."""

    @classmethod
    def fromtarfile(cls, opened: tarfile.TarFile) -> "_StrictHeader":
        try:
            return super().fromtarfile(opened)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"a member's header is damaged: {error}") from error


class _Metered:
    """A stream that ends in an error where a member's header asks for more than any header needs."""

    def __init__(self, stream: gzip.GzipFile, archive: Path) -> None:
        self.stream, self.archive, self.allowance = stream, archive, _BETWEEN

    def read(self, count: int) -> bytes:
        block = self.stream.read(count)
        self.allowance -= len(block)
        if self.allowance < 0:
            raise ThoraxError(f"{self.archive} unpacks to more than it announces: delete it and fetch it again.")
        return block
