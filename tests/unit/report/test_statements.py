"""What the paper's text says: measures by hand, and the paper's own cells against its text."""

import numpy as np
import pandas as pd
import pytest

from thorax import cli, config
from thorax.errors import ThoraxError
from thorax.report import published_numbers as reference
from thorax.report.tables import statements
from thorax.storage import schemas, store

NETWORKS = ["DenseNet201", "EfficientNetB0", "InceptionV3", "InceptionResNetV2", "Xception"]


def published(variant: str) -> statements.Results:
    return statements.published(config.Beside(paper="liz2022", variant=variant), NETWORKS)


RESULTS = statements.Results(
    areas=pd.DataFrame(
        {"CTP": [0.9, 0.8, 0.851, 0.7], "A": [0.8, 0.8, 0.86, 0.6], "B": [0.85, 0.7, 0.8, np.nan]}, index=list("wxyz")
    ),
    images=pd.Series([10.0, 20, 40, 80], index=list("wxyz")),
    means=pd.Series({"CTP": 0.813, "A": 0.765, "B": 0.783}),
)


def test_measures_by_hand():
    assert RESULTS.values() == pytest.approx(
        {
            "above_0.8": 2,  # 0.8 itself is not above
            "above_0.85": 2,
            "not_above": 2,
            "equal": 1,
            "below": 1,
            "gain": 0.03,
            "halves": (0.83 + 0.6) / 2 - (0.825 + 0.75) / 2,  # z has one network
            "rank": -0.8,  # ranks 4 2 3 1 against 1 2 3 4
            "imbalance": 8,
        }
    )
    assert RESULTS.named() == "y (-0.009), x (equal)"
    texts = RESULTS.texts()
    assert set(texts) == set(statements.MEASURES)
    assert (texts["above_0.8"], texts["gain"], texts["halves"]) == ("2 of 4 (50%)", "+0.030 over B", "0.715, 0.787")
    assert (texts["rank"], texts["imbalance"]) == ("-0.80", "8 : 1")


def test_what_is_undefined_is_not_a_number():
    nothing = statements.Results(RESULTS.areas, pd.Series(0.0, index=RESULTS.images.index), RESULTS.means)
    assert np.isnan([nothing.values()["rank"], nothing.values()["imbalance"]]).all()
    assert (nothing.texts()["rank"], nothing.texts()["imbalance"]) == ("–", "–")
    empty = statements.Results(RESULTS.areas[:0], RESULTS.images[:0], RESULTS.means * np.nan)
    assert set(empty.texts().values()) == {"–", "0"}, "no class has a defined AUC"
    assert empty.named() == "none"


def test_the_papers_cells_against_its_text():
    specific, general, plain = published("specific"), published("general"), published("specific-noaug")
    assert specific.values()["above_0.85"] == 15  # "more than 40%" of 35
    assert specific.named() == "nodule (-0.002), unchanged (-0.001), pacemaker (equal)", "the text has pleural effusion"
    assert specific.ahead["pleural effusion"] == pytest.approx(0.008)
    assert round(specific.values()["imbalance"]) == 34, "1:172 takes the mixed column as it is"
    assert specific.texts()["halves"] == "0.793, 0.800", "fewer images are not worse on average, it says of the networks"
    assert (general.values()["above_0.85"], len(general.areas)) == (20, 52)
    assert (general.values()["equal"], general.values()["below"]) == (3, 0)  # "four" of 54, of which 52 are legible
    assert general.values()["gain"] == pytest.approx(0.052)
    assert (plain.values()["equal"], plain.values()["below"]) == (1, 2)


@pytest.fixture
def metrics():
    rows = []
    for name, values in (("Global", [0.8, 0.7, 0.6]), ("normal", [0.9, 0.8, 0.8]), ("nodule", [0.7, 0.71, 0.5])):
        for model, value in zip(["mine", "Xception", "baseline"], values, strict=True):
            rows.append((model, name, "auc", "test", "none", value, 0.0, 1.0, 100 if name == "normal" else 20))
            rows.append((model, name, "auc", "val", "none", 0.1, 0.0, 1.0, 1))
    return pd.DataFrame(rows, columns=schemas.METRICS.names)


BESIDE = config.Beside(paper="liz2022", variant="specific", models={"mine": "CTP"})


def test_the_table_sets_text_paper_and_ours_side_by_side(metrics):
    table, values = statements.statements_table(metrics, BESIDE, NETWORKS, "Study", "phantom")
    rows = {name: [cell.text for cell in cells] for name, cells in table.rows}
    assert list(rows) == list(statements.MEASURES.values())
    assert rows["Classes with an AUC of CTP above 0.85"] == ["more than 40%", "15 of 35 (43%)", "1 of 2 (50%)"]
    assert rows["Images of the largest class to those of the smallest"] == ["172 : 1", "34 : 1", "5 : 1"]
    assert [group.heading for group in table.groups] == ["the text", "the paper's table", "ours (phantom)"]
    assert "The same in ours: nodule (-0.010)." in table.notes
    assert statements._DOUBT in table.notes  # laminar atelectasis
    assert statements._ILLEGIBLE not in table.notes
    assert values.set_index("measure").loc["gain", "ours"] == pytest.approx(0.1), "the baseline is not a network"


def test_what_the_scan_lacks_is_said(metrics, monkeypatch):
    """Four classes are equal by the text and three by the cells: one of the two illegible rows of Table 10 can be the fourth."""
    table, _ = statements.statements_table(
        metrics, BESIDE.model_copy(update={"variant": "general"}), NETWORKS, "Study", "phantom"
    )
    assert (
        "Two of Table 10's 54 rows are not legible in the scan: the paper's table counts 52 classes, the text 54."
        in table.notes
    )
    assert any("as Table 10 has them" in note for note in table.notes)
    assert not any("Table 8" in note for note in table.notes)
    assert statements._DOUBT in table.notes
    everything = reference._all()
    monkeypatch.setattr(reference, "_all", lambda: everything.assign(doubt=""))
    certain, _ = statements.statements_table(metrics, BESIDE, NETWORKS, "Study", "phantom")
    assert statements._DOUBT not in certain.notes


def test_without_the_ensemble_a_sentence(metrics):
    with pytest.raises(ThoraxError, match="no AUCs of mine and of a network"):
        statements.statements_table(metrics[metrics["model"] != "mine"], BESIDE, NETWORKS, "Study", "phantom")


def test_the_verb_writes_all_four_files(metrics, tmp_path):
    store.write_table(metrics, tmp_path / "m.parquet", schemas.METRICS)
    settings = '{"paper": "liz2022", "variant": "specific", "models": {"mine": "CTP"}}'
    arguments = ["--settings", settings, "--title", "Study", "--provenance", "full", "--metrics", str(tmp_path / "m.parquet")]
    assert cli.main(["statements", *arguments, "--members", *NETWORKS, "--out", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"statements.{end}" for end in ("html", "md", "tex", "csv")}
