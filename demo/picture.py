"""README's pictures, from the files of `make picture`: the heatmaps of one case, and the case browser as it opens.

Run it as `python demo/picture.py NUMBER`, with the number of the case. The second picture needs Chromium.
"""

import io
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from thorax.explanation.cases import load_cases
from thorax.report.figures import heatmaps, style
from thorax.storage import store

RESULTS = Path("results")
PICTURE = Path("docs/img/heatmaps.webp")
BROWSER = Path("docs/img/cases.webp")
WINDOW = (1440, 980)  # pixels
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


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


def look() -> None:
    """Write what Chromium shows of the case browser's first page."""
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        sys.exit(f"{BROWSER} was not made: install Chromium.")
    page = (RESULTS / "cases/picture/cases-1.html").resolve().as_uri()
    with TemporaryDirectory() as folder:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/profile"]
        size = ",".join(map(str, WINDOW))
        command = [program, *options, f"--window-size={size}", f"--screenshot={folder}/seen.png", page]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        seen = np.asarray(Image.open(io.BytesIO(Path(folder, "seen.png").read_bytes())).convert("RGB"))
    with store.atomic(BROWSER) as temporary:
        temporary.write_bytes(style.webp(seen, photos=True))


if __name__ == "__main__":
    draw(int(sys.argv[1]))
    look()
