"""Which two images `thorax predict` shows to networks of two views: those of a CSV file, or those of a study by DICOM headers."""

import os
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path

from thorax.bundles import inputs
from thorax.bundles.inputs import Listed
from thorax.bundles.radiographs import Skipped, why_unusable
from thorax.errors import ThoraxError
from thorax.images import dicom, ingest
from thorax.images.formats import UnusableImage
from thorax.storage import csv_file
from thorax.storage.progress import progress

COLUMNS = ("frontal", "lateral")  # of a CSV file with a pair in each row
_BY_HAND = f"name it and its partner in a CSV file with the columns {' and '.join(COLUMNS)}"


def find(images: Sequence[Path], column: str | None, max_pixels: int) -> tuple[list[Listed], list[Skipped]]:
    """The pairs to predict, each called as its frontal image, and the images without a partner.

    A CSV file with both of `COLUMNS` has a pair in each row. All other images (see `inputs.find`) are paired by the study and the view
    that their DICOM headers name. If a study has several images of one view, the first is taken, raw ones (FOR PROCESSING) last.
    """
    tables = [given for given in images if _has_pairs(given)]
    found = [pair for table in tables for pair in _in_table(table)]
    others = [given for given in images if given not in tables]
    by_header, alone = _by_header(inputs.find(others, column), max_pixels)
    return inputs.of_different_names(_without_repeats([*found, *by_header])), alone


def _without_repeats(pairs: Iterable[Listed]) -> list[Listed]:
    """Each pair once. No frontal image may be in two, since it names the rows of both."""
    found: dict[str, Listed] = {}
    for pair in pairs:
        known = found.setdefault(_place(pair.path), pair)
        if list(map(_place, known.paths)) != list(map(_place, pair.paths)):
            raise ThoraxError(f"{pair.path} is paired with {known.paths[1]} and with {pair.paths[1]}: keep one of these pairs.")
    return list(found.values())


def _place(path: Path) -> str:
    """One spelling of a path; links to one file are several images."""
    return os.path.normpath(path.absolute())


def _has_pairs(given: Path) -> bool:
    if not given.name.lower().endswith(inputs.LISTS) or not given.is_file():
        return False
    return set(COLUMNS) <= {name.lower() for name in csv_file.read_header(given)}


def _in_table(table: Path) -> Iterator[Listed]:
    """The pairs of a CSV file; `COLUMNS` may be in small or capital letters."""
    spelt = {name.lower(): name for name in reversed(csv_file.read_header(table))}
    frontal, lateral = (inputs.in_list(table, spelt[column]) for column in COLUMNS)
    for row, (first, second) in enumerate(zip(frontal, lateral, strict=True)):
        if _place(first.path) == _place(second.path):
            raise csv_file.cell_error(table, row, spelt[COLUMNS[1]], "it is the frontal image too; name the lateral one")
        yield first._replace(second=second)


def _by_header(listed: Sequence[Listed], max_pixels: int) -> tuple[list[Listed], list[Skipped]]:
    """The pairs of some files, in the order of their studies' first images, and what is in no pair."""
    alone: list[Skipped] = []
    # by study, the lateral images and the others; True: raw ones
    studies: dict[str, dict[bool, list[tuple[bool, Listed]]]] = {}
    for one in progress(listed, "pairs", unit="file"):
        found = _place_in_study(one, max_pixels)
        if isinstance(found, Skipped):
            alone.append(found)
        else:
            studies.setdefault(found.study, {}).setdefault(bool(found.lateral), []).append((found.for_processing, one))
    pairs = []
    for views in studies.values():
        taken = {lateral: min(images, key=itemgetter(0))[1] for lateral, images in views.items()}  # the first of equal ones
        for lateral, images in views.items():
            why = f"{taken[lateral].name} is the {COLUMNS[lateral]} image of its study that is predicted"
            alone += [Skipped(one.name, why) for _, one in images if one is not taken[lateral]]
        if len(taken) == 2:
            pairs.append(taken[False]._replace(second=taken[True]))
            continue
        ((lateral, one),) = taken.items()
        alone.append(
            Skipped(one.name, f"no file is the {COLUMNS[not lateral]} image of its study, which the networks need too")
        )
    return pairs, alone


def _place_in_study(one: Listed, max_pixels: int) -> dicom.Place | Skipped:
    """The study and the view of an image, or why it cannot be paired."""
    try:
        data = ingest.read_once(one.path, max_pixels)
        place = dicom.study_and_view(data, max_pixels) if dicom.is_dicom(data) else dicom.Place("", None, False)
    except UnusableImage as unusable:
        return Skipped(one.name, why_unusable(unusable))
    except ThoraxError as error:  # it may not be read, or its disk fails
        return Skipped(one.name, str(error).rstrip("."))
    if not place.study:
        return Skipped(one.name, f"it has no DICOM header that names its study: {_BY_HAND}")
    if place.lateral is None:
        return Skipped(one.name, f"its header does not say whether it is a frontal or a lateral view: {_BY_HAND}")
    return place
