from snakemake.utils import min_version

min_version("9.27")


include: "workflow/rules/configuration.smk"


configfile: CONFIGURATION


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/inputs.smk"
include: "workflow/rules/refusals.smk"
include: "workflow/rules/cluster.smk"
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
    refuse_without_slurm()
    refuse_second_run()
    refuse_orphans()
    refuse_missing_archives()
    refuse_unreadable_text()
    refuse_future_dates()
    take_over_from_earlier_run()


onerror:
    say_how_to_go_on()


onsuccess:
    forget_run()
