"""Blocks of a training."""

from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from thorax.config.block import Block, refusal
from thorax.config.values import Distinct, FactorRange, Folder, Fraction, Name, Seed


class Start(Block):
    """A trained network that a training starts from: one of this configuration, or one of a bundle."""

    experiment: Name | None = None
    """experiment of this configuration that trains the network; it is trained first, even if it is not in `run`"""
    bundle: Folder | None = Field(None, description="file of a bundle, instead of an experiment")
    member: Name | None = None
    """the network: a member of the experiment (MEMBER.2 and so on for its repeats), or of the bundle, where null means its only
    one"""

    def __str__(self) -> str:
        """In words, without the folder of a bundle: where that is concerns nobody else."""
        return f"{self.member or 'the network'} of {self.experiment or PurePath(self.bundle or '').name}"

    @model_validator(mode="after")
    def _names_one_network(self) -> "Start":
        if (self.experiment is None) == (self.bundle is None):
            raise ValueError("name either an experiment and a member, or a bundle.")
        if self.experiment is not None and self.member is None:
            raise ValueError(f"name the member of {self.experiment!r} as well, as member: NAME.")
        return self


def _block_or_word(value: Any) -> Any:
    """A starting point as a block is checked as one, so that an error names its key; no other word than these two is one."""
    if isinstance(value, dict):
        return Start.model_validate(value)
    if not isinstance(value, Start) and value not in ("imagenet", "none"):
        blocks = "{experiment: NAME, member: NAME} or {bundle: FILE, member: NAME}"
        raise refusal(f"{value!r} is not a starting point: write imagenet, none, {blocks}.")
    return value


class Augmentation(Block):
    """Random changes of a training image, as in Keras's ImageDataGenerator (Liz et al. 2022, Table 2, by default)."""

    rotation: float = Field(45, ge=0, le=180, description="largest rotation to either side, degrees")
    width_shift: Fraction = Field(0.1, description="largest shift to either side, as a fraction of the width")
    height_shift: Fraction = Field(0.1, description="largest shift to either side, as a fraction of the height")
    shear: float = Field(0.1, ge=0, le=45)
    """largest shear angle to either side, in DEGREES, as in ImageDataGenerator"""
    zoom: Fraction = Field(0.1, description="largest change of size; 0.1: a factor from 0.9 to 1.1, drawn for each axis")
    horizontal_flip: bool = Field(True, description="mirror half of the images left to right")
    brightness: FactorRange = Field((0.7, 1.1), description="range of the factor of brightness")
    contrast: FactorRange = (1.0, 1.0)
    """range of the factor by which grey values move away from the image's mean; [1, 1]: none"""
    channel_shift: Fraction = Field(0.05, description="largest value that is added to or subtracted from intensities in [0, 1]")
    elastic: Fraction = 0.0
    """largest local displacement as a fraction of the size; 0: none (Simard et al. 2003)"""
    elastic_smoothness: float = Field(0.08, gt=0, le=1)
    """standard deviation of the Gaussian that smooths the displacements, as a fraction of the size"""
    mixup: float = Field(0.0, ge=0)
    """alpha of the Beta distribution of the weights with which two images and their labels are mixed; 0: none (Zhang et al.
    2018)"""


class Training(Block):
    """How one network is trained. The defaults are Table 2 of Liz et al. 2022."""

    backbone: str = Field(description="architecture; the names are in src/thorax/models/architectures.py")
    weights: Annotated[Literal["imagenet", "none"] | Start, BeforeValidator(_block_or_word)] = "imagenet"
    """initial weights. imagenet: those of the backbone, with a random head; none: all random; a block: those of another trained
    network, e.g. {experiment: nih, member: DenseNet121} or {bundle: nih.zip, member: DenseNet121}, with a new last layer unless it
    has the same classes (see docs/explanation/training.md)"""
    channels: Literal[1, 3] = 3
    """input channels of the backbone. 1: the ImageNet kernel of its first convolution is summed over the channels; 3: the grey
    image is repeated"""
    input_scaling: Literal["unit", "backbone", "none"] = "unit"
    """unit: to [0, 1]; backbone: as published with the backbone; none: for image sets with intensity: stored"""
    freeze: Fraction = Field(0.1, description="share of the convolutional layers, counted from the input, that are not trained")
    frozen_epochs: int = Field(0, ge=0, description="number of epochs at the start in which only the head is trained")
    fine_tune_rate: float | None = Field(None, gt=0, description="learning rate after frozen_epochs; null: the same")
    head: Literal["dense", "attention"] = "dense"
    """how the head pools the features. dense: their mean; attention: a sum with one learnt weight per position, the
    location-based attention of Kejriwal et al."""
    dense_units: int = Field(512, ge=0, description="units of the hidden layer of the head; 0: no hidden layer")
    dropout: float = Field(0.2, ge=0, lt=1, description="share of the hidden units that are dropped in training")
    batch_norm_momentum: float | None = Field(None, gt=0, lt=1)
    """momentum of the moving statistics of batch normalisation, e.g. 0.9 for short trainings from scratch; null: as in the
    backbone"""
    loss: Literal["weighted_bce", "bce", "focal", "mae"] = "weighted_bce"
    """weighted_bce: cross-entropy with weighted positives (see pos_weight_exponent); bce: plain cross-entropy; focal: focal
    loss (Lin et al. 2017); mae: mean absolute error of the probabilities"""
    focal_gamma: float = Field(2.0, ge=0, description="focal: exponent that reduces the weight of well-classified labels")
    focal_alpha: Fraction | None = None
    """focal: weight of positives; negatives have 1 - alpha; null: no weights"""
    pos_weight_exponent: Fraction = 0.65
    """weighted_bce: the positives of a class have the weight (negatives / positives) ** exponent; 1: the whole ratio, 0: no
    weights. The default comes nearest to the F1 and Hamming loss of Liz et al. 2022 (docs/explanation/training.md)"""
    max_pos_weight: float | None = Field(None, gt=0, description="weighted_bce: largest weight of positives; null: no limit")
    learning_rate: float = Field(1e-4, gt=0, description="initial learning rate of Adam")
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    """learning rate over time. cosine: it falls after every epoch, to nearly 0 in the last one; plateau: it is multiplied by
    plateau_factor if val_loss has not fallen for plateau_patience epochs"""
    plateau_patience: int = Field(2, ge=1, description="plateau: number of epochs without improvement")
    plateau_factor: float = Field(0.1, gt=0, lt=1, description="plateau: factor of the learning rate")
    batch_size: int = Field(32, ge=1, description="number of images per step")
    accumulate: int = Field(1, ge=1)
    """number of batches whose gradients are averaged for one update; 16 batches of 16 images make 256"""
    sampling: Literal["none", "over", "under"] = "none"
    """over: repeat images of rare classes; under: leave out some of frequent ones; drawn again for every epoch"""
    epochs: int = Field(350, ge=1, description="largest number of epochs")
    patience: int = Field(25, ge=1, description="number of epochs without improvement of val_loss after which training stops")
    min_delta: float = Field(1e-3, ge=0, description="smallest decrease of val_loss that is an improvement")
    test_every_epoch: Distinct[Fraction] = Field([])
    """thresholds, e.g. [0.4, 0.5, 0.6], at which test images are evaluated after every epoch, for a figure only: no decision
    depends on it; an empty list: never"""
    augmentation: Augmentation | None = Field(Augmentation(), description="random changes of the training images; null: none")
    precision: Literal["auto", "float32", "mixed"] = "auto"
    """mixed: half precision inside the network, float32 logits; auto: mixed on a GPU, float32 on a CPU"""
    seed: Seed = Field(0, description="random seed for weight initialisation, shuffling, dropout and augmentation")
