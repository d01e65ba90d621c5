"""The catalogue of pages: what the shipped configuration and the demo's show, and in which order."""

import re
from pathlib import Path

import pytest

from thorax.config import Config, Experts, PaperPage, Site, parse, parse_text, strict_yaml
from thorax.resources import resource
from thorax.workflow import pages
from thorax.workflow.pages import CATALOGUE

ROOT = Path(__file__).parents[3]


def merged(*files: str) -> Config:
    """Configuration files of the repository, merged as Snakemake does."""
    values: dict = {}

    def update(block: dict, other: dict) -> None:
        for key, value in other.items():
            if isinstance(value, dict) and isinstance(block.get(key), dict):
                update(block[key], value)
            else:
                block[key] = value

    for file in files:
        update(values, strict_yaml.read(ROOT / file))
    return parse(Config, values, " with ".join(files))


@pytest.fixture(scope="module")
def shipped() -> Config:
    return merged("config.yaml")


@pytest.fixture(scope="module")
def demo() -> Config:
    return merged("config.yaml", "demo/experiment.yaml")


def archives_read(plan: Config) -> list[str]:
    return sorted({plan.experiments[name].split for name in plan.run})


def page_of(plan: Config, paper: str) -> PaperPage:
    return parse_text(PaperPage, pages.settings(plan, paper), "the rule")


def test_the_file_has_no_key_twice_and_every_entry_names_known_conditions():
    catalogue = pages.Catalogue.model_validate(strict_yaml.read(resource("pages.yaml")))
    assert (catalogue.pages, catalogue.papers) == (pages.CATALOGUE, pages.ORDERS)
    for name, page in CATALOGUE.items():
        assert page.each in pages.EACH, name
        assert page.where is None or page.where in pages.WHERE, name
    assert {page.each for page in CATALOGUE.values()} == set(pages.EACH)
    assert {page.where for page in CATALOGUE.values()} - {None} == set(pages.WHERE)
    paths = [page.path for page in CATALOGUE.values()]
    assert len(set(paths)) == len(paths)
    for paper, lines in pages.ORDERS.items():
        named = [name for line in lines for name in line]
        assert set(named) <= set(CATALOGUE), paper
        assert len(set(named)) == len(named), paper


def test_every_page_has_a_rule_that_names_it():
    rules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflow/rules").glob("*.smk"))
    for name, page in CATALOGUE.items():
        together = re.sub(r"/(systems|classes)\.html$", "/{table}.html", page.path)
        assert re.search(rf'(page|figure|tables)\([^)]*"{name}"[,)]', rules) or page.path in rules or together in rules, name


def test_captions_are_plain_text_because_pages_show_them_as_they_are():
    for name, page in CATALOGUE.items():
        assert not re.search(r"\*|`|\{|::|^[=-]{3}", page.caption, re.MULTILINE), name


def test_every_entry_is_wanted_by_the_papers_or_by_a_key_that_they_leave_off(shipped):
    first = shipped.experiments[shipped.run[0]]
    asked = first.model_copy(update={"experts": Experts(files=["readers.csv"]), "suspects": 12, "repeats": 2})
    plan = shipped.model_copy(update={"experiments": {**shipped.experiments, shipped.run[0]: asked}})
    paths = pages.wanted(plan, archives_read(plan))
    assert len(set(paths)) == len(paths)
    for page in CATALOGUE.values():
        pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(page.path))
        assert any(re.fullmatch(pattern, path) for path in paths), page.path


def test_what_the_demo_shows(demo):
    experiment = "demo-liz2022-specific"
    tables = ["summary", "screening", "overview", "quality/phantom-pa"]
    tables += [f"classes/phantom-{kind}" for kind in ("specific", "general")]
    results = ("per_class", "global", "differences", "differences_per_class", "thresholds", "rules", "calibration")
    results += (
        "calibration_per_class",
        "operating",
        "groups",
        "suspects",
        "heatmap_scores",
        "heatmap_classes",
        "heatmap_checks",
    )
    tables += [f"{experiment}/{table}" for table in results]
    tables += [f"systems/padchest/{table}" for table in ("systems", "classes")]
    figures = ["lungs/80-lungs", "terms/phantom-general"]
    figures += [
        f"{kind}/phantom-{labels}" for kind in ("labels/phantom-pa", "cooccurrence") for labels in ("specific", "general")
    ]
    figures += [
        f"{experiment}/{figure}"
        for figure in ("training", "roc", "operating", "reliability", "suspects", "heatmaps", "classes")
    ]
    expected = [f"results/tables/{name}.html" for name in tables] + [f"results/figures/{name}.html" for name in figures]
    expected.append(f"results/cases/{experiment}/cases-1.html")
    assert sorted(pages.wanted(demo)) == sorted([*expected, "results/papers/liz2022.html", "results/papers/beyond.html"])
    assert pages.audit(demo, []) == []
    assert pages.papers(demo) == {"liz2022": [experiment], "beyond": []}
    assert [page.name for page in pages.sections(demo, "beyond")] == [
        "differences",
        "differences_per_class",
        "suspects",
        "suspects_figure",
        "thresholds",
        "rules",
    ]


def test_without_review_an_experiment_has_the_pages_of_its_paper_alone(demo):
    experiment = "demo-liz2022-specific"
    plain = demo.model_copy(
        update={"experiments": {experiment: demo.experiments[experiment].model_copy(update={"review": False})}}
    )
    left_out = {Path(path).relative_to("results").as_posix() for path in set(pages.wanted(demo)) - set(pages.wanted(plain))}
    tables = ("differences", "differences_per_class", "calibration", "calibration_per_class", "operating", "groups")
    tables += ("heatmap_scores", "heatmap_classes", "heatmap_checks")
    figures = [f"figures/{experiment}/{name}.html" for name in ("operating", "reliability")]
    assert left_out == {*(f"tables/{experiment}/{name}.html" for name in tables), *figures, f"cases/{experiment}/cases-1.html"}
    assert (pages.records(demo), pages.records(plain)) == ([f"results/records/{experiment}.parquet"], [])


def test_without_experiments_only_the_audit_has_pages(shipped):
    idle = shipped.model_copy(update={"run": []})
    assert pages.wanted(idle) == []
    found = pages.wanted(idle, ["padchest-pa", "nih-official"])
    assert found == pages.audit(idle, ["padchest-pa", "nih-official"])
    assert [path for path in found if "/systems/" in path] == [
        "results/audit/systems/padchest/systems.html",
        "results/audit/systems/nih/systems.html",
        "results/audit/systems/padchest/classes.html",
    ]


def test_liz_et_al_have_their_figures_and_tables_in_the_order_of_the_paper(shipped):
    page = page_of(shipped, "liz2022")
    numbered = [section.heading.partition(".")[0] for section in page.sections if re.match(r"(Figure|Table)", section.heading)]
    assert numbered == [
        "Figure 3", "Figure 4", "Table 3", "Figure 5", "Figure 6", *(f"Table {number}" for number in range(4, 12)),
        "Tables 5, 7 and 9", "Figures 7 to 9", "Table 12",
    ]  # fmt: skip
    table = next(section for section in page.sections if section.heading.startswith("Table 8"))
    assert table.page == "results/tables/liz2022-specific/per_class.html"
    assert table.heading == "Table 8. Results per class: Liz et al. 2022: specific labels of PadChest"
    assert list(page.setups)[:4] == ["liz2022-specific-raw", "liz2022-specific-noaug", "liz2022-specific", "liz2022-general"]


def test_label_sets_that_no_paper_has_get_no_number(shipped):
    numbers = {page.path: pages.heading(shipped, "liz2022", page) for page in pages.sections(shipped, "liz2022")}
    assert [text for path, text in numbers.items() if path.startswith("results/figures/labels/")] == [
        "Figure 5. Label distribution: padchest-specific",
        "Figure 6. Label distribution: padchest-general",
        "Label distribution: padchest-general-clean",
        "Label distribution: padchest-pa, padchest-inside",
    ]


def test_the_page_beyond_the_papers_has_the_rules_of_every_experiment_and_names_them(shipped):
    page = page_of(shipped, "beyond")
    assert set(page.provenance) == {shipped.experiments[name].title for name in shipped.run}
    compared = [name for name in shipped.run if len(shipped.experiments[name].thresholds) > 1]
    expected = [f"results/tables/{name}/{table}.html" for name in compared for table in ("thresholds", "rules")]
    assert [section.page for section in page.sections if Path(section.page).stem in ("thresholds", "rules")] == expected


def test_every_table_and_figure_is_on_a_page_and_every_figure_has_its_caption(shipped):
    shown = {paper: page_of(shipped, paper) for paper in pages.papers(shipped)}
    listed = {section.page for page in shown.values() for section in page.sections}
    apart = {"results/tables/overview.html", *(f"results/papers/{paper}.html" for paper in shown)}
    apart |= {page for page in pages.wanted(shipped) if page.startswith("results/cases/")}  # they have a script of their own
    assert listed == set(pages.wanted(shipped)) - apart
    for page in shown.values():
        captioned = {section.page for section in page.sections if section.caption}
        assert captioned == {section.page for section in page.sections if section.page.startswith("results/figures/")}
        assert {section.caption for section in page.sections} - {None} == set(page.captions)


def test_an_experiment_without_a_paper_is_on_the_page_beyond_the_papers():
    tiny = merged("tests/workflow/tiny/config.yaml")
    assert pages.papers(tiny) == {"beyond": ["tiny"]}
    page = page_of(tiny, "beyond")
    assert page.paper is None
    assert list(page.setups) == ["tiny"]
    assert {Path(section.page).stem for section in page.sections} >= {"per_class", "global", "heatmaps", "summary"}
    assert not [section for section in page.sections if re.match(r"(Figure|Table) \d", section.heading)]


def test_the_report_finds_a_caption_in_a_file():
    flagged = pages.page("roc")
    assert flagged == CATALOGUE["roc"].path
    entry = flagged.flags["report"]
    assert Path(entry.caption).read_text(encoding="utf-8") == CATALOGUE["roc"].caption
    assert entry.caption == pages.page("roc").flags["report"].caption != pages.page("lungs").flags["report"].caption
    assert (entry.category, entry.subcategory, entry.labels) == ("2. Results", "{experiment}", {"content": "ROC curves"})
    assert pages.page("systems", "results/tables/systems/{archive}/{table}.html").endswith("{table}.html")


def test_the_site_lists_every_page_once_and_those_of_an_experiment_under_its_title(shipped):
    site = Site.model_validate_json(pages.site(shipped, []))
    assert [page.page for page in site.pages] == pages.wanted(shipped)
    assert len({page.name for page in site.pages}) == len(site.pages)
    titles = {shipped.experiments[name].title for name in shipped.run}
    assert {page.category for page in site.pages} == {"Overview and papers", "Data", "Comparisons", *titles}
    (heatmaps,) = [page for page in site.pages if page.page == "results/figures/liz2022-specific/heatmaps.html"]
    assert (heatmaps.heading, heatmaps.category) == ("Heatmaps", shipped.experiments["liz2022-specific"].title)
    assert "Liz et al. 2022" in [page.heading for page in site.pages]
    shown = {page.page.removeprefix("results/"): page.experiments for page in site.pages}
    assert shown["figures/liz2022-specific/heatmaps.html"] == ["liz2022-specific"]
    assert shown["tables/overview.html"] == []
    for kind, blocks in (("comparisons", shipped.comparisons), ("cross", shipped.cross), ("ablations", shipped.ablations)):
        for name, block in blocks.items():
            (found,) = {tuple(shown[page]) for page in shown if page.startswith(f"tables/{kind}/{name}/")}
            assert found == tuple(block.experiments)
    assert pages.entry(shipped) == ["results/index.html"]
