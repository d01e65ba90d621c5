"""The counts of what was left out and of what shows the same, by hand."""

import pandas as pd

from thorax.report.tables import screening
from thorax.storage import schemas, store


def ingested(ids: list[str], bad: dict[str, str], channels: list[int] | None = None) -> pd.DataFrame:
    """The columns that are counted; `bad` has the reasons."""
    reasons = [bad.get(image_id) for image_id in ids]
    ok = [reason is None for reason in reasons]
    facts = {"image_id": ids, "ok": ok, "reason": reasons, "channels": channels or [1] * len(ids)}
    return pd.DataFrame(facts | {"burned_in": False, "collimated": False})


def pairs(*named: tuple[str, str, bool]) -> pd.DataFrame:
    return pd.DataFrame(named, columns=["image_id", "other_id", "identical"]).assign(bits=0)


def patients(ids: list[str]) -> pd.Series:
    """Patients are named after the image's first letter."""
    return pd.Series([f"patient-{image_id[0]}" for image_id in ids], index=ids)


def test_counts_by_reason_and_only_the_page_names_files():
    ids = ["image-c", "image-a", "image-b", "image-d"]
    table = ingested(ids, {"image-a": "truncated", "image-b": "missing"}, [4, 0, 0, 1])
    lungs = pd.DataFrame({"image_id": ["image-c", "image-d"], "credible": [True, False]})
    found = screening.Screened(table, pairs(), patients(ids), {}, {"unet": lungs})
    shown, on_page, frame = screening.screening_table({"mine": found}, "sample")
    row = frame.iloc[0].to_dict()
    assert (row["listed"], row["readable"], row["truncated"], row["missing"], row["empty"]) == (4, 2, 1, 1, 0)
    assert (row["in_colour"], row["lungs found by unet"], row["identical_pairs"]) == (1, 1, 0)
    assert (shown.data, row["provenance"]) == ("A small sample of real radiographs.", "sample")
    assert [group.heading for group in shown.groups][-1] == "lungs found by unet"
    assert shown.notes == ("mine: 2 files were left out; results/ingested/mine.parquet says which, and why.",)
    assert on_page.notes == (*shown.notes, "mine, left out: image-a (truncated), image-b (missing).")


def test_a_data_set_without_segmenter_has_a_blank_and_many_files_are_cut():
    ids = [f"i{n:02}" for n in range(13)]
    bad = screening.Screened(ingested(ids, dict.fromkeys(ids, "empty")), pairs(), patients(ids))
    lungs = pd.DataFrame({"image_id": ["x"], "credible": [True]})
    good = screening.Screened(ingested(["x"], {}), pairs(), patients(["x"]), {}, {"unet": lungs})
    shown, on_page, _ = screening.screening_table({"bad": bad, "good": good}, "phantom")
    assert shown.rows[0][1][-1].text == ""
    assert shown.rows[1][1][-1].text == "1"
    assert "i09 (empty) and 3 more." in on_page.notes[-1]
    assert shown.notes[1] == "good: every listed file could be read."


def test_copies_are_counted_by_patients_and_parts():
    ids = ["a1", "a2", "b1", "b2", "c1", "d1"]
    same = pairs(("a1", "a2", True), ("a1", "b1", True), ("b2", "c1", False), ("b2", "d1", False), ("c1", "d1", False))
    splits = {
        "one": pd.Series({"a1": "train", "a2": "train", "b1": "test", "b2": "test", "c1": "val", "d1": "train"}),
        "two": pd.Series({"a1": "train", "a2": "test", "b1": "left_out"}),  # others are in no label set of this split
    }
    found = screening.Screened(ingested(ids, {}), same, patients(ids), splits)
    shown, on_page, frame = screening.screening_table({"mine": found}, "full")
    assert frame.iloc[0]["identical_pairs":"in_train_and_test"].tolist() == [2, 3, 4, 4, 2]
    assert shown.notes[1:] == (
        "mine: 5 pairs of images show the same; results/ingested/mine.duplicates.parquet names them.",
        "mine, split one: pairs in two parts: 4; of these in train and test: 2.",
        "mine, split two: pairs in two parts: 1; of these in train and test: 1.",
    )
    assert "a1 and a2 (identical), a1 and b1 (identical), b2 and c1 (similar)" in on_page.notes[-1]


def test_copies_of_an_image_that_is_in_no_part_are_counted():
    same = pairs(("a", "b", True), ("a", "c", True))
    for first in (pd.Series(dtype=object), pd.Series({"a": "left_out"})):
        parts = pd.concat([first, pd.Series({"b": "train", "c": "test"})])
        found = screening.Screened(ingested(["a", "b", "c"], {}), same, patients(["a", "b", "c"]), {"s": parts})
        assert found.straddling("s") == (1, 1)


def test_what_dicom_headers_say_is_counted():
    ids = ["x", "y", "z"]
    table = ingested(ids, {"z": "not_radiograph"}).assign(burned_in=[True, False, True], collimated=False)
    found = screening.Screened(table, pairs(), patients(ids))
    shown, _, frame = screening.screening_table({"mine": found}, "full")
    assert frame["not_radiograph"].tolist() == [1]
    assert "multi_frame" not in frame  # no column for what does not occur
    assert shown.notes[1:] == (
        "mine: DICOM images with annotation in the picture, by their header: 1; the column burned_in of results/ingested/mine.parquet says which.",
    )


def test_a_segmenter_that_finds_nothing_is_said():
    lungs = {name: pd.DataFrame({"image_id": ["x", "y"], "credible": found}) for name, found in (("a", [0, 0]), ("b", [0, 1]))}
    found = screening.Screened(ingested(["x", "y"], {}), pairs(), patients(["x", "y"]), {}, lungs)
    notes = screening.screening_table({"mine": found}, "phantom")[0].notes
    assert [note for note in notes if "lungs" in note] == [
        "mine: a found credible lungs in no image, so every image was used whole; look at its masks and its pairs."
    ]


def test_what_git_keeps_names_no_image_and_no_patient(tmp_path):
    ids = ["secret_one.png", "secret_two.png", "secret_bad.png"]
    full = {name: None for name in schemas.INGESTED.names if name not in ingested(ids, {})}
    numbers = dict.fromkeys(["rows", "columns", "bits", "low", "high", "shard", "row"], 0)
    table = ingested(ids, {"secret_bad.png": "truncated"}).assign(**{**full, **numbers})
    store.write_table(table[schemas.INGESTED.names], tmp_path / "i.parquet", schemas.INGESTED)
    store.write_table(pairs(("secret_one.png", "secret_two.png", True)), tmp_path / "d.parquet", schemas.DUPLICATES)
    listed = pd.DataFrame({"image_id": ids, "path": ids, "patient_id": ["secret_p", "secret_q", "secret_p"], "view": "PA"})
    for name in schemas.CATALOG.names:
        if name not in listed:
            listed[name] = [[]] * len(listed) if name in ("positive", "negative", "uncertain") else None
    store.write_table(listed[schemas.CATALOG.names], tmp_path / "c.parquet", schemas.CATALOG)
    split = listed[["image_id", "patient_id"]].assign(split=["train", "test", "val"])
    store.write_table(split, tmp_path / "s.parquet", schemas.SPLITS)
    named = [{"mine": tmp_path / f"{letter}.parquet"} for letter in "idc"]
    screening.make_screening(*named, {"mine/s": [tmp_path / "s.parquet"]}, {}, tmp_path, "phantom")
    for suffix in ("md", "tex", "csv"):
        text = (tmp_path / f"screening.{suffix}").read_text()
        assert "secret" not in text.replace("\\", ""), suffix
        assert "train and test" in text or suffix == "csv"
    assert "secret_bad.png (truncated)" in (tmp_path / "screening.html").read_text()
