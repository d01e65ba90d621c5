import json
import os
import shlex

from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod

from thorax.workflow import pages, preflight, refusals
from thorax.workflow.fields import complete, figure, is_spared, memory, named, tables
from thorax.workflow.jobs import outputs_behind
from thorax.workflow.pages import page
from thorax.workflow.plan import Plan

# The same bytes on every run, however it was started: no dates in figures, one order of sets
os.environ.setdefault("SOURCE_DATE_EPOCH", "1640995200")
os.environ.setdefault("PYTHONHASHSEED", "0")

with refusals.said_by_snakemake():
    refusals.refuse_unusable_folders()
    files = " with ".join(dict.fromkeys(map(os.path.relpath, workflow.configfiles))) or "the configuration"
    plan = Plan(preflight.read(config, files, thorough=workflow.is_main_process), logger.info)
    refusals.refuse_archives_among_results(plan.config)
    _ = plan.audit.splits  # refuses a run without anything to do

HERE = os.path.relpath(workflow.basedir)  # the checkout, seen from the folder that is run in
ENVIRONMENT = os.path.join(workflow.basedir, "envs", f"{plan.config.device}.yaml")  # of every job, under --sdm conda

if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
    # The environment holds other people's packages only. Without these paths a job would find the thorax of the environment that
    # Snakemake runs in, further down on PATH, and run there.
    command, source = (shlex.quote(os.path.join(workflow.basedir, *parts)) for parts in (("envs", "bin"), ("src",)))
    exports = f"set -euo pipefail; export PATH={command}:$PATH PYTHONPATH={source} PYTHONNOUSERSITE=1; "
    shell.prefix(exports.replace("{", "{{").replace("}", "}}"))


wildcard_constraints:
    **plan.wildcards(),


def notebook(stage):
    """A rule's input: the notebook with the figures of a stage."""
    return os.path.normpath(f"{HERE}/notebooks/{stage}.ipynb")


# The command of rules that draw figures
RENDER = "thorax render --notebook {input.notebook} --parameters {params.parameters:q} --out {output.notebook} > {log} 2>&1"


def everything(targets):
    """Every output of every job behind the targets, but for what may be deleted to save space.

    Snakemake looks only for the files that a target or a job that is to run asks for. It would not miss a file next to them that
    was deleted, or that a failed job has taken away.
    """
    return lambda wildcards: [path for path in outputs_behind(workflow.rules, targets) if not is_spared(path)]
