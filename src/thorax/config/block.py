"""The base of all blocks, and reading text into a block: one sentence for the first mistake."""

from typing import Any, ClassVar, LiteralString, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from thorax.config import strict_yaml
from thorax.errors import ThoraxError, did_you_mean

REFUSED: LiteralString = "refused"  # type of this package's own errors: the text says all
UNKNOWN_KEY: LiteralString = "unknown_key"  # the text is the suggestion
BlockType = TypeVar("BlockType", bound=BaseModel)


def refusal(text: str, *key: str, kind: LiteralString = REFUSED) -> ValidationError:
    """An error at a key below the block that is checked; a text that ends with a full stop also says what to write instead."""
    details = InitErrorDetails(type=PydanticCustomError(kind, "{text}", {"text": text}), loc=key, input=None)
    return ValidationError.from_exception_data("refusal", [details])


def _unwrap(schema: dict[str, Any]) -> None:
    """Put the descriptions in a model's JSON schema into one line each."""
    for entry in schema["properties"].values():
        if "description" in entry:
            entry["description"] = " ".join(entry["description"].split())


class Block(BaseModel):
    """A part of the configuration. Unknown keys are errors. A key's description is a string below it, or in its `Field` if short."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        json_schema_extra=_unwrap,
    )
    renamed: ClassVar[dict[str, str]] = {}  # keys of earlier versions, each with what to write instead

    @model_validator(mode="before")
    @classmethod
    def _check_keys_first(cls, values: Any) -> Any:
        """Report an unknown key before anything else, since a misspelt key explains a missing one. Refuse yes and no as numbers."""
        given = values if isinstance(values, dict) else {}
        for key in given:
            if key in cls.renamed:
                raise refusal(cls.renamed[key], key)
            if key not in cls.model_fields:
                raise refusal(did_you_mean(str(key), cls.model_fields) or "; remove it", str(key), kind=UNKNOWN_KEY)
        for key, value in given.items():
            truths = [entry for entry in (value if isinstance(value, list) else [value]) if isinstance(entry, bool)]
            if truths and cls.model_fields[key].annotation is not bool:  # Pydantic would read `epochs: yes` as 1
                read = "true, as YAML reads yes and on" if truths[0] else "false, as YAML reads no and off"
                raise refusal(f"it is {read}: write a value, in quotes if it is text.", str(key))
        return values


def parse(model: type[BlockType], values: Any, source: str) -> BlockType:
    """Validate values against a model; a ThoraxError names the source, the first wrong key, its fault and the remedy."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ThoraxError(_sentence(error, source)) from error


def parse_text(model: type[BlockType], text: str, source: str) -> BlockType:
    """Validate YAML or JSON text against a model."""
    return parse(model, strict_yaml.parse(text, source), source)


def _sentence(error: ValidationError, source: str) -> str:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    if path and path[-1] == "[key]":
        place = f"{source}: {'.'.join(path[:-1])}"
        if first["type"] == "string_type":
            return f"{place}: a name is text; put it in quotes."
        return f"{place}: a name starts with a letter or digit and has only letters, digits, _, - and (not for data sets) dots."
    if first["type"] == UNKNOWN_KEY:
        place = ": ".join((source, *filter(None, [".".join(path[:-1])])))
        return f"{place}: unknown key {path[-1]!r}{first['msg']}."
    key = ".".join(path) or "the configuration"
    if first["type"] == "missing":
        return f"{source}: {key} is missing; add it."
    message = first["msg"].removeprefix("Value error, ")
    shows_value = first["type"] in (REFUSED, "value_error") or isinstance(first["input"], dict | list | tuple | BaseModel)
    if shows_value and message.endswith("."):  # it says what to do
        return f"{source}: {key}: {message}"
    value = "" if shows_value else f" (it is {first['input']!r})"
    return f"{source}: {key}: {message}{value}; correct it."
