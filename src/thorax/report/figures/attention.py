"""Where networks with the attention head look: each position's weight over the radiograph (Kejriwal et al., section III B)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from thorax.errors import ThoraxError
from thorax.explanation import overlays
from thorax.explanation.cases import load_originals
from thorax.images import decoding
from thorax.report.figures import heatmaps, style
from thorax.storage import store

COLOUR = style.PURPLE
GAP = 0.1  # inches between panels


def make_attention_figure(
    attention: dict[str, Path],
    cases: Path,
    ingested: Path,
    arrays: Sequence[Path],
    lungs: Sequence[Path] | None,
    title: str,
    out: Path,
) -> None:
    """Draw the attention weights that `predict` wrote for the chosen cases, of every network."""
    ids = store.read_table(cases, ["image_id"])["image_id"]
    weights = {name: store.open_array(path) for name, path in attention.items()}
    for name, path in attention.items():
        if len(weights[name]) != len(ids) or weights[name].shape[1] == 0:
            raise ThoraxError(
                f"{path} has the shape {weights[name].shape}, not ({len(ids)} cases, h, w): predict again with a network that "
                "was trained with head: attention, or leave this one out."
            )
    originals = load_originals(ids, ingested, arrays, lungs)
    style.save(draw_attention(list(ids), originals, weights, title), out, title, photos=True)


def emphasis(weights: np.ndarray) -> np.ndarray:
    """How far weights (h, w), which sum to 1, exceed those of a plain mean: 0 up to there, 1/2 at twice as much, then towards 1.

    Unlike a share of the largest weight, this leaves nearly even weights uncoloured, and the scale is the same for all maps.
    """
    return 1 - 1 / np.maximum(weights * weights.size, 1)


def draw_attention(
    ids: Sequence[str], originals: Sequence[tuple[np.ndarray, decoding.Box]], weights: dict[str, np.ndarray], title: str
) -> Figure:
    """Draw one row per case: the original with the part that the networks saw, and the `emphasis` of each network's weights.

    Args:
        ids: n image identifiers.
        originals: For each, the radiograph (h, w) uint8 and that part.
        weights: By network, (n, h', w'); each map sums to 1.
    """
    step, line = heatmaps.PANEL + GAP, heatmaps.LINE
    tall = [heatmaps.PANEL * original.shape[0] / original.shape[1] for original, _ in originals]
    width = max(step * (1 + len(weights)) + GAP, 6)
    with style.style():
        heading = title if originals else f"{title}\n{heatmaps.NO_CASE}"
        top = sum(tall) + len(tall) * 4 * line
        figure = heatmaps.sheet(width, top, heading, GAP)
        for row, (image_id, (original, box)) in enumerate(zip(ids, originals, strict=True)):
            top -= 3 * line
            above = (top + 2.2 * line) / figure.get_figheight()
            figure.text(GAP / width, above, f"Case {row + 1}: {image_id}", fontsize=8, va="bottom")
            heatmaps.draw_seen(heatmaps.panel(figure, GAP, top, heatmaps.PANEL, tall[row]), original, box)
            for column, (name, of_network) in enumerate(weights.items(), start=1):
                axes = heatmaps.panel(figure, GAP + column * step, top, heatmaps.PANEL, tall[row])
                heat = overlays.to_original(emphasis(of_network[row]), box, *original.shape)
                axes.imshow(overlays.tint(original, heat, COLOUR))
                most, even = of_network[row].max(), 1 / of_network[row].size
                axes.set_title(f"{name}\nat most {most:.3f}, even {even:.3f}", fontsize=7.5)
            top -= tall[row] + line
    return figure
