"""The test images that are explained, chosen before any network has seen them."""

from collections.abc import Sequence
from itertools import chain, repeat
from pathlib import Path

import pandas as pd
import pyarrow as pa

from thorax.errors import refuse_unknown
from thorax.storage import joins, store
from thorax.storage.schemas import class_columns

CASES = pa.schema({"image_id": pa.string(), "chosen_for": pa.string()})


def choose_cases(labels: Path, split: Path, count: int, seed: int, out: Path, classes: Sequence[str] = ()) -> None:
    """Choose up to `count` test images to explain, and write `CASES`.

    First one random image for each wanted class, in their order; then one for each other class, rarest class first; then further
    rounds over all classes. No image is chosen twice, and a class without a test image is skipped.
    """
    table = joins.read_labels(labels, split)
    test = table[table["split"] == "test"].sample(frac=1, random_state=seed)
    known = class_columns(table)
    for name in classes:
        refuse_unknown("case_classes", name, known, f"a class of {labels}")
    rarest = sorted(known, key=lambda name: int((table[name] == 1).sum()))
    queues = {name: list(test.loc[test[name] == 1, "image_id"]) for name in rarest}
    chosen: dict[str, str] = {}
    rounds = chain([[*classes, *(name for name in rarest if name not in classes)]], repeat(rarest))
    while len(chosen) < count and any(queues.values()):
        for name in next(rounds):
            while queues[name] and queues[name][0] in chosen:
                queues[name].pop(0)
            if queues[name] and len(chosen) < count:
                chosen[queues[name].pop(0)] = name
    store.write_table(pd.DataFrame({"image_id": list(chosen), "chosen_for": list(chosen.values())}), out, CASES)
