"""Manifests: what has changed in an archive is noticed, what was only touched or copied is not."""

import os
import shutil

import numpy as np
import pytest

from thorax import manifest, store
from thorax.catalog import MANIFEST
from thorax.errors import ThoraxError


@pytest.fixture
def archive(tmp_path):
    root = tmp_path / "archive"
    (root / "0").mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(3):
        (root / "0" / f"{number}.png").write_bytes(random.bytes(300_000))
    (root / "labels.csv").write_text("a,b\n" * 40_000)
    (root / ".hidden").write_text("x")
    (root / "0" / "9.png.part").write_text("half")
    table, memory = tmp_path / "raw.parquet", tmp_path / "work" / "memory.parquet"
    manifest.make_manifest(root, table, memory)
    return root, table, memory


def test_a_manifest_lists_every_file_but_hidden_and_unfinished_ones(archive):
    _, table, _ = archive
    listed = store.read_table(table)
    assert list(listed.columns) == MANIFEST.names
    assert list(listed["path"]) == ["0/0.png", "0/1.png", "0/2.png", "labels.csv"]
    assert list(listed["bytes"]) == [300_000] * 3 + [160_000]
    assert listed["digest"].nunique() == 4


def test_nothing_has_changed(archive):
    before = archive[1].stat().st_mtime_ns
    assert manifest.refresh(*archive) is None
    assert archive[1].stat().st_mtime_ns == before


def test_touched_files_and_a_copy_elsewhere_have_the_same_manifest(archive, tmp_path):
    root, table, memory = archive
    for path in root.rglob("*"):
        os.utime(path, (1, 2_000_000_000))
    assert manifest.refresh(root, table, memory) is None
    shutil.copytree(root, tmp_path / "copy")
    manifest.make_manifest(tmp_path / "copy", tmp_path / "copy.parquet", tmp_path / "none.parquet")
    assert (tmp_path / "copy.parquet").read_bytes() == table.read_bytes()


@pytest.mark.parametrize("memory_is_lost", [False, True])
def test_replaced_added_and_removed_files_are_noticed(archive, memory_is_lost):
    root, table, memory = archive
    if memory_is_lost:
        memory.unlink()
    replaced = bytearray((root / "0" / "1.png").read_bytes())
    replaced[-5] ^= 1
    (root / "0" / "1.png").write_bytes(replaced)
    text = (root / "labels.csv").read_text()
    (root / "labels.csv").write_text(text[:80_000] + "c" + text[80_001:])  # in the middle, of the same length
    (root / "0" / "2.png").unlink()
    (root / "0" / "3.png").write_bytes(b"new")
    assert (
        manifest.refresh(root, table, memory)
        == f"{root} has changed since it was last used: 2 files replaced, 1 added, 1 removed."
    )
    assert manifest.refresh(root, table, memory) is None
    assert list(store.read_table(table)["path"]) == ["0/0.png", "0/1.png", "0/3.png", "labels.csv"]


def test_only_new_files_are_read_again(archive, monkeypatch):
    root, table, memory = archive
    (root / "0" / "7.png").write_bytes(b"new")
    read = []
    digest = manifest._digest
    monkeypatch.setattr(manifest, "_digest", lambda path, length: read.append(path.name) or digest(path, length))
    manifest.refresh(root, table, memory)
    assert read == ["7.png"]


def test_without_archive_or_manifest_there_is_nothing_to_compare(archive, tmp_path):
    root, table, memory = archive
    assert manifest.refresh(tmp_path / "elsewhere", table, memory) is None
    assert manifest.refresh(root, tmp_path / "none.parquet", memory) is None
    with pytest.raises(ThoraxError, match="elsewhere is not there: put the archive there"):
        manifest.make_manifest(tmp_path / "elsewhere", table, memory)


def test_a_broken_link_in_an_archive_is_named(archive):
    root, table, memory = archive
    (root / "0" / "8.png").symlink_to("nowhere.png")
    with pytest.raises(ThoraxError, match=r"8\.png cannot be read"):
        manifest.refresh(root, table, memory)
