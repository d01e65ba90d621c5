"""A user's own radiographs, as docs/how-to/data.md tells: a folder of images, images.csv, the guide's configuration, one command."""

import csv
import re
from collections import Counter

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from thorax.storage import store

from .conftest import REPOSITORY, snakemake

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


def test_own_images_reach_the_split(tmp_path, quick):
    """They lie in the folder that is run in; what the run makes there is none of them."""
    rows = make_archive(tmp_path)
    config = tmp_path / "mine.yaml"
    guide = settings_of_the_guide().replace("root: data/mine", "root: .")
    config.write_text(guide.replace("shards: 1", "max_bad_share: 0.05\n    shards: 1"))
    done = snakemake(tmp_path, "--cores", "2", "--until", "split", config=config, timeout=300, first=quick)
    assert done.returncode == 0, done.stdout[-6000:]
    again = snakemake(tmp_path, "--cores", "2", "--until", "split", "--dry-run", config=config)
    assert re.search(r"^total +0$", again.stdout, re.MULTILINE), again.stdout

    labels = store.read_table(tmp_path / "results/labels/mine-findings.parquet").set_index("image_id")
    expected = {
        row["path"]: [1 if name in row["labels"] else -1 if name in row["uncertain"] else 0 for name in FINDINGS]
        for row in rows[:-1]
    }
    assert set(labels.columns) == {"patient_id", *FINDINGS}
    assert labels[list(FINDINGS)].T.to_dict("list") == expected
    report = pd.read_csv(tmp_path / "results/labels/mine-findings.classes.csv").set_index("class")
    counts = Counter(label for row in rows[:-1] for label in row["labels"].split("|"))
    assert report.loc[list(counts), "images"].to_dict() == counts
    assert report.loc["No Finding", "status"] == "excluded"

    split = store.read_table(tmp_path / "results/splits/mine-patients.parquet")
    assert sorted(split["image_id"]) == sorted(expected)
    assert (split.groupby("patient_id")["split"].nunique() == 1).all()
    assert split["split"].value_counts(normalize=True).to_dict() == pytest.approx(
        {"train": 0.6, "val": 0.2, "test": 0.2}, abs=0.06
    )

    settings = yaml.safe_load(config.read_text())  # another experiment, after the label set was made
    (name,) = settings["run"]
    settings["experiments"]["second"] = settings["experiments"][name] | {"exclusive": "Mas"}
    config.write_text(yaml.safe_dump(settings | {"run": [name, "second"]}, sort_keys=False))
    wrong = snakemake(tmp_path, "--cores", "1", config=config, timeout=300)
    assert wrong.returncode != 0
    assert "experiments.second.exclusive: 'Mas' is not a class of label set 'mine-findings'" in wrong.stdout
    assert not (tmp_path / "results/models").exists()


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
