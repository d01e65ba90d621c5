"""YAML read strictly: a key that is written twice is refused, and every error names the file and the line.

PyYAML, and Snakemake with it, silently takes the last of several values for one key, 010 for 8, and 1:30 for 90.
"""

import argparse
import re
import sys
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from thorax.errors import ThoraxError

_MERGE, _INT, _FLOAT = (f"tag:yaml.org,2002:{kind}" for kind in ("merge", "int", "float"))
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9_]*)")


def read(path: Path | str) -> dict[Any, Any]:
    """The keys and values of a YAML or JSON file in UTF-8. A fault is a ThoraxError with the file and the line."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ThoraxError(f"{path} cannot be read ({error.strerror}): name an existing configuration file.") from error
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = f"byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8."
        raise ThoraxError(f"{path}, line {line}: {problem}") from error
    return parse(text, str(path))


def parse(text: str, source: str) -> dict[Any, Any]:
    """The keys and values of YAML or JSON text, one document with keys at its top level. Anchors, aliases and `<<` are allowed.

    Refused, with `source` and the line: text that is empty, invalid or not a mapping, a key that is twice in one block, and a
    number that is not decimal.
    """
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None or (isinstance(node, yaml.ScalarNode) and loader.construct_object(node) is None):
            raise ThoraxError(f"{source} is empty: write at least one key with its value.")
        if not isinstance(node, yaml.MappingNode):
            found = "a list" if isinstance(node, yaml.SequenceNode) else repr(node.value[:40])
            line = node.start_mark.line + 1
            raise ThoraxError(f"{source}, line {line}: expected keys with values, not {found}; write `key: value`.")
        _refuse_ambiguous(loader, node, source, (), set())
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise ThoraxError(_sentence(error, source)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ThoraxError(f"{source}, line {line}: control character #x{error.character:02x}; remove it.") from error
    except ValueError as error:  # such as the date 2022-02-30
        raise ThoraxError(f"{source} is not valid YAML ({error}): put text that looks like a date in quotes.") from error
    except RecursionError as error:
        raise ThoraxError(f"{source} is nested too deeply: check its brackets and indentation.") from error


def check_command_line() -> None:
    """Check the running Snakemake's options on the configuration and the files that they name; end it if one is faulty.

    `profiles/default` calls this: Snakemake loads these files before the Snakefile, and names no file and no line. Of options
    or keys that are given twice it takes the last.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--configfile", "--configfiles", nargs="+", action="append", default=[])
    parser.add_argument("--config", "-C", nargs="*", action="append", default=[])
    parser.add_argument("--profile", nargs="+", action="append", default=[])
    given = vars(parser.parse_known_args()[0])
    try:
        for option in ("configfile", "config"):
            if len(given[option]) > 1:
                raise ThoraxError(
                    f"--{option} is given twice, and Snakemake takes the last alone: write all after one --{option}."
                )
        profiles, files = chain(*given["profile"]), list(chain(*given["configfile"]))
        for path in files or [path for profile in profiles for path in _configfiles(Path(profile))]:
            read(path)
        settings = [setting.partition("=")[::2] for setting in chain(*given["config"])]
        keys = Counter(key for key, _ in settings)
        if repeated := [key for key, count in keys.items() if count > 1]:
            raise ThoraxError(f"--config: {repeated[0]} is written twice; remove one of the two.")
        for key, value in settings:
            if value.lstrip().startswith(("{", "[")):
                parse(f"{key}: {value}", "--config")
    except ThoraxError as error:
        sys.exit(f"WorkflowError:\n{error}")


def _configfiles(profile: Path) -> list[Path]:
    """The configuration files that a profile names; none for a profile that is not a folder here."""
    if not (file := profile / "config.yaml").is_file():
        return []
    named = read(file).get("configfile", [])
    paths = named if isinstance(named, list) else [named]
    return [profile / path if (profile / path).exists() else Path(path) for path in paths]  # as Snakemake looks them up


def _refuse_ambiguous(loader: yaml.SafeLoader, node: yaml.Node, source: str, path: tuple[str, ...], seen: set[int]) -> None:
    """Refuse, at a node or below it, a key that is twice in one block, and a number in base 8, 60 or another that is not 10.

    Merge keys are not resolved yet: what a block inherits it may set again. The loader resolves keys, since `yes` and `true`
    are one key; `path` are the keys that lead to the node; an alias leads to a node that was `seen`.
    """
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        if (node.tag == _INT and not _DECIMAL.fullmatch(node.value)) or (node.tag == _FLOAT and ":" in node.value):
            means = f"{node.value}, which YAML reads as {loader.construct_object(node)}"
            raise ThoraxError(
                f"{source}, line {node.start_mark.line + 1}: {'.'.join(path)} is {means}; write a decimal number, or put text in quotes."
            )
        return
    if isinstance(node, yaml.SequenceNode):
        for number, entry in enumerate(node.value):
            _refuse_ambiguous(loader, entry, source, (*path, str(number)), seen)
        return
    lines: dict[Any, int] = {}
    for key_node, value_node in node.value:
        place = (*path, str(key_node.value))
        if isinstance(key_node, yaml.ScalarNode):
            key = _MERGE if key_node.tag == _MERGE else loader.construct_object(key_node)
            line = key_node.start_mark.line + 1
            if key in lines:
                where = f"line {line}" if lines[key] == line else f"lines {lines[key]} and {line}"
                raise ThoraxError(f"{source}: {'.'.join(place)} is written twice, in {where}; remove one of the two.")
            lines[key] = line
        _refuse_ambiguous(loader, value_node, source, place, seen)


def _sentence(error: yaml.MarkedYAMLError, source: str) -> str:
    mark = error.problem_mark or error.context_mark
    line = f", line {mark.line + 1}" if mark else ""
    if error.problem and "'\\t'" in error.problem:
        return f"{source}{line}: a tab cannot indent YAML; use blanks."
    begins = f", which begins in line {error.context_mark.line + 1}," if error.context and error.context_mark else ""
    context = f"{error.context}{begins} " if error.context else ""
    return f"{source}{line}: not valid YAML ({context}{error.problem}); check brackets, quotes and indentation."
