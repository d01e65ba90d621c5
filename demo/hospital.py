"""A made-up hospital's folder: synthetic radiographs as DICOM files, with made-up names in the headers, and an Excel sheet.

docs/how-to/own-radiographs.md begins with it. The same number gives the same files. No real person's data is used.
"""

import argparse
import datetime
import io
import zipfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import openpyxl
import pydicom
from pydicom import uid

from thorax import config
from thorax.phantom import render
from thorax.phantom.patients import Picture, ages, plan

FINDINGS = {  # the phantom's labels, and what the sheet calls them; with few images, only the first
    "cardiomegaly": "Cardiomegaly",
    "pacemaker": "Pacemaker",
    "pleural effusion": "Pleural effusion",
    "alveolar pattern": "Consolidation",
    "scoliosis": "Scoliosis",
    "hiatal hernia": "Hiatal hernia",
}
PER_FINDING = 35  # images for each finding of the sheet
QUOTA = 0.12, 18  # share of the images with one finding, and the smallest number
LATERAL = 0.1  # share of the images
HEIGHT = 320  # rows, more or less
FIRST_DAY = datetime.date(2019, 1, 1)
FAMILY = [
    "Ardenwood",
    "Bexhollow",
    "Corvantes",
    "Dunmarrow",
    "Eskelund",
    "Fairbourne",
    "Grimaldez",
    "Hollenfeld",
    "Ivershaw",
    "Jasperin",
    "Kestrelle",
    "Lorimando",
]
GIVEN = [
    "Adalind",
    "Berthold",
    "Cosimara",
    "Davidor",
    "Elestren",
    "Florimel",
    "Gustavine",
    "Hermelin",
    "Isandro",
    "Jorunda",
    "Kasimira",
    "Leopolda",
]
SHEET = "findings.xlsx"
WRITTEN = datetime.datetime(2020, 1, 1)


def chosen(number: int, new: bool) -> tuple[config.Phantom, list[Picture]]:
    """The pictures: of every patient the first frontal one, of some also the lateral one of the same study."""
    settings = config.Phantom(patients=max(6 * number, 60), height=HEIGHT, seed=8 if new else 7)
    pictures = plan(settings)
    wanted = list(FINDINGS)[: max(2, min(len(FINDINGS) - 1, number // PER_FINDING))]
    quota = dict.fromkeys(wanted, max(round(QUOTA[0] * number), QUOTA[1]))
    frontal = [picture for picture in pictures if (picture.study, picture.image, picture.view) == (0, 0, "PA")]
    count, has, rest = number - round(LATERAL * number), Counter[str](), []
    taken: list[Picture] = []
    for picture in frontal:
        labels = {finding.label for finding in picture.findings} & set(wanted)
        if labels and any(has[label] < quota[label] for label in labels):
            has.update(labels)
            taken.append(picture)
        elif not labels:
            rest.append(picture)
    taken = sorted([*taken, *rest][:count], key=lambda picture: picture.patient)
    studies = {picture.study_id for picture in taken}
    lateral = [picture for picture in pictures if picture.view == "L" and picture.study_id in studies]
    return settings, sorted([*taken, *lateral[: number - len(taken)]], key=lambda picture: (picture.patient, picture.view))


def name_of(patient: int) -> str:
    """A made-up name, as DICOM writes it."""
    return f"{FAMILY[patient % len(FAMILY)]}^{GIVEN[patient // len(FAMILY) % len(GIVEN)]}"


def write_image(settings: config.Phantom, root: Path, job: tuple[int, Picture, int]) -> dict[str, object]:
    """Write one DICOM file; return its row of the sheet."""
    number, picture, age = job
    drawn, _ = render.draw(settings, picture)
    top = 2 ** render.bits_of(settings, picture) - 1
    dark_bones = number % 3 == 0
    name = f"IM{number:05}"
    day = FIRST_DAY + datetime.timedelta(days=picture.days)
    born = datetime.date(day.year - age - 1, 1 + picture.patient % 12, 1 + picture.patient % 28)
    made = pydicom.Dataset()
    made.file_meta = pydicom.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = uid.DigitalXRayImageStorageForPresentation
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = uid.generate_uid(entropy_srcs=[picture.image_id])
    made.StudyInstanceUID = uid.generate_uid(entropy_srcs=[picture.study_id])
    made.SeriesInstanceUID = uid.generate_uid(entropy_srcs=[picture.image_id, "series"])
    made.Modality, made.ViewPosition = "DX", {"PA": "PA", "L": "LL"}[picture.view]
    made.PatientName, made.PatientID = name_of(picture.patient), f"H{700_000 + picture.patient}"
    made.PatientBirthDate, made.StudyDate = born.strftime("%Y%m%d"), day.strftime("%Y%m%d")
    made.PatientSex = "F" if picture.female else "M"
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME1" if dark_bones else "MONOCHROME2"
    made.Rows, made.Columns = drawn.shape
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, top.bit_length(), top.bit_length() - 1, 0
    made.WindowCenter, made.WindowWidth = (top + 1) / 2, top + 1
    made.PixelData = (top - drawn if dark_bones else drawn).astype("<u2").tobytes()
    path = root / "DICOM" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, made, enforce_file_format=True)
    labels = {finding.label for finding in picture.findings}
    row: dict[str, object] = {
        "Image": name,
        "Patient ID": made.PatientID,
        "Patient name": str(made.PatientName).replace("^", ", "),
    }
    row |= {"Date of birth": born, "Sex": "female" if picture.female else "male", "Exam date": day}
    return row | {printed: int(label in labels) for label, printed in FINDINGS.items()}


def write_sheet(rows: list[dict[str, object]], path: Path) -> None:
    """Write the Excel sheet; its bytes depend on the rows only."""
    book = openpyxl.Workbook()
    book.properties.created = book.properties.modified = WRITTEN
    sheet = book.active
    sheet.title = "Findings"
    sheet.append(list(rows[0]))
    for row in rows:
        sheet.append(list(row.values()))
    made = io.BytesIO()
    book.save(made)
    with zipfile.ZipFile(made) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "docProps/core.xml":
                content = content.replace(
                    content.partition(b"<dcterms:modified")[2].partition(b">")[2].partition(b"<")[0], b"2020-01-01T00:00:00Z"
                )
            new.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), content)


def main(words: list[str] | None = None) -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder to write to")
    parser.add_argument("--number", type=int, default=200, help="radiographs (default: 200)")
    parser.add_argument("--new", action="store_true", help="of other patients, and without the Excel sheet: images to predict")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    options = parser.parse_args(words)
    if options.folder.exists():
        parser.error(f"{options.folder} is there already: delete it, or name another folder")
    settings, pictures = chosen(options.number, options.new)
    age = dict(zip(plan(settings), ages(plan(settings)), strict=True))
    jobs = [(number, picture, age[picture]) for number, picture in enumerate(pictures, 1)]
    write = partial(write_image, settings, options.folder)
    if options.workers > 1:
        with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
            rows = list(pool.map(write, jobs, chunksize=8))
    else:
        rows = list(map(write, jobs))
    if not options.new:
        write_sheet(rows, options.folder / SHEET)
    patients = len({row["Patient ID"] for row in rows})
    print(
        f"{options.folder}: {len(rows)} DICOM files of {patients} made-up patients" + ("" if options.new else f", and {SHEET}")
    )


if __name__ == "__main__":
    main()
