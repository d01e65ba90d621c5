"""The linear baseline: logistic regression on principal components of tiny radiographs.

Where a network is better, pose, exposure, view or body build alone do not explain it.
"""

from pathlib import Path

import cv2
import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from thorax.errors import ThoraxError
from thorax.images.decoding import normalize
from thorax.models.batches import read_labelled, scores_frame
from thorax.models.losses import check_classes
from thorax.storage import store
from thorax.storage.progress import progress
from thorax.storage.schemas import LEFT_OUT, scores_schema

SIZE = 32  # pixels on a side
COMPONENTS = 60
_BATCH = 256  # radiographs read at once


def tiny_images(images: store.PackedImages, shards: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Shrink m radiographs, uint8 or uint16, to 32 x 32 pixels by area and equalise them; (m, 1024) float32 in [0, 1]."""
    out = np.empty((len(rows), SIZE * SIZE), np.float32)
    for start in progress(range(0, len(rows), _BATCH), "baseline images", unit="batch"):
        batch = images.take(shards[start : start + _BATCH], rows[start : start + _BATCH])
        for index, image in enumerate(batch, start):
            small = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
            if small.dtype != np.uint8:  # stored values are scaled to the image's own range
                low, high = int(small.min()), int(small.max())
                small = normalize(small, low, high) if low < high else np.zeros(small.shape, np.uint8)
            out[index] = cv2.equalizeHist(small).ravel() / 255.0
    return out


def fit_predict(pixels: np.ndarray, labels: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Fit on the training rows, where `train`, (n,) bool, is true; return the (m, k) float32 logits of the other rows.

    Pixels are (n, d) float32, labels (n, k) of 1, 0 and -1 (ignored: the row is left out for that class).
    """
    components = min(COMPONENTS, int(train.sum()) - 1, pixels.shape[1])
    with threadpool_limits(limits=1):  # so that the logits do not depend on the number of cores
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
    """Fit the baseline on the training images and write its logits for val and test."""
    labelled, parts = read_labelled(labels, split, ingested, images)
    labelled, parts = labelled.select(parts != LEFT_OUT), parts[parts != LEFT_OUT]
    truth, train = labelled.labels.astype(np.int8), parts == "train"
    check_classes(truth[train], labelled.classes)
    if train.all():
        raise ThoraxError(f"{split} gives no image of {labels} to val and test: make their shares larger.")
    pixels = tiny_images(labelled.images, labelled.shards, labelled.rows)
    logits = scores_frame(labelled.image_ids[~train], parts[~train], fit_predict(pixels, truth, train), labelled.classes)
    store.write_table(logits, out, scores_schema(labelled.classes))
