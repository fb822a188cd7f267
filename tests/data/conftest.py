"""A data folder of its own for each test, and small data sets under the names of the large ones."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from onnlab.data.sources import SOURCES, Source
from tests.data.server import Server, cifar_archive, idx_files, sha256, small_arrays

Arrays = dict[str, np.ndarray]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ONNLAB_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture(scope="session")
def grey() -> Arrays:
    return small_arrays(train=120, test=30, shape=(28, 28))


@pytest.fixture(scope="session")
def coloured() -> Arrays:
    return small_arrays(train=100, test=20, shape=(32, 32, 3))


@pytest.fixture
def server(grey: Arrays, coloured: Arrays) -> Iterator[Server]:
    one = Server({**idx_files(grey), **cifar_archive(coloured)})
    yield one
    one.close()


@pytest.fixture
def from_mirrors(server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Source]:
    """``from_mirrors("mnist", "altered", "good")``: the small set, from a faulty mirror and a good one."""

    def register(name: str, *faults: str) -> Source:
        files = {file: sha256(server.files)[file] for file in SOURCES[name].files}
        mirrors = tuple(server.mirror(fault) for fault in faults)
        monkeypatch.setitem(SOURCES, name, dataclasses.replace(SOURCES[name], files=files, mirrors=mirrors))
        return SOURCES[name]

    return register
