"""The papers' numbers: transcribed without contradiction, and compared with ours as computed by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from thorax import config
from thorax.archives import ARCHIVES
from thorax.errors import ThoraxError
from thorax.evaluation.metrics import GLOBAL
from thorax.labels.term_tree import TermTree
from thorax.report import published_numbers
from thorax.report import published_numbers as reference
from thorax.storage import schemas

NIH = [
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
]
NIH += ["Pleural_Thickening", "Pneumonia", "Pneumothorax"]
TOLERANCE = 0.001 + 1e-9
DEAD = ["InceptionV3", "InceptionResNetV2", "Xception", "PTC-mode", "PTC-lw"]  # Table 4: these never say yes


def column_means(table: str) -> pd.DataFrame:
    """The mean over the classes of each column of a table of Liz et al. 2022, its Global row and the number of classes."""
    rows = reference.load("liz2022", table)
    classes = rows[rows["class"] != GLOBAL].groupby(["model", "metric"])["value"].agg(["mean", "sum", "count"])
    whole = rows[rows["class"] == GLOBAL].set_index(["model", "metric"])["value"]
    assert len(classes) == len(whole) == 16
    return classes.join(whole.rename("paper"))


def test_every_table_has_the_same_columns():
    others = {reference.COUNTS, reference.VARIANTS, reference.SYSTEMS, reference.STATEMENTS}
    for path in set(reference.FOLDER.glob("*.csv")) - others:
        assert tuple(pd.read_csv(path, nrows=0).columns) == reference.COLUMNS, path


@pytest.mark.parametrize("table", ["4", "6", "8"])
def test_each_columns_mean_is_its_global_row(table):
    means = column_means(table)
    assert (means["count"] == 35).all()
    assert (means["mean"] - means["paper"]).abs().max() <= TOLERANCE


def test_the_two_classes_that_the_scan_of_table_10_lost_have_credible_means():
    """The Global row counts 54 classes and 52 are legible: what is left for the other two must be two AUCs or F1 scores."""
    means = column_means("10")
    assert (means["count"] == 52).all()
    left = ((54 * means["paper"] - means["sum"]) / 2).unstack()
    assert left["auc"].between(0.6, 0.85).all()
    assert left["f1"].between(0.48, 0.58).all()


@pytest.mark.parametrize(("classes", "overall"), [("4", "5"), ("6", "7"), ("8", "9"), ("10", "11")])
def test_the_tables_of_all_classes_repeat_the_global_rows(classes, overall):
    rows, repeated = reference.load("liz2022", classes), reference.load("liz2022", overall)
    keys = ["model", "metric"]
    rows = rows[rows["class"] == GLOBAL].set_index(keys)["value"]
    repeated = repeated.set_index(keys)["value"]
    assert sorted(rows.index) == sorted(key for key in repeated.index if key[1] != "hamming")
    assert repeated.loc[rows.index].tolist() == rows.tolist()
    assert repeated.xs("hamming", level="metric").between(0.04, 0.11).all()


def test_every_published_f1_has_the_name_of_its_kind():
    """Liz et al. print the mean over both classes (`f1`), Dunn Beltran and Alsaghier that of the positive class (`f1_positive`)."""
    kinds = reference._all().groupby("paper")["metric"].agg(set)
    assert {paper for paper, metrics in kinds.items() if "f1" in metrics} == {"liz2022"}
    study = config.load(Path(__file__).parents[3] / "config.yaml")
    of_experiment = {name: (block.paper, block.f1_metric) for name, block in study.experiments.items()}
    assert {kind for paper, kind in of_experiment.values() if paper == "beltran2022"} == {"f1_positive"}
    assert {kind for paper, kind in of_experiment.values() if paper != "beltran2022"} == {"f1"}


def test_networks_that_never_say_yes_have_the_f1_of_the_published_counts():
    """Table 4 against the "# Samples" column of Table 8, which counts the test fifth but for its first three rows."""
    counts = published_numbers.published_counts()
    counts = counts[(counts["source"] == "Liz et al. 2022, Table 8")].set_index("row")
    test = 17_082
    rows = reference.load("liz2022", "4").query("metric == 'f1' and `class` != 'Global'")
    checked = 0
    for label, f1 in rows[rows["model"].isin(DEAD)].groupby("label")["value"]:
        published = counts.loc[label]
        positive = published["published"] / (5 if published["counts"] == "all" else 1)
        negative = test - positive
        assert f1.tolist() == pytest.approx([negative / (2 * negative + positive)] * len(DEAD), abs=TOLERANCE), label
        checked += 1
    assert checked == 35
    dead = reference.load("liz2022", "4").query("metric == 'auc' and `class` != 'Global'")
    assert (dead.loc[dead["model"].isin(DEAD), "value"] == 0.5).all()


NETWORKS = ["DenseNet201", "EfficientNetB0", "InceptionV3", "InceptionResNetV2", "Xception"]


def ensemble_against_networks(table: str) -> tuple[pd.Series, pd.Series]:
    """CTP's AUC of each class, and how far it is above the best network's."""
    rows = reference.load("liz2022", table).query("metric == 'auc' and `class` != 'Global'")
    wide = rows.pivot(index="label", columns="model", values="value")
    return wide["CTP"], (wide["CTP"] - wide[NETWORKS].max(axis=1)).round(3)


def test_what_the_papers_text_counts_in_tables_6_8_and_10():
    """Sections 5.1 and 5.2; the shares of Table 10 are of its 54 classes, of which two are not legible."""
    _, above = ensemble_against_networks(
        "6"
    )  # "except in three cases: in one case it equals them, and in two it performs worse"
    assert ((above == 0).sum(), (above < 0).sum()) == (1, 2)
    ctp, _ = ensemble_against_networks("8")  # "above 0.85 for more than 40% of the labels"; above 0.9: three that it names
    assert 0.40 < (ctp > 0.85).mean() < 0.45
    assert (ctp[["hemidiaphragm elevation", "hiatal hernia", "sternotomy"]] > 0.9).all()
    ctp, above = ensemble_against_networks("10")  # "no class where the individual models perform better"; four where they tie
    assert (above >= 0).all()
    assert (above == 0).sum() in (3, 4)
    assert round((ctp > 0.85).sum() / 54, 2) == 0.37
    assert (ctp > 0.8).sum() / 54 > 0.5
    assert ctp["sclerotic bone lesion"] < 0.51  # "close to 0.5"


@pytest.mark.parametrize("table", ["6", "8", "10"])
def test_votes_without_a_yes_have_the_f1_of_never_saying_yes(table):
    """An AUC of 0.5 comes from a network that never says yes: then F1 follows from the count of the class."""
    counts = published_numbers.published_counts()
    general = table == "10"
    counts = counts[counts["source"] == f"Liz et al. 2022, Table {10 if general else 8}"].set_index("row")
    test = 18_143 if general else 17_082
    rows = reference.load("liz2022", table).query("`class` != 'Global'")
    wide = rows.pivot(index=["label", "model"], columns="metric", values="value")
    dead = wide[(wide["auc"] == 0.5) & wide.index.get_level_values("model").isin(["PTC-lw", *NETWORKS])]
    assert len(dead) >= 4
    for label, model in dead.index:
        positive = counts["published"][label] / (5 if counts["counts"][label] == "all" else 1)
        negative = test - positive
        expected = negative / (2 * negative + positive)
        assert dead.loc[(label, model), "f1"] == pytest.approx(expected, abs=TOLERANCE), (label, model)


def test_the_facts_reference_numbers():
    table = reference.load("liz2022").query("model == 'CTP' and `class` == 'Global'")
    found = {(row.variant, row.metric): row.value for row in table.itertuples() if row.variant != "other-systems"}
    assert [found["specific", metric] for metric in ("auc", "f1", "hamming")] == [0.840, 0.647, 0.065]
    assert [found["general", metric] for metric in ("auc", "f1", "hamming")] == [0.819, 0.602, 0.056]
    assert (found["specific-noaug", "auc"], found["specific-raw", "auc"]) == (0.831, 0.558)


def test_other_systems_have_the_means_that_table_12_gives():
    rows = reference.load("liz2022", "12")
    for _, system in rows.groupby("model"):
        overall = system.loc[system["class"] == GLOBAL, "value"].item()
        assert system.loc[system["class"] != GLOBAL, "value"].mean() == pytest.approx(overall, abs=0.0001)
    assert rows["model"].nunique() == 3


def test_figure_3_of_kejriwal_has_13_findings_and_its_weighted_average_is_the_best():
    rows = reference.load("kejriwal").pivot(index="label", columns="model", values="value")
    assert rows.shape == (13, 6)
    assert set(rows.index) == set(NIH) - {"Hernia"}
    assert (rows.idxmax(axis=1) == "weighted average").all()  # "the most effective one"


@pytest.mark.parametrize("ensemble", ["average", "max vote"])
def test_figure_3_of_kejriwal_has_ensembles_below_their_worst_member(ensemble):
    """As the table's caption says: a mean of probabilities can hardly be worse than each of its members so often."""
    auc = reference.load("kejriwal").pivot(index="class", columns="model", values="value")
    assert (auc[ensemble] < auc[["MobileNet", "ResNet", "VGG"]].min(axis=1)).sum() == 9
    assert "in 9 of 13 classes" in reference.variant(config.Beside(paper="kejriwal", variant="attention"))["description"]


def test_every_number_has_one_place_and_a_name_of_the_data():
    rows = reference.load()
    assert not rows.duplicated(["paper", "table", "variant", "model", "class", "metric"]).any()
    assert rows["value"].between(0, 1).all()
    liz = rows[(rows["paper"] == "liz2022") & (rows["label"] != "") & (rows["class"] != GLOBAL)]
    tree = TermTree.load()
    assert all(label in tree for label in liz["label"])
    assert (liz.loc[liz["table"] != "12", "label"] != "").all()
    assert (rows.loc[rows["paper"] == "irvin2019", "doubt"].str.contains("from memory")).all()


def test_variants_that_can_stand_beside_ours_are_described():
    rows = reference.load()
    rows = rows[rows["metric"].isin(reference.SCORES) & ~rows["paper"].eq("published") & ~rows["variant"].eq("other-systems")]
    pairs = set(zip(rows["paper"], rows["variant"], strict=True))
    assert len(pairs) == 13
    for paper, variant in pairs:
        variant = reference.variant(config.Beside(paper=paper, variant=variant))
        assert variant["heading"]
        assert variant["description"]
        assert variant["archive"] in ARCHIVES
        assert variant["tested_on"] in reference.TEST_PARTS or variant["no_difference"]


def test_what_a_split_tests_on():
    def split(**parts: str) -> pd.DataFrame:
        rows = [(name, part) for part, names in parts.items() for name in names.split()]
        return pd.DataFrame(rows, columns=["image_id", "split"])

    assert reference.tested_on("chexpert", False, split(train="train/a", test="valid/b valid/c")) == "radiologists"
    assert reference.tested_on("chexpert", False, split(train="train/a", test="train/b", left_out="valid/c")) == "shares"
    assert reference.tested_on("nih", True, split(train="a", test="b")) == "official"
    assert reference.tested_on("nih", True, split(train="a", test="b", left_out="c")) == "drawn"
    assert reference.tested_on("padchest", False, split(train="a", test="b")) == "shares"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"paper": "liz2023"},
            r"paper 'liz2023' \(did you mean 'liz2022'\?\): choose one of beltran2022, irvin2019, kejriwal, liz2022",
        ),
        ({"paper": "liz2022", "variant": "raw"}, "variant 'raw': choose one of specific-raw, specific-noaug"),
        ({"paper": "kejriwal", "table": "8"}, "table '8': choose one of Figure 3"),
    ],
)
def test_what_is_not_published_is_refused(arguments, sentence):
    with pytest.raises(ThoraxError, match=sentence):
        reference.load(**arguments)


@pytest.fixture
def metrics():
    rows = [
        ("Inception", "normal", "auc", "test", "none", 0.842, 0.83, 0.85),  # the paper: 0.832
        ("Inception", "normal", "f1", "test", "fixed-0.5", 0.7, 0.6, 0.8),  # 0.727
        ("Inception", "normal", "f1", "test", "tuned-f1", 0.9, 0.8, 0.95),  # another rule
        ("Inception", "normal", "auc", "val", "none", 0.1, 0.1, 0.1),  # another part
        ("Inception", "kyphosis", "auc", "test", "none", np.nan, np.nan, np.nan),  # undefined; the paper: 0.845
        ("Inception", "lipomatosis", "auc", "test", "none", 0.5, 0.4, 0.6),  # not in the paper
        ("baseline", "normal", "auc", "test", "none", 0.7, 0.6, 0.8),  # not in the paper
    ]
    columns = ["model", "class", "metric", "split", "threshold_rule", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns).assign(n_positive=1)[schemas.METRICS.names]


BESIDE = config.Beside(paper="liz2022", variant="specific", models={"Inception": "InceptionV3"})


def test_comparison_by_hand(metrics):
    frame = reference.compare(metrics, BESIDE)
    assert tuple(frame.columns) == reference.COMPARED
    ours = frame.iloc[:5]
    assert ours["model"].tolist() == ["Inception"] * 4 + ["baseline"]
    assert ours["class"].tolist() == ["normal", "normal", "kyphosis", "lipomatosis", "normal"]
    assert ours["ours"].tolist() == pytest.approx([0.842, 0.7, np.nan, 0.5, 0.7], nan_ok=True)
    assert ours["published"].tolist() == pytest.approx([0.832, 0.727, 0.845, np.nan, np.nan], nan_ok=True)
    assert ours["difference"].tolist() == pytest.approx([0.01, -0.027, np.nan, np.nan, np.nan], nan_ok=True)
    rest = frame.iloc[5:]
    assert rest["ours"].isna().all()
    assert rest["difference"].isna().all()
    assert rest["published"].notna().all()
    assert len(frame) == 8 * (2 * 35 + 3) + 2  # the paper's numbers, and two that only ours has
    doubtful = frame.set_index(["model", "class", "metric"])["doubt"]
    assert doubtful["CTP", "laminar atelectasis", "auc"] == "0.850 or 0.858"
    assert doubtful["baseline", "normal", "auc"] == ""


def test_without_differences_none_is_taken(metrics):
    frame = reference.compare(metrics, BESIDE, difference=False)
    assert frame["difference"].isna().all()
    assert frame["published"].notna().sum() == 8 * (2 * 35 + 3)


def test_another_threshold_rule_is_compared_on_request(metrics):
    tuned = BESIDE.model_copy(update={"threshold_rule": "tuned-f1"})
    frame = reference.compare(metrics, tuned).set_index(["model", "class", "metric"])
    assert frame.loc[("Inception", "normal", "f1"), "difference"] == pytest.approx(0.9 - 0.727)
    assert frame.loc[("Inception", "normal", "auc"), "difference"] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("models", "options", "sentence"),
    [
        ({"Inception": "GoogLeNet"}, {}, "has no model 'GoogLeNet': choose one of DenseNet201"),
        ({"Other": "Xception"}, {}, "the metrics have no model 'Other'"),
        ({}, {"split": "train"}, "nothing for train"),
    ],
)
def test_wrong_names_are_explained(metrics, models, options, sentence):
    beside = config.Beside(paper="liz2022", variant="specific", models=models)
    with pytest.raises(ThoraxError, match=sentence):
        reference.compare(metrics, beside, **options)


def test_kejriwals_ensembles_lie_below_their_worst_member_in_as_many_classes_as_is_said():
    numbers = reference.load("kejriwal", "Figure 3").query("metric == 'auc' and label != ''")
    table = numbers.pivot(index="label", columns="model", values="value")
    worst = table[["MobileNet", "ResNet", "VGG"]].min(axis=1)
    below = {rule: int((table[rule] < worst).sum()) for rule in ("average", "max vote", "weighted average")}
    assert below == {"average": 9, "max vote": 9, "weighted average": 0}
    assert len(table) == 13
    said = reference.variant(config.Beside(paper="kejriwal", variant="attention"))["description"]
    assert "average and max vote lie below the worst of their members in 9 of 13 classes" in said
