"""Grad-CAM of every class from one forward pass, and the choice of the cases that are explained."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from thorax import store
from thorax.catalog import class_columns

CASES = pa.schema({"image_id": pa.string(), "chosen_for": pa.string()})


def grad_cam_weights(
    pooled: np.ndarray, hidden_kernel: np.ndarray, hidden_bias: np.ndarray, logit_kernel: np.ndarray
) -> np.ndarray:
    """Weight of each feature for each class's logit, in closed form.

    For a head of global average pooling, a dense ReLU layer and a dense layer of logits, the mean gradient of logit c
    with respect to feature k is sum_j W2[j, c] [a_j > 0] W1[k, j] (divided by the number of positions, a constant that
    normalisation removes but which is kept by the caller). Selvaraju et al. 2017, equation 1.

    Args:
        pooled: (n, k) pooled features.
        hidden_kernel: W1 (k, j).
        hidden_bias: (j,).
        logit_kernel: W2 (j, c).

    Returns:
        (n, k, c) float32.
    """
    active = (pooled @ hidden_kernel + hidden_bias) > 0
    return np.einsum("nj,kj,jc->nkc", active.astype(np.float32), hidden_kernel, logit_kernel, optimize=True)


def grad_cam(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Class activation maps: ReLU of the weighted sum of the features (Selvaraju et al. 2017, equation 2).

    Args:
        features: (n, h, w, k).
        weights: (n, k, c) gradient sums; divided here by the number of positions.

    Returns:
        (n, c, h, w) float32.
    """
    positions = features.shape[1] * features.shape[2]
    return np.maximum(np.einsum("nhwk,nkc->nchw", features, weights / positions, optimize=True), 0).astype(np.float32)


def choose_cases(labels: Path, split: Path, count: int, seed: int, out: Path) -> None:
    """Choose test images to explain, before any network has seen them: one random image per class, rarest class first.

    Where `count` exceeds the number of classes, further rounds follow; no image is chosen twice.

    Args:
        labels, split: tables.
        count: number of cases (fewer where the test part has fewer images).
        seed: of the choice.
        out: table of image_id and the class that the image was chosen for.
    """
    table = store.read_table(labels)
    assignment = store.read_table(split, ["image_id", "split"])
    test = table[table["image_id"].isin(assignment.loc[assignment["split"] == "test", "image_id"])]
    test = test.sort_values("image_id").sample(frac=1, random_state=seed)
    classes = class_columns(table)
    order = sorted(classes, key=lambda name: int((table[name] == 1).sum()))
    queues = {name: list(test.loc[test[name] == 1, "image_id"]) for name in order}
    chosen: dict[str, str] = {}
    while len(chosen) < count and any(queues.values()):
        for name in order:
            while queues[name] and queues[name][0] in chosen:
                queues[name].pop(0)
            if queues[name] and len(chosen) < count:
                chosen[queues[name].pop(0)] = name
    store.write_table(pd.DataFrame({"image_id": list(chosen), "chosen_for": list(chosen.values())}), out, CASES)
