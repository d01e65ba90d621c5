"""Threads that work ahead, and what a log says of progress."""

import re
import threading

import cv2
import pytest

from thorax.storage import progress
from thorax.storage.parallel import in_order


def threads_left():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("in_order")]


def test_results_are_computed_before_they_are_asked_for():
    made = threading.Semaphore(0)
    batches = in_order(lambda index: made.release() or index, range(10), 2, 3)
    assert next(batches) == 0
    for _ in range(4):  # the one that was handed over, and one more than there are threads
        assert made.acquire(timeout=10)
    assert list(batches) == list(range(1, 10))


def test_a_consumer_that_stops_early_leaves_no_thread_and_no_work():
    begun, second, release = [], threading.Event(), threading.Event()

    def make(index):
        begun.append(index)
        if index == 1:
            second.set()
            release.wait(10)
        return index

    threads = cv2.getNumThreads()
    batches = in_order(make, range(100), 1, 2)
    assert next(batches) == 0
    assert second.wait(10)
    threading.Timer(0.05, release.set).start()
    batches.close()
    assert begun == [0, 1]
    assert not threads_left()
    assert cv2.getNumThreads() == threads


def test_a_failing_item_is_reported_and_ends_the_threads():
    def make(index):
        if index == 2:
            raise OSError("the disk is gone")
        return index

    batches = in_order(make, range(10), 2, 3)
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(OSError, match="the disk is gone"):
        next(batches)
    assert not threads_left()


def test_a_log_gets_a_line_per_tenth(capfd, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS", 0)
    assert list(progress.progress(range(25), "ingest x.0")) == list(range(25))
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 10
    assert re.fullmatch(r"ingest x\.0: 3 of 25 \(12%\), [\d,.]+ it/s, 0 s left", lines[0])
    assert re.fullmatch(r"ingest x\.0: 25 of 25 \(100%\), [\d,.]+ it/s", lines[-1])


def test_a_line_may_say_more_and_comes_each_minute_at_the_latest(capfd, monkeypatch):
    monkeypatch.setattr(progress, "LONGEST", 0)
    with progress.Progress("epoch 1 of 2", 1000, "images", done=990) as shown:
        shown.add(1, "loss 0.25")
    assert re.fullmatch(
        r"epoch 1 of 2: 991 of 1,000 \(99%\), [\d,.]+ images/s, 0 s left, loss 0\.25", capfd.readouterr().err.strip()
    )
    assert [progress.duration(seconds) for seconds in (40, 720, 12000)] == ["40 s", "12 min", "3 h 20 min"]


def test_a_short_step_writes_nothing_into_a_log(capfd):
    list(progress.progress(iter("abc"), "ingest x.0", 3))
    assert capfd.readouterr().err == ""
