"""A splitter in scikit-learn's manner: train, val and test with whole groups, stratified over any number of labels.

Whole groups are dealt at random; then single groups move and pairs of groups change places as long as that lowers the squared
deviation of all counts (every label and the total, in every part) from their exact quotas (docs/explanation/split.md). The module
needs numpy, pandas and nothing else of this package but its exception.
"""

from collections.abc import Iterator
from itertools import combinations, permutations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from thorax.errors import ThoraxError

# Deviations are kept as whole numbers of millionths of an image. Whole numbers below 2^53 are exact in float64, so the
# matrix products below give the same bits on every machine and with any number of threads.
_IMAGE = 1e6
_CANDIDATES = 256  # kinds of patients on either side among which a swap is looked for
_ROUNDS = 400  # descents after which counts that are still more than an image off their quota are accepted
_KICKED = 50  # of these, the first ones begin with a kick; the others weigh the counts that are off
_KICK = 3  # patients that are moved at random between two descents


class StratifiedGroupSplit:
    """Split samples into train, val and test so that no group is in two parts and every label keeps its share.

    In the style of scikit-learn's splitters, but with three parts at once and any number of labels per sample:

    >>> y = np.eye(2, dtype=int)[[0, 1] * 30]  # 60 samples, 2 labels
    >>> patients = np.arange(60) // 2  # 30 patients with 2 samples each
    >>> train, val, test = next(StratifiedGroupSplit(random_state=1).split(None, y, patients))
    >>> y[train].sum(0), y[val].sum(0), y[test].sum(0)
    (array([21, 21]), array([3, 3]), array([6, 6]))

    The result depends on the groups, their labels and `random_state` only: permuting the rows permutes the result. Counts of all
    labels, and of all samples, come within one sample of `share * count` wherever the groups allow it; a label that belongs to very
    few groups, or mostly to one large group, can stay further away. Each part with a share has at least one group. The shares sum to
    1, and one of them may be 0: that part stays empty. Groups that have a part already keep it, and count in all shares.
    """

    def __init__(self, train: float = 0.7, val: float = 0.1, test: float = 0.2, random_state: int = 0) -> None:
        self.shares = {"train": train, "val": val, "test": test}
        self.random_state = random_state
        above_zero = sum(share > 0 for share in self.shares.values())
        if min(self.shares.values()) < 0 or above_zero < 2 or abs(sum(self.shares.values()) - 1) > 1e-6:
            advice = "choose shares that sum to 1, at least two above 0"
            raise ThoraxError(f"train, val and test are {train:g}, {val:g} and {test:g}: {advice}.")

    def split(self, X: object, y: ArrayLike, groups: ArrayLike) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield once the ascending row indices (train, val, test); X is ignored, as in scikit-learn, and the others as in `assign`."""
        parts = self.assign(y, groups)
        train, val, test = (np.flatnonzero(parts == name) for name in self.shares)
        yield train, val, test

    def assign(self, y: ArrayLike, groups: ArrayLike, kept: ArrayLike | None = None) -> np.ndarray:
        """Return the part of each row: (n,) of "train", "val" and "test".

        `y` is (n, k) or (n,) of 0, 1 and -1 (unknown: counts as not positive); `groups` are (n,) identifiers that can be sorted, such
        as those of patients, and at least as many as parts. `kept` has the part of each row that keeps it, (n,), and null for the
        others: these are divided so that all rows together come as near to the shares as they can. It is the same for all rows of
        a group, except that a kept group may be in several parts.
        """
        names, shares = zip(*((name, share) for name, share in self.shares.items() if share > 0), strict=True)
        held = None if kept is None else _numbered(kept, names)
        return np.array(names)[_assign_rows(y, groups, np.array(shares), self.random_state, held)]


def group_folds(y: ArrayLike, groups: ArrayLike, folds: int, random_state: int = 0) -> np.ndarray:
    """Deal whole groups into folds of equal size, stratified over every label, as `StratifiedGroupSplit` deals its parts.

    `y` and `groups` are as in `StratifiedGroupSplit.assign`. Returns (n,) from 0 to folds - 1: the same seed gives the same folds, in
    any order of the rows.
    """
    return _assign_rows(y, groups, np.full(folds, 1 / folds), random_state)


def _numbered(kept: ArrayLike, names: tuple[str, ...]) -> np.ndarray:
    """(n,) number of each row's part, -1 where it has none."""
    parts = pd.Series(np.asarray(kept, object))
    unknown = parts.notna() & ~parts.isin(names)
    if unknown.any():
        raise ThoraxError(f"{parts[unknown].iloc[0]!r} is not a part with a share: keep groups in {', '.join(names)}.")
    return parts.map({name: number for number, name in enumerate(names)}).fillna(-1).to_numpy(np.int64)


def _assign_rows(
    y: ArrayLike, groups: ArrayLike, shares: np.ndarray, random_state: int, kept: np.ndarray | None = None
) -> np.ndarray:
    """The number of each row's part; `kept` has it for rows that keep theirs, and -1 for all others."""
    labels = np.asarray(y)
    labels = labels[:, None] if labels.ndim == 1 else labels
    if labels.ndim != 2 or not np.isin(labels, (-1, 0, 1)).all():
        raise ThoraxError("The labels of a split are not a matrix of 0, 1 and -1: convert them first.")
    rows, parts, array = len(labels), len(shares), np.asarray(groups)
    if array.shape != (rows,):
        raise ThoraxError(f"A split of {rows} rows needs {rows} groups, but their shape is {array.shape}: give one per row.")
    if pd.isna(array).any():
        raise ThoraxError(f"Row {int(pd.isna(array).argmax())} of a split has no group: fill it in or leave the row out.")
    columns = np.column_stack([np.ones(rows, np.int64), labels == 1])
    assigned = np.full(rows, -1) if kept is None else kept.copy()
    free = assigned == -1
    if straddling := set(array[free]) & set(array[~free]):
        raise ThoraxError(f"Group {min(straddling)!r} has rows that keep their part and others: give all of them the same.")
    held = np.stack([columns[assigned == part].sum(axis=0) for part in range(parts)])
    empty = np.flatnonzero(held[:, 0] == 0)
    ids, group_of_row = np.unique(array[free], return_inverse=True)
    if len(ids) < len(empty):
        what = f"{len(ids)} patient(s) cannot be split into {len(empty)} {'' if free.all() else 'empty '}parts"
        raise ThoraxError(f"{what}: use a data set with more patients.")
    counts = np.zeros((len(ids), columns.shape[1]), np.int64)
    np.add.at(counts, group_of_row, columns[free])
    if len(ids):
        assigned[free] = _deal(counts, held, empty, shares, random_state)[group_of_row]
    return assigned


def _deal(counts: np.ndarray, held: np.ndarray, empty: np.ndarray, shares: np.ndarray, random_state: int) -> np.ndarray:
    """The part of each group: (groups, columns) counts of the groups, (parts, columns) of what the parts hold, those without any."""
    parts = len(shares)
    # Groups with equal counts are of one kind
    random = np.random.default_rng(random_state)
    kinds, kind_of_group = np.unique(counts, axis=0, return_inverse=True)
    kind_of_group = kind_of_group.ravel()
    start = np.concatenate([empty, random.choice(parts, size=len(counts) - len(empty), p=shares / shares.sum())])
    dealt = np.zeros((len(kinds), parts), np.int64)
    np.add.at(dealt, (kind_of_group, random.permutation(start)), 1)
    dealt = _Search(kinds, dealt, held, shares, random).run()
    shuffled = random.permutation(len(counts))
    of_kind = shuffled[np.argsort(kind_of_group[shuffled], kind="stable")]  # groups by kind, at random within each
    part = np.empty(len(counts), np.int64)
    part[of_kind] = np.repeat(np.tile(np.arange(parts), len(kinds)), dealt.ravel())
    return part


class _Search:
    """Local search over how many groups of each kind each part has: `dealt`, (kinds, parts).

    `kinds` are the (kinds, columns) counts of one group of each kind, `held` the (parts, columns) counts of groups that stay where
    they are, `shares` those of the parts in the images.
    """

    def __init__(
        self, kinds: np.ndarray, dealt: np.ndarray, held: np.ndarray, shares: np.ndarray, random: np.random.Generator
    ) -> None:
        self.kinds = kinds.astype(np.float64)
        self._weigh(np.ones(kinds.shape[1]))
        self.dealt = dealt.copy()
        self.random = random
        self.moves = list(permutations(range(len(shares)), 2))  # from part, to part
        self.pairs = list(combinations(range(len(shares)), 2))
        millionths = np.round(shares * _IMAGE)
        millionths[0] = _IMAGE - millionths[1:].sum()
        counts = self.dealt.T @ self.kinds + held
        self.fewest = np.where(held[:, 0] > 0, 0, 1)  # groups that each part has to be dealt: none may run empty
        self.deviation = _IMAGE * counts - millionths[:, None] * counts.sum(axis=0)  # (parts, columns)

    def run(self) -> np.ndarray:
        """Descend again and again until all counts are within one image of the quota; return `dealt`.

        Between two descents a few patients are moved at random, from the best state so far. Where that is not enough, the labels that
        are off count for more in each descent that follows.
        """
        best = (np.inf, np.inf)
        for number in range(_ROUNDS):
            while self._move_one() or self._swap_two():
                pass
            score = (int((np.abs(self.deviation) > _IMAGE).sum()), float((self.deviation**2).sum()))
            if score < best:
                best, dealt, deviation = score, self.dealt.copy(), self.deviation.copy()
            if best[0] == 0:
                break
            if number <= _KICKED:
                self.dealt, self.deviation = dealt.copy(), deviation.copy()
            if number < _KICKED:
                for _ in range(_KICK):
                    source, target = self.random.permutation(self.dealt.shape[1])[:2]
                    if self.dealt[:, source].sum() > self.fewest[source]:
                        self._move(self.random.choice(np.flatnonzero(self.dealt[:, source])), source, target)
            else:
                self._weigh(self.weights + (np.abs(self.deviation) > _IMAGE).any(axis=0))
        return dealt

    def _weigh(self, weights: np.ndarray) -> None:
        """Give every column its (columns,) weight in the sum of squares: whole numbers, so that products stay exact."""
        self.weights = weights
        self.weighted = self.kinds * weights
        self.norms = _IMAGE * (self.kinds * self.weighted).sum(axis=1)

    def _move_one(self) -> bool:
        """Make the single move that lowers the sum of squares most; return False if none does."""
        # |d_a - u|^2 + |d_b + u|^2 - |d_a|^2 - |d_b|^2 = 2 (u.(d_b - d_a) + u.u), for u groups going from a to b; all weighted
        projected = self.weighted @ self.deviation.T
        best = (0.0, 0, 0, 0)
        for source, target in self.moves:
            if self.dealt[:, source].sum() <= self.fewest[source]:
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
        for first, second in self.random.permutation(self.pairs).tolist():
            here, there = self._candidates(first), self._candidates(second)
            if not (len(here) and len(there)):
                continue
            towards = self.deviation[second] - self.deviation[first]
            leave, come = self.weighted[here], self.weighted[there]
            change = (leave @ towards + self.norms[here])[:, None] + (self.norms[there] - come @ towards)[None, :]
            change -= 2 * _IMAGE * (leave @ self.kinds[there].T)
            row, column = np.unravel_index(change.argmin(), change.shape)
            if change[row, column] < 0:
                self._move(int(here[row]), first, second)
                self._move(int(there[column]), second, first)
                return True
        return False

    def _candidates(self, part: int) -> np.ndarray:
        present = np.flatnonzero(self.dealt[:, part])
        return present if len(present) <= _CANDIDATES else self.random.choice(present, _CANDIDATES, replace=False)

    def _move(self, kind: int, source: int, target: int) -> None:
        self.dealt[kind, source] -= 1
        self.dealt[kind, target] += 1
        self.deviation[source] -= _IMAGE * self.kinds[kind]
        self.deviation[target] += _IMAGE * self.kinds[kind]
