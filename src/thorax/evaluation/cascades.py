"""A cascade: general classes first, specific ones inside them (Liz et al. 2022, future work).

P(class) = P(one of its general classes) * P(class | one of its general classes). The first factor is that of a network for the
general classes only. The second factor is that of a network that learnt each class on the images with one of its general classes
(`label_sets.build_inside`). The paper has the idea but gives no rule. Ours: of a class with two parents, P(either) is taken to be
the larger of both, and a class that is alone in its general class, such as normal, has the general class's probability.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from thorax.config import LabelSet
from thorax.errors import ThoraxError
from thorax.evaluation.metrics import EVALUATED_SPLITS, read_probabilities
from thorax.labels.label_sets import KEPT, WHOLE
from thorax.labels.term_tree import TermTree
from thorax.storage import joins, store
from thorax.storage.schemas import class_columns, scores_schema


def combine(general: pd.DataFrame, inside: pd.DataFrame, parents: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Multiply the probabilities of both steps, (n, general classes) and (n, classes inside), all in [0, 1].

    Returns (n, k) float64, a column for each class of `parents`; none exceeds the largest of its general classes.
    """
    either = {name: general[list(above)].max(axis=1) for name, above in parents.items()}
    return pd.DataFrame({name: likely * inside.get(name, 1.0) for name, likely in either.items()})


def make_cascade(
    settings: LabelSet, archive: str, general: Path, inside: Path, logits: bool, classes: Path, labels: Path, split: Path,
    out: Path,
) -> None:  # fmt: skip
    """Write the cascade's probabilities of the validation and test images of the flat label set `labels`.

    The settings are those of the label set inside the general one. Its report, `classes`, says why a class is not in it.
    """
    truth = joins.read_labels(labels, split, EVALUATED_SPLITS)
    steps = []
    for path in (general, inside):
        scores = read_probabilities(path, truth, labels, logits, further=True).astype(np.float64)
        if not ((scores >= 0) & (scores <= 1)).to_numpy().all():
            raise ThoraxError(f"{path} has scores that are not numbers from 0 to 1: give --logits for a network's predictions.")
        steps.append(scores)
    first, second = steps
    why_not = store.read_csv(classes, keep_default_na=False).set_index("class")["status"]
    tree = TermTree.of_archive(archive, labels.stem, "train one network of all classes").climbed(settings.two_parents)
    parents = {name: tree.general_among(name, first.columns) for name in class_columns(truth)}
    for name in parents:
        status = why_not.get(name, "not among its classes")
        if not parents[name]:
            raise ThoraxError(f"{general} has no general class of {name!r}: lower the minimum counts of {settings.inside}.")
        if status not in (KEPT, WHOLE) or (status == KEPT) != (name in second.columns):
            problem = f"{inside} cannot tell {name!r} apart ({status} in {classes})"
            raise ThoraxError(f"{problem}: give its label set the counts and exclusions of {labels.stem}, and predict again.")
    scores = combine(first, second, parents)
    store.write_table(pd.concat([truth[["image_id", "split"]], scores], axis=1), out, scores_schema(list(parents)))
