"""The X-ray side of the phantom: attenuation summed along rays, then exposure, scatter, noise and the film's curve.

Lengths are in cm. A scene lives in the plane of projection: u runs to the right of the picture, z downwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

# Attenuation per cm at about 70 keV, the mean of a 120 kVp beam behind a patient (NIST XCOM, rounded).
WATER = 0.185
FAT = 0.165
CORTICAL_BONE = 0.36  # bone, calcium and metal are what they add to the water in their place
SPONGY_BONE = 0.085
CALCIUM = 0.42
METAL = 6.0

Plane = Literal["frontal", "lateral"]


@dataclass(frozen=True)
class Pose:
    """The patient's position in front of the detector, and the part of the plane that the detector sees."""

    plane: Plane
    yaw: float  # rotation about the patient's long axis, radians
    roll: float  # rotation in the plane of the picture, radians
    centre: tuple[float, float]  # (u, z) in the middle of the picture, cm
    pixel: float  # cm
    shape: tuple[int, int]  # rows, columns

    def project(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """u of points at x (the patient's left) and y (anterior); a lateral patient looks to the picture's left."""
        sine, cosine = np.float32(np.sin(self.yaw)), np.float32(np.cos(self.yaw))
        return x * cosine + y * sine if self.plane == "frontal" else x * sine - y * cosine

    def u(self, x: float, y: float) -> float:
        """u of one point."""
        return float(self.project(np.array(x), np.array(y)))

    def matrix(self) -> np.ndarray:
        """The (2, 3) map from (u, z) in cm to (column, row)."""
        cosine, sine = np.cos(self.roll) / self.pixel, np.sin(self.roll) / self.pixel
        turn = np.array([[cosine, -sine], [sine, cosine]])
        middle = np.array([(self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2])
        return np.column_stack([turn, middle - turn @ np.array(self.centre)])


class Scene:
    """Attenuation on a regular grid that covers what the detector sees; bodies are added one by one."""

    COARSENESS = 1.5  # detector pixels per step of the grid

    def __init__(self, pose: Pose) -> None:
        self.pose = pose
        self.step = self.COARSENESS * pose.pixel
        rows, columns = pose.shape
        turn = abs(np.sin(pose.roll))
        half_u = pose.pixel * (columns + rows * turn) / 2 + 2 * self.step
        half_z = pose.pixel * (rows + columns * turn) / 2 + 2 * self.step
        self.origin = (pose.centre[0] - half_u, pose.centre[1] - half_z)
        self.shape = (int(2 * half_z / self.step) + 2, int(2 * half_u / self.step) + 2)
        self.u = (self.origin[0] + self.step * np.arange(self.shape[1], dtype=np.float32))[None, :]  # (1, columns)
        self.z = (self.origin[1] + self.step * np.arange(self.shape[0], dtype=np.float32))[:, None]  # (rows, 1)
        self.tissue = np.zeros(self.shape, np.float32)  # centimetres of water that takes the place of lung
        self.extra = np.zeros(self.shape, np.float32)  # attenuation that is added, whatever is there
        self._points: list[tuple[np.ndarray, ...]] = []

    def ellipsoid(self, centre: Sequence[float], radii: Sequence[float], tilt: float = 0.0) -> np.ndarray:
        """Path through an ellipsoid at (x, y, z) with radii along x, y, z, as (rows, columns) cm.

        The tilt is a rotation in the plane of projection, radians, clockwise as seen.
        """
        across, along = (radii[0], radii[1]) if self.pose.plane == "frontal" else (radii[1], radii[0])
        middle = self.pose.u(centre[0], centre[1]), float(centre[2])
        reach = (across, radii[2]) if not tilt else (max(across, radii[2]),) * 2
        window = []  # the columns and rows of the grid that it lies in
        for axis, size in enumerate(self.shape[::-1]):
            first = int((middle[axis] - reach[axis] - self.origin[axis]) / self.step)
            last = int((middle[axis] + reach[axis] - self.origin[axis]) / self.step) + 2
            window.append(slice(min(max(first, 0), size), min(max(last, 0), size)))
        columns, rows = window
        path = np.zeros(self.shape, np.float32)
        du, dz = self.u[:, columns] - np.float32(middle[0]), self.z[rows] - np.float32(middle[1])
        if tilt:
            cosine, sine = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
            du, dz = du * cosine + dz * sine, dz * cosine - du * sine
        square = 1 - (du / np.float32(across)) ** 2 - (dz / np.float32(radii[2])) ** 2
        path[rows, columns] = np.float32(2 * along) * np.sqrt(np.maximum(square, 0))
        return path

    def deposit(self, u: np.ndarray, z: np.ndarray, mass: np.ndarray) -> None:
        """Add points that each attenuate by mass (attenuation times cm2), each on the half-step of the grid that it falls on."""
        mass = np.broadcast_to(mass, u.shape)
        self._points.append(tuple(values.ravel().astype(np.float32, copy=False) for values in (u, z, mass)))

    def tube(
        self, path: np.ndarray, radius: np.ndarray | float, attenuation: float, shell: float | np.ndarray | None = None
    ) -> None:
        """Add a round tube along a line (n, 3) of points x, y, z, or along (k, n, 3) k lines at once.

        Its radius and the thickness of its wall (`shell`) are one for all, or one per point. Without a wall it is solid.
        """
        long = np.sqrt(np.sum(np.diff(path, axis=-2) ** 2, axis=-1)).sum(axis=-1).max()
        count = int(long / (0.75 * self.step)) + 2
        x, y, z = (_denser(path[..., axis], count) for axis in range(3))
        radius = _denser(np.broadcast_to(radius, path.shape[:-1]), count)
        u = self.pose.project(x, y)
        du, dz = np.gradient(u, axis=-1), np.gradient(z, axis=-1)
        across = np.sqrt(du**2 + dz**2) + np.float32(1e-6)
        length = np.sqrt(np.gradient(x, axis=-1) ** 2 + np.gradient(y, axis=-1) ** 2 + dz**2)
        around = max(int(2.6 * radius.max() / self.step) + 1, 2)
        angle = (np.arange(around) + 0.5) * (np.pi / around)  # equal steps of the projected circle
        offset = np.cos(angle).astype(np.float32)
        radius = radius[..., None]
        if shell is None:
            mass = attenuation * np.pi * radius**2 * np.float32(np.sin(angle) ** 2 * 2 / around)
        else:
            shell = _denser(np.broadcast_to(shell, path.shape[:-1]), count)[..., None]
            mass = np.repeat(attenuation * 2 * np.pi / around * radius * shell, around, axis=-1)
        self.deposit(
            u[..., None] - (dz / across)[..., None] * radius * offset,
            z[..., None] + (du / across)[..., None] * radius * offset,
            mass * length[..., None],
        )

    def flat_tube(self, u: np.ndarray, z: np.ndarray, radius: np.ndarray | float, attenuation: float) -> None:
        """Add solid tubes that lie in the plane of projection: `tube` with u and z, (n,) or (k, n)."""
        u = np.asarray(u, np.float32)
        z = np.broadcast_to(z, u.shape).astype(np.float32)
        path = (u, 0 * u, z) if self.pose.plane == "frontal" else (0 * u, -u, z)
        turn = np.float32(np.cos(self.pose.yaw))
        self.tube(np.stack([path[0] / turn, path[1] / turn, path[2]], axis=-1), radius, attenuation)

    def polygon(self, u: np.ndarray, z: np.ndarray, blur: float = 0.0) -> np.ndarray:
        """A filled polygon as (rows, columns) in [0, 1], its edge blurred by `blur` cm."""
        points = np.column_stack([(u - self.origin[0]) / self.step, (z - self.origin[1]) / self.step])
        filled = np.zeros(self.shape, np.uint8)
        cv2.fillPoly(filled, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
        soft = filled.astype(np.float32) / 255
        return cv2.GaussianBlur(soft, (0, 0), blur / self.step) if blur > 0.3 * self.step else soft

    def clouds(self, rng: np.random.Generator, cell: float, octaves: int = 3) -> np.ndarray:
        """Smooth random clouds of unit variance whose largest lumps measure about `cell` cm, fixed to the plane, not to the grid."""
        total, reach = np.zeros(self.shape, np.float32), 52.0
        for octave in range(octaves):
            size = cell / 2**octave
            count = int(np.ceil(2 * reach / size)) + 4
            values = rng.standard_normal((count, count), dtype=np.float32)
            if size < 2 * self.step:
                continue  # finer than the grid can show
            scale = size / self.step
            shift = [(-reach - origin) / self.step for origin in self.origin]
            matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float64)
            lumps = cv2.warpAffine(values, matrix, self.shape[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
            total += np.asarray(lumps, np.float32) / np.float32(1.6**octave)
        return total * np.float32(0.85)

    def points(self) -> np.ndarray:
        """The attenuation of all deposited points on the grid."""
        rows, columns = self.shape
        u, z, mass = (np.concatenate(values) for values in zip(*self._points, strict=True))
        column = ((u - self.origin[0]) * (2 / self.step) + 1).astype(np.int32)
        row = ((z - self.origin[1]) * (2 / self.step) + 1).astype(np.int32)
        inside = (column >= 0) & (column < 2 * columns) & (row >= 0) & (row < 2 * rows)
        index = np.where(inside, row * (2 * columns) + column, 4 * rows * columns)
        fine = np.bincount(index, mass, 4 * rows * columns + 1)[:-1]
        fine = fine.reshape(2 * rows, 2 * columns).astype(np.float32)
        total = cv2.resize(fine, (columns, rows), interpolation=cv2.INTER_AREA)
        return cv2.GaussianBlur(total * np.float32(4 / self.step**2), (0, 0), 0.7)

    def to_detector(self, values: np.ndarray) -> np.ndarray:
        """Resample a field of the grid to the detector's pixels."""
        grid = np.array([[self.step, 0, self.origin[0]], [0, self.step, self.origin[1]], [0, 0, 1]])
        matrix, size = self.pose.matrix() @ grid, self.pose.shape[::-1]
        return cv2.warpAffine(values, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _denser(values: np.ndarray, count: int) -> np.ndarray:
    """Resample the last axis to at least `count` evenly spaced points, linearly."""
    values = np.asarray(values, np.float32)
    old = values.shape[-1]
    if count <= old:
        return values
    place = np.linspace(0, old - 1, count)
    left = np.minimum(place.astype(np.intp), old - 2)
    share = (place - left).astype(np.float32)
    return values[..., left] * (1 - share) + values[..., left + 1] * share


@dataclass(frozen=True)
class Technique:
    """How the picture was exposed and developed."""

    bits: int  # of the stored values
    dark: float  # attenuation that is shown black
    bright: float  # attenuation that is shown white
    equalise: float  # share of the coarse contrast that processing takes away
    sharpen: float  # share of the fine contrast that processing adds
    gamma: float
    noise: float  # relative quantum noise where nothing attenuates
    scatter: float  # scattered over primary
    heel: tuple[float, float]  # change of the beam over the width and the height
    collimation: tuple[float, float, float, float] | None  # left, top, right, bottom as fractions
    shutter: bool  # unexposed borders are shown black instead of white
    marker: tuple[str, float, float] | None  # letter, column and row as fractions


def expose(attenuation: np.ndarray, technique: Technique, rng: np.random.Generator) -> np.ndarray:
    """Turn summed attenuation (rows, columns) float32 into a stored picture (rows, columns) uint16, MONOCHROME2: air is dark.

    The steps are Beer-Lambert, scatter, noise, logarithm, and the film's S-shaped curve with the marker's letter.
    """
    rows, columns = attenuation.shape
    intensity = np.exp(-attenuation)
    across = np.linspace(-0.5, 0.5, columns, dtype=np.float32)[None, :]
    down = np.linspace(-0.5, 0.5, rows, dtype=np.float32)[:, None]
    intensity *= (1 + technique.heel[0] * across) * (1 + technique.heel[1] * down)
    if technique.collimation is not None:
        left, top, right, bottom = technique.collimation
        sharp = np.full((rows, columns), 0.004, np.float32)
        sharp[round(top * rows) : round(bottom * rows), round(left * columns) : round(right * columns)] = 1
        open_field = cv2.GaussianBlur(sharp, (0, 0), 0.003 * rows)
        intensity *= open_field
    intensity += technique.scatter * _wide_blur(np.minimum(intensity, 0.35), 0.07 * rows)
    noise = rng.standard_normal(intensity.shape, dtype=np.float32)
    intensity += technique.noise * cv2.GaussianBlur(noise, (0, 0), 0.6) * np.sqrt(intensity)
    density = -np.log(np.maximum(intensity, 1e-4, out=intensity))
    middle, width = (technique.dark + technique.bright) / 2, technique.bright - technique.dark
    density -= technique.equalise * (_wide_blur(density, 0.09 * rows) - middle)
    density += technique.sharpen * (density - cv2.GaussianBlur(density, (0, 0), 0.0045 * rows))
    shown = (density - np.float32(middle)) * np.float32(2.2 / width)
    grey = np.float32(0.5) + np.float32(0.5 / np.tanh(1.5)) * np.tanh(shown, out=shown)
    np.clip(grey, 0, 1, out=grey)
    grey **= np.float32(technique.gamma)
    if technique.collimation is not None and technique.shutter:
        grey *= np.clip((open_field - 0.5) * 2, 0, 1)
    if technique.marker is not None:
        letter, column, row = technique.marker
        place, size, thick = (round(column * columns), round(row * rows)), rows / 560, max(round(rows / 260), 1)
        stamp = np.zeros_like(grey, np.uint8)
        cv2.putText(stamp, letter, place, cv2.FONT_HERSHEY_SIMPLEX, size, 255, thick, cv2.LINE_AA)
        np.maximum(grey, stamp.astype(np.float32) * np.float32(0.97 / 255), out=grey)
    white = 2**technique.bits - 1
    return np.clip(np.rint(grey * white), 0, white).astype(np.uint16)


def _wide_blur(values: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur with a large sigma (pixels), worked out on a small copy."""
    rows, columns = values.shape
    factor = max(int(sigma / 3), 1)
    small = cv2.resize(values, (max(columns // factor, 8), max(rows // factor, 8)), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / factor), (columns, rows), interpolation=cv2.INTER_LINEAR)
