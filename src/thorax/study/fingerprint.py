"""The page that shows what was found in a folder and planned for it. It has counts only: no identifier, no date, no name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup

from thorax.images import duplicates
from thorax.report import typeset
from thorax.report.cells import UNDEFINED, printed
from thorax.report.tables.screening import REASONS
from thorax.report.typeset import Cell, Group, Table
from thorax.study.columns import PERSONAL, Recognised
from thorax.study.estimate import Estimate
from thorax.study.plan import Finding, Plan
from thorax.study.records import LEFT_OUT, UNKNOWN_VIEW, Records

_MOST = 20  # findings of the table of co-occurrence


@dataclass(frozen=True)
class Fingerprint:
    """What was found: one row of `schemas.SCREENED` for each file, the records, and the columns of the table."""

    screened: pd.DataFrame
    bits: Mapping[str, int]  # in use of a pixel, by path, where a DICOM header says so
    records: Records
    roles: Recognised | None
    table_form: str  # how the table is written; empty without one
    pseudonyms: bool
    private_paths: int  # paths that name patients


def page(found: Fingerprint, plan: Plan, estimate: Estimate | None) -> str:
    """The page as HTML that needs no other file."""
    images = found.records.images
    first = [
        f"{len(images):,} images of {images['patient'].nunique():,} patients can be used.",
        "This page has counts only, so it names nobody.",
    ]
    sections = [
        _overview(found),
        *([_columns(found)] if found.roles else []),
        _findings(found.records, plan),
        _cooccurrence(found.records, plan),
        _pixels(found),
        _missing(found),
        _copies(found),
        _privacy(found),
        *([_planned(plan, estimate)] if plan.learnt else []),
    ]
    return typeset.page("fingerprint.html", "What was found, and what is planned", first=first, sections=sections)


Section = tuple[str, Sequence[str], Sequence[Markup]]


def _table(title: str, name: str, columns: Sequence[tuple[str, bool]], rows: Sequence[tuple[str, Sequence[str]]]) -> Markup:
    """A table as HTML; a column is its heading and whether it holds words."""
    groups = tuple(Group(heading, words=words) for heading, words in columns)
    cells = tuple((row, tuple(map(Cell, texts))) for row, texts in rows)
    return typeset.content(typeset.html(Table(title, "", "", groups, name, cells)))


def _counts(title: str, name: str, counts: pd.Series) -> Markup:
    return _table(title, name, [("images", False)], [(str(value), [f"{count:,}"]) for value, count in counts.items()])


def _overview(found: Fingerprint) -> Section:
    images = found.records.images
    studies = images.loc[images["study"] != "", ["patient", "study"]].drop_duplicates()
    rows = [("files that look like images", f"{len(found.screened):,}")]
    rows += [(f"left out: {LEFT_OUT[key]}", f"{count:,}") for key, count in found.records.left_out.items() if count]
    rows += [
        ("images", f"{len(images):,}"),
        ("images with labels", f"{int(images['labelled'].sum()):,}"),
        ("patients", f"{images['patient'].nunique():,}"),
        ("studies", f"{len(studies):,}" if len(studies) else "not known"),
    ]
    if found.records.idle_rows:
        rows.append(("rows of the table that name no image", f"{found.records.idle_rows:,}"))
    per_patient = images.groupby("patient").size().value_counts().sort_index()
    tables = [
        _table("Images, patients and studies", "what", [("number", False)], [(name, [count]) for name, count in rows]),
        _counts("Views", "view", images["view"].value_counts()),
        _table(
            "Images of one patient", "images", [("patients", False)],
            [(f"{count:,}", [f"{patients:,}"]) for count, patients in per_patient.items()],
        ),
    ]  # fmt: skip
    return "Images, patients and studies", [], tables


def _columns(found: Fingerprint) -> Section:
    assert found.roles is not None
    rows = []
    for column in found.roles.columns:
        role = {"finding": "one finding", "findings": "list of findings", "other": "not used"}.get(column.role, column.role)
        rows.append((column.name, [f"dropped ({role})" if column.role in PERSONAL else role, f"it {column.reason}"]))
    told = [
        f"The table is a {found.table_form}." if found.table_form.startswith("text") else f"The table is an {found.table_form}."
    ]
    told += ["If a column was misunderstood, name it with an option; thorax init --help lists them."]
    return "Columns of the table", told, [_table("Columns of the table", "column", [("holds", True), ("because", True)], rows)]


def _findings(records: Records, plan: Plan) -> Section:
    told = [f"Counted: {plan.images:,} labelled images of {plan.patients:,} patients with the views {', '.join(plan.views)}."]
    if not plan.findings:
        return "Findings", ["No table says what was found on the images."], []
    if any(finding.unasked for finding in plan.findings):
        told.append(
            "Not asked: the cell is blank in a column where other cells say no. Networks neither learn nor are tested there."
        )
    told.append(
        "The margin is half of the 95% interval that a network with an AUC of 0.8 would get from the patients of the test part "
        "(Hanley and McNeil 1982)."
    )
    if plan.left_out:
        told.append("What cannot be learnt from so few patients is left out, with the reason.")
    columns = [
        (name, False) for name in ("images", "patients", "patients without", "uncertain", "not asked", "margin of the AUC")
    ]
    rows = [(finding.name, _finding_cells(finding)) for finding in sorted(plan.findings, key=lambda one: -one.patients)]
    return "Findings", told, [_table("Findings", "finding", [*columns, ("planned", True)], rows)]


def _finding_cells(finding: Finding) -> list[str]:
    counts = (finding.images, finding.patients, finding.without, finding.uncertain, finding.unasked)
    planned = f"left out: {finding.problem}" if finding.problem else "class"
    margin = f"± {printed(finding.margin, 2)}" if np.isfinite(finding.margin) else UNDEFINED
    return [*(f"{count:,}" for count in counts), margin, planned]


def _cooccurrence(records: Records, plan: Plan) -> Section:
    names = [finding.name for finding in sorted(plan.findings, key=lambda one: -one.images) if finding.images][:_MOST]
    has = {name: records.images["positive"].map(lambda labels, name=name: name in labels).to_numpy(bool) for name in names}
    rows = [(name, [f"{int(np.sum(has[name] & has[other])):,}" for other in names]) for name in names]
    told = [
        f"Images with both findings; the {_MOST} most frequent." if len(plan.findings) > _MOST else "Images with both findings."
    ]
    if len(names) < 2:
        return "Label co-occurrence", ["There are fewer than two findings."], []
    return "Label co-occurrence", told, [_table("Label co-occurrence", "finding", [(name, False) for name in names], rows)]


def _pixels(found: Fingerprint) -> Section:
    usable = found.screened[found.screened["ok"]]
    sides = usable[["rows", "columns"]].astype(int)
    steps = [("smallest", 0.0), ("median", 0.5), ("largest", 1.0)]
    rows = [(name, [f"{sides[side].quantile(share):,.0f}" for side in sides]) for name, share in steps]
    tables = [_table("Size in pixels", "images", [("rows", False), ("columns", False)], rows)]
    bits = usable["image_id"].map(found.bits).fillna(usable["bits"]).astype(int)
    tables.append(_counts("Bits of a pixel", "bits", bits.value_counts().sort_index()))
    tables.append(_counts("Channels", "channels", usable["channels"].value_counts().sort_index()))
    told = []
    if marked := int(usable["burned_in"].sum()):
        told.append(
            f"{marked:,} DICOM headers say that text is part of the picture. It may name the patient: look at these images."
        )
    if bordered := int(usable["collimated"].sum()):
        told.append(
            f"{bordered:,} DICOM images have a collimator by their header, or a uniform border. They are used as they are."
        )
    return "Pixels", told, tables


def _missing(found: Fingerprint) -> Section:
    images = found.records.images
    blank = {
        "view": int((images["view"] == UNKNOWN_VIEW).sum()),
        "study": int((images["study"] == "").sum()),
        "sex": int(images["sex"].isna().sum()),
        "age": int(images["age"].isna().sum()),
        "any finding": int((~images["labelled"].astype(bool)).sum()),
    }
    rows = [(name, [f"{count:,}", f"{count / max(len(images), 1):.1%}"]) for name, count in blank.items()]
    tables = [_table("Missing values", "not known", [("images", False), ("share", False)], rows)]
    bad = found.screened.loc[~found.screened["ok"].astype(bool), "reason"].value_counts()
    if len(bad):
        tables.append(_counts("Files that cannot be read", "reason", bad.rename(index=REASONS)))
    return "Missing values and unreadable files", [], tables


def _copies(found: Fingerprint) -> Section:
    images = found.records.images
    patients = images.set_index("path")["patient"]
    pairs = duplicates.find(found.screened[found.screened["image_id"].isin(patients.index)])
    other = pairs["image_id"].map(patients) != pairs["other_id"].map(patients)
    if pairs.empty:
        return "The same image twice", ["No two images show the same."], []
    rows = [
        (name, [f"{int(which.sum()):,}", f"{int((which & other).sum()):,}"])
        for name, which in (("identical pixels", pairs["identical"]), ("nearly the same picture", ~pairs["identical"]))
    ]
    columns = [("pairs", False), ("of two patients", False)]
    told = ["Patients who share an identical image are kept in one part."]
    return "The same image twice", told, [_table("The same image twice", "how", columns, rows)]


def _privacy(found: Fingerprint) -> Section:
    told = []
    if found.pseudonyms:
        told.append("Patients and studies have pseudonyms: keyed hashes (HMAC-SHA256). The key is next to the images.")
    else:
        told.append("Patients and studies have their own identifiers (--keep-ids).")
    if found.roles and (dropped := [column.name for column in found.roles.columns if column.role in PERSONAL]):
        told.append(f"Dropped, because they may tell who the patients are: {', '.join(dropped)}.")
    if found.private_paths:
        told.append(f"{found.private_paths:,} paths name patients, so every image has a link without its own name.")
    return "Privacy", told, []


def _planned(plan: Plan, estimate: Estimate | None) -> Section:
    choices = {
        "views": ", ".join(plan.views),
        "shares": " : ".join(f"{share:.0%}" for share in plan.shares),
        "size": f"{plan.size} x {plan.size} pixels",
        "networks": ", ".join(plan.networks),
        "weights": {"none": "random"}.get(plan.weights, plan.weights),
        "batch": f"{plan.batch} images",
        "epochs": str(plan.epochs),
    }
    rows = [(name, [text, plan.reasons[name]]) for name, text in choices.items()]
    told = ["The same is in study.yaml, where you may change it."]
    if estimate is not None:
        told.append(said(estimate))
    return "Plan", told, [_table("Plan", "choice", [("planned", True), ("because", True)], rows)]


def said(estimate: Estimate) -> str:
    """The estimate as a sentence or two."""
    hours = f"{estimate.hours:,.1f} hours" if estimate.hours >= 1 else f"{60 * estimate.hours:,.0f} minutes"
    disk = (estimate.bytes_kept + estimate.bytes_meanwhile) / 1e9
    return (
        f"Ingest and training take about {hours} at the rates of {estimate.machine} without a GPU, and {disk:,.1f} GB of disk. "
        "Tables and figures come on top; `thorax cost` has the details."
    )
