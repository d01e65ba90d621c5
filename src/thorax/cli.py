"""The command line: `thorax VERB` parses its options, calls one function, and prints one sentence per error.

The table in `verbs` says which function and which options. The function's module is imported only when the verb runs, so that
`thorax --help` needs none and a table starts without TensorFlow.
"""

import argparse
import importlib
import os
import re
import signal
import sys
import textwrap
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any, NoReturn

from thorax import __version__
from thorax.errors import Terminated, ThoraxError, did_you_mean, on_first_signal
from thorax.verbs import GROUPS, VERBS, Option

_HEADING = """usage: thorax VERB [options]

Run one step of the pipeline. Snakemake runs these verbs. You can also run them yourself.
`thorax VERB --help` lists the options of a verb; `thorax --version` shows the version."""
TERMINATED = 128 + signal.SIGTERM


def main(argv: list[str] | None = None) -> int:
    """Run one verb; return the exit status.

    0: done; 1: an explained error; 3: what could be done is done, and the error says what is missing; 130: an interrupt; 143: a
    termination. Wrong options end the process with status 2.
    """
    words = sys.argv[1:] if argv is None else argv
    known = bool(words) and words[0] in VERBS
    whole = Parser([words[0]] if known else VERBS)
    if known:
        whole.verbs.choices[words[0]].refuse_unknown_options(words[1:])
    arguments = vars(whole.parse_args(words))
    verb, debug = VERBS[arguments.pop("verb")], arguments.pop("debug")
    try:
        with on_first_signal(_terminate, signal.SIGTERM):  # sent by schedulers, time limits and shutdowns
            values = {option.name: _value(option, arguments[option.name]) for option in verb.options}
            module, _, function = verb.function.partition(":")
            said = getattr(importlib.import_module(module), function)(**values)
            if isinstance(said, str):
                print(said)
    except Terminated as stop:
        return _stopped("terminated", stop, TERMINATED)
    except KeyboardInterrupt as stop:
        return _stopped("interrupted", stop, 130)
    except ThoraxError as error:
        if debug:
            raise
        print(f"thorax: {error}", file=sys.stderr)
        return error.status
    except BrokenPipeError:  # the reader has seen enough, as in `thorax cost | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:  # a defect of ours, reported in one line
        if debug:
            raise
        problem = f"{type(error).__name__}: {error}"
        print(f"thorax: unexpected {problem} (this is a bug; run the command with --debug to see where).", file=sys.stderr)
        return 1
    return 0


def show(table: Sequence[Path]) -> str:
    """The text of several files."""
    for path in table:
        if not path.is_file():
            raise ThoraxError(f"{path} is not there: run the step that makes it first.")
    return "\n".join(path.read_text(encoding="utf-8") for path in table).removesuffix("\n")


def completion(shell: str) -> str:
    """A script that completes verbs, options and file names in bash or zsh."""
    import shtab

    whole = Parser()
    for action in whole.verbs.choices.values():
        for option in action._actions:
            if option.type is _path or (option.metavar and "PATH" in option.metavar):
                option.complete = shtab.FILE  # type: ignore[attr-defined]
    return shtab.complete(whole, shell)


class _VerbParser(argparse.ArgumentParser):
    """A parser whose errors suggest what was meant."""

    def refuse_unknown_options(self, words: Sequence[str]) -> None:
        """End with an error if one of a verb's words is an option that it does not have; argparse looks for missing ones first."""
        passes_on = any(action.dest == "snakemake" for action in self._actions)
        for word in takewhile("--".__ne__, words):
            flag = word.partition("=")[0]
            pattern = r"--[\w-]+|-[a-zA-Z].*" if passes_on else r"--[\w-]+"
            if re.fullmatch(pattern, flag) and not any(known.startswith(flag) for known in self._option_string_actions):
                hint = "; put Snakemake's options after --" if passes_on else ""
                self.error(f"there is no option {flag}{did_you_mean(flag, self._option_string_actions) or hint}")

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error, and end with status 2."""
        if wrong := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message):
            suggestion = did_you_mean(wrong[1], [name.strip("' ") for name in wrong[2].split(",")])
            is_verb = message.startswith("argument VERB")
            message = f"there is no verb {wrong[1]!r}; see thorax --help{suggestion}" if is_verb else message + suggestion
        super().error(message)


class Parser(_VerbParser):
    """The parser of all verbs, or of those `wanted`, which is faster. Its help lists all by group."""

    def __init__(self, wanted: Iterable[str] = VERBS) -> None:
        super().__init__(prog="thorax", usage="thorax VERB [options]")
        self.add_argument("--version", action="version", version=f"thorax {__version__}", help="show the version and exit")
        self.verbs = self.add_subparsers(dest="verb", metavar="VERB", required=True, prog="thorax", parser_class=_VerbParser)
        for verb in map(VERBS.__getitem__, wanted):
            sub = self.verbs.add_parser(verb.name, help=verb.help, description=f"{verb.help[0].upper()}{verb.help[1:]}.")
            for option in verb.options:
                _add(sub, option)
            sub.add_argument("--debug", action="store_true", help="show the traceback of an error")

    def format_help(self) -> str:
        """The usage, and all verbs by group."""
        width = max(map(len, VERBS)) + 4
        lines = [_HEADING]
        for group, verbs in GROUPS.items():
            lines.append(f"\n{group}:")
            for verb in verbs:
                first = f"  {verb.name}".ljust(width)
                lines += textwrap.wrap(verb.help, 120, initial_indent=first, subsequent_indent=" " * width)
        return "\n".join(lines) + "\n"


def _add(sub: argparse.ArgumentParser, option: Option) -> None:
    if option.kind == "flag":
        sub.add_argument(option.flag, dest=option.name, action="store_true", help=option.help)
        return
    details: dict[str, Any] = {
        "help": option.help,
        "default": list(option.default) if isinstance(option.default, tuple) else option.default,
        "choices": option.choices,
        "metavar": option.metavar,
        "type": {"path": _path, "whole": partial(_whole, lowest=option.lowest), "rule": _rule}.get(option.kind, str),
    }
    if option.default not in (None, (), ""):
        shown = " ".join(option.default) if isinstance(option.default, tuple) else option.default
        details["help"] += f" (default: {shown})"
    if option.many:
        details["nargs"] = "+" if option.default is None else "*"
    if option.positional:
        sub.add_argument(option.name, **details)
    else:
        sub.add_argument(option.flag, dest=option.name, required=option.is_required, **details)


def _path(text: str) -> Path:
    """A path, with the ~ that a shell leaves in --root=~/folder expanded."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: there is no such user; write out the folder") from error


def _whole(text: str, lowest: int) -> int:
    if not text.isdecimal() or int(text) < lowest:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of {lowest} or more")
    return int(text)


def _rule(text: str) -> str:
    from thorax import config

    try:
        return config.threshold_rule(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _value(option: Option, given: Any) -> Any:
    """The value that the function receives, from what the parser read."""
    if given is None:
        return None
    if option.kind == "settings":
        from thorax import config

        return config.parse_text(getattr(config, option.model), given, option.flag)
    if option.kind not in ("mapping", "groups", "pairs"):
        return given
    named = [_named(option, text) for text in given]
    if option.kind == "groups":
        return {name: [value for other, value in named if other == name] for name, _ in named}
    return named if option.kind == "pairs" else dict(named)


def _named(option: Option, text: str) -> tuple[str, Any]:
    """A name and its value, in the form of the option, such as NAME=PATH or DATASET/SPLIT=PATH."""
    name, _, value = text.partition("=")
    form, _, kind = str(option.metavar).partition("=")
    parts = [re.split("[/@]", words) for words in (name, form)] if re.search("[/@]", form) else [[name], [form]]
    if len(parts[0]) != len(parts[1]) or not all(parts[0]) or not value:
        raise ThoraxError(f"{option.flag} {text!r} is not of the form {option.metavar}: give each {kind.lower()} a name.")
    return name, Path(value) if kind == "PATH" else value


def _stopped(how: str, stop: BaseException, status: int) -> int:
    """Say what a stopped verb leaves: most leave nothing, the others say so in a note."""
    left = "; ".join(getattr(stop, "__notes__", [])) or "nothing half-written was kept"
    print(f"thorax: {how}; {left}.", file=sys.stderr)
    return status


def _terminate(_: int) -> NoReturn:
    raise Terminated(TERMINATED)
