"""The papers' own numbers, and ours next to them.

The tables are in `resources/published/*.csv`, one number a row: paper, table, variant (which of the paper's experiments), model, class
(as the paper prints it), label (the data's own name of the class; blank where it has none), metric (as `metrics.evaluate` names
it), value, doubt (blank, or why the number may be misread). A Global row is the paper's own.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from thorax.archives import chexpert
from thorax.config import Beside
from thorax.errors import ThoraxError, did_you_mean
from thorax.evaluation.metrics import GLOBAL, NO_THRESHOLD, SUMMARIES, TIERS
from thorax.resources import resource
from thorax.storage import store
from thorax.storage.schemas import LEFT_OUT, RADIOLOGISTS

FOLDER = resource("published")
COLUMNS = ("paper", "table", "variant", "model", "class", "label", "metric", "value", "doubt")
PUBLISHED = ("model", "class", "metric", "value", "doubt")
COMPARED = ("model", "class", "metric", "ours", "low", "high", "published", "difference", "doubt")
SCORES = ("auc", "f1", "f1_positive", "precision", "sensitivity", "specificity", "hamming", "accuracy", "auc_thresholded")
PAPERS = resource("papers.csv")  # who wrote the papers, and when
COUNTS = FOLDER / "published_counts.csv"  # counts of images, which the audit compares
REASONS = resource("count_reasons.csv")  # why a published count cannot equal ours
VARIANTS = FOLDER / "variants.csv"  # each paper's experiments: heading, description, and what their numbers were measured on
SYSTEMS = FOLDER / "systems.csv"  # data and split of other published systems
STATEMENTS = FOLDER / "liz2022_statements.csv"  # what the text of Liz et al. 2022 says of its tables
TEST_PARTS = {
    "shares": "a share of the patients, drawn at random",
    "official": "the archive's own test list",
    "drawn": "a part of the archive's own test list",
    RADIOLOGISTS: "the studies that radiologists labelled (CheXpert's valid.csv)",
}
NO_DIFFERENCE = "No difference is taken:"
NOT_COMPARABLE = "paper (not comparable)"  # heading of published numbers that were measured on something else than ours


def _read(path: Path) -> pd.DataFrame:
    return store.read_csv(path, keep_default_na=False, dtype=str)


@cache
def _all() -> pd.DataFrame:
    paths = sorted(set(FOLDER.glob("*.csv")) - {COUNTS, VARIANTS, SYSTEMS, STATEMENTS})
    return pd.concat(map(_read, paths), ignore_index=True).astype({"value": float})


def load(paper: str | None = None, table: str | None = None, variant: str | None = None) -> pd.DataFrame:
    """Return published numbers with the columns `COLUMNS`: all, or of a paper (liz2022), table ("8") or variant (specific)."""
    chosen = _all()
    for column, wanted in (("paper", paper), ("table", table), ("variant", variant)):
        if wanted is None:
            continue
        known = list(dict.fromkeys(chosen[column]))
        chosen = chosen[chosen[column] == wanted]
        if chosen.empty:
            problem = f"No published numbers of {column} {wanted!r}{did_you_mean(wanted, known)}"
            raise ThoraxError(f"{problem}: choose one of {', '.join(known)}.")
    return chosen.reset_index(drop=True)


def variant(beside: Beside) -> pd.Series:
    """Return the line of `VARIANTS` on a paper's experiment: heading, description, note on the numbers, what they are of."""
    frame = _read(VARIANTS)
    found = frame[(frame["paper"] == beside.paper) & (frame["variant"] == beside.variant)]
    if len(found) != 1:
        raise ThoraxError(f"{VARIANTS} needs one line for {beside.paper}, {beside.variant}: add it.")
    return found.iloc[0]


def tested_on(archive: str, official: bool, split: pd.DataFrame) -> str:
    """Return what the test part of a split is, a key of `TEST_PARTS`; `official`: the split follows the archive's own lists."""
    test = split.loc[split["split"] == "test", "image_id"]
    if archive == "chexpert" and len(test) and test.map(chexpert.by_radiologists).all():
        return RADIOLOGISTS
    if not official:
        return "shares"
    return "drawn" if (split["split"] == LEFT_OUT).any() else "official"


def why_not(beside: Beside, archive: str | None = None, test_part: str | None = None) -> str:
    """Say in a sentence why a paper's numbers cannot be compared with ours, blank if they can; None: ours is not known."""
    of_paper = variant(beside)
    if of_paper["no_difference"]:
        return f"{NO_DIFFERENCE} {of_paper['no_difference']}"
    if archive is not None and archive != of_paper["archive"]:
        return f"{NO_DIFFERENCE} the paper's numbers were measured on another archive than ours ({of_paper['archive']}, not {archive})."
    theirs = of_paper["tested_on"]
    if test_part == theirs or (test_part is None and theirs != RADIOLOGISTS):  # only what is known to be of the same images
        return ""
    ours = TEST_PARTS.get(test_part or "", "other images")
    lacks = "; put valid.csv and its images next to train.csv, and let the split say test_on: radiologists"
    return f"{NO_DIFFERENCE} the paper tested on {TEST_PARTS[theirs]}, and ours is measured on {ours}{lacks * (theirs == RADIOLOGISTS)}."


def citation(paper: str) -> tuple[str, str]:
    """Return a paper's short name and its citation; of a paper that is not in resources/papers.csv its key, and a sentence."""
    table = _read(PAPERS).set_index("paper")
    if paper not in table.index:
        return paper, f"The citation of {paper} is not on record; src/thorax/resources/papers.csv holds those that are."
    row = table.loc[paper]
    return row["short"], f"{row['authors']}: {row['title']}. {row['published']}."


def published(beside: Beside) -> pd.DataFrame:
    """Return what a paper reports of one experiment, under our names: the columns `PUBLISHED`, each number once.

    A number that is in two tables (as in the Global row of Table 8 and in Table 9 of Liz et al. 2022) is taken from the first.
    """
    rows = load(beside.paper, variant=beside.variant)
    rows = rows[rows["metric"].isin(SCORES)]
    known = list(dict.fromkeys(rows["model"]))
    for ours, theirs in beside.models.items():
        if theirs not in known:
            problem = f"beside.models.{ours}: {beside.paper}, {beside.variant} has no model {theirs!r}"
            raise ThoraxError(f"{problem}: choose one of {', '.join(known)}.")
    ours_of = {theirs: ours for ours, theirs in beside.models.items()}
    names = rows["label"].where(rows["label"] != "", rows["class"])
    rows = rows.assign(model=[ours_of.get(name, name) for name in rows["model"]], **{"class": names})
    return rows.drop_duplicates(["model", "class", "metric"])[list(PUBLISHED)].reset_index(drop=True)


def label_shares(paper: str) -> dict[str, float]:
    """Return the share of each class among all labels, from 0 to 1, where a paper gives it; by the data's name of the class."""
    rows = _all()
    rows = rows[(rows["paper"] == paper) & (rows["metric"] == "share_of_labels")]
    return dict(zip(rows["label"], rows["value"], strict=True))


def same_classes(ours: pd.DataFrame, theirs: pd.DataFrame, model: str, metric: str) -> bool:
    """Return whether our mean over all classes and a paper's are over the same classes; true also where the paper shows none.

    Ours (rows of `schemas.METRICS` of one part) and the paper's (columns of `published`) are over the classes that have a value of
    the metric or, where none is shown of single classes, as of the Hamming loss, over all classes of the model.
    """
    classes = []
    for rows in (ours, theirs):
        of_model = rows[(rows["model"] == model) & ~rows["class"].isin(SUMMARIES)]
        of_metric = of_model[of_model["metric"] == metric]
        classes.append(set(of_metric.dropna(subset=["value"])["class"] if len(of_metric) else of_model["class"]))
    return not classes[1] or classes[0] == classes[1]


def compare(metrics: pd.DataFrame, beside: Beside, split: str = "test", difference: bool = True) -> pd.DataFrame:
    """Compare ours (rows of `schemas.METRICS`) with the paper's number of each class, model and metric; no paper has tiers.

    Returns `COMPARED`, a row for each number that either has: first ours in the order of the metrics, then what only the paper
    has. Undefined and missing numbers are nan. Means over different classes (`same_classes`) have no difference.
    """
    chosen = metrics[(metrics["split"] == split) & metrics["threshold_rule"].isin((NO_THRESHOLD, beside.threshold_rule))]
    chosen = chosen[~chosen["class"].isin(TIERS)]
    if chosen.empty:
        raise ThoraxError(f"The metrics have nothing for {split} by {beside.threshold_rule}: compute the metrics again.")
    for name in beside.models:
        if name not in set(chosen["model"]):
            raise ThoraxError(f"beside.models: the metrics have no model {name!r}: correct the name.")
    keys = ["model", "class", "metric"]
    printed = published(beside)
    both = pd.concat([chosen[keys], printed[keys]]).drop_duplicates()
    both = both.merge(chosen[[*keys, "value", "low", "high"]], on=keys, how="left", validate="one_to_one")
    both = both.merge(printed, on=keys, how="left", suffixes=("", " published"), validate="one_to_one")
    both = both.rename(columns={"value": "ours", "value published": "published"}).fillna({"doubt": ""})
    both["difference"] = both["ours"].astype(float) - both["published"].astype(float) if difference else np.nan
    whole = both.index[both["class"] == GLOBAL]
    apart = [not same_classes(chosen, printed, *both.loc[row, ["model", "metric"]]) for row in whole]
    both.loc[whole[apart], "difference"] = np.nan
    return both[list(COMPARED)]


@cache
def reasons() -> dict[str, str]:
    """Return the explanations of the reasons why published counts cannot equal ours."""
    return dict(_read(REASONS).itertuples(index=False, name=None))


def published_counts() -> pd.DataFrame:
    """Return the counts in papers: table (a label set's name, or "datasets"), row, counts, published, reason, source."""
    return store.read_csv(COUNTS, keep_default_na=False, dtype={"published": float})
