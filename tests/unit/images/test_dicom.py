"""DICOM radiographs: the standard's chain of values by hand, every compression, refusals, and that nothing personal gets out."""

import io
import logging
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pandas as pd
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.encaps import encapsulate

from tests.unit.images.test_ingest import noise, run, write_catalog
from tests.unit.images.test_ingest import settings as dataset
from thorax import archives, config
from thorax.images import dicom
from thorax.images.formats import Header, UnusableImage

LIMIT = 10**6
NAME, BIRTH, PATIENT = "ZZSURNAME^ZZGIVEN", "19011231", "ZZPATIENT77"
LITTLE, BIG = uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian
FRAMED = {  # transfer syntax and encoder of one frame, lossless
    "JPEG lossless": (uid.JPEGLosslessSV1, lambda image: imagecodecs.ljpeg_encode(image, bitspersample=8 * image.itemsize)),
    "JPEG-LS": (uid.JPEGLSLossless, imagecodecs.jpegls_encode),
    "JPEG 2000": (uid.JPEG2000Lossless, lambda image: imagecodecs.jpeg2k_encode(image, codecformat="J2K", reversible=True)),
}


def dataset_of(pixels: np.ndarray, **elements) -> pydicom.Dataset:
    """A radiograph with these pixels and, where nothing else is said, all bits of their type in use; None removes an element."""
    made = pydicom.Dataset()
    made.file_meta = pydicom.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = LITTLE
    made.file_meta.MediaStorageSOPClassUID = uid.DigitalXRayImageStorageForPresentation
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = "1.2.3"
    made.SOPClassUID, made.Modality = made.file_meta.MediaStorageSOPClassUID, "DX"
    made.PatientName, made.PatientBirthDate, made.PatientID = NAME, BIRTH, PATIENT
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = pixels.shape
    made.BitsAllocated = made.BitsStored = 8 * pixels.itemsize
    made.HighBit, made.PixelRepresentation = made.BitsStored - 1, int(pixels.dtype.kind == "i")
    made.PixelData = pixels.tobytes()
    for name, value in elements.items():
        if name == "BitsStored":
            made.HighBit = value - 1
        if value is None:
            delattr(made, name)
        else:
            setattr(made, name, value)
    return made


def written(made: pydicom.Dataset, syntax: str = LITTLE, frame: bytes | None = None) -> bytes:
    made.file_meta.TransferSyntaxUID = syntax
    if frame is not None:
        made.PixelData = encapsulate([frame])
    made["PixelData"].VR = "OB" if frame is not None or made.BitsAllocated == 8 else "OW"
    out = io.BytesIO()
    made.save_as(out, enforce_file_format=True)
    return out.getvalue()


def file_of(pixels: np.ndarray, **elements) -> bytes:
    return written(dataset_of(pixels, **elements))


def shown(pixels: list, kind: str = "u2", window: str = "lut", **elements) -> list[int]:
    """What one row of pixels becomes."""
    return dicom.decode(file_of(np.array([pixels], kind), **elements), LIMIT, window)[0][0].tolist()


def refusal(data: bytes) -> UnusableImage:
    with pytest.raises(UnusableImage) as caught:
        dicom.decode(data, LIMIT, "lut")
    for text in (NAME, "ZZ", BIRTH, PATIENT):
        assert text not in f"{caught.value.reason} {caught.value.detail}"
    return caught.value


def table(first: int, entries: list[int], bits: int = 16) -> pydicom.Sequence:
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", entries)
    return pydicom.Sequence([item])


@pytest.mark.parametrize(
    ("expected", "pixels", "elements"),
    [
        ([0, 7, 4095], [0, 7, 4095], {"BitsStored": 12}),
        ([4095, 4088, 0], [0, 7, 4095], {"BitsStored": 12, "PhotometricInterpretation": "MONOCHROME1"}),
        ([4095, 4088, 0], [0, 7, 4095], {"BitsStored": 12, "PresentationLUTShape": "INVERSE"}),
        (
            [4095, 0],
            [0, 4095],
            {"BitsStored": 12, "PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
        ),
        ([0, 4095], [0, 4095], {"BitsStored": 12, "PresentationLUTShape": "IDENTITY"}),
        ([7, 0], [0xF007, 0x8000], {"BitsStored": 12}),  # an overlay in the upper bits
        ([1, 255], [0x010F, 0xFF00], {"BitsStored": 8, "HighBit": 15}),  # values in the upper bits
        ([1, 16], [1, 16], {"RescaleSlope": 1, "RescaleIntercept": 0}),
        ([101, 116], [1, 16], {"BitsStored": 12, "RescaleSlope": 1, "RescaleIntercept": 100}),
        ([1, 16], [1, 16], {"RescaleSlope": 1, "RescaleIntercept": -1024}),  # raised to begin at 0
        ([4094, 4079], [1, 16], {"BitsStored": 12, "RescaleSlope": -1, "RescaleIntercept": 0}),
        ([0, 257, 65535], [0, 1, 255], {"BitsStored": 8, "RescaleSlope": 0.5, "RescaleIntercept": 3}),  # 127.5 over 65,535
        ([0, 0], [1, 16], {"RescaleSlope": 0, "RescaleIntercept": 0.5}),
        ([5, 5, 9, 2, 2], [0, 10, 11, 12, 99], {"BitsStored": 12, "ModalityLUTSequence": table(10, [5, 9, 2])}),
        ([5, 5, 9, 2, 2], [0, 10, 11, 12, 99], {"BitsStored": 12, "VOILUTSequence": table(10, [5, 9, 2])}),
        ([8, 6], [0, 1], {"ModalityLUTSequence": table(0, [20, 30]), "VOILUTSequence": table(20, [8] * 10 + [6])}),
        ([1, 3], [20, 30], {"RescaleSlope": 0.5, "RescaleIntercept": 0, "VOILUTSequence": table(10, [1] * 5 + [3])}),
        # PS3.3, C.11.2.1.2.1: (x - (c - 0.5)) / (w - 1) + 0.5
        ([0, 0, 32768, 65535, 65535], [0, 1, 2, 3, 9], {"WindowCenter": 2.5, "WindowWidth": 3}),
        ([0, 0, 65535], [1, 2, 3], {"WindowCenter": 3, "WindowWidth": 1}),
        ([0, 16384, 49151, 65535], [0, 2, 4, 9], {"WindowCenter": 3, "WindowWidth": 4, "VOILUTFunction": "LINEAR_EXACT"}),
        ([7812, 32768, 57723], [1, 2, 3], {"WindowCenter": 2, "WindowWidth": 2, "VOILUTFunction": "SIGMOID"}),
        ([0, 32768, 65535], [0, 2, 9], {"WindowCenter": [2.5, 100], "WindowWidth": [3, 7]}),  # the first of two
        ([65535, 32767, 0], [0, 2, 9], {"WindowCenter": 2.5, "WindowWidth": 3, "PhotometricInterpretation": "MONOCHROME1"}),
        ([0, 32768, 65535], [0, 12, 99], {"WindowCenter": 2.5, "WindowWidth": 3, "RescaleSlope": 1, "RescaleIntercept": -10}),
        ([300, 300, 400], [0, 300, 400], {"PixelPaddingValue": 0}),
        ([300, 300, 300, 400], [65535, 65000, 300, 400], {"PixelPaddingValue": 65535, "PixelPaddingRangeLimit": 65000}),
        ([4090, 4091, 4090], [0, 4, 5], {"BitsStored": 12, "PixelPaddingValue": 0, "PhotometricInterpretation": "MONOCHROME1"}),
    ],
)
def test_values_by_hand(expected, pixels, elements):
    assert shown(pixels, **elements) == expected


def test_signed_values():
    assert shown([-32768, 0, 32767], "i2") == [0, 32768, 65535]
    assert shown([-2, 0, 5], "i2", BitsStored=12) == [2046, 2048, 2053]
    assert shown([0x0FFE, 0, 5], "u2", BitsStored=12, PixelRepresentation=1) == [2046, 2048, 2053]  # without sign extension
    assert shown([-3, 0, 3], "i2", WindowCenter=0.5, WindowWidth=7) == [0, 32768, 65535]
    assert shown([-7, -2, -1], "i2", VOILUTSequence=table(-2, [4, 6])) == [4, 4, 6]
    assert shown([-2000, -5, 8], "i2", PixelPaddingValue=-2000) == [32763, 32763, 32776]


def test_which_of_lut_and_window_is_a_setting():
    both = {"VOILUTSequence": table(0, [9, 1, 5]), "WindowCenter": 1.5, "WindowWidth": 3}
    assert shown([0, 1, 2], **both) == [9, 1, 5]
    assert shown([0, 1, 2], window="window", **both) == [0, 32768, 65535]
    assert shown([0, 1, 2], window="none", **both) == [0, 1, 2]
    assert shown([0, 1, 2], window="window", VOILUTSequence=both["VOILUTSequence"]) == [9, 1, 5]
    assert shown([0, 1, 2], WindowCenter=1.5, WindowWidth=3) == [0, 32768, 65535]
    assert config.Dataset(archive="own", root=".").dicom_window == "lut"


def test_eight_bits_and_tables_as_bytes():
    assert shown([0, 1, 255], "u1") == [0, 1, 255]
    for bits, kind, data in ((16, "OW", np.array([7, 300], "<u2").tobytes()), (8, "OW", bytes([7, 9]))):
        item = pydicom.Dataset()
        item.add_new("LUTDescriptor", "US", [2, 0, bits])
        item.add_new("LUTData", kind, data)
        assert shown([0, 1], "u1", VOILUTSequence=pydicom.Sequence([item])) == [7, 300 if bits == 16 else 9]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-2048, 2047), min_size=2, max_size=9, unique=True),
    st.floats(-2000, 2000),
    st.floats(1.5, 5000),
    st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
)
def test_windows_are_those_of_pydicom(pixels, centre, width, function):
    from pydicom.pixels import apply_windowing

    made = dataset_of(np.array([pixels], "i2"), BitsStored=12, WindowCenter=round(centre, 2), WindowWidth=round(width, 2))
    made.VOILUTFunction = function
    with np.errstate(over="ignore"):
        theirs = (apply_windowing(np.array([pixels], "i2"), made) + 2048) / 4095 * 65535  # its range is that of 12 bits
    ours = dicom.decode(written(made), LIMIT, "lut")[0]
    np.testing.assert_allclose(ours, theirs, atol=0.51)


@pytest.mark.parametrize("name", FRAMED)
@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_lossless_compressions_give_the_pixels_back(name, kind):
    pixels = noise((40, 30), 250 if kind == "u1" else 60000).astype(kind)
    syntax, encode = FRAMED[name]
    data = written(dataset_of(pixels), syntax, encode(pixels))
    np.testing.assert_array_equal(dicom.decode(data, LIMIT, "lut")[0], pixels)
    cut = encode(pixels)
    assert refusal(written(dataset_of(pixels), syntax, cut[: len(cut) // 2])).reason == "truncated"
    assert refusal(data[: len(data) - 200]).reason == "truncated"
    assert refusal(written(dataset_of(pixels, Rows=4000), syntax, encode(pixels))).reason == "unsupported"


@pytest.mark.parametrize("kind", ["u1", "u2", "i2"])
def test_plain_big_endian_deflated_and_run_lengths(kind):
    pixels = (noise((40, 31), 250 if kind == "u1" else 30000).astype(int) - 200 * (kind == "i2")).astype(kind)
    expected = pixels.astype(int) + 32768 * (kind == "i2")
    made = dataset_of(pixels)
    made.compress(uid.RLELossless)
    swapped = dataset_of(pixels)
    swapped.PixelData = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
    for syntax in (uid.ImplicitVRLittleEndian, LITTLE, uid.DeflatedExplicitVRLittleEndian):
        np.testing.assert_array_equal(dicom.decode(written(dataset_of(pixels), syntax), LIMIT, "lut")[0], expected)
    np.testing.assert_array_equal(dicom.decode(written(swapped, BIG), LIMIT, "lut")[0], expected)
    out = io.BytesIO()
    made.save_as(out, enforce_file_format=True)
    np.testing.assert_array_equal(dicom.decode(out.getvalue(), LIMIT, "lut")[0], expected)


def test_lossy_jpeg_of_8_and_12_bits():
    smooth = np.add.outer(np.arange(64), np.arange(48)).astype("u1")
    baseline = written(dataset_of(smooth), uid.JPEGBaseline8Bit, imagecodecs.jpeg8_encode(smooth, level=98))
    np.testing.assert_allclose(dicom.decode(baseline, LIMIT, "lut")[0], smooth, atol=2)
    deep = 16 * smooth.astype("u2")
    frame = imagecodecs.jpeg8_encode(deep, level=98, bitspersample=12)
    extended = written(dataset_of(deep, BitsStored=12), uid.JPEGExtended12Bit, frame)
    np.testing.assert_allclose(dicom.decode(extended, LIMIT, "lut")[0], deep, atol=16)


def test_files_without_preamble_or_meta_information():
    pixels = noise((9, 8))
    for syntax in (uid.ImplicitVRLittleEndian, LITTLE):
        whole = written(dataset_of(pixels), syntax)
        np.testing.assert_array_equal(dicom.decode(whole[132:], LIMIT, "lut")[0], pixels)
        bare, made = io.BytesIO(), dataset_of(pixels)
        del made.file_meta
        made.save_as(bare, implicit_vr=syntax == uid.ImplicitVRLittleEndian, little_endian=True)
        assert not bare.getvalue().startswith(b"\0")
        assert dicom.is_dicom(bare.getvalue())
        np.testing.assert_array_equal(dicom.decode(bare.getvalue(), LIMIT, "lut")[0], pixels)
    assert refusal(b"\x08\0\0\0 something else that begins like a file without preamble").reason in ("not_image", "truncated")


@pytest.mark.parametrize(
    ("reason", "elements"),
    [
        ("not_radiograph", {"Modality": "CT"}),
        ("not_radiograph", {"Modality": "ZZSURNAME"}),
        ("not_radiograph", {"Modality": None, "SOPClassUID": uid.MRImageStorage}),
        ("multi_frame", {"NumberOfFrames": 2}),
        ("colour", {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "SOPClassUID": uid.SecondaryCaptureImageStorage}),
        ("colour", {"PhotometricInterpretation": "PALETTE COLOR"}),
        ("colour", {"PhotometricInterpretation": None}),
        ("no_pixels", {"PixelData": None}),
        ("unsupported", {"BitsAllocated": 32, "BitsStored": 32}),
        ("unsupported", {"BitsStored": 4}),
        ("unsupported", {"HighBit": 3}),
        ("unsupported", {"WindowCenter": 1, "WindowWidth": 0}),
        ("unsupported", {"VOILUTFunction": "ZZGIVEN", "WindowCenter": 1, "WindowWidth": 2}),
        ("unsupported", {"PixelSpacing": [20, 1]}),
        ("too_large", {"Rows": 4000, "Columns": 4000}),
        ("truncated", {"Rows": 60}),
        ("constant", {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 65535}),
    ],
)
def test_refusals(reason, elements):
    made = dataset_of(noise((20, 20)), **elements)
    if made.get("PixelData") is None:
        out = io.BytesIO()
        made.save_as(out, enforce_file_format=True)
        data = out.getvalue()
    else:
        data = written(made)
    assert (found := refusal(data)).reason == reason
    assert found.detail
    assert "\n" not in found.detail
    if reason not in ("not_radiograph", "no_pixels"):
        assert found.header.rows == made.Rows


def test_a_table_that_is_shorter_than_announced_is_refused():
    short = table(0, [1, 2])
    short[0].LUTDescriptor = [9, 0, 16]
    assert refusal(file_of(noise((20, 20)), VOILUTSequence=short)).reason == "unsupported"


def test_grey_secondary_captures_are_read():
    kind = uid.SecondaryCaptureImageStorage
    assert shown([1, 2], Modality="OT", SOPClassUID=kind) == shown([1, 2], Modality=None, SOPClassUID=kind) == [1, 2]


def test_a_deflated_bomb_and_one_that_is_cut():
    data = written(dataset_of(np.zeros((6000, 6000), "u2")), uid.DeflatedExplicitVRLittleEndian)
    assert len(data) < 200_000
    assert refusal(data).reason == "too_large"
    data = written(dataset_of(noise((20, 20))), uid.DeflatedExplicitVRLittleEndian)
    assert refusal(data[:-60]).reason == "truncated"
    assert refusal(data[:-300] + bytes(300)).reason == "truncated"


def test_pixels_that_announce_another_size_are_not_decoded():
    large = np.zeros((3000, 3000), "u2")
    for syntax, encode in FRAMED.values():
        assert refusal(written(dataset_of(noise((20, 20))), syntax, encode(large))).reason == "unsupported"


@pytest.mark.parametrize("end", [*range(0, 140, 9), 300, 700, -801, -1])
def test_a_file_that_ends_anywhere_is_refused(end):
    data = file_of(noise((20, 20)))
    assert refusal(data[:end]).reason in ("truncated", "not_image", "no_pixels")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(132, 1100), st.integers(0, 255)), min_size=1, max_size=6))
def test_damage_is_refused_or_harmless(changes):
    data = bytearray(file_of(noise((20, 20)), WindowCenter=2000, WindowWidth=4000, PixelPaddingValue=0, PixelSpacing=[1, 2]))
    for place, value in changes:
        data[place] = value
    try:
        image, header = dicom.decode(bytes(data), LIMIT, "lut")
    except UnusableImage:
        return
    assert image.dtype == np.uint16
    assert header.rows * header.columns > 0


def test_the_header_and_square_pixels():
    tall, wide = noise((20, 30)), noise((30, 20))
    assert dicom.decode(file_of(tall), LIMIT, "lut")[1] == Header(20, 30, 1, 16)
    assert dicom.decode(file_of(tall, PixelAspectRatio=[2, 1]), LIMIT, "lut")[1] == Header(40, 30, 1, 16)
    assert dicom.decode(file_of(wide, ImagerPixelSpacing=[0.1, 0.15]), LIMIT, "lut")[1] == Header(30, 30, 1, 16)
    assert dicom.decode(file_of(tall, PixelSpacing=[0, 0], PixelAspectRatio=[1, 1]), LIMIT, "lut")[1] == Header(20, 30, 1, 16)
    assert dicom.decode(file_of(tall, PixelAspectRatio=[4, 1]), LIMIT, "lut")[0].shape == (20, 30)  # ingest squashes it anyway


def test_annotation_and_collimators_are_reported():
    marked = lambda **elements: dicom.decode(file_of(noise((200, 300)), **elements), LIMIT, "lut")[1]
    assert marked(BurnedInAnnotation="YES").burned_in
    assert not marked(BurnedInAnnotation="NO").burned_in
    edges = [f"Collimator{name}Edge" for name in ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")]
    boxed = lambda *numbers: marked(CollimatorShape="RECTANGULAR", **dict(zip(edges, numbers, strict=True)))
    assert boxed(20, 280, 1, 200).collimated
    assert not boxed(1, 300, 1, 200).collimated  # the whole picture
    assert not boxed(-184, 184, 907, 1299).collimated  # those of pydicom's chest film, which no picture has
    assert marked(CollimatorShape="CIRCULAR").collimated
    picture = noise((512, 512), 250)
    assert not dicom.has_border(picture)
    for border in (np.s_[:, :11], np.s_[-11:]):
        bordered = picture.copy()
        bordered[border] = 3
        assert dicom.has_border(bordered)


def test_ingest_reads_what_a_png_would_give_and_says_why_not(tmp_path, capsys):
    pixels = noise((60, 50))
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    (tmp_path / "b.dcm").write_bytes(file_of(pixels, BitsStored=12, BurnedInAnnotation="YES"))
    (tmp_path / "c").write_bytes(file_of(4095 - pixels, BitsStored=12, PhotometricInterpretation="MONOCHROME1"))
    (tmp_path / "d.dicom").write_bytes(file_of(pixels, Modality="CT"))
    names = ["a.png", "b.dcm", "c", "d.dicom"]
    pd.DataFrame({"path": names, "patient_id": "p", "labels": "x"}).to_csv(tmp_path / "images.csv", index=False)
    block = dataset(tmp_path, archive="own", views=["frontal"])
    archives.make_catalog(block, tmp_path / "c.parquet", tmp_path / "boxes.parquet")
    array, table = run(tmp_path, block, tmp_path / "c.parquet")
    assert table["reason"].dropna().to_dict() == {"d.dicom": "not_radiograph"}
    assert table["burned_in"].tolist() == [False, True, False, False]
    np.testing.assert_array_equal(array[1], array[0])
    np.testing.assert_array_equal(array[2], array[0])
    said = f"{tmp_path / 'd.dicom'} is left out: its modality is CT, and only radiographs (CR, DX, RF, RG) are read.\n"
    assert said in capsys.readouterr().out


def test_the_column_photometric_is_not_for_dicom(tmp_path):
    for name, photometric in (("a", "MONOCHROME2"), ("b", "MONOCHROME1")):
        (tmp_path / name).write_bytes(file_of(noise((60, 50)), PhotometricInterpretation=photometric))
    catalog = write_catalog(tmp_path / "c.parquet", ["a", "b"], photometric=["MONOCHROME1", "MONOCHROME1"])
    array, _ = run(tmp_path, dataset(tmp_path), catalog)
    np.testing.assert_allclose(array[1], 255.0 - array[0], atol=1)


def test_nothing_personal_gets_out(tmp_path, capfd, caplog, recwarn):
    """Names, dates and identifiers of the header are in no output of ingest, whatever is wrong with the file."""
    caplog.set_level(logging.DEBUG)
    good = dataset_of(noise((20, 20)), PatientAddress="ZZSTREET", InstitutionName="ZZHOSPITAL", StudyDate=BIRTH)
    data = written(good)
    damaged = [data, data[:-100], data.replace(b"DX", b"ZZ"), data.replace(b"PN", b"UI"), data.replace(b"LO", b"US")]
    damaged += [
        data.replace(NAME.encode(), b"\xff" * len(NAME)),
        data[132:],
        data[400:],
        data.replace(b"MONOCHROME2", b"ZZNOCHROME2"),
    ]
    damaged += [data.replace(BIRTH.encode(), b"ZZ011231"), data.replace(b"1.2.840", b"ZZ.2.84")]
    for index, content in enumerate(damaged):
        (tmp_path / f"{index:02}.dcm").write_bytes(content)
    catalog = write_catalog(tmp_path / "c.parquet", [f"{index:02}.dcm" for index in range(len(damaged))])
    out = tmp_path / "out"
    out.mkdir()
    _, table = run(out, dataset(tmp_path), catalog)
    assert not table["ok"].all()
    assert table["ok"].any()
    texts = [*capfd.readouterr(), caplog.text, *(str(warning.message) for warning in recwarn), table.to_csv()]
    texts += [path.read_bytes().decode("latin-1") for path in Path(out).iterdir()]
    for text in texts:
        assert not any(personal in text for personal in ("SURNAME", "GIVEN", "STREET", "HOSPITAL", PATIENT, "011231"))
