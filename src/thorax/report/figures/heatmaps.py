"""Heatmaps of an ensemble laid over the original radiograph (Liz et al. 2022, section 3.5 and Figures 7 to 9).

Every network's map of a class is scaled to its own maximum, enlarged to the part of the radiograph that the network saw
and averaged over the networks; their standard deviation, the paper's future work, shows where they disagree.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from thorax.errors import ThoraxError
from thorax.evaluation.metrics import sigmoid
from thorax.images import decoding
from thorax.report import typeset
from thorax.report.figures import style
from thorax.storage import store
from thorax.storage.schemas import class_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
from thorax.explanation.overlays import scale_maps, tint, to_original

THRESHOLD = 0.5  # a model votes for a class above this probability, as in the metrics and ensembles


MOST_PREDICTED, MOST_SHOWN = 4, 5  # classes of one case: predicted ones, and with the true ones that were missed


LARGEST_DEVIATION = 0.5  # that values between 0 and 1 can have


CLASS_COLOURS = (style.ORANGE, style.SKY, style.GREEN, style.PURPLE, style.YELLOW)


VERDICTS = {1: ("true", style.GREEN), 0: ("not in the labels", style.VERMILION), -1: ("not judged", style.GREY)}


HEAT_COLOUR, DEVIATION_COLOUR = "#1f6fff", style.ORANGE


PANEL = 2.2  # width in inches


LONGEST_NAME = 34  # characters of a class that fit over a panel


LINE = 0.17  # height of a line of text in inches


CONTACT_DPI = 110


NO_CASE = "No test image has a class, so there is no case to show."


CELL, CELLS_PER_ROW, LEGEND_ENTRY = (
    3.0,
    3,
    0.285,
)  # of the view with all classes: width, and height of two small lines, in inches


@dataclass(frozen=True)
class Case:
    """One radiograph and what the models say about it."""

    image_id: str
    chosen_for: str
    original: np.ndarray  # (h, w) uint8, in its true aspect
    box: decoding.Box  # the part that the networks saw
    classes: Sequence[str]
    maps: Sequence[np.ndarray]  # of each member, (classes, h', w') Grad-CAM, not negative
    votes: np.ndarray  # (members, classes) bool
    probabilities: np.ndarray  # (classes,) of the ensemble
    truth: np.ndarray  # (classes,) 1, 0 or -1 = not judged
    truth_boxes: pd.DataFrame  # label, x, y, width, height as fractions of the original


def load_cases(
    cases: Path,
    heatmaps: dict[str, Path],
    predictions: dict[str, Path],
    ensemble: Path | None,
    labels: Path,
    boxes: Path,
    ingested: Path,
    arrays: Sequence[Path],
    lungs: Sequence[Path] | None,
) -> list[Case]:
    """Collect everything that is drawn for the chosen cases.

    Args:
        cases: table of image_id and chosen_for.
        heatmaps: by member, (cases, classes, h, w) float32 in the order of `cases`.
        predictions: by member, tables of logits.
        ensemble: table of their mean probabilities (CTP); None to compute it.
        labels: the label set's table.
        boxes: table of truth boxes, empty where the archive has none.
        ingested, arrays: of the data set; arrays in the order of the shards.
        lungs: tables of crop boxes, one per shard; None where the networks saw the whole image.

    Raises:
        ThoraxError: the files are of different members, cases or classes.
    """
    chosen = store.read_table(cases)
    ids = chosen["image_id"]
    truth = _rows(store.read_table(labels), ids, labels)
    classes = class_columns(truth)
    if list(heatmaps) != list(predictions):
        raise ThoraxError(
            f"Heatmaps are of {', '.join(heatmaps)}, predictions of {', '.join(predictions)}: name the same members."
        )
    maps = [_member_maps(path, len(ids), len(classes)) for path in heatmaps.values()]
    each = np.stack([sigmoid(_rows(store.read_table(path), ids, path)[classes]) for path in predictions.values()])
    if ensemble is None:
        probabilities = each.mean(axis=0)
    else:
        probabilities = _rows(store.read_table(ensemble), ids, ensemble)[classes].to_numpy()
        if not np.allclose(probabilities, each.mean(axis=0), atol=1e-3):
            raise ThoraxError(
                f"{ensemble} is not the mean of {', '.join(predictions)}: name the members of this ensemble, so that maps and "
                "votes are theirs."
            )
    originals = load_originals(ids, ingested, arrays, lungs)
    truth_boxes = store.read_table(boxes)
    return [
        Case(
            image_id=case.image_id,
            chosen_for=case.chosen_for,
            original=original,
            box=box,
            classes=classes,
            maps=[member[index] for member in maps],
            votes=each[:, index] > THRESHOLD,
            probabilities=probabilities[index],
            truth=truth[classes].to_numpy()[index],
            truth_boxes=truth_boxes[truth_boxes["image_id"] == case.image_id],
        )
        for index, (case, (original, box)) in enumerate(zip(chosen.itertuples(), originals, strict=True))
    ]


def load_originals(
    ids: pd.Series, ingested: Path, arrays: Sequence[Path], lungs: Sequence[Path] | None
) -> list[tuple[np.ndarray, decoding.Box]]:
    """Radiographs, (h, w) uint8 in their true aspect, and the part of each that the networks saw; see `load_cases`."""
    sizes, packed = _rows(store.read_table(ingested), ids, ingested), store.PackedImages(arrays)
    originals = [decoding.restore_aspect(packed[size.shard, size.row], size.rows, size.columns) for size in sizes.itertuples()]
    return list(zip(originals, _crop_boxes(lungs, ids), strict=True))


def _rows(table: pd.DataFrame, ids: pd.Series, path: Path) -> pd.DataFrame:
    absent = ~ids.isin(table["image_id"])
    if absent.any():
        raise ThoraxError(f"{path} has no row for the chosen case {ids[absent].iloc[0]!r}: remake it from the same split.")
    return table.set_index("image_id").loc[ids].reset_index()


def _member_maps(path: Path, cases: int, classes: int) -> np.ndarray:
    maps = store.open_array(path)
    if maps.ndim != 4 or maps.shape[:2] != (cases, classes):
        raise ThoraxError(
            f"{path} has the shape {maps.shape}, not ({cases} cases, {classes} classes, h, w): delete and remake it."
        )
    return maps


def _crop_boxes(lungs: Sequence[Path] | None, ids: pd.Series) -> list[decoding.Box]:
    if lungs is None:
        return [decoding.WHOLE] * len(ids)
    table = pd.concat([store.read_table(path) for path in lungs], ignore_index=True)
    edges = _rows(table, ids, lungs[0])[["x0", "y0", "x1", "y1"]]
    return list(edges.itertuples(index=False, name=None))


def ensemble_maps(case: Case, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over the members of one class's maps, each (h, w) in the original's pixels, 0 to 1.

    Members with maps of a single cell, which small inputs lead to, cannot say where and are left out of both.
    """
    localised = [maps[index] for maps in case.maps if maps[index].size > 1] or [np.zeros((1, 1), np.float32)]
    placed = np.stack([to_original(scale_maps(heat), case.box, *case.original.shape) for heat in localised])
    return placed.mean(axis=0), placed.std(axis=0)


def shown_classes(case: Case) -> list[int]:
    """The classes to draw, most probable first.

    Up to four that the ensemble predicts, or the most probable one if it predicts none, and the true ones that it missed,
    five in all.
    """
    order = np.argsort(-case.probabilities, kind="stable").tolist()
    predicted = [index for index in order if case.probabilities[index] > THRESHOLD][:MOST_PREDICTED] or order[:1]
    missed = [index for index in order if case.truth[index] == 1 and index not in predicted]
    return sorted((predicted + missed)[:MOST_SHOWN], key=order.index)


def heatmap_figure(case: Case, number: int = 1) -> "Figure":
    """Draw one case: the original and one heatmap per class; below, all classes at once and the members' disagreement.

    Args:
        case: what to draw.
        number: of the case, for its heading.
    """
    from matplotlib.figure import Figure

    shown = shown_classes(case)
    heading = _heading(case, number, shown)
    with style.style():
        figure = Figure()
        grid = _panels(figure, max(3, 1 + len(shown)), case.original.shape, heading.count("\n") + 1, len(shown))
        figure.suptitle(
            heading, x=grid[0, 0].get_position().x0, y=1 - 0.05 / figure.get_figheight(), ha="left", va="top", fontsize=9
        )
        _draw_original(grid[0, 0], case)
        means = []
        for (above, below), index in zip(grid.T[1:], shown, strict=False):
            mean, deviation = ensemble_maps(case, index)
            means.append(mean)
            _draw_class(above, case, index, mean)
            below.imshow(tint(case.original, deviation / LARGEST_DEVIATION, DEVIATION_COLOUR))
            below.set_title("disagreement (SD)", fontsize=8)
        _draw_all_classes(grid[1, 0], case, means, [_name(case, index) for index in shown])
        grid[1, 0].set_title("all classes", fontsize=8)
    return figure


def _panels(figure: "Figure", columns: int, shape: tuple[int, ...], heading_lines: int, legend_lines: int) -> np.ndarray:
    """Size the figure for two rows of panels that hold an image of `shape` exactly, with their titles and the legend."""
    panel = PANEL * shape[0] / shape[1]
    above, between, below = (heading_lines + 4) * LINE, 2 * LINE, (legend_lines + 1) * LINE
    height = above + between + below + 2 * panel
    width = columns * (PANEL + 0.1)
    figure.set_size_inches(width, height)
    figure.subplots_adjust(
        left=0.05 / width,
        right=1 - 0.05 / width,
        top=1 - above / height,
        bottom=below / height,
        wspace=0.1 / PANEL,
        hspace=between / panel,
    )
    grid = figure.subplots(2, columns)
    for axes in grid.flat:
        axes.set_axis_off()
    return grid


def _heading(case: Case, number: int, shown: list[int]) -> str:
    true = [name for name, value in zip(case.classes, case.truth, strict=True) if value == 1]
    text = " ".join([f"Labels: {', '.join(true) or 'none'}.", *_not_drawn(case, shown)])
    width = 27 * max(3, 1 + len(shown))  # characters that fit
    first = f"Case {number}: {case.image_id}, chosen for {case.chosen_for}"
    return "\n".join(style.wrapped(first, width) + style.wrapped(text, width))


def _not_drawn(case: Case, shown: list[int]) -> Iterator[str]:
    """Sentences on true and predicted classes that are not among those shown."""
    hidden = [index for index in range(len(case.classes)) if index not in shown]
    missing = {
        "true": sum(case.truth[index] == 1 for index in hidden),
        "predicted": sum(case.probabilities[index] > THRESHOLD for index in hidden),
    }
    for kind, count in missing.items():
        if count:
            yield f"Not drawn: {count} {kind} {'class' if count == 1 else 'classes'}."


def _draw_class(axes: "Axes", case: Case, index: int, mean: np.ndarray) -> None:
    verdict, colour = VERDICTS[int(case.truth[index])]
    axes.imshow(tint(case.original, mean, HEAT_COLOUR))
    axes.set_title(f"{_name(case, index)}\n{_agreement(case, index)}\n{verdict}", fontsize=8, color=colour)
    _draw_truth_boxes(axes, case, case.classes[index])


def _name(case: Case, index: int) -> str:
    return style.shortened(case.classes[index], LONGEST_NAME)


def _agreement(case: Case, index: int) -> str:
    return f"{case.probabilities[index]:.3f}, {int(case.votes[:, index].sum())}/{len(case.votes)} models"


def _draw_original(axes: "Axes", case: Case) -> None:
    draw_seen(axes, case.original, case.box)
    _draw_truth_boxes(axes, case, None)


def draw_seen(axes: "Axes", original: np.ndarray, box: decoding.Box) -> None:
    """Draw a radiograph and the box that the networks saw, where that is not the whole of it."""
    axes.imshow(original, cmap="gray", vmin=0, vmax=255)
    axes.set_title("original", fontsize=8)
    left, top, right, bottom = decoding.box_pixels(box, *original.shape)
    if (right - left, bottom - top) != original.shape[::-1]:
        axes.add_patch(style.rectangle(left, top, right, bottom, style.ORANGE, linestyle="--"))


def _draw_truth_boxes(axes: "Axes", case: Case, label: str | None, colour: str = style.YELLOW, **line: Any) -> None:
    """Boxes of one label, or of all labels with their names."""
    from matplotlib.patheffects import withStroke

    shadow = [withStroke(linewidth=1.5, foreground="black")]
    rows, columns = case.original.shape
    for box in case.truth_boxes.itertuples():
        if label in (None, box.label):
            edges = box.x * columns, box.y * rows, (box.x + box.width) * columns, (box.y + box.height) * rows
            axes.add_patch(style.rectangle(*edges, colour, **line))
            if label is None:
                place: dict[str, Any] = {"xy": edges[:2], "xytext": (0, 2), "textcoords": "offset points"}
                axes.annotate(box.label, **place, color=colour, fontsize=6, path_effects=shadow)


def _draw_all_classes(axes: "Axes", case: Case, means: list[np.ndarray], names: list[str]) -> None:
    """Every class in its own colour: a line around the hotter half of its values; below, a legend with these names."""
    from matplotlib.lines import Line2D

    axes.imshow(case.original, cmap="gray", vmin=0, vmax=255)
    handles = []
    for colour, mean in zip(CLASS_COLOURS, means, strict=False):
        handles.append(Line2D([], [], color=colour))
        if mean.max() > 0:
            levels = [mean.max() / 2, mean.max() * 1.01]
            axes.contourf(mean, levels=levels, colors=[colour], alpha=0.25)
            axes.contour(mean, levels=levels[:1], colors=[colour], linewidths=1.2)
    axes.legend(handles, names, loc="upper left", bbox_to_anchor=(0, 0), fontsize=7, borderaxespad=0.2, handlelength=1.2)


def make_classes_figure(
    cases: Path,
    heatmaps: dict[str, Path],
    predictions: dict[str, Path],
    ensemble: Path | None,
    labels: Path,
    boxes: Path,
    ingested: Path,
    arrays: Sequence[Path],
    lungs: Sequence[Path] | None,
    title: str,
    out: Path,
) -> None:
    """Write `classes_figure` of the cases that `load_cases` collects; `out` has no suffix."""
    shown = load_cases(cases, heatmaps, predictions, ensemble, labels, boxes, ingested, arrays, lungs)
    style.save(classes_figure(shown, title), out, title, photos=True)


def classes_figure(cases: Sequence[Case], title: str) -> "Figure":
    """Draw each case with two or more predicted or true classes as one picture, with every class in its own colour.

    This is the view that the introduction of Liz et al. 2022 asks for. Beside its colour stand the class, the ensemble's
    probability, how many models agree, and whether the class is in the labels; experts' boxes are dashed in the colour of
    their class. The classes, and the numbers of the cases, are those of `heatmap_figure`.

    Args:
        cases: all chosen cases, in their order.
        title: heading.
    """
    from matplotlib.figure import Figure

    several = [(number, case) for number, case in enumerate(cases, start=1) if _has_several_classes(case)]
    width = CELLS_PER_ROW * (CELL + 0.15) + 0.15
    found = f"{len(several)} of {len(cases)} cases have two or more predicted or true classes" if cases else NO_CASE
    heading = style.fit(f"{title}\n{found}", width, 9)
    rows = [several[start : start + CELLS_PER_ROW] for start in range(0, len(several), CELLS_PER_ROW)]
    above = 0.18 + 0.16 * (1 + heading.count("\n"))
    height = above + sum(map(_row_height, rows))
    with style.style():
        figure = Figure(figsize=(width, height))
        figure.suptitle(heading, x=0.15 / width, y=1 - 0.08 / height, ha="left", va="top", fontsize=9)
        top = height - above
        for row in rows:
            image_top = top - max(len(_cell_heading(case, number)) for number, case in row) * LINE
            for column, (number, case) in enumerate(row):
                left, tall = 0.15 + column * (CELL + 0.15), _image_height(case)
                axes = figure.add_axes((left / width, (image_top - tall) / height, CELL / width, tall / height))
                axes.set_axis_off()
                axes.set_title("\n".join(_cell_heading(case, number)), fontsize=8)
                _draw_cell(axes, case)
            top -= _row_height(row)
    return figure


def _has_several_classes(case: Case) -> bool:
    return bool(((case.probabilities > THRESHOLD) | (case.truth == 1)).sum() >= 2)


def _row_height(row: Sequence[tuple[int, Case]]) -> float:
    """Inches of a row of cases: headings, the tallest image with its legend of two lines for each class, and a gap."""
    headings = max(len(_cell_heading(case, number)) for number, case in row)
    below = max(_image_height(case) + len(shown_classes(case)) * LEGEND_ENTRY for _, case in row)
    return below + (headings + 2) * LINE


def _image_height(case: Case) -> float:
    return CELL * case.original.shape[0] / case.original.shape[1]


def _cell_heading(case: Case, number: int) -> list[str]:
    return style.wrapped(f"Case {number}: {case.image_id}", 42) + list(_not_drawn(case, shown_classes(case)))


def _draw_cell(axes: "Axes", case: Case) -> None:
    shown = shown_classes(case)
    means = [ensemble_maps(case, index)[0] for index in shown]
    verdicts = [VERDICTS[int(case.truth[index])][0] for index in shown]
    names = [
        f"{_name(case, index)}\n{_agreement(case, index)}, {verdict}" for index, verdict in zip(shown, verdicts, strict=True)
    ]
    _draw_all_classes(axes, case, means, names)
    for colour, index in zip(CLASS_COLOURS, shown, strict=False):
        _draw_truth_boxes(axes, case, case.classes[index], colour, linestyle="--")


def write_contact_sheet(drawn: Sequence["Figure"], out: Path, title: str, said: Sequence[str] = ()) -> None:
    """Write figures below each other as one PNG, on white, and as a page of the same name with the suffix .html.

    Args:
        drawn: of each case; where there is none, sheet and page say so.
        out: PNG to write.
        title: heading of the page.
        said: sentences above the pictures of the page.
    """
    from matplotlib.image import imsave

    said = said if drawn else [*said, NO_CASE]
    pictures = [style.pixels(figure, CONTACT_DPI) for figure in drawn or [_sentences([title, *said])]]
    width = max(picture.shape[1] for picture in pictures)
    padded = [np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0)), constant_values=255) for picture in pictures]
    with store.atomic(out) as temporary:
        imsave(temporary, np.vstack(padded), format="png", metadata={"Software": "thorax"})
    shown = [picture for figure in drawn for picture in style.webp_pictures(figure, photos=True)]
    store.write_text(typeset.picture_page(title, shown, said), out.with_suffix(".html"))


def _sentences(said: Sequence[str]) -> "Figure":
    from matplotlib.figure import Figure

    width = 8.0
    text = style.fit("\n".join(said), width - 0.3, 9)
    height = 0.3 + 0.16 * (1 + text.count("\n"))
    with style.style():
        figure = Figure(figsize=(width, height))
        figure.text(0.15 / width, 1 - 0.15 / height, text, va="top", fontsize=9)
    return figure


def remarks(cases: Sequence[Case], members: Sequence[str], ensemble: str | None, wanted: Sequence[str]) -> list[str]:
    """Sentences above the heatmaps of a page.

    Args:
        cases: all that are shown.
        members: whose maps and votes they are.
        ensemble: name of the members' mean whose probabilities are shown; None if the experiment has no such ensemble.
        wanted: classes that the cases were to have.

    Returns:
        which networks these are, and which classes no test image has.
    """
    mean = f"{ensemble}, the mean of " if ensemble else "the mean of " if len(members) > 1 else ""
    said = [f"Maps, probabilities and agreement are those of {mean}{', '.join(members)}."] if cases else []
    absent = [name for name in wanted if all(case.truth[list(case.classes).index(name)] != 1 for case in cases)]
    said += [f"No test image has the class {name}, so it is not shown." for name in absent]
    return said
