"""Loading fetched sets: splits, types, and files that hold something else."""

import gzip
import os
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch

from onnlab.data import DataError, load
from onnlab.data.sources import SOURCES, read_idx
from tests.data.server import idx_files, small_arrays

COMPLETE = os.environ.get("ONNLAB_DATA")  # before the fixture ``cache`` names another folder


def found(cache, name, arrays):
    """Put an ``.npz`` into the cache, as somebody who has the data set already would."""
    cache.mkdir(exist_ok=True)
    np.savez(cache / f"{name}.npz", **arrays)


def rows_in(images, among):
    """Row of each of the float images, channels first, among the bytes that they came from, channels last."""
    row = {picture.tobytes(): i for i, picture in enumerate(among)}
    pictures = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return [row[picture.numpy().tobytes()] for picture in pictures]


@pytest.mark.parametrize(
    ("name", "kind"), [("mnist", "grey"), ("fashion-mnist", "grey"), ("cifar10", "coloured")]
)
def test_a_fetched_set_comes_in_three_splits(cache, from_mirrors, request, name, kind):
    arrays = request.getfixturevalue(kind)
    source = from_mirrors(name, "good")
    data = load(name)
    total = len(arrays["y_train"])
    assert data.sizes == {
        "train": total - total // source.held_out,
        "validation": total // source.held_out,
        "test": len(arrays["y_test"]),
    }
    train, validation, test = (
        rows_in(split.images, arrays["x_test" if split is data.test else "x_train"])
        for split in (data.train, data.validation, data.test)
    )
    assert sorted(train + validation) == list(range(total))
    assert (train, validation, test) == (sorted(train), sorted(validation), list(range(len(test))))
    for split, rows, key in (
        (data.train, train, "y_train"),
        (data.validation, validation, "y_train"),
        (data.test, test, "y_test"),
    ):
        assert split.labels.dtype == torch.int64 and split.labels.tolist() == arrays[key][rows].tolist()
        assert split.images.dtype == torch.float32 and split.images.shape[1:] == source.shape
        assert split.pixels.dtype == torch.uint8 and split.pixels.is_contiguous()
    counts = torch.bincount(data.validation.labels, minlength=10)
    assert counts.tolist() == [total // source.held_out // 10] * 10
    assert data.name == name and data.classes == source.classes and data.credit == source.credit


def test_the_validation_images_are_always_the_same(cache, from_mirrors):
    from_mirrors("mnist", "good")
    torch.manual_seed(1)
    one = load("mnist")
    torch.manual_seed(2)
    other = load("mnist")
    assert torch.equal(one.validation.pixels, other.validation.pixels)


@pytest.mark.parametrize(
    ("name", "shape"), [("mnist", (28, 28)), ("mnist", (28, 28, 1)), ("cifar10", (32, 32, 3))]
)
def test_a_file_that_is_there_is_used_as_it_is(cache, name, shape):
    arrays = small_arrays(train=60, test=10, shape=shape, seed=5)
    found(cache, name, {**arrays, "y_train": arrays["y_train"].astype(np.int32)})
    data = load(name)
    assert rows_in(data.test.images, arrays["x_test"]) == list(range(10))
    assert data.credit == f"{SOURCES[name].credit}; pixels as found in {name}.npz"


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 broken"])
def test_a_file_that_is_no_archive(cache, content):
    cache.mkdir()
    (cache / "mnist.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"mnist\.npz cannot be read as \.npz .*delete it and try again"):
        load("mnist")


def test_arrays_without_names_and_names_without_arrays(cache):
    cache.mkdir()
    with (cache / "mnist.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match="it is no archive of arrays.*delete it"):
        load("mnist")
    with ZipFile(cache / "mnist.npz", "w") as archive:
        archive.writestr("x_train.npy", b"no array")
    with pytest.raises(DataError, match="cannot be read as .npz"):
        load("mnist")


@pytest.mark.parametrize("name", ["mnist-mini", "scenes"])
def test_what_comes_with_the_package_is_installed_again(tmp_path, monkeypatch, name):
    broken = tmp_path / "mnist_mini.npz"
    monkeypatch.setattr("onnlab.data.cache.__file__", str(tmp_path / "cache.py"))
    with pytest.raises(DataError, match="is missing, .* install it again"):
        load(name)
    broken.write_bytes(b"PK cut")
    with pytest.raises(DataError, match=r"cannot be read as \.npz .* install onnlab again"):
        load(name)
    assert list(tmp_path.iterdir()) == [broken]


def test_a_file_that_was_cut(cache, grey):
    found(cache, "mnist", grey)
    path = cache / "mnist.npz"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match="cannot be read"):
        load("mnist")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "must hold y_test, got x_train, y_train, x_test: "),
        (
            {"x_train": np.zeros((60, 28, 28), np.float32)},
            r"x_train .* uint8 .* got float32 of shape \(60, 28, 28\)",
        ),
        (
            {"x_train": np.zeros((60, 32, 32, 3), np.uint8)},
            r"\(1, 28, 28\), channels last, got .*\(60, 32, 32, 3\)",
        ),
        ({"x_train": np.zeros((60, 784), np.uint8)}, r"got uint8 of shape \(60, 784\)"),
        ({"x_test": np.zeros((0, 28, 28), np.uint8)}, r"got uint8 of shape \(0, 28, 28\)"),
        ({"y_train": np.zeros(59, np.uint8)}, r"y_train .* must be 60 integers from 0 to 9, got .*\(59,\)"),
        ({"y_train": np.zeros((60, 1), np.uint8)}, r"got uint8 of shape \(60, 1\)"),
        ({"y_train": np.full(60, 10, np.uint8)}, "integers from 0 to 9"),
        ({"y_train": np.full(60, -1)}, "integers from 0 to 9"),
        ({"y_train": np.zeros(60)}, "got float64"),
    ],
)
def test_a_file_that_holds_something_else(cache, changes, message):
    arrays = {**small_arrays(train=60, test=10, shape=(28, 28)), **changes}
    found(cache, "mnist", {key: values for key, values in arrays.items() if values is not None})
    with pytest.raises(DataError, match=message):
        load("mnist")


@pytest.mark.parametrize("change", ["type", "long", "short"])
def test_an_idx_file_that_is_not_what_it_says(tmp_path, grey, change):
    content = gzip.decompress(idx_files(grey)["t10k-images-idx3-ubyte.gz"])
    altered = {"type": b"\0\0\x0d" + content[3:], "long": content + b"\0", "short": content[:-1]}[change]
    (tmp_path / "idx.gz").write_bytes(gzip.compress(altered))
    with pytest.raises(ValueError, match="uint8" if change == "type" else "reshape"):
        read_idx(tmp_path / "idx.gz")


@pytest.mark.parametrize("name", SOURCES)
def test_the_complete_sets_have_their_published_sizes(name):
    if not (COMPLETE and (Path(COMPLETE) / f"{name}.npz").is_file()):
        pytest.skip(f"needs the complete set: set ONNLAB_DATA to the folder that holds {name}.npz")
    data = load(name)
    if name == "camvid":
        assert data.sizes == {"train": 367, "validation": 101, "test": 233}
        return
    assert data.sizes == {"train": SOURCES[name].size - 15_000, "validation": 5000, "test": 10_000}
    share = (
        torch.bincount(data.train.labels) / 9 if name == "cifar10" else torch.bincount(data.train.labels) / 11
    )
    assert (torch.bincount(data.validation.labels) - share).abs().max() < 1.1
