"""The papers' pages: what they say, and their sections in order."""

import json
import re
from html import unescape
from pathlib import Path

from thorax import cli, config
from thorax.report import pages as papers
from thorax.report import published_numbers as reference
from thorax.report import typeset
from thorax.report.tables.results import PROVENANCE
from thorax.storage import store

from .test_overview import setup

CAPTION = "Curves & areas, where defined."


def test_a_heading_leaves_out_the_name_of_its_own_page(tmp_path):
    entry = section(tmp_path, "roc", "") | {"heading": "Table 8. Results per class: Liz et al. 2022: specific labels"}
    text = made(tmp_path, paper_page(tmp_path, entry))
    assert "<h2>Table 8. Results per class: specific labels</h2>" in text


def section(folder: Path, name: str, body: str) -> dict[str, str]:
    store.write_text(typeset.picture_page(f"{name} & more", [], [body]), folder / f"{name}.html")
    return {"heading": f"Figure <{name}>", "page": str(folder / f"{name}.html"), "caption": "roc"}


def made(folder: Path, page: config.PaperPage) -> str:
    papers.make_page(page, folder / "page.html")
    return (folder / "page.html").read_text()


def paper_page(folder: Path, *sections: dict[str, str], **setups: config.Setup) -> config.PaperPage:
    setups = setups or {"one": setup("phantom")}
    data = {block.experiment.title: block.experiment.provenance for block in setups.values()}
    return config.PaperPage(paper="liz2022", provenance=data, setups=setups, sections=list(sections), captions={"roc": CAPTION})


def test_a_page_says_first_what_it_was_run_on_and_has_its_sections_in_order(tmp_path):
    sections = [section(tmp_path, name, f"{name} of the page") for name in ("zeta", "alpha")]
    zeta, alpha = (config.page_name(entry["page"]) for entry in sections)
    text = made(tmp_path, paper_page(tmp_path, *sections))
    assert text.startswith("<!DOCTYPE html>")
    assert "<h1>Liz et al. 2022</h1>\n" in text
    found = re.findall(r'<section id="([^"]+)">\n<h2>(.*?)</h2>\n(?:<p>(.*?)</p>)?', text)
    assert [entry[:2] for entry in found] == [
        ("settings", "What was run, and how"), (zeta, "Figure &lt;zeta&gt;"), (alpha, "Figure &lt;alpha&gt;")
    ]  # fmt: skip
    assert found[1][2] == "Curves &amp; areas, where defined."
    assert re.findall(r'<a href="#([^"]+)">', text.partition("</nav>")[0]) == ["settings", zeta, alpha]
    assert text.index(PROVENANCE["phantom"]) < text.index("Helena Liz") < text.index("zeta of the page")
    assert text.index("zeta of the page") < text.index("alpha of the page")
    assert "src=" not in text  # nothing that lies elsewhere


def test_what_all_experiments_share_is_said_once(tmp_path):
    first, second = ({"thresholds": [f"fixed-{limit}"], "beside": None} for limit in (0.5, 0.6))
    both = paper_page(tmp_path, one=setup(title="First", **first), two=setup(title="Second", **second))
    text = made(tmp_path, both)
    assert re.findall(r"<h3>(.*?)</h3>", text) == ["All experiments of this page", "First", "Second"]
    assert text.count("<dt>Networks</dt>") == 1
    assert re.findall(r"<dt>(\w+)</dt><dd>thresholds (\S*?); F1", text) == [
        ("Decisions", "fixed-0.5"),
        ("Decisions", "fixed-0.6"),
    ]


def test_a_missing_or_foreign_page_is_one_sentence(tmp_path, capsys):
    there = section(tmp_path, "there", "")

    def make(**changes) -> str:
        page = {
            "paper": "liz2022",
            "provenance": {"One": "phantom"},
            "setups": {},
            "sections": [there | changes],
            "captions": {"roc": ""},
        }
        verb = ["paper-page", "--settings", json.dumps(page), "--out", str(tmp_path / "out.html")]
        return "" if cli.main(verb) == 0 else capsys.readouterr().err

    assert make() == ""
    absent, foreign = tmp_path / "absent.html", tmp_path / "foreign.html"
    assert make(page=str(absent)) == f"thorax: {absent} is not there: run the step that makes it first.\n"
    foreign.write_text("<html><body>Hello</body></html>")
    assert make(page=str(foreign)) == f"thorax: {foreign} is not a whole page of thorax: delete it and make it again.\n"
    foreign.write_text((tmp_path / "there.html").read_text()[:-9])
    assert make(page=str(foreign)) == f"thorax: {foreign} is not a whole page of thorax: delete it and make it again.\n"
    assert "has no caption 'heat': add it under captions." in make(caption="heat")


def test_a_page_gives_back_what_it_was_made_of(tmp_path):
    store.write_text(typeset.picture_page('A "b" & <c>', [(b"webp", 800)]), tmp_path / "page.html")
    content = typeset.content_of(tmp_path / "page.html")
    assert re.fullmatch(r'<img alt="[^"]+" src="data:image/webp;base64,d2VicA==" width="800">\n', content)
    assert unescape(content).startswith('<img alt="A "b" & <c>" ')


def test_papers_are_cited_and_others_are_named_by_their_key():
    known = store.read_csv(reference.PAPERS, dtype=str)["paper"]
    assert set(known) == {"liz2022", "saturi2025", "kejriwal", "beltran2022"}
    short, cited = reference.citation("saturi2025")
    assert short == "Saturi et al. 2025"
    assert cited.endswith("https://doi.org/10.69996/jcai.2025004.")
    assert reference.citation("mine")[0] == "mine"
    assert "not on record" in reference.citation("mine")[1]


def test_a_csv_file_is_shown_with_shares_in_per_cent_and_words_to_the_left(tmp_path):
    (tmp_path / "a.csv").write_text("label_set,class,images,largest_patient_share\ns,mass,20,0.0385\ns,2D echo,3,\n")
    typeset.csv_page(tmp_path / "a.csv", "Balance", "Of each class.", tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text()
    assert re.findall(r"<td(?: class=\"(.*?)\")?>\s*(.*?)\s*</td>", text) == [
        ("start text", "mass"), ("start", "20"), ("start", "3.9%"), ("start text", "2D echo"), ("start", "3"), ("start", "")
    ]  # fmt: skip
