"""How far a long step is: a bar on a terminal, an occasional line in a log."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

SECONDS = 5.0  # between two lines in a log; steps that take less write none


class Progress:
    """Count what is done and show it on standard error.

    Args:
        name: What is being done, at the start of each line.
        total: How much there is to do; None where that is not known. A log then shows nothing.
        unit: What is counted; B for bytes.
        done: How much was done earlier.
    """

    def __init__(self, name: str, total: int | None, unit: str = "it", done: int = 0) -> None:
        self.name, self.total, self.unit, self.done = name, total, unit, done
        self.bar = tqdm(total=total, initial=done, desc=name, unit=unit, unit_scale=unit == "B", disable=None)
        self.last, self.written = time.monotonic(), False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def add(self, count: int = 1) -> None:
        """Count what was just done; a negative number where a part starts again."""
        before, self.done = self.done, self.done + count
        self.bar.update(count)
        if not self.bar.disable or not self.total or self.done * 10 // self.total <= before * 10 // self.total:
            return
        if time.monotonic() - self.last >= SECONDS or (self.written and self.done >= self.total):
            self.last, self.written = time.monotonic(), True
            print(f"{self.name}: {self._amount()} ({self.done * 100 // self.total}%)", file=sys.stderr, flush=True)

    def _amount(self) -> str:
        done, total = self.done, self.total or 0
        return f"{done / 1e6:,.1f} of {total / 1e6:,.1f} MB" if self.unit == "B" else f"{done:,} of {total:,}"


def progress(items: Iterable[Item], name: str, total: int | None = None, unit: str = "it") -> Iterator[Item]:
    """Yield the items and show how many are done; `total` is their number where they have no length."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(name, total, unit) as counted:
        for item in items:
            yield item
            counted.add()
