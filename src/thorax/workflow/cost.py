"""Estimate a run before it starts: jobs, GPU-hours, CPU-hours of ingest, storage, and hours on 1, 8 and 64 GPUs.

Training, prediction and ingest are timed, at rates measured by `python -m bench rates`. Other jobs count as 0 s; `NOT_COUNTED` names
them, and what of the storage is left out. Hours = max(critical path, work / GPUs).
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from thorax import archives, phantom
from thorax.archives.chexpert import VALIDATION_IMAGES
from thorax.config import Config, Dataset, Experiment, parse
from thorax.errors import ThoraxError
from thorax.phantom.chexpert import VALIDATION_SHARE
from thorax.report import published_numbers
from thorax.resources import resource
from thorax.storage import store
from thorax.storage.schemas import RADIOLOGISTS, SPLIT_NAMES, class_columns
from thorax.workflow import preflight
from thorax.workflow.jobs import Job, load

RATES = resource("rates.json")
ARGUMENTS = ("--cores", "8")  # of snakemake, if the user gives none
GPUS = (1, 8, 64)
PHASES = {"ingest": "ingest", "train": "training", "predict": "prediction", "predict_elsewhere": "prediction"}
OTHER = "other jobs"
INGESTED, MASK = 512 * 512, 256 * 256  # bytes of an ingested image and of a lung mask
STATES = 12  # lengths of a network in work/: three resume states of weights and two moments each, three best epochs
NOT_COUNTED = (
    "Not counted: the time of all other jobs (downloads, synthetic archives, lung masks, crops, labels, splits, checks of heatmaps, metrics, "
    "tables, figures) and the storage of downloads, tables, predictions, heatmaps and figures. Every training runs all its epochs on all images of its parts: early "
    "stopping, draw_down, sampling: under and label sets inside others make it shorter, sampling: over longer."
)


@dataclass(frozen=True)
class Count:
    """Images of a data set (those of its views) or of a label set, and where the numbers are from."""

    images: float
    source: str
    classes: int = 0  # of a label set
    megapixels: float | None = None  # mean of one image of a data set, before ingest; None if unknown


class Counts:
    """Count images and classes before any archive is opened.

    The first source that exists is used: tables of an earlier run under results/, the archive's metadata file, the settings of a
    synthetic archive, published counts (resources/archives.csv and resources/published/published_counts.csv). Every method
    raises ThoraxError if none exists.
    """

    def __init__(self, settings: Config) -> None:
        self.settings = settings
        self.catalog, self.dataset, self.label_set = cache(self._catalog), cache(self._dataset), cache(self._label_set)
        self.label_table = preflight.label_tables(settings, self.catalog)

    def parts(self, experiment: Experiment) -> dict[str, float]:
        """Images of train, val and test, before any sampling."""
        split = Path("results/splits", f"{experiment.split}.parquet")
        labels = Path("results/labels", f"{experiment.label_set}.parquet")
        if split.is_file() and labels.is_file():
            table = store.read_table(split, ["image_id", "split"])
            known = table["image_id"].isin(store.read_table(labels, ["image_id"])["image_id"])
            counts = table.loc[known, "split"].value_counts()
            return {part: float(counts.get(part, 0)) for part in SPLIT_NAMES}
        images, settings = self.label_set(experiment.label_set).images, self.settings.splits[experiment.split]
        dataset = self.settings.datasets[self.settings.label_sets[experiment.label_set].dataset]
        test = settings.test
        if settings.official and dataset.archive == "nih":
            lists = _published("datasets", "nih").set_index("counts")["published"]
            test = lists["test list"] / lists["images"]
        elif settings.test_on == RADIOLOGISTS and (dataset.phantom or len(archives.metadata_files(dataset)) > 1):
            test = VALIDATION_SHARE if dataset.phantom else VALIDATION_IMAGES / images
        rest = (1 - test) / (settings.train + settings.val) * images
        return {"train": settings.train * rest, "val": settings.val * rest, "test": test * images}

    def _dataset(self, name: str) -> Count:
        settings = self.settings.datasets[name]
        views = _views(settings, settings.views)
        ingested = Path("results/ingested", f"{name}.parquet")
        if ingested.is_file():
            table = store.read_table(ingested, ["ok", "rows", "columns"]).query("ok")
            return Count(len(table), str(ingested), megapixels=_megapixels(table))
        megapixels = None
        if settings.phantom:
            shapes = phantom.shapes(settings.phantom, settings.archive)
            megapixels = _megapixels(shapes[shapes["view"].isin(settings.views)])
        elif len(views) and views["megapixels"].notna().all():
            megapixels = (views["megapixels"] * views["images"]).sum() / views["images"].sum()
        catalog = self.catalog(name)
        if catalog is not None:
            return Count(catalog["view"].isin(settings.views).sum(), "metadata", megapixels=megapixels)
        if views.empty:
            raise _unknown("data set", name, settings)
        return Count(views["images"].sum(), "published counts", megapixels=megapixels)

    def _label_set(self, name: str) -> Count:
        path = Path("results/labels", f"{name}.parquet")
        if path.is_file():
            table = store.read_table(path)
            return Count(len(table), str(path), len(class_columns(table)))
        settings = self.settings.label_sets[name]
        dataset = self.settings.datasets[settings.dataset]
        if self.catalog(settings.dataset) is not None:
            table = self.label_table(name)
            return Count(len(table.frame), "metadata", len(table.classes))
        published = _published(name)
        images = published.loc[(published["row"] == "(images)") & (published["counts"] == "all"), "published"]
        if len(images):
            classes = published.loc[published["counts"] == "classes", "published"]
            named = published.loc[~published["row"].str.startswith("("), "row"].nunique()
            return Count(images.iloc[0], "published counts", int(classes.iloc[0]) if len(classes) else named)
        views = _views(dataset, settings.views)
        if views.empty:
            raise _unknown("label set", name, dataset)
        most = self.label_set(settings.inside).images if settings.inside else views["images"].sum()
        if settings.second:  # each study has one image of either data set
            most = min(most, self.dataset(settings.second).images)
        labels = _views(dataset, ["(labels)"])["images"].sum()
        return Count(most, "at most, from published counts", int(labels))

    def _catalog(self, name: str) -> pd.DataFrame | None:
        for folder in ("results/catalog", "results/audit/catalog"):
            path = Path(folder, f"{name}.parquet")
            if path.is_file():
                return store.read_table(path)
        settings = self.settings.datasets[name]
        if archives.metadata_file(settings).is_file():
            return archives.read_catalog(settings)
        if settings.phantom is None:
            return None
        with tempfile.TemporaryDirectory() as folder:
            phantom.write_tables(settings.phantom, Path(folder), settings.archive)
            return archives.read_catalog(settings.model_copy(update={"root": folder}))


@dataclass(frozen=True)
class Priced:
    """A job with what it takes."""

    job: Job
    seconds: float = 0.0  # from start to end; 0 if it is not timed
    threads: int = 1
    gpu: bool = False
    bytes: dict[str, float] = field(default_factory=dict)  # arrays and networks, by folder under results/
    state: float = 0.0  # bytes under work/ while it runs

    @property
    def gpu_hours(self) -> float:
        return self.seconds / 3600 if self.gpu else 0.0

    @property
    def core_hours(self) -> float:
        """0 with a GPU: its cores come with it."""
        return 0.0 if self.gpu else self.seconds * self.threads / 3600


def show(snakemake: Sequence[str], rates: Path | None = None, cores_per_gpu: int = 8, json_: bool = False) -> str:
    """Estimate what `snakemake ...` takes, as text or as JSON for programs. Without rates, those of this repository are used.

    A workflow that cannot be read, a rate that is missing and a data set of unknown size are errors for the user.
    """
    measured, dag = read_rates(rates or RATES), load(snakemake or ARGUMENTS)
    counts = Counts(parse(Config, dag.settings, " with ".join(dag.configfiles)))
    jobs = price(dag.jobs, counts, measured, cores_per_gpu)
    device = ", ".join(sorted({network["device"] for network in measured["networks"].values()}))
    summary = {
        "rates": {"machine": measured["machine"], "device": device, "what": measured.get("what")},
        "sizes": sizes(dag.jobs, counts),
        "all": summarise(jobs, cores_per_gpu),
        "left": summarise([priced for priced in jobs if priced.job.reason], cores_per_gpu),
        "not counted": NOT_COUNTED,
    }
    return json.dumps(summary, indent=1) if json_ else text(summary, cores_per_gpu)


def read_rates(path: Path) -> dict[str, Any]:
    """Read a file made by `python -m bench rates`."""
    try:
        rates = json.loads(path.read_text(encoding="utf-8"))
        float(rates["ingest"]), rates["machine"]["cpu"], rates["networks"].keys()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ThoraxError(f"{path} is not a file of rates: make one with `python -m bench rates --out {path}`.") from error
    return rates


def price(jobs: Sequence[Job], counts: Counts, rates: dict[str, Any], cores_per_gpu: int) -> list[Priced]:
    """Time and storage of each job."""
    return [_price(job, counts, rates, min(job.threads, cores_per_gpu)) for job in jobs]


def _price(job: Job, counts: Counts, rates: dict[str, Any], threads: int) -> Priced:
    if PHASES.get(job.rule) in ("training", "prediction"):
        return _price_network(job, counts, rates["networks"])
    if job.rule not in ("ingest", "lungs", "images"):
        return Priced(job)
    name = job.wildcards["dataset"]
    dataset = counts.dataset(name)
    images = dataset.images / counts.settings.datasets[name].shards
    if job.rule == "lungs":
        return Priced(job, bytes={"lungs": images * MASK})
    if job.rule == "images":
        made = counts.settings.image_sets[job.wildcards["image_set"]]
        return Priced(job, bytes={"images": images * made.size**2 * (2 if made.intensity == "stored" else 1)})
    seconds = images * (dataset.megapixels or 0.0) * rates["ingest"] / threads
    return Priced(job, seconds, threads, bytes={"ingested": images * INGESTED})


def _price_network(job: Job, counts: Counts, networks: dict[str, Any]) -> Priced:
    """A training or a prediction, at the rates of its backbone."""
    experiments = counts.settings.experiments
    experiment = experiments[job.wildcards["experiment"]]
    training = experiment.member(job.wildcards["member"])
    if training.backbone not in networks:
        command = f"python -m bench rates --networks {training.backbone} --out rates.json"
        raise ThoraxError(f"the rates have no {training.backbone}: measure it with `{command}`.")
    network, views = networks[training.backbone], 2 if experiment.second_image_set else 1
    side = counts.settings.image_sets[experiment.image_set].size
    pixels = (side / network["size"]) ** 2 * views  # each view has a backbone
    elsewhere = job.wildcards.get("other")  # the experiment whose test images are predicted
    parts = counts.parts(experiments[elsewhere] if elsewhere else experiment)
    if job.rule == "train":
        watched = parts["val"] + (parts["test"] if training.test_every_epoch else 0.0)
        epoch = (parts["train"] / network["train"] + watched / network["predict"]) * pixels
        length = network["bytes"] * views
        seconds = network["train_start"] + training.epochs * epoch
        return Priced(job, seconds, gpu=True, bytes={"models": length}, state=STATES * length)
    images = parts["test"] + (0.0 if elsewhere else parts["val"])
    return Priced(job, network["predict_start"] + images / network["predict"] * pixels, gpu=True)


def summarise(jobs: Sequence[Priced], cores_per_gpu: int) -> dict[str, Any]:
    """Sums over some jobs of a DAG, in its order; jobs that are not among them count as done.

    They are numbers of jobs, hours and bytes: in all, by phase, by folder of results/, and for each number of GPUs (`GPUS`).
    """
    phases = {}
    for phase in (*dict.fromkeys(PHASES.values()), OTHER, "all"):
        mine = [priced for priced in jobs if phase in ("all", PHASES.get(priced.job.rule, OTHER))]
        hours = [sum(getattr(priced, unit) for priced in mine) for unit in ("gpu_hours", "core_hours")]
        phases[phase] = {"jobs": len(mine), "gpu_hours": hours[0], "core_hours": hours[1]}
    path = critical_path(jobs)
    shortest = sum(priced.seconds for priced in path) / 3600
    work = phases["all"]["gpu_hours"] + phases["all"]["core_hours"] / cores_per_gpu
    folders = sorted({folder for priced in jobs for folder in priced.bytes})
    states = sorted((priced.state for priced in jobs), reverse=True)
    return {
        "phases": phases,
        "result_bytes": {folder: sum(priced.bytes.get(folder, 0.0) for priced in jobs) for folder in folders},
        "gpus": {str(n): {"hours": max(shortest, work / n), "work_bytes": sum(states[:n])} for n in GPUS},
        "critical_path": [{"job": priced.job.name, "hours": priced.seconds / 3600} for priced in path],
        "critical_hours": shortest,
    }


def critical_path(jobs: Sequence[Priced]) -> list[Priced]:
    """The timed jobs of the chain that takes longest: no number of machines is faster. Each job follows those that it needs."""
    maker = {path: priced.job.name for priced in jobs for path in priced.job.outputs}
    duration = lambda chain: sum(priced.seconds for priced in chain)
    chains: dict[str, list[Priced]] = {}
    for priced in jobs:
        before = sorted({maker[path] for path in priced.job.inputs if path in maker})
        longest = max((chains[name] for name in before), key=duration, default=[])
        chains[priced.job.name] = [*longest, priced] if priced.seconds else longest
    return max(chains.values(), key=duration, default=[])


def sizes(jobs: Sequence[Job], counts: Counts) -> list[str]:
    """One line on each data set and label set that the jobs make."""
    lines = []
    for name in dict.fromkeys(job.wildcards["dataset"] for job in jobs if job.rule == "ingest"):
        found = counts.dataset(name)
        unknown = "" if found.megapixels else "; the time to ingest them is unknown and not counted"
        lines.append(f"{name}: {found.images:,.0f} images ({found.source}{unknown})")
    for name in dict.fromkeys(job.wildcards["label_set"] for job in jobs if job.rule == "labels"):
        found = counts.label_set(name)
        lines.append(f"{name}: {found.images:,.0f} images, {found.classes} classes ({found.source})")
    return lines


def text(summary: dict[str, Any], cores_per_gpu: int) -> str:
    """The estimate as a page for people."""
    rates, whole, left = summary["rates"], summary["all"], summary["left"]
    lines = [f"Rates: {rates['machine']['cpu']}, {rates['machine']['cores']} cores, {rates['device']}."]
    if rates["device"] == "CPU":
        lines.append(
            "A GPU here is a machine like this, without a GPU. On a GPU node, type `python -m bench rates --out rates.json`, then "
            "`thorax cost --rates rates.json`."
        )
    lines += [*summary["sizes"], "", *_tables(whole, cores_per_gpu)]
    if left["phases"]["all"]["jobs"] != whole["phases"]["all"]["jobs"]:
        lines += ["", "left to do", *_tables(left, cores_per_gpu)]
    lines += ["", f"critical path, {whole['critical_hours']:,.2f} hours: no number of GPUs is faster"]
    lines += [_row(step["job"], f"{step['hours']:,.2f}", width=60) for step in whole["critical_path"]]
    return "\n".join([*lines, "", summary["not counted"]])


def _tables(found: dict[str, Any], cores_per_gpu: int) -> list[str]:
    results, lines = found["result_bytes"], [_row("", "jobs", "GPU-hours", "core-hours")]
    for phase, row in found["phases"].items():
        hours = ["not counted" if phase == OTHER else f"{row[unit]:,.2f}" for unit in ("gpu_hours", "core_hours")]
        lines.append(_row(phase, str(row["jobs"]), *hours))
    lines += ["", _row(f"GPUs ({cores_per_gpu} cores each)", "hours", "work/ at the peak")]
    lines += [_row(n, f"{row['hours']:,.2f}", _gigabytes(row["work_bytes"])) for n, row in found["gpus"].items()]
    lines += ["", *(_row(f"results/{folder}", _gigabytes(size)) for folder, size in results.items())]
    return [*lines, _row("all arrays and networks", _gigabytes(sum(results.values())))]


def _row(name: str, *cells: str, width: int = 24) -> str:
    return name.ljust(width) + "".join(cell.rjust(18) for cell in cells)


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:,.2f} GB"


def _megapixels(images: pd.DataFrame) -> float:
    """Mean over images with rows and columns."""
    return float((images["rows"].astype("int64") * images["columns"]).mean()) / 1e6


def _published(table: str, row: str | None = None) -> pd.DataFrame:
    counts = published_numbers.published_counts()
    return counts[(counts["table"] == table) & (counts["row"] == row if row else True)]


def _views(dataset: Dataset, views: Sequence[str]) -> pd.DataFrame:
    """Published counts of an archive's views; without rows for an archive that is not published."""
    published = pd.read_csv(resource("archives.csv"))
    return published[(published["archive"] == dataset.archive) & published["view"].isin(views)]


def _unknown(what: str, name: str, dataset: Dataset) -> ThoraxError:
    return ThoraxError(
        f"the number of images of {what} {name!r} is unknown: put its metadata into {dataset.root}, or type "
        "`snakemake --cores 8 --until catalog` first."
    )
