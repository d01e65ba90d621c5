import sys

from snakemake.utils import min_version

from thorax.workflow import refusals, slurm

min_version("9.27")


configfile: refusals.configuration(workflow)


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/inputs.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/labels.smk"
include: "workflow/rules/preprocess.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/ensemble.smk"
include: "workflow/rules/cross.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/papers.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/cascade.smk"
include: "workflow/rules/views.smk"
include: "workflow/rules/audit.smk"


rule all:
    default_target: True
    input:
        everything([*paper_pages(), *report_parts(), *audit_pages()]),


onstart:
    refusals.before_run(workflow, study)


onerror:
    print(refusals.HOW_TO_CONTINUE, file=sys.stderr)


onsuccess:
    slurm.forget()
