"""The findings of the phantom's patients: each one changes the anatomy or adds a shadow."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from thorax.phantom import anatomy, beam
from thorax.phantom.anatomy import Chest
from thorax.phantom.beam import Scene
from thorax.resources import resource

Outline = tuple[np.ndarray, np.ndarray]  # u and z of points whose box is the finding's box
SOFT = beam.WATER * (1 - anatomy.LUNG_DENSITY)  # what soft tissue adds where it replaces lung


@dataclass(frozen=True)
class Finding:
    """One finding in one study."""

    label: str  # PadChest's name
    number: int  # seeds its shape: a persisting finding keeps it
    severity: float  # 0 subtle, 1 plain
    side: int  # -1 right, 1 left, 0 both or the midline
    level: float  # 0 at the lungs' top, 1 at their base

    def rng(self) -> np.random.Generator:
        """The generator of the finding's shape."""
        return np.random.default_rng([self.number, 7])

    def sides(self) -> tuple[int, ...]:
        """The lungs that it is in."""
        return (-1, 1) if self.side == 0 else (self.side,)


def reshape(chest: Chest, findings: tuple[Finding, ...]) -> Chest:
    """The anatomy with all findings that change it."""
    for finding in findings:
        chest = replace(chest, **_changes(chest, finding))
    return chest


def _changes(chest: Chest, finding: Finding) -> dict[str, Any]:
    """The measures of the chest that a finding changes."""
    severity = finding.severity
    match finding.label:
        case "cardiomegaly":
            return {"cardiothoracic": 0.515 + 0.12 * severity, "heart_lean": chest.heart_lean - 0.12 * severity}
        case "COPD signs":
            much = 0.4 + 0.6 * severity
            added = {
                "height": 3.6,
                "dome_drop": -2.8,
                "half_width": 0.5,
                "half_depth": 0.9,
                "cardiothoracic": -0.05,
                "heart_lean": 0.2,
            }
            factors = {"rib_slope": -0.2, "aeration": 0.7, "vessels": -0.3}
            changed = {name: getattr(chest, name) + change * much for name, change in added.items()}
            return changed | {name: getattr(chest, name) * (1 + change * much) for name, change in factors.items()}
        case "scoliosis":
            return {"spine_bow": finding.side * (1.1 + 2.2 * severity), "spine_centre": 8 + 9 * finding.level}
        case "aortic elongation":
            return {"unfolding": 0.6 + 1.2 * severity, "arch": chest.arch + 0.25 + 0.6 * severity}
        case "hemidiaphragm elevation":
            raised = 2.4 + 3.6 * severity
            return {"lift": (raised, 0.0) if finding.side < 0 else (0.0, raised + 0.6)}
        case "pneumothorax":
            share = 0.25 + 0.35 * severity
            return {"collapse": (share, 0.0) if finding.side < 0 else (0.0, share)}
    return {}


def _outline(scene: Scene, chest: Chest, finding: Finding) -> list[Outline]:
    """Where a finding is that casts no shadow of its own, as it only changes the anatomy."""
    match finding.label:
        case "COPD signs":
            u = np.array([-1, 1]) * chest.half_width
            z = np.array([0, chest.height + chest.dome_step + chest.dome_drop])
        case "scoliosis":
            line = np.linspace(chest.spine_centre - 13, chest.spine_centre + 20, 40)
            middle = anatomy.midline_at(chest, line) + scene.pose.u(0, -5.5)
            u, z = np.concatenate([middle - 2.4, middle + 2.4]), np.concatenate([line, line])
        case "cardiomegaly":
            width = 2 * chest.cardiothoracic * chest.half_width
            u, z = np.array([-0.34, 0.68]) * width, np.array([chest.height - 0.75 * width, chest.height + 1.5])
        case "aortic elongation":
            left, bow = 2.0 + 0.35 * chest.unfolding + chest.arch, 2.6 + 1.5 * chest.unfolding
            u = np.array([-3.4 - 0.5 * chest.unfolding, max(left, bow)])
            z = np.array([0.27 * chest.height - 0.5 * chest.unfolding - 1.2 * chest.arch, 0.8 * chest.height])
        case _:  # an elevated hemidiaphragm
            across = finding.side * np.linspace(2.0, chest.half_width, 40).astype(np.float32)
            lower = chest.dome_step if finding.side > 0 else 0.0
            u, z = across[[0, -1]].astype(float), np.array([anatomy.dome_at(chest, across).min(), chest.height + lower + 2.5])
    return [(u, z)]


def _place(chest: Chest, finding: Finding, rng: np.random.Generator, side: int) -> tuple[float, float, float]:
    """A point (x, y, z) in a lung at the finding's level, clear of heart and diaphragm."""
    z = chest.height * (0.14 + 0.72 * finding.level)
    outer = float(anatomy.half_width_at(chest, z))
    clear = 0.30 + (0.30 * np.clip((finding.level - 0.45) / 0.3, 0, 1) if side > 0 else 0.08 * (finding.level > 0.5))
    return side * outer * rng.uniform(clear, 0.84), rng.uniform(-5, 3), z


def _ball_outline(scene: Scene, centre: tuple[float, float, float], radius_u: float, radius_z: float) -> Outline:
    u = scene.pose.u(centre[0], centre[1])
    return np.array([u - radius_u, u + radius_u]), np.array([centre[2] - radius_z, centre[2] + radius_z])


def _nodule(scene: Scene, chest: Chest, finding: Finding) -> list[Outline]:
    rng = finding.rng()
    centre = _place(chest, finding, rng, finding.side)
    radius = 1.05 + 0.8 * finding.severity
    long, tilt = radius * rng.uniform(1.0, 1.25), rng.uniform(0, np.pi)
    scene.extra += np.float32(SOFT * (1.1 + 0.4 * finding.severity)) * scene.ellipsoid(centre, (long, radius, radius), tilt)
    return [_ball_outline(scene, centre, long, long)]


def _calcified_granuloma(scene: Scene, chest: Chest, finding: Finding) -> list[Outline]:
    rng = finding.rng()
    x, y, z = _place(chest, finding, rng, finding.side)
    outlines = []
    for _ in range(1 + int(rng.integers(0, 4))):
        radius = rng.uniform(0.32, 0.42) + 0.2 * finding.severity
        scene.extra += np.float32(beam.CALCIUM) * scene.ellipsoid((x, y, z), (radius * 1.1, radius, radius), rng.uniform(0, 3))
        outlines.append(_ball_outline(scene, (x, y, z), 1.1 * radius, 1.1 * radius))
        x, y, z = x + rng.normal(0, 0.9), y + rng.normal(0, 0.5), z + rng.normal(0, 1.2)
    return outlines


def _alveolar_pattern(scene: Scene, chest: Chest, finding: Finding) -> list[Outline]:
    rng = finding.rng()
    outlines = []
    for side in finding.sides():
        x, _, z = _place(chest, finding, rng, side)
        radius_u, radius_z = rng.uniform(3.0, 4.2) + finding.severity, rng.uniform(2.8, 4.0) + finding.severity
        ragged = scene.clouds(rng, 3.5, 3)
        distance = np.sqrt(((scene.u - x) / radius_u) ** 2 + ((scene.z - z) / radius_z) ** 2) + 0.16 * ragged
        cloud = 1 / (1 + np.exp(np.clip((distance - 0.85) / 0.11, -30, 30)))
        if rng.uniform() < 0.35:  # a fissure bounds it
            edge = z + rng.uniform(0.2, 0.6) * radius_z + 0.15 * (scene.u - x) * rng.normal(0, 1)
            cloud *= np.clip((edge - scene.z) / 0.3 + 0.5, 0, 1)
        cloud *= np.minimum(1, np.maximum(scene.u * side, 0) / 1.5)
        depth = 4.5 + 4.0 * finding.severity
        scene.tissue += np.float32(depth) * cloud * np.maximum(0.8 + 0.25 * scene.clouds(rng, 1.4, 2), 0.1)
        start, t = np.array([side * 4.0, 0.47 * chest.height]), np.linspace(0.35, 1, 20)
        for _ in range(3):  # air in the bronchi
            run = np.array([x, z]) + rng.normal(0, 0.45 * radius_u, 2) - start
            bend = rng.normal(0, 0.8) * np.sin(np.pi * t)
            scene.flat_tube(start[0] + run[0] * t, start[1] + run[1] * t + bend, 0.24 - 0.1 * t, -0.7 * beam.WATER)
        outlines.append((np.array([x - radius_u, x + radius_u]), np.array([z - radius_z, z + radius_z])))
    return outlines


def _interstitial_pattern(scene: Scene, chest: Chest, finding: Finding) -> list[Outline]:
    """A net of thickened septa with small knots, densest at the bases or at the periphery."""
    rng = finding.rng()
    room = anatomy.cavity(chest, scene)
    visible = (anatomy.lung_field(chest, scene) > -1).astype(np.float32)
    basal, rim = rng.uniform(0.3, 1), rng.uniform(0, 0.6)
    height = np.clip(scene.z / chest.height, 0, 1)
    edge = np.abs(scene.u) / anatomy.half_width_at(chest, np.maximum(scene.z, 1))
    weight = np.clip((1 - basal) + basal * 1.3 * height, 0, 1.2) * np.clip((1 - rim) + rim * 1.2 * edge, 0, 1.2) * visible
    net = np.zeros(scene.shape, np.float32)
    for cell in (2.0, 1.3):
        net += np.exp(-((scene.clouds(rng, cell, 1) / 0.22) ** 2))
    amount = 1.0 + 0.9 * finding.severity
    scene.extra += np.float32(SOFT * amount) * weight * (net + 0.35) * np.minimum(room / 10, 1)
    half = chest.half_width
    z = np.array([0.15 * chest.height, chest.height + chest.dome_drop * 0.7])
    return [(side * np.array([2.5, half]), z) for side in (-1, 1)]


def _fluid(scene: Scene, chest: Chest, side: int, rise: float, bend: float, flat: float) -> Outline:
    """Fluid in a pleural space, its level rising to the wall: rise (cm) above the angle, there and `flat` of it inside."""
    outer = float(anatomy.half_width_at(chest, chest.height + 2))
    share = np.clip((scene.u * side - 2.0) / (outer - 2.0), 0, 1)
    corner = anatomy.dome_z(chest, side * (outer - 0.2))
    level = corner - rise * (flat + (1 - flat) * share**bend)
    over_dome = anatomy.dome_at(chest, scene.u) - level
    side_only = scene.u * side > 1.0
    scene.tissue += 16 * (1 - np.exp(-np.maximum(scene.z - level, 0) / 1.1)) * np.clip(over_dome + 0.7, 0, 1) * side_only
    wet = (over_dome > 0) & side_only
    columns = np.flatnonzero(wet[0])
    if not columns.size:  # too little to rise over the dome, or outside the picture
        columns = np.array([np.argmax(share[0])])
    edges = scene.u[0, columns[[0, -1]]]
    edges = side * np.clip(edges * side, 0, outer + 0.2)
    return edges, np.array([corner - rise, corner])


def _pleural_fluid(scene: Scene, chest: Chest, finding: Finding) -> list[Outline]:
    if finding.label == "costophrenic angle blunting":
        return [_fluid(scene, chest, side, 3.0 + 1.8 * finding.severity, 3.0, 0.1) for side in finding.sides()]
    rng = finding.rng()
    rise = 5.2 + 7.0 * finding.severity
    return [_fluid(scene, chest, side, rise * rng.uniform(0.8, 1.1), 2.4, 0.55) for side in finding.sides()]


def _laminar_atelectasis(scene: Scene, chest: Chest, finding: Finding) -> list[Outline]:
    """One to three plates of collapsed lung, seen edge-on above the diaphragm."""
    rng = finding.rng()
    outlines = []
    for _ in range(1 + int(rng.uniform() < 0.45) + int(finding.severity > 0.8)):
        x = finding.side * chest.half_width * rng.uniform(0.5, 0.72)
        dome = anatomy.dome_z(chest, x)
        z, half = dome - rng.uniform(1.6, 5.5), rng.uniform(2.4, 3.6) + 0.6 * finding.severity
        tilt, thick = rng.normal(0, 0.22), rng.uniform(0.26, 0.38) + 0.12 * finding.severity
        along = (scene.u - x) * np.cos(tilt) + (scene.z - z) * np.sin(tilt)
        across = (scene.z - z) * np.cos(tilt) - (scene.u - x) * np.sin(tilt) + 0.03 * along**2 * rng.normal(0, 1)
        plate = np.exp(-((across / thick) ** 2)) * np.clip((half - np.abs(along)) / 0.5, 0, 1)
        scene.extra += np.float32(SOFT * (3.6 + 2.2 * finding.severity)) * plate
        outlines.append((np.array([x - half, x + half]), z + half * abs(np.sin(tilt)) * np.array([-1, 1]) + [-0.5, 0.5]))
    return outlines


def _pneumothorax(scene: Scene, chest: Chest, finding: Finding) -> list[Outline]:
    """Air without vessels between the wall and a lung that has fallen in, whose border is a fine line."""
    side = finding.side
    edge, room = anatomy.collapsed_edge_at(chest, side, scene.z), anatomy.cavity(chest, scene)
    beyond = scene.u * side - edge
    inside = (scene.u * side > 0) * np.clip(anatomy.dome_at(chest, scene.u) - scene.z, 0, 1)
    air = np.clip(beyond / 0.1, 0, 1) * inside
    density = np.float32(beam.WATER * anatomy.LUNG_DENSITY / chest.aeration)
    scene.extra -= 0.95 * density * room * air
    scene.extra += 0.5 * max(chest.collapse) * density * room * (inside - air)
    scene.extra += np.float32(1.6 * SOFT) * np.exp(-((beyond / 0.1) ** 2)) * inside * np.minimum(room, 1)
    rows, columns = np.nonzero((air > 0.5) & (room > 2))
    return [(scene.u[0, columns], scene.z[rows, 0])]


def _hiatal_hernia(scene: Scene, chest: Chest, finding: Finding) -> list[Outline]:
    """Stomach behind the heart: a round mass with a level of fluid under air."""
    rng = finding.rng()
    radius_u, radius_z = rng.uniform(2.0, 2.8) + 1.3 * finding.severity, rng.uniform(1.9, 2.6) + 1.2 * finding.severity
    centre = (rng.uniform(0.5, 2.6), -4.0, chest.height - rng.uniform(0.6, 1.0) * radius_z)
    scene.tissue += 1.2 * scene.ellipsoid(centre, (radius_u, 4.0, radius_z))
    inside = scene.ellipsoid(centre, (radius_u - 0.35, 3.4, radius_z - 0.35))
    level = centre[2] + rng.uniform(-0.45, 0.25) * radius_z
    air = inside * np.clip((level - scene.z) / 0.1, 0, 1)
    scene.extra -= np.float32(0.9 * beam.WATER * (0.7 + 0.3 * finding.severity)) * air
    return [_ball_outline(scene, centre, radius_u, radius_z)]


def _curve(points: list[tuple[float, float, float]], count: int = 120) -> np.ndarray:
    """A smooth line (Catmull-Rom) through points, (count, 3) float32."""
    knots = np.array([points[0], *points, points[-1]])
    t = np.linspace(0, len(points) - 1, count)
    left = np.minimum(t.astype(int), len(points) - 2)
    t = (t - left)[:, None]
    a, b, c, d = (knots[left + shift] for shift in range(4))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return curve.astype(np.float32)


def _pacemaker(scene: Scene, chest: Chest, finding: Finding) -> list[Outline]:
    rng = finding.rng()
    side = finding.side
    x, z = side * rng.uniform(8.2, 10.2), rng.uniform(5.0, 7.5)
    width, height, tilt = rng.uniform(1.9, 2.5), rng.uniform(1.7, 2.2), rng.normal(0, 0.3)
    angle = np.linspace(0, 2 * np.pi, 60)
    circle = np.array([np.cos(angle), np.sin(angle)])
    box = np.array([[width], [height]]) * (np.sign(circle) * np.abs(circle) ** 0.55)
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    u_shift = scene.pose.u(x, 9)
    can = turn @ box + [[u_shift], [z]]
    inner = turn @ (0.72 * box + [[0.0], [0.3]]) + [[u_shift], [z]]
    head = turn @ (box * [[0.75], [0.35]] - [[0.0], [0.95 * height]]) + [[u_shift], [z]]
    scene.extra += 1.5 * scene.polygon(*can) + 1.0 * scene.polygon(*inner) + 0.6 * scene.polygon(*head)
    low = chest.height
    vein = [(x, 9, z - 1.2 * height), (0.62 * x, 7, 2.6), (side * 2.6, 4, 3.4), (-1.9, 2, 6.5), (-2.2, 1, 0.46 * low)]
    ventricle = _curve([*vein, (-2.0, 2, low - 3.2), (1.5, 4, low - 1.2), (4.6, 6, low - 1.0 - rng.uniform(0, 1))])
    scene.tube(ventricle, 0.10, 0.5 * beam.METAL)
    if rng.uniform() < 0.65:
        above = [(a, b, c + 0.3) for a, b, c in vein]
        atrium = _curve([*above, (-2.6, 3, low - 5.5), (-1.2, 5, low - 5.0), (-1.0, 6, low - 7.2)])
        scene.tube(atrium, 0.09, 0.5 * beam.METAL)
    u = scene.pose.project(ventricle[:, 0], ventricle[:, 1])
    return [(np.append(u, can[0]), np.append(ventricle[:, 2], can[1]))]


def _sternotomy(scene: Scene, chest: Chest, finding: Finding) -> list[Outline]:
    """A column of steel wire loops around the breastbone."""
    rng = finding.rng()
    front = 0.9 * chest.half_depth
    angle = np.linspace(0, 2 * np.pi, 40)
    heights = np.linspace(4.0, (13.0 + 3 * finding.severity) * chest.height / 23, 5 + int(rng.integers(0, 3)))
    for z in heights:
        x, wide, tall = rng.normal(0, 0.2), rng.uniform(0.8, 1.1), rng.uniform(0.3, 0.65)
        tilt = rng.normal(0, 0.15)
        loop_x, loop_z = wide * np.cos(angle), tall * np.sin(angle) + tilt * wide * np.cos(angle)
        loop = np.stack([x + loop_x, front + 0.4 * np.sin(angle), z + loop_z], axis=-1).astype(np.float32)
        scene.tube(loop, 0.09, beam.METAL)
        scene.tube(_curve([(x, front, z - tall), (x + 0.25, front, z - tall - 0.3)], 10), 0.12, beam.METAL)
    u = scene.pose.u(0, front)
    return [(np.array([u - 1.5, u + 1.5]), np.array([heights[0] - 1, heights[-1] + 0.9]))]


# Adds a finding's own shadow to a frontal scene, and returns its outlines, one per place that it is in
DRAW: dict[str, Callable[[Scene, Chest, Finding], list[Outline]]] = {
    **dict.fromkeys(("COPD signs", "scoliosis", "cardiomegaly", "aortic elongation", "hemidiaphragm elevation"), _outline),
    "nodule": _nodule,
    "calcified granuloma": _calcified_granuloma,
    "alveolar pattern": _alveolar_pattern,
    "interstitial pattern": _interstitial_pattern,
    "pleural effusion": _pleural_fluid,
    "costophrenic angle blunting": _pleural_fluid,
    "laminar atelectasis": _laminar_atelectasis,
    "pneumothorax": _pneumothorax,
    "hiatal hernia": _hiatal_hernia,
    "pacemaker": _pacemaker,
    "sternotomy": _sternotomy,
}

# What the other archives call a finding, by its severity (from, below). Archives with few labels have no name for some:
# an image of a scoliosis alone is No Finding there. No drawn finding corresponds to CheXpert's Fracture.
OTHER_NAMES = pd.read_csv(resource("phantom_names.csv"), keep_default_na=False).to_dict("records")


def labels_of(finding: Finding, archive: str) -> tuple[str, ...]:
    """What an archive calls a finding; nothing where it has no name for it."""
    if archive == "padchest":
        return (finding.label,)
    severity = min(finding.severity, 0.999)
    for names in OTHER_NAMES:
        if names["padchest"] == finding.label and names["from"] <= severity < names["below"]:
            return tuple(filter(None, names[archive].split("|")))
    return ()
