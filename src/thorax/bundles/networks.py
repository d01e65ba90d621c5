"""Networks as a bundle stores them: the graph of layers as JSON, and the weights as plain numbers. Neither can hold code.

Keras's own file format is a zip with an HDF5 file inside, always at float32. Here every part of the graph must be one of the layers
that this package's networks consist of, so that nothing else is ever looked up by name, and Keras's safe mode is on besides.
"""

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from thorax.backend import Model
from thorax.bundles.contents import DO_NOT_USE
from thorax.errors import ThoraxError

PRECISIONS: dict[str, np.dtype] = {"float16": np.dtype("<f2"), "float32": np.dtype("<f4")}
FRACTION_BITS = {"float16": 10, "float32": 23}  # of a number of each type
_PLACES = {"class_name", "module", "registered_name"}

# Parts of a graph, by the module that Keras names: those of `models.network` and `images.segmenter`
KNOWN: dict[str, set[str]] = {
    "keras": {"DTypePolicy", "Sequential"},
    "keras.initializers": {"GlorotUniform", "HeNormal", "Ones", "VarianceScaling", "Zeros"},
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
    """Return the graph of an uncompiled network as JSON, with all computations in float32, also if it was trained in half precision."""
    import keras

    graph = keras.saving.serialize_keras_object(model)
    for part in _parts(graph):
        part.pop("compile_config", None)
        part.pop("build_config", None)
        if part.get("class_name") == "DTypePolicy":
            part["config"] = {"name": "float32"}
    text = json.dumps(graph, sort_keys=True, separators=(",", ":"))
    _check(json.loads(text), model.name)
    return text


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


def _kernels(model: Model) -> list[bool]:
    """Of each weight, whether it is a kernel, which may be stored in half precision."""
    return [len(weight.shape) > 1 for weight in model.weights]


def stored_bytes(model: Model, precision: str) -> int:
    """The length of a network's stored weights."""
    sizes = [math.prod(weight.shape) for weight in model.weights]
    return sum(
        size * (PRECISIONS[precision].itemsize if kernel else 4) for size, kernel in zip(sizes, _kernels(model), strict=True)
    )


def pack(weights: Sequence[np.ndarray], precision: str, fraction_bits: int | None = None) -> bytes:
    """Return a network's weights, in its own order, as numbers without any header.

    First come all kernels (arrays of two dimensions or more) as one series of little-endian numbers, which is written byte by byte:
    the lowest byte of every number, then the next; so it can be compressed. Then come all other weights, as float32. A number too
    large for float16 becomes infinite. With fewer `fraction_bits` than the type has, the others are rounded to 0.
    """
    kernels = [array.ravel() for array in weights if array.ndim > 1]
    others = [array.ravel() for array in weights if array.ndim <= 1]
    with np.errstate(over="ignore"):
        series = np.concatenate([np.zeros(0, np.float32), *kernels]).astype(PRECISIONS[precision])
    series = _rounded(series, FRACTION_BITS[precision] - (fraction_bits or FRACTION_BITS[precision]))
    planes = series.view(np.uint8).reshape(len(series), -1).T
    return planes.tobytes() + np.concatenate([np.zeros(0, np.float32), *others]).astype("<f4").tobytes()


def _rounded(series: np.ndarray, dropped: int) -> np.ndarray:
    """Round to the nearest number whose last `dropped` bits are 0; ties go away from zero."""
    if not dropped:
        return series
    whole = series.view(f"<u{series.dtype.itemsize}")
    return ((whole + whole.dtype.type(1 << (dropped - 1))) >> dropped << dropped).view(series.dtype)


def unpack(model: Model, stored: bytes, precision: str) -> Iterator[np.ndarray]:
    """The float32 arrays of all weights of a network, in its own order, from what `pack` returned."""
    dtype = PRECISIONS[precision]
    shapes, kernels = [tuple(weight.shape) for weight in model.weights], _kernels(model)
    count = sum(math.prod(shape) for shape, kernel in zip(shapes, kernels, strict=True) if kernel)
    planes = np.frombuffer(stored, np.uint8, count * dtype.itemsize).reshape(dtype.itemsize, count)
    series = {True: np.ascontiguousarray(planes.T).view(dtype).ravel(), False: np.frombuffer(stored, "<f4", offset=planes.size)}
    places = {True: 0, False: 0}
    for shape, kernel in zip(shapes, kernels, strict=True):
        size, first = math.prod(shape), places[kernel]
        places[kernel] += size
        yield series[kernel][first : first + size].reshape(shape).astype(np.float32)
