"""Words of several languages in the headers and cells of tables (table_words.csv), without accents and capitals."""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

import pandas as pd

from thorax.resources import resource

_WHOLE = re.compile(r"^([-+]?\d+)[.,]0+$")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def plain(text: str) -> str:
    """A text in small letters without accents and with single blanks."""
    parts = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    return " ".join("".join(letter for letter in parts if not unicodedata.combining(letter)).casefold().split())


def header_words(name: str) -> tuple[str, ...]:
    """The words of a column's name: `PatientID`, `patient_id` and `Patient-ID` are the same two."""
    return tuple(re.findall(r"[^\W_]+", plain(_CAMEL.sub(" ", name))))


@cache
def _words(kind: str) -> dict[str, list[str]]:
    table = pd.read_csv(resource("table_words.csv"), keep_default_na=False)
    rows = table[table["kind"] == kind]
    return {meaning: text.split("|") for meaning, text in zip(rows["meaning"], rows["words"], strict=True)}


@cache
def _headers() -> dict[tuple[str, ...], str]:
    whole = {header_words(word): meaning for meaning, words in _words("column").items() for word in words}
    return {("".join(key),): meaning for key, meaning in whole.items()} | whole


def meaning_of_header(name: str) -> tuple[str, bool] | None:
    """What a column's name says that it holds, and whether the whole name says so; None for other names.

    Otherwise the name begins or ends with what says so, as in `Age (years)`; the longest such words decide.
    """
    words, known = header_words(name), _headers()
    if words in known:
        return known[words], True
    if ("".join(words),) in known:  # `patientid` is `patient id`
        return known[("".join(words),)], True
    for length in range(len(words) - 1, 0, -1):
        for part in (words[:length], words[-length:]):
            if part in known:
                return known[part], False
    return None


@cache
def _cells(meanings: tuple[str, ...]) -> dict[str, str]:
    return {plain(word): meaning for meaning in meanings for word in _words("cell")[meaning]}


ANSWERS = ("yes", "no", "uncertain")
SEXES = ("M", "F")
VIEWS = ("PA", "AP", "frontal", "Lateral")


def meaning_of_cell(text: str, meanings: tuple[str, ...]) -> str | None:
    """Which of the meanings (`ANSWERS`, `SEXES` or `VIEWS`) a cell has; None if it has none of them."""
    return _cells(meanings).get(_WHOLE.sub(r"\1", plain(text)))  # 1.0 is 1


def sexes(texts: Iterable[str]) -> dict[str, str | None]:
    """What each of a column's texts means, M or F; next to H or V (hombre, varón, homem), M is a woman (mujer, mulher)."""
    found = {text: meaning_of_cell(text, SEXES) for text in texts}
    if {plain(text) for text in found} & {"h", "v"} and "F" not in found.values():
        found |= {text: "F" for text in found if plain(text) == "m"}
    return found


@cache
def _units() -> dict[str, str]:
    return {word: meaning for meaning, known in _words("unit").items() for word in known}


def unit_of(text: str) -> str | None:
    """The unit of an age: year, month, week or day; None for other words, and for J, which is Jahr and jour."""
    return _units().get(" ".join(header_words(text.lower())))


def all_mean(texts: Iterable[str], meanings: tuple[str, ...]) -> bool:
    """Whether every one of the texts has one of the meanings, and there is one."""
    found = [meaning_of_cell(text, meanings) for text in texts]
    return bool(found) and None not in found


def means_nothing_found(label: str) -> bool:
    """Whether a label says that the image was examined and nothing was found."""
    return plain(label.replace("_", " ")) in _cells(("nothing found",))
