"""Figure of a section of an archive's term tree: a term, the terms below it, and how many images have each."""

import difflib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath

from thorax.config import LabelSet
from thorax.errors import ThoraxError
from thorax.labels.label_sets import without_padded
from thorax.labels.term_tree import UMBRELLAS, TermTree
from thorax.report.figures import style
from thorax.report.figures.style import BLUE, GREY
from thorax.storage import store
from thorax.storage.joins import Source

PAPER_TERM = "fracture"  # whose section is Figure 4 of Liz et al. 2022
LINE, PADDING, BOX_GAP, COLUMN_GAP = 0.17, 0.09, 0.16, 0.5  # inches
HEADING, KEY, MARGIN = 0.5, 0.3, 0.12  # inches: of the lines above and below the boxes, and around all
TERM_SIZE, SMALL_SIZE = 9.0, 8.0  # points


@dataclass(frozen=True)
class Section:
    """A term, the terms below it, and the images that have them."""

    terms: tuple[str, ...]  # the term, then those below it, each once, depth-first in the tree's own order
    parents: dict[str, tuple[str, ...]]  # of each term within the section; none for the first
    outside: dict[str, tuple[str, ...]]  # parents that are not in the section; none for the first
    own: dict[str, int]  # images that have the term itself
    total: dict[str, int]  # images that have the term or one below it


def term_section(catalog: Source, settings: LabelSet, archive: str, title: str, term: str | None = None) -> Figure:
    """Draw Figure 4 of Liz et al. 2022: a general term, the terms below it, and how many images have each.

    Images count if the catalog has them in a view of the label set, whose two_parents and padded_labels apply too.
    """
    tree = TermTree.of_archive(archive, "archive", "choose one of these").climbed(settings.two_parents)
    padded = settings.padded_labels == "ignore"
    table = store.read_table(catalog, ["view", "positive", *(["padded"] if padded else [])])
    table = without_padded(table, settings, title) if padded else table
    positive = table.loc[table["view"].isin(settings.views), "positive"]
    source = f"{catalog}, views {', '.join(settings.views)}"
    section = count_section(tree, positive, choose_term(tree, positive, source) if term is None else term, source)
    top = section.terms[0]
    seen = f"Tree of {len(section.terms)} terms from {top} down, which {section.total[top]:,} of {len(positive):,} images have"
    return style.described(draw_section(section, tree, len(positive), title), seen)


def choose_term(tree: TermTree, positive: pd.Series, source: str) -> str:
    """The paper's term or, if no image has it or one below it, the general term with most terms in the data."""
    labels = Counter(label for labels in positive for label in labels if label in tree)
    terms: Counter[str] = Counter(general for label in labels for general in tree.general(label))
    if not terms:
        raise ThoraxError(f"{source}: no image has a term of the term tree; choose other views or another catalog.")
    return PAPER_TERM if PAPER_TERM in terms else min(terms, key=lambda term: (-terms[term], -labels[term], term))


def count_section(tree: TermTree, positive: pd.Series, term: str, source: str) -> Section:
    """The section of a tree below a term, with the images that have it: (images,) lists of labels, from `source`."""
    if term not in tree:
        near = difflib.get_close_matches(term, tree.parents, n=3, cutoff=0.5) or _frequent(tree, positive)
        raise ThoraxError(f"term {term!r} is not in the term tree: choose for example {', '.join(map(repr, near))}.")
    below = {name: _below(tree, name) for name in _below(tree, term)}
    terms = below[term]
    parents = {name: tuple(parent for parent in tree.parents[name] if parent in terms) for name in terms}
    outside = {name: tuple(parent for parent in tree.parents[name] if parent not in terms) for name in terms}
    parents[term] = outside[term] = ()
    above = {name: [upper for upper in terms if name in below[upper]] for name in terms}
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for labels in positive:
        present = above.keys() & set(labels)
        own.update(present)
        total.update({upper for name in present for upper in above[name]})
    if not own:
        frequent = ", ".join(map(repr, _frequent(tree, positive)))
        raise ThoraxError(f"{source}: no image has {term!r} or a term below it; choose for example {frequent}.")
    return Section(terms, parents, outside, {name: own[name] for name in terms}, {name: total[name] for name in terms})


def _below(tree: TermTree, term: str) -> tuple[str, ...]:
    """The term and all below it, each once, depth-first in the tree's own order."""
    found: dict[str, None] = {}
    waiting = [term]
    while waiting:
        if (name := waiting.pop()) not in found:
            found[name] = None
            waiting += reversed(tree.children[name])
    return tuple(found)


def _frequent(tree: TermTree, positive: pd.Series) -> list[str]:
    """The general terms with most mentions; the umbrella roots without any mention."""
    mentions = Counter(general for labels in positive for label in labels if label in tree for general in tree.general(label))
    return sorted(mentions, key=lambda term: (-mentions[term], term))[:5] or list(UMBRELLAS)


@dataclass(frozen=True)
class Box:
    """Place of a term in the figure, in inches from its upper left corner, and the lines written there."""

    left: float
    middle: float  # of its height
    width: float
    height: float
    lines: tuple[str, ...]


def arrange(section: Section, tree: TermTree) -> tuple[dict[str, Box], dict[str, str]]:
    """Lay a section out from left to right: a term is to the right of all its parents, level with its children's middle.

    Returns the terms' boxes, and for each term but the first the parent that it is placed next to: the (first) rightmost one.
    """
    terms = section.terms

    def column(name: str) -> int:
        return max((1 + column(parent) for parent in section.parents[name]), default=0)

    depth = {name: column(name) for name in terms}
    beside = {name: max(parents, key=depth.__getitem__) for name, parents in section.parents.items() if parents}
    children = {name: [child for child in terms if beside.get(child) == name] for name in terms}
    lines = {name: _lines(section, tree, name) for name in terms}
    height = {name: LINE * len(text) + PADDING for name, text in lines.items()}
    widths = [0.0] * (max(depth.values()) + 1)
    for name in terms:
        needed = [_text_width(line, SMALL_SIZE if index else TERM_SIZE) for index, line in enumerate(lines[name])]
        widths[depth[name]] = max(widths[depth[name]], max(needed) + 2 * PADDING)
    left = np.concatenate([[0.0], np.cumsum(np.array(widths) + COLUMN_GAP)])
    middle: dict[str, float] = {}

    def stacked(name: str) -> float:
        return sum(map(slot, children[name])) + BOX_GAP * (len(children[name]) - 1)

    def slot(name: str) -> float:
        return max(height[name], stacked(name))

    def place(name: str, top: float) -> None:
        free = slot(name)
        start = top + (free - stacked(name)) / 2
        for child in children[name]:
            place(child, start)
            start += slot(child) + BOX_GAP
        ends = [middle[child] for child in children[name]] or [top + free / 2]
        middle[name] = min(max((ends[0] + ends[-1]) / 2, top + height[name] / 2), top + free - height[name] / 2)

    place(terms[0], 0.0)
    places = {name: (float(left[depth[name]]), middle[name], widths[depth[name]], height[name]) for name in terms}
    return {name: Box(*places[name], lines[name]) for name in terms}, beside


def _lines(section: Section, tree: TermTree, name: str) -> tuple[str, ...]:
    own, total = section.own[name], section.total[name]
    count = f"{own:,} image{'' if own == 1 else 's'}" + (f", {total:,} with the terms below" if total != own else "")
    others = [parent for parent in section.outside[name] if parent not in UMBRELLAS]
    notes = [f"also below {' and '.join(others)}"] if others else []
    if section.terms[0] not in (name, *UMBRELLAS) and _is_general(tree, name):  # below an umbrella every term is one
        notes.append("also a general class of its own")
    return (name, count, *notes)


def _is_general(tree: TermTree, name: str) -> bool:
    return name not in UMBRELLAS and name in tree.general(name)


def _text_width(text: str, size: float) -> float:
    """Inches, and a little more: letters in a PNG start at whole pixels, which makes text wider than its outline."""
    return 1.03 * TextPath((0, 0), text, size=size).get_extents().width / 72


def draw_section(section: Section, tree: TermTree, images: int, title: str) -> Figure:
    """Draw `term_section`, with the number of images in all: a box per term, general ones in blue, those without images in grey."""
    first = section.terms[0]
    with style.style():
        boxes, beside = arrange(section, tree)
        second = [(upper, name) for name, uppers in section.parents.items() for upper in uppers if upper != beside.get(name)]
        which = "it or a term below it" if len(section.terms) > 1 else "it"
        heading = f"{title}: {first}\n{section.total[first]:,} of {images:,} images have {which}"
        greys = "; grey: no image" if not all(section.total.values()) else ""
        key = "blue: general class" + greys + ("; dashed: second parent" if second else "")
        right = max(
            *(box.left + box.width for box in boxes.values()),
            *(_text_width(line, style.HEADING_SIZE) for line in heading.split("\n")),
            _text_width(key, SMALL_SIZE),
        )
        bottom = max(box.middle + box.height / 2 for box in boxes.values())
        left, top, right, bottom = -MARGIN, -MARGIN - HEADING, right + MARGIN, bottom + KEY + MARGIN
        figure = Figure(figsize=(right - left, bottom - top))
        axes = figure.add_axes((0, 0, 1, 1), xlim=(left, right), ylim=(bottom, top))  # so that coordinates are inches
        axes.set_axis_off()
        axes.text(0, top + MARGIN, heading, va="top", fontsize=style.HEADING_SIZE)
        axes.text(0, bottom - MARGIN, key, va="bottom", fontsize=SMALL_SIZE, color=GREY)
        for name, upper in beside.items():
            start, end = boxes[upper].left + boxes[upper].width, boxes[name].left
            middles = boxes[upper].middle, boxes[name].middle
            turn = start + COLUMN_GAP / 2
            axes.plot((start, turn, turn, end), np.repeat(middles, 2), color=GREY, linewidth=1, zorder=0)
        for upper, name in second:
            _draw_second_edge(axes, boxes[upper], boxes[name])
        for name, box in boxes.items():
            _draw_box(axes, box, general=_is_general(tree, name), empty=section.total[name] == 0)
    return figure


def _draw_second_edge(axes: Axes, upper: Box, lower: Box) -> None:
    """A dashed line that avoids the first parents' lines and the boxes in columns that it crosses."""
    start = upper.left + upper.width
    first_turn, last_turn = start + 0.75 * COLUMN_GAP, lower.left - 0.25 * COLUMN_GAP
    side = -1 if upper.middle < lower.middle else 1  # of the lower box, above or below, where the line comes from
    lane = lower.middle + side * (lower.height + BOX_GAP) / 2
    begin, end = upper.middle + np.sign(lane - upper.middle) * PADDING, lower.middle + side * PADDING
    across, down = (start, first_turn, first_turn, last_turn, last_turn, lower.left), (begin, begin, lane, lane, end, end)
    axes.plot(across, down, color=GREY, linewidth=1, zorder=0, linestyle=(0, (4, 2)))


def _draw_box(axes: Axes, box: Box, general: bool, empty: bool) -> None:
    edge = "0.7" if empty else BLUE if general else "black"
    term, small = ("0.5", "0.5") if empty else ("black", "0.3")
    top = box.middle - box.height / 2
    look: dict[str, Any] = {"facecolor": "0.96" if empty else "white", "edgecolor": edge, "linewidth": 2 if general else 1}
    axes.add_patch(Rectangle((box.left, top), box.width, box.height, **look))
    for index, line in enumerate(box.lines):
        colour, size = (small, SMALL_SIZE) if index else (term, TERM_SIZE)
        height = top + PADDING / 2 + LINE * (index + 0.5)
        axes.text(box.left + PADDING, height, line, va="center_baseline", fontsize=size, color=colour)
