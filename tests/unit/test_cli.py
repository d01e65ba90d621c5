"""The command line: a table of verbs that fits the functions, one sentence on stderr, an exit status, nothing written."""

import importlib
import inspect
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from thorax import archives, cli, config, verbs
from thorax.cli import main
from thorax.verbs import VERBS

RULES = Path(__file__).parents[2] / "workflow" / "rules"


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    return status, capsys.readouterr().err


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_the_options_of_a_verb_are_the_parameters_of_its_function(verb):
    module, _, function = verb.function.partition(":")
    parameters = inspect.signature(getattr(importlib.import_module(module), function)).parameters
    assert {option.name for option in verb.options} == set(parameters)
    for option in verb.options:
        default = parameters[option.name].default
        if default is not inspect.Parameter.empty and not option.is_required:
            assert (option.default or None) == (default or None), option
        assert not option.model or hasattr(config, option.model)


def test_no_verb_is_in_the_table_twice():
    assert sum(map(len, verbs.GROUPS.values())) == len(VERBS)


def commands() -> list[tuple[str, str, list[str]]]:
    """Of every rule that calls a verb: its file, the verb, and the words of the command."""
    found = []
    for path in sorted(RULES.glob("*.smk")):
        for shell in re.findall(r"^(?:    shell:\n|RENDER = )((?: *\".*\"\n)+)", path.read_text(), re.MULTILINE):
            words = shlex.split("".join(re.findall(r'"(.*)"\n', shell)).removeprefix("exec "))
            if words[0] == "thorax":
                found.append((path.name, words[1], words[2 : words.index(">")]))
    return found


def test_every_rule_calls_a_verb_with_its_options():
    assert len(commands()) >= 39
    for file, name, words in commands():
        flags = {word for word in words if word.startswith("--")}
        known = {option.flag: option for option in VERBS[name].options if not option.positional}
        assert flags <= set(known), (file, name)
        assert {flag for flag, option in known.items() if option.is_required} <= flags, (file, name)


def test_help_lists_every_verb_by_group_and_needs_no_large_package():
    code = (
        "import sys; from thorax import cli; print(cli.Parser().format_help()); "
        "sys.exit(' '.join({'numpy', 'pandas', 'pyarrow', 'pydantic', 'yaml', 'shtab'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    listed = re.findall(r"^  ([a-z-]+)  ", done.stdout[done.stdout.index("by hand:") :], re.MULTILINE)
    assert listed == list(VERBS)
    assert [group for group in verbs.GROUPS if f"\n{group}:\n" not in done.stdout] == []


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["train", "--help"], ["dvc", "--help"]])
def test_what_ends_at_once(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(
        "thorax 0." if arguments == ["--version"] else f"usage: thorax {arguments[0] if arguments[1:] else ''}"
    )
    assert "--debug" in text or len(arguments) == 1


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_verbs_and_options(capsys, shell):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("merge-ingested", "--second-views", "f1_positive"))


def test_completion_for_bash_is_valid(capsys, tmp_path):
    main(["completion", "bash"])
    (tmp_path / "thorax.bash").write_text(capsys.readouterr().out)
    ask = f"source {tmp_path}/thorax.bash; COMP_WORDS=(thorax com); COMP_CWORD=1; _shtab_thorax; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["completion", "compare-splitters"]


def test_a_wrong_key_in_settings(capsys, tmp_path):
    status, text = run(
        capsys, "split", "--settings", "{labels: []}", "--labels", "x", "--out", tmp_path / "o", "--quality", tmp_path / "q"
    )
    assert status == 1
    assert text == "thorax: --settings: unknown key 'labels' (did you mean 'label_sets'?).\n"
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file(capsys, tmp_path):
    status, text = run(
        capsys, "ensemble", "--settings", "{rule: ctp, members: [a, b]}",
        "--predictions", tmp_path / "a.parquet", tmp_path / "b.parquet", "--out", tmp_path / "out.parquet",
    )  # fmt: skip
    assert status == 1
    assert text.count("\n") == 1
    assert "a.parquet is not there" in text
    assert list(tmp_path.iterdir()) == []


def test_a_tilde_that_the_shell_left_is_a_home_folder(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "table.md").write_text("a table\n")
    assert main(["show", "--table", "~/table.md"]) == 0
    assert capsys.readouterr().out == "a table\n"
    assert main(["config-reference", "--out=~/made"]) == 0
    assert (tmp_path / "home" / "made" / "configuration.md").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    with pytest.raises(SystemExit):
        main(["show", "--table", "~nobody-of-this-name/table.md"])
    assert "there is no such user" in capsys.readouterr().err


def test_a_pair_without_equals_sign(capsys, tmp_path):
    out = ("--out", tmp_path / "m.parquet", "--summary", tmp_path / "m.json", "--thresholds", tmp_path / "t.parquet")
    status, text = run(capsys, "metrics", "--labels", "l", "--split", "s", "--predictions", "path-only", *out)
    assert status == 1
    assert text == "thorax: --predictions 'path-only' is not of the form NAME=PATH: give each path a name.\n"


def test_debug_shows_the_error_itself(tmp_path):
    from thorax.errors import ThoraxError

    with pytest.raises(ThoraxError):
        main(["labels", "--debug", "--settings", "{}", "--archive", "nih", "--catalog", "c", "--out", "o", "--report", "r"])


def test_a_defect_of_ours_is_one_line_too(capsys, monkeypatch, tmp_path):
    from thorax.labels import cases

    monkeypatch.setattr(cases, "choose_cases", lambda **_: 1 / 0)
    status, text = run(capsys, "cases", "--labels", "l", "--split", "s", "--count", "1", "--out", tmp_path / "c")
    assert status == 1
    assert "unexpected ZeroDivisionError" in text
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["phantom", "--settings", "{}", "--root", "r", "--threads", "0"],
        ["cases", "--labels", "l", "--split", "s", "--out", "o", "--count", "-1"],
        ["cases", "--labels", "l", "--split", "s", "--out", "o", "--count", "1", "--seed", "-1"],
        ["metrics", "--labels", "l", "--split", "s", "--predictions", "a=b", "--out", "o", "--replicates", "0"],
        ["labels", "--settings", "{}", "--archive", "mimic", "--catalog", "c", "--out", "o", "--report", "r"],
        ["summary", "--labels", "a=b", "--splits", "a=b", "--out", "o"],  # no --provenance
        ["screening", "--ingested", "a=b", "--duplicates", "a=b", "--catalogs", "a=b", "--out", "o"],
    ],
)
def test_impossible_arguments_are_refused_before_the_step_starts(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"thorax {arguments[0]}: error: ")
    assert any(words in last for words in ("is not a whole number of", "invalid choice: 'mimic'", "required: --provenance"))


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["trian"], "(did you mean 'train'?)"),
        (["Download", "nih"], "(did you mean 'download'?)"),
        (["labels", "--settings", "{}", "--archive", "PadChest"], "(did you mean 'padchest'?)"),
        (
            ["summary", "--labels", "a=b", "--splits", "a=b", "--out", "o", "--provenance", "phantoms"],
            "(did you mean 'phantom'?)",
        ),
    ],
)
def test_a_misspelt_choice_is_suggested(capsys, arguments, suggestion):
    with pytest.raises(SystemExit):
        main(arguments)
    assert capsys.readouterr().err.splitlines()[-1].endswith(suggestion)


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["labels", "--setings", "{}"], "there is no option --setings (did you mean '--settings'?)"),
        (["metrics", "--replicate=5", "--labls=x"], "there is no option --labls (did you mean '--labels'?)"),
        (["bundle", "one", "--profile", "demo"], "there is no option --profile; put Snakemake's options after --"),
        (["bundle", "one", "-n"], "there is no option -n; put Snakemake's options after --"),
        (["cost", "--jsn", "--", "--cores", "8"], "there is no option --jsn (did you mean '--json'?)"),
    ],
)
def test_a_misspelt_option_is_suggested_before_a_missing_one_is_named(capsys, arguments, suggestion):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(suggestion)


def test_what_follows_two_hyphens_is_no_option_of_ours(capsys):
    arguments = vars(cli.Parser().parse_args(["cost", "--json", "--", "--cores", "8", "--config", "run=[a]"]))
    assert arguments["snakemake"] == ["--cores", "8", "--config", "run=[a]"]


def test_the_choices_are_those_of_the_configuration():
    assert get_args(config.Dataset.model_fields["archive"].annotation) == verbs.ARCHIVES
    assert get_args(config.Experiment.model_fields["provenance"].annotation) == verbs.PROVENANCE
    assert get_args(config.Experiment.model_fields["f1_metric"].annotation) == verbs.F1_METRICS
    assert set(verbs.ARCHIVES) == set(archives.ARCHIVES)


def test_values_reach_the_function_as_it_needs_them(monkeypatch):
    from thorax.labels import label_sets
    from thorax.report.tables import screening

    seen = []
    monkeypatch.setattr(screening, "make_screening", lambda **values: seen.append(values))
    monkeypatch.setattr(label_sets, "make_label_set", lambda **values: seen.append(values))
    tables = [
        "--ingested",
        "d=i=1",
        "--duplicates",
        "d=u",
        "--catalogs",
        "d=c",
        "--lungs",
        "d/s=1",
        "d/s=2",
        "e/s=3",
        "--splits",
    ]
    assert main(["screening", *tables, "--provenance", "phantom", "--out", "o"]) == 0
    assert seen[0]["ingested"] == {"d": Path("i=1")}
    assert seen[0]["lungs"] == {"d/s": [Path("1"), Path("2")], "e/s": [Path("3")]}
    assert seen[0]["splits"] == {}
    needed = ["--settings", "{dataset: d}", "--archive", "nih", "--catalog", "c", "--out", "o", "--report", "r"]
    assert main(["labels", *needed, "--named", "a=Mass", "a=Nodule"]) == 0
    assert seen[1]["named"] == [("a", "Mass"), ("a", "Nodule")]
    assert seen[1]["settings"] == config.LabelSet(dataset="d")
    assert (seen[1]["second_ingested"], seen[1]["second_views"], seen[1]["general"]) == (None, [], None)


def test_lungs_without_a_slash(capsys, tmp_path):
    status, text = run(
        capsys, "screening", "--ingested", "d=x", "--duplicates", "d=x", "--catalogs", "d=x", "--lungs", "d=path/to", "--provenance",
        "phantom", "--out", tmp_path / "o",
    )  # fmt: skip
    assert status == 1
    assert text.startswith("thorax: --lungs 'd=path/to' is not of the form DATASET/SEGMENTER=PATH")


@pytest.mark.parametrize("verb", [["show", "--table"], ["csv-page", "--title", "t", "--caption", "c", "--out", "o", "--csv"]])
def test_a_missing_text_file(capsys, tmp_path, verb):
    status, text = run(capsys, *verb, tmp_path / "missing.csv")
    assert status == 1
    assert text == f"thorax: {tmp_path / 'missing.csv'} is not there: run the step that makes it first.\n"


SLEEPER = """
import sys, time
from thorax import cli
from thorax.config import reference
from thorax.storage import store

def write_reference(out):
    with store.atomic(out / "out.csv"):
        print("inside", flush=True)
        time.sleep(60)

reference.write_reference = write_reference
sys.exit(cli.main(["config-reference", "--out", sys.argv[1]]))
"""


def test_a_terminated_step_leaves_nothing(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER, tmp_path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "inside\n"
    assert len(list(tmp_path.iterdir())) == 1
    process.send_signal(signal.SIGTERM)
    _, text = process.communicate(timeout=30)
    assert process.returncode == 143
    assert text == "thorax: terminated; nothing half-written was kept.\n"
    assert list(tmp_path.iterdir()) == []
