"""Manifests: what has changed in an archive is noticed, what was only touched or copied is not."""

import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from thorax import archives, config, phantom
from thorax.archives import manifest
from thorax.errors import ThoraxError
from thorax.storage import store
from thorax.storage.schemas import MANIFEST
from thorax.workflow import dvc
from thorax.workflow.jobs import Dag, Job

NAMED = [f"0/{number}.png" for number in range(5)]  # some of them are not there


def select() -> manifest.Selection:
    return manifest.Selection("all of 0", ["labels.csv"], lambda: NAMED)


def changes(*archive) -> tuple[str, str]:
    """The stamp of the latest change of a folder, and the sentence on it."""
    found = manifest.changes(*archive, lambda: True)
    return found.stamp, found.sentence


def noticed(root, table, memory, select) -> str:
    """What has changed since the manifest was made; it is made again."""
    stamp, sentence = changes(root, table, memory, select)
    manifest.make_manifest(root, table, memory, select, stamp)
    return sentence


@pytest.fixture
def archive(tmp_path):
    root = tmp_path / "archive"
    (root / "0").mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(3):
        (root / "0" / f"{number}.png").write_bytes(random.bytes(300_000))
    (root / "labels.csv").write_text("a,b\n" * 40_000)
    table, memory = tmp_path / "raw.parquet", tmp_path / "work" / "memory.parquet"
    manifest.make_manifest(root, table, memory, select)
    return root, table, memory, select


def test_a_manifest_lists_the_files_that_are_read(archive):
    _, table, _, _ = archive
    listed = store.read_table(table)
    assert list(listed.columns) == MANIFEST.names
    assert list(listed["path"]) == ["0/0.png", "0/1.png", "0/2.png", "labels.csv"]
    assert list(listed["bytes"]) == [300_000] * 3 + [160_000]
    assert listed["digest"].nunique() == 4


@pytest.mark.parametrize(
    "name", ["readme.txt", ".DS_Store", "0/Thumbs.db", "labels.xlsx", "0/9.png", "0/._0.png", "0/3.png.part", "old/0/0.png"]
)
def test_what_is_not_read_does_not_matter(archive, name):
    root = archive[0]
    for content in ("added", "changed"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
        assert changes(*archive) == ("", "")
    (root / name).unlink()
    assert changes(*archive) == ("", "")


def test_tables_are_read_again_only_after_they_or_the_paths_have_changed(archive):
    root, table, memory, _ = archive
    read = []
    counting = lambda: manifest.Selection("all of 0", ["labels.csv"], lambda: read.append(1) or NAMED)
    (root / "0" / "1.png").write_bytes(b"replaced")
    assert "1 files replaced, 0 added" in noticed(root, table, memory, counting)
    assert read == []
    (root / "labels.csv").write_text("c\n")
    assert "1 files replaced" in noticed(root, table, memory, counting)
    (root / "0" / "3.png").write_text("added")
    assert "0 files replaced, 1 added" in noticed(root, table, memory, counting)
    assert len(read) == 2
    other = lambda: manifest.Selection("one of 0", ["labels.csv"], lambda: NAMED[:1])
    assert "0 files replaced, 0 added, 3 removed" in noticed(root, table, memory, other)


def test_where_the_tables_cannot_be_read_every_file_counts(archive):
    root, table, memory, _ = archive

    def unreadable():
        raise ThoraxError("row 7")

    (root / "readme.txt").write_text("x")
    manifest.make_manifest(root, table, memory, lambda: manifest.Selection("all of 0", [], unreadable))
    assert list(store.read_table(table)["path"]) == ["0/0.png", "0/1.png", "0/2.png", "labels.csv", "readme.txt"]
    assert "1 removed" in noticed(*archive)


def test_the_folders_of_the_run_do_not_count_where_they_lie_in_the_archive(archive, monkeypatch):
    root, table, memory, _ = archive
    monkeypatch.chdir(root)
    for name in ("results/raw.parquet", "work/state.npz", "logs/a/b.log", "benchmarks/a.tsv", ".snakemake/log", "0/results/a"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text("x")
    manifest.make_manifest(Path(), table, memory, select)
    assert list(store.read_table(memory)["path"]) == ["0/0.png", "0/1.png", "0/2.png", "0/results/a", "labels.csv"]
    assert list(store.read_table(table)["path"]) == ["0/0.png", "0/1.png", "0/2.png", "labels.csv"]


@pytest.mark.parametrize("folder", ["resources", "work", "logs/old"])
def test_an_image_in_a_folder_of_the_run_is_refused(archive, monkeypatch, folder):
    """What is written there changes in every run, so it is not watched."""
    root, table, memory, _ = archive
    monkeypatch.chdir(root)
    (root / folder).mkdir(parents=True)
    (root / folder / "a.png").write_text("x")
    named = lambda: manifest.Selection("more", ["labels.csv"], lambda: [*NAMED, f"{folder}/a.png"])
    with pytest.raises(
        ThoraxError, match=rf"^{folder.partition('/')[0]} is where the run keeps its own files: move the images"
    ):
        manifest.make_manifest(Path(), table, memory, named)
    monkeypatch.chdir(root.parent)  # where these folders are the archive's
    manifest.make_manifest(root, table, memory, named)
    assert f"{folder}/a.png" in list(store.read_table(table)["path"])


def test_links_to_folders_above_have_no_end_and_other_links_are_followed(archive):
    root, table, memory, _ = archive
    (root.parent / "elsewhere").mkdir()
    (root.parent / "elsewhere" / "4.png").write_text("x")
    for name, target in {"up": "..", "self": ".", "again": "../0"}.items():
        (root / "0" / name).symlink_to(target)
    (root / "0" / "beside").symlink_to(root.parent / "elsewhere")
    (root.parent / "elsewhere" / "back").symlink_to(root / "0")
    named = lambda: manifest.Selection("more", ["labels.csv"], lambda: [*NAMED, "0/beside/4.png"])
    manifest.make_manifest(root, table, memory, named)
    assert list(store.read_table(table)["path"]) == ["0/0.png", "0/1.png", "0/2.png", "0/beside/4.png", "labels.csv"]


def test_of_an_archive_its_tables_and_the_images_of_the_views_are_read(tmp_path):
    rows = ["path,patient_id,labels,view", "a/1.png,p1,Mass,PA", "2.png,p2,Mass,L", ".old/3.JPG,p3,Mass,PA", "4.png,p4,,PA"]
    (tmp_path / "images.csv").write_text("\n".join(rows) + "\n")
    settings = config.Dataset(archive="own", root=str(tmp_path), views=["PA"])
    for name in ("a/1.png", "2.png", ".old/3.JPG", "a/2.png", "boxes.csv", "images.csv.gz", "readme.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    table, memory = tmp_path.parent / "own.parquet", tmp_path.parent / "own.files.parquet"
    manifest.make_manifest(tmp_path, table, memory, partial(archives.selection, settings))
    assert list(store.read_table(table)["path"]) == [".old/3.JPG", "a/1.png", "boxes.csv", "images.csv"]


@pytest.mark.parametrize("archive", ["padchest", "nih", "chexpert"])
def test_every_image_of_a_synthetic_archive_is_read_and_its_lung_masks_are_not(tmp_path, archive):
    phantom.make_archive(config.Phantom(patients=6, height=128), tmp_path / "data", 1, archive)
    views = ["PA", "AP", "L", "Lateral", "LL", "RL", "AP_horizontal"]
    settings = config.Dataset(archive=archive, root=str(tmp_path / "data"), views=views)
    catalog, boxes = tmp_path / "catalog.parquet", tmp_path / "boxes.parquet"
    archives.make_catalog(settings, catalog, boxes)
    manifest.make_manifest(tmp_path / "data", tmp_path / "m", tmp_path / "w", partial(archives.selection, settings))
    listed = set(store.read_table(tmp_path / "m")["path"])
    tables = {path.relative_to(tmp_path / "data").as_posix() for path in archives.metadata_files(settings)}
    images = {path for path in store.read_table(catalog)["path"] if (tmp_path / "data" / path).is_file()}
    assert len(tables) >= 2 - (archive == "own")
    assert len(images) >= 6
    assert listed == tables | images


def test_of_lung_masks_the_table_and_what_it_names_are_read(tmp_path):
    (tmp_path / "pairs.csv").write_text("image,patient_id,view\n1.png,p1,PA\n2.png,p2,PA\n")
    for name in ("images/1.png", "masks/1.png", "images/2.png", "masks/2.png", "images/3.png", "source/1.png", "masks.zip"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    table, memory = tmp_path.parent / "pairs.parquet", tmp_path.parent / "pairs.files.parquet"
    manifest.make_manifest(tmp_path, table, memory, partial(archives.selection_of_mask_pairs, tmp_path))
    assert list(store.read_table(table)["path"]) == ["images/1.png", "images/2.png", "masks/1.png", "masks/2.png", "pairs.csv"]


def test_nothing_has_changed(archive):
    before = archive[1].stat().st_mtime_ns
    assert changes(*archive) == ("", "")
    assert archive[1].stat().st_mtime_ns == before


def test_touched_files_and_a_copy_elsewhere_have_the_same_manifest(archive, tmp_path):
    root, table, _, _ = archive
    for path in root.rglob("*"):
        os.utime(path, (1, 2_000_000_000))
    assert changes(*archive) == ("", "")
    shutil.copytree(root, tmp_path / "copy")
    manifest.make_manifest(tmp_path / "copy", tmp_path / "copy.parquet", tmp_path / "none.parquet", select)
    assert (tmp_path / "copy.parquet").read_bytes() == table.read_bytes()


@pytest.mark.parametrize("memory_is_lost", [False, True])
def test_replaced_added_and_removed_files_are_noticed(archive, memory_is_lost):
    root, table, memory, _ = archive
    if memory_is_lost:
        memory.unlink()
    replaced = bytearray((root / "0" / "1.png").read_bytes())
    replaced[-5] ^= 1
    (root / "0" / "1.png").write_bytes(replaced)
    text = (root / "labels.csv").read_text()
    (root / "labels.csv").write_text(text[:80_000] + "c" + text[80_001:])  # in the middle, of the same length
    (root / "0" / "2.png").unlink()
    (root / "0" / "3.png").write_bytes(b"new")
    made = table.read_bytes()
    stamp, sentence = changes(*archive)
    assert sentence == f"{root} has changed since it was last used: 2 files replaced, 1 added, 1 removed."
    assert stamp
    assert table.read_bytes() == made  # only the job writes it
    assert changes(*archive) == (stamp, sentence)
    manifest.make_manifest(*archive, stamp)
    assert changes(*archive) == (stamp, "")
    memory.unlink()
    assert changes(*archive) == (stamp, "")
    assert list(store.read_table(table)["path"]) == ["0/0.png", "0/1.png", "0/3.png", "labels.csv"]


def test_every_change_has_a_stamp_of_its_own_and_a_job_s_process_finds_it(archive):
    """The job is planned again after each change, also after one that takes an earlier one back."""
    root, table, memory, _ = archive
    first = (root / "0" / "1.png").read_bytes()
    stamps = [""]
    for content in (b"other", first, b"other"):
        (root / "0" / "1.png").write_bytes(content)
        stamps.append(changes(*archive)[0])
        table.unlink()  # as Snakemake does before the job; on a cluster the job's process plans after it
        assert changes(*archive) == (stamps[-1], "")
        manifest.make_manifest(*archive, stamps[-1])
    assert len(set(stamps)) == 4
    manifest.make_manifest(root, table, memory, select)
    assert store.read_metadata(table) == {}


def test_new_labels_of_the_same_images_are_not_a_change_of_the_images(archive):
    root, _, memory, _ = archive
    asked = []

    def step(listed_as_before: bool) -> manifest.Changes:
        found = manifest.changes(*archive, lambda: asked.append(1) or listed_as_before)
        manifest.make_manifest(*archive, found.stamp, found.images)
        assert manifest.changes(*archive, lambda: False) == manifest.Changes(found.stamp, found.images)
        return found

    assert step(True) == manifest.Changes()
    assert not asked
    (root / "labels.csv").write_text("other labels\n")
    labels = step(True)
    assert labels.stamp
    assert not labels.images
    assert len(asked) == 1
    (root / "0" / "1.png").write_bytes(b"replaced")
    replaced = step(True)
    assert replaced.stamp != labels.stamp
    assert replaced.images
    assert len(asked) == 1
    (root / "labels.csv").write_text("the same files under other names\n")
    renamed = step(False)
    assert renamed.images not in ("", replaced.images)
    (root / "labels.csv").write_text("labels again\n")
    assert step(True).images == renamed.images
    memory.unlink()
    assert manifest.changes(*archive, lambda: False).images == renamed.images


def test_the_list_of_images_has_what_ingest_needs_and_no_label(tmp_path):
    root, out, memory = tmp_path / "own", tmp_path / "own.images.parquet", tmp_path / "memory.parquet"
    rows = ["image_id,path,patient_id,labels,view", "a,1.png,p1,x,PA", "b,2.png,p2,,PA", "c,3.png,p3,x,AP"]

    def write(*rows: str) -> bool:
        (root / "images.csv").write_text("\n".join(rows) + "\n")
        return archives.lists_the_same(settings, out)

    root.mkdir()
    (root / "1.png").write_bytes(b"one")
    settings = config.Dataset(archive="own", root=str(root), views=["PA"])
    assert write(*rows)  # there is no list yet
    archives.write_image_list(settings, memory, out)
    listed = store.read_table(out)
    assert listed[["image_id", "path", "view"]].to_numpy().tolist() == [["a", "1.png", "PA"], ["b", "2.png", "PA"]]
    assert listed["bytes"].tolist()[0] == 3
    assert listed["digest"].isna().tolist() == [False, True]  # the second file is not there
    before = out.read_bytes()
    assert write(rows[0], "a,1.png,q1,y|z,PA", *rows[2:])  # other labels, another patient
    archives.write_image_list(settings, memory, out)
    assert out.read_bytes() == before
    assert write(*rows[:3])  # without an image of another view
    assert not write(*rows[:2])
    assert not write(*rows[:2], "b2,2.png,p2,,PA", rows[3])
    assert not write("not a table")
    (root / "1.png").write_bytes(b"two")
    write(*rows)
    archives.write_image_list(settings, memory, out)
    assert out.read_bytes() != before


def test_replaced_images_are_noticed_without_a_manifest(tmp_path):
    """After a killed run, or if only images were asked for, there is the list of images and no manifest."""
    root, table, listed, memory = (tmp_path / name for name in ("own", "none.parquet", "own.images.parquet", "memory.parquet"))
    settings = config.Dataset(archive="own", root=str(root), views=["PA"])
    rows = ["image_id,path,patient_id,labels,view", "a,1.png,p1,x,PA", "b,2.png,p2,,PA", "d,none.png,p4,,PA"]
    root.mkdir()
    for name in ("1.png", "2.png"):
        (root / name).write_bytes(b"first")
    (root / "images.csv").write_text("\n".join(rows) + "\n")
    select = partial(archives.selection, settings)
    step = lambda: manifest.changes(root, table, memory, select, partial(archives.lists_the_same, settings, listed), listed)
    make = lambda: archives.write_image_list(settings, memory, listed)
    assert step() == manifest.Changes()  # there is no list either
    make()
    assert step() == manifest.Changes()
    (root / "images.csv").write_text("\n".join([*rows[:2], "b,2.png,q2,y,PA", *rows[3:]]) + "\n")
    assert step() == manifest.Changes()  # new labels do not change the images
    (root / "2.png").write_bytes(b"other")
    found = step()
    assert found.images
    assert found.sentence.endswith("1 files replaced, 0 added, 0 removed.")
    assert step() == found  # in another process, before the list is made again
    make()
    same = manifest.Changes(found.stamp, found.images)
    assert step() == same
    os.utime(root / "2.png", ns=(1, 1))  # touched only, so the memory is written again
    assert step() == same
    assert step() == same
    (root / "2.png").unlink()
    removed = step()
    assert removed.images not in ("", found.images)
    assert removed.sentence.endswith("0 files replaced, 0 added, 1 removed.")
    make()
    (root / "images.csv").write_text("\n".join(rows[:3]) + "\n")  # the list has one image less, the folder the same files
    assert step().images not in ("", removed.images)


def test_only_new_files_are_read_again(archive, monkeypatch):
    root = archive[0]
    (root / "0" / "4.png").write_bytes(b"new")
    read = []
    digest = manifest._digest
    monkeypatch.setattr(manifest, "_digest", lambda path, length: read.append(path.name) or digest(path, length))
    changes(*archive)
    assert read == ["4.png"]


def test_without_archive_or_manifest_there_is_nothing_to_compare(archive, tmp_path):
    root, table, memory, _ = archive
    assert changes(tmp_path / "elsewhere", table, memory, select) == ("", "")
    assert changes(root, tmp_path / "none.parquet", memory, select) == ("", "")
    with pytest.raises(ThoraxError, match="elsewhere is not there: put the archive there"):
        manifest.make_manifest(tmp_path / "elsewhere", table, memory, select)


def test_a_broken_link_is_named_if_it_is_read(archive):
    root = archive[0]
    (root / "0" / "8.png").symlink_to("nowhere.png")
    assert changes(*archive) == ("", "")
    (root / "0" / "4.png").symlink_to("nowhere.png")
    with pytest.raises(ThoraxError, match=r"4\.png cannot be read"):
        changes(*archive)


def test_dvc_refuses_an_archive_that_holds_the_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = Job("manifest", {"dataset": "mine"}, (), ("results/raw/mine.manifest.parquet",), {"root": "."}, "", "", 1, {}, "")
    with pytest.raises(ThoraxError, match=r"DVC cannot version results inside the archive that they are made from \(\.\)"):
        dvc._text(Dag([job], []), [])
    elsewhere = Dag([replace(job, params={"root": "data/mine"})], [])
    assert "- data/mine\n" in dvc._text(elsewhere, [])
