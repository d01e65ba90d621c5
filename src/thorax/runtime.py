"""Set-up of the deep-learning backend: threads, seeds, determinism, quiet logs."""

import os


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
