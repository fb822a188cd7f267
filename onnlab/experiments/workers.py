"""Hand out tasks, to processes or to a cluster, and go on if one of them takes its process down."""

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from threading import Thread
from typing import Any, TypeVar

from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend

from onnlab.distill.parallel import processes
from onnlab.experiments.cluster import ClusterError, check_threads

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerDied(Exception):
    """A process ended in the middle of a task."""


def hand_out(
    task: Callable[[Item], Result], items: Iterable[Item], jobs: int | None
) -> Iterator[tuple[Item, Result | Exception]]:
    """Give each item with the result of the task, or with why there is none, as soon as it is done.

    Parameters
    ----------
    task : callable
        From an item to its result.
    items : iterable
        What is to be done.
    jobs : int, optional
        Tasks at a time, each in another process of this computer; in a process group 1, which is this very
        process. Left out, it is what ``joblib.parallel_config`` says: a number, or the workers of Dask; and
        this very process if it says nothing.

    Raises
    ------
    ClusterError
        If there are several workers in a process group.
    """
    if processes() > 1 and effective_n_jobs(jobs) > 1:
        raise ClusterError(
            "the processes of torchrun make each run together: leave out --jobs and --dask, or torchrun"
        )
    if jobs == 1 and processes() == 1:
        return _locally(task, items, 2, one_by_one=True)  # for joblib, a single job is this process
    client = None if jobs is not None else getattr(get_active_backend()[0], "client", None)
    return _locally(task, items, jobs) if client is None else _by_dask(client, task, items)


def _locally(
    task: Callable[[Item], Result], items: Iterable[Item], jobs: int | None, *, one_by_one: bool = False
) -> Iterator[tuple[Item, Result | Exception]]:
    """Do a task with each item, in processes of this computer.

    Nobody can tell which task ended its process, for instance because memory ran out. So what is not done yet
    goes on one at a time, until one dies by itself: then it was that one, and the others go together again.
    """
    waiting, always = dict(enumerate(items)), one_by_one
    while waiting:
        some = list(waiting)[: 1 if one_by_one else None]
        tasks = (delayed(_done)(task, number, waiting[number], os.getpid()) for number in some)
        try:
            for number, result in Parallel(n_jobs=jobs, return_as="generator_unordered")(tasks):
                yield waiting.pop(number), result
        except BrokenProcessPool as death:
            if one_by_one:
                codes = ", ".join(re.findall(r"[A-Z]+\(-?\d+\)", str(death)))
                yield waiting.pop(some[0]), WorkerDied(f"the process ended, as if memory ran out: {codes}")
            one_by_one = always or not one_by_one


def _by_dask(
    client: Any, task: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[tuple[Item, Result | Exception]]:
    """Do a task with each item: by Dask itself, for joblib waits for ever if it gives up a task.

    What a worker had in hand when it died is tried by a few others.
    """
    from distributed import as_completed

    futures = {client.submit(_on_worker, task, item, pure=False): item for item in items}
    try:
        for future in as_completed(futures):
            yield futures[future], future.exception() or future.result()
    finally:
        client.cancel(list(futures))


def _on_worker(task: Callable[[Item], Result], item: Item) -> Result:
    from distributed import get_worker

    check_threads([get_worker().state.nthreads])  # a worker may have come when all was under way
    return task(item)


def _done(task: Callable[[Item], Result], number: int, item: Item, parent: int) -> tuple[int, Result]:
    if os.getppid() == parent:
        _end_with(parent)
    return number, task(item)


@cache
def _end_with(parent: int) -> None:
    """Let no training go on that nobody writes down: a parent that was killed ends nothing by itself."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    Thread(target=watch, daemon=True).start()
