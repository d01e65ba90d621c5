"""NIH ChestX-ray14: 112,120 frontal radiographs of 30,805 patients, labels mined from reports: 14 findings and No Finding.

Citation: Wang X, Peng Y, Lu L, Lu Z, Bagheri M, Summers RM. ChestX-ray8: hospital-scale chest X-ray database and benchmarks on
weakly-supervised classification and localization of common thorax diseases. CVPR 2017, 3462-3471. https://doi.org/10.1109/CVPR.2017.369

Licence: unrestricted use; attribute the NIH Clinical Center, link to the download site, cite the paper.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import pandas as pd

from thorax.errors import ThoraxError, did_you_mean
from thorax.storage import csv_file, strict_csv

METADATA = (
    "Data_Entry_2017_v2020.csv",
    "Data_Entry_2017_v2020.csv.gz",
    "Data_Entry_2017.csv",  # the release before 2020, which Kaggle still has
    "Data_Entry_2017.csv.gz",
    "sample_labels.csv",  # Kaggle's sample of 5,606 images
    "sample/sample_labels.csv",
    "archive/Data_Entry_2017.csv",  # Kaggle's archive.zip, unpacked into a folder of its own
)
BOXES = ("BBox_List_2017.csv", "BBox_List_2017.csv.gz", "BBox_List_2017_Official_NIH.csv")
OWN_BOXES = "boxes.csv"  # read where none of these is there
OFFICIAL_LISTS = {"train": ("train_val_list.txt", "train_val_list_NIH.txt"), "test": ("test_list.txt", "test_list_NIH.txt")}
BESIDE = (*BOXES, OWN_BOXES, *chain(*OFFICIAL_LISTS.values()))
_LABELS = (
    "Atelectasis|Cardiomegaly|Consolidation|Edema|Effusion|Emphysema|Fibrosis|Hernia|Infiltration|Mass|Nodule|"
    "Pleural_Thickening|Pneumonia|Pneumothorax|No Finding"
)
LABELS = tuple(_LABELS.split("|"))
HOW_TO_GET = (
    "download ChestX-ray14 from https://nihcc.app.box.com/v/ChestXray-NIHCC (no request is needed) and put "
    f"{METADATA[0]} (or .csv.gz, or Data_Entry_2017.csv), the images (in images/, or in the folders that NIH's or Kaggle's archives "
    "unpack to, such as images_001/images/) and, if wanted, train_val_list.txt, test_list.txt and BBox_List_2017.csv there"
)

# How names begin; one in brackets wraps others
_FOLDER = re.compile(r"images|sample|(data|archive|cxr|nih|chest)", re.IGNORECASE)
_DEPTH = 3  # of folders below the root, as in archive/images_001/images
_COLUMNS = ("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "View Position")
_SEX = ("Patient Sex", "Patient Gender")  # NIH's present file, and the one of 2017 that is still about
_AGE_UNITS = {"Y": 1, "M": 12, "W": 52.1775, "D": 365.2425}  # how many make a year
_BOX_COLUMNS = ("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]")
_BOX_PIXELS = 1024  # boxes were drawn on images of 1024 x 1024
_BOX_LABELS = {"Infiltrate": "Infiltration"}  # the table of boxes has another name for this finding


def read_catalog(root: Path) -> pd.DataFrame:
    """The archive's catalog (`schemas.CATALOG`), in the order of the metadata file.

    A label that is not mentioned is not stated to be absent, so `negative` stays empty; No Finding is a label of its own. An image
    that is in none of the archive's folders gets the path images/NAME.
    """
    path = strict_csv.first_existing(root, METADATA)
    header = csv_file.read_header(path)
    sex = next((name for name in _SEX if name in header), _SEX[0])
    table = strict_csv.read_table(path, (*_COLUMNS, sex))
    table["Patient Age"] = strict_csv.each_unique(table["Patient Age"], _years)
    strict_csv.require(table, path, ["Image Index", "Patient ID", "Follow-up #"])
    strict_csv.require_unique(table, path, "Image Index")
    strict_csv.check_identifiers(table, path, "Patient ID", ["Follow-up #"])
    return pd.DataFrame(
        {
            "image_id": table["Image Index"],
            "path": _paths(root, table["Image Index"]),
            "patient_id": table["Patient ID"],
            "study_id": table["Patient ID"] + "_" + table["Follow-up #"],
            "view": strict_csv.known(table["View Position"]),
            "sex": table[sex].where(table[sex].isin(["M", "F"]), None),
            "age": strict_csv.numbers(table, path, "Patient Age").astype("float32"),
            "positive": strict_csv.label_lists(table, path, "Finding Labels", _parse_labels),
            "negative": [[] for _ in range(len(table))],
            "uncertain": [[] for _ in range(len(table))],
            "label_source": "text-mined",
            "official_split": _official_split(root, table["Image Index"]),
            "photometric": "MONOCHROME2",
        }
    )


def read_boxes(root: Path) -> pd.DataFrame | None:
    """The hand-drawn boxes as fractions of the image, cut where rounding put them outside it; without the table, your boxes.csv."""
    path = _beside(root, BOXES)
    if not path.is_file():
        return strict_csv.read_fraction_boxes(root / OWN_BOXES)
    table = strict_csv.read_table(path, _BOX_COLUMNS)
    strict_csv.require(table, path, _BOX_COLUMNS)
    boxes = pd.DataFrame({"image_id": table["Image Index"], "label": table["Finding Label"].replace(_BOX_LABELS)})
    for name, column in zip(("x", "y", "width", "height"), _BOX_COLUMNS[2:], strict=True):
        boxes[name] = strict_csv.numbers(table, path, column) / _BOX_PIXELS
        problem = f"{{cell}} is outside an image of {_BOX_PIXELS} x {_BOX_PIXELS} pixels; correct it"
        strict_csv.refuse_cells(~boxes[name].between(0, 1), table, path, column, problem)
    for start, length in (("x", "width"), ("y", "height")):
        boxes[length] = boxes[length].clip(upper=1 - boxes[start])
    return boxes


def has_images(root: Path) -> bool:
    """Whether one of the archive's folders holds a PNG file."""
    return any(name.lower().endswith(".png") for _, name in _files(root))


def absent_images(root: Path) -> int | None:
    """The number of images that the metadata file lists and no folder of the archive has; None without that file."""
    path = strict_csv.first_existing(root, METADATA)
    if not path.is_file():
        return None
    present = {name.lower() for _, name in _files(root)}
    return len({name.lower() for name in strict_csv.read_table(path, ["Image Index"])["Image Index"]} - present)


def _beside(root: Path, names: Sequence[str]) -> Path:
    """The first of these files that is next to the metadata file or in the root; the first name if there is none."""
    places = dict.fromkeys((strict_csv.first_existing(root, METADATA).parent, root))
    return next((path for folder in places if (path := strict_csv.first_existing(folder, names)).is_file()), root / names[0])


def _files(root: Path) -> Iterator[tuple[str, str]]:
    """(folder, name) of everything in the folders that may hold images, in the order in which a name is looked up.

    NIH's archives unpack to `images`; Kaggle's to `images_001/images` and so on, its sample to `sample/images`, and a copy of
    smaller images to `images-224/images-224`. People put these into other folders, which are recognised by their names: a folder
    of masks or thumbnails has files of the same names.
    """
    found, level = [root], [root]
    for _ in range(_DEPTH):
        inner = (path for folder in level for path in folder.iterdir())
        level = [path for path in inner if _FOLDER.match(path.name) and path.is_dir()]
        found += level

    def rank(name: str) -> tuple[bool, bool, bool, int, str]:
        matches = (_FOLDER.match(part) for part in name.split("/"))
        wrapped = any(match[1] for match in matches if match)
        return name != "images", wrapped, name == ".", -name.count("/"), name

    for folder in sorted((folder.relative_to(root).as_posix() for folder in found), key=rank):
        yield from ((folder, name) for name in sorted(path.name for path in (root / folder).iterdir()))


def _paths(root: Path, names: pd.Series) -> list[str]:
    """Where each image is below the root. A file may be named .PNG where the table says .png."""
    place_of: dict[str, str] = {}
    for folder, name in _files(root):
        place = name if folder == "." else f"{folder}/{name}"
        place_of.setdefault(name, place)
        place_of.setdefault(name.lower(), place)
    return [place_of.get(name) or place_of.get(name.lower(), f"images/{name}") for name in names]


def _years(text: str) -> str:
    """An age of the older release, such as 058Y or 011M, in years; any other text as it is."""
    number, unit = text[:-1], text[-1:]
    return f"{int(number) / _AGE_UNITS[unit]:.4g}" if number.isdecimal() and unit in _AGE_UNITS else text


def _parse_labels(text: str) -> list[str]:
    entries = (label.strip() for label in text.split("|"))
    labels = list(dict.fromkeys("" if strict_csv.is_unknown(label) else label for label in entries))
    unknown = next((label for label in labels if label not in LABELS), None)
    if unknown is None:
        return labels
    known = f"{unknown!r} is not a finding of this archive{did_you_mean(unknown, LABELS)}"
    problem = known if all(labels) else f"{text!r} is not a list of findings"
    raise ValueError(f"{problem}; write findings like Effusion|Mass, or No Finding")


def _official_split(root: Path, names: pd.Series) -> pd.Series:
    split_of: dict[str, str] = {}  # by names in small letters, as files may be named .PNG
    for split, files in OFFICIAL_LISTS.items():
        path = _beside(root, files)
        if not path.is_file():
            continue
        for line, name in enumerate(csv_file.read_lines(path), start=1):
            if split_of.setdefault(name.rpartition("/")[2].lower(), split) != split:
                other = _beside(root, OFFICIAL_LISTS["train"]).name
                raise ThoraxError(f"{path}, row {line}: {name} is in {other} too; remove it from one list.")
    small = names.str.lower()
    return small.map(split_of).astype(object).where(small.isin(split_of), None)
