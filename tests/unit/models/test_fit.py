"""Training on a small problem that can be learnt: what is kept, what is written, what stops it."""

import io
import zipfile

import h5py
import numpy as np
import pandas as pd
import pytest

from thorax.config import Augmentation, Training
from thorax.errors import ThoraxError
from thorax.evaluation import metrics
from thorax.storage import schemas, store

SIZE = 24
SETTINGS = {
    "backbone": "cnn",
    "weights": "none",
    "freeze": 0.0,
    "batch_norm_momentum": 0.8,
    "learning_rate": 5e-3,
    "batch_size": 16,
    "epochs": 4,
    "dense_units": 16,
    "augmentation": Augmentation(rotation=5, brightness=(0.95, 1.05)),
}


def write_problem(folder, shuffled=False, n=240, size=SIZE):
    """Images with a bright square at the top, at the bottom, both or neither; two classes say which."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (n, 2))
    images = rng.normal(100, 15, (n, size, size))
    images[labels[:, 0] == 1, 4:9, 8:16] += 60
    images[labels[:, 1] == 1, 15:20, 8:16] += 60
    if shuffled:
        labels = rng.permutation(labels)
    ids = [f"i{i:04}" for i in range(n)]
    half = n // 2
    for shard, rows in enumerate((slice(0, half), slice(half, n))):
        store.write_array(np.clip(images[rows], 0, 255).astype(np.uint8), folder / f"images.{shard}.npy")
    place = np.arange(n)
    ingested = pd.DataFrame({name: [0] * n for name in schemas.INGESTED.names}).assign(
        image_id=ids, ok=True, reason=None, shard=place // half, row=place % half
    )
    store.write_table(ingested, folder / "ingested.parquet", schemas.INGESTED)
    frame = pd.DataFrame(labels.astype("int8"), columns=["top", "bottom"])
    frame.insert(0, "image_id", ids)
    frame.insert(1, "patient_id", ids)
    store.write_table(frame, folder / "labels.parquet", schemas.labels_schema(["top", "bottom"]))
    part = np.array(["train"] * 140 + ["val"] * 40 + ["test"] * (n - 180))
    split = frame[["image_id", "patient_id"]].assign(split=rng.permutation(part))
    store.write_table(split, folder / "split.parquet", schemas.SPLITS)
    return {
        "labels": folder / "labels.parquet",
        "split": folder / "split.parquet",
        "ingested": folder / "ingested.parquet",
        "images": [folder / "images.0.npy", folder / "images.1.npy"],
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    from thorax.models.fit import train

    folder = tmp_path_factory.mktemp("trained")
    problem = write_problem(folder)
    train(
        Training(**SETTINGS),
        **problem,
        weights=None,
        out=folder / "m.keras",
        history=folder / "m.csv",
        work=folder / "work",
    )
    return folder, problem


def test_it_learns_and_keeps_the_best_epoch(trained):
    from thorax.backend import load_network
    from thorax.models.batches import load_part, predict_logits
    from thorax.models.fit import mean_auc
    from thorax.models.losses import loss_numpy, pos_weights

    folder, problem = trained
    history = pd.read_csv(folder / "m.csv")
    assert list(history["epoch"]) == [1, 2, 3, 4]
    part = load_part(**problem, part="val")
    logits = predict_logits(load_network(folder / "m.keras"), part, 16)
    train_part = load_part(**problem, part="train")
    weight = pos_weights(train_part.labels, Training(**SETTINGS).pos_weight_exponent)
    assert loss_numpy(Training(**SETTINGS), part.labels, logits, weight) == pytest.approx(history["val_loss"].min(), rel=1e-4)
    test_part = load_part(**problem, part="test")
    logits = predict_logits(load_network(folder / "m.keras"), test_part, 16)
    assert mean_auc(test_part.labels, logits) > 0.95


def test_predictions_and_heatmaps_point_at_the_square(trained):
    from thorax.models.predict import predict

    folder, problem = trained
    predict(folder / "m.keras", **problem, out=folder / "p.parquet", heatmaps=folder / "h.npy")
    predictions = store.read_table(folder / "p.parquet")
    assert predictions["split"].value_counts().to_dict() == {"test": 60, "val": 40}
    maps = store.open_array(folder / "h.npy")
    assert maps.shape == (100, 2, 3, 3)
    labels = store.read_table(problem["labels"]).set_index("image_id").loc[predictions["image_id"]]
    top, bottom = maps[((labels["top"] == 1) & (labels["bottom"] == 1)).to_numpy()].swapaxes(0, 1)
    assert len(top) > 10
    assert (top[:, 0].sum(axis=1) > top[:, 2].sum(axis=1)).mean() > 0.9
    assert (bottom[:, 2].sum(axis=1) > bottom[:, 0].sum(axis=1)).mean() > 0.9


def test_the_same_seed_gives_the_same_weights_and_the_file_holds_no_optimiser(trained):
    from thorax.backend import load_network
    from thorax.models.fit import train

    folder, problem = trained
    train(
        Training(**SETTINGS),
        **problem,
        weights=None,
        out=folder / "again.keras",
        history=folder / "again.csv",
        work=folder / "work",
    )
    assert (folder / "again.csv").read_bytes() == (folder / "m.csv").read_bytes()
    first, second = load_network(folder / "m.keras"), load_network(folder / "again.keras")
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with zipfile.ZipFile(folder / "m.keras") as archive, archive.open("model.weights.h5") as weights:
        groups = set(h5py.File(io.BytesIO(weights.read())))
    assert not [group for group in groups if "optimizer" in group]


def test_shuffled_labels_teach_nothing(tmp_path):
    from thorax.backend import load_network
    from thorax.models.batches import load_part, predict_logits
    from thorax.models.fit import mean_auc, train

    problem = write_problem(tmp_path, shuffled=True, n=600)
    train(
        Training(**SETTINGS),
        **problem,
        weights=None,
        out=tmp_path / "m.keras",
        history=tmp_path / "m.csv",
        work=tmp_path / "work",
    )
    part = load_part(**problem, part="test")
    logits = predict_logits(load_network(tmp_path / "m.keras"), part, 64)
    assert abs(mean_auc(part.labels, logits) - 0.5) < 0.1


def test_early_stopping_waits_for_patience_epochs(tmp_path):
    from thorax.models.fit import train

    problem = write_problem(tmp_path)
    settings = Training(**{**SETTINGS, "epochs": 30, "patience": 2, "min_delta": 100.0})
    train(
        settings,
        **problem,
        weights=None,
        out=tmp_path / "m.keras",
        history=tmp_path / "m.csv",
        work=tmp_path / "work",
    )
    assert len(pd.read_csv(tmp_path / "m.csv")) == 3  # the first epoch improves on nothing, then two do not


def test_gradients_left_at_the_end_of_an_epoch_are_averaged_and_applied():
    """By hand: the gradient of mean(w x) is mean(x); batches of 1 to 6, four to an update, then four of 1."""
    import keras

    from thorax.models.fit import apply_rest

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=4), loss=lambda _, y: keras.ops.mean(y, axis=-1))
    for epoch, weight, updates in (([1, 2, 3, 4, 5, 6], -0.25 - 0.55, 2), ([1, 1, 1, 1], -0.9, 3)):
        for value in epoch:
            model.train_on_batch(np.full((2, 1), value, "float32"), np.zeros((2, 1), "float32"))
        apply_rest(model.optimizer)
        assert float(model.get_weights()[0].item()) == pytest.approx(weight)
        assert int(model.optimizer.iterations) == updates
        apply_rest(model.optimizer)  # nothing is left
        assert float(model.get_weights()[0].item()) == pytest.approx(weight)
    plain = keras.optimizers.SGD(0.1)
    plain.build(model.trainable_variables)
    apply_rest(plain)
    assert float(model.get_weights()[0].item()) == pytest.approx(-0.9)


def test_an_epoch_shorter_than_an_accumulation_is_one_update(tmp_path):
    """Three batches an epoch: 16 to an update train as 3 do, in every epoch and over the switch to fine-tuning."""
    from thorax.models.fit import train

    problem, histories = write_problem(tmp_path), []
    for accumulate in (16, 3):
        changed = {"batch_size": 40, "accumulate": accumulate, "epochs": 3, "frozen_epochs": 1, "dropout": 0.0}
        train(
            Training(**{**SETTINGS, **changed}),
            **problem,
            weights=None,
            out=tmp_path / "m.keras",
            history=tmp_path / "m.csv",
            work=tmp_path / "work",
        )
        histories.append(pd.read_csv(tmp_path / "m.csv"))
    pd.testing.assert_frame_equal(*histories, rtol=1e-4)
    assert histories[0]["val_loss"].nunique() == 3


def test_a_diverging_training_says_so_and_leaves_nothing(tmp_path):
    from thorax.models.fit import train

    problem = write_problem(tmp_path)
    settings = Training(**{**SETTINGS, "learning_rate": 1e38})
    with pytest.raises(ThoraxError, match=r"cnn diverged in .*epoch \d+ .*: lower learning_rate"):
        train(
            settings,
            **problem,
            weights=None,
            out=tmp_path / "m.keras",
            history=tmp_path / "m.csv",
            work=tmp_path / "work",
        )
    assert not list(tmp_path.glob("*.keras"))
    assert not (tmp_path / "m.csv").exists()


def test_weights_must_fit_the_settings(tmp_path):
    from thorax.models.network import build_model

    with pytest.raises(ThoraxError, match="weights: imagenet does not fit"):
        build_model(Training(backbone="cnn"), SIZE, 2)


def test_an_epoch_depends_on_seed_and_number_alone(tmp_path):
    from thorax.models.batches import load_part, training_batches

    part = load_part(**write_problem(tmp_path), part="train")
    first = list(training_batches(part, 16, 3, 5, Augmentation(), workers=1))
    second = list(training_batches(part, 16, 3, 5, Augmentation(), workers=4))
    assert len(first) == len(second) == 140 // 16
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    other_epoch = next(training_batches(part, 16, 3, 6, Augmentation()))
    assert not np.array_equal(first[0][0], other_epoch[0])


def test_without_augmentation_an_epoch_holds_each_image_once_with_its_labels(tmp_path):
    from thorax.models.batches import load_part, training_batches

    part = load_part(**write_problem(tmp_path), part="train")
    pixels, labels = (np.concatenate(values) for values in zip(*training_batches(part, 20, 0, 0, None), strict=True))
    expected = part.images.take(part.shards, part.rows)
    place = {image.tobytes(): index for index, image in enumerate(expected)}
    found = [place[image[..., 0].tobytes()] for image in pixels]
    assert sorted(found) == list(range(140))
    np.testing.assert_array_equal(labels, part.labels[found])


def test_images_without_a_known_label_are_predicted_but_teach_nothing(tmp_path):
    from thorax.models.batches import load_part

    problem = write_problem(tmp_path)
    labels, split = (store.read_table(problem[name]) for name in ("labels", "split"))
    train = split.loc[split["split"] == "train", "image_id"].tolist()
    unknown, half_known = labels["image_id"].isin(train[:30]), labels["image_id"].isin(train[30:50])
    labels.loc[unknown | half_known, "top"] = schemas.IGNORED
    labels.loc[unknown, "bottom"] = schemas.IGNORED
    store.write_table(labels, problem["labels"], schemas.labels_schema(["top", "bottom"]))
    assert sorted(load_part(**problem, part="train", with_known_label=True).image_ids) == sorted(train[30:])
    assert sorted(load_part(**problem, part="train").image_ids) == sorted(train)


def test_predictions_do_not_depend_on_the_size_of_batches(trained):
    from thorax.backend import load_network
    from thorax.models.batches import load_part, predict_logits

    folder, problem = trained
    part = load_part(**problem, part="val")
    model = load_network(folder / "m.keras")
    np.testing.assert_allclose(predict_logits(model, part, 16), predict_logits(model, part, 7, workers=3), atol=1e-5)


def test_learning_rates_of_the_schedules_by_hand():
    from thorax.models.schedule import learning_rate, stalls

    constant = Training(**{**SETTINGS, "learning_rate": 0.2})
    cosine = Training(**{**SETTINGS, "learning_rate": 0.2, "schedule": "cosine", "epochs": 4})
    assert [learning_rate(constant, epoch) for epoch in range(4)] == [0.2] * 4
    assert [learning_rate(cosine, epoch) for epoch in range(4)] == pytest.approx([0.2, 0.17071, 0.1, 0.02929], abs=1e-5)
    changes = {"learning_rate": 0.2, "schedule": "plateau", "plateau_patience": 2, "plateau_factor": 0.5, "min_delta": 0.01}
    plateau = Training(**{**SETTINGS, **changes, "patience": 3})
    losses = [1.0, 0.9, 0.895, 0.891, 0.88, 0.9, 0.9, 0.9]  # two epochs without progress, a better one, three without
    assert [learning_rate(plateau, epoch, losses) for epoch in range(9)] == [0.2] * 4 + [0.1] * 3 + [0.05] * 2
    assert [stalls(losses[:epoch], plateau.patience, plateau.min_delta) for epoch in range(9)] == [0] * 8 + [1]  # it stops


def test_what_does_not_belong_together_is_refused(trained, tmp_path):
    from thorax.models.batches import load_part

    _, problem = trained
    split = store.read_table(problem["split"])
    store.write_table(split[split["image_id"] != "i0007"], tmp_path / "split.parquet", schemas.SPLITS)
    with pytest.raises(ThoraxError, match=r"split\.parquet has no row for image 'i0007' of .*labels\.parquet"):
        load_part(**{**problem, "split": tmp_path / "split.parquet"}, part="train")
    with pytest.raises(ThoraxError, match=r"images\.0\.npy: 1 of the 2 shards"):
        load_part(**{**problem, "images": problem["images"][:1]}, part="train")
    with pytest.raises(ThoraxError, match=r"labels\.parquet lacks the column patient_id"):
        load_part(**{**problem, "labels": write_without_patients(tmp_path, problem)}, part="train")


def write_without_patients(folder, problem):
    frame = store.read_table(problem["labels"]).drop(columns="patient_id")
    frame.to_parquet(folder / "labels.parquet", index=False)
    return folder / "labels.parquet"


def test_a_history_that_cannot_be_written_is_known_before_the_training(tmp_path, monkeypatch):
    from thorax.models import fit

    problem = write_problem(tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(fit.Fit, "run", lambda *arguments: pytest.fail("trained before it was known where to write"))
    with pytest.raises(ThoraxError, match="file cannot be written"):
        fit.train(
            Training(**SETTINGS),
            **problem,
            weights=None,
            out=tmp_path / "m.keras",
            history=tmp_path / "file" / "m.csv",
            work=tmp_path / "work",
        )
    assert not (tmp_path / "m.keras").exists()


@pytest.mark.parametrize(("value", "kind"), [(0, "positive"), (1, "negative")])
def test_a_class_with_one_value_is_refused_for_every_loss(tmp_path, value, kind):
    from thorax.models.fit import train

    problem = write_problem(tmp_path)
    labels = store.read_table(problem["labels"]).assign(bottom=value)
    store.write_table(labels, problem["labels"], schemas.labels_schema(["top", "bottom"]))
    with pytest.raises(ThoraxError, match=f"class 'bottom' has no {kind} training image"):
        train(
            Training(**{**SETTINGS, "loss": "bce"}),
            **problem,
            weights=None,
            out=tmp_path / "m.keras",
            history=tmp_path / "m.csv",
            work=tmp_path / "work",
        )


@pytest.mark.parametrize("dense_units", [16, 0])
def test_attention_is_written_next_to_the_heatmaps(trained, tmp_path, dense_units):
    from thorax.models.network import build_model
    from thorax.models.predict import predict

    folder, problem = trained
    outputs = {"out": tmp_path / "p.parquet", "heatmaps": tmp_path / "h.npy", "attention": tmp_path / "a.npy"}
    predict(folder / "m.keras", **problem, **outputs)
    table = store.read_table(tmp_path / "p.parquet")
    assert store.open_array(tmp_path / "a.npy").shape == (100, 0, 0)  # a network without attention

    model = build_model(Training(**{**SETTINGS, "head": "attention", "dense_units": dense_units}), SIZE, 2).model
    kernel = np.random.default_rng(0).normal(0, 0.3, 64)
    model.get_layer("attention_scores").kernel.assign(kernel.reshape(1, 1, 64, 1))
    model.save(tmp_path / "m.keras")
    predict(tmp_path / "m.keras", **problem, **outputs)
    attention, maps = store.open_array(tmp_path / "a.npy"), store.open_array(tmp_path / "h.npy")
    assert maps.shape == (100, 2, 3, 3)
    assert np.isfinite(maps).all()
    assert (attention.shape, attention.dtype) == ((100, 3, 3), np.float32)
    np.testing.assert_allclose(attention.sum(axis=(1, 2)), 1, rtol=1e-5)
    ingested = store.read_table(problem["ingested"]).set_index("image_id").loc[table["image_id"]]
    images = np.stack([store.open_array(problem["images"][row.shard])[row.row] for row in ingested.itertuples()])
    scores = keras_features(model, images) @ kernel
    expected = np.exp(scores) / np.exp(scores).sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(attention, expected, rtol=1e-4)
    assert np.ptp(attention) > 0.01


def keras_features(model, images):
    import keras

    return np.asarray(keras.Model(model.input, model.get_layer("features").output)(images[..., None]))


def test_a_network_that_does_not_fit_is_not_asked(trained, tmp_path):
    from thorax.models.predict import predict

    folder, problem = trained
    outputs = {"out": tmp_path / "p.parquet", "heatmaps": tmp_path / "h.npy"}
    one_class = store.read_table(problem["labels"]).drop(columns="bottom")
    store.write_table(one_class, tmp_path / "labels.parquet", schemas.labels_schema(["top"]))
    other = {**problem, "labels": tmp_path / "labels.parquet"}
    with pytest.raises(ThoraxError, match=r"m\.keras has outputs of shape \(2,\), but .*labels\.parquet has 1 classes"):
        predict(folder / "m.keras", **other, **outputs)
    for shard in (0, 1):
        store.write_array(np.zeros((120, 40, 40), np.uint8), tmp_path / f"{shard}.npy")
    other = {**problem, "images": [tmp_path / "0.npy", tmp_path / "1.npy"]}
    with pytest.raises(ThoraxError, match=r"m\.keras takes images of shape \(24, 24, 1\), but .*0\.npy has 40 x 40 pixels"):
        predict(folder / "m.keras", **other, **outputs)
    assert not outputs["out"].exists()
    assert not outputs["heatmaps"].exists()


def test_a_network_is_asked_about_the_test_images_of_another_problem(trained, tmp_path):
    from thorax.models.predict import predict

    folder, problem = trained
    there = write_problem(tmp_path)
    table = store.read_table(there["labels"])
    renamed = table.rename(columns={"top": "left"}).drop(columns="bottom").iloc[::-1]
    store.write_table(renamed, there["labels"], schemas.labels_schema(["left"]))
    predict(folder / "m.keras", **there, classes=problem["labels"], out=tmp_path / "p.parquet")
    found = store.read_table(tmp_path / "p.parquet")
    assert list(found.columns) == ["image_id", "split", "top", "bottom"]
    split = store.read_table(there["split"]).set_index("image_id")["split"]
    assert list(found["image_id"]) == sorted(split.index[split == "test"])
    assert set(found["split"]) == {"test"}
    truth = table.set_index("image_id").loc[found["image_id"]]  # both problems draw the same squares
    assert metrics.auc(truth["top"].to_numpy(), found["top"].to_numpy()) > 0.9
    with pytest.raises(ThoraxError, match=r"m\.keras has outputs of shape \(2,\), but .*labels\.parquet has 1 classes"):
        predict(folder / "m.keras", **there, out=tmp_path / "no.parquet")
    for shard in (0, 1):
        store.write_array(np.zeros((120, 40, 40), np.uint8), tmp_path / f"images.{shard}.npy")
    with pytest.raises(ThoraxError, match=r"m\.keras takes images of shape \(24, 24, 1\), but .*images\.0\.npy has 40 x 40"):
        predict(folder / "m.keras", **there, classes=problem["labels"], out=tmp_path / "no.parquet")
    assert not (tmp_path / "no.parquet").exists()


def test_damaged_networks_are_named(trained, tmp_path):
    from thorax.backend import load_network

    whole = (trained[0] / "m.keras").read_bytes()
    damaged = {
        "no_zip": b"no zip",
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "altered": whole[:200] + b"?" * 2000 + whole[2200:],
    }
    damaged["without_end"] = whole[:-30]
    for name, content in damaged.items():
        (tmp_path / f"{name}.keras").write_bytes(content)
        with pytest.raises(ThoraxError, match=rf"{name}\.keras is not a network that can be loaded"):
            load_network(tmp_path / f"{name}.keras")
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ThoraxError, match=r"other\.keras is not a network that can be loaded"):
        load_network(tmp_path / "other.keras")
    with pytest.raises(ThoraxError, match="is not there"):
        load_network(tmp_path / "missing.keras")


def test_tensorboard_gets_what_the_history_has(tmp_path, monkeypatch):
    import tensorflow as tf

    from thorax import backend

    values = {"epoch": 3.0, "loss": 0.25, "val_auc": 0.75}
    backend.show("member-1", values)
    assert not list(tmp_path.iterdir())  # only where a folder is named
    monkeypatch.setenv("THORAX_TENSORBOARD", str(tmp_path))
    backend.show("member-1", values)
    (events,) = (tmp_path / "member-1").iterdir()
    shown = {
        value.tag: value.simple_value
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
        if event.step == 3
    }
    assert shown == values


def store_raw(folder, problem, high=4095):
    """The same images with 12-bit values, as an image set with intensity: stored holds them."""
    paths = [folder / f"raw.{shard}.npy" for shard in (0, 1)]
    for source, path in zip(problem["images"], paths, strict=True):
        store.write_array((store.open_array(source).astype(int) * high // 255).astype(np.uint16), path)
    return {**problem, "images": paths}


def test_a_network_of_stored_values_sees_the_numbers_of_the_file(trained, tmp_path):
    from thorax.backend import load_network
    from thorax.models.batches import load_part, predict_logits
    from thorax.models.fit import train
    from thorax.models.predict import predict

    _, problem = trained
    raw = store_raw(tmp_path, problem)
    settings = Training(**{**SETTINGS, "epochs": 1, "augmentation": None, "input_scaling": "none", "precision": "float32"})
    outputs = {"out": tmp_path / "m.keras", "history": tmp_path / "m.csv", "work": tmp_path / "work"}
    train(settings, **raw, weights=None, **outputs)
    network, part = load_network(tmp_path / "m.keras"), load_part(**raw, part="val")
    assert network.inputs[0].dtype == part.dtype == "uint16"
    assert np.isfinite(pd.read_csv(tmp_path / "m.csv")["val_loss"]).all()
    import keras

    inner = keras.Model(network.input, network.get_layer("backbone_range").output)
    pixels = part.images.take(part.shards[:2], part.rows[:2])[..., None]
    assert pixels.max() > 1000
    seen = keras.ops.convert_to_numpy(inner(pixels))
    np.testing.assert_array_equal(seen, np.repeat(pixels, 3, axis=-1).astype(np.float32))
    assert predict_logits(network, part, 16).shape == (40, 2)
    with pytest.raises(ThoraxError, match=r"m\.keras takes images of uint16, but .*images\.0\.npy holds uint8"):
        predict(tmp_path / "m.keras", **problem, out=tmp_path / "p.parquet", heatmaps=tmp_path / "h.npy")


@pytest.mark.parametrize(
    ("raw", "changes", "sentence"),
    [
        (True, {"augmentation": None}, r"input_scaling: unit does not fit .*raw\.0\.npy, which holds uint16: set it to none"),
        (True, {"input_scaling": "none"}, r"raw\.0\.npy holds stored values, and augmentation changes 8-bit images only"),
        (False, {"input_scaling": "none"}, r"input_scaling: none does not fit .*which holds uint8: set it to unit or backbone"),
    ],
)
def test_settings_must_fit_the_intensities(trained, tmp_path, raw, changes, sentence):
    from thorax.models.fit import train

    _, problem = trained
    images = store_raw(tmp_path, problem) if raw else problem
    outputs = {"out": tmp_path / "m.keras", "history": tmp_path / "m.csv", "work": tmp_path / "work"}
    with pytest.raises(ThoraxError, match=sentence):
        train(Training(**{**SETTINGS, **changes}), **images, weights=None, **outputs)


def test_test_images_are_evaluated_after_every_epoch_and_decide_nothing(trained, tmp_path):
    """The kept epoch's rows are what the metrics of the predictions say; history and weights are those without the setting."""
    from thorax.backend import load_network
    from thorax.evaluation.metrics import make_metrics
    from thorax.models.fit import train
    from thorax.models.predict import predict

    folder, problem = trained
    settings = Training(**{**SETTINGS, "test_every_epoch": [0.4, 0.5, 0.75]})
    outputs = {"out": tmp_path / "m.keras", "history": tmp_path / "m.csv", "work": tmp_path / "work"}
    with pytest.raises(
        ThoraxError, match="test_every_epoch has thresholds, and no file is named for the results: give --epochs"
    ):
        train(settings, **problem, weights=None, **outputs)
    train(settings, **problem, weights=None, **outputs, epochs=tmp_path / "e.csv")
    assert (tmp_path / "m.csv").read_bytes() == (folder / "m.csv").read_bytes()
    networks = [load_network(path / "m.keras") for path in (tmp_path, folder)]
    for a, b in zip(*(network.get_weights() for network in networks), strict=True):
        np.testing.assert_array_equal(a, b)

    tested = pd.read_csv(tmp_path / "e.csv")
    assert list(tested.columns) == list(schemas.EPOCHS_COLUMNS)
    assert tested["epoch"].tolist() == [epoch for epoch in (1, 2, 3, 4) for _ in range(4)]
    assert tested["threshold"].fillna(-1).tolist() == [-1, 0.4, 0.5, 0.75] * 4
    best = int(pd.read_csv(tmp_path / "m.csv").set_index("epoch")["val_loss"].idxmin())
    kept = tested[tested["epoch"] == best].set_index("threshold")
    predict(tmp_path / "m.keras", **problem, out=tmp_path / "p.parquet", heatmaps=tmp_path / "h.npy")
    make_metrics(
        problem["labels"], problem["split"], {"m": tmp_path / "p.parquet"}, {}, tmp_path / "metrics.parquet", tmp_path / "s.json",
        tmp_path / "t.parquet", 0, 0, ["fixed-0.4", "fixed-0.5", "fixed-0.75"],
    )  # fmt: skip
    rows = store.read_table(tmp_path / "metrics.parquet").query("split == 'test' and `class` == 'Global'")
    measured = rows.set_index(["threshold_rule", "metric"])["value"]
    for limit in (0.4, 0.5, 0.75):
        assert kept.loc[limit, "auc"] == pytest.approx(measured[f"fixed-{limit:g}", "auc_thresholded"], abs=1e-5)
        for metric in ("f1", "f1_positive"):
            assert kept.loc[limit, metric] == pytest.approx(measured[f"fixed-{limit:g}", metric], abs=1e-5)
    probabilities = tested[tested["threshold"].isna()]
    assert probabilities.loc[probabilities["epoch"] == best, "auc"].item() == pytest.approx(measured["none", "auc"], abs=1e-5)
    assert probabilities["f1"].isna().all()


def test_without_thresholds_the_test_images_are_not_read_and_the_table_is_empty(trained, tmp_path, monkeypatch):
    from thorax.models import fit

    _, problem = trained
    read = []
    real = fit.load_part
    monkeypatch.setattr(fit, "load_part", lambda *a, **named: read.append(a[4]) or real(*a, **named))
    outputs = {"out": tmp_path / "m.keras", "history": tmp_path / "m.csv", "work": tmp_path / "work"}
    settings = Training(**{**SETTINGS, "epochs": 1})
    fit.train(settings, **problem, weights=None, **outputs, epochs=tmp_path / "e.csv")
    assert read == ["train", "val"]
    assert (tmp_path / "e.csv").read_text() == "epoch,threshold,auc,f1,f1_positive\n"


def test_trainings_without_thresholds_find_the_states_of_before_the_setting(trained, tmp_path, monkeypatch):
    from thorax.models import fit

    _, problem = trained
    keyed = []
    real = fit.digest
    monkeypatch.setattr(fit, "digest", lambda decides, files: keyed.append(decides["settings"]) or real(decides, files))
    monkeypatch.setattr(fit.Fit, "run", lambda fit: 1 / 0)  # only the key is looked at
    outputs = {"out": tmp_path / "m.keras", "history": tmp_path / "m.csv", "work": tmp_path / "work"}
    for thresholds in ([], [0.5]):
        with pytest.raises(ZeroDivisionError):
            fit.train(
                Training(**{**SETTINGS, "test_every_epoch": thresholds}),
                **problem,
                weights=None,
                **outputs,
                epochs=tmp_path / "e",
            )
    without, with_thresholds = keyed
    assert "test_every_epoch" not in without
    assert with_thresholds == {**without, "test_every_epoch": [0.5]}


def test_sums_of_gradients_are_computed_as_they_were_written():
    """Seen on a busy machine: InceptionResNetV2 had another last bit of a gradient in one of a hundred steps."""
    import tensorflow as tf

    from thorax import backend

    backend.prepare(0, 1)
    assert tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"]
