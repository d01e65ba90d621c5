"""What a study may not change: other blocks of the configuration, and the parts of patients who have one."""

import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import yaml

from thorax.errors import ThoraxError
from thorax.labels import earlier
from thorax.storage import store
from thorax.study import files, plan

SPLIT = "split.parquet"
_CONFIG = Path("config.yaml")  # what the workflow reads before a study
_BLOCKS = ("datasets", "label_sets", "splits", "image_sets", "experiments", "ablations", "cascades", "comparisons", "cross")


def refuse_taken(out: Path) -> None:
    """Refuse a folder whose name would change a block of the configuration in the current folder."""
    name = files.name_of(out)
    wanted = {name, *(f"{name}-{size}" for size in plan.SIZES.values())}
    blocks = None
    with suppress(OSError, UnicodeDecodeError, yaml.YAMLError):
        blocks = yaml.safe_load(_CONFIG.read_text(encoding="utf-8"))
    for block in _BLOCKS:
        found = blocks.get(block) if isinstance(blocks, dict) else None
        if taken := sorted(wanted & set(found or ())):
            problem = f"the study would be called {name!r}, and {_CONFIG} has {block}.{taken[0]} already"
            raise ThoraxError(f"{out}: {problem}; choose another folder with --out.")


def split_to_keep(out: Path, text: str, patients: Collection[str]) -> Path | None:
    """The split whose patients stay in their part: of the run in this folder if images.csv is new, else the one kept before.

    Args:
        out: The study's folder, with the images.csv of an earlier run or none.
        text: The new text of images.csv.
        patients: Its patients; a split that has none of them is that of another study.
    """
    table, made, before = out / "images.csv", Path("results/splits") / f"{files.name_of(out)}.parquet", out / SPLIT
    same = table.is_file() and table.read_text(encoding="utf-8", errors="replace") == text
    for path in (before,) if same else (made, before):
        if path.is_file() and not earlier.read(path).index.intersection(list(patients)).empty:
            return path
    return None


def keep(split: Path, out: Path) -> str:
    """Copy the split into the study's folder; return what is said."""
    if split != out / SPLIT:
        with store.atomic(out / SPLIT) as new:
            shutil.copyfile(split, new)
    return f"Patients of the earlier split, {out / SPLIT}, stay in their part (training, validation or test)."
