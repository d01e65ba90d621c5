"""Rules of the house: imports run downwards, and no room that starts often imports a deep-learning library."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "thorax"
FOUNDATION = {"errors", "store", "catalog", "config", "strict_yaml", "images", "formats"}
HEAVY = {"tensorflow", "keras", "torch", "jax"}


def imported(path: Path, top_level_only: bool = False) -> set[str]:
    """The modules that a file imports; names of thorax's own modules without the package."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            if node.module in ("thorax", "thorax.datasets"):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("thorax.").split(".")[0] if name.startswith("thorax.") else name for name in names}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def test_the_foundation_knows_nothing_above_it():
    own = {path.stem for path in SOURCE.glob("*.py")} | {"datasets"}
    for name in FOUNDATION:
        above = (imported(SOURCE / f"{name}.py") & own) - FOUNDATION
        assert not above, f"{name} imports {above}"


def test_the_library_never_knows_snakemake_and_only_the_front_door_knows_the_cli():
    for path in modules():
        names = imported(path)
        if path.parent.name != "dag":  # the one room that does
            assert not {name for name in names if name.split(".")[0] in ("snakemake", "dvc")}, path
            assert not ("dag" in names and path.name != "cli.py"), path
        if path.name != "__main__.py":
            assert "cli" not in names, path


def test_imports_have_no_cycle():
    graph = {path.stem: imported(path) for path in SOURCE.glob("*.py") if path.stem not in ("__init__", "__main__", "cli")}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name in graph and name not in done:
            for below in graph[name]:
                visit(below, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize(
    "verb",
    [
        "labels",
        "split",
        "metrics",
        "tables",
        "threshold_tables",
        "cross",
        "ensemble",
        "cascade",
        "catalog",
        "ingest",
        "baseline",
        "overview",
        "papers",
    ],
)
def test_light_verbs_start_without_tensorflow(verb):
    module = {"catalog": "datasets"}.get(verb, verb)
    code = f"import sys, thorax.cli, thorax.{module}; sys.exit(' '.join(set(sys.modules) & {HEAVY!r}) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_keras_comes_without_what_only_figures_and_tables_need():
    code = (
        "import sys; from thorax import runtime; runtime.prepare(0, 1); import keras; "
        "assert not {'sklearn', 'matplotlib'} & set(sys.modules); import sklearn.linear_model, matplotlib.figure"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
