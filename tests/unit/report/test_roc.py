"""ROC curves: points against scikit-learn and by hand, what is left out, and what the figure shows."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import auc, roc_curve

from thorax.errors import ThoraxError
from thorax.evaluation import metrics
from thorax.report.figures import roc, style
from thorax.report.tables import results as tables
from thorax.storage import schemas, store
from thorax.workflow import jobs

ROOT = Path(__file__).parents[3]
SCORES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])  # few, so that there are ties


def test_points_by_hand():
    labels, scores = np.array([1, 0, 1, 0, 0, -1, 1]), np.array([0.9, 0.8, 0.5, 0.5, 0.5, 0.99, 0.1])
    # falling: a positive; a negative; one positive and two negatives at once; a positive
    expected = [[0, 0], [0, 1 / 3], [1 / 3, 1 / 3], [1, 2 / 3], [1, 1]]
    np.testing.assert_allclose(roc.roc_points(labels, scores), expected)


@given(
    st.integers(1, 40).flatmap(
        lambda n: st.tuples(arrays(int, n, elements=st.integers(-1, 1)), arrays(float, n, elements=SCORES))
    )
)
def test_points_are_those_of_scikit_learn_and_enclose_the_auc(problem):
    labels, scores = problem
    points = roc.roc_points(labels, scores)
    known = labels != -1
    if len(set(labels[known])) < 2:
        assert points is None
        return
    alarms, found, _ = roc_curve(labels[known], scores[known], drop_intermediate=False)
    np.testing.assert_allclose(points, np.stack([alarms, found], axis=1), atol=1e-12)
    assert auc(*points.T) == pytest.approx(metrics.auc(labels, scores))


@pytest.fixture
def study(tmp_path) -> dict[str, Path]:
    """Forty images, ten of them of the validation part, with three classes; `c` is positive in no test image."""
    generator = np.random.default_rng(0)
    ids = [f"i{row:02d}" for row in range(40)]
    parts = ["val", "test", "test", "test"] * 10
    matrix = pd.DataFrame(generator.integers(-1, 2, (40, 3)), columns=["a", "b", "c"])
    matrix.loc[np.array(parts) == "test", "c"] = np.minimum(matrix["c"], 0)
    logits = pd.DataFrame(generator.normal(size=(40, 3)).round(1), columns=list("abc"))
    store.write_table(
        matrix.assign(image_id=ids, patient_id=ids), tmp_path / "labels.parquet", schemas.labels_schema(list("abc"))
    )
    split = pd.DataFrame({"image_id": ids, "patient_id": ids, "split": parts})
    store.write_table(split, tmp_path / "split.parquet", schemas.SPLITS)
    for name, values in (("member", logits), ("ensemble", logits.apply(metrics.sigmoid))):
        values = values.assign(image_id=ids, split=parts).iloc[::-1]
        store.write_table(values, tmp_path / f"{name}.parquet", schemas.scores_schema(list("abc")))
    return {name: tmp_path / f"{name}.parquet" for name in ("labels", "split", "member", "ensemble")}


def drawn(study, **changes):
    """What is drawn by `roc_curves`."""
    chosen = {"scores": study["ensemble"], "logits": False, **changes}
    return roc.roc_curves(study["labels"], study["split"], **chosen, model="CTP", title="title", provenance="phantom")


def test_the_curves_are_those_of_the_test_images(study):
    figure = drawn(study)
    truth, scores = (store.read_table(study[name]).set_index("image_id").sort_index() for name in ("labels", "ensemble"))
    test = (scores["split"] == "test").to_numpy()
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    named = list(zip(legend, figure.axes[0].lines, strict=False))  # the last line is that of chance
    areas = {}
    for name in "ab":
        known = test & (truth[name] != -1).to_numpy()
        alarms, found, _ = roc_curve(truth[name][known], scores[name][known], drop_intermediate=False)
        areas[name] = auc(alarms, found)
        ((text, line),) = (pair for pair in named if pair[0].startswith(f"{name}\n"))
        np.testing.assert_allclose(line.get_xydata(), np.stack([alarms, found], axis=1))
        assert text == f"{name}\nAUC {areas[name]:.3f}, {(truth[name][known] == 1).sum()} positives"
    assert [text[0] for text in legend] == sorted(areas, key=lambda name: -areas[name])
    assert figure.get_suptitle().splitlines() == [
        "title",
        tables.PROVENANCE["phantom"],
        f"CTP on 30 test images: mean AUC {np.mean(list(areas.values())):.3f} of 2 classes",
        "No curve, as the test images lack positives or negatives: c",
    ]


def test_a_members_logits_give_the_curves_of_its_probabilities(study):
    of_probabilities = drawn(study)
    of_logits = drawn(study, scores=study["member"], logits=True)
    for one, other in zip(of_probabilities.axes[0].lines, of_logits.axes[0].lines, strict=True):
        np.testing.assert_array_equal(one.get_xydata(), other.get_xydata())


def curve(name: str, area: float) -> roc.Curve:
    return roc.Curve(name, 1, np.array([[0, 0], [0, area], [1, 1]]), area)


def test_more_than_eight_classes_have_a_panel_each_the_largest_area_first():
    few, many = ([curve(f"class {number}", number / 10) for number in range(count)] for count in (8, 9))
    together = roc.draw_curves(few, [], "title")
    assert len(together.axes) == 1
    looks = {(line.get_color(), line.get_linestyle()) for line in together.axes[0].lines}
    assert len(looks) == 9  # with chance
    panels = [axes for axes in roc.draw_curves(many, [], "title").axes if axes.axison]
    assert [axes.get_title("left") for axes in panels] == [
        f"class {number}\nAUC 0.{number}00, 1 positive" for number in range(8, -1, -1)
    ]
    np.testing.assert_array_equal(panels[0].lines[0].get_xydata(), many[8].points)


def test_no_class_has_a_curve():
    figure = roc.draw_curves([], ["a", "b"], "title")
    assert figure.get_suptitle() == "title: no class has an AUC\nNo curve, as the test images lack positives or negatives: a, b"


def test_the_workflow_draws_the_papers_model_and_optional_figures_where_wanted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = yaml.safe_load((ROOT / "tests/workflow/tiny/config.yaml").read_text())
    ensembles = {"ctp": {"rule": "ctp", "members": ["first", "second", "third"]}}
    mean = {
        **study["experiments"]["tiny"],
        "members": {"first": {"seed": 1}, "second": {"seed": 2}, "third": {"seed": 3}},
        "ensembles": ensembles,
        "beside": None,
        "cooccurrence": [],
    }
    weighted = {
        **mean,
        "members": {**mean["members"], "third": {"seed": 3, "head": "attention"}},
        "ensembles": {**ensembles, "WA": {"rule": "weighted_average", "members": ["first", "third"]}},
        "cooccurrence": ["normal", "cardiomegaly"],
    }
    study["experiments"] = {"weighted": weighted, "mean": mean, "single": {**mean, "ensembles": {}}}
    study["run"] = list(study["experiments"])
    Path("config.yaml").write_text(yaml.safe_dump(study))
    found = jobs.load(["--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml", "--cores", "2"]).jobs
    drawn = {job.wildcards["experiment"]: json.loads(job.params["parameters"]) for job in found if job.rule == "figure_roc"}
    assert {name: (told["model"], told["logits"]) for name, told in drawn.items()} == {
        "weighted": ("WA", False),
        "mean": ("ctp", False),
        "single": ("first", True),
    }
    for rule in ("figure_attention", "figure_cooccurrence_of_paper"):
        assert [job.wildcards["experiment"] for job in found if job.rule == rule] == ["weighted"]
    (attention,) = (job for job in found if job.rule == "figure_attention")
    told = json.loads(attention.params["parameters"])
    assert told["attention"] == {"third": "results/attention/weighted/third.npy"}
    assert (told["draw"], told["out"]) == (["attention"], "results/figures/weighted/attention")


def test_the_order_of_rows_changes_nothing(study):
    first = style.pixels(drawn(study, scores=study["member"], logits=True))
    shuffled = store.read_table(study["member"]).sample(frac=1, random_state=1)
    store.write_table(shuffled, study["member"], schemas.scores_schema(list("abc")))
    np.testing.assert_array_equal(style.pixels(drawn(study, scores=study["member"], logits=True)), first)


def test_logits_that_are_not_said_to_be_are_refused(study):
    with pytest.raises(ThoraxError, match=r"member\.parquet has scores outside 0 to 1"):
        drawn(study, scores=study["member"])
