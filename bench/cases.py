"""The measurements. Each returns its figures, medians of several repeats, and what was measured."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir
from functools import partial
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pandas as pd
import pydicom
from pydicom import uid
from pydicom.encaps import encapsulate, get_frame
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)

from bench.measure import cpu_seconds, peak, processes, random_batch, timed
from bench.predicting import predict_ratio, start_ratio
from thorax import archives, cli, config, phantom
from thorax.evaluation import differences, metrics
from thorax.explanation import localisation
from thorax.images import ingest
from thorax.labels.stratify import StratifiedGroupSplit
from thorax.models.batches import LabelledImages, training_batches
from thorax.storage import schemas, store
from thorax.workflow import jobs

SIZE = 224  # pixels on a side, as in Liz et al. 2022
EPOCH = 59_753  # training images of Liz et al. 2022, specific labels
FIVE = ("DenseNet201", "EfficientNetB0", "InceptionV3", "InceptionResNetV2", "Xception")
CHECKOUT = Path(__file__).parents[1]
RUNS = {"demo": ["--profile", "demo"], "papers": ["--cores", "8"]}
ALONE = ["--snakefile", "alone.smk", "--workflow-profile", "none", "--cores", "1"]  # a rule without work
REPEATS = 5
MANIFESTS = ("manifest", "pairs_manifest")  # rules whose tables are read when a run is planned


def radiographs(folder: Path, count: int) -> list[np.ndarray]:
    """Synthetic radiographs, 16 bits, about 448 rows."""
    root = folder / "phantom"
    if not root.exists():
        phantom.make_archive(config.Phantom(patients=max(count // 3, 4), height=448, seed=1), root)
    paths = sorted(path for path in root.rglob("*.png") if "lung_masks" not in path.parts)
    return [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths[:count]]


def small(images: list[np.ndarray]) -> list[np.ndarray]:
    """8 bits and SIZE x SIZE, as training images are."""
    shrunk = ((image.max(), cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)) for image in images)
    return [(image / most * 255).astype(np.uint8) for most, image in shrunk]


def packed(folder: Path, images: list[np.ndarray], count: int) -> LabelledImages:
    """Memory-mapped images with two labels, `count` of them."""
    path = folder / f"packed-{count}.npy"
    store.write_array(np.stack([images[index % len(images)] for index in range(count)]), path)
    labels = np.random.default_rng(0).integers(0, 2, (count, 2)).astype(np.float32)
    rows = np.arange(count)
    return LabelledImages(store.PackedImages([path]), np.zeros(count, int), rows, rows.astype(str), labels, ["a", "b"])


def augment_ratio(folder: Path, quick: bool) -> dict:
    """Images/s of our input path over the paper's ImageDataGenerator path from PNG, both with 2 threads."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    images = small(radiographs(folder, 30 if quick else 120))
    pngs = folder / "png"
    pngs.mkdir(exist_ok=True)
    for index, image in enumerate(images):
        cv2.imwrite(str(pngs / f"{index}.png"), image)
    generator = ImageDataGenerator(
        rotation_range=45, width_shift_range=0.1, height_shift_range=0.1, shear_range=0.1, zoom_range=0.1, horizontal_flip=True,
        brightness_range=(0.7, 1.1), channel_shift_range=0.05 * 255, fill_mode="nearest",
    )  # fmt: skip
    listed = pd.DataFrame({"file": [f"{index % len(images)}.png" for index in range(32 if quick else 512)]})
    fixed = {"x_col": "file", "class_mode": None, "target_size": (SIZE, SIZE), "batch_size": 32}
    flows = {mode: generator.flow_from_dataframe(listed, str(pngs), color_mode=mode, **fixed) for mode in ("rgb", "grayscale")}
    part = packed(folder, images, 64 if quick else 8192)
    cv2.setNumThreads(1)
    theirs: dict[str, list[float]] = {mode: [] for mode in flows}
    ours = []
    with ThreadPoolExecutor(2) as pool:
        for repeat in range(1 if quick else 7):
            for mode, flow in flows.items():
                seconds = timed(lambda flow=flow: list(pool.map(flow.__getitem__, range(len(flow)))))
                theirs[mode].append(len(listed) / seconds)
            batches = training_batches(part, 32, 0, repeat, config.Augmentation(), workers=2)
            ours.append(len(part) // 32 * 32 / timed(lambda batches=batches: sum(1 for _ in batches)))
    rates = {mode: median(values) for mode, values in theirs.items()}
    return {
        "ratio": median(ours) / rates["rgb"], "ratio_to_grey": median(ours) / rates["grayscale"],
        "ours": median(ours), "theirs": rates["rgb"], "theirs_grey": rates["grayscale"], "repeats": len(ours),
    }  # fmt: skip


def feed_ratio(folder: Path, quick: bool) -> dict:
    """Images/s of real training over training on one resident batch; on a CPU one core computes and one feeds."""
    from thorax import backend
    from thorax.models import fit, losses, optimizer

    backend.prepare(0, 1, "auto")
    from keras import ops

    names = FIVE if backend.gpus() else ("one convolution",) if quick else ("one convolution", "cnn")
    part = packed(folder, small(radiographs(folder, 30 if quick else 120)), 32 if quick else 2048)
    batch, workers, repeats = 32, 8 if backend.gpus() else 1, 1 if quick else 7
    found = {}
    for name in names:
        settings = config.Training(backbone="cnn" if name == "one convolution" else name, weights="none", freeze=0.0)
        model = smallest_network() if name == "one convolution" else fit.build_model(settings, SIZE, 2).model
        model.compile(optimizer=optimizer.adam(1e-4), loss=losses.make_loss(settings, np.ones(2, np.float32)))
        pixels, labels = next(training_batches(part, batch, 0, 0, None))
        resident = (ops.convert_to_tensor(pixels), ops.convert_to_tensor(labels))
        real, constant = feed(model, part, batch, resident, workers, repeats)
        ratio = median([one / other for one, other in zip(real, constant, strict=True)])
        found[name] = {"ratio": ratio, "real": median(real), "resident": median(constant)}
    return {"device": backend.device(), "networks": found, "repeats": repeats, "batch": batch}


def smallest_network() -> Any:
    """A network that trains so fast that a slow feed would hold it up."""
    from keras import Input, Sequential, layers

    inputs = [Input((SIZE, SIZE, 1), dtype="uint8"), layers.Rescaling(1 / 255)]
    convolution = layers.Conv2D(16, 7, strides=4, activation="relu")
    return Sequential([*inputs, convolution, layers.GlobalAveragePooling2D(), layers.Dense(2)])


def feed(model: Any, part: LabelledImages, batch: int, resident: tuple, workers: int, repeats: int) -> tuple[list, list]:
    """Images/s of real training and of training on the resident batch, in turn."""
    model.train_on_batch(*resident)
    steps = len(part) // batch
    real, constant = [], []
    for repeat in range(repeats):
        constant.append(steps * batch / timed(lambda: [model.train_on_batch(*resident) for _ in range(steps)]))
        batches = training_batches(part, batch, 0, repeat, config.Augmentation(), workers=workers)
        real.append(steps * batch / timed(lambda batches=batches: [model.train_on_batch(*one) for one in batches]))
    return real, constant


def decode_ratio(folder: Path, quick: bool) -> dict:
    """Time of ingest over the bare decoding of the same 16-bit PNGs, both with 2 threads."""
    ingest_all, root = large_radiographs(folder, 4 if quick else 32)
    names = sorted(path.name for path in root.glob("*.png"))
    decoded = lambda name: cv2.imread(str(root / name), cv2.IMREAD_UNCHANGED).mean()
    return next_to_bare(ingest_all, decoded, names, 1 if quick else 7) | {"images": len(names)}


def next_to_bare(ours: Callable[[], None], bare: Callable[[str], Any], names: list[str], repeats: int) -> dict[str, float]:
    """Time of an ingest over that of bare reading of the same files, in turn, and images/s of both; each with 2 threads."""
    cv2.setNumThreads(1)
    with ThreadPoolExecutor(2) as pool:
        taken = [(timed(lambda: list(pool.map(bare, names))), timed(ours)) for _ in range(repeats)]
    alone, whole = (median(seconds) for seconds in zip(*taken, strict=True))
    return {"ratio": median([own / other for other, own in taken]), "ours": len(names) / whole, "bare": len(names) / alone}


def dicom_ratio(folder: Path, quick: bool) -> dict:
    """Time of ingest over reading the same DICOM files and decoding their pixels, both with 2 threads, for each compression."""
    _, root = large_radiographs(folder, 4 if quick else 32)
    images = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted(root.glob("*.png"))]
    found = {}
    for name, (syntax, encode, decode) in COMPRESSIONS.items():
        into = folder / syntax
        into.mkdir(exist_ok=True)
        names = [f"{index}.dcm" for index in range(len(images))]
        for path, image in zip(names, images, strict=True):
            write_dicom(into / path, image, syntax, encode)
        read = lambda path, into=into, decode=decode: decode(pydicom.dcmread(into / path).PixelData).mean()
        found[name] = next_to_bare(ingest_of(into, names, folder), read, names, 1 if quick else 3)
    return {"compressions": found, "images": len(images)}


def first_frame(decode: Callable[[bytes], np.ndarray]) -> Callable[[bytes], np.ndarray]:
    """A decoder of encapsulated pixels from one of their only frame."""
    return lambda data: decode(get_frame(data, 0, number_of_frames=1))


# Transfer syntax, and lossless encoder and decoder of the pixels
COMPRESSIONS: dict[str, tuple[str, Callable, Callable]] = {
    "JPEG 2000": (
        uid.JPEG2000Lossless,
        partial(imagecodecs.jpeg2k_encode, codecformat="J2K"),
        first_frame(imagecodecs.jpeg2k_decode),
    ),
    "JPEG lossless": (uid.JPEGLosslessSV1, imagecodecs.ljpeg_encode, first_frame(imagecodecs.jpeg8_decode)),
    "JPEG-LS": (uid.JPEGLSLossless, imagecodecs.jpegls_encode, first_frame(imagecodecs.jpegls_decode)),
    "none": (uid.ExplicitVRLittleEndian, np.ndarray.tobytes, partial(np.frombuffer, dtype="<u2")),
}


def write_dicom(path: Path, image: np.ndarray, syntax: str, encode: Callable[[np.ndarray], bytes]) -> None:
    """A DICOM radiograph of 12 bits with a window."""
    made = pydicom.Dataset()
    made.file_meta = pydicom.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.SOPClassUID, made.SOPInstanceUID, made.Modality = uid.DigitalXRayImageStorageForPresentation, "1.2.3", "DX"
    made.Rows, made.Columns = image.shape
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 12, 11
    made.WindowCenter, made.WindowWidth = 2048, 4096
    data = encode(image)
    made.PixelData = encapsulate([data]) if uid.UID(syntax).is_encapsulated else data
    made.save_as(path, enforce_file_format=True)


def resume_overhead(folder: Path, quick: bool) -> dict:
    """What saving the resume state of the largest model costs, as a share of an epoch at the rate measured here."""
    from thorax import backend
    from thorax.models import fit, losses, optimizer
    from thorax.models.resume import Progress, States

    backend.prepare(0, 1 if quick else 2, "auto")  # quick cases share a process, and so the first one's threads

    name = "cnn" if quick else "InceptionResNetV2"
    settings = config.Training(backbone=name, weights="none")
    model = fit.build_model(settings, SIZE, 35).model
    model.compile(optimizer=optimizer.adam(1e-4), loss=losses.make_loss(settings, np.ones(35, np.float32)))
    batch = 32 if backend.gpus() else 8
    pixels, labels = random_batch(batch, SIZE, 35)
    model.train_on_batch(pixels, labels)
    step = median([timed(lambda: model.train_on_batch(pixels, labels)) for _ in range(1 if quick else 9)])
    states = States(folder / "states")
    saves = []
    for epoch in range(1, 2 if quick else 6):
        start = time.perf_counter()
        states.save_best(epoch, (weight.numpy() for weight in model.weights))
        states.save(Progress(epoch=epoch, best_epoch=epoch), fit.variables(model))
        saves.append(time.perf_counter() - start)
    size = max(path.stat().st_size for path in states.folder.iterdir())
    epoch_seconds = EPOCH / batch * step
    return {
        "share": median(saves) / epoch_seconds, "save": median(saves), "epoch": epoch_seconds, "rate": batch / step,
        "megabytes": size / 1e6, "network": name, "device": backend.device(),
    }  # fmt: skip


def size(folder: Path, quick: bool) -> dict:
    """Seconds and peak memory of ingest, split and metrics against their size, each in a process of its own."""
    images = radiographs(folder, 30 if quick else 300)
    originals = folder / "originals"
    originals.mkdir(exist_ok=True)
    for index, image in enumerate(images):
        cv2.imwrite(str(originals / f"{index}.png"), image)
    rows = (100, 200) if quick else (12_500, 50_000, 200_000)
    files = (10, 20) if quick else (1_000, 4_000, 16_000)
    stages = (("ingest", one_ingest, files), ("split", one_split, rows), ("metrics", one_metrics, rows))
    found = {}
    with processes(None if quick else 1) as fresh:
        for stage, one, counts in stages:
            taken = [{"count": count, **fresh.submit(one, folder, count).result()} for count in counts]
            logs = np.log([[row["count"], row["seconds"]] for row in taken])
            found[stage] = {"rows": taken, "exponent": float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])}
    return found


def measured(action: Callable[[], Any]) -> dict:
    """What an action takes in a process that has done nothing else."""
    return {"seconds": timed(action), "megabytes": peak()}


def one_ingest(folder: Path, count: int) -> dict:
    """Ingest hard-linked copies of the originals."""
    originals = sorted((folder / "originals").iterdir())
    root = folder / f"copies-{count}"
    root.mkdir(exist_ok=True)
    names = [f"{index:06d}.png" for index in range(count)]
    for index, name in enumerate(names):
        os.link(originals[index % len(originals)], root / name)
    taken = measured(ingest_of(root, names, folder))
    (folder / "packed.npy").unlink()
    return taken


def one_split(folder: Path, count: int) -> dict:
    labels, patients = synthetic(count)
    return measured(lambda: StratifiedGroupSplit(random_state=1).assign(labels, patients))


def one_metrics(folder: Path, count: int) -> dict:
    labels, patients = synthetic(count)
    scores = np.random.default_rng(1).random(labels.shape)
    columns = [f"class {column}" for column in range(labels.shape[1])]
    frames = (pd.DataFrame(labels, columns=columns), pd.DataFrame(scores, columns=columns))
    return measured(lambda: metrics.evaluate(*frames, patients, model="m", split="test", replicates=100))


def synthetic(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of 14 classes from common to rare, and patients with one to several images."""
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(count), rng.geometric(0.5, count))[:count]
    rates = np.geomspace(0.4, 0.005, 14)
    ill = rng.random((count, 14)) < rates
    return (ill[patients] & (rng.random((count, 14)) < 0.8)).astype(np.int8), patients


def statistics_ratio(folder: Path, quick: bool) -> dict:
    """CPU seconds of all metrics and differences at the size of Liz et al. 2022, and of scikit-learn's metrics in a loop."""
    images, people, classes, models, replicates = (300, 200, 3, 2, 20) if quick else (17_082, 13_500, 35, 8, 1000)
    rng = np.random.default_rng(0)
    patients = np.concatenate([np.arange(people), rng.integers(people, size=images - people)])
    truth = (rng.random((images, classes)) < np.r_[0.4, np.geomspace(0.16, 0.012, classes - 1)]).astype(np.int8)
    labels = pd.DataFrame(truth).add_prefix("class ")
    scores = [labels * 0.3 + 0.7 * rng.random((images, classes)) for _ in range(models)]

    def ours() -> None:
        how: dict[str, Any] = {"split": "test", "replicates": replicates}
        of_models = {str(k): metrics.measure(labels, one, patients, model=str(k), **how) for k, one in enumerate(scores)}
        for name, of_model in of_models.items():
            metrics.tabulate(of_model, name, "test")
        differences.compare(of_models, combinations(of_models, 2), "test")

    taken = {"seconds": cpu_seconds(ours), "megabytes": peak()}
    values = scores[0].to_numpy()
    one_sample = cpu_seconds(lambda: [of_scikit_learn(truth[:, k], values[:, k]) for k in range(classes)])
    scaled = one_sample * models * (replicates + 1)
    return taken | {"scikit_learn": scaled, "ratio": scaled / taken["seconds"], "models": models, "replicates": replicates}


def of_scikit_learn(truth: np.ndarray, scores: np.ndarray) -> None:
    """The metrics of one class and one bootstrap sample that `metrics.measure` computes as well."""
    positive = scores > 0.5
    for of_scores in (roc_auc_score, average_precision_score, log_loss):
        of_scores(truth, scores)
    for of_decisions in (balanced_accuracy_score, accuracy_score):
        of_decisions(truth, positive)
    for side in (0, 1):
        precision_recall_fscore_support(truth, positive, labels=[side], zero_division=0)


def heatmap_ratio(folder: Path, quick: bool) -> dict:
    """Time of predicting with the maps of 35 classes over that of predicting alone, of the five networks, in turn."""
    from thorax import backend

    backend.prepare(0, 1 if quick else 2, "auto")  # quick cases share a process, and so the first one's threads
    images, classes, repeats = (4, 3, 1) if quick else (32, 35, 5)
    taken = np.array([_with_and_without_maps(name, images, classes, repeats) for name in (("cnn",) if quick else FIVE)])
    ours, alone = 1000 / images * taken.sum(axis=0)  # of 1,000 images
    return {"ratio": ours / alone, "ours": ours, "alone": alone, "megabytes": peak(), "device": backend.device()}


def _with_and_without_maps(name: str, images: int, classes: int, repeats: int) -> tuple[float, float]:
    """Seconds of one network for the logits and maps of some images, and for the logits alone."""
    from thorax.models import network, predict

    model = network.build_model(config.Training(backbone=name, weights="none"), SIZE, classes).model
    pixels, _ = random_batch(images, SIZE, classes)
    runs = (predict.explainer(model), model.predict_on_batch)
    for run in runs:  # the first call compiles
        run(pixels)
    taken = [[timed(partial(run, pixels)) for run in runs] for _ in range(repeats)]
    ours, alone = (median(seconds) for seconds in zip(*taken, strict=True))
    return ours, alone


def heatmap_scores(folder: Path, quick: bool) -> dict:
    """Seconds of scoring the maps of five networks, and of those that need no network, against boxes, with intervals."""
    images, classes, cells = (20, 3, 3) if quick else (1000, 35, 7)
    rng = np.random.default_rng(0)
    pairs = [
        (f"{image:05}", f"p{image // 2}", "test", f"class {column}", column)
        for image in range(images)
        for column in range(classes)
    ]
    corners = rng.random((len(pairs), 2)) * 0.7
    boxes = [np.array([[*corner, 0.2, 0.3]]) for corner in corners]
    table = pd.DataFrame(pairs, columns=["image_id", "patient_id", "split", "label", "column"])
    maps = {str(k): rng.random((images, classes, cells, cells)).astype(np.float32) for k in range(5)}
    lungs = np.ones((1, localisation.GRID, localisation.GRID), np.float32)
    ids = table["image_id"].unique()
    sources = localisation.Sources(
        networks=maps, row_of={image: row for row, image in enumerate(ids)}, seen={image: np.array([0, 0, 1, 1.0]) for image in ids},
        lungs=lambda wanted: np.repeat(lungs, len(wanted), axis=0), mean_boxes=np.repeat(lungs, classes, axis=0), seed=0,
    )  # fmt: skip

    def ours() -> None:
        scored = localisation.measure(localisation.Targets(table, boxes), sources)
        localisation.summarise(scored, 10 if quick else 1000, 0)

    return measured(ours) | {"findings": len(table), "images": images, "classes": classes}


def large_radiographs(folder: Path, count: int) -> tuple[Callable[[], None], Path]:
    """The ingest of noisy 16-bit PNGs of 2,000 x 2,000, as PadChest's are, and their folder."""
    root = folder / "large"
    root.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    images = radiographs(folder, 2 * count)[:count]
    names = [f"{index}.png" for index in range(len(images))]
    for name, image in zip(names, images, strict=True):
        large = cv2.resize(image, (2000, 2000), interpolation=cv2.INTER_CUBIC).astype(np.int32)
        noisy = np.clip(large + rng.normal(0, 8, large.shape).astype(np.int32), 0, 4095)
        cv2.imwrite(str(root / name), noisy.astype(np.uint16))
    return ingest_of(root, names, folder), root


def ingest_of(root: Path, names: list[str], folder: Path) -> Callable[[], None]:
    """Make a folder of images a data set with a catalog; return its ingest by two threads."""
    pd.DataFrame({"path": names, "patient_id": names, "labels": "x"}).to_csv(root / "images.csv", index=False)
    block = config.Dataset(archive="own", root=str(root), views=["frontal"], shards=1)
    catalog = folder / "catalog.parquet"
    archives.make_catalog(block, catalog, folder / "boxes.parquet")
    return lambda: ingest.ingest_shard(block, catalog, 0, folder / "packed.npy", folder / "packed.parquet", 2)


def planning(folder: Path, quick: bool) -> dict:
    """Jobs of each run, seconds of a dry run when it is finished, and those of Snakemake on one rule without work."""
    runs, repeats = ({"demo": ALONE}, 1) if quick else (RUNS, REPEATS)
    return {name: _planning(folder / name, arguments, repeats) for name, arguments in runs.items()}


def _planning(folder: Path, arguments: list[str], repeats: int) -> dict[str, float]:
    """Make up a finished run: every output is an empty file, and --touch puts it on record."""
    folder.mkdir()
    for path in CHECKOUT.iterdir():
        if path.name in ("Snakefile", "config.yaml", "workflow", "demo", "profiles", "notebooks", "src", "envs"):
            (folder / path.name).symlink_to(path)
    (folder / "alone.smk").write_text("rule all:\n    output:\n        'alone',\n    shell:\n        'touch {output}'\n")
    (folder / "alone").touch()
    with chdir(folder):
        dag = jobs.load(arguments)
        for job in dag.jobs:
            for output in map(Path, job.outputs):
                output.parent.mkdir(parents=True, exist_ok=True)
                if job.rule in MANIFESTS and not Path(job.params["root"]).is_dir():  # archives that nobody makes up
                    store.write_table(schemas.MANIFEST.empty_table().to_pandas(), output, schemas.MANIFEST)
                elif job.rule in MANIFESTS:
                    where = ["--root", job.params["root"], "--memory", job.params["memory"], "--out", str(output)]
                    cli.main(["manifest", *where, *shlex.split(job.params["settings"])])
                elif output.suffix or output.is_file():
                    output.touch()
                else:  # a folder
                    output.mkdir(exist_ok=True)
        _snakemake(*arguments, "--touch", "--forceall", "--no-hooks")
        planned = [_snakemake(*arguments, "--dry-run", says="Nothing to be done") for _ in range(repeats)]
        own = planned if arguments == ALONE else [_snakemake(*ALONE, "--dry-run") for _ in range(repeats)]
    return {"jobs": len(dag.jobs), "seconds": median(planned), "alone": median(own)}


def _snakemake(*arguments: str, says: str = "") -> float:
    """Seconds of a whole process, which must succeed and say this."""
    begun = time.monotonic()
    command = [sys.executable, "-m", "snakemake", *arguments]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=environment)
    if done.returncode or says not in done.stdout:
        raise RuntimeError(f"{' '.join(command)} failed, or did not say {says!r}:\n{done.stdout[-2000:]}")
    return time.monotonic() - begun


CASES = {
    case.__name__: case
    for case in (
        augment_ratio,
        feed_ratio,
        decode_ratio,
        dicom_ratio,
        resume_overhead,
        size,
        planning,
        statistics_ratio,
        heatmap_ratio,
        heatmap_scores,
        predict_ratio,
        start_ratio,
    )
}
