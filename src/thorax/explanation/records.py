"""What the networks say of every test image, and where: a row for each image and class, and predicted findings in the form of COCO."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thorax.evaluation.metrics import sigmoid
from thorax.explanation.cases import THRESHOLD, open_maps, read_seen, refuse_other_members
from thorax.explanation.localisation import GRID, masks_of, place
from thorax.explanation.overlays import scale_maps
from thorax.explanation.places import hottest
from thorax.storage import joins, store
from thorax.storage.progress import progress
from thorax.storage.schemas import RECORDS, class_columns

_AT_ONCE = 4096  # maps


def make_records(
    labels: Path, split: Path, predictions: Mapping[str, Path], heatmaps: Mapping[str, Path], ingested: Path, out: Path, coco: Path,
    title: str, lungs: Sequence[Path] | None = None, masks: Sequence[Path] | None = None,
) -> None:  # fmt: skip
    """Write the rows of `schemas.RECORDS` for all test images, and predicted findings with boxes as COCO's JSON.

    `heatmaps` are those of `predict-parts`, in the order of `predictions`. The map of a class is the mean of the networks', each divided by its
    maximum. `lungs` and `masks` are the tables of crop boxes and the lung masks of all shards. A finding whose map does not vary
    has no box, and is not in the JSON.
    """
    refuse_other_members(heatmaps, predictions)
    truth = joins.read_labels(labels, split, ("test",))
    classes = class_columns(truth)
    each = np.stack([sigmoid(joins.read_scores(path, truth, labels, classes).to_numpy(float)) for path in predictions.values()])
    ids = truth["image_id"]
    maps = {name: open_maps(path, predictions[name], ids, labels) for name, path in heatmaps.items()}
    seen = read_seen(ids, lungs, labels)
    in_lungs = masks_of(masks, ids, ingested, labels) if masks else None
    sizes = joins.rows_of(store.read_table(ingested, ["image_id", "rows", "columns"]), ids, ingested, labels)
    annotations: list[dict[str, Any]] = []

    def blocks() -> Iterator[pd.DataFrame]:
        step = max(1, _AT_ONCE // len(classes))
        for start in progress(range(0, len(ids), step), "records", unit="block"):
            images = slice(start, start + step)
            mean = mean_maps([array[places[images]] for array, places in maps.values()], seen[images])
            masked = None if in_lungs is None else in_lungs(ids[images].tolist())
            rows = rows_of_block(mean, each[:, images], masked)
            rows.insert(0, "image_id", np.repeat(ids[images].to_numpy(), len(classes)))
            rows.insert(1, "class", np.tile(classes, len(ids[images])))
            rows.insert(2, "label", truth.loc[ids[images].index, classes].to_numpy().ravel())
            annotations.extend(_annotations(rows, sizes[images], start, len(classes), len(annotations)))
            yield rows

    with store.atomic(coco) as new_coco:
        store.write_blocks(blocks(), out, RECORDS)
        pictures = [
            {"id": number, "file_name": size.image_id, "width": size.columns, "height": size.rows}
            for number, size in enumerate(sizes.itertuples(), 1)
        ]
        content = {
            "info": {
                "description": f"{title}: findings that the networks predict, in boxes around the hottest area of their heatmap"
            },
            "images": pictures,
            "categories": [{"id": number, "name": name} for number, name in enumerate(classes, 1)],
            "annotations": annotations,
        }
        store.write_text(json.dumps(content, ensure_ascii=False), new_coco)


def mean_maps(maps: Sequence[np.ndarray], seen: np.ndarray) -> np.ndarray:
    """The mean of networks' maps of n images, each (n, k, h, w), on the originals: (n * k, GRID, GRID), from 0 to 1.

    Each map is divided by its maximum first. Networks with maps of a single cell cannot localise and are left out.
    """
    count, classes = maps[0].shape[:2]
    total, fine = np.zeros((count * classes, GRID, GRID), np.float32), 0
    for array in maps:
        if array[0, 0].size > 1:
            total += place(scale_maps(array).reshape(-1, *array.shape[2:]), np.repeat(seen, classes, axis=0))
            fine += 1
    return total / max(fine, 1)


def rows_of_block(mean: np.ndarray, each: np.ndarray, lungs: np.ndarray | None) -> pd.DataFrame:
    """The numbers of `schemas.RECORDS` for n images and k classes: one row for each pair, the classes of an image together.

    `mean` has their maps (n * k, GRID, GRID), `each` the networks' probabilities (networks, n, k), `lungs` the lung masks (n, GRID, GRID).
    """
    flat = each.reshape(len(each), -1)
    point, box = hottest(mean)
    share = np.full(len(mean), np.nan)
    if lungs is not None:
        total = mean.sum(axis=(1, 2))
        inside = np.einsum("nkij,nij->nk", mean.reshape(len(lungs), -1, GRID, GRID), lungs).ravel()
        np.divide(inside, total, out=share, where=total > 0)
    columns = {"probability": flat.mean(axis=0), "lowest": flat.min(axis=0), "highest": flat.max(axis=0)}
    columns |= {"yes": (flat > THRESHOLD).sum(axis=0), "networks": np.full(flat.shape[1], len(flat))}
    columns |= dict(zip(("peak_x", "peak_y", "x", "y", "width", "height"), (*point.T, *box.T), strict=True))
    return pd.DataFrame(columns | {"in_lungs": share})


def _annotations(rows: pd.DataFrame, sizes: pd.DataFrame, first: int, classes: int, made: int) -> Iterator[dict[str, Any]]:
    """Predicted findings with a box, in pixels of the original; `first` is the number of the block's first image, from 0."""
    found = rows.index[(rows["probability"] > THRESHOLD) & rows["width"].notna()]
    for number, index in enumerate(found, made + 1):
        row, size = rows.loc[index], sizes.iloc[index // classes]
        across, down = float(size["columns"]), float(size["rows"])
        box = [round(value, 1) for value in (row["x"] * across, row["y"] * down, row["width"] * across, row["height"] * down)]
        yield {
            "id": number,
            "image_id": first + index // classes + 1,
            "category_id": index % classes + 1,
            "bbox": box,
            "area": round(box[2] * box[3], 1),
            "iscrowd": 0,
            "score": round(float(row["probability"]), 4),
        }
