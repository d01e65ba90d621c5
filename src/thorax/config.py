"""The configuration: named blocks that experiments refer to, and the only source of its schema.

Every block that two experiments may share has a name of its own, so that it is made once and comparisons are fair.
Commands receive only the block they need, as YAML or JSON text (`--settings`).
"""

import os
import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, LiteralString, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from thorax import strict_yaml
from thorax.errors import ThoraxError, did_you_mean

FIRST_CHEXPERT_PHANTOM = 70_001  # number of a phantom's first patient; CheXpert's have five digits and end at 65,240
Listed = TypeVar("Listed", str, float)
REFUSED: LiteralString = "refused"  # the type of this module's own errors, whose text already shows the value
UNKNOWN_KEY: LiteralString = "unknown_key"  # its text is the suggestion, if there is one


def _refusal(text: str, *key: str, kind: LiteralString = REFUSED) -> ValidationError:
    """An error at a key below the block that is being checked."""
    details = InitErrorDetails(type=PydanticCustomError(kind, "{text}", {"text": text}), loc=key, input=None)
    return ValidationError.from_exception_data("refusal", [details])


def _tidy_folder(path: str) -> str:
    """The folder as Snakemake writes it: no slash at the end, none doubled; with ~, $NAME and ${NAME} expanded.

    An address, and what only a shell or Windows expands, would become a folder of that name here: these are refused.

    Raises:
        ValueError: It has no name, a brace (Snakemake would read a wildcard), an unknown user or variable, or an empty one.
    """
    if empty := next((name for name in re.findall(r"\$\{?(\w+)", path) if os.environ.get(name) == ""), None):
        raise ValueError(f"the environment's variable {empty} is empty: set it, or write the folder itself.")
    folder = os.path.expandvars(path)
    if variable := re.search(r"\$(\w+|\{[^}]*\})", folder):
        raise ValueError(f"the environment has no variable {variable[1].strip('{}')}: set it, or write the folder itself.")
    if not folder:
        raise ValueError("it is empty: name a folder.")
    if "://" in folder:
        raise ValueError("it is an address: copy the files into a folder and name that.")
    if found := re.search(r"\$[({]|`|%[A-Za-z_]\w*%", folder):
        raise ValueError(f"{found[0]} is not expanded: write $NAME for a variable of the environment, or the folder itself.")
    if set("{}\n") & set(folder):
        raise ValueError("a folder needs a name without { and }, in one line")
    try:
        expanded = Path(folder).expanduser()
    except RuntimeError as error:
        raise ValueError(f"there is no user {folder.partition('/')[0][1:]}: write the folder itself.") from error
    if "~" in expanded.parts:
        raise ValueError("~ means a home folder only at the beginning: write the folder itself.")
    return expanded.as_posix()


def _without_repeats(names: list[Listed]) -> list[Listed]:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"{repeated[0]!r} is named more than once")
    return names


def _rising(limits: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= limits[0] <= limits[1]:
        raise ValueError(f"a range of factors is [low, high] with 0 <= low <= high, not {list(limits)}")
    return limits


TUNED_RULES = ("f1", "f1_positive", "youden")
_FIXED = "fixed-"


def fixed_threshold(rule: str) -> float | None:
    """The threshold of a rule such as fixed-0.5; None for a rule that tunes one threshold per class on validation."""
    return float(rule.removeprefix(_FIXED)) if rule.startswith(_FIXED) else None


def threshold_rule(rule: str) -> str:
    """Check the name of a threshold rule and return it.

    Raises:
        ValueError: neither tuned nor a fixed threshold from 0 to 1 in its shortest form.
    """
    if rule in TUNED_RULES:
        return rule
    number = rule.removeprefix(_FIXED)
    if not rule.startswith(_FIXED) or not re.fullmatch(r"0|1|0\.\d*[1-9]", number) or f"{float(number):g}" != number:
        raise ValueError(f"{rule!r} is no threshold rule: write {', '.join(TUNED_RULES)} or, for example, fixed-0.5.")
    return rule


def _starts_fixed(rules: list[str]) -> list[str]:
    if fixed_threshold(rules[0]) is None:
        raise ValueError(f"the first rule is that of the paper's tables and is fixed, such as fixed-0.5, not {rules[0]!r}")
    return rules


Fraction = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Folder = Annotated[str, AfterValidator(_tidy_folder)]  # relative to the folder that is run in
ThresholdRule = Annotated[str, AfterValidator(threshold_rule)]
FactorRange = Annotated[tuple[float, float], AfterValidator(_rising)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
DatasetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]  # a dot parts it from the shard in file names


class Block(BaseModel):
    """A part of the configuration: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _keys_and_values_can_be(cls, values: Any) -> Any:
        """Name an unknown key before anything else: a misspelt key explains a missing one. Refuse `epochs: yes`, to Pydantic a 1."""
        given = values if isinstance(values, dict) else {}
        for key in given:
            if key not in cls.model_fields:
                raise _refusal(did_you_mean(str(key), cls.model_fields), str(key), kind=UNKNOWN_KEY)
        for key, value in given.items():
            truths = [entry for entry in (value if isinstance(value, list) else [value]) if isinstance(entry, bool)]
            if truths and cls.model_fields[key].annotation is not bool:
                read = "true, as YAML reads yes and on" if truths[0] else "false, as YAML reads no and off"
                raise _refusal(f"it is {read}: write a value, in quotes if it is text.", str(key))
        return values


class Phantom(Block):
    """An archive that is made instead of found: synthetic radiographs in the on-disk form of `archive`."""

    patients: int = Field(ge=4, description="number of patients; about half have more than one study")
    height: int = Field(640, ge=128, description="rows of a stored image before pose and build vary them; nih: its side")
    damaged: int = Field(
        0, ge=0, description="number of frontal images whose files end early, as some do in every real archive"
    )
    seed: Seed = Field(0, description="same seed, same bytes")


class Dataset(Block):
    """One archive of radiographs."""

    archive: Literal["padchest", "nih", "chexpert", "own"] = Field(
        description="whose on-disk form the archive has; own: your images and a CSV file, see docs/data.md"
    )
    root: Folder = Field(description="the archive's folder; ~ and environment variables such as $HOME are expanded")
    download: bool = Field(False, description="fetch what is missing into root before the first run (nih only)")
    views: list[str] = Field(["PA"], min_length=1, description="views that are ingested: the union of what label sets use")
    shards: int = Field(8, ge=1, description="files into which the packed images are split")
    max_bad_share: Fraction = Field(0.01, description="a larger share of unreadable images stops the run")
    max_pixels: int = Field(50_000_000, ge=1, description="an image with more pixels is refused as absurdly large")
    phantom: Phantom | None = Field(None, description="make this archive instead of expecting it")

    @model_validator(mode="after")
    def _download_is_possible(self) -> "Dataset":
        if self.download and self.archive != "nih":
            raise ValueError(f"download: true is for archive nih only; `thorax download {self.archive}` says how to get yours")
        if self.download and self.phantom is not None:
            raise ValueError("download: true and phantom exclude each other")
        return self

    @model_validator(mode="after")
    def _phantom_is_possible(self) -> "Dataset":
        if self.phantom is None:
            return self
        if self.archive == "own":
            raise ValueError("a phantom has the form of archive padchest, nih or chexpert, not of own")
        most = 100_000 - FIRST_CHEXPERT_PHANTOM
        if self.archive == "chexpert" and self.phantom.patients > most:
            raise ValueError(f"a phantom in CheXpert's form has at most {most} patients, as its numbers have five digits")
        return self


class LabelSet(Block):
    """The classes of a problem and the images that have them."""

    dataset: Name = Field(description="whose images")
    views: list[str] = Field(["PA"], min_length=1, description="views whose images count")
    second: Name | None = Field(
        None,
        description="a data set that holds other views of the same archive: only studies with a readable image there count, and of each "
        "study one image, the first by identifier; for experiments that see two views of a study, and those they are compared with",
    )
    grouping: Literal["specific", "general"] = Field(
        "specific",
        description="the archive's own labels, or their topmost ancestors in the term tree; a general class is positive where one "
        "of its labels is, and uncertain where none is positive and one is uncertain",
    )
    min_images: int = Field(1, ge=1, description="a class with fewer images is left out")
    min_patients: int = Field(1, ge=1, description="a class with fewer patients is left out")
    exclude: list[str] = Field([], description="classes that are left out whatever their number")
    two_parents: Literal["all", "first", "umbrella"] = Field(
        "all",
        description="general classes of a term with several parents: those of all of them; of the first in the tree; or umbrella: a "
        "term whose first parent is an umbrella term (such as radiological finding) is a class of its own and climbs no further, other "
        "terms climb to all their parents, and are classes of their own as well if an umbrella term is one of these. Table 10 of Liz et al. 2022 follows the last",
    )
    padded_labels: Literal["count", "ignore"] = Field(
        "count",
        description="labels that the archive stores with a blank before or after them only (PadChest: one in ten), such as "
        "' pneumonia': counted like 'pneumonia', or not counted, as in Table 10 of Liz et al. 2022",
    )
    padded_kept: list[str] = Field(
        [], description="with padded_labels: ignore, labels that count all the same; [normal] in Table 10 of Liz et al. 2022"
    )
    uncertain: Literal["ignore", "zeros", "ones"] = Field(
        "ignore",
        description="a label that is stated as uncertain: skipped by loss and metrics (U-Ignore), negative (U-Zeros) or "
        "positive (U-Ones); Irvin et al. 2019",
    )
    drop_channels: list[int] = Field([], description="leave out images stored with so many channels, e.g. [4]")
    without_class: Literal["drop", "keep_labelled", "keep"] = Field(
        "drop",
        description="images without a positive class: left out; kept as all-negative rows where the archive gives them some label; "
        "or all kept",
    )
    inside: Name | None = Field(
        None,
        description="a general label set: every class is learnt and measured only on images with one of its general classes, and "
        "ignored on others; the images are those of that set, and min_patients also counts patients without the class there. A "
        "class that all of them have is left out. For the second network of a cascade",
    )

    @model_validator(mode="after")
    def _exceptions_need_a_rule(self) -> "LabelSet":
        if self.padded_kept and self.padded_labels == "count":
            raise ValueError("padded_kept is for padded_labels: ignore: add that, or remove padded_kept.")
        return self

    @model_validator(mode="after")
    def _inside_takes_images_as_they_are(self) -> "LabelSet":
        if self.inside is not None and (self.grouping != "specific" or self.without_class != "drop" or self.second):
            raise ValueError(
                "inside is for grouping: specific and takes the images of that set: remove grouping, without_class and second."
            )
        return self


class DrawDown(Block):
    """How many images without any class stay, drawn at random; the others are left out of every part."""

    train: int = Field(ge=0, description="in train; val keeps the same share of its own")
    test: int = Field(ge=0, description="in test")


class Split(Block):
    """One assignment of a data set's patients to train, val and test, shared by the label sets it names."""

    label_sets: Annotated[list[Name], AfterValidator(_without_repeats)] = Field(
        min_length=1, description="stratified over all classes and totals of all of these"
    )
    train: Fraction = Field(0.7, description="share of the images")
    val: Fraction = Field(0.1, description="share of the images")
    test: Fraction = Field(0.2, description="share of the images")
    official: bool = Field(
        False,
        description="test on the archive's own test list; the other patients are divided into train and val as train : val",
    )
    test_on: Literal["shares", "radiologists"] = Field(
        "shares",
        description="radiologists: CheXpert's valid.csv, which radiologists labelled, is the test part, and the other patients are divided "
        "into train and val as train : val; without this file, and with shares, test is a share of train.csv. The images of valid.csv "
        "are never in train or val",
    )
    also_for: Annotated[list[Name], AfterValidator(_without_repeats)] = Field(
        [],
        description="label sets of the same images, or fewer, whose experiments may use this assignment; their classes do not change it",
    )
    draw_down: DrawDown | None = Field(
        None, description="fewer images that are positive for no class of any of the label sets; null: all of them"
    )
    same_image: Literal["identical", "similar", "ignore"] = Field(
        "identical",
        description="patients who share an image go to one part: if it is identical once ingested; or also if it is similar (see "
        "docs/data.md); or never. Patients whom an official list assigns stay where it says",
    )
    seed: Seed = Field(0, description="same seed, same split, same images left out")

    @model_validator(mode="after")
    def _sums_to_one(self) -> "Split":
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError(f"train + val + test must be 1, not {self.train + self.val + self.test:g}")
        if min(self.train, self.val, self.test) <= 0:
            raise ValueError("train, val and test must each be above 0")
        if self.official and self.test_on == "radiologists":
            raise ValueError("official: true and test_on: radiologists each name a test part: remove one of the two.")
        return self


class Segmenter(Block):
    """A U-Net for lungs and the pairs of radiograph and mask that it learns from."""

    pairs: Folder = Field(
        description="folder with pairs.csv, images/ and masks/ (0 outside the lungs, one other value inside); expanded as root is"
    )
    download: Annotated[list[Literal["montgomery", "shenzhen"]], AfterValidator(_without_repeats)] = Field(
        [], description="published pairs that are fetched into this folder before the first run"
    )
    train_patients_of: Name | None = Field(
        None,
        description="use only pairs of this split's training patients; needed where pairs and archive share patients",
    )
    size: int = Field(96, ge=32, multiple_of=16, description="pixels on a side that the network sees")
    filters: list[Annotated[int, Field(ge=1)]] = Field(
        [16, 32, 64, 128], min_length=2, description="filters of each resolution"
    )
    epochs: int = Field(100, ge=1, description="passes over the pairs")
    batch_size: int = Field(8, ge=1, description="pairs per step")
    learning_rate: float = Field(2e-3, gt=0, description="of Adam, at the start")
    seed: Seed = Field(0, description="of weights, order and augmentation")


class ImageSet(Block):
    """How ingested images become training images."""

    dataset: Name = Field(description="whose images")
    size: int = Field(224, ge=16, description="pixels on a side")
    crop: Literal["none", "lungs"] = Field("none", description="lungs: from the lung mask's box down to the lower border")
    segmenter: Name | None = Field(None, description="whose masks the crop uses")
    intensity: Literal["range", "stored"] = Field(
        "range",
        description="range: each image's smallest to largest value become 0 to 255; stored: the values that the file holds, in 16 bits "
        '("raw" in Liz et al. 2022); then the networks need input_scaling: none, augmentation: null and precision: float32',
    )
    contrast: Literal["none", "equalize", "clahe"] = Field(
        "none", description="of the final image: histogram equalisation, of the whole or (clahe) of tiles with limited contrast"
    )

    @model_validator(mode="after")
    def _crop_needs_segmenter(self) -> "ImageSet":
        if (self.crop == "lungs") != (self.segmenter is not None):
            raise ValueError("crop: lungs and segmenter go together")
        return self

    @model_validator(mode="after")
    def _stored_values_stay(self) -> "ImageSet":
        if self.intensity == "stored" and self.contrast != "none":
            raise ValueError("contrast changes the values that intensity: stored keeps: use contrast: none.")
        return self


class Augmentation(Block):
    """Random changes of a training image, as in Keras's ImageDataGenerator (Liz et al. 2022, Table 2, by default)."""

    rotation: float = Field(45, ge=0, le=180, description="degrees, to either side")
    width_shift: Fraction = Field(0.1, description="fraction of the width, to either side")
    height_shift: Fraction = Field(0.1, description="fraction of the height, to either side")
    shear: float = Field(0.1, ge=0, le=45, description="DEGREES, as ImageDataGenerator takes them")
    zoom: Fraction = Field(0.1, description="0.1: a factor from 0.9 to 1.1, drawn for each axis")
    horizontal_flip: bool = Field(True, description="mirror half of the images")
    brightness: FactorRange = Field((0.7, 1.1), description="range of the factor")
    contrast: FactorRange = Field(
        (1.0, 1.0), description="range of the factor of each grey value's distance to the image's mean; [1, 1]: none"
    )
    channel_shift: Fraction = Field(0.05, description="added to intensities in [0, 1], to either side")
    elastic: Fraction = Field(
        0.0, description="largest local displacement as a fraction of the size; 0: none (Simard et al. 2003)"
    )
    elastic_smoothness: float = Field(
        0.08, gt=0, le=1, description="deviation of the Gaussian that smooths the displacements, as a fraction of the size"
    )
    mixup: float = Field(
        0.0,
        ge=0,
        description="alpha of the Beta distribution by which two images and their labels are mixed; 0: none (Zhang et al. 2018)",
    )


class Training(Block):
    """How one network is trained. The defaults are Table 2 of Liz et al. 2022."""

    backbone: str = Field(description="a name of the registry in backbones.py")
    weights: Literal["imagenet", "none"] = Field("imagenet", description="where the backbone starts")
    channels: Literal[1, 3] = Field(
        3,
        description="of the first convolution; 1: its ImageNet kernel is summed over the channels; 3: the grey image three times",
    )
    input_scaling: Literal["unit", "backbone", "none"] = Field(
        "unit", description="[0, 1]; what the backbone was published with; or none, for image sets with intensity: stored"
    )
    freeze: Fraction = Field(0.1, description="share of the convolutional layers, counted from the input, that stay fixed")
    frozen_epochs: int = Field(0, ge=0, description="first epochs in which the whole backbone is fixed; then it is fine-tuned")
    fine_tune_rate: float | None = Field(None, gt=0, description="learning rate after the frozen epochs; null: the same")
    head: Literal["dense", "attention"] = Field(
        "dense",
        description="how the features are pooled before the dense layers: their mean, or location-based attention (Kejriwal et al.): "
        "a sum with one learnt weight per position",
    )
    dense_units: int = Field(512, ge=0, description="units of the head's hidden layer; 0: none, the logits follow the pooling")
    dropout: float = Field(0.2, ge=0, lt=1, description="share of the hidden units dropped in training")
    batch_norm_momentum: float | None = Field(None, gt=0, lt=1, description="0.9 where training is short and from scratch")
    loss: Literal["weighted_bce", "bce", "focal", "mae"] = Field(
        "weighted_bce",
        description="cross-entropy with logits, weighted (see pos_weight_exponent) or plain; focal loss (Lin et al. 2017); mean absolute "
        "error of the probabilities",
    )
    focal_gamma: float = Field(2.0, ge=0, description="focal: how much well-classified labels are played down")
    focal_alpha: Fraction | None = Field(None, description="focal: weight of positives, 1 - alpha of negatives; null: none")
    pos_weight_exponent: Fraction = Field(
        0.65,
        description="weighted_bce: positives of a class weigh (negatives / positives) to this power; 1: the whole ratio, 0.5: its square "
        "root, 0: no weights. The default is what comes nearest to the F1 and Hamming loss of Liz et al. 2022 (docs/training.md)",
    )
    max_pos_weight: float | None = Field(None, gt=0, description="weighted_bce: cap of the weight of a class's positives")
    learning_rate: float = Field(1e-4, gt=0, description="of Adam")
    schedule: Literal["constant", "cosine", "plateau"] = Field(
        "constant",
        description="cosine: the rate falls from epoch to epoch, to nearly 0 in the last one; plateau: it is multiplied by "
        "plateau_factor when val_loss has not fallen for plateau_patience epochs",
    )
    plateau_patience: int = Field(2, ge=1, description="plateau: epochs without improvement")
    plateau_factor: float = Field(0.1, gt=0, lt=1, description="plateau: what the rate is multiplied by")
    batch_size: int = Field(32, ge=1, description="images per step")
    accumulate: int = Field(
        1, ge=1, description="batches whose gradients are averaged for one update; 16 of 16 images make 256"
    )
    sampling: Literal["none", "over", "under"] = Field(
        "none", description="repeat images of rare classes, or leave out some of frequent ones, anew in every epoch"
    )
    epochs: int = Field(350, ge=1, description="at most so many")
    patience: int = Field(25, ge=1, description="epochs without improvement of val_loss after which training stops")
    min_delta: float = Field(1e-3, ge=0, description="smaller improvements do not count")
    test_every_epoch: Annotated[list[Fraction], AfterValidator(_without_repeats)] = Field(
        [],
        description="thresholds, e.g. [0.4, 0.5, 0.6], at which the test images are evaluated after every epoch, for a figure only: "
        "nothing is chosen by it; none: the test images are not looked at",
    )
    augmentation: Augmentation | None = Field(Augmentation(), description="random changes of the training images; null: none")
    precision: Literal["auto", "float32", "mixed"] = Field(
        "auto", description="auto: half precision inside the network on a GPU, float32 on a CPU; the logits are always float32"
    )
    seed: Seed = Field(0, description="of weights, order, dropout and augmentation")


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


class AblationColumns(RootModel[dict[Name, Beside]]):
    """What the table of an ablation needs of its experiments: the published numbers of each."""


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


class Ablation(Block):
    """Experiments of one problem side by side in one table, each beside its paper's numbers."""

    title: str = Field(description="heading of the table")
    experiments: Annotated[list[Name], AfterValidator(_without_repeats)] = Field(
        min_length=2, description="in the order of the columns; all of one label set and split, each with `beside`"
    )


class Cascade(Block):
    """General classes first, specific ones inside them, against one network for all specific classes (Liz et al. 2022, future work)."""

    title: str = Field(description="heading of the table")
    general: Name = Field(description="the experiment that gives P(general class)")
    inside: Name = Field(
        description="the experiment that gives P(class | one of its general classes); its label set is `inside` the general one's"
    )
    flat: Name = Field(description="the experiment that the cascade is compared with; its classes are the cascade's")
    models: Annotated[list[str], AfterValidator(_without_repeats)] = Field(
        min_length=1, description="members, or ensembles, that all three experiments have; each is a cascade"
    )


class Comparison(Block):
    """Models of several experiments side by side in one table, measured on the same test images."""

    title: str = Field(description="heading of the tables")
    experiments: dict[Name, Annotated[list[Name], Field(min_length=1), AfterValidator(_without_repeats)]] = Field(
        min_length=2,
        description="in the order of the columns, with the models of each; all of one label set and split. Differences are taken to the "
        "first one's model of the same name, or to its first model",
    )


class CrossEvaluation(Block):
    """Models that were each trained on one archive, all tested on the test images of every one, for the classes they share."""

    title: str = Field(description="heading of the tables and the figure")
    experiments: dict[Name, Name] = Field(
        min_length=2,
        description="experiment: its model that is tested, a member or an ensemble of rule ctp; each of another archive, all with "
        "images made in the same way",
    )
    seed: Seed = Field(0, description="of the intervals")


class Audit(Block):
    """The paper's counts beside ours, from metadata alone: `make audit`."""

    metadata: Folder | None = Field(
        None, description="one folder with the metadata files of all archives, expanded as root is; null: each in its root"
    )
    compare: dict[Name, Name] = Field(
        {}, description="label sets, each with a split, on which our splitter is compared with those of other libraries"
    )


class Study(Block):
    """An experiment and the blocks that it names, for whoever tells what was done."""

    experiment: Experiment
    label_set: LabelSet
    split: Split
    image_set: ImageSet
    dataset: Dataset

    @property
    def rule(self) -> str:
        """The threshold rule of its paper's tables."""
        return self.experiment.beside.threshold_rule if self.experiment.beside else self.experiment.thresholds[0]


class Studies(RootModel[dict[Name, Study]]):
    """What the overview needs of each experiment."""


class Section(Block):
    """One table or figure on a page: its heading, where it lies, and the name of its caption; null where it has its own."""

    heading: str
    page: str
    caption: Name | None = None


class PaperPage(Block):
    """What a paper's page shows: what each experiment (by title) was run on, settings, and tables and figures in order."""

    paper: Name | None
    data: dict[str, Literal["archive", "sample", "phantom"]]
    studies: dict[Name, Study]
    sections: list[Section]


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


BlockType = TypeVar("BlockType", bound=BaseModel)


def parse(model: type[BlockType], values: Any, source: str) -> BlockType:
    """Validate values against a model.

    Raises:
        ThoraxError: one sentence with the source, the first wrong key and what is wrong with it.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ThoraxError(_sentence(error, source)) from error


def parse_text(model: type[BlockType], text: str, source: str) -> BlockType:
    """Validate YAML or JSON text against a model; errors as in `parse` and `strict_yaml.parse`."""
    return parse(model, strict_yaml.parse(text, source), source)


def load(path: Path | str) -> Config:
    """Read and validate a configuration file."""
    return parse(Config, strict_yaml.read(path), str(path))


def _sentence(error: ValidationError, source: str) -> str:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    if path and path[-1] == "[key]":
        key = ".".join(path[:-1])
        if first["type"] == "string_type":
            return f"{source}: {key}: a name is text; put it in quotes."
        return f"{source}: {key}: a name starts with a letter or digit and has only these, _, - and (not for data sets) dots."
    key = ".".join(path) or "the configuration"
    if first["type"] == UNKNOWN_KEY:
        return f"{source}: {key} is not a known key{first['msg']}; remove it or correct its name."
    if first["type"] == "missing":
        return f"{source}: {key} is missing; add it."
    message = first["msg"].removeprefix("Value error, ")
    says_it = first["type"] in (REFUSED, "value_error") or isinstance(first["input"], dict | list | tuple | BaseModel)
    if says_it and message.endswith("."):  # it says what to do
        return f"{source}: {key}: {message}"
    shown = "" if says_it else f" (it is {first['input']!r})"
    return f"{source}: {key}: {message}{shown}; correct it."
