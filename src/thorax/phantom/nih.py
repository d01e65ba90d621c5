"""The phantom in the form of NIH ChestX-ray14: square 8-bit PNGs in one folder, one table, two lists, boxes of some findings."""

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
import pandas as pd

from thorax import config
from thorax.archives.nih import BOXES, METADATA, OFFICIAL_LISTS
from thorax.phantom import patients, render
from thorax.phantom.findings import nih_labels
from thorax.phantom.forms import FRONTAL, Form, ages, png, some_patients, with_more_ap, with_pneumothorax
from thorax.phantom.patients import Picture

NO_FINDING = "No Finding"
FIRST_PATIENT = 90_001  # the archive's last one is 30,805
AP_SHARE = 0.4  # as in the archive
TEST_SHARE = 0.23  # as in the archive
FOUR_CHANNELS = 0.005  # share of the files that were saved with colour and opacity, as in the archive; at least two
BOX_PIXELS = 1024
# The findings that the archive has boxes of, and what its table of boxes calls them
BOXED = {name: name for name in ("Atelectasis", "Cardiomegaly", "Effusion", "Mass", "Nodule", "Pneumonia", "Pneumothorax")} | {
    "Infiltration": "Infiltrate"
}
LISTS, FILES, DEVICE = range(30, 33)  # streams of random numbers


@lru_cache(maxsize=4)
def pictures(settings: config.Phantom) -> tuple[Picture, ...]:
    """Every image: the frontal ones, each with its follow-up number."""
    follow_ups: dict[int, int] = {}
    found = []
    for picture in patients.plan(settings):
        if picture.view == "L":
            continue
        patient = replace(picture.patient, patient_id=str(FIRST_PATIENT + picture.patient.number))
        number = follow_ups.get(picture.patient.number, 0)
        follow_ups[picture.patient.number] = number + 1
        taken = with_pneumothorax(settings, with_more_ap(settings, picture, AP_SHARE))
        name = f"{int(patient.patient_id):08d}_{number:03d}.png"
        study = f"{patient.patient_id}_{number}"
        found.append(replace(taken, patient=patient, image_id=name, study_id=study, folder="images"))
    return tuple(found)


def labels(picture: Picture) -> list[str]:
    """The image's labels in the archive's names and order."""
    return sorted({label for finding in picture.findings for label in nih_labels(finding)}) or [NO_FINDING]


def tested_patients(settings: config.Phantom) -> frozenset[int]:
    """Numbers of the patients of the archive's test list."""
    return some_patients(settings, LISTS, TEST_SHARE)


@lru_cache(maxsize=4)
def four_channel_images(settings: config.Phantom) -> frozenset[str]:
    """Names of the images that are stored with four channels."""
    names = [picture.image_id for picture in pictures(settings)]
    chosen = np.random.default_rng([settings.seed, FILES]).permutation(names)
    return frozenset(chosen[: max(2, round(FOUR_CHANNELS * len(names)))].tolist())


def table(settings: config.Phantom) -> str:
    """The metadata file: its header and a row for every image."""
    listed = pictures(settings)
    rows = [
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
    ]
    for picture, age in zip(listed, ages(listed), strict=True):
        rng = np.random.default_rng([settings.seed, DEVICE, picture.patient.number, picture.study, picture.image])
        spacing = float(rng.choice([0.139, 0.14300000000000002, 0.168]))  # millimetres
        pose = render.pose_of(settings, picture, render.chest_of(settings, picture))
        height, width = (round(10 * pose.pixel * side / spacing) for side in pose.shape)
        follow_up = picture.study_id.rpartition("_")[2]
        who = f"{picture.patient.patient_id},{age},{'F' if picture.patient.female else 'M'},{picture.view}"
        rows.append(f"{picture.image_id},{'|'.join(labels(picture))},{follow_up},{who},{width},{height},{spacing},{spacing}")
    return "\n".join(rows) + "\n"


def _tables(settings: config.Phantom, boxes: pd.DataFrame | None) -> dict[str, str]:
    tested = tested_patients(settings)
    lists: dict[str, list[str]] = {"train": [], "test": []}
    for picture in pictures(settings):
        lists["test" if picture.patient.number in tested else "train"].append(picture.image_id)
    texts = {
        METADATA[0]: table(settings),
        **{files[0]: "\n".join(lists[part]) + "\n" for part, files in OFFICIAL_LISTS.items()},
    }
    return texts if boxes is None else texts | {BOXES[0]: _box_table(boxes[boxes["image_id"].isin(lists["test"])])}


def _box_table(boxes: pd.DataFrame) -> str:
    """The archive's table of boxes, in pixels of its images. Its header names more columns than its rows have."""
    lines = ["Image Index,Finding Label,Bbox [x,y,w,h],,,"]
    for box in boxes[boxes["label"].isin(list(BOXED))].itertuples():
        pixels = (f"{BOX_PIXELS * value:.12f}" for value in (box.x, box.y, box.width, box.height))
        lines.append(",".join([box.image_id, BOXED[box.label], *pixels]))
    return "\n".join(lines) + "\n"


def _shape(settings: config.Phantom, picture: Picture) -> tuple[int, int]:
    return settings.height, settings.height


def _encode(settings: config.Phantom, picture: Picture, drawn: np.ndarray) -> bytes:
    """Squashed to a square, as the archive's images are."""
    grey = cv2.resize(render.in_eight_bits(settings, picture, drawn), _shape(settings, picture), interpolation=cv2.INTER_AREA)
    stored = np.rint(grey).astype(np.uint8)
    if picture.image_id in four_channel_images(settings):
        stored = np.dstack([stored, stored, stored, np.full_like(stored, 255)])
    return png(stored)


FORM = Form(
    pictures=pictures,
    tables=_tables,
    labels=nih_labels,
    encode=_encode,
    shape=_shape,
    table_names=(METADATA[0], *(files[0] for files in OFFICIAL_LISTS.values()), BOXES[0]),
    explained_views=FRONTAL,
)
