"""How many bits a network needs: the fewest with which its probabilities stay what they are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from thorax import backend
from thorax.bundles.networks import build, describe, fill, pack
from thorax.errors import ThoraxError
from thorax.evaluation.metrics import sigmoid
from thorax.models.batches import LabelledImages, predict_logits
from thorax.storage import store

TOLERANCE = 1e-3  # largest change of a probability by what is stored
# How kernels may be stored, the smallest first: float16 with fewer bits of its fraction is smaller once it is compressed
FORMS = (("float16", 8), ("float16", 10), ("float32", 23))
EXACT = FORMS[-1]
SAMPLE = 64  # images on which the change is measured
_BATCH = 32
_FAR = 0.1  # a difference from the workflow's probabilities that no device explains


def sampled(part: LabelledImages, count: int = SAMPLE) -> LabelledImages:
    """Some images of a part, evenly spread over it; all if there are no more."""
    chosen = np.unique(np.linspace(0, len(part) - 1, count).round().astype(int))
    second = part.second and replace(part.second, shards=part.second.shards[chosen], rows=part.second.rows[chosen])
    return replace(part.select(chosen), second=second)


def store_network(
    path: Path, sample: LabelledImages, predictions: Path, threads: int = 1
) -> tuple[dict[str, Any], bytes, bytes]:
    """Return the fields of `contents.StoredNetwork` of a trained network, its graph, and its weights.

    Its probabilities of the sample, in float32, are compared with those of the stored weights, and with the workflow's `predictions`
    (logits), which another device or half precision may have computed.
    """
    trained = backend.load_network(path)
    graph, weights = describe(trained).encode(), [weight.numpy() for weight in trained.weights]
    whole = pack(weights, *EXACT)
    model = build(graph, whole, EXACT[0], str(path))

    def probabilities() -> np.ndarray:
        return sigmoid(predict_logits(model, sample, _BATCH, threads, f"{path.stem}: stored"))

    expected, stored, difference = probabilities(), whole, 0.0
    precision, bits = EXACT
    for precision, bits in FORMS:
        stored = pack(weights, precision, bits)
        fill(model, stored, precision)
        difference = float(np.abs(probabilities() - expected).max())
        if difference <= TOLERANCE:  # not if it is nan
            break
    from_workflow = _difference_from(predictions, sample, expected)
    if not from_workflow <= _FAR:
        problem = f"{path} gives other probabilities than {predictions}, by {from_workflow:.2g}"
        raise ThoraxError(f"{problem}: they are of different trainings or images, so predict again.")
    fields = {"precision": precision, "fraction_bits": bits, "images": len(sample), "difference": difference}
    return fields | {"workflow_difference": from_workflow}, graph, stored


def store_exactly(path: Path) -> tuple[dict[str, Any], bytes, bytes]:
    """The same of a network that is small: all bits, and no comparison."""
    trained = backend.load_network(path)
    fields = {"precision": EXACT[0], "fraction_bits": EXACT[1], "images": 0, "difference": 0.0}
    return fields, describe(trained).encode(), pack([weight.numpy() for weight in trained.weights], *EXACT)


def _difference_from(predictions: Path, sample: LabelledImages, expected: np.ndarray) -> float:
    table = store.read_table(predictions).set_index("image_id")
    logits = table.reindex(sample.image_ids)[sample.classes].to_numpy(np.float64)
    return float(np.abs(sigmoid(logits) - expected).max())
