"""What a training needs besides its data: the weights that it starts from, and memory."""

import shlex

from thorax.config import Start
from thorax.models.architectures import BACKBONES
from thorax.workflow.blocks import Blocks, Wildcards


class Trainings(Blocks):
    """The trainings of the configuration by wildcards."""

    def weights(self, wildcards: Wildcards) -> dict[str, str]:
        """The file that a training starts from, if any: ImageNet weights, or another network with its label set."""
        training = self.block("member", wildcards)
        start = training.weights
        if not isinstance(start, Start):
            return {"weights": f"resources/weights/{training.backbone}.h5"} if start == "imagenet" else {}
        if start.experiment is None:
            taken = f"results/starts/{wildcards.experiment}/{wildcards.member}"
            return {"weights": f"{taken}.keras", "weights_labels": f"{taken}.parquet"}
        label_set = self.config.experiments[start.experiment].label_set
        return {
            "weights": f"results/models/{start.experiment}/{start.member}.keras",
            "weights_labels": f"results/labels/{label_set}.parquet",
        }

    def bundle(self, wildcards: Wildcards) -> str:
        """The bundle that a training starts from."""
        return self.block("member", wildcards).weights.bundle

    def bundled_member(self, wildcards: Wildcards) -> str:
        """The option that names the bundle's network; nothing if it has only one."""
        member = self.block("member", wildcards).weights.member
        return shlex.join(["--member", member] if member else [])

    def published_archive(self, wildcards: Wildcards) -> str:
        """The option that names the archive of an experiment whose patients may be in a bundle; nothing if they cannot."""
        archive = self.config.published_archive(wildcards.experiment)
        return f"--archive {archive}" if archive else ""

    def training_memory(self, wildcards: Wildcards) -> int:
        """MB that a training takes."""
        views = 2 if self.block("experiment", wildcards).second_image_set else 1
        return BACKBONES[self.block("member", wildcards).backbone].memory * views
