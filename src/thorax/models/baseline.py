"""The linear baseline: logistic regression on principal components of tiny radiographs.

Where a network is better, pose, exposure, view or body build alone do not explain it.
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
    """Shrink radiographs to 32 x 32 pixels by area and equalise their histograms.

    Args:
        images: Packed (n, height, width) arrays, uint8, or uint16 if they hold stored values.
        shards, rows: (m,) place of each radiograph.

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
    """A uint8 image unchanged; one of stored values scaled to its own range."""
    if image.dtype == np.uint8:
        return image
    low, high = int(image.min()), int(image.max())
    return normalize(image, low, high) if low < high else np.zeros(image.shape, np.uint8)


def fit_predict(pixels: np.ndarray, labels: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Fit on the training rows and return the logits of the other rows.

    Nothing is random, and it runs in one thread, so that the logits do not depend on the number of cores.

    Args:
        pixels: (n, d) float32.
        labels: (n, k) of 1, 0 and -1 (ignored: the row is left out for that class).
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
        ingested: `ingested/{dataset}.parquet`: where each image is in the arrays.
        labels: `labels/{label_set}.parquet`.
        split: `splits/{split}.parquet`.
        out: Table with the schema `schemas.scores_schema` to write.

    Raises:
        ThoraxError: As in `batches.read_labelled`; a class has only one value among the training images; or there are no others.
    """
    labelled, parts = read_labelled(labels, split, ingested, images)
    labelled, parts = labelled.select(parts != LEFT_OUT), parts[parts != LEFT_OUT]
    truth, train = labelled.labels.astype(np.int8), parts == "train"
    for name, answers in zip(labelled.classes, truth[train].T, strict=True):
        if not {0, 1} <= set(answers):
            raise ThoraxError(
                f"{labels}: class {name!r} does not have both positive and negative training images; "
                "raise min_patients of the label set or exclude the class."
            )
    if train.all():
        raise ThoraxError(f"{split} gives no image of {labels} to val and test: make their shares larger.")
    pixels = tiny_images(labelled.images, labelled.shards, labelled.rows)
    table = pd.DataFrame({"image_id": labelled.image_ids[~train], "split": parts[~train]})
    logits = pd.DataFrame(fit_predict(pixels, truth, train), columns=labelled.classes)
    store.write_table(pd.concat([table, logits], axis=1), out, scores_schema(labelled.classes))
