"""New radiographs as a bundle's networks see them: read, packed and cropped by the functions that the workflow calls."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from thorax import backend
from thorax.bundles.contents import Reading
from thorax.bundles.inputs import Listed
from thorax.config import ImageSet
from thorax.errors import ThoraxError
from thorax.images import crops, decoding, ingest, segmenter
from thorax.images.formats import Header, UnusableImage
from thorax.images.mask_pairs import FRONTAL_VIEWS
from thorax.images.segmenter import Lungs

WHY = {  # a file cannot be used, by the reason of ingest
    "missing": "the file is not there",
    "empty": "the file is empty",
    "truncated": "the file is cut or damaged",
    "not_image": "it is not a PNG, JPEG, TIFF or DICOM image",
    "constant": "all its pixels have the same value",
    "too_large": "it has more pixels than max_pixels of the data set that the networks were trained on",
}
_THUMBNAIL = 64  # pixels of the picture in which colours are looked for
_TINTED = 0.1  # difference of the channels, as a share of the range, that is a colour
_COLOURED = 0.05  # share of the pixels that make a colour photograph; small coloured marks do not


@dataclass(frozen=True)
class Radiograph:
    """A file that was read."""

    name: str  # its path as the user gave it
    image: np.ndarray  # (512, 512) uint8, as ingested
    low: int  # the file's smallest and largest grey value
    high: int
    header: Header
    in_colour: bool  # more than small marks
    second: "Radiograph | None" = None  # the second image of the study, for networks of two views

    @property
    def views(self) -> "list[Radiograph]":
        """All images of the study that networks see."""
        return [self] if self.second is None else [self, self.second]

    @property
    def original(self) -> np.ndarray:
        """The ingested image in the aspect of its file."""
        return decoding.restore_aspect(self.image, self.header.rows, self.header.columns)


@dataclass(frozen=True)
class Skipped:
    """A file that cannot be used, and the end of a sentence on why; nothing in it is from a DICOM header."""

    name: str
    why: str

    @property
    def sentence(self) -> str:
        """What is printed."""
        return f"{self.name} is skipped: {self.why}."


def why_unusable(unusable: UnusableImage) -> str:
    """The end of a sentence on a file that cannot be used."""
    return unusable.detail or WHY.get(unusable.reason, unusable.reason)


def read(listed: Listed, dataset: Reading, second_dataset: Reading | None = None) -> Radiograph | Skipped:
    """Read one file as ingest reads the files of the data set that the networks were trained on; of a pair, both."""
    first = _read_one(listed, dataset)
    if listed.second is None or isinstance(first, Skipped):
        return first
    second = _read_one(listed.second, second_dataset or dataset)
    if isinstance(second, Skipped):
        return Skipped(listed.name, f"its partner {second.name} cannot be used, because {second.why}")
    return replace(first, second=second)


def _read_one(listed: Listed, dataset: Reading) -> Radiograph | Skipped:
    try:
        data = ingest.read_once(listed.path, dataset.max_pixels)
        pixels, header, _ = ingest.decode(data, dataset.max_pixels, dataset.dicom_window)
        image, low, high = ingest.pack(pixels)
        if image is None:
            raise UnusableImage("constant", header)
    except UnusableImage as unusable:
        return Skipped(listed.name, why_unusable(unusable))
    except ThoraxError as error:  # it may not be read, or its disk fails
        return Skipped(listed.name, str(error).rstrip("."))
    return Radiograph(listed.name, image, low, high, header, is_coloured(pixels))


def is_coloured(pixels: np.ndarray) -> bool:
    """Whether an image of `decoding.decode` has colours, and not only small marks: a photograph or a screenshot."""
    if pixels.ndim == 2 or pixels.shape[2] < 3:
        return False
    small = cv2.resize(pixels[..., :3], (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA).astype(np.float32)
    return bool((np.ptp(small, axis=2) > _TINTED * max(float(small.max()), 1.0)).mean() > _COLOURED)


@dataclass(frozen=True)
class Preprocessing:
    """From ingested images to what networks see. Every image counts as frontal if the networks were trained on frontal ones."""

    dataset: Reading
    image_set: ImageSet
    network: backend.Model | None  # the segmenter; None if networks see whole images

    def see(self, radiographs: Sequence[Radiograph]) -> tuple[np.ndarray, list[Lungs] | None]:
        """The images that networks see, (n, size, size) uint8, or uint16 of stored values; and the lungs, if looked for."""
        lungs = self._lungs(radiographs)
        boxes = [decoding.WHOLE] * len(radiographs) if lungs is None else [found.box for found in lungs]
        seen = [
            crops.training_image(self.image_set, one.image, box, one.low, one.high)
            for one, box in zip(radiographs, boxes, strict=True)
        ]
        return np.stack(seen), lungs

    def _lungs(self, radiographs: Sequence[Radiograph]) -> list[Lungs] | None:
        if self.image_set.crop == "none" or not set(self.dataset.views) & set(FRONTAL_VIEWS):
            return None
        masks = segmenter.predict_masks(self.network, np.stack([one.image for one in radiographs]))
        return [segmenter.lungs_in(mask) for mask in masks]
