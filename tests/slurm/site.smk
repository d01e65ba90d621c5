# Three jobs that say what Slurm gave them; each is asked for in another way by the profile of the test.
rule all:
    default_target: True
    input:
        expand("{name}.txt", name=["plain", "typed", "generic"]),


rule plain:
    output:
        "plain.txt",
    resources:
        gpu=1,
    shell:
        "echo $CUDA_VISIBLE_DEVICES $SLURM_JOB_PARTITION $TMPDIR $LOADED > {output}"


use rule plain as typed with:
    output:
        "typed.txt",


use rule plain as generic with:
    output:
        "generic.txt",
