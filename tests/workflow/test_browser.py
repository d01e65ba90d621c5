"""The tests' own browser sees what would be wrong with a report."""

import base64

import pytest

from . import browser

REPORT = """<!DOCTYPE html><meta charset="utf-8"><div id="app">loading</div><div id="content"></div><script>
const results = {"page": {"data_uri": %s}};
const app = {setView(view) {document.querySelector("#content").innerHTML = `<iframe src="${view.contentPath}"></iframe>`}};
%s</script>"""
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAUwAOw=="


@pytest.fixture
def look(tmp_path):
    browser.require()

    def see(picture: str, script: str = "", embedded: bool = False, padding: int = 0):
        text = f"<!DOCTYPE html><h1>Heading</h1><img src='{picture}'>{' ' * padding}"
        (tmp_path / "page.html").write_text(text)
        address = f"data:text/html;base64,{base64.b64encode(text.encode()).decode()}" if embedded else "page.html"
        (tmp_path / "report.html").write_text(REPORT % (repr(address), script))
        return browser.look_through(tmp_path / "report.html", patience=10)["page"]

    return see


def test_a_broken_picture_and_errors_in_the_console_are_seen(look):
    assert look(PIXEL[:40]) == {"heading": "Heading", "pictures": 1, "shown": 0}
    with pytest.raises(AssertionError, match=r"torn.*absent is not defined"):
        look(PIXEL, "console.error('torn'); setTimeout(() => absent())")


def test_an_embedded_page_above_two_megabytes_stays_blank(look):
    """Why the report is a folder: if this fails, Chromium has changed, and a single file would do."""
    assert look(PIXEL, embedded=True) == {"heading": "Heading", "pictures": 1, "shown": 1}
    with pytest.raises(AssertionError, match="no frame shows"):
        look(PIXEL, embedded=True, padding=2_000_000)


def test_axe_finds_what_some_cannot_read_in_each_theme(tmp_path):
    browser.require()
    pale = "body {color: #ccc; background: #fff} @media (prefers-color-scheme: dark) {body {background: #000}}"
    text = f"<!DOCTYPE html><html lang=en><title>t</title><style>{pale}</style><main><h1>Heading</h1><img src='{PIXEL}'></main>"
    (tmp_path / "page.html").write_text(text)
    with browser.chromium() as page:
        page.open(tmp_path / "page.html")
        found = [fault.partition(" (")[0] for fault in browser.faults(page, "light", "dark")]
    assert found == ["light: color-contrast", "light: image-alt", "dark: image-alt"]
