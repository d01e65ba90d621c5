"""The configuration: named blocks that experiments refer to, and the only source of its schema.

Every block that two experiments may share has a name of its own, so that it is made once and comparisons are fair.
Commands receive only the block they need, as YAML or JSON text (`--settings`).
"""

from thorax.config.block import (
    TUNED_RULES,
    Block,
    DatasetName,
    FactorRange,
    Folder,
    Fraction,
    Name,
    Seed,
    ThresholdRule,
    fixed_threshold,
    parse,
    parse_text,
    threshold_rule,
)
from thorax.config.checks import Config, load
from thorax.config.comparisons import Ablation, Audit, Cascade, Comparison, CrossEvaluation
from thorax.config.data import FIRST_CHEXPERT_PHANTOM, Dataset, ImageSet, Phantom, Segmenter
from thorax.config.experiment import Beside, Ensemble, Experiment
from thorax.config.labels import DrawDown, LabelSet, Split
from thorax.config.payloads import AblationColumns, PaperPage, Section, Studies, Study
from thorax.config.training import Augmentation, Training

__all__ = [
    "FIRST_CHEXPERT_PHANTOM",
    "TUNED_RULES",
    "Ablation",
    "AblationColumns",
    "Audit",
    "Augmentation",
    "Beside",
    "Block",
    "Cascade",
    "Comparison",
    "Config",
    "CrossEvaluation",
    "Dataset",
    "DatasetName",
    "DrawDown",
    "Ensemble",
    "Experiment",
    "FactorRange",
    "Folder",
    "Fraction",
    "ImageSet",
    "LabelSet",
    "Name",
    "PaperPage",
    "Phantom",
    "Section",
    "Seed",
    "Segmenter",
    "Split",
    "Studies",
    "Study",
    "ThresholdRule",
    "Training",
    "fixed_threshold",
    "load",
    "parse",
    "parse_text",
    "threshold_rule",
]
