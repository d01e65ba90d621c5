"""The lung segmenter on synthetic ellipses, and its Dice on real radiographs."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from thorax.config import Segmenter
from thorax.errors import ThoraxError
from thorax.images import masks, segmenter
from thorax.images.mask_pairs import FRONTAL_VIEWS, read_mask_pairs
from thorax.storage import schemas, store

REAL = Path(__file__).parents[3].parent / "shared" / "data" / "lung_masks"
TINY = {"size": 32, "filters": [4, 8], "epochs": 2, "batch_size": 4}


def phantom(rng: np.random.Generator, rows: int = 60, columns: int = 72) -> tuple[np.ndarray, np.ndarray]:
    """A bright chest with two dark ellipses, and their mask, both (rows, columns) uint8."""
    y, x = np.mgrid[:rows, :columns]
    y, x = (y + 0.5) / rows, (x + 0.5) / columns
    middle, top = rng.uniform(0.45, 0.55), rng.uniform(0.4, 0.5)
    lungs = np.zeros((rows, columns), bool)
    for side in (-1, 1):
        radii = rng.uniform(0.13, 0.17), rng.uniform(0.28, 0.34)
        lungs |= ((x - middle - side * 0.22) / radii[0]) ** 2 + ((y - top) / radii[1]) ** 2 <= 1
    grey = np.where(lungs, 70, 180) + rng.normal(0, 12, lungs.shape)
    return grey.clip(0, 255).astype(np.uint8), (lungs * 255).astype(np.uint8)


def write_pairs(folder: Path, count: int = 8, views: tuple[str, ...] = ("PA",)) -> pd.DataFrame:
    """`count` pairs of count / 2 patients."""
    rng = np.random.default_rng(1)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    rows = []
    for number in range(count):
        radiograph, mask = phantom(rng)
        name = f"{number:02}.png"
        cv2.imwrite(str(folder / "images" / name), radiograph)
        cv2.imwrite(str(folder / "masks" / name), mask)
        rows.append((name, f"p{number // 2}", views[number % len(views)]))
    table = pd.DataFrame(rows, columns=["image", "patient_id", "view"])
    table.to_csv(folder / "pairs.csv", index=False)
    return table


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "pairs")
    return tmp_path / "pairs"


def tiny(pairs: Path, **changes) -> Segmenter:
    return Segmenter(pairs=str(pairs), **{**TINY, **changes})


def write_split(path: Path, parts: dict[str, str]) -> Path:
    rows = [(f"{patient}.png", patient, part) for patient, part in parts.items()]
    store.write_table(pd.DataFrame(rows, columns=["image_id", "patient_id", "split"]), path, schemas.SPLITS)
    return path


class TestNetwork:
    def test_logits_have_the_image_size_and_ignore_brightness_and_contrast(self, pairs):
        model = segmenter.build_unet(tiny(pairs, filters=[4, 8, 8]))
        image = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 1)).astype(np.float32)
        logits = model.predict_on_batch(image)
        assert logits.shape == (2, 32, 32, 1)
        np.testing.assert_allclose(model.predict_on_batch(0.5 * image + 40), logits, rtol=1e-3, atol=1e-4)

    def test_seed_decides_the_weights(self, pairs):
        first, again, other = (segmenter.build_unet(tiny(pairs, seed=seed)).get_weights() for seed in (3, 3, 4))
        assert all(np.array_equal(*pair) for pair in zip(first, again, strict=True))
        assert not np.array_equal(first[0], other[0])

    def test_layers_of_one_network_start_apart(self, pairs):
        model = segmenter.build_unet(tiny(pairs, filters=[4, 4]))
        kernels = [model.get_layer(name).get_weights()[0] for name in ("down0_conv2", "bottom_conv1", "bottom_conv2")]
        assert not np.array_equal(kernels[0], kernels[1])
        assert not np.array_equal(kernels[1], kernels[2])

    def test_size_that_cannot_be_halved_is_refused(self, pairs):
        with pytest.raises(ThoraxError, match=r"48 cannot be halved 5 times.*multiple of 32"):
            segmenter.build_unet(tiny(pairs, size=48, filters=[2] * 6))

    def test_loss_by_hand(self):
        rng = np.random.default_rng(0)
        truth = (rng.random((3, 8, 8, 1)) > 0.5).astype(np.float32)
        logits = rng.normal(size=truth.shape).astype(np.float32)
        p = 1 / (1 + np.exp(-logits.astype(float)))
        bce = -(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean(axis=(1, 2, 3))
        dice = (2 * (truth * p).sum((1, 2, 3)) + 1) / ((truth + p).sum((1, 2, 3)) + 1)
        np.testing.assert_allclose(np.asarray(segmenter.bce_dice(truth, logits)), bce + 1 - dice, rtol=1e-5)


class TestAugmentation:
    def test_image_and_mask_stay_aligned(self):
        mask = masks_like_lungs(64)
        for seed in range(20):
            image, moved = segmenter.augment(
                (mask * 255).astype(np.uint8), mask.astype(np.float32), np.random.default_rng(seed)
            )
            assert image.shape == moved.shape == (64, 64)
            assert image.dtype == moved.dtype == np.float32
            assert image[moved > 0.9].min() > 200
            dark = np.random.default_rng(seed)
            inverted, again = segmenter.augment(((1 - mask) * 255).astype(np.uint8), mask.astype(np.float32), dark)
            np.testing.assert_array_equal(again, moved)
            assert inverted[moved > 0.9].max() < 60

    def test_without_any_width_only_the_mirror_is_left(self, monkeypatch):
        for width in ("_ROTATION", "_LOG_STRETCH", "_SHIFT", "_LOG_GAMMA"):
            monkeypatch.setattr(segmenter, width, 0)
        monkeypatch.setattr(segmenter, "_LOG_ZOOM", (0, 0))
        image = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
        mask = (image > 127).astype(np.float32)
        seen = set()
        for seed in range(12):
            out, out_mask = segmenter.augment(image, mask, np.random.default_rng(seed))
            mirrored = not np.allclose(out, image, atol=0.01)
            np.testing.assert_allclose(out[:, ::-1] if mirrored else out, image, atol=0.01)
            np.testing.assert_allclose(out_mask[:, ::-1] if mirrored else out_mask, mask, atol=0.01)
            seen.add(mirrored)
        assert seen == {True, False}


def masks_like_lungs(size: int) -> np.ndarray:
    _, mask = phantom(np.random.default_rng(5), size, size)
    return mask > 127


def untrained(settings: Segmenter):
    return segmenter.build_unet(settings), pd.DataFrame({"epoch": [], "loss": [], "dice": []})


class TestPairs:
    def test_squashed_stretched_and_sorted(self, pairs):
        read = read_mask_pairs(pairs)
        assert list(read.names) == [f"{number:02}.png" for number in range(8)]
        assert list(read.patients) == [f"p{number // 2}" for number in range(8)]
        assert read.images.shape == (8, 512, 512)
        assert read.images.dtype == np.uint8
        assert read.images.min(axis=(1, 2)).max() <= 20  # each has its own range, enlarging may miss its very ends
        assert read.images.max(axis=(1, 2)).min() >= 235
        assert read.masks.shape == (8, 256, 256)
        drawn = cv2.imread(str(pairs / "masks" / "03.png"), cv2.IMREAD_GRAYSCALE) > 127
        assert read.masks[3].mean() == pytest.approx(drawn.mean(), abs=0.01)

    def test_row_order_does_not_matter(self, pairs):
        table = pd.read_csv(pairs / "pairs.csv")
        before = read_mask_pairs(pairs)
        table.sample(frac=1, random_state=0).to_csv(pairs / "pairs.csv", index=False)
        after = read_mask_pairs(pairs)
        assert list(before.names) == list(after.names)
        np.testing.assert_array_equal(before.images, after.images)

    def test_lateral_pairs_are_left_out(self, tmp_path):
        write_pairs(tmp_path / "pairs", views=("PA", "L", "AP", "lateral"))
        assert list(read_mask_pairs(tmp_path / "pairs").names) == ["00.png", "02.png", "04.png", "06.png"]

    def test_other_patients_files_are_never_opened(self, pairs, tmp_path, monkeypatch):
        for number in (2, 3):  # patient p1
            (pairs / "images" / f"{number:02}.png").unlink()
        (pairs / "masks" / "05.png").unlink()  # patient p2
        assert list(read_mask_pairs(pairs, {"p0", "p3", "p9"}).patients) == ["p0", "p0", "p3", "p3"]
        split = write_split(tmp_path / "split.parquet", {"p0": "train", "p1": "test", "p2": "val", "p3": "train"})
        learnt = []
        monkeypatch.setattr(segmenter, "fit", lambda settings, read: learnt.extend(read.patients) or untrained(settings))
        segmenter.train_segmenter(tiny(pairs), split, tmp_path / "segmenter.keras", tmp_path / "history.csv")
        assert learnt == ["p0", "p0", "p3", "p3"]

    def test_no_training_patient_left(self, pairs, tmp_path):
        split = write_split(tmp_path / "split.parquet", {"p0": "test", "p7": "train"})
        with pytest.raises(ThoraxError, match=r"no patient of the split's training part"):
            segmenter.train_segmenter(tiny(pairs), split, tmp_path / "segmenter.keras", tmp_path / "history.csv")
        assert not (tmp_path / "segmenter.keras").exists()

    def test_no_frontal_pair(self, tmp_path):
        write_pairs(tmp_path / "pairs", views=("L",))
        with pytest.raises(ThoraxError, match="no frontal view"):
            read_mask_pairs(tmp_path / "pairs")

    def test_missing_folder(self, tmp_path):
        with pytest.raises(ThoraxError, match=r"pairs\.csv does not exist: segmenters\.pairs must name"):
            read_mask_pairs(tmp_path / "nowhere")

    def test_missing_column(self, pairs):
        pd.read_csv(pairs / "pairs.csv").drop(columns="view").to_csv(pairs / "pairs.csv", index=False)
        with pytest.raises(ThoraxError, match="no column 'view'"):
            read_mask_pairs(pairs)

    @pytest.mark.parametrize("part", ["images", "masks"])
    def test_missing_file_is_named(self, pairs, part):
        (pairs / part / "04.png").unlink()
        with pytest.raises(ThoraxError, match=rf"{part}.04\.png.*\(missing\)"):
            read_mask_pairs(pairs)

    @pytest.mark.parametrize("values", [(0, 1), (0, 7), (0, 128), (0, 65_535), (3, 250)])
    def test_any_two_values_make_the_same_mask(self, pairs, values):
        expected = read_mask_pairs(pairs)
        for path in (pairs / "masks").iterdir():
            lung = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 127
            cv2.imwrite(str(path), np.where(lung, values[1], values[0]).astype(np.uint16 if values[1] > 255 else np.uint8))
        np.testing.assert_array_equal(read_mask_pairs(pairs).masks, expected.masks)

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            (lambda mask: mask * 0, "it has no lung: every value is 0"),
            (lambda mask: mask * 0 + 255, "all of it is lung"),
            (lambda mask: mask * 0 + 1, "all of it is lung"),
            (lambda mask: 255 - mask, "its four corners are lung"),
            (
                lambda mask: np.where(np.arange(mask.shape[1]) < mask.shape[1] // 2, mask // 255, mask // 255 * 2),
                "it has more than two values",
            ),
            (lambda mask: np.linspace(0, 255, mask.size).reshape(mask.shape), "it has more than two values"),
        ],
    )
    def test_what_is_not_a_mask_is_named(self, pairs, change, sentence):
        path = pairs / "masks" / "01.png"
        cv2.imwrite(str(path), change(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)).astype(np.uint8))
        with pytest.raises(ThoraxError, match=rf"masks.01\.png is not a mask of both lungs: {sentence}"):
            read_mask_pairs(pairs)

    def test_a_crumb_is_not_a_lung(self, pairs):
        large = np.zeros((1024, 1024), np.uint8)
        large[40, 40] = 255
        cv2.imwrite(str(pairs / "masks" / "01.png"), large)
        radiograph = cv2.imread(str(pairs / "images" / "01.png"), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(pairs / "images" / "01.png"), cv2.resize(radiograph, large.shape[::-1]))
        with pytest.raises(ThoraxError, match=r"only 1 of its pixels are lung"):
            read_mask_pairs(pairs)

    def test_compressed_masks_are_read(self, pairs):
        drawn = cv2.imread(str(pairs / "masks" / "01.png"), cv2.IMREAD_GRAYSCALE)
        blurred = cv2.imdecode(cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, 80])[1], cv2.IMREAD_GRAYSCALE)
        assert len(np.unique(blurred)) > 10
        assert (masks.from_picture(blurred) != (drawn > 127)).mean() < 0.005

    def test_sizes_that_differ(self, pairs):
        cv2.imwrite(str(pairs / "masks" / "01.png"), phantom(np.random.default_rng(1), 60, 70)[1])
        with pytest.raises(ThoraxError, match=r"01\.png has 60 x 70 pixels, but its radiograph 60 x 72"):
            read_mask_pairs(pairs)

    def test_image_listed_twice_and_patient_left_blank(self, pairs):
        table = pd.read_csv(pairs / "pairs.csv")
        table.iloc[[0, 1, 0]].to_csv(pairs / "pairs.csv", index=False)
        with pytest.raises(ThoraxError, match=r"pairs\.csv, row 4, column 'image': '00.png' is in row 2 already"):
            read_mask_pairs(pairs)
        table.assign(patient_id=["p0", None, *["p1"] * 6]).to_csv(pairs / "pairs.csv", index=False)
        with pytest.raises(ThoraxError, match=r"pairs\.csv, row 3, column 'patient_id': it is blank"):
            read_mask_pairs(pairs)

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("../x.png,p0,PA", r"row 10, column 'image': '../x.png' leaves the folder"),
            ("/tmp/x.png,p0,PA", r"row 10, column 'image': '/tmp/x.png' leaves the folder"),
            (",p0,PA", r"row 10, column 'image': it is blank"),
            ("x.png,unknown,PA", r"row 10, column 'patient_id': it is blank, or says that the value is not known"),
            ("x.png,1.23457E+14,PA", r"row 10, column 'patient_id': '1.23457E\+14' was rounded"),
            ("x.png,p0,PA,more", r"row 10, column 'view': the row has 4 fields instead of 3"),
        ],
    )
    def test_bad_row_is_named(self, pairs, line, words):
        with (pairs / "pairs.csv").open("a") as file:
            file.write(line + "\n")
        with pytest.raises(ThoraxError, match=rf"pairs\.csv, {words}"):
            read_mask_pairs(pairs)

    def test_a_table_with_semicolons_is_refused_by_its_cause(self, pairs):
        table = pairs / "pairs.csv"
        table.write_text(table.read_text().replace(",", ";"))
        with pytest.raises(ThoraxError, match=r"pairs\.csv, row 1: the columns are separated by semicolons"):
            read_mask_pairs(pairs)

    def test_says_how_many_pairs_it_uses(self, tmp_path, capsys):
        write_pairs(tmp_path / "pairs", views=("PA", "PA", "PA", "L"))
        read_mask_pairs(tmp_path / "pairs")
        read_mask_pairs(tmp_path / "pairs", {"p0", "p1"})
        assert capsys.readouterr().err.splitlines() == ["6 of 8 pairs, of 4 patients", "3 of 8 pairs, of 2 training patients"]


class TestTraining:
    def test_same_seed_same_weights_no_optimiser_and_the_mean_of_all_steps_of_every_epoch(self, pairs, tmp_path, monkeypatch):
        import keras

        settings, steps, original = tiny(pairs), [], keras.Model.train_on_batch

        def recorded(self, *arguments, **options):
            steps.append(original(self, *arguments, **options))
            return steps[-1]

        monkeypatch.setattr(keras.Model, "train_on_batch", recorded)
        for name in ("a", "b"):
            segmenter.train_segmenter(settings, None, tmp_path / f"{name}.keras", tmp_path / f"{name}.csv")
        first, second = (segmenter.load_segmenter(tmp_path / f"{name}.keras", settings) for name in ("a", "b"))
        for left, right in zip(first.get_weights(), second.get_weights(), strict=True):
            np.testing.assert_array_equal(left, right)
        assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
        history = pd.read_csv(tmp_path / "a.csv")
        assert list(history) == ["epoch", "loss", "dice"]
        assert list(history["epoch"]) == [1, 2]
        assert getattr(keras.saving.load_model(tmp_path / "a.keras"), "optimizer", None) is None
        assert len(steps) == 2 * 4  # of both trainings
        for column, key in (("loss", "loss"), ("dice", "soft_dice")):
            expected = np.array([float(step[key]) for step in steps[:4]]).reshape(2, 2).mean(axis=1)
            np.testing.assert_allclose(history[column], expected, rtol=1e-6)

    def test_loss_that_is_no_number_in_one_step_stops(self, pairs, tmp_path, monkeypatch):
        import keras

        answers = iter([{"loss": 1.0, "soft_dice": 0.5}, {"loss": np.nan, "soft_dice": 0.5}, {"loss": 1.0, "soft_dice": 0.5}])
        monkeypatch.setattr(keras.Model, "train_on_batch", lambda *arguments, **options: next(answers))
        with pytest.raises(ThoraxError, match=r"in step 2 of epoch 1 the loss .* is no longer a number; lower learning_rate"):
            segmenter.train_segmenter(tiny(pairs, batch_size=2), None, tmp_path / "segmenter.keras", tmp_path / "history.csv")
        assert [path.name for path in tmp_path.iterdir()] == ["pairs"]

    def test_outputs_are_opened_before_the_training(self, pairs, tmp_path, monkeypatch):
        monkeypatch.setattr(segmenter, "fit", lambda *arguments: pytest.fail("trained before it was known where to write"))
        (tmp_path / "file").write_text("")
        with pytest.raises(ThoraxError, match="file cannot be written"):
            segmenter.train_segmenter(tiny(pairs), None, tmp_path / "segmenter.keras", tmp_path / "file" / "history.csv")
        assert not (tmp_path / "segmenter.keras").exists()

    @pytest.mark.slow
    def test_learns_ellipses(self, pairs):
        settings = tiny(pairs, filters=[8, 16], epochs=15, learning_rate=1e-2)
        scores = segmenter.cross_validate(settings, folds=2)
        assert list(scores["image"]) == [f"{number:02}.png" for number in range(8)]
        assert (scores.groupby("patient_id")["fold"].nunique() == 1).all()
        assert scores["dice"].mean() > 0.85

    @pytest.mark.parametrize("folds", [1, 5])
    def test_number_of_folds_must_fit_the_patients(self, pairs, folds):
        with pytest.raises(ThoraxError, match="choose 2 to 4 folds"):
            segmenter.cross_validate(tiny(pairs), folds)

    def test_network_that_is_missing_damaged_or_of_another_size(self, pairs, tmp_path):
        with pytest.raises(ThoraxError, match="is not there"):
            segmenter.load_segmenter(tmp_path / "segmenter.keras", tiny(pairs))
        (tmp_path / "damaged.keras").write_bytes(b"no zip")
        with pytest.raises(ThoraxError, match="not a network that can be loaded"):
            segmenter.load_segmenter(tmp_path / "damaged.keras", tiny(pairs))
        segmenter.build_unet(tiny(pairs)).save(tmp_path / "segmenter.keras")
        with pytest.raises(ThoraxError, match=r"shape \(32, 32, 1\), but segmenters size is 64"):
            segmenter.load_segmenter(tmp_path / "segmenter.keras", tiny(pairs, size=64))

    def test_classifier_is_no_segmenter(self, pairs, tmp_path):
        import keras

        image = keras.Input((32, 32, 1))
        keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(image))).save(tmp_path / "classes.keras")
        with pytest.raises(ThoraxError, match=r"classes\.keras is not a segmenter: it has outputs of shape \(3,\)"):
            segmenter.load_segmenter(tmp_path / "classes.keras", tiny(pairs))


def test_mask_does_not_depend_on_the_images_beside_it(pairs):
    model = segmenter.build_unet(tiny(pairs))
    packed = read_mask_pairs(pairs).images
    together = segmenter.predict_masks(model, packed)
    assert together.shape == (8, 256, 256)
    assert together.any()
    np.testing.assert_array_equal(segmenter.predict_masks(model, packed[5:6])[0], together[5])
    np.testing.assert_array_equal(segmenter.predict_masks(model, packed[::-1]), together[::-1])


class TestShard:
    VIEWS = ("PA", "L", "AP_horizontal", "COSTAL", None, "AP", "PA")

    @pytest.fixture
    def files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
        """Shard 1 of two, seven images; the first pixel of an image is its row, which the stub network reads."""
        ids = [f"i{number}" for number in range(7)]
        cat = pd.DataFrame({"image_id": ids, "view": self.VIEWS})
        for column in set(schemas.CATALOG.names) - {"image_id", "view"}:
            cat[column] = None
        paths = {name: tmp_path / f"{name}.parquet" for name in ("catalog", "ingested", "table")}
        store.write_table(cat.iloc[::-1], paths["catalog"], schemas.CATALOG)
        ingested = pd.DataFrame({"image_id": ids, "ok": True, "shard": 1, "row": np.arange(7)})
        others = pd.DataFrame({"image_id": ["x", "y"], "ok": [True, False], "shard": [0, -1], "row": [0, -1]})
        ingested = pd.concat([others, ingested.iloc[[3, 1, 6, 0, 2, 5, 4]]])
        for column in set(schemas.INGESTED.names) - set(ingested):
            ingested[column] = "constant" if column == "reason" else 0
        store.write_table(ingested, paths["ingested"], schemas.INGESTED)
        array = np.zeros((7, 512, 512), np.uint8)
        array[:, 0, 0] = np.arange(7)
        store.write_array(array, tmp_path / "array.npy")
        monkeypatch.setattr(segmenter, "load_segmenter", lambda path, settings: None)
        monkeypatch.setattr(segmenter, "predict_masks", self.stub)
        return {**paths, "array": tmp_path / "array.npy", "masks": tmp_path / "masks.npy", "model": tmp_path / "m.keras"}

    @staticmethod
    def stub(model: None, packed: np.ndarray) -> np.ndarray:
        """Row 2: one lung, row 6: nothing, all else: two lungs."""
        lungs = masks_like_lungs(256)
        found = []
        for row in packed[:, 0, 0]:
            assert TestShard.VIEWS[row] in FRONTAL_VIEWS, "only frontal views may reach the network"
            found.append({2: lungs & (np.arange(256) < 128), 6: lungs & False}.get(row, lungs))
        return np.stack(found)

    def segment(self, files: dict[str, Path]) -> tuple[pd.DataFrame, np.ndarray]:
        segmenter.segment_shard(Segmenter(pairs="-", **TINY), shard=1, **files)
        return store.read_table(files["table"]), store.open_array(files["masks"])

    def test_rows_are_those_of_the_packed_array(self, files):
        table, kept = self.segment(files)
        assert list(table) == schemas.LUNGS.names
        assert list(table["image_id"]) == [f"i{number}" for number in range(7)]
        assert kept.shape == (7, 256, 256)
        assert kept.dtype == np.uint8
        np.testing.assert_array_equal(kept[0], masks_like_lungs(256))

    def test_credible_mask_gives_its_box(self, files):
        table, kept = self.segment(files)
        for row in (0, 5):
            assert table.loc[row, "credible"]
            assert pd.isna(table.loc[row, "flag"])
            assert tuple(table.loc[row, ["x0", "y0", "x1", "y1"]]) == pytest.approx(masks.crop_box(kept[row] > 0))
            assert table.loc[row, "components"] == 2
            assert table.loc[row, "area"] == pytest.approx(kept[row].mean())

    def test_lateral_and_unknown_views_are_never_cropped(self, files):
        table, kept = self.segment(files)
        for row in (1, 3, 4):
            assert tuple(table.loc[row, ["x0", "y0", "x1", "y1"]]) == (0, 0, 1, 1)
            assert not table.loc[row, "credible"]
            assert table.loc[row, "flag"] == "not frontal"
            assert kept[row].sum() == table.loc[row, "area"] == table.loc[row, "components"] == 0

    def test_mask_that_is_not_credible_leaves_the_whole_image_and_says_why(self, files):
        table, kept = self.segment(files)
        for row, flag, components in ((2, "one lung", 1), (6, "empty", 0)):
            assert tuple(table.loc[row, ["x0", "y0", "x1", "y1"]]) == (0, 0, 1, 1)
            assert not table.loc[row, "credible"]
            assert table.loc[row, "flag"] == flag
            assert table.loc[row, "components"] == components
        assert kept[2].any()

    def test_same_bytes_again(self, files):
        self.segment(files)
        before = files["table"].read_bytes(), files["masks"].read_bytes()
        self.segment(files)
        assert (files["table"].read_bytes(), files["masks"].read_bytes()) == before

    def test_array_of_another_ingest_is_refused(self, files):
        store.write_array(np.zeros((6, 512, 512), np.uint8), files["array"])
        with pytest.raises(ThoraxError, match=r"array\.npy has the shape 6 x 512 x 512, but 7 images of shard 1"):
            self.segment(files)
        assert not files["table"].exists()

    def test_image_that_the_catalog_lacks(self, files):
        table = store.read_table(files["catalog"])
        store.write_table(table[table["image_id"] != "i4"], files["catalog"], schemas.CATALOG)
        with pytest.raises(ThoraxError, match=r"catalog\.parquet has no row for image 'i4'"):
            self.segment(files)

    def test_empty_shard(self, files):
        table = store.read_table(files["ingested"])
        store.write_table(table[table["shard"] != 1], files["ingested"], schemas.INGESTED)
        store.write_array(np.zeros((0, 512, 512), np.uint8), files["array"])
        table, kept = self.segment(files)
        assert len(table) == 0
        assert kept.shape == (0, 256, 256)


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the hand-drawn masks are not here")
def test_dice_on_real_radiographs_of_other_patients():
    """The recipe in a sixth of its time, so that a change for the worse is seen: 0.911 was measured.

    The recipe as it is configured (96 pixels, 100 epochs) reaches 0.936, and 0.944 with 5 folds.
    """
    scores = segmenter.cross_validate(
        Segmenter(pairs=str(REAL), size=64, epochs=40), folds=2, threads=1
    )  # as other tests of this process
    assert len(scores) == 42
    assert scores["dice"].mean() >= 0.9
    assert (scores["flag"].notna()).mean() <= 0.1
