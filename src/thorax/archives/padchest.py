"""PadChest: 160,861 radiographs of 67,625 patients from San Juan Hospital, Alicante, labelled with 193 terms.

Citation: Bustos A, Pertusa A, Salinas JM, de la Iglesia-Vayá M. PadChest: a large chest x-ray image dataset with multi-label
annotated reports. Medical Image Analysis 66, 101797 (2020). https://doi.org/10.1016/j.media.2020.101797

Licence: BIMCV's PadChest data use agreement (research use, no redistribution, no attempt to identify a patient).
"""

import ast
import re
import warnings
from pathlib import Path

import pandas as pd

from thorax.storage import strict_csv

METADATA = (
    "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv",
    "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz",
)
BOXES = "boxes.csv"  # not part of the published archive: phantom archives have it
BESIDE = (BOXES,)
HOW_TO_GET = (
    "request PadChest from BIMCV (https://bimcv.cipf.es/bimcv-projects/padchest/, accept its data use agreement) and put "
    f"{METADATA[0]} (or .csv.gz) and the unpacked image folders 0/ to 54/ there"
)

_COLUMNS = (
    "ImageID ImageDir StudyDate_DICOM StudyID PatientID PatientBirth PatientSex_DICOM Projection "
    "PhotometricInterpretation_DICOM MethodLabel Labels"
)
_ITEM = r"(?:'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\")"
_LIST = re.compile(rf"\[\s*(?:{_ITEM}(?:\s*,\s*{_ITEM})*\s*(?:,\s*)?)?\]")


def parse_labels(text: str) -> list[str]:
    """The labels in one cell of the column Labels, a Python list literal such as `['normal', ' kyphosis', '']`.

    Entries are stripped; empty, unknown (`strict_csv.UNKNOWN`) and repeated ones are dropped. The order stays. An unknown or blank
    cell means no labels. Items must be separated by commas: Python itself would join `['a' 'b']`, the form of the CUI columns, into
    one label. Raises ValueError where the text is not a list of strings.
    """
    return list(dict.fromkeys(label for entry in _entries(text) if (label := entry.strip())))


def padded_labels(text: str) -> list[str]:
    """The labels, stripped, that a cell has only with a blank before or after them, such as ` kyphosis`."""
    entries = _entries(text)
    return [label for label in dict.fromkeys(entry.strip() for entry in entries) if label and label not in entries]


def read_catalog(root: Path) -> pd.DataFrame:
    """The archive's catalog (`schemas.CATALOG`), in the order of the metadata file.

    PadChest states findings only: `negative` and `uncertain` are empty. `padded` lists the labels that the file has only with a
    surrounding blank; `positive` has them stripped. The age is the study's year minus the year of birth, since no full birth date is
    published. Sex other than M and F is null.
    """
    path = strict_csv.first_existing(root, METADATA)
    table = strict_csv.read_table(path, _COLUMNS.split(), verbatim=["Labels"])
    strict_csv.require(table, path, ["ImageID", "ImageDir", "PatientID"])
    strict_csv.require_unique(table, path, "ImageID")
    strict_csv.check_identifiers(table, path, "PatientID", ["StudyID"])
    date = table["StudyDate_DICOM"]
    wrong = (date != "") & ~date.str.fullmatch(r"\d{8}").astype(bool)
    strict_csv.refuse_cells(wrong, table, path, "StudyDate_DICOM", "{cell} is not a date like 20140915; correct it")
    age = strict_csv.numbers(date.str[:4].to_frame(), path, "StudyDate_DICOM") - strict_csv.numbers(table, path, "PatientBirth")
    return pd.DataFrame(
        {
            "image_id": table["ImageID"],
            "path": table["ImageDir"] + "/" + table["ImageID"],
            "patient_id": table["PatientID"],
            "study_id": strict_csv.known(table["StudyID"]),
            "view": strict_csv.known(table["Projection"]),
            "sex": table["PatientSex_DICOM"].where(table["PatientSex_DICOM"].isin(["M", "F"]), None),
            "age": age.astype("float32"),
            "positive": strict_csv.label_lists(table, path, "Labels", parse_labels),
            "negative": [[] for _ in range(len(table))],
            "uncertain": [[] for _ in range(len(table))],
            "padded": strict_csv.label_lists(table, path, "Labels", padded_labels),
            "label_source": strict_csv.known(table["MethodLabel"]),
            "official_split": pd.Series([None] * len(table), dtype=object),
            "photometric": strict_csv.known(table["PhotometricInterpretation_DICOM"]),
        }
    )


def read_boxes(root: Path) -> pd.DataFrame | None:
    """The boxes of a phantom archive (fractions of the image); None for the published one, which has none."""
    return strict_csv.read_fraction_boxes(root / BOXES)


def has_images(root: Path) -> bool:
    """Whether at least one image folder has been unpacked."""
    return any(child.is_dir() for child in root.iterdir())


def _entries(text: str) -> list[str]:
    text = text.strip()
    if strict_csv.is_unknown(text):
        return []
    try:
        if not _LIST.fullmatch(text):
            raise ValueError
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an unknown escape is only a warning in Python
            entries = [ast.literal_eval(item) if "\\" in item else item[1:-1] for item in re.findall(_ITEM, text)]
    except (SyntaxError, ValueError, Warning):
        raise ValueError(f"{text[:80]!r} is not a list of strings; write it like ['normal'] or nan") from None
    return ["" if strict_csv.is_unknown(entry) else entry for entry in entries]
