"""What rules pass to verbs besides single blocks."""

from collections.abc import Iterable
from typing import Literal

from pydantic import Field, RootModel

from thorax.config.block import Block
from thorax.config.checks import Config
from thorax.config.data import Dataset, ImageSet, Segmenter
from thorax.config.experiment import Beside, Experiment
from thorax.config.labels import LabelSet, Split
from thorax.config.values import Name


class AblationColumns(RootModel[dict[Name, Beside]]):
    """The published numbers of each experiment of an ablation."""


class Setup(Block):
    """An experiment and the blocks that it names, for pages that describe it."""

    experiment: Experiment
    label_set: LabelSet
    split: Split
    image_set: ImageSet
    dataset: Dataset

    @property
    def threshold_rule(self) -> str:
        """The threshold rule of the tables of its paper."""
        return self.experiment.beside.threshold_rule if self.experiment.beside else self.experiment.thresholds[0]


class Bundled(Setup):
    """An experiment whose model is put into a bundle, and the further blocks that its networks' input depends on."""

    name: Name
    model: Name | None
    """ensemble, or single network; null: the network that is best on the validation images"""
    segmenter: Segmenter | None
    second_image_set: ImageSet | None
    second_dataset: Dataset | None


class Setups(RootModel[dict[Name, Setup]]):
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
    setups: dict[Name, Setup]
    sections: list[Section]
    captions: dict[Name, str]


class SitePage(Section):
    """A page of the results site: heading, the page that it shows, name of its caption, and where the entry page lists it.

    `experiments` are those that it shows; none if it shows all of the run. `notebook` is the executed notebook of a figure.
    """

    category: str
    experiments: list[Name] = Field([])
    notebook: str | None = None

    @property
    def notebook_name(self) -> str:
        """The name of the page that shows its notebook."""
        return page_name(str(self.notebook).replace(".ipynb", ".html"))

    @property
    def name(self) -> str:
        """The name of its file and of its section: its place in results/, with hyphens."""
        return page_name(self.page)


class Site(Block):
    """The results site: its title, the configuration of the run, all pages in order, captions by name."""

    title: str
    config: Config
    pages: list[SitePage]
    captions: dict[Name, str]


def page_name(page: str) -> str:
    """Return "tables-a-global" for results/tables/a/global.html: the name of a page on the site."""
    return page.removeprefix("results/").removesuffix(".html").replace("/", "-")


def setups(config: Config, experiments: Iterable[str]) -> dict[str, Setup]:
    """Experiments with the blocks that they name."""
    found = {}
    for name in experiments:
        experiment = config.experiments[name]
        label_set = config.label_sets[experiment.label_set]
        found[name] = Setup(
            experiment=experiment, label_set=label_set, split=config.splits[experiment.split],
            image_set=config.image_sets[experiment.image_set], dataset=config.datasets[label_set.dataset],
        )  # fmt: skip
    return found
