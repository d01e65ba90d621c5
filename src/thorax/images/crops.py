"""From ingested images to a network's input: crop to the lungs, resize, and contrast where it is wanted."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from thorax import config
from thorax.errors import ThoraxError
from thorax.images import decoding
from thorax.storage import store
from thorax.storage.progress import progress

# Of a uint8 crop. CLAHE: limited contrast by tiles (Zuiderveld 1994, Graphics Gems IV, VIII.5), the limit in multiples of a
# tile's mean bin, as in OpenCV's tutorial.
CONTRASTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda image: image,
    "equalize": cv2.equalizeHist,
    "clahe": lambda image: cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(image),
}


def make_images(settings: config.ImageSet, array: Path, ingested: Path, shard: int, lungs: Path | None, out: Path) -> None:
    """Make one shard's training images, (n, size, size) uint8 or, with intensity "stored", uint16; rows as in `array`.

    As in Liz et al. 2022, section 3.2, the crop keeps the scale of the whole image's range. `contrast` spreads the crop's own
    values, all at once (equalize) or by tiles (clahe).

    With intensity "stored" the scaling is undone: the result holds the values of the file, "raw" in the paper's section 5.1.
    Ingest kept 256 levels of each image, so a value of an 8-bit file is exact before it is resized, and one of a 16-bit file is
    off by at most half a level, (high - low) / 510, and half a unit. Bones stay bright.
    """
    source = store.open_array(array)
    places = store.read_table(ingested, ["image_id", "ok", "shard", "row", "low", "high"])
    rows = store.ingested_rows(places, shard, source, array)
    boxes = _boxes(settings, rows["image_id"], lungs)
    stored, size = settings.intensity == "stored", settings.size
    with store.new_array(out, (len(source), size, size), np.uint16 if stored else np.uint8) as packed:
        for row, box in enumerate(progress(boxes, f"images {out.stem}", unit="image")):
            packed[row] = training_image(settings, source[row], box, int(rows["low"][row]), int(rows["high"][row]))


def training_image(settings: config.ImageSet, image: np.ndarray, box: decoding.Box, low: int, high: int) -> np.ndarray:
    """What a network sees of an ingested image, (size, size); see `make_images`. `low` and `high` are the range of its file."""
    whole = restore(image, low, high) if settings.intensity == "stored" else image
    return CONTRASTS[settings.contrast](decoding.resize(decoding.crop(whole, box), settings.size, settings.size))


def restore(image: np.ndarray, low: int, high: int) -> np.ndarray:
    """Undo `decoding.normalize`: map uint8 0..255 back to grey values low..high (at most 65,535), rounded, as uint16."""
    steps = np.arange(256, dtype=np.int64)
    table = (low + (2 * (high - low) * steps + 255) // (2 * 255)).astype(np.uint16)
    return table[image]


def _boxes(settings: config.ImageSet, image_ids: pd.Series, lungs: Path | None) -> list[decoding.Box]:
    if settings.crop == "none":
        return [decoding.WHOLE] * len(image_ids)
    if lungs is None:
        raise ThoraxError("crop: lungs needs the table of lungs of the same shard: give --lungs.")
    table = store.read_table(lungs, ["image_id", "x0", "y0", "x1", "y1"]).set_index("image_id")
    x0, y0, x1, y1 = table.reindex(image_ids).to_numpy(float).T
    whole = (x0 >= 0) & (y0 >= 0) & (x0 < x1) & (y0 < y1) & (x1 <= 1) & (y1 <= 1)  # false for an absent image's NaN as well
    if not whole.all():
        problem = f"{lungs} has no crop box inside the image for {image_ids.iloc[int(whole.argmin())]!r}"
        raise ThoraxError(f"{problem}: delete and remake it.")
    return list(zip(x0.tolist(), y0.tolist(), x1.tolist(), y1.tolist(), strict=True))
