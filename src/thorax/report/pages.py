"""One page per paper: what was run on which data, the settings in words, and all its tables and figures in the paper's order.

The tables and figures are those of other steps, taken from their pages: nothing is drawn or computed twice.
"""

from html import escape
from pathlib import Path

from thorax.config import PaperPage, Study
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
    """Write a paper's page; as in `compose`."""
    store.write_text(compose(settings), out)


def compose(page: PaperPage) -> str:
    """The page as HTML that needs no other file.

    Args:
        page: Its experiments, its tables and figures in order, and captions.

    Raises:
        ThoraxError: A section's page is missing or not one of ours, or a section has a caption that is not given.
    """
    name, cited = published_numbers.citation(page.paper) if page.paper else (BEYOND, _BEYOND_TEXT)
    links = ['<li><a href="#settings">What was run, and how</a></li>\n'] if page.studies else []
    sections = []
    for number, section in enumerate(page.sections, 1):
        if section.caption and section.caption not in page.captions:
            raise ThoraxError(f"The section {section.heading!r} has no caption {section.caption!r}: add it under captions.")
        _, body = typeset.read_page(Path(section.page))
        heading = escape(section.heading.replace(f": {name}: ", ": "))  # the page is of this paper
        links.append(f'<li><a href="#s{number}">{heading}</a></li>\n')
        sections.append(
            f'<section id="s{number}">\n<h2>{heading}</h2>\n{_paragraphs(page.captions[section.caption] if section.caption else "")}{body}'
            '<p><a href="#top">to the top</a></p>\n</section>\n'
        )
    settings = (
        f'<section id="settings">\n<h2>What was run, and how</h2>\n{_settings(page.studies)}</section>\n'
        if page.studies
        else ""
    )
    return typeset.page(
        name,
        f'<p class="data" id="top">{escape(overview.run_on(page.data))}</p>\n<p>{escape(cited)}</p>\n<nav>\n<ul>\n{"".join(links)}</ul>\n</nav>\n'
        f"{settings}{''.join(sections)}",
    )


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(' '.join(part.split()))}</p>\n" for part in text.split("\n\n") if part.strip())


def _settings(studies: dict[str, Study]) -> str:
    """What all experiments share, said once, and then what each has of its own."""
    described = [describe(study) for study in studies.values()]
    shared = (
        {topic: text for topic, text in described[0].items() if all(other.get(topic) == text for other in described)}
        if described
        else {}
    )
    if len(described) == 1:
        return f"<h3>{escape(next(iter(studies.values())).experiment.title)}</h3>\n<dl>\n{_definitions(shared)}</dl>\n"
    blocks = [("All experiments of this page", shared)] if shared else []
    for study, topics in zip(studies.values(), described, strict=True):
        blocks.append((study.experiment.title, {topic: text for topic, text in topics.items() if topic not in shared}))
    return "".join(f"<h3>{escape(title)}</h3>\n<dl>\n{_definitions(topics)}</dl>\n" for title, topics in blocks)


def _definitions(topics: dict[str, str]) -> str:
    return "".join(f"<dt>{escape(topic)}</dt><dd>{escape(text)}</dd>\n" for topic, text in topics.items())
