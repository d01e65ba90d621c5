"""Tables beside the papers: which models and classes, which differences, and none where ours are not of the archive."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from thorax import cli, config
from thorax.errors import ThoraxError
from thorax.report import published_numbers as reference
from thorax.report.tables import beside_paper as comparison
from thorax.report.tables.beside_paper import Compared
from thorax.report.tables.results import PROVENANCE
from thorax.storage import schemas, store

MEMBERS, ENSEMBLES = ["DenseNet201", "Xception"], ["PTC-lw", "CTP"]
SPECIFIC = config.Beside(paper="liz2022", variant="specific")
OFF = 0.004  # how far ours are from the paper's


def metrics_like(
    beside: config.Beside, models: list[str], offset: float = OFF, lacking: tuple[str, ...] = (), more: tuple[str, ...] = ()
) -> pd.DataFrame:
    """The paper's own numbers with an offset as our metrics; on the validation images Xception is the best network.

    Args:
        beside: Which numbers.
        models: Of these models.
        offset: Ours less the paper's.
        lacking: Classes that ours do not have.
        more: Classes that only ours have, without an AUC.
    """
    rows = []
    for row in reference.published(beside).to_dict("records"):
        if row["model"] not in models or row["class"] in lacking:
            continue
        rule = "none" if row["metric"] == "auc" else "fixed-0.5"
        value = row["value"] + offset
        on_val = 0.9 if row["model"] == "Xception" else 0.8
        for split, number in (("test", value), ("val", on_val)):
            key = (row["model"], row["class"], row["metric"], split, rule)
            rows.append((*key, number, number - 0.003 if row["class"] == "normal" else number - 0.05, number + 0.05, 9))
    rows += [("CTP", name, "auc", "test", "none", np.nan, np.nan, np.nan, 0) for name in more]
    return pd.DataFrame(rows, columns=schemas.METRICS.names)


def compared(data: str = "full", lacking=(), more=(), **changes) -> Compared:
    given = {"beside": SPECIFIC, "members": MEMBERS, "ensembles": ENSEMBLES, **changes}
    models = [*MEMBERS, *ENSEMBLES, "MobileNet", "average", "max vote"]
    frame = metrics_like(given["beside"], models, lacking=lacking, more=more)
    return Compared(frame, title="Study", provenance=data, **given)


NO_DIFFERENCES = pd.DataFrame(columns=schemas.DIFFERENCES.names)
APART = "Global has no difference where the paper's mean is over other classes than ours"


def texts(table) -> dict[str, list[str]]:
    return {name: [cell.text for cell in cells] for name, cells in table.rows}


def test_each_class_stands_beside_the_paper():
    """Table 8: CTP has the paper's best mean of AUC; two rows are in doubt; only the paper has nodule."""
    table, values = comparison.per_class_table(compared(lacking=("nodule",), more=("lipomatosis",)))
    assert [group.heading for group in table.groups] == ["CTP: AUC", "CTP: F1-score", "Xception: AUC", "Xception: F1-score"]
    rows = texts(table)
    assert list(rows)[:2] == ["Normal", "COPD signs"]
    assert list(rows)[-3:] == ["Lipomatosis", "Global", "Mean over shared classes"]
    assert rows["Normal"][:6] == ["0.841", "0.837", "+0.004", "0.734", "0.730", "+0.004"]
    assert rows["Laminar atelectasis"][:3] == ["0.862", "0.858?", "+0.004"]
    assert rows["Nodule"] == ["–", "0.704?", "–", "–", "0.493?", "–", "–", "0.551?", "–", "–", "0.493?", "–"]
    assert rows["Lipomatosis"] == ["–"] * 12
    assert rows["Global"][:3] == ["0.844", "0.840", "–"], "the paper's mean has nodule, ours has not"
    assert f"{APART}; the means over shared classes have one." in table.notes
    published = reference.published(SPECIFIC)
    shared = published.query("model == 'CTP' and metric == 'auc' and `class` not in ('Global', 'nodule')")["value"].mean()
    assert rows["Mean over shared classes"][:2] == [f"{shared + OFF:.3f}", f"{shared:.3f}"]
    assert len(values) == 4 * (2 * 35 + 3) + 1  # every model, not only the two that are shown
    assert values["difference"].dropna().to_numpy() == pytest.approx(OFF)


def test_means_over_other_classes_have_no_difference():
    """Of general terms we have 56 classes, the paper 54. What counts is which classes a mean is over, by model and metric."""
    more = compared(more=("lipomatosis",))  # without an AUC: part of the Hamming loss of CTP, and of no mean
    table, values = comparison.global_table(more)
    assert texts(table)["CTP"][:9] == ["0.844", "0.840", "+0.004", "0.651", "0.647", "+0.004", "0.069", "0.065", "–"]
    assert texts(table)["Xception"][8] == "+0.004"
    assert f"{APART}; the means over shared classes have one." in table.notes
    assert values.set_index(["model", "metric"])["difference"].isna().to_dict()[("CTP", "hamming")]
    undefined = compared()
    rows = (undefined.metrics["class"] == "nodule") & (undefined.metrics["metric"] == "auc")
    undefined.metrics.loc[rows & (undefined.metrics["model"] == "CTP"), "value"] = np.nan
    shown = texts(comparison.global_table(undefined)[0])
    assert [shown["CTP"][place] for place in (2, 5, 8)] == ["–", "+0.004", "+0.004"]
    assert "–" not in shown["Xception"]
    ablation, _ = comparison.ablation_table("Study", {"specific": compared(lacking=("nodule",))}, NO_DIFFERENCES)
    assert all(cells[2].text == "–" and not cells[2].bold for _, cells in ablation.rows)
    assert f"{APART}." in ablation.notes
    assert not any(APART in note for note in comparison.global_table(compared())[0].notes)


def test_f1_is_compared_with_f1_of_the_same_kind_and_named(monkeypatch):
    """Ours has both kinds; the paper's number is that of the positive side, so that is what it is next to."""
    table = reference.load("beltran2022", variant="threshold-0.5").head(1).assign(metric="f1_positive", value=0.135)
    everything = reference._all()
    monkeypatch.setattr(reference, "_all", lambda: pd.concat([everything, table], ignore_index=True))
    rows = [("ResNet50", "Global", metric, "test", "fixed-0.5", value, value, value, 9)
            for metric, value in (("f1", 0.067), ("f1_positive", 0.134), ("auc_thresholded", 0.5))]  # fmt: skip
    beside = config.Beside(paper="beltran2022", variant="threshold-0.5")
    both = Compared(pd.DataFrame(rows, columns=schemas.METRICS.names), beside, ["ResNet50"], [], "Study")
    shown, _ = comparison.global_table(both)
    assert [group.heading for group in shown.groups] == ["F1-score, positive side", "AUC of decisions"]
    assert texts(shown)["ResNet50"][:2] == ["0.134", "0.135?"]
    assert "F1-score: of the positive class alone, 2PR / (P + R), as the paper's." in shown.notes
    of_liz, _ = comparison.global_table(compared())
    assert "F1-score: mean over the positive and the negative class, as the paper's." in of_liz.notes
    assert not any("positive class alone" in note for note in of_liz.notes)


def test_a_difference_is_bold_where_the_papers_number_is_outside_our_interval():
    table, _ = comparison.per_class_table(compared())
    marked = {name for name, cells in table.rows if any(cell.bold for cell in cells)}
    assert marked == {"Normal"}  # its interval begins 0.003 below ours, and the paper's is 0.004 below
    assert [cell.bold for cell in dict(table.rows)["Normal"]] == [False, False, True] * 4


def test_a_difference_to_a_doubtful_number_is_not_bold():
    """Laminar atelectasis is 0.850 or 0.858 in the scan."""
    far = Compared(metrics_like(SPECIFIC, ["CTP"], 0.1), SPECIFIC, [], ["CTP"], "Study")
    table, _ = comparison.per_class_table(far)
    rows = dict(table.rows)
    assert [cell.text for cell in rows["Laminar atelectasis"]][:3] == ["0.958", "0.858?", "+0.100"]
    assert not rows["Laminar atelectasis"][2].bold
    assert rows["Normal"][2].bold
    assert any("and not in doubt" in note for note in table.notes)


def test_a_mean_of_doubtful_numbers_is_in_doubt():
    beside = config.Beside(paper="irvin2019", variant="u-ignore")
    of_baseline = Compared(metrics_like(beside, ["DenseNet121"]), beside, ["DenseNet121"], [], "Study", "phantom")
    table, _ = comparison.global_table(of_baseline)
    assert texts(table)["DenseNet121"][1].endswith("?")


IRVIN = config.Beside(paper="irvin2019", variant="u-ignore")


def irvin(**changes) -> Compared:
    return Compared(metrics_like(IRVIN, ["DenseNet121"], 0.2), IRVIN, ["DenseNet121"], [], "Study", **changes)


@pytest.mark.parametrize("known", [{}, {"archive": "chexpert"}, {"archive": "chexpert", "test_part": "shares"}])
def test_our_own_share_of_chexpert_has_no_difference_to_radiologists(known):
    """Irvin et al. measured on valid.csv, which radiologists labelled, not on reports of a fifth of the patients."""
    for make in (comparison.per_class_table, comparison.global_table):
        table, values = make(irvin(**known))
        assert all(group.columns == ("ours", "paper (not comparable)") for group in table.groups)
        assert values["difference"].isna().all()
        assert not any(cell.bold for _, cells in table.rows for cell in cells)
        assert not any("Difference" in note for note in table.notes)
        assert (
            "No difference is taken: the paper tested on the studies that radiologists labelled (CheXpert's valid.csv), and"
            in table.data
        )


def test_radiologists_on_both_sides_are_compared():
    table, values = comparison.per_class_table(irvin(archive="chexpert", test_part="radiologists"))
    assert values["difference"].dropna().to_numpy() == pytest.approx(0.2)
    assert all(group.columns == ("ours", "paper", "difference") for group in table.groups)
    assert not any(cell.bold for _, cells in table.rows for cell in cells)  # the paper's are not checked against their source
    assert any("of studies" in note for note in table.notes)  # ours are of radiographs


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ({"archive": "nih", "test_part": "official"}, "measured on another archive than ours (padchest, not nih)"),
        ({"archive": "padchest", "test_part": "official"}, "and ours is measured on the archive's own test list"),
    ],
)
def test_other_images_than_the_papers_have_no_difference(known, reason):
    table, values = comparison.per_class_table(compared(**known))
    assert reason in table.data
    assert values["difference"].isna().all()


def test_no_paper_is_compared_with_what_it_does_not_measure():
    """The shipped experiments: on the archives, a difference is taken only where the paper says that it measures the same."""
    study = config.load(Path(__file__).parents[3] / "config.yaml")
    taken = {}
    for name, experiment in study.experiments.items():
        if experiment.beside is None:
            continue
        split = study.splits[experiment.split]
        archive = study.datasets[study.label_sets[experiment.label_set].dataset].archive
        part = "radiologists" if split.test_on == "radiologists" else "official" if split.official else "shares"
        taken[name] = not reference.why_not(experiment.beside, archive, part)
    assert taken == {
        "liz2022-specific": True,
        "liz2022-general": True,
        "liz2022-specific-noaug": True,
        "liz2022-specific-raw": True,
        "saturi2025": True,
        "kejriwal-nih": False,  # the paper does not say what it was tested on
        "beltran2022": False,  # other labels
    }


def test_all_models_over_all_classes():
    table, values = comparison.global_table(compared())
    assert [group.heading for group in table.groups][:3] == ["AUC", "F1-score", "Hamming loss"]
    assert texts(table)["CTP"][:9] == ["0.844", "0.840", "+0.004", "0.651", "0.647", "+0.004", "0.069", "0.065", "+0.004"]
    assert list(texts(table)) == [*MEMBERS, *ENSEMBLES]
    assert len(values) == 4 * 3


@pytest.mark.parametrize("data", ["phantom", "sample"])
def test_what_is_not_the_archive_has_no_difference_anywhere(data, tmp_path):
    source = tmp_path / "metrics.parquet"
    store.write_table(metrics_like(SPECIFIC, [*MEMBERS, *ENSEMBLES]), source, schemas.METRICS)
    comparison.make_beside("Study", data, SPECIFIC, source, MEMBERS, ENSEMBLES, tmp_path)
    for name in ("beside_per_class", "beside_global"):
        for suffix in ("html", "md", "tex"):
            text = (tmp_path / f"{name}.{suffix}").read_text()
            assert PROVENANCE[data] in text.replace("&#39;", "'")
            assert "no difference is taken" in text
            assert f"ours ({data})" in text or rf"\shortstack[r]{{ours\\({data})}}" in text
            assert "paper (not comparable)" in text or r"\shortstack[r]{paper\\(not\\comparable)}" in text
            assert not re.search(r"[+]0\.\d{3}|Difference", text)
        values = pd.read_csv(tmp_path / f"{name}.csv")
        assert values["difference"].isna().all()
        assert (values["provenance"] == data).all()


def test_a_paper_without_numbers_over_all_classes_is_compared_by_the_classes_of_both():
    """Kejriwal's Figure 3 has 13 findings and no mean; its networks have other names than ours."""
    beside = config.Beside(paper="kejriwal", variant="attention", models={"mean": "average"})
    frame = metrics_like(beside, ["MobileNet", "mean"])
    for data in ("full", "phantom"):
        study = Compared(frame, beside, ["MobileNet", "MobileNet-plain"], ["mean"], "Study", data)
        table, _ = comparison.global_table(study)
        auc = reference.published(beside).query("model == 'mean'")["value"].mean()
        assert [group.heading for group in table.groups] == ["AUC, shared classes"]
        assert texts(table)["mean"][:2] == [f"{auc + OFF:.3f}", f"{auc:.3f}"]
        assert list(texts(table)) == ["MobileNet", "mean"]
        assert "Global" not in texts(comparison.per_class_table(study)[0])


def test_a_paper_with_one_number_has_it_beside_our_classes():
    """Dunn Beltran and Alsaghier say only that the final AUC of the decisions is "around 0.6" at each threshold."""
    beside = config.Beside(paper="beltran2022", variant="threshold-0.4", threshold_rule="fixed-0.4", models={"net": "ResNet50"})
    rows = [
        ("net", name, "auc_thresholded", "test", f"fixed-{rule}", value, value - 0.01, value + 0.01, 5)
        for name, rule, value in (("Hernia", "0.4", 0.7), ("Global", "0.4", 0.62), ("Global", "0.5", 0.9))
    ]
    study = Compared(pd.DataFrame(rows, columns=schemas.METRICS.names), beside, ["net"], [], "Study")
    rows = texts(comparison.per_class_table(study)[0])
    assert rows == {"Hernia": ["0.700", "–"], "Global": ["0.620", "0.600?"]}  # no difference to "around 0.6" of other labels
    table = comparison.global_table(study)[0]
    assert texts(table) == {"net": ["0.620", "0.600?"]}
    assert "No difference is taken: the paper says 'around 0.6'" in table.data


def test_models_without_published_numbers_are_refused():
    with pytest.raises(ThoraxError, match=r"kejriwal, attention has no numbers of A: name under beside.models"):
        study = compared(beside=config.Beside(paper="kejriwal", variant="attention"), members=["A"], ensembles=[])
        comparison.global_table(study)


def ablation_files(folder):
    columns = {name: config.Beside(paper="liz2022", variant=name) for name in ("specific-raw", "specific-noaug", "specific")}
    for name, beside in columns.items():
        store.write_table(metrics_like(beside, [*MEMBERS, *ENSEMBLES]), folder / f"{name}.parquet", schemas.METRICS)
    rows = [
        (f"{name}/CTP", "specific-raw/CTP", "Global", metric, "test", rule, np.nan, np.nan, *number, 0.9, 0.1, np.nan, 1000, 9)
        for name in ("specific-noaug", "specific")
        for metric, rule, number in [
            ("auc", "none", (0.273, 0.25, 0.3)),
            ("f1", "fixed-0.5", (0.01, -0.02, 0.04)),
            ("f1", "f1", (9, 9, 9)),
        ]
    ]
    store.write_table(pd.DataFrame(rows, columns=schemas.DIFFERENCES.names), folder / "apart.parquet", schemas.DIFFERENCES)
    return config.AblationColumns(columns)


def test_the_ablation_shows_the_papers_three_variants(tmp_path):
    """Tables 5, 7 and 9: AUC of CTP 0.558, 0.831, 0.840."""
    columns = ablation_files(tmp_path)
    arguments = ["ablation", "--settings", columns.model_dump_json(), "--title", "Study", "--provenance", "full", "--metrics"]
    arguments += [f"{name}={tmp_path / name}.parquet" for name in columns.root]
    arguments += ["--differences", str(tmp_path / "apart.parquet")]
    assert cli.main([*arguments, "--members", *MEMBERS, "--ensembles", *ENSEMBLES, "--out", str(tmp_path / "out")]) == 0
    lines = (tmp_path / "out" / "ablation.md").read_text().splitlines()
    heading = next(line for line in lines if "difference" in line and line.startswith("|"))
    assert [part in heading for part in ("raw ours", "no augmentation ours", "with augmentation paper")] == [True] * 3
    row = next(line for line in lines if line.startswith("| AUC, CTP"))
    change = "**+0.273**"  # its interval, 0.25 to 0.3, excludes 0
    assert (
        row == f"| AUC, CTP | 0.562 | 0.558 | +0.004 | 0.835 | 0.831 | +0.004 | {change} | 0.844 | 0.840 | +0.004 | {change} |"
    )
    assert next(line for line in lines if line.startswith("| F1-score, CTP")).endswith(" | +0.010 |")
    assert next(line for line in lines if line.startswith("| AUC, Xception")).endswith(" | – |")  # not measured here
    assert sum(line.startswith("| ") for line in lines) == 2 + 3 * 4  # headings, rule, and three metrics of four models
    values = pd.read_csv(tmp_path / "out" / "ablation.csv")
    assert values.groupby("experiment", sort=False).size().to_dict() == dict.fromkeys(columns.root, 12)
    changes = values[(values["model"] == "CTP") & (values["metric"] == "auc")][["change", "change low", "change high"]]
    assert changes.to_numpy().tolist()[1:] == [[0.273, 0.25, 0.3]] * 2
    assert changes.iloc[0].isna().all()
    assert "<small>-0.020 to 0.040</small>" in (tmp_path / "out" / "ablation.html").read_text()
    assert (tmp_path / "out" / "ablation.tex").is_file()


def test_an_ablation_needs_the_metrics_of_all_and_one_kind_of_data(tmp_path):
    columns = ablation_files(tmp_path)
    with pytest.raises(ThoraxError, match="'specific-noaug' has no metrics"):
        only = {name: tmp_path / f"{name}.parquet" for name in ("specific-raw", "specific")}
        comparison.make_ablation("Study", "full", columns, only, tmp_path / "apart.parquet", MEMBERS, ENSEMBLES, tmp_path)
    with pytest.raises(ThoraxError, match="run on phantom and others on full"):
        comparison.ablation_table("Study", {"a": compared(), "b": compared("phantom")}, NO_DIFFERENCES)


def test_the_verb_beside_writes_four_formats(tmp_path):
    store.write_table(metrics_like(SPECIFIC, [*MEMBERS, *ENSEMBLES]), tmp_path / "m.parquet", schemas.METRICS)
    arguments = ["beside", "--settings", SPECIFIC.model_dump_json(), "--title", "Study", "--provenance", "full"]
    arguments += ["--metrics", str(tmp_path / "m.parquet"), "--members", *MEMBERS, "--ensembles", *ENSEMBLES]
    assert cli.main([*arguments, "--out", str(tmp_path / "out")]) == 0
    names = {f"beside_{table}.{suffix}" for table in ("per_class", "global") for suffix in ("html", "md", "tex", "csv")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert "laminar" in (tmp_path / "out" / "beside_per_class.html").read_text().lower()
    assert "0.850 or 0.858" in (tmp_path / "out" / "beside_per_class.html").read_text()


@pytest.mark.parametrize(("ours", "text"), [(0.8397, "+0.000"), (0.8394, "-0.001"), (0.84051, "+0.001"), (np.nan, "–")])
def test_a_printed_difference_is_that_of_the_printed_numbers(ours, text):
    frame = metrics_like(SPECIFIC, ["CTP"])
    frame.loc[(frame["class"] == "Global") & (frame["metric"] == "auc") & (frame["split"] == "test"), "value"] = ours
    table, _ = comparison.global_table(Compared(frame, SPECIFIC, [], ["CTP"], "Study"))
    assert texts(table)["CTP"][2] == text
