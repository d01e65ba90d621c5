"""A small real bundle for predictions: two tiny networks, thresholds, scaling, a reference, perhaps a segmenter."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.unit.bundles.small import CLASSES, SIZE, network, values
from thorax import config
from thorax.bundles import networks, pack, reference
from thorax.bundles.contents import CARD, DATA_SHEET, Contents
from thorax.images import decoding, ingest, segmenter

LIMITS = (0.3, 0.5, 0.7)
SCALING = {CLASSES[0]: (0.5, -1.0), CLASSES[1]: (2.0, 0.0)}


def radiograph(seed: int, rows: int = 120, columns: int = 100) -> np.ndarray:
    """A made-up frontal radiograph, (rows, columns) uint8: two dark, noisy lungs beside a bright middle."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : columns * 1j]
    image = np.full((rows, columns), 170.0)
    for centre in (0.28, 0.72):
        wide, high = rng.uniform(0.13, 0.17), rng.uniform(0.26, 0.34)
        image -= 110 * np.exp(-((((x - centre) / wide) ** 2 + ((y - 0.45) / high) ** 2) ** 2))
    image += 40 * np.exp(-(((x - 0.5) / 0.08) ** 2)) + rng.normal(0, 4, image.shape)
    return image.clip(0, 255).astype(np.uint8)


def write_dicom(path: Path, image: np.ndarray, **header: str) -> None:
    """Write a DICOM file with an image of 8 bits; `header` has further elements."""
    from pydicom import Dataset, dcmwrite, uid

    file = Dataset()
    file.file_meta = Dataset()
    file.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    file.SOPClassUID, file.SOPInstanceUID = uid.DigitalXRayImageStorageForPresentation, uid.generate_uid()
    file.file_meta.MediaStorageSOPClassUID, file.file_meta.MediaStorageSOPInstanceUID = file.SOPClassUID, file.SOPInstanceUID
    for name, value in {"Modality": "DX", **header}.items():
        setattr(file, name, value)
    file.Rows, file.Columns = image.shape
    file.SamplesPerPixel, file.PhotometricInterpretation, file.PixelRepresentation = 1, "MONOCHROME2", 0
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelData = 8, 8, 7, image.tobytes()
    dcmwrite(path, file, enforce_file_format=True)


def seen(image: np.ndarray) -> np.ndarray:
    """What a network sees of a whole image, (32, 32) uint8."""
    packed, _, _ = ingest.pack(image)
    return decoding.resize(packed, SIZE, SIZE)


def write(
    path: Path, crop: str = "none", members: tuple[str, ...] = ("one", "two"), views: int = 1, **changes: Any
) -> dict[str, Any]:
    """Write a bundle; return its networks by name, the segmenter among them. `changes` are of the contents."""
    nets = {name: network(seed, views)[0] for seed, name in enumerate(members)}
    for model in nets.values():
        logits = model.get_layer("logits")
        logits.set_weights([40 * logits.get_weights()[0], *logits.get_weights()[1:]])  # so that images and networks differ
    stored = {f"networks/{name}": model for name, model in nets.items()}
    if crop == "lungs":
        nets["segmenter"] = stored["segmenter"] = segmenter.build_unet(config.Segmenter(pairs=".", size=32, filters=[4, 8]))
    files = {CARD: b"card\n", DATA_SHEET: b"sheet\n"}
    for name, model in stored.items():
        files[f"{name}.json"] = networks.describe(model).encode()
        files[f"{name}.weights"] = networks.pack([weight.numpy() for weight in model.weights], "float32")
    exact = {"fraction_bits": 23, "images": 0, "difference": 0.0, "precision": "float32"}
    said = values(
        model="CTP" if len(members) > 1 else members[0],
        networks={name: {**exact, "backbone": "cnn", "seed": 0} for name in members},
        image_set={"dataset": "d", "size": SIZE, "crop": crop} | ({"segmenter": "s"} if crop == "lungs" else {}),
        segmenter={**exact, "size": 32} if crop == "lungs" else None,
        ensemble={"rule": "ctp", "members": members} if len(members) > 1 else None,
        rule="f1", thresholds={"f1": dict(zip(CLASSES, LIMITS, strict=True))}, scaling=SCALING,
        reference=reference.summarise(np.stack([seen(radiograph(seed)) for seed in range(100, 200)])),
    )  # fmt: skip
    pack.write(Contents.model_validate(said | changes), files, path)
    return nets
