"""The results site: an entry page and a page for every table and figure, plain files that open from a disk without a server.

What the pages show is taken from the pages of other steps. Their pictures become files of their own, once each, because Chromium
shows no embedded picture above two megabytes.
"""

import base64
import hashlib
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

from markupsafe import Markup

import thorax
from thorax.config import Site, SitePage
from thorax.errors import ThoraxError
from thorax.evaluation.metrics import GLOBAL
from thorax.report import cells, published_numbers, typeset
from thorax.report.tables import overview
from thorax.report.tables.results import BASELINE, images_by_part
from thorax.storage import store
from thorax.storage.schemas import class_columns

_PICTURE = re.compile(r'src="data:image/webp;base64,([^"]+)"')
_FORMS = {".csv": "CSV", ".tex": "LaTeX", ".md": "Markdown", ".png": "PNG", ".svg": "SVG"}
_RECOMPUTE = """\
import pandas as pd; from sklearn.metrics import roc_auc_score
scores = pd.read_parquet("results/{kind}/{experiment}/{model}.parquet").query("split == 'test'").set_index("image_id").drop(columns="split")
truth = pd.read_parquet("results/labels/{label_set}.parquet").set_index("image_id").loc[scores.index, scores.columns]
known = {{name: truth[name][truth[name] >= 0] for name in scores}}
areas = {{name: roc_auc_score(labels, scores.loc[labels.index, name]) for name, labels in known.items() if labels.nunique() == 2}}
print(round(sum(areas.values()) / len(areas), 3))  # {auc}"""


def make_site(
    settings: Site,
    metrics: dict[str, Path],
    labels: dict[str, Path],
    splits: dict[str, Path],
    out: Path,
    records: Iterable[Path] = (),
) -> None:
    """Write the entry page `out`, and next to it a folder `site` with a page for each of `settings.pages` and their pictures.

    Other arguments as in `overview.make_overview`.
    """
    rows = overview.read_rows(settings.studies, metrics, labels, splits)
    folder = out.parent / "site"
    spent = overview.spent(records)
    made = f"thorax {thorax.__version__}."
    today = f"Commit {_commit()}, made on {date.today().isoformat()}. Trainings: {' '.join(filter(None, (spent.text, spent.detail)))}."
    for page in settings.pages:
        body = _with_files(typeset.content_of(Path(page.page)), folder, "")
        forms = {_FORMS[path.suffix]: f"../{path.relative_to(out.parent)}" for path in _other_forms(Path(page.page))}
        text = typeset.page(
            "site.html", page.heading, crumbs=page.category, caption=page.caption, forms=forms, body=body, made=made
        )
        store.write_text(text, folder / f"{page.name}.html")
    lists: dict[str, list[dict[str, str]]] = {}
    for page in settings.pages:
        lists.setdefault(page.category, []).append({"href": f"site/{page.name}.html", "heading": page.heading})
    content = {
        "run_on": overview.run_on({row.study.experiment.title: row.study.experiment.provenance for row in rows.values()}),
        "experiments": [_experiment(name, rows, settings.pages, out.parent) for name in rows],
        "table": _with_files(typeset.content_of(Path(settings.overview)), folder, "site/") if len(rows) > 1 else "",
        "lists": lists,
    }
    store.write_text(typeset.page("index.html", settings.title, crumbs="", made=f"{made} {today}", **content), out)


def _experiment(name: str, rows: dict[str, overview.Row], pages: list[SitePage], results: Path) -> dict[str, Any]:
    """What the entry page says of an experiment: of the first one with two cases, of the only one with its table."""
    row, is_first, is_only = rows[name], name == next(iter(rows)), len(rows) == 1
    own = {Path(page.page).stem: page for page in pages if name in Path(page.page).parts}
    shown = {
        stem: _with_files(typeset.content_of(Path(page.page)), results / "site", "site/")
        for stem, page in own.items()
        if (stem == "heatmaps" and is_first) or (stem == "global" and is_only)
    }
    kind = "ensembles" if row.model in row.study.experiment.ensembles else "predictions"
    return {
        "title": row.study.experiment.title,
        "sentences": _sentences(row),
        "links": {page.heading: f"site/{page.name}.html" for page in own.values()},
        "table": shown.get("global", ""),
        "cases": [Markup(picture) for picture in re.findall("<img [^>]*>", shown.get("heatmaps", ""))[:2]],
        "recompute": _RECOMPUTE.format(
            kind=kind, experiment=name, model=row.model, label_set=row.study.experiment.label_set,
            auc=cells.printed(row.number("auc")[0]),
        ),
    }  # fmt: skip


def _sentences(row: overview.Row) -> list[str]:
    """What was run on which data, what came out, and how that compares with the baseline and with the paper."""
    experiment, images = row.study.experiment, images_by_part(row.labels)
    networks, ensembles = len(experiment.members), len(experiment.ensembles)
    who = f"{networks} network{'s' * (networks != 1)} and {ensembles} ensemble{'s' * (ensembles != 1)}"
    value, low, high = row.number("auc")
    between = f" (95% interval {cells.interval(low, high)})" if cells.interval(low, high) else ""
    baseline = row.on_test.number(BASELINE, GLOBAL, "auc")[0]
    said = [
        f"{who} learnt to find {len(class_columns(row.labels))} classes in {images['train']:,} radiographs, and were tested on "
        f"{images['test']:,} radiographs of other patients.",
        f"{row.model} was the best of them on the {images['val']:,} validation images. Its mean AUC on the test images is "
        f"{cells.printed(value)}{between}; that of the baseline, a logistic regression on small images, is {cells.printed(baseline)}.",
    ]
    published = row.published("auc")
    if experiment.beside and published.value == published.value:
        name = published_numbers.citation(experiment.beside.paper)[0]
        numbers = f"{name} report {cells.printed(published.value)} for {row.published_model}"
        why = row.why_not or "ours were not measured on the paper's archive"
        said.append(f"{numbers}." if row.comparable else f"{numbers}. The two cannot be compared: {why.rstrip('.')}.")
    return said


def _with_files(content: str, folder: Path, prefix: str) -> Markup:
    """The content of a page with its pictures as files below `folder`, seen from a page that `prefix` leads there from."""

    def as_file(found: re.Match[str]) -> str:
        picture = base64.b64decode(found[1])
        path = folder / "pictures" / f"{hashlib.sha256(picture).hexdigest()[:20]}.webp"
        if not path.exists():
            with store.atomic(path) as temporary:
                temporary.write_bytes(picture)
        return f'loading="lazy" src="{prefix}pictures/{path.name}"'

    return Markup(_PICTURE.sub(as_file, content))


def _other_forms(page: Path) -> list[Path]:
    """The files with the same content beside a page."""
    return [path for suffix in _FORMS if (path := page.with_suffix(suffix)).exists()]


def _commit() -> str:
    """The commit of the checkout that this code is in, with a plus if files have changed since; "unknown" outside of one."""
    if not shutil.which("git"):
        return "unknown"
    git = ["git", "-C", str(Path(thorax.__file__).parent), "describe", "--always", "--abbrev=10", "--dirty=+", "--exclude=*"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def share(index: Path, out: Path) -> str:
    """Pack the results site with everything that its pages link to into one zip file; return a sentence about it."""
    if not index.is_file():
        raise ThoraxError(f"{index} is not there: run the workflow first.")
    pages = [index, *sorted((index.parent / "site").glob("*.html"))]
    files = {index.resolve()}
    for page in pages:
        found = re.findall(r'(?:href|src)="([^"#:]+)"', page.read_text(encoding="utf-8"))
        files |= {(page.parent / path).resolve() for path in found}
    with store.atomic(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            archive.write(path, Path("results") / path.relative_to(index.parent.resolve()))
    return f"{out} has {len(files)} files, {out.stat().st_size / 1e6:.1f} MB: unpack it and open results/index.html. It shows radiographs and their identifiers: mind the archive's terms."
