"""The chosen cases: radiographs, the maps and votes of an ensemble's members, and the truth (Liz et al. 2022, section 3.5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from thorax.errors import ThoraxError
from thorax.evaluation import calibration
from thorax.evaluation.metrics import sigmoid
from thorax.explanation.overlays import scale_maps, to_original
from thorax.images import decoding
from thorax.storage import joins, store
from thorax.storage.joins import Source
from thorax.storage.schemas import class_columns

Paths = Sequence[Source]  # files of a data set, one per shard, in the order of the shards
THRESHOLD = 0.5  # a model votes for a class above this probability, as in the metrics and ensembles
MOST_PREDICTED, MOST_SHOWN = 4, 5  # classes drawn per case: predicted ones, and those with the true ones that were missed
FEWEST_CELLS = 25  # of a map that can locate anything: 5 x 5
Original = tuple[np.ndarray, decoding.Box]  # a radiograph (h, w) uint8 in its true aspect, and the part that the networks saw


@dataclass(frozen=True)
class Case:
    """One radiograph and what the models say about it."""

    image_id: str
    chosen_for: str  # the class
    original: np.ndarray  # (h, w) uint8, in its true aspect
    box: decoding.Box  # the part that the networks saw
    classes: Sequence[str]  # k names
    maps: Sequence[np.ndarray]  # of each member, (k, h', w') Grad-CAM, not negative
    each: np.ndarray  # (members, k) probabilities
    probabilities: np.ndarray  # (k,) of the ensemble
    truth: np.ndarray  # (k,) 1, 0 or -1 (not judged)
    truth_boxes: pd.DataFrame  # label, x, y, width, height as fractions of the original
    # (k,) probabilities after Platt scaling, nan where none was fitted; None: not asked for
    calibrated: np.ndarray | None = None

    def printed(self, index: int) -> str:
        """The probability of a class, as it is in titles."""
        raw = f"{self.probabilities[index]:.3f}"
        if self.calibrated is None:
            return raw
        value = self.calibrated[index]
        return f"{value:.3f} calibrated" if np.isfinite(value) else f"{raw} not calibrated"

    @property
    def votes(self) -> np.ndarray:
        """Which member says yes to which class, (members, k) bool."""
        return self.each > THRESHOLD

    def shown(self) -> list[int]:
        """The classes to draw, most probable first: predicted ones, or else the most probable, and true ones that were missed."""
        order = np.argsort(-self.probabilities, kind="stable").tolist()
        predicted = [index for index in order if self.probabilities[index] > THRESHOLD][:MOST_PREDICTED] or order[:1]
        missed = [index for index in order if self.truth[index] == 1 and index not in predicted]
        return sorted((predicted + missed)[:MOST_SHOWN], key=order.index)

    def verdict(self, index: int) -> str:
        """What the ensemble's answer for a class is, by the labels: found, missed, false alarm, rightly no, or label unknown."""
        if self.truth[index] < 0:
            return "label unknown"
        predicted = self.probabilities[index] > THRESHOLD
        return ("found" if predicted else "missed") if self.truth[index] else "false alarm" if predicted else "rightly no"

    def hidden(self) -> list[str]:
        """Sentences on true and predicted classes that are not drawn."""
        rest = [index for index in range(len(self.classes)) if index not in self.shown()]
        counts = {"true": (self.truth[rest] == 1).sum(), "predicted": (self.probabilities[rest] > THRESHOLD).sum()}
        return [f"Not drawn: {n} {kind} {'class' if n == 1 else 'classes'}." for kind, n in counts.items() if n]

    def heat(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation over the members of one class's maps, each (h, w) in the original's pixels, 0 to 1.

        Every map is divided by its maximum first. Members with maps of a single cell cannot localise and are left out.
        """
        localised = [maps[index] for maps in self.maps if maps[index].size > 1] or [np.zeros((1, 1), np.float32)]
        placed = np.stack([to_original(scale_maps(heat), self.box, *self.original.shape) for heat in localised])
        return placed.mean(axis=0), placed.std(axis=0)


def load_cases(
    cases: Source,
    heatmaps: Mapping[str, Source],
    predictions: Mapping[str, Source],
    ensemble: Source | None,
    labels: Source,
    boxes: Source,
    ingested: Source,
    arrays: Paths,
    lungs: Paths | None,
    scaling: Source | None = None,
    model: str | None = None,
    rows: slice = slice(None),
) -> list[Case]:
    """Collect everything that is drawn for the chosen cases, and refuse files of different members, cases or classes.

    Each member has a table of logits, and heatmaps (images, classes, h, w) float32 in the order of its rows. `ensemble` is the table
    of the members' mean probabilities (CTP); None computes it. `lungs` are tables of crop boxes; None if the networks saw the whole image.
    `scaling` (`schemas.SCALINGS`) has that of the ensemble, which is called `model`, or of the only member; None: raw probabilities.
    `rows` are those of the chosen cases to collect.
    """
    chosen = store.read_table(cases)[rows].reset_index(drop=True)
    ids = chosen["image_id"]
    truth = joins.rows_of(store.read_table(labels), ids, labels, cases)
    classes = class_columns(truth)
    refuse_other_members(heatmaps, predictions)
    maps = {name: maps_of(heatmaps[name], path, ids, cases) for name, path in predictions.items()}
    for name, array in maps.items():
        if array.shape[1] != len(classes):
            problem = f"{heatmaps[name]} has maps of {array.shape[1]} classes, but {labels} has {len(classes)}"
            raise ThoraxError(f"{problem}: delete and remake it.")

    def scores(path: Source) -> np.ndarray:
        return joins.rows_of(store.read_table(path), ids, path, cases)[classes].to_numpy()

    each = np.stack([sigmoid(scores(path)) for path in predictions.values()])
    probabilities = each.mean(axis=0) if ensemble is None else scores(ensemble)
    if not np.allclose(probabilities, each.mean(axis=0), atol=1e-3):
        problem = f"{ensemble} is not the mean of {', '.join(predictions)}"
        raise ThoraxError(f"{problem}: name the members of this ensemble, so that maps and votes are theirs.")
    calibrated = None
    if scaling is not None:
        fitted = calibration.read_scaling(scaling, model or next(iter(predictions)))
        calibrated = calibration.platt(probabilities, classes, fitted)
    originals = load_originals(ids, ingested, arrays, lungs)
    truth_boxes = store.read_table(boxes)
    return [
        Case(
            image_id=case.image_id,
            chosen_for=case.chosen_for,
            original=original,
            box=box,
            classes=classes,
            maps=[member[index] for member in maps.values()],
            each=each[:, index],
            probabilities=probabilities[index],
            truth=truth[classes].to_numpy()[index],
            truth_boxes=truth_boxes[truth_boxes["image_id"] == case.image_id],
            calibrated=None if calibrated is None else calibrated[index],
        )
        for index, (case, (original, box)) in enumerate(zip(chosen.itertuples(), originals, strict=True))
    ]


def maps_of(path: Source, predictions: Source, ids: pd.Series, wanted_by: Source) -> np.ndarray:
    """The maps or weights of some images, in their order, from an array with one entry for each row of a table of predictions."""
    array, places = open_maps(path, predictions, ids, wanted_by)
    return array[places]


def open_maps(path: Source, predictions: Source, ids: pd.Series, wanted_by: Source) -> tuple[np.ndarray, np.ndarray]:
    """The array of `maps_of`, memory-mapped, and the place of each image in it (n,)."""
    array, predicted = store.open_array(path), store.read_table(predictions, ["image_id"])
    if len(array) != len(predicted):
        problem = f"{path} has {len(array):,} entries, but {predictions} has {len(predicted):,} rows"
        raise ThoraxError(f"{problem}: delete and remake both.")
    return array, joins.places_of(predicted, ids, predictions, wanted_by)


def refuse_other_members(heatmaps: Mapping[str, Source], predictions: Mapping[str, Source]) -> None:
    """Refuse heatmaps and predictions that are not of the same members in the same order."""
    if list(heatmaps) != list(predictions):
        names = f"Heatmaps are of {', '.join(heatmaps)}, predictions of {', '.join(predictions)}"
        raise ThoraxError(f"{names}: name the same members.")


def read_seen(ids: pd.Series, lungs: Paths | None, wanted_by: Source) -> np.ndarray:
    """The part of each image that the networks saw, (n, 4): left, top, right, bottom as fractions; the whole image without `lungs`."""
    if not lungs:
        return np.tile(np.array(decoding.WHOLE, float), (len(ids), 1))
    crops = pd.concat([store.read_table(path) for path in lungs], ignore_index=True)
    return joins.rows_of(crops, ids, lungs[0], wanted_by)[["x0", "y0", "x1", "y1"]].to_numpy(float)


def load_originals(ids: pd.Series, ingested: Source, arrays: Paths, lungs: Paths | None) -> list[Original]:
    """Radiographs and the part of each that the networks saw; see `load_cases`."""
    packed = store.PackedImages(arrays)
    sizes = joins.rows_of(store.read_table(ingested), ids, ingested, "the cases")
    originals = [decoding.restore_aspect(packed[size.shard, size.row], size.rows, size.columns) for size in sizes.itertuples()]
    seen = read_seen(ids, lungs, "the cases").tolist()
    return list(zip(originals, map(tuple, seen), strict=True))


def remarks(cases: Sequence[Case], members: Sequence[str], ensemble: str | None, wanted: Sequence[str]) -> list[str]:
    """Sentences above the heatmaps of a page: which networks these are, and which of the wanted classes no test image has.

    `ensemble` names the members' mean whose probabilities are shown; None if the experiment has no such ensemble.
    """
    mean = f"{ensemble}, the mean of " if ensemble else "the mean of " if len(members) > 1 else ""
    said = [f"Maps, probabilities and votes are those of {mean}{', '.join(members)}."] if cases else []
    if cases and cases[0].calibrated is not None:
        said.append(
            "Probabilities are after Platt scaling on the validation images; votes and answers follow those before, at 0.5."
        )
    coarse = [name for number, name in enumerate(members) if cases and cases[0].maps[number][0].size < FEWEST_CELLS]
    if coarse:
        which = "All maps" if len(coarse) == len(members) else f"The maps of {', '.join(coarse)}"
        said.append(f"{which} have fewer than {FEWEST_CELLS} cells: too coarse to locate anything.")
    absent = [name for name in wanted if all(case.truth[list(case.classes).index(name)] != 1 for case in cases)]
    return said + [f"No test image has the class {name}, so it is not shown." for name in absent]
