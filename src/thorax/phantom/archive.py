"""The phantom archive: synthetic chest radiographs in the on-disk form of PadChest, NIH ChestX-ray14 or CheXpert.

`patients` samples patients and findings, `render` draws one picture, `padchest`, `nih` and `chexpert` define how an archive names,
stores and lists it, and this module writes the files: the images and tables of the archive and, in every form, the true box of every
finding (`boxes.csv`) and the true lung masks of some patients (`lung_masks/`). No real person's data is used.
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pandas as pd

from thorax import config
from thorax.errors import ThoraxError
from thorax.phantom import chexpert, nih, padchest, render
from thorax.phantom.findings import labels_of
from thorax.phantom.patients import Picture, plan
from thorax.phantom.render import drawn_shape, png
from thorax.storage import store
from thorax.storage.parallel import one_opencv_thread
from thorax.storage.progress import progress


@dataclass(frozen=True)
class Form:
    """One archive's names, files and tables."""

    pictures: Callable[[config.Phantom], tuple[Picture, ...]]  # every image; folder and image_id say where it lies
    tables: Callable[[config.Phantom, pd.DataFrame | None], dict[str, str]]  # texts by name; boxes: None, or as in boxes.csv
    encode: Callable[[config.Phantom, Picture, np.ndarray], bytes]  # the file of a drawn picture, (rows, columns) uint16
    shape: Callable[[config.Phantom, Picture], tuple[int, int]]  # rows and columns of the file
    table_names: tuple[str, ...]  # the metadata file first
    explained_views: tuple[str, ...]  # of the images that have boxes, and may have a lung mask


FRONTAL = ("PA", "AP")
FORMS = {
    "padchest": Form(plan, padchest.tables, lambda settings, picture, drawn: png(drawn), drawn_shape, padchest.TABLES, ("PA",)),
    "nih": Form(nih.pictures, nih.tables, nih.encode, nih.shape, nih.TABLES, FRONTAL),
    "chexpert": Form(chexpert.pictures, chexpert.tables, chexpert.encode, drawn_shape, chexpert.TABLES, FRONTAL),
}
BOXES, PAIRS = "boxes.csv", "lung_masks/pairs.csv"
SETTINGS = "phantom.json"
MASKED_PATIENTS = 120
MASK_SIDE = 512  # pixels, the longer side of the images and masks in lung_masks/


class _Note(config.Phantom):
    """The content of phantom.json; without an archive it has PadChest's form."""

    archive: str = "padchest"


def find_form(archive: str) -> Form:
    """The form of an archive; phantoms do not have every form."""
    if archive not in FORMS:
        raise ThoraxError(f"A phantom has the form of {', '.join(FORMS)}, not of {archive!r}: choose one of these.")
    return FORMS[archive]


def make_archive(settings: config.Phantom, root: Path, threads: int = 1, archive: str = "padchest") -> None:
    """Write an archive in this form under `root`, replacing an earlier phantom there; its bytes do not depend on the threads.

    A note of the settings is written before anything else. Files of an earlier phantom are removed if they follow from its note, so
    no other radiograph is lost and an interrupted run can be resumed. The table of boxes is written last, so its presence means that
    the archive is whole.
    """
    form = find_form(archive)
    refuse_foreign_files(root)
    note = root / SETTINGS
    if note.exists():
        for old in _noted_files(note):
            old.unlink(missing_ok=True)
    noted = settings.model_dump(exclude=None if settings.damaged else {"damaged"})
    noted |= {} if archive == "padchest" else {"archive": archive}
    store.write_text(json.dumps(noted, indent=1, sort_keys=True), note)
    pictures = form.pictures(settings)
    masked = _masked(form, pictures)
    names = {picture.image_id for picture in masked}
    frontal = [picture.image_id for picture in pictures if picture.view in form.explained_views]
    damaged = set(frontal[::-1][: settings.damaged])
    jobs = [(picture, picture.image_id in names, picture.image_id in damaged) for picture in pictures]
    write = partial(_write_picture, settings, root, archive)
    found: list[dict] = []
    with _mapper(threads) as mapper:
        for more in progress(mapper(write, jobs), "phantom", len(jobs), "image"):
            found += more
    boxes = pd.DataFrame(found, columns=["image_id", "label", "x", "y", "width", "height"]).round(5)
    listed = [(_mask_name(picture), picture.patient_id, picture.view) for picture in masked]
    pairs = pd.DataFrame(listed, columns=["image", "patient_id", "view"]).to_csv(index=False, lineterminator="\n")
    texts = {PAIRS: pairs, **form.tables(settings, boxes), BOXES: boxes.to_csv(index=False, lineterminator="\n")}
    for name, text in texts.items():
        store.write_text(text, root / name)


def write_tables(settings: config.Phantom, root: Path, archive: str = "padchest") -> None:
    """Write the tables that the archive's catalog is made from, and nothing else: no picture is drawn, so there are no boxes."""
    for name, text in find_form(archive).tables(settings, None).items():
        store.write_text(text, root / name)


def shapes(settings: config.Phantom, archive: str = "padchest") -> pd.DataFrame:
    """View, rows and columns (pixels) of every image of the archive, without drawing it."""
    form = find_form(archive)
    listed = [(picture.view, *form.shape(settings, picture)) for picture in form.pictures(settings)]
    return pd.DataFrame(listed, columns=["view", "rows", "columns"])


def refuse_foreign_files(root: Path) -> None:
    """Refuse a folder that has files, but not the note that every phantom has."""
    if (root / SETTINGS).exists():
        return
    held = (path for path in root.rglob("*") if path.is_symlink() or not path.is_dir())  # Snakemake makes empty folders
    if not all(map(store.is_temporary, held)):  # a phantom that was killed before its note was complete leaves such a file
        raise ThoraxError(
            f"{root} has files that were not made by the phantom: choose another folder for the synthetic archive."
        )


def _noted_files(note: Path) -> list[Path]:
    """Every file of the archive that a note describes, without the note; the table that is written last comes first."""
    try:
        noted = config.parse_text(_Note, note.read_text(encoding="utf-8"), str(note))
        form = find_form(noted.archive)
    except (OSError, UnicodeDecodeError, ThoraxError) as error:
        advice = "delete its folder, or choose another one for the synthetic archive"
        raise ThoraxError(f"{note} does not hold a phantom's settings: {advice}.") from error
    settings = config.Phantom(**noted.model_dump(exclude={"archive"}))
    pictures, root = form.pictures(settings), note.parent
    masks = [root / "lung_masks" / kind / _mask_name(one) for one in _masked(form, pictures) for kind in ("images", "masks")]
    tables = [root / name for name in (BOXES, *form.table_names, PAIRS)]
    return [*tables, *(root / picture.folder / picture.image_id for picture in pictures), *masks]


def _masked(form: Form, pictures: tuple[Picture, ...]) -> list[Picture]:
    """One frontal image of each of about 120 patients, spread over all patients."""
    first: dict[int, Picture] = {}
    for picture in pictures:
        if picture.view in form.explained_views:
            first.setdefault(picture.patient, picture)
    candidates = list(first.values())
    count = min(MASKED_PATIENTS, len(candidates))
    return [candidates[index * len(candidates) // count] for index in range(count)]


def _mask_name(picture: Picture) -> str:
    """The name of an image and its mask in lung_masks/, which has no folders."""
    return str(PurePosixPath(picture.image_id.replace("/", "_")).with_suffix(".png"))


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
    with one_opencv_thread():
        yield map


def _write_picture(settings: config.Phantom, root: Path, archive: str, job: tuple[Picture, bool, bool]) -> list[dict]:
    """Write one image, cut short if `damaged`, and its lung mask if wanted; return its boxes with the archive's labels, if any."""
    picture, with_mask, damaged = job
    form = FORMS[archive]
    drawn, boxes = render.draw(settings, picture)
    content = form.encode(settings, picture, drawn)
    files = {root / picture.folder / picture.image_id: content[: len(content) // 2] if damaged else content}
    if with_mask:
        factor = MASK_SIDE / max(drawn.shape)
        size = (round(drawn.shape[1] * factor), round(drawn.shape[0] * factor))
        small = cv2.resize(render.in_eight_bits(settings, picture, drawn), size, interpolation=cv2.INTER_AREA)
        lungs = cv2.resize(render.lung_mask(settings, picture).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        files[root / "lung_masks" / "images" / _mask_name(picture)] = png(np.rint(small).astype(np.uint8))
        files[root / "lung_masks" / "masks" / _mask_name(picture)] = png(np.where(lungs >= 0.5, 255, 0).astype(np.uint8))
    for path, bytes_of_file in files.items():
        with store.atomic(path) as temporary:
            temporary.write_bytes(bytes_of_file)
    if picture.view not in form.explained_views:
        return []
    names = {finding.label: labels_of(finding, archive) for finding in picture.findings}
    return [{"image_id": picture.image_id, **box, "label": name} for box in boxes for name in names[box["label"]]]
