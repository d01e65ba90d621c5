"""Pictures of predictions: radiographs with the heatmap of a finding, and a page on which all of them are looked at."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from thorax.bundles.contents import Contents
from thorax.bundles.inputs import OVERLAY, Names
from thorax.bundles.model import Answer
from thorax.config import CASES_PER_PAGE
from thorax.errors import ThoraxError
from thorax.explanation import overlays
from thorax.explanation.cases import Case, remarks
from thorax.images import decoding
from thorax.report import case_browser, typeset
from thorax.report.tables import overview
from thorax.storage import store
from thorax.storage.schemas import IGNORED

CHOSEN = "The images are those that were predicted; nobody has labelled them."
WHY = "most probable:"


class Pictures:
    """Writes overlays as answers come, and makes the page at the end.

    A picture with burned-in text is never drawn: it may be a name.
    """

    def __init__(self, contents: Contents, folder: Path | None, page: Path | None) -> None:
        if page is not None and page.suffix != ".html":
            raise ThoraxError(f"--page {page}: it is a page of HTML: let its name end in .html.")
        self.contents, self.folder, self.page = contents, folder, page
        self.cases: list[Case] = []
        self.said: list[str] = []
        self.names = Names()

    def add(self, answer: Answer) -> None:
        """Draw one answer, and keep it for the page while that has room."""
        if answer.radiograph.header.burned_in:
            return
        case, decided = of_answer(answer, self.contents.classes)
        if self.folder is not None:
            words = [Path(answer.radiograph.name).stem, *(case.classes[place] for place in decided[:1])]
            _save(overlay(case, decided), self.folder / self.names.free(words, OVERLAY))
        if self.page is not None and len(self.cases) < CASES_PER_PAGE:
            self.cases.append(case)

    def page_of_all(self) -> str:
        """The page of all cases that were kept."""
        contents, members = self.contents, list(self.contents.members)
        mean = contents.model if contents.ensemble else None
        rows = [(name, *contents.scaling.get(name, (np.nan, np.nan))) for name in contents.classes]
        fitted = pd.DataFrame(rows, columns=["class", "slope", "intercept"]).assign(kind="platt")
        data = case_browser.content(self.cases, members, "archive", [fitted, *[None] * len(members)], {}, why=WHY)
        return typeset.page(
            "cases.html", f"Predictions: {contents.title}", run_on=overview.run_on({contents.title: contents.provenance}),
            remarks=remarks(self.cases, members, mean, ()), data=data, chosen=CHOSEN,
        )  # fmt: skip


def of_answer(answer: Answer, classes: Sequence[str]) -> tuple[Case, list[int]]:
    """The answer as a case, and the places of the classes that are decided, the most probable first."""
    order = np.argsort(-answer.probabilities, kind="stable")
    decided = [int(place) for place in order if answer.decided[place]]
    return _case(answer, classes, decided[0] if decided else int(order[0])), decided


def _case(answer: Answer, classes: Sequence[str], best: int) -> Case:
    """The answer as the figures and the case browser take it, which opens with the `best` class; nobody knows the labels."""
    return Case(
        image_id=answer.radiograph.name,
        chosen_for=classes[best],
        original=answer.radiograph.original,
        box=decoding.WHOLE if answer.lungs is None else answer.lungs.box,
        classes=list(classes),
        maps=answer.maps,
        each=answer.each,
        probabilities=answer.probabilities,
        truth=np.full(len(classes), IGNORED),
        truth_boxes=pd.DataFrame(columns=["label", "x", "y", "width", "height"]),
    )


def overlay(case: Case, decided: Sequence[int]) -> np.ndarray:
    """The radiograph, (h, w) uint8; with the heat of the first decided class in hot colours, (h, w, 3) blue, green, red."""
    if not decided:
        return case.original
    heat, _ = case.heat(decided[0])
    return (255 * overlays.glow(case.original, heat)).round().astype(np.uint8)[..., ::-1]


def _save(picture: np.ndarray, path: Path) -> None:
    with store.atomic(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
