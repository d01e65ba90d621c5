"""Pure functions on images against hand-computed values."""

import contextlib
import io
import re
import struct
import threading
import zlib
from collections.abc import Callable

import cv2
import imagecodecs
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from thorax.images import decoding, formats

ROWS, COLUMNS = 30, 40
LIMIT = 10_000


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image)[1].tobytes()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def handmade_png(
    rows: int, columns: int, depth: int, colour: int, samples: bytes, between: bytes = b"", interlaced: int = 0
) -> bytes:
    header = struct.pack(">IIBBBBB", columns, rows, depth, colour, 0, 0, interlaced)
    body = chunk(b"IHDR", header) + between + chunk(b"IDAT", zlib.compress(samples)) + chunk(b"IEND", b"")
    return formats.PNG_SIGNATURE + body


@pytest.fixture
def ramp() -> np.ndarray:
    """12 bits in 16, noisy enough that the PNG has some bytes."""
    return np.random.default_rng(0).integers(0, 4096, (ROWS, COLUMNS)).astype(np.uint16)


def reason(data: bytes, max_pixels: int = LIMIT) -> str:
    with pytest.raises(decoding.UnusableImage) as caught:
        decoding.decode(data, max_pixels)
    return caught.value.reason


def test_sixteen_bits_survive_and_the_header_is_read(ramp):
    decoded, header = decoding.decode(png(ramp), LIMIT)
    np.testing.assert_array_equal(decoded, ramp)
    assert decoded.dtype == np.uint16
    assert header == decoding.Header(ROWS, COLUMNS, 1, 16)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_as_stored(ramp, channels):
    colour = np.repeat((ramp >> 4).astype(np.uint8)[:, :, None], channels, axis=2).squeeze()
    assert decoding.decode(png(colour), LIMIT)[1] == decoding.Header(ROWS, COLUMNS, channels, 8)
    if channels < 4:
        assert decoding.decode(jpeg(colour), LIMIT)[1] == decoding.Header(ROWS, COLUMNS, channels, 8)


def test_rare_png_types():
    """A palette counts as colours, one bit as eight; alpha is ignored; interlaced rows come in their order."""
    samples = b"".join(b"\0" + bytes(range(20)) for _ in range(5))
    with_alpha, header = decoding.decode(handmade_png(5, 10, 8, 4, samples), LIMIT)
    assert header == decoding.Header(5, 10, 2, 8)
    np.testing.assert_array_equal(decoding.to_grey(with_alpha)[0], np.arange(0, 20, 2))
    palette = chunk(b"PLTE", bytes(range(256)) * 3)
    assert decoding.decode(handmade_png(5, 20, 8, 3, samples, palette), LIMIT)[1] == decoding.Header(5, 20, 3, 8)
    bits, header = decoding.decode(handmade_png(2, 8, 1, 0, b"\0\xaa\0\x55"), LIMIT)
    assert header == decoding.Header(2, 8, 1, 8)
    assert bits.tolist() == [[255, 0] * 4, [0, 255] * 4]
    stored, passes = np.arange(72, dtype=np.uint8).reshape(8, 9), b""
    for row, column, down, right in (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ):
        passes += b"".join(b"\0" + line.tobytes() for line in stored[row::down, column::right])
    np.testing.assert_array_equal(decoding.decode(handmade_png(8, 9, 8, 0, passes, interlaced=1), LIMIT)[0], stored)


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_kinds_of_jpeg_decode_as_pillow_does(mode, options):
    smooth = cv2.resize(np.random.default_rng(0).integers(0, 255, (5, 6, 3), np.uint8), (64, 48), interpolation=cv2.INTER_CUBIC)
    file = io.BytesIO()
    Image.fromarray(smooth).convert(mode).save(file, "JPEG", quality=90, subsampling=0, **options)
    decoded, header = decoding.decode(file.getvalue(), LIMIT)
    assert header == decoding.Header(48, 64, len(mode), 8)
    np.testing.assert_allclose(decoded.astype(int), np.asarray(Image.open(file).convert("RGB")).astype(int), atol=2)


@pytest.mark.parametrize("share", [0.001, 0.005, 0.01, 0.02, 0.3, 0.6, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("encode", [png, jpeg])
def test_cut_short_at_any_point(ramp, encode, share):
    data = encode((ramp >> 4).astype(np.uint8))
    assert reason(data[: max(1, int(share * len(data)))]) == "truncated"


@pytest.mark.parametrize("encode", [png, jpeg])
@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_cut_is_noticed_even_under_a_lenient_decoder(ramp, monkeypatch, encode, share):
    data = encode((ramp >> 4).astype(np.uint8))
    monkeypatch.setattr(imagecodecs, "png_decode", lambda *_: np.zeros((ROWS, COLUMNS), np.uint8))
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *_, **__: np.zeros((ROWS, COLUMNS, 1), np.uint8))
    assert decoding.decode(data, LIMIT)[0].max() == 0
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
    monkeypatch.setattr(imagecodecs, "png_decode", lambda *_: pytest.fail("decoded"))
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *_, **__: pytest.fail("decoded"))
    huge = handmade_png(100_000, 100_000, 8, 0, bytes(100))
    with pytest.raises(decoding.UnusableImage) as caught:
        decoding.decode(huge, 2**40)
    assert caught.value.reason == "too_large"
    assert caught.value.header == decoding.Header(100_000, 100_000, 1, 8)
    jpeg_header = b"\xff\xd8\xff\xe0\0\x04ab\xff\xc2\0\x0b\x08" + struct.pack(">HHB", 65000, 64000, 1)
    assert reason(jpeg_header) == "too_large"


def test_the_limit_itself_is_allowed(ramp):
    decoding.decode(png(ramp), ROWS * COLUMNS)
    assert reason(png(ramp), ROWS * COLUMNS - 1) == "too_large"


def test_other_content():
    assert reason(b"") == "empty"
    assert reason(b"image_id,path\n") == "not_image"
    assert reason(b"II*\0" + bytes(100)) == "not_image"  # TIFF
    assert reason(handmade_png(0, 10, 8, 0, b"")) == "not_image"


def picture() -> np.ndarray:
    """A smooth grey picture, of 300 x 260 pixels, whose JPEG has some thousand bytes."""
    coarse = np.random.default_rng(0).normal(0, 1, (30, 26)).astype(np.float32)
    smooth = cv2.resize(coarse, (260, 300), interpolation=cv2.INTER_CUBIC) + np.random.default_rng(1).normal(
        0, 0.03, (300, 260)
    )
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def pillow_jpeg(**options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture()).save(file, "JPEG", quality=90, **options)
    return file.getvalue()


JPEGS = {
    "baseline": pillow_jpeg(),
    "optimised": pillow_jpeg(optimize=True),
    "progressive": pillow_jpeg(progressive=True),
    "restarts": pillow_jpeg(restart_marker_rows=1),
}


def overwritten(data: bytes, first: float, last: float, random: bool = False) -> bytes:
    start, stop = int(first * len(data)), int(last * len(data))
    middle = np.random.default_rng(3).bytes(stop - start) if random else bytes(stop - start)
    return data[:start] + middle + data[stop:]


JPEG_DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "middle third zero": lambda data: overwritten(data, 1 / 3, 2 / 3),
    "middle third random": lambda data: overwritten(data, 1 / 3, 2 / 3, random=True),
    "tail zero": lambda data: overwritten(data, 0.8, 0.99),
    "cut, end marker added": lambda data: data[: len(data) // 2] + b"\xff\xd9",
    "cut late, end marker added": lambda data: data[: int(0.97 * len(data))] + b"\xff\xd9",
    "a hole": lambda data: data[: len(data) // 2] + data[len(data) // 2 + 300 :],
    "tail of fill bytes": lambda data: data[: len(data) // 2] + b"\xff" * (len(data) // 2 - 2) + b"\xff\xd9",
    "end marker lost": lambda data: data[:-2],
    "another file in the middle": lambda data: data[: len(data) // 2] + data,
    "a foreign marker": lambda data: data[: len(data) // 2] + b"\xff\x01junk" + data[len(data) // 2 :],
    "header of another height": lambda data: re.sub(
        rb"(\xff[\xc0\xc2]\0.\x08)..", b"\\g<1>\x02\0", data, count=1, flags=re.DOTALL
    ),
    "no quantisation table": lambda data: re.sub(rb"\xff\xdb\0\x43.{65}", b"", data, count=1, flags=re.DOTALL),
    "garbage between segments": lambda data: data.replace(b"\xff\xdb", b"abc\xff\xdb", 1),
}


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("damage", JPEG_DAMAGE)
def test_a_damaged_jpeg_is_noticed(kind, damage):
    decoding.decode(JPEGS[kind], 100_000)
    assert reason(JPEG_DAMAGE[damage](JPEGS[kind]), 200_000) == "truncated"


def test_lost_and_moved_restart_intervals_are_noticed():
    data = JPEGS["restarts"]
    at = [found.start() for found in re.finditer(rb"\xff[\xd0-\xd7]", data)]
    assert len(at) > 20
    for damaged in (
        data[: at[3]] + data[at[3] + 2 :],
        data[: at[3]] + data[at[4] :],
        data[: at[3]] + data[at[11] :],  # the numbers of the markers fit again
        data[: at[3]] + data[at[4] : at[5]] + data[at[3] : at[4]] + data[at[5] :],
    ):
        assert reason(damaged, 100_000) == "truncated"


def test_missing_scans_are_noticed():
    """libjpeg is content with the first scan of a progressive file: every pixel has a value, a blurred one."""
    data = JPEGS["progressive"]
    scans = [found.start() for found in re.finditer(b"\xff\xda", data)]
    assert len(scans) > 4
    for lost in range(1, len(scans)):
        ends = [*scans, len(data) - 2]
        assert reason(data[: scans[lost]] + data[ends[lost + 1] :], 100_000) == "truncated"
        assert reason(data[: scans[lost]] + b"\xff\xd9", 100_000) == "truncated"


def test_jpegs_that_are_not_read_are_no_damage():
    twelve_bits = re.sub(rb"(\xff\xc0\0.)\x08", b"\\g<1>\x0c", JPEGS["baseline"], count=1, flags=re.DOTALL)
    assert reason(twelve_bits, 100_000) == "not_image"
    hierarchical = JPEGS["baseline"].replace(b"\xff\xc0", b"\xff\xc5", 1)
    assert reason(hierarchical, 100_000) == "not_image"


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and content of a PNG's chunks."""
    position, found = 8, []
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        found.append((kind, data[position + 8 : position + 8 + length]))
        position += 12 + length
    return found


def damaged_pngs(depth: int) -> dict[str, bytes]:
    stored = picture() if depth == 8 else picture().astype(np.uint16) * 257
    samples = b"".join(b"\0" + row.tobytes() for row in (stored if depth == 8 else stored.astype(">u2")))
    packed, head = zlib.compress(samples), struct.pack(">IIBBBBB", 260, 300, depth, 0, 0, 0, 0)
    half = len(packed) // 2

    def made(*pixels: bytes, before: bytes = b"", end: bytes = chunk(b"IEND", b"")) -> bytes:
        return formats.PNG_SIGNATURE + chunk(b"IHDR", head) + before + b"".join(chunk(b"IDAT", part) for part in pixels) + end

    decoding.decode(made(packed, before=chunk(b"tEXt", b"a\0b")), LIMIT * 10)
    decoding.decode(made(packed[:half], packed[half:]), LIMIT * 10)
    text = chunk(b"tEXt", b"a\0b")
    return {
        "text's checksum": made(packed, before=text[:-1] + bytes([text[-1] ^ 1])),
        "end's checksum": made(packed, end=chunk(b"IEND", b"")[:-1] + b"\0"),
        "no end": made(packed, end=b""),
        "pixels' checksum": made(packed).replace(packed[-4:], bytes(4)),
        "cut, checksum repaired": made(packed[:half]),
        "last bytes cut, checksum repaired": made(packed[:-8]),
        "deflate's checksum cut": made(packed[:-4]),
        "deflate's checksum wrong": made(packed[:-4] + b"abcd"),
        "bytes after deflate's end": made(packed + b"abcd"),
        "zeros after deflate's end": made(packed + bytes(16)),
        "middle zero, checksum repaired": made(packed[:half] + bytes(200) + packed[half + 200 :]),
        "a chunk of pixels lost": made(packed[:1000], packed[2000:]),
        "pixels interrupted": formats.PNG_SIGNATURE
        + b"".join(
            chunk(*part) for part in ((b"IHDR", head), (b"IDAT", packed[:half]), (b"tEXt", b"a\0b"), (b"IDAT", packed[half:]), (b"IEND", b""))
        ),
        "no pixels": made(),
        "unknown critical chunk": made(packed, before=chunk(b"ABCD", b"x")),
        "a row too many": made(zlib.compress(samples + samples[: len(samples) // 300])),
        "a byte too many": made(zlib.compress(samples + b"\0")),
        "a row too few": made(zlib.compress(samples[: -len(samples) // 300])),
        "a byte too few": made(zlib.compress(samples[:-1])),
        "unknown filter": made(zlib.compress(b"\x07" + samples[1:])),
        "no palette": formats.PNG_SIGNATURE
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 260, 300, 8, 3, 0, 0, 0)) + chunk(b"IDAT", packed) + chunk(b"IEND", b""),
        "middle third zero": overwritten(made(packed), 1 / 3, 2 / 3),
    }  # fmt: skip


@pytest.mark.parametrize("depth", [8, 16])
def test_a_damaged_png_is_noticed(depth, capfd):
    found = {name: reason(data, LIMIT * 10) for name, data in damaged_pngs(depth).items()}
    assert set(found.values()) == {"truncated"}, found
    assert capfd.readouterr().err == ""  # what the decoder says is taken as damage, and is not only printed


def test_threads_do_not_mix_up_what_the_decoder_says():
    good, bad = png(picture()), damaged_pngs(8)["a byte too many"]
    found: dict[int, list[bool]] = {0: [], 1: []}

    def work(number: int) -> None:
        for _ in range(30):
            try:
                decoding.decode((good, bad)[number], LIMIT * 10)
                found[number].append(True)
            except decoding.UnusableImage:
                found[number].append(False)

    threads = [threading.Thread(target=work, args=(number,)) for number in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {0: [True] * 30, 1: [False] * 30}


STORED_AS = {  # how an upright picture is stored under each of EXIF's orientations (row 0 and column 0 of what is seen)
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.T,
    6: lambda upright: upright.T[::-1],
    7: lambda upright: upright.T[::-1, ::-1],
    8: lambda upright: upright.T[:, ::-1],
}


def xmp(orientation: int, stated: str = '<rdf:Description tiff:Orientation="{}"/>') -> bytes:
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{stated.format(orientation)}</x:xmpmeta>'.encode()


def oriented(upright: np.ndarray, orientation: int, where: str) -> bytes:
    """A file that holds the picture as a camera of this orientation would."""
    stored = Image.fromarray(np.ascontiguousarray(STORED_AS[orientation](upright)))
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    if where in ("jpeg", "progressive"):
        stored.save(file, "JPEG", quality=100, exif=exif.tobytes(), progressive=where == "progressive")
    elif where == "jpeg xmp":
        stored.save(file, "JPEG", quality=100, xmp=xmp(orientation))
    elif where == "png":
        stored.save(file, "PNG", exif=exif.tobytes())
    else:
        texts = PngImagePlugin.PngInfo()
        if where == "png xmp":
            texts.add_itxt("XML:com.adobe.xmp", xmp(orientation).decode())
        else:  # as ImageMagick wrote it before PNG had a chunk for it
            kind = where.removeprefix("png raw profile ")
            texts.add_text(f"Raw profile type {kind}", f"\n{kind}\n{len(exif.tobytes()):8}\n{exif.tobytes().hex()}\n", zip=True)
        stored.save(file, "PNG", pnginfo=texts)
    return file.getvalue()


@pytest.mark.parametrize(
    "where", ["jpeg", "progressive", "jpeg xmp", "png", "png xmp", "png raw profile exif", "png raw profile APP1"]
)
def test_every_stored_orientation_gives_the_upright_picture(where):
    upright = picture()[:48, :32]
    exact = where.startswith("png")
    for orientation in STORED_AS:
        decoded, header = decoding.decode(oriented(upright, orientation, where), LIMIT)
        assert (header.rows, header.columns) == (48, 32)
        np.testing.assert_allclose(decoded.astype(int), upright.astype(int), atol=0 if exact else 3, err_msg=str(orientation))
        assert decoded.flags.c_contiguous


def test_a_raw_profile_without_exif_is_no_damage():
    texts, file = PngImagePlugin.PngInfo(), io.BytesIO()
    data = b"http://ns.adobe.com/xap/1.0/\0" + xmp(1)
    texts.add_text("Raw profile type APP1", f"\nAPP1\n{len(data):8}\n{data.hex()}\n", zip=True)
    Image.fromarray(picture()[:48, :32]).save(file, "PNG", pnginfo=texts)
    np.testing.assert_array_equal(decoding.decode(file.getvalue(), LIMIT)[0], picture()[:48, :32])


def test_damaged_orientation_is_damage_and_an_unknown_one_is_upright():
    upright = picture()[:48, :32]
    data = oriented(upright, 6, "jpeg")
    assert reason(data.replace(b"Exif\0\0MM", b"Exif\0\0XX")) == "truncated"
    assert reason(oriented(upright, 6, "png").replace(b"eXIfMM", b"eXIfXX")) == "truncated"
    unknown = data.replace(b"\x01\x12\0\x03\0\0\0\x01\0\x06", b"\x01\x12\0\x03\0\0\0\x01\0\0")
    assert unknown != data
    assert decoding.decode(unknown, LIMIT)[0].shape == (32, 48)


@pytest.mark.parametrize(
    "where", ["jpeg", "progressive", "jpeg xmp", "png", "png xmp", "png raw profile exif", "png raw profile APP1"]
)
def test_no_damage_of_a_few_bytes_ends_in_a_crash(where):
    """Half of the damage hits the first hundred bytes, where the headers are; checksums of a PNG's chunks are repaired."""
    whole, random = oriented(picture()[:48, :32], 6, where), np.random.default_rng(0)
    for number in range(400):
        data = bytearray(whole)
        for place in random.integers(2, len(data) if number % 2 else 100, random.integers(1, 4)):
            data[place] = random.integers(256)
        if where.startswith("png") and data.startswith(formats.PNG_SIGNATURE):
            with contextlib.suppress(struct.error):
                data = formats.PNG_SIGNATURE + b"".join(chunk(*part) for part in chunks(bytes(data)))
        with contextlib.suppress(decoding.UnusableImage):
            decoded, header = decoding.decode(bytes(data), LIMIT)
            assert decoded.shape[:2] == (header.rows, header.columns)


@pytest.mark.parametrize(
    "stated",
    [
        "<rdf:Description tiff:Orientation='{}'/>",
        '<rdf:Description tiff:Orientation = "{}"/>',
        '<rdf:Description xmlns:t="http://ns.adobe.com/tiff/1.0/" t:Orientation="{}"/>',
        "<rdf:Description><tiff:Orientation> {} </tiff:Orientation></rdf:Description>",
    ],
)
def test_every_way_to_write_the_orientation_in_xmp_is_read(stated):
    upright = picture()[:48, :32]
    for encoding in ("JPEG", "PNG"):
        texts, file = PngImagePlugin.PngInfo(), io.BytesIO()
        texts.add_itxt("XML:com.adobe.xmp", xmp(6, stated).decode())
        options = {"quality": 100, "xmp": xmp(6, stated)} if encoding == "JPEG" else {"pnginfo": texts}
        Image.fromarray(np.ascontiguousarray(STORED_AS[6](upright))).save(file, encoding, **options)
        np.testing.assert_allclose(decoding.decode(file.getvalue(), LIMIT)[0].astype(int), upright.astype(int), atol=3)


def test_jpeg_with_bytes_behind_its_end(ramp):
    plain = jpeg((ramp >> 4).astype(np.uint8))
    np.testing.assert_array_equal(decoding.decode(plain + bytes(7), LIMIT)[0], decoding.decode(plain, LIMIT)[0])


def test_grey_is_luminance_and_equal_channels_are_exact():
    pixel = np.array([[[200, 20, 10, 0]]], np.uint8)  # red, green, blue, transparent
    expected = round(0.299 * 200 + 0.587 * 20 + 0.114 * 10)
    assert decoding.to_grey(pixel)[0, 0] == decoding.to_grey(pixel[..., :3].copy())[0, 0] == expected
    for dtype in (np.uint8, np.uint16):
        values = np.arange(0, np.iinfo(dtype).max + 1).astype(dtype)[None]
        np.testing.assert_array_equal(decoding.to_grey(np.repeat(values[:, :, None], 3, axis=2)), values)


def test_resize_averages_areas_when_shrinking_and_both_ways_when_mixed():
    image = np.array([[0, 10, 100, 200], [20, 30, 100, 200]], np.uint16)
    np.testing.assert_array_equal(decoding.resize(image, 1, 2), [[15, 150]])
    mixed = decoding.resize(image, 4, 2)  # twice as high, half as wide: the columns must be true averages
    np.testing.assert_array_equal(mixed, [[5, 150], [10, 150], [20, 150], [25, 150]])
    assert decoding.resize(image, 2, 4) is image


def test_normalize_rounds_to_the_nearest():
    image = np.array([[100, 101, 150, 355]], np.uint16)
    np.testing.assert_array_equal(decoding.normalize(image, 100, 355), [[0, 1, 50, 255]])
    image = np.array([[7, 8, 9]], np.uint16)
    np.testing.assert_array_equal(decoding.normalize(image, 7, 9), [[0, 128, 255]])


@given(st.integers(0, 65534), st.integers(1, 65535))
def test_normalize_spans_the_range_and_keeps_the_order(low, span):
    high = min(low + span, 65535)
    values = np.unique(np.linspace(low, high, 300).round().astype(np.uint16))
    result = decoding.normalize(values[None], low, high)[0]
    assert (result[0], result[-1]) == (0, 255)
    assert (np.diff(result.astype(int)) >= 0).all()
    np.testing.assert_allclose(result, (values.astype(float) - low) * 255 / (high - low), atol=0.5)


def test_crop_takes_the_pixels_of_the_box():
    image = np.arange(16, dtype=np.uint8).reshape(4, 4)
    np.testing.assert_array_equal(decoding.crop(image, (0.25, 0.5, 0.75, 1.0)), [[9, 10], [13, 14]])
    assert decoding.crop(image, (0.999, 0.0, 1.0, 0.01)).shape == (1, 1)


def test_restore_aspect():
    square = np.zeros((512, 512), np.uint8)
    assert decoding.restore_aspect(square, 2000, 1000).shape == (512, 256)
    assert decoding.restore_aspect(square, 1500, 2000).shape == (384, 512)
    assert decoding.restore_aspect(square, 1, 10_000).shape == (1, 512)
