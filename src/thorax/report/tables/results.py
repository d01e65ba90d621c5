"""The paper's result tables from the metrics, and the table of label sets (Liz et al. 2022, Tables 3 to 11)."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from thorax.config import fixed_threshold
from thorax.errors import ThoraxError
from thorax.evaluation.metrics import FIXED, GLOBAL, NO_THRESHOLD, all_negative_f1, f1_positive, hamming_loss, row_name
from thorax.report import typeset
from thorax.storage import store
from thorax.storage.schemas import LEFT_OUT, SPLIT_NAMES, class_columns

BASELINE = "baseline"  # of all models the one that takes no part in the comparison
CHANCE_AUC = 0.5
DECIMALS = 3
METRICS = {"hamming": "Hamming loss", "auc": "AUC", "f1": "F1-score", "f1_positive": "F1-score"}  # of an experiment one F1
F1_MEANINGS = {  # what `Experiment.f1_metric` chooses from
    "f1": "mean over the positive and the negative class",
    "f1_positive": "of the positive class alone, 2PR / (P + R) of precision P and recall R",
}
LOWER_IS_BETTER = ("hamming",)
_UNDEFINED = "–"

DATA_SENTENCES = {
    "phantom": "Phantom radiographs: these numbers show that the pipeline works, not how well it reads radiographs.",
    "sample": "A small sample of real radiographs: these numbers show what the pipeline does with real images, "
    "but are too uncertain to compare with a paper.",
    "archive": "All usable radiographs of the archive.",
}
COUNTED = {
    "phantom": "Synthetic radiographs.",
    "sample": "A small sample of real radiographs.",
    "archive": "Radiographs of the archive.",
}
_MARKS = (
    "The individual models with the best performance and the ensembles that outperform all individual models are in bold; "
    "individual models that all tie the random classifier are not marked. "
    "The best ensemble result is in italics unless it ties the random classifier."
)
_TIES = (
    "Bold and italics compare the numbers as printed, with three decimals. The random classifier has an AUC of 0.5; "
    "for F1 and Hamming loss it is the classifier that never says yes."
)


@dataclass(frozen=True)
class Mark:
    """How a number is set."""

    bold: bool = False
    italic: bool = False


def mark(
    individual: dict[str, float], ensembles: dict[str, float], chance: float, lower_is_better: bool = False
) -> dict[str, Mark]:
    """Decide which numbers of one row and metric are in bold and in italics (captions of Tables 4, 6 and 8).

    Numbers are compared as printed, so that a reader can check the marks; undefined ones (nan) take no part.

    - Bold: all individual models that share the best value, unless all of them have the random classifier's value; and all
      ensembles strictly better than the best individual value.
    - Italics: all ensembles that share the best value of the ensembles, unless that is the random classifier's value.

    Args:
        individual: value of each single model.
        ensembles: value of each ensemble.
        chance: value of the random classifier.
        lower_is_better: as for the Hamming loss.

    Returns:
        The mark of each model.
    """
    sign = -1 if lower_is_better else 1
    one = {name: sign * round(value, DECIMALS) for name, value in individual.items() if np.isfinite(value)}
    many = {name: sign * round(value, DECIMALS) for name, value in ensembles.items() if np.isfinite(value)}
    best_one, best_many = max(one.values(), default=-np.inf), max(many.values(), default=-np.inf)
    at_chance = sign * round(chance, DECIMALS)
    above_chance = best_many != at_chance
    informative = any(value != at_chance for value in one.values())
    marks = {name: Mark(bold=informative and one.get(name) == best_one) for name in individual}
    for name in ensembles:
        value = many.get(name, -np.inf)
        marks[name] = Mark(bold=bool(one) and value > best_one, italic=name in many and value == best_many and above_chance)
    return marks


def count_images(labels: pd.DataFrame, split: pd.DataFrame, part: str = "test") -> pd.DataFrame:
    """Count each class and say what the classifier that never says yes scores.

    Args:
        labels: the columns of `catalog.labels_schema`.
        split: the columns of `catalog.SPLITS`; images of other label sets may be in it.
        part: the part whose results the table shows.

    Returns:
        One row per class, by number of images, then one for "Global": class, images (with the class, in all; for Global all
        images; without what the split leaves out), images_in_part, and auc, f1, f1_positive and hamming of the classifier that
        never says yes (hamming for Global only). `metrics.row_name` names the classes.
    """
    parts = labels["image_id"].map(split.set_index("image_id")["split"])
    labels, parts = labels[parts != LEFT_OUT], parts[parts != LEFT_OUT]
    in_part = (parts == part).to_numpy()
    matrix = labels.loc[in_part, class_columns(labels)].to_numpy()
    never = np.zeros(matrix.shape, bool)
    rows = []
    for place, name in enumerate(class_columns(labels)):
        truth = matrix[:, place]
        f1s = all_negative_f1(truth), f1_positive(truth, never[:, place])
        rows.append((row_name(name), int((labels[name] == 1).sum()), int((truth == 1).sum()), CHANCE_AUC, *f1s, np.nan))
    rows.sort(key=lambda row: (-row[1], row[0]))
    means = pd.DataFrame(rows).iloc[:, 4:6].mean()  # of the classes that have one
    rows.append((GLOBAL, len(labels), int(in_part.sum()), CHANCE_AUC, *means, hamming_loss(matrix, never)))
    return pd.DataFrame(rows, columns=["class", "images", "images_in_part", "auc", "f1", "f1_positive", "hamming"])


@dataclass(frozen=True)
class Results:
    """What an experiment's tables are made from.

    Args:
        metrics: the rows of `catalog.METRICS`.
        members: the single models, in the order of the columns.
        ensembles: the ensembles, in the order of the columns.
        counts: what `count_images` returns for the same part.
        split: the part whose results are shown.
        title: of the experiment.
        data: a key of `DATA_SENTENCES`.
        rule: the threshold rule of F1 and Hamming loss.
        f1_metric: which F1 the tables print, a key of `F1_MEANINGS`.
    """

    metrics: pd.DataFrame
    members: Sequence[str]
    ensembles: Sequence[str]
    counts: pd.DataFrame
    split: str = "test"
    title: str = ""
    data: str = "archive"
    rule: str = FIXED
    f1_metric: str = "f1"

    @cached_property
    def numbers(self) -> dict[tuple[str, str, str], tuple[float, float, float]]:
        """Value, low and high by model, class and metric; nan where undefined."""
        of_rule = self.metrics["threshold_rule"].isin((NO_THRESHOLD, self.rule))
        chosen = self.metrics[(self.metrics["split"] == self.split) & of_rule]
        keys = zip(chosen["model"], chosen["class"], chosen["metric"], strict=True)
        numbers = chosen[["value", "low", "high"]].astype(float).itertuples(index=False, name=None)
        return dict(zip(keys, numbers, strict=True))

    @cached_property
    def models(self) -> list[str]:
        """The models in the order of the columns: members, ensembles, and the baseline where there is one."""
        has_baseline = any(model == BASELINE for model, _, _ in self.numbers)
        return [*self.members, *self.ensembles, *([BASELINE] if has_baseline else [])]

    @property
    def classes(self) -> list[str]:
        """The classes in the order of the rows."""
        return [name for name in self.counts["class"] if name != GLOBAL]

    def number(self, model: str, name: str, metric: str) -> tuple[float, float, float]:
        """Return value, low and high; nan where undefined."""
        if (model, name, metric) not in self.numbers:
            by = "" if self.rule == FIXED else f" by rule {self.rule!r}"
            raise ThoraxError(f"The metrics have no {metric} of model {model!r} for {name!r}{by}: compute the metrics again.")
        return self.numbers[model, name, metric]

    def has(self, name: str, metric: str) -> bool:
        """Whether a metric of a class is defined for every single model."""
        return all(np.isfinite(self.number(model, name, metric)[0]) for model in self.members)


def per_class_table(results: Results) -> tuple[typeset.Table, pd.DataFrame]:
    """Set AUC and F1 of every model and class in the form of Tables 4, 6, 8 and 10.

    Returns:
        The table, and the same numbers unrounded and with their 95% intervals, one row per class.

    Raises:
        ThoraxError: a model or class that the metrics lack.
    """
    rows, records = [], []
    metrics = ("auc", results.f1_metric)
    headings = row_headings(results.classes)
    for count in results.counts.to_dict("records"):
        name = count["class"]
        cells = [typeset.Cell(str(count["images"])), typeset.Cell(str(count["images_in_part"]))]
        record: dict[str, object] = {
            "class": name,
            "images": count["images"],
            f"{results.split}_images": count["images_in_part"],
        }
        marks = {metric: _marks(results, name, metric, count[metric]) for metric in metrics}
        for model in results.models:
            for metric in metrics:
                number = results.number(model, name, metric)
                cells.append(_cell(number, marks[metric].get(model, Mark()), hover=f"{model}, {name}"))
                record |= _record(f"{model} {metric}", number)
        rows.append((headings[name], tuple(cells)))
        records.append(record | {"data": results.data})
    groups = (
        typeset.Group("# Samples", ("all", results.split), "samples"),
        *(_group(results, model, ("AUC", "F1")) for model in results.models),
    )
    table = typeset.Table(
        title=f"{results.title}: results per class".removeprefix(": "),
        caption=f"AUC and F1-score ({F1_MEANINGS[results.f1_metric]}; {describe_threshold(results.rule)}) on the "
        f"{results.split} images. {_MARKS}{_about_baseline(results)}",
        data=measured_on(results.data),
        groups=groups,
        name_heading="Class",
        rows=tuple(rows),
        total=True,
        notes=tuple(_notes(results)),
    )
    return table, pd.DataFrame(records)


def global_table(results: Results) -> tuple[typeset.Table, pd.DataFrame]:
    """Set Hamming loss, AUC and F1 of every model in the form of Tables 5, 7, 9 and 11.

    Returns:
        The table, and the same numbers unrounded and with their 95% intervals, one row per metric.

    Raises:
        ThoraxError: a model that the metrics lack.
    """
    chance = results.counts.set_index("class").loc[GLOBAL]
    rows, records = [], []
    for metric in metrics_of(results.f1_metric):
        marks = _marks(results, GLOBAL, metric, chance[metric])
        numbers = {model: results.number(model, GLOBAL, metric) for model in results.models}
        cells = tuple(_cell(number, marks.get(model, Mark()), detail=True) for model, number in numbers.items())
        rows.append((METRICS[metric], cells))
        record: dict[str, object] = {"metric": metric}
        for model, number in numbers.items():
            record |= _record(model, number)
        records.append(record | {"data": results.data})
    table = typeset.Table(
        title=f"{results.title}: global results".removeprefix(": "),
        caption=f"Hamming loss (lower is better), and means of AUC and F1-score ({F1_MEANINGS[results.f1_metric]}) over the classes, "
        f"on the {results.split} images; {describe_threshold(results.rule)}. {_MARKS}{_about_baseline(results)}",
        data=measured_on(results.data),
        groups=tuple(_group(results, model, ("",)) for model in results.models),
        name_heading="",
        rows=tuple(rows),
        notes=(
            *_baseline_over_all(results),
            *_undefined(results),
            *votes_note(results),
            "95% intervals (bootstrap over patients) are in the HTML and in the CSV file.",
            _TIES,
        ),
    )
    return table, pd.DataFrame(records)


def summary_table(
    label_sets: dict[str, pd.DataFrame], splits: dict[str, pd.DataFrame], data: str
) -> tuple[typeset.Table, pd.DataFrame]:
    """Set the number of classes and images of each label set, in all and by part, in the form of Table 3.

    Args:
        label_sets: the columns of `catalog.labels_schema` by the name of the row.
        splits: the columns of `catalog.SPLITS` by the same names.
        data: a key of `COUNTED`.

    Returns:
        The table, and the same numbers as a frame.

    Raises:
        ThoraxError: a label set without a split, or an image that its split does not assign.
    """
    records = []
    for name, labels in label_sets.items():
        if name not in splits:
            raise ThoraxError(f"Label set {name!r} has no split: name the split for each label set.")
        parts = labels["image_id"].map(splits[name].set_index("image_id")["split"])
        if parts.isna().any():
            image = labels["image_id"][parts.isna()].iloc[0]
            raise ThoraxError(f"The split of label set {name!r} does not assign image {image!r}: remake the split.")
        sizes = {part: int((parts == part).sum()) for part in SPLIT_NAMES}
        records.append(
            {"label_set": name, "classes": len(class_columns(labels)), "samples": sum(sizes.values()), **sizes, "data": data}
        )
    frame = pd.DataFrame(records)
    numbers = frame.drop(columns=["label_set", "data"]).to_numpy()
    rows = tuple(
        (name, tuple(typeset.Cell(str(number)) for number in row))
        for name, row in zip(frame["label_set"], numbers, strict=True)
    )
    table = typeset.Table(
        title="Label sets",
        caption="Number of classes and of images of each label set, and the images in each part of its split.",
        data=counted_on(data),
        groups=tuple(map(typeset.Group, ("# classes", "# samples", "train size", "val. size", "test size"))),
        name_heading="Label set",
        rows=rows,
    )
    return table, frame


def measured_on(data: str) -> str:
    """Say what a table's results were measured on: "phantom", "sample" or "archive"."""
    return _sentence(DATA_SENTENCES, data)


def counted_on(data: str) -> str:
    """Say what a table of counts was counted on: "phantom", "sample" or "archive"."""
    return _sentence(COUNTED, data)


def _sentence(sentences: dict[str, str], data: str) -> str:
    if data not in sentences:
        raise ThoraxError(f"data is {data!r}: choose one of {', '.join(sentences)}.")
    return sentences[data]


def _group(results: Results, model: str, columns: tuple[str, ...]) -> typeset.Group:
    section = "members" if model in results.members else "ensembles" if model in results.ensembles else BASELINE
    return typeset.Group(model, columns, section, apart=section == BASELINE)


def _marks(results: Results, name: str, metric: str, chance: float) -> dict[str, Mark]:
    individual = {model: results.number(model, name, metric)[0] for model in results.members}
    combined = {model: results.number(model, name, metric)[0] for model in results.ensembles}
    return mark(individual, combined, chance, lower_is_better=metric in LOWER_IS_BETTER)


def _cell(number: tuple[float, float, float], how: Mark, hover: str = "", detail: bool = False) -> typeset.Cell:
    value, low, high = number
    if not np.isfinite(value):
        return typeset.Cell(_UNDEFINED, hover=f"{hover}: undefined" if hover else "")
    interval = f"{low:.{DECIMALS}f}–{high:.{DECIMALS}f}" if np.isfinite(low) else ""
    return typeset.Cell(
        f"{value:.{DECIMALS}f}",
        how.bold,
        how.italic,
        detail=interval if detail else "",
        hover=f"{hover}: 95% interval {interval}" if hover and interval else "",
    )


def _record(key: str, number: tuple[float, float, float]) -> dict[str, float]:
    return {key: number[0], f"{key} low": number[1], f"{key} high": number[2]}


def metrics_of(f1_metric: str) -> list[str]:
    """Return the keys of `METRICS` that an experiment's tables show, with one F1."""
    if f1_metric not in F1_MEANINGS:
        raise ThoraxError(f"The F1 of the tables is {f1_metric!r}: choose one of {', '.join(F1_MEANINGS)}.")
    return [metric for metric in METRICS if metric not in F1_MEANINGS or metric == f1_metric]


def row_headings(classes: Iterable[str]) -> dict[str, str]:
    """Return the classes' names with a capital, as the papers print them; as they are where two would then look the same."""
    capitalised = {name: name[:1].upper() + name[1:] for name in (*classes, GLOBAL)}
    counts = Counter(capitalised.values())
    return {name: heading if counts[heading] == 1 else name for name, heading in capitalised.items()}


def describe_threshold(rule: str) -> str:
    """Say in a few words which thresholds a rule sets."""
    fixed = fixed_threshold(rule)
    return "thresholds tuned on validation" if fixed is None else f"threshold {fixed:g}"


def _about_baseline(results: Results) -> str:
    if BASELINE not in results.models:
        return ""
    return " The baseline, a logistic regression on 32 x 32 pixels, takes no part in this comparison."


def _notes(results: Results) -> list[str]:
    return [
        *_baseline_by_class(results),
        f"Samples: images with the class, in the whole label set and among the {results.split} images; Global: all images.",
        *_undefined(results),
        *votes_note(results),
        "95% intervals (bootstrap over patients) are in the CSV file; in the HTML, hover over a number to see its interval.",
        _TIES,
    ]


def _undefined(results: Results) -> list[str]:
    """Name the classes whose AUC or F1 is undefined."""
    notes = []
    for metric, lacking in (("auc", "positives or negatives"), ("f1_positive", "positives")):
        if metric not in ("auc", results.f1_metric):
            continue
        undefined = [name for name in results.classes if not results.has(name, metric)]
        if undefined:
            notes.append(
                f"The {METRICS[metric]} of {_number(len(undefined))} is undefined because the {results.split} images lack {lacking}; "
                f"it is left out of the mean: {', '.join(undefined)}."
            )
    return notes


def votes_note(results: Results, models: Sequence[str] | None = None) -> list[str]:
    """Name the models (default: of all) that give votes of 0 and 1, known by having no loss: their AUC is not one of probabilities."""
    loss = {model: results.numbers.get((model, GLOBAL, "loss"), (0.0,))[0] for model in models or results.models}
    voting = [model for model, value in loss.items() if not np.isfinite(value)]
    if not voting:
        return []
    return [f"The AUC of {', '.join(voting)} is that of votes of 0 and 1, as in Liz et al. 2022, and not of probabilities."]


def _baseline_by_class(results: Results) -> list[str]:
    """Say for each metric for how many classes no network is better than the baseline; nothing where there is no baseline."""
    if BASELINE not in results.models:
        return []
    notes = []
    for metric in ("auc", results.f1_metric):
        defined = [name for name in results.classes if results.has(name, metric)]
        unbeaten = [name for name in defined if _best(results, results.members, name, metric)[1]]
        notes.append(
            f"For {len(unbeaten)} of {_number(len(defined))} the best network's {METRICS[metric]} is not higher than the "
            f"baseline's: {', '.join(unbeaten)}."
            if unbeaten
            else f"For {len(defined)} of {_number(len(defined))} the best network's {METRICS[metric]} is higher than the baseline's."
        )
    return notes


def _baseline_over_all(results: Results) -> list[str]:
    """Say by which metrics no network, or no model at all, is better than the baseline; nothing where there is no baseline."""
    if BASELINE not in results.models:
        return []
    notes = []
    for metric in metrics_of(results.f1_metric):
        best, unbeaten = _best(results, results.members, GLOBAL, metric)
        if unbeaten:
            all_models = _best(results, [*results.members, *results.ensembles], GLOBAL, metric)[1]
            baseline = results.number(BASELINE, GLOBAL, metric)[0]
            notes.append(
                f"By {METRICS[metric]} no {'network or ensemble' if all_models and results.ensembles else 'network'} is better than the "
                f"baseline: it has {baseline:.{DECIMALS}f}, the best network {best:.{DECIMALS}f}."
            )
    return notes or ["By every metric the best network is better than the baseline."]


def _best(results: Results, models: Sequence[str], name: str, metric: str) -> tuple[float, bool]:
    """Return the best value of some models, and whether the baseline's is as good or better, as printed; (nan, False) without any."""
    sign = -1 if metric in LOWER_IS_BETTER else 1
    values = [value for model in models if np.isfinite(value := results.number(model, name, metric)[0])]
    if not values:
        return np.nan, False
    best = sign * max(sign * value for value in values)
    return best, sign * round(results.number(BASELINE, name, metric)[0], DECIMALS) >= sign * round(best, DECIMALS)


def _number(classes: int) -> str:
    return f"{classes} class" if classes == 1 else f"{classes} classes"


def make_tables(
    title: str,
    data: str,
    metrics: Path,
    labels: Path,
    split: Path,
    members: list[str],
    ensembles: list[str],
    out: Path,
    rule: str = FIXED,
    f1_metric: str = "f1",
) -> None:
    """Write per_class and global as .html, .md, .tex and .csv into a folder.

    Args:
        title: of the experiment.
        data: "phantom", "sample" or "archive".
        metrics: `metrics/{experiment}.parquet`; the baseline is shown if it is in it.
        labels: `labels/{label_set}.parquet`.
        split: `splits/{split}.parquet`.
        members: the single models in the order of the columns.
        ensembles: the ensembles in the order of the columns.
        out: the folder.
        rule: the threshold rule of F1 and Hamming loss.
        f1_metric: which F1 is printed, a key of `F1_MEANINGS`.

    Raises:
        ThoraxError: a model, class or rule that the metrics lack, or a missing table.
    """
    counts = count_images(store.read_table(labels), store.read_table(split))
    found = store.read_table(metrics)
    results = Results(found, members, ensembles, counts, title=title, data=data, rule=rule, f1_metric=f1_metric)
    for name, make in (("per_class", per_class_table), ("global", global_table)):
        table, values = make(results)
        typeset.write(table, values, Path(out), name)


def make_summary(labels: dict[str, Path], splits: dict[str, Path], out: Path, data: str) -> None:
    """Write summary.html, .md, .tex and .csv into a folder.

    Args:
        labels: `labels/{label_set}.parquet` by the name of the row.
        splits: the split of each label set, by the same names.
        out: the folder.
        data: "phantom", "sample" or "archive".

    Raises:
        ThoraxError: as in `summary_table`.
    """
    frames = {name: store.read_table(path) for name, path in labels.items()}
    parts = {name: store.read_table(path) for name, path in splits.items()}
    table, values = summary_table(frames, parts, data)
    typeset.write(table, values, Path(out), "summary")
