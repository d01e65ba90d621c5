"""Look through a folder of radiographs: which files are images or tables, what DICOM headers and what ingest say of them.

Names of patients are read from DICOM headers only to keep them out of what is written; they never leave this process.
"""

import io
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from thorax.archives.manifest import OUR_FOLDERS
from thorax.config import Dataset
from thorax.errors import ThoraxError
from thorax.images import dicom, files, ingest
from thorax.storage import schemas
from thorax.storage.parallel import in_order
from thorax.storage.progress import progress
from thorax.study import columns, keys, private, tables

_HEADER = [
    "SOPInstanceUID",
    "StudyInstanceUID",
    "AccessionNumber",
    "StudyDate",
    "PatientID",
    "IssuerOfPatientID",
    "PatientName",
    "PatientSex",
    "PatientAge",
    "PatientBirthDate",
    "ViewPosition",
    "BitsStored",
]


@dataclass(frozen=True)
class Header:
    """What a DICOM header says of the patient and the study; empty where it says nothing."""

    instance: str = ""
    study: str = ""
    accession: str = ""
    patient: str = ""
    bare: str = field(default="", repr=False)  # the patient without the issuer
    names: tuple[str, ...] = field(default=(), repr=False)  # see `private.name_words`
    inside: tuple[str, ...] = field(default=(), repr=False)  # what its path may not have: words of the name, the birth date
    sex: str | None = None  # M or F
    age: float | None = None  # years
    view: str = ""
    bits: int = 0  # in use of a pixel


@dataclass(frozen=True)
class Found:
    """What a folder has; the lists of files are in order of paths and have / between folders."""

    root: Path
    images: list[str]
    tables: list[Path]
    others: int  # files that are neither

    def matched_by(self, headers: Mapping[str, Header]) -> dict[str, dict[str, list[str]]]:
        """The images that each identifier names, by the ways of `columns.recognise`; file names of two images are left out."""
        index: dict[str, dict[str, list[str]]] = {
            kind: {} for kind in (*columns.OF_IMAGES, *columns.OF_STUDIES, "patient", "name")
        }

        def add(kind: str, text: str, path: str) -> None:
            if text:
                index[kind].setdefault(text, []).append(path)

        for path in self.images:
            for kind in columns.OF_IMAGES[:-1]:
                add(kind, columns.file_keys(path, kind), path)
            if header := headers.get(path):
                add(columns.OF_IMAGES[-1], columns.key(header.instance), path)
                add("study instance UID", columns.key(header.study), path)
                add("accession number", columns.key(header.accession), path)
                add("patient", columns.key(header.patient), path)
                for name in header.names:
                    add("name", name, path)
        for kind in columns.OF_IMAGES:
            index[kind] = {text: paths for text, paths in index[kind].items() if len(paths) == 1}
        return index


def look(root: Path, skipped: Iterable[Path] = ()) -> Found:
    """Sort the files of a folder and its subfolders by content, without hidden files, folders of runs and those `skipped`."""
    if not root.is_dir():
        raise ThoraxError(f"{root} is not a folder: name the folder with your radiographs.")
    left_out = {path.resolve() for path in skipped}
    images, found_tables, others = [], [], 0
    for folder, names, inside in os.walk(root, followlinks=True, onerror=_refuse):
        above = {Path(folder).resolve(), *Path(folder).resolve().parents}
        names[:] = sorted(
            name
            for name in names
            if not name.startswith(".")
            and (place := (Path(folder) / name).resolve()) not in left_out | above
            and not (name in OUR_FOLDERS and place == Path(name).resolve())
        )
        for name in sorted(inside):
            path = Path(folder) / name
            if name.startswith((".", "~$")) or name == keys.FILE or path.resolve() in left_out:
                continue
            if _is_image(path):
                images.append(path.relative_to(root).as_posix())
            elif tables.is_table(path):
                found_tables.append(path)
            else:
                others += 1
    if not images:
        problem = "it has no DICOM, PNG, JPEG or TIFF file, in it or in its folders"
        raise ThoraxError(f"{root}: {problem}; name the folder with your radiographs.")
    return Found(root, sorted(images), sorted(found_tables), others)


def _refuse(error: OSError) -> None:
    raise ThoraxError(f"{error.filename} cannot be read ({error.strerror}): make it readable.") from error


def _is_image(path: Path) -> bool:
    try:
        return files.is_image(path)
    except OSError as error:
        raise ThoraxError(f"{path} cannot be read ({error.strerror}): make it readable.") from error


def read_header(data: bytes) -> Header | None:
    """What the header of a DICOM file says; None for another file, or one whose header cannot be read."""
    import pydicom

    if not dicom.is_dicom(data):
        return None
    try:
        found = pydicom.dcmread(io.BytesIO(data), force=True, specific_tags=list(_HEADER), stop_before_pixels=True)
        text = {name: str(found.get(name) or "").strip() for name in _HEADER}
    except Exception:  # pydicom raises errors of any kind at damaged files, and their texts quote the header
        return None
    issuer = text["IssuerOfPatientID"]
    return Header(
        instance=text["SOPInstanceUID"],
        study=text["StudyInstanceUID"],
        accession=text["AccessionNumber"],
        patient=f"{text['PatientID']}@{issuer}" if issuer and text["PatientID"] else text["PatientID"],
        bare=text["PatientID"],
        names=private.name_words(text["PatientName"]),
        inside=(*private.name_words(text["PatientName"]), *private.birth_forms(text["PatientBirthDate"])),
        sex=text["PatientSex"] if text["PatientSex"] in ("M", "F") else None,
        age=_age(text),
        view=text["ViewPosition"],
        bits=int(text["BitsStored"]) if text["BitsStored"].isdecimal() else 0,
    )


def _age(text: Mapping[str, str]) -> float | None:
    """The age that a header states, or else whole years from birth to study; the dates themselves are not kept."""
    if (age := columns.age_of(text["PatientAge"])) is not None:
        return age
    born, taken = text["PatientBirthDate"], text["StudyDate"]
    if not (re.fullmatch(r"\d{8}", born) and re.fullmatch(r"\d{8}", taken)):
        return None
    years = int(taken[:4]) - int(born[:4]) - (taken[4:] < born[4:])
    return float(years) if 0 <= years <= 120 else None


def screen(found: Found, threads: int) -> tuple[pd.DataFrame, dict[str, Header]]:
    """What ingest says of every image, a row of `schemas.SCREENED` each with the path as image_id, and their DICOM headers.

    Files that are not radiographs, such as reports in DICOM, are in the table with their reason.
    """
    limit = Dataset.model_fields["max_pixels"].default

    def read(path: str) -> tuple[dict[str, Any], Header | None]:
        entries, _, _ = ingest.screen(found.root, path, path, None, limit)
        header = None
        if entries["reason"] not in ("missing", "too_large") and dicom.is_dicom(files.start(found.root / path)):
            header = read_header(ingest.read_once(found.root / path, limit))
        return entries | {"shard": -1, "row": -1}, header

    rows, headers = [], {}
    for entries, header in progress(in_order(read, found.images, threads, 4 * threads), "reading", len(found.images), "image"):
        rows.append(entries)
        if header is not None:
            headers[entries["image_id"]] = header
    return pd.DataFrame(rows, columns=schemas.SCREENED.names), headers
