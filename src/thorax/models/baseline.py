"""The linear baseline: logistic regression on principal components of tiny radiographs.

What a network finds beyond it is not explained by pose, exposure, view or build alone.
"""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from thorax.errors import ThoraxError
from thorax.images.decoding import normalize
from thorax.models.batches import read_labelled
from thorax.storage import store
from thorax.storage.progress import progress
from thorax.storage.schemas import LEFT_OUT, scores_schema

SIZE = 32  # pixels on a side
COMPONENTS = 60
_BATCH = 256  # radiographs read at once


def tiny_images(images: store.PackedImages, shards: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return radiographs as the baseline sees them: 32 x 32 by area, histogram equalised.

    Args:
        images: packed (n, height, width) arrays, uint8, or uint16 where they hold stored values.
        shards: (m,) shard of each radiograph.
        rows: (m,) row in its shard.

    Returns:
        (m, 1024) float32 in [0, 1].
    """
    out = np.empty((len(rows), SIZE * SIZE), np.float32)
    for start in progress(range(0, len(rows), _BATCH), "baseline images", unit="batch"):
        batch = images.take(shards[start : start + _BATCH], rows[start : start + _BATCH])
        for index, image in enumerate(batch, start):
            small = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
            out[index] = cv2.equalizeHist(_eight_bits(small)).ravel() / 255.0
    return out


def _eight_bits(image: np.ndarray) -> np.ndarray:
    """A uint8 image as it is; one of stored values scaled to its own range."""
    if image.dtype == np.uint8:
        return image
    low, high = int(image.min()), int(image.max())
    return normalize(image, low, high) if low < high else np.zeros(image.shape, np.uint8)


def fit_predict(pixels: np.ndarray, labels: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Fit on the training rows and return the logits of the other rows.

    Nothing is random in it, and it runs in one thread: then the logits do not depend on the machine's number of cores.

    Args:
        pixels: (n, d) float32.
        labels: (n, k) of 1, 0 and -1 (ignored: such a row is left out for that class).
        train: (n,) bool.

    Returns:
        (n - train.sum(), k) float32 logits.
    """
    components = min(COMPONENTS, int(train.sum()) - 1, pixels.shape[1])
    with threadpool_limits(limits=1):
        projection = PCA(components, svd_solver="covariance_eigh").fit(pixels[train])
        known, new = projection.transform(pixels[train]), projection.transform(pixels[~train])
        logits = np.empty((len(new), labels.shape[1]), np.float32)
        for column in progress(range(labels.shape[1]), "baseline", unit="class"):
            answers = labels[train, column]
            usable = answers >= 0
            model = LogisticRegression(solver="newton-cholesky").fit(known[usable], answers[usable])
            logits[:, column] = model.decision_function(new)
    return logits


def make_baseline(images: list[Path], ingested: Path, labels: Path, split: Path, out: Path) -> None:
    """Fit the baseline on the training images and write its logits for val and test.

    Args:
        images: `images/{image_set}/{dataset}.{shard}.npy` in shard order.
        ingested: `ingested/{dataset}.parquet`: where each image lies in the arrays.
        labels: `labels/{label_set}.parquet`.
        split: `splits/{split}.parquet`.
        out: the `catalog.scores_schema` table to write.

    Raises:
        ThoraxError: as in `batches.read_labelled`, a class has one value only among the training images, or all are of these.
    """
    joined = read_labelled(labels, split, ingested, images)
    kept = (joined.table["split"] != LEFT_OUT).to_numpy()
    table, truth, classes = joined.table[kept].reset_index(drop=True), joined.labels[kept], joined.classes
    train = (table["split"] == "train").to_numpy()
    _check_both_values(truth[train], classes, labels)
    if train.all():
        raise ThoraxError(f"{split} gives no image of {labels} to val and test: make their shares larger.")
    pixels = tiny_images(joined.images, table["shard"].to_numpy(), table["row"].to_numpy())
    logits = pd.DataFrame(fit_predict(pixels, truth, train), columns=classes)
    identifiers = table.loc[~train, ["image_id", "split"]].reset_index(drop=True)
    store.write_table(pd.concat([identifiers, logits], axis=1), out, scores_schema(classes))


def _check_both_values(truth: np.ndarray, classes: list[str], labels: Path) -> None:
    for column, name in enumerate(classes):
        if not {0, 1} <= set(np.unique(truth[:, column])):
            raise ThoraxError(
                f"{labels}: class {name!r} does not have both positive and negative training images; "
                "raise min_patients of the label set or exclude the class."
            )
