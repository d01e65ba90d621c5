"""Synthetic chest radiographs in an archive's own on-disk form: `archive` writes them, the other modules draw and list them."""

from thorax.phantom.archive import find_form, make_archive, refuse_foreign_files, shapes, write_tables

__all__ = ["find_form", "make_archive", "refuse_foreign_files", "shapes", "write_tables"]
