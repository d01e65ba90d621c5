"""How much there is to do: images, labels, parts and pairs behind each job, known before an archive is opened.

The first of these that is there is taken: results of an earlier run, the settings of a synthetic archive, published counts
(resources/archives.csv, resources/published/published_counts.csv). What none of them tells is said, not guessed.
"""

import re
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from thorax import archives, config, phantom
from thorax.archives.chexpert import VALIDATION_IMAGES
from thorax.errors import ThoraxError
from thorax.labels import label_sets, two_views
from thorax.labels.label_sets import LabelTable
from thorax.phantom.archive import MASKED_PATIENTS
from thorax.phantom.chexpert import VALIDATION_SHARE
from thorax.report import published_numbers
from thorax.resources import resource
from thorax.storage import csv_file, store
from thorax.storage.schemas import RADIOLOGISTS, SPLIT_NAMES
from thorax.workflow.jobs import Job

ARCHIVES = resource("archives.csv")
PAIRS = {"montgomery": 138, "shenzhen": 566}  # radiographs with lung masks (Candemir and Jaeger, 2014)
INGESTED, MASK = 512 * 512, 256 * 256  # bytes of an ingested image and of a mask
_ADVICE = "put its metadata into {}, or type `snakemake --cores 8 --until catalog` first."

_PATH = {
    "label_set": re.compile(r"results/(?:audit/)?labels/(.+?)(?:\.parquet|\.classes\.csv)"),
    "split": re.compile(r"results/(?:audit/)?splits/(.+?)(?:\.parquet|\.quality\.csv)"),
    "dataset": re.compile(r"results/(?:audit/)?(?:catalog|ingested|boxes)/([^/.]+)\..+"),
    "pairs": re.compile(r"results/pairs/(.+)\.parquet"),
    "images": re.compile(r"results/images/([^/]+)/([^/.]+)\.\d+\.npy"),
    "heatmaps": re.compile(r"results/figures/([^/]+)/heatmaps\.html"),
}


@dataclass(frozen=True)
class Archive:
    """Images of a data set: of all views, of those that are ingested, and the millions of pixels of one of these."""

    rows: float
    images: float
    megapixels: float | None  # None: not known
    source: str


@dataclass(frozen=True)
class Labels:
    """Images and classes of a label set."""

    images: float
    classes: int
    source: str


@dataclass(frozen=True)
class Experiment:
    """What the networks of an experiment read."""

    label_set: str
    split: str
    dataset: str
    image_set: str
    size: int  # pixels on a side
    views: int = 1  # images of each row


class Sizes:
    """What the jobs of one DAG work on.

    Args:
        jobs: all jobs of the DAG; their settings and paths are all that is read of the configuration.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        self.jobs = list(jobs)
        self._archives: dict[str, Archive] = {}
        self._labels: dict[str, Labels] = {}
        self._catalogs: dict[str, pd.DataFrame] = {}

    def work(self, job: Job) -> float | None:
        """What a job's time grows with, in the units of its rule (`UNITS`); None where it is not known.

        Raises:
            ThoraxError: nothing tells how many images a data set has.
        """
        return UNITS[job.rule][0](self, job)

    def rows(self, job: Job) -> float:
        """What the length of a job's tables grows with. Errors as in `work`."""
        return UNITS[job.rule][1](self, job) or 0.0

    def archive(self, dataset: str) -> Archive:
        """Errors as in `work`."""
        if dataset not in self._archives:
            self._archives[dataset] = self._find_archive(dataset)
        return self._archives[dataset]

    def label_set(self, name: str) -> Labels:
        """Errors as in `work`."""
        if name not in self._labels:
            self._labels[name] = self._find_labels(name)
        return self._labels[name]

    def parts(self, experiment: Experiment) -> dict[str, float]:
        """Images of train, val and test, before any is sampled. Errors as in `work`."""
        table = Path("results/splits", f"{experiment.split}.parquet")
        labelled = Path("results/labels", f"{experiment.label_set}.parquet")
        if table.is_file() and labelled.is_file():
            split = store.read_table(table, ["image_id", "split"])
            known = split["image_id"].isin(store.read_table(labelled, ["image_id"])["image_id"])
            counts = split.loc[known, "split"].value_counts()
            return {part: float(counts[part]) for part in SPLIT_NAMES if part in counts}
        images, settings = self.label_set(experiment.label_set).images, self.splits[experiment.split]
        shares = {"train": settings.train, "val": settings.val, "test": settings.test}
        dataset, test = self.datasets[experiment.dataset], None
        if settings.official and dataset.archive == "nih":
            lists = _published("datasets", "nih").set_index("counts")["published"]
            test = lists["test list"] / lists["images"]
        elif settings.test_on == RADIOLOGISTS and (dataset.phantom or len(archives.metadata_files(dataset)) > 1):
            test = VALIDATION_SHARE if dataset.phantom else VALIDATION_IMAGES / images
        if test is not None:
            scale = (1 - test) / (settings.train + settings.val)
            shares = {"train": settings.train * scale, "val": settings.val * scale, "test": test}
        return {part: share * images for part, share in shares.items()}

    @cached_property
    def datasets(self) -> dict[str, config.Dataset]:
        """By name; of a data set that is only audited the views are not known."""
        found = self._settings("audit_catalog", "dataset", config.Dataset)
        return {**found, **self._settings("ingest", "dataset", config.Dataset)}

    @cached_property
    def splits(self) -> dict[str, config.Split]:
        return self._settings("split", "split", config.Split)

    @cached_property
    def phantoms(self) -> dict[str, config.Phantom]:
        """By the folder that they are made in."""
        return self._settings("phantom", "phantom_root", config.Phantom)

    @cached_property
    def label_sets(self) -> dict[str, config.LabelSet]:
        found = self._settings("audit_labels", "label_set", config.LabelSet)
        return {**found, **self._settings("labels", "label_set", config.LabelSet)}

    @cached_property
    def second_views(self) -> dict[str, list[str]]:
        """By label set, the views of its studies' second images."""
        labelled = [job for job in self.jobs if job.rule in ("labels", "audit_labels")]
        return {job.wildcards["label_set"]: list(job.params["second_views"]) for job in labelled}

    @cached_property
    def trainings(self) -> dict[tuple[str, str], config.Training]:
        """By experiment and member."""
        return {
            (job.wildcards["experiment"], job.wildcards["member"]): _parsed(job, config.Training)
            for job in self.jobs
            if job.rule == "train"
        }

    @cached_property
    def experiments(self) -> dict[str, Experiment]:
        sizes = {name: block.size for name, block in self._settings("images", "image_set", config.ImageSet).items()}
        found: dict[str, Experiment] = {}
        for job in self.jobs:
            if job.rule in ("train", "baseline", "predict"):
                (label_set,), (split,) = _named(job.inputs, "label_set"), _named(job.inputs, "split")
                (image_set, dataset) = next(match.groups() for path in job.inputs if (match := _PATH["images"].fullmatch(path)))
                known = found.get(job.wildcards["experiment"])
                views = 1 + any(_PATH["pairs"].fullmatch(path) for path in job.inputs)
                views = max(views, known.views if known else 1)  # the baseline sees the first view only
                found[job.wildcards["experiment"]] = Experiment(label_set, split, dataset, image_set, sizes[image_set], views)
        return found

    def pairs(self, job: Job) -> float:
        """Radiographs with lung masks that a segmenter learns from; at most, where a split leaves some out.

        Raises:
            ThoraxError: nothing tells.
        """
        settings = _parsed(job, config.Segmenter)
        listed = Path(settings.pairs, "pairs.csv")
        if listed.is_file():
            return float(len(csv_file.read_columns(listed, ["image"])))
        if settings.download:
            return float(sum(PAIRS[name] for name in settings.download))
        for root, block in self.phantoms.items():
            if Path(root) in listed.parents:
                return float(min(MASKED_PATIENTS, block.patients))
        raise ThoraxError(f"{listed} is not there, so the cost of {job.name} is not known: put the pairs there first.")

    def cases(self, experiment: str) -> int:
        """Test images that an experiment explains."""
        return next(
            int(job.params["number"]) for job in self.jobs if job.rule == "cases" and job.wildcards["experiment"] == experiment
        )

    def _find_archive(self, name: str) -> Archive:
        settings = self.datasets[name]
        ingested, views = Path("results/ingested", f"{name}.parquet"), settings.views
        if ingested.is_file():
            table = store.read_table(ingested, ["ok", "rows", "columns"])
            good = table[table["ok"]]
            rows = len(self._catalog(name)) if self._has_catalog(name) else len(table)
            pixels = float((good["rows"].astype("int64") * good["columns"]).mean()) / 1e6
            return Archive(rows, float(len(good)), pixels, str(ingested))
        published = pd.read_csv(ARCHIVES)
        published = published[(published["archive"] == settings.archive) & (published["view"] != "(labels)")]
        chosen = published[published["view"].isin(views)]
        megapixels = None
        if settings.root in self.phantoms:
            shapes = phantom.shapes(self.phantoms[settings.root], settings.archive)
            shapes = shapes[shapes["view"].isin(views)]
            megapixels = float((shapes["rows"] * shapes["columns"]).mean()) / 1e6
        elif len(chosen) and chosen["megapixels"].notna().all():
            megapixels = float((chosen["megapixels"] * chosen["images"]).sum() / chosen["images"].sum())
        if self._has_catalog(name):
            catalog = self._catalog(name)
            source = "results/catalog" if settings.root not in self.phantoms else "the phantom's settings"
            return Archive(len(catalog), float(catalog["view"].isin(views).sum()), megapixels, source)
        if published.empty:
            raise ThoraxError(f"nothing tells how many images data set {name!r} has: {_ADVICE.format(settings.root)}")
        return Archive(float(published["images"].sum()), float(chosen["images"].sum()), megapixels, "published counts")

    def _find_labels(self, name: str) -> Labels:
        for folder in ("results/labels", "results/audit/labels"):
            table = Path(folder, f"{name}.parquet")
            if table.is_file():
                frame = store.read_table(table)
                return Labels(float(len(frame)), frame.shape[1] - 2, str(table))
        settings = self.label_sets[name]
        if self._has_catalog(settings.dataset):
            made = self._build(name)
            return Labels(float(len(made.frame)), len(made.classes), "its catalog")
        published = _published(name)
        classes = published.loc[published["counts"] == "classes", "published"]
        images = published.loc[(published["row"] == "(images)") & (published["counts"] == "all"), "published"]
        if len(images):
            single = published.loc[~published["row"].str.startswith("("), "row"].nunique()
            return Labels(float(images.iloc[0]), int(classes.iloc[0]) if len(classes) else single, "published counts")
        counted = pd.read_csv(ARCHIVES)
        counted = counted[counted["archive"] == self.datasets[settings.dataset].archive].set_index("view")["images"]
        if counted.empty:
            raise ThoraxError(
                f"nothing tells how many images label set {name!r} has: {_ADVICE.format(self.datasets[settings.dataset].root)}"
            )
        images = self.label_set(settings.inside).images if settings.inside else counted.reindex(settings.views).sum()
        if settings.second:  # each study has one image of either data set
            images = min(images, counted.reindex(self.second_views[name]).sum())
        return Labels(float(images), int(counted["(labels)"]), "at most, from published counts")

    def _build(self, name: str) -> LabelTable:
        settings = self.label_sets[name]
        archive, catalog = self.datasets[settings.dataset].archive, self._catalog(settings.dataset)
        if settings.inside:
            return label_sets.build_inside(settings, archive, catalog, self._build(settings.inside).frame, name=name)
        second = two_views.Partners(self.second_views[name]) if settings.second else None
        return label_sets.build(settings, archive, catalog, name=name, second=second)

    def _has_catalog(self, name: str) -> bool:
        settings = self.datasets[name]
        made = any(path.is_file() for path in _catalog_paths(name))
        return (
            made or settings.root in self.phantoms or (settings.archive == "own" and archives.metadata_file(settings).is_file())
        )

    def _catalog(self, name: str) -> pd.DataFrame:
        if name not in self._catalogs:
            self._catalogs[name] = self._read_catalog(name)
        return self._catalogs[name]

    def _read_catalog(self, name: str) -> pd.DataFrame:
        for path in _catalog_paths(name):
            if path.is_file():
                return store.read_table(path)
        settings = self.datasets[name]
        with tempfile.TemporaryDirectory() as folder:
            if settings.root in self.phantoms:
                phantom.write_tables(self.phantoms[settings.root], Path(folder), settings.archive)
                settings = settings.model_copy(update={"root": folder})
            out = Path(folder, "catalog.parquet")
            archives.make_catalog(settings, out, Path(folder, "boxes.parquet"))
            return store.read_table(out)

    def _settings(self, rule: str, wildcard: str, model: type[Any]) -> dict[str, Any]:
        return {job.wildcards[wildcard]: _parsed(job, model) for job in self.jobs if job.rule == rule}


def _catalog_paths(name: str) -> list[Path]:
    return [Path(folder, f"{name}.parquet") for folder in ("results/catalog", "results/audit/catalog")]


def _parsed(job: Job, model: type[Any]) -> Any:
    return config.parse_text(model, job.params["settings"], f"the settings of {job.name}")


def _published(table: str, row: str | None = None) -> pd.DataFrame:
    counts = published_numbers.published_counts()
    counts = counts[counts["table"] == table]
    return counts if row is None else counts[counts["row"] == row]


def _named(paths: Iterable[str], kind: str) -> list[str]:
    """The names of one kind in some paths, each once."""
    return list(dict.fromkeys(match[1] for path in paths if (match := _PATH[kind].fullmatch(path))))


def _nothing(sizes: Sizes, job: Job) -> float:
    return 0.0


def _dataset(sizes: Sizes, job: Job) -> str:
    """The data set of a job with just one."""
    return job.wildcards.get("dataset") or _named((*job.inputs, *job.outputs), "dataset")[0]


def _all_images(sizes: Sizes, job: Job) -> float:
    return sizes.archive(_dataset(sizes, job)).rows


def _images(sizes: Sizes, job: Job) -> float:
    if "dataset" in job.wildcards:
        return sizes.archive(job.wildcards["dataset"]).images
    return sum(sizes.archive(name).images for name in _named(job.inputs, "dataset"))


def _shard_images(sizes: Sizes, job: Job) -> float:
    name = job.wildcards["dataset"]
    return sizes.archive(name).images / sizes.datasets[name].shards


def _opened_megapixels(sizes: Sizes, job: Job) -> float | None:
    megapixels = sizes.archive(job.wildcards["dataset"]).megapixels
    return None if megapixels is None else megapixels * _shard_images(sizes, job)


def _drawn_megapixels(sizes: Sizes, job: Job) -> float:
    shapes = phantom.shapes(_parsed(job, config.Phantom), job.params["archive"])
    return float((shapes["rows"] * shapes["columns"]).sum()) / 1e6


def _segmented_megapixels(sizes: Sizes, job: Job) -> float:
    return _shard_images(sizes, job) * _parsed(job, config.Segmenter).size ** 2 / 1e6


def _learnt_megapixels(sizes: Sizes, job: Job) -> float:
    settings = _parsed(job, config.Segmenter)
    return sizes.pairs(job) * settings.epochs * settings.size**2 / 1e6


def _cells(sizes: Sizes, job: Job) -> float:
    """Images x classes of every label set that a job reads or makes."""
    names = _named((*job.inputs, *job.outputs), "label_set")
    if not names:
        names = [sizes.experiments[job.wildcards["experiment"]].label_set]
    return sum(sizes.label_set(name).images * sizes.label_set(name).classes for name in names)


def _classes(sizes: Sizes, job: Job) -> float:
    """Classes of every label set that a job reads."""
    return sum(sizes.label_set(name).classes for name in _named(job.inputs, "label_set"))


def _class_pairs(sizes: Sizes, job: Job) -> float:
    return _classes(sizes, job) ** 2


def _labelled_rows(sizes: Sizes, job: Job) -> float:
    return sum(sizes.label_set(name).images for name in _named(job.inputs, "label_set"))


def _measured_cells(sizes: Sizes, job: Job) -> float:
    return _cells(sizes, job) * len([*job.params.get("predictions", ()), *job.params["ensembles"]])


def _elsewhere_cells(sizes: Sizes, job: Job) -> float:
    """Test images of one experiment x classes of another, whose network or ensemble is asked about them."""
    classes = sizes.label_set(sizes.experiments[job.wildcards["experiment"]].label_set).classes
    return sizes.parts(sizes.experiments[job.wildcards["other"]])["test"] * classes


def _crossed_images(sizes: Sizes, job: Job) -> float:
    """Test images of all experiments x models; the classes that archives share are few and about as many everywhere."""
    names = [pair.partition("=")[0] for pair in job.params["archives"]]
    return sum(sizes.parts(sizes.experiments[name])["test"] for name in names) * len(names)


def _explained(sizes: Sizes, job: Job) -> float:
    """Test images that an experiment explains; their pictures are as many as the classes shown, not as the members."""
    return float(sizes.cases(job.wildcards["experiment"]))


def _shown(sizes: Sizes, job: Job) -> float:
    """Explained images of all experiments whose heatmaps a page gathers."""
    return float(sum(map(sizes.cases, _named(job.inputs, "heatmaps"))))


def _epochs(sizes: Sizes, job: Job) -> float:
    return float(_parsed(job, config.Training).epochs)


# For each rule, what its seconds grow with, and what the length of its tables and pictures does
UNITS: dict[str, tuple[Callable[[Sizes, Job], float | None], Callable[[Sizes, Job], float | None]]] = {
    "phantom": (_drawn_megapixels, _nothing),
    "manifest": (_all_images, _all_images),
    "pairs_manifest": (_nothing, _nothing),
    "catalog": (_all_images, _all_images),
    "audit_catalog": (_all_images, _all_images),
    "ingest": (_opened_megapixels, _shard_images),
    "merge_ingested": (_images, _images),
    "segmenter": (_learnt_megapixels, _nothing),
    "lungs": (_segmented_megapixels, _shard_images),
    "images": (_shard_images, _shard_images),
    "labels": (_cells, _cells),
    "audit_labels": (_cells, _cells),
    "pairs": (_all_images, _labelled_rows),
    "split": (_cells, _labelled_rows),
    "audit_split": (_cells, _labelled_rows),
    "audit_counts": (_nothing, _nothing),
    "audit_overview": (_nothing, _nothing),
    "audit_weights": (_nothing, _nothing),
    "audit_systems": (_nothing, _nothing),
    "compare_splitters": (_cells, _nothing),
    "train": (_nothing, _epochs),
    "cases": (_cells, _nothing),
    "predict": (_nothing, _cells),
    "predict_elsewhere": (_nothing, _elsewhere_cells),
    "baseline": (_cells, _cells),
    "ensemble": (_cells, _cells),
    "thresholds": (_cells, _nothing),
    "ensemble_elsewhere": (_elsewhere_cells, _elsewhere_cells),
    "metrics": (_measured_cells, _nothing),
    "cascade": (_cells, _cells),
    "cascade_thresholds": (_cells, _nothing),
    "cascade_metrics": (_measured_cells, _nothing),
    "cascade_tables": (_nothing, _nothing),
    "tables": (_nothing, _nothing),
    "threshold_tables": (_nothing, _nothing),
    "beside": (_nothing, _nothing),
    "statements": (_nothing, _nothing),
    "systems": (_nothing, _nothing),
    "ablation": (_nothing, _nothing),
    "side_by_side": (_nothing, _nothing),
    "cross_table": (_crossed_images, _nothing),
    "summary": (_cells, _nothing),
    "screening": (_images, _nothing),
    "classes_page": (_nothing, _nothing),
    "quality_page": (_nothing, _nothing),
    "figure_labels": (_classes, _nothing),
    "figure_cooccurrence": (_class_pairs, _class_pairs),
    "figure_cooccurrence_of_paper": (_nothing, _nothing),
    "figure_terms": (_nothing, _nothing),
    "figure_lungs": (_images, _nothing),
    "figure_training": (_nothing, _nothing),
    "figure_roc": (_classes, _classes),
    "figure_classes": (_explained, _explained),
    "figure_cross": (_nothing, _nothing),
    "figure_epochs": (_nothing, _nothing),
    "figure_shares": (_classes, _nothing),
    "figure_attention": (_explained, _explained),
    "heatmaps": (_explained, _explained),
    "overview": (_nothing, _nothing),
    "paper_page": (_nothing, _shown),
}
FETCHES = ("weights", "download_archive", "download_pairs")  # their time is that of the network


def has_known_length(job: Job, path: str) -> bool:
    """Whether a file's length follows from its form: arrays, and a member's network."""
    return path.endswith(".npy") or (job.rule == "train" and path.endswith(".keras"))


def array_length(sizes: Sizes, job: Job) -> float:
    """Bytes of a job's array of images or masks; 0 if it makes none. Errors as in `Sizes.work`."""
    if job.rule in ("ingest", "lungs"):
        return _shard_images(sizes, job) * (INGESTED if job.rule == "ingest" else MASK)
    if job.rule != "images":
        return 0.0
    settings = _parsed(job, config.ImageSet)
    return _shard_images(sizes, job) * settings.size**2 * (2 if settings.intensity == "stored" else 1)
