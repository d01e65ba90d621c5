"""The command line: one sentence on stderr, an exit status, nothing written."""

import signal
import subprocess
import sys

import pytest

from thorax import archives, config
from thorax.cli import _choices, main


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    return status, capsys.readouterr().err


def test_every_verb_has_a_help_text(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    listed = capsys.readouterr().out
    verbs = [line.split()[0] for line in listed.splitlines() if line.startswith("    ") and not line.startswith("     ")]
    verbs.remove("VERB") if "VERB" in verbs else None
    assert {"ingest", "train", "metrics", "tables"} <= set(verbs)
    for verb in verbs:
        with pytest.raises(SystemExit) as caught:
            main([verb, "--help"])
        assert caught.value.code == 0
        assert "--debug" in capsys.readouterr().out


def test_a_wrong_key_in_settings(capsys, tmp_path):
    status, text = run(
        capsys, "split", "--settings", "{labels: []}", "--labels", "x", "--out", tmp_path / "o", "--quality", tmp_path / "q"
    )
    assert status == 1
    assert (
        text == "thorax: --settings: labels is not a known key (did you mean 'label_sets'?); remove it or correct its name.\n"
    )
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
    out = ("--out", tmp_path / "m.parquet", "--summary", tmp_path / "m.json")
    status, text = run(capsys, "metrics", "--labels", "l", "--split", "s", "--predictions", "path-only", *out)
    assert status == 1
    assert "'path-only' is not of the form NAME=PATH" in text


def test_debug_shows_the_error_itself(tmp_path):
    from thorax.errors import ThoraxError

    with pytest.raises(ThoraxError):
        main(["labels", "--debug", "--settings", "{}", "--archive", "nih", "--catalog", "c", "--out", "o", "--report", "r"])


def test_a_defect_of_ours_is_one_line_too(capsys, monkeypatch, tmp_path):
    from thorax.explanation import gradcam

    monkeypatch.setattr(gradcam, "choose_cases", lambda *_: 1 / 0)
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
        ["summary", "--labels", "a=b", "--splits", "a=b", "--out", "o"],  # no --data
        ["screening", "--ingested", "a=b", "--duplicates", "a=b", "--catalogs", "a=b", "--out", "o"],
    ],
)
def test_impossible_arguments_are_refused_before_the_step_starts(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"thorax {arguments[0]}: error: ")
    assert any(words in last for words in ("is not a whole number of", "invalid choice: 'mimic'", "required: --data"))


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["trian"], "(did you mean 'train'?)"),
        (["Download", "nih"], "(did you mean 'download'?)"),
        (["labels", "--settings", "{}", "--archive", "PadChest"], "(did you mean 'padchest'?)"),
        (["summary", "--labels", "a=b", "--splits", "a=b", "--out", "o", "--data", "phantoms"], "(did you mean 'phantom'?)"),
    ],
)
def test_a_misspelt_choice_is_suggested(capsys, arguments, suggestion):
    with pytest.raises(SystemExit):
        main(arguments)
    assert capsys.readouterr().err.splitlines()[-1].endswith(suggestion)


def test_the_archives_of_the_command_line_are_those_of_the_registry():
    assert set(_choices(config.Dataset, "archive")) == set(archives.ARCHIVES)


def test_lungs_without_a_slash(capsys, tmp_path):
    status, text = run(
        capsys, "screening", "--ingested", "d=x", "--duplicates", "d=x", "--catalogs", "d=x", "--lungs", "d=path/to", "--data",
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

def write_reference(folder):
    with store.atomic(folder / "out.csv"):
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
