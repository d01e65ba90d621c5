"""The fixed schemas of the tables under results/, and what every catalog must satisfy."""

from pathlib import PurePosixPath

import pandas as pd
import pyarrow as pa

from thorax.errors import ThoraxError


def _table(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(columns)


MANIFEST = _table(
    path=pa.string(),  # relative to the archive's root
    bytes=pa.int64(),
    digest=pa.string(),  # of the content; of images longer than 128 KiB, of the first and last 64 KiB
)

CATALOG = _table(
    image_id=pa.string(),  # unique in its data set
    path=pa.string(),  # of the original file, relative to the archive's root
    patient_id=pa.string(),
    study_id=pa.string(),
    view=pa.string(),  # PA, AP, L, ... as the archive names it
    sex=pa.string(),  # M, F or null
    age=pa.float32(),  # years, or null
    **dict.fromkeys(("positive", "negative", "uncertain"), pa.list_(pa.string())),  # labels
    padded=pa.list_(pa.string()),  # labels of `positive` stored only with a surrounding blank; null where not checked
    label_source=pa.string(),  # Physician, RNN_model, text-mined, ...
    official_split=pa.string(),  # train, val, test or null
    photometric=pa.string(),  # MONOCHROME1 (bright is air) or MONOCHROME2
)

IMAGE_LIST = _table(
    **dict.fromkeys(("image_id", "path", "view", "photometric"), pa.string()),  # as in CATALOG
    bytes=pa.int64(),  # length and digest of the file, as in MANIFEST; null where there is none
    digest=pa.string(),
)

BOXES = _table(
    image_id=pa.string(),
    label=pa.string(),
    **dict.fromkeys(("x", "y", "width", "height"), pa.float32()),  # from the upper left, as fractions of the image
)

INGESTED = _table(
    image_id=pa.string(),
    ok=pa.bool_(),
    # null, or missing, truncated, not_image, empty, constant, too_large; of DICOM also not_radiograph, multi_frame, colour, no_pixels,
    # unsupported
    reason=pa.string(),
    rows=pa.int32(),  # of the original, in (square) pixels; 0 where unknown
    columns=pa.int32(),
    channels=pa.int8(),
    bits=pa.int8(),  # of the stored type: 8 or 16
    burned_in=pa.bool_(),  # a DICOM header says that annotation is part of the picture
    collimated=pa.bool_(),  # a DICOM header names a collimator's edges inside the picture, or it has a uniform border
    low=pa.int32(),  # the original's smallest and largest grey value, mapped to 0 and 255
    high=pa.int32(),
    shard=pa.int32(),  # -1 where not ok
    row=pa.int32(),  # of the shard's array; -1 where not ok
)

SCREENED = pa.schema(  # of one shard
    [
        *INGESTED,
        ("digest", pa.string()),  # of the packed pixels; null where not ok
        ("phash", pa.string()),  # their perceptual hash, see `duplicates`
    ]
)

DUPLICATES = _table(
    image_id=pa.string(),  # the first, by name
    other_id=pa.string(),
    identical=pa.bool_(),  # the same pixels once packed; false: similar
    bits=pa.int16(),  # by which the perceptual hashes differ
)

LUNGS = _table(
    image_id=pa.string(),
    # The crop box, fractions of the ingested image; the whole image where not credible
    **dict.fromkeys(("x0", "y0", "x1", "y1"), pa.float32()),
    components=pa.int8(),  # lungs that are left after post-processing
    area=pa.float32(),  # of the mask, as a fraction of the image
    credible=pa.bool_(),
    flag=pa.string(),  # null, or why the whole image is used
)

SPLITS = _table(image_id=pa.string(), patient_id=pa.string(), split=pa.string())  # train, val, test, left_out

TWO_VIEWS = _table(image_id=pa.string(), second_id=pa.string())  # two views of one study

THRESHOLDS = _table(
    model=pa.string(),  # member, ensemble or baseline
    **{"class": pa.string()},
    rule=pa.string(),  # f1, f1_positive, youden, specificity-0.9 and the like
    value=pa.float64(),  # scores above it count as positive
    n_positive=pa.int64(),  # among the validation images
    defined=pa.bool_(),  # false where validation lacks positives or negatives; then the value is 0.5
)

METRICS = _table(
    model=pa.string(),  # member, ensemble or baseline
    # A class (metrics.row_name), or "Global" or a tier (metrics.tiers): a mean over classes or their whole matrix
    **{"class": pa.string()},
    metric=pa.string(),  # auc, loss; f1, f1_positive, precision, sensitivity and so on: see metrics.evaluate
    split=pa.string(),  # val, test
    threshold_rule=pa.string(),  # fixed-0.5, f1, f1+exclusive, ...; none where no threshold enters
    value=pa.float64(),  # null where undefined
    low=pa.float64(),  # 95% interval, bootstrap over patients
    high=pa.float64(),
    n_positive=pa.int64(),
)

DIFFERENCES = _table(
    **{name: pa.string() for name in ("model", "other", "class", "metric", "split", "threshold_rule")},  # as in METRICS
    value=pa.float64(),  # of the model, and of the other; null where undefined
    other_value=pa.float64(),
    difference=pa.float64(),  # value - other_value
    low=pa.float64(),  # 95% interval of the difference, paired bootstrap over patients
    high=pa.float64(),
    same_sign=pa.float64(),  # share of the replicates in which the difference has the same sign; null where it is 0
    p=pa.float64(),  # two-sided: see differences.p_values
    p_holm=pa.float64(),  # corrected for the number of classes; null for summaries over classes
    replicates=pa.int64(),  # that have a difference
    n_positive=pa.int64(),
)

LOCALISATION = _table(
    map=pa.string(),  # a network, "mean of networks", or a map that needs no network: see explanation.localisation
    **{"class": pa.string()},  # with boxes, or "Global" for the mean over these
    score=pa.string(),  # pointing, area, iou, energy, lungs
    value=pa.float64(),
    low=pa.float64(),  # 95% interval, bootstrap over patients
    high=pa.float64(),
    difference=pa.float64(),  # from the mean box of the training images
    difference_low=pa.float64(),  # 95% interval of the difference, paired
    difference_high=pa.float64(),
    same_sign=pa.float64(),  # share of the replicates in which the difference has the same sign
    findings=pa.int64(),  # pairs of an image and a class with boxes
    patients=pa.int64(),
)

SCALINGS = _table(  # of probabilities: new log odds are slope * log odds + intercept
    model=pa.string(),  # as in METRICS; those that give votes have no rows
    **{"class": pa.string()},
    kind=pa.string(),  # temperature (intercept 0; the temperature is 1 / slope) or platt
    slope=pa.float64(),  # at least 0.01; null where nothing could be fitted, then the probabilities stay as they are
    intercept=pa.float64(),
    images=pa.int64(),  # of validation, with a known label, that it was fitted on
    n_positive=pa.int64(),  # among these
    note=pa.string(),  # why there is no slope, or why it was held at 0.01; blank elsewhere
)

RECORDS = _table(
    image_id=pa.string(),
    **{"class": pa.string()},
    label=pa.int8(),  # of the archive: 1, 0, or -1 where not known
    probability=pa.float32(),  # the mean of the networks
    lowest=pa.float32(),  # of the networks' probabilities
    highest=pa.float32(),
    yes=pa.int16(),  # networks with a probability above 0.5
    networks=pa.int16(),
    peak_x=pa.float32(),  # the hottest point of the networks' mean map, as fractions of the original; null where it does not vary
    peak_y=pa.float32(),
    # Box of the area around it of at least half its value, as in BOXES
    **dict.fromkeys(("x", "y", "width", "height"), pa.float32()),
    in_lungs=pa.float32(),  # share of the map's sum that is inside the lung mask; null without masks
)

MASK_PAIRS = "pairs.csv"  # in a folder of radiographs with lung masks: image, patient_id, view
HISTORY_COLUMNS = ("epoch", "loss", "val_loss", "learning_rate", "val_auc")
EPOCHS_COLUMNS = ("epoch", "threshold", "auc", "f1", "f1_positive")  # of decisions; without a threshold, of probabilities
SPLIT_NAMES = ("train", "val", "test")
LEFT_OUT = "left_out"  # the "part" of images that are not used
RADIOLOGISTS = "radiologists"  # label_source of images that are never in train or val
IGNORED = -1  # an entry of a label matrix that losses and metrics skip


def labels_schema(classes: list[str]) -> pa.Schema:
    """Schema of a label set: identifiers, then one int8 column per class (1, 0, -1 = ignored)."""
    return pa.schema([("image_id", pa.string()), ("patient_id", pa.string()), *((name, pa.int8()) for name in classes)])


def scores_schema(classes: list[str]) -> pa.Schema:
    """Schema of predictions (logits) and ensembles (scores from 0 to 1): identifiers, then float32 per class."""
    return pa.schema([("image_id", pa.string()), ("split", pa.string()), *((name, pa.float32()) for name in classes)])


def class_columns(frame: pd.DataFrame) -> list[str]:
    """The class names of a label, prediction or ensemble table, in the table's order."""
    return [name for name in frame.columns if name not in ("image_id", "patient_id", "split")]


def validate(catalog: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return a catalog sorted by image_id, so that nothing later depends on the source's row order.

    Refused are one without images, as the metadata file `source`, and paths that leave the archive's folder. `padded` may be absent.
    """
    if catalog.empty:
        raise ThoraxError(f"{source} lists no image: check that it is the archive's full metadata file.")
    for column in ("image_id", "path"):
        outside = ~catalog[column].map(stays_inside).to_numpy(bool)
        if outside.any():
            index = int(outside.argmax())
            problem = f"{column} {catalog[column].iloc[index]!r} leaves the archive's folder; use a relative path without '..'"
            raise ThoraxError(f"{source}, row {index + 2}: {problem}.")
    if "padded" not in catalog:
        catalog = catalog.assign(padded=None)
    return catalog.sort_values("image_id", ignore_index=True)


def stays_inside(path: str) -> bool:
    """Whether a relative path, with / or \\, stays below its folder."""
    parts = PurePosixPath(path.replace("\\", "/"))
    return not parts.is_absolute() and ".." not in parts.parts and ":" not in path
