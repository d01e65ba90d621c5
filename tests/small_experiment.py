"""The files of a small experiment whose maps and answers are known: four test images, two networks, three classes, crops and masks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thorax.labels.cases import CASES
from thorax.storage import schemas, store

CLASSES = ["mass", "nodule", "hernia"]
IDS = ["w", "x", "y", "z"]
TRUTH = {"mass": [1, 0, 1, 0], "nodule": [0, 0, 1, -1], "hernia": [0, 0, 0, 0]}
YES = {  # by network, what it says of each image
    "one": {"mass": [1, 0, 0, 0], "nodule": [0, 1, 1, 0], "hernia": [0, 0, 0, 0]},
    "two": {"mass": [1, 0, 0, 1], "nodule": [0, 1, 1, 0], "hernia": [0, 0, 0, 0]},
}
PLATT = {  # slope and intercept by network and class; CTP is the mean of both
    "one": {"mass": (0.5, -1.0), "nodule": (np.nan, np.nan), "hernia": (1.0, 1.0)},
    "two": {"mass": (1.0, 0.0), "nodule": (2.0, 0.0), "hernia": (1.0, 0.0)},
    "CTP": {"mass": (0.5, 0.5), "nodule": (1.0, -2.0), "hernia": (np.nan, np.nan)},
}
READ = {  # by reader, the answers to mass and nodule in images y and w; nobody has read the others, or for hernia
    "a": {"mass": [1, 1], "nodule": [0, -1]},
    "b": {"mass": [1, 0], "nodule": [0, -1]},
    "c": {"mass": [1, 1], "nodule": [1, -1]},
    "d": {"mass": [0, 0], "nodule": ["", -1]},
}
SIDES = {"one": 7, "two": 4}  # the second is too coarse to locate anything
SEEN = (0.5, 0.25, 1.0, 1.0)  # of every image; images are 400 rows by 200 columns
INGESTED = {  # what ingest says of every image, but for its place
    "ok": True, "reason": None, "rows": 400, "columns": 200, "channels": 1, "bits": 8, "burned_in": False, "collimated": False,
    "low": 0, "high": 9,
}  # fmt: skip


def logit(yes: list[int]) -> list[float]:
    return [2.0 if one else -3.0 for one in yes]


def maps(side: int, corner: int) -> np.ndarray:
    """Maps of all images, hot in the upper left cell; of nodule in the upper left (0) or lower right (1) `corner`; of hernia nowhere."""
    found = np.zeros((len(IDS), len(CLASSES), side, side), np.float32)
    found[:, 0, 0, 0] = 3
    found[:, 1, -corner, -corner] = 0.2
    return found


def write(folder: Path) -> dict[str, Any]:
    """Write the files into a folder, and return them by the options of verbs. Tables of networks have another order than labels."""
    store.write_table(
        pd.DataFrame({"image_id": ["y", "w", "x", "z"], "chosen_for": ["mass", "mass", "nodule", "hernia"]}),
        folder / "cases.parquet", CASES,
    )  # fmt: skip
    labels = pd.DataFrame({"image_id": IDS, "patient_id": IDS, **TRUTH})
    store.write_table(labels, folder / "labels.parquet", schemas.labels_schema(CLASSES))
    store.write_table(labels.assign(split="test"), folder / "split.parquet", schemas.SPLITS)
    boxes = pd.DataFrame({"image_id": ["y"], "label": ["mass"], "x": [0.6], "y": [0.5], "width": [0.2], "height": [0.2]})
    store.write_table(boxes, folder / "boxes.parquet", schemas.BOXES)
    ingested = pd.DataFrame({"image_id": IDS, **INGESTED, "shard": 0, "row": range(4)})
    store.write_table(ingested, folder / "ingested.parquet", schemas.INGESTED)
    crops = pd.DataFrame({"image_id": IDS, **dict(zip(("x0", "y0", "x1", "y1"), SEEN, strict=True)), "components": 2})
    store.write_table(crops.assign(area=0.3, credible=True, flag=None), folder / "lungs.parquet", schemas.LUNGS)
    ramp = np.linspace(40, 220, 512).astype(np.uint8)
    store.write_array(np.tile(ramp, (4, 512, 1)), folder / "arrays.npy")
    masks = np.zeros((4, 256, 256), np.uint8)
    masks[:, :128] = 1  # the upper half
    store.write_array(masks, folder / "masks.npy")
    found: dict[str, Any] = {name: folder / f"{name}.parquet" for name in ("cases", "labels", "split", "boxes", "ingested")}
    found |= {"arrays": [folder / "arrays.npy"], "lungs": [folder / "lungs.parquet"], "masks": [folder / "masks.npy"]}
    found |= {"predictions": {}, "heatmaps": {}, "scaling": folder / "scaling.parquet"}
    fitted = [(model, name, "platt", *by, 9, 4, "") for model, of_class in PLATT.items() for name, by in of_class.items()]
    store.write_table(pd.DataFrame(fitted, columns=schemas.SCALINGS.names), found["scaling"], schemas.SCALINGS)
    for name, answers in READ.items():
        pd.DataFrame({"image": ["y", "w"], **answers}).to_csv(folder / f"{name}.csv", index=False)
    found["settings"] = json.dumps({"files": [str(folder / f"{name}.csv") for name in READ]})
    for number, (name, says) in enumerate(YES.items()):
        logits = pd.DataFrame({"image_id": IDS, "split": "test", **{label: logit(yes) for label, yes in says.items()}})
        store.write_table(logits[::-1], folder / f"{name}.parquet", schemas.scores_schema(CLASSES))
        store.write_array(maps(SIDES[name], number), folder / f"{name}.npy")
        found["predictions"][name], found["heatmaps"][name] = folder / f"{name}.parquet", folder / f"{name}.npy"
    return found


def words(found: dict[str, Any], *names: str) -> list[str]:
    """Files as options of a verb."""
    said = []
    for name in names:
        files = found[name]
        listed = [f"{key}={path}" for key, path in files.items()] if isinstance(files, dict) else files
        said += [f"--{name}", *map(str, listed if isinstance(listed, list) else [listed])]
    return said
