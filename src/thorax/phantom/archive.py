"""The phantom archive: synthetic chest radiographs in PadChest's own on-disk form.

`patients` decides who comes with what, `render` makes one picture, this module writes the archive:
16-bit PNGs in numbered folders, the metadata table with PadChest's 36 columns and its kinds of dirt, the true box of
every finding (`boxes.csv`), and true lung masks of some patients (`lung_masks/`). Nothing in it is of a real person.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from thorax import config, store
from thorax.datasets import padchest
from thorax.errors import ThoraxError
from thorax.phantom import metadata, render
from thorax.phantom.patients import Picture, plan

METADATA = padchest.METADATA[0]
SETTINGS = "phantom.json"
MASKED_PATIENTS = 120
MASK_SIDE = 512  # pixels, the longer side of the images and masks in lung_masks/


def make_archive(settings: config.Phantom, root: Path, workers: int = 1) -> None:
    """Write the archive under `root`, replacing an earlier phantom there.

    The metadata table is written last, so its presence means that the archive is whole.

    Args:
        workers: processes; the bytes do not depend on their number.

    Raises:
        ThoraxError: `root` holds files but no note of an earlier phantom, a damaged note, or cannot be written.
    """
    root = Path(root)
    _make_room(settings, root)
    pictures = plan(settings)
    masked = _masked(pictures)
    names = {picture.image_id for picture in masked}
    jobs = [(picture, picture.image_id in names) for picture in pictures]
    write = partial(_write_picture, settings, root)
    boxes: list[dict] = []
    with _mapper(workers) as mapper:
        for found in tqdm(mapper(write, jobs), total=len(jobs), desc="phantom", unit="image", disable=None):
            boxes += found
    _write_csv(pd.DataFrame(boxes, columns=["image_id", "label", "x", "y", "width", "height"]).round(5), root / "boxes.csv")
    pairs = [(picture.image_id, picture.patient.patient_id, picture.view) for picture in masked]
    _write_csv(pd.DataFrame(pairs, columns=["image", "patient_id", "view"]), root / "lung_masks" / "pairs.csv")
    _write_csv(metadata.table(settings), root / METADATA, index=True)


def true_lung_mask(settings: config.Phantom, image_id: str) -> np.ndarray:
    """The true lungs of a frontal image at its stored size, (rows, columns) bool.

    Raises:
        ThoraxError: the archive has no frontal image of this name.
    """
    for picture in plan(settings):
        if picture.image_id == image_id and picture.view != "L":
            return render.lung_mask(settings, picture)
    raise ThoraxError(
        f"The phantom with seed {settings.seed} has no frontal image {image_id!r}: check its name and the settings."
    )


def refuse_foreign_files(root: Path) -> None:
    """Make sure that a folder is the phantom's own or holds no file.

    Raises:
        ThoraxError: it holds files, but not the note that every phantom carries.
    """
    if (root / SETTINGS).exists():
        return
    held = (path for path in root.rglob("*") if path.is_symlink() or not path.is_dir())  # Snakemake makes empty folders
    if not all(map(store.is_temporary, held)):  # one that was killed before its note was whole leaves such a file
        raise ThoraxError(
            f"{root} holds files that were not made by the phantom: choose another folder for the synthetic archive."
        )


def _make_room(settings: config.Phantom, root: Path) -> None:
    """Remove the files of an earlier phantom and note the new one's settings, before anything else is written.

    Only what the noted settings lead to is removed, so that no radiograph is lost that somebody else put there. An
    interrupted making leaves its note, so it can be taken up.
    """
    refuse_foreign_files(root)
    note = root / SETTINGS
    if note.exists():
        for old in _files(_noted_settings(note), root):
            old.unlink(missing_ok=True)
    store.write_text(json.dumps(settings.model_dump(), indent=1, sort_keys=True), note)


def _noted_settings(note: Path) -> config.Phantom:
    try:
        return config.parse_text(config.Phantom, note.read_text(encoding="utf-8"), str(note))
    except (OSError, UnicodeDecodeError, ThoraxError) as error:
        raise ThoraxError(
            f"{note} does not hold a phantom's settings: delete its folder, or choose another one for the synthetic archive."
        ) from error


def _files(settings: config.Phantom, root: Path) -> list[Path]:
    """Every file of the archive with these settings, the metadata table first, without the note."""
    pictures, masks = plan(settings), root / "lung_masks"
    return [
        root / METADATA,
        root / "boxes.csv",
        masks / "pairs.csv",
        *(root / picture.folder / picture.image_id for picture in pictures),
        *(masks / kind / picture.image_id for picture in _masked(pictures) for kind in ("images", "masks")),
    ]


def _masked(pictures: tuple[Picture, ...]) -> list[Picture]:
    """One PA image of each of about 120 patients, spread over all patients."""
    first: dict[int, Picture] = {}
    for picture in pictures:
        if picture.view == "PA":
            first.setdefault(picture.patient.number, picture)
    candidates = list(first.values())
    count = min(MASKED_PATIENTS, len(candidates))
    return [candidates[index * len(candidates) // count] for index in range(count)]


@contextmanager
def _mapper(workers: int) -> Iterator:
    """A `map` that keeps the order, in this process or over several; OpenCV runs one thread in each."""
    if workers > 1:
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,))
        try:
            yield partial(pool.map, chunksize=8)
        finally:
            pool.shutdown(cancel_futures=True)
        return
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield map
    finally:
        cv2.setNumThreads(threads)


def _write_picture(settings: config.Phantom, root: Path, job: tuple[Picture, bool]) -> list[dict]:
    """Write one image, and its lungs' mask if wanted; return its boxes if it is a PA image."""
    picture, with_mask = job
    stored, boxes = render.draw(settings, picture)
    _write_png(stored, root / picture.folder / picture.image_id)
    if with_mask:
        factor = MASK_SIDE / max(stored.shape)
        size = (round(stored.shape[1] * factor), round(stored.shape[0] * factor))
        bits = render.bits_of(settings, picture)
        small = cv2.resize(stored.astype(np.float32) * (255 / (2**bits - 1)), size, interpolation=cv2.INTER_AREA)
        lungs = cv2.resize(render.lung_mask(settings, picture).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        _write_png(np.rint(small).astype(np.uint8), root / "lung_masks" / "images" / picture.image_id)
        _write_png(np.where(lungs >= 0.5, 255, 0).astype(np.uint8), root / "lung_masks" / "masks" / picture.image_id)
    return [{"image_id": picture.image_id, **box} for box in boxes] if picture.view == "PA" else []


def _write_png(image: np.ndarray, path: Path) -> None:
    """Run-length coding after PNG's filters: a fifth larger than the best deflate, several times faster."""
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    _, encoded = cv2.imencode(".png", image, options)
    with store.atomic(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def _write_csv(frame: pd.DataFrame, path: Path, index: bool = False) -> None:
    with store.atomic(path) as temporary:
        frame.to_csv(temporary, index=index, lineterminator="\n")
