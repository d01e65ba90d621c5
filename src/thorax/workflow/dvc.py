"""DVC next to Snakemake: dvc.yaml from the Snakefile's DAG, and results handed from one tool to the other.

dvc.yaml has one stage per job, which runs that job alone through Snakemake. A stage depends on the job's input files and on the job's
entry in `results/plan.json`: its parameters, the digest of its code, its shell command. The stage `plan` writes that file and depends
on configuration and code. So DVC reruns what Snakemake reruns, and stops where bytes come out equal, which Snakemake does not.
"""

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from difflib import unified_diff
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from thorax.errors import ThoraxError
from thorax.storage import store
from thorax.workflow.jobs import Dag, Job, last_line, load

FILE = Path("dvc.yaml")
PLAN = "results/plan.json"
_HEADER = "# Generated from the Snakefile by `make dvc`: do not edit. DVC runs each job of the DAG as a stage.\n"
# Git keeps small files of sums, which have no identifiers
_IN_GIT = [PurePosixPath("results", name) for name in ("tables", "metrics", "history", "epochs", "audit")]
_GIT_SUFFIXES = (".csv", ".md", ".tex", ".json")
_CURVES = {"loss": "Training loss", "val_loss": "Validation loss", "val_auc": "Validation AUC"}  # columns of a history
_PICTURES = ("roc.png", "heatmaps.png")
_MANIFESTS = ("image_list", "manifest", "pairs_manifest")  # rules that look through a whole folder


def write(snakemake: Sequence[str], check: bool = False) -> None:
    """Write dvc.yaml for what `snakemake ARGUMENTS` makes or, with `check`, only compare it."""
    if check:
        checked()
    else:
        store.write_text(_text(load(snakemake), snakemake), FILE)


def checked() -> list[Job]:
    """Compare dvc.yaml with the Snakefile and return the DAG's jobs; a difference is printed and refused."""
    arguments = snakemake_arguments()
    dag = load(arguments)
    found, expected = FILE.read_text(encoding="utf-8"), _text(dag, arguments)
    if found != expected:
        sys.stdout.writelines(unified_diff(found.splitlines(True), expected.splitlines(True), str(FILE), "the Snakefile's DAG"))
        raise ThoraxError(f"{FILE} is not the Snakefile's DAG: type `thorax dvc -- {shlex.join(arguments)}`.")
    return dag.jobs


def snakemake_arguments() -> list[str]:
    """The arguments of snakemake that dvc.yaml was made for."""
    try:
        return shlex.split(yaml.safe_load(FILE.read_text(encoding="utf-8"))["vars"][0]["snakemake"])
    except (OSError, yaml.YAMLError, LookupError, TypeError) as error:
        raise ThoraxError(f"{FILE} is not there, or not made by thorax: type `make dvc` in the checkout.") from error


def write_plan(out: Path) -> None:
    """Write what decides the result of every job besides its input files, after checking that dvc.yaml has just these jobs."""
    plan = {job.name: {**job.params, "shell": job.shell} for job in checked()}
    store.write_text(json.dumps(plan, indent=1, sort_keys=True, default=str), out)


def record() -> str:
    """Version everything that the last run of snakemake made; return a sentence about it.

    `dvc commit` takes the files as they are, so results that are missing or out of date are refused first.
    """
    jobs = _jobs_in_repository()
    if stale := _stale(jobs):
        raise ThoraxError(f"nothing was recorded: {stale}; type `snakemake {shlex.join(snakemake_arguments())}` first.")
    write_plan(Path(PLAN))
    _run("dvc", "commit", "--force", "--no-relink", "--quiet")
    return f"{len(jobs)} jobs recorded in dvc.lock: commit it with git, and `dvc push` sends the files to the remote."


def sync() -> str:
    """Make Snakemake accept DVC's results as its own, if they are those of dvc.lock; return a sentence about it."""
    jobs = _jobs_in_repository()
    changed = json.loads(_run("dvc", "status", "--json"))
    if changed:
        name = next(iter(changed))
        raise ThoraxError(
            f"nothing was touched: {len(changed)} stages differ from dvc.lock, {name} among them; type `dvc pull` or `dvc repro` first."
        )
    arguments = snakemake_arguments()
    _run("snakemake", *arguments, "--touch", "--forceall", "--quiet", "all")
    if stale := _stale(load(arguments).jobs):
        raise ThoraxError(f"after snakemake --touch {stale}; type `snakemake {shlex.join(arguments)}`.")
    return f"{len(jobs)} jobs are up to date for Snakemake and for DVC."


def _jobs_in_repository() -> list[Job]:
    if not Path(".dvc").is_dir():
        raise ThoraxError("this folder is not a DVC repository: go to the checkout, or type `git init` and `dvc init` here.")
    return checked()


def _stale(jobs: Sequence[Job]) -> str:
    """What Snakemake would run, in a few words; empty if nothing."""
    waiting = [job for job in jobs if job.reason]
    if not waiting:
        return ""
    return f"{len(waiting)} of {len(jobs)} jobs are out of date, the first is {waiting[0].name} ({waiting[0].reason})"


def _run(*command: str) -> str:
    """What a command prints on standard output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr, file=sys.stderr, end="")
        raise ThoraxError(f"{' '.join(command)} failed: {last_line(done.stderr or done.stdout)}.")
    return done.stdout


def _text(dag: Dag, arguments: Sequence[str]) -> str:
    names = [job.name for job in dag.jobs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ThoraxError(f"two jobs have the name {twice}: give their data sets, members or ensembles names of other letters.")
    plan_stage = {
        "cmd": f"thorax plan --out {PLAN}",
        "deps": ["Snakefile", "notebooks", "src/thorax", "workflow"],
        "params": [{path: None} for path in dag.configfiles],
        "outs": [PLAN],
    }
    content = {
        "vars": [{"snakemake": shlex.join(arguments)}],
        "stages": {"plan": plan_stage, **{job.name: _stage(job) for job in dag.jobs}},
        "plots": _plots(dag.jobs),
    }
    return _HEADER + yaml.safe_dump(content, sort_keys=False, width=10_000)


def _stage(job: Job) -> dict[str, Any]:
    # The whole archive, of which Snakemake knows two files
    outs = (job.wildcards["phantom_root"],) if job.rule == "phantom" else job.outputs
    target = shlex.join(job.outputs[:1])
    stage: dict[str, Any] = {
        "desc": job.message,
        "cmd": f"snakemake ${{snakemake}} --quiet progress rules --allowed-rules {job.rule} --force -- {target}",
        "deps": sorted(_tracked_inputs(job)),
        "params": [{PLAN: [job.name]}],
        "outs": [{path: {"cache": False}} if _in_git(path) else path for path in sorted(outs) if not _is_metric(path)],
        "metrics": [{path: {"cache": False}} for path in sorted(outs) if _is_metric(path)],
    }
    return {key: value for key, value in stage.items() if value}


def _tracked_inputs(job: Job) -> tuple[str, ...]:
    """What DVC compares: the inputs; for a manifest or a list of images the whole folder as well, file by file."""
    if job.rule not in _MANIFESTS:
        return job.inputs
    root = job.params["root"]
    if Path.cwd().is_relative_to(Path(root).resolve()):
        raise ThoraxError(
            f"DVC cannot version results inside the archive that they are made from ({root}): move the archive to a folder of its "
            "own."
        )
    return (*job.inputs, str(PurePosixPath(root)))


def _in_git(path: str) -> bool:
    return path.endswith(_GIT_SUFFIXES) and any(folder in PurePosixPath(path).parents for folder in _IN_GIT)


def _is_metric(path: str) -> bool:
    """Whether a path is the folder of an experiment with a JSON of each model."""
    return PurePosixPath(path).match("results/metrics/*") and not path.endswith(".parquet")


def _plots(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """The curves of each experiment's trainings, one plot per quantity (.dvc/plots/curves.json), ROC curves and heatmaps."""
    paths = [PurePosixPath(path) for job in jobs for path in job.outputs]
    histories: dict[str, list[str]] = {}
    for path in paths:
        if path.match("results/history/*/*.csv"):
            histories.setdefault(path.parent.name, []).append(str(path))
    curves: list[dict[str, Any]] = [
        {f"{name} of {experiment}": {"template": "curves", "x": "epoch", "y": dict.fromkeys(files, column), "y_label": name}}
        for experiment, files in histories.items()
        for column, name in _CURVES.items()
    ]
    return curves + [{str(path): None} for path in paths if path.name in _PICTURES]
