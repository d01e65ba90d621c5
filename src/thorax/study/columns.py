"""Recognise what each column of a table holds, by its cells and by its name in several languages."""

import ast
import datetime
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import pandas as pd

from thorax.errors import ThoraxError, did_you_mean
from thorax.images.suffixes import SUFFIXES
from thorax.study import words

OneColumn = Literal["image", "patient", "study", "view", "sex", "age", "birth year", "date"]  # roles of up to one column
Role = OneColumn | Literal["birth date", "name", "finding", "findings", "other"]
ONE_COLUMN: tuple[Role, ...] = get_args(OneColumn)
PERSONAL: tuple[Role, ...] = ("name", "birth date")  # nothing of these columns is kept
OF_IMAGES = ("path", "end of the path", "file name", "name without ending", "SOP instance UID")
OF_STUDIES = ("study instance UID", "accession number")
_MOST = 0.5  # share of values that must fit
_SEPARATORS = "|;,\n/"
_MANY = 60  # different labels of a list that need not repeat
_LONGEST = 60  # letters of a label
_YEARS = (1900, 2100)
_OLDEST = 120


@dataclass(frozen=True)
class Column:
    """What a column holds, and why it is thought to."""

    name: str
    role: Role
    reason: str  # the end of a sentence that begins with the column


@dataclass(frozen=True)
class Recognised:
    """What all columns of a table hold, in its order, and by what its rows name their images."""

    columns: tuple[Column, ...]
    # One of OF_IMAGES, OF_STUDIES or `patient`; empty if no column names images, studies or patients with images
    linked_by: str
    link: str = ""  # this column
    tied: tuple[str, ...] = ()  # without a link: columns that name images equally well, but not the same ones

    def of(self, role: Role) -> list[str]:
        """The names of the columns with a role."""
        return [column.name for column in self.columns if column.role == role]

    def one(self, role: Role) -> str | None:
        """The column with a role that only one may have."""
        return next(iter(self.of(role)), None)


def key(text: str) -> str:
    """How identifiers and paths are compared: without capitals, with / between folders, a number without zeros before it."""
    text = text.strip().replace("\\", "/").removeprefix("./").casefold()
    return text.lstrip("0") or "0" if text.isdecimal() else text


def recognise(frame: pd.DataFrame, keys: Mapping[str, Mapping[str, object]], given: Mapping[Role, Sequence[str]]) -> Recognised:
    """Say what each column of a table of text holds.

    Args:
        frame: The table's cells; a blank is a value that is not known.
        keys: What names the images of the folder: for each of OF_IMAGES, OF_STUDIES, `patient` and `name` the known `key`s;
            those of `name` are of the patients' names in DICOM headers.
        given: Columns that the user names, by role. Where findings are given, no other column is one.

    Returns:
        The roles. No role is given to two columns but `finding`, `findings`, `name`, `birth date` and `other`.
    """
    for names in given.values():
        for name in names:
            if name not in frame:
                raise ThoraxError(f"the table has no column {name!r}{did_you_mean(name, frame)}: it has {', '.join(frame)}.")
    values = {name: sorted({text for text in frame[name] if text}) for name in frame}
    found: dict[str, Column] = {}
    for role, names in given.items():
        for name in names:
            kind: Role = "findings" if role == "finding" and not words.all_mean(values[name], words.ANSWERS) else role
            found[name] = Column(name, kind, "is what you said")
    link, linked_by, tied = _link(values, frame, keys, given, found)
    rest = [name for name in frame if name not in found]
    for name in rest:
        found[name] = _by_content(name, values[name], frame[name], keys)
    if given.get("finding"):
        for name in rest:
            if found[name].role in ("finding", "findings"):
                found[name] = Column(name, "other", "is not among the findings that you named")
    else:
        _keep_best_lists(found)
    return Recognised(_without_rivals(found, list(frame)), linked_by, link, tied)


def _keep_best_lists(found: dict[str, Column]) -> None:
    """Of several columns with lists, keep those whose names say best that they have findings."""

    def rank(name: str) -> int:
        said = words.meaning_of_header(name)
        return (2 if said[1] else 1) if said and said[0] == "findings" else 0

    lists = [name for name, column in found.items() if column.role == "findings"]
    best = max(map(rank, lists), default=0)
    least = max(best, 1) if any(column.role == "finding" for column in found.values()) else best
    for name in lists:
        if rank(name) < least:
            found[name] = Column(name, "other", "has lists, but other columns are more likely to have the findings")


def _link(
    values: Mapping[str, list[str]], frame: pd.DataFrame, keys: Mapping, given: Mapping, found: dict[str, Column]
) -> tuple[str, str, tuple[str, ...]]:
    """The column that says which images a row is about, by what, and columns that say so as well; it is added to those found.

    Columns of numbers are last, as they may count rows; of the others, those come first whose names say what they are. A row is
    about a patient only if each patient has one row.
    """
    named = list(given.get("image", ()))
    candidates = named or [name for name in values if name not in found]
    once = {name for name in frame if not frame.loc[frame[name] != "", name].duplicated().any()}
    least = 1e-9 if named else _MOST
    kinds_of: dict[Role, tuple[str, ...]] = {"image": OF_IMAGES, "study": OF_STUDIES, "patient": ("patient",)}
    for role, kinds in kinds_of.items():
        fits: list[tuple[int, float, int, str]] = []
        for place, kind in enumerate(kinds):
            for name in candidates:
                share = _share(values[name], keys.get(kind, {}), kind)
                if share >= least and (role != "patient" or name in once):
                    said = words.meaning_of_header(name)
                    numbers = sum(map(str.isdecimal, values[name])) >= _MOST * len(values[name])
                    fits.append((2 * (not numbers) + bool(said and said[0] == role), round(share, 9), -place, name))
        if not fits:
            continue
        trust, share, place, name = max(fits, key=lambda fit: fit[:3])
        kind = kinds[-place]
        rivals = [other for *rank, other in fits if rank == [trust, share, place] and not _same(frame, name, other, kind)]
        if rivals:
            return "", "", (name, *rivals)
        what = {"image": "images of the folder", "study": "studies in the DICOM headers"}.get(
            role, "patients in the DICOM headers"
        )
        by = kind if role != "patient" else "identifiers"
        found[name] = Column(name, role, f"has values that are {what}, by their {by}")
        return name, kind, ()
    if named:
        raise ThoraxError(f"no value of column {named[0]!r} names an image of the folder: choose another with --image-column.")
    return "", "", ()


def _same(frame: pd.DataFrame, one: str, other: str, kind: str) -> bool:
    """Whether the cells of two columns name the same, row by row."""
    return one == other or all(
        file_keys(first, kind) == file_keys(second, kind) for first, second in zip(frame[one], frame[other], strict=True)
    )


def file_keys(text: str, kind: str) -> str:
    """The `key` by which a cell may name an image, in one of the ways of OF_IMAGES."""
    parts = key(text).split("/")
    if kind == "end of the path":
        return "/".join(parts[-2:])
    if kind == "file name":
        return parts[-1]
    if kind == "name without ending":
        name = parts[-1].removesuffix(".gz")
        return key(next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name))
    return "/".join(parts)


def _share(texts: Sequence[str], known: Mapping[str, object], kind: str) -> float:
    """The share of a column's values that are known, or of the known that are in the column, whichever is larger."""
    if not texts or not known:
        return 0.0
    hits = {file_keys(text, kind) if kind in OF_IMAGES else key(text) for text in texts} & known.keys()
    return max(len(hits) / len(texts), len(hits) / len(known))


def _by_content(name: str, texts: list[str], cells: pd.Series, keys: Mapping) -> Column:
    """A column that nobody named: what its name says, if its cells agree, else what its cells say."""
    if not texts:
        return Column(name, "other", "is empty")
    said = words.meaning_of_header(name)
    meaning = said[0] if said else None
    if _share(texts, keys.get("name", {}), "") >= _MOST:
        return Column(name, "name", "has the patients' names of the DICOM headers")
    if meaning in ("name", "birth date") and not words.all_mean(texts, words.ANSWERS):
        return Column(name, meaning, f"is called so ({meaning})")  # type: ignore[arg-type]
    if meaning == "birth year" and not _are_years(texts):
        return Column(name, "birth date", "is called so, and has more than years")
    if meaning and (role := _agrees(meaning, texts, cells)):
        return Column(name, role, "is called so, and its cells agree")
    if _share(texts, keys.get("patient", {}), "") >= _MOST:
        return Column(name, "patient", "has the patients of the DICOM headers")
    if words.all_mean(texts, words.ANSWERS):
        if not any(words.meaning_of_cell(text, words.ANSWERS) == "yes" for text in texts):
            return Column(name, "other", "never says yes")
        return Column(name, "finding", f"has only {_shown(texts)}")
    if meaning is None or meaning == "view":
        if words.all_mean(texts, words.VIEWS):
            return Column(name, "view", f"has only {_shown(texts)}")
        if words.all_mean(texts, words.SEXES) and len(texts) > 1:
            return Column(name, "sex", f"has only {_shown(texts)}")
    if meaning is None and _is_list(cells, surely=False):
        return Column(name, "findings", "has lists of few words that repeat")
    return Column(name, "other", "is not used")


def _agrees(meaning: str, texts: list[str], cells: pd.Series) -> Role | None:
    """The role that a name gives if the cells can be that."""
    if meaning == "patient":
        return "name" if look_like_names(texts) else "patient"
    fits = {
        "image": lambda: False,  # else its values were found in the folder
        "study": lambda: not words.all_mean(texts, words.ANSWERS),
        "view": lambda: sum(words.meaning_of_cell(text, words.VIEWS) is not None for text in texts) >= _MOST * len(texts),
        "sex": lambda: sum(words.meaning_of_cell(text, words.SEXES) is not None for text in texts) >= _MOST * len(texts),
        "age": lambda: _are_ages(texts),
        "birth year": lambda: _are_years(texts),
        "date": lambda: sum(bool(year_of(text)) for text in texts) >= _MOST * len(texts),
        "findings": lambda: not words.all_mean(texts, words.ANSWERS) and _is_list(cells, surely=True),
    }
    if meaning in fits and fits[meaning]():
        return meaning  # type: ignore[return-value]
    return None


def look_like_names(texts: Collection[str]) -> bool:
    """Whether most of the texts are two or more words of letters, as people's names are."""
    return sum(bool(re.search(r"[^\W\d_]{2,}[\s,^]+[^\W\d_]{2,}", text)) for text in texts) >= _MOST * len(texts)


def age_of(text: str) -> float | None:
    """Years, from such as 45, `45.5`, `45 years`, `18 meses` or DICOM's `045Y` and `006M`; None for other texts and units."""
    match = re.fullmatch(r"(\d{1,3})(?:[.,](\d+))?\s*(\D*)", text.strip())
    if match is None:
        return None
    unit = words.unit_of(match[3]) if match[3] else "year"
    if unit is None:
        return None
    years = float(f"{match[1]}.{match[2] or 0}") / {"day": 365.25, "week": 52.18, "month": 12.0, "year": 1.0}[unit]
    return round(years, 2) if years <= _OLDEST else None


def year_of(text: str) -> int | None:
    """The year of a date such as 2024-12-31, 20241231, 31.12.2024, 12/31/24; None for other texts."""
    for form in (r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})\b.*", r"(\d{4})(\d\d)(\d\d)", r"\d{1,2}[-/. ]\w{1,9}[-/. ](\d{4})\b.*"):
        if (match := re.fullmatch(form, text.strip())) and _YEARS[0] <= int(match[1]) < _YEARS[1]:
            return int(match[1])
    match = re.fullmatch(r"\d{1,2}[-/.]\d{1,2}[-/.](\d\d)", text.strip())
    if match is None:
        return None
    year = 2000 + int(match[1])
    return year if year <= datetime.date.today().year else year - 100


def parse_list(text: str, separator: str) -> list[str]:
    """The labels in a cell: a Python list, or names between separators. Repetitions and blanks are dropped."""
    labels: Sequence[object] = text.split(separator) if separator else [text]
    if re.match(r"[\[({]", text):
        try:
            labels = list(ast.literal_eval(text))
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            labels = re.split(r"[,;|]", text.strip("[](){}"))
    cleaned = (" ".join(str(label).split()).strip("'\"") for label in labels)
    return list(dict.fromkeys(label for label in cleaned if label))


def separator_of(texts: Sequence[str]) -> str:
    """The separator that most cells of a column of lists have; empty if none has one."""
    plain = [text for text in texts if not re.match(r"[\[({]", text)]
    counts = [(sum(separator in text for text in plain), -place) for place, separator in enumerate(_SEPARATORS)]
    most, place = max(counts)
    return _SEPARATORS[-place] if most else ""


def _is_list(cells: pd.Series, surely: bool) -> bool:
    """Whether a column holds lists of labels: few different ones that repeat. Its name may say so `surely`."""
    texts = [text for text in cells if text]
    separator = separator_of(texts)
    if not surely and not separator and not any(text.startswith("[") for text in texts):
        return False
    labels = Counter(label for text in texts for label in parse_list(text, separator))
    words_alone = [label for label in labels if re.search(r"[^\W\d_]", label) and len(label) <= _LONGEST]
    repeats = sum(labels.values()) / max(len(labels), 1)
    if len(words_alone) < _MOST * len(labels) or not words_alone:
        return False
    return repeats >= (1.0 if len(labels) <= _MANY and surely else 2.0)


def _are_ages(texts: list[str]) -> bool:
    ages = [age_of(text) for text in texts]
    return sum(age is not None for age in ages) >= _MOST * len(texts) and not words.all_mean(texts, words.ANSWERS)


def _are_years(texts: list[str]) -> bool:
    return all(text.isdecimal() and _YEARS[0] <= int(text) < _YEARS[1] for text in texts)


def _shown(texts: Sequence[str]) -> str:
    return " and ".join(texts) if len(texts) < 3 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def _without_rivals(found: dict[str, Column], order: list[str]) -> tuple[Column, ...]:
    """The columns in order; only the best has a role of ONE_COLUMN: the one named, linked, called exactly so, or first."""
    best: dict[str, str] = {}

    def rank(name: str) -> tuple[int, int]:
        column, said = found[name], words.meaning_of_header(name)
        by_you, by_keys = column.reason == "is what you said", column.reason.startswith("has ")
        return 3 * by_you + 2 * by_keys + bool(said and said[1]), -order.index(name)

    for name in order:
        role = found[name].role
        if role in ONE_COLUMN and (role not in best or rank(name) > rank(best[role])):
            best[role] = name
    for name in order:
        role = found[name].role
        if role in ONE_COLUMN and best[role] != name:
            found[name] = Column(name, "other", f"is not used: {best[role]!r} is the {role}")
    return tuple(found[name] for name in order)
