import sys

from snakemake.utils import min_version

from thorax.workflow import refusals, slurm

min_version("9.27")


configfile: refusals.configuration(workflow)


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/archives.smk"
include: "workflow/rules/images.smk"
include: "workflow/rules/labels.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/explanation.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/audit.smk"
include: "workflow/rules/bundles.smk"


rule all:
    default_target: True
    input:
        everything([*pages.wanted(plan.config, plan.audit.splits), *pages.entry(plan.config)]),


# What all rules have: logs, benchmarks, the conda environment, the digest of the verb's code, parameters filled in by name (fields.py, blocks.py)
complete(workflow.rules, ENVIRONMENT, plan.parameter)


onstart:
    refusals.before_run(workflow, plan.config)


onerror:
    print(refusals.HOW_TO_CONTINUE, file=sys.stderr)


onsuccess:
    slurm.forget()
