"""Starting a training from another trained network: which weights are taken over, and what is refused."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from tests.unit.models.test_fit import SETTINGS, SIZE, write_problem
from thorax.backend import load_network
from thorax.config import Training
from thorax.errors import ThoraxError
from thorax.models import pretrained
from thorax.models.network import build_model
from thorax.storage import schemas, store

START = {"experiment": "large", "member": "m"}
ADAPTED = {**SETTINGS, "weights": START, "seed": 7, "epochs": 1}
FORMS = {
    "plain": ({}, 1),
    "attention": ({"head": "attention"}, 1),
    "two views": ({}, 2),
    "no hidden layer, one channel": ({"dense_units": 0, "channels": 1}, 1),
    "input statistics": ({"backbone": "EfficientNetB0"}, 1),
}


def network(seed: int, classes: int, views: int = 1, size: int = 32, **changes):
    import keras

    keras.utils.set_random_seed(seed)
    settings = Training(**{**SETTINGS, **changes})
    model = build_model(settings, size, classes, None, views).model
    random = np.random.default_rng(seed)  # also moving statistics and biases, which begin equal in all networks
    for layer in pretrained.leaves(model.layers):
        layer.set_weights(
            [value + random.uniform(0.1, 0.2, np.shape(value)).astype("float32") for value in layer.get_weights()]
        )
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            layer.finalize_state()
    return model


@pytest.mark.parametrize("form", FORMS)
def test_all_but_the_last_layer_is_taken_over_and_computes_the_same(form):
    import keras

    changes, views = FORMS[form]
    trained, mine = network(1, 3, views, **changes), network(2, 2, views, **changes)
    before = mine.get_layer("logits").get_weights()
    assert not pretrained.adopt(mine, trained, ["b", "x"], ["a", "b", "c"], "large.keras")
    for old, new in zip(before, mine.get_layer("logits").get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, views)).astype(np.uint8)
    below = [keras.Model(each.inputs, each.get_layer("logits").input).predict_on_batch(pixels) for each in (trained, mine)]
    np.testing.assert_array_equal(*below)


def test_with_the_same_classes_in_any_order_the_last_layer_is_taken_over_too():
    trained, mine = network(1, 3), network(2, 3)
    assert pretrained.adopt(mine, trained, ["c", "a", "b"], ["a", "b", "c"], "large.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 1)).astype(np.uint8)
    np.testing.assert_array_equal(mine.predict_on_batch(pixels), trained.predict_on_batch(pixels)[:, [2, 0, 1]])


@pytest.mark.parametrize(
    ("trained_on", "changes", "sentence"),
    [
        (["a", "b"], {}, r"large.keras has 3 outputs, and its label set 2 classes: give the label set that it was trained on\."),
        (["a", "b", "c"], {"dense_units": 8}, r"large.keras has other layers or another input than cnn here: name a network of the"),
        (["a", "b", "c"], {"input_scaling": "backbone", "backbone": "MobileNet"}, r"large.keras has other layers or another input"),
        (["a", "b", "c"], {"size": 48}, r"large.keras has other layers or another input than cnn here"),
    ],
)  # fmt: skip
def test_a_network_of_another_form_is_refused_and_nothing_changes(trained_on, changes, sentence):
    trained, mine = network(1, 3), network(2, 2, **changes)
    before = mine.get_weights()
    with pytest.raises(ThoraxError, match=sentence):
        pretrained.adopt(mine, trained, ["a", "b"], trained_on, "large.keras")
    for old, new in zip(before, mine.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A problem, and a network that was trained on three classes of other images."""
    folder = tmp_path_factory.mktemp("start")
    network(1, 3, size=SIZE).save(folder / "large.keras")
    frame = pd.DataFrame(columns=["image_id", "patient_id", "top", "left", "right"])
    store.write_table(frame, folder / "large.parquet", schemas.labels_schema(["top", "left", "right"]))
    return folder, write_problem(folder)


def outputs(folder, name: str) -> dict:
    return {
        "out": folder / f"{name}.keras",
        "history": folder / f"{name}.csv",
        "record": folder / f"{name}.json",
        "work": folder / "work",
    }


def test_a_training_starts_from_the_network_and_its_record_says_so(large, capsys):
    from thorax.models.fit import train

    folder, problem = large
    settings = Training(**{**ADAPTED, "frozen_epochs": 1})  # only the head is trained
    given = {"weights": folder / "large.keras", "weights_labels": folder / "large.parquet"}
    train(settings, **problem, **given, **outputs(folder, "small"))
    trained, mine = load_network(folder / "large.keras"), load_network(folder / "small.keras")
    for name in ("conv_16", "conv_32", "conv_64", "norm_16", "norm_64"):
        for old, new in zip(trained.get_layer(name).get_weights(), mine.get_layer(name).get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
    assert mine.get_layer("logits").get_weights()[0].shape[1] == 2
    assert not np.array_equal(trained.get_layer("hidden").get_weights()[0], mine.get_layer("hidden").get_weights()[0])
    assert json.loads((folder / "small.json").read_text())["weights"] == {
        "from": START,
        "file": str(folder / "large.keras"),
        "sha256": hashlib.sha256((folder / "large.keras").read_bytes()).hexdigest(),
        "last_layer": "new",
    }
    told = capsys.readouterr().err
    assert "large.keras; its last layer is new: 1 of its 3 classes are among the 2 here" in told


def test_a_record_names_random_weights_too(large):
    from thorax.models.fit import train

    folder, problem = large
    train(Training(**{**SETTINGS, "epochs": 1}), **problem, weights=None, **outputs(folder, "random"))
    assert json.loads((folder / "random.json").read_text())["weights"] == {"from": "none"}


@pytest.mark.parametrize("given", [{}, {"weights": "large.keras"}, {"weights_labels": "large.parquet"}])
def test_a_network_to_start_from_is_given_with_its_label_set(large, given):
    from thorax.models.fit import train

    folder, problem = large
    paths = {"weights": None} | {name: folder / path for name, path in given.items()}
    with pytest.raises(ThoraxError, match=r"give it as --weights, and its label set as --weights-labels\."):
        train(Training(**ADAPTED), **problem, **paths, **outputs(folder, "no"))
    assert not (folder / "no.keras").exists()
