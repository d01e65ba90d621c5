"""A bootstrap over patients: every metric of one model on the images of one part, and on every sample of its patients.

All models, classes, rules and metrics are measured on the same samples, so that differences between models are paired.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thorax.evaluation import confusion
from thorax.evaluation.ranking import Ranking, placed

if TYPE_CHECKING:
    from scipy.sparse import csr_array

NO_THRESHOLD = "none"
_REPLICATES_AT_ONCE = 64
_DRAWN_AT_ONCE = 4_000_000  # images times samples: bounds the memory however many images there are
_INTERVAL = (2.5, 97.5)  # percentiles
_CLIP = 1e-7  # as Keras does: a certain mistake costs 16.1, not infinitely much
_LOSS_UNIT = 2.0**-20  # losses are whole multiples of it
_OF_DECISIONS = {  # metrics of one class by any threshold rule; over several classes the mean of those that have one
    "f1": confusion.macro_f1,
    "f1_positive": confusion.positive_f1,
    "precision": confusion.precision,
    "npv": confusion.negative_predictive_value,
    "sensitivity": confusion.sensitivity,
    "specificity": confusion.specificity,
    "auc_thresholded": confusion.decision_auc,
}
Key = tuple[str, str]  # threshold rule or `NO_THRESHOLD`, and metric


@dataclass(frozen=True)
class Measured:
    """The metrics of one model on the images of one part.

    The arrays have a column for each class and then one for each summary over classes. Those of Hamming loss, which one class does
    not have, have the summaries only.
    """

    names: list[str]  # the classes, then the summaries
    n_positive: np.ndarray  # of each name
    point: dict[Key, np.ndarray]  # (columns,) values on the images themselves; nan where undefined
    samples: dict[Key, np.ndarray]  # (replicates, columns) values on the bootstrap samples
    summaries: int  # how many of the names are summaries
    design: str  # the same for models that are measured on the same labels and samples

    def named(self, key: Key) -> list[str]:
        """The names of a metric's columns."""
        return self.names[-len(self.point[key]) :]


def measure(
    truth: np.ndarray, values: np.ndarray, decided: Mapping[str, np.ndarray], patients: np.ndarray, classes: Sequence[str],
    summaries: Mapping[str, Sequence[str]], replicates: int, seed: int,
) -> Measured:  # fmt: skip
    """Measure one model's scores and decisions on its images and on the bootstrap samples.

    Labels `truth` are (n, k) of 1, 0 and -1 (ignored), `values` (n, k) probabilities or votes, `decided` (n, k) bool by threshold
    rule, `patients` (n,) identifiers. `summaries` names groups of classes: a metric's value for them is the mean over their classes
    that have one, and for Hamming loss, accuracy and loss that of all their entries together.
    """
    identifiers, patient_of_row = np.unique(patients, return_inverse=True)
    columns = [[list(classes).index(name) for name in chosen] for chosen in summaries.values()]
    answers = _Answers(truth, values, decided, patient_of_row, len(identifiers), columns)
    point = answers.measure(np.ones((len(identifiers), 1), np.int32))
    blocks = [answers.measure(weights) for weights in resample(len(identifiers), replicates, seed, len(truth))]
    samples = {key: np.concatenate([value[:0], *(block[key] for block in blocks)]) for key, value in point.items()}
    positives = (truth == 1).sum(axis=0)
    counts = np.array([*positives, *(positives[chosen].sum() for chosen in columns)])
    digest = hashlib.blake2b(truth.astype(np.int8).tobytes() + patient_of_row.astype(np.int64).tobytes(), digest_size=16)
    design = f"{digest.hexdigest()} {list(classes)} {list(summaries)} {replicates} {seed}"
    on_images = {key: value[0] for key, value in point.items()}
    return Measured([*classes, *summaries], counts, on_images, samples, len(columns), design)


def resample(patients: int, replicates: int, seed: int, images: int) -> Iterator[np.ndarray]:
    """Yield blocks of (patients, samples) int32: how often each patient is drawn into each bootstrap sample.

    The samples depend on the seed and the number of patients alone; the number of images only sets the size of the blocks.
    """
    random = np.random.default_rng(seed)
    at_once = min(_REPLICATES_AT_ONCE, max(1, _DRAWN_AT_ONCE // images))
    for start in range(0, replicates, at_once):
        size = min(at_once, replicates - start)
        drawn = random.integers(patients, size=(size, patients)) + patients * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * patients).astype(np.int32)
        yield np.ascontiguousarray(counts.reshape(size, patients).T)


def intervals(samples: np.ndarray) -> np.ndarray:
    """Return the 95% interval of each column of (replicates, k) values, (2, k); nan where no replicate has a value.

    Replicates without a value, because they lack positives or negatives of the class, do not count.
    """
    found = np.full((2, samples.shape[1]), np.nan)
    defined = np.isfinite(samples)
    whole = defined.all(axis=0) & (len(samples) > 0)
    if whole.any():
        found[:, whole] = np.percentile(samples[:, whole], _INTERVAL, axis=0)
    for column in np.flatnonzero(~whole & defined.any(axis=0)):
        found[:, column] = np.percentile(samples[defined[:, column], column], _INTERVAL)
    return found


class _Answers:
    """What metrics are made from, summed over each patient's images as whole numbers.

    Any order of summation and any number of threads then gives the same sums.
    """

    def __init__(
        self, truth: np.ndarray, values: np.ndarray, decided: Mapping[str, np.ndarray], patient_of_row: np.ndarray, patients: int,
        summaries: Sequence[Sequence[int]],
    ) -> None:  # fmt: skip
        def by_patient(entries: np.ndarray) -> "csr_array":
            rows, columns = np.nonzero(entries)
            return placed(columns, patient_of_row[rows], (truth.shape[1], patients))

        yes, no = truth == 1, truth == 0
        self._summaries = summaries
        self._rankings = [Ranking(truth[:, k], values[:, k], patient_of_row, patients) for k in range(truth.shape[1])]
        self._positive, self._ignored = by_patient(yes), by_patient(~(yes | no))
        self._images = np.bincount(patient_of_row, minlength=patients).astype(np.int32)
        self._decided = {rule: (by_patient(yes & positive), by_patient(no & positive)) for rule, positive in decided.items()}
        self._losses = None
        if not ((values == 0) | (values == 1)).all():
            clipped = np.clip(values, _CLIP, 1 - _CLIP)
            losses = (-np.log(np.where(yes, clipped, 1 - clipped)) / _LOSS_UNIT).round() * (yes | no)
            self._losses = (placed(patient_of_row, np.arange(len(truth)), (patients, len(truth))) @ losses).T

    def measure(self, weights: np.ndarray) -> dict[Key, np.ndarray]:
        """Return every metric, (samples, columns), from (patients, samples) int32 weights."""
        areas, precisions = zip(*(ranking.measure(weights) for ranking in self._rankings), strict=True)
        positive = (self._positive @ weights).T.astype(np.float64)
        known = (self._images @ weights)[:, None] - (self._ignored @ weights).T.astype(np.float64)
        loss = np.full_like(known, np.nan)
        if self._losses is not None:
            loss = (self._losses @ weights.astype(np.float64)).T * _LOSS_UNIT
        found = {
            (NO_THRESHOLD, "auc"): self._with_means(np.stack(areas, axis=1)),
            (NO_THRESHOLD, "average_precision"): self._with_means(np.stack(precisions, axis=1)),
            (NO_THRESHOLD, "loss"): confusion.share(self._with_sums(loss), self._with_sums(known)),
        }
        for rule, decided in self._decided.items():
            right, alarm = ((of_patients @ weights).T for of_patients in decided)
            counts = np.stack([right, alarm, positive - right, known - positive - alarm], axis=-1)
            found |= {(rule, metric): self._with_means(of_counts(counts)) for metric, of_counts in _OF_DECISIONS.items()}
            wrong = [confusion.hamming(counts[:, chosen]) for chosen in self._summaries]
            found[rule, "hamming"] = np.stack(wrong, axis=1)
            found[rule, "accuracy"] = confusion.accuracy(self._with_sums(counts))
        return found

    def _with_means(self, values: np.ndarray) -> np.ndarray:
        """Append to (samples, k) values the means over the classes of each summary that have one."""
        defined = np.isfinite(values)
        filled = np.where(defined, values, 0)
        means = [confusion.share(filled[:, chosen].sum(axis=1), defined[:, chosen].sum(axis=1)) for chosen in self._summaries]
        return np.column_stack([values, *means])

    def _with_sums(self, values: np.ndarray) -> np.ndarray:
        """Append to (samples, k, ...) values the sums over the classes of each summary."""
        sums = [values[:, chosen].sum(axis=1, keepdims=True) for chosen in self._summaries]
        return np.concatenate([values, *sums], axis=1)
