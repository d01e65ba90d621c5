"""The results site in one file to send: everything in a zip, or one page with its pictures inside."""

import base64
import re
import zipfile
from pathlib import Path

from markupsafe import Markup

from thorax.errors import ThoraxError
from thorax.report import typeset
from thorax.storage import store

_LINK = re.compile(r'(?:href|src)="([^":#]+)"')
# Files that the page has inside
_TYPES = {".csv": "text/csv", ".tex": "text/x-tex", ".md": "text/markdown", ".yaml": "text/yaml", ".webp": "image/webp"}


def share(index: Path, out: Path) -> str:
    """Pack the results site into one file, a .zip or a .html by its name; return a sentence about it.

    The zip has all files that the pages link to. The page has the pages that the entry page lists as sections, each table and figure
    once, with pictures and small files as data addresses; no part has two megabytes, which Chromium would not show.
    """
    if not index.is_file():
        raise ThoraxError(f"{index} is not there: run the workflow first.")
    folder = index.parent / "site"
    if out.suffix == ".html":
        listed = dict.fromkeys(re.findall(r'href="site/([^"#]+[.]html)', index.read_text(encoding="utf-8")))
        store.write_text(_one_page([index, *map(folder.joinpath, listed)]), out)
        how = f"has {1 + len(listed)} pages as sections of one, {out.stat().st_size / 1e6:.1f} MB: open it in a browser."
    elif out.suffix == ".zip":
        files = _zip([index, *folder.glob("*.html")], out)
        how = f"has {files} files, {out.stat().st_size / 1e6:.1f} MB: unpack it and open results/index.html."
    else:
        raise ThoraxError(f"--out {out} is neither a .zip nor a .html: name one of them.")
    return f"{out} {how} It shows radiographs and their identifiers: mind the archive's terms."


def _zip(pages: list[Path], out: Path) -> int:
    """Write a zip of pages and all files that they link to; return their number."""
    results = pages[0].parent.resolve()
    files = {page.resolve() for page in pages}
    for page in pages:
        files |= {_linked(page, path).resolve() for path in _LINK.findall(page.read_text(encoding="utf-8"))}
    with store.atomic(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            archive.write(path, Path("results") / path.relative_to(results))
    return len(files)


def _linked(page: Path, link: str) -> Path:
    """The file that a link of a page leads to."""
    if not (path := page.parent / link).is_file():
        raise ThoraxError(f"{path} is not there, but {page} links to it: run the workflow again.")
    return path


def _one_page(pages: list[Path]) -> str:
    """The pages as sections of one that needs no other file."""
    names = {page.stem for page in pages}
    parts = []
    for page in pages:
        text = page.read_text(encoding="utf-8")
        _, _, body = text.partition("<main>\n")
        above = re.search(r"› (.*)</nav>", text)
        heading = ": ".join(found[1] for found in (above, re.search("<h1>(.*)</h1>", text)) if found)
        body = _inside(body.partition("</main>")[0], page, names)
        parts.append({"name": page.stem, "heading": Markup(heading), "body": body})
    first, *others = parts
    return typeset.page("share.html", first["heading"], crumbs="", first=first["body"], pages=others, about=None)


def _inside(body: str, page: Path, names: set[str]) -> Markup:
    """The content of a page for a document that has all pages: links lead to their sections, and files are inside."""
    for name in map(re.escape, names):  # what a paper's page repeats has its own section
        body = re.sub(rf'<section id="{name}">.*?</section>\n', "", body, flags=re.DOTALL)
    own = lambda found: f'href="#{found[1]}"' if found[1] in names else f'href="#{page.stem}.{found[1]}"'
    body = re.sub(r'href="#([^"]+)"', own, re.sub(r'id="([^"]+)"', rf'id="{page.stem}.\1"', body))
    body = re.sub(r'href="[^":#]*?([^"/:#]+)\.html(?:#([^"]+))?"', lambda found: _section(found, names), body)
    body = re.sub(r'<a href="([^":#]+)">([^<]*)</a>', lambda found: _file(page, found[1], found[2]), body)
    body = re.sub(r'<p class="forms">[^<]*</p>\n', "", body)  # without a link that is left
    return Markup(re.sub(r'loading="lazy" src="([^":]+)"', lambda found: f'src="{_data(_linked(page, found[1]))}"', body))


def _section(found: re.Match[str], names: set[str]) -> str:
    """The link to a page, as one to its section if it has one."""
    if found[1] not in names:
        return found[0]
    if found[2]:
        return f'href="#{found[1]}.{found[2]}"'
    return f'href="#{"top" if found[1] == "index" else found[1]}"'


def _file(page: Path, link: str, text: str) -> str:
    """The link to a file, as one that saves it; nothing for what would be large, such as figures, which the page shows anyhow."""
    if Path(link).suffix not in _TYPES:
        return ""
    path = _linked(page, link)
    return f'<a download="{path.name}" href="{_data(path)}">{text}</a>'


def _data(path: Path) -> str:
    return f"data:{_TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
