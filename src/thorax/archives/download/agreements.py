"""Archives that need an agreement: what you must request, and what of it is already there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from thorax.archives import chexpert, padchest
from thorax.storage import csv_file, strict_csv

_PADCHEST_PAGE = "https://bimcv.cipf.es/bimcv-projects/padchest/"
_CHEXPERT_PAGE = "https://stanfordmlgroup.github.io/competitions/chexpert/"
_PADCHEST_FOLDERS = [str(number) for number in (*range(51), 54)]
_SHOWN = 6  # names in a sentence


@dataclass(frozen=True)
class Agreement:
    """An archive that cannot be fetched without a signature."""

    title: str
    page: str  # where to ask for it
    zips: Sequence[str]  # patterns of the zip files that the user has put into the root
    missing: Callable[[Path], list[str]]  # from the root: the next steps in order; none if the archive is complete


def _padchest_missing(root: Path) -> list[str]:
    table = strict_csv.first_existing(root, padchest.METADATA)
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
    has_table = strict_csv.first_existing(root, chexpert.METADATA).is_file()
    has_images = root.is_dir() and chexpert.has_images(root)
    lacking = " and ".join(name for name, there in (("train.csv", has_table), ("the images", has_images)) if not there)
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
