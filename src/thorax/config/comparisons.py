"""Blocks that compare experiments."""

from typing import Annotated

from pydantic import AfterValidator, Field

from thorax.config.block import Block
from thorax.config.values import Distinct, Folder, Name, Seed, without_repeats


class Ablation(Block):
    """Experiments of one problem side by side in one table, each next to its published numbers."""

    title: str = Field(description="title of the table")
    experiments: Distinct[Name] = Field(min_length=2)
    """experiments in the order of the columns; all of one label set and split, each with `beside`"""


class Cascade(Block):
    """General classes first, specific ones inside them, against one network for all specific classes (Liz et al. 2022, future work)."""

    title: str = Field(description="title of the table")
    general: Name = Field(description="experiment that gives P(general class)")
    inside: Name
    """experiment that gives P(class | one of its general classes); its label set is `inside` that of the general one"""
    flat: Name = Field(description="experiment that the cascade is compared with; the cascade has its classes")
    models: Distinct[str] = Field(min_length=1)
    """members or ensembles that all three experiments have; each makes a cascade"""


class Comparison(Block):
    """Models of several experiments side by side in one table, measured on the same test images."""

    title: str = Field(description="title of the tables")
    experiments: dict[Name, Annotated[list[Name], Field(min_length=1), AfterValidator(without_repeats)]] = Field(min_length=2)
    """experiments in the order of the columns, with the models of each; all of one label set and split. Differences are to the
    model of the same name in the first experiment, or to its first model"""


class CrossEvaluation(Block):
    """Models that were each trained on one archive and are tested on all of them, for the classes that the archives share."""

    title: str = Field(description="title of the tables and the figure")
    experiments: dict[Name, Name] = Field(min_length=2)
    """for each experiment its model, a member or an ensemble of rule ctp. Each experiment is of another archive, and all images
    are made in the same way"""
    seed: Seed = Field(0, description="random seed for the confidence intervals")


class Audit(Block):
    """Published counts next to ours, from metadata alone (`make audit`)."""

    metadata: Folder | None = None
    """folder with the metadata files of all archives, expanded like root; null: each is in its root"""
    compare: dict[Name, Name] = Field({})
    """label sets, each with a split, on which our splitter is compared with those of other libraries"""
