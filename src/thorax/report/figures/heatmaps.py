"""Heatmaps of an ensemble laid over the original radiograph (Liz et al. 2022, section 3.5 and Figures 7 to 9).

Every network's map of a class is scaled to its own maximum and averaged over the networks. Their standard deviation, the paper's
future work, shows where they disagree.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from thorax.errors import ThoraxError
from thorax.explanation.cases import THRESHOLD, Case, Original, Paths, load_originals, maps_of
from thorax.explanation.overlays import DIMMED, glow, tint, to_original
from thorax.images import decoding
from thorax.report import typeset
from thorax.report.figures import style
from thorax.report.figures.outlines import HALO, draw_outlines, write_names
from thorax.storage import store
from thorax.storage.joins import Source

LARGEST_DEVIATION = 0.5  # of values between 0 and 1
CLASS_COLOURS = (style.ORANGE, style.SKY, style.GREEN, style.PURPLE, style.YELLOW)
VERDICTS = {  # symbol and colour: also colour-blind people tell these apart, and the contrast with white is above 4.5
    "found": ("\u2713", "#00609c"), "missed": ("\u2717", "#a33800"), "false alarm": ("\u25b2", "#7b3294"),
    "rightly no": ("\u2713", "#595959"), "label unknown": ("?", "#595959"),
}  # fmt: skip
Look = Callable[[np.ndarray, np.ndarray], np.ndarray]  # radiograph (h, w) and values from 0 to 1 as colours (h, w, 3)
LOOKS: dict[str, tuple[Look, Look]] = {  # by heatmap_style: of the evidence and of the disagreement
    "hot": (glow, lambda grey, value: tint(grey * DIMMED, value, style.SKY)),
    "paper": (lambda grey, value: tint(grey, value, "#1f6fff"), lambda grey, value: tint(grey, value, style.ORANGE)),
}
SEEN, SEEN_COLOUR, BOX_COLOUR = "part that the networks saw", style.ORANGE, "white"
BOXES = {"experts": "box drawn by experts", "phantom": "place of the finding in the phantom", "archive": "box of the archive"}
OUTLINE = "outline: at least half of a class's maximum"
PANEL = 2.2  # width in inches
LONGEST_NAME = 34  # characters of a class that fit over a panel
GAP = 0.1  # between panels, in inches
BAR = 1.0  # width of a colour bar with its words, in inches
LINE = 0.17  # height of a line of text in inches
NO_CASE = "No test image has a class, so there is no case to show."
CELL, CELLS_PER_ROW, CELL_GAP = 3.0, 3, 0.15  # of the figure with all classes; inches
LEGEND_ENTRY = 0.285  # height of two small lines in inches


def heatmap_figure(case: Case, number: int = 1, heatmap_style: str = "hot", boxes_by: str = "archive") -> Figure:
    """Draw one case: the original and one heatmap per class; below, all classes at once and, of several members, their disagreement.

    `heatmap_style` is a key of `LOOKS`, `boxes_by` one of `BOXES`.
    """
    shown = case.shown()
    true = [name for name, value in zip(case.classes, case.truth, strict=True) if value == 1]
    about, labels = f"Case {number}: {case.image_id}, chosen for {case.chosen_for}", f"Labels: {', '.join(true) or 'none'}."
    evidence, disagreement = LOOKS[heatmap_style]
    several = sum(maps[0].size > 1 for maps in case.maps) > 1  # one network cannot disagree: all in one row
    columns, step = max(3, 1 + len(shown) + (not several)), PANEL + GAP
    tall = PANEL * case.original.shape[0] / case.original.shape[1]
    second = tall + 2 * LINE  # upper edges of the two rows; below is the legend
    first = second + (tall + 2 * LINE) * several
    with style.style():
        figure = sheet(columns * step + BAR, first + 3 * LINE, "\n".join([about, " ".join([labels, *case.hidden()])]), GAP / 2)
        above = [panel(figure, GAP / 2 + n * step, first, PANEL, tall) for n in range(1 + len(shown))]
        overview = panel(figure, GAP / 2 + (0 if several else len(above)) * step, second, PANEL, tall)
        below = [panel(figure, GAP / 2 + n * step, second, PANEL, tall) for n in range(1, len(above) * several)]
        draw_seen(above[0], case.original, case.box)
        _draw_truth_boxes(above[0], case, None)
        means = []
        for column, index in enumerate(shown, start=1):
            mean, deviation = case.heat(index)
            means.append(mean)
            above[column].imshow(evidence(case.original, mean))
            colour = VERDICTS[case.verdict(index)][1]
            above[column].set_title(f"{_said(case, index)}\n{_judged(case, index)}", fontsize=8, color=colour)
            _draw_truth_boxes(above[column], case, case.classes[index])
            if several:
                below[column - 1].imshow(disagreement(case.original, deviation / LARGEST_DEVIATION))
                below[column - 1].set_title("disagreement (SD)", fontsize=8)
        _draw_all_classes(overview, case, means)
        overview.set_title("all classes", fontsize=8)
        left = GAP / 2 + (len(above) + (not several)) * step
        _colour_bar(figure, left, first, tall, evidence, "evidence for the class", {0: "0 none", 0.5: "0.5", 1: "1 most"})
        spread = {0: "0 agree", 0.5: f"{LARGEST_DEVIATION / 2:g}", 1: f"{LARGEST_DEVIATION:g}"}
        if several:
            _colour_bar(figure, left, second, tall, disagreement, "SD of the networks", spread)
        boxes = [Patch(facecolor=BOX_COLOUR, edgecolor="black", label=BOXES[boxes_by])] if len(case.truth_boxes) else []
        _explain(figure, [*_seen(case.original, case.box), *boxes, _line("black", OUTLINE)])
    return figure


def _colour_bar(
    figure: Figure, left: float, top: float, height: float, look: Look, meaning: str, ticks: dict[float, str]
) -> None:
    """What the colours of a row of panels mean, over a radiograph of medium grey, at a place in inches."""
    axes = panel(figure, left, top, 0.12, height)
    axes.set_axis_on()
    values = np.linspace(0, 1, 256)[:, None]
    axes.imshow(look(np.full((256, 1), 128, np.uint8), values), extent=(0, 1, 0, 1), aspect="auto", origin="lower")
    axes.set(xticks=[], yticks=list(ticks), yticklabels=list(ticks.values()))
    axes.yaxis.tick_right()
    axes.tick_params(axis="y", labelsize=7, length=2)
    axes.yaxis.set_label_position("right")
    axes.set_ylabel(meaning, fontsize=7)


def _line(colour: str, meaning: str, dashes: Literal["-", "--"] = "-") -> Line2D:
    return Line2D([], [], color=colour, linestyle=dashes, label=meaning)


def _seen(original: np.ndarray, box: decoding.Box) -> list[Line2D]:
    """The legend of the box that `draw_seen` draws; nothing where it draws none."""
    left, top, right, bottom = decoding.box_pixels(box, *original.shape)
    return [_line(SEEN_COLOUR, SEEN, "--")] if (right - left, bottom - top) != original.shape[::-1] else []


def _explain(figure: Figure, lines: Sequence[Line2D | Patch]) -> None:
    """The legend of lines, in the lower left corner of a figure."""
    if lines:
        figure.legend(handles=lines, loc="lower left", fontsize=7, ncols=len(lines), borderpad=0.2, columnspacing=1.5)


def _said(case: Case, index: int) -> str:
    """A class, its probability, and how many models vote for it."""
    name, votes = style.shortened(case.classes[index], LONGEST_NAME), case.votes[:, index]
    return f"{name}\n{case.printed(index)}, {votes.sum()}/{len(votes)} models"


def _judged(case: Case, index: int) -> str:
    return f"{VERDICTS[case.verdict(index)][0]} {case.verdict(index)}"


def draw_seen(axes: Axes, original: np.ndarray, box: decoding.Box) -> None:
    """Draw a radiograph and the box that the networks saw, unless that is all of it."""
    axes.imshow(original, cmap="gray", vmin=0, vmax=255)
    axes.set_title("original", fontsize=8)
    if _seen(original, box):
        axes.add_patch(style.rectangle(*decoding.box_pixels(box, *original.shape), SEEN_COLOUR, linestyle="--"))


def _draw_truth_boxes(axes: Axes, case: Case, label: str | None, colour: str = BOX_COLOUR, **line: Any) -> int:
    """Draw the boxes of one label, or of all labels with their names; returns their number."""
    boxes = case.truth_boxes if label is None else case.truth_boxes[case.truth_boxes["label"] == label]
    rows, columns = case.original.shape
    named = []
    for box in boxes.itertuples():
        left, top, right, bottom = box.x * columns, box.y * rows, (box.x + box.width) * columns, (box.y + box.height) * rows
        axes.add_patch(style.rectangle(left, top, right, bottom, colour, path_effects=HALO, **line))
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)]) - 0.5
        named.append((box.label, colour, np.concatenate([corners, (corners + np.roll(corners, 1, axis=0)) / 2])))
    if label is None:
        write_names(axes, named)
    return len(named)


def _draw_all_classes(axes: Axes, case: Case, means: list[np.ndarray]) -> None:
    """Every class that is shown in its own colour: a line around the hotter half of its values, with its name."""
    axes.imshow(case.original, cmap="gray", vmin=0, vmax=255)
    draw_outlines(axes, means, [style.shortened(case.classes[index], LONGEST_NAME) for index in case.shown()], CLASS_COLOURS)


def classes_figure(cases: Sequence[Case], title: str, boxes_by: str = "archive") -> Figure:
    """Draw each case with two or more predicted or true classes as one picture, with every class in its own colour.

    The introduction of Liz et al. 2022 asks for this view. Boxes, whose source `boxes_by` (of `BOXES`) names, are dashed in the colour
    of their class. The classes, and the numbers of the cases, are those of `heatmap_figure`; so `cases` are all chosen ones, in their
    order.
    """
    several = [
        (case, style.wrapped(f"Case {number}: {case.image_id}", 42) + case.hidden())
        for number, case in enumerate(cases, start=1)
        if ((case.probabilities > THRESHOLD) | (case.truth == 1)).sum() >= 2
    ]
    found = f"{len(several)} of {len(cases)} cases have two or more predicted or true classes" if cases else NO_CASE
    rows = [several[start : start + CELLS_PER_ROW] for start in range(0, len(several), CELLS_PER_ROW)]
    headings = [max(len(lines) for _, lines in row) * LINE for row in rows]
    below = [max(_height(case) + (len(case.shown()) + 0.5) * LEGEND_ENTRY for case, _ in row) + 2 * LINE for row in rows]
    width = CELLS_PER_ROW * (CELL + CELL_GAP) + CELL_GAP
    with style.style():
        top = sum(headings) + sum(below)
        figure = sheet(width, top, f"{title}\n{found}", CELL_GAP)
        for row, above, under in zip(rows, headings, below, strict=True):
            for column, (case, lines) in enumerate(row):
                axes = panel(figure, CELL_GAP + column * (CELL + CELL_GAP), top - above, CELL, _height(case))
                axes.set_title("\n".join(lines), fontsize=8)
                shown = list(zip(CLASS_COLOURS, case.shown(), strict=False))
                _draw_all_classes(axes, case, [case.heat(index)[0] for _, index in shown])
                key = [_line(colour, f"{_said(case, index)}, {_judged(case, index)}") for colour, index in shown]
                if sum(_draw_truth_boxes(axes, case, case.classes[index], colour, linestyle="--") for colour, index in shown):
                    key.append(_line(style.GREY, BOXES[boxes_by], "--"))
                axes.legend(
                    handles=key, fontsize=7, handlelength=1.8, loc="upper left", bbox_to_anchor=(0, 0), borderaxespad=0.2
                )
            top -= above + under
    return figure


def sheet(width: float, height: float, heading: str, margin: float) -> Figure:
    """A figure for panels that are placed by the inch: `height` inches below a heading."""
    heading = style.fit(heading, width, style.SMALL_HEADING)
    whole = height + 0.18 + 0.16 * (1 + heading.count("\n"))
    place = {"x": margin / width, "y": 1 - 0.08 / whole, "ha": "left", "va": "top"}
    with style.style():
        figure = Figure(figsize=(width, whole))
        figure.suptitle(heading, **place, fontsize=style.SMALL_HEADING)
    return figure


def panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes without ticks at a place in inches from the figure's lower left corner."""
    across, up = figure.get_size_inches()
    axes = figure.add_axes((left / across, (top - height) / up, width / across, height / up))
    axes.set(xticks=[], yticks=[])
    axes.set_axis_off()
    return axes


def _height(case: Case) -> float:
    return CELL * case.original.shape[0] / case.original.shape[1]


def write_contact_sheet(drawn: Sequence[Figure], out: Path, title: str, said: Sequence[str] = ()) -> list[np.ndarray]:
    """Write the figures of all cases as one PNG, and as a page (.html) with the sentences `said`; without any, both say so.

    Returns the pixels (h, w, 3) of each figure in the PNG.
    """
    if not drawn:
        said = [*said, NO_CASE]
    figures = drawn or [sheet(8.0, 0.0, "\n".join([title, *said]), 0.15)]
    pictures = [style.pixels(figure) for figure in figures]
    width = max(picture.shape[1] for picture in pictures)
    padded = [np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0)), constant_values=255) for picture in pictures]
    style.write_png(np.vstack(padded), out)
    pairs = list(zip(figures, pictures, strict=True))[: len(drawn)]
    shown = [picture for figure, printed in pairs for picture in style.shown(figure, printed, photos=True)]
    store.write_text(typeset.picture_page(title, shown, said), out.with_suffix(".html"))
    return pictures if drawn else []


def attention_figure(
    attention: Mapping[str, Source], predictions: Mapping[str, Source], cases: Source, ingested: Source, arrays: Paths,
    lungs: Paths | None, title: str,
) -> Figure:  # fmt: skip
    """Draw where networks with the attention head look (Kejriwal et al., section III B), from the files of the job `predict`."""
    ids = store.read_table(cases, ["image_id"])["image_id"]
    weights = {name: maps_of(path, predictions[name], ids, cases) for name, path in attention.items()}
    for name, array in weights.items():
        if array.shape[1] == 0:
            advice = "predict again with a network that was trained with head: attention, or leave this one out"
            raise ThoraxError(f"{attention[name]} has no weights: {advice}.")
    originals = load_originals(ids, ingested, arrays, lungs)
    return draw_attention(list(ids), originals, weights, title)


def emphasis(weights: np.ndarray) -> np.ndarray:
    """How far weights (h, w), which sum to 1, exceed those of a plain mean: 0 up to there, 1/2 at twice as much, then towards 1.

    Unlike a share of the largest weight, this leaves nearly even weights uncoloured, and the scale is the same for all maps.
    """
    return 1 - 1 / np.maximum(weights * weights.size, 1)


def draw_attention(ids: Sequence[str], originals: Sequence[Original], weights: dict[str, np.ndarray], title: str) -> Figure:
    """Draw one row per case: the original, and the `emphasis` of each network's weights (images, h', w'), which sum to 1."""
    step, said = PANEL + GAP, {0: "even", 0.5: "2 x", 0.9: "10 x"}
    tall = [PANEL * original.shape[0] / original.shape[1] for original, _ in originals]
    width, top = max(step * (1 + len(weights)) + BAR, 6), sum(tall) + (len(tall) * 4 + 1.5) * LINE
    with style.style():
        figure = sheet(width, top, title if originals else f"{title}\n{NO_CASE}", GAP)
        for row, (image_id, (original, box)) in enumerate(zip(ids, originals, strict=True)):
            top -= 3 * LINE
            above = (top + 2.2 * LINE) / figure.get_figheight()
            figure.text(GAP / width, above, f"Case {row + 1}: {image_id}", fontsize=8, va="bottom")
            draw_seen(panel(figure, GAP, top, PANEL, tall[row]), original, box)
            for column, (name, of_network) in enumerate(weights.items(), start=1):
                axes = panel(figure, GAP + column * step, top, PANEL, tall[row])
                heat = to_original(emphasis(of_network[row]), box, *original.shape)
                axes.imshow(glow(original, heat))
                most, even = of_network[row].max(), 1 / of_network[row].size
                axes.set_title(f"{name}\nat most {most:.3f}, even {even:.3f}", fontsize=7.5)
            _colour_bar(figure, GAP + step * (1 + len(weights)), top, tall[row], glow, "weight of a position", said)
            top -= tall[row] + LINE
        _explain(figure, next(filter(None, (_seen(*original) for original in originals)), []))
    return figure
