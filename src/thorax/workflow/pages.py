"""The pages of the report: which tables and figures a run has, and which of them a paper's page shows, in the paper's order.

The catalogue itself is `resources/pages.yaml`. The default target, Snakemake's report and the papers' pages read it from here.
"""

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from thorax import config
from thorax.config import Block, Config, Experiment
from thorax.report import published_numbers
from thorax.resources import resource
from thorax.workflow.blocks import BLOCKS, TITLED

BEYOND = "beyond"  # the page for what no paper shows, and for experiments without a paper
# Archives with other published systems on record, and the tables of these
SYSTEMS = {"padchest": ["systems", "classes"], "nih": ["systems"], "chexpert": ["systems", "classes"]}

Wildcards = dict[str, str]
Numbers = str | dict[str, str] | None


class Page(Block):
    """An entry of the catalogue; its fields are explained there."""

    path: str
    heading: str
    caption: str
    category: str
    subcategory: str | None = None
    content: str
    each: str
    where: str | None = None
    review: bool = False
    beyond: bool = False
    notebook: str | None = None


class Catalogue(Block):
    """All pages by name, and each paper's order: lines of pages that are shown together, with the paper's numbers."""

    pages: dict[str, Page]
    papers: dict[str, list[dict[str, Numbers]]]


# The fast loader, because every Snakemake process reads it
_READ = Catalogue.model_validate(yaml.load(resource("pages.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader))
CATALOGUE, ORDERS = _READ.pages, _READ.papers


class Made(NamedTuple):
    """A page of a run: its name in the catalogue, the wildcards of its path, its path."""

    name: str
    wildcards: Wildcards
    path: str


def page(name: str, path: str | None = None) -> Any:
    """A rule's output that Snakemake's report shows as the catalogue says; `path` is that of a rule of several pages."""
    from snakemake.io import report

    entry = CATALOGUE[name]
    listed = {"category": entry.category, "subcategory": entry.subcategory, "labels": {"content": entry.content}}
    return report(path or entry.path, caption=_caption_file(name), **listed)


_folder = cache(lambda: tempfile.TemporaryDirectory(prefix="thorax-captions-"))


@cache
def _caption_file(name: str) -> str:
    """A file with a page's caption, which Snakemake's report wants in one; it is deleted when the process ends."""
    file = Path(_folder().name, f"{name}.rst")
    file.write_text(CATALOGUE[name].caption, encoding="utf-8")
    return str(file)


def wanted(plan: Config, audited: Sequence[str] = ()) -> list[str]:
    """The paths of all pages of a run, without repetitions; `audited` are the splits whose archives are audited."""
    return list(dict.fromkeys(page.path for name in CATALOGUE for page in _made(plan, name, audited)))


def entry(plan: Config) -> list[str]:
    """The path of the site's entry page, if a run has experiments."""
    return ["results/index.html"] if plan.run else []


def records(plan: Config) -> list[str]:
    """What the networks of experiments say of each test image, and where."""
    return [f"results/records/{name}.parquet" for name in plan.run if plan.experiments[name].review]


def audit(plan: Config, audited: Sequence[str]) -> list[str]:
    """The paths of the audit's pages."""
    return [path for path in wanted(plan, audited) if path.startswith("results/audit/")]


def papers(plan: Config) -> dict[str, list[str]]:
    """The experiments of a run by the page that shows them, in the paper's order of variants, then in the order of the run."""
    found: dict[str, list[str]] = {}
    for name in plan.run:
        found.setdefault(plan.experiments[name].paper or BEYOND, []).append(name)
    for paper, names in found.items():
        results = _numbers(paper).get("per_class")
        variants = list(results) if isinstance(results, dict) else []
        names.sort(key=lambda name: variants.index(v) if (v := _variant(plan.experiments[name])) in variants else len(variants))
    if any(page.beyond and _made(plan, name, ()) for name, page in CATALOGUE.items()):
        found.setdefault(BEYOND, [])
    return found


def sections(plan: Config, paper: str) -> list[Made]:
    """The tables and figures of a paper's page, in its order."""
    experiments = papers(plan)[paper]
    own_label_sets = {plan.experiments[name].label_set for name in experiments}
    ranks = plan.run if paper == BEYOND else experiments
    named = [list(line) for line in ORDERS.get(paper, [])]
    lines = named + [[name] for name, page in CATALOGUE.items() if not any(name in line for line in named) and not page.beyond]
    found = []
    for line in lines:
        made = [page for name in line for page in _made(plan, name, ()) if _belongs(plan, page, paper, experiments)]

        def order(page: Made, line: list[str] = line) -> tuple[int, bool, int]:
            name = page.wildcards.get("experiment")
            rank = ranks.index(name) if name in ranks else len(ranks)
            return rank, page.wildcards.get("label_set") not in own_label_sets, line.index(page.name)

        found += sorted(made, key=order)
    return found


def heading(plan: Config, paper: str, page: Made) -> str:
    """The heading of a section: the paper's number if it has one, what is shown, and of what."""
    number = _numbers(paper).get(page.name)
    if isinstance(number, dict):
        experiment, label_set = page.wildcards.get("experiment"), page.wildcards.get("label_set")
        which = _variant(plan.experiments[experiment]) if experiment else _grouping(plan, label_set or "")
        number = number.get(which or "")
    title = CATALOGUE[page.name].heading
    return ": ".join(filter(None, [f"{number}. {title}" if number else title, ", ".join(_subjects(plan, page.wildcards))]))


def settings(plan: Config, paper: str) -> str:
    """What `thorax paper-page` needs, as text for --settings; the page beyond the papers tells the data of every experiment."""
    own, made = papers(plan)[paper], sections(plan, paper)
    told = [plan.experiments[name] for name in (plan.run if paper == BEYOND else own)]
    figures = {page.name for page in made if CATALOGUE[page.name].path.startswith("results/figures/")}
    content = {
        "paper": None if paper == BEYOND else paper,
        "provenance": {experiment.title: experiment.provenance for experiment in told},
        "setups": setups(plan, own),
        "sections": [
            {"heading": heading(plan, paper, page), "page": page.path, "caption": page.name if page.name in figures else None}
            for page in made
        ],
        "captions": _captions(figures),
    }
    return json.dumps(content)


def site(plan: Config, audited: Sequence[str]) -> str:
    """What `thorax site` needs, as text for --settings: all pages of the run, listed by experiment where they are of one."""
    made = {page.path: page for name in CATALOGUE for page in _made(plan, name, audited)}
    figures = {page.name for path, page in made.items() if path.startswith(("results/figures/", "results/cases/"))}
    content = {
        "title": "Results" if len(plan.run) != 1 else f"Results: {plan.experiments[plan.run[0]].title}",
        "config": plan.model_dump(mode="json", exclude_unset=True),
        "pages": [
            {
                "heading": _titled(plan, page),
                "page": path,
                "caption": page.name if page.name in figures else None,
                "category": _listed(plan, page),
                "experiments": _shown(plan, page.wildcards),
                "notebook": _notebook(page),
            }
            for path, page in made.items()
        ],
        "captions": _captions(figures),
    }
    return json.dumps(content)


def _captions(names: Iterable[str]) -> dict[str, str]:
    return {name: " ".join(CATALOGUE[name].caption.split()) for name in sorted(names)}


def notebooks(plan: Config) -> list[str]:
    """The executed notebooks of all figures of a run."""
    found = [_notebook(page) for name in CATALOGUE for page in _made(plan, name, ())]
    return list(dict.fromkeys(filter(None, found)))


def _notebook(page: Made) -> str | None:
    path = CATALOGUE[page.name].notebook
    return path.format(**page.wildcards) if path else None


def _shown(plan: Config, wildcards: Wildcards) -> list[str]:
    """The experiments that a page shows, by its wildcards; none if it shows all of the run."""
    if "cascade" in wildcards:
        block = plan.cascades[wildcards["cascade"]]
        return [block.flat, block.general, block.inside]
    if "paper" in wildcards:
        return papers(plan)[wildcards["paper"]]
    if "experiment" in wildcards:
        return [wildcards["experiment"]]
    kind = next((kind for kind in TITLED if kind in wildcards), None)
    return list(getattr(plan, BLOCKS[kind])[wildcards[kind]].experiments) if kind else []


def _listed(plan: Config, page: Made) -> str:
    """Where the entry page lists a page: with its experiment, or its category in the report without the number."""
    if (experiment := page.wildcards.get("experiment")) in plan.experiments:
        return plan.experiments[experiment].title
    return {"0": "Overview and papers", "1": "Data", "2": "Comparisons", "3": "Audit"}[CATALOGUE[page.name].category[0]]


def _titled(plan: Config, page: Made) -> str:
    """The heading of a page of the site; one of an experiment is listed below its title and need not repeat it."""
    if page.name == "paper":
        paper = page.wildcards["paper"]
        return "Beyond the papers" if paper == BEYOND else published_numbers.citation(paper)[0]
    further = f", page {page.wildcards['part']}" if page.wildcards.get("part", "1") != "1" else ""
    return f"{CATALOGUE[page.name].heading}{further}" if "experiment" in page.wildcards else heading(plan, BEYOND, page)


def setups(plan: Config, experiments: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Experiments with the blocks that they name, as `config.Setups` takes them."""
    return {
        name: setup.model_dump(mode="json", exclude_defaults=True) for name, setup in config.setups(plan, experiments).items()
    }


def label_sets_of(plan: Config, split: str) -> list[str]:
    """The label sets that a split divides, and those of the run's experiments on it."""
    learnt = [plan.experiments[name].label_set for name in plan.run if plan.experiments[name].split == split]
    return list(dict.fromkeys([*plan.splits[split].label_sets, *learnt]))


def _made(plan: Config, name: str, audited: Sequence[str]) -> list[Made]:
    """The pages of one entry, without repetitions."""
    page = CATALOGUE[name]
    keys = re.findall(r"{(\w+)}", page.path)
    found = {}
    for wildcards in EACH[page.each](plan, audited):
        reviewed = not page.review or plan.experiments[wildcards["experiment"]].review
        if reviewed and (page.where is None or WHERE[page.where](plan, wildcards)):
            path = page.path.format(**wildcards)
            found[path] = Made(name, {key: wildcards[key] for key in keys}, path)
    return list(found.values())


def _together(kind: str, plan: Config, _: Sequence[str]) -> list[Wildcards]:
    """The blocks whose experiments are all run."""
    blocks = getattr(plan, BLOCKS[kind])
    return [{kind: name} for name, block in blocks.items() if set(block.experiments) <= set(plan.run)]


def _run_label_sets(plan: Config, _: Sequence[str]) -> list[Wildcards]:
    splits = sorted({plan.experiments[name].split for name in plan.run})
    return [{"split": split, "label_set": label_set} for split in splits for label_set in label_sets_of(plan, split)]


def _archives(plan: Config, label_sets: Iterable[str]) -> list[Wildcards]:
    """The archives of label sets that have other published systems on record."""
    return [{"archive": archive} for archive in SYSTEMS if archive in map(plan.archive_of, label_sets)]


def _cascades(plan: Config, _: Sequence[str]) -> list[Wildcards]:
    """The cascades whose three experiments are run, by each threshold rule."""
    return [
        {"cascade": name, "threshold_rule": rule}
        for name, block in plan.cascades.items()
        if {block.general, block.inside, block.flat} <= set(plan.run)
        for rule in plan.experiments[block.flat].thresholds
    ]


# What a page can be wanted for: the wildcards of its path, in the order of the report. Arguments as in `wanted`
EACH: dict[str, Callable[[Config, Sequence[str]], list[Wildcards]]] = {
    "run": lambda plan, _: [{}] if plan.run else [],
    "paper": lambda plan, _: [{"paper": paper} for paper in papers(plan)],
    "experiment": lambda plan, _: [{"experiment": name} for name in plan.run],
    "browser_page": lambda plan, _: [
        {"experiment": name, "part": str(number)}
        for name in plan.run
        for number in range(1, 1 + plan.experiments[name].browser_pages)
    ],
    "label_set": _run_label_sets,
    "image_set": lambda plan, _: [{"image_set": name} for name in sorted({plan.experiments[n].image_set for n in plan.run})],
    "archive": lambda plan, _: _archives(
        plan, [block.label_set for name in plan.run if (block := plan.experiments[name]).paper]
    ),
    **{kind: partial(_together, kind) for kind in ("ablation", "comparison", "cross")},
    "cascade": _cascades,
    "audit": lambda _, audited: [{}] if audited else [],
    "audited_label_set": lambda plan, audited: [
        {"label_set": name} for split in audited for name in plan.splits[split].label_sets
    ],
    "audited_archive": lambda plan, audited: _archives(plan, [plan.splits[split].label_sets[0] for split in audited]),
}


def attending(experiment: Experiment) -> list[str]:
    """The members with the attention head."""
    return [name for name in experiment.members if experiment.member(name).head == "attention"]


def has_boxes(plan: Config, experiment: Experiment) -> bool:
    """Whether the images of an experiment may have boxes: those of CheXpert have none."""
    return plan.datasets[plan.label_sets[experiment.label_set].dataset].archive != "chexpert"


def tested_members(experiment: Experiment) -> list[str]:
    """The members whose test images are evaluated after every epoch."""
    return [name for name in experiment.members if experiment.member(name).test_every_epoch]


def _has_statements(experiment: Experiment) -> bool:
    """Whether the text of Liz et al. 2022 speaks of its results: of its networks and its ensemble CTP."""
    beside = experiment.beside
    return bool(beside and beside.paper == "liz2022" and "CTP" in {*beside.models.values(), *experiment.ensembles})


def _if(holds: Callable[[Experiment], object]) -> Callable[[Config, Wildcards], bool]:
    return lambda plan, names: bool(holds(plan.experiments[names["experiment"]]))


# Conditions on which a page is wanted
WHERE: dict[str, Callable[[Config, Wildcards], bool]] = {
    "has_several_thresholds": _if(lambda experiment: len(experiment.thresholds) > 1),
    "has_published_results": _if(lambda experiment: experiment.beside),
    "has_groups": _if(lambda experiment: experiment.groups),
    "has_statements": _if(_has_statements),
    "has_attention": _if(attending),
    "has_boxes": lambda plan, names: has_boxes(plan, plan.experiments[names["experiment"]]),
    "checks_heatmaps": _if(lambda experiment: experiment.checks_heatmaps),
    "has_experts": _if(lambda experiment: experiment.experts),
    "seeks_suspects": _if(lambda experiment: experiment.suspects),
    "has_repeats": _if(lambda experiment: experiment.repeats > 1),
    "tests_every_epoch": _if(tested_members),
    "names_cooccurring_classes": _if(lambda experiment: experiment.cooccurrence),
    # In a label distribution an image without a class is not counted as a label
    "keeps_images_without_class": lambda plan, names: (
        plan.label_sets[plan.experiments[names["experiment"]].label_set].without_class != "drop"
    ),
    "is_general": lambda plan, names: plan.label_sets[names["label_set"]].grouping == "general",
    "is_cropped": lambda plan, names: plan.image_sets[names["image_set"]].crop == "lungs",
    "is_compared": lambda plan, names: names["label_set"] in plan.audit.compare,
    "has_systems": lambda _, names: "systems" in SYSTEMS[names["archive"]],
    "has_system_classes": lambda _, names: "classes" in SYSTEMS[names["archive"]],
}


def _numbers(paper: str) -> dict[str, Numbers]:
    """The paper's number of each page that its order names."""
    return {name: number for line in ORDERS.get(paper, []) for name, number in line.items()}


def _variant(experiment: Experiment) -> str | None:
    """Which of its paper's experiments it repeats; None without published numbers."""
    return experiment.beside.variant if experiment.beside else None


def _grouping(plan: Config, label_set: str) -> str | None:
    """Specific or general; None for a label set that no paper has.

    These are label sets inside another one, and a general one if another one of the data set follows the paper in the labels it ignores.
    """
    block = plan.label_sets[label_set]
    others = [other for other in plan.label_sets.values() if (other.dataset, other.grouping) == (block.dataset, "general")]
    cleaner = block.grouping == "general" and any(other.padded_labels != block.padded_labels for other in others)
    return None if block.inside or (cleaner and block.padded_labels == "count") else block.grouping


def _belongs(plan: Config, page: Made, paper: str, experiments: Sequence[str]) -> bool:
    """Whether a page of the run is on a paper's page: everything in its path belongs to the paper's experiments.

    An ablation does if all its experiments are among them. What is beyond the papers is on that page for every experiment.
    """
    entry = CATALOGUE[page.name]
    if entry.category not in ("1. Data", "2. Results"):
        return False
    if paper == BEYOND and entry.beyond:
        return True
    blocks = [plan.experiments[name] for name in experiments]
    splits = {block.split for block in blocks}
    inside = {label_set for split in splits for label_set in plan.splits[split].label_sets}
    known: dict[str, set[str]] = {
        "experiment": set(experiments),
        "split": splits,
        "label_set": {block.label_set for block in blocks} | inside,
        "image_set": {block.image_set for block in blocks},
        "archive": {plan.archive_of(block.label_set) for block in blocks if block.paper},
        "ablation": {name for name, ablation in plan.ablations.items() if set(ablation.experiments) <= set(experiments)},
    }
    return bool(experiments) and all(value in known.get(name, ()) for name, value in page.wildcards.items())


def _subjects(plan: Config, wildcards: Wildcards) -> list[str]:
    """What a page is of, in words; a split is named only where the label set is in several."""
    splits = [split for split in plan.splits.values() if wildcards.get("label_set") in (*split.label_sets, *split.also_for)]
    return [
        getattr(plan, BLOCKS[name])[value].title if name in TITLED else value
        for name, value in wildcards.items()
        if name != "split" or len(splits) != 1
    ]
