"""What `thorax record` refuses names a command that a shell takes as it is written."""

from types import SimpleNamespace

import pytest

from thorax.errors import ThoraxError
from thorax.workflow import dvc


def test_the_command_that_record_asks_for_is_quoted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    monkeypatch.setattr(dvc, "checked", lambda: [SimpleNamespace(name="split", reason="Missing output files")])
    monkeypatch.setattr(dvc, "snakemake_arguments", lambda: ["--cores", "8", "--config", "run=[a, b]"])
    with pytest.raises(ThoraxError, match=r"type `snakemake --cores 8 --config 'run=\[a, b\]'` first"):
        dvc.record()
