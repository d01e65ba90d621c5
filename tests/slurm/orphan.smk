# A job that ends while no Snakemake watches it, and one that needs it.
from thorax.workflow import refusals, slurm


include: "../../workflow/rules/common.smk"


rule all:
    default_target: True
    input:
        "second.txt",


rule first:
    output:
        "first.txt",
    params:
        word=lambda wildcards: plan.config.experiments["tiny"].title,
    shell:
        "sleep 5 && echo {params.word:q} > {output}"


rule second:
    input:
        "first.txt",
    output:
        "second.txt",
    shell:
        "cp {input} {output}"


onstart:
    with refusals.said_by_snakemake():
        refusals.refuse_second_run()
        slurm.take_over(workflow)


onsuccess:
    slurm.forget()
