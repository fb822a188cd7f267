"""A Dask cluster on this computer, for tests that hand out work and lose workers."""

from collections.abc import Iterator
from contextlib import contextmanager

from distributed import Client, LocalCluster


@contextmanager
def two_workers(threads: int = 1) -> Iterator[Client]:
    """Two worker processes of one thread or more, as long as the block lasts."""
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=threads, processes=True, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
