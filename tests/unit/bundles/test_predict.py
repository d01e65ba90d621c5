"""`thorax predict` on a small real bundle: its numbers, what it says of damage, exit codes, and what it writes."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.unit.bundles import predictable
from tests.unit.bundles.predictable import CLASSES, LIMITS, SIZE, radiograph
from thorax import backend
from thorax.bundles import model, predict, radiographs
from thorax.bundles.bundle import open_bundle
from thorax.bundles.inputs import Listed
from thorax.bundles.radiographs import Preprocessing
from thorax.cli import main
from thorax.images import crops, decoding, segmenter
from thorax.storage import store

ROOT = Path(__file__).parents[3]
HEADINGS = ["class", "decision", "probability", "calibrated", "agreement"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bundle of two networks, their Keras models, and a folder of seven images, one of them damaged."""
    folder = tmp_path_factory.mktemp("bundle")
    nets = predictable.write(folder / "model.zip")
    images = folder / "images"
    (images / "more").mkdir(parents=True)
    for seed in range(5):
        cv2.imwrite(str(images / f"{seed}.png"), radiograph(seed))
    Image.fromarray(radiograph(5)).save(images / "more" / "0.tif")
    (images / "cut.png").write_bytes((images / "0.png").read_bytes()[:900])
    return folder, nets


def run(capsys, *arguments):
    status = main(["predict", *map(str, arguments), "--threads", "1"])  # as the fixtures, in the same process
    return status, *capsys.readouterr()


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def expected(nets, pixels):
    """The probabilities of two networks, and the mean, thresholds and scaling of the bundle, by hand."""
    each = np.stack([sigmoid(np.asarray(nets[name](pixels[..., None]))) for name in ("one", "two")])
    mean = each.mean(axis=0)
    odds = np.log(mean / (1 - mean))
    scaled = np.column_stack([sigmoid(0.5 * odds[:, 0] - 1), sigmoid(2 * odds[:, 1]), np.full(len(mean), np.nan)])
    decided = mean > LIMITS
    return mean, scaled, decided, ((each > LIMITS) == decided).mean(axis=0)


def test_the_table_has_the_networks_numbers_by_hand_and_the_damaged_file_is_listed(made, tmp_path, capsys):
    folder, nets = made
    out = tmp_path / "table.parquet"
    status, said, errors = run(capsys, folder / "model.zip", folder / "images", "--out", out)
    assert status == 3
    assert f"{folder / 'images' / 'cut.png'} is skipped: the file is cut or damaged.\n" in errors
    assert "thorax: 1 of 7 files could not be used" in errors
    assert f"{out} has the predictions of 6 images" in said
    table = store.read_table(out)
    paths = [str(folder / "images" / name) for name in ("0.png", "1.png", "2.png", "3.png", "4.png", "more/0.tif")]
    assert table["path"].tolist() == list(np.repeat(paths, 3))
    assert table["class"].tolist() == list(CLASSES) * 6
    pixels = np.stack([predictable.seen(radiograph(seed)) for seed in range(6)])
    mean, scaled, decided, agreement = expected(nets, pixels)
    np.testing.assert_allclose(table["probability"].to_numpy().reshape(6, 3), mean, atol=1e-6)
    np.testing.assert_allclose(table["calibrated"].to_numpy().reshape(6, 3), scaled, atol=1e-6)
    np.testing.assert_array_equal(table["decision"].to_numpy().reshape(6, 3), decided)
    np.testing.assert_array_equal(table["agreement"].to_numpy().reshape(6, 3), agreement)
    assert {0.5, 1.0} <= set(table["agreement"])
    assert set(decided.ravel()) == {False, True}
    log = out.with_suffix(".log").read_text()
    assert "predicted: 6 images\n" in log
    assert "cut.png is skipped: the file is cut or damaged.\n" in log


def test_many_images_are_predicted_by_compiled_networks_with_the_same_numbers(made, tmp_path, capsys, monkeypatch):
    folder, _ = made
    images = [folder / "images" / f"{seed}.png" for seed in range(5)]
    compiled = []
    numbers = []
    of_networks = model._logits
    monkeypatch.setattr(
        model, "_logits", lambda *given, **how: (compiled.append(how["compiled"]), of_networks(*given, **how))[1]
    )
    for batch in (5, 4):
        monkeypatch.setattr(predict, "BATCH", batch)
        assert run(capsys, folder / "model.zip", *images, "--out", tmp_path / "t.parquet")[0] == 0
        numbers.append(store.read_table(tmp_path / "t.parquet")["probability"].to_numpy())
    assert compiled == [False] * 2 + [True] * 4
    np.testing.assert_array_equal(*numbers)


def test_csv_has_the_rows_of_parquet(made, tmp_path, capsys):
    folder, _ = made
    for name in ("t.csv", "t.parquet"):
        assert run(capsys, folder / "model.zip", folder / "images" / "1.png", "--out", tmp_path / name)[0] == 0
    read = pd.read_csv(tmp_path / "t.csv", keep_default_na=False, na_values={"calibrated": [""]})
    whole = store.read_table(tmp_path / "t.parquet")
    assert list(read) == list(whole)
    assert read["decision"].map({"yes": True, "no": False}).tolist() == whole["decision"].tolist()
    np.testing.assert_allclose(read["probability"], whole["probability"], atol=1e-6)
    assert read["calibrated"].isna().tolist() == [False, False, True]


def test_a_wide_table_has_the_same_probabilities_and_can_be_measured(made, tmp_path, capsys):
    folder, _ = made
    labels = pd.DataFrame({"path": [str(folder / "images" / f"{seed}.png") for seed in range(5)]})
    labels = labels.assign(**{name: [number == place for number in range(5)] for place, name in enumerate(CLASSES)})
    labels.astype({name: int for name in CLASSES}).to_csv(tmp_path / "labels.csv", index=False)
    for name, options in (("long.parquet", ()), ("wide.parquet", ("--wide",)), ("wide.csv", ("--wide",))):
        assert run(capsys, folder / "model.zip", tmp_path / "labels.csv", "--out", tmp_path / name, *options)[0] == 0
    long, wide = (store.read_table(tmp_path / f"{name}.parquet") for name in ("long", "wide"))
    assert list(wide) == ["path", *CLASSES]
    assert wide["path"].tolist() == labels["path"].tolist()
    np.testing.assert_array_equal(wide[list(CLASSES)].to_numpy().ravel(), long["probability"])
    written = pd.read_csv(tmp_path / "wide.csv")
    assert list(written) == list(wide)
    np.testing.assert_allclose(written[list(CLASSES)], wide[list(CLASSES)], atol=1e-6)
    measured = ["evaluate", tmp_path / "wide.csv", "--labels", tmp_path / "labels.csv", "--replicates", 10]
    assert main([str(word) for word in measured]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in CLASSES)
    status, _, errors = run(capsys, folder / "model.zip", tmp_path / "labels.csv", "--wide")
    assert status == 1
    assert errors == "thorax: --wide is a form of the table: name a file for it with --out.\n"


def test_the_documented_lines_of_python_predict(made, tmp_path, capsys, monkeypatch):
    folder, _ = made
    page = (ROOT / "docs" / "how-to" / "models.md").read_text(encoding="utf-8")
    lines = re.search(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[1]
    (tmp_path / "model.zip").symlink_to(folder / "model.zip")
    (tmp_path / "incoming").mkdir()
    cv2.imwrite(str(tmp_path / "incoming" / "a.png"), radiograph(0))
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    exec(compile(lines.replace("threads=2", "threads=1"), "models.md", "exec"), {})  # as `run`
    said = capsys.readouterr().out
    assert all(name in said for name in CLASSES)
    assert "'model_card.md'" in said
    assert re.search(r"^incoming/a\.png \[0?\.\d+ ", said, re.MULTILINE)


def test_the_number_of_images_changes_no_number_but_the_last_bits(made, tmp_path, capsys):
    folder, _ = made
    run(capsys, folder / "model.zip", folder / "images", "--out", tmp_path / "all.parquet")
    run(capsys, folder / "model.zip", folder / "images" / "2.png", "--out", tmp_path / "one.parquet")
    everything, one = (store.read_table(tmp_path / f"{name}.parquet") for name in ("all", "one"))
    same = everything[everything["path"].str.endswith("2.png")]
    np.testing.assert_allclose(one["probability"], same["probability"], atol=1e-6)


def test_without_a_table_the_terminal_has_the_answers(made, capsys):
    folder, _ = made
    status, said, _ = run(capsys, folder / "model.zip", folder / "images" / "0.png")
    assert status == 0
    assert [cell.strip() for cell in said.splitlines()[0].split("|")[1:-1]] == HEADINGS
    assert {row.split("|")[1].strip() for row in said.splitlines()[2:5]} == set(CLASSES)
    status, said, _ = run(capsys, folder / "model.zip", folder / "images")
    assert status == 3
    assert [line.split("|")[1].strip() for line in said.splitlines()[2:]] == [
        str(folder / "images" / name) for name in ("0.png", "1.png", "2.png", "3.png", "4.png", "more/0.tif")
    ]


def test_a_list_with_a_missing_file(made, tmp_path, capsys):
    folder, _ = made
    (tmp_path / "list.csv").write_text(f"path\n{folder / 'images' / '1.png'}\ngone.png\n")
    status, _, errors = run(capsys, folder / "model.zip", tmp_path / "list.csv", "--out", tmp_path / "t.csv")
    assert status == 3
    assert "gone.png is skipped: the file is not there.\n" in errors
    assert len(pd.read_csv(tmp_path / "t.csv")) == 3


def test_what_cannot_be_done_writes_nothing(made, tmp_path, capsys):
    folder, _ = made
    (tmp_path / "empty").mkdir()
    bundle, damaged, out = folder / "model.zip", folder / "images" / "cut.png", tmp_path / "out" / "t.csv"
    for arguments, sentence in (
        ((bundle, tmp_path / "empty", "--out", out), "has no PNG, JPEG, TIFF or DICOM file"),
        ((bundle, damaged, "--out", out), "None of the 1 files can be used, e.g. "),
        ((bundle, damaged, "--out", out.with_suffix(".xlsx")), "the table is CSV or Parquet"),
        ((damaged, damaged, "--out", out), "is not a"),
        ((bundle, damaged, "--page", tmp_path / "page.pdf"), "let its name end in .html"),
    ):
        status, _, errors = run(capsys, *arguments)
        assert status == 1, arguments
        assert sentence in errors.splitlines()[-1], errors
        assert errors.splitlines()[-1].startswith("thorax: ")
        assert not out.parent.exists() or not list(out.parent.iterdir())


def test_pixels_are_those_of_the_functions_of_the_workflow(made, tmp_path):
    """With a crop and with stored values; what the workflow writes to its files and reads again changes nothing."""
    folder, _ = made
    predictable.write(tmp_path / "crop.zip", crop="lungs")
    opened = open_bundle(tmp_path / "crop.zip")
    backend.prepare(0, 1)
    model = opened.segmenter()
    read = [radiographs.read(Listed("x", folder / "images" / f"{n}.png"), opened.contents.dataset) for n in range(5)]
    seen, lungs = Preprocessing(opened.contents.dataset, opened.contents.image_set, model).see(read)
    masks = segmenter.predict_masks(model, np.stack([one.image for one in read]))
    for one, found, mask, pixels in zip(read, lungs, masks, seen, strict=True):
        assert found == segmenter.lungs_in(mask)
        assert all(np.float32(edge) == edge for edge in found.box)
        expected = decoding.resize(decoding.crop(one.image, found.box), SIZE, SIZE)
        np.testing.assert_array_equal(pixels, expected)
    stored = opened.contents.image_set.model_copy(update={"intensity": "stored"})
    for one, found in zip(read, lungs, strict=True):
        restored = crops.training_image(stored, one.image, found.box, one.low, one.high)
        assert restored.dtype == np.uint16
        assert restored.max() <= one.high


def test_a_model_of_lateral_views_sees_whole_images(made, tmp_path):
    folder, _ = made
    predictable.write(tmp_path / "crop.zip", crop="lungs")
    contents = open_bundle(tmp_path / "crop.zip").contents
    read = radiographs.read(Listed("x", folder / "images" / "0.png"), contents.dataset)
    lateral = contents.dataset.model_copy(update={"views": ["L"]})
    seen, lungs = Preprocessing(lateral, contents.image_set, None).see([read])
    assert lungs is None
    np.testing.assert_array_equal(seen[0], decoding.resize(read.image, SIZE, SIZE))


def test_flags_of_photographs_and_of_what_has_no_lungs(made, tmp_path, capsys):
    folder, _ = made
    predictable.write(tmp_path / "crop.zip", crop="lungs")
    rng = np.random.default_rng(0)
    photograph = cv2.resize(rng.integers(0, 256, (6, 6, 3)).astype(np.uint8), (200, 150), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / "photo.jpg"), photograph)
    cv2.imwrite(str(tmp_path / "stored_in_colour.png"), np.dstack([radiograph(150)] * 3))
    cv2.imwrite(str(tmp_path / "noise.png"), rng.integers(0, 256, (100, 100)).astype(np.uint8))
    found = {}
    for name in ("model", "crop"):
        bundle = (folder if name == "model" else tmp_path) / f"{name}.zip"
        images = [tmp_path / one for one in ("photo.jpg", "stored_in_colour.png", "noise.png")]
        assert run(capsys, bundle, *images, "--out", tmp_path / "t.parquet")[0] == 0
        table = store.read_table(tmp_path / "t.parquet").drop_duplicates("path")
        found[name] = [set(filter(None, text.split("; "))) for text in table["flags"]]
    whole = found["model"]
    assert whole[0] == {"colour photograph", "not a radiograph?", "unlike the training images"}
    assert whole[1] == set()
    assert whole[2] == {"not a radiograph?", "unlike the training images"}
    assert all("no credible lungs" in flags for flags in found["crop"])  # its segmenter has learnt nothing


def test_a_single_network_has_no_agreement(tmp_path, capsys):
    predictable.write(tmp_path / "single.zip", members=("one",))
    cv2.imwrite(str(tmp_path / "a.png"), radiograph(0))
    assert run(capsys, tmp_path / "single.zip", tmp_path / "a.png", "--out", tmp_path / "t.parquet")[0] == 0
    assert store.read_table(tmp_path / "t.parquet")["agreement"].isna().all()


def test_overlays_and_the_page(made, tmp_path, capsys):
    """A picture of each image in its own aspect, coloured where something was found, two of one name apart; all on one page."""
    folder, _ = made
    out = tmp_path / "t.parquet"
    arguments = ("--out", out, "--overlays", tmp_path / "pictures", "--page", tmp_path / "page.html")
    assert run(capsys, folder / "model.zip", folder / "images", *arguments)[0] == 3
    table = store.read_table(out)
    top = table[table["decision"]].sort_values("probability").groupby("path")["class"].last()
    written = {path.name: cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (tmp_path / "pictures").iterdir()}
    assert len(written) == 6
    assert sum(name.startswith("0.") for name in written) == 2
    for name, picture in written.items():
        assert picture.shape[:2] == (512, 427)
        decided = name.removesuffix(".overlay.png").partition(".")[2].partition("-")[0]
        if not name.startswith("0."):
            assert top.get(str(folder / "images" / f"{name[0]}.png"), "") == decided
        assert picture.ndim == (3 if decided else 2)
    page = (tmp_path / "page.html").read_text()
    assert "nobody has labelled them" in page
    assert "random test images" not in page
    assert all(json.dumps(path) in page or path in page for path in set(table["path"]))


def test_nothing_that_is_read_is_replaced(made, tmp_path, capsys):
    """Pictures may lie next to the radiographs, but no option may name an image, a link to one, a list or the bundle."""
    folder, _ = made
    images, bundle = tmp_path / "images", folder / "model.zip"
    images.mkdir()
    for name in ("0.png", "1.png", "a.html", "t.log"):
        cv2.imwrite(str(images / "written.png"), radiograph(2 if name == "t.log" else 0))
        (images / "written.png").rename(images / name)
    (tmp_path / "link.csv").symlink_to(images / "0.png")
    (images / "list.csv").write_text("path\n0.png\n1.png\n")
    before = {path.name: path.read_bytes() for path in images.iterdir()}
    for what, options, sentence in (
        (
            images,
            ("--out", tmp_path / "link.csv"),
            r"--out: .*link\.csv would replace .*0\.png, which is read: name another file\.",
        ),
        (images, ("--out", images / "t.csv"), r"the log of --out: .*t\.log would replace .*t\.log, which is read"),
        (images, ("--page", images / ".." / "images" / "a.html"), r"--page: .*a\.html would replace .*a\.html, which is read"),
        (images / "list.csv", ("--out", images / "list.csv"), r"--out: .*list\.csv would replace .*list\.csv, which is read"),
    ):
        status, _, errors = run(capsys, bundle, what, *options)
        assert status == 1, options
        assert re.search(sentence, errors), errors
        assert {path.name: path.read_bytes() for path in images.iterdir()} == before
    assert run(capsys, bundle, images / "list.csv", "--overlays", images)[0] == 0
    pictures = {path.name for path in images.iterdir()} - set(before)
    assert len(pictures) == 2
    assert all(name.endswith(".overlay.png") for name in pictures)
    assert all((images / name).read_bytes() == content for name, content in before.items())
    status, _, errors = run(capsys, bundle, images, "--overlays", images)
    assert status == 1
    assert re.search(r"--overlays .*images: a new file could replace .*\.overlay\.png, which is read", errors)


def test_burned_in_text_is_flagged_and_never_drawn(made, tmp_path, capsys):
    folder, _ = made
    who = {"PatientName": "Secret^Person", "PatientID": "4711-secret"}
    predictable.write_dicom(tmp_path / "a.dcm", radiograph(0), BurnedInAnnotation="YES", ViewPosition="LL", **who)
    out = tmp_path / "results"
    arguments = ("--out", out / "t.csv", "--overlays", out / "pictures", "--page", out / "page.html")
    status, said, errors = run(capsys, folder / "model.zip", tmp_path / "a.dcm", folder / "images" / "0.png", *arguments)
    assert status == 0, errors
    table = pd.read_csv(out / "t.csv", keep_default_na=False)
    of_dicom, of_png = (table[table["path"].str.endswith(end)] for end in ("a.dcm", "0.png"))
    assert set(of_dicom["flags"]) == {"lateral view; text in the picture"}  # as its header says
    np.testing.assert_allclose(of_dicom["probability"], of_png["probability"], atol=1e-3)  # its range counts from 0 on
    assert not [path for path in (out / "pictures").iterdir() if path.name.startswith("a")]
    everything = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file()) + (said + errors).encode()
    assert not re.search(rb"secret", everything, re.IGNORECASE)


def test_two_views_that_are_not_a_frontal_and_a_lateral_one_are_refused(tmp_path):
    second = {"dataset": "d", "size": SIZE}
    reading = {"archive": "padchest", "views": ["AP"], "dicom_window": "lut", "max_pixels": 10**6}
    predictable.write(tmp_path / "two.zip", second_dataset=reading, second_image_set=second)
    cv2.imwrite(str(tmp_path / "a.png"), radiograph(0))
    with pytest.raises(predict.ThoraxError, match="that are not a frontal and a lateral one"):
        predict.predict(tmp_path / "two.zip", [tmp_path / "a.png"])
