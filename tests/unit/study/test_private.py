"""Paths that tell who a patient is are found, however the identifier or the name is written in them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thorax.study import private


@pytest.mark.parametrize(
    ("path", "known", "patient", "naming"),
    [
        ("scans/00000075_003.png", [], "75", True),
        ("scans/a.png", [], "75", False),
        ("scans/GarciaM_1.png", ["garciam"], "", True),
        ("scans/GarciaM_1.png", ["garcia"], "", True),
        ("garciamm.png", ["garcia"], "", False),
        ("García López/1.png", ["garcia"], "", True),
        ("scans/12.png", ["12"], "", False),  # too short to know
        ("scans/12.png", [], "12", True),
        ("scans/IM003.png", [], "3", False),  # a counter
        ("scans/x_19020301.png", [], "", True),
        ("scans/01.03.1902/1.png", [], "", True),
        ("HSJ-00001_PA.png", ["HSJ-00001"], "", True),
        ("hsj00001-PA.png", ["HSJ-00001"], "", True),
        ("HSJ-00011_PA.png", ["HSJ-00001"], "", False),
        ("PAT12345/img1.dcm", ["12345"], "", True),
        ("1.2.840.77/1.dcm", ["1.2.840.77"], "", True),
        ("1.2.840.777/1.dcm", ["1.2.840.77"], "", False),
        ("Li_Xu/1.dcm", private.name_words("Li^Xu"), "", True),
        ("xuli-1.dcm", private.name_words("Li^Xu"), "", True),
        ("li/xray.dcm", private.name_words("Li^Xu"), "", False),
        ("Xu/1.dcm", private.name_words("Xu"), "", False),  # nobody else's path is known by it
        ("王小明/1.dcm", private.name_words("Wang^XiaoMing=王^小明"), "", True),
        ("山田_1.dcm", private.name_words("山田^太郎"), "", True),
    ],
)
def test_paths_that_tell_who_a_patient_is(path, known, patient, naming):
    inside = {path: private.birth_forms("19020301")}
    assert bool(private.naming_paths([path], known, {path: [patient]}, inside)) == naming


def test_a_short_name_counts_in_the_patients_own_path():
    inside = {path: private.name_words("Xu") for path in ("Xu/1.dcm", "xuxu.dcm")}
    assert private.naming_paths(inside, [], {}, inside) == ["Xu/1.dcm"]


PARTS = st.lists(st.text("abcxyz", min_size=2, max_size=4) | st.integers(1, 999).map(str), min_size=2, max_size=3)


@settings(deadline=None, max_examples=100)
@given(PARTS, st.sampled_from("-_. /"), st.sampled_from("-_. /"), st.integers(0, 3))
def test_an_identifier_is_found_with_other_punctuation_and_zeros(parts, sign, other, zeros):
    identifier = sign.join(parts)
    written = other.join("0" * zeros + part if part.isdecimal() else part for part in parts)
    for path in (f"scans/{written}.png", f"{written}/IM1", f"scans/PA_{written}-2.png"):
        assert private.naming_paths([path], [identifier], {}, {}) == [path]
    assert private.naming_paths(["scans/view.png"], [identifier], {}, {}) == []
