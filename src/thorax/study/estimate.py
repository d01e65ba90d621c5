"""Hours and disk of a planned study, by the functions and rates of `thorax cost`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from thorax.config import Config
from thorax.workflow import cost
from thorax.workflow.cost import Count, Counts
from thorax.workflow.jobs import Job


class Planned(Counts):
    """Counts of a study that is not run yet: one data set and one label set, whose images have been looked at."""

    def __init__(self, settings: Config, images: int, labelled: int, classes: int, megapixels: float) -> None:
        self._images = Count(images, "found", megapixels=megapixels)
        self._labelled = Count(labelled, "found", classes)
        super().__init__(settings)

    def _dataset(self, name: str) -> Count:
        return self._images

    def _label_set(self, name: str) -> Count:
        return self._labelled


@dataclass(frozen=True)
class Estimate:
    """What a study takes on a machine of the rates: hours of training and ingest one after the other, and bytes."""

    hours: float
    bytes_kept: float  # under results/
    bytes_meanwhile: float  # under work/
    machine: str


def estimate(settings: Config, name: str, counts: Planned, cores: int) -> Estimate:
    """Estimate experiment `name` of the configuration on `cores` cores without a GPU; trainings run one on each two cores."""
    rates = cost.read_rates(cost.RATES)
    experiment = settings.experiments[name]
    dataset = settings.label_sets[experiment.label_set].dataset
    members = list(experiment.members)
    jobs = [_job("ingest", cores, dataset=dataset) for _ in range(settings.datasets[dataset].shards)]
    jobs.append(_job("images", cores, dataset=dataset, image_set=experiment.image_set))
    jobs += [_job(rule, cores, experiment=name, member=member) for rule in ("train", "predict") for member in members]
    found = cost.summarise(cost.price(jobs, counts, rates, cores), cores)
    machine: Mapping[str, Any] = rates["machine"]
    kept = sum(found["result_bytes"].values())
    return Estimate(
        found["gpus"]["1"]["hours"], kept, found["gpus"]["1"]["work_bytes"], f"{machine['cores']} cores of {machine['cpu']}"
    )


def _job(rule: str, threads: int, **wildcards: str) -> Job:
    return Job(rule, wildcards, (), (), {}, "", "", threads, {}, "")
