"""The real radiographs of `make sample`: join the two folders before the run, and make a table by folder after it.

The folders were selected differently: in nih_sample every abnormal image has Pneumonia, nih_starter has all findings. A network
that tells the folders apart therefore earns AUC on the pooled test images for nothing. The table by folder shows what remains.
"""

import sys
from pathlib import Path

import pandas as pd

from thorax.evaluation.metrics import evaluate, sigmoid
from thorax.storage import store
from thorax.storage.schemas import class_columns

FOLDERS = ("nih_sample", "nih_starter")
METADATA = "Data_Entry_2017_v2020.csv"
BOXES = Path("expert_labels/nih_rsna_boxes.csv")  # of opacities, drawn by radiologists of the RSNA challenge; not needed
OPACITIES = ("Consolidation", "Infiltration", "Pneumonia")  # an opacity is the box of those that the image is labelled with
SIDE = 1024  # pixels of an image
WEIGHTS = Path("weights/Xception.imagenet.float16.h5")
MASKS = "lung_masks"
EXPERIMENT = "nih-real"
METRICS = {"auc": "AUC", "f1": "F1", "hamming": "Hamming loss"}


def join(sample: Path) -> None:
    """Link the images, masks and weights below `sample` into data/ and resources/, and write one metadata table for both folders."""
    absent = [str(sample / name) for name in (*FOLDERS, MASKS, WEIGHTS) if not (sample / name).exists()]
    if absent:
        sys.exit(
            f"{', '.join(absent)} missing: type `make sample SAMPLE=FOLDER` with the folder that has {', '.join(FOLDERS)}, {MASKS} and "
            f"{WEIGHTS}."
        )
    root = Path("data/nih_real")
    links = {root / name: sample / name for name in FOLDERS}
    links |= {Path("data") / MASKS: sample / MASKS, Path("resources/weights/Xception.h5"): sample / WEIGHTS}
    for link, target in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(target.resolve())
    tables = [pd.read_csv(sample / name / METADATA, dtype=str, keep_default_na=False) for name in FOLDERS]
    metadata = pd.concat(tables)
    _write(metadata, root / METADATA)
    if (sample / BOXES).exists():
        _write(_boxes(pd.read_csv(sample / BOXES), metadata), root / "boxes.csv")


def _write(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV unless the file has it already, so that nothing is rerun."""
    text = table.to_csv(index=False)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def _boxes(drawn: pd.DataFrame, metadata: pd.DataFrame) -> pd.DataFrame:
    """The opacities as `image_id`, `label`, `x`, `y`, `width` and `height`, the last four as fractions of the image."""
    labels = metadata.set_index("Image Index")["Finding Labels"].str.split("|").rename("label")
    named = drawn.dropna(subset=["x"]).join(labels.explode(), on="Image Index", how="inner")
    named = named[named["label"].isin(OPACITIES)]
    places = named[["x", "y", "width", "height"]] / SIDE
    return pd.concat([named[["Image Index", "label"]].rename(columns={"Image Index": "image_id"}), places], axis=1)


def by_folder(results: Path) -> pd.DataFrame:
    """Mean test metrics of every model, by the folder that an image came from, and of both together.

    Returns:
        One row per model and folder: model, images, folder, classes (with positives and negatives there), AUC, F1 and Hamming loss.
    """
    labels = store.read_table(results / f"labels/{EXPERIMENT}.parquet").set_index("image_id")
    path = store.read_table(results / f"catalog/{EXPERIMENT}.parquet").set_index("image_id")["path"]
    classes = class_columns(labels)
    rows = []
    for kind in ("predictions", "ensembles"):
        for file in sorted((results / kind / EXPERIMENT).glob("*.parquet")):
            scores = store.read_table(file).query("split == 'test'").set_index("image_id")[classes]
            folder = path[scores.index].str.partition("/")[0]
            for name in (*FOLDERS, "both"):
                chosen = scores[(folder == name) | (name == "both")]
                truth = labels.loc[chosen.index]
                values = chosen if kind == "ensembles" else chosen.apply(sigmoid)  # predictions are logits
                table = evaluate(truth[classes], values, truth["patient_id"], model=file.stem, split="test", replicates=0)
                found = table[table["metric"].isin(METRICS)].pivot(index="class", columns="metric", values="value")
                row = {
                    "model": file.stem,
                    "folder": name,
                    "images": len(chosen),
                    "classes": found["auc"].drop("Global").count(),
                }
                rows.append(row | {printed: found.loc["Global", metric] for metric, printed in METRICS.items()})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        join(Path(sys.argv[1]))
    else:
        table = by_folder(Path("results"))
        table.to_csv("results/tables/nih-real/by_folder.csv", index=False)
        print(table.round(3).to_string(index=False))
