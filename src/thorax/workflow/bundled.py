"""What the rule of bundles computes from the configuration: the model of an experiment, and the files that are packed."""

import json

from thorax.config import Bundled, Experiment, setups
from thorax.workflow import pages
from thorax.workflow.blocks import Wildcards
from thorax.workflow.plan import Files, Plan, in_results


def model_of(experiment: Experiment) -> str | None:
    """The model that is packed: the mean of the networks, else the first ensemble, else the only network.

    None where there are several networks and no ensemble: then it is the one that is best on the validation images.
    """
    first = next(iter(experiment.ensembles), None)
    alone = next(iter(experiment.members)) if len(experiment.members) == 1 else None
    return experiment.mean or first or alone


class BundlePlan:
    """The rule's input files and settings."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def files(self, wildcards: Wildcards) -> Files:
        """The networks of the model with all that was measured of it, and the images to check the stored networks on."""
        name, block = wildcards.experiment, self.plan.block("experiment", wildcards)
        model = model_of(block)
        ensemble = block.ensembles.get(model)
        members = ensemble.members if ensemble else [model] if model else list(block.members)
        segmenter = self.plan.config.image_sets[block.image_set].segmenter
        return {
            **self.plan.data("experiment")(wildcards),
            **self.plan.second_images(wildcards),
            "networks": in_results("models", name, members, "keras"),
            "predictions": in_results("predictions", name, members),
            "records": in_results("history", name, members, "json"),
            "ensembles": in_results("ensembles", name, [model]) if ensemble and model else [],
            "segmenter": f"results/segmenters/{segmenter}.keras" if segmenter else [],
            "boxes": f"results/heatmaps/{name}.scores.parquet" if pages.has_boxes(self.plan.config, block) else [],
            "catalog": self.plan.catalog(wildcards),
        }

    def settings(self, wildcards: Wildcards) -> str:
        """What `thorax pack-bundle` needs, as text for --settings."""
        config, name = self.plan.config, wildcards.experiment
        setup = setups(config, [name])[name]
        second = setup.experiment.second_image_set and config.image_sets[setup.experiment.second_image_set]
        bundled = Bundled(
            **dict(setup),
            name=name,
            model=model_of(setup.experiment),
            segmenter=config.segmenters[setup.image_set.segmenter] if setup.image_set.segmenter else None,
            second_image_set=second or None,
            second_dataset=config.datasets[second.dataset] if second else None,
        )
        return json.dumps(bundled.model_dump(mode="json"), sort_keys=True)
