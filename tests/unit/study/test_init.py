"""`thorax init` from DICOM files and tables to a study, and that no name or birth date gets into any file."""

import re
import shutil
import stat
import zipfile
from pathlib import Path

import cv2
import numpy as np
import openpyxl
import pandas as pd
import pytest
import yaml

from tests.unit.images.test_dicom import dataset_of, written
from thorax import archives
from thorax.cli import main
from thorax.config import Config, Dataset
from thorax.errors import ThoraxError
from thorax.images import ingest
from thorax.labels import earlier
from thorax.report.tables import screening
from thorax.storage import schemas, store
from thorax.study import folder, keys
from thorax.study.init import make_study
from thorax.workflow import preflight

NAMES = [f"Zzsurname{n:02}^Zzgiven{n:02}" for n in range(40)]
SECRETS = ["zzsurname", "zzgiven", "zzpatient", "190203"]


def pixels(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 4000, (24, 20 + number % 3), np.uint16)


def make_folder(root: Path, where: str = "DICOM/IM{n:03}", **elements) -> list[Path]:
    """40 DICOM files of 40 patients: PA, every tenth a lateral one of the patient before."""
    paths = []
    for n in range(40):
        patient = n - (n % 10 == 9)
        made = dataset_of(pixels(n), BitsStored=12)
        made.PatientName, made.PatientID, made.PatientBirthDate = NAMES[patient], f"ZZPATIENT{patient:02}", "19020301"
        made.PatientSex, made.StudyDate, made.ViewPosition = "FM"[patient % 2], "19820302", "LL" if n % 10 == 9 else "PA"
        made.StudyInstanceUID, made.SOPInstanceUID, made.AccessionNumber = f"1.2.{patient}", f"1.2.{patient}.{n}", f"A{patient}"
        for name, value in elements.items():
            setattr(made, name, value)
        path = root / where.format(n=n, patient=patient, name=NAMES[patient].replace("^", "_"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written(made))
        paths.append(path)
    return paths


def rows(count: int = 40) -> list[dict[str, object]]:
    """The sheet: an effusion in two of five patients, a mass in half, a hernia in one."""
    return [
        {"Image": f"IM{n:03}", "Patient ID": f"ZZPATIENT{n - (n % 10 == 9):02}", "Patient name": NAMES[n].replace("^", ", ")}
        | {"Date of birth": "1902-03-01", "Effusion": int(n % 5 < 2), "Mass": int(n % 2), "Hernia": int(n == 3)}
        for n in range(count)
    ]


def write_sheet(path: Path, table: list[dict[str, object]]) -> None:
    book = openpyxl.Workbook()
    book.active.append(list(table[0]))
    for row in table:
        book.active.append(list(row.values()))
    book.save(path)


@pytest.fixture
def source(tmp_path, monkeypatch) -> Path:
    """A hospital's folder; the current folder is the one above it."""
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "hospital")
    write_sheet(tmp_path / "hospital" / "findings.xlsx", rows())
    return Path("hospital")


def catalog(out: str = "study") -> pd.DataFrame:
    return archives.read_catalog(Dataset(archive="own", root=out))


def test_a_folder_and_a_sheet_become_a_study(source):
    said = make_study(source)
    assert said.startswith("40 images of 36 patients; 36 are labelled and have planned views.")
    assert "Classes: Effusion (16 patients), Mass (16 patients)." in said
    assert "Too few patients: Hernia (1)." in said
    found = catalog()
    assert found["path"].tolist() == [f"images/DICOM/IM{n:03}" for n in range(40)]
    assert all((Path("study") / path).is_file() for path in found["path"])
    assert found["positive"].map(list).tolist()[:5] == [
        ["Effusion"],
        ["Effusion", "Mass"],
        ["No Finding"],
        ["Mass", "Hernia"],
        ["No Finding"],
    ]
    assert found["view"].value_counts().to_dict() == {"PA": 36, "Lateral": 4}
    assert set(found["age"]) == {80.0}
    assert found["sex"].tolist()[:3] == ["F", "M", "F"]
    assert found["patient_id"].nunique() == found["study_id"].nunique() == 36
    assert found.loc[found["image_id"] == "DICOM/IM009", "patient_id"].item() == found.loc[8, "patient_id"]
    config = preflight.read(yaml.safe_load(Path("study/study.yaml").read_text()), "study.yaml")
    assert config.run == ["study"]
    assert config.label_sets["study"].min_patients == 15
    assert config.experiments["study"].ensembles["CTP"].members == list(config.experiments["study"].members)
    shown = Path("study/fingerprint.html").read_text()
    for text in ("1 patient with it; 15 are needed", "dropped (name)", "dropped (birth date)", "hours", "minutes")[:3]:
        assert text in shown
    assert (source / keys.FILE).stat().st_mode & 0o777 == stat.S_IRUSR | stat.S_IWUSR


def make_pictures(root: Path, names: list[str]) -> None:
    """PNG files without a header that says anything."""
    root.mkdir(parents=True, exist_ok=True)
    for n, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(cv2.imencode(".png", pixels(n))[1].tobytes())


def test_images_without_a_view_are_learnt_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_pictures(tmp_path / "hospital", [f"{n}.png" for n in range(40)])
    rows = "".join(f"{n}.png,p{n},{n % 2}\n" for n in range(40))
    (tmp_path / "hospital" / "t.csv").write_text("image,patient,Mass\n" + rows)
    assert make_study(Path("hospital")).startswith("40 images of 40 patients; 40 are labelled and have planned views.")
    config = preflight.read(yaml.safe_load(Path("study/study.yaml").read_text()), "study.yaml")
    found = catalog()
    assert len(found) == 40
    assert set(found["view"]) == set(config.datasets["study"].views) == set(config.label_sets["study"].views)


def every_text(root: Path) -> dict[str, bytes]:
    """The bytes of all files, also inside zips, by name; links are by their target too."""
    found: dict[str, bytes] = {}
    for path in root.rglob("*"):
        if path.is_symlink():
            continue
        found[str(path.relative_to(root))] = path.read_bytes() if path.is_file() else b""
        if path.is_file() and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                found |= {f"{path}:{name}": packed.read(name) for name in packed.namelist()}
    return found


@pytest.mark.parametrize("options", [{}, {"keep_ids": True}])
@pytest.mark.parametrize("where", ["DICOM/IM{n:03}", "{name}/{patient}/IM{n:03}.dcm", "ZZPATIENT{patient:02}/IM{n:03}"])
def test_no_name_or_birth_date_is_in_anything_written(tmp_path, monkeypatch, capfd, where, options):
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "hospital", where)
    write_sheet(tmp_path / "hospital" / "findings.xlsx", rows())
    print(make_study(Path("hospital"), out=Path("study"), **options))
    said = capfd.readouterr()
    texts = {
        **every_text(Path("study")),
        "said": (said.out + said.err).encode(),
        "key": (Path("hospital") / keys.FILE).read_bytes() if not options else b"",
    }
    secrets = [secret for secret in SECRETS if not options or secret != "zzpatient"]
    for name, content in texts.items():
        for secret in secrets:
            assert secret.encode() not in content.lower(), (name, secret)
            assert secret not in name.lower()
    found = catalog()
    assert len(found) == 40
    assert all((Path("study") / path).is_file() for path in found["path"])


@pytest.mark.parametrize(
    ("path", "patient", "study"),
    [
        ("HSJ-{n:05}_PA.png", "HSJ-{n:05}", ""),
        ("Quxley{letter}-Ann.png", "Quxley{letter}, Ann", ""),  # a column of patients that has names
        ("{letter}_Xu/1.png", "Xu, {letter}", ""),
        ("E77{n:03}/1.png", "p{n}", "E77{n:03}"),
    ],
)
def test_no_identifier_of_the_table_is_in_a_name_that_is_written(tmp_path, monkeypatch, path, patient, study):
    monkeypatch.chdir(tmp_path)
    filled = [
        [text.format(n=n, letter="abcdefgh"[n // 8] + "jklmnprs"[n % 8]) for text in (path, patient, study)] for n in range(40)
    ]
    make_pictures(tmp_path / "hospital", [name for name, _, _ in filled])
    rows = "".join(f"{name};{who};{exam};{n % 2}\n" for n, (name, who, exam) in enumerate(filled))
    (tmp_path / "hospital" / "t.csv").write_text("file;case;exam;Mass\n" + rows)
    make_study(Path("hospital"), patient_column="case")
    found = catalog()
    assert found["patient_id"].nunique() == 40
    assert found["image_id"].str.fullmatch(r"i[0-9a-f]{16}\.png").all()


def test_an_issuer_does_not_hide_the_identifier_in_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "hospital", "ZZPATIENT{patient:02}/IM{n:03}", IssuerOfPatientID="HOSP")
    write_sheet(tmp_path / "hospital" / "t.xlsx", [{**row, "Patient ID": "", "Mass": row["Mass"]} for row in rows()])
    make_study(Path("hospital"))
    assert catalog()["image_id"].str.fullmatch(r"i[0-9a-f]{16}").all()


def test_pseudonyms_need_the_key_and_stay_with_it(source, tmp_path):
    make_study(source)
    first = catalog()["patient_id"].tolist()
    key = bytes.fromhex((source / keys.FILE).read_text().split("\n")[1])
    assert first[0] == keys.pseudonym(key, "patient", "zzpatient00")
    make_study(source, out=Path("again"))
    assert catalog("again")["patient_id"].tolist() == first
    make_study(source, out=Path("other"), key=tmp_path / "key")
    assert set(catalog("other")["patient_id"]).isdisjoint(first)
    make_study(source, out=Path("plain"), keep_ids=True)
    assert catalog("plain")["patient_id"][0] == "ZZPATIENT00"
    (source / keys.FILE).write_text("no key")
    with pytest.raises(ThoraxError, match=f"{keys.FILE} does not hold a key of thorax"):
        make_study(source)


def test_one_patient_written_in_two_ways_is_one(source):
    table = rows()
    for n, row in enumerate(table):
        row["Patient ID"] = f"{n // 2:03}" if n % 2 else str(n // 2)
    write_sheet(source / "findings.xlsx", table)
    make_study(source)
    assert catalog()["patient_id"].nunique() == 20


def test_the_same_folder_gives_the_same_study_and_what_you_changed_is_kept(source):
    make_study(source)
    first = {path: path.read_bytes() for path in Path("study").iterdir() if path.is_file()}
    make_study(source)
    assert {path: path.read_bytes() for path in Path("study").iterdir() if path.is_file()} == first
    with Path("study/study.yaml").open("a") as file:
        file.write("# mine\n")
    assert "is now study/study.old.yaml" in make_study(source)
    assert Path("study/study.old.yaml").read_text().endswith("# mine\n")
    Path("study/study.yaml").write_text("# mine, again\n")
    assert "is now study/study.old-2.yaml" in make_study(source)
    assert Path("study/study.old.yaml").read_text().endswith("# mine\n")
    (source / "findings.xlsx").unlink()
    with pytest.raises(ThoraxError, match=r"no findings: .* is now study/study\.old-3\.yaml\.$"):
        make_study(source)
    assert not Path("study/study.yaml").exists()


@pytest.mark.parametrize("out", ["nih", "liz2022-specific", "padchest-pa", "deeper/chexpert-14"])
def test_a_study_does_not_change_other_blocks_of_the_configuration(source, out):
    shutil.copy(Path(__file__).parents[3] / "config.yaml", ".")
    with pytest.raises(ThoraxError, match=r"the study would be called .* and config\.yaml has \w+\.[\w-]+ already; choose"):
        make_study(source, out=Path(out))
    assert not Path(out).exists()
    make_study(source)


def test_patients_of_an_earlier_split_stay_in_their_part(source):
    make_study(source)
    first = catalog()
    made = pd.DataFrame({"image_id": first["image_id"], "patient_id": first["patient_id"], "split": "train"})
    store.write_table(made, Path("results/splits/study.parquet"), schemas.SPLITS)
    unchanged = Path("study/study.yaml").read_text()
    make_study(source)
    assert Path("study/study.yaml").read_text() == unchanged
    write_sheet(source / "findings.xlsx", [{**row, "Mass": 1 - int(str(row["Mass"]))} for row in rows()])
    assert "Patients of the earlier split, study/split.parquet, stay in their part" in make_study(source)
    config = preflight.read(yaml.safe_load(Path("study/study.yaml").read_text()), "study.yaml")
    assert config.splits["study"].keep == "study/split.parquet"
    assert set(earlier.read(Path("study/split.parquet")).index) == set(first["patient_id"])
    changed = Path("study/study.yaml").read_text()
    make_study(source)  # the same again: the split of the first run stays
    assert Path("study/study.yaml").read_text() == changed
    make_study(source, key=Path("another"))  # the same patients under other names
    assert "keep:" not in Path("study/study.yaml").read_text()


def test_without_a_table_headers_say_who_and_the_user_is_told_what_is_missing(source):
    (source / "findings.xlsx").unlink()
    with pytest.raises(
        ThoraxError, match=r"no study\.yaml, because there are no findings: put a table into the folder, or name one"
    ):
        make_study(source)
    found = catalog()
    assert (found["patient_id"].nunique(), found["view"].value_counts()["Lateral"], set(found["age"])) == (36, 4, {80.0})
    assert found["positive"].map(len).sum() == 0
    assert not Path("study/study.yaml").exists()


@pytest.mark.parametrize("text", ["Read me first.\n", "Made by: us\nOn: Monday\nFor: you\n", "a,b\nc,d\n"])
def test_a_lone_text_that_is_no_table_is_ignored(source, text):
    (source / "findings.xlsx").unlink()
    (source / "README.txt").write_text(text)
    with pytest.raises(ThoraxError, match="there are no findings: put a table into the folder"):
        make_study(source)
    assert len(catalog()) == 40


def test_a_lone_text_that_is_a_table_is_read(source):
    (source / "findings.xlsx").unlink()
    (source / "findings.txt").write_text("Image\tMass\n" + "".join(f"IM{n:03}\t{n % 2}\n" for n in range(40)))
    assert "Classes: Mass (16 patients)" in make_study(source)


def test_rows_may_be_about_studies(source):
    table = [
        {"Accession": row["Patient ID"].replace("ZZPATIENT", "A").replace("A0", "A"), "Mass": n % 2}
        for n, row in enumerate(rows())
        if n % 10 != 9
    ]
    Path(source / "findings.xlsx").unlink()
    Path("mine.csv").write_text("Accession;Mass\n" + "".join(f"{row['Accession']};{row['Mass']}\n" for row in table))
    make_study(source, table=Path("mine.csv"))
    found = catalog().set_index("image_id")
    assert found.loc["DICOM/IM009", "view"] == "Lateral"
    assert found.loc["DICOM/IM009", "positive"] == found.loc["DICOM/IM008", "positive"]


def test_unreadable_files_other_tables_and_unnamed_images_are_left_out_and_counted(source):
    (source / "DICOM" / "cut.dcm").write_bytes((source / "DICOM" / "IM000").read_bytes()[:600])
    (source / "readme.txt").write_text("nothing;here\nof;use\n")
    (source / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    write_sheet(source / "findings.xlsx", [*rows(38), {**rows()[0], "Image": "IM999"}])
    said = make_study(source)
    assert "Left out: 1 images that cannot be read." in said
    assert "Left out: 2 images that are in no row of the table." in said
    shown = Path("study/fingerprint.html").read_text()
    assert "cut or damaged" in shown
    assert "rows of the table that name no image" in shown


def test_options_name_what_is_not_clear(source):
    table = [
        {"n": row["Image"], "who": row["Patient ID"], "V": "PA", "Mass": row["Mass"], "Smoker": row["Effusion"]}
        for row in rows()
    ]
    write_sheet(source / "findings.xlsx", table)
    words = [
        "init",
        "hospital",
        "--image-column",
        "n",
        "--patient-column",
        "who",
        "--view-column",
        "V",
        "--findings",
        "Mass",
        "--threads",
        "1",
    ]
    assert main(words) == 0
    settings = Config(**yaml.safe_load(Path("study/study.yaml").read_text()))
    assert settings.datasets["study"].views == ["PA"]
    assert {label for labels in catalog()["positive"] for label in labels} == {"Mass", "No Finding"}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda root: [path.unlink() for path in (root / "DICOM").iterdir()], "it has no DICOM, PNG, JPEG or TIFF file"),
        (lambda root: write_sheet(root / "findings.xlsx", [{"a": "x", "b": "y"}]), "no column names the images of the folder"),
        (lambda root: write_sheet(root / "findings.xlsx", [{k: row[k] for k in ("Image", "Hernia")} for row in rows()]), "no finding has enough patients"),
        (lambda root: write_sheet(root / "findings.xlsx", [{k: row[k] for k in ("Image",)} | {"Note": "-"} for row in rows()]), "says what was found: name those"),
        (lambda root: write_sheet(root / "findings.xlsx", [{**row, "Patient ID": f"1.{n}E+14"} for n, row in enumerate(rows())]), "was rounded by a spreadsheet"),
    ],
)  # fmt: skip
def test_refusals_are_sentences(source, capsys, change, problem):
    change(source)
    assert main(["init", "hospital"]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert problem in said
    assert said.startswith("thorax: ")
    assert said.endswith(".")


def test_without_patients_anywhere_it_asks_for_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "hospital", PatientID="")
    write_sheet(tmp_path / "hospital" / "a.xlsx", [{"Image": row["Image"], "Mass": row["Mass"]} for row in rows()])
    with pytest.raises(ThoraxError, match="name the column with --patient-column, since no patient may be in two parts"):
        make_study(Path("hospital"))


def test_a_person_at_the_terminal_is_asked_what_is_unclear(source, monkeypatch, capsys):
    table = [{"file": row["Image"], "Code": row["Patient ID"][-2:] + "k", "Mass": row["Mass"]} for row in rows()]
    for path in (source / "DICOM").iterdir():
        path.unlink()
    make_folder(source, PatientID="")
    write_sheet(source / "findings.xlsx", table)
    answers = iter(["9\n", "Code\n"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin.readline", lambda: next(answers), raising=False)
    make_study(source)
    assert "Which column says who the patient is? (number, or Enter for none): " in capsys.readouterr().err
    assert catalog()["patient_id"].nunique() == 36


def test_headers_are_read_without_preamble_and_broken_ones_are_none():
    made = dataset_of(pixels(0))
    header = folder.read_header(written(made))
    assert header is not None
    assert (header.patient, header.names[:2]) == ("ZZPATIENT77", ("zzsurname", "zzgiven"))
    assert folder.read_header(b"\0" * 128 + b"DICM" + b"\xff" * 40) in (None, folder.Header())
    assert folder.read_header(b"\x89PNG") is None
    assert "zzsurname" not in repr(header)


def test_one_of_several_fitting_tables_is_named(source):
    write_sheet(source / "older.xlsx", rows(38))
    with pytest.raises(
        ThoraxError, match=r"several tables \(hospital/findings\.xlsx, hospital/older\.xlsx\): choose one with --table"
    ):
        make_study(source)
    assert make_study(source, table=source / "older.xlsx").startswith("38 images of 35 patients")


def test_names_are_not_kept_as_identifiers(source):
    with pytest.raises(
        ThoraxError, match="the identifiers of patients are names, which are never written: leave out --keep-ids"
    ):
        make_study(source, patient_column="Patient name", keep_ids=True)
    make_study(source, patient_column="Patient name")
    assert catalog()["patient_id"].nunique() == 40


@pytest.mark.parametrize("out", ["hospital", ".", "hospital/../hospital"])
def test_the_folder_of_the_radiographs_is_not_written_to(source, out):
    with pytest.raises(ThoraxError, match="has the radiographs in it: choose another folder with --out"):
        make_study(source, out=Path(out))


def test_every_reason_of_ingest_has_words_on_the_page():
    code = "".join(path.read_text(encoding="utf-8") for path in Path(ingest.__file__).parent.glob("*.py"))
    assert set(re.findall(r'UnusableImage\("(\w+)"', code)) == set(screening.REASONS)
