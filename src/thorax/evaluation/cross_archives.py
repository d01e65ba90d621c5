"""Models on the test images of archives that they were not trained on, for the classes that archives share.

`resources/shared_classes.csv` lists which labels of an archive a shared class unites, each with the reason. The labels' names are
those of the archives' catalogs, divided by |; blank where the archive has no label for just this class.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import pandas as pd

from thorax.archives import ARCHIVES
from thorax.errors import ThoraxError
from thorax.evaluation.metrics import GLOBAL, evaluate
from thorax.resources import resource
from thorax.storage import store
from thorax.storage.schemas import IGNORED, class_columns

CLASSES = resource("shared_classes.csv")
COLUMNS = ("trained_on", "tested_on", "class", "averaged", "images", "n_positive", "auc", "low", "high", "labels")


@cache
def shared_table() -> pd.DataFrame:
    return store.read_csv(CLASSES, dtype=str, keep_default_na=False)


def mapped(archive: str, classes: Sequence[str] | None = None) -> dict[str, tuple[str, ...]]:
    """Return one archive's labels (of `classes`, if given) by the shared class that unites them, without empty classes."""
    table = shared_table()
    if archive not in table.columns[1:-1]:
        raise ThoraxError(f"{CLASSES} has no column for archive {archive!r}: add one, or test on other archives.")
    united = {
        name: tuple(label for label in labels.split("|") if label and (classes is None or label in classes))
        for name, labels in zip(table["class"], table[archive], strict=True)
    }
    return {name: labels for name, labels in united.items() if labels}


def unite_labels(labels: pd.DataFrame, united: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Return the truth of shared classes, (n, classes) int8 of 1, 0 and -1 (ignored), from (n, k) labels of the same values.

    A class is positive where any of its labels is, else ignored where any is, else negative.
    """
    truth = {}
    for name, columns in united.items():
        values = labels[list(columns)].to_numpy()
        doubtful = np.where((values == IGNORED).any(axis=1), IGNORED, 0)
        truth[name] = np.where((values == 1).any(axis=1), 1, doubtful).astype(np.int8)
    return pd.DataFrame(truth, index=labels.index)


def unite_scores(probabilities: pd.DataFrame, united: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Return a model's probability of shared classes: the largest of those of their labels, (n, classes)."""
    return pd.DataFrame({name: probabilities[list(columns)].max(axis=1) for name, columns in united.items()})


@dataclass(frozen=True)
class Problem:
    """One experiment: its archive, and the labels (`joins.read_labels`) of the images that others are tested on."""

    archive: str
    labels: pd.DataFrame

    @cached_property
    def united(self) -> dict[str, tuple[str, ...]]:
        """Its labels of each shared class that it has."""
        return mapped(self.archive, class_columns(self.labels))

    @cached_property
    def truth(self) -> pd.DataFrame:
        """(n, shared classes) of 1, 0 and -1."""
        return unite_labels(self.labels, self.united)

    @property
    def title(self) -> str:
        """The archive's name for people."""
        return ARCHIVES[self.archive].title


def common_classes(problems: Mapping[str, Problem]) -> dict[str, bool]:
    """Return the classes that all label sets share, and whether every test part has positives and negatives of each.

    Means are over the latter, so that every cell is a mean over the same classes.
    """
    common = [name for name in shared_table()["class"] if all(name in problem.united for problem in problems.values())]
    if not common:
        problem = f"The label sets of {', '.join(problems)} share no class of {CLASSES.name}"
        raise ThoraxError(f"{problem}: choose larger label sets.")
    return {name: all({0, 1} <= set(problem.truth[name]) for problem in problems.values()) for name in common}


def cross_metrics(
    problems: Mapping[str, Problem], scores: Mapping[tuple[str, str], pd.DataFrame], replicates: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Measure every model on every test part, with intervals of a bootstrap over patients (`metrics.evaluate`).

    Scores are by (trained on, tested on): (n, k) probabilities of the first's classes for the second's test images, in their
    order. Returns the columns `COLUMNS`: a row for each class that both have, then one, "Global", with the mean AUC over the
    `common_classes` that have one everywhere. Undefined AUCs are nan. images are not ignored; labels are those that the truth unites.
    """
    averaged = [name for name, defined in common_classes(problems).items() if defined]
    rows = []
    for (trained, tested), probabilities in scores.items():
        model, test = problems[trained], problems[tested]
        both = [name for name in model.united if name in test.united]
        united = unite_scores(probabilities, model.united)
        patients = test.labels["patient_id"].to_numpy(object)
        found: dict[str, tuple[float, float, float]] = {}
        for names in filter(None, (averaged, [name for name in both if name not in averaged])):  # the mean of the first stays
            name = f"{trained} on {tested}"
            values = evaluate(
                test.truth[names], united[names], patients, model=name, split="test", replicates=replicates, seed=seed
            )
            areas = values[values["metric"] == "auc"].set_index("class")[["value", "low", "high"]]
            found = {**{name: tuple(areas.loc[name]) for name in areas.index}, **found}
        for name in both:
            truth = test.truth[name]
            row = (trained, tested, name, name in averaged, int((truth != IGNORED).sum()), int((truth == 1).sum()))
            rows.append((*row, *found[name], "|".join(test.united[name])))
        mean = found[GLOBAL] if averaged else (np.nan,) * 3
        rows.append((trained, tested, GLOBAL, False, len(test.labels), int((test.truth[averaged] == 1).sum().sum()), *mean, ""))
    return pd.DataFrame(rows, columns=list(COLUMNS))
