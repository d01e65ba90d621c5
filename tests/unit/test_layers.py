"""Imports run downwards, only `workflow` knows Snakemake and DVC, and light verbs start without a deep-learning library."""

import ast
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "thorax"
# A package imports those to its left, and those of its own group without a circle
ORDER = "errors verbs < resources < storage backend < config < images < archives labels < phantom evaluation < models explanation report < audit bundles < workflow < study < cli"
LEVELS = {name: level for level, group in enumerate(ORDER.split("<")) for name in group.split()}
TOP_LEVEL = {"__init__", "__main__", "backend", "cli", "errors", "verbs"}
HEAVY = {"tensorflow", "keras", "torch", "jax"}
LIGHT = (
    "archives",
    "images.ingest",
    "labels.label_sets",
    "labels.splits",
    "models.baseline",
    "evaluation.metrics",
    "evaluation.ensembles",
    "evaluation.cascades",
    "evaluation.cross_archives",
    "report.tables.results",
    "report.tables.thresholds",
    "report.tables.calibration",
    "report.tables.operating",
    "report.tables.groups",
    "report.tables.overview",
    "report.pages",
    "study.init",
)


def name_of(path: Path) -> str:
    """A module's name without the package: `report.tables.results`."""
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(SOURCE.rglob("*.py"))}


@cache
def imported(path: Path, at_once: bool = False) -> set[str]:
    """What a file imports, also inside functions unless only `at_once`: modules of thorax without the package, others by name."""
    names = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            own = {f"{node.module}.{alias.name}" for alias in node.names}
            submodules = {name for name in own if name.removeprefix("thorax.") in MODULES}
            names |= submodules or {node.module}
    return {name.removeprefix("thorax.") for name in names}


def test_imports_run_downwards():
    for name, path in MODULES.items():
        package = name.split(".")[0]
        if package in LEVELS:
            above = {other for other in imported(path) if LEVELS.get(other.split(".")[0], -1) > LEVELS[package]}
            assert not above, f"{name} imports {above}, which is above it in {ORDER}"


def test_imports_have_no_circle():
    graph = {name: imported(path) & set(MODULES) - {name} for name, path in MODULES.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for below in graph[name]:
                visit(below, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_packages_of_one_level_have_no_circle_either():
    """Two packages of a group may use each other in one direction only."""
    used = {
        (name.split(".")[0], other.split(".")[0])
        for name, path in MODULES.items()
        for other in imported(path) & set(MODULES)
        if name.split(".")[0] in LEVELS and other.split(".")[0] in LEVELS
    }
    assert not {(first, second) for first, second in used if first < second and (second, first) in used}


def test_every_package_is_in_the_order_and_few_modules_are_outside():
    assert {path.parent.name for path in SOURCE.glob("*/__init__.py")} <= set(LEVELS)
    assert {path.stem for path in SOURCE.glob("*.py")} <= TOP_LEVEL


def test_only_workflow_knows_snakemake_and_dvc_and_nobody_the_command_line():
    for name, path in MODULES.items():
        names = imported(path)
        if not name.startswith("workflow"):
            assert not {other for other in names if other.split(".")[0] in ("snakemake", "dvc")}, path
        if name not in ("__main__", "cli"):
            assert "cli" not in names, path


def test_predict_imports_highdicom_only_for_dicom_output():
    """It takes more than a second."""
    at_once, new = set(), {"bundles.predict", "bundles.pictures"}
    while new:
        at_once |= new
        new = {name for known in new & set(MODULES) for name in imported(MODULES[known], at_once=True)} - at_once
    assert "images.dicom" in at_once
    assert not {name for name in at_once if name.split(".")[0] in ("highdicom", "pydicom")}
    assert "highdicom" in imported(MODULES["bundles.dicom_source"], at_once=True)


def test_light_verbs_start_without_tensorflow():
    code = (
        "import importlib, sys\n"
        f"for module in {('cli', *LIGHT)}:\n"
        "    importlib.import_module(f'thorax.{module}')\n"
        f"    heavy = set(sys.modules) & {HEAVY}\n"
        "    assert not heavy, f'{module} imports {heavy}'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_keras_comes_without_what_only_figures_and_tables_need():
    code = (
        "import sys; from thorax import backend; backend.prepare(0, 1); import keras; "
        "assert not {'sklearn', 'matplotlib'} & set(sys.modules); import sklearn, matplotlib"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")  # nor TensorFlow's notices to everyone


def test_only_notices_are_hidden_while_tensorflow_is_loaded_also_before_a_crash():
    code = (
        "import os; from thorax import backend\n"
        "with backend._without_notices():\n"
        "    os.write(2, b'I0 port.cc:1] oneDNN custom operations are on.\\nno AVX\\n'); os.abort()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGABRT, "no AVX\n")
