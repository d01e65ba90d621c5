"""The phantom in the form of NIH ChestX-ray14: square 8-bit PNGs in one folder, one table, two lists, boxes of some findings."""

from collections import Counter
from functools import lru_cache

import cv2
import numpy as np
import pandas as pd

from thorax import config
from thorax.archives.nih import BOXES, METADATA, OFFICIAL_LISTS
from thorax.phantom import render
from thorax.phantom.findings import labels_of
from thorax.phantom.patients import Picture, ages, elsewhere, plan, some_patients

NO_FINDING = "No Finding"
FIRST_PATIENT = 90_001  # the archive's last one is 30,805
AP_SHARE = 0.4  # as in the archive
TEST_SHARE = 0.23  # as in the archive
FOUR_CHANNELS = 0.005  # share of the files that were saved with colour and opacity, as in the archive; at least two
BOX_PIXELS = 1024
# The findings that the archive has boxes of, and what its table of boxes calls them
_SAME = ("Atelectasis", "Cardiomegaly", "Effusion", "Mass", "Nodule", "Pneumonia", "Pneumothorax")
BOXED = {**{name: name for name in _SAME}, "Infiltration": "Infiltrate"}
TABLES = (METADATA[0], *(files[0] for files in OFFICIAL_LISTS.values()), BOXES[0])
LISTS, FILES, DEVICE = range(30, 33)  # streams of random numbers


@lru_cache(maxsize=4)
def pictures(settings: config.Phantom) -> tuple[Picture, ...]:
    """Every image: the frontal ones, each with its follow-up number."""
    follow_ups: Counter[int] = Counter()
    found = []
    for picture in plan(settings):
        if picture.view == "L":
            continue
        patient, follow_up = FIRST_PATIENT + picture.patient, follow_ups[picture.patient]
        follow_ups[picture.patient] += 1
        names = {"image_id": f"{patient:08d}_{follow_up:03d}.png", "study_id": f"{patient}_{follow_up}"}
        found.append(elsewhere(settings, picture, AP_SHARE, patient_id=str(patient), **names, folder="images"))
    return tuple(found)


def labels(picture: Picture) -> list[str]:
    """The image's labels in the archive's names and order."""
    return sorted({label for finding in picture.findings for label in labels_of(finding, "nih")}) or [NO_FINDING]


@lru_cache(maxsize=4)
def four_channel_images(settings: config.Phantom) -> frozenset[str]:
    """Names of the images that are stored with four channels."""
    names = [picture.image_id for picture in pictures(settings)]
    chosen = np.random.default_rng([settings.seed, FILES]).permutation(names)
    return frozenset(chosen[: max(2, round(FOUR_CHANNELS * len(names)))].tolist())


def tables(settings: config.Phantom, boxes: pd.DataFrame | None) -> dict[str, str]:
    """The table of images, the archive's lists of its parts and, unless no image is drawn, the table of boxes."""
    listed, tested = pictures(settings), some_patients(settings, LISTS, TEST_SHARE)
    lists: dict[str, list[str]] = {"train": [], "test": []}
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    lines = [header + "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"]
    for picture, age in zip(listed, ages(listed), strict=True):
        lists["test" if picture.patient in tested else "train"].append(picture.image_id)
        rng = np.random.default_rng([settings.seed, DEVICE, picture.patient, picture.study, picture.image])
        spacing = float(rng.choice([0.139, 0.14300000000000002, 0.168]))  # millimetres
        pose = render.pose_of(settings, picture, render.chest_of(settings, picture))
        height, width = (round(10 * pose.pixel * side / spacing) for side in pose.shape)
        follow_up = picture.study_id.rpartition("_")[2]
        who = f"{picture.patient_id},{age},{'F' if picture.female else 'M'},{picture.view}"
        lines.append(f"{picture.image_id},{'|'.join(labels(picture))},{follow_up},{who},{width},{height},{spacing},{spacing}")
    found = {METADATA[0]: lines, **{files[0]: lists[part] for part, files in OFFICIAL_LISTS.items()}}
    if boxes is not None:
        found[BOXES[0]] = ["Image Index,Finding Label,Bbox [x,y,w,h],,,"]  # more columns than the rows have
        for box in boxes[boxes["image_id"].isin(lists["test"]) & boxes["label"].isin(list(BOXED))].itertuples():
            sides = (f"{BOX_PIXELS * side:.12f}" for side in (box.x, box.y, box.width, box.height))
            found[BOXES[0]].append(",".join([box.image_id, BOXED[box.label], *sides]))
    return {name: "\n".join(lines) + "\n" for name, lines in found.items()}


def shape(settings: config.Phantom, picture: Picture) -> tuple[int, int]:
    """Rows and columns of every file."""
    return settings.height, settings.height


def encode(settings: config.Phantom, picture: Picture, drawn: np.ndarray) -> bytes:
    """Squashed to a square, as the archive's images are."""
    grey = cv2.resize(render.in_eight_bits(settings, picture, drawn), shape(settings, picture), interpolation=cv2.INTER_AREA)
    stored = np.rint(grey).astype(np.uint8)
    if picture.image_id in four_channel_images(settings):
        stored = np.dstack([stored, stored, stored, np.full_like(stored, 255)])
    return render.png(stored)
