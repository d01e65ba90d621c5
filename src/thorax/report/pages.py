"""One page per paper: what was run on which data, the settings in words, and all its tables and figures in the paper's order.

The tables and figures are those of other steps, taken from their pages: nothing is drawn or computed twice.
"""

from collections.abc import Iterable
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
    "What no paper of this study shows: thresholds tuned per class, a class that excludes the rest, a cascade from general to specific "
    "classes, two views of one study, evaluation on other archives, and experiments of your own."
)


def compose(page: PaperPage, captions: dict[str, str]) -> str:
    """The page as HTML of its own.

    Args:
        page: its experiments, and its tables and figures in order.
        captions: by name, as in the sections.

    Raises:
        ThoraxError: a section's page is missing or no page of ours, or its caption is not given.
    """
    name, cited = published_numbers.citation(page.paper) if page.paper else (BEYOND, _BEYOND_TEXT)
    links = ['<li><a href="#settings">What was run, and how</a></li>\n'] if page.studies else []
    sections = []
    for number, section in enumerate(page.sections, 1):
        if section.caption and section.caption not in captions:
            raise ThoraxError(
                f"The section {section.heading!r} has no caption {section.caption!r}: name its file under --captions."
            )
        _, body = typeset.read_page(Path(section.page))
        heading = escape(section.heading.replace(f": {name}: ", ": "))  # the page is of this paper
        links.append(f'<li><a href="#s{number}">{heading}</a></li>\n')
        sections.append(
            f'<section id="s{number}">\n<h2>{heading}</h2>\n{_paragraphs(captions[section.caption] if section.caption else "")}{body}'
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


def make_page(settings: PaperPage, captions: Iterable[Path], out: Path) -> None:
    """Write a paper's page.

    Args:
        settings: as in `compose`.
        captions: text files {name}.rst without markup.
        out: the page to write.

    Raises:
        ThoraxError: as in `compose`, or a missing caption file.
    """
    texts = dict(settings.captions)
    for path in captions:
        try:
            texts[path.stem] = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ThoraxError(f"{path} cannot be read ({error.strerror}): restore it.") from error
    store.write_text(compose(settings, texts), out)
