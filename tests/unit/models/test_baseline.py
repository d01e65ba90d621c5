"""The linear baseline: what it sees, that it learns what is there and nothing else, and its anchors on real radiographs."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GroupKFold

from thorax.errors import ThoraxError
from thorax.evaluation.metrics import auc
from thorax.models.baseline import fit_predict, make_baseline, tiny_images
from thorax.storage import schemas, store

REAL = Path(__file__).parents[3].parent / "shared" / "data"
N = 160


@pytest.fixture
def archive(tmp_path):
    """Noise in two shards; images of class `bright` have a bright upper half, class `luck` has nothing to see."""
    random = np.random.default_rng(0)
    bright, luck = random.integers(0, 2, N), random.integers(0, 2, N)
    images = random.integers(0, 120, (N, 64, 64)).astype(np.uint8)
    images[bright == 1, :32] += 60
    identifiers = [f"i{number:03d}" for number in range(N)]
    shards = np.arange(N) % 2
    for shard in (0, 1):
        store.write_array(images[shards == shard], tmp_path / f"{shard}.npy")
    ingested = pd.DataFrame({"image_id": identifiers, "ok": True, "shard": shards, "row": np.arange(N) // 2})
    ingested = ingested.assign(
        reason=None, rows=64, columns=64, channels=1, bits=8, burned_in=False, collimated=False, low=0, high=255
    )
    labels = pd.DataFrame({"image_id": identifiers, "patient_id": identifiers, "bright": bright, "luck": luck})
    split = labels[["image_id", "patient_id"]].assign(split=["train"] * 100 + ["val"] * 20 + ["test"] * 40)
    store.write_table(ingested, tmp_path / "ingested.parquet", schemas.INGESTED)
    store.write_table(labels, tmp_path / "labels.parquet", schemas.labels_schema(["bright", "luck"]))
    store.write_table(split, tmp_path / "split.parquet", schemas.SPLITS)
    return tmp_path


def run(folder: Path, out: str = "baseline.parquet") -> pd.DataFrame:
    tables = [folder / f"{name}.parquet" for name in ("ingested", "labels", "split")]
    make_baseline([folder / "0.npy", folder / "1.npy"], *tables, folder / out)
    return store.read_table(folder / out)


def test_images_are_reduced_by_area_and_equalised(tmp_path):
    image = np.zeros((1, 64, 64), np.uint8)
    image[0, 1::2, 1::2] = 200  # each 2 x 2 block has the mean 50
    image[0, :32] = 10
    store.write_array(image, tmp_path / "0.npy")
    pixels = tiny_images(store.PackedImages([tmp_path / "0.npy"]), np.array([0]), np.array([0]))
    assert pixels.shape == (1, 1024)
    np.testing.assert_array_equal(pixels[0], np.repeat([0.0, 1.0], 512))  # two greys, spread over the whole range


def test_it_learns_what_is_visible_and_only_that(archive):
    logits = run(archive).set_index("image_id")
    labels = store.read_table(archive / "labels.parquet").set_index("image_id").loc[logits.index]
    assert list(logits.columns) == ["split", "bright", "luck"]
    assert list(logits["split"]) == ["val"] * 20 + ["test"] * 40
    assert auc(labels["bright"].to_numpy(), logits["bright"].to_numpy()) == 1
    assert auc(labels["luck"].to_numpy(), logits["luck"].to_numpy()) < 0.75


def test_same_bytes_again_and_for_any_order_of_rows(archive):
    run(archive, "one.parquet")
    for name, schema in (("labels", schemas.labels_schema(["bright", "luck"])), ("split", schemas.SPLITS)):
        table = store.read_table(archive / f"{name}.parquet").sample(frac=1, random_state=1)
        store.write_table(table, archive / f"{name}.parquet", schema)
    run(archive, "two.parquet")
    assert (archive / "one.parquet").read_bytes() == (archive / "two.parquet").read_bytes()


def test_images_that_the_split_leaves_out_are_neither_learnt_from_nor_predicted(archive):
    split = store.read_table(archive / "split.parquet")
    split.loc[[3, 105, 130], "split"] = schemas.LEFT_OUT
    store.write_table(split, archive / "split.parquet", schemas.SPLITS)
    logits = run(archive)
    assert logits["split"].value_counts().to_dict() == {"test": 39, "val": 19}
    for name in ("labels", "split"):  # as if they were not there
        table = store.read_table(archive / f"{name}.parquet").drop(index=[3, 105, 130])
        schema = schemas.SPLITS if name == "split" else schemas.labels_schema(["bright", "luck"])
        store.write_table(table, archive / f"{name}.parquet", schema)
    pd.testing.assert_frame_equal(run(archive), logits)


def test_ignored_labels_are_left_out_of_the_fit():
    random = np.random.default_rng(1)
    pixels = random.normal(size=(300, 20)).astype(np.float32)
    truth = (pixels[:, :1] > 0).astype(int)
    train = np.arange(300) < 200
    masked = truth.copy()
    masked[:50] = -1
    swapped = truth.copy()
    swapped[:50] = 1 - swapped[:50]
    with_gaps = fit_predict(pixels, masked, train)[:, 0]
    assert auc(truth[~train, 0], with_gaps) > 0.97
    assert np.abs(with_gaps).mean() > 2 * np.abs(fit_predict(pixels, swapped, train)[:, 0]).mean()


@pytest.mark.parametrize("constant", [0, 1])
def test_a_class_with_one_value_in_training_is_named(archive, constant):
    labels = store.read_table(archive / "labels.parquet")
    labels.loc[:99, "luck"] = constant
    labels.loc[:9, "luck"] = -1
    store.write_table(labels, archive / "labels.parquet", schemas.labels_schema(["bright", "luck"]))
    kind = "negative" if constant else "positive"
    with pytest.raises(ThoraxError, match=f"class 'luck' has no {kind} training image"):
        run(archive)


def test_images_without_place_or_part_are_refused(archive):
    split = store.read_table(archive / "split.parquet")
    store.write_table(split[split["image_id"] != "i005"], archive / "split.parquet", schemas.SPLITS)
    with pytest.raises(ThoraxError, match=r"split.parquet has no row for image 'i005'"):
        run(archive)
    store.write_table(split, archive / "split.parquet", schemas.SPLITS)
    ingested = store.read_table(archive / "ingested.parquet")
    ingested.loc[3, ["ok", "row", "shard"]] = [False, -1, -1]
    store.write_table(ingested, archive / "ingested.parquet", schemas.INGESTED)
    with pytest.raises(ThoraxError, match=r"ingested.parquet: image 'i003' of .* could not be ingested"):
        run(archive)


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the real radiographs are not beside the checkout")
def test_real_radiographs_give_the_anchors(tmp_path):
    """794 images of the NIH sample, five folds by patient: AUC of No Finding 0.785, of Effusion 0.645 in an earlier measurement."""
    folder = REAL / "nih_sample"
    table = pd.read_csv(folder / "Data_Entry_2017_v2020.csv")
    images = [cv2.imread(str(folder / "images" / name), cv2.IMREAD_GRAYSCALE) for name in table["Image Index"]]
    images = np.stack([cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA) for image in images])
    store.write_array(images, tmp_path / "0.npy")
    pixels = tiny_images(store.PackedImages([tmp_path / "0.npy"]), np.zeros(len(images), int), np.arange(len(images)))
    truth = np.column_stack([table["Finding Labels"].str.contains(name) for name in ("No Finding", "Effusion")]).astype(int)
    logits = np.zeros(truth.shape)
    for train, test in GroupKFold(5).split(pixels, truth, table["Patient ID"]):
        logits[test] = fit_predict(pixels, truth, np.isin(np.arange(len(truth)), train))
    assert auc(truth[:, 0], logits[:, 0]) == pytest.approx(0.785, abs=0.02)
    assert auc(truth[:, 1], logits[:, 1]) == pytest.approx(0.645, abs=0.02)


def test_stored_values_look_to_it_as_their_own_range_does(tmp_path):
    """An image of 16 bits whose values are 100 + 15 times those of an 8-bit image that fills its range, and a constant one."""
    small = np.random.default_rng(3).integers(0, 256, (32, 32)).astype(np.uint8)
    small[0, :2] = 0, 255
    store.write_array(small[None], tmp_path / "8.npy")
    store.write_array(np.stack([100 + 15 * small.astype(np.uint16), np.full((32, 32), 900, np.uint16)]), tmp_path / "16.npy")
    eight = tiny_images(store.PackedImages([tmp_path / "8.npy"]), np.array([0]), np.array([0]))
    sixteen = tiny_images(store.PackedImages([tmp_path / "16.npy"]), np.array([0, 0]), np.array([0, 1]))
    np.testing.assert_array_equal(sixteen[0], eight[0])
    assert np.ptp(sixteen[1]) == 0
