"""Ingest of hand-made archives: every reason, one opening per file, the same bytes for any number of workers."""

import os
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from thorax import config
from thorax.errors import ThoraxError
from thorax.images import duplicates, ingest
from thorax.storage import schemas, store

SAMPLE = Path(__file__).parents[3].parent / "shared" / "data" / "nih_sample"
SHAPES = {"tall": (60, 30), "wide": (700, 900), "small": (20, 20)}


def write_catalog(out: Path, image_ids: list[str], **columns) -> Path:
    rows = pd.DataFrame({"image_id": image_ids, "path": image_ids, "patient_id": "p", "view": "PA"})
    for name in schemas.CATALOG.names:
        if name not in rows:
            rows[name] = [[]] * len(rows) if name in ("positive", "negative", "uncertain") else None
    rows["photometric"] = "MONOCHROME2"
    store.write_table(rows.assign(**columns), out, schemas.CATALOG)
    return out


def settings(root: Path, **changes) -> config.Dataset:
    return config.Dataset(**{"archive": "nih", "root": str(root), "shards": 1, "max_pixels": 1_000_000, **changes})


def run(folder: Path, chosen: config.Dataset, table: Path, shard: int = 0, workers: int = 2) -> tuple[np.ndarray, pd.DataFrame]:
    out = folder / f"{shard}.{workers}.npy", folder / f"{shard}.{workers}.parquet"
    ingest.ingest_shard(chosen, table, shard, *out, workers)
    return store.open_array(out[0]), store.read_table(out[1]).set_index("image_id")


def noise(shape: tuple[int, ...], high: int = 4096, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(5, high, shape).astype(np.uint16 if high > 256 else np.uint8)


@pytest.fixture
def archive(tmp_path) -> Path:
    """One file of every kind."""
    root = tmp_path / "archive"
    root.mkdir()
    good = noise((60, 50))
    cv2.imwrite(str(root / "a_good16.png"), good)
    cv2.imwrite(str(root / "b_rgba.png"), np.dstack([noise((40, 40), 250)] * 3 + [np.zeros((40, 40), np.uint8)]))
    cv2.imwrite(str(root / "c_rgb.jpg"), np.dstack([noise((40, 40), 250)] * 3))
    (root / "d_cut.png").write_bytes((root / "a_good16.png").read_bytes()[:2000])
    (root / "e_empty.png").touch()
    (root / "f_text.png").write_text("not a picture")
    cv2.imwrite(str(root / "g_constant.png"), np.full((30, 20), 77, np.uint16))
    cv2.imwrite(str(root / "h_large.png"), np.zeros((1001, 1000), np.uint8))
    (root / "i_folder.png").mkdir()
    whole = (root / "c_rgb.jpg").read_bytes()
    third = len(whole) // 3
    (root / "l_zeros.jpg").write_bytes(whole[:third] + bytes(third) + whole[2 * third :])
    cv2.imwrite(str(root / "k_good8.png"), noise((30, 30), 200, seed=4))
    return root


IDS = ["a_good16.png", "b_rgba.png", "c_rgb.jpg", "d_cut.png", "e_empty.png", "f_text.png", "g_constant.png"]
IDS += ["h_large.png", "i_folder.png", "j_absent.png", "k_good8.png", "l_zeros.jpg"]


def test_every_reason(archive, tmp_path):
    array, table = run(tmp_path, settings(archive), write_catalog(tmp_path / "c.parquet", IDS[::-1]))
    assert table.index.tolist() == IDS
    assert table["reason"].dropna().to_dict() == {
        "d_cut.png": "truncated",
        "e_empty.png": "empty",
        "f_text.png": "not_image",
        "g_constant.png": "constant",
        "h_large.png": "too_large",
        "i_folder.png": "not_image",
        "j_absent.png": "missing",
        "l_zeros.jpg": "truncated",
    }
    ok = table[table["ok"]]
    assert ok["row"].tolist() == list(range(4)) == list(range(len(array)))
    assert (ok["shard"] == 0).all()
    assert (table.loc[~table["ok"], ["shard", "row"]] == -1).all(axis=None)
    shape = ["rows", "columns", "channels", "bits", "low", "high"]
    assert table.loc["a_good16.png", shape].tolist() == [60, 50, 1, 16, noise((60, 50)).min(), noise((60, 50)).max()]
    assert table.loc["b_rgba.png", shape[:4]].tolist() == [40, 40, 4, 8]
    assert table.loc["c_rgb.jpg", shape[:4]].tolist() == [40, 40, 3, 8]
    assert table.loc["d_cut.png", shape].tolist() == [60, 50, 1, 16, 0, 0]
    assert table.loc["g_constant.png", shape].tolist() == [30, 20, 1, 16, 77, 77]
    assert table.loc["h_large.png", shape[:2]].tolist() == [1001, 1000]
    assert table.loc["j_absent.png", shape].tolist() == [0] * 6


def test_pixels_equal_a_direct_computation(tmp_path):
    image = noise((1024, 2048))
    cv2.imwrite(str(tmp_path / "x.png"), image)
    array, table = run(tmp_path, settings(tmp_path, max_pixels=10**7), write_catalog(tmp_path / "c.parquet", ["x.png"]))
    means = image.astype(float).reshape(512, 2, 512, 4).mean(axis=(1, 3))
    low, high = table.loc["x.png", ["low", "high"]]
    assert array.shape == (1, 512, 512)
    np.testing.assert_allclose(array[0], (means - low) * 255 / (high - low), atol=0.6)


def test_monochrome1_is_inverted_but_its_range_is_as_stored(tmp_path):
    cv2.imwrite(str(tmp_path / "x.png"), noise((64, 64)))
    cv2.imwrite(str(tmp_path / "y.png"), noise((64, 64)))
    table = write_catalog(tmp_path / "c.parquet", ["x.png", "y.png"], photometric=["MONOCHROME2", "MONOCHROME1"])
    array, rows = run(tmp_path, settings(tmp_path), table)
    np.testing.assert_array_equal(array[1], 255 - array[0])
    assert rows.loc["x.png", ["low", "high"]].tolist() == rows.loc["y.png", ["low", "high"]].tolist()


def test_bytes_do_not_depend_on_workers(archive, tmp_path):
    for index, shape in enumerate([(300, 200), (10, 10), (40, 600)] * 5):  # quick and slow files alternate
        cv2.imwrite(str(archive / f"{index:02d}.png"), noise(shape, seed=index))
    table = write_catalog(tmp_path / "c.parquet", sorted([file.name for file in archive.iterdir()] + ["j_absent.png"]))
    for workers in (1, 2, 7):
        run(tmp_path, settings(archive), table, workers=workers)
    for suffix in ("npy", "parquet"):
        first = (tmp_path / f"0.1.{suffix}").read_bytes()
        assert (tmp_path / f"0.2.{suffix}").read_bytes() == first == (tmp_path / f"0.7.{suffix}").read_bytes()


def test_the_file_is_what_numpy_would_save(archive, tmp_path):
    array, _ = run(tmp_path, settings(archive), write_catalog(tmp_path / "c.parquet", IDS))
    np.save(tmp_path / "again.npy", array)
    assert (tmp_path / "again.npy").read_bytes() == (tmp_path / "0.2.npy").read_bytes()


def test_each_file_is_opened_once(archive, tmp_path, monkeypatch):
    table = write_catalog(tmp_path / "c.parquet", IDS)
    opened, real = [], os.open

    def counting(path, *arguments, **named):
        if Path(path).parent == archive:
            opened.append(Path(path).name)
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, "open", counting)
    monkeypatch.setattr(cv2, "imread", lambda *_: pytest.fail("a second way to open a file"))
    monkeypatch.setattr(Path, "read_bytes", lambda *_: pytest.fail("a second way to open a file"))
    run(tmp_path, settings(archive), table)
    assert sorted(opened) == IDS


def test_shards_partition_the_views(archive, tmp_path):
    views = ["PA"] * 9 + ["L", "PA", "L"]
    table = write_catalog(tmp_path / "c.parquet", IDS, view=views)
    parts = [run(tmp_path, settings(archive, shards=4), table, shard)[1] for shard in range(4)]
    assert [len(part) for part in parts] == [3, 3, 2, 2]
    assert pd.concat(parts).index.tolist() == [name for name in IDS if name not in ("j_absent.png", "l_zeros.jpg")]
    assert parts[3].loc["k_good8.png", ["shard", "row"]].tolist() == [3, 0]


def test_a_shard_may_be_empty(archive, tmp_path):
    table = write_catalog(tmp_path / "c.parquet", IDS[:2])
    array, rows = run(tmp_path, settings(archive, shards=3), table, shard=2)
    assert array.shape == (0, 512, 512)
    assert rows.empty


@pytest.mark.parametrize("path", ["../outside.png", "/etc/passwd", "a/../../b.png"])
def test_a_path_that_leaves_the_archive_is_refused(archive, tmp_path, path):
    table = write_catalog(tmp_path / "c.parquet", ["a_good16.png"], path=path)
    with pytest.raises(ThoraxError, match="leaves"):
        run(tmp_path, settings(archive), table)


def test_links_inside_the_archive_are_followed(archive, tmp_path):
    cv2.imwrite(str(tmp_path / "elsewhere.png"), noise((10, 10)))
    (archive / "link.png").symlink_to(tmp_path / "elsewhere.png")
    _, rows = run(tmp_path, settings(archive), write_catalog(tmp_path / "c.parquet", ["link.png"]))
    assert rows["ok"].all()


def test_wrong_settings_are_sentences(archive, tmp_path):
    table = write_catalog(tmp_path / "padchest.parquet", IDS)
    with pytest.raises(ThoraxError, match=r"datasets\.padchest\.root"):
        run(tmp_path, settings(tmp_path / "nowhere"), table)
    with pytest.raises(ThoraxError, match=r"datasets\.padchest\.views; the views there are PA"):
        run(tmp_path, settings(archive, views=["LL"]), table)
    with pytest.raises(ThoraxError, match="Shard 1 does not exist"):
        run(tmp_path, settings(archive), table, shard=1)


def test_a_failing_disk_stops_the_run(archive, tmp_path, monkeypatch):
    real = os.open

    def failing(path, *arguments, **named):
        if str(path).endswith("a_good16.png"):
            raise OSError(5, "Input/output error")
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(ThoraxError, match=r"a_good16\.png cannot be read \(Input/output error\)"):
        run(tmp_path, settings(archive), write_catalog(tmp_path / "c.parquet", IDS))
    assert not (tmp_path / "0.2.npy").exists()


def test_merge_sorts_and_allows_the_share(archive, tmp_path):
    table = write_catalog(tmp_path / "c.parquet", IDS)
    chosen = settings(archive, shards=2, max_bad_share=8 / 12)
    for shard in (0, 1):
        run(tmp_path, chosen, table, shard)
    ingest.merge_ingested(
        chosen, [tmp_path / "1.2.parquet", tmp_path / "0.2.parquet"], tmp_path / "all.parquet", tmp_path / "d.parquet"
    )
    merged = store.read_table(tmp_path / "all.parquet")
    assert merged.columns.tolist() == schemas.INGESTED.names
    assert merged["image_id"].tolist() == IDS
    assert store.read_table(tmp_path / "d.parquet").columns.tolist() == schemas.DUPLICATES.names
    assert merged.loc[merged["ok"], ["shard", "row"]].to_numpy().tolist() == [[0, 0], [0, 1], [0, 2], [1, 0]]


def test_merge_stops_at_too_many_bad_images(archive, tmp_path):
    chosen = settings(archive, max_bad_share=0.6)
    run(tmp_path, chosen, write_catalog(tmp_path / "c.parquet", IDS))
    with pytest.raises(ThoraxError) as caught:
        ingest.merge_ingested(chosen, [tmp_path / "0.2.parquet"], tmp_path / "padchest.parquet", tmp_path / "d.parquet")
    sentence = str(caught.value)
    for part in ("8 of 12", "66.7%", "not_image (2, e.g. f_text.png)", "datasets.padchest.max_bad_share", "0.6"):
        assert part in sentence
    assert not (tmp_path / "padchest.parquet").exists()


def test_merge_refuses_an_archive_without_a_usable_image(tmp_path):
    chosen = settings(tmp_path, max_bad_share=1)
    run(tmp_path, chosen, write_catalog(tmp_path / "c.parquet", ["absent.png"]))
    with pytest.raises(ThoraxError, match="1 of 1"):
        ingest.merge_ingested(chosen, [tmp_path / "0.2.parquet"], tmp_path / "all.parquet", tmp_path / "d.parquet")


def test_merge_refuses_tables_of_different_cuts(archive, tmp_path):
    run(tmp_path, settings(archive), write_catalog(tmp_path / "c.parquet", IDS))
    with pytest.raises(ThoraxError, match=r"'a_good16\.png' is in two"):
        ingest.merge_ingested(
            settings(archive), [tmp_path / "0.2.parquet"] * 2, tmp_path / "all.parquet", tmp_path / "d.parquet"
        )


def test_copies_are_found_across_formats_and_shards(tmp_path):
    coarse = np.random.default_rng(0).normal(0, 1, (24, 24)).astype(np.float32)
    film = cv2.normalize(cv2.resize(coarse, (600, 700), interpolation=cv2.INTER_CUBIC), None, 0, 255, cv2.NORM_MINMAX).astype(
        np.uint8
    )
    cv2.imwrite(str(tmp_path / "a.png"), film)
    cv2.imwrite(str(tmp_path / "b.png"), film.astype(np.uint16) * 16)  # other bits
    cv2.imwrite(str(tmp_path / "c.png"), np.dstack([film] * 3))
    cv2.imwrite(str(tmp_path / "d.png"), 255 - film)  # stored inverted
    cv2.imwrite(
        str(tmp_path / "e.jpg"), cv2.resize(film, (300, 350), interpolation=cv2.INTER_AREA), [cv2.IMWRITE_JPEG_QUALITY, 60]
    )
    cv2.imwrite(str(tmp_path / "f.png"), film[:, ::-1])
    (tmp_path / "g.png").touch()
    ids = ["a.png", "b.png", "c.png", "d.png", "e.jpg", "f.png", "g.png"]
    photometric = ["MONOCHROME1" if name == "d.png" else "MONOCHROME2" for name in ids]
    listed = write_catalog(tmp_path / "c.parquet", ids, photometric=photometric)
    chosen = settings(tmp_path, shards=2, max_bad_share=0.5)
    for shard in (0, 1):
        run(tmp_path, chosen, listed, shard)
    tables = [tmp_path / "0.2.parquet", tmp_path / "1.2.parquet"]
    ingest.merge_ingested(chosen, tables, tmp_path / "all.parquet", tmp_path / "d.parquet")
    found = store.read_table(tmp_path / "d.parquet")
    assert found[["image_id", "other_id", "identical"]].to_numpy().tolist() == [
        ["a.png", "b.png", False],  # the finer steps give other averages
        ["a.png", "c.png", True],
        ["a.png", "d.png", True],
        ["a.png", "e.jpg", False],
    ]
    assert store.read_table(tables[1]).set_index("image_id").loc["g.png", ["digest", "phash"]].isna().all()


@pytest.mark.real
@pytest.mark.skipif(not SAMPLE.exists(), reason="needs the NIH sample")
def test_the_real_sample_is_whole(tmp_path):
    ids = sorted(file.name for file in (SAMPLE / "images").iterdir())
    array, table = run(tmp_path, settings(SAMPLE / "images", max_pixels=50_000_000), write_catalog(tmp_path / "c.parquet", ids))
    assert table["ok"].all()
    assert len(array) == len(ids) == 794
    assert table["channels"].value_counts().to_dict() == {1: 790, 4: 4}
    same = duplicates.find(table.reset_index())
    assert same[["identical", "bits"]].to_numpy().tolist() == [[True, 0]]  # the one pair that is known, of one patient
    assert same["image_id"][0].split("_")[0] == same["other_id"][0].split("_")[0]
    assert (table.loc[table["channels"] == 4, "rows"] == 1024).all()
    grey = cv2.imread(str(SAMPLE / "images" / ids[100]), cv2.IMREAD_UNCHANGED).astype(float)
    expected = (grey - grey.min()) * 255 / (grey.max() - grey.min())
    np.testing.assert_allclose(array[100], expected, atol=0.5)
