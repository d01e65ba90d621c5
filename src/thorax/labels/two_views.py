"""Studies of two views: which image represents a study, and which second view a network sees together with it.

A study is identified by study_id and patient_id together: in PadChest one study_id has images of two patients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from thorax.errors import ThoraxError
from thorax.storage import store
from thorax.storage.joins import rows_of
from thorax.storage.schemas import TWO_VIEWS

STUDY = ["patient_id", "study_id"]


@dataclass(frozen=True)
class Partners:
    """The images that can be the second one of a study."""

    views: Sequence[str]
    ingested: pd.DataFrame | None = None  # `schemas.INGESTED`: only readable images count; None where only metadata is there

    def beside(self, images: pd.DataFrame, catalog: pd.DataFrame) -> pd.Series:
        """The second image of each image's study, the first by identifier in the catalog; null where there is none."""
        found = catalog[catalog["view"].isin(self.views)]
        if self.ingested is not None:
            found = found[found["image_id"].isin(self.ingested.loc[self.ingested["ok"], "image_id"])]
        seconds = first_of_studies(found).rename(columns={"image_id": "second_id"})[[*STUDY, "second_id"]]
        return images[STUDY].merge(seconds, on=STUDY, how="left")["second_id"].set_axis(images.index)


def first_of_studies(images: pd.DataFrame) -> pd.DataFrame:
    """One image of each study, the first by identifier; images without a study are left out."""
    return images.dropna(subset=STUDY).sort_values("image_id").drop_duplicates(STUDY)


def make_two_views(labels: Path, catalog: Path, second_views: Sequence[str], second_ingested: Path, out: Path) -> None:
    """Write the second image of each image of a label set of studies: `schemas.TWO_VIEWS`, sorted by image_id."""
    known = store.read_table(catalog, ["image_id", "view", *STUDY])
    labelled = store.read_table(labels, ["image_id"])["image_id"].sort_values()
    images = rows_of(known, labelled, catalog, labels)
    seconds = Partners(second_views, store.read_table(second_ingested, ["image_id", "ok"])).beside(images, known)
    if lacking := images["image_id"][seconds.isna()].tolist():
        problem = f"has no readable image of {', '.join(second_views)} in {second_ingested}"
        raise ThoraxError(f"The study of image {lacking[0]!r} in {labels} {problem}: make the label set again.")
    store.write_table(images.assign(second_id=seconds), out, TWO_VIEWS)
