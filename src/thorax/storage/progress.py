"""How far a long step is: a bar on a terminal, an occasional line in a log."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

SECONDS = 5.0  # between two lines in a log; steps that take less write none
LONGEST = 60.0  # seconds without a line; before, there is one at every tenth


class Progress:
    """Count what is done, `unit` by unit (B for bytes), and show it on standard error, after the `name` of the step.

    `total` is how much there is to do; where it is None, a log shows nothing. `done` was done earlier.
    """

    def __init__(self, name: str, total: int | None, unit: str = "it", done: int = 0) -> None:
        self.name, self.total, self.unit, self.done = name, total, unit, done
        self.bar = tqdm(total=total, initial=done, desc=name, unit=unit, unit_scale=unit == "B", disable=None)
        self.started = self.last = time.monotonic()
        self.before, self.written = done, False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def add(self, count: int = 1, note: str = "") -> None:
        """Count what was just done; a negative number where a part starts again. `note` is shown after the numbers."""
        before, self.done = self.done, self.done + count
        self.bar.set_postfix_str(note, refresh=False)
        self.bar.update(count)
        if not self.bar.disable or not self.total:
            return
        now, tenth = time.monotonic(), self.done * 10 // self.total > before * 10 // self.total
        if now - self.last >= (SECONDS if tenth else LONGEST) or (self.written and self.done >= self.total):
            self.last, self.written = now, True
            rate = (self.done - self.before) / (now - self.started)
            amount, speed = f"{self.done:,} of {self.total:,}", f"{rate:,.1f} {self.unit}/s"
            if self.unit == "B":
                amount, speed = f"{self.done / 1e6:,.1f} of {self.total / 1e6:,.1f} MB", f"{rate / 1e6:,.1f} MB/s"
            left = f", {duration((self.total - self.done) / rate)} left" if rate > 0 and self.done < self.total else ""
            text = f"{self.name}: {amount} ({self.done * 100 // self.total}%), {speed}{left}"
            print(text + (f", {note}" if note else ""), file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Seconds in the unit that a person would use: 40 s, 12 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def progress(items: Iterable[Item], name: str, total: int | None = None, unit: str = "it") -> Iterator[Item]:
    """Yield the items and show how many are done; `total` is their number where they have no length."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(name, total, unit) as counted:
        for item in items:
            yield item
            counted.add()
