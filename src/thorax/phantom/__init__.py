"""Synthetic chest radiographs in PadChest's own on-disk form: `archive` writes them, the other modules draw them."""

from thorax.phantom.archive import make_archive, refuse_foreign_files, true_lung_mask

__all__ = ["make_archive", "refuse_foreign_files", "true_lung_mask"]
