"""Labels that are probably wrong, found by confident learning from predictions of images that no network has learnt from.

The rule is that of Northcutt, Jiang and Chuang 2021 (JAIR 70:1373, arXiv 1911.00068), for each class on its own as in Thyagarajan et al.
2022 (arXiv 2211.13895), with the same result as their program cleanlab 2.9 (`filter_by="confident_learning"`). Up to version 2.7 cleanlab
is under the AGPL-3.0; the rule is short, so this package does not depend on it.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from thorax.evaluation import calibration, metrics

SUSPECTS = ["class", "rank", "image_id", "patient_id", "split", "label", "probability", "agree", "networks"]


def doubted(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return which labels confident learning counts as the other class, (n,) bool.

    A class's threshold is the mean probability of the images that have the label; that of its absence, the mean of those that lack
    it (equation 2 of Northcutt et al.). A label is doubted if the other answer is the more probable one and reaches its threshold.
    Takes (n,) labels of 1, 0 and -1 (ignored) and calibrated probabilities; nothing is doubted where positives or negatives lack.
    """
    yes, no = labels == 1, labels == 0
    if not yes.any() or not no.any():
        return np.zeros(len(labels), bool)
    of_yes, of_no = probabilities, 1 - probabilities
    return (no & (of_yes > of_no) & (of_yes >= of_yes[yes].mean())) | (yes & (of_no > of_yes) & (of_no >= of_no[no].mean()))


def find(truth: pd.DataFrame, scores: pd.DataFrame, votes: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the doubted labels of every class, the most doubtful first; one row for each, with the columns `SUSPECTS`.

    Labels are ranked by self-confidence, the probability of the given label. Weighted losses shift probabilities, so these are
    calibrated first, for each class by Platt scaling on the same images. `truth` has the columns of `joins.read_labels`, `scores` (n, k)
    probabilities in the same rows, and `votes` each network's yes and no, (n, k) bool: `agree` counts the `networks` that say the
    same as the label. A class that the scores do not rank better than chance is not searched.
    """
    classes = list(scores)
    fitted = calibration.fit(truth[classes], scores)
    calibrated = calibration.scale(scores, fitted, "platt")
    slopes = fitted[fitted["kind"] == "platt"].set_index("class")["slope"]
    found = []
    for name in classes:
        labels, probability = truth[name].to_numpy(), calibrated[name].to_numpy()
        rows = np.flatnonzero(doubted(labels, probability) & (slopes[name] > calibration.SMALLEST_SLOPE))
        confidence = np.where(labels[rows] == 1, probability[rows], 1 - probability[rows])
        rows = rows[np.argsort(confidence, kind="stable")]
        table = truth.iloc[rows][["image_id", "patient_id", "split"]].assign(label=labels[rows], probability=probability[rows])
        table["agree"] = sum(vote[name].to_numpy()[rows].astype(int) == labels[rows] for vote in votes.values())
        found.append(table.assign(rank=np.arange(1, len(rows) + 1), networks=len(votes), **{"class": name}))
    return pd.concat(found, ignore_index=True)[SUSPECTS]


def best_probabilities(truth: pd.DataFrame, members: Mapping[str, pd.DataFrame], ensembles: Mapping[str, pd.DataFrame]) -> str:
    """Return which model has the largest mean AUC on the validation images: an ensemble that gives probabilities, or "" for the
    mean of the members' probabilities; the mean where several have the same, or none has one.
    """
    validation = (truth["split"] == "val").to_numpy()
    models = {"": mean(members)} | {name: table for name, table in ensembles.items() if not table.isin((0, 1)).all(axis=None)}
    labels = truth.loc[validation, list(models[""])].to_numpy()
    areas = {name: metrics.mean_auc(labels, table[validation].to_numpy()) for name, table in models.items()}
    return max(areas, key=lambda name: np.nan_to_num(areas[name], nan=-np.inf))


def mean(members: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the mean of the members' probabilities."""
    return sum(members.values()) / len(members)  # type: ignore[return-value]
