"""Blocks of an experiment: members, ensembles, published numbers."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from thorax.config.block import Block, refusal
from thorax.config.training import Training
from thorax.config.values import Distinct, Folder, Name, Seed, ThresholdRule, fixed_rule_first, without_repeats
from thorax.errors import did_you_mean

CASES_PER_PAGE = 100  # of the case browser: a page that a browser opens at once


class Ensemble(Block):
    """A rule that combines members."""

    rule: Literal["ctp", "ptc_lw", "ptc_mode", "max_vote", "max_probability", "weighted_average", "stacked"]
    """ctp (combine then predict): mean probability, the simple average of Kejriwal et al.; ptc_lw (predict then combine,
    label-wise): majority vote per label; ptc_mode: most frequent label set; max_vote: share of members that vote yes, and
    max_probability: largest probability, two readings of Kejriwal's max vote; weighted_average: mean with weights per class
    from the members' validation AUC; stacked: logistic regression per class on the members' validation logits. The last two
    score each validation image by what they learnt from other patients, because thresholds are tuned there"""
    C: float = Field(1.0, gt=0)
    """stacked: inverse strength of the L2 penalty on the members' coefficients, as in scikit-learn"""
    members: Distinct[str] = Field(min_length=2, description="members to combine, each once")


class Beside(Block):
    """The published numbers next to ours: an experiment of a paper in resources/published/*.csv."""

    paper: Name = Field(description="name of the paper, e.g. liz2022")
    variant: Name = Field(description="experiment of the paper, e.g. specific-noaug")
    models: dict[Name, str] = Field({}, description="the paper's names of our members and ensembles, if they differ")
    threshold_rule: Name = Field("fixed-0.5", description="threshold rule of our metrics, e.g. fixed-0.4")


class Experts(Block):
    """What several readers say of the test images: radiologists who read them again."""

    files: Distinct[Folder] = Field(min_length=1)
    """CSV or Parquet tables, one for each reader, or one with a row for each image and reader; a column per class with 1 or yes, 0
    or no, and -1 or nothing where not read"""
    reader: str | None = Field(None, description="column that names the reader; null: each file is of one reader")
    id: str | None = Field(None, description="column that identifies the image; null: the first")
    ignore_extension: bool = Field(False, description="compare identifiers without the ending of a file name, such as .png")
    prefix: str = Field("", description="what the columns of classes begin with")
    rename: dict[str, str] = Field({}, description="classes whose column has another name, as COLUMN: CLASS")


class Experiment(Block):
    """A problem, a way to train, members, ensembles, tables and figures."""

    renamed: ClassVar[dict[str, str]] = {"data": "data is now provenance; write provenance: full, sample or phantom."}

    title: str = Field(description="title of tables and figures")
    paper: Name | None = None
    """paper on whose page the report shows it, e.g. liz2022; null: the page beyond the papers"""
    beside: Beside | None = Field(None, description="published numbers next to ours; null: none")
    provenance: Literal["full", "sample", "phantom"] = "full"
    """what the tables say that they were run on: the full archive, a sample of it, or a synthetic one"""
    label_set: Name = Field(description="classes")
    split: Name = Field(description="patients of train, val and test; must list the label set")
    image_set: Name = Field(description="input of the networks")
    second_image_set: Name | None = None
    """second view of each study, from the data set that the label set names as `second`. Each network has a backbone per view,
    and one head on the mean of their pooled features; null: one view"""
    training: dict[str, Any] = Field({}, description="settings that all members share")
    members: dict[Name, dict[str, Any]] = Field(min_length=1)
    """networks: the backbone of each, and settings that differ"""
    ensembles: dict[Name, Ensemble] = Field({}, description="combinations of members")
    thresholds: Annotated[
        list[ThresholdRule], Field(min_length=1), AfterValidator(without_repeats), AfterValidator(fixed_rule_first)
    ] = Field(["fixed-0.5", "f1"])
    """rules that turn probabilities into decisions. fixed-0.5, fixed-0.4 and so on: the same threshold for all classes; f1,
    f1_positive, youden: one threshold per class, which maximises on validation images the mean F1 of the positive and the
    negative side, the F1 of the positive side, or sensitivity + specificity; specificity-0.9, sensitivity-0.95 and so on: one
    threshold per class, which maximises the other side among those that reach this specificity (or sensitivity) on validation
    images. All are reported; the paper's tables use the first, which must be fixed"""
    f1_metric: Literal["f1", "f1_positive"] = "f1"
    """F1 in tables and figures. f1: mean F1 of the positive and the negative side (Liz et al. 2022); f1_positive: 2PR / (P + R)
    of the positive side (Dunn Beltran and Alsaghier 2022). Both are in results/metrics"""
    bold: Literal["interval", "paper"] = "interval"
    """bold print in result tables. interval: networks whose difference from the best network of the row has a 95% interval that
    contains 0, and ensembles with an interval that excludes 0 on the better side; paper, as in Liz et al. 2022: the best network,
    and ensembles with a larger number than it"""
    exclusive: str | None = None
    """class that excludes all others, such as No Finding. Every rule is then reported without and with this logic: if it and
    others are positive, the others become negative if none has a higher score; otherwise it becomes negative"""
    cooccurrence: Distinct[str] = Field([])
    """classes of an additional figure of label co-occurrence; an empty list: no such figure"""
    cases: int = Field(12, ge=1, description="number of test images with heatmaps")
    review: bool = True
    """whether there are pages for a reviewer, too: paired differences, calibration, operating points, groups, heatmaps
    against boxes and their checks, the case browser, records of every test image. false saves time where many experiments are run"""
    browser_cases: int = Field(60, ge=0)
    """number of test images in the case browser, chosen as the cases, which are the first of them; 0: no case browser"""
    case_classes: Distinct[str] = Field([])
    """classes that come first among the cases, with one random test image each; then come the other classes, the rarest
    first"""
    groups: Distinct[Literal["sex", "age", "view", "label_source", "findings", "folder", "official_split", "photometric"]] = (
        Field(["sex", "age", "view", "label_source", "findings", "folder"])
    )
    """groups of test images that the best model is measured on, each with its gap to all others: columns of the catalog; findings:
    the number of findings (0, 1, 2, 3 or more); folder: the first part of the file's path. Left out and named are those with a
    single value and those with more than 12. An image's label_source always is one where an archive has several"""
    heatmap_probability: Literal["raw", "calibrated"] = "raw"
    """probability in the titles of the heatmaps. raw: that of the ensemble of rule ctp; calibrated: the same after Platt scaling on
    validation images. Votes, and what counts as found, follow the raw one"""
    heatmap_style: Literal["hot", "paper"] = "hot"
    """colours of the heatmaps. hot: the more evidence, the brighter, from orange to yellow, over a dimmed radiograph; paper, as in
    Liz et al. 2022: areas of interest are blue, with 10% transparency where the evidence is largest"""
    heatmap_method: Literal["gradcam", "layercam", "shifts", "double", "noise"] = "gradcam"
    """how heatmaps are made. gradcam: Grad-CAM, as in Liz et al. 2022; layercam: with positive gradients only; shifts: of images moved by
    a quarter of a cell to each side, with twice as many cells, at four more predictions; double: of images at twice their size, with
    twice as many cells, at four times the cost of a prediction (head: dense and one view only); noise: the mean over eight noisy copies
    of the image, at eight more predictions. `python -m bench maps` compares them against boxes"""
    heatmap_checks: int = Field(64, ge=0)
    """number of test images on which the maps of the first network are checked: do they change when the weights are random, and do
    they show what the network uses; 0: no checks. Not for networks of two views"""
    seed: Seed = Field(0, description="random seed for the choice of cases and for the confidence intervals")
    experts: Experts | None = Field(None, description="readers to compare labels and models with; null: none")
    suspects: int = Field(0, ge=0, le=60)
    """number of images to show whose labels are probably wrong by the networks' predictions; 0: no search for them"""
    repeats: int = Field(1, ge=1)
    """trainings of each network. Those after the first have its next seeds (seed + 1, seed + 2 ...) and the names MEMBER.2,
    MEMBER.3 ...; they are in no ensemble, only in the table of repeats and in the checks of heatmaps"""

    @property
    def mean(self) -> str | None:
        """The ensemble of the heatmaps: the first of rule ctp; None if there is none."""
        return next((name for name, ensemble in self.ensembles.items() if ensemble.rule == "ctp"), None)

    @property
    def browser_pages(self) -> int:
        """The number of pages of the case browser."""
        return -(-self.browser_cases // CASES_PER_PAGE)

    @property
    def explained(self) -> list[str]:
        """The members whose maps and votes the heatmaps show: those of `mean`, or all if there is none."""
        return self.ensembles[self.mean].members if self.mean else list(self.members)

    @property
    def checks_heatmaps(self) -> bool:
        """Whether a network's maps are checked."""
        return self.heatmap_checks > 0 and self.second_image_set is None

    @property
    def trainings(self) -> dict[str, tuple[str, int]]:
        """All trainings by name: the member, and how far its seed is from the member's own. The members come first."""
        named = {name: (name, 0) for name in self.members}
        return named | {f"{name}.{n + 1}": (name, n) for n in range(1, self.repeats) for name in self.members}

    def member(self, name: str) -> Training:
        """The full settings of one of the trainings."""
        member, further = self.trainings[name]
        settings = Training(**{**self.training, **self.members[member]})
        return settings.model_copy(update={"seed": (settings.seed + further) % 2**32}) if further else settings

    @model_validator(mode="after")
    def _members_are_whole(self) -> "Experiment":
        for name in self.members:
            try:
                self.member(name)
            except ValidationError as error:
                raise self._where_written(name, error) from error
        models = (*self.members, *self.ensembles)
        for name, ensemble in self.ensembles.items():
            if unknown := [member for member in ensemble.members if member not in self.members]:
                known = f"{', '.join(self.members)}{did_you_mean(unknown[0], self.members)}"
                raise refusal(f"{unknown[0]!r} is not a member: {known}", "ensembles", name, "members")
            if name in self.members or name == "baseline":
                raise refusal("an ensemble needs a name that no member has", "ensembles", name)
        again = (f"{name}.{number}" for number in range(2, self.repeats + 1) for name in self.members)
        if taken := [name for name in again if name in models]:
            raise refusal(f"{taken[0]!r} is the name of a repeated training: rename it", "repeats")
        if self.beside and self.beside.threshold_rule not in self.thresholds:
            problem = f"{self.beside.threshold_rule!r} is not among the thresholds: {', '.join(self.thresholds)}"
            raise refusal(problem, "beside", "threshold_rule")
        if self.beside and (unknown := [name for name in self.beside.models if name not in models]):
            raise refusal(f"{unknown[0]!r} is neither a member nor an ensemble", "beside", "models")
        if len(self.case_classes) > self.cases:
            raise refusal(f"{len(self.case_classes)} classes need as many cases, but there are {self.cases}", "case_classes")
        if self.heatmap_method == "double" and (
            self.second_image_set or any(self.member(n).head != "dense" for n in self.members)
        ):
            raise refusal("double needs networks of one view with head: dense", "heatmap_method")
        if self.heatmap_probability == "calibrated" and not self.mean and len(self.members) > 1:
            raise refusal("it needs an ensemble of rule ctp, as scaling is fitted to one model", "heatmap_probability")
        if "baseline" in self.members:
            raise refusal("this name is kept for the logistic regression on pixels", "members", "baseline")
        return self

    def _where_written(self, member: str, error: ValidationError) -> ValidationError:
        """A member's errors at the keys that the user wrote: its own, or those of the shared training."""
        details = []
        for entry in error.errors():
            key = next(iter(entry["loc"]), None)
            shared = key not in self.members[member] and key in self.training
            place = ("training",) if shared else ("members", member)
            problem = PydanticCustomError(entry["type"], "{text}", {"text": entry["msg"]})  # type: ignore[arg-type]
            details.append(InitErrorDetails(type=problem, loc=(*place, *entry["loc"]), input=entry["input"]))
        return ValidationError.from_exception_data("member", details)
