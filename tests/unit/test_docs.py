"""README and docs: every link leads somewhere, every example of a configuration is valid, every command can be typed as written."""

import importlib
import inspect
import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from thorax import cli, config
from thorax.archives.download import registry
from thorax.errors import ThoraxError
from thorax.explanation import overlays
from thorax.images import masks
from thorax.verbs import VERBS
from thorax.workflow.bundling import with_cores

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md"]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = ("", "sh", "bash", "console")
BINARIES = Path(sys.executable).parent


def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The names by which GitHub links to a page's headings."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return set(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_and_anchor_resolves(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}"
        assert not anchor or file.suffix != ".md" or anchor in anchors(file), f"{page.name} links to {target}"


def test_links_are_found_and_anchors_told_apart(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One thing\n\n## What `you` get: [here](x)\n\n## One thing\n\n```\n# no heading\n```\n")
    assert anchors(page) == {"one-thing", "what-you-get-here", "one-thing-1"}


def documented(language: str) -> list[tuple[str, str]]:
    """Name of the page and text of every fenced block of a language."""
    return [(page.name, body) for page in PAGES for lang, body in FENCED.findall(page.read_text()) if lang == language]


def merged(first: dict, second: dict) -> dict:
    """What Snakemake makes of two configuration files."""
    both = {
        key: merged(first[key], second[key])
        for key in first
        if isinstance(first[key], dict) and isinstance(second.get(key), dict)
    }
    return first | second | both


@pytest.mark.parametrize(("page", "text"), documented("yaml"))
def test_examples_of_the_configuration_are_valid(page, text):
    settings = merged(yaml.safe_load((ROOT / "config.yaml").read_text()), yaml.safe_load(text))
    assert config.parse(config.Config, settings, page).run == settings["run"]


def test_papers_page_names_the_choices_that_the_code_makes():
    page = (ROOT / "docs" / "explanation" / "papers.md").read_text(encoding="utf-8")
    change, network = config.Augmentation(), config.Segmenter(pairs="x")
    assert (
        f"{change.channel_shift} | of intensities in [0, 1], to either side: up to {round(change.channel_shift * 255)} of"
        in page
    )
    assert f"| {change.shear} | degrees" in page
    assert f"one of {config.Training(backbone='cnn').dense_units} units with dropout" in page
    assert f"it is covered to {overlays.OPACITY:.0%}" in page
    assert f"removed below {masks.MIN_LUNG:.0%} of the image" in page
    assert f"with a margin of {inspect.signature(masks.crop_box).parameters['margin'].default:.0%} to" in page
    assert f"{network.size} x {network.size} pixels, {network.filters[0]} to {network.filters[-1]} filters" in page
    assert f"{network.epochs} epochs on Montgomery County's pairs" in page


# --- Commands ---


def programs() -> dict[str, Callable[[list[str], Path], None]]:
    """The functions below that try the commands of a program."""
    return {name.removeprefix("_try_"): function for name, function in globals().items() if name.startswith("_try_")}


def lines(page: Path) -> Iterator[str]:
    """What a page tells to type: lines of shell blocks, and spans of code that begin with a program and have arguments."""
    for language, body in FENCED.findall(page.read_text(encoding="utf-8")):
        if language in SHELL:
            yield from (line for line in body.splitlines() if line and not line.startswith("#!"))
    for span in re.findall(r"(?<!`)`([^`\n]+)`", prose(page)):
        first, *rest = span.split()
        while "=" in first and rest:  # variables before the program
            first, *rest = rest
        if rest and (first in KNOWN or first in UNTRIED) and not span.endswith("..."):
            yield span


def commands(line: str) -> list[list[str]]:
    """The commands of a line as lists of words, without comments and variables."""
    found: list[list[str]] = [[]]
    for word in shlex.split(line, comments=True):
        if word in ("&&", ";", "||"):
            found.append([])
        elif found[-1] or "=" not in word:
            found[-1].append(word)
    return [command for command in found if command]


@cache
def snakemake_options(*arguments: str):
    from snakemake import cli as snakemake_cli

    return snakemake_cli.parse_args(list(arguments))[1]


@cache
def dvc_help(*verb: str) -> str:
    return subprocess.run([BINARIES / "dvc", *verb, "--help"], capture_output=True, text=True, check=True).stdout


def rules() -> set[str]:
    text = "".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    return set(re.findall(r"^(?:use rule \w+ as|rule) (\w+)", text, re.MULTILINE))


def _snakemake(arguments: list[str]) -> None:
    """Snakemake knows the options, has what it needs to run, and the configuration knows the names."""
    made = {"mine.yaml", "study/study.yaml", "my-study/study.yaml"} & set(arguments)  # by hand (data.md) or by thorax init
    if made:
        arguments = [word for word in arguments if word != "--configfile" and not word.endswith(".yaml")]
    options = snakemake_options(*arguments)
    assert options.cores or options.jobs or options.lint, "Snakemake refuses to run without --cores"
    for setting in options.config or ():
        key, _, value = setting.partition("=")
        blocks = {**yaml.safe_load((ROOT / "config.yaml").read_text()), key: yaml.safe_load(value)}
        config.parse(config.Config, blocks, "--config")
    assert {*(options.until or ()), *(options.forcerun or ())} <= rules()
    written = [yaml.safe_load((ROOT / name).read_text()) for name in ("config.yaml", "demo/experiment.yaml")]
    named = {name for blocks in written for kind in ("splits", "experiments") for name in blocks.get(kind) or ()}
    named |= {Path(name).parent.name for name in made}  # thorax init calls a study as its folder
    for target in options.targets:
        assert target in rules() or Path(target).stem in named, target


def _try_snakemake(command: list[str], folder: Path) -> None:
    _snakemake(command[1:])


def _try_thorax(command: list[str], folder: Path) -> None:
    if command[1:3] == ["VERB", "--help"]:
        command = ["thorax", "train", "--help"]
    if "--help" in command:
        with pytest.raises(SystemExit) as caught:
            cli.main(command[1:])
        assert caught.value.code == 0
        return
    if len(command) == 2:  # the name of a verb in a sentence
        assert command[1] in VERBS
        return
    arguments = cli.Parser().parse_args(command[1:])
    if command[1] == "download":
        assert set(arguments.group) <= set(registry.groups())
        assert "--list" not in command or cli.main([*command[1:], "--root", str(folder)]) == 0
    if "--settings" in command:
        models = {"phantom": config.Phantom, "cross-validate-lungs": config.Segmenter}
        config.parse_text(models[command[1]], arguments.settings, "--settings")
    if getattr(arguments, "snakemake", []):
        _snakemake(with_cores(arguments.snakemake) if command[1] == "bundle" else arguments.snakemake)


def _try_make(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        ["make", "--dry-run", "--file", ROOT / "Makefile", "--old-file", ".venv/bin/.ready", *command[1:]],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def _try_python(command: list[str], folder: Path) -> None:
    if command[1:3] == ["-m", "bench"] and command[3:4] in (["rates"], ["suspects"], ["maps"], ["unlike"], ["start"]):
        with pytest.raises(SystemExit) as caught:
            importlib.import_module(f"bench.{command[3]}").main([*command[4:], "--help"])
        assert caught.value.code == 0
    elif command[1:4] == ["-m", "zipfile", "--extract"]:
        (folder / "results").mkdir()
        with zipfile.ZipFile(folder / "results" / "report.zip", "w") as archive:
            archive.writestr("report/report.html", "a page")
        subprocess.run(command, cwd=folder, check=True)
        assert (folder / "results" / "report" / "report.html").is_file()
    elif command[1] == "demo/hospital.py":
        said = subprocess.run([sys.executable, ROOT / command[1], "--help"], capture_output=True, text=True, check=True).stdout
        assert all(word in said for word in command[2:] if word.startswith("--"))
    else:
        assert command[1:4] == ["-m", "pip", "install"]
        options = [word for word in command[4:] if word.startswith("--")]
        said = subprocess.run([*command[:4], "--help"], capture_output=True, text=True, check=True).stdout
        assert all(option in said for option in options)


def _try_pytest(command: list[str], folder: Path) -> None:
    path = ROOT / command[1]
    assert path.exists()
    if command[2:3] == ["-m"]:
        assert f"@pytest.mark.{command[3]}\n" in path.read_text()


def _try_find(command: list[str], folder: Path) -> None:
    (folder / "results").mkdir()
    late = folder / "results" / "late"
    late.touch()
    os.utime(late, (2**33, 2**33))
    subprocess.run(command, cwd=folder, check=True)
    assert late.stat().st_mtime < 2**33


def _try_dvc(command: list[str], folder: Path) -> None:
    """DVC knows the options; a setting that is changed is one of the file. test_dvc.py runs the commands."""
    flags = {word for word in command[1:] if word.startswith("-")}
    verb = command[1:3] if command[1] in ("exp", "metrics", "params", "plots", "remote") else command[1:2]
    assert all(re.search(rf"(^|\W){flag}\b", dvc_help(*verb)) for flag in flags)
    if "-S" in command:
        file, _, keys = command[command.index("-S") + 1].partition("=")[0].partition(":")
        *path, last = keys.removeprefix("+").split(".")
        block = yaml.safe_load((ROOT / file).read_text())
        for key in path:
            block = block[key]
        assert (last in block) != keys.startswith("+"), (
            "a key that the file lacks needs a plus sign, one that it has needs none"
        )


def _try_files(command: list[str], folder: Path) -> None:
    """Nothing is run, but what the command reads from the checkout is there."""
    for word in command[1:]:
        if word.startswith(("envs/", "tests/", "docs/", "slurm/")):
            assert (ROOT / word).exists(), word


_try_conda = _try_docker = _try_apptainer = _try_files
KNOWN = set(programs())
# What is tried elsewhere or belongs to the system, and why
UNTRIED = {
    ".": "activates .venv",
    "cp": "test_tiny.py copies the notebook",
    "papermill": "test_tiny.py renders the copied notebook",
    "git": "the user's own repository",
    "apt-get": "installs Slurm",
    "rm": "deletes resume states",
    "kill": "words on a signal",
    "squeue": "test_slurm.py",
    "scancel": "test_slurm.py",
    "exec": "a line of a script",
}
TYPED = sorted({(page.name, line) for page in PAGES for line in lines(page)})


@pytest.mark.parametrize(("page", "line"), TYPED, ids=[line for _, line in TYPED])
def test_every_documented_command_can_be_typed(page, line, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    for number, command in enumerate(commands(line)):
        assert command[0] in KNOWN | set(UNTRIED), f"{page}: nothing tries {line!r}"
        if command[0] in KNOWN:
            folder = tmp_path / str(number)
            folder.mkdir()
            programs()[command[0]](command, folder)


@pytest.mark.parametrize(
    "line",
    [
        "snakemake --forceall",
        "snakemake --cores 8 --until splt",
        "snakemake --cores 8 --config 'run=[nothing]'",
        "dvc exp run -S 'demo/experiment.yaml:experiments.demo-liz2022-specific.members.DenseNet201.epochs=8'",
        "thorax download nhi",
        "make demmo",
        "pytest tests/workflow/test_nothing.py",
    ],
)
def test_commands_that_cannot_be_typed_are_found(line, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (command,) = commands(line)
    with pytest.raises((AssertionError, ThoraxError)):
        programs()[command[0]](command, tmp_path)


def test_commands_are_found_where_they_are_documented():
    found = {line.partition("#")[0].strip() for _, line in TYPED}
    assert {"make demo", "dvc repro", "thorax record"} <= found
    assert commands("A=1 dvc pull && thorax sync   # both") == [["dvc", "pull"], ["thorax", "sync"]]
