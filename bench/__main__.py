"""Run the benchmarks, each in a process of its own, and write bench/results.json and docs/reference/benchmarks.md."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bench import maps, rates, report, start, suspects, unlike
from bench.cases import CASES
from bench.measure import machine, processes

ROOT = Path(__file__).parents[1]
OTHERS = {"rates": rates, "suspects": suspects, "maps": maps, "unlike": unlike, "start": start}
WHAT = {
    "rates": "measure the rates behind `thorax cost`",
    "suspects": "count how many flipped labels are found",
    "maps": "compare ways of making heatmaps",
    "unlike": "count how often images are flagged as unlike the training images",
    "start": "compare the weights that trainings start from",
}


def main(arguments: list[str]) -> None:
    if arguments and arguments[0] in OTHERS:
        return OTHERS[arguments[0]].main(arguments[1:])
    epilog = "; ".join(f"python -m bench {name} --help: {what}" for name, what in WHAT.items())
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
