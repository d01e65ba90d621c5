"""What fields of rules have in common: functions of a job's wildcards, inputs and outputs, and files of the catalogue of pages."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from thorax.report import notebooks
from thorax.workflow.blocks import Wildcards
from thorax.workflow.code import digest, notebook_digest
from thorax.workflow.pages import CATALOGUE, page

VERB = re.compile(r"(?:exec )?thorax ([\w-]+)")  # what a rule's command begins with
SPARED = ("results/ingested/*.npy", "results/lungs/*/*.npy", "resources/weights/*.h5")


def any_of(names: Iterable[str]) -> str:
    """A regular expression that matches exactly these names."""
    return "|".join(re.escape(name) for name in names) or "(?!)"


def complete(rules: Iterable[Any], environment: str, parameter: Callable[[str], Callable[[Wildcards], Any]]) -> None:
    """Give every rule with a command what all have: a log, a benchmark, the conda environment, the digest of its verb's code.

    The notebook of a rule that draws figures gets the rule's `settings` (see `Plan.notebook`), the path of the figure, and the input
    files as parameters.
    The log of a job is logs/RULE/WILDCARDS.log, with the wildcards of its first output. The digest is a parameter, so that
    changed code reruns what it feeds and an edited comment does not. Downloads have none: what they fetch has checksums.

    Parameters that the command names and the rule does not define: `folder` is the folder of the first output, `stem` its path
    without the suffix, `named_FILES` has NAME=PATH for each of the inputs FILES, `option_FILES` is `--FILES` with the inputs or
    outputs of this name that the job has, and any other is what `parameter` returns for its name.
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
            if verb and verb[1] == "render":
                rule.set_params(code=_code("render", str(rule.input.notebook)), parameters=_parameters(rule.params.settings))
            elif verb and verb[1] != "download":
                rule.set_params(code=_code(verb[1]))
            for name in sorted(set(re.findall(r"{params\.(\w+)", rule.shellcmd)) - set(rule.params.keys())):
                rule.set_params(**{name: filled_in(name) or parameter(name)})


def _code(verb: str, notebook: str | None = None) -> Callable[[Wildcards], str]:
    """The digest of a verb, and of the notebook that it runs; not a function of the input, whose changes Snakemake would not see."""
    return lambda wildcards: digest(verb) + (notebook_digest(notebook) if notebook else "")


def _parameters(settings: Callable[[Wildcards], str]) -> Callable[..., str]:
    """The parameters of a notebook: a rule's settings, the path of its first page without a suffix (`out`), and the input files."""

    def text(wildcards: Wildcards, input: Any, output: Any) -> str:
        files = {"out": str(Path(output[0]).with_suffix("")), **notebook_files(input)}
        # YAML does not read a letter in two halves, as in \ud83e\udec1
        return json.dumps({**json.loads(settings(wildcards)), **files}, ensure_ascii=False)

    return text


def notebook_files(inputs: Any) -> dict[str, Any]:
    """A rule's input files as parameters of its notebook; of a parameter that is a mapping, by the files' names."""
    forms = notebooks.defaults(inputs.notebook)
    found: dict[str, Any] = {}
    for name in inputs.keys() - {"notebook"}:
        files = inputs.get(name)
        if isinstance(files, str):
            found[name] = str(files)
        elif files:
            found[name] = {Path(path).stem: str(path) for path in files} if forms[name] == {} else list(map(str, files))
    return dict(sorted(found.items()))


def filled_in(name: str) -> Callable[..., Any] | None:
    """A rule's parameter `folder`, `stem`, `named_FILES` or `option_FILES`, as in `complete`; None for any other name."""
    kind, _, files = name.partition("_")
    if kind == "named":
        return lambda wildcards, input: named(input.get(files, []))
    if kind == "option":
        return lambda wildcards, input, output: _option(files, input.get(files) or output.get(files) or [])
    if name == "folder":
        return lambda wildcards, output: Path(output[0]).parent
    return (lambda wildcards, output: Path(output[0]).with_suffix("")) if name == "stem" else None


def _option(name: str, files: str | Iterable[str]) -> str:
    words = [files] if isinstance(files, str) else list(files)
    return " ".join([f"--{name.replace('_', '-')}", *words] if words else [])


def named(paths: Any) -> Any:
    """NAME=PATH for every path of a mapping, of a list (by the files' names), or of what a function of wildcards returns."""
    if callable(paths):
        return lambda wildcards: named(paths(wildcards))
    pairs = paths.items() if isinstance(paths, Mapping) else ((Path(path).stem, path) for path in paths)
    return [f"{name}={path}" for name, path in pairs]


def memory(mb: int | Callable[[Wildcards], int]) -> Callable[[Wildcards, int], int]:
    """A rule's resource mem_mb: the request grows linearly with each retry (profiles set `retries`)."""
    return lambda wildcards, attempt: attempt * (mb(wildcards) if callable(mb) else mb)


def tables(*names: str, path: str | None = None) -> dict[str, list[str]]:
    """A rule's outputs: tables of the catalogue of pages in all their forms, or with `path` the tables of one page."""
    bases = [path or CATALOGUE[name].path for name in names]
    others = [base.removesuffix("html") + suffix for base in bases for suffix in ("csv", "md", "tex")]
    return {"html": [page(name, path) for name in names], "others": others}


def figure(name: str) -> dict[str, Any]:
    """A rule's outputs: a figure of the catalogue of pages in all its forms, and the executed notebook that drew it."""
    pictures = [CATALOGUE[name].path.removesuffix("html") + suffix for suffix in ("png", "svg")]
    return {"html": [page(name)], "pictures": pictures, "notebook": CATALOGUE[name].notebook}


def is_spared(path: str) -> bool:
    """Whether a file may be deleted to save space: it is made again when a job needs it, and not before."""
    return any(PurePath(path).match(pattern) for pattern in SPARED)
