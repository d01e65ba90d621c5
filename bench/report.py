"""The figures as a page for people, from the templates next to this file."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

_FOLDER = FileSystemLoader(Path(__file__).parent)
_TEMPLATES = Environment(loader=_FOLDER, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)


def table(results: dict[str, Any]) -> str:
    """A Markdown table of the ratios, and one of cost against size."""
    return _TEMPLATES.get_template("table.md.j2").render(results).removesuffix("\n")


def page(results: dict[str, Any]) -> str:
    """docs/reference/benchmarks.md."""
    measured: dict[str, list[str]] = {}
    for case, machine in sorted(results["machines"].items()):
        described = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory']}; {machine['system']}"
        measured.setdefault(described, []).append(case)
    return _TEMPLATES.get_template("page.md.j2").render(results, measured=measured)
