"""Blocks of an experiment: members, ensembles, published numbers."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from thorax.config.block import Block, refusal
from thorax.config.training import Training
from thorax.config.values import Distinct, Name, Seed, ThresholdRule, fixed_rule_first, without_repeats
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
    negative side, the F1 of the positive side, or sensitivity + specificity. All are reported; the paper's tables use the
    first, which must be fixed"""
    f1_metric: Literal["f1", "f1_positive"] = "f1"
    """F1 in tables and figures. f1: mean F1 of the positive and the negative side (Liz et al. 2022); f1_positive: 2PR / (P + R)
    of the positive side (Dunn Beltran and Alsaghier 2022). Both are in results/metrics"""
    exclusive: str | None = None
    """class that excludes all others, such as No Finding. Every rule is then reported without and with this logic: if it and
    others are positive, the others become negative if none has a higher score; otherwise it becomes negative"""
    cooccurrence: Distinct[str] = Field([])
    """classes of an additional figure of label co-occurrence; an empty list: no such figure"""
    cases: int = Field(12, ge=1, description="number of test images with heatmaps")
    browser_cases: int = Field(60, ge=0)
    """number of test images in the case browser, chosen as the cases, which are the first of them; 0: no case browser"""
    case_classes: Distinct[str] = Field([])
    """classes that come first among the cases, with one random test image each; then come the other classes, the rarest
    first"""
    heatmap_style: Literal["hot", "paper"] = "hot"
    """colours of the heatmaps. hot: the more evidence, the brighter, from orange to yellow, over a dimmed radiograph; paper, as in
    Liz et al. 2022: areas of interest are blue, with 10% transparency where the evidence is largest"""
    heatmap_checks: int = Field(64, ge=0)
    """number of test images on which the maps of the first network are checked: do they change when the weights are random, and do
    they show what the network uses; 0: no checks. Not for networks of two views"""
    seed: Seed = Field(0, description="random seed for the choice of cases and for the confidence intervals")

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

    def member(self, name: str) -> Training:
        """The full training settings of one member."""
        return Training(**{**self.training, **self.members[name]})

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
        if self.beside and self.beside.threshold_rule not in self.thresholds:
            problem = f"{self.beside.threshold_rule!r} is not among the thresholds: {', '.join(self.thresholds)}"
            raise refusal(problem, "beside", "threshold_rule")
        if self.beside and (unknown := [name for name in self.beside.models if name not in models]):
            raise refusal(f"{unknown[0]!r} is neither a member nor an ensemble", "beside", "models")
        if len(self.case_classes) > self.cases:
            raise refusal(f"{len(self.case_classes)} classes need as many cases, but there are {self.cases}", "case_classes")
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
