"""The papers' pages: settings in words, and sections in order."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from thorax import cli, config
from thorax.errors import ThoraxError
from thorax.report import pages as papers
from thorax.report import published_numbers as reference
from thorax.report import typeset
from thorax.report.tables.results import DATA_SENTENCES
from thorax.storage import store

from .test_overview import study

ROOT = Path(__file__).parents[3]


def test_settings_are_told_in_the_papers_words():
    """Table 2 of Liz et al. 2022 from the shipped configuration."""
    blocks = config.load(ROOT / "config.yaml")
    experiment = blocks.experiments["liz2022-specific"]
    told = papers.describe(
        config.Study(
            experiment=experiment,
            label_set=blocks.label_sets[experiment.label_set],
            split=blocks.splits[experiment.split],
            image_set=blocks.image_sets[experiment.image_set],
            dataset=blocks.datasets["padchest"],
        )
    )
    assert told["Radiographs"] == "PadChest, all usable radiographs; views PA"
    assert told["Classes"] == "the archive's own labels; at least 1,000 images; images without any of the classes left out"
    assert told["Parts"] == "patients divided into training, validation and test images as 70 : 10 : 20; seed 2022"
    assert told["Network input"].startswith("224 x 224 pixels; cropped to the lungs (segmenter lungs)")
    assert told["Networks"] == "DenseNet201, EfficientNetB0, InceptionV3, InceptionResNetV2, Xception"
    assert told["Training"] == (
        "ImageNet weights, first 10% of the convolutional layers fixed; mean of the features, then 512 hidden units with dropout 0.2; "
        "cross-entropy, positives weighted by negatives / positives to the power 0.65; Adam 0.0001, batches of 32; "
        "at most 350 epochs, ended after 25 without improvement; augmentation: rotation 45°, shifts 0.1 and 0.1, shear 0.1°, zoom 0.1, "
        "horizontal flip, brightness 0.7 to 1.1, intensity shift 0.05"
    )
    assert told["Ensembles"].startswith(
        "PTC-mode (most frequent label set); PTC-lw (majority of the votes per label); CTP (mean prob"
    )
    assert told["Heatmaps"] == "12 test images, first one each with pacemaker, pleural effusion, normal"
    assert "Tables 8 and 9" in told["Published numbers"]
    assert "Further settings" not in told


def test_what_networks_do_not_share_stands_beside_each():
    attentive = {"backbone": "Xception", "weights": "none", "freeze": 0, "head": "attention", "accumulate": 8, "min_delta": 0.5}
    plain = {"backbone": "cnn", "weights": "none", "freeze": 0, "loss": "mae", "min_delta": 0.5}
    members = {"plain": plain, "Xception": attentive, "again": attentive}
    told = papers.describe(study(members=members, ensembles={}, beside=None, thresholds=["fixed-0.4", "f1"], exclusive="x"))
    assert told["Networks"] == (
        "plain (cnn): mean of the features, then 512 hidden units with dropout 0.2, mean absolute error of the probabilities, "
        "Adam 0.0001, batches of 32; Xception, again (Xception): location-based attention, then 512 hidden units with dropout 0.2, "
        "cross-entropy, positives weighted by negatives / positives to the power 0.65, Adam 0.0001, batches of 32 accumulated to 256"
    )
    assert told["Training"].startswith("from scratch; at most 350 epochs")
    assert told["Training"].endswith("min delta: 0.5")  # a setting without words of its own is shown by its name
    assert (told["Ensembles"], told["Decisions"]) == (
        "none", "thresholds fixed-0.4, f1; x excludes the rest; F1-score: mean over the positive and the negative class",
    )  # fmt: skip
    assert "Published numbers" not in told


@pytest.mark.parametrize(
    ("block", "setting", "topic", "words"),
    [
        ("experiment", {"f1_metric": "f1_positive"}, "Decisions", "F1-score: of the positive class alone, 2PR / (P + R)"),
        (
            "experiment",
            {"cases": 3, "case_classes": ["Mass", "Hernia"]},
            "Heatmaps",
            "3 test images, first one each with Mass, Hernia",
        ),
        ("split", {"same_image": "similar"}, "Parts", "patients who share a similar image in one part"),
        ("split", {"same_image": "ignore"}, "Parts", "patients who share an image in any part"),
        ("split", {"label_sets": ["other"], "also_for": ["s"]}, "Parts", "the same patients in every part as with other"),
        ("split", {"test_on": "radiologists"}, "Parts", "tested on the images that radiologists labelled"),
        ("image_set", {"contrast": "clahe"}, "Network input", "contrast: clahe"),
    ],
)
def test_settings_have_words_of_their_own(block, setting, topic, words):
    given = study()
    changed = type(getattr(given, block)).model_validate(getattr(given, block).model_dump(exclude_defaults=True) | setting)
    told = papers.describe(given.model_copy(update={block: changed}))
    assert words in told[topic]
    assert "Further settings" not in told
    assert not any(f"{name.replace('_', ' ')}: " in text for name in set(setting) - {"contrast"} for text in told.values())


def test_a_heading_leaves_out_the_name_of_its_own_page(tmp_path):
    entry = section(tmp_path, "roc", "") | {"heading": "Table 8. Results per class: Liz et al. 2022: specific labels"}
    text = papers.compose(paper_page(tmp_path, entry), {"roc": "x"})
    assert "<h2>Table 8. Results per class: specific labels</h2>" in text


def test_every_rule_loss_and_schedule_has_words():
    for rule in get_args(config.Ensemble.model_fields["rule"].annotation):
        assert papers._RULES[rule]
    for loss in get_args(config.Training.model_fields["loss"].annotation):
        assert papers._loss(config.Training(backbone="cnn", loss=loss))
    for name in ("schedule", "sampling", "head"):
        for value in get_args(config.Training.model_fields[name].annotation):
            papers.describe(study(members={"one": {"backbone": "cnn", name: value}}, ensembles={}))
    assert set(config.Training.model_fields) >= papers._WORDED


def section(folder: Path, name: str, body: str) -> dict[str, str]:
    store.write_text(typeset.page(f"{name} & more", body), folder / f"{name}.html")
    return {"heading": f"Figure <{name}>", "page": str(folder / f"{name}.html"), "caption": "roc"}


def paper_page(folder: Path, *sections: dict[str, str], **studies: config.Study) -> config.PaperPage:
    studies = studies or {"one": study("phantom")}
    data = {block.experiment.title: block.experiment.data for block in studies.values()}
    return config.PaperPage(paper="liz2022", data=data, studies=studies, sections=list(sections), captions={})


def test_a_page_says_first_what_it_was_run_on_and_has_its_sections_in_order(tmp_path):
    sections = [section(tmp_path, name, f"<p>{name} of the page</p>\n") for name in ("zeta", "alpha")]
    text = papers.compose(paper_page(tmp_path, *sections), {"roc": "Curves & areas,\nwhere defined.\n\nMore.\n"})
    assert text.startswith("<!DOCTYPE html>")
    assert "<h1>Liz et al. 2022</h1>\n" in text
    found = re.findall(r'<section id="(\w+)">\n<h2>(.*?)</h2>\n(?:<p>(.*?)</p>)?', text)
    assert [entry[:2] for entry in found] == [
        ("settings", "What was run, and how"), ("s1", "Figure &lt;zeta&gt;"), ("s2", "Figure &lt;alpha&gt;")
    ]  # fmt: skip
    assert found[1][2] == "Curves &amp; areas, where defined."
    assert re.findall(r'<a href="#(\w+)">', text.partition("</nav>")[0]) == ["settings", "s1", "s2"]
    assert text.index(DATA_SENTENCES["phantom"]) < text.index("Helena Liz") < text.index("zeta of the page")
    assert text.index("zeta of the page") < text.index("alpha of the page")
    assert "src=" not in text  # nothing that lies elsewhere


def test_what_all_experiments_share_is_said_once(tmp_path):
    first, second = ({"thresholds": [f"fixed-{limit}"], "beside": None} for limit in (0.5, 0.6))
    both = paper_page(tmp_path, one=study(title="First", **first), two=study(title="Second", **second))
    text = papers.compose(both, {})
    assert re.findall(r"<h3>(.*?)</h3>", text) == ["All experiments of this page", "First", "Second"]
    assert text.count("<dt>Networks</dt>") == 1
    assert re.findall(r"<dt>(\w+)</dt><dd>thresholds (\S*?); F1", text) == [
        ("Decisions", "fixed-0.5"),
        ("Decisions", "fixed-0.6"),
    ]


def test_a_missing_or_foreign_page_is_one_sentence(tmp_path, capsys):
    there = section(tmp_path, "there", "")
    (tmp_path / "roc.rst").write_text("Curves.\n")

    def make(**changes) -> str:
        page = {"paper": "liz2022", "data": {"One": "phantom"}, "studies": {}, "sections": [there | changes], "captions": {}}
        verb = [
            "paper-page",
            "--settings",
            json.dumps(page),
            "--captions",
            str(tmp_path / "roc.rst"),
            "--out",
            str(tmp_path / "out.html"),
        ]
        return "" if cli.main(verb) == 0 else capsys.readouterr().err

    assert make() == ""
    absent, foreign = tmp_path / "absent.html", tmp_path / "foreign.html"
    assert make(page=str(absent)) == f"thorax: {absent} is not there: run the step that makes it first.\n"
    foreign.write_text("<html><body>Hello</body></html>")
    assert make(page=str(foreign)) == f"thorax: {foreign} is no whole page of thorax: delete it and make it again.\n"
    foreign.write_text((tmp_path / "there.html").read_text()[:-9])
    assert make(page=str(foreign)) == f"thorax: {foreign} is no whole page of thorax: delete it and make it again.\n"
    assert "has no caption 'heat': name its file under --captions" in make(caption="heat")
    with pytest.raises(ThoraxError, match=r"x\.rst cannot be read \(No such file or directory\)"):
        papers.make_page(paper_page(tmp_path), [tmp_path / "x.rst"], tmp_path / "out.html")


def test_a_page_gives_back_what_it_was_made_of(tmp_path):
    store.write_text(typeset.picture_page('A "b" & <c>', [b"webp"]), tmp_path / "page.html")
    title, body = typeset.read_page(tmp_path / "page.html")
    assert title == 'A "b" & <c>'
    assert re.fullmatch(r'<img alt="[^"]+" src="data:image/webp;base64,d2VicA==">\n', body)


def test_papers_are_cited_and_others_are_named_by_their_key():
    known = store.read_csv(reference.PAPERS, dtype=str)["paper"]
    assert set(known) == {"liz2022", "saturi2025", "kejriwal", "beltran2022"}
    short, cited = reference.citation("saturi2025")
    assert short == "Saturi et al. 2025"
    assert cited.endswith("https://doi.org/10.69996/jcai.2025004.")
    assert reference.citation("mine")[0] == "mine"
    assert "not on record" in reference.citation("mine")[1]
