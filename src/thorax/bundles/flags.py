"""What is unusual about an image, so that nobody takes its predictions as those of a radiograph like the training images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from thorax.bundles import reference
from thorax.bundles.radiographs import Radiograph
from thorax.images.segmenter import Lungs

NO_LUNGS = "no credible lungs"  # the segmenter found none, so the networks saw the whole image
LATERAL = "lateral view"
NOT_A_RADIOGRAPH = "not a radiograph?"  # or one that is turned or inverted
COLOURED = "colour photograph"
UNLIKE = "unlike the training images"
BURNED_IN = "text in the picture"  # a DICOM header says so; such pictures are never drawn
_LATERAL_VIEWS = ("L", "RL")  # how archives' names of lateral views begin
ALL = (NO_LUNGS, LATERAL, NOT_A_RADIOGRAPH, COLOURED, UNLIKE, BURNED_IN)


def is_lateral(view: str) -> bool:
    """Whether an archive's name of a view is that of a lateral one."""
    return view.upper().startswith(_LATERAL_VIEWS)


def of_images(
    radiographs: Sequence[Radiograph],
    lungs: Sequence[Lungs] | None,
    seen: np.ndarray,
    known: Mapping[str, Any] | None,
    views: Sequence[str],
) -> list[list[str]]:
    """The flags of each image.

    `seen` is what networks see of it, `known` the bundle's summary of the training images; without it, only lungs, colours and
    DICOM headers are looked at; of a second view, only colours and text in the picture. Networks that learnt from lateral `views` expect them.
    """
    nothing = np.zeros(len(seen), bool)
    looks = reference.Looks(nothing.astype(float), nothing, nothing) if known is None else reference.look(known, seen)
    unlike = looks.distances > 1
    credible = np.array([lungs is None or lungs[number].credible for number in range(len(seen))])
    coloured = np.array([any(view.in_colour for view in one.views) for one in radiographs])
    says_lateral = np.array([one.header.lateral for one in radiographs])
    expected = np.array(any(map(is_lateral, views)))
    foreign = (looks.distances > reference.FAR) | (unlike & (looks.foreign | coloured))
    says = {
        NO_LUNGS: ~credible,
        LATERAL: (says_lateral | (looks.lateral & ~foreign & ~coloured)) & ~expected,
        NOT_A_RADIOGRAPH: foreign,
        COLOURED: coloured,
        UNLIKE: unlike,
        BURNED_IN: np.array([any(view.header.burned_in for view in one.views) for one in radiographs]),
    }
    return [[flag for flag in ALL if says[flag][number]] for number in range(len(seen))]
