"""What rules pass to verbs besides single blocks."""

from typing import Literal

from pydantic import RootModel

from thorax.config.block import Block
from thorax.config.data import Dataset, ImageSet
from thorax.config.experiment import Beside, Experiment
from thorax.config.labels import LabelSet, Split
from thorax.config.values import Name


class AblationColumns(RootModel[dict[Name, Beside]]):
    """The published numbers of each experiment of an ablation."""


class Study(Block):
    """An experiment and the blocks that it names, for pages that describe it."""

    experiment: Experiment
    label_set: LabelSet
    split: Split
    image_set: ImageSet
    dataset: Dataset

    @property
    def rule(self) -> str:
        """The threshold rule of the tables of its paper."""
        return self.experiment.beside.threshold_rule if self.experiment.beside else self.experiment.thresholds[0]


class Studies(RootModel[dict[Name, Study]]):
    """The experiments of an overview."""


class Section(Block):
    """A table or figure on a page: heading, path, and name of its caption; null if it has its own."""

    heading: str
    page: str
    caption: Name | None = None


class PaperPage(Block):
    """What a paper's page shows: the data of each experiment (by title), settings, tables and figures in order, captions by name."""

    paper: Name | None
    provenance: dict[str, Literal["full", "sample", "phantom"]]
    studies: dict[Name, Study]
    sections: list[Section]
    captions: dict[Name, str]


class SitePage(Block):
    """A page of the results site: its file's name and heading, the page it shows, a caption, and where the entry page lists it."""

    name: str
    heading: str
    page: str
    caption: str
    category: str


class Site(Block):
    """The results site: its title, the experiments, the page of the overview, and all pages in order."""

    title: str
    studies: dict[Name, Study]
    overview: str
    pages: list[SitePage]
