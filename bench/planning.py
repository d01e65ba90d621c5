"""How long Snakemake looks at a finished run before it says that there is nothing to do."""

import os
import shlex
import subprocess
import sys
import time
from contextlib import chdir
from pathlib import Path
from statistics import median

from thorax import cli
from thorax.workflow import jobs

CHECKOUT = Path(__file__).parents[1]
RUNS = {"demo": ["--profile", "demo"], "papers": ["--cores", "8"]}
ALONE = ["--snakefile", "alone.smk", "--workflow-profile", "none", "--cores", "1"]  # a rule without work
REPEATS = 5


def planning(folder: Path, quick: bool) -> dict:
    """Jobs of each run, seconds of a dry run when it is finished, and those of Snakemake on one rule without work."""
    runs, repeats = ({"demo": ALONE}, 1) if quick else (RUNS, REPEATS)
    return {name: _planning(folder / name, arguments, repeats) for name, arguments in runs.items()}


def _planning(folder: Path, arguments: list[str], repeats: int) -> dict[str, float]:
    """Make up a finished run: every output is an empty file, and --touch puts it on record."""
    folder.mkdir()
    for path in CHECKOUT.iterdir():
        if path.name in ("Snakefile", "config.yaml", "workflow", "demo", "profiles", "notebooks", "src", "envs"):
            (folder / path.name).symlink_to(path)
    (folder / "alone.smk").write_text("rule all:\n    output:\n        'alone',\n    shell:\n        'touch {output}'\n")
    (folder / "alone").touch()
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
        planned = [_snakemake(*arguments, "--dry-run", says="Nothing to be done") for _ in range(repeats)]
        own = planned if arguments == ALONE else [_snakemake(*ALONE, "--dry-run") for _ in range(repeats)]
    return {"jobs": len(dag.jobs), "seconds": median(planned), "alone": median(own)}


def _snakemake(*arguments: str, says: str = "") -> float:
    """Seconds of a whole process, which must succeed and say this."""
    begun = time.monotonic()
    command = [sys.executable, "-m", "snakemake", *arguments]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=environment)
    if done.returncode or says not in done.stdout:
        raise RuntimeError(f"{' '.join(command)} failed, or did not say {says!r}:\n{done.stdout[-2000:]}")
    return time.monotonic() - begun
