"""Networks as a bundle stores them: the graph of layers as JSON, and the weights as plain numbers. Neither can hold code.

Keras's own file format is a zip with an HDF5 file inside, always at float32. Here every part of the graph must be one of the layers
that this package's networks consist of, so that nothing else is ever looked up by name, and Keras's safe mode is on besides.
"""

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from thorax.backend import Model, uncollected
from thorax.bundles.contents import DO_NOT_USE
from thorax.errors import ThoraxError

PRECISIONS: dict[str, np.dtype] = {"float16": np.dtype("<f2"), "float32": np.dtype("<f4")}
FRACTION_BITS = {"float16": 10, "float32": 23}  # of a number of each type
# Smaller arrays are always stored as float32: they are few, and networks depend on those of the first layers, which have wide sums behind
# them, far more than on others (docs/how-to/models.md)
LARGE = 20_000
_PLACES = {"class_name", "module", "registered_name"}

# Parts of a graph, by the module that Keras names: those of `models.network` and `images.segmenter`
KNOWN: dict[str, set[str]] = {
    "keras": {"DTypePolicy", "Sequential"},
    "keras.initializers": {"Zeros"},
    "keras.layers": {
        "Activation", "Add", "Average", "AveragePooling2D", "BatchNormalization", "Concatenate", "Conv2D", "Dense",
        "DepthwiseConv2D", "Dot", "Dropout", "GlobalAveragePooling2D", "GroupNormalization", "InputLayer", "LayerNormalization",
        "MaxPooling2D", "Multiply", "Normalization", "ReLU", "Rescaling", "Reshape", "SeparableConv2D", "Softmax", "UpSampling2D",
        "ZeroPadding2D",
    },
    "keras.src.applications.convnext": {"LayerScale"},
    "keras.src.applications.inception_resnet_v2": {"CustomScaleLayer"},
    "keras.src.models.functional": {"Functional"},
    "keras.src.ops.numpy": {"Add", "Split"},
}  # fmt: skip
_TENSOR = "__keras_tensor__"  # an edge of the graph


def describe(model: Model) -> str:
    """Return the graph of a network as JSON, without what is needed to train it only.

    All computations are in float32, also if it was trained in half precision.
    """
    import keras

    graph = keras.saving.serialize_keras_object(model)
    for part in _parts(graph):
        part.pop("compile_config", None)
        part.pop("build_config", None)
        if part.get("class_name") == "DTypePolicy":
            part["config"] = {"name": "float32"}
        if part.get("module") == "keras.initializers":  # drawing random numbers that are overwritten takes time
            part |= {"class_name": "Zeros", "config": {}}
    text = json.dumps(graph, sort_keys=True, separators=(",", ":"))
    _check(json.loads(text), model.name)
    return text


@uncollected()
def build(graph: bytes, weights: bytes, precision: str, source: str) -> Model:
    """Build a network from its graph (see `describe`) and its weights (see `pack`).

    Raises ThoraxError, naming the `source`, if the graph has a part that is not among the `KNOWN` ones, cannot be built, or does not
    fit the weights. Memory is taken only after that is known.
    """
    import keras

    try:
        parts = json.loads(graph.decode("utf-8"))
        _check(parts, source)
        with keras.StatelessScope() as scope:  # weights get their memory at its end
            try:
                model = keras.saving.deserialize_keras_object(parts, safe_mode=True)
                expected = stored_bytes(model, precision)
            except BaseException:
                scope.initialize_variables = False
                raise
            scope.initialize_variables = expected == len(weights)
        if expected != len(weights):
            keras.utils.clear_session()  # forgets variables without memory
            raise ThoraxError(f"{source}: the weights do not fit the layers: {DO_NOT_USE}.")
    except ThoraxError:
        raise
    except Exception as error:  # Keras checks little before it builds
        keras.utils.clear_session()
        raise ThoraxError(f"{source} is not a network that can be built ({type(error).__name__}): {DO_NOT_USE}.") from error
    fill(model, weights, precision)
    return model


def fill(model: Model, weights: bytes, precision: str) -> None:
    """Give a network its weights (see `pack`), which must fit it."""
    for variable, values in zip(model.weights, unpack(model, weights, precision), strict=True):
        variable.assign(values)


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    """Every dictionary inside a value."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _check(graph: Any, source: str) -> None:
    """Refuse a graph with anything that is not a part of a network as this package builds them."""
    if not isinstance(graph, dict) or graph.get("class_name") != "Functional":
        raise ThoraxError(f"{source} is not the graph of a network: {DO_NOT_USE}.")
    for part in _parts(graph):
        if part.get("compile_config") is not None:
            raise ThoraxError(f"{source} says how to train, which no bundle needs: {DO_NOT_USE}.")
        if not _PLACES & set(part):
            continue
        module, name, registered = part.get("module"), part.get("class_name"), part.get("registered_name")
        known = isinstance(name, str) and name in KNOWN.get(module if isinstance(module, str) else "", ())
        if not (known and registered in (None, name)) and (module, name, registered) != (None, _TENSOR, None):
            what = f"{module}.{name}" if registered in (None, name) else f"{module}.{name} as {registered}"
            raise ThoraxError(f"{source} has a part that no network of thorax has ({what[:100]}): {DO_NOT_USE}.")


def _large(model: Model) -> list[bool]:
    """Of each weight, whether it is an array of at least `LARGE` numbers, which may be stored in half precision."""
    return [math.prod(weight.shape) >= LARGE for weight in model.weights]


def stored_bytes(model: Model, precision: str) -> int:
    """The length of a network's stored weights."""
    sizes = [math.prod(weight.shape) for weight in model.weights]
    return sum(
        size * (PRECISIONS[precision].itemsize if large else 4) for size, large in zip(sizes, _large(model), strict=True)
    )


def pack(weights: Sequence[np.ndarray], precision: str, fraction_bits: int | None = None) -> bytes:
    """Return a network's weights, in its own order, as numbers without any header.

    First come all arrays of at least `LARGE` numbers as one series of little-endian numbers, which is written byte by byte: the lowest
    byte of every number, then the next; so it can be compressed. Then come all other weights, as float32. A number too large for float16
    becomes infinite. Numbers are rounded to `fraction_bits`, in one step: rounding float16 again would make all of them larger.
    """
    large = [array.ravel() for array in weights if array.size >= LARGE]
    others = [array.ravel() for array in weights if array.size < LARGE]
    series = np.concatenate([np.zeros(0, np.float32), *large]).astype("<f4")
    if fraction_bits not in (None, FRACTION_BITS[precision]):
        series = _rounded(series, fraction_bits)
    with np.errstate(over="ignore"):
        series = series.astype(PRECISIONS[precision])
    planes = series.view(np.uint8).reshape(len(series), series.itemsize).T
    return planes.tobytes() + np.concatenate([np.zeros(0, np.float32), *others]).astype("<f4").tobytes()


def _rounded(series: np.ndarray, bits: int) -> np.ndarray:
    """Round float32 to the nearest number with `bits` of a fraction; ties go away from zero, and are rare among float32."""
    dropped = FRACTION_BITS["float32"] - bits
    whole = series.view("<u4")
    return ((whole + np.uint32(1 << (dropped - 1))) >> dropped << dropped).view("<f4")


def unpack(model: Model, stored: bytes, precision: str) -> Iterator[np.ndarray]:
    """The float32 arrays of all weights of a network, in its own order, from what `pack` returned."""
    dtype = PRECISIONS[precision]
    shapes, large = [tuple(weight.shape) for weight in model.weights], _large(model)
    count = sum(math.prod(shape) for shape, is_large in zip(shapes, large, strict=True) if is_large)
    planes = np.frombuffer(stored, np.uint8, count * dtype.itemsize).reshape(dtype.itemsize, count)
    series = {True: np.ascontiguousarray(planes.T).view(dtype).ravel(), False: np.frombuffer(stored, "<f4", offset=planes.size)}
    places = {True: 0, False: 0}
    for shape, is_large in zip(shapes, large, strict=True):
        size, first = math.prod(shape), places[is_large]
        places[is_large] += size
        yield series[is_large][first : first + size].reshape(shape).astype(np.float32)
