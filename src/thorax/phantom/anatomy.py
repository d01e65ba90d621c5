"""The phantom's body: organs with their usual sizes and places, whose X-ray shadows make a chest radiograph.

Coordinates in cm: x to the patient's left, y forwards, z downwards from the top of the lungs. In a frontal picture
the patient's left is on the right-hand side.
"""

from dataclasses import dataclass

import numpy as np

from thorax.phantom.beam import Scene

LUNG_DENSITY = 0.25  # of water, at full inspiration
SIDES = (-1.0, 1.0)  # the patient's right and left


@dataclass(frozen=True)
class Chest:
    """One patient's anatomy as it is in one study. Lengths in cm."""

    age: float
    half_width: float  # of the lungs at their widest
    half_depth: float  # of the lungs, front to back
    height: float  # z of the right diaphragm's top
    dome_step: float  # by which the left dome is lower
    dome_drop: float  # from a dome's top down to the costophrenic angle
    wall: float  # soft tissue around the ribs, at the side
    fat: float  # of it, under the skin
    breast: float  # thickness of a breast's shadow; 0 for none
    cardiothoracic: float  # ratio of the widths of heart and chest
    heart_lean: float  # tilt of the heart's axis, radians; small is upright
    arch: float  # radius of the aortic arch
    unfolding: float  # sideways bow of the aorta
    spine_bow: float  # of a scoliosis; positive to the left
    spine_centre: float  # z where it bows most
    bone: float  # density, 1 is usual
    rib_slope: float  # 1 is usual
    arm: float  # abduction
    shoulder: float  # height of the shoulders: positive is raised
    aeration: float  # air in the lungs: 1 is usual
    vessels: float  # calibre of the pulmonary vessels
    lift: tuple[float, float] = (0.0, 0.0)  # elevation of the right and left diaphragm
    collapse: tuple[float, float] = (0.0, 0.0)  # share of the right and left lung's width that a pneumothorax takes at the top


def half_width_at(chest: Chest, z: np.ndarray | float) -> np.ndarray:
    """Distance from the midline to a lung's outer border, at height z."""
    t = np.clip(z / (chest.height + 4), 0, 1)
    rise = 1 - (1 - np.minimum(t / 0.8, 1)) ** 2.6
    narrow = np.maximum(t - 0.8, 0) / 0.2
    return chest.half_width * ((0.36 + 0.64 * rise**0.57) * (1 - 0.03 * narrow**2))


def half_depth_at(chest: Chest, z: np.ndarray | float) -> np.ndarray:
    """Half the depth of the chest's cavity at height z."""
    t = np.clip(z / (0.72 * chest.height), 0, 1)
    return chest.half_depth * np.sqrt(1 - (1 - t) ** 2)


def midline_at(chest: Chest, z: np.ndarray) -> np.ndarray:
    """x of the spine's centre at height z: straight, or bowed by a scoliosis with its counter-curve."""
    t = (z - chest.spine_centre) / 9
    return chest.spine_bow * (np.exp(-(t**2)) - 0.45 * np.exp(-((t - 1.75) ** 2)))


def collapsed_edge_at(chest: Chest, side: float, z: np.ndarray) -> np.ndarray:
    """Distance from the midline to the outer border of a lung that a pneumothorax has pushed off the wall, at height z."""
    share = chest.collapse[int(side > 0)]
    top = 0.35 * share * chest.height
    apex = np.sqrt(1 - (1 - np.clip((z - top) / (0.5 * chest.height), 0, 1)) ** 2)
    return half_width_at(chest, z) * (1 - share * (0.35 + 0.65 * np.clip(1 - z / chest.height, 0, 1))) * apex


def dome_at(chest: Chest, u: np.ndarray) -> np.ndarray:
    """z of the diaphragm's upper border over the picture's width, (columns,) or broadcastable."""
    outer = half_width_at(chest, chest.height + 2)
    z = np.empty_like(u)
    for side, lift, lower in zip(SIDES, chest.lift, (0.0, chest.dome_step), strict=True):
        here = u * side >= 0
        distance = u[here] * side - 0.47 * outer
        out = np.clip(distance / (0.53 * outer), 0, 1)
        inward = np.clip(-distance / (0.47 * outer), 0, 1)
        drop = chest.dome_drop + lift
        fall = drop * (0.6 * out**2 + 0.4 * (1 - np.sqrt(1 - out**2))) + (0.35 * drop + 0.5 * lift) * inward**2
        z[here] = chest.height + lower - lift + fall
    return z


def dome_z(chest: Chest, u: float) -> float:
    """z of the diaphragm's upper border at one place."""
    return float(dome_at(chest, np.array([u], np.float32))[0])


def cavity(chest: Chest, scene: Scene) -> np.ndarray:
    """Depth of the chest's cavity along each ray of a frontal picture, as if lungs alone filled it."""
    z = scene.z
    outer = half_width_at(chest, z)
    apex = 0.36 * chest.half_width
    inner = apex - (apex - 2.5) * np.sqrt(1 - (1 - np.clip(z / 2.4, 0, 1)) ** 2) - 1.4 * np.clip((z - 2) / 6, 0, 1)
    share = np.clip((np.abs(scene.u) - inner) / np.maximum(outer - inner, 0.05), 0, 1)
    depth = 2 * half_depth_at(chest, z) * np.sqrt(1 - share**2.3) * np.sqrt(np.minimum(share / 0.22, 1))
    depth *= 0.78 + 0.22 * np.minimum(share / 0.45, 1)  # spine and heart leave less space next to the midline
    return np.where((z > 0) & (share > 0), depth, 0).astype(np.float32)


def mediastinum(chest: Chest, scene: Scene) -> np.ndarray:
    """Water path of heart and great vessels in a frontal picture."""
    width, bow = 2 * chest.cardiothoracic * chest.half_width, chest.unfolding
    low = chest.height + 0.25 * (chest.lift[0] + chest.lift[1]) * -1
    tall = np.clip(width / 12.5, 0.85, 1.25)
    arch_x, arch_z = 2.0 + 0.35 * bow, 0.27 * chest.height - 0.5 * bow
    spine = midline_at(chest, scene.z) + scene.pose.u(0, -5.5)
    parts = [
        scene.ellipsoid((0.20 * width, 3.5, low - 2.6), (0.54 * width, 6.3, 0.37 * width), chest.heart_lean),
        scene.ellipsoid((-0.08 * width, 3.0, low - 4.4), (0.26 * width, 5.8, 0.47 * width)),
        scene.ellipsoid((0.085 * width, 3.0, low - 8.6 * tall), (0.23 * width, 4.8, 6.4 * tall), -0.12),
        scene.ellipsoid((arch_x, 0.0, arch_z), (chest.arch, 4.5, chest.arch * 1.15)),
    ]
    if bow:
        parts.append(scene.ellipsoid((-1.5 - 0.3 * bow, 2.0, 0.42 * chest.height), (1.6 + 0.35 * bow, 4.0, 5.5)))
    parts.append(scene.ellipsoid((0.10 * width, 3.0, low + 0.6), (0.40 * width, 6.0, 2.6)))  # the heart's base on the diaphragm
    for side, height in zip(SIDES, (0.465, 0.435), strict=True):  # the hila
        parts.append(scene.ellipsoid((side * 2.9, 0.0, height * chest.height), (2.2, 1.05, 3.0)))
    parts.append(_great_vessels(chest, scene))
    parts.append(9 * np.exp(-(np.abs((scene.u - spine) / 2.3) ** 3)))  # vertebral bodies, oesophagus and fat next to them
    parts.append(_descending_aorta(chest, scene, arch_x))
    return _together(scene, parts) * np.clip(1 - (scene.z - dome_at(chest, scene.u)) / 1.5, 0, 1)


def _together(scene: Scene, parts: list[np.ndarray]) -> np.ndarray:
    """One body of several that overlap, with soft edges between them: the fourth root of their fourth powers."""
    total = np.zeros(scene.shape, np.float32)
    for part in parts:
        square = part * part
        total += square * square
    return np.sqrt(np.sqrt(total))


def _great_vessels(chest: Chest, scene: Scene) -> np.ndarray:
    """Superior vena cava on the right, the arteries of neck and left arm on the left."""
    z = scene.z
    lean = scene.pose.u(0, 2) + 0.3 * midline_at(chest, z)
    right = 2.55 + 0.25 * np.sin(z * 0.55) + 0.4 * np.exp(-np.maximum(z - 1, 0) / 2)
    left = 2.3 + 0.8 * np.exp(-np.maximum(z - 1, 0) / 2.5)
    offset = scene.u - lean
    share = np.where(offset < 0, -offset / right, offset / left)
    fade = np.clip((chest.height - z) / 4, 0, 1)
    return 13 * np.sqrt(np.maximum(1 - np.abs(share) ** 3, 0)) * fade


def _descending_aorta(chest: Chest, scene: Scene, arch_x: float) -> np.ndarray:
    z = scene.z
    start, end = 0.3 * chest.height, chest.height + 3
    t = np.clip((z - start) / (end - start), 0, 1)
    middle = arch_x * (1 - t) + 0.6 * t + 1.2 * chest.unfolding * np.sin(np.pi * t) ** 1.5 + 0.35 * midline_at(chest, z)
    middle = middle + scene.pose.u(0, -3)
    radius = 1.2 + 0.18 * chest.unfolding
    inside = np.maximum(1 - ((scene.u - middle) / radius) ** 2, 0)
    return 2 * radius * np.sqrt(inside) * ((z > start) & (z < end + 6))


def body(chest: Chest, scene: Scene, skin: float) -> np.ndarray:
    """Depth of the body in a frontal picture, `skin` cm under its surface."""
    u, z = np.abs(scene.u), scene.z
    trunk_half = np.maximum(half_width_at(chest, np.maximum(z, 0.5 * chest.height)), 0) + 1.0 + chest.wall - skin
    trunk_half = trunk_half + 0.03 * chest.wall * np.maximum(z - chest.height, 0)
    trunk_depth = 2 * (chest.half_depth + 1.3 + 0.7 * chest.wall - skin)
    share = np.minimum(u / trunk_half, 1)
    trunk = trunk_depth * np.sqrt(np.maximum(1 - share**3.2, 0)) * (1 / (1 + np.exp((2.0 - z) / 1.5)))
    line = np.interp(u, [0, 5, 7, 11, 16, 19, 21.5, 26], [-9, -6.2, -4.4, -2.6, -1.2, 0.4, 4.0, 16.0])  # upper contour
    top = (line - chest.shoulder * np.clip(u / 14, 0, 1)).astype(np.float32) + skin
    shoulders = 2 * np.sqrt(2 * 5.0 * np.maximum(z - top, 0))
    shoulders = np.minimum(shoulders, 15 - 0.33 * np.maximum(u - 6, 0)) * np.clip((9 - 0.05 * u - z) / 5, 0, 1)
    neck_half = 5.3 + 0.5 * chest.wall - skin + 0.12 * np.maximum(z + 8, 0)
    neck = 11 * np.sqrt(np.maximum(1 - (u / neck_half) ** 2, 0)) * np.clip((4 - z) / 5, 0, 1)
    arm_middle = 17.2 + 0.4 * chest.wall + chest.arm * np.maximum(z - 3, 0)
    arm_half = 4.6 + 0.45 * chest.wall - skin
    arm = 2 * arm_half * np.sqrt(np.maximum(1 - ((u - arm_middle) / arm_half) ** 2, 0)) * np.clip((z - top) / 4, 0, 1)
    return _together(scene, [trunk, shoulders, neck, arm])


def breasts(chest: Chest, scene: Scene) -> np.ndarray:
    """Soft tissue of the breasts, or of the pectoral muscles: sharp below, fading upwards."""
    total = np.zeros(scene.shape, np.float32)
    for side in SIDES:
        centre_z = 0.68 * chest.height if chest.breast else 0.36 * chest.height
        radius = (6.4 + 0.25 * chest.breast, 6.0 + 0.35 * chest.breast) if chest.breast else (5.5, 5.0)
        du = (scene.u - side * (0.62 * chest.half_width + 0.2 * chest.breast)) / radius[0]
        dz = (scene.z - centre_z) / np.where(scene.z < centre_z, 1.7 * radius[1], radius[1])
        inside = np.maximum(1 - du**2 - dz**2, 0)
        total += (chest.breast or 1.5) * np.sqrt(inside) * np.where(scene.z < centre_z, (1 + dz) ** 2, 1)
    return total


def lung_field(chest: Chest, scene: Scene) -> np.ndarray:
    """Signed field that is positive over the visible lungs: in the cavity, next to the mediastinum, above the domes."""
    hidden = mediastinum(chest, scene)
    return np.minimum(np.minimum(cavity(chest, scene) - 1.0, 2.2 - hidden), 2 * (dome_at(chest, scene.u) - scene.z))
