"""`thorax predict`: what a bundle's model says of new radiographs, as a table, and if asked for as pictures and a page."""

import platform
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from thorax import backend
from thorax.bundles import inputs, pairs, tables
from thorax.bundles.bundle import Bundle, open_bundle
from thorax.bundles.inputs import Listed
from thorax.bundles.model import Answer, BundledModel
from thorax.bundles.radiographs import Radiograph, Skipped, read
from thorax.errors import ThoraxError, Unfinished
from thorax.storage import store
from thorax.storage.parallel import in_order
from thorax.storage.progress import Progress

if TYPE_CHECKING:
    from thorax.bundles.dicom_objects import DicomObjects
    from thorax.bundles.pictures import Pictures

BATCH = 32  # images predicted at once, as in the workflow; networks are compiled for more of them
Item = TypeVar("Item")


def predict(
    bundle: Path,
    images: Sequence[Path],
    out: Path | None = None,
    column: str | None = None,
    overlays: Path | None = None,
    page: Path | None = None,
    threads: int | None = None,
    wide: bool = False,
    secondary_captures: Path | None = None,
    structured_reports: Path | None = None,
) -> str:
    """Predict images (see `inputs.find`, and `pairs.find` for networks of two views) and return what to print: where the table `out` is, or else a short table.

    `out` (.csv or .parquet) has the rows of `tables.of_answers` or, if it is to be `wide`, one for each image; next to it, a file with the ending .log says what was
    predicted by what, and which files were skipped and why. `overlays` is a folder for pictures, `page` a page with the case browser.
    `secondary_captures` and `structured_reports` are folders for DICOM files, of the images that are DICOM (see `dicom_objects`).

    Raises ThoraxError if no file can be used, and Unfinished, after everything else was written, if some cannot, or if a DICOM file
    cannot be written.
    """
    if out is not None:
        tables.check_ending(out)
    elif wide:
        raise ThoraxError("--wide is a form of the table: name a file for it with --out.")
    with ExitStack() as stack:
        opened = stack.enter_context(open_bundle(bundle, ahead=True))
        drawing = _drawing(opened, overlays, page)
        if opened.contents.views == 2:
            listed, alone = pairs.find(images, column, opened.contents.dataset.max_pixels)
        else:
            listed, alone = inputs.find(images, column), []
        with_maps = drawing is not None or secondary_captures is not None
        model = BundledModel(opened, with_maps, compiled=len(listed) > BATCH)
        filing = _filing(opened, listed, secondary_captures, structured_reports)
        log = out and out.with_suffix(".log")
        read_from = [bundle, *images, *(path for one in listed for path in one.paths)]
        written = {"--out": out, "the log of --out": log, "--page": page}
        folders = {
            "--overlays": (overlays, inputs.OVERLAY),
            "--secondary-captures": (secondary_captures, inputs.CAPTURE),
            "--structured-reports": (structured_reports, inputs.REPORT),
        }
        inputs.refuse_to_replace(read_from, written, folders)
        threads = threads or backend.cores()
        backend.prepare(0, threads)
        # All files or none; a folder that cannot be written is found before the networks run
        new_table, new_log, new_page = (path and stack.enter_context(store.atomic(path)) for path in (out, log, page))
        outputs = [each for each in (drawing, filing) if each]
        answered, skipped = _collect(model, listed, alone, threads, outputs)
        if not answered:
            raise ThoraxError(f"None of the {len(listed) + len(alone):,} files can be used, e.g. {skipped[0]}")
        if new_page and drawing:
            store.write_text(drawing.page_of_all(), new_page)
        if new_table and new_log:
            tables.write(answered, opened.contents, new_table, wide)
            store.write_text("\n".join(_log(opened, answered, [*skipped, *(filing.said if filing else ())])), new_log)
    text = tables.shown(answered, opened.contents)
    if out is not None:
        text = f"{out} has the predictions of {len(answered):,} images, {log} what they were made with."
    if skipped:
        print(text)
        problem = f"{len(skipped):,} of {len(listed) + len(alone):,} files could not be used"
        raise Unfinished(f"{problem}: they are listed above; repair or remove these files.")
    if filing and filing.problems:
        print(text)
        problem = f"{len(filing.problems):,} of {len(answered):,} images have no DICOM files"
        raise Unfinished(f"{problem}: see above why, repair these images, and predict them again.")
    return text


def _drawing(bundle: Bundle, overlays: Path | None, page: Path | None) -> "Pictures | None":
    """What draws the answers, if that is asked for; it needs packages that take a second to import."""
    if overlays is None and page is None:
        return None
    from thorax.bundles.pictures import Pictures

    return Pictures(bundle.contents, overlays, page)


def _filing(bundle: Bundle, listed: Sequence[Listed], captures: Path | None, reports: Path | None) -> "DicomObjects | None":
    """What writes DICOM files of the answers, if that is asked for; highdicom takes a second to import."""
    if captures is None and reports is None:
        return None
    from thorax.bundles.dicom_objects import DicomObjects

    return DicomObjects(bundle, listed, captures, reports)


def _collect(
    model: BundledModel,
    listed: Sequence[Listed],
    alone: Sequence[Skipped],
    threads: int,
    outputs: "Sequence[Pictures | DicomObjects]",
) -> tuple[list[Answer], list[str]]:
    """Answer all images and pass the answers to the outputs; return them, and a sentence on each skipped file, which is printed as well.

    `alone` are images without the second one that the networks need.
    """
    answered, skipped = [], [one.sentence for one in alone]
    for some, left_out in answers(model, listed, threads) if listed else ():
        skipped += [one.sentence for one in left_out]
        for answer in some:
            for output in outputs:
                output.add(answer)
            answered.append(tables.without_pixels(answer))
    said = [*skipped, *(sentence for output in outputs for sentence in output.said)]
    print(*said, sep="\n", end="\n" * bool(said), file=sys.stderr)
    return answered, skipped


def answers(model: BundledModel, listed: Sequence[Listed], threads: int) -> Iterator[tuple[list[Answer], list[Skipped]]]:
    """The answers to the images of each batch, and what was skipped in it; files are read ahead by threads."""
    together = min(BATCH, len(listed))
    read_one = partial(read, dataset=model.contents.dataset, second_dataset=model.contents.second_dataset)
    model.load()
    of_what = f"{model.contents.model} of {model.contents.experiment}"
    print(f"{of_what}: {len(model.runs)} networks, on {backend.device()}", file=sys.stderr, flush=True)
    with Progress("predict", len(listed), "image") as counted:
        for batch in _batches(in_order(read_one, listed, threads, 2 * BATCH), together):
            usable = [one for one in batch if isinstance(one, Radiograph)]
            yield model.answer(usable, together) if usable else [], [one for one in batch if isinstance(one, Skipped)]
            counted.add(len(batch))


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _log(bundle: Bundle, answers: Sequence[Answer], said: Sequence[str]) -> Iterator[str]:
    """What the table was made with, how many images have which flag, and what was `said`: what was skipped, what was filed."""
    contents = bundle.contents
    yield f"bundle: {bundle.path.name}, {contents.model} of {contents.experiment} ({contents.provenance})"
    yield f"decisions: by the threshold rule {contents.rule}"
    yield f"with: {', '.join(['Python ' + platform.python_version(), *backend.versions()])}"
    yield f"predicted: {len(answers):,} {'images' if contents.views == 1 else 'pairs of images'}"
    for flag, count in Counter(flag for answer in answers for flag in answer.flags).most_common():
        yield f"{flag}: {count:,} images"
    yield from said
    yield "Research use only: not a medical device."
