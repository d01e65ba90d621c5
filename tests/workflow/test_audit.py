"""The audit as `make audit` runs it: on whatever metadata there is, without images, at full size where the real files are."""

import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.workflow.conftest import REPOSITORY, SHARED_DATA, snakemake
from thorax.storage import schemas

METADATA = SHARED_DATA / "metadata"
SHARED = 400  # MB that a job needs for its programs; quick ones share them, and they are not in its own memory


def audit(folder: Path, metadata: Path, *arguments: str, first: Path | None = None):
    settings = ["audit", "--config", "run=[]", f"audit={{metadata: {metadata}}}"]
    return snakemake(folder, "--cores", "2", *settings, *arguments, config=REPOSITORY / "config.yaml", first=first)


def write_nih(root: Path) -> None:
    """A metadata file in NIH's form: 90 images of 30 patients, the last six of whom are on the test list."""
    random = np.random.default_rng(0)
    names = [f"{patient:08d}_{image:03d}.png" for patient, image in product(range(30), range(3))]
    findings = random.choice(["No Finding", "Effusion", "Effusion|Mass", "Mass"], len(names))
    table = pd.DataFrame({"Image Index": names, "Finding Labels": findings, "Follow-up #": "0"})
    table = table.assign(**{"Patient ID": table["Image Index"].str[:8], "Patient Age": "50"})
    table.assign(**{"Patient Gender": "M", "View Position": "PA"}).to_csv(root / "Data_Entry_2017_v2020.csv", index=False)
    (root / "train_val_list.txt").write_text("\n".join(names[:72]))
    (root / "test_list.txt").write_text("\n".join(names[72:]))


def test_the_archives_that_are_there_are_audited(tmp_path, quick):
    metadata = tmp_path / "metadata"
    metadata.mkdir()
    write_nih(metadata)
    folder = tmp_path / "run"
    folder.mkdir()
    few = "splits={nih-official-balanced: {draw_down: {train: 5, test: 1}}}"
    done = audit(folder, metadata, few, first=quick)
    assert done.returncode == 0, done.stdout[-3000:]
    results = folder / "results" / "audit"
    names = {"nih", "nih-official", "nih-official-grey", "nih-official-balanced"}
    assert {path.stem for path in (results / "splits").glob("*.parquet")} == names
    balanced = pd.read_parquet(results / "splits" / "nih-official-balanced.parquet").set_index("image_id")["split"]
    listed = pd.read_csv(metadata / "Data_Entry_2017_v2020.csv").set_index("Image Index")["Finding Labels"]
    counts = balanced[listed[balanced.index] == "No Finding"].value_counts()
    assert (counts["train"], counts["test"]) == (5, 1)
    split = pd.read_parquet(results / "splits" / "nih-official.parquet")
    assert split["split"].value_counts().to_dict() == {"train": 63, "val": 9, "test": 18}
    pages = (results / "datasets.md").read_text()
    assert "padchest: its metadata file is not here" in pages
    assert "chexpert: its metadata file is not here" in pages
    # A second run has nothing to do; a changed list, which is not a metadata file, is noticed.
    assert "Nothing to be done" in audit(folder, metadata, few).stdout
    (metadata / "test_list.txt").write_text((metadata / "test_list.txt").read_text() + "\n")
    assert "audit_catalog" in audit(folder, metadata, few, "--dry-run").stdout


def test_without_any_metadata_one_sentence(tmp_path):
    done = audit(tmp_path, tmp_path / "nowhere")
    assert done.returncode != 0
    assert "nothing to audit" in done.stdout
    assert not (tmp_path / "results" / "audit").exists()


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.skipif(not METADATA.is_dir(), reason="the real metadata is not beside the checkout")
def test_all_archives_at_full_size(tmp_path, quick):
    done = audit(tmp_path, METADATA, first=quick)
    assert done.returncode == 0, done.stdout[-3000:]
    results = tmp_path / "results" / "audit"
    overview = pd.read_csv(results / "label_sets.csv").set_index(["label set", "split"])
    assert set(overview.index.get_level_values("split")) == {
        "padchest-pa", "padchest-studies", "padchest-shared", "nih", "nih-official", "nih-official-grey", "nih-official-balanced",
        "chexpert", "chexpert-frontal", "chexpert-radiologists",
    }  # fmt: skip
    assert (overview["beyond one image"] == 0).all()
    assert overview.loc[("padchest-specific", "padchest-pa"), ["classes", "images"]].tolist() == [35, 85_455]
    assert overview.loc[("padchest-general", "padchest-pa"), ["classes", "images"]].tolist() == [56, 90_815]
    assert overview.loc[("chexpert-14", "chexpert"), "images"] == 223_414
    assert overview.loc[("padchest-studies", "padchest-studies"), ["classes", "images"]].tolist() == [26, 43_435]
    considered = pd.read_csv(results / "labels" / "padchest-studies.classes.csv").set_index("class")["images"]
    assert considered["(images considered)"] == 47_653  # Liz et al. 2022 leave two views of a study to future work
    for label_set in (
        "padchest-specific",
        "padchest-general",
        "padchest-general-clean",
        "padchest-studies",
        "nih-14",
        "nih-15",
        "chexpert-14",
    ):
        labels = pd.read_parquet(results / "labels" / f"{label_set}.parquet")
        assert list(labels.columns[:2]) == ["image_id", "patient_id"]
        assert (labels[schemas.class_columns(labels)].dtypes == "int8").all()
    for split in (results / "splits").glob("*.parquet"):
        parts = pd.read_parquet(split).query("split != @schemas.LEFT_OUT")
        assert parts.groupby("patient_id")["split"].nunique().max() == 1
    splitters = pd.read_csv(results / "splitters" / "padchest-specific.csv").set_index("splitter")
    assert splitters["worst %"].idxmin() == "thorax StratifiedGroupSplit"
    memory = max(pd.read_csv(path, sep="\t")["max_uss"].max() for path in (tmp_path / "benchmarks").rglob("*.tsv"))
    assert 2 * (memory + SHARED) < 3000  # MB; two jobs run side by side
    shutil.rmtree(results)
