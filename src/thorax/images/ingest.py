"""Ingest: open every original file exactly once, screen it, and pack it as one grey channel of 512 x 512 pixels.

Each image is squashed without padding and scaled to its own smallest and largest grey value (Liz et al. 2022,
section 3.2). Bones are bright in every packed image: MONOCHROME1 is inverted, so there `low` became 255 and `high` 0. DICOM files
have their own chain of values (`dicom`), which includes inversion.
"""

import os
import stat
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from thorax import config
from thorax.errors import ThoraxError
from thorax.images import decoding, dicom, formats, tiff
from thorax.images.duplicates import find as find_duplicates
from thorax.images.duplicates import fingerprints
from thorax.storage import schemas, store
from thorax.storage.parallel import in_order
from thorax.storage.progress import progress

SIDE = 512  # pixels of an ingested image, both ways
METADATA_BYTES = 2**24  # by which a file may exceed its pixels at 16 bits and four channels
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)  # opening a pipe must not block


def ingest_shard(settings: config.Dataset, catalog: Path, shard: int, array: Path, table: Path, threads: int) -> None:
    """Screen and pack one shard of a data set's images.

    The images of the data set's views, in the order of their identifiers, are cut into `settings.shards` equal parts. `table`
    gets a row of `schemas.SCREENED` for every image of the shard, with the reason where it cannot be used; `array` gets the
    others, (n, 512, 512) uint8 in the table's order. The result does not depend on `threads`, each of which holds one original.
    """
    root = Path(settings.root)
    if not root.is_dir():
        problem = f"{root} is not a folder"
        raise ThoraxError(
            f"{problem}: put the archive there or correct datasets.{_dataset(catalog)}.root in the configuration."
        )
    rows = _shard_rows(settings, catalog, shard)
    jobs = list(zip(rows["image_id"], rows["path"], rows["photometric"], strict=True))
    entries, packed = [], 0
    with store.atomic(array) as temporary, temporary.open("wb") as file:
        _write_header(file, 0)
        screened = in_order(
            lambda job: screen(root, *job, settings.max_pixels, settings.dicom_window), jobs, threads, 4 * threads
        )
        for entry, image, problem in progress(screened, f"ingest {_dataset(catalog)}.{shard}", len(jobs), "image"):
            place = {"shard": -1, "row": -1}
            if problem:
                print(problem)
            if image is not None:
                file.write(np.ascontiguousarray(image).data)
                place = {"shard": shard, "row": packed}
                packed += 1
            entries.append(entry | place)
        file.seek(0)
        _write_header(file, packed)
    store.write_table(pd.DataFrame(entries, columns=schemas.SCREENED.names), table, schemas.SCREENED)


def _dataset(catalog: Path) -> str:
    """The name of the data set that a catalog or a list of images is of."""
    return catalog.name.partition(".")[0]


def _write_header(file: BinaryIO, rows: int) -> None:
    """The header of a `.npy` file of packed images; numpy pads it, so that its length is the same for any number of rows."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (rows, SIDE, SIDE)}
    np.lib.format.write_array_header_1_0(file, header)


def merge_ingested(settings: config.Dataset, tables: list[Path], out: Path, duplicates: Path) -> None:
    """Join the shards' tables as `schemas.INGESTED`, unless too many images are unusable, and find `schemas.DUPLICATES`."""
    merged = pd.concat([store.read_table(path) for path in tables], ignore_index=True)
    merged = merged.sort_values("image_id", ignore_index=True)
    twice = merged["image_id"].duplicated()
    if twice.any():
        problem = f"Image {merged['image_id'][twice].iloc[0]!r} is in two of the tables next to {tables[0]}"
        raise ThoraxError(f"{problem}: they were made with different numbers of shards; delete and remake them.")
    bad = merged[~merged["ok"]]
    share = len(bad) / max(len(merged), 1)
    if share > settings.max_bad_share or len(bad) == len(merged):
        reasons = bad["reason"].value_counts()
        commonest = min(reasons.index, key=lambda reason: (-reasons[reason], reason))
        example = bad.loc[bad["reason"] == commonest, "image_id"].iloc[0]
        problem = f"{len(bad):,} of {len(merged):,} images ({share:.1%}) under {settings.root} cannot be used"
        why = f"most often because they are {commonest} ({reasons[commonest]:,}, e.g. {example})"
        advice = f"repair the archive, or raise datasets.{out.stem}.max_bad_share, which is {settings.max_bad_share:g}"
        raise ThoraxError(f"{problem}, {why}: {advice}.")
    pairs = find_duplicates(merged)
    identical = int(pairs["identical"].sum())
    print(f"{len(pairs):,} pairs of images show the same: {identical:,} identical, {len(pairs) - identical:,} similar.")
    with store.atomic(out) as new_table, store.atomic(duplicates) as new_duplicates:  # both or neither
        store.write_table(merged[schemas.INGESTED.names], new_table, schemas.INGESTED)
        store.write_table(pairs, new_duplicates, schemas.DUPLICATES)


def screen(
    root: Path, image_id: str, path: str, photometric: str | None, max_pixels: int, dicom_window: str = "lut"
) -> tuple[dict[str, Any], np.ndarray | None, str]:
    """Read one original file once; return its entries in the ingested table, its packed image if it can be used, and else why not.

    The last is a sentence, or empty where the reason in the table says all. `photometric` is that of PNG and JPEG files.
    """
    entries = {"image_id": image_id, "ok": False, "reason": None, "low": 0, "high": 0, "digest": None, "phash": None}
    image, problem = None, ""
    try:
        pixels, header, from_dicom = decode(read_once(root / path, max_pixels), max_pixels, dicom_window)
        image, low, high = pack(pixels, inverted=photometric == "MONOCHROME1" and not from_dicom)
        entries |= {"low": low, "high": high}
        if image is None:
            raise decoding.UnusableImage("constant", header)
        if from_dicom:
            header = replace(header, collimated=header.collimated or dicom.has_border(image))
        entries["digest"], entries["phash"] = fingerprints(image)
        entries["ok"] = True
    except decoding.UnusableImage as unusable:
        entries["reason"], header = unusable.reason, unusable.header
        problem = f"{root / path} is left out: {unusable.detail}." if unusable.detail else ""
    return entries | asdict(header), image, problem


def decode(data: bytes, max_pixels: int, dicom_window: str) -> tuple[np.ndarray, formats.Header, bool]:
    """Decode a file of any kind that is read; return its pixels and header, and whether it is DICOM, which has bright bones."""
    if dicom.is_dicom(data):
        return *dicom.decode(data, max_pixels, dicom_window), True
    return *(tiff if tiff.is_tiff(data) else decoding).decode(data, max_pixels), False


def pack(pixels: np.ndarray, inverted: bool = False) -> tuple[np.ndarray | None, int, int]:
    """Turn the pixels of `decode` into (512, 512) uint8; also return the smallest and largest grey value, which became 0 and 255.

    The image is None if both are the same. Of an `inverted` one, in which bones are dark, they became 255 and 0.
    """
    grey = decoding.to_grey(pixels)
    low, high = int(grey.min()), int(grey.max())
    if low == high:
        return None, low, high
    image = decoding.normalize(decoding.resize(grey, SIDE, SIDE), low, high)
    return 255 - image if inverted else image, low, high


def read_once(path: Path, max_pixels: int) -> bytes:
    """The bytes of a file that is opened once.

    Raises UnusableImage: missing; not_image (a folder or device); too_large (longer than any image of `max_pixels`); or
    ThoraxError if the file may not be read, or its disk fails.
    """
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | _AT_ONCE)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise decoding.UnusableImage("not_image")
            if status.st_size > 8 * max_pixels + METADATA_BYTES:
                raise decoding.UnusableImage("too_large")
            return file.read()
    except IsADirectoryError as error:
        raise decoding.UnusableImage("not_image") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise decoding.UnusableImage("missing") from error
    except OSError as error:
        problem = f"{path} cannot be read ({error.strerror})"
        raise ThoraxError(f"{problem}: make it readable, or remove it to count it as missing.") from error


def _shard_rows(settings: config.Dataset, catalog: Path, shard: int) -> pd.DataFrame:
    """The shard's rows of the catalog. No path may leave the archive's folder, but symbolic links inside it are followed."""
    rows = store.read_table(catalog, ["image_id", "path", "view", "photometric"])
    wanted = rows[rows["view"].isin(settings.views)].sort_values("image_id", ignore_index=True)
    if wanted.empty:
        problem = (
            f"{catalog} has no image with a view of {', '.join(settings.views)}: correct datasets.{_dataset(catalog)}.views"
        )
        raise ThoraxError(f"{problem}; the views there are {', '.join(sorted(rows['view'].dropna().unique()))}.")
    if not 0 <= shard < settings.shards:
        problem = f"Shard {shard} does not exist"
        raise ThoraxError(f"{problem}: datasets.{_dataset(catalog)}.shards is {settings.shards}, and they count from 0.")
    rows = wanted.iloc[np.array_split(np.arange(len(wanted)), settings.shards)[shard]]
    for image_id, path in zip(rows["image_id"], rows["path"], strict=True):
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise ThoraxError(f"{catalog}, image {image_id!r}: path {path!r} leaves {settings.root}; remake the catalog.")
    return rows.astype(object).where(rows.notna(), None)
