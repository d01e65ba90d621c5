"""The true lungs of a phantom's images."""

import cv2
import numpy as np

from thorax import config, phantom
from thorax.phantom import render


def true_lung_mask(settings: config.Phantom, image_id: str, archive: str = "padchest") -> np.ndarray:
    """The true lungs of a frontal image at its stored size, (rows, columns) bool."""
    form = phantom.find_form(archive)
    (picture,) = (one for one in form.pictures(settings) if one.image_id == image_id and one.view != "L")
    rows, columns = form.shape(settings, picture)
    lungs = render.lung_mask(settings, picture)
    if lungs.shape == (rows, columns):
        return lungs
    return cv2.resize(lungs.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA) >= 0.5
