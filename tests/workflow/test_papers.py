"""Every experiment of the shipped configuration, shrunk (shrink.py), from raw files to every table and figure."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from thorax import cli, config
from thorax.report.typeset import content_of
from thorax.storage import store
from thorax.workflow.pages import CATALOGUE

from .conftest import ONE_THREAD, REPOSITORY, environment, snakemake

pytestmark = pytest.mark.slow
SHIPPED = yaml.safe_load((REPOSITORY / "config.yaml").read_text(encoding="utf-8"))
EXPERIMENTS = list(SHIPPED["experiments"])


@pytest.fixture(scope="module")
def study(papers_run) -> config.Config:
    return config.load(papers_run.parent / "config.yaml")


def test_every_experiment_is_run():
    assert sorted(SHIPPED["run"]) == sorted(EXPERIMENTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_each_model_of_an_experiment_has_test_results_by_every_rule(papers_run, study, name):
    experiment = study.experiments[name]
    table = store.read_table(papers_run / f"results/metrics/{name}.parquet")
    rows = table[(table["split"] == "test") & (table["class"] == "Global") & (table["metric"] == "hamming")]
    rules = [*experiment.thresholds, *(f"{rule}+exclusive" for rule in experiment.thresholds if experiment.exclusive)]
    models = [*experiment.members, *experiment.ensembles, "baseline"]
    assert len(rows) == len(models) * len(rules)
    assert set(rows["model"]) == set(models)
    assert rows["value"].between(0, 1).all()
    areas = table[(table["split"] == "test") & (table["class"] == "Global") & (table["metric"] == "auc")]
    assert areas.set_index("model").loc[models, "value"].notna().all()


def test_heatmaps_are_of_the_ensemble_whose_probability_they_show(papers_run, study):
    for name, experiment in study.experiments.items():
        page = (papers_run / f"results/figures/{name}/heatmaps.html").read_text(encoding="utf-8")
        assert f"{', '.join(experiment.explained)}.</p>" in page
        assert (f"votes are those of {experiment.mean}, the mean of " in page) == bool(experiment.mean)
    assert len(study.experiments["saturi2025"].explained) < len(study.experiments["saturi2025"].members)
    cases = store.read_table(papers_run / "results/cases/liz2022-specific.parquet")
    assert list(cases["chosen_for"]) == ["pacemaker", "pleural effusion", "normal"]  # Figures 7 to 9


class _Words(HTMLParser):
    """The words of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_s_tables_say_that_they_are_of_phantoms(papers_run, study, name):
    tables = {path.stem for path in (papers_run / "results/tables" / name).glob("*.html")}
    assert {"per_class", "global"} <= tables
    assert ({"beside_per_class", "beside_global"} <= tables) == (study.experiments[name].beside is not None)
    assert ({"thresholds", "rules"} <= tables) == (len(study.experiments[name].thresholds) > 1)
    for table in tables:
        words = "".join(_Words((papers_run / f"results/tables/{name}/{table}.html").read_text(encoding="utf-8")).words)
        assert "Phantom radiographs: these numbers show that the pipeline works" in words, table


def test_what_radiologists_labelled_is_tested_on_or_left_out(papers_run):
    catalog = store.read_table(papers_run / "results/catalog/chexpert.parquet", ["image_id", "view", "label_source"])
    checked = catalog[(catalog["label_source"] == "radiologists") & (catalog["view"] != "Lateral")]["image_id"]
    parts = store.read_table(papers_run / "results/splits/chexpert-radiologists.parquet").set_index("image_id")["split"]
    assert set(parts.index[parts == "test"]) == set(checked) != set()
    parts = store.read_table(papers_run / "results/splits/chexpert-frontal.parquet").set_index("image_id")["split"]
    assert set(parts.index[parts == "left_out"]) == set(checked)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_s_figures_are_pictures(papers_run, name):
    for figure in ("training", "heatmaps"):
        picture = papers_run / f"results/figures/{name}/{figure}.png"
        assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n", picture
        assert picture.stat().st_size > 10_000


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name.startswith("beltran2022")])
def test_the_kept_epoch_of_figure_2_is_what_the_metrics_say(papers_run, study, name):
    for figure in ("shares", "epochs"):
        assert (papers_run / f"results/figures/{name}/{figure}.png").stat().st_size > 10_000
    metrics = store.read_table(papers_run / f"results/metrics/{name}.parquet")
    metrics = metrics[(metrics["split"] == "test") & (metrics["class"] == "Global")]
    measured = metrics.set_index(["model", "threshold_rule", "metric"])["value"]
    for member in study.experiments[name].members:
        settings = study.experiments[name].member(member)
        tested = pd.read_csv(papers_run / f"results/epochs/{name}/{member}.csv")
        assert len(tested) == settings.epochs * (1 + len(settings.test_every_epoch))
        history = pd.read_csv(papers_run / f"results/history/{name}/{member}.csv").set_index("epoch")
        kept = tested[tested["epoch"] == history["val_loss"].idxmin()]
        probabilities = kept[kept["threshold"].isna()]
        assert probabilities["auc"].item() == pytest.approx(measured[member, "none", "auc"], abs=1e-3)
        for row in kept.dropna(subset="threshold").itertuples():
            rule = f"fixed-{row.threshold:g}"
            assert row.auc == pytest.approx(measured[member, rule, "auc_thresholded"], abs=1e-3)
            assert row.f1 == pytest.approx(measured[member, rule, "f1"], abs=1e-3)
            assert row.f1_positive == pytest.approx(measured[member, rule, "f1_positive"], abs=1e-3)


def test_the_balanced_split_has_as_many_images_without_a_finding_as_it_says(papers_run, study):
    labels = store.read_table(papers_run / "results/labels/nih-14-grey.parquet").set_index("image_id")
    without = ~(labels.drop(columns="patient_id") == 1).any(axis=1)
    plain, balanced = (
        store.read_table(papers_run / f"results/splits/nih-official-{name}.parquet").set_index("image_id")["split"]
        for name in ("grey", "balanced")
    )
    draw_down = study.splits["nih-official-balanced"].draw_down
    counts = balanced[without[balanced.index]].value_counts()
    assert (counts["train"], counts["test"]) == (draw_down.train, draw_down.test)
    stay = balanced != "left_out"
    assert (plain[stay] == balanced[stay]).all()
    assert not (~stay & ~without[balanced.index]).any()


def test_nothing_is_left_to_do(papers_run):
    dry = snakemake(papers_run, "--cores", "2", *ONE_THREAD, "--dry-run", config=papers_run.parent / "config.yaml")
    assert "Nothing to be done" in dry.stdout, dry.stdout[-3000:]


def test_pairs_of_files_are_predicted_as_the_run_predicted_them(papers_run, study, quick, tmp_path, monkeypatch):
    """A bundle of networks of two views; a CSV file names the frontal and the lateral image of each study."""
    folder, name = papers_run.with_name("bundled"), "padchest-two-views"  # as deep: some inputs have relative paths
    shutil.copytree(papers_run, folder, copy_function=shutil.copy2)
    how = ["--snakefile", REPOSITORY / "Snakefile", "--configfile", "../config.yaml", "--cores", "2"]
    command = ["thorax", "bundle", name, "--", *how]
    made = subprocess.run(command, cwd=folder, env=environment(quick), capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr[-3000:]
    monkeypatch.chdir(folder)
    label_set = study.label_sets[study.experiments[name].label_set]
    catalog = store.read_table(f"results/catalog/{label_set.dataset}.parquet").set_index("image_id")["path"]
    seconds = store.read_table(f"results/pairs/{study.experiments[name].label_set}.parquet").set_index("image_id")["second_id"]
    expected = store.read_table(f"results/ensembles/{name}/CTP.parquet").set_index("image_id").drop(columns="split")
    root = (folder / study.datasets[label_set.dataset].root).resolve()
    both = {"frontal": expected.index, "lateral": seconds.loc[expected.index]}
    rows = {view: [root / catalog[image] for image in images] for view, images in both.items()}
    pd.DataFrame(rows).to_csv(tmp_path / "pairs.csv", index=False)
    words = [f"results/bundles/{name}.zip", tmp_path / "pairs.csv", "--out", tmp_path / "p.parquet", "--wide", "--threads", "1"]
    assert cli.main(["predict", *map(str, words)]) == 0
    found = store.read_table(tmp_path / "p.parquet")
    assert found["path"].tolist() == [str(path) for path in rows["frontal"]]
    np.testing.assert_allclose(found[expected.columns], expected, atol=2e-4)  # swapped views differ by more


def test_the_ablation_has_a_column_for_each_variant(papers_run, study):
    for name, ablation in study.ablations.items():
        frame = pd.read_csv(papers_run / f"results/tables/ablations/{name}/ablation.csv")
        assert list(dict.fromkeys(frame["experiment"])) == ablation.experiments
        metrics = {one: store.read_table(papers_run / f"results/metrics/{one}.parquet") for one in ablation.experiments}
        for row in frame[frame["ours"].notna()].itertuples():
            own = metrics[row.experiment]
            same = (own["model"] == row.model) & (own["metric"] == row.metric) & (own["split"] == "test")
            same &= (own["class"] == "Global") & own["threshold_rule"].isin(["none", "fixed-0.5"])
            assert row.ours == pytest.approx(own.loc[same, "value"].item())


def test_learning_ensembles_are_made_from_validation_images_alone(papers_run, study):
    """Test labels must not matter: what the stacked ensemble says follows from logits and validation labels."""
    from sklearn.linear_model import LogisticRegression

    name = "kejriwal-nih"
    members = study.experiments[name].ensembles["stacked"].members
    labels = store.read_table(papers_run / f"results/labels/{study.experiments[name].label_set}.parquet").set_index("image_id")
    logits = [
        store.read_table(papers_run / f"results/predictions/{name}/{member}.parquet").set_index("image_id")
        for member in members
    ]
    stacked = store.read_table(papers_run / f"results/ensembles/{name}/stacked.parquet").set_index("image_id")
    val, test = (logits[0].index[logits[0]["split"] == part] for part in ("val", "test"))
    checked = 0
    for column in stacked.columns.drop("split"):
        truth = labels.loc[val, column]
        if set(truth) != {0, 1}:
            continue
        fitted = LogisticRegression(tol=1e-8, max_iter=10_000).fit(np.stack([one.loc[val, column] for one in logits], 1), truth)
        expected = fitted.predict_proba(np.stack([one.loc[test, column] for one in logits], 1))[:, 1]
        np.testing.assert_allclose(stacked.loc[test, column], expected, atol=2e-3)
        checked += 1
    assert checked >= 3


def test_the_summary_of_metrics_is_what_dvc_shows(papers_run):
    for name in EXPERIMENTS:
        summary = json.loads((papers_run / f"results/metrics/{name}/baseline.json").read_text())
        assert 0 < summary["auc"] < 1


def test_the_overview_has_every_experiment_and_the_hours_that_it_took(papers_run, study):
    frame = pd.read_csv(papers_run / "results/tables/overview.csv").set_index("experiment")
    assert list(frame.index) == study.run
    assert (frame["provenance"] == "phantom").all()
    assert frame.filter(like="difference").isna().all(axis=None)
    for name, row in frame.iterrows():
        metrics = store.read_table(papers_run / f"results/metrics/{name}.parquet")
        areas = metrics[(metrics["class"] == "Global") & (metrics["metric"] == "auc") & (metrics["split"] == "test")]
        assert row["auc"] == pytest.approx(areas.set_index("model")["value"][row["model"]])
    page = (papers_run / "results/tables/overview.html").read_text(encoding="utf-8")
    assert page.count("hours, no GPU") == len(study.run)
    assert "not recorded" not in page
    assert "GPU-hours<" not in page


def test_each_paper_has_a_page_with_all_of_its_tables_and_figures(papers_run, study):
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (papers_run / "results/papers").glob("*.html")}
    assert set(pages) == {"liz2022", "saturi2025", "kejriwal", "beltran2022", "beyond"}
    beyond = {Path(entry.path).stem for entry in CATALOGUE.values() if entry.beyond and "{experiment}" in entry.path}
    for name in study.run:
        page = pages[study.experiments[name].paper or "beyond"]
        for made in [
            *(papers_run / "results/tables" / name).glob("*.html"),
            *(papers_run / "results/figures" / name).glob("*.html"),
        ]:
            gathered = page if made.stem not in beyond else pages["beyond"]
            assert content_of(made) in gathered, made
    for page in pages.values():
        assert "Run on: phantom." in page
        assert set(re.findall(r'src="(.{11})', page)) == {"data:image/"}
        links = set(re.findall(r'href="([^"]+)"', page))
        assert {link for link in links if not link.startswith("https://")} <= {
            f"#{name}" for name in re.findall(r' id="([^"]+)"', page)
        }
