"""The fidelity audit: the papers' counts beside ours, from metadata alone.

The published counts stand in resources/published/published_counts.csv, one row each, with their source and, where it is known, the
reason why they cannot equal ours.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thorax.config import LabelSet
from thorax.errors import ThoraxError
from thorax.labels.label_sets import build
from thorax.labels.splits import ALL_IMAGES
from thorax.report import typeset
from thorax.report.published_numbers import REASONS, published_counts
from thorax.storage import store
from thorax.storage.schemas import SPLIT_NAMES, class_columns

DATASETS = "datasets"  # the table of whole archives in the file of published counts


CLASSES, IMAGES, STUDIES = "(classes)", "(images)", "(studies)"


VALUE_COLUMNS = ("row", "counts", "published", "ours", "difference", "all", *SPLIT_NAMES, "reason", "source")


ALWAYS_SAID = ("read_chronic_changes", "read_gynecomastia")  # of counts that were corrected, and so meet ours


NEAR = (3, 10)  # images: how near to ours a published count of a class is


def audit_label_set(
    name: str,
    labels: pd.DataFrame,
    split: pd.DataFrame,
    catalog: pd.DataFrame,
    published: pd.DataFrame,
    stripped: pd.Series | None = None,
) -> pd.DataFrame:
    """Our counts of one label set beside the published ones.

    Args:
        name: of the label set.
        labels: the columns of `catalog.labels_schema`.
        split: the columns of `catalog.SPLITS`; has every image of the label set.
        catalog: image_id, study_id, positive and uncertain of the data set.
        published: `published_counts`.
        stripped: `count_stripped`, of a label set that ignores padded labels.

    Returns:
        `VALUE_COLUMNS`: a row for each published count of this label set, and one for each class and total that no paper
        counts; `published` and `difference` are NaN there. all, train, val and test count our images. With `stripped` a column
        of that name has its counts.
    """
    parts = labels["image_id"].map(split.set_index("image_id")["split"])
    if parts.isna().any():
        raise ThoraxError(
            f"label set {name!r}: image {labels['image_id'][parts.isna()].iloc[0]!r} is in no part: remake the split."
        )
    classes = class_columns(labels)
    positive = labels[classes] == 1
    ours = {IMAGES: _by_part(np.ones(len(labels), bool), parts), CLASSES: {"classes": float(len(classes))}}
    ours |= {label: _by_part(positive[label].to_numpy(), parts) for label in classes}
    mentions = positive.sum()
    for label in classes:
        ours[label]["% of labels"] = 100 * mentions[label] / mentions.sum()
    studies = catalog[catalog["image_id"].isin(labels["image_id"])]
    ours[STUDIES] = {"studies": float(studies["study_id"].nunique())}
    for label, count in _studies(studies, "positive").items():
        ours.setdefault(label, {})["studies"] = count
    for label, count in _studies(studies, "uncertain").items():
        ours.setdefault(label, {})["uncertain studies"] = count

    theirs = published[published["table"] == name]
    rows = [_row(entry.row, entry.counts, entry.published, ours, entry.reason, entry.source) for entry in theirs.itertuples()]
    counted = set(theirs["row"])
    rows += [_row(label, "all", np.nan, ours, "", "") for label in (IMAGES, *classes) if label not in counted]
    values = pd.DataFrame(rows, columns=list(VALUE_COLUMNS))
    return values if stripped is None else values.assign(stripped=values["row"].map(stripped))


def count_stripped(settings: LabelSet, archive: str, catalog: pd.DataFrame, name: str) -> pd.Series | None:
    """The images of each class if labels that are stored with a surrounding blank counted as well, by class.

    Args:
        settings: of the label set.
        archive: a key of `datasets.ARCHIVES`.
        catalog: the columns of `catalog.CATALOG` that `labels.build` needs.
        name: of the label set.

    Returns:
        (classes,) images, or None where the label set counts these labels anyway.
    """
    if settings.padded_labels == "count":
        return None
    every = {"padded_labels": "count", "padded_kept": [], "min_images": 1, "min_patients": 1, "exclude": []}
    report = build(settings.model_copy(update=every), archive, catalog, None, name).report
    return report[~report["class"].str.startswith("(")].set_index("class")["images"]


def _by_part(positive: np.ndarray, parts: pd.Series) -> dict[str, float]:
    return {"all": float(positive.sum())} | {part: float((positive & (parts == part)).sum()) for part in SPLIT_NAMES}


def _studies(catalog: pd.DataFrame, column: str) -> dict[str, float]:
    exploded = catalog[["study_id", column]].explode(column).dropna()
    return exploded.groupby(column)["study_id"].nunique().astype(float).to_dict()


def _row(
    name: str, counts: str, published: float, ours: dict[str, dict[str, float]], reason: str, source: str
) -> tuple[object, ...]:
    """One row of `VALUE_COLUMNS`. A class that we do not have counts 0; a reason is given only where the numbers differ."""
    counted = ours.get(name, {})
    value = counted.get(counts, 0.0)
    difference = value - published
    same = abs(difference) < (0.05 if counts.startswith("%") else 0.5) and reason not in ALWAYS_SAID
    images = [counted.get(part, np.nan) for part in ("all", *SPLIT_NAMES)]
    return (name, counts, published, value, difference, *images, "" if same or np.isnan(difference) else reason, source)


def audit_datasets(catalogs: dict[str, pd.DataFrame], published: pd.DataFrame) -> pd.DataFrame:
    """Whole archives beside the published numbers: `VALUE_COLUMNS` without the parts.

    Args:
        catalogs: image_id, patient_id, view and official_split by data set.
        published: `published_counts`.
    """
    rows = []
    for entry in published[published["table"] == DATASETS].itertuples():
        if entry.row not in catalogs:
            continue
        catalog = catalogs[entry.row]
        value = {
            "images": len(catalog),
            "patients": catalog["patient_id"].nunique(),
            "PA images": (catalog["view"] == "PA").sum(),
            "train list": (catalog["official_split"] == "train").sum(),
            "test list": (catalog["official_split"] == "test").sum(),
        }[entry.counts]
        rows.append(
            _row(
                entry.row, entry.counts, entry.published, {entry.row: {entry.counts: float(value)}}, entry.reason, entry.source
            )
        )
    return pd.DataFrame(rows, columns=list(VALUE_COLUMNS)).drop(columns=["all", *SPLIT_NAMES])


def make_label_set_audit(settings: LabelSet, archive: str, catalog: Path, labels: Path, split: Path, out: Path) -> None:
    """Write {label_set}.* (HTML, Markdown, LaTeX, CSV) into a folder; the label set's name is that of its file."""
    columns = ["image_id", "patient_id", "study_id", "view", "positive", "negative", "uncertain"]
    images = store.read_table(catalog, columns)
    stripped = count_stripped(settings, archive, images, labels.stem)
    values = audit_label_set(
        labels.stem, store.read_table(labels), store.read_table(split), images, published_counts(), stripped
    )
    typeset.write(_label_set_table(labels.stem, values), values, out, labels.stem)


def make_overview(
    catalogs: dict[str, Path], audited: list[Path], qualities: dict[str, Path], absent: list[str], out: Path
) -> None:
    """Write datasets.* and label_sets.* (HTML, Markdown, LaTeX, CSV), one row per archive or split label set, into a folder.

    Args:
        catalogs: each data set's catalog.
        audited: the CSV file that `make_label_set_audit` wrote for each label set.
        qualities: each split's CSV file of counts and quotas.
        absent: data sets of the configuration without metadata here.
        out: the folder.
    """
    columns = ["image_id", "patient_id", "view", "official_split"]
    values = audit_datasets({name: store.read_table(path, columns) for name, path in catalogs.items()}, published_counts())
    typeset.write(_datasets_table(values, absent), values, out, DATASETS)
    counts = {path.stem: store.read_csv(path) for path in audited}
    table, values = _overview(counts, {name: store.read_csv(path) for name, path in qualities.items()})
    typeset.write(table, values, out, "label_sets")


def _overview(counts: dict[str, pd.DataFrame], qualities: dict[str, pd.DataFrame]) -> tuple[typeset.Table, pd.DataFrame]:
    records, notes = [], []
    for split, quality in qualities.items():
        for name, rows in quality.groupby("label_set", sort=False):
            audit = counts[str(name)]
            total = rows[rows["class"] == ALL_IMAGES].set_index("split")["images"]
            published = audit.dropna(subset=["published"]).set_index(["row", "counts"])["published"]
            missed = rows[rows["deviation"].abs() > 1 + 1e-6]
            records.append(
                {
                    "label set": name,
                    "split": split,
                    "classes published": published.get((CLASSES, "classes"), np.nan),
                    "classes": rows["class"].nunique() - 1,
                    "images published": published.get((IMAGES, "all"), np.nan),
                    "images": total.sum(),
                    **{f"{part} published": published.get((IMAGES, part), np.nan) for part in SPLIT_NAMES},
                    **{part: total[part] for part in SPLIT_NAMES},
                    "counts": len(rows),
                    "worst deviation": rows["deviation"].abs().max(),
                    "beyond one image": len(missed),
                }
            )
            notes += [
                f"{name} in {split}: {row[2]} has {row.images:,} images in {row.split} instead of {row.quota:,.1f}; its largest patient "
                f"has {row.largest_patient_share:.0%} of them."
                for row in missed.itertuples()
            ]
    values = pd.DataFrame(records)

    def beside(record: Any, name: str) -> tuple[typeset.Cell, ...]:
        return typeset.Cell(_number(record[f"{name} published"])), typeset.Cell(_number(record[name]))

    rows = tuple(
        (
            f"{record['label set']} ({record['split']})",
            (
                *(cell for name in ("classes", "images", *SPLIT_NAMES) for cell in beside(record, name)),
                typeset.Cell(f"{record['counts']:,}"),
                typeset.Cell(f"{record['worst deviation']:.2f}"),
                typeset.Cell(f"{record['beyond one image']:,}"),
            ),
        )
        for record in records
    )
    table = typeset.Table(
        title="Label sets and splits beside the published numbers",
        caption="Every label set of the configuration, in every split that serves it. 'paper' is blank where no paper says it. The last "
        "columns count how well the split meets its quotas: one count for each class and for all images, in train, val and test.",
        data="From metadata alone: no image was opened, so unreadable files still count.",
        groups=(
            *(typeset.Group(name, ("paper", "ours"), section="counts") for name in ("classes", "images", *SPLIT_NAMES)),
            typeset.Group("quotas", ("counts", "worst, images", "off by more than 1"), section="quotas"),
        ),
        name_heading="Label set (split)",
        rows=rows,
        notes=tuple(notes) or ("Every count of every split is within one image of its exact quota.",),
    )
    return table, values


def _datasets_table(values: pd.DataFrame, absent: list[str]) -> typeset.Table:
    rows = tuple(
        (
            row.row,
            (typeset.Cell(row.counts), *_compared(row), typeset.Cell(row.reason.replace("_", " ")), typeset.Cell(row.source)),
        )
        for row in values.itertuples()
    )
    return typeset.Table(
        title="Archives beside the published numbers",
        caption="What papers say an archive holds, and what its metadata file holds.",
        data="From metadata alone: no image was opened.",
        groups=tuple(typeset.Group(heading) for heading in ("of", "published", "ours", "difference", "reason", "source")),
        name_heading="Data set",
        rows=rows,
        notes=(*_notes(values), *(f"{name}: its metadata file is not here, so it was not audited." for name in absent)),
    )


def _label_set_table(name: str, values: pd.DataFrame) -> typeset.Table:
    padded = "stripped" in values
    rows = tuple(
        (
            row.row,
            (
                typeset.Cell(row.counts if not np.isnan(row.published) else ""),
                *_compared(row),
                typeset.Cell(row.reason.replace("_", " ")),
                *(typeset.Cell(_number(getattr(row, part))) for part in ("all", *SPLIT_NAMES)),
                *((typeset.Cell(_number(row.stripped)), typeset.Cell(_number(row.stripped - row.all))) if padded else ()),
            ),
        )
        for row in values.itertuples()
    )
    compared = values.dropna(subset=["published"])
    equal = int((compared["difference"].abs() < 0.5).sum())
    near = int((compared["difference"].abs() <= 0.02 * compared["published"]).sum()) - equal
    sources = "; ".join(dict.fromkeys(source for source in values["source"] if source)) or "no paper counts this label set"
    return typeset.Table(
        title=f"Published counts beside ours: {name}",
        caption=f"{equal} of the {len(compared)} published numbers are met exactly, {near} more within 2%. 'of' says what the published number counts, and "
        f"'ours' counts the same; the last columns are our images. Sources: {sources}.",
        data="From metadata alone: no image was opened, so unreadable files still count.",
        groups=(
            *(typeset.Group(heading, section="compared") for heading in ("of", "published", "ours", "difference", "reason")),
            typeset.Group("our images", ("all", *SPLIT_NAMES), section="ours"),
            *([typeset.Group("blanks stripped", ("all", "lost"), section="padded")] if padded else []),
        ),
        name_heading="Class",
        rows=rows,
        notes=(*(_padded_notes(values) if padded else ()), *_notes(values)),
    )


def _padded_notes(values: pd.DataFrame) -> tuple[str, ...]:
    """What a label set loses because labels that are stored with a surrounding blank do not count, and how near it is."""
    classes = values[(values["counts"] == "all") & values["stripped"].notna()]
    lost = classes.assign(lost=classes["stripped"] - classes["all"], share=1 - classes["all"] / classes["stripped"])
    total, every = lost["lost"].sum(), lost["stripped"].sum()
    worst = lost.nlargest(3, "lost")
    named = ", ".join(f"{row.row} {row.lost:,.0f} of {row.stripped:,.0f}" for row in worst.itertuples())
    notes = [
        "Blanks stripped: our images if labels that the archive stores with a blank before or after them counted as well. "
        f"Without them {total:,.0f} of {every:,.0f} labels of these classes are lost ({total / every:.1%}); most in {named}."
    ]
    published = classes.dropna(subset=["published"])
    if len(published):
        near = {
            of: [int(((published[of] - published["published"]).abs() <= images).sum()) for images in NEAR]
            for of in ("all", "stripped")
        }
        words = [
            f"{a} of the {len(published)} published counts of classes are within {NEAR[0]} images, {b} within {NEAR[1]}"
            for a, b in near.values()
        ]
        notes.append(f"{words[0]}. With blanks stripped, by the same climbing, {words[1]}.")
    return tuple(notes)


def _compared(row: Any) -> tuple[typeset.Cell, ...]:
    published, ours, difference = row.published, row.ours, row.difference
    percent = row.counts.startswith("%")
    if np.isnan(published):
        return (typeset.Cell(""), typeset.Cell(""), typeset.Cell(""))
    shown = f"{difference:+,.2f}" if percent else f"{difference:+,.0f}" if abs(difference) >= 0.5 else "0"
    return (typeset.Cell(_number(published, percent)), typeset.Cell(_number(ours, percent)), typeset.Cell(shown))


def _number(value: float, percent: bool = False) -> str:
    return "" if np.isnan(value) else f"{value:.2f}" if percent else f"{value:,.0f}"


def _notes(values: pd.DataFrame) -> tuple[str, ...]:
    return tuple(f"{reason.replace('_', ' ')}: {REASONS[reason]}" for reason in dict.fromkeys(values["reason"]) if reason)
