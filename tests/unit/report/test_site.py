"""The results site: what its pages say, pictures that are files, and the site in one page."""

import base64
import json
import re
import zipfile

import numpy as np
import pytest

from thorax import cli
from thorax.config import Config, Site, parse_text
from thorax.report import cells, site, typeset
from thorax.storage import schemas, store

from .test_overview import LABELS, NUMBERS, SPLIT, metrics, row, setup

PICTURES = [b"first", b"second"]


def said(*words: object, **changes: object) -> str:
    return " ".join(site._sentences(row(*words, **changes)))


def test_the_sentences_say_what_was_run_what_came_out_and_how_it_compares():
    assert site._sentences(row()) == [
        "2 networks and 3 ensembles learnt to find 2 classes in 3 radiographs of PadChest, and were tested on 2 of other patients.",
        "CTP was the best on the 1 validation images, apart from ensembles that learn from these images. Its mean AUC on the test images is 0.840 (95% interval 0.830–0.860), "
        "below the 0.970 of the baseline, a logistic regression on small images.",
        "Liz et al. 2022 report 0.840 for CTP.",
    ]


def test_a_single_network_is_not_the_best_of_several():
    (first, second, *_) = site._sentences(row(members={"Xception": {"backbone": "Xception"}}, ensembles={}))
    assert first.startswith("1 network learnt to find 2 classes in 3 radiographs of PadChest, and was tested on 2 of")
    assert second.startswith("The mean AUC on the test images is 0.780 (")


@pytest.mark.parametrize("data", ["phantom", "sample"])
def test_what_is_not_the_archive_is_not_compared_with_the_paper(data):
    assert "The two cannot be compared: ours were not measured on the paper's archive." in said(data)
    assert "report" not in said(data, beside=None)
    assert {"phantom": "3 synthetic radiographs in the form of PadChest", "sample": "3 radiographs of a small sample"}[
        data
    ] in said(data)


def test_an_undefined_auc_has_no_interval():
    undefined = {name: (value, np.nan, *rest) for name, (value, _, *rest) in NUMBERS.items()}
    assert "on the test images is –, next to the – of the baseline" in said(numbers=undefined)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A folder with the files of one experiment and two pages, and the words of the verb."""
    monkeypatch.chdir(tmp_path)
    store.write_table(metrics(classes={"x": 0.9, "y": 0.7}), "results/metrics/a.parquet", schemas.METRICS)
    store.write_table(LABELS, "results/labels/s.parquet", schemas.labels_schema(["x", "y"]))
    store.write_table(SPLIT.assign(patient_id=list("12345678")), "results/splits/p.parquet", schemas.SPLITS)
    table = typeset.Table("Global", "Means.", "", (typeset.Group("AUC"),), "Model", (("CTP", (typeset.Cell("0.840"),)),))
    store.write_text(typeset.html(table), "results/tables/a/global.html")
    store.write_text("a,b\n", "results/tables/a/global.csv")
    store.write_text(
        typeset.picture_page("Heatmaps", [(picture, 800) for picture in PICTURES]), "results/figures/a/heatmaps.html"
    )
    pages = [
        {
            "heading": name,
            "page": f"results/{path}.html",
            "category": "Study",
            "experiments": ["a"],
            "caption": name if name == "heatmaps" else None,
        }
        for name, path in (("global", "tables/a/global"), ("heatmaps", "figures/a/heatmaps"))
    ]
    one = setup("phantom")
    config = Config(
        datasets={"chest": one.dataset}, label_sets={"s": one.label_set}, splits={"p": one.split}, image_sets={"i": one.image_set},
        experiments={"a": one.experiment}, run=["a"],
    )  # fmt: skip
    settings = Site(title="Results", config=config, pages=pages, captions={"heatmaps": "What it shows."})
    named = [f"--{flag}" for flag in ("metrics", "labels", "splits")]
    files = [f"a=results/{name}.parquet" for name in ("metrics/a", "labels/s", "splits/p")]
    words = [word for pair in zip(named, files, strict=True) for word in pair]
    return tmp_path, ["site", "--settings", settings.model_dump_json(), *words, "--out", "results/index.html"]


def test_pictures_are_files_once_each_and_tables_have_their_other_forms(run):
    folder, words = run
    assert cli.main(words) == 0
    index, heatmaps, table = (
        (folder / "results" / name).read_text()
        for name in ("index.html", "site/figures-a-heatmaps.html", "site/tables-a-global.html")
    )
    assert "data:image" not in index + heatmaps + table
    files = sorted((folder / "results/site/pictures").iterdir())
    assert sorted(path.read_bytes() for path in files) == sorted(PICTURES)
    assert all(f'src="pictures/{path.name}"' in heatmaps and f'src="site/pictures/{path.name}"' in index for path in files)
    assert '<a href="../tables/a/global.csv">CSV</a>' in table
    assert "0.840" in index  # the only experiment's table is on the entry page
    assert base64.b64encode(PICTURES[0]).decode() not in index


def test_what_a_training_noted_of_its_first_weights_is_on_the_page_of_its_experiment(run):
    folder, words = run
    remark = "b.zip learnt from the archive nih as well: test patients may be among those that it learnt from."
    for name, weights in (
        ("a/x", {"remark": remark}),
        ("a/y", {}),
        ("a/z", {"remark": remark}),
        ("other/w", {"remark": "Not ours."}),
    ):
        store.write_text(json.dumps({"device": "CPU", "seconds": 60, "weights": weights}), f"results/history/{name}.json")
    records = [str(path) for path in sorted((folder / "results/history").rglob("*.json"))]
    assert cli.main([*words, "--records", *records]) == 0
    index = (folder / "results/index.html").read_text()
    assert f'<p class="lead">About the weights that x and z started from: {remark}</p>' in index
    assert "Not ours." not in index


def test_the_same_site_twice_is_the_same(run):
    folder, words = run
    assert cli.main(words) == cli.main(words) == 0
    pages = {path: path.read_bytes() for path in (folder / "results/site").rglob("*") if path.is_file()}
    assert len(pages) == 5  # two pages, two pictures, the configuration
    assert cli.main(words) == 0
    assert all(path.read_bytes() == content for path, content in pages.items())


def test_each_page_says_who_made_it_and_how_to_make_it_again(run):
    folder, words = run
    assert cli.main(words) == 0
    table, index = (folder / "results/site/tables-a-global.html").read_text(), (folder / "results/index.html").read_text()
    for text in (table, index):
        assert "<dt>Seeds</dt><dd>split 0; networks 0; intervals and cases 0</dd>" in text
        assert 'config.yaml">as a file</a>' in text
        assert '<a href="https://arxiv.org/abs/2207.14408">' in text
    assert "snakemake --cores 1 --configfile results/site/config.yaml --force results/tables/a/global.html\n" in table
    assert "<dt>Decisions</dt>" in index  # the settings in words
    assert parse_text(Config, (folder / "results/site/config.yaml").read_text(), "config.yaml").run == ["a"]


def test_a_figure_leads_to_the_notebook_that_drew_it_and_its_page(run):
    folder, words = run
    cells = [{"cell_type": "code", "source": "show(figure)", "metadata": {}, "outputs": []}]
    store.write_text(json.dumps({"cells": cells}), "results/notebooks/a/heatmaps.ipynb")
    settings = json.loads(words[2])
    settings["pages"][1]["notebook"] = "results/notebooks/a/heatmaps.ipynb"
    words[2] = json.dumps(settings)
    assert cli.main(words) == 0
    figure, table, notebook = (
        (folder / f"results/site/{name}.html").read_text()
        for name in ("figures-a-heatmaps", "tables-a-global", "notebooks-a-heatmaps")
    )
    links = '<a href="notebooks-a-heatmaps.html">its notebook</a><a href="../notebooks/a/heatmaps.ipynb">as a file</a>'
    assert links in figure
    assert "its notebook" not in table
    assert "<h1>How it was made: heatmaps</h1>" in notebook
    assert "<code>show(figure)</code>" in notebook
    assert "cp results/notebooks/a/heatmaps.ipynb mine.ipynb" in notebook
    assert '<a href="../notebooks/a/heatmaps.ipynb">' in notebook


def test_the_case_browser_is_a_link_and_goes_into_the_zip(run):
    folder, words = run
    for name in ("cases/a/cases-1.html", "records/a.parquet", "records/a.coco.json"):
        store.write_text("whole", f"results/{name}")
    settings = json.loads(words[2])
    settings["pages"].append(
        {"heading": "Case browser", "page": "results/cases/a/cases-1.html", "category": "Study", "experiments": ["a"]}
    )
    words[2] = json.dumps(settings)
    assert cli.main(words) == 0
    text = (folder / "results/site/cases-a-cases-1.html").read_text()
    assert '<a href="../cases/a/cases-1.html">Open the cases</a>' in text
    assert '<a href="../records/a.parquet">Parquet (all test images)</a>' in text
    for name in ("all.zip", "all.html"):
        assert cli.main(["share", "--index", "results/index.html", "--out", name]) == 0
    with zipfile.ZipFile("all.zip") as archive:
        assert {"results/cases/a/cases-1.html", "results/records/a.coco.json"} <= set(archive.namelist())
    assert "Open the cases" not in (folder / "all.html").read_text()  # one page cannot have another one inside


def test_the_chart_has_a_row_for_each_class_and_the_mean():
    """From 0.4, the multiple of 0.1 below the smallest number: 0.6 is at a third of the axis, 0.7 at a half."""
    chart = site._chart(row(classes={"x": 0.7, "y": 0.45}))
    assert [(line["name"], line["images"]) for line in chart["rows"]] == [("X", "2"), ("Y", "0"), ("Mean of all", "2")]
    assert chart["ends"] == ("0.4", "1")
    assert chart["chance"] == "16.7%"
    assert chart["rows"][0]["places"] == dict.fromkeys(("value", "low", "high", "baseline"), "50.0%")
    assert chart["rows"][2]["text"] == cells.Cell("0.840", detail="0.830–0.860")
    undefined = site._chart(row(classes={"x": 0.7, "y": np.nan}))["rows"][1]
    assert (undefined["text"].text, undefined["places"]) == ("–", {})


def test_one_page_has_all_pages_and_their_pictures(run):
    folder, words = run
    assert cli.main(words) == 0
    page = folder / "results/site/tables-a-global.html"
    store.write_text(
        page.read_text().replace("<main>", '<main>\n<p class="forms">How: <a href="notebook.html">its notebook</a></p>'), page
    )
    assert cli.main(["share", "--index", "results/index.html", "--out", "all.html"]) == 0
    text = (folder / "all.html").read_text()
    assert {f"data:image/webp;base64,{base64.b64encode(picture).decode()}" for picture in PICTURES} <= set(
        re.findall('src="([^"]*)"', text)
    )
    for name in ("tables-a-global", "figures-a-heatmaps", "index.settings"):
        assert f'id="{name}"' in text
        assert f'href="#{name}"' in text
    assert "its notebook" not in text  # a page that the entry page does not list
    csv = base64.b64encode(b"a,b\n").decode()
    assert f'<a download="global.csv" href="data:text/csv;base64,{csv}">CSV</a>' in text
    assert cli.main(["share", "--index", "results/index.html", "--out", "all.pdf"]) == 1


@pytest.mark.parametrize("out", ["all.html", "all.zip"])
def test_a_linked_file_that_is_not_there_is_a_sentence(run, capsys, out):
    folder, words = run
    assert cli.main(words) == 0
    (folder / "results/tables/a/global.csv").unlink()
    assert cli.main(["share", "--index", "results/index.html", "--out", out]) == 1
    assert "global.csv is not there, but results/" in capsys.readouterr().err
    assert not (folder / out).exists()


def test_a_page_that_is_not_there_is_a_sentence(run, capsys):
    folder, words = run
    (folder / "results/figures/a/heatmaps.html").unlink()
    assert cli.main(words) == 1
    assert "thorax: results/figures/a/heatmaps.html is not there: run the step that makes it first." in capsys.readouterr().err
    assert cli.main(["share", "--index", "results/index.html", "--out", "site.zip"]) == 1
    assert "thorax: results/index.html is not there: run the workflow first." in capsys.readouterr().err
