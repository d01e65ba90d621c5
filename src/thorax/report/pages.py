"""One page per paper: what was run on which data, the settings in words, and all its tables and figures in the paper's order.

The tables and figures are those of other steps, taken from their pages: nothing is drawn or computed twice.
"""

from collections.abc import Iterable
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
    """Return the page as HTML that needs no other file.

    Args:
        page: Its experiments, and its tables and figures in order.
        captions: Captions by name, as in the sections.

    Raises:
        ThoraxError: A section's page is missing or not ours, or its caption is not given.
    """
    name, cited = published_numbers.citation(page.paper) if page.paper else (BEYOND, _BEYOND_TEXT)
    sections = []
    for section in page.sections:
        if section.caption and section.caption not in captions:
            raise ThoraxError(
                f"The section {section.heading!r} has no caption {section.caption!r}: name its file under --captions."
            )
        sections.append(
            {
                "heading": section.heading.replace(f": {name}: ", ": "),  # the page is of this paper
                "paragraphs": _paragraphs(captions[section.caption] if section.caption else ""),
                "body": typeset.content_of(Path(section.page)),
            }
        )
    return typeset.page(
        "paper.html",
        name,
        run_on=overview.run_on(page.data),
        citation=cited,
        settings=_settings(page.studies),
        sections=sections,
    )


def _paragraphs(text: str) -> list[str]:
    return [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]


def _settings(studies: dict[str, Study]) -> list[tuple[str, dict[str, str]]]:
    """Headings and settings by topic: first what all experiments share, then what each has of its own."""
    described = [(study.experiment.title, describe(study)) for study in studies.values()]
    if len(described) < 2:
        return described
    first = described[0][1]
    shared = {topic: text for topic, text in first.items() if all(other.get(topic) == text for _, other in described)}
    blocks = [("All experiments of this page", shared)] if shared else []
    return blocks + [
        (title, {topic: text for topic, text in topics.items() if topic not in shared}) for title, topics in described
    ]


def make_page(settings: PaperPage, captions: Iterable[Path], out: Path) -> None:
    """Write a paper's page.

    Args:
        settings: The `page` of `compose`.
        captions: Text files {name}.rst without markup.
        out: The page to write.

    Raises:
        ThoraxError: As in `compose`, or a missing caption file.
    """
    texts = dict(settings.captions)
    for path in captions:
        try:
            texts[path.stem] = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ThoraxError(f"{path} cannot be read ({error.strerror}): restore it.") from error
    store.write_text(compose(settings, texts), out)
