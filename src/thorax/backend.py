"""The deep-learning backend: threads, seeds, determinism, devices, requests to stop, saved networks."""

import gc
import importlib
import os
import platform
import re
import signal
import subprocess
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from thorax.errors import Terminated, ThoraxError, on_first_signal

Model = Any  # a keras.Model: Keras, which takes seconds to import, is imported where it is needed

# What Keras raises for files that are cut, altered, or not networks: it checks little before it reads
_UNREADABLE = (OSError, ValueError, TypeError, LookupError, AttributeError, EOFError, RuntimeError)
_DAMAGED = (*_UNREADABLE, zipfile.BadZipFile, zlib.error)


def prepare(seed: int, threads: int, precision: str = "float32") -> None:
    """Set up Keras before the first network is built.

    On a CPU, results are deterministic: the same seed and number of threads give the same bytes. On a GPU they are not:
    some reductions have no fixed order, and the deterministic ones are slower.

    `threads` are CPU threads. `precision` is "float32"; "mixed", which computes in half precision with float32 weights; or
    "auto", mixed on a GPU only.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # the only one that is pinned; JAX and PyTorch work as well
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    # Keras imports them where they are installed, for parts that we do not use
    with _without("sklearn", "matplotlib", "IPython"), _without_notices(), uncollected():
        import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        except RuntimeError:  # a network has run in this process, and its threads cannot be changed
            if tf.config.threading.get_intra_op_parallelism_threads() not in (0, threads):
                raise
        if not gpus():
            tf.config.experimental.enable_op_determinism()
            # The graph optimiser turns sums of many gradients into additions to one variable, in the order in which they are
            # ready: on a busy machine, the last bits vary. Without it the first step also comes sooner (DenseNet201: 12 instead of 21 CPU-seconds).
            tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    mixed = precision == "mixed" or (precision == "auto" and gpus() > 0)
    keras.mixed_precision.set_dtype_policy("mixed_float16" if mixed else "float32")
    keras.utils.set_random_seed(seed)


@contextmanager
def _without(*packages: str) -> Iterator[None]:
    """Prevent the import of packages within the block, unless they are imported already: it takes a quarter of a small job's time."""
    hidden = [name for name in packages if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # documented: makes the import fail
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def _without_notices() -> Iterator[None]:
    """Hide what TensorFlow's libraries say to everyone while they are loaded, whatever TF_CPP_MIN_LOG_LEVEL is.

    All other lines are shown, also those before a crash, because another program passes them on.
    """
    if "tensorflow" in sys.modules:  # they have been said
        yield
        return
    notices = r"before absl::InitializeLog\(\) is called|oneDNN custom operations are on"
    shown = os.dup(2)
    with subprocess.Popen(["grep", "-vE", "--line-buffered", notices], stdin=subprocess.PIPE, stdout=shown) as passing:
        os.dup2(passing.stdin.fileno(), 2)  # type: ignore[union-attr]
        try:
            yield
        finally:
            os.dup2(shown, 2)
            os.close(shown)


@contextmanager
def uncollected() -> Iterator[None]:
    """Switch off garbage collection while many long-lived objects are created: they take a sixth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def device() -> str:
    """Where networks run, in words: "CPU", or the number of GPUs."""
    return f"{gpus()} GPU" if gpus() else "CPU"


def gpus() -> int:
    """The number of GPUs that the backend can use."""
    return len(gpu_names())


def gpu_names() -> list[str]:
    """The model of each GPU that the backend can use."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        details = tf.config.experimental.get_device_details
        return [details(gpu).get("device_name", "GPU") for gpu in tf.config.list_physical_devices("GPU")]
    if keras.backend.backend() == "jax":
        import jax

        return [device.device_kind for device in jax.devices() if device.platform == "gpu"]
    import torch

    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]


def machine() -> str:
    """The GPUs, the processor and the cores that this process may use, in words."""
    models = [f"{count} x {name}" for name, count in Counter(gpu_names()).items()]
    return ", ".join([*models, processor(), f"{cores()} cores"])


def cores() -> int:
    """The number of cores that this process may use; where the system does not say, of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's model as the system names it."""
    described = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    found = re.search(r"^model name\s*: (.+)$", described, re.MULTILINE)
    return found[1].strip() if found else platform.processor()


class Replicas:
    """Copies of a network on several devices of one machine; each gets its part of every batch.

    TensorFlow's MirroredStrategy does the work on devices such as GPU:0; a single one needs none. The loss is the mean of the
    devices' means. It differs from the mean over the batch if ignored labels are spread unevenly.
    """

    def __init__(self, devices: Sequence[str]) -> None:
        self.count = max(len(devices), 1)
        self.strategy: Any = None
        if self.count > 1:
            import tensorflow as tf

            self.strategy = tf.distribute.MirroredStrategy(list(devices))

    def scope(self) -> AbstractContextManager:
        """The scope in which the network and its optimiser must be created."""
        return nullcontext() if self.strategy is None else self.strategy.scope()

    def train_on_batch(self, model: Model, pixels: np.ndarray, labels: np.ndarray) -> float:
        """Train one step; return the loss of the batch."""
        if self.strategy is None:
            return float(model.train_on_batch(pixels, labels))
        if model.train_function is None:  # as train_on_batch does before its first step, which cannot take distributed values
            with self.scope():
                model._symbolic_build(data_batch=(pixels, labels))
            model.make_train_function()
        model.reset_metrics()
        return float(model.train_function(iter([(self._dealt(pixels), self._dealt(labels))]))["loss"])

    def _dealt(self, values: np.ndarray) -> Any:
        parts = np.split(values, self.count)
        part_of = lambda context: parts[context.replica_id_in_sync_group]
        return self.strategy.experimental_distribute_values_from_function(part_of)


def replicas(batch_size: int, accumulate: int = 1) -> Replicas:
    """Replicas on all GPUs that this process may use, for one update per `accumulate` batches of `batch_size` images.

    Raises:
        ThoraxError: There are several GPUs, and the backend, the batch size or the accumulation does not allow their use together.
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
    """Versions of Keras and its backend, and the device: with others, results differ in their last bits."""
    import keras

    backend = keras.backend.backend()
    return [f"keras {keras.__version__}", f"{backend} {importlib.import_module(backend).__version__}", device()]


class StopRequest:
    """Whether the process was asked to stop: the number of the signal, or 0."""

    signal: int = 0

    def note(self, number: int) -> None:
        self.signal = number

    def stop(self, note: str) -> BaseException:
        """The exception that ends the process; `note` tells the user what was kept."""
        stop = KeyboardInterrupt() if self.signal == signal.SIGINT else Terminated(128 + self.signal)
        stop.add_note(note)
        return stop


@contextmanager
def asked_to_stop() -> Iterator[StopRequest]:
    """Note SIGTERM (schedulers, time limits) and SIGINT (Ctrl-C) instead of stopping; a second one ends the process at once."""
    request = StopRequest()
    with on_first_signal(request.note, signal.SIGTERM, signal.SIGINT):
        yield request


def show(name: str, values: dict[str, float]) -> None:
    """Write an epoch's values, `epoch` among them, of a training for TensorBoard, if THORAX_TENSORBOARD names a folder."""
    folder = os.environ.get("THORAX_TENSORBOARD")
    if folder:
        import tensorflow as tf

        summary = tf.compat.v1.Summary  # the newer interface needs the package tensorboard
        with tf.Graph().as_default():
            writer = tf.compat.v1.summary.FileWriter(str(Path(folder) / name))
        writer.add_summary(
            summary(value=[summary.Value(tag=key, simple_value=values[key]) for key in values]), int(values["epoch"])
        )
        writer.close()


def load_network(path: Path | str) -> Model:
    """Open a saved network in Keras's safe mode, uncompiled; refuse a file that is missing, damaged, or not a network."""
    import keras

    if not Path(path).is_file():
        raise ThoraxError(f"{path} is not there: train this network first.")
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except _DAMAGED as error:
        raise ThoraxError(f"{path} is not a network that can be loaded: delete it and train it again.") from error
    if not isinstance(model, keras.Model):
        raise ThoraxError(f"{path} does not contain a network: delete it and train it again.")
    return model
