"""Fetch, check and unpack what may be downloaded; for the rest, tell the user what to do next.

`resources/downloads.csv` lists every file: its group, its place below the group's folder, its address, length, checksum, terms,
and the page where people find it. A file without an address must be put there by hand.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from thorax.archives import chexpert, lung_masks, nih, padchest
from thorax.archives.download import transfer
from thorax.archives.download.transfer import PATIENCE, Patience, Source
from thorax.archives.download.unpack import SUFFIXES, unpack
from thorax.errors import ThoraxError, did_you_mean
from thorax.resources import resource
from thorax.storage import csv_file, store
from thorax.storage.strict_csv import first_existing

_ROOTS = {"montgomery": "data/lung_masks", "shenzhen": "data/lung_masks"}  # of others data/GROUP
_RATIO = 4  # an archive of radiographs does not grow more than this
_FLOOR = 2**24  # bytes to which even the smallest archive may grow
_ABSENT: dict[str, Callable[[Path], int | None]] = {"nih": nih.absent_images}  # without an absent image no archive is needed
_SAME = {"nih": (nih.METADATA, nih.BOXES, *nih.OFFICIAL_LISTS.values())}  # one of each tuple is enough
_AFTER: dict[str, Callable[[Path], None]] = {"montgomery": lung_masks.add_montgomery, "shenzhen": lung_masks.add_shenzhen}
_PADCHEST_PAGE = "https://bimcv.cipf.es/bimcv-projects/padchest/"
_CHEXPERT_PAGE = "https://stanfordmlgroup.github.io/competitions/chexpert/"
_PADCHEST_FOLDERS = [str(number) for number in (*range(51), 54)]
_SHOWN = 6  # names in a sentence


@dataclass(frozen=True)
class Published:
    """A row of the list of files; lengths are None where no source states them."""

    group: str
    file: str
    source: Source
    unpacked_bytes: int | None
    licence: str

    @property
    def is_archive(self) -> bool:
        return self.file.endswith(SUFFIXES)


@dataclass(frozen=True)
class Agreement:
    """An archive that cannot be fetched without a signature."""

    title: str
    page: str  # where to ask for it
    zips: Sequence[str]  # patterns of the zip files that the user has put into the root
    missing: Callable[[Path], list[str]]  # from the root: the next steps in order; none if the archive is complete


@dataclass(frozen=True)
class _Found:
    """A file that is there and right: its path, length and SHA-256."""

    path: Path
    bytes: int
    sha256: str


def _padchest_missing(root: Path) -> list[str]:
    table = first_existing(root, padchest.METADATA)
    folders = set(_PADCHEST_FOLDERS)
    if table.is_file():
        images = csv_file.read_columns(table, ["ImageDir", "ImageID"])
        there = {name: {path.name for path in (root / name).iterdir()} for name in folders if (root / name).is_dir()}
        pairs = zip(images["ImageDir"], images["ImageID"], strict=True)
        folders = {folder for folder, image in pairs if image not in there.get(folder, ())}
        if not folders:
            return []
    zips = [f"{name}.zip" for name in sorted(folders, key=lambda name: (len(name), name))]
    wanted = f"{', '.join(zips[:_SHOWN])}{f' and {len(zips) - _SHOWN} more' if len(zips) > _SHOWN else ''}"
    return [
        f"Ask for PadChest at {_PADCHEST_PAGE} and accept BIMCV's data use agreement; a link to the files comes by e-mail.",
        *([] if table.is_file() else [f"Put {padchest.METADATA[0]} (or .csv.gz) into {root}."]),
        f"Put {wanted} into {root}: their images are not there, or not all of them.",
        "Run the same command again: it unpacks the zip files and checks that every image of the table is there.",
    ]


def _chexpert_missing(root: Path) -> list[str]:
    has_images = root.is_dir() and chexpert.has_images(root)
    there = {"train.csv": first_existing(root, chexpert.METADATA).is_file(), "the images": has_images}
    lacking = " and ".join(name for name, found in there.items() if not found)
    steps = [
        f"Ask for CheXpert at {_CHEXPERT_PAGE} and accept Stanford's research use agreement; a link to the files comes then.",
        f"Put CheXpert-v1.0-small.zip, or the zip files of CheXpert-v1.0, into {root}: {lacking} cannot be found there.",
        "Run the same command again: it unpacks them.",
    ]
    return steps if lacking else []


AGREEMENTS = {
    "padchest": Agreement("PadChest", _PADCHEST_PAGE, [f"{name}.zip" for name in _PADCHEST_FOLDERS], _padchest_missing),
    "chexpert": Agreement("CheXpert", _CHEXPERT_PAGE, ["CheXpert-v1.0*.zip"], _chexpert_missing),
}


def published_files() -> list[Published]:
    """The list of files."""
    published = []
    for row in pd.read_csv(resource("downloads.csv"), dtype=str, keep_default_na=False).to_dict("records"):
        size, unpacked = (int(row[name] or 0) or None for name in ("bytes", "unpacked_bytes"))
        source = Source(row["address"], row["page"], size, row["checksum"])
        published.append(Published(row["group"], row["file"], source, unpacked, row["licence"]))
    return published


def groups() -> list[str]:
    """What can be downloaded: the groups of the list, and the archives that need an agreement."""
    return [*dict.fromkeys(row.group for row in published_files()), *AGREEMENTS]


def fetch_or_describe(group: Sequence[str], root: Path | None, list_: bool, out: Path | None) -> str | None:
    """Download groups of files or, with `list_`, return one line per file: length, terms, page, and whether it is there."""
    known = groups()
    for name in group:
        if name not in known:
            raise ThoraxError(f"{name!r} is not a group of files{did_you_mean(name, known)}: choose one of {', '.join(known)}.")
    if not list_:
        download(group, root, out)
        return None
    lines = []
    for row in published_files():
        if row.group in group:
            path = _folder(row.group, root) / row.file
            size = f"{row.source.bytes / 1e6:,.1f} MB" if row.source.bytes else "length unknown"
            state = "there" if path.exists() else "unpacked" if _receipt(path).exists() else "missing"
            checksum = row.source.checksum or "no published checksum"
            lines.append(f"{path}: {state}; {size}; {checksum}; {row.licence}; {row.source.page}")
    return "\n".join(lines + [f"{name}: needs an agreement; {AGREEMENTS[name].page}" for name in group if name in AGREEMENTS])


def download(
    names: Sequence[str],
    root: Path | None = None,
    out: Path | None = None,
    rows: Iterable[Published] | None = None,
    patience: Patience = PATIENCE,
) -> None:
    """Make sure that the groups' files are there, right and unpacked; what is there is not fetched again.

    What must be fetched by hand is an error that says how, and comes before anything large is fetched in vain. The CSV `out` has file,
    bytes and sha256 of each, in the order of the list; `rows` are the list, if it is not the published one.
    """
    listed = list(rows) if rows is not None else published_files()
    found: list[_Found] = []
    for name in names:
        folder = _folder(name, root)
        if name in AGREEMENTS:
            found += _unpack_by_hand(name, folder)
            continue
        mine = [row for row in listed if row.group == name]
        for row in mine:
            target = folder / row.file
            if not row.source.address and not target.exists() and _read_receipt(target) is None:
                raise ThoraxError(
                    f"{name} needs a file that cannot be fetched without your account. What to do:\n"
                    f"  1. Open {row.source.page} and download it ({row.licence}).\n"
                    f"  2. Put it at {target}.\n"
                    "  3. Run the same command again: it fetches and unpacks the rest."
                )
        try:
            found += _obtain_all(name, mine, folder, patience)
            if name in _AFTER:
                with store.only_one(folder / "pairs.csv"):
                    _AFTER[name](folder)
        except (KeyboardInterrupt, SystemExit) as stop:
            stop.add_note(f"what has arrived in {folder} stays, and the same command continues from there")
            raise
    if out is not None:
        _write_found(found, out)


def _folder(group: str, root: Path | None) -> Path:
    return root or Path("resources/weights" if group.startswith("weights/") else _ROOTS.get(group, f"data/{group}"))


def _write_found(found: Sequence[_Found], out: Path) -> None:
    """Write the CSV of files; an unchanged table keeps its bytes."""
    rows = [(entry.path.as_posix(), entry.bytes, entry.sha256) for entry in found]
    store.write_text(pd.DataFrame(rows, columns=["file", "bytes", "sha256"]).to_csv(index=False), out)


def refuse_small_disk(rows: Sequence[Published], root: Path) -> None:
    """Check before anything is fetched that the missing files will fit on the disk, unpacked as well."""
    needed = 0
    for row in rows:
        target = root / row.file
        size = row.source.bytes or 0
        if _receipt(target).exists():
            continue
        if not target.exists():
            part = transfer.partial(target)
            needed += size - min(size, part.stat().st_size if part.exists() else 0)
        if row.is_archive:
            needed += row.unpacked_bytes or size  # PNG files do not compress a second time
    folder = next(path for path in (root.absolute(), *root.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        problem = f"{root} needs {needed / 1e9:,.1f} GB more, and its disk has {free / 1e9:,.1f} GB free"
        raise ThoraxError(f"{problem}: free some disk space, or name a folder on another disk with --root.")


def _obtain_all(name: str, rows: Sequence[Published], folder: Path, patience: Patience) -> list[_Found]:
    """The files of a group in the order of the list: first the tables, then the archives, where they are needed."""
    tables, archives = ([row for row in rows if row.is_archive == kind] for kind in (False, True))
    refuse_small_disk(tables, folder)
    found = [_owned(name, row, folder) or _obtain(row, folder / row.file, patience) for row in tables]
    absent = _ABSENT[name](folder) if name in _ABSENT and archives else None
    if absent == 0:
        print(f"{folder} has every image of {name}: no archive of images is fetched.", file=sys.stderr, flush=True)
        return found
    if absent:
        print(f"{folder} lacks {absent:,} of the images that its table lists.", file=sys.stderr, flush=True)
    refuse_small_disk(archives, folder)
    return found + [_obtain(row, folder / row.file, patience) for row in archives]


def _owned(name: str, row: Published, folder: Path) -> _Found | None:
    """An older, compressed or renamed copy of a published table, if it exists and the published one does not."""
    names = next((names for names in _SAME.get(name, ()) if row.file in names), (row.file,))
    path = first_existing(folder, names)
    return _found(path) if path.is_file() and path != folder / row.file else None


def _found(path: Path, sha256: str = "") -> _Found:
    """A file as it is. Its SHA-256 is computed where it is not given."""
    return _Found(path, path.stat().st_size, sha256 or transfer.digests(path, {"sha256"})["sha256"])


def _obtain(row: Published, target: Path, patience: Patience) -> _Found:
    """One file of the list: fetched, checked, and unpacked if it is an archive."""
    unpacked = _read_receipt(target) if row.is_archive else None
    if unpacked and not target.exists():  # it was deleted to free disk space
        return unpacked
    found = _found(target, transfer.fetch(row.source, target, patience) if row.source.address else "")
    if row.is_archive and unpacked != found:
        _unpack_here(found, target.parent, row.unpacked_bytes)
    return found


def _unpack_by_hand(name: str, root: Path) -> list[_Found]:
    """Unpack the zip files that the user put there, each X.zip into X/, and check that the archive is complete."""
    found = []
    for archive in (path for pattern in AGREEMENTS[name].zips for path in sorted(root.glob(pattern))):
        unpacked, size = _read_receipt(archive), archive.stat().st_size
        if unpacked is None or unpacked.bytes != size:
            refuse_small_disk([Published(name, archive.name, Source("", "", size), None, "")], root)
            unpacked = _found(archive)
            _unpack_here(unpacked, root / archive.stem, leading=archive.stem)
        found.append(unpacked)
    if steps := AGREEMENTS[name].missing(root):
        numbered = "\n".join(f"  {number}. {step}" for number, step in enumerate(steps, start=1))
        raise ThoraxError(f"{AGREEMENTS[name].title} is not complete in {root}. What to do:\n{numbered}")
    print(f"{AGREEMENTS[name].title} is complete in {root}.", file=sys.stderr, flush=True)
    return found


def _unpack_here(archive: _Found, folder: Path, expected: int | None = None, leading: str = "") -> None:
    """Unpack an archive, then write its receipt: the archive itself, and every file in it."""
    with store.only_one(archive.path):
        members = unpack(archive.path, folder, expected or max(_RATIO * archive.bytes, _FLOOR), leading)
        place = Path(os.path.relpath(folder, archive.path.parent))
        entries = [_Found(place / path, size, "") for path, size in members]
        _write_found([_Found(Path(archive.path.name), archive.bytes, archive.sha256), *entries], _receipt(archive.path))


def _read_receipt(archive: Path) -> _Found | None:
    """The archive as it was unpacked; None if it was not, or if a file is now missing or has another length."""
    try:
        rows = store.read_csv(_receipt(archive), dtype=str, keep_default_na=False).itertuples()
        first, *rest = [_Found(archive.parent / row.file, int(row.bytes), row.sha256) for row in rows]
    except (ThoraxError, ValueError, AttributeError):
        return None
    whole = all(member.path.exists() and member.path.stat().st_size == member.bytes for member in rest)
    return first if whole else None


def _receipt(archive: Path) -> Path:
    return archive.with_name(f"{archive.name}.unpacked.csv")
