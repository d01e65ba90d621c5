"""A split that keeps an earlier one: patients stay, new ones fill the shares, and files that do not say where are refused."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.labels.test_splits import label_set
from thorax import config
from thorax.errors import ThoraxError
from thorax.labels import earlier
from thorax.labels.splits import make_split, split_label_sets
from thorax.storage import schemas, store

PARTS = {"train": 0.7, "val": 0.1, "test": 0.2}


def patients_of(frame: pd.DataFrame) -> pd.Series:
    """The part of each patient of a split."""
    assert (frame.groupby("patient_id")["split"].nunique() == 1).all()
    return frame.drop_duplicates("patient_id").set_index("patient_id")["split"]


def archive(seed: int, patients: int = 120) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    owners = np.repeat(np.arange(patients), random.integers(1, 4, patients))
    ill = random.random((patients, 2)) < (0.4, 0.2)
    return label_set([f"p{number:03d}" for number in owners], a=list(ill[owners, 0] * 1), b=list(ill[owners, 1] * 1))


def write(frame: pd.DataFrame, folder):
    store.write_table(frame, folder / "labels.parquet", schemas.labels_schema(schemas.class_columns(frame)))
    return folder / "labels.parquet"


def split(frame: pd.DataFrame, folder, name: str, **changes) -> pd.DataFrame:
    out = folder / f"{name}.parquet"
    block = config.Split(label_sets=["labels"], **changes)
    make_split(block, [write(frame, folder)], None, out, folder / f"{name}.csv")
    return store.read_table(out)


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_patients_stay_new_ones_fill_the_shares_and_the_gone_are_counted(tmp_path, capsys, form):
    everybody = archive(0)
    first = split(everybody[everybody["patient_id"] < "p070"], tmp_path, "first", seed=1)
    before = patients_of(first)
    if form == "csv":
        before.reset_index().to_csv(tmp_path / "first.csv", index=False)
    capsys.readouterr()
    later = everybody[everybody["patient_id"] >= "p010"].assign(
        a=1 - everybody["a"]
    )  # ten patients less, fifty more, new labels
    after = split(later, tmp_path, "second", keep=str(tmp_path / f"first.{form}"), seed=9)
    parts = patients_of(after)
    both = before.index.intersection(parts.index)
    assert len(both) == 60
    pd.testing.assert_series_equal(parts[both], before[both])
    quality = pd.read_csv(tmp_path / "second.csv")
    totals = quality[quality["class"] == "all images"].set_index("split")
    for part, share in PARTS.items():
        assert totals["quota"][part] == pytest.approx(share * len(later))
    assert quality["deviation"].abs().max() <= 1 + 1e-6
    told = capsys.readouterr().out
    stay, gone = (", ".join(f"{part} {(found == part).sum()}" for part in PARTS) for found in (before[both], before.drop(both)))
    assert f"60 patients stay where {tmp_path}/first.{form} has them ({stay}), and 50 are new." in told
    assert f"10 patients of {tmp_path}/first.{form} have no image in the label sets any more ({gone})." in told


@given(st.integers(0, 10**6), st.dictionaries(st.integers(0, 39), st.sampled_from(list(PARTS)), min_size=1))
@settings(max_examples=40, deadline=None)
def test_any_assignment_is_kept_and_the_result_depends_on_nothing_but_seed_and_patients(seed, fixed):
    frame = archive(seed, patients=40)
    kept = pd.Series({f"p{number:03d}": part for number, part in fixed.items()})
    block = config.Split(label_sets=["x"], keep="before.csv", seed=seed % 7)
    images, _ = split_label_sets(block, {"x": frame}, kept=kept)
    parts = patients_of(images)
    assert parts[kept.index].to_dict() == kept.to_dict()
    again, _ = split_label_sets(block, {"x": frame.sample(frac=1, random_state=seed)}, kept=kept.iloc[::-1])
    pd.testing.assert_frame_equal(images, again)


def test_new_patients_follow_those_whose_images_they_share():
    frame = archive(3, patients=30)
    kept = pd.Series({"p000": "val", "p001": "test", "p002": "train", "p003": "test"})
    # p010 has an image of p000; p011 and p012 share images of two kept patients, one of them in test
    pairs = [("p000-0", "p010-0"), ("p001-0", "p011-0"), ("p002-0", "p011-0"), ("p011-0", "p012-0"), ("p002-0", "p003-0")]
    duplicates = pd.DataFrame(pairs, columns=["image_id", "other_id"]).assign(identical=True)
    block = config.Split(label_sets=["x"], keep="before.csv")
    images, _ = split_label_sets(block, {"x": frame}, duplicates=duplicates, kept=kept)
    parts = patients_of(images)
    assert parts[kept.index].to_dict() == kept.to_dict()
    assert parts[["p010", "p011", "p012"]].tolist() == ["val", "test", "test"]


def test_images_that_were_left_out_say_nothing_of_their_patient(tmp_path):
    rows = [("p1", "left_out"), ("p1", "train"), ("p2", "left_out"), ("p3", "val")]
    pd.DataFrame(rows, columns=["patient_id", "split"]).to_csv(tmp_path / "before.csv", index=False)
    assert earlier.read(tmp_path / "before.csv").to_dict() == {"p1": "train", "p3": "val"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("patient_id,split\np1,train\np2,valid\n", r"row 3, column 'split': 'valid' is not a part; write train, val, test or"),
        ("patient_id,split\np1,train\np2,val\np1,test\n", r"patient 'p1' is in train and test: leave one of the parts"),
        ("patient,split\np1,train\n", r"lacks the columns patient_id and split: name an earlier split\."),
        ("patient_id;split\np1;train\n", r"the columns are separated by semicolons"),
        ("patient_id,split\nq1,train\n", r"No patient of .*before.csv is in the label sets: name an earlier split of the same"),
    ],
)
def test_a_file_that_is_not_an_earlier_split_is_refused(tmp_path, text, sentence):
    (tmp_path / "before.csv").write_text(text)
    with pytest.raises(ThoraxError, match=sentence) as caught:
        split(archive(0), tmp_path, "second", keep=str(tmp_path / "before.csv"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "second.parquet").exists()
