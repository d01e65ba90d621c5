"""Blocks that compare experiments."""

from typing import Annotated

from pydantic import AfterValidator, Field

from thorax.config.block import Block, Folder, Name, Seed, _without_repeats


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
