"""Real DICOM files: pydicom's own, and those of pydicom-data, where a chest film lies in several compressions."""

import io
from contextlib import suppress
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import get_frame

from thorax.images import dicom
from thorax.images.formats import UnusableImage

data_store = pytest.importorskip("data_store", reason="pydicom-data is not installed")
FOLDERS = (Path(data_store.__file__).parent / "data", Path(pydicom.__file__).parent / "data" / "test_files")
LIMIT = 10**7


def content(name: str) -> bytes:
    return next(folder / name for folder in FOLDERS if (folder / name).is_file()).read_bytes()


@pytest.fixture
def every_kind(monkeypatch):
    """Let files of other modalities through, for their compressions."""
    monkeypatch.setattr(dicom, "RADIOGRAPHS", (*dicom.RADIOGRAPHS, "CT", "MR", "NM", "US"))


def decoded(name: str, window: str = "lut") -> np.ndarray:
    return dicom.decode(content(name), LIMIT, window)[0]


@pytest.mark.parametrize(("compressed", "plain"), [("RG1_J2KR.dcm", "RG1_UNCR.dcm"), ("RG3_J2KR.dcm", "RG3_UNCR.dcm")])
def test_a_film_is_the_same_from_lossless_jpeg_2000(compressed, plain):
    np.testing.assert_array_equal(decoded(compressed), decoded(plain))


def test_a_film_is_nearly_the_same_from_lossy_jpeg_2000():
    np.testing.assert_allclose(decoded("RG1_J2KI.dcm", "none"), decoded("RG1_UNCI.dcm", "none"), atol=1)


def test_the_chest_film_has_bright_bones_and_its_window():
    stored = pydicom.dcmread(FOLDERS[0] / "RG1_UNCR.dcm").pixel_array.astype(float)
    np.testing.assert_array_equal(decoded("RG1_UNCR.dcm", "none"), 32767 - stored)  # 15 bits, MONOCHROME1
    expected = 65535 * (1 - np.clip((stored - 14999.5) / 29999 + 0.5, 0, 1))
    np.testing.assert_allclose(decoded("RG1_UNCR.dcm"), expected, atol=0.51)
    assert not dicom.decode(content("RG1_UNCR.dcm"), LIMIT, "lut")[1].collimated  # its edges are no picture's


@pytest.mark.usefixtures("every_kind")
@pytest.mark.parametrize(
    "name",
    ["RLE.dcm", "jpeg_ls_lossless.dcm", "jp2klossless.dcm", "bigendian.dcm", "expb.dcm", "implicit.dcm", "padded.dcm"],
)
def test_one_image_is_the_same_in_all_forms(name):
    np.testing.assert_array_equal(decoded(f"MR_small_{name}"), decoded("MR_small.dcm"))


@pytest.mark.usefixtures("every_kind")
@pytest.mark.parametrize("name", ["JPEG-LL.dcm", "bad_sequence.dcm", "JPGLosslessP14SV1_1s_1f_8b.dcm"])
def test_lossless_jpeg_is_that_of_another_decoder(name):
    stored = pydicom.dcmread(io.BytesIO(content(name)))
    theirs = imagecodecs.jpegsof3_decode(get_frame(stored.PixelData, 0, number_of_frames=1)).astype(int)
    theirs += 2**15 * stored.PixelRepresentation
    np.testing.assert_array_equal(decoded(name, "none"), theirs - theirs.min() + decoded(name, "none").min())


@pytest.mark.usefixtures("every_kind")
def test_signs_of_jpeg_2000():
    np.testing.assert_array_equal(decoded("693_J2KR.dcm"), decoded("693_UNCR.dcm"))
    assert (
        decoded("J2K_pixelrep_mismatch.dcm", "none")[0, 0] == 2**12 - 2000
    )  # signed by its header only; as in pydicom's tests


@pytest.mark.usefixtures("every_kind")
def test_lossy_pixels_are_nearly_those_without_compression():
    assert decoded("JPGExtended.dcm").max() == 264
    for kind in ("08", "16"):
        assert decoded(f"JPEGLSNearLossless_{kind}.dcm").std() > 0
    assert decoded("image_dfl.dcm").shape == (512, 512)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("CT_small.dcm", "not_radiograph"),
        ("MR_small.dcm", "not_radiograph"),
        ("rtplan.dcm", "not_radiograph"),
        ("test-SR.dcm", "not_radiograph"),
        ("liver.dcm", "not_radiograph"),
        ("SC_rgb.dcm", "colour"),
        ("SC_rgb_jpeg.dcm", "colour"),
        ("OT-PAL-8-face.dcm", "colour"),
        ("SC_rgb_2frame.dcm", "multi_frame"),
        ("no_meta.dcm", "truncated"),
    ],
)
def test_other_kinds_are_refused(name, reason):
    with pytest.raises(UnusableImage) as caught:
        decoded(name)
    assert caught.value.reason == reason


def test_every_file_is_decoded_or_refused():
    names = {path.name for folder in FOLDERS for path in folder.glob("*.dcm")}
    assert len(names) > 100
    for name in sorted(name for name in names if len(content(name)) < 10**6):
        with suppress(UnusableImage):
            image, header = dicom.decode(content(name), LIMIT, "lut")
            assert (image.shape, image.dtype) == ((header.rows, header.columns), np.uint16)
