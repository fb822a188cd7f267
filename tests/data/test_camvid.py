"""CamVid: from a small archive of its format on a server here, and from a file that is there already."""

import dataclasses
import hashlib

import numpy as np
import pytest
import torch

from onnlab.data import VOID, DataError, load
from onnlab.data.sources import SOURCES
from tests.data.server import CAMVID_NAME, Server, camvid_archive

SIZES = {"train": 3, "val": 2, "test": 1}


@pytest.fixture(scope="module")
def streets():
    """Pictures and labels of the published size, in blocks so that they compress."""
    random = np.random.default_rng(0)
    arrays = {}
    for split, n in SIZES.items():
        arrays[f"x_{split}"] = random.integers(0, 256, (n, 36, 48, 3), np.uint8).repeat(10, 1).repeat(10, 2)
        arrays[f"y_{split}"] = random.integers(0, 12, (n, 36, 48), np.uint8).repeat(10, 1).repeat(10, 2)
        arrays[f"x_{split}"][:, ::2] //= 2  # what averaging two rows must show
    return arrays


@pytest.fixture
def fetched(streets, cache, monkeypatch):
    """Name of the set, whose archive is now fetched from this computer and checked by its MD5."""

    def register(fault="good"):
        (name, content), = camvid_archive(streets).items()  # fmt: skip
        server = Server({name: content})
        servers.append(server)
        source = SOURCES["camvid"]
        assert list(source.files) == [CAMVID_NAME]
        files = {name: f"md5:{hashlib.md5(content).hexdigest()}"}
        known = dataclasses.replace(source, files=files, mirrors=(server.mirror(fault),))
        monkeypatch.setitem(SOURCES, "camvid", known)
        return load("camvid")

    servers: list[Server] = []
    yield register
    for server in servers:
        server.close()


def test_the_archive_becomes_three_splits(fetched, streets, cache):
    data = fetched()
    assert data.sizes == {"train": 3, "validation": 2, "test": 1}
    assert len(data.classes) == 11 and data.classes[8] == "car" and data.credit == SOURCES["camvid"].credit
    for split, name in ((data.train, "train"), (data.validation, "val"), (data.test, "test")):
        full = streets[f"x_{name}"].astype(float).reshape(-1, 180, 2, 240, 2, 3)
        averaged = torch.from_numpy(full.mean((2, 4))).movedim(-1, 1)
        assert split.pixels.dtype == torch.uint8 and split.pixels.is_contiguous()
        assert (split.pixels.double() - averaged).abs().max() <= 0.5
        labels = torch.from_numpy(streets[f"y_{name}"][:, ::2, ::2].astype(np.int64))
        assert torch.equal(split.labels, torch.where(labels == 11, VOID, labels))
    assert (cache / "camvid.npz").is_file()
    assert torch.equal(load("camvid").train.pixels, data.train.pixels)


def test_an_archive_of_another_hash_is_refused(fetched):
    with pytest.raises(DataError, match="its hash differs"):
        fetched("altered")


def test_cars_against_the_rest(fetched):
    data = fetched()
    cars = data.against_rest("car")
    assert cars.classes == ("rest", "car")
    for name in ("train", "validation", "test"):
        all_classes, two = getattr(data, name).labels, getattr(cars, name).labels
        assert torch.equal(two == VOID, all_classes == VOID) and (two == VOID).any()
        assert torch.equal(two == 1, all_classes == 8)


def test_coarser_scenes(fetched):
    data = fetched()
    coarse = data.coarser(3)
    assert coarse.name == "camvid: pixels of 3 x 3" and coarse.classes == data.classes
    for name in ("train", "validation", "test"):
        fine, split = getattr(data, name), getattr(coarse, name)
        assert split.pixels.shape[1:] == (3, 60, 80) and split.pixels.dtype == torch.uint8
        block = fine.pixels[:, :, 30:33, 57:60].double().mean((2, 3))
        assert (split.pixels[:, :, 10, 19] - block).abs().max() <= 0.5 + 1e-4
        assert torch.equal(split.labels[:, 10, 19], fine.labels[:, 31, 58])


def small(**changes):
    random = np.random.default_rng(1)
    arrays = {
        f"{kind}_{split}": random.integers(0, 256 if kind == "x" else 12, shape, np.uint8)
        for split in ("train", "val", "test")
        for kind, shape in (("x", (2, 180, 240, 3)), ("y", (2, 180, 240)))
    }
    return {key: value for key, value in {**arrays, **changes}.items() if value is not None}


def test_a_file_that_is_there_is_used_as_it_is(cache):
    cache.mkdir()
    arrays = small()
    np.savez(cache / "camvid.npz", **arrays)
    data = load("camvid")
    assert data.credit.endswith("pixels as found in camvid.npz")
    assert np.array_equal(data.validation.pixels.movedim(1, -1).numpy(), arrays["x_val"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_val": None}, "must hold x_val"),
        ({"y_test": np.zeros((2, 180, 239), np.uint8)}, "must be 2 x 180 x 240 integers from 0 to 11"),
        ({"y_train": np.zeros(2, np.uint8)}, r"got uint8 of shape \(2,\)"),
        ({"y_train": np.full((2, 180, 240), 12, np.uint8)}, "integers from 0 to 11"),
        ({"x_train": np.zeros((2, 360, 480, 3), np.uint8)}, r"\(3, 180, 240\), channels last"),
    ],
)
def test_a_file_that_holds_something_else(cache, changes, message):
    cache.mkdir()
    np.savez(cache / "camvid.npz", **small(**changes))
    with pytest.raises(DataError, match=message):
        load("camvid")


def test_it_has_no_options(cache):
    with pytest.raises(TypeError, match="'camvid' has no options, got size"):
        load("camvid", size=(90, 120))
