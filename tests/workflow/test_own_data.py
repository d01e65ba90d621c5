"""A user's own radiographs: a hospital's folder (docs/how-to/own-radiographs.md), and a table written by hand (docs/how-to/data.md)."""

import csv
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import openpyxl
import pandas as pd
import pytest
import yaml

from thorax.storage import store

from .conftest import ONE_THREAD, REPOSITORY, environment, snakemake

TABLE = "results/tables/study/global.md"
BUNDLE = "results/bundles/study.zip"

PATIENTS = 24
IMAGES = 60
FINDINGS = ("Effusion", "Mass")


def make_archive(root) -> list[dict[str, str]]:
    """Write 60 small images of 24 patients and their table; the last file is not an image."""
    random = np.random.default_rng(1)
    rows = []
    for index in range(IMAGES):
        patient = index % PATIENTS
        suffix = "jpg" if index % 3 == 0 else "png"
        kind = np.uint8 if suffix == "jpg" or index % 2 else np.uint16
        row = {
            "path": f"images/{patient:02}/{index:02}.{suffix}",
            "patient_id": f"p{patient:02}",
            "labels": "|".join(FINDINGS[: index % 3]) or "No Finding",
            "uncertain": "Mass" if index % 6 == 4 else "",
            "x_remark": "of no interest, here",
        }
        file = root / row["path"]
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), random.integers(0, np.iinfo(kind).max, (40, 32), kind, endpoint=True))
        rows.append(row)
    file.write_text("no radiograph")
    with (root / "images.csv").open("w", newline="") as table:
        writer = csv.DictWriter(table, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return rows


def settings_of_the_guide() -> str:
    """The configuration that docs/how-to/data.md shows."""
    section = (REPOSITORY / "docs" / "how-to" / "data.md").read_text().partition("## Your own radiographs")[2]
    return section.partition("```yaml\n")[2].partition("```")[0]


def text_of(path: Path) -> bytes:
    """What a file says; Parquet is compressed."""
    return pd.read_parquet(path).to_csv().encode() if path.suffix == ".parquet" else path.read_bytes()


def small_study(path: Path) -> dict:
    """Shrink the planned study: one small network, one epoch, no figures."""
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    (planned,) = settings["image_sets"]
    settings["image_sets"][planned]["size"] = 32
    experiment = settings["experiments"]["study"]
    experiment["training"] |= {"epochs": 1, "dense_units": 8}
    experiment |= {"members": {"A": {"backbone": "cnn"}, "B": {"backbone": "cnn", "seed": 1}}}
    experiment["ensembles"]["CTP"]["members"] = ["A", "B"]
    path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return settings


def test_a_hospital_folder_becomes_tables_and_a_model(tmp_path, quick):
    """docs/how-to/own-radiographs.md in small: DICOM files and an Excel sheet, `thorax init`, one command, a bundle, predictions."""
    hospital = [sys.executable, REPOSITORY / "demo" / "hospital.py", "--workers", "1"]
    run = partial(
        subprocess.run, cwd=tmp_path, env=environment(quick), capture_output=True, text=True, timeout=300, check=False
    )
    run([*hospital, "hospital", "--number", "40"], check=True)
    init = run(["thorax", "init", "hospital"])
    assert init.returncode == 0, init.stderr
    assert "Next: snakemake --configfile study/study.yaml --cores" in init.stdout
    config = tmp_path / "study" / "study.yaml"
    planned = snakemake(tmp_path, "--cores", "8", "--dry-run", config=config)
    assert planned.returncode == 0, planned.stdout[-6000:]
    settings = small_study(config)
    done = snakemake(tmp_path, "--cores", "2", TABLE, *ONE_THREAD, config=config, timeout=600, first=quick)
    assert done.returncode == 0, done.stdout[-6000:]
    again = snakemake(tmp_path, "--cores", "2", "--dry-run", TABLE, config=config)
    assert re.search(r"Nothing to be done", again.stdout), again.stdout

    sheet = openpyxl.load_workbook(tmp_path / "hospital" / "findings.xlsx").active
    header, *rows = sheet.iter_rows(values_only=True)
    drawn = {f"DICOM/{row[0]}": dict(zip(header, row, strict=True)) for row in rows}
    labels = store.read_table(tmp_path / "results/labels/study.parquet").set_index("image_id")
    assert set(labels.columns) == {"patient_id", "Cardiomegaly", "Pacemaker"}
    assert all(row[name] == drawn[image][name] for image, row in labels.iterrows() for name in ("Cardiomegaly", "Pacemaker"))
    pairs = {(row["patient_id"], drawn[image]["Patient ID"]) for image, row in labels.iterrows()}
    assert len(pairs) == len(labels["patient_id"].unique()) == len({name for _, name in pairs})
    split = store.read_table(tmp_path / "results/splits/study.parquet")
    assert split["split"].value_counts(normalize=True).to_dict() == pytest.approx(
        {"train": 0.6, "val": 0.2, "test": 0.2}, abs=0.06
    )
    assert "Cardiomegaly" in (tmp_path / TABLE).with_name("per_class.md").read_text()
    names = {word for row in drawn.values() for word in row["Patient name"].split(", ")}
    assert len(names) > 10

    how = ["--snakefile", REPOSITORY / "Snakefile", "--configfile", config, "--cores", "2", *ONE_THREAD]
    packed = run(["thorax", "bundle", "study", "--", *how], timeout=600)
    assert packed.returncode == 0, packed.stderr[-6000:]
    assert packed.stdout.splitlines()[-1].startswith(f"{BUNDLE}: ")
    run([*hospital, "new", "--number", "3", "--new"], check=True)
    dicom = ["--secondary-captures", "dicom", "--structured-reports", "dicom"]  # apart, as these name the patient
    predicted = run(["thorax", "predict", BUNDLE, "new", "--out", "results/new.csv", "--overlays", "results/overlays", *dicom])
    assert predicted.returncode == 0, predicted.stderr
    assert len(list((tmp_path / "dicom").glob("*.capture.dcm"))) == len(list((tmp_path / "dicom").glob("*.report.dcm"))) == 3
    table = pd.read_csv(tmp_path / "results/new.csv")
    assert len(table) == 3 * 2
    assert set(table["class"]) == {"Cardiomegaly", "Pacemaker"}
    assert table["probability"].between(0, 1).all()

    written = {
        path: text_of(path) for kind in ("results", "logs", "study") for path in (tmp_path / kind).rglob("*") if path.is_file()
    }
    assert len(written) > 30
    assert not [(path, name) for path, content in written.items() for name in names if name.encode() in content]

    settings["experiments"]["second"] = settings["experiments"]["study"] | {"exclusive": "Mas"}  # after the label set was made
    config.write_text(yaml.safe_dump(settings | {"run": ["study", "second"]}, sort_keys=False))
    wrong = snakemake(tmp_path, "--cores", "1", config=config, timeout=300)
    assert wrong.returncode != 0
    assert "experiments.second.exclusive: 'Mas' is not a class of label set 'study'" in wrong.stdout


def test_a_mistake_in_the_table_is_told_in_one_sentence(tmp_path):
    root = tmp_path / "data" / "mine"
    make_archive(root)
    table = root / "images.csv"
    table.write_text(table.read_text().replace("patient_id", "patient id", 1))
    config = tmp_path / "mine.yaml"
    config.write_text(settings_of_the_guide())
    done = snakemake(tmp_path, "--cores", "1", "--until", "split", config=config, timeout=300)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    assert "images.csv, row 1, column 'patient id': this column is not known" in done.stdout
    assert not (tmp_path / "results").exists()
