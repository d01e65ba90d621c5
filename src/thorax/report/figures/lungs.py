"""Figure of the preprocessing: original, lung mask, crop and network input (Liz et al. 2022, Figure 3)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thorax.errors import ThoraxError
from thorax.explanation.cases import Paths
from thorax.images import decoding
from thorax.report.figures import style
from thorax.report.figures.style import ORANGE, SKY, VERMILION
from thorax.storage import store
from thorax.storage.joins import Source

COUNT = 6  # images


def lungs_figure(
    catalog: Source, ingested: Source, arrays: Paths, lungs: Paths, masks: Paths, images: Paths, seed: int
) -> Figure:
    """Draw Figure 3 of Liz et al. 2022 for images of `choose_lung_cases`: original, lung mask, crop with mask, network input."""
    boxes = pd.concat([store.read_table(path) for path in lungs], ignore_index=True)
    sizes = store.read_table(ingested, ["image_id", "rows", "columns", "shard", "row"])
    views = store.read_table(catalog, ["image_id", "view"])
    cases = boxes.merge(sizes[sizes["row"] >= 0], on="image_id").merge(views, on="image_id")
    if not len(cases) == len(boxes) > 0:
        raise ThoraxError(f"{lungs[0]} and the tables next to it do not belong to {ingested}: delete and remake them.")
    cases = cases.set_index("image_id").loc[choose_lung_cases(boxes, COUNT, seed)].reset_index()
    packed = [store.PackedImages(paths) for paths in (arrays, masks, images)]
    places = list(zip(cases["shard"], cases["row"], strict=True))
    shown = list(zip(*([array[place] for place in places] for array in packed), strict=True))
    found, side = int(cases["credible"].sum()), shown[0][2].shape[0]
    seen = f"{len(cases)} radiographs, each as original, with lung mask, as crop, and as input of {side} x {side} pixels; credible masks: {found}"
    return style.described(draw_lungs(cases, shown), seen)


def choose_lung_cases(lungs: pd.DataFrame, count: int, seed: int) -> list[str]:
    """Identifiers of random images, credible ones first, with one flagged image in six (at least one) where there are any."""
    generator = np.random.default_rng(seed)
    credible, flagged = (sorted(lungs.loc[lungs["credible"] == wanted, "image_id"]) for wanted in (True, False))
    number = min(len(flagged), max(1, count // 6, count - len(credible)))
    chosen = [credible[index] for index in generator.permutation(len(credible))[: count - number]]
    return chosen + [flagged[index] for index in generator.permutation(len(flagged))[:number]]


def draw_lungs(cases: pd.DataFrame, arrays: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Draw one row of four panels per case: image_id, view, rows, columns (the original's size), x0, y0, x1, y1, credible, flag.

    Each has three arrays: the ingested image (512 x 512 uint8), the lung mask (above 0 = lung) and the network's input (uint8, uint16).
    """
    height = 0.4 + 2.25 * len(cases)  # inches: the names of the columns, then a line of text and a square panel per case
    with style.style():
        figure = Figure(figsize=(8, height))
        grid = figure.subplots(len(cases), 4, squeeze=False)
        figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=1 - 0.6 / height, wspace=0.05, hspace=0.15)
        side = arrays[0][2].shape[0]
        names = ("Original", "Lung mask and crop box", "Crop with mask", f"Network input, {side} x {side}")
        for axes, name in zip(grid[0], names, strict=True):
            figure.text(axes.get_position().x0, 1 - 0.1 / height, name, va="top", fontsize=10)
        for axes, case, panels in zip(grid, cases.itertuples(), arrays, strict=True):
            _draw_case(axes, case, *panels)
    return figure


def _draw_case(axes: np.ndarray, case: Any, squashed: np.ndarray, mask: np.ndarray, network_input: np.ndarray) -> None:
    box = (case.x0, case.y0, case.x1, case.y1)
    original = decoding.restore_aspect(squashed, case.rows, case.columns)
    outline = decoding.resize((mask > 0).astype(np.float32), *original.shape)
    for panel, shown in zip(axes, (original, original, decoding.crop(original, box), network_input), strict=True):
        panel.imshow(shown, cmap="gray", vmin=0, vmax=255 if shown.dtype == np.uint8 else shown.max())
        panel.set_anchor("NW")
        panel.set(xticks=[], yticks=[])
        panel.set_axis_off()
    axes[0].set_title(f"{case.image_id}, view {case.view}", fontsize=7)
    axes[2].set_title("" if case.credible else f"not credible, whole image used: {case.flag}", fontsize=7, color=VERMILION)
    _draw_mask(axes[1], outline, SKY)
    axes[1].add_patch(style.rectangle(*decoding.box_pixels(box, *original.shape), ORANGE, linestyle="--"))
    _draw_mask(axes[2], decoding.crop(outline, box), SKY)


def _draw_mask(axes: Axes, mask: np.ndarray, colour: str) -> None:
    """Outline and light fill of a mask of floats; nothing where it is empty."""
    if mask.max() > 0.5 > mask.min():
        axes.contourf(mask, levels=[0.5, 2], colors=[colour], alpha=0.25)
        axes.contour(mask, levels=[0.5], colors=[colour], linewidths=1)
