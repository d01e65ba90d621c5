"""One table for people, typeset as HTML, Markdown and LaTeX."""

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path

import pandas as pd

from thorax.errors import ThoraxError
from thorax.storage import store

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "`": r"\textasciigrave{}",
        "\0": "{}",
        "–": "--",
    }
)
_FIT = r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%"  # no wider than the text

_CSS = """
:root { color-scheme: light; --ink: #1d2733; --soft: #5b6875; --line: #d5dce3; --head: #f3f6f9; --tint: #f8f5ee; }
* { box-sizing: border-box; }
body { margin: 0; padding: 16px 18px; background: #fff; color: var(--ink);
  font: 14px/1.45 system-ui, "Segoe UI", "Liberation Sans", "DejaVu Sans", sans-serif; }
h1 { margin: 0 0 6px; font-size: 19px; font-weight: 650; }
p { max-width: 88ch; margin: 0 0 12px; color: var(--soft); }
p.data { color: #8a4b00; font-weight: 600; }
.frame { display: inline-block; max-width: 100%; max-height: 88vh; overflow: auto; margin-bottom: 12px;
  border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: separate; border-spacing: 0; font-size: 13px; font-variant-numeric: tabular-nums lining-nums; }
th, td { padding: 3px 6px; white-space: nowrap; text-align: right; background: #fff; }
thead { position: sticky; top: 0; z-index: 2; }
thead th { background: var(--head); font-weight: 600; border-bottom: 1px solid var(--line); }
thead th[colspan] { text-align: center; }
thead tr.columns th { font-weight: 500; color: var(--soft); white-space: normal; max-width: 13ch; }
th.name { text-align: left; position: sticky; left: 0; z-index: 1; border-right: 1px solid var(--line); }
tbody th { font-weight: 400; }
tbody th, tbody td { border-bottom: 1px solid #eef1f4; }
tbody tr:hover th, tbody tr:hover td { background: #eef5fc; }
tr.total th, tr.total td { border-top: 1px solid var(--ink); border-bottom: 0; font-weight: 500; }
.start { border-left: 1px solid var(--line); }
.section { border-left: 2px solid #8b98a5; }
td.apart, thead th.apart { background: var(--tint); color: var(--soft); }
b { font-weight: 700; }
i { font-style: italic; }
small { display: block; color: var(--soft); font-size: 11px; font-weight: 400; font-style: normal; }
img { display: block; max-width: 100%; margin: 0 0 18px; }
ul { max-width: 88ch; margin: 0; padding-left: 18px; color: var(--soft); }
td.text, thead th.text { text-align: left; }
thead th.text[colspan] { text-align: center; }
h3 { margin: 12px 0 6px; font-size: 14px; font-weight: 650; }
h2 { margin: 0 0 6px; padding-top: 14px; border-top: 2px solid var(--line); font-size: 16px; font-weight: 650; }
section { margin-top: 26px; }
section ul { margin-bottom: 8px; }
a { color: #0b5cad; }
nav ul { columns: 38ch; max-width: none; margin-bottom: 12px; list-style: none; padding: 0; }
nav li { break-inside: avoid; padding-bottom: 2px; }
dl { display: grid; grid-template-columns: max-content minmax(0, 88ch); gap: 4px 16px; margin: 0 0 12px; font-size: 13px; }
dt { font-weight: 600; }
dd { margin: 0; }
"""
_PAGE = re.compile(r"<body>\n<h1>(.*?)</h1>\n(.*)</body>\n</html>\n", re.DOTALL)  # what `page` writes


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table.

    Args:
        text: as shown.
        bold: whether it is in bold.
        italic: whether it is in italics.
        detail: a small second line, in HTML only.
        hover: text that is shown on hovering over the cell, in HTML only.
    """

    text: str
    bold: bool = False
    italic: bool = False
    detail: str = ""
    hover: str = ""


@dataclass(frozen=True)
class Group:
    """Neighbouring columns under one heading.

    Args:
        heading: e.g. a model's name.
        columns: the headings of the columns, e.g. AUC and F1; one empty heading for a group that is a single column.
        section: groups of equal section belong together and are divided from others by a stronger line.
        apart: whether the group is set apart as one that takes no part in a comparison.
        words: whether the columns hold words, which begin at the left.
    """

    heading: str
    columns: tuple[str, ...] = ("",)
    section: str = ""
    apart: bool = False
    words: bool = False


@dataclass(frozen=True)
class Table:
    """A table with caption, of which the first column holds the rows' names.

    Args:
        title: a short heading.
        caption: what the table shows and how to read it.
        data: one sentence on the data behind the numbers, or nothing.
        groups: the columns after the first.
        name_heading: the first column's heading.
        rows: (name, cells) with one cell per column.
        total: whether the last row sums up the others.
        notes: sentences under the table.
    """

    title: str
    caption: str
    data: str
    groups: tuple[Group, ...]
    name_heading: str
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    total: bool = False
    notes: tuple[str, ...] = ()

    @property
    def two_headings(self) -> bool:
        """Whether the columns have headings below those of their groups."""
        return any(column for group in self.groups for column in group.columns)

    def places(self) -> Iterator[tuple[Group, int, bool]]:
        """Yield each column's group, its position in it, and whether a new section starts with it."""
        section = None
        for group in self.groups:
            for position in range(len(group.columns)):
                yield group, position, position == 0 and section is not None and group.section != section
            section = group.section


def write(table: Table, values: pd.DataFrame, folder: Path, name: str, on_page: Table | None = None) -> None:
    """Write {folder}/{name}.html, .md and .tex from `table` and .csv from `values`; the HTML from `on_page`, where it is given."""
    store.write_text(html(on_page or table), folder / f"{name}.html")
    store.write_text(markdown(table), folder / f"{name}.md")
    store.write_text(latex(table, f"{folder.name}:{name}"), folder / f"{name}.tex")
    store.write_text(values.to_csv(index=False), folder / f"{name}.csv")


def html(table: Table) -> str:
    """Return a page of its own, without references to other files."""
    data = f'<p class="data">{escape(table.data)}</p>\n' if table.data else ""
    notes = "".join(f"<li>{escape(note)}</li>\n" for note in table.notes)
    body = []
    for number, (name, cells) in enumerate(table.rows, 1):
        tag = '<tr class="total">' if table.total and number == len(table.rows) else "<tr>"
        shown = "".join(_html_cell(cell, place) for cell, place in zip(cells, table.places(), strict=True))
        body.append(f"{tag}<th scope=row class=name>{escape(name)}</th>{shown}</tr>\n")
    return page(
        table.title,
        f"<p>{escape(table.caption)}</p>\n{data}"
        f'<div class="frame">\n<table>\n<thead>\n{_html_head(table)}</thead>\n<tbody>\n{"".join(body)}</tbody>\n</table>\n</div>\n'
        + (f"<ul>\n{notes}</ul>\n" if notes else ""),
    )


def page(title: str, body: str) -> str:
    """Return an HTML page of its own, without references to other files."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>{_CSS}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n{body}</body>\n</html>\n"
    )


def picture_page(title: str, pictures: Iterable[bytes], said: Iterable[str] = ()) -> str:
    """Return a page of sentences and, below them, WebP pictures, no wider than the window."""
    images = (base64.b64encode(picture).decode("ascii") for picture in pictures)
    return page(
        title,
        "".join(f"<p>{escape(sentence)}</p>\n" for sentence in said)
        + "".join(f'<img alt="{escape(title)}" src="data:image/webp;base64,{image}">\n' for image in images),
    )


def read_page(path: Path) -> tuple[str, str]:
    """Return the title, and as HTML what stands below it, of a page that `page` made.

    Raises:
        ThoraxError: there is no such file, or it is no whole page of ours.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ThoraxError(f"{path} is not there: run the step that makes it first.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ThoraxError(f"{path} cannot be read as a page: delete it and make it again.") from error
    found = _PAGE.search(text)
    if not found:
        raise ThoraxError(f"{path} is no whole page of thorax: delete it and make it again.")
    return unescape(found[1]), found[2]


def csv_page(csv: Path, title: str, caption: str, out: Path) -> None:
    """Show a CSV file as a page; its first column names the rows."""
    frame = store.read_csv(csv, dtype=str, keep_default_na=False)
    rows = tuple((row[0], tuple(Cell(text) for text in row[1:])) for row in frame.itertuples(index=False, name=None))
    groups = tuple(Group(column.replace("_", " ")) for column in frame.columns[1:])
    store.write_text(html(Table(title, caption, "", groups, frame.columns[0].replace("_", " "), rows)), out)


def _html_head(table: Table) -> str:
    rows = 2 if table.two_headings else 1
    first = f"<th rowspan={rows} class=name>{escape(table.name_heading)}</th>"
    second = ""
    for place in table.places():
        group, position, _ = place
        classes = _html_classes(place)
        if position == 0:
            span = f" colspan={len(group.columns)}" if len(group.columns) > 1 else f" rowspan={rows}"
            first += f"<th scope=colgroup{span}{classes}>{escape(group.heading)}</th>"
        if len(group.columns) > 1:
            second += f"<th scope=col{classes}>{escape(group.columns[position])}</th>"
    return f'<tr>{first}</tr>\n<tr class="columns">{second}</tr>\n' if second else f"<tr>{first}</tr>\n"


def _html_classes(place: tuple[Group, int, bool]) -> str:
    group, position, starts_section = place
    names = [
        "section" if starts_section else "",
        "start" if position == 0 and not starts_section else "",
        "apart" if group.apart else "",
        "text" if group.words else "",
    ]
    joined = " ".join(name for name in names if name)
    return f' class="{joined}"' if joined else ""


def _html_cell(cell: Cell, place: tuple[Group, int, bool]) -> str:
    text = escape(cell.text)
    text = f"<i>{text}</i>" if cell.italic else text
    text = f"<b>{text}</b>" if cell.bold else text
    detail = f"<small>{escape(cell.detail)}</small>" if cell.detail else ""
    hover = f' title="{escape(cell.hover)}"' if cell.hover else ""
    return f"<td{_html_classes(place)}{hover}>{text}{detail}</td>"


def markdown(table: Table) -> str:
    """Return a GitHub-flavoured pipe table with its caption above and its notes below."""
    headings = [table.name_heading] + [" ".join(filter(None, (g.heading, g.columns[p]))) for g, p, _ in table.places()]
    lines = [f"## {_markdown_text(table.title)}", "", _markdown_text(table.caption), ""]
    lines += [f"**{_markdown_text(table.data)}**", ""] if table.data else []
    rules = [":--", *(":--" if group.words else "--:" for group, _, _ in table.places())]
    lines += [_pipes(map(_markdown_text, headings)), _pipes(rules)]
    lines += [_pipes([_markdown_text(name), *map(_markdown_cell, cells)]) for name, cells in table.rows]
    lines += ["", *(f"- {_markdown_text(note)}" for note in table.notes)] if table.notes else []
    return "\n".join(lines) + "\n"


def _pipes(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _markdown_text(text: str) -> str:
    return "".join("\\" + letter if letter in "\\|*_`<>[]$~&#" else letter for letter in text)


def _markdown_cell(cell: Cell) -> str:
    stars = "*" * (2 * cell.bold + cell.italic)
    return f"{stars}{_markdown_text(cell.text)}{stars}"


def latex(table: Table, label: str) -> str:
    """Return a `table` environment in the style of booktabs; the notes follow the caption's text under the table."""
    places = list(table.places())
    columns = "l" + "".join((r"@{\hskip 1.6em}" if new else "") + ("l" if group.words else "r") for group, _, new in places)
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
    """A column's heading; one with a remark in brackets word below word, as narrow as its numbers."""
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
