"""What rules hand to verbs besides single blocks."""

from typing import Literal

from pydantic import RootModel

from thorax.config.block import Block, Name
from thorax.config.data import Dataset, ImageSet
from thorax.config.experiment import Beside, Experiment
from thorax.config.labels import LabelSet, Split


class AblationColumns(RootModel[dict[Name, Beside]]):
    """What the table of an ablation needs of its experiments: the published numbers of each."""


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
    """What a paper's page shows: the data of each experiment (by title), settings, tables and figures in order, captions by name."""

    paper: Name | None
    data: dict[str, Literal["archive", "sample", "phantom"]]
    studies: dict[Name, Study]
    sections: list[Section]
    captions: dict[Name, str]
