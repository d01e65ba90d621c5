"""Checks of a configuration before the first job, so that a misspelled name is not found after hours of training.

`read` checks the configuration alone. `check_label_sets` counts classes in the archives' metadata, if that is here; `check_made`
reads the counts of an earlier run. For other archives the job that counts the labels checks the classes.
"""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from thorax import archives
from thorax.archives import chexpert, nih
from thorax.config import Beside, Config, Experiment, LabelSet, Start, parse
from thorax.errors import ThoraxError, refuse_unknown
from thorax.labels import label_sets
from thorax.labels.term_tree import TermTree
from thorax.labels.two_views import Partners
from thorax.models import backbones
from thorax.models.architectures import BACKBONES
from thorax.report import published_numbers
from thorax.storage import store

NAMING_CLASSES = ("exclusive", "cooccurrence", "case_classes")  # fields of an experiment that name classes
FIXED_LABELS = {"nih": nih.LABELS, "chexpert": chexpert.LABELS}  # archives with a fixed list of labels


def read(values: Any, source: str, thorough: bool = True) -> Config:
    """Validate a whole configuration, including names that other files define (classes, published numbers).

    `source` is its name in error messages. The process of a job is not `thorough`: the names were checked when the run was
    planned.
    """
    config = parse(Config, values, source)
    if not thorough:
        return config
    backbones.check(config, source)
    try:
        for kind, check in (("label_sets", _check_label_set), ("experiments", _check_experiment), ("cross", _check_cross)):
            for name in getattr(config, kind):
                check(config, name)
        _check_files(config)
    except ThoraxError as error:
        raise ThoraxError(f"{source}: {error}") from error
    return config


def named_classes(config: Config, label_set: str, experiments: Iterable[str]) -> list[tuple[str, str]]:
    """(key, class) for every class of a label set that the settings of these experiments name."""
    found = []
    for name in experiments:
        experiment = config.experiments[name]
        if experiment.label_set == label_set:
            for field, value in experiment.model_dump(include=set(NAMING_CLASSES)).items():
                wanted = [value] if isinstance(value, str) else value or []
                found += [(f"experiments.{name}.{field}", one) for one in wanted]
    return found


def label_tables(config: Config, catalog: Callable[[str], Any]) -> Callable[[str], label_sets.LabelTable]:
    """A function that counts a label set, each one once, in what `catalog` returns for the name of its data set."""

    @cache
    def table(name: str) -> label_sets.LabelTable:
        settings = config.label_sets[name]
        archive, listed = config.datasets[settings.dataset].archive, catalog(settings.dataset)
        if settings.inside:
            return label_sets.build_inside(settings, archive, listed, table(settings.inside).frame, name=name)
        second = Partners(config.datasets[settings.second].views) if settings.second else None
        return label_sets.build(settings, archive, listed, name=name, second=second)

    return table


def check_label_sets(config: Config, names: Iterable[str]) -> None:
    """Count the classes of label sets from metadata alone and refuse settings that name a class which is not among them.

    A class that is kept here may still have too few images later, when images cannot be read. Label sets of synthetic archives,
    and of archives whose metadata is not here, are skipped.
    """
    catalogs: dict[tuple[str, str], pd.DataFrame] = {}

    def catalog(name: str) -> pd.DataFrame:
        dataset = config.datasets[name]
        archive = (dataset.archive, dataset.root)  # data sets of one archive share its catalog
        if archive not in catalogs:
            catalogs[archive] = archives.read_catalog(dataset)
        return catalogs[archive]

    table = label_tables(config, catalog)
    for name in names:
        dataset = config.datasets[config.label_sets[name].dataset]
        if dataset.phantom is None and archives.metadata_file(dataset).is_file():
            label_sets.refuse_unknown_classes(named_classes(config, name, config.run), table(name).report, name)


def check_made(config: Config, name: str, report: Path) -> None:
    """Refuse settings that name a class which a label set of an earlier run does not keep; `report` is its table of classes."""
    classes = store.read_csv(report, dtype=str, keep_default_na=False)  # a class may be named NA
    label_sets.refuse_unknown_classes(named_classes(config, name, config.run), classes, name)


def _check_files(config: Config) -> None:
    """Refuse a run whose splits or networks begin with a file that is not there."""
    named = {}
    for name in config.run:
        block = config.experiments[name]
        named[f"splits.{block.split}.keep"] = config.splits[block.split].keep
        for member in block.members:
            start = block.member(member).weights
            named[f"experiments.{name}.members.{member}.weights.bundle"] = start.bundle if isinstance(start, Start) else None
    for key, path in named.items():
        if path and not Path(path).is_file():
            raise ThoraxError(f"{key}: {path} is not there: put the file there or correct the path.")


def _check_label_set(config: Config, name: str) -> None:
    settings, archive = config.label_sets[name], config.archive_of(name)
    if settings.grouping == "general":
        TermTree.of_archive(archive, f"label_sets.{name}.grouping", "write specific")
    if settings.inside:
        TermTree.of_archive(archive, f"label_sets.{name}.inside", "remove it")
    if archive in FIXED_LABELS:
        known = _possible_classes(settings, archive)
        for wanted in settings.exclude:
            refuse_unknown(f"label_sets.{name}.exclude", wanted, known, f"a {settings.grouping} label of archive {archive}")
        kept = [label for label in known if label not in settings.exclude]
        for key, wanted in named_classes(config, name, config.experiments):
            refuse_unknown(key, wanted, kept, f"a class of label set {name!r}")


def _possible_classes(settings: LabelSet, archive: str) -> list[str]:
    """All classes that the archive's own labels, or the terms of its tree, can become."""
    tree = TermTree.find(archive)
    own = FIXED_LABELS.get(archive) or (tree.parents if tree else ())
    if settings.grouping == "specific" or tree is None:
        return list(own)
    climbed = tree.climbed(settings.two_parents)
    return list(dict.fromkeys(group for label in own for group in climbed.general(label)))


def _check_experiment(config: Config, name: str) -> None:
    experiment = config.experiments[name]
    for member in experiment.members:
        training = experiment.member(member)
        if BACKBONES[training.backbone].constructor is None and training.weights == "imagenet":
            problem = f"backbone {training.backbone} has no ImageNet weights: set weights: none."
            raise ThoraxError(f"experiments.{name}.members.{member}: {problem}")
    if experiment.beside is not None:
        _check_beside(experiment, experiment.beside, f"experiments.{name}.beside")


def _check_beside(experiment: Experiment, beside: Beside, key: str) -> None:
    """Check that there are published numbers for at least one model."""
    try:
        theirs = set(published_numbers.published(beside)["model"])
        published_numbers.variant(beside)
    except ThoraxError as error:
        raise ThoraxError(f"{key}: {error}") from error
    if theirs.isdisjoint([*experiment.members, *experiment.ensembles]):
        raise ThoraxError(
            f"{key}.models: no member or ensemble has the name of a model of {beside.paper}, {beside.variant} "
            f"({', '.join(sorted(theirs))}): map your names to the paper's, as OURS: THEIRS."
        )


def _check_cross(config: Config, name: str) -> None:
    """Check that the label sets can have a class in common."""
    from thorax.evaluation import cross_archives  # takes a quarter of a second to import

    shared = []
    for experiment in config.cross[name].experiments:
        label_set = config.experiments[experiment].label_set
        settings, archive = config.label_sets[label_set], config.archive_of(label_set)
        known = [label for label in _possible_classes(settings, archive) if label not in settings.exclude]
        shared.append(set(cross_archives.mapped(archive, known)))
    if not set.intersection(*shared):
        raise ThoraxError(
            f"cross.{name}: the label sets of {', '.join(config.cross[name].experiments)} share no class of {cross_archives.CLASSES.name}: "
            "choose larger label sets."
        )
