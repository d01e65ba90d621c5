"""The verbs of the command line: one table, from which the parser, the help, the completion and the code digests are made.

A row names the function that a verb calls. Each option has the name of the parameter that receives its value, so that no code is
needed between the two. This module imports nothing but the standard library: `thorax --help` stays fast.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

ARCHIVES = ("padchest", "nih", "chexpert", "own")
PROVENANCE = ("full", "sample", "phantom")
F1_METRICS = ("f1", "f1_positive")

# What a value is. path: with ~ expanded; rule: a threshold rule; settings: YAML; mapping: a value for each name, as in
# NAME=PATH; groups: a list of values for each name; pairs: all names with their values, in order
Kind = Literal["text", "path", "whole", "rule", "flag", "settings", "mapping", "groups", "pairs"]


@dataclass(frozen=True)
class Option:
    """An option of a verb.

    `name` is the parameter that receives the value. The flag has hyphens for its underscores; an underscore at its end, which
    keeps the name apart from a builtin, is dropped.
    """

    name: str
    help: str
    kind: Kind = "text"
    required: bool = True  # a default makes it optional
    many: bool = False  # it takes several values
    default: Any = None
    metavar: str | None = None  # what the usage calls the value; of mappings, groups and pairs also their form
    choices: tuple[str, ...] | None = None
    lowest: int = 0  # smallest whole number
    model: str = ""  # block in `thorax.config` that parses the settings
    positional: bool = False  # it comes without a flag

    @property
    def is_required(self) -> bool:
        """Whether the verb needs it."""
        return self.required and self.default is None

    @property
    def flag(self) -> str:
        """What the user types."""
        return "--" + self.name.rstrip("_").replace("_", "-")


@dataclass(frozen=True)
class Verb:
    """A verb: the function that it calls (`module:function`), what it does, and its options."""

    name: str
    function: str
    help: str
    options: tuple[Option, ...]


def _verb(name: str, function: str, text: str, *options: Option) -> Verb:
    return Verb(name, f"thorax.{function}", text, options)


_path = partial(Option, kind="path", metavar="PATH")
_paths = partial(_path, many=True)
_mapping = partial(Option, kind="mapping", many=True, metavar="NAME=PATH")
_groups = partial(Option, kind="groups", many=True, default=())
_whole = partial(Option, kind="whole", metavar="N")
_rule = partial(Option, kind="rule", metavar="RULE")
_flag = partial(Option, kind="flag", default=False)
_text = Option
_texts = partial(Option, many=True)
_settings = partial(Option, "settings", "this step's block of the configuration", kind="settings", metavar="YAML")

catalog = _path("catalog", "catalog of the archive")
ingested = _path("ingested", "table of ingested images")
labels = _path("labels", "label set")
split = _path("split", "split")
images = _paths("images", "packed training images, all shards in order")
array = _path("array", "the shard's packed images")
archive = _text("archive", "archive that the labels are from", choices=ARCHIVES)
provenance = _text("provenance", "what the experiment was run on", choices=PROVENANCE)
title = _text("title", "heading")
threads = _whole("threads", "CPU threads", lowest=1, default=1)
seed = _whole("seed", "random seed: the same seed gives the same result", lowest=0, default=0)
shard = _whole("shard", "number of the shard, from 0", lowest=0)
method = _text(
    "method", "how heatmaps are made", choices=("gradcam", "layercam", "shifts", "double", "noise"), default="gradcam"
)
replicates = _whole("replicates", "replicates of the bootstrap over patients", lowest=1, default=1000)
out = _path("out", "file to write")
folder = _path("out", "folder to write to")
snakemake = _texts("snakemake", "arguments of snakemake, after --", metavar="ARGUMENT", positional=True, default=())

# Networks that see two images of each study
second_view = (
    _path("pairs", "table that names the second image of each image; only for networks of two views", required=False),
    _path("second_ingested", "table of the second images", required=False),
    _paths("second_images", "packed training images of the second view, all shards in order", required=False),
)
second_views = _texts("second_views", "views of the second images", metavar="VIEW")
second_ingested = _path("second_ingested", "table of the images of these views")

# Networks whose heatmaps are shown or measured
explained_networks = (
    _mapping("predictions", "predictions of each network"),
    _mapping("heatmaps", "heatmaps of each network, in the order of its predictions"),
)
boxes_by = _text("boxes_by", "who drew the boxes", choices=("experts", "phantom", "archive"))

# Models and the thresholds that turn their scores into decisions
members = _texts("members", "the single networks", metavar="MEMBER")
learned = _texts("learned", "ensembles that learn from validation images", metavar="ENSEMBLE", default=())
columns = _texts(
    "columns", "columns in order; the others are compared with those of the first experiment", metavar="EXPERIMENT/MODEL"
)
ensembles = _texts("ensembles", "the ensembles", metavar="ENSEMBLE", default=())
scores = (_path("scores", "predictions or ensemble"), _flag("logits", "the scores are logits, as a network's predictions are"))
rule = _rule("rule", "threshold rule of F1 and Hamming loss", default="fixed-0.5")
rules = _rule(
    "rules",
    "threshold rules: fixed-0.5 and the like, f1, f1_positive, youden, specificity-0.9, sensitivity-0.9 and the like",
    many=True,
    default=("fixed-0.5",),
)
exclusive = _text(
    "exclusive",
    "class that excludes all others, such as No Finding; every rule is evaluated with and without it",
    metavar="CLASS",
    required=False,
)
# All models, and those that take no part in the choice of the best one on the validation images
models = (
    _mapping("predictions", "predictions of each network", default=()),
    _mapping("ensembles", "scores of each ensemble", default=()),
    learned,
)
f1_metric = _text(
    "f1_metric",
    "f1: mean F1 of the positive and the negative class; f1_positive: F1 of the positive class",
    choices=F1_METRICS,
    default="f1",
)
metrics = _path("metrics", "metrics table")
apart = _path("differences", "differences between the models")
metrics_by_name = _mapping("metrics", "metrics table of each experiment")
labels_by_name = _mapping("labels", "label set of each experiment")
splits_by_name = _mapping("splits", "split of each experiment")
tested = (
    _text("archive", "archive that the test images are from; without it no difference is printed", required=False),
    _path("split", "split, to describe the test images", required=False),
    _flag("official_lists", "the split follows the archive's own lists"),
)
archives = _mapping("archives", "archive of each experiment", metavar="NAME=ARCHIVE")

GROUPS: dict[str, tuple[Verb, ...]] = {
    "by hand": (
        _verb("download", "archives.download.registry:fetch_or_describe",
            "download, check and unpack public archives and weights, and explain how to get the others",
            _texts("group", "nih, montgomery, shenzhen, padchest, chexpert, or weights/ and a backbone, as in weights/Xception", metavar="GROUP", positional=True),
            _path("root", "folder for the files (default: under data/, or resources/weights/)", required=False),
            _flag("list_", "list the files with their size, checksum, terms and page, without downloading"),
            _path("out", "CSV of files, sizes and checksums to write", required=False)),
        _verb("init", "study.init:make_study",
            "make a study from a folder of radiographs as a hospital has them, and a table",
            _path("source", "folder with DICOM, PNG, JPEG or TIFF files and, perhaps, a table", metavar="SOURCE", positional=True),
            _path("out", "folder to write to", default=Path("study")),
            _path("table", "CSV file or Excel workbook that says what was found (default: the one in SOURCE)", required=False),
            _text("sheet", "sheet of the workbook (default: the only one with cells)", required=False),
            _text("image_column", "column that names the image (default: the one whose cells do)", metavar="COLUMN", required=False),
            _text("patient_column", "column that identifies the patient (default: recognised, else the DICOM headers)", metavar="COLUMN", required=False),
            _text("view_column", "column with the view (default: recognised, and the DICOM headers)", metavar="COLUMN", required=False),
            _texts("findings", "columns with findings (default: all that look like it)", metavar="COLUMN", default=()),
            _flag("keep_ids", "keep the identifiers of patients instead of keyed hashes"),
            _path("key", "file with the key of the hashes, made where it is missing (default: thorax-key.txt in SOURCE)", required=False),
            _whole("threads", "threads that read images (default: one for each core)", lowest=1, required=False)),
        _verb("cost", "workflow.cost:show",
            "estimate a run before it starts: jobs, GPU-hours, storage, and hours on 1, 8 and 64 GPUs",
            _path("rates", "rates measured by `python -m bench rates` (default: those of a machine without a GPU)", required=False),
            _whole("cores_per_gpu", "CPU cores for each GPU", lowest=1, default=8), _flag("json_", "print JSON"),
            replace(snakemake, help="arguments of snakemake, after -- (default: --cores 8)")),
        _verb("bundle", "workflow.bundling:make",
            "put the model of an experiment into one file to use and to share, after running any missing steps",
            _text("experiment", "experiment of the configuration", metavar="EXPERIMENT", positional=True),
            replace(snakemake, help="arguments of snakemake, after -- (default: --cores all), as in: thorax bundle NAME -- --profile demo")),
        _verb("predict", "bundles.predict:predict",
            "predict new radiographs with a bundle: probabilities, decisions, and flags of unusual images",
            _path("bundle", "file that `thorax bundle` wrote", metavar="BUNDLE", positional=True),
            _paths("images", "PNG, JPEG, TIFF or DICOM files, folders with such files, or CSV files with a column of paths", metavar="IMAGE", positional=True),
            _path("out", "table to write, .csv or .parquet, with a row for each image and class; next to it NAME.log (default: a short table in the terminal)", required=False),
            _flag("wide", "write one row for each image to --out, with the probability of each class, as `thorax evaluate` reads it"),
            _text("column", "column of paths in CSV files (default: path, file, image or the like)", metavar="COLUMN", required=False),
            _path("overlays", "folder for a picture of each image, with the heatmap of its most probable finding", required=False),
            _path("page", "page to write, .html: the first 100 images with their heatmaps, to look through", required=False),
            _path("secondary_captures", "folder for DICOM Secondary Captures, which a PACS can file: a picture of each DICOM image with its heatmap. They name the patient", required=False),
            _path("structured_reports", "folder for DICOM Structured Reports, which a PACS can file: the numbers of each DICOM image. They name the patient", required=False),
            replace(threads, help="CPU threads (default: all cores)", default=None, required=False)),
        _verb("evaluate", "report.external:evaluate_tables",
            "measure any model's predictions, with intervals: CSV or Parquet, a row for each image and a column for each class",
            _path("predictions", "probabilities; the first column identifies the image", positional=True),
            _path("labels", "labels of the same images: 1, 0, yes or no; -1 or blank where not known"),
            _path("second", "predictions of another model, to compare with", required=False),
            _path("about", "table with the columns of --patients and --groups (default: the labels)", required=False),
            _text("id_", "column that identifies the image (default: the first of each table)", metavar="COLUMN", required=False),
            _text("prefix", "what the classes' columns of predictions begin with, as in prob_", default=""),
            _mapping("rename", "classes whose column has another name", metavar="COLUMN=CLASS", default=()),
            _text("patients", "column of patients (default: patient_id, if there)", metavar="COLUMN", required=False),
            _texts("groups", "columns whose values are groups to compare, such as sex, view or age", metavar="COLUMN", default=()),
            _path("training", "labels of the training images, to summarise head, medium and tail classes", required=False),
            _paths("readers", "what several readers say of the same images: a table for each, or one with a column of readers", default=()),
            _text("reader", "column that names the reader, if a table has several", metavar="COLUMN", required=False),
            _flag("common", "measure the images and classes that all tables have; without it, none may lack one"),
            _flag("logits", "the predictions are logits, as those of networks under results/"),
            _flag("second_logits", "the predictions of --second are logits"),
            replace(rules, help=f"{rules.help}; all but fixed ones need a column 'split' with val and test"),
            exclusive, replicates, seed, replace(folder, required=False, help="folder for the full tables, as CSV")),
        _verb("share", "report.share:share", "pack the results site into one file to send",
            _path("index", "entry page of the site", default=Path("results/index.html")),
            _path("out", "file to write: NAME.zip with all files, or NAME.html, one page with its pictures inside")),
        _verb("show", "cli:show", "print tables in the terminal", _paths("table", "Markdown or text files")),
        _verb("dvc", "workflow.dvc:write", "write dvc.yaml, with a stage for each job of the Snakefile",
            _flag("check", "write nothing, and fail if dvc.yaml differs from the Snakefile"),
            replace(snakemake, help="arguments of snakemake, after --, as in: thorax dvc -- --profile demo")),
        _verb("record", "workflow.dvc:record", "after snakemake: record all results with DVC, so that both are up to date"),
        _verb("sync", "workflow.dvc:sync", "after dvc pull, checkout or repro: tell Snakemake that all results are up to date"),
        _verb("cross-validate-lungs", "images.segmenter:make_cross_validation",
            "measure the Dice of the lung U-Net on held-out patients",
            _settings(model="Segmenter"), _whole("folds", "number of folds, split by patient", lowest=2, default=5),
            _path("out", "CSV with the Dice of each image to write"), threads),
        _verb("audit-weights", "audit.pos_weights:make_weight_audit",
            "compute which weights of the positives are consistent with the published F1 and Hamming loss", folder),
        _verb("config-reference", "config.reference:write_reference",
            "write docs/reference/configuration.md and its JSON schema", folder),
        _verb("completion", "cli:completion", "print a script that completes verbs and options in your shell",
            _text("shell", "your shell", choices=("bash", "zsh"), positional=True)),
    ),
    "archives": (
        _verb("phantom", "phantom:make_archive", "create an archive of synthetic radiographs",
            _settings(model="Phantom"), _path("root", "folder to create"), threads,
            _text("archive", "archive whose file layout it has", choices=ARCHIVES, default="padchest")),
        _verb("manifest", "archives:write_manifest",
            "list the files that are read from an archive's folder, each with a digest",
            _path("root", "folder of the archive"), _path("out", "manifest to write"),
            _path("memory", "table of files seen earlier, so that unchanged files are not read again; read and written"),
            replace(_settings(model="Dataset"), required=False, help="the data set; without it, the folder holds lung masks"),
            _text("stamp", "identifier of the folder's latest change, stored in the manifest", default=""),
            _text("image_stamp", "identifier of the latest change of its images, stored as well", default="")),
        _verb("image-list", "archives:write_image_list",
            "list the images of a data set, each with a digest and what its tables say that ingest needs",
            _settings(model="Dataset"), _path("memory", "table of files seen earlier; read and written"), _path("out", "list to write")),
        _verb("catalog", "archives:make_catalog", "read an archive's metadata into one table",
            _settings(model="Dataset"), _path("out", "catalog to write"), _path("boxes", "table of boxes to write")),
    ),
    "images": (
        _verb("ingest", "images.ingest:ingest_shard", "read each original image once and pack it as 512 x 512 grey pixels",
            _settings(model="Dataset"), replace(catalog, help="list of images, or catalog"), shard, _path("array", "packed images to write"),
            _path("table", "table to write"), threads),
        _verb("merge-ingested", "images.ingest:merge_ingested",
            "join the tables of all shards, check the share of unreadable images, and find duplicates",
            _settings(model="Dataset"), _paths("tables", "tables of the shards"), _path("out", "table to write"),
            _path("duplicates", "table of duplicate images to write")),
        _verb("segmenter", "images.segmenter:train_segmenter", "train the lung U-Net",
            _settings(model="Segmenter"),
            _path("split", "split: only the masks of its training patients are used", required=False),
            _path("out", "network to write"), _path("history", "CSV of losses to write"), threads),
        _verb("lungs", "images.segmenter:segment_shard", "segment the lungs of one shard and find the crop boxes",
            _settings(model="Segmenter"), _path("model", "lung U-Net"), replace(catalog, help="list of images, or catalog"), ingested, array, shard,
            _path("table", "table to write"), _path("masks", "masks to write"), threads),
        _verb("images", "images.crops:make_images", "crop and resize one shard to training images",
            _settings(model="ImageSet"), array, ingested, shard,
            _path("lungs", "the shard's table of crop boxes", required=False), _path("out", "training images to write")),
    ),
    "labels": (
        _verb("labels", "labels.label_sets:make_label_set", "group, count and select the classes of a label set",
            _settings(model="LabelSet"), archive, catalog,
            _path("ingested", "table of ingested images; without it, every image counts", required=False),
            replace(second_views, help="views of the second images, for label sets of studies", default=()),
            replace(second_ingested, help="table of the images of these views; without it, every image counts", required=False),
            _path("general", "label set named by `inside`", required=False),
            _texts("named", "settings that name a class; an error if the label set does not keep it", kind="pairs", metavar="KEY=CLASS", default=()),
            _path("out", "label set to write"), _path("report", "CSV of classes kept and dropped to write")),
        _verb("pairs", "labels.two_views:make_two_views",
            "find the second image of each labelled image, for networks of two views",
            labels, catalog, second_views, second_ingested, _path("out", "table to write")),
        _verb("split", "labels.splits:make_split", "assign patients to train, val and test, stratified over all classes",
            _settings(model="Split"), _paths("labels", "label sets that share the split"),
            _path("catalog", "catalog, for the archive's own lists and annotators; needed for official: true", required=False),
            _path("duplicates", "table of duplicate images; patients who share one stay in the same part", required=False),
            _path("out", "split to write"), _path("quality", "CSV of counts and quotas to write")),
        _verb("cases", "labels.cases:choose_cases", "choose test images to explain",
            labels, split, _whole("count", "number of images", lowest=1), seed,
            _texts("classes", "classes that come first", metavar="CLASS", default=()), _path("out", "table to write")),
    ),
    "models": (
        _verb("train", "models.fit:train", "train one network",
            _settings(model="Training"), labels, split, ingested, images, *second_view,
            _path("weights", "file of ImageNet weights, or the trained network to start from", required=False),
            _path("weights_labels", "label set of the network to start from", required=False), _path("out", "network to write"),
            _path("history", "CSV of losses to write"),
            _path("epochs", "CSV of test results after each epoch to write; needed for test_every_epoch", required=False),
            _path("record", "JSON to write: device, seconds, epochs, images per second, versions, where the weights are from", required=False),
            _path("work", "folder of resume states", default=Path("work")), threads),
        _verb("bundled-network", "bundles.start:write_network", "take a network out of a bundle, for a training that starts from it",
            _path("bundle", "bundle"), _text("member", "the network; may be left out if there is only one", required=False),
            replace(archive, help="published archive that the training is of: a warning says whether the bundle may know its test patients", required=False),
            replace(split, help="split of the training, to compare with the bundle's", required=False),
            _path("out", "network to write"), _path("labels", "label set without images to write: the network's classes")),
        _verb("predict-parts", "models.predict:predict",
            "predict the logits of validation and test images, or of another archive's test images; explain them",
            _path("model", "network"), labels, split, ingested, images, *second_view,
            _path("classes", "label set that the network was trained on, if --labels is another one", required=False),
            _path("out", "predictions to write"), _path("heatmaps", "heatmaps of all classes to write", required=False),
            _path("attention", "attention weights to write", required=False), method, threads),
        _verb("baseline", "models.baseline:make_baseline",
            "fit a logistic regression on principal components of 32 x 32 pixels",
            images, ingested, labels, split, _path("out", "predictions to write")),
    ),
    "evaluation": (
        _verb("ensemble", "evaluation.ensembles:make_ensemble", "combine the predictions of several networks",
            _settings(model="Ensemble"), _paths("predictions", "predictions of the members"),
            _path("labels", "label set; for rules that learn from validation images", required=False),
            _path("split", "split; for rules that learn from validation images", required=False),
            _path("out", "table to write")),
        _verb("cascade", "evaluation.cascades:make_cascade",
            "multiply the probabilities of general classes by those of the specific classes inside them",
            _settings(model="LabelSet"), archive, _path("general", "predictions or ensemble of the general classes"),
            _path("inside", "predictions or ensemble of the classes inside them"),
            _flag("logits", "both are logits, as a network's predictions are"),
            _path("classes", "CSV of the classes kept and dropped inside"), labels, split, _path("out", "table to write")),
        _verb("metrics", "evaluation.metrics:make_metrics",
            "compute AUC, average precision, F1, precision, NPV, sensitivity, specificity, Hamming loss, accuracy and loss, with intervals",
            labels, split, *models[:2], rules, exclusive, replicates, seed,
            _path("out", "table to write"), _path("summary", "folder to write: a JSON of each model, its metrics over all classes"),
            _path("thresholds", "table to write: thresholds that rules other than fixed ones choose on the validation images"),
            _path("differences", "table to write: paired differences between the models on the test images", required=False)),
        _verb("differences", "evaluation.metrics:make_differences",
            "compute paired differences between models of several experiments with the same labels and split, with intervals",
            labels, split, _mapping("predictions", "predictions of networks", metavar="EXPERIMENT/MODEL=PATH", default=()),
            _mapping("ensembles", "scores of ensembles", metavar="EXPERIMENT/MODEL=PATH", default=()), columns, rules, replicates,
            seed, _path("out", "table to write")),
        _verb("calibration", "evaluation.calibration:make_calibration",
            "fit temperature and Platt scaling of each model and class on the validation images",
            labels, split, *models[:2], out),
    ),
    "explanation": (
        _verb("measure-heatmaps", "explanation.localisation:measure_heatmaps",
            "compare heatmaps, and maps that need no network, with boxes of the findings",
            labels, split, _path("boxes", "table of boxes"), ingested,
            *explained_networks,
            _paths("lungs", "tables of crop boxes, all shards in order, if the networks saw crops", required=False),
            _paths("masks", "lung masks, all shards in order", required=False),
            _path("untrained", "heatmaps of a network with random weights, in the order of the first predictions", required=False),
            replicates, seed, _path("out", "table of mean scores to write"), _path("findings", "table of each finding's scores to write")),
        _verb("check-heatmaps", "models.heatmap_checks:check_heatmaps",
            "check whether a network's heatmaps depend on its weights, and show what it uses",
            _path("model", "network"), labels, split, ingested, images, _whole("count", "number of test images", lowest=1), seed,
            _path("out", "CSV to write"), _path("untrained", "heatmaps of the network with random weights to write"), method, threads),
        _verb("records", "explanation.records:make_records",
            "write what the networks say of every test image and class, and where; predicted findings also as COCO's JSON",
            title, labels, split, ingested, *explained_networks,
            _paths("lungs", "tables of crop boxes, all shards in order, if the networks saw crops", required=False),
            _paths("masks", "lung masks, all shards in order", required=False),
            _path("out", "table to write"), _path("coco", "JSON of predicted findings to write")),
        _verb("case-browser", "report.case_browser:make_case_browser",
            "write a page to look at cases as at a workstation",
            title, provenance, _path("cases", "table of chosen cases"), *explained_networks,
            _path("ensemble", "mean of the networks (default: computed)", required=False),
            _text("mean", "name of this ensemble", metavar="ENSEMBLE", required=False),
            labels, split, _path("boxes", "table of boxes"), ingested, _paths("arrays", "packed images, all shards in order"),
            _paths("lungs", "tables of crop boxes, all shards in order, if the networks saw crops", required=False),
            _path("scaling", "scaling that `thorax calibration` wrote"),
            replace(_settings(model="Experts"), required=False, help="readers of the test images"),
            boxes_by, _whole("part", "number of the page, from 1", lowest=1, default=1), _path("out", "page to write")),
        _verb("heatmap-tables", "report.tables.heatmap_scores:make_heatmap_tables",
            "write how far heatmaps agree with boxes, over all classes and per class",
            title, provenance, _path("scores", "table of measure-heatmaps"),
            boxes_by, folder),
        _verb("heatmap-checks", "report.tables.heatmap_scores:make_checks_table",
            "write the checks of a network's heatmaps, and how alike those of repeated trainings are",
            title, provenance, _path("checks", "CSV of check-heatmaps"), _text("member", "the network"),
            _whole("count", "number of test images", lowest=1), labels, split, members,
            _mapping("predictions", "predictions of each training, MEMBER or MEMBER.N"),
            _mapping("heatmaps", "heatmaps of each training, in the order of its predictions"), folder),
    ),
    "report: tables": (
        _verb("tables", "report.tables.results:make_tables", "write the paper's tables per class and over all classes",
            title, provenance, metrics, labels, split, members, ensembles, rule, f1_metric,
            replace(apart, help=f"{apart.help}, for bold print; without it, bold print follows the paper's rule", required=False), folder),
        _verb("difference-tables", "report.tables.differences:make_difference_tables",
            "write the paired differences between an experiment's models, over all classes and per class",
            title, provenance, metrics, apart, labels, split, members, ensembles, rule, f1_metric, learned, folder),
        _verb("threshold-tables", "report.tables.thresholds:make_threshold_tables",
            "compare the results by each threshold rule with those by the first",
            title, provenance, metrics, labels, split, members, ensembles, _path("thresholds", "thresholds of all models"),
            rules, exclusive, f1_metric, learned, folder),
        _verb("calibration-tables", "report.tables.calibration:make_calibration_tables",
            "tell how far the probabilities of all models are calibrated, before and after scaling, and per class of the best one",
            title, provenance, metrics, labels, split, _path("scaling", "scaling that `thorax calibration` wrote"), *models, replicates, seed, folder),
        _verb("operating", "report.tables.operating:make_operating",
            "measure the best model at a threshold, and at a specificity and a sensitivity of 0.9 chosen on the validation images",
            title, provenance, metrics, labels, split, rule, *models, replicates, seed, folder),
        _verb("groups", "report.tables.groups:make_groups",
            "measure the best model on groups of test images, with the gap of each to all others",
            title, provenance, metrics, labels, split, catalog,
            _texts("groups", "columns of the catalog, findings (their number) or folder", metavar="COLUMN"), rule, *models, replicates, seed, folder),
        _verb("beside", "report.tables.beside_paper:make_beside",
            "compare our results with the published ones, per class and over all",
            _settings(model="Beside"), title, provenance, metrics, members, ensembles, *tested, folder),
        _verb("ablation", "report.tables.beside_paper:make_ablation",
            "compare variants of one experiment with each other and with the paper (Tables 5, 7 and 9)",
            _settings(model="AblationColumns"), title, provenance, metrics_by_name, apart, members, ensembles, *tested, folder),
        _verb("statements", "report.tables.statements:make_statements",
            "compare what the text of Liz et al. 2022 says about its results with its tables and with ours",
            _settings(model="Beside"), title, provenance, metrics, members, folder),
        _verb("systems", "report.tables.systems:make_systems",
            "list other published systems for an archive with their data and splits (Table 12 of Liz et al. 2022)",
            archive, _text("table", "list the systems, or their AUCs by class", choices=("systems", "classes")), folder),
        _verb("side-by-side", "report.tables.side_by_side:make_side_by_side",
            "compare models of several experiments with the same label set and split",
            title, provenance, labels, split, metrics_by_name, apart, columns, rule, f1_metric, folder),
        _verb("cross-table", "report.tables.cross_archive:make_cross",
            "test models on the images of each other's archives, for the classes that both have",
            _settings(model="CrossEvaluation"), provenance, archives, labels_by_name, splits_by_name,
            _mapping("predictions", "predictions of networks", metavar="TRAINED@TESTED=PATH", default=()),
            _mapping("ensembles", "scores of ensembles", metavar="TRAINED@TESTED=PATH", default=()), replicates, folder),
        _verb("summary", "report.tables.summary:make_summary",
            "count the classes and images of each label set and the sizes of its parts (Table 3)",
            replace(labels_by_name, help="label sets"), replace(splits_by_name, help="split of each label set"), provenance,
            folder),
        _verb("screening", "report.tables.screening:make_screening",
            "count which images of each data set were left out and why, and which are duplicates",
            _mapping("ingested", "merged table of ingested images of each data set"),
            _mapping("duplicates", "duplicates of each data set"), _mapping("catalogs", "catalog of each data set"),
            _groups("splits", "splits of the data sets", metavar="DATASET/SPLIT=PATH"),
            _groups("lungs", "tables of crop boxes, all shards", metavar="DATASET/SEGMENTER=PATH"), provenance, folder),
        _verb("overview", "report.tables.overview:make_overview",
            "list all experiments of a run with their data, best model, results, published numbers and hours",
            _settings(model="Setups"), metrics_by_name, labels_by_name, splits_by_name,
            _paths("records", "records of the trainings", default=()), folder),
        _verb("readers", "report.tables.readers:make_readers",
            "compare several readers of the test images with each other, with the labels and with all models",
            _settings(model="Experts"), title, provenance, labels, split, _mapping("predictions", "predictions of each network"),
            _mapping("ensembles", "scores of each ensemble", default=()), replicates, seed, folder),
        _verb("suspects", "report.tables.suspects:make_suspects",
            "list the labels of validation and test images that are probably wrong by the networks' predictions",
            title, provenance, labels, split, _mapping("predictions", "predictions of each network"),
            _mapping("ensembles", "scores of each ensemble", default=()), rule, _path("list_", "CSV of all doubted labels to write"),
            folder),
        _verb("repeats", "report.tables.repeats:make_repeats",
            "compare how results differ between trainings with different seeds and between samples of patients",
            title, provenance, metrics, labels, split, members, _mapping("predictions", "predictions of each training, MEMBER or MEMBER.N"),
            rule, f1_metric, folder),
        _verb("paper-page", "report.pages:make_page", "put a paper's tables and figures on one page, in the paper's order",
            _settings(model="PaperPage"), _path("out", "page to write")),
        _verb("site", "report.site:make_site", "put all tables and figures on a site whose entry page says what came out",
            _settings(model="Site"), metrics_by_name, labels_by_name, splits_by_name,
            _paths("records", "records of the trainings", default=()), _path("out", "entry page to write; the others are next to it")),
        _verb("csv-page", "report.typeset:csv_page", "show a CSV file as a page of the report",
            _path("csv", "file to show"), title, _text("caption", "caption"), _path("out", "page to write")),
    ),
    "report: figures": (
        _verb("render", "report.notebooks:render", "draw figures by running a notebook of notebooks/ with papermill",
            _path("notebook", "notebook with a cell tagged `parameters`"),
            _text("parameters", "values of its parameters by name", metavar="YAML"),
            _path("out", "executed notebook to write; the figures are written where its parameter `out` says")),
    ),
    "bundles": (
        _verb("pack-bundle", "bundles.pack:make_bundle",
            "put the model of an experiment into one file, with all that is needed to use it, and a model card",
            _settings(model="Bundled"), labels, split, ingested, images, *second_view,
            _mapping("networks", "networks of the model"), _mapping("predictions", "their predictions"),
            _mapping("ensembles", "scores of the ensemble, if the model is one", default=()),
            _mapping("records", "what the trainings recorded", default=()),
            _path("segmenter", "lung U-Net, if the images are cropped to the lungs", required=False),
            _path("boxes", "table of measure-heatmaps, if there are boxes", required=False),
            catalog, _path("thresholds", "thresholds of all models"), _path("scaling", "scaling that `thorax calibration` wrote"),
            metrics, replicates, _path("out", "bundle to write"), threads),
    ),
    "audit": (
        _verb("audit", "audit.counts:make_label_set_audit",
            "compare a label set's counts with those in papers, from metadata alone",
            _settings(model="LabelSet"), archive, catalog, labels, split, folder),
        _verb("audit-overview", "audit.counts:make_overview",
            "compare archives, label sets and splits with the published numbers",
            _mapping("catalogs", "catalog of each data set"), _paths("audited", "CSV of each label set's audit"),
            _mapping("qualities", "CSV of counts and quotas of each split"),
            _texts("absent", "data sets whose metadata is missing", metavar="DATASET", default=()), folder),
        _verb("compare-splitters", "audit.splitters:make_comparison",
            "compare our split of a label set with those of other libraries", _settings(model="Split"), labels, folder),
    ),
    "versions": (
        _verb("plan", "workflow.dvc:write_plan", "write the parameters of all jobs for DVC", _path("out", "JSON to write")),
    ),
}  # fmt: skip
VERBS = {verb.name: verb for verbs in GROUPS.values() for verb in verbs}
