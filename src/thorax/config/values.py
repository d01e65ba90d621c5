"""Types of single values: names, folders, shares, seeds and threshold rules."""

import os
import re
from collections import Counter
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

Listed = TypeVar("Listed")
TUNED_RULES = ("f1", "f1_positive", "youden")  # one threshold per class, chosen on validation images
FIXED = "fixed-"  # and a number: the same threshold for all classes
OPERATING = ("specificity-", "sensitivity-")  # and a number: one threshold per class that reaches it on validation images


def tidy_folder(path: str) -> str:
    """A folder as Snakemake writes it: without // and / at the end, with ~, $NAME and ${NAME} expanded.

    Refused: an empty path, braces (Snakemake would read a wildcard), an unknown user or variable, and what is not expanded
    here: an address, a command, a Windows variable.
    """
    if empty := next((name for name in re.findall(r"\$\{?(\w+)", path) if os.environ.get(name) == ""), None):
        raise ValueError(f"the environment variable {empty} is empty: set it, or write the folder itself.")
    folder = os.path.expandvars(path)
    if variable := re.search(r"\$(\w+|\{[^}]*\})", folder):
        raise ValueError(f"there is no environment variable {variable[1].strip('{}')}: set it, or write the folder itself.")
    if not folder:
        raise ValueError("it is empty: name a folder.")
    if "://" in folder:
        raise ValueError("it is an address: copy the files into a folder and name that.")
    if found := re.search(r"\$[({]|`|%[A-Za-z_]\w*%", folder):
        raise ValueError(f"{found[0]} is not expanded: write $NAME for an environment variable, or the folder itself.")
    if set("{}\n") & set(folder):
        raise ValueError("a folder needs a name without { and }, in one line")
    try:
        expanded = Path(folder).expanduser()
    except RuntimeError as error:
        raise ValueError(f"there is no user {folder.partition('/')[0][1:]}: write the folder itself.") from error
    if "~" in expanded.parts:
        raise ValueError("~ means a home folder only at the beginning: write the folder itself.")
    return expanded.as_posix()


def without_repeats(names: list[Listed]) -> list[Listed]:
    """Return a list in which nothing is named twice; refuse any other."""
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"{repeated[0]!r} is named more than once")
    return names


def rising(limits: tuple[float, float]) -> tuple[float, float]:
    """Return a range of factors that begins at 0 or above and does not fall; refuse any other."""
    if not 0 <= limits[0] <= limits[1]:
        raise ValueError(f"a range of factors is [low, high] with 0 <= low <= high, not {list(limits)}")
    return limits


def fixed_threshold(rule: str) -> float | None:
    """The threshold of a rule such as fixed-0.5; None for a rule that tunes one threshold per class on validation images."""
    return float(rule.removeprefix(FIXED)) if rule.startswith(FIXED) else None


def threshold_rule(rule: str) -> str:
    """Return the name of a threshold rule: a tuned one, or one with a number from 0 to 1 in its shortest form, such as fixed-0.5."""
    number = next((rule.removeprefix(kind) for kind in (FIXED, *OPERATING) if rule.startswith(kind)), "")
    numbered = re.fullmatch(r"0|1|0\.\d*[1-9]", number) and f"{float(number):g}" == number
    if not numbered and rule not in TUNED_RULES:
        examples = f"{', '.join(TUNED_RULES)} or, for example, fixed-0.5, specificity-0.9 or sensitivity-0.9"
        raise ValueError(f"{rule!r} is not a threshold rule: write {examples}.")
    return rule


def fixed_rule_first(rules: list[str]) -> list[str]:
    """Return threshold rules of which the first is fixed; refuse any other."""
    if fixed_threshold(rules[0]) is None:
        must = "is the one of the paper's tables and must be fixed, such as fixed-0.5"
        raise ValueError(f"the first rule {must}, not {rules[0]!r}")
    return rules


Distinct = Annotated[list[Listed], AfterValidator(without_repeats)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Folder = Annotated[str, AfterValidator(tidy_folder)]  # relative to the working directory
ThresholdRule = Annotated[str, AfterValidator(threshold_rule)]
FactorRange = Annotated[tuple[float, float], AfterValidator(rising)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
DatasetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]  # in file names a dot precedes the shard
