"""Files are whole or absent."""

import errno

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from thorax.errors import ThoraxError
from thorax.storage import store

SCHEMA = pa.schema({"a": pa.int32(), "b": pa.string()})


def test_a_failure_leaves_neither_the_file_nor_a_temporary_one(tmp_path):
    with pytest.raises(RuntimeError, match="halfway"), store.atomic(tmp_path / "x.csv") as path:
        path.write_text("half")
        raise RuntimeError("halfway")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_the_file_that_was_there(tmp_path):
    (tmp_path / "x.csv").write_text("old")
    with pytest.raises(RuntimeError), store.atomic(tmp_path / "x.csv") as path:
        path.write_text("new")
        raise RuntimeError
    assert (tmp_path / "x.csv").read_text() == "old"


def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path):
    kept = [".x.csv", ".x.csv.part-", ".x.csv.part-abc.csv", "x.csv.part-abcdefgh.csv", ".notes.part-of-a-book.txt"]
    for name in (*kept, ".x.csv.part-abcdefgh.csv", ".y.keras.part-1234_678.keras", ".z.part-abcdefgh"):
        (tmp_path / name).write_text("half")
    with store.atomic(tmp_path / "used.csv") as used:
        store._swept.clear()
        store.write_text("x", tmp_path / "other.csv")
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, "other.csv", used.name])
        used.write_text("whole")
    assert (tmp_path / "used.csv").read_text() == "whole"


def test_a_block_inside_another_writes_the_same_temporary_file(tmp_path):
    with store.atomic(tmp_path / "x.csv") as outer:
        with store.atomic(outer) as inner:
            assert inner == outer
        store.write_text("a", outer)
        assert [path.name for path in tmp_path.iterdir()] == [outer.name]
    assert (tmp_path / "x.csv").read_text() == "a\n"
    with (
        pytest.raises(
            ThoraxError, match=r"first\.csv cannot be written \(No space left on device\): free some disk space, then"
        ),
        store.atomic(tmp_path / "first.csv") as first,
        store.atomic(tmp_path / "second.csv"),
        store.atomic(first),
    ):
        raise OSError(28, "No space left on device")


def test_a_full_disk_is_a_sentence_for_mapped_arrays_too(tmp_path, monkeypatch):
    """Without blocks on the disk, the first write to a mapped page would be the end of the process (SIGBUS)."""
    asked = []

    def full(descriptor, offset, length):
        asked.append(length)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "posix_fallocate", full)
    with pytest.raises(ThoraxError, match=r"a\.npy cannot be written \(No space left on device\): free some disk space"):
        store.write_array(np.zeros((3, 1000), np.uint8), tmp_path / "a.npy")
    assert asked == [3128]
    assert list(tmp_path.iterdir()) == []


def test_an_altered_byte_of_a_table_is_noticed(tmp_path):
    values = pd.DataFrame({"a": np.random.default_rng(0).integers(2**31, size=5000), "b": "x"})
    store.write_table(values, tmp_path / "t.parquet", SCHEMA)
    whole = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(whole[:9000] + bytes([whole[9000] ^ 1]) + whole[9001:])
    with pytest.raises(ThoraxError, match=r"t\.parquet is not a readable Parquet table: delete and remake it"):
        store.read_table(tmp_path / "t.parquet")


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n3,", "a,b\n1,2\n3,4,5\n", None])
def test_a_cut_csv_file_is_noticed(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_bytes(b"a\n\xff\n" if text is None else text.encode())
    with pytest.raises(ThoraxError, match=r"t\.csv is not a whole CSV table: delete and remake it"):
        store.read_csv(path)
    path.unlink()
    with pytest.raises(ThoraxError, match=r"t\.csv is not there"):
        store.read_csv(path)
    path.write_text("a,b\n1,2\n")
    assert store.read_csv(path).to_dict("list") == {"a": [1], "b": [2]}


def test_tables_have_exactly_the_schema_and_the_same_bytes(tmp_path):
    frame = pd.DataFrame({"b": ["x", None], "a": [1, 2], "more": [0, 0]})
    store.write_table(frame, tmp_path / "1.parquet", SCHEMA)
    store.write_table(frame, tmp_path / "2.parquet", SCHEMA)
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()
    assert list(store.read_table(tmp_path / "1.parquet").columns) == ["a", "b"]


def test_a_dot_in_a_column_and_an_equals_sign_in_the_path_are_no_trouble(tmp_path):
    folder = tmp_path / "key=value"
    store.write_table(pd.DataFrame({"a.b": [1]}), folder / "t.parquet", pa.schema({"a.b": pa.int32()}))
    assert store.read_table(folder / "t.parquet")["a.b"].tolist() == [1]
    assert list(store.read_table(folder / "t.parquet").columns) == ["a.b"]


def test_missing_and_damaged_files_are_named(tmp_path):
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY no")
    for path, words in [("no.parquet", "is not there"), ("bad.parquet", "not a readable Parquet table")]:
        with pytest.raises(ThoraxError, match=f"{path}.*{words}"):
            store.read_table(tmp_path / path)
    for path, words in [("no.npy", "is not there"), ("bad.npy", "not a readable .npy array")]:
        with pytest.raises(ThoraxError, match=f"{path}.*{words}"):
            store.open_array(tmp_path / path)


def test_a_missing_column_is_an_error(tmp_path):
    store.write_table(pd.DataFrame({"a": [1], "b": ["x"]}), tmp_path / "t.parquet", SCHEMA)
    with pytest.raises(ThoraxError, match=r"t\.parquet lacks the column c:"):
        store.read_table(tmp_path / "t.parquet", ["a", "c"])
    with pytest.raises(ThoraxError, match=r"t\.parquet lacks the column patient_id:"):
        store.read_table(tmp_path / "t.parquet", needs=("a", "patient_id"))
    assert list(store.read_table(tmp_path / "t.parquet", needs=("b",))) == ["a", "b"]


def test_of_two_outputs_neither_appears_where_one_cannot(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ThoraxError, match="file cannot be written"),
        store.atomic(tmp_path / "a.csv") as first,
        store.atomic(tmp_path / "file" / "b.csv"),
    ):
        store.write_text("x", first)
    with (
        pytest.raises(RuntimeError),
        store.atomic(tmp_path / "a.csv") as first,
        store.atomic(tmp_path / "b.csv") as second,
    ):
        store.write_text("x", first)
        store.write_text("x", second)
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ThoraxError, match="cannot be written"):
        store.write_text("x", tmp_path / "file" / "x.txt")


def test_arrays_are_mapped_read_only_and_empty_ones_open_too(tmp_path):
    with store.new_array(tmp_path / "a.npy", (3, 2), np.uint8) as array:
        array[:] = 7
    mapped = store.open_array(tmp_path / "a.npy")
    assert isinstance(mapped, np.memmap)
    assert mapped.tolist() == [[7, 7]] * 3
    with pytest.raises(ValueError, match="read-only"):
        mapped[0] = 1
    with store.new_array(tmp_path / "empty.npy", (0, 4), np.uint8):
        pass
    assert store.open_array(tmp_path / "empty.npy").shape == (0, 4)


def test_packed_images_come_in_the_order_that_is_asked_for(tmp_path):
    for shard in (0, 1):
        store.write_array(np.arange(3)[:, None, None] + 10 * shard + np.zeros((3, 2, 2), np.uint8), tmp_path / f"{shard}.npy")
    images = store.PackedImages([tmp_path / "0.npy", tmp_path / "1.npy"])
    taken = images.take(np.array([1, 0, 1]), np.array([2, 0, 0]))
    assert taken[:, 0, 0].tolist() == [12, 0, 10]


class TestShards:
    """Two shards of two and one images; one image of the data set is not ok."""

    TABLE = pd.DataFrame(
        {"image_id": list("dabc"), "ok": [True, True, False, True], "shard": [1, 0, -1, 0], "row": [0, 1, -1, 0]}
    )

    def paths(self, folder, shapes=((2, 4, 4), (1, 4, 4))):
        for shard, shape in enumerate(shapes):
            store.write_array(np.zeros(shape, np.uint8), folder / f"{shard}.npy")
        return [folder / f"{shard}.npy" for shard in range(len(shapes))]

    def test_rows_come_in_the_order_of_the_array(self, tmp_path):
        paths = self.paths(tmp_path)
        rows = store.ingested_rows(self.TABLE, 0, store.open_array(paths[0]), paths[0])
        assert rows["image_id"].tolist() == ["c", "a"]
        assert len(store.open_packed(self.TABLE, paths).arrays) == 2

    def test_an_empty_last_shard_is_no_trouble(self, tmp_path):
        packed = store.open_packed(self.TABLE, self.paths(tmp_path, [(2, 4, 4), (1, 4, 4), (0, 4, 4)]))
        assert [len(array) for array in packed.arrays] == [2, 1, 0]

    @pytest.mark.parametrize(
        ("shapes", "words"),
        [
            ([(2, 4, 4)], r"0\.npy: 1 of the 2 shards"),
            ([(2, 4, 4), (2, 4, 4)], r"1\.npy has the shape 2 x 4 x 4, but 1 images of shard 1"),
            ([(1, 4, 4), (2, 4, 4)], r"0\.npy has the shape 1 x 4 x 4, but 2 images of shard 0"),
            ([(2, 4), (1, 4, 4)], r"0\.npy has the shape 2 x 4,"),
            ([(2, 4, 4), (1, 5, 4)], r"1\.npy has images of another size or type than .*0\.npy"),
            ([(2, 4, 4), (1, 4, 4), (1, 4, 4)], r"2\.npy has the shape 1 x 4 x 4, but 0 images of shard 2"),
        ],
    )
    def test_arrays_of_something_else_are_refused(self, tmp_path, shapes, words):
        with pytest.raises(ThoraxError, match=words):
            store.open_packed(self.TABLE, self.paths(tmp_path, shapes))


def test_one_process_at_a_time(tmp_path, monkeypatch):
    held, refused = store.only_one(tmp_path / "state"), store.only_one(tmp_path / "state")
    with held, pytest.raises(ThoraxError, match="state is being made by another process"), refused:
        pass
    assert list(tmp_path.iterdir()) == []

    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(store.fcntl, "flock", no_locks)
    with (
        pytest.raises(ThoraxError, match=r"state\.lock cannot be locked \(No locks available\)"),
        store.only_one(tmp_path / "state"),
    ):
        pass
