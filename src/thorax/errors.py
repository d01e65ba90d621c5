"""The one exception that a user is meant to read, and the one that ends a process that was asked to."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches


class ThoraxError(Exception):
    """A problem that the user can solve.

    Its text is one sentence that names the file and the row or key and says what to do.
    The command line prints it without a traceback and exits with status 1.
    """


class Terminated(SystemExit):
    """SIGTERM as an exception, so that temporary files go as they do after an error; a note says what stays."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A suggestion to put after a wrong name, such as " (did you mean 'epochs'?)"; empty if no known name resembles it.

    Args:
        name: What the user wrote.
        known: What would have been right. Capital letters and what precedes a slash do not matter.
    """
    spelt = {spelling.casefold(): right for right in known for spelling in (right.rpartition("/")[2], right)}
    close = get_close_matches(name.casefold(), spelt, 1)
    return f" (did you mean {spelt[close[0]]!r}?)" if close else ""


def refuse_unknown(key: str, name: str, known: Collection[str], what: str, why: str = "") -> None:
    """Refuse a name that a setting should not have.

    Args:
        key: The setting.
        name: What it says.
        known: What it may say.
        what: What the name is not, such as "a class of label set 'nih-14'".
        why: The reason, in brackets after a blank, if there is one; otherwise a name that resembles it is suggested.

    Raises:
        ThoraxError: The name is not known.
    """
    if name not in known:
        raise ThoraxError(f"{key}: {name!r} is not {what}{why or did_you_mean(name, known)}: choose one of {', '.join(known)}.")
