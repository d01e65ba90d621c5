"""A stratified split by patient that several label sets share.

Whole patients are dealt to train, val and test at random; then single patients move and pairs of patients change
places as long as that lowers the squared deviation of all counts (every class and the total of every label set, in every
part) from their exact quotas. Neither scikit-learn's group splitters nor iterative stratification come near the quotas
of multi-label data with grouped images; this does, in seconds.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from thorax import config, store
from thorax.catalog import SPLIT_NAMES, SPLITS, class_columns
from thorax.errors import ThoraxError

ALL_IMAGES = "all images"  # the row of a label set's total in the quality table
QUALITY_COLUMNS = ("label_set", "class", "split", "images", "quota", "deviation", "largest_patient_share")

# Deviations are kept as whole numbers of millionths of an image. Whole numbers below 2^53 are exact in float64, so the
# matrix products below give the same bits on every machine and with any number of threads.
_IMAGE = 1e6
_MOVES = ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1))  # from part, to part
_SWAPS = ((0, 1), (0, 2), (1, 2))
_CANDIDATES = 256  # kinds of patients on either side among which a swap is looked for
_ROUNDS = 400  # descents after which counts that are still more than an image off their quota are accepted
_KICK = 3  # patients that are moved at random between two descents


class StratifiedGroupSplit:
    """Split samples into train, val and test so that no group is in two parts and every label keeps its share.

    In the style of scikit-learn's splitters, but with three parts at once and any number of labels per sample:

    >>> y = np.eye(2, dtype=int)[[0, 1] * 30]  # 60 samples, 2 labels
    >>> patients = np.arange(60) // 2  # 30 patients with 2 samples each
    >>> train, val, test = next(StratifiedGroupSplit(random_state=1).split(None, y, patients))
    >>> y[train].sum(0), y[val].sum(0), y[test].sum(0)
    (array([21, 21]), array([3, 3]), array([6, 6]))

    The result depends on the groups, their labels and `random_state` only: not on the order of the rows (permuting the
    rows permutes the result) and not on global random state. Counts of all labels, and of all samples, come within one
    sample of `share * count` wherever the groups allow it; a group is never divided to get there, so a label that
    belongs to very few groups, or mostly to one large group, can stay further away. Each part has at least one group,
    but a label with fewer groups than parts is absent from some part.

    Args:
        train: share of the samples for training, above 0.
        val: share for validation, above 0.
        test: share for testing, above 0; the three sum to 1.
        random_state: seed; the same seed gives the same split.

    Raises:
        ThoraxError: shares that are not above 0 or do not sum to 1.
    """

    def __init__(self, train: float = 0.7, val: float = 0.1, test: float = 0.2, random_state: int = 0) -> None:
        if min(train, val, test) <= 0 or abs(train + val + test - 1) > 1e-6:
            raise ThoraxError(
                f"train, val and test are {train:g}, {val:g} and {test:g}: choose three shares above 0 that sum to 1."
            )
        self.train = train
        self.val = val
        self.test = test
        self.random_state = random_state

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None) -> int:
        """Return 1: there is one split, not a series of folds."""
        return 1

    def split(
        self, X: object, y: np.typing.ArrayLike, groups: np.typing.ArrayLike
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield once the ascending row indices (train, val, test).

        Args:
            X: ignored, as in scikit-learn.
            y: (n, k) or (n,) of 0, 1 and -1 (unknown: counts as not positive).
            groups: (n,) identifiers that can be sorted, e.g. of patients.

        Raises:
            ThoraxError: as in `assign`.
        """
        parts = self.assign(y, groups)
        train, val, test = (np.flatnonzero(parts == name) for name in SPLIT_NAMES)
        yield train, val, test

    def assign(self, y: np.typing.ArrayLike, groups: np.typing.ArrayLike) -> np.ndarray:
        """Return the part of each row: (n,) of "train", "val" and "test"; arguments as in `split`.

        Raises:
            ThoraxError: y has other values, lengths differ, a group is missing, or there are fewer than three groups.
        """
        labels = _label_matrix(y)
        ids, group_of_row = _group_index(groups, len(labels))
        columns = np.column_stack([np.ones(len(labels), np.int64), labels == 1])
        counts = np.zeros((len(ids), columns.shape[1]), np.int64)
        np.add.at(counts, group_of_row, columns)
        shares = np.array([self.train, self.val, self.test])
        part_of_group = _assign_groups(counts, shares, np.random.default_rng(self.random_state))
        return np.array(SPLIT_NAMES)[part_of_group[group_of_row]]


def _label_matrix(y: np.typing.ArrayLike) -> np.ndarray:
    labels = np.asarray(y)
    labels = labels[:, None] if labels.ndim == 1 else labels
    if labels.ndim != 2 or not np.isin(labels, (-1, 0, 1)).all():
        raise ThoraxError("The labels of a split are not a matrix of 0, 1 and -1: convert them first.")
    return labels


def _group_index(groups: np.typing.ArrayLike, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted unique groups and each row's index into them."""
    array = np.asarray(groups)
    if array.shape != (rows,):
        raise ThoraxError(f"A split of {rows} rows needs {rows} groups, but their shape is {array.shape}: give one per row.")
    if pd.isna(array).any():
        raise ThoraxError(f"Row {int(pd.isna(array).argmax())} of a split has no group: fill it in or leave the row out.")
    ids, index = np.unique(array, return_inverse=True)
    if len(ids) < len(SPLIT_NAMES):
        raise ThoraxError(
            f"{len(ids)} patient(s) cannot be split into train, val and test: use a data set with at least three patients."
        )
    return ids, index


def _assign_groups(counts: np.ndarray, shares: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return each group's part, 0 to 2, given its (groups, columns) counts."""
    kinds, kind_of_group = np.unique(counts, axis=0, return_inverse=True)
    kind_of_group = kind_of_group.ravel()
    start = np.concatenate([np.arange(3), random.choice(3, size=len(counts) - 3, p=shares / shares.sum())])
    dealt = np.zeros((len(kinds), 3), np.int64)
    np.add.at(dealt, (kind_of_group, random.permutation(start)), 1)
    dealt = _Search(kinds, dealt, shares, random).run()
    shuffled = random.permutation(len(counts))
    of_kind = shuffled[np.argsort(kind_of_group[shuffled], kind="stable")]  # groups by kind, at random within each
    part = np.empty(len(counts), np.int64)
    part[of_kind] = np.repeat(np.tile(np.arange(3), len(kinds)), dealt.ravel())
    return part


class _Search:
    """Local search over how many groups of each kind each part has. Groups with equal counts are of one kind.

    Args:
        kinds: (kinds, columns) counts of one group of each kind.
        dealt: (kinds, 3) groups of each kind in each part, to start from.
        shares: (3,) of the parts.
        random: source of candidates and kicks.
    """

    def __init__(self, kinds: np.ndarray, dealt: np.ndarray, shares: np.ndarray, random: np.random.Generator) -> None:
        self.kinds = kinds.astype(np.float64)
        self.norms = _IMAGE * (self.kinds**2).sum(axis=1)
        self.dealt = dealt.copy()
        self.random = random
        millionths = np.round(shares * _IMAGE)
        millionths[0] = _IMAGE - millionths[1:].sum()
        total = (self.dealt.sum(axis=1) @ self.kinds)[None, :]
        self.deviation = _IMAGE * (self.dealt.T @ self.kinds) - millionths[:, None] * total  # (3, columns)

    def run(self) -> np.ndarray:
        """Descend, kick and descend again until all counts are within one image of the quota; return `dealt`."""
        best = (np.inf, np.inf)
        for _ in range(_ROUNDS):
            self._descend()
            score = (int((np.abs(self.deviation) > _IMAGE).sum()), float((self.deviation**2).sum()))
            if score < best:
                best, dealt, deviation = score, self.dealt, self.deviation
            if best[0] == 0:
                break
            self.dealt, self.deviation = dealt.copy(), deviation.copy()
            self._kick()
        return dealt

    def _descend(self) -> None:
        while self._move_one() or self._swap_two():
            pass

    def _move_one(self) -> bool:
        """Make the single move that lowers the sum of squares most; return False if none does."""
        # |d_a - u|^2 + |d_b + u|^2 - |d_a|^2 - |d_b|^2 = 2 (u.(d_b - d_a) + u.u), for u groups going from a to b
        projected = self.kinds @ self.deviation.T
        best = (0.0, 0, 0, 0)
        for source, target in _MOVES:
            if self.dealt[:, source].sum() < 2:  # no part may run empty
                continue
            change = projected[:, target] - projected[:, source] + self.norms
            change[self.dealt[:, source] == 0] = np.inf
            kind = int(change.argmin())
            if change[kind] < best[0]:
                best = (change[kind], kind, source, target)
        if best[0] < 0:
            self._move(*best[1:])
        return best[0] < 0

    def _swap_two(self) -> bool:
        """Make the best swap among a sample of the kinds in two parts; return False if no pair of parts has one."""
        for first, second in self.random.permutation(_SWAPS).tolist():
            here, there = self._candidates(first), self._candidates(second)
            towards = self.deviation[second] - self.deviation[first]
            leave, come = self.kinds[here], self.kinds[there]
            change = (leave @ towards + self.norms[here])[:, None] + (self.norms[there] - come @ towards)[None, :]
            change -= 2 * _IMAGE * (leave @ come.T)
            row, column = np.unravel_index(change.argmin(), change.shape)
            if change[row, column] < 0:
                self._move(int(here[row]), first, second)
                self._move(int(there[column]), second, first)
                return True
        return False

    def _candidates(self, part: int) -> np.ndarray:
        present = np.flatnonzero(self.dealt[:, part])
        return present if len(present) <= _CANDIDATES else self.random.choice(present, _CANDIDATES, replace=False)

    def _kick(self) -> None:
        for _ in range(_KICK):
            source, target = self.random.permutation(3)[:2]
            if self.dealt[:, source].sum() > 1:
                self._move(self.random.choice(np.flatnonzero(self.dealt[:, source])), source, target)

    def _move(self, kind: int, source: int, target: int) -> None:
        self.dealt[kind, source] -= 1
        self.dealt[kind, target] += 1
        self.deviation[source] -= _IMAGE * self.kinds[kind]
        self.deviation[target] += _IMAGE * self.kinds[kind]


def split_label_sets(settings: config.Split, frames: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Assign every image of all label sets once, stratified over all their classes and totals.

    Args:
        settings: shares and seed.
        frames: per label set, the columns of `catalog.labels_schema`.

    Returns:
        The assignment (image_id, patient_id, split; sorted by image_id) and its quality (`QUALITY_COLUMNS`: per label
        set, class and part the number of positive images, the quota, the deviation, and the largest share of these
        images that comes from one patient). A class that has too few patients to be in every part is no error: its
        rows with 0 images say so.

    Raises:
        ThoraxError: a label set without images or with fewer than three patients, or an image with two patients.
    """
    for name, frame in frames.items():
        _check_patients(name, frame)
    images = pd.concat([frame[["image_id", "patient_id"]] for frame in frames.values()]).drop_duplicates()
    images = images.sort_values("image_id", ignore_index=True)
    repeated = images["image_id"].duplicated()
    if repeated.any():
        raise ThoraxError(
            f"Image {images['image_id'][repeated].iloc[0]!r} has different patients in {', '.join(sorted(frames))}: "
            "remake the label sets from one catalog."
        )
    # Sorted names: the order in which label sets and classes are written down must not change the split.
    columns = [_columns(images["image_id"], frames[name], len(frames) > 1) for name in sorted(frames)]
    splitter = StratifiedGroupSplit(settings.train, settings.val, settings.test, random_state=settings.seed)
    images["split"] = splitter.assign(np.hstack(columns), images["patient_id"].to_numpy(object))
    shares = dict(zip(SPLIT_NAMES, (settings.train, settings.val, settings.test), strict=True))
    quality = pd.concat([_quality(name, frame, images, shares) for name, frame in frames.items()], ignore_index=True)
    return images, quality


def _check_patients(name: str, frame: pd.DataFrame) -> None:
    patients = frame["patient_id"].nunique()
    if patients < len(SPLIT_NAMES):
        raise ThoraxError(
            f"Label set {name!r} has images of {patients} patient(s), which cannot be split into train, val and test: "
            "use more data or lower its minimum counts."
        )


def _columns(image_ids: pd.Series, frame: pd.DataFrame, with_total: bool) -> np.ndarray:
    """Return (images, columns) of 0/1: which images a label set has, and which are positive for each class."""
    classes = sorted(class_columns(frame))
    aligned = frame.set_index("image_id")[classes].reindex(image_ids)
    positive = (aligned == 1).to_numpy(np.int8)
    if not with_total:  # the splitter counts all images anyway
        return positive
    return np.column_stack([image_ids.isin(frame["image_id"]).to_numpy(np.int8), positive])


def _quality(name: str, frame: pd.DataFrame, images: pd.DataFrame, shares: dict[str, float]) -> pd.DataFrame:
    parts = frame["image_id"].map(images.set_index("image_id")["split"])
    rows = []
    for label in [ALL_IMAGES, *class_columns(frame)]:
        positive = np.ones(len(frame), bool) if label == ALL_IMAGES else (frame[label] == 1).to_numpy()
        for part, share in shares.items():
            patients = frame["patient_id"][positive & (parts == part).to_numpy()]
            quota = share * positive.sum()
            largest = patients.value_counts().iloc[0] / len(patients) if len(patients) else 0.0
            rows.append((name, label, part, len(patients), quota, len(patients) - quota, largest))
    return pd.DataFrame(rows, columns=list(QUALITY_COLUMNS))


def make_split(settings: config.Split, labels: list[Path], out: Path, quality: Path) -> None:
    """Split the patients of the label sets in `labels` and write the assignment and, as CSV, its quality.

    Args:
        settings: the split; its `label_sets` are the files' names.
        labels: one `labels/{label_set}.parquet` for each label set, in any order.
        out: the `catalog.SPLITS` table to write.
        quality: the CSV file to write, with columns `QUALITY_COLUMNS`.

    Raises:
        ThoraxError: other label sets than the settings name, or what `split_label_sets` refuses.
    """
    paths = {Path(path).stem: path for path in labels}
    if sorted(paths) != sorted(settings.label_sets) or len(paths) != len(labels):
        raise ThoraxError(
            f"The split is over label_sets {', '.join(sorted(settings.label_sets))}, but was given the tables of "
            f"{', '.join(sorted(paths)) or 'none'}: give one table for each."
        )
    frames = {name: store.read_table(paths[name], needs=("image_id", "patient_id")) for name in settings.label_sets}
    images, report = split_label_sets(settings, frames)
    with store.atomic(out) as new_split, store.atomic(quality) as new_quality:  # both or neither
        store.write_table(images, new_split, SPLITS)
        store.write_text(report.round(6).to_csv(index=False), new_quality)
