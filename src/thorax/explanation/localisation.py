"""Do heatmaps show where the finding is? Scores against boxes, for maps of networks and for maps that need none.

All maps are compared on a grid of `GRID` x `GRID` cells over the whole original. A map is enlarged to the part that the networks saw,
as in the figures (`overlays.to_original`), and is 0 elsewhere.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from thorax.evaluation import bootstrap
from thorax.evaluation.differences import same_sign
from thorax.evaluation.metrics import GLOBAL, row_name
from thorax.explanation.cases import maps_of, read_seen
from thorax.explanation.overlays import scale_maps
from thorax.images import decoding
from thorax.storage import joins, store
from thorax.storage.joins import Source
from thorax.storage.progress import progress
from thorax.storage.schemas import LOCALISATION, class_columns

GRID = 48
HOTTEST = 0.1  # the share of the image that `area` looks at
LEVELS = np.arange(1, 10) / 10  # thresholds that `iou` chooses from, as shares of a map's maximum
MEAN, MEAN_BOX, RANDOM = "mean of networks", "mean box", "random"
CENTRE, LUNGS, UNTRAINED = "centre", "lung mask", "untrained network"
CENTRE_WIDTH = 0.25  # standard deviation of the map `CENTRE`, as a share of the image's side
SCORES = ("pointing", "area", "iou", "energy", "lungs")
_AT_ONCE = 256  # boxed findings


@dataclass(frozen=True)
class Targets:
    """Findings with boxes: n pairs of an image and a class, those of an image next to each other."""

    table: pd.DataFrame  # image_id, patient_id, split, label (the class), column (its number)
    boxes: list[np.ndarray]  # of each pair (m, 4): x, y, width, height as fractions of the original

    def select(self, chosen: np.ndarray) -> "Targets":
        """Some of the pairs, by a mask."""
        table = self.table[chosen].reset_index(drop=True)
        return Targets(table, [box for box, kept in zip(self.boxes, chosen, strict=True) if kept])

    def covered(self, start: int, stop: int) -> np.ndarray:
        """What the boxes of some pairs cover, (n, GRID, GRID) bool."""
        return np.stack([cover(boxes) for boxes in self.boxes[start:stop]])


def read_targets(labels: Path, split: Path, boxes: Path) -> Targets:
    """The boxes of the label set's classes in the images of train, val and test, whatever the labels say of them."""
    truth = joins.read_labels(labels, split, ("train", "val", "test"))
    classes = class_columns(truth)
    table = store.read_table(boxes)
    table = table[table["label"].isin(classes)].merge(truth[["image_id", "patient_id", "split"]], on="image_id")
    grouped = table.groupby(["image_id", "patient_id", "split", "label"], sort=True)[["x", "y", "width", "height"]]
    pairs = [(*key, classes.index(key[-1])) for key, _ in grouped]
    frame = pd.DataFrame(pairs, columns=["image_id", "patient_id", "split", "label", "column"])
    return Targets(frame, [of_pair.to_numpy() for _, of_pair in grouped])


def cover(boxes: np.ndarray) -> np.ndarray:
    """The cells whose centre is in one of (m, 4) boxes (x, y, width, height), (GRID, GRID) bool; of each box at least one."""
    covered = np.zeros((GRID, GRID), bool)
    for x, y, width, height in boxes:
        rows, columns = (_cells(low, low + length) for low, length in ((y, height), (x, width)))
        covered[rows, columns] = True
    return covered


def _cells(low: float, high: float) -> slice:
    first, last = round(low * GRID), round(high * GRID)
    if first >= last:
        first = min(int((low + high) / 2 * GRID), GRID - 1)
    return slice(first, max(last, first + 1))


def place(maps: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Enlarge (n, h, w) maps of the parts `seen` (n, 4: left, top, right, bottom as fractions) to (n, GRID, GRID) float32."""
    down, across = (_weights(seen[:, [axis, axis + 2]], maps.shape[-2 + (1 - axis)]) for axis in (1, 0))
    return down @ maps.astype(np.float32) @ across.swapaxes(1, 2)


def _weights(edges: np.ndarray, cells: int) -> np.ndarray:
    """Linear interpolation along one axis, (n, GRID, cells) float32: zero outside the edges, constant from the last centre on."""
    centres = (np.arange(GRID) + 0.5) / GRID
    low, high = edges[:, :1], edges[:, 1:]
    inside = (centres >= low) & (centres < high)
    positions = np.clip((centres - low) / (high - low) * cells - 0.5, 0, cells - 1)
    distance = np.abs(positions[..., None] - np.arange(cells))
    return (np.maximum(1 - distance, 0) * inside[..., None]).astype(np.float32)


def score(placed: np.ndarray, covered: np.ndarray, level: np.typing.ArrayLike, lungs: np.ndarray | None = None) -> np.ndarray:
    """Score n maps (n, GRID, GRID), not negative, against what boxes cover, bool of the same shape: (n, len(SCORES)).

    - pointing: 1 if the hottest cell is in a box (pointing game, Zhang et al. 2016, arXiv 1608.00507, without their tolerance of
      15 pixels); where several cells are equally hot, the share of them that is.
    - area: the share of the boxes that the hottest tenth of the image covers.
    - iou: intersection over union of the boxes and the cells of at least `level`, (n,) or one, times the maximum.
    - energy: the share of the map's sum that is in the boxes (Wang et al. 2020, arXiv 1910.01279, section 4.3).
    - lungs: the share of the map's sum that is in the lungs, (n, GRID, GRID) shares of each cell; nan without them.

    Dividing a map by a number changes no score. A map that is 0 everywhere, or does not vary, counts as one that is hot everywhere.
    """
    values = placed.reshape(len(placed), -1)
    values = np.where(values.max(axis=1, keepdims=True) > 0, values, 1)
    boxes = covered.reshape(len(covered), -1)
    highest = values.max(axis=1, keepdims=True)
    hottest, hot = values == highest, values >= np.reshape(level, (-1, 1)) * highest
    total, size = values.sum(axis=1), boxes.sum(axis=1)
    found = [
        (hottest & boxes).sum(axis=1) / hottest.sum(axis=1),
        _in_hottest(values, boxes) / size,
        (hot & boxes).sum(axis=1) / (hot | boxes).sum(axis=1),
        (values * boxes).sum(axis=1) / total,
        np.full(len(values), np.nan) if lungs is None else (values * lungs.reshape(values.shape)).sum(axis=1) / total,
    ]
    return np.stack(found, axis=1)


def _in_hottest(values: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """How many box cells are among the hottest tenth; cells as hot as the last of them count in part, so that it is a tenth."""
    wanted = round(HOTTEST * values.shape[1])
    limit = np.partition(values, -wanted, axis=1)[:, -wanted, None]
    above, tied = values > limit, values == limit
    share = (wanted - above.sum(axis=1)) / tied.sum(axis=1)
    return (above & boxes).sum(axis=1) + share * (tied & boxes).sum(axis=1)


@dataclass(frozen=True)
class Sources:
    """Where the maps of images come from."""

    networks: Mapping[str, np.ndarray]  # by name, (images, classes, h, w)
    row_of: Mapping[str, int]  # the row of each image in these arrays
    seen: Mapping[str, np.ndarray]  # the part of each image that the networks saw
    lungs: Callable[[Sequence[str]], np.ndarray] | None  # the lung masks of images, (n, GRID, GRID) shares
    mean_boxes: np.ndarray  # (classes, GRID, GRID): how often a training box of the class covers a cell
    seed: int

    def maps(self, targets: Targets, start: int, stop: int) -> Iterator[tuple[str, np.ndarray]]:
        """Every kind of map of some pairs, by name: (n, GRID, GRID)."""
        rows = targets.table.iloc[start:stop]
        ids, columns = rows["image_id"].tolist(), rows["column"].to_numpy()
        seen = np.stack([self.seen[image] for image in ids])
        placed = {}
        image_rows = [self.row_of[image] for image in ids]
        for name, array in self.networks.items():
            placed[name] = place(scale_maps(array[image_rows, columns]), seen)
        fine = [placed[name] for name, array in self.networks.items() if array[0, 0].size > 1 and name != UNTRAINED]
        if fine:
            yield MEAN, np.mean(fine, axis=0)
        yield from placed.items()
        yield MEAN_BOX, self.mean_boxes[columns]
        if self.lungs:
            yield LUNGS, self.lungs(ids)
        cells = np.arange(GRID) - (GRID - 1) / 2
        centred = np.exp(-((cells / GRID / CENTRE_WIDTH) ** 2) / 2).astype(np.float32)
        yield CENTRE, np.broadcast_to(np.outer(centred, centred), (len(ids), GRID, GRID))
        noise = np.random.default_rng([self.seed, start]).random((len(ids), *next(iter(self.networks.values())).shape[2:]))
        yield RANDOM, place(noise, seen)


def measure(targets: Targets, sources: Sources) -> pd.DataFrame:
    """Score every map of every pair: rows of image_id, patient_id, label, map and `SCORES`, for the images of test.

    The threshold of `iou` is the one of `LEVELS` with the largest mean over the validation pairs of the same map and class; of all
    classes where the class has none, and 0.5 where no pair is in validation.
    """
    validation, test = (targets.select((targets.table["split"] == part).to_numpy()) for part in ("val", "test"))
    tuned = _tune(validation, sources)
    found = []
    for start, stop in _blocks(test, "heatmaps: test"):
        rows, covered = test.table.iloc[start:stop], test.covered(start, stop)
        lungs = sources.lungs(rows["image_id"].tolist()) if sources.lungs else None
        for name, maps in sources.maps(test, start, stop):
            levels = [tuned.get((name, label), tuned.get((name, None), 0.5)) for label in rows["label"]]
            scored = pd.DataFrame(score(maps, covered, levels, lungs), columns=list(SCORES), index=rows.index)
            found.append(pd.concat([rows[["image_id", "patient_id", "label"]].assign(map=name), scored], axis=1))
    columns = ["image_id", "patient_id", "label", "map", *SCORES]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)


def _tune(validation: Targets, sources: Sources) -> dict[tuple[str, str | None], float]:
    """The best threshold of `iou` by map and class, and by map alone (class None)."""
    found: dict[str, list[np.ndarray]] = {}
    for start, stop in _blocks(validation, "heatmaps: validation"):
        covered = validation.covered(start, stop)
        for name, maps in sources.maps(validation, start, stop):
            by_level = [score(maps, covered, level)[:, SCORES.index("iou")] for level in LEVELS]
            found.setdefault(name, []).append(np.stack(by_level, axis=1))
    tuned: dict[tuple[str, str | None], float] = {}
    labels = validation.table["label"].to_numpy()
    for name, blocks in found.items():
        overlaps = np.concatenate(blocks)
        for label in (None, *np.unique(labels)):
            chosen = overlaps if label is None else overlaps[labels == label]
            tuned[name, label] = float(LEVELS[chosen.mean(axis=0).argmax()])
    return tuned


def _blocks(targets: Targets, name: str) -> Iterator[tuple[int, int]]:
    starts = list(progress(range(0, len(targets.table), _AT_ONCE), name, unit="block"))
    return ((start, min(start + _AT_ONCE, len(targets.table))) for start in starts)


def summarise(scored: pd.DataFrame, replicates: int, seed: int, reference: str = MEAN_BOX) -> pd.DataFrame:
    """Mean scores by map and class with 95% intervals of a bootstrap over patients, and their differences from those of `reference`.

    `scored` has the rows of `measure`. "Global" is the mean over the classes with boxes, of those that a replicate has. Both
    sides of a difference are measured on the same replicates. Returns rows with the columns of `schemas.LOCALISATION`.
    """
    maps = list(scored["map"].unique())
    classes = sorted(scored["label"].unique())
    if not classes:
        return pd.DataFrame(columns=LOCALISATION.names)
    identifiers, patients = np.unique(scored.loc[scored["map"] == maps[0], "patient_id"], return_inverse=True)
    pairs = scored[scored["map"] == maps[0]]
    labels = pairs["label"].to_numpy()
    values = np.stack([scored.loc[scored["map"] == name, list(SCORES)].to_numpy(float) for name in maps], axis=1)
    flat = values.reshape(len(pairs), -1)  # (pairs, maps * scores)

    rows_of = [np.flatnonzero(labels == name) for name in classes]

    def means(weights: np.ndarray) -> np.ndarray:
        """(samples, classes + 1, maps * scores) from (patients, samples) weights."""
        of_pairs = weights[patients].astype(float)
        with np.errstate(invalid="ignore"):
            by_class = [(of_pairs[rows].T @ flat[rows]) / of_pairs[rows].sum(axis=0)[:, None] for rows in rows_of]
            stacked = np.stack(by_class, axis=1)
            defined = np.isfinite(stacked)
            overall = np.where(defined, stacked, 0).sum(axis=1) / defined.sum(axis=1)
        return np.concatenate([stacked, overall[:, None]], axis=1)

    shape = (-1, len(classes) + 1, len(maps), len(SCORES))
    point = means(np.ones((len(identifiers), 1))).reshape(shape)[0]
    blocks = [means(weights) for weights in bootstrap.resample(len(identifiers), replicates, seed, len(pairs))]
    samples = np.concatenate(blocks).reshape(shape)
    first = maps.index(reference)
    differences, of_samples = point - point[:, [first]], samples - samples[:, :, [first]]
    rows = []
    for number, name in enumerate([*map(row_name, classes), GLOBAL]):
        chosen = slice(None) if name == GLOBAL else labels == classes[number]
        counts = (int(np.size(labels[chosen])), len(set(patients[chosen])))
        for place_, kind in enumerate(maps):
            limits = bootstrap.intervals(samples[:, number, place_]).T
            apart = bootstrap.intervals(of_samples[:, number, place_]).T
            signs = same_sign(differences[number, place_], of_samples[:, number, place_])
            for column, scored_by in enumerate(SCORES):
                numbers = (point[number, place_, column], *limits[column], differences[number, place_, column], *apart[column])
                rows.append((kind, name, scored_by, *numbers, signs[column], *counts))
    return pd.DataFrame(rows, columns=LOCALISATION.names)


def masks_of(
    masks: Sequence[Source], ids: pd.Series, ingested: Source, wanted_by: Source
) -> Callable[[Sequence[str]], np.ndarray]:
    """A function that reads the lung masks of some of these images: (n, GRID, GRID), the share of each cell inside the lungs."""
    packed = store.PackedImages(masks)
    rows = joins.rows_of(store.read_table(ingested, ["image_id", "shard", "row"]), ids, ingested, wanted_by)
    places = dict(zip(ids, zip(rows["shard"], rows["row"], strict=True), strict=True))
    return lambda wanted: np.stack([decoding.resize(packed[places[image]].astype(np.float32), GRID, GRID) for image in wanted])


def measure_heatmaps(
    labels: Path, split: Path, boxes: Path, predictions: Mapping[str, Path], heatmaps: Mapping[str, Path], ingested: Path, out: Path,
    findings: Path, seed: int, replicates: int, lungs: Sequence[Path] | None = None, masks: Sequence[Path] | None = None,
    untrained: Path | None = None,
) -> None:  # fmt: skip
    """Score the heatmaps of networks against boxes and write the rows of `schemas.LOCALISATION`, and those of each finding.

    `heatmaps` are those of `predict-parts`, in the order of `predictions`. `lungs` and `masks` are the tables of crop boxes and the masks
    of all shards; without them, the networks saw the whole image. `untrained` are the maps of a network with random weights, in the
    order of the first network's predictions.
    """
    targets = read_targets(labels, split, boxes)
    ids = targets.table.loc[targets.table["split"] != "train", "image_id"].drop_duplicates()
    train = targets.select((targets.table["split"] == "train").to_numpy())
    sources_of = {name: (path, predictions[name]) for name, path in heatmaps.items()}
    if untrained:
        sources_of[UNTRAINED] = (untrained, next(iter(predictions.values())))
    networks = {name: maps_of(path, predicted, ids, boxes) for name, (path, predicted) in sources_of.items()}
    seen = dict(zip(ids, read_seen(ids, lungs, boxes), strict=True))
    lung_masks = masks_of(masks, ids, ingested, boxes) if masks else None
    columns = len(class_columns(store.read_table(labels)))
    mean_boxes = np.zeros((columns, GRID, GRID), np.float32)
    for column, drawn in zip(train.table["column"], train.boxes, strict=True):
        mean_boxes[column] += cover(drawn)
    sources = Sources(networks, {image: row for row, image in enumerate(ids)}, seen, lung_masks, mean_boxes, seed)
    scored = measure(targets, sources)
    with store.atomic(findings) as new_findings:
        scored.to_parquet(new_findings, index=False)
        store.write_table(summarise(scored, replicates, seed), out, LOCALISATION)
