"""What has changed in the folders of archives since they were last used, as parameters of the rules that look through them."""

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path

from thorax import archives
from thorax.archives import manifest
from thorax.config import Config
from thorax.workflow.blocks import Blocks, Wildcards, as_text


class Folders(Blocks):
    """The folders of archives by wildcards. `tell` gets a sentence on every folder that has changed."""

    def __init__(self, config: Config, tell: Callable[[str], object]) -> None:
        super().__init__(config)
        self.tell = tell
        self._seen: dict[str, manifest.Changes] = {}

    def manifest_options(self, wildcards: Wildcards) -> str:
        """How the files of a data set, or of a segmenter's pairs, are chosen; and stamps if they have changed since."""
        settings = (
            [] if hasattr(wildcards, "segmenter") else [as_text(self.block("dataset", wildcards), "archive", "root", "views")]
        )
        changes = self._changes(wildcards)
        stamps = ["--stamp", changes.stamp, "--image-stamp", changes.images] if changes.stamp else []
        return shlex.join([*(["--settings", *settings] if settings else []), *stamps])

    def image_stamp(self, wildcards: Wildcards) -> str:
        """Differs if images of a data set, or what ingest needs to know of them, have changed since its manifest was made."""
        return self._changes(wildcards).images

    def _changes(self, wildcards: Wildcards) -> manifest.Changes:
        """What has changed in a folder, which is looked through once in a process, and only if its files or images were listed before."""
        same_list, images = lambda: True, None
        if hasattr(wildcards, "segmenter"):
            name, folder = f"pairs/{wildcards.segmenter}", self.block("segmenter", wildcards).pairs
            select = partial(archives.selection_of_mask_pairs, Path(folder))
        else:
            name, block = wildcards.dataset, self.block("dataset", wildcards)
            folder, select = block.root, partial(archives.selection, block)
            images = Path(f"results/raw/{name}.images.parquet")
            same_list = partial(archives.lists_the_same, block, images)
        if name not in self._seen:
            listed, seen = Path(f"results/raw/{name}.manifest.parquet"), Path(f"work/manifests/{name}.files.parquet")
            self._seen[name] = manifest.changes(Path(folder), listed, seen, select, same_list, images)
            if sentence := self._seen[name].sentence:
                self.tell(sentence)
        return self._seen[name]
