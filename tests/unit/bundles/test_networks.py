"""Networks as bundles store them: the same predictions from layers as JSON and plain weights, and nothing else in them."""

import json

import numpy as np
import pytest

from tests.unit.bundles.small import network, weights_of
from thorax import backend
from thorax.bundles import networks
from thorax.errors import ThoraxError


def rebuilt(model, precision: str = "float32", bits: int | None = None):
    stored = networks.pack(weights_of(model), precision, bits)
    assert len(stored) == networks.stored_bytes(model, precision)
    return networks.build(networks.describe(model).encode(), stored, precision, "test")


@pytest.mark.parametrize(("views", "settings"), [(1, {}), (1, {"head": "attention", "freeze": 0.5}), (2, {"channels": 1})])
def test_a_network_at_float32_predicts_the_same_bits(views, settings):
    model, images = network(views=views, **settings)
    again = rebuilt(model)
    np.testing.assert_array_equal(again.predict_on_batch(images), model.predict_on_batch(images))
    assert again.name == model.name


@pytest.mark.parametrize("limit", [0, 10**9])
def test_a_network_may_have_large_arrays_only_or_none(limit, monkeypatch):
    monkeypatch.setattr(networks, "LARGE", limit)
    model, images = network()
    np.testing.assert_array_equal(rebuilt(model).predict_on_batch(images), model.predict_on_batch(images))


def test_float16_changes_large_arrays_only_and_by_half_a_unit_of_the_last_place_at_most():
    model, _ = network()
    large = 0
    for before, after in zip(weights_of(model), weights_of(rebuilt(model, "float16")), strict=True):
        if before.size >= networks.LARGE:
            large += 1
            np.testing.assert_array_equal(after, before.astype(np.float16).astype(np.float32))
            assert np.abs(after - before).max() <= np.abs(before).max() * 2.0**-11
        else:
            np.testing.assert_array_equal(after, before)
    assert large


def test_fewer_bits_are_rounded_to_the_nearest(monkeypatch):
    monkeypatch.setattr(networks, "LARGE", 2)
    kernel = np.array([[1.0, 1 + 2**-8, 1 + 2**-9, -1 - 2**-9, 1 + 2**-10, 65504, 0.0]], np.float32)
    stored = networks.pack([kernel], "float16", 8)
    low, high = stored[: kernel.size], stored[kernel.size :]
    found = np.frombuffer(bytes(byte for pair in zip(low, high, strict=True) for byte in pair), "<f2")
    assert found.tolist() == [1.0, 1 + 2**-8, 1 + 2**-8, -1 - 2**-8, 1.0, np.inf, 0.0]


def test_a_network_of_half_precision_computes_in_float32():
    import keras

    model, images = network()
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        half, _ = network()
        half.set_weights(weights_of(model))
        graph = networks.describe(half)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    again = networks.build(graph.encode(), networks.pack(weights_of(model), "float32"), "float32", "test")
    np.testing.assert_array_equal(again.predict_on_batch(images), model.predict_on_batch(images))


def test_weights_that_do_not_fit_are_refused_before_memory_is_taken():
    model, _ = network()
    graph = json.loads(networks.describe(model))
    hidden = next(layer for layer in graph["config"]["layers"] if layer["config"].get("name") == "hidden")
    hidden["config"]["units"] = 10**12  # 100 TB
    with pytest.raises(ThoraxError, match="the weights do not fit the layers"):
        networks.build(json.dumps(graph).encode(), networks.pack(weights_of(model), "float32"), "float32", "test")


def hostile(change) -> bytes:
    model, _ = network()
    graph = json.loads(networks.describe(model))
    change(graph, graph["config"]["layers"][-1])
    return json.dumps(graph).encode()


def to_lambda(graph, layer):
    layer |= {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"function": {"class_name": "__lambda__", "config": {"code": "4w=="}}},
    }


def to_module(graph, layer):
    layer |= {"module": "os", "class_name": "system", "config": "true"}


def to_function(graph, layer):
    layer["config"]["activation"] = {
        "module": "builtins",
        "class_name": "function",
        "config": "eval",
        "registered_name": "function",
    }


def to_custom(graph, layer):
    layer["registered_name"] = "package>Dense"


def to_utility(graph, layer):
    layer |= {"module": "keras.utils", "class_name": "get_file", "config": {"origin": "http://localhost/x"}}


def to_no_module(graph, layer):
    del layer["module"]


def to_compiled(graph, layer):
    graph["compile_config"] = {"optimizer": "adam"}


def to_list_as_name(graph, layer):
    layer["class_name"] = ["Dense"]


def to_sequence(graph, layer):
    graph["class_name"] = "Sequential"
    graph["module"] = "keras"


@pytest.mark.parametrize(
    "change",
    [to_lambda, to_module, to_function, to_custom, to_utility, to_no_module, to_compiled, to_list_as_name, to_sequence],
    ids=lambda change: change.__name__,
)
def test_a_graph_with_anything_else_is_refused_before_keras_sees_it(change, monkeypatch):
    import keras

    graph = hostile(change)
    monkeypatch.setattr(keras.saving, "deserialize_keras_object", lambda *_, **__: pytest.fail("Keras was given it"))
    with pytest.raises(ThoraxError, match="do not use it"):
        networks.build(graph, b"", "float32", "test")


@pytest.mark.parametrize("graph", [b"", b"[]", b"{", b"[" * 100_000, b"\xff", b'{"class_name": "Functional"}'])
def test_what_is_no_graph_at_all_is_refused(graph):
    backend.prepare(0, 1)
    with pytest.raises(ThoraxError, match="do not use it"):
        networks.build(graph, b"", "float32", "test")


def test_a_graph_that_keras_cannot_build_is_one_sentence():
    def change(graph, layer):
        layer["config"]["units"] = -1

    with pytest.raises(ThoraxError, match="is not a network that can be built"):
        networks.build(hostile(change), b"", "float32", "test")
