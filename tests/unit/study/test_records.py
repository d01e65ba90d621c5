"""What the cells of a table say of the images, by hand."""

from pathlib import Path

import pandas as pd
import pytest

from thorax.errors import ThoraxError
from thorax.study import columns, records
from thorax.study.folder import Found, Header
from thorax.study.records import Records
from thorax.study.tables import Table

ROOT = Path("folder")


def join(headers: dict[str, Header] | None = None, given: dict | None = None, **cells: list[str]) -> Records:
    """The records of images a.png, b.png, ... which the column `file` names."""
    cells = {"file": [f"{letter}.png" for letter in "abcdefgh"[: len(next(iter(cells.values())))]], **cells}
    frame = pd.DataFrame(cells, dtype=object)
    paths = sorted({*frame["file"], *(headers or {})})
    found = Found(ROOT, paths, [], 0)
    table = Table(Path("t.csv"), frame, "text", tuple(range(2, len(frame) + 2)))
    roles = columns.recognise(frame, found.matched_by(headers or {}), given or {})
    return records.join(found, paths, headers or {}, table, roles)


def lists(made: Records, column: str = "positive") -> list[list[str]]:
    return made.images[column].map(list).tolist()


PEOPLE = {"patient": ["1", "2", "3", "4"]}


def test_columns_that_name_images_equally_well_are_not_chosen_between():
    frame = pd.DataFrame({"a1": ["a.png", "b.png"], "b1": ["b.png", "a.png"], "patient": ["1", "2"]}, dtype=object)
    found = Found(ROOT, ["a.png", "b.png"], [], 0)
    roles = columns.recognise(frame, found.matched_by({}), {})
    with pytest.raises(ThoraxError, match="columns 'a1' and 'b1' name images equally well: say which does with --image-column"):
        records.join(found, found.images, {}, Table(Path("t.csv"), frame, "text", (2, 3)), roles)


def test_blank_means_not_asked_where_other_cells_say_no():
    made = join(**PEOPLE, Mass=["1", "0", "", ""], Fluid=["0", "0", "1", ""])
    assert lists(made) == [["Mass"], ["No Finding"], ["Fluid"], []]
    assert lists(made, "unasked") == [[], [], ["Mass"], []]
    assert made.images["labelled"].tolist() == [True, True, True, False]


def test_blank_means_no_where_only_findings_are_ticked():
    made = join(**PEOPLE, Mass=["x", "", "", "x"], Fluid=["", "", "x", "x"])
    assert lists(made) == [["Mass"], ["No Finding"], ["Fluid"], ["Mass", "Fluid"]]
    assert made.images["labelled"].all()


def test_blank_means_no_in_a_table_with_uncertain_cells():
    made = join(**PEOPLE, Mass=["1.0", "", "-1.0", "0.0"], Fluid=["0.0", "1.0", "", ""])
    assert lists(made) == [["Mass"], ["Fluid"], [], ["No Finding"]]
    assert lists(made, "uncertain") == [[], [], ["Mass"], []]
    assert lists(made, "unasked") == [[], [], [], []]


def test_the_tables_own_word_for_no_finding_is_used():
    made = join(**PEOPLE, Normal=["1", "0", "1", "0"], Mass=["0", "1", "1", "0"])
    assert (made.nothing, made.findings) == ("Normal", ["Mass"])
    assert lists(made) == [["Normal"], ["Mass"], ["Mass"], ["Normal"]]
    made = join(**PEOPLE, Befunde=["ohne Befund", "Erguss; Infiltrat", "ohne Befund; Erguss", ""])
    assert made.nothing == "ohne Befund"
    assert lists(made) == [["ohne Befund"], ["Erguss", "Infiltrat"], ["Erguss"], []]


def test_spellings_of_lists_are_one_label_and_separators_are_no_part_of_a_name():
    made = join(**PEOPLE, labels=["Effusion|Mass", "effusion", "EFFUSION|Mass", "Effusion"])
    assert made.findings == ["Effusion", "Mass"]
    assert lists(made)[1] == ["Effusion"]
    assert join(**PEOPLE, **{"Nodule/Mass": ["1", "0", "1", "0"]}).findings == ["Nodule Mass"]


def test_lists_may_be_separated_by_line_breaks():
    made = join(**PEOPLE, labels=["Mass\nEffusion", "Effusion", "Mass", "Mass\nEffusion"])
    assert lists(made) == [["Mass", "Effusion"], ["Effusion"], ["Mass"], ["Mass", "Effusion"]]


def test_rows_of_one_image_are_united():
    made = join(
        file=["a.png", "a.png", "b.png", "b.png"], patient=["1", "1", "2", "2"], label=["Mass", "Fluid", "normal", "Mass"]
    )
    assert lists(made) == [["Mass", "Fluid"], ["Mass"]]
    with pytest.raises(ThoraxError, match=r"t\.csv, row 3: image 'a\.png' is in an earlier row with another patient"):
        join(file=["a.png", "a.png"], patient=["1", "2"], Mass=["1", "0"])


def test_the_table_counts_before_the_header_and_fills_in_from_it():
    headers = {"a.png": Header(patient="H1", sex="F", age=30.0, view="LL"), "b.png": Header(patient="H2", sex="M", view="AP")}
    made = join(headers, Mass=["1", "0"], sex=["male", ""], view=["PA", ""], age=["", "50"])
    rows = made.images[["patient", "sex", "view", "age"]].to_numpy().tolist()
    assert rows == [["H1", "M", "PA", 30.0], ["H2", "M", "AP", 50.0]]


def test_patients_are_from_the_table_or_the_headers_never_both():
    headers = {"a.png": Header(patient="H1"), "b.png": Header(patient="H2"), "z.png": Header(patient="H3")}
    made = join(headers, patient=["7", ""], Mass=["1", "0"])
    assert made.images["patient"].tolist() == ["7"]
    assert made.left_out == {"unreadable": 0, "no row": 1, "no patient": 1}


def test_ages_are_of_birth_years_and_days():
    made = join(
        **PEOPLE,
        **{"Geburtsjahr": ["1950", "1960", "", "1970"], "Datum": ["1.2.2020", "3.4.2020", "", "5.6.2020"]},
        Mass=["1", "0", "1", "0"],
    )
    assert made.images["age"].tolist()[::3] == [70.0, 50.0]
    assert not any("2020" in study for study in made.images["study"])
    assert (made.images["study"] != "").tolist() == [True, True, False, True]


def test_images_of_a_patients_day_are_a_study_with_a_number():
    made = join(patient=["p", "p", "p", "q"], Datum=["2.2.2020", "1.1.2020", "2.2.2020", "2.2.2020"], Mass=["1", "0", "1", "0"])
    assert made.images["study"].tolist() == ["p-day2", "p-day1", "p-day2", "q-day1"]


def test_m_is_a_woman_next_to_h():
    made = join(**PEOPLE, sexo=["H", "M", "M", ""], Mass=["1", "0", "1", "0"])
    assert made.images["sex"].tolist() == ["M", "F", "F", None]
    made = join(**PEOPLE, sex=["M", "F", "M", ""], Mass=["1", "0", "1", "0"])
    assert made.images["sex"].tolist() == ["M", "F", "M", None]


def test_a_label_that_may_mean_two_things_is_refused():
    with pytest.raises(
        ThoraxError, match=r"t\.csv, row 3, column 'labels': 'none' may mean that nothing was found or that nobody looked"
    ):
        join(**PEOPLE, labels=["Mass", "none", "Mass", "Mass"])
