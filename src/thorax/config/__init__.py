"""The configuration: named blocks that experiments refer to. The JSON schema and the reference page are generated from it.

Every block that two experiments may share has its own name, so that its results are made once and comparisons are fair.
Verbs receive only the block that they need, as YAML or JSON text (`--settings`).
"""

# ruff: noqa: F401  # the names of the package

from thorax.config.block import Block, parse, parse_text
from thorax.config.checks import Config, load
from thorax.config.comparisons import Ablation, Audit, Cascade, Comparison, CrossEvaluation
from thorax.config.data import FIRST_CHEXPERT_PHANTOM, Dataset, ImageSet, Phantom, Segmenter
from thorax.config.experiment import CASES_PER_PAGE, Beside, Ensemble, Experiment, Experts
from thorax.config.labels import DrawDown, LabelSet, Split
from thorax.config.payloads import (
    AblationColumns,
    Bundled,
    PaperPage,
    Section,
    Setup,
    Setups,
    Site,
    SitePage,
    page_name,
    setups,
)
from thorax.config.training import Augmentation, Start, Training
from thorax.config.values import TUNED_RULES, fixed_threshold, threshold_rule
