"""What the rules of the audit compute from the configuration: which metadata files are here, and what is counted in them."""

from functools import cached_property

from thorax import archives
from thorax.config import Dataset
from thorax.errors import ThoraxError
from thorax.workflow.blocks import Blocks, Wildcards, as_text


class Audited(Blocks):
    """The part of the configuration that is audited. It looks for metadata files, and opens none."""

    @cached_property
    def splits(self) -> list[str]:
        """With experiments to run, the splits of those on whole archives; without, all whose metadata is here, of which some must be."""
        if self.run:
            experiments = map(self.config.experiments.get, self.run)
            return sorted({block.split for block in experiments if block and block.provenance == "full"})
        here = [name for name in self.config.splits if self.dataset_of_split(name) not in self.absent]
        if not here:
            where = self.config.audit.metadata or ", ".join(block.root for block in self.config.datasets.values())
            raise ThoraxError(
                f"There is nothing to run and nothing to audit: {where} has no archive's metadata file. Name the folder that has "
                "them (make audit METADATA=folder), or experiments under run."
            )
        return here

    @property
    def label_sets(self) -> list[str]:
        return list(dict.fromkeys(name for split in self.splits for name in self.config.splits[split].label_sets))

    @property
    def datasets(self) -> list[str]:
        return list(dict.fromkeys(map(self.dataset_of_split, self.splits)))

    @cached_property
    def absent(self) -> list[str]:
        """The archives without a metadata file here."""
        real = [name for name, block in self.config.datasets.items() if not block.phantom]
        return [name for name in real if not archives.metadata_file(self._dataset(name)).is_file()]

    def absent_and_divided(self) -> list[str]:
        """The archives without a metadata file here that a split divides."""
        divided = set(map(self.dataset_of_split, self.config.splits))
        return [name for name in self.absent if name in divided]

    def metadata(self, wildcards: Wildcards) -> str | list[str]:
        """What a catalog depends on: the metadata files, or the manifest of a whole archive."""
        if self.config.audit.metadata:
            return list(map(str, archives.metadata_files(self._dataset(wildcards.dataset))))
        return f"results/raw/{wildcards.dataset}.manifest.parquet"

    def catalog_settings(self, wildcards: Wildcards) -> str:
        return as_text(self._dataset(wildcards.dataset), "archive", "root")

    def catalog(self, wildcards: Wildcards) -> str:
        return f"results/audit/catalog/{self.dataset(wildcards)}.parquet"

    def split(self, wildcards: Wildcards) -> str:
        """The first split of a label set: published parts are compared with its parts."""
        serving = (name for name in self.splits if wildcards.label_set in self.config.splits[name].label_sets)
        return f"results/audit/splits/{next(serving)}.parquet"

    def compared_shares(self, wildcards: Wildcards) -> str:
        """The split whose shares all splitters are given, as text for --settings."""
        return as_text(self.config.splits[self.config.audit.compare[wildcards.label_set]])

    def _dataset(self, name: str) -> Dataset:
        """The data set as the audit reads it: from one folder of metadata files, where the configuration names one."""
        block, metadata = self.config.datasets[name], self.config.audit.metadata
        return block.model_copy(update={"root": metadata}) if metadata else block
