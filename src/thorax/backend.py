"""Set-up of the deep-learning backend: threads, seeds, determinism, quiet logs; saved networks."""

import importlib
import os
import signal
import sys
import threading
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thorax.errors import Terminated, ThoraxError

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


def prepare(seed: int, threads: int, precision: str = "float32") -> None:
    """Set up Keras before the first network is built.

    On a CPU operations are deterministic: the same seed and number of threads give the same bytes. On a GPU they
    are not: some of its reductions have no fixed order, and the deterministic ones cost time.

    Args:
        seed: of weights, dropout and shuffling.
        threads: CPU threads that the backend may use.
        precision: "float32"; "mixed" computes in half precision with float32 weights; "auto" does so on a GPU.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    with _without("sklearn", "matplotlib"):  # Keras imports what it finds of them, for parts that nobody uses here
        import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        devices = tf.config.list_physical_devices("GPU")
        for gpu in devices:
            tf.config.experimental.set_memory_growth(gpu, True)
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        except RuntimeError:  # a network ran in this process before, so its threads stand
            if tf.config.threading.get_intra_op_parallelism_threads() not in (0, threads):
                raise
        if not devices:
            tf.config.experimental.enable_op_determinism()
    mixed = precision == "mixed" or (precision == "auto" and gpus() > 0)
    keras.mixed_precision.set_dtype_policy("mixed_float16" if mixed else "float32")
    keras.utils.set_random_seed(seed)


@contextmanager
def _without(*packages: str) -> Iterator[None]:
    """Within the block these packages cannot be imported, unless they were before: it takes a quarter of a small job's time."""
    hidden = [name for name in packages if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # as the language defines it: a module that is not found
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def device() -> str:
    """A few words on where networks run."""
    return f"{gpus()} GPU" if gpus() else "CPU"


def gpus() -> int:
    """How many GPUs the backend can use."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return len(tf.config.list_physical_devices("GPU"))
    if keras.backend.backend() == "jax":
        import jax

        return sum(device.platform == "gpu" for device in jax.devices())
    import torch

    return torch.cuda.device_count()


class Replicas:
    """Copies of a network on several devices of one machine, each of which gets its part of every batch.

    TensorFlow's MirroredStrategy does the work; with one device nothing is wrapped. The loss is the mean of the devices' means,
    which differs from the mean over the batch where ignored labels are spread unevenly.

    Args:
        devices: names for TensorFlow, e.g. GPU:0.
    """

    def __init__(self, devices: Sequence[str]) -> None:
        self.count = max(len(devices), 1)
        self.strategy: Any = None
        if self.count > 1:
            import tensorflow as tf

            self.strategy = tf.distribute.MirroredStrategy(list(devices))

    def scope(self) -> AbstractContextManager:
        """Where the network and its optimiser must be made."""
        return nullcontext() if self.strategy is None else self.strategy.scope()

    def train_on_batch(self, model: "keras.Model", pixels: np.ndarray, labels: np.ndarray) -> float:
        """One step; return the batch's loss."""
        if self.strategy is None:
            return float(model.train_on_batch(pixels, labels))
        if model.train_function is None:  # what train_on_batch does before its first step, without distributed values
            with self.scope():
                model._symbolic_build(data_batch=(pixels, labels))
            model.make_train_function()
        model.reset_metrics()
        return float(model.train_function(iter([(self._dealt(pixels), self._dealt(labels))]))["loss"])

    def _dealt(self, values: np.ndarray) -> Any:
        parts = np.split(values, self.count)
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group]
        )


def replicas(batch_size: int, accumulate: int = 1) -> Replicas:
    """All GPUs that this process may use.

    Args:
        batch_size: images of a batch.
        accumulate: batches of an update.

    Raises:
        ThoraxError: there are several and the backend, the batch size or the accumulation cannot be divided among them.
    """
    import keras

    count = gpus()
    if count > 1 and keras.backend.backend() != "tensorflow":
        raise ThoraxError(f"{count} GPUs can be used together with TensorFlow only: set CUDA_VISIBLE_DEVICES to one of them.")
    if count > 1 and batch_size % count:
        raise ThoraxError(f"batch_size {batch_size} cannot be divided among {count} GPUs: choose a multiple of {count}.")
    if count > 1 and accumulate > 1:  # Keras's accumulation does not work inside a MirroredStrategy
        raise ThoraxError(
            f"accumulate: {accumulate} needs a single GPU, and there are {count}: set CUDA_VISIBLE_DEVICES to one of them, or set "
            "accumulate: 1 and raise batch_size."
        )
    return Replicas([f"GPU:{index}" for index in range(count)])


def versions() -> list[str]:
    """What computes: Keras, its backend, and the kind of device. Another one gives other bits."""
    import keras

    backend = keras.backend.backend()
    return [f"keras {keras.__version__}", f"{backend} {importlib.import_module(backend).__version__}", device()]


class StopRequest:
    """Whether the process was asked to stop, and the exception that does so."""

    signal: int = 0

    def stop(self, note: str) -> BaseException:
        """The exception for the signal that came; `note` says what stays."""
        stop = KeyboardInterrupt() if self.signal == signal.SIGINT else Terminated(128 + self.signal)
        stop.add_note(note)
        return stop


@contextmanager
def asked_to_stop() -> Iterator[StopRequest]:
    """Note SIGTERM (schedulers, time limits) and SIGINT (Ctrl-C) instead of dying at once; a second one ends at once."""
    request = StopRequest()

    def note(number: int, _: object) -> None:
        request.signal = number
        signal.signal(number, signal.SIG_DFL)

    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield request
        return
    previous = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def show(name: str, values: dict[str, float]) -> None:
    """Write an epoch's values for TensorBoard, where THORAX_TENSORBOARD names a folder.

    Args:
        name: of the training.
        values: by name; among them `epoch`.
    """
    folder = os.environ.get("THORAX_TENSORBOARD")
    if folder:
        import tensorflow as tf

        summary = tf.compat.v1.Summary  # the newer interface needs TensorBoard itself to be installed
        with tf.Graph().as_default():
            writer = tf.compat.v1.summary.FileWriter(str(Path(folder) / name))
        writer.add_summary(
            summary(value=[summary.Value(tag=key, simple_value=values[key]) for key in values]), int(values["epoch"])
        )
        writer.close()


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
