"""One page per paper: what was run on which data, the settings in words, and all its tables and figures in the paper's order.

The tables and figures are those of other steps, taken from their pages: nothing is drawn or computed twice.
"""

from pathlib import Path

from thorax.config import PaperPage, Setup, page_name
from thorax.errors import ThoraxError
from thorax.report import published_numbers, typeset
from thorax.report.settings import describe
from thorax.report.tables import overview
from thorax.storage import store

BEYOND = "Beyond the papers"
_BEYOND_TEXT = (
    "What none of the papers shows: thresholds tuned per class, a class that excludes the rest, a cascade from general to specific "
    "classes, two views of one study, evaluation on other archives, and experiments of your own."
)


def make_page(settings: PaperPage, out: Path) -> None:
    """Write a paper's page: its experiments, and its tables and figures in order."""
    name, cited = published_numbers.citation(settings.paper) if settings.paper else (BEYOND, _BEYOND_TEXT)
    sections = []
    for section in settings.sections:
        if section.caption and section.caption not in settings.captions:
            raise ThoraxError(f"The section {section.heading!r} has no caption {section.caption!r}: add it under captions.")
        heading = section.heading.replace(f": {name}: ", ": ")  # the page is of this paper
        caption = settings.captions[section.caption] if section.caption else ""
        body = typeset.content_of(Path(section.page))
        sections.append({"name": page_name(section.page), "heading": heading, "caption": caption, "body": body})
    run_on, described = overview.run_on(settings.provenance), in_words(settings.setups)
    page = typeset.page(
        "paper.html", name, run_on=run_on, citation=typeset.linked(cited), settings=described, sections=sections
    )
    store.write_text(page, out)


def in_words(setups: dict[str, Setup]) -> list[tuple[str, dict[str, str]]]:
    """Headings and settings by topic: first what all experiments share, then what each has of its own."""
    described = [(setup.experiment.title, describe(setup)) for setup in setups.values()]
    if len(described) < 2:
        return described
    first = described[0][1]
    shared = {topic: text for topic, text in first.items() if all(other.get(topic) == text for _, other in described)}
    blocks = [("All experiments of this page", shared)] if shared else []
    own = [(title, {topic: text for topic, text in topics.items() if topic not in shared}) for title, topics in described]
    return blocks + own
