"""Blocks of labels and splits."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from thorax.config.block import Block, Fraction, Name, Seed, _without_repeats


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
        "docs/how-to/data.md); or never. Patients whom an official list assigns stay where it says",
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
