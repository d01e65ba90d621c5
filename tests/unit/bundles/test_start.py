"""A training that starts from a network of a bundle."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.unit.bundles import small
from tests.unit.models.test_fit import SETTINGS, write_problem
from thorax.backend import load_network
from thorax.bundles.patients import digest_of_split
from thorax.bundles.start import write_network
from thorax.config import Training
from thorax.errors import ThoraxError
from thorax.storage import store
from thorax.storage.schemas import SPLITS, class_columns, labels_schema


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return small.write(tmp_path_factory.mktemp("bundle") / "small.zip")


def test_the_network_and_its_classes_are_those_of_the_bundle(bundle, tmp_path):
    write_network(bundle, tmp_path / "n.keras", tmp_path / "n.parquet", "b")
    model, images = small.network(2)
    found = load_network(tmp_path / "n.keras").predict_on_batch(images)
    np.testing.assert_allclose(found, model.predict_on_batch(images), atol=0.01)  # kernels have half precision
    labels = store.read_table(tmp_path / "n.parquet")
    assert class_columns(labels) == list(small.CLASSES)
    assert labels.empty


@pytest.mark.parametrize(
    ("member", "sentence"),
    [
        (None, r"small\.zip has several networks: write the name of one as member in weights: a, b\."),
        ("c", r"weights\.member: 'c' is not a network of .*small\.zip.*: choose one of a, b\."),
    ],
)
def test_the_network_must_be_named_and_there(bundle, tmp_path, member, sentence):
    with pytest.raises(ThoraxError, match=sentence):
        write_network(bundle, tmp_path / "n.keras", tmp_path / "n.parquet", member)
    assert not list(tmp_path.iterdir())


def test_the_only_network_needs_no_name(tmp_path):
    alone = {"networks": {"a": small.values()["networks"]["a"]}, "ensemble": None, "model": "a"}
    files = {name: data for name, data in small.files().items() if not name.startswith("networks/b")}
    bundle = tmp_path / "alone.zip"
    small.pack.write(small.Contents.model_validate(small.values(**alone)), files, bundle)
    write_network(bundle, tmp_path / "n.keras", tmp_path / "n.parquet")
    assert load_network(tmp_path / "n.keras").count_params() == small.network()[0].count_params()


def test_test_patients_whom_a_bundle_may_know_are_named_unless_it_has_the_same_split(tmp_path, capsys):
    def written(name: str, *rows: tuple[str, str, str]) -> Path:
        frame = pd.DataFrame(rows, columns=["image_id", "patient_id", "split"])
        store.write_table(frame, tmp_path / name, SPLITS)
        return tmp_path / name

    here = written("here.parquet", ("1", "p", "train"), ("2", "p", "train"), ("3", "q", "test"))
    again = written("again.parquet", ("3", "q", "test"), ("1", "p", "train"))  # an image less, in another order
    other = written("other.parquet", ("1", "p", "test"), ("2", "p", "test"), ("3", "q", "train"))
    assert digest_of_split(here) == digest_of_split(again) != digest_of_split(other)
    for number, (changes, archive, split, why) in enumerate(
        [
            ({"split": digest_of_split(here)}, "nih", again, ""),
            ({"split": digest_of_split(here)}, "nih", other, "by another split"),
            ({}, "nih", here, "and it is not known by which split"),
            ({}, "padchest", here, ""),
            ({}, None, here, ""),
            ({"provenance": "phantom"}, "nih", here, ""),
        ]
    ):
        bundle = small.write(tmp_path / f"{number}.zip", **{"provenance": "full", **changes})
        write_network(bundle, tmp_path / "n.keras", tmp_path / "n.parquet", "a", archive, split)
        expected = f"{number}.zip learnt from the archive nih as well, {why}: test patients may be among" if why else ""
        said = store.read_metadata(tmp_path / "n.parquet").get("remark", "")
        assert said.startswith(expected)
        assert bool(said) == bool(why)
        assert (f"Warning: {said}\n" in capsys.readouterr().err) == bool(why)


def test_a_training_starts_from_it_and_its_record_has_the_digest_of_the_bundle(bundle, tmp_path):
    from thorax.models.fit import train

    write_network(bundle, tmp_path / "n.keras", tmp_path / "n.parquet", "a")
    start = {"bundle": str(bundle), "member": "a"}
    settings = Training(**{**SETTINGS, "dense_units": 512, "weights": start, "epochs": 1, "frozen_epochs": 1})
    outputs = {name: tmp_path / f"m.{suffix}" for name, suffix in (("out", "keras"), ("history", "csv"), ("record", "json"))}
    given = {"weights": tmp_path / "n.keras", "weights_labels": tmp_path / "n.parquet"}
    remarked = labels_schema(list(small.CLASSES)).with_metadata({"remark": "It may know test patients."})
    store.write_table(store.read_table(tmp_path / "n.parquet"), tmp_path / "n.parquet", remarked)
    with pytest.raises(ThoraxError, match="another input"):  # the problem's images have 24 pixels
        train(settings, **write_problem(tmp_path), **given, **outputs, work=tmp_path / "work")
    train(settings, **write_problem(tmp_path, size=small.SIZE), **given, **outputs, work=tmp_path / "work")
    kernels = [
        load_network(path).get_layer("conv_16").get_weights()[0] for path in (tmp_path / "n.keras", tmp_path / "m.keras")
    ]
    np.testing.assert_array_equal(*kernels)
    assert json.loads((tmp_path / "m.json").read_text())["weights"] == {
        "from": start,
        "file": str(bundle),
        "sha256": hashlib.sha256(bundle.read_bytes()).hexdigest(),
        "last_layer": "new",
        "remark": "It may know test patients.",
    }
