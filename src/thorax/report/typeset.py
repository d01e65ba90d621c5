"""A table as HTML, Markdown, LaTeX and CSV; and every page of HTML, from the templates next to this module."""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup, escape

from thorax.errors import ThoraxError
from thorax.storage import store

TEMPLATES = Path(__file__).parent / "templates"
_LATEX = str.maketrans(
    {letter: "\\" + letter for letter in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "`": r"\textasciigrave{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "\0": "{}", "–": "--"}
)
_FIT = r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%"  # no wider than the text
_MAIN = "<main>\n", "</main>\n</body>\n</html>\n"  # what encloses the content of a page, see base.html


Row = tuple[str, tuple["Cell", ...]]  # name, and one cell per column


@dataclass(frozen=True)
class Cell:
    """One cell of a table: its text, and whether it is in bold and in italics."""

    text: str
    bold: bool = False
    italic: bool = False
    detail: str = ""  # a small second line, in HTML only
    hover: str = ""  # shown on hovering over the cell, in HTML only


@dataclass(frozen=True)
class Group:
    """Neighbouring columns under one heading, for example a model's name."""

    heading: str
    columns: tuple[str, ...] = ("",)  # headings of the columns, for example AUC and F1; an empty one for a single column
    section: str = ""  # groups of equal section belong together; a stronger line divides them from others
    apart: bool = False  # whether it is tinted because it takes no part in a comparison
    words: bool = False  # whether the columns hold words, which are aligned to the left


class Place(NamedTuple):
    """A column: its group, its position in the group, and whether a new section starts with it."""

    group: Group
    position: int
    starts_section: bool

    @property
    def classes(self) -> str:
        """The classes of its cells in HTML."""
        starts_group = self.position == 0 and not self.starts_section
        names = {"section": self.starts_section, "start": starts_group, "apart": self.group.apart, "text": self.group.words}
        return " ".join(name for name, applies in names.items() if applies)


@dataclass(frozen=True)
class Table:
    """A table with a caption; its first column holds the names of the rows."""

    title: str
    caption: str  # what the table shows and how to read it
    data: str  # one sentence on the data behind the numbers, or nothing
    groups: tuple[Group, ...]  # the columns after the first
    name_heading: str  # heading of the first column
    rows: tuple[Row, ...]
    total: bool = False  # whether the last row sums up the others
    notes: tuple[str, ...] = ()  # sentences under the table

    @property
    def two_headings(self) -> bool:
        """Whether the columns have headings below those of their groups."""
        return any(column for group in self.groups for column in group.columns)

    @property
    def places(self) -> list[Place]:
        """The columns after the first, one place for each."""
        found, section = [], None
        for group in self.groups:
            starts_section = section is not None and group.section != section
            found += [Place(group, position, position == 0 and starts_section) for position in range(len(group.columns))]
            section = group.section
        return found


def write(table: Table, values: pd.DataFrame, folder: Path, name: str, on_page: Table | None = None) -> None:
    """Write {folder}/{name}.html, .md and .tex from `table` and .csv from `values`; the HTML from `on_page` where it is given."""
    store.write_text(html(on_page or table), folder / f"{name}.html")
    store.write_text(markdown(table), folder / f"{name}.md")
    store.write_text(latex(table, f"{folder.name}:{name}"), folder / f"{name}.tex")
    store.write_text(values.to_csv(index=False), folder / f"{name}.csv")


@cache
def _templates() -> Environment:
    patterns = ("*.html", "*.css", "*.js")  # the code digest reads these
    sources = {path.name: path.read_text(encoding="utf-8") for pattern in patterns for path in TEMPLATES.glob(pattern)}
    return Environment(
        loader=DictLoader(sources), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip


def page(template: str, title: str, **content: Any) -> str:
    """Return an HTML page that needs no other file, from one in templates/; text is escaped, `Markup` is inserted as it is."""
    return _templates().get_template(template).render(title=title, **content)


def html(table: Table) -> str:
    """Return the table as a page of its own."""
    return page("table.html", table.title, table=table, places=table.places)


def picture_page(title: str, pictures: Iterable[tuple[bytes, int]], sentences: Iterable[str] = (), seen: str = "") -> str:
    """Return a page of sentences and, below them, WebP pictures; `seen` says what is in them.

    Each comes with the width in pixels at which it is shown; in a narrower window it is as wide as that.
    """
    encoded = [(base64.b64encode(picture).decode("ascii"), width) for picture, width in pictures]
    return page("pictures.html", title, pictures=encoded, sentences=list(sentences), seen=seen or title)


def linked(text: str) -> Markup:
    """The text with its addresses as links."""
    return Markup(re.sub(r"https?://\S*[^\s.,]", r'<a href="\g<0>">\g<0></a>', str(escape(text))))


def content_of(path: Path) -> Markup:
    """Return the content of a page that `page` made, without its heading, for another page to show."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ThoraxError(f"{path} is not there: run the step that makes it first.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ThoraxError(f"{path} cannot be read as a page: delete it and make it again.") from error
    if not text.endswith(_MAIN[1]) or _MAIN[0] not in text:
        raise ThoraxError(f"{path} is not a whole page of thorax: delete it and make it again.")
    return content(text)


def content(text: str) -> Markup:
    """Return the content of the text of a page, as `content_of`."""
    return Markup(text.partition(_MAIN[0])[2].removesuffix(_MAIN[1]))


def csv_page(csv: Path, title: str, caption: str, out: Path) -> None:
    """Show a CSV file as a page; its first column names the rows. Shares are in per cent, and words are aligned to the left."""
    frame = store.read_csv(csv, dtype=str, keep_default_na=False)
    for column in frame.columns[frame.columns.str.endswith("share")]:
        frame[column] = [f"{float(share):.1%}" if share else "" for share in frame[column]]
    rows = tuple((row[0], tuple(map(Cell, row[1:]))) for row in frame.itertuples(index=False, name=None))
    words = {column for column in frame.columns if frame[column].str.contains("[A-Za-z]").any()}
    name_heading, *groups = (Group(column.replace("_", " "), words=column in words) for column in frame.columns)
    store.write_text(html(Table(title, caption, "", tuple(groups), name_heading.heading, rows)), out)


def markdown(table: Table) -> str:
    """Return a GitHub-flavoured pipe table with its caption above and its notes below."""
    headings = [table.name_heading] + [" ".join(filter(None, (g.heading, g.columns[p]))) for g, p, _ in table.places]
    lines = [f"## {markdown_text(table.title)}", "", markdown_text(table.caption), ""]
    lines += [f"**{markdown_text(table.data)}**", ""] if table.data else []
    alignment = [":--", *(":--" if group.words else "--:" for group, _, _ in table.places)]
    rows = [map(markdown_text, headings), alignment]
    rows += [[markdown_text(name), *map(_markdown_cell, cells)] for name, cells in table.rows]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    lines += ["", *(f"- {markdown_text(note)}" for note in table.notes)] if table.notes else []
    return "\n".join(lines) + "\n"


def markdown_text(text: str) -> str:
    """Return a text for a line or cell of Markdown, with its special letters escaped."""
    return "".join("\\" + letter if letter in "\\|*_`<>[]$~&#" else letter for letter in text)


def _markdown_cell(cell: Cell) -> str:
    stars = "*" * (2 * cell.bold + cell.italic)
    return f"{stars}{markdown_text(cell.text)}{stars}"


def latex(table: Table, label: str) -> str:
    """Return a `table` environment in the style of booktabs; the notes follow the caption's text under the table."""
    columns = "l" + "".join(
        (r"@{\hskip 1.6em}" if new else "") + ("l" if group.words else "r") for group, _, new in table.places
    )
    lines = [
        r"% needs \usepackage{booktabs,graphicx} and UTF-8",
        r"\begin{table}[p]",
        r"\centering\footnotesize",
        rf"\caption{{{' '.join(filter(None, (_tex(table.caption), _tex(table.data))))}}}",
        rf"\label{{tab:{label}}}",
    ]
    lines += [_FIT, rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *_latex_head(table), r"\midrule"]
    for number, (name, cells) in enumerate(table.rows, 1):
        lines += [r"\midrule"] if table.total and number == len(table.rows) else []
        lines.append(" & ".join([_tex(name), *map(_latex_cell, cells)]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}}"]
    lines += [rf"\par\smallskip\raggedright {' '.join(map(_tex, table.notes))}"] if table.notes else []
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _latex_head(table: Table) -> list[str]:
    first, second, rules, column = [], [], [], 2
    for group in table.groups:
        width = len(group.columns)
        first.append(rf"\multicolumn{{{width}}}{{c}}{{{_tex(group.heading)}}}")
        second += [_latex_heading(heading) for heading in group.columns]
        rules += [rf"\cmidrule(lr){{{column}-{column + width - 1}}}"] if width > 1 else []
        column += width
    if not table.two_headings:
        return [" & ".join([_tex(table.name_heading), *first]) + r" \\"]
    return [" & ".join(["", *first]) + r" \\", "".join(rules), " & ".join([_tex(table.name_heading), *second]) + r" \\"]


def _latex_heading(text: str) -> str:
    """A column's heading; one with a remark in brackets is set word below word, as narrow as its numbers."""
    if "(" not in text:
        return _tex(text)
    return r"\shortstack[r]{" + r"\\".join(map(_tex, text.split())) + "}"


def _latex_cell(cell: Cell) -> str:
    text = _tex(cell.text)
    text = rf"\textit{{{text}}}" if cell.italic else text
    return rf"\textbf{{{text}}}" if cell.bold else text


def _tex(text: str) -> str:
    apart = re.sub("-(?=-)", "-\0", text)  # two hyphens would be a dash
    apart = re.sub(r"^(?=[\[*])", "\0", apart)  # at the start of a row these would be options of the end of the last one
    return apart.translate(_LATEX)
