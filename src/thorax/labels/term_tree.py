"""The trees of an archive's terms, and the general terms at their top."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from thorax.errors import ThoraxError
from thorax.resources import resource

TERM_TABLES = {name: resource(f"{name}_terms.csv") for name in ("padchest", "chexpert")}  # archives whose labels form a tree
UMBRELLAS = ("radiological finding", "differential diagnosis", "localization")  # roots that only group other terms


@dataclass(frozen=True)
class TermTree:
    """An archive's terms and their parents: a directed acyclic graph, since some terms have two parents."""

    parents: dict[str, tuple[str, ...]]  # of each term, in the source's order; empty for a root

    @classmethod
    def load(cls, path: Path | str = TERM_TABLES["padchest"]) -> "TermTree":
        """Read a table with one row per edge (term, parent); the parent of a root is empty.

        The default is PadChest's tree as its authors publish it (https://github.com/auriml/Rx-thorax-automatic-captioning);
        Bustos et al. 2020, section 4. CheXpert's is the hierarchy of Irvin et al. 2019, Figure 1.
        """
        edges = pd.read_csv(path, dtype=str, keep_default_na=False)
        return cls({term: tuple(filter(None, parents)) for term, parents in edges.groupby("term", sort=False)["parent"]})

    @classmethod
    def find(cls, archive: str) -> "TermTree | None":
        """The tree of an archive (a key of `archives.ARCHIVES`); None if it has none."""
        return cls.load(TERM_TABLES[archive]) if archive in TERM_TABLES else None

    @classmethod
    def of_archive(cls, archive: str, key: str, advice: str) -> "TermTree":
        """The tree of an archive that must have one, because of the setting `key`; `advice` says what to write if there is none."""
        tree = cls.find(archive)
        if tree is None:
            problem = f"archive {archive!r} has no term tree, only {' and '.join(TERM_TABLES)} have one"
            raise ThoraxError(f"{key}: {problem}: {advice}.")
        return tree

    @cached_property
    def children(self) -> dict[str, tuple[str, ...]]:
        """The terms directly below each term; empty for a leaf."""
        edges = [(parent, term) for term, parents in self.parents.items() for parent in parents]
        return {term: tuple(child for parent, child in edges if parent == term) for term in self.parents}

    def __contains__(self, term: str) -> bool:
        return term in self.parents

    def climbed(self, two_parents: str) -> "TermTree":
        """The tree without the edges that `config.LabelSet.two_parents` does not climb.

        "all" keeps every edge, "first" each term's first one, "umbrella" the first one of terms whose first parent is an umbrella
        root, and all edges of the others.
        """
        if two_parents == "all":
            return self
        cut = {term for term, above in self.parents.items() if two_parents == "first" or (above and above[0] in UMBRELLAS)}
        return TermTree({term: above[:1] if term in cut else above for term, above in self.parents.items()})

    def general(self, term: str) -> tuple[str, ...]:
        """The term's topmost ancestors below the umbrella roots, sorted; several where the term has several parents.

        A term that is topmost itself (a root such as normal or exclude, or unchanged) maps to itself, and so does a term that
        is not in the tree.
        """
        parents = self.parents.get(term, ())
        if not parents:
            return (term,)
        topmost = {term} if any(parent in UMBRELLAS for parent in parents) else set()
        above = (self.general(parent) for parent in parents if parent not in UMBRELLAS)
        return tuple(sorted(topmost.union(*above)))

    def general_among(self, term: str, known: Collection[str]) -> list[str]:
        """The general classes of a term that a general label set (`known`) has, sorted."""
        return [name for name in self.general(term) if name in known]
