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

import numpy as np
import pandas as pd

from thorax.resources import resource
from thorax.storage import strict_csv
from thorax.storage.schemas import RADIOLOGISTS

# The release of 2021 as it is unpacked: the validation part with both tables, and patients of three parts
_BATCHES = ("1 (validate & csv)", "2 (train 1)", "3 (train 2)", "4 (train 3)")
BATCHES = tuple(f"CheXpert-v1.0 batch {batch}" for batch in _BATCHES)
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
LABELS: tuple[str, ...] = tuple(pd.read_csv(resource("chexpert_terms.csv"))["term"])
HOW_TO_GET = (
    "request CheXpert from Stanford (https://stanfordmlgroup.github.io/competitions/chexpert/, accept its research use "
    f"agreement) and put {METADATA[0]} (or .csv.gz), valid.csv and the image folders train/ and valid/, or the unpacked folder "
    "CheXpert-v1.0 or CheXpert-v1.0-small, there"
)

_COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *LABELS)
_FORM = r"\A[^/]+/(?P<image>PART/(?P<patient>patient\d{5})/(?P<study>study\d+)/view\d+_(?P<side>frontal|lateral)\.jpg)\Z"
_PROJECTIONS = ("AP", "PA", "LL", "RL")  # LL and RL: 17 images that are called frontal all the same
_SEXES = {"Male": "M", "Female": "F", "": None}
_STATES = {"positive": "1.0", "negative": "0.0", "uncertain": "-1.0"}  # a blank: not mentioned


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
    strict_csv.require(table, path, ["Path"])
    named = table["Path"].str.extract(_FORM.replace("PART", part), flags=re.ASCII)
    problem = f"{{cell}} is not a path like FOLDER/{part}/patient00001/study1/view1_frontal.jpg; use the archive's own file"
    strict_csv.refuse_cells(named["image"].isna(), table, path, "Path", problem)
    strict_csv.require_unique(named.rename(columns={"image": "Path"}), path, "Path")
    wrong = table["Frontal/Lateral"] != named["side"].str.capitalize()
    if wrong.any():
        problem = f"{{cell}} contradicts the file name, which says {named['side'][wrong].iloc[0]}; correct it or remove the row"
        strict_csv.refuse_cells(wrong, table, path, "Frontal/Lateral", problem)
    frontal = named["side"] == "frontal"
    problem = f"{{cell}} is none of {', '.join(_PROJECTIONS)}; correct it"
    strict_csv.refuse_cells(frontal & ~table["AP/PA"].isin(_PROJECTIONS), table, path, "AP/PA", problem)
    for label in LABELS:  # "?" and "unknown" may mean an uncertain label, so they are not blanks
        table[label] = table[label].where(~table[label].str.casefold().isin(strict_csv.NO_VALUE), "")
        problem = "{cell} is not a label; use 1.0 (positive), 0.0 (negative), -1.0 (uncertain) or a blank (not mentioned)"
        strict_csv.refuse_cells(~table[label].isin(["", *_STATES.values()]), table, path, label, problem)
    labels, cells = np.array(LABELS, object), table[list(LABELS)].to_numpy()
    return pd.DataFrame(
        {
            "image_id": named["image"],
            "patient_id": named["patient"],
            "study_id": named["patient"] + "/" + named["study"],
            "view": table["AP/PA"].where(frontal, "Lateral"),
            "sex": strict_csv.translate(table, path, "Sex", _SEXES),
            "age": strict_csv.numbers(table, path, "Age").astype("float32"),
            **{state: [labels[row].tolist() for row in cells == value] for state, value in _STATES.items()},
            "photometric": "MONOCHROME2",
        }
    )


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
