"""The case browser: a page on which a person looks at radiographs, maps and answers as at a workstation, without a server.

The page has every original once, as WebP, and the networks' maps as numbers of one byte, which its script enlarges and colours.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from thorax.config import CASES_PER_PAGE, Experts
from thorax.evaluation import calibration
from thorax.explanation import overlays, places
from thorax.explanation.cases import FEWEST_CELLS, Case, load_cases, remarks
from thorax.report import typeset
from thorax.report.figures import heatmaps, style
from thorax.report.tables import overview
from thorax.report.tables.readers import answers_of
from thorax.storage import joins, store
from thorax.storage.schemas import IGNORED

QUALITY = 85  # of 100: 60 radiographs of 512 pixels have a few megabytes
DIGITS = 4  # of probabilities and places
COLOURS = 256  # of the scale
CHOSEN = "The cases are random test images, chosen from the labels alone."
READERS = "{} readers have read test images again; a count is of those who have read the image for the class."


def make_case_browser(
    title: str, provenance: str, cases: Path, heatmaps: Mapping[str, Path], predictions: Mapping[str, Path], labels: Path, boxes: Path,
    ingested: Path, arrays: Sequence[Path], scaling: Path, split: Path, boxes_by: str, part: int, out: Path, ensemble: Path | None = None,
    mean: str | None = None, lungs: Sequence[Path] | None = None, settings: Experts | None = None,
) -> None:  # fmt: skip
    """Write a page with up to `CASES_PER_PAGE` of the chosen cases; `part` is its number, from 1.

    Files are those of `load_cases`; `scaling` has every member and the ensemble `mean`, which is the members' mean. `boxes_by` is a key of
    `heatmaps.BOXES`. `settings` names readers of the test images, whose answers are shown next to the labels.
    """
    first = (part - 1) * CASES_PER_PAGE
    rows = slice(first, first + CASES_PER_PAGE)
    loaded = load_cases(cases, heatmaps, predictions, ensemble, labels, boxes, ingested, arrays, lungs, rows=rows)
    members = list(heatmaps)
    whole = mean or (members[0] if len(members) == 1 else None)  # without an ensemble nothing is fitted to the mean
    fitted = [calibration.read_scaling(scaling, name) if name else None for name in (whole, *members)]
    answers = {}
    if settings:
        answers = answers_of(settings, joins.read_labels(labels, split, ("test",)).set_index("image_id", drop=False))
    said = [READERS.format(len(answers))] if answers else []
    page = typeset.page(
        "cases.html", f"Cases: {title}", run_on=overview.run_on({title: provenance}),
        remarks=remarks(loaded, members, mean, ()) + said, data=content(loaded, members, boxes_by, fitted, answers, first), chosen=CHOSEN,
    )  # fmt: skip
    store.write_text(page, out)


def content(
    cases: Sequence[Case], members: Sequence[str], boxes_by: str, fitted: Sequence[pd.DataFrame | None],
    readers: Mapping[str, pd.DataFrame], first: int = 0, why: str = "chosen for",
) -> dict[str, Any]:  # fmt: skip
    """What the page's script shows, ready for JSON; `first` is the number of the first case, from 0. Bytes are in Base64.

    `why` is said of a case before the class that it opens with.

    `fitted` are the rows of `calibration.fit` of the members' mean and of each member; None where there are none. `readers` are the answers
    of each, 1, 0 and -1 (not read), by image and class.
    """
    scale = overlays.scale_colours(COLOURS)
    return {
        "classes": list(cases[0].classes) if cases else [],
        "members": list(members),
        "first": first,
        "why": why,
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
        "read": bool(readers),
        "cases": [{**_case(case, fitted), "readers": _counts(case, readers)} for case in cases],
    }


def _counts(case: Case, readers: Mapping[str, pd.DataFrame]) -> dict[int, list[int]]:
    """How many readers say yes and how many say no, by the number of each class that one of them has read."""
    if not readers:
        return {}
    said = np.stack([answers.loc[case.image_id] for answers in readers.values()])  # all readers have the same classes
    read = zip(next(iter(readers.values())), said.T, strict=True)
    return {
        case.classes.index(name): [int((answers == answer).sum()) for answer in (1, 0)]
        for name, answers in read
        if (answers != IGNORED).any()
    }


def _case(case: Case, fitted: Sequence[pd.DataFrame | None]) -> dict[str, Any]:
    """One case; the lists of numbers have one for each class. Probabilities and verdicts are lists of them: of the mean and each network."""
    verdicts = list(heatmaps.VERDICTS)
    probabilities = [case.probabilities, *case.each]
    boxes = case.truth_boxes[["x", "y", "width", "height"]].to_numpy(float)
    rows, columns = case.original.shape
    return {
        "id": case.image_id,
        "chosenFor": case.chosen_for,
        "picture": _text(cv2.imencode(".webp", case.original, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1]),
        "size": [columns, rows],
        "seen": _rounded(np.array(case.box, float)),
        "probability": [_rounded(of_model) for of_model in probabilities],
        "calibrated": [
            None if rows is None else _rounded(calibration.platt(of_model, case.classes, rows))
            for of_model, rows in zip(probabilities, fitted, strict=True)
        ],
        "truth": case.truth.tolist(),
        "verdict": [
            [verdicts.index(replace(case, probabilities=of_model).verdict(index)) for index in range(len(case.classes))]
            for of_model in probabilities
        ],
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
    """Numbers for JSON, which has null in place of nan."""
    rounded = np.asarray(numbers, float).round(DIGITS).astype(object)
    rounded[np.isnan(numbers)] = None
    return rounded.tolist()


def _text(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
