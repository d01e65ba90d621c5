"""`thorax evaluate`: measure any predictions against any labels, without images, a GPU or a configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from thorax.config import fixed_threshold
from thorax.errors import ThoraxError, refuse_unknown
from thorax.evaluation import calibration, decisions, differences, metrics, subgroups
from thorax.evaluation import readers as readers_of
from thorax.evaluation.bootstrap import NO_THRESHOLD
from thorax.evaluation.decisions import OPERATING_POINTS
from thorax.evaluation.external_tables import Columns, Images, read_answers, read_images, read_table, read_truth
from thorax.report import typeset
from thorax.report.cells import DECIMALS, UNDEFINED, interval, markdown, p_value, printed
from thorax.report.figures import style
from thorax.report.figures.readers import draw_readers
from thorax.report.tables import operating
from thorax.report.tables.calibration import HEADINGS as OF_CALIBRATION
from thorax.report.tables.readers import agreement_table, readers_table
from thorax.report.typeset import Cell, Group, Table
from thorax.storage import store

RANKED = {"auc": "AUC", "average_precision": "Average precision"}
DECIDED = {metric: heading[:1].upper() + heading[1:] for metric, heading in operating.DECIDED.items()}
_AT_POINT = {metric: DECIDED[metric] for metric in ("sensitivity", "specificity", "precision", "npv")}
_SCALINGS = {"none": "", "temperature": ", temperature", "platt": ", Platt"}
Limits = Mapping[str, np.typing.ArrayLike]  # one threshold, or one for each class, by rule
_INTERVALS = "In parentheses: 95% intervals of a bootstrap over patients"


@dataclass
class _Report:
    """What is printed, in Markdown; the tables that are written, by the name of their file; and what the page shows."""

    text: list[str] = field(default_factory=list)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    shown: list[Table] = field(default_factory=list)
    of_workflow: dict[str, Table] = field(default_factory=dict)  # written in all forms, by the name of their files
    figures: dict[str, tuple[str, Figure]] = field(default_factory=dict)  # headings and figures, by the name of their files

    def show(self, heading: str, table: pd.DataFrame, *sentences: str) -> None:
        """Add a printed table and what is said about it."""
        self.text += [f"## {heading}", *sentences, markdown(table)]
        rows = tuple((str(row[0]), tuple(Cell(str(text)) for text in row[1:])) for row in table.itertuples(index=False))
        caption = " ".join(sentences).replace("**", "")
        self.shown.append(Table(heading, caption, "", tuple(map(Group, table.columns[1:])), str(table.columns[0]), rows))

    def show_table(self, name: str, table: Table, values: pd.DataFrame) -> None:
        """Add a table of the workflow, printed with its intervals in parentheses."""
        columns = [" ".join(filter(None, (group.heading, group.columns[place]))) for group, place, _ in table.places]
        cells = [[row, *(f"{c.text} ({c.detail})" if c.detail else c.text for c in cells)] for row, cells in table.rows]
        shown = markdown(pd.DataFrame(cells, columns=[table.name_heading, *columns]))
        self.text += [f"## {table.title}", table.caption, shown, " ".join(table.notes)]
        self.tables[name], self.of_workflow[name] = values, table
        self.shown.append(table)

    def write(self, text: str, out: Path) -> list[Path]:
        """Write tables, figures, what is printed, and evaluation.html, which shows all of it; return the most important files."""
        for name, table in self.tables.items():
            if name in self.of_workflow:
                typeset.write(self.of_workflow[name], table, out, name)
            else:
                store.write_text(table.to_csv(index=False), out / f"{name}.csv")
        sections = [(table.title, typeset.content(typeset.html(table))) for table in self.shown]
        for name, (title, figure) in self.figures.items():
            style.save(figure, out / name, title)
            sections.append((title, typeset.content_of(out / f"{name}.html")))
        listed = [{"name": f"s{n}", "heading": title, "caption": "", "body": body} for n, (title, body) in enumerate(sections)]
        said = {"run_on": self.text[1], "citation": " ".join(self.text[2 : self.text.index(f"## {self.shown[0].title}")])}
        store.write_text(
            typeset.page("paper.html", "Evaluation", settings=[], sections=listed, **said), out / "evaluation.html"
        )
        store.write_text(text, out / "evaluation.md")
        return [*(out / f"{name}.csv" for name in self.tables), out / "evaluation.md", out / "evaluation.html"]


def evaluate_tables(
    predictions: Path, labels: Path, second: Path | None = None, about: Path | None = None, id_: str | None = None, prefix: str = "",
    rename: Mapping[str, str] | None = None, patients: str | None = None, groups: Sequence[str] = (), training: Path | None = None,
    readers: Sequence[Path] = (), reader: str | None = None, common: bool = False, logits: bool = False, second_logits: bool = False,
    rules: Sequence[str] = (metrics.FIXED,), exclusive: str | None = None, replicates: int = 1000, seed: int = 0,
    out: Path | None = None,
) -> str:  # fmt: skip
    """Measure predictions against labels and return what to print: Markdown tables, with notes on what was measured.

    With a `second` model, both are measured and compared on the same bootstrap samples. `training` are the labels of the training
    images: with them head, medium and tail classes are summarised. The folder `out` gets the full tables as CSV, what is printed as
    evaluation.md and evaluation.html, and the tables and figures of readers as the workflow writes them.
    """
    names = _names(predictions, second)
    paths = dict(zip(names, filter(None, (predictions, second)), strict=True))
    columns = Columns(id_, prefix, rename or {}, patients, groups)
    of_logits = [name for name, its in zip(names, (logits, second_logits), strict=False) if its]
    images = read_images(paths, labels, about, columns, common, of_logits)
    summaries = {} if training is None else _tiers(training, id_, list(images.truth))
    report = _Report(["# Evaluation", *_described(images, paths, labels)])
    limits = _limits(images, [*rules, *(OPERATING_POINTS if (images.part == "val").any() else ())], report)
    test = images.part == "test"
    how: dict[str, Any] = {"exclusive": exclusive, "replicates": replicates, "seed": seed, "summaries": summaries}
    measured = {
        name: metrics.measure(
            images.truth[test], scores[test], images.patients[test], model=name, split="test", thresholds=limits[name], **how
        )
        for name, scores in images.scores.items()
    }
    tables = [metrics.tabulate(of_model, name, "test") for name, of_model in measured.items()]
    counts = metrics.counted(images.truth[test], images.patients[test], summaries)
    _show_metrics(report, pd.concat(tables, ignore_index=True), counts, rules[0])
    _show_calibration(report, images, replicates, seed)
    _show_groups(report, images, {"replicates": replicates, "seed": seed, "split": "test"}, limits, rules[0])
    if readers:
        answers = read_answers(readers, reader, columns, images.truth[test], common)
        _show_readers(report, images, answers, replicates, seed, draw=out is not None)
    if second is not None:
        _show_differences(report, differences.compare(measured, [(names[0], names[1])], "test"), rules[0], replicates)
    text = "\n\n".join(report.text)
    if out is not None:
        *others, last = report.write(text, out)
        text += f"\n\nWritten: {', '.join(map(str, others))} and {last}."
    return text


def estimate(value: float, low: float = np.nan, high: float = np.nan) -> str:
    """Print a value with its interval, or a dash where it is undefined."""
    return _with_interval(value, low, high, DECIMALS)


def _with_interval(value: float, low: float, high: float, decimals: int) -> str:
    between = interval(low, high, decimals) if np.isfinite(value) else ""
    return printed(value, decimals) + (f" ({between})" if between else "")


def _estimates(rows: pd.DataFrame) -> list[str]:
    """Print the values and intervals of rows."""
    return [estimate(*row) for row in rows[["value", "low", "high"]].itertuples(index=False)]


def _names(predictions: Path, second: Path | None) -> list[str]:
    """What the models are called: by their files, in full where both have the same name."""
    stems = [path.name.partition(".")[0] for path in (predictions, second) if path is not None]
    if len(set(stems)) == len(stems):
        return stems
    if predictions == second:
        raise ThoraxError(f"{predictions} is given twice: compare it with another model's predictions.")
    return [str(predictions), str(second)]


def _described(images: Images, paths: Mapping[str, Path], labels: Path) -> list[str]:
    """What is measured, in words."""
    test = images.part == "test"
    patients = len(set(images.patients[test]))
    size = f"{int(test.sum()):,} images of {patients:,} patients and {images.truth.shape[1]} classes"
    files = " and ".join(path.name for path in paths.values())
    said = [f"{files} against {labels.name}: {size}.", *images.notes]
    return said if test.all() else [*said, f"{(~test).sum():,} validation images choose thresholds and scaling."]


def _tiers(training: Path, id_: str | None, classes: Sequence[str]) -> dict[str, list[str]]:
    """Head, medium and tail classes by the number of images in a table of training labels."""
    table = read_table(training, id_)
    for name in classes:
        refuse_unknown("--training", name, list(table.columns), f"a column of {training}")
    return metrics.tiers((read_truth(table[classes], training) == 1).sum().to_dict())


def _limits(images: Images, rules: Sequence[str], report: _Report) -> dict[str, Limits]:
    """Each model's thresholds by each rule; tuned ones are chosen on the validation images and written."""
    validation = images.part == "val"
    tuned = [rule for rule in rules if fixed_threshold(rule) is None]
    if tuned and not validation.any():
        problem = f"The rule {tuned[0]} chooses thresholds on validation images"
        raise ThoraxError(
            f"{problem}: give the predictions a column 'split' with val and test, or a fixed threshold to --rules."
        )
    found: dict[str, Limits] = {}
    chosen = []
    for model, scores in images.scores.items():
        found[model], of_model = decisions.by_rule(images.truth[validation], scores[validation], rules)
        chosen.append(of_model.assign(model=model))
    if tuned:
        report.tables["thresholds"] = pd.concat(chosen, ignore_index=True)
    return found


def _show_metrics(report: _Report, table: pd.DataFrame, counts: pd.DataFrame, rule: str) -> None:
    """Print each model's metrics without a threshold, and those by the first rule; write all of them."""
    reasons = table["class"].map(counts["lacks"]).where(table["metric"] != "loss", subgroups.VOTES)
    table = table.assign(
        images=table["class"].map(counts["images"]),
        patients=table["class"].map(counts["patients"]),
        why_blank=reasons.where(table["value"].isna(), ""),
    )
    report.tables["metrics"] = table
    cells = table.assign(cell=_estimates(table))
    first = counts.drop(columns="lacks").map("{:,}".format).rename(columns=str.capitalize)
    for model, rows in cells.groupby("model", sort=False):
        points = {of_rule: _AT_POINT for of_rule in OPERATING_POINTS if of_rule in set(rows["threshold_rule"])}
        for of_rule, columns in {NO_THRESHOLD: RANKED, rule: DECIDED, **points}.items():
            chosen = rows[rows["threshold_rule"] == of_rule].pivot(index="class", columns="metric", values="cell")
            shown = chosen.reindex(index=counts.index, columns=list(columns)).rename(columns=columns)
            whole = pd.concat([first, shown], axis=1).rename_axis("Class").reset_index()
            if of_rule == NO_THRESHOLD:
                said = f"{_INTERVALS}. {metrics.GLOBAL} is the mean over the classes."
                report.show(f"{model}: without a threshold", whole, said, *_lacking(counts))
            elif of_rule in OPERATING_POINTS:
                said = f"Thresholds chosen on validation images for {OPERATING_POINTS[of_rule]}, measured on test images."
                of_precision = rows[(rows["threshold_rule"] == of_rule) & (rows["metric"] == "precision")].set_index("class")
                whole["Images read per true positive"] = [
                    UNDEFINED if name in metrics.SUMMARIES else _read_per_hit(*row)  # not of a mean PPV
                    for name, *row in of_precision.loc[counts.index, ["value", "low", "high"]].itertuples()
                ]
                report.show(f"{model}: at {OPERATING_POINTS[of_rule]}", whole, said)
            else:
                overall = f"Over all images and classes: Hamming loss {chosen.loc[metrics.GLOBAL, 'hamming']}."
                said = "PPV and NPV hold for the prevalence of these images; they are 0 where no image is called so."
                report.show(f"{model}: decisions by {rule}", whole, f"{overall} {said}")


def _read_per_hit(*precision: float) -> str:
    """Print how many of the images that a model calls positive are read for each that is."""
    return _with_interval(*metrics.read_per_hit(*precision), decimals=1)


def _show_calibration(report: _Report, images: Images, replicates: int, seed: int) -> None:
    """Print the calibration of each model on the test images, before and after scaling on the validation images; write all of it."""
    test, validation = (images.part == part for part in ("test", "val"))
    found, scalings = [], []
    for model, scores in images.scores.items():
        if calibration.are_votes(scores):
            report.text.append(f"{model} gives votes, so there is nothing to calibrate.")
            continue
        versions = {"none": scores}
        if validation.any():
            fitted = calibration.fit(images.truth[validation], scores[validation])
            versions = calibration.versions(scores, fitted)
            scalings.append(fitted.assign(model=model))
        tables = {
            kind: calibration.measure(images.truth[test], version[test], images.patients[test], replicates, seed)
            for kind, version in versions.items()
        }
        found += [table.assign(model=model, scaling=kind) for kind, table in tables.items()]
        shown = pd.DataFrame({"Class": tables["none"]["class"].unique()})
        for kind, table in tables.items():
            for metric in OF_CALIBRATION if kind == "none" else ("ece", "brier"):
                shown[OF_CALIBRATION[metric] + _SCALINGS[kind]] = _estimates(table[table["metric"] == metric])
        said = [
            f"ECE over {calibration.BINS} bins of equal mass. Calibrated probabilities have an intercept of 0 and a slope of 1; a slope"
            " below 1 says that they are too extreme."
        ]
        if validation.any():
            said.append("Temperature and Platt scaling are fitted for each class on the validation images.")
        report.show(f"{model}: calibration", shown, *said)
    if found:
        report.tables["calibration"] = pd.concat(found, ignore_index=True)
    if scalings:
        report.tables["scaling"] = pd.concat(scalings, ignore_index=True)


def _show_groups(report: _Report, images: Images, how: Mapping[str, Any], limits: Mapping[str, Limits], rule: str) -> None:
    """Print each group's mean AUC, sensitivity and specificity over the classes, with their gaps; write all metrics and classes."""
    test, found = images.part == "test", []
    for model, scores in images.scores.items():
        for column in images.groups:
            groups = subgroups.grouped(images.groups.loc[test, column])
            options = {**how, "model": model, "thresholds": {rule: limits[model][rule]}}
            table, warnings = subgroups.measure(images.truth[test], scores[test], images.patients[test], groups, **options)
            found.append(table.assign(model=model))
            shown = []
            for (name, count, patients), rows in table.groupby(["group", "images", "patients"], sort=False):
                of_all = rows[rows["class"] == metrics.GLOBAL].set_index("metric")
                cells = {"Group": name, "Images": f"{count:,}", "Patients": f"{patients:,}"}
                cells["Positives"] = f"{of_all.loc['auc', 'n_positive']:,}"
                for metric, heading in (RANKED | DECIDED).items():
                    if metric in ("auc", "sensitivity", "specificity"):
                        row = of_all.loc[metric] if metric in of_all.index else dict.fromkeys(of_all.columns, np.nan)
                        cells[heading] = estimate(row["value"], row["low"], row["high"])
                        cells[f"Gap in {heading}"] = estimate(row["gap"], row["gap_low"], row["gap_high"])
                shown.append(cells)
            single = table.loc[table["why_blank"] == subgroups.SINGLE, "group"].tolist()
            said = ["Means over the classes. The gap is to all images outside the group, over the classes that both have."]
            said += [f"Not measured, as they have a single patient: {', '.join(single)}."] if single else []
            report.show(f"{model}: by {column}", pd.DataFrame(shown), *said, *(f"**Warning.** {text}" for text in warnings))
    if found:
        report.tables["groups"] = pd.concat(found, ignore_index=True)


def _show_readers(
    report: _Report, images: Images, answers: Mapping[str, pd.DataFrame], replicates: int, seed: int, draw: bool
) -> None:
    """Print how far readers agree, and models next to them; write both as the workflow does, and `draw` readers on each model's curves."""
    test = images.part == "test"
    truth, scores = images.truth[test], {name: table[test] for name, table in images.scores.items()}
    compared = readers_of.compare(truth, scores, answers, images.patients[test], replicates, seed)
    left_out = [name for name in truth if name not in next(iter(answers.values()))]
    report.show_table("agreement", *agreement_table(compared, "Readers", "", left_out))
    report.show_table("readers", *readers_table(compared, "Readers", "", left_out))
    for name, table in scores.items() if draw else ():
        heading = f"Readers on the curves of {name}"
        report.figures[f"readers_{Path(name).stem}"] = heading, draw_readers(truth, table, answers, heading, name)


def _lacking(counts: pd.DataFrame) -> list[str]:
    """Name the classes that lack positives or negatives."""
    return [f"{lacks.capitalize()}: {', '.join(rows.index)}." for lacks, rows in counts.groupby("lacks") if lacks]


def _show_differences(report: _Report, table: pd.DataFrame, rule: str, replicates: int) -> None:
    """Print the differences in AUC, average precision and F1 of two models; write all of them."""
    report.tables["differences"] = table
    model, other = table.loc[0, ["model", "other"]]
    tests = int(table.loc[table["metric"] == "auc", "p_holm"].notna().sum())
    said = [
        f"{model} minus {other}, with the 95% interval of a paired bootstrap over patients; the share of the {replicates:,} bootstrap"
        " samples in which the difference has the same sign; and a two-sided p value from these samples, corrected over the classes"
        " by Holm's method."
    ]
    if replicates < (needed := differences.fewest_replicates(tests)):
        said.append(f"With {replicates:,} samples no corrected p value can be below 0.05: give --replicates {needed} or more.")
    for metric in ("auc", "average_precision", "f1", "f1_positive", "hamming"):
        rows = table[(table["metric"] == metric) & table["threshold_rule"].isin((NO_THRESHOLD, rule))]
        shown = pd.DataFrame(
            {
                "Class": rows["class"],
                model: rows["value"].map(estimate),
                other: rows["other_value"].map(estimate),
                "Difference": _estimates(rows.drop(columns="value").rename(columns={"difference": "value"})),
                "Same sign": [f"{share:.1%}" if np.isfinite(share) else UNDEFINED for share in rows["same_sign"]],
                "p": rows["p"].map(p_value),
                "p, corrected": rows["p_holm"].map(p_value),
            }
        )
        report.show(f"Difference in {(RANKED | DECIDED | {'hamming': 'Hamming loss'})[metric]}", shown, *said)
        said = []
