"""The lateral radiograph: a simpler picture of the same chest from its left side, the patient looking to the left."""

import numpy as np

from thorax.phantom import anatomy, beam, bones
from thorax.phantom.anatomy import SIDES, Chest
from thorax.phantom.beam import Scene
from thorax.phantom.findings import SOFT, Finding
from thorax.phantom.frontal import vessel_tree, way_inside


def lateral(chest: Chest, scene: Scene, patient: np.random.Generator, findings: tuple[Finding, ...]) -> np.ndarray:
    """Attenuation of a lateral picture on the scene's grid, (rows, columns) float32."""
    bones.add_ribs(chest, scene, patient)
    _add_spine(chest, scene)
    _add_breastbone(chest, scene)
    airway = np.linspace(-10, 0.42 * chest.height, 80)
    scene.flat_tube(0.6 + 0.16 * np.maximum(airway, -3), airway, 0.95, -0.9 * beam.WATER)
    scene.extra -= np.float32(0.8 * beam.WATER) * scene.ellipsoid((0, -2.2, 0.43 * chest.height), (1.0, 0.6, 0.6))
    _add_vessels(chest, scene, patient)
    for finding in findings:
        _add_shadow(chest, scene, finding)
    room = _cavity(chest, scene)
    abdomen = np.zeros(scene.shape, np.float32)
    for lift, lower in zip(chest.lift, (0.0, chest.dome_step), strict=True):
        below = np.maximum(scene.z - _dome(chest, scene.u, lower, lift), 0)
        abdomen += np.minimum(2 * np.sqrt(2 * 7.0 * below) + 2 * below, room / 2)
    lung = np.maximum(room - _heart(chest, scene) - abdomen - scene.tissue, 0)
    lung *= 1 + 0.02 * scene.clouds(patient, 1.6)
    density = anatomy.LUNG_DENSITY / chest.aeration
    total = beam.WATER * _body(chest, scene) - beam.WATER * (1 - density) * lung
    total += scene.extra
    total += scene.points()
    return np.maximum(total, 0)


def _back_at(chest: Chest, z: np.ndarray | float) -> np.ndarray:
    """u of the vertebral bodies' middle: the back is bent outwards most at mid-height."""
    return chest.half_depth - 3.4 + 1.9 * np.cos((z - 13) / 8.5)


def _front_at(chest: Chest, z: np.ndarray | float) -> np.ndarray:
    """u of the inner face of breastbone and belly wall."""
    t = np.clip((z - 1) / 17, 0, 1)
    return -(chest.half_depth * (0.35 + 0.75 * np.sin(0.5 * np.pi * t)))


def _cavity(chest: Chest, scene: Scene) -> np.ndarray:
    z = scene.z
    back, front = _back_at(chest, z) + 2.4, _front_at(chest, z)
    middle, half = (back + front) / 2, np.maximum((back - front) / 2, 0.1)
    share = np.abs(scene.u - middle) / half
    width = 2 * (anatomy.half_width_at(chest, np.maximum(z, 0)) - 1.8)
    return width * np.sqrt(np.maximum(1 - share**3.5, 0)) * np.sqrt(np.clip((z - 0.3) / 5, 0, 1))


def _heart(chest: Chest, scene: Scene) -> np.ndarray:
    width = 2 * chest.cardiothoracic * chest.half_width
    low = chest.height - 0.2 * (chest.lift[0] + chest.lift[1])
    deep = 0.42 * width
    parts = (
        scene.ellipsoid((0, 2.6, low - 2.4), (0.50 * width, deep, 0.50 * width), 0.45),
        scene.ellipsoid((0, 1.6, low - 7.5), (4.4, 4.0, 5.8), 0.3),
        scene.ellipsoid((0, 0.2, 0.30 * chest.height), (3.0, 2.2 + 0.8 * chest.arch, 1.5 * chest.arch), 0.2),
        scene.ellipsoid((0, -0.6, 0.46 * chest.height), (2.2, 1.9, 1.5)),  # both hila in one
    )
    total = sum(part**2 for part in parts)
    z = scene.z
    middle = _back_at(chest, z) - 2.3 - 0.5 * chest.unfolding
    aorta = 2.6 * np.sqrt(np.maximum(1 - ((scene.u - middle) / 1.3) ** 2, 0)) * np.clip((z - 0.3 * chest.height) / 3, 0, 1)
    upper = 7.0 * np.exp(-(((scene.u - 0.8) / 3.0) ** 2)) * np.clip((0.5 * chest.height - z) / 5, 0, 1)
    return np.sqrt(total + aorta**2 + upper**2)


def _dome(chest: Chest, u: np.ndarray, lower: float, lift: float) -> np.ndarray:
    """z of one diaphragm: highest a little in front of the middle, lowest behind."""
    back, front = _back_at(chest, chest.height + 3) + 2.4, _front_at(chest, chest.height)
    top = 0.35 * back + 0.65 * front
    behind = np.clip((u - top) / (back - top), 0, 1)
    ahead = np.clip((top - u) / (top - front), 0, 1)
    drop = chest.dome_drop + lift
    return chest.height + lower - lift + 1.25 * drop * behind**2.0 + 0.45 * drop * ahead**2


def _body(chest: Chest, scene: Scene) -> np.ndarray:
    """Width of the body along each ray; the raised arms lie over its top."""
    z = scene.z
    back = _back_at(chest, z) + 4.6 + 0.8 * chest.wall - 2.0 * np.clip((2 - z) / 8, 0, 1)
    front = _front_at(chest, z) - 1.6 - 0.6 * chest.wall - 0.02 * chest.wall * np.maximum(z - chest.height, 0)
    chin = np.clip((1 - z) / 7, 0, 1)
    front = front * (1 - 0.15 * chin) + 1.2 * chin
    middle, half = (back + front) / 2, (back - front) / 2
    share = np.abs(scene.u - middle) / half
    full = 1.9 * (anatomy.half_width_at(chest, np.maximum(z, 0.5 * chest.height)) + 1.0 + chest.wall)
    neck = np.clip((z + 3) / 7, 0, 1)
    width = full * neck + 12 * (1 - neck)
    trunk = width * np.sqrt(np.maximum(1 - share**2.6, 0))
    across = (scene.u + 2.0 + 0.35 * (z - 2)) / 5.2
    arms = 9 * np.sqrt(np.maximum(1 - across**2, 0)) * np.clip((6 - z) / 5, 0, 1)
    bust = chest.breast * scene.ellipsoid((0, chest.half_depth, 0.70 * chest.height), (0.4, 4.6, 4.6))
    return np.sqrt(trunk**2 + arms**2) + bust


def _add_spine(chest: Chest, scene: Scene) -> None:
    z = scene.z
    step = bones.vertebra_step(chest)
    u = scene.u - _back_at(chest, z)
    phase = (z + 1.6) / step
    v = phase - np.floor(phase)
    half = np.interp(z, [-8, 0, 28, 40], [0.9, 1.15, 1.7, 1.9]).astype(np.float32) * (1 - 0.08 * np.sin(np.pi * v))
    inside = np.clip((half - np.abs(u)) / 0.15, 0, 1)
    tall = np.clip((0.5 - np.abs(v - 0.5) - 0.07) / 0.03, 0, 1)
    dense = beam.CORTICAL_BONE * chest.bone
    total = 1.1 * beam.SPONGY_BONE * chest.bone * 3.2 * inside * tall
    total += 0.6 * dense * np.exp(-(((np.abs(v - 0.5) - 0.42) / 0.04) ** 2)) * inside
    total += 0.4 * dense * np.exp(-(((np.abs(u) - half + 0.1) / 0.12) ** 2)) * tall
    total += 0.5 * dense * np.exp(-(((u - half - 1.5) / 1.0) ** 2) - ((v - 0.45) / 0.22) ** 2)  # arches and processes
    scene.extra += total.astype(np.float32)


def _add_breastbone(chest: Chest, scene: Scene) -> None:
    z = np.linspace(3.5, 17.5, 60)
    scene.flat_tube(_front_at(chest, z) - 0.5, z, 0.5, 3.6 * beam.SPONGY_BONE * chest.bone)
    scene.extra += np.float32(2 * SOFT) * np.exp(-(((scene.u - _front_at(chest, scene.z) - 0.3) / 0.5) ** 2)) * (scene.z > 3)
    for side in SIDES:  # the shoulder blades' edges, seen from the side
        z = np.linspace(2, 13, 40)
        u = chest.half_depth - 1.0 + 0.9 * side + 0.12 * (z - 2)
        scene.flat_tube(u, z, 0.3, 0.7 * beam.CORTICAL_BONE * chest.bone)


def _add_vessels(chest: Chest, scene: Scene, rng: np.random.Generator) -> None:
    origin = np.array([1.0, 0.46 * chest.height])
    angles = np.radians(np.linspace(-105, 120, 60))
    for side in SIDES:
        steps = np.linspace(0.5, 18, 50)
        u = origin[0] + side * np.cos(angles)[:, None] * steps
        z = origin[1] + np.sin(angles)[:, None] * steps
        inside = (u < _back_at(chest, z) + 2.0) & (u > _front_at(chest, z) + 0.5) & (z > 2.5)
        inside &= z < _dome(chest, u, 0.0, max(chest.lift)) + 0.5
        vessel_tree(scene, rng, origin, side, (angles, way_inside(inside, steps)), 7, 0.8 * chest.vessels)


def _add_shadow(chest: Chest, scene: Scene, finding: Finding) -> None:
    """Add a finding as a simple body. Those that only change the anatomy are in it already; a plate of atelectasis is not seen."""
    severity, label = finding.severity, finding.label
    if label in ("nodule", "calcified granuloma", "alveolar pattern"):
        place = 0.0, float(finding.rng().uniform(-5, 3)), chest.height * (0.14 + 0.72 * finding.level)
    match label:
        case "nodule":
            scene.extra += np.float32(SOFT) * scene.ellipsoid(place, (1.0 + 0.8 * severity,) * 3)
        case "calcified granuloma":
            scene.extra += np.float32(beam.CALCIUM) * scene.ellipsoid(place, (0.4, 0.4, 0.4))
        case "alveolar pattern":
            cloud = scene.ellipsoid(place, (4.0 + 3 * severity, 3.6, 3.4))
            cloud += 0.8 * scene.clouds(finding.rng(), 1.6, 2)
            scene.tissue += np.where(cloud > 2, 0.8 * cloud, 0)
        case "interstitial pattern":
            net = np.exp(-((scene.clouds(finding.rng(), 1.4, 1) / 0.22) ** 2))
            lungs = np.minimum(_cavity(chest, scene) / 15, 1) * (scene.z < chest.height + 3)
            scene.extra += np.float32(SOFT * (1 + severity)) * net * lungs
        case "pleural effusion" | "costophrenic angle blunting":  # fluid gathers behind first, where the diaphragm is lowest
            rise = 4 + 7 * severity if label == "pleural effusion" else 1.5 + 1.5 * severity
            level = chest.height + 1.25 * chest.dome_drop - rise * np.clip((scene.u + 4) / 12, 0.15, 1.2) ** 1.5
            scene.tissue += (10 if finding.side else 18) * (1 - np.exp(-np.maximum(scene.z - level, 0)))
        case "hiatal hernia":
            centre, tall = (0.0, -3.5, chest.height - 2.4), 2.4 + 1.2 * severity
            scene.tissue += scene.ellipsoid(centre, (3.4, tall + 0.4, tall + 0.4))
            air = scene.ellipsoid(centre, (3.0, tall, tall)) * (scene.z < centre[2])
            scene.extra -= np.float32(0.8 * beam.WATER) * air
        case "pacemaker":
            scene.extra += np.float32(1.5) * (scene.ellipsoid((0, chest.half_depth - 1, 6), (2.0, 0.5, 2.2)) > 1)
            t = np.linspace(0, 1, 80)
            lead = -chest.half_depth + 1 + 6 * np.sin(np.pi * t) ** 0.8
            scene.flat_tube(lead, 4 + (chest.height - 6) * t, 0.1, 0.5 * beam.METAL)
        case "sternotomy":
            for z in np.linspace(4.5, 15, 6):
                u = float(_front_at(chest, z)) - 0.5 + np.linspace(-0.6, 0.6, 12)
                scene.flat_tube(u, z + 0.25 * np.sin(np.linspace(0, 6, 12)), 0.1, beam.METAL)
