"""Synthetic chest radiographs in PadChest's own on-disk form: `archive` writes them, the other modules draw them."""

from thorax.phantom.archive import make_archive, true_lung_mask

__all__ = ["make_archive", "true_lung_mask"]
