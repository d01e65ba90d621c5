"""Training of one member: fit, keep the best epoch, stop early, write the history; go on after any interruption."""

import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

import thorax
from thorax import backend
from thorax.config import Training
from thorax.errors import ThoraxError
from thorax.evaluation.metrics import auc, overall_by_threshold, sigmoid
from thorax.models import backbones, heads, losses, preflight, sampling
from thorax.models.batches import LabelledImages, load_part, predict_logits, second_view, training_batches
from thorax.models.resume import Progress, States, digest
from thorax.storage import store
from thorax.storage.schemas import EPOCHS_COLUMNS, HISTORY_COLUMNS

if TYPE_CHECKING:
    import keras

SAY_EVERY = 60  # seconds between lines on the progress within an epoch


@dataclass(frozen=True)
class Network:
    """A network that can be trained in two stages.

    Attributes:
        model: from packed images to logits.
        backbones: of each view, its layers before the head, in order.
        fixed: convolutional layers that never change.
    """

    model: "keras.Model"
    backbones: list[list]
    fixed: int


def build_model(settings: Training, size: int, classes: int, weights: str | None = None, views: int = 1) -> Network:
    """A network from packed images to logits.

    With two views each has a backbone of its own, with weights of its own, of which the same share is frozen.

    Args:
        settings: the member's settings.
        size: pixels on a side.
        classes: number of logits.
        weights: file with the backbone's ImageNet weights; needed exactly where settings.weights is "imagenet".
        views: 1 or 2; the network takes images of (batch, size, size, views).
    """
    import keras

    if (settings.weights == "imagenet") != (weights is not None):
        raise ThoraxError(
            f"weights: {settings.weights} does not fit the weights file {weights!r}: give one, or set weights: none."
        )
    if views == 1:
        inputs, features, layers = backbones.build_features(settings, size, weights)
        branches = [layers]
    else:
        inputs, features, branches = backbones.build_branches(settings, size, weights)
    fixed = sum(backbones.freeze(layers, settings.freeze) for layers in branches)
    model = keras.Model(inputs, heads.build_head(features, classes, settings), name=settings.backbone)
    return Network(model, branches, fixed)


def train(
    settings: Training,
    labels: Path,
    split: Path,
    ingested: Path,
    images: Sequence[Path],
    weights: Path | None,
    out: Path,
    history: Path,
    work: Path,
    threads: int = 1,
    pairs: Path | None = None,
    second_ingested: Path | None = None,
    second_images: Sequence[Path] | None = None,
    epochs: Path | None = None,
) -> None:
    """Train one member and save its best epoch (by validation loss) without the optimiser's state.

    Early stopping and checkpointing as in Liz et al. 2022, section 3.3: training ends when the validation loss has not
    fallen by more than min_delta for `patience` epochs; the epoch with the smallest validation loss is kept.

    After every epoch, and when it is asked to stop (SIGTERM, SIGINT), the whole state is saved under `work`. The same call
    goes on from there, and ends with the same history and weights as if it had never been interrupted: bit for bit where the
    device is deterministic (a CPU, with the same number of threads).

    Args:
        settings: the member's settings.
        labels, split, ingested, images: tables of ARCHITECTURE's contracts and the packed training images.
        weights: file with ImageNet weights, or None.
        out: the .keras file.
        history: CSV with one row per epoch: epoch, loss, val_loss, learning_rate, val_auc.
        work: folder of resume states.
        threads: CPU threads.
        pairs, second_ingested, second_images: as in `batches.second_view`.
        epochs: CSV of the test images after each epoch, `catalog.EPOCHS_COLUMNS`: a row without a threshold with the AUC of
            the probabilities, then one for each of `settings.test_every_epoch`; without these, no row. Nothing is chosen by it.
            Needed where the settings have thresholds.

    Raises:
        ThoraxError: as in `batches.load_part` and `checks`; a class has no positive or no negative training image; an output
            or a state cannot be written, or is not named; or the loss is no longer a number.
        backend.Stopped: it was asked to stop, and the state is saved.
    """
    if settings.test_every_epoch and epochs is None:
        raise ThoraxError("test_every_epoch has thresholds, and no file is named for the results: give --epochs.")
    second = second_view(pairs, second_ingested, second_images)
    backend.prepare(settings.seed, threads, settings.precision)
    preflight.device(settings.precision)
    preflight.workers(threads)
    parts = {
        part: load_part(labels, split, ingested, images, part, second, with_known_label=part != "test")
        for part in _read_parts(settings)
    }
    views = len(parts["train"].views)
    _check_intensity(settings, parts["train"], images)
    losses.check_classes(parts["train"].labels, parts["train"].classes)
    replicas = backend.replicas(min(settings.batch_size, len(parts["train"])), settings.accumulate)
    with replicas.scope():
        network = build_model(
            settings, parts["train"].size, len(parts["train"].classes), str(weights) if weights else None, views
        )
    preflight.memory(settings.backbone, views)
    preflight.disk(network.model, work, out)
    unused = set() if settings.test_every_epoch else {"test_every_epoch"}  # trainings without it go on from their old states
    decides = {
        "settings": settings.model_dump(mode="json", exclude=unused),
        "program": [thorax.__version__, *backend.versions()],
    }
    beside = [second.pairs, second.ingested, *second.images] if second else []
    key = digest(decides, [labels, split, ingested, *images, *([weights] if weights else []), *beside])
    states = States(work / f"{out.stem}-{key}")
    with (
        store.atomic(out) as new_model,  # all or none, and known to be writable before the work begins
        store.atomic(history) as new_history,
        store.atomic(epochs) if epochs else nullcontext() as new_epochs,
        store.only_one(states.folder),
        backend.asked_to_stop() as asked,
    ):
        fit = Fit(settings, network, parts, states, asked, replicas, threads)
        progress = fit.run()
        for weight, array in zip(fit.bare.weights, states.best(progress.best_epoch), strict=True):
            weight.assign(array)
        fit.bare.save(new_model)  # without the optimiser's state, which would make the file three times as large
        table = pd.DataFrame(progress.rows, columns=list(HISTORY_COLUMNS))
        store.write_text(table.to_csv(index=False, float_format="%.6g"), new_history)
        if new_epochs:
            tested = pd.DataFrame(progress.tested, columns=list(EPOCHS_COLUMNS))
            store.write_text(tested.to_csv(index=False, float_format="%.6g"), new_epochs)
    states.clear()


def _read_parts(settings: Training) -> tuple[str, ...]:
    return ("train", "val", "test") if settings.test_every_epoch else ("train", "val")


@dataclass
class Fit:
    """One training: what stays the same during it, and how far it is."""

    settings: Training
    network: Network
    parts: dict[str, LabelledImages]
    states: States
    asked: backend.StopRequest
    replicas: backend.Replicas
    threads: int
    progress: Progress = field(default_factory=Progress)

    def run(self) -> Progress:
        """Go on from the newest state, or begin; return the finished training."""
        self.pos_weight = np.ones(len(self.parts["train"].classes), np.float32)
        if self.settings.loss == "weighted_bce":
            labels, exponent = self.parts["train"].labels, self.settings.pos_weight_exponent
            self.pos_weight = losses.pos_weights(labels, exponent, self.settings.max_pos_weight)
        saved = self.states.newest()
        if saved is not None:
            self.progress = saved[0]
        # What was saved at the end of the first stage has that stage's optimiser; `_epoch` then begins the second.
        at_its_end = self.progress.epoch == self.settings.frozen_epochs and self.progress.step == 0
        self._compile(frozen=self.progress.epoch < self.settings.frozen_epochs or (saved is not None and at_its_end))
        _log(self._summary())
        if saved is not None:
            restore(self.network.model, saved[1])
            _log(f"going on after epoch {self.progress.epoch}, batch {self.progress.step} ({self.states.folder})")
        while not self._ended():
            self._epoch()
        return self.progress

    def _summary(self) -> str:
        train, model = self.parts["train"], self.network.model
        return (
            f"{model.name}: {model.count_params():,} parameters, {self.network.fixed} convolutional layers fixed, {len(train):,} training "
            f"and {len(self.parts['val']):,} validation images, {len(train.classes)} classes, on {backend.device()}"
        )

    def _compile(self, frozen: bool) -> None:
        """Set the optimiser up for a stage: the backbone fixed as a whole, or fine-tuned."""
        import keras

        for layers in self.network.backbones:
            for layer in layers:
                layer.trainable = not frozen
            if not frozen:
                backbones.freeze(layers, self.settings.freeze)
        accumulate = self.settings.accumulate if self.settings.accumulate > 1 else None
        with self.replicas.scope():
            optimizer = keras.optimizers.Adam(self.settings.learning_rate, gradient_accumulation_steps=accumulate)
            self.network.model.compile(optimizer=optimizer, loss=losses.make_loss(self.settings, self.pos_weight))
            self.network.model.optimizer.build(self.network.model.trainable_variables)
        self.bare = keras.Model(self.network.model.input, self.network.model.output, name=self.network.model.name)

    def _ended(self) -> bool:
        if self.progress.waited >= self.settings.patience:
            _log(
                f"stopped: val_loss has not fallen by more than {self.settings.min_delta:g} for {self.settings.patience} epochs"
            )
            return True
        return self.progress.epoch >= self.settings.epochs

    def _epoch(self) -> None:
        """Train on what is left of an epoch, validate, and save; a request to stop is heeded between batches."""
        progress, model = self.progress, self.network.model
        if progress.epoch == self.settings.frozen_epochs > 0 and progress.step == 0:
            self._compile(frozen=False)
        started, before = time.monotonic(), progress.step
        rate = learning_rate(self.settings, progress.epoch, [row["val_loss"] for row in progress.rows])
        model.optimizer.learning_rate = rate
        seen = self._train(progress)
        trained = time.monotonic() - started
        logits = predict_logits(self.bare, self.parts["val"], self.settings.batch_size, self.threads)
        val_loss = losses.loss_numpy(self.settings, self.parts["val"].labels, logits, self.pos_weight)
        if not np.isfinite(val_loss):
            raise _diverged(model.name, f"the validation after epoch {progress.epoch + 1}")
        val_auc = mean_auc(self.parts["val"].labels, logits)
        loss = float(np.mean(progress.losses))
        values = (progress.epoch + 1, loss, val_loss, rate, val_auc)
        backend.show(self.states.folder.name, dict(zip(HISTORY_COLUMNS, values, strict=True)))
        progress.rows.append(dict(zip(HISTORY_COLUMNS, values, strict=True)))
        progress.tested += self._test(progress.epoch + 1)
        progress.epoch, progress.step, progress.losses = progress.epoch + 1, 0, []
        if val_loss < progress.best:
            progress.best, progress.best_epoch = val_loss, progress.epoch
            self.states.save_best(progress.epoch, (weight.numpy() for weight in self.bare.weights))
        progress.waited = 0 if val_loss < progress.reference - self.settings.min_delta else progress.waited + 1
        progress.reference = min(progress.reference, val_loss) if progress.waited == 0 else progress.reference
        self.states.save(progress, variables(model))
        took = time.monotonic() - started
        left = (self.settings.epochs - progress.epoch) * took
        _log(
            f"epoch {progress.epoch}/{self.settings.epochs}: loss {loss:.4f}, val_loss {val_loss:.4f}, val_auc {val_auc:.3f}, "
            f"{seen / trained:,.0f} images/s, {took:.1f} s"
            + (f" for its last {seen:,} images" if before else f", at most {_duration(left)} left" if left else "")
        )
        self._heed()

    def _test(self, epoch: int) -> list[dict[str, float]]:
        """The rows of an epoch (from 1) in `EPOCHS_COLUMNS`, as in Figure 2 of Dunn Beltran and Alsaghier 2022."""
        if not self.settings.test_every_epoch:
            return []
        test = self.parts["test"]
        logits = predict_logits(self.bare, test, self.settings.batch_size, self.threads)
        overall = overall_by_threshold(test.labels, sigmoid(logits), self.settings.test_every_epoch)
        return [dict(zip(EPOCHS_COLUMNS, (epoch, *row), strict=True)) for row in overall]

    def _train(self, progress: Progress) -> int:
        """Train on the batches of the epoch that are left; return the number of images."""
        train, model = self.parts["train"], self.network.model
        order = sampling.choose(
            train.labels, self.settings.sampling, np.random.default_rng([self.settings.seed, progress.epoch, 2])
        )
        batches = training_batches(
            train,
            self.settings.batch_size,
            self.settings.seed,
            progress.epoch,
            self.settings.augmentation,
            self.threads,
            order=order,
            start=progress.step,
        )
        count = max(len(order) // min(self.settings.batch_size, len(order)), 1)
        images, started = 0, time.monotonic()
        said = started
        with closing(batches):  # its threads end with the loop, also when that ends early
            for pixels, labels in batches:
                loss = self.replicas.train_on_batch(model, pixels, labels)
                progress.step += 1
                progress.losses.append(loss)
                images += len(pixels)
                if not np.isfinite(loss):
                    raise _diverged(model.name, f"step {progress.step} of epoch {progress.epoch + 1}")
                now = time.monotonic()
                if now - said > SAY_EVERY:
                    said, rate = now, images / (now - started)
                    left = (count - progress.step) * self.settings.batch_size / rate
                    _log(
                        f"epoch {progress.epoch + 1}, batch {progress.step:,}/{count:,}: loss {np.mean(progress.losses):.4f}, "
                        f"{rate:,.0f} images/s, {_duration(left)} left in this epoch"
                    )
                if self.asked.signal and progress.step < count:
                    self.states.save(progress, variables(model))
                    self._heed()
        apply_rest(model.optimizer)
        return images

    def _heed(self) -> None:
        """End here if that was asked for; the state is saved."""
        if self.asked.signal:
            done = f"epoch {self.progress.epoch}" + (f" and {self.progress.step} batches" if self.progress.step else "")
            raise self.asked.stop(f"the state after {done} is saved, and the same command goes on from there")


def _check_intensity(settings: Training, part: LabelledImages, images: Sequence[Path]) -> None:
    if part.dtype != backbones.input_dtype(settings.input_scaling):
        needed = "none" if part.dtype == "uint16" else "unit or backbone"
        raise ThoraxError(
            f"input_scaling: {settings.input_scaling} does not fit {images[0]}, which holds {part.dtype}: set it to {needed}."
        )
    if part.dtype != "uint8" and settings.augmentation is not None:
        raise ThoraxError(
            f"{images[0]} holds stored values, and augmentation changes 8-bit images only: set augmentation: null."
        )


def apply_rest(optimizer: "keras.optimizers.Optimizer") -> None:
    """Update the weights with the mean gradient of the batches that do not make up a whole accumulation.

    Keras counts batches through all epochs and applies nothing before the number is reached: an epoch of fewer batches would
    change no weight, and what is left at its end would be applied at the learning rate of the next one, or be lost where the
    fine-tuning begins with an optimiser of its own. After this call the next batch begins a new accumulation.

    Args:
        optimizer: built; one that accumulates nothing, or has nothing accumulated, is left as it is.
    """
    from keras import ops

    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # half precision wraps it, and unscales what it is given
    steps = optimizer.gradient_accumulation_steps
    rest = int(optimizer._iterations) % steps if steps else 0
    if not rest:
        return
    optimizer._iterations.assign_add(steps - rest - 1)  # so that the next batch is the one at which Keras applies the mean
    gradients = [gradient * (steps / rest) for gradient in optimizer._accumulated_gradients]  # it divides the sum by `steps`
    for gradient in optimizer._accumulated_gradients:
        gradient.assign(ops.zeros_like(gradient))
    optimizer.apply(gradients)


def variables(model: "keras.Model") -> Iterator[np.ndarray]:
    """Everything that decides how the training goes on: weights, moving statistics, random states, optimiser slots."""
    for variable in _all_variables(model):
        yield variable.numpy()


def restore(model: "keras.Model", arrays: Iterator[np.ndarray]) -> None:
    """Give a compiled model the variables that `variables` returned for its equal.

    Raises:
        ThoraxError: they are those of another model.
    """
    for variable, array in zip(_all_variables(model), arrays, strict=True):
        if tuple(variable.shape) != array.shape:
            raise ThoraxError(
                f"The resume state holds {array.shape} where {variable.path} has {tuple(variable.shape)}: delete the folder work/."
            )
        variable.assign(array)


def _all_variables(model: "keras.Model") -> list:
    """Each variable of model and optimiser once, in an order that follows from the architecture."""
    unique = {id(variable): variable for variable in (*model.variables, *model.optimizer.variables)}
    return list(unique.values())


def learning_rate(settings: Training, epoch: int, val_losses: Sequence[float] = ()) -> float:
    """The learning rate of an epoch.

    Constant; cosine: rate * (1 + cos(pi * epoch / epochs)) / 2; or plateau: multiplied by `plateau_factor` each time that the
    validation loss has not fallen for `plateau_patience` epochs (Keras's ReduceLROnPlateau without cool-down).

    Args:
        settings: schedule and its values.
        epoch: counted from 0.
        val_losses: of the epochs before it.
    """
    rate = settings.learning_rate
    if settings.fine_tune_rate is not None and epoch >= settings.frozen_epochs:
        rate = settings.fine_tune_rate
    if settings.schedule == "cosine":
        return rate * (1 + math.cos(math.pi * epoch / settings.epochs)) / 2
    if settings.schedule == "plateau":
        best, waited = np.inf, 0
        for loss in val_losses[:epoch]:
            waited = 0 if loss < best - settings.min_delta else waited + 1
            best = min(best, loss) if waited == 0 else best
            if waited >= settings.plateau_patience:
                rate, waited = rate * settings.plateau_factor, 0
    return rate


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return (
        f"{seconds:.0f} s" if seconds < 90 else f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
    )


def _diverged(name: str, when: str) -> ThoraxError:
    return ThoraxError(f"the training of {name} diverged in {when} (the loss is no longer a number): lower learning_rate.")


def mean_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean AUC over the classes for which it is defined; (n, k) labels of 1, 0, -1 and (n, k) scores; NaN if there is none."""
    values = np.array([auc(labels[:, k], scores[:, k]) for k in range(labels.shape[1])])
    return float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else float("nan")


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
