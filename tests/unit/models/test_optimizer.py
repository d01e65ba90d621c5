"""The optimiser is Keras's Adam, in fewer operations."""

import numpy as np
import pytest

from thorax.models import optimizer


@pytest.mark.parametrize("accumulate", [None, 3])
def test_weights_and_moments_are_those_of_keras_adam(accumulate):
    import keras

    rng = np.random.default_rng(0)
    batches = [(rng.normal(size=(8, 5)).astype("float32"), rng.normal(size=(8, 1)).astype("float32")) for _ in range(12)]
    found = []
    for update in (optimizer.adam(0.01, accumulate), keras.optimizers.Adam(0.01, gradient_accumulation_steps=accumulate)):
        layers = [keras.layers.Dense(4, "tanh", kernel_initializer=keras.initializers.GlorotUniform(1)), keras.layers.Dense(1)]
        layers[1].kernel_initializer = keras.initializers.GlorotUniform(2)
        model = keras.Sequential([keras.Input((5,)), *layers])
        model.compile(update, "mse")
        losses = [model.train_on_batch(*batch) for batch in batches]
        update.learning_rate = 0.002
        losses += [model.train_on_batch(*batch) for batch in batches]
        found.append(
            [np.array(losses), *(keras.ops.convert_to_numpy(variable) for variable in (*model.variables, *update.variables))]
        )
    assert len(found[0]) == len(found[1])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)
    assert found[0][0][-1] < found[0][0][0]


def test_a_variable_takes_one_operation():
    import keras
    import tensorflow as tf

    update = optimizer.adam(0.01)
    weights = [keras.Variable(np.ones(3, "float32")) for _ in range(20)]
    update.build(weights)
    graph = tf.function(lambda: update.apply([tf.ones(3)] * 20)).get_concrete_function().graph
    kinds = [operation.type for operation in graph.get_operations()]
    assert kinds.count("ResourceApplyAdam") == 20
    assert kinds.count("Sqrt") == 0
    assert type(optimizer.adam(0.01, distributed=True)) is keras.optimizers.Adam
