"""Train one member: fit, keep the best epoch, stop early, write the history, and resume after any interruption."""

import hashlib
import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import thorax
from thorax import backend
from thorax.config import Start, Training
from thorax.errors import ThoraxError
from thorax.evaluation.metrics import mean_auc, overall_by_threshold, sigmoid
from thorax.models import backbones, losses, optimizer, preflight, pretrained, sampling
from thorax.models.batches import LabelledImages, load_part, predict_logits, second_view, training_batches
from thorax.models.network import Network, build_model
from thorax.models.resume import Progress, States, digest, restore, variables
from thorax.models.schedule import learning_rate, stalls
from thorax.storage import progress as progress_bar
from thorax.storage import store
from thorax.storage.schemas import EPOCHS_COLUMNS, HISTORY_COLUMNS, class_columns


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
    record: Path | None = None,
    weights_labels: Path | None = None,
) -> None:
    """Train one member and save its best epoch, by validation loss, without the optimiser's state.

    It stops early as in Liz et al. 2022, section 3.3, when the validation loss has not fallen by more than min_delta for
    `patience` epochs. After every epoch, and on SIGTERM or SIGINT, the whole state is saved under `work`. The same call resumes
    from there. It ends with the same history and weights as an uninterrupted training: bit for bit where the device is
    deterministic (a CPU, with the same number of threads). Raises Terminated or KeyboardInterrupt when asked to stop.

    `weights` is the file with the backbone's ImageNet weights, or the trained network that settings.weights names as a block; the
    classes of that one are those of `weights_labels`, its label set.

    `epochs` has the results of the test images after each epoch: one row without a threshold with the AUC of the probabilities,
    then one per threshold of `settings.test_every_epoch`; without thresholds it has no rows. Nothing is chosen by it.
    """
    started = time.monotonic()
    if settings.test_every_epoch and epochs is None:
        raise ThoraxError("test_every_epoch has thresholds, and no file is named for the results: give --epochs.")
    second = second_view(pairs, second_ingested, second_images)
    backend.prepare(settings.seed, threads, settings.precision)
    preflight.device(settings.precision)
    preflight.workers(threads)
    read = ("train", "val", "test") if settings.test_every_epoch else ("train", "val")
    parts = {part: load_part(labels, split, ingested, images, part, second, with_known_label=part != "test") for part in read}
    train, views = parts["train"], len(parts["train"].views)
    _check_intensity(settings, train, images)
    losses.check_classes(train.labels, train.classes)
    replicas = backend.replicas(min(settings.batch_size, len(train)), settings.accumulate)
    with replicas.scope():
        network, origin = _starting_network(settings, train, weights, weights_labels)
    preflight.memory(settings.backbone, views)
    preflight.disk(network.model, work, out)
    inputs = [labels, split, ingested, *images, *filter(None, (weights, weights_labels))]
    inputs += [second.pairs, second.ingested, *second.images] if second else []
    unused = set() if settings.test_every_epoch else {"test_every_epoch"}  # so that older states are still found
    decides = {
        "settings": settings.model_dump(mode="json", exclude=unused),
        "program": [thorax.__version__, *backend.versions()],  # and the device
    }
    states = States(work / f"{out.stem}-{digest(decides, inputs)}")
    with ExitStack() as stack:  # all outputs or none, and known to be writable before the work begins
        new_model, new_history = (stack.enter_context(store.atomic(path)) for path in (out, history))
        new_epochs, new_record = (path and stack.enter_context(store.atomic(path)) for path in (epochs, record))
        stack.enter_context(store.only_one(states.folder))
        asked = stack.enter_context(backend.asked_to_stop())
        fit = Fit(settings, network, parts, states, asked, replicas, threads, started)
        progress = fit.run()
        fit.bare.save(new_model)  # without the optimiser's state, which would triple the file's size
        tables = ((new_history, progress.rows, HISTORY_COLUMNS), (new_epochs, progress.tested, EPOCHS_COLUMNS))
        for path, rows, columns in tables:
            if path:
                frame = pd.DataFrame(rows, columns=list(columns))
                store.write_text(frame.to_csv(index=False, float_format="%.6g"), path)
        if new_record:
            store.write_text(json.dumps(_record(progress) | {"weights": origin}, indent=1) + "\n", new_record)
    states.clear()


def _starting_network(
    settings: Training, train: LabelledImages, weights: Path | None, weights_labels: Path | None
) -> tuple[Network, dict[str, Any]]:
    """The network before its first step, and for the record where its weights are from."""
    start, size = settings.weights, (train.size, len(train.classes))
    if not isinstance(start, Start):
        network = build_model(settings, *size, str(weights) if weights else None, len(train.views))
        return network, {"from": start, **_named(weights)}
    if weights is None or weights_labels is None:
        raise ThoraxError("weights names another network: give it as --weights, and its label set as --weights-labels.")
    network = build_model(settings, *size, None, len(train.views))
    theirs = class_columns(store.read_table(weights_labels))
    kept = pretrained.adopt(network.model, backend.load_network(weights), train.classes, theirs, str(weights))
    shared = f"{len(set(theirs) & set(train.classes))} of its {len(theirs)} classes are among the {len(train.classes)} here"
    last = "taken over, as the classes are the same" if kept else f"new: {shared}"
    _log(f"{network.model.name} starts from {weights}; its last layer is {last}")
    file, remark = Path(start.bundle) if start.bundle else weights, store.read_metadata(weights_labels).get("remark")
    origin = {"from": start.model_dump(exclude_none=True), **_named(file), "last_layer": "kept" if kept else "new"}
    if remark:
        _log(f"warning: {remark}")
    return network, origin | ({"remark": remark} if remark else {})


def _named(path: Path | None) -> dict[str, str]:
    """A file and its digest, for the record; nothing without a file."""
    if path is None:
        return {}
    with path.open("rb") as file:
        return {"file": str(path), "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


@dataclass
class Fit:
    """One training: its fixed inputs and its progress."""

    settings: Training
    network: Network
    parts: dict[str, LabelledImages]
    states: States
    asked: backend.StopRequest
    replicas: backend.Replicas
    threads: int
    saved_at: float  # time.monotonic() up to which `progress.seconds` counts

    def run(self) -> Progress:
        """Resume from the newest state, or begin. When training ends, give `bare` the best epoch's weights."""
        settings, train, model = self.settings, self.parts["train"], self.network.model
        self.pos_weight = losses.pos_weights(train.labels, settings.pos_weight_exponent, settings.max_pos_weight)
        saved = self.states.newest()
        progress = self.progress = saved[0] if saved else Progress()
        # A state from the end of the frozen stage has that stage's optimiser; `_epoch` then begins the second stage.
        at_its_end = saved is not None and progress.epoch == settings.frozen_epochs and progress.step == 0
        self._compile(frozen=progress.epoch < settings.frozen_epochs or at_its_end)
        size = f"{model.count_params():,} parameters, {self.network.fixed} convolutional layers frozen"
        images = f"{len(train):,} training and {len(self.parts['val']):,} validation images, {len(train.classes)} classes"
        _log(f"{model.name}: {size}, {images}, on {backend.device()}")
        if saved is not None:
            restore(model, saved[1])
            _log(f"resuming after epoch {progress.epoch}, batch {progress.step} ({self.states.folder})")
        while progress.epoch < settings.epochs and not stalls(self._val_losses(), settings.patience, settings.min_delta):
            self._epoch()
        if progress.epoch < settings.epochs:
            _log(f"stopped: val_loss has not fallen by more than {settings.min_delta:g} for {settings.patience} epochs")
        for weight, array in zip(self.bare.weights, self.states.best(progress.best_epoch), strict=True):
            weight.assign(array)
        return progress

    def _epoch(self) -> None:
        """Train on the rest of an epoch, validate, save the state, and report."""
        settings, progress, model, started = self.settings, self.progress, self.network.model, time.monotonic()
        if progress.epoch == settings.frozen_epochs > 0 and progress.step == 0:
            self._compile(frozen=False)
        before, number, whole = self._val_losses(), progress.epoch + 1, progress.step == 0
        rate = model.optimizer.learning_rate = learning_rate(settings, progress.epoch, before)
        images, seconds = self._train()

        val, logits = self.parts["val"], self._logits("val")
        val_loss = losses.loss_numpy(settings, val.labels, logits, self.pos_weight)
        self._check_finite(val_loss, f"the validation after epoch {number}")
        values = (number, float(np.mean(progress.losses)), val_loss, rate, mean_auc(val.labels, logits))
        row = dict(zip(HISTORY_COLUMNS, values, strict=True))
        backend.show(self.states.folder.name, row)
        progress.rows.append(row)
        if settings.test_every_epoch:  # as in Figure 2 of Dunn Beltran and Alsaghier 2022
            probabilities = sigmoid(self._logits("test"))
            overall = overall_by_threshold(self.parts["test"].labels, probabilities, settings.test_every_epoch)
            progress.tested += [dict(zip(EPOCHS_COLUMNS, (number, *tested), strict=True)) for tested in overall]
        progress.epoch, progress.step, progress.losses = number, 0, []
        if val_loss < min(before, default=np.inf):
            progress.best_epoch = number
            self.states.save_best(number, (weight.numpy() for weight in self.bare.weights))
        self._save()

        left = (settings.epochs - number) * (time.monotonic() - started)
        results = f"loss {row['loss']:.4f}, validation loss {val_loss:.4f}, validation AUC {row['val_auc']:.3f}"
        rest = f", at most {progress_bar.duration(left)} left" if left and whole else ""
        _log(f"{model.name}: epoch {number} of {settings.epochs}, {results}, {images / seconds:,.0f} images/s{rest}")
        self._stop_if_asked()

    def _train(self) -> tuple[int, float]:
        """Train on the remaining batches of the epoch; return the number of images and the seconds."""
        settings, progress, model, train = self.settings, self.progress, self.network.model, self.parts["train"]
        epoch = (settings.seed, progress.epoch)
        order = sampling.choose(train.labels, settings.sampling, np.random.default_rng([*epoch, 2]))
        size = min(settings.batch_size, len(order))
        steps = len(order) // size
        batches = training_batches(train, size, *epoch, settings.augmentation, self.threads, order=order, start=progress.step)
        name = f"{model.name}: epoch {progress.epoch + 1} of {settings.epochs}"
        started, before = time.monotonic(), progress.images
        with (
            closing(batches),  # its threads end with the loop, also when the loop ends early
            progress_bar.Progress(name, steps * size, "images", done=progress.step * size) as bar,
        ):
            for pixels, labels in batches:
                loss = self.replicas.train_on_batch(model, pixels, labels)
                progress.step += 1
                progress.losses.append(loss)
                progress.images += len(pixels)
                self._check_finite(loss, f"step {progress.step} of epoch {progress.epoch + 1}")
                bar.add(len(pixels), f"loss {loss:.4f}")
                if self.asked.signal and progress.step < steps:
                    progress.training_seconds += time.monotonic() - started
                    self._save()
                    self._stop_if_asked()
        apply_rest(model.optimizer)
        seconds = time.monotonic() - started
        progress.training_seconds += seconds
        return progress.images - before, seconds

    def _compile(self, frozen: bool) -> None:
        """Set the optimiser up for a stage: with the whole backbone frozen, or fine-tuned."""
        import keras

        model, settings = self.network.model, self.settings
        for layers in self.network.backbones:
            for layer in layers:
                layer.trainable = not frozen
            if not frozen:
                backbones.freeze(layers, settings.freeze)
        accumulate = settings.accumulate if settings.accumulate > 1 else None
        with self.replicas.scope():
            updates = optimizer.adam(settings.learning_rate, accumulate, distributed=self.replicas.count > 1)
            model.compile(optimizer=updates, loss=losses.make_loss(settings, self.pos_weight))
            model.optimizer.build(model.trainable_variables)
        self.bare = keras.Model(model.input, model.output, name=model.name)

    def _logits(self, part: str) -> np.ndarray:
        return predict_logits(self.bare, self.parts[part], self.settings.batch_size, self.threads, f"{self.bare.name}: {part}")

    def _val_losses(self) -> list[float]:
        return [row["val_loss"] for row in self.progress.rows]

    def _save(self) -> None:
        now = time.monotonic()
        self.progress.seconds, self.saved_at = self.progress.seconds + now - self.saved_at, now
        self.states.save(self.progress, variables(self.network.model))

    def _stop_if_asked(self) -> None:
        """Raise the exception for the signal that came, if any. The state is saved."""
        if self.asked.signal:
            done = f"epoch {self.progress.epoch}" + (f" and {self.progress.step} batches" if self.progress.step else "")
            raise self.asked.stop(f"the state after {done} is saved; run the same command to resume")

    def _check_finite(self, loss: float, when: str) -> None:
        if not np.isfinite(loss):
            problem = f"the training of {self.network.model.name} diverged in {when} (the loss is no longer a number)"
            raise ThoraxError(f"{problem}: lower learning_rate.")


def apply_rest(optimizer: Any) -> None:
    """Update the weights with the mean gradient of the batches that do not fill a whole accumulation; the next begins a new one.

    Keras counts batches across epochs and applies nothing before the count is full. Without this, an epoch of few batches would
    change no weight, and the rest of an epoch would be applied at the next epoch's learning rate, or lost where fine-tuning
    begins with a new optimiser.
    """
    from keras import ops

    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # half precision wraps it, and unscales what it is given
    steps = optimizer.gradient_accumulation_steps
    rest = int(optimizer._iterations) % steps if steps else 0
    if not rest:
        return
    optimizer._iterations.assign_add(steps - rest - 1)  # so that Keras applies the mean at the next call
    gradients = [gradient * (steps / rest) for gradient in optimizer._accumulated_gradients]  # Keras divides the sum by `steps`
    for gradient in optimizer._accumulated_gradients:
        gradient.assign(ops.zeros_like(gradient))
    optimizer.apply(gradients)


def _record(progress: Progress) -> dict[str, object]:
    import keras

    *packages, _ = backend.versions()
    return {
        "device": backend.device(),
        "machine": backend.machine(),
        "seconds": round(progress.seconds, 1),
        "epochs": progress.epoch,
        "images_per_second": round(progress.images / progress.training_seconds, 1),
        "backend": keras.backend.backend(),
        "precision": keras.config.dtype_policy().name,
        "versions": {"thorax": thorax.__version__, **dict(package.split() for package in packages)},
    }


def _check_intensity(settings: Training, part: LabelledImages, images: Sequence[Path]) -> None:
    if part.dtype != backbones.input_dtype(settings.input_scaling):
        needed = "none" if part.dtype == "uint16" else "unit or backbone"
        problem = f"input_scaling: {settings.input_scaling} does not fit {images[0]}, which holds {part.dtype}"
        raise ThoraxError(f"{problem}: set it to {needed}.")
    if part.dtype != "uint8" and settings.augmentation is not None:
        problem = f"{images[0]} holds stored values, and augmentation changes 8-bit images only"
        raise ThoraxError(f"{problem}: set augmentation: null.")


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
