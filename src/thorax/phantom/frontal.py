"""The frontal radiograph: every organ's shadow put together."""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from thorax.phantom import anatomy, beam, bones
from thorax.phantom.anatomy import SIDES, Chest
from thorax.phantom.beam import Scene


def frontal(chest: Chest, scene: Scene, patient: Generator, study: Generator, supine: bool) -> np.ndarray:
    """Attenuation of a frontal picture on the scene's grid, (rows, columns) float32, with what the scene already holds.

    The patient's generator draws what stays the same in all pictures of the patient: ribs and vessels. The study's draws the bowel
    gas. The shoulder blades of a supine patient lie over the lungs.
    """
    add_vessels(chest, scene, patient)
    add_airways(chest, scene)
    bones.add_ribs(chest, scene, patient)
    bones.add_clavicles(chest, scene)
    bones.add_shoulder_blades(chest, scene, 2.6 if supine else 0.0)
    bones.add_spine(chest, scene)
    bones.add_breastbone(chest, scene)
    add_cartilage(chest, scene, patient)
    gas = bowel_gas(chest, scene, study)
    room = anatomy.cavity(chest, scene)
    # A dome is a sphere of about 7 cm radius: h cm under its edge a ray crosses 2 sqrt(2 R h) of it, and lung before and behind it
    below = np.maximum(scene.z - anatomy.dome_at(chest, scene.u), 0)
    abdomen = np.minimum(2 * np.sqrt(2 * 7.0 * below) + below, room)
    tissue = anatomy.mediastinum(chest, scene) + abdomen + scene.tissue
    lung = np.maximum(room - tissue, 0)
    lung *= 1 + 0.02 * scene.clouds(patient, 1.6)
    outer, inner = anatomy.body(chest, scene, 0.0), anatomy.body(chest, scene, chest.fat)
    density = anatomy.LUNG_DENSITY / chest.aeration
    total = beam.FAT * (outer - inner) + beam.WATER * (inner + anatomy.breasts(chest, scene) - gas)
    total -= beam.WATER * (1 - density) * lung
    total += scene.extra
    total += scene.points()
    return np.maximum(total, 0)


def add_vessels(chest: Chest, scene: Scene, rng: Generator) -> None:
    """Add the pulmonary vessels: trees that branch from the hila to the lungs' borders."""
    angles, steps = np.radians(np.linspace(-105, 120, 90)), np.linspace(0.5, 24, 80)
    for side in SIDES:
        hilum = np.array([side * 3.8, (0.465 if side < 0 else 0.435) * chest.height])  # the left one is a little higher
        x = np.abs(hilum[0]) + np.cos(angles)[:, None] * steps
        z = hilum[1] + np.sin(angles)[:, None] * steps
        dome = anatomy.dome_at(chest, (side * x).ravel()).reshape(x.shape)
        top = 0.36 * chest.half_width  # under the apex
        inside = (x < anatomy.half_width_at(chest, z)) & (x > 1.3) & (z < dome + 1) & (z > 0.6 + 0.25 * np.abs(x - top))
        if chest.collapse[int(side > 0)]:
            inside &= x < anatomy.collapsed_edge_at(chest, side, z)
        reach = way_inside(inside, steps)
        reach = np.convolve(np.pad(reach, 4, "edge"), np.full(9, 1 / 9), "valid")
        for trunks in (9, 7):
            vessel_tree(scene, rng, hilum, side, (angles, reach), trunks, chest.vessels)


def way_inside(inside: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """How far each ray (rays, steps) goes before it first leaves the lung."""
    return steps[np.maximum(np.cumprod(inside, axis=1).sum(axis=1) - 1, 0)]


def vessel_tree(
    scene: Scene, rng: Generator, origin: np.ndarray, side: float, reach: Sequence[np.ndarray], trunks: int, calibre: float
) -> None:
    """Add a tree from a hilum (u, z), grown in polar coordinates: a direction, and the share of the way to the lung's border.

    The directions (radians, rising; `reach` has them with the border's distance in each, cm) run from right to downwards in the
    picture, or in its mirror image if the side is -1.
    """
    levels = 5
    low, high = np.radians([-78, 92])
    direction = np.linspace(low, high, trunks) + rng.normal(0, 0.10, trunks)
    swing = np.zeros(trunks)
    share = np.full(trunks, 0.02)
    radius = (0.44 + 0.20 * (direction > 0.4)) * rng.uniform(0.75, 1.2, trunks) * calibre
    t = np.linspace(0, 1, 12)
    for level in range(levels):
        ahead = (0.95 - share) / (levels - level) * rng.uniform(0.7, 1.3, share.size)
        bend = rng.normal(0, 0.06, share.size)
        angle = direction[:, None] + swing[:, None] * t**0.8 + bend[:, None] * t**2
        way = share[:, None] + ahead[:, None] * t
        length = way * np.interp(angle, reach[0], reach[1])
        u = origin[0] + side * (length * np.cos(angle) - 1.1 * np.exp(-way / 0.12))
        z = origin[1] + 2.2 * np.sin(angle) * (1 - way) + length * np.sin(angle)
        thick = radius[:, None] * (1 - 0.2 * t) * (1.15 if level == 0 else 1.0)
        scene.flat_tube(u, z, thick, beam.WATER * (1 - anatomy.LUNG_DENSITY))
        spread = 0.36 * 0.8**level * rng.uniform(0.5, 1.4, (2, share.size))
        direction = np.tile(angle[:, -1], 2)
        swing = np.concatenate([-spread[0], spread[1]])
        share = np.tile(share + ahead, 2)
        radius = np.concatenate([0.82 * radius, 0.66 * radius])


def add_airways(chest: Chest, scene: Scene) -> None:
    """Add the air of windpipe and main bronchi."""
    fork = 0.36 * chest.height
    z = np.linspace(-12, fork, 80)
    x = 0.5 * anatomy.midline_at(chest, z) - 0.25 * np.clip(z / fork, 0, 1)
    x = x - 0.12 * chest.unfolding * np.exp(-(((z - 5) / 3) ** 2))
    windpipe = np.stack([x, 0 * z + 1, z], axis=-1).astype(np.float32)
    scene.tube(windpipe, 0.92, -beam.WATER)
    t = np.linspace(0, 1, 30)
    for side, run, fall in ((-1.0, 2.6, 3.4), (1.0, 4.0, 3.0)):
        bronchus = np.stack([x[-1] + side * run * t, 0 * t, fork + fall * t**0.9], axis=-1).astype(np.float32)
        scene.tube(bronchus, 0.65 - 0.15 * t, -0.75 * beam.WATER)


def add_cartilage(chest: Chest, scene: Scene, rng: Generator) -> None:
    """Add lime in the costal cartilages of the old, in beads from the ribs' front ends to the breastbone."""
    amount = np.clip((chest.age - 45) / 35, 0, 1) * rng.uniform(0, 1)
    path, _ = bones.rib_paths(chest, 12)
    beads = rng.uniform(0, 1, (24, 160)) ** 3
    sway = rng.normal(0, 0.24, (24, 160, 2))
    if amount < 0.2:
        return
    for number in (*range(0, 7), *range(12, 19)):
        end = path[number, -1]
        t = np.linspace(0, 0.75, 160)
        x = end[0] * (1 - t) + np.sign(end[0]) * 2.0 * t + sway[number, :, 0]
        z = end[2] + (0.8 if number % 12 < 2 else -2.5 * t) * t + sway[number, :, 1]
        u = scene.pose.project(x, np.full_like(x, end[1]))
        mass = 0.006 * amount * beads[number] * chest.bone * np.exp(-2 * t)
        scene.deposit(u.astype(np.float32), z.astype(np.float32), mass.astype(np.float32))


def bowel_gas(chest: Chest, scene: Scene, rng: Generator) -> np.ndarray:
    """Depth of the gas in stomach and colon; the stomach's bubble ends at a level of fluid."""
    place = float(rng.uniform(4.0, 7.5))
    size = rng.uniform(1.2, 3.0)
    flat = rng.uniform(0.2, 0.8)
    dome = anatomy.dome_z(chest, place)
    centre = dome + 0.9 + size * 0.75
    bubble = scene.ellipsoid((place, 0, centre), (1.35 * size, 0.7 * size, 0.8 * size))
    bubble *= np.clip((centre + flat * 0.5 * size - scene.z) / 0.1, 0, 1)
    for _ in range(rng.integers(0, 6)):
        x, z = rng.uniform(5, 13), dome + rng.uniform(4, 10)
        size_x, size_z = rng.uniform(0.6, 1.8, 2)
        bubble += 0.6 * scene.ellipsoid((x, 0, z), (size_x, 1.2, size_z), rng.uniform(-1, 1))
    return bubble
