"""Blocks of a training."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from thorax.config.block import Block, FactorRange, Fraction, Seed, _without_repeats


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
        "root, 0: no weights. The default is what comes nearest to the F1 and Hamming loss of Liz et al. 2022 (docs/explanation/training.md)",
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
