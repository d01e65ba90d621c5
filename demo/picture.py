"""README's picture: the heatmaps of one case of `make picture`, from the files of its run. Run it as `python demo/picture.py NUMBER`."""

import sys
from pathlib import Path

from thorax.explanation.cases import load_cases
from thorax.report.figures import heatmaps, style
from thorax.storage import store

RESULTS = Path("results")
PICTURE = Path("docs/img/heatmaps.webp")


def draw(number: int) -> None:
    """Write the figure of a case, counted from 1 as in results/figures/picture/heatmaps.html."""
    cases = load_cases(
        RESULTS / "cases/picture.parquet",
        {"MobileNet": RESULTS / "heatmaps/picture/MobileNet.npy"},
        {"MobileNet": RESULTS / "predictions/picture/MobileNet.parquet"},
        None,
        RESULTS / "labels/phantom-specific.parquet",
        RESULTS / "boxes/phantom.parquet",
        RESULTS / "ingested/phantom.parquet",
        sorted(RESULTS.glob("ingested/phantom.*.npy")),
        sorted(RESULTS.glob("lungs/phantom-lungs/phantom.*.parquet")),
    )
    if not 1 <= number <= len(cases):
        sys.exit(f"There are {len(cases)} cases: type `python demo/picture.py NUMBER` with 1 to {len(cases)}.")
    figure = heatmaps.heatmap_figure(cases[number - 1], number, boxes_by="phantom")
    (picture,) = style.webp_pictures(style.pixels(figure), photos=True)
    with store.atomic(PICTURE) as temporary:
        temporary.write_bytes(picture)


if __name__ == "__main__":
    draw(int(sys.argv[1]))
