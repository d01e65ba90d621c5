"""Columns are recognised whatever their order, language and form; those of patients' names are told apart."""

import datetime

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thorax.errors import ThoraxError
from thorax.study import columns, words
from thorax.study.columns import Recognised

FILES = [f"scans/a{n:03}.png" for n in range(24)]
KEYS = {
    "path": {path: None for path in FILES},
    "file name": {path[6:]: None for path in FILES},
    "name without ending": {path[6:-4]: None for path in FILES},
    "accession number": {f"acc{n}": None for n in range(24)},
    "patient": {f"h{n // 2}": None for n in range(24)},
    "name": {},
}
FINDINGS = [
    "Cardiomegaly",
    "Derrame pleural",
    "Pleuraerguss",
    "épanchement",
    "Nódulo/Masa",
    "Lung Opacity",
    "versamento",
    "Fractura",
]
STYLES = [
    ("1", "0"),
    ("yes", "no"),
    ("ja", "nein"),
    ("sí", "no"),
    ("oui", "non"),
    ("sim", "não"),
    ("x", ""),
    ("TRUE", "FALSE"),
    ("1", "0", "-1", ""),
]
SEXES = [
    ("M", "F"),
    ("male", "female"),
    ("hombre", "mujer"),
    ("männlich", "weiblich"),
    ("homme", "femme"),
    ("H", "M"),
    ("uomo", "donna"),
]
LISTS = ["|", ";", ", ", "python"]


def spread(values, shift: int) -> list[str]:
    """24 cells that have every value."""
    return [values[(n + shift) % len(values)] for n in range(24)]


@st.composite
def made(draw) -> tuple[pd.DataFrame, dict[str, str]]:
    """A table, and the role of each of its columns."""
    named = lambda role: draw(st.sampled_from(words._words("column")[role]))
    spelt = lambda name: draw(
        st.sampled_from([name, name.upper(), name.title(), name.replace(" ", "_"), name.title().replace(" ", "")])
    )
    cut = draw(
        st.sampled_from(
            [
                lambda path: path,
                lambda path: path[6:],
                lambda path: path[6:-4],
                lambda path: "C:\\data\\" + path.replace("/", "\\"),
            ]
        )
    )
    found: dict[str, tuple[str, list[str]]] = {}

    def add(name: str, role: str, cells: list[str]) -> None:
        if columns.words.header_words(name) not in {columns.words.header_words(other) for other in found}:
            found[name] = (role, cells)

    add(draw(st.sampled_from(["image", "X1", "Nummer", "file"])), "image", [cut(path) for path in FILES])
    add(spelt(named("patient")), "patient", [f"p{n // 2}" for n in range(24)])
    if draw(st.booleans()):
        add(spelt(named("sex")), "sex", spread(draw(st.sampled_from(SEXES)), 0))
    if draw(st.booleans()):
        add(spelt(named("age")), "age", [draw(st.sampled_from(["{}", "0{}Y", "{} years"])).format(20 + n) for n in range(24)])
    if draw(st.booleans()):
        add(spelt(named("view")), "view", spread(["PA", "lateral", "AP"], 1))
    if draw(st.booleans()):
        add(spelt(named("birth date")), "birth date", [f"{1 + n}.03.19{n + 40}" for n in range(24)])
    if draw(st.booleans()):
        add(spelt(named("name")), "name", [f"Muster{n}, Max" for n in range(24)])
    if draw(st.booleans()):
        sign = draw(st.sampled_from(LISTS))
        rows = [FINDINGS[n % 3 : n % 3 + 1 + n % 2] for n in range(24)]
        texts = [str(row) if sign == "python" else sign.join(row) for row in rows]
        add(draw(st.sampled_from([spelt(named("findings")), "Was man sieht"])), "findings", texts)
    else:
        for name in draw(st.lists(st.sampled_from(FINDINGS), min_size=1, max_size=4, unique=True)):
            add(name, "finding", spread(draw(st.sampled_from(STYLES)), len(name)))
    order = draw(st.permutations(list(found)))
    return pd.DataFrame({name: found[name][1] for name in order}, dtype=object), {name: found[name][0] for name in order}


@settings(deadline=None, max_examples=200)
@given(made())
def test_columns_are_recognised_in_any_order_and_language(case):
    frame, expected = case
    found = columns.recognise(frame, KEYS, {})
    assert {column.name: column.role for column in found.columns} == expected, found.columns
    assert expected[found.link] == "image"
    assert all(column.reason for column in found.columns)


def roles(given: dict | None = None, **cells: list[str]) -> Recognised:
    return columns.recognise(pd.DataFrame(cells, dtype=object), KEYS, given or {})


def test_rows_may_be_about_studies_or_patients():
    found = roles(exam=["ACC1", "ACC2"], Mass=["1", "0"])
    assert (found.link, found.linked_by, found.one("study")) == ("exam", "accession number", "exam")
    found = roles(who=["H1", "H2"], Mass=["1", "0"])
    assert (found.link, found.linked_by, found.one("patient")) == ("who", "patient", "who")
    assert roles(who=["z1", "z2"], Mass=["1", "0"]).link == ""
    assert roles(who=["H1", "H2", "H1"], Mass=["1", "0", "0"]).link == ""  # which of the patient's images is a row about?


NUMBERED = {"name without ending": {str(n): None for n in range(1, 41)}}


def test_a_counter_of_rows_does_not_name_the_images_where_another_column_does():
    counter = [str(n) for n in range(1, 41)]
    frame = pd.DataFrame({"Nr": counter, "Bild": counter[::-1], "Code": counter[::-1]}, dtype=object)
    assert columns.recognise(frame, NUMBERED, {}).link == "Bild"
    unnamed = columns.recognise(frame[["Nr", "Code"]], NUMBERED, {})
    assert (unnamed.link, unnamed.tied) == ("", ("Nr", "Code"))
    assert columns.recognise(frame[["Nr", "Code"]], NUMBERED, {"image": ["Code"]}).link == "Code"
    same = pd.DataFrame({"Nr": counter, "Code": [f"{n}.png" for n in counter]}, dtype=object)
    assert columns.recognise(same, NUMBERED, {}).link == "Code"  # and no number
    named = pd.DataFrame({"Image": counter, "Code": [f"{n}.png" for n in counter[::-1]]}, dtype=object)
    assert columns.recognise(named, NUMBERED, {}).link == "Code"
    twice = pd.DataFrame({"Nr": counter, "Code": counter}, dtype=object)
    assert columns.recognise(twice, NUMBERED, {}).link == "Nr"  # both name the same


def test_a_column_that_is_called_so_names_the_images_even_if_some_are_not_there():
    counter = [str(n) for n in range(1, 41)]
    frame = pd.DataFrame({"Nr": counter, "Image": [*counter[10::-1], *(f"new{n}" for n in range(29))]}, dtype=object)
    assert columns.recognise(frame, NUMBERED, {}).link == "Nr"  # hardly any is
    frame["Image"] = [*counter[30::-1], *(f"new{n}" for n in range(9))]
    assert columns.recognise(frame, NUMBERED, {}).link == "Image"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("1.2.840.113.44", "1.2.840.113.44"),
        ("a/1.2.840.113.44.DCM", "1.2.840.113.44"),
        ("IM7.dcm.gz", "im7"),
        ("0007.png", "7"),
    ],
)
def test_only_endings_of_images_are_no_part_of_a_name(text, name):
    assert columns.file_keys(text, "name without ending") == name


def test_names_in_dicom_headers_are_found_under_any_heading():
    keys = {**KEYS, "name": {"garcia": None, "maria": None, "garcia, maria": None}}
    frame = pd.DataFrame({"file": FILES[:2], "remark 7": ["Garcia, Maria", "garcia"], "Mass": ["1", ""]}, dtype=object)
    assert columns.recognise(frame, keys, {}).of("name") == ["remark 7"]


def test_a_column_called_patient_that_has_names_does_not_identify():
    found = roles(
        file=FILES[:3], Paciente=["García López", "Ruiz, Ana", "Peña Sol"], NHC=["12", "13", "14"], Mass=["1", "0", ""]
    )
    assert (found.of("name"), found.one("patient")) == (["Paciente"], "NHC")


def test_only_one_column_has_a_role_and_your_word_counts_first():
    cells = {"file": FILES[:2], "Patient ID": ["1", "2"], "MRN": ["7", "8"], "Mass": ["1", "0"], "Smoker": ["1", "0"]}
    assert roles(**cells).one("patient") == "Patient ID"
    found = roles({"patient": ["MRN"], "finding": ["Mass"]}, **cells)
    assert (found.one("patient"), found.of("finding")) == ("MRN", ["Mass"])
    assert [(column.role, column.reason) for column in found.columns if column.name in ("Patient ID", "Smoker")] == [
        ("other", "is not used: 'MRN' is the patient"),
        ("other", "is not among the findings that you named"),
    ]
    with pytest.raises(ThoraxError, match=r"no column 'Mas' \(did you mean 'Mass'\?\): it has file, "):
        roles({"finding": ["Mas"]}, **cells)
    with pytest.raises(ThoraxError, match="no value of column 'MRN' names an image"):
        roles({"image": ["MRN"]}, **cells)


def test_answers_alone_are_no_age_sex_or_patient():
    found = roles(file=FILES[:3], age=["1", "0", "1"], sex=["1", "0", "1"], report=["normal heart", "effusion, left", ""])
    assert [column.role for column in found.columns] == ["image", "finding", "finding", "other"]


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("45", 45),
        ("045Y", 45),
        ("006M", 0.5),
        ("45,5", 45.5),
        ("45 años", 45),
        ("121", None),
        ("1970", None),
        ("?", None),
        ("6 months", 0.5),
        ("18 meses", 1.5),
        ("3 Monate", 0.25),
        ("9 mois", 0.75),
        ("6 mesi", 0.5),
        ("12 maanden", 1),
        ("10 days", 0.03),
        ("026W", 0.5),
        ("36 Monate alt", 3),
        ("7 jours", 0.02),
        ("26 Wochen", 0.5),
        ("45 ans", 45),
        ("45 Jahre", 45),
        ("45 y/o", 45),
        ("45 yrs.", 45),
        ("45 j", None),
        ("45 kg", None),
        ("45-50", None),
        ("3 m 2 d", None),
        ("45 år", 45),
    ],
)
def test_ages(text, age):
    assert columns.age_of(text) == age


@pytest.mark.parametrize(
    ("text", "year"),
    [("2024-12-31", 2024), ("20241231", 2024), ("31.12.2024", 2024), ("12/31/24", 2024), ("2024-12-31 10:00", 2024), ("31 Dec 2024", 2024), ("45", None), ("31.12.98", 1998), ("1/2/00", 2000)],
)  # fmt: skip
def test_years(text, year):
    assert columns.year_of(text) == year


def test_a_year_of_two_digits_is_not_in_the_future():
    now = datetime.date.today().year
    assert columns.year_of(f"1.1.{now % 100:02}") == now
    assert columns.year_of(f"1.1.{(now + 1) % 100:02}") == now - 99


def test_lists():
    assert columns.parse_list("['a b', 'c', 'a b']", "") == ["a b", "c"]
    assert columns.parse_list("[a, c]", ",") == ["a", "c"]  # not valid Python
    assert columns.parse_list(" a|| b |a", "|") == ["a", "b"]
    assert columns.parse_list("", "|") == []
    assert columns.separator_of(["a", "b;c", "d, e;f"]) == ";"
    assert columns.separator_of(["a", "b"]) == ""
    assert columns.separator_of(["['a', 'b']"]) == ""
