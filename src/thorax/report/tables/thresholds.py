"""Tables of threshold rules: tuned thresholds and other fixed ones next to the first rule, per class and over all classes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from thorax.config import fixed_threshold
from thorax.errors import ThoraxError
from thorax.evaluation.decisions import EXCLUSIVE, UNTUNED
from thorax.evaluation.ensembles import FOLDS
from thorax.evaluation.metrics import GLOBAL, row_name
from thorax.report.cells import F1_MEANINGS, METRICS, printed, record, short_heading
from thorax.report.tables.results import PROVENANCE, Results, count_of_classes, read_results, row_headings, votes_note
from thorax.report.typeset import Cell, Group, Table, write
from thorax.storage import store
from thorax.storage.schemas import THRESHOLDS

_TUNED = {  # tuned rules without a number: how a column is headed, and what the rule does
    "f1": ("best F1", f"one threshold t per class, with the best F1-score ({F1_MEANINGS['f1']}) on the validation images"),
    "f1_positive": (
        "best positive F1", "one t per class, with the best F1-score of the positive class on the validation images"
    ),
    "youden": ("Youden", "one t per class, with the largest sum of sensitivity and specificity on the validation images"),
}  # fmt: skip


def tuned_rule(rule: str) -> tuple[str, str]:
    """How a column of a tuned rule is headed, and what the rule does."""
    if rule in _TUNED:
        return _TUNED[rule]
    side, _, least = rule.partition("-")
    free = "sensitivity" if side == "specificity" else "specificity"
    does = f"one t per class, with the largest {free} at a {side} of at least {least} on the validation images"
    return f"{side} {least}", does


def thresholds_table(
    results: Results, rules: Sequence[str], thresholds: pd.DataFrame, learned: Sequence[str] = ()
) -> tuple[Table, pd.DataFrame]:
    """Compare each class's F1 by the first rule with its F1 by every other rule.

    `thresholds` are the rows of `schemas.THRESHOLDS` of all models; `learned` are the ensembles that learn from validation
    images. Models whose tuned thresholds are all 0.5 are left out of the table, but not of the frame, unless all are.
    """
    if len(rules) < 2:
        raise ThoraxError("A table of thresholds compares rules: name at least two in the experiment's thresholds.")
    first, others = rules[0], list(rules[1:])
    by_rule = {rule: replace(results, threshold_rule=rule) for rule in rules}
    tuned = [rule for rule in others if fixed_threshold(rule) is None]
    limits = {(model, rule): _limits(results, thresholds, model, rule) for model in results.models for rule in tuned}
    touched = [
        model
        for model in results.models
        if others != tuned or any((limits[model, rule]["value"] != UNTUNED).any() for rule in tuned)
    ]
    shown = touched or results.models
    metric, headings = results.f1_metric, row_headings(results.classes)
    rows, records = [], []
    for name in results.counts["class"]:
        values: dict[str, object] = {"class": name}
        cells = []
        for model in results.models:
            base = by_rule[first].number(model, name, metric)
            values |= record(f"{model} {first} {metric}", base)
            of_model = [printed(base[0])]
            for rule in others:
                if rule in tuned:
                    limit = np.nan if name == GLOBAL else float(limits[model, rule].loc[name, "value"])
                    values[f"{model} {rule} threshold"] = limit
                    of_model.append(printed(limit))
                number = by_rule[rule].number(model, name, metric)
                values |= record(f"{model} {rule} {metric}", number)
                values[f"{model} {rule} difference"] = number[0] - base[0]
                of_model += [printed(number[0]), printed(number[0] - base[0], sign=True)]
            cells += of_model if model in shown else []
        rows.append((headings[name], tuple(map(Cell, cells))))
        records.append(values | {"provenance": results.provenance})
    columns = [f"F1 at {_heading(first)}"]
    columns += [f"{_heading(rule)}: {of}" for rule in others for of in (("t", "F1", "±") if rule in tuned else ("F1", "±"))]
    undefined = sorted({name for table in limits.values() for name in table.index[~table["defined"].astype(bool)]})
    lacking = f"For {count_of_classes(len(undefined))} the validation images lack positives or negatives, so {UNTUNED} is used"
    left_out = [model for model in results.models if model not in shown]
    untuned = f"Left out, because every tuned threshold is {UNTUNED}, as it is for votes of 0 and 1: {', '.join(left_out)}."
    title, data = f"{results.title}: thresholds".removeprefix(": "), PROVENANCE[results.provenance]
    f1 = f"F1-score ({F1_MEANINGS[metric]}) on the {results.split} images with the threshold {_heading(first)} and by other rules."
    caption = f"{f1} {_explained(tuned)}± is the difference from the threshold {_heading(first)}."
    groups = tuple(Group(model, tuple(columns), results.section(model)) for model in shown)
    notes = (
        *([f"{lacking}: {', '.join(undefined)}."] if undefined else []),
        *([untuned] if left_out else []),
        *_learned_note(learned if tuned else ()),
        "Differences are of the unrounded numbers; those and 95% intervals (bootstrap over patients) are in the CSV file.",
    )
    table = Table(title, caption, data, groups, "Class", tuple(rows), total=True, notes=notes)
    return table, pd.DataFrame(records)


def rules_table(
    results: Results, rules: Sequence[str], exclusive: str | None = None, learned: Sequence[str] = ()
) -> tuple[Table, pd.DataFrame]:
    """Arrange the global results of every model by every rule, also with the class `exclusive` excluding the rest."""
    every = [*rules, *(rule + EXCLUSIVE for rule in rules if exclusive is not None)]
    by_rule = {rule: replace(results, threshold_rule=rule) for rule in every}
    once = [name for name, metric in METRICS.items() if not metric.by_threshold]
    by_threshold = [name for name in METRICS if name not in once and (name not in F1_MEANINGS or name == results.f1_metric)]
    rows, records = [], []
    for model in results.models:
        numbers = {name: results.number(model, GLOBAL, name) for name in once}
        for name in by_threshold:
            numbers |= {f"{rule} {name}": of_rule.number(model, GLOBAL, name) for rule, of_rule in by_rule.items()}
        rows.append((model, tuple(Cell(printed(value)) for value, _, _ in numbers.values())))
        values: dict[str, object] = {"model": model}
        for key, number in numbers.items():
            values |= record(key, number)
        records.append(values | {"provenance": results.provenance})
    columns = tuple(map(_heading, every))
    tuned = [rule for rule in rules if fixed_threshold(rule) is None]
    excludes = f"+: {exclusive} excludes the rest. " if exclusive is not None else ""
    title, data = f"{results.title}: decision rules".removeprefix(": "), PROVENANCE[results.provenance]
    caption = (
        f"Means over the classes (AUC; average precision; F1-score, {F1_MEANINGS[results.f1_metric]}; precision; NPV: negative predictive value; sensitivity, which is recall; "
        f"specificity; AUC of the yes/no decisions) and results of the whole label matrix (loss: binary cross-entropy, not weighted; "
        f"Hamming loss; accuracy, which is 1 - Hamming loss) on the {results.split} images, by threshold. {_explained(tuned)}{excludes}"
    )
    groups = [Group(short_heading(name), section=name) for name in once]
    groups += [Group(short_heading(name), columns, name) for name in by_threshold]
    notes = (
        "Votes of 0 and 1 have no loss.",
        *votes_note(results),
        *_learned_note(learned if tuned else ()),
        "A class without positives or without negatives among the images is left out of means that it has no value for.",
        "95% intervals (bootstrap over patients) are in the CSV file.",
    )
    return Table(title, caption, data, tuple(groups), "Model", tuple(rows), notes=notes), pd.DataFrame(records)


def _limits(results: Results, thresholds: pd.DataFrame, model: str, rule: str) -> pd.DataFrame:
    """Return a model's thresholds by a tuned rule; the index has the classes as the metrics name them."""
    table = thresholds[(thresholds["model"] == model) & (thresholds["rule"] == rule)]
    table = table.set_index(table["class"].map(row_name))
    if lacking := [name for name in results.classes if name not in table.index]:
        problem = f"The thresholds of model {model!r} by rule {rule!r} lack {lacking[0]!r}"
        raise ThoraxError(f"{problem}: measure the experiment again.")
    return table


def _heading(rule: str) -> str:
    """Return a short name: 0.5 for fixed-0.5, with a + where one class excludes the rest."""
    plain = rule.removesuffix(EXCLUSIVE)
    fixed = fixed_threshold(plain)
    return (tuned_rule(plain)[0] if fixed is None else f"{fixed:g}") + "+" * (plain != rule)


def _explained(tuned: Sequence[str]) -> str:
    sentence = "; ".join(": ".join(tuned_rule(rule)) for rule in tuned)
    return f"{sentence[0].upper()}{sentence[1:]}. " if sentence else ""


def _learned_note(learned: Sequence[str]) -> list[str]:
    """Say on which scores the thresholds of ensembles that learn were tuned."""
    said = (
        f"Thresholds of ensembles that learn from the validation images ({', '.join(learned)}) were tuned on scores of images that they "
        f"had not learnt from (up to {FOLDS} folds by patient)."
    )
    return [said] if learned else []


def make_threshold_tables(
    title: str, provenance: str, metrics: Path, labels: Path, split: Path, members: list[str], ensembles: list[str],
    thresholds: Path, rules: Sequence[str], out: Path, exclusive: str | None = None, f1_metric: str = "f1",
    learned: Sequence[str] = (),
) -> None:  # fmt: skip
    """Write thresholds and rules as .html, .md, .tex and .csv into a folder; the other rules are compared with the first."""
    more = {"title": title, "provenance": provenance, "threshold_rule": rules[0], "f1_metric": f1_metric}
    results = read_results(metrics, labels, split, members, ensembles, None, **more)
    chosen = store.read_table(thresholds, needs=tuple(THRESHOLDS.names))
    write(*thresholds_table(results, rules, chosen, learned), out, "thresholds")
    write(*rules_table(results, rules, exclusive, learned), out, "rules")
