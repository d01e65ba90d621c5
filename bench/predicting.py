"""How fast `thorax predict` is with a bundle of five networks and a lung U-Net: its start, and against the networks alone."""

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure import peak, processes, timed
from thorax import backend, config, phantom
from thorax.bundles import networks, pack, predict
from thorax.bundles.bundle import open_bundle
from thorax.bundles.contents import CARD, DATA_SHEET, Contents
from thorax.bundles.inputs import Listed
from thorax.bundles.model import BundledModel
from thorax.bundles.radiographs import Radiograph, read
from thorax.images import segmenter

SIZE = 224  # pixels on a side
NETWORKS = ("DenseNet201", "EfficientNetB0", "InceptionV3", "InceptionResNetV2", "Xception")
CLASSES = tuple(f"class {number}" for number in range(35))
THREADS = 2
# What a new process does: the import alone, then with a bundle, then with one image
_IMPORTED = "from thorax import backend; backend.prepare(0, 2)"
_LOADED = (
    "import sys; from thorax import backend; from thorax.bundles.bundle import open_bundle; from thorax.bundles.model import BundledModel; "
    "model = BundledModel(open_bundle(sys.argv[1], ahead=True)); backend.prepare(0, 2); model.load()"
)
_PREDICTED = "import sys; from thorax import cli; sys.exit(cli.main(['predict', *sys.argv[1:]]))"


def predict_ratio(folder: Path, quick: bool) -> dict[str, Any]:
    """Time of predicting files over that of the networks alone on the same pixels, in turn."""
    count, repeats = (4, 1) if quick else (64, 2)
    bundle, files = _bundle(folder, quick), _files(folder, count)
    backend.prepare(0, 1 if quick else THREADS)
    model = BundledModel(open_bundle(bundle))
    listed = [Listed(path.name, path) for path in files]
    seen, _ = model.preprocessing.see(
        [one for one in (read(file, model.contents.dataset) for file in listed) if isinstance(one, Radiograph)]
    )

    def ours() -> None:
        for _ in predict.answers(model, listed, THREADS):
            pass

    def alone() -> None:
        for first in range(0, count, predict.BATCH):
            batch = seen[first : first + predict.BATCH, ..., np.newaxis]
            for run in model.runs:
                np.asarray(run(batch)[0])

    alone()  # the first batch compiles
    taken = np.array([[timed(ours), timed(alone)] for _ in range(repeats)])
    own, bare = 1000 / count * np.median(taken, axis=0)
    megabytes = bundle.stat().st_size / 1e6
    return {
        "ratio": own / bare,
        "ours": own,
        "alone": bare,
        "bundle": megabytes,
        "megabytes": peak(),
        "device": backend.device(),
    }


def start_ratio(folder: Path, quick: bool) -> dict[str, Any]:
    """CPU time until a bundle is loaded over that of importing Keras alone, each in new processes, in turn; and of predicting one image."""
    bundle, [image] = _bundle(folder, quick), _files(folder, 1)
    scripts = ((_IMPORTED,), (_LOADED, bundle), (_PREDICTED, bundle, image))
    taken = np.array([[_of_process(*script) for script in scripts] for _ in range(1 if quick else 3)])
    cpu, clock = np.median(taken, axis=0).T
    names = ("imported", "loaded", "predicted")
    found = {name: {"cpu": seconds, "clock": passed} for name, seconds, passed in zip(names, cpu, clock, strict=True)}
    return {"ratio": cpu[1] / cpu[0], **found, "bundle": bundle.stat().st_size / 1e6}


def _of_process(code: str, *arguments: Path) -> tuple[float, float]:
    """CPU time and time on the clock, both in seconds, of a new process that runs some Python."""
    spent = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])  # user and system
    before = spent()
    clock = timed(lambda: subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.DEVNULL))
    return spent() - before, clock


def _bundle(folder: Path, quick: bool) -> Path:
    """A bundle of the paper's networks; of a tiny one if it is to be quick."""
    path = folder / "predict.zip"
    if path.exists():
        return path
    if quick:
        write_bundle(path, ("cnn",))
    else:
        with processes() as fresh:
            fresh.submit(write_bundle, path, NETWORKS).result()
    return path


def write_bundle(path: Path, names: tuple[str, ...]) -> None:
    """Write a bundle of networks and a U-Net with random weights, which are as fast as trained ones."""
    from thorax.models.network import build_model

    backend.prepare(0, 1)
    stored = {
        f"networks/{name}": build_model(config.Training(backbone=name, weights="none"), SIZE, len(CLASSES)).model
        for name in names
    }
    unet = config.Segmenter(pairs=".")
    stored["segmenter"] = segmenter.build_unet(unet)
    files = {CARD: b"\n", DATA_SHEET: b"\n"}
    for name, model in stored.items():
        files[f"{name}.json"] = networks.describe(model).encode()
        files[f"{name}.weights"] = networks.pack([weight.numpy() for weight in model.weights], "float16")
    kept = {"precision": "float16", "fraction_bits": 10, "images": 0, "difference": 0.0}
    ensemble = {"rule": "ctp", "members": names} if len(names) > 1 else None
    contents = Contents.model_validate(
        {
            "experiment": "bench", "title": "bench", "model": "CTP" if ensemble else names[0], "provenance": "phantom",
            "networks": {name: {**kept, "backbone": name, "seed": 0} for name in names}, "ensemble": ensemble,
            "classes": CLASSES, "terms": {name: [name] for name in CLASSES},
            "dataset": {"archive": "padchest", "views": ["PA"], "dicom_window": "lut", "max_pixels": 50_000_000},
            "image_set": {"dataset": "d", "size": SIZE, "crop": "lungs", "segmenter": "s"},
            "segmenter": {**kept, "size": unet.size}, "rule": "fixed-0.5", "scaling": {},
            "thresholds": {"fixed-0.5": dict.fromkeys(CLASSES, 0.5)}, "versions": {}, "seeds": {},
        }
    )  # fmt: skip
    pack.write(contents, files, path)


def _files(folder: Path, count: int) -> list[Path]:
    """Synthetic radiographs as PNGs of 16 bits and 2,000 rows or so, some of them several times."""
    root = folder / "predicted"
    if not root.exists():
        phantom.make_archive(config.Phantom(patients=4, height=2000 if count > 9 else 128, seed=1), root)
    found = sorted(path for path in root.rglob("*.png") if "lung_masks" not in path.parts)
    return [found[number % len(found)] for number in range(count)]
