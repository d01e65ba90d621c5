"""What keeps heatmaps from misleading: the order of their colours, lines and names that stay apart, and whose boxes they show."""

import matplotlib.colors as mcolors
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from tests.unit.report.test_figures import case
from thorax.explanation.overlays import glow, tint
from thorax.report.figures import heatmaps, outlines
from thorax.report.figures import style as figures

NAMES = ("cardiomegaly", "pleural effusion", "a long name of a class, cut sh...", "nodule", "pacemaker")


def luminance(colours: np.ndarray) -> np.ndarray:
    """Relative luminance of (..., 3) colours by WCAG 2.1."""
    parts = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    return parts @ [0.2126, 0.7152, 0.0722]


def lightness(colours: np.ndarray) -> np.ndarray:
    """CIE L*, 0 (black) to 100 (white)."""
    share = luminance(colours)
    return np.where(share > 0.008856, 116 * np.cbrt(share) - 16, 903.3 * share)


def test_more_heat_is_lighter_over_any_grey():
    heat = np.linspace(0, 1, 256)[None].repeat(256, 0)
    grey = np.arange(256)[:, None].repeat(256, 1)
    light = lightness(glow(grey, heat))
    assert np.diff(light[:230], axis=1).min() > -1e-9  # lungs to bone
    assert (np.maximum.accumulate(light, axis=1) - light).max() < 0.5  # nearly white: too little to be seen
    assert (light[:, -1] - light[:, 0]).min() > 25
    spread = np.diff(light[128, ::32])
    assert spread.max() < 3 * spread.min()  # even steps over medium grey


def test_the_look_of_the_paper_is_blue_and_as_opaque_as_it_is_hot():
    grey, heat = np.full((1, 2), 51, np.uint8), np.array([[0.5, 1]])
    evidence, _ = heatmaps.LOOKS["paper"]
    np.testing.assert_array_equal(evidence(grey, heat), tint(grey, heat, "#1f6fff"))
    np.testing.assert_allclose(evidence(grey, heat)[0, 1], 0.1 * 0.2 + 0.9 * np.array([0x1F, 0x6F, 0xFF]) / 255)


def test_tint_is_as_opaque_as_the_heat():
    grey = np.full((1, 3), 102, np.uint8)
    blended = tint(grey, np.array([[0, 0.5, 1]]), "#0000ff")
    np.testing.assert_allclose(blended[0], [[0.4, 0.4, 0.4], [0.22, 0.22, 0.67], [0.04, 0.04, 0.94]])


@pytest.mark.parametrize(
    ("heatmap_style", "hottest", "brightness"), [("hot", (0.88, 0.89, 0.5), 0.5), ("paper", (0.15, 0.43, 0.94), 1)]
)
def test_heat_is_drawn_where_it_is(heatmap_style, hottest, brightness):
    maps = np.zeros((7, 7, 7), np.float32)
    maps[1, 6, 0] = 5  # class b, lower left
    figure = heatmaps.heatmap_figure(case(maps=[maps, maps]), 1, heatmap_style)
    picture = np.asarray(figure.axes[1].images[0].get_array())
    np.testing.assert_allclose(picture[66, 4], hottest, atol=0.1)
    np.testing.assert_allclose(picture[:20], brightness * 100 / 255)
    agreeing = np.asarray(figure.axes[7].images[0].get_array())  # two equal models
    np.testing.assert_allclose(agreeing, brightness * 100 / 255)


def test_names_are_readable_on_their_black_ground():
    for colour in heatmaps.CLASS_COLOURS:
        assert (luminance(np.array(mcolors.to_rgb(colour))) + 0.05) / 0.05 >= 4.5  # WCAG 2.1, 1.4.3


def disc(row: float, column: float, radius: float) -> np.ndarray:
    y, x = np.mgrid[:120, :120]
    return ((y - row) ** 2 + (x - column) ** 2 <= radius**2).astype(np.float32)


def square(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    area = np.zeros((120, 120), np.float32)
    area[top:bottom, left:right] = 1
    return area


MASKS = {
    "identical": [disc(60, 60, 30)] * 3,
    "five that are identical": [disc(60, 60, 30)] * 5,
    "nested": [disc(60, 60, radius) for radius in (50, 35, 20)],
    "touching the border": [square(0, 0, 60, 40), square(60, 80, 120, 120), square(0, 0, 120, 120)],
    "five": [disc(20, 20, 15), disc(100, 100, 15), disc(60, 60, 30), square(50, 0, 120, 60), disc(62, 60, 30)],
    "tiny": [disc(60, 60, 2)] * 3,
    "in the lower right corner": [disc(118, 118, 12)] * 5,
}


def drawn(masks, inches: float = 2.2, names=NAMES):
    """Outlines of masks on a grey picture that fills a figure."""
    with figures.style():
        figure = Figure(figsize=(inches, inches))
        axes = heatmaps.panel(figure, 0, inches, inches, inches)
        axes.imshow(np.full((120, 120), 100, np.uint8), cmap="gray", vmin=0, vmax=255)
        outlines.draw_outlines(axes, masks, names, heatmaps.CLASS_COLOURS)
    return figure, axes


@pytest.mark.parametrize("kind", MASKS)
def test_every_area_has_a_visible_line_and_a_name_in_the_picture(kind):
    masks = MASKS[kind]
    figure, axes = drawn(masks)
    assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, 119.5), (119.5, -0.5))
    for text in axes.texts:
        text.set_visible(False)
    for line in axes.lines:
        line.set_visible(False)
    picture = figures.pixels(figure, 150) / 255
    for shape, mask, colour in zip(axes.collections, masks, heatmaps.CLASS_COLOURS, strict=False):
        length = sum(np.linalg.norm(np.diff(part, axis=0), axis=1).sum() for part in shape.get_paths()[0].to_polygons())
        shown = (np.abs(picture - mcolors.to_rgb(colour)).max(axis=-1) < 0.12).sum()
        assert shown > 0.5 * length * 330 / 120, colour  # at least half of its pixels are its own
        along = shape.get_paths()[0].vertices
        assert np.all((along > -1) & (along < 120))
        area = np.argwhere(mask)[:, ::-1]
        assert max(np.linalg.norm(area - point, axis=1).min() for point in along[::10]) < 6  # pixels, of 120
    assert len(axes.collections) == len(masks)


@pytest.mark.parametrize("kind", MASKS)
def test_names_neither_overlap_nor_leave_the_picture(kind):
    for inches in (2.2, 3.0):
        figure, axes = drawn(MASKS[kind], inches)
        figures.pixels(figure, 150)
        assert [text.get_text() for text in axes.texts] == list(NAMES[: len(MASKS[kind])])
        boxes = [text.get_bbox_patch().get_window_extent() for text in axes.texts]
        for number, box in enumerate(boxes):
            assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
            assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
            assert not any(box.overlaps(other) for other in boxes[:number])


def test_a_name_is_joined_to_its_line():
    figure, axes = drawn(MASKS["five"])
    figures.pixels(figure, 100)
    for text, joint, shape in zip(axes.texts, axes.lines, axes.collections, strict=True):
        (x0, x1), (y0, y1) = joint.get_data()
        assert joint.get_color() == text.get_color()
        assert np.linalg.norm(shape.get_paths()[0].vertices - (x1, y1), axis=1).min() < 1e-9
        box = text.get_bbox_patch().get_window_extent().transformed(axes.transData.inverted())
        assert box.x0 - 1 <= x0 <= box.x1 + 1
        assert box.y0 - 1 <= y0 <= box.y1 + 1 or box.y1 - 1 <= y0 <= box.y0 + 1


def test_a_map_without_heat_has_no_line():
    _, axes = drawn([disc(60, 60, 30), np.zeros((120, 120), np.float32)])
    assert len(axes.collections) == len(axes.texts) == 1


def test_rows_are_pushed_apart_and_kept_in_the_picture():
    assert outlines._stacked([10, 12, 30], [8, 8, 8], 100) == [10, 18, 30]
    assert outlines._stacked([95, 90], [8, 8], 100) == [92, 84]
    assert outlines._stacked([-5], [8], 100) == [outlines.APART]


@pytest.mark.parametrize(
    ("boxes_by", "words"),
    [
        ("experts", "box drawn by experts"),
        ("phantom", "place of the finding in the phantom"),
        ("archive", "box of the archive"),
    ],
)
def test_the_legend_says_what_boxes_are(boxes_by, words):
    cropped = case(box=(0.1, 0.1, 0.9, 0.9))
    texts = [text.get_text() for text in heatmaps.heatmap_figure(cropped, 1, "hot", boxes_by).legends[0].get_texts()]
    assert texts == ["part that the networks saw", words, "outline: at least half of a class's maximum"]
    (axes,) = heatmaps.classes_figure([case()], "title", boxes_by).axes
    assert axes.get_legend().get_texts()[-1].get_text() == words


def test_one_network_has_no_disagreement():
    figure = heatmaps.heatmap_figure(case(maps=[np.zeros((7, 7, 7), np.float32), np.zeros((7, 1, 1), np.float32)]))
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles[6:] == ["all classes", ""]  # and the colour bar
    assert len({round(axes.get_position().y0, 6) for axes in figure.axes}) == 1


def test_the_legend_leaves_out_what_is_not_drawn():
    none = pd.DataFrame({"label": [], "x": [], "y": [], "width": [], "height": []})
    figure = heatmaps.heatmap_figure(case(truth_boxes=none))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["outline: at least half of a class's maximum"]
    (axes,) = heatmaps.classes_figure([case(truth_boxes=none)], "title").axes
    assert len(axes.get_legend().get_texts()) == 5


@pytest.mark.parametrize("shape", [(140, 70), (70, 140)])
def test_nothing_in_the_heatmap_figure_is_clipped(shape):
    alone = {"probabilities": np.array([0.1, 0.9, 0.2, 0, 0, 0, 0]), "truth": np.array([0, 1, 0, 0, 0, 0, 0])}
    for changes in ({}, alone):
        figure = heatmaps.heatmap_figure(
            case(original=np.zeros(shape, np.uint8), box=(0.1, 0.1, 0.9, 0.9), **changes), 1, "hot", "phantom"
        )
        figures.pixels(figure)
        parts = [figure._suptitle.get_window_extent(), figure.legends[0].get_window_extent()]
        parts += [axes.get_tightbbox() for axes in figure.axes]
        for number, box in enumerate(parts):
            assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
            assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1
            assert not any(other.overlaps(box) for other in parts[:number])
