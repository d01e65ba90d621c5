"""Flip labels on purpose and count how many the search for doubted labels finds: python -m bench suspects --labels ... --split ...

Of the validation and test labels of a finished run, a share of each class is flipped at random. A class with n flipped labels has
found those among the first n of its list; a random list would have found the share that was flipped.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from thorax.evaluation import metrics, suspects
from thorax.storage.schemas import IGNORED, class_columns


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench suspects", description=__doc__)
    parser.add_argument("--labels", type=Path, required=True, help="label set, whose labels are right")
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument(
        "--predictions", type=Path, nargs="+", required=True, help="logits of networks, whose mean probability is taken"
    )
    parser.add_argument("--rate", type=float, default=0.05, help="share of the labels to flip")
    parser.add_argument("--repeats", type=int, default=20, help="how often, with seeds 0, 1 ...")
    given = parser.parse_args(arguments)
    truth, models = metrics.read_models(given.labels, given.split, {path.stem: path for path in given.predictions}, {})
    scores, classes = suspects.mean(models), class_columns(truth)
    labels = truth[classes].to_numpy()
    found, listed, right, flips = [], 0, 0, 0
    for seed in range(given.repeats):
        flipped = (np.random.default_rng(seed).random(labels.shape) < given.rate) & (labels != IGNORED)
        noisy = truth.assign(**dict(zip(classes, np.where(flipped, 1 - labels, labels).T, strict=True)))
        table = suspects.find(noisy, scores, {})
        place = truth["image_id"].reset_index().set_index("image_id")["index"]
        hits = 0
        for column, name in enumerate(classes):
            of_class = table[table["class"] == name]
            true = flipped[place[of_class["image_id"]].to_numpy(), column]
            hits += int(true[: flipped[:, column].sum()].sum())
            listed, right = listed + len(true), right + int(true.sum())
        flips += int(flipped.sum())
        found.append(hits / flipped.sum())
    areas = [metrics.auc(truth[name].to_numpy(), scores[name].to_numpy()) for name in classes]
    shares = {"found": np.mean(found), "found sd": np.std(found), "at random": given.rate}
    lists = {
        "listed for each flipped label": listed / flips,
        "right of the listed": right / listed,
        "flipped that are listed": right / flips,
    }
    about = {"labels": labels.size, "mean AUC with the right labels": np.nanmean(areas)}
    print(json.dumps({name: round(float(value), 3) for name, value in (about | shares | lists).items()}, indent=1))
