"""Downloads, against a server on loopback that fails in every way: nothing wrong is kept, and a cut one goes on."""

import contextlib
import csv
import fcntl
import gzip
import hashlib
import importlib.util
import io
import json
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import typing
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from thorax import cli
from thorax.archives import chexpert, lung_masks, padchest
from thorax.archives.download import registry, transfer
from thorax.archives.download.registry import Published, published_files
from thorax.archives.download.transfer import Patience, Source, fetch
from thorax.config import Dataset
from thorax.errors import ThoraxError
from thorax.models.architectures import BACKBONES
from thorax.storage import progress

CONTENT = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
HASTY = Patience(tries=4, wait=0.01, longest_wait=0.05, stalled=1)


@dataclass
class Answer:
    """How the server answers one request; it answers the last way to all that follow."""

    content: bytes = CONTENT
    status: int = 0  # 0: 206 or 200, as the request asks
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None  # bytes of the body after which the connection is closed
    stall: bool = False  # instead of closing it, say nothing more
    tag: str | None = '"one"'
    knows_ranges: bool = True
    length: int | None = None  # states a wrong Content-Length; below 0: states none
    slow: float = 0  # seconds between blocks


@dataclass
class Server:
    """A server on loopback that follows a script."""

    script: list[Answer]
    asked: list[dict[str, str]] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)  # bytes of each body
    address: str = ""
    stop: threading.Event = field(default_factory=threading.Event)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        answer = self.script[min(len(self.asked), len(self.script) - 1)]
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.asked.append(headers)
        self.sent.append(0)
        number = len(self.sent) - 1
        body, status = answer.content, answer.status or 200
        same = "if-range" not in headers or headers["if-range"] == answer.tag
        if "range" in headers and answer.knows_ranges and same and status == 200:
            start = int(headers["range"].removeprefix("bytes=").removesuffix("-"))
            status = 206 if start < len(body) else 416
            stated = f"bytes {start}-{len(body) - 1}/{len(body)}" if status == 206 else f"bytes */{len(body)}"
            answer = Answer(**{**answer.__dict__, "headers": {**answer.headers, "Content-Range": stated}})
            body = body[start:] if status == 206 else b""
        handler.send_response(status)
        length = len(body) if answer.length is None else answer.length
        if length >= 0:
            handler.send_header("Content-Length", str(length))
        if answer.tag:
            handler.send_header("ETag", answer.tag)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        for start in range(0, len(body) if answer.cut is None else answer.cut, 10_000):
            block = body[start : min(start + 10_000, len(body) if answer.cut is None else answer.cut)]
            handler.wfile.write(block)
            handler.wfile.flush()
            self.sent[number] += len(block)
            self.stop.wait(answer.slow)
        if answer.stall:
            self.stop.wait(20)
        handler.close_connection = True


@contextlib.contextmanager
def serving(*script: Answer) -> Iterator[Server]:
    server = Server(list(script))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(ConnectionError):
                server.answer(self)

        def log_message(self, *_) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.02,))
    thread.start()
    server.address = f"http://127.0.0.1:{http.server_port}/file"
    try:
        yield server
    finally:
        server.stop.set()
        http.shutdown()
        thread.join()
        http.server_close()


def source(server: Server, content: bytes = CONTENT, **fields) -> Source:
    checksum = f"md5:{hashlib.md5(content).hexdigest()}"
    return Source(server.address, "https://page.example", **{"bytes": len(content), "checksum": checksum, **fields})


def nothing_else(target: Path) -> bool:
    """Whether the folder holds the target and no leftover."""
    return [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "folder" / "file.bin"


class TestFetch:
    def test_the_file_arrives_once(self, target):
        with serving(Answer()) as server:
            assert fetch(source(server), target, HASTY) == hashlib.sha256(CONTENT).hexdigest()
            assert fetch(source(server), target, HASTY) == hashlib.sha256(CONTENT).hexdigest()
        assert target.read_bytes() == CONTENT
        assert server.sent == [len(CONTENT)]
        assert nothing_else(target)

    def test_a_log_gets_at_most_a_line_per_tenth(self, target, capsys, monkeypatch):
        monkeypatch.setattr(progress, "SECONDS", 0)
        with serving(Answer()) as server:
            fetch(source(server), target, HASTY)
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("file.bin: ")]
        assert 2 <= len(lines) <= 10
        assert lines[-1].startswith("file.bin: 0.3 of 0.3 MB (100%)")

    def test_a_cut_download_goes_on_where_it_stopped(self, target):
        with serving(Answer(cut=120_000), Answer(cut=60_000), Answer()) as server:
            fetch(source(server), target, HASTY)
        assert target.read_bytes() == CONTENT
        assert [request.get("range") for request in server.asked] == [None, "bytes=120000-", "bytes=180000-"]
        assert server.asked[1]["if-range"] == '"one"'
        assert server.sent == [120_000, 60_000, 120_000]
        assert nothing_else(target)

    def test_failures_without_a_new_byte_are_counted_and_the_part_stays_for_the_next_call(self, target):
        with serving(Answer(cut=120_000), Answer(cut=0)) as server:
            with pytest.raises(ThoraxError, match=r"tried 4 times without success .* continues after 120,000 bytes"):
                fetch(source(server), target, HASTY)
            assert not target.exists()
            server.script = [Answer()]
            fetch(source(server), target, HASTY)
        assert target.read_bytes() == CONTENT
        assert server.sent[-1] == len(CONTENT) - 120_000
        assert nothing_else(target)

    def test_progress_resets_the_count_of_failures(self, target):
        with serving(*(Answer(cut=30_000) for _ in range(9)), Answer()) as server:
            fetch(source(server), target, HASTY)
        assert target.read_bytes() == CONTENT
        assert len(server.asked) == 10

    def test_a_server_without_ranges_sends_all_again(self, target):
        with serving(Answer(cut=120_000), Answer(knows_ranges=False)) as server:
            fetch(source(server), target, HASTY)
        assert target.read_bytes() == CONTENT
        assert "range" in server.asked[1]
        assert "range" not in server.asked[2]

    @pytest.mark.parametrize("published", [{}, {"bytes": None, "checksum": ""}])
    def test_a_file_that_changed_in_between_is_never_joined(self, published, target):
        with serving(Answer(OTHER, tag='"old"', cut=120_000), Answer(tag='"new"')) as server:
            fetch(source(server, **published), target, HASTY)
        assert target.read_bytes() == CONTENT
        assert server.asked[1]["if-range"] == '"old"'
        assert nothing_else(target)

    def test_without_a_version_and_a_checksum_a_part_is_not_trusted(self, target):
        with serving(Answer(OTHER, tag=None, cut=120_000), Answer(tag=None)) as server:
            fetch(source(server, checksum=""), target, HASTY)
        assert target.read_bytes() == CONTENT
        assert "range" not in server.asked[1]

    def test_a_weak_tag_is_no_version(self, target):
        with serving(Answer(tag='W/"one"', cut=120_000), Answer(tag='W/"one"')) as server:
            fetch(source(server), target, HASTY)
        assert target.read_bytes() == CONTENT
        assert server.asked[1]["range"] == "bytes=120000-"
        assert "if-range" not in server.asked[1]

    @pytest.mark.parametrize("status", [429, 503])
    def test_a_server_that_asks_to_wait_is_asked_again(self, status, target, capsys):
        patience = Patience(tries=3, wait=0.01, longest_wait=5)
        with serving(Answer(status=status, headers={"Retry-After": "1"}), Answer()) as server:
            start = time.monotonic()
            fetch(source(server), target, patience)
            assert time.monotonic() - start > 0.9
        assert target.read_bytes() == CONTENT
        assert f"the server answered {status}; trying again in 1 s" in capsys.readouterr().err

    @pytest.mark.parametrize("status", [401, 403, 404, 410])
    def test_a_refused_address_is_not_tried_again(self, status, target):
        with serving(Answer(b"<html>no</html>", status=status)) as server, pytest.raises(ThoraxError) as error:
            fetch(source(server), target, HASTY)
        assert f"answered {status}" in str(error.value)
        assert "look at https://page.example, and put the file at" in str(error.value)
        assert len(server.asked) == 1
        assert not target.exists()

    def test_a_stalled_connection_counts_as_cut(self, target):
        with serving(Answer(cut=120_000, stall=True), Answer()) as server:
            fetch(source(server), target, HASTY)
        assert target.read_bytes() == CONTENT
        assert server.sent == [120_000, 180_000]

    @pytest.mark.parametrize("wrong", [CONTENT[:200_000], CONTENT + b"more"])
    def test_a_wrong_length_is_tried_once_more_and_not_kept(self, wrong, target):
        with serving(Answer(wrong)) as server:
            with pytest.raises(ThoraxError, match=rf"it has {len(wrong):,} bytes instead of 300,000.*Nothing was kept"):
                fetch(source(server), target, HASTY)
            assert list(target.parent.iterdir()) == []
            assert len(server.asked) == 2

    def test_a_content_length_that_is_too_large_gives_no_file(self, target):
        with serving(Answer(length=400_000)) as server, pytest.raises(ThoraxError, match="400,000 bytes instead of 300,000"):
            fetch(source(server), target, HASTY)
        assert list(target.parent.iterdir()) == []

    def test_a_content_length_that_is_too_large_gives_no_file_where_no_length_is_published(self, target):
        with serving(Answer(length=400_000, knows_ranges=False)) as server, pytest.raises(ThoraxError, match="without success"):
            fetch(source(server, bytes=None), target, HASTY)
        assert not target.exists()

    def test_an_endless_answer_is_cut_off(self, target):
        long = Answer(CONTENT * 20, length=-1)
        with serving(long) as server, pytest.raises(ThoraxError, match="it has more bytes instead of 300,000"):
            fetch(source(server), target, HASTY)
        assert list(target.parent.iterdir()) == []

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
    def test_a_disk_that_fills_up_is_said(self, target):
        target.parent.mkdir()
        transfer.partial(target).symlink_to("/dev/full")
        said = r"file\.bin\.part cannot be written \(No space left on device\): free some disk space"
        with serving(Answer()) as server, pytest.raises(ThoraxError, match=said):
            fetch(source(server), target, HASTY)
        assert not target.exists()

    def test_a_wrong_checksum_is_tried_once_more_and_not_kept(self, target):
        with serving(Answer(OTHER)) as server, pytest.raises(ThoraxError) as error:
            fetch(source(server), target, HASTY)
        assert f"its md5 is {hashlib.md5(OTHER).hexdigest()} instead of {hashlib.md5(CONTENT).hexdigest()}" in str(error.value)
        assert len(server.asked) == 2
        assert list(target.parent.iterdir()) == []

    def test_a_passing_wrong_checksum_is_mended_by_the_second_try(self, target):
        with serving(Answer(OTHER), Answer()) as server:
            fetch(source(server), target, HASTY)
        assert target.read_bytes() == CONTENT
        assert nothing_else(target)

    def test_a_damaged_part_is_found_by_the_checksum(self, target):
        target.parent.mkdir()
        transfer.partial(target).write_bytes(OTHER[:100_000])
        with serving(Answer(tag=None)) as server:
            fetch(source(server), target, HASTY)
        assert target.read_bytes() == CONTENT
        assert server.sent == [200_000, 300_000]

    def test_another_file_in_its_place_is_left_alone(self, target):
        target.parent.mkdir()
        target.write_bytes(OTHER)
        with serving(Answer()) as server, pytest.raises(ThoraxError, match=r"is there, but its md5 is .*: move it away"):
            fetch(source(server), target, HASTY)
        assert target.read_bytes() == OTHER
        assert server.asked == []

    def test_a_file_without_published_checksum_is_said_to_be_so(self, target, capsys):
        with serving(Answer()) as server:
            fetch(source(server, checksum=""), target, HASTY)
        assert f"no checksum is published; its sha256 is {hashlib.sha256(CONTENT).hexdigest()}" in capsys.readouterr().err

    def test_no_connection_is_an_error_that_names_the_way_by_hand(self, target):
        with serving(Answer()) as server:
            pass
        with pytest.raises(ThoraxError, match=r"tried 4 times without success .*https://page\.example and put the file at"):
            fetch(source(server), target, HASTY)

    def test_a_second_process_is_sent_away(self, target):
        target.parent.mkdir()
        with serving(Answer()) as server:
            with target.with_name("file.bin.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                with pytest.raises(ThoraxError, match=r"file\.bin is being made by another process"):
                    fetch(source(server), target, HASTY)
            fetch(source(server), target, HASTY)  # a lock without a holder holds nobody up
        assert target.read_bytes() == CONTENT
        assert nothing_else(target)


def archive_rows(server: Server, content: bytes, name: str = "images.tar.gz") -> list[Published]:
    return [Published("nih", name, source(server, content), None, "free")]


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


IMAGES = {f"images/{name}.png": np.random.default_rng(number).bytes(5000) for number, name in enumerate("abc")}


NIH_TABLE = b"Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Sex,View Position\na.png,Mass,0,1,58,M,PA\n"


@pytest.mark.parametrize("table", [None, "Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv.gz"])
@pytest.mark.parametrize("image", ["images/a.png", "images_003/images/a.PNG", "CXR8/images/images/a.png"])
def test_with_all_images_there_no_archive_is_fetched(tmp_path, capsys, table, image):
    """At most the table is fetched: none if there is one, under whichever of its names."""
    if table:
        (tmp_path / table).write_bytes(gzip.compress(NIH_TABLE) if table.endswith(".gz") else NIH_TABLE)
    (tmp_path / image).parent.mkdir(parents=True)
    (tmp_path / image).touch()
    with serving(Answer(NIH_TABLE)) as server:
        listed = Published("nih", "Data_Entry_2017_v2020.csv", source(server, NIH_TABLE), None, "free")
        archives = archive_rows(server, packed(IMAGES))
        registry.download(["nih"], tmp_path, tmp_path / "files.csv", [listed, *archives])
        assert len(server.asked) == (0 if table else 1)
    assert "has every image of nih" in capsys.readouterr().err
    rows = (tmp_path / "files.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows[1:]] == [str(tmp_path / (table or "Data_Entry_2017_v2020.csv"))]


def test_a_list_under_its_other_name_is_not_fetched(tmp_path):
    (tmp_path / "test_list_NIH.txt").write_text("a.png\n")
    with serving(Answer(b"a.png\n")) as server:
        listed = Published("nih", "test_list.txt", source(server, b"a.png\n"), None, "free")
        registry.download(["nih"], tmp_path, tmp_path / "files.csv", [listed])
        assert server.asked == []
    assert str(tmp_path / "test_list_NIH.txt") in (tmp_path / "files.csv").read_text()


def test_an_absent_image_needs_the_archives(tmp_path, capsys):
    (tmp_path / "Data_Entry_2017.csv").write_bytes(NIH_TABLE + b"b.png,Mass,0,2,58,M,PA\n")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(IMAGES["images/a.png"])
    with serving(Answer(content := packed(IMAGES))) as server:
        registry.download(["nih"], tmp_path, rows=archive_rows(server, content))
    assert "lacks 1 of the images that its table lists" in capsys.readouterr().err
    assert (tmp_path / "images" / "b.png").is_file()


PROGRAM = """
import json, sys
from pathlib import Path
from thorax import cli
from thorax.archives.download import registry
from thorax.archives.download.transfer import Patience, Source
source, root, out = sys.argv[1:]
rows = [registry.Published("nih", "images.tar.gz", Source(**json.loads(source)), None, "free")]
registry.published_files = lambda: rows
sys.exit(cli.main(["download", "nih", "--root", root, "--out", out]))
"""


class TestProcess:
    """The command as a real process; where a second one follows, this process is it."""

    CONTENT = packed({"images/a.png": CONTENT, "images/b.png": OTHER})

    def command(self, server: Server, folder: Path) -> list[str]:
        fields = json.dumps(source(server, self.CONTENT).__dict__)
        return [sys.executable, "-c", PROGRAM, fields, str(folder), str(folder / "files.csv")]

    def here(self, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
        """The exit status of the same command in this process."""
        monkeypatch.setattr(registry, "published_files", lambda: archive_rows(server, self.CONTENT))
        return cli.main(["download", "nih", "--root", str(folder), "--out", str(folder / "files.csv")])

    def start(self, server: Server, folder: Path) -> subprocess.Popen:
        """A process that has written a good part of the file."""
        process = subprocess.Popen(self.command(server, folder), stderr=subprocess.PIPE, text=True)
        part = folder / "images.tar.gz.part"
        for _ in range(1000):
            if part.exists() and part.stat().st_size > 50_000:
                return process
            time.sleep(0.02)
        raise AssertionError(process.communicate())

    @pytest.mark.parametrize(
        ("sign", "status", "said"),
        [(signal.SIGKILL, -9, ""), (signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")],
    )
    def test_what_has_arrived_outlives_its_process(self, sign, status, said, tmp_path, monkeypatch):
        with serving(Answer(self.CONTENT, cut=200_000, stall=True), Answer(self.CONTENT)) as server:
            process = self.start(server, tmp_path)
            process.send_signal(sign)
            words = process.communicate(timeout=10)[1]
            assert process.returncode == status
            if said:
                assert f"{said}; what has arrived in {tmp_path} stays, and the same command continues from there." in words
            assert not (tmp_path / "images.tar.gz").exists()
            have = (tmp_path / "images.tar.gz.part").stat().st_size
            assert 0 < have <= 200_000
            assert self.here(server, tmp_path, monkeypatch) == 0
        assert server.asked[1]["range"] == f"bytes={have}-"
        assert server.sent[1] == len(self.CONTENT) - have
        assert (tmp_path / "images.tar.gz").read_bytes() == self.CONTENT
        assert (tmp_path / "images/b.png").read_bytes() == OTHER
        assert list(csv.reader((tmp_path / "files.csv").open())) == [
            ["file", "bytes", "sha256"],
            [str(tmp_path / "images.tar.gz"), str(len(self.CONTENT)), hashlib.sha256(self.CONTENT).hexdigest()],
        ]

    def test_two_at_once_do_not_disturb_each_other(self, tmp_path, monkeypatch, capsys):
        with serving(Answer(self.CONTENT, slow=0.5)) as server:
            first = self.start(server, tmp_path)
            assert self.here(server, tmp_path, monkeypatch) == 1
            assert "is being made by another process" in capsys.readouterr().err
            server.stop.set()  # no more waiting between blocks
            first.communicate(timeout=30)
            assert first.returncode == 0
        assert (tmp_path / "images.tar.gz").read_bytes() == self.CONTENT
        assert server.sent == [len(self.CONTENT)]


class TestGroup:
    def get(self, server: Server, content: bytes, root: Path, out: Path | None = None) -> None:
        registry.download(["nih"], root, out, archive_rows(server, content), HASTY)

    def test_an_archive_is_fetched_unpacked_and_listed(self, tmp_path):
        content = packed(IMAGES)
        with serving(Answer(content)) as server:
            self.get(server, content, tmp_path, tmp_path / "files.csv")
            first = (tmp_path / "files.csv").read_bytes()
            self.get(server, content, tmp_path, tmp_path / "files.csv")
        assert {f"images/{path.name}": path.read_bytes() for path in (tmp_path / "images").iterdir()} == IMAGES
        assert (tmp_path / "files.csv").read_bytes() == first
        assert len(server.asked) == 1

    def test_an_archive_may_be_deleted_after_it_was_unpacked(self, tmp_path):
        content = packed(IMAGES)
        with serving(Answer(content)) as server:
            self.get(server, content, tmp_path, tmp_path / "files.csv")
            first = (tmp_path / "files.csv").read_bytes()
            (tmp_path / "images.tar.gz").unlink()
            self.get(server, content, tmp_path, tmp_path / "files.csv")
            assert len(server.asked) == 1
            assert (tmp_path / "files.csv").read_bytes() == first
            (tmp_path / "images/b.png").unlink()  # then it is needed again
            self.get(server, content, tmp_path)
            assert len(server.asked) == 2
        assert (tmp_path / "images/b.png").read_bytes() == IMAGES["images/b.png"]

    def test_a_bomb_with_the_right_checksum_is_refused(self, tmp_path):
        content = packed({"a.png": bytes(2**25)})
        with serving(Answer(content)) as server, pytest.raises(ThoraxError, match="would unpack to"):
            self.get(server, content, tmp_path)
        assert not (tmp_path / "a.png").exists()

    @pytest.mark.parametrize(("free", "fits"), [(2 * len(CONTENT) - 1, False), (2 * len(CONTENT), True)])
    def test_the_disk_is_looked_at_before_anything_is_fetched(self, free, fits, tmp_path, monkeypatch):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(free))
        with serving(Answer()) as server:
            rows = archive_rows(server, CONTENT)
            if fits:
                registry.refuse_small_disk(rows, tmp_path / "not" / "yet")
                return
            with pytest.raises(ThoraxError, match=r"needs 0\.0 GB more, and its disk has 0\.0 GB free.*--root"):
                registry.download(["nih"], tmp_path, None, rows, HASTY)
            assert server.asked == []

    def test_an_unknown_group_is_refused_with_the_known_ones(self, tmp_path, capsys):
        assert cli.main(["download", "mimic", "--root", str(tmp_path)]) == 1
        assert "'mimic' is not a group of files: choose one of nih, montgomery" in capsys.readouterr().err

    @pytest.mark.parametrize("listing", [[], ["--list"]])
    @pytest.mark.parametrize(
        ("wrong", "right"),
        [("weights/xception", "weights/Xception"), ("xception", "weights/Xception"), ("NIH", "nih"), ("chexprt", "chexpert")],
    )
    def test_a_group_that_was_misspelt_is_suggested(self, tmp_path, capsys, wrong, right, listing):
        assert cli.main(["download", "nih", wrong, "--root", str(tmp_path / "new"), *listing]) == 1
        said = capsys.readouterr()
        assert said.err.startswith(f"thorax: {wrong!r} is not a group of files (did you mean {right!r}?): choose one of nih,")
        assert said.out == ""
        assert not (tmp_path / "new").exists()

    def test_the_list_is_shown_without_fetching(self, tmp_path, capsys):
        assert cli.main(["download", "nih", "chexpert", "--list", "--root", str(tmp_path)]) == 0
        shown = capsys.readouterr().out
        assert "images_012.tar.gz: missing; 2,914.2 MB; md5:dc9fda" in shown
        assert "chexpert: needs an agreement" in shown


class TestByHand:
    """What a person must get: the steps are said, the zip files are unpacked, the end is noticed."""

    def run(self, group: str, root: Path, capsys) -> tuple[int, str]:
        status = cli.main(["download", group, "--root", str(root)])
        return status, capsys.readouterr().err

    def zip(self, path: Path, *names: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, name)

    def test_padchest_step_by_step(self, tmp_path, capsys):
        root = tmp_path / "padchest"
        status, said = self.run("padchest", root, capsys)
        assert status == 1
        assert "1. Ask for PadChest at https://bimcv" in said
        assert "Put 0.zip, 1.zip, 2.zip, 3.zip, 4.zip, 5.zip and 46 more" in said
        root.mkdir(exist_ok=True)
        (root / padchest.METADATA[0]).write_text("ImageDir,ImageID\n0,a.png\n0,b.png\n54,c.png\n")
        self.zip(root / "0.zip", "a.png", "0/b.png")
        status, said = self.run("padchest", root, capsys)
        assert status == 1
        assert "Put 54.zip into" in said
        assert padchest.METADATA[0] not in said
        assert sorted(path.name for path in (root / "0").iterdir()) == ["a.png", "b.png"]
        self.zip(root / "54.zip", "c.png")
        status, said = self.run("padchest", root, capsys)
        assert (status, said.splitlines()[-1]) == (0, f"PadChest is complete in {root}.")

    def test_a_hostile_zip_file_of_padchest_is_refused(self, tmp_path, capsys):
        self.zip(tmp_path / "root" / "0.zip", "../evil.png")
        status, said = self.run("padchest", tmp_path / "root", capsys)
        assert status == 1
        assert "'../evil.png' has a path that leaves the folder" in said
        assert not list(tmp_path.rglob("evil.png"))

    def test_chexpert_step_by_step(self, tmp_path, capsys):
        status, said = self.run("chexpert", tmp_path, capsys)
        assert status == 1
        assert "train.csv and the images cannot be found there" in said
        image = "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg"
        self.zip(tmp_path / "CheXpert-v1.0-small.zip", "CheXpert-v1.0-small/train.csv", image)
        status, said = self.run("chexpert", tmp_path, capsys)
        assert status == 0
        assert (tmp_path / image).is_file()
        assert chexpert.has_images(tmp_path)

    def test_shenzhen_asks_for_its_masks_before_it_fetches_gigabytes(self, tmp_path, capsys):
        status, said = self.run("shenzhen", tmp_path, capsys)
        assert status == 1
        assert "Open https://www.kaggle.com/datasets/yoctoman/shcxr-lung-mask" in said
        assert f"Put it at {tmp_path}/shenzhen/shcxr-lung-mask.zip" in said


class TestLungMasks:
    def write(self, path: Path, pixels: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), pixels)

    def montgomery(self, root: Path) -> tuple[np.ndarray, np.ndarray]:
        left, right = np.zeros((2, 8, 6), np.uint8)
        left[1:3], right[2:5] = 255, 255
        folder = root / "montgomery" / "MontgomerySet"
        self.write(folder / "CXR_png/MCUCXR_0001_0.png", np.full((8, 6), 90, np.uint8))
        self.write(folder / "ManualMask/leftMask/MCUCXR_0001_0.png", left)
        self.write(folder / "ManualMask/rightMask/MCUCXR_0001_0.png", right)
        return left, right

    def test_two_sets_in_one_folder_add_up(self, tmp_path):
        left, right = self.montgomery(tmp_path)
        for number in (1, 2):
            self.write(tmp_path / f"shenzhen/ChinaSet_AllFiles/CXR_png/CHNCXR_000{number}_1.png", np.full((4, 4), 9, np.uint8))
        self.write(tmp_path / "shenzhen/mask/mask/CHNCXR_0002_1_mask.png", np.eye(4, dtype=np.uint8))
        for _ in range(2):  # a second time changes nothing
            lung_masks.add_montgomery(tmp_path)
            lung_masks.add_shenzhen(tmp_path)
            assert (tmp_path / "pairs.csv").read_text() == (
                "image,patient_id,view\nCHNCXR_0002_1.png,CHNCXR_0002,PA\nMCUCXR_0001_0.png,MCUCXR_0001,PA\n"
            )
        union = cv2.imread(str(tmp_path / "masks/MCUCXR_0001_0.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(union, left | right)
        lung = cv2.imread(str(tmp_path / "masks/CHNCXR_0002_1.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(lung, np.eye(4) * 255)
        assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["CHNCXR_0002_1.png", "MCUCXR_0001_0.png"]

    def test_from_the_published_zip_file_to_pairs(self, tmp_path):
        self.montgomery(tmp_path / "there")
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for path in sorted((tmp_path / "there" / "montgomery").rglob("*.png")):
                archive.write(path, path.relative_to(tmp_path / "there" / "montgomery"))
        content, root, name = buffer.getvalue(), tmp_path / "root", "montgomery/NLM-MontgomeryCXRSet.zip"
        with serving(Answer(content)) as server:
            rows = [Published("montgomery", name, source(server, content, checksum=""), None, "free")]
            registry.download(["montgomery"], root, root / "files.csv", rows, HASTY)
        assert (root / "pairs.csv").read_text() == "image,patient_id,view\nMCUCXR_0001_0.png,MCUCXR_0001,PA\n"
        assert (root / "masks/MCUCXR_0001_0.png").is_file()
        assert hashlib.sha256(content).hexdigest() in (root / "files.csv").read_text()

    def test_the_segmenter_reads_them(self, tmp_path):
        from thorax.images.mask_pairs import read_mask_pairs

        root, rng = tmp_path, np.random.default_rng(0)
        self.montgomery(root)
        self.write(root / "montgomery/MontgomerySet/CXR_png/MCUCXR_0001_0.png", rng.integers(0, 255, (8, 6), np.uint8))
        lung_masks.add_montgomery(root)
        pairs = read_mask_pairs(root)
        assert pairs.patients.tolist() == ["MCUCXR_0001"]
        assert 0.4 < pairs.masks.mean() < 0.6  # four of eight rows

    def test_rows_of_other_images_stay(self, tmp_path):
        self.montgomery(tmp_path)
        (tmp_path / "pairs.csv").write_text("image,patient_id,view,sex\nmine.png,007,AP,F\n")
        lung_masks.add_montgomery(tmp_path)
        assert (tmp_path / "pairs.csv").read_text() == (
            "image,patient_id,view,sex\nMCUCXR_0001_0.png,MCUCXR_0001,PA,\nmine.png,007,AP,F\n"
        )

    def test_a_table_of_others_with_semicolons_is_refused(self, tmp_path):
        self.montgomery(tmp_path)
        (tmp_path / "pairs.csv").write_text("image;patient_id;view\nmine.png;007;AP\n")
        with pytest.raises(ThoraxError, match=r"pairs\.csv, row 1: the columns are separated by semicolons"):
            lung_masks.add_montgomery(tmp_path)

    def test_a_missing_side_is_named(self, tmp_path):
        self.montgomery(tmp_path)
        (tmp_path / "montgomery/MontgomerySet/ManualMask/rightMask/MCUCXR_0001_0.png").unlink()
        with pytest.raises(ThoraxError, match=r"rightMask/MCUCXR_0001_0\.png cannot be used \(missing\)"):
            lung_masks.add_montgomery(tmp_path)


class TestList:
    """data/downloads.csv."""

    rows = published_files()

    def test_rows_are_well_formed(self):
        assert len({(row.group, row.file) for row in self.rows}) == len(self.rows)
        for row in self.rows:
            assert row.source.address == "" or row.source.address.startswith("https://"), row
            assert row.source.page.startswith("https://"), row
            assert row.licence, row
            assert not Path(row.file).is_absolute(), row
            assert ".." not in Path(row.file).parts, row
            algorithm, _, digest = row.source.checksum.partition(":")
            assert (algorithm, len(digest)) in [("md5", 32), ("sha256", 64), ("", 0)], row
            assert set(digest) <= set("0123456789abcdef"), row
            assert row.source.bytes or not row.source.address, row

    def test_nih_is_whole(self):
        nih = {row.file: row for row in self.rows if row.group == "nih"}
        lists = {"Data_Entry_2017_v2020.csv", "BBox_List_2017.csv", "train_val_list.txt", "test_list.txt"}
        assert set(nih) == lists | {f"images_{number:03d}.tar.gz" for number in range(1, 13)}
        assert all(row.source.checksum for row in nih.values())

    def test_the_weights_are_those_that_keras_publishes(self):
        keras = importlib.util.find_spec("keras")
        assert keras is not None
        assert keras.origin is not None
        folder = Path(keras.origin).parent / "src" / "applications"
        sources = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py")))
        weights = {row.group.removeprefix("weights/"): row for row in self.rows if row.group.startswith("weights/")}
        assert set(weights) == {name for name, backbone in BACKBONES.items() if backbone.constructor}
        for name, row in weights.items():
            assert row.file == f"{name}.h5"
            _, _, digest = row.source.checksum.partition(":")
            assert f'"{digest}"' in sources if digest else name == "MobileNet", name  # Keras publishes no checksum of it


class TestConfiguration:
    FIELDS: typing.ClassVar = {"archive": "nih", "root": "data/nih", "download": True}

    def test_only_nih_can_be_fetched_without_a_signature(self):
        assert Dataset(**self.FIELDS).download
        with pytest.raises(ValueError, match="for archive nih only; `thorax download padchest` says how to get yours"):
            Dataset(**{**self.FIELDS, "archive": "padchest"})

    def test_an_archive_that_is_made_is_not_fetched(self):
        with pytest.raises(ValueError, match="exclude each other"):
            Dataset(**self.FIELDS, phantom={"patients": 4})
