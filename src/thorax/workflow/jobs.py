"""The jobs of the Snakefile's DAG, for DVC's stages and the cost estimate, all their outputs, and the configuration.

Snakemake has no public function that returns a DAG. This module calls its command line, so that profiles, --config and --set-threads
mean the same as there, and replaces only the function that prints the DAG. It relies on internals of Snakemake, which is pinned.
"""

import argparse
import contextlib
import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from thorax.errors import Terminated, ThoraxError

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Job:
    """One job of the DAG."""

    rule: str
    wildcards: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]  # like the inputs, relative to the working directory
    params: Mapping[str, Any]
    shell: str  # the rule's command before its names are filled in
    message: str
    threads: int
    resources: Mapping[str, Any]
    reason: str  # why Snakemake would run it now; empty if it would not

    @property
    def name(self) -> str:
        """Rule and wildcards as one word of letters, digits and dashes."""
        words = [self.rule, *self.wildcards.values()]
        return "-".join("".join(letter if letter.isalnum() else "-" for letter in word).strip("-") for word in words)


@dataclass(frozen=True)
class Dag:
    """All jobs of `snakemake ARGUMENTS`."""

    jobs: list[Job]  # finished or not, each after the jobs that it needs; without rules that have no output
    configfiles: list[str]  # relative to the working directory; later ones override the first
    settings: Mapping[str, Any] = field(default_factory=dict)  # the merged configuration, not validated


def load(arguments: Sequence[str]) -> Dag:
    """The jobs of `snakemake ARGUMENTS`, without running any. No archive is needed.

    What Snakemake refuses (arguments, configuration, workflow) is a ThoraxError with the last line of what it said.
    """
    for option in ("--until", "-U", "--omit-from", "-O"):  # the DAG also has the jobs that these leave out
        if option in arguments:
            raise ThoraxError(f"all jobs of the targets are meant here: name the files that you want instead of {option}.")

    def dag(workflow: Any) -> Dag:
        workflow._prepare_dag(forceall=workflow.dag_settings.forceall, ignore_incomplete=True, lock_warn_only=True)
        workflow._build_dag()
        jobs = [_job(workflow.dag, job) for job in _in_order(workflow.dag)]
        files = list(dict.fromkeys(os.path.relpath(path) for path in workflow.configfiles))
        return Dag(jobs, files, workflow.globals["config"])

    return _asked(arguments, dag)


def settings(arguments: Sequence[str]) -> Mapping[str, Any]:
    """The configuration of `snakemake ARGUMENTS` after the Snakefile has checked it, merged from all files; errors are those of `load`."""
    return _asked(arguments, lambda workflow: workflow.globals["config"])


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of `snakemake ARGUMENTS`, which it does not refuse (see `settings`), with those of its profiles."""
    from snakemake import cli

    with contextlib.redirect_stderr(io.StringIO()):  # where it names the profiles
        return cli.parse_args(list(arguments))[1]


def _asked(arguments: Sequence[str], question: Callable[[Any], Answer]) -> Answer:
    """What a function says of the workflow of `snakemake ARGUMENTS`, whose rules are read and not run."""
    from snakemake import cli, workflow

    found: list[Answer] = []
    printdag, workflow.Workflow.printdag = workflow.Workflow.printdag, lambda self: found.append(question(self))
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parser, parsed = cli.parse_args([*arguments, "--dag", "--quiet", "progress", "rules", "host"])
            done = cli.args_to_api(parsed, parser)
    except Terminated:
        raise
    except SystemExit as error:
        raise ThoraxError(f"snakemake refuses {' '.join(arguments)!r}: {last_line(said.getvalue())}.") from error
    finally:
        workflow.Workflow.printdag = printdag
    if done is False or not found:
        raise ThoraxError(f"the workflow cannot be read with {' '.join(arguments)!r}: {last_line(said.getvalue())}.")
    return found[0]


def outputs_behind(rules: Iterable[Any], targets: Iterable[str]) -> list[str]:
    """Every output of the jobs of a workflow's rules that make the targets, and of all jobs before them, sorted."""
    from snakemake.output_index import OutputIndex

    index = OutputIndex(list(rules))
    found: set[str] = set()
    seen: set[str] = set()
    waiting = set(targets)
    while waiting:
        path = waiting.pop()
        seen.add(path)
        for rule in index.match_producers(path):
            wildcards = rule.get_wildcards(path)
            made = set(map(str, rule.expand_output(wildcards)[0]))
            found |= made
            seen |= made
            waiting |= set(map(str, rule.expand_input(wildcards)[0]))
        waiting -= seen
    return sorted(found)


def _in_order(dag: Any) -> list[Any]:
    """Jobs with outputs, each after the jobs that it needs, otherwise by name: the same order every time."""
    key = lambda job: (job.rule.name, list(map(str, job.output)))
    done: dict[Any, None] = {}

    def visit(job: Any) -> None:
        if job not in done:
            for before in sorted(dag.dependencies[job], key=key):
                visit(before)
            done[job] = None

    for job in sorted(dag.jobs, key=key):
        visit(job)
    return [job for job in done if job.output]


def _job(dag: Any, job: Any) -> Job:
    wildcards = dict(sorted(job.wildcards_dict.items()))
    return Job(
        rule=job.rule.name,
        wildcards=MappingProxyType(wildcards),
        inputs=tuple(sorted(set(map(str, job.input)))),
        outputs=tuple(sorted(map(str, job.output))),
        params=MappingProxyType(dict(job.params.items())),
        shell=job.rule.shellcmd or "",
        message=job.message or "",
        threads=job.threads,
        resources=MappingProxyType({name: value for name, value in job.resources.items() if not name.startswith("_")}),
        reason=str(dag.reason(job)) if dag.needrun(job) else "",
    )


def last_line(said: str) -> str:
    """The last line that a program printed, without the place in a file that Snakemake prints below its errors."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.strip().startswith("File ")]
    return lines[-1].rstrip(".") if lines else "no reason was given"
