"""Synthetic readers of a label set: each answers with the labels, some of them flipped at random."""

from pathlib import Path

import numpy as np
import pandas as pd

from thorax.storage import store
from thorax.storage.schemas import IGNORED, class_columns


def flipped(answers: np.ndarray, rate: float, random: np.random.Generator) -> np.ndarray:
    """Labels (n, k) of 1, 0 and -1 with this share of those that are known turned round."""
    return np.where((random.random(answers.shape) < rate) & (answers != IGNORED), 1 - answers, answers)


def write_readers(labels: Path, out: Path, rates: tuple[float, ...] = (0.05, 0.1, 0.3), seed: int = 0) -> None:
    """Write a table with a row for each image and reader; a reader's share of wrong answers is one of `rates`."""
    table, random = store.read_table(labels), np.random.default_rng(seed)
    classes = class_columns(table)
    readers = []
    for number, rate in enumerate(rates):
        answers = pd.DataFrame(flipped(table[classes].to_numpy(), rate, random), columns=classes)
        images = table["image_id"].str.replace(r"\.\w+$", "", regex=True)
        readers.append(pd.concat([images, answers], axis=1).assign(reader=f"reader {number + 1}"))
    pd.concat(readers).to_csv(out, index=False)
