"""The jobs of the Snakefile's DAG: all their outputs, and the jobs themselves for DVC's stages, record and cost.

Snakemake has no public way to hand out a DAG. Its own command line is used to build one, so that profiles, --config and
--set-threads mean here what they mean there; only its printing of the DAG is replaced. This file is the only one that depends
on Snakemake's insides, and Snakemake is pinned.
"""

import contextlib
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from thorax.errors import ThoraxError


@dataclass(frozen=True)
class Job:
    """One job of the DAG."""

    rule: str
    wildcards: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]  # of jobs before it and of this one, relative to the working directory
    params: Mapping[str, Any]
    shell: str  # the rule's command before its names are filled in
    message: str
    threads: int
    resources: Mapping[str, Any]
    local: bool  # never sent to a cluster
    reason: str  # why Snakemake would run it now; empty if it would not

    @property
    def name(self) -> str:
        """Rule and wildcards as one word of letters, digits and dashes."""
        words = [self.rule, *(value for value in self.wildcards.values())]
        return "-".join("".join(letter if letter.isalnum() else "-" for letter in word).strip("-") for word in words)


@dataclass(frozen=True)
class Dag:
    """What `snakemake ARGUMENTS` stands for."""

    jobs: list[Job]  # finished or not, each after those that it needs; rules that only collect are left out
    configfiles: list[str]  # relative to the working directory, the first is laid under the others
    settings: Mapping[str, Any] = field(default_factory=dict)  # the merged configuration, not validated


def load(arguments: Sequence[str]) -> Dag:
    """The jobs that `snakemake ARGUMENTS` stands for.

    Needs no archive and runs nothing.

    Raises:
        ThoraxError: Snakemake refuses the arguments, the configuration or the workflow; it has said why on standard error.
    """
    from snakemake import cli, workflow

    for option in ("--until", "-U", "--omit-from", "-O"):  # the DAG holds the jobs that these leave out all the same
        if option in arguments:
            raise ThoraxError(f"all jobs of the targets are meant here: name the files that you want instead of {option}.")
    found: list[Dag] = []

    def keep(self: Any) -> None:
        self._prepare_dag(forceall=self.dag_settings.forceall, ignore_incomplete=True, lock_warn_only=True)
        self._build_dag()
        jobs = [_job(self.dag, job) for job in _in_order(self.dag)]
        files = list(dict.fromkeys(os.path.relpath(path) for path in self.configfiles))
        found.append(Dag(jobs, files, self.globals["config"]))

    printdag, workflow.Workflow.printdag = workflow.Workflow.printdag, keep
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parser, parsed = cli.parse_args([*arguments, "--dag", "--quiet", "progress", "rules", "host"])
            done = cli.args_to_api(parsed, parser)
    except SystemExit as error:
        raise ThoraxError(f"snakemake refuses {' '.join(arguments)!r}: {_last_line(said)}.") from error
    finally:
        workflow.Workflow.printdag = printdag
    if done is False or not found:
        raise ThoraxError(f"the workflow cannot be read with {' '.join(arguments)!r}: {_last_line(said)}.")
    return found[0]


def outputs_behind(rules: Iterable[Any], targets: Iterable[str]) -> list[str]:
    """Every output of every job that the targets need, their own jobs included.

    Args:
        rules: Rules of a Snakemake workflow.
        targets: Files that these rules make.

    Returns:
        Paths without repetitions, sorted.
    """
    from snakemake.output_index import OutputIndex

    index = OutputIndex(list(rules))
    found: set[str] = set()
    seen: set[str] = set()
    waiting = list(targets)
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for rule in index.match_producers(path):
            wildcards = rule.get_wildcards(path)
            made = set(map(str, rule.expand_output(wildcards)[0]))
            found |= made
            seen |= made
            waiting += map(str, rule.expand_input(wildcards)[0])
    return sorted(found)


def _in_order(dag: Any) -> list[Any]:
    """Jobs with outputs, each after those that it needs, else by name, so that the order is the same every time."""
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
    params = {name: value for name, value in job.params.items()}
    return Job(
        rule=job.rule.name,
        wildcards=MappingProxyType(wildcards),
        inputs=tuple(sorted(set(map(str, job.input)))),
        outputs=tuple(sorted(map(str, job.output))),
        params=MappingProxyType(params),
        shell=job.rule.shellcmd or "",
        message=job.message or "",
        threads=job.threads,
        resources=MappingProxyType({name: value for name, value in job.resources.items() if not name.startswith("_")}),
        local=dag.workflow.is_local(job.rule),
        reason=str(dag.reason(job)) if dag.needrun(job) else "",
    )


def _last_line(said: io.StringIO) -> str:
    """What Snakemake said last, without the place in a file that stands below its errors."""
    lines = [line.strip() for line in said.getvalue().splitlines() if line.strip() and not line.strip().startswith("File ")]
    return lines[-1].rstrip(".") if lines else "no reason was given"
