"""An experiment's settings in words. The phrases are in `resources/settings.yaml`."""

from collections.abc import Iterable
from functools import cache
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined, nodes
from pydantic import BaseModel

from thorax import archives
from thorax.config import Setup, Training
from thorax.report import published_numbers
from thorax.report.tables.results import F1_MEANINGS
from thorax.resources import resource

_JINJA = Environment(undefined=StrictUndefined)  # plain text: the page escapes it
_template = cache(_JINJA.from_string)


@cache
def _phrases() -> dict[str, Any]:
    return yaml.safe_load(resource("settings.yaml").read_text(encoding="utf-8"))


def describe(setup: Setup) -> dict[str, str]:
    """What was done in one experiment, in words, by topic."""
    experiment = setup.experiment
    blocks = {name: getattr(setup, name) for name in type(setup).model_fields}
    more = {
        "archive": archives.ARCHIVES[setup.dataset.archive].title,
        "f1_metric": F1_MEANINGS[experiment.f1_metric],
        "published": published_numbers.variant(experiment.beside)["description"] if experiment.beside else "",
    }
    told: dict[str, str] = {}
    for topic, phrases in _phrases()["topics"].items():
        if topic == "Ensembles":
            told |= _networks({name: experiment.member(name) for name in experiment.members})
        words = [_template(phrase).render(**blocks, **more) for phrase in phrases or []]
        if block := _phrases()["block_of"].get(topic):
            words += _others(block, blocks[block])
        told[topic] = "; ".join(filter(None, words))
    return {topic: text for topic, text in told.items() if text}


def _networks(trainings: dict[str, Training]) -> dict[str, str]:
    """The networks by the settings that not all of them share, and those that all share."""
    said = {name: _training_phrases(training) for name, training in trainings.items()}
    columns = list(zip(*said.values(), strict=True))
    alike: dict[str, list[str]] = {}
    for name, training in trainings.items():
        title = name if name == training.backbone else f"{name} ({training.backbone})"
        own = [text for text, column in zip(said[name], columns, strict=True) if text and len(set(column)) > 1]
        alike.setdefault(", ".join(own), []).append(title)
    networks = [", ".join(names) + (f": {words}" if words else "") for words, names in alike.items()]
    shared = [texts[0] for texts in columns if len(set(texts)) == 1 and texts[0]]
    return {"Networks": "; ".join(networks), "Training": "; ".join(shared)}


def _training_phrases(training: Training) -> list[str]:
    """One phrase for each template and each field without one; empty where there is nothing to say."""
    augmentation = training.augmentation
    words = ""
    if augmentation:
        phrases = [_template(phrase).render(augmentation=augmentation) for phrase in _phrases()["augmentation"]]
        words = ", ".join(filter(None, [*phrases, *_others("augmentation", augmentation)]))
    phrases = [_template(phrase).render(training=training, augmentation=words) for phrase in _phrases()["training"]]
    return phrases + _others("training", training)


@cache
def _worded(block: str) -> set[str]:
    """The fields of a block that phrases name, and those that need no words."""
    every = _phrases()
    topics = [phrase for phrases in every["topics"].values() for phrase in phrases or []]
    phrases: Iterable[str] = [*topics, *every["training"], *every["augmentation"]]
    named = {
        found.attr
        for phrase in phrases
        for found in _JINJA.parse(phrase).find_all(nodes.Getattr)
        if isinstance(found.node, nodes.Name) and found.node.name == block
    }
    return named | set(every["unsaid"].get(block, ()))


def _others(name: str, block: BaseModel) -> list[str]:
    """The settings of a block that no phrase names, as `name: value`; blank where one has its default."""
    found = []
    for field, info in type(block).model_fields.items():
        if field not in _worded(name):
            value = getattr(block, field)
            default = info.get_default(call_default_factory=True)
            found.append("" if value == default else f"{field.replace('_', ' ')}: {value}")
    return found
