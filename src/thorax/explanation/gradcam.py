"""Grad-CAM of every class from one forward pass."""

import numpy as np


def grad_cam_weights(
    pooled: np.ndarray, logit_kernel: np.ndarray, hidden: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """Weight of each feature for each class's logit, in closed form.

    Grad-CAM's weight is the mean over positions of the gradient of logit c with respect to feature k at that position
    (Selvaraju et al. 2017, equation 1). For pooled features v it is g[k, c] / positions, where g is the gradient with respect
    to v: sum_j W2[j, c] [a_j > 0] W1[k, j] with a hidden ReLU layer, W2[k, c] without. The division is left to `grad_cam`.

    For the mean this is obvious. For attention, v = sum_p a_p F_p with a = softmax(F w), the gradient at position p is
    a_p g[k, c] + a_p w_k g[:, c] . (F_p - v). Summed over positions the first term is g[k, c], and the second vanishes.

    The pooled features are (n, k), the kernel W2 (j, c), or (k, c) without a hidden layer, whose W1 is (k, j) and whose bias (j,).
    The result is (n, k, c) float32.
    """
    if hidden is None:
        return np.broadcast_to(logit_kernel.astype(np.float32), (len(pooled), *logit_kernel.shape))
    kernel, bias = hidden
    active = (pooled @ kernel + bias) > 0
    return kernel @ (active[..., None] * logit_kernel).astype(np.float32)


def moved(images: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Move (n, h, w, ...) images down and to the right (up and left where negative); their border is repeated."""
    height, width = images.shape[1:3]
    down, across = (np.clip(np.arange(size) - by, 0, size - 1) for size, by in ((height, rows), (width, columns)))
    return images[:, down][:, :, across]


def grad_cam(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Class activation maps (n, c, h, w) float32: ReLU of the weighted sum of the features (Selvaraju et al. 2017, equation 2).

    The features are (n, h, w, k), the weights (n, k, c) gradient sums, which are divided here by the number of positions.
    """
    images, height, width, depth = features.shape
    maps = features.reshape(images, height * width, depth) @ (weights / (height * width))
    return np.maximum(maps, 0).astype(np.float32).swapaxes(1, 2).reshape(images, -1, height, width)
