"""Run the benchmarks, each in a process of its own, and write bench/results.json and docs/reference/benchmarks.md."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bench import rates, report, suspects
from bench.cases import CASES
from bench.measure import machine, processes

ROOT = Path(__file__).parents[1]


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["rates"]:
        return rates.main(arguments[1:])
    if arguments[:1] == ["suspects"]:
        return suspects.main(arguments[1:])
    epilog = "python -m bench rates --help: measure the rates behind `thorax cost`; python -m bench suspects --help: how many flipped labels are found."
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__, epilog=epilog)
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES), help="run these only")
    small = "small sizes, in one process, to see that it works: the figures mean nothing"
    parser.add_argument("--quick", action="store_true", help=small)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results.json", help="figures to write")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "reference" / "benchmarks.md", help="page to write")
    given = parser.parse_args(arguments)
    results = json.loads(given.out.read_text()) if given.out.exists() else {}
    with tempfile.TemporaryDirectory(prefix="thorax-bench-") as folder, processes(None if given.quick else 1) as fresh:
        for case in given.only:
            print(f"bench: {case}", flush=True)
            results[case] = fresh.submit(CASES[case], Path(folder), given.quick).result()
            results.setdefault("machines", {})[case] = machine()
            given.out.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    given.page.write_text(report.page(results))
    print(report.table(results))


if __name__ == "__main__":
    main(sys.argv[1:])
