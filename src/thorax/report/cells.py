"""How tables print a number: decimals, sign, interval, marks, what is shown where it is undefined; and the names of the metrics."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from thorax.report.typeset import Cell

DECIMALS = 3
UNDEFINED = "–"

Estimate = tuple[float, float, float]  # a value, and the ends of its 95% interval; nan where undefined


class Metric(NamedTuple):
    """How tables name a metric, and how it is read."""

    heading: str
    short: str = ""  # its name where a table has only one metric of this kind; blank where that is the same
    lower_is_better: bool = False
    by_threshold: bool = True  # whether it is one of decisions, and so depends on the threshold rule


METRICS = {  # by the name in `schemas.METRICS`, in the order of the columns
    "auc": Metric("AUC", by_threshold=False),
    "average_precision": Metric("Average precision", by_threshold=False),
    "loss": Metric("Loss", lower_is_better=True, by_threshold=False),
    "f1": Metric("F1-score"),
    "f1_positive": Metric("F1-score, positive side", "F1-score"),
    "precision": Metric("Precision"),
    "npv": Metric("NPV"),
    "sensitivity": Metric("Sensitivity"),
    "specificity": Metric("Specificity"),
    "hamming": Metric("Hamming loss", lower_is_better=True),
    "accuracy": Metric("Binary accuracy", "Accuracy"),
    "auc_thresholded": Metric("AUC of decisions"),
}
F1_MEANINGS = {  # the choices of `Experiment.f1_metric`
    "f1": "mean over the positive and the negative class",
    "f1_positive": "of the positive class alone, 2PR / (P + R) of precision P and recall R",
}


class Mark(NamedTuple):
    """How a number is set."""

    bold: bool = False
    italic: bool = False


PLAIN = Mark()


def short_heading(metric: str) -> str:
    """Return a metric's name for a table with one F1-score and one accuracy."""
    return METRICS[metric].short or METRICS[metric].heading


def printed(value: float, decimals: int = DECIMALS, sign: bool = False, undefined: str = UNDEFINED) -> str:
    """Return a number with thousands separators, never as -0, with a plus if `sign`, or `undefined` where it is not finite."""
    return f"{round(float(value), decimals) + 0.0:{'+' if sign else ''},.{decimals}f}" if np.isfinite(value) else undefined


def p_value(p: float) -> str:
    """Return a p value, which is never 0."""
    return "<0.001" if p < 0.0005 else printed(p)


def interval(low: float, high: float, decimals: int = DECIMALS) -> str:
    """Return an interval as low–high, or low to high where a dash would be next to a minus; blank where it is undefined."""
    if np.isnan(low):
        return ""
    between = " to " if low < 0 and round(float(low), decimals) else "–"
    return f"{printed(low, decimals, undefined='∞')}{between}{printed(high, decimals, undefined='∞')}"


def excludes_zero(low: float, high: float) -> bool:
    """Whether the interval of a difference does not contain 0; False where it is undefined."""
    return low > 0 or high < 0


def difference(ours: float, theirs: float) -> float:
    """Return the difference of two numbers as printed, so that a reader can check it; nan where one is undefined."""
    return round(round(float(ours), DECIMALS) - round(float(theirs), DECIMALS), DECIMALS) + 0.0  # never -0


def cell(number: Estimate, mark: Mark = PLAIN, sign: bool = False) -> Cell:
    """Return the cell of a number with its 95% interval below it; an undefined number is never marked."""
    value, low, high = number
    return Cell(printed(value, sign=sign), *mark, detail=interval(low, high)) if np.isfinite(value) else Cell(UNDEFINED)


def difference_cell(number: Estimate) -> Cell:
    """Return the cell of a paired difference, in bold where its interval excludes 0."""
    return cell(number, Mark(bold=excludes_zero(*number[1:])), sign=True)


def record(key: str, number: Estimate) -> dict[str, float]:
    """Return the unrounded number for the CSV: key, key low and key high."""
    return dict(zip((key, f"{key} low", f"{key} high"), number, strict=True))


def markdown(table: pd.DataFrame) -> str:
    """Return a table of strings in Markdown, with columns as wide as their longest cell."""
    rows = [[str(cell).replace("|", r"\|") for cell in row] for row in (table.columns, *table.itertuples(index=False))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])
