"""An earlier split that a new one keeps: its patients stay in their part, whatever has become of their images and labels."""

from pathlib import Path

import pandas as pd

from thorax.errors import ThoraxError
from thorax.storage import store
from thorax.storage.csv_file import cell_error, read_columns
from thorax.storage.schemas import LEFT_OUT, SPLIT_NAMES

COLUMNS = ["patient_id", "split"]
_FIRST = ("test", "val", "train")  # which part new patients follow who share images with kept ones of several parts


def read(path: Path) -> pd.Series:
    """The part of each patient, by patient_id, from a split (Parquet) or a CSV file with the columns patient_id and split.

    Rows of images that were left out count for nothing: a patient who has no others is new. Refused are a part of another name
    and a patient in two parts.
    """
    if path.suffix == ".parquet":
        table = store.read_table(path, COLUMNS).astype(str)
    else:
        lacking = f"{path} lacks the columns patient_id and split: name an earlier split."
        try:
            table = read_columns(path, COLUMNS)
        except ThoraxError as error:
            raise ThoraxError(lacking if "there is no column" in str(error) else str(error)) from error
    wrong = ~table["split"].isin([*SPLIT_NAMES, LEFT_OUT])
    if wrong.any():
        index = int(wrong.to_numpy().argmax())
        problem = f"{table['split'][index]!r} is not a part; write {', '.join(SPLIT_NAMES)} or {LEFT_OUT}"
        raise cell_error(path, index, "split", problem)
    unique = table[table["split"] != LEFT_OUT].drop_duplicates(ignore_index=True)
    twice = unique["patient_id"].duplicated()
    if twice.any():
        patient = unique["patient_id"][twice].iloc[0]
        parts = " and ".join(unique["split"][unique["patient_id"] == patient])
        raise ThoraxError(f"{path}: patient {patient!r} is in {parts}: leave one of the parts, for a patient belongs to one.")
    return unique.set_index("patient_id")["split"]


def kept(images: pd.DataFrame, groups: pd.Series, earlier: pd.Series, source: str) -> pd.Series:
    """The part that each image keeps, null for those of new patients; says how many patients stay, are new, and are gone.

    New patients who share images with kept ones follow them. `images` has image_id and patient_id, `groups` the group of each image
    that one part should take whole, `earlier` the part of each patient (see `read`).
    """
    patients = pd.Index(images["patient_id"].unique())
    stay = earlier[earlier.index.isin(patients)]
    if stay.empty:
        advice = "name an earlier split of the same data set, with the same identifiers of patients"
        raise ThoraxError(f"No patient of {source} is in the label sets: {advice}.")
    own = images["patient_id"].map(stay)
    of_group = pd.Series(dtype=object)
    for part in _FIRST:
        of_group = pd.concat([of_group, pd.Series(part, index=groups[own == part].unique())])
    parts = own.fillna(groups.map(of_group[~of_group.index.duplicated()]))
    follow = images["patient_id"][own.isna() & parts.notna()].nunique()
    new, gone = len(patients) - len(stay), earlier.drop(stay.index)
    copies = f", {follow:,} of whom share images with them and follow" if follow else ""
    print(f"{len(stay):,} patients stay where {source} has them ({_by_part(stay)}), and {new:,} are new{copies}.")
    if len(gone):
        print(f"{len(gone):,} patients of {source} have no image in the label sets any more ({_by_part(gone)}).")
    return parts


def _by_part(patients: pd.Series) -> str:
    return ", ".join(f"{part} {(patients == part).sum():,}" for part in SPLIT_NAMES)
