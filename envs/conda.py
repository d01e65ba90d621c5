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


def pins(requirements: str) -> list[str]:
    """The lines of a pinned requirements file, such as "numpy==2.4.6 ; python_full_version < '3.12'", without hashes."""
    lines = re.sub(r"\\\n\s*", " ", requirements).splitlines()
    return [line.split(" --hash=")[0].strip() for line in lines if line and not line.startswith("#")]


def environment(name: str) -> str:
    """The text of a conda environment that holds the pins of one requirements file."""
    requirements = (HERE / f"{name}.txt").read_text(encoding="utf-8")
    return HEADING.format(name=name) + "".join(f"      - {pin}\n" for pin in pins(requirements))


if __name__ == "__main__":
    for name in ("cpu", "gpu"):
        (HERE / f"{name}.yaml").write_text(environment(name), encoding="utf-8")
