"""A bundle's model at work: from radiographs to probabilities, decisions and the agreement of its networks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np

from thorax import backend
from thorax.bundles import flags, reference
from thorax.bundles.bundle import Bundle
from thorax.bundles.contents import DO_NOT_USE
from thorax.bundles.radiographs import Preprocessing, Radiograph
from thorax.errors import ThoraxError
from thorax.evaluation import calibration, decisions
from thorax.evaluation.metrics import sigmoid
from thorax.images.segmenter import Lungs
from thorax.models.predict import explainer


@dataclass(frozen=True)
class Answer:
    """What the model says of one image; k classes."""

    radiograph: Radiograph
    lungs: Lungs | None  # None if the networks see whole images
    flags: list[str]  # of `flags.ALL`
    each: np.ndarray  # (members, k) probabilities
    probabilities: np.ndarray  # (k,) of the model
    calibrated: np.ndarray  # (k,) after Platt scaling, nan for classes without it
    decided: np.ndarray  # (k,) bool
    agreement: np.ndarray  # (k,) share of the networks that decide as the model does; nan of a single network
    maps: list[np.ndarray] = field(default_factory=list)  # of each network, (k, h, w); empty if they were not asked for


class BundledModel:
    """The networks of a bundle, ready to answer; `with_maps`, heatmaps are made as well.

    For a few images, the networks are better not `compiled`, which takes longer than it saves. The numbers are the same on a CPU.
    """

    def __init__(self, bundle: Bundle, with_maps: bool = False, compiled: bool = True) -> None:
        self.contents = bundle.contents
        second = self.contents.second_dataset
        if second and (any(map(flags.is_lateral, self.contents.dataset.views)) or not all(map(flags.is_lateral, second.views))):
            problem = f"The networks of {bundle.path} see two images of each study that are not a frontal and a lateral one"
            raise ThoraxError(f"{problem}, and only such pairs can be predicted: name another bundle.")
        if self.contents.reference is not None and not reference.is_valid(self.contents.reference):
            raise ThoraxError(f"{bundle.path}: the summary of the training images in its manifest is not valid: {DO_NOT_USE}.")
        self.bundle, self.with_maps, self.compiled = bundle, with_maps, compiled

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """What makes an image of a file."""
        return Preprocessing(self.contents.dataset, self.contents.image_set, self.bundle.segmenter())

    @cached_property
    def second_preprocessing(self) -> Preprocessing | None:
        """What makes the second image of a study, which is a lateral view and has no segmented lungs; None for one view."""
        dataset, image_set = self.contents.second_dataset, self.contents.second_image_set
        return Preprocessing(dataset, image_set, None) if dataset and image_set else None

    @cached_property
    def runs(self) -> list[Callable[[np.ndarray], Sequence[np.ndarray]]]:
        """Of each network, a function from images (n, size, size, views) to logits and, if asked for, maps."""
        networks = [self.bundle.network(name) for name in self.contents.members]
        if self.with_maps:
            return [explainer(network) for network in networks]
        return [partial(_logits, network, compiled=self.compiled) for network in networks]

    def load(self) -> None:
        """Load all networks now, rather than with the first answer, and check the files that none of them needs."""
        self.preprocessing, self.runs  # noqa: B018  # both are kept
        self.bundle.check()

    def answer(self, radiographs: Sequence[Radiograph], filled_to: int) -> list[Answer]:
        """Answer some images, or pairs of images. They are filled up with copies to one number, so that networks are compiled once.

        Raises ThoraxError for an image without the second one that the networks need.
        """
        if alone := [one.name for one in radiographs if self.second_preprocessing and one.second is None]:
            problem = f"{alone[0]}: the networks of {self.bundle.path} see two images of each study"
            raise ThoraxError(f"{problem}: find the pairs with thorax.bundles.pairs.find.")
        seen, lungs = self.preprocessing.see(radiographs)
        marked = flags.of_images(radiographs, lungs, seen, self.contents.reference, self.contents.dataset.views)
        places = np.minimum(np.arange(max(filled_to, len(seen))), len(seen) - 1)
        views = [seen]
        if self.second_preprocessing:
            views.append(self.second_preprocessing.see([one.second for one in radiographs if one.second])[0])
        pixels = np.stack([view[places] for view in views], axis=-1)
        outputs = [run(pixels) for run in self.runs]
        logits = np.stack([np.asarray(output[0], np.float32)[: len(seen)] for output in outputs])
        each, of_model, calibrated, decided, agreement = self.judge(logits)
        return [
            Answer(
                one, lungs[n] if lungs else None, marked[n], each[:, n], of_model[n], calibrated[n], decided[n], agreement[n],
                [output[1][n] for output in outputs] if self.with_maps else [],
            )
            for n, one in enumerate(radiographs)
        ]  # fmt: skip

    def judge(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """From (members, n, k) logits to each network's probabilities, the model's, calibrated ones, decisions and agreement.

        A network decides by the thresholds of the model. All but the first are (n, k).
        """
        each = sigmoid(logits)
        of_model = self.contents.scores(logits)
        calibrated = np.full(of_model.shape, np.nan, np.float32)
        for name, (slope, intercept) in self.contents.scaling.items():
            place = self.contents.classes.index(name)
            calibrated[:, place] = calibration.Scaling(slope, intercept).apply(of_model[:, place])
        decided = self._decide(of_model)
        same = np.mean([self._decide(of_member) == decided for of_member in each], axis=0).astype(np.float32)
        return each, of_model, calibrated, decided, same if len(each) > 1 else np.full_like(same, np.nan)

    def _decide(self, probabilities: np.ndarray) -> np.ndarray:
        contents = self.contents
        limits = [contents.thresholds[contents.rule][name] for name in contents.classes]
        exclusive = None if contents.exclusive is None else contents.classes.index(contents.exclusive)
        return decisions.decide(probabilities, limits, exclusive)


def _logits(network: backend.Model, pixels: np.ndarray, compiled: bool) -> tuple[np.ndarray]:
    return (network.predict_on_batch(pixels) if compiled else np.asarray(network(pixels, training=False)),)
