"""The counts of what was left out, by hand."""

import pandas as pd

from thorax import screening


def test_counts_by_reason_and_the_files_are_named():
    ingested = pd.DataFrame(
        {
            "image_id": ["c", "a", "b", "d"],
            "ok": [True, False, False, True],
            "reason": [None, "truncated", "missing", None],
            "channels": [4, 0, 0, 1],
        }
    )
    lungs = pd.DataFrame({"image_id": ["c", "d"], "credible": [True, False]})
    table, frame = screening.screening_table({"mine": ingested}, {"mine": {"unet": lungs}}, "sample")
    row = frame.iloc[0].to_dict()
    assert (row["listed"], row["readable"], row["truncated"], row["missing"], row["empty"]) == (4, 2, 1, 1, 0)
    assert (row["in_colour"], row["lungs found by unet"]) == (1, 1)
    assert (table.data, row["data"]) == ("A small sample of real radiographs.", "sample")
    assert [group.heading for group in table.groups][-1] == "lungs found by unet"
    assert table.notes == ("mine, left out: a (truncated), b (missing).",)


def test_a_data_set_without_segmenter_has_a_blank_and_many_files_are_cut():
    bad = pd.DataFrame({"image_id": [f"i{n:02}" for n in range(13)], "ok": False, "reason": "empty", "channels": 0})
    good = pd.DataFrame({"image_id": ["x"], "ok": [True], "reason": [None], "channels": [1]})
    lungs = pd.DataFrame({"image_id": ["x"], "credible": [True]})
    table, _ = screening.screening_table({"bad": bad, "good": good}, {"good": {"unet": lungs}}, "phantom")
    assert table.rows[0][1][-1].text == ""
    assert table.rows[1][1][-1].text == "1"
    assert "i09 (empty) and 3 more." in table.notes[0]
    assert table.notes[1] == "good: every listed file could be read."
