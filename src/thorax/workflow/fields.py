"""What fields of rules have in common: functions of a job's wildcards, inputs and outputs, and files of the catalogue of pages."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from thorax.workflow.blocks import Wildcards
from thorax.workflow.code import digest
from thorax.workflow.pages import CATALOGUE, page

VERB = re.compile(r"(?:exec )?thorax ([\w-]+)")  # what a rule's command begins with
PLACES: dict[str, Callable[[Wildcards, Any], Path]] = {
    "folder": lambda wildcards, output: Path(output[0]).parent,
    "stem": lambda wildcards, output: Path(output[0]).with_suffix(""),
}
SPARED = ("results/ingested/*.npy", "results/lungs/*/*.npy", "resources/weights/*.h5")


def any_of(names: Iterable[str]) -> str:
    """A regular expression that matches exactly these names."""
    return "|".join(re.escape(name) for name in names) or "(?!)"


def complete(rules: Iterable[Any], environment: str, parameter: Callable[[str], Callable[[Wildcards], Any]]) -> None:
    """Give every rule with a command what all have: a log, a benchmark, the conda environment, the digest of its verb's code.

    The log of a job is logs/RULE/WILDCARDS.log, with the wildcards of its first output. The digest is a parameter, so that
    changed code reruns what it feeds and an edited comment does not. Downloads have none: what they fetch has checksums.

    Parameters that the command names and the rule does not define: `folder` is the folder of the first output, `stem` its path
    without the suffix, `named_INPUT` has NAME=PATH for each of these inputs, and any other is what `parameter` returns for its name.
    """
    from snakemake.io import strip_wildcard_constraints

    for rule in rules:
        if rule.shellcmd:
            wildcards = re.search(r"{.*}", strip_wildcard_constraints(str(rule.output[0])))
            place = f"{rule.name}/{wildcards[0]}" if wildcards else rule.name
            rule.log_modifier = rule.benchmark_modifier = rule.output_modifier
            rule.set_log(f"logs/{place}.log")
            rule.benchmark = f"benchmarks/{place}.tsv"
            rule.conda_env = environment
            verb = VERB.match(rule.shellcmd)
            if verb and verb[1] != "download":
                rule.set_params(code=_code(verb[1]))
            for name in sorted(set(re.findall(r"{params\.(\w+)", rule.shellcmd)) - set(rule.params.keys())):
                inputs = name.removeprefix("named_")
                rule.set_params(**{name: PLACES.get(name) or (_named_input(inputs) if inputs != name else parameter(name))})


def _code(verb: str) -> Callable[[Wildcards], str]:
    return lambda wildcards: digest(verb)


def _named_input(name: str) -> Callable[[Wildcards, Any], list[str]]:
    return lambda wildcards, input: named(input.get(name, []))


def named(paths: Any) -> Any:
    """NAME=PATH for every path of a mapping, of a list (by the files' names), or of what a function of wildcards returns."""
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


def _options(names: Iterable[str], files: Any) -> str:
    words: list[str] = []
    for name in names:
        if found := files.get(name):
            words += [f"--{name.replace('_', '-')}", *([found] if isinstance(found, str) else found)]
    return " ".join(words)


def memory(mb: int | Callable[[Wildcards], int]) -> Callable[[Wildcards, int], int]:
    """A rule's resource mem_mb: the request grows linearly with each retry (profiles set `retries`)."""
    return lambda wildcards, attempt: attempt * (mb(wildcards) if callable(mb) else mb)


def tables(*names: str, path: str | None = None) -> dict[str, list[str]]:
    """A rule's outputs: tables of the catalogue of pages in all their forms, or with `path` the tables of one page."""
    bases = [path or CATALOGUE[name].path for name in names]
    others = [base.removesuffix("html") + suffix for base in bases for suffix in ("csv", "md", "tex")]
    return {"html": [page(name, path) for name in names], "others": others}


def figure(name: str) -> dict[str, list[str]]:
    """A rule's outputs: a figure of the catalogue of pages in all its forms."""
    return {"html": [page(name)], "pictures": [CATALOGUE[name].path.removesuffix("html") + suffix for suffix in ("png", "svg")]}


def is_spared(path: str) -> bool:
    """Whether a file may be deleted to save space: it is made again when a job needs it, and not before."""
    return any(PurePath(path).match(pattern) for pattern in SPARED)
