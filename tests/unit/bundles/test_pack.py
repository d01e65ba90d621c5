"""A bundle made from the files of a small experiment: what is in it is what was measured, and nobody is named."""

import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.small_experiment import INGESTED
from tests.unit.bundles.small import CLASSES, SIZE, network
from thorax import config
from thorax.bundles import pack, precision
from thorax.bundles.bundle import open_bundle
from thorax.bundles.patients import digest_of_split
from thorax.errors import ThoraxError
from thorax.evaluation import calibration, ensembles, metrics
from thorax.evaluation.metrics import sigmoid
from thorax.models.batches import PlacedImages, load_part
from thorax.storage import schemas, store

IMAGES = 90
SECRET = "Ottilie"  # what identifiers and folders have in them
ENSEMBLES = {"CTP": "ctp", "weighted": "weighted_average", "votes": "ptc_lw"}


class Study:
    """The files of a small experiment in a folder: images, labels, two networks, ensembles, metrics."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, {}
        rng = np.random.default_rng(0)
        ids = [f"{SECRET}-{number:03}.png" for number in range(IMAGES)]
        self.pixels = rng.integers(0, 256, (IMAGES, SIZE, SIZE), np.uint8)
        store.write_array(self.pixels, folder / "images.npy")
        ingested = pd.DataFrame({"image_id": ids, **INGESTED, "shard": 0, "row": range(IMAGES)})
        store.write_table(ingested, folder / "ingested.parquet", schemas.INGESTED)
        patients = [f"{SECRET}{number // 2}" for number in range(IMAGES)]
        self.split = np.repeat(["train", "val", "test"], IMAGES // 3)
        truth = rng.integers(0, 2, (IMAGES, len(CLASSES)))
        truth[:5, 0] = -1
        known = pd.DataFrame({"image_id": ids, "patient_id": patients})
        self.truth = known.assign(**dict(zip(CLASSES, truth.T.astype("int8"), strict=True)))
        store.write_table(self.truth, folder / "labels.parquet", schemas.labels_schema(list(CLASSES)))
        store.write_table(known.assign(split=self.split), folder / "split.parquet", schemas.SPLITS)
        about = known.assign(path=[f"{SECRET}/{name}" for name in ids], view="PA", sex=["F", "M"] * (IMAGES // 2), age=50.0)
        about.loc[0, ["sex", "age"]] = None
        about = about.reindex(columns=schemas.CATALOG.names).astype(object)
        store.write_table(about.where(about.notna(), None), folder / "catalog.parquet", schemas.CATALOG)
        self.logits = {}
        for seed, member in ((1, "a"), (2, "b")):
            model, _ = network(seed)
            model.save(folder / f"{member}.keras")
            self.logits[member] = model.predict(self.pixels[..., None], batch_size=32, verbose=0)
            self.scores(member, self.logits[member])
        settings = {"members": ["a", "b"]}
        parts = {"labels": folder / "labels.parquet", "split": folder / "split.parquet"}
        for name, rule in ENSEMBLES.items():
            rule = config.Ensemble(rule=rule, **settings)
            ensembles.make_ensemble(rule, [folder / "a.parquet", folder / "b.parquet"], folder / f"{name}.parquet", **parts)
        models = {"predictions": self.files("ab", "parquet"), "ensembles": self.files(ENSEMBLES, "parquet")}
        metrics.make_metrics(
            *parts.values(), **models, out=folder / "metrics.parquet", summary=folder / "m", thresholds=folder / "thresholds.parquet",
            seed=0, replicates=20, rules=("fixed-0.5", "f1"),
        )  # fmt: skip
        calibration.make_calibration(*parts.values(), folder / "scaling.parquet", **models)

    def scores(self, name: str, values: np.ndarray) -> None:
        frame = pd.DataFrame(values, columns=list(CLASSES)).assign(image_id=self.truth["image_id"], split=self.split)
        frame = frame[frame["split"] != "train"]
        store.write_table(frame, self.folder / f"{name}.parquet", schemas.scores_schema(list(CLASSES)))

    @property
    def validation(self):
        tables = (self.folder / f"{name}.parquet" for name in ("labels", "split", "ingested"))
        return load_part(*tables, [self.folder / "images.npy"], "val")

    def files(self, names, suffix: str) -> dict[str, Path]:
        return {name: self.folder / f"{name}.{suffix}" for name in names}

    def settings(self, model: str | None, **more) -> config.Bundled:
        experiment = {
            "title": "A *small* study | of 3 classes", "provenance": "sample", "label_set": "three", "split": "one", "image_set": "whole",
            "training": {"backbone": "cnn", "weights": "none"}, "members": {"a": {"seed": 1}, "b": {"seed": 2}},
            "ensembles": {name: {"rule": rule, "members": ["a", "b"]} for name, rule in ENSEMBLES.items()},
        }  # fmt: skip
        values = {
            "experiment": experiment | more, "label_set": {"dataset": "own"}, "split": {"label_sets": ["three"], "seed": 7},
            "image_set": {"dataset": "own", "size": SIZE}, "dataset": {"archive": "own", "root": f"/home/{SECRET}/films"},
            "name": "small", "model": model, "segmenter": None, "second_image_set": None, "second_dataset": None,
        }  # fmt: skip
        return config.parse(config.Bundled, values, "settings")

    def bundle(self, model: str):
        """The bundle of a model, made once, and what was said of it."""
        if model not in self.made:
            self.made[model] = self.make(model, self.folder / f"{model}.zip")
        return self.made[model]

    def make(self, model: str | None, out: Path, **more):
        folder = self.folder
        remark = "nih.zip may know test patients."
        store.write_text(
            json.dumps({"epochs": 3, "weights": {"file": f"/{SECRET}/nih.zip", "remark": remark}}), folder / "a.json"
        )
        said = pack.make_bundle(
            self.settings(model, **more), folder / "labels.parquet", folder / "split.parquet", folder / "ingested.parquet", [folder / "images.npy"],
            self.files("ab", "keras"), self.files("ab", "parquet"), folder / "thresholds.parquet", folder / "scaling.parquet",
            folder / "metrics.parquet", folder / "catalog.parquet", out, self.files([model] if model in ENSEMBLES else [], "parquet"),
            records={"a": folder / "a.json"}, replicates=20,
        )  # fmt: skip
        return open_bundle(out), said


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return Study(tmp_path_factory.mktemp("study"))


@pytest.mark.parametrize("model", [*ENSEMBLES, "b"])
def test_a_bundle_gives_the_scores_of_the_workflow_within_the_tolerance(study, model):
    bundle, said = study.bundle(model)
    contents = bundle.contents
    assert said.startswith(f"{bundle.path}: {model}, {len(contents.members)} networks, 0.")
    logits = np.stack([bundle.network(name).predict(study.pixels[..., None], verbose=0) for name in contents.members])
    table = store.read_table(study.folder / f"{model}.parquet")
    expected = table[list(CLASSES)].to_numpy()
    expected = sigmoid(expected) if model == "b" else expected
    test = (table["split"] == "test").to_numpy()
    found = contents.scores(logits)[study.split != "train"]
    if model != "votes":
        np.testing.assert_allclose(found[test], expected[test], atol=precision.TOLERANCE)
    else:
        assert (found[test] == expected[test]).mean() > 0.9  # a vote near 0.5 may turn
    assert np.ptp(logits, axis=1).min() > 0.01, "the networks tell images apart"
    for network_of in contents.networks.values():
        assert (network_of.precision, network_of.fraction_bits) == ("float16", 8)
        assert 0 < network_of.difference <= precision.TOLERANCE
        assert network_of.workflow_difference < 1e-5
        assert network_of.images == IMAGES // 3
    tuned = store.read_table(study.folder / "thresholds.parquet").query("model == @model").set_index("class")["value"]
    assert contents.thresholds == {"fixed-0.5": dict.fromkeys(CLASSES, 0.5), "f1": tuned.to_dict()}
    assert contents.rule == "fixed-0.5"
    if model == "votes":
        assert contents.scaling == {}
        assert "The model gives votes" in bundle.card
    else:
        fitted = calibration.read_scaling(study.folder / "scaling.parquet", model).query("kind == 'platt'").set_index("class")
        assert contents.scaling == {name: tuple(fitted.loc[name, ["slope", "intercept"]]) for name in CLASSES}


def test_without_a_name_it_is_the_network_that_is_best_on_validation(study, tmp_path):
    table = store.read_table(study.folder / "metrics.parquet")
    table = table[(table["class"] == "Global") & (table["metric"] == "auc") & (table["split"] == "val")].set_index("model")[
        "value"
    ]
    bundle, _ = study.make(None, tmp_path / "x.zip", ensembles={})
    assert bundle.contents.members == (table[["a", "b"]].idxmax(),)
    assert bundle.contents.ensemble is None


def test_no_file_names_an_image_a_patient_or_a_folder(study):
    bundle, _ = study.bundle("CTP")
    for name in (*bundle.manifest.files, "manifest.json"):
        with zipfile.ZipFile(bundle.path) as archive:
            assert SECRET.encode() not in archive.read(name), name
    assert SECRET.encode() not in bundle.path.read_bytes()


def test_the_same_files_give_the_same_bytes(study, tmp_path):
    again, _ = study.make("CTP", tmp_path / "again.zip")
    assert again.path.read_bytes() == study.bundle("CTP")[0].path.read_bytes()


def test_the_card_has_the_numbers_of_the_run(study):
    bundle, _ = study.bundle("CTP")
    card, sheet = bundle.card, bundle.data_sheet
    assert card.startswith("# Model card: A \\*small\\* study \\| of 3 classes\n")
    assert "Research use only. This is not a medical device." in card
    assert "A small sample of real radiographs" in card
    assert "A small sample of real radiographs" in sheet
    for part in ("train", "val", "test"):
        assert f"| {part} | 30 | 15 |" in card
    table = store.read_table(study.folder / "metrics.parquet")
    rows = table[(table["model"] == "CTP") & (table["split"] == "test") & table["threshold_rule"].isin(["none", "fixed-0.5"])]
    for name, shown in (*zip(CLASSES, CLASSES, strict=True), ("Global", "Mean over classes")):
        of_class = rows[rows["class"] == name].set_index("metric")
        line = next(line for line in card.splitlines() if re.match(rf"\| {shown} \| \d+ \| \d\.\d+ ", line))
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        positives = (study.truth.loc[study.split == "test", list(CLASSES)] == 1).sum()
        assert cells[1] == str(positives.sum() if name == "Global" else positives[name])
        for cell, metric in zip(
            cells[2:],
            ("auc", "average_precision", "sensitivity", "specificity", "precision", "npv", "f1_positive"),
            strict=True,
        ):
            value, low, high = of_class.loc[metric, ["value", "low", "high"]]
            assert cell == f"{value:.3f} ({low:.3f}–{high:.3f})"
    unknown = int((study.truth["edema"] == -1).sum())
    train, val, test = ((study.truth.loc[study.split == part, "edema"] == 1).sum() for part in ("train", "val", "test"))
    assert f"| edema | {train} | {val} | {test} | {unknown} | edema |" in card
    assert "| sex: F | 15 | 15 |" in card
    assert "folder" not in card
    assert "- a started from another network. nih.zip may know test patients.\n" in card
    assert bundle.contents.split == digest_of_split(study.folder / "split.parquet")
    assert "| train | 47% | 50% | 3% | 50 (50 to 50) | 3% | PA 100% |" in sheet
    assert f"so their results are uncertain: edema ({test})" in card
    assert not re.search(r"\bnan\b", card + sheet)


def test_predictions_of_another_network_are_refused(study):
    files = study.files("ab", "keras")
    sample = precision.sampled(study.validation)
    study.scores("wrong", study.logits["a"] + 3)
    with pytest.raises(
        ThoraxError, match=r"a.keras gives other probabilities than .*wrong.parquet, by 0\.\d+: .* predict again"
    ):
        precision.store_network(files["a"], sample, study.folder / "wrong.parquet")


def test_a_network_that_half_precision_cannot_hold_is_stored_in_single_precision(study, tmp_path):
    """The same function, with weights above the largest number of float16, 65504."""
    model, _ = network(1)
    for layer, factor in (("hidden", 1e7), ("logits", 1e-7)):
        kernel, bias = model.get_layer(layer).weights
        kernel.assign(kernel * factor)
        bias.assign(bias * (factor if layer == "hidden" else 1))
    model.save(tmp_path / "large.keras")
    sample = precision.sampled(study.validation)
    fields, _, weights = precision.store_network(tmp_path / "large.keras", sample, study.folder / "a.parquet")
    assert (fields["precision"], fields["fraction_bits"]) == ("float32", 15)
    assert 0 < fields["difference"] <= precision.TOLERANCE
    assert len(weights) == 4 * model.count_params()


def test_without_a_tolerance_a_network_is_stored_whole(study, monkeypatch):
    monkeypatch.setattr(precision, "TOLERANCE", 0)
    sample, path = precision.sampled(study.validation), study.folder / "a.parquet"
    fields, _, _ = precision.store_network(study.folder / "a.keras", sample, path)
    assert (fields["precision"], fields["fraction_bits"], fields["difference"]) == ("float32", 23, 0.0)


def test_a_sample_is_spread_over_a_part(study):
    part = study.validation
    assert list(precision.sampled(part, 4).rows) == [30, 40, 49, 59]
    assert len(precision.sampled(part, 1000)) == len(part)


def test_a_sample_of_studies_keeps_both_views_together(study):
    part = study.validation
    turned = PlacedImages(part.images, part.shards, part.rows[::-1])
    sample = precision.sampled(replace(part, second=turned), 3)
    pixels = sample.take(np.arange(3))
    np.testing.assert_array_equal(pixels[..., 0], study.pixels[[30, 44, 59]])
    np.testing.assert_array_equal(pixels[..., 1], study.pixels[[59, 45, 30]])


def test_general_classes_stand_for_the_terms_below_them():
    general = config.LabelSet(dataset="x", grouping="general")
    terms = pack.terms_of(general, "padchest", ["pneumonia", "normal"])
    assert {"pneumonia", "atypical pneumonia"} <= set(terms["pneumonia"])
    assert terms["normal"] == ["normal"]
    assert pack.terms_of(config.LabelSet(dataset="x"), "padchest", ["pneumonia"]) == {"pneumonia": ["pneumonia"]}
