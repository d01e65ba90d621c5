"""Images that show the same: every pair is found, and only those."""

import numpy as np
import pandas as pd
import pytest

from thorax.images import duplicates


def near(hashes: np.ndarray, most: int) -> dict[tuple[int, int], int]:
    """Pairs by comparing each with each."""
    bits = np.unpackbits(hashes, axis=1).astype(int)
    distance = np.abs(bits[:, None] - bits[None]).sum(axis=2)
    return {(i, j): distance[i, j] for i in range(len(hashes)) for j in range(i + 1, len(hashes)) if distance[i, j] <= most}


@pytest.mark.parametrize("most", [4, 16, 40])
@pytest.mark.parametrize("flipped", [0.02, 0.1])
def test_the_search_finds_what_comparing_each_with_each_finds(most, flipped):
    random = np.random.default_rng(most)
    films = random.random((5, 256)) < 0.5
    bits = films[random.integers(5, size=150)] ^ (random.random((150, 256)) < flipped * random.random((150, 1)))
    hashes = np.unique(np.packbits(bits, axis=1), axis=0)
    first, second, distance = duplicates.similar_pairs(hashes, most)
    expected = near(hashes, most)
    assert expected
    assert dict(zip(zip(first.tolist(), second.tolist(), strict=True), distance.tolist(), strict=True)) == expected


def test_no_image_and_one_image_have_no_pair():
    for count in (0, 1):
        assert [part.size for part in duplicates.similar_pairs(np.zeros((count, 32), np.uint8), 16)] == [0, 0, 0]
    nothing = pd.DataFrame({"image_id": [], "ok": [], "digest": [], "phash": []}).astype({"ok": bool})
    assert duplicates.find(nothing).empty


def test_a_large_archive_is_searched_in_seconds():
    """100,000 hashes as much alike as those of radiographs are: the work must grow with what is alike, not with all pairs."""
    random = np.random.default_rng(0)
    bits = (random.random((500, 256)) < 0.5)[random.integers(500, size=100_000)] ^ (random.random((100_000, 256)) < 0.15)
    bits[-1] = bits[0]
    bits[-1, :16] ^= True
    first, second, distance = duplicates.similar_pairs(np.packbits(bits, axis=1), 16)
    assert (0, 99_999, 16) in zip(first.tolist(), second.tolist(), distance.tolist(), strict=True)


def table(**rows: tuple[str, str]) -> pd.DataFrame:
    """Digest and hash (its first byte) by image."""
    ingested = pd.DataFrame([(name, True, digest, start + "00" * 31) for name, (digest, start) in rows.items()])
    return ingested.set_axis(["image_id", "ok", "digest", "phash"], axis=1)


def test_pairs_are_named_once():
    found = duplicates.find(table(c=("x", "00"), a=("x", "00"), b=("x", "00"), e=("y", "00"), d=("z", "ff"), f=("y", "00")))
    assert found[["image_id", "other_id", "identical", "bits"]].to_numpy().tolist() == [
        ["a", "b", True, 0],
        ["a", "c", True, 0],
        ["a", "d", False, 8],
        ["a", "e", False, 0],
        ["e", "f", True, 0],
    ]


def test_patients_are_linked_through_others_and_named_after_the_first():
    patients = pd.DataFrame({"image_id": list("abcdef"), "patient_id": ["p3", "p2", "p2", "p1", "p4", "p4"]})
    pairs = pd.DataFrame({"image_id": ["a", "c", "e", "x"], "other_id": ["b", "d", "f", "a"]})
    assert duplicates.patient_groups(patients, pairs).tolist() == ["p1", "p1", "p1", "p1", "p4", "p4"]
    assert duplicates.patient_groups(patients, pairs[:0]).tolist() == patients["patient_id"].tolist()


def test_patients_are_linked_through_an_image_of_nobody_here():
    """Copies are paired with the first of them, which may have no label or the wrong view."""
    patients = pd.DataFrame({"image_id": ["b", "c"], "patient_id": ["p", "q"]})
    pairs = pd.DataFrame({"image_id": ["a", "a"], "other_id": ["b", "c"]})
    assert duplicates.patient_groups(patients, pairs).tolist() == ["p", "p"]


def test_pairs_among_some_images_are_those_that_a_search_among_them_finds():
    """Every kind of pair, whichever images are left out."""
    digests = {"a": "u", "b": "u", "c": "u", "d": "v", "e": "v", "f": "w", "g": "w"}
    starts = {"u": "00", "v": "00", "w": "ff"}  # u and v have one hash; w is similar to both
    rows = table(**{name: (digest, starts[digest]) for name, digest in digests.items()})
    pairs = duplicates.find(rows)
    for number in range(2 ** len(rows)):
        some = rows[[bool(number >> place & 1) for place in range(len(rows))]]
        expected = duplicates.find(some)[["image_id", "other_id"]].to_numpy().tolist()
        found = duplicates.among(pairs, set(some["image_id"]))[["image_id", "other_id"]]
        linked = [sorted(pair) for pair in found.to_numpy().tolist()]
        assert sorted(linked) == sorted(sorted(pair) for pair in expected), some["image_id"].tolist()
