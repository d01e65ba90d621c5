"""Set-up of the deep-learning backend: threads, seeds, determinism, quiet logs; saved networks."""

import os
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from thorax.errors import ThoraxError

if TYPE_CHECKING:
    import keras

# What Keras raises for files that are cut, altered, or something else: it checks little before it reads.
_DAMAGED = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


def prepare(seed: int, threads: int) -> None:
    """Set up Keras before the first network is built.

    On a CPU operations are deterministic: the same seed and number of threads give the same bytes. On a GPU they
    are not: some of its reductions have no fixed order, and the deterministic ones cost time.

    Args:
        seed: of weights, dropout and shuffling.
        threads: CPU threads that the backend may use.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        except RuntimeError:  # a network ran in this process before, so its threads stand
            if tf.config.threading.get_intra_op_parallelism_threads() not in (0, threads):
                raise
        if not gpus:
            tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)


def device() -> str:
    """A few words on where networks run."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        return f"{len(gpus)} GPU" if gpus else "CPU"
    return keras.backend.backend()


def load_network(path: Path | str) -> "keras.Model":
    """Open a saved network in Keras's safe mode, without compiling it.

    Raises:
        ThoraxError: the file is missing, damaged, or no network.
    """
    import keras

    if not Path(path).is_file():
        raise ThoraxError(f"{path} is not there: train this network first.")
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except _DAMAGED as error:
        raise ThoraxError(f"{path} is not a network that can be loaded: delete it and train it again.") from error
    if not isinstance(model, keras.Model):
        raise ThoraxError(f"{path} holds no network: delete it and train it again.")
    return model
