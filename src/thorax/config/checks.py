"""The whole configuration, and what its blocks demand of each other."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from thorax.config import strict_yaml
from thorax.config.block import Block, DatasetName, Name, _refusal, _without_repeats, parse
from thorax.config.comparisons import Ablation, Audit, Cascade, Comparison, CrossEvaluation
from thorax.config.data import Dataset, ImageSet, Segmenter
from thorax.config.experiment import Experiment
from thorax.config.labels import LabelSet, Split
from thorax.config.training import Training
from thorax.errors import did_you_mean


def _intensity_problem(image_set: ImageSet, member: Training) -> str | None:
    """Why a network cannot take the values of an image set."""
    if image_set.intensity == "range":
        return None if member.input_scaling != "none" else "holds 8-bit images: input_scaling: none is for intensity: stored"
    if member.input_scaling != "none":
        return "has intensity: stored, which needs input_scaling: none"
    if member.augmentation is not None:
        return "has intensity: stored, and augmentation changes 8-bit images only: set augmentation: null"
    if member.precision != "float32":
        return "has intensity: stored, and half precision ends at 65,504: set precision: float32"
    return None


class Config(Block):
    """The whole configuration."""

    datasets: dict[DatasetName, Dataset] = Field(description="archives")
    label_sets: dict[Name, LabelSet] = Field(description="classes and the images that have them")
    splits: dict[Name, Split] = Field(description="assignments of patients")
    segmenters: dict[Name, Segmenter] = Field({}, description="networks that find lungs")
    image_sets: dict[Name, ImageSet] = Field(description="ways to make training images")
    experiments: dict[Name, Experiment] = Field(description="studies")
    ablations: dict[Name, Ablation] = Field({}, description="experiments that are compared in one table")
    cascades: dict[Name, Cascade] = Field({}, description="general classes first, specific ones inside them")
    comparisons: dict[Name, Comparison] = Field({}, description="models of several experiments in one table")
    cross: dict[Name, CrossEvaluation] = Field({}, description="experiments whose models are tested on each other's archives")
    audit: Audit = Field(Audit(), description="counts in papers beside ours")
    device: Literal["cpu", "gpu"] = Field("cpu", description="the conda environment of jobs under --sdm conda")
    run: Annotated[list[Name], AfterValidator(_without_repeats)] = Field(
        description="the experiments to make; none where only the audit is wanted"
    )

    @model_validator(mode="after")
    def _names_exist(self) -> "Config":
        for key, label_set in self.label_sets.items():
            self._known("datasets", label_set.dataset, "label_sets", key, "dataset")
            missing = set(label_set.views) - set(self.datasets[label_set.dataset].views)
            if missing:
                text = f"{sorted(missing)[0]!r} is not among datasets.{label_set.dataset}.views"
                raise _refusal(text, "label_sets", key, "views")
            self._second_is_of_the_same_studies(key, label_set)
            self._inside_fits(key, label_set)
        for key, split in self.splits.items():
            for name, where in [*((n, "label_sets") for n in split.label_sets), *((n, "also_for") for n in split.also_for)]:
                self._known("label_sets", name, "splits", key, where)
                if (around := self.label_sets[name].inside) is not None:
                    raise _refusal(f"{name!r} has the images of {around!r}: name that one.", "splits", key, where)
                if self.label_sets[name].dataset != self.label_sets[split.label_sets[0]].dataset:
                    raise _refusal("label sets that share a split must all be of one data set", "splits", key, where)
            if both := set(split.label_sets) & set(split.also_for):
                raise _refusal(f"{sorted(both)[0]!r} is in label_sets as well: remove one.", "splits", key, "also_for")
            dataset = self.datasets[self.label_sets[split.label_sets[0]].dataset]
            if split.official and dataset.archive == "chexpert":
                text = "CheXpert has no public test list: use test_on: radiologists, which tests on valid.csv."
                raise _refusal(text, "splits", key, "official")
            if split.test_on == "radiologists" and dataset.archive != "chexpert":
                text = f"archive {dataset.archive!r} has no images that radiologists labelled: use shares."
                raise _refusal(text, "splits", key, "test_on")
        for key, segmenter in self.segmenters.items():
            self._known("splits", segmenter.train_patients_of, "segmenters", key, "train_patients_of")
            halvings = len(segmenter.filters) - 1
            if segmenter.size % 2**halvings:
                need = f"{halvings + 1} filters need: use a multiple of {2**halvings}"
                text = f"{segmenter.size} cannot be halved {halvings} times, as {need}"
                raise _refusal(text, "segmenters", key, "size")
        for key, image_set in self.image_sets.items():
            self._known("datasets", image_set.dataset, "image_sets", key, "dataset")
            self._known("segmenters", image_set.segmenter, "image_sets", key, "segmenter")
        for key in self.experiments:
            self._experiment_fits_together(key)
        for key, ablation in self.ablations.items():
            self._ablation_is_fair(key, ablation)
        for key, cascade in self.cascades.items():
            self._cascade_fits_together(key, cascade)
        for key, comparison in self.comparisons.items():
            self._comparison_is_fair(key, comparison)
        for key, cross in self.cross.items():
            self._cross_fits_together(key, cross)
        for compared, shares_of in self.audit.compare.items():
            self._known("label_sets", compared, "audit", "compare")
            self._known("splits", shares_of, "audit", "compare", compared)
        for name in self.run:
            self._known("experiments", name, "run")
        return self

    @model_validator(mode="after")
    def _one_phantom_per_folder(self) -> "Config":
        first: dict[str, str] = {}
        for key, dataset in self.datasets.items():
            other = first.setdefault(str(Path(dataset.root).resolve()), key)
            before = self.datasets[other]
            if before.phantom != dataset.phantom or (dataset.phantom and before.archive != dataset.archive):
                text = f"{dataset.root!r} is also the root of datasets.{other}, with other phantom settings"
                raise _refusal(text, "datasets", key, "root")
            if dataset.phantom and dataset.root != before.root:  # two jobs would make it at once
                raise _refusal(f"it is the same folder as {before.root!r}: write it in that way.", "datasets", key, "root")
        return self

    def _known(self, kind: str, name: str | None, *key: str) -> None:
        if name is not None and name not in getattr(self, kind):
            known = getattr(self, kind)
            raise _refusal(f"{name!r} is not in {kind}: {', '.join(known) or 'none'}{did_you_mean(name, known)}", *key)

    def _second_is_of_the_same_studies(self, key: str, label_set: LabelSet) -> None:
        self._known("datasets", label_set.second, "label_sets", key, "second")
        if label_set.second is None:
            return
        first, second = self.datasets[label_set.dataset], self.datasets[label_set.second]
        if (first.archive, first.root) != (second.archive, second.root):
            text = f"{label_set.second!r} is of another archive or root than {label_set.dataset!r}, so they share no study"
            raise _refusal(text, "label_sets", key, "second")
        if shared := set(second.views) & set(label_set.views):
            text = f"{label_set.second!r} has view {sorted(shared)[0]}, which is one of the label set's own"
            raise _refusal(text, "label_sets", key, "second")

    def _ablation_is_fair(self, key: str, ablation: Ablation) -> None:
        """The same classes and patients throughout, and published numbers for each."""
        for name in ablation.experiments:
            self._known("experiments", name, "ablations", key, "experiments")
            first, other = self.experiments[ablation.experiments[0]], self.experiments[name]
            if other.beside is None:
                raise _refusal(f"{name!r} has no published numbers: give it `beside`.", "ablations", key, "experiments")
            if (other.label_set, other.split, other.data) != (first.label_set, first.split, first.data):
                text = f"{name!r} is of another label set, split or data than {ablation.experiments[0]!r}"
                raise _refusal(text, "ablations", key, "experiments")

    def _inside_fits(self, key: str, label_set: LabelSet) -> None:
        """What is inside counts the same images, by the same rules, as the general label set."""
        self._known("label_sets", label_set.inside, "label_sets", key, "inside")
        if label_set.inside is None:
            return
        around = self.label_sets[label_set.inside]
        if around.grouping != "general":
            raise _refusal(f"{label_set.inside!r} has no grouping: general", "label_sets", key, "inside")
        for shared in ("dataset", "views", "drop_channels", "two_parents", "padded_labels", "padded_kept", "uncertain"):
            if getattr(label_set, shared) != getattr(around, shared):
                text = f"must be {getattr(around, shared)!r}, as in {label_set.inside!r}"
                raise _refusal(text, "label_sets", key, shared)

    def _cascade_fits_together(self, key: str, cascade: Cascade) -> None:
        """Three experiments on the same patients, of a general label set, of one inside it, and of one of the same data."""
        if key in self.experiments:
            raise _refusal("a cascade needs a name that no experiment has", "cascades", key)
        for part in ("general", "inside", "flat"):
            self._known("experiments", getattr(cascade, part), "cascades", key, part)
        for part in ("general", "inside", "flat"):
            name = getattr(cascade, part)
            experiment, first = self.experiments[name], self.experiments[cascade.flat]
            if (experiment.split, experiment.data) != (first.split, first.data):
                raise _refusal(f"{name!r} is of another split or data than {cascade.flat!r}", "cascades", key, part)
            for model in cascade.models:
                if model not in (experiment.members if model in first.members else experiment.ensembles):
                    kind = "member" if model in first.members else "ensemble"
                    raise _refusal(f"{model!r} is no {kind} of experiment {name!r}", "cascades", key, "models")
        general, inside, flat = (self.experiments[name].label_set for name in (cascade.general, cascade.inside, cascade.flat))
        if self.label_sets[inside].inside != general:
            raise _refusal(f"label set {inside!r} of this experiment is not inside {general!r}", "cascades", key, "inside")
        if self.label_sets[flat].grouping != "specific" or self.label_sets[flat].inside is not None:
            raise _refusal(f"label set {flat!r} of this experiment is not one of all specific classes", "cascades", key, "flat")

    def _comparison_is_fair(self, key: str, comparison: Comparison) -> None:
        """The same classes, test images and threshold rule throughout."""
        first_name = next(iter(comparison.experiments))
        for name, models in comparison.experiments.items():
            self._known("experiments", name, "comparisons", key, "experiments")
            first, other = self.experiments[first_name], self.experiments[name]
            for what in ("label_set", "split", "data", "f1_metric"):
                if getattr(other, what) != getattr(first, what):
                    text = f"{name!r} has another {what.replace('_', ' ')} than {first_name!r}: only equal ones are compared"
                    raise _refusal(text, "comparisons", key, "experiments")
            if other.thresholds[0] != first.thresholds[0]:
                text = f"{name!r} has another first threshold rule than {first_name!r}: give both the same."
                raise _refusal(text, "comparisons", key, "experiments")
            for model in models:
                known = [*other.members, *other.ensembles, "baseline"]
                if model not in known:
                    text = f"{model!r} is no model of {name!r}: {', '.join(known)}"
                    raise _refusal(text, "comparisons", key, "experiments", name)

    def _cross_fits_together(self, key: str, cross: CrossEvaluation) -> None:
        """Another archive each, images that every model can take, and models that give probabilities on any image."""
        names = list(cross.experiments)
        for name, model in cross.experiments.items():
            self._known("experiments", name, "cross", key, "experiments")
            experiment = self.experiments[name]
            if model not in (*experiment.members, *experiment.ensembles):
                raise _refusal(f"{model!r} is neither a member nor an ensemble of {name}", "cross", key, "experiments", name)
            if model in experiment.ensembles and experiment.ensembles[model].rule != "ctp":
                rule = experiment.ensembles[model].rule
                text = f"{model!r} is an ensemble of rule {rule}: name a member or an ensemble of rule ctp."
                raise _refusal(text, "cross", key, "experiments", name)
        archives = [self.datasets[self.label_sets[self.experiments[name].label_set].dataset].archive for name in names]
        first = self.experiments[names[0]]
        for name, archive in zip(names, archives, strict=True):
            where = ("cross", key, "experiments", name)
            if archive == "own":
                raise _refusal("it is of an archive of your own, whose labels have no known names in the others", *where)
            if (other := names[archives.index(archive)]) != name:
                raise _refusal(
                    f"it is of archive {archive}, as {other!r} is, and may test on patients that one learnt from", *where
                )
            if self.experiments[name].data != first.data:
                raise _refusal(f"it was run on other data (data: ...) than {names[0]!r}", *where)
            for field in ("size", "crop", "intensity", "contrast"):
                ours, theirs = (getattr(self.image_sets[e.image_set], field) for e in (self.experiments[name], first))
                if ours != theirs:
                    text = f"its images have {field}: {ours}, those of {names[0]!r} have {field}: {theirs}"
                    raise _refusal(text, *where)

    def _experiment_fits_together(self, key: str) -> None:
        """One data set throughout, and no test patient has taught the lung segmenter."""
        experiment = self.experiments[key]
        self._known("label_sets", experiment.label_set, "experiments", key, "label_set")
        self._known("splits", experiment.split, "experiments", key, "split")
        self._known("image_sets", experiment.image_set, "experiments", key, "image_set")
        covering = self.label_sets[experiment.label_set].inside or experiment.label_set
        split = self.splits[experiment.split]
        if covering not in (*split.label_sets, *split.also_for):
            text = f"{experiment.split!r} does not list label set {covering!r}"
            raise _refusal(text, "experiments", key, "split")
        dataset = self.label_sets[experiment.label_set].dataset
        image_set = self.image_sets[experiment.image_set]
        if image_set.dataset != dataset:
            raise _refusal(f"{experiment.image_set!r} is not of data set {dataset!r}", "experiments", key, "image_set")
        for name in experiment.members:
            problem = _intensity_problem(image_set, experiment.member(name))
            if problem:
                raise _refusal(f"{experiment.image_set!r} {problem}", "experiments", key, "members", name)
        self._second_view_fits(key, experiment)
        for kind, seen in (("image_set", experiment.image_set), ("second_image_set", experiment.second_image_set)):
            segmenter = self.image_sets[seen].segmenter if seen else None
            taught_by = self.segmenters[segmenter].train_patients_of if segmenter else None
            if taught_by not in (None, experiment.split):
                text = (
                    f"its segmenter {segmenter!r} learns from training patients of split {taught_by!r}, who may be test "
                    f"patients of {experiment.split!r}: use a segmenter with train_patients_of: {experiment.split}."
                )
                raise _refusal(text, "experiments", key, kind)

    def _second_view_fits(self, key: str, experiment: Experiment) -> None:
        """Images of the data set in which the label set seeks the second views, of the size and type of the first ones."""
        name = experiment.second_image_set
        if name is None:
            return
        self._known("image_sets", name, "experiments", key, "second_image_set")
        first, second = self.image_sets[experiment.image_set], self.image_sets[name]
        wanted = self.label_sets[experiment.label_set].second
        if wanted is None:
            text = f"label set {experiment.label_set!r} is not one of studies: name a data set of other views as its `second`."
        elif second.dataset != wanted:
            text = f"{name!r} is not of data set {wanted!r}, where label set {experiment.label_set!r} seeks the second views"
        elif (first.size, first.intensity) != (second.size, second.intensity):
            text = f"{name!r} has another size or intensity than {experiment.image_set!r}: give both the same."
        else:
            return
        raise _refusal(text, "experiments", key, "second_image_set")


def load(path: Path | str) -> Config:
    """Read and validate a configuration file."""
    return parse(Config, strict_yaml.read(path), str(path))
