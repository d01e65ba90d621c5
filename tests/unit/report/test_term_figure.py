"""The section of a term tree: every count by hand, every term once, right of its parents and clear of the others."""

from itertools import combinations

import pandas as pd
import pytest

from thorax.config import LabelSet
from thorax.errors import ThoraxError
from thorax.labels.term_tree import TermTree
from thorax.report.figures import style
from thorax.report.figures import terms as term_figure
from thorax.storage import schemas, store

# root: fracture (rib fracture (callus), vertebral fracture), deformity (kyphosis, vertebral fracture), normal
TREE = TermTree(
    {
        "radiological finding": (),
        "normal": (),
        "fracture": ("radiological finding",),
        "rib fracture": ("fracture",),
        "callus": ("rib fracture", "fracture"),
        "deformity": ("radiological finding",),
        "kyphosis": ("deformity", "radiological finding"),
        "vertebral fracture": ("fracture", "deformity"),
    }
)
LABELS = pd.Series(
    [
        ["fracture"],
        ["fracture", "rib fracture"],
        ["callus", "callus", "normal"],
        ["rib fracture", "callus"],
        ["vertebral fracture", "not in the tree"],
        ["normal"],
        [],
    ]
)


def section(term: str = "fracture", tree: TermTree = TREE, labels: pd.Series = LABELS) -> term_figure.Section:
    return term_figure.count_section(tree, labels, term, "catalog.parquet")


def test_counts_of_a_section():
    found = section()
    assert found.terms == ("fracture", "rib fracture", "callus", "vertebral fracture")
    assert found.own == {"fracture": 2, "rib fracture": 2, "callus": 2, "vertebral fracture": 1}
    assert found.total == {"fracture": 5, "rib fracture": 3, "callus": 2, "vertebral fracture": 1}
    assert found.parents == {
        "fracture": (),
        "rib fracture": ("fracture",),
        "callus": ("rib fracture", "fracture"),
        "vertebral fracture": ("fracture",),
    }
    assert found.outside["vertebral fracture"] == ("deformity",)


def test_what_boxes_say():
    boxes, beside = term_figure.arrange(section(), TREE)
    assert {name: box.lines for name, box in boxes.items()} == {
        "fracture": ("fracture", "2 images, 5 with the terms below"),
        "rib fracture": ("rib fracture", "2 images, 3 with the terms below"),
        "callus": ("callus", "2 images"),
        "vertebral fracture": ("vertebral fracture", "1 image", "also below deformity"),
    }
    assert beside == {"rib fracture": "fracture", "callus": "rib fracture", "vertebral fracture": "fracture"}
    boxes, _ = term_figure.arrange(section("deformity"), TREE)
    assert boxes["kyphosis"].lines == ("kyphosis", "0 images", "also a general class of its own")


@pytest.mark.parametrize("term", ["fracture", "infiltrates", "mediastinal enlargement", "surgery", "radiological finding"])
def test_terms_stand_right_of_their_parents_and_clear_of_each_other(term):
    tree = TermTree.load()
    found = section(term, tree, pd.Series([[term]]))
    boxes, _ = term_figure.arrange(found, tree)
    for name, parents in found.parents.items():
        assert all(boxes[parent].left + boxes[parent].width < boxes[name].left for parent in parents)
    for one, other in combinations(boxes.values(), 2):
        apart = abs(one.middle - other.middle) - (one.height + other.height) / 2
        assert one.left != other.left or apart > 0.05
    assert min(box.middle - box.height / 2 for box in boxes.values()) == pytest.approx(0)


def test_a_general_class_is_blue_a_term_without_images_grey_and_a_second_parent_dashed():
    figure = term_figure.draw_section(section(), TREE, len(LABELS), "title")
    axes = figure.axes[0]
    assert axes.patches[0].get_edgecolor()[:3] == pytest.approx((0, 0x72 / 255, 0xB2 / 255))
    assert {patch.get_edgecolor()[:3] for patch in axes.patches[1:]} == {(0, 0, 0)}
    assert [line.get_linestyle() for line in axes.lines] == ["-", "-", "-", "--"]
    assert axes.texts[0].get_text() == "title: fracture\n5 of 7 images have it or a term below it"
    assert axes.texts[1].get_text() == "blue: general class; dashed: second parent"
    axes = term_figure.draw_section(section("deformity"), TREE, len(LABELS), "title").axes[0]
    assert [patch.get_facecolor()[0] < 1 for patch in axes.patches] == [False, True, False]  # kyphosis
    assert "grey: no image" in axes.texts[1].get_text()


def test_a_term_without_terms_below():
    found = section("normal")
    figure = term_figure.draw_section(found, TREE, len(LABELS), "title")
    assert (found.terms, found.total) == (("normal",), {"normal": 2})
    assert len(figure.axes[0].patches) == 1
    assert not figure.axes[0].lines
    assert figure.axes[0].texts[0].get_text() == "title: normal\n2 of 7 images have it"


def test_the_default_term():
    assert term_figure.choose_term(TREE, LABELS, "x") == "fracture"
    assert term_figure.choose_term(TREE, pd.Series([["callus"], ["kyphosis"], ["deformity"]]), "x") == "fracture"
    assert term_figure.choose_term(TREE, pd.Series([["kyphosis", "deformity"], ["normal"], ["normal"]]), "x") == "deformity"
    with pytest.raises(ThoraxError, match="x: no image has a term of the term tree"):
        term_figure.choose_term(TREE, pd.Series([["what"], []]), "x")


def test_terms_that_cannot_be_drawn_are_refused_with_others_that_can():
    with pytest.raises(ThoraxError, match=r"term 'fractures' is not in the term tree: choose for example 'fracture', "):
        section("fractures")
    with pytest.raises(
        ThoraxError, match=r"'zzz' is not in the term tree: choose for example 'fracture', 'normal', 'deformity'\."
    ):
        section("zzz")
    with pytest.raises(
        ThoraxError, match=r"catalog\.parquet: no image has 'kyphosis' or a term below it; .* 'fracture', 'normal'"
    ):
        section("kyphosis")


@pytest.fixture
def table(tmp_path):
    none = dict.fromkeys(["study_id", "sex", "age", "label_source", "official_split", "photometric", "padded"])
    positive = [["rib fracture"], ["fracture"], ["normal"], ["vertebral fracture"], ["mediastinal mass"], ["mass"]]
    ids = [f"i{row}" for row in range(len(positive))]
    images = pd.DataFrame({"image_id": ids, "path": ids, "patient_id": ids, "view": ["PA"] * 3 + ["L"] + ["PA"] * 2, **none})
    images = images.assign(positive=positive, negative=[[]] * len(ids), uncertain=[[]] * len(ids))
    store.write_table(images, tmp_path / "catalog.parquet", schemas.CATALOG)
    return images


def draw(tmp_path, monkeypatch, **settings) -> term_figure.Section:
    """The section that a label set's figure shows."""
    drawn = []
    real = term_figure.draw_section
    monkeypatch.setattr(term_figure, "draw_section", lambda found, *rest: drawn.append(found) or real(found, *rest))
    term = settings.pop("term", None)
    label_set = LabelSet(dataset="d", **settings)
    term_figure.term_section(tmp_path / "catalog.parquet", label_set, "padchest", "title", term)
    return drawn[0]


def test_images_of_other_views_do_not_count(table, tmp_path, monkeypatch):
    assert draw(tmp_path, monkeypatch).total["fracture"] == 2
    assert draw(tmp_path, monkeypatch, views=["PA", "L"]).total["fracture"] == 3


def test_a_second_parent_counts_unless_the_label_set_takes_the_first(table, tmp_path, monkeypatch):
    assert draw(tmp_path, monkeypatch, term="mass").total["mass"] == 2  # mediastinal mass is below mediastinal enlargement, too
    assert draw(tmp_path, monkeypatch, term="mass", two_parents="first").total["mass"] == 1


def test_a_label_stored_with_a_blank_counts_as_the_label_set_says(table, tmp_path, monkeypatch):
    padded = [["rib fracture"], [], [], [], [], []]
    store.write_table(table.assign(padded=padded), tmp_path / "catalog.parquet", schemas.CATALOG)
    assert draw(tmp_path, monkeypatch).total["fracture"] == 2
    assert draw(tmp_path, monkeypatch, padded_labels="ignore").total["fracture"] == 1
    assert draw(tmp_path, monkeypatch, padded_labels="ignore", padded_kept=["rib fracture"]).total["fracture"] == 2


def test_an_archive_without_a_tree_is_refused(table, tmp_path):
    with pytest.raises(ThoraxError, match="archive 'nih' has no term tree, only padchest and chexpert have one"):
        term_figure.term_section(tmp_path / "catalog.parquet", LabelSet(dataset="d"), "nih", "title")


def test_the_order_of_rows_changes_no_byte(table, tmp_path):
    settings = LabelSet(dataset="d")
    store.write_table(table.iloc[::-1], tmp_path / "shuffled.parquet", schemas.CATALOG)
    for name in ("catalog", "shuffled"):
        figure = term_figure.term_section(tmp_path / f"{name}.parquet", settings, "padchest", "title")
        style.save(figure, tmp_path / f"{name}.figure", "title")
    for suffix in ("png", "svg"):
        assert (tmp_path / f"catalog.figure.{suffix}").read_bytes() == (tmp_path / f"shuffled.figure.{suffix}").read_bytes()
