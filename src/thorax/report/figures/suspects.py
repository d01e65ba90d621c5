"""Images whose labels are probably wrong, each with its label and what the networks say."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thorax.explanation.cases import Paths
from thorax.report.figures import style
from thorax.report.tables import results
from thorax.storage import joins, store
from thorax.storage.joins import Source

ACROSS = 6  # panels in a row
NAME = 26  # letters that fit over a panel
NONE_FOUND = "No label is doubted"


def suspects_figure(suspects: Source, ingested: Source, images: Paths, count: int, title: str, provenance: str) -> Figure:
    """Draw up to `count` images of the list of `evaluation.suspects.find`: the first of each class, then the second, and so on."""
    listed = store.read_csv(suspects, dtype={"image_id": str, "patient_id": str, "class": str}, keep_default_na=False)
    shown = listed.sort_values("rank", kind="stable").head(count)
    shown = shown.assign(order=pd.Categorical(shown["class"], listed["class"].unique())).sort_values(["order", "rank"])
    table = store.read_table(ingested, ["image_id", "ok", "shard", "row"])
    packed = store.open_packed(table, images)
    places = joins.read_places(shown, table, ingested, suspects)
    radiographs = [packed[shard, row] for shard, row in places.itertuples(index=False)]
    heading = f"{title}\n{results.PROVENANCE[provenance]}\n"
    heading += f"{len(shown)} of {len(listed):,} doubted labels" if len(shown) else NONE_FOUND
    seen = f"{len(shown)} radiographs with a doubted label of {results.count_of_classes(shown['class'].nunique())}"
    return style.described(draw_suspects(shown, radiographs, heading), seen)


def draw_suspects(shown: pd.DataFrame, radiographs: list[np.ndarray], heading: str) -> Figure:
    """Draw a panel for each row: class, label, probability, agree, networks, image_id; with its radiograph, (h, w)."""
    down = math.ceil(len(shown) / ACROSS)
    with style.drawing_below(10.0, 2.35 * down + 0.1, heading) as figure:
        grid = list(figure.subplots(down, ACROSS, squeeze=False).flat) if down else []
        for number, axes in enumerate(grid):
            axes.set_axis_off()
            if number < len(shown):
                _draw(axes, shown.iloc[number], radiographs[number])
    return figure


def _draw(axes: Axes, row: pd.Series, radiograph: np.ndarray) -> None:
    axes.imshow(radiograph, cmap="gray")
    said = (
        style.shortened(f"{row['rank']}. {row['class']}", NAME),
        f"label: {'yes' if row['label'] == 1 else 'no'}, probability {row['probability']:.2f}",
        f"{row['agree']} of {row['networks']} networks agree",
        style.shortened(row["image_id"], NAME),
    )
    axes.set_title("\n".join(said), fontsize=7)
