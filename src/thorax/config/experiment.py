"""Blocks of an experiment: members, ensembles, published numbers."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from thorax.config.block import Block, Name, Seed, ThresholdRule, _refusal, _starts_fixed, _without_repeats, fixed_threshold
from thorax.config.training import Training
from thorax.errors import did_you_mean


class Ensemble(Block):
    """A rule that combines members."""

    rule: Literal["ctp", "ptc_lw", "ptc_mode", "max_vote", "max_probability", "weighted_average", "stacked"] = Field(
        description="combine then predict: ctp, the mean probability (the simple average of Kejriwal et al.); predict then combine, by "
        "label-wise majority (ptc_lw) or by the most frequent label set (ptc_mode); max_vote, the share of members that say yes, and "
        "max_probability, the largest probability: two readings of Kejriwal's max vote; weighted_average, a mean with weights per class "
        "from the members' validation AUC; stacked, a logistic regression per class on the members' validation logits; these two score "
        "validation images, on which thresholds are tuned, by what they learnt from other patients"
    )
    C: float = Field(
        1.0, gt=0, description="stacked: inverse strength of the L2 penalty on the members' coefficients, as in scikit-learn"
    )
    members: Annotated[list[str], AfterValidator(_without_repeats)] = Field(
        min_length=2, description="which members it combines, each once"
    )


class Beside(Block):
    """The published numbers that stand beside ours: a paper's experiment in resources/published/*.csv."""

    paper: Name = Field(description="whose numbers, e.g. liz2022")
    variant: Name = Field(description="which of its experiments, e.g. specific-noaug")
    models: dict[Name, str] = Field({}, description="our member or ensemble: the paper's name of it, where they differ")
    threshold_rule: Name = Field("fixed-0.5", description="of our metrics, those that decide by this rule, e.g. fixed-0.4")


class Experiment(Block):
    """One study: a problem, a way to train, members, ensembles, tables and figures."""

    title: str = Field(description="heading of tables and figures")
    paper: Name | None = Field(
        None, description="whose page of the report shows it, e.g. liz2022; null: that beyond the papers"
    )
    beside: Beside | None = Field(None, description="published numbers shown beside ours; null: none")
    data: Literal["archive", "sample", "phantom"] = Field("archive", description="what the tables say they were run on")
    label_set: Name = Field(description="the classes")
    split: Name = Field(description="which patients train, validate and test; must list the label set")
    image_set: Name = Field(description="what the networks see")
    second_image_set: Name | None = Field(
        None,
        description="what they see beside it, of the data set that the label set names as `second`: each network has a branch of its own "
        "for either view, and the mean of their pooled features goes into one head; null: one view",
    )
    training: dict[str, Any] = Field({}, description="training settings that all members share")
    members: dict[Name, dict[str, Any]] = Field(min_length=1, description="each a training: backbone, and what differs")
    ensembles: dict[Name, Ensemble] = Field({}, description="rules that combine members")
    thresholds: Annotated[
        list[ThresholdRule], Field(min_length=1), AfterValidator(_without_repeats), AfterValidator(_starts_fixed)
    ] = Field(
        ["fixed-0.5", "f1"],
        description="fixed-0.5 and the like: the same threshold for all classes; f1, f1_positive, youden: one threshold per class, "
        "tuned on the validation images for the mean F1 of the positive and the negative side, for the F1 of the positive side, or for "
        "sensitivity + specificity; all are reported, the first (a fixed one) in the paper's tables",
    )
    f1_metric: Literal["f1", "f1_positive"] = Field(
        "f1",
        description="which F1 tables and figures print: f1, the mean of the F1 of the positive and the negative side (Liz et al. 2022); "
        "f1_positive, 2PR / (P + R) of the positive side (Dunn Beltran and Alsaghier 2022); both are in results/metrics",
    )
    exclusive: str | None = Field(
        None,
        description="a class that excludes the rest, such as No Finding; every rule is reported without and with it: where this class "
        "and another are both a yes, the others become no if none has a higher score, and this class becomes no otherwise",
    )
    cooccurrence: Annotated[list[str], AfterValidator(_without_repeats)] = Field(
        [], description="classes of a co-occurrence figure of its own, beside that of the whole label set; none: no such figure"
    )
    cases: int = Field(12, ge=1, description="test images that are explained by heatmaps")
    case_classes: Annotated[list[str], AfterValidator(_without_repeats)] = Field(
        [],
        description="classes that come first among the cases, with one random test image each; the other cases are one for each other "
        "class, rarest class first",
    )
    seed: Seed = Field(0, description="of the choice of cases and of the intervals")

    @property
    def tuned(self) -> list[str]:
        """The threshold rules that are tuned on validation images."""
        return [rule for rule in self.thresholds if fixed_threshold(rule) is None]

    @property
    def mean(self) -> str | None:
        """The ensemble that heatmaps are of: the first that is a mean of probabilities (CTP); None where there is none."""
        return next((name for name, ensemble in self.ensembles.items() if ensemble.rule == "ctp"), None)

    @property
    def explained(self) -> list[str]:
        """The members whose maps and votes the heatmaps show: those of `mean`, or all where there is none."""
        return self.ensembles[self.mean].members if self.mean else list(self.members)

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
        for name, ensemble in self.ensembles.items():
            for member in ensemble.members:
                if member not in self.members:
                    known = f"{', '.join(self.members)}{did_you_mean(member, self.members)}"
                    raise _refusal(f"{member!r} is not a member: {known}", "ensembles", name, "members")
            if name in self.members or name == "baseline":
                raise _refusal("an ensemble needs a name that no member has", "ensembles", name)
        if self.beside and self.beside.threshold_rule not in self.thresholds:
            problem = f"{self.beside.threshold_rule!r} is not among the thresholds: {', '.join(self.thresholds)}"
            raise _refusal(problem, "beside", "threshold_rule")
        for name in self.beside.models if self.beside else ():
            if name not in (*self.members, *self.ensembles):
                raise _refusal(f"{name!r} is neither a member nor an ensemble", "beside", "models")
        if len(self.case_classes) > self.cases:
            raise _refusal(f"{len(self.case_classes)} classes need as many cases, but there are {self.cases}", "case_classes")
        if "baseline" in self.members:
            raise _refusal("this name is kept for the logistic regression on pixels", "members", "baseline")
        return self

    def _where_written(self, member: str, error: ValidationError) -> ValidationError:
        """A member's errors under the keys that the user wrote: its own, or those of the shared training."""
        details = []
        for entry in error.errors():
            key = next(iter(entry["loc"]), None)
            shared = key not in self.members[member] and key in self.training
            place = ("training",) if shared else ("members", member)
            problem = PydanticCustomError(entry["type"], "{text}", {"text": entry["msg"]})  # type: ignore[arg-type]
            details.append(InitErrorDetails(type=problem, loc=(*place, *entry["loc"]), input=entry["input"]))
        return ValidationError.from_exception_data("member", details)
