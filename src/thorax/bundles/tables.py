"""The table of predictions, a row for each image and class, and the short one for the terminal."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from thorax.bundles.contents import Contents
from thorax.bundles.model import Answer
from thorax.errors import ThoraxError
from thorax.report.cells import markdown
from thorax.storage import store

SCHEMA = pa.schema(
    [
        ("path", pa.string()),  # as the user gave it
        ("class", pa.string()),
        ("probability", pa.float32()),
        ("calibrated", pa.float32()),  # after Platt scaling; null where validation images could not fit it
        ("decision", pa.bool_()),  # the probability is above the threshold of the bundle's rule
        ("agreement", pa.float32()),  # share of the networks that decide as the model does; null of a single network
        ("flags", pa.string()),  # of the image, of `flags.ALL`, with semicolons between them; empty if there are none
    ]
)
ENDINGS = (".csv", ".parquet")
MOST_SHOWN = 20  # images in the terminal
MOST_FINDINGS = 5  # of an image there
_DIGITS = 6  # of numbers in CSV
_NO_PIXELS = np.zeros((0, 0), np.uint8)


def check_ending(out: Path) -> None:
    """Refuse a table of another form before anything is computed."""
    if out.suffix not in ENDINGS:
        raise ThoraxError(f"--out {out}: the table is CSV or Parquet: let its name end in {' or '.join(ENDINGS)}.")


def without_pixels(answer: Answer) -> Answer:
    """The answer without its picture and maps, of which many would fill the memory."""
    return replace(answer, radiograph=replace(answer.radiograph, image=_NO_PIXELS, second=None), maps=[])


def of_answers(answers: Sequence[Answer], classes: Sequence[str]) -> pd.DataFrame:
    """The rows of `SCHEMA`, image by image, each in the order of the classes."""
    count = len(classes)
    return pd.DataFrame(
        {
            "path": np.repeat([answer.radiograph.name for answer in answers], count),
            "class": np.tile(classes, len(answers)),
            "probability": np.concatenate([answer.probabilities for answer in answers]),
            "calibrated": np.concatenate([answer.calibrated for answer in answers]),
            "decision": np.concatenate([answer.decided for answer in answers]),
            "agreement": np.concatenate([answer.agreement for answer in answers]),
            "flags": np.repeat(["; ".join(answer.flags) for answer in answers], count),
        }
    )


def write(answers: Sequence[Answer], contents: Contents, out: Path, wide: bool = False) -> None:
    """Write all rows as Parquet, or as CSV with yes and no for decisions.

    A `wide` table has a row for each image, with its path and the probabilities of all classes, as `thorax evaluate` reads it.
    """
    if wide:
        _write_wide(answers, contents.classes, out)
        return
    frame = of_answers(answers, contents.classes)
    if out.suffix == ".parquet":
        store.write_table(frame, out, SCHEMA)
        return
    frame["decision"] = np.where(frame["decision"], "yes", "no")
    store.write_text(frame.to_csv(index=False, float_format=f"%.{_DIGITS}f"), out)


def _write_wide(answers: Sequence[Answer], classes: Sequence[str], out: Path) -> None:
    frame = pd.DataFrame([answer.probabilities for answer in answers], columns=list(classes))
    frame.insert(0, "path", [answer.radiograph.name for answer in answers])
    if out.suffix == ".parquet":
        store.write_table(frame, out, pa.schema([("path", pa.string()), *((name, pa.float32()) for name in classes)]))
    else:
        store.write_text(frame.to_csv(index=False, float_format=f"%.{_DIGITS}f"), out)


def shown(answers: Sequence[Answer], contents: Contents) -> str:
    """A table for the terminal: of a single image all classes, the most probable first, otherwise a row for each image."""
    if len(answers) == 1:
        return _of_one(answers[0], contents.classes)
    rows = [(answer.radiograph.name, _findings(answer, contents.classes), "; ".join(answer.flags)) for answer in answers]
    text = markdown(pd.DataFrame(rows[:MOST_SHOWN], columns=["image", "findings", "flags"]))
    more = len(answers) - MOST_SHOWN
    return text + (f"\n{more:,} more images: write all of them with --out FILE.csv." if more > 0 else "")


def _of_one(answer: Answer, classes: Sequence[str]) -> str:
    rows = [
        (
            classes[place],
            "yes" if answer.decided[place] else "no",
            f"{answer.probabilities[place]:.3f}",
            _printed(answer.calibrated[place]),
            _printed(answer.agreement[place]),
        )
        for place in np.argsort(-answer.probabilities, kind="stable")
    ]
    table = markdown(pd.DataFrame(rows, columns=["class", "decision", "probability", "calibrated", "agreement"]))
    return table + (f"\n{answer.radiograph.name}: {'; '.join(answer.flags)}." if answer.flags else "")


def _findings(answer: Answer, classes: Sequence[str]) -> str:
    """The classes that are decided, the most probable first, with their probabilities, calibrated ones where they are known."""
    best = np.where(np.isfinite(answer.calibrated), answer.calibrated, answer.probabilities)
    order = [place for place in np.argsort(-best, kind="stable") if answer.decided[place]]
    named = [f"{classes[place]} {best[place]:.2f}" for place in order[:MOST_FINDINGS]]
    return ", ".join(named + ["..."] * (len(order) > MOST_FINDINGS)) or "none"


def _printed(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "–"
