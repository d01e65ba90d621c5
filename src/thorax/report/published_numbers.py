"""The papers' own numbers, and ours beside them.

The tables stand in `resources/published/*.csv`, one number a row: paper, table, variant (which of the paper's experiments), model, class
(as the paper prints it), label (the data's own name of the class; blank where it has none), metric (as `metrics.evaluate` names
it: f1 is the mean over both sides, f1_positive that of the positive side), value, doubt (blank, or why the number may be
misread). They were transcribed from scanned text; a Global row is the paper's own.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from thorax.archives import chexpert
from thorax.config import Beside
from thorax.errors import ThoraxError, did_you_mean
from thorax.evaluation.metrics import GLOBAL, NO_THRESHOLD
from thorax.resources import resource
from thorax.storage import store
from thorax.storage.schemas import LEFT_OUT, RADIOLOGISTS

FOLDER = resource("published")
KEYS = ("paper", "table", "variant", "model", "class", "label", "metric")
COLUMNS = (*KEYS, "value", "doubt")
PUBLISHED_COLUMNS = ("model", "class", "metric", "value", "doubt")
COMPARED = ("model", "class", "metric", "ours", "low", "high", "published", "difference", "doubt")
COUNTS = "published_counts.csv"  # counts of images, which the audit compares
SCORES = ("auc", "f1", "f1_positive", "precision", "sensitivity", "specificity", "hamming", "accuracy", "auc_thresholded")
PAPERS = resource("papers.csv")  # who wrote the papers, and when
VARIANTS = "variants.csv"  # each paper's experiments: heading, description, and what their numbers were measured on
TEST_PARTS = {
    "shares": "a share of the patients, drawn at random",
    "official": "the archive's own test list",
    "drawn": "a part of the archive's own test list",
    RADIOLOGISTS: "the studies that radiologists labelled (CheXpert's valid.csv)",
}
NO_DIFFERENCE = "No difference is taken:"
NOT_COMPARABLE = "paper (not comparable)"  # heading of published numbers that were measured on something else than ours
SYSTEMS = "systems.csv"  # data and split of other published systems
STATEMENTS = "liz2022_statements.csv"  # what the text of Liz et al. 2022 says of its tables


@cache
def _all() -> pd.DataFrame:
    paths = sorted(path for path in FOLDER.glob("*.csv") if path.name not in (COUNTS, VARIANTS, SYSTEMS, STATEMENTS))
    frames = [store.read_csv(path, keep_default_na=False, dtype=str) for path in paths]
    for path, frame in zip(paths, frames, strict=True):
        if tuple(frame.columns) != COLUMNS:
            raise ThoraxError(f"{path} needs the columns {', '.join(COLUMNS)}: correct its first line.")
    table = pd.concat(frames, ignore_index=True)
    return table.assign(value=table["value"].astype(float))


def load(paper: str | None = None, table: str | None = None, variant: str | None = None) -> pd.DataFrame:
    """The published numbers, with the columns `COLUMNS`, in the order of the papers.

    Args:
        paper: only this paper's, e.g. liz2022.
        table: only this table's, e.g. "8".
        variant: only those of this experiment, e.g. specific-noaug.

    Raises:
        ThoraxError: there are none; the sentence names those that there are.
    """
    chosen = _all()
    for column, wanted in (("paper", paper), ("table", table), ("variant", variant)):
        if wanted is None:
            continue
        known = list(dict.fromkeys(chosen[column]))
        chosen = chosen[chosen[column] == wanted]
        if chosen.empty:
            raise ThoraxError(
                f"No published numbers of {column} {wanted!r}{did_you_mean(wanted, known)}: choose one of {', '.join(known)}."
            )
    return chosen.reset_index(drop=True)


def _variant(beside: Beside) -> pd.Series:
    frame = store.read_csv(FOLDER / VARIANTS, keep_default_na=False, dtype=str)
    found = frame[(frame["paper"] == beside.paper) & (frame["variant"] == beside.variant)]
    if len(found) != 1:
        raise ThoraxError(f"{FOLDER / VARIANTS} needs one line for {beside.paper}, {beside.variant}: add it.")
    return found.iloc[0]


def describe(beside: Beside) -> tuple[str, str]:
    """The heading of a paper's experiment, and what it is, with the tables that show it.

    Raises:
        ThoraxError: an experiment without description.
    """
    variant = _variant(beside)
    return variant["heading"], variant["description"]


def note(beside: Beside) -> str:
    """What a reader must know of how a paper measured its numbers; blank where there is nothing. Errors as in `describe`."""
    return _variant(beside)["note"]


def tested_on(archive: str, official: bool, split: pd.DataFrame) -> str:
    """What the test part of a split is, a key of `TEST_PARTS`.

    Args:
        archive: a key of `datasets.ARCHIVES`.
        official: whether the split follows the archive's own lists.
        split: the columns of `catalog.SPLITS`.
    """
    test = split.loc[split["split"] == "test", "image_id"]
    if archive == "chexpert" and len(test) and test.map(chexpert.by_radiologists).all():
        return RADIOLOGISTS
    if not official:
        return "shares"
    return "drawn" if (split["split"] == LEFT_OUT).any() else "official"


def why_not(beside: Beside, archive: str | None = None, test_part: str | None = None) -> str:
    """Why no difference may be taken between ours and a paper's numbers of our archive; blank where one may.

    Args:
        beside: which published numbers.
        archive: that ours are of; None where that is not known.
        test_part: what `tested_on` says of ours; None where that is not known.

    Returns:
        One sentence. Numbers of CheXpert's radiologists are compared only with what is known to be measured on the same.

    Raises:
        ThoraxError: as in `describe`.
    """
    variant = _variant(beside)
    if variant["no_difference"]:
        return f"{NO_DIFFERENCE} {variant['no_difference']}"
    if archive is not None and archive != variant["archive"]:
        return f"{NO_DIFFERENCE} the paper's numbers were measured on another archive than ours ({variant['archive']}, not {archive})."
    theirs = variant["tested_on"]
    if test_part == theirs or (test_part is None and theirs != RADIOLOGISTS):
        return ""
    ours = TEST_PARTS.get(test_part or "", "other images")
    lacks = "; put valid.csv and its images beside train.csv, and let the split say test_on: radiologists" * (
        theirs == RADIOLOGISTS
    )
    return f"{NO_DIFFERENCE} the paper tested on {TEST_PARTS[theirs]}, and ours is measured on {ours}{lacks}."


def citation(paper: str) -> tuple[str, str]:
    """A paper's short name and its citation.

    A paper that is not in data/papers.csv has its key for a name, and a citation that says so: experiments may name any.
    """
    table = store.read_csv(PAPERS, dtype=str, keep_default_na=False).set_index("paper")
    if paper not in table.index:
        return paper, f"The citation of {paper} is not on record; src/thorax/resources/papers.csv holds those that are."
    row = table.loc[paper]
    return row["short"], f"{row['authors']}: {row['title']}. {row['published']}."


def published(beside: Beside) -> pd.DataFrame:
    """What a paper reports of one experiment, under our names: model, class, metric, value, doubt; each once.

    A number that stands in two tables (as the Global row of Table 8 and as Table 9 of Liz et al. 2022) is taken from the
    first.

    Raises:
        ThoraxError: as `load`, or a model that the paper's experiment does not have.
    """
    rows = load(beside.paper, variant=beside.variant)
    rows = rows[rows["metric"].isin(SCORES)]
    known = list(dict.fromkeys(rows["model"]))
    for ours, theirs in beside.models.items():
        if theirs not in known:
            raise ThoraxError(
                f"beside.models.{ours}: {beside.paper}, {beside.variant} has no model {theirs!r}: choose one of {', '.join(known)}."
            )
    ours_of = {theirs: ours for ours, theirs in beside.models.items()}
    rows = rows.assign(
        model=[ours_of.get(name, name) for name in rows["model"]],
        **{"class": rows["label"].where(rows["label"] != "", rows["class"])},
    )
    return rows.drop_duplicates(["model", "class", "metric"])[["model", "class", "metric", "value", "doubt"]].reset_index(
        drop=True
    )


def label_shares(paper: str) -> dict[str, float]:
    """The share of each class among all labels, from 0 to 1, of those for which a paper gives it; by the data's name."""
    rows = _all()
    rows = rows[(rows["paper"] == paper) & (rows["metric"] == "share_of_labels")]
    return dict(zip(rows["label"], rows["value"], strict=True))


def same_classes(ours: pd.DataFrame, theirs: pd.DataFrame, model: str, metric: str) -> bool:
    """Whether our mean over all classes and a paper's are over the same classes.

    Ours is over the classes that have a value; metrics of the whole matrix, such as the Hamming loss, are over all classes of the
    model. The paper's is over the classes that its tables show of the metric or, where they show none of it, of the model.

    Args:
        ours: The rows of `catalog.METRICS` of one part.
        theirs: The columns of `published`.
        model: Our name of the model.
        metric: As in `metrics.evaluate`.

    Returns:
        True also where the paper shows no class at all.
    """
    our_classes, their_classes = (_classes_of(rows, model, metric) for rows in (ours, theirs))
    return not their_classes or our_classes == their_classes


def _classes_of(rows: pd.DataFrame, model: str, metric: str) -> set[str]:
    """The classes over which a model's number over all classes is taken."""
    of_model = rows[(rows["model"] == model) & (rows["class"] != GLOBAL)]
    of_metric = of_model[of_model["metric"] == metric]
    return set(of_metric.dropna(subset=["value"])["class"] if len(of_metric) else of_model["class"])


def compare(metrics: pd.DataFrame, beside: Beside, split: str = "test", difference: bool = True) -> pd.DataFrame:
    """Ours, the paper's and the difference (ours less the paper's) of each class, model and metric.

    Args:
        metrics: the rows of `catalog.METRICS`.
        beside: which published numbers.
        split: the part whose results are compared.
        difference: False leaves the differences blank, for numbers that were measured on something else.

    Returns:
        The columns `COMPARED`, a row for each that either has, first ours in the order of the metrics, then what only the paper
        has. Undefined and missing numbers are nan, a missing doubt is "". Means over different classes (`same_classes`) have no
        difference.

    Raises:
        ThoraxError: as in `published`; the metrics lack the part or the rule; or a model of `beside.models`.
    """
    chosen = metrics[(metrics["split"] == split) & metrics["threshold_rule"].isin((NO_THRESHOLD, beside.threshold_rule))]
    if chosen.empty:
        raise ThoraxError(f"The metrics have nothing for {split} by {beside.threshold_rule}: compute the metrics again.")
    for name in beside.models:
        if name not in set(chosen["model"]):
            raise ThoraxError(f"beside.models: the metrics have no model {name!r}: correct the name.")
    keys = ["model", "class", "metric"]
    ours = chosen[[*keys, "value", "low", "high"]].rename(columns={"value": "ours"})
    printed = published(beside)
    theirs = printed.rename(columns={"value": "published"})
    both = ours.merge(theirs, on=keys, how="outer", sort=False, validate="one_to_one")
    order = {key: place for place, key in enumerate([*ours[keys].itertuples(index=False, name=None)])}
    order |= {
        key: len(order) + place for place, key in enumerate(theirs[keys].itertuples(index=False, name=None)) if key not in order
    }
    both = both.iloc[np.argsort([order[key] for key in both[keys].itertuples(index=False, name=None)], kind="stable")]
    both["doubt"] = both["doubt"].fillna("")
    both["difference"] = both["ours"].astype(float) - both["published"].astype(float) if difference else np.nan
    whole = both.index[both["class"] == GLOBAL]
    apart = [not same_classes(chosen, printed, *both.loc[row, ["model", "metric"]]) for row in whole]
    both.loc[whole[apart], "difference"] = np.nan
    return both[list(COMPARED)].reset_index(drop=True)


PUBLISHED = resource("published/published_counts.csv")


REASONS = {
    "rows": "the authors counted seven rows more than the published metadata file has.",
    "chestxray8": "Table 1 gives the number of patients of ChestX-ray8, the smaller first release.",
    "lists": "the lists next to the metadata file are not NIH's own, which give the published numbers.",
    "chexpert_parts": "the published number includes the validation and test parts, which are other files; audited is train.",
    "chexpert_valid": "the 234 images of valid.csv are counted here as well; a split leaves them out, or tests on them.",
    "files": "the authors left out some unreadable or missing files (88 images of the 35 specific classes); from metadata alone "
    "all files count.",
    "test_column": "the column '# Samples' of Tables 4, 6 and 8 is mixed: its first three rows count all images, the others only "
    "those of the test fifth. So the published count stands beside our test part; it differs because the paper's split is up to 7% "
    "off a fifth. (Hence 'at least 200 X-rays' is a count in the test fifth, and the rule that gives these 35 classes is at least "
    "1,000 PA images in all.)",
    "mixed_column": "Figure 5b and the text take shares of that mixed column (34,327 and 200 of its sum, 72,388), in which three "
    "classes stand in full and 32 with a fifth of their images; ours are shares of all labels.",
    "two_more": "the rule gives 56 classes; 52 rows of Table 10 are legible in the scan, and which two of the other four (nodule, "
    "exclude, emphysema, azygos lobe) the paper has is not known. All four are kept: without any two of them at most 90,579 images are "
    "left, fewer than the paper's 90,687, and the shares of labels in its section 4.1 (normal 22.6%, the six largest 51.3%) follow from "
    "Table 10's counts with all four, and with no three of them.",
    "clean_labels": "the paper's classes are those of padchest-general, which follows its grouping; here labels are counted whatever "
    "blanks they are stored with, and a label with several parents counts for each of them.",
    "read_chronic_changes": "the scan shows the row twice, as 4212 and as 4512. It must be 4312: the rule gives that exactly, and 4512 "
    "is more than the 4,503 images that have the class whatever blanks its labels are stored with.",
    "read_gynecomastia": "the row is printed as emphysema. It must be gynecomastia's: that class has exactly 437 images, emphysema has "
    "414, and no other count of Table 10 exceeds ours.",
}


def published_counts(path: Path | str = PUBLISHED) -> pd.DataFrame:
    """The counts in papers: table (a label set's name, or "datasets"), row, counts (what is counted), published, reason, source."""
    frame = pd.read_csv(path, keep_default_na=False, dtype={"published": float})
    unknown = set(frame["reason"]) - set(REASONS) - {""}
    if unknown:
        raise ThoraxError(f"{path} gives the reason {sorted(unknown)[0]!r}, which is not explained: add it to REASONS.")
    return frame
