"""The package's own tables: term trees, downloads, shared classes, published numbers (`published/`) and measured rates."""

from pathlib import Path

FOLDER = Path(__file__).parent


def resource(name: str) -> Path:
    """The path of one of the package's own tables, as `padchest_terms.csv` or `published/liz2022.csv`."""
    return FOLDER / name
