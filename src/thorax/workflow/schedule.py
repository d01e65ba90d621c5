"""When the jobs of a DAG would run: list scheduling, the longest way to the end first, and the critical path."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """A job as the schedule sees it: how long it takes, what it occupies, and what must be done before it."""

    name: str
    seconds: float
    gpus: int = 0
    cores: int = 1
    after: tuple[str, ...] = ()


def ways(tasks: Sequence[Task]) -> dict[str, float]:
    """For each task, the seconds of the longest chain of tasks that begins with it.

    Args:
        tasks: each after those that it waits for.
    """
    tail = {task.name: task.seconds for task in tasks}
    by_name = {task.name: task for task in tasks}
    for task in reversed(tasks):
        for before in task.after:
            tail[before] = max(tail[before], by_name[before].seconds + tail[task.name])
    return tail


def critical_path(tasks: Sequence[Task]) -> list[Task]:
    """The longest chain of tasks: no machine is fast enough to end before it. Empty without tasks."""
    tail = ways(tasks)
    following: dict[str, list[Task]] = {task.name: [] for task in tasks}
    for task in tasks:
        for before in task.after:
            following[before].append(task)
    path: list[Task] = []
    choice = [task for task in tasks if not task.after]
    while choice:
        path.append(max(choice, key=lambda task: (tail[task.name], task.name)))
        choice = following[path[-1].name]
    return path


def starts(tasks: Sequence[Task], gpus: int, cores: int) -> dict[str, float]:
    """The second at which each task begins on so many GPUs and cores.

    Whenever something is free, the task with the longest chain behind it that fits is started. A task that wants more than
    there is gets all there is, and takes no longer for it.

    Args:
        tasks: each after those that it waits for.
    """
    tail, waiting = ways(tasks), {task.name: set(task.after) for task in tasks}
    following: dict[str, list[Task]] = {task.name: [] for task in tasks}
    for task in tasks:
        for before in task.after:
            following[before].append(task)
    ready = [task for task in tasks if not task.after]
    begun: dict[str, float] = {}
    running: list[tuple[float, int, Task]] = []
    now, free_gpus, free_cores = 0.0, gpus, cores
    while ready or running:
        ready.sort(key=lambda task: (-tail[task.name], task.name))
        for task in list(ready):
            needs = min(task.gpus, gpus), min(task.cores, cores)
            if needs[0] <= free_gpus and needs[1] <= free_cores:
                free_gpus, free_cores = free_gpus - needs[0], free_cores - needs[1]
                begun[task.name] = now
                ready.remove(task)
                heapq.heappush(running, (now + task.seconds, len(begun), task))
        now = running[0][0]
        while running and running[0][0] <= now:
            task = heapq.heappop(running)[2]
            free_gpus, free_cores = free_gpus + min(task.gpus, gpus), free_cores + min(task.cores, cores)
            for later in following[task.name]:
                waiting[later.name].discard(task.name)
                if not waiting[later.name]:
                    ready.append(later)
    return begun


def best(tasks: Sequence[Task], gpus: int, cores_per_gpu: int) -> dict[str, float]:
    """The shortest schedule that list scheduling finds with up to so many GPUs and their cores.

    List scheduling can be slower with more machines (Graham 1969); so some may stay idle here, and more are never slower.
    """
    found = [starts(tasks, count, count * cores_per_gpu) for count in range(1, gpus + 1)]
    return min(found, key=lambda begun: length(tasks, begun))


def length(tasks: Sequence[Task], begun: Mapping[str, float]) -> float:
    """Seconds from start to end."""
    return max((begun[task.name] + task.seconds for task in tasks), default=0.0)


def most_at_once(tasks: Sequence[Task], begun: Mapping[str, float], amounts: Mapping[str, float]) -> float:
    """The largest sum of what running tasks hold at any moment."""
    events = [(begun[t.name] + t.seconds, 0, -amounts[t.name]) for t in tasks if t.name in amounts]
    events += [(begun[t.name], 1, amounts[t.name]) for t in tasks if t.name in amounts]
    held = largest = 0.0
    for _, _, amount in sorted(events):
        held += amount
        largest = max(largest, held)
    return largest
