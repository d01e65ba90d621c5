"""The fidelity audit: the papers' counts next to ours, from metadata alone.

The published counts are in resources/published/published_counts.csv, one row each, with their source and, where it is known, the
reason why they cannot equal ours.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thorax.config import LabelSet
from thorax.labels.label_sets import build
from thorax.labels.splits import ALL_IMAGES
from thorax.report.cells import printed
from thorax.report.published_numbers import published_counts, reasons
from thorax.report.typeset import Cell, Group, Table, write
from thorax.storage import joins, store
from thorax.storage.schemas import SPLIT_NAMES, class_columns

DATASETS = "datasets"  # the table of whole archives in the file of published counts
CLASSES, IMAGES, STUDIES = "(classes)", "(images)", "(studies)"
VALUE_COLUMNS = ("row", "counts", "published", "ours", "difference", "all", *SPLIT_NAMES, "reason", "source")
ALWAYS_SAID = ("read_chronic_changes", "read_gynecomastia")  # reasons of counts that were corrected, and so equal ours
NEAR = (3, 10)  # images: distances between a published count of a class and ours
_FROM_METADATA = "From metadata alone: no image was opened, so unreadable files still count."


def audit_label_set(
    name: str, labels: pd.DataFrame, catalog: pd.DataFrame, published: pd.DataFrame, stripped: pd.Series | None = None
) -> pd.DataFrame:
    """Count one label set as the papers do, from what `joins.read_labels`, `published_counts` and `count_stripped` return.

    Returns `VALUE_COLUMNS`: a row for each published count of this label set, and one for each class and total that no paper
    counts; `published` and `difference` are NaN there. all, train, val and test count our images, stripped is as given.
    """
    classes = class_columns(labels)
    positive = (labels[classes] == 1).assign(**{IMAGES: True})
    by_part = positive.groupby(labels["split"]).sum().reindex(list(SPLIT_NAMES), fill_value=0).astype(float)
    mentions = positive.sum().astype(float)
    ours = {label: {"all": mentions[label], **by_part[label]} for label in positive}
    for label in classes:
        ours[label]["% of labels"] = 100 * mentions[label] / mentions[classes].sum()
    ours[CLASSES] = {"classes": float(len(classes))}
    studies = catalog[catalog["image_id"].isin(labels["image_id"])]
    ours[STUDIES] = {"studies": float(studies["study_id"].nunique())}
    for column, counts in (("positive", "studies"), ("uncertain", "uncertain studies")):
        mentioned = studies[["study_id", column]].explode(column).dropna()
        for label, count in mentioned.groupby(column)["study_id"].nunique().items():
            ours.setdefault(str(label), {})[counts] = float(count)

    theirs = published[published["table"] == name]
    rows = [_row(entry, ours) for entry in theirs.to_dict("records")]
    rows += [_row({"row": label, "counts": "all"}, ours) for label in (IMAGES, *classes) if label not in set(theirs["row"])]
    values = pd.DataFrame(rows, columns=list(VALUE_COLUMNS))
    return values if stripped is None else values.assign(stripped=values["row"].map(stripped))


def count_stripped(settings: LabelSet, archive: str, catalog: pd.DataFrame, name: str) -> pd.Series | None:
    """Count the images of each class if labels stored with a surrounding blank counted too; None where they do anyway."""
    if settings.padded_labels == "count":
        return None
    every = {"padded_labels": "count", "padded_kept": [], "min_images": 1, "min_patients": 1, "exclude": []}
    report = build(settings.model_copy(update=every), archive, catalog, None, name).report
    return report[~report["class"].str.startswith("(")].set_index("class")["images"]


def _row(entry: dict, ours: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Return one row of `VALUE_COLUMNS`. A class that we do not have counts 0; a reason is given only where the numbers differ."""
    counted, counts, published = ours.get(entry["row"], {}), entry["counts"], entry.get("published", np.nan)
    value, reason = counted.get(counts, 0.0), entry.get("reason", "")
    difference = value - published
    same = abs(difference) < (0.05 if counts.startswith("%") else 0.5) and reason not in ALWAYS_SAID
    parts = {part: counted.get(part, np.nan) for part in ("all", *SPLIT_NAMES)}
    said = {"reason": "" if same or np.isnan(difference) else reason, "source": entry.get("source", "")}
    return {
        "row": entry["row"], "counts": counts, "published": published, "ours": value, "difference": difference, **parts, **said
    }  # fmt: skip


def audit_datasets(catalogs: dict[str, pd.DataFrame], published: pd.DataFrame) -> pd.DataFrame:
    """Count whole archives as the papers do, from their catalogs and `published_counts`: `VALUE_COLUMNS` without the parts."""
    ours = {
        name: {
            "images": float(len(catalog)),
            "patients": float(catalog["patient_id"].nunique()),
            "PA images": float((catalog["view"] == "PA").sum()),
            "train list": float((catalog["official_split"] == "train").sum()),
            "test list": float((catalog["official_split"] == "test").sum()),
        }
        for name, catalog in catalogs.items()
    }
    theirs = published[(published["table"] == DATASETS) & published["row"].isin(list(catalogs))]
    rows = [_row(entry, ours) for entry in theirs.to_dict("records")]
    return pd.DataFrame(rows, columns=list(VALUE_COLUMNS)).drop(columns=["all", *SPLIT_NAMES])


def make_label_set_audit(settings: LabelSet, archive: str, catalog: Path, labels: Path, split: Path, out: Path) -> None:
    """Write {label_set}.html, .md, .tex and .csv into a folder; the label set's name is that of its file."""
    name, columns = labels.stem, ["image_id", "patient_id", "study_id", "view", "positive", "negative", "uncertain"]
    images = store.read_table(catalog, columns)
    stripped = count_stripped(settings, archive, images, name)
    values = audit_label_set(name, joins.read_labels(labels, split), images, published_counts(), stripped)
    write(_label_set_table(name, values), values, out, name)


def make_overview(
    catalogs: dict[str, Path], audited: list[Path], qualities: dict[str, Path], absent: list[str], out: Path
) -> None:
    """Write datasets and label_sets as .html, .md, .tex and .csv into a folder: a row per archive, or label set in a split."""
    columns = ["image_id", "patient_id", "view", "official_split"]
    values = audit_datasets({name: store.read_table(path, columns) for name, path in catalogs.items()}, published_counts())
    write(_datasets_table(values, absent), values, out, DATASETS)
    counts = {path.stem: store.read_csv(path) for path in audited}
    write(*_overview(counts, {name: store.read_csv(path) for name, path in qualities.items()}), out, "label_sets")


def _overview(counts: dict[str, pd.DataFrame], qualities: dict[str, pd.DataFrame]) -> tuple[Table, pd.DataFrame]:
    records, rows, notes = [], [], []
    for split, quality in qualities.items():
        for name, of_label_set in quality.groupby("label_set", sort=False):
            total = of_label_set[of_label_set["class"] == ALL_IMAGES].set_index("split")["images"]
            published = counts[str(name)].dropna(subset=["published"]).set_index(["row", "counts"])["published"]
            missed = of_label_set[of_label_set["deviation"].abs() > 1 + 1e-6]
            record = {
                "label set": name,
                "split": split,
                "classes published": published.get((CLASSES, "classes"), np.nan),
                "classes": of_label_set["class"].nunique() - 1,
                "images published": published.get((IMAGES, "all"), np.nan),
                "images": total.sum(),
                **{f"{part} published": published.get((IMAGES, part), np.nan) for part in SPLIT_NAMES},
                **{part: total[part] for part in SPLIT_NAMES},
            }
            worst = of_label_set["deviation"].abs().max()
            records.append(record | {"counts": len(of_label_set), "worst deviation": worst, "beyond one image": len(missed)})
            compared = [record[key] for key in ("classes", "images", *SPLIT_NAMES) for key in (f"{key} published", key)]
            quotas = (_count(len(of_label_set)), Cell(printed(worst, 2)), _count(len(missed)))
            rows.append((f"{name} ({split})", (*map(_count, compared), *quotas)))
            notes += [
                f"{name} in {split}: {row[2]} has {row.images:,} images in {row.split} instead of {row.quota:,.1f}; its largest patient "
                f"has {row.largest_patient_share:.0%} of them."
                for row in missed.itertuples()
            ]
    table = Table(
        title="Label sets and splits next to the published numbers",
        caption="Every label set of the configuration, in every split that serves it. 'paper' is blank where no paper says it. The last "
        "columns count how well the split meets its quotas: one count for each class and for all images, in train, val and test.",
        data=_FROM_METADATA,
        groups=(
            *(Group(name, ("paper", "ours"), section="counts") for name in ("classes", "images", *SPLIT_NAMES)),
            Group("quotas", ("counts", "worst, images", "off by more than 1"), section="quotas"),
        ),
        name_heading="Label set (split)",
        rows=tuple(rows),
        notes=tuple(notes) or ("Every count of every split is within one image of its exact quota.",),
    )
    return table, pd.DataFrame(records)


def _datasets_table(values: pd.DataFrame, absent: list[str]) -> Table:
    rows = tuple((row.row, (Cell(row.counts), *_compared(row), Cell(row.source))) for row in values.itertuples())
    return Table(
        title="Archives next to the published numbers",
        caption="What papers say an archive holds, and what its metadata file holds.",
        data="From metadata alone: no image was opened.",
        groups=tuple(map(Group, ("of", "published", "ours", "difference", "reason", "source"))),
        name_heading="Data set",
        rows=rows,
        notes=(*_explained(values), *(f"{name}: its metadata file is not here, so it was not audited." for name in absent)),
    )


def _label_set_table(name: str, values: pd.DataFrame) -> Table:
    padded = "stripped" in values
    rows = []
    for row in values.itertuples():
        cells = [Cell("" if np.isnan(row.published) else row.counts), *_compared(row)]
        cells += [_count(getattr(row, part)) for part in ("all", *SPLIT_NAMES)]
        cells += [_count(row.stripped), _count(row.stripped - row.all)] if padded else []
        rows.append((row.row, tuple(cells)))
    compared = values.dropna(subset=["published"])
    equal = int((compared["difference"].abs() < 0.5).sum())
    near = int((compared["difference"].abs() <= 0.02 * compared["published"]).sum()) - equal
    sources = "; ".join(dict.fromkeys(source for source in values["source"] if source)) or "no paper counts this label set"
    return Table(
        title=f"Published counts next to ours: {name}",
        caption=f"{equal} of the {len(compared)} published numbers are met exactly, {near} more within 2%. 'of' says what the published number counts, and "
        f"'ours' counts the same; the last columns are our images. Sources: {sources}.",
        data=_FROM_METADATA,
        groups=(
            *(Group(heading, section="compared") for heading in ("of", "published", "ours", "difference", "reason")),
            Group("our images", ("all", *SPLIT_NAMES), section="ours"),
            *([Group("blanks stripped", ("all", "lost"), section="padded")] if padded else []),
        ),
        name_heading="Class",
        rows=tuple(rows),
        notes=(*(_padded_notes(values) if padded else ()), *_explained(values)),
    )


def _padded_notes(values: pd.DataFrame) -> list[str]:
    """Say what a label set loses because labels that are stored with a surrounding blank do not count, and how near it is."""
    classes = values[(values["counts"] == "all") & values["stripped"].notna()]
    lost = classes.assign(lost=classes["stripped"] - classes["all"])
    total, every = lost["lost"].sum(), lost["stripped"].sum()
    named = ", ".join(f"{row.row} {row.lost:,.0f} of {row.stripped:,.0f}" for row in lost.nlargest(3, "lost").itertuples())
    notes = [
        "Blanks stripped: our images if labels that the archive stores with a blank before or after them counted as well. "
        f"Without them {total:,.0f} of {every:,.0f} labels of these classes are lost ({total / every:.1%}); most in {named}."
    ]
    published = classes.dropna(subset=["published"])
    if len(published):
        near, stripped = (
            [int(((published[of] - published["published"]).abs() <= images).sum()) for images in NEAR]
            for of in ("all", "stripped")
        )
        words = f"{{}} of the {len(published)} published counts of classes are within {NEAR[0]} images, {{}} within {NEAR[1]}"
        notes.append(f"{words.format(*near)}. With blanks stripped, by the same climbing, {words.format(*stripped)}.")
    return notes


def _compared(row: Any) -> list[Cell]:
    """Return the cells of the published number, ours, their difference and the reason for it; blank without a published number."""
    if np.isnan(row.published):
        return [Cell("")] * 4
    decimals = 2 if row.counts.startswith("%") else 0
    differs = decimals or abs(row.difference) >= 0.5
    difference = printed(row.difference, decimals, sign=True) if differs else "0"
    numbers = [printed(row.published, decimals), printed(row.ours, decimals), difference]
    return [*map(Cell, numbers), Cell(row.reason.replace("_", " "))]


def _count(value: float) -> Cell:
    return Cell(printed(value, 0, undefined=""))


def _explained(values: pd.DataFrame) -> list[str]:
    known = reasons()
    return [f"{reason.replace('_', ' ')}: {known[reason]}" for reason in dict.fromkeys(values["reason"]) if reason]
