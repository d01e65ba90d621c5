"""The whole configuration, and what its blocks demand of each other.

Each check is a function of the configuration, the name of a block, and the block. It raises `Problem` with a text and the keys
below the block. `CHECKS` lists them in the order of the data; the first problem is the one that the user reads.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from thorax.config import strict_yaml
from thorax.config.block import Block, parse, refusal
from thorax.config.comparisons import Ablation, Audit, Cascade, Comparison, CrossEvaluation
from thorax.config.data import Dataset, ImageSet, Segmenter
from thorax.config.experiment import Experiment
from thorax.config.labels import LabelSet, Split
from thorax.config.training import Start
from thorax.config.values import DatasetName, Distinct, Name
from thorax.errors import did_you_mean


class Problem(Exception):
    """What is wrong with a block, and the keys below it that lead to the place."""

    def __init__(self, text: str, *keys: str) -> None:
        super().__init__(text)
        self.text, self.keys = text, keys


def must_exist(config: "Config", kind: str, name: str | None, *keys: str) -> None:
    """Raise `Problem` if a block is not in the configuration; None refers to nothing."""
    blocks = getattr(config, kind)
    if name is not None and name not in blocks:
        raise Problem(f"{name!r} is not in {kind}: {', '.join(blocks) or 'none'}{did_you_mean(name, blocks)}", *keys)


def label_set_has_its_views(config: "Config", name: str, label_set: LabelSet) -> None:
    must_exist(config, "datasets", label_set.dataset, "dataset")
    if missing := set(label_set.views) - set(config.datasets[label_set.dataset].views):
        raise Problem(f"{sorted(missing)[0]!r} is not among datasets.{label_set.dataset}.views", "views")


def second_views_are_of_the_same_studies(config: "Config", name: str, label_set: LabelSet) -> None:
    own, other = label_set.dataset, label_set.second
    must_exist(config, "datasets", other, "second")
    if other is None:
        return
    first, second = config.datasets[own], config.datasets[other]
    if (first.archive, first.root) != (second.archive, second.root):
        raise Problem(f"{other!r} is of another archive or root than {own!r}, so they share no study", "second")
    if shared := set(second.views) & set(label_set.views):
        raise Problem(f"{other!r} has view {sorted(shared)[0]}, which is one of the label set's own", "second")


def inside_has_the_images_of_its_general_set(config: "Config", name: str, label_set: LabelSet) -> None:
    must_exist(config, "label_sets", label_set.inside, "inside")
    if label_set.inside is None:
        return
    around = config.label_sets[label_set.inside]
    if around.grouping != "general":
        raise Problem(f"{label_set.inside!r} has no grouping: general", "inside")
    for key in ("dataset", "views", "drop_channels", "two_parents", "padded_labels", "padded_kept", "uncertain"):
        if getattr(label_set, key) != getattr(around, key):
            raise Problem(f"must be {getattr(around, key)!r}, as in {label_set.inside!r}", key)


def split_has_one_dataset(config: "Config", name: str, split: Split) -> None:
    first = split.label_sets[0]
    for key in ("label_sets", "also_for"):
        for label_set in getattr(split, key):
            must_exist(config, "label_sets", label_set, key)
            if around := config.label_sets[label_set].inside:
                raise Problem(f"{label_set!r} has the images of {around!r}: name that one.", key)
            if config.label_sets[label_set].dataset != config.label_sets[first].dataset:
                raise Problem("label sets that share a split must all be of one data set", key)
    if both := set(split.label_sets) & set(split.also_for):
        raise Problem(f"{sorted(both)[0]!r} is in label_sets as well: remove one.", "also_for")


def archive_has_the_test_part(config: "Config", name: str, split: Split) -> None:
    archive = config.archive_of(split.label_sets[0])
    if split.official and archive == "chexpert":
        raise Problem("CheXpert has no public test list: use test_on: radiologists, which tests on valid.csv.", "official")
    if split.test_on == "radiologists" and archive != "chexpert":
        raise Problem(f"archive {archive!r} has no images that radiologists labelled: use shares.", "test_on")


def kept_split_is_another(config: "Config", name: str, split: Split) -> None:
    """A split that keeps its own file would have to be made before it is made."""
    own = Path("results/splits")
    names = {own / f"{each}.parquet" for each in config.splits}
    if split.keep and Path(os.path.relpath(split.keep)) in names:
        raise Problem(f"{split.keep} is made by this configuration: copy it to another folder and name the copy.", "keep")


def segmenter_fits_its_size(config: "Config", name: str, segmenter: Segmenter) -> None:
    must_exist(config, "splits", segmenter.train_patients_of, "train_patients_of")
    halvings = len(segmenter.filters) - 1
    if segmenter.size % 2**halvings:
        need = f"as {halvings + 1} filters need: use a multiple of {2**halvings}"
        raise Problem(f"{segmenter.size} cannot be halved {halvings} times, {need}", "size")


def image_set_has_its_sources(config: "Config", name: str, image_set: ImageSet) -> None:
    must_exist(config, "datasets", image_set.dataset, "dataset")
    must_exist(config, "segmenters", image_set.segmenter, "segmenter")


def experiment_has_its_parts(config: "Config", name: str, experiment: Experiment) -> None:
    for key in ("label_set", "split", "image_set", "second_image_set"):
        must_exist(config, f"{key.removeprefix('second_')}s", getattr(experiment, key), key)
    split = config.splits[experiment.split]
    covered = config.label_sets[experiment.label_set].inside or experiment.label_set
    if covered not in (*split.label_sets, *split.also_for):
        raise Problem(f"{experiment.split!r} does not list label set {covered!r}", "split")
    dataset = config.label_sets[experiment.label_set].dataset
    if config.image_sets[experiment.image_set].dataset != dataset:
        raise Problem(f"{experiment.image_set!r} is not of data set {dataset!r}", "image_set")


def networks_take_the_intensities(config: "Config", name: str, experiment: Experiment) -> None:
    stored = config.image_sets[experiment.image_set].intensity == "stored"
    for name in experiment.members:
        member = experiment.member(name)
        problems = {
            "holds 8-bit images: input_scaling: none is for intensity: stored": not stored and member.input_scaling == "none",
            "has intensity: stored, which needs input_scaling: none": stored and member.input_scaling != "none",
            "has intensity: stored, and augmentation changes 8-bit images only: set augmentation: null": stored
            and member.augmentation,
            "has intensity: stored, and half precision ends at 65,504: set precision: float32": stored
            and member.precision != "float32",
        }
        for problem in (text for text, found in problems.items() if found):
            raise Problem(f"{experiment.image_set!r} {problem}", "members", name)


def second_view_fits_the_first(config: "Config", name: str, experiment: Experiment) -> None:
    label_set, own, named = experiment.label_set, experiment.image_set, experiment.second_image_set
    if named is None:
        return
    first, second, wanted = config.image_sets[own], config.image_sets[named], config.label_sets[label_set].second
    key = "second_image_set"
    if wanted is None:
        raise Problem(f"label set {label_set!r} has one view per study: name a data set of other views as its `second`.", key)
    if second.dataset != wanted:
        raise Problem(f"{named!r} is not of data set {wanted!r}, the `second` of label set {label_set!r}", key)
    if (first.size, first.intensity) != (second.size, second.intensity):
        raise Problem(f"{named!r} has another size or intensity than {own!r}: give both the same.", key)


def segmenter_learnt_from_no_test_patient(config: "Config", name: str, experiment: Experiment) -> None:
    for key in ("image_set", "second_image_set"):
        image_set = getattr(experiment, key)
        segmenter = config.image_sets[image_set].segmenter if image_set else None
        taught_by = config.segmenters[segmenter].train_patients_of if segmenter else None
        if taught_by not in (None, experiment.split):
            learns = f"its segmenter {segmenter!r} learns from training patients of split {taught_by!r}"
            use = f"use a segmenter with train_patients_of: {experiment.split}"
            raise Problem(f"{learns}, who may be test patients of {experiment.split!r}: {use}.", key)


def weights_come_from_a_fitting_training(config: "Config", name: str, experiment: Experiment) -> None:
    """A member starts from a network of the same form, whose training ends before, without having seen this one's test patients."""
    for member in experiment.trainings:
        written = experiment.trainings[member][0]
        keys = ("members", written, "weights") if "weights" in experiment.members[written] else ("training", "weights")
        before, chain = source_of(config, name, member, *keys), [(name, member)]
        if before is not None:
            _fits(config, (name, member), before, *keys)
        while before is not None:
            _saw_no_test_patient(config, name, before[0], *keys)
            if before in chain:
                ring = " starts from ".join("/".join(step) for step in [*chain[chain.index(before) :], before])
                advice = "let one of them start from imagenet or none"
                what = "a network cannot start from itself" if len(chain) == 1 else f"they wait for each other: {ring}"
                raise Problem(f"{what}: {advice}.", *keys)
            chain.append(before)
            before = source_of(config, *before, *keys)


def source_of(config: "Config", name: str, member: str, *keys: str) -> tuple[str, str] | None:
    """The experiment and the member whose network one of an experiment's trainings starts from; None if it is no other's here."""
    start = config.experiments[name].member(member).weights
    if not isinstance(start, Start) or start.experiment is None or start.member is None:
        return None
    must_exist(config, "experiments", start.experiment, *keys, "experiment")
    known = config.experiments[start.experiment].trainings
    if start.member not in known:
        text = (
            f"{start.member!r} is not a member of {start.experiment!r}: {', '.join(known)}{did_you_mean(start.member, known)}"
        )
        raise Problem(text, *keys, "member")
    return start.experiment, start.member


def _fits(config: "Config", own: tuple[str, str], source: tuple[str, str], *keys: str) -> None:
    """Raise `Problem` unless two networks have the same layers, but for the last one, and take the same input."""
    (ours, theirs), named = (config.experiments[name] for name, _ in (own, source)), "/".join(source)
    mine, other = ours.member(own[1]), theirs.member(source[1])
    form = {
        key: (getattr(mine, key), getattr(other, key))
        for key in ("backbone", "head", "dense_units", "channels", "input_scaling")
    }
    views = tuple(2 if experiment.second_image_set else 1 for experiment in (ours, theirs))
    sizes = tuple(config.image_sets[experiment.image_set].size for experiment in (ours, theirs))
    for key, (wanted, found) in {**form, "number of views": views, "size of the images": sizes}.items():
        if wanted != found:
            raise Problem(f"{named} has {key} {found}, and this network {wanted}: give both the same.", *keys)


def _saw_no_test_patient(config: "Config", name: str, source: str, *keys: str) -> None:
    """Raise `Problem` if another split of the same archive decides whom the network that is started from learnt from.

    A published archive has the same patients in every folder; an archive of your own and a phantom, in one folder only.
    """
    ours, theirs = (config.experiments[each] for each in (name, source))
    here, there = (config.datasets[config.label_sets[experiment.label_set].dataset] for experiment in (ours, theirs))
    published = config.published_archive(name) is not None and config.published_archive(source) is not None
    same_patients = here.archive == there.archive and (published or Path(here.root).resolve() == Path(there.root).resolve())
    if same_patients and ours.split != theirs.split:
        learns = (
            f"{source!r} learns from training patients of split {theirs.split!r}, who may be test patients of {ours.split!r}"
        )
        raise Problem(f"{learns}: use the same data set and split in both.", *keys)


def ablation_is_fair(config: "Config", name: str, ablation: Ablation) -> None:
    """The same classes and patients throughout, and published numbers for each experiment."""
    first_name = ablation.experiments[0]
    for other_name in ablation.experiments:
        must_exist(config, "experiments", other_name, "experiments")
        first, other = config.experiments[first_name], config.experiments[other_name]
        if other.beside is None:
            raise Problem(f"{other_name!r} has no published numbers: give it `beside`.", "experiments")
        if any(getattr(first, key) != getattr(other, key) for key in ("label_set", "split", "provenance")):
            raise Problem(f"{other_name!r} is of another label set, split or provenance than {first_name!r}", "experiments")


def cascade_is_fair(config: "Config", name: str, cascade: Cascade) -> None:
    """The same patients and models in all three experiments, from general classes to the specific ones inside them."""
    if name in config.experiments:
        raise Problem("a cascade needs a name that no experiment has")
    steps = {"general": cascade.general, "inside": cascade.inside, "flat": cascade.flat}
    for step, experiment_name in steps.items():
        must_exist(config, "experiments", experiment_name, step)
    flat = config.experiments[cascade.flat]
    for step, experiment_name in steps.items():
        experiment = config.experiments[experiment_name]
        if (experiment.split, experiment.provenance) != (flat.split, flat.provenance):
            raise Problem(f"{experiment_name!r} is of another split or provenance than {cascade.flat!r}", step)
        for model in cascade.models:
            kind, article = ("member", "a") if model in flat.members else ("ensemble", "an")
            if model not in getattr(experiment, f"{kind}s"):
                raise Problem(f"{model!r} is not {article} {kind} of experiment {experiment_name!r}", "models")
    general, inside_name = (config.experiments[step].label_set for step in (cascade.general, cascade.inside))
    inside, whole = config.label_sets[inside_name], config.label_sets[flat.label_set]
    if inside.inside != general:
        raise Problem(f"label set {inside_name!r} of this experiment is not inside {general!r}", "inside")
    if whole.grouping != "specific" or whole.inside is not None:
        raise Problem(f"label set {flat.label_set!r} of this experiment is not one of all specific classes", "flat")
    # Every class of the flat network must be one of the inside network too, unless nearly all images there have it
    for field in ("views", "drop_channels", "uncertain"):
        if getattr(inside, field) != getattr(whole, field):
            raise Problem(f"label sets {inside_name!r} and {flat.label_set!r} differ in {field}: give both the same.")
    for field in ("min_images", "min_patients"):
        if getattr(inside, field) > getattr(whole, field):
            problem = f"label set {inside_name!r} leaves out classes of {flat.label_set!r}"
            raise Problem(f"{problem}: lower its {field} to {getattr(whole, field)}.")
    if lacking := [label for label in inside.exclude if label not in whole.exclude]:
        problem = f"label set {inside_name!r} excludes {lacking[0]!r}, and {flat.label_set!r} does not"
        raise Problem(f"{problem}: do the same in both.")


def comparison_is_fair(config: "Config", name: str, comparison: Comparison) -> None:
    """The same classes, test images and threshold rule throughout, and models that exist."""
    first_name = next(iter(comparison.experiments))
    for other_name, models in comparison.experiments.items():
        must_exist(config, "experiments", other_name, "experiments")
        first, other = config.experiments[first_name], config.experiments[other_name]
        for key in ("label_set", "split", "provenance", "f1_metric"):
            if getattr(other, key) != getattr(first, key):
                text = f"{other_name!r} has another {key.replace('_', ' ')} than {first_name!r}: only equal ones are compared"
                raise Problem(text, "experiments")
        if other.thresholds[0] != first.thresholds[0]:
            text = f"{other_name!r} has another first threshold rule than {first_name!r}: give both the same."
            raise Problem(text, "experiments")
        known = [*other.members, *other.ensembles, "baseline"]
        if unknown := [model for model in models if model not in known]:
            raise Problem(f"{unknown[0]!r} is not a model of {other_name!r}: {', '.join(known)}", "experiments", other_name)


def cross_is_fair(config: "Config", name: str, cross: CrossEvaluation) -> None:
    """Probabilities of models of different archives, on images that are made alike."""
    first_name, tested = next(iter(cross.experiments)), dict[str, str]()
    for experiment in cross.experiments:
        must_exist(config, "experiments", experiment, "experiments")
    for other_name, model in cross.experiments.items():
        first, other, keys = config.experiments[first_name], config.experiments[other_name], ("experiments", other_name)
        if model not in (*other.members, *other.ensembles):
            raise Problem(f"{model!r} is neither a member nor an ensemble of {other_name}", *keys)
        ensemble = other.ensembles.get(model)
        if ensemble and ensemble.rule != "ctp":
            raise Problem(f"{model!r} is an ensemble of rule {ensemble.rule}: name a member or an ensemble of rule ctp.", *keys)
        archive = config.archive_of(other.label_set)
        if archive == "own":
            raise Problem("it is of an archive of your own, whose labels have no known names in the others", *keys)
        if archive in tested:
            text = f"it is of archive {archive}, as {tested[archive]!r} is, and may test on patients that one learnt from"
            raise Problem(text, *keys)
        tested[archive] = other_name
        for member in ensemble.members if ensemble else [model]:  # what it starts from is tested too
            source = source_of(config, other_name, member)
            while source is not None:
                for patients_of in cross.experiments:
                    _saw_no_test_patient(config, patients_of, source[0], *keys)
                source = source_of(config, *source)
        if other.provenance != first.provenance:
            raise Problem(f"it has another provenance than {first_name!r}", *keys)
        for key in ("size", "crop", "intensity", "contrast"):
            ours, theirs = (getattr(config.image_sets[experiment.image_set], key) for experiment in (other, first))
            if ours != theirs:
                raise Problem(f"its images have {key}: {ours}, those of {first_name!r} have {key}: {theirs}", *keys)


def phantom_has_its_own_folder(config: "Config", name: str, dataset: Dataset) -> None:
    """Two jobs would make one folder at once."""
    same = [key for key, other in config.datasets.items() if Path(other.root).resolve() == Path(dataset.root).resolve()]
    first = config.datasets[same[0]]
    if first.phantom != dataset.phantom or (dataset.phantom and first.archive != dataset.archive):
        raise Problem(f"{dataset.root!r} is also the root of datasets.{same[0]}, with other phantom settings", "root")
    if dataset.phantom and dataset.root != first.root:
        raise Problem(f"it is the same folder as {first.root!r}: write it in that way.", "root")


CHECKS: dict[str, tuple[Callable[["Config", str, Any], None], ...]] = {
    "label_sets": (label_set_has_its_views, second_views_are_of_the_same_studies, inside_has_the_images_of_its_general_set),
    "splits": (split_has_one_dataset, archive_has_the_test_part, kept_split_is_another),
    "segmenters": (segmenter_fits_its_size,),
    "image_sets": (image_set_has_its_sources,),
    "experiments": (
        experiment_has_its_parts,
        networks_take_the_intensities,
        second_view_fits_the_first,
        segmenter_learnt_from_no_test_patient,
        weights_come_from_a_fitting_training,
    ),
    "ablations": (ablation_is_fair,),
    "cascades": (cascade_is_fair,),
    "comparisons": (comparison_is_fair,),
    "cross": (cross_is_fair,),
    "datasets": (phantom_has_its_own_folder,),
}


class Config(Block):
    """The whole configuration."""

    datasets: dict[DatasetName, Dataset] = Field(description="archives of radiographs")
    label_sets: dict[Name, LabelSet] = Field(description="classes, and the images that have them")
    splits: dict[Name, Split] = Field(description="assignments of patients to train, val and test")
    segmenters: dict[Name, Segmenter] = Field({}, description="networks that find lungs")
    image_sets: dict[Name, ImageSet] = Field(description="ways to make training images")
    experiments: dict[Name, Experiment] = Field(description="problems, networks, ensembles, tables and figures")
    ablations: dict[Name, Ablation] = Field({}, description="experiments in one table, each next to its published numbers")
    cascades: dict[Name, Cascade] = Field({}, description="general classes first, then specific classes inside them")
    comparisons: dict[Name, Comparison] = Field({}, description="models of several experiments in one table")
    cross: dict[Name, CrossEvaluation] = Field({}, description="models of several archives, each tested on all of them")
    audit: Audit = Field(Audit(), description="published counts next to ours")
    device: Literal["cpu", "gpu"] = Field("cpu", description="conda environment of the jobs, with --sdm conda")
    run: Distinct[Name] = Field(description="experiments to run; an empty list if you only want the audit")

    def archive_of(self, label_set: str) -> str:
        """The archive that a label set is of."""
        return self.datasets[self.label_sets[label_set].dataset].archive

    def published_archive(self, experiment: str) -> str | None:
        """The archive that an experiment is of, if it has the same patients everywhere: not your own, and no phantom."""
        block = self.experiments[experiment]
        dataset = self.datasets[self.label_sets[block.label_set].dataset]
        return None if dataset.archive == "own" or dataset.phantom or block.provenance == "phantom" else dataset.archive

    @model_validator(mode="after")
    def _blocks_fit_together(self) -> "Config":
        place: tuple[str, ...] = ()
        try:
            for kind, checks in CHECKS.items():
                for name, block in getattr(self, kind).items():
                    place = (kind, name)
                    for check in checks:
                        check(self, name, block)
            place = ("audit", "compare")
            for label_set, split in self.audit.compare.items():
                must_exist(self, "label_sets", label_set)
                must_exist(self, "splits", split, label_set)
            place = ("run",)
            for experiment in self.run:
                must_exist(self, "experiments", experiment)
        except Problem as problem:
            raise refusal(problem.text, *place, *problem.keys) from problem
        return self


def load(path: Path | str) -> Config:
    """Read and validate a configuration file. Errors as in `parse` and `strict_yaml.read`."""
    return parse(Config, strict_yaml.read(path), str(path))
