"""The command line: one sentence on stderr, an exit status, nothing written."""

import pytest

from thorax.cli import main


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
    assert text == "thorax: --settings: label_sets is missing; add it.\n"
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


def test_a_pair_without_equals_sign(capsys, tmp_path):
    status, text = run(
        capsys, "metrics", "--labels", "l", "--split", "s", "--predictions", "path-only", "--out", tmp_path / "m.parquet"
    )
    assert status == 1
    assert "'path-only' is not of the form NAME=PATH" in text


def test_debug_shows_the_error_itself(tmp_path):
    from thorax.errors import ThoraxError

    with pytest.raises(ThoraxError):
        main(["labels", "--debug", "--settings", "{}", "--archive", "nih", "--catalog", "c", "--out", "o", "--report", "r"])


def test_a_defect_of_ours_is_one_line_too(capsys, monkeypatch, tmp_path):
    from thorax import explain

    monkeypatch.setattr(explain, "choose_cases", lambda *_: 1 / 0)
    status, text = run(capsys, "cases", "--labels", "l", "--split", "s", "--count", "1", "--out", tmp_path / "c")
    assert status == 1
    assert "unexpected ZeroDivisionError" in text
    assert text.count("\n") == 1
