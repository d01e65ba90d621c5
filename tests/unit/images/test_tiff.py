"""TIFF files: exact values upright, and a reason for what cannot be read."""

import io

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from thorax.images import ingest, tiff
from thorax.images.formats import UnusableImage

LIMIT = 10_000
GREY = np.random.default_rng(0).integers(0, 256, (30, 40)).astype(np.uint8)
DEEP = np.random.default_rng(1).integers(0, 4096, (30, 40)).astype(np.uint16)
COLOUR = np.random.default_rng(2).integers(0, 256, (30, 40, 3)).astype(np.uint8)


def written(image: np.ndarray | Image.Image, **options) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, "TIFF", **options)
    return file.getvalue()


def reason(data: bytes, max_pixels: int = LIMIT) -> str:
    with pytest.raises(UnusableImage) as caught:
        tiff.decode(data, max_pixels)
    return caught.value.reason


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("image", [GREY, DEEP, COLOUR], ids=["grey", "deep", "colour"])
def test_lossless_values_are_exact_and_the_header_is_read(image, compression):
    decoded, header = tiff.decode(written(image, compression=compression), LIMIT)
    np.testing.assert_array_equal(decoded, image)
    assert (header.rows, header.columns, header.channels, header.bits) == (
        30, 40, image.shape[2] if image.ndim == 3 else 1, 8 * image.itemsize,
    )  # fmt: skip


def test_white_stored_as_zero_is_inverted():
    stored = imagecodecs.tiff_encode(DEEP, photometric="miniswhite")
    np.testing.assert_array_equal(tiff.decode(stored, LIMIT)[0], 65535 - DEEP)


def test_an_orientation_is_applied():
    decoded, header = tiff.decode(written(GREY, tiffinfo={274: 6}), LIMIT)
    np.testing.assert_array_equal(decoded, np.rot90(GREY, -1))
    assert (header.rows, header.columns) == (40, 30)


def test_what_is_refused_says_why():
    assert reason(written(GREY), 30 * 40 - 1) == "too_large"
    assert reason(written(GREY, save_all=True, append_images=[Image.fromarray(GREY)])) == "multi_frame"
    assert reason(written(Image.fromarray(GREY).convert("P"))) == "unsupported"
    assert reason(written(Image.fromarray(GREY).convert("1"))) == "unsupported"
    assert reason(written(GREY.astype(np.float32))) == "unsupported"
    assert reason(b"II*\0") == reason(b"II*\0" + bytes(100)) == reason(b"MM\0*\0\0\0\x08") == "truncated"


@given(cut=st.integers(4, len(written(GREY, compression="tiff_lzw")) - 1))
def test_a_cut_file_never_gives_a_picture(cut):
    assert reason(written(GREY, compression="tiff_lzw")[:cut]) == "truncated"


def test_ingest_reads_it_as_the_same_png():
    grey, header, from_dicom = ingest.decode(written(DEEP), LIMIT, "lut")
    assert (from_dicom, header.bits) == (False, 16)
    np.testing.assert_array_equal(ingest.pack(grey)[0], ingest.pack(DEEP)[0])


@given(st.data())
def test_no_damage_ends_in_another_error(data):
    whole = bytearray(
        written(GREY, compression=data.draw(st.sampled_from([None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])))
    )
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
        whole[place] = data.draw(st.integers(0, 255))
    try:
        image, header = tiff.decode(bytes(whole), LIMIT)
    except UnusableImage:
        return
    assert image.shape[:2] == (header.rows, header.columns)
