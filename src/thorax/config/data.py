"""Blocks of the data: archives, phantoms, lung segmenters and image sets."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from thorax.config.block import Block, Folder, Fraction, Name, Seed, _without_repeats

FIRST_CHEXPERT_PHANTOM = 70_001  # number of a phantom's first patient; CheXpert's have five digits and end at 65,240


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
        description="whose on-disk form the archive has; own: your images and a CSV file, see docs/how-to/data.md"
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
