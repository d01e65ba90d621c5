"""Published radiographs with lung masks, stored as the segmenter reads them: pairs.csv, images/ and masks/.

Montgomery County, 138 radiographs with a mask per lung: Jaeger S, Candemir S, Antani S, Wáng YX, Lu PX, Thoma G. Two public
chest X-ray datasets for computer-aided screening of pulmonary diseases. Quantitative Imaging in Medicine and Surgery 4(6),
475-477 (2014). Shenzhen, 662 radiographs: the same paper; masks of 566 of them: Stirenko S, Kochura Y, Alienin O, et al. Chest
X-ray analysis of tuberculosis by deep learning with segmentation and augmentation. IEEE ELNANO 2018, 422-428.
All are PA views, one per patient.
"""

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from thorax.errors import ThoraxError
from thorax.images.mask_pairs import read_mask
from thorax.storage import csv_file, store
from thorax.storage.schemas import MASK_PAIRS


def add_montgomery(root: Path) -> None:
    """Add the pairs of root/montgomery; a pair's mask is the union of its two lungs. A missing or damaged file is refused."""
    folder = root / "montgomery" / "MontgomerySet"
    radiographs = sorted((folder / "CXR_png").glob("MCUCXR_*.png"))
    sides = [folder / "ManualMask" / side for side in ("leftMask", "rightMask")]
    _add_pairs(root, folder, ((image, [side / image.name for side in sides]) for image in radiographs))


def add_shenzhen(root: Path) -> None:
    """Add the pairs of root/shenzhen that have a mask. Errors as in `add_montgomery`."""
    folder = root / "shenzhen"
    drawn = {path.name.removesuffix("_mask.png"): path for path in sorted(folder.rglob("CHNCXR_*_mask.png"))}
    radiographs = {path.stem: path for path in sorted(folder.rglob("CHNCXR_*.png")) if path.stem in drawn}
    _add_pairs(root, folder, ((radiographs[stem], [drawn[stem]]) for stem in sorted(radiographs)))


def _add_pairs(root: Path, source: Path, pairs: Iterable[tuple[Path, list[Path]]]) -> None:
    """Put images and masks (the union of their parts, 255 = lung) under equal names, and their rows into pairs.csv with the others."""
    rows = []
    for image, parts in pairs:
        mask = root / "masks" / image.name
        if not mask.is_file():
            lungs = [read_mask(path, "delete it and run the same command again") for path in parts]
            if len({lung.shape for lung in lungs}) > 1:
                raise ThoraxError(f"{parts[0]} and {parts[1]} differ in size: delete them and run the same command again.")
            with store.atomic(mask) as temporary:
                if not cv2.imwrite(str(temporary), np.any(lungs, axis=0).astype(np.uint8) * 255):
                    raise ThoraxError(f"{mask} cannot be written: free some disk space.")
        target = root / "images" / image.name
        if not target.is_file() or target.stat().st_size != image.stat().st_size:
            with store.atomic(target) as temporary:
                temporary.unlink()
                try:
                    os.link(image, temporary)
                except OSError:  # the file system has no links
                    shutil.copyfile(image, temporary)
        rows.append({"image": image.name, "patient_id": image.stem.rpartition("_")[0], "view": "PA"})
    if not rows:
        raise ThoraxError(f"{source} has no radiograph with a mask: delete this folder and run the same command again.")
    table = pd.DataFrame(rows)
    path = root / MASK_PAIRS
    if path.is_file():
        others = csv_file.read_columns(path, list(dict.fromkeys(["image", *csv_file.read_header(path, ["image"])])))
        table = pd.concat([others[~others["image"].isin(table["image"])], table], ignore_index=True).fillna("")
    store.write_text(table.sort_values("image").to_csv(index=False), path)
    print(f"{path}: {len(rows)} pairs of {source.name}, {len(table)} in all", file=sys.stderr, flush=True)
