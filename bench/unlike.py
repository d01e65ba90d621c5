"""Count how often images are flagged as unlike the training images: python -m bench unlike [--archive nih --root FOLDER ...]

The PA images of half of the patients are the training images. Counted are flags of the other patients' images by view, of the
same turned, upside down and inverted, of noise, and of parts of colour photographs whose colours are not looked at. Without a
root, the radiographs are phantoms. With --pairs, a U-Net that learnt from these masks crops the images, as in a bundle whose networks see crops.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import matplotlib
import numpy as np
import pandas as pd
import sklearn.datasets

from thorax import archives, backend, config, phantom
from thorax.bundles import flags, reference
from thorax.images import crops, decoding, ingest, segmenter
from thorax.images.formats import Header, UnusableImage
from thorax.report.cells import markdown
from thorax.storage import store

VIEW = "PA"
MOST = 300  # images of each kind
LIMIT = 50_000_000  # pixels


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench unlike", description=__doc__)
    parser.add_argument("--archive", choices=("padchest", "nih", "chexpert"), default="padchest", help="form of the roots")
    parser.add_argument("--root", type=Path, nargs="+", default=[], help="folders of radiographs (default: phantoms)")
    parser.add_argument("--pairs", type=Path, help="folder of radiographs with lung masks")
    parser.add_argument("--size", type=int, default=224, help="pixels on a side")
    parser.add_argument("--patients", type=int, default=300, help="of phantoms")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="thorax-bench-") as folder:
        roots = given.root or [Path(folder, "phantom")]
        if not given.root:
            phantom.make_archive(config.Phantom(patients=given.patients, height=400, seed=5), roots[0])
        rows = pd.concat([_listed(given.archive, root, Path(folder)) for root in roots]).drop_duplicates("image_id")
        print(report(rows, given.size, given.pairs))


def report(rows: pd.DataFrame, size: int, pairs: Path | None) -> str:
    """The share of images with each flag, by kind of image. `rows` has file, patient_id and view."""
    patients = np.random.default_rng(0).permutation(rows["patient_id"].unique())
    taught = rows["patient_id"].isin(patients[: len(patients) // 2])
    see = _cropper(pairs, size)
    train, _ = see(_read(rows[taught & (rows["view"] == VIEW)], None))
    known = reference.summarise(train)
    lines = []
    for name, images in _kinds(rows[~taught]):
        pixels, credible = see(images)
        lungs = [SimpleNamespace(credible=one) for one in credible]
        found = flags.of_images([SimpleNamespace(in_colour=False, header=Header())] * len(pixels), lungs, pixels, known, [VIEW])
        shares = [
            np.mean([flag in one for one in found]) for flag in flags.ALL if flag not in (flags.COLOURED, flags.BURNED_IN)
        ]
        lines.append(
            [name, f"{len(pixels):,}", *(f"{share:.1%}" for share in [np.mean([bool(one) for one in found]), *shares])]
        )
    shown = [flag for flag in flags.ALL if flag not in (flags.COLOURED, flags.BURNED_IN)]
    return markdown(pd.DataFrame(lines, columns=["images", "number", "any", *shown])) + f"\n{len(train):,} training images."


def _listed(archive: str, root: Path, folder: Path) -> pd.DataFrame:
    dataset = config.Dataset(archive=archive, root=str(root))
    archives.make_catalog(dataset, folder / "catalog.parquet", folder / "boxes.parquet")
    rows = store.read_table(folder / "catalog.parquet", ["image_id", "path", "patient_id", "view"])
    rows["file"] = [root / path for path in rows["path"]]
    return rows[[file.exists() for file in rows["file"]]]


def _read(rows: pd.DataFrame, most: int | None) -> np.ndarray:
    """Up to `most` of the images that can be read, evenly spaced, as ingested."""
    packed = []
    for file in rows["file"].iloc[:: max(1, len(rows) // (most or len(rows)))]:
        try:
            packed.append(ingest.pack(ingest.decode(file.read_bytes(), LIMIT, "lut")[0])[0])
        except UnusableImage:
            continue
    return np.stack(packed)


def _kinds(rows: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    for view, of_view in rows.groupby("view"):
        images = _read(of_view, MOST)
        yield str(view), images
        if view == VIEW:
            yield f"{view}, turned by 90 degrees", np.ascontiguousarray(np.rot90(images, axes=(1, 2)))
            yield f"{view}, upside down", images[:, ::-1].copy()
            yield f"{view}, inverted", 255 - images
    rng = np.random.default_rng(0)
    yield "noise, blurred by 0 to 64 pixels", np.stack([_noise(rng, blur) for blur in (0, 1, 4, 16, 64) for _ in range(20)])
    pictures = [
        *Path(sklearn.datasets.__file__).parent.glob("images/*.jpg"),
        Path(matplotlib.get_data_path(), "sample_data/grace_hopper.jpg"),
    ]
    yield (
        "parts of three photographs, in grey",
        np.stack([_part(rng, cv2.imread(str(path))) for path in pictures for _ in range(30)]),
    )


def _noise(rng: np.random.Generator, blur: int) -> np.ndarray:
    noise = rng.normal(size=(ingest.SIDE, ingest.SIDE)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), blur) if blur else noise
    return cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX).round().astype(np.uint8)


def _part(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    side = rng.integers(min(picture.shape[:2]) // 3, min(picture.shape[:2]))
    top, left = (rng.integers(0, length - side + 1) for length in picture.shape[:2])
    part = ingest.pack(np.ascontiguousarray(picture[top : top + side, left : left + side, ::-1]))[0]
    assert part is not None  # no photograph has a single value
    return part


def _cropper(pairs: Path | None, size: int):
    """From ingested images to what networks see, and whether lungs were found."""
    settings = config.ImageSet(dataset="any", size=size)
    network = None
    if pairs:
        backend.prepare(0, backend.cores())
        unet = config.Segmenter(pairs=str(pairs), epochs=40)
        network, _ = segmenter.fit(unet, segmenter.read_mask_pairs(pairs))

    def see(images: np.ndarray) -> tuple[np.ndarray, list[bool]]:
        lungs = [segmenter.lungs_in(mask) for mask in segmenter.predict_masks(network, images)] if network else None
        boxes = [one.box for one in lungs] if lungs else [decoding.WHOLE] * len(images)
        seen = [crops.training_image(settings, image, box, 0, 255) for image, box in zip(images, boxes, strict=True)]
        return np.stack(seen), [one.credible for one in lungs] if lungs else [True] * len(images)

    return see
