"""The manifest of a bundle: its files with their digests, and what the model needs to read an image and to decide."""

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from thorax.config import Ensemble, ImageSet, parse
from thorax.config.block import Block
from thorax.config.values import Name, Seed, ThresholdRule
from thorax.errors import ThoraxError
from thorax.evaluation.ensembles import scores_of
from thorax.evaluation.metrics import sigmoid

MANIFEST = "manifest.json"
CARD, DATA_SHEET = "model_card.md", "data_sheet.md"
SEGMENTER = "segmenter"
FORMAT = "thorax bundle"
VERSION = 1  # of the format; a program refuses bundles of a later one
DO_NOT_USE = "do not use it, and get it again from its makers"
LARGEST_SIDE = 4096  # pixels of a network's input

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)?$", max_length=200)]


class File(Block):
    """A file of the bundle."""

    bytes: int = Field(ge=0, description="length")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="digest")


class Reading(Block):
    """How an image file becomes grey: the settings of the data set that matter for it."""

    archive: Literal["padchest", "nih", "chexpert", "own"]
    """archive of the training images"""
    views: list[str] = Field(min_length=1, description="views that the model learnt from, as this archive names them")
    dicom_window: Literal["lut", "window", "none"] = Field(description="see `config.Dataset`")
    max_pixels: int = Field(ge=1, description="largest number of pixels of an image")


class StoredNetwork(Block):
    """How a network is stored, and how far its probabilities are from those of the trained network."""

    precision: Literal["float16", "float32"]
    """type of the stored large arrays; all other weights, and all computations, are float32"""
    fraction_bits: int = Field(ge=1, le=23, description="bits of their numbers' fraction that are not 0")
    images: int = Field(ge=0, description="validation images that the differences were measured on")
    difference: float = Field(ge=0, le=1)
    """largest difference of a probability (of a lung mask: of a pixel) from the network as it was trained, in float32"""
    workflow_difference: float | None = Field(None, ge=0, le=1)
    """the same from the probabilities that the workflow computed, perhaps on another device; null: not compared"""


class Member(StoredNetwork):
    """One network of the model."""

    backbone: str
    seed: Seed
    trained: dict[str, Any] = Field({}, description="what the training recorded: device, epochs, versions")


class Segmenter(StoredNetwork):
    """The lung segmenter whose masks the images are cropped by."""

    size: int = Field(ge=32, le=LARGEST_SIDE, description="width and height of its input in pixels")


class Contents(Block):
    """What the model is and what it needs."""

    experiment: Name
    title: str
    model: str = Field(description="name of the ensemble, or of the single network")
    networks: dict[Name, Member] = Field(min_length=1, description="the networks, in the ensemble's order")
    classes: tuple[str, ...] = Field(min_length=1, description="in the order of the networks' outputs")
    terms: dict[str, list[str]] = Field(description="labels of the archive that each class stands for")
    dataset: Reading
    image_set: ImageSet
    second_dataset: Reading | None = Field(None, description="of the second image of each study; null: one view")
    second_image_set: ImageSet | None = None
    segmenter: Segmenter | None = Field(None, description="null: images are not cropped")
    ensemble: Ensemble | None = Field(None, description="null: a single network")
    learnt: dict[str, list[list[float | None]]] = Field(
        {}, description="see `ensembles.LEARNING`; empty for rules that learn nothing"
    )
    rule: ThresholdRule = Field(description="threshold rule that decides")
    thresholds: dict[ThresholdRule, dict[str, float]]
    """by rule and class; a score above it is a yes"""
    exclusive: str | None = Field(None, description="class that excludes all others, see `decisions.decide`")
    scaling: dict[str, tuple[float, float]]
    """Platt scaling, slope and intercept by class (see `calibration.Scaling`); the probabilities of classes without it stay as they are"""
    reference: dict[str, Any] | None = Field(None, description="summary of the training images, to recognise unlike ones")
    provenance: Literal["full", "sample", "phantom"]
    versions: dict[str, str] = Field(description="versions of what the networks were trained with and of what wrote the bundle")
    seeds: dict[str, int] = Field(description="random seeds of the split and the experiment")
    split: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="see `patients.digest_of_split`; null: not recorded")

    @property
    def members(self) -> tuple[str, ...]:
        """The networks' names, in the ensemble's order."""
        return tuple(self.networks)

    @property
    def views(self) -> int:
        """The number of images that a network sees at once."""
        return 2 if self.second_image_set else 1

    def scores(self, logits: np.ndarray) -> np.ndarray:
        """Return the model's (n, classes) float32 scores for the (members, n, classes) logits of its networks."""
        if self.ensemble is None:
            return sigmoid(logits[0]).astype(np.float32)
        learnt = {name: np.array(values, np.float64) for name, values in self.learnt.items()}  # null becomes nan
        return scores_of(self.ensemble, learnt, logits)

    @model_validator(mode="after")
    def _learnt_what_its_rule_needs(self) -> "Contents":
        rule = self.ensemble.rule if self.ensemble else ""
        rows = {
            "weighted_average": {"weights": len(self.networks)},
            "stacked": {"coefficients": len(self.networks), "intercepts": 1},
        }
        found = {name: len(values) for name, values in self.learnt.items()}
        if found != rows.get(rule, {}) or any(
            len(row) != len(self.classes) for values in self.learnt.values() for row in values
        ):
            raise ValueError("learnt does not fit the ensemble's rule, its members and the classes")
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> "Contents":
        named: dict[str, Iterable[str]] = {"terms": self.terms, "scaling": self.scaling}
        named |= {f"thresholds.{rule}": limits for rule, limits in self.thresholds.items()}
        for key, by_class in named.items():
            if unknown := set(by_class) - set(self.classes):
                raise ValueError(f"{key} has {sorted(unknown)[0]!r}, which is not a class")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("a class is named twice")
        if lacking := [rule for rule, limits in self.thresholds.items() if set(limits) != set(self.classes)]:
            raise ValueError(f"thresholds.{lacking[0]} lacks a class")
        if self.rule not in self.thresholds:
            raise ValueError(f"there are no thresholds of its rule {self.rule}")
        if self.exclusive is not None and self.exclusive not in self.classes:
            raise ValueError(f"exclusive: {self.exclusive!r} is not a class")
        if self.ensemble and tuple(self.ensemble.members) != self.members:
            raise ValueError("the ensemble has other members than the networks")
        if not self.ensemble and self.members != (self.model,):
            raise ValueError("without an ensemble it has one network, the model")
        if (self.image_set.crop == "lungs") != (self.segmenter is not None):
            raise ValueError("crop: lungs and segmenter go together")
        if (self.second_dataset is None) != (self.second_image_set is None):
            raise ValueError("second_dataset and second_image_set go together")
        first, second = (
            self.image_set,
            self.second_image_set,
        )  # crop: lungs leaves lateral images whole, so the second may have it
        if second and (first.size, first.intensity) != (second.size, second.intensity):
            raise ValueError("second_image_set has another size or intensity than image_set")
        if self.image_set.size > LARGEST_SIDE:
            raise ValueError(f"image_set.size is above {LARGEST_SIDE}")
        return self


class Manifest(Block):
    """All of the manifest: the format and its version, every other file of the bundle, and the contents."""

    format: Literal["thorax bundle"] = "thorax bundle"
    version: Literal[1] = 1
    files: dict[FileName, File]
    contents: Contents


def parse_manifest(text: bytes, source: str) -> Manifest:
    """Parse a manifest strictly; a ThoraxError names the source (a bundle), the first wrong key and its fault."""
    try:
        values = json.loads(text.decode("utf-8"), object_pairs_hook=_without_repeats, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ThoraxError(f"{source}: {MANIFEST} is not valid JSON ({_short(error)}): {DO_NOT_USE}.") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise ThoraxError(f"{source} is not a bundle of thorax: name a file that `thorax bundle` wrote.")
    version = values.get("version")
    if isinstance(version, int) and version > VERSION:
        problem = f"{source} has version {version} of the format, and this program reads version {VERSION}"
        raise ThoraxError(f"{problem}: install a newer thorax.")
    return parse(Manifest, values, f"{source}, {MANIFEST}")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is written twice")
    return found


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _short(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
