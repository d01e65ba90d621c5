"""Which training images an epoch holds: all, more with rare classes, or fewer with frequent classes only.

A class's frequency is the share of images with a positive label. The median over the classes that occur separates rare from
frequent.
"""

import numpy as np


def choose(labels: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Choose an epoch's images by their labels, (n, k) of 1, 0 and -1 (ignored).

    none: every image once. over: repeat-factor sampling, every image at least once (see `repeat_factors`). under: every
    image at most once (see `keep_shares`). Returns (m,) int64 positions in ascending order: shuffle them.
    """
    count = len(labels)
    if kind == "over":
        return np.repeat(np.arange(count), np.floor(repeat_factors(labels) + rng.random(count)).astype(np.int64))
    if kind == "under":
        return np.flatnonzero(rng.random(count) < keep_shares(labels))
    return np.arange(count)


def repeat_factors(labels: np.ndarray) -> np.ndarray:
    """How often each image is repeated on average, (n,) float64 of at least 1.

    Gupta, Dollár and Girshick 2019 (LVIS, arXiv:1908.03195v2, appendix B.2): a class of frequency f has the factor max(1,
    sqrt(t / f)), where t is the median frequency. An image has the largest factor of its positive classes, or 1 without any.
    """
    positive = labels == 1
    return np.where(positive, np.sqrt(_rarity(positive.sum(axis=0))), 1).max(axis=1, initial=1)


def keep_shares(labels: np.ndarray) -> np.ndarray:
    """The probability of keeping each image: the largest min(1, t / f) of its positive classes, t the median frequency.

    Images without a positive label are treated as a class that does not enter the median. (n,) float64 in (0, 1].
    """
    positive = labels == 1
    without = ~positive.any(axis=1, keepdims=True)
    rarity = _rarity(positive.sum(axis=0), without.sum(axis=0))
    return np.minimum(np.where(np.hstack([positive, without]), rarity, 0), 1).max(axis=1, initial=0)


def _rarity(images: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """t / f of classes with these numbers of images, followed by that of others that do not enter the median t."""
    counts = np.concatenate([images, *others])
    occurring = images[images > 0]
    median = np.median(occurring) if len(occurring) else np.inf
    return median / np.maximum(counts, 1)  # the count of a class without images is not used
