"""The blocks of the configuration that a job's wildcards name, and the data sets behind them."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from thorax.config import Block, Config, Experiment

Wildcards = Any  # Snakemake's, or any object with the same attributes

TITLED = ("experiment", "ablation", "cascade", "comparison", "cross")  # wildcards that name blocks with a title
# Where the blocks are that a wildcard names
BLOCKS = {kind: f"{kind}s" for kind in ("dataset", "label_set", "split", "segmenter", "image_set", *TITLED)} | {
    "cross": "cross"
}


def as_text(block: Block | None, *fields: str) -> str:
    """The named fields of a block (all without names) as text for --settings."""
    assert block is not None
    return json.dumps(block.model_dump(mode="json", include=set(fields) or None), sort_keys=True)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, dict) else value


class Blocks:
    """The checked configuration by wildcards."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.run = config.run
        self.phantom_roots = list(dict.fromkeys(block.root for block in config.datasets.values() if block.phantom))

    def block(self, kind: str, wildcards: Wildcards) -> Any:
        """The block that a wildcard names; for `leading`, `leading_experiment`; of a phantom's folder, its data set."""
        if kind == "leading":
            return self.leading_experiment(wildcards)
        if kind == "phantom_root":
            root = wildcards.phantom_root  # data sets that share it agree on archive and settings
            return next(block for block in self.config.datasets.values() if block.phantom and block.root == root)
        if kind in ("member", "ensemble"):
            experiment = self.config.experiments[wildcards.experiment]
            return experiment.member(wildcards.member) if kind == "member" else experiment.ensembles[wildcards.ensemble]
        return getattr(self.config, BLOCKS[kind])[getattr(wildcards, kind)]

    def field(self, kind: str, name: str) -> Callable[[Wildcards], Any]:
        """A rule's parameter: a field of the block that a wildcard names; of a mapping its keys."""
        return lambda wildcards: _plain(getattr(self.block(kind, wildcards), name))

    def parameter(self, name: str) -> Callable[[Wildcards], Any]:
        """Return the function that computes a parameter from its name.

        `settings_KIND`: the whole block, as text for --settings. `key_FIELD`: the option `--FIELD VALUE`, or nothing if the field is
        null. Otherwise a method of this name, else the field of this name in the job's block with a title (`TITLED`) or, if that
        lacks it, in `leading_experiment`.
        """
        kind, _, rest = name.partition("_")
        if kind in ("settings", "key"):
            return self.settings(rest) if kind == "settings" else self.option(rest)
        if hasattr(self, name):
            return getattr(self, name)

        def value(wildcards: Wildcards) -> Any:
            kind = next(kind for kind in TITLED if hasattr(wildcards, kind))
            return self.field(kind if hasattr(self.block(kind, wildcards), name) else "leading", name)(wildcards)

        return value

    def settings(self, kind: str, *fields: str) -> Callable[[Wildcards], str]:
        """A rule's parameter: the block that a wildcard names, or the named fields of it, as text for --settings."""
        return lambda wildcards: as_text(self.block(kind, wildcards), *fields)

    def option(self, name: str) -> Callable[[Wildcards], str]:
        """A rule's parameter: the option of this name with the field of the leading experiment; nothing if that is null."""

        def text(wildcards: Wildcards) -> str:
            value = self.field("leading", name)(wildcards)
            return f"--{name} {shlex.quote(value)}" if value else ""

        return text

    def leading_experiment(self, wildcards: Wildcards) -> Experiment:
        """The experiment that a wildcard names.

        For an ablation, comparison or cross-dataset evaluation it is the first one: all agree in the settings that are read from it.
        For a cascade it is the flat experiment.
        """
        for kind in ("ablation", "comparison", "cross"):
            if hasattr(wildcards, kind):
                return self.config.experiments[next(iter(self.block(kind, wildcards).experiments))]
        if hasattr(wildcards, "cascade"):
            return self.config.experiments[self.block("cascade", wildcards).flat]
        return self.config.experiments[wildcards.experiment]

    # Data sets

    def dataset(self, wildcards: Wildcards) -> str:
        """The data set that a job works on; of a cascade, that of the classes inside."""
        if hasattr(wildcards, "dataset"):
            return wildcards.dataset
        if hasattr(wildcards, "label_set"):
            return self.config.label_sets[wildcards.label_set].dataset
        if hasattr(wildcards, "split"):
            return self.dataset_of_split(wildcards.split)
        if hasattr(wildcards, "experiment"):
            return self.dataset_of(wildcards.experiment)
        return self.dataset_of(self.block("cascade", wildcards).inside)

    def dataset_of(self, experiment: str) -> str:
        return self.config.label_sets[self.config.experiments[experiment].label_set].dataset

    def dataset_of_split(self, split: str) -> str:
        """The data set whose patients a split divides."""
        return self.config.label_sets[self.config.splits[split].label_sets[0]].dataset

    def datasets_of(self, experiment: str) -> list[str]:
        """The data sets that an experiment ingests: of its images, and of the second views of its studies."""
        second = self.config.label_sets[self.config.experiments[experiment].label_set].second
        return [self.dataset_of(experiment), *([second] if second else [])]

    def archive(self, wildcards: Wildcards) -> str:
        """The archive of the data set that a job works on."""
        return self.config.datasets[self.dataset(wildcards)].archive

    def catalog(self, wildcards: Wildcards) -> str:
        return f"results/catalog/{self.dataset(wildcards)}.parquet"

    def ingested(self, wildcards: Wildcards) -> str:
        return f"results/ingested/{self.dataset(wildcards)}.parquet"

    def shards(self, wildcards: Wildcards) -> list[int]:
        return list(range(self.config.datasets[wildcards.dataset].shards))

    def by_shard(self, pattern: str, dataset: str) -> list[str]:
        """One path for each shard of a data set: `pattern` with the shard's number in place of `*`."""
        return [pattern.replace("*", str(shard)) for shard in range(self.config.datasets[dataset].shards)]

    def made_before(self, wildcards: Wildcards) -> str | list[str]:
        """What the workflow makes before it can list an archive's or a segmenter's files; nothing if they are simply there.

        Of a phantom it is the table of boxes: phantoms of every archive have it, and it is written last.
        """
        if hasattr(wildcards, "segmenter"):
            return self.made_before_pairs(wildcards.segmenter)
        block = self.config.datasets[wildcards.dataset]
        if block.download:
            return f"results/raw/{wildcards.dataset}.files.csv"
        return f"{block.root}/boxes.csv" if block.phantom else []

    def made_before_pairs(self, segmenter: str) -> str | list[str]:
        """The same of a segmenter's pairs alone."""
        block = self.config.segmenters[segmenter]
        if block.download:
            return f"results/raw/{segmenter}.pairs.csv"
        in_phantom = any(Path(block.pairs).is_relative_to(root) for root in self.phantom_roots)
        return f"{block.pairs}/pairs.csv" if in_phantom else []
