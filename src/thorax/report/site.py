"""The results site: an entry page and a page for every table and figure, plain files that open from a disk without a server.

What the pages show is taken from the pages of other steps. Their pictures become files of their own, once each, because Chromium
shows no embedded picture above two megabytes.
"""

import base64
import hashlib
import math
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from markupsafe import Markup

import thorax
from thorax import archives
from thorax.config import Site, SitePage, setups
from thorax.evaluation.ensembles import LEARNING
from thorax.evaluation.metrics import GLOBAL
from thorax.report import cells, notebooks, published_numbers, typeset
from thorax.report.pages import in_words
from thorax.report.tables import overview
from thorax.report.tables.results import BASELINE, CHANCE_AUC, count_images, count_of_classes, images_by_part, row_headings
from thorax.storage import store

_PICTURE = re.compile(r'src="data:image/webp;base64,([^"]+)"')
_FORMS = {".csv": "CSV", ".tex": "LaTeX", ".md": "Markdown", ".png": "PNG", ".svg": "SVG"}
_SHOWN_CSV = {"classes": "labels/{}.classes.csv", "quality": "splits/{}.quality.csv"}  # what pages of these folders show
_CONFIG = "config.yaml"
FEW = 4  # experiments whose settings a page links to
_DATA = {
    "phantom": "synthetic radiographs in the form of {}",
    "sample": "radiographs of a small sample of {}",
    "full": "radiographs of {}",
}
_RECOMPUTE = """\
import pandas as pd; from sklearn.metrics import roc_auc_score
scores = pd.read_parquet("results/{kind}/{experiment}/{model}.parquet").query("split == 'test'").set_index("image_id").drop(columns="split")
truth = pd.read_parquet("results/labels/{label_set}.parquet").set_index("image_id").loc[scores.index, scores.columns]
known = {{name: truth[name][truth[name] >= 0] for name in scores}}
areas = {{name: roc_auc_score(labels, scores.loc[labels.index, name]) for name, labels in known.items() if labels.nunique() == 2}}
print(round(sum(areas.values()) / len(areas), 3))  # {auc}"""
_AGAIN = """\
. .venv/bin/activate
snakemake --cores 1 --configfile {config} --force {page}
{show}"""


@dataclass(frozen=True)
class _Run:
    """What the pages are made from: the settings, the experiments, the records of their trainings, and the folder of the entry page."""

    settings: Site
    rows: dict[str, overview.Row]
    records: tuple[Path, ...]
    results: Path

    def pages_of(self, name: str) -> list[SitePage]:
        """The pages of an experiment alone."""
        return [page for page in self.settings.pages if page.experiments == [name]]

    @property
    def only(self) -> bool:
        """Whether there is one experiment, whose page is the entry page."""
        return len(self.rows) == 1

    def place_of(self, name: str, prefix: str = "") -> str:
        """The link to the page of an experiment."""
        if self.only:
            return "index.html" if prefix else "../index.html"
        return f"{prefix}experiments-{name}.html"

    def has_cases(self, page: SitePage) -> bool:
        """Whether a page is one of the case browser."""
        return Path(page.page).relative_to(self.results).parts[0] == "cases"

    def shown(self, page: SitePage, prefix: str = "") -> Markup:
        """What a page shows, with its pictures as files, seen from a page that `prefix` leads to the folder of pages from.

        A page with a script of its own (the case browser) is not shown inside another one: it is a link.
        """
        path = Path(page.page)
        if self.has_cases(page):
            link = Markup('<p class="forms"><a href="{}../{}">Open the cases</a></p>\n')
            return link.format(prefix, path.relative_to(self.results))
        return _with_files(typeset.content_of(Path(page.page)), self.results / "site", prefix)

    def forms(self, page: SitePage) -> dict[str, str]:
        """Links to the files with the same content as a page, and to all metrics of the experiment that a table is of."""
        path, experiments = Path(page.page), page.experiments
        found = {form: path.with_suffix(suffix) for suffix, form in _FORMS.items()}
        if path.parent.name in _SHOWN_CSV:
            found["CSV"] = self.results / _SHOWN_CSV[path.parent.name].format(path.stem)
        if len(experiments) == 1 and "tables" in path.parts:
            found["Parquet (all metrics)"] = self.results / "metrics" / f"{experiments[0]}.parquet"
        if self.has_cases(page):
            records = self.results / "records"
            found["Parquet (all test images)"] = records / f"{experiments[0]}.parquet"
            found["COCO JSON (predicted findings)"] = records / f"{experiments[0]}.coco.json"
        return {form: f"../{path.relative_to(self.results)}" for form, path in found.items() if path.exists()}

    def notebook(self, page: SitePage) -> dict[str, str]:
        """Links to the page of the notebook that drew a figure, and to the notebook."""
        if page.notebook is None:
            return {}
        return {
            "its notebook": f"{page.notebook_name}.html",
            "as a file": f"../{Path(page.notebook).relative_to(self.results)}",
        }

    def about(self, names: Iterable[str] = (), page: str = "", prefix: str = "") -> dict[str, Any]:
        """Who made a page of these experiments (default: all) from what; and how to make it again if it is one of another step."""
        rows = {name: self.rows[name].setup.experiment.title for name in names or self.rows}
        records = [path for path in self.records if path.parent.name in rows]
        spent, count = overview.spent(records), f"{len(records)} network{'s' * (len(records) != 1)}"
        hours, machines = " ".join(filter(None, (spent.text, spent.detail))), "; ".join(overview.machines(records))
        words = {f"{self.place_of(name, prefix)}#settings": f"{title}, in words" for name, title in rows.items()}
        return {
            "made": f"by thorax {thorax.__version__}, commit {_commit()}, on {date.today().isoformat()}",
            "trained": f"{count}, {hours}; machine: {machines}" if records else hours,
            "seeds": _seeds(self.rows[name] for name in rows),
            "links": (words if len(words) <= FEW else {}) | {prefix + _CONFIG: "as a file"},
            "papers": [
                typeset.linked(published_numbers.citation(paper)[1])
                for paper in dict.fromkeys(self.rows[name].setup.experiment.paper for name in rows)
                if paper
            ],
            "again": self._again(page) if page else "",
        }  # fmt: skip

    def _again(self, page: str) -> str:
        """The lines that make a page again and show it."""
        text = Path(page).with_suffix(".md")
        show = f"thorax show --table {text}" if text.exists() else f"python -m webbrowser {page}"
        return _AGAIN.format(config=self.results / "site" / _CONFIG, page=page, show=show)


def make_site(
    settings: Site,
    metrics: dict[str, Path],
    labels: dict[str, Path],
    splits: dict[str, Path],
    out: Path,
    records: Iterable[Path] = (),
) -> None:
    """Write the entry page `out`, and next to it a folder `site`.

    The folder has a page for each experiment, unless there is one only, and for each of `settings.pages`, their pictures, and the
    configuration. Other arguments as in `overview.make_overview`.
    """
    rows = overview.read_rows(setups(settings.config, settings.config.run), metrics, labels, splits)
    run, folder = _Run(settings, rows, tuple(records), out.parent), out.parent / "site"
    written = yaml.safe_dump(settings.config.model_dump(mode="json", exclude_unset=True), sort_keys=False, allow_unicode=True)
    store.write_text(written, folder / _CONFIG)
    for page in settings.pages:
        store.write_text(_page(run, page), folder / f"{page.name}.html")
    for page in {page.notebook: page for page in reversed(settings.pages) if page.notebook}.values():
        store.write_text(_notebook_page(run, page), folder / f"{page.notebook_name}.html")
    for name in () if run.only else rows:
        store.write_text(_experiment_page(run, name), folder / f"experiments-{name}.html")
    store.write_text(_index(run), out)


def _page(run: _Run, page: SitePage) -> str:
    """The page of a table or figure."""
    body, chart = run.shown(page), None
    if Path(page.page).parent.name == "papers":
        body = _with_forms(run, body)
    if Path(page.page).stem == "per_class" and len(page.experiments) == 1:
        chart = _chart(run.rows[page.experiments[0]])
    caption = run.settings.captions[page.caption] if page.caption else ""
    return typeset.page(
        "site.html", page.heading, crumbs=page.category, caption=caption, forms=run.forms(page), chart=chart, body=body,
        notebook=run.notebook(page), about=run.about(page.experiments, page.page),
    )  # fmt: skip


def _notebook_page(run: _Run, page: SitePage) -> str:
    """The page of the executed notebook that drew a figure."""
    body = _with_files(notebooks.content(Path(str(page.notebook))), run.results / "site", "")
    return typeset.page(
        "notebook.html", f"How it was made: {page.heading}", crumbs=page.category, path=page.notebook, body=body,
        notebook=run.notebook(page), about=run.about(page.experiments),
    )  # fmt: skip


def _with_forms(run: _Run, content: str) -> Markup:
    """The content of a paper's page with links to the other files of each table and figure."""
    pages = {page.name: page for page in run.settings.pages}

    def add(found: re.Match[str]) -> str:
        if (page := pages.get(found[1])) is None:
            return found[0]
        forms = {"its own page": f"{page.name}.html"} | run.forms(page)
        return found[0] + typeset.page("forms.html", page.heading, forms=forms)

    return Markup(re.sub(r'<section id="([^"]+)">\n<h2>.*</h2>\n', add, str(content)))


def _experiment_page(run: _Run, name: str) -> str:
    """The page of an experiment: what came out, and its settings in words."""
    setup = run.rows[name].setup
    return typeset.page(
        "experiment_page.html", setup.experiment.title, crumbs="Experiments",
        run_on=overview.run_on({setup.experiment.title: setup.experiment.provenance}),
        experiment=_experiment(run, name), about=run.about([name]),
    )  # fmt: skip


def _index(run: _Run) -> str:
    """The entry page. It shows all of an experiment only if there is no other."""
    lists: dict[str, dict[str, str]] = {}
    for page in run.settings.pages:
        lists.setdefault(page.category, {})[f"site/{page.name}.html"] = page.heading
    overviews = [run.shown(page, "site/") for page in run.settings.pages if page.name == "tables-overview"]
    return typeset.page(
        "index.html", run.settings.title, crumbs="",
        run_on=overview.run_on({row.setup.experiment.title: row.setup.experiment.provenance for row in run.rows.values()}),
        experiments=[_experiment(run, name, "site/") for name in run.rows],
        table=overviews[0] if overviews and not run.only else "", lists=lists, about=run.about(prefix="site/"),
    )  # fmt: skip


def _experiment(run: _Run, name: str, prefix: str = "") -> dict[str, Any]:
    """What is said of an experiment: sentences and links; on its own page also its tables and settings, there and of the first one two cases."""
    row, own = run.rows[name], {Path(page.page).stem: page for page in run.pages_of(name)}
    kind = "ensembles" if row.model in row.setup.experiment.ensembles else "predictions"
    said: dict[str, Any] = {
        "title": row.setup.experiment.title,
        "page": run.place_of(name, prefix),
        "sentences": [*_sentences(row), *overview.remarks(path for path in run.records if path.parent.name == name)],
        "links": {page.heading: f"{prefix}{page.name}.html" for page in own.values()},
        "short": bool(prefix) and not run.only,
        "cases": [],
    }
    if not said["short"] or name == next(iter(run.rows)):
        heatmaps = run.shown(own["heatmaps"], prefix) if "heatmaps" in own else ""
        said["cases"] = [Markup(picture) for picture in re.findall("<img [^>]*>", heatmaps)[:2]]
    if said["short"]:
        return said
    return said | {
        "chart": _chart(row),
        "table": run.shown(own["global"], prefix) if "global" in own else "",
        "settings": in_words({name: row.setup}),
        "recompute": _RECOMPUTE.format(
            kind=kind, experiment=name, model=row.model, label_set=row.setup.experiment.label_set,
            auc=cells.printed(row.number("auc")[0]),
        ),
    }  # fmt: skip


def _sentences(row: overview.Row) -> list[str]:
    """What was run on which data, what came out, and how that compares with the baseline and with the paper."""
    experiment, images = row.setup.experiment, images_by_part(row.labels)
    networks, ensembles = len(experiment.members), len(experiment.ensembles)
    counts = [(networks, "network"), *([(ensembles, "ensemble")] if ensembles else [])]
    who = " and ".join(f"{count} {kind}{'s' * (count != 1)}" for count, kind in counts)
    value, low, high = row.number("auc")
    between = f" (95% interval {cells.interval(low, high)})" if cells.interval(low, high) else ""
    classes = count_images(row.labels)["class"].tolist()[:-1]  # the most frequent first
    such = f", such as {' and '.join(classes[:2])}," if len(classes) > 2 else ""
    data = _DATA[experiment.provenance].format(archives.ARCHIVES[row.setup.dataset.archive].title)
    learning = any(ensemble.rule in LEARNING for ensemble in experiment.ensembles.values())
    apart = ", apart from ensembles that learn from these images" * learning
    best = f"{row.model} was the best on the {images['val']:,} validation images{apart}. " * (networks + ensembles > 1)
    said = [
        f"{who} learnt to find {count_of_classes(len(classes))}{such} in {images['train']:,} {data}, and "
        f"{'were' if networks + ensembles > 1 else 'was'} tested on {images['test']:,} of other patients.",
        f"{best}{'Its' if best else 'The'} mean AUC on the test images is "
        f"{cells.printed(value)}{between}, {_compared(value, row.on_test.number(BASELINE, GLOBAL, 'auc')[0])}.",
    ]
    published = row.published("auc")
    if experiment.beside and np.isfinite(published.value):
        name = published_numbers.citation(experiment.beside.paper)[0]
        numbers = f"{name} report {cells.printed(published.value)} for {row.published_model}"
        why = row.why_not or "ours were not measured on the paper's archive"
        said.append(f"{numbers}." if row.comparable else f"{numbers}. The two cannot be compared: {why.rstrip('.')}.")
    return said


def _compared(value: float, baseline: float) -> str:
    """How an AUC compares with the baseline's, as printed."""
    difference = cells.difference(value, baseline)
    how = "above" if difference > 0 else "below" if difference < 0 else "next to"
    return f"{how} the {cells.printed(baseline)} of the baseline, a logistic regression on small images"


def _chart(row: overview.Row) -> dict[str, Any]:
    """The AUC of each class as a forest plot: of the best model with its interval, and of the baseline.

    Places are percentages of the axis, which starts at a multiple of 0.1 and ends at 1.
    """
    counts = count_images(row.labels)
    headings = row_headings(counts["class"])
    numbers = {
        name: (*row.on_test.number(row.model, name, "auc"), row.on_test.number(BASELINE, name, "auc")[0])
        for name in counts["class"]
    }
    first = math.floor(10 * np.nanmin([CHANCE_AUC, *(value for values in numbers.values() for value in values)]) + 1e-9) / 10
    place = lambda value: f"{100 * (value - first) / (1 - first):.1f}%"
    keys = ("value", "low", "high", "baseline")
    rows = [
        {
            "name": "Mean of all" if name == GLOBAL else headings[name],
            "images": f"{images:,}",
            "text": cells.cell(numbers[name][:3]),
            "baseline": cells.printed(numbers[name][3]),
            "places": {key: place(value) for key, value in zip(keys, numbers[name], strict=True) if np.isfinite(value)},
        }
        for name, images in zip(counts["class"], counts["images_in_part"], strict=True)
    ]
    return {"model": row.model, "rows": rows, "chance": place(CHANCE_AUC), "ends": (f"{first:g}", "1")}


def _seeds(rows: Iterable[overview.Row]) -> str:
    """The random seeds of experiments, by what they are for."""
    seeds: dict[str, set[int]] = {"split": set(), "networks": set(), "intervals and cases": set()}
    for row in rows:
        experiment = row.setup.experiment
        of_row = ([row.setup.split.seed], [experiment.member(name).seed for name in experiment.members], [experiment.seed])
        for found, values in zip(seeds.values(), of_row, strict=True):
            found |= set(values)
    return "; ".join(f"{name} {', '.join(map(str, sorted(found)))}" for name, found in seeds.items())


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


@cache
def _commit() -> str:
    """The commit of the checkout that this code is in, with a plus if files have changed since; "unknown" outside of one."""
    if not shutil.which("git"):
        return "unknown"
    git = ["git", "-C", str(Path(thorax.__file__).parent), "describe", "--always", "--abbrev=10", "--dirty=+", "--exclude=*"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
