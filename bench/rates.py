"""What a job costs on this machine, for `thorax cost`: python -m bench rates --out rates.json.

The whole workflow runs on two synthetic archives of different size with the tiny network, one after the other. From the two
runs each rule gets seconds and bytes for its start and for each unit of what it works on (see thorax.dag.sizes). Each real
architecture is timed in a process of its own, at the size and batch of Liz et al. 2022.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bench.cases import own_data, radiographs, synthetic

ROOT = Path(__file__).parents[1]
DEFAULT = ROOT / "src" / "thorax" / "data" / "rates.json"
NETWORKS = (
    "DenseNet121", "DenseNet201", "EfficientNetB0", "InceptionV3", "InceptionResNetV2", "MobileNet", "ResNet50", "VGG19", "Xception",
    "cnn",
)  # fmt: skip
SIZE, BATCH, CLASSES = 224, 32, 35
CORES = 2  # of the two runs; more would not make them faster
RUNS = {"small": {"patients": 60, "cases": 3, "epochs": 2}, "large": {"patients": 400, "cases": 12, "epochs": 12}}
NOISE = 0.5  # growth of a job's seconds between the runs that other work on the machine may make
VALIDATED, VALIDATED_AND_TESTED = 0.15, 0.3  # shares of a label set's images that thresholds and metrics see
FOLDERS = {  # where a rule's benchmark file lies, if not in a folder of its name
    "pairs_manifest": "manifest/pairs", "audit_catalog": "audit/catalog", "audit_labels": "audit/labels",
    "audit_split": "audit/split", "audit_counts": "audit/counts", "audit_overview": "audit/overview",
    "audit_weights": "audit/pos_weights", "audit_systems": "audit/systems", "compare_splitters": "audit/splitters",
}  # fmt: skip


def configuration(patients: int, cases: int, epochs: int) -> dict[str, Any]:
    """A study with every rule of the workflow in it, on a synthetic archive."""
    members = {"first": {"seed": 1}, "second": {"seed": 2}, "third": {"seed": 3, "head": "attention"}}
    counts = {"dataset": "synthetic", "min_images": 12, "min_patients": 6}
    made = {"archive": "padchest", "root": "data/synthetic", "phantom": {"patients": patients, "height": 256, "seed": 3}}
    training = {"backbone": "cnn", "weights": "none", "freeze": 0.0, "epochs": 2}
    step = {"split": "all", "image_set": "32-lungs", "training": training, "members": {"first": {}}, "cases": cases}
    paper = {"paper": "liz2022", "variant": "specific", "models": {"first": "CTP"}}
    studies = {**step, "title": "two views", "label_set": "studies", "split": "studies", "image_set": "32", "beside": paper}
    return {
        "datasets": {
            "synthetic": {**made, "shards": 2},
            "lateral": {**made, "views": ["L"], "shards": 2},
            "other": {
                "archive": "nih", "root": "data/other", "shards": 1, "phantom": {"patients": patients, "height": 256, "seed": 4},
            },
        },
        "label_sets": {
            **{name: {**counts, "grouping": name, "without_class": "keep_labelled"} for name in ("specific", "general")},
            "inside": {**counts, "inside": "general"},
            "other": {"dataset": "other", "min_images": 6},
            "studies": {"dataset": "synthetic", "second": "lateral", "min_images": 8, "min_patients": 4},
        },
        "splits": {
            "all": {"label_sets": ["specific", "general"]}, "other": {"label_sets": ["other"]}, "studies": {"label_sets": ["studies"]},
        },
        "audit": {"compare": {"specific": "all"}},
        "segmenters": {"lungs": {"pairs": "data/synthetic/lung_masks", "epochs": epochs}},
        "image_sets": {
            "32-lungs": {"dataset": "synthetic", "size": 32, "crop": "lungs", "segmenter": "lungs"},
            "32-lungs-other": {"dataset": "other", "size": 32, "crop": "lungs", "segmenter": "lungs"},
            "32": {"dataset": "synthetic", "size": 32},
            "32-lateral": {"dataset": "lateral", "size": 32},
        },
        "experiments": {
            "rates": {
                "title": "what a job costs", "label_set": "specific", "split": "all", "image_set": "32-lungs",
                "training": {**training, "test_every_epoch": [0.5]},
                "members": members, "cases": cases, "cooccurrence": ["normal", "cardiomegaly"],
                "paper": "liz2022",
                "ensembles": {name: {"rule": name, "members": list(members)} for name in ("ptc_mode", "ptc_lw", "ctp")},
            },
            **{name: {**step, "title": name, "label_set": name} for name in ("general", "inside")},
            "elsewhere": {**step, "title": "elsewhere", "label_set": "other", "split": "other", "image_set": "32-lungs-other"},
            "alone": studies,
            "both": {**studies, "second_image_set": "32-lateral"},
        },
        "ablations": {"views": {"title": "views", "experiments": ["alone", "both"]}},
        "comparisons": {"views": {"title": "views", "experiments": {"alone": ["first"], "both": ["first"]}}},
        "cascades": {
            "steps": {"title": "a cascade", "general": "general", "inside": "inside", "flat": "rates", "models": ["first"]}
        },
        "cross": {"both": {"title": "what a job costs", "experiments": {"rates": "ctp", "elsewhere": "first"}}},
        "run": ["rates", "general", "inside", "elsewhere", "alone", "both"],
    }  # fmt: skip


def run_workflow(name: str, folder: Path) -> list[dict[str, Any]]:
    """Run the workflow in `folder`; return each job's rule, units, threads, seconds and bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration(**RUNS[name])))
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "",  # the rates of rules are those of a CPU; networks are timed on the device
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
    }
    arguments = ["--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml", "--cores", str(CORES)]
    subprocess.run(["snakemake", *arguments, "--quiet", "all"], cwd=folder, env=environment, check=True)
    command = [sys.executable, "-m", "bench.rates", "jobs", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def finished_jobs(arguments: list[str]) -> list[dict[str, Any]]:
    """The jobs of the finished run in the current folder, with what they worked on and what they took."""
    from thorax.workflow import sizes
    from thorax.workflow.jobs import load

    jobs = load(arguments).jobs
    known = sizes.Sizes(jobs)
    found = []
    for job in jobs:
        if job.rule not in sizes.UNITS:
            continue
        header, values = (line.split("\t") for line in benchmark_file(job).read_text().splitlines())
        measured = dict(zip(header, values, strict=True))
        found.append(
            {
                "rule": job.rule, "threads": job.threads, "seconds": float(measured["s"]), "megabytes": float(measured["max_rss"]), "work": known.work(job), "rows": known.rows(job),
                "bytes": sum(Path(path).stat().st_size for path in job.outputs if not sizes.has_known_length(job, path)),
            }
        )  # fmt: skip
    return found


def benchmark_file(job: Any) -> Path:
    """Where Snakemake has noted what a job took."""
    names = list(job.wildcards.values())
    folder = Path("benchmarks", FOLDERS.get(job.rule, job.rule))
    candidates = [folder.with_suffix(".tsv"), *folder.rglob("*.tsv")]
    words = [word for name in names for word in Path(name).parts]
    fitting = {}
    for path in filter(Path.is_file, candidates):
        inside = path.relative_to(folder).with_suffix("").parts if path != candidates[0] else ()
        # a shard stands behind a dot
        found = [word for part in inside for word in (part.rsplit(".", 1) if "shard" in job.wildcards else [part])]
        if sorted(found) == sorted(words):
            fitting[path] = found
    if not fitting:
        sys.exit(f"bench: {job.name} has no benchmark file under {folder}.")
    return min(fitting, key=lambda path: fitting[path] != words)  # another order may be another job's


def fit(small: list[dict[str, Any]], large: list[dict[str, Any]], scale: dict[str, float]) -> dict[str, Any]:
    """Of each rule, seconds and bytes for its start and for each unit (seconds: and thread), and its largest memory.

    Args:
        small, large: the jobs of the two runs.
        scale: seconds for each unit of rules that were measured by themselves.
    """
    fitted = {}
    for rule in sorted({job["rule"] for job in small}):
        seconds = line(*(mean_point(jobs, rule, "work", "seconds") for jobs in (small, large)), noise=NOISE)
        if rule in scale:
            seconds = [min(mean_point(jobs, rule, "work", "seconds")[1] for jobs in (small, large)), scale[rule]]
        fitted[rule] = {
            "seconds": seconds,
            "bytes": line(*(mean_point(jobs, rule, "rows", "bytes") for jobs in (small, large))),
            "megabytes": max(job["megabytes"] for job in (*small, *large) if job["rule"] == rule),
        }
    return fitted


def mean_point(jobs: list[dict[str, Any]], rule: str, across: str, along: str) -> tuple[float, float]:
    """Means of what the jobs of a rule worked on (in one thread, for seconds) and of what they took."""
    mine = [job for job in jobs if job["rule"] == rule]
    share = [job["threads"] if along == "seconds" else 1 for job in mine]
    return (
        float(np.mean([job[across] / threads for job, threads in zip(mine, share, strict=True)])),
        float(np.mean([job[along] for job in mine])),
    )


def line(first: tuple[float, float], second: tuple[float, float], noise: float = 0.0) -> list[float]:
    """Start and slope through two points, neither below 0.

    Growth by less than the share `noise` cannot be told from chance: then the mean is the start, and there is no slope.
    """
    (x1, y1), (x2, y2) = first, second
    if x2 <= x1 or y2 <= y1 * (1 + noise):
        return [(y1 + y2) / 2, 0.0]
    slope = (y2 - y1) / (x2 - x1)
    start = y1 - slope * x1
    return [start, slope] if start >= 0 else [0.0, y2 / x2]


def time_at_scale(quick: bool) -> dict[str, float]:
    """Seconds for each unit of rules whose work two small runs hardly show, at the sizes of the papers.

    They are seconds of a core, so that other work on the machine does not count.
    """
    import pandas as pd

    from thorax import archives, config, phantom
    from thorax.evaluation import decisions, ensembles, metrics
    from thorax.labels import label_sets
    from thorax.labels.stratify import StratifiedGroupSplit
    from thorax.models import baseline
    from thorax.storage import store

    count = 2_000 if quick else 20_000
    matrix, patients = synthetic(count)
    matrix = matrix[:, :10]  # the others may be too rare for both values among few images
    classes = [f"class {column}" for column in range(matrix.shape[1])]
    truth = pd.DataFrame(matrix, columns=classes)
    scores = pd.DataFrame(np.random.default_rng(1).random(matrix.shape), columns=classes)
    found = {"metrics": seconds(lambda: metrics.evaluate(truth, scores, patients, model="m", split="test"))}
    found["cross_table"] = found["metrics"] / count  # ten classes are about as many as archives share
    found["metrics"] *= VALIDATED_AND_TESTED / matrix.size
    found["split"] = cpu_seconds(lambda: StratifiedGroupSplit(random_state=1).assign(matrix, patients)) / matrix.size
    train = np.arange(count) % 10 < 7
    validated, voted = scores[: int(VALIDATED * count)], scores[: int(VALIDATED_AND_TESTED * count)].to_numpy()
    found["thresholds"] = cpu_seconds(lambda: decisions.thresholds(truth[: len(validated)], validated, ["f1"])) / matrix.size
    found["ensemble"] = cpu_seconds(lambda: ensembles.combine("ptc_mode", [voted, voted, voted])) / matrix.size
    with tempfile.TemporaryDirectory() as folder:
        found["ingest"] = open_large(Path(folder), 4 if quick else 16)
        array = Path(folder, "images.npy")
        store.write_array(np.random.default_rng(2).integers(0, 255, (500, SIZE, SIZE)).astype(np.uint8), array)
        packed, rows = store.PackedImages([array]), np.arange(count) % 500
        took = cpu_seconds(lambda: baseline.fit_predict(baseline.tiny_images(packed, 0 * rows, rows), matrix, train))
        found["baseline"] = took / matrix.size
        phantom.write_tables(config.Phantom(patients=100), Path(folder))
        block = config.Dataset(archive="padchest", root=folder)
        archives.make_catalog(block, Path(folder, "c.parquet"), Path(folder, "b.parquet"))
        one = pd.read_parquet(Path(folder, "c.parquet"))
    copies = [one.assign(image_id=one["image_id"] + str(number)) for number in range(count // 200)]
    catalog = pd.concat(copies, ignore_index=True)
    made: list[Any] = []
    took = cpu_seconds(lambda: made.append(label_sets.build(config.LabelSet(dataset="d"), "padchest", catalog)))
    found["labels"] = took / (len(made[0].frame) * len(made[0].classes))
    same = {
        "audit_labels": "labels", "audit_split": "split", "cases": "labels", "summary": "labels", "cascade": "ensemble",
        "cascade_thresholds": "thresholds", "cascade_metrics": "metrics",
    }  # fmt: skip
    return {**found, **{rule: found[other] for rule, other in same.items()}}


def open_large(folder: Path, count: int) -> float:
    """Seconds of a core to ingest a million pixels of 16-bit PNGs of 2,000 x 2,000, as PadChest's are."""
    import cv2

    from thorax import archives
    from thorax.images import ingest

    root = folder / "large"
    root.mkdir()
    names = [f"{index}.png" for index in range(count)]
    rng = np.random.default_rng(0)
    for name, image in zip(names, radiographs(folder, 2 * count)[:count], strict=True):
        large = cv2.resize(image, (2000, 2000), interpolation=cv2.INTER_CUBIC).astype(np.int32)
        noisy = np.clip(large + rng.normal(0, 8, large.shape).astype(np.int32), 0, 4095)
        cv2.imwrite(str(root / name), noisy.astype(np.uint16))
    block, catalog = own_data(root, names, folder), folder / "large.parquet"
    archives.make_catalog(block, catalog, folder / "boxes.parquet")
    read = lambda: ingest.ingest_shard(block, catalog, 0, folder / "large.npy", folder / "l.parquet", CORES)
    return cpu_seconds(read) / (4 * count)


def time_network(name: str, quick: bool) -> dict[str, Any]:
    """Start, images/s and size of one architecture, on the device of this process."""
    began = time.perf_counter()
    from thorax import backend, config
    from thorax.models import fit, losses

    cores = len(os.sched_getaffinity(0))
    backend.prepare(0, cores, "auto")
    from keras import optimizers

    size = 96 if quick else SIZE
    settings = config.Training(backbone=name, weights="none")
    model = fit.build_model(settings, size, CLASSES).model
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (BATCH, size, size, 1)).astype(np.uint8)
    labels = rng.integers(0, 2, (BATCH, CLASSES)).astype(np.float32)
    np.asarray(model.predict_on_batch(pixels))
    predict_start = time.perf_counter() - began
    model.compile(optimizer=optimizers.Adam(1e-4), loss=losses.make_loss(settings, np.ones(CLASSES, np.float32)))
    float(model.train_on_batch(pixels, labels))
    train_start = time.perf_counter() - began
    steps = 1 if quick else 50 if backend.gpus() else 3
    train = [seconds(lambda: float(model.train_on_batch(pixels, labels))) for _ in range(steps)]
    predict = [seconds(lambda: np.asarray(model.predict_on_batch(pixels))) for _ in range(steps)]
    with tempfile.TemporaryDirectory() as folder:
        model.optimizer = None
        path = Path(folder, "network.keras")
        model.save(path)
        length = path.stat().st_size
    height, width = model.get_layer("features").output.shape[1:3]
    return {
        "device": backend.device(), "precision": "mixed" if backend.gpus() else "float32", "cores": cores, "size": size,
        "batch": BATCH, "train": BATCH / float(np.median(train)), "predict": BATCH / float(np.median(predict)),
        "train_start": train_start, "predict_start": predict_start, "parameters": int(model.count_params()), "classes": CLASSES,
        "bytes": length, "cells": int(height * width), "megabytes": peak(), "steps": steps,
    }  # fmt: skip


def seconds(action: Any) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def cpu_seconds(action: Any) -> float:
    """Of all threads of this process."""
    start = time.process_time()
    action()
    return time.process_time() - start


def peak() -> float:
    """The largest memory that this process has held, MB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(arguments: list[str]) -> None:
    from bench.__main__ import machine

    parser = argparse.ArgumentParser(prog="python -m bench rates", description="Measure what `thorax cost` reckons with.")
    parser.add_argument("--out", type=Path, default=DEFAULT, help="file to write; what it has of the same machine is kept")
    parser.add_argument("--networks", nargs="*", default=NETWORKS, metavar="NAME", help=f"default: {' '.join(NETWORKS)}")
    parser.add_argument("--no-rules", action="store_true", help="time networks only")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works: the figures mean nothing")
    given = parser.parse_args(arguments)
    rates = json.loads(given.out.read_text()) if given.out.exists() else {}
    if rates.get("machine") != machine():
        rates = {"machine": machine(), "rules": {}, "networks": {}}
    for name in given.networks:
        print(f"bench: {name}", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "bench.rates", "network", name, *(["--quick"] if given.quick else [])]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT, env=environment)
        if done.returncode:
            sys.exit(f"bench: {name} failed with status {done.returncode}; its words stand above.")
        rates["networks"][name] = json.loads(done.stdout.splitlines()[-1])
        write(rates, given.out)
    if not given.no_rules:
        print("bench: tables and images at the papers' sizes", file=sys.stderr, flush=True)
        scale = time_at_scale(given.quick)
        with tempfile.TemporaryDirectory(prefix="thorax-rates-") as folder:
            runs = []
            for name in RUNS:
                print(f"bench: the workflow on {RUNS[name]['patients']} synthetic patients", file=sys.stderr, flush=True)
                runs.append(run_workflow(name, Path(folder, name)))
        rates["rules"] = fit(*runs, scale)
        rates.pop("note", None)  # it was about the rules that stood there before
        write(rates, given.out)


def write(rates: dict[str, Any], path: Path) -> None:
    rounded = json.loads(json.dumps(rates), parse_float=lambda text: float(f"{float(text):.4g}"))
    path.write_text(json.dumps(rounded, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    print("\n" + json.dumps(finished_jobs(rest) if what == "jobs" else time_network(rest[0], "--quick" in rest)))
