"""Files are known as images by content or name, whatever verb reads them."""

import pytest

from thorax.images import files


@pytest.mark.parametrize(
    ("name", "content", "image"),
    [
        ("a", b"\x89PNG\r\n\x1a\n", True),
        ("a.bin", b"\xff\xd8\xff\xe0", True),
        ("a.scan", b"II*\0", True),
        ("a", b"MM\0*", True),
        ("a.png", b"damaged", True),
        ("A.TIF", b"", True),
        ("IM000", bytes(128) + b"DICM", True),
        ("notes.txt", bytes(128) + b"DICM", True),
        ("IM000", b"\x08\0\5\0", True),
        ("1.2.840.5", b"\x08\0\5\0", True),
        ("table.csv", b"\x08\0\5\0", False),
        ("a.bin", b"\x08\0\5\0", False),
        ("DICOMDIR", bytes(128) + b"DICM", False),
        ("dicomdir", bytes(128) + b"DICM", False),
        ("readme", b"no image", False),
        ("empty", b"", False),
    ],
)
def test_images_are_told_from_other_files(tmp_path, name, content, image):
    (tmp_path / name).write_bytes(content)
    assert files.is_image(tmp_path / name) == image


def test_a_broken_link_is_the_image_that_its_name_says(tmp_path):
    (tmp_path / "a.png").symlink_to("gone")
    (tmp_path / "a.txt").symlink_to("gone")
    (tmp_path / "folder.png").mkdir()
    found = [files.is_image(tmp_path / name) for name in ("a.png", "a.txt", "folder.png")]
    assert found == [True, False, False]
