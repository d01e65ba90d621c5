"""Experiments side by side: whose numbers are where, what they are compared with, and which differences are bold."""

import numpy as np
import pandas as pd
import pytest

from thorax.cli import main
from thorax.evaluation.differences import references
from thorax.report.tables.results import Results
from thorax.report.tables.side_by_side import Column, SideBySide, global_table, per_class_table
from thorax.storage import schemas, store

COUNTS = pd.DataFrame(
    [("normal", 50, 10, 0.5, 0.4, 0, np.nan), ("rare", 7, 0, 0.5, 1.0, np.nan, np.nan), ("Global", 60, 12, 0.5, 0.7, 0, 0.1)],
    columns=["class", "images", "images_in_part", "auc", "f1", "f1_positive", "hamming"],
)


def metrics(**models):
    """Metrics tables of models by (auc, f1) of normal and rare; Hamming loss is that of the third value."""
    rows = []
    for model, (normal, rare, hamming) in models.items():
        both = [(name, metric, value) for name, pair in (("normal", normal), ("rare", rare))
                for metric, value in zip(("auc", "f1"), pair, strict=True)]  # fmt: skip
        means = [("Global", metric, np.nanmean([v for _, m, v in both if m == metric])) for metric in ("auc", "f1")]
        for name, metric, value in [*both, *means, ("Global", "hamming", hamming)]:
            rule = "none" if metric == "auc" else "fixed-0.5"
            rows += [(model, name, metric, "test", rule, value, value - 0.01, value + 0.01, 1),
                     (model, name, metric, "val", rule, 0.111, 0.1, 0.2, 1)]  # fmt: skip
    return pd.DataFrame(rows, columns=schemas.METRICS.names)


ALONE = metrics(CTP=((0.8, 0.6), (np.nan, 0.9), 0.2), net=((0.7, 0.5), (np.nan, 0.5), 0.3))
TWO = metrics(CTP=((0.75, 0.6004), (np.nan, 0.95), 0.15), PTC=((0.9, 0.1), (np.nan, 0.2), 0.4))


def differences(columns):
    """Differences of the columns from what they are compared with; their intervals reach 0.07 to both sides."""
    rows = []
    for name, other in references([column.name for column in columns]).items():
        one, two = (next(column for column in columns if column.name == wanted) for wanted in (name, other))
        for key, (value, _, _) in one.results.numbers.items():
            if key[0] == one.model and (found := two.results.numbers.get((two.model, *key[1:]))):
                number = value - found[0]
                rule = "none" if key[2] == "auc" else "fixed-0.5"
                pair = (name, other, *key[1:], "test", rule, value, found[0])
                rows.append((*pair, number, number - 0.07, number + 0.07, 0.9, 0.1, np.nan, 100, 1))
    return pd.DataFrame(rows, columns=schemas.DIFFERENCES.names)


def beside(*columns):
    return SideBySide(columns, "Views", differences(columns))


def column(name, model, table, f1_metric="f1"):
    return Column(name, model, Results(table, (), (), COUNTS, f1_metric=f1_metric))


@pytest.fixture
def compared():
    return beside(
        column("alone", "net", ALONE), column("alone", "CTP", ALONE), column("two", "CTP", TWO), column("two", "PTC", TWO)
    )


def test_the_f1_of_the_positive_side_is_printed_where_it_is_asked_for():
    one = metrics(net=((0.8, 0.6), (np.nan, 0.9), 0.2))
    positive = one[one["metric"] == "f1"].assign(metric="f1_positive", value=0.123)
    compared = beside(*(column(name, "net", pd.concat([one, positive]), "f1_positive") for name in ("one", "two")))
    for table, _ in (per_class_table(compared), global_table(compared)):
        assert "F1-score (of the positive class alone, 2PR / (P + R)" in table.caption
        assert "0.123" in [cell.text for _, cells in table.rows for cell in cells]
        assert "0.600" not in [cell.text for _, cells in table.rows for cell in cells]


def test_numbers_differences_and_bold_by_hand(compared):
    table, values = per_class_table(compared)
    assert [group.heading for group in table.groups] == ["# Samples", "alone: net", "alone: CTP", "two: CTP", "two: PTC"]
    with_difference = ("AUC", "AUC difference", "F1-score", "F1-score difference")
    assert [group.columns for group in table.groups[1:]] == [("AUC", "F1-score")] * 2 + [with_difference] * 2
    rows = {name: [("*" if cell.bold else "") + cell.text for cell in cells] for name, cells in table.rows}
    # two's CTP is compared with alone's CTP, two's PTC with alone's first model
    assert rows["Normal"] == ["50", "10", "0.700", "0.500", "0.800", "0.600", "0.750", "-0.050", "0.600", "+0.000",
                              "0.900", "*+0.200", "0.100", "*-0.400"]  # fmt: skip
    assert rows["Rare"] == ["7", "0", "–", "0.500", "–", "0.900", "–", "–", "0.950", "+0.050", "–", "–", "0.200", "*-0.300"]
    assert dict(table.rows)["Normal"][7].detail == "-0.120 to 0.020"
    assert table.notes[0] == "Difference: two: CTP minus alone: CTP; two: PTC minus alone: net, of the unrounded numbers."
    normal = values.set_index("class").loc["normal"]
    assert normal["two CTP f1 difference"] == pytest.approx(0.0004)
    assert (normal["two CTP f1 difference low"], normal["two CTP f1 difference high"]) == pytest.approx((-0.0696, 0.0704))
    assert (normal["two CTP f1 low"], normal["two CTP f1 high"]) == pytest.approx((0.5904, 0.6104))
    assert "alone CTP f1 difference" not in normal


def test_differences_over_all_classes(compared):
    table, values = global_table(compared)
    rows = {name: [("*" if cell.bold else "") + cell.text for cell in cells] for name, cells in table.rows}
    assert rows["Hamming loss"] == ["0.300", "0.200", "0.150", "-0.050", "0.400", "*+0.100"]
    assert rows["AUC"][-2:] == ["0.900", "*+0.200"]
    assert values.set_index("metric").loc["hamming", "two CTP difference"] == pytest.approx(-0.05)


@pytest.fixture
def files(tmp_path):
    ids = list("abcd")
    labels = pd.DataFrame({"image_id": ids, "patient_id": ids, "normal": [1, 0, 1, 0], "rare": [0, 1, 0, 0]})
    split = labels[["image_id", "patient_id"]].assign(split=["train", "train", "test", "test"])
    store.write_table(labels, tmp_path / "labels.parquet", schemas.labels_schema(["normal", "rare"]))
    store.write_table(split, tmp_path / "split.parquet", schemas.SPLITS)
    for name, table in (("alone", ALONE), ("two", TWO)):
        store.write_table(table, tmp_path / f"{name}.parquet", schemas.METRICS)
    apart = differences([column("alone", "CTP", ALONE), column("two", "CTP", TWO)])
    store.write_table(apart, tmp_path / "apart.parquet", schemas.DIFFERENCES)
    return tmp_path


def arguments(folder, *columns):
    tables = [f"{name}={folder / name}.parquet" for name in ("alone", "two")]
    return ["side-by-side", "--title", "Views", "--provenance", "phantom", "--labels", str(folder / "labels.parquet"),
            "--split", str(folder / "split.parquet"), "--metrics", *tables, "--differences", str(folder / "apart.parquet"), "--columns", *columns,
            "--out", str(folder / "out")]  # fmt: skip


def test_the_verb_writes_both_tables_in_all_forms(files):
    assert main(arguments(files, "alone/CTP", "two/CTP")) == 0
    assert sorted(path.name for path in (files / "out").iterdir()) == sorted(
        f"{table}.{suffix}" for table in ("per_class", "global") for suffix in ("html", "md", "tex", "csv")
    )
    page = (files / "out" / "per_class.md").read_text()
    assert "Phantom radiographs" in page
    assert "| Normal | 2 | 1 | 0.800 | 0.600 | 0.750 | -0.050 | 0.600 | +0.000 |" in page
    assert set(pd.read_csv(files / "out" / "global.csv")["provenance"]) == {"phantom"}


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (["alone/CTP", "third/CTP"], "'third/CTP' is not an EXPERIMENT/MODEL of alone, two"),
        (["alone/CTP", "two"], "'two' is not an EXPERIMENT/MODEL"),
        (["alone/CTP", "alone/net"], "alone/CTP, alone/net are of one experiment"),
        (["alone/CTP", "two/net"], "The metrics have no auc of model 'net'"),
        (["alone/CTP", "two/PTC"], "The differences have no auc of 'two/PTC' and 'alone/CTP' for 'normal'"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(files, capsys, columns, sentence):
    assert main(arguments(files, *columns)) == 1
    assert capsys.readouterr().err.startswith(f"thorax: {sentence}")
