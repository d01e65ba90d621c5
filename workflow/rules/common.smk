import json
import os
import re
import shlex
from functools import partial
from pathlib import Path, PurePath

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod

from thorax import archives
from thorax.archives import manifest
from thorax.workflow import preflight
from thorax.models.backbones import BACKBONES
from thorax.config import Config
from thorax.config import parse as validate_config
from thorax.workflow.code import digest, notebook_digest
from thorax.workflow.jobs import outputs_behind
from thorax.evaluation.ensembles import LEARNING
from thorax.errors import ThoraxError

# The same bytes on every run, however it was started: no dates in figures, one order of sets
os.environ.setdefault("SOURCE_DATE_EPOCH", "1640995200")
os.environ.setdefault("PYTHONHASHSEED", "0")
# Notebooks are executed by the Python that runs papermill, also where the user has installed another kernel named python3
os.environ.update(JUPYTER_PATH=os.path.join(workflow.basedir, "notebooks"))


def refuse_unusable_folders():
    """Snakemake itself would end in a traceback."""
    for folder in map(Path, (".snakemake", "results", "logs", "benchmarks")):
        if os.path.lexists(folder) and not folder.is_dir():
            raise WorkflowError(f"{folder.absolute()} is not a folder: move it away, or run in another folder (--directory).")
        place = folder if folder.is_dir() else Path.cwd()
        if not os.access(place, os.W_OK | os.X_OK):
            raise WorkflowError(
                f"{place.absolute()} cannot be written: make it writable, or run in another folder (--directory)."
            )


def read_study():
    """The configuration, checked as a whole."""
    files = list(dict.fromkeys(map(str, workflow.configfiles)))
    source = " with ".join(map(os.path.relpath, files)) or "the configuration"
    try:
        return preflight.read(config, source) if workflow.is_main_process else validate_config(Config, config, source)
    except ThoraxError as error:
        raise WorkflowError(str(error))


refuse_unusable_folders()
study = read_study()


def refuse_archives_among_results():
    """The workflow fills these folders and may delete them; a phantom's folder is deleted as a whole."""
    blocks = [("datasets", "root", study.datasets), ("segmenters", "pairs", study.segmenters)]
    for kind, key, name, block in [(kind, key, name, block) for kind, key, named in blocks for name, block in named.items()]:
        place = Path(getattr(block, key)).resolve()
        for folder in map(Path, ("results", "work", "logs", "benchmarks", ".snakemake")):
            if place.is_relative_to(folder.resolve()):
                raise WorkflowError(
                    f"{kind}.{name}.{key}: {getattr(block, key)} lies in {folder.absolute()}, which the workflow fills and may "
                    "delete: move the archive to another folder and name that."
                )
        if getattr(block, "phantom", None) and Path.cwd().is_relative_to(place):
            raise WorkflowError(
                f"{kind}.{name}.{key}: {getattr(block, key)} holds the folder that is run in: a synthetic archive needs a folder of "
                "its own."
            )


refuse_archives_among_results()

HERE = os.path.relpath(workflow.basedir)  # the checkout, seen from the folder that is run in
ENVIRONMENT = os.path.join(workflow.basedir, "envs", f"{study.device}.yaml")  # of every job, under --sdm conda
phantom_roots = [dataset.root for dataset in study.datasets.values() if dataset.phantom]


def give_conda_jobs_this_thorax():
    """Under --sdm conda, have jobs find the thorax of this checkout: the environment holds other people's packages only.

    Otherwise they would find the command of the environment that Snakemake runs in, further down on PATH, and run there.
    """
    if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
        command, source = (shlex.quote(os.path.join(workflow.basedir, *parts)) for parts in (("envs", "bin"), ("src",)))
        exports = f"set -euo pipefail; export PATH={command}:$PATH PYTHONPATH={source} PYTHONNOUSERSITE=1; "
        shell.prefix(exports.replace("{", "{{").replace("}", "}}"))


give_conda_jobs_this_thorax()


def any_of(names):
    """A pattern that matches exactly these names."""
    return "|".join(re.escape(name) for name in names) or "(?!)"


wildcard_constraints:
    dataset=any_of(study.datasets),
    phantom_root=any_of(phantom_roots),
    label_set=any_of(study.label_sets),
    split=any_of(study.splits),
    segmenter=any_of(study.segmenters),
    image_set=any_of(study.image_sets),
    experiment=any_of(study.experiments),
    member=any_of(member for experiment in study.experiments.values() for member in experiment.members),
    ensemble=any_of(ensemble for experiment in study.experiments.values() for ensemble in experiment.ensembles),
    ablation=any_of(study.ablations),
    model=any_of(["baseline", *(name for block in study.experiments.values() for name in (*block.members, *block.ensembles))]),
    cascade=any_of(study.cascades),
    comparison=any_of(study.comparisons),
    cross=any_of(study.cross),
    other=any_of(study.experiments),
    backbone=r"\w+",
    shard=r"\d+",


def settings(block, *fields):
    """The named fields of a configuration block (all without names) as text for --settings."""
    return json.dumps(block.model_dump(mode="json", include=set(fields) or None), sort_keys=True)


steps_verbs = {"download"}  # what the rules' jobs run; `code` adds to it


def code(verb):
    """The digest of a verb's code as a parameter, so that changed code reruns what it feeds and an edited comment does not."""
    steps_verbs.add(verb)
    return lambda wildcards: digest(verb)


def phantom_in(root):
    """The data set whose phantom is made in this folder; where several share it, they agree on archive and settings."""
    return next(dataset for dataset in study.datasets.values() if dataset.phantom and dataset.root == root)


def made_here(path):
    """Whether a path lies in a phantom, which the workflow makes itself."""
    return any(Path(root) in Path(path).parents for root in phantom_roots)


def dataset_of(experiment):
    return study.label_sets[study.experiments[experiment].label_set].dataset


def datasets_of(experiment):
    """The data sets that an experiment ingests: of its images, and of the second views of its studies."""
    second = study.label_sets[study.experiments[experiment].label_set].second
    return [dataset_of(experiment), *([second] if second else [])]


def split_dataset(split):
    """The data set whose patients a split divides."""
    return study.label_sets[study.splits[split].label_sets[0]].dataset


def duplicates_of_split(split):
    """Which images of a split's data set show the same, where their patients are to stay together."""
    wanted = study.splits[split].same_image != "ignore"
    return f"results/ingested/{split_dataset(split)}.duplicates.parquet" if wanted else []


def made_before(dataset):
    """What the workflow makes before an archive can be looked at; nothing for one that is simply there.

    Of a phantom it is the table of boxes: phantoms of every archive have it, and it is written last.
    """
    if study.datasets[dataset].download:
        return f"results/raw/{dataset}.files.csv"
    return f"{study.datasets[dataset].root}/boxes.csv" if study.datasets[dataset].phantom else []


def made_before_pairs(segmenter):
    """What the workflow makes before a segmenter's pairs can be looked at; nothing for pairs that are simply there."""
    if study.segmenters[segmenter].download:
        return f"results/raw/{segmenter}.pairs.csv"
    pairs = f"{study.segmenters[segmenter].pairs}/pairs.csv"
    return pairs if made_here(pairs) else []


def refresh_manifests():
    """Notice what has changed in an archive since its manifest was made, so that what follows from it is made anew."""
    folders = {name: (block.root, partial(archives.selection, block)) for name, block in study.datasets.items()}
    for name, block in study.segmenters.items():
        folders[f"pairs/{name}"] = (block.pairs, partial(archives.selection_of_mask_pairs, Path(block.pairs)))
    for name, (folder, select) in folders.items():
        try:
            change = manifest.refresh(Path(folder), Path(manifest_of(name)), Path(memory_of(name)), select)
        except ThoraxError as error:
            raise WorkflowError(str(error))
        if change:
            logger.info(change)


def manifest_of(name):
    return f"results/raw/{name}.manifest.parquet"


def memory_of(name):
    """What a manifest's folder held when it was looked at last."""
    return f"work/manifests/{name}.files.parquet"


if workflow.is_main_process:
    refresh_manifests()


def memory(mb):
    """The resource mem_mb: so much at the first attempt, and as much again at each that follows (profiles set `retries`)."""
    return lambda wildcards, attempt: attempt * (mb(wildcards) if callable(mb) else mb)


def shards(pattern, dataset, **names):
    """One path per shard of a data set."""
    return expand(pattern, dataset=dataset, shard=range(study.datasets[dataset].shards), **names)


def training_data(wildcards):
    """What every network of an experiment reads: labels, split, and the packed training images."""
    return data_of(wildcards.experiment)


def data_of(name):
    """Labels, split and packed images of an experiment."""
    experiment, dataset = study.experiments[name], dataset_of(name)
    return {
        "labels": f"results/labels/{experiment.label_set}.parquet",
        "split": f"results/splits/{experiment.split}.parquet",
        "ingested": f"results/ingested/{dataset}.parquet",
        "images": shards(
            "results/images/{image_set}/{dataset}.{shard}.npy",
            dataset,
            image_set=experiment.image_set,
        ),
    }


def label_sets_of(split):
    """The label sets that a split divides, and those inside them that the run's experiments on it learn."""
    learnt = [experiment.label_set for experiment in map(study.experiments.get, study.run) if experiment.split == split]
    return list(dict.fromkeys([*study.splits[split].label_sets, *learnt]))


# Large files that may be deleted to save room, and downloads: nobody misses them until a job needs them
SPARED = ("results/ingested/*.npy", "results/lungs/*/*.npy", "resources/weights/*.h5")


def everything(targets):
    """Every output of every job behind the targets.

    Snakemake looks only for the files that a target or a job that is to run asks for. A file beside them that is deleted, or that
    a failed job has taken away, would not be missed.
    """
    return lambda wildcards: [path for path in outputs_behind(workflow.rules, targets) if not is_spared(path)]


def is_spared(path):
    return any(PurePath(path).match(pattern) for pattern in SPARED)


def report_parts():
    """All tables and figures of the report, with what must be named beside them; papers.smk knows every kind of their pages."""
    figures = ["training", "roc", "classes", "heatmaps"]
    return [
        *result_tables(),
        *data_pages(),
        *system_pages([study.datasets[dataset_of(name)].archive for name in study.run if study.experiments[name].paper]),
        *lungs_figures(),
        *shares_figures(),
        *expand("results/figures/{experiment}/{figure}.html", experiment=study.run, figure=figures),
        *epochs_figures(),
        *figures_where_wanted(),
        *cascade_pages(),
        *side_by_side_pages(),
        *cross_pages(),
    ]


def data_pages():
    """The report's pages on originals, classes and splits, for every label set of the run's splits."""
    if not study.run:
        return []
    splits = run_splits()
    label_sets = [(split, label_set) for split in splits for label_set in label_sets_of(split)]
    return [
        "results/tables/screening.html",
        "results/tables/summary.html",
        *(f"results/tables/quality/{split}.html" for split in splits),
        *(f"results/tables/classes/{label_set}.html" for _, label_set in label_sets),
        *(f"results/figures/labels/{split}/{label_set}.html" for split, label_set in label_sets),
        *(f"results/figures/cooccurrence/{label_set}.html" for _, label_set in label_sets),
        *(f"results/figures/terms/{label_set}.html" for _, label_set in label_sets if is_grouped(label_set)),
    ]


def figures_where_wanted():
    """The figures that only some experiments have."""
    return [
        *(f"results/figures/{name}/cooccurrence.html" for name in study.run if study.experiments[name].cooccurrence),
        *(f"results/figures/{name}/attention.html" for name in study.run if attending(name)),
    ]


def attending(experiment):
    """The members with the attention head."""
    members = study.experiments[experiment].members
    return [name for name in members if study.experiments[experiment].member(name).head == "attention"]


def is_grouped(label_set):
    """Whether the classes are general terms of a term tree; only then a section of the tree says what is in a class."""
    return study.label_sets[label_set].grouping == "general"


def lungs_figures():
    names = {study.experiments[name].image_set for name in study.run}
    return [f"results/figures/lungs/{name}.html" for name in sorted(names) if study.image_sets[name].crop == "lungs"]


def cascades_of_run():
    """The cascades whose three experiments the run makes."""
    return [name for name, block in study.cascades.items() if {block.general, block.inside, block.flat} <= set(study.run)]


def cascade_pages():
    """The tables of the run's cascades."""
    pages = []
    for name in cascades_of_run():
        pages += expand(
            "results/tables/{cascade}/{threshold_rule}/{table}.html",
            cascade=name,
            threshold_rule=study.experiments[study.cascades[name].flat].thresholds,
            table=["per_class", "global"],
        )
    return pages


def tested_members(experiment):
    """The members whose test images are evaluated after every epoch."""
    block = study.experiments[experiment]
    return [name for name in block.members if block.member(name).test_every_epoch]


def epochs_figures():
    return [f"results/figures/{name}/epochs.html" for name in study.run if tested_members(name)]


def shares_figures():
    """Of the experiments whose label set keeps images without a class, which label distributions do not count as a label."""
    keeping = [name for name in study.run if study.label_sets[study.experiments[name].label_set].without_class != "drop"]
    return [f"results/figures/{name}/shares.html" for name in keeping]
