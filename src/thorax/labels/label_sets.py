"""Label sets: the classes of a problem and the images that have them, from a catalog's own labels or their general terms."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from thorax.config import LabelSet
from thorax.errors import ThoraxError, did_you_mean, refuse_unknown
from thorax.labels.term_tree import TermTree
from thorax.labels.two_views import Partners, first_of_studies
from thorax.storage import schemas, store
from thorax.storage.joins import rows_of

REPORT_COLUMNS = ("class", "images", "patients", "uncertain", "status", "in_tree")
CONSIDERED = "(images considered)"  # rows of the report that are not classes
WITHOUT_LABELS = "(without any label)"
NO_CLASS_LEFT = "(without a positive class)"
OUTSIDE = "(without a general class)"
LABEL_SET = "(label set)"
KEPT, NEGATIVE = "kept", "kept as negative"
WHOLE = "nothing else inside"  # status of a class that all, or nearly all, images of its general classes have


@dataclass(frozen=True)
class LabelTable:
    """A label set and how it came about.

    The report has one row per class of the data: its positive images and their patients, the images where it is ignored as uncertain,
    its status and whether the archive's term tree has it (null without a tree). Then come the rows in parentheses, which count the
    images that were considered, dropped and kept.
    """

    frame: pd.DataFrame  # image_id, patient_id and one int8 column per class (1, 0, -1 = ignored), sorted by image_id
    classes: tuple[str, ...]  # by number of images, the largest first; ties by name
    report: pd.DataFrame  # the columns `REPORT_COLUMNS`
    unknown: tuple[str, ...]  # labels of the data that are not in the tree; each becomes a class


def build(
    settings: LabelSet,
    archive: str,
    catalog: pd.DataFrame,
    ingested: pd.DataFrame | None = None,
    name: str = "label_set",
    second: Partners | None = None,
) -> LabelTable:
    """Make the label set of a catalog.

    An image counts if its view is one of `settings.views` and, with `ingested`, if it is readable and not stored with one of
    `settings.drop_channels`. Images without a positive class are dropped (Liz et al. 2022, section 3.1) or kept as all-negative
    rows (`without_class`). A label that is uncertain and not also stated as present is ignored (-1), negative or positive, as
    `settings.uncertain` says. A general class is positive where one of its labels is, else uncertain where one of them is, and else
    negative. With `second`, which says where to look for the second views of `settings.second`, only the first image (by identifier)
    of each study counts, and only of studies that have a second view.

    The term tree of the archive, if it has one, gives the general terms. The catalog (`schemas.CATALOG`) needs `padded` only where
    `settings.padded_labels` is ignore; `ingested` has the columns of `schemas.INGESTED`; `name` is the label set's, for errors.
    """
    if (settings.second is None) != (second is None):
        advice = "give --second-views exactly where it names a data set"
        raise ThoraxError(f"label_sets.{name}.second is {settings.second or 'null'}: {advice}.")
    tree, climbed = TermTree.find(archive), None
    if settings.grouping == "general":
        climbed = TermTree.of_archive(archive, f"label_sets.{name}.grouping", "write specific").climbed(settings.two_parents)
    stated = sum(catalog[column].map(len) for column in ("positive", "negative", "uncertain"))
    catalog = catalog.assign(labelled=stated > 0)  # also by labels that do not count
    if settings.padded_labels == "ignore":
        catalog = without_padded(catalog, settings, name)
    groups = _groups(settings, catalog, climbed, name)
    images = _countable(settings, catalog, ingested, second, name)
    matrix = _matrix(images, groups, {"ignore": schemas.IGNORED, "zeros": 0, "ones": 1}[settings.uncertain])
    report = _count(matrix, images["patient_id"])
    reasons = {
        "excluded": report["class"].isin(settings.exclude),
        "too few images": report["images"] < settings.min_images,
        "too few patients": report["patients"] < settings.min_patients,
    }
    report["status"] = np.select(list(reasons.values()), list(reasons), default=KEPT)
    report["in_tree"] = None if tree is None else [term in tree for term in report["class"]]
    classes = report.loc[report["status"] == KEPT, "class"].tolist()
    needed = 2 if settings.without_class == "drop" else 1  # a class that all images have is not a problem to solve
    if len(classes) < needed:
        advice = _how_to_keep_more(report, settings)
        raise ThoraxError(f"label_sets.{name} keeps {len(classes)} of the {needed} classes that it needs at least: {advice}.")
    matrix, patients, labelled = matrix[classes], images["patient_id"], images["labelled"].to_numpy()
    with_class = (matrix == 1).any(axis=1).to_numpy()
    keep = {"drop": with_class, "keep_labelled": with_class | labelled, "keep": with_class | True}[settings.without_class]
    frame = pd.concat([images[["image_id", "patient_id"]], matrix], axis=1)[keep]
    report = _with_totals(
        report,
        (CONSIDERED, patients, ""),
        (WITHOUT_LABELS, patients[~labelled], NEGATIVE if settings.without_class == "keep" else "dropped"),
        (NO_CLASS_LEFT, patients[labelled & ~with_class], "dropped" if settings.without_class == "drop" else NEGATIVE),
        (LABEL_SET, patients[keep], KEPT),
    )
    unknown = () if tree is None else tuple(label for label in _mentioned(images) if label not in tree)
    return LabelTable(frame.reset_index(drop=True), tuple(classes), report, unknown)


def build_inside(
    settings: LabelSet,
    archive: str,
    catalog: pd.DataFrame,
    general: pd.DataFrame,
    ingested: pd.DataFrame | None = None,
    name: str = "label_set",
) -> LabelTable:
    """Make the label set of specific classes inside their general classes, for P(class | one of its general classes).

    The images are those of the `general` label set (`schemas.labels_schema`), which `settings.inside` names. A class is ignored (-1)
    where none of its general classes is positive. If all these images have the class, or all but those of fewer than `min_patients`
    patients, there is nothing to tell apart: it is left out with the status `WHOLE`. Other arguments as in `build`.
    """
    tree = TermTree.of_archive(archive, f"label_sets.{name}.inside", "remove it").climbed(settings.two_parents)
    known = schemas.class_columns(general)
    table = build(settings.model_copy(update={"without_class": "keep"}), archive, catalog, ingested, name)
    frame = general[["image_id", "patient_id"]].merge(table.frame.drop(columns="patient_id"), on="image_id", how="left")
    report = table.report[~table.report["class"].str.startswith("(")].copy()
    for specific in table.classes:
        parents = tree.general_among(specific, known)
        if not parents:
            problem = f"{settings.inside!r} has no general class of {specific!r} ({', '.join(tree.general(specific))})"
            raise ThoraxError(f"label_sets.{name}: {problem}: lower its minimum counts, or exclude the class here.")
        inside = (general[parents] == 1).any(axis=1).to_numpy()
        if frame[specific].isna().any() or ((frame[specific] == 1).to_numpy() & ~inside).any():
            problem = f"the labels of {settings.inside!r} were made from another catalog"
            raise ThoraxError(f"label_sets.{name}: {problem}: remake them, then these.")
        without = frame["patient_id"][inside & (frame[specific] == 0).to_numpy()].nunique()
        if without < settings.min_patients:
            frame = frame.drop(columns=specific)
            report.loc[report["class"] == specific, "status"] = WHOLE
        else:
            frame[specific] = frame[specific].where(inside, schemas.IGNORED).astype(np.int8)
    classes = schemas.class_columns(frame)
    if not classes:
        problem = "no class leaves anything to tell apart inside its general classes"
        raise ThoraxError(f"label_sets.{name}: {problem}: lower min_images or min_patients.")
    patients = table.frame["patient_id"]
    outside = patients[~table.frame["image_id"].isin(frame["image_id"])]
    totals = (CONSIDERED, patients, ""), (OUTSIDE, outside, "dropped"), (LABEL_SET, frame["patient_id"], KEPT)
    report = _with_totals(report, *totals)
    return LabelTable(frame, tuple(classes), report, table.unknown)


def refuse_unknown_classes(named: Iterable[tuple[str, str]], report: pd.DataFrame, name: str) -> None:
    """Refuse settings, as (key, class), that name a class that the label set `name` does not keep, as its `report` says."""
    status = dict(zip(report["class"], report["status"], strict=True))
    kept = [label for label, text in status.items() if text == KEPT and label != LABEL_SET]
    for key, wanted in named:
        why = f" ({status[wanted]})" if wanted in status else ""
        refuse_unknown(key, wanted, kept, f"a class of label set {name!r}", why)


def make_label_set(
    settings: LabelSet,
    archive: str,
    catalog: Path,
    ingested: Path | None,
    out: Path,
    report: Path,
    second_views: Sequence[str] = (),
    second_ingested: Path | None = None,
    general: Path | None = None,
    named: Iterable[tuple[str, str]] = (),
) -> None:
    """Write a label set (`schemas.labels_schema`) and its report (CSV with `REPORT_COLUMNS`) from the tables on disk.

    Without `ingested` and `second_ingested`, images count from metadata alone. The name of `out` is the label set's, for errors.
    """
    name = Path(out).stem
    if (settings.inside is None) != (general is None):
        raise ThoraxError(f"label_sets.{name}: inside and the labels of the general label set (--general) go together.")
    columns = ["image_id", "patient_id", "view", "positive", "negative", "uncertain"]
    columns += ["study_id"] if second_views else []
    columns += ["padded"] if settings.padded_labels == "ignore" else []
    known = None if ingested is None else store.read_table(ingested, ["image_id", "ok", "channels"])
    frame = store.read_table(catalog, columns)
    readable = None if second_ingested is None else store.read_table(second_ingested, ["image_id", "ok"])
    second = Partners(second_views, readable) if second_views else None
    if general is None:
        table = build(settings, archive, frame, known, name, second)
    else:
        table = build_inside(settings, archive, frame, store.read_table(general), known, name)
    refuse_unknown_classes(named, table.report, name)
    if table.unknown:
        print(f"In the data but not in the term tree, so each became a class: {', '.join(table.unknown)}.")
    with store.atomic(out) as new_labels, store.atomic(report) as new_report:  # both or neither
        store.write_table(table.frame, new_labels, schemas.labels_schema(list(table.classes)))
        store.write_text(table.report.to_csv(index=False, lineterminator="\n"), new_report)


def without_padded(catalog: pd.DataFrame, settings: LabelSet, name: str) -> pd.DataFrame:
    """The catalog without the positive labels that are stored only with a surrounding blank."""
    if catalog["padded"].isna().all():
        problem = f"data set {settings.dataset!r} does not say which labels are stored with a blank"
        raise ThoraxError(f"label_sets.{name}.padded_labels: {problem}: remove padded_labels, which is for PadChest.")
    kept = set(settings.padded_kept)
    lists = [
        [label for label in positive if label in kept or label not in set(padded)] if len(padded) else list(positive)
        for positive, padded in zip(catalog["positive"], catalog["padded"], strict=True)
    ]
    return catalog.assign(positive=pd.Series(lists, index=catalog.index, dtype=object))


def _with_totals(report: pd.DataFrame, *totals: tuple[str, pd.Series, str]) -> pd.DataFrame:
    """The report with a row for each total: its name, the patients of its images, and its status."""
    rows = [(name, len(patients), patients.nunique(), None, status, None) for name, patients, status in totals]
    report = pd.concat([report, pd.DataFrame(rows, columns=list(REPORT_COLUMNS), dtype=object)], ignore_index=True)
    return report.astype({"images": "int64", "patients": "int64", "uncertain": "Int64"})


def _mentioned(images: pd.DataFrame) -> list[str]:
    """All labels of the images, sorted."""
    return sorted({*chain.from_iterable(images["positive"]), *chain.from_iterable(images["uncertain"])})


def _groups(settings: LabelSet, catalog: pd.DataFrame, tree: TermTree | None, name: str) -> dict[str, tuple[str, ...]]:
    """The classes that each label of the data belongs to; among them must be those that are excluded."""
    groups = {label: (label,) if tree is None else tree.general(label) for label in _mentioned(catalog)}
    classes = set(chain.from_iterable(groups.values()))
    for excluded in settings.exclude:
        if excluded not in classes:
            problem = f"{excluded!r} is not a {settings.grouping} class of data set {settings.dataset!r}"
            advice = f"{did_you_mean(excluded, classes)}: correct its name or remove it"
            raise ThoraxError(f"label_sets.{name}.exclude: {problem}{advice}.")
    return groups


def _countable(
    settings: LabelSet, catalog: pd.DataFrame, ingested: pd.DataFrame | None, second: Partners | None, name: str
) -> pd.DataFrame:
    """The images that count, one of each study where second views are wanted, sorted by image_id."""
    images = catalog[catalog["view"].isin(settings.views)]
    if images.empty:
        found = ", ".join(sorted(catalog["view"].dropna().unique())) or "none"
        problem = f"no image of data set {settings.dataset!r} has one of the views {', '.join(settings.views)}"
        raise ThoraxError(f"label_sets.{name}.views: {problem}; choose from those it has ({found}).")
    if ingested is not None:
        sources = f"the ingested table of {settings.dataset!r}", f"its catalog, for label_sets.{name}"
        facts = rows_of(ingested, images["image_id"], *sources)
        images = images[facts["ok"].astype(bool) & ~facts["channels"].isin(settings.drop_channels)]
        if images.empty:
            problem = f"no image of data set {settings.dataset!r} in the views {', '.join(settings.views)} is both readable"
            advice = "look up the reasons in its table of ingested images"
            raise ThoraxError(f"label_sets.{name}: {problem} and allowed by drop_channels; {advice}.")
    if second is not None:
        images = first_of_studies(images[second.beside(images, catalog).notna()])
        if images.empty:
            problem = f"no study has both a readable image of its views and one of {', '.join(second.views)}"
            raise ThoraxError(f"label_sets.{name}.second: {problem}: choose other views.")
    return images.sort_values("image_id", ignore_index=True)


def _matrix(images: pd.DataFrame, groups: dict[str, tuple[str, ...]], uncertain: int) -> pd.DataFrame:
    """(images, all classes) int8: 1 where a label of the class is positive, else `uncertain` where one is uncertain, else 0."""
    classes = sorted(set(chain.from_iterable(groups.values())))
    matrix = np.zeros((len(images), len(classes)), np.int8)
    for column, value in (("uncertain", uncertain), ("positive", 1)):
        mentions = images[column].explode().dropna().map(groups).explode()
        matrix[mentions.index, pd.Index(classes).get_indexer(mentions)] = value
    return pd.DataFrame(matrix, columns=classes)


def _count(matrix: pd.DataFrame, patients: pd.Series) -> pd.DataFrame:
    """The first columns of the report, of the classes that an image has, the most frequent first."""
    counts = {
        "class": matrix.columns.astype(object),
        "images": (matrix == 1).sum().to_numpy(),
        "patients": [patients[matrix[name] == 1].nunique() for name in matrix],
        "uncertain": (matrix == schemas.IGNORED).sum().to_numpy(),
    }
    report = pd.DataFrame(counts).query("images + uncertain > 0")
    return report.sort_values(["images", "class"], ascending=[False, True], ignore_index=True)


def _how_to_keep_more(report: pd.DataFrame, settings: LabelSet) -> str:
    rarer_classes = report[report["status"].str.startswith("too few")]
    if rarer_classes.empty:
        return "the images counted have no more classes; shorten exclude or choose other views"
    rarer = rarer_classes.iloc[0]
    key = "min_images" if rarer["status"] == "too few images" else "min_patients"
    found = f"the next, {rarer['class']!r}, has {rarer['images']} images of {rarer['patients']} patients"
    return f"{found}; lower {key} ({getattr(settings, key)})"
