"""A network taken out of a bundle, as the files that a training starts from."""

import sys
from pathlib import Path

import pandas as pd

from thorax import backend
from thorax.bundles import patients
from thorax.bundles.bundle import open_bundle
from thorax.errors import ThoraxError, refuse_unknown
from thorax.storage import store
from thorax.storage.schemas import labels_schema


def write_network(
    bundle: Path, out: Path, labels: Path, member: str | None = None, archive: str | None = None, split: Path | None = None
) -> None:
    """Write one of a bundle's networks in Keras's own format, and a label set without images that has its classes.

    Without a `member`, the bundle must have one network only. `archive` and `split` are those of the training, see
    `patients.remark`: the remark is printed, and it is in the label set's metadata, from where it gets into the training's record.
    """
    opened = open_bundle(bundle)
    names = opened.contents.members
    if member is None and len(names) > 1:
        raise ThoraxError(f"{bundle} has several networks: write the name of one as member in weights: {', '.join(names)}.")
    chosen = member or names[0]
    refuse_unknown("weights.member", chosen, names, f"a network of {bundle}")
    backend.prepare(0, 1)
    classes, metadata = list(opened.contents.classes), {}
    if remark := patients.remark(opened.contents, bundle.name, archive, split):
        print(f"Warning: {remark}", file=sys.stderr, flush=True)
        metadata = {"remark": remark}
    with store.atomic(out) as new_network, store.atomic(labels) as new_labels:  # both or neither
        opened.network(chosen).save(new_network)
        store.write_table(
            pd.DataFrame(columns=["image_id", "patient_id", *classes]),
            new_labels,
            labels_schema(classes).with_metadata(metadata),
        )
