"""Errors that users read, suggestions for misspelt names, and signals that end a process in an orderly way."""

import signal
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class ThoraxError(Exception):
    """A problem that the user can solve: one sentence that names the file and the row or key, and says what to do.

    The command line prints it without a traceback and exits with `status`.
    """

    status = 1


class Unfinished(ThoraxError):
    """Everything that can be done is done and written; the sentence says what is missing."""

    status = 3


class Terminated(SystemExit):
    """SIGTERM as an exception, so that temporary files are removed as after an error; a note says what was kept."""


@contextmanager
def on_first_signal(handle: Callable[[int], None], *signals: int) -> Iterator[None]:
    """Call a function with the number of the first of these signals; a second one ends the process at once.

    Does nothing in other threads than the main one, which alone may set handlers.
    """

    def first(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        handle(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, first) for number in signals}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A suggestion to put after a wrong name, such as " (did you mean 'epochs'?)"; empty if no known name is similar.

    Capital letters, and of known names anything before a slash, are ignored.
    """
    spelt = {spelling.casefold(): right for right in known for spelling in (right.rpartition("/")[2], right)}
    close = get_close_matches(name.casefold(), spelt, 1)
    return f" (did you mean {spelt[close[0]]!r}?)" if close else ""


def refuse_unknown(key: str, name: str, known: Collection[str], what: str, why: str = "") -> None:
    """Refuse the value of a setting that is not among the known names.

    `what` says what it should be, as "a class of label set 'nih-14'"; `why` follows in place of a suggestion, and begins with a
    blank.
    """
    if name not in known:
        raise ThoraxError(f"{key}: {name!r} is not {what}{why or did_you_mean(name, known)}: choose one of {', '.join(known)}.")
