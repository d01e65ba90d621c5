"""The model card (Mitchell et al. 2019, doi:10.1145/3287560.3287596) and the data sheet (Gebru et al. 2021, doi:10.1145/3458723)."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import DictLoader, Environment, StrictUndefined

from thorax import config
from thorax.bundles.contents import Contents
from thorax.bundles.facts import Facts, Rows, heatmaps, rejected, training
from thorax.report.tables.results import PROVENANCE
from thorax.report.typeset import markdown_text

_COMBINED = {
    "ctp": "the mean probability",
    "ptc_lw": "the majority of votes for each class",
    "ptc_mode": "the most frequent set of classes",
    "max_vote": "the share of votes",
    "max_probability": "the largest probability",
    "weighted_average": "a weighted mean probability",
    "stacked": "a logistic regression on the logits",
}
_ARCHIVES = {
    "padchest": "PadChest (Bustos et al. 2020, doi:10.1016/j.media.2020.101797): Hospital San Juan, Alicante, 2009 to 2017; labels by "
    "physicians and by a network that read the reports.",
    "nih": "NIH ChestX-ray14 (Wang et al. 2017, doi:10.1109/CVPR.2017.369): NIH Clinical Center; labels by a program that read the reports.",
    "chexpert": "CheXpert (Irvin et al. 2019, arXiv:1901.07031): Stanford Hospital, 2002 to 2017; labels by a program that read the reports.",
    "own": "An archive of the user's own: ask its makers how images and labels were collected, and whether patients consented.",
}
_MADE_UP = "The radiographs are synthetic. A program drew them, in the file format of the archive; no patient exists."
_UNCERTAIN = {"ignore": "neither learnt from nor measured", "zeros": "taken as no", "ones": "taken as yes"}
_WITHOUT = {"drop": "left out", "keep_labelled": "kept where the archive gives any label", "keep": "kept"}
_LIMITS = {
    "phantom": ["The images are synthetic, so the numbers say nothing about radiographs of patients."],
    "sample": ["The images are a small sample, so the numbers are uncertain."],
    "full": [],
}
TEMPLATES = Path(__file__).parent / "templates"


@cache
def _templates() -> Environment:
    sources = {path.name: path.read_text(encoding="utf-8") for path in TEMPLATES.glob("*.md")}  # the code digest reads these
    environment = Environment(
        loader=DictLoader(sources), autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"plain": lambda text: markdown_text(" ".join(str(text).split())), "table": table}
    return environment


def render(template: str, **content: Any) -> str:
    """Return a page of Markdown from one of the templates, which escape all text with the filter `plain`."""
    return _templates().get_template(template).render(**content).strip() + "\n"


def table(rows: Rows) -> str:
    """A pipe table; the first row has the headings."""
    escaped = [[markdown_text(" ".join(cell.split())) for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in escaped]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def cards(
    settings: config.Bundled,
    contents: Contents,
    facts: Facts,
    metrics: pd.DataFrame,
    fitted: pd.DataFrame | None,
    thresholds: pd.DataFrame,
    boxes: Path | None,
    ingested: pd.DataFrame,
) -> tuple[str, str]:
    """Return the model card and the data sheet of a bundle.

    `metrics` and `thresholds` are rows of their schemas, `fitted` those of `calibration.read_scaling` or None for votes, `boxes` the table
    of `localisation.measure_heatmaps`, `ingested` that of the data set.
    """
    experiment, label_set, phantom = settings.experiment, settings.label_set, settings.experiment.provenance == "phantom"
    limits = [contents.thresholds[contents.rule][name] for name in contents.classes]
    groups, warnings = facts.groups(experiment.groups, np.array(limits))
    chosen = thresholds[(thresholds["model"] == contents.model) & (thresholds["rule"] == contents.rule)]
    untuned = chosen.loc[~chosen["defined"].astype(bool), "class"].tolist()
    both = {
        "title": contents.title,
        "experiment": contents.experiment,
        "provenance": PROVENANCE[contents.provenance],
        "views": contents.dataset.views,
        "two_views": contents.views == 2,
        "size": contents.image_set.size,
        "cropped": contents.image_set.crop == "lungs",
        "parts": facts.parts(),
        "positives": facts.positives(contents.terms),
    }
    rule = contents.ensemble and _COMBINED[contents.ensemble.rule]
    card = render(
        "model_card.md",
        **both,
        model=contents.model,
        combined=f"{rule} of {len(contents.members)} networks" if rule else "a single network",
        contrast=contents.image_set.contrast,
        intensity=contents.image_set.intensity,
        classes=contents.classes,
        rule=contents.rule,
        exclusive=contents.exclusive,
        seeds=contents.seeds,
        versions=contents.versions,
        networks=_networks(contents),
        trained=_trained(settings, contents),
        sampled=max(network.images for network in contents.networks.values()),
        factors=sorted({row[0].partition(":")[0] for row in groups[1:]}) or ["none"],
        results=facts.results(metrics),
        groups=groups,
        warnings=warnings,
        calibrated=facts.calibrated(fitted),
        unscaled=[] if fitted is None else [name for name in contents.classes if name not in contents.scaling],
        heatmaps=heatmaps(boxes),
        limits=[*_LIMITS[contents.provenance], *facts.limits(untuned), *_starts(contents)],
    )
    ok = int(ingested["ok"].sum())
    sheet = render(
        "data_sheet.md",
        **both,
        people=facts.people(),
        uncertain=_UNCERTAIN[label_set.uncertain],
        without_class=_WITHOUT[label_set.without_class],
        min_images=label_set.min_images,
        min_patients=label_set.min_patients,
        collected=_MADE_UP if phantom else _ARCHIVES[contents.dataset.archive],
        ok=f"{ok:,}",
        listed=f"{len(ingested):,}",
        rejected=rejected(ingested),
        stratified=_stratified(settings.split),
    )
    return card, sheet


def _networks(contents: Contents) -> Rows:
    rows = [["Network", "Architecture", "Seed", "Stored as", "Change", "Trained on", "Epochs"]]
    for name, network in contents.networks.items():
        kept = f"{network.precision}, {network.fraction_bits} bits of fraction"
        trained = [str(network.trained.get(key, "not recorded")) for key in ("device", "epochs")]
        rows.append([name, network.backbone, str(network.seed), kept, f"{network.difference:.1e}", *trained])
    return rows


def _starts(contents: Contents) -> list[str]:
    """What the trainings recorded of test patients whom networks may have seen before."""
    found = {name: network.trained.get("remark") for name, network in contents.networks.items()}
    return [f"{name} started from another network. {remark}" for name, remark in found.items() if remark]


def _trained(settings: config.Bundled, contents: Contents) -> Rows:
    """How each network was trained; settings that all share are told once."""
    told = {name: training(settings.experiment.member(name)) for name in contents.members}
    rows = [["Training", "Value"]]
    for key in next(iter(told.values())):
        values = {name: of_member[key] for name, of_member in told.items()}
        same = len(set(values.values())) == 1
        rows.append(
            [key, next(iter(values.values())) if same else "; ".join(f"{name}: {value}" for name, value in values.items())]
        )
    return rows


def _stratified(split: config.Split) -> str:
    if split.official:
        return "test by the archive's own list, the others drawn so that every class keeps its share"
    return f"drawn so that every class keeps its share, {split.train:.0%}, {split.val:.0%} and {split.test:.0%} of the images, seed {split.seed}"
