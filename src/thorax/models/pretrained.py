"""Load ImageNet weights from files, and convert them from three-channel to one-channel networks; start from a trained network."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from thorax.backend import Model
from thorax.errors import ThoraxError

LAST = "logits"  # the layer with an output for each class


def load(model: Model, path: str, name: str) -> None:
    """Give a three-channel network without its classifier the ImageNet weights that Keras publishes for this architecture, in HDF5."""
    import keras

    if not Path(path).is_file():
        raise ThoraxError(
            f"{path} is not there: run 'thorax download weights/{name} --root {Path(path).parent}' on a machine with a "
            "network, or copy the file there."
        )
    try:
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise ThoraxError(f"{path} does not hold the weights of {name}: delete it and fetch it again.") from error
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            # EfficientNet's published file holds standard deviations where Keras expects variances. Keras corrects this
            # with an extra layer, but only if it downloads the weights itself.
            mean, variance, *count = layer.get_weights()
            layer.set_weights([mean, variance**2, *count])
            layer.finalize_state()


def sum_channels(published: Model, single: Model) -> None:
    """Give a one-channel network the weights of the same three-channel one, so that both compute the same for a grey image.

    The inputs of both are scaled: for the grey value u, channel c of the published network gets a_c u + b_c, and the
    one-channel network a u + b. So its kernel is the sum over the channels of a_c / a times theirs. What b_c adds
    beyond b is added to the convolution's bias or, without one, subtracted from the moving mean of the normalisation after it.

    If the scaling differs between the channels and the first convolution pads its input with zeros, these represent a different
    grey value in each channel, which one channel cannot express: its outermost responses then deviate a little.
    """
    import keras

    (first, *rest), (own_first, own_next, *own_rest) = (  # the layers that have weights, from the first convolution on
        [layer for layer in leaves(model.layers) if layer.weights and not isinstance(layer, keras.layers.Normalization)]
        for model in (published, single)
    )
    for source, target in zip(rest, [own_next, *own_rest], strict=True):
        target.set_weights(source.get_weights())
    slope, offset = _scaling(published, first)
    own_slope, own_offset = _scaling(single, own_first)
    kernel, *bias = first.get_weights()  # (h, w, 3, filters)
    summed = np.einsum("hwcf,c->hwf", kernel, slope)[:, :, None] / own_slope
    surplus = np.einsum("hwcf,c->f", kernel, offset) - np.einsum("hwcf,c->f", summed, own_offset)
    own_first.set_weights([summed, *(values + surplus for values in bias)])
    if not bias:
        own_next.moving_mean.assign(keras.ops.convert_to_numpy(own_next.moving_mean) - surplus)


def adopt(model: Model, trained: Model, classes: Sequence[str], trained_on: Sequence[str], source: str) -> bool:
    """Give a network all weights and moving statistics of a trained one of the same form.

    The last layer stays as it is, random, unless both networks have the same classes; their order may differ. Returns whether it was
    taken over. `classes` and `trained_on` are the classes of the two in the order of their logits; errors name the `source`.
    """
    import keras

    if _form(trained) != _form(model):
        raise ThoraxError(
            f"{source} has other layers or another input than {model.name} here: name a network of the same form."
        )
    if trained.output_shape[-1] != len(trained_on):
        problem = f"{source} has {trained.output_shape[-1]} outputs, and its label set {len(trained_on)} classes"
        raise ThoraxError(f"{problem}: give the label set that it was trained on.")
    same = sorted(classes) == sorted(trained_on)
    pairs = ([layer for layer in leaves(each.layers) if layer.weights] for each in (trained, model))
    for layer, own in zip(*pairs, strict=True):
        values = layer.get_weights()
        if own.name == LAST:
            if not same:
                continue
            values = [value[..., [list(trained_on).index(name) for name in classes]] for value in values]
        own.set_weights(values)
        if isinstance(own, keras.layers.Normalization):
            own.finalize_state()  # it computes with copies of its weights
    return same


def _form(model: Model) -> list:
    """What networks have in common that can have the same weights: input, scaling, and the shapes of all weights but the last layer's."""
    import keras

    layers = leaves(model.layers)
    scalings = [
        (np.ravel(layer.scale).tolist(), np.ravel(layer.offset).tolist())
        for layer in layers
        if isinstance(layer, keras.layers.Rescaling)
    ]
    shapes = [[weight.shape for weight in layer.weights] for layer in layers if layer.weights and layer.name != LAST]
    return [model.input_shape, model.inputs[0].dtype, scalings, shapes]


def leaves(layers: Iterable[Any]) -> list:
    """The layers in the order of computation, with nested blocks expanded."""
    import keras

    return [leaf for layer in layers for leaf in (leaves(layer.layers) if isinstance(layer, keras.Model) else [layer])]


def _scaling(model: Model, first: Any) -> tuple[np.ndarray, np.ndarray]:
    """Slope and offset, each (channels,) float64, of the scaling from grey values of 0 to 255 to the first convolution's input."""
    import keras

    outer = next(layer for layer in model.layers if first in leaves([layer]))
    inputs = model.inputs[0]  # the constructors of keras.applications make model.input a list
    size = inputs.shape[1]
    pixels = np.stack([np.zeros((size, size, 1), np.uint8), np.ones((size, size, 1), np.uint8) * 255])
    scaled = keras.ops.convert_to_numpy(keras.Model(inputs, outer.input)(pixels)).astype(np.float64)
    black, white = scaled[:, scaled.shape[1] // 2, scaled.shape[2] // 2]  # the centre: the border may be padded already
    return white - black, black
