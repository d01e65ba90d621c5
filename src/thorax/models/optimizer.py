"""The optimiser of all trainings: Adam (Kingma and Ba 2015), with one TensorFlow operation for each variable."""

from collections.abc import Sequence
from typing import Any


def adam(learning_rate: float, accumulate: int | None = None, distributed: bool = False) -> Any:
    """Return Keras's Adam with its default moments, which adds up the gradients of `accumulate` batches if it is given.

    Keras builds about forty operations per variable; on one device, TensorFlow has a single one for them. DenseNet201 has 606
    variables, and half of the time until its first step went into the graph of their updates.
    """
    import keras

    kind = keras.optimizers.Adam if distributed or keras.backend.backend() != "tensorflow" else _fused()
    return kind(learning_rate, gradient_accumulation_steps=accumulate)


def _fused() -> type:
    import keras
    import tensorflow as tf

    class FusedAdam(keras.optimizers.Adam):
        """The same update, the same variables."""

        def _backend_update_step(self, grads: Sequence[Any], trainable_variables: Sequence[Any], learning_rate: Any) -> None:
            step = keras.ops.cast(self.iterations + 1, "float32")  # of updates, not of batches
            settings = {
                "beta1_power": tf.pow(self.beta_1, step),
                "beta2_power": tf.pow(self.beta_2, step),
                "lr": tf.cast(learning_rate, tf.float32),
                "beta1": self.beta_1,
                "beta2": self.beta_2,
                "epsilon": self.epsilon,
            }
            for gradient, variable in zip(grads, trainable_variables, strict=True):
                place = self._get_variable_index(variable)
                held = {"var": variable, "m": self._momentums[place], "v": self._velocities[place]}
                handles = {name: one.value.handle for name, one in held.items()}
                tf.raw_ops.ResourceApplyAdam(**handles, **settings, grad=tf.cast(gradient, tf.float32))

    return FusedAdam
