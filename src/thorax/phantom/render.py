"""One picture of the phantom: the patient, the position and the exposure.

Everything follows from the seed, the patient, the study and the image, so any picture or its lungs can be drawn again.
"""

import cv2
import numpy as np

from thorax import config
from thorax.phantom import anatomy, beam, findings
from thorax.phantom.anatomy import Chest
from thorax.phantom.beam import Pose, Scene, Technique
from thorax.phantom.frontal import frontal
from thorax.phantom.lateral import lateral
from thorax.phantom.patients import Picture

# Streams of random numbers: what is drawn from one never moves another.
BODY, VESSELS, STUDY, POSE, TECHNIQUE, NOISE, GAS = range(10, 17)
SUPINE = "AP_horizontal"


def _rng(settings: config.Phantom, stream: int, *key: int) -> np.random.Generator:
    return np.random.default_rng([settings.seed, stream, *key])


def chest_of(settings: config.Phantom, picture: Picture) -> Chest:
    """The patient's chest in this study, without any finding."""
    rng = _rng(settings, BODY, picture.patient)
    female, age = picture.female, picture.age
    study = _rng(settings, STUDY, picture.patient, picture.study)
    breath = min(abs(study.normal(0, 0.6)), 1.6) + (1.6 if picture.view.startswith("AP") else 0)
    closer = 1.08 if picture.view.startswith("AP") else 1.0  # the heart is farther from the detector
    build = rng.normal(0, 1)
    return Chest(
        age=age,
        half_width=float((12.7 if female else 13.8) + 0.45 * rng.normal() + 0.15 * build),
        half_depth=float((8.7 if female else 9.4) + 0.45 * rng.normal() + 0.35 * build),
        height=float((21.4 if female else 23.2) + 0.9 * rng.normal() - 0.25 * build) - breath,
        dome_step=float(np.clip(rng.normal(1.1, 0.45), 0.1, 2.1)),
        dome_drop=float(np.clip(rng.normal(4.9, 0.5), 3.9, 6.2)),
        wall=float(np.clip(2.2 + 0.75 * build, 1.0, 4.2)),
        fat=float(np.clip((1.3 if female else 0.9) + 0.4 * build, 0.3, 2.4)),
        breast=float(np.clip(rng.normal(3.2 + 0.6 * build, 1.2), 0.8, 6.5)) if female else 0.0,
        cardiothoracic=(
            float(np.clip(rng.normal(0.438 + 0.006 * build, 0.022), 0.385, 0.485)) + 0.004 * breath + 0.004 * study.normal()
        )
        * closer,
        heart_lean=float(rng.normal(0.72 - 0.05 * build, 0.07)),
        arch=float(np.clip(1.35 + 0.006 * (age - 50) + 0.12 * rng.normal(), 1.1, 1.85)),
        unfolding=float(np.clip(0.006 * (age - 50) + 0.08 * rng.normal(), 0, 0.35)),
        spine_bow=float(np.clip(rng.normal(0, 0.22), -0.5, 0.5)),
        spine_centre=float(rng.uniform(9, 17)),
        bone=float(np.clip(1.05 - 0.006 * (age - 50) * (1.2 if female else 0.8) + 0.08 * rng.normal(), 0.65, 1.3)),
        rib_slope=float(rng.normal(1, 0.07)),
        arm=float(rng.uniform(0.14, 0.3)) + 0.02 * study.normal(),
        shoulder=float(rng.normal(0, 0.7)) + 0.3 * study.normal(),
        aeration=float(np.clip(rng.normal(1, 0.07), 0.85, 1.15)) * (1 - 0.04 * breath),
        vessels=float(np.clip(rng.normal(1, 0.1), 0.8, 1.25)),
    )


def pose_of(settings: config.Phantom, picture: Picture, chest: Chest) -> Pose:
    """Stance, format and pixel size; the field is fitted to the chest as a radiographer does."""
    rng = _rng(settings, POSE, picture.patient, picture.study, picture.image)
    plane: beam.Plane = "lateral" if picture.view == "L" else "frontal"
    top = rng.uniform(2.2, 6.0)
    tall = top + chest.height + chest.dome_step + chest.dome_drop + rng.uniform(0.8, 5.0)
    width = 2 * chest.half_width + rng.uniform(3.0, 7.5) + (1.5 if chest.breast else 0)
    aspects, shares = [1.0, 1.22, 0.82], [0.45, 0.3, 0.25]
    if plane == "lateral":
        width, aspects, shares = 2 * chest.half_depth + rng.uniform(12, 15), [0.82, 1.0], [0.75, 0.25]
    aspect = float(rng.choice(aspects, p=shares))
    rows = round(settings.height * rng.uniform(0.9, 1.1))
    field = max(tall, width / aspect)
    turn = 1.6 if picture.view.startswith("AP") else 1.0
    return Pose(
        plane=plane,
        yaw=float(np.clip(rng.normal(0, 0.035), -0.09, 0.09)) * turn,
        roll=float(np.clip(rng.normal(0, 0.018), -0.05, 0.05)) * turn,
        centre=(float(rng.normal(0, 0.5)), float(field / 2 - top - rng.uniform(0, 1) * (field - tall))),
        pixel=float(field / rows),
        shape=(rows, round(rows * aspect)),
    )


def drawn_shape(settings: config.Phantom, picture: Picture) -> tuple[int, int]:
    """Rows and columns of a picture as it is drawn, known before it is."""
    return pose_of(settings, picture, chest_of(settings, picture)).shape


def bits_of(settings: config.Phantom, picture: Picture) -> int:
    """Bits of the stored values: a tenth of the studies come from a 10-bit reader."""
    return 10 if _rng(settings, TECHNIQUE, picture.patient, picture.study).uniform() < 0.1 else 12


def technique_of(settings: config.Phantom, picture: Picture, chest: Chest) -> Technique:
    """Exposure and processing. They follow the patient's build, never the findings."""
    study = _rng(settings, TECHNIQUE, picture.patient, picture.study)
    bits = bits_of(settings, picture)
    style = study.uniform(size=2)
    rng = _rng(settings, TECHNIQUE, picture.patient, picture.study, picture.image + 1)
    thick = 2 * (chest.half_depth + 1.3 + 0.7 * chest.wall)
    air = 1.7 * chest.half_depth * (1 - anatomy.LUNG_DENSITY)
    low, high = beam.WATER * (thick - air) - 1.55, beam.WATER * thick - 0.75
    if picture.view == "L":
        low, high = 0.6, beam.WATER * 1.9 * (chest.half_width + 1 + chest.wall) - 0.8
    margins = rng.uniform(0.008, 0.05, 4)
    marker = None
    if rng.uniform() < 0.65:
        right = rng.uniform() < 0.5
        letter = str(rng.choice(["D", "R"] if right else ["I", "L"]))
        column = rng.uniform(0.06, 0.13) if right else rng.uniform(0.84, 0.91)
        marker = (letter, float(column), float(rng.uniform(0.09, 0.22)))
    return Technique(
        bits=bits,
        dark=float(low + rng.normal(0, 0.12)),
        bright=float(high + rng.normal(0, 0.15)),
        equalise=float(0.10 + 0.35 * style[0]),
        sharpen=float(0.2 + 0.8 * style[1]),
        gamma=float(np.exp(rng.normal(0, 0.10))),
        noise=float(rng.uniform(0.006, 0.014)),
        scatter=float(rng.uniform(0.30, 0.50) + (0.25 if picture.view.startswith("AP") else 0)),
        heel=(float(rng.normal(0, 0.08)), float(rng.normal(0, 0.10))),
        collimation=(margins[0], margins[1], 1 - margins[2], 1 - margins[3]) if rng.uniform() < 0.3 else None,
        shutter=bool(rng.uniform() < 0.6),
        marker=marker,
    )


def draw(settings: config.Phantom, picture: Picture) -> tuple[np.ndarray, list[dict]]:
    """The stored values of a picture, (rows, columns) uint16, and the boxes of the findings drawn in a frontal one.

    A box has label, x, y, width and height as fractions of the picture.
    """
    usual = chest_of(settings, picture)
    chest = findings.reshape(usual, picture.findings)
    pose = pose_of(settings, picture, usual)
    scene = Scene(pose)
    patient = _rng(settings, VESSELS, picture.patient)
    boxes: list[dict] = []
    if pose.plane == "lateral":
        attenuation = lateral(chest, scene, patient, picture.findings)
    else:
        for finding in picture.findings:
            for outline in findings.DRAW[finding.label](scene, chest, finding):
                boxes.append({"label": finding.label, **_box(pose, *outline)})
        gas = _rng(settings, GAS, picture.patient, picture.study)
        attenuation = frontal(chest, scene, patient, gas, supine=picture.view == SUPINE)
    rng = _rng(settings, NOISE, picture.patient, picture.study, picture.image)
    return beam.expose(scene.to_detector(attenuation), technique_of(settings, picture, usual), rng), boxes


def lung_mask(settings: config.Phantom, picture: Picture) -> np.ndarray:
    """The true lungs of a frontal picture, (rows, columns) bool: the pleural spaces, whatever fills them."""
    usual = chest_of(settings, picture)
    scene = Scene(pose_of(settings, picture, usual))
    field = anatomy.lung_field(findings.reshape(usual, picture.findings), scene)
    return scene.to_detector(np.clip(field, -3, 3)) > 0


def in_eight_bits(settings: config.Phantom, picture: Picture, drawn: np.ndarray) -> np.ndarray:
    """A drawn picture with its whole range of values mapped to 0..255, float32."""
    return drawn.astype(np.float32) * (255 / (2 ** bits_of(settings, picture) - 1))


def _box(pose: Pose, u: np.ndarray, z: np.ndarray) -> dict[str, float]:
    """The upright box of an outline in the picture, cut at the picture's edges."""
    corners_u = np.array([u.min(), u.max(), u.min(), u.max()])
    corners_z = np.array([z.min(), z.min(), z.max(), z.max()])
    column, row = (of_u * corners_u + of_z * corners_z + shift for of_u, of_z, shift in pose.matrix())
    left, right = np.clip([column.min() / pose.shape[1], column.max() / pose.shape[1]], 0, 1)
    top, bottom = np.clip([row.min() / pose.shape[0], row.max() / pose.shape[0]], 0, 1)
    return {"x": float(left), "y": float(top), "width": float(right - left), "height": float(bottom - top)}


def png(image: np.ndarray) -> bytes:
    """Run-length coding after PNG's filters: a fifth larger than the best deflate, several times faster."""
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    return cv2.imencode(".png", image, options)[1].tobytes()
