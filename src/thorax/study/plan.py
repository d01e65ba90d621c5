"""Plan a study, as nnU-Net plans a segmentation, from what the images are and what the machine has, by rules anyone can read.

The rules of thumb are the constants below; docs/how-to/own-radiographs.md lists them. Every choice comes with its reason.
"""

import math
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from thorax import backend
from thorax.models.preflight import memory_limit
from thorax.study.records import UNKNOWN_VIEW, Records

FRONTAL = ("PA", "AP", "frontal")
FEWEST_PATIENTS = 15  # with a finding, and without it: at 60 : 20 : 20 each part has three
FEW_PATIENTS = 1000  # below, val and test get larger shares
SHARES = {True: (0.6, 0.2, 0.2), False: (0.7, 0.1, 0.2)}  # of train, val and test; for few patients and for many
FEW_IMAGES = 1000  # below, a CPU gets the smallest images and networks
SIZES = {"few, CPU": 96, "CPU": 128, "GPU": 224}
FOR_FEW = ("DenseNet121", "MobileNet")
ON_CPU = ("EfficientNetB0", "DenseNet121")
ON_GPU = ("DenseNet121", "EfficientNetB0", "InceptionV3")
SEEN = {"CPU": 40_000, "GPU": 1_000_000}  # images that a training sees, each as often as it is used
EPOCHS = {"CPU": (15, 40), "GPU": (20, 100)}
BATCHES = {"CPU": 16, "GPU": 64}  # largest
STEPS = 12  # at least, in an epoch
SMALLEST_BATCH = 8  # batch normalisation needs several images
ACTIVATIONS = {"CPU": 250, "GPU": 125}  # MB of one image of 224 x 224 pixels in training, in float32 and in half precision
OF_MEMORY = {"CPU": 0.25, "GPU": 0.6}  # share for one training's activations; two run at once on a CPU
SHARD = 4000  # images of one file


@dataclass(frozen=True)
class Machine:
    """What the trainings have: CPU cores, memory, and the memory of the first GPU; bytes, 0 for none."""

    cores: int
    memory: int
    gpu: int = 0

    @property
    def kind(self) -> str:
        """CPU or GPU."""
        return "GPU" if self.gpu else "CPU"

    @classmethod
    def here(cls) -> "Machine":
        """This machine. GPUs are those that NVIDIA's driver lists."""
        return cls(backend.cores(), memory_limit() * 2**20, _gpu_memory())


def _gpu_memory() -> int:
    if not (program := shutil.which("nvidia-smi")):
        return 0
    command = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return int(done.stdout.split()[0]) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return 0


@dataclass(frozen=True)
class Finding:
    """One finding among the labelled images of the planned views."""

    name: str
    images: int  # that have it
    patients: int  # that have it in an image
    without: int  # patients with an image that is known not to have it
    uncertain: int  # images
    unasked: int  # images
    problem: str = ""  # why it cannot be learnt; empty if it can
    margin: float = math.nan  # half of the 95% interval to expect of an AUC of 0.8 on the test images


@dataclass(frozen=True)
class Plan:
    """The choices for a study, and the reason of each by its name."""

    views: list[str]
    findings: list[Finding]
    images: int  # labelled images of the views
    patients: int
    shares: tuple[float, float, float]
    size: int
    batch: int
    epochs: int
    networks: tuple[str, ...]
    weights: str  # imagenet or none
    shards: int
    reasons: Mapping[str, str]

    @property
    def learnt(self) -> list[Finding]:
        """The findings that are classes."""
        return [finding for finding in self.findings if not finding.problem]

    @property
    def left_out(self) -> list[Finding]:
        """The findings that are not."""
        return [finding for finding in self.findings if finding.problem]


def make(records: Records, machine: Machine, has_weights: Mapping[str, bool] | None = None) -> Plan:
    """Plan a study. `has_weights` says of which networks the ImageNet weights are already here."""
    views, why_views = _views(records.images["view"].value_counts())
    chosen = records.images[records.images["view"].isin(views) & records.images["labelled"].astype(bool)]
    patients = chosen["patient"].nunique()
    few = patients < FEW_PATIENTS
    shares = SHARES[few]
    findings = [_finding(name, chosen, shares) for name in records.findings]
    train = max(1, round(shares[0] * len(chosen)))
    kind = machine.kind
    few_images = kind == "CPU" and len(chosen) < FEW_IMAGES
    size = SIZES["few, CPU" if few_images else kind]
    networks = ON_GPU if kind == "GPU" else FOR_FEW if few_images else ON_CPU
    batch, why_batch = _batch(machine, size, train)
    low, high = EPOCHS[kind]
    epochs = min(high, max(low, round(SEEN[kind] / train)))
    imagenet = bool(has_weights) and all((has_weights or {}).get(name, False) for name in networks)
    reasons = {
        "views": why_views,
        "shares": f"{patients:,} patients: {'few, so validation and test get more' if few else 'enough for the usual shares'}",
        "size": {
            "few, CPU": f"{len(chosen):,} images and no GPU: small images train in minutes",
            "CPU": "no GPU: a larger size shows finer findings and takes longer, with the square of it",
            "GPU": "the usual size, for which ImageNet's weights were made",
        }["few, CPU" if few_images else kind],
        "networks": "three that are usual for radiographs"
        if kind == "GPU"
        else "DenseNet121 learns from few images, and MobileNet is fast",
        "batch": why_batch,
        "epochs": f"about {SEEN[kind]:,} images seen, {low} to {high} epochs; {train:,} images are trained on",
        "weights": "ImageNet's weights of these networks are in resources/weights"
        if imagenet
        else "ImageNet's weights are not here, and nothing is downloaded unasked",
        "shards": f"one file of packed images for up to {SHARD:,}",
    }
    counted = len(chosen), patients
    return Plan(
        views, findings, *counted, shares, size, batch, epochs, networks, "imagenet" if imagenet else "none",
        max(1, math.ceil(len(records.images) / SHARD)), reasons,
    )  # fmt: skip


def _views(counts: pd.Series) -> tuple[list[str], str]:
    """The views to learn from: the frontal ones if most known images have them, else all."""
    known = counts.drop(UNKNOWN_VIEW, errors="ignore")
    frontal = [view for view in FRONTAL if view in counts]
    if frontal and counts[frontal].sum() * 2 >= counts.sum():
        rest = [f"{count:,} {view}" for view, count in counts.items() if view not in frontal]
        return frontal, "frontal images" + (f"; left out: {', '.join(rest)}" if rest else "")
    if known.empty:
        return [UNKNOWN_VIEW], "no image says its view, so lateral ones may be among them"
    return sorted(counts.index), "all, since most are not known to be frontal"


def _finding(name: str, chosen: pd.DataFrame, shares: tuple[float, float, float]) -> Finding:
    has = {
        column: chosen[column].map(lambda labels: name in labels).astype(bool)
        for column in ("positive", "uncertain", "unasked")
    }
    without = ~(has["positive"] | has["uncertain"] | has["unasked"])
    positives, negatives = (chosen.loc[rows, "patient"].nunique() for rows in (has["positive"], without))
    problem = ""
    for count, words in ((positives, "with it"), (negatives, "known not to have it")):
        if count < FEWEST_PATIENTS and not problem:
            tested = f"about {shares[2] * count:.0f} of them would be in the test part"
            who = "patient" if count == 1 else "patients"
            problem = f"{count:,} {who} {words}; {FEWEST_PATIENTS} are needed, as {tested}"
    numbers = (int(has["positive"].sum()), positives, negatives, int(has["uncertain"].sum()), int(has["unasked"].sum()))
    return Finding(name, *numbers, problem, auc_margin(shares[2] * positives, shares[2] * negatives))


def auc_margin(positives: float, negatives: float, auc: float = 0.8) -> float:
    """Half of the 95% interval to expect of an AUC (Hanley and McNeil 1982); nan below one patient of either kind."""
    if min(positives, negatives) < 1:
        return math.nan
    two_positives, two_negatives = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = (positives - 1) * (two_positives - auc**2) + (negatives - 1) * (two_negatives - auc**2)
    return 1.96 * math.sqrt((auc * (1 - auc) + spread) / (positives * negatives))


def _batch(machine: Machine, size: int, train: int) -> tuple[int, str]:
    """The largest power of two that fits into the memory, gives at least STEPS steps an epoch, and is not above BATCHES."""
    kind = machine.kind
    image = ACTIVATIONS[kind] * 2**20 * (size / 224) ** 2
    fits = OF_MEMORY[kind] * (machine.gpu or machine.memory) / image
    limits = {
        f"fits into {(machine.gpu or machine.memory) / 2**30:.0f} GB of memory": fits,
        f"{STEPS} or more steps an epoch": train / STEPS,
        f"usual on a {kind}": BATCHES[kind],
    }
    reason, most = min(limits.items(), key=lambda item: item[1])
    return max(SMALLEST_BATCH, 2 ** math.floor(math.log2(max(most, 1)))), reason
