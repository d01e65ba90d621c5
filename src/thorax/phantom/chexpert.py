"""The phantom in CheXpert's form: JPEGs in a folder per study, labels of four states, a second table that radiologists labelled."""

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import pandas as pd

from thorax import config
from thorax.archives.chexpert import LABELS, METADATA, VALIDATION
from thorax.phantom import render
from thorax.phantom.findings import labels_of
from thorax.phantom.patients import Picture, ages, elsewhere, plan, some_patients
from thorax.resources import resource

FIRST_PATIENT = config.FIRST_CHEXPERT_PHANTOM
AP_SHARE = 0.85  # of the frontal images, as in the archive
VALIDATION_SHARE = 0.06  # of the patients; at least one. The archive has 200 of 64,740
FOLDER = "CheXpert-v1.0-small"  # what the paths in the tables begin with
JPEG_QUALITY = 90
OLDEST = 90  # ages above are given as this
TABLES = (METADATA[0], VALIDATION[0])
VALID, REPORTS = range(40, 42)  # streams of random numbers
NO_FINDING, DEVICES = "No Finding", "Support Devices"
STATED_WITHOUT = 0.02  # share of the findings that are not there and are called possible all the same

# How reports speak of a finding, as counted in the archive's training table: the share of uncertain mentions among the
# positive and uncertain ones, and the share of stated absences where it is neither
REPORTED = {row.label: (row.doubt, row.denial) for row in pd.read_csv(resource("chexpert_reports.csv")).itertuples()}


@lru_cache(maxsize=4)
def pictures(settings: config.Phantom) -> tuple[Picture, ...]:
    """Every image, with its path below the archive's folder as its name."""
    checked = some_patients(settings, VALID, VALIDATION_SHARE)
    found = []
    for picture in plan(settings):
        patient = f"patient{FIRST_PATIENT + picture.patient:05d}"
        study = f"{patient}/study{picture.study + 1}"
        part = "valid" if picture.patient in checked else "train"
        name = f"{part}/{study}/view{picture.image + 1}_{'lateral' if picture.view == 'L' else 'frontal'}.jpg"
        names = {"patient_id": patient, "image_id": name, "study_id": study, "folder": "."}
        found.append(elsewhere(settings, picture, AP_SHARE, **names))
    return tuple(found)


def states(settings: config.Phantom, picture: Picture) -> dict[str, str]:
    """What the study's report says of each label: 1.0, 0.0, -1.0 (uncertain) or a blank (not mentioned).

    The subtler a finding, the likelier it is uncertain. Radiologists, in the validation part, say yes or no to each.
    """
    there: dict[str, float] = {}  # each label with the severity of its plainest finding
    for finding in picture.findings:
        for label in labels_of(finding, "chexpert"):
            there[label] = max(finding.severity, there.get(label, 0.0))
    ill = bool(there.keys() - {DEVICES})
    if picture.image_id.startswith("valid/"):
        return {NO_FINDING: "0.0" if ill else "1.0"} | {label: "1.0" if label in there else "0.0" for label in LABELS[1:]}
    rng = np.random.default_rng([settings.seed, REPORTS, picture.patient, picture.study])
    said = {NO_FINDING: "" if ill else "1.0"}
    for label in LABELS[1:]:
        chance, (doubt, denial) = rng.uniform(), REPORTED[label]
        if label in there:
            said[label] = "-1.0" if chance < doubt * 2 * (1 - there[label]) else "1.0"
        elif chance < denial:
            said[label] = "0.0"
        else:
            said[label] = "-1.0" if ill and chance > 1 - STATED_WITHOUT else ""
    return said


def tables(settings: config.Phantom, boxes: pd.DataFrame | None) -> dict[str, str]:
    """The tables of the training and the validation part."""
    listed = pictures(settings)
    rows: dict[str, list[list[Any]]] = {"train": [], "valid": []}
    for picture, age in zip(listed, ages(listed), strict=True):
        said = states(settings, picture)
        who = f"{FOLDER}/{picture.image_id}", "Female" if picture.female else "Male", min(OLDEST, age)
        side = ("Lateral", "") if picture.view == "L" else ("Frontal", picture.view)
        rows[picture.image_id.partition("/")[0]].append([*who, *side, *(said[label] for label in LABELS)])
    frames = (pd.DataFrame(rows[part], columns=["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *LABELS]) for part in rows)
    return {name: frame.to_csv(index=False, lineterminator="\n") for name, frame in zip(TABLES, frames, strict=True)}


def encode(settings: config.Phantom, picture: Picture, drawn: np.ndarray) -> bytes:
    """The file of a picture."""
    grey = np.rint(render.in_eight_bits(settings, picture, drawn)).astype(np.uint8)
    return cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
