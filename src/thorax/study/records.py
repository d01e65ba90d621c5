"""Join a table's rows, DICOM headers and files: one record for each image, with patient, study, view, sex, age and findings."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from thorax.archives import own
from thorax.errors import ThoraxError
from thorax.storage import strict_csv
from thorax.study import columns, words
from thorax.study.columns import Recognised
from thorax.study.folder import Found, Header
from thorax.study.tables import Table

NOTHING = "No Finding"  # the label of an image that was examined and has none of the findings
UNKNOWN_VIEW = "unstated"  # a word that `archives.own` reads as a view; it reads "unknown" as a blank
LEFT_OUT = {
    "unreadable": "cannot be read",
    "no row": "are in no row of the table",
    "no patient": "have no patient in the table or header",
}


@dataclass(frozen=True)
class Records:
    """What is known of every image that can be used."""

    images: pd.DataFrame
    """One row per image, by path: path, patient, study (blank if unknown), view, sex (M, F or None), age (years or None), the lists
    positive, uncertain and unasked (findings whose cell is blank where others say no), and `labelled`: whether anybody looked"""
    findings: list[str]  # all but `nothing`
    nothing: str  # the label of images without findings
    left_out: dict[str, int]  # images by the keys of LEFT_OUT
    idle_rows: int  # rows of the table that name no image


def join(
    found: Found, usable: Sequence[str], headers: Mapping[str, Header], table: Table | None, roles: Recognised | None
) -> Records:
    """Join what is known of the `usable` images. Without a table everything is from the headers, and no image is labelled.

    If the table names patients, it names all of them, so that no patient has two names; likewise the headers.
    """
    if table is None or roles is None:
        records = [_record(path, headers.get(path), headers.get(path, Header()).patient) for path in usable]
        idle, cells = 0, _Cells([], [], NOTHING)
    else:
        cells = _Cells.of(table, roles)
        records, idle = _from_table(found, usable, headers, table, roles, cells)
    _name_days(records)
    images = pd.DataFrame(records, columns=list(_record("", None, "")), dtype=object).drop(columns="day")
    without = images["patient"] == ""
    counts = {
        "unreadable": len(found.images) - len(usable),
        "no row": len(usable) - len(images),
        "no patient": int(without.sum()),
    }
    if len(images) and without.all():
        problem = "neither a column of the table nor a DICOM header names the patient of an image"
        raise ThoraxError(
            f"{found.root}: {problem}; name the column with --patient-column, since no patient may be in two parts."
        )
    images = images[~without].sort_values("path", ignore_index=True)
    seen = {label for column in ("positive", "uncertain", "unasked") for labels in images[column] for label in labels}
    names = [*cells.names, *sorted(seen - set(cells.names))]
    return Records(images, [name for name in names if name != cells.nothing], cells.nothing, counts, idle)


def _record(path: str, header: Header | None, patient: str) -> dict[str, Any]:
    """An image that no table tells of."""
    header = header or Header()
    record: dict[str, Any] = {"path": path, "patient": patient, "study": header.study, "day": ""}
    record |= {"view": view_of(header.view), "sex": header.sex, "age": header.age, "labelled": False}
    return record | {"positive": [], "uncertain": [], "unasked": []}


def _name_days(records: Sequence[dict[str, Any]]) -> None:
    """Where no study is known, the images of a patient's day are one; days are numbered, since the date is not written."""
    days: dict[str, set[str]] = {}
    for record in records:
        days.setdefault(record["patient"], set()).add(record["day"])
    numbers = {(patient, day): number for patient, found in days.items() for number, day in enumerate(sorted(found - {""}), 1)}
    for record in records:
        if not record["study"] and record["day"]:
            record["study"] = f"{record['patient']}-day{numbers[record['patient'], record['day']]}"


def view_of(text: str) -> str:
    """PA, AP, frontal, Lateral, `other` or UNKNOWN_VIEW."""
    if not text or strict_csv.is_unknown(text):
        return UNKNOWN_VIEW
    return words.meaning_of_cell(text, words.VIEWS) or "other"


@dataclass(frozen=True)
class _Cells:
    """How the cells of a table say what was found."""

    answers: list[tuple[str, str, bool]]  # columns with one finding each, its name, and whether a blank there means no
    lists: list[tuple[str, str]]  # columns with lists, and their separator
    nothing: str
    spelling: Mapping[str, str] | None = None  # of labels in lists, by what spellings have in common

    @property
    def names(self) -> list[str]:
        """The findings that have columns."""
        return [name for _, name, _ in self.answers]

    @classmethod
    def of(cls, table: Table, roles: Recognised) -> "_Cells":
        """Learn the table's ways from all its rows."""
        said = {
            column: {words.meaning_of_cell(text, words.ANSWERS) for text in table.frame[column].unique() if text}
            for column in roles.of("finding")
        }
        # As in CheXpert: blank is what a report does not mention
        mentioned = any("uncertain" in meanings for meanings in said.values())
        answers = [(column, label_name(column), mentioned or "no" not in meanings) for column, meanings in said.items()]
        twice = [name for name, count in Counter(name for _, name, _ in answers).items() if count > 1]
        if twice:
            raise ThoraxError(
                f"{table.path}: two columns are called {twice[0]!r} but for their punctuation; rename one of them."
            )
        lists = [
            (column, columns.separator_of([text for text in table.frame[column] if text])) for column in roles.of("findings")
        ]
        counts = Counter(
            label_name(label)
            for column, sign in lists
            for text in table.frame[column]
            for label in columns.parse_list(text, sign)
        )
        spelling: dict[str, str] = {}
        for label in sorted(counts, key=lambda label: (-counts[label], label)):
            spelling.setdefault(_alike(label), label)
        known = [*(name for _, name, _ in answers), *spelling.values()]
        nothing = next((name for name in known if words.means_nothing_found(name)), NOTHING)
        return cls(answers, lists, nothing, spelling)

    def read(self, row: Mapping[str, str], where: str) -> tuple[list[str], list[str], list[str], bool]:
        """What a row says: positive, uncertain and unasked findings, and whether it says anything."""
        positive, uncertain, unasked, answered = [], [], [], 0
        for column, name, blank_is_no in self.answers:
            said = words.meaning_of_cell(row[column], words.ANSWERS) if row[column] else None
            answered += said is not None
            if said == "yes":
                positive.append(name)
            elif said == "uncertain":
                uncertain.append(name)
            elif said is None and not blank_is_no:
                unasked.append(name)
        listed = False
        for column, separator in self.lists:
            for label in columns.parse_list(row[column], separator):
                listed = True
                positive.append(self._checked(label, f"{where}{column!r}"))
        all_blank_is_no = bool(self.answers) and all(no for _, _, no in self.answers) and not self.lists
        labelled = bool(answered) or listed or all_blank_is_no
        if not labelled:
            return [], [], [], False
        unasked = [name for name in unasked if name != self.nothing]
        if any(words.means_nothing_found(name) for name in positive):
            positive = [name for name in positive if not words.means_nothing_found(name)]
            if not positive:
                return [self.nothing], [], [], True
        if not (positive or uncertain or unasked):
            return [self.nothing], [], [], True
        return list(dict.fromkeys(positive)), uncertain, unasked, True

    def _checked(self, label: str, where: str) -> str:
        name = label_name(label)
        name = (self.spelling or {}).get(_alike(name), name)
        try:
            own.parse_labels(name)
        except ValueError as problem:
            raise ThoraxError(f"{where}: {problem}.") from None
        return name


def _alike(label: str) -> str:
    return strict_csv.plain_text(label).casefold()


def label_name(text: str) -> str:
    """A finding's name, without the characters that separate names in lists."""
    return " ".join(re.sub(r"[_,;|/\\，、；／｜¦]+", " ", text).split())


def _from_table(
    found: Found, usable: Sequence[str], headers: Mapping[str, Header], table: Table, roles: Recognised, cells: _Cells
) -> tuple[list[dict[str, Any]], int]:
    """A record for each usable image that a row is about, and the number of rows that are about none."""
    column: dict[str, str | None] = {role: roles.one(role) for role in columns.ONE_COLUMN}
    index = found.matched_by(headers)[roles.linked_by] if roles.link else {}
    if not roles.link:
        problem = "no column names the images of the folder, or the studies or patients of their DICOM headers"
        if roles.tied:
            listed = " and ".join(map(repr, roles.tied))
            raise ThoraxError(f"{table.path}: columns {listed} name images equally well: say which does with --image-column.")
        raise ThoraxError(f"{table.path}: {problem}; name it with --image-column, or correct the names in it.")
    if column["patient"]:
        strict_csv.refuse_rounded(table.frame, table.path, [column["patient"]])
    sexes = words.sexes(table.frame[column["sex"]].unique()) if column["sex"] else {}
    records: dict[str, dict[str, Any]] = {}
    wanted, idle = set(usable), 0
    for place, row, paths in _rows(table, roles, index):
        paths = [path for path in paths if path in wanted]
        idle += not paths
        said = cells.read(row, f"{table.path}, row {table.rows[place]}, column ") if paths else None
        for path in paths:
            new = _joined(path, row, headers.get(path), column, sexes, said)
            old = records.get(path)
            if old is not None and old["patient"] != new["patient"]:
                problem = f"image {path!r} is in an earlier row with another patient"
                raise ThoraxError(f"{table.path}, row {table.rows[place]}: {problem}; correct one of the two rows.")
            records[path] = new if old is None else _united(old, new, cells.nothing)
    if not records:
        raise ThoraxError(
            f"{table.path}: none of its rows is about an image of the folder that can be read; correct its names."
        )
    return list(records.values()), idle


def _rows(
    table: Table, roles: Recognised, index: Mapping[str, list[str]]
) -> Iterator[tuple[int, Mapping[str, str], list[str]]]:
    for place, row in enumerate(table.frame.to_dict("records")):
        text = row[roles.link]
        name = columns.file_keys(text, roles.linked_by) if roles.linked_by in columns.OF_IMAGES else columns.key(text)
        yield place, row, index.get(name, []) if text else []


def _joined(
    path: str,
    row: Mapping[str, str],
    header: Header | None,
    column: Mapping[str, str | None],
    sexes: Mapping,
    said: tuple | None,
) -> dict[str, Any]:
    """The record of an image: the row's word counts before the header's."""
    cell = lambda role: row[name] if (name := column[role]) else ""
    patient = cell("patient") if column["patient"] else (header or Header()).patient
    record = _record(path, header, patient)
    positive, uncertain, unasked, labelled = said or ([], [], [], False)
    record |= {"positive": positive, "uncertain": uncertain, "unasked": unasked, "labelled": labelled}
    record["study"] = cell("study") or record["study"]
    record["day"] = cell("date")
    if (view := view_of(cell("view"))) != UNKNOWN_VIEW:
        record["view"] = view
    if sex := sexes.get(cell("sex")):
        record["sex"] = sex
    born, taken = cell("birth year"), columns.year_of(cell("date"))
    age = columns.age_of(cell("age"))
    if age is None and born and taken:
        age = columns.age_of(str(taken - int(born)))
    if age is not None:
        record["age"] = age
    return record


def _united(old: dict[str, Any], new: dict[str, Any], nothing: str) -> dict[str, Any]:
    """An image's record from two rows, as of tables with one row for each finding: what one of them found, it has."""
    lists: dict[str, list[str]] = {}
    for name in ("positive", "uncertain", "unasked"):
        lists[name] = list(dict.fromkeys([*old[name], *new[name]]))
    positive = [label for label in lists["positive"] if label != nothing] or lists["positive"]
    uncertain = [label for label in lists["uncertain"] if label not in positive]
    unasked = [label for label in lists["unasked"] if label not in (*positive, *uncertain)]
    if uncertain or unasked:
        positive = [label for label in positive if label != nothing]
    both = {name: old[name] if new[name] in ("", None, UNKNOWN_VIEW) else new[name] for name in old}
    return both | {
        "positive": positive,
        "uncertain": uncertain,
        "unasked": unasked,
        "labelled": old["labelled"] or new["labelled"],
    }
