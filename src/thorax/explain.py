"""Grad-CAM of every class from one forward pass, and the choice of the cases that are explained."""

from collections.abc import Sequence
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from thorax import store
from thorax.catalog import class_columns
from thorax.errors import refuse_unknown

CASES = pa.schema({"image_id": pa.string(), "chosen_for": pa.string()})


def grad_cam_weights(
    pooled: np.ndarray, logit_kernel: np.ndarray, hidden: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """Weight of each feature for each class's logit, in closed form.

    Grad-CAM's weight is the mean over positions of the gradient of logit c with respect to feature k at that position
    (Selvaraju et al. 2017, equation 1). For pooled features v it is g[k, c] / positions, where g is the gradient with respect
    to v: sum_j W2[j, c] [a_j > 0] W1[k, j] with a hidden ReLU layer, W2[k, c] without. The division is left to `grad_cam`.

    Both ways of pooling give exactly that. For the mean it is plain. For attention, v = sum_p a_p F_p with a = softmax(F w),
    the gradient at position p is a_p g[k, c] + a_p w_k g[:, c] . (F_p - v). Summed over positions the first term is g[k, c],
    as the weights add up to 1, and the second vanishes, as sum_p a_p F_p is v.

    Args:
        pooled: (n, k) pooled features.
        logit_kernel: W2 (j, c), or (k, c) without a hidden layer.
        hidden: W1 (k, j) and the bias (j,) of the hidden layer, if there is one.

    Returns:
        (n, k, c) float32.
    """
    if hidden is None:
        return np.broadcast_to(logit_kernel.astype(np.float32), (len(pooled), *logit_kernel.shape))
    kernel, bias = hidden
    active = (pooled @ kernel + bias) > 0
    return np.einsum("nj,kj,jc->nkc", active.astype(np.float32), kernel, logit_kernel, optimize=True)


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


def choose_cases(labels: Path, split: Path, count: int, seed: int, out: Path, wanted: Sequence[str] = ()) -> None:
    """Choose test images to explain, before any network has seen them.

    First one random image for each class that is wanted, in their order; then one for each other class, rarest class first. Where
    `count` exceeds the number of classes, further rounds over all of them follow; no image is chosen twice.

    Args:
        labels, split: tables.
        count: number of cases (fewer where the test part has fewer images).
        seed: of the choice.
        out: table of image_id and the class that the image was chosen for.
        wanted: classes that come first; one without a test image is left out.

    Raises:
        ThoraxError: the label set does not have a class that is wanted.
    """
    table = store.read_table(labels)
    assignment = store.read_table(split, ["image_id", "split"])
    test = table[table["image_id"].isin(assignment.loc[assignment["split"] == "test", "image_id"])]
    test = test.sort_values("image_id").sample(frac=1, random_state=seed)
    classes = class_columns(table)
    for name in wanted:
        refuse_unknown("case_classes", name, classes, f"a class of {labels}")
    rarest = sorted(classes, key=lambda name: int((table[name] == 1).sum()))
    queues = {name: list(test.loc[test[name] == 1, "image_id"]) for name in rarest}
    chosen: dict[str, str] = {}
    rounds = chain([[*wanted, *(name for name in rarest if name not in wanted)]], repeat(rarest))
    while len(chosen) < count and any(queues.values()):
        for name in next(rounds):
            while queues[name] and queues[name][0] in chosen:
                queues[name].pop(0)
            if queues[name] and len(chosen) < count:
                chosen[queues[name].pop(0)] = name
    store.write_table(pd.DataFrame({"image_id": list(chosen), "chosen_for": list(chosen.values())}), out, CASES)
