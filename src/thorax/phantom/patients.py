"""The phantom's patients, their studies and findings, before any picture is drawn: PadChest's, and those of other hospitals.

Sampling is separate from rendering, so an archive's prevalences are known at once.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from thorax import config
from thorax.phantom.findings import Finding
from thorax.resources import resource

NORMAL = "normal"

# Share of the patients whose main problem is this one, and how often it brings another with it. The rest come for an acute
# illness or are healthy.
_PROBLEMS = pd.read_csv(resource("phantom_problems.csv")).set_index("problem")
_ALONE = _PROBLEMS["companion"].isna()
CHRONIC = _PROBLEMS.loc[_ALONE, "share"].to_dict()
COMPANIONS = {
    name: dict(zip(found["companion"], found["share"], strict=True)) for name, found in _PROBLEMS[~_ALONE].groupby(level=0)
}
HEALTHY = 0.300

# Acute findings, and their shares among all.
ACUTE = {"pleural effusion": 0.26, "alveolar pattern": 0.25, "laminar atelectasis": 0.25, "costophrenic angle blunting": 0.24}
FOCAL = {"nodule", "calcified granuloma", "hemidiaphragm elevation", *ACUTE}  # findings that may hide one another
BOTH_SIDES = {"pleural effusion": 0.22, "costophrenic angle blunting": 0.25, "alveolar pattern": 0.2}  # how often it is in both
PLEURAL = {"pleural effusion", "costophrenic angle blunting"}  # one thing in two sizes: a study has one of them
PNEUMOTHORACES = 0.08  # share of the studies elsewhere that have one, before those where something else would hide it
STUDIES = (0.48, 0.21, 0.15, 0.09, 0.05, 0.02)  # shares of patients with 1, 2, ... studies


@dataclass(frozen=True)
class Picture:
    """One image of the archive and all that is on it."""

    patient: int  # number of the person
    patient_id: str
    female: bool
    age: float  # at the first study
    study: int  # counted from 0 for each patient
    image: int  # counted from 0 for each study
    view: str  # PA, L, AP, AP_horizontal
    image_id: str
    study_id: str
    days: int  # from 2009-01-01 to the study
    findings: tuple[Finding, ...]
    remarks: tuple[str, ...]  # labels that cast no shadow
    folder: str

    def labels(self) -> list[str]:
        """The study's labels in PadChest's names."""
        return [*(finding.label for finding in self.findings), *self.remarks] or [NORMAL]


@lru_cache(maxsize=4)
def plan(settings: config.Phantom) -> tuple[Picture, ...]:
    """Every image of the archive, sorted by patient, study and image."""
    courses = enumerate(_courses(settings))
    pictures = [picture for number, course in courses for picture in _pictures_of(settings, number, *course)]
    order = np.random.default_rng([settings.seed, 2]).permutation(len(pictures))
    folders = max(2, len(pictures) // 250)
    return tuple(replace(picture, folder=str(order[row] % folders)) for row, picture in enumerate(pictures))


def _courses(settings: config.Phantom) -> list[tuple[str, int]]:
    """Each patient's main problem and number of studies.

    Shares of problems are met to one patient, and within a problem the numbers of studies are spread evenly (golden ratio), so that
    every class has its images whatever the seed.
    """
    names = [*CHRONIC, NORMAL, "acute"]
    rng = np.random.default_rng([settings.seed, 1])
    rank = rng.permutation(settings.patients)
    shift = rng.uniform(size=2)
    problem = np.searchsorted(np.cumsum([*CHRONIC.values(), HEALTHY]), (rank + shift[0]) / settings.patients, side="right")
    studies = 1 + np.searchsorted(np.cumsum(STUDIES)[:-1], (rank * 0.6180339887 + shift[1]) % 1, side="right")
    return [(names[index], int(count)) for index, count in zip(problem, studies, strict=True)]


def _digits(rng: np.random.Generator) -> str:
    """A long number above 2^128, so that it can be no identifier of PadChest, which are 128-bit numbers."""
    return "9" + "".join(map(str, rng.integers(0, 10, 38)))


def _pictures_of(settings: config.Phantom, number: int, main: str, studies: int) -> list[Picture]:
    rng = np.random.default_rng([settings.seed, 3, number])
    ill = main in CHRONIC
    age = float(np.clip(rng.normal(66 if ill else 52, 12 if ill else 17), 18, 95))
    patient = number, _digits(rng), bool(rng.uniform() < 0.5), age
    labels = [main] if main in CHRONIC else []
    labels += [label for label, share in COMPANIONS.get(main, {}).items() if rng.uniform() < share]
    chronic: list[Finding] = []
    for label in labels:
        chronic.append(_finding(rng, label, chronic))
    onset = {finding: int(rng.integers(0, studies)) if rng.uniform() < 0.12 else 0 for finding in chronic[1:]}
    days = int(rng.integers(0, 2500))
    pictures = []
    for study in range(studies):
        present = [
            replace(finding, severity=float(np.clip(finding.severity + rng.normal(0, 0.06), 0, 1)))  # a little better or worse
            for finding in chronic
            if onset.get(finding, 0) <= study
        ]
        present += _acute_findings(rng, main, present)
        remarks = []
        if study and present and rng.uniform() < 0.04:
            remarks.append("unchanged")
        if present and age > 60 and rng.uniform() < 0.02:
            remarks.append("chronic changes")
        study_id = _digits(rng)
        for image, view in enumerate(_views(rng)):
            letters = "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz0123456789"), 6))
            image_id = f"{study_id}_{letters}.png"
            shown = tuple(present), tuple(remarks)
            pictures.append(Picture(*patient, study, image, view, image_id, study_id, days, *shown, folder="0"))
        days += int(rng.integers(20, 500))
    return pictures


def _views(rng: np.random.Generator) -> list[str]:
    """The images of one study."""
    if rng.uniform() < 0.05:
        return [str(rng.choice(["AP", "AP_horizontal"], p=[0.4, 0.6]))]
    views = ["PA"] + ["PA"] * int(rng.uniform() < 0.06)
    return views + ["L"] * int(rng.uniform() < 0.45)


def _acute_findings(rng: np.random.Generator, main: str, present: list[Finding]) -> list[Finding]:
    """What a study adds: none, one or two acute findings."""
    chance = {NORMAL: 0.05, "acute": 0.80}.get(main, 0.36)
    found: list[Finding] = []
    for _ in range(2):
        if rng.uniform() >= chance:
            break
        label = str(rng.choice(list(ACUTE), p=list(ACUTE.values())))
        label_set = {label, *(finding.label for finding in found)}
        if len(label_set) <= len(found) or len(label_set & PLEURAL) > 1:
            continue
        found.append(_finding(rng, label, [*present, *found]))
        chance = 0.30
    return found


def _finding(rng: np.random.Generator, label: str, beside: list[Finding]) -> Finding:
    """A finding on a side where no other one hides it, if there is one."""
    both = rng.uniform() < BOTH_SIDES.get(label, 0)
    left = rng.uniform() < (0.86 if label == "pacemaker" else 0.5)
    side = 0
    if label in FOCAL or label in ("scoliosis", "pacemaker"):
        side = 1 if left else -1
    if label in FOCAL:
        taken = {finding.side for finding in beside if finding.label in FOCAL}
        if not taken and both:
            side = 0
        elif side in taken and -side not in taken:
            side = -side
    return Finding(label, int(rng.integers(2**31)), float(rng.uniform()), side, float(rng.uniform()))


def elsewhere(settings: config.Phantom, picture: Picture, ap_share: float, **names: Any) -> Picture:
    """A picture of another hospital, with its names.

    This share of the frontal studies is taken from the front there, and lying is not noted. Some studies show a pneumothorax, on a
    side without any other local finding.
    """
    study = picture.patient, picture.study
    views, rng = (np.random.default_rng([settings.seed, stream, *study]) for stream in (21, 22))
    view, findings = picture.view, picture.findings
    if view == "AP_horizontal" or (view == "PA" and views.uniform() < ap_share):
        view = "AP"
    chance, number, severity, left = rng.uniform(), int(rng.integers(2**31)), rng.uniform(), rng.uniform() < 0.5
    beside = {finding.side for finding in findings if finding.label in FOCAL}
    free = [side for side in ((1, -1) if left else (-1, 1)) if side not in beside]
    hidden = 0 in beside or any(finding.label in PLEURAL for finding in findings)
    if chance < PNEUMOTHORACES and free and not hidden:
        findings = (*findings, Finding("pneumothorax", number, float(severity), free[0], 0.0))
    return replace(picture, view=view, findings=findings, **names)


def ages(pictures: tuple[Picture, ...]) -> list[int]:
    """Each picture's age of its patient in whole years, which grows from the patient's first study on."""
    first: dict[int, int] = {}
    for picture in pictures:
        first[picture.patient] = min(picture.days, first.get(picture.patient, picture.days))
    return [int(one.age + (one.days - first[one.patient]) / 365) for one in pictures]


def some_patients(settings: config.Phantom, stream: int, share: float) -> frozenset[int]:
    """Numbers of a random share of the patients, at least one."""
    order = np.random.default_rng([settings.seed, stream]).permutation(settings.patients)
    return frozenset(order[: max(1, round(share * settings.patients))].tolist())
