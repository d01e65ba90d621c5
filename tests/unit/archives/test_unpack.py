"""Archives: hostile and damaged ones are refused by name, good ones resume where they stopped."""

import gzip
import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from thorax.archives.download import unpack as unpacking
from thorax.archives.download.unpack import unpack
from thorax.errors import ThoraxError

MOST = 2**20
FILES = {"images/a.png": b"a" * 1000, "images/b.png": b"b" * 2000, "c.txt": b"c"}


def tar_of(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return path


def tar_member(name: str, data: bytes = b"x", **fields) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def zip_of(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.fixture(params=["tar.gz", "zip"])
def good(request, tmp_path) -> Path:
    path = tmp_path / f"good.{request.param}"
    if request.param == "zip":
        return zip_of(path, FILES)
    return tar_of(path, [tar_member("images", b"", type=tarfile.DIRTYPE), *(tar_member(*file) for file in FILES.items())])


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_member_is_written_and_reported(good, tmp_path):
    members = unpack(good, tmp_path / "out", MOST)
    assert files_below(tmp_path / "out") == FILES
    assert members == [(name, len(data)) for name, data in FILES.items()]


def test_what_is_there_with_the_right_size_is_not_written_again(good, tmp_path):
    out = tmp_path / "out"
    (out / "images").mkdir(parents=True)
    (out / "images/a.png").write_bytes(b"kept" + bytes(996))
    (out / "images/b.png").write_bytes(b"too short")
    unpack(good, out, MOST)
    assert files_below(out) == {**FILES, "images/a.png": b"kept" + bytes(996)}


def test_an_interruption_leaves_whole_members_and_the_next_call_goes_on(good, tmp_path, monkeypatch):
    out, replace = tmp_path / "out", Path.replace

    def interrupt_at_b(self, target):
        if Path(target).name == "b.png":
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupt_at_b)
    with pytest.raises(KeyboardInterrupt):
        unpack(good, out, MOST)
    assert files_below(out) == {"images/a.png": FILES["images/a.png"]}
    monkeypatch.setattr(Path, "replace", replace)
    before = (out / "images/a.png").stat().st_mtime_ns
    unpack(good, out, MOST)
    assert files_below(out) == FILES
    assert (out / "images/a.png").stat().st_mtime_ns == before


def test_a_leading_folder_is_left_out(tmp_path):
    archive = zip_of(tmp_path / "7.zip", {"7/a.png": b"1", "b.png": b"2"})
    unpack(archive, tmp_path / "7", MOST, leading="7")
    assert files_below(tmp_path / "7") == {"a.png": b"1", "b.png": b"2"}


@pytest.mark.parametrize("name", ["/etc/evil", "../evil", "images/../../evil", "C:/evil", "a\\..\\evil", "\\\\host\\evil"])
@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_a_path_that_leaves_the_folder_is_refused(kind, name, tmp_path):
    path = tmp_path / f"evil.{kind}"
    archive = zip_of(path, {name: b"x"}) if kind == "zip" else tar_of(path, [tar_member(name)])
    with pytest.raises(ThoraxError, match=r"evil\.(zip|tar\.gz): member .* has a path that leaves the folder"):
        unpack(archive, tmp_path / "out", MOST)
    assert files_below(tmp_path) == {path.name: path.read_bytes()}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_file_are_refused(kind, tmp_path):
    link = tar_member("link", b"", type=kind, linkname="..")
    archive = tar_of(tmp_path / "evil.tar.gz", [link, tar_member("link/evil")])
    with pytest.raises(ThoraxError, match="member 'link' is a link or a device"):
        unpack(archive, tmp_path / "out", MOST)
    assert files_below(tmp_path / "out") == {}


def test_a_link_in_a_zip_file_is_refused(tmp_path):
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr(info, "../evil")
    with pytest.raises(ThoraxError, match="member 'link' is a link or a device"):
        unpack(tmp_path / "evil.zip", tmp_path / "out", MOST)


@pytest.mark.parametrize("second", ["images/a.png", "images/A.PNG", "./images/a.png"])
def test_a_name_that_comes_twice_is_refused(second, tmp_path):
    archive = tar_of(tmp_path / "evil.tar.gz", [tar_member("images/a.png", b"1"), tar_member(second, b"2")])
    with pytest.raises(ThoraxError, match="has the name of another member"):
        unpack(archive, tmp_path / "out", MOST)
    assert files_below(tmp_path / "out") == {"images/a.png": b"1"}


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
@pytest.mark.parametrize(
    ("most", "limits", "said"),
    [
        (5000, {}, "would unpack to 4,000 bytes, 8,000 in all"),
        (10**6, {"MOST_OF_ONE": 3000}, "would unpack to 4,000 bytes"),
        (10**6, {"MOST_MEMBERS": 2}, "is member 3"),
    ],
)
def test_a_bomb_is_refused_before_it_is_written(kind, most, limits, said, tmp_path, monkeypatch):
    for name, value in limits.items():
        monkeypatch.setattr(unpacking, name, value)
    path, files = tmp_path / f"bomb.{kind}", {name: bytes(4000) for name in "abc"}
    archive = zip_of(path, files) if kind == "zip" else tar_of(path, [tar_member(*file) for file in files.items()])
    with pytest.raises(ThoraxError, match=said):
        unpack(archive, tmp_path / "out", most)
    assert sum(len(data) for data in files_below(tmp_path / "out").values()) <= most


def test_a_header_that_asks_for_endless_bytes_is_refused(tmp_path):
    with tarfile.open(tmp_path / "bomb.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        info, data = tar_member("a.png", b"x", pax_headers={"comment": "0" * 2**19})
        archive.addfile(info, io.BytesIO(data))
    with pytest.raises(ThoraxError, match="unpacks to more than it announces"):
        unpack(tmp_path / "bomb.tar.gz", tmp_path / "out", MOST)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_cut_archive_is_refused(good, share, tmp_path):
    data = good.read_bytes()
    good.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ThoraxError, match=r"good\.(zip|tar\.gz) is damaged"):
        unpack(good, tmp_path / "out", MOST)
    assert files_below(tmp_path / "out").items() <= FILES.items()


def test_a_wrong_checksum_in_a_zip_file_leaves_no_member(tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.png", b"original")
    (tmp_path / "bad.zip").write_bytes((tmp_path / "bad.zip").read_bytes().replace(b"original", b"0riginal", 1))
    with pytest.raises(ThoraxError, match=r"is damaged .*CRC"):
        unpack(tmp_path / "bad.zip", tmp_path / "out", MOST)
    assert files_below(tmp_path / "out") == {}


@pytest.mark.parametrize("padding", [0, 3 * 2**20])
def test_a_wrong_checksum_of_a_tar_file_is_noticed_at_its_end(padding, tmp_path):
    archive = tar_of(tmp_path / "bad.tar.gz", [tar_member(*file) for file in FILES.items()])
    data = bytearray(gzip.compress(gzip.decompress(archive.read_bytes()) + bytes(padding)))
    data[-8] ^= 1
    archive.write_bytes(data)
    with pytest.raises(ThoraxError, match=r"is damaged .*CRC"):
        unpack(archive, tmp_path / "out", MOST)


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path):
    plain = tmp_path / "plain.tar"
    with tarfile.open(plain, "w") as archive:
        for file in FILES.items():
            info, data = tar_member(*file)
            archive.addfile(info, io.BytesIO(data))
    data = bytearray(plain.read_bytes())
    data[1536] ^= 1  # the first byte of the second header
    with (tmp_path / "bad.tar.gz").open("wb") as file:
        file.write(gzip.compress(bytes(data)))
    with pytest.raises(ThoraxError, match="header is damaged"):
        unpack(tmp_path / "bad.tar.gz", tmp_path / "out", MOST)


def test_a_folder_that_cannot_be_made_is_named(good, tmp_path):
    (tmp_path / "out").write_text("a file in its place")
    with pytest.raises(ThoraxError, match=r"cannot be unpacked .* make .*out writable"):
        unpack(good, tmp_path / "out", MOST)
