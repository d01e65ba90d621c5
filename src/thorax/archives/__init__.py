"""Archives of radiographs: each module reads one archive's own files and yields one catalog."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pandas as pd

from thorax.archives import chexpert, nih, own, padchest
from thorax.archives.manifest import Selection, look, make_manifest
from thorax.config import Dataset
from thorax.errors import ThoraxError
from thorax.storage import csv_file, schemas, store
from thorax.storage.strict_csv import first_existing

LISTED = ["image_id", "path", "view", "photometric"]  # columns of the catalog that ingest needs


@dataclass(frozen=True)
class Archive:
    """What the pipeline needs to know about an archive; its module's docstring has citation and licence."""

    title: str
    metadata: tuple[str, ...]  # names that the metadata file may have; the first is the default
    beside: tuple[str, ...]  # other tables for the catalog, next to the metadata file or in the root
    read_catalog: Callable[[Path], pd.DataFrame]  # from the root: the columns of schemas.CATALOG
    read_boxes: Callable[[Path], pd.DataFrame | None]  # from the root: the columns of schemas.BOXES
    has_images: Callable[[Path], bool]
    how_to_get: str  # what to request, from whom, and which files to put "there", into the root


def _archive(title: str, module: ModuleType) -> Archive:
    names, functions = (module.METADATA, module.BESIDE), (module.read_catalog, module.read_boxes, module.has_images)
    return Archive(title, *names, *functions, module.HOW_TO_GET)


ARCHIVES: dict[str, Archive] = {
    "padchest": _archive("PadChest", padchest),
    "nih": _archive("NIH ChestX-ray14", nih),
    "chexpert": _archive("CheXpert", chexpert),
    "own": _archive("Your own data set", own),
}


def metadata_file(settings: Dataset) -> Path:
    """The archive's metadata file: the one that exists, or the default name where none does."""
    return first_existing(Path(settings.root), ARCHIVES[settings.archive].metadata)


def metadata_files(settings: Dataset) -> list[Path]:
    """The existing tables that the catalog is made from, the metadata file first."""
    main, beside = metadata_file(settings), ARCHIVES[settings.archive].beside
    places = dict.fromkeys((main, *(folder / name for folder in (main.parent, Path(settings.root)) for name in beside)))
    return [path for path in places if path.is_file()]


def selection(settings: Dataset) -> Selection:
    """What the pipeline reads from an archive's folder: the existing tables, and the images of the data set's views."""
    named = lambda: read_catalog(settings).loc[lambda catalog: catalog["view"].isin(settings.views), "path"]
    tables = [path.relative_to(settings.root).as_posix() for path in metadata_files(settings)]
    return Selection(f"{settings.archive}: {', '.join(sorted(settings.views))}", tables, named)


def selection_of_mask_pairs(folder: Path) -> Selection:
    """What a segmenter reads from a folder of radiographs with lung masks: the table, and the images and masks that it lists."""
    table = folder / schemas.MASK_PAIRS
    images = lambda: csv_file.read_columns(table, ["image"])["image"]
    named = lambda: [f"{kind}/{name}" for kind in ("images", "masks") for name in images()]
    return Selection("pairs", [schemas.MASK_PAIRS] if table.is_file() else [], named)


def write_manifest(
    root: Path, out: Path, memory: Path, settings: Dataset | None, stamp: str = "", image_stamp: str = ""
) -> None:
    """Write the manifest of a data set's folder or, without settings, of a folder of lung masks; see `make_manifest`."""
    select = lambda: selection(settings) if settings else selection_of_mask_pairs(root)
    make_manifest(root, out, memory, select, stamp, image_stamp)


def image_list(settings: Dataset) -> pd.DataFrame:
    """What an archive's tables say of the images of a data set's views that ingest needs: `LISTED`, null where not known.

    Where no image has one of the views, all images: the step that reads the list says which views there are.
    """
    rows = read_catalog(settings)[LISTED].astype(object)
    wanted = rows[rows["view"].isin(settings.views)]
    listed = wanted if len(wanted) else rows
    return listed.where(listed.notna(), None).reset_index(drop=True)


def write_image_list(settings: Dataset, memory: Path, out: Path) -> None:
    """Write `schemas.IMAGE_LIST`: all that decides what ingest reads, so that new labels of the same images do not count.

    `memory` is that of `make_manifest`. A file that is not there has neither length nor digest.
    """
    files = look(Path(settings.root), Path(memory), lambda: selection(settings))
    store.write_table(image_list(settings).merge(files, on="path", how="left"), out, schemas.IMAGE_LIST)


def lists_the_same(settings: Dataset, listed: Path) -> bool:
    """Whether an archive's tables list the images as they did when `write_image_list` wrote the file, if it is there."""
    try:
        return not listed.is_file() or image_list(settings).equals(store.read_table(listed, LISTED).astype(object))
    except ThoraxError:  # the step that reads the tables comes next and reports it
        return False


def absence(settings: Dataset) -> str | None:
    """One sentence on what is missing and how to get it; None if the archive is there, or made by the pipeline (`phantom`)."""
    root = Path(settings.root)
    if settings.phantom is not None:
        return None
    if not root.is_dir():
        return _request(settings, "this folder does not exist")
    if not metadata_file(settings).is_file():
        return _request(settings, f"{metadata_file(settings).name} is missing")
    if not ARCHIVES[settings.archive].has_images(root):
        return _request(settings, "there are no images")
    return None


def read_catalog(settings: Dataset) -> pd.DataFrame:
    """The catalog of an archive, the columns of `schemas.CATALOG`, sorted by image_id. The first problem is an error with its row."""
    source = metadata_file(settings)
    if not source.is_file():
        raise ThoraxError(_request(settings, f"{source.name} is missing"))
    collected = gc.isenabled()
    gc.disable()  # there are no reference cycles among millions of strings and lists, and the search takes 2/3 of the time
    try:
        return schemas.validate(ARCHIVES[settings.archive].read_catalog(Path(settings.root)), str(source))
    finally:
        if collected:
            gc.enable()


def make_catalog(settings: Dataset, out: Path | str, boxes: Path | str) -> None:
    """Write the catalog of an archive and the table of its boxes (empty if it has none), from its tables alone.

    Boxes of images that the metadata file does not list are left out: a part of an archive often comes with the whole table.
    """
    catalog = read_catalog(settings)
    drawn = ARCHIVES[settings.archive].read_boxes(Path(settings.root))
    if drawn is None:
        drawn = pd.DataFrame(columns=schemas.BOXES.names)
    drawn = drawn[drawn["image_id"].isin(catalog["image_id"])].sort_values(schemas.BOXES.names, ignore_index=True)
    store.write_table(catalog, out, schemas.CATALOG)
    store.write_table(drawn, boxes, schemas.BOXES)


def _request(settings: Dataset, missing: str) -> str:
    archive = ARCHIVES[settings.archive]
    where = f"{archive.title} is not in {settings.root} ({missing})"
    return f"{where}: {archive.how_to_get}, or run `make demo` for a run that needs no archive."
