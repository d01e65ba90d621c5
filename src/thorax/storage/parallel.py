"""Threads that work a little ahead of the one that uses their results."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int, ahead: int) -> Iterator[Result]:
    """Yield the result of each item in order, computed by `workers` threads before they are asked for.

    Up to `ahead` results wait to be asked for, including those being computed, which bounds the memory; items are read only as far
    as needed. When the consumer stops early or an item fails, items not begun are dropped, and those begun are waited for. OpenCV's
    own threads are off meanwhile: `workers` are all that the caller was granted.
    """
    pool, waiting = ThreadPoolExecutor(max(workers, 1), thread_name_prefix="in_order"), deque[Future[Result]]()
    with one_opencv_thread():
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Turn off OpenCV's own threads while the block runs: the images or batches are the parallel work."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
