"""What fields of rules have in common: functions of a job's wildcards, inputs and outputs, and files of the catalogue of pages."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from thorax.workflow.blocks import Wildcards
from thorax.workflow.pages import CATALOGUE

SPARED = ("results/ingested/*.npy", "results/lungs/*/*.npy", "resources/weights/*.h5")


def any_of(names: Iterable[str]) -> str:
    """A regular expression that matches exactly these names."""
    return "|".join(re.escape(name) for name in names) or "(?!)"


def named(paths: Any) -> Any:
    """NAME=PATH for every path, as command lines take them.

    Args:
        paths: By name, or a list whose names are those of the files; or a function of wildcards that gives one of these, whose
            NAME=PATH are then a function of wildcards, too.
    """
    if callable(paths):
        return lambda wildcards: named(paths(wildcards))
    pairs = paths.items() if isinstance(paths, Mapping) else ((Path(path).stem, path) for path in paths)
    return [f"{name}={path}" for name, path in pairs]


def options(*names: str) -> Callable[[Wildcards, Any], str]:
    """A rule's parameter: `--NAME FILES` for each of its inputs of these names that the job has."""

    return lambda wildcards, input: _options(names, input)


def output_options(*names: str) -> Callable[[Wildcards, Any], str]:
    """The same for the rule's outputs of these names that the job has."""
    return lambda wildcards, output: _options(names, output)


def _options(names: Sequence[str], files: Any) -> str:
    words: list[str] = []
    for name in names:
        if found := files.get(name):
            words += [f"--{name.replace('_', '-')}", *([found] if isinstance(found, str) else found)]
    return " ".join(words)


def memory(mb: int | Callable[[Wildcards], int]) -> Callable[[Wildcards, int], int]:
    """A rule's resource mem_mb: the request grows linearly with each retry (profiles set `retries`)."""
    return lambda wildcards, attempt: attempt * (mb(wildcards) if callable(mb) else mb)


def folder(wildcards: Wildcards, output: Any) -> Path:
    """A rule's parameter: the folder of its first output."""
    return Path(output[0]).parent


def stem(wildcards: Wildcards, output: Any) -> Path:
    """A rule's parameter: its first output without the suffix."""
    return Path(output[0]).with_suffix("")


def table(*names: str) -> list[str]:
    """A rule's output: the other forms of tables of the catalogue of pages."""
    return [CATALOGUE[name].path.removesuffix("html") + suffix for name in names for suffix in ("csv", "md", "tex")]


def figure(name: str) -> list[str]:
    """A rule's output: the other forms of a figure of the catalogue of pages."""
    return [CATALOGUE[name].path.removesuffix("html") + suffix for suffix in ("png", "svg")]


def is_spared(path: str) -> bool:
    """Whether a file may be deleted to save space: it is made again when a job needs it, and not before."""
    return any(PurePath(path).match(pattern) for pattern in SPARED)
