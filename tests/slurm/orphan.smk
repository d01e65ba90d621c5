# A job that ends while no Snakemake watches it, and one that needs it.
include: "../../workflow/rules/common.smk"
include: "../../workflow/rules/cluster.smk"


rule all:
    default_target: True
    input:
        "second.txt",


rule first:
    output:
        "first.txt",
    params:
        word=lambda wildcards: study.experiments["tiny"].title,
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
    refuse_second_run()
    take_over_from_earlier_run()


onsuccess:
    forget_run()
