"""Training of one member: fit, keep the best epoch, stop early, write the history."""

import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from thorax import backbones, heads, losses, runtime, store
from thorax.batches import load_part, predict_logits, training_batches
from thorax.catalog import HISTORY_COLUMNS
from thorax.config import Training
from thorax.errors import ThoraxError
from thorax.metrics import auc


def build_model(settings: Training, size: int, classes: int, weights: str | None = None):
    """A network from packed images to logits.

    Args:
        settings: the member's settings.
        size: pixels on a side.
        classes: number of logits.
        weights: file with the backbone's ImageNet weights; needed exactly where settings.weights is "imagenet".

    Returns:
        the keras.Model and the number of convolutional layers that stay fixed.
    """
    import keras

    if (settings.weights == "imagenet") != (weights is not None):
        raise ThoraxError(
            f"weights: {settings.weights} does not fit the weights file {weights!r}: give one, or set weights: none."
        )
    inputs, features, layers = backbones.build_features(settings, size, weights)
    fixed = backbones.freeze(layers, settings.freeze)
    return keras.Model(inputs, heads.dense_head(features, classes, settings), name=settings.backbone), fixed


def train(
    settings: Training,
    labels: Path,
    split: Path,
    ingested: Path,
    images: Sequence[Path],
    weights: Path | None,
    model_out: Path,
    history_out: Path,
    threads: int = 1,
) -> None:
    """Train one member and save its best epoch (by validation loss) without the optimiser's state.

    Early stopping and checkpointing as in Liz et al. 2022, section 3.3: training ends when the validation loss has not
    fallen by more than min_delta for `patience` epochs; the epoch with the smallest validation loss is kept.

    Args:
        settings: the member's settings.
        labels, split, ingested, images: tables of ARCHITECTURE's contracts and the packed training images.
        weights: file with ImageNet weights, or None.
        model_out: the .keras file.
        history_out: CSV with one row per epoch: epoch, loss, val_loss, learning_rate, val_auc.
        threads: CPU threads.

    Raises:
        ThoraxError: as in `batches.load_part`; a class has no positive or no negative training image; an output cannot be
            written; or the loss is no longer a number.
    """
    runtime.prepare(settings.seed, threads)
    import keras

    train_part = load_part(labels, split, ingested, images, "train")
    val_part = load_part(labels, split, ingested, images, "val")
    losses.check_classes(train_part.labels, train_part.classes)
    pos_weight = np.ones(len(train_part.classes), np.float32)
    if settings.loss == "weighted_bce":
        pos_weight = losses.pos_weights(train_part.labels, settings.max_pos_weight)
    model, fixed = build_model(settings, train_part.size, len(train_part.classes), str(weights) if weights else None)
    model.compile(optimizer=keras.optimizers.Adam(settings.learning_rate), loss=losses.weighted_bce(pos_weight))
    _log(
        f"{settings.backbone}: {model.count_params():,} parameters, {fixed} convolutional layers fixed, {len(train_part):,} training and "
        f"{len(val_part):,} validation images, {len(train_part.classes)} classes, on {runtime.device()}"
    )

    rows: list[dict[str, float]] = []
    best = reference = np.inf
    waited = 0
    with store.atomic(model_out) as checkpoint, store.atomic(history_out) as new_history:  # both or neither
        for epoch in range(settings.epochs):
            started = time.monotonic()
            rate = learning_rate(settings, epoch)
            model.optimizer.learning_rate = rate
            loss, seen = _train_epoch(
                model,
                training_batches(train_part, settings.batch_size, settings.seed, epoch, settings.augmentation, threads),
                epoch,
            )
            trained = time.monotonic() - started
            logits = predict_logits(model, val_part, settings.batch_size, threads)
            val_loss = losses.weighted_bce_numpy(val_part.labels, logits, pos_weight)
            if not np.isfinite(val_loss):
                raise _diverged(model.name, f"the validation after epoch {epoch + 1}")
            val_auc = mean_auc(val_part.labels, logits)
            rows.append(dict(zip(HISTORY_COLUMNS, (epoch + 1, loss, val_loss, rate, val_auc), strict=True)))
            if val_loss < best:
                best = val_loss
                _save(model, checkpoint)
            waited = 0 if val_loss < reference - settings.min_delta else waited + 1
            reference = min(reference, val_loss) if waited == 0 else reference
            _log(
                f"epoch {epoch + 1}/{settings.epochs}: loss {loss:.4f}, val_loss {val_loss:.4f}, val_auc {val_auc:.3f}, "
                f"{seen / trained:,.0f} images/s, {time.monotonic() - started:.1f} s"
            )
            if waited >= settings.patience:
                _log(f"stopped: val_loss has not fallen by more than {settings.min_delta:g} for {settings.patience} epochs")
                break
        history = pd.DataFrame(rows, columns=list(HISTORY_COLUMNS))
        store.write_text(history.to_csv(index=False, float_format="%.6g"), new_history)


def learning_rate(settings: Training, epoch: int) -> float:
    """The learning rate of an epoch, counted from 0; cosine: rate * (1 + cos(pi * epoch / epochs)) / 2."""
    if settings.schedule == "constant":
        return settings.learning_rate
    return settings.learning_rate * (1 + math.cos(math.pi * epoch / settings.epochs)) / 2


def _train_epoch(model, batches: Iterator[tuple[np.ndarray, np.ndarray]], epoch: int) -> tuple[float, int]:
    """Train on an epoch's batches, all of one size; return the mean loss and the number of images."""
    losses_seen, images = [], 0
    for step, (pixels, labels) in enumerate(batches, start=1):
        losses_seen.append(float(model.train_on_batch(pixels, labels)))
        images += len(pixels)
        if not np.isfinite(losses_seen[-1]):
            raise _diverged(model.name, f"step {step} of epoch {epoch + 1}")
    return float(np.mean(losses_seen)), images


def _diverged(name: str, when: str) -> ThoraxError:
    return ThoraxError(f"the training of {name} diverged in {when} (the loss is no longer a number): lower learning_rate.")


def mean_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean AUC over the classes for which it is defined; (n, k) labels of 1, 0, -1 and (n, k) scores; NaN if there is none."""
    values = np.array([auc(labels[:, k], scores[:, k]) for k in range(labels.shape[1])])
    return float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else float("nan")


def _save(model, path: Path) -> None:
    """Save architecture and weights; the optimiser's state would make the file three times as large."""
    import keras

    bare = keras.Model(model.input, model.output, name=model.name)
    bare.save(path)


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
