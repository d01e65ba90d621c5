"""What the text of Liz et al. 2022 says of its results, next to what its tables give and what ours give (sections 5.1 and 5.2).

Three columns for each statement: the text, as transcribed in resources/published/liz2022_statements.csv; the same computed from
the paper's own table (Tables 4, 6, 8 and 10); and the same computed from our test results. Where the first two differ, the paper
contradicts itself, unless one of Table 10's two illegible rows explains it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from thorax.config import Beside
from thorax.errors import ThoraxError
from thorax.evaluation.metrics import GLOBAL, TIERS
from thorax.report import published_numbers
from thorax.report.cells import DECIMALS, UNDEFINED, printed
from thorax.report.published_numbers import published_counts
from thorax.report.tables.results import PROVENANCE
from thorax.report.typeset import Cell, Group, Table, write
from thorax.storage import store

ENSEMBLE = "CTP"  # the ensemble that the text speaks of, by the paper's name
COUNTS = {"general": "Liz et al. 2022, Table 10"}  # where a variant's counts of images are; those of all others are in Table 8
TEST_SHARE = 5  # Table 8 counts three classes in full and the others in the test fifth
_SPECIFIC = (
    "Numbers of images are those of the test part; the paper's are its '# Samples', a fifth of them for the three classes that Table 8 "
    "counts in full. The text's 172 : 1 takes that column as it is."
)
_ILLEGIBLE = "Two of Table 10's 54 rows are not legible in the scan: the paper's table counts 52 classes, the text 54."
_GENERAL = "Numbers of images: ours are those of the test part, the paper's those of all images, as Table 10 has them."
_DOUBT = "Some of the paper's cells are in doubt (see the table that shows them next to ours)."

MEASURES = {
    "above_0.8": f"Classes with an AUC of {ENSEMBLE} above 0.8",
    "above_0.85": f"Classes with an AUC of {ENSEMBLE} above 0.85",
    "not_above": f"Classes where {ENSEMBLE} is not above the best network",
    "equal": f"Classes where {ENSEMBLE} equals the best network",
    "below": f"Classes where {ENSEMBLE} is below the best network",
    "gain": f"Mean AUC of {ENSEMBLE} minus that of the best network",
    "halves": "Mean AUC of the networks: larger half of the classes, smaller half",
    "rank": f"Rank correlation (Spearman) of the AUC of {ENSEMBLE} and the number of images",
    "imbalance": "Images of the largest class to those of the smallest",
}


@dataclass(frozen=True)
class Results:
    """The numbers that the statements are about."""

    areas: pd.DataFrame  # (classes, models) AUC as printed, the ensemble first and then the networks
    images: pd.Series  # (classes,) number of images of each class in one part, whichever it is; NaN where it is not known
    means: pd.Series  # (models,) mean AUC by model

    @property
    def ahead(self) -> pd.Series:
        """(classes,) how far the ensemble is above the best network of each class."""
        return (self.areas.iloc[:, 0] - self.areas.iloc[:, 1:].max(axis=1)).round(DECIMALS)

    def values(self) -> dict[str, float]:
        """Every measure as a number; of halves the difference, larger minus smaller. NaN where it is undefined."""
        ensemble, (larger, smaller) = self.areas.iloc[:, 0], self._halves()
        both = pd.concat([ensemble.rename("area"), self.images.rename("images")], axis=1).dropna()
        varies = both["area"].nunique() > 1 and both["images"].nunique() > 1
        return {
            "above_0.8": float((ensemble > 0.8).sum()),
            "above_0.85": float((ensemble > 0.85).sum()),
            "not_above": float((self.ahead <= 0).sum()),
            "equal": float((self.ahead == 0).sum()),
            "below": float((self.ahead < 0).sum()),
            "gain": float(self.means.iloc[0] - self.means.iloc[1:].max()),
            "halves": larger - smaller,
            "rank": float(both["area"].rank().corr(both["images"].rank())) if varies else np.nan,
            "imbalance": float(self.images.max() / self.images.min()) if self.images.min() > 0 else np.nan,
        }

    def texts(self) -> dict[str, str]:
        """Every measure as it is shown."""
        values, classes = self.values(), len(self.areas)
        found = {key: f"{values[key]:.0f}" for key in ("not_above", "equal", "below")}
        for key in ("above_0.8", "above_0.85"):
            found[key] = f"{values[key]:.0f} of {classes} ({values[key] / classes:.0%})" if classes else UNDEFINED
        defined = {
            "gain": lambda value: f"{printed(value, sign=True)} over {self.means.iloc[1:].idxmax()}",
            "halves": lambda _: ", ".join(map(printed, self._halves())),
            "rank": lambda value: printed(value, 2, sign=True),
            "imbalance": lambda value: f"{value:.0f} : 1",
        }
        return found | {key: UNDEFINED if np.isnan(values[key]) else text(values[key]) for key, text in defined.items()}

    def named(self) -> str:
        """The classes where the ensemble is not above the best network, with the difference."""
        behind = self.ahead[self.ahead <= 0].sort_values()
        by = {name: printed(difference, sign=True) if difference else "equal" for name, difference in behind.items()}
        return ", ".join(f"{name} ({words})" for name, words in by.items()) or "none"

    def _halves(self) -> tuple[float, float]:
        order = self.images.dropna().sort_values(ascending=False, kind="stable").index
        middle = (len(order) + 1) // 2
        networks = self.areas.iloc[:, 1:].mean(axis=1)  # the text says this of the networks
        return float(networks[order[:middle]].mean()), float(networks[order[middle:]].mean())


def published(beside: Beside, members: Sequence[str]) -> Results:
    """Return the paper's own table, under our names, without networks that are not in `members`."""
    rows = published_numbers.published(beside)
    counts = published_counts()
    counts = counts[counts["source"] == COUNTS.get(beside.variant, "Liz et al. 2022, Table 8")].set_index("row")
    as_counted = (counts["counts"] == "test") | (beside.variant in COUNTS)
    images = counts["published"].where(as_counted, counts["published"] / TEST_SHARE)
    return _results(rows[rows["metric"] == "auc"], images, _ensemble(beside), members)


def measured(metrics: pd.DataFrame, beside: Beside, members: Sequence[str]) -> Results:
    """Return our test results from the rows of `schemas.METRICS`."""
    chosen = (metrics["split"] == "test") & (metrics["metric"] == "auc") & ~metrics["class"].isin(TIERS)
    rows, name = metrics[chosen], _ensemble(beside)
    images = rows[(rows["model"] == name) & (rows["class"] != GLOBAL)].set_index("class")["n_positive"].astype(float)
    return _results(rows, images, name, members)


def _ensemble(beside: Beside) -> str:
    """Our name of the ensemble that the text speaks of."""
    return next((ours for ours, theirs in beside.models.items() if theirs == ENSEMBLE), ENSEMBLE)


def _results(rows: pd.DataFrame, images: pd.Series, ensemble: str, members: Sequence[str]) -> Results:
    wide = rows.drop_duplicates(["class", "model"]).pivot(index="class", columns="model", values="value").astype(float)
    networks = [name for name in members if name in wide.columns]
    if ensemble not in wide.columns or not networks:
        raise ThoraxError(f"There are no AUCs of {ensemble} and of a network: the statements of Liz et al. 2022 need both.")
    wide = wide[[ensemble, *networks]].round(DECIMALS)
    areas = wide.drop(index=GLOBAL, errors="ignore").dropna(subset=[ensemble])
    return Results(areas, images.reindex(areas.index), wide.loc[GLOBAL])


def statements_table(
    metrics: pd.DataFrame, beside: Beside, members: Sequence[str], title: str, provenance: str
) -> tuple[Table, pd.DataFrame]:
    """Arrange the text, the paper's cells and ours side by side, a row for each measure; the frame has them as numbers."""
    theirs, ours = published(beside, members), measured(metrics, beside, members)
    said = store.read_csv(published_numbers.STATEMENTS, keep_default_na=False, dtype=str)
    said = said[said["variant"] == beside.variant].set_index("measure")["says"]
    shown = said.to_dict(), theirs.texts(), ours.texts()
    rows = tuple((words, tuple(Cell(texts.get(key, UNDEFINED)) for texts in shown)) for key, words in MEASURES.items())
    cells = published_numbers.published(beside)
    used = cells[(cells["metric"] == "auc") & cells["model"].isin(theirs.areas.columns)]
    measured_here = "ours" if provenance == "full" else f"ours ({provenance})"
    groups = (Group("the text", words=True), Group("the paper's table"), Group(measured_here))
    caption = "Statements of sections 5.1 and 5.2, computed from the paper's table and from our test results. "
    caption += f"{published_numbers.variant(beside)['description']}."
    notes = (
        f"{ENSEMBLE} not above the best network, in the paper's table: {theirs.named()}.",
        f"The same in ours: {ours.named()}.",
        "AUCs are compared as printed.",
        *((_GENERAL, _ILLEGIBLE) if beside.variant in COUNTS else (_SPECIFIC,)),
        *([_DOUBT] if used["doubt"].any() else []),
        f"{UNDEFINED}: the text does not say it, or it is undefined.",
    )
    heading, data = f"{title}: what the paper's text says", PROVENANCE[provenance]
    index = pd.Index(MEASURES, name="measure")
    values = pd.DataFrame({"text": said, "published": theirs.values(), "ours": ours.values()}, index=index)
    return Table(heading, caption, data, groups, "Statement", rows, notes=notes), values.fillna({"text": ""}).reset_index()


def make_statements(title: str, provenance: str, settings: Beside, metrics: Path, members: list[str], out: Path) -> None:
    """Write statements.html, .md, .tex and .csv into a folder; errors as in `statements_table`."""
    write(*statements_table(store.read_table(metrics), settings, members, title, provenance), out, "statements")
