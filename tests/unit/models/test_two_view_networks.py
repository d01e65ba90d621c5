"""Networks that see two views of a study: which images come together, what they learn, what explains them."""

import numpy as np
import pandas as pd
import pytest

from tests.unit.models.test_fit import SETTINGS, SIZE, write_problem
from thorax.cli import main
from thorax.config import Augmentation, Training
from thorax.errors import ThoraxError
from thorax.models import augment, resume
from thorax.models.batches import LabelledImages, PlacedImages, SecondView, load_part, predict_logits, training_batches
from thorax.models.heads import HEADS
from thorax.storage import schemas, store

PLAIN = Training(**{**SETTINGS, "epochs": 6})


def write_studies(folder):
    """Images of noise, where only the second view shows the bright squares that the labels tell of.

    Second images lie in other shards than the first ones, in reverse order, among others that belong to no study.
    """
    problem = write_problem(folder)
    lateral = [store.open_array(path) for path in problem["images"]]
    lateral = np.concatenate(lateral)[::-1]
    noise = np.random.default_rng(5).normal(100, 15, lateral.shape)
    for path, half in zip(problem["images"], np.split(np.clip(noise, 0, 255).astype(np.uint8), 2), strict=True):
        store.write_array(half, path)
    n = len(lateral)
    ids = store.read_table(problem["ingested"])["image_id"].sort_values().tolist()[::-1]
    sizes = [40, 100, n - 140 + 7]
    unrelated = np.zeros((7, SIZE, SIZE), np.uint8)
    packed = np.split(np.concatenate([unrelated, lateral]), np.cumsum(sizes)[:-1])
    paths = [folder / f"second.{shard}.npy" for shard in range(3)]
    for path, array in zip(paths, packed, strict=True):
        store.write_array(array, path)
    known = [f"x{number}" for number in range(7)] + [f"L-{name}" for name in ids]
    ingested = pd.DataFrame({name: [0] * len(known) for name in schemas.INGESTED.names}).assign(
        image_id=known,
        ok=True,
        reason=None,
        shard=np.repeat(range(3), sizes),
        row=np.concatenate([np.arange(s) for s in sizes]),
    )
    store.write_table(ingested.sample(frac=1, random_state=0), folder / "second.parquet", schemas.INGESTED)
    pairs = pd.DataFrame({"image_id": ids, "second_id": [f"L-{name}" for name in ids]})
    store.write_table(pairs, folder / "pairs.parquet", schemas.TWO_VIEWS)
    return problem, SecondView(folder / "pairs.parquet", folder / "second.parquet", paths)


def given(second: SecondView | None) -> dict:
    """The files of the second view as training and prediction take them."""
    return {"pairs": second.pairs, "second_ingested": second.ingested, "second_images": second.images} if second else {}


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    return folder, *write_studies(folder)


@pytest.fixture(scope="module")
def trained(studies):
    from thorax.models.fit import train

    folder, problem, second = studies
    outputs = {"out": folder / "m.keras", "history": folder / "m.csv", "work": folder / "work"}
    train(PLAIN, **problem, weights=None, **outputs, **given(second))
    return folder, problem, second


def images_of(ids, ingested, paths):
    places = store.read_table(ingested).set_index("image_id").loc[list(ids)]
    return np.stack([store.open_array(paths[place.shard])[place.row] for place in places.itertuples()])


def test_each_row_has_the_second_image_of_its_own_study(studies):
    _, problem, second = studies
    part = load_part(**problem, part="train", second=second)
    np.testing.assert_array_equal(
        part.take(np.arange(len(part)))[..., 0], images_of(part.image_ids, problem["ingested"], problem["images"])
    )
    seconds = images_of([f"L-{name}" for name in part.image_ids], second.ingested, second.images)
    np.testing.assert_array_equal(part.take(np.arange(len(part)))[..., 1], seconds)
    squares = seconds[:, 4:9, 8:16].mean(axis=(1, 2)) > 130
    np.testing.assert_array_equal(squares, part.labels[:, part.classes.index("top")] == 1)
    ((pixels, labels),) = training_batches(part, len(part), 1, 2, None)
    assert (pixels.shape, pixels.dtype) == ((len(part), SIZE, SIZE, 2), np.uint8)
    np.testing.assert_array_equal(pixels[:, 4:9, 8:16, 1].mean(axis=(1, 2)) > 130, labels[:, part.classes.index("top")] == 1)


def test_one_view_is_as_it_would_be_alone_and_the_other_has_changes_of_its_own(studies):
    _, problem, second = studies
    both, alone = (load_part(**problem, part="train", second=seen) for seen in (second, None))
    same = LabelledImages(**{**vars(alone), "second": PlacedImages(alone.images, alone.shards, alone.rows)})
    changes = Augmentation(elastic=0.1, mixup=0.4)
    for (pixels, labels), (twice, _), (one, known) in zip(
        training_batches(both, 32, 3, 4, changes, workers=2), training_batches(same, 32, 3, 4, changes),
        training_batches(alone, 32, 3, 4, changes), strict=True,
    ):  # fmt: skip
        np.testing.assert_array_equal(pixels[..., :1], one)
        np.testing.assert_array_equal(twice[..., :1], one)
        np.testing.assert_array_equal(labels, known)
        assert not np.array_equal(twice[..., 0], twice[..., 1])


def test_mixup_mixes_both_views_with_the_same_study_in_the_same_shares(studies):
    _, problem, second = studies
    part = load_part(**problem, part="train", second=second)
    ((pixels, _),) = training_batches(part, len(part), 7, 1, Augmentation())
    ((mixed, _),) = training_batches(part, len(part), 7, 1, Augmentation(mixup=0.4))
    partners, weights = augment.draw_mix(0.4, len(part), np.random.default_rng([7, 1, 3]))
    share = weights[:, None, None, None]
    np.testing.assert_allclose(mixed, share * pixels + (1 - share) * pixels[partners], atol=0.51)


def test_it_learns_from_the_second_view_alone_and_is_the_same_when_loaded(trained, tmp_path):
    from thorax.backend import load_network
    from thorax.models.fit import mean_auc
    from thorax.models.predict import predict

    folder, problem, second = trained
    model = load_network(folder / "m.keras")
    part = load_part(**problem, part="test", second=second)
    logits = predict_logits(model, part, 16, workers=2)
    assert mean_auc(part.labels, logits) > 0.95
    swapped = LabelledImages(**{**vars(part), "second": PlacedImages(part.second.images, *(np.roll(where, 1) for where in (part.second.shards, part.second.rows)))})  # fmt: skip
    assert mean_auc(part.labels, predict_logits(model, swapped, 16)) < 0.75
    outputs = {"out": tmp_path / "p.parquet", "heatmaps": tmp_path / "h.npy"}
    predict(folder / "m.keras", **problem, **outputs, **given(second))
    table = store.read_table(tmp_path / "p.parquet")
    assert store.open_array(tmp_path / "h.npy").shape == (len(table), 2, 3, 3)
    table = table.set_index("image_id").loc[part.image_ids]
    np.testing.assert_allclose(table[part.classes], logits, atol=1e-5)


def test_an_interrupted_training_ends_as_if_it_had_not_been(trained, tmp_path, monkeypatch):
    from thorax.backend import load_network
    from thorax.models import fit

    folder, problem, second = trained
    epoch = fit.Fit._epoch

    def until_the_third(fit):
        if fit.progress.epoch == 2:
            raise KeyboardInterrupt
        epoch(fit)

    outputs = {"out": tmp_path / "r.keras", "history": tmp_path / "r.csv", "work": tmp_path / "work"}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fit.Fit, "_epoch", until_the_third)
        fit.train(PLAIN, **problem, weights=None, **outputs, **given(second))
    assert not (tmp_path / "r.csv").exists()
    fit.train(PLAIN, **problem, weights=None, **outputs, **given(second))
    assert (tmp_path / "r.csv").read_bytes() == (folder / "m.csv").read_bytes()
    weights = (load_network(path).get_weights() for path in (tmp_path / "r.keras", folder / "m.keras"))
    for resumed, whole in zip(*weights, strict=True):
        np.testing.assert_array_equal(resumed, whole)


def test_the_resume_state_is_that_of_these_second_images(trained, monkeypatch):
    from thorax.models.fit import train

    folder, problem, second = trained
    asked = []
    digest = resume.digest
    monkeypatch.setattr(
        "thorax.models.fit.digest", lambda decides, files: asked.append((decides, files)) or digest(decides, files)
    )
    monkeypatch.setattr("thorax.models.fit.States", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    for seen in (second, None):
        with pytest.raises(KeyboardInterrupt):
            train(PLAIN, **problem, weights=None, out=folder / "x.keras", history=folder / "x.csv",
                  work=folder / "work", **given(seen))  # fmt: skip
    (decides, files), (decides_alone, files_alone) = asked
    assert decides == decides_alone
    assert files_alone == [problem["labels"], problem["split"], problem["ingested"], *problem["images"]]
    assert files == [*files_alone, second.pairs, second.ingested, *second.images]


def test_each_view_has_a_backbone_of_its_own_of_which_the_same_share_is_frozen():
    from thorax.models.network import build_model

    one, two = (build_model(Training(backbone="cnn", weights="none", freeze=0.34), 32, 3, views=views) for views in (1, 2))
    assert [layer.name for layer in one.model.layers][-5:] == ["features", "pooled", "hidden", "dropout", "logits"]
    assert one.model.name == two.model.name == "cnn"
    assert (one.fixed, two.fixed) == (1, 2)
    branches = [[layer.name for layer in layers if not layer.trainable] for layers in two.backbones]
    assert branches == [["conv_16"], ["conv_16"]]
    first, second = (layers[0].kernel.numpy() for layers in two.backbones)
    assert not np.array_equal(first, second)
    head = sum(layer.count_params() for layer in one.model.layers[-4:])
    assert two.model.count_params() == 2 * one.model.count_params() - head


def test_imagenet_weights_go_into_both_backbones(tmp_path):
    import keras

    from thorax.models.network import build_model

    published = keras.applications.MobileNet(include_top=False, weights=None, input_shape=(32, 32, 3))
    published.save_weights(tmp_path / "w.weights.h5")
    weights = tmp_path / "w.weights.h5"
    network = build_model(Training(backbone="MobileNet", dense_units=0), 32, 2, str(weights), views=2)
    for layers in network.backbones:
        kernels = [layer.kernel.numpy() for layer in layers if layer.name == "conv_pw_13"]
        np.testing.assert_array_equal(kernels[0], published.get_layer("conv_pw_13").kernel.numpy())


@pytest.mark.parametrize("dense_units", [24, 0])
@pytest.mark.parametrize("head", HEADS)
def test_heatmaps_of_the_first_view_are_the_gradient(studies, tmp_path, head, dense_units):
    import keras
    import tensorflow as tf

    from thorax.models.network import build_model
    from thorax.models.predict import predict

    _, problem, second = studies
    model = build_model(Training(**{**SETTINGS, "head": head, "dense_units": dense_units}), SIZE, 2, views=2).model
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if layer.name.startswith(("logits", "hidden", "attention_scores")):
            for weight in layer.weights:
                weight.assign(rng.normal(0, 0.3, weight.shape))
    kernel = model.get_layer("logits").kernel
    kernel.assign(np.asarray(kernel)[:, :1] * [1, -1])  # what speaks against one class speaks for the other
    model.save(tmp_path / "m.keras")
    part = load_part(**problem, part="test", second=second)
    chosen = [4, 0, 9]
    attention = tmp_path / "a.npy" if head == "attention" else None
    predict(tmp_path / "m.keras", **problem, out=tmp_path / "p.parquet",
            heatmaps=tmp_path / "h.npy", attention=attention, **given(second))  # fmt: skip
    rows = pd.Index(store.read_table(tmp_path / "p.parquet")["image_id"]).get_indexer(part.image_ids[chosen])
    maps = store.open_array(tmp_path / "h.npy")[rows]

    inner = keras.Model(model.input, [model.get_layer(f"features_{view}").output for view in ("first", "second")])
    behind = keras.Model(inner.outputs, model.output)
    features = inner(part.take(np.array(chosen)), training=False)
    for c in range(2):
        with tf.GradientTape() as tape:
            tape.watch(features)
            score = behind(features, training=False)[:, c]
        alpha = tf.reduce_mean(tape.gradient(score, features[0]), axis=(1, 2))  # Selvaraju et al. 2017, equation 1
        expected = tf.nn.relu(tf.einsum("nhwk,nk->nhw", features[0], alpha))
        np.testing.assert_allclose(maps[:, c], expected, atol=1e-6)
    assert maps.max(axis=(1, 2, 3)).min() > 1e-3
    if head == "attention":
        weights = keras.Model(model.input, model.get_layer("attention_first").output)(part.take(np.array(chosen)))
        np.testing.assert_allclose(store.open_array(attention)[rows], np.asarray(weights)[..., 0], rtol=1e-5)


def test_what_does_not_fit_together_is_one_sentence(trained, tmp_path, capsys):
    from thorax.models.network import build_model
    from thorax.models.predict import predict

    folder, problem, second = trained
    pairs = store.read_table(second.pairs)
    store.write_table(pairs[1:], tmp_path / "few.parquet", schemas.TWO_VIEWS)
    with pytest.raises(ThoraxError, match=r"few\.parquet has no row for image 'i0239'"):
        for part in ("train", "val", "test"):
            load_part(**problem, part=part, second=SecondView(tmp_path / "few.parquet", second.ingested, second.images))
    larger = [tmp_path / path.name for path in second.images]
    for path, source in zip(larger, second.images, strict=True):
        store.write_array(np.zeros((len(store.open_array(source)), 8, 8), np.uint8), path)
    with pytest.raises(
        ThoraxError, match=r"second\.0\.npy has images of another size or type than .*images\.0\.npy: remake both"
    ):
        load_part(**problem, part="val", second=SecondView(second.pairs, second.ingested, larger))
    outputs = {"out": tmp_path / "p.parquet", "heatmaps": tmp_path / "h.npy"}
    with pytest.raises(ThoraxError, match=r"m\.keras takes images of shape \(24, 24, 2\), .* is given 1: predict with second"):
        predict(folder / "m.keras", **problem, **outputs)
    build_model(PLAIN, SIZE, 2).model.save(tmp_path / "one.keras")
    with pytest.raises(ThoraxError, match=r"one\.keras takes images of shape \(24, 24, 1\), .* is given 2: predict without"):
        predict(tmp_path / "one.keras", **problem, **outputs, **given(second))
    arguments = ["predict-parts", "--model", "m", "--labels", "l", "--split", "s", "--ingested", "i", "--images", "a"]
    assert main([*arguments, "--out", "o", "--heatmaps", "h", "--pairs", "p"]) == 1
    assert capsys.readouterr().err.startswith("thorax: --pairs, --second-ingested and --second-images go together")
