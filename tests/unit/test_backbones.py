"""The registry: what is frozen, how inputs are scaled, and that wrong names and sizes are refused."""

import numpy as np
import pytest

from thorax import backbones
from thorax.config import Training
from thorax.errors import ThoraxError
from thorax.training import build_model


def test_unknown_name_and_small_images_are_refused():
    with pytest.raises(ThoraxError, match=r"'ResNet9000' is not known: choose one of .*DenseNet201"):
        backbones.find("ResNet9000", 224)
    with pytest.raises(ThoraxError, match="InceptionV3 needs images of at least 75 pixels, not 64"):
        backbones.find("InceptionV3", 64)


def test_freeze_takes_the_first_share_of_convolutions_and_what_lies_between():
    import keras

    layers = [keras.layers.Conv2D(1, 1) if i % 2 == 0 else keras.layers.BatchNormalization() for i in range(20)]
    assert backbones.freeze(layers, 0.2) == 2
    assert [layer.trainable for layer in layers] == [False] * 3 + [True] * 17


def test_frozen_layers_do_not_move():
    import keras

    settings = Training(backbone="cnn", weights="none", freeze=0.34, dense_units=8)
    model, fixed = build_model(settings, 32, 2)
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


@pytest.mark.parametrize(
    ("name", "wanted", "low", "high"),
    [
        ("Xception", "unit", 0, 1),
        ("Xception", "backbone", -1, 1),
        ("EfficientNetB0", "unit", 0, 255),  # its own first layer divides by 255
        ("DenseNet201", "backbone", -0.485 / 0.229, (1 - 0.485) / 0.229),
    ],
)
def test_input_scaling(name, wanted, low, high):
    import keras

    inputs = keras.Input((4, 4, 1), dtype="uint8")
    unit = keras.layers.Rescaling(1 / 255)(inputs)
    scaled = backbones._scale(keras.layers.Concatenate()([unit] * 3), backbones.BACKBONES[name], wanted)
    pixels = np.full((1, 4, 4, 1), 0, "uint8")
    pixels[0, 0, 0] = 255
    values = np.asarray(keras.Model(inputs, scaled)(pixels))[..., 0]
    assert values.min() == pytest.approx(low, abs=1e-5)
    assert values.max() == pytest.approx(high, abs=1e-5)


def test_momentum_reaches_every_normalisation():
    import keras

    settings = Training(backbone="cnn", weights="none", batch_norm_momentum=0.8)
    model, _ = build_model(settings, 32, 2)
    norms = [layer.momentum for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert norms == [0.8] * 3


def save_as_published(model, path):
    """Write weights as keras publishes them: HDF5, one group per layer, as Keras 2 did."""
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, backbone in backbones.BACKBONES.items() if backbone.constructor])
def test_every_layer_gets_its_own_weights_from_a_published_file(name, tmp_path):
    import keras

    published = getattr(keras.applications, name)(include_top=False, weights=None, input_shape=(80, 80, 3))
    save_as_published(published, tmp_path / f"{name}.h5")
    settings = Training(backbone=name, input_scaling="backbone")
    model, _ = build_model(settings, 80, 2, str(tmp_path / f"{name}.h5"))
    given = [layer for layer in published.layers if backbones.is_convolution(layer)]
    taken = [layer for layer in model.layers if backbones.is_convolution(layer)]
    assert len(given) == len(taken)
    for one, other in zip(given, taken, strict=True):
        for left, right in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(left, right)


@pytest.mark.slow
def test_imagenet_weights_from_a_file_standardise_as_efficientnet_was_published(tmp_path):
    import keras

    published = keras.applications.EfficientNetB0(include_top=False, weights=None)
    normalization = next(layer for layer in published.layers if isinstance(layer, keras.layers.Normalization))
    # as in the published file: mean, and the deviation in the place of the variance
    normalization.set_weights([np.float32(backbones.IMAGENET_MEAN), np.float32(backbones.IMAGENET_DEVIATION), np.int32(0)])
    save_as_published(published, tmp_path / "EfficientNetB0.h5")
    settings = Training(backbone="EfficientNetB0")
    model, _ = build_model(settings, 32, 2, str(tmp_path / "EfficientNetB0.h5"))
    stem = keras.Model(
        model.input, next(layer.output for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    )
    values = np.asarray(stem(np.full((1, 32, 32, 1), 51, "uint8")))[0, 0, 0]
    expected = (0.2 - np.array(backbones.IMAGENET_MEAN)) / np.array(backbones.IMAGENET_DEVIATION)
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    kernels = [layer.kernel for layer in (published.get_layer("stem_conv"), model.get_layer("stem_conv"))]
    np.testing.assert_array_equal(*(np.asarray(kernel) for kernel in kernels))


def test_a_missing_or_foreign_weights_file_is_named(tmp_path):
    settings = Training(backbone="Xception")
    with pytest.raises(ThoraxError, match=r"no\.h5 is not there: run 'thorax download weights/Xception --root "):
        build_model(settings, 80, 2, str(tmp_path / "no.h5"))
    (tmp_path / "junk.h5").write_bytes(b"junk")
    with pytest.raises(ThoraxError, match=r"junk\.h5 does not hold the weights of Xception"):
        build_model(settings, 80, 2, str(tmp_path / "junk.h5"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "convolutions"),
    [("EfficientNetB0", 81), ("DenseNet201", 200), ("InceptionV3", 94), ("InceptionResNetV2", 244), ("Xception", 40)],
)
def test_real_architectures_have_the_published_number_of_convolutions(name, convolutions):
    settings = Training(backbone=name, weights="none", freeze=0.1)
    model, fixed = build_model(settings, 80, 5)
    layers = [layer for layer in model.layers if backbones.is_convolution(layer)]
    assert len(layers) == convolutions
    assert fixed == round(0.1 * convolutions)
    assert sum(not layer.trainable for layer in layers) == fixed
    assert model.get_layer("backbone_range").output.shape[-1] == 3
    assert model.output.shape == (None, 5)
