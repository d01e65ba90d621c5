"""The pinned environments: one set of versions for venv, conda and container; installs from a folder alone."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.workflow.conftest import CASES, REPOSITORY, another_kernel, snakemake

ENVS = REPOSITORY / "envs"
TINY = CASES / "tiny" / "config.yaml"
RECIPES = ("Dockerfile", "thorax.def")


def blocks(name: str) -> dict[str, list[str]]:
    """The pins of a requirements file by package; each is its lines, the first with the version, the others with hashes."""
    found: dict[str, list[str]] = {}
    for block in re.split(r"\n(?=\w)", (ENVS / name).read_text()):
        if not block.startswith("#"):
            found.setdefault(Requirement(pin(block)).name, []).append(block)
    return found


def pin(block: str) -> str:
    return block.splitlines()[0].removesuffix("\\").strip()


def pins(name: str) -> list[str]:
    return [pin(block) for versions in blocks(name).values() for block in versions]


@pytest.mark.parametrize("name", ["cpu.txt", "gpu.txt", "dev.txt"])
def test_every_pin_is_one_version_with_hashes_and_no_address(name):
    for versions in blocks(name).values():
        for block in versions:
            first, *hashes = block.splitlines()
            assert re.match(r"[\w.-]+(\[[\w,-]+\])?==[\w.]+( ; .+)? \\$", first), first
            assert hashes, block
            assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in hashes), block
    text = "".join(path.read_text() for path in [ENVS / name, *ENVS.glob("*.in")])
    assert not re.search(r"://|--(index|extra-index|find-links|trusted)", text)


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_conda_has_the_same_pins(device):
    written = yaml.safe_load((ENVS / f"{device}.yaml").read_text())["dependencies"]
    assert written[-1]["pip"] == pins(f"{device}.txt"), "run: python envs/conda.py"


def test_the_environments_share_their_versions():
    cpu, gpu, dev = (
        {
            name: {str(Requirement(pin(block)).specifier): block.splitlines()[1:] for block in versions}
            for name, versions in found.items()
        }
        for found in map(blocks, ("cpu.txt", "gpu.txt", "dev.txt"))
    )
    assert cpu["tensorflow"].keys() == cpu["tensorflow-cpu"].keys()
    for other in (gpu, dev):
        shared = cpu.keys() & other.keys()
        assert {"typing-extensions"} <= shared
        assert {name: cpu[name] for name in shared} == {name: other[name] for name in shared}


def test_one_python_everywhere_that_thorax_runs_on():
    supported = SpecifierSet(tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["requires-python"])
    used = set()
    for device in ("cpu", "gpu"):
        used |= {
            word.removeprefix("python=") for word in yaml.safe_load((ENVS / f"{device}.yaml").read_text())["dependencies"][:1]
        }
    for recipe in RECIPES:
        used |= set(re.findall(r"^FROM:? python:([\d.]+)-", (ENVS / recipe).read_text(), re.MULTILINE | re.IGNORECASE))
    assert used == {"3.11"}
    assert f"{used.pop()}.0" in supported


def test_both_container_recipes_copy_what_the_workflow_needs_and_run_the_same_commands():
    docker, apptainer = ((ENVS / recipe).read_text() for recipe in RECIPES)
    copied = {word.rstrip("/") for line in re.findall(r"^COPY (.+)", docker, re.MULTILINE) for word in line.split()[:-1]}
    files = [line.split() for line in apptainer.split("%files\n")[1].split("\n\n")[0].splitlines()]
    assert {source for source, _ in files} == copied  # two words a line: Apptainer would take a third for nothing
    assert all(destination == f"/thorax/{source}" for source, destination in files)
    needed = {"Snakefile", "config.yaml", "pyproject.toml", "src", "workflow", "notebooks", "profiles", "demo", "envs"}
    assert needed <= copied
    assert all((REPOSITORY / name).exists() for name in copied)
    installs = re.findall(r"python -m pip install .+", docker)
    assert installs == [line.replace("{{ DEVICE }}", "$DEVICE") for line in re.findall(r"python -m pip install .+", apptainer)]
    assert "--require-hashes -r envs/$DEVICE.txt" in installs[0]
    for text in (docker, apptainer):
        assert re.search(r"DEVICE=cpu$", text, re.MULTILINE)


def test_the_container_recipes_are_well_formed():
    """No more can be said where neither Docker nor Apptainer is: instructions, sections, and commands that a shell can read."""
    docker, apptainer = ((ENVS / recipe).read_text() for recipe in RECIPES)
    lines = re.sub(r"^#.*\n|^\n", "", docker.replace("\\\n", ""), flags=re.MULTILINE).splitlines()
    instructions = [line.partition(" ")[::2] for line in lines]
    assert [name for name, _ in instructions if name in ("FROM", "ARG", "ENTRYPOINT", "CMD")] == [
        "FROM",
        "ARG",
        "ENTRYPOINT",
        "CMD",
    ]
    assert {name for name, _ in instructions} <= {"FROM", "ARG", "RUN", "WORKDIR", "COPY", "ENV", "ENTRYPOINT", "CMD"}
    assert [json.loads(rest) for name, rest in instructions if name in ("ENTRYPOINT", "CMD")] == [
        ["snakemake"],
        ["--profile", "demo"],
    ]
    header, *sections = re.split(r"^%", apptainer, flags=re.MULTILINE)
    assert [line.split(":")[0] for line in header.split()[::2]] == ["Bootstrap", "From"]
    assert [section.split()[0] for section in sections] == ["help", "arguments", "files", "post", "environment", "runscript"]
    scripts = [rest for name, rest in instructions if name == "RUN"] + [section.partition("\n")[2] for section in sections[3:]]
    for script in scripts:
        checked = subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr


def test_the_catalog_file_has_the_documented_keys():
    usage = yaml.safe_load((REPOSITORY / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert usage["software-stack-deployment"] == {"conda": True, "apptainer": False, "apptainer+conda": False}


FAKE_CONDA = '''#!{python}
"""Answers Snakemake as conda does, and makes an environment of the packages here: all but thorax."""
import json, sys, venv
from pathlib import Path
words = sys.argv[1:]
if words == ["info", "--json"]:
    print(json.dumps({{"conda_prefix": {base!r}, "platform": "linux-64"}}))
elif words == ["--version"]:
    print("conda 25.1.1")
elif words[:2] == ["config", "--get"]:
    print(json.dumps({{"get": {{"channel_priority": "strict"}}}}))
elif words[:2] == ["env", "create"]:
    file, prefix = (words[words.index(option) + 1] for option in ("--file", "--prefix"))
    venv.create(prefix, symlinks=True)
    [packages] = Path(prefix).glob("lib/python*/site-packages")
    (packages / "others.pth").write_text({packages!r})
    # Debian's Python has a sitecustomize of its own, which would hide one in the environment
    (packages / "calls.pth").write_text("import sys; print(sys.prefix, *sys.orig_argv, file=open({calls!r}, 'a'))")
    Path({created!r}).write_text(Path(file).read_text())
elif words[:1] != ["clean"]:
    sys.exit(f"conda {{words}}?")
'''


@pytest.fixture
def conda(tmp_path, monkeypatch):
    """A stand-in for conda on PATH; what it was asked for is in created.yaml and calls.txt of the folder."""
    base = tmp_path / "conda base"
    (base / "bin").mkdir(parents=True)
    (base / "bin" / "activate").write_text('export PATH="$1/bin:$PATH"\n')
    names = {
        "python": sys.executable,
        "base": str(base).replace(" ", r"\ "),  # Snakemake puts it into a command without quotes
        "packages": sysconfig.get_path("purelib"),
        "created": str(tmp_path / "created.yaml"),
        "calls": str(tmp_path / "calls.txt"),
    }
    program = base / "bin" / "conda"
    program.write_text(FAKE_CONDA.format(**names))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{base / 'bin'}:{os.environ['PATH']}")
    return tmp_path


@pytest.mark.slow
def test_jobs_run_in_the_conda_environment_with_this_checkouts_thorax(conda):
    run = conda / "run"
    run.mkdir()
    done = snakemake(run, "--cores", "2", "--sdm", "conda", "--until", "phantom", config=TINY)
    assert done.returncode == 0, done.stdout
    assert (conda / "created.yaml").read_text() == (ENVS / "cpu.yaml").read_text()
    calls = [line for line in (conda / "calls.txt").read_text().splitlines() if "thorax phantom" in line]
    assert calls, "the job ran in another Python than the conda environment's"
    assert all(str(run / ".snakemake" / "conda") in line and str(ENVS / "bin" / "thorax") in line for line in calls)


@pytest.mark.slow
def test_one_setting_chooses_the_gpu_environment(conda):
    done = snakemake(conda, "--cores", "1", "--sdm", "conda", "--conda-create-envs-only", "--config", "device=gpu", config=TINY)
    assert done.returncode == 0, done.stdout
    assert (conda / "created.yaml").read_text() == (ENVS / "gpu.yaml").read_text()


def make(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """The repository's Makefile in another folder, without what the calling make or machine says about sources of packages."""
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "DEVICE", "WHEELS")
    }
    return subprocess.run(
        ["make", *arguments, f"PYTHON={sys.executable}"],
        cwd=folder, env={**inherited, **variables}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=180, check=False,
    )  # fmt: skip


@pytest.fixture
def checkout(tmp_path):
    """A checkout that needs five packages, one of which is published as source only and built with three of the others."""
    for name in ("Makefile", "pyproject.toml", "README.md"):
        shutil.copy(REPOSITORY / name, tmp_path)
    shutil.copytree(REPOSITORY / "src" / "thorax", tmp_path / "src" / "thorax")
    (tmp_path / "envs").mkdir()
    for name, packages in {
        "cpu": ["setuptools", "wheel", "packaging", "antlr4-python3-runtime"],
        "gpu": ["tensorflow"],
        "dev": ["iniconfig"],
    }.items():
        text = "\n".join("\n".join(blocks(f"{name}.txt")[package]) for package in packages)
        (tmp_path / "envs" / f"{name}.txt").write_text(text + "\n")
    return tmp_path


@pytest.mark.skipif("PIP_NO_INDEX" in os.environ, reason="the folder is filled from the network")
@pytest.mark.slow
def test_an_install_needs_a_folder_of_wheels_and_nothing_else(checkout):
    filled = make(checkout, "wheels")
    assert filled.returncode == 0, filled.stdout
    assert len(list((checkout / "wheels").iterdir())) == 5
    no_network = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_RETRIES": "0",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": "",
    }

    [wheel] = (checkout / "wheels").glob("iniconfig*")
    good = wheel.read_bytes()
    wheel.write_bytes(good + b"\0")
    refused = make(checkout, "install", "WHEELS=wheels", **no_network)
    assert refused.returncode != 0
    assert "DO NOT MATCH THE HASHES" in refused.stdout
    assert not (checkout / ".venv" / "bin" / ".ready").exists()

    wheel.write_bytes(good)
    done = make(checkout, "install", "WHEELS=wheels", **no_network)
    assert done.returncode == 0, done.stdout
    python = checkout / ".venv" / "bin" / "python"
    code = "import antlr4, iniconfig, thorax; print(thorax.__file__)"
    shown = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert Path(shown.stdout.strip()) == checkout / "src" / "thorax" / "__init__.py"
    assert make(checkout, "install").stdout.endswith("Nothing to be done for 'install'.\n")


def test_a_missing_folder_of_wheels_is_said_in_one_sentence(checkout):
    done = make(checkout, "install", "WHEELS=nowhere")
    assert done.returncode != 0
    assert done.stdout.startswith(
        "WHEELS=nowhere is not a folder: fill it by make wheels on a machine with network.\nmake: ***"
    )
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize(
    ("installed", "asked", "pins", "recreated"),
    [(None, [], "cpu", False), (None, ["DEVICE=gpu"], "gpu", False), ("gpu", [], None, None),
     ("cpu", ["DEVICE=gpu"], "gpu", True), ("gpu", ["DEVICE=cpu"], "cpu", True), ("", ["DEVICE=gpu"], "gpu", True)],
)  # fmt: skip
def test_the_variant_that_is_installed_stays_until_another_is_asked_for(checkout, installed, asked, pins, recreated):
    if installed is not None:
        (checkout / ".venv" / "bin").mkdir(parents=True)
        (checkout / ".venv" / "bin" / ".ready").touch()
        if installed:  # else: made before there was a choice
            (checkout / ".venv" / "device").write_text(installed)
    planned = make(checkout, "--dry-run", "install", *asked).stdout
    if pins is None:
        assert "pip" not in planned
    else:
        assert f"--require-hashes -r envs/{pins}.txt -r envs/dev.txt" in planned
        assert ("-m venv --clear .venv" in planned) == recreated


def test_an_unknown_variant_is_refused(checkout):
    done = make(checkout, "install", "DEVICE=tpu")
    assert done.returncode != 0
    assert re.fullmatch(r"Makefile:\d+: \*\*\* DEVICE=tpu is neither cpu nor gpu: correct it\.  Stop\.\n", done.stdout)


@pytest.mark.parametrize(("variables", "first"), [({}, "false"), ({"JUPYTER_PATH": str(REPOSITORY / "notebooks")}, "python")])
def test_our_kernel_goes_before_a_user_s(tmp_path, variables, first):
    """jupyter_client runs the Python that it runs in itself where a kernel's command begins with `python`."""
    code = "from jupyter_client.kernelspec import get_kernel_spec; print(get_kernel_spec('python3').argv[0])"
    user = {**another_kernel(tmp_path), "JUPYTER_PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | user | variables, check=True
    )
    assert done.stdout.strip() == first
