"""Whether a bundle's network may have learnt from patients whom a training that starts from it tests on."""

import hashlib
from pathlib import Path

from thorax.bundles.contents import Contents
from thorax.storage import store


def digest_of_split(split: Path) -> str:
    """SHA-256 of which patient is in which part: equal for the same split, and of no use to find a patient."""
    rows = store.read_table(split, ["patient_id", "split"]).drop_duplicates().sort_values(["patient_id", "split"])
    return hashlib.sha256(rows.to_csv(index=False).encode()).hexdigest()


def remark(contents: Contents, bundle: str, archive: str | None, split: Path | None) -> str:
    """A sentence on training patients of a bundle who may be test patients now; empty if there are none.

    `archive` is the published archive that the training is of; None stands for an archive of your own and for phantoms, whose
    patients are in no bundle that is known to be of the same. Another split of a published archive is not refused: with its official
    test list, two splits may differ and share the test patients.
    """
    published = contents.dataset.archive != "own" and contents.provenance != "phantom"
    if archive is None or not published or contents.dataset.archive != archive:
        return ""
    if split is not None and contents.split == digest_of_split(split):
        return ""
    why = "by another split" if split is not None and contents.split else "and it is not known by which split"
    return (
        f"{bundle} learnt from the archive {archive} as well, {why}: test patients may be among those that it learnt from, "
        "so results on them may be too good."
    )
