"""Work on a cluster: that of several machines at a time, by Dask."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from joblib import parallel_config


class ClusterError(Exception):
    """A cluster cannot be used; the text says why, and what to do."""


@contextmanager
def on_cluster(address: str) -> Iterator[None]:
    """Let the workers of a Dask scheduler do what :func:`run` and :func:`onnlab.hardware.sweep` hand out.

    For a sweep there should be two threads of workers at least: for one, joblib does it in this process.

    Parameters
    ----------
    address : str
        Of the scheduler, such as ``"tcp://HOST:PORT"``.

    Raises
    ------
    ClusterError
        If Dask is not installed, no scheduler answers within ten seconds, or a worker has several threads.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise ClusterError(f'a cluster needs {error.name}; run pip install "onnlab[scale]"') from error
    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"address must be that of a Dask scheduler, got {address!r} ({error}); "
            f"`dask scheduler` starts one, and `dask worker {address} --nthreads 1` a worker"
        ) from error
    with client, parallel_config(backend="dask"):
        check_threads(client.nthreads().values())
        yield


def check_threads(counts: Iterable[int]) -> None:
    """Raise unless each worker has one thread. Several would draw from one generator of random numbers.

    Parameters
    ----------
    counts : iterable of int
        Threads of each worker.

    Raises
    ------
    ClusterError
        If one has more.
    """
    most = max(counts, default=1)
    if most > 1:
        raise ClusterError(
            f"workers must have one thread each, got one with {most}, whose runs would share torch's random "
            f"numbers; start `dask worker ADDRESS --nthreads 1 --nworkers {most}` instead"
        )
