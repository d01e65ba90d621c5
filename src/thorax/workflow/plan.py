"""The configuration as the rules need it: which files a job reads, and what its command line says.

Methods that a rule names take the job's wildcards; the others take names of blocks. All are pure functions of the configuration, but
for those of `audit`. Paths are relative to the folder that is run in.
"""

import json
import shlex
from collections.abc import Callable, Iterable
from typing import Any

from thorax.config import Config, Experiment
from thorax.evaluation.ensembles import LEARNING
from thorax.workflow import pages, preflight
from thorax.workflow.audited import Audited
from thorax.workflow.blocks import BLOCKS, Wildcards, as_text
from thorax.workflow.fields import any_of
from thorax.workflow.folders import Folders
from thorax.workflow.trainings import Trainings

Files = dict[str, str | list[str]]  # input files by their name in the rule
TRUST = ("phantom", "sample", "full")  # what numbers are measured on, the least trustworthy first

# By folder of results/: the models of an experiment that have a file in it, and its suffix
FILES: dict[str, tuple[Callable[[Experiment], Iterable[str]], str]] = {
    "history": (lambda block: block.members, "csv"),
    "epochs": (pages.tested_members, "csv"),
    "predictions": (lambda block: [*block.members, "baseline"], "parquet"),
    "ensembles": (lambda block: block.ensembles, "parquet"),
}


def in_results(kind: str, owner: str, names: Iterable[str], suffix: str = "parquet") -> list[str]:
    """A file of each name, such as results/history/EXPERIMENT/MEMBER.csv."""
    return [f"results/{kind}/{owner}/{name}.{suffix}" for name in names]


class Plan(Trainings, Folders):
    """What the rules compute from a checked configuration. `tell` gets a sentence on every archive that has changed."""

    def __init__(self, config: Config, tell: Callable[[str], object] = print) -> None:
        super().__init__(config, tell)
        self.audit = Audited(config)

    def wildcards(self) -> dict[str, str]:
        """A regular expression for each wildcard."""
        blocks = self.config.experiments.values()
        members = [name for block in blocks for name in block.trainings]
        ensembles = [name for block in blocks for name in block.ensembles]
        names = {kind: list(getattr(self.config, blocks)) for kind, blocks in BLOCKS.items()}
        names |= {"phantom_root": self.phantom_roots, "member": members, "ensemble": ensembles}
        names |= {"other": names["experiment"], "model": ["baseline", *members, *ensembles]}
        names |= {"paper": list(pages.papers(self.config)), "archive": list(pages.SYSTEMS), "table": ["systems", "classes"]}
        return {**{kind: any_of(found) for kind, found in names.items()}, "backbone": r"\w+", "shard": r"\d+", "part": r"\d+"}

    # Archives

    def phantom_settings(self, wildcards: Wildcards) -> str:
        return as_text(self.block("phantom_root", wildcards).phantom)

    # Images

    def file(self, kind: str, field: str, pattern: str) -> Callable[[Wildcards], str | list[str]]:
        """A rule's input: `pattern` with the value of a block's field in place of `*`; nothing if the field is null."""

        def path(wildcards: Wildcards) -> str | list[str]:
            name = self.field(kind, field)(wildcards)
            return pattern.replace("*", name) if name else []

        return path

    def images(self, image_set: str) -> list[str]:
        """The packed images of an image set."""
        dataset = self.config.image_sets[image_set].dataset
        return self.by_shard(f"results/images/{image_set}/{dataset}.*.npy", dataset)

    def lungs_figure(self, wildcards: Wildcards) -> Files:
        """What shows the way from originals to the images of an image set."""
        dataset, segmenter = (self.field("image_set", name)(wildcards) for name in ("dataset", "segmenter"))
        return {
            "catalog": f"results/catalog/{dataset}.parquet",
            "ingested": f"results/ingested/{dataset}.parquet",
            "arrays": self.by_shard(f"results/ingested/{dataset}.*.npy", dataset),
            "lungs": self.by_shard(f"results/lungs/{segmenter}/{dataset}.*.parquet", dataset),
            "masks": self.by_shard(f"results/lungs/{segmenter}/{dataset}.*.npy", dataset),
            "images": self.images(wildcards.image_set),
        }

    # Labels and splits

    def second_views(self, wildcards: Wildcards) -> list[str]:
        """The views among which the second image of a label set's studies is sought; none for a label set of single images."""
        second = self.block("label_set", wildcards).second
        return self.config.datasets[second].views if second else []

    def named_classes(self, label_set: str) -> str:
        """KEY=CLASS of the run's settings that name a class of a label set, for the shell."""
        return shlex.join(f"{key}={wanted}" for key, wanted in preflight.named_classes(self.config, label_set, self.run))

    def duplicates(self, wildcards: Wildcards) -> str | list[str]:
        """Which images of a split's data set show the same, where their patients are to stay together."""
        wanted = self.block("split", wildcards).same_image != "ignore"
        return f"results/ingested/{self.dataset(wildcards)}.duplicates.parquet" if wanted else []

    def kept(self, wildcards: Wildcards) -> list[str]:
        """The earlier split whose patients stay where they were, if there is one."""
        return [path for path in (self.block("split", wildcards).keep,) if path]

    def truth(self, wildcards: Wildcards) -> dict[str, str]:
        """Labels and split of the experiment of `leading_experiment`."""
        return self._truth(self.leading_experiment(wildcards))

    def labels(self, wildcards: Wildcards) -> str:
        return self.truth(wildcards)["labels"]

    def split(self, wildcards: Wildcards) -> str:
        return self.truth(wildcards)["split"]

    # Networks

    def data(self, wildcard: str) -> Callable[[Wildcards], Files]:
        """A rule's input: labels, split and packed images of the experiment that a wildcard (`experiment` or `other`) names."""

        def files(wildcards: Wildcards) -> Files:
            name = getattr(wildcards, wildcard)
            block = self.config.experiments[name]
            ingested = f"results/ingested/{self.dataset_of(name)}.parquet"
            return {**self._truth(block), "ingested": ingested, "images": self.images(block.image_set)}

        return files

    def second_images(self, wildcards: Wildcards) -> Files:
        """What networks of two views read in addition; nothing for networks of one view."""
        block = self.block("experiment", wildcards)
        if block.second_image_set is None:
            return {}
        return {
            "pairs": f"results/pairs/{block.label_set}.parquet",
            "second_ingested": f"results/ingested/{self.config.image_sets[block.second_image_set].dataset}.parquet",
            "second_images": self.images(block.second_image_set),
        }

    def records(self) -> list[str]:
        """What the trainings of the run recorded: device, time and versions."""
        experiments = self.config.experiments
        return [path for name in self.run for path in in_results("history", name, experiments[name].trainings, "json")]

    # Scores and results

    def scores_of(self, experiment: str, model: str) -> str:
        """A model's scores: logits of a network or the baseline, what an ensemble has made of them."""
        kind = "ensembles" if model in self.config.experiments[experiment].ensembles else "predictions"
        return f"results/{kind}/{experiment}/{model}.parquet"

    def scores(self, wildcards: Wildcards) -> str:
        """The scores of the model that a job is for; without one, of the model whose ROC curves are drawn."""
        return self.scores_of(wildcards.experiment, self._model(wildcards))

    def logits(self, wildcards: Wildcards) -> str:
        """The option of scores that are logits; as in `scores`."""
        return "" if self._model(wildcards) in self.leading_experiment(wildcards).ensembles else "--logits"

    def curves_model(self, wildcards: Wildcards) -> str:
        """The model whose ROC curves are drawn, chosen before anything is measured.

        The first weighted average where the experiment has one (Figure 4 of Kejriwal et al.), else the first mean (CTP), else the
        first member.
        """
        block = self.block("experiment", wildcards)
        rules = ("weighted_average", "ctp")
        combined = [name for rule in rules for name, ensemble in block.ensembles.items() if ensemble.rule == rule]
        return [*combined, *block.members][0]

    def truth_to_learn(self, wildcards: Wildcards) -> dict[str, str]:
        """Labels and split, for ensemble rules that learn from validation images."""
        return self.truth(wildcards) if self.block("ensemble", wildcards).rule in LEARNING else {}

    def learning_ensembles(self, wildcards: Wildcards) -> list[str]:
        """The ensembles whose rules learn from validation images."""
        ensembles = self.block("experiment", wildcards).ensembles
        return [name for name, ensemble in ensembles.items() if ensemble.rule in LEARNING]

    def of_models(self, kind: str) -> Callable[[Wildcards], list[str]]:
        """A rule's input: the files in results/KIND of the models of an experiment that have one (`FILES`)."""
        models, suffix = FILES[kind]
        return lambda wildcards: in_results(kind, wildcards.experiment, models(self.block("experiment", wildcards)), suffix)

    def models(self, wildcards: Wildcards) -> Files:
        """The labels and split of an experiment, and the scores of all its models."""
        scores: Files = {kind: self.of_models(kind)(wildcards) for kind in ("predictions", "ensembles")}
        return {**self.truth(wildcards), **scores}

    def term_settings(self, wildcards: Wildcards) -> dict[str, Any]:
        """The settings of a label set that decide which terms an image has."""
        fields = {"dataset", "views", "two_parents", "padded_labels", "padded_kept"}
        return self.block("label_set", wildcards).model_dump(mode="json", include=fields)

    def tested_on(self, wildcards: Wildcards) -> str:
        """Whose radiographs an experiment is tested on, and whether by the archive's own lists."""
        block = self.leading_experiment(wildcards)
        official = " --official-lists" if self.config.splits[block.split].official else ""
        return f"--archive {self.config.archive_of(block.label_set)}{official}"

    def published(self, wildcards: Wildcards) -> str:
        """An experiment's block `beside` as text for --settings; of an ablation those of all its experiments, by name."""
        if hasattr(wildcards, "experiment"):
            return as_text(self.block("experiment", wildcards).beside)
        blocks = {name: self.config.experiments[name].beside for name in self.block("ablation", wildcards).experiments}
        return json.dumps({name: block.model_dump(mode="json") for name, block in blocks.items() if block})

    def metrics(self, wildcards: Wildcards) -> list[str]:
        """The metrics of the experiments of an ablation or a comparison; of a cascade, of the flat experiment and its own."""
        if hasattr(wildcards, "cascade"):
            return list(self.cascade_metrics(wildcards).values())
        kind = "ablation" if hasattr(wildcards, "ablation") else "comparison"
        return [f"results/metrics/{name}.parquet" for name in self.block(kind, wildcards).experiments]

    def columns(self, wildcards: Wildcards) -> list[str]:
        """EXPERIMENT/MODEL of every column of a comparison, or of an ablation's models that its first experiment has.

        Of a cascade, flat/MODEL and cascade/MODEL.
        """
        if hasattr(wildcards, "cascade"):
            return [f"{side}/{model}" for side in ("flat", "cascade") for model in self.block("cascade", wildcards).models]
        if hasattr(wildcards, "ablation"):
            names = self.block("ablation", wildcards).experiments
            models = {name: [*(block := self.config.experiments[name]).members, *block.ensembles] for name in names}
            return [f"{name}/{model}" for name in names for model in models[name] if model in models[names[0]]]
        experiments = self.block("comparison", wildcards).experiments
        return [f"{name}/{model}" for name, models in experiments.items() for model in models]

    def column_scores(self, kind: str) -> Callable[[Wildcards], dict[str, str]]:
        """By EXPERIMENT/MODEL of `columns`, the scores of networks (kind `predictions`) or of ensembles and cascades (`ensembles`)."""

        def scores(wildcards: Wildcards) -> dict[str, str]:
            paths = {column: self._column(column, wildcards) for column in self.columns(wildcards)}
            return {
                name: path for name, path in paths.items() if path.startswith("results/predictions/") == (kind == "predictions")
            }

        return scores

    def column_files(self, kind: str) -> Callable[[Wildcards], list[str]]:
        """A rule's input: the files of `column_scores`."""
        return lambda wildcards: list(self.column_scores(kind)(wildcards).values())

    def marking(self, wildcards: Wildcards) -> str | list[str]:
        """What bold print of an experiment's tables follows: its differences, or nothing for the paper's rule."""
        follows = self.block("experiment", wildcards).bold == "interval"
        return f"results/differences/{wildcards.experiment}.parquet" if follows else []

    def threshold_rule(self, wildcards: Wildcards) -> str:
        """The threshold rule that a job is for, or else the first."""
        return getattr(wildcards, "threshold_rule", self.leading_experiment(wildcards).thresholds[0])

    # Readers

    def experts(self, wildcards: Wildcards) -> str:
        return as_text(self.block("experiment", wildcards).experts)

    def expert_options(self, wildcards: Wildcards) -> str:
        """The block `experts` as the option --settings; nothing if there is none."""
        return shlex.join(["--settings", self.experts(wildcards)]) if self.block("experiment", wildcards).experts else ""

    def read_again(self, wildcards: Wildcards) -> list[str]:
        """The tables of an experiment's readers."""
        return list(self.block("experiment", wildcards).experts.files)

    # Cascades

    def cascade_steps(self, wildcards: Wildcards) -> dict[str, str]:
        """The scores of a cascade's two models (networks or ensembles)."""
        block = self.block("cascade", wildcards)
        return {step: self.scores_of(getattr(block, step), wildcards.model) for step in ("general", "inside")}

    def inside_label_set(self, wildcards: Wildcards) -> str:
        return self.config.experiments[self.block("cascade", wildcards).inside].label_set

    def inside_settings(self, wildcards: Wildcards) -> str:
        return as_text(self.config.label_sets[self.inside_label_set(wildcards)])

    def cascade_scores(self, wildcards: Wildcards) -> list[str]:
        return in_results("cascades", wildcards.cascade, self.block("cascade", wildcards).models)

    def cascade_metrics(self, wildcards: Wildcards) -> dict[str, str]:
        flat = self.block("cascade", wildcards).flat
        return {"flat": f"results/metrics/{flat}.parquet", "cascade": f"results/metrics/{wildcards.cascade}.parquet"}

    # Explanations

    def heatmaps(self, wildcards: Wildcards) -> Files:
        """What figures of an experiment's heatmaps show."""
        name, block = wildcards.experiment, self.block("experiment", wildcards)
        return {
            "heatmaps": in_results("heatmaps", name, block.explained, "npy"),
            "predictions": in_results("predictions", name, block.explained),
            "ensemble": f"results/ensembles/{name}/{block.mean}.parquet" if block.mean else [],
            "labels": f"results/labels/{block.label_set}.parquet",
            "boxes": f"results/boxes/{self.dataset_of(name)}.parquet",
            "scaling": f"results/calibration/{name}.parquet" if block.heatmap_probability == "calibrated" else [],
            **self.originals(wildcards),
        }

    def browsed(self, wildcards: Wildcards) -> Files:
        """What the case browser shows: the files of the heatmaps, the scaling of every model, and what readers say."""
        block = self.block("experiment", wildcards)
        return {
            **self.heatmaps(wildcards),
            **self._truth(block),
            "scaling": f"results/calibration/{wildcards.experiment}.parquet",
            "readers": self.read_again(wildcards) if block.experts else [],
        }

    def boxed(self, wildcards: Wildcards) -> Files:
        """What the scores of an experiment's heatmaps are computed from."""
        name, block = wildcards.experiment, self.block("experiment", wildcards)
        found = self.recorded(wildcards) | {"boxes": f"results/boxes/{self.dataset_of(name)}.parquet"}
        return found | ({"untrained": f"results/heatmaps/{name}.untrained.npy"} if block.checks_heatmaps else {})

    def recorded(self, wildcards: Wildcards) -> Files:
        """What the networks of an experiment say of every test image, with the masks of the lungs where there are any."""
        block, dataset = self.block("experiment", wildcards), self.dataset_of(wildcards.experiment)
        found = self.heatmaps(wildcards)
        del found["ensemble"], found["arrays"], found["boxes"]
        if segmenter := self.config.image_sets[block.image_set].segmenter:
            found["masks"] = self.by_shard(f"results/lungs/{segmenter}/{dataset}.*.npy", dataset)
        return found | {"split": f"results/splits/{block.split}.parquet"}

    def checked_member(self, wildcards: Wildcards) -> str:
        """The network whose maps are checked: the first of those whose heatmaps are shown."""
        return self.block("experiment", wildcards).explained[0]

    def checked_model(self, wildcards: Wildcards) -> str:
        return f"results/models/{wildcards.experiment}/{self.checked_member(wildcards)}.keras"

    def attention(self, wildcards: Wildcards) -> Files:
        """What figures of an experiment's attention show."""
        members = pages.attending(self.block("experiment", wildcards))
        name = wildcards.experiment
        return {
            "attention": in_results("attention", name, members, "npy"),
            "predictions": in_results("predictions", name, members),
            **self.originals(wildcards),
        }

    def originals(self, wildcards: Wildcards) -> Files:
        """The originals of an experiment's images, with the crop boxes where the images are crops."""
        block, dataset = self.block("experiment", wildcards), self.dataset_of(wildcards.experiment)
        segmenter = self.config.image_sets[block.image_set].segmenter
        lungs = self.by_shard(f"results/lungs/{segmenter}/{dataset}.*.parquet", dataset)
        return {
            "ingested": f"results/ingested/{dataset}.parquet",
            "arrays": self.by_shard(f"results/ingested/{dataset}.*.npy", dataset),
            **({"lungs": lungs} if segmenter else {}),
        }

    def boxes_by(self, wildcards: Wildcards) -> str:
        """Who drew the boxes of an experiment's images: experts, the program that drew the phantom, or not known (archive)."""
        dataset = self.config.datasets[self.dataset_of(wildcards.experiment)]
        if dataset.phantom or self.block("experiment", wildcards).provenance == "phantom":
            return "phantom"
        return "experts" if dataset.archive == "nih" else "archive"

    # Models on the archives of others

    def cross_files(self, wildcards: Wildcards) -> Files:
        """The files of `cross_truth` and `cross_scores`, under the names of their options."""
        found = {"labels": self.cross_truth("labels"), "splits": self.cross_truth("split")}
        found |= {kind: self.cross_scores(kind) for kind in ("predictions", "ensembles")}
        return {name: list(files(wildcards).values()) for name, files in found.items()}

    def cross_archives(self, wildcards: Wildcards) -> dict[str, str]:
        """By experiment, its archive."""
        names = self.block("cross", wildcards).experiments
        return {name: self.config.archive_of(self.config.experiments[name].label_set) for name in names}

    def cross_truth(self, kind: str) -> Callable[[Wildcards], dict[str, str]]:
        """Every experiment's `labels` or `split`."""
        truth = lambda name: self._truth(self.config.experiments[name])[kind]
        return lambda wildcards: {name: truth(name) for name in self.block("cross", wildcards).experiments}

    def cross_scores(self, kind: str) -> Callable[[Wildcards], dict[str, str]]:
        """By TRAINED@TESTED, the scores of models that are members (kind `predictions`) or `ensembles`, on every archive."""

        def scores(wildcards: Wildcards) -> dict[str, str]:
            models = self.block("cross", wildcards).experiments
            return {
                f"{name}@{other}": f"results/{kind}/{name}/{model if other == name else f'{model}@{other}'}.parquet"
                for name, model in models.items()
                if (model in self.config.experiments[name].ensembles) == (kind == "ensembles")
                for other in models
            }

        return scores

    # Notebooks

    def notebook(self, draw: str, *names: str, **given: Any) -> Callable[[Wildcards], str]:
        """A rule's parameter `settings`: the parameters of its notebook besides files, as text.

        They are the figures to `draw`, those found by their names (see `parameter`), and those given as values or functions of the
        wildcards.
        """
        settings = {name: self.parameter(name) for name in names} | given

        def text(wildcards: Wildcards) -> str:
            values = {name: value(wildcards) if callable(value) else value for name, value in settings.items()}
            return json.dumps({"draw": draw.split(), **values}, ensure_ascii=False)

        return text

    # The whole run

    def experiments_of_run(self) -> list[Experiment]:
        return [self.config.experiments[name] for name in self.run]

    def of_experiments(self, kind: str) -> dict[str, str]:
        """By experiment of the run, its `labels` or `split`."""
        return {name: self._truth(self.config.experiments[name])[kind] for name in self.run}

    def of_datasets(self, pattern: str) -> dict[str, str]:
        """By data set of the run, a path: `pattern` with its name in place of `*`."""
        names = sorted({dataset for name in self.run for dataset in self.datasets_of(name)})
        return {name: pattern.replace("*", name) for name in names}

    def screened_splits(self) -> dict[str, str]:
        """By DATASET/SPLIT, the run's splits."""
        splits = sorted({block.split for block in self.experiments_of_run()})
        return {f"{self.dataset_of_split(name)}/{name}": f"results/splits/{name}.parquet" for name in splits}

    def screened_lungs(self) -> list[tuple[str, str]]:
        """(DATASET/SEGMENTER, crop boxes of a shard) of every cropped image set of the run."""
        image_sets = [self.config.image_sets[block.image_set] for block in self.experiments_of_run()]
        cropped = sorted({(block.dataset, block.segmenter) for block in image_sets if block.segmenter})
        return [
            (f"{dataset}/{segmenter}", path)
            for dataset, segmenter in cropped
            for path in self.by_shard(f"results/lungs/{segmenter}/{dataset}.*.parquet", dataset)
        ]

    def summary_rows(self, kind: str) -> dict[str, str]:
        """By row of the summary (a label set, or each of its splits), the label set (kind `labels`) or the split (`splits`)."""
        splits = dict.fromkeys(block.split for block in self.experiments_of_run())
        rows = [(label_set, split) for split in splits for label_set in pages.label_sets_of(self.config, split)]
        label_sets = [label_set for label_set, _ in rows]
        return {
            (f"{label_set}/{split}" if label_sets.count(label_set) > 1 else label_set):
            f"results/{kind}/{label_set if kind == 'labels' else split}.parquet"
            for label_set, split in rows
        }  # fmt: skip

    def measured_on(self) -> str:
        """What the run's numbers come from; where its experiments differ, the least trustworthy."""
        return min((block.provenance for block in self.experiments_of_run()), key=TRUST.index, default=TRUST[-1])

    def _column(self, column: str, wildcards: Wildcards) -> str:
        """The scores of a column."""
        name, _, model = column.partition("/")
        if not hasattr(wildcards, "cascade"):
            return self.scores_of(name, model)
        block = self.block("cascade", wildcards)
        return self.scores_of(block.flat, model) if name == "flat" else f"results/cascades/{wildcards.cascade}/{model}.parquet"

    def _model(self, wildcards: Wildcards) -> str:
        return wildcards.model if hasattr(wildcards, "model") else self.curves_model(wildcards)

    def _truth(self, block: Experiment) -> dict[str, str]:
        return {"labels": f"results/labels/{block.label_set}.parquet", "split": f"results/splits/{block.split}.parquet"}
