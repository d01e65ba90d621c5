"""Other published systems: each with data and split, and every number that is transcribed shown once."""

import pytest

from thorax import cli
from thorax.archives import ARCHIVES
from thorax.errors import ThoraxError
from thorax.report import published_numbers as reference
from thorax.report.tables import systems

ARCHIVES_OF_SYSTEMS = {"padchest": 6, "nih": 6, "chexpert": 5}


@pytest.mark.parametrize(("archive", "number"), ARCHIVES_OF_SYSTEMS.items())
def test_each_system_has_its_data_and_split(archive, number):
    table, values = systems.systems_table(archive)
    assert len(table.rows) == len(values) == number
    assert values[["data", "classes", "split", "source"]].ne("").all(axis=None)
    assert values["auc"].between(0.7, 0.9).all()
    assert archive in ARCHIVES


def test_every_transcribed_system_is_shown():
    rows = reference.load()
    others = rows[rows["paper"].isin(["published", "irvin2019"]) | rows["variant"].eq("other-systems")]
    shown = sum(len(systems.load(archive)) for archive in ARCHIVES_OF_SYSTEMS)
    assert len(others.drop_duplicates(["paper", "variant", "model"])) == shown


def test_table_12_is_set_as_printed():
    table, values = systems.classes_table("padchest")
    rows = {name: [cell.text for cell in cells] for name, cells in table.rows}
    assert table.groups[0].heading == "Rimeika et al. 2020, model 1"
    assert rows["Cardiomegaly"] == ["0.904", "0.919", "0.907"]  # 90.36, 91.94 and 90.75%
    assert rows["Lesion"] == ["–", "–", "0.698"]
    assert rows["Mean, as published or ours"] == ["0.870", "0.850", "0.830"]
    assert len(rows) == 18 + 1
    assert len(values) == 15 + 15 + 8


def test_a_mean_that_no_paper_prints_is_said_to_be_ours_and_a_doubt_is_marked():
    table, _ = systems.systems_table("chexpert")
    area = table.rows[0][1][3]
    assert area.text == "0.889?"
    assert area.detail == "our mean of 5 classes"
    assert "from memory" in area.hover


def test_what_is_not_on_record_is_refused():
    with pytest.raises(ThoraxError, match="no system of 'own': choose one of padchest, nih, chexpert"):
        systems.load("own")
    with pytest.raises(ThoraxError, match="No system of 'nih' has numbers by class"):
        systems.classes_table("nih")


def test_the_verb_writes_all_four_files(tmp_path):
    assert cli.main(["systems", "--archive", "padchest", "--table", "classes", "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"classes.{end}" for end in ("html", "md", "tex", "csv")}
