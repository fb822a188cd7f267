"""Who does the work: this process, several processes of this computer, or the workers of a Dask cluster."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from threading import Thread
from typing import Any, Protocol, Self, TypeVar, cast

from joblib import effective_n_jobs
from joblib.parallel import get_active_backend

from onnlab.distill.parallel import processes
from onnlab.experiments.cluster import ClusterError

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerDied(Exception):
    """A process ended in the middle of its work."""


class Doing(Protocol):
    """Does a task with each item."""

    def __call__(
        self, task: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result | Exception]]:
        """Give each item with its result, or with why there is none, as soon as it is done."""
        ...


@contextmanager
def workers(jobs: int | None) -> Iterator[Doing]:
    """Have workers as long as the block lasts; at its end, and if it is interrupted, they are ended, too.

    Parameters
    ----------
    jobs : int, optional
        Processes of this computer; 1 is this very process. Left out, it is what ``joblib.parallel_config``
        says: a number, or the workers of Dask.

    Raises
    ------
    ClusterError
        If there are several workers in a process group.
    """
    client = None if jobs is not None else getattr(get_active_backend()[0], "client", None)
    count = effective_n_jobs(jobs)
    if processes() > 1 and (client is not None or count > 1):
        raise ClusterError(
            "the processes of torchrun make each run together: leave out --jobs and --dask, or torchrun"
        )
    if client is not None:
        yield partial(_by_dask, client)
    elif count > 1:
        with Processes(count) as crew:
            yield crew.do
    else:
        yield _here


class Processes:
    """Processes of this computer. A pool does not tell which task killed one of its processes; these do.

    They import the main module, as those of :mod:`multiprocessing` do: a script needs
    ``if __name__ == "__main__":``.

    Parameters
    ----------
    count : int
        How many there are at most. One that died is replaced.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.idle: dict[Connection, SpawnProcess] = {}
        self.busy: dict[Connection, tuple[SpawnProcess, Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        every = [*self.idle.values(), *(process for process, _ in self.busy.values())]
        for process in every:
            process.terminate()
        for process in every:
            process.join()

    def do(
        self, task: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result | Exception]]:
        """Do a task with each item; :class:`WorkerDied` stands for the result of one that killed its process.

        Task, items and results are pickled.
        """
        waiting = deque(items)
        while waiting or self.busy:
            while waiting and len(self.busy) < self.count:
                connection, process = self._free()
                item = waiting.popleft()
                self.busy[connection] = process, item
                connection.send((task, item))
            for connection in cast(list[Connection], wait(list(self.busy))):
                process, item = self.busy[connection]
                result = _received(connection, process)
                del self.busy[connection]
                if not isinstance(result, WorkerDied):
                    self.idle[connection] = process
                yield item, result

    def _free(self) -> tuple[Connection, SpawnProcess]:
        while self.idle:
            connection, process = self.idle.popitem()
            if process.is_alive():
                return connection, process
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()  # so that the end of the process is the end of what can be received
        return ours, process


def _received(connection: Connection, process: SpawnProcess) -> Any:
    try:
        return connection.recv()
    except (EOFError, OSError):
        process.join()
        return WorkerDied(f"the process ended with exit code {process.exitcode}, as if memory ran out")


def _serve(connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends its workers
    Thread(target=_end_with_parent, daemon=True).start()
    while True:
        task, item = connection.recv()
        try:
            result = task(item)
        except Exception as error:
            result = error
        connection.send(result)


def _end_with_parent() -> None:
    """Let no training go on that nobody writes down: a parent that was killed ends nothing by itself."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _by_dask(
    client: Any, task: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[tuple[Item, Result | Exception]]:
    """Do a task with each item. What a worker had in hand when it died is tried by a few others."""
    from distributed import as_completed

    futures = {client.submit(task, item, pure=False): item for item in items}
    try:
        for future in as_completed(futures):
            yield futures[future], future.exception() or future.result()
    finally:
        client.cancel(list(futures))


def _here(task: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
    for item in items:
        yield item, task(item)
