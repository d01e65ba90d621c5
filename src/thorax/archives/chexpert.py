"""CheXpert: 223,414 radiographs of 64,540 patients from Stanford Hospital, 14 labels mined from reports, with uncertainty.

Another 234 images of 200 studies and patients, labelled by three radiologists, are in valid.csv. No split puts them into train or
val; they are what Irvin et al. tested on.

Citation: Irvin J, Rajpurkar P, Ko M, et al. CheXpert: a large chest radiograph dataset with uncertainty labels and expert
comparison. Proceedings of the AAAI Conference on Artificial Intelligence 33(01), 590-597 (2019).
https://doi.org/10.1609/aaai.v33i01.3301590

Licence: Stanford University School of Medicine CheXpert Dataset Research Use Agreement (research use, no redistribution, no
attempt to identify a patient).
"""

import re
from pathlib import Path

import pandas as pd

from thorax.storage import strict_csv
from thorax.storage.csv_file import cell_error
from thorax.storage.schemas import RADIOLOGISTS

BATCHES = (  # the release of 2021 as it is unpacked: patients of three parts, and the validation part with both tables
    "CheXpert-v1.0 batch 1 (validate & csv)",
    "CheXpert-v1.0 batch 2 (train 1)",
    "CheXpert-v1.0 batch 3 (train 2)",
    "CheXpert-v1.0 batch 4 (train 3)",
)
METADATA = (
    "train.csv",
    "train.csv.gz",
    "chexpert_train.csv",
    "chexpert_train.csv.gz",
    "CheXpert-v1.0/train.csv",
    "CheXpert-v1.0-small/train.csv",
    f"{BATCHES[0]}/train.csv",
)
VALIDATION = ("valid.csv", "valid.csv.gz")  # next to the table of the training images
VALIDATION_IMAGES = 234  # in this table, of all views
BESIDE = VALIDATION
_LABELS = (
    "No Finding|Enlarged Cardiomediastinum|Cardiomegaly|Lung Opacity|Lung Lesion|Edema|Consolidation|"
    "Pneumonia|Atelectasis|Pneumothorax|Pleural Effusion|Pleural Other|Fracture|Support Devices"
)
LABELS = tuple(_LABELS.split("|"))
HOW_TO_GET = (
    "request CheXpert from Stanford (https://stanfordmlgroup.github.io/competitions/chexpert/, accept its research use "
    f"agreement) and put {METADATA[0]} (or .csv.gz), valid.csv and the image folders train/ and valid/, or the unpacked folder "
    "CheXpert-v1.0 or CheXpert-v1.0-small, there"
)

_COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *LABELS)
_FORM = r"[^/]+/({part}/(patient\d{{5}})/(study\d+)/view\d+_(frontal|lateral)\.jpg)"
_PROJECTIONS = ("AP", "PA", "LL", "RL")  # LL and RL: 17 images that are called frontal all the same
_SEXES = {"Male": "M", "Female": "F", "": None}
_STATES = {"1.0": "positive", "0.0": "negative", "-1.0": "uncertain", "": None}  # a blank: not mentioned


def read_catalog(root: Path) -> pd.DataFrame:
    """The archive's catalog (`schemas.CATALOG`), in the order of the metadata files: training images first.

    `image_id` is the path below the folder that the archive names, such as train/patient00001/study1/view1_frontal.jpg; a label that
    is not mentioned is in none of the three lists. Frontal images have the view AP, PA, LL or RL, the others Lateral. Ages 0 and 90
    are capped by the publishers and stay as they are.
    """
    train = strict_csv.first_existing(root, METADATA)
    valid = strict_csv.first_existing(train.parent, VALIDATION)
    parts = [_read_part(train, "train").assign(label_source="CheXpert labeler", official_split="train")]
    if valid.is_file():
        parts.append(_read_part(valid, "valid").assign(label_source=RADIOLOGISTS, official_split="val"))
    catalog = pd.concat(parts, ignore_index=True)
    catalog["path"] = _paths(root, train.parent, catalog)
    return catalog


def by_radiologists(image_id: str) -> bool:
    """Whether an image is listed in valid.csv, by its name in the catalog."""
    return image_id.startswith("valid/")


def read_boxes(root: Path) -> None:
    """None: the archive has no boxes."""


def has_images(root: Path) -> bool:
    """Whether a folder that may hold training images has a patient's folder."""
    beside_table = strict_csv.first_existing(root, METADATA).parent / "train"
    return any(next(folder.glob("patient*"), None) for folder in (beside_table, *(root / name for name in BATCHES[1:])))


def _read_part(path: Path, part: str) -> pd.DataFrame:
    """One of the two tables: the columns of the catalog, without the path and what differs between the tables."""
    table = strict_csv.read_table(path, _COLUMNS, verbatim=LABELS)
    for label in LABELS:  # not "?" and "unknown": these may mean an uncertain label
        table[label] = table[label].where(~table[label].str.casefold().isin(strict_csv.NO_VALUE), "")
    strict_csv.require(table, path, ["Path"])
    image, patient, study, side = _split_paths(table, path, part)
    strict_csv.require_unique(pd.DataFrame({"Path": image}), path, "Path")
    return pd.DataFrame(
        {
            "image_id": image,
            "patient_id": patient,
            "study_id": [f"{person}/{number}" for person, number in zip(patient, study, strict=True)],
            "view": _views(table, path, side),
            "sex": strict_csv.translate(table, path, "Sex", _SEXES),
            "age": strict_csv.numbers(table, path, "Age").astype("float32"),
            **_labels(table, path),
            "photometric": "MONOCHROME2",
        }
    )


def _split_paths(table: pd.DataFrame, path: Path, part: str) -> list[tuple[str, ...]]:
    """Image, patient, study and side (frontal or lateral) of every row."""
    form = re.compile(_FORM.format(part=part), re.ASCII)
    matches = [form.fullmatch(text) for text in table["Path"]]
    if None in matches:
        index = matches.index(None)
        problem = f"is not a path like FOLDER/{part}/patient00001/study1/view1_frontal.jpg; use the archive's own file"
        raise cell_error(path, index, "Path", f"{table['Path'].iloc[index][:120]!r} {problem}")
    groups = [match.groups() for match in matches if match is not None]
    return list(zip(*groups, strict=True)) or [()] * 4


def _views(table: pd.DataFrame, path: Path, sides: tuple[str, ...]) -> list[str]:
    views = []
    for index, (side, stated, projection) in enumerate(zip(sides, table["Frontal/Lateral"], table["AP/PA"], strict=True)):
        if stated != side.capitalize():
            problem = f"{stated!r} contradicts the file name, which says {side}; correct it or remove the row"
            raise cell_error(path, index, "Frontal/Lateral", problem)
        if side == "lateral":
            views.append("Lateral")
            continue
        if projection not in _PROJECTIONS:
            raise cell_error(path, index, "AP/PA", f"{projection!r} is none of {', '.join(_PROJECTIONS)}; correct it")
        views.append(projection)
    return views


def _labels(table: pd.DataFrame, path: Path) -> dict[str, list[list[str]]]:
    """The three lists of every row. The 14 cells take few combinations: each is converted once."""
    rows = list(zip(*(table[label] for label in LABELS), strict=True))
    distinct = dict.fromkeys(rows)
    for cells in distinct:
        for label, cell in sorted(zip(LABELS, cells, strict=True)):
            if cell not in _STATES:
                problem = "is not a label; use 1.0 (positive), 0.0 (negative), -1.0 (uncertain) or a blank (not mentioned)"
                raise cell_error(path, rows.index(cells), label, f"{cell!r} {problem}")
    lists = {}
    for state in ("positive", "negative", "uncertain"):
        found = {
            cells: [name for name, cell in zip(LABELS, cells, strict=True) if _STATES[cell] == state] for cells in distinct
        }
        lists[state] = [list(found[cells]) for cells in rows]  # no two rows share a list
    return lists


def _paths(root: Path, tables: Path, catalog: pd.DataFrame) -> list[str]:
    """Where each image is: next to the tables, or in the batch of the release of 2021 that has its patient."""
    beside = tables.relative_to(root)
    folder_of: dict[str, str] = {}
    for folder in (f"{BATCHES[0]}/valid", *BATCHES[1:]):
        if (root / folder).is_dir():
            folder_of |= {child.name: folder for child in (root / folder).iterdir()}
    prefix = "" if beside == Path() else f"{beside.as_posix()}/"
    return [
        f"{folder_of[patient]}/{image.partition('/')[2]}" if patient in folder_of else prefix + image
        for image, patient in zip(catalog["image_id"], catalog["patient_id"], strict=True)
    ]
