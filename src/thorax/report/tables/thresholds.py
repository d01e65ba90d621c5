"""Tables of threshold rules: tuned thresholds and other fixed ones beside the first rule, per class and over all classes."""

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
from thorax.report import typeset
from thorax.report.tables.results import DATA_SENTENCES, DECIMALS, F1_MEANINGS, Results, count_images, row_headings, votes_note
from thorax.storage import store
from thorax.storage.schemas import THRESHOLDS

_NONE = "–"
_TUNED = {"f1": "best F1", "f1_positive": "best positive F1", "youden": "Youden"}
_WITHOUT = {"auc": "AUC", "loss": "Loss"}  # metrics into which no threshold enters
_METRICS = {  # of F1 the experiment's own
    "f1": "F1-score",
    "f1_positive": "F1-score",
    "precision": "Precision",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "hamming": "Hamming loss",
    "accuracy": "Accuracy",
    "auc_thresholded": "AUC of decisions",
}


def thresholds_table(
    results: Results, rules: Sequence[str], thresholds: dict[str, pd.DataFrame], learned: Sequence[str] = ()
) -> tuple[typeset.Table, pd.DataFrame]:
    """Set each class's F1 by the first rule beside its F1 by every other rule, with tuned thresholds and the difference.

    Args:
        results: the metrics of all models.
        rules: names of threshold rules; the first is what the others are compared with.
        thresholds: by model the rows of `catalog.THRESHOLDS`; needed where a rule is tuned.
        learned: the ensembles that learn from validation images.

    Returns:
        The table, without models whose tuned thresholds are all 0.5 unless all are, and the numbers of all models, unrounded and with the 95%
        intervals of F1, one row per class.

    Raises:
        ThoraxError: a model, class or rule that the metrics or the thresholds lack, or fewer than two rules.
    """
    if len(rules) < 2:
        raise ThoraxError("A table of thresholds compares rules: name at least two in the experiment's thresholds.")
    first, others = rules[0], list(rules[1:])
    by_rule = {rule: replace(results, rule=rule) for rule in rules}
    tuned = [rule for rule in others if fixed_threshold(rule) is None]
    limits = {(model, rule): _limits(thresholds, model, rule) for model in results.models for rule in tuned}
    untouched = {
        model
        for model in results.models
        if others == tuned and all((limits[model, rule]["value"] == UNTUNED).all() for rule in tuned)
    }
    if untouched == set(results.models):
        untouched = set()
    shown = [model for model in results.models if model not in untouched]
    metric, headings = results.f1_metric, row_headings(results.classes)
    rows, records = [], []
    for name in results.counts["class"]:
        record: dict[str, object] = {"class": name}
        cells = []
        for model in results.models:
            base = by_rule[first].number(model, name, metric)
            record |= _record(f"{model} {first} {metric}", base)
            of_model = [_number(base[0])]
            for rule in others:
                if rule in tuned:
                    value = np.nan if name == GLOBAL else float(_class_value(limits[model, rule], name, model, rule))
                    record[f"{model} {rule} threshold"] = value
                    of_model.append(_number(value))
                number = by_rule[rule].number(model, name, metric)
                record |= _record(f"{model} {rule} {metric}", number)
                record[f"{model} {rule} difference"] = number[0] - base[0]
                of_model += [_number(number[0]), _number(number[0] - base[0], signed=True)]
            cells += of_model if model in shown else []
        rows.append((headings[name], tuple(cells)))
        records.append(record | {"data": results.data})
    columns = (f"F1 at {_heading(first)}", *(column for rule in others for column in _columns(rule, rule in tuned)))
    table = typeset.Table(
        title=f"{results.title}: thresholds".removeprefix(": "),
        caption=f"F1-score ({F1_MEANINGS[metric]}) on the {results.split} images with the threshold "
        f"{_heading(first)} and by other rules. {_explained(tuned)}± is the difference from the threshold {_heading(first)}.",
        data=DATA_SENTENCES[results.data],
        groups=tuple(typeset.Group(model, columns, _section(results, model)) for model in shown),
        name_heading="Class",
        rows=tuple(rows),
        total=True,
        notes=tuple(_notes(results, limits, untouched, learned if tuned else ())),
    )
    return table, pd.DataFrame(records)


def rules_table(
    results: Results, rules: Sequence[str], exclusive: str | None = None, learned: Sequence[str] = ()
) -> tuple[typeset.Table, pd.DataFrame]:
    """Set the global results of every model by every rule, also with one class excluding the rest.

    Args:
        results: the metrics of all models.
        rules: names of threshold rules.
        exclusive: the class that excludes the rest; None: no such columns.
        learned: the ensembles that learn from validation images.

    Returns:
        The table, and its numbers unrounded and with 95% intervals, one row per model.

    Raises:
        ThoraxError: a model or rule that the metrics lack.
    """
    every = [*rules, *(rule + EXCLUSIVE for rule in rules if exclusive is not None)]
    by_rule = {rule: replace(results, rule=rule) for rule in every}
    shown = {
        metric: heading for metric, heading in _METRICS.items() if metric not in F1_MEANINGS or metric == results.f1_metric
    }
    rows, records = [], []
    for model in results.models:
        numbers = {metric: results.number(model, GLOBAL, metric) for metric in _WITHOUT}
        for metric in shown:
            numbers |= {f"{rule} {metric}": of_rule.number(model, GLOBAL, metric) for rule, of_rule in by_rule.items()}
        rows.append((model, tuple(_number(value) for value, _, _ in numbers.values())))
        record: dict[str, object] = {"model": model}
        for key, number in numbers.items():
            record |= _record(key, number)
        records.append(record | {"data": results.data})
    columns = tuple(_heading(rule) for rule in every)
    tuned = [rule for rule in rules if fixed_threshold(rule) is None]
    excludes = f"+: {exclusive} excludes the rest. " if exclusive is not None else ""
    table = typeset.Table(
        title=f"{results.title}: decision rules".removeprefix(": "),
        caption=f"Means over the classes (AUC; F1-score, {F1_MEANINGS[results.f1_metric]}; precision; sensitivity, which is recall; "
        f"specificity; AUC of the yes/no decisions) and results of the whole label matrix (loss: "
        f"binary cross-entropy, not weighted; Hamming loss; accuracy, which is 1 - Hamming loss) on the {results.split} images, "
        f"by threshold. {_explained(tuned)}{excludes}",
        data=DATA_SENTENCES[results.data],
        groups=(
            *(typeset.Group(heading, section=metric) for metric, heading in _WITHOUT.items()),
            *(typeset.Group(heading, columns, metric) for metric, heading in shown.items()),
        ),
        name_heading="Model",
        rows=tuple(rows),
        notes=(
            "Votes of 0 and 1 have no loss.",
            *votes_note(results),
            *(_learned_note(learned) if tuned else []),
            "A class without positives or without negatives among the images is left out of means that it has no value for.",
            "95% intervals (bootstrap over patients) are in the CSV file.",
        ),
    )
    return table, pd.DataFrame(records)


def _limits(thresholds: dict[str, pd.DataFrame], model: str, rule: str) -> pd.DataFrame:
    """Return the thresholds of a model by a tuned rule, by class as the tables of metrics name it."""
    if model not in thresholds:
        raise ThoraxError(f"Rule {rule!r} is tuned, and model {model!r} has no thresholds: give --thresholds {model}=PATH.")
    table = thresholds[model]
    table = table[table["rule"] == rule]
    return table.set_index(table["class"].map(row_name))


def _class_value(limits: pd.DataFrame, name: str, model: str, rule: str) -> float:
    if name not in limits.index:
        raise ThoraxError(f"The thresholds of model {model!r} by rule {rule!r} lack {name!r}: choose the thresholds again.")
    return limits.loc[name, "value"]


def _number(value: float, signed: bool = False) -> typeset.Cell:
    if not np.isfinite(value):
        return typeset.Cell(_NONE)
    printed = round(value, DECIMALS) + 0.0  # no minus before 0.000
    return typeset.Cell(f"{printed:{'+' if signed else ''}.{DECIMALS}f}")


def _record(key: str, number: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip((key, f"{key} low", f"{key} high"), number, strict=True))


def _heading(rule: str) -> str:
    """Return a short name: 0.5 for fixed-0.5, with a + where one class excludes the rest."""
    plain = rule.removesuffix(EXCLUSIVE)
    fixed = fixed_threshold(plain)
    return (_TUNED[plain] if fixed is None else f"{fixed:g}") + ("+" if plain != rule else "")


def _columns(rule: str, tuned: bool) -> tuple[str, ...]:
    return tuple(f"{_heading(rule)}: {column}" for column in (("t", "F1", "±") if tuned else ("F1", "±")))


def _explained(tuned: Sequence[str]) -> str:
    meanings = {
        "f1": f"best F1: one threshold t per class, with the best F1-score ({F1_MEANINGS['f1']}) on the validation images",
        "f1_positive": "best positive F1: one t per class, with the best F1-score of the positive class on the validation images",
        "youden": "Youden: one t per class, with the largest sum of sensitivity and specificity on the validation images",
    }
    sentence = "; ".join(meanings[rule] for rule in tuned)
    return f"{sentence[0].upper()}{sentence[1:]}. " if sentence else ""


def _section(results: Results, model: str) -> str:
    return "members" if model in results.members else "ensembles" if model in results.ensembles else model


def _learned_note(learned: Sequence[str]) -> list[str]:
    """Say on which scores the thresholds of ensembles that learn were tuned."""
    if not learned:
        return []
    return [
        f"Thresholds of ensembles that learn from the validation images ({', '.join(learned)}) were tuned on scores of images that they "
        f"had not learnt from (up to {FOLDS} folds by patient)."
    ]


def _notes(
    results: Results, limits: dict[tuple[str, str], pd.DataFrame], untouched: set[str], learned: Sequence[str]
) -> list[str]:
    notes = []
    undefined = sorted({name for table in limits.values() for name in table.index[~table["defined"].astype(bool)]})
    if undefined:
        classes = "1 class" if len(undefined) == 1 else f"{len(undefined)} classes"
        notes.append(
            f"For {classes} the validation images lack positives or negatives, so {UNTUNED} is used: {', '.join(undefined)}."
        )
    names = [model for model in results.models if model in untouched]
    if names:
        notes.append(
            f"Left out, because every tuned threshold is {UNTUNED}, as it is for votes of 0 and 1: {', '.join(names)}."
        )
    notes += _learned_note(learned)
    notes.append(
        "Differences are of the unrounded numbers; those and 95% intervals (bootstrap over patients) are in the CSV file."
    )
    return notes


def make_threshold_tables(
    title: str,
    data: str,
    metrics: Path,
    labels: Path,
    split: Path,
    members: list[str],
    ensembles: list[str],
    thresholds: dict[str, Path],
    rules: Sequence[str],
    out: Path,
    exclusive: str | None = None,
    f1_metric: str = "f1",
    learned: Sequence[str] = (),
) -> None:
    """Write thresholds and rules as .html, .md, .tex and .csv into a folder.

    Args:
        title: of the experiment.
        data: "phantom", "sample" or "archive".
        metrics: `metrics/{experiment}.parquet`; the baseline is shown if it is in it.
        labels: `labels/{label_set}.parquet`.
        split: `splits/{split}.parquet`.
        members: the single models in the order of the columns.
        ensembles: the ensembles in the order of the columns.
        thresholds: `thresholds/{experiment}/{model}.parquet` by model; needed where a rule is tuned.
        rules: names of threshold rules; the others are compared with the first.
        out: the folder.
        exclusive: the class that excludes the rest, where the metrics were made with one.
        f1_metric: which F1 is printed, a key of `tables.F1_MEANINGS`.
        learned: the ensembles that learn from validation images.

    Raises:
        ThoraxError: as in `thresholds_table`, or a missing table.
    """
    counts = count_images(store.read_table(labels), store.read_table(split))
    found = store.read_table(metrics)
    results = Results(found, members, ensembles, counts, title=title, data=data, rule=rules[0], f1_metric=f1_metric)
    tables = {name: store.read_table(path, needs=tuple(THRESHOLDS.names)) for name, path in thresholds.items()}
    for name, (table, values) in (
        ("thresholds", thresholds_table(results, rules, tables, learned)),
        ("rules", rules_table(results, rules, exclusive, learned)),
    ):
        typeset.write(table, values, Path(out), name)
