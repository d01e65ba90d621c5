"""Pure functions on images against hand-computed values."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thorax import images

ROWS, COLUMNS = 30, 40
LIMIT = 10_000


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image)[1].tobytes()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def handmade_png(rows: int, columns: int, depth: int, colour: int, samples: bytes, between: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", columns, rows, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + between + chunk(b"IDAT", zlib.compress(samples)) + chunk(b"IEND", b"")
    return images.PNG_SIGNATURE + body


@pytest.fixture
def ramp() -> np.ndarray:
    """12 bits in 16, noisy enough that the PNG has some bytes."""
    return np.random.default_rng(0).integers(0, 4096, (ROWS, COLUMNS)).astype(np.uint16)


def reason(data: bytes, max_pixels: int = LIMIT) -> str:
    with pytest.raises(images.UnusableImage) as caught:
        images.decode(data, max_pixels)
    return caught.value.reason


def test_sixteen_bits_survive_and_the_header_is_read(ramp):
    decoded, header = images.decode(png(ramp), LIMIT)
    np.testing.assert_array_equal(decoded, ramp)
    assert decoded.dtype == np.uint16
    assert header == images.Header(ROWS, COLUMNS, 1, 16)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_as_stored(ramp, channels):
    colour = np.repeat((ramp >> 4).astype(np.uint8)[:, :, None], channels, axis=2).squeeze()
    assert images.decode(png(colour), LIMIT)[1] == images.Header(ROWS, COLUMNS, channels, 8)
    if channels < 4:
        assert images.decode(jpeg(colour), LIMIT)[1] == images.Header(ROWS, COLUMNS, channels, 8)


def test_rare_png_types():
    """Grey with alpha counts two channels although OpenCV expands it; a palette counts as colours; one bit as eight."""
    samples = b"".join(b"\0" + bytes(range(20)) for _ in range(5))
    with_alpha, header = images.decode(handmade_png(5, 10, 8, 4, samples), LIMIT)
    assert header == images.Header(5, 10, 2, 8)
    np.testing.assert_array_equal(images.to_grey(with_alpha)[0], np.arange(0, 20, 2))
    palette = chunk(b"PLTE", bytes(range(256)) * 3)
    assert images.decode(handmade_png(5, 20, 8, 3, samples, palette), LIMIT)[1] == images.Header(5, 20, 3, 8)
    bits, header = images.decode(handmade_png(2, 8, 1, 0, b"\0\xaa\0\x55"), LIMIT)
    assert header == images.Header(2, 8, 1, 8)
    assert bits.tolist() == [[255, 0] * 4, [0, 255] * 4]


@pytest.mark.parametrize("share", [0.001, 0.005, 0.01, 0.02, 0.3, 0.6, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("encode", [png, jpeg])
def test_cut_short_at_any_point(ramp, encode, share):
    data = encode((ramp >> 4).astype(np.uint8))
    assert reason(data[: max(1, int(share * len(data)))]) == "truncated"


@pytest.mark.parametrize("encode", [png, jpeg])
@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_cut_is_noticed_even_under_a_lenient_decoder(ramp, monkeypatch, encode, share):
    data = encode((ramp >> 4).astype(np.uint8))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.zeros((ROWS, COLUMNS), np.uint8))
    assert images.decode(data, LIMIT)[0].max() == 0
    assert reason(data[: int(share * len(data))]) == "truncated"


@pytest.mark.parametrize("missing", [1, 4, 8, 11, 12, 13])
def test_png_without_its_end(ramp, missing):
    assert reason(png(ramp)[:-missing]) == "truncated"


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_a_flipped_byte_of_the_pixels_is_noticed(place, flip):
    data = bytearray(png(np.random.default_rng(1).integers(0, 4096, (ROWS, COLUMNS)).astype(np.uint16)))
    first, last = data.index(b"IDAT") + 4, data.index(b"IEND") - 8
    data[first + int(place * (last - first))] ^= flip
    assert reason(bytes(data)) == "truncated"


def test_too_few_rows_behind_a_whole_file_structure():
    assert reason(handmade_png(50, 10, 8, 0, (b"\0" + bytes(10)) * 20)) == "truncated"


def test_a_damaged_header_is_not_believed(ramp):
    data = bytearray(png(ramp))
    data[16] = 0x7F  # the width's highest byte: two thousand million columns
    assert reason(bytes(data)) == "truncated"


def test_absurd_size_is_never_decoded(monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    huge = handmade_png(100_000, 100_000, 8, 0, bytes(100))
    with pytest.raises(images.UnusableImage) as caught:
        images.decode(huge, 2**40)
    assert caught.value.reason == "too_large"
    assert caught.value.header == images.Header(100_000, 100_000, 1, 8)
    jpeg_header = b"\xff\xd8\xff\xe0\0\x04ab\xff\xc2\0\x0b\x08" + struct.pack(">HHB", 65000, 64000, 1)
    assert reason(jpeg_header) == "too_large"


def test_the_limit_itself_is_allowed(ramp):
    images.decode(png(ramp), ROWS * COLUMNS)
    assert reason(png(ramp), ROWS * COLUMNS - 1) == "too_large"


def test_other_content():
    assert reason(b"") == "empty"
    assert reason(b"image_id,path\n") == "not_image"
    assert reason(b"II*\0" + bytes(100)) == "not_image"  # TIFF
    assert reason(handmade_png(0, 10, 8, 0, b"")) == "not_image"


def test_jpeg_with_bytes_behind_its_end(ramp):
    plain = jpeg((ramp >> 4).astype(np.uint8))
    np.testing.assert_array_equal(images.decode(plain + bytes(7), LIMIT)[0], images.decode(plain, LIMIT)[0])


def test_grey_is_luminance_and_equal_channels_are_exact():
    pixel = np.array([[[10, 20, 200, 0]]], np.uint8)  # blue, green, red, transparent
    expected = round(0.114 * 10 + 0.587 * 20 + 0.299 * 200)
    assert images.to_grey(pixel)[0, 0] == images.to_grey(pixel[..., :3].copy())[0, 0] == expected
    for dtype in (np.uint8, np.uint16):
        values = np.arange(0, np.iinfo(dtype).max + 1).astype(dtype)[None]
        np.testing.assert_array_equal(images.to_grey(np.repeat(values[:, :, None], 3, axis=2)), values)


def test_resize_averages_areas_when_shrinking_and_both_ways_when_mixed():
    image = np.array([[0, 10, 100, 200], [20, 30, 100, 200]], np.uint16)
    np.testing.assert_array_equal(images.resize(image, 1, 2), [[15, 150]])
    mixed = images.resize(image, 4, 2)  # twice as high, half as wide: the columns must be true averages
    np.testing.assert_array_equal(mixed, [[5, 150], [10, 150], [20, 150], [25, 150]])
    assert images.resize(image, 2, 4) is image


def test_normalize_rounds_to_the_nearest():
    image = np.array([[100, 101, 150, 355]], np.uint16)
    np.testing.assert_array_equal(images.normalize(image, 100, 355), [[0, 1, 50, 255]])
    image = np.array([[7, 8, 9]], np.uint16)
    np.testing.assert_array_equal(images.normalize(image, 7, 9), [[0, 128, 255]])


@given(st.integers(0, 65534), st.integers(1, 65535))
def test_normalize_spans_the_range_and_keeps_the_order(low, span):
    high = min(low + span, 65535)
    values = np.unique(np.linspace(low, high, 300).round().astype(np.uint16))
    result = images.normalize(values[None], low, high)[0]
    assert (result[0], result[-1]) == (0, 255)
    assert (np.diff(result.astype(int)) >= 0).all()
    np.testing.assert_allclose(result, (values.astype(float) - low) * 255 / (high - low), atol=0.5)


def test_crop_takes_the_pixels_of_the_box():
    image = np.arange(16, dtype=np.uint8).reshape(4, 4)
    np.testing.assert_array_equal(images.crop(image, (0.25, 0.5, 0.75, 1.0)), [[9, 10], [13, 14]])
    assert images.crop(image, (0.999, 0.0, 1.0, 0.01)).shape == (1, 1)


def test_restore_aspect():
    square = np.zeros((512, 512), np.uint8)
    assert images.restore_aspect(square, 2000, 1000).shape == (512, 256)
    assert images.restore_aspect(square, 1500, 2000).shape == (384, 512)
    assert images.restore_aspect(square, 1, 10_000).shape == (1, 512)
