"""The registry: what is frozen, how inputs are scaled, and that wrong names and sizes are refused."""

import sys

import numpy as np
import pytest

from thorax import backend
from thorax.bundles import networks
from thorax.config import Training
from thorax.errors import ThoraxError
from thorax.explanation import gradcam
from thorax.models import architectures, backbones, heads, losses, pretrained

PUBLISHED = [name for name, backbone in architectures.BACKBONES.items() if backbone.constructor]
MEAN_SLOPE = np.mean(1 / np.array(backbones.IMAGENET_DEVIATION))
PADDED_UNEQUALLY = ("EfficientNetB0", "DenseNet121", "DenseNet201", "ResNet50", "VGG19", "EfficientNetV2B0")
CONVOLUTIONS = {  # all of them, the fixed tenth, and the start of the name of the last layer
    "EfficientNetB0": (81, 8, "top_activation"),
    "DenseNet121": (120, 12, "relu"),
    "DenseNet201": (200, 20, "relu"),
    "InceptionV3": (94, 9, "mixed10"),
    "InceptionResNetV2": (244, 24, "conv_7b_ac"),
    "Xception": (40, 4, "block14_sepconv2_act"),
    "ResNet50": (53, 5, "conv5_block3_out"),
    "VGG19": (16, 2, "block5_pool"),
    "MobileNet": (27, 3, "conv_pw_13_relu"),
    "ConvNeXtTiny": (22, 2, "layer_normalization"),
    "EfficientNetV2B0": (91, 9, "top_activation"),
    "cnn": (3, 0, "relu_64"),
}


def with_head(settings: Training, size: int, classes: int):
    """A whole network with random weights, and the number of convolutional layers that are fixed."""
    import keras

    inputs, features, layers = backbones.build_features(settings, size, None)
    fixed = backbones.freeze(layers, settings.freeze)
    return keras.Model(inputs, heads.build_head(features, classes, settings)), fixed


def test_unknown_name_and_small_images_are_refused():
    with pytest.raises(
        ThoraxError, match=r"'resnet50' is not known \(did you mean 'ResNet50'\?\): choose one of .*DenseNet201"
    ):
        backbones.find("resnet50", 224)
    with pytest.raises(ThoraxError, match="InceptionV3 needs images of at least 75 pixels, not 64"):
        backbones.find("InceptionV3", 64)


def test_freeze_takes_the_first_share_of_convolutions_and_what_lies_between():
    import keras

    layers = [keras.layers.Conv2D(1, 1) if i % 2 == 0 else keras.layers.BatchNormalization() for i in range(20)]
    assert backbones.freeze(layers, 0.2) == 2
    assert [layer.trainable for layer in layers] == [False] * 3 + [True] * 17
    assert backbones.freeze(layers, 0) == 0
    assert backbones.freeze(layers, 1) == 10
    assert not any(layer.trainable for layer in layers), "the normalisation behind the last convolution included"


def test_frozen_layers_do_not_move():
    import keras

    settings = Training(backbone="cnn", weights="none", freeze=0.34, dense_units=8)
    model, fixed = with_head(settings, 32, 2)
    assert fixed == 1
    before = {layer.name: [np.array(w) for w in layer.get_weights()] for layer in model.layers}
    model.compile(keras.optimizers.Adam(0.1), "mse")
    rng = np.random.default_rng(0)
    model.fit(rng.integers(0, 255, (16, 32, 32, 1)).astype("uint8"), rng.normal(size=(16, 2)), verbose=0)
    moved = {
        layer.name: any((a != b).any() for a, b in zip(before[layer.name], layer.get_weights(), strict=True))
        for layer in model.layers
        if layer.get_weights()
    }
    assert not moved["conv_16"]
    assert moved["conv_32"]
    assert moved["logits"]


def scaled(pixels, name: str, wanted: str, channels: int):
    """What a backbone is fed with for packed (n, h, w, 1) pixels, before layers of its own."""
    import keras

    inputs = keras.Input(pixels.shape[1:], dtype="uint8")
    unit = keras.layers.Rescaling(1 / 255)(inputs)
    grey = unit if channels == 1 else keras.layers.Concatenate()([unit] * 3)
    return np.asarray(keras.Model(inputs, backbones._scale(grey, architectures.BACKBONES[name], wanted))(pixels))


GREYS = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_scaling_of_three_channels_is_the_published_one(name):
    import keras

    module = sys.modules[getattr(keras.applications, name).__module__]
    expected = module.preprocess_input(np.repeat(GREYS, 3, axis=-1).astype(np.float32))
    np.testing.assert_allclose(scaled(GREYS, name, "backbone", 3), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "wanted", "channels", "low", "high"),
    [
        ("Xception", "unit", 3, 0, 1),
        ("ResNet50", "unit", 1, 0, 1),
        ("EfficientNetB0", "unit", 3, 0, 255),  # its own first layer divides by 255
        ("Xception", "backbone", 1, -1, 1),
        ("EfficientNetB0", "none", 3, 0, 1),  # as it comes
        ("VGG19", "none", 1, 0, 1),
        ("ResNet50", "backbone", 1, -np.mean(backbones.CAFFE_MEAN), 255 - np.mean(backbones.CAFFE_MEAN)),
        ("ConvNeXtTiny", "unit", 1, -0.449 * MEAN_SLOPE, (1 - 0.449) * MEAN_SLOPE),  # in the place of its own layers
        ("EfficientNetB0", "unit", 1, -0.449 * MEAN_SLOPE * 255, (1 - 0.449) * MEAN_SLOPE * 255),  # likewise, times 255
    ],
)
def test_scaling_to_a_range(name, wanted, channels, low, high):
    values = scaled(GREYS, name, wanted, channels)
    assert values.shape[-1] == channels
    assert values.min() == pytest.approx(low, abs=1e-4)
    assert values.max() == pytest.approx(high, abs=1e-4)


def test_momentum_reaches_every_normalisation():
    import keras

    settings = Training(backbone="cnn", weights="none", batch_norm_momentum=0.8)
    model, _ = with_head(settings, 32, 2)
    norms = [layer.momentum for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert norms == [0.8] * 3


def save_as_published(model, path):
    """Write weights as keras publishes them: HDF5, one group per layer, as Keras 2 did."""
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def published_network(name: str, size: int):
    """The architecture as Keras gives it, with random values where a new network has zeros and ones."""
    import keras

    network = getattr(keras.applications, name)(include_top=False, weights=None, input_shape=(size, size, 3))
    rng = np.random.default_rng(0)
    for layer in pretrained.leaves(network.layers):
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            # as in the published file: mean, and the deviation in the place of the variance
            layer.set_weights([np.float32(backbones.IMAGENET_MEAN), np.float32(backbones.IMAGENET_DEVIATION), np.int32(0)])
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(rng.normal(0, 0.1, layer.moving_mean.shape))
        if getattr(layer, "bias", None) is not None:
            layer.bias.assign(rng.normal(0, 0.1, layer.bias.shape))
        if hasattr(layer, "gamma") and layer.name.endswith("layer_scale"):
            layer.gamma.assign(rng.normal(0, 0.3, layer.gamma.shape))
    return network


def stem_and_features(inputs, features, layers, pixels) -> tuple[np.ndarray, np.ndarray]:
    """Responses of the first convolution, (h, w, filters), behind its normalisation where it has no bias; and the features."""
    import keras

    first = next(index for index, layer in enumerate(layers) if backbones.is_convolution(layer))
    if layers[first].name == "convnext_tiny_stem_conv":  # inside a block of its own, together with its normalisation
        outer = next(layer for layer in keras.Model(inputs, features).layers if layer.name == "convnext_tiny_stem")
    else:
        outer = layers[first if layers[first].use_bias else first + 1]
    stem, out = keras.Model(inputs, [outer.output, features])(pixels)
    return np.asarray(stem)[0], np.asarray(out)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_weights_with_three_channels_and_with_one(name, tmp_path):
    """Every layer gets its own weights, and one channel sees the same as three."""
    import keras

    keras.utils.set_random_seed(0)
    size = 96
    published = published_network(name, size)
    save_as_published(published, tmp_path / f"{name}.h5")
    pixels = np.random.default_rng(1).integers(0, 256, (1, size, size, 1)).astype("uint8")
    three, one = (
        backbones.build_features(
            Training(backbone=name, channels=channels, input_scaling="backbone"), size, str(tmp_path / f"{name}.h5")
        )
        for channels in (3, 1)
    )
    given, taken = (
        [layer for layer in layers if layer.weights and not isinstance(layer, keras.layers.Normalization)]
        for layers in (pretrained.leaves(published.layers), three[2])
    )
    for left, right in zip(given, taken, strict=True):
        for value, other in zip(left.get_weights(), right.get_weights(), strict=True):
            np.testing.assert_array_equal(value, other)

    (stem, features), (own_stem, own_features) = (stem_and_features(*network, pixels) for network in (three, one))
    kernel = next(layer for layer in one[2] if backbones.is_convolution(layer)).get_weights()[0]
    assert kernel.shape[2] == 1
    largest = np.abs(stem).max()
    np.testing.assert_allclose(own_stem[3:-3, 3:-3], stem[3:-3, 3:-3], atol=1e-6 * max(largest, 100))
    if name in PADDED_UNEQUALLY:
        assert np.abs(own_stem - stem).max() < 0.06 * largest
    else:
        np.testing.assert_allclose(own_features, features, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["DenseNet121", "VGG19"])  # without and with a bias
def test_one_channel_in_the_unit_range_gives_the_features_of_three(name, tmp_path):
    save_as_published(published_network(name, 64), tmp_path / f"{name}.h5")
    pixels = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 1)).astype("uint8")
    three, one = (
        stem_and_features(
            *backbones.build_features(Training(backbone=name, channels=channels), 64, str(tmp_path / f"{name}.h5")), pixels
        )[1]
        for channels in (3, 1)
    )
    np.testing.assert_allclose(one, three, atol=1e-4)


@pytest.mark.slow
def test_imagenet_weights_from_a_file_standardise_as_efficientnet_was_published(tmp_path):
    import keras

    save_as_published(published_network("EfficientNetB0", 32), tmp_path / "EfficientNetB0.h5")
    inputs, features, _ = backbones.build_features(Training(backbone="EfficientNetB0"), 32, str(tmp_path / "EfficientNetB0.h5"))
    model = keras.Model(inputs, features)
    normalised = next(layer.output for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    values = np.asarray(keras.Model(model.inputs[0], normalised)(np.full((1, 32, 32, 1), 51, "uint8")))[0, 0, 0]
    expected = (0.2 - np.array(backbones.IMAGENET_MEAN)) / np.array(backbones.IMAGENET_DEVIATION)
    np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_a_missing_or_foreign_weights_file_is_named(tmp_path):
    settings = Training(backbone="Xception")
    with pytest.raises(ThoraxError, match=r"no\.h5 is not there: run 'thorax download weights/Xception --root "):
        backbones.build_features(settings, 80, str(tmp_path / "no.h5"))
    (tmp_path / "junk.h5").write_bytes(b"junk")
    with pytest.raises(ThoraxError, match=r"junk\.h5 does not hold the weights of Xception"):
        backbones.build_features(settings, 80, str(tmp_path / "junk.h5"))


def test_the_tiny_network_has_no_published_weights(tmp_path):
    with pytest.raises(ThoraxError, match="backbone cnn has no ImageNet weights: set weights: none"):
        backbones.build_features(Training(backbone="cnn"), 32, str(tmp_path / "cnn.h5"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "head"), [*((name, "dense") for name in architectures.BACKBONES), ("cnn", "attention"), ("MobileNet", "attention")]
)
def test_every_architecture_takes_a_step(name, head):
    """The numbers of convolutions; a step moves what is not fixed; every class gets a heatmap; a bundle can hold it."""
    import keras

    keras.utils.set_random_seed(0)
    smallest = Training(backbone=name, weights="none", freeze=0.1)
    inputs, features, layers = backbones.build_features(smallest, architectures.BACKBONES[name].smallest, None)
    fixed = backbones.freeze(layers, smallest.freeze)
    size = architectures.BACKBONES[name].smallest
    settings = Training(backbone=name, weights="none", head=head, dense_units=64)
    convolutions = [layer for layer in layers if backbones.is_convolution(layer)]
    count, tenth, last_layer = CONVOLUTIONS[name]
    assert (len(convolutions), fixed) == (count, tenth)
    assert layers[-1].name.startswith(last_layer)
    assert [layer.trainable for layer in convolutions] == [False] * fixed + [True] * (len(convolutions) - fixed)
    model = keras.Model(inputs, heads.build_head(features, 3, settings))
    before = [np.array(layer.get_weights()[0]) for layer in convolutions]
    # without a graph: tracing the deep ones takes a minute each, and the demo traces several
    model.compile(keras.optimizers.Adam(1e-4), losses.make_loss(settings, np.ones(3)), run_eagerly=True)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (4, size, size, 1)).astype("uint8")
    assert np.isfinite(model.train_on_batch(pixels, rng.integers(-1, 2, (4, 3)).astype(np.float32)))
    moved = [bool((old != layer.get_weights()[0]).any()) for old, layer in zip(before, convolutions, strict=True)]
    assert moved == [layer.trainable for layer in convolutions]
    inner = keras.Model(inputs, [model.get_layer("features").output, model.get_layer("pooled").output])
    maps, pooled = (np.asarray(values) for values in inner(pixels[:2], training=False))
    hidden = tuple(np.asarray(weight) for weight in model.get_layer("hidden").weights)
    heat = gradcam.grad_cam(maps, gradcam.grad_cam_weights(pooled, np.asarray(model.get_layer("logits").kernel), hidden))
    assert heat.shape == (2, 3, *maps.shape[1:3])
    assert np.isfinite(heat).all()
    graph, weights = networks.describe(keras.Model(inputs, model.output)), model.get_weights()
    again = networks.build(graph.encode(), networks.pack(weights, "float32"), "float32", name)
    assert networks.describe(again) == graph
    assert all(np.array_equal(old, new) for old, new in zip(weights, again.get_weights(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "channels"), [("ConvNeXtTiny", 1), ("ConvNeXtTiny", 3), ("EfficientNetB0", 1)])
def test_networks_with_layers_of_their_own_survive_saving(name, channels, tmp_path):
    model, _ = with_head(Training(backbone=name, weights="none", channels=channels), 32, 2)
    model.save(tmp_path / "model.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 1)).astype("uint8")
    again = backend.load_network(tmp_path / "model.keras")
    np.testing.assert_allclose(np.asarray(again(pixels)), np.asarray(model(pixels)), atol=1e-6)
