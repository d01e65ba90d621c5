"""The stages and plots of dvc.yaml, and the command that `thorax record` names."""

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


def test_plots_have_one_curve_per_network_and_the_pictures():
    outputs = {
        "train": ("results/epochs/e/A.csv", "results/history/e/A.csv", "results/history/e/A.json", "results/models/e/A.keras"),
        "train-B": ("results/history/e/B.csv",),
        "heatmaps": ("results/figures/e/heatmaps.png", "results/notebooks/e/heatmaps.ipynb"),
        "roc": ("results/figures/e/roc.html", "results/figures/e/roc.png", "results/figures/e/training.png"),
    }
    *curves, heatmaps, roc = dvc._plots([SimpleNamespace(outputs=paths) for paths in outputs.values()])
    assert [heatmaps, roc] == [{"results/figures/e/heatmaps.png": None}, {"results/figures/e/roc.png": None}]
    assert [name for curve in curves for name in curve] == ["Training loss of e", "Validation loss of e", "Validation AUC of e"]
    assert curves[1]["Validation loss of e"] == {
        "template": "curves",
        "x": "epoch",
        "y": {"results/history/e/A.csv": "val_loss", "results/history/e/B.csv": "val_loss"},
        "y_label": "Validation loss",
    }


def test_a_folder_of_metrics_is_git_s_and_its_parquet_is_dvc_s():
    job = SimpleNamespace(
        rule="metrics",
        name="metrics-e",
        message="",
        inputs=("a.parquet",),
        outputs=("results/metrics/e", "results/metrics/e.parquet", "results/tables/e/global.csv"),
    )
    stage = dvc._stage(job)
    assert stage["metrics"] == [{"results/metrics/e": {"cache": False}}]
    assert stage["outs"] == ["results/metrics/e.parquet", {"results/tables/e/global.csv": {"cache": False}}]
