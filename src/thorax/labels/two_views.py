"""Studies of two views: which image of a study stands for its second view, and which image it is seen together with.

A study is what has the same study_id and patient_id: in PadChest one study_id has images of two patients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from thorax.errors import ThoraxError
from thorax.storage import store
from thorax.storage.schemas import PAIRS

STUDY = ["patient_id", "study_id"]


@dataclass(frozen=True)
class Partners:
    """The images among which a study's second one is sought.

    Args:
        views: theirs.
        ingested: the columns of `catalog.INGESTED`, of which only readable images count; None where only metadata is there.
    """

    views: Sequence[str]
    ingested: pd.DataFrame | None = None

    def beside(self, images: pd.DataFrame, catalog: pd.DataFrame) -> pd.Series:
        """Return the second image of each image's study, the first by identifier; null where there is none.

        Args:
            images: the columns `STUDY`.
            catalog: image_id, view and the columns `STUDY`.
        """
        found = catalog[catalog["view"].isin(self.views)]
        if self.ingested is not None:
            found = found[found["image_id"].isin(self.ingested.loc[self.ingested["ok"], "image_id"])]
        seconds = first_of_studies(found).rename(columns={"image_id": "second_id"})[[*STUDY, "second_id"]]
        return images[STUDY].merge(seconds, on=STUDY, how="left")["second_id"].set_axis(images.index)


def first_of_studies(images: pd.DataFrame) -> pd.DataFrame:
    """One image of each study, the first by identifier; images without a study are left out.

    Args:
        images: at least image_id and the columns `STUDY`.
    """
    return images.dropna(subset=STUDY).sort_values("image_id").drop_duplicates(STUDY)


def make_pairs(labels: Path, catalog: Path, second_views: Sequence[str], second_ingested: Path, out: Path) -> None:
    """Write the second image of each labelled image (`catalog.PAIRS`, sorted by image_id).

    Args:
        labels: a label set of studies.
        catalog: of the archive.
        second_views: those of the second images.
        second_ingested: table of the images of these views.
        out: table to write.

    Raises:
        ThoraxError: a labelled image's study has no readable image of these views.
    """
    known = store.read_table(catalog, ["image_id", "view", *STUDY])
    images = store.read_table(labels, ["image_id"]).merge(known, on="image_id", how="left").sort_values("image_id")
    paired = images.assign(
        second_id=Partners(second_views, store.read_table(second_ingested, ["image_id", "ok"])).beside(images, known)
    )
    if paired["second_id"].isna().any():
        lost = paired.loc[paired["second_id"].isna(), "image_id"].iloc[0]
        raise ThoraxError(
            f"The study of image {lost!r} in {labels} has no readable image of {', '.join(second_views)} in {second_ingested}: make the label set "
            "again."
        )
    store.write_table(paired, out, PAIRS)
