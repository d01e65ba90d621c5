"""YAML that contradicts itself, or is none, is refused with the file and the line."""

from pathlib import Path

import pytest
import yaml

from thorax.config import strict_yaml
from thorax.errors import ThoraxError

ROOT = Path(__file__).parents[3]

MEMBER_TWICE = """experiments:
  x:
    members:
      A: {backbone: cnn}
      B: {backbone: cnn}
      A: {backbone: Xception}
"""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a:\n  epochs: 3\n  batch: 1\n  epochs: 1\n", "x: a.epochs is written twice, in lines 2 and 4; remove one of the two."),
        (MEMBER_TWICE, "x: experiments.x.members.A is written twice, in lines 4 and 6;"),
        ("a: 1\nb: 2\na: 1\n", "x: a is written twice, in lines 1 and 3;"),
        ("a: {b: 1, b: 1}", "x: a.b is written twice, in line 1;"),
        ('{"a": 1,\n"a": 2}', "x: a is written twice, in lines 1 and 2;"),
        ("a: [{}, {b: 1,\n b: 2}]", "x: a.1.b is written twice, in lines 1 and 2;"),
        ("yes: 1\ntrue: 2", "x: true is written twice, in lines 1 and 2;"),
        ('a: 1\n"a": 2', "x: a is written twice"),
        ("a: &a {b: 1}\nc:\n  <<: *a\n  <<: *a", "x: c.<< is written twice, in lines 3 and 4;"),
        ("", "x is empty:"),
        ("# only a comment\n---\n", "x is empty:"),
        ("\n- a\n- b\n", "x, line 2: expected keys with values, not a list;"),
        ("epochs=3", "x, line 1: expected keys with values, not 'epochs=3';"),
        ("a: 1\nrun: [b\nc: {}\n", "x, line 3: not valid YAML (while parsing a flow sequence, which begins in line 2, expected"),
        ("a: {b: 1", "x, line 1: not valid YAML (while parsing a flow mapping, which begins in line 1, expected"),
        ('a:\n  b: "c\nd: e\n', "x, line 4: not valid YAML (while scanning a quoted scalar, which begins in line 2, found unexpected"),
        ("a:\n  b: 1\n c: 2\n", "x, line 3: not valid YAML (while parsing a block mapping"),
        ("a:\n\tb: 1\n", "x, line 2: a tab cannot indent YAML; use blanks."),
        ("a: *b\n", "x, line 1: not valid YAML (found undefined alias 'b')"),
        ("a: !include b.yaml\n", "x, line 1: not valid YAML (could not determine a constructor"),
        ("a: 1\n---\nb: 2\n", "x, line 2: not valid YAML (expected a single document"),
        ("a: 1\nb: \x00\n", "x, line 2: control character #x00; remove it."),
        ("a: 2022-02-30\n", "x is not valid YAML (day is out of range for month): put text that looks like a date in quotes."),
        ("a: " + "[" * 5000, "x is nested too deeply:"),
        ("b: 1\na: {epochs: 010}", "x, line 2: a.epochs is 010, which YAML reads as 8; write a decimal number, or put text in quotes."),
        ("a: [1, 1:30]", "x, line 1: a.1 is 1:30, which YAML reads as 90;"),
        ("a: 1:30.5", "x, line 1: a is 1:30.5, which YAML reads as 90.5;"),
        ("a: 0x10", "x, line 1: a is 0x10, which YAML reads as 16;"),
        ("a: -0b11", "x, line 1: a is -0b11, which YAML reads as -3;"),
        ("[a]: 1\n[a]: 2\n", "x, line 1: not valid YAML (while constructing a mapping"),
    ],
)  # fmt: skip
def test_faults_are_one_sentence_with_the_line(text, sentence):
    with pytest.raises(ThoraxError) as caught:
        strict_yaml.parse(text, "x")
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_anchors_and_merge_keys_stay_usable():
    text = """
base: &base {epochs: 3, batch: 8}
second: &second
  <<: *base
  epochs: 5
third:
  <<: [*second, *base]
  batch: 2
again: {<<: *second, epochs: 7}
same: *second
"""
    assert strict_yaml.parse(text, "x") == yaml.safe_load(text)
    assert strict_yaml.parse(text, "x")["again"] == {"epochs": 7, "batch": 8}


def test_decimal_numbers_stay_numbers():
    text = "{a: 0, b: -7, c: +12, d: 1_000, e: 0.01, f: 1.0e-3, g: '010', h: '1:30', i: 2022-02-03}"
    assert strict_yaml.parse(text, "x") == yaml.safe_load(text)
    assert strict_yaml.parse(text, "x")["d"] == 1000


@pytest.mark.parametrize("path", ["config.yaml", "demo/experiment.yaml", "tests/workflow/tiny/config.yaml"])
def test_shipped_files_are_read_as_before(path):
    assert strict_yaml.read(ROOT / path) == yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_files_that_are_not_utf8_or_not_there(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_bytes("a: 1\ntitle: Müller\n".encode("latin-1"))
    with pytest.raises(ThoraxError) as caught:
        strict_yaml.read(file)
    assert str(caught.value) == f"{file}, line 2: byte 0xfc is not UTF-8; save the file as UTF-8."
    file.write_bytes("\ufefftitle: Müller\n".encode())  # with a byte order mark
    assert strict_yaml.read(file) == {"title": "Müller"}
    with pytest.raises(ThoraxError, match="cannot be read"):
        strict_yaml.read(tmp_path)


@pytest.mark.parametrize(
    "option",
    [
        ("--configfile", "good.yaml", "mine.yaml"),
        ("-n", "--profile", "mine"),
        ("--profile", "good", "--profile", "mine"),  # Snakemake merges profiles
        ("--configfiles=mine.yaml",),
    ],
)
def test_files_that_snakemake_loads_before_the_snakefile(tmp_path, monkeypatch, option):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["snakemake", "--cores", "1", *option])
    (tmp_path / "good.yaml").write_text("run: []")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text("cores: 1\nconfigfile: mine.yaml\n")
    (tmp_path / "mine.yaml").write_text("run: []")
    strict_yaml.check_command_line()
    (tmp_path / "mine.yaml").write_text("run: [a\n")
    with pytest.raises(SystemExit, match=r"mine.yaml, line 2: not valid YAML"):
        strict_yaml.check_command_line()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--configfile", "good.yaml", "--configfile", "good.yaml"],
            "--configfile is given twice, and Snakemake takes the last",
        ),
        (["--config", "run=[a]", "--config", "device=gpu"], "--config is given twice"),
        (["--config", "run=[a]", "run=[b]"], "--config: run is written twice; remove one of the two."),
        (
            ["--config", "device=gpu", "experiments={e: {cases: 3, cases: 5}}"],
            "--config: experiments.e.cases is written twice, in",
        ),
        (["--config", "run=[a, {b: 1, b: 2}]"], "--config: run.1.b is written twice, in"),
        (["--profile", "twice"], "twice/config.yaml: cores is written twice, in lines 1 and 2;"),
    ],
)
def test_options_of_which_snakemake_would_take_the_last(tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text("run: []")
    (tmp_path / "twice").mkdir()
    (tmp_path / "twice" / "config.yaml").write_text("cores: 1\ncores: 2\n")
    monkeypatch.setattr("sys.argv", ["snakemake", *arguments])
    with pytest.raises(SystemExit) as caught:
        strict_yaml.check_command_line()
    assert sentence in str(caught.value)
