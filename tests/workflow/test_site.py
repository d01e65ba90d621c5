"""The results site of the finished tiny run, as a person sees it in a browser, prints it and sends it."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from html import unescape
from pathlib import Path

import pytest

from thorax import cli

from . import browser
from .conftest import REPOSITORY, environment

pytestmark = pytest.mark.slow
A4_LANDSCAPE = 1047  # its width without margins, in CSS pixels
NUMBER = re.compile(r"\d\.\d{3}")


def site_pages(results: Path) -> list[Path]:
    return [results / "index.html", *sorted((results / "site").glob("*.html"))]


def share(folder: Path, out: Path) -> Path:
    assert cli.main(["share", "--index", str(folder / "results/index.html"), "--out", str(out)]) == 0
    return out


def check(page: browser.Browser, path: Path) -> None:
    """At every width and on paper, each picture is seen, and nothing is wider than the window or, on paper, hidden."""
    page.open(path)
    for width, media in ((1440, "screen"), (390, "screen"), (A4_LANDSCAPE, "print")):
        found = browser.look_at(page, None, width, media)
        assert found["heading"], (path, found)
        assert found["shown"] == found["pictures"], (path, found)
        assert found["too_wide"] <= 0, (path, width, found)
        assert media == "screen" or not found["hidden"], (path, found)
        assert media == "print" or not browser.faults(page, "light", "dark"), path


def test_every_page_opens_in_wide_and_narrow_windows_on_paper_and_for_all(tiny_run):
    """In light and dark, axe-core finds nothing serious."""
    browser.require()
    pages = site_pages(tiny_run / "results")
    assert len(pages) > 15
    with browser.chromium() as page:
        for path in pages:
            check(page, path)
        assert not page.complaints()


def test_the_widest_table_is_printed_with_every_number(tiny_run, tmp_path):
    browser.require()
    if not shutil.which("pdftotext"):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("pdftotext is not installed (apt-get install poppler-utils)")
    widest = (
        "Math.max(...[...document.querySelectorAll('table')].map(table => table.rows[table.rows.length - 1].cells.length), 0)"
    )
    with browser.chromium() as page:
        columns = {}
        for path in site_pages(tiny_run / "results"):
            page.open(path)
            columns[path] = page.evaluate(widest)
        path = max(columns, key=columns.__getitem__)
        assert columns[path] >= 10
        browser.look_at(page, path, A4_LANDSCAPE, "print")
        numbers = Counter(
            NUMBER.findall(page.evaluate("[...document.querySelectorAll('table')].map(each => each.innerText).join(' ')"))
        )
        (tmp_path / "page.pdf").write_bytes(browser.printed(page))
    printed = subprocess.run(["pdftotext", tmp_path / "page.pdf", "-"], capture_output=True, text=True, check=True).stdout
    assert numbers.total() > 30
    assert not numbers - Counter(NUMBER.findall(printed))


def test_a_table_is_sorted_by_a_click_and_searched(tiny_run):
    browser.require()
    names = "JSON.stringify([...document.querySelectorAll('tbody tr')].filter(row => !row.hidden).map(row => row.cells[0].innerText))"
    with browser.chromium() as page:
        browser.look_at(page, tiny_run / "results/site/tables-classes-tiny-specific.html", 1440)
        first = json.loads(page.evaluate(names))
        page.evaluate("document.querySelector('thead button').click()")
        falling = json.loads(page.evaluate(names))
        page.evaluate("document.querySelector('thead button').click()")
        rising = json.loads(page.evaluate(names))
        assert sorted(first) == sorted(rising) == sorted(falling)
        assert rising == falling[::-1] == sorted(rising, key=str.lower)
        search = "const field = document.querySelector('input'); field.value = 'CARD'; field.dispatchEvent(new Event('input'));"
        page.evaluate(search)
        assert json.loads(page.evaluate(names)) == [name for name in rising if "card" in name.lower()] != []


def test_every_link_leads_somewhere_also_in_the_zip(tiny_run, tmp_path):
    with zipfile.ZipFile(share(tiny_run, tmp_path / "site.zip")) as archive:
        archive.extractall(tmp_path)
    assert len(site_pages(tiny_run / "results")) == len(site_pages(tmp_path / "results"))
    for folder in (tiny_run, tmp_path):
        for path in site_pages(folder / "results"):
            text = path.read_text(encoding="utf-8")
            assert "data:image" not in text, path
            links = re.findall(r'(?:href|src)="([^"]*)"', text)
            assert links
            for link in links:
                file, _, place = link.partition("#")
                there = path.parent / file if file else path
                assert link.startswith("https://") or there.is_file(), (path, link)
                assert not place or f'id="{place}"' in there.read_text(encoding="utf-8"), (path, link)


def test_the_site_in_one_page_opens_without_any_other_file(tiny_run, tmp_path):
    browser.require()
    path = share(tiny_run, tmp_path / "site.html")
    text = path.read_text(encoding="utf-8")
    names = re.findall(r' id="([^"]+)"', text)
    assert len(names) == len(set(names))
    assert {link for link in re.findall(r'href="#([^"]+)"', text) if link != "top"} <= set(names)
    assert all(link.startswith(("#", "data:", "https://")) for link in re.findall(r'(?:href|src)="([^"]*)"', text))
    assert not browser.too_long(tmp_path) + browser.too_long(tiny_run / "results")
    with browser.chromium() as page:
        check(page, path)
        assert not page.complaints()


def test_the_recipe_gives_the_auc_that_it_states(tiny_run):
    recipe = re.search("<pre[^>]*>(.*?)</pre>", (tiny_run / "results/index.html").read_text(encoding="utf-8"), re.DOTALL)[1]
    code = unescape(recipe)
    done = subprocess.run([sys.executable, "-c", code], cwd=tiny_run, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == code.rpartition("# ")[2].strip() != "", done.stderr


def test_the_lines_of_a_page_make_it_again(tiny_copy):
    page, table = "results/site/tables-tiny-global.html", tiny_copy / "results/tables/tiny/global.md"
    lines = unescape(re.findall("<pre[^>]*>(.*?)</pre>", (tiny_copy / page).read_text(encoding="utf-8"), re.DOTALL)[-1])
    before, made = table.read_text(), table.stat().st_mtime_ns
    (tiny_copy / ".venv").symlink_to(sys.prefix)
    lines = lines.replace("snakemake ", f"snakemake --snakefile '{REPOSITORY / 'Snakefile'}' ")
    done = subprocess.run(
        ["bash", "-euc", lines], cwd=tiny_copy, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "1 of 1 steps (100%) done" in done.stderr
    assert table.read_text() == before
    assert table.stat().st_mtime_ns > made
    assert "Hamming loss" in done.stdout
