"""Bundles are opened only if they are exactly what their manifest says. Hostile ones are refused, one way of harm after the other."""

import hashlib
import io
import json
import pickle
import struct
import threading
import warnings
import zipfile
import zlib
from concurrent.futures import wait
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.bundles import predictable, small
from thorax import backend
from thorax.bundles import bundle as reading
from thorax.bundles.bundle import open_bundle
from thorax.bundles.contents import MANIFEST
from thorax.bundles.networks import LARGE
from thorax.errors import ThoraxError


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return small.write(tmp_path_factory.mktemp("bundle") / "small.zip")


def entries(path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path, members, **options):
    """Write a zip of (name, data) pairs."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        warnings.simplefilter("ignore", UserWarning)  # of a name that is there twice
        for name, data in members:
            archive.writestr(name, data)
    return path


def listed(found: dict[str, bytes], change=lambda manifest: None, **more: bytes) -> list[tuple[str, bytes]]:
    """The files with further or other ones, which the manifest lists with their right sizes and digests; `change` is made to it."""
    data = {name: content for name, content in found.items() if name != MANIFEST} | more
    manifest = json.loads(found[MANIFEST])
    manifest["files"] = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in data.items()
    }
    change(manifest)
    return [(MANIFEST, json.dumps(manifest).encode()), *data.items()]


def test_a_bundle_says_and_does_what_was_packed(whole):
    bundle = open_bundle(whole)
    contents = bundle.contents
    assert (contents.experiment, contents.model, contents.members) == ("small", "mean", ("a", "b"))
    assert contents.classes == small.CLASSES
    assert (contents.dataset.archive, contents.image_set.size, contents.views) == ("nih", 32, 1)
    assert contents.scaling == {"edema": (0.9, -0.1)}
    assert contents.thresholds[contents.rule]["mass"] == 0.5
    assert contents.reference is None
    assert bundle.card == "# Model card\n"
    assert bundle.segmenter() is None
    logits = []
    for member, seed in (("a", 1), ("b", 2)):
        model, images = small.network(seed)
        for weight in model.weights:
            if weight.numpy().size >= LARGE:
                weight.assign(weight.numpy().astype(np.float16).astype(np.float32))
        _, images = small.network(1)
        logits.append(bundle.network(member).predict_on_batch(images))
        np.testing.assert_array_equal(logits[-1], model.predict_on_batch(images))
    expected = (1 / (1 + np.exp(-np.stack(logits).astype(np.float64)))).mean(axis=0)
    np.testing.assert_allclose(contents.scores(np.stack(logits)), expected, rtol=1e-6)


def test_a_bundle_read_ahead_is_the_same_and_gives_its_files_more_than_once(whole):
    bundle, ahead = open_bundle(whole), open_bundle(whole, ahead=True)
    for _ in range(2):
        for name in bundle.manifest.files:
            assert ahead.read(name) == bundle.read(name)
    ahead.check()


@pytest.mark.parametrize("name", ["networks/b.weights", "data_sheet.md"])
def test_a_damaged_file_is_refused_when_it_is_read_ahead_even_if_nothing_needs_it(whole, tmp_path, name):
    found = entries(whole)
    path = packed(tmp_path / "x.zip", (found | {name: found[name][:-1] + b"?"}).items())
    with pytest.raises(ThoraxError, match=f"{name} was changed or is damaged"):
        open_bundle(path)
    bundle = open_bundle(path, ahead=True)
    bundle.network("a")
    with pytest.raises(ThoraxError, match=f"{name} was changed or is damaged"):
        bundle.check()


def test_after_an_error_no_more_files_are_read_ahead(whole, monkeypatch):
    """The first file is being read when the error comes; the interpreter would wait for all others at its end."""
    began, go_on, read = threading.Event(), threading.Event(), []

    def slow(path, manifest, name):
        read.append(name)
        began.set()
        assert go_on.wait(10)
        return b""

    monkeypatch.setattr(reading, "_read", slow)
    with pytest.raises(ThoraxError, match="no image"), open_bundle(whole, ahead=True) as bundle:
        assert began.wait(10)
        waiting = list(bundle._ahead.values())
        raise ThoraxError("no image")
    go_on.set()
    wait(waiting)
    assert read == ["networks/a.json"]
    assert [one.cancelled() for one in waiting] == [False] + [True] * (len(waiting) - 1)


def test_files_are_read_ahead_in_the_order_in_which_they_are_needed(tmp_path):
    predictable.write(tmp_path / "model.zip", crop="lungs")
    first = list(open_bundle(tmp_path / "model.zip", ahead=True)._ahead)[:4]
    assert first == ["segmenter.json", "segmenter.weights", "networks/one.json", "networks/one.weights"]


def test_the_same_contents_are_the_same_bytes(whole, tmp_path):
    assert small.write(tmp_path / "again.zip").read_bytes() == whole.read_bytes()


def test_reading_writes_nothing(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    open_bundle(whole).network("a")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    [
        "/etc/cron.d/x",
        "../outside",
        "networks/../../outside",
        "..\\outside",
        "C:/windows/x",
        "\\\\server\\share",
        "networks/a/../../x",
    ],
)
def test_a_path_that_leaves_the_folder_is_refused(whole, tmp_path, name):
    path = packed(tmp_path / "x.zip", [*entries(whole).items(), (name, b"x")])
    with pytest.raises(ThoraxError, match="would leave its folder"):
        open_bundle(path)


def test_a_manifest_cannot_name_such_a_path_either(whole, tmp_path):
    path = packed(
        tmp_path / "x.zip",
        listed(entries(whole), lambda manifest: manifest["files"].update({"../x": {"bytes": 0, "sha256": "0" * 64}})),
    )
    with pytest.raises(ThoraxError, match=r"manifest\.json: files"):
        open_bundle(path)


def test_a_file_that_is_there_twice_is_refused(whole, tmp_path):
    path = packed(tmp_path / "x.zip", [*entries(whole).items(), ("networks/a.json", b"{}")])
    with pytest.raises(ThoraxError, match=r"'networks/a\.json' is in it twice"):
        open_bundle(path)


@pytest.mark.parametrize("name", ["code.py", "networks/a.keras", "networks/", "networks/c.json"])
def test_a_file_that_the_manifest_does_not_list_is_refused(whole, tmp_path, name):
    path = packed(tmp_path / "x.zip", [*entries(whole).items(), (name, b"")])
    with pytest.raises(ThoraxError, match=f"'{name}' is not in its manifest"):
        open_bundle(path)


@pytest.mark.parametrize("name", ["networks/b.weights", "networks/a.json", "model_card.md"])
def test_a_missing_file_is_refused_whether_or_not_the_manifest_lists_it(whole, tmp_path, name):
    found = entries(whole)
    del found[name]
    for number, members in enumerate((list(found.items()), listed(found))):
        with pytest.raises(ThoraxError, match=f"{name} is missing"):
            open_bundle(packed(tmp_path / f"{number}.zip", members))


def test_a_changed_file_is_refused(whole, tmp_path):
    found = entries(whole)
    changed = bytearray(found["networks/a.weights"])
    changed[1000] ^= 1
    path = packed(tmp_path / "x.zip", (found | {"networks/a.weights": bytes(changed)}).items())
    with pytest.raises(ThoraxError, match=r"networks/a.weights was changed or is damaged"):
        open_bundle(path)


def test_a_longer_file_is_refused(whole, tmp_path):
    found = entries(whole)
    path = packed(tmp_path / "x.zip", (found | {"model_card.md": found["model_card.md"] + b"more"}).items())
    with pytest.raises(ThoraxError, match=r"model_card\.md has 17 bytes, and the manifest says 13"):
        open_bundle(path)


def announcing(path, name: str, size: int):
    """Change the uncompressed size that a zip announces for a member, in both of its headers."""
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(name)
    struct.pack_into("<L", data, info.header_offset + 22, size)
    place = data.rindex(name.encode())  # in the central directory
    struct.pack_into("<L", data, place - 46 + 24, size)
    path.write_bytes(data)
    return path


def test_a_bomb_that_announces_less_than_it_unpacks_to_is_not_unpacked(whole, tmp_path):
    found = entries(whole)
    bomb = packed(tmp_path / "x.zip", (found | {"model_card.md": bytes(50_000_000)}).items())
    assert bomb.stat().st_size < 10**6
    with pytest.raises(ThoraxError, match=r"do not use it"):
        open_bundle(announcing(bomb, "model_card.md", len(found["model_card.md"])))


def test_a_bomb_that_announces_what_it_is_is_not_unpacked(whole, tmp_path):
    found = entries(whole)
    bomb = packed(tmp_path / "x.zip", (found | {"model_card.md": b"x"}).items())
    data = dict(
        listed(found, lambda manifest: manifest["files"].update({"model_card.md": {"bytes": 2**32 - 2, "sha256": "0" * 64}}))
    )
    packed(bomb, data.items())
    with pytest.raises(ThoraxError, match="would unpack to 4,29"):
        open_bundle(announcing(bomb, "model_card.md", 2**32 - 2))


def test_a_bundle_of_too_many_files_is_refused(tmp_path):
    path = packed(tmp_path / "x.zip", [(f"{number}", b"") for number in range(1001)])
    with pytest.raises(ThoraxError, match="it has 1,001 files"):
        open_bundle(path)


def test_a_large_manifest_is_not_read(whole, tmp_path):
    path = packed(tmp_path / "x.zip", (entries(whole) | {MANIFEST: b" " * (reading.LARGEST_MANIFEST + 1)}).items())
    with pytest.raises(ThoraxError, match=r"manifest\.json has 16,777,217 bytes"):
        open_bundle(path)


def test_an_encrypted_bundle_is_refused(whole, tmp_path):
    data = bytearray(whole.read_bytes())
    place = data.index(b"PK\x01\x02")
    data[place + 8] |= 1
    path = tmp_path / "x.zip"
    path.write_bytes(data)
    with pytest.raises(ThoraxError, match=r"'manifest\.json' is encrypted"):
        open_bundle(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_of_compression_are_refused(whole, tmp_path, method):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries(whole).items():
            archive.writestr(name, data)
    with pytest.raises(ThoraxError, match="another method than deflate"):
        open_bundle(path)


@pytest.mark.parametrize("change", [lambda data: b"#!/bin/sh\n" + data, lambda data: data + b"after"], ids=["before", "after"])
def test_nothing_may_be_before_or_after_the_zip(whole, tmp_path, change):
    path = tmp_path / "x.zip"
    path.write_bytes(change(whole.read_bytes()))
    with pytest.raises(ThoraxError, match="do not use it"):
        open_bundle(path)


def test_a_comment_is_refused(whole, tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(whole.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"read me"
    with pytest.raises(ThoraxError, match="something besides files"):
        open_bundle(path)


class Harm:
    """Its pickle would make a file."""

    def __reduce__(self):
        return (open, ("harm", "w"))


@pytest.mark.parametrize("name", ["networks/a.weights", "networks/a.json"])
@pytest.mark.parametrize("form", ["pickle", "array"])
def test_a_pickle_is_refused_and_not_loaded(whole, tmp_path, monkeypatch, name, form):
    """Also with the right digest, and as numpy's file of objects."""
    file = io.BytesIO()
    np.save(file, np.array([Harm()], object), allow_pickle=True)
    data = pickle.dumps(Harm()) if form == "pickle" else file.getvalue()
    (monkeypatch.chdir(tmp_path), backend.prepare(0, 1))
    path = packed(tmp_path / "x.zip", listed(entries(whole), **{name: data}))
    with pytest.raises(ThoraxError, match="do not use it"):
        open_bundle(path).network("a")
    assert not (tmp_path / "harm").exists()


def test_a_lambda_layer_is_refused_and_not_run(whole, tmp_path, monkeypatch):
    """A real one of Keras, with code that would make a file."""
    import keras

    backend.prepare(0, 1)
    inputs = keras.Input((32, 32, 1))
    harmful = keras.layers.Lambda(lambda x: (Path("harm").touch(), x)[1], output_shape=(32, 32, 1))(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(harmful)))
    graph = json.dumps(keras.saving.serialize_keras_object(model)).encode()
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    path = packed(tmp_path / "x.zip", listed(entries(whole), **{"networks/a.json": graph}))
    with pytest.raises(
        ThoraxError, match=r"a part that no network of thorax has \(keras.layers.(Lambda|Flatten)\)|says how to train"
    ):
        open_bundle(path).network("a")
    assert not list((tmp_path / "run").iterdir())


def test_another_network_than_the_manifest_says_is_refused(whole, tmp_path):
    path = packed(
        tmp_path / "x.zip", listed(entries(whole), lambda manifest: manifest["contents"]["image_set"].update(size=64))
    )
    with pytest.raises(
        ThoraxError, match=r"networks/a: it takes \(None, 32, 32, 1\) and gives \(None, 3\), not \(None, 64, 64, 1\)"
    ):
        open_bundle(path).network("a")


def contents_with(**changes):
    return lambda manifest: manifest["contents"].update(changes)


def two_views(**changes):
    reading = {"archive": "padchest", "views": ["L"], "dicom_window": "lut", "max_pixels": 10**6}
    return {"second_dataset": reading, "second_image_set": {"dataset": "x", "size": 32} | changes}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: m.update(version=2), "has version 2 of the format, and this program reads version 1: install a newer thorax"),
        (lambda m: m.update(version="1"), "version"),
        (lambda m: m.update(format="another"), "is not a bundle of thorax"),
        (lambda m: m.update(more=1), "unknown key 'more'"),
        (contents_with(script="import os"), "contents: unknown key 'script'"),
        (lambda m: m["contents"].pop("classes"), "contents.classes is missing"),
        (contents_with(networks={"../a": {}}), "contents.networks"),
        (contents_with(classes=["edema", "normal", "edema"]), "a class is named twice|is not a class"),
        (contents_with(thresholds={"fixed-0.5": {"edema": 0.5}}), "lacks a class"),
        (contents_with(rule="youden"), "there are no thresholds of its rule youden"),
        (contents_with(exclusive="healthy"), "'healthy' is not a class"),
        (contents_with(scaling={"fever": [1, 0]}), "'fever', which is not a class"),
        (contents_with(ensemble=None), "without an ensemble it has one network"),
        (contents_with(ensemble={"rule": "ctp", "members": ["b", "a"]}), "other members than the networks"),
        (contents_with(ensemble={"rule": "stacked", "members": ["a", "b"]}), "learnt does not fit"),
        (contents_with(learnt={"weights": [[1, 1, 1]] * 2}), "learnt does not fit"),
        (contents_with(image_set={"dataset": "x", "size": 10**6}), "image_set.size is above 4096"),
        (contents_with(**two_views(size=10**9)), "second_image_set has another size or intensity than image_set"),
        (contents_with(**two_views(intensity="stored")), "second_image_set has another size or intensity than image_set"),
        (contents_with(second_image_set={"dataset": "x", "size": 32}), "second_dataset and second_image_set go together"),
        (contents_with(image_set={"dataset": "x", "size": 32, "crop": "lungs", "segmenter": "x"}), "crop: lungs and segmenter go together"),
    ],
)  # fmt: skip
def test_a_manifest_that_is_not_right_is_refused_in_one_sentence(whole, tmp_path, change, sentence):
    path = packed(tmp_path / "x.zip", listed(entries(whole), change))
    with pytest.raises(ThoraxError, match=sentence) as refusal:
        open_bundle(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"format": NaN}',
        b'{"format": "thorax bundle", "format": "x"}',
        b'{"a":' * 50_000,
        b"1" * 5000,
    ],
)
def test_what_is_no_manifest_is_refused_in_one_sentence(whole, tmp_path, text):
    path = packed(tmp_path / "x.zip", (entries(whole) | {MANIFEST: text}).items())
    with pytest.raises(ThoraxError, match=r"x\.zip"):
        open_bundle(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"# not a zip", bytes(1000)])
def test_what_is_no_zip_is_refused(tmp_path, content):
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    with pytest.raises(ThoraxError, match="is not a whole zip file"):
        open_bundle(path)


def test_another_zip_a_folder_and_nothing_are_refused(tmp_path):
    with pytest.raises(ThoraxError, match="is not a bundle of thorax"):
        open_bundle(packed(tmp_path / "x.zip", [("a.txt", b"a")]))
    with pytest.raises(ThoraxError, match="cannot be read"):
        open_bundle(tmp_path)
    with pytest.raises(ThoraxError, match="is not there"):
        open_bundle(tmp_path / "none.zip")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_bundle_is_refused_or_has_the_same_files(whole, tmp_path, data):
    """Cut anywhere, or with some bytes changed."""
    content = bytearray(whole.read_bytes())
    if data.draw(st.booleans(), "cut"):
        content = content[: data.draw(st.integers(0, len(content) - 1), "length")]
    else:
        headers = st.integers(0, 200) | st.integers(len(content) - 1200, len(content) - 1)
        for _ in range(data.draw(st.integers(1, 4), "changes")):
            content[data.draw(headers | st.integers(0, len(content) - 1), "place")] = data.draw(st.integers(0, 255), "byte")
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    try:
        bundle = open_bundle(path)
    except ThoraxError:
        return
    assert bundle.manifest == open_bundle(whole).manifest
    found = {name: bundle.read(name) for name in bundle.manifest.files}
    assert found == {name: content for name, content in entries(whole).items() if name != MANIFEST}


def test_a_file_that_changes_after_it_was_opened_is_refused(whole, tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(whole.read_bytes())
    bundle = open_bundle(path)
    changed = entries(whole) | {"model_card.md": b"# Model curd\n"}
    packed(path, changed.items())
    with pytest.raises(ThoraxError, match=r"model_card\.md was changed"):
        _ = bundle.card


def test_compression_is_worth_it(whole):
    """Weights as planes of bytes: the first two bytes of each number are alike, and the mantissas are not."""
    weights = entries(whole)["networks/a.weights"]
    assert len(zlib.compress(weights)) < 0.95 * len(weights)
