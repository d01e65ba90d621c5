"""DVC beside Snakemake: one DAG, reruns of just what changed, and results that travel to another clone."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import networkx as nx
import pandas as pd
import pytest
import yaml

from . import warm
from .conftest import REPOSITORY

pytestmark = pytest.mark.slow
CONFIG = "tests/workflow/tiny/config.yaml"
SNAKEMAKE = ("snakemake", "--configfile", CONFIG, "--cores", "2")
NOTHING = "Nothing to be done"
UP_TO_DATE = "Data and pipelines are up to date."


def run(folder: Path, *command: str | Path, fails: bool = False, edited: bool = False) -> str:
    """Run a command, and return all that it says; where the folder's own sources are `edited`, on them."""
    binaries = [str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = {
        **os.environ,
        "PATH": ":".join(binaries if edited else [str(warm.programs()), *binaries]),
        "PYTHONPATH": str(folder / "src"),
        "GIT_AUTHOR_NAME": "test",
        "GIT_AUTHOR_EMAIL": "test@localhost",
        "GIT_COMMITTER_NAME": "test",
        "GIT_COMMITTER_EMAIL": "test@localhost",
    }
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert (done.returncode != 0) == fails, done.stdout[-4000:]
    return done.stdout


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, (path, old)
    path.write_text(text.replace(old, new, 1))


def checkout(clone: Path) -> Path:
    """Copy the repository's files, without results, into a Git repository of its own."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", ":!results"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (REPOSITORY / name).is_file():  # not one that was removed and is not committed yet
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, clone / name)
    run(clone, "git", "init", "--quiet")
    return clone


@pytest.fixture(scope="module")
def recorded(tiny_run, tmp_path_factory) -> Path:
    """A clone with the tiny run's results, made with snakemake and versioned with thorax record. Copy it before changing it."""
    clone = checkout(tmp_path_factory.mktemp("clone") / "thorax")
    for name in ("data", "results", "work", ".snakemake"):
        shutil.copytree(tiny_run / name, clone / name, copy_function=shutil.copy2)
    run(clone, "thorax", "dvc", "--", *SNAKEMAKE[1:])
    stale = run(clone, "thorax", "record", fails=True)  # the tiny run had the notebooks at another path
    assert re.search(r"nothing was recorded: 15 of \d+ jobs are out of date, the first is figure-attention-tiny", stale), stale
    run(clone, *SNAKEMAKE)
    assert "jobs recorded in dvc.lock" in run(clone, "thorax", "record")
    run(clone, "git", "add", "--all")
    run(clone, "git", "commit", "--quiet", "--message", "The tiny run")
    return clone


@pytest.fixture
def clone(recorded, tmp_path) -> Path:
    """A copy of the recorded clone that a test may change."""
    return Path(shutil.copytree(recorded, tmp_path / "thorax", copy_function=shutil.copy2, symlinks=True))


def stages(folder: Path) -> dict[str, dict]:
    return yaml.safe_load((folder / "dvc.yaml").read_text())["stages"]


def outputs(stage: dict) -> dict[str, bool]:
    """A stage's outputs, and whether DVC keeps their content."""
    found = {}
    for item in [*stage.get("outs", []), *stage.get("metrics", [])]:
        name, options = (item, {}) if isinstance(item, str) else next(iter(item.items()))
        found[name] = options.get("cache", True)
    return found


def by_rule(of_run: dict[str, dict], last: str) -> str:
    """The stages up to a rule as a diagram of rules, without arrows that follow from others."""
    rules = {name: stage["cmd"].partition("--allowed-rules ")[2].split()[0] for name, stage in of_run.items() if name != "plan"}
    made = {Path(path): rule for name, rule in rules.items() for path in outputs(of_run[name])}
    graph = nx.DiGraph()
    for name, rule in rules.items():
        needed = (Path(path) for path in of_run[name].get("deps", []))
        graph.add_edges_from((made[path], rule) for deep in needed for path in (deep, *deep.parents) if path in made)
    graph = nx.transitive_reduction(graph.subgraph({last, *nx.ancestors(graph, last)}))
    head = '%%{init: {"flowchart": {"rankSpacing": 20}}}%%\nflowchart TD\n'
    return head + "".join(f"    {before} --> {after}\n" for before, after in sorted(graph.edges))


def results(folder: Path) -> set[str]:
    """All result files but the marks of Snakemake in folders that are outputs."""
    files = (path for path in (folder / "results").rglob("*") if path.is_file() and path.name != ".snakemake_timestamp")
    return {str(path.relative_to(folder)) for path in files}


def in_stage(path: str, named: Collection[str]) -> str:
    """The output of a stage that has a file: itself, or a folder around it."""
    return next((str(parent) for parent in Path(path).parents if str(parent) in named), path)


def rerun(said: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", said))


def planned(said: str) -> dict[str, int]:
    """Jobs by rule in the statistics of a dry run."""
    table = said.partition("Job stats:")[2].partition("total")[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


MODELS = ("first", "second", "third", "PTC-mode", "PTC-lw", "CTP", "baseline")
UP_TO_TABLES = {
    "train-tiny-first", "predict-tiny-first", "ensemble-PTC-mode-tiny", "ensemble-PTC-lw-tiny", "ensemble-CTP-tiny", "metrics-tiny",
    "tables-tiny",
}  # fmt: skip
FIRST_MEMBER_JOBS = {
    "train": 1, "predict": 1, "figure_training": 1, "ensemble": 3, "metrics": 1, "tables": 1, "threshold_tables": 1,
    "difference_tables": 1, "calibration": 1, "calibration_tables": 1, "operating": 1, "groups": 1, "figure_roc": 1,
    "figure_reliability": 1, "figure_operating": 1, "heatmaps": 1, "measure_heatmaps": 1, "heatmap_tables": 1, "case_browser": 1,
    "records": 1, "overview": 1, "paper_page": 1, "site": 1, "all": 1,
}  # fmt: skip


def test_the_committed_dvc_yaml_is_the_dag(tmp_path):
    assert run(REPOSITORY, "thorax", "dvc", "--check") == ""
    for name in ("Snakefile", "config.yaml", "workflow", "demo", "profiles", "notebooks", "src"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    text = (REPOSITORY / "dvc.yaml").read_text()
    (tmp_path / "dvc.yaml").write_text(text.replace("  catalog-phantom:\n", "  catalogue:\n"))
    said = run(tmp_path, "thorax", "dvc", "--check", fails=True)
    assert "-  catalogue:\n+  catalog-phantom:\n" in said
    assert "dvc.yaml is not the Snakefile's DAG: type `thorax dvc -- --profile demo`." in said


def test_documented_commands_in_a_fresh_clone(tmp_path):
    clone = checkout(tmp_path / "thorax")
    run(clone, "git", "add", "--all")
    run(clone, "git", "commit", "--quiet", "--message", "A clone")
    page = (clone / "docs" / "how-to" / "versions.md").read_text()
    setting = re.findall(r"`dvc exp run -S '(.*?)'`", page)[0]
    assert "plan" in run(clone, "dvc", "exp", "run", "-S", setting, "plan")  # its other stages take a quarter of an hour
    plan = json.loads((clone / "results" / "plan.json").read_text())
    assert json.loads(plan["train-demo-liz2022-specific-Xception"]["settings_member"])["epochs"] == 8
    assert rerun(run(clone, "dvc", "repro", "plan")) == set()
    assert "phantom-data-phantom" in run(clone, "dvc", "status")
    shutil.rmtree(clone / "results")
    dry = re.findall(r"`(dvc repro --dry .*?)`", page)[0]
    assert rerun(run(clone, *shlex.split(dry))) == set(stages(clone))
    assert not (clone / "results").exists()
    shown = re.findall(r"`(dvc dag .*?)`", page)[0]
    assert run(clone, *shlex.split(shown)).count("[") == 9
    drawn = re.findall(r"^```mermaid\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert drawn == [by_rule(stages(clone), "metrics")]
    assert "epochs" in run(clone, "dvc", "params", "diff")


def test_after_record_both_tools_have_nothing_to_do(recorded):
    assert NOTHING in run(recorded, *SNAKEMAKE, "--dry-run")
    assert UP_TO_DATE in run(recorded, "dvc", "status")
    assert rerun(run(recorded, "dvc", "repro")) == set()
    assert run(recorded, "git", "status", "--short") == ""


def test_every_result_is_an_output_of_exactly_one_stage(recorded):
    named = [path for stage in stages(recorded).values() for path in outputs(stage)]
    assert len(named) == len(set(named))
    assert {in_stage(path, named) for path in results(recorded)} == {path for path in named if path.startswith("results/")}


def test_git_keeps_sums_and_no_identifier(recorded):
    kept = {path for stage in stages(recorded).values() for path, cached in outputs(stage).items() if not cached}
    tracked = set(run(recorded, "git", "ls-files", "results").split())
    assert kept == {in_stage(path, kept) for path in tracked}
    assert {"results/metrics/tiny/first.json", "results/tables/tiny/global.csv", "results/history/tiny/first.csv"} <= tracked
    catalog = pd.read_parquet(recorded / "results/catalog/tiny.parquet", columns=["image_id", "patient_id", "study_id"])
    identifiers = {name for column in catalog for name in catalog[column].dropna().unique() if len(name) >= 5}
    assert len(identifiers) > 100
    screened = pd.read_csv(recorded / "results/tables/screening.csv")
    assert screened["truncated"].tolist() == [1]  # so that a table of what was left out has something to name
    for path in sorted(tracked | {"dvc.lock", "dvc.yaml"}):
        text = (recorded / path).read_text().replace("\\", "")  # Markdown and LaTeX escape _ and others
        assert not [name for name in identifiers if name in text], path


def test_metrics_and_plots_are_declared(recorded):
    shown = json.loads(run(recorded, "dvc", "metrics", "show", "--json"))
    models = shown[""]["data"]
    assert set(models) == {f"results/metrics/tiny/{name}.json" for name in MODELS}
    values = models["results/metrics/tiny/CTP.json"]["data"]
    table = pd.read_parquet(recorded / "results/metrics/tiny.parquet")
    row = table[
        (table["class"] == "Global") & (table["split"] == "test") & (table["model"] == "CTP") & (table["metric"] == "auc")
    ]
    assert values["auc"] == pytest.approx(row["value"].item())
    table = run(recorded, "dvc", "metrics", "show", "--md").splitlines()
    assert len(table[0].strip("| ").split("|")) <= 8
    folder = recorded.parent / "plots"
    said = run(recorded, "dvc", "plots", "show", "--out", folder)
    assert said.strip() == (folder / "index.html").as_uri()  # no warning of a file without the column
    html = (folder / "index.html").read_text()
    titles = re.findall(r'"title": "(.*?)", "width"', html)
    assert titles == [f"{quantity} of tiny" for quantity in ("Training loss", "Validation loss", "Validation AUC")]
    for spec in re.findall(r"var spec = (.*);", html):
        assert {point["filename"] for point in json.loads(spec)["data"]["values"]} == {f"{name}.csv" for name in MODELS[:3]}
    assert {path.name for path in folder.glob("static/*")} == {
        f"workspace_results_figures_tiny_{name}.png" for name in ("roc", "heatmaps")
    }


def test_one_changed_parameter_reruns_one_training_and_what_depends_on_it(clone):
    before = {path: path.read_bytes() for path in clone.glob("results/models/tiny/*.keras")}
    setting = f"{CONFIG}:experiments.tiny.members.first.seed=5"
    said = run(clone, "dvc", "exp", "run", "--set-param", setting, "tables-tiny")  # DVC runs one stage after the other
    assert rerun(said) == {"plan", *UP_TO_TABLES}
    assert {path.stem for path, content in before.items() if path.read_bytes() != content} == {"first"}
    assert yaml.safe_load((clone / CONFIG).read_text())["experiments"]["tiny"]["members"]["first"] == {"seed": 5}
    done = {"train", "predict", "ensemble", "metrics", "tables"}
    left = {rule: count for rule, count in FIRST_MEMBER_JOBS.items() if rule not in done}
    assert planned(run(clone, *SNAKEMAKE, "--dry-run")) == left
    run(clone, *SNAKEMAKE)
    run(clone, "thorax", "record")
    assert UP_TO_DATE in run(clone, "dvc", "status")
    assert "results/metrics/tiny/first.json" in run(clone, "dvc", "metrics", "diff")
    run(clone, "git", "add", "--all")
    run(clone, "git", "commit", "--quiet", "--message", "Another seed")
    assert "results/metrics/tiny/first.json" in run(clone, "dvc", "metrics", "diff", "HEAD~1")
    assert "members.first.seed" in run(clone, "dvc", "params", "diff", "HEAD~1")
    assert "index.html" in run(clone, "dvc", "plots", "diff", "HEAD~1")
    assert run(clone, "git", "status", "--short") == ""  # what plots diff writes is not the user's to commit


def test_snakemake_reruns_the_same(clone):
    edit(clone / CONFIG, "first: {seed: 1}", "first: {seed: 5}")
    assert planned(run(clone, *SNAKEMAKE, "--dry-run")) == FIRST_MEMBER_JOBS
    said = run(clone, "thorax", "record", fails=True)
    assert "nothing was recorded: 25 of 61 jobs are out of date, the first is train-tiny-first" in said
    assert "Traceback" not in said


def test_touched_files_comments_and_docstrings_rerun_nothing(clone):
    edit(clone / "src/thorax/models/augment.py", '"""', '"""Edited. ')
    with (clone / "src/thorax/models/fit.py").open("a") as file:
        file.write("\n# a remark\n")
    with (clone / CONFIG).open("a") as file:
        file.write("\n# a remark\n")
    for name in ("data/tiny/boxes.csv", "results/catalog/tiny.parquet", "results/images/32-lungs/tiny.0.npy"):
        (clone / name).touch()
    assert NOTHING in run(clone, *SNAKEMAKE, "--dry-run", edited=True)
    assert rerun(run(clone, "dvc", "repro", edited=True)) == {"plan"}


def test_changed_code_reruns_what_it_feeds(clone):
    edit(clone / "src/thorax/models/augment.py", "import cv2\n", "import cv2\n\ncv2.setNumThreads(1)\n")
    fed = {**FIRST_MEMBER_JOBS, "train": 3, "predict": 3, "figure_attention": 1}
    found = planned(run(clone, *SNAKEMAKE, "--dry-run", edited=True))
    beside = {"segmenter", "lungs", "images", "screening", "baseline", "figure_lungs"}  # the U-Net's training augments as well
    assert set(fed) <= set(found) <= set(fed) | beside, found
    assert found["train"] == 3
    run(clone, "dvc", "repro", "plan", edited=True)
    changed = set(json.loads(run(clone, "dvc", "status", "--json")))
    assert {f"train-tiny-{name}" for name in ("first", "second", "third")} <= changed
    assert not {
        name for name in changed if name.split("-")[0] in ("phantom", "manifest", "catalog", "ingest", "labels", "split")
    }


def test_a_replaced_image_is_noticed_by_both(clone):
    catalog = pd.read_parquet(clone / "results/catalog/tiny.parquet")
    image = clone / "data/tiny" / catalog.loc[catalog["view"] == "PA", "path"].iloc[0]
    content = bytearray(image.read_bytes())
    content[-20] ^= 1
    image.write_bytes(content)
    assert "manifest-tiny" in json.loads(run(clone, "dvc", "status", "--json"))
    said = run(clone, *SNAKEMAKE, "--dry-run")
    assert "data/tiny has changed since it was last used: 1 files replaced, 0 added, 0 removed." in said
    assert {"catalog", "ingest", "train", "tables"} <= set(planned(said))


def test_another_dag_is_refused_until_dvc_yaml_is_made_anew(clone):
    edit(clone / CONFIG, "third: {seed: 3, head: attention}", "third: {seed: 3, head: attention}\n      fourth: {seed: 4}")
    said = run(clone, "dvc", "repro", fails=True)
    assert "dvc.yaml is not the Snakefile's DAG: type `thorax dvc -- " in said
    run(clone, "thorax", "dvc", "--", *SNAKEMAKE[1:])
    assert "train-tiny-fourth" in stages(clone)


def test_results_travel_through_a_remote_and_nothing_is_run_again(clone, tmp_path):
    run(clone, "dvc", "remote", "add", "--default", "lab", tmp_path / "remote")
    run(clone, "git", "commit", "--quiet", "--all", "--message", "A remote")
    run(clone, "dvc", "push")
    other = tmp_path / "other"
    run(clone, "git", "clone", "--quiet", clone, other)
    said = run(other, "thorax", "sync", fails=True)
    assert re.search(r"nothing was touched: \d+ stages differ from dvc.lock", said), said
    run(other, "dvc", "pull")
    assert "61 jobs are up to date for Snakemake and for DVC." in run(other, "thorax", "sync")
    assert NOTHING in run(other, *SNAKEMAKE, "--dry-run")
    assert UP_TO_DATE in run(other, "dvc", "status")
    assert rerun(run(other, "dvc", "repro")) == set()
    assert run(other, "git", "status", "--short") == ""
    made = results(clone)
    assert made == results(other)
    assert [path for path in sorted(made) if (clone / path).read_bytes() != (other / path).read_bytes()] == []


def test_mistakes_are_sentences(tmp_path):
    for verb in ("record", "sync"):
        assert "this folder is not a DVC repository" in run(tmp_path, "thorax", verb, fails=True)
    assert "dvc.yaml is not there, or not made by thorax" in run(tmp_path, "thorax", "plan", "--out", "plan.json", fails=True)
    for arguments, reason in (
        (("--configfile", "nowhere.yaml", "--cores", "2"), "nowhere.yaml"),
        (("--no-such-option",), "unrecognized arguments: --no-such-option"),
        (("--cores", "2", "--config", "run=[liz]"), "'liz' is not in experiments"),
    ):
        for name in ("Snakefile", "config.yaml", "workflow", "notebooks", "src"):
            (tmp_path / name).unlink(missing_ok=True)
            (tmp_path / name).symlink_to(REPOSITORY / name)
        said = run(tmp_path, "thorax", "dvc", "--", *arguments, fails=True)
        assert reason in said
        assert "Traceback" not in said
        assert not (tmp_path / "dvc.yaml").exists()
