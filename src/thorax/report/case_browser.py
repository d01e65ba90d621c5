"""The case browser: a page on which a person looks at radiographs, maps and answers as at a workstation, without a server.

The page has every original once, as WebP, and the networks' maps as numbers of one byte, which its script enlarges and colours.
"""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from thorax.config import CASES_PER_PAGE
from thorax.explanation import overlays, places
from thorax.explanation.cases import FEWEST_CELLS, Case, load_cases, remarks
from thorax.report import typeset
from thorax.report.figures import heatmaps, style
from thorax.report.tables import overview
from thorax.storage import store

QUALITY = 85  # of 100: 60 radiographs of 512 pixels have a few megabytes
DIGITS = 4  # of probabilities and places
COLOURS = 256  # of the scale


def make_case_browser(
    title: str, provenance: str, cases: Path, heatmaps: Mapping[str, Path], predictions: Mapping[str, Path], labels: Path, boxes: Path,
    ingested: Path, arrays: Sequence[Path], boxes_by: str, part: int, out: Path, ensemble: Path | None = None,
    mean: str | None = None, lungs: Sequence[Path] | None = None,
) -> None:  # fmt: skip
    """Write a page with up to `CASES_PER_PAGE` of the chosen cases; `part` is its number, from 1.

    Files are those of `load_cases`. `mean` names the ensemble that is the members' mean, `boxes_by` is a key of `heatmaps.BOXES`.
    """
    first = (part - 1) * CASES_PER_PAGE
    rows = slice(first, first + CASES_PER_PAGE)
    loaded = load_cases(cases, heatmaps, predictions, ensemble, labels, boxes, ingested, arrays, lungs, rows=rows)
    members = list(heatmaps)
    page = typeset.page(
        "cases.html", f"Cases: {title}", run_on=overview.run_on({title: provenance}),
        remarks=remarks(loaded, members, mean, ()), data=content(loaded, members, boxes_by, first),
    )  # fmt: skip
    store.write_text(page, out)


def content(cases: Sequence[Case], members: Sequence[str], boxes_by: str, first: int = 0) -> dict[str, Any]:
    """What the page's script shows, ready for JSON; `first` is the number of the first case, from 0. Bytes are in Base64."""
    scale = overlays.scale_colours(COLOURS)
    return {
        "classes": list(cases[0].classes) if cases else [],
        "members": list(members),
        "first": first,
        "verdicts": [f"{symbol} {name}" for name, (symbol, _) in heatmaps.VERDICTS.items()],
        "boxesBy": heatmaps.BOXES[boxes_by],
        "seen": heatmaps.SEEN,
        "colours": _text((255 * scale).round().astype(np.uint8)),
        "sky": [int(style.SKY[start : start + 2], 16) for start in (1, 3, 5)],
        "opacity": overlays.OPACITY,
        "dimmed": overlays.DIMMED,
        "exponent": overlays.GLOW_EXPONENT,
        "deviation": heatmaps.LARGEST_DEVIATION,
        "fewest": FEWEST_CELLS,
        "cases": [_case(case) for case in cases],
    }


def _case(case: Case) -> dict[str, Any]:
    """One case; the lists of numbers have one for each class, `each` one list for each network."""
    verdicts = list(heatmaps.VERDICTS)
    boxes = case.truth_boxes[["x", "y", "width", "height"]].to_numpy(float)
    rows, columns = case.original.shape
    return {
        "id": case.image_id,
        "chosenFor": case.chosen_for,
        "picture": _text(cv2.imencode(".webp", case.original, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1]),
        "size": [columns, rows],
        "seen": _rounded(np.array(case.box, float)),
        "probability": _rounded(case.probabilities),
        "each": _rounded(case.each),
        "truth": case.truth.tolist(),
        "verdict": [verdicts.index(case.verdict(index)) for index in range(len(case.classes))],
        "boxes": [[label, *box] for label, box in zip(case.truth_boxes["label"], _rounded(boxes), strict=True)],
        "maps": [
            {
                "size": list(of_network.shape[1:]),
                "values": _text((255 * overlays.scale_maps(of_network)).round().astype(np.uint8)),
            }
            for of_network in case.maps
        ],
        "different": places.different_places(case.maps, case.box),
    }


def _rounded(numbers: np.ndarray) -> Any:
    return np.asarray(numbers, float).round(DIGITS).tolist()


def _text(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
