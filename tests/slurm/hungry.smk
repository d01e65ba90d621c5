# A job that takes more memory than it asks for at its first attempt.
include: "../../workflow/rules/common.smk"


rule hungry:
    output:
        "hungry.txt",
    resources:
        mem_mb=memory(700),
    shell:
        "python -c 'import time; held = bytearray(700_000_000); time.sleep(4)' && echo {resources.mem_mb} > {output}"
