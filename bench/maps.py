"""Which way of making heatmaps is best? Scores of one network's maps against boxes, by method."""

import argparse
import tempfile
import time
from pathlib import Path

from thorax.evaluation.metrics import GLOBAL
from thorax.explanation.localisation import CENTRE, MEAN, MEAN_BOX, RANDOM, measure_heatmaps
from thorax.models.predict import predict
from thorax.storage import store

METHODS = ("gradcam", "layercam", "shifts", "double")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench maps", description=__doc__)
    for name in ("model", "labels", "split", "ingested", "boxes"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="packed training images, all shards in order")
    parser.add_argument("--lungs", type=Path, nargs="+", help="tables of crop boxes, all shards in order")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="thorax-maps-") as temporary:
        folder = Path(temporary)
        seconds = {}
        for method in given.methods:
            begun = time.perf_counter()
            predict(
                given.model, given.labels, given.split, given.ingested, given.images, folder / f"{method}.parquet",
                heatmaps=folder / f"{method}.npy", threads=given.threads, method=method,
            )  # fmt: skip
            seconds[method] = time.perf_counter() - begun
        files = [{name: folder / f"{name}.{suffix}" for name in given.methods} for suffix in ("parquet", "npy")]
        measure_heatmaps(
            given.labels, given.split, given.boxes, *files, given.ingested, folder / "scores", folder / "findings", 0, 1000, given.lungs,
        )  # fmt: skip
        table = store.read_table(folder / "scores")
    overall = table[(table["class"] == GLOBAL) & ~table["map"].isin((MEAN, "lung mask"))]
    count = overall.iloc[0]
    print(f"{count['findings']} findings of {count['patients']} patients, means over the classes, 95% intervals\n")
    print(
        "| map | hottest point in a box | box in the hottest tenth | IoU | heat in the box | seconds |\n|---|--:|--:|--:|--:|--:|"
    )
    for name in (*given.methods, MEAN_BOX, CENTRE, RANDOM):
        rows = overall[overall["map"] == name].set_index("score")
        cells = [
            f"{rows.loc[score, 'value']:.3f} ({rows.loc[score, 'low']:.3f}–{rows.loc[score, 'high']:.3f})"
            for score in ("pointing", "area", "iou", "energy")
        ]
        print(f"| {name} | {' | '.join(cells)} | {f'{seconds[name]:.0f}' if name in seconds else ''} |")
