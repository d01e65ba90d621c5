"""Where networks with the attention head look: each position's weight over the radiograph (Kejriwal et al., section III B)."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from thorax import backend
from thorax.errors import ThoraxError
from thorax.explanation import overlays
from thorax.images import decoding
from thorax.report.figures import heatmaps, style
from thorax.storage import store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOUR = style.PURPLE
GAP = 0.1  # inches between panels
BATCH = 8  # images at once


def attention_weights(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Return the weight of each position in the sum that the head makes of the features: (n, h, w) float32, 1 in all.

    Args:
        path: a network with the attention head.
        pixels: (n, size, size) as the network takes them.

    Raises:
        ThoraxError: the network is missing, damaged, has another head, or is one for other images.
    """
    import keras

    model = backend.load_network(path)
    if all(layer.name != "attention" for layer in model.layers):
        raise ThoraxError(f"{path} has no attention head: train it with head: attention, or leave it out.")
    if model.input_shape != (None, *pixels.shape[1:], 1):
        raise ThoraxError(
            f"{path} takes images of shape {model.input_shape[1:]}, but is given {pixels.shape[1]} x {pixels.shape[2]} pixels: "
            "name a network that was trained on these images, or train it again."
        )
    inner = keras.Model(model.input, model.get_layer("attention").output)
    batches = (pixels[start : start + BATCH, ..., None] for start in range(0, len(pixels), BATCH))
    found = [keras.ops.convert_to_numpy(inner(batch, training=False)) for batch in batches]
    found = found or [np.zeros((0, *inner.outputs[0].shape[1:]))]  # no test image has a class
    return np.concatenate(found)[..., 0].astype(np.float32)


def make_attention_figure(
    models: dict[str, Path],
    cases: Path,
    ingested: Path,
    images: Sequence[Path],
    arrays: Sequence[Path],
    lungs: Sequence[Path] | None,
    title: str,
    out: Path,
    threads: int,
) -> None:
    """Draw every network's attention for the chosen cases.

    Args:
        models: by member, networks with the attention head.
        cases: table of image_id.
        ingested: table of the data set.
        images, arrays: training images and ingested images, all shards in order.
        lungs: tables of crop boxes, one per shard; None where the networks saw the whole image.
        title: heading.
        out: figure to write, without suffix.
        threads: of the CPU.

    Raises:
        ThoraxError: as in `attention_weights`; a case was not ingested, or the arrays are not those of the table.
    """
    backend.prepare(0, threads)
    ids = store.read_table(cases, ["image_id"])["image_id"]
    originals = heatmaps.load_originals(ids, ingested, arrays, lungs)
    places = store.read_table(ingested)
    chosen = places.set_index("image_id").loc[ids]
    pixels = store.open_packed(places, images).take(chosen["shard"].to_numpy(), chosen["row"].to_numpy())
    weights = {name: attention_weights(path, pixels) for name, path in models.items()} if len(ids) else {}
    style.save(draw_attention(list(ids), originals, weights, title), out, title, photos=True)


def emphasis(weights: np.ndarray) -> np.ndarray:
    """How far weights exceed those of a plain mean, in which all are even: 0 up to there, 1/2 at twice as much, then towards 1.

    Unlike a share of the largest weight, this leaves nearly even weights without colour, and is the same scale for all maps.

    Args:
        weights: (h, w), 1 in all.
    """
    return 1 - 1 / np.maximum(weights * weights.size, 1)


def draw_attention(
    ids: Sequence[str],
    originals: Sequence[tuple[np.ndarray, decoding.Box]],
    weights: dict[str, np.ndarray],
    title: str,
) -> "Figure":
    """Draw one row per case: the original with the part that the networks saw, and one panel per network.

    Args:
        ids: of the images.
        originals: of each its radiograph (h, w) uint8 and that part.
        weights: by network (n, h', w'), each map 1 in all; what is drawn is its `emphasis`.
        title: heading.
    """
    from matplotlib.figure import Figure

    step = heatmaps.PANEL + GAP
    tall = [heatmaps.PANEL * original.shape[0] / original.shape[1] for original, _ in originals]
    width = max(step * (1 + len(weights)) + GAP, 6)
    heading = style.fit(title if originals else f"{title}\n{heatmaps.NO_CASE}", width, 9)
    above = 0.19 + 0.16 * (1 + heading.count("\n"))  # inches
    height = above + sum(tall) + len(tall) * 4 * heatmaps.LINE
    top = height - above
    with style.style():
        figure = Figure(figsize=(width, height))
        figure.suptitle(heading, x=GAP / width, y=1 - 0.08 / height, ha="left", va="top", fontsize=9)
        for row, (image_id, (original, box)) in enumerate(zip(ids, originals, strict=True)):
            top -= 3 * heatmaps.LINE
            line = (top + 2.2 * heatmaps.LINE) / height
            figure.text(GAP / width, line, f"Case {row + 1}: {image_id}", fontsize=8, va="bottom")
            for column, name in enumerate([None, *weights]):
                place = ((GAP + column * step) / width, (top - tall[row]) / height, heatmaps.PANEL / width, tall[row] / height)
                axes = figure.add_axes(place)
                axes.set_axis_off()
                if name is None:
                    heatmaps.draw_seen(axes, original, box)
                    continue
                of_case = weights[name][row]
                heat = overlays.to_original(emphasis(of_case), box, *original.shape)
                axes.imshow(overlays.tint(original, heat, COLOUR))
                axes.set_title(f"{name}\nat most {of_case.max():.3f}, even {1 / of_case.size:.3f}", fontsize=7.5)
            top -= tall[row] + heatmaps.LINE
    return figure
