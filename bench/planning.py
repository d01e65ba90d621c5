"""How long Snakemake looks at a finished run before it says that nothing is to be done."""

import os
import shlex
import statistics
import subprocess
import sys
import time
from contextlib import chdir
from pathlib import Path

from thorax import cli
from thorax.workflow import jobs

CHECKOUT = Path(__file__).parents[1]
RUNS = {"demo": ["--profile", "demo"], "papers": ["--cores", "8"]}
REPEATS = 5


def planning(folder: Path, quick: bool) -> dict:
    """Of each run its jobs, the seconds of a dry run when it is finished, and those of Snakemake on a rule without work."""
    runs = {"demo": RUNS["demo"]} if quick else RUNS
    return {name: _planning(folder / name, arguments, 1 if quick else REPEATS) for name, arguments in runs.items()}


def _planning(folder: Path, arguments: list[str], repeats: int) -> dict[str, float]:
    """Every output is there, though empty, and is put on record by --touch."""
    folder.mkdir()
    for path in CHECKOUT.iterdir():
        if path.name in ("Snakefile", "config.yaml", "workflow", "demo", "profiles", "notebooks", "src", "envs"):
            (folder / path.name).symlink_to(path)
    (folder / "alone.smk").write_text("rule all:\n    input:\n        'alone.smk',\n")
    with chdir(folder):
        dag = jobs.load(arguments)
        for job in dag.jobs:
            for output in map(Path, job.outputs):
                output.parent.mkdir(parents=True, exist_ok=True)
                if job.rule in ("manifest", "pairs_manifest") and Path(job.params["root"]).is_dir():
                    where = ["--root", job.params["root"], "--memory", job.params["memory"], "--out", str(output)]
                    cli.main(["manifest", *where, *shlex.split(job.params["settings"])])
                else:
                    output.touch()
        _snakemake(*arguments, "--touch", "--forceall", "--no-hooks")
        said = _snakemake(*arguments, "--dry-run")[1]
        if "Nothing to be done" not in said:
            sys.exit(f"bench: the made-up run is not finished:\n{said[-2000:]}")
        whole = statistics.median(_snakemake(*arguments, "--dry-run")[0] for _ in range(repeats))
        alone = ("--snakefile", "alone.smk", "--workflow-profile", "none", "--cores", "1", "--dry-run")
        own = statistics.median(_snakemake(*alone)[0] for _ in range(repeats))
    return {"jobs": len(dag.jobs), "seconds": whole, "alone": own}


def _snakemake(*arguments: str) -> tuple[float, str]:
    """Seconds of a whole process, and what it said."""
    begun = time.monotonic()
    command = [sys.executable, "-m", "snakemake", *arguments]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(f"bench: {' '.join(command)} failed:\n{done.stdout[-2000:]}")
    return time.monotonic() - begun, done.stdout
