"""The base of all blocks: types of values, refusals, and reading text into a block."""

import os
import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, LiteralString, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from thorax.config import strict_yaml
from thorax.errors import ThoraxError, did_you_mean

Listed = TypeVar("Listed", str, float)


REFUSED: LiteralString = "refused"  # the type of this module's own errors, whose text already shows the value


UNKNOWN_KEY: LiteralString = "unknown_key"  # its text is the suggestion, if there is one


def _refusal(text: str, *key: str, kind: LiteralString = REFUSED) -> ValidationError:
    """An error at a key below the block that is being checked."""
    details = InitErrorDetails(type=PydanticCustomError(kind, "{text}", {"text": text}), loc=key, input=None)
    return ValidationError.from_exception_data("refusal", [details])


def _tidy_folder(path: str) -> str:
    """The folder as Snakemake writes it: no slash at the end, none doubled; with ~, $NAME and ${NAME} expanded.

    An address, and what only a shell or Windows expands, would become a folder of that name here: these are refused.

    Raises:
        ValueError: It has no name, a brace (Snakemake would read a wildcard), an unknown user or variable, or an empty one.
    """
    if empty := next((name for name in re.findall(r"\$\{?(\w+)", path) if os.environ.get(name) == ""), None):
        raise ValueError(f"the environment's variable {empty} is empty: set it, or write the folder itself.")
    folder = os.path.expandvars(path)
    if variable := re.search(r"\$(\w+|\{[^}]*\})", folder):
        raise ValueError(f"the environment has no variable {variable[1].strip('{}')}: set it, or write the folder itself.")
    if not folder:
        raise ValueError("it is empty: name a folder.")
    if "://" in folder:
        raise ValueError("it is an address: copy the files into a folder and name that.")
    if found := re.search(r"\$[({]|`|%[A-Za-z_]\w*%", folder):
        raise ValueError(f"{found[0]} is not expanded: write $NAME for a variable of the environment, or the folder itself.")
    if set("{}\n") & set(folder):
        raise ValueError("a folder needs a name without { and }, in one line")
    try:
        expanded = Path(folder).expanduser()
    except RuntimeError as error:
        raise ValueError(f"there is no user {folder.partition('/')[0][1:]}: write the folder itself.") from error
    if "~" in expanded.parts:
        raise ValueError("~ means a home folder only at the beginning: write the folder itself.")
    return expanded.as_posix()


def _without_repeats(names: list[Listed]) -> list[Listed]:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"{repeated[0]!r} is named more than once")
    return names


def _rising(limits: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= limits[0] <= limits[1]:
        raise ValueError(f"a range of factors is [low, high] with 0 <= low <= high, not {list(limits)}")
    return limits


TUNED_RULES = ("f1", "f1_positive", "youden")


_FIXED = "fixed-"


def fixed_threshold(rule: str) -> float | None:
    """The threshold of a rule such as fixed-0.5; None for a rule that tunes one threshold per class on validation."""
    return float(rule.removeprefix(_FIXED)) if rule.startswith(_FIXED) else None


def threshold_rule(rule: str) -> str:
    """Check the name of a threshold rule and return it.

    Raises:
        ValueError: neither tuned nor a fixed threshold from 0 to 1 in its shortest form.
    """
    if rule in TUNED_RULES:
        return rule
    number = rule.removeprefix(_FIXED)
    if not rule.startswith(_FIXED) or not re.fullmatch(r"0|1|0\.\d*[1-9]", number) or f"{float(number):g}" != number:
        raise ValueError(f"{rule!r} is no threshold rule: write {', '.join(TUNED_RULES)} or, for example, fixed-0.5.")
    return rule


def _starts_fixed(rules: list[str]) -> list[str]:
    if fixed_threshold(rules[0]) is None:
        raise ValueError(f"the first rule is that of the paper's tables and is fixed, such as fixed-0.5, not {rules[0]!r}")
    return rules


Fraction = Annotated[float, Field(ge=0, le=1)]


Seed = Annotated[int, Field(ge=0, lt=2**32)]


Folder = Annotated[str, AfterValidator(_tidy_folder)]  # relative to the folder that is run in


ThresholdRule = Annotated[str, AfterValidator(threshold_rule)]


FactorRange = Annotated[tuple[float, float], AfterValidator(_rising)]


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


DatasetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]  # a dot parts it from the shard in file names


class Block(BaseModel):
    """A part of the configuration: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _keys_and_values_can_be(cls, values: Any) -> Any:
        """Name an unknown key before anything else: a misspelt key explains a missing one. Refuse `epochs: yes`, to Pydantic a 1."""
        given = values if isinstance(values, dict) else {}
        for key in given:
            if key not in cls.model_fields:
                raise _refusal(did_you_mean(str(key), cls.model_fields), str(key), kind=UNKNOWN_KEY)
        for key, value in given.items():
            truths = [entry for entry in (value if isinstance(value, list) else [value]) if isinstance(entry, bool)]
            if truths and cls.model_fields[key].annotation is not bool:
                read = "true, as YAML reads yes and on" if truths[0] else "false, as YAML reads no and off"
                raise _refusal(f"it is {read}: write a value, in quotes if it is text.", str(key))
        return values


BlockType = TypeVar("BlockType", bound=BaseModel)


def parse(model: type[BlockType], values: Any, source: str) -> BlockType:
    """Validate values against a model.

    Raises:
        ThoraxError: one sentence with the source, the first wrong key and what is wrong with it.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ThoraxError(_sentence(error, source)) from error


def parse_text(model: type[BlockType], text: str, source: str) -> BlockType:
    """Validate YAML or JSON text against a model; errors as in `parse` and `strict_yaml.parse`."""
    return parse(model, strict_yaml.parse(text, source), source)


def _sentence(error: ValidationError, source: str) -> str:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    if path and path[-1] == "[key]":
        key = ".".join(path[:-1])
        if first["type"] == "string_type":
            return f"{source}: {key}: a name is text; put it in quotes."
        return f"{source}: {key}: a name starts with a letter or digit and has only these, _, - and (not for data sets) dots."
    key = ".".join(path) or "the configuration"
    if first["type"] == UNKNOWN_KEY:
        return f"{source}: {key} is not a known key{first['msg']}; remove it or correct its name."
    if first["type"] == "missing":
        return f"{source}: {key} is missing; add it."
    message = first["msg"].removeprefix("Value error, ")
    says_it = first["type"] in (REFUSED, "value_error") or isinstance(first["input"], dict | list | tuple | BaseModel)
    if says_it and message.endswith("."):  # it says what to do
        return f"{source}: {key}: {message}"
    shown = "" if says_it else f" (it is {first['input']!r})"
    return f"{source}: {key}: {message}{shown}; correct it."
