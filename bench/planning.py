"""How long Snakemake looks at a finished run before it says that nothing is to be done."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from thorax import manifest
from thorax.dag import jobs

CHECKOUT = Path(__file__).parents[1]
RUNS = {"demo": ["--profile", "demo"], "config.yaml": ["--cores", "8"]}
REPEATS = 3


def planning() -> dict[str, dict[str, float]]:
    """Jobs of each run, seconds of `snakemake --dry-run` after it, and seconds of a Snakefile with a single finished rule."""
    return {name: _planning(arguments) for name, arguments in RUNS.items()}


def _planning(arguments: list[str]) -> dict[str, float]:
    """A finished run as Snakemake sees it: every output is there, newer than what it was made from, though empty."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("Snakefile", "config.yaml", "workflow", "demo", "profiles", "notebooks", "src", "envs"):
            Path(folder, name).symlink_to(CHECKOUT / name)
        os.chdir(folder)
        try:
            dag = jobs.load(arguments)
            for number, job in enumerate(dag.jobs):
                for output in map(Path, job.outputs):
                    output.parent.mkdir(parents=True, exist_ok=True)
                    if job.rule in ("manifest", "pairs_manifest") and Path(job.params["root"]).is_dir():
                        manifest.make_manifest(Path(job.params["root"]), output, Path(job.params["memory"]))
                    else:
                        output.touch()
                    then = time.time() - len(dag.jobs) + number
                    os.utime(output, (then, then))
            said = _dry_run(arguments)[1]
            if "Nothing to be done" not in said:
                raise SystemExit(f"the made-up run is not finished:\n{said[-2000:]}")
            seconds = statistics.median(_dry_run(arguments)[0] for _ in range(REPEATS))
            Path("empty.smk").write_text("rule all:\n    input:\n        'empty.smk',\n")
            start = ["--snakefile", "empty.smk", "--workflow-profile", "none", "--cores", "1"]
            own = statistics.median(_dry_run(start)[0] for _ in range(REPEATS))
        finally:
            os.chdir(before)
    return {"jobs": len(dag.jobs), "seconds": seconds, "snakemake_alone": own}


def _dry_run(arguments: list[str]) -> tuple[float, str]:
    """Seconds of a whole process, and what it said."""
    snakemake = shutil.which("snakemake", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    begun = time.monotonic()
    done = subprocess.run(
        [str(snakemake), *arguments, "--dry-run"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    )
    return time.monotonic() - begun, done.stdout
