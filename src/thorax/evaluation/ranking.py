"""AUC and average precision of one class in every bootstrap sample of the patients, exactly and by sums alone."""

from typing import TYPE_CHECKING

import numpy as np

from thorax.evaluation.confusion import share

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def placed(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> "csr_array":
    """Return a sparse int32 matrix that counts how often each (row, column) is given."""
    from scipy.sparse import csr_array

    return csr_array((np.ones(len(rows), np.int32), (rows, columns)), shape)


class Ranking:
    """The images of one class, counted by patient and by where their score lies among the distinct scores of the positives.

    Between two neighbouring scores of positives the order of the negatives changes neither metric. With d distinct scores of
    positives there are therefore d groups of positives, and 2 d + 1 of negatives: those that equal a score and those between.
    The number of images of each group in a bootstrap sample is a sum over patients.

    Labels are (n,) of 1, 0 and -1 (ignored), scores (n,) larger where more likely positive, `patient_of_row` (n,) from 0 to
    `patients` - 1.
    """

    def __init__(self, labels: np.ndarray, scores: np.ndarray, patient_of_row: np.ndarray, patients: int) -> None:
        positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
        distinct, group = np.unique(scores[positive], return_inverse=True)
        self._positives = placed(group, patient_of_row[positive], (len(distinct), patients))
        lower = np.searchsorted(distinct, scores[negative], side="left")
        group = lower + np.searchsorted(distinct, scores[negative], side="right")  # odd where equal to a positive's score
        self._negatives = placed(group, patient_of_row[negative], (2 * len(distinct) + 1, patients))

    def measure(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return AUC and average precision in each sample, nan where undefined.

        `weights` are (patients, samples) int32: how often each sample has each patient. Ties count half in the AUC. It is nan
        without positives or negatives. Average precision is the sum over the distinct scores, from the highest, of precision
        times the gain in recall, with tied images taken together and without interpolation, as in scikit-learn. It is nan without
        positives.
        """
        found = self._positives @ weights
        lower = np.cumsum(self._negatives @ weights, axis=0, dtype=np.int32)
        below, not_above = lower[:-1:2], lower[1::2]  # negatives with a score below each of the positives', and not above it
        positives, negatives = found.sum(axis=0, dtype=np.int64), lower[-1].astype(np.int64)
        half_pairs = np.einsum("ij,ij->j", found, below + not_above, dtype=np.int64)
        area = share(half_pairs, 2 * positives * negatives)
        right = positives.astype(np.int32) - np.cumsum(found, axis=0, dtype=np.int32) + found  # positives from each score up
        flagged = right + (lower[-1] - below)
        precision = np.divide(right, flagged, out=np.zeros(found.shape), where=flagged > 0)
        precision *= found
        return area, share(precision.sum(axis=0), positives)
