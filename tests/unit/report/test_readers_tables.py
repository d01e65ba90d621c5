"""Tables and figure of readers: a run of the verb on a label set, whose images the readers name without their ending."""

import json

import numpy as np
import pandas as pd
import pytest

from tests.phantom_readers import write_readers
from thorax.cli import main
from thorax.config import Experts
from thorax.errors import ThoraxError
from thorax.report.figures.readers import readers_curves
from thorax.report.tables import readers
from thorax.storage import store
from thorax.storage.joins import read_labels
from thorax.storage.schemas import labels_schema, scores_schema

CLASSES = ["Mass", "Pleural Thickening"]
EXPERTS = {"reader": "reader", "ignore_extension": True}


@pytest.fixture
def study(tmp_path):
    """Sixty images of thirty patients, of which the last twenty are test images; the network knows the labels of Mass."""
    random = np.random.default_rng(0)
    truth = pd.DataFrame({"image_id": [f"{n:03}.png" for n in range(60)], "patient_id": [f"p{n // 2}" for n in range(60)]})
    truth[CLASSES] = np.column_stack([np.arange(60) % 2, np.arange(60) % 3 == 0]).astype(np.int8)
    store.write_table(truth, tmp_path / "labels.parquet", labels_schema(CLASSES))
    parts = np.repeat(["train", "val", "test"], 20)
    truth[["image_id", "patient_id"]].assign(split=parts).to_parquet(tmp_path / "split.parquet")
    scores = truth[["image_id"]].assign(
        split=parts, **{"Mass": 4.0 * truth["Mass"] - 2, "Pleural Thickening": random.random(60)}
    )
    store.write_table(scores[parts != "train"], tmp_path / "net.parquet", scores_schema(CLASSES))
    write_readers(tmp_path / "labels.parquet", tmp_path / "readers.csv")
    return tmp_path


def arguments(folder, **experts) -> list[str]:
    settings = json.dumps({"files": [str(folder / "readers.csv")], **EXPERTS, **experts})
    files = [
        "--labels",
        folder / "labels.parquet",
        "--split",
        folder / "split.parquet",
        "--predictions",
        f"net={folder / 'net.parquet'}",
    ]
    return [
        *map(
            str,
            [
                "readers",
                "--settings",
                settings,
                "--title",
                "A study",
                "--provenance",
                "sample",
                *files,
                "--out",
                folder / "out",
            ],
        )
    ]


def test_only_test_images_that_were_read_count_and_their_number_is_said(study, capsys):
    table = pd.read_csv(study / "readers.csv", dtype=str)
    table[table["image_id"] < "058"].drop(columns="Pleural Thickening").to_csv(study / "readers.csv", index=False)
    assert main([*arguments(study), "--debug"]) == 0
    found = pd.read_csv(study / "out" / "readers.csv").set_index(["model", "reader"])
    assert found["class"].unique().tolist() == ["Mass"]
    assert (found["auc_labels"] == 1).all()
    wrong = found.loc[("net", "reader 3")]
    assert wrong["sensitivity"] < 1
    page = (study / "out" / "readers.md").read_text()
    assert "3 readers have read 18 of the 20 images that are measured; only these count here." in page
    assert "Left out, as not every reader was asked for it: Pleural Thickening." in page
    below = sum(found["roc_sensitivity"] > found["sensitivity"])
    assert f"| Mass | 1.000 | {found['auc_majority'].iloc[0]:.3f} | {below} of 3 |" in page
    kappas = pd.read_csv(study / "out" / "agreement.csv")
    assert kappas["images"].tolist() == [18]


def test_readers_of_other_images_or_other_names_are_refused(study, capsys):
    assert main(arguments(study, ignore_extension=False)) == 1
    assert "readers.csv has none of the images that are measured" in capsys.readouterr().err
    table = pd.read_csv(study / "readers.csv", dtype=str)
    table.rename(columns={name: f"r_{name}" for name in CLASSES}).to_csv(study / "readers.csv", index=False)
    assert main(arguments(study)) == 1
    assert "readers: 'Mass' is not a column of" in capsys.readouterr().err
    assert main([*arguments(study, prefix="r_"), "--debug"]) == 0


def test_images_that_differ_in_their_ending_only_are_refused(study):
    truth = read_labels(study / "labels.parquet", study / "split.parquet", ["test"])
    truth.loc[0, "image_id"] = truth.loc[1, "image_id"].replace(".png", ".jpg")
    with pytest.raises(ThoraxError, match=r"Two images are called '041' without the ending"):
        readers.answers_of(Experts(files=[str(study / "readers.csv")], **EXPERTS), truth)


def test_every_class_has_a_panel_with_a_point_for_each_reader_and_their_majority(study):
    experts = {"files": [str(study / "readers.csv")], **EXPERTS}
    files = (study / "labels.parquet", study / "split.parquet", study / "net.parquet")
    figure = readers_curves(*files, True, "net", experts, "A study", "sample")
    shown = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left").split("\n")[0] for axes in shown] == CLASSES
    assert [line.get_marker() for line in shown[0].lines] == ["None", "o", "o", "o", "D", "None"]
    assert "net on the 20 of 20 test images that 3 readers have read" in figure.get_suptitle()
