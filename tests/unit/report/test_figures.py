"""Figures: what is drawn equals the data, the bytes are stable, heatmaps land where they belong."""

import re
from pathlib import Path

import cv2
import matplotlib.colors as mcolors
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from tests.small_experiment import INGESTED
from thorax.errors import ThoraxError
from thorax.explanation import cases as explained
from thorax.explanation.overlays import scale_maps, to_original
from thorax.labels.cases import CASES
from thorax.report.figures import heatmaps as overlays
from thorax.report.figures import labels as label_figures
from thorax.report.figures import lungs, roc, training
from thorax.report.figures import style as figures
from thorax.storage import schemas, store


def history(epochs: int, best: int) -> pd.DataFrame:
    epoch = np.arange(1, epochs + 1)
    val_loss = 0.5 + np.abs(epoch - best) / 10
    return pd.DataFrame(
        {"epoch": epoch, "loss": 1 / epoch, "val_loss": val_loss, "learning_rate": 1e-4, "val_auc": 0.6 + epoch / 100}
    )


def test_curves_equal_the_histories(tmp_path):
    histories = {f"m{number}": history(4 + number, 2 + number) for number in range(7)}
    figure = training.draw_training_curves(histories, "title")
    for index, (name, frame) in enumerate(histories.items()):
        above, below = figure.axes[2 * index : 2 * index + 2]
        learning, validation, best = above.lines
        assert above.get_title("left") == name
        np.testing.assert_array_equal(learning.get_xydata(), frame[["epoch", "loss"]])
        np.testing.assert_array_equal(validation.get_xydata(), frame[["epoch", "val_loss"]])
        np.testing.assert_array_equal(below.lines[0].get_xydata(), frame[["epoch", "val_auc"]])
        assert best.get_xydata().tolist() == [[2 + index, 0.5]]
        assert above.get_ylim() == figure.axes[0].get_ylim()
        assert (above.get_yscale(), below.get_yscale()) == ("linear", "linear")


def test_figures_are_stable_to_the_byte_and_ignore_the_users_style(tmp_path):
    import matplotlib

    history(5, 2).to_csv(tmp_path / "h.csv", index=False)
    figures.save(training.training_curves({"one": tmp_path / "h.csv"}, "title"), tmp_path / "first.with.dots", "title")
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "savefig.dpi": 30, "svg.fonttype": "path"}):
        figures.save(training.training_curves({"one": tmp_path / "h.csv"}, "title"), tmp_path / "second", "title")
    for suffix in ("png", "svg"):
        assert (tmp_path / f"first.with.dots.{suffix}").read_bytes() == (tmp_path / f"second.{suffix}").read_bytes()
    assert ">validation AUC</text>" in (tmp_path / "second.svg").read_text()  # text that can be edited
    assert cv2.imread(str(tmp_path / "second.png")).shape[1] == 4.2 * 200  # dots per inch


def test_losses_that_differ_widely_get_a_logarithmic_axis():
    wild = history(5, 2).assign(val_loss=[900.0, 40, 1, 1, 1])
    figure = training.draw_training_curves({"calm": history(5, 2), "wild": wild}, "title")
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear"] * 2


def test_an_undefined_validation_is_drawn_without_a_mark(tmp_path):
    history(1, 1).assign(val_loss=None, val_auc=None).to_csv(tmp_path / "h.csv", index=False)
    assert figures.pixels(training.training_curves({"one": tmp_path / "h.csv"}, "title")).min() == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a whole CSV table"),
        ("epoch,loss\n1,0.", "is not a whole CSV table"),
        ("epoch,loss\n1,2\n", "no column 'val_loss'"),
    ],
)
def test_a_broken_history_is_named(tmp_path, text, message):
    (tmp_path / "h.csv").write_text(text)
    with pytest.raises(ThoraxError, match=rf"h\.csv .*{message}"):
        training.training_curves({"one": tmp_path / "h.csv"}, "title")


def test_lung_cases_show_what_was_flagged():
    boxes = pd.DataFrame({"image_id": [f"i{row:02d}" for row in range(20)], "credible": [row != 7 for row in range(20)]})
    chosen = lungs.choose_lung_cases(boxes, 6, seed=0)
    assert len(set(chosen)) == 6
    assert chosen[-1] == "i07"
    assert chosen == lungs.choose_lung_cases(boxes.iloc[::-1], 6, seed=0)
    assert chosen != lungs.choose_lung_cases(boxes, 6, seed=1)
    assert "i07" not in lungs.choose_lung_cases(boxes[boxes["credible"]], 6, seed=0)
    assert len(lungs.choose_lung_cases(boxes.assign(credible=False), 6, seed=0)) == 6
    assert len(lungs.choose_lung_cases(boxes[5:9], 6, seed=0)) == 4


@pytest.fixture
def study(tmp_path) -> dict[str, Path | list[Path]]:
    """Two shards of two images each, 400 rows by 200 columns, lungs in the right half of the image."""
    generator = np.random.default_rng(0)
    ids = ["w", "x", "y", "z"]
    places = {"shard": [0, 1, 1, 0], "row": [1, 0, 1, 0]}
    none = dict.fromkeys(["study_id", "sex", "age", "label_source", "official_split", "photometric", "padded"])
    lists = {name: [[]] * 4 for name in ("positive", "negative", "uncertain")}
    images = pd.DataFrame({"image_id": ids, "path": ids, "patient_id": ids, "view": "PA", **none, **lists})
    store.write_table(images, tmp_path / "catalog.parquet", schemas.CATALOG)
    store.write_table(pd.DataFrame({"image_id": ids, **INGESTED, **places}), tmp_path / "ingested.parquet", schemas.INGESTED)
    for shard, members in enumerate((["z", "w"], ["x", "y"])):
        lungs = pd.DataFrame({"image_id": members, "x0": 0.5, "y0": 0.25, "x1": 1.0, "y1": 1.0, "components": 2, "area": 0.3})
        lungs = lungs.assign(
            credible=[name != "y" for name in members], flag=[None if name != "y" else "empty" for name in members]
        )
        store.write_table(lungs, tmp_path / f"lungs.{shard}.parquet", schemas.LUNGS)
        store.write_array(generator.integers(50, 200, (2, 512, 512)).astype(np.uint8), tmp_path / f"array.{shard}.npy")
        store.write_array(generator.integers(50, 200, (2, 64, 64)).astype(np.uint8), tmp_path / f"input.{shard}.npy")
        masks = np.zeros((2, 256, 256), np.uint8)
        masks[0, 100:200, 140:240] = 255
        store.write_array(masks, tmp_path / f"mask.{shard}.npy")
    shards = {"arrays": "array.{}.npy", "inputs": "input.{}.npy", "masks": "mask.{}.npy", "lungs": "lungs.{}.parquet"}
    paths = {name: [tmp_path / pattern.format(shard) for shard in (0, 1)] for name, pattern in shards.items()}
    return {"catalog": tmp_path / "catalog.parquet", "ingested": tmp_path / "ingested.parquet", **paths}


def test_lungs_figure_shows_each_image_with_its_own_input(study):
    paths = [study[name] for name in ("catalog", "ingested", "arrays", "lungs", "masks", "inputs")]
    rows = np.reshape(lungs.lungs_figure(*paths, seed=0).axes, (4, 4))
    sources = {"w": (0, 1), "x": (1, 0), "y": (1, 1), "z": (0, 0)}
    titles = [row[0].get_title("left") for row in rows]
    assert sorted(titles) == [f"{name}, view PA" for name in sources]
    assert titles[-1] == "y, view PA"
    assert rows[-1][2].get_title("left").endswith("empty")
    for row, title in zip(rows, titles, strict=True):
        shard, place = sources[title[0]]
        original, outlined, cropped, network_input = (panel.images[0].get_array() for panel in row)
        assert original.shape == outlined.shape == (512, 256)  # twice as high as wide again
        np.testing.assert_array_equal(
            original, store.open_array(study["arrays"][shard])[place].reshape(512, 256, 2).mean(2).round(), 1
        )
        np.testing.assert_array_equal(cropped, original[128:, 128:])
        np.testing.assert_array_equal(network_input, store.open_array(study["inputs"][shard])[place])
    box = rows[0][1].patches[0]
    assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (127.5, 127.5, 128, 384)


def test_lungs_of_other_images_are_refused(study):
    others = store.read_table(study["lungs"][0]).assign(image_id=["q", "w"])
    store.write_table(others, study["lungs"][0], schemas.LUNGS)
    paths = [study[name] for name in ("catalog", "ingested", "arrays", "lungs", "masks", "inputs")]
    with pytest.raises(ThoraxError, match="do not belong"):
        lungs.lungs_figure(*paths, seed=0)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (3, 5), (6, 6)])
def test_a_hot_cell_is_drawn_over_its_own_part_of_the_original(row, column):
    heat = np.zeros((7, 7), np.float32)
    heat[row, column] = 1
    placed = to_original(heat, (0.5, 0.25, 1.0, 0.95), 800, 560)  # a crop of 560 rows and 280 columns
    cell = np.s_[200 + 80 * row : 280 + 80 * row, 280 + 40 * column : 320 + 40 * column]
    centre = placed[240 + 80 * row - 1, 300 + 40 * column - 1]
    assert placed.shape == (800, 560)
    assert centre > 0.95
    assert placed[cell].min() >= 0.25 - 1e-3  # linear: a quarter at a corner between four cells
    assert placed[:200].max() == placed[760:].max() == placed[:, :280].max() == 0
    hottest = np.argwhere(placed == placed.max()).mean(axis=0)
    inside = np.clip(hottest, (200 + 80 * row, 280 + 40 * column), (279 + 80 * row, 319 + 40 * column))
    np.testing.assert_array_equal(hottest, inside)


def case(**changes) -> explained.Case:
    values = {
        "image_id": "x",
        "chosen_for": "a",
        "original": np.full((70, 140), 100, np.uint8),
        "box": (0.0, 0.0, 1.0, 1.0),
        "classes": ["a", "b", "c", "d", "e", "f", "g"],
        "maps": [np.zeros((7, 7, 7), np.float32), np.zeros((7, 5, 5), np.float32)],
        "each": np.array([[0.9] * 7, [0.1] * 7]),
        "probabilities": np.array([0.1, 0.9, 0.2, 0.8, 0.55, 0.6, 0.7]),
        "truth": np.array([1, 0, 0, 1, -1, 0, 1]),
        "truth_boxes": pd.DataFrame({"label": ["b"], "x": [0.5], "y": [0.2], "width": [0.25], "height": [0.5]}),
    }
    return explained.Case(**{**values, **changes})


def test_maps_are_scaled_each_and_then_averaged():
    strong, weak = np.zeros((1, 7, 7), np.float32), np.zeros((1, 5, 5), np.float32)
    strong[0, :, :] = 40  # nearly everywhere
    strong[0, 0, 0] = 0
    weak[0, :, :2] = 0.002  # only on the left
    example = case(maps=[strong, weak], original=np.zeros((70, 70), np.uint8))
    mean, deviation = example.heat(0)
    np.testing.assert_allclose((mean[35, 5], deviation[35, 5]), (1, 0), atol=1e-6)
    np.testing.assert_allclose((mean[35, 65], deviation[35, 65]), (0.5, 0.5), atol=1e-6)


def test_a_map_without_variation_marks_nothing():
    flat, zeros, single = (np.full((1, side, side), value, np.float32) for side, value in ((7, 40), (7, 0), (1, 40)))
    left = np.zeros((1, 5, 5), np.float32)
    left[0, :, :2] = 0.002
    assert scale_maps(np.concatenate([flat, zeros])).max() == scale_maps(single).max() == 0
    original = np.zeros((70, 70), np.uint8)
    for maps in ([flat], [zeros, flat], [single], [single, zeros]):
        mean, deviation = case(maps=maps, original=original).heat(0)
        assert mean.shape == original.shape
        assert mean.max() == deviation.max() == 0
    alone, _ = case(maps=[left], original=original).heat(0)
    mean, deviation = case(maps=[single, left, single], original=original).heat(0)
    np.testing.assert_array_equal(mean, alone)
    assert deviation.max() == 0
    mean, _ = case(maps=[flat, left], original=original).heat(0)
    np.testing.assert_allclose(mean, alone / 2)


def test_a_probability_of_one_half_is_a_no_as_in_the_metrics(study, tmp_path):
    paths = write_cases(study, tmp_path)
    for path in paths["predictions"].values():
        table = store.read_table(path).assign(a=0.0)
        store.write_table(table, path, schemas.scores_schema(["a", "b"]))
    first, _ = explained.load_cases(**paths)
    assert first.votes[:, 0].tolist() == [False, False]
    assert first.probabilities[0] == 0.5
    even = case(probabilities=np.array([0.5, 0.5, 0.51, 0, 0, 0, 0]), truth=np.zeros(7, int))
    assert even.shown() == [2]


def test_shown_classes():
    assert case().shown() == [1, 3, 6, 5, 0]  # four predicted, then the true one that was missed
    nothing = case(probabilities=np.linspace(0.1, 0.4, 7), truth=np.zeros(7, int))
    assert nothing.shown() == [6]
    crowded = case(probabilities=np.full(7, 0.1), truth=np.ones(7, int))
    assert crowded.shown() == [0, 1, 2, 3, 4]


def test_an_answer_is_judged_by_the_labels_and_its_colour_is_readable():
    judged = case(probabilities=np.array([0.9, 0.5, 0.9, 0.1, 0.9, 0, 0]), truth=np.array([1, 1, 0, 0, -1, -1, 0]))
    verdicts = [judged.verdict(index) for index in range(6)]
    assert verdicts == ["found", "missed", "false alarm", "rightly no", "label unknown", "label unknown"]
    assert {*verdicts} == {*overlays.VERDICTS}
    for _, colour in overlays.VERDICTS.values():
        parts = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in mcolors.to_rgb(colour)]
        luminance = np.dot([0.2126, 0.7152, 0.0722], parts)
        assert 1.05 / (luminance + 0.05) >= 4.5  # WCAG 2.1, 1.4.3, against white


def test_a_map_of_few_cells_is_said_to_be_too_coarse():
    fine, coarse = np.ones((7, 5, 5)), np.ones((7, 4, 6))
    assert explained.remarks([case(maps=[fine, fine])], ["a", "b"], None, []) == [
        "Maps, probabilities and votes are those of the mean of a, b."
    ]
    assert explained.remarks([case(maps=[fine, coarse])], ["a", "b"], None, [])[1:] == [
        "The maps of b have fewer than 25 cells: too coarse to locate anything."
    ]
    assert explained.remarks([case(maps=[coarse, coarse])], ["a", "b"], None, [])[1].startswith("All maps have fewer")


def test_heatmap_figure_says_what_the_models_say():
    figure = overlays.heatmap_figure(case(), 3)
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles[:3] == ["original", "b\n0.900, 1/2 models\n\u25b2 false alarm", "d\n0.800, 1/2 models\n\u2713 found"]
    assert titles[5] == "a\n0.100, 1/2 models\n\u2717 missed"
    assert titles[6:8] == ["all classes", "disagreement (SD)"]
    assert [axes.get_ylabel() for axes in figure.axes[12:]] == ["evidence for the class", "SD of the networks"]
    ends = [[label.get_text() for label in axes.get_yticklabels()][:: len(axes.get_yticks()) - 1] for axes in figure.axes[12:]]
    assert ends == [["0 none", "1 most"], ["0 agree", "0.5"]]
    assert figure.get_suptitle() == "Case 3: x, chosen for a\nLabels: a, d, g. Not drawn: 1 predicted class."
    (box,) = figure.axes[1].patches  # of class b; d has none
    assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (69.5, 13.5, 35, 35)
    assert not figure.axes[2].patches


def test_classes_figure_gives_each_class_its_colour_and_says_what_the_models_say():
    maps = np.zeros((7, 7, 7), np.float32)
    maps[1, 6, 0] = maps[3, 0, 6] = 5  # class b lower left, class d upper right
    single = case(probabilities=np.full(7, 0.1), truth=np.array([1, 0, 0, 0, 0, 0, 0]))
    figure = overlays.classes_figure([single, case(maps=[maps, maps])], "title")
    assert figure.get_suptitle() == "title\n1 of 2 cases have two or more predicted or true classes"
    (axes,) = figure.axes
    assert axes.get_title("left") == "Case 2: x\nNot drawn: 1 predicted class."
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts[:2] == ["b\n0.900, 1/2 models, \u25b2 false alarm", "d\n0.800, 1/2 models, \u2713 found"]
    assert texts[4] == "a\n0.100, 1/2 models, \u2717 missed"
    assert texts[5:] == ["box of the archive"]
    colours = [handle.get_color() for handle in axes.get_legend().legend_handles]
    assert colours[:5] == list(overlays.CLASS_COLOURS)
    (box,) = axes.patches  # of class b, as in the fixture
    assert mcolors.to_hex(box.get_edgecolor()) == colours[0].lower()
    assert box.get_linestyle() == "--"
    lines = [shape for shape in axes.collections if not shape.get_fill()]
    assert [mcolors.to_hex(shape.get_edgecolor()[0]) for shape in lines] == [colour.lower() for colour in colours[:2]]
    for shape, (row, column) in zip(lines, ((66, 4), (4, 136)), strict=True):
        (path,) = shape.get_paths()
        corners = path.vertices
        assert np.abs(corners - (column, row)).max(axis=0).max() < 25  # around its own cell of 10 x 20 pixels


def test_classes_figure_has_room_for_every_case_and_legend():
    crowded = case(truth=np.ones(7, int), image_id="very-long-name-" * 6)
    wide, tall = (case(original=np.zeros(shape, np.uint8)) for shape in ((60, 120), (120, 60)))
    cases = [crowded, wide, tall, crowded]
    figure = overlays.classes_figure(cases, "title")
    figures.pixels(figure)
    inside = figure.bbox
    drawn = [figure._suptitle.get_window_extent()]
    drawn += [box for axes in figure.axes for box in (axes.get_window_extent(), axes.get_legend().get_window_extent())]
    drawn += [axes._left_title.get_window_extent() for axes in figure.axes]
    assert len(drawn) == 1 + 3 * len(cases)
    for number, box in enumerate(drawn):
        assert inside.x0 <= box.x0 <= box.x1 <= inside.x1
        assert inside.y0 <= box.y0 <= box.y1 <= inside.y1
        assert not [other for other in drawn[:number] if other.overlaps(box)]


def test_no_case_with_several_classes_is_said():
    figure = overlays.classes_figure([case(probabilities=np.full(7, 0.1), truth=np.zeros(7, int))], "title")
    assert figure.get_suptitle() == "title\n0 of 1 cases have two or more predicted or true classes"
    assert not figure.axes


def write_cases(study, folder: Path) -> dict:
    chosen = pd.DataFrame({"image_id": ["y", "w"], "chosen_for": ["b", "a"]})
    store.write_table(chosen, folder / "cases.parquet", CASES)
    classes, ids = ["a", "b"], ["w", "x", "y", "z"]
    truth = pd.DataFrame({"a": [1, 0, 0, 0], "b": [0, 1, 1, -1], "image_id": ids, "patient_id": ids})
    store.write_table(truth, folder / "labels.parquet", schemas.labels_schema(classes))
    boxes = pd.DataFrame({"image_id": ["y"], "label": ["b"], "x": [0.6], "y": [0.5], "width": [0.2], "height": [0.2]})
    store.write_table(boxes, folder / "boxes.parquet", schemas.BOXES)
    paths = {"cases": folder / "cases.parquet", "labels": folder / "labels.parquet", "boxes": folder / "boxes.parquet"}
    paths |= {"heatmaps": {}, "predictions": {}, "ensemble": None}
    for member, logit, side in (("one", 2.0, 7), ("two", -1.0, 5)):
        logits = pd.DataFrame({"image_id": ids[::-1], "split": "test", "a": logit, "b": [3.0, logit, 3.0, 3.0]})
        store.write_table(logits, folder / f"{member}.parquet", schemas.scores_schema(classes))
        maps = np.random.default_rng(side).random((4, 2, side, side)).astype(np.float32)
        store.write_array(maps, folder / f"{member}.npy")
        paths["heatmaps"][member], paths["predictions"][member] = folder / f"{member}.npy", folder / f"{member}.parquet"
    return paths | {name: study[name] for name in ("ingested", "arrays", "lungs")}


def test_cases_are_put_together_by_identifier(study, tmp_path):
    paths = write_cases(study, tmp_path)
    first, second = explained.load_cases(**paths)
    assert (first.image_id, second.image_id, first.chosen_for) == ("y", "w", "b")
    assert first.original.shape == (512, 256)
    assert first.box == (0.5, 0.25, 1.0, 1.0)
    assert (first.truth.tolist(), second.truth.tolist()) == ([0, 1], [1, 0])
    assert first.votes.tolist() == [[True, True], [False, False]]
    assert second.votes.tolist() == [[True, True], [False, True]]
    sigmoid = 1 / (1 + np.exp([-2.0, 1.0]))
    np.testing.assert_allclose(first.probabilities, [sigmoid.mean()] * 2)
    np.testing.assert_array_equal(second.maps[1], store.open_array(paths["heatmaps"]["two"])[3])  # the row of w
    assert (len(first.truth_boxes), len(second.truth_boxes)) == (1, 0)
    assert explained.load_cases(**{**paths, "lungs": None})[0].box == (0, 0, 1, 1)


def test_maps_and_votes_are_of_the_members_whose_mean_is_shown(study, tmp_path):
    """Networks outside the ensemble would be averaged into a map beside a probability that is not theirs."""
    paths = write_cases(study, tmp_path)
    alone = store.read_table(paths["predictions"]["one"])
    probabilities = alone.assign(a=1 / (1 + np.exp(-alone["a"])), b=1 / (1 + np.exp(-alone["b"])))
    store.write_table(probabilities, tmp_path / "ctp.parquet", schemas.scores_schema(["a", "b"]))
    with pytest.raises(ThoraxError, match=r"ctp\.parquet is not the mean of one, two: name the members of this ensemble"):
        explained.load_cases(**{**paths, "ensemble": tmp_path / "ctp.parquet"})
    own = {kind: {"one": paths[kind]["one"]} for kind in ("heatmaps", "predictions")}
    first, _ = explained.load_cases(**{**paths, **own, "ensemble": tmp_path / "ctp.parquet"})
    np.testing.assert_allclose(first.probabilities, 1 / (1 + np.exp([-2.0, -2.0])))
    assert (len(first.maps), len(first.votes)) == (1, 1)
    assert explained.remarks([first], ["one"], "CTP", [])[0].endswith("CTP, the mean of one.")


def test_titles_have_the_calibrated_probability_where_it_is_asked_for(study, tmp_path):
    paths = write_cases(study, tmp_path)
    own = {kind: {"one": paths[kind]["one"]} for kind in ("heatmaps", "predictions")}
    fitted = [
        ("one", "a", "platt", 0.5, -1.0, 9, 4, ""),
        ("one", "b", "platt", np.nan, np.nan, 9, 0, "no validation image has the class"),
    ]
    store.write_table(pd.DataFrame(fitted, columns=schemas.SCALINGS.names), tmp_path / "s.parquet", schemas.SCALINGS)
    raw, _ = explained.load_cases(**{**paths, **own, "ensemble": None})
    first, _ = explained.load_cases(**{**paths, **own, "ensemble": None, "scaling": tmp_path / "s.parquet"})
    odds = np.log(raw.probabilities / (1 - raw.probabilities))
    assert first.printed(0) == f"{1 / (1 + np.exp(1 - 0.5 * odds[0])):.3f} calibrated"
    assert (raw.printed(1), first.printed(1)) == (f"{raw.probabilities[1]:.3f}", f"{raw.probabilities[1]:.3f} not calibrated")
    assert [first.verdict(index) for index in (0, 1)] == [raw.verdict(index) for index in (0, 1)]
    assert any("after Platt scaling" in sentence for sentence in explained.remarks([first], ["one"], None, []))
    assert not any("Platt" in sentence for sentence in explained.remarks([raw], ["one"], None, []))


def test_a_class_or_a_case_that_is_not_there_is_said_on_the_page(study, tmp_path):
    paths = write_cases(study, tmp_path)
    table = store.read_table(paths["labels"])
    store.write_table(table.assign(a=0), paths["labels"], schemas.labels_schema(["a", "b"]))
    shown = explained.load_cases(**paths)
    said = explained.remarks(shown, ["one", "two"], None, ["a", "b"])
    assert said == [
        "Maps, probabilities and votes are those of the mean of one, two.",
        "No test image has the class a, so it is not shown.",
    ]
    store.write_table(store.read_table(paths["cases"]).iloc[:0], paths["cases"], CASES)
    shown = explained.load_cases(**paths)
    said = explained.remarks(shown, ["one", "two"], "CTP", ["a"])
    assert said == ["No test image has the class a, so it is not shown."]
    overlays.write_contact_sheet([], tmp_path / "none.png", "t", said)
    assert overlays.NO_CASE in (tmp_path / "none.html").read_text()
    assert cv2.imread(str(tmp_path / "none.png")).min() < 100
    figures.pixels(overlays.classes_figure(shown, "t"))


def test_text_has_six_points_where_a_figure_is_printed_across_two_columns():
    """Two columns of a journal are 180 mm wide."""
    curves = [roc.Curve(f"class {number}", 1, np.array([[0, 0], [0, 0.5], [1, 1]]), 0.5) for number in range(30)]
    positive = pd.DataFrame(np.eye(14, dtype=int), columns=[f"class {number}" for number in range(14)])
    drawn = [
        training.draw_training_curves({f"m{number}": history(5, 2) for number in range(5)}, "title"),
        roc.draw_curves(curves, [], "title"),
        roc.draw_curves(curves[:8], [], "title"),
        label_figures.draw_label_distribution(positive == 1, np.full(14, "train"), "title"),
        label_figures.draw_cooccurrence(label_figures.count_pairs(positive), "title"),
    ]
    for figure in drawn:
        sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
        assert min(sizes) * min(1, 180 / (25.4 * figure.get_figwidth())) > 5.8
    alone = training.draw_training_curves({"m": history(5, 2)}, "title")
    assert min(text.get_fontsize() for text in alone.findobj(Text) if text.get_text()) * 88 / (25.4 * alone.get_figwidth()) > 6


def test_pictures_of_pages_are_close_to_the_figures_and_drawings_are_exact():
    generator = np.random.default_rng(0)
    blurred = cv2.GaussianBlur(generator.integers(0, 255, (64, 64)).astype(np.uint8), (0, 0), 2)
    photo = overlays.heatmap_figure(case(original=blurred))
    printed = figures.pixels(photo)
    (picture,) = figures.webp_pictures(printed, photos=True)
    shown = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    exact = printed[..., ::-1]
    assert shown.shape == exact.shape
    assert np.abs(shown.astype(int) - exact).mean() < 3
    (drawing,) = figures.webp_pictures(printed)
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(drawing, np.uint8), cv2.IMREAD_COLOR), exact)


def test_a_page_shows_each_figure_in_its_own_width(tmp_path):
    overlays.write_contact_sheet([overlays.sheet(width, 0.5, "x", 0.1) for width in (4.0, 8.0)], tmp_path / "cases.png", "t")
    page = (tmp_path / "cases.html").read_text(encoding="utf-8")
    assert re.findall(r'width="(\d+)">', page) == ["600", "1200"]
    photo, drawing = (
        figures.shown(overlays.sheet(4.0, 0.5, "x", 0.1), np.zeros((100, 800, 3), np.uint8), photos) for photos in (True, False)
    )
    widths = [cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape[1] for ((picture, _),) in (photo, drawing)]
    assert widths == [600, 800]  # a radiograph takes no more bytes than its page shows


def test_a_figure_too_tall_for_webp_or_too_large_for_a_page_is_shown_in_strips(monkeypatch):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.5, 150))
    figure.text(0.5, 0.01, "x")
    tall = figures.pixels(figure)
    strips = [cv2.imdecode(np.frombuffer(strip, np.uint8), cv2.IMREAD_COLOR) for strip in figures.webp_pictures(tall)]
    assert [strip.shape[:2] for strip in strips] == [(16383, 100), (13617, 100)]
    np.testing.assert_array_equal(np.concatenate(strips), tall[..., ::-1])
    (narrower,) = figures.webp_pictures(tall.transpose(1, 0, 2))
    assert cv2.imdecode(np.frombuffer(narrower, np.uint8), cv2.IMREAD_COLOR).shape[:2] == (54, 16383)
    monkeypatch.setattr(figures, "LARGEST_PICTURE", 200)
    assert all(len(strip) <= 200 for strip in figures.webp_pictures(tall))


def test_inputs_that_do_not_belong_together_are_named(study, tmp_path):
    paths = write_cases(study, tmp_path)
    with pytest.raises(ThoraxError, match="name the same members"):
        explained.load_cases(**{**paths, "heatmaps": {"one": paths["heatmaps"]["one"]}})
    store.write_array(np.zeros((4, 3, 7, 7), np.float32), paths["heatmaps"]["one"])
    with pytest.raises(ThoraxError, match=r"one\.npy has maps of 3 classes, but .*labels\.parquet has 2: delete"):
        explained.load_cases(**paths)
    store.write_array(np.zeros((2, 2, 7, 7), np.float32), paths["heatmaps"]["one"])
    with pytest.raises(ThoraxError, match=r"one\.npy has 2 entries, but .*one\.parquet has 4 rows: delete and remake both"):
        explained.load_cases(**paths)
    labels = store.read_table(paths["labels"])
    store.write_table(labels[labels["image_id"] != "w"], paths["labels"], schemas.labels_schema(["a", "b"]))
    with pytest.raises(ThoraxError, match=r"labels\.parquet has no row for image 'w' of .*cases\.parquet"):
        explained.load_cases(**paths)


def epoch_table(epochs: int, thresholds=(0.4, 0.6)) -> pd.DataFrame:
    rows = []
    for epoch in range(1, epochs + 1):
        rows.append((epoch, None, 0.6 + epoch / 100, None, None))
        rows += [
            (epoch, limit, 0.5 + limit * epoch / 100, 0.3 + epoch * limit / 50, epoch * limit / 40) for limit in thresholds
        ]
    return pd.DataFrame(rows, columns=list(schemas.EPOCHS_COLUMNS)).astype(float)


@pytest.mark.parametrize(("f1_metric", "side"), [("f1", "mean of both sides"), ("f1_positive", "positive side")])
def test_epoch_curves_equal_the_tables(f1_metric, side):
    frames = {"one": epoch_table(5), "two": epoch_table(3, (0.4, 0.5))}
    figure = training.draw_epoch_curves(frames, "title", f1_metric)
    grid = np.reshape(figure.axes, (2, 2))
    assert grid[1, 0].get_ylabel() == f"test F1, {side}"
    colours = {}
    for (above, below), (name, frame) in zip(grid.T, frames.items(), strict=True):
        assert above.get_title("left") == name
        whole, *curves, chance = above.lines
        np.testing.assert_array_equal(whole.get_xydata(), frame[frame["threshold"].isna()][["epoch", "auc"]])
        assert set(chance.get_ydata()) == {0.5}
        limits = sorted(frame["threshold"].dropna().unique())
        assert len(curves) == len(below.lines) == len(limits)
        for limit, auc_line, f1_line in zip(limits, curves, below.lines, strict=True):
            mine = frame[frame["threshold"] == limit]
            np.testing.assert_array_equal(auc_line.get_xydata(), mine[["epoch", "auc"]])
            np.testing.assert_array_equal(f1_line.get_xydata(), mine[["epoch", f1_metric]])
            assert auc_line.get_color() == f1_line.get_color() == colours.setdefault(limit, auc_line.get_color())
    assert len(set(colours.values())) == 3
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == ["of the probabilities", "threshold 0.4", "threshold 0.5", "threshold 0.6"]


def test_epoch_curves_are_drawn_and_a_table_without_epochs_is_named(tmp_path):
    epoch_table(4).to_csv(tmp_path / "e.csv", index=False)
    assert figures.pixels(training.epoch_curves({"one": tmp_path / "e.csv"}, "title")).min() == 0
    epoch_table(0).to_csv(tmp_path / "none.csv", index=False)
    with pytest.raises(ThoraxError, match=r"none\.csv has no epoch: delete it"):
        training.epoch_curves({"one": tmp_path / "none.csv"}, "title")
