"""The paper's result tables from the metrics, and the table of label sets (Liz et al. 2022, Tables 3 to 11)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from thorax import store, typeset
from thorax.catalog import LEFT_OUT, SPLIT_NAMES, class_columns
from thorax.config import fixed_threshold
from thorax.errors import ThoraxError
from thorax.metrics import FIXED, GLOBAL, NO_THRESHOLD, all_negative_f1, hamming_loss

BASELINE = "baseline"  # of all models the one that takes no part in the comparison
CHANCE_AUC = 0.5
DECIMALS = 3
METRICS = {"hamming": "Hamming loss", "auc": "AUC", "f1": "F1-score"}
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
    "The individual models with the best performance and the ensembles that outperform all individual models are in bold. "
    "The best ensemble result is in italics unless it ties the random classifier."
)
_TIES = (
    "Bold and italics compare the numbers as printed, with three decimals. The random classifier has an AUC of 0.5; "
    "for F1 and Hamming loss it stands for the classifier that never says yes."
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

    - Bold: all individual models that share the best value, and all ensembles strictly better than that value.
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
    above_chance = best_many != sign * round(chance, DECIMALS)
    marks = {name: Mark(bold=one.get(name) == best_one) for name in individual}
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
        images; without what the split leaves out), images_in_part, auc, f1 and hamming of the classifier that never says yes (hamming for Global only).
    """
    parts = labels["image_id"].map(split.set_index("image_id")["split"])
    labels, parts = labels[parts != LEFT_OUT], parts[parts != LEFT_OUT]
    in_part = (parts == part).to_numpy()
    classes = class_columns(labels)
    rows = []
    for name in classes:
        values = labels[name].to_numpy()
        positive = values == 1
        rows.append(
            (name, int(positive.sum()), int((positive & in_part).sum()), CHANCE_AUC, all_negative_f1(values[in_part]), np.nan)
        )
    rows.sort(key=lambda row: (-row[1], row[0]))
    matrix = labels.loc[in_part, classes].to_numpy()
    chance_f1 = float(pd.Series([row[4] for row in rows], dtype=float).mean())
    never = hamming_loss(matrix, np.zeros(matrix.shape, bool))
    rows.append((GLOBAL, len(labels), int(in_part.sum()), CHANCE_AUC, chance_f1, never))
    return pd.DataFrame(rows, columns=["class", "images", "images_in_part", "auc", "f1", "hamming"])


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
    """

    metrics: pd.DataFrame
    members: Sequence[str]
    ensembles: Sequence[str]
    counts: pd.DataFrame
    split: str = "test"
    title: str = ""
    data: str = "archive"
    rule: str = FIXED

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

    def has_auc(self, name: str) -> bool:
        """Whether the AUC of a class is defined for every single model."""
        return all(np.isfinite(self.number(model, name, "auc")[0]) for model in self.members)


def per_class_table(results: Results) -> tuple[typeset.Table, pd.DataFrame]:
    """Set AUC and F1 of every model and class in the form of Tables 4, 6, 8 and 10.

    Returns:
        The table, and the same numbers unrounded and with their 95% intervals, one row per class.

    Raises:
        ThoraxError: a model or class that the metrics lack.
    """
    rows, records = [], []
    for count in results.counts.to_dict("records"):
        name = count["class"]
        cells = [typeset.Cell(str(count["images"])), typeset.Cell(str(count["images_in_part"]))]
        record: dict[str, object] = {
            "class": name,
            "images": count["images"],
            f"{results.split}_images": count["images_in_part"],
        }
        marks = {metric: _marks(results, name, metric, count[metric]) for metric in ("auc", "f1")}
        for model in results.models:
            for metric in ("auc", "f1"):
                number = results.number(model, name, metric)
                cells.append(_cell(number, marks[metric].get(model, Mark()), hover=f"{model}, {name}"))
                record |= _record(f"{model} {metric}", number)
        rows.append((_capitalised(name), tuple(cells)))
        records.append(record | {"data": results.data})
    groups = (
        typeset.Group("# Samples", ("all", results.split), "samples"),
        *(_group(results, model, ("AUC", "F1")) for model in results.models),
    )
    table = typeset.Table(
        title=f"{results.title}: results per class".removeprefix(": "),
        caption=f"AUC and F1-score (mean over the positive and the negative class, {describe_threshold(results.rule)}) on the "
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
    for metric, heading in METRICS.items():
        marks = _marks(results, GLOBAL, metric, chance[metric])
        numbers = {model: results.number(model, GLOBAL, metric) for model in results.models}
        cells = tuple(_cell(number, marks.get(model, Mark()), detail=True) for model, number in numbers.items())
        rows.append((heading, cells))
        record: dict[str, object] = {"metric": metric}
        for model, number in numbers.items():
            record |= _record(model, number)
        records.append(record | {"data": results.data})
    table = typeset.Table(
        title=f"{results.title}: global results".removeprefix(": "),
        caption=f"Hamming loss (lower is better){_other_threshold(results.rule)}, and means of AUC and F1-score over the classes, "
        f"on the {results.split} images. {_MARKS}{_about_baseline(results)}",
        data=measured_on(results.data),
        groups=tuple(_group(results, model, ("",)) for model in results.models),
        name_heading="",
        rows=tuple(rows),
        notes=(
            *_baseline_note(results),
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
    return mark(individual, combined, chance, lower_is_better=metric == "hamming")


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


def _capitalised(name: str) -> str:
    return name[:1].upper() + name[1:]


def describe_threshold(rule: str) -> str:
    """Say in a few words which thresholds a rule sets."""
    fixed = fixed_threshold(rule)
    return "thresholds tuned on validation" if fixed is None else f"threshold {fixed:g}"


def _other_threshold(rule: str) -> str:
    return "" if rule == FIXED else f" with {describe_threshold(rule)}"


def _about_baseline(results: Results) -> str:
    if BASELINE not in results.models:
        return ""
    return " The baseline, a logistic regression on 32 x 32 pixels, takes no part in this comparison."


def _notes(results: Results) -> list[str]:
    notes = _baseline_note(results)
    notes.append(
        f"Samples: images with the class, in the whole label set and among the {results.split} images; Global: all images."
    )
    undefined = [name for name in results.classes if not results.has_auc(name)]
    if undefined:
        notes.append(
            f"The AUC of {_number(len(undefined))} is undefined, because the {results.split} images lack positives or "
            f"negatives, and left out of the mean: {', '.join(undefined)}."
        )
    notes.append("95% intervals (bootstrap over patients) are in the CSV file and, in the HTML, under the pointer.")
    return [*notes, _TIES]


def _baseline_note(results: Results) -> list[str]:
    """Say for how many classes no network is better than the baseline; say nothing where there is no baseline."""
    if BASELINE not in results.models:
        return []
    defined = [name for name in results.classes if results.has_auc(name)]
    best = {name: max(results.number(model, name, "auc")[0] for model in results.members) for name in defined}
    unbeaten = [name for name in defined if best[name] <= results.number(BASELINE, name, "auc")[0]]
    if not unbeaten:
        return [f"For {len(defined)} of {_number(len(defined))} the best network's AUC is higher than the baseline's."]
    return [
        f"For {len(unbeaten)} of {_number(len(defined))} the best network's AUC is not higher than the baseline's: "
        f"{', '.join(unbeaten)}."
    ]


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
    out_dir: Path,
    rule: str = FIXED,
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
        out_dir: the folder.
        rule: the threshold rule of F1 and Hamming loss.

    Raises:
        ThoraxError: a model, class or rule that the metrics lack, or a missing table.
    """
    counts = count_images(store.read_table(labels), store.read_table(split))
    results = Results(store.read_table(metrics), members, ensembles, counts, title=title, data=data, rule=rule)
    for name, make in (("per_class", per_class_table), ("global", global_table)):
        table, values = make(results)
        typeset.write(table, values, Path(out_dir), name)


def make_summary(label_sets: dict[str, Path], splits: dict[str, Path], out_dir: Path, data: str) -> None:
    """Write summary.html, .md, .tex and .csv into a folder.

    Args:
        label_sets: `labels/{label_set}.parquet` by the name of the row.
        splits: the split of each label set, by the same names.
        out_dir: the folder.
        data: "phantom", "sample" or "archive".

    Raises:
        ThoraxError: as in `summary_table`.
    """
    frames = {name: store.read_table(path) for name, path in label_sets.items()}
    parts = {name: store.read_table(path) for name, path in splits.items()}
    table, values = summary_table(frames, parts, data)
    typeset.write(table, values, Path(out_dir), "summary")
