"""Figures of a label set: bars and cells equal the data, whatever the order of its rows, and the bytes are stable."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from thorax.errors import ThoraxError
from thorax.report.figures import labels as label_figures
from thorax.report.figures import style as figures
from thorax.storage import schemas, store

CLASSES = ["b rare", "a common", "c rare"]
SUFFIXES = ("png", "svg")


@pytest.fixture
def labelled(tmp_path) -> tuple[Path, Path]:
    """Ten images: eight of `a common`, two of each other class, one without any, an ignored entry."""
    matrix = np.zeros((10, 3), int)
    matrix[:8, 1] = 1
    matrix[:2, 0] = 1
    matrix[1, 2] = matrix[8, 2] = 1
    matrix[9, 0] = -1
    ids = [f"i{row}" for row in range(10)]
    table = pd.DataFrame(matrix, columns=CLASSES).assign(image_id=ids, patient_id=ids)
    store.write_table(table, tmp_path / "labels.parquet", schemas.labels_schema(CLASSES))
    parts = pd.DataFrame({"image_id": [*ids, "other"], "patient_id": "p"}).assign(
        split=["train"] * 6 + ["val", "test"] * 2 + ["val"]
    )
    store.write_table(parts.iloc[::-1], tmp_path / "split.parquet", schemas.SPLITS)
    return tmp_path / "labels.parquet", tmp_path / "split.parquet"


def drawn_distribution(labelled):
    labels = store.read_table(labelled[0])
    parts = store.read_table(labelled[1]).set_index("image_id")["split"].loc[labels["image_id"]].to_numpy()
    return label_figures.draw_label_distribution(labels[CLASSES] == 1, parts, "title")


def test_bars_of_the_label_counts(labelled):
    axes = drawn_distribution(labelled).axes[0]
    assert [(round(bar.get_x() + bar.get_width() / 2), bar.get_height()) for bar in axes.patches] == [
        (0, 1),
        (1, 7),
        (2, 1),
        (3, 1),
    ]


def test_bars_of_the_class_shares(labelled):
    axes = drawn_distribution(labelled).axes[1]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a common", "b rare", "c rare"]
    train, val, test = ([bar.get_width() for bar in part] for part in axes.containers)
    np.testing.assert_allclose(train, [60, 20, 10])
    np.testing.assert_allclose(val, [10, 0, 10])
    np.testing.assert_allclose(test, [10, 0, 0])
    assert [text.get_text() for text in axes.texts] == ["8 (80.0%)", "2 (20.0%)", "2 (20.0%)"]


def test_the_upper_axis_is_the_share_of_all_labels(labelled):
    figure = drawn_distribution(labelled)
    figures.pixels(figure)
    lower, (upper,) = figure.axes[1], figure.axes[1].child_axes
    assert upper.get_xlim()[1] / lower.get_xlim()[1] == pytest.approx(10 / 12)  # ten images, twelve labels


def test_an_image_outside_the_split_is_an_error(labelled, tmp_path):
    parts = store.read_table(labelled[1])
    store.write_table(parts[parts["image_id"] != "i3"], tmp_path / "less.parquet", schemas.SPLITS)
    with pytest.raises(ThoraxError, match=r"less\.parquet has no row for image 'i3'"):
        label_figures.label_distribution(labelled[0], tmp_path / "less.parquet", "title")


def test_pairs_are_counted_where_both_classes_are_known(labelled):
    table = store.read_table(labelled[0])
    pairs = label_figures.count_pairs(table[CLASSES])
    assert pairs.classes == ("a common", "b rare", "c rare")
    assert pairs.images.tolist() == [8, 2, 2]
    assert pairs.size == (10, 3)
    # images 0 to 7 have a, 0 and 1 have b, 1 and 8 have c; of image 9 b is not known
    assert pairs.together.tolist() == [[8, 2, 1], [2, 2, 1], [1, 1, 2]]
    np.testing.assert_allclose(pairs.share, [[1, 2 / 8, 1 / 8], [1, 1, 1 / 2], [1 / 2, 1 / 2, 1]])
    np.testing.assert_allclose(pairs.expected[0, 1:], [8 * 2 / 9, 8 * 2 / 10])
    np.testing.assert_allclose(pairs.expected[1, 2], 2 * 2 / 9)
    np.testing.assert_allclose(pairs.expected, pairs.expected.T)


def test_a_share_leaves_out_images_whose_other_class_is_not_known():
    pairs = label_figures.count_pairs(pd.DataFrame({"a": [1, 1, 1, 1, 0], "b": [1, -1, -1, 0, 1], "c": [-1] * 5}))
    assert pairs.share[0, 1] == 1 / 2  # of four images with a, two say something of b, and one of these has it
    assert pairs.share[1, 0] == 1 / 2
    assert pairs.expected[0, 1] == 2 * 2 / 3
    assert np.isnan([pairs.share[0, 2], pairs.share[2, 0], pairs.expected[0, 2]]).all()
    assert label_figures.overrepresented(pairs).empty


def test_only_named_classes():
    matrix = pd.DataFrame({"z": [1, 0, 1], "y": [0, 0, 1], "x": [0, 1, 1]}).astype("int8")
    pairs = label_figures.count_pairs(matrix, ["z", "x"])
    assert pairs.classes == ("x", "z")  # as frequent as each other: by name
    assert pairs.together.tolist() == [[2, 1], [1, 2]]
    assert pairs.multiple.tolist() == [1 / 2, 1 / 2]
    assert "\n3 images, 2 of 3 classes\n" in label_figures.draw_cooccurrence(pairs, "title").get_suptitle()


def test_a_class_that_the_label_set_lacks_is_named(labelled):
    with pytest.raises(ThoraxError, match=r"^cooccurrence: 'd' is not a class of .*labels\.parquet: choose one of"):
        label_figures.cooccurrence(labelled[0], "title", ["a common", "d"])


def test_images_with_another_class_are_counted_where_that_is_known():
    # a: one image with b, one alone, one of which b is not known; b: one with a, one alone of which c is not known
    matrix = pd.DataFrame({"a": [1, 1, 1, 0, 0], "b": [1, 0, -1, 1, 0], "c": [-1, 0, 0, -1, 1]})
    np.testing.assert_array_equal(label_figures.count_pairs(matrix).multiple, [1 / 2, 1, 0])
    np.testing.assert_array_equal(label_figures.count_pairs(matrix, ["a", "b"]).multiple, [1 / 2, 1 / 2])
    assert np.isnan(label_figures.count_pairs(pd.DataFrame({"a": [1, 0], "b": [-1, -1]})).multiple).all()


def test_pairs_above_chance():
    matrix = pd.DataFrame(0, index=range(200), columns=["a", "b", "c", "d"], dtype="int8")
    matrix.loc[:39, "a"] = matrix.loc[10:49, "b"] = 1  # 30 together, 40 x 40 / 200 = 8 expected
    matrix.loc[10:28, "c"] = 1  # with a and b 19 times each: too few to say
    matrix.loc[20:, "d"] = 1  # with b 30 times, but 36 expected
    ranked = label_figures.overrepresented(label_figures.count_pairs(matrix))
    assert ranked.to_numpy().tolist() == [["a", "b", 30, 30 / 8]]


def cells(axes) -> dict[tuple[int, int], str]:
    """Texts of the matrix by (row, column)."""
    return {(round(text.get_position()[1]), round(text.get_position()[0])): text.get_text() for text in axes.texts}


def test_cells_show_shares_and_the_diagonal_images(labelled):
    pairs = label_figures.count_pairs(store.read_table(labelled[0])[CLASSES])
    figure = label_figures.draw_cooccurrence(pairs, "title")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a common", "b rare", "c rare"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a common", "b rare", "c rare", "any other"]
    assert cells(axes) == {
        (0, 0): "8", (0, 1): "25", (0, 2): "12", (0, 3): "25",
        (1, 0): "100", (1, 1): "2", (1, 2): "50", (1, 3): "100",
        (2, 0): "50", (2, 1): "50", (2, 2): "2", (2, 3): "50",
    }  # fmt: skip
    assert len(figure.axes) == 2  # the matrix and its colours: no pair has enough images to be ranked
    assert figure.get_suptitle().startswith("title\n10 images, 3 classes\n")


def test_shares_below_one_per_cent_are_not_zero():
    assert [label_figures._whole(value) for value in (0.0, 0.001, 0.94, 0.96, 99.4, 100.0)] == [
        "0",
        "<1",
        "<1",
        "1",
        "99",
        "100",
    ]


def test_many_classes_have_their_images_beside_the_name_and_numbers_where_frequent():
    generator = np.random.default_rng(0)
    many = [f"class {number}" for number in range(label_figures.NUMBERED_CLASSES + 1)]
    matrix = pd.DataFrame(generator.random((300, len(many))) < np.linspace(0.02, 0.4, len(many)), columns=many).astype("int8")
    pairs = label_figures.count_pairs(matrix)
    figure = label_figures.draw_cooccurrence(pairs, "title")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [f"{name} ({count})" for name, count in zip(pairs.classes, pairs.images, strict=True)]
    shown = (pairs.share >= 0.1) & ~np.eye(len(many), dtype=bool)
    numbered = np.column_stack([shown, np.ones(len(many), bool)])  # and the last column in full
    assert set(cells(figure.axes[0])) == {tuple(cell) for cell in np.argwhere(numbered).tolist()}
    ranked = label_figures.overrepresented(pairs)
    assert 0 < len(ranked) <= label_figures.RANKED_PAIRS
    assert [bar.get_width() for bar in figure.axes[1].patches] == ranked["ratio"].tolist()


def test_a_single_class_is_drawn():
    figure = label_figures.draw_cooccurrence(label_figures.count_pairs(pd.DataFrame({"a": [1, 0, 1]})), "title")
    assert cells(figure.axes[0]) == {(0, 0): "2", (0, 1): "0"}
    assert figures.pixels(figure).min() == 0


@pytest.mark.filterwarnings("error")
def test_a_class_without_images_is_drawn():
    pairs = label_figures.count_pairs(pd.DataFrame({"a": [1, 0, 1], "b": [0, 0, 0]}))
    figure = label_figures.draw_cooccurrence(pairs, "title")
    assert cells(figure.axes[0]) == {(0, 0): "2", (0, 1): "0", (0, 2): "0", (1, 1): "0"}
    assert figures.pixels(figure).min() == 0


def test_the_order_of_rows_and_columns_changes_no_byte(labelled, tmp_path):
    table = store.read_table(labelled[0]).iloc[::-1]
    store.write_table(table, tmp_path / "shuffled.parquet", schemas.labels_schema(CLASSES[::-1]))
    for labels, name in ((labelled[0], "first"), (tmp_path / "shuffled.parquet", "second")):
        figures.save(label_figures.label_distribution(labels, labelled[1], "title"), tmp_path / f"{name}.bars", "title")
        figures.save(label_figures.cooccurrence(labels, "title"), tmp_path / f"{name}.matrix", "title")
    for suffix in SUFFIXES:
        for figure in ("bars", "matrix"):
            assert (tmp_path / f"first.{figure}.{suffix}").read_bytes() == (tmp_path / f"second.{figure}.{suffix}").read_bytes()


def test_shares_count_an_image_without_a_class_as_one_label(labelled):
    """Twelve labels and one image without any: 13 in all, by hand."""
    labels = store.read_table(labelled[0])[CLASSES] == 1
    figure = label_figures.draw_label_shares(labels, np.full(10, "train"), {"c rare": 0.25, "not here": 0.5}, "title")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a common", "b rare", "c rare", "none of these"]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], 100 * np.array([8, 2, 2, 1]) / 13)
    assert [text.get_text() for text in axes.texts] == ["61.5% (8)", "15.4% (2)", "15.4% (2)", "7.7% (1)"]
    assert axes.get_title("left") == "(a) all images: 10 images, 13 labels"
    assert axes.lines[0].get_xydata().tolist() == [[25, 2]]


def test_a_class_named_as_the_images_without_any(labelled):
    labels = (store.read_table(labelled[0])[CLASSES] == 1).rename(columns={CLASSES[0]: "none of these"})
    figure = label_figures.draw_label_shares(labels, np.full(10, "train"), {}, "title")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()].count("none of these") == 1
    assert axes.get_yticklabels()[-1].get_text() == "(none of these)"
    assert axes.texts[-1].get_text() == "7.7% (1)"
    colours = [bar.get_facecolor() for bar in axes.patches]
    assert len({*colours[:-1]}) == 1 != len({*colours})


def test_shares_before_and_after_a_split_draws_down(labelled, tmp_path):
    parts = store.read_table(labelled[1])
    parts.loc[parts["image_id"] == "i9", "split"] = schemas.LEFT_OUT
    store.write_table(parts, tmp_path / "drawn.parquet", schemas.SPLITS)
    before, after = label_figures.label_shares(labelled[0], tmp_path / "drawn.parquet", None, "title").axes
    np.testing.assert_allclose([bar.get_width() for bar in before.patches], 100 * np.array([8, 2, 2, 1]) / 13)
    np.testing.assert_allclose([bar.get_width() for bar in after.patches], 100 * np.array([8, 2, 2, 0]) / 12)
    assert after.get_title("left") == "(b) drawn down: 9 images, 12 labels"


def test_images_that_are_left_out_are_in_no_distribution(labelled, tmp_path):
    parts = store.read_table(labelled[1])
    parts.loc[parts["image_id"].isin(["i7", "i9"]), "split"] = schemas.LEFT_OUT
    store.write_table(parts, tmp_path / "drawn.parquet", schemas.SPLITS)
    figure = label_figures.label_distribution(labelled[0], tmp_path / "drawn.parquet", "title")
    assert [text.get_text() for text in figure.axes[1].texts] == ["7 (87.5%)", "2 (25.0%)", "2 (25.0%)"]


def test_the_papers_label_shares():
    assert label_figures.published_numbers.label_shares("beltran2022") == {"Hernia": 0.002, "Infiltration": 0.141}
    assert label_figures.published_numbers.label_shares("liz2022") == {}
