"""One assignment of a data set's patients to train, val and test that several label sets share (see `stratify`)."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from thorax import config
from thorax.errors import ThoraxError
from thorax.images.duplicates import patient_groups
from thorax.labels import earlier
from thorax.labels.stratify import StratifiedGroupSplit
from thorax.storage import store
from thorax.storage.joins import rows_of
from thorax.storage.schemas import LEFT_OUT, RADIOLOGISTS, SPLIT_NAMES, SPLITS, class_columns

ALL_IMAGES = "all images"  # the row of a label set's total in the quality table
QUALITY_COLUMNS = ("label_set", "class", "split", "images", "quota", "deviation", "largest_patient_share")


def split_label_sets(
    settings: config.Split,
    frames: dict[str, pd.DataFrame],
    official: pd.Series | None = None,
    duplicates: pd.DataFrame | None = None,
    by_radiologists: Collection[str] = (),
    kept: pd.Series | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Assign every image of all label sets once, stratified over all their classes and totals.

    Images labelled by radiologists, where reports labelled the others, are test with `settings.test_on`, and left out
    (`schemas.LEFT_OUT`) otherwise. Other images of their patients are left out.

    With `settings.draw_down`, of images that are positive for no class of any label set train and test keep the number that it
    gives, val keeps the same share as train, and the others are left out.

    Args:
        frames: The columns of `schemas.labels_schema`, by label set.
        official: The archive's own part (train, val, test) of each image, by image_id; needed with `settings.official`. Whole
            patients follow the lists: a patient with a test image is a test patient, any other with a val image a validation
            patient. Without a list for val, it is cut from train, stratified, as `settings.train : settings.val`.
        duplicates: `schemas.DUPLICATES`. Patients who share an image go to the same part, unless a list dictates another.
        by_radiologists: Identifiers of these images; without any, `settings.test_on` has no effect.
        kept: The part of each patient who keeps it, by patient_id (see `earlier.read`). They count in all quotas.

    Returns:
        The assignment (image_id, patient_id, split; sorted by image_id) and its quality (`QUALITY_COLUMNS`): the number of
        positive images by label set, class and part, the quota, the deviation, and the largest share of these images that comes
        from one patient. A part that a list dictates has its own count as quota; images left out lower count and quota alike.
    """
    for name, frame in frames.items():
        patients = frame["patient_id"].nunique()
        if patients < len(SPLIT_NAMES):
            problem = f"Label set {name!r} has images of {patients} patient(s), which cannot be split into train, val and test"
            raise ThoraxError(f"{problem}: use more data or lower its minimum counts.")
    images = pd.concat([frame[["image_id", "patient_id"]] for frame in frames.values()]).drop_duplicates()
    images = images.sort_values("image_id", ignore_index=True)
    repeated = images["image_id"].duplicated()
    if repeated.any():
        problem = f"Image {images['image_id'][repeated].iloc[0]!r} has different patients in {', '.join(sorted(frames))}"
        raise ThoraxError(f"{problem}: remake the label sets from one catalog.")
    groups = _together(settings, images, duplicates, frames)
    shares = dict(zip(SPLIT_NAMES, (settings.train, settings.val, settings.test), strict=True))
    images["split"] = _official_parts(images, official) if settings.official else None
    if settings.official:
        left = ["train"] if (images["split"] == "val").any() else ["train", "val"]
        shares = {part: shares[part] / sum(shares[other] for other in left) for part in left}
    elif by_radiologists:
        images["split"] = _radiologists_parts(images, by_radiologists, settings.test_on)
        if (images["split"] == "test").any():
            shares = {part: shares[part] / (settings.train + settings.val) for part in ("train", "val")}
    free = images["split"].isna()
    parts = None if kept is None else earlier.kept(images, groups, kept, str(settings.keep))[free]
    if len(shares) == 1:
        images.loc[free, "split"] = next(iter(shares))
    else:
        # Sorted names: the order in which label sets and classes are written down must not change the split.
        columns = [_columns(images.loc[free, "image_id"], frames[name], len(frames) > 1) for name in sorted(frames)]
        splitter = StratifiedGroupSplit(**{part: shares.get(part, 0) for part in SPLIT_NAMES}, random_state=settings.seed)
        images.loc[free, "split"] = splitter.assign(np.hstack(columns), groups[free].to_numpy(object), parts)
    left_out = _drawn_down(settings, images, frames)
    quality = [_quality(name, frame, images, free, left_out, shares) for name, frame in frames.items()]
    images.loc[left_out, "split"] = LEFT_OUT
    return images, pd.concat(quality, ignore_index=True)


def _together(
    settings: config.Split, images: pd.DataFrame, duplicates: pd.DataFrame | None, frames: dict[str, pd.DataFrame]
) -> pd.Series:
    """The group of each image, which a part takes whole: its patient, or the first of the patients who share images."""
    patients = images["patient_id"]
    if duplicates is None or settings.same_image == "ignore":
        return patients
    groups = patient_groups(images, duplicates[duplicates["identical"] | (settings.same_image == "similar")])
    moved = (groups != patients).to_numpy()
    if not moved.any():
        return patients
    joined = groups.isin(groups[moved])
    largest = patients[joined].groupby(groups[joined]).nunique().max()
    found = f"in {groups[joined].nunique():,} groups, the largest of {largest:,}"
    print(f"{patients[joined].nunique():,} patients share images with others and stay together, {found}.")
    for name, frame in frames.items():
        count = groups[images["image_id"].isin(frame["image_id"])].nunique()
        if count < len(SPLIT_NAMES):
            problem = f"only {count} groups of them are left, which cannot be split into train, val and test"
            advice = "remove the copies, or set same_image: ignore in the split"
            raise ThoraxError(f"The patients of label set {name!r} share images, so that {problem}: {advice}.")
    return groups


def _drawn_down(settings: config.Split, images: pd.DataFrame, frames: dict[str, pd.DataFrame]) -> np.ndarray:
    """(n,) bool: which images `settings.draw_down` leaves out. It depends only on the parts, identifiers and seed."""
    left_out = np.zeros(len(images), bool)
    if settings.draw_down is None:
        return left_out
    with_class = pd.concat([frame["image_id"][(frame[class_columns(frame)] == 1).any(axis=1)] for frame in frames.values()])
    without = ~images["image_id"].isin(with_class)
    places = {part: np.flatnonzero(without & (images["split"] == part)) for part in SPLIT_NAMES}
    stay = settings.draw_down.model_dump()
    for part, count in stay.items():
        if len(places[part]) < count:
            problem = f"only {len(places[part]):,} images without a class are in {part}"
            raise ThoraxError(f"draw_down.{part} is {count:,}, but {problem}: lower it.")
    stay["val"] = round(len(places["val"]) * stay["train"] / max(len(places["train"]), 1))
    for number, part in enumerate(SPLIT_NAMES):
        drawn = np.random.default_rng([settings.seed, number]).permutation(places[part])
        left_out[drawn[stay[part] :]] = True
        print(f"{part}: {stay[part]:,} of {len(drawn):,} images without a class stay.")
    return left_out


def _official_parts(images: pd.DataFrame, official: pd.Series | None) -> pd.Series:
    """The part of each image by the archive's lists; null where its patient is free for train."""
    listed = images["image_id"].map({} if official is None else official)
    if not (listed == "test").any():
        advice = "put the lists next to the metadata file and read the catalog again, or set official: false"
        raise ThoraxError(f"The split asks for the archive's official lists, but no image is in a test list: {advice}.")
    if listed.isna().any():
        image = images["image_id"][listed.isna()].iloc[0]
        raise ThoraxError(f"Image {image!r} is in none of the archive's official lists: complete them, or set official: false.")
    of_patient = pd.Series("train", index=images["patient_id"].unique(), dtype=object)
    for part in ("val", "test"):
        of_patient[images.loc[listed == part, "patient_id"].unique()] = part
    parts = images["patient_id"].map(of_patient)
    moved = (parts != listed).to_numpy()
    if moved.any():
        found = f"{moved.sum()} images of {images['patient_id'][moved].nunique()} patients, e.g. {images['image_id'][moved].iloc[0]}"
        print(f"{found}, follow other images of their patient into test or val, against the archive's list.")
    return parts.where(parts != "train", None)


def _radiologists_parts(images: pd.DataFrame, by_radiologists: Collection[str], test_on: str) -> pd.Series:
    """The part of images labelled by radiologists, and of other images of their patients; null for all others."""
    checked = images["image_id"].isin(by_radiologists)
    parts = pd.Series(None, index=images.index, dtype=object)
    parts[images["patient_id"].isin(images.loc[checked, "patient_id"])] = LEFT_OUT
    if test_on == RADIOLOGISTS:
        parts[checked] = "test"
    test, left = (parts == "test").sum(), (parts == LEFT_OUT).sum()
    rest = f"{left:,} images, these or others of their patients, are left out"
    print(f"{test:,} images labelled by radiologists are test; {rest}.")
    return parts


def _columns(image_ids: pd.Series, frame: pd.DataFrame, with_total: bool) -> np.ndarray:
    """(images, columns) of 0 and 1: which images a label set has, and which are positive for each class."""
    classes = sorted(class_columns(frame))
    aligned = frame.set_index("image_id")[classes].reindex(image_ids)
    positive = (aligned == 1).to_numpy(np.int8)
    # The splitter counts all images anyway
    return np.column_stack([image_ids.isin(frame["image_id"]).to_numpy(np.int8), positive]) if with_total else positive


def _quality(
    name: str, frame: pd.DataFrame, images: pd.DataFrame, free: pd.Series, left_out: np.ndarray, shares: dict[str, float]
) -> pd.DataFrame:
    """Counts against quotas; `free` marks the images that were assigned by `shares`, lists dictated the others."""
    aligned = rows_of(images.assign(free=free, left_out=left_out), frame["image_id"], "the split", f"label set {name!r}")
    parts, dealt, left = (aligned[column].to_numpy() for column in ("split", "free", "left_out"))
    rows = []
    for label in [ALL_IMAGES, *class_columns(frame)]:
        positive = np.ones(len(frame), bool) if label == ALL_IMAGES else (frame[label] == 1).to_numpy()
        for part in SPLIT_NAMES:
            mine = positive & (parts == part)
            patients = frame["patient_id"][mine & ~left]
            dictated = part not in shares
            quota = float(len(patients)) if dictated else shares[part] * (positive & dealt).sum() - (mine & left).sum()
            largest = patients.value_counts().iloc[0] / len(patients) if len(patients) else 0.0
            rows.append((name, label, part, len(patients), quota, len(patients) - quota, largest))
    return pd.DataFrame(rows, columns=list(QUALITY_COLUMNS))


def make_split(
    settings: config.Split, labels: list[Path], catalog: Path | None, out: Path, quality: Path, duplicates: Path | None = None
) -> None:
    """Split the patients of label sets (`settings.label_sets`); write the assignment (`schemas.SPLITS`) and its quality
    (CSV with `QUALITY_COLUMNS`), and print counts that are off by over one image.

    Without `catalog`, which `settings.official` needs, no image counts as labelled by radiologists.
    """
    paths = {Path(path).stem: path for path in labels}
    if sorted(paths) != sorted(settings.label_sets) or len(paths) != len(labels):
        wanted, given = ", ".join(sorted(settings.label_sets)), ", ".join(sorted(paths)) or "none"
        problem = f"The split is over label_sets {wanted}, but was given the tables of {given}"
        raise ThoraxError(f"{problem}: give one table for each.")
    frames = {name: store.read_table(paths[name], needs=("image_id", "patient_id")) for name in settings.label_sets}
    official, by_radiologists = None, pd.Series(dtype=object)
    if catalog is not None:
        known = store.read_table(catalog, ["image_id", "label_source", "official_split"]).set_index("image_id")
        official = known["official_split"] if settings.official else None
        by_radiologists = known.index[known["label_source"] == RADIOLOGISTS].to_series()
    if settings.test_on == RADIOLOGISTS and by_radiologists.empty:
        print("No image was labelled by radiologists (valid.csv is not next to train.csv): test is a share of the patients.")
    same = store.read_table(duplicates, ["image_id", "other_id", "identical"]) if duplicates else None
    kept = earlier.read(Path(settings.keep)) if settings.keep else None
    images, report = split_label_sets(settings, frames, official, same, frozenset(by_radiologists), kept)
    for row in report[report["deviation"].abs() > 1 + 1e-6].itertuples():
        found = f"{row.images} images in {row.split} instead of {row.quota:.1f}"
        print(f"{row.label_set}, {row[2]}: {found}; its largest patient has {row.largest_patient_share:.0%} of them.")
    with store.atomic(out) as new_split, store.atomic(quality) as new_quality:  # both or neither
        store.write_table(images, new_split, SPLITS)
        store.write_text(report.round(6).to_csv(index=False), new_quality)
