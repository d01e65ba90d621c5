"""Networks that were trained several times: what differs between trainings, next to what differs between samples of patients."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from thorax.config import fixed_threshold
from thorax.evaluation.metrics import FIXED, GLOBAL, measure_part, read_models, tabulate
from thorax.report.cells import F1_MEANINGS, interval, printed, short_heading
from thorax.report.tables.results import PROVENANCE, Results, describe_threshold, read_results
from thorax.report.typeset import Cell, Group, Table, write


def member_of(training: str, members: Sequence[str]) -> str:
    """The member that a training, MEMBER or MEMBER.N, is one of."""
    return training if training in members else training.rpartition(".")[0]


def repeats_table(results: Results, trainings: dict[str, dict[str, pd.Series]]) -> tuple[Table, pd.DataFrame]:
    """Arrange mean and standard deviation over trainings next to the first training with its interval.

    `trainings` has for each member its trainings by name, the member's own first, with the metrics over all classes.
    """
    rows, records = [], []
    for member, each in trainings.items():
        cells: list[Cell] = []
        for metric in results.metrics_shown:
            values = np.array([values[metric] for values in each.values()], float)
            mean, deviation = values.mean(), values.std(ddof=1) if len(values) > 1 else np.nan
            value, low, high = results.number(member, GLOBAL, metric)
            cells += [Cell(printed(mean)), Cell(printed(deviation, 4)), Cell(printed(value)), Cell(interval(low, high))]
            about = {"member": member, "metric": metric, "trainings": len(values), "mean": mean, "sd": deviation}
            records.append(about | {"value": value, "low": low, "high": high, "values": " ".join(f"{v:.6f}" for v in values)})
        rows.append((member, tuple(cells)))
    count = max(map(len, trainings.values()))
    columns = (f"mean of {count}", "SD", "first", "95% interval")
    groups = tuple(Group(short_heading(metric), columns, metric) for metric in results.metrics_shown)
    caption = (
        f"Hamming loss, and means of AUC and F1-score ({F1_MEANINGS[results.f1_metric]}) over the classes, on the test images; "
        f"{describe_threshold(results.threshold_rule)}. Each network was trained {count} times, with different seeds. Two different "
        "uncertainties: SD, the standard deviation over the trainings, says how much the result changes if the network is trained again "
        "and the patients stay; the interval of the first training says how much it changes if other patients are tested and the "
        "network stays."
    )
    notes = (
        "Neither includes the other: a difference between two networks should be large next to both.",
        "The intervals are from a bootstrap over patients. The CSV file has the values of all trainings.",
        "Only the first training of each network is in ensembles and in the other tables.",
    )
    table = Table(
        f"{results.title}: repeated trainings", caption, PROVENANCE[results.provenance], groups, "", tuple(rows), notes=notes
    )
    return table, pd.DataFrame(records).assign(provenance=results.provenance)


def make_repeats(
    title: str, provenance: str, metrics: Path, labels: Path, split: Path, members: list[str], predictions: dict[str, Path], out: Path,
    rule: str = FIXED, f1_metric: str = "f1",
) -> None:  # fmt: skip
    """Write repeats as .html, .md, .tex and .csv into a folder.

    `predictions` are those of each of the `members`, and of its further trainings, which are called MEMBER.2, MEMBER.3 ...
    """
    more = {"title": title, "provenance": provenance, "threshold_rule": rule, "f1_metric": f1_metric}
    results = read_results(metrics, labels, split, members, [], None, **more)
    truth, models = read_models(labels, split, predictions, {})
    trainings: dict[str, dict[str, pd.Series]] = {name: {} for name in members}
    for name, scores in models.items():
        how = {"thresholds": {rule: fixed_threshold(rule)}, "replicates": 0}
        measured = tabulate(measure_part(truth, scores, "test", model=name, **how), name, "test")
        overall = measured[measured["class"] == GLOBAL].set_index("metric")["value"]
        trainings[member_of(name, members)][name] = overall
    write(*repeats_table(results, trainings), out, "repeats")
