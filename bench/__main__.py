"""Run the benchmarks, each in processes of its own, and write bench/results.json and docs/reference/benchmarks.md."""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import rates, report
from bench.cases import CASES

ROOT = Path(__file__).parents[1]


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    memory = next((int(line.split()[1]) / 2**20 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "cpu": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory:.0f} GB",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }


def run(case: str, folder: Path, quick: bool, *arguments: str) -> dict:
    """One case in a fresh process; what it prints last is its result."""
    command = [sys.executable, "-m", "bench.cases", case, str(folder), *(["--quick"] if quick else []), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT, env=environment)
    if done.returncode:
        sys.exit(f"bench: {case} failed with status {done.returncode}; its words stand above.")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    if sys.argv[1:2] == ["rates"]:
        return rates.main(sys.argv[2:])
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, epilog="python -m bench rates --help: what `thorax cost` reckons with."
    )
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES), help="run these only")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works: the figures mean nothing")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results.json", help="figures to write")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "benchmarks.md", help="page to write")
    arguments = parser.parse_args()
    results = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    results["machine"] = machine()
    with tempfile.TemporaryDirectory(prefix="thorax-bench-") as folder:
        for case in arguments.only:
            print(f"bench: {case}", file=sys.stderr, flush=True)
            results[case] = run(case, Path(folder), arguments.quick)
            arguments.out.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    arguments.page.write_text(report.page(results))
    print(report.table(results))


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


if __name__ == "__main__":
    main()
