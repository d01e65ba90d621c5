"""Generate the reference page and the JSON schema of the configuration from its models."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from thorax import config
from thorax.resources import resource
from thorax.storage import store

SECTIONS: dict[str, type[BaseModel]] = {
    "datasets": config.Dataset,
    "datasets.*.phantom": config.Phantom,
    "label_sets": config.LabelSet,
    "splits": config.Split,
    "splits.*.draw_down": config.DrawDown,
    "audit": config.Audit,
    "segmenters": config.Segmenter,
    "image_sets": config.ImageSet,
    "experiments": config.Experiment,
    "experiments.*.beside": config.Beside,
    "experiments.*.training and experiments.*.members.*": config.Training,
    "experiments.*.training.weights": config.Start,
    "experiments.*.training.augmentation": config.Augmentation,
    "experiments.*.ensembles": config.Ensemble,
    "ablations": config.Ablation,
    "cascades": config.Cascade,
    "comparisons": config.Comparison,
    "cross": config.CrossEvaluation,
}


def write_reference(out: Path) -> None:
    """Write configuration.md and config.schema.json into `out`."""
    store.write_text(markdown(), out / "configuration.md")
    store.write_text(json.dumps(config.Config.model_json_schema(), indent=1, sort_keys=True), out / "config.schema.json")


def markdown() -> str:
    """The reference: a table of keys per kind of block."""
    sections = [resource("configuration.md").read_text(encoding="utf-8").rstrip()]
    for name, model in SECTIONS.items():
        schema = model.model_json_schema()
        required = schema.get("required", [])
        rows = [
            f"| `{key}` | {_type(entry)} | {'required' if key in required else _default(entry)} | {entry['description']} |"
            for key, entry in schema["properties"].items()
        ]
        text = (model.__doc__ or "").strip().splitlines()[0]
        sections.append(f"## {name}\n\n{text}\n\n| key | type | default | meaning |\n|---|---|---|---|\n" + "\n".join(rows))
    return "\n\n".join(sections)


WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "null"}


def _type(entry: dict[str, Any]) -> str:
    """A property of a JSON schema in words."""
    if "enum" in entry:
        return ", ".join(map(str, entry["enum"]))
    if "anyOf" in entry:
        return " or ".join(_type(choice) for choice in entry["anyOf"])
    if "$ref" in entry:
        return "a block"
    if entry["type"] == "array":
        return f"list of {_type(entry['items'])}" if "items" in entry else "list"
    if entry["type"] == "object":
        values = list(entry.get("patternProperties", {}).values())
        if values and all(value.get("type") == "array" for value in values):
            return "named lists"
        return "named texts" if values and all(value.get("type") == "string" for value in values) else "named blocks"
    return WORDS[entry["type"]]


def _default(entry: dict[str, Any]) -> str:
    default = entry.get("default")
    return "its own defaults" if isinstance(default, dict) and default else f"`{json.dumps(default)}`"
