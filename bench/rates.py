"""Measure the rates behind `thorax cost` on this machine: python -m bench rates --out rates.json.

Each backbone is timed in a process of its own, at the image size and batch size of Liz et al. 2022, and ingest on large PNGs.
"""

import argparse
import datetime
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.cases import large_radiographs
from bench.measure import cpu_seconds, machine, processes, random_batch, timed
from thorax.workflow.cost import RATES

NETWORKS = (
    "DenseNet121", "DenseNet201", "EfficientNetB0", "InceptionV3", "InceptionResNetV2", "MobileNet", "ResNet50", "VGG19", "Xception",
    "cnn",
)  # fmt: skip
SIZE, BATCH, CLASSES = 224, 32, 35
WHAT = {
    "command": "python -m bench rates",
    "ingest": "seconds of a core per megapixel, over all threads: 16 noisy synthetic radiographs, 16-bit PNG, 2,000 x 2,000",
    "networks": f"random 8-bit pixels, labels of {CLASSES} classes, batch {BATCH}, size x size pixels. train, predict: images/s, "
    "median of 3 steps (50 on a GPU); train_start, predict_start: seconds from an empty process to the end of the first step; "
    "bytes: of the saved network",
}


def time_ingest(quick: bool) -> float:
    """Seconds of a core per megapixel."""
    count = 2 if quick else 16
    with tempfile.TemporaryDirectory() as folder:
        ingest_all, _ = large_radiographs(Path(folder), count)
        return cpu_seconds(ingest_all) / (4 * count)


def time_network(name: str, quick: bool) -> dict[str, Any]:
    """Start, images/s and size of one backbone, on the device of this process."""
    began = time.perf_counter()

    from thorax import backend, config
    from thorax.models import fit, losses, optimizer

    backend.prepare(0, backend.cores(), "auto")

    size = 64 if quick else SIZE
    settings = config.Training(backbone=name, weights="none")
    model = fit.build_model(settings, size, CLASSES).model
    pixels, labels = random_batch(BATCH, size, CLASSES)
    np.asarray(model.predict_on_batch(pixels))
    predict_start = time.perf_counter() - began
    model.compile(optimizer=optimizer.adam(1e-4), loss=losses.make_loss(settings, np.ones(CLASSES, np.float32)))
    model.optimizer.build(model.trainable_variables)
    float(model.train_on_batch(pixels, labels))
    train_start = time.perf_counter() - began
    steps = 1 if quick else 50 if backend.gpus() else 3
    train = [timed(lambda: float(model.train_on_batch(pixels, labels))) for _ in range(steps)]
    predict = [timed(lambda: np.asarray(model.predict_on_batch(pixels))) for _ in range(steps)]
    with tempfile.TemporaryDirectory() as folder:
        model.optimizer = None
        path = Path(folder, "network.keras")
        model.save(path)
        length = path.stat().st_size
    return {
        "device": backend.device(), "size": size, "train": BATCH / median(train), "predict": BATCH / median(predict),
        "train_start": train_start, "predict_start": predict_start, "bytes": length,
    }  # fmt: skip


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench rates", description="Measure the rates behind `thorax cost`.")
    keeps = "file to write; it keeps what it has of the same machine and other networks"
    parser.add_argument("--out", type=Path, default=RATES, help=keeps)
    parser.add_argument("--networks", nargs="*", default=NETWORKS, metavar="NAME", help=f"default: {' '.join(NETWORKS)}")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works: the figures mean nothing")
    given = parser.parse_args(arguments)
    rates = json.loads(given.out.read_text()) if given.out.exists() else {}
    if rates.get("machine") != machine():
        rates = {"machine": machine(), "networks": {}}
    rates["what"] = {**WHAT, "measured": datetime.date.today().isoformat()}
    rates["ingest"] = time_ingest(given.quick)
    with processes() as fresh:
        for name in given.networks:
            print(f"bench: {name}", flush=True)
            rates["networks"][name] = fresh.submit(time_network, name, given.quick).result()
            given.out.write_text(text(rates))


def text(rates: dict[str, Any]) -> str:
    """JSON with four digits and a line for each network."""
    rounded = json.loads(json.dumps(rates), parse_float=lambda digits: float(f"{float(digits):.4g}"))
    networks = [f"  {json.dumps(name)}: {json.dumps(found)}" for name, found in sorted(rounded.pop("networks").items())]
    head = json.dumps(rounded, indent=1, sort_keys=True).removesuffix("\n}")
    return head + ',\n "networks": {\n' + ",\n".join(networks) + "\n }\n}\n"
