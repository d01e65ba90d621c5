"""Which way of making heatmaps is best? Scores of one network's maps against boxes, by method."""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
from snakemake.utils import update_config

from thorax import backend, verbs
from thorax.config import strict_yaml
from thorax.evaluation.metrics import GLOBAL
from thorax.explanation.localisation import CENTRE, MEAN_BOX, RANDOM, measure_heatmaps, summarise
from thorax.models.predict import predict
from thorax.report.cells import interval, printed
from thorax.storage import store
from thorax.workflow import preflight
from thorax.workflow.plan import Plan

DEFAULT = Path(__file__).parents[1] / "config.yaml"
METHODS = verbs.method.choices or ()
SCORES = {"pointing": "hottest point in a box", "area": "box in the hottest tenth", "iou": "IoU", "energy": "heat in the box"}
REPLICATES = 1000


def report(scored: pd.DataFrame, seconds: Mapping[str, float]) -> str:
    """A Markdown table of what `measure_heatmaps` found for each finding, and how long each method took.

    In bold are scores whose difference from those of the first method has a 95% interval without 0, on the same bootstrap samples.
    """
    reference = next(iter(seconds))
    table = summarise(scored, REPLICATES, 0, reference)
    if table.empty:
        raise SystemExit(
            "No finding of a test image has a box: put a table boxes.csv into the archive's folder, as docs/explanation/heatmaps.md says."
        )
    overall = table[table["class"] == GLOBAL].set_index(["map", "score"])
    counts = overall.iloc[0]
    lines = [
        f"{counts['findings']:,} findings of {counts['patients']:,} patients, means over {table['class'].nunique() - 1} classes, 95% "
        f"intervals by patient. Bold: better or worse than {reference} by a paired difference whose interval does not contain 0.\n",
        f"| map | {' | '.join(SCORES.values())} | seconds |",
        f"|---|{'--:|' * (len(SCORES) + 1)}",
    ]
    for name in (MEAN_BOX, CENTRE, RANDOM, *seconds):
        cells = []
        for score in SCORES:
            row = overall.loc[(name, score)]
            mark = "**" if row["difference_low"] > 0 or row["difference_high"] < 0 else ""
            cells.append(f"{mark}{printed(row['value'])}{mark} ({interval(row['low'], row['high'])})")
        took = f"{seconds[name]:.0f}" if name in seconds else ""
        lines.append(f"| {name} | {' | '.join(cells)} | {took} |")
    return "\n".join(lines)


def compare(
    model: Path, labels: Path, split: Path, ingested: Path, boxes: Path, images: Sequence[Path], lungs: Sequence[Path] | None = None,
    methods: Sequence[str] = METHODS, threads: int = 1,
) -> str:  # fmt: skip
    """The table of `report` for a network of one view: predict by each method, and compare the maps with the boxes."""
    backend.prepare(0, threads)
    backend.load_network(model)  # so that it is not in the time of the first method
    with tempfile.TemporaryDirectory(prefix="thorax-maps-") as temporary:
        folder = Path(temporary)
        files = [{name: folder / f"{name}.{suffix}" for name in methods} for suffix in ("parquet", "npy")]
        seconds = {}
        for method in methods:
            begun = time.perf_counter()
            out, heatmaps = (of_kind[method] for of_kind in files)
            predict(model, labels, split, ingested, images, out, heatmaps=heatmaps, threads=threads, method=method)
            seconds[method] = time.perf_counter() - begun
        measure_heatmaps(labels, split, boxes, *files, ingested, folder / "scores", folder / "findings", 0, 1, lungs)
        return report(store.read_table(folder / "findings"), seconds)


def read_plan(files: Sequence[Path]) -> Plan:
    """What the configuration of a run means; its files are read after config.yaml of this folder, or the shipped one."""
    settings: dict = {}
    for path in (Path("config.yaml") if Path("config.yaml").is_file() else DEFAULT, *files):
        update_config(settings, strict_yaml.read(path))
    return Plan(preflight.read(settings, "the configuration"))


def main(arguments: list[str]) -> None:
    description = f"{__doc__} Type it in the folder with the results of the run."
    parser = argparse.ArgumentParser(prog="python -m bench maps", description=description)
    parser.add_argument("--configfile", type=Path, nargs="*", default=[], help="files of the run, read after config.yaml")
    parser.add_argument("--experiment", required=True, help="experiment of networks of one view")
    parser.add_argument("--member", required=True, help="one of its networks, which is trained")
    usual = "the first is what others are compared with (default: all; double only for head: dense)"
    parser.add_argument("--methods", nargs="+", choices=METHODS, help=usual)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args(arguments)
    plan = read_plan(given.configfile)
    experiment = plan.config.experiments.get(given.experiment)
    if experiment is None or experiment.second_image_set or given.member not in experiment.trainings:
        parser.error(f"{given.experiment}/{given.member} is not a network of one view in the configuration: name one that is")
    dense = experiment.member(given.member).head == "dense"
    if "double" in (given.methods or ()) and not dense:
        parser.error(f"double needs a network with head: dense, which {given.member} is not: leave it out")
    methods = given.methods or [name for name in METHODS if dense or name != "double"]
    found = plan.boxed(SimpleNamespace(experiment=given.experiment))
    places = {name: found[name] for name in ("labels", "split", "ingested", "boxes", "lungs") if name in found}
    model, images = f"results/models/{given.experiment}/{given.member}.keras", plan.images(experiment.image_set)
    print(compare(model, images=images, methods=methods, threads=given.threads, **places))
