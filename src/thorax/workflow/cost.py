"""What a run costs before it is run: jobs, GPU-hours, storage, and the hours on some numbers of GPUs.

Seconds and bytes of a job are those of its rule in a file of measured rates (`python -m bench rates`), times what the job works
on (`sizes`). Training and prediction scale with the pixels of an image; a training runs all its epochs, which early stopping
makes fewer. Downloads and reading from a slow disk are not in it.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thorax.errors import ThoraxError
from thorax.resources import resource
from thorax.workflow import schedule
from thorax.workflow.jobs import Job, load
from thorax.workflow.schedule import Task
from thorax.workflow.sizes import FETCHES, UNITS, Sizes, array_length, has_known_length

RATES = resource("rates.json")
ARGUMENTS = ("--cores", "8")  # of snakemake, where none are given
GPUS = (1, 8, 64)
STATES = 3  # resume states at once, and as many best epochs: two are kept while the next is written
SLOTS = 3  # a state holds each weight and two of Adam's moments
PHASES = {
    "audit": (
        "audit_catalog", "audit_labels", "audit_split", "audit_counts", "audit_overview", "audit_weights", "audit_systems",
        "compare_splitters",
    ),
    "data": (
        "download_archive", "download_pairs", "phantom", "manifest", "pairs_manifest", "catalog", "ingest", "merge_ingested",
        "labels", "pairs", "split",
    ),
    "lungs, crops": ("segmenter", "lungs", "images"),
    "training": ("weights", "train"),
    "prediction": (
        "cases", "predict", "predict_elsewhere", "baseline", "ensemble", "ensemble_elsewhere", "thresholds", "metrics", "cascade",
        "cascade_thresholds", "cascade_metrics",
    ),
    "report": (
        "tables", "threshold_tables", "beside", "statements", "systems", "ablation", "side_by_side", "cascade_tables", "cross_table", "summary", "screening",
        "classes_page", "quality_page", "figure_labels", "figure_cooccurrence", "figure_cooccurrence_of_paper", "figure_terms",
        "figure_lungs", "figure_training", "figure_roc", "figure_classes", "figure_attention", "figure_cross", "figure_epochs", "figure_shares",
        "heatmaps", "overview", "paper_page",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Priced:
    """A job with what it takes."""

    job: Job
    seconds: float
    threads: int
    gpus: int
    megabytes: float  # of memory; 0 where it was not measured
    bytes: dict[str, float]  # of results, by the folder under results/
    state: float  # bytes of resume states, while it runs
    counted: bool  # False where the time is not known: `seconds` is 0


@dataclass
class Estimate:
    """The cost of a run.

    Attributes:
        jobs: all of them, each after those that it needs.
        rates: what was measured, and on what.
        sizes: one sentence on each data set and label set.
        notes: what is not in the figures.
    """

    jobs: list[Priced]
    rates: dict[str, Any]
    cores_per_gpu: int
    sizes: list[str]
    notes: list[str] = field(default_factory=list)


def show(snakemake: Sequence[str], rates: Path | None = None, cores_per_gpu: int = 8, json_: bool = False) -> str:
    """The cost of what `snakemake ARGUMENTS` makes, as text for people or as JSON.

    Raises:
        ThoraxError: the workflow cannot be read, the rates lack something, or the size of a data set is not known.
    """
    measured = read_rates(rates or RATES)
    found = estimate(load(snakemake or ARGUMENTS).jobs, measured, cores_per_gpu)
    summary = {"all": summarise(found.jobs, cores_per_gpu)}
    summary["left"] = summarise([priced for priced in found.jobs if priced.job.reason], cores_per_gpu)
    if json_:
        known = {"rates": {"machine": found.rates["machine"]}, "sizes": found.sizes, "not counted": found.notes}
        return json.dumps({**known, **summary}, indent=1)
    return text(found, summary)


def read_rates(path: Path) -> dict[str, Any]:
    """A file of `python -m bench rates`.

    Raises:
        ThoraxError: it is missing or not of this form.
    """
    try:
        rates = json.loads(path.read_text(encoding="utf-8"))
        parts = [rates[key] for key in ("machine", "rules", "networks")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ThoraxError(f"{path} is no file of rates: make one with `python -m bench rates --out {path}`.") from error
    if not all(isinstance(part, dict) for part in parts):
        raise ThoraxError(f"{path} is no file of rates: make one with `python -m bench rates --out {path}`.")
    return rates


def estimate(jobs: list[Job], rates: dict[str, Any], cores_per_gpu: int) -> Estimate:
    """Price every job.

    Args:
        jobs: all of a DAG, each after those that it needs.
        rates: as `read_rates` returns them.
        cores_per_gpu: a job gets no more threads.

    Raises:
        ThoraxError: as in `show`.
    """
    sizes = Sizes(jobs)
    priced = [_price(job, sizes, rates, cores_per_gpu) for job in jobs]
    return Estimate(priced, rates, cores_per_gpu, _known_sizes(sizes), _notes(priced, sizes))


def tasks(jobs: Sequence[Priced]) -> list[Task]:
    """The jobs as the schedule sees them; what is not among them counts as done."""
    maker = {path: priced.job.name for priced in jobs for path in priced.job.outputs}
    return [
        Task(
            priced.job.name,
            priced.seconds,
            priced.gpus,
            priced.threads,
            tuple(sorted({maker[path] for path in priced.job.inputs if path in maker})),
        )
        for priced in jobs
    ]


def summarise(jobs: Sequence[Priced], cores_per_gpu: int) -> dict[str, Any]:
    """The figures of some jobs: numbers, hours, bytes, and schedules for `GPUS`."""
    waiting = tasks(jobs)
    states = {priced.job.name: priced.state for priced in jobs if priced.state}
    path = schedule.critical_path(waiting)
    results: defaultdict[str, float] = defaultdict(float)
    for priced in jobs:
        for kind, size in priced.bytes.items():
            results[kind] += size
    schedules = {}
    for gpus in GPUS:
        begun = schedule.best(waiting, gpus, cores_per_gpu)
        schedules[str(gpus)] = {
            "hours": schedule.length(waiting, begun) / 3600,
            "work_bytes": schedule.most_at_once(waiting, begun, states),
        }
    largest = max(jobs, key=lambda priced: priced.megabytes, default=None)
    return {
        "jobs": len(jobs),
        "gpu_hours": sum(_gpu_hours(priced) for priced in jobs),
        "core_hours": sum(_core_hours(priced) for priced in jobs),
        "phases": {
            phase: {
                "jobs": len(mine),
                "gpu_hours": sum(map(_gpu_hours, mine)),
                "core_hours": sum(map(_core_hours, mine)),
            }
            for phase, rules in PHASES.items()
            if (mine := [priced for priced in jobs if priced.job.rule in rules])
        },
        "result_bytes": dict(sorted(results.items(), key=lambda item: -item[1])),
        "gpus": schedules,
        "critical_path": [{"job": task.name, "hours": task.seconds / 3600} for task in path],
        "critical_hours": sum(task.seconds for task in path) / 3600,
        "largest_job": {"job": largest.job.name, "megabytes": largest.megabytes} if largest else None,
    }


def _gpu_hours(priced: Priced) -> float:
    return priced.seconds * priced.gpus / 3600


def _core_hours(priced: Priced) -> float:
    """Of a job without a GPU; the cores that feed a GPU are there with it."""
    return 0.0 if priced.gpus else priced.seconds * priced.threads / 3600


def _price(job: Job, sizes: Sizes, rates: dict[str, Any], cores: int) -> Priced:
    threads, gpus = min(job.threads, cores), int(job.resources.get("gpu", 0))
    stated = float(job.resources.get("mem_mb", 0) or 0)
    if job.rule in FETCHES:
        return Priced(job, 0.0, threads, gpus, stated, {}, 0.0, False)
    if job.rule not in UNITS or job.rule not in rates["rules"]:
        raise ThoraxError(f"the rates have no rule {job.rule!r}: measure again with `python -m bench rates --out rates.json`.")
    rule = rates["rules"][job.rule]
    size: defaultdict[str, float] = defaultdict(float)
    tables = [path for path in job.outputs if path.startswith("results/") and not has_known_length(job, path)]
    if tables:
        size[_kind(tables[0])] += rule["bytes"][0] + rule["bytes"][1] * sizes.rows(job)
    arrays = [path for path in job.outputs if path.endswith(".npy")]
    if arrays:
        size[_kind(arrays[0])] += array_length(sizes, job)
    if job.rule in ("train", "predict", "predict_elsewhere"):
        return _price_network(job, sizes, rates, threads, gpus, stated, size)
    work = sizes.work(job)
    seconds = 0.0 if work is None else rule["seconds"][0] + rule["seconds"][1] * work / threads
    return Priced(job, seconds, threads, gpus, max(stated, rule.get("megabytes", 0.0)), dict(size), 0.0, work is not None)


def _price_network(
    job: Job, sizes: Sizes, rates: dict[str, Any], threads: int, gpus: int, stated: float, size: defaultdict[str, float]
) -> Priced:
    """A training or a prediction, at the rates of its architecture."""
    experiment = sizes.experiments[job.wildcards.get("other", job.wildcards["experiment"])]
    settings = sizes.trainings[job.wildcards["experiment"], job.wildcards["member"]]
    if settings.backbone not in rates["networks"]:
        raise ThoraxError(
            f"the rates have no {settings.backbone}: measure it with `python -m bench rates --networks {settings.backbone} "
            "--no-rules --out rates.json`."
        )
    network, parts = rates["networks"][settings.backbone], sizes.parts(experiment)
    pixels = (experiment.size / network["size"]) ** 2 * experiment.views  # each view has a backbone
    classes = sizes.label_set(experiment.label_set).classes
    if job.rule == "train":
        watched = parts["val"] + (parts["test"] if settings.test_every_epoch else 0.0)
        epoch = parts["train"] / network["train"] + watched / network["predict"]
        seconds = network["train_start"] + settings.epochs * epoch * pixels
        logits = 4 * (settings.dense_units + 1) * (classes - network["classes"])
        size["models"] += network["bytes"] * experiment.views + logits
        state = 4.0 * network["parameters"] * experiment.views * (SLOTS + 1) * STATES
        batch = pixels * settings.batch_size / network["batch"]  # what is stated holds for small images: mostly the graph
        memory = stated + max(network["megabytes"] - stated, 0.0) * batch
    elif job.rule == "predict_elsewhere":
        seconds = network["predict_start"] + parts["test"] / network["predict"] * pixels
        state, memory = 0.0, stated
    else:
        seconds = network["predict_start"] + (parts["val"] + parts["test"]) / network["predict"] * pixels
        size["heatmaps"] += (
            sizes.cases(job.wildcards["experiment"]) * classes * network["cells"] * pixels / experiment.views * 4
        )
        state, memory = 0.0, stated
    return Priced(job, seconds, threads, gpus, memory, dict(size), state, True)


def _kind(path: str) -> str:
    return path.split("/")[1] if path.count("/") > 1 else "other"


def _known_sizes(sizes: Sizes) -> list[str]:
    """One sentence on each data set and label set."""
    lines, opened = [], {job.wildcards["dataset"] for job in sizes.jobs if job.rule == "ingest"}
    for name in sizes.datasets:
        archive = sizes.archive(name)
        images = (
            f"{archive.images:,.0f} of {archive.rows:,.0f} images are opened"
            if name in opened
            else f"{archive.rows:,.0f} images"
        )
        lines.append(f"{name}: {images} ({archive.source})")
    for name in sizes.label_sets:
        labels = sizes.label_set(name)
        lines.append(f"{name}: {labels.images:,.0f} images, {labels.classes} classes ({labels.source})")
    return lines


def _notes(jobs: Iterable[Priced], sizes: Sizes) -> list[str]:
    """What the figures leave out."""
    missing = sorted({priced.job.rule for priced in jobs if not priced.counted})
    notes = []
    if fetched := [rule for rule in missing if rule in FETCHES]:
        notes.append(f"downloads ({', '.join(fetched)}), whose time and room depend on the network and the archive")
    if "ingest" in missing:
        notes.append("the time to open the originals, whose size is not known before they are opened")
    if any(settings.sampling == "over" for settings in sizes.trainings.values()):
        notes.append("images that over-sampling repeats")
    if any(settings.draw_down for settings in sizes.splits.values()):
        notes.append("that splits draw images without a class down, before they are made")
    if any(settings.inside for settings in sizes.label_sets.values()):
        notes.append("what trainings inside general classes save: they skip images without a known label")
    return notes


def text(found: Estimate, summary: dict[str, dict[str, Any]]) -> str:
    """The estimate for people."""
    whole, left = summary["all"], summary["left"]
    rates, machine = found.rates, found.rates["machine"]
    used = {rates["networks"][name]["device"] for name in rates["networks"]}
    device = ", ".join(sorted(used)) if used != {"CPU"} else "no GPU"
    lines = [f"rates: {machine['cpu']}, {machine['cores']} cores, {device}"]
    if "note" in rates:
        lines.append(rates["note"])
    if used == {"CPU"}:
        lines.append(
            f"A GPU here is a machine with these {machine['cores']} cores. On a GPU node type `python -m bench rates --out rates.json`, "
            "then `thorax cost --rates rates.json`."
        )
    started = left["jobs"] != whole["jobs"]
    parts = [whole, left] if started else [whole]
    lines += [
        *found.sizes,
        f"{whole['jobs']} jobs, {left['jobs']} of them left to do" if started else f"{whole['jobs']} jobs, none of them done",
        "",
        *_table(
            ["phase", "jobs", "GPU-hours", "core-hours", *(["left: jobs", "GPU-hours", "core-hours"] if started else [])],
            [
                *([phase, *_each(_work, (part["phases"].get(phase) for part in parts))] for phase in whole["phases"]),
                ["all", *_each(_work, parts)],
            ],
        ),
        "",
        *_table(
            [
                f"GPUs, {found.cores_per_gpu} cores each",
                "hours",
                "work/ at the peak",
                *(["left: hours", "work/ at the peak"] if started else []),
            ],
            [[gpus, *_each(_hours_and_work, (part["gpus"][gpus] for part in parts))] for gpus in whole["gpus"]],
        ),
        "",
        *_storage(whole),
        "",
        f"critical path, {_hours(whole['critical_hours'])} hours: no number of GPUs is faster",
        *(f"  {_hours(step['hours']):>8}  {step['job']}" for step in whole["critical_path"]),
        "",
        "Trainings run all their epochs here; early stopping makes it less. Their time grows with the pixels of an image.",
        *([f"Not counted: {'; '.join(found.notes)}."] if found.notes else []),
    ]
    return "\n".join(lines)


def _each(cells: Callable[[Any], list[str]], parts: Iterable[Any]) -> list[str]:
    return [cell for part in parts for cell in cells(part)]


def _storage(whole: dict[str, Any]) -> list[str]:
    """Bytes by folder, the small ones together, and the memory of the largest job."""
    total = sum(whole["result_bytes"].values())
    large = {kind: size for kind, size in whole["result_bytes"].items() if size >= total / 1000}
    rows = [[f"results/{kind}", _bytes(size)] for kind, size in large.items()]
    rows.append(["the rest of results/", _bytes(total - sum(large.values()))])
    peak = max((at["work_bytes"] for at in whole["gpus"].values()), default=0.0)
    rows += [["results/", _bytes(total)], [f"results/ and work/, {list(whole['gpus'])[-1]} GPUs", _bytes(total + peak)]]
    if whole["largest_job"]:
        rows.append([f"memory of {whole['largest_job']['job']}", _bytes(whole["largest_job"]["megabytes"] * 2**20)])
    return _table(["storage and memory", ""], rows)


def _work(part: dict[str, Any] | None) -> list[str]:
    return [str(part["jobs"]), _hours(part["gpu_hours"]), _hours(part["core_hours"])] if part else ["0", _hours(0), _hours(0)]


def _hours_and_work(at: dict[str, float]) -> list[str]:
    return [_hours(at["hours"]), _bytes(at["work_bytes"])]


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 1 else f"{hours:.2f}"


def _bytes(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Columns of equal width, the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    ]
