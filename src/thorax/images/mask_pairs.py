"""Radiographs with hand-drawn lung masks, which the segmenter learns from: a folder with pairs.csv, images/ and masks/."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from thorax.errors import ThoraxError
from thorax.images import decoding, ingest, masks
from thorax.storage import schemas, strict_csv
from thorax.storage.schemas import MASK_PAIRS

FRONTAL_VIEWS = ("PA", "AP", "AP_horizontal", "AP Supine", "AP Erect")
MASK_SIZE = 256  # pixels on a side of the masks that are kept
_MAX_PIXELS = 50_000_000


@dataclass(frozen=True)
class MaskPairs:
    """Radiographs with their masks, sorted by file name."""

    names: np.ndarray  # (n,) of the files
    patients: np.ndarray  # (n,) identifiers
    images: np.ndarray  # (n, 512, 512) uint8, as ingested
    masks: np.ndarray  # (n, 256, 256) bool

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, chosen: np.ndarray) -> "MaskPairs":
        return MaskPairs(self.names[chosen], self.patients[chosen], self.images[chosen], self.masks[chosen])


def read_mask_pairs(folder: Path, patients: set[str] | None = None) -> MaskPairs:
    """Read frontal radiographs and their masks, only of `patients` if these are given, and print their number."""
    listed = _read_table(folder / MASK_PAIRS)
    table = listed[listed["view"].isin(FRONTAL_VIEWS)]
    if table.empty:
        raise ThoraxError(f"{folder / MASK_PAIRS} has no frontal view ({', '.join(FRONTAL_VIEWS)}): add pairs of such views.")
    if patients is not None:
        table = table[table["patient_id"].isin(patients)]
        if table.empty:
            problem = f"{folder / MASK_PAIRS} has no patient of the split's training part"
            raise ThoraxError(f"{problem}: leave out train_patients_of if archive and pairs share no patients, or add pairs.")
    whose = "patients" if patients is None else "training patients"
    print(f"{len(table)} of {len(listed)} pairs, of {table['patient_id'].nunique()} {whose}", file=sys.stderr, flush=True)
    images, drawn = zip(*(_read_pair(folder, name) for name in table["image"]), strict=True)
    names, whom = (table[column].to_numpy(object) for column in ("image", "patient_id"))
    return MaskPairs(names, whom, np.stack(images), np.stack(drawn))


def read_mask(path: Path, advice: str) -> np.ndarray:
    """Read where the lung is, (rows, columns) bool, from a mask; `advice` is for a file that is missing or damaged."""
    try:
        values, _ = decoding.decode(ingest.read_once(path, _MAX_PIXELS), _MAX_PIXELS)
        return masks.from_picture(decoding.to_grey(values))
    except decoding.UnusableImage as error:
        raise ThoraxError(f"{path} cannot be used ({error.reason}): {advice}.") from error
    except ValueError as error:
        raise ThoraxError(f"{path} is not a mask of both lungs: {error}.") from error


def _read_table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise ThoraxError(f"{path} does not exist: segmenters.pairs must name a folder that has it.")
    table = strict_csv.read_table(path, ["image", "patient_id", "view"])
    strict_csv.require(table, path, ["image", "patient_id"])
    strict_csv.check_identifiers(table, path, "patient_id")
    strict_csv.require_unique(table, path, "image")
    outside = ~table["image"].map(schemas.stays_inside).to_numpy(bool)
    strict_csv.refuse_cells(outside, table, path, "image", "{cell} leaves the folder; use a relative path without '..'")
    return table.sort_values("image", ignore_index=True)


def _read_pair(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """One radiograph as it would be ingested, (512, 512) uint8, and its mask, (256, 256) bool."""
    entries, image, _ = ingest.screen(folder / "images", name, name, None, _MAX_PIXELS)
    path, advice = folder / "masks" / name, "replace it or remove its row"
    if image is None:
        reason = entries["reason"]
        raise ThoraxError(f"{folder / 'images' / name}, named in {MASK_PAIRS}, cannot be used ({reason}): {advice}.")
    lung, size = read_mask(path, f"{advice} in {MASK_PAIRS}"), (entries["rows"], entries["columns"])
    if lung.shape != size:
        problem = f"{path} has {lung.shape[0]} x {lung.shape[1]} pixels, but its radiograph {size[0]} x {size[1]}"
        raise ThoraxError(f"{problem}: replace one.")
    mask = decoding.resize(lung.astype(np.float32), MASK_SIZE, MASK_SIZE) >= 0.5
    if not mask.any():
        raise ThoraxError(f"{path} is not a mask of both lungs: only {int(lung.sum())} of its pixels are lung; draw it again.")
    return image, mask
