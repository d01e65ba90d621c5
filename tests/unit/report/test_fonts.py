"""Every string of a user is drawn as it is written, in every figure, or refused before the run."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from thorax.archives import own
from thorax.errors import ThoraxError
from thorax.explanation.cases import Case
from thorax.report.figures import cross_archive, fonts, lungs, roc, training
from thorax.report.figures import heatmaps as overlays
from thorax.report.figures import labels as label_figures
from thorax.report.figures import style as figures
from thorax.report.figures.style import DPI

CJK = "肺炎"
NAMES = ["$10% and $20%", "_opacity", r"\alpha_{1}^2", r"\$x$", "a & <b> #~`\"'", CJK]
TITLE = r"Screening at $10% and $20%, _x, \frac{1}{2}"


@pytest.fixture
def square_font(tmp_path, monkeypatch):
    """A font with the two letters of `CJK` as squares, as if it were installed."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen = TTGlyphPen(None)
    for number, corner in enumerate([(100, 0), (100, 800), (900, 800), (900, 0)]):
        (pen.lineTo if number else pen.moveTo)(corner)
    pen.closePath()
    square, empty = pen.glyph(), TTGlyphPen(None).glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap(dict.fromkeys(map(ord, CJK), "square"))
    builder.setupGlyf({".notdef": empty, "square": square})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "square": (1000, 100)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Square", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "square.ttf")
    _installed(monkeypatch, [str(tmp_path / "square.ttf")])
    yield
    _forget()


@pytest.fixture
def no_other_font(monkeypatch):
    _installed(monkeypatch, [])
    yield
    _forget()


def _installed(monkeypatch, paths: list[str]) -> None:
    from matplotlib import font_manager

    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: paths)
    _forget()


def _forget() -> None:
    fonts._others.cache_clear()
    fonts._families.cache_clear()


def drawings() -> dict[str, object]:
    """A figure of every kind, with `NAMES` for whatever a user names and `TITLE` for its heading."""
    generator = np.random.default_rng(0)
    positive = pd.DataFrame(generator.random((60, len(NAMES))) < 0.4, columns=NAMES)
    parts = np.array(["train", "val", "test"] * 20)
    epochs = np.arange(1, 4)
    history = pd.DataFrame({"epoch": epochs, "loss": [90.0, 2, 1], "val_loss": [2.0, 1.5, 1.2], "val_auc": 0.7})
    per_epoch = pd.DataFrame({"epoch": [1, 1], "threshold": [np.nan, 0.5], "auc": [0.6, 0.7], "f1": [np.nan, 0.4]})
    curves = [roc.Curve(name, 3, np.array([[0, 0], [0.2, 0.8], [1, 1]]), 0.8) for name in NAMES]
    case = Case(
        image_id=NAMES[0],
        chosen_for=NAMES[1],
        original=np.full((60, 50), 90, np.uint8),
        box=(0.0, 0.0, 1.0, 1.0),
        classes=NAMES,
        maps=[generator.random((len(NAMES), 4, 4)).astype(np.float32)],
        each=np.ones((1, len(NAMES))),
        probabilities=np.linspace(0.9, 0.6, len(NAMES)),
        truth=np.ones(len(NAMES), int),
        truth_boxes=pd.DataFrame({"label": NAMES[:1], "x": [0.1], "y": [0.1], "width": [0.2], "height": [0.2]}),
    )
    weights = {NAMES[1]: np.full((1, 2, 2), 0.25)}
    lung_case = SimpleNamespace(
        image_id=NAMES[0], view=NAMES[1], rows=60, columns=50, x0=0.0, y0=0.0, x1=1.0, y1=1.0, credible=False, flag="empty"
    )
    shown = [(np.full((512, 512), 90, np.uint8), np.zeros((8, 8), np.uint8), np.full((32, 32), 90, np.uint8))]
    return {
        "training": training.draw_training_curves(dict.fromkeys(NAMES[:2], history), TITLE),
        "epochs": training.draw_epoch_curves(dict.fromkeys(NAMES[:2], per_epoch), TITLE),
        "lungs": lungs.draw_lungs(pd.DataFrame([vars(lung_case)]), shown),
        "distribution": label_figures.draw_label_distribution(positive, parts, TITLE),
        "shares": label_figures.draw_label_shares(positive, parts, {NAMES[0]: 0.2}, TITLE),
        "cooccurrence": label_figures.draw_cooccurrence(label_figures.count_pairs(positive.astype(int)), TITLE),
        "roc": roc.draw_curves(curves, [NAMES[0]], TITLE),
        "roc, each": roc.draw_curves(curves * 2, [], TITLE),
        "heatmap": overlays.heatmap_figure(case),
        "classes": overlays.classes_figure([case], TITLE),
        "attention": overlays.draw_attention([NAMES[0]], [(case.original, case.box)], weights, TITLE),
        "cross": cross_matrix(),
        "sentences": overlays.sheet(8.0, 0.0, "\n".join([TITLE, *NAMES]), 0.15),
    }


def cross_matrix():
    rows = [(a, b, 0.8, 0.7, 0.9, "normal", "phantom") for a in "pn" for b in "pn"]
    columns = ["trained_on", "tested_on", "auc", "low", "high", "classes", "provenance"]
    return cross_archive.draw_matrix(pd.DataFrame(rows, columns=columns), {"p": "padchest", "n": "nih"}, TITLE)


def test_every_figure_draws_names_and_titles_as_they_are_written(square_font, recwarn):
    found = {}
    for kind, figure in drawings().items():
        figures.pixels(figure, 40)
        texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
        assert not [text.get_text() for text in texts if text._preprocess_math(text.get_text())[1]], f"{kind} has a formula"
        assert not [text.get_text() for text in texts if "mathdefault" in text.get_text()], kind
        found[kind] = "\n".join(text.get_text() for text in texts)
    assert not [str(warning.message) for warning in recwarn if "Glyph" in str(warning.message)]
    for kind in ("distribution", "shares", "cooccurrence", "roc", "roc, each", "heatmap", "classes"):
        absent = [name for name in NAMES if name not in found[kind]]
        assert absent == ([] if kind not in ("heatmap", "classes") else absent[:1]), kind  # cases show five classes
    for kind in set(found) - {"lungs", "heatmap"}:
        assert TITLE in found[kind].replace("\n", " "), kind


def test_titles_are_broken_where_they_are_wider_than_their_figure():
    long = "Chest radiographs of a screening programme with a very long name " * 4
    figure = training.draw_training_curves(
        {"one": pd.DataFrame({"epoch": [1], "loss": [1.0], "val_loss": 1.0, "val_auc": 0.5})}, long
    )
    figures.pixels(figure, DPI)
    assert figure._suptitle.get_window_extent().x1 <= figure.bbox.x1
    assert figures.wrapped(CJK * 10, 10) == [CJK * 2 + "肺", "炎" + CJK * 2] * 2
    assert figures.shortened("a" * 40, 34) == "a" * 31 + "..."
    assert figures.shortened("a b", 34) == "a b"


def test_letters_that_matplotlibs_font_lacks_come_from_a_font_of_the_machine(square_font):
    from matplotlib.figure import Figure

    def dark(text: str) -> int:
        with figures.style():
            figure = Figure(figsize=(2, 1))
            figure.text(0.1, 0.3, text, fontsize=40)
        return int((figures.pixels(figure, 50) < 128).sum())

    assert (
        dark(CJK) > dark(CJK[0]) > 3 * dark("l") > 0
    )  # filled squares, not the outline that stands for a letter that is absent
    fonts.refuse_unreadable({"title": "Пневмония, é, ﻟﺮ" + CJK})


@pytest.mark.parametrize(("text", "letters"), [(CJK, r"'炎肺' \(CJK\)"), ("a 🫁", r"'🫁' \(LUNGS\)"), ("a\tb", r"'\\t'")])
def test_letters_that_no_font_has_are_refused_with_what_to_install(no_other_font, text, letters):
    with pytest.raises(ThoraxError, match=rf"experiments\.x\.title: no font on this machine has {letters}.*install"):
        fonts.refuse_unreadable({"fine": "Pneumonia, ß, Ж", "experiments.x.title": text})


def test_the_letters_of_your_own_table_are_known_before_the_run(tmp_path, no_other_font):
    (tmp_path / "images.csv").write_text(
        "path,patient_id,labels,x_note\na.png,肺,_opacity|肺炎,字\nb.png,2,,\n", encoding="utf-8"
    )
    shown = own.shown_text(tmp_path)
    assert shown == {
        f"{tmp_path}/images.csv, column {name}": text for name, text in (("path", ".abgnp"), ("labels", "_aciopty|炎肺"))
    }
    with pytest.raises(ThoraxError, match=r"images\.csv, column labels: no font on this machine has '炎肺'"):
        fonts.refuse_unreadable(shown)
