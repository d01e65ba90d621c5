"""Blocks of labels and splits."""

from typing import Literal

from pydantic import Field, model_validator

from thorax.config.block import Block
from thorax.config.values import Distinct, Folder, Fraction, Name, Seed


class LabelSet(Block):
    """The classes of a problem, and the images that have them."""

    dataset: Name = Field(description="data set of the images")
    views: list[str] = Field(["PA"], min_length=1, description="views of the images")
    second: Name | None = None
    """data set with other views of the same archive, for experiments with two views per study and those they are compared with:
    only studies with a readable image there count, each with one image, the first by identifier"""
    grouping: Literal["specific", "general"] = "specific"
    """specific: the archive's own labels; general: their topmost ancestors in the term tree. A general class is positive if one
    of its labels is, and uncertain if none is positive and one is uncertain"""
    min_images: int = Field(1, ge=1, description="smallest number of images of a class; rarer classes are left out")
    min_patients: int = Field(1, ge=1, description="smallest number of patients of a class; rarer classes are left out")
    exclude: list[str] = Field([], description="classes to leave out, however frequent")
    two_parents: Literal["all", "first", "umbrella"] = "all"
    """general classes of a term with several parents. all: those of all parents; first: those of the first parent in the tree;
    umbrella, as in Table 10 of Liz et al. 2022: a term whose first parent is an umbrella term (such as radiological finding) is
    its own class and has no other; other terms have the classes of all parents, and are also their own class if a parent is an
    umbrella term"""
    padded_labels: Literal["count", "ignore"] = "count"
    """labels that the archive stores with a leading or trailing blank (PadChest: one in ten), such as ' pneumonia'. count: as
    'pneumonia'; ignore: not at all, as in Table 10 of Liz et al. 2022"""
    padded_kept: list[str] = Field([])
    """exceptions from padded_labels: ignore, which are counted; [normal] in Table 10 of Liz et al. 2022"""
    uncertain: Literal["ignore", "zeros", "ones"] = "ignore"
    """labels that the report calls uncertain. ignore: loss and metrics skip them (U-Ignore); zeros: negative (U-Zeros); ones:
    positive (U-Ones); Irvin et al. 2019"""
    drop_channels: list[int] = Field([], description="leave out images with these numbers of channels, e.g. [4]")
    without_class: Literal["drop", "keep_labelled", "keep"] = "drop"
    """images without a positive class. drop: leave them out; keep_labelled: keep those to which the archive gives any label, as
    all-negative rows; keep: keep all"""
    inside: Name | None = None
    """general label set, for the second network of a cascade: every class is learnt and measured only on images with one of its
    general classes, and ignored on others. The images are those of that set. min_patients also applies to patients without the
    class there, and a class that all of them have is left out"""

    @model_validator(mode="after")
    def _settings_fit_together(self) -> "LabelSet":
        if self.padded_kept and self.padded_labels == "count":
            raise ValueError("padded_kept is for padded_labels: ignore: add that, or remove padded_kept.")
        if self.inside is not None and (self.grouping != "specific" or self.without_class != "drop" or self.second):
            raise ValueError(
                "inside is for grouping: specific and takes the images of that set: remove grouping, without_class and second."
            )
        return self


class DrawDown(Block):
    """The number of images without any class to keep, drawn at random. The others are left out of every part."""

    train: int = Field(ge=0, description="number in train; val keeps the same share of its own")
    test: int = Field(ge=0, description="number in test")


class Split(Block):
    """An assignment of a data set's patients to train, val and test, shared by several label sets."""

    label_sets: Distinct[Name] = Field(min_length=1)
    """label sets to stratify over: all their classes, and their numbers of images"""
    train: Fraction = Field(0.7, description="share of the images in train")
    val: Fraction = Field(0.1, description="share of the images in val")
    test: Fraction = Field(0.2, description="share of the images in test")
    official: bool = False
    """test on the archive's own test list; other patients are divided into train and val in the ratio train : val"""
    test_on: Literal["shares", "radiologists"] = "shares"
    """shares: test is a share of all images. radiologists: test is CheXpert's valid.csv, which radiologists labelled, and other
    patients are divided into train and val in the ratio train : val; without this file, as shares. The images of valid.csv are
    never in train or val"""
    also_for: Distinct[Name] = Field([])
    """other label sets of the same images, or fewer, that may use this split; their classes do not change it"""
    draw_down: DrawDown | None = None
    """keep fewer images that have no class of any of the label sets; null: keep all"""
    same_image: Literal["identical", "similar", "ignore"] = "identical"
    """put patients who share an image into one part. identical: if the ingested images are equal; similar: also if they are
    similar (see docs/how-to/data.md); ignore: never. Patients on an official list stay where it puts them"""
    keep: Folder | None = None
    """file of an earlier split, e.g. data/split-2025.parquet: its patients stay in their part, and new ones are divided so that the
    whole comes as near to the shares as it can. Parquet as in results/splits, or CSV with the columns patient_id and split; null:
    none"""
    seed: Seed = Field(0, description="random seed; the same seed gives the same split")

    @model_validator(mode="after")
    def _sums_to_one(self) -> "Split":
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError(f"train + val + test must be 1, not {self.train + self.val + self.test:g}")
        if min(self.train, self.val, self.test) <= 0:
            raise ValueError("train, val and test must each be above 0")
        if self.official and self.test_on == "radiologists":
            raise ValueError("official: true and test_on: radiologists each name a test part: remove one of the two.")
        if self.keep and (self.official or self.test_on == "radiologists"):
            rule = "official: true" if self.official else "test_on: radiologists"
            raise ValueError(f"keep and {rule} may put a patient into two parts: remove one of the two.")
        return self
