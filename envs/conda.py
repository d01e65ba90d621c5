"""Write cpu.yaml and gpu.yaml, for conda, from the pins in cpu.txt and gpu.txt (`make lock` does).

Without their hashes: Snakemake stores a rule's environment file with every output, conda used or not, and hashes would
make that 440 kB each. Naming the text file instead (`-r cpu.txt`) fails, because Snakemake copies this one elsewhere.
"""

import re
from pathlib import Path

HERE = Path(__file__).parent
HEADING = """\
# Made by `make lock` from {name}.txt: the same packages in the same versions. docs/how-to/install.md says how to use it.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.11
  - pip
  - pip:
"""


for name in ("cpu", "gpu"):
    requirements = (HERE / f"{name}.txt").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n\s*", " ", requirements).splitlines()
    # a pin is such as "numpy==2.4.6 ; python_full_version < '3.12'"
    pins = [line.split(" --hash=")[0].strip() for line in lines if line and not line.startswith("#")]
    text = HEADING.format(name=name) + "".join(f"      - {pin}\n" for pin in pins)
    (HERE / f"{name}.yaml").write_text(text, encoding="utf-8")
