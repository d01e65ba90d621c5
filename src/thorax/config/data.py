"""Blocks of the data: archives, phantoms, lung segmenters and image sets."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from thorax.config.block import Block
from thorax.config.values import Distinct, Folder, Fraction, Name, Seed

FIRST_CHEXPERT_PHANTOM = 70_001  # number of a phantom's first patient; CheXpert's have five digits and end at 65,240


class Phantom(Block):
    """A synthetic archive: made-up radiographs in the on-disk form of `archive`."""

    patients: int = Field(ge=4, description="number of patients; about half have more than one study")
    height: int = Field(640, ge=128)
    """rows of a stored image before pose and build vary them; for nih the length of its side"""
    damaged: int = Field(0, ge=0)
    """number of frontal images whose files are cut short, as some are in every real archive"""
    seed: Seed = Field(0, description="random seed; the same seed gives the same bytes")


class Dataset(Block):
    """One archive of radiographs."""

    archive: Literal["padchest", "nih", "chexpert", "own"]
    """on-disk form of the archive; own: your images and a CSV file, see docs/how-to/data.md"""
    root: Folder = Field(description="folder of the archive; ~ and environment variables such as $HOME are expanded")
    download: bool = Field(False, description="download what is missing into root before the first run (nih only)")
    views: list[str] = Field(["PA"], min_length=1, description="views to ingest: all that the label sets use")
    shards: int = Field(8, ge=1, description="number of files that hold the packed images")
    max_bad_share: Fraction = Field(0.01, description="largest share of unreadable images; more stop the run")
    max_pixels: int = Field(50_000_000, ge=1, description="largest number of pixels of one image; larger ones are rejected")
    dicom_window: Literal["lut", "window", "none"] = "lut"
    """how values of DICOM files become grey: lut, by the file's first VOI LUT, else its first window; window, the other way round;
    none, by neither, so that the whole range of values counts. It changes nothing for other files"""
    phantom: Phantom | None = Field(None, description="make a synthetic archive in root; null: root holds a real one")

    @model_validator(mode="after")
    def _is_downloaded_or_made(self) -> "Dataset":
        if self.download and self.archive != "nih":
            raise ValueError(f"download: true is for archive nih only; `thorax download {self.archive}` says how to get yours")
        if self.download and self.phantom is not None:
            raise ValueError("download: true and phantom exclude each other")
        if self.phantom and self.archive == "own":
            raise ValueError("a phantom has the form of archive padchest, nih or chexpert, not of own")
        most = 100_000 - FIRST_CHEXPERT_PHANTOM
        if self.phantom and self.archive == "chexpert" and self.phantom.patients > most:
            raise ValueError(f"a phantom in CheXpert's form has at most {most} patients, as its numbers have five digits")
        return self


class Segmenter(Block):
    """A U-Net that segments lungs, and the radiographs with masks that it learns from."""

    pairs: Folder
    """folder with pairs.csv, images/ and masks/ (0 outside the lungs, one other value inside); expanded like root"""
    download: Distinct[Literal["montgomery", "shenzhen"]] = Field([])
    """published radiographs with masks to download into this folder before the first run"""
    train_patients_of: Name | None = None
    """learn only from training patients of this split; needed if the masks are of patients of the archive"""
    size: int = Field(96, ge=32, multiple_of=16, description="width and height of the network's input in pixels")
    filters: list[Annotated[int, Field(ge=1)]] = Field([16, 32, 64, 128], min_length=2)
    """number of filters at each resolution, the finest first"""
    epochs: int = Field(100, ge=1, description="number of passes over the pairs")
    batch_size: int = Field(8, ge=1, description="number of pairs per step")
    learning_rate: float = Field(2e-3, gt=0, description="initial learning rate of Adam")
    seed: Seed = Field(0, description="random seed for weight initialisation, shuffling and augmentation")


class ImageSet(Block):
    """How ingested images become training images."""

    dataset: Name = Field(description="data set of the images")
    size: int = Field(224, ge=16, description="width and height in pixels")
    crop: Literal["none", "lungs"] = "none"
    """lungs: the box of the lung mask, extended to the lower border of the image"""
    segmenter: Name | None = Field(None, description="segmenter of the masks that the crop uses")
    intensity: Literal["range", "stored"] = "range"
    """range: scale each image from its smallest and largest value to 0 to 255; stored: keep the values of the file, in 16 bits
    ("raw" in Liz et al. 2022); then the networks need input_scaling: none, augmentation: null and precision: float32"""
    contrast: Literal["none", "equalize", "clahe"] = "none"
    """histogram equalisation of the final image: equalize, of the whole image; clahe, of tiles, with limited contrast"""

    @model_validator(mode="after")
    def _settings_fit_together(self) -> "ImageSet":
        if (self.crop == "lungs") != (self.segmenter is not None):
            raise ValueError("crop: lungs and segmenter go together")
        if self.intensity == "stored" and self.contrast != "none":
            raise ValueError("contrast changes the values that intensity: stored keeps: use contrast: none.")
        return self
