"""The phantom's skeleton: hollow tubes and plates in space, so that their edges shine in a picture as bones do."""

import numpy as np

from thorax.phantom import beam
from thorax.phantom.anatomy import SIDES, Chest, half_depth_at, half_width_at, midline_at
from thorax.phantom.beam import Scene

# For ribs 1 to 12: how far the front end lies under the back end (cm), and the angle from back to front (degrees).
RIB_FALL = (4.6, 6.4, 8.2, 9.4, 10.2, 10.8, 11.2, 11.0, 9.6, 8.0, 5.5, 3.5)
RIB_SWEEP = (150, 150, 148, 147, 146, 144, 141, 134, 124, 112, 84, 56)


def vertebra_step(chest: Chest) -> float:
    """Height of a thoracic vertebra with its disc."""
    return 2.36 * chest.height / 23


def rib_paths(chest: Chest, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """The centre lines of 24 ribs and their directions outwards from the chest, each (24, samples, 3)."""
    paths, outwards = [], []
    for side in SIDES:
        for number, (fall, sweep) in enumerate(zip(RIB_FALL, RIB_SWEEP, strict=True)):
            angle = np.linspace(0.18, np.radians(sweep), samples)
            back = -1.6 + vertebra_step(chest) * number + 0.7 * (number == 0)
            fall = fall * chest.rib_slope * chest.height / 23
            z = back + fall * ((1 - np.cos(angle)) / 2) ** 0.9 - 0.5 * np.sin(2 * angle) * (number > 0)
            at_side = back + 0.45 * fall
            across = half_width_at(chest, np.maximum(at_side, 0.5)) + 0.35
            # Above the widest ribs the cage narrows upwards, so the curve follows the lung's own border there.
            across = 0.5 * across + 0.5 * (half_width_at(chest, np.maximum(z, 0.5)) + 0.35)
            deep = half_depth_at(chest, np.maximum(at_side, 1.5)) + 0.4
            bow = midline_at(chest, z) * np.maximum(np.cos(angle), 0) ** 1.5
            x = side * across * np.sin(angle) ** 0.92 + bow
            y = -deep * np.cos(angle) - 0.8
            paths.append(np.stack([x, y, z], axis=-1))
            outwards.append(np.stack([side * np.sin(angle), -np.cos(angle) * 1.2, 0 * angle], axis=-1))
    return np.array(paths, np.float32), np.array(outwards, np.float32)


def add_ribs(chest: Chest, scene: Scene, rng: np.random.Generator) -> None:
    """Add the ribs: flattened tubes of cortical bone with a spongy filling."""
    samples, around = int(np.clip(33 / scene.step, 60, 320)), 14
    path, outward = rib_paths(chest, samples)
    along = np.gradient(path, axis=1)
    ds = np.linalg.norm(along, axis=-1, keepdims=True)
    along /= ds
    outward -= along * np.sum(outward * along, axis=-1, keepdims=True)
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
    tall = np.cross(along, outward)
    number = np.tile(np.arange(12), 2)
    half_height = np.interp(number, [0, 1, 4, 9, 11], [0.72, 0.60, 0.66, 0.62, 0.42]) * rng.normal(1, 0.03, 24)
    end = np.linspace(0, 1, samples)
    half_height = (half_height[:, None] * (0.88 + 0.28 * np.clip((end - 0.75) / 0.25, 0, 1)[None, :]))[..., None]
    half_width = np.float32(0.32)
    angle = (np.arange(around) + 0.5) * (2 * np.pi / around)
    cosine, sine = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    half_height = half_height.astype(np.float32)
    u, z = scene.pose.project(path[..., 0], path[..., 1]), path[..., 2]
    tall_u = scene.pose.project(tall[..., 0], tall[..., 1])[..., None] * half_height
    out_u = scene.pose.project(outward[..., 0], outward[..., 1])[..., None] * half_width
    tall_z, out_z = tall[..., 2][..., None] * half_height, outward[..., 2][..., None] * half_width
    perimeter = 2 * np.pi * np.sqrt((half_height**2 + half_width**2) / 2)
    fade = (np.clip((1 - end) / 0.03, 0.25, 1) * np.clip(1.5 - end, 0.62, 1))[None, :, None].astype(np.float32)
    shell = beam.CORTICAL_BONE * chest.bone * 0.032 * perimeter * ds / around * fade
    fill = 2.2 * beam.SPONGY_BONE * chest.bone * np.pi * half_height * half_width * ds / (around // 2) * fade
    for share, mass, pick in ((1.0, shell, slice(None)), (0.55, fill, slice(None, None, 2))):
        c, s = cosine[pick] * np.float32(share), sine[pick] * np.float32(share)
        points_u = u[..., None] + tall_u * c + out_u * s
        points_z = z[..., None] + tall_z * c + out_z * s
        scene.deposit(points_u, points_z, np.broadcast_to(mass, points_u.shape).astype(np.float32))


def add_clavicles(chest: Chest, scene: Scene) -> None:
    """Add the collar bones, from the breastbone out and up to the shoulders."""
    t = np.linspace(0, 1, 90)
    radius = 0.52 + 0.45 * np.exp(-t / 0.07) + 0.3 * np.exp(-(((1 - t) / 0.1) ** 2))
    for side in SIDES:
        x = side * (1.5 + 14.2 * t)
        y = 7.0 - 7.5 * t + 1.4 * np.sin(2 * np.pi * t)
        z = 3.0 - (3.4 + chest.shoulder) * t + 0.5 * np.sin(2 * np.pi * t)
        path = np.stack([x, y, z], axis=-1).astype(np.float32)
        scene.tube(path, radius, beam.CORTICAL_BONE * chest.bone, shell=0.13)
        scene.tube(path, 0.8 * radius, beam.SPONGY_BONE * chest.bone)


def add_shoulder_blades(chest: Chest, scene: Scene, inward: float = 0.0) -> None:
    """Add scapulae, which overlie the lungs by some centimetres if the patient lies on the back, and upper arms."""
    up = -0.8 * chest.shoulder
    for side in SIDES:

        def line(points: list[tuple[float, float]], count: int = 50, side: float = side) -> np.ndarray:
            x, z = np.array(points).T
            t = np.linspace(0, 1, count)
            knots = np.linspace(0, 1, len(points))
            x, z = np.interp(t, knots, x), np.interp(t, knots, z)
            return np.stack([side * (x - inward), 0 * x - 6, z + up], axis=-1).astype(np.float32)

        dense = beam.CORTICAL_BONE * chest.bone
        border = line([(12.6, 1.4), (12.4, 4), (12.9, 8), (14.0, 12.5), (14.7, 13.6)])
        edge = line([(14.7, 13.6), (15.2, 11), (15.9, 8), (16.5, 5.4)])
        spine = line([(12.5, 3.6), (14.2, 2.0), (16.4, 0.4), (18.2, -0.6)])
        scene.tube(border, 0.18, dense)
        scene.tube(edge, 0.42, dense, shell=0.16)
        scene.tube(spine, np.linspace(0.25, 0.75, 50), dense, shell=0.12)
        outline = np.concatenate([border, edge, line([(16.5, 5.4), (16.2, 2.8), (14.2, 1.6), (12.6, 1.4)])])
        plate = scene.polygon(scene.pose.project(outline[:, 0], outline[:, 1]), outline[:, 2], blur=0.15)
        scene.extra += np.float32(0.34 * dense) * plate
        coracoid = line([(15.6, 2.8), (15.0, 1.6), (15.6, 1.1)], 30)
        scene.tube(coracoid, 0.55, dense, shell=0.1)
        outer, inner = (scene.ellipsoid((side * (18.6 - inward), -1.0, 3.8 + up), (radius,) * 3) for radius in (2.4, 2.24))
        scene.extra += np.float32(dense) * (outer - inner)  # the upper arm's head
        scene.extra += np.float32(0.8 * beam.SPONGY_BONE * chest.bone) * inner
        t = np.linspace(0, 1, 60)
        x = side * (19.0 - inward + (4.5 + 20 * chest.arm) * t)
        arm = np.stack([x, 0 * t - 1, 4.8 + up + 22 * t], axis=-1).astype(np.float32)
        scene.tube(arm, 1.25 + 0.9 * np.exp(-t / 0.06), dense, shell=0.3)


def add_spine(chest: Chest, scene: Scene) -> None:
    """Add the vertebral column as seen from the front: bodies, end plates, pedicles and spinous processes."""
    z = scene.z
    middle = midline_at(chest, z) + scene.pose.u(0, -5.5)
    columns = np.flatnonzero(np.abs(scene.u[0] - np.median(middle)) < 5.5)
    window = slice(columns[0], columns[-1] + 1)
    u = scene.u[:, window] - middle
    phase = (z + 1.6) / vertebra_step(chest)
    v = phase - np.floor(phase)
    half = np.interp(z, [-10, 0, 12, 28, 40], [1.15, 1.35, 1.5, 1.95, 2.2]).astype(np.float32)
    waist = half * (1 - 0.10 * np.sin(np.pi * v))
    inside = np.clip((waist - np.abs(u)) / 0.15, 0, 1)
    tall = np.clip((0.5 - np.abs(v - 0.5) - 0.07) / 0.03, 0, 1)
    depth = 1.9 * half
    dense = beam.CORTICAL_BONE * chest.bone
    total = 0.45 * beam.SPONGY_BONE * chest.bone * depth * inside * tall
    plates = np.exp(-(((np.abs(v - 0.5) - 0.42) / 0.035) ** 2))
    total += 0.32 * dense * plates * inside
    total += 0.20 * dense * np.exp(-(((np.abs(u) - waist + 0.12) / 0.13) ** 2)) * tall
    pedicle = ((np.abs(u) - 0.68 * waist) / 0.30) ** 2 + ((v - 0.36) / 0.17) ** 2
    total += 0.75 * dense * (np.exp(-((pedicle - 0.8) ** 2) * 4) + 0.3 * (pedicle < 1))
    process = (u / 0.22) ** 2 + ((v - 0.80) / 0.20) ** 2
    total += 0.75 * dense * np.exp(-((process - 0.6) ** 2) * 3)
    total += 0.25 * dense * np.exp(-(((np.abs(u) - 2.6) / 0.9) ** 2)) * np.exp(-(((v - 0.3) / 0.14) ** 2))
    scene.extra[:, window] += total.astype(np.float32)


def add_breastbone(chest: Chest, scene: Scene) -> None:
    """Add the breastbone, a faint plate before the mediastinum."""
    x = np.array([-2.6, 2.6, 1.9, 1.5, 2.0, 0.0, -2.0, -1.5, -1.9])
    z = np.array([3.2, 3.2, 6.5, 8.5, 15.5, 17.5, 15.5, 8.5, 6.5]) * chest.height / 23
    u = scene.pose.project(x, np.full_like(x, 0.85 * chest.half_depth))
    scene.extra += np.float32(0.16 * beam.CORTICAL_BONE * chest.bone) * scene.polygon(u, z, blur=0.12)
