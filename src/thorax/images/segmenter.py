"""The lung segmenter: a small U-Net (Ronneberger et al. 2015), trained on pairs of radiograph and mask.

Liz et al. 2022, section 3.2, segment the lungs with a U-Net and repair its masks (see `masks`). Only frontal views are
segmented: a crop learnt from PA radiographs is meaningless on a lateral one.
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from thorax import backend, config
from thorax.errors import ThoraxError
from thorax.images import decoding
from thorax.images.mask_pairs import FRONTAL_VIEWS, MASK_SIZE, MaskPairs, read_mask_pairs
from thorax.images.masks import components, crop_box, dice, judge, postprocess
from thorax.storage import joins, schemas, store
from thorax.storage.progress import progress

_PREDICTED_AT_ONCE = 32  # always filled up, so that a mask does not depend on the other images of its batch

# Light augmentation: half-widths of uniform distributions, and the range of the zoom. The pairs show little but the
# chest; without strong shrinking, masks leak into the air next to the arms on wider radiographs.
_ROTATION = 10  # degrees
_LOG_ZOOM = (-0.45, 0.15)
_LOG_STRETCH = 0.1  # of each axis
_SHIFT = 0.1  # of the image
_LOG_GAMMA = 0.3


def train_segmenter(settings: config.Segmenter, split: Path | None, out: Path, history: Path, threads: int = 1) -> None:
    """Train a U-Net on all pairs, or on those of a split's training patients, and save it without optimiser slots.

    `history` gets one row per epoch: epoch, loss, dice (both on augmented training images).
    """
    patients = None
    if split is not None:
        assigned = store.read_table(split, ["patient_id", "split"])
        patients = set(assigned.loc[assigned["split"] == "train", "patient_id"])
    pairs = read_mask_pairs(Path(settings.pairs), patients)
    backend.prepare(settings.seed, threads)
    with store.atomic(out) as new_network, store.atomic(history) as new_history:  # both or neither
        model, epochs = fit(settings, pairs)
        model.save(new_network)
        store.write_text(epochs.to_csv(index=False, float_format="%.6f"), new_history)


def cross_validate(settings: config.Segmenter, folds: int, threads: int = 1) -> pd.DataFrame:
    """Measure the recipe on held-out patients: each fold is predicted by a network trained on the others.

    A patient's pairs share a fold, which `settings.seed` decides, and folds differ by at most one patient. Returns one row per pair,
    sorted by image: image, patient_id, fold, dice (of the post-processed 256 x 256 mask), flag (see `masks.judge`).
    """
    pairs = read_mask_pairs(Path(settings.pairs))
    patients = np.unique(pairs.patients)
    if not 2 <= folds <= len(patients):
        raise ThoraxError(f"{folds} folds of {len(patients)} patients: choose 2 to {len(patients)} folds.")
    shuffled = np.random.default_rng(settings.seed).permutation(patients)
    fold_of = {patient: place % folds for place, patient in enumerate(shuffled)}
    fold = np.array([fold_of[patient] for patient in pairs.patients])
    rows = []
    for held_out in range(folds):
        backend.prepare(settings.seed, threads)
        model, _ = fit(settings, pairs[fold != held_out])
        test = pairs[fold == held_out]
        predicted = predict_masks(model, test.images)
        for name, patient, truth, mask in zip(test.names, test.patients, test.masks, predicted, strict=True):
            rows.append((name, patient, held_out, dice(mask, truth), judge(mask)))
    scores = pd.DataFrame(rows, columns=["image", "patient_id", "fold", "dice", "flag"])
    return scores.sort_values("image", ignore_index=True)


def make_cross_validation(settings: config.Segmenter, folds: int, out: Path, threads: int) -> str:
    """Write the columns of `cross_validate` as CSV; return a sentence with the mean Dice."""
    scores = cross_validate(settings, folds, threads)
    store.write_text(scores.to_csv(index=False, float_format="%.4f"), out)
    return f"Mean Dice of {len(scores)} images of held-out patients: {scores['dice'].mean():.3f}"


def segment_shard(
    settings: config.Segmenter,
    model: Path,
    catalog: Path,
    ingested: Path,
    array: Path,
    shard: int,
    table: Path,
    masks: Path,
    threads: int = 1,
) -> None:
    """Segment one shard's frontal images and find their crop boxes.

    `table` gets a row of `schemas.LUNGS` for each packed image, in the same order, and `masks` (n, 256, 256) uint8, 1 where
    there is lung. An image without a credible mask keeps its whole frame, and `flag` says why. Masks of other views are empty.
    """
    packed = store.open_array(array)
    rows = store.ingested_rows(store.read_table(ingested, ["image_id", "ok", "shard", "row"]), shard, packed, array)
    views = joins.rows_of(store.read_table(catalog, ["image_id", "view"]), rows["image_id"], catalog, ingested)["view"]
    frontal = np.flatnonzero(views.isin(FRONTAL_VIEWS))
    backend.prepare(settings.seed, threads)
    network = load_segmenter(model, settings) if frontal.size else None
    found = [Lungs(*decoding.WHOLE, 0, 0.0, False, "not frontal")] * len(rows)
    shape = (len(rows), MASK_SIZE, MASK_SIZE)
    with store.new_array(masks, shape, np.uint8) as kept, store.atomic(table) as new_table:  # both or neither
        for start in progress(range(0, len(frontal), _PREDICTED_AT_ONCE), "lungs", unit="batch"):
            batch = frontal[start : start + _PREDICTED_AT_ONCE]
            for row, mask in zip(batch, predict_masks(network, packed[batch]), strict=True):
                kept[row], found[row] = mask, lungs_in(mask)
        frame = pd.DataFrame(found, columns=Lungs._fields).assign(image_id=rows["image_id"])
        store.write_table(frame, new_table, schemas.LUNGS)


class Lungs(NamedTuple):
    """What a mask says of an image: the row of `schemas.LUNGS` without the identifier."""

    x0: float
    y0: float
    x1: float
    y1: float
    components: int
    area: float
    credible: bool
    flag: str | None

    @property
    def box(self) -> decoding.Box:
        """The part that networks see, as it is read from a table: to the precision of float32."""
        x0, y0, x1, y1 = (float(np.float32(edge)) for edge in self[:4])
        return x0, y0, x1, y1


def lungs_in(mask: np.ndarray) -> Lungs:
    """Judge a post-processed (h, w) bool mask; without a credible pair of lungs, networks see the whole image."""
    flag = judge(mask)
    box = crop_box(mask) if flag is None else decoding.WHOLE
    return Lungs(*box, len(components(mask)[1]), float(mask.mean()), flag is None, flag)


def build_unet(settings: config.Segmenter) -> backend.Model:
    """A U-Net from grey images of any intensity range to lung logits, (n, size, size, 1) float32 both.

    The first layer standardises each image. Every resolution has two 3 x 3 convolutions, each with He initialisation from a
    seed of its own, batch normalisation (momentum 0.9, because a training has few steps) and ReLU.
    """
    import keras
    from keras import layers

    halvings = len(settings.filters) - 1
    if settings.size % 2**halvings:
        problem = (
            f"segmenters: size {settings.size} cannot be halved {halvings} times, which {len(settings.filters)} filters need"
        )
        raise ThoraxError(f"{problem}; choose a multiple of {2**halvings}.")
    seeds = iter(np.random.default_rng(settings.seed).integers(2**31, size=4 * len(settings.filters)))

    def initializer():
        return keras.initializers.HeNormal(seed=int(next(seeds)))

    def two_convolutions(features, filters: int, name: str):
        for number in (1, 2):
            options = {"padding": "same", "use_bias": False, "kernel_initializer": initializer()}
            features = layers.Conv2D(filters, 3, **options, name=f"{name}_conv{number}")(features)
            features = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm{number}")(features)
            features = layers.ReLU(name=f"{name}_relu{number}")(features)
        return features

    inputs = keras.Input((settings.size, settings.size, 1), name="image")
    features = layers.GroupNormalization(groups=1, center=False, scale=False, name="standardise")(inputs)
    skips = []
    for level, filters in enumerate(settings.filters[:-1]):
        features = two_convolutions(features, filters, f"down{level}")
        skips.append(features)
        features = layers.MaxPooling2D(name=f"down{level}_pool")(features)
    features = two_convolutions(features, settings.filters[-1], "bottom")
    for level in reversed(range(halvings)):
        features = layers.UpSampling2D(name=f"up{level}_upsample")(features)
        features = layers.Concatenate(name=f"up{level}_skip")([features, skips[level]])
        features = two_convolutions(features, settings.filters[level], f"up{level}")
    logits = layers.Conv2D(1, 1, dtype="float32", kernel_initializer=initializer(), name="logits")(features)
    return keras.Model(inputs, logits, name="unet")


def bce_dice(truth, logits):
    """Binary cross-entropy plus one minus the soft Dice coefficient, per image."""
    from keras import losses, ops

    cross_entropy = losses.binary_crossentropy(truth, logits, from_logits=True)
    return ops.mean(cross_entropy, axis=(1, 2)) + 1 - soft_dice(truth, logits)


def soft_dice(truth, logits):
    """Dice coefficient of probabilities, per image; one pixel is added to both parts of the fraction."""
    from keras import ops

    probability = ops.sigmoid(logits)
    both = ops.sum(truth * probability, axis=(1, 2, 3))
    return (2 * both + 1) / (ops.sum(truth + probability, axis=(1, 2, 3)) + 1)


def fit(settings: config.Segmenter, pairs: MaskPairs) -> tuple[backend.Model, pd.DataFrame]:
    """Train a new U-Net: Adam with a learning rate that falls to zero along a cosine, BCE + Dice.

    Every batch is full: an epoch may end with pairs from its start. The network is not compiled, so that it is saved without
    optimiser slots. The history has means over the epoch's steps.
    """
    import keras

    model = build_unet(settings)
    radiographs = np.stack([decoding.resize(image, settings.size, settings.size) for image in pairs.images])
    targets = np.stack([decoding.resize(mask.astype(np.float32), settings.size, settings.size) for mask in pairs.masks])
    steps = -(-len(pairs) // settings.batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps * settings.epochs)
    trainer = keras.Model(model.inputs, model.outputs)
    dice_of_batch = keras.metrics.MeanMetricWrapper(soft_dice, name="soft_dice")
    trainer.compile(optimizer=keras.optimizers.Adam(schedule), loss=bce_dice, metrics=[dice_of_batch])
    trainer.optimizer.build(trainer.trainable_variables)  # here, because the step that creates variables is traced twice
    rng = np.random.default_rng(settings.seed)
    history = []
    for epoch in progress(range(1, settings.epochs + 1), "U-Net", unit="epoch"):
        order = np.resize(rng.permutation(len(pairs)), (steps, settings.batch_size))
        seen = []
        for step, batch in enumerate(order, start=1):
            augmented = [augment(radiographs[index], targets[index], rng) for index in batch]
            x, y = (np.stack(part)[..., np.newaxis] for part in zip(*augmented, strict=True))
            logs = trainer.train_on_batch(x, y, return_dict=True)  # of this batch alone
            if not np.isfinite(logs["loss"]):
                problem = f"segmenters: in step {step} of epoch {epoch} the loss of {settings.pairs} is no longer a number"
                raise ThoraxError(f"{problem}; lower learning_rate, which is {settings.learning_rate:g}.")
            seen.append((float(logs["loss"]), float(logs["soft_dice"])))
        history.append((epoch, *np.mean(seen, axis=0).tolist()))
    return model, pd.DataFrame(history, columns=["epoch", "loss", "dice"])


def augment(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Flip, rotate, zoom, stretch, shift, and change the brightness by a gamma.

    Pixels from outside the image repeat its border, or are black or white, as beyond a collimator. The image is (size, size) uint8,
    and float32 in [0, 255] afterwards; the mask is (size, size) float32 in [0, 1].
    """
    size = image.shape[0]
    angle = np.deg2rad(rng.uniform(-_ROTATION, _ROTATION))
    stretch = rng.uniform(-_LOG_STRETCH, _LOG_STRETCH, 2)
    zoom = np.exp(rng.uniform(*_LOG_ZOOM) + stretch) * [rng.choice([-1, 1]), 1]
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * zoom
    centre = np.full(2, (size - 1) / 2)
    offset = centre + rng.uniform(-_SHIFT, _SHIFT, 2) * size - matrix @ centre
    affine = np.column_stack([matrix, offset])
    mode, grey = ((cv2.BORDER_REPLICATE, 0), (cv2.BORDER_CONSTANT, 0), (cv2.BORDER_CONSTANT, 255))[rng.choice(3)]
    warped = cv2.warpAffine(image, affine, (size, size), flags=cv2.INTER_LINEAR, borderMode=mode, borderValue=grey)
    warped_mask = cv2.warpAffine(mask, affine, (size, size), flags=cv2.INTER_LINEAR, borderMode=mode)
    gamma = np.exp(rng.uniform(-_LOG_GAMMA, _LOG_GAMMA))
    table = (255 * (np.arange(256) / 255) ** gamma).astype(np.float32)
    return table[warped], warped_mask


def load_segmenter(path: Path, settings: config.Segmenter) -> backend.Model:
    """Load a network of `train_segmenter`, unless it is of another kind or for another image size."""
    model = backend.load_network(path)
    if model.output_shape != model.input_shape:
        problem = f"{path} is not a segmenter: it has outputs of shape {model.output_shape[1:]} instead of a mask"
        raise ThoraxError(f"{problem}; name a network of the segmenter verb.")
    if model.input_shape != (None, settings.size, settings.size, 1):
        problem = f"{path} takes images of shape {model.input_shape[1:]}, but segmenters size is {settings.size}"
        raise ThoraxError(f"{problem}: delete it and train the segmenter again.")
    return model


def predict_masks(model: backend.Model, packed: np.ndarray) -> np.ndarray:
    """Predict the post-processed masks, (n, 256, 256) bool, of images (n, height, width) uint8.

    The mean logit of an image and its mirror image is enlarged, cut at 0, and repaired. No mask depends on the other images.
    """
    size = model.input_shape[1]
    out = np.zeros((len(packed), MASK_SIZE, MASK_SIZE), bool)
    batch = np.zeros((_PREDICTED_AT_ONCE, size, size, 1), np.float32)
    for start in range(0, len(packed), _PREDICTED_AT_ONCE):
        some = packed[start : start + _PREDICTED_AT_ONCE]
        for place, image in enumerate(some):
            batch[place, ..., 0] = decoding.resize(image, size, size)
        mirrored = model.predict_on_batch(batch[:, :, ::-1].copy())[:, :, ::-1]
        logits = (model.predict_on_batch(batch) + mirrored)[..., 0] / 2
        for place in range(len(some)):
            out[start + place] = postprocess(decoding.resize(logits[place], MASK_SIZE, MASK_SIZE) > 0)
    return out
